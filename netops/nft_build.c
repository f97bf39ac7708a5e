/* What is wanted, as objects of libnftnl and from them as messages and as an image.
 *
 * table inet berth. Only `src` and `pass` grow, by a few rules per bridge and net; containers are elements.
 *   guard  (filter, prerouting, raw)   from our bridges nothing speaks to 127/8 or as 127/8: with route_localnet set on a bridge,
 *                                      a container would reach the loopback services of the host (facts N1). Other interfaces
 *                                      are left as their owners want them.
 *   ports  (jumped to)                 the port maps; one address of the host goes before any address.
 *   in, own (nat, prerouting, output)  to an address of this host: through the port maps. ::1 cannot be mapped (facts N2).
 *   src    (nat, postrouting)          answers must come back this way: loopback clients, and containers that reach a
 *                                      neighbour on their own bridge by a port map (the source decides: facts N3); then, per net,
 *                                      masquerade what leaves by the uplink. What stays inside never leaves by it.
 *   pass   (filter, forward)           in this order:
 *      1. what does not go to one of our bridges is none of our business
 *      2. what a port map let in, and the answers to it: a published port is published for everybody, also for the neighbours
 *         of an isolated container, and an isolated container may use published ports like everybody
 *      3. bridge to bridge, from or to an isolated container: drop. Before 4, so that isolation cuts what is open
 *      4. answers
 *      5. per bridge with inbound `ports`: what comes from anywhere but itself is dropped; another bridge of ours is anywhere.
 *         Whether bridge A may speak to B is said by B alone.
 * table bridge berth, only where there are containers:
 *   pass    (filter, forward)          frames from and to the isolated ports. They never pass the tables of IP (facts I2), and the
 *                                      layer 3 detour never passes this one (facts I3): both are needed.
 *   guard   (filter, prerouting)       frames from our ports, by link group or by name, go through `sources`. Foreign ports do not.
 *   sources (jumped to)                what a port may send. It runs before the bridge learns the MAC, and before br_netfilter.
 *      1. router advertisements, redirects and DHCP answers come only from ports in `routers`
 *      2. a MAC in `takenmac` comes only from its own port. A port outside `anymac` sends only from its MACs in `macs`.
 *         The sender's MAC inside an ARP packet counts as well
 *      3. IPv4 and ARP: likewise `taken4`, `free4`, `src4`. 0.0.0.0 passes: ARP probes, DHCP requests
 *      4. IPv6 and neighbour discovery: likewise `taken6`, `src6`; a port in `bound6` sends from no other address. :: passes
 *         (duplicate address detection), and fe80::/10 does. What a neighbour advertisement, or detection from ::, claims is
 *         checked like a source address, with `claimed6` and `claims6`: nft tells these from addresses by their type
 *      A port in `routers` may forward packets from any address, but it claims only its own in ARP and neighbour discovery. */
#include "netops/nft_image.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_SCOPED(struct nftnl_table *, nftnl_table_free)
DEFINE_SCOPED(struct nftnl_chain *, nftnl_chain_free)
DEFINE_SCOPED(struct nftnl_set *, nftnl_set_free)

/* nft's numbers for types, so that it prints our sets as it prints its own: parts of a key by 6 bits each */
enum { T_INTEGER = 4, T_IPV4 = 7, T_IPV6 = 8, T_ETHER = 9, T_PROTO = 12, T_SERVICE = 13, T_IFNAME = 41 };
#define T_PAIR(a, b) ((uint32_t)(a) << 6 | (uint32_t)(b))
enum { ORDER_MIXED, ORDER_HOST, ORDER_BIG };            /* nft's enum byteorder, in the set's user data */

struct set_row {
    const char *name;
    uint32_t    key_type, key_len, data_type, data_len;
    uint8_t     order;
};
static const struct set_row inet_sets[] = {
    /* name     key                                           bytes  data                       bytes  order */
    {"bridges", T_IFNAME,                                     16, 0,                            0,  ORDER_HOST},
    {"protos",  T_PROTO,                                      1,  0,                            0,  ORDER_BIG},
    {"alone4",  T_IPV4,                                       4,  0,                            0,  ORDER_BIG},
    {"alone6",  T_IPV6,                                       16, 0,                            0,  ORDER_BIG},
    {"any4",    T_PAIR(T_PROTO, T_SERVICE),                   8,  T_PAIR(T_IPV4, T_SERVICE),    8,  ORDER_MIXED},
    {"any6",    T_PAIR(T_PROTO, T_SERVICE),                   8,  T_PAIR(T_IPV6, T_SERVICE),    20, ORDER_MIXED},
    {"one4",    T_PAIR(T_PAIR(T_IPV4, T_PROTO), T_SERVICE),   12, T_PAIR(T_IPV4, T_SERVICE),    8,  ORDER_MIXED},
    {"one6",    T_PAIR(T_PAIR(T_IPV6, T_PROTO), T_SERVICE),   24, T_PAIR(T_IPV6, T_SERVICE),    20, ORDER_MIXED},
};
static const struct set_row source_sets[] = {               /* of table bridge berth; "alone" stands before them */
    {"macs",     T_PAIR(T_IFNAME, T_ETHER),                   24, 0,                          0,  ORDER_MIXED},
    {"src4",     T_PAIR(T_IFNAME, T_IPV4),                    20, 0,                          0,  ORDER_MIXED},
    {"src6",     T_PAIR(T_IFNAME, T_IPV6),                    32, 0,                          0,  ORDER_MIXED},
    {"claims6",  T_PAIR(T_IFNAME, T_INTEGER),                 32, 0,                          0,  ORDER_MIXED},
    {"guests",   T_IFNAME,                                    16, 0,                          0,  ORDER_HOST},
    {"routers",  T_IFNAME,                                    16, 0,                          0,  ORDER_HOST},
    {"anymac",   T_IFNAME,                                    16, 0,                          0,  ORDER_HOST},
    {"free4",    T_IFNAME,                                    16, 0,                          0,  ORDER_HOST},
    {"bound6",   T_IFNAME,                                    16, 0,                          0,  ORDER_HOST},
    {"takenmac", T_ETHER,                                     6,  0,                          0,  ORDER_BIG},
    {"taken4",   T_IPV4,                                      4,  0,                          0,  ORDER_BIG},
    {"taken6",   T_IPV6,                                      16, 0,                          0,  ORDER_BIG},
    {"claimed6", T_INTEGER,                                   16, 0,                          0,  ORDER_BIG},
};
static const struct {
    const char *name, *type;
    uint32_t    hook;
    int32_t     priority;
} inet_chains[] = {
    /* name     type      hook                    priority */
    {"ports",   NULL,     0,                      0},
    {"guard",   "filter", NF_INET_PRE_ROUTING,    -300},
    {"in",      "nat",    NF_INET_PRE_ROUTING,    -100},
    {"own",     "nat",    NF_INET_LOCAL_OUT,      -100},
    {"src",     "nat",    NF_INET_POST_ROUTING,   100},
    {"pass",    "filter", NF_INET_FORWARD,        0},
};
enum { BRIDGE_PRIORITY = -200,                          /* NF_BR_PRI_FILTER_BRIDGED: nft's "filter" in this family */
       SOURCE_PRIORITY = -300 };                        /* NF_BR_PRI_NAT_DST_BRIDGED: nft's "dstnat", before br_netfilter (0) */

