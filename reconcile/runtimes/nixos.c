/* The outcome is what `nixos-container` would have made, and container@NAME.service runs it. Files say what shall be; what is in force is
 * asked of the process itself: its environment, its address, its bridge, the system that it runs. */
#include "reconcile/runtimes/nixos.h"
#include "reconcile/aside.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/systemd.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RUN_RUNNING, RUN_DIGEST, RUN_STALE, RUN_ORPHAN, RUN_ADDRESS, RUN_MASTER, RUN_SYSTEM };       /* as in kinds/run.c */
enum { UNIT_SETTINGS, UNIT_FLAKE };                                                                 /* as in kinds/unit.c */
enum { SYSTEM_ROOT, SYSTEM_ON_REMOVE, SYSTEM_PROFILE, SYSTEM_FLAKE };                               /* as in kinds/system.c */
enum { CONF_MOST = 65536, START_MS = 300000 };

#define TEMPLATE "container"

/* ---- where things are ---- */

static bool legacy(struct rec_run *run)
{
    static const char *const scripts[] = {"/run/current-system/sw/bin/nixos-container", "/usr/bin/nixos-container"};
    char *text;
    size_t len;
    for (size_t i = 0; i < 2; i++) {
        char *real = realpath(scripts[i], NULL);
        bool read = real && !rec_file_read(run->arena, real, 1 << 20, &text, &len, NULL);
        free(real);
        if (read)
            return !strstr(text, "/etc/nixos-containers");
    }
    return access("/etc/nixos-containers", F_OK) && access("/var/lib/nixos-containers", F_OK) && !access("/var/lib/containers", F_OK) &&
           !access("/etc/NIXOS", F_OK);
}

const char *nixos_conf_dir(struct rec_run *run)
{
    return legacy(run) ? "/etc/containers" : "/etc/nixos-containers";
}

const char *nixos_state_dir(struct rec_run *run)
{
    return legacy(run) ? "/var/lib/containers" : "/var/lib/nixos-containers";
}

static const char *conf_path(struct rec_run *run, const char *name)
{
    return spec_arena_printf(run->arena, "%s/%s.conf", nixos_conf_dir(run), name);
}

static const char *root_path(struct rec_run *run, const char *name)
{
    return spec_arena_printf(run->arena, "%s/%s", nixos_state_dir(run), name);
}

const char *nixos_profile(struct rec_run *run, const char *name)
{
    char *target = realpath(spec_arena_printf(run->arena, NIXOS_PROFILES "/%s/system", name), NULL);
    const char *kept = target ? spec_arena_strdup(run->arena, target) : "";
    free(target);
    return kept;
}

static bool of_unit(struct rec_run *run, pid_t pid, const char *template, const char *name)
{
    char *text;
    size_t len;
    const char *unit = spec_arena_printf(run->arena, "/%s@%s.service", template, name);
    return !rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/cgroup", (int)pid), 65536, &text, &len, NULL) &&
           strstr(text, unit);
}

/* ---- what is wanted ---- */

static bool template_here(void)
{
    static const char *const dirs[] = {"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                       "/lib/systemd/system"};
    char path[80];
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/container@.service", dirs[i]);
        if (!access(path, F_OK))
            return true;
    }
    return false;
}

static const char *refuse(const struct rec_run *run, const struct spec_container *c)
{
    const char *values[] = {c->nixos.flake.text, c->nixos.attr.text};
    if (!c->nixos.flake.text && !c->nixos.system.text && !c->nixos.config.text)
        return "it has no `nixos` map: give it a flake, a system or a config";
    for (size_t i = 0; i < 2; i++)
        if (values[i] && !nixos_conf_plain(values[i]))
            return "its flake has a character that would need quotes in the container's conf";
    const char *path = c->nixos.flake.text ? c->nixos.flake.text : c->nixos.config.text;
    bool relative = path && (*path == '.' || !strncmp(path, "path:.", 6) || (c->nixos.config.text && *path != '/'));
    if (relative && !run->opt.spec_dir && !(run->opt.source && c->nixos.flake.text))
        return "its path is a relative one, and this spec has no directory of its own";
    if (c->nixos.flake.text && run->opt.source && !nixos_folder(run->arena, run->opt.source->path, path))
        return "its flake leads out of the repository, and a spec out of git has nothing around that";
    if (run->opt.offline)
        return NULL;
    if (!run->facts.systemd)
        return "NixOS containers are units of systemd, and PID 1 here is not systemd";
    if (!template_here())
        return "container@.service is not on this host: set `boot.enableContainers = true` and switch to it (an imperative container "
               "does not imply it)";
    return NULL;
}

