/* Facts are what only this host knows and `want` needs: who PID 1 is, which links lead out, whom to
 * ask for names. Only what the spec's host asks for is read. */
#include "netops/sysctl.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/record.h"
#include "reconcile/runtime.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *first_of(const char *const *paths)
{
    for (; *paths; paths++)
        if (!access(*paths, X_OK))
            return *paths;
    return NULL;
}

/* The first `max` bytes of a file of the host's that may be a symlink (resolv.conf is one on most
 * hosts). "" where there is none; any other error is one: an unreadable file is not an empty
 * one. */
static int slurp(struct spec_arena *a, const char *path, size_t max, char **out,
                 struct rec_error *err)
{
    char *text = spec_arena_alloc(a, max + 1);
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    *text = 0;
    *out = text;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), code = 0;
    if (fd < 0)
        return errno == ENOENT
                   ? 0
                   : rec_fail(err, errno, "cannot read '%s': %s", path, strerror(errno));
    size_t n = 0;
    for (ssize_t r = 1; r && !code && n < max;) {
        r = read(fd, text + n, max - n);
        if (r < 0 && errno != EINTR)
            code = errno;
        n += r > 0 ? (size_t)r : 0;
    }
    close(fd);
    text[n] = 0;
    return code ? rec_fail(err, code, "cannot read '%s': %s", path, strerror(code)) : 0;
}

static bool loopback(const struct spec_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->family == 4 ? a->bytes[0] == 127 : !memcmp(a->bytes, one, 16);
}

/* 127.0.0.53 and 127.0.0.54: systemd-resolved, which may not have a server yet. */
static bool stub(const struct spec_addr *a)
{
    return a->family == 4 && !a->bytes[1] && !a->bytes[2] &&
           (a->bytes[3] == 53 || a->bytes[3] == 54);
}

enum { RESOLV_MOST = 16384 };

int rec_nameservers_read(struct rec_run *run, struct spec_addr **out, size_t *n_out,
                         struct rec_error *err)
{
    /* Where resolv.conf names only a resolver on loopback, systemd-resolved keeps the real ones
     * here. */
    static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
    struct spec_addr *list = spec_arena_alloc(run->arena, 8 * sizeof *list);
    size_t n = 0;
    if (!list)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t f = 0; f < 2 && !n; f++) {
        char *text, *save = NULL;
        int r = slurp(run->arena, files[f], RESOLV_MOST, &text, err);
        if (r) {
            rec_hint(err, "containers get the host's nameservers; to give them others, set "
                          "`nameservers` in the spec");
            return r;
        }
        for (char *line = strtok_r(text, "\n", &save); line && n < 8;
             line = strtok_r(NULL, "\n", &save)) {
            char word[64], why[128];
            if (sscanf(line, " nameserver %63s", word) != 1)
                continue;
            struct spec_addr a;
            if (spec_addr_parse(word, strlen(word), &a, why))
                continue;
            if (!loopback(&a))
                list[n++] = a;
            else
                run->facts.own_resolver |= !stub(&a);
        }
    }
    *out = list;
    *n_out = n;
    return 0;
}

enum { MOST_RA_LINKS = 64 };
struct uplinks {
    int oif[2];
    uint32_t metric[2];
    int other[2];          /* another link that is as good */
    int ra[MOST_RA_LINKS]; /* links with a default route from a router advertisement */
    size_t n_ra;
};

static void take_ra(struct uplinks *u, int index)
{
    for (size_t i = 0; i < u->n_ra; i++)
        if (u->ra[i] == index)
            return;
    if (u->n_ra < MOST_RA_LINKS)
        u->ra[u->n_ra++] = index;
}

static int take_route(void *arg, const struct net_route *r)
{
    struct uplinks *u = arg;
    int f = r->family == AF_INET6;
    if (r->prefix || !net_route_leaves(r))
        return 0;
    if (!u->oif[f] || r->metric < u->metric[f]) {
        u->oif[f] = r->oif;
        u->metric[f] = r->metric;
        u->other[f] = r->other_oif;
    } else if (r->metric == u->metric[f] && r->oif != u->oif[f]) {
        u->other[f] = r->oif;
    }
    if (f && r->protocol == RTPROT_RA)
        take_ra(u, r->oif);
    return 0;
}

static void forget_routes(void *arg)
{
    memset(arg, 0, sizeof(struct uplinks));
}

