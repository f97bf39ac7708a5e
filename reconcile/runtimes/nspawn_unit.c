/* With systemd as PID 1: a template unit of ours, an instance per container with its own ExecStart
 * (arguments may hold blanks, so they cannot come from an environment file), everything in /run:
 * what a reboot takes away, berth's boot unit makes anew along with the network. machinectl
 * lists the container; its leader stands in systemd's own file. */
#include "reconcile/cgroup.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/said.h"
#include "reconcile/runtimes/systemd.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNITS "/run/systemd/system"
#define MARK  "# Made by berth; what is changed in here is changed back.\n"
enum { PAYLOAD_MS = 10000 };
static const char template[] = MARK "[Unit]\n"
                                    "Description=Container %i (berth)\n"
                                    "Documentation=man:berth(1)\n"
                                    "\n"
                                    "[Service]\n"
                                    "Type=notify\n"
                                    "NotifyAccess=main\n"
                                    "KillMode=mixed\n"
                                    "Delegate=yes\n"
                                    "Slice=machine.slice\n"
                                    "SuccessExitStatus=133 143\n"
                                    "RestartForceExitStatus=133\n"
                                    "TimeoutStartSec=90\n"
                                    "TimeoutStopSec=15\n"
                                    "StandardInput=null\n"
                                    "StandardOutput=journal\n"
                                    "StandardError=journal\n"
                                    "SyslogIdentifier=%i\n";

const char *nspawn_unit_path(struct spec_arena *a, const char *name)
{
    return spec_arena_printf(a, UNITS "/berth@%s.service.d/exec.conf", name);
}

/* One word of a command line: in double quotes, with what systemd would expand made plain
 * (systemd.service(5), "Command lines"). */
static void quoted(char **p, const char *word)
{
    *(*p)++ = '"';
    for (; *word; word++) {
        if ((unsigned char)*word < ' ' || *word == 127) {
            *p += sprintf(*p, "\\x%02x", (unsigned char)*word);
            continue;
        }
        if (*word == '"' || *word == '\\')
            *(*p)++ = '\\';
        else if (*word == '%' || *word == '$')
            *(*p)++ = *word;
        *(*p)++ = *word;
    }
    *(*p)++ = '"';
}

/* systemd.resource-control(5). nspawn makes the first ones (m), and looks at its own loop devices;
 * a container cannot open what is not here, even where it can make a device node. */
static const char device_policy[] = "DevicePolicy=strict\n"
                                    "DeviceAllow=/dev/null rwm\n"
                                    "DeviceAllow=/dev/zero rwm\n"
                                    "DeviceAllow=/dev/full rwm\n"
                                    "DeviceAllow=/dev/random rwm\n"
                                    "DeviceAllow=/dev/urandom rwm\n"
                                    "DeviceAllow=/dev/tty rwm\n"
                                    "DeviceAllow=/dev/ptmx rwm\n"
                                    "DeviceAllow=char-pts rw\n"
                                    "DeviceAllow=/dev/net/tun rwm\n";

static const char *allow_device(struct rec_run *run, struct spec_arena *a, const char *so_far,
                                const char *path, bool read_only)
{
    struct stat st;
    if (!so_far || nspawn_source_fault(run, path) || stat(path, &st) ||
        (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) || strpbrk(path, " \t\n\"\\%"))
        return so_far;
    return spec_arena_printf(a, "%sDeviceAllow=%s %s\n", so_far, path, read_only ? "r" : "rw");
}

/* A bind of a device, or of a folder of devices below /dev, is the author's wish that the
 * container can open them. */
static const char *bound_devices(struct rec_run *run, struct spec_arena *a,
                                 const struct spec_container *c)
{
    const char *text = "";
    for (size_t i = 0; i < c->nspawn.n_binds && !run->opt.offline; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        char **list;
        size_t n;
        text = allow_device(run, a, text, b->host, b->read_only);
        if (strncmp(b->host, "/dev/", 5) || rec_dir_list(a, b->host, &list, &n, NULL))
            continue;
        for (size_t k = 0; k < n; k++)
            text = allow_device(run, a, text, spec_arena_printf(a, "%s/%s", b->host, list[k]),
                                b->read_only);
    }
    return text;
}

