/* One packet through the chains. */
#include "netops/nft_foreign_rules.h"
#include "netops/xt_match.h"
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <netinet/in.h>
#include <stdio.h>

enum { DEPTH = 16, SLOTS = 20 };

/* OTHER: of no bridge; OURS: it might tell our bridge from others */
enum known { NOT_SET, KNOWN, OTHER, OURS };
struct value {
    enum known known;
    uint8_t len, bytes[16];
};
enum way { CONTINUE, RETURNED, ACCEPTED, DROPPED, UNSURE };
struct walk {
    struct net_nft_foreign *f;
    const struct net_nft_packet *p;
    struct value reg[SLOTS];
    struct net_nft_drop *out;
    bool user; /* the packet went through a chain DOCKER-USER */
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
        return net_nft_foreign_marks(w->f) ? (struct value){.known = OURS} : known(&none, 4);
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
        return w->p->src ? known(w->p->src + (offset - source), len)
                         : (struct value){.known = OURS};
    return (struct value){
        .known =
            offset >= source + whole && offset < source + 2 * whole && w->p->mapped ? OURS : OTHER};
}

static struct value of_ct(const struct walk *w, uint32_t key)
{
    static const uint8_t original = IP_CT_DIR_ORIGINAL;
    uint32_t state = NF_CT_STATE_BIT(IP_CT_NEW),
             status = w->p->mapped ? IPS_DST_NAT | IPS_DST_NAT_DONE : 0, none = 0;
    switch (key) {
    case NFT_CT_STATE:
        return known(&state, 4);
    case NFT_CT_STATUS:
        return known(&status, 4);
    case NFT_CT_MARK:
        return net_nft_foreign_marks(w->f) ? (struct value){.known = OURS} : known(&none, 4);
    case NFT_CT_DIRECTION:
        return known(&original, 1);
    default:
        return (struct value){.known = OTHER};
    }
}

static const struct nlattr *data_value(const struct nlattr *nest)
{
    const struct nlattr *d[NFTA_DATA_MAX + 1];
    net_nft_split(nest, d, NFTA_DATA_MAX + 1);
    return d[NFTA_DATA_VALUE];
}

static void do_bitwise(struct walk *w, const struct nlattr *const *a)
{
    struct value *from = reg_of(w, net_nft_number(a[NFTA_BITWISE_SREG])),
                 *to = reg_of(w, net_nft_number(a[NFTA_BITWISE_DREG])), v = *from;
    const struct nlattr *mask = data_value(a[NFTA_BITWISE_MASK]),
                        *flip = data_value(a[NFTA_BITWISE_XOR]);
    uint32_t len = net_nft_number(a[NFTA_BITWISE_LEN]);
    if (v.known == KNOWN &&
        (!mask || !flip || len > sizeof v.bytes || mnl_attr_get_payload_len(mask) < len ||
         mnl_attr_get_payload_len(flip) < len))
        v.known = OURS;
    for (uint32_t i = 0; v.known == KNOWN && i < len; i++)
        v.bytes[i] = (uint8_t)((v.bytes[i] & ((const uint8_t *)mnl_attr_get_payload(mask))[i]) ^
                               ((const uint8_t *)mnl_attr_get_payload(flip))[i]);
    *to = v;
}

/* 1: it holds; 0: it does not; -1: not decided, by nothing of ours; -2: not decided, and it may
 * speak of our bridge. */
