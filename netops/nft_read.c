/* Reading both tables. The generation and the two tables are asked in one send: where berth has no
 * tables, that is all. Dumps of rules, sets and elements are filtered by the kernel; chains only by
 * family, so foreign ones are skipped here. Elements are asked only of sets that hold some (newer
 * kernels tell, but the count may run ahead with a transaction that is not committed: a reading
 * that confirms asks them all). One generation before and after, else all is read again; a torn
 * dump may pass that all the same, so a difference is believed only when net_nft_confirm has
 * seen it twice. */
#include "netops/nft_image.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

enum { RETRIES = 10, ANSWER_MS = 10000, REQUEST = 256 };
union request {
    struct nlmsghdr head;
    uint8_t bytes[REQUEST];
};

static void request_begin(union request *q, uint16_t type, uint8_t family)
{
    mnl_nlmsg_put_header(q);
    q->head.nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
    q->head.nlmsg_flags = NLM_F_REQUEST;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(&q->head, sizeof *g);
    g->nfgen_family = family;
    g->version = NFNETLINK_V0;
}

/* ---- the generation, and which tables there are ---- */

struct opening {
    /* number of the first of the three requests */
    uint32_t first;
    unsigned answered;
    int e;
    struct net_error said;
    struct net_nft_have *have;
};

static int generation_of(const struct nlmsghdr *m, uint32_t *out)
{
    const struct nlattr *attr;
    mnl_attr_for_each(attr, m, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(attr) == NFTA_GEN_ID && mnl_attr_get_payload_len(attr) >= 4) {
            *out = ntohl(mnl_attr_get_u32(attr));
            return 0;
        }
    }
    return -EBADMSG;
}

static int opening_message(void *arg, const struct nlmsghdr *m)
{
    struct opening *o = arg;
    uint32_t i = m->nlmsg_seq - o->first;

    if (i > NFT_TABLES)
        return 0;
    o->answered++;
    if (m->nlmsg_type == NLMSG_ERROR) {
        int code = net_answer_code(m, i == 0 ? &o->said : NULL, NULL);
        if (code && !(i && code == ENOENT) && !o->e)
            o->e = i == 0 && code == EINVAL ? -EOPNOTSUPP : -code; /* no such subsystem */
        if (i == 0)
            /* no right: the others are not answered at all */
            o->answered = 1 + NFT_TABLES;
        return 0;
    }
    int e = i == 0 ? generation_of(m, &o->have->generation) : net_nft_image_take(&o->have->img, m);
    if (e && !o->e)
        o->e = e;
    return 0;
}

static int read_opening(struct net_port *p, struct net_nft_have *h, struct net_error *err)
{
    union request q[1 + NFT_TABLES];
    uint8_t bytes[sizeof q];
    size_t len = 0;
    struct opening o = {.have = h};

    for (uint32_t i = 0; i <= NFT_TABLES; i++) {
        uint32_t number = net_port_number(p);
        if (i == 0) {
            o.first = number;
            request_begin(&q[i], NFT_MSG_GETGEN, AF_UNSPEC);
        } else {
            request_begin(&q[i], NFT_MSG_GETTABLE, net_nft_families[i - 1].number);
            mnl_attr_put_strz(&q[i].head, NFTA_TABLE_NAME, NFT_OURS);
        }
        q[i].head.nlmsg_seq = number;
        memcpy(bytes + len, &q[i], q[i].head.nlmsg_len);
        len += NLMSG_ALIGN(q[i].head.nlmsg_len);
    }
    int e = net_port_send(p, bytes, len, err);
    int64_t deadline = net_port_deadline(ANSWER_MS);
    while (!e && o.answered <= NFT_TABLES) {
        e = net_port_receive(p, NET_SLOT_DUMP, 1 + NFT_TABLES - o.answered, deadline,
                             opening_message, &o);
        if (e)
            net_fail(err, -e, "read", "nftables");
    }
    if (!e && o.e) {
        e = net_fail(err, -o.e, "read", "nftables");
        if (err)
            memcpy(err->kernel, o.said.kernel, sizeof err->kernel);
    }
    return e;
}

/* ---- what is in them ---- */

static int take(void *arg, const struct nlmsghdr *m)
{
    return net_nft_image_take(arg, m);
}

static void forget_all(void *arg)
{
    struct nft_image *img = arg, fresh;

    net_nft_image_init(&fresh);
    for (size_t t = 0; t < NFT_TABLES; t++) {
        fresh.table[t].present = img->table[t].present;
        fresh.table[t].flags = img->table[t].flags;
        fresh.table[t].uses = img->table[t].uses;
    }
    net_nft_image_done(img);
    *img = fresh;
}

static void forget_elements(void *arg)
{
    struct nft_image *img = arg;
    for (size_t t = 0; t < NFT_TABLES; t++)
        for (size_t i = 0; i < img->table[t].n_set; i++) {
            img->table[t].set[i].n = 0;
            img->table[t].set[i].odd_elem = false;
        }
}