/* The digest rides along in the environment, so the process tells what it was started with. */
const char *nspawn_unit_text(struct rec_run *run, const struct spec_container *c,
                             const struct nspawn_words *w, const char *digest)
{
    size_t size = 2048;
    for (size_t i = 0; i < w->n; i++)
        size += 4 * strlen(w->word[i]) + 8;
    const char *devices = bound_devices(run, w->a, c);
    for (size_t i = 0; i < c->nspawn.n_environment; i++)
        size += strlen(c->nspawn.environment[i].name) + 24;
    size += 4 * (w->netns ? strlen(w->netns) : 0) + (devices ? strlen(devices) : 0);
    size += run->facts.contain ? 4 * strlen(run->facts.contain) : 0;
    bool owns = !w->netns && run->facts.network;
    size += owns ? 8 * (strlen(run->facts.network) + strlen(c->name)) + 64 : 0;
    char *text = spec_arena_alloc(w->a, size), *p = text;
    if (!text || !devices)
        return NULL;
    p += sprintf(p, MARK "[Service]\nEnvironment=BERTH_UNIT=%.16s\n", digest);
    if (c->nspawn.n_environment)
        p += sprintf(p, "EnvironmentFile=-%s\n", nspawn_path(w->a, c->name, "env"));
    for (size_t i = 0; i < c->nspawn.n_environment; i++)
        p += sprintf(p, "# environment: %s\n", c->nspawn.environment[i].name);
    p += sprintf(p, "%s%sExecStart=\nExecStart=", device_policy, devices);
    if (owns) {
        quoted(&p, run->facts.network);
        p = stpcpy(p, " start ");
        quoted(&p, c->name);
        p = stpcpy(p, " \\\n  ");
    }
    if (w->netns) {
        quoted(&p, run->facts.nsenter);
        p = stpcpy(p, " ");
        quoted(&p, spec_arena_printf(w->a, "--net=%s", w->netns));
        p = stpcpy(p, " -- \\\n  ");
    }
    if (run->facts.contain) {
        quoted(&p, run->facts.contain);
        p = stpcpy(p, " start ");
        quoted(&p, spec_arena_printf(w->a, NSPAWN_DIR "/%s", c->name));
        p = stpcpy(p, " \\\n  ");
    }
    quoted(&p, run->facts.nspawn);
    for (size_t i = 0; i < w->n; i++) {
        p = stpcpy(p, " \\\n  ");
        quoted(&p, w->word[i]);
    }
    *p++ = '\n';
    if (owns) {
        p = stpcpy(p, "ExecStopPost=");
        quoted(&p, run->facts.network);
        p = stpcpy(p, " end ");
        quoted(&p, c->name);
        *p++ = '\n';
    }
    *p = 0;
    return text;
}

static int systemctl(struct rec_run *run, const char *verb, const char *const *names, size_t n,
                     int deadline_ms, int *status, struct rec_error *err)
{
    return systemd_call(run, "berth", verb, names, n, deadline_ms, status, err);
}

bool nspawn_unit_template(struct rec_run *run)
{
    char *now;
    size_t len;
    return !rec_file_read(run->arena, UNITS "/berth@.service", 65536, &now, &len, NULL) &&
           !strcmp(now, template);
}

