/* nspawn: namespace and files first, then systemd-nspawn in that namespace. What is started stands
 * in one text, argument by argument; its digest goes along in the process's environment, so the
 * process itself tells what it was started with. */
#include "reconcile/runtimes/nspawn.h"
#include "netops/netns.h"
#include "netops/sysctl.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/kinds/insides.h"
#include "reconcile/own_network.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn_users.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void nspawn_word(struct nspawn_words *w, const char *word)
{
    if (w->n + 1 >= w->room) {
        size_t room = w->room ? w->room * 2 : 32;
        const char **p = spec_arena_grow(w->a, w->word, w->room * sizeof *p, room * sizeof *p);
        if (!p) {
            w->oom = true;
            return;
        }
        w->word = p;
        w->room = room;
    }
    w->oom |= !word;
    w->word[w->n++] = word;
    w->word[w->n] = NULL;
}

const char *nspawn_path(struct spec_arena *a, const char *container, const char *file)
{
    return spec_arena_printf(a, NSPAWN_DIR "/%s/%s", container, file);
}

const char *nspawn_digest(struct spec_arena *a, const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (const char *p = text; *p; p++)
        h = (h ^ (uint8_t)*p) * 1099511628211u;
    return spec_arena_printf(a, "%016llx", (unsigned long long)h);
}

/* nspawn splits its bind arguments at colons: one inside a path is written \: */
static const char *escaped(struct spec_arena *a, const char *path)
{
    char *out = spec_arena_alloc(a, 2 * strlen(path) + 1), *p = out;
    for (; p && *path; path++) {
        if (*path == ':' || *path == '\\')
            *p++ = '\\';
        *p++ = *path;
    }
    return out;
}

/* What berth-contain keeps within limits; NULL: nothing. */
static const char *limited(const struct rec_run *run, const struct spec_container *c)
{
    bool etc = c->nspawn.root == SPEC_ROOT_HOST;
    if (run->facts.systemd)
        return etc ? "/etc" : NULL;
    return etc ? "/etc and log" : "log";
}

/* Canonical settings: a line an argument, a line end in one written \n. No first argument begins
 * with #. */
static const char *lines(const struct rec_run *run, const struct nspawn_words *w,
                         const struct spec_container *c, enum nspawn_form form)
{
    static const char mark[] = "# made by berth: the arguments of systemd-nspawn\n";
    const char *limits = form < NSPAWN_FORM_UNLIMITED ? limited(run, c) : NULL;
    size_t size = sizeof mark + sizeof NSPAWN_INSIDE + (w->netns ? strlen(w->netns) + 1 : 0) + 64;
    for (size_t i = 0; i < w->n; i++)
        size += 2 * strlen(w->word[i]) + 1;
    size_t n_names = form == NSPAWN_FORM_FIRST ? 0 : c->nspawn.n_environment;
    for (size_t i = 0; i < n_names; i++)
        size += strlen(c->nspawn.environment[i].name) + 24;
    char *text = spec_arena_alloc(w->a, size), *p = text ? stpcpy(text, mark) : NULL;
    if (p && w->netns)
        p += sprintf(p, NSPAWN_INSIDE "%s\n", w->netns);
    if (p && limits)
        p += sprintf(p, "# limited: %s\n", limits);
    if (p && form < NSPAWN_FORM_LINKS)
        p = stpcpy(p, "# sources: without links\n");
    for (size_t i = 0; p && i < n_names; i++)
        p += sprintf(p, "# environment: %s\n", c->nspawn.environment[i].name);
    for (size_t i = 0; p && i < w->n; i++) {
        for (const char *ch = w->word[i]; *ch; ch++) {
            if (*ch == '\n' || *ch == '\\')
                *p++ = '\\';
            *p++ = *ch == '\n' ? 'n' : *ch;
        }
        *p++ = '\n';
    }
    return text;
}

/* nspawn followed the paths itself: then a bind inside the container's own root was a part of an
 * idmapped mount already, and mount_setattr(2) cannot map a mount twice. */
static bool is_mapped(struct rec_run *run, const struct spec_container *c, enum nspawn_form form,
                      const struct nspawn_users *u, const char *host)
{
    bool users = form != NSPAWN_FORM_FIRST && u->in_force == SPEC_USERS_AUTO;
    return users && (form < NSPAWN_FORM_LINKS || nspawn_users_mapped_bind(run, c, host));
}

