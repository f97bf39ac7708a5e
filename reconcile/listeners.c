/* A port map is a rule that goes before all sockets: whoever listens on the port hears nothing
 * any more, and nobody is told. */
#include "reconcile/listeners.h"
#include "netops/sockdiag.h"
#include "reconcile/claims.h"
#include "reconcile/kinds.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_WARNINGS = 8 };

struct user { /* a socket on a port of a new map */
    struct net_socket s;
    pid_t pid;        /* 0: not known */
    char program[32]; /* its comm, without control bytes; "" */
};
enum fate { MAP_SET, MAP_PENDING, MAP_FORBIDDEN };
struct search {
    const struct net_nft_map *added;
    enum fate *fate; /* beside `added` */
    size_t n;
    struct user *users;
    size_t n_users, room;
    bool failed;
};

static bool same_map(const struct net_nft_map *x, const struct net_nft_map *y)
{
    return x->family == y->family && x->proto == y->proto && x->any == y->any &&
           x->port == y->port && (x->any || !memcmp(x->host, y->host, sizeof x->host));
}

static int compare_maps(const void *a, const void *b)
{
    const struct net_nft_map *x = a, *y = b;
    return (int)x->port - (int)y->port;
}

static size_t first_map(const struct net_nft_map *list, size_t n, uint16_t port)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (list[middle].port < port)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Maps whose key `old` lacks, sorted by service port. A map that only leads elsewhere takes
 * nothing new. */
static struct net_nft_map *new_maps(struct spec_arena *a, const struct net_nft *want,
                                    const struct net_nft *old, size_t *n)
{
    struct net_nft_map *out = spec_arena_alloc(a, (want->n_maps + 1) * sizeof *out);
    struct net_nft_map *had = spec_arena_alloc(a, ((old ? old->n_maps : 0) + 1) * sizeof *had);
    size_t n_had = old ? old->n_maps : 0;
    *n = 0;
    if (!out || !had)
        return NULL;
    if (n_had) {
        memcpy(had, old->maps, n_had * sizeof *had);
        qsort(had, n_had, sizeof *had, compare_maps);
    }
    for (size_t i = 0; i < want->n_maps; i++) {
        size_t k = first_map(had, n_had, want->maps[i].port);
        while (k < n_had && had[k].port == want->maps[i].port && !same_map(&had[k], &want->maps[i]))
            k++;
        if (k == n_had || had[k].port != want->maps[i].port)
            out[(*n)++] = want->maps[i];
    }
    if (*n)
        qsort(out, *n, sizeof *out, compare_maps);
    return out;
}

static bool takes(const struct net_nft_map *m, const struct net_socket *s)
{
    if (m->proto != s->proto || m->port != s->port ||
        (m->family != s->family && !(s->both && m->family == AF_INET)))
        return false;
    return m->any || s->any || !memcmp(m->host, s->addr, m->family == AF_INET6 ? 16 : 4);
}

static int take_user(void *arg, const struct net_socket *s)
{
    struct search *f = arg;
    size_t i = first_map(f->added, f->n, s->port);
    if (!s->listens && s->proto != IPPROTO_TCP)
        return 0;
    while (i < f->n && f->added[i].port == s->port && !takes(&f->added[i], s))
        i++;
    if (i == f->n || f->added[i].port != s->port)
        return 0;
    if (f->n_users == f->room) {
        size_t room = f->room ? f->room * 2 : 16;
        struct user *users = realloc(f->users, room * sizeof *users);
        if (!users)
            return -ENOMEM;
        f->users = users;
        f->room = room;
    }
    f->users[f->n_users++] = (struct user){.s = *s};
    return 0;
}

static void forget_users(void *arg)
{
    ((struct search *)arg)->n_users = 0;
}

/* ---- whose sockets they are ---- */

static void read_program(pid_t pid, char out[32])
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, 31);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    for (char *p = out; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            *p = '?';
}

static void look_at_process(struct search *f, pid_t pid)
{
    char path[48], target[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        unsigned long inode;
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        if (sscanf(target, "socket:[%lu]", &inode) != 1)
            continue;
        for (size_t i = 0; i < f->n_users; i++)
            if (f->users[i].s.inode == inode && inode && !f->users[i].pid) {
                f->users[i].pid = pid;
                read_program(pid, f->users[i].program);
            }
    }
    if (d)
        closedir(d);
}

static void find_processes(struct search *f)
{
    DIR *d = opendir("/proc");
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            look_at_process(f, (pid_t)strtol(e->d_name, NULL, 10));
    if (d)
        closedir(d);
}

/* "sshd", and what newer versions run for each connection: "sshd-session", "sshd-auth". */
static bool is_sshd(const struct user *u)
{
    return !strcmp(u->program, "sshd") || !strncmp(u->program, "sshd-", 5);
}

