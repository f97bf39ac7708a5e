/* Chains and rules in one reading; elements of a set when a rule looks them up. */
#include "netops/nft_foreign.h"
#include "netops/attr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 128, DEPTH = 16, SLOTS = 20, RULES_MOST = 20000 };

struct chain {
    uint8_t  family;
    char     table[NAME], name[NAME];
    bool     base;                      /* filter, on hook forward */
    bool     drops;                     /* its policy */
    int32_t  priority;
};
struct rule {
    uint8_t  family;
    char     table[NAME], chain[NAME];
    uint8_t *exprs;                     /* NFTA_RULE_EXPRESSIONS, whole */
};
struct elem {
    uint8_t  key[64], len;
    bool     verdict;
    int32_t  code;
    char     chain[NAME];
};
struct set {
    uint8_t      family;
    char         table[NAME], name[NAME];
    bool         plain;                 /* every element is one key */
    struct elem *elem;
    size_t       n, room;
};
struct net_nft_foreign {
    struct net_port *port;
    struct chain    *chain;
    size_t           n_chain, chain_room;
    struct rule     *rule;
    size_t           n_rule, rule_room;
    struct set      *set;
    size_t           n_set, set_room;
    struct set      *reading;
    int              e;                 /* of a set that could not be read */
    struct net_error said;
};

static void *one_more(void **list, size_t *n, size_t *room, size_t size)
{
    if (*n == *room) {
        size_t more = *room ? *room * 2 : 16;
        void *p = realloc(*list, more * size);
        if (!p)
            return NULL;
        *list = p;
        *room = more;
    }
    return memset((char *)*list + (*n)++ * size, 0, size);
}

static uint32_t number_of(const struct nlattr *a)
{
    return a ? ntohl(net_attr_u32(a)) : 0;
}

/* Attributes of a nest by type; those beyond are left out. */
static void split(const struct nlattr *nest, const struct nlattr **at, size_t n)
{
    const struct nlattr *a;
    memset(at, 0, n * sizeof *at);
    if (!nest)
        return;
    NET_EACH_IN(a, nest)
        if (mnl_attr_get_type(a) < n)
            at[mnl_attr_get_type(a)] = a;
}

static void split_message(const struct nlmsghdr *m, const struct nlattr **at, size_t n)
{
    const struct nlattr *a;
    memset(at, 0, n * sizeof *at);
    NET_EACH(a, m, sizeof(struct nfgenmsg))
        if (mnl_attr_get_type(a) < n)
            at[mnl_attr_get_type(a)] = a;
}

static uint8_t family_of(const struct nlmsghdr *m)
{
    return ((const struct nfgenmsg *)mnl_nlmsg_get_payload(m))->nfgen_family;
}

static bool is_message(const struct nlmsghdr *m, uint16_t type)
{
    return net_message_is(m, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), sizeof(struct nfgenmsg));
}

