/* Rules between objects. Every table here is a hash set, so that ten thousand containers cost ten
 * thousand look-ups. A fault that only follows from another is not told: a bridge whose address
 * is bad makes no container "outside every bridge". */
#include "spec/internal.h"
#include "spec/values.h"
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct spec_cidr *spec_bridge_address(const struct spec_bridge *b, int family)
{
    for (size_t i = 0; i < b->n_addresses; i++)
        if (b->addresses[i].addr.family == family)
            return &b->addresses[i];
    return NULL;
}

const struct spec_cidr *spec_bridge_near(const struct spec_bridge *b, const struct spec_addr *a)
{
    for (size_t i = 0; i < b->n_addresses; i++)
        if (b->addresses[i].addr.family == a->family && b->addresses[i].addr.prefix == a->prefix &&
            spec_addr_in(a, &b->addresses[i].addr))
            return &b->addresses[i];
    return NULL;
}

struct check {
    struct spec_ctx *c;
    struct spec_host *h;
    bool blind;                      /* a bridge's address could not be read */
    struct spec_seen own;            /* the bridges' own addresses */
    struct spec_seen guests;         /* the containers' */
    size_t n_net[2];                 /* the bridges' networks, IPv4 and IPv6 */
    const struct spec_cidr *last[2]; /* one of each, NULL: none */
};

static size_t width(const struct spec_addr *a)
{
    return a->family == 6 ? 16 : 4;
}

static const char *text(struct check *k, const struct spec_addr *a, bool prefix)
{
    char t[SPEC_ADDR_TEXT];
    const char *s = spec_arena_strdup(k->c->arena, spec_addr_format(a, prefix, t));
    return s ? s : "";
}

static bool is_network(const struct spec_addr *a, const struct spec_addr *net)
{
    struct spec_addr n;
    spec_addr_network(net, &n);
    return net->prefix + 1u < (net->family == 6 ? 128u : 32u) && spec_addr_equal(a, &n);
}

static bool is_broadcast(const struct spec_addr *a, const struct spec_addr *net)
{
    struct spec_addr n;
    if (net->family != 4 || net->prefix >= 31)
        return false;
    spec_addr_network(net, &n);
    for (unsigned i = net->prefix; i < 32; i++)
        n.bytes[i / 8] |= (uint8_t)(0x80u >> i % 8);
    return spec_addr_equal(a, &n);
}

static void check_bridge(struct check *k, const struct spec_bridge *b)
{
    struct spec_seen seen = {.arena = k->c->arena};
    for (size_t i = 0; i < b->n_addresses; i++) {
        const struct spec_cidr *a = &b->addresses[i];
        const struct spec_loc *first;
        struct spec_diag *d;
        if (!a->addr.has_prefix) {
            d = spec_fault(k->c, SPEC_E_ADDRESS, a->at,
                           "a bridge's address needs its prefix length");
            spec_hint(k->c, d, "as in %s/%d", text(k, &a->addr, false),
                      a->addr.family == 6 ? 64 : 24);
            k->blind = true;
        } else if (a->addr.prefix == 0 || a->addr.prefix == 8 * width(&a->addr)) {
            spec_fault(k->c, SPEC_E_ADDRESS, a->at, "/%u leaves no room for containers",
                       a->addr.prefix);
            k->blind = true;
        } else if (is_network(&a->addr, &a->addr)) {
            spec_fault(k->c, SPEC_E_ADDRESS, a->at, "%s is the network address of %s",
                       text(k, &a->addr, false), text(k, &a->addr, true));
        } else if (is_broadcast(&a->addr, &a->addr)) {
            spec_fault(k->c, SPEC_E_ADDRESS, a->at, "%s is the broadcast address of %s",
                       text(k, &a->addr, false), text(k, &a->addr, true));
        }
        spec_seen_put(&k->own, (const char *)a->addr.bytes, width(&a->addr), a->at, &k->c->oom);
        if ((first = spec_seen_put(&seen, (const char *)a->addr.bytes, width(&a->addr), a->at,
                                   &k->c->oom))) {
            d = spec_fault(k->c, SPEC_E_DUPLICATE_ADDRESS, a->at, "%s is given twice%s",
                           text(k, &a->addr, false),
                           a->addr.family == 6
                               ? "; Linux keeps one IPv6 address once per link, whatever its prefix"
                               : "");
            spec_note(k->c, d, *first, "the first one is here");
        }
    }
}

