/* table bridge berth, only where there are containers.
 *
 * pass (filter, forward)
 *      Frames from and to the isolated ports. They never pass the tables of IP, and the layer 3
 *      detour never passes this chain, so both are needed.
 * guard (filter, prerouting)
 *      Frames from our ports, by link group or by name, go through `sources`. Foreign ports do not.
 * sources (jumped to)
 *      What a port may send. It runs before the bridge learns the MAC, and before br_netfilter.
 *      1. Dropped: frames of VLAN 0, frames with two VLAN tags, and IPv6 fragments that begin with
 *         one of `headers6`, which are all extension headers. The rules below would not see what
 *         they carry.
 *      2. Router advertisements, redirects, DHCP answers, queries of multicast routers, and news of
 *         a smaller path MTU come only from ports in `routers`.
 *      3. A MAC in `takenmac` comes only from its own port. A port outside `anymac` sends only from
 *         its MACs in `macs`. The sender's MAC inside an ARP packet counts as well.
 *      4. IPv4 and ARP: likewise `taken4`, `free4`, `src4`. 0.0.0.0 passes (ARP probes, DHCP
 *         requests).
 *      5. IPv6 and neighbour discovery: likewise `taken6`, `src6`. A port outside `anymac` may also
 *         send from the addresses that the kernel makes of its MAC: link-local ones, and those in
 *         prefixes that a router advertises. Their last 8 bytes are in `ids6`. A port in `alone`
 *         sends only from its own addresses and link-local ones. :: passes (duplicate address
 *         detection). An address that a neighbour advertisement, or detection from ::, claims is
 *         checked like a source address, with `claimed6` and `claims6`. nft tells these sets from
 *         sets of addresses by their type.
 *      A port in `routers` may forward packets from any address, but in ARP and neighbour discovery
 *      it claims only its own. */
#include "netops/nft_builder.h"
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <netinet/in.h>

/* of table bridge berth; "alone" comes first */
static const struct nft_set_row source_sets[] = {
    {"macs", T_PAIR(T_IFNAME, T_ETHER), 24, 0, 0, ORDER_MIXED},
    {"src4", T_PAIR(T_IFNAME, T_IPV4), 20, 0, 0, ORDER_MIXED},
    {"src6", T_PAIR(T_IFNAME, T_IPV6), 32, 0, 0, ORDER_MIXED},
    {"claims6", T_PAIR(T_IFNAME, T_INTEGER), 32, 0, 0, ORDER_MIXED},
    {"ids6", T_PAIR(T_IFNAME, T_INTEGER), 24, 0, 0, ORDER_MIXED},
    {"headers6", T_PROTO, 1, 0, 0, ORDER_BIG},
    {"guests", T_IFNAME, 16, 0, 0, ORDER_HOST},
    {"routers", T_IFNAME, 16, 0, 0, ORDER_HOST},
    {"anymac", T_IFNAME, 16, 0, 0, ORDER_HOST},
    {"free4", T_IFNAME, 16, 0, 0, ORDER_HOST},
    {"takenmac", T_ETHER, 6, 0, 0, ORDER_BIG},
    {"taken4", T_IPV4, 4, 0, 0, ORDER_BIG},
    {"taken6", T_IPV6, 16, 0, 0, ORDER_BIG},
    {"claimed6", T_INTEGER, 16, 0, 0, ORDER_BIG},
};
enum {
    BRIDGE_PRIORITY = -200, /* NF_BR_PRI_FILTER_BRIDGED: nft's "filter" in this family */
    /* NF_BR_PRI_NAT_DST_BRIDGED: nft's "dstnat", before br_netfilter (0) */
    SOURCE_PRIORITY = -300
};

static const struct nft_set_row alone = {"alone", T_IFNAME, IFNAMSIZ, 0, 0, ORDER_HOST};
static const struct nft_chain_row pass = {"pass", "filter", NF_INET_FORWARD, BRIDGE_PRIORITY};
static const struct nft_chain_row source_chains[] = {
    {"sources", NULL, 0, 0},
    {"guard", "filter", NF_INET_PRE_ROUTING, SOURCE_PRIORITY},
};

