/* The outcome is what `nixos-container` would have made, and container@NAME.service runs it: what
 * is wanted of both, and starting and stopping. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos_inner.h"
#include "reconcile/runtimes/said.h"
#include "reconcile/runtimes/systemd.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 300000 };

#define TEMPLATE "container"

/* ---- where things are ---- */

static bool legacy(struct rec_run *run)
{
    static const char *const scripts[] = {"/run/current-system/sw/bin/nixos-container",
                                          "/usr/bin/nixos-container"};
    char *text;
    size_t len;
    for (size_t i = 0; i < 2; i++) {
        char *real = realpath(scripts[i], NULL);
        bool read = real && !rec_file_read(run->arena, real, 1 << 20, &text, &len, NULL);
        free(real);
        if (read)
            return !strstr(text, "/etc/nixos-containers");
    }
    return access("/etc/nixos-containers", F_OK) && access("/var/lib/nixos-containers", F_OK) &&
           !access("/var/lib/containers", F_OK) && !access("/etc/NIXOS", F_OK);
}

const char *nixos_conf_dir(struct rec_run *run)
{
    return legacy(run) ? "/etc/containers" : "/etc/nixos-containers";
}

const char *nixos_state_dir(struct rec_run *run)
{
    return legacy(run) ? "/var/lib/containers" : "/var/lib/nixos-containers";
}

const char *nixos_conf_path(struct rec_run *run, const char *name)
{
    return spec_arena_printf(run->arena, "%s/%s.conf", nixos_conf_dir(run), name);
}

const char *nixos_root_path(struct rec_run *run, const char *name)
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

bool nixos_of_unit(struct rec_run *run, pid_t pid, const char *template, const char *name)
{
    char *text;
    size_t len;
    const char *unit = spec_arena_printf(run->arena, "/%s@%s.service", template, name);
    return !rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/cgroup", (int)pid),
                          65536, &text, &len, NULL) &&
           strstr(text, unit);
}

pid_t nixos_leader(struct rec_run *run, const char *name, unsigned long long *started)
{
    pid_t leader = systemd_leader(run, name, started);
    return leader && nixos_of_unit(run, leader, "container", name) ? leader : 0;
}

/* ---- what is wanted ---- */

static bool template_here(void)
{
    static const char *const dirs[] = {"/etc/systemd/system", "/run/systemd/system",
                                       "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                       "/lib/systemd/system"};
    char path[80];
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf(path, sizeof path, "%s/container@.service", dirs[i]);
        if (!access(path, F_OK))
            return true;
    }
    return false;
}

static const char *refuse(struct rec_run *run, const struct spec_container *c)
{
    const char *values[] = {c->nixos.flake.text, c->nixos.attr.text};
    if (!c->nixos.flake.text && !c->nixos.system.text && !c->nixos.config.text)
        return "it has no `nixos` map: give it a flake, a system or a config";
    for (size_t i = 0; i < 2; i++)
        if (values[i] && !nixos_conf_plain(values[i]))
            return "its flake has a character that would need quotes in the container's conf";
    const char *path = c->nixos.flake.text ? c->nixos.flake.text : c->nixos.config.text;
    bool relative = path && (*path == '.' || !strncmp(path, "path:.", 6) ||
                             (c->nixos.config.text && *path != '/'));
    if (relative && !run->opt.spec_dir && !(run->opt.source && c->nixos.flake.text))
        return "its path is a relative one, and this spec has no directory of its own";
    if (c->nixos.flake.text && run->opt.source &&
        !nixos_folder(run->arena, run->opt.source->path, path))
        return "its flake leads out of the repository, and a spec out of git has nothing around "
               "that";
    if (run->opt.offline)
        return NULL;
    if (!run->facts.systemd)
        return "NixOS containers are units of systemd, and PID 1 here is not systemd";
    if (!template_here())
        return "container@.service is not on this host: set `boot.enableContainers = true` and "
               "switch to it (an imperative container "
               "does not imply it)";
    return NULL;
}

static struct rec_item *add(struct rec_state *out, enum rec_kind_id kind,
                            const struct spec_container *c)
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

const char *nixos_in_force_text(struct spec_arena *a, const struct nixos_in_force *f)
{
    char text[2][SPEC_ADDR_TEXT + SPEC_ADDR_TEXT + 8] = {"", ""}, mac[24] = "";
    for (int i = 0; i < 2; i++) {
        char one[SPEC_ADDR_TEXT], two[SPEC_ADDR_TEXT];
        if (f->address[i].family)
            snprintf(text[i], sizeof text[i], "%s%s%s", spec_addr_format(&f->address[i], true, one),
                     f->gateway[i].family ? " via " : "",
                     f->gateway[i].family ? spec_addr_format(&f->gateway[i], false, two) : "");
    }
    if (f->has_mac)
        snprintf(mac, sizeof mac, " %02x:%02x:%02x:%02x:%02x:%02x", f->mac[0], f->mac[1], f->mac[2],
                 f->mac[3], f->mac[4], f->mac[5]);
    return spec_arena_printf(a, "%s%s%s%s", text[0], *text[0] && *text[1] ? ", " : "", text[1],
                             mac);
}

