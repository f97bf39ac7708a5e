/* What a host has. Files say whose a container is and what it shall be; what is in force is asked
 * of the process itself: its environment, its address, its bridge, the system that it runs. */
#include "netops/scoped.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos_inner.h"
#include "reconcile/runtimes/systemd.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int nixos_look_at(struct rec_run *run, struct spec_arena *a, const char *name, struct nixos_seen *s,
                  struct rec_error *err)
{
    const char *path = nixos_conf_path(run, name);
    struct stat st;
    size_t len;
    *s = (struct nixos_seen){.record = {.source = "", .path = "", .on_remove = "keep", .key = ""}};
    bool there = !lstat(path, &st);
    s->declarative = there && S_ISLNK(st.st_mode);
    s->odd = there && !s->declarative && !S_ISREG(st.st_mode);
    int r =
        s->declarative || s->odd ? 0 : rec_file_read(a, path, NIXOS_CONF_MOST, &s->text, &len, err);
    if (r && r != -ENOENT)
        return r;
    bool speaks = s->declarative || s->odd || (s->text && *s->text),
         marked = s->text && nixos_conf_ours(s->text);
    s->recorded = (marked || !speaks) && nixos_record_read(run, name, &s->record);
    s->ours = marked || s->recorded;
    s->nobodys = !s->ours && !s->declarative && !s->odd && !s->text;
    return 0;
}

bool nixos_ours(struct rec_run *run, const char *name)
{
    struct nixos_seen s;
    return !nixos_look_at(run, run->arena, name, &s, NULL) && s.ours;
}

bool nixos_ours_after(struct rec_run *run, const struct rec_state *wanted, const char *name)
{
    struct nixos_seen s;
    if (nixos_look_at(run, run->arena, name, &s, NULL))
        return false;
    if (s.ours)
        return true;
    const struct rec_item *unit = rec_state_find(wanted, REC_UNIT, name);
    return run->opt.adopt && unit && unit->runtime == SPEC_RT_NIXOS && s.text && !s.odd;
}

/* In a thread that enters a namespace and ends there. */
struct look {
    int fd;
    struct net_inside in;
    struct net_error error;
    int failed;
};

static void *look_inside(void *arg)
{
    struct look *l = arg;
    l->failed = net_inside_read(l->fd, NULL, NULL, &l->in, &l->error);
    return NULL;
}

struct process {
    struct spec_arena *a;
    pid_t pid;
};

static const char *from_process(void *arg, const char *name)
{
    struct process *p = arg;
    return rec_proc_env(p->a, p->pid, name);
}

/* What eth0 has: the address and gateway that are wanted where they are among them, else the
 * first there are. */
static struct nixos_in_force found_in_force(const struct net_inside *in,
                                            const struct spec_container *c,
                                            const struct nixos_in_force *w)
{
    struct nixos_in_force f = {.has_mac = c && c->has_mac};
    memcpy(f.mac, in->eth0.mac, 6);
    for (size_t i = 0; i < in->n_address; i++) {
        struct spec_addr s = rec_spec_address(&in->address[i]);
        int k = s.family == 6;
        s.has_prefix = true;
        bool same = w && w->address[k].family && w->address[k].prefix == s.prefix &&
                    !memcmp(s.bytes, w->address[k].bytes, k ? 16 : 4);
        if (!f.address[k].family || same)
            f.address[k] = same ? w->address[k] : s;
        if (w && !w->address[k].family)
            /* a family that the spec does not speak of is the guest's own matter */
            f.address[k] = (struct spec_addr){0};
    }
    for (size_t i = 0; i < in->n_route; i++) {
        const struct net_route *r = &in->route[i];
        int k = r->family == AF_INET6;
        struct spec_addr s = {.family = k ? 6 : 4};
        if (!r->has_gateway || r->type != RTN_UNICAST || r->oif != in->eth0.index ||
            !f.address[k].family)
            continue;
        memcpy(s.bytes, r->gateway, k ? 16 : 4);
        if (w && !w->gateway[k].family)
            continue; /* gateway: none says that berth gives it none */
        if (!f.gateway[k].family || (w && !memcmp(w->gateway[k].bytes, s.bytes, k ? 16 : 4)))
            f.gateway[k] = s;
    }
    return f;
}

