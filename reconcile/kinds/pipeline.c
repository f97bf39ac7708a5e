/* Namespaces and ports, made by two threads: the maker makes or opens namespaces and a socket
 * inside each, the linker (the run's own thread, which never leaves the host's namespace) makes the
 * pairs in batches and configures their far ends, and last of all, where it is done, the maker
 * gives a new namespace its name. So a name never stands for something half-done; a kill leaves
 * namespaces without a name, which end with the process and take their pairs along. Removal
 * marks verified links with a group of its own and deletes that group: one synchronous deletion
 * instead of one each. */
#include "reconcile/kinds.h"
#include "reconcile/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RING = 64, HOST_BATCH = 16, FEW = REC_LINKS_LEAST, MOST_NAMELESS = 16, SPARE = 4 * RING };
enum { MOST_INDEX = 1 << 30, MOST_CLASHES = 8 };

struct job {
    struct rec_step *netns, *port; /* either may be NULL */
    size_t netns_i, port_i;        /* their places in the group, for tags */
    const char *name;
    bool new_netns, new_pair;
    bool renames; /* another namespace has the name */
    int fd;       /* of the namespace */
    struct net_batch *inside;
    struct rec_error error;
    int failed;     /* to be made */
    bool good;      /* all of it is there but the name */
    int unnamed;    /* why it got none */
    int peer_index; /* of eth0 in a new pair */
    /* the new pair was refused for its index, or for its name; code 0: it was not */
    struct net_error clash;
};

struct ring {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct job *jobs;
    size_t n, made, taken, named;
    /* jobs that may have their descriptors open at once; FEW or more */
    size_t most_open;
    int dir, given; /* given: of the one new namespace, -1: made here */
};