uint8_t *net_nft_bytes_room(struct nft_bytes *b, size_t more)
{
    if (b->room - b->len < more) {
        size_t room = b->room * 2 > b->len + more ? b->room * 2 : b->len + more;
        uint8_t *p = realloc(b->p, room);
        if (!p)
            return NULL;
        b->p = p;
        b->room = room;
    }
    return b->p + b->len;
}

/* ---- one builder: the first failure stays, later calls do nothing ---- */

enum { MESSAGE_ROOM = 8192 };                           /* our longest rule needs some 700 bytes */
struct builder {
    struct nft_want   *w;
    enum nft_which     t;
    struct nftnl_rule *rule;
    uint32_t           set_id;
    int                e;
};

static struct nlmsghdr *message(struct builder *b, uint16_t type, uint16_t flags)
{
    uint8_t *p = b->e ? NULL : net_nft_bytes_room(&b->w->msgs[b->t], MESSAGE_ROOM);
    if (!p) {
        b->e = b->e ? b->e : -ENOMEM;
        return NULL;
    }
    return nftnl_nlmsg_build_hdr((char *)p, type, net_nft_families[b->t].number, flags, 0);
}
/* The message is whole: into the image, and past it. */
static void message_done(struct builder *b, const struct nlmsghdr *m)
{
    b->e = net_nft_image_take(&b->w->img, m);
    b->w->msgs[b->t].len += NLMSG_ALIGN(m->nlmsg_len);
}

static void table(struct builder *b, enum nft_which t)
{
    b->t = t;
    scoped(nftnl_table_freep) struct nftnl_table *o = nftnl_table_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        b->e = -ENOMEM;
        return;
    }
    nftnl_table_set_str(o, NFTNL_TABLE_NAME, NFT_OURS);
    nftnl_table_nlmsg_build_payload(m, o);
    message_done(b, m);
}

/* What nft keeps in a set's user data: lists of type, length, value; a number is in the host's order. */
static uint8_t *put_udata(uint8_t *p, uint8_t type, const void *value, uint8_t len)
{
    *p++ = type;
    *p++ = len;
    memcpy(p, value, len);
    return p + len;
}
static uint8_t *put_udata_u32(uint8_t *p, uint8_t type, uint32_t value)
{
    return put_udata(p, type, &value, sizeof value);
}
/* nft has no name for the target of neighbour discovery: it prints `@th,64,128`, and loads that again only into a set that is
 * declared by `typeof @th,64,128`, or `typeof iifname . @th,64,128`. The numbers are nft's own (enum expr_types and others). */
static uint8_t *put_typeof(uint8_t *p, bool pair)
{
    enum { EXPR = NFTNL_UDATA_SET_TYPEOF_EXPR, DATA = NFTNL_UDATA_SET_TYPEOF_DATA, PAYLOAD = 7, META = 9, CONCAT = 13, BASE_TRANSPORT = 3 };
    uint8_t fields[30], target[38], port[14], key[6], parts[56], *end;

    end = put_udata_u32(fields, 0, 0);                  /* of no known protocol */
    end = put_udata_u32(end, 1, 0);
    end = put_udata_u32(end, 2, BASE_TRANSPORT);
    end = put_udata_u32(end, 3, 64);
    put_udata_u32(end, 4, 128);
    end = put_udata_u32(target, EXPR, PAYLOAD);
    put_udata(end, DATA, fields, sizeof fields);
    if (!pair)
        return put_udata(p, NFTNL_UDATA_SET_KEY_TYPEOF, target, sizeof target);
    put_udata_u32(key, 0, NFT_META_IIFNAME);
    end = put_udata_u32(port, EXPR, META);
    put_udata(end, DATA, key, sizeof key);
    end = put_udata(parts, 0, port, sizeof port);
    put_udata(end, 1, target, sizeof target);
    uint8_t all[64];
    end = put_udata_u32(all, EXPR, CONCAT);
    put_udata(end, DATA, parts, sizeof parts);
    return put_udata(p, NFTNL_UDATA_SET_KEY_TYPEOF, all, sizeof all);
}