static struct rec_item *add(struct rec_state *out, enum rec_kind_id kind, const struct spec_container *c)
{
    struct rec_item *it = rec_state_add(out, kind, c->name);
    if (it) {
        it->container = c->name;
        it->spec = c;
        it->runtime = SPEC_RT_NIXOS;
        it->at = c->at;
        it->protect = c->protect;
    }
    return it;
}

/* "10.0.0.2/24 via 10.0.0.1, fd00::2/64": one text for what is wanted and for what is found. */
struct in_force {
    struct spec_addr address[2], gateway[2];
    uint8_t          mac[6];
    bool             has_mac;
};

static const char *describe(struct spec_arena *a, const struct in_force *f)
{
    char text[2][SPEC_ADDR_TEXT + SPEC_ADDR_TEXT + 8] = {"", ""}, mac[24] = "";
    for (int i = 0; i < 2; i++) {
        char one[SPEC_ADDR_TEXT], two[SPEC_ADDR_TEXT];
        if (f->address[i].family)
            snprintf(text[i], sizeof text[i], "%s%s%s", spec_addr_format(&f->address[i], true, one), f->gateway[i].family ? " via " : "",
                     f->gateway[i].family ? spec_addr_format(&f->gateway[i], false, two) : "");
    }
    if (f->has_mac)
        snprintf(mac, sizeof mac, " %02x:%02x:%02x:%02x:%02x:%02x", f->mac[0], f->mac[1], f->mac[2], f->mac[3], f->mac[4], f->mac[5]);
    return spec_arena_printf(a, "%s%s%s%s", text[0], *text[0] && *text[1] ? ", " : "", text[1], mac);
}

static struct in_force wanted_in_force(const struct spec_host *h, const struct spec_container *c)
{
    struct in_force f = {.has_mac = c->has_mac};
    for (int i = 0; i < 2; i++) {
        const struct spec_addr *gw = rec_gateway(c, &h->bridges[c->bridge], i ? 6 : 4);
        f.address[i] = c->address[i].addr;
        if (gw)
            f.gateway[i] = *gw;
    }
    memcpy(f.mac, c->mac, 6);
    return f;
}

/* What of the conf only a restart brings into force, and what cannot be seen on the wire. */
static const char *digest_of(struct spec_arena *a, const char *(*get)(void *arg, const char *name), void *arg)
{
    static const char *const names[] = {"HOST_PORT", "EXTRA_NSPAWN_FLAGS", "PRIVATE_USERS", "INTERFACES", "MACVLANS",
                                        "NETWORK_NAMESPACE_PATH", "SYSTEM_PATH"};
    const char *bridge = get(arg, "HOST_BRIDGE"), *text = bridge && *bridge ? "on a bridge" : "on no bridge";
    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
        const char *v = get(arg, names[i]);
        if (v && *v)
            text = spec_arena_printf(a, "%s, %s=%s", text, names[i], v);
    }
    return text;
}

struct text_source {
    struct spec_arena *a;
    const char        *text;
    pid_t              pid;
};

static const char *from_text(void *arg, const char *name)
{
    struct text_source *s = arg;
    return nixos_conf_get(s->a, s->text, name);
}

static const char *from_process(void *arg, const char *name)
{
    struct text_source *s = arg;
    return rec_proc_env(s->a, s->pid, name);
}

#define OWN_FLAKE NIXOS_RECORDS "/.flake-"
#define GONE      ".gone-"
#define DIR_MARK  ".berth"

/* A bare `nixos-container update` builds the attribute `container` of FLAKE: another name needs a flake that calls it so. */
static const char *flake_of(struct rec_run *run, const struct spec_container *c, struct spec_arena *a)
{
    if (!c->nixos.flake.text || !strcmp(c->nixos.attr.text, "container"))
        return "";
    return spec_arena_printf(a,
        "# Made by berth, for `nixos-container update`, which knows no other attribute than `container`.\n"
        "{\n  inputs.spec.url = \"%s\";\n  outputs = { spec, ... }: { nixosConfigurations.container = spec.nixosConfigurations.\"%s\"; };\n}\n",
        nixos_flake(run, c), c->nixos.attr.text);
}