static int take_given(int given, int *fd, struct net_error *e)
{
    int copy = fcntl(given, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return net_fail(e, errno, "open", "the namespace of a container");
    *fd = copy;
    return 0;
}

static void make(struct ring *r, struct job *j)
{
    struct net_error e;
    bool made = j->new_netns && r->given < 0;
    if (made)
        j->failed = net_netns_unshare(&j->fd, &e);
    else if (j->new_netns)
        j->failed = take_given(r->given, &j->fd, &e);
    else
        j->failed = net_netns_open(r->dir, j->name, &j->fd, &e);
    if (!j->failed && !made)
        j->failed = net_netns_enter(j->fd, &e);
    if (!j->failed)
        j->failed = net_batch_open(&j->inside, &e);
    if (j->failed)
        rec_fail_net(&j->error, &e);
}

/* A namespace that gets no name is gone with its last descriptor, and its pair with it. */
static void name(struct ring *r, struct job *j)
{
    struct net_error e;
    if (j->good && j->renames)
        j->unnamed = net_netns_unname(r->dir, j->name, &e);
    if (j->unnamed == -ENOENT)
        j->unnamed = 0;
    if (j->good && j->new_netns && !j->unnamed)
        j->unnamed = net_netns_name(r->dir, j->name, j->fd, &e);
    if (j->unnamed)
        rec_fail_net(&j->error, &e);
    if (j->inside)
        net_batch_close(j->inside);
    if (j->fd >= 0)
        close(j->fd);
    j->inside = NULL;
    j->fd = -1;
}

/* Making goes first, as long as few wait for their names: the linker may be waiting. Of a
 * handful the linker names each itself. */
static void *maker(void *arg)
{
    struct ring *r = arg;
    pthread_mutex_lock(&r->lock);
    while (r->made < r->n || (r->n > FEW && r->named < r->n)) {
        bool has_room = r->made - r->taken < RING && r->made - r->named < r->most_open;
        bool can_make = r->made < r->n && has_room;
        bool can_name = r->n > FEW && r->named < r->taken;
        if (!can_make && !can_name) {
            pthread_cond_wait(&r->moved, &r->lock);
            continue;
        }
        bool makes = can_make && !(can_name && (r->taken - r->named >= MOST_NAMELESS ||
                                                r->made - r->taken > HOST_BATCH));
        pthread_mutex_unlock(&r->lock);
        if (makes)
            make(r, &r->jobs[r->made]);
        else
            name(r, &r->jobs[r->named]);
        pthread_mutex_lock(&r->lock);
        *(makes ? &r->made : &r->named) += 1;
        pthread_cond_signal(&r->moved);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Up to `most` jobs that are made. The first are taken one by one, so that the linker starts at
 * once; later ones are waited for until a few are there, so that a linker that outruns the maker
 * does not send one request at a time. */
static size_t take(struct ring *r, size_t most)
{
    pthread_mutex_lock(&r->lock);
    size_t least = r->taken < most ? 1 : FEW;
    while (r->made < r->n && r->made - r->taken < least)
        pthread_cond_wait(&r->moved, &r->lock);
    size_t n = r->made - r->taken;
    pthread_mutex_unlock(&r->lock);
    return n < most ? n : most;
}

/* How many have their names by now. */
static size_t done_with(struct ring *r, size_t n)
{
    pthread_mutex_lock(&r->lock);
    r->taken += n;
    size_t named = r->n <= FEW ? r->taken : r->named;
    pthread_cond_signal(&r->moved);
    pthread_mutex_unlock(&r->lock);
    return named;
}

struct group {
    struct rec_run *run;
    struct rec_step *const *steps;
    size_t n;
    struct rec_report *report;
    struct net_batch *host;
    struct rec_outcomes outcomes;
    const char *bridge; /* the latest one looked up */
    int bridge_index;
    int next_index; /* of the next host's end */
    size_t told;    /* jobs that were reported */
};

/* The next multiple of a thousand. Links above MOST_INDEX were put there by hand; the kernel counts
 * up from 1. */
static int next_thousand(int index)
{
    return index < MOST_INDEX ? (index / 1000 + 1) * 1000 : 1000;
}

/* The kernel honours the index asked for eth0 only where the host's end asks for one too. Ours
 * follow each other, and lie a thousand above what others have. The kernel's own count can still
 * come along, and it cannot be read: see send_host. */
static int first_index(const struct rec_links *links)
{
    const struct net_link *last = NULL;
    for (size_t i = links->n; i && !last; i--)
        if (links->link[links->by_index[i - 1]].index < MOST_INDEX)
            last = &links->link[links->by_index[i - 1]];
    if (!last)
        return 1000;
    return rec_group_ours(last->group) && last->index >= 1000 ? last->index + 1
                                                              : next_thousand(last->index);
}

static int bridge_index(struct group *g, const char *name, int *index, struct rec_error *e)
{
    if (!*name) {
        *index = 0;
        return 0;
    }
    if (!g->bridge || strcmp(g->bridge, name)) {
        int r = rec_link_index(g->run, name, &g->bridge_index, e);
        if (r)
            return r;
        g->bridge = name;
        /* The kernel numbered a new bridge: its count is there now. */
        if (g->bridge_index >= g->next_index && g->bridge_index < MOST_INDEX)
            g->next_index = g->bridge_index + 1;
    }
    *index = g->bridge_index;
    return 0;
}

static void fail(struct group *g, struct rec_step *s, struct rec_error *e)
{
    if (!e->at.line && s)
        e->at = s->at;
    rec_report_failed(g->report, s, e);
}

static const uint8_t *host_mac(const struct rec_port *p)
{
    static const uint8_t none[6];
    return memcmp(p->host_mac, none, 6) ? p->host_mac : NULL;
}

/* Host side of a job. */
static void queue_host(struct group *g, struct job *j)
{
    if (!j->port || j->port->state == REC_FAILED)
        return;
    const struct rec_step *s = j->port;
    const struct rec_port *w = &s->to->port;
    struct net_link_ref l = {s->from && !j->new_pair ? s->from->port.index : 0, w->link};
    struct rec_error e;
    int master = 0;
    bool quiet = s->to->stated & 1u << REC_PORT_AUTOCONF && !w->autoconf;
    uint32_t mtu = s->to->stated & 1u << REC_PORT_MTU ? w->mtu : 0,
             changed = j->new_pair ? 0 : s->changed;
    if ((j->new_pair || changed & 1u << REC_PORT_BRIDGE) &&
        bridge_index(g, w->bridge, &master, &e)) {
        fail(g, j->port, &e);
        return;
    }
    if (j->new_pair) {
        struct net_veth_new v = {.name = w->link,
                                 .master = master,
                                 .group = REC_GROUP,
                                 .mtu = mtu,
                                 .mac = host_mac(w),
                                 .peer_name = "eth0",
                                 .peer_mac = w->mac,
                                 .peer_index = j->peer_index,
                                 .peer_netns_fd = j->fd,
                                 .index = g->next_index++};
        net_batch_veth_new(g->host, &v, REC_TAG(j->port_i, REC_PART_LINK));
    }
    if (s->action == REC_ADOPT && s->from->port.index)
        net_batch_link_group(g->host, l, s->unmark ? w->group : REC_GROUP,
                             REC_TAG(j->port_i, REC_PART_LINK));
    if (changed & 1u << REC_PORT_DOOMED)
        net_batch_link_group(g->host, l, REC_GROUP, REC_TAG(j->port_i, REC_PART_LINK));
    if (changed & 1u << REC_PORT_BRIDGE)
        net_batch_link_master(g->host, l, master, REC_TAG(j->port_i, REC_PART_LINK));
    if (changed & 1u << REC_PORT_HOST_MAC)
        net_batch_link_mac(g->host, l, w->host_mac, REC_TAG(j->port_i, REC_PART_LINK));
    if (changed & 1u << REC_PORT_MTU)
        net_batch_link_mtu(g->host, l, mtu, REC_TAG(j->port_i, REC_PART_MTU));
    /* A port that comes to another bridge begins anew with the kernel's defaults. */
    if (j->new_pair || changed & 1u << REC_PORT_BRIDGE ? w->hairpin
                                                       : (changed & 1u << REC_PORT_HAIRPIN) != 0)
        net_batch_link_hairpin(g->host, l, w->hairpin, REC_TAG(j->port_i, REC_PART_LINK));
    if (quiet && (j->new_pair || changed & 1u << REC_PORT_AUTOCONF))
        net_batch_link_no_autoconf(g->host, l, REC_TAG(j->port_i, REC_PART_LINK));
    if (j->new_pair ? w->up : (changed & 1u << REC_PORT_UP) != 0)
        net_batch_link_up(g->host, l, w->up, REC_TAG(j->port_i, REC_PART_LINK));
}

/* Our default route, or, on the way back, the one that was there. */
static void queue_route(struct job *j, const struct rec_port *w, bool v6, int index)
{
    struct net_route r = v6 ? w->via6 : w->via4;
    if (v6 ? w->gw6_ours : w->gw4_ours) {
        r = (struct net_route){
            .family = v6 ? AF_INET6 : AF_INET, .has_gateway = true, .oif = index};
        memcpy(r.gateway, v6 ? w->gw6 : w->gw4, v6 ? 16 : 4);
    }
    net_batch_route_new(j->inside, &r, "eth0", REC_TAG(j->port_i, REC_PART_GATEWAY));
}

/* In the way of a wanted one: ours and not wanted, or, in IPv6, the same address with another
 * prefix. */
static bool in_the_way(const struct rec_port *w, const struct net_address *a)
{
    if (rec_port_has(w, a, false))
        return false;
    if (a->proto == NET_PROTO_BERTH)
        return true;
    for (size_t i = 0; i < w->n_address; i++)
        if (a->family == AF_INET6 && w->address[i].family == AF_INET6 &&
            !memcmp(a->bytes, w->address[i].bytes, 16))
            return true;
    return false;
}

/* Addresses and default routes. Taking an IPv4 address away takes routes by way of its subnet
 * along, and its subnet's other addresses too: so routes go first and come last, whatever of
 * them changes. */
static void queue_addresses(struct job *j, int index)
{
    const struct rec_port *w = &j->port->to->port,
                          *h = j->new_pair || !j->port->from ? NULL : &j->port->from->port;
    uint32_t changed = j->new_pair ? ~0u : j->port->changed;
    bool redo[2] = {false, false};
    if (!(changed & (1u << REC_PORT_ADDRESS | 1u << REC_PORT_GATEWAY)))
        return;
    for (size_t i = 0; h && i < h->n_address; i++)
        if (in_the_way(w, &h->address[i]))
            redo[h->address[i].family == AF_INET6] = true;
    for (int f = 0; f < 2; f++) {
        bool have = h && (f ? h->has_gw6 : h->has_gw4), want = f ? w->has_gw6 : w->has_gw4;
        bool ours = h && (f ? h->gw6_ours : h->gw4_ours),
             to_be_ours = f ? w->gw6_ours : w->gw4_ours;
        bool equal = have && want &&
                     !memcmp(f ? h->gw6 : h->gw4, f ? w->gw6 : w->gw4, f ? 16 : 4) &&
                     (to_be_ours || !ours);
        bool goes =
            have && !equal && (ours || (want && rec_route_collides(f ? &h->via6 : &h->via4)));
        if (have && (goes || redo[f]))
            net_batch_route_del(j->inside, f ? &h->via6 : &h->via4, "eth0",
                                REC_TAG(j->port_i, REC_PART_GATEWAY));
        redo[f] |= want && !equal;
    }
    for (size_t i = 0; h && i < h->n_address; i++) {
        struct net_address a = h->address[i];
        a.index = index;
        if (in_the_way(w, &a))
            net_batch_address_del(
                j->inside, &a, "eth0",
                REC_TAG(j->port_i, a.family == AF_INET6 ? REC_PART_ADDRESS6 : REC_PART_ADDRESS4));
    }
    for (size_t i = 0; i < w->n_address; i++) {
        struct net_address a = w->address[i];
        a.index = index;
        a.flags = 0;
        if (!h || !rec_port_has(h, &a, false))
            net_batch_address_back(
                j->inside, &a, "eth0",
                REC_TAG(j->port_i, a.family == AF_INET6 ? REC_PART_ADDRESS6 : REC_PART_ADDRESS4));
    }
    for (int f = 0; f < 2; f++)
        if (redo[f] && (f ? w->has_gw6 : w->has_gw4))
            queue_route(j, w, f, index);
}

static void queue_inside(struct job *j)
{
    struct net_link_ref lo = {1, "lo"};
    if (j->netns) {
        const struct rec_netns *w = &j->netns->to->netns;
        uint32_t tag = REC_TAG(j->netns_i, REC_PART_LINK);
        if (j->new_netns && w->lo_up)
            net_batch_link_group_up(j->inside, lo, REC_GROUP, tag);
        else if (j->new_netns || j->netns->action == REC_ADOPT)
            net_batch_link_group(j->inside, lo, j->netns->unmark ? w->group : REC_GROUP, tag);
        if (!j->new_netns && j->netns->changed & 1u << REC_NETNS_LO)
            net_batch_link_up(j->inside, lo, w->lo_up, tag);
    }
    if (!j->port || j->port->state == REC_FAILED)
        return;
    const struct rec_port *w = &j->port->to->port;
    uint32_t tag = REC_TAG(j->port_i, REC_PART_LINK), changed = j->new_pair ? 0 : j->port->changed;
    int index = j->new_pair ? j->peer_index : j->port->from->port.peer_index;
    struct net_link_ref eth0 = {index, "eth0"};
    if (j->port->action == REC_ADOPT && j->port->from->port.peer_index)
        net_batch_link_group(j->inside, eth0, j->port->unmark ? w->inside_group : REC_GROUP, tag);
    if (changed & 1u << REC_PORT_MAC)
        net_batch_link_mac(j->inside, eth0, w->mac, REC_TAG(j->port_i, REC_PART_MAC));
    if (changed & 1u << REC_PORT_MTU)
        net_batch_link_mtu(j->inside, eth0, w->mtu, REC_TAG(j->port_i, REC_PART_MTU));
    if (j->port->to->stated & 1u << REC_PORT_AUTOCONF && !w->autoconf &&
        (j->new_pair || changed & 1u << REC_PORT_AUTOCONF))
        net_batch_link_no_autoconf(j->inside, eth0, tag);
    if (j->new_pair ? w->inside_up : (changed & 1u << REC_PORT_INSIDE_UP) != 0)
        net_batch_link_up(j->inside, eth0, w->inside_up, tag);
    queue_addresses(j, index);
}

static void fill(struct group *g, struct job *j)
{
    struct net_error ne;
    if (j->failed) {
        fail(g, j->netns ? j->netns : j->port, &j->error);
    } else {
        queue_inside(j);
        net_batch_send(j->inside, rec_refused, &g->outcomes, &ne);
    }
    j->good =
        !(j->netns && j->netns->state == REC_FAILED) && !(j->port && j->port->state == REC_FAILED);
}

/* Of a job that is over. */
static void tell(struct group *g, struct job *j)
{
    if (j->unnamed)
        fail(g, j->netns, &j->error);
    if (!j->good || j->unnamed)
        return;
    if (j->netns)
        rec_report_done(g->report, j->netns);
    if (j->port) {
        j->port->eth0_index = j->new_pair ? j->peer_index : 0;
        rec_report_done(g->report, j->port);
    }
}

static bool outside_only(const struct job *j)
{
    const uint32_t inside = 1u << REC_PORT_MAC | 1u << REC_PORT_MTU | 1u << REC_PORT_AUTOCONF |
                            1u << REC_PORT_INSIDE_UP | 1u << REC_PORT_ADDRESS |
                            1u << REC_PORT_GATEWAY;
    return !j->netns && j->port && !j->new_pair && j->port->action == REC_CHANGE &&
           !(j->port->changed & inside);
}

/* Steps of one container stand side by side: one job. */
static size_t gather(struct group *g, struct job *jobs)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct rec_step *s = g->steps[i];
        if (s->with_start)
            continue;
        if (!n || strcmp(jobs[n - 1].name, s->to->container))
            jobs[n++] =
                (struct job){.name = s->to->container, .fd = -1, .peer_index = REC_ETH0_INDEX};
        struct job *j = &jobs[n - 1];
        if (s->kind == REC_NETNS) {
            j->netns = s;
            j->netns_i = i;
            j->renames = s->action == REC_REPLACE;
            j->new_netns = s->action == REC_CREATE || j->renames;
        } else {
            j->port = s;
            j->port_i = i;
            j->new_pair = s->action == REC_CREATE || s->action == REC_REPLACE;
        }
    }
    return n;
}

/* A link that has gone by itself meanwhile (its namespace died) is what a deletion wants. */
static void refused_unless_gone(void *outcomes, const struct net_error *e)
{
    if (e->code != ENODEV)
        rec_refused(outcomes, e);
}

/* What is left of broken pairs goes first: their names are needed again. */
static void clear_broken(struct group *g)
{
    struct net_error ne;
    for (size_t i = 0; i < g->n; i++) {
        const struct rec_step *s = g->steps[i];
        if (s->kind == REC_PORT && s->action == REC_REPLACE && s->from->port.index &&
            !s->with_start)
            net_batch_link_del(g->host,
                               (struct net_link_ref){s->from->port.index, s->from->port.link},
                               REC_TAG(i, REC_PART_LINK));
    }
    net_batch_send(g->host, refused_unless_gone, &g->outcomes, &ne);
}

struct sending {
    struct group *g;
    struct job *jobs;
    size_t n;
};

/* Keeps a refusal that another index may cure. Later requests of the same job name a link that is
 * not there: they are refused too. */
static void refused_host(void *arg, const struct net_error *e)
{
    struct sending *s = arg;
    struct job *j = NULL;
    for (size_t i = 0; i < s->n && e->tag; i++)
        if (s->jobs[i].port && s->jobs[i].port_i == REC_TAG_STEP(e->tag))
            j = &s->jobs[i];
    if (j && j->clash.code)
        return;
    if (j && j->new_pair && (e->code == EEXIST || e->code == EBUSY) && !strcmp(e->op, "create"))
        j->clash = *e;
    else
        rec_refused(&s->g->outcomes, e);
}

/* A link of this name is there; true also where that cannot be said. */
static bool is_there(struct net_batch *b, const char *name)
{
    struct net_link l;
    return net_link_get(net_batch_port(b), name, 0, &l, NULL) != -ENODEV;
}

/* The kernel says EEXIST for an index of the host that is taken, and for either name; EBUSY for an
 * index inside. True: only an index was in the way, and the pair can be asked for again with
 * another. */
static bool avoid_clash(struct group *g, struct job *j)
{
    if (is_there(g->host, j->port->to->port.link) || is_there(j->inside, "eth0"))
        return false;
    if (j->clash.code == EBUSY)
        j->peer_index = g->next_index++;
    j->clash.code = 0;
    return true;
}

/* The host side of `n` jobs. Where somebody else has taken an index since the links were read, the
 * pair is asked for again, with an index well above. */
static void send_host(struct group *g, struct job *jobs, size_t n)
{
    struct sending s = {g, jobs, n};
    struct net_error ne;
    bool due[HOST_BATCH];
    for (size_t i = 0; i < n; i++)
        due[i] = !jobs[i].failed;
    for (int clashes = 0, again = 1; again; clashes++) {
        for (size_t i = 0; i < n; i++)
            if (due[i])
                queue_host(g, &jobs[i]);
        net_batch_send(g->host, refused_host, &s, &ne);
        again = 0;
        for (size_t i = 0; i < n; i++) {
            due[i] = jobs[i].clash.code != 0;
            if (!due[i])
                continue;
            if (!again)
                g->next_index = next_thousand(g->next_index);
            due[i] = clashes < MOST_CLASHES && avoid_clash(g, &jobs[i]);
            again += due[i];
            if (due[i])
                continue;
            rec_refused(&g->outcomes, &jobs[i].clash);
            jobs[i].clash.code = 0;
        }
    }
}

static void run_jobs(struct group *g, struct ring *r)
{
    for (size_t at = 0; at < r->n;) {
        size_t n = take(r, HOST_BATCH);
        send_host(g, r->jobs + at, n);
        for (size_t i = at; i < at + n; i++) {
            fill(g, &r->jobs[i]);
            if (r->n <= FEW)
                name(r, &r->jobs[i]);
        }
        for (size_t named = done_with(r, n); g->told < named; g->told++)
            tell(g, &r->jobs[g->told]);
        at += n;
    }
}

/* How many jobs may be open at once under this process's limit. rec_proc_files has made sure of
 * FEW. */
static size_t most_open(void)
{
    struct rlimit limit;
    size_t most = REC_LINKS_MOST;
    if (getrlimit(RLIMIT_NOFILE, &limit) ||
        limit.rlim_cur >= REC_FILES + REC_LINKS_MOST * REC_LINK_FILES)
        return most;
    most = limit.rlim_cur > REC_FILES ? (size_t)(limit.rlim_cur - REC_FILES) / REC_LINK_FILES : 0;
    return most > FEW ? most : FEW;
}

int rec_links_apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                    struct rec_report *report)
{
    struct group g = {
        .run = run, .steps = steps, .n = n, .report = report, .outcomes = {steps, n, report}};
    struct ring r = {.lock = PTHREAD_MUTEX_INITIALIZER,
                     .moved = PTHREAD_COND_INITIALIZER,
                     .most_open = most_open(),
                     .given = run->given_netns};
    struct rec_error e;
    struct net_error ne;
    size_t before = report->n_failures, inner = 0;
    struct job *jobs = calloc(n + 1, sizeof *jobs);
    int rc = jobs ? 0 : rec_fail(&e, ENOMEM, "out of memory");
    if (!rc)
        rc = rec_net(run, &g.host, &e);
    if (!rc)
        rc = rec_netns_dir(run, true, &r.dir, &e);
    if (rc) {
        fail(&g, n ? steps[0] : NULL, &e);
        free(jobs);
        return rc;
    }
    g.next_index = first_index(run->links);
    size_t n_jobs = gather(&g, jobs);
    clear_broken(&g);
    /* Those that need nobody inside are one batch, done where nothing refused them; the rest
     * move up and go through the pipeline. */
    for (size_t i = 0; i < n_jobs; i++)
        if (outside_only(&jobs[i]))
            queue_host(&g, &jobs[i]);
    net_batch_send(g.host, rec_refused, &g.outcomes, &ne);
    for (size_t i = 0; i < n_jobs; i++) {
        if (!outside_only(&jobs[i]))
            jobs[inner++] = jobs[i];
        else if (jobs[i].port->state == REC_PENDING)
            rec_report_done(report, jobs[i].port);
    }
    r.jobs = jobs;
    r.n = inner;
    pthread_t thread;
    if (inner) {
        rc = rec_thread(&thread, maker, &r);
        if (rc) {
            rec_fail(&e, rc, "cannot start a thread to make namespaces: %s", strerror(rc));
            fail(&g, steps[0], &e);
        } else {
            run_jobs(&g, &r);
            pthread_join(thread, NULL);
            for (; g.told < inner; g.told++)
                tell(&g, &jobs[g.told]);
        }
    }
    free(jobs);
    for (size_t i = 0; i < n; i++)
        if (steps[i]->with_start)
            rec_report_done(report, steps[i]);
    return report->n_failures > before ? -EIO : 0;
}

