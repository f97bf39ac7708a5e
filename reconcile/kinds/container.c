/* Namespaces, and what is inside them. One pass reads both kinds, netns and port, since each
 * namespace is entered once (insides.c). */
#include "reconcile/again.h"
#include "reconcile/kinds.h"
#include "reconcile/kinds/insides.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static const struct rec_field fields[] = {
    [REC_NETNS_LO] = {"lo up", REC_T_BOOL, offsetof(struct rec_item, netns.lo_up), REC_LIVE},
    [REC_NETNS_OWN] = {"owned by the container", REC_T_BOOL, offsetof(struct rec_item, netns.own),
                       REC_RECREATE},
};

int rec_netns_dir(struct rec_run *run, bool create, int *fd, struct rec_error *err)
{
    struct net_error e;
    if (run->netns_dir < 0 || (create && !run->netns_shared)) {
        int dir, r = net_netns_dir(create, &dir, &e);
        if (r)
            return r == -ENOENT && !create ? r : rec_fail_net(err, &e);
        /* Opened anew once it is shared: a descriptor from before it was mounted on itself leads
         * below the mount. */
        if (run->netns_dir >= 0)
            close(run->netns_dir);
        run->netns_dir = dir;
        run->netns_shared |= create;
    }
    *fd = run->netns_dir;
    return 0;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (!rec_wants_netns(run, c))
            continue;
        struct rec_item *it = rec_state_add(out, REC_NETNS, c->name);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->container = c->name;
        it->spec = c;
        it->runtime = rec_runtime_of(run, c);
        it->at = c->at;
        it->protect = c->protect;
        it->netns.lo_up = true;
        it->netns.own = rec_owns_netns(run, c);
        it->stated = 1u << REC_NETNS_LO | 1u << REC_NETNS_OWN;
    }
    return 0;
}

enum { IPV6_MIN_MTU = 1280 }; /* RFC 8200 5: a link with less has no IPv6 */

struct found {
    const char *name;
    bool marked; /* its lo bears our group */
    bool has_eth0;
    int eth0_link;
    uint32_t eth0_group;
    struct rec_item netns, port;
};

static int no_memory(struct rec_error *err)
{
    return rec_fail(err, ENOMEM, "out of memory");
}

/* Of several default routes ours is the one; else one that ours could not be added beside; else
 * any. */
static void take_route(struct rec_port *p, const struct net_route *r, int eth0)
{
    bool v6 = r->family == AF_INET6,
         by_eth0 = r->has_gateway && r->oif == eth0 && r->type == RTN_UNICAST;
    bool ours = by_eth0 && r->protocol == NET_PROTO_BERTH;
    bool *has = v6 ? &p->has_gw6 : &p->has_gw4, *mine = v6 ? &p->gw6_ours : &p->gw4_ours;
    struct net_route *via = v6 ? &p->via6 : &p->via4;
    if (*has && (*mine || (!ours && (rec_route_collides(via) || !rec_route_collides(r)))))
        return;
    *has = true;
    *mine = ours;
    *via = *r;
    memset(v6 ? p->gw6 : p->gw4, 0, v6 ? 16 : 4);
    if (by_eth0)
        memcpy(v6 ? p->gw6 : p->gw4, r->gateway, v6 ? 16 : 4);
}

static int take_inside(struct spec_arena *a, struct found *f, const struct net_inside *in)
{
    struct rec_port *p = &f->port.port;
    f->marked = in->has_lo && in->lo.group == REC_GROUP;
    f->netns.netns.group = in->has_lo ? in->lo.group : 0;
    f->netns.netns.lo_up = in->has_lo && in->lo.flags & IFF_UP;
    f->has_eth0 = in->has_eth0;
    if (!in->has_eth0)
        return 0;
    f->eth0_link = in->eth0.link;
    f->eth0_group = p->inside_group = in->eth0.group;
    memcpy(p->mac, in->eth0.mac, 6);
    p->mtu = in->eth0.mtu;
    p->inside_up = in->eth0.flags & IFF_UP;
    p->autoconf = in->eth0.addrgen != IN6_ADDR_GEN_MODE_NONE;
    p->peer_index = in->eth0.index;
    p->unclear = in->torn;
    for (size_t i = 0; i < in->n_route; i++)
        take_route(p, &in->route[i], in->eth0.index);
    p->n_address = in->n_address;
    p->address = in->n_address ? spec_arena_alloc(a, in->n_address * sizeof *p->address) : NULL;
    if (in->n_address && !p->address)
        return -ENOMEM;
    if (in->n_address)
        memcpy(p->address, in->address, in->n_address * sizeof *p->address);
    return 0;
}

/* One item of kind port from its two ends, either of which may be missing; also once more, when
 * more is known of the host's. */
