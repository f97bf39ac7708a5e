/* What changed is sorted first, so that each entry of the dump costs a few searches. Entries that
 * match are kept as the requests that delete them, and are sent after the dump: a socket has one
 * dump at a time. */
#include "netops/conntrack.h"
#include "netops/attr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 10000, SEND_MOST = 32 * 1024 };

struct owner { /* an address of a container */
    uint8_t family, bytes[16];
    char port[IFNAMSIZ];
};
struct owners {
    struct owner *list; /* sorted */
    size_t n;
};
struct maps {
    const struct net_nft_map **list; /* sorted by service port */
    size_t n;
};
struct net_list {
    const struct net_nft_net **list;
    size_t n;
};
struct changes {
    struct maps gone, added;
    struct maps before;  /* all of `from` */
    struct owners left;  /* addresses that a container has no more */
    struct owners alone; /* newly isolated; without a port */
    /* nets of bridges that are no longer open, or have a new uplink */
    struct net_list closed, masqueraded;
    struct net_list nets; /* all of `to` */
    struct owners local;
    /* bit per service port of `gone` and `added`: tcp, udp */
    uint8_t ports[2][65536 / 8];
    bool failed; /* no memory */
};
struct tuple {
    uint8_t family, proto;
    uint8_t src[16], dst[16];
    uint16_t src_port, dst_port; /* host's order */
};
struct entry {
    struct tuple orig, reply;
    uint32_t status;
    const struct nlattr *tuple, *id, *zone; /* in the message */
};

/* ---- what changed ---- */

static uint32_t address_len(uint8_t family)
{
    return family == AF_INET6 ? 16 : 4;
}

static int compare_owners(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct owner)); /* zeroed before they were filled */
}

static void add_owner(struct changes *c, struct owners *o, size_t *room, uint8_t family,
                      const uint8_t *bytes, const char *port)
{
    if (o->n == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct owner *list = realloc(o->list, more * sizeof *list);
        if (!list) {
            c->failed = true;
            return;
        }
        o->list = list;
        *room = more;
    }
    struct owner *one = memset(&o->list[o->n++], 0, sizeof *one);
    one->family = family;
    memcpy(one->bytes, bytes, address_len(family));
    snprintf(one->port, sizeof one->port, "%s", port);
}

static void sort_owners(struct owners *o)
{
    if (o->n > 1)
        qsort(o->list, o->n, sizeof *o->list, compare_owners);
}

static bool has_owner(const struct owners *o, const struct owner *x)
{
    return o->n && bsearch(x, o->list, o->n, sizeof *o->list, compare_owners);
}

static int compare_addresses(const void *a, const void *b)
{
    return memcmp(a, b, offsetof(struct owner, port));
}

static bool has_address(const struct owners *o, uint8_t family, const uint8_t *bytes)
{
    struct owner x = {.family = family};
    if (!o->n)
        return false;
    memcpy(x.bytes, bytes, address_len(family));
    return bsearch(&x, o->list, o->n, sizeof *o->list, compare_addresses);
}

static struct owners owners_of(struct changes *c, const struct net_nft *nft)
{
    struct owners o = {0};
    size_t room = 0;
    for (size_t i = 0; nft && i < nft->n_sources; i++) {
        const struct net_nft_source *s = &nft->sources[i];
        if (s->port[0] && s->has4)
            add_owner(c, &o, &room, AF_INET, s->addr4, s->port);
        if (s->port[0] && s->has6)
            add_owner(c, &o, &room, AF_INET6, s->addr6, s->port);
    }
    sort_owners(&o);
    return o;
}

static struct owners isolated_of(struct changes *c, const struct net_nft *nft)
{
    struct owners o = {0};
    size_t room = 0;
    for (size_t i = 0; nft && i < nft->n_alone; i++) {
        const struct net_nft_alone *x = &nft->alone[i];
        if (x->has4)
            add_owner(c, &o, &room, AF_INET, x->addr4, "");
        if (x->has6)
            add_owner(c, &o, &room, AF_INET6, x->addr6, "");
    }
    sort_owners(&o);
    return o;
}