/* Linux takes IPv6 off a link whose packets are smaller than that. */
static void check_mtu(struct check *k, const struct spec_bridge *b)
{
    const struct spec_cidr *six = spec_bridge_address(b, 6);
    if (!b->mtu || b->mtu >= 1280 || !six)
        return;
    struct spec_diag *d =
        spec_fault(k->c, SPEC_E_NUMBER, b->mtu_at,
                   "mtu %u is too small for IPv6, which needs 1280 bytes (RFC 8200 5)", b->mtu);
    spec_note(k->c, d, six->at, "the bridge's IPv6 address is given here");
}

static bool overlap(const struct spec_addr *a, const struct spec_addr *b)
{
    return a->has_prefix && b->has_prefix && (spec_addr_in(a, b) || spec_addr_in(b, a));
}

struct net {
    const struct spec_bridge *bridge;
    const struct spec_cidr *a;
    /* 1 + index of the smallest other one that holds all of it, 0: none does */
    size_t inside;
};

static int by_network(const void *x, const void *y)
{
    struct spec_addr a, b;
    spec_addr_network(&((const struct net *)x)->a->addr, &a);
    spec_addr_network(&((const struct net *)y)->a->addr, &b);
    int c = spec_addr_compare(&a, &b);
    return c ? c : (a.prefix > b.prefix) - (a.prefix < b.prefix);
}

static size_t networks(struct check *k, struct net **out)
{
    size_t n = 0, m = 0;
    for (size_t i = 0; i < k->h->n_bridges; i++)
        n += k->h->bridges[i].n_addresses;
    *out = spec_arena_alloc(k->c->arena, (n + 1) * sizeof **out);
    if (!*out)
        return 0;
    for (size_t i = 0; i < k->h->n_bridges; i++)
        for (size_t j = 0; j < k->h->bridges[i].n_addresses; j++)
            if (k->h->bridges[i].addresses[j].addr.has_prefix)
                (*out)[m++] = (struct net){&k->h->bridges[i], &k->h->bridges[i].addresses[j], 0};
    qsort(*out, m, sizeof **out, by_network);
    /* Two networks are apart, or one holds the other: what holds this one holds the one before
     * it, or is that. */
    for (size_t i = 1; i < m; i++) {
        size_t x = i;
        while (x && !spec_addr_in(&(*out)[i].a->addr, &(*out)[x - 1].a->addr))
            x = (*out)[x - 1].inside;
        /* given twice, with two addresses */
        bool same = x && (*out)[i].a->addr.prefix == (*out)[x - 1].a->addr.prefix;
        (*out)[i].inside = same ? (*out)[x - 1].inside : x;
    }
    for (size_t i = 0; i < m; i++) {
        k->n_net[(*out)[i].a->addr.family == 6]++;
        k->last[(*out)[i].a->addr.family == 6] = (*out)[i].a;
    }
    return m;
}

