/* NAT, port maps, isolation and the checks of what containers send: one resource, since our two
 * tables change in one transaction or not at all. Names and addresses of
 * containers stand in sets and maps; the rules do not grow with them. */
#include "netops/conntrack.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct rec_field fields[] = {{"ruleset", REC_T_CUSTOM, 0, REC_LIVE}};

bool rec_bridge_filtered(const struct spec_host *h, const struct spec_bridge *b)
{
    return b->nat.given || rec_bridge_has_ports(h, b) || rec_bridge_has_isolated(h, b);
}

static void uplink(struct rec_run *run, const struct spec_bridge *b, int family, char out[IFNAMSIZ])
{
    const char *auto_link = family == 6 ? run->facts.uplink6 : run->facts.uplink4;
    out[0] = 0;
    switch (b->nat.uplink) {
    case SPEC_UPLINK_LINK:
        snprintf(out, IFNAMSIZ, "%s", b->nat.interface);
        break;
    case SPEC_UPLINK_AUTO:
        snprintf(out, IFNAMSIZ, "%s", auto_link);
        break;
    case SPEC_UPLINK_NONE:
        break;
    }
}

static int want_bridge(struct rec_run *run, const struct spec_bridge *b, struct spec_arena *a,
                       struct net_nft_bridge *o)
{
    struct net_nft_net *net = spec_arena_alloc(a, (b->n_addresses + 1) * sizeof *net);
    if (!net)
        return -ENOMEM;
    snprintf(o->name, sizeof o->name, "%s", b->name);
    o->net = net;
    o->n_net = b->n_addresses;
    for (size_t i = 0; i < b->n_addresses; i++) {
        struct spec_addr n;
        spec_addr_network(&b->addresses[i].addr, &n);
        net[i].family = n.family == 6 ? AF_INET6 : AF_INET;
        net[i].prefix = n.prefix;
        memcpy(net[i].bytes, n.bytes, sizeof net[i].bytes);
    }
    if (rec_bridge_has(b, 4))
        uplink(run, b, 4, o->uplink4);
    if (rec_bridge_has(b, 6))
        uplink(run, b, 6, o->uplink6);
    o->open = b->nat.open || (run->facts.shared && run->facts.shared[b - run->host->bridges]);
    return 0;
}

static size_t want_maps(const struct spec_container *c, uint32_t tag, struct net_nft_map *out)
{
    size_t n = 0;
    for (size_t p = 0; p < c->n_ports; p++) {
        const struct spec_port *port = &c->ports[p];
        for (int f = 0; f < 2; f++) {
            int family = f ? 6 : 4;
            if (!c->address[f].addr.family ||
                (port->address.family && port->address.family != family))
                continue;
            for (uint32_t k = 0; k < port->count; k++, n++) {
                if (!out)
                    continue;
                struct net_nft_map *m = &out[n];
                *m = (struct net_nft_map){.family = f ? AF_INET6 : AF_INET,
                                          .proto = (uint8_t)port->proto,
                                          .any = spec_port_any(port),
                                          .port = (uint16_t)(port->host + k),
                                          .to_port = (uint16_t)(port->container + k),
                                          .tag = tag};
                memcpy(m->host, port->address.bytes, sizeof m->host);
                memcpy(m->to, c->address[f].addr.bytes, sizeof m->to);
            }
        }
    }
    return n;
}

/* A container that forwards for others: the spec says so, or it is the gateway of another one. */
static void mark_gateways(const struct spec_host *h, bool *router)
{
    const struct spec_addr *known = NULL;

    for (size_t i = 0; i < h->n_containers; i++)
        router[i] = h->containers[i].router;
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_gateway *g = &h->containers[i].gateway;
        if (g->mode != SPEC_GW_GIVEN || (known && known->family == g->addr.family &&
                                         !memcmp(known->bytes, g->addr.bytes, sizeof known->bytes)))
            continue;
        known = &g->addr;
        for (size_t k = 0; k < h->n_containers; k++) {
            const struct spec_addr *a = &h->containers[k].address[known->family == 6].addr;
            if (a->family == known->family &&
                !memcmp(a->bytes, known->bytes, known->family == 6 ? 16 : 4))
                router[k] = true;
        }
    }
}

