/* Where two images differ, in words; and an image back into a model. The kernel's rules are
 * recognised by what they load and compare, and a model counts only if it builds exactly the
 * image it was taken from: nothing is guessed. */
#include "netops/nft_image.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct judge {
    void (*each)(void *arg, const char *line);
    void *arg;
    struct nft_verdict *v;
    enum nft_which t;
    bool same_elements;
};

/* Names may hold any byte; none of them reaches a terminal as it is. */
static void quoted(char *out, size_t size, const void *bytes, size_t len)
{
    const unsigned char *b = bytes;
    size_t at = 0;
    for (size_t i = 0; i < len && b[i] && at + 5 < size; i++)
        at += (size_t)snprintf(
            out + at, size - at,
            b[i] < 0x20 || b[i] >= 0x7f || b[i] == '"' || b[i] == '\\' ? "\\x%02x" : "%c", b[i]);
    out[at] = '\0';
}

static __attribute__((format(printf, 2, 3))) void line(struct judge *j, const char *format, ...)
{
    j->v->count++;
    if (!j->each)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    j->each(j->arg, text);
}
static const char *prefix(const struct judge *j)
{
    return net_nft_families[j->t].prefix;
}
#define ANEW(j) ((j)->v->anew[(j)->t] = true)

/* ---- elements ---- */

static bool is_map(const char *set)
{
    return !strcmp(set, "any4") || !strcmp(set, "any6") || !strcmp(set, "one4") ||
           !strcmp(set, "one6");
}
static void address_port(char *out, size_t size, const uint8_t *bytes, size_t address_len,
                         const uint8_t *port)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(address_len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
    snprintf(out, size, address_len == 4 ? "%s:%u" : "[%s]:%u", text,
             (unsigned)(port[0] << 8 | port[1]));
}
/* "tcp 8080", "udp 203.0.113.2:8080" */
static void map_key(char *out, size_t size, const struct nft_elem *e)
{
    size_t len = e->key_len >= 8 ? e->key_len - 8u : 0;
    uint8_t proto = e->key[len];
    char name[16], at[80];

    if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
        snprintf(name, sizeof name, "%s", proto == IPPROTO_TCP ? "tcp" : "udp");
    else
        snprintf(name, sizeof name, "protocol %u", proto);
    if (len)
        address_port(at, sizeof at, e->key, len, e->key + len + 4);
    else
        snprintf(at, sizeof at, "%u", (unsigned)(e->key[4] << 8 | e->key[5]));
    snprintf(out, size, "%s %s", name, at);
}
static void map_data(char *out, size_t size, const struct nft_elem *e)
{
    size_t len = e->data_len >= 8 ? e->data_len - 4u : 4;
    address_port(out, size, e->data, len, e->data + len);
}

/* An IPv4 address (4 bytes), a MAC (padded to 8), or an IPv6 address; of set `ids6` the last 8
 * bytes of one. */
static void own_text(char *out, size_t size, const char *set, const uint8_t *bytes, size_t len)
{
    if (!strcmp(set, "ids6"))
        snprintf(out, size, "::%x:%x:%x:%x", bytes[0] << 8 | bytes[1], bytes[2] << 8 | bytes[3],
                 bytes[4] << 8 | bytes[5], bytes[6] << 8 | bytes[7]);
    else if (len == 8)
        snprintf(out, size, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                 bytes[4], bytes[5]);
    else
        inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, out, (socklen_t)size);
}