static const char *conf_of(struct rec_run *run, const struct spec_host *h, const struct spec_container *c, struct spec_arena *a)
{
    char text[4][SPEC_ADDR_TEXT], mac[24];
    uint8_t m[6];
    const struct spec_bridge *b = &h->bridges[c->bridge];
    const struct spec_addr *gw4 = rec_gateway(c, b, 4), *gw6 = rec_gateway(c, b, 6);
    if (c->has_mac)
        memcpy(m, c->mac, 6);
    else
        rec_derive_mac(h->name, "container", c->name, m);
    snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    struct nixos_conf conf = {
        .bridge = b->name, .mac = mac, .autostart = c->autostart,
        .gateway4 = gw4 ? spec_addr_format(gw4, false, text[0]) : NULL, .gateway6 = gw6 ? spec_addr_format(gw6, false, text[1]) : NULL,
        .address4 = c->address[0].addr.family ? spec_addr_format(&c->address[0].addr, true, text[2]) : NULL,
        .address6 = c->address[1].addr.family ? spec_addr_format(&c->address[1].addr, true, text[3]) : NULL,
    };
    if (c->nixos.flake.text)
        conf.flake = strcmp(c->nixos.attr.text, "container") ? spec_arena_printf(a, OWN_FLAKE "%s", c->name)
                     : run->opt.offline                            ? c->nixos.flake.text      /* its commit is always another */
                                                                   : nixos_flake(run, c);
    return nixos_conf_text(a, &conf);
}

static int want(struct rec_run *run, const struct spec_host *h, const struct spec_container *c, struct rec_state *out,
                struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    struct rec_item *system = add(out, REC_SYSTEM, c), *unit = add(out, REC_UNIT, c), *it = add(out, REC_RUN, c);
    const char *source = nixos_source(run, c, err), *built = run->built && run->built_host == h ? run->built[c - h->containers] : NULL;
    if (!source)
        return -EINVAL;
    if (!system || !unit || !it || !(unit->unit.text = conf_of(run, h, c, a)) || !(unit->unit.flake = flake_of(run, c, a)))
        return rec_fail(err, ENOMEM, "out of memory");
    system->system.source = source;
    system->system.flake = run->opt.offline ? nixos_compared(run, c, source) : source;
    system->system.profile = built ? built : "";
    system->system.on_remove = c->destroy_files ? "destroy" : "keep";
    system->stated = 1u << SYSTEM_ON_REMOVE | (built ? 1u << SYSTEM_PROFILE : 0) | (run->opt.offline ? 1u << SYSTEM_FLAKE : 0);
    system->at = c->nixos.at.line ? c->nixos.at : c->at;
    if (!built && !run->opt.offline)
        rec_state_note(out, spec_arena_printf(a, "container %s", c->name), "its system is known after it is built");
    unit->stated = 1u << UNIT_SETTINGS | 1u << UNIT_FLAKE;
    struct text_source text = {a, unit->unit.text, 0};
    struct in_force f = wanted_in_force(h, c);
    it->run.running = c->state == SPEC_RUNNING && !rec_is_held(run, c->name);
    it->run.held = rec_is_held(run, c->name) ? rec_hold_find(a, c->name) : NULL;
    it->run.autostart = c->autostart;
    it->run.digest = digest_of(a, from_text, &text);
    it->run.address = describe(a, &f);
    it->run.master = h->bridges[c->bridge].name;
    it->run.system = built ? built : "";
    it->stated = 1u << RUN_RUNNING;
    if (it->run.running)
        it->stated |= 1u << RUN_DIGEST | 1u << RUN_ADDRESS | 1u << RUN_MASTER | (built ? 1u << RUN_SYSTEM : 0);
    return 0;
}

/* ---- what is had ---- */

/* Whose a container is says its conf: by our first line, or by being a link, which only the host's own configuration makes. Our record
 * is heard where no conf speaks: there is none, or an empty one, and the container is half made or half gone. */
struct seen {
    char               *text;           /* of the conf; NULL: there is none, or a link */
    bool                declarative, recorded, ours;
    bool                nobodys;        /* no conf, no record: what else bears the name belongs to no container */
    struct nixos_record record;         /* read only where it is heard, or ours */
};