/* What the container's port may send. berth makes the ports of netns and nspawn, so it knows their
 * MAC and addresses. A nixos container makes its port by itself, and its system may add addresses:
 * it may use all that nobody else has. So may a router. An isolated container may use its
 * addresses in the spec alone: another address would lead around the isolation. */
static void want_source(struct rec_run *run, const struct spec_container *c,
                        struct rec_mac_seed seed, bool router, struct net_nft_source *o)
{
    bool ours = rec_runtime_of(run, c) != SPEC_RT_NIXOS, free_to_add = !ours || router;

    *o = (struct net_nft_source){.guest = !ours, .router = router && !c->isolated};
    spec_link_name(c->name, o->port);
    if (ours) {
        rec_container_mac(seed, c, o->mac);
        o->has_mac = true;
    }
    o->any_mac = !ours || o->router;
    o->has4 = c->address[0].addr.family;
    o->has6 = c->address[1].addr.family;
    memcpy(o->addr4, c->address[0].addr.bytes, sizeof o->addr4);
    memcpy(o->addr6, c->address[1].addr.bytes, sizeof o->addr6);
    o->any4 = !c->isolated && free_to_add;
}

/* Of each container, and of the bridges' own addresses: nobody but the host may use those. */
static int want_sources(struct rec_run *run, const struct spec_host *h, struct spec_arena *a,
                        struct net_nft *nft)
{
    size_t n = h->n_containers, k = 0;
    for (size_t i = 0; i < h->n_bridges; i++)
        n += h->bridges[i].n_addresses;
    struct net_nft_source *list = spec_arena_alloc(a, n * sizeof *list);
    bool *router = spec_arena_alloc(a, (h->n_containers + 1) * sizeof *router);
    if (!list || !router)
        return -ENOMEM;
    struct rec_mac_seed seed = rec_mac_seed(h->name, "container");
    mark_gateways(h, router);
    for (size_t i = 0; i < h->n_containers; i++, k++) {
        want_source(run, &h->containers[i], seed, router[i], &list[k]);
        list[k].tag = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < h->n_bridges; i++)
        for (size_t x = 0; x < h->bridges[i].n_addresses; x++, k++) {
            const struct spec_addr *own = &h->bridges[i].addresses[x].addr;
            list[k] = (struct net_nft_source){.has4 = own->family == 4, .has6 = own->family == 6};
            memcpy(own->family == 6 ? list[k].addr6 : list[k].addr4, own->bytes,
                   own->family == 6 ? 16 : 4);
        }
    nft->sources = list;
    nft->n_sources = n;
    return 0;
}