/* The container's links lead no further than its own root. */
static ssize_t read_link_inside(pid_t leader, const char *path, char *out, size_t room)
{
    char root[48];
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    snprintf(root, sizeof root, "/proc/%d/root", (int)leader);
    scoped(closep) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    scoped(closep) int link = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    return link < 0 ? -1 : readlinkat(link, "", out, room);
}

static int read_running(struct rec_run *run, const char *name, pid_t leader,
                        unsigned long long started, const struct rec_item *w, struct rec_item *it,
                        struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    struct process process = {a, rec_proc_parent(leader)};
    char link[16];
    pthread_t thread;
    struct look l = {
        .fd = open(spec_arena_printf(a, "/proc/%d/ns/net", (int)leader), O_RDONLY | O_CLOEXEC)};
    if (l.fd < 0)
        return 0; /* it went away just now */
    int r = pthread_create(&thread, NULL, look_inside, &l);
    if (r) {
        close(l.fd);
        return rec_fail(err, r, "cannot start a thread to look into container %s: %s", name,
                        strerror(r));
    }
    pthread_join(thread, NULL);
    close(l.fd);
    if (l.failed)
        return rec_fail_net(err, &l.error);
    struct nixos_in_force want_f = {0}, f;
    bool compares = w && w->spec && run->host;
    if (compares)
        want_f = nixos_wanted_in_force(run->host, w->spec);
    f = found_in_force(&l.in, compares ? w->spec : NULL, compares ? &want_f : NULL);
    net_inside_done(&l.in);
    it->run.running = true;
    it->run.leader = leader;
    it->run.started_ms = started * 1000u / (uint64_t)sysconf(_SC_CLK_TCK);
    it->run.digest = nixos_digest(a, from_process, &process);
    it->run.address = nixos_in_force_text(a, &f);
    spec_link_name(name, link);
    const struct net_link *port = rec_link_named(run->links, link);
    const struct net_link *master =
        port && port->master ? rec_link_indexed(run->links, port->master) : NULL;
    it->run.port = port ? port->index : 0;
    it->run.master = master ? spec_arena_strdup(a, master->name) : "";
    char system[512] = "";
    ssize_t n = read_link_inside(leader, "run/current-system", system, sizeof system - 1);
    it->run.system = n > 0 ? spec_arena_strndup(a, system, (size_t)n) : "";
    it->stated = 1u << RUN_RUNNING | 1u << RUN_DIGEST | 1u << RUN_ADDRESS | 1u << RUN_MASTER |
                 (n > 0 ? 1u << RUN_SYSTEM : 0);
    return 0;
}

static bool differs(const char *have, const char *want)
{
    return want && *want && strcmp(have ? have : "", want);
}

/* A unit that is starting has not yet all that it will have, and one that never gets beyond it is
 * stuck. systemd is asked only about those that are young enough for either. */
static void judge_start(struct rec_run *run, const char *name, const struct rec_item *w,
                        struct rec_item *it, struct rec_state *out)
{
    /* container@ gives a start a minute */
    enum { STARTING_MS = 90000, YOUNG_MS = 900000 };
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000,
             age = now > it->run.started_ms ? now - it->run.started_ms : 0;
    bool odd =
        w && w->run.running &&
        (differs(it->run.address, w->run.address) || differs(it->run.digest, w->run.digest) ||
         differs(it->run.system, w->run.system) || differs(it->run.master, w->run.master));
    if (age >= YOUNG_MS || (age < STARTING_MS && !odd) ||
        strcmp(systemd_state(run, "container", name), "activating"))
        return;
    if (age >= STARTING_MS) {
        it->run.orphan = true;
        it->stated |= 1u << RUN_ORPHAN;
        return;
    }
    it->stated = 1u << RUN_RUNNING;
    rec_state_note(
        out, spec_arena_printf(out->arena, "container %s", name),
        "it is still starting, for %llu s: what it has in force is compared once it is up",
        (unsigned long long)(age / 1000));
}