static void set(struct builder *b, const char *name, uint32_t key_type, uint32_t key_len, uint32_t data_type,
                uint32_t data_len, uint8_t order)
{
    scoped(nftnl_set_freep) struct nftnl_set *o = nftnl_set_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        b->e = b->e ? b->e : -ENOMEM;
        return;
    }
    nftnl_set_set_str(o, NFTNL_SET_TABLE, NFT_OURS);
    nftnl_set_set_str(o, NFTNL_SET_NAME, name);
    nftnl_set_set_u32(o, NFTNL_SET_ID, ++b->set_id);
    nftnl_set_set_u32(o, NFTNL_SET_FLAGS, data_len ? NFT_SET_MAP : 0);
    nftnl_set_set_u32(o, NFTNL_SET_KEY_TYPE, key_type);
    nftnl_set_set_u32(o, NFTNL_SET_KEY_LEN, key_len);
    if (data_len) {
        nftnl_set_set_u32(o, NFTNL_SET_DATA_TYPE, data_type);
        nftnl_set_set_u32(o, NFTNL_SET_DATA_LEN, data_len);
    }
    uint8_t udata[128], *end = udata;
    if (order != ORDER_MIXED)                           /* else nft would print names backwards */
        end = put_udata_u32(end, NFTNL_UDATA_SET_KEYBYTEORDER, order);
    if (key_type == T_INTEGER || key_type == T_PAIR(T_IFNAME, T_INTEGER))
        end = put_typeof(end, key_type != T_INTEGER);
    if (end > udata)
        nftnl_set_set_data(o, NFTNL_SET_USERDATA, udata, (uint32_t)(end - udata));
    nftnl_set_nlmsg_build_payload(m, o);
    message_done(b, m);
}

static void chain(struct builder *b, const char *name, const char *type, uint32_t hook, int32_t priority)
{
    scoped(nftnl_chain_freep) struct nftnl_chain *o = nftnl_chain_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        b->e = b->e ? b->e : -ENOMEM;
        return;
    }
    nftnl_chain_set_str(o, NFTNL_CHAIN_TABLE, NFT_OURS);
    nftnl_chain_set_str(o, NFTNL_CHAIN_NAME, name);
    if (type) {
        nftnl_chain_set_str(o, NFTNL_CHAIN_TYPE, type);
        nftnl_chain_set_u32(o, NFTNL_CHAIN_HOOKNUM, hook);
        nftnl_chain_set_s32(o, NFTNL_CHAIN_PRIO, priority);
        nftnl_chain_set_u32(o, NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nftnl_chain_nlmsg_build_payload(m, o);
    message_done(b, m);
}

/* ---- rules: begin, expressions, end ---- */

static void rule(struct builder *b, const char *in_chain)
{
    if (b->e)
        return;
    b->rule = nftnl_rule_alloc();
    if (!b->rule) {
        b->e = -ENOMEM;
        return;
    }
    nftnl_rule_set_str(b->rule, NFTNL_RULE_TABLE, NFT_OURS);
    nftnl_rule_set_str(b->rule, NFTNL_RULE_CHAIN, in_chain);
}

static __attribute__((format(printf, 2, 3))) void rule_done(struct builder *b, const char *means, ...)
{
    char text[160];
    va_list args;

    va_start(args, means);
    vsnprintf(text, sizeof text, means, args);
    va_end(args);
    struct nlmsghdr *m = message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    if (m) {
        const char *in = nftnl_rule_get_str(b->rule, NFTNL_RULE_CHAIN);
        nftnl_rule_nlmsg_build_payload(m, b->rule);
        message_done(b, m);
        struct nft_chain *c = net_nft_find_chain(&b->w->img.table[b->t], in);
        if (c && c->n && !b->e && !(c->rule[c->n - 1].means = net_nft_image_text(&b->w->img, text, strlen(text))))
            b->e = -ENOMEM;
    }
    if (b->rule)
        nftnl_rule_free(b->rule);
    b->rule = NULL;
}

static struct nftnl_expr *expr(struct builder *b, const char *name)
{
    struct nftnl_expr *x = b->e ? NULL : nftnl_expr_alloc(name);
    if (!x) {
        b->e = b->e ? b->e : -ENOMEM;
        return NULL;
    }
    nftnl_rule_add_expr(b->rule, x);
    return x;
}
enum { R1 = NFT_REG_1, R2 = NFT_REG_2, R9 = NFT_REG32_01, R10 = NFT_REG32_02 };

static void meta(struct builder *b, uint32_t key, uint32_t reg)
{
    struct nftnl_expr *x = expr(b, "meta");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, reg);
}
static void cmp(struct builder *b, uint32_t op, const void *data, uint32_t len)
{
    struct nftnl_expr *x = expr(b, "cmp");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(x, NFTNL_EXPR_CMP_DATA, data, len);
}
static void lookup(struct builder *b, const char *in_set, uint32_t flags)
{
    struct nftnl_expr *x = expr(b, "lookup");
    if (!x)
        return;
    nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, in_set);
    nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, R1);
    if (flags)
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_FLAGS, flags);
}
static void payload(struct builder *b, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
    struct nftnl_expr *x = expr(b, "payload");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, reg);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, len);
}
static void mask(struct builder *b, const void *bits, uint32_t len)
{
    static const uint8_t none[16];
    struct nftnl_expr *x = expr(b, "bitwise");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, len);
    nftnl_expr_set(x, NFTNL_EXPR_BITWISE_MASK, bits, len);
    nftnl_expr_set(x, NFTNL_EXPR_BITWISE_XOR, none, len);
}
static void verdict(struct builder *b, int code, const char *to_chain)
{
    struct nftnl_expr *x = expr(b, "immediate");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
    if (to_chain)
        nftnl_expr_set_str(x, NFTNL_EXPR_IMM_CHAIN, to_chain);
}
static void ct(struct builder *b, uint32_t key, uint32_t bits)       /* any of these bits */
{
    static const uint32_t none;
    struct nftnl_expr *x = expr(b, "ct");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, R1);
    mask(b, &bits, sizeof bits);                        /* a register in the host's order */
    cmp(b, NFT_CMP_NEQ, &none, sizeof none);
}