/* What `nat` cannot do here as it is written. */
static int warn_of_uplink(struct rec_run *run, const struct spec_host *h, size_t i,
                          struct rec_state *out)
{
    const struct rec_facts *f = &run->facts;
    const struct spec_bridge *b = &h->bridges[i];
    const char *object = spec_arena_printf(out->arena, "nat of bridge %s", b->name);
    int r = object ? 0 : -ENOMEM;
    if (!r && b->nat.uplink == SPEC_UPLINK_LINK && f->no_uplink && f->no_uplink[i])
        r = rec_state_warn(
            out, object,
            "links of this host: ip -br link; `interface: auto` follows the default route",
            "link '%s' %s: nothing is masqueraded", b->nat.interface, f->no_uplink[i]);
    for (int v6 = 0; !r && v6 < 2 && b->nat.uplink == SPEC_UPLINK_AUTO; v6++) {
        const char *other = v6 ? f->other6 : f->other4, *link = v6 ? f->uplink6 : f->uplink4;
        bool policy = v6 ? f->policy6 : f->policy4;
        if (!other || !rec_bridge_has(b, v6 ? 6 : 4))
            continue;
        r = rec_state_warn(out, object, "name the link: nat: {interface: LINK}",
                           "`auto` is link '%s', but %s leads IPv%c out by link '%s', too: that is "
                           "not masqueraded",
                           link, policy ? "a policy rule" : "the default route", v6 ? '6' : '4',
                           other);
    }
    return r;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    size_t n_bridges = 0, n_maps = 0, n_alone = 0;
    const struct spec_bridge *first = NULL;
    for (size_t i = 0; i < h->n_bridges; i++)
        if (rec_bridge_filtered(h, &h->bridges[i])) {
            first = first ? first : &h->bridges[i];
            n_bridges++;
        }
    if (!n_bridges && !h->n_containers)
        return 0;
    for (size_t i = 0; i < h->n_bridges; i++)
        if (warn_of_uplink(run, h, i, out))
            return rec_fail(err, ENOMEM, "out of memory");
    first = first ? first : &h->bridges[h->containers[0].bridge];
    for (size_t i = 0; i < h->n_containers; i++) {
        n_maps += h->containers[i].n_ports ? want_maps(&h->containers[i], 0, NULL) : 0;
        n_alone += h->containers[i].isolated;
    }
    struct net_nft *nft = spec_arena_alloc(a, sizeof *nft);
    struct net_nft_bridge *bridges = spec_arena_alloc(a, n_bridges * sizeof *bridges);
    struct net_nft_map *maps = spec_arena_alloc(a, n_maps * sizeof *maps);
    struct net_nft_alone *alone = spec_arena_alloc(a, n_alone * sizeof *alone);
    struct rec_item *it = rec_state_add(out, REC_NAT, "berth");
    if (!nft || !bridges || !maps || !alone || !it)
        return rec_fail(err, ENOMEM, "out of memory");
    *nft = (struct net_nft){.bridges = bridges,
                            .n_bridges = n_bridges,
                            .maps = maps,
                            .n_maps = n_maps,
                            .alone = alone,
                            .n_alone = n_alone};
    nft->group = REC_GROUP;
    if (h->n_containers && want_sources(run, h, a, nft))
        return rec_fail(err, ENOMEM, "out of memory");
    size_t b = 0, m = 0, k = 0;
    for (size_t i = 0; i < h->n_bridges; i++)
        if (rec_bridge_filtered(h, &h->bridges[i])) {
            if (want_bridge(run, &h->bridges[i], a, &bridges[b++]))
                return rec_fail(err, ENOMEM, "out of memory");
            if (h->bridges[i].nat.uplink == SPEC_UPLINK_AUTO && !run->facts.uplink4[0] &&
                !run->facts.uplink6[0])
                rec_state_note(
                    out, h->bridges[i].name,
                    "nat.interface is auto and this host has no default route: nothing is "
                    "masqueraded until there is one");
        }
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (c->n_ports)
            m += want_maps(c, (uint32_t)i + 1, maps + m);
        if (!c->isolated)
            continue;
        struct net_nft_alone *x = &alone[k++];
        spec_link_name(c->name, x->port);
        x->has4 = c->address[0].addr.family;
        x->has6 = c->address[1].addr.family;
        memcpy(x->addr4, c->address[0].addr.bytes, sizeof x->addr4);
        memcpy(x->addr6, c->address[1].addr.bytes, sizeof x->addr6);
        x->tag = (uint32_t)i + 1;
    }
    it->nat.want = nft;
    it->stated = 1;
    it->at = first->nat.given ? first->nat.at : first->at;
    return 0;
}

/* Becomes the latest reading. */
static void keep(struct rec_run *run, struct net_nft_have *have)
{
    size_t room = sizeof run->nft_have / sizeof *run->nft_have;
    if (run->n_nft_have == room) { /* states older than that are no longer looked at */
        net_nft_have_free(run->nft_have[0]);
        memmove(run->nft_have, run->nft_have + 1, (room - 1) * sizeof *run->nft_have);
        run->n_nft_have--;
    }
    run->nft_have[run->n_nft_have++] = have;
    run->nft_equal = NULL;
}