static void binds(struct rec_run *run, const struct spec_container *c, enum nspawn_form form,
                  const struct nspawn_users *u, struct nspawn_words *w)
{
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        bool idmap = is_mapped(run, c, form, u, b->host);
        nspawn_word(w, spec_arena_printf(w->a, "--bind%s=%s:%s%s", b->read_only ? "-ro" : "",
                                         escaped(w->a, b->host), escaped(w->a, b->container),
                                         idmap ? ":idmap" : ""));
    }
}

int nspawn_arguments(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                     enum nspawn_form form, const struct nspawn_users *u, struct nspawn_words *w)
{
    const char *bridge = h->bridges[c->bridge].name,
               *netns = spec_arena_printf(w->a, NET_NETNS_DIR "/%s", c->name);
    bool users = form != NSPAWN_FORM_FIRST && u->in_force == SPEC_USERS_AUTO;
    bool identity = form != NSPAWN_FORM_FIRST && u->in_force == SPEC_USERS_IDENTITY;
    bool owns = users && nspawn_owns_network(c, u);
    w->netns = form != NSPAWN_FORM_FIRST && !owns ? netns : NULL;
    nspawn_word(w, "--quiet");
    nspawn_word(w, "--keep-unit");
    if (!run->facts.systemd)
        nspawn_word(w, "--register=no");
    nspawn_word(w, "-M");
    nspawn_word(w, c->name);
    if (c->nspawn.root == SPEC_ROOT_HOST) {
        nspawn_host_root_words(run, c, form, users || identity, users, w);
    } else {
        nspawn_word(w, "-D");
        nspawn_word(w, nspawn_root_path(run, c, w->a));
    }
    /* nspawn cannot join a network namespace by an option once it has a user namespace: it starts
     * inside, without any. Then /sys shows the container's links, and not the host's. */
    if (form == NSPAWN_FORM_FIRST)
        nspawn_word(w, spec_arena_printf(w->a, "--network-namespace-path=%s", netns));
    if (owns)
        nspawn_word(w, "--private-network");
    if (identity) {
        nspawn_word(w, "--private-users=identity");
        nspawn_word(w, "--private-users-ownership=off");
    }
    if (users) {
        nspawn_word(w, spec_arena_printf(w->a, "--private-users=%u:65536", u->first));
        nspawn_word(w, c->nspawn.root == SPEC_ROOT_HOST ? "--private-users-ownership=off"
                                                        : "--private-users-ownership=map");
    }
    if (form != NSPAWN_FORM_FIRST) {
        nspawn_users_capabilities(c, u, w);
        /* nspawn's own filter allows these: keys of a user, which uid 0 of a container shares
         * with the host, and io_uring. */
        nspawn_word(
            w, "--system-call-filter=~@keyring io_uring_setup io_uring_enter io_uring_register");
    }
    nspawn_word(w, "--resolv-conf=off");
    nspawn_word(w, "--timezone=off");
    nspawn_word(w, "--link-journal=no");
    nspawn_word(w, "--console=pipe");
    nspawn_word(w, "--kill-signal=SIGRTMIN+3");
    if (h->names)
        nspawn_word(
            w, spec_arena_printf(w->a, "--bind-ro=" REC_RUN_DIR "/hosts/%s:/etc/hosts", bridge));
    nspawn_word(w, spec_arena_printf(w->a, "--bind-ro=%s:/etc/resolv.conf",
                                     nspawn_path(w->a, c->name, "ns/resolv.conf")));
    binds(run, c, form, u, w);
    for (size_t i = 0; form == NSPAWN_FORM_FIRST && i < c->nspawn.n_environment; i++)
        nspawn_word(w, spec_arena_printf(w->a, "--setenv=%s=%s", c->nspawn.environment[i].name,
                                         c->nspawn.environment[i].value));
    if (c->nspawn.boot) {
        /* The gate executes the init, and is PID 1 until then. */
        if (!owns)
            nspawn_word(w, "--boot");
        nspawn_word(w, "--notify-ready=yes");
        if (owns) {
            nspawn_word(w, "--");
            nspawn_word(w, REC_GATE_PATH);
        }
        return w->oom ? -ENOMEM : 0;
    }
    nspawn_word(w, "--as-pid2");
    nspawn_word(w, "--");
    if (owns)
        nspawn_word(w, REC_GATE_PATH);
    for (size_t i = 0; i < c->nspawn.n_command; i++)
        nspawn_word(w, c->nspawn.command[i].text);
    if (!c->nspawn.n_command) {
        nspawn_word(w, "sleep");
        nspawn_word(w, "infinity");
    }
    return w->oom ? -ENOMEM : 0;
}