/* ---- the checks of what a port sends ---- */

enum {
    LINK = NFT_PAYLOAD_LL_HEADER,
    NETWORK = NFT_PAYLOAD_NETWORK_HEADER,
    TRANSPORT = NFT_PAYLOAD_TRANSPORT_HEADER
};
struct field { /* of a frame */
    uint32_t base, offset, len;
};
static const struct field ether_source = {LINK, 6, 6}, arp_mac = {NETWORK, 8, 6},
                          arp_source = {NETWORK, 14, 4}, ip4_source = {NETWORK, 12, 4},
                          ip6_source = {NETWORK, 8, 16}, nd_target = {TRANSPORT, 8, 16};
static const struct field ip6_source_id = {NETWORK, 16, 8}, nd_target_id = {TRANSPORT, 16, 8};
static const uint8_t no_address[16];

/* The order of expressions is nft's own, so that a ruleset which nft saved and loaded again is
 * equal. It tests for ARP in the frame, where a VLAN tag hides it: the first rules drop frames
 * of VLAN 0, which a receiver takes for untagged ones. */
static void source_rule(struct nft_builder *b, uint16_t ether_type) /* 0: any */
{
    uint16_t type = htons(ether_type);
    net_nft_rule_begin(b, "sources");
    if (!ether_type)
        return;
    if (ether_type == ETH_P_ARP)
        net_nft_put_payload(b, LINK, 12, sizeof type, R1);
    else
        net_nft_put_meta(b, NFT_META_PROTOCOL, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, &type, sizeof type);
}
static void is(struct nft_builder *b, const struct field *f, const void *value)
{
    net_nft_put_payload(b, f->base, f->offset, f->len, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, value, f->len);
}
static void field_in(struct nft_builder *b, const struct field *f, const char *in_set)
{
    net_nft_put_payload(b, f->base, f->offset, f->len, R1);
    net_nft_put_lookup(b, in_set, 0);
}
static void not_the_ports_own(struct nft_builder *b, const struct field *f, const char *in_set)
{
    /* 16 bytes: the field follows in the next register */
    net_nft_put_meta(b, NFT_META_IIFNAME, R1);
    net_nft_put_payload(b, f->base, f->offset, f->len, R2);
    net_nft_put_lookup(b, in_set, NFT_LOOKUP_F_INV);
}
static void protocol_is(struct nft_builder *b, uint8_t number)
{
    net_nft_put_meta(b, NFT_META_L4PROTO, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, &number, 1);
}
static void not_link_local(struct nft_builder *b, const struct field *f)
{
    static const uint8_t bits[2] = {0xff, 0xc0}, net[2] = {0xfe, 0x80};
    net_nft_put_payload(b, f->base, f->offset, sizeof net, R1);
    net_nft_put_mask(b, bits, sizeof bits);
    net_nft_put_cmp(b, NFT_CMP_NEQ, net, sizeof net);
}
static void icmp6_is(struct nft_builder *b, uint8_t type)
{
    static const struct field icmp_type = {TRANSPORT, 0, 1};
    protocol_is(b, IPPROTO_ICMPV6);
    is(b, &icmp_type, &type);
}
/* Receivers ignore neighbour discovery that a router could have forwarded (RFC 4861). */
static void never_forwarded(struct nft_builder *b)
{
    static const struct field hop_limit = {NETWORK, 7, 1};
    is(b, &hop_limit, "\xff");
}

static void only_routers(struct nft_builder *b, const char *what)
{
    net_nft_put_name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
    net_nft_put_verdict(b, NF_DROP, NULL);
    net_nft_rule_done(b, "drop %s from containers that are no routers", what);
}

/* The kernel takes the outer tag off before the rules run, and shows it again to who asks for the
 * frame's beginning. What then is of a type of tags has another one. */
