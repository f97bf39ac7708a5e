/* netops/stats.h — what went over the links of a namespace, in 64 bits.
 * Kernel   linux/if_link.h: struct if_stats_msg, IFLA_STATS_LINK_64; RTM_GETSTATS (Linux 4.7). */
#ifndef NETOPS_STATS_H
#define NETOPS_STATS_H
#include "netops/port.h"

struct net_stats {
    int index; /* of the link */
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
};
typedef int (*net_stats_fn)(void *arg, const struct net_stats *s);
int net_stats_dump(struct net_port *p, net_stats_fn each, void (*restart)(void *arg), void *arg,
                   struct net_error *err);
/* Decode one RTM_NEWSTATS; false: not one, a cut one, or without these figures. */
bool net_stats_decode(const struct nlmsghdr *m, struct net_stats *out);
#endif