static int look_at(struct rec_run *run, struct spec_arena *a, const char *name, struct seen *s, struct rec_error *err)
{
    const char *path = conf_path(run, name);
    struct stat st;
    size_t len;
    *s = (struct seen){.record = {.source = "", .path = "", .on_remove = "keep"}};
    s->declarative = !lstat(path, &st) && S_ISLNK(st.st_mode);
    int r = s->declarative ? 0 : rec_file_read(a, path, CONF_MOST, &s->text, &len, err);
    if (r && r != -ENOENT)
        return r;
    bool speaks = s->declarative || (s->text && *s->text), marked = s->text && nixos_conf_ours(s->text);
    s->recorded = (marked || !speaks) && nixos_record_read(run, name, &s->record);
    s->ours = marked || s->recorded;
    s->nobodys = !s->ours && !s->declarative && !s->text;
    return 0;
}

bool nixos_ours(struct rec_run *run, const char *name)
{
    struct seen s;
    return !look_at(run, run->arena, name, &s, NULL) && s.ours;
}

pid_t nixos_leader(struct rec_run *run, const char *name, unsigned long long *started)
{
    pid_t leader = systemd_leader(run, name, started);
    return leader && of_unit(run, leader, "container", name) ? leader : 0;
}

/* In a thread that enters a namespace and ends there. */
struct look {
    int               fd;
    struct net_inside in;
    struct net_error  error;
    int               failed;
};

static void *look_inside(void *arg)
{
    struct look *l = arg;
    l->failed = net_inside_read(l->fd, NULL, NULL, &l->in, &l->error);
    return NULL;
}

/* What eth0 has: the address and gateway that are wanted where they are among them, else the first there are. */
static struct in_force found_in_force(const struct net_inside *in, const struct spec_container *c, const struct in_force *w)
{
    struct in_force f = {.has_mac = c && c->has_mac};
    memcpy(f.mac, in->eth0.mac, 6);
    for (size_t i = 0; i < in->n_address; i++) {
        struct spec_addr s = rec_spec_address(&in->address[i]);
        int k = s.family == 6;
        s.has_prefix = true;
        bool same = w && w->address[k].family && w->address[k].prefix == s.prefix && !memcmp(s.bytes, w->address[k].bytes, k ? 16 : 4);
        if (!f.address[k].family || same)
            f.address[k] = same ? w->address[k] : s;
        if (w && !w->address[k].family)
            f.address[k] = (struct spec_addr){0};       /* a family that the spec does not speak of is the guest's own matter */
    }
    for (size_t i = 0; i < in->n_route; i++) {
        const struct net_route *r = &in->route[i];
        int k = r->family == AF_INET6;
        struct spec_addr s = {.family = k ? 6 : 4};
        if (!r->has_gateway || r->type != RTN_UNICAST || r->oif != in->eth0.index || !f.address[k].family)
            continue;
        memcpy(s.bytes, r->gateway, k ? 16 : 4);
        if (w && !w->gateway[k].family)
            continue;           /* gateway: none says that berth gives it none */
        if (!f.gateway[k].family || (w && !memcmp(w->gateway[k].bytes, s.bytes, k ? 16 : 4)))
            f.gateway[k] = s;
    }
    return f;
}

static int read_running(struct rec_run *run, const char *name, pid_t leader, unsigned long long started, const struct rec_item *w,
                        struct rec_item *it, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    struct text_source process = {a, NULL, rec_proc_parent(leader)};
    char link[16];
    pthread_t thread;
    struct look l = {.fd = open(spec_arena_printf(a, "/proc/%d/ns/net", (int)leader), O_RDONLY | O_CLOEXEC)};
    if (l.fd < 0)
        return 0;               /* it went away just now */
    int r = pthread_create(&thread, NULL, look_inside, &l);
    if (r) {
        close(l.fd);
        return rec_fail(err, r, "cannot start a thread to look into container %s: %s", name, strerror(r));
    }
    pthread_join(thread, NULL);
    close(l.fd);
    if (l.failed)
        return rec_fail_net(err, &l.error);
    struct in_force want_f = {0}, f;
    bool compares = w && w->spec && run->host;
    if (compares)
        want_f = wanted_in_force(run->host, w->spec);
    f = found_in_force(&l.in, compares ? w->spec : NULL, compares ? &want_f : NULL);
    net_inside_done(&l.in);
    it->run.running = true;
    it->run.leader = leader;
    it->run.started_ms = started * 1000u / (uint64_t)sysconf(_SC_CLK_TCK);
    it->run.digest = digest_of(a, from_process, &process);
    it->run.address = describe(a, &f);
    spec_link_name(name, link);
    const struct net_link *port = rec_link_named(run->links, link);
    const struct net_link *master = port && port->master ? rec_link_indexed(run->links, port->master) : NULL;
    it->run.port = port ? port->index : 0;
    it->run.master = master ? spec_arena_strdup(a, master->name) : "";
    char system[512] = "";
    ssize_t n = readlink(spec_arena_printf(a, "/proc/%d/root/run/current-system", (int)leader), system, sizeof system - 1);
    it->run.system = n > 0 ? spec_arena_strndup(a, system, (size_t)n) : "";
    it->stated = 1u << RUN_RUNNING | 1u << RUN_DIGEST | 1u << RUN_ADDRESS | 1u << RUN_MASTER | (n > 0 ? 1u << RUN_SYSTEM : 0);
    return 0;
}