/* A thread of its own, since it stays in the namespace. */
static void *open_ports_of(void *arg)
{
    char path[128];
    struct net_error e;
    snprintf(path, sizeof path, NET_NETNS_DIR "/%.63s", (const char *)arg);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (!net_netns_enter(fd, &e)) {
        net_sysctl_write("net/ipv4/ip_unprivileged_port_start", "0", &e);
        net_sysctl_write("net/ipv4/ping_group_range", "0 2147483647", &e);
    }
    close(fd);
    return NULL;
}

/* Root of a user namespace has no rights over its network, which belongs to the host: no port below
 * 1024, no ping. The network namespace allows both to everyone in it. A namespace that is not
 * there is left out. */
static void open_ports(const char *name)
{
    pthread_t thread;
    if (!pthread_create(&thread, NULL, open_ports_of, (void *)name))
        pthread_join(thread, NULL);
}

int nspawn_furnish(struct rec_run *run, const char *name, const char *settings,
                   struct rec_error *err)
{
    struct rec_error e = {0};
    if (nspawn_find_argument(settings, "--private-users=") && !nspawn_network_in(settings))
        open_ports(name);
    int r = nspawn_writable_write(run, &e);
    if (!r)
        r = nspawn_host_root_furnish(run, name, settings, &e);
    return r ? rec_fail(err, e.code, "cannot start container '%s': %.1000s", name, e.text) : 0;
}

/* Past nspawn's own stages, and no zombie: the command itself. Its death is looked for last, so
 * that none slips through between; and one on its way out has no program before it is a zombie. */
bool nspawn_payload_runs(struct rec_run *run, pid_t leader)
{
    pid_t payload = rec_proc_runs(leader, run->facts.nspawn) ? rec_proc_child(leader) : leader;
    return payload > 0 && !rec_proc_runs(payload, run->facts.nspawn) &&
           rec_proc_runs_any(payload) && !nspawn_is_gate(payload) && rec_proc_started(payload);
}

long nspawn_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* berth's own pause process, which cannot end at once: waiting for that would only make each
 * start slower. */
static bool waits_forever(pid_t pid)
{
    static const char pause[] = "sleep\0infinity";
    char path[48], text[sizeof pause + 1];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    return n == sizeof pause && !memcmp(text, pause, sizeof pause);
}

bool nspawn_payload_stays(struct rec_run *run, pid_t leader, long since)
{
    enum { STAYS_MS = 300, BUSY_MS = 1500, AGAIN_MS = 10 };
    for (;;) {
        pid_t payload = rec_proc_runs(leader, run->facts.nspawn) ? rec_proc_child(leader) : leader;
        unsigned long long started = rec_proc_started(payload);
        if (started && waits_forever(payload))
            return true;
        if (!started || !nspawn_payload_runs(run, leader))
            return false;
        long most = rec_proc_waits(payload) ? STAYS_MS : BUSY_MS,
             left = since + most - nspawn_now_ms();
        if (left <= 0)
            return true;
        /* It is looked at again now and then: what waits may be busy later. */
        rec_proc_wait(payload, started, most == STAYS_MS ? (int)left : AGAIN_MS);
    }
}

bool nspawn_ask_payload(struct rec_run *run, pid_t leader)
{
    pid_t payload = rec_proc_runs(leader, run->facts.nspawn) ? rec_proc_child(leader) : 0;
    /* A payload without a handler has nothing to do at its end. Its signal would make nspawn
     * fail (255); without it nspawn ends well. */
    if (!payload || rec_proc_dies_of(payload, SIGTERM))
        return false;
    rec_proc_kill(payload, rec_proc_started(payload), SIGTERM);
    return true;
}

static bool relative_to_nothing(const struct rec_run *run, const struct spec_container *c)
{
    return c->nspawn.path.text && *c->nspawn.path.text != '/' && !run->opt.spec_dir;
}