/* Of `x`, those that `y` lacks. Takes both over. */
static struct owners lacking(struct owners x, struct owners y)
{
    size_t n = 0;
    for (size_t i = 0; i < x.n; i++)
        if (!has_owner(&y, &x.list[i]))
            x.list[n++] = x.list[i];
    x.n = n;
    free(y.list);
    return x;
}

static int compare_maps(const void *a, const void *b)
{
    const struct net_nft_map *x = *(const struct net_nft_map *const *)a,
                             *y = *(const struct net_nft_map *const *)b;
    return (int)x->port - (int)y->port;
}

static bool same_map(const struct net_nft_map *x, const struct net_nft_map *y)
{
    return x->family == y->family && x->proto == y->proto && x->any == y->any &&
           x->port == y->port && x->to_port == y->to_port &&
           (x->any || !memcmp(x->host, y->host, address_len(x->family))) &&
           !memcmp(x->to, y->to, address_len(x->family));
}

/* The first of its service port; m->n: none. */
static size_t first_map(const struct maps *m, uint16_t port)
{
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->list[middle]->port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct maps maps_of(struct changes *c, const struct net_nft *nft)
{
    struct maps m = {0};
    if (!nft || !nft->n_maps)
        return m;
    m.list = calloc(nft->n_maps, sizeof *m.list);
    if (!m.list) {
        c->failed = true;
        return m;
    }
    for (size_t i = 0; i < nft->n_maps; i++)
        m.list[m.n++] = &nft->maps[i];
    qsort(m.list, m.n, sizeof *m.list, compare_maps);
    return m;
}

static struct maps maps_lacking(struct changes *c, const struct maps *x, const struct maps *y)
{
    struct maps m = {0};
    if (!x->n)
        return m;
    m.list = calloc(x->n, sizeof *m.list);
    if (!m.list) {
        c->failed = true;
        return m;
    }
    for (size_t i = 0; i < x->n; i++) {
        const struct net_nft_map *one = x->list[i];
        size_t k = first_map(y, one->port);
        while (k < y->n && y->list[k]->port == one->port && !same_map(y->list[k], one))
            k++;
        if (k < y->n && y->list[k]->port == one->port)
            continue;
        m.list[m.n++] = one;
        c->ports[one->proto == IPPROTO_UDP][one->port / 8] |= (uint8_t)(1u << one->port % 8);
    }
    return m;
}

static const struct net_nft_bridge *bridge_in(const struct net_nft *nft, const char *name)
{
    for (size_t i = 0; nft && i < nft->n_bridges; i++)
        if (!strcmp(nft->bridges[i].name, name))
            return &nft->bridges[i];
    return NULL;
}

static void add_nets(struct changes *c, struct net_list *l, const struct net_nft_bridge *b,
                     uint8_t family)
{
    for (size_t i = 0; i < b->n_net; i++) {
        if (family && b->net[i].family != family)
            continue;
        const struct net_nft_net **list = realloc(l->list, (l->n + 1) * sizeof *list);
        if (!list) {
            c->failed = true;
            return;
        }
        l->list = list;
        l->list[l->n++] = &b->net[i];
    }
}

static void find_bridges(struct changes *c, const struct net_nft *from, const struct net_nft *to)
{
    for (size_t i = 0; to && i < to->n_bridges; i++) {
        const struct net_nft_bridge *b = &to->bridges[i], *old = bridge_in(from, b->name);
        add_nets(c, &c->nets, b, 0);
        if (old && old->open && !b->open)
            add_nets(c, &c->closed, b, 0);
        if (b->uplink4[0] && (!old || strcmp(old->uplink4, b->uplink4)))
            add_nets(c, &c->masqueraded, b, AF_INET);
        if (b->uplink6[0] && (!old || strcmp(old->uplink6, b->uplink6)))
            add_nets(c, &c->masqueraded, b, AF_INET6);
    }
}

static void find_local(struct changes *c, const struct net_nft *to, const struct net_address *local,
                       size_t n)
{
    size_t room = 0;
    for (size_t i = 0; i < n; i++)
        add_owner(c, &c->local, &room, local[i].family, local[i].bytes, "");
    /* a bridge's address may be newer than the list */
    for (size_t i = 0; to && i < to->n_sources; i++) {
        const struct net_nft_source *s = &to->sources[i];
        if (!s->port[0] && s->has4)
            add_owner(c, &c->local, &room, AF_INET, s->addr4, "");
        if (!s->port[0] && s->has6)
            add_owner(c, &c->local, &room, AF_INET6, s->addr6, "");
    }
    sort_owners(&c->local);
}

static void changes_find(struct changes *c, const struct net_nft *from, const struct net_nft *to)
{
    struct maps after = maps_of(c, to);
    c->before = maps_of(c, from);
    c->gone = maps_lacking(c, &c->before, &after);
    c->added = maps_lacking(c, &after, &c->before);
    free(after.list);
    c->left = lacking(owners_of(c, from), owners_of(c, to));
    c->alone = lacking(isolated_of(c, to), isolated_of(c, from));
    find_bridges(c, from, to);
}

static void changes_done(struct changes *c)
{
    free(c->gone.list);
    free(c->added.list);
    free(c->before.list);
    free(c->left.list);
    free(c->alone.list);
    free(c->local.list);
    free(c->closed.list);
    free(c->masqueraded.list);
    free(c->nets.list);
}

/* ---- an entry ---- */

static bool in_nets(const struct net_list *l, uint8_t family, const uint8_t *bytes)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct net_nft_net *net = l->list[i];
        size_t whole = net->prefix / 8, rest = net->prefix % 8;
        if (net->family == family && !memcmp(net->bytes, bytes, whole) &&
            (!rest || !((net->bytes[whole] ^ bytes[whole]) >> (8 - rest))))
            return true;
    }
    return false;
}

