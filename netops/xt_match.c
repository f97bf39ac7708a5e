/* One function for each match whose answer is certain. */
#include "netops/xt_match.h"
#include <linux/if_packet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

/* These need the structs of the headers above. */
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_physdev.h>
#include <linux/netfilter/xt_pkttype.h>
#include <linux/netfilter/xt_state.h>

enum net_xt_holds net_xt_inverted(enum net_xt_holds h, bool invert)
{
    if (invert && h == NET_XT_YES)
        return NET_XT_NO;
    if (invert && h == NET_XT_NO)
        return NET_XT_YES;
    return h;
}

enum net_xt_holds net_xt_both(enum net_xt_holds a, enum net_xt_holds b)
{
    if (a == NET_XT_NO || b == NET_XT_NO)
        return NET_XT_NO;
    return a > b ? a : b;
}

static enum net_xt_holds certain(bool holds)
{
    return holds ? NET_XT_YES : NET_XT_NO;
}

/* The packet is new, and goes in the original direction. Its connection is not confirmed before the
 * packet has left, so of the status bits it has at most that of a port map. */
static enum net_xt_holds test_conntrack(const struct net_xt_match *m, const struct net_xt_way *way)
{
    static const unsigned some_packets = XT_CONNTRACK_PROTO | XT_CONNTRACK_EXPIRES |
                                         XT_CONNTRACK_ORIGSRC_PORT | XT_CONNTRACK_ORIGDST_PORT |
                                         XT_CONNTRACK_REPLSRC_PORT | XT_CONNTRACK_REPLDST_PORT;
    static const unsigned addresses =
        XT_CONNTRACK_ORIGSRC | XT_CONNTRACK_ORIGDST | XT_CONNTRACK_REPLSRC | XT_CONNTRACK_REPLDST;
    struct xt_conntrack_mtinfo3 x = {0};
    unsigned state = XT_CONNTRACK_STATE_BIT(IP_CT_NEW);
    unsigned status = way->mapped ? IPS_DST_NAT | IPS_DST_NAT_DONE : 0;
    enum net_xt_holds h = NET_XT_YES;

    /* Revision 2 has the same fields up to the port ranges at the end. */
    if ((m->revision != 2 && m->revision != 3) || m->size < sizeof(struct xt_conntrack_mtinfo2))
        return NET_XT_UNCLEAR;
    memcpy(&x, m->data, sizeof(struct xt_conntrack_mtinfo2));
    /* No packet has the state SNAT here: POSTROUTING comes later. */
    if (way->mapped)
        state |= XT_CONNTRACK_STATE_DNAT;
    if (x.match_flags & XT_CONNTRACK_STATE)
        h = net_xt_inverted(certain(x.state_mask & state), x.invert_flags & XT_CONNTRACK_STATE);
    if (x.match_flags & XT_CONNTRACK_DIRECTION)
        h = net_xt_both(h, certain(!(x.invert_flags & XT_CONNTRACK_DIRECTION)));
    /* A helper's bits, such as EXPECTED, depend on other connections. */
    if (x.match_flags & XT_CONNTRACK_STATUS) {
        static const unsigned later = IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED;
        bool plain = !(x.status_mask & ~(later | IPS_DST_NAT | IPS_DST_NAT_DONE));
        enum net_xt_holds has = plain ? certain(x.status_mask & status) : NET_XT_UNCLEAR;
        h = net_xt_both(h, net_xt_inverted(has, x.invert_flags & XT_CONNTRACK_STATUS));
    }
    if (x.match_flags & some_packets)
        h = net_xt_both(h, NET_XT_NOT_OURS);
    if (x.match_flags & addresses)
        h = net_xt_both(h, NET_XT_UNCLEAR);
    return h;
}

static enum net_xt_holds test_state(const struct net_xt_match *m)
{
    struct xt_state_info x;

    if (m->size < sizeof x)
        return NET_XT_UNCLEAR;
    memcpy(&x, m->data, sizeof x);
    return certain(x.statemask & XT_STATE_BIT(IP_CT_NEW));
}

/* Without br_netfilter no packet has come by a port, and each test holds only if it is inverted. */
static enum net_xt_holds test_physdev(const struct net_xt_match *m, const struct net_xt_way *way)
{
    struct xt_physdev_info x;
    enum net_xt_holds h = NET_XT_YES;

