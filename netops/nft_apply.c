/* The batch. It carries the generation that the difference was found in, so it is refused as a
 * whole when anybody wrote since. One ack is asked for, on the last message; every refusal comes
 * unasked. A question for the generation follows the batch: its answer ends the reading, and says
 * whether anything was committed, for acks do not. What is there then is read and compared once
 * more. */
#include "netops/nft_image.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <libnftnl/common.h>

enum {
    /* 20 bytes of heads; and 24 of key with 20 of data, or 32 of key */
    ELEM_ROOM = 64,
    /* a list is one attribute: its length has 16 bits */
    LIST_MOST = 65000 / ELEM_ROOM,
    ANSWER_MS = 10000,
    FENCES = 10,
};

struct sent {  /* one message of elements */
    size_t at; /* in the batch */
    enum nft_which t;
    const struct nft_set *set;
    const struct nft_elem *elem;
    size_t n;
};
struct batch {
    struct nft_bytes bytes;
    struct sent *sent;
    /* last: offset of the last message before the end */
    size_t n_sent, n_messages, last;
    struct nft_elem *moves[NFT_TABLES * 32]; /* elements to remove and to add, owned */
    size_t n_moves;
    size_t list_most;
    bool failed;
};

static struct nlmsghdr *put_header(struct batch *b, uint16_t type, enum nft_which t, uint16_t flags,
                                   size_t more)
{
    size_t room = more + 128;
    uint8_t *p = b->failed ? NULL : net_nft_bytes_room(&b->bytes, room);
    if (!p) {
        b->failed = true;
        return NULL;
    }
    memset(p, 0, 128);
    return nftnl_nlmsg_build_hdr((char *)p, type, net_nft_families[t].number, flags, 0);
}
static void put_done(struct batch *b, const struct nlmsghdr *m)
{
    b->last = b->bytes.len;
    b->bytes.len += NLMSG_ALIGN(m->nlmsg_len);
    b->n_messages++;
}

static void put_value(struct nlmsghdr *m, uint16_t type, const uint8_t *bytes, size_t len)
{
    struct nlattr *nest = mnl_attr_nest_start(m, type);
    mnl_attr_put(m, NFTA_DATA_VALUE, len, bytes);
    mnl_attr_nest_end(m, nest);
}

static void put_elements(struct batch *b, enum nft_which t, const struct nft_set *s,
                         const struct nft_elem *e, size_t n, bool add)
{
    while (n && !b->failed) {
        size_t some = n < b->list_most ? n : b->list_most;
        struct nlmsghdr *m =
            put_header(b, add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, t,
                       add ? NLM_F_CREATE | NLM_F_EXCL : 0, some * ELEM_ROOM + 128);
        struct sent *sent = m ? realloc(b->sent, (b->n_sent + 1) * sizeof *sent) : NULL;
        if (!sent) {
            b->failed = true;
            return;
        }
        b->sent = sent;
        b->sent[b->n_sent++] = (struct sent){b->bytes.len, t, s, e, some};
        mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_TABLE, NFT_OURS);
        mnl_attr_put_strz(m, NFTA_SET_ELEM_LIST_SET, s->name);
        struct nlattr *list = mnl_attr_nest_start(m, NFTA_SET_ELEM_LIST_ELEMENTS);
        for (size_t i = 0; i < some; i++, e++) {
            struct nlattr *one = mnl_attr_nest_start(m, NFTA_LIST_ELEM);
            put_value(m, NFTA_SET_ELEM_KEY, e->key, e->key_len);
            if (add && e->data_len)
                put_value(m, NFTA_SET_ELEM_DATA, e->data, e->data_len);
            mnl_attr_nest_end(m, one);
        }
        mnl_attr_nest_end(m, list);
        put_done(b, m);
        n -= some;
    }
}

/* A changed element is removed and added. */
static void put_moves(struct batch *b, enum nft_which t, const struct nft_set *w,
                      const struct nft_set *h)
{
    struct nft_elem *gone = calloc(h->n + 1, sizeof *gone), *new = calloc(w->n + 1, sizeof *new);
    size_t n_gone = 0, n_new = 0, i = 0, k = 0;

    if (!gone || !new || b->n_moves + 2 > sizeof b->moves / sizeof b->moves[0]) {
        free(gone);
        free(new);
        b->failed = true;
        return;
    }
    while (i < w->n || k < h->n) {
        int d = i == w->n ? 1 : k == h->n ? -1 : net_nft_elem_order(&w->elem[i], &h->elem[k]);
        if (d == 0 && net_nft_elem_same(&w->elem[i], &h->elem[k])) {
            i++, k++;
            continue;
        }
        if (d <= 0)
            new[n_new++] = w->elem[i++];
        if (d >= 0)
            gone[n_gone++] = h->elem[k++];
    }
    b->moves[b->n_moves++] = gone;
    b->moves[b->n_moves++] = new;
    put_elements(b, t, w, gone, n_gone, false);
    put_elements(b, t, w, new, n_new, true);
}