static void check_bridges(struct check *k, struct net *net, size_t n)
{
    struct spec_seen names = {.arena = k->c->arena};
    for (size_t i = 0; i < k->h->n_bridges; i++)
        spec_seen_put(&names, k->h->bridges[i].name, strlen(k->h->bridges[i].name),
                      k->h->bridges[i].at, &k->c->oom);
    for (size_t i = 0; i < k->h->n_bridges; i++) {
        const struct spec_bridge *b = &k->h->bridges[i];
        check_bridge(k, b);
        check_mtu(k, b);
        k->blind |= !b->n_addresses;
        if (b->nat.interface && spec_seen_find(&names, b->nat.interface, strlen(b->nat.interface)))
            spec_fault(k->c, SPEC_E_REF, b->nat.interface_at,
                       "`interface` must lead away from the bridges; %s is one of them",
                       b->nat.interface);
    }
    /* Sorted by network, subnets that overlap are neighbours, or one holds all up to the other. */
    size_t widest = 0;
    for (size_t i = 1; i < n; i++) {
        if (overlap(&net[widest].a->addr, &net[i].a->addr)) {
            if (net[widest].bridge != net[i].bridge) {
                const struct net *a = &net[widest], *b = &net[i];
                if (a->a->at.line > b->a->at.line ||
                    (a->a->at.line == b->a->at.line && a->a->at.col > b->a->at.col)) {
                    a = &net[i];
                    b = &net[widest];
                }
                struct spec_diag *d = spec_fault(k->c, SPEC_E_OVERLAP, b->a->at,
                                                 "the subnet of %s overlaps that of bridge %s (%s)",
                                                 text(k, &b->a->addr, true), a->bridge->name,
                                                 text(k, &a->a->addr, true));
                spec_note(k->c, d, a->a->at, "bridge %s has it", a->bridge->name);
            }
        } else {
            widest = i;
        }
    }
}

/* The smallest network that holds `a`: of those that begin at or before it the last, or one of
 * those that hold that one. */
static const struct net *network_of(const struct net *net, size_t n, const struct spec_addr *a)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct spec_addr start;
        spec_addr_network(&net[mid].a->addr, &start);
        if (spec_addr_compare(&start, a) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct net *x = lo ? &net[lo - 1] : NULL;
    while (x && !spec_addr_in(a, &x->a->addr))
        x = x->inside ? &net[x->inside - 1] : NULL;
    return x;
}

static void outside(struct check *k, const struct spec_cidr *a)
{
    struct spec_diag *d;
    const struct spec_cidr *only = k->last[a->addr.family == 6];
    size_t fits = k->n_net[a->addr.family == 6];
    if (k->blind)
        return;
    if (!fits) {
        spec_fault(k->c, SPEC_E_OUTSIDE, a->at,
                   "no bridge has an IPv%d address, so %s cannot be on one", a->addr.family,
                   text(k, &a->addr, false));
        return;
    }
    if (k->h->n_bridges > 1) {
        spec_fault(k->c, SPEC_E_OUTSIDE, a->at, "address %s is outside every bridge",
                   text(k, &a->addr, false));
        return;
    }
    if (fits > 1) {
        spec_fault(k->c, SPEC_E_OUTSIDE, a->at, "address %s is outside every subnet of bridge %s",
                   text(k, &a->addr, false), k->h->bridges[0].name);
        return;
    }
    struct spec_addr net_start, guess = a->addr;
    spec_addr_network(&only->addr, &net_start);
    d = spec_fault(k->c, SPEC_E_OUTSIDE, a->at, "address %s is outside bridge %s (%s)",
                   text(k, &a->addr, false), k->h->bridges[0].name, text(k, &net_start, true));
    if (!d) /* told already, or one of very many */
        return;
    for (unsigned i = 0; i < (guess.family == 6 ? 16u : 4u); i++) {
        unsigned bits = only->addr.prefix > i * 8 ? only->addr.prefix - i * 8 : 0;
        uint8_t mask = (uint8_t)(bits >= 8 ? 0xff : 0xff00u >> bits);
        guess.bytes[i] =
            (uint8_t)((only->addr.bytes[i] & mask) | (guess.bytes[i] & (uint8_t)~mask));
    }
    bool taken = spec_addr_equal(&guess, &only->addr) || is_network(&guess, &only->addr) ||
                 is_broadcast(&guess, &only->addr);
    if (!taken && !spec_seen_find(&k->guests, (const char *)guess.bytes, width(&guess)))
        spec_hint(k->c, d, "did you mean %s?", text(k, &guess, false));
    spec_note(k->c, d, only->at, "the bridge's address is given here");
}