void net_nft_elem_format(enum nft_which t, const char *set, const struct nft_elem *e, char *out,
                         size_t size)
{
    char key[128], data[80];

    if (t == NFT_INET && is_map(set)) {
        map_key(key, sizeof key, e);
        map_data(data, sizeof data, e);
        snprintf(out, size, "port map %s to %s", key, data);
        return;
    }
    if (t == NFT_BRIDGE && e->key_len > IFNAMSIZ) { /* a port, and what is its own */
        char own[INET6_ADDRSTRLEN];
        quoted(data, sizeof data, e->key, IFNAMSIZ);
        own_text(own, sizeof own, set, e->key + IFNAMSIZ, e->key_len - (size_t)IFNAMSIZ);
        snprintf(key, sizeof key, "%s . %s", data, own);
    } else if (t == NFT_BRIDGE && !strcmp(set, "takenmac"))
        own_text(key, sizeof key, set, e->key, 8);
    else if (e->key_len == 4 ||
             (e->key_len == 16 &&
              (!strcmp(set, "alone6") || !strcmp(set, "taken6") || !strcmp(set, "claimed6"))))
        own_text(key, sizeof key, set, e->key, e->key_len);
    else if (e->key_len == 1)
        snprintf(key, sizeof key, "%u", e->key[0]);
    else
        quoted(key, sizeof key, e->key, e->key_len);
    if (strlen(set) < 64)
        quoted(data, sizeof data, set, strlen(set));
    else
        snprintf(data, sizeof data, "?");
    snprintf(out, size, "%sset '%s': element \"%s\"", net_nft_families[t].prefix, data, key);
}

static void elem_line(struct judge *j, const char *set, const struct nft_elem *e, const char *what)
{
    char text[256] = "";
    if (j->each)
        net_nft_elem_format(j->t, set, e, text, sizeof text);
    line(j, "%s is %s", text, what);
}

static void judge_elements(struct judge *j, const struct nft_set *w, const struct nft_set *h)
{
    size_t before = j->v->count, i = 0, k = 0;

    while (!j->same_elements && (i < w->n || k < h->n)) {
        int d = i == w->n ? 1 : k == h->n ? -1 : net_nft_elem_order(&w->elem[i], &h->elem[k]);
        if (d < 0) {
            elem_line(j, w->name, &w->elem[i++], "missing");
        } else if (d > 0) {
            elem_line(j, h->name, &h->elem[k++], "not wanted");
        } else {
            if (!net_nft_elem_same(&w->elem[i], &h->elem[k])) {
                char key[128], to[80], now[80];
                map_key(key, sizeof key, &w->elem[i]);
                map_data(to, sizeof to, &w->elem[i]);
                map_data(now, sizeof now, &h->elem[k]);
                line(j, "port map %s goes to %s, not to %s", key, now, to);
            }
            i++;
            k++;
        }
    }
    if (j->v->count != before)
        j->v->elements[j->t] = true;
    /* a timeout, a wildcard, a counter: not to be mended one by one */
    if (h->odd_elem) {
        line(j, "%sset '%s' holds elements of another kind", prefix(j), w->name);
        ANEW(j);
    }
}

/* ---- sets, chains, rules ---- */

static void judge_sets(struct judge *j, const struct nft_table *w, const struct nft_table *h)
{
    char name[160];

    for (size_t i = 0; i < w->n_set; i++) {
        const struct nft_set *a = &w->set[i], *b = net_nft_find_set(h, a->name);
        if (!b) {
            line(j, "%sset '%s' is missing", prefix(j), a->name);
            ANEW(j);
        } else if (a->key_type != b->key_type || a->key_len != b->key_len ||
                   a->data_type != b->data_type || a->data_len != b->data_len ||
                   a->flags != b->flags || b->odd) {
            line(j, "%sset '%s' is of another type", prefix(j), a->name);
            ANEW(j);
        } else {
            judge_elements(j, a, b);
        }
    }
    for (size_t i = 0; i < h->n_set; i++)
        if (!net_nft_find_set(w, h->set[i].name)) {
            quoted(name, sizeof name, h->set[i].name, strlen(h->set[i].name));
            line(j, "%sset '%s' is not wanted", prefix(j), name);
            ANEW(j);
        }
}

static bool same_rule(const struct nft_rule *a, const struct nft_rule *b)
{
    return a->len == b->len && !memcmp(a->code, b->code, a->len);
}

