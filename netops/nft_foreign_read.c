/* Chains and rules in one reading. Elements of a set, and whether anything gives marks, are read
 * when a rule asks for them. */
#include "netops/nft_foreign_rules.h"
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>

enum { RULES_MOST = 20000 };

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

static int take_chain(void *arg, const struct nlmsghdr *m)
{
    struct net_nft_foreign *f = arg;
    const struct nlattr *a[NFTA_CHAIN_MAX + 1], *h[NFTA_HOOK_MAX + 1];
    char type[16] = "";

    if (!is_message(m, NFT_MSG_NEWCHAIN))
        return 0;
    uint8_t family = family_of(m);
    split_message(m, a, NFTA_CHAIN_MAX + 1);
    if ((family != NFPROTO_IPV4 && family != NFPROTO_IPV6 && family != NFPROTO_INET) ||
        !a[NFTA_CHAIN_TABLE] || !a[NFTA_CHAIN_NAME])
        return 0;
    struct nft_foreign_chain *c =
        one_more((void **)&f->chain, &f->n_chain, &f->chain_room, sizeof *c);
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
    net_nft_split(a[NFTA_CHAIN_HOOK], h, NFTA_HOOK_MAX + 1);
    if (a[NFTA_CHAIN_TYPE])
        net_attr_text(a[NFTA_CHAIN_TYPE], type, sizeof type);
    c->base = net_nft_number(h[NFTA_HOOK_HOOKNUM]) == NF_INET_FORWARD && !strcmp(type, "filter");
    c->drops = a[NFTA_CHAIN_POLICY] && net_nft_number(a[NFTA_CHAIN_POLICY]) == NF_DROP;
    c->priority = (int32_t)net_nft_number(h[NFTA_HOOK_PRIORITY]);
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
    struct nft_foreign_rule *r = one_more((void **)&f->rule, &f->n_rule, &f->rule_room, sizeof *r);
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

void net_nft_foreign_verdict(const struct nlattr *data, struct nft_foreign_elem *e)
{
    const struct nlattr *d[NFTA_DATA_MAX + 1], *v[NFTA_VERDICT_MAX + 1];
    net_nft_split(data, d, NFTA_DATA_MAX + 1);
    if (!d[NFTA_DATA_VERDICT])
        return;
    net_nft_split(d[NFTA_DATA_VERDICT], v, NFTA_VERDICT_MAX + 1);
    e->verdict = true;
    e->code = (int32_t)net_nft_number(v[NFTA_VERDICT_CODE]);
    if (v[NFTA_VERDICT_CHAIN])
        net_attr_text(v[NFTA_VERDICT_CHAIN], e->chain, sizeof e->chain);
}

static int take_elems(void *arg, const struct nlmsghdr *m)
{
    struct nft_foreign_set *s = ((struct net_nft_foreign *)arg)->reading;
    const struct nlattr *a[NFTA_SET_ELEM_LIST_MAX + 1], *e[NFTA_SET_ELEM_MAX + 1],
        *d[NFTA_DATA_MAX + 1], *one;

    if (!is_message(m, NFT_MSG_NEWSETELEM))
        return 0;
    split_message(m, a, NFTA_SET_ELEM_LIST_MAX + 1);
    if (!a[NFTA_SET_ELEM_LIST_ELEMENTS])
        return 0;
    NET_EACH_IN(one, a[NFTA_SET_ELEM_LIST_ELEMENTS])
    {
        net_nft_split(one, e, NFTA_SET_ELEM_MAX + 1);
        net_nft_split(e[NFTA_SET_ELEM_KEY], d, NFTA_DATA_MAX + 1);
        struct nft_foreign_elem *x = one_more((void **)&s->elem, &s->n, &s->room, sizeof *x);
        if (!x)
            return -ENOMEM;
        if (!d[NFTA_DATA_VALUE] || e[NFTA_SET_ELEM_KEY_END] ||
            net_nft_number(e[NFTA_SET_ELEM_FLAGS]) ||
            mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]) > sizeof x->key) {
            s->plain = false; /* intervals, a catch-all */
            continue;
        }
        x->len = (uint8_t)mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]);
        memcpy(x->key, mnl_attr_get_payload(d[NFTA_DATA_VALUE]), x->len);
        if (e[NFTA_SET_ELEM_DATA])
            net_nft_foreign_verdict(e[NFTA_SET_ELEM_DATA], x);
    }
    return 0;
}