static void put_table(struct batch *b, enum nft_which t, const struct nft_want *w,
                      const struct nft_image *have, const struct nft_verdict *v)
{
    const struct nft_table *want = &w->img.table[t], *old = &have->table[t];

    if (!v->anew[t] && !v->elements[t])
        return;
    if (!v->anew[t]) {
        for (size_t i = 0; i < want->n_set; i++)
            put_moves(b, t, &want->set[i], net_nft_find_set(old, want->set[i].name));
        return;
    }
    if (old->present) {
        struct nlmsghdr *m = put_header(b, NFT_MSG_DELTABLE, t, 0, 0);
        if (m) {
            mnl_attr_put_strz(m, NFTA_TABLE_NAME, NFT_OURS);
            put_done(b, m);
        }
    }
    if (!want->present)
        return;
    const uint8_t *p = w->msgs[t].p, *end = p + w->msgs[t].len;
    uint8_t *to = net_nft_bytes_room(&b->bytes, w->msgs[t].len);
    if (!to) {
        b->failed = true;
        return;
    }
    memcpy(to, p, w->msgs[t].len);
    while (p < end) {
        const struct nlmsghdr *m = (const void *)p;
        p += NLMSG_ALIGN(m->nlmsg_len);
        put_done(b, m);
    }
    for (size_t i = 0; i < want->n_set; i++)
        put_elements(b, t, &want->set[i], want->set[i].elem, want->set[i].n, true);
}

/* `end` false: the kernel checks everything and commits nothing. */
static void batch_make(struct batch *b, const struct nft_want *w, const struct net_nft_have *have,
                       const struct nft_verdict *v, size_t list_most, bool end)
{
    memset(b, 0, sizeof *b);
    b->list_most = list_most;
    struct nlmsghdr *m = put_header(b, 0, NFT_INET, 0, 0);
    if (!m)
        return;
    m = nftnl_batch_begin((char *)m, 0);
    mnl_attr_put_u32(m, NFNL_BATCH_GENID, htonl(have->generation));
    put_done(b, m);
    /* isolation at layer 2 first, as it may be refused */
    for (size_t t = NFT_TABLES; t-- > 0;)
        put_table(b, (enum nft_which)t, w, &have->img, v);
    if (b->failed)
        return;
    size_t last = b->last;
    ((struct nlmsghdr *)(void *)(b->bytes.p + last))->nlmsg_flags |= NLM_F_ACK;
    if (end && (m = put_header(b, 0, NFT_INET, 0, 0)))
        put_done(b, nftnl_batch_end((char *)m, 0));
    b->last = last;
}

static void batch_done(struct batch *b)
{
    for (size_t i = 0; i < b->n_moves; i++)
        free(b->moves[i]);
    free(b->sent);
    free(b->bytes.p);
    memset(b, 0, sizeof *b);
}

/* ---- the exchange ---- */

struct answers {
    uint32_t first, n; /* numbers of the batch's messages */
    uint32_t fence;
    bool over, acked;
    uint32_t generation;
    int code;                 /* the first refusal */
    uint32_t refused, offset; /* its message; where in it, 0: not told */
    struct net_error said;
};

static int answer(void *arg, const struct nlmsghdr *m)
{
    struct answers *a = arg;

    if (m->nlmsg_seq == a->fence) {
        const struct nlattr *attr;
        a->over = true;
        if (m->nlmsg_type == NLMSG_ERROR) {
            if (!a->code)
                a->code = net_answer_code(m, NULL, NULL);
            return 0;
        }
        mnl_attr_for_each(attr, m,
                          sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) == NFTA_GEN_ID &&
                                                       mnl_attr_get_payload_len(attr) >= 4)
            a->generation = ntohl(mnl_attr_get_u32(attr));
        return 0;
    }
    uint32_t i = m->nlmsg_seq - a->first;
    if (m->nlmsg_type != NLMSG_ERROR || i >= a->n)
        return 0;
    struct net_error said = {0};
    uint32_t offset;
    int code = net_answer_code(m, &said, &offset);
    if (!code)
        a->acked = true;
    else if (!a->code || i < a->refused) {
        a->code = code;
        a->refused = i;
        a->offset = offset;
        a->said = said;
    }
    return 0;
}

static int fence(struct net_port *p, struct answers *a, struct net_error *err)
{
    union {
        struct nlmsghdr head;
        char bytes[64];
    } q;
    a->fence = net_port_number(p);
    nftnl_nlmsg_build_hdr(q.bytes, NFT_MSG_GETGEN, AF_UNSPEC, 0, a->fence);
    return net_port_send(p, q.bytes, q.head.nlmsg_len, err);
}