static const char *family_name(uint8_t family)
{
    return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

/* ---- reading ---- */

static int take_chain(void *arg, const struct nlmsghdr *m)
{
    struct net_nft_foreign *f = arg;
    const struct nlattr *a[NFTA_CHAIN_MAX + 1], *h[NFTA_HOOK_MAX + 1];
    char type[16] = "";

    if (!is_message(m, NFT_MSG_NEWCHAIN))
        return 0;
    uint8_t family = family_of(m);
    split_message(m, a, NFTA_CHAIN_MAX + 1);
    if ((family != NFPROTO_IPV4 && family != NFPROTO_IPV6 && family != NFPROTO_INET) || !a[NFTA_CHAIN_TABLE] || !a[NFTA_CHAIN_NAME])
        return 0;
    struct chain *c = one_more((void **)&f->chain, &f->n_chain, &f->chain_room, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->family = family;
    net_attr_text(a[NFTA_CHAIN_TABLE], c->table, sizeof c->table);
    net_attr_text(a[NFTA_CHAIN_NAME], c->name, sizeof c->name);
    if (family == NFPROTO_INET && !strcmp(c->table, "berth")) {
        f->n_chain--;
        return 0;
    }
    if (!a[NFTA_CHAIN_HOOK])
        return 0;
    split(a[NFTA_CHAIN_HOOK], h, NFTA_HOOK_MAX + 1);
    if (a[NFTA_CHAIN_TYPE])
        net_attr_text(a[NFTA_CHAIN_TYPE], type, sizeof type);
    c->base = number_of(h[NFTA_HOOK_HOOKNUM]) == NF_INET_FORWARD && !strcmp(type, "filter");
    c->drops = a[NFTA_CHAIN_POLICY] && number_of(a[NFTA_CHAIN_POLICY]) == NF_DROP;
    c->priority = (int32_t)number_of(h[NFTA_HOOK_PRIORITY]);
    return 0;
}

static void forget_chains(void *arg)
{
    ((struct net_nft_foreign *)arg)->n_chain = 0;
}

static int take_rule(void *arg, const struct nlmsghdr *m)
{
    struct net_nft_foreign *f = arg;
    const struct nlattr *a[NFTA_RULE_MAX + 1];

    if (!is_message(m, NFT_MSG_NEWRULE))
        return 0;
    split_message(m, a, NFTA_RULE_MAX + 1);
    if (!a[NFTA_RULE_TABLE] || !a[NFTA_RULE_CHAIN] || f->n_rule >= RULES_MOST)
        return 0;
    struct rule *r = one_more((void **)&f->rule, &f->n_rule, &f->rule_room, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->family = family_of(m);
    net_attr_text(a[NFTA_RULE_TABLE], r->table, sizeof r->table);
    net_attr_text(a[NFTA_RULE_CHAIN], r->chain, sizeof r->chain);
    if (!a[NFTA_RULE_EXPRESSIONS])
        return 0;
    r->exprs = malloc(a[NFTA_RULE_EXPRESSIONS]->nla_len);
    if (!r->exprs)
        return -ENOMEM;
    memcpy(r->exprs, a[NFTA_RULE_EXPRESSIONS], a[NFTA_RULE_EXPRESSIONS]->nla_len);
    return 0;
}

static void forget_rules(void *arg)
{
    struct net_nft_foreign *f = arg;
    for (size_t i = 0; i < f->n_rule; i++)
        free(f->rule[i].exprs);
    f->n_rule = 0;
}

static void take_verdict(const struct nlattr *data, struct elem *e)
{
    const struct nlattr *d[NFTA_DATA_MAX + 1], *v[NFTA_VERDICT_MAX + 1];
    split(data, d, NFTA_DATA_MAX + 1);
    if (!d[NFTA_DATA_VERDICT])
        return;
    split(d[NFTA_DATA_VERDICT], v, NFTA_VERDICT_MAX + 1);
    e->verdict = true;
    e->code = (int32_t)number_of(v[NFTA_VERDICT_CODE]);
    if (v[NFTA_VERDICT_CHAIN])
        net_attr_text(v[NFTA_VERDICT_CHAIN], e->chain, sizeof e->chain);
}

static int take_elems(void *arg, const struct nlmsghdr *m)
{
    struct set *s = ((struct net_nft_foreign *)arg)->reading;
    const struct nlattr *a[NFTA_SET_ELEM_LIST_MAX + 1], *e[NFTA_SET_ELEM_MAX + 1], *d[NFTA_DATA_MAX + 1], *one;

    if (!is_message(m, NFT_MSG_NEWSETELEM))
        return 0;
    split_message(m, a, NFTA_SET_ELEM_LIST_MAX + 1);
    if (!a[NFTA_SET_ELEM_LIST_ELEMENTS])
        return 0;
    NET_EACH_IN(one, a[NFTA_SET_ELEM_LIST_ELEMENTS]) {
        split(one, e, NFTA_SET_ELEM_MAX + 1);
        split(e[NFTA_SET_ELEM_KEY], d, NFTA_DATA_MAX + 1);
        struct elem *x = one_more((void **)&s->elem, &s->n, &s->room, sizeof *x);
        if (!x)
            return -ENOMEM;
        if (!d[NFTA_DATA_VALUE] || e[NFTA_SET_ELEM_KEY_END] || number_of(e[NFTA_SET_ELEM_FLAGS]) ||
            mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]) > sizeof x->key) {
            s->plain = false;                           /* intervals, a catch-all */
            continue;
        }
        x->len = (uint8_t)mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]);
        memcpy(x->key, mnl_attr_get_payload(d[NFTA_DATA_VALUE]), x->len);
        if (e[NFTA_SET_ELEM_DATA])
            take_verdict(e[NFTA_SET_ELEM_DATA], x);
    }
    return 0;
}

