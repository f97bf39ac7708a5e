/* table inet berth. Only `src` and `pass` grow, by a few rules per bridge and net; containers are
 * elements. Without NAT, port maps and isolated containers it holds one rule, of `guard`.
 *
 * guard (filter, prerouting, raw)
 *      Nothing from our bridges is to or from 127/8: with route_localnet set on a bridge, a
 *      container would reach the loopback services of the host. Other interfaces stay as their
 *      owners want them. Nothing comes from a port but by way of its bridge: the bridge hands
 *      frames to 01:80:c2:00:00:0e to the host unseen (br_handle_frame).
 * ports (jumped to)
 *      The port maps. A map of one address of the host comes before a map of any address.
 * in, own (nat, prerouting, output)
 *      Packets to an address of this host go through the port maps. ::1 cannot be mapped.
 * src (nat, postrouting)
 *      Answers must come back this way: those of loopback clients, and those of containers that
 *      reach a neighbour on their own bridge by a port map (the source decides). Then, per net,
 *      packets that leave by the uplink are masqueraded. Packets that stay inside never leave by it.
 * pass (filter, forward), in this order
 *      1. Packets that do not go to one of our bridges are none of our business.
 *      2. What a port map let in, and the answers to it. A published port is published for
 *         everybody, also for the neighbours of an isolated container, and an isolated container
 *         may use published ports like everybody.
 *      3. Bridge to bridge, from or to an isolated container: drop. This comes before 4, so that
 *         isolation cuts open connections.
 *      4. Answers.
 *      5. Per bridge with inbound `ports`: drop what comes from anywhere but the bridge itself.
 *         Another bridge of ours is anywhere. Only bridge B says whether bridge A may reach it. */
#include "netops/nft_builder.h"
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const struct nft_set_row sets[] = {
    /* name, key, bytes of the key, data, bytes of the data, order */
    {"bridges", T_IFNAME, 16, 0, 0, ORDER_HOST},
    {"protos", T_PROTO, 1, 0, 0, ORDER_BIG},
    {"alone4", T_IPV4, 4, 0, 0, ORDER_BIG},
    {"alone6", T_IPV6, 16, 0, 0, ORDER_BIG},
    {"any4", T_PAIR(T_PROTO, T_SERVICE), 8, T_PAIR(T_IPV4, T_SERVICE), 8, ORDER_MIXED},
    {"any6", T_PAIR(T_PROTO, T_SERVICE), 8, T_PAIR(T_IPV6, T_SERVICE), 20, ORDER_MIXED},
    {"one4", T_PAIR(T_PAIR(T_IPV4, T_PROTO), T_SERVICE), 12, T_PAIR(T_IPV4, T_SERVICE), 8,
     ORDER_MIXED},
    {"one6", T_PAIR(T_PAIR(T_IPV6, T_PROTO), T_SERVICE), 24, T_PAIR(T_IPV6, T_SERVICE), 20,
     ORDER_MIXED},
};
static const struct nft_chain_row guard = {"guard", "filter", NF_INET_PRE_ROUTING, -300};
static const struct nft_chain_row chains[] = {
    /* name, type, hook, priority */
    {"ports", NULL, 0, 0},
    {"in", "nat", NF_INET_PRE_ROUTING, -100},
    {"own", "nat", NF_INET_LOCAL_OUT, -100},
    {"src", "nat", NF_INET_POST_ROUTING, 100},
    {"pass", "filter", NF_INET_FORWARD, 0},
};

/* As nft does it: whole bytes are loaded alone, else the address is masked. */
static void from_net(struct nft_builder *b, const struct net_nft_net *net)
{
    uint32_t len = net_nft_address_len(net->family);
    uint8_t bits[16];

    net_nft_put_family(b, net->family);
    if (net->prefix == 0)
        return;
    if (net->prefix % 8 == 0)
        len = net->prefix / 8;
    net_nft_put_address(b, net->family, true, len);
    if (net->prefix % 8) {
        memset(bits, 0, sizeof bits);
        memset(bits, 0xff, net->prefix / 8);
        bits[net->prefix / 8] = (uint8_t)(0xff00 >> (net->prefix % 8));
        net_nft_put_mask(b, bits, len);
    }
    net_nft_put_cmp(b, NFT_CMP_EQ, net->bytes, len);
}
static void loopback(struct nft_builder *b, bool source)
{
    net_nft_put_family(b, NFPROTO_IPV4);
    net_nft_put_address(b, NFPROTO_IPV4, source, 1);
    net_nft_put_cmp(b, NFT_CMP_EQ, "\x7f", 1);
}
static void to_host(struct nft_builder *b) /* fib daddr type local */
{
    static const uint32_t local = RTN_LOCAL;
    struct nftnl_expr *x = net_nft_put_expr(b, "fib");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_DREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
    net_nft_put_cmp(b, NFT_CMP_EQ, &local, sizeof local);
}