/* "": it is not there, or not what berth would write. */
static const char *read_flake(struct spec_arena *a, const char *name)
{
    char *text;
    size_t len;
    return rec_file_read(a, spec_arena_printf(a, OWN_FLAKE "%s/flake.nix", name), CONF_MOST, &text, &len, NULL) ? "" : text;
}

static int read_one(struct rec_run *run, const char *name, const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    const struct rec_item *wu = rec_state_find(wanted, REC_UNIT, name), *wr = rec_state_find(wanted, REC_RUN, name);
    struct seen s;
    if (wu && wu->runtime != SPEC_RT_NIXOS)
        wu = wr = NULL;
    int r = look_at(run, a, name, &s, err);
    if (r || (!s.ours && !wu))
        return r;
    unsigned long long started = 0;
    pid_t leader = systemd_leader(run, name, &started);
    bool stranger = leader && !of_unit(run, leader, "container", name);
    /* container@NAME would end it before it starts. */
    const char *machine = stranger && wr && wr->run.running && !of_unit(run, leader, "berth", name)
                              ? spec_arena_printf(a, "a machine of that name runs already, and not as container@%s (its leader is process %d)", name,
                                                  (int)leader)
                              : NULL;
    if (s.text || s.declarative || machine) {
        struct rec_item *unit = rec_state_add(out, REC_UNIT, name);
        if (!unit)
            return rec_fail(err, ENOMEM, "out of memory");
        unit->container = unit->key;
        unit->runtime = SPEC_RT_NIXOS;
        unit->ours = s.ours;
        unit->unit.text = s.text ? s.text : "";
        unit->unit.flake = read_flake(a, name);
        unit->unit.foreign = s.declarative ? "it is a declarative container, made by the host's own configuration" : machine;
        unit->unit.foreign_hint = s.declarative ? "choose another name, or take the container out of the host's configuration"
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
        system->system.on_remove = spec_arena_strdup(a, s.record.on_remove);
        system->stated = 1u << SYSTEM_PROFILE | (s.recorded ? 1u << SYSTEM_ON_REMOVE : 0);
    }
    if (stranger)
        leader = 0;
    if (!leader && !(wr && !wr->run.running))
        return 0;               /* not running: wanted, it is missing; not wanted, there is nothing */
    struct rec_item *it = rec_state_add(out, REC_RUN, name);
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->container = it->key;
    it->runtime = SPEC_RT_NIXOS;
    it->ours = s.ours;
    it->stated = 1u << RUN_RUNNING;
    return leader ? read_running(run, name, leader, started, wr, it, err) : 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "a, b and 3 more": what is below `dir` and bears none of the `n` sorted names. */
static const char *leftovers(struct rec_run *run, struct spec_arena *a, const char *dir, char *const *names, size_t n)
{
    char **here, *text = NULL;
    size_t k, more = 0, listed = 0;
    if (rec_dir_list(a, dir, &here, &k, NULL))
        return NULL;
    for (size_t i = 0; i < k; i++) {
        struct stat st;
        const char *name = here[i];
        if (*name == '.' || strlen(name) > 63 || (n && bsearch(&name, names, n, sizeof *names, compare_names)) || !lstat(conf_path(run, name), &st))
            continue;
        if (listed++ < 5)
            text = spec_arena_printf(a, "%s%s%s", text ? text : "", text ? ", " : "", name);
        else
            more++;
    }
    return more ? spec_arena_printf(a, "%s and %zu more", text, more) : text;
}

/* Roots are kept on purpose, and profiles are left by a create that failed or a conf that was deleted: both are told, neither is touched. */
static void note_leftovers(struct rec_run *run, char *const *names, size_t n, struct rec_state *out)
{
    const char *roots = leftovers(run, out->arena, nixos_state_dir(run), names, n), *profiles = leftovers(run, out->arena, NIXOS_PROFILES, names, n);
    if (roots)
        rec_state_note(out, nixos_state_dir(run), "roots of containers that are no more: %s; in the spec again, each goes on with its own", roots);
    if (profiles)
        rec_state_note(out, NIXOS_PROFILES, "profiles without a container: %s; until they are deleted nix keeps what they hold", profiles);
}

/* Every name that may be ours: wanted, with a conf, or with a record. */
static int read_all(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
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
    char **names = spec_arena_alloc(out->arena, (n_confs + n_records + wanted->n + 1) * sizeof *names);
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

/* ---- what is done ---- */

static int write_flake(struct rec_run *run, const char *name, const char *text, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *dir = spec_arena_printf(a, OWN_FLAKE "%s", name);
    int r;
    if (!*text) {
        r = rec_tree_remove(dir, err);
        rmdir(NIXOS_RECORDS);
        return r;
    }
    r = rec_dir_make(REC_STATE_DIR, 0700, err);
    if (!r)
        r = rec_dir_make(NIXOS_RECORDS, 0755, err);
    if (!r)
        r = rec_dir_make(dir, 0755, err);
    if (!r)
        r = rec_file_remove(spec_arena_printf(a, "%s/flake.lock", dir), err);
    return r ? r : rec_file_write(spec_arena_printf(a, "%s/flake.nix", dir), text, strlen(text), 0644, err);
}

/* A directory of ours bears our mark, and goes when nothing else is in it; any other is somebody's, empty or not. */
static int make_conf_dir(struct rec_run *run, struct rec_error *err)
{
    static const char text[] = "# Made by berth; goes with the last container.\n";
    const char *dir = nixos_conf_dir(run);
    if (!access(dir, F_OK))
        return 0;
    int r = rec_dir_make(dir, 0755, err);
    return r ? r : rec_file_write(spec_arena_printf(run->arena, "%s/" DIR_MARK, dir), text, sizeof text - 1, 0644, err);
}

static int drop_conf_dir(struct rec_run *run, struct rec_error *err)
{
    const char *dir = nixos_conf_dir(run);
    char **names;
    size_t n;
    int r = rec_dir_list(run->arena, dir, &names, &n, err);
    if (r || n != 1 || strcmp(names[0], DIR_MARK))
        return r == -ENOENT ? 0 : r;
    r = rec_file_remove(spec_arena_printf(run->arena, "%s/" DIR_MARK, dir), err);
    rmdir(dir);
    return r;
}

static int unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const char *name = (s->to ? s->to : s->from)->container, *path = conf_path(run, name);
    const char *flake = s->to ? s->to->unit.flake : "";
    int r = s->to ? make_conf_dir(run, err) : rec_file_remove(path, err);
    if (!r && (!s->from || strcmp(s->from->unit.flake, flake)))
        r = write_flake(run, name, flake, err);
    if (!s->to)
        return r ? r : drop_conf_dir(run, err);
    if (r || (s->from && !strcmp(s->from->unit.text, s->to->unit.text)))
        return r;
    return rec_file_write(path, s->to->unit.text, strlen(s->to->unit.text), 0644, err);
}

/* NixOS makes /var/empty immutable. */
void nixos_make_mutable(const char *root)
{
    char path[4200];
    int flags;
    snprintf(path, sizeof path, "%s/var/empty", root);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags) && flags & FS_IMMUTABLE_FL) {
        flags &= ~FS_IMMUTABLE_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (fd >= 0)
        close(fd);
}