struct nixos_in_force nixos_wanted_in_force(const struct spec_host *h,
                                            const struct spec_container *c)
{
    struct nixos_in_force f = {.has_mac = c->has_mac};
    for (int i = 0; i < 2; i++) {
        const struct spec_addr *gw = rec_gateway(c, &h->bridges[c->bridge], i ? 6 : 4);
        f.address[i] = c->address[i].addr;
        if (gw)
            f.gateway[i] = *gw;
    }
    memcpy(f.mac, c->mac, 6);
    return f;
}

const char *nixos_digest(struct spec_arena *a, const char *(*get)(void *arg, const char *name),
                         void *arg)
{
    static const char *const names[] = {
        "HOST_PORT", "EXTRA_NSPAWN_FLAGS",     "PRIVATE_USERS", "INTERFACES",
        "MACVLANS",  "NETWORK_NAMESPACE_PATH", "SYSTEM_PATH"};
    const char *bridge = get(arg, "HOST_BRIDGE"),
               *text = bridge && *bridge ? "on a bridge" : "on no bridge";
    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
        const char *v = get(arg, names[i]);
        if (v && *v)
            text = spec_arena_printf(a, "%s, %s=%s", text, names[i], v);
    }
    return text;
}

struct text_source {
    struct spec_arena *a;
    const char *text;
};

static const char *from_text(void *arg, const char *name)
{
    struct text_source *s = arg;
    return nixos_conf_get(s->a, s->text, name);
}

/* As it goes into files. Where two wishes are compared it is what the spec says: out of git,
 * every commit makes it another. */
static const char *flake_ref(struct rec_run *run, const struct spec_container *c)
{
    return run->opt.offline ? c->nixos.flake.text : nixos_flake(run, c);
}

/* A bare `nixos-container update` builds the attribute `container` of FLAKE: another name needs
 * a flake that calls it so. */
static const char *flake_of(struct rec_run *run, const struct spec_container *c,
                            struct spec_arena *a)
{
    if (!c->nixos.flake.text || !strcmp(c->nixos.attr.text, "container"))
        return "";
    const char *ref = flake_ref(run, c);
    return !ref ? NULL
                : spec_arena_printf(
                      a,
                      "# Made by berth, for `nixos-container update`, which knows no other "
                      "attribute than `container`.\n"
                      "{\n  inputs.spec.url = \"%s\";\n  outputs = { spec, ... }: { "
                      "nixosConfigurations.container = spec.nixosConfigurations.\"%s\"; };\n}\n",
                      ref, c->nixos.attr.text);
}

static const char *conf_of(struct rec_run *run, const struct spec_host *h,
                           const struct spec_container *c, struct spec_arena *a)
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
        .bridge = b->name,
        .mac = mac,
        .autostart = c->autostart,
        .gateway4 = gw4 ? spec_addr_format(gw4, false, text[0]) : NULL,
        .gateway6 = gw6 ? spec_addr_format(gw6, false, text[1]) : NULL,
        .address4 =
            c->address[0].addr.family ? spec_addr_format(&c->address[0].addr, true, text[2]) : NULL,
        .address6 =
            c->address[1].addr.family ? spec_addr_format(&c->address[1].addr, true, text[3]) : NULL,
    };
    if (c->nixos.flake.text)
        conf.flake = strcmp(c->nixos.attr.text, "container")
                         ? spec_arena_printf(a, NIXOS_OWN_FLAKE "%s", c->name)
                         : flake_ref(run, c);
    return nixos_conf_text(a, &conf);
}