static bool is_local(const struct changes *c, uint8_t family, const uint8_t *bytes)
{
    return (family == AF_INET && bytes[0] == 127) || has_address(&c->local, family, bytes);
}

static bool goes_to(const struct entry *e, const struct net_nft_map *m)
{
    return m->family == e->orig.family && !memcmp(e->reply.src, m->to, address_len(m->family)) &&
           e->reply.src_port == m->to_port;
}

/* The map's key speaks of this entry's first packet. */
static bool keyed(const struct changes *c, const struct entry *e, const struct net_nft_map *m)
{
    if (m->family != e->orig.family || m->proto != e->orig.proto || m->port != e->orig.dst_port)
        return false;
    return m->any ? is_local(c, m->family, e->orig.dst)
                  : !memcmp(m->host, e->orig.dst, address_len(m->family));
}

static bool through(const struct changes *c, const struct entry *e, const struct maps *m)
{
    for (size_t i = first_map(m, e->orig.dst_port);
         i < m->n && m->list[i]->port == e->orig.dst_port; i++)
        if (goes_to(e, m->list[i]) && keyed(c, e, m->list[i]))
            return true;
    return false;
}

static bool map_takes(const struct changes *c, const struct entry *e)
{
    if (e->orig.proto == IPPROTO_TCP && e->status & IPS_SEEN_REPLY)
        return false;
    /* somebody else's translation */
    if (e->status & IPS_DST_NAT && !through(c, e, &c->before))
        return false;
    for (size_t i = first_map(&c->added, e->orig.dst_port);
         i < c->added.n && c->added.list[i]->port == e->orig.dst_port; i++)
        if (keyed(c, e, c->added.list[i]) && !goes_to(e, c->added.list[i]))
            return true;
    return false;
}