/* Not there, and wanted: what systemd makes of it. */
static void judge_absence(struct rec_run *run, const char *name, struct rec_state *out)
{
    const char *state = systemd_state(run, "container", name);
    if (!strcmp(state, "activating") || !strcmp(state, "failed") || !strcmp(state, "deactivating"))
        rec_state_note(out, spec_arena_printf(out->arena, "container %s", name),
                       "its unit container@%s is %s: %s", name, state,
                       *state == 'a'   ? "systemd is trying to start it"
                       : *state == 'f' ? "it did not start, or ended by itself"
                                       : "it is being stopped");
}

/* "": it is not there, or not what berth would write. */
static const char *read_flake(struct spec_arena *a, const char *name)
{
    char *text;
    size_t len;
    return rec_file_read(a, spec_arena_printf(a, NIXOS_OWN_FLAKE "%s/flake.nix", name),
                         NIXOS_CONF_MOST, &text, &len, NULL)
               ? ""
               : text;
}

static int read_one(struct rec_run *run, const char *name, const struct rec_state *wanted,
                    struct rec_state *out, struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    const struct rec_item *wu = rec_state_find(wanted, REC_UNIT, name),
                          *wr = rec_state_find(wanted, REC_RUN, name);
    struct nixos_seen s;
    if (wu && wu->runtime != SPEC_RT_NIXOS)
        wu = wr = NULL;
    int r = nixos_look_at(run, a, name, &s, err);
    if (r || (!s.ours && !wu))
        return r;
    unsigned long long started = 0;
    pid_t leader = systemd_leader(run, name, &started);
    bool stranger = leader && !nixos_of_unit(run, leader, "container", name);
    /* container@NAME would end it before it starts. */
    const char *machine =
        stranger && wr && wr->run.running && !nixos_of_unit(run, leader, "berth", name)
            ? spec_arena_printf(a,
                                "a machine of that name runs already, and not as container@%s (its "
                                "leader is process %d)",
                                name, (int)leader)
            : NULL;
    if (s.text || s.declarative || s.odd || machine) {
        struct rec_item *unit = rec_state_add(out, REC_UNIT, name);
        if (!unit)
            return rec_fail(err, ENOMEM, "out of memory");
        unit->container = unit->key;
        unit->runtime = SPEC_RT_NIXOS;
        unit->ours = s.ours;
        unit->unit.text = s.text ? s.text : "";
        unit->unit.flake = read_flake(a, name);
        unit->unit.foreign =
            s.declarative ? "it is a declarative container, made by the host's own configuration"
            : s.odd       ? spec_arena_printf(a, "'%s' is no file", nixos_conf_path(run, name))
                          : machine;
        unit->unit.foreign_hint =
            s.declarative
                ? "choose another name, or take the container out of the host's configuration"
            : s.odd ? "look what it is, and take it away"
                    : "choose another name, or end it: machinectl terminate NAME";
        unit->stated = 1u << UNIT_SETTINGS | 1u << UNIT_FLAKE;
    }
    const char *profile = nixos_profile(run, name);
    if (!profile)
        return rec_fail(err, ENOMEM, "out of memory");
    if (*profile || s.recorded) {
        struct rec_item *system = rec_state_add(out, REC_SYSTEM, name);
        if (!system)
            return rec_fail(err, ENOMEM, "out of memory");
        system->container = system->key;
        system->runtime = SPEC_RT_NIXOS;
        system->ours = s.ours || s.nobodys;
        system->system.profile = profile;
        system->system.source = s.record.source;
        system->system.key = s.record.key;
        system->system.on_remove = spec_arena_strdup(a, s.record.on_remove);
        system->stated = 1u << SYSTEM_PROFILE | (s.recorded ? 1u << SYSTEM_ON_REMOVE : 0);
    }
    if (stranger)
        leader = 0;
    if (!leader && wr && wr->run.running && s.ours)
        judge_absence(run, name, out);
    if (!leader && !(wr && !wr->run.running))
        /* not running: wanted, it is missing; not wanted, there is nothing */
        return 0;
    struct rec_item *it = rec_state_add(out, REC_RUN, name);
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->container = it->key;
    it->runtime = SPEC_RT_NIXOS;
    it->ours = s.ours;
    it->stated = 1u << RUN_RUNNING;
    r = leader ? read_running(run, name, leader, started, wr, it, err) : 0;
    if (!r && it->run.leader)
        judge_start(run, name, wr, it, out);
    return r;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "a, b and 3 more": what is below `dir` and bears none of the `n` sorted names. */
static const char *leftovers(struct rec_run *run, struct spec_arena *a, const char *dir,
                             char *const *names, size_t n)
{
    char **here, *text = NULL;
    size_t k, more = 0, listed = 0;
    if (rec_dir_list(a, dir, &here, &k, NULL))
        return NULL;
    for (size_t i = 0; i < k; i++) {
        struct stat st;
        const char *name = here[i];
        if (*name == '.' || strlen(name) > 63 ||
            (n && bsearch(&name, names, n, sizeof *names, compare_names)) ||
            !lstat(nixos_conf_path(run, name), &st))
            continue;
        if (listed++ < 5)
            text = spec_arena_printf(a, "%s%s%s", text ? text : "", text ? ", " : "", name);
        else
            more++;
    }
    return more ? spec_arena_printf(a, "%s and %zu more", text, more) : text;
}

/* Roots are kept on purpose, and profiles are left by a create that failed or a conf that was
 * deleted: both are told, neither is touched. */
static void note_leftovers(struct rec_run *run, char *const *names, size_t n, struct rec_state *out)
{
    const char *roots = leftovers(run, out->arena, nixos_state_dir(run), names, n),
               *profiles = leftovers(run, out->arena, NIXOS_PROFILES, names, n);
    if (roots)
        rec_state_note(out, nixos_state_dir(run),
                       "roots of containers that are no more: %s; in the spec again, each goes on "
                       "with its own; to be "
                       "rid of one: rm -r %s/NAME",
                       roots, nixos_state_dir(run));
    if (profiles)
        rec_state_note(out, NIXOS_PROFILES,
                       "profiles without a container: %s; until they are deleted nix keeps what "
                       "they hold: rm -r " NIXOS_PROFILES "/NAME",
                       profiles);
}

/* Every name that may be ours: wanted, with a conf, or with a record. */
int nixos_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
               struct rec_error *err)
{
    char **confs = NULL, **records = NULL;
    size_t n_confs = 0, n_records = 0, n = 0;
    if (!run->facts.systemd)
        return 0;
    int r = rec_dir_list(out->arena, nixos_conf_dir(run), &confs, &n_confs, err);
    if (r && r != -ENOENT)
        return r;
    r = rec_dir_list(out->arena, NIXOS_RECORDS, &records, &n_records, err);
    if (r && r != -ENOENT)
        return r;
    char **names =
        spec_arena_alloc(out->arena, (n_confs + n_records + wanted->n + 1) * sizeof *names);
    if (!names)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n_confs; i++) {
        size_t len = strlen(confs[i]);
        if (len > 5 && len < 64 && !strcmp(confs[i] + len - 5, ".conf") && *confs[i] != '.')
            names[n++] = spec_arena_strndup(out->arena, confs[i], len - 5);
    }
    for (size_t i = 0; i < n_records; i++)
        if (*records[i] != '.' && strlen(records[i]) < 64)
            names[n++] = records[i];
    for (size_t i = 0; i < wanted->n; i++)
        if (wanted->items[i]->kind == REC_UNIT && wanted->items[i]->runtime == SPEC_RT_NIXOS)
            names[n++] = (char *)wanted->items[i]->key;
    if (n)
        qsort(names, n, sizeof *names, compare_names);
    r = 0;
    for (size_t i = 0; !r && i < n; i++)
        if (!i || strcmp(names[i], names[i - 1]))
            r = read_one(run, names[i], wanted, out, err);
    if (!r && n)
        note_leftovers(run, names, n, out);
    return r;
}
