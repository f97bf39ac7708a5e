/* A subnet with a typo can cover the LAN, and then the host does not find its gateway, or the
 * operator, any more. */
#include "reconcile/overlap.h"
#include "reconcile/claims.h"
#include "reconcile/connection.h"
#include "reconcile/kinds.h"
#include "reconcile/listeners.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct reader {
    struct spec_arena *arena;
    struct rec_routes *out;
    size_t room;
};

static int take_route(void *arg, const struct net_route *r)
{
    struct reader *k = arg;
    struct rec_routes *o = k->out;
    if (!net_route_leaves(r))
        return 0;
    if (o->n == k->room) {
        size_t more = k->room ? k->room * 2 : 32;
        struct net_route *list =
            spec_arena_grow(k->arena, o->list, k->room * sizeof *list, more * sizeof *list);
        if (!list)
            return -ENOMEM;
        o->list = list;
        k->room = more;
    }
    o->list[o->n++] = *r;
    return 0;
}

static void forget_routes(void *arg)
{
    struct reader *k = arg;
    k->out->n = 0;
}

int rec_routes_read(struct rec_run *run, struct rec_routes *out, struct rec_error *err)
{
    struct reader k = {.arena = run->arena, .out = out};
    struct net_batch *b;
    struct net_error e;
    *out = (struct rec_routes){0};
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    return net_route_dump(net_batch_port(b), take_route, forget_routes, &k, &e)
               ? rec_fail_net(err, &e)
               : 0;
}

static struct spec_addr destination(const struct net_route *r)
{
    struct spec_addr a = {
        .family = r->family == AF_INET6 ? 6 : 4, .prefix = r->prefix, .has_prefix = true};
    memcpy(a.bytes, r->dst, a.family == 6 ? 16 : 4);
    return a;
}

static struct spec_addr gateway(const struct net_route *r)
{
    struct spec_addr a = {.family = r->family == AF_INET6 ? 6 : 4};
    memcpy(a.bytes, r->gateway, a.family == 6 ? 16 : 4);
    return a;
}

const struct net_route *rec_route_to(const struct rec_routes *r, const struct spec_addr *a,
                                     int without)
{
    const struct net_route *best = NULL;
    for (size_t i = 0; i < r->n; i++) {
        const struct net_route *one = &r->list[i];
        struct spec_addr to = destination(one);
        if (to.family != a->family || !spec_addr_in(a, &to) || (without && one->oif == without))
            continue;
        if (!best || one->prefix > best->prefix ||
            (one->prefix == best->prefix && one->metric < best->metric))
            best = one;
    }
    return best;
}

/* One new address of a bridge, and what is known beside it. */
struct look {
    struct rec_run *run;
    struct rec_plan *plan;
    const struct rec_routes *routes;
    const struct rec_step *step;
    const char *bridge;
    struct spec_addr addr; /* with its prefix */
    char text[SPEC_ADDR_TEXT];
    int index;      /* of the bridge; 0: there is none yet */
    bool forbidden; /* what would be a warning is forbidden */
};

/* The route leads by the bridge itself or by one of its ports: the new subnet belongs there. A
 * connected route of another bridge of ours was checked with the spec, or goes in the same plan. */
static bool is_own_way(const struct look *k, const struct net_route *r)
{
    const struct net_link *l = rec_link_indexed(k->run->links, r->oif);
    if (k->index && (r->oif == k->index || (l && l->master == k->index)))
        return true;
    return l && rec_group_ours(l->group) && !r->has_gateway;
}

/* Would packets to `a` take the new connected route, or end at the new address. `*now`: the
 * route that they take today. */
static bool takes_over(const struct look *k, const struct spec_addr *a,
                       const struct net_route **now)
{
    if (a->family != k->addr.family || !spec_addr_in(a, &k->addr))
        return false;
    *now = rec_route_to(k->routes, a, 0);
    if (!*now || is_own_way(k, *now))
        return false;
    return spec_addr_equal(a, &k->addr) || k->addr.prefix >= (*now)->prefix;
}

static const char *link_of(const struct look *k, const struct net_route *r)
{
    const struct net_link *l = rec_link_indexed(k->run->links, r->oif);
    return l ? l->name : "another link";
}

static int warn(const struct look *k, const char *text)
{
    if (k->forbidden)
        return rec_plan_forbid(k->run, k->plan, REC_FIND_SUBNET_IN_USE, k->step->at, text, NULL);
    const char *object = spec_arena_printf(k->run->arena, "bridge %s", k->bridge);
    return object && text
               ? rec_plan_warn(k->run, k->plan, object,
                               "choose another subnet for the bridge, if that is not what you want",
                               text)
               : -ENOMEM;
}