static void vlan_rules(struct nft_builder *b)
{
    static const struct field type = {LINK, 12, 2};
    static const uint8_t types[2][2] = {{0x81, 0x00}, {0x88, 0xa8}}, bits[2] = {0x0f, 0xff},
                         none[2];

    for (size_t i = 0; i < 2; i++) {
        net_nft_rule_begin(b, "sources");
        is(b, &type, types[i]);
        net_nft_put_payload(b, LINK, 14, sizeof bits, R1);
        net_nft_put_mask(b, bits, sizeof bits);
        net_nft_put_cmp(b, NFT_CMP_EQ, none, sizeof none);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop frames of VLAN 0");
    }
    for (size_t i = 0; i < 2; i++) {
        net_nft_rule_begin(b, "sources");
        net_nft_put_meta(b, NFT_META_PROTOCOL, R1);
        net_nft_put_cmp(b, NFT_CMP_EQ, types[i], sizeof types[i]);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop frames with two VLAN tags");
    }
}

/* Any IPv6 packet. A rule needs a field of the IP header: without one nft would write it in another
 * way. */
static void any_ip6(struct nft_builder *b)
{
    static const uint8_t bits[1] = {0xf0}, version[1] = {0x60};
    source_rule(b, ETH_P_IPV6);
    net_nft_put_payload(b, NETWORK, 0, sizeof bits, R1);
    net_nft_put_mask(b, bits, sizeof bits);
    net_nft_put_cmp(b, NFT_CMP_EQ, version, sizeof version);
}

/* A first fragment that ends between two extension headers has no type or port that a rule could
 * see, and Linux puts such a packet together all the same (RFC 7112 forbids them). */
static void fragment_rule(struct nft_builder *b)
{
    any_ip6(b);
    net_nft_put_fragment_next(b);
    net_nft_put_lookup(b, "headers6", 0);
    only_routers(b, "IPv6 fragments that begin with an extension header");
}

/* The bridges of a spanning tree believe the best one that they hear of (IEEE 802.1D). */
static void bpdu_rule(struct nft_builder *b)
{
    static const struct field to = {LINK, 0, 6};
    net_nft_rule_begin(b, "sources");
    is(b, &to, "\x01\x80\xc2\0\0\0");
    only_routers(b, "frames of spanning trees");
}

static void server_rules(struct nft_builder *b)
{
    static const struct {
        uint16_t ether_type, port;
        uint8_t icmp;
        const char *means;
    } rows[] = {
        {ETH_P_IPV6, 0, 134, "router advertisements"},
        {ETH_P_IPV6, 0, 137, "IPv6 redirects"},
        {ETH_P_IP, 68, 0, "answers of DHCP servers"},
        {ETH_P_IPV6, 546, 0, "answers of DHCPv6 servers"},
    };
    static const struct field to_port = {TRANSPORT, 2, 2};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint16_t port = htons(rows[i].port);
        source_rule(b, rows[i].ether_type);
        if (rows[i].icmp) {
            never_forwarded(b);
            icmp6_is(b, rows[i].icmp);
        } else {
            protocol_is(b, IPPROTO_UDP);
            is(b, &to_port, &port);
        }
        only_routers(b, rows[i].means);
    }
}

/* Only who forwards a packet says that it was too large (RFC 1191, RFC 8201). The kernel takes the
 * path MTU from such a message for the address that it quotes, for some protocols without a look at
 * what it sent itself. */
static void mtu_rules(struct nft_builder *b)
{
    static const struct field protocol = {NETWORK, 9, 1}, type_and_code = {TRANSPORT, 0, 2};
    static const uint8_t icmp[1] = {IPPROTO_ICMP}, fragmentation_needed[2] = {3, 4};

    source_rule(b, ETH_P_IP);
    is(b, &protocol, icmp);
    is(b, &type_and_code, fragmentation_needed);
    only_routers(b, "ICMP fragmentation needed");
    any_ip6(b);
    icmp6_is(b, 2);
    only_routers(b, "ICMPv6 packet too big");
}