static void map_rule(struct nft_builder *b, const char *map, uint8_t number, bool one)
{
    /* behind the address: a register of 4 bytes, or of 16 */
    uint32_t port = number == AF_INET ? R9 : R2;

    net_nft_rule_begin(b, "ports");
    net_nft_put_meta(b, NFT_META_L4PROTO, R1);
    net_nft_put_lookup(b, "protos", 0);
    if (one) { /* key: address, protocol, port */
        net_nft_put_family(b, number);
        net_nft_put_address(b, number, false, net_nft_address_len(number));
        net_nft_put_meta(b, NFT_META_L4PROTO, port);
        net_nft_put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2,
                            number == AF_INET ? R10 : NFT_REG32_05);
    } else {
        net_nft_put_meta(b, NFT_META_L4PROTO, R1);
        net_nft_put_payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R9);
    }
    struct nftnl_expr *x = net_nft_put_expr(b, "lookup");
    if (x) {
        nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, map);
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, R1);
    }
    x = net_nft_put_expr(b, "nat");
    if (x) {
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, number);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MAX, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, port);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MAX, port);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FLAGS,
                           NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
    }
    net_nft_rule_done(b, "port maps of %s address, IPv%c", one ? "one" : "any",
                      number == AF_INET ? '4' : '6');
}

static const char *net_text(const struct net_nft_net *net, char *out, size_t size)
{
    char address_text[INET6_ADDRSTRLEN];
    inet_ntop(net->family, net->bytes, address_text, sizeof address_text);
    snprintf(out, size, "%s/%u", address_text, net->prefix);
    return out;
}

static void src_rules(struct nft_builder *b, const struct net_nft_bridge *const *bridges, size_t n)
{
    char text[64];

    net_nft_rule_begin(b, "src");
    net_nft_put_name_in(b, NFT_META_OIFNAME, "bridges", 0);
    loopback(b, true);
    net_nft_put_expr(b, "masq");
    net_nft_rule_done(b, "masquerade loopback clients of port maps");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < bridges[i]->n_net; k++) {
            const struct net_nft_net *net = &bridges[i]->net[k];
            net_nft_rule_begin(b, "src");
            net_nft_put_name_is(b, NFT_META_OIFNAME, bridges[i]->name, NFT_CMP_EQ);
            net_nft_put_ct(b, NFT_CT_STATUS, IPS_DST_NAT);
            from_net(b, net);
            net_nft_put_expr(b, "masq");
            net_nft_rule_done(b, "masquerade %s to its own bridge %s by a port map",
                              net_text(net, text, sizeof text), bridges[i]->name);
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < bridges[i]->n_net; k++) {
            const struct net_nft_net *net = &bridges[i]->net[k];
            const char *uplink = net->family == AF_INET ? bridges[i]->uplink4 : bridges[i]->uplink6;
            if (!uplink[0])
                continue;
            net_nft_rule_begin(b, "src");
            from_net(b, net);
            net_nft_put_name_is(b, NFT_META_OIFNAME, uplink, NFT_CMP_EQ);
            net_nft_put_expr(b, "masq");
            net_nft_rule_done(b, "masquerade %s leaving by %s", net_text(net, text, sizeof text),
                              uplink);
        }
}