static int exchange(struct net_port *p, struct batch *b, struct answers *a, struct net_error *err)
{
    size_t answers_room = b->n_messages * 1024 < (1u << 18) ? 1u << 18 : b->n_messages * 1024;

    memset(a, 0, sizeof *a);
    (void)net_port_room(p, b->bytes.len + 4096,
                        answers_room > (16u << 20) ? 16u << 20 : answers_room);
    for (size_t at = 0; at < b->bytes.len; a->n++) {
        struct nlmsghdr *m = (void *)(b->bytes.p + at);
        m->nlmsg_seq = net_port_number(p);
        if (a->n == 0)
            a->first = m->nlmsg_seq;
        at += NLMSG_ALIGN(m->nlmsg_len);
    }
    int e = net_port_send(p, b->bytes.p, b->bytes.len, err);
    if (!e)
        e = fence(p, a, err);
    int64_t deadline = net_port_deadline(ANSWER_MS);
    for (int fences = 0; !e && !a->over;) {
        e = net_port_receive(p, NET_SLOT_ACK, 8, deadline, answer, a);
        /* a text that is too long for us: its message is not the last */
        if (e == -EMSGSIZE)
            e = 0;
        /* acks were lost, maybe the fence too: not a failure */
        else if (e == -ENOBUFS && ++fences < FENCES)
            e = fence(p, a, err);
        else if (e)
            net_fail(err, -e, "change", "nftables");
    }
    return e;
}

/* ---- a refusal, told ---- */

static const struct nlmsghdr *message_at(const struct batch *b, uint32_t i, size_t *at)
{
    for (*at = 0; *at < b->bytes.len; i--) {
        const struct nlmsghdr *m = (const void *)(b->bytes.p + *at);
        if (i == 0)
            return m;
        *at += NLMSG_ALIGN(m->nlmsg_len);
    }
    return NULL;
}

static const struct sent *sent_at(const struct batch *b, size_t at)
{
    for (size_t i = 0; i < b->n_sent; i++)
        if (b->sent[i].at == at)
            return &b->sent[i];
    return NULL;
}

/* The element that holds byte `offset` of its message; n: none. */
static size_t which(const struct nlmsghdr *m, uint32_t offset, size_t n)
{
    const struct nlattr *attr, *list = NULL;
    size_t i = 0;

    mnl_attr_for_each(attr, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) ==
                                                            NFTA_SET_ELEM_LIST_ELEMENTS) list =
        attr;
    if (list && offset)
        mnl_attr_for_each_nested(attr, list)
        {
            size_t begin = (size_t)((const uint8_t *)attr - (const uint8_t *)m);
            if (offset >= begin && offset < begin + attr->nla_len)
                return i;
            i++;
        }
    return n;
}

static const char *string_of(const struct nlmsghdr *m, uint16_t type)
{
    const struct nlattr *attr;
    mnl_attr_for_each(attr, m, sizeof(struct nfgenmsg)) if (mnl_attr_get_type(attr) ==
                                                            type) return mnl_attr_get_str(attr);
    return "";
}

static int tell(const struct batch *b, const struct answers *a, struct net_error *err)
{
    size_t at;
    const struct nlmsghdr *m = message_at(b, a->refused, &at);
    const struct sent *s = m ? sent_at(b, at) : NULL;
    int type = m ? m->nlmsg_type & 0xff : -1, code = a->code;
    uint32_t tag = 0;

    if (!m || a->refused == 0) { /* the batch itself */
        net_fail(err, code, "change", "nftables");
    } else if (s) {
        size_t i = s->n == 1 ? 0 : which(m, a->offset, s->n);
        const char *op = type == NFT_MSG_NEWSETELEM ? "add" : "remove";
        char text[256];
        if (i < s->n) {
            net_nft_elem_format(s->t, s->set->name, &s->elem[i], text, sizeof text);
            net_fail(err, code, op, "%s", text);
            tag = s->elem[i].tag;
        } else {
            net_fail(err, code, op, "elements of %sset '%s'", net_nft_families[s->t].prefix,
                     s->set->name);
        }
    } else {
        const struct nfgenmsg *g = mnl_nlmsg_get_payload(m);
        const struct nft_family *f =
            &net_nft_families[g->nfgen_family == NFPROTO_BRIDGE ? NFT_BRIDGE : NFT_INET];
        if (f->number == NFPROTO_BRIDGE && code == EAFNOSUPPORT)
            code = EOPNOTSUPP;
        if (type == NFT_MSG_NEWTABLE || type == NFT_MSG_DELTABLE)
            net_fail(err, code, type == NFT_MSG_NEWTABLE ? "create" : "delete", "table %s %s",
                     f->name, NFT_OURS);
        else if (type == NFT_MSG_NEWRULE)
            net_fail(err, code, "add", "a rule to %schain '%s'", f->prefix,
                     string_of(m, NFTA_RULE_CHAIN));
        else if (type == NFT_MSG_NEWCHAIN)
            net_fail(err, code, "create", "%schain '%s'", f->prefix, string_of(m, NFTA_CHAIN_NAME));
        else
            net_fail(err, code, "create", "%sset '%s'", f->prefix, string_of(m, NFTA_SET_NAME));
    }
    if (err) {
        memcpy(err->kernel, a->said.kernel, sizeof err->kernel);
        err->tag = tag;
    }
    return -code;
}