static void check_address(struct check *k, struct spec_container *c, struct spec_cidr *a,
                          const struct net *net, size_t n, struct spec_seen *seen)
{
    const struct net *on = network_of(net, n, &a->addr);
    struct spec_diag *d;
    if (!on) {
        outside(k, a);
    } else {
        const struct spec_addr *own = &on->a->addr;
        uint32_t index = (uint32_t)(on->bridge - k->h->bridges);
        if (a->addr.has_prefix && a->addr.prefix != own->prefix) {
            d = spec_fault(k->c, SPEC_E_PREFIX, a->at, "/%u, but bridge %s is /%u", a->addr.prefix,
                           on->bridge->name, own->prefix);
            spec_hint(k->c, d, "the prefix length may be left out");
            spec_note(k->c, d, on->a->at, "the bridge's address is given here");
        }
        if (c->bridge != SPEC_NO_BRIDGE && c->bridge != index)
            spec_fault(k->c, SPEC_E_OUTSIDE, a->at,
                       "%s is on bridge %s, but the container's other address is on %s",
                       text(k, &a->addr, false), on->bridge->name, k->h->bridges[c->bridge].name);
        else
            c->bridge = index;
        if (is_network(&a->addr, own))
            spec_fault(k->c, SPEC_E_ADDRESS, a->at, "%s is the network address of %s",
                       text(k, &a->addr, false), text(k, own, true));
        else if (is_broadcast(&a->addr, own))
            spec_fault(k->c, SPEC_E_ADDRESS, a->at, "%s is the broadcast address of %s",
                       text(k, &a->addr, false), text(k, own, true));
        const struct spec_loc *taken =
            spec_seen_find(&k->own, (const char *)a->addr.bytes, width(&a->addr));
        if (taken) {
            d = spec_fault(k->c, SPEC_E_DUPLICATE_ADDRESS, a->at,
                           "%s is the address of bridge %s itself (the gateway)",
                           text(k, &a->addr, false), on->bridge->name);
            spec_note(k->c, d, *taken, "it is given here");
        }
        a->addr.prefix = own->prefix;
        a->addr.has_prefix = true;
    }
    const char *key =
        spec_arena_strndup(k->c->arena, (const char *)a->addr.bytes, a->addr.family == 6 ? 16 : 4);
    const struct spec_loc *first =
        key ? spec_seen_put(seen, key, a->addr.family == 6 ? 16 : 4, a->at, &k->c->oom) : NULL;
    if (first) {
        struct spec_loc x = *first, y = a->at;
        if (x.line > y.line || (x.line == y.line && x.col > y.col)) {
            x = a->at;
            y = *first;
        }
        d = spec_fault(k->c, SPEC_E_DUPLICATE_ADDRESS, y,
                       "%s is already the address of another container (%u:%u)",
                       text(k, &a->addr, false), x.line, x.col);
        spec_note(k->c, d, x, "it is given here first");
    }
}

static void check_gateway(struct check *k, const struct spec_container *c)
{
    if (c->gateway.mode != SPEC_GW_GIVEN || c->bridge == SPEC_NO_BRIDGE)
        return;
    const struct spec_addr *g = &c->gateway.addr;
    const struct spec_cidr *own = &c->address[g->family == 6];
    if (!own->addr.family)
        spec_fault(k->c, SPEC_E_GATEWAY, c->gateway.at,
                   "the container has no IPv%d address to reach %s by", g->family,
                   text(k, g, false));
    else if (!spec_addr_in(g, &own->addr))
        spec_fault(k->c, SPEC_E_GATEWAY, c->gateway.at, "gateway %s is outside the bridge's subnet",
                   text(k, g, false));
    else if (spec_addr_equal(g, &own->addr))
        spec_fault(k->c, SPEC_E_GATEWAY, c->gateway.at, "a container cannot be its own gateway");
    else if (is_network(g, &own->addr) || is_broadcast(g, &own->addr))
        spec_fault(k->c, SPEC_E_GATEWAY, c->gateway.at, "%s is no machine's address in that subnet",
                   text(k, g, false));
}