static void pass_rules(struct nft_builder *b, const struct net_nft_bridge *const *bridges, size_t n)
{
    net_nft_rule_begin(b, "pass");
    net_nft_put_name_in(b, NFT_META_OIFNAME, "bridges", NFT_LOOKUP_F_INV);
    net_nft_put_verdict(b, NF_ACCEPT, NULL);
    net_nft_rule_done(b, "accept what does not go to our bridges");
    net_nft_rule_begin(b, "pass");
    net_nft_put_ct(b, NFT_CT_STATUS, IPS_DST_NAT);
    net_nft_put_verdict(b, NF_ACCEPT, NULL);
    net_nft_rule_done(b, "accept what a port map let in");
    for (unsigned i = 0; i < 4; i++) {
        uint8_t number = i < 2 ? AF_INET : AF_INET6;
        net_nft_rule_begin(b, "pass");
        net_nft_put_name_in(b, NFT_META_IIFNAME, "bridges", 0);
        net_nft_put_family(b, number);
        net_nft_put_address(b, number, i % 2, net_nft_address_len(number));
        net_nft_put_lookup(b, number == AF_INET ? "alone4" : "alone6", 0);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop from bridges %s isolated containers, IPv%c",
                          i % 2 ? "what comes from" : "what goes to",
                          number == AF_INET ? '4' : '6');
    }
    net_nft_rule_begin(b, "pass");
    net_nft_put_ct(b, NFT_CT_STATE,
                   NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
    net_nft_put_verdict(b, NF_ACCEPT, NULL);
    net_nft_rule_done(b, "accept answers");
    for (size_t i = 0; i < n; i++) {
        if (bridges[i]->open)
            continue;
        net_nft_rule_begin(b, "pass");
        net_nft_put_name_is(b, NFT_META_OIFNAME, bridges[i]->name, NFT_CMP_EQ);
        net_nft_put_name_is(b, NFT_META_IIFNAME, bridges[i]->name, NFT_CMP_NEQ);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop the rest that comes to %s from outside", bridges[i]->name);
    }
}

/* The bridges are in the group as well. */
static void drop_past_bridge(struct nft_builder *b, uint32_t group)
{
    static const char kind[IFNAMSIZ] = "veth";
    net_nft_rule_begin(b, "guard");
    net_nft_put_meta(b, NFT_META_IIFKIND, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, kind, sizeof kind);
    net_nft_put_meta(b, NFT_META_IIFGROUP, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, &group, sizeof group);
    net_nft_put_verdict(b, NF_DROP, NULL);
    net_nft_rule_done(b, "drop what ports send to this host past their bridge");
}

void net_nft_inet_guard(struct nft_builder *b, uint32_t group)
{
    net_nft_add_table(b, NFT_INET);
    net_nft_add_chains(b, &guard, 1);
    drop_past_bridge(b, group);
}

void net_nft_inet_table(struct nft_builder *b, const struct net_nft_bridge *const *bridges,
                        size_t n, uint32_t group)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};

    net_nft_add_table(b, NFT_INET);
    net_nft_add_sets(b, sets, sizeof sets / sizeof *sets);
    net_nft_add_chains(b, &guard, 1);
    net_nft_add_chains(b, chains, sizeof chains / sizeof *chains);
    if (group)
        drop_past_bridge(b, group);
    for (unsigned source = 0; source < 2; source++) {
        net_nft_rule_begin(b, "guard");
        net_nft_put_name_in(b, NFT_META_IIFNAME, "bridges", 0);
        loopback(b, source);
        net_nft_put_verdict(b, NF_DROP, NULL);
        net_nft_rule_done(b, "drop what our bridges send %s 127.0.0.0/8", source ? "as" : "to");
    }
    map_rule(b, "one4", AF_INET, true);
    map_rule(b, "any4", AF_INET, false);
    map_rule(b, "one6", AF_INET6, true);
    map_rule(b, "any6", AF_INET6, false);
    net_nft_rule_begin(b, "in");
    to_host(b);
    net_nft_put_verdict(b, NFT_JUMP, "ports");
    net_nft_rule_done(b, "what comes to this host goes through the port maps");
    net_nft_rule_begin(b, "own");
    net_nft_put_family(b, NFPROTO_IPV6);
    net_nft_put_address(b, NFPROTO_IPV6, false, 16);
    net_nft_put_cmp(b, NFT_CMP_EQ, v6_loopback, sizeof v6_loopback);
    net_nft_put_verdict(b, NF_ACCEPT, NULL);
    net_nft_rule_done(b, "never map ::1");
    net_nft_rule_begin(b, "own");
    to_host(b);
    net_nft_put_verdict(b, NFT_JUMP, "ports");
    net_nft_rule_done(b, "what this host sends to itself goes through the port maps");
    src_rules(b, bridges, n);
    pass_rules(b, bridges, n);
}
