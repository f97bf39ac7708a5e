/* What is wanted, as objects of libnftnl and from them as messages and as an image: the tables,
 * then their elements. */
#include "netops/nft_builder.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* ---- elements ---- */

static struct nft_set *set_named(struct nft_builder *b, const char *name)
{
    return net_nft_find_set(&b->w->img.table[b->t], name);
}
static struct nft_elem *elem_in(struct nft_builder *b, struct nft_set *s, uint32_t tag)
{
    struct nft_elem *e = s && !b->e ? net_nft_set_add(s) : NULL;
    if (!e) {
        b->e = b->e ? b->e : -ENOMEM;
        return NULL;
    }
    e->tag = tag;
    return e;
}
static struct nft_elem *elem(struct nft_builder *b, const char *in_set, uint32_t tag)
{
    return elem_in(b, set_named(b, in_set), tag);
}
static void key(struct nft_builder *b, const char *in_set, const void *bytes, size_t len,
                uint32_t tag)
{
    struct nft_elem *e = elem(b, in_set, tag);
    if (e) {
        memcpy(e->key, bytes, len);
        e->key_len = (uint8_t)len;
    }
}
static void name_key(struct nft_builder *b, const char *in_set, const char *name, uint32_t tag)
{
    char padded[IFNAMSIZ] = "";
    memcpy(padded, name, strnlen(name, sizeof padded - 1));
    key(b, in_set, padded, sizeof padded, tag);
}
/* The last 8 bytes of the IPv6 addresses that the kernel makes of a MAC: RFC 4291, appendix A. */
static void interface_id(const uint8_t mac[6], uint8_t out[8])
{
    memcpy(out, mac, 3);
    out[0] ^= 2;
    out[3] = 0xff;
    out[4] = 0xfe;
    memcpy(out + 5, mac + 3, 3);
}
/* A key that begins with a port's name. */
static void pair_key(struct nft_builder *b, struct nft_set *in_set, const char *name,
                     const void *bytes, size_t len, uint32_t tag)
{
    struct nft_elem *e = elem_in(b, in_set, tag);
    if (!e)
        return;
    memcpy(e->key, name, IFNAMSIZ); /* padded with zeros */
    memcpy(e->key + IFNAMSIZ, bytes, len);
    e->key_len = (uint8_t)(IFNAMSIZ + (len + 3) / 4 * 4);
}
static void taken_key(struct nft_builder *b, struct nft_set *in_set, const void *bytes, size_t len,
                      uint32_t tag)
{
    struct nft_elem *e = elem_in(b, in_set, tag);
    if (!e)
        return;
    memcpy(e->key, bytes, len);
    e->key_len = (uint8_t)len;
}

static void port_names(struct nft_builder *b, const struct net_nft_source *s)
{
    const struct {
        bool is;
        const char *in_set;
    } names[] = {
        {s->guest, "guests"}, {s->router, "routers"}, {s->any_mac, "anymac"}, {s->any4, "free4"}};

    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        if (names[k].is)
            name_key(b, names[k].in_set, s->port, s->tag);
}

/* Addresses of containers are `taken` only where some port could use them: where no port may send
 * from addresses that berth does not know, they need no element. */
static void source_elems(struct nft_builder *b, const struct net_nft *want)
{
    struct nft_set *macs = set_named(b, "macs"), *src4 = set_named(b, "src4"),
                   *src6 = set_named(b, "src6");
    struct nft_set *claims6 = set_named(b, "claims6"), *claimed6 = set_named(b, "claimed6"),
                   *ids6 = set_named(b, "ids6");
    struct nft_set *takenmac = set_named(b, "takenmac"), *taken4 = set_named(b, "taken4"),
                   *taken6 = set_named(b, "taken6");
    bool any_mac = false, any4 = false;
    uint8_t id[8];

    net_nft_set_room(macs, want->n_sources);
    net_nft_set_room(src4, want->n_sources);
    net_nft_set_room(ids6, want->n_sources);
    for (size_t i = 0; i < want->n_sources; i++) {
        const struct net_nft_source *s = &want->sources[i];
        any_mac |= s->any_mac;
        any4 |= s->any4;
    }
    for (size_t i = 0; i < want->n_sources; i++) {
        const struct net_nft_source *s = &want->sources[i];
        bool port = s->port[0];
        if (port)
            port_names(b, s);
        if (s->has_mac && port)
            pair_key(b, macs, s->port, s->mac, sizeof s->mac, s->tag);
        if (s->has_mac && port && !s->any_mac) {
            interface_id(s->mac, id);
            pair_key(b, ids6, s->port, id, sizeof id, s->tag);
        }
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
        if (s->has6 && (any_mac || !port)) {
            taken_key(b, taken6, s->addr6, sizeof s->addr6, s->tag);
            taken_key(b, claimed6, s->addr6, sizeof s->addr6, s->tag);
        }
    }
}
static void map_elem(struct nft_builder *b, const struct net_nft_map *m)
{
    static const char *const names[2][2] = {{"one4", "one6"}, {"any4", "any6"}};
    struct nft_elem *e = elem(b, names[m->any][m->family == AF_INET6], m->tag);
    uint8_t len = (uint8_t)net_nft_address_len(m->family);
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
    int d = memcmp(x->bytes, y->bytes, net_nft_address_len(x->family));
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
                b->net[k].prefix > 8 * net_nft_address_len(b->net[k].family))
                return net_fail(err, EINVAL, "masquerade a net of", "bridge '%.15s'", b->name);
        for (size_t k = 0; k < want->n_bridges; k++) {
            const char *other = want->bridges[k].name;
            if (!strcmp(b->uplink4, other) || !strcmp(b->uplink6, other))
                return net_fail(err, EINVAL, "masquerade what leaves by", "our own bridge '%.15s'",
                                other);
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

static void build(struct nft_builder *b, const struct net_nft *want)
{
    static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP};
    /* IPv6 extension headers (IANA's list); a fragment header within a fragment is one, too */
    static const uint8_t headers6[] = {
        IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_FRAGMENT, IPPROTO_AH,
        IPPROTO_DSTOPTS, IPPROTO_MH,      139 /* HIP */,    140 /* Shim6 */};
    size_t n_nets = 0, at = 0;
    for (size_t i = 0; i < want->n_bridges; i++)
        n_nets += want->bridges[i].n_net;
    struct net_nft_bridge *copies = calloc(want->n_bridges + 1, sizeof *copies);
    struct net_nft_net *nets = calloc(n_nets + 1, sizeof *nets);
    const struct net_nft_bridge **sorted = calloc(want->n_bridges + 1, sizeof *sorted);

    /* our order, whatever the order of the wish */
    if (copies && nets && sorted) {
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
            net_nft_inet_table(b, sorted, want->n_bridges, want->group);
        else if (want->group)
            net_nft_inet_guard(b, want->group);
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
            net_nft_bridge_table(b, want);
        for (size_t i = 0; i < want->n_alone; i++)
            if (want->alone[i].port[0])
                name_key(b, "alone", want->alone[i].port, want->alone[i].tag);
        for (size_t i = 0; want->n_sources && i < sizeof headers6; i++)
            key(b, "headers6", &headers6[i], 1, 0);
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
    struct nft_builder b = {.w = w};
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