static struct net_nft_have *latest(const struct rec_run *run)
{
    return run->n_nft_have ? run->nft_have[run->n_nft_have - 1] : NULL;
}

/* Nobody has written since the latest reading, and it can be believed: each commit is a
 * generation. */
static int still_holds(struct rec_run *run, struct net_port *nft, const struct net_nft *want,
                       bool *out, struct net_error *e)
{
    const struct net_nft_have *have = latest(run);
    uint32_t now;
    *out = false;
    if (!have || !(net_nft_certain(have) || (want && run->nft_equal == want)))
        return 0;
    int r = net_nft_read_generation(nft, &now, e);
    *out = !r && now == net_nft_generation(have);
    return r;
}

static int read_anew(struct rec_run *run, struct net_port *nft, const struct net_nft *want,
                     struct net_error *e)
{
    struct net_nft_have *have;
    int r = net_nft_read(nft, &have, e);
    if (r)
        return r;
    /* A dump can mix two generations without a sign of it: a difference is believed when it is
     * read twice. */
    bool equal = want && !net_nft_absent(have) && !net_nft_compare(want, have, NULL, NULL);
    if (!equal && !net_nft_certain(have) && (r = net_nft_confirm(nft, &have, e))) {
        net_nft_have_free(have);
        return r;
    }
    keep(run, have);
    run->nft_equal = equal ? want : NULL;
    return 0;
}

static int read_nat(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                    struct rec_error *err)
{
    struct net_port *nft;
    struct net_error e;
    const struct rec_item *w = rec_state_find(wanted, REC_NAT, "berth");
    const struct net_nft *want = w ? w->nat.want : NULL;
    bool still;
    int r = rec_nft(run, &nft, err);
    if (r)
        return r;
    if (still_holds(run, nft, want, &still, &e) || (!still && read_anew(run, nft, want, &e)))
        return rec_fail_net(err, &e);
    /* Once: what a run reads after its steps is for itself. */
    if (!run->foreign_told && (r = rec_foreign_filters_warn(run, nft, out, err)))
        return r;
    run->foreign_told = true;
    if (net_nft_absent(latest(run)))
        return 0;
    struct rec_item *it = rec_state_add(out, REC_NAT, "berth");
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->nat.have = latest(run);
    it->nat.equal = run->nft_equal;
    it->stated = 1;
    return 0;
}

struct told {
    struct spec_arena *a;
    rec_differs_fn differs;
    void *arg;
    size_t n;
};

static void tell(void *arg, const char *line)
{
    struct told *t = arg;
    if (t->n++ < 8)
        t->differs(t->arg, 0, spec_arena_strdup(t->a, line), NULL);
}

/* What undo goes back to: the model that the tables held, where they were ours in shape. */
static const struct net_nft *model_of(const struct rec_item *i, struct net_nft_model *m)
{
    if (i->nat.want)
        return i->nat.want;
    return net_nft_model(i->nat.have, m) ? &m->nft : NULL;
}

/* ---- two wishes, where no kernel was read: a spec at two revisions
 * ------------------------------------------------ */
static const char *map_text(struct spec_arena *a, const struct net_nft_map *m)
{
    struct spec_addr to = {.family = m->family == AF_INET6 ? 6 : 4};
    char text[SPEC_ADDR_TEXT];
    memcpy(to.bytes, m->to, sizeof to.bytes);
    return spec_arena_printf(
        a, to.family == 6 ? "port map %s %u to [%s]:%u" : "port map %s %u to %s:%u",
        m->proto == SPEC_UDP ? "udp" : "tcp", m->port, spec_addr_format(&to, false, text),
        m->to_port);
}

