/* netops/xt_match.h — matches of iptables, for the first packet of a connection that berth's
 * bridges forward. Rules of iptables-legacy have them (xt_legacy.c), and those of iptables-nft in
 * the expression `match` (nft_foreign.c). Idea     A match that berth does not know is UNCLEAR. It
 * never leads to a warning. Kernel   the structs of linux/netfilter/xt_NAME.h, tested as
 * net/netfilter/xt_NAME.c does. */
#ifndef NETOPS_XT_MATCH_H
#define NETOPS_XT_MATCH_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NOT_OURS: the test depends on the packet, and not on our bridge. UNCLEAR: the test may name our
 * bridge or its addresses. */
enum net_xt_holds { NET_XT_NO, NET_XT_YES, NET_XT_NOT_OURS, NET_XT_UNCLEAR };

struct net_xt_way {
    bool mapped;       /* a port map translated the packet */
    bool bridged;      /* from one port of a bridge to another */
    bool br_netfilter; /* the filters of IP see bridged packets */
    bool marked;       /* the packet may have a mark, or its connection */
};
struct net_xt_match {
    char name[32];
    uint32_t revision;
    const uint8_t *data; /* the match's struct; borrowed, of any alignment */
    size_t size;
};
enum net_xt_holds net_xt_match_holds(const struct net_xt_match *m, const struct net_xt_way *way);
enum net_xt_holds net_xt_inverted(enum net_xt_holds h, bool invert);
/* Of two tests in one rule: NO wins; then UNCLEAR, NOT_OURS, YES. */
enum net_xt_holds net_xt_both(enum net_xt_holds a, enum net_xt_holds b);
#endif
