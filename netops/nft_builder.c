/* Messages are built in place, and each is decoded into the image at once. */
#include "netops/nft_builder.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>

DEFINE_SCOPED(struct nftnl_table *, nftnl_table_free)
DEFINE_SCOPED(struct nftnl_chain *, nftnl_chain_free)
DEFINE_SCOPED(struct nftnl_set *, nftnl_set_free)

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

enum { MESSAGE_ROOM = 8192 }; /* our longest rule needs some 700 bytes */

static void no_memory(struct nft_builder *b)
{
    if (!b->e)
        b->e = -ENOMEM;
}

static struct nlmsghdr *message(struct nft_builder *b, uint16_t type, uint16_t flags)
{
    uint8_t *p = b->e ? NULL : net_nft_bytes_room(&b->w->msgs[b->t], MESSAGE_ROOM);
    if (!p) {
        no_memory(b);
        return NULL;
    }
    return nftnl_nlmsg_build_hdr((char *)p, type, net_nft_families[b->t].number, flags, 0);
}
/* The message is whole: into the image, and past it. */
static void message_done(struct nft_builder *b, const struct nlmsghdr *m)
{
    b->e = net_nft_image_take(&b->w->img, m);
    b->w->msgs[b->t].len += NLMSG_ALIGN(m->nlmsg_len);
}

void net_nft_add_table(struct nft_builder *b, enum nft_which t)
{
    b->t = t;
    scoped(nftnl_table_freep) struct nftnl_table *o = nftnl_table_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        no_memory(b);
        return;
    }
    nftnl_table_set_str(o, NFTNL_TABLE_NAME, NFT_OURS);
    nftnl_table_nlmsg_build_payload(m, o);
    message_done(b, m);
}

/* What nft keeps in a set's user data: lists of type, length, value; a number is in the host's
 * order. */
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
/* nft has no name for the target of neighbour discovery: it prints `@th,64,128`, and loads that
 * again only into a set that is declared by `typeof @th,64,128`, or `typeof iifname . @th,64,128`.
 * So it is with the last `bits` of it: `@th,128,64`. The numbers are nft's own (enum expr_types
 * and others). */
static uint8_t *put_typeof(uint8_t *p, bool pair, uint32_t bits)
{
    enum {
        EXPR = NFTNL_UDATA_SET_TYPEOF_EXPR,
        DATA = NFTNL_UDATA_SET_TYPEOF_DATA,
        PAYLOAD = 7,
        META = 9,
        CONCAT = 13,
        BASE_TRANSPORT = 3
    };
    uint8_t fields[30], target[38], port[14], key[6], parts[56], *end;

    end = put_udata_u32(fields, 0, 0); /* of no known protocol */
    end = put_udata_u32(end, 1, 0);
    end = put_udata_u32(end, 2, BASE_TRANSPORT);
    end = put_udata_u32(end, 3, 64 + 128 - bits);
    put_udata_u32(end, 4, bits);
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

static void add_set(struct nft_builder *b, const struct nft_set_row *row)
{
    scoped(nftnl_set_freep) struct nftnl_set *o = nftnl_set_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        no_memory(b);
        return;
    }
    nftnl_set_set_str(o, NFTNL_SET_TABLE, NFT_OURS);
    nftnl_set_set_str(o, NFTNL_SET_NAME, row->name);
    nftnl_set_set_u32(o, NFTNL_SET_ID, ++b->set_id);
    nftnl_set_set_u32(o, NFTNL_SET_FLAGS, row->data_len ? NFT_SET_MAP : 0);
    nftnl_set_set_u32(o, NFTNL_SET_KEY_TYPE, row->key_type);
    nftnl_set_set_u32(o, NFTNL_SET_KEY_LEN, row->key_len);
    if (row->data_len) {
        nftnl_set_set_u32(o, NFTNL_SET_DATA_TYPE, row->data_type);
        nftnl_set_set_u32(o, NFTNL_SET_DATA_LEN, row->data_len);
    }
    uint8_t udata[128], *end = udata;
    if (row->order != ORDER_MIXED) /* else nft would print names backwards */
        end = put_udata_u32(end, NFTNL_UDATA_SET_KEYBYTEORDER, row->order);
    if (row->key_type == T_INTEGER)
        end = put_typeof(end, false, 8 * row->key_len);
    if (row->key_type == T_PAIR(T_IFNAME, T_INTEGER))
        end = put_typeof(end, true, 8 * (row->key_len - IFNAMSIZ));
    if (end > udata)
        nftnl_set_set_data(o, NFTNL_SET_USERDATA, udata, (uint32_t)(end - udata));
    nftnl_set_nlmsg_build_payload(m, o);
    message_done(b, m);
}

void net_nft_add_sets(struct nft_builder *b, const struct nft_set_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_set(b, &rows[i]);
}

static void add_chain(struct nft_builder *b, const struct nft_chain_row *row)
{
    scoped(nftnl_chain_freep) struct nftnl_chain *o = nftnl_chain_alloc();
    struct nlmsghdr *m = o ? message(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL) : NULL;
    if (!m) {
        no_memory(b);
        return;
    }
    nftnl_chain_set_str(o, NFTNL_CHAIN_TABLE, NFT_OURS);
    nftnl_chain_set_str(o, NFTNL_CHAIN_NAME, row->name);
    if (row->type) {
        nftnl_chain_set_str(o, NFTNL_CHAIN_TYPE, row->type);
        nftnl_chain_set_u32(o, NFTNL_CHAIN_HOOKNUM, row->hook);
        nftnl_chain_set_s32(o, NFTNL_CHAIN_PRIO, row->priority);
        nftnl_chain_set_u32(o, NFTNL_CHAIN_POLICY, NF_ACCEPT);
    }
    nftnl_chain_nlmsg_build_payload(m, o);
    message_done(b, m);
}