static int link_name(struct net_batch *b, int index, char out[16], struct rec_error *err)
{
    struct net_link l;
    struct net_error e;
    out[0] = 0;
    int r = net_link_get(net_batch_port(b), NULL, index, &l, &e);
    if (r)
        return r == -ENODEV ? 0 : rec_fail_net(err, &e);
    if (!rec_group_ours(l.group))
        snprintf(out, 16, "%s", l.name);
    return 0;
}

/* Link `name`, if the kernel accepts router advertisements there: accept_ra is not 0 (then another
 * program reads them). */
static int add_ra(struct rec_run *run, const char *name, bool route, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    char key[64], value[64];
    for (size_t i = 0; i < f->n_ra; i++)
        if (!strcmp(f->ra[i].link, name)) {
            f->ra[i].route |= route;
            return 0;
        }
    snprintf(key, sizeof key, "net/ipv6/conf/%s/accept_ra", name);
    if (net_sysctl_read(key, value, NULL) || (strcmp(value, "1") && strcmp(value, "2")))
        return 0;
    struct rec_ra *list =
        spec_arena_grow(run->arena, f->ra, f->n_ra * sizeof *list, (f->n_ra + 1) * sizeof *list);
    if (!list)
        return rec_fail(err, ENOMEM, "out of memory");
    f->ra = list;
    size_t at = f->n_ra++;
    for (; at && strcmp(list[at - 1].link, name) > 0; at--)
        list[at] = list[at - 1];
    list[at] = (struct rec_ra){.route = route};
    snprintf(list[at].link, sizeof list[at].link, "%s", name);
    int code = f->root && !strcmp(value, "1") ? net_sysctl_writable(key) : 0;
    if (code && !(list[at].stuck = spec_arena_strdup(run->arena, strerror(-code))))
        return rec_fail(err, ENOMEM, "out of memory");
    return 0;
}

/* A link that was told to keep its router advertisements is kept so while the host forwards, also
 * when its router is away. */
static int add_recorded_ra(struct rec_run *run, struct rec_error *err)
{
    struct rec_records rec;
    int r = rec_records_read(run, &rec, err);
    if (r)
        return r == -EACCES && !run->facts.root ? 0 : r;
    for (size_t i = 0; !r && i < rec.n; i++) {
        char name[16], rest[16];
        if (sscanf(rec.list[i].name, "net/ipv6/conf/%15[^/]/%15s", name, rest) == 2 &&
            !strcmp(rest, "accept_ra"))
            r = add_ra(run, name, false, err);
    }
    return r;
}

/* The links that the spec's host sends its IPv6 containers out by, if they hear router
 * advertisements at all: those may come later. */
static int add_uplink_ra(struct rec_run *run, const struct spec_host *h, struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < h->n_bridges; i++) {
        const struct spec_bridge *b = &h->bridges[i];
        if (!rec_bridge_has(b, 6) || b->nat.uplink == SPEC_UPLINK_NONE)
            continue;
        const char *name =
            b->nat.uplink == SPEC_UPLINK_AUTO ? run->facts.uplink6 : b->nat.interface;
        if (name[0])
            r = add_ra(run, name, false, err);
    }
    return r;
}

static int read_ra(struct rec_run *run, struct net_batch *b, const struct uplinks *u,
                   struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < u->n_ra; i++) {
        char name[16];
        r = link_name(b, u->ra[i], name, err);
        if (!r && name[0])
            r = add_ra(run, name, true, err);
    }
    if (!r)
        r = add_uplink_ra(run, run->host, err);
    return r ? r : add_recorded_ra(run, err);
}

enum { MOST_TABLES = 32, MAIN_PRIORITY = 32766 };
struct policy {
    struct net_rule rule[MOST_TABLES];
    size_t n;
    struct uplinks *main;
    /* of a default route in one of these tables, another one than the main table's */
    int oif[2];
};

static int take_rule(void *arg, const struct net_rule *r)
{
    struct policy *p = arg;
    bool standard = r->table == RT_TABLE_MAIN || r->table == RT_TABLE_LOCAL ||
                    r->table == RT_TABLE_DEFAULT || !r->table;
    /* Behind the main table's rule nothing comes, where that table has a default route. */
    if (standard || (r->priority > MAIN_PRIORITY && p->main->oif[r->family == AF_INET6]))
        return 0;
    if (p->n < MOST_TABLES)
        p->rule[p->n++] = *r;
    return 0;
}

static void forget_rules(void *arg)
{
    ((struct policy *)arg)->n = 0;
}