static bool is_obsolete(const struct changes *c, const struct entry *e)
{
    uint8_t f = e->orig.family;
    bool mapped = e->status & IPS_DST_NAT;

    if ((e->orig.proto == IPPROTO_TCP || e->orig.proto == IPPROTO_UDP) &&
        c->ports[e->orig.proto == IPPROTO_UDP][e->orig.dst_port / 8] >> e->orig.dst_port % 8 & 1)
        if ((mapped && through(c, e, &c->gone)) || map_takes(c, e))
            return true;
    if (has_address(&c->left, f, e->orig.src) || has_address(&c->left, f, e->reply.src))
        return true;
    if (mapped)
        return false;
    if ((has_address(&c->alone, f, e->orig.src) && in_nets(&c->nets, f, e->orig.dst) &&
         !is_local(c, f, e->orig.dst)) ||
        (has_address(&c->alone, f, e->reply.src) && in_nets(&c->nets, f, e->orig.src) &&
         !is_local(c, f, e->orig.src)))
        return true;
    if (in_nets(&c->closed, f, e->reply.src) && !in_nets(&c->closed, f, e->orig.src) &&
        !is_local(c, f, e->orig.src))
        return true;
    return !(e->status & (IPS_SEEN_REPLY | IPS_SRC_NAT)) &&
           in_nets(&c->masqueraded, f, e->orig.src) && !in_nets(&c->nets, f, e->orig.dst) &&
           !is_local(c, f, e->orig.dst);
}

static bool read_tuple(const struct nlattr *nest, struct tuple *out)
{
    const struct nlattr *a, *in;
    uint16_t number;
    NET_EACH_IN(a, nest)
    {
        uint16_t type = mnl_attr_get_type(a);
        if (type != CTA_TUPLE_IP && type != CTA_TUPLE_PROTO)
            continue;
        NET_EACH_IN(in, a)
        {
            uint16_t what = mnl_attr_get_type(in);
            if (type == CTA_TUPLE_IP) {
                bool source = what == CTA_IP_V4_SRC || what == CTA_IP_V6_SRC;
                out->family = what == CTA_IP_V4_SRC || what == CTA_IP_V4_DST ? AF_INET : AF_INET6;
                if (!net_attr_bytes(in, source ? out->src : out->dst, address_len(out->family)))
                    return false;
            } else if (what == CTA_PROTO_NUM) {
                out->proto = net_attr_u8(in);
            } else if ((what == CTA_PROTO_SRC_PORT || what == CTA_PROTO_DST_PORT) &&
                       net_attr_bytes(in, &number, sizeof number)) {
                *(what == CTA_PROTO_SRC_PORT ? &out->src_port : &out->dst_port) = ntohs(number);
            }
        }
    }
    return out->family && out->proto;
}

/* false: none that we could speak of. */
static bool read_entry(const struct nlmsghdr *m, struct entry *e)
{
    const struct nlattr *a, *reply = NULL;
    uint32_t status = 0;

    if (m->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW) ||
        m->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)))
        return false;
    memset(e, 0, sizeof *e);
    NET_EACH(a, m, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case CTA_TUPLE_ORIG:
            e->tuple = a;
            break;
        case CTA_TUPLE_REPLY:
            reply = a;
            break;
        case CTA_STATUS:
            status = ntohl(net_attr_u32(a));
            break;
        case CTA_ID:
            e->id = a;
            break;
        case CTA_ZONE:
            e->zone = a;
            break;
        }
    }
    e->status = status;
    return e->tuple && reply && read_tuple(e->tuple, &e->orig) && read_tuple(reply, &e->reply);
}

/* ---- the dump, and what is deleted ---- */

struct doomed {
    const struct changes *c;
    uint8_t *bytes; /* requests, one behind the other */
    size_t len, room, n;
};

static int take_entry(void *arg, const struct nlmsghdr *m)
{
    struct doomed *d = arg;
    struct entry e;

    if (!read_entry(m, &e) || !is_obsolete(d->c, &e))
        return 0;
    size_t most = NLMSG_LENGTH(sizeof(struct nfgenmsg)) + NLMSG_ALIGN(e.tuple->nla_len) + 64;
    if (d->room - d->len < most) {
        size_t room = d->room * 2 + most + 4096;
        uint8_t *bytes = realloc(d->bytes, room);
        if (!bytes)
            return -ENOMEM;
        d->bytes = bytes;
        d->room = room;
    }
    struct nlmsghdr *q = mnl_nlmsg_put_header(d->bytes + d->len);
    q->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    q->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(q, sizeof *g);
    g->nfgen_family = e.orig.family;
    g->version = NFNETLINK_V0;
    mnl_attr_put(q, CTA_TUPLE_ORIG | NLA_F_NESTED, mnl_attr_get_payload_len(e.tuple),
                 mnl_attr_get_payload(e.tuple));
    if (e.zone)
        mnl_attr_put(q, CTA_ZONE, mnl_attr_get_payload_len(e.zone), mnl_attr_get_payload(e.zone));
    /* not one that came since with the same tuple */
    if (e.id)
        mnl_attr_put(q, CTA_ID, mnl_attr_get_payload_len(e.id), mnl_attr_get_payload(e.id));
    d->len += NLMSG_ALIGN(q->nlmsg_len);
    d->n++;
    return 0;
}

