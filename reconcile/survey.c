/* A network is taken if any route or address overlaps it, or if the host talks to an address in it:
 * a nameserver, the operator. */
#include "reconcile/survey.h"
#include "netops/route.h"
#include "reconcile/connection.h"
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

struct taken {
    struct spec_arena *arena;
    struct spec_addr *list; /* IPv4 networks */
    size_t n, room;
    bool oom;
};

static int take(struct taken *t, const uint8_t *bytes, uint8_t prefix)
{
    if (t->n == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        struct spec_addr *list =
            spec_arena_grow(t->arena, t->list, t->room * sizeof *list, room * sizeof *list);
        if (!list) {
            t->oom = true;
            return -ENOMEM;
        }
        t->list = list;
        t->room = room;
    }
    struct spec_addr a = {.family = 4, .prefix = prefix, .has_prefix = true};
    memcpy(a.bytes, bytes, 4);
    t->list[t->n++] = a;
    return 0;
}

/* A default route covers everything, and takes nothing. 0.0.0.0/1 and 128.0.0.0/1 are one in two
 * halves (OpenVPN). */
static int take_route(void *arg, const struct net_route *r)
{
    bool counts = r->family == AF_INET && r->prefix > 1 && r->type != RTN_BROADCAST &&
                  r->type != RTN_MULTICAST;
    return counts ? take(arg, r->dst, r->prefix) : 0;
}

static int take_address(void *arg, const struct net_address *a)
{
    return a->family == AF_INET ? take(arg, a->bytes, a->prefix) : 0;
}

static void forget(void *arg)
{
    ((struct taken *)arg)->n = 0;
}

static bool overlaps(const struct spec_addr *a, const struct spec_addr *b)
{
    return spec_addr_in(a, b) || spec_addr_in(b, a);
}

static bool is_taken(const struct taken *t, const struct spec_addr *net)
{
    for (size_t i = 0; i < t->n; i++)
        if (overlaps(&t->list[i], net))
            return true;
    return false;
}

/* RFC 1918, /24 by /24. Not from the beginning: that is where home routers and other tools take
 * theirs. */
static bool find_free(const struct taken *t, struct spec_addr *out)
{
    static const struct {
        uint8_t a, b0, b1, c0, c1;
    } ranges[] = {{10, 100, 255, 0, 0},   {172, 24, 31, 0, 0},   {192, 168, 168, 100, 254},
                  {10, 100, 255, 1, 255}, {172, 16, 31, 0, 255}, {10, 0, 99, 0, 255},
                  {192, 168, 168, 0, 255}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        for (unsigned b = ranges[i].b0; b <= ranges[i].b1; b++)
            for (unsigned c = ranges[i].c0; c <= ranges[i].c1; c++) {
                struct spec_addr net = {.family = 4,
                                        .prefix = 24,
                                        .has_prefix = true,
                                        .bytes = {ranges[i].a, (uint8_t)b, (uint8_t)c}};
                if (is_taken(t, &net))
                    continue;
                *out = net;
                out->bytes[3] = 1;
                return true;
            }
    return false;
}

static int read_networks(struct rec_run *run, struct net_port *p, struct taken *t,
                         struct rec_error *err)
{
    struct taken routes = {.arena = run->arena};
    struct net_error e;
    int r = net_route_dump_tables(p, take_route, forget, &routes, &e);
    if (!r)
        r = net_address_dump(p, take_address, forget, t, &e);
    if (t->oom || routes.oom)
        return rec_fail(err, ENOMEM, "out of memory");
    if (r)
        return rec_fail_net(err, &e);
    for (size_t i = 0; i < routes.n; i++)
        if (take(t, routes.list[i].bytes, routes.list[i].prefix))
            return rec_fail(err, ENOMEM, "out of memory");
    return 0;
}

static int take_peers(struct rec_run *run, struct taken *t, struct rec_error *err)
{
    struct rec_connection operator;
    int r = 0;
    for (size_t i = 0; !r && i < run->facts.n_nameservers; i++)
        if (run->facts.nameservers[i].family == 4)
            r = take(t, run->facts.nameservers[i].bytes, 32);
    if (!r && rec_connection_find(run, &operator) && operator.client.family == 4)
        r = take(t, operator.client.bytes, 32);
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

static int free_name(struct rec_run *run, struct net_port *p, struct rec_survey *out,
                     struct rec_error *err)
{
    for (unsigned i = 0; i < 100; i++) {
        char *name = i ? spec_arena_printf(run->arena, "br-berth%u", i)
                       : spec_arena_strdup(run->arena, "br-containers");
        struct net_link l;
        struct net_error e;
        if (!name)
            return rec_fail(err, ENOMEM, "out of memory");
        int r = net_link_get(p, name, 0, &l, &e);
        if (r == -ENODEV) {
            out->bridge_name = name;
            return 0;
        }
        if (r)
            return rec_fail_net(err, &e);
        out->used |= rec_group_ours(l.group);
    }
    return rec_fail(
        err, EEXIST,
        "cannot find a name for a bridge: links br-containers and br-berth1 to br-berth99 exist");
}

int rec_survey(struct rec_run *run, struct rec_survey *out, struct rec_error *err)
{
    /* The facts that a host with NAT asks for. */
    struct spec_bridge bridge = {.nat = {.given = true, .uplink = SPEC_UPLINK_AUTO}};
    struct spec_host host = {.name = "", .bridges = &bridge, .n_bridges = 1, .names = true};
    struct spec_container any = {.name = ""};
    struct rec_survey s = {.facts = &run->facts};
    struct taken t = {.arena = run->arena};
    struct net_batch *b;
    run->host = &host;
    int r = rec_facts_read(run, err);
    run->host = NULL;
    if (!r)
        r = rec_net(run, &b, err);
    if (!r)
        r = read_networks(run, net_batch_port(b), &t, err);
    if (!r)
        r = take_peers(run, &t, err);
    if (!r)
        r = free_name(run, net_batch_port(b), &s, err);
    if (r)
        return r;
    if (!find_free(&t, &s.bridge)) {
        rec_fail(err, EADDRNOTAVAIL,
                 "cannot find a free private network: routes and addresses of this host cover all "
                 "of RFC 1918");
        rec_hint(err,
                 "`ip route show table all` lists them; take a network of yours: man berth.yaml");
        return -EADDRNOTAVAIL;
    }
    s.nixos = run->facts.nixos;
    s.runtime = rec_runtime(SPEC_RT_NSPAWN)->refuse(run, &any) ? SPEC_RT_NETNS : SPEC_RT_NSPAWN;
    *out = s;
    return 0;
}