static const char *refuse(struct rec_run *run, const struct spec_container *c)
{
    if (!run->facts.nspawn)
        return "systemd-nspawn is not installed (on Debian: apt-get install systemd-container)";
    if (c->nspawn.root == SPEC_ROOT_HOST && run->facts.nixos)
        return "`root: host` needs a whole /usr, which NixOS does not have; give a directory or a "
               "tar as root";
    /* Who is not root starts nothing. */
    if (run->facts.root && !run->facts.contain)
        return "berth-contain is not installed, which belongs to berth; install berth whole";
    if (run->facts.root && c->nspawn.network_admin && c->nspawn.users == SPEC_USERS_AUTO &&
        !run->facts.network)
        return "berth-network and berth-gate are not installed, which belong to berth; install "
               "berth whole";
    if (run->facts.systemd && !run->facts.nsenter)
        return "nsenter is not installed (on Debian: apt-get install util-linux)";
    if (c->nspawn.n_environment && !run->opt.offline &&
        !access(spec_arena_printf(run->arena, "/etc/systemd/nspawn/%s.nspawn", c->name), F_OK))
        return "it has an `environment`, and a file /etc/systemd/nspawn/NAME.nspawn of this host "
               "would hide that; remove the file";
    /* systemd-nspawn takes settings from there, capabilities among them. */
    if (run->opt.source && !run->opt.offline &&
        !access(spec_arena_printf(run->arena, "/etc/systemd/nspawn/%s.nspawn", c->name), F_OK))
        return "a file /etc/systemd/nspawn/NAME.nspawn of this host would change it, and a spec "
               "out "
               "of a repository may not choose that; remove the file, or take another name";
    struct nspawn_users u;
    bool admin = c->nspawn.capabilities >> CAP_SYS_ADMIN & 1;
    if (c->nspawn.boot && !admin && !relative_to_nothing(run, c) &&
        !nspawn_users_find(run, c, &u) && u.in_force == SPEC_USERS_NONE)
        return spec_arena_printf(run->arena,
                                 "`boot: true` needs a user namespace, and %s%s%s; use a tree of "
                                 "its own on ext4, xfs or btrfs, "
                                 "or write private_users: none and capabilities: [SYS_ADMIN]",
                                 u.path ? u.path : "", u.path ? " " : "", u.cannot);
    if (relative_to_nothing(run, c))
        return run->opt.source
                   ? "its root is a relative path, and a spec out of git has no directory around "
                     "it: give an absolute path"
                   : "its root is a relative path, and this spec has no directory of its own";
    return NULL;
}

static struct rec_item *add(struct rec_state *out, enum rec_kind_id kind,
                            const struct spec_container *c)
{
    struct rec_item *it = rec_state_add(out, kind, c->name);
    if (it) {
        it->container = c->name;
        it->spec = c;
        it->runtime = SPEC_RT_NSPAWN;
        it->at = c->nspawn.given ? c->nspawn.at : c->at;
        it->protect = c->protect;
    }
    return it;
}

/* as in kinds/run.c */
enum { RUN_RUNNING, RUN_DIGEST, RUN_STALE, RUN_ORPHAN, RUN_ENVIRONMENT = 7 };
enum { UNIT_SETTINGS, UNIT_ENVIRONMENT = 2, UNIT_NETWORK }; /* as in kinds/unit.c */

static int note_users(struct rec_run *run, const struct spec_container *c,
                      const struct nspawn_users *u, struct rec_state *out)
{
    const char *risk = nspawn_users_risk(out->arena, c, u);
    if (u->cannot && u->path)
        return rec_state_warn(
            out, c->name,
            "use a tree of its own on ext4, xfs or btrfs, or accept this: private_users: none",
            "'%.180s' %s, so it runs as under private_users: none; %s", u->path, u->cannot, risk);
    if (u->cannot)
        return rec_state_warn(out, c->name, NULL, "%s, so it runs as under private_users: none; %s",
                              u->cannot, risk);
    if (risk)
        return rec_state_note(out, c->name, "%s", risk);
    bool foreign_usr = u->in_force == SPEC_USERS_AUTO && c->nspawn.root == SPEC_ROOT_HOST &&
                       !nspawn_can_idmap(run, "/usr");
    return foreign_usr ? rec_state_warn(out, c->name, NULL,
                                        "the host's /usr is on a file system without idmapped "
                                        "mounts: inside, its files belong "
                                        "to nobody, and setuid programs do not work")
                       : 0;
}

/* A container that runs is not touched, but its next start would fail. */
static int note_sources(struct rec_run *run, const struct spec_container *c, struct rec_state *out)
{
    static const char hint[] = "name the place that the link leads to, if that is the one you mean";
    const char *root =
        c->nspawn.root == SPEC_ROOT_DIR ? nspawn_root_path(run, c, run->arena) : NULL;
    const char *why = root ? nspawn_source_fault(run, root) : NULL;
    if (why &&
        rec_state_warn(out, c->name, hint, "its next start will fail: its root '%s' %s", root, why))
        return -ENOMEM;
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const char *path = c->nspawn.binds[i].host;
        if ((why = nspawn_source_fault(run, path)) &&
            rec_state_warn(out, c->name, hint, "its next start will fail: its bind '%s' %s", path,
                           why))
            return -ENOMEM;
    }
    return 0;
}