static void forget_entries(void *arg)
{
    struct doomed *d = arg;
    d->len = d->n = 0;
}

struct acks {
    size_t waiting, deleted;
    int code;
};

static int take_ack(void *arg, const struct nlmsghdr *m)
{
    struct acks *a = arg;
    if (m->nlmsg_type != NLMSG_ERROR)
        return 0;
    int code = net_answer_code(m, NULL, NULL);
    a->waiting -= a->waiting > 0;
    if (!code)
        a->deleted++;
    else if (code != ENOENT && !a->code) /* gone by itself meanwhile */
        a->code = code;
    return 0;
}

static int delete_entries(struct net_port *p, struct doomed *d, size_t *deleted,
                          struct net_error *err)
{
    struct acks acks = {0};
    int e = 0;

    for (size_t at = 0; !e && at < d->len;) {
        size_t end = at;
        while (end < d->len) {
            struct nlmsghdr *m = (void *)(d->bytes + end);
            if (end > at && end + NLMSG_ALIGN(m->nlmsg_len) - at > SEND_MOST)
                break;
            m->nlmsg_seq = net_port_number(p);
            end += NLMSG_ALIGN(m->nlmsg_len);
            acks.waiting++;
        }
        (void)net_port_room(p, end - at + 4096, acks.waiting * 1024 + 65536);
        e = net_port_send(p, d->bytes + at, end - at, err);
        int64_t deadline = net_port_deadline(ANSWER_MS);
        while (!e && acks.waiting) {
            e = net_port_receive(p, NET_SLOT_ACK, (unsigned)acks.waiting, deadline, take_ack,
                                 &acks);
            if (e)
                net_fail(err, -e, "delete", "tracked connections");
        }
        at = end;
    }
    if (!e && acks.code)
        e = net_fail(err, acks.code, "delete", "tracked connections");
    if (!e && deleted)
        *deleted = acks.deleted;
    return e;
}

int net_conntrack_settle(struct net_port *p, const struct net_nft *from, const struct net_nft *to,
                         const struct net_address *local, size_t n_local, size_t *deleted,
                         struct net_error *err)
{
    union {
        struct nlmsghdr head;
        uint8_t room[64];
    } q = {0};
    struct changes *c = calloc(1, sizeof *c);
    struct doomed d = {.c = c};
    int e = 0;

    if (deleted)
        *deleted = 0;
    if (!c)
        return net_fail(err, ENOMEM, "list", "tracked connections");
    changes_find(c, from, to);
    bool some =
        c->gone.n || c->added.n || c->left.n || c->alone.n || c->closed.n || c->masqueraded.n;
    if (some && !c->failed)
        find_local(c, to, local, n_local);
    if (c->failed)
        e = net_fail(err, ENOMEM, "list", "tracked connections");
    if (!e && some) {
        mnl_nlmsg_put_header(&q);
        q.head.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
        struct nfgenmsg *g = mnl_nlmsg_put_extra_header(&q.head, sizeof *g);
        g->nfgen_family = AF_UNSPEC;
        g->version = NFNETLINK_V0;
        e = net_port_dump(p, &q.head, take_entry, forget_entries, &d, err);
        /* no such subsystem: nothing is tracked, or nobody can say what */
        if (e == -EINVAL || e == -EOPNOTSUPP)
            e = 0;
        else if (!e)
            e = delete_entries(p, &d, deleted, err);
    }
    free(d.bytes);
    changes_done(c);
    free(c);
    return e;
}