static int tree_goes(struct rec_run *run, const char *dir, const char *name, rec_aside_fn last, struct rec_error *err)
{
    return run->undoing ? rec_aside_drop(run, dir, name, last, err) : rec_aside_put(run, dir, name, err);
}

static int mutable(struct rec_run *run, const char *name, const char *tree, struct rec_error *err)
{
    (void)run, (void)name, (void)err;
    nixos_make_mutable(tree);
    return 0;
}

/* What is mounted there, or is no directory, is not ours to take away. */
static int root_goes(struct rec_run *run, const char *name, struct rec_error *err)
{
    const char *root = root_path(run, name);
    struct stat st, above;
    if (lstat(root, &st))
        return 0;
    if (!S_ISDIR(st.st_mode) || stat(nixos_state_dir(run), &above) || above.st_dev != st.st_dev) {
        rec_fail(err, EXDEV, "cannot remove '%s': it is a %s", root, S_ISLNK(st.st_mode) ? "symbolic link" : "file system of its own, or no directory");
        rec_hint(err, "look at what is there, and take it away by hand; or let the container's files stay: on_remove: keep");
        return -EXDEV;
    }
    return tree_goes(run, nixos_state_dir(run), name, mutable, err);
}

/* What was built for it is kept from nix's garbage collector by a link whose own name nix knows: that cannot be put aside, and stays until
 * the record beside it goes for good. */