static bool has_map(const struct net_nft *n, const struct net_nft_map *m)
{
    for (size_t i = 0; i < n->n_maps; i++) {
        const struct net_nft_map *x = &n->maps[i];
        if (x->family == m->family && x->proto == m->proto && x->any == m->any &&
            x->port == m->port && x->to_port == m->to_port &&
            !memcmp(x->host, m->host, sizeof x->host) && !memcmp(x->to, m->to, sizeof x->to))
            return true;
    }
    return false;
}

static const struct net_nft_bridge *bridge_of(const struct net_nft *n, const char *name)
{
    for (size_t i = 0; i < n->n_bridges; i++)
        if (!strcmp(n->bridges[i].name, name))
            return &n->bridges[i];
    return NULL;
}

static bool has_alone(const struct net_nft *n, const struct net_nft_alone *x)
{
    for (size_t i = 0; i < n->n_alone; i++)
        if (!strcmp(n->alone[i].port, x->port) && !memcmp(n->alone[i].addr4, x->addr4, 4) &&
            !memcmp(n->alone[i].addr6, x->addr6, 16))
            return true;
    return false;
}

/* Both lists follow the containers' names, so the search begins where the last one ended. */
static bool has_source(const struct net_nft *n, const struct net_nft_source *x, size_t *from)
{
    for (size_t i = 0; i < n->n_sources; i++) {
        size_t k = (*from + i) % n->n_sources;
        const struct net_nft_source *o = &n->sources[k];
        if (strcmp(o->port, x->port) || memcmp(o->addr4, x->addr4, 4) ||
            memcmp(o->addr6, x->addr6, 16))
            continue;
        *from = k + 1;
        return !memcmp(o->mac, x->mac, 6) && o->guest == x->guest && o->router == x->router &&
               o->any_mac == x->any_mac && o->any4 == x->any4;
    }
    return false;
}

static bool is_router(const struct net_nft *n, const char *port)
{
    for (size_t i = 0; n && i < n->n_sources; i++)
        if (n->sources[i].router && !strcmp(n->sources[i].port, port))
            return true;
    return false;
}

const char *rec_step_router(const struct rec_step *s, size_t i)
{
    const struct net_nft *to = s->kind == REC_NAT && s->to ? s->to->nat.want : NULL;
    const struct net_nft *from = s->from ? s->from->nat.want : NULL;
    const char *last = "";
    for (size_t k = 0; to && k < to->n_sources; k++) {
        const struct net_nft_source *o = &to->sources[k];
        if (!o->router || !strcmp(o->port, last) || is_router(from, o->port))
            continue;
        last = o->port;
        if (!i--)
            return last;
    }
    return NULL;
}

/* What `x` has and `y` lacks. */
static void tell_lacking(struct told *t, const struct net_nft *x, const struct net_nft *y,
                         const char *what)
{
    for (size_t i = 0; i < x->n_bridges; i++) {
        const struct net_nft_bridge *b = &x->bridges[i], *o = bridge_of(y, b->name);
        if (!o || b->n_net != o->n_net || memcmp(b->net, o->net, b->n_net * sizeof *b->net) ||
            strcmp(b->uplink4, o->uplink4) || strcmp(b->uplink6, o->uplink6) || b->open != o->open)
            tell(t, spec_arena_printf(t->a, "bridge %s by way of '%s'%s %s", b->name,
                                      *b->uplink4 ? b->uplink4 : b->uplink6,
                                      b->open ? ", open" : "", what));
    }
    for (size_t i = 0; i < x->n_maps; i++)
        if (!has_map(y, &x->maps[i]))
            tell(t, spec_arena_printf(t->a, "%s %s", map_text(t->a, &x->maps[i]), what));
    for (size_t i = 0; i < x->n_alone; i++)
        if (!has_alone(y, &x->alone[i]))
            tell(t, spec_arena_printf(t->a, "isolation of '%s' %s", x->alone[i].port, what));
    for (size_t i = 0, from = 0; i < x->n_sources; i++)
        if (*x->sources[i].port && !has_source(y, &x->sources[i], &from))
            tell(t,
                 spec_arena_printf(t->a, "check of what '%s' sends %s", x->sources[i].port, what));
}