static int do_cmp(struct walk *w, const struct nlattr *const *a)
{
    const struct value *v = reg_of(w, net_nft_number(a[NFTA_CMP_SREG]));
    const struct nlattr *data = data_value(a[NFTA_CMP_DATA]);
    if (v->known != KNOWN || !data || mnl_attr_get_payload_len(data) > sizeof v->bytes)
        return v->known == OTHER ? -1 : -2;
    int d = memcmp(v->bytes, mnl_attr_get_payload(data), mnl_attr_get_payload_len(data));
    switch (net_nft_number(a[NFTA_CMP_OP])) {
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
static int do_lookup(struct walk *w, const struct nft_foreign_chain *c,
                     const struct nlattr *const *a, const struct nft_foreign_elem **verdict)
{
    const struct value *v = reg_of(w, net_nft_number(a[NFTA_LOOKUP_SREG]));
    char name[NFT_NAME_ROOM] = "";
    bool invert = net_nft_number(a[NFTA_LOOKUP_FLAGS]) & NFT_LOOKUP_F_INV;
    if (v->known == OTHER && !a[NFTA_LOOKUP_DREG])
        return -1;
    if (v->known != KNOWN || !a[NFTA_LOOKUP_SET])
        return -2;
    net_attr_text(a[NFTA_LOOKUP_SET], name, sizeof name);
    const struct nft_foreign_set *s = net_nft_foreign_set(w->f, c, name);
    if (!s || !s->plain)
        return -2;
    for (size_t i = 0; i < s->n; i++) {
        if (s->elem[i].len > v->len)
            return -2; /* a key of several parts */
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

/* A match of iptables. As do_cmp. */
static int do_match(struct walk *w, const struct nlattr *const *a)
{
    const struct net_nft_packet *p = w->p;
    struct net_xt_match m = {.revision = net_nft_number(a[NFTA_MATCH_REV])};
    struct net_xt_way way = {
        .mapped = p->mapped, .bridged = !strcmp(p->iif, p->oif), .br_netfilter = p->br_netfilter};

    if (a[NFTA_MATCH_NAME])
        net_attr_text(a[NFTA_MATCH_NAME], m.name, sizeof m.name);
    if (a[NFTA_MATCH_INFO]) {
        m.data = mnl_attr_get_payload(a[NFTA_MATCH_INFO]);
        m.size = mnl_attr_get_payload_len(a[NFTA_MATCH_INFO]);
    }
    if (!strcmp(m.name, "mark") || !strcmp(m.name, "connmark"))
        way.marked = net_nft_foreign_marks(w->f);
    switch (net_xt_match_holds(&m, &way)) {
    case NET_XT_YES:
        return 1;
    case NET_XT_NO:
        return 0;
    case NET_XT_NOT_OURS:
        return -1;
    case NET_XT_UNCLEAR:
        break;
    }
    return -2;
}

static enum way walk_chain(struct walk *w, const struct nft_foreign_chain *base,
                           const struct nft_foreign_chain *c, int depth);

static const struct nft_foreign_chain *
chain_named(const struct net_nft_foreign *f, const struct nft_foreign_chain *like, const char *name)
{
    for (size_t i = 0; i < f->n_chain; i++)
        if (f->chain[i].family == like->family && !strcmp(f->chain[i].table, like->table) &&
            !strcmp(f->chain[i].name, name))
            return &f->chain[i];
    return NULL;
}

static const char *family_name(uint8_t family)
{
    return family == NFPROTO_IPV4 ? "ip" : family == NFPROTO_IPV6 ? "ip6" : "inet";
}

static enum way dropped(struct walk *w, const struct nft_foreign_chain *base,
                        const struct nft_foreign_chain *c, unsigned rule)
{
    *w->out = (struct net_nft_drop){.family = family_name(c->family),
                                    .table = c->table,
                                    .chain = c->name,
                                    .base = base->name,
                                    .rule = rule,
                                    .has_user = w->user};
    return DROPPED;
}

static enum way follow(struct walk *w, const struct nft_foreign_chain *base,
                       const struct nft_foreign_chain *c, unsigned rule, int32_t code,
                       const char *to, int depth)
{
    const struct nft_foreign_chain *next;
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
        w->user = w->user || !strcmp(next->name, "DOCKER-USER");
        way = walk_chain(w, base, next, depth + 1);
        if (way != RETURNED && way != CONTINUE)
            return way;
        return code == NFT_GOTO ? RETURNED : CONTINUE;
    default:
        return UNSURE; /* a queue: a program decides */
    }
}

/* What the rule does, once its tests have come to `decided` (as do_cmp). */
static enum way conclude(struct walk *w, const struct nft_foreign_chain *base,
                         const struct nft_foreign_chain *c, unsigned rule, int decided,
                         int32_t code, const char *to, int depth)
{
    if (decided == 1)
        return follow(w, base, c, rule, code, to, depth);
    return decided == -2 && code != NF_DROP && code != NFT_CONTINUE && code != NFT_RETURN
               ? UNSURE
               : CONTINUE;
}

static bool target_is(const struct nlattr *name, const struct nlattr *const *a, const char *target)
{
    return net_nft_text_is(name, "target") && net_nft_text_is(a[NFTA_TARGET_NAME], target);
}

static enum way walk_rule(struct walk *w, const struct nft_foreign_chain *base,
                          const struct nft_foreign_chain *c, const struct nft_foreign_rule *r,
                          unsigned number, int depth)
{
    const struct nlattr *list = (const void *)r->exprs, *one, *x[NFTA_EXPR_MAX + 1], *a[32];
    const struct nft_foreign_elem *verdict;
    int decided = 1;

    if (!list)
        return CONTINUE;
    memset(w->reg, 0, sizeof w->reg);
    NET_EACH_IN(one, list)
    {
        int holds = 1;
        net_nft_split(one, x, NFTA_EXPR_MAX + 1);
        net_nft_split(x[NFTA_EXPR_DATA], a, 32);
        const struct nlattr *name = x[NFTA_EXPR_NAME];
        if (net_nft_text_is(name, "meta") && a[NFTA_META_DREG]) {
            *reg_of(w, net_nft_number(a[NFTA_META_DREG])) =
                of_meta(w, net_nft_number(a[NFTA_META_KEY]));
        } else if (net_nft_text_is(name, "payload") && a[NFTA_PAYLOAD_DREG]) {
            *reg_of(w, net_nft_number(a[NFTA_PAYLOAD_DREG])) = of_payload(
                w, net_nft_number(a[NFTA_PAYLOAD_BASE]), net_nft_number(a[NFTA_PAYLOAD_OFFSET]),
                net_nft_number(a[NFTA_PAYLOAD_LEN]));
        } else if (net_nft_text_is(name, "ct") && a[NFTA_CT_DREG]) {
            *reg_of(w, net_nft_number(a[NFTA_CT_DREG])) = of_ct(w, net_nft_number(a[NFTA_CT_KEY]));
        } else if (net_nft_text_is(name, "bitwise")) {
            do_bitwise(w, a);
        } else if (net_nft_text_is(name, "cmp")) {
            holds = do_cmp(w, a);
        } else if (net_nft_text_is(name, "lookup")) {
            verdict = NULL;
            holds = do_lookup(w, c, a, &verdict);
            if (verdict)
                return conclude(w, base, c, number, decided, verdict->code, verdict->chain, depth);
            if (holds == -2 && a[NFTA_LOOKUP_DREG])
                return UNSURE;
        } else if (net_nft_text_is(name, "match")) {
            holds = do_match(w, a);
        } else if (net_nft_text_is(name, "immediate")) {
            struct nft_foreign_elem e = {0};
            net_nft_foreign_verdict(a[NFTA_IMMEDIATE_DATA], &e);
            if (e.verdict)
                return conclude(w, base, c, number, decided, e.code, e.chain, depth);
        } else if (net_nft_text_is(name, "reject") || target_is(name, a, "REJECT") ||
                   target_is(name, a, "DROP")) {
            return conclude(w, base, c, number, decided, NF_DROP, "", depth);
        } else if (net_nft_text_is(name, "queue")) {
            return conclude(w, base, c, number, decided, NF_QUEUE, "", depth);
        } else if (!net_nft_text_is(name, "counter") && !net_nft_text_is(name, "log") &&
                   !net_nft_text_is(name, "target") && !net_nft_text_is(name, "objref")) {
            /* limits, quotas and other tests that name no link */
            holds = -1;
            for (size_t i = 0; i < SLOTS; i++) /* and whatever loads a register */
                w->reg[i] = w->reg[i].known == NOT_SET ? (struct value){.known = OTHER} : w->reg[i];
        }
        if (holds == 0)
            return CONTINUE;
        /* not passed by some packets: it is no matter whose */
        if (holds < 0 && decided != -1)
            decided = holds == -1 ? -1 : -2;
    }
    return CONTINUE;
}

static enum way walk_chain(struct walk *w, const struct nft_foreign_chain *base,
                           const struct nft_foreign_chain *c, int depth)
{
    unsigned number = 0;
    for (size_t i = 0; i < w->f->n_rule; i++) {
        const struct nft_foreign_rule *r = &w->f->rule[i];
        if (r->family != c->family || strcmp(r->chain, c->name) || strcmp(r->table, c->table))
            continue;
        enum way way = walk_rule(w, base, c, r, ++number, depth);
        if (way != CONTINUE)
            return way;
    }
    return CONTINUE;
}

int net_nft_foreign_find(struct net_nft_foreign *f, const struct net_nft_packet *packet,
                         bool *found, struct net_nft_drop *out, struct net_error *err)
{
    struct walk w = {.f = f, .p = packet, .out = out};

    *found = false;
    for (size_t i = 0; i < f->n_chain && f->chain[i].base && !*found; i++) {
        const struct nft_foreign_chain *c = &f->chain[i];
        if (c->family == (packet->family == AF_INET6 ? NFPROTO_IPV4 : NFPROTO_IPV6))
            continue;
        w.user = false; /* a chain of that name in another table says nothing of this one */
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