static void check_runtime(struct check *k, const struct spec_container *c)
{
    if (c->runtime == SPEC_RT_NIXOS && !c->nixos.given)
        spec_fault(k->c, SPEC_E_MISSING, c->runtime_at,
                   "runtime nixos needs a `nixos` map: a flake, a system or a config");
    if (c->nixos.given && c->nspawn.given)
        spec_note(
            k->c,
            spec_fault(k->c, SPEC_E_TOGETHER, c->nspawn.at, "either `nixos` or `nspawn`, not both"),
            c->nixos.at, "`nixos` is given here");
    if (c->runtime == SPEC_RT_NSPAWN && c->nixos.given)
        spec_fault(k->c, SPEC_E_TOGETHER, c->nixos.at,
                   "`nixos` is for runtime nixos; this container's is nspawn");
    if (c->runtime == SPEC_RT_NETNS && (c->nixos.given || c->nspawn.given))
        spec_fault(k->c, SPEC_E_TOGETHER, c->nixos.given ? c->nixos.at : c->nspawn.at,
                   "runtime netns starts no process and takes no such map");
    bool nixos = c->runtime == SPEC_RT_NIXOS || (c->runtime == SPEC_RT_AUTO && c->nixos.given);
    if (nixos && strlen(c->name) > 11)
        spec_fault(k->c, SPEC_E_NAME, c->at,
                   "`%s` has %zu characters; nixos containers have at most 11", c->name,
                   strlen(c->name));
    if (c->nixos.given && (c->nixos.flake.text != NULL) + (c->nixos.system.text != NULL) +
                                  (c->nixos.config.text != NULL) >
                              1)
        spec_fault(k->c, SPEC_E_TOGETHER, c->nixos.at,
                   "one of `flake`, `system` and `config`, not more");
    bool admin = c->nspawn.capabilities >> CAP_SYS_ADMIN & 1;
    if (c->nspawn.boot && c->nspawn.users != SPEC_USERS_AUTO && !admin) {
        const char *users = c->nspawn.users == SPEC_USERS_NONE ? "none" : "identity";
        struct spec_diag *d =
            spec_fault(k->c, SPEC_E_TOGETHER, c->nspawn.boot_at,
                       "`boot: true` needs `private_users: auto`, or capability SYS_ADMIN");
        spec_hint(k->c, d,
                  "write private_users: auto, or capabilities: [SYS_ADMIN], which makes its root "
                  "the host's root");
        spec_note(k->c, d, c->nspawn.users_at, "`private_users: %s` is given here", users);
    }
    if (c->nspawn.network_admin && c->nspawn.users == SPEC_USERS_IDENTITY) {
        struct spec_diag *d = spec_fault(k->c, SPEC_E_TOGETHER, c->nspawn.network_admin_at,
                                         "`network_admin: true` needs `private_users: auto` or "
                                         "`none`");
        spec_hint(k->c, d, "leave private_users out, or network_admin");
    }
    if (c->nspawn.boot && c->nspawn.n_command)
        spec_fault(k->c, SPEC_E_TOGETHER, c->nspawn.at,
                   "either `boot: true` or a `command`, not both");
}

bool spec_port_any(const struct spec_port *p)
{
    static const uint8_t zero[16];
    return !p->address.family || !memcmp(p->address.bytes, zero, p->address.family == 6 ? 16 : 4);
}

/* A port as one family sees it: ports [first, end) of an address of the host, or of any. */
struct use {
    const struct spec_port *p;
    struct spec_addr address; /* any: zero */
    unsigned first, end;
};

static int by_port(const void *x, const void *y)
{
    const struct use *a = x, *b = y;
    if (a->p->proto != b->p->proto)
        return a->p->proto < b->p->proto ? -1 : 1;
    int c = spec_addr_compare(&a->address, &b->address);
    if (c)
        return c;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return a->p->at.byte < b->p->at.byte ? -1 : a->p->at.byte > b->p->at.byte;
}

static bool same_family(const struct use *a, const struct use *b)
{
    return a->p->proto == b->p->proto && a->address.family == b->address.family;
}