static void pair_ends(struct rec_run *run, struct found *f, const struct net_link *l)
{
    struct rec_port *p = &f->port.port;
    bool ours = l ? rec_group_ours(l->group) : false;
    p->whole = l && f->has_eth0 && !strcmp(l->kind, "veth") && f->eth0_link == l->index &&
               l->link == p->peer_index;
    if (l) {
        const struct net_link *master = l->master ? rec_link_indexed(run->links, l->master) : NULL;
        p->index = l->index;
        memcpy(p->host_mac, l->mac, 6);
        p->master = l->master;
        p->group = l->group;
        p->shared = l->master && rec_link_is_shared(run->links, l->master);
        p->bridge = master ? spec_arena_strdup(run->arena, master->name) : "";
        p->doomed = l->group == REC_GROUP_GONE;
        p->up = l->flags & IFF_UP;
        p->hairpin = l->hairpin;
        p->autoconf |= l->addrgen != IN6_ADDR_GEN_MODE_NONE;
        if (p->whole && l->mtu != p->mtu)
            p->mtu = l->mtu < p->mtu ? l->mtu : p->mtu;
        if (strcmp(l->kind, "veth"))
            p->taken = "a link of that name exists and is no veth";
    }
    /* A container's root may rewrite every mark inside; the host's end is beyond its reach, so
     * it decides where it is there. */
    f->port.ours = l ? ours : f->eth0_group == REC_GROUP;
    f->netns.ours = f->marked || (p->whole && ours);
    f->port.stated = (1u << REC_PORT_GATEWAY) * 2 - 1;
}

/* It is going to be changed: it must be ours for that, and what was taken for granted must be
 * so. */
static bool needs_closer_look(struct rec_run *run, const struct found *f, const struct net_link *l,
                              const struct rec_item *w)
{
    return l && w && run->links->brief &&
           (!f->netns.netns.lo_up || rec_item_differs(run, &f->port, w));
}

static int add_port(struct rec_run *run, struct found *f, const char *container, const char *link,
                    const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    const struct net_link *l = rec_link_named(run->links, link);
    const struct net_link *alt = l ? NULL : rec_link_altnamed(run->links, link);
    const struct rec_item *w = rec_state_find(wanted, REC_PORT, container);
    f->port.kind = REC_PORT;
    f->port.key = f->port.container = container;
    f->port.port.link = link;
    if (l)
        run->links->paired[l - run->links->link] = true;
    pair_ends(run, f, l);
    if (needs_closer_look(run, f, l, w)) {
        int r = rec_link_closer(run, link, err);
        if (r)
            return r;
        pair_ends(run, f, l);
    }
    if (w && f->port.port.whole && w->stated & 1u << REC_PORT_MTU && w->port.mtu >= IPV6_MIN_MTU &&
        f->port.port.mtu < IPV6_MIN_MTU)
        /* IPv6 comes back with such an mtu, and what the kernel does by itself with it */
        f->port.port.autoconf = true;
    if (alt && w) {
        f->port.port.taken = spec_arena_printf(out->arena, "'%s' is an alternative name of link %s",
                                               link, alt->name);
        f->port.ours = false;
    } else if (!l && !f->has_eth0) {
        return 0;
    }
    return rec_state_push(out, &f->port) ? no_memory(err) : 0;
}

/* Ports of ours whose namespace has no name (any more), and what stands where a wanted port's
 * link would go. */
static int read_loose_ports(struct rec_run *run, const struct rec_state *wanted,
                            struct rec_state *out, struct rec_error *err)
{
    const struct rec_links *links = run->links;
    for (size_t i = 0; i < wanted->n; i++) {
        const struct rec_item *w = wanted->items[i];
        if (w->kind != REC_PORT || rec_state_find(out, REC_NETNS, w->key) ||
            !rec_again_touched(run->again, w->container))
            continue;
        const struct rec_item *process = rec_state_find(out, REC_RUN, w->key);
        if (process && process->ours && process->runtime == SPEC_RT_NIXOS)
            continue; /* its port comes and goes with it, and it goes first */
        if (!rec_link_named(links, w->port.link) && !rec_link_altnamed(links, w->port.link))
            continue;
        struct found *f = spec_arena_alloc(out->arena, sizeof *f);
        int r = f ? add_port(run, f, w->container, w->port.link, wanted, out, err) : no_memory(err);
        if (r)
            return r;
    }
    for (size_t i = 0; i < links->n; i++) {
        const struct net_link *l = &links->link[i];
        if (!rec_group_ours(l->group) || strcmp(l->kind, "veth") || links->paired[i])
            continue;
        struct found *f = spec_arena_alloc(out->arena, sizeof *f);
        char *name = spec_arena_strdup(out->arena, l->name);
        int r = f && name ? add_port(run, f, strncmp(name, "vb-", 3) ? name : name + 3, name,
                                     wanted, out, err)
                          : no_memory(err);
        if (r)
            return r;
    }
    return 0;
}

/* What is not read again is as it was. */
static int keep_untouched(struct rec_run *run, struct rec_state *out, struct rec_error *err)
{
    const struct rec_state *before = run->again ? run->again->before : NULL;
    for (size_t i = 0; before && i < before->n; i++) {
        struct rec_item *it = before->items[i];
        const struct net_link *l =
            it->kind == REC_PORT ? rec_link_named(run->links, it->port.link) : NULL;
        if ((it->kind != REC_NETNS && it->kind != REC_PORT) ||
            rec_again_touched(run->again, it->container))
            continue;
        if (l)
            run->links->paired[l - run->links->link] = true;
        if (rec_state_push(out, it))
            return no_memory(err);
    }
    return 0;
}