static bool has_rule(const struct nft_chain *c, size_t from, size_t to, const struct nft_rule *r)
{
    for (size_t i = from; i < to; i++)
        if (same_rule(&c->rule[i], r))
            return true;
    return false;
}

/* What is equal at both ends is set aside. In between, a rule that the other side does not have is
 * missing or not wanted, a pair of such at one place differs, and what both have stands in
 * another order. */
static void judge_rules(struct judge *j, const struct nft_chain *w, const struct nft_chain *h)
{
    size_t first = 0, w_end = w->n, h_end = h->n, before = j->v->count;

    while (first < w_end && first < h_end && same_rule(&w->rule[first], &h->rule[first]))
        first++;
    while (w_end > first && h_end > first && same_rule(&w->rule[w_end - 1], &h->rule[h_end - 1]))
        w_end--, h_end--;
    if (first == w_end && first == h_end)
        return;
    ANEW(j);
    bool pairs = w_end == h_end;
    for (size_t i = first; i < w_end; i++) {
        if (has_rule(h, first, h_end, &w->rule[i]))
            continue;
        if (pairs && !has_rule(w, first, w_end, &h->rule[i]))
            line(j, "%schain '%s': rule %zu differs (should %s)", prefix(j), w->name, i + 1,
                 w->rule[i].means);
        else
            line(j, "%schain '%s': rule %zu is missing (%s)", prefix(j), w->name, i + 1,
                 w->rule[i].means);
    }
    for (size_t i = first; i < h_end; i++)
        if (!has_rule(w, first, w_end, &h->rule[i]) &&
            !(pairs && !has_rule(h, first, h_end, &w->rule[i])))
            line(j, "%schain '%s': rule %zu is not wanted", prefix(j), w->name, i + 1);
    if (j->v->count == before)
        line(j, "%schain '%s': rules %zu to %zu are in another order, or doubled", prefix(j),
             w->name, first + 1, h_end);
}

static const char *policy_text(uint32_t policy)
{
    return policy == NF_ACCEPT ? "accept" : policy == NF_DROP ? "drop" : "another";
}

static void judge_chains(struct judge *j, const struct nft_table *w, const struct nft_table *h)
{
    char name[160];

    for (size_t i = 0; i < w->n_chain; i++) {
        const struct nft_chain *a = &w->chain[i], *b = net_nft_find_chain(h, a->name);
        size_t before = j->v->count;
        if (!b) {
            line(j, "%schain '%s' is missing", prefix(j), a->name);
            ANEW(j);
            continue;
        }
        if (a->base != b->base || strcmp(a->type, b->type))
            line(j, "%schain '%s' is of another type", prefix(j), a->name);
        else if (a->hook != b->hook)
            line(j, "%schain '%s' is on another hook", prefix(j), a->name);
        if (a->priority != b->priority && a->base == b->base)
            line(j, "%schain '%s': priority is %d, not %d", prefix(j), a->name, b->priority,
                 a->priority);
        if (a->policy != b->policy && a->base == b->base)
            line(j, "%schain '%s': policy is %s, not %s", prefix(j), a->name,
                 policy_text(b->policy), policy_text(a->policy));
        if (a->flags != b->flags)
            line(j, "%schain '%s': flags are 0x%x, not 0x%x", prefix(j), a->name, b->flags,
                 a->flags);
        if (j->v->count != before)
            ANEW(j);
        judge_rules(j, a, b);
    }
    for (size_t i = 0; i < h->n_chain; i++)
        if (!net_nft_find_chain(w, h->chain[i].name)) {
            quoted(name, sizeof name, h->chain[i].name, strlen(h->chain[i].name));
            line(j, "%schain '%s' is not wanted", prefix(j), name);
            ANEW(j);
        }
}

/* The elements of both are the same, set by set. A set that one side lacks is no matter of
 * elements. */
static bool same_elements(const struct nft_image *want, const struct nft_image *have)
{
    for (size_t t = 0; t < NFT_TABLES; t++)
        for (size_t i = 0; i < want->table[t].n_set; i++) {
            const struct nft_set *a = &want->table[t].set[i],
                                 *b = net_nft_find_set(&have->table[t], a->name);
            if (b && !net_nft_elems_same(a, b))
                return false;
        }
    return true;
}