static bool runs_with(struct rec_run *run, const struct spec_container *c, enum nspawn_form form,
                      const struct nspawn_users *u, const char *digest)
{
    struct nspawn_words words = {.a = run->arena};
    const char *text =
        nspawn_arguments(run, run->host, c, form, u, &words) ? NULL : lines(run, &words, c, form);
    return text && !strcmp(nspawn_digest(run->arena, text), digest);
}

/* What the next start brings to a container that runs with settings of an earlier form; NULL:
 * the spec, or something else, differs. */
static const char *next_start(struct rec_run *run, const struct rec_item *w, const char *digest)
{
    const struct spec_container *c = w->spec;
    struct nspawn_users u, other;
    if (!c || !run->host || !digest || !w->run.digest || !strcmp(digest, w->run.digest) ||
        nspawn_users_find(run, c, &u))
        return NULL;
    bool users = u.in_force == SPEC_USERS_AUTO;
    if (runs_with(run, c, NSPAWN_FORM_LINKS, &u, digest))
        return "no links in its root and binds, and a systemd-nspawn that it cannot change";
    if (runs_with(run, c, NSPAWN_FORM_UNLIMITED, &u, digest))
        return spec_arena_printf(run->arena, "limits for %s", limited(run, c));
    if (runs_with(run, c, NSPAWN_FORM_ALL_SSL, &u, digest))
        return "only certificates of the host's /etc/ssl";
    /* A mount came or went below a bind: that alone restarts nobody. */
    bool other_way = !nspawn_users_other(run, c, &u, &other);
    for (enum nspawn_form form = NSPAWN_FORM_NOW; other_way && form < NSPAWN_FORM_FIRST; form++)
        if (runs_with(run, c, form, &other, digest))
            return users ? "user namespace" : "no user namespace";
    bool spelled_out = c->nspawn.users_at.line || c->nspawn.capabilities || c->nspawn.network_admin;
    if (!spelled_out && runs_with(run, c, NSPAWN_FORM_FIRST, &u, digest))
        return users ? "user namespace" : "fewer capabilities";
    return NULL;
}

static int want(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                struct rec_state *out, struct rec_error *err)
{
    struct nspawn_words w = {.a = out->arena};
    struct nspawn_users u;
    struct rec_item *unit = add(out, REC_UNIT, c), *it = add(out, REC_RUN, c), *system = NULL;
    bool own = nspawn_root_own(run, c);
    if (own)
        system = add(out, REC_SYSTEM, c);
    if (!unit || !it || (own && !system) || nspawn_users_find(run, c, &u) ||
        nspawn_arguments(run, h, c, NSPAWN_FORM_NOW, &u, &w))
        return rec_fail(err, ENOMEM, "out of memory");
    const char *text = lines(run, &w, c, NSPAWN_FORM_NOW);
    int k = nspawn_env_text(run, c, out->arena, &unit->unit.environment, err);
    if (!k && nspawn_owns_network(c, &u))
        k = nspawn_network_want(run, h, c, out->arena, &unit->unit.network, err);
    if (k)
        return k;
    unit->unit.digest = text ? nspawn_digest(out->arena, text) : NULL;
    unit->unit.text = run->facts.systemd && unit->unit.digest
                          ? nspawn_unit_text(run, c, &w, unit->unit.digest)
                          : text;
    if (!unit->unit.text || !unit->unit.digest)
        return rec_fail(err, ENOMEM, "out of memory");
    unit->stated = 1u << UNIT_SETTINGS | 1u << UNIT_ENVIRONMENT | 1u << UNIT_NETWORK;
    if (note_users(run, c, &u, out) || note_sources(run, c, out))
        return rec_fail(err, ENOMEM, "out of memory");
    if (system) {
        const char *p = c->nspawn.path.text;
        system->system.path = nspawn_root_path(run, c, out->arena);
        system->system.source =
            c->nspawn.root == SPEC_ROOT_DIR ? NSPAWN_RESTORED
            : *p == '/'                     ? p
                        : spec_arena_printf(out->arena, "%s/%s", run->opt.spec_dir, p + 2);
        system->system.on_remove = c->destroy_files ? "destroy" : "keep";
        system->stated = 3;
        system->at = c->nspawn.path.at;
    }
    it->run.running = c->state == SPEC_RUNNING && !rec_is_held(run, c->name);
    it->run.held = rec_held_why(run, c->name);
    it->run.autostart = c->autostart;
    it->run.users = u.in_force;
    if (u.cannot)
        it->run.no_userns =
            u.path ? spec_arena_printf(out->arena, "'%.180s' %s", u.path, u.cannot) : u.cannot;
    if (u.cannot && !it->run.no_userns)
        return rec_fail(err, ENOMEM, "out of memory");
    it->run.digest = unit->unit.digest;
    it->run.environment =
        unit->unit.environment ? nspawn_digest(out->arena, unit->unit.environment) : NULL;
    it->stated = 1u << RUN_RUNNING;
    if (it->run.running)
        it->stated |= 1u << RUN_DIGEST | 1u << RUN_STALE | 1u << RUN_ORPHAN | 1u << RUN_ENVIRONMENT;
    return 0;
}