/* A query makes the bridge believe in a querier for minutes: it then forwards multicast, and with
 * it neighbour discovery, only to ports that have answered one, and to the querier's port all of
 * it. The bridge takes MLD only behind a hop-by-hop header, and announcements of multicast routers
 * only to their address (ipv6_mc_check_exthdrs in net/ipv6/mcast_snoop.c; RFC 4286). Without that
 * field nft would write the rules in another way. */
static void querier_rules(struct nft_builder *b)
{
    static const uint8_t hop_by_hop[1] = {IPPROTO_HOPOPTS};
    static const uint8_t all_snoopers[16] = {0xff, 0x02, [15] = 0x6a};
    static const struct {
        uint16_t ether_type;
        struct field field;
        const uint8_t *value;
        uint8_t type;
        const char *means;
    } rows[] = {
        {ETH_P_IPV6, {NETWORK, 6, 1}, hop_by_hop, 130, "MLD queries"},
        {ETH_P_IPV6, {NETWORK, 24, 16}, all_snoopers, 151, "IPv6 multicast router announcements"},
        {ETH_P_IP, {0}, NULL, 0x11, "IGMP queries"},
        {ETH_P_IP, {0}, NULL, 0x30, "IPv4 multicast router announcements"},
    };
    static const struct field type = {TRANSPORT, 0, 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        source_rule(b, rows[i].ether_type);
        if (rows[i].value)
            is(b, &rows[i].field, rows[i].value);
        protocol_is(b, rows[i].ether_type == ETH_P_IP ? IPPROTO_IGMP : IPPROTO_ICMPV6);
        is(b, &type, &rows[i].type);
        only_routers(b, rows[i].means);
    }
}

/* What is in `taken` comes only from its own port; a port outside `others` sends only what is
 * its own. */
static void pair_rules(struct nft_builder *b, uint16_t ether_type, const struct field *f,
                       const char *taken, const char *own, const char *others, const char *what)
{
    source_rule(b, ether_type);
    field_in(b, f, taken);
    not_the_ports_own(b, f, own);
    if (ether_type == ETH_P_IP)
        net_nft_put_name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
    net_nft_put_verdict(b, NF_DROP, NULL);
    net_nft_rule_done(b, "drop %s that are somebody else's", what);
    source_rule(b, ether_type);
    not_the_ports_own(b, f, own);
    net_nft_put_name_in(b, NFT_META_IIFNAME, others, NFT_LOOKUP_F_INV);
    net_nft_put_verdict(b, NF_DROP, NULL);
    net_nft_rule_done(b, "drop %s that are not the port's own", what);
}

static void accept_without(struct nft_builder *b, uint16_t ether_type, const struct field *f)
{
    source_rule(b, ether_type);
    is(b, f, no_address);
    net_nft_put_verdict(b, NF_ACCEPT, NULL);
    net_nft_rule_done(b, "accept what has no source address yet");
}

/* The three rules for an IPv6 address that a port sends from or claims. */
enum rule6 { TAKEN, NOT_OWN, NOT_OWN_ALONE };

static void unless_own6(struct nft_builder *b, enum rule6 rule, bool claim)
{
    const struct field *address = claim ? &nd_target : &ip6_source;
    const char *own = claim ? "claims6" : "src6";

    if (rule == TAKEN)
        field_in(b, address, claim ? "claimed6" : "taken6");
    not_the_ports_own(b, address, own);
    if (rule == NOT_OWN) {
        not_the_ports_own(b, claim ? &nd_target_id : &ip6_source_id, "ids6");
        net_nft_put_name_in(b, NFT_META_IIFNAME, "anymac", NFT_LOOKUP_F_INV);
    }
    if (rule == NOT_OWN_ALONE) {
        not_link_local(b, address);
        net_nft_put_name_in(b, NFT_META_IIFNAME, "alone", 0);
    }
    if (rule == TAKEN && !claim)
        net_nft_put_name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
}