static void forget_elems(void *arg)
{
    struct set *s = ((struct net_nft_foreign *)arg)->reading;
    s->n = 0;
    s->plain = true;
}

static void request(struct nlmsghdr *m, uint16_t type, uint8_t family)
{
    mnl_nlmsg_put_header(m);
    m->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(m, sizeof *g);
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
}

union request {
    struct nlmsghdr head;
    uint8_t         room[512];
};

static int by_priority(const void *a, const void *b)
{
    const struct chain *x = a, *y = b;
    if (x->base != y->base)
        return x->base ? -1 : 1;
    return x->priority < y->priority ? -1 : x->priority > y->priority;
}

static bool first_of_table(const struct net_nft_foreign *f, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (f->chain[k].base && f->chain[k].family == f->chain[i].family && !strcmp(f->chain[k].table, f->chain[i].table))
            return false;
    return f->chain[i].base;
}

int net_nft_foreign_read(struct net_port *p, struct net_nft_foreign **out, struct net_error *err)
{
    scoped(net_nft_foreign_freep) struct net_nft_foreign *f = calloc(1, sizeof *f);
    union request q = {0};

    if (!f)
        return net_fail(err, ENOMEM, "read", "nftables");
    f->port = p;
    request(&q.head, NFT_MSG_GETCHAIN, AF_UNSPEC);
    int e = net_port_dump(p, &q.head, take_chain, forget_chains, f, err);
    if (e)
        return e;
    if (f->n_chain)
        qsort(f->chain, f->n_chain, sizeof *f->chain, by_priority);
    for (size_t i = 0; i < f->n_chain && f->chain[i].base; i++) {
        if (!first_of_table(f, i))
            continue;
        struct net_nft_foreign part = {.port = p};      /* a torn dump forgets only this table */
        memset(&q, 0, sizeof q);
        request(&q.head, NFT_MSG_GETRULE, f->chain[i].family);
        mnl_attr_put_strz(&q.head, NFTA_RULE_TABLE, f->chain[i].table);
        e = net_port_dump(p, &q.head, take_rule, forget_rules, &part, err);
        for (size_t k = 0; k < part.n_rule; k++) {
            struct rule *r = e ? NULL : one_more((void **)&f->rule, &f->n_rule, &f->rule_room, sizeof *r);
            if (r)
                *r = part.rule[k];
            else
                free(part.rule[k].exprs);
        }
        free(part.rule);
        if (e == -ENOENT)                               /* the table went away meanwhile */
            e = 0;
        if (e)
            return e;
    }
    *out = steal(f);
    return 0;
}

void net_nft_foreign_free(struct net_nft_foreign *f)
{
    if (!f)
        return;
    forget_rules(f);
    for (size_t i = 0; i < f->n_set; i++)
        free(f->set[i].elem);
    free(f->set);
    free(f->rule);
    free(f->chain);
    free(f);
}

bool net_nft_foreign_none(const struct net_nft_foreign *f)
{
    return !f->n_chain || !f->chain[0].base;
}