static int compare_names(const void *key, const void *entry)
{
    return strcmp(key, *(char *const *)entry);
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names that may have settings or processes, sorted: what berth has a directory for, what is
 * wanted, and, since the directory may have been deleted, what cgroups or units tell of. */
static int names_of_all(struct rec_run *run, const struct rec_state *wanted, struct spec_arena *a,
                        char ***out, size_t *out_n, struct rec_error *err)
{
    char **dirs, **others = NULL;
    size_t n_dirs, n_others = 0, n = 0, kept = 0;
    int r = rec_dir_list(a, NSPAWN_DIR, &dirs, &n_dirs, err);
    if (!r || r == -ENOENT)
        r = (run->facts.systemd ? nspawn_unit_names : nspawn_detached_names)(a, &others, &n_others,
                                                                             err);
    char **all = r ? NULL : spec_arena_alloc(a, (n_dirs + n_others + wanted->n + 1) * sizeof *all);
    if (!all)
        return r ? r : rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n_dirs; i++)
        all[n++] = dirs[i];
    for (size_t i = 0; i < n_others; i++)
        all[n++] = others[i];
    for (size_t i = 0; i < wanted->n; i++)
        if (wanted->items[i]->kind == REC_RUN && wanted->items[i]->runtime == SPEC_RT_NSPAWN)
            all[n++] = (char *)wanted->items[i]->key;
    if (n > 1)
        qsort(all, n, sizeof *all, compare_entries);
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(all[kept - 1], all[i]))
            all[kept++] = all[i];
    *out = all;
    *out_n = kept;
    return 0;
}