static int take_policy_route(void *arg, const struct net_route *r)
{
    struct policy *p = arg;
    int f = r->family == AF_INET6;
    for (size_t i = 0; i < p->n; i++)
        if (p->rule[i].table == r->table && p->rule[i].family == r->family && !r->prefix &&
            net_route_leaves(r) && r->oif != p->main->oif[f])
            p->oif[f] = r->oif;
    return 0;
}

static void forget_policy_routes(void *arg)
{
    struct policy *p = arg;
    p->oif[0] = p->oif[1] = 0;
}

/* Default routes in tables that rules lead to before the main one. */
static int read_policy(struct rec_run *run, struct net_batch *b, struct uplinks *u,
                       struct rec_error *err)
{
    struct policy p = {.main = u};
    struct net_error e;
    if (net_rule_dump(net_batch_port(b), take_rule, forget_rules, &p, &e))
        return rec_fail_net(err, &e);
    if (p.n &&
        net_route_dump_tables(net_batch_port(b), take_policy_route, forget_policy_routes, &p, &e))
        return rec_fail_net(err, &e);
    run->facts.policy4 = p.oif[0] != 0;
    run->facts.policy6 = p.oif[1] != 0;
    for (int f = 0; f < 2; f++)
        if (p.oif[f])
            u->other[f] = p.oif[f];
    return 0;
}

static int read_others(struct rec_run *run, struct net_batch *b, struct uplinks *u,
                       struct rec_error *err)
{
    int r = read_policy(run, b, u, err);
    for (int f = 0; !r && f < 2; f++) {
        char name[16] = "";
        r = u->other[f] ? link_name(b, u->other[f], name, err) : 0;
        const char *other = !r && name[0] ? spec_arena_strdup(run->arena, name) : NULL;
        if (f)
            run->facts.other6 = other;
        else
            run->facts.other4 = other;
    }
    return r;
}

static int read_uplinks(struct rec_run *run, bool forwards6, bool automatic, struct rec_error *err)
{
    struct net_batch *b;
    struct net_error e;
    struct uplinks u = {0};
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    if (net_route_dump(net_batch_port(b), take_route, forget_routes, &u, &e))
        return rec_fail_net(err, &e);
    if (automatic && (r = read_others(run, b, &u, err)))
        return r;
    for (int f = 0; f < 2; f++) {
        struct net_link l;
        int k = u.oif[f] ? net_link_get(net_batch_port(b), NULL, u.oif[f], &l, &e) : -ENODEV;
        if (k && k != -ENODEV)
            return rec_fail_net(err, &e);
        if (!k)
            snprintf(f ? run->facts.uplink6 : run->facts.uplink4, sizeof run->facts.uplink4, "%s",
                     l.name);
    }
    return forwards6 ? read_ra(run, b, &u, err) : 0;
}

static bool is_adopted(const struct rec_facts *f, const char *bridge)
{
    char name[48];
    snprintf(name, sizeof name, "bridge/%s/group", bridge);
    for (size_t i = 0; i < f->n_adopted; i++)
        if (!strcmp(f->adopted[i].name, name))
            return true;
    return false;
}

/* Ports that berth did not make; those of nixos containers are told by their name. */
static bool has_foreign_ports(struct net_batch *b, const char *bridge)
{
    char path[64];
    struct net_link l;
    bool found = false;
    snprintf(path, sizeof path, "/sys/class/net/%s/brif", bridge);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && !found && (e = readdir(d));)
        found = e->d_name[0] != '.' && strncmp(e->d_name, "vb-", 3) &&
                !(net_link_get(net_batch_port(b), e->d_name, 0, &l, NULL) == 0 &&
                  rec_group_ours(l.group));
    if (d)
        closedir(d);
    return found;
}

/* Bridges that somebody else made, or that berth took over with the ports of others on it. */
static int read_shared(struct rec_run *run, const struct spec_host *h, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    for (size_t i = 0; i < h->n_bridges; i++) {
        const struct spec_bridge *s = &h->bridges[i];
        struct net_batch *b;
        struct net_link l;
        struct net_error e;
        if (!rec_bridge_filtered(h, s) || s->nat.open)
            continue;
        int r = rec_net(run, &b, err);
        if (r)
            return r;
        r = net_link_get(net_batch_port(b), s->name, 0, &l, &e);
        if (r && r != -ENODEV)
            return rec_fail_net(err, &e);
        if (r || strcmp(l.kind, "bridge"))
            continue;
        bool taken = rec_group_ours(l.group) ? is_adopted(f, s->name) : run->opt.adopt;
        if (rec_group_ours(l.group) && !taken)
            continue;
        if (taken && !has_foreign_ports(b, s->name))
            continue;
        if (!f->shared &&
            !(f->shared = spec_arena_alloc(run->arena, h->n_bridges * sizeof *f->shared)))
            return rec_fail(err, ENOMEM, "out of memory");
        f->shared[i] = true;
    }
    return 0;
}