void net_nft_judge(const struct nft_image *want, struct nft_image *have,
                   void (*each)(void *arg, const char *line), void *arg, struct nft_verdict *v)
{
    struct judge j = {.each = each, .arg = arg, .v = v};

    j.same_elements = same_elements(want, have);
    if (!j.same_elements)
        net_nft_image_sort(have);
    memset(v, 0, sizeof *v);
    for (size_t t = 0; t < NFT_TABLES; t++) {
        const struct nft_table *w = &want->table[t], *h = &have->table[t];
        j.t = (enum nft_which)t;
        if (!w->present && !h->present)
            continue;
        if (w->present != h->present) {
            line(&j, "table %s %s is %s", net_nft_families[t].name, NFT_OURS,
                 w->present ? "missing" : "not wanted");
            ANEW(&j);
            continue;
        }
        if (h->flags != w->flags) {
            line(&j,
                 h->flags & 1 ? "table %s %s is dormant (flags 0x%x)"
                              : "table %s %s has other flags (0x%x)",
                 net_nft_families[t].name, NFT_OURS, h->flags);
            ANEW(&j);
        }
        judge_sets(&j, w, h);
        judge_chains(&j, w, h);
        if (h->uses > h->n_chain + h->n_set) {
            line(&j, "table %s %s holds objects that are not wanted (counters, flow tables…)",
                 net_nft_families[t].name, NFT_OURS);
            ANEW(&j);
        }
    }
}

size_t net_nft_compare(const struct net_nft *want, const struct net_nft_have *have,
                       void (*each)(void *arg, const char *line), void *arg)
{
    struct nft_want w;
    struct nft_verdict v;
    struct net_error err;
    char text[512];

    if (net_nft_want_init(&w, want, &err)) { /* what cannot be made is never equal */
        net_error_format(&err, text, sizeof text);
        if (each)
            each(arg, text);
        return 1;
    }
    /* The order of its elements is no part of what `have` holds. */
    net_nft_judge(&w.img, (struct nft_image *)&have->img, each, arg, &v);
    net_nft_want_done(&w);
    return v.count;
}

/* ---- an image as a model ---- */

struct seen { /* what one rule speaks of */
    char oif[IFNAMSIZ], not_iif[IFNAMSIZ];
    bool dnat;
    struct net_nft_net net;
};

static struct seen see(const struct nft_rule *r)
{
    struct seen s = {0};
    struct nft_code c = {.at = r->code, .end = r->code + r->len};
    uint32_t meta = 0, load = 0; /* what register 1 holds */
    size_t len, mask_len = 0;
    const uint8_t *mask = NULL, *value;

    while (net_nft_code_next(&c)) {
        if (!strcmp(c.name, "meta")) {
            meta = net_nft_code_u32(&c, NFTA_META_KEY) + 1;
            load = 0;
        } else if (!strcmp(c.name, "payload")) {
            load = net_nft_code_u32(&c, NFTA_PAYLOAD_LEN);
            meta = 0;
            mask = NULL;
        } else if (!strcmp(c.name, "ct")) {
            s.dnat = true;
            meta = load = 0;
        } else if (!strcmp(c.name, "bitwise")) {
            mask = net_nft_code_attr(&c, NFTA_BITWISE_MASK, &mask_len);
        } else if (!strcmp(c.name, "cmp") && (value = net_nft_code_attr(&c, NFTA_CMP_DATA, &len))) {
            bool equal = net_nft_code_u32(&c, NFTA_CMP_OP) == NFT_CMP_EQ;
            if (meta == NFT_META_OIFNAME + 1 && equal && len == IFNAMSIZ)
                memcpy(s.oif, value, IFNAMSIZ - 1);
            else if (meta == NFT_META_IIFNAME + 1 && !equal && len == IFNAMSIZ)
                memcpy(s.not_iif, value, IFNAMSIZ - 1);
            else if (meta == NFT_META_NFPROTO + 1 && len == 1)
                s.net.family = value[0] == NFPROTO_IPV4 ? AF_INET : AF_INET6;
            else if (load && len == load && len <= 16) {
                memcpy(s.net.bytes, value, len);
                s.net.prefix = (uint8_t)(len * 8);
                if (mask && mask_len == len) {
                    unsigned bits = 0;
                    while (bits < len * 8 && mask[bits / 8] >> (7 - bits % 8) & 1)
                        bits++;
                    s.net.prefix = (uint8_t)bits;
                }
            }
            meta = load = 0;
        }
    }
    return s;
}