/* Refused, or told where that is allowed. The first refusal is kept. A policy forbids it beside. */
static int cut(const struct look *k, const char *text)
{
    if (!text)
        return -ENOMEM;
    if (k->forbidden || k->run->opt.own_connection) {
        int r = warn(k, text);
        if (r || k->run->opt.own_connection)
            return r;
    }
    if (k->plan->cuts)
        return 0;
    struct rec_error *e = spec_arena_alloc(k->run->arena, sizeof *e);
    if (!e)
        return -ENOMEM;
    rec_fail(e, EPERM, "%s", text);
    rec_hint(
        e,
        "choose another subnet for the bridge; if there is another way in: --allow-own-connection");
    e->at = k->step->at;
    k->plan->cuts = e;
    return 0;
}

/* "address 10.8.0.1/24 of bridge b0 covers gateway 10.8.0.254", or is that gateway itself. */
static const char *covers(const struct look *k, const char *what, const struct spec_addr *a)
{
    char to[SPEC_ADDR_TEXT];
    const char *verb = spec_addr_equal(a, &k->addr) ? "is" : "covers";
    return spec_arena_printf(k->run->arena, "address %s of bridge %s %s %s %s", k->text, k->bridge,
                             verb, what, spec_addr_format(a, false, to));
}

static int check_client(const struct look *k, const struct rec_connection *c)
{
    const struct net_route *now;
    if (!takes_over(k, &c->client, &now))
        return 0;
    return cut(
        k, spec_arena_printf(k->run->arena,
                             "%s, which you are connected from by %s: your connection would end",
                             covers(k, "client", &c->client), link_of(k, now)));
}

static bool is_taken_over(void *arg, const struct spec_addr *client)
{
    const struct net_route *now;
    return takes_over(arg, client, &now);
}

/* Without a route to the new address itself, nothing that is reached today can be taken over. */
static bool can_take_over(const struct look *k)
{
    for (size_t i = 0; i < k->routes->n; i++) {
        const struct net_route *one = &k->routes->list[i];
        struct spec_addr to = destination(one);
        if (to.family == k->addr.family && spec_addr_in(&k->addr, &to) && !is_own_way(k, one))
            return true;
    }
    return false;
}

/* Where the environment names no client: a timer, a hook. */
static int check_sshd(struct look *k, struct rec_error *err)
{
    struct spec_addr *clients;
    size_t n;
    if (!can_take_over(k))
        return 0;
    int r = rec_sshd_clients(k->run, is_taken_over, k, &clients, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        const struct net_route *now;
        if (takes_over(k, &clients[i], &now) &&
            cut(k, spec_arena_printf(
                       k->run->arena,
                       "%s, which sshd has a connection with by %s: that connection would end",
                       covers(k, "client", &clients[i]), link_of(k, now))))
            r = rec_fail(err, ENOMEM, "out of memory");
    }
    return r;
}

static int check_gateways(const struct look *k)
{
    int r = 0;
    for (size_t i = 0; !r && i < k->routes->n; i++) {
        const struct net_route *one = &k->routes->list[i], *now;
        struct spec_addr gw = gateway(one), to = destination(one);
        char text[SPEC_ADDR_TEXT];
        if (!one->has_gateway || !takes_over(k, &gw, &now))
            continue;
        if (one->prefix)
            r = warn(
                k, spec_arena_printf(k->run->arena,
                                     "%s of the route to %s by %s: that route would no longer work",
                                     covers(k, "gateway", &gw), spec_addr_format(&to, true, text),
                                     link_of(k, one)));
        else
            r = cut(k, spec_arena_printf(
                           k->run->arena,
                           "%s of the default route by %s: this host would lose its way out",
                           covers(k, "gateway", &gw), link_of(k, one)));
    }
    return r;
}

/* Routes to subnets. The kernel's own name the links that are in the same subnet. */
static int check_routes(const struct look *k)
{
    struct spec_addr net;
    int r = 0;
    spec_addr_network(&k->addr, &net);
    for (size_t i = 0; !r && i < k->routes->n; i++) {
        const struct net_route *one = &k->routes->list[i];
        struct spec_addr to = destination(one);
        char text[SPEC_ADDR_TEXT];
        if (to.family != k->addr.family || !one->prefix || is_own_way(k, one))
            continue;
        if (to.family == 6 && to.bytes[0] == 0xfe && (to.bytes[1] & 0xc0) == 0x80)
            continue; /* link-local: each link has that subnet */
        bool equal = spec_addr_equal(&net, &to) && net.prefix == to.prefix;
        bool inside = spec_addr_in(&net, &to) && net.prefix > to.prefix;
        bool around = spec_addr_in(&to, &net) && net.prefix < to.prefix;
        spec_addr_format(&to, true, text);
        if (equal && !one->has_gateway)
            r = cut(k, spec_arena_printf(
                           k->run->arena,
                           "address %s of bridge %s is in subnet %s, which link %s has already",
                           k->text, k->bridge, text, link_of(k, one)));
        else if (equal)
            r = warn(k,
                     spec_arena_printf(k->run->arena, "address %s takes over the route to %s by %s",
                                       k->text, text, link_of(k, one)));
        else if (inside)
            r = warn(k, spec_arena_printf(k->run->arena,
                                          "address %s takes over a part of the route to %s by %s",
                                          k->text, text, link_of(k, one)));
        else if (around)
            r = warn(k, spec_arena_printf(k->run->arena,
                                          "the subnet of address %s contains the route to %s by "
                                          "%s: containers with such addresses "
                                          "cannot be reached",
                                          k->text, text, link_of(k, one)));
    }
    return r;
}