static void compare(struct spec_arena *a, const struct rec_item *w, const struct rec_item *have,
                    rec_differs_fn differs, void *arg)
{
    struct told t = {a, differs, arg, 0};
    struct net_nft_model m = {0};
    const struct net_nft *to =
        have->nat.equal && have->nat.equal == w->nat.want ? NULL : model_of(w, &m);
    if (!to)
        return;
    if (!have->nat.have) {
        tell_lacking(&t, have->nat.want, to, "is not wanted");
        tell_lacking(&t, to, have->nat.want, "is missing");
    } else {
        net_nft_compare(to, have->nat.have, tell, &t);
    }
    if (t.n > 8)
        differs(arg, 0, spec_arena_printf(a, "and %zu more", t.n - 8), NULL);
    if (!w->nat.want)
        net_nft_model_done(&m);
}

/* Without the module, or with nothing tracked, a dump is not worth its call: it would load a
 * module, and it walks the whole hash table, which takes milliseconds even if that is empty. */
static bool tracks_connections(void)
{
    char count[16];
    int fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, count, sizeof count);
    if (fd >= 0)
        close(fd);
    return n > 0 && !(count[0] == '0' && n <= 2);
}

/* What the tables held, as far as they were ours in shape, and what they are to hold:
 * connections of what differs begin anew. */
static int settle_connections(struct rec_run *run, struct net_port *nft, const struct net_nft *from,
                              const struct net_nft *to, struct net_error *e)
{
    const struct rec_links *l = run->links;
    if (!tracks_connections())
        return 0;
    return net_conntrack_settle(nft, from, to, l ? l->address : NULL, l ? l->n_address : 0, NULL,
                                e);
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e;
    struct net_port *nft;
    if (!n)
        return 0;
    struct rec_step *s = steps[0];
    struct net_nft_model m = {0}, before = {0};
    struct net_error ne;
    int r = rec_nft(run, &nft, &e);
    for (int tries = 0; !r && tries < 5; tries++) {
        struct net_nft_have *after = NULL;
        const struct net_nft *to = s->to ? model_of(s->to, &m) : NULL;
        if ((tries || !latest(run)) && read_anew(run, nft, s->to ? s->to->nat.want : NULL, &ne)) {
            r = rec_fail_net(&e, &ne);
            break;
        }
        /* What was read for the plan: the kernel refuses the batch if anybody has written since. */
        bool known = net_nft_model(latest(run), &before);
        r = net_nft_apply(nft, to, latest(run), &after, &ne);
        if (!r)
            r = settle_connections(run, nft, known ? &before.nft : NULL, to, &ne);
        if (known)
            net_nft_model_done(&before);
        run->nft_lingers |= s->action != REC_CREATE;
        if (after) {
            keep(run, after);
            run->nft_equal = s->to ? s->to->nat.want : NULL;
        }
        if (s->to && !s->to->nat.want)
            net_nft_model_done(&m);
        /* another writer committed in between: read again, and only then send again */
        if (r == -ERESTART) {
            r = tries < 4 ? 0 : rec_fail_net(&e, &ne);
            continue;
        }
        if (!r) {
            rec_report_done(report, s);
            return 0;
        }
        rec_fail_net(&e, &ne);
        e.at = s->at;
        if (ne.tag && run->host && ne.tag <= run->host->n_containers) {
            const struct spec_container *c = &run->host->containers[ne.tag - 1];
            e.at = c->n_ports ? c->ports[0].at : c->at;
        }
    }
    rec_report_failed(report, s, &e);
    return r;
}

const struct rec_kind rec_kind_nat = {
    .name = "nat",
    .fields = fields,
    .n_fields = 1,
    .want = want,
    .read = read_nat,
    .compare = compare,
    .apply = apply,
};