/* ---- what is said ---- */

static const char *container_of(const struct rec_run *run, const struct net_nft_map *m)
{
    return run->host && m->tag && m->tag <= run->host->n_containers
               ? run->host->containers[m->tag - 1].name
               : "a container";
}

static const char *by_whom(struct spec_arena *a, const struct user *u)
{
    return u->pid ? spec_arena_printf(a, "%s (pid %d)", u->program, (int)u->pid) : "a program";
}

/* The first map that takes the socket's port and is to be set, or NULL. */
static const struct net_nft_map *taking_map(const struct search *f, const struct net_socket *s)
{
    for (size_t x = first_map(f->added, f->n, s->port); x < f->n && f->added[x].port == s->port;
         x++)
        if (f->fate[x] == MAP_SET && takes(&f->added[x], s))
            return &f->added[x];
    return NULL;
}

/* A refused map is not set, but it stays wanted: each port is named. */
static int warn_pending(struct rec_run *run, struct rec_plan *p, const struct search *f)
{
    for (size_t i = 0; i < f->n; i++) {
        const struct net_nft_map *m = &f->added[i];
        bool again = false;
        /* both families, or several addresses */
        for (size_t k = first_map(f->added, f->n, m->port); k < i && !again; k++)
            again = f->fate[k] == MAP_PENDING && f->added[k].proto == m->proto;
        if (f->fate[i] != MAP_PENDING || again)
            continue;
        const char *object = spec_arena_printf(run->arena, "port %s %u",
                                               m->proto == IPPROTO_TCP ? "tcp" : "udp", m->port);
        const char *text = spec_arena_printf(
            run->arena,
            "the port map to container %s is pending: sshd has a connection on that port",
            container_of(run, m));
        if (!object || !text ||
            (p->n_pending++ < MOST_WARNINGS && rec_plan_warn(run, p, object, NULL, text)))
            return -ENOMEM;
    }
    return 0;
}

static int warn(struct rec_run *run, struct rec_plan *p, const struct search *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_users; i++) {
        const struct user *u = &f->users[i];
        bool again = false;
        /* both families, or several sockets of one program */
        for (size_t k = 0; k < i && !again; k++)
            again = f->users[k].s.listens && f->users[k].pid == u->pid &&
                    f->users[k].s.port == u->s.port && f->users[k].s.proto == u->s.proto;
        const struct net_nft_map *m = taking_map(f, &u->s);
        if (!u->s.listens || again || !m || n++ >= MOST_WARNINGS)
            continue;
        const char *proto = u->s.proto == IPPROTO_TCP ? "tcp" : "udp";
        const char *object = spec_arena_printf(run->arena, "port %s %u", proto, u->s.port);
        const char *text = spec_arena_printf(
            run->arena,
            "%s listens on it, and container %s takes it: nothing will reach that program on %s",
            by_whom(run->arena, u), container_of(run, m), m->any ? "this host" : "that address");
        const char *hint = spec_arena_printf(
            run->arena, "to see the program: ss -Hlnp --%s 'sport = :%u'", proto, u->s.port);
        if (!object || !text || !hint || rec_plan_warn(run, p, object, hint, text))
            return -ENOMEM;
    }
    return 0;
}

/* The entry of the spec that the map comes from, or NULL. */
static const struct spec_port *spec_port_of(const struct rec_run *run, const struct net_nft_map *m)
{
    if (!run->host || !m->tag || m->tag > run->host->n_containers)
        return NULL;
    const struct spec_container *c = &run->host->containers[m->tag - 1];
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct spec_port *p = &c->ports[i];
        int family = p->address.family == 6 ? AF_INET6 : AF_INET;
        bool in_range = m->port >= p->host && m->port - p->host < p->count;
        bool same_address =
            spec_port_any(p) == m->any &&
            (m->any || !memcmp(p->address.bytes, m->host, m->family == AF_INET6 ? 16 : 4));
        if (in_range && (int)p->proto == m->proto && same_address &&
            (!p->address.family || family == m->family))
            return p;
    }
    return NULL;
}

/* Has a map of that port been forbidden: of the other family, or at another address? */
static bool forbidden_before(const struct search *f, size_t map)
{
    const struct net_nft_map *m = &f->added[map];
    size_t k = first_map(f->added, f->n, m->port);
    for (; k < f->n && f->added[k].port == m->port; k++)
        if (f->fate[k] == MAP_FORBIDDEN && f->added[k].proto == m->proto)
            return true;
    return false;
}