/* NULL: its elements cannot be read. */
static const struct set *set_of(struct net_nft_foreign *f, const struct chain *c, const char *name)
{
    union request q = {0};

    for (size_t i = 0; i < f->n_set; i++)
        if (f->set[i].family == c->family && !strcmp(f->set[i].table, c->table) && !strcmp(f->set[i].name, name))
            return &f->set[i];
    struct set *s = one_more((void **)&f->set, &f->n_set, &f->set_room, sizeof *s);
    if (!s) {
        f->e = net_fail(&f->said, ENOMEM, "read", "nftables");
        return NULL;
    }
    s->family = c->family;
    s->plain = true;
    snprintf(s->table, sizeof s->table, "%s", c->table);
    snprintf(s->name, sizeof s->name, "%s", name);
    request(&q.head, NFT_MSG_GETSETELEM, c->family);
    mnl_attr_put_strz(&q.head, NFTA_SET_ELEM_LIST_TABLE, c->table);
    mnl_attr_put_strz(&q.head, NFTA_SET_ELEM_LIST_SET, name);
    f->reading = s;
    int e = net_port_dump(f->port, &q.head, take_elems, forget_elems, f, &f->said);
    if (e && e != -ENOENT)
        f->e = e;
    if (e)
        s->plain = false;
    return s;
}

/* ---- one packet through a chain ---- */

enum known { NOT_SET, KNOWN, OTHER, OURS };     /* OTHER: of no bridge; OURS: it might tell our bridge from others */
struct value {
    enum known known;
    uint8_t    len, bytes[16];
};
enum way { CONTINUE, RETURNED, ACCEPTED, DROPPED, UNSURE };
struct walk {
    struct net_nft_foreign      *f;
    const struct net_nft_packet *p;
    struct value                 reg[SLOTS];
    struct net_nft_drop         *out;
};

/* Registers of 16 bytes and of 4 name the same room. */
static struct value *reg_of(struct walk *w, uint32_t number)
{
    uint32_t slot = number >= NFT_REG32_00 ? number - NFT_REG32_00 : number ? (number - 1) * 4 : 0;
    return &w->reg[slot < SLOTS ? slot : SLOTS - 1];
}

static struct value known(const void *bytes, size_t len)
{
    struct value v = {.known = KNOWN, .len = (uint8_t)len};
    memcpy(v.bytes, bytes, len);
    return v;
}

static struct value of_name(const char *name)
{
    char padded[IFNAMSIZ] = "";
    snprintf(padded, sizeof padded, "%s", name);
    return known(padded, sizeof padded);
}

static struct value of_meta(const struct walk *w, uint32_t key)
{
    static const uint32_t none;
    uint8_t nfproto = w->p->family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
    uint16_t protocol = htons(w->p->family == AF_INET6 ? ETH_P_IPV6 : ETH_P_IP);
    switch (key) {
    case NFT_META_IIFNAME:
        return of_name(w->p->iif);
    case NFT_META_OIFNAME:
        return of_name(w->p->oif);
    case NFT_META_NFPROTO:
        return known(&nfproto, 1);
    case NFT_META_PROTOCOL:
        return known(&protocol, 2);
    case NFT_META_MARK:
        return known(&none, 4);
    case NFT_META_IIF:
    case NFT_META_OIF:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
        return (struct value){.known = OURS};
    default:
        return (struct value){.known = OTHER};
    }
}

static struct value of_payload(const struct walk *w, uint32_t base, uint32_t offset, uint32_t len)
{
    uint32_t source = w->p->family == AF_INET6 ? 8 : 12, whole = w->p->family == AF_INET6 ? 16 : 4;
    if (base != NFT_PAYLOAD_NETWORK_HEADER)
        return (struct value){.known = OTHER};
    if (offset >= source && offset + len <= source + whole)
        return w->p->src ? known(w->p->src + (offset - source), len) : (struct value){.known = OURS};
    return (struct value){.known = offset >= source + whole && offset < source + 2 * whole && w->p->mapped ? OURS : OTHER};
}