/* A unit that failed and whose files berth has removed would be listed as failed for good. */
static void forget_failures(struct rec_run *run)
{
    const char *list[] = {run->facts.systemctl, "list-units", "--all",
                          "--state=not-found",  "--plain",    "--no-legend",
                          "berth@*.service",    NULL};
    char *output, *save = NULL;
    int status;
    if (!list[0] || rec_proc_run(run->arena, list, 10000, &status, &output, NULL) || status)
        return;
    for (char *line = strtok_r(output, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line[strcspn(line, " ")] = 0;
        const char *reset[] = {run->facts.systemctl, "reset-failed", "--", line, NULL};
        rec_proc_run(run->arena, reset, 10000, &status, NULL, NULL);
    }
}

int nspawn_unit_reload(struct rec_run *run, struct rec_error *err)
{
    int status, r = systemctl(run, "daemon-reload", NULL, 0, 60000, &status, err);
    if (!r && !status)
        forget_failures(run);
    return r ? r : status ? -EIO : 0;
}

int nspawn_unit_write(struct rec_run *run, const char *name, const char *text,
                      struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    int r = nspawn_unit_template(run) ? 0 : rec_dir_make(UNITS, 0755, err);
    if (!r && !nspawn_unit_template(run))
        r = rec_file_write(UNITS "/berth@.service", template, sizeof template - 1, 0644, err);
    if (!r)
        r = rec_dir_make(spec_arena_printf(a, UNITS "/berth@%s.service.d", name), 0755, err);
    return r ? r : rec_file_write(nspawn_unit_path(a, name), text, strlen(text), 0644, err);
}

int nspawn_unit_remove(struct rec_run *run, const char *name, struct rec_error *err)
{
    char **list;
    size_t n, others = 0;
    int r = rec_tree_remove(spec_arena_printf(run->arena, UNITS "/berth@%s.service.d", name), err);
    if (r || rec_dir_list(run->arena, UNITS, &list, &n, NULL))
        return r;
    for (size_t i = 0; i < n; i++)
        others += !strncmp(list[i], "berth@", 6) && strcmp(list[i], "berth@.service");
    return others ? 0 : rec_file_remove(UNITS "/berth@.service", err);
}

int nspawn_unit_names(struct spec_arena *a, char ***names, size_t *n, struct rec_error *err)
{
    static const char before[] = "berth@", after[] = ".service.d";
    char **units, **machines = NULL;
    size_t n_units, n_machines = 0;
    *n = 0;
    int r = rec_dir_list(a, UNITS, &units, &n_units, err);
    if (!r || r == -ENOENT)
        r = rec_dir_list(a, "/run/systemd/machines", &machines, &n_machines, err);
    char **all =
        r && r != -ENOENT ? NULL : spec_arena_alloc(a, (n_units + n_machines + 1) * sizeof *all);
    if (!all)
        return r && r != -ENOENT ? r : rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n_units; i++) {
        size_t len = strlen(units[i]), around = sizeof before + sizeof after - 2;
        if (len > around && !strncmp(units[i], before, sizeof before - 1) &&
            !strcmp(units[i] + len - (sizeof after - 1), after)) {
            units[i][len - (sizeof after - 1)] = 0;
            all[(*n)++] = units[i] + sizeof before - 1;
        }
    }
    for (size_t i = 0; i < n_machines; i++)
        if (!strpbrk(machines[i], ":.")) /* unit:… are links beside them */
            all[(*n)++] = machines[i];
    *names = all;
    return 0;
}

int nspawn_unit_find(struct rec_run *run, const char *name, struct nspawn_found *out)
{
    unsigned long long started;
    *out = (struct nspawn_found){0};
    pid_t leader = systemd_leader(run, name, &started);
    if (!leader)
        return -ESRCH;
    pid_t nspawn = rec_proc_parent(leader);
    const char *digest = rec_proc_env(run->arena, nspawn, "BERTH_UNIT");
    if (!digest)
        return -ESRCH; /* a machine of that name, but not of ours */
    *out = (struct nspawn_found){.leader = leader,
                                 .nspawn = nspawn,
                                 .leader_started = started,
                                 .nspawn_started = rec_proc_started(nspawn),
                                 .digest = digest,
                                 .environment = rec_proc_env(run->arena, nspawn, "BERTH_ENV")};
    return 0;
}

/* systemd knows how a unit's process ended only a moment after the process is gone. Each question
 * takes some 10 ms. */