static void twice(struct check *k, const struct use *x, const struct use *y)
{
    const struct spec_port *a = x->p, *b = y->p;
    if (a == b)
        return;
    if (a->at.byte > b->at.byte) {
        const struct spec_port *t = a;
        a = b;
        b = t;
    }
    struct spec_diag *d =
        spec_fault(k->c, SPEC_E_DUPLICATE_PORT, b->at, "host port %u/%s is already mapped (%u:%u)",
                   x->first > y->first ? x->first : y->first, b->proto == SPEC_UDP ? "udp" : "tcp",
                   a->at.line, a->at.col);
    spec_note(k->c, d, a->at, "it is mapped here first");
}

/* Whether the one is mapped on any address: of all that begin before `u` ends, the one that reaches
 * furthest tells. `far[i]`: which that is among any[0..i]. */
static void check_any(struct check *k, const struct use *u, const struct use *any,
                      const uint32_t *far, size_t n)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (any[mid].first < u->end)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo && any[far[lo - 1]].end > u->first)
        twice(k, &any[far[lo - 1]], u);
}

/* Sorted by protocol, address and port, what overlaps is what begins before the furthest end so
 * far; any address sorts first. */
static void check_doors(struct check *k, struct use *u, size_t n)
{
    uint32_t *far = spec_arena_alloc(k->c->arena, (n + 1) * sizeof *far);
    size_t any = 0, n_any = 0, widest = 0;
    static const uint8_t zero[16];
    k->c->oom |= !far;
    if (n > 1)
        qsort(u, n, sizeof *u, by_port);
    for (size_t i = 0; far && i < n; i++) {
        bool is_any = !memcmp(u[i].address.bytes, zero, sizeof zero),
             first = !i || !same_family(&u[i], &u[i - 1]);
        if (first) {
            any = i;
            n_any = 0;
        }
        if (first || !spec_addr_equal(&u[i].address, &u[i - 1].address))
            widest = i;
        else if (u[i].first < u[widest].end)
            twice(k, &u[widest], &u[i]);
        if (u[i].end > u[widest].end)
            widest = i;
        if (is_any)
            far[n_any++] = (uint32_t)(widest - any);
        else
            check_any(k, &u[i], u + any, far, n_any);
    }
}

static void check_ports(struct check *k, const struct net *net, size_t n_net)
{
    size_t n = 0, m = 0, all = 0;
    const struct spec_port *last = NULL;
    for (size_t i = 0; i < k->h->n_containers; i++)
        n += k->h->containers[i].n_ports;
    struct use *u = spec_arena_alloc(k->c->arena, (2 * n + 1) * sizeof *u);
    k->c->oom |= !u;
    for (size_t i = 0; u && i < k->h->n_containers; i++) {
        const struct spec_container *c = &k->h->containers[i];
        for (size_t j = 0; j < c->n_ports; j++) {
            const struct spec_port *p = last = &c->ports[j];
            all += p->count;
            for (uint8_t family = 4; family <= 6; family += 2)
                if (c->address[family == 6].addr.family &&
                    (!p->address.family || p->address.family == family)) {
                    u[m] = (struct use){.p = p,
                                        .address = p->address,
                                        .first = p->host,
                                        .end = (unsigned)p->host + p->count};
                    u[m++].address.family = family;
                }
            if (p->address.family && !c->address[p->address.family == 6].addr.family)
                spec_fault(k->c, SPEC_E_PORT, p->at,
                           "container %s has no IPv%d address for this port", c->name,
                           p->address.family);
            const struct net *on = spec_port_any(p) ? NULL : network_of(net, n_net, &p->address);
            if (on &&
                (is_network(&p->address, &on->a->addr) || is_broadcast(&p->address, &on->a->addr)))
                spec_fault(k->c, SPEC_E_PORT, p->at,
                           "%s is no machine's address in the subnet of bridge %s",
                           text(k, &p->address, false), on->bridge->name);
        }
    }
    if (all > SPEC_PORTS_MOST && last)
        spec_fault(k->c, SPEC_E_MANY, last->at, "%zu ports on one host; at most %d", all,
                   SPEC_PORTS_MOST);
    if (u)
        check_doors(k, u, m);
}