void net_nft_add_chains(struct nft_builder *b, const struct nft_chain_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_chain(b, &rows[i]);
}

/* ---- rules: begin, expressions, end ---- */

void net_nft_rule_begin(struct nft_builder *b, const char *in_chain)
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

void net_nft_rule_done(struct nft_builder *b, const char *means, ...)
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
        if (c && c->n && !b->e &&
            !(c->rule[c->n - 1].means = net_nft_image_text(&b->w->img, text, strlen(text))))
            b->e = -ENOMEM;
    }
    if (b->rule)
        nftnl_rule_free(b->rule);
    b->rule = NULL;
}

struct nftnl_expr *net_nft_put_expr(struct nft_builder *b, const char *name)
{
    struct nftnl_expr *x = b->e ? NULL : nftnl_expr_alloc(name);
    if (!x) {
        no_memory(b);
        return NULL;
    }
    nftnl_rule_add_expr(b->rule, x);
    return x;
}
void net_nft_put_meta(struct nft_builder *b, uint32_t key, uint32_t reg)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "meta");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(x, NFTNL_EXPR_META_DREG, reg);
}
void net_nft_put_cmp(struct nft_builder *b, uint32_t op, const void *data, uint32_t len)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "cmp");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_SREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_CMP_OP, op);
    nftnl_expr_set(x, NFTNL_EXPR_CMP_DATA, data, len);
}
void net_nft_put_lookup(struct nft_builder *b, const char *in_set, uint32_t flags)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "lookup");
    if (!x)
        return;
    nftnl_expr_set_str(x, NFTNL_EXPR_LOOKUP_SET, in_set);
    nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_SREG, R1);
    if (flags)
        nftnl_expr_set_u32(x, NFTNL_EXPR_LOOKUP_FLAGS, flags);
}
void net_nft_put_payload(struct nft_builder *b, uint32_t base, uint32_t offset, uint32_t len,
                         uint32_t reg)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "payload");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_DREG, reg);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_BASE, base);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
    nftnl_expr_set_u32(x, NFTNL_EXPR_PAYLOAD_LEN, len);
}
void net_nft_put_fragment_next(struct nft_builder *b)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "exthdr");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_DREG, R1);
    nftnl_expr_set_u8(x, NFTNL_EXPR_EXTHDR_TYPE, IPPROTO_FRAGMENT);
    nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_OFFSET, 0);
    nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_LEN, 1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV6);
}
void net_nft_put_mask(struct nft_builder *b, const void *bits, uint32_t len)
{
    static const uint8_t none[16];
    struct nftnl_expr *x = net_nft_put_expr(b, "bitwise");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_SREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_DREG, R1);
    nftnl_expr_set_u32(x, NFTNL_EXPR_BITWISE_LEN, len);
    nftnl_expr_set(x, NFTNL_EXPR_BITWISE_MASK, bits, len);
    nftnl_expr_set(x, NFTNL_EXPR_BITWISE_XOR, none, len);
}
void net_nft_put_verdict(struct nft_builder *b, int code, const char *to_chain)
{
    struct nftnl_expr *x = net_nft_put_expr(b, "immediate");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(x, NFTNL_EXPR_IMM_VERDICT, (uint32_t)code);
    if (to_chain)
        nftnl_expr_set_str(x, NFTNL_EXPR_IMM_CHAIN, to_chain);
}
/* any of these bits */
void net_nft_put_ct(struct nft_builder *b, uint32_t key, uint32_t bits)
{
    static const uint32_t none;
    struct nftnl_expr *x = net_nft_put_expr(b, "ct");
    if (!x)
        return;
    nftnl_expr_set_u32(x, NFTNL_EXPR_CT_KEY, key);
    nftnl_expr_set_u32(x, NFTNL_EXPR_CT_DREG, R1);
    /* a register in the host's order */
    net_nft_put_mask(b, &bits, sizeof bits);
    net_nft_put_cmp(b, NFT_CMP_NEQ, &none, sizeof none);
}

void net_nft_put_name_is(struct nft_builder *b, uint32_t key, const char *name, uint32_t op)
{
    char padded[IFNAMSIZ] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    net_nft_put_meta(b, key, R1);
    net_nft_put_cmp(b, op, padded, sizeof padded);
}
void net_nft_put_name_in(struct nft_builder *b, uint32_t key, const char *in_set, uint32_t flags)
{
    net_nft_put_meta(b, key, R1);
    net_nft_put_lookup(b, in_set, flags);
}
void net_nft_put_family(struct nft_builder *b, uint8_t number)
{
    net_nft_put_meta(b, NFT_META_NFPROTO, R1);
    net_nft_put_cmp(b, NFT_CMP_EQ, &number, 1);
}
uint32_t net_nft_address_len(uint8_t number)
{
    return number == AF_INET ? 4 : 16;
}
void net_nft_put_address(struct nft_builder *b, uint8_t number, bool source, uint32_t len)
{
    uint32_t first = number == AF_INET ? 12 : 8; /* struct iphdr, struct ipv6hdr */
    if (!source)
        first += net_nft_address_len(number);
    net_nft_put_payload(b, NFT_PAYLOAD_NETWORK_HEADER, first, len, R1);
}
