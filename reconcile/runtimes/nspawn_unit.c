/* With systemd as PID 1: a template unit of ours, an instance per container with its own ExecStart (arguments may hold blanks, so they
 * cannot come from an environment file), everything in /run: what a reboot takes away, berth's boot unit makes anew along with the
 * network. machinectl lists the container; its leader stands in systemd's own file. */
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNITS "/run/systemd/system"
static const char template[] =
    "# Made by berth; what is changed in here is changed back.\n"
    "[Unit]\n"
    "Description=Container %i (berth)\n"
    "Documentation=man:berth(1)\n"
    "\n"
    "[Service]\n"
    "Type=notify\n"
    "NotifyAccess=main\n"
    "KillMode=mixed\n"
    "Delegate=yes\n"
    "Slice=machine.slice\n"
    "SuccessExitStatus=133\n"
    "RestartForceExitStatus=133\n"
    "TimeoutStartSec=90\n"
    "TimeoutStopSec=15\n"
    "SyslogIdentifier=%i\n";

const char *nspawn_unit_path(struct spec_arena *a, const char *name)
{
    return spec_arena_printf(a, UNITS "/berth@%s.service.d/exec.conf", name);
}

/* One word of ExecStart: in double quotes, with what systemd would expand made plain (systemd.service(5), "Command lines"). */
static void quoted(char **p, const char *word)
{
    *(*p)++ = '"';
    for (; *word; word++) {
        if (*word == '"' || *word == '\\')
            *(*p)++ = '\\';
        else if (*word == '%' || *word == '$')
            *(*p)++ = *word;
        *(*p)++ = *word;
    }
    *(*p)++ = '"';
}

const char *nspawn_unit_text(struct rec_run *run, const struct spec_container *c, const struct nspawn_words *w)
{
    size_t size = 512;
    for (size_t i = 0; i < w->n; i++)
        size += 2 * strlen(w->word[i]) + 8;
    char *text = spec_arena_alloc(w->a, size), *p = text;
    (void)c;
    if (!text)
        return NULL;
    if (!run->facts.systemd) {      /* an argument a line */
        p = stpcpy(p, "# made by berth: the arguments of systemd-nspawn\n");
        for (size_t i = 0; i < w->n; i++) {
            p = stpcpy(p, w->word[i]);
            *p++ = '\n';
        }
        return text;
    }
    p = stpcpy(p, "# Made by berth; what is changed in here is changed back.\n[Service]\nExecStart=\nExecStart=");
    quoted(&p, run->facts.nspawn);
    for (size_t i = 0; i < w->n; i++) {
        p = stpcpy(p, " \\\n  ");
        quoted(&p, w->word[i]);
    }
    *p++ = '\n';
    return text;
}

static int systemctl(struct rec_run *run, const char *verb, const char *name, int deadline_ms, int *status, char **output,
                     struct rec_error *err)
{
    const char *unit = name ? spec_arena_printf(run->arena, "berth@%s.service", name) : NULL;
    const char *argv[] = {run->facts.systemctl, verb, unit, NULL};
    if (!run->facts.systemctl)
        return rec_fail(err, ENOENT, "cannot %s units: no systemctl on this host", verb);
    return rec_proc_run(run->arena, argv, deadline_ms, status, output, err);
}

static int reload(struct rec_run *run, struct rec_error *err)
{
    int status;
    char *output;
    int r = systemctl(run, "daemon-reload", NULL, 60000, &status, &output, err);
    return r || !status ? r : rec_fail(err, EIO, "cannot make systemd read its units again: %.200s", output);
}

/* The digest rides in the drop-in's environment; it is of the text without that line. */
int nspawn_unit_write(struct rec_run *run, const char *name, const char *text, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    char *now;
    size_t len;
    const char *dir = spec_arena_printf(a, UNITS "/berth@%s.service.d", name);
    const char *digest = spec_arena_printf(a, "[Service]\nEnvironment=BERTH_UNIT=%s\n", nspawn_digest(a, text));
    int r = rec_file_read(a, UNITS "/berth@.service", 65536, &now, &len, err);
    if (r == -ENOENT || (!r && strcmp(now, template)))
        r = rec_file_write(UNITS "/berth@.service", template, sizeof template - 1, 0644, err);
    if (!r)
        r = rec_dir_make(dir, 0755, err);
    if (!r)
        r = rec_file_write(spec_arena_printf(a, "%s/digest.conf", dir), digest, strlen(digest), 0644, err);
    if (!r)
        r = rec_file_write(nspawn_unit_path(a, name), text, strlen(text), 0644, err);
    return r ? r : reload(run, err);
}