/* Only nspawn makes such namespaces. */
static void read_owner(struct rec_run *run, struct found *f, const struct rec_item *w,
                       const struct rec_state *wanted, const struct rec_state *processes)
{
    const struct rec_item *process = rec_state_find(processes, REC_RUN, f->netns.key);
    const struct rec_item *to_run = rec_state_find(wanted, REC_RUN, f->netns.key);
    int fd, dir, foreign;
    if (w && w->runtime != SPEC_RT_NSPAWN && !process)
        return;
    if (rec_netns_dir(run, false, &dir, NULL) || net_netns_open(dir, f->netns.key, &fd, NULL))
        return;
    foreign = net_netns_foreign(fd, NULL);
    close(fd);
    if (foreign < 0)
        return;
    f->netns.netns.own = f->port.port.own = foreign;
    f->netns.stated |= 1u << REC_NETNS_OWN;
    if (process && process->next_start && to_run && rec_process_goes_on(run, process, to_run))
        f->netns.later |= 1u << REC_NETNS_OWN;
}

static int warn_unclear(struct rec_state *out, const char *container)
{
    static const char hint[] =
        "something in it adds and removes addresses or routes without pause: "
        "look with berth top, or stop it";
    return rec_state_warn(
        out, container, hint,
        "its addresses and routes changed during each of 11 readings, and are left "
        "as they are");
}

static int add_netns(struct rec_run *run, const struct rec_inside *i,
                     const struct rec_state *wanted, const struct rec_state *processes,
                     struct rec_state *out, struct rec_error *err)
{
    const struct rec_item *w = rec_state_find(wanted, REC_NETNS, i->name);
    const struct rec_item *wp = rec_state_find(wanted, REC_PORT, i->name);
    if (!i->there && !(i->taken && w) && !(i->left_over && !w))
        return 0;
    struct found *f = spec_arena_alloc(out->arena, sizeof *f);
    if (!f)
        return no_memory(err);
    f->netns.kind = REC_NETNS;
    f->netns.key = f->netns.container = i->name;
    if (!i->there) {
        f->netns.netns.taken = i->taken;
        f->netns.netns.left_over = f->netns.ours = i->left_over;
        return rec_state_push(out, &f->netns) ? no_memory(err) : 0;
    }
    char link[16];
    spec_link_name(i->name, link);
    const struct net_link *l = rec_link_named(run->links, link);
    if (take_inside(out->arena, f, &i->in))
        return no_memory(err);
    if (!f->marked && !w && !(l && rec_group_ours(l->group)))
        return 0; /* somebody else's */
    if (w && i->in.torn && warn_unclear(out, i->name))
        return no_memory(err);
    f->netns.stated = 1u << REC_NETNS_LO;
    read_owner(run, f, w, wanted, processes);
    char *name = spec_arena_strdup(out->arena, link);
    if (!name || rec_state_push(out, &f->netns))
        return no_memory(err);
    return add_port(run, f, i->name, wp ? wp->port.link : name, wanted, out, err);
}

/* Of what was read, sorted: `read` itself is not, as long as items are added. */
static int list_processes(const struct rec_state *read, struct rec_state *out,
                          struct rec_error *err)
{
    rec_state_init(out, read->arena);
    for (size_t i = 0; i < read->n; i++)
        if (read->items[i]->kind == REC_RUN && rec_state_push(out, read->items[i]))
            return no_memory(err);
    rec_state_sort(out);
    return 0;
}

static int read_netns(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                      struct rec_error *err)
{
    struct rec_inside *list;
    size_t n;
    int r = rec_insides_await(run, &list, &n, err);
    if (r)
        return r;
    struct rec_state processes;
    r = list_processes(out, &processes, err);
    if (!r)
        r = keep_untouched(run, out, err);
    for (size_t i = 0; i < n && !r; i++)
        r = add_netns(run, &list[i], wanted, &processes, out, err);
    rec_state_sort(out);
    return r ? r : read_loose_ports(run, wanted, out, err);
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    (void)from;
    if (!w || !have)
        return NULL;
    if (!have->netns.taken)
        return "a network namespace of that name exists, and berth did not make it";
    *hint = "take it away, or choose another name for the container";
    return spec_arena_printf(a, "'" NET_NETNS_DIR "/%s' is there, and is no network namespace",
                             have->key);
}

static bool never(const struct rec_item *w, const struct rec_item *have)
{
    (void)w;
    return have->netns.taken;
}

const struct rec_kind rec_kind_netns = {
    .name = "netns",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .want = want,
    .read = read_netns,
    .conflict = conflict,
    .never = never,
    .marks = true,
    .apply = rec_links_apply,
    .remove = rec_links_remove,
};