static int by_path(const void *x, const void *y)
{
    const struct spec_container *a = *(struct spec_container *const *)x,
                                *b = *(struct spec_container *const *)y;
    return strcmp(a->nspawn.path.text, b->nspawn.path.text);
}

/* A directory is one container's root, and no other's lies inside. */
static void check_roots(struct check *k)
{
    size_t n = 0;
    struct spec_container **list =
        spec_arena_alloc(k->c->arena, (k->h->n_containers + 1) * sizeof *list);
    for (size_t i = 0; list && i < k->h->n_containers; i++)
        if (k->h->containers[i].nspawn.root == SPEC_ROOT_DIR &&
            k->h->containers[i].nspawn.path.text)
            list[n++] = &k->h->containers[i];
    if (n > 1)
        qsort(list, n, sizeof *list, by_path);
    for (size_t i = 1; i < n; i++) {
        const char *a = list[i - 1]->nspawn.path.text, *b = list[i]->nspawn.path.text;
        size_t len = strlen(a);
        while (len > 1 && a[len - 1] == '/')
            len--;
        if (strncmp(a, b, len) || (b[len] && b[len] != '/'))
            continue;
        bool equal = !b[len + strspn(b + len, "/")];
        struct spec_diag *d = spec_fault(
            k->c, SPEC_E_NESTED, list[i]->nspawn.path.at, "%s the root of container %s (%u:%u)",
            equal ? "this is already" : "inside", list[i - 1]->name,
            list[i - 1]->nspawn.path.at.line, list[i - 1]->nspawn.path.at.col);
        spec_note(k->c, d, list[i - 1]->nspawn.path.at, "it is given here");
    }
}

static int by_place(const void *x, const void *y)
{
    const struct spec_container *a = *(struct spec_container *const *)x,
                                *b = *(struct spec_container *const *)y;
    return a->at.byte < b->at.byte ? -1 : a->at.byte > b->at.byte;
}

static void check_containers(struct check *k, const struct net *net, size_t n)
{
    struct spec_seen addresses = {.arena = k->c->arena}, macs = addresses, links = addresses;
    size_t *on = spec_arena_alloc(k->c->arena, (k->h->n_bridges + 1) * sizeof *on);
    struct spec_container **in_order =
        spec_arena_alloc(k->c->arena, (k->h->n_containers + 1) * sizeof *in_order);
    if (!on || !in_order) {
        k->c->oom = true;
        return;
    }
    for (size_t i = 0; i < k->h->n_containers; i++)
        in_order[i] = &k->h->containers[i];
    for (size_t i = 0; i < k->h->n_containers; i++)
        for (int f = 0; f < 2; f++) {
            const struct spec_cidr *x = &k->h->containers[i].address[f];
            if (x->addr.family)
                spec_seen_put(&k->guests, (const char *)x->addr.bytes, width(&x->addr), x->at,
                              &k->c->oom);
        }
    /* "first" means first in the file */
    qsort(in_order, k->h->n_containers, sizeof *in_order, by_place);
    for (size_t i = 0; i < k->h->n_containers; i++) {
        struct spec_container *c = in_order[i];
        const struct spec_loc *first;
        struct spec_diag *d;
        char link[16];
        for (int f = 0; f < 2; f++)
            if (c->address[f].addr.family)
                check_address(k, c, &c->address[f], net, n, &addresses);
        if (c->bridge != SPEC_NO_BRIDGE && on[c->bridge]++ == SPEC_PORTS_PER_BRIDGE)
            spec_fault(k->c, SPEC_E_MANY, c->at,
                       "bridge %s would get more than %d ports, the kernel's limit",
                       k->h->bridges[c->bridge].name, SPEC_PORTS_PER_BRIDGE);
        check_gateway(k, c);
        check_runtime(k, c);
        if (c->has_mac &&
            (first = spec_seen_put(&macs, (const char *)c->mac, 6, c->mac_at, &k->c->oom))) {
            d = spec_fault(k->c, SPEC_E_DUPLICATE_MAC, c->mac_at,
                           "this MAC is already another container's (%u:%u)", first->line,
                           first->col);
            spec_note(k->c, d, *first, "it is given here first");
        }
        spec_link_name(c->name, link);
        const char *key = spec_arena_strdup(k->c->arena, link);
        k->c->oom |= !key;
        if (key && (first = spec_seen_put(&links, key, strlen(key), c->at, &k->c->oom))) {
            bool whole = !strcmp(link + 3, c->name);
            d = spec_fault(k->c, SPEC_E_LINK_NAME, c->at,
                           "`%s` %s the link name %s, like another container's", c->name,
                           whole ? "has" : "shortens to", link);
            spec_note(k->c, d, *first, "this one does too; rename one of them");
        }
        if (!strcmp(c->name, k->h->name)) {
            d = spec_fault(
                k->c, SPEC_E_RESERVED, c->at,
                "`%s` is the name of its host: in hosts files one name would lead to two machines",
                c->name);
            spec_note(k->c, d, k->h->at, "the host is here");
        }
    }
}