/* Links that `nat` names, and that are not there under that name. */
static int read_named_uplinks(struct rec_run *run, const struct spec_host *h, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    for (size_t i = 0; i < h->n_bridges; i++) {
        const struct spec_bridge *s = &h->bridges[i];
        struct net_batch *b;
        struct net_link l;
        struct net_error e;
        if (s->nat.uplink != SPEC_UPLINK_LINK)
            continue;
        int r = rec_net(run, &b, err);
        if (r)
            return r;
        r = net_link_get(net_batch_port(b), s->nat.interface, 0, &l, &e);
        if (r && r != -ENODEV)
            return rec_fail_net(err, &e);
        if (!r && !strcmp(l.name, s->nat.interface))
            continue;
        const char *why =
            r ? "does not exist"
              : spec_arena_printf(run->arena,
                                  "is an alternative name of link %s, which nftables does not know",
                                  l.name);
        if (!f->no_uplink)
            f->no_uplink = spec_arena_alloc(run->arena, h->n_bridges * sizeof *f->no_uplink);
        if (!f->no_uplink || !why)
            return rec_fail(err, ENOMEM, "out of memory");
        f->no_uplink[i] = why;
    }
    return 0;
}

/* A bridge that is not there yet gets what `default` says. */
static bool is_disabled(const char *bridge)
{
    char key[64], value[64];
    snprintf(key, sizeof key, "net/ipv6/conf/%s/disable_ipv6", bridge);
    if (net_sysctl_read(key, value, NULL) &&
        net_sysctl_read("net/ipv6/conf/default/disable_ipv6", value, NULL))
        return false;
    return !strcmp(value, "1");
}

static int read_disabled(struct rec_run *run, const struct spec_host *h, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    for (size_t i = 0; f->ipv6 && i < h->n_bridges; i++) {
        if (!rec_bridge_has(&h->bridges[i], 6) || !is_disabled(h->bridges[i].name))
            continue;
        if (!f->no_ipv6 &&
            !(f->no_ipv6 = spec_arena_alloc(run->arena, h->n_bridges * sizeof *f->no_ipv6)))
            return rec_fail(err, ENOMEM, "out of memory");
        f->no_ipv6[i] = true;
    }
    return 0;
}

static bool wants_auto(const struct spec_host *h)
{
    for (size_t i = 0; i < h->n_bridges; i++)
        if (h->bridges[i].nat.uplink == SPEC_UPLINK_AUTO)
            return true;
    return false;
}

void rec_facts_offline(struct rec_run *run)
{
    run->facts = (struct rec_facts){.known_host = true,
                                    .known = true,
                                    .root = true,
                                    .systemd = true,
                                    .nspawn = "systemd-nspawn",
                                    .nsenter = "nsenter",
                                    .contain = "berth-contain",
                                    .network = "berth-network",
                                    .systemctl = "systemctl",
                                    .hostname = "",
                                    .machine_id = "",
                                    .uplink4 = "auto",
                                    .uplink6 = "auto",
                                    .ipv6 = true};
}

/* A boot starts nothing that shall not start by itself: held until `berth start`. Only the first
 * run of a boot is one. */
static int hold_for_boot(struct rec_run *run, struct rec_error *err)
{
    if (!run->opt.boot || !run->host || run->lock < 0 || !run->first)
        return 0;
    for (size_t i = 0; i < run->host->n_containers; i++) {
        const struct spec_container *c = &run->host->containers[i];
        int r = c->autostart ? 0 : rec_hold_set(c->name, "autostart: false", false, err);
        if (r)
            return r;
    }
    return 0;
}

static int read_holds(struct rec_run *run, struct rec_error *err)
{
    char **held = NULL;
    const char **why = NULL;
    size_t n = 0, kept = 0;
    int r = rec_dir_list(run->arena, REC_RUN_DIR "/held", &held, &n, err);
    if (r == -ENOENT || (r == -EACCES && !run->facts.root))
        return 0;
    if (!r && n && !(why = spec_arena_alloc(run->arena, n * sizeof *why)))
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; !r && i < n; i++) {
        const char *text = rec_hold_find(run->arena, held[i]);
        if (text) {
            why[kept] = text;
            held[kept++] = held[i];
        } else if (run->lock >= 0) {
            r = rec_hold_clear(held[i], err);
        }
    }
    run->facts.held_why = why;
    run->facts.held = held;
    run->facts.n_held = kept;
    return r;
}