static void name_is(struct builder *b, uint32_t key, const char *name, uint32_t op)
{
    char padded[IFNAMSIZ] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    meta(b, key, R1);
    cmp(b, op, padded, sizeof padded);
}
static void name_in(struct builder *b, uint32_t key, const char *in_set, uint32_t flags)
{
    meta(b, key, R1);
    lookup(b, in_set, flags);
}
static void family(struct builder *b, uint8_t number)
{
    meta(b, NFT_META_NFPROTO, R1);
    cmp(b, NFT_CMP_EQ, &number, 1);
}
static uint32_t address_len(uint8_t number)
{
    return number == AF_INET ? 4 : 16;
}
static void address(struct builder *b, uint8_t number, bool source, uint32_t len)
{
    uint32_t at = number == AF_INET ? (source ? 12 : 16) : (source ? 8 : 24);   /* struct iphdr, struct ipv6hdr */
    payload(b, NFT_PAYLOAD_NETWORK_HEADER, at, len, R1);
}
/* As nft does it: whole bytes are loaded alone, else the address is masked. */
static void from_net(struct builder *b, const struct net_nft_net *net)
{
    uint32_t len = address_len(net->family);
    uint8_t bits[16];

    family(b, net->family);
    if (net->prefix == 0)
        return;
    if (net->prefix % 8 == 0)
        len = net->prefix / 8;
    address(b, net->family, true, len);
    if (net->prefix % 8) {
        for (unsigned i = 0; i < len; i++)
            bits[i] = net->prefix >= 8 * (i + 1) ? 0xff : net->prefix <= 8 * i ? 0 : (uint8_t)(0xff00 >> (net->prefix % 8));
        mask(b, bits, len);
    }
    cmp(b, NFT_CMP_EQ, net->bytes, len);
}
static void loopback(struct builder *b, bool source)
{
    family(b, NFPROTO_IPV4);
    address(b, NFPROTO_IPV4, source, 1);
    cmp(b, NFT_CMP_EQ, "\x7f", 1);
}
static void to_host(struct builder *b)                  /* fib daddr type local */
{
    static const uint32_t local = RTN_LOCAL;
    struct nftnl_expr *x = expr(b, "fib");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_DREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    nftnl_expr_set_u32(x, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
    cmp(b, NFT_CMP_EQ, &local, sizeof local);
}

static void map_rule(struct builder *b, const char *map, uint8_t number, bool one)
{
    uint32_t port = number == AF_INET ? R9 : R2;        /* behind the address: a register of 4 bytes, or of 16 */

    rule(b, "ports");
    meta(b, NFT_META_L4PROTO, R1);
    lookup(b, "protos", 0);
    if (one) {                                          /* key: address, protocol, port */
        family(b, number);
        address(b, number, false, address_len(number));
        meta(b, NFT_META_L4PROTO, port);
        payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, number == AF_INET ? R10 : NFT_REG32_05);
    } else {
        meta(b, NFT_META_L4PROTO, R1);
        payload(b, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R9);
    }
    struct nftnl_expr *x = expr(b, "lookup");
    if (x) {
        nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, map);
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_DREG, R1);
    }
    x = expr(b, "nat");
    if (x) {
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FAMILY, number);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MIN, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_ADDR_MAX, R1);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MIN, port);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_REG_PROTO_MAX, port);
        nftnl_expr_set_u32(x, NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
    }
    rule_done(b, "port maps of %s address, IPv%c", one ? "one" : "any", number == AF_INET ? '4' : '6');
}

static const char *net_text(const struct net_nft_net *net, char *out, size_t size)
{
    char address_text[INET6_ADDRSTRLEN];
    inet_ntop(net->family, net->bytes, address_text, sizeof address_text);
    snprintf(out, size, "%s/%u", address_text, net->prefix);
    return out;
}

static void src_rules(struct builder *b, const struct net_nft_bridge *const *bridges, size_t n)
{
    char text[64];

    rule(b, "src");
    name_in(b, NFT_META_OIFNAME, "bridges", 0);
    loopback(b, true);
    expr(b, "masq");
    rule_done(b, "masquerade loopback clients of port maps");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < bridges[i]->n_net; k++) {
            const struct net_nft_net *net = &bridges[i]->net[k];
            rule(b, "src");
            name_is(b, NFT_META_OIFNAME, bridges[i]->name, NFT_CMP_EQ);
            ct(b, NFT_CT_STATUS, IPS_DST_NAT);
            from_net(b, net);
            expr(b, "masq");
            rule_done(b, "masquerade %s to its own bridge %s by a port map", net_text(net, text, sizeof text), bridges[i]->name);
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < bridges[i]->n_net; k++) {
            const struct net_nft_net *net = &bridges[i]->net[k];
            const char *uplink = net->family == AF_INET ? bridges[i]->uplink4 : bridges[i]->uplink6;
            if (!uplink[0])
                continue;
            rule(b, "src");
            from_net(b, net);
            name_is(b, NFT_META_OIFNAME, uplink, NFT_CMP_EQ);
            expr(b, "masq");
            rule_done(b, "masquerade %s leaving by %s", net_text(net, text, sizeof text), uplink);
        }
}

