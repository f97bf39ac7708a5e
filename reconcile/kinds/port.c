/* A container's port: a veth pair, `vb-NAME` on the bridge and `eth0` inside, with all that eth0
 * carries. Read along with its namespace (container.c), made and changed in the pipeline. */
#include "reconcile/kinds.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* net/ip6_route.h: the metric of an IPv6 route that was given none */
enum { IP6_RT_PRIO_USER = 1024 };
#define AT(member) offsetof(struct rec_item, port.member)
static const struct rec_field fields[] = {
    /* name, type, where, what a change costs */
    [REC_PORT_WHOLE] = {"its two ends", REC_T_CUSTOM, 0, REC_RECREATE},
    [REC_PORT_BRIDGE] = {"master", REC_T_STRING, AT(bridge), REC_LIVE},
    [REC_PORT_MAC] = {"mac", REC_T_MAC, AT(mac), REC_LIVE},
    [REC_PORT_MTU] = {"mtu", REC_T_U32, AT(mtu), REC_LIVE},
    [REC_PORT_AUTOCONF] = {"link-local addresses", REC_T_BOOL, AT(autoconf), REC_LIVE},
    [REC_PORT_HAIRPIN] = {"hairpin", REC_T_BOOL, AT(hairpin), REC_LIVE},
    [REC_PORT_UP] = {"up", REC_T_BOOL, AT(up), REC_LIVE},
    [REC_PORT_INSIDE_UP] = {"eth0 up", REC_T_BOOL, AT(inside_up), REC_LIVE},
    [REC_PORT_DOOMED] = {"marked for deletion", REC_T_BOOL, AT(doomed), REC_LIVE},
    [REC_PORT_HOST_MAC] = {"mac of the host's end", REC_T_CUSTOM, 0, REC_LIVE},
    [REC_PORT_ADDRESS] = {"address", REC_T_CUSTOM, 0, REC_LIVE},
    [REC_PORT_GATEWAY] = {"default route", REC_T_CUSTOM, 0, REC_LIVE},
};

static void want_gateway(const struct spec_container *c, const struct spec_bridge *b, int family,
                         struct rec_port *p)
{
    const struct spec_addr *gw = rec_gateway(c, b, family);
    if (!gw)
        return;
    *(family == 6 ? &p->has_gw6 : &p->has_gw4) = true;
    *(family == 6 ? &p->gw6_ours : &p->gw4_ours) = true;
    memcpy(family == 6 ? p->gw6 : p->gw4, gw->bytes, family == 6 ? 16 : 4);
}

struct seeds {
    struct rec_mac_seed container, port;
};

static struct seeds seeds_of(const struct spec_host *h)
{
    return (struct seeds){rec_mac_seed(h->name, "container"), rec_mac_seed(h->name, "port")};
}

static int want_port(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                     struct seeds seeds, struct spec_arena *a, struct rec_item *it)
{
    const struct spec_bridge *b = &h->bridges[c->bridge];
    char link[16];
    spec_link_name(c->name, link);
    char *name = spec_arena_strdup(a, link);
    struct rec_port *p = &it->port;
    if (!name)
        return -ENOMEM;
    it->container = c->name;
    it->spec = c;
    it->runtime = rec_runtime_of(run, c);
    it->at = c->at;
    it->protect = c->protect;
    *p = (struct rec_port){.link = name,
                           .bridge = b->name,
                           .mtu = b->mtu,
                           .up = true,
                           .inside_up = true,
                           .whole = true,
                           .hairpin = c->n_ports > 0};
    rec_container_mac(seeds.container, c, p->mac);
    rec_derive_port_mac(seeds.port, c->name, p->host_mac);
    p->address = spec_arena_alloc(a, 2 * sizeof *p->address);
    if (!p->address)
        return -ENOMEM;
    for (int f = 0; f < 2; f++)
        if (c->address[f].addr.family)
            p->address[p->n_address++] = rec_net_address(&c->address[f].addr);
    want_gateway(c, b, 4, p);
    want_gateway(c, b, 6, p);
    bool ipv6 = run->facts.ipv6 && !(b->mtu && b->mtu < 1280); /* smaller: no IPv6 at all */
    it->stated = ((1u << REC_PORT_GATEWAY) * 2 - 1) & ~(b->mtu ? 0 : 1u << REC_PORT_MTU) &
                 ~(ipv6 ? 0 : 1u << REC_PORT_AUTOCONF);
    it->weak = 1u << REC_PORT_AUTOCONF | (c->has_mac ? 0 : 1u << REC_PORT_MAC);
    return 0;
}

int rec_port_want(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                  struct spec_arena *a, struct rec_item *out)
{
    *out = (struct rec_item){.kind = REC_PORT, .key = c->name, .ours = true};
    return want_port(run, h, c, seeds_of(h), a, out);
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    struct seeds seeds = seeds_of(h);
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (!rec_wants_netns(run, c))
            continue;
        struct rec_item *it = rec_state_add(out, REC_PORT, c->name);
        if (!it || want_port(run, h, c, seeds, out->arena, it))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return 0;
}

static int read_none(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                     struct rec_error *err)
{
    (void)run, (void)wanted, (void)out, (void)err;
    return 0; /* container.c reads ports with their namespaces */
}