static int want(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                struct rec_state *out, struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    struct rec_item *system = add(out, REC_SYSTEM, c), *unit = add(out, REC_UNIT, c),
                    *it = add(out, REC_RUN, c);
    const struct rec_built *known =
        run->built && run->built_host == h ? &run->built[c - h->containers] : NULL;
    const char *source = nixos_source(run, c, err), *built = known ? known->path : NULL;
    if (!source)
        return -EINVAL;
    if (!system || !unit || !it || !(unit->unit.text = conf_of(run, h, c, a)) ||
        !(unit->unit.flake = flake_of(run, c, a)))
        return rec_fail(err, ENOMEM, "out of memory");
    system->system.source = source;
    system->system.flake = run->opt.offline ? nixos_compared(run, c, source) : source;
    system->system.profile = built ? built : "";
    system->system.key = known ? known->key : NULL;
    system->system.on_remove = c->destroy_files ? "destroy" : "keep";
    system->stated = 1u << SYSTEM_ON_REMOVE | (built ? 1u << SYSTEM_PROFILE : 0) |
                     (run->opt.offline ? 1u << SYSTEM_FLAKE : 0);
    system->at = c->nixos.at.line ? c->nixos.at : c->at;
    if (!built && !run->opt.offline)
        system->unknown = "known after build";
    unit->stated = 1u << UNIT_SETTINGS | 1u << UNIT_FLAKE;
    struct text_source text = {a, unit->unit.text};
    struct nixos_in_force f = nixos_wanted_in_force(h, c);
    it->run.running = c->state == SPEC_RUNNING && !rec_is_held(run, c->name);
    it->run.held = rec_held_why(run, c->name);
    it->run.autostart = c->autostart;
    it->run.digest = nixos_digest(a, from_text, &text);
    it->run.address = nixos_in_force_text(a, &f);
    it->run.master = h->bridges[c->bridge].name;
    it->run.system = built ? built : "";
    it->stated = 1u << RUN_RUNNING;
    if (it->run.running)
        it->stated |= 1u << RUN_DIGEST | 1u << RUN_ORPHAN | 1u << RUN_ADDRESS | 1u << RUN_MASTER |
                      (built ? 1u << RUN_SYSTEM : 0);
    return 0;
}

/* ---- processes ---- */

/* Two failures that a second try from a clean stop mends: a unit that never got beyond starting,
 * and a name that machined still keeps for a machine whose leader is gone. */
static void start_again(struct rec_run *run, const char *name)
{
    unsigned long long started;
    int status;
    pid_t leader = systemd_leader(run, name, &started);
    if (leader)
        return;
    const char *said = systemd_said(run, TEMPLATE, name);
    bool stuck = !strcmp(systemd_state(run, TEMPLATE, name), "activating"),
         kept = strstr(said, "already exists") != NULL;
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
    struct timespec since;
    unsigned long long started;
    clock_gettime(CLOCK_REALTIME, &since);
    systemd_call(run, TEMPLATE, "reset-failed", names, n, 10000, &status, NULL);
    systemd_call(run, TEMPLATE, "start", names, n, START_MS, &status, &e);
    for (size_t i = 0; i < n; i++)
        start_again(run, names[i]);
    for (size_t i = 0; i < n; i++) {
        pid_t leader = systemd_leader(run, names[i], &started);
        if (leader && nixos_of_unit(run, leader, "container", names[i]))
            continue;
        rec_said_failure(run->arena, &err[i], EIO, names[i],
                         systemd_said_why(run, TEMPLATE, names[i], &since),
                         e.code ? e.text : "it ended at once");
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
            rec_fail(&err[i], EIO, "cannot stop container '%s': %.300s", names[i],
                     e.code ? e.text : "it still runs");
    }
}

static void reload(struct rec_run *run, const char *const *names, size_t n, struct rec_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int status = 0;
        struct rec_error e = {0};
        struct timespec since;
        clock_gettime(CLOCK_REALTIME, &since);
        if (!systemd_call(run, TEMPLATE, "reload", &names[i], 1, START_MS, &status, &e) && !status)
            continue;
        /* What its switch said; that it failed is all that systemd has to say. */
        const char *said = systemd_said_since(run, TEMPLATE, names[i], &since);
        while (strlen(said) > 900 && strchr(said, '\n'))
            said = strchr(said, '\n') + 1;
        rec_fail(&err[i], EIO, "container '%s' did not take its new system:%s%.900s", names[i],
                 *said ? "\n" : " ", *said ? said : e.text);
        rec_hint(&err[i],
                 "all it said: journalctl -u container@%s; or start it anew: berth restart %s",
                 names[i], names[i]);
    }
}

/* A bridge that was made anew has lost its ports: back to their master, and nobody inside
 * notices. */
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
        rec_fail(err, ENODEV, "container %s has no port '%s' to put on bridge '%s'",
                 s->to->container, name, to->master);
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
    return run->facts.systemd && (!here || nixos_ours(run, container))
               ? systemd_unit(run->arena, "container", container)
               : NULL;
}

const struct rec_runtime rec_runtime_nixos = {
    .name = "nixos",
    .id = SPEC_RT_NIXOS,
    .refuse = refuse,
    .want = want,
    .read = nixos_read,
    .unit = nixos_unit,
    .system = nixos_system,
    .purge = nixos_purge,
    .settle = nixos_settle,
    .start = start,
    .stop = stop,
    .reload = reload,
    .mend = mend,
    .journal = journal,
};