static int record_goes(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *record = spec_arena_printf(a, NIXOS_RECORDS "/%s", name);
    if (!run->undoing && !rename(record, spec_arena_printf(a, NIXOS_RECORDS "/" GONE "%s", name)))
        return 0;
    int r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/.root-%s", name), err);
    if (!r)
        r = rec_file_remove(record, err);
    rmdir(NIXOS_RECORDS);
    return r;
}

static int forget(struct rec_run *run, const struct rec_item *h, struct rec_error *err)
{
    const char *name = h->container;
    struct nixos_record record;
    struct stat st;
    bool root = run->undoing ? nixos_record_read(run, name, &record) && record.root_made
                             : !strcmp(h->system.on_remove, "destroy") || run->opt.destroy_files;
    int r = root ? root_goes(run, name, err) : 0;
    if (!r)
        r = tree_goes(run, NIXOS_PROFILES, name, NULL, err);
    if (!r)
        r = tree_goes(run, NIXOS_GCROOTS, name, NULL, err);
    if (!r && lstat(conf_path(run, name), &st))     /* else it goes with its unit, or stays with it */
        r = rec_tree_remove(spec_arena_printf(run->arena, OWN_FLAKE "%s", name), err);
    return r ? r : record_goes(run, name, err);
}

/* Back to where they were: an undo, or the run that put them aside was killed. */
static int trees_come_back(struct rec_run *run, const char *name, struct rec_error *err)
{
    const char *const dirs[] = {NIXOS_PROFILES, NIXOS_GCROOTS, nixos_state_dir(run)};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < sizeof dirs / sizeof *dirs; i++)
        r = rec_aside_take(run, dirs[i], name, err);
    return r < 0 ? r : rec_file_remove(spec_arena_printf(run->arena, NIXOS_RECORDS "/" GONE "%s", name), err);
}

static int system_step(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    if (!s->to)
        return forget(run, s->from, err);
    const struct rec_system *to = &s->to->system;
    const char *name = s->to->container;
    struct stat st;
    int r = s->from && !run->undoing ? 0 : trees_come_back(run, name, err);
    bool recorded = s->to->stated & 1u << SYSTEM_ON_REMOVE, fresh = !s->from && !run->undoing && lstat(root_path(run, name), &st);
    const char *had = nixos_profile(run, name);
    if (!r && *to->profile && (!had || strcmp(had, to->profile)))
        r = nixos_profile_set(run, name, to->profile, err);
    if (r || !recorded)     /* an undo: it was not ours, so nothing was recorded */
        return r ? r : record_goes(run, name, err);
    struct nixos_record record = {to->source ? to->source : "", to->profile, to->on_remove ? to->on_remove : "keep", fresh};
    return nixos_record_write(run, name, &record, err);
}

/* Records go for good where no container of ours bears their name, those that somebody else has taken over included. */
static int purge_records(struct rec_run *run, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    char **names;
    size_t n;
    int r = rec_dir_list(a, NIXOS_RECORDS, &names, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        bool gone = !strncmp(names[i], GONE, sizeof GONE - 1);
        const char *name = gone ? names[i] + sizeof GONE - 1 : names[i];
        struct seen s;
        if (*name == '.' || strlen(name) > 63)
            continue;
        r = look_at(run, a, name, &s, err);
        if (!r && !s.ours) {
            r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/.root-%s", name), err);
            if (!r)
                r = rec_tree_remove(spec_arena_printf(a, OWN_FLAKE "%s", name), err);
        }
        if (!r && (gone || !s.ours))
            r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/%s", names[i]), err);
    }
    rmdir(NIXOS_RECORDS);
    return r == -ENOENT ? 0 : r;
}

static int purge(struct rec_run *run, struct rec_error *err)
{
    if (!run->facts.systemd)
        return 0;
    int r = rec_aside_purge(run, NIXOS_PROFILES, NULL, err);
    if (!r)
        r = rec_aside_purge(run, NIXOS_GCROOTS, NULL, err);
    if (!r)
        r = rec_aside_purge(run, nixos_state_dir(run), mutable, err);
    return r ? r : purge_records(run, err);
}