const char *rec_systemctl(void)
{
    static const char *const places[] = {"/usr/bin/systemctl", "/bin/systemctl",
                                         "/run/current-system/sw/bin/systemctl", NULL};
    return first_of(places);
}

/* Beside this program (a build tree), else where it is installed. */
static const char *own_program(struct spec_arena *a, const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = 0;
    char *slash = strrchr(self, '/');
    const char *beside =
        slash ? spec_arena_printf(a, "%.*s/%s", (int)(slash - self), self, name) : NULL;
    const char *installed = spec_arena_printf(a, BERTH_LIBEXEC "/%s", name);
    const char *places[] = {beside ? beside : installed, installed, NULL};
    return first_of(places);
}

int rec_facts_host(struct rec_run *run, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    if (f->known_host)
        return 0;
    static const char *const nspawn[] = {"/usr/bin/systemd-nspawn",
                                         "/run/current-system/sw/bin/systemd-nspawn", NULL};
    static const char *const nsenter[] = {"/usr/bin/nsenter", "/run/current-system/sw/bin/nsenter",
                                          NULL};
    struct utsname u;
    f->root = geteuid() == 0;
    f->systemd = !access("/run/systemd/system", F_OK);
    f->nixos = !access("/etc/NIXOS", F_OK);
    f->nspawn = first_of(nspawn);
    f->nsenter = first_of(nsenter);
    f->contain = own_program(run->arena, "berth-contain");
    f->network =
        own_program(run->arena, "berth-gate") ? own_program(run->arena, "berth-network") : NULL;
    f->systemctl = rec_systemctl();
    f->ipv6 = !access("/proc/sys/net/ipv6", F_OK);
    f->hostname = uname(&u) ? "" : spec_arena_strdup(run->arena, u.nodename);
    char *id;
    int r = slurp(run->arena, "/etc/machine-id", 64, &id, err);
    if (r || !f->hostname)
        return r ? r : rec_fail(err, ENOMEM, "out of memory");
    id[strcspn(id, "\n")] = 0;
    f->machine_id = id;
    f->known_host = true;
    return 0;
}

int rec_facts_read(struct rec_run *run, struct rec_error *err)
{
    struct rec_facts *f = &run->facts;
    if (f->known)
        return 0;
    int r = rec_facts_host(run, err);
    f->uplink4[0] = f->uplink6[0] = 0;
    f->ra = NULL;
    f->shared = f->no_ipv6 = NULL;
    f->no_uplink = NULL;
    f->other4 = f->other6 = NULL;
    f->policy4 = f->policy6 = false;
    f->fixed_sysctls = f->root && net_sysctl_writable("net/ipv4/ip_forward") == -EROFS;
    f->n_ra = f->n_adopted = 0;
    struct rec_records adopted = {0};
    if (!r)
        r = rec_adopted_read(run, &adopted, err);
    f->adopted = adopted.list;
    f->n_adopted = adopted.n;
    if (!r)
        r = hold_for_boot(run, err);
    if (!r)
        r = read_holds(run, err);
    if (r)
        return r;
    const struct spec_host *h = run->host;
    struct spec_addr *nameservers = NULL;
    f->n_nameservers = 0;
    f->own_resolver = false;
    if (h && !h->nameservers_given &&
        (r = rec_nameservers_read(run, &nameservers, &f->n_nameservers, err)))
        return r;
    f->nameservers = nameservers;
    bool forwards6 = h && f->ipv6 && rec_host_forwards(h, 6);
    if (h && (forwards6 || wants_auto(h)) && (r = read_uplinks(run, forwards6, wants_auto(h), err)))
        return r;
    if (h)
        r = read_shared(run, h, err);
    if (h && !r)
        r = read_named_uplinks(run, h, err);
    if (h && !r)
        r = read_disabled(run, h, err);
    if (r)
        return r;
    f->known = true;
    return 0;
}

enum spec_runtime rec_runtime_of(const struct rec_run *run, const struct spec_container *c)
{
    if (c->runtime != SPEC_RT_AUTO)
        return c->runtime;
    if (c->nixos.given || (run->facts.nixos && !c->nspawn.given))
        return SPEC_RT_NIXOS;
    return c->nspawn.given || run->facts.nspawn ? SPEC_RT_NSPAWN : SPEC_RT_NETNS;
}
