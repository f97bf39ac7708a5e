/* Namespaces, and what is inside them. One pass reads both kinds, netns and port: each namespace is entered once, by threads that
 * wander and never come back, so that the run itself never leaves the host's namespace. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct rec_field fields[] = {
    [REC_NETNS_LO] = {"lo up", REC_T_BOOL, offsetof(struct rec_item, netns.lo_up), REC_LIVE},
};

int rec_netns_dir(struct rec_run *run, bool create, int *fd, struct rec_error *err)
{
    struct net_error e;
    if (run->netns_dir < 0 || (create && !run->netns_shared)) {
        int dir, r = net_netns_dir(create, &dir, &e);
        if (r)
            return r == -ENOENT && !create ? r : rec_fail_net(err, &e);
        /* Opened anew once it is shared: a descriptor from before it was mounted on itself leads below the mount. */
        if (run->netns_dir >= 0)
            close(run->netns_dir);
        run->netns_dir = dir;
        run->netns_shared |= create;
    }
    *fd = run->netns_dir;
    return 0;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out, struct rec_error *err)
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
        it->stated = 1u << REC_NETNS_LO;
    }
    return 0;
}

struct found {
    const char       *name;
    bool              there;    /* a namespace is behind the name */
    bool              marked;   /* its lo bears our group */
    bool              has_eth0;
    int               eth0_link, eth0_netnsid;
    uint32_t          eth0_group;
    struct rec_item   netns, port;
    struct net_inside inside;   /* its addresses, until the run's own thread has copied them */
    struct net_error  error;
    int               failed;
};

struct pass {
    const struct rec_links *links;
    int           dir;
    struct found *list;
    size_t        n, stride, first;
};