    if (m->size < sizeof x)
        return NET_XT_UNCLEAR;
    memcpy(&x, m->data, sizeof x);
    if (x.bitmask & XT_PHYSDEV_OP_BRIDGED)
        h = certain(way->bridged == !(x.invert & XT_PHYSDEV_OP_BRIDGED));
    unsigned ports = x.bitmask & ~(unsigned)XT_PHYSDEV_OP_BRIDGED;
    if (!ports)
        return h;
    if (way->br_netfilter)
        return net_xt_both(h, NET_XT_UNCLEAR);
    return net_xt_both(h, certain(!(ports & ~(unsigned)x.invert)));
}

/* A forwarded packet has two addresses of other hosts: neither is this host's, nor a group's. */
static enum net_xt_holds test_addrtype(const struct net_xt_match *m)
{
    enum { LIMITS = XT_ADDRTYPE_LIMIT_IFACE_IN | XT_ADDRTYPE_LIMIT_IFACE_OUT };
    struct xt_addrtype_info old;
    struct xt_addrtype_info_v1 x = {0};
    enum net_xt_holds h = NET_XT_YES;

    if (m->size < (m->revision ? sizeof x : sizeof old) || m->revision > 1)
        return NET_XT_UNCLEAR;
    if (m->revision) {
        memcpy(&x, m->data, sizeof x);
    } else {
        memcpy(&old, m->data, sizeof old);
        x.source = old.source;
        x.dest = old.dest;
        x.flags = (old.invert_source ? XT_ADDRTYPE_INVERT_SOURCE : 0u) |
                  (old.invert_dest ? XT_ADDRTYPE_INVERT_DEST : 0u);
    }
    if (x.flags & LIMITS)
        return NET_XT_UNCLEAR;
    if (x.source)
        h = net_xt_inverted(certain(x.source & XT_ADDRTYPE_UNICAST),
                            x.flags & XT_ADDRTYPE_INVERT_SOURCE);
    if (x.dest)
        h = net_xt_both(h, net_xt_inverted(certain(x.dest & XT_ADDRTYPE_UNICAST),
                                           x.flags & XT_ADDRTYPE_INVERT_DEST));
    return h;
}

/* `mark` and `connmark` have the same struct. */
static enum net_xt_holds test_mark(const struct net_xt_match *m, const struct net_xt_way *way)
{
    struct xt_mark_mtinfo1 x;

    if (m->revision != 1 || m->size < sizeof x || way->marked)
        return NET_XT_UNCLEAR;
    memcpy(&x, m->data, sizeof x);
    return net_xt_inverted(certain((0 & x.mask) == x.mark), x.invert);
}

static enum net_xt_holds test_pkttype(const struct net_xt_match *m)
{
    struct xt_pkttype_info x;

    if (m->size < sizeof x)
        return NET_XT_UNCLEAR;
    memcpy(&x, m->data, sizeof x);
    return net_xt_inverted(certain(x.pkttype == PACKET_HOST), x.invert);
}

/* Tests of protocols, ports and times pass some packets of any bridge. */
static bool tests_no_bridge(const char *name)
{
    static const char *const list[] = {
        "tcp", "udp",  "udplite",   "sctp",      "dccp",      "icmp",   "icmp6",
        "ah",  "esp",  "multiport", "tos",       "length",    "dscp",   "ttl",
        "hl",  "time", "hashlimit", "connlimit", "statistic", "string", "limit",
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (!strcmp(name, list[i]))
            return true;
    return false;
}

enum net_xt_holds net_xt_match_holds(const struct net_xt_match *m, const struct net_xt_way *way)
{
    if (!strcmp(m->name, "comment"))
        return NET_XT_YES;
    if (!strcmp(m->name, "conntrack"))
        return test_conntrack(m, way);
    if (!strcmp(m->name, "state"))
        return test_state(m);
    if (!strcmp(m->name, "physdev"))
        return test_physdev(m, way);
    if (!strcmp(m->name, "addrtype"))
        return test_addrtype(m);
    if (!strcmp(m->name, "mark") || !strcmp(m->name, "connmark"))
        return test_mark(m, way);
    if (!strcmp(m->name, "pkttype"))
        return test_pkttype(m);
    return tests_no_bridge(m->name) ? NET_XT_NOT_OURS : NET_XT_UNCLEAR;
}