static void pass_rules(struct builder *b, const struct net_nft_bridge *const *bridges, size_t n)
{
    rule(b, "pass");
    name_in(b, NFT_META_OIFNAME, "bridges", NFT_LOOKUP_F_INV);
    verdict(b, NF_ACCEPT, NULL);
    rule_done(b, "accept what does not go to our bridges");
    rule(b, "pass");
    ct(b, NFT_CT_STATUS, IPS_DST_NAT);
    verdict(b, NF_ACCEPT, NULL);
    rule_done(b, "accept what a port map let in");
    for (unsigned i = 0; i < 4; i++) {
        uint8_t number = i < 2 ? AF_INET : AF_INET6;
        rule(b, "pass");
        name_in(b, NFT_META_IIFNAME, "bridges", 0);
        family(b, number);
        address(b, number, i % 2, address_len(number));
        lookup(b, number == AF_INET ? "alone4" : "alone6", 0);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop from bridges %s isolated containers, IPv%c", i % 2 ? "what comes from" : "what goes to",
                  number == AF_INET ? '4' : '6');
    }
    rule(b, "pass");
    ct(b, NFT_CT_STATE, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
    verdict(b, NF_ACCEPT, NULL);
    rule_done(b, "accept answers");
    for (size_t i = 0; i < n; i++) {
        if (bridges[i]->open)
            continue;
        rule(b, "pass");
        name_is(b, NFT_META_OIFNAME, bridges[i]->name, NFT_CMP_EQ);
        name_is(b, NFT_META_IIFNAME, bridges[i]->name, NFT_CMP_NEQ);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop the rest that comes to %s from outside", bridges[i]->name);
    }
}

static void inet_table(struct builder *b, const struct net_nft_bridge *const *bridges, size_t n)
{
    static const uint8_t v6_loopback[16] = {[15] = 1};

    table(b, NFT_INET);
    for (size_t i = 0; i < sizeof inet_sets / sizeof inet_sets[0]; i++)
        set(b, inet_sets[i].name, inet_sets[i].key_type, inet_sets[i].key_len, inet_sets[i].data_type, inet_sets[i].data_len,
            inet_sets[i].order);
    for (size_t i = 0; i < sizeof inet_chains / sizeof inet_chains[0]; i++)
        chain(b, inet_chains[i].name, inet_chains[i].type, inet_chains[i].hook, inet_chains[i].priority);
    for (unsigned source = 0; source < 2; source++) {
        rule(b, "guard");
        name_in(b, NFT_META_IIFNAME, "bridges", 0);
        loopback(b, source);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop what our bridges send %s 127.0.0.0/8", source ? "as" : "to");
    }
    map_rule(b, "one4", AF_INET, true);
    map_rule(b, "any4", AF_INET, false);
    map_rule(b, "one6", AF_INET6, true);
    map_rule(b, "any6", AF_INET6, false);
    rule(b, "in");
    to_host(b);
    verdict(b, NFT_JUMP, "ports");
    rule_done(b, "what comes to this host goes through the port maps");
    rule(b, "own");
    family(b, NFPROTO_IPV6);
    address(b, NFPROTO_IPV6, false, 16);
    cmp(b, NFT_CMP_EQ, v6_loopback, sizeof v6_loopback);
    verdict(b, NF_ACCEPT, NULL);
    rule_done(b, "never map ::1");
    rule(b, "own");
    to_host(b);
    verdict(b, NFT_JUMP, "ports");
    rule_done(b, "what this host sends to itself goes through the port maps");
    src_rules(b, bridges, n);
    pass_rules(b, bridges, n);
}

/* ---- the checks of what a port sends ---- */

enum { LINK = NFT_PAYLOAD_LL_HEADER, NETWORK = NFT_PAYLOAD_NETWORK_HEADER, TRANSPORT = NFT_PAYLOAD_TRANSPORT_HEADER };
struct field {                                          /* of a frame */
    uint32_t base, offset, len;
};
static const struct field ether_source = {LINK, 6, 6}, arp_mac = {NETWORK, 8, 6}, arp_source = {NETWORK, 14, 4},
                          ip4_source = {NETWORK, 12, 4}, ip6_source = {NETWORK, 8, 16}, nd_target = {TRANSPORT, 8, 16};
static const uint8_t no_address[16];

/* The order of expressions is nft's own, so that a ruleset which nft saved and loaded again is equal. It tests for ARP in the frame,
 * where a VLAN tag hides it: the first rules drop frames of VLAN 0, which a receiver takes for untagged ones. */
static void source_rule(struct builder *b, uint16_t ether_type)     /* 0: any */
{
    uint16_t type = htons(ether_type);
    rule(b, "sources");
    if (!ether_type)
        return;
    if (ether_type == ETH_P_ARP)
        payload(b, LINK, 12, sizeof type, R1);
    else
        meta(b, NFT_META_PROTOCOL, R1);
    cmp(b, NFT_CMP_EQ, &type, sizeof type);
}
static void is(struct builder *b, const struct field *f, const void *value)
{
    payload(b, f->base, f->offset, f->len, R1);
    cmp(b, NFT_CMP_EQ, value, f->len);
}
static void field_in(struct builder *b, const struct field *f, const char *in_set)
{
    payload(b, f->base, f->offset, f->len, R1);
    lookup(b, in_set, 0);
}
static void not_the_ports_own(struct builder *b, const struct field *f, const char *in_set)
{
    meta(b, NFT_META_IIFNAME, R1);                      /* 16 bytes: the field follows in the next register */
    payload(b, f->base, f->offset, f->len, R2);
    lookup(b, in_set, NFT_LOOKUP_F_INV);
}
static void protocol_is(struct builder *b, uint8_t number)
{
    meta(b, NFT_META_L4PROTO, R1);
    cmp(b, NFT_CMP_EQ, &number, 1);
}
static void not_link_local(struct builder *b, const struct field *f)
{
    static const uint8_t bits[2] = {0xff, 0xc0}, net[2] = {0xfe, 0x80};
    payload(b, f->base, f->offset, sizeof net, R1);
    mask(b, bits, sizeof bits);
    cmp(b, NFT_CMP_NEQ, net, sizeof net);
}
static void icmp6_is(struct builder *b, uint8_t type)
{
    static const struct field icmp_type = {TRANSPORT, 0, 1};
    protocol_is(b, IPPROTO_ICMPV6);
    is(b, &icmp_type, &type);
}
/* Receivers ignore neighbour discovery that a router could have forwarded (RFC 4861). */
static void never_forwarded(struct builder *b)
{
    static const struct field hop_limit = {NETWORK, 7, 1};
    is(b, &hop_limit, "\xff");
}