static void await_end(struct rec_run *run, const char *name)
{
    long deadline = nspawn_now_ms() + PAYLOAD_MS;
    const char *state;
    do
        state = systemd_said(run, "berth", name);
    while (*state && strcmp(state, "inactive") && strcmp(state, "failed") &&
           nspawn_now_ms() < deadline);
}

void nspawn_unit_start(struct rec_run *run, const char *const *names, size_t n,
                       struct rec_error *err)
{
    int status;
    struct rec_error e = {0};
    struct timespec since_real;
    struct nspawn_found f;
    for (size_t i = 0; i < n; i++) {
        char *text;
        size_t len;
        if (!rec_file_read(run->arena, nspawn_unit_path(run->arena, names[i]), NSPAWN_UNIT_MOST,
                           &text, &len, &err[i]))
            nspawn_furnish(run, names[i], text, &err[i]);
    }
    clock_gettime(CLOCK_REALTIME, &since_real);
    /* those that never ran are no unit of its yet: not an error */
    systemctl(run, "reset-failed", names, n, 10000, &status, NULL);
    systemctl(run, "start", names, n, 120000, &status, &e);
    long since = 0;
    for (size_t i = 0; i < n; i++) {
        if (err[i].code)
            continue;
        /* systemd says "started" when the container is, not when its command is: one that cannot
         * be run ends just then. */
        bool there = !nspawn_unit_find(run, names[i], &f);
        for (int tries = 0; there && !nspawn_payload_runs(run, f.leader) && tries < 2000; tries++)
            there = !rec_proc_wait(f.leader, f.leader_started, 1);
        since = since ? since : nspawn_now_ms();
        if (there && nspawn_payload_stays(run, f.leader, since))
            continue;
        if (there)
            rec_proc_wait(f.nspawn, f.nspawn_started, PAYLOAD_MS);
        if (!e.code)
            await_end(run, names[i]);
        /* The unit was started, so its main process did run. */
        const char *ended = e.code ? "" : systemd_show(run, "berth", names[i], "ExecMainStatus");
        if (*ended) {
            rec_said_failure(run->arena, &err[i], ECHILD, names[i],
                             systemd_said_since(run, "berth", names[i], &since_real),
                             spec_arena_printf(run->arena, "its command ended, status %s", ended));
            rec_hint(&err[i], "all it said: berth logs %s", names[i]);
            continue;
        }
        rec_said_failure(run->arena, &err[i], EIO, names[i],
                         systemd_said_why(run, "berth", names[i], &since_real),
                         e.code ? e.text : "it ended at once");
        rec_hint(&err[i], "all it said: berth logs %s", names[i]);
    }
}

void nspawn_unit_stop(struct rec_run *run, const char *const *names, size_t n,
                      struct rec_error *err)
{
    int status = 0;
    struct rec_error e = {0};
    struct nspawn_found f;
    bool *asked = spec_arena_alloc(run->arena, n + 1);
    /* The unit's stop gives the payload no time for its handler: it is asked first. */
    for (size_t i = 0; asked && i < n; i++) {
        asked[i] = !nspawn_unit_find(run, names[i], &f);
        if (!asked[i])
            continue;
        rec_cgroup_thaw_all(run->arena, f.leader, names[i]);
        asked[i] = nspawn_ask_payload(run, f.leader);
    }
    long waited = 0;
    for (size_t i = 0; asked && i < n; i++)
        if (asked[i] && !nspawn_unit_find(run, names[i], &f) &&
            !rec_proc_wait(f.leader, f.leader_started, waited ? 100 : PAYLOAD_MS))
            waited = 1; /* one had its time, and so had the others */
    systemctl(run, "stop", names, n, 120000, &status, &e);
    /* A payload that catches its signal and then ends by it makes nspawn end with 255; that was
     * asked for, and is no failure to be listed. */
    systemctl(run, "reset-failed", names, n, 10000, &status, NULL);
    for (size_t i = 0; i < n; i++)
        if (!nspawn_unit_find(run, names[i], &f))
            rec_fail(&err[i], EIO, "cannot stop container '%s': %.300s", names[i],
                     e.code ? e.text : "it still runs");
}