/* Of the link that goes with an item; 0: none. */
static int index_of(const struct rec_item *i)
{
    return i->kind == REC_PORT ? i->port.index : i->kind == REC_BRIDGE ? i->bridge.index : 0;
}

static bool removes(struct rec_step *const *steps, size_t n, int index)
{
    for (size_t i = 0; i < n; i++)
        if (index_of(steps[i]->from) == index)
            return true;
    return false;
}

/* A descriptor from `above` on, so that none is missed where all others come from; -errno. 0:
 * wherever it is, as long as many are left. */
static int hold_one(int dir, const char *name, rlim_t above, rlim_t most)
{
    int fd, r = net_netns_open(dir, name, &fd, NULL);
    if (r)
        return r;
    if (!above && (rlim_t)fd + SPARE < most)
        return fd;
    int up = above ? fcntl(fd, F_DUPFD_CLOEXEC, (int)above) : -1;
    close(fd);
    return up < 0 ? -EMFILE : up;
}

/* Namespaces that lose their names stay until the run is closed: the kernel cleans up after the
 * first one that ends, and while it does, taking away further names and reading links (the check
 * that is to come) wait for it. As many as may be open beside what the rest of the run needs;
 * the others go at once. */
static void hold(struct rec_run *run, struct rec_step *const *steps, size_t n, int dir)
{
    struct rlimit was;
    int *held =
        dir < 0 || run->undoing ? NULL : realloc(run->dying, (run->n_dying + n) * sizeof *held);
    if (!held)
        return;
    run->dying = held;
    if (getrlimit(RLIMIT_NOFILE, &was) || was.rlim_cur > INT_MAX / 2)
        return;
    struct rlimit raised = {.rlim_cur = was.rlim_cur + n + 1, .rlim_max = was.rlim_max};
    if (raised.rlim_cur > was.rlim_max)
        raised.rlim_cur = was.rlim_max;
    bool above = raised.rlim_cur > was.rlim_cur && !setrlimit(RLIMIT_NOFILE, &raised);
    for (size_t i = 0; i < n; i++) {
        int fd = steps[i]->kind == REC_NETNS
                     ? hold_one(dir, steps[i]->from->key, above ? was.rlim_cur : 0, was.rlim_cur)
                     : -ENOENT;
        if (fd >= 0)
            run->dying[run->n_dying++] = fd;
        else if (fd == -EMFILE || fd == -ENFILE)
            break;
    }
    if (above)
        /* what is started is not to have more than it would by itself */
        setrlimit(RLIMIT_NOFILE, &was);
}