static bool same(const struct net_address *a, const struct net_address *b)
{
    return a->family == b->family && a->prefix == b->prefix &&
           !memcmp(a->bytes, b->bytes, a->family == AF_INET6 ? 16 : 4);
}

static const char *text(struct spec_arena *a, const struct net_address *n)
{
    char t[SPEC_ADDR_TEXT];
    struct spec_addr s = rec_spec_address(n);
    return spec_arena_strdup(a, spec_addr_format(&s, true, t));
}

bool rec_port_has(const struct rec_port *p, const struct net_address *a, bool only_ours)
{
    for (size_t i = 0; i < p->n_address; i++)
        if (same(&p->address[i], a) && (!only_ours || p->address[i].proto == NET_PROTO_BERTH))
            return true;
    return false;
}

bool rec_route_collides(const struct net_route *r)
{
    return r->metric == (r->family == AF_INET6 ? IP6_RT_PRIO_USER : 0);
}

static const char *route_text(struct spec_arena *a, const struct spec_addr *gw, char *buffer)
{
    static const uint8_t none[16];
    return memcmp(gw->bytes, none, sizeof none)
               ? spec_arena_strdup(a, spec_addr_format(gw, false, buffer))
               : "one that eth0 has no part in";
}

static void compare_gateway(struct spec_arena *a, const struct rec_port *w,
                            const struct rec_port *h, int family, rec_differs_fn differs, void *arg)
{
    bool v6 = family == 6, want_it = v6 ? w->has_gw6 : w->has_gw4,
         have_it = v6 ? h->has_gw6 : h->has_gw4;
    bool ours = v6 ? h->gw6_ours : h->gw4_ours, to_be_ours = v6 ? w->gw6_ours : w->gw4_ours;
    const uint8_t *x = v6 ? w->gw6 : w->gw4, *y = v6 ? h->gw6 : h->gw4;
    /* Ours where somebody else's was before is a difference on the way back. */
    if (want_it && have_it && !memcmp(x, y, v6 ? 16 : 4) && (to_be_ours || !ours))
        return;
    if (!want_it && !(have_it && ours))
        return;
    struct spec_addr s = {.family = (uint8_t)family}, t = s;
    char from[SPEC_ADDR_TEXT], to[SPEC_ADDR_TEXT];
    memcpy(s.bytes, y, v6 ? 16 : 4);
    memcpy(t.bytes, x, v6 ? 16 : 4);
    differs(arg, REC_PORT_GATEWAY, have_it ? route_text(a, &s, from) : NULL,
            want_it ? route_text(a, &t, to) : NULL);
}

/* Only where it matters: on a bridge that others have ports on, and whose MAC may follow the lowest
 * of them. */
static void compare_host_mac(struct spec_arena *a, const struct rec_port *w,
                             const struct rec_port *h, rec_differs_fn differs, void *arg)
{
    bool earlier;
    char from[18], to[18];
    if (h->shared && rec_port_mac_is(h->host_mac, w->host_mac, &earlier) && earlier)
        differs(arg, REC_PORT_HOST_MAC, spec_arena_strdup(a, spec_mac_format(h->host_mac, from)),
                spec_arena_strdup(a, spec_mac_format(w->host_mac, to)));
}

static void compare(struct spec_arena *a, const struct rec_item *want_item,
                    const struct rec_item *have_item, rec_differs_fn differs, void *arg)
{
    const struct rec_port *w = &want_item->port, *h = &have_item->port;
    if (!h->whole) {
        differs(arg, REC_PORT_WHOLE,
                h->index && h->peer_index ? "not of one pair"
                : h->index                ? "only the host's"
                                          : "only eth0",
                "a pair");
        return;
    }
    compare_host_mac(a, w, h, differs, arg);
    if (w->unclear || h->unclear)
        return;
    for (size_t i = 0; i < h->n_address; i++)
        if (h->address[i].proto == NET_PROTO_BERTH && !rec_port_has(w, &h->address[i], false))
            differs(arg, REC_PORT_ADDRESS, text(a, &h->address[i]), NULL);
    for (size_t i = 0; i < w->n_address; i++)
        if (!rec_port_has(h, &w->address[i], false))
            differs(arg, REC_PORT_ADDRESS, NULL, text(a, &w->address[i]));
    compare_gateway(a, w, h, 4, differs, arg);
    compare_gateway(a, w, h, 6, differs, arg);
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    (void)from;
    if (!w || !have || have->ours)
        return NULL;
    *hint = "rename that link, or the container: not even --adopt would take it, since it would "
            "have to be deleted";
    if (have->port.taken)
        return have->port.taken;
    return have->port.whole
               ? NULL
               : spec_arena_printf(
                     a, "link '%s' or eth0 in the namespace exists, and berth did not make it",
                     have->port.link);
}

/* A pair of the host's link and this container's eth0 can be taken over; half of something else
 * would have to be deleted. */
static bool never(const struct rec_item *w, const struct rec_item *have)
{
    (void)w;
    return !have->ours && (have->port.taken || !have->port.whole);
}

const struct rec_kind rec_kind_port = {
    .name = "port",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .want = want,
    .read = read_none,
    .compare = compare,
    .conflict = conflict,
    .never = never,
    .marks = true,
    .apply = rec_links_apply,
    .remove = rec_links_remove,
};
