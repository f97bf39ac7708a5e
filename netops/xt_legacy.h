/* netops/xt_legacy.h — the FORWARD chain of iptables-legacy and ip6tables-legacy, followed for one
 * packet.
 * Idea     The kernel lists the tables that exist. Only if `filter` is among them, the table is
 *          read: a request for a table that does not exist would create it. A test that the packet
 *          does not decide (a port, a limit) counts as not passed. A test that might name our
 *          bridge and is not understood ends the search without a finding.
 * Kernel   linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h; the rules as
 *          ipt_do_table() follows them. */
#ifndef NETOPS_XT_LEGACY_H
#define NETOPS_XT_LEGACY_H
#include "netops/error.h"
#include "netops/scoped.h"
#include <stdbool.h>

struct net_xt_legacy;            /* one table `filter`, checked */
struct net_xt_info {             /* offsets into the entries, in bytes */
    uint32_t forward, underflow; /* first rule of the FORWARD chain, and its policy */
};
struct net_xt_packet {
    const char *iif, *oif;
    const uint8_t *src, *dst; /* network address; NULL: any */
    uint8_t src_prefix, dst_prefix;
    bool mapped;       /* a port map translated it */
    bool br_netfilter; /* the filters of IP see bridged packets */
};
struct net_xt_drop {
    char chain[32]; /* "FORWARD", or a chain that FORWARD jumps to */
    unsigned rule;  /* from 1; 0: the policy of FORWARD */
    bool has_user;  /* the packet went through the chain DOCKER-USER before */
};

/* Whether the file at `path` (a list of names, one a line) names the table `filter`. A missing
 * file names none. */
bool net_xt_legacy_listed(const char *path);
/* The table of this thread's network namespace. `family`: AF_INET or AF_INET6. *out is NULL if
 * the table does not exist. */
int net_xt_legacy_read(int family, struct net_xt_legacy **out, struct net_error *err);
/* Checks `size` bytes of entries, as IPT_SO_GET_ENTRIES gives them, and copies them. -EBADMSG:
 * malformed; -ENOMEM. */
int net_xt_legacy_decode(int family, const struct net_xt_info *info, const void *entries,
                         size_t size, struct net_xt_legacy **out);
void net_xt_legacy_free(struct net_xt_legacy *t);
DEFINE_SCOPED(struct net_xt_legacy *, net_xt_legacy_free)
/* Whether a rule or the policy certainly drops the packet. */
bool net_xt_legacy_drops(const struct net_xt_legacy *t, const struct net_xt_packet *packet,
                         struct net_xt_drop *out);
#endif