static bool same_net(const struct net_nft_net *a, const struct net_nft_net *b)
{
    return a->family == b->family && a->prefix == b->prefix && !memcmp(a->bytes, b->bytes, 16);
}

/* The bridge that the rule calls its own by masquerading what a port map turns back. NULL: the
 * rule is none of these. */
static struct net_nft_bridge *turned_back(const struct seen *s, struct net_nft_model *m, size_t n)
{
    for (size_t k = 0; s->dnat && s->net.family && s->oif[0] && k < n; k++)
        if (!strcmp(m->bridges[k].name, s->oif))
            return &m->bridges[k];
    return NULL;
}

/* Each bridge's nets: counted, then put side by side in one array. */
static bool model_nets(const struct nft_chain *src, struct net_nft_model *m, size_t n)
{
    struct net_nft_net *at = m->nets = calloc((src ? src->n : 0) + 1, sizeof *at);
    if (!at)
        return false;
    for (size_t i = 0; src && i < src->n; i++) {
        struct seen s = see(&src->rule[i]);
        struct net_nft_bridge *b = turned_back(&s, m, n);
        if (b)
            b->n_net++;
    }
    for (size_t k = 0; k < n; k++) {
        m->bridges[k].net = at;
        at += m->bridges[k].n_net;
        m->bridges[k].n_net = 0;
    }
    for (size_t i = 0; src && i < src->n; i++) {
        struct seen s = see(&src->rule[i]);
        struct net_nft_bridge *b = turned_back(&s, m, n);
        if (b)
            m->nets[(size_t)(b->net - m->nets) + b->n_net++] = s.net;
    }
    return true;
}

static void model_bridges(const struct nft_table *t, struct net_nft_model *m, size_t n)
{
    const struct nft_chain *src = net_nft_find_chain(t, "src"),
                           *pass = net_nft_find_chain(t, "pass");

    for (size_t i = 0; src && i < src->n; i++) {
        struct seen s = see(&src->rule[i]);
        for (size_t k = 0; !s.dnat && s.net.family && s.oif[0] && k < n; k++) {
            struct net_nft_bridge *b = &m->bridges[k];
            for (size_t x = 0; x < b->n_net; x++)
                if (same_net(&b->net[x], &s.net))
                    memcpy(s.net.family == AF_INET ? b->uplink4 : b->uplink6, s.oif, IFNAMSIZ);
        }
    }
    for (size_t i = 0; pass && i < pass->n; i++) {
        struct seen s = see(&pass->rule[i]);
        for (size_t k = 0; s.oif[0] && !strcmp(s.oif, s.not_iif) && k < n; k++)
            if (!strcmp(m->bridges[k].name, s.oif))
                m->bridges[k].open = false;
    }
}

static void model_map(const struct nft_elem *e, struct net_nft_map *m)
{
    size_t host = e->key_len - 8u, to = e->data_len - 4u;

    m->any = host == 0;
    m->family = to == 4 ? AF_INET : AF_INET6;
    memcpy(m->host, e->key, host);
    m->proto = e->key[host];
    m->port = (uint16_t)(e->key[host + 4] << 8 | e->key[host + 5]);
    memcpy(m->to, e->data, to);
    m->to_port = (uint16_t)(e->data[to] << 8 | e->data[to + 1]);
}

