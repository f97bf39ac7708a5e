/* netops/address.h — addresses on links.
 * Kernel   linux/if_addr.h; IFA_PROTO is the owner's mark; an IPv6 address is one whatever its
 *          prefix. */
#ifndef NETOPS_ADDRESS_H
#define NETOPS_ADDRESS_H
#include "netops/link.h"
#include <linux/rtnetlink.h>

#define NET_PROTO_BERTH 190 /* IFA_PROTO, rtm_protocol: ours */

struct net_address {
    int index;         /* the link's */
    uint8_t family;    /* AF_INET, AF_INET6 */
    uint8_t prefix;    /* bits */
    uint8_t scope;     /* RT_SCOPE_* */
    uint8_t proto;     /* IFA_PROTO; 0: not told */
    uint8_t bytes[16]; /* IFA_LOCAL where given, else IFA_ADDRESS */
    uint32_t flags;    /* IFA_F_* */
};
typedef int (*net_address_fn)(void *arg, const struct net_address *a);
int net_address_dump(struct net_port *p, net_address_fn each, void (*restart)(void *arg), void *arg,
                     struct net_error *err);
bool net_address_decode(const struct nlmsghdr *m, struct net_address *out);
/* Queue: EXCL; IPv6 with IFA_F_NODAD; IFA_PROTO 190; IPv4 broadcast address as `ip addr add …
 * brd +` does not. */
int net_batch_address_new(struct net_batch *b, const struct net_address *a, const char *link,
                          uint32_t tag);
/* Queue: the same for one that was there before, with the protocol number that it had (0: none). */
int net_batch_address_back(struct net_batch *b, const struct net_address *a, const char *link,
                           uint32_t tag);
/* Queue: the address stays as it is, and bears this protocol number: 190, or 0 for none. */
int net_batch_address_mark(struct net_batch *b, const struct net_address *a, const char *link,
                           uint8_t proto, uint32_t tag);
int net_batch_address_del(struct net_batch *b, const struct net_address *a, const char *link,
                          uint32_t tag);
#endif