static int read_all(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                    struct rec_error *err)
{
    char **names = NULL;
    size_t n = 0;
    int r = names_of_all(run, wanted, out->arena, &names, &n, err);
    if (r)
        return r;
    bool *seen = spec_arena_alloc(out->arena, n + 1);
    if (!seen)
        return rec_fail(err, ENOMEM, "out of memory");
    bool template = run->facts.systemd && n && nspawn_unit_template(run), waited = false;
    for (size_t i = 0; !r && i < n; i++) {
        const char *path = run->facts.systemd ? nspawn_unit_path(out->arena, names[i])
                                              : nspawn_path(out->arena, names[i], "unit");
        char *text = NULL;
        size_t len;
        int k = rec_file_read(out->arena, path, NSPAWN_UNIT_MOST, &text, &len, err);
        if (k && k != -ENOENT)
            return k;
        if (text && run->facts.systemd && !template)
            text = ""; /* its other half is missing: to be written anew */
        if (text) {
            struct rec_item *unit = rec_state_add(out, REC_UNIT, names[i]);
            if (!unit)
                return rec_fail(err, ENOMEM, "out of memory");
            unit->container = names[i];
            unit->runtime = SPEC_RT_NSPAWN;
            unit->unit.text = text;
            unit->stated = 1u << UNIT_SETTINGS | 1u << UNIT_NETWORK;
            unit->unit.network = nspawn_network_read(out->arena, names[i]);
            char *environment = NULL;
            int e = rec_file_read(out->arena, nspawn_env_path(out->arena, names[i]),
                                  NSPAWN_UNIT_MOST, &environment, &len, NULL);
            unit->unit.environment = environment;
            if (!e || e == -ENOENT)
                unit->stated |= 1u << UNIT_ENVIRONMENT;
        }
        struct nspawn_found f = {0};
        const struct rec_item *w = rec_state_find(wanted, REC_RUN, names[i]);
        if (w && w->runtime != SPEC_RT_NSPAWN)
            w = NULL;
        (run->facts.systemd ? nspawn_unit_find : nspawn_detached_find)(run, names[i], &f);
        if (f.leader && text && nspawn_network_in(text))
            waited |= nspawn_network_await(run, f.leader);
        ino_t lives_in = f.leader ? rec_proc_netns(f.leader) : 0;
        if (!lives_in)
            f.leader = 0; /* gone, or just going: what is left of it in /proc says nothing */
        /* nspawn alone: it runs, with no settings in force */
        bool alive = f.leader || f.nspawn;
        if (!alive && (!w || (!text && w->run.running)))
            continue;
        struct rec_item *it = rec_state_add(out, REC_RUN, names[i]);
        struct stat st;
        char netns[128];
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        snprintf(netns, sizeof netns, NET_NETNS_DIR "/%.63s", names[i]);
        it->container = names[i];
        it->runtime = SPEC_RT_NSPAWN;
        seen[i] = true;
        it->stated = alive ? (1u << RUN_ORPHAN) * 2 - 1 : 1u << RUN_RUNNING;
        it->run.running = alive;
        it->run.leader = f.leader;
        it->run.digest = f.leader ? f.digest : NULL;
        it->run.environment = f.leader ? f.environment : NULL;
        if (it->run.digest)
            it->stated |= 1u << RUN_ENVIRONMENT;
        if (w && (it->next_start = next_start(run, w, it->run.digest)))
            it->later = 1u << RUN_DIGEST | 1u << RUN_ENVIRONMENT;
        it->run.orphan = f.leader && !f.nspawn;
        it->run.unlogged = f.unlogged;
        it->run.stale = f.leader && (stat(netns, &st) || st.st_ino != lives_in ||
                                     rec_proc_lost_etc(out->arena, f.leader));
        it->run.started_ms = (f.leader ? f.leader_started : f.nspawn_started) * 1000u /
                             (uint64_t)sysconf(_SC_CLK_TCK);
    }
    /* Its namespace and link have come since both were looked for. */
    if (waited) {
        rec_insides_free(run);
        r = rec_insides_begin(run, err);
        if (!r)
            r = rec_links_read(run, wanted, err);
    }
    /* A stopped container that has nothing here yet is as wanted. */
    for (size_t i = 0; !r && i < wanted->n; i++) {
        const struct rec_item *w = wanted->items[i];
        if (w->kind != REC_RUN || w->runtime != SPEC_RT_NSPAWN || w->run.running)
            continue;
        char **name = n ? bsearch(w->key, names, n, sizeof *names, compare_names) : NULL;
        if (name && seen[name - names])
            continue;
        struct rec_item *it = rec_state_add(out, REC_RUN, w->key);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->container = w->container;
        it->runtime = SPEC_RT_NSPAWN;
        it->stated = 1u << RUN_RUNNING;
    }
    return r ? r : nspawn_roots_read(run, wanted, out, err);
}

/* Whoever starts the unit next, a reboot from inside among them, finds its range recorded, its
 * skeleton and its ports. */
static int ready_for_start(struct rec_run *run, const char *name, const char *settings,
                           struct rec_error *err)
{
    int r = nspawn_users_record(run, err);
    if (!r)
        r = nspawn_writable_write(run, err);
    if (!r)
        r = nspawn_host_root_skeleton(run->arena, name, settings, err);
    bool users = nspawn_find_argument(settings, "--private-users=") != NULL;
    if (!r && users && !nspawn_network_in(settings))
        open_ports(name);
    return r;
}

static int unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const char *name = (s->to ? s->to : s->from)->container;
    int k = s->to ? ready_for_start(run, name, s->to->unit.text, err) : 0;
    if (k)
        return k;
    if (!s->to)
        nspawn_users_forget(run, name);
    k = nspawn_env_write(run, name, s->to ? s->to->unit.environment : NULL, err);
    if (!k)
        k = nspawn_network_write(run, name, s->to ? s->to->unit.network : NULL, err);
    if (k)
        return k;
    if (run->facts.systemd)
        return s->to ? nspawn_unit_write(run, name, s->to->unit.text, err)
                     : nspawn_unit_remove(run, name, err);
    const char *path = nspawn_path(run->arena, name, "unit");
    if (!s->to)
        return rec_file_remove(path, err);
    int r = rec_dir_make(spec_arena_printf(run->arena, NSPAWN_DIR "/%s", name), 0755, err);
    return r ? r : rec_file_write(path, s->to->unit.text, strlen(s->to->unit.text), 0644, err);
}