static bool is_container(const struct rec_run *run, const struct spec_addr *a)
{
    for (size_t i = 0; run->host && i < run->host->n_containers; i++)
        if (spec_addr_equal(&run->host->containers[i].address[a->family == 6].addr, a))
            return true;
    return false;
}

/* `own`: this host asks the nameserver itself. */
static int check_nameserver(const struct look *k, const struct spec_addr *a, bool own)
{
    const struct net_route *now;
    if (!takes_over(k, a, &now) || is_container(k->run, a))
        return 0;
    /* The spec may give containers a resolver on the bridge itself. Then no link had that
     * address before. */
    if (!own && spec_addr_equal(a, &k->addr) && !now->prefix)
        return 0;
    return warn(k, spec_arena_printf(k->run->arena,
                                     "%s, which is reached by %s: it would no longer answer",
                                     covers(k, "nameserver", a), link_of(k, now)));
}

/* The host's own nameservers, and those that the spec gives to containers. */
static int check_nameservers(const struct look *k, const struct spec_addr *host, size_t n_host)
{
    const struct spec_host *h = k->run->host;
    int r = 0;
    for (size_t i = 0; !r && i < n_host; i++)
        r = check_nameserver(k, &host[i], true);
    for (size_t i = 0; !r && h && h->nameservers_given && i < h->n_nameservers; i++) {
        bool known = false;
        for (size_t j = 0; j < n_host; j++)
            known |= spec_addr_equal(&host[j], &h->nameservers[i].addr);
        if (!known)
            r = check_nameserver(k, &h->nameservers[i].addr, false);
    }
    return r;
}

static const struct rec_item *new_address(const struct rec_step *s)
{
    bool comes = s->action == REC_CREATE || s->action == REC_REPLACE || s->action == REC_CHANGE;
    return s->kind == REC_ADDRESS && comes && s->to && !s->implied ? s->to : NULL;
}

/* A subnet that the last apply set is not new, though its address is. */
static int may_forbid(const struct look *k, bool *out)
{
    struct rec_claims claims;
    *out = k->run->opt.forbid & REC_FORBID(REC_FIND_SUBNET_IN_USE);
    if (!*out)
        return 0;
    int r = rec_claims_read(k->run, &claims);
    *out = !r && !rec_claims_subnet(&claims, k->bridge, &k->addr);
    return r;
}

int rec_overlap_find(struct rec_run *run, struct rec_plan *p, struct rec_error *err)
{
    struct rec_routes routes;
    struct rec_connection c;
    size_t first = 0, n_host = 0;
    struct spec_addr *host = NULL;
    while (first < p->n && !new_address(p->steps[first]))
        first++;
    if (first == p->n || run->opt.offline || !run->links)
        return 0;
    int r = rec_links_whole(run, err);
    if (!r)
        r = rec_routes_read(run, &routes, err);
    if (r)
        return r;
    /* Nameservers only cause warnings: a resolv.conf that cannot be read does not stop a spec
     * that does not need it. */
    if (rec_nameservers_read(run, &host, &n_host, NULL) == -ENOMEM)
        return rec_fail(err, ENOMEM, "out of memory");
    bool connected = rec_connection_find(run, &c);
    for (size_t i = first; !r && i < p->n; i++) {
        const struct rec_item *to = new_address(p->steps[i]);
        if (!to)
            continue;
        struct look k = {.run = run,
                         .plan = p,
                         .routes = &routes,
                         .step = p->steps[i],
                         .bridge = to->address.link,
                         .addr = to->address.text};
        const struct net_link *bridge = rec_link_named(run->links, k.bridge);
        k.index = bridge ? bridge->index : 0;
        k.addr.prefix = (uint8_t)to->address.prefix;
        spec_addr_format(&k.addr, true, k.text);
        r = may_forbid(&k, &k.forbidden);
        if (!r && connected)
            r = check_client(&k, &c);
        if (!r)
            r = check_gateways(&k);
        if (!r)
            r = check_routes(&k);
        if (!r)
            r = check_nameservers(&k, host, n_host);
        if (r)
            return rec_fail(err, ENOMEM, "out of memory");
        if (!connected && run->facts.root)
            r = check_sshd(&k, err);
    }
    return r;
}