static void vlan0_rules(struct builder *b)
{
    static const struct field type = {LINK, 12, 2};
    static const uint8_t types[2][2] = {{0x81, 0x00}, {0x88, 0xa8}}, bits[2] = {0x0f, 0xff}, none[2];

    for (size_t i = 0; i < 2; i++) {
        rule(b, "sources");
        is(b, &type, types[i]);
        payload(b, LINK, 14, sizeof bits, R1);
        mask(b, bits, sizeof bits);
        cmp(b, NFT_CMP_EQ, none, sizeof none);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop frames of VLAN 0");
    }
}

static void server_rules(struct builder *b)
{
    static const struct {
        uint16_t    ether_type, port;
        uint8_t     icmp;
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
        name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop %s from containers that are no routers", rows[i].means);
    }
}

/* What is in `taken` comes only from its own port; a port outside `others` sends only what is its own. */
static void pair_rules(struct builder *b, uint16_t ether_type, const struct field *f, const char *taken, const char *own, const char *others,
                       const char *what)
{
    source_rule(b, ether_type);
    field_in(b, f, taken);
    not_the_ports_own(b, f, own);
    if (ether_type == ETH_P_IP)
        name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
    verdict(b, NF_DROP, NULL);
    rule_done(b, "drop %s that are somebody else's", what);
    source_rule(b, ether_type);
    not_the_ports_own(b, f, own);
    name_in(b, NFT_META_IIFNAME, others, NFT_LOOKUP_F_INV);
    verdict(b, NF_DROP, NULL);
    rule_done(b, "drop %s that are not the port's own", what);
}

static void accept_without(struct builder *b, uint16_t ether_type, const struct field *f)
{
    source_rule(b, ether_type);
    is(b, f, no_address);
    verdict(b, NF_ACCEPT, NULL);
    rule_done(b, "accept what has no source address yet");
}

/* What a neighbour advertisement claims, or a solicitation from :: (duplicate address detection). */
static void claim_rules(struct builder *b, uint8_t type)
{
    const char *what = type == 136 ? "neighbour advertisements" : "duplicate address detection";

    for (unsigned bound = 0; bound < 2; bound++) {
        source_rule(b, ETH_P_IPV6);
        if (type == 136)
            never_forwarded(b);
        else
            is(b, &ip6_source, no_address);
        icmp6_is(b, type);
        if (bound)
            not_link_local(b, &nd_target);
        else
            field_in(b, &nd_target, "claimed6");
        not_the_ports_own(b, &nd_target, "claims6");
        if (bound)
            name_in(b, NFT_META_IIFNAME, "bound6", 0);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop %s of addresses that are %s", what, bound ? "not the port's own" : "somebody else's");
    }
}

static void address6_rules(struct builder *b)
{
    claim_rules(b, 136);
    claim_rules(b, 135);
    accept_without(b, ETH_P_IPV6, &ip6_source);
    source_rule(b, ETH_P_IPV6);
    field_in(b, &ip6_source, "taken6");
    not_the_ports_own(b, &ip6_source, "src6");
    name_in(b, NFT_META_IIFNAME, "routers", NFT_LOOKUP_F_INV);
    verdict(b, NF_DROP, NULL);
    rule_done(b, "drop IPv6 source addresses that are somebody else's");
    source_rule(b, ETH_P_IPV6);
    not_the_ports_own(b, &ip6_source, "src6");
    not_link_local(b, &ip6_source);
    name_in(b, NFT_META_IIFNAME, "bound6", 0);
    verdict(b, NF_DROP, NULL);
    rule_done(b, "drop IPv6 source addresses that are not the port's own");
}

static void source_checks(struct builder *b, uint32_t group)
{
    for (size_t i = 0; i < sizeof source_sets / sizeof source_sets[0]; i++)
        set(b, source_sets[i].name, source_sets[i].key_type, source_sets[i].key_len, 0, 0, source_sets[i].order);
    chain(b, "sources", NULL, 0, 0);
    chain(b, "guard", "filter", NF_INET_PRE_ROUTING, SOURCE_PRIORITY);
    rule(b, "guard");
    meta(b, NFT_META_IIFGROUP, R1);
    cmp(b, NFT_CMP_EQ, &group, sizeof group);
    verdict(b, NFT_JUMP, "sources");
    rule_done(b, "what ports of our making send is checked");
    rule(b, "guard");
    name_in(b, NFT_META_IIFNAME, "guests", 0);
    verdict(b, NFT_JUMP, "sources");
    rule_done(b, "what other ports of containers send is checked");
    vlan0_rules(b);
    server_rules(b);
    pair_rules(b, 0, &ether_source, "takenmac", "macs", "anymac", "source MACs");
    pair_rules(b, ETH_P_ARP, &arp_mac, "takenmac", "macs", "anymac", "MACs in ARP packets");
    accept_without(b, ETH_P_IP, &ip4_source);
    pair_rules(b, ETH_P_IP, &ip4_source, "taken4", "src4", "free4", "IPv4 source addresses");
    accept_without(b, ETH_P_ARP, &arp_source);
    pair_rules(b, ETH_P_ARP, &arp_source, "taken4", "src4", "free4", "addresses in ARP packets");
    address6_rules(b);
}

static void bridge_table(struct builder *b, const struct net_nft *want)
{
    table(b, NFT_BRIDGE);
    set(b, "alone", T_IFNAME, IFNAMSIZ, 0, 0, ORDER_HOST);
    chain(b, "pass", "filter", NF_INET_FORWARD, BRIDGE_PRIORITY);
    if (want->n_sources)
        source_checks(b, want->group);
    for (unsigned to = 0; to < 2; to++) {
        rule(b, "pass");
        name_in(b, to ? NFT_META_OIFNAME : NFT_META_IIFNAME, "alone", 0);
        verdict(b, NF_DROP, NULL);
        rule_done(b, "drop frames %s isolated containers", to ? "to" : "from");
    }
}