static int units_done(struct rec_run *run, struct rec_error *err)
{
    int r = nspawn_users_record(run, err);
    return r || !run->facts.systemd ? r : nspawn_unit_reload(run, err);
}

static int by_container_name(const void *key, const void *entry)
{
    return strcmp(key, ((const struct spec_container *)entry)->name);
}

static const struct spec_container *find_container(const struct spec_host *h, const char *name)
{
    if (!h || !h->n_containers)
        return NULL;
    return bsearch(name, h->containers, h->n_containers, sizeof *h->containers, by_container_name);
}

/* A tree's mount points are made once, before its first start: what starts it later finds them. */
static void prepare_tree(struct rec_run *run, const char *name)
{
    const struct spec_host *h = run->host;
    const struct spec_container *c = find_container(h, name);
    struct nspawn_users u;
    if (!c || c->nspawn.root == SPEC_ROOT_HOST || nspawn_users_find(run, c, &u) ||
        u.in_force != SPEC_USERS_AUTO)
        return;
    const char *root = nspawn_root_path(run, c, run->arena);
    const char **places = spec_arena_alloc(run->arena, (c->nspawn.n_binds + 2) * sizeof *places);
    bool *directory = spec_arena_alloc(run->arena, c->nspawn.n_binds + 2);
    size_t n = 0;
    if (!root || !places || !directory)
        return;
    places[n++] = "/etc/resolv.conf";
    if (h->names)
        places[n++] = "/etc/hosts";
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        directory[n] = nspawn_exists(c->nspawn.binds[i].host, true);
        places[n++] = c->nspawn.binds[i].container;
    }
    const char *why;
    int fd = nspawn_source_open(run, root, &why);
    if (fd >= 0) {
        nspawn_mount_points(fd, places, directory, n);
        close(fd);
    }
}

static int check_tree(struct rec_run *run, const char *name, struct rec_error *err)
{
    const struct spec_container *c = find_container(run->host, name);
    if (!c || c->nspawn.root == SPEC_ROOT_HOST)
        return 0;
    const char *root = nspawn_root_path(run, c, run->arena);
    return root ? nspawn_root_files_check(name, root, err) : rec_fail(err, ENOMEM, "out of memory");
}

/* A container whose tree cannot be used fails alone, and the others start. */
static void start(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    enum { SOME = 4 * NSPAWN_AT_ONCE };
    for (size_t at = 0; at < n;) {
        const char *good[SOME];
        size_t place[SOME], n_good = 0;
        for (; at < n && n_good < SOME; at++) {
            if (check_tree(run, names[at], &err[at]))
                continue;
            prepare_tree(run, names[at]);
            place[n_good] = at;
            good[n_good++] = names[at];
        }
        struct rec_error *each = spec_arena_alloc(run->arena, (n_good + 1) * sizeof *each);
        for (size_t i = 0; !each && i < n_good; i++)
            rec_fail(&err[place[i]], ENOMEM, "out of memory");
        if (!each || !n_good)
            continue;
        memset(each, 0, n_good * sizeof *each);
        (run->facts.systemd ? nspawn_unit_start : nspawn_detached_start)(run, good, n_good, each);
        for (size_t i = 0; i < n_good; i++)
            err[place[i]] = each[i];
    }
}

static void stop(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    (run->facts.systemd ? nspawn_unit_stop : nspawn_detached_stop)(run, names, n, err);
}

static void mend(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    if (s->from && s->from->run.unlogged)
        nspawn_detached_log(run, s->from->container, err);
}

static const char *journal(struct rec_run *run, const char *container, bool here)
{
    if (!run->facts.systemd || (here && access(nspawn_unit_path(run->arena, container), F_OK)))
        return NULL;
    return spec_arena_printf(run->arena, "berth@%.63s.service", container);
}

const struct rec_runtime rec_runtime_nspawn = {
    .name = "nspawn",
    .id = SPEC_RT_NSPAWN,
    .refuse = refuse,
    .owns_netns = nspawn_owns_netns,
    .want = want,
    .read = read_all,
    .unit = unit,
    .system = nspawn_root_step,
    .purge = nspawn_roots_purge,
    .journal = journal,
    .units_done = units_done,
    .start = start,
    .stop = stop,
    .mend = mend,
};