/* Port map `x` takes the port that `u` listens on. */
static int forbid_map(struct rec_run *run, struct rec_plan *p, struct search *f, size_t x,
                      const struct user *u)
{
    const struct net_nft_map *m = &f->added[x];
    const struct spec_port *port = spec_port_of(run, m);
    bool told = forbidden_before(f, x);
    f->fate[x] = MAP_FORBIDDEN;
    if (told)
        return 0;
    const char *text = spec_arena_printf(
        run->arena, "container '%s' may not take port %u/%s of this host: %s listens on it",
        container_of(run, m), m->port, m->proto == IPPROTO_TCP ? "tcp" : "udp",
        by_whom(run->arena, u));
    return rec_plan_forbid(run, p, REC_FIND_PORT_IN_USE, port ? port->at : (struct spec_loc){0},
                           text, NULL);
}

/* Each port is told once, with a program that listens on it. */
static int forbid(struct rec_run *run, struct rec_plan *p, struct search *f)
{
    struct rec_claims claims;
    int r = f->n_users ? rec_claims_read(run, &claims) : 0;
    for (size_t i = 0; !r && i < f->n_users; i++) {
        const struct user *u = &f->users[i];
        size_t x = u->s.listens ? first_map(f->added, f->n, u->s.port) : f->n;
        for (; !r && x < f->n && f->added[x].port == u->s.port; x++)
            if (f->fate[x] == MAP_SET && takes(&f->added[x], &u->s) &&
                !rec_claims_port(&claims, &f->added[x]))
                r = forbid_map(run, p, f, x, u);
    }
    return r;
}

static void refuse(const struct rec_run *run, const struct user *u, const struct net_nft_map *m,
                   struct rec_error *refusal)
{
    char peer[INET6_ADDRSTRLEN] = "";
    inet_ntop(u->s.family, u->s.peer, peer, sizeof peer);
    rec_fail(refusal, EPERM,
             "%s (pid %d) has a connection from %s to port %u here, and container %s takes that "
             "port: the next connection would "
             "not reach this host",
             u->program, (int)u->pid, peer, u->s.port, container_of(run, m));
    const struct spec_port *port = spec_port_of(run, m);
    if (port)
        refusal->at = port->at;
    rec_hint(refusal, "if there is another way in: --allow-own-connection");
}

/* What is wanted, without the maps that are pending. NULL: out of memory. */
static const struct rec_state *without(struct rec_run *run, const struct rec_state *want,
                                       const struct search *f)
{
    struct rec_state *state = spec_arena_alloc(run->arena, sizeof *state);
    struct rec_item **items = spec_arena_alloc(run->arena, (want->n + 1) * sizeof *items);
    struct rec_item *nat = spec_arena_alloc(run->arena, sizeof *nat);
    struct net_nft *nft = spec_arena_alloc(run->arena, sizeof *nft);
    if (!state || !items || !nat || !nft)
        return NULL;
    *state = *want;
    state->items = items;
    for (size_t i = 0; i < want->n; i++) {
        items[i] = want->items[i];
        if (items[i]->kind != REC_NAT)
            continue;
        *nat = *want->items[i];
        *nft = *nat->nat.want;
        struct net_nft_map *maps = spec_arena_alloc(run->arena, (nft->n_maps + 1) * sizeof *maps);
        if (!maps)
            return NULL;
        size_t n = 0;
        for (size_t k = 0; k < nft->n_maps; k++) {
            bool keep = true;
            for (size_t x = 0; x < f->n && keep; x++)
                keep = !(f->fate[x] == MAP_PENDING && same_map(&f->added[x], &nft->maps[k]));
            if (keep)
                maps[n++] = nft->maps[k];
        }
        nft->maps = maps;
        nft->n_maps = n;
        nat->nat.want = nft;
        items[i] = nat;
    }
    return state;
}

static const struct rec_step *new_tables(const struct rec_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_NAT && p->steps[i]->to && p->steps[i]->to->nat.want)
            return p->steps[i];
    return NULL;
}

/* The maps of `s` that are not there before it. -ENOMEM. */
static int find_new_maps(struct rec_run *run, const struct rec_step *s, struct search *f)
{
    struct net_nft_model old;
    const struct rec_item *from = s->from;
    bool known = from && from->nat.have && net_nft_model(from->nat.have, &old);
    const struct net_nft *before = known ? &old.nft : from ? from->nat.want : NULL;
    f->added = new_maps(run->arena, s->to->nat.want, before, &f->n);
    if (known)
        net_nft_model_done(&old);
    f->fate = spec_arena_alloc(run->arena, (f->n + 1) * sizeof *f->fate);
    if (!f->added || !f->fate)
        return -ENOMEM;
    memset(f->fate, 0, (f->n + 1) * sizeof *f->fate);
    return 0;
}