static void drop6(struct nft_builder *b, enum rule6 rule, const char *what)
{
    static const char *const why[] = {
        [TAKEN] = "that are somebody else's",
        [NOT_OWN] = "that are not the port's own",
        [NOT_OWN_ALONE] = "that are not the isolated container's",
    };
    net_nft_put_verdict(b, NF_DROP, NULL);
    net_nft_rule_done(b, "drop %s %s", what, why[rule]);
}

/* What a neighbour advertisement claims, or a solicitation from :: (duplicate address
 * detection). */
static void claim_rules(struct nft_builder *b, uint8_t type)
{
    const char *what = type == 136 ? "neighbour advertisements of addresses"
                                   : "duplicate address detection of addresses";

    for (enum rule6 rule = TAKEN; rule <= NOT_OWN_ALONE; rule++) {
        source_rule(b, ETH_P_IPV6);
        if (type == 136)
            never_forwarded(b);
        else
            is(b, &ip6_source, no_address);
        icmp6_is(b, type);
        unless_own6(b, rule, true);
        drop6(b, rule, what);
    }
}

static void address6_rules(struct nft_builder *b)
{
    claim_rules(b, 136);
    claim_rules(b, 135);
    accept_without(b, ETH_P_IPV6, &ip6_source);
    for (enum rule6 rule = TAKEN; rule <= NOT_OWN_ALONE; rule++) {
        source_rule(b, ETH_P_IPV6);
        unless_own6(b, rule, false);
        drop6(b, rule, "IPv6 source addresses");
    }
}

static void source_checks(struct nft_builder *b, uint32_t group)
{
    net_nft_add_sets(b, source_sets, sizeof source_sets / sizeof *source_sets);
    net_nft_add_chains(b, source_chains, sizeof source_chains / sizeof *source_chains);
    net_nft_rule_begin(b, "guard");
    net_nft_put_meta(b, NFT_META_IIFGROUP, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, &group, sizeof group);
    net_nft_put_verdict(b, NFT_JUMP, "sources");
    net_nft_rule_done(b, "what ports of our making send is checked");
    net_nft_rule_begin(b, "guard");
    net_nft_put_name_in(b, NFT_META_IIFNAME, "guests", 0);
    net_nft_put_verdict(b, NFT_JUMP, "sources");
    net_nft_rule_done(b, "what other ports of containers send is checked");
    vlan_rules(b);
    fragment_rule(b);
    bpdu_rule(b);
    server_rules(b);
    querier_rules(b);
    mtu_rules(b);
    pair_rules(b, 0, &ether_source, "takenmac", "macs", "anymac", "source MACs");
    pair_rules(b, ETH_P_ARP, &arp_mac, "takenmac", "macs", "anymac", "MACs in ARP packets");
    accept_without(b, ETH_P_IP, &ip4_source);
    pair_rules(b, ETH_P_IP, &ip4_source, "taken4", "src4", "free4", "IPv4 source addresses");
    accept_without(b, ETH_P_ARP, &arp_source);
    pair_rules(b, ETH_P_ARP, &arp_source, "taken4", "src4", "free4", "addresses in ARP packets");
    address6_rules(b);
}

void net_nft_bridge_table(struct nft_builder *b, const struct net_nft *want)
{
    net_nft_add_table(b, NFT_BRIDGE);
    net_nft_add_sets(b, &alone, 1);
    net_nft_add_chains(b, &pass, 1);
    if (want->n_sources)
        source_checks(b, want->group);
    for (unsigned to = 0; to < 2; to++) {
        net_nft_rule_begin(b, "pass");
        net_nft_put_name_in(b, to ? NFT_META_OIFNAME : NFT_META_IIFNAME, "alone", 0);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop frames %s isolated containers", to ? "to" : "from");
    }
}