/* Of several default routes ours is the one; else one that ours could not be added beside; else any. */
static void take_route(struct rec_port *p, const struct net_route *r, int eth0)
{
    bool v6 = r->family == AF_INET6, by_eth0 = r->has_gateway && r->oif == eth0 && r->type == RTN_UNICAST;
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

static void take_inside(struct found *f, const struct net_inside *in)
{
    struct rec_port *p = &f->port.port;
    f->there = true;
    f->marked = in->has_lo && in->lo.group == REC_GROUP;
    f->netns.netns.group = in->has_lo ? in->lo.group : 0;
    f->netns.netns.lo_up = in->has_lo && in->lo.flags & IFF_UP;
    f->has_eth0 = in->has_eth0;
    if (!in->has_eth0)
        return;
    f->eth0_link = in->eth0.link;
    f->eth0_group = p->inside_group = in->eth0.group;
    memcpy(p->mac, in->eth0.mac, 6);
    p->mtu = in->eth0.mtu;
    p->inside_up = in->eth0.flags & IFF_UP;
    p->autoconf = in->eth0.addrgen != IN6_ADDR_GEN_MODE_NONE;
    p->peer_index = in->eth0.index;
    for (size_t i = 0; i < in->n_route; i++)
        take_route(p, &in->route[i], in->eth0.index);
}

struct glance {
    const struct rec_links *links;
    const char             *name;
};

/* The host's end bears the name that the container's port has, our group, and is the other end of this very eth0. */
static bool enough(void *arg, const struct net_inside *in)
{
    const struct glance *g = arg;
    char name[16];
    spec_link_name(g->name, name);
    const struct net_link *l = rec_link_named(g->links, name);
    return l && rec_group_ours(l->group) && !strcmp(l->kind, "veth") && in->eth0.link == l->index && l->link == in->eth0.index;
}

static void *wander(void *arg)
{
    struct pass *p = arg;
    for (size_t i = p->first; i < p->n; i += p->stride) {
        struct found *f = &p->list[i];
        int fd, r = net_netns_open(p->dir, f->name, &fd, &f->error);
        if (r) {
            struct stat st;
            f->failed = r == -EINVAL || r == -ELOOP || r == -ENOENT ? 0 : r;
            /* An empty file is what a dead `ip netns` leaves behind, and is taken (net_netns_name); a link or a device is somebody's. */
            f->netns.netns.taken = !f->failed && r != -ENOENT && !fstatat(p->dir, f->name, &st, AT_SYMLINK_NOFOLLOW) &&
                                   !(S_ISREG(st.st_mode) && !st.st_size);
            continue;
        }
        struct glance g = {p->links, f->name};
        r = net_inside_read(fd, enough, &g, &f->inside, &f->error);
        close(fd);
        f->failed = r;
        if (!r)
            take_inside(f, &f->inside);
    }
    return NULL;
}

/* Threads share no arena: what they found is copied by the run's own, and theirs is freed. */
static int keep_addresses(struct spec_arena *a, struct found *f)
{
    struct rec_port *p = &f->port.port;
    size_t n = f->has_eth0 ? f->inside.n_address : 0;
    p->address = n ? spec_arena_alloc(a, n * sizeof *p->address) : NULL;
    if (p->address) {
        memcpy(p->address, f->inside.address, n * sizeof *p->address);
        p->n_address = n;
    }
    net_inside_done(&f->inside);
    return n && !p->address ? -ENOMEM : 0;
}

static int look_inside(struct spec_arena *a, const struct rec_links *links, int dir, struct found *list, size_t n, struct rec_error *err)
{
    struct pass pass[2];
    pthread_t thread[2];
    size_t threads = n >= 50 && sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1, started = 0;
    for (size_t i = 0; n && i < threads; i++) {
        pass[i] = (struct pass){links, dir, list, n, threads, i};
        int r = pthread_create(&thread[i], NULL, wander, &pass[i]);
        if (r) {
            for (size_t k = 0; k < started; k++)
                pthread_join(thread[k], NULL);
            for (size_t k = 0; k < n; k++)
                net_inside_done(&list[k].inside);
            return rec_fail(err, r, "cannot start a thread to look into namespaces: %s", strerror(r));
        }
        started++;
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        if (keep_addresses(a, &list[i]) && !bad)
            bad = rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !bad; i++)
        if (list[i].failed)
            bad = rec_fail_net(err, &list[i].error);
    return bad;
}

/* One item of kind port from its two ends, either of which may be missing. */
static void pair_ends(struct rec_run *run, struct found *f, const struct net_link *l)
{
    struct rec_port *p = &f->port.port;
    bool ours = l ? rec_group_ours(l->group) : false;
    p->whole = l && f->has_eth0 && !strcmp(l->kind, "veth") && f->eth0_link == l->index && l->link == p->peer_index;
    if (l) {
        const struct net_link *master = l->master ? rec_link_indexed(run->links, l->master) : NULL;
        p->index = l->index;
        p->master = l->master;
        p->group = l->group;
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
    /* A container's root may rewrite every mark inside; the host's end is beyond its reach, so it decides where it is there. */
    f->port.ours = l ? ours : f->eth0_group == REC_GROUP;
    f->netns.ours = f->marked || (p->whole && ours);
    f->port.stated = (1u << REC_PORT_GATEWAY) * 2 - 1;
}

static int add_port(struct rec_run *run, struct found *f, const char *container, const char *link, const struct rec_state *wanted,
                    struct rec_state *out)
{
    const struct net_link *l = rec_link_named(run->links, link);
    const struct net_link *alt = l ? NULL : rec_link_altnamed(run->links, link);
    if (l)
        run->links->paired[l - run->links->link] = true;
    pair_ends(run, f, l);
    f->port.kind = REC_PORT;
    f->port.key = f->port.container = container;
    f->port.port.link = link;
    if (alt && rec_state_find(wanted, REC_PORT, container)) {
        f->port.port.taken = spec_arena_printf(out->arena, "'%s' is an alternative name of link %s", link, alt->name);
        f->port.ours = false;
    } else if (!l && !f->has_eth0) {
        return 0;
    }
    return rec_state_push(out, &f->port);
}

/* Ports of ours whose namespace has no name (any more), and what stands where a wanted port's link would go. */
static int read_loose_ports(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out)
{
    const struct rec_links *links = run->links;
    for (size_t i = 0; i < wanted->n; i++) {
        const struct rec_item *w = wanted->items[i];
        if (w->kind != REC_PORT || rec_state_find(out, REC_NETNS, w->key))
            continue;
        const struct rec_item *process = rec_state_find(out, REC_RUN, w->key);
        if (process && process->ours && process->runtime == SPEC_RT_NIXOS)
            continue;       /* its port comes and goes with it, and it goes first */
        if (!rec_link_named(links, w->port.link) && !rec_link_altnamed(links, w->port.link))
            continue;
        struct found *f = spec_arena_alloc(out->arena, sizeof *f);
        if (!f || add_port(run, f, w->container, w->port.link, wanted, out))
            return -ENOMEM;
    }
    for (size_t i = 0; i < links->n; i++) {
        const struct net_link *l = &links->link[i];
        if (!rec_group_ours(l->group) || strcmp(l->kind, "veth") || links->paired[i])
            continue;
        struct found *f = spec_arena_alloc(out->arena, sizeof *f);
        char *name = spec_arena_strdup(out->arena, l->name);
        if (!f || !name || add_port(run, f, strncmp(name, "vb-", 3) ? name : name + 3, name, wanted, out))
            return -ENOMEM;
    }
    return 0;
}

static int read_netns(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    int dir, r = rec_netns_dir(run, false, &dir, err);
    char **names = NULL;
    size_t n = 0;
    if (r && r != -ENOENT)
        return r;
    if (!r) {
        r = rec_dir_list(out->arena, NET_NETNS_DIR, &names, &n, err);
        if (r && r != -ENOENT)
            return r;
    }
    struct found *list = spec_arena_alloc(out->arena, (n + 1) * sizeof *list);
    if (!list)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        list[i].name = names[i];
    r = look_inside(out->arena, run->links, dir, list, n, err);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++) {
        struct found *f = &list[i];
        const struct rec_item *w = rec_state_find(wanted, REC_NETNS, f->name);
        const struct rec_item *wp = rec_state_find(wanted, REC_PORT, f->name);
        char link[16];
        if (!f->there && f->netns.netns.taken && w) {
            f->netns.kind = REC_NETNS;
            f->netns.key = f->netns.container = f->name;
            f->netns.ours = false;
            if (rec_state_push(out, &f->netns))
                return rec_fail(err, ENOMEM, "out of memory");
        }
        if (!f->there)
            continue;
        spec_link_name(f->name, link);
        const struct net_link *l = rec_link_named(run->links, link);
        if (!f->marked && !w && !(l && rec_group_ours(l->group)))
            continue;       /* somebody else's */
        f->netns.kind = REC_NETNS;
        f->netns.key = f->netns.container = f->name;
        f->netns.stated = 1u << REC_NETNS_LO;
        char *name = spec_arena_strdup(out->arena, link);
        if (!name || rec_state_push(out, &f->netns) || add_port(run, f, f->name, wp ? wp->port.link : name, wanted, out))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    rec_state_sort(out);
    return read_loose_ports(run, wanted, out) ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from, const struct rec_item *w,
                            const struct rec_item *have, const char **hint)
{
    (void)from;
    if (!w || !have)
        return NULL;
    if (!have->netns.taken)
        return "a network namespace of that name exists, and berth did not make it";
    *hint = "take it away, or choose another name for the container";
    return spec_arena_printf(a, "'" NET_NETNS_DIR "/%s' is there, and is no network namespace", have->key);
}

static bool never(const struct rec_item *w, const struct rec_item *have)
{
    (void)w;
    return have->netns.taken;
}

const struct rec_kind rec_kind_netns = {
    .name = "netns", .fields = fields, .n_fields = sizeof fields / sizeof *fields, .want = want, .read = read_netns,
    .conflict = conflict, .never = never, .marks = true, .apply = rec_links_apply, .remove = rec_links_remove,
};