/* Maps that would take a port on which sshd has a connection. True: there are some. */
static bool hold_back(const struct rec_run *run, struct search *f, struct rec_error *refusal)
{
    bool some = false;
    for (size_t i = 0; i < f->n_users; i++) {
        const struct user *u = &f->users[i];
        if (u->s.listens || run->opt.own_connection || !is_sshd(u))
            continue;
        size_t x = first_map(f->added, f->n, u->s.port);
        for (; x < f->n && f->added[x].port == u->s.port; x++) {
            if (!takes(&f->added[x], &u->s))
                continue;
            if (!some)
                refuse(run, u, &f->added[x], refusal);
            f->fate[x] = MAP_PENDING;
            some = true;
        }
    }
    return some;
}

int rec_listeners_check(struct rec_run *run, const struct rec_state *want, struct rec_plan *p,
                        const struct rec_state **kept, struct rec_error *refusal,
                        struct rec_error *err)
{
    const struct rec_step *s = new_tables(p);
    struct net_error e;
    struct search f = {0};
    *kept = NULL;
    if (!s || !s->to->nat.want->n_maps || run->opt.offline)
        return 0;
    if (find_new_maps(run, s, &f))
        return rec_fail(err, ENOMEM, "out of memory");
    if (!f.n)
        return 0;
    int r = net_sockdiag_dump(IPPROTO_TCP, NET_SOCKETS_ALL, f.added[0].port, f.added[f.n - 1].port,
                              take_user, forget_users, &f, &e);
    size_t n_tcp = f.n_users;
    struct user *tcp = f.users;
    f.users = NULL;
    f.n_users = f.room = 0;
    if (!r)
        r = net_sockdiag_dump(IPPROTO_UDP, NET_SOCKETS_ALL, f.added[0].port, f.added[f.n - 1].port,
                              take_user, forget_users, &f, &e);
    struct user *all = r ? NULL : realloc(tcp, (n_tcp + f.n_users + 1) * sizeof *all);
    if (!r && !all)
        r = -ENOMEM;
    if (r) {
        free(tcp);
        free(f.users);
        return r == -ENOMEM ? rec_fail(err, ENOMEM, "out of memory") : rec_fail_net(err, &e);
    }
    if (f.n_users)
        memcpy(all + n_tcp, f.users, f.n_users * sizeof *all);
    free(f.users);
    f.users = all;
    f.n_users += n_tcp;
    if (f.n_users)
        find_processes(&f);
    r = run->opt.forbid & REC_FORBID(REC_FIND_PORT_IN_USE) ? forbid(run, p, &f) : 0;
    bool pending = !r && !p->n_forbidden && hold_back(run, &f, refusal);
    if (!r)
        r = warn(run, p, &f);
    if (!r && pending)
        r = warn_pending(run, p, &f);
    if (!r && pending && !(*kept = without(run, want, &f)))
        r = -ENOMEM;
    free(f.users);
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

struct clients {
    struct search search;
    bool (*wanted)(void *arg, const struct spec_addr *client);
    void *arg;
};

static struct spec_addr peer_of(const struct net_socket *s)
{
    struct spec_addr a = {.family = s->family == AF_INET6 ? 6 : 4,
                          .prefix = s->family == AF_INET6 ? 128 : 32};
    memcpy(a.bytes, s->peer, a.family == 6 ? 16 : 4);
    return a;
}

static int take_client(void *arg, const struct net_socket *s)
{
    struct clients *c = arg;
    struct search *f = &c->search;
    struct spec_addr peer = peer_of(s);
    if (s->listens || !c->wanted(c->arg, &peer))
        return 0;
    struct user *users = realloc(f->users, (f->n_users + 1) * sizeof *users);
    if (!users)
        return -ENOMEM;
    f->users = users;
    users[f->n_users++] = (struct user){.s = *s};
    return 0;
}

static void forget_clients(void *arg)
{
    ((struct clients *)arg)->search.n_users = 0;
}

int rec_sshd_clients(struct rec_run *run, bool (*wanted)(void *arg, const struct spec_addr *client),
                     void *arg, struct spec_addr **out, size_t *n, struct rec_error *err)
{
    struct clients c = {.wanted = wanted, .arg = arg};
    struct net_error e;
    *n = 0;
    *out = NULL;
    int r = net_sockdiag_dump(IPPROTO_TCP, NET_SOCKETS_CONNECTED, 1, 65535, take_client,
                              forget_clients, &c, &e);
    if (r)
        rec_fail_net(err, &e);
    if (!r && c.search.n_users) {
        find_processes(&c.search);
        *out = spec_arena_alloc(run->arena, c.search.n_users * sizeof **out);
        r = *out ? 0 : rec_fail(err, ENOMEM, "out of memory");
    }
    for (size_t i = 0; !r && i < c.search.n_users; i++)
        if (is_sshd(&c.search.users[i]))
            (*out)[(*n)++] = peer_of(&c.search.users[i].s);
    free(c.search.users);
    return r;
}