static int read_structure(struct net_port *p, struct nft_image *img, struct net_error *err)
{
    static const struct {
        uint16_t type, table_attribute;
    } kinds[] = {{NFT_MSG_GETCHAIN, 0},
                 {NFT_MSG_GETRULE, NFTA_RULE_TABLE},
                 {NFT_MSG_GETSET, NFTA_SET_TABLE}};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    union request q[NFT_TABLES * KINDS];
    struct net_dump d[NFT_TABLES * KINDS] = {0};
    size_t n = 0;

    for (size_t t = 0; t < NFT_TABLES; t++)
        for (size_t k = 0; k < KINDS && img->table[t].present; k++, n++) {
            request_begin(&q[n], kinds[k].type, net_nft_families[t].number);
            if (kinds[k].table_attribute)
                mnl_attr_put_strz(&q[n].head, kinds[k].table_attribute, NFT_OURS);
            d[n].request = &q[n].head;
        }
    return n ? net_port_dump_all(p, d, n, take, forget_all, img, err) : 0;
}

static int read_elements(struct net_port *p, struct nft_image *img, bool all, struct net_error *err)
{
    size_t most = img->table[NFT_INET].n_set + img->table[NFT_BRIDGE].n_set, n = 0;
    union request *q = calloc(most + 1, sizeof *q);
    struct net_dump *d = calloc(most + 1, sizeof *d);
    int e = 0;

    if (!q || !d)
        e = net_fail(err, ENOMEM, "read", "nftables");
    for (size_t t = 0; !e && t < NFT_TABLES; t++)
        for (size_t i = 0; i < img->table[t].n_set; i++) {
            const struct nft_set *s = &img->table[t].set[i];
            /* a name of ours is short: this set is not wanted anyhow */
            if ((s->empty && !all) || strlen(s->name) >= 64)
                continue;
            request_begin(&q[n], NFT_MSG_GETSETELEM, net_nft_families[t].number);
            mnl_attr_put_strz(&q[n].head, NFTA_SET_ELEM_LIST_TABLE, NFT_OURS);
            mnl_attr_put_strz(&q[n].head, NFTA_SET_ELEM_LIST_SET, s->name);
            d[n].request = &q[n].head;
            n++;
        }
    if (!e && n)
        e = net_port_dump_all(p, d, n, take, forget_elements, img, err);
    free(q);
    free(d);
    return e;
}

static int take_generation(void *arg, const struct nlmsghdr *m)
{
    return generation_of(m, arg);
}

int net_nft_read_generation(struct net_port *p, uint32_t *out, struct net_error *err)
{
    union request q;
    request_begin(&q, NFT_MSG_GETGEN, AF_UNSPEC);
    return net_port_ask(p, &q.head, take_generation, out, err);
}

static int read_tables(struct net_port *p, bool all, struct net_nft_have **out,
                       struct net_error *err)
{
    scoped(net_nft_have_freep) struct net_nft_have *h = calloc(1, sizeof *h);

    if (!h)
        return net_fail(err, ENOMEM, "read", "nftables");
    for (int tries = 0; tries <= RETRIES; tries++) {
        uint32_t after;
        net_nft_image_done(&h->img);
        int e = read_opening(p, h, err);
        if (e)
            return e;
        if (!net_nft_absent(h)) {
            e = read_structure(p, &h->img, err);
            if (!e)
                e = read_elements(p, &h->img, all, err);
            if (e == -ENOENT || e == -EINTR) /* a table or set went away meanwhile */
                continue;
            if (e)
                return e;
            e = net_nft_read_generation(p, &after, err);
            if (e)
                return e;
            if (after != h->generation)
                continue;
        }
        h->certain = net_nft_absent(h);
        *out = steal(h);
        return 0;
    }
    return net_fail(err, EINTR, "read", "nftables");
}

int net_nft_read(struct net_port *p, struct net_nft_have **out, struct net_error *err)
{
    return read_tables(p, false, out, err);
}

int net_nft_confirm(struct net_port *p, struct net_nft_have **have, struct net_error *err)
{
    for (int tries = 0; tries <= RETRIES; tries++) {
        struct net_nft_have *again;
        int e = read_tables(p, true, &again, err);
        if (e)
            return e;
        net_nft_image_sort(&again->img);
        net_nft_image_sort(&(*have)->img);
        bool same = again->generation == (*have)->generation &&
                    net_nft_image_same(&again->img, &(*have)->img);
        net_nft_have_free(*have);
        *have = again;
        again->certain |= same;
        if (same)
            return 0;
    }
    return net_fail(err, EINTR, "read", "nftables");
}

void net_nft_have_free(struct net_nft_have *h)
{
    if (!h)
        return;
    net_nft_image_done(&h->img);
    free(h);
}

bool net_nft_certain(const struct net_nft_have *h)
{
    return h->certain;
}

uint32_t net_nft_generation(const struct net_nft_have *h)
{
    return h->generation;
}

bool net_nft_absent(const struct net_nft_have *h)
{
    return !h->img.table[NFT_INET].present && !h->img.table[NFT_BRIDGE].present;
}