static void forget_elems(void *arg)
{
    struct nft_foreign_set *s = ((struct net_nft_foreign *)arg)->reading;
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
    uint8_t room[512];
};

static int by_priority(const void *a, const void *b)
{
    const struct nft_foreign_chain *x = a, *y = b;
    if (x->base != y->base)
        return x->base ? -1 : 1;
    return x->priority < y->priority ? -1 : x->priority > y->priority;
}

static bool first_of_table(const struct net_nft_foreign *f, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (f->chain[k].base && f->chain[k].family == f->chain[i].family &&
            !strcmp(f->chain[k].table, f->chain[i].table))
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
        struct net_nft_foreign part = {.port = p}; /* a torn dump forgets only this table */
        memset(&q, 0, sizeof q);
        request(&q.head, NFT_MSG_GETRULE, f->chain[i].family);
        mnl_attr_put_strz(&q.head, NFTA_RULE_TABLE, f->chain[i].table);
        e = net_port_dump(p, &q.head, take_rule, forget_rules, &part, err);
        for (size_t k = 0; k < part.n_rule; k++) {
            struct nft_foreign_rule *r =
                e ? NULL : one_more((void **)&f->rule, &f->n_rule, &f->rule_room, sizeof *r);
            if (r)
                *r = part.rule[k];
            else
                free(part.rule[k].exprs);
        }
        free(part.rule);
        if (e == -ENOENT) /* the table went away meanwhile */
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

const struct nft_foreign_set *
net_nft_foreign_set(struct net_nft_foreign *f, const struct nft_foreign_chain *c, const char *name)
{
    union request q = {0};

    for (size_t i = 0; i < f->n_set; i++)
        if (f->set[i].family == c->family && !strcmp(f->set[i].table, c->table) &&
            !strcmp(f->set[i].name, name))
            return &f->set[i];
    struct nft_foreign_set *s = one_more((void **)&f->set, &f->n_set, &f->set_room, sizeof *s);
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

static bool gives_mark(const struct nlattr *expr)
{
    const struct nlattr *x[NFTA_EXPR_MAX + 1], *a[32];

    net_nft_split(expr, x, NFTA_EXPR_MAX + 1);
    net_nft_split(x[NFTA_EXPR_DATA], a, 32);
    if (net_nft_text_is(x[NFTA_EXPR_NAME], "meta"))
        return a[NFTA_META_SREG] && net_nft_number(a[NFTA_META_KEY]) == NFT_META_MARK;
    if (net_nft_text_is(x[NFTA_EXPR_NAME], "ct"))
        return a[NFTA_CT_SREG] && net_nft_number(a[NFTA_CT_KEY]) == NFT_CT_MARK;
    if (!net_nft_text_is(x[NFTA_EXPR_NAME], "target"))
        return false;
    return net_nft_text_is(a[NFTA_TARGET_NAME], "MARK") ||
           net_nft_text_is(a[NFTA_TARGET_NAME], "CONNMARK");
}

static int look_for_mark(void *arg, const struct nlmsghdr *m)
{
    struct net_nft_foreign *f = arg;
    const struct nlattr *a[NFTA_RULE_MAX + 1], *one;

    if (!is_message(m, NFT_MSG_NEWRULE))
        return 0;
    split_message(m, a, NFTA_RULE_MAX + 1);
    if (!a[NFTA_RULE_EXPRESSIONS])
        return 0;
    NET_EACH_IN(one, a[NFTA_RULE_EXPRESSIONS])
    f->marks = f->marks || gives_mark(one);
    return 0;
}

static void forget_marks(void *arg)
{
    ((struct net_nft_foreign *)arg)->marks = false;
}

bool net_nft_foreign_marks(struct net_nft_foreign *f)
{
    union request q = {0};

    if (f->asked_marks)
        return f->marks;
    f->asked_marks = true;
    request(&q.head, NFT_MSG_GETRULE, AF_UNSPEC);
    int e = net_port_dump(f->port, &q.head, look_for_mark, forget_marks, f, &f->said);
    if (e && e != -ENOENT)
        f->e = e;
    return f->marks;
}