/* Who is to blame, when the kernel named a message of many elements and no offset: each alone,
 * without an end. */
static int blame(struct net_port *p, const struct nft_want *w, const struct net_nft_have *have,
                 const struct nft_verdict *v, const struct batch *b, const struct answers *a,
                 struct net_error *err)
{
    size_t at;
    const struct nlmsghdr *m = message_at(b, a->refused, &at);
    const struct sent *s = m ? sent_at(b, at) : NULL;

    if (s && s->n > 1 && which(m, a->offset, s->n) == s->n) {
        struct batch single;
        struct answers again;
        batch_make(&single, w, have, v, 1, false);
        int e = single.failed ? -ENOMEM : exchange(p, &single, &again, NULL);
        if (!e && again.code == a->code && again.refused) {
            e = tell(&single, &again, err);
            batch_done(&single);
            return e;
        }
        batch_done(&single);
    }
    return tell(b, a, err);
}

/* ---- apply ---- */

static void first_line(void *arg, const char *line)
{
    char *out = arg;
    if (!out[0]) {
        strncpy(out, line, 159);
        out[159] = '\0';
    }
}

/* The wish is there now, or a sentence why not. */
static int prove(struct net_port *p, const struct nft_want *w, uint32_t generation,
                 struct net_nft_have **out, struct net_error *err)
{
    scoped(net_nft_have_freep) struct net_nft_have *after = NULL;
    struct nft_verdict v;
    char first[160] = "";

    int e = net_nft_read(p, &after, err);
    if (e)
        return e;
    net_nft_judge(&w->img, &after->img, NULL, NULL, &v);
    if (v.count) {
        e = net_nft_confirm(p, &after, err);
        if (e)
            return e;
        net_nft_judge(&w->img, &after->img, first_line, first, &v);
    }
    if (!v.count) {
        if (out)
            *out = steal(after);
        return 0;
    }
    if (after->generation != generation)
        return net_fail(err, ERESTART, "change", "nftables");
    net_fail(err, EIO, "change", "nftables as asked");
    net_error_kernel(err, first, strlen(first));
    return -EIO;
}

static int commit(struct net_port *p, const struct nft_want *w, const struct net_nft_have *have,
                  const struct nft_verdict *v, struct net_nft_have **after, struct net_error *err)
{
    struct batch b;
    struct answers a;

    batch_make(&b, w, have, v, LIST_MOST, true);
    int e = b.failed ? net_fail(err, ENOMEM, "change", "nftables") : exchange(p, &b, &a, err);
    if (!e && a.code)
        e = blame(p, w, have, v, &b, &a, err);
    else if (!e && a.generation == have->generation)
        e = net_fail(err, EIO, "commit", "the nftables batch");
    batch_done(&b);
    return e ? e : prove(p, w, a.generation, after, err);
}

int net_nft_apply(struct net_port *p, const struct net_nft *want, const struct net_nft_have *have,
                  struct net_nft_have **after, struct net_error *err)
{
    scoped(net_nft_have_freep) struct net_nft_have *now = NULL;
    struct nft_want w;
    struct nft_verdict v;

    if (after)
        *after = NULL;
    int e = net_nft_want_init(&w, want, err);
    if (e)
        return e;
    net_nft_judge(&w.img, (struct nft_image *)&have->img, NULL, NULL, &v);
    if (!v.count)
        goto out;
    if (!have->certain) { /* never act on what was seen once */
        e = net_nft_read(p, &now, err);
        if (!e && now->generation == have->generation)
            e = net_nft_confirm(p, &now, err);
        if (!e && now->generation != have->generation)
            e = net_fail(err, ERESTART, "change", "nftables");
        if (e)
            goto out;
        have = now;
        net_nft_judge(&w.img, (struct nft_image *)&have->img, NULL, NULL, &v);
    }
    if (v.count)
        e = commit(p, &w, have, &v, after, err);
out:
    net_nft_want_done(&w);
    return e;
}