/* ---- elements ---- */

static struct nft_set *set_named(struct builder *b, const char *name)
{
    return net_nft_find_set(&b->w->img.table[b->t], name);
}
static struct nft_elem *elem_in(struct builder *b, struct nft_set *s, uint32_t tag)
{
    struct nft_elem *e = s && !b->e ? net_nft_set_add(s) : NULL;
    if (!e) {
        b->e = b->e ? b->e : -ENOMEM;
        return NULL;
    }
    e->tag = tag;
    return e;
}
static struct nft_elem *elem(struct builder *b, const char *in_set, uint32_t tag)
{
    return elem_in(b, set_named(b, in_set), tag);
}
static void key(struct builder *b, const char *in_set, const void *bytes, size_t len, uint32_t tag)
{
    struct nft_elem *e = elem(b, in_set, tag);
    if (e) {
        memcpy(e->key, bytes, len);
        e->key_len = (uint8_t)len;
    }
}
static void name_key(struct builder *b, const char *in_set, const char *name, uint32_t tag)
{
    char padded[IFNAMSIZ] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    key(b, in_set, padded, sizeof padded, tag);
}
/* A key that begins with a port's name. */
static void pair_key(struct builder *b, struct nft_set *in_set, const char *name, const void *bytes, size_t len, uint32_t tag)
{
    struct nft_elem *e = elem_in(b, in_set, tag);
    if (!e)
        return;
    memcpy(e->key, name, IFNAMSIZ);                     /* padded with zeros */
    memcpy(e->key + IFNAMSIZ, bytes, len);
    e->key_len = (uint8_t)(IFNAMSIZ + (len + 3) / 4 * 4);
}
static void taken_key(struct builder *b, struct nft_set *in_set, const void *bytes, size_t len, uint32_t tag)
{
    struct nft_elem *e = elem_in(b, in_set, tag);
    if (!e)
        return;
    memcpy(e->key, bytes, len);
    e->key_len = (uint8_t)len;
}

static void port_names(struct builder *b, const struct net_nft_source *s)
{
    const struct {
        bool        is;
        const char *in_set;
    } names[] = {{s->guest, "guests"}, {s->router, "routers"}, {s->any_mac, "anymac"}, {s->any4, "free4"}, {s->bound6, "bound6"}};

    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (names[k].is)
            name_key(b, names[k].in_set, s->port, s->tag);
}

/* Addresses of containers are `taken` only where some port could use them: where no port may send from addresses that berth does
 * not know, they need no element. */
static void source_elems(struct builder *b, const struct net_nft *want)
{
    struct nft_set *macs = set_named(b, "macs"), *src4 = set_named(b, "src4"), *src6 = set_named(b, "src6");
    struct nft_set *claims6 = set_named(b, "claims6"), *claimed6 = set_named(b, "claimed6");
    struct nft_set *takenmac = set_named(b, "takenmac"), *taken4 = set_named(b, "taken4"), *taken6 = set_named(b, "taken6");
    bool any_mac = false, any4 = false, any6 = false;

    net_nft_set_room(macs, want->n_sources);
    net_nft_set_room(src4, want->n_sources);
    for (size_t i = 0; i < want->n_sources; i++) {
        const struct net_nft_source *s = &want->sources[i];
        any_mac |= s->any_mac;
        any4 |= s->any4;
        any6 |= !s->bound6 && s->port[0];
    }
    for (size_t i = 0; i < want->n_sources; i++) {
        const struct net_nft_source *s = &want->sources[i];
        bool port = s->port[0];
        if (port)
            port_names(b, s);
        if (s->has_mac && port)
            pair_key(b, macs, s->port, s->mac, sizeof s->mac, s->tag);
        if (s->has4 && port)
            pair_key(b, src4, s->port, s->addr4, sizeof s->addr4, s->tag);
        if (s->has6 && port) {
            pair_key(b, src6, s->port, s->addr6, sizeof s->addr6, s->tag);
            pair_key(b, claims6, s->port, s->addr6, sizeof s->addr6, s->tag);
        }
        if (s->has_mac && (any_mac || !port))
            taken_key(b, takenmac, s->mac, sizeof s->mac, s->tag);
        if (s->has4 && (any4 || !port))
            taken_key(b, taken4, s->addr4, sizeof s->addr4, s->tag);
        if (s->has6 && (any6 || !port)) {
            taken_key(b, taken6, s->addr6, sizeof s->addr6, s->tag);
            taken_key(b, claimed6, s->addr6, sizeof s->addr6, s->tag);
        }
    }
}
static void map_elem(struct builder *b, const struct net_nft_map *m)
{
    static const char *const names[2][2] = {{"one4", "one6"}, {"any4", "any6"}};
    struct nft_elem *e = elem(b, names[m->any][m->family == AF_INET6], m->tag);
    uint8_t len = (uint8_t)address_len(m->family);
    uint16_t port = htons(m->port), to_port = htons(m->to_port);

    if (!e)
        return;
    if (!m->any) {
        memcpy(e->key, m->host, len);
        e->key_len = len;
    }
    e->key[e->key_len] = m->proto;
    memcpy(e->key + e->key_len + 4, &port, 2);
    e->key_len = (uint8_t)(e->key_len + 8);
    memcpy(e->data, m->to, len);
    memcpy(e->data + len, &to_port, 2);
    e->data_len = (uint8_t)(len + 4);
}