static struct value of_ct(const struct walk *w, uint32_t key)
{
    uint32_t state = NF_CT_STATE_BIT(IP_CT_NEW), status = w->p->mapped ? IPS_DST_NAT | IPS_DST_NAT_DONE : 0, none = 0;
    switch (key) {
    case NFT_CT_STATE:
        return known(&state, 4);
    case NFT_CT_STATUS:
        return known(&status, 4);
    case NFT_CT_MARK:
        return known(&none, 4);
    default:
        return (struct value){.known = OTHER};
    }
}

static const struct nlattr *data_value(const struct nlattr *nest)
{
    const struct nlattr *d[NFTA_DATA_MAX + 1];
    split(nest, d, NFTA_DATA_MAX + 1);
    return d[NFTA_DATA_VALUE];
}

static void do_bitwise(struct walk *w, const struct nlattr *const *a)
{
    struct value *from = reg_of(w, number_of(a[NFTA_BITWISE_SREG])), *to = reg_of(w, number_of(a[NFTA_BITWISE_DREG])), v = *from;
    const struct nlattr *mask = data_value(a[NFTA_BITWISE_MASK]), *flip = data_value(a[NFTA_BITWISE_XOR]);
    uint32_t len = number_of(a[NFTA_BITWISE_LEN]);
    if (v.known == KNOWN && (!mask || !flip || len > sizeof v.bytes || mnl_attr_get_payload_len(mask) < len || mnl_attr_get_payload_len(flip) < len))
        v.known = OURS;
    for (uint32_t i = 0; v.known == KNOWN && i < len; i++)
        v.bytes[i] = (uint8_t)((v.bytes[i] & ((const uint8_t *)mnl_attr_get_payload(mask))[i]) ^ ((const uint8_t *)mnl_attr_get_payload(flip))[i]);
    *to = v;
}

/* 1: it holds; 0: it does not; -1: not decided, by nothing of ours; -2: not decided, and it may speak of our bridge. */
static int do_cmp(struct walk *w, const struct nlattr *const *a)
{
    const struct value *v = reg_of(w, number_of(a[NFTA_CMP_SREG]));
    const struct nlattr *data = data_value(a[NFTA_CMP_DATA]);
    if (v->known != KNOWN || !data || mnl_attr_get_payload_len(data) > sizeof v->bytes)
        return v->known == OTHER ? -1 : -2;
    int d = memcmp(v->bytes, mnl_attr_get_payload(data), mnl_attr_get_payload_len(data));
    switch (number_of(a[NFTA_CMP_OP])) {
    case NFT_CMP_EQ:
        return d == 0;
    case NFT_CMP_NEQ:
        return d != 0;
    case NFT_CMP_LT:
        return d < 0;
    case NFT_CMP_LTE:
        return d <= 0;
    case NFT_CMP_GT:
        return d > 0;
    case NFT_CMP_GTE:
        return d >= 0;
    default:
        return -2;
    }
}

/* As do_cmp; *verdict: of a map's element. */
static int do_lookup(struct walk *w, const struct chain *c, const struct nlattr *const *a, const struct elem **verdict)
{
    const struct value *v = reg_of(w, number_of(a[NFTA_LOOKUP_SREG]));
    char name[NAME] = "";
    bool invert = number_of(a[NFTA_LOOKUP_FLAGS]) & NFT_LOOKUP_F_INV;
    if (v->known == OTHER && !a[NFTA_LOOKUP_DREG])
        return -1;
    if (v->known != KNOWN || !a[NFTA_LOOKUP_SET])
        return -2;
    net_attr_text(a[NFTA_LOOKUP_SET], name, sizeof name);
    const struct set *s = set_of(w->f, c, name);
    if (!s || !s->plain)
        return -2;
    for (size_t i = 0; i < s->n; i++) {
        if (s->elem[i].len > v->len)
            return -2;                                  /* a key of several parts */
        if (memcmp(s->elem[i].key, v->bytes, s->elem[i].len))
            continue;
        if (a[NFTA_LOOKUP_DREG]) {
            *verdict = &s->elem[i];
            return s->elem[i].verdict ? 1 : -2;
        }
        return !invert;
    }
    return !a[NFTA_LOOKUP_DREG] && invert;
}