/* Whoever reads the document finds each container's bridge by its index: what no rule has told
 * must not reach them. */
static void check_placed(struct spec_ctx *c, const struct spec_doc *doc)
{
    for (size_t i = 0; i < doc->n_hosts; i++)
        for (size_t j = 0; j < doc->hosts[i].n_containers && !c->diags->errors; j++)
            if (doc->hosts[i].containers[j].bridge == SPEC_NO_BRIDGE)
                spec_fault(c, SPEC_E_OUTSIDE, doc->hosts[i].containers[j].at,
                           "container `%.80s` is on no bridge: it needs an address of one",
                           doc->hosts[i].containers[j].name);
}

static void warn_below(struct check *k, const struct spec_seen *writable,
                       const struct spec_container *c, const char *what, const char *path,
                       struct spec_loc at)
{
    const char *plain = writable->n ? spec_plain_copy(k->c->arena, path) : NULL;
    const struct spec_loc *above = plain ? spec_writable_above(writable, plain) : NULL;
    if (!above)
        return;
    struct spec_diag *d = spec_warning(
        k->c, SPEC_E_PATH, at,
        "the %s '%.200s' of container '%.80s' lies in a directory that a container can write", what,
        plain, c->name);
    spec_hint(k->c, d,
              "its root decides what is there, and whether the container can start; use a "
              "directory beside it");
    spec_note(k->c, d, *above, "this makes the directory writable");
}

/* A root in another root is an error already. */
static void check_sources(struct check *k)
{
    struct spec_writable writable;
    k->c->oom |= !spec_writable_find(k->c->arena, k->h, &writable);
    for (size_t i = 0; i < k->h->n_containers && !k->c->oom; i++) {
        const struct spec_container *c = &k->h->containers[i];
        if (c->nspawn.root != SPEC_ROOT_HOST && c->nspawn.path.text)
            warn_below(k, &writable.binds, c, "root", c->nspawn.path.text, c->nspawn.path.at);
        for (size_t b = 0; b < c->nspawn.n_binds; b++) {
            warn_below(k, &writable.roots, c, "bind", c->nspawn.binds[b].host,
                       c->nspawn.binds[b].at);
            warn_below(k, &writable.binds, c, "bind", c->nspawn.binds[b].host,
                       c->nspawn.binds[b].at);
        }
    }
}

void spec_check(struct spec_ctx *c, struct spec_doc *doc)
{
    for (size_t i = 0; i < doc->n_hosts && !c->oom; i++) {
        struct check k = {
            .c = c, .h = &doc->hosts[i], .own = {.arena = c->arena}, .guests = {.arena = c->arena}};
        struct net *net;
        size_t n = networks(&k, &net);
        check_bridges(&k, net, n);
        check_containers(&k, net, n);
        check_ports(&k, net, n);
        check_roots(&k);
        check_sources(&k);
    }
    if (!c->oom)
        check_placed(c, doc);
}