/* Equal neighbours become one; one key with two values is nobody's wish. */
static int unique(struct nft_image *img, struct net_error *err)
{
    char text[160];

    for (size_t t = 0; t < NFT_TABLES; t++)
        for (size_t i = 0; i < img->table[t].n_set; i++) {
            struct nft_set *s = &img->table[t].set[i];
            size_t n = 0;
            for (size_t k = 0; k < s->n; k++) {
                if (n && !net_nft_elem_order(&s->elem[n - 1], &s->elem[k])) {
                    if (net_nft_elem_same(&s->elem[n - 1], &s->elem[k]))
                        continue;
                    net_nft_elem_format((enum nft_which)t, s->name, &s->elem[k], text, sizeof text);
                    net_fail(err, EEXIST, "add", "%s", text);
                    if (err)
                        err->tag = s->elem[k].tag;
                    return -EEXIST;
                }
                s->elem[n++] = s->elem[k];
            }
            s->n = n;
        }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct net_nft_bridge *const *x = a, *const *y = b;
    return strncmp((*x)->name, (*y)->name, IFNAMSIZ);
}
static int by_net(const void *a, const void *b)
{
    const struct net_nft_net *x = a, *y = b;
    if (x->family != y->family)
        return x->family == AF_INET ? -1 : 1;
    int d = memcmp(x->bytes, y->bytes, address_len(x->family));
    return d ? d : (int)x->prefix - (int)y->prefix;
}

static int check(const struct net_nft *want, struct net_error *err)
{
    for (size_t i = 0; i < want->n_bridges; i++) {
        const struct net_nft_bridge *b = &want->bridges[i];
        if (!b->name[0])
            return net_fail(err, EINVAL, "filter", "bridge '%.15s'", b->name);
        for (size_t k = 0; k < b->n_net; k++)
            if ((b->net[k].family != AF_INET && b->net[k].family != AF_INET6) ||
                b->net[k].prefix > 8 * address_len(b->net[k].family))
                return net_fail(err, EINVAL, "masquerade a net of", "bridge '%.15s'", b->name);
        for (size_t k = 0; k < want->n_bridges; k++) {
            const char *other = want->bridges[k].name;
            if (!strcmp(b->uplink4, other) || !strcmp(b->uplink6, other))
                return net_fail(err, EINVAL, "masquerade what leaves by", "our own bridge '%.15s'", other);
        }
    }
    for (size_t i = 0; i < want->n_maps; i++)
        if ((want->maps[i].family != AF_INET && want->maps[i].family != AF_INET6) ||
            (want->maps[i].proto != IPPROTO_TCP && want->maps[i].proto != IPPROTO_UDP)) {
            net_fail(err, EINVAL, "add", "port map %u", want->maps[i].port);
            if (err)
                err->tag = want->maps[i].tag;
            return -EINVAL;
        }
    return 0;
}

static void build(struct builder *b, const struct net_nft *want)
{
    static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP};
    size_t n_nets = 0, at = 0;
    for (size_t i = 0; i < want->n_bridges; i++)
        n_nets += want->bridges[i].n_net;
    struct net_nft_bridge *copies = calloc(want->n_bridges + 1, sizeof *copies);
    struct net_nft_net *nets = calloc(n_nets + 1, sizeof *nets);
    const struct net_nft_bridge **sorted = calloc(want->n_bridges + 1, sizeof *sorted);

    if (copies && nets && sorted) {                     /* our order, whatever the order of the wish */
        for (size_t i = 0; i < want->n_bridges; i++) {
            copies[i] = want->bridges[i];
            for (size_t k = 0; k < copies[i].n_net; k++)
                nets[at + k] = copies[i].net[k];
            qsort(nets + at, copies[i].n_net, sizeof *nets, by_net);
            copies[i].net = nets + at;
            at += copies[i].n_net;
            sorted[i] = &copies[i];
        }
        qsort(sorted, want->n_bridges, sizeof *sorted, by_name);
        bool inet = want->n_bridges || want->n_maps || want->n_alone || !want->n_sources;
        if (inet)
            inet_table(b, sorted, want->n_bridges);
        for (size_t i = 0; inet && i < sizeof protos; i++)
            key(b, "protos", &protos[i], 1, 0);
        for (size_t i = 0; i < want->n_bridges; i++)
            name_key(b, "bridges", want->bridges[i].name, 0);
        for (size_t i = 0; i < want->n_maps; i++)
            map_elem(b, &want->maps[i]);
        for (size_t i = 0; i < want->n_alone; i++) {
            if (want->alone[i].has4)
                key(b, "alone4", want->alone[i].addr4, 4, want->alone[i].tag);
            if (want->alone[i].has6)
                key(b, "alone6", want->alone[i].addr6, 16, want->alone[i].tag);
        }
        if (want->n_alone || want->n_sources)
            bridge_table(b, want);
        for (size_t i = 0; i < want->n_alone; i++)
            if (want->alone[i].port[0])
                name_key(b, "alone", want->alone[i].port, want->alone[i].tag);
        source_elems(b, want);
    } else {
        b->e = -ENOMEM;
    }
    free(copies);
    free(nets);
    free(sorted);
}

int net_nft_want_init(struct nft_want *w, const struct net_nft *want, struct net_error *err)
{
    struct builder b = {.w = w};
    int e = 0;

    memset(w, 0, sizeof *w);
    if (!want)
        return 0;
    e = check(want, err);
    if (!e) {
        build(&b, want);
        if (b.e)
            e = net_fail(err, -b.e, "make", "the nftables rules");
    }
    if (!e) {
        net_nft_image_sort(&w->img);
        e = unique(&w->img, err);
    }
    if (e)
        net_nft_want_done(w);
    return e;
}

void net_nft_want_done(struct nft_want *w)
{
    net_nft_image_done(&w->img);
    for (size_t t = 0; t < NFT_TABLES; t++)
        free(w->msgs[t].p);
    memset(w, 0, sizeof *w);
}