static size_t size_of(const struct nft_table *t, const char *set)
{
    const struct nft_set *s = net_nft_find_set(t, set);
    return s ? s->n : 0;
}

/* The number that the rule compares the port's link group with; false: it does not. */
static bool group_of(const struct nft_rule *r, uint32_t *out)
{
    struct nft_code c = {.at = r->code, .end = r->code + r->len};
    bool group = false;
    size_t len;

    while (net_nft_code_next(&c)) {
        const uint8_t *value =
            strcmp(c.name, "cmp") ? NULL : net_nft_code_attr(&c, NFTA_CMP_DATA, &len);
        if (value && group && len == sizeof *out) {
            memcpy(out, value, sizeof *out);
            return true;
        }
        group = !strcmp(c.name, "meta") && net_nft_code_u32(&c, NFTA_META_KEY) == NFT_META_IIFGROUP;
    }
    return false;
}

/* Sets whose keys begin with the name of a port; then those of addresses that no other port may
 * use. */
enum {
    S_MACS,
    S_SRC4,
    S_SRC6,
    S_GUESTS,
    S_ROUTERS,
    S_ANYMAC,
    S_FREE4,
    S_PORTS,
    S_TAKENMAC = S_PORTS,
    S_TAKEN4,
    S_TAKEN6,
    S_ALL
};
static const char *const source_sets[S_ALL] = {"macs",   "src4",  "src6",     "guests", "routers",
                                               "anymac", "free4", "takenmac", "taken4", "taken6"};

static void model_source(struct net_nft_source *o, int in_set, const struct nft_elem *e)
{
    const uint8_t *value = in_set < S_PORTS ? e->key + IFNAMSIZ : e->key;
    if (in_set < S_PORTS)
        memcpy(o->port, e->key, IFNAMSIZ - 1);
    switch (in_set) {
    case S_MACS:
    case S_TAKENMAC:
        memcpy(o->mac, value, sizeof o->mac);
        o->has_mac = true;
        break;
    case S_SRC4:
    case S_TAKEN4:
        memcpy(o->addr4, value, sizeof o->addr4);
        o->has4 = true;
        break;
    case S_SRC6:
    case S_TAKEN6:
        memcpy(o->addr6, value, sizeof o->addr6);
        o->has6 = true;
        break;
    case S_GUESTS:
        o->guest = true;
        break;
    case S_ROUTERS:
        o->router = true;
        break;
    case S_ANYMAC:
        o->any_mac = true;
        break;
    case S_FREE4:
        o->any4 = true;
        break;
    }
}

/* One entry for each port: the sets are sorted, so each port's elements meet. Then one for each
 * address that is taken. */
static bool model_sources(const struct nft_table *t, struct net_nft_model *m)
{
    const struct nft_set *set[S_ALL];
    const struct nft_chain *guard = net_nft_find_chain(t, "guard");
    size_t at[S_PORTS] = {0}, most = 0, n = 0;

    for (int i = 0; i < S_ALL; i++) {
        set[i] = net_nft_find_set(t, source_sets[i]);
        most += set[i] ? set[i]->n : 0;
    }
    m->sources = calloc(most + 1, sizeof *m->sources);
    if (!m->sources)
        return false;
    for (;;) {
        const uint8_t *next = NULL;
        for (int i = 0; i < S_PORTS; i++)
            if (set[i] && at[i] < set[i]->n &&
                (!next || memcmp(set[i]->elem[at[i]].key, next, IFNAMSIZ) < 0))
                next = set[i]->elem[at[i]].key;
        if (!next)
            break;
        for (int i = 0; i < S_PORTS; i++)
            if (set[i] && at[i] < set[i]->n && !memcmp(set[i]->elem[at[i]].key, next, IFNAMSIZ))
                model_source(&m->sources[n], i, &set[i]->elem[at[i]++]);
        n++;
    }
    for (int i = S_PORTS; i < S_ALL; i++)
        for (size_t k = 0; set[i] && k < set[i]->n; k++)
            model_source(&m->sources[n++], i, &set[i]->elem[k]);
    m->nft.sources = m->sources;
    m->nft.n_sources = n;
    if (guard && guard->n)
        (void)group_of(&guard->rule[0], &m->nft.group);
    return true;
}