static bool is_name(const struct nlattr *a, const char *text)
{
    char have[32] = "";
    if (a)
        net_attr_text(a, have, sizeof have);
    return !strcmp(have, text);
}

/* A match of iptables: only a comment is passed by everything. Some may name our bridge, or its addresses. */
static int do_match(const struct nlattr *const *a)
{
    static const char *const ours[] = {"set", "mark", "connmark", "physdev", "iprange", "addrtype", "mac", "bpf", "u32"};
    if (is_name(a[NFTA_MATCH_NAME], "comment"))
        return 1;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (is_name(a[NFTA_MATCH_NAME], ours[i]))
            return -2;
    return -1;
}

static enum way walk_chain(struct walk *w, const struct chain *base, const struct chain *c, int depth);

static const struct chain *chain_named(const struct net_nft_foreign *f, const struct chain *like, const char *name)
{
    for (size_t i = 0; i < f->n_chain; i++)
        if (f->chain[i].family == like->family && !strcmp(f->chain[i].table, like->table) && !strcmp(f->chain[i].name, name))
            return &f->chain[i];
    return NULL;
}

static enum way dropped(struct walk *w, const struct chain *base, const struct chain *c, unsigned rule)
{
    *w->out = (struct net_nft_drop){.family = family_name(c->family), .table = c->table, .chain = c->name, .base = base->name, .rule = rule,
                                    .has_user = chain_named(w->f, c, "DOCKER-USER")};
    return DROPPED;
}

static enum way follow(struct walk *w, const struct chain *base, const struct chain *c, unsigned rule, int32_t code, const char *to, int depth)
{
    const struct chain *next;
    enum way way;
    switch (code) {
    case NF_DROP:
        return dropped(w, base, c, rule);
    case NF_ACCEPT:
        return ACCEPTED;
    case NFT_CONTINUE:
        return CONTINUE;
    case NFT_RETURN:
        return RETURNED;
    case NFT_JUMP:
    case NFT_GOTO:
        next = chain_named(w->f, c, to);
        if (!next || depth >= DEPTH)
            return UNSURE;
        way = walk_chain(w, base, next, depth + 1);
        if (way != RETURNED && way != CONTINUE)
            return way;
        return code == NFT_GOTO ? RETURNED : CONTINUE;
    default:
        return UNSURE;                                  /* a queue: a program decides */
    }
}

/* What the rule does, once its tests have come to `decided` (as do_cmp). */
static enum way conclude(struct walk *w, const struct chain *base, const struct chain *c, unsigned rule, int decided, int32_t code, const char *to,
                         int depth)
{
    if (decided == 1)
        return follow(w, base, c, rule, code, to, depth);
    return decided == -2 && code != NF_DROP && code != NFT_CONTINUE && code != NFT_RETURN ? UNSURE : CONTINUE;
}

static enum way walk_rule(struct walk *w, const struct chain *base, const struct chain *c, const struct rule *r, unsigned number, int depth)
{
    const struct nlattr *list = (const void *)r->exprs, *one, *x[NFTA_EXPR_MAX + 1], *a[32];
    const struct elem *verdict;
    int decided = 1;