int nspawn_unit_remove(struct rec_run *run, const char *name, struct rec_error *err)
{
    char **list;
    size_t n;
    int r = rec_tree_remove(spec_arena_printf(run->arena, UNITS "/berth@%s.service.d", name), err);
    bool last = true;
    if (!r && !rec_dir_list(run->arena, UNITS, &list, &n, err))
        for (size_t i = 0; i < n; i++)
            last = last && (strncmp(list[i], "berth@", 6) || !strcmp(list[i], "berth@.service"));
    if (!r && last)
        r = rec_file_remove(UNITS "/berth@.service", err);
    return r ? r : reload(run, err);
}

int nspawn_unit_find(struct rec_run *run, const char *name, struct nspawn_found *out)
{
    char path[128], *text;
    size_t len;
    *out = (struct nspawn_found){0};
    snprintf(path, sizeof path, "/run/systemd/machines/%.63s", name);
    if (rec_file_read(run->arena, path, 65536, &text, &len, NULL))
        return -ESRCH;
    const char *p = !strncmp(text, "LEADER=", 7) ? text : strstr(text, "\nLEADER=");
    pid_t leader = p ? (pid_t)strtol(strchr(p, '=') + 1, NULL, 10) : 0;
    unsigned long long started = rec_proc_started(leader);
    if (!started)
        return -ESRCH;
    pid_t nspawn = rec_proc_parent(leader);
    const char *digest = rec_proc_env(run->arena, nspawn, "BERTH_UNIT");
    if (!digest)
        return -ESRCH;      /* a machine of that name, but not of ours */
    *out = (struct nspawn_found){leader, nspawn, started, rec_proc_started(nspawn), digest};
    return 0;
}

/* The unit's latest journal lines: why it did not start. */
static const char *journal(struct rec_run *run, const char *name)
{
    static const char *const programs[] = {"/usr/bin/journalctl", "/run/current-system/sw/bin/journalctl"};
    char *output = "";
    int status;
    for (size_t i = 0; i < 2; i++) {
        const char *argv[] = {programs[i], "-u", spec_arena_printf(run->arena, "berth@%s.service", name), "-n", "5", "-o", "cat",
                              "--no-pager", NULL};
        if (!access(programs[i], X_OK) && !rec_proc_run(run->arena, argv, 5000, &status, &output, NULL) && !status)
            return output;
    }
    return "";
}

int nspawn_unit_start(struct rec_run *run, const struct rec_item *w, struct rec_error *err)
{
    int status;
    char *output;
    struct nspawn_found f;
    int r = systemctl(run, "reset-failed", w->container, 10000, &status, &output, err);
    if (!r)
        r = systemctl(run, "start", w->container, 120000, &status, &output, err);
    if (r)
        return r;
    if (status)
        return rec_fail(err, EIO, "cannot start container '%s': %.380s", w->container, journal(run, w->container));
    if (nspawn_unit_find(run, w->container, &f)) {
        rec_fail(err, EIO, "container '%s' ended right after its start: %.300s", w->container, journal(run, w->container));
        rec_hint(err, "see berth logs %s", w->container);
        return -EIO;
    }
    return 0;
}

int nspawn_unit_stop(struct rec_run *run, const char *name, struct rec_error *err)
{
    int status;
    char *output;
    struct nspawn_found f;
    /* The unit's stop gives the payload no time for its handler (facts R9): it is asked first. A booted init is the leader itself,
     * and the unit's stop is its own kind of asking. */
    char *comm;
    size_t len;
    if (!nspawn_unit_find(run, name, &f) &&
        !rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/comm", (int)f.leader), 64, &comm, &len, NULL) &&
        !strncmp(comm, "(sd-stubinit)", 8)) {
        pid_t payload = rec_proc_child(f.leader);
        rec_proc_kill(payload, rec_proc_started(payload), 15);
        rec_proc_wait(f.leader, f.leader_started, 10000);
    }
    int r = systemctl(run, "stop", name, 60000, &status, &output, err);
    if (r || !status)
        return r;
    return rec_fail(err, EIO, "cannot stop container '%s': %.300s", name, output);
}
