/* netops/route.h — routes of the main table.
 * Kernel   linux/rtnetlink.h, rtnetlink(7); rtm_protocol 190 marks ours. */
#ifndef NETOPS_ROUTE_H
#define NETOPS_ROUTE_H
#include "netops/address.h"

struct net_route {
    uint8_t family; /* AF_INET, AF_INET6 */
    uint8_t prefix; /* of dst; 0: default */
    uint8_t type;   /* RTN_* */
    uint8_t scope, protocol;
    uint8_t dst[16], gateway[16];
    bool has_gateway;
    int oif; /* of a multipath route: the first next hop's */
    /* of a multipath route: the first link that is not `oif`; 0: none */
    int other_oif;
    uint32_t table, metric;
};
typedef int (*net_route_fn)(void *arg, const struct net_route *r);
/* The main table, both families. IPv4 and IPv6 each in a dump of their own, clones and local
 * routes left out. */
int net_route_dump(struct net_port *p, net_route_fn each, void (*restart)(void *arg), void *arg,
                   struct net_error *err);
/* The same for all tables but `local`: what policy routing and VPNs keep apart, too. */
int net_route_dump_tables(struct net_port *p, net_route_fn each, void (*restart)(void *arg),
                          void *arg, struct net_error *err);
struct net_rule {
    uint8_t family; /* AF_INET, AF_INET6 */
    /* table 0: it leads to none (or, for a VRF, to that of the link) */
    uint32_t table, priority;
};
/* Rules of policy routing, both families. linux/fib_rules.h. */
int net_rule_dump(struct net_port *p, int (*each)(void *arg, const struct net_rule *r),
                  void (*restart)(void *arg), void *arg, struct net_error *err);
bool net_route_decode(const struct nlmsghdr *m, struct net_route *out);
/* Packets leave by it: a unicast route over another link than lo. `unreachable` and its kin name
 * lo, too. */
bool net_route_leaves(const struct net_route *r);
/* Queue: a route by way of `gateway` (or on the link alone), EXCL, main table. Type 0: unicast;
 * protocol 0: 190, ours. */
int net_batch_route_new(struct net_batch *b, const struct net_route *r, const char *link,
                        uint32_t tag);
int net_batch_route_del(struct net_batch *b, const struct net_route *r, const char *link,
                        uint32_t tag);
#endif