bool net_nft_model(const struct net_nft_have *have, struct net_nft_model *out)
{
    static const char *const maps[] = {"any4", "any6", "one4", "one6"};
    const struct nft_table *t = &have->img.table[NFT_INET], *tb = &have->img.table[NFT_BRIDGE];
    struct net_nft_model m = {0};
    size_t n_bridges = size_of(t, "bridges"), n_maps = 0, n_alone, at = 0;
    const struct nft_set *s;
    bool fine;

    if (!t->present && !tb->present)
        return false;
    net_nft_image_sort((struct nft_image *)&have->img);
    for (size_t i = 0; i < 4; i++)
        n_maps += size_of(t, maps[i]);
    n_alone = size_of(tb, "alone") + size_of(t, "alone4") + size_of(t, "alone6");
    m.bridges = calloc(n_bridges + 1, sizeof *m.bridges);
    m.maps = calloc(n_maps + 1, sizeof *m.maps);
    m.alone = calloc(n_alone + 1, sizeof *m.alone);
    fine = m.bridges && m.maps && m.alone;
    for (size_t i = 0; fine && i < n_bridges; i++) {
        s = net_nft_find_set(t, "bridges");
        memcpy(m.bridges[i].name, s->elem[i].key, IFNAMSIZ - 1);
        m.bridges[i].open = true;
    }
    fine = fine && model_nets(net_nft_find_chain(t, "src"), &m, n_bridges);
    if (fine)
        model_bridges(t, &m, n_bridges);
    for (size_t i = 0; fine && i < 4; i++) {
        s = net_nft_find_set(t, maps[i]);
        for (size_t k = 0; fine && s && k < s->n; k++) {
            size_t host = maps[i][0] == 'a'   ? 0
                          : maps[i][3] == '4' ? 4
                                              : 16,
                   to = maps[i][3] == '4' ? 4 : 16;
            fine = s->elem[k].key_len == host + 8 && s->elem[k].data_len == to + 4;
            if (fine)
                model_map(&s->elem[k], &m.maps[at++]);
        }
    }
    at = 0;
    s = net_nft_find_set(tb, "alone");
    for (size_t k = 0; fine && s && k < s->n; k++)
        memcpy(m.alone[at++].port, s->elem[k].key, IFNAMSIZ - 1);
    s = net_nft_find_set(t, "alone4");
    for (size_t k = 0; fine && s && k < s->n; k++, at++) {
        memcpy(m.alone[at].addr4, s->elem[k].key, 4);
        m.alone[at].has4 = true;
    }
    s = net_nft_find_set(t, "alone6");
    for (size_t k = 0; fine && s && k < s->n; k++, at++) {
        memcpy(m.alone[at].addr6, s->elem[k].key, 16);
        m.alone[at].has6 = true;
    }
    const struct nft_chain *guard = net_nft_find_chain(t, "guard");
    m.nft = (struct net_nft){.bridges = m.bridges,
                             .n_bridges = n_bridges,
                             .maps = m.maps,
                             .n_maps = n_maps,
                             .alone = m.alone,
                             .n_alone = n_alone};
    for (size_t i = 0; guard && i < guard->n; i++)
        if (group_of(&guard->rule[i], &m.nft.group))
            break;
    fine = fine && model_sources(tb, &m);
    if (!fine || net_nft_compare(&m.nft, have, NULL, NULL)) {
        net_nft_model_done(&m);
        return false;
    }
    *out = m;
    return true;
}

void net_nft_model_done(struct net_nft_model *m)
{
    free(m->bridges);
    free(m->nets);
    free(m->maps);
    free(m->alone);
    free(m->sources);
    memset(m, 0, sizeof *m);
}