    if (!list)
        return CONTINUE;
    memset(w->reg, 0, sizeof w->reg);
    NET_EACH_IN(one, list) {
        int holds = 1;
        split(one, x, NFTA_EXPR_MAX + 1);
        split(x[NFTA_EXPR_DATA], a, 32);
        const struct nlattr *name = x[NFTA_EXPR_NAME];
        if (is_name(name, "meta") && a[NFTA_META_DREG]) {
            *reg_of(w, number_of(a[NFTA_META_DREG])) = of_meta(w, number_of(a[NFTA_META_KEY]));
        } else if (is_name(name, "payload") && a[NFTA_PAYLOAD_DREG]) {
            *reg_of(w, number_of(a[NFTA_PAYLOAD_DREG])) =
                of_payload(w, number_of(a[NFTA_PAYLOAD_BASE]), number_of(a[NFTA_PAYLOAD_OFFSET]), number_of(a[NFTA_PAYLOAD_LEN]));
        } else if (is_name(name, "ct") && a[NFTA_CT_DREG]) {
            *reg_of(w, number_of(a[NFTA_CT_DREG])) = of_ct(w, number_of(a[NFTA_CT_KEY]));
        } else if (is_name(name, "bitwise")) {
            do_bitwise(w, a);
        } else if (is_name(name, "cmp")) {
            holds = do_cmp(w, a);
        } else if (is_name(name, "lookup")) {
            verdict = NULL;
            holds = do_lookup(w, c, a, &verdict);
            if (verdict)
                return conclude(w, base, c, number, decided, verdict->code, verdict->chain, depth);
            if (holds == -2 && a[NFTA_LOOKUP_DREG])
                return UNSURE;
        } else if (is_name(name, "match")) {
            holds = do_match(a);
        } else if (is_name(name, "immediate")) {
            struct elem e = {0};
            take_verdict(a[NFTA_IMMEDIATE_DATA], &e);
            if (e.verdict)
                return conclude(w, base, c, number, decided, e.code, e.chain, depth);
        } else if (is_name(name, "reject") || (is_name(name, "target") && (is_name(a[NFTA_TARGET_NAME], "REJECT") || is_name(a[NFTA_TARGET_NAME], "DROP")))) {
            return conclude(w, base, c, number, decided, NF_DROP, "", depth);
        } else if (is_name(name, "queue")) {
            return conclude(w, base, c, number, decided, NF_QUEUE, "", depth);
        } else if (!is_name(name, "counter") && !is_name(name, "log") && !is_name(name, "target") && !is_name(name, "objref")) {
            holds = -1;                                 /* limits, quotas and other tests that name no link */
            for (size_t i = 0; i < SLOTS; i++)          /* and whatever loads a register */
                w->reg[i] = w->reg[i].known == NOT_SET ? (struct value){.known = OTHER} : w->reg[i];
        }
        if (holds == 0)
            return CONTINUE;
        if (holds < 0 && decided != -1)                 /* not passed by some packets: it is no matter whose */
            decided = holds == -1 ? -1 : -2;
    }
    return CONTINUE;
}

static enum way walk_chain(struct walk *w, const struct chain *base, const struct chain *c, int depth)
{
    unsigned number = 0;
    for (size_t i = 0; i < w->f->n_rule; i++) {
        const struct rule *r = &w->f->rule[i];
        if (r->family != c->family || strcmp(r->chain, c->name) || strcmp(r->table, c->table))
            continue;
        enum way way = walk_rule(w, base, c, r, ++number, depth);
        if (way != CONTINUE)
            return way;
    }
    return CONTINUE;
}

int net_nft_foreign_find(struct net_nft_foreign *f, const struct net_nft_packet *packet, bool *found, struct net_nft_drop *out,
                         struct net_error *err)
{
    struct walk w = {.f = f, .p = packet, .out = out};

    *found = false;
    for (size_t i = 0; i < f->n_chain && f->chain[i].base && !*found; i++) {
        const struct chain *c = &f->chain[i];
        if (c->family == (packet->family == AF_INET6 ? NFPROTO_IPV4 : NFPROTO_IPV6))
            continue;
        enum way way = walk_chain(&w, c, c, 0);
        if ((way == CONTINUE || way == RETURNED) && c->drops)
            way = dropped(&w, c, c, 0);
        *found = way == DROPPED;
    }
    if (f->e) {
        if (err)
            *err = f->said;
        return f->e;
    }
    return 0;
}