/* Its process has ended before this step, so its link may have gone, and another link may have got
 * the index. */
static bool ended_with_process(struct net_batch *host, const struct rec_item *f)
{
    struct net_link l;
    if (f->kind != REC_PORT || !f->port.own)
        return false;
    int r = net_link_get(net_batch_port(host), f->port.link, 0, &l, NULL);
    return r == -ENODEV || (!r && l.index != f->port.index);
}

int rec_links_remove(struct rec_run *run, struct rec_step *const *steps, size_t n,
                     struct rec_report *report)
{
    struct rec_outcomes o = {steps, n, report};
    struct rec_error e;
    struct net_error ne;
    struct net_batch *host;
    int dir = -1, rc = rec_net(run, &host, &e);
    if (!rc && rec_netns_dir(run, false, &dir, &e) && run->netns_dir < 0)
        dir = -1;
    if (rc) {
        rec_report_failed(report, n ? steps[0] : NULL, &e);
        return rc;
    }
    size_t first = n, failures = report->n_failures;
    for (size_t i = 0; i < n && first == n; i++)
        first = index_of(steps[i]->from) ? i : n;
    if (first < n && (rc = rec_links_whole(run, &e))) {
        rec_report_failed(report, steps[first], &e);
        return rc;
    }
    /* A run that was killed may have left this mark on links that are to stay. */
    for (size_t i = 0; first < n && i < run->links->n; i++) {
        const struct net_link *l = &run->links->link[i];
        if (l->group == REC_GROUP_GONE && !removes(steps, n, l->index))
            net_batch_link_group(host, (struct net_link_ref){l->index, l->name}, REC_GROUP,
                                 REC_TAG(first, REC_PART_LINK));
    }
    for (size_t i = 0; i < n; i++) {
        const struct rec_item *f = steps[i]->from;
        int index = index_of(f);
        if (!index || ended_with_process(host, f))
            continue;
        net_batch_link_group(
            host, (struct net_link_ref){index, f->kind == REC_PORT ? f->port.link : f->key},
            REC_GROUP_GONE, REC_TAG(i, REC_PART_LINK));
    }
    if (first < n)
        net_batch_send(host, refused_unless_gone, &o, &ne);
    if (first < n && report->n_failures == failures) {
        net_batch_group_del(host, REC_GROUP_GONE, REC_TAG(first, REC_PART_LINK));
        net_batch_send(host, refused_unless_gone, &o, &ne);
    }
    rc = report->n_failures == failures ? 0 : -EIO;
    hold(run, steps, n, dir);
    for (size_t i = 0; i < n; i++)
        if (steps[i]->kind == REC_NETNS && dir >= 0) {
            const struct rec_item *f = steps[i]->from;
            int k = net_netns_unname(dir, f->key, &ne);
            if (!k || (k == -ENOENT && f->netns.own))
                continue;
            rec_fail_net(&e, &ne);
            rec_report_failed(report, steps[i], &e);
            rc = -e.code;
        }
    rec_rest_done(&o);
    return rc;
}