/* Two failures that a second try from a clean stop mends: a unit that never got beyond starting, and a name that machined still keeps for
 * a machine whose leader is gone. */
static void start_again(struct rec_run *run, const char *name)
{
    unsigned long long started;
    int status;
    pid_t leader = systemd_leader(run, name, &started);
    if (leader)
        return;
    const char *said = systemd_said(run, TEMPLATE, name);
    bool stuck = !strcmp(systemd_state(run, TEMPLATE, name), "activating"), kept = strstr(said, "already exists") != NULL;
    if (!stuck && !kept)
        return;
    systemd_call(run, TEMPLATE, "stop", &name, 1, START_MS, &status, NULL);
    if (kept)
        systemd_machine_end(run, name);
    systemd_call(run, TEMPLATE, "reset-failed", &name, 1, 10000, &status, NULL);
    systemd_call(run, TEMPLATE, "start", &name, 1, START_MS, &status, NULL);
}

static void start(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    int status;
    struct rec_error e = {0};
    unsigned long long started;
    systemd_call(run, TEMPLATE, "reset-failed", names, n, 10000, &status, NULL);
    systemd_call(run, TEMPLATE, "start", names, n, START_MS, &status, &e);
    for (size_t i = 0; i < n; i++)
        start_again(run, names[i]);
    for (size_t i = 0; i < n; i++) {
        pid_t leader = systemd_leader(run, names[i], &started);
        if (leader && of_unit(run, leader, "container", names[i]))
            continue;
        const char *said = systemd_said(run, TEMPLATE, names[i]);
        rec_fail(&err[i], EIO, "cannot start container '%s': %.380s", names[i], *said ? said : e.code ? e.text : "it ended at once");
        rec_hint(&err[i], "all it said: journalctl -u container@%s", names[i]);
    }
}

static void stop(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    int status = 0;
    struct rec_error e = {0};
    unsigned long long started;
    systemd_call(run, TEMPLATE, "stop", names, n, START_MS, &status, &e);
    systemd_call(run, TEMPLATE, "reset-failed", names, n, 10000, &status, NULL);
    for (size_t i = 0; i < n; i++) {
        pid_t leader = systemd_leader(run, names[i], &started);
        if (leader && !rec_proc_wait(leader, started, 5000))
            rec_fail(&err[i], EIO, "cannot stop container '%s': %.300s", names[i], e.code ? e.text : "it still runs");
    }
}

static void reload(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int status = 0;
        struct rec_error e = {0};
        if (!systemd_call(run, TEMPLATE, "reload", &names[i], 1, START_MS, &status, &e) && !status)
            continue;
        const char *said = systemd_said(run, TEMPLATE, names[i]);
        rec_fail(&err[i], EIO, "container '%s' did not take its new system: %.380s", names[i], *said ? said : e.text);
        rec_hint(&err[i], "all it said: journalctl -u container@%s; or start it anew: berth restart %s", names[i], names[i]);
    }
}

/* A bridge that was made anew has lost its ports: back to their master, and nobody inside notices. */
static void mend(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const struct rec_running *from = &s->from->run, *to = &s->to->run;
    struct net_batch *b;
    struct net_error ne;
    int index;
    char name[16];
    if (!strcmp(from->master ? from->master : "", to->master))
        return;
    spec_link_name(s->to->container, name);
    if (!from->port) {
        rec_fail(err, ENODEV, "container %s has no port '%s' to put on bridge '%s'", s->to->container, name, to->master);
        rec_hint(err, "start it anew: berth restart %s", s->to->container);
        return;
    }
    if (rec_link_index(run, to->master, &index, err) || rec_net(run, &b, err))
        return;
    net_batch_link_master(b, (struct net_link_ref){from->port, name}, index, 1);
    net_batch_link_up(b, (struct net_link_ref){from->port, name}, true, 1);
    if (net_batch_send(b, NULL, NULL, &ne))
        rec_fail_net(err, &ne);
}

static const char *journal(struct rec_run *run, const char *container, bool here)
{
    return run->facts.systemd && (!here || nixos_ours(run, container)) ? systemd_unit(run->arena, "container", container) : NULL;
}

const struct rec_runtime rec_runtime_nixos = {
    .name = "nixos", .id = SPEC_RT_NIXOS, .refuse = refuse, .want = want, .read = read_all, .unit = unit, .system = system_step,
    .purge = purge, .start = start, .stop = stop, .reload = reload, .mend = mend, .journal = journal,
};
