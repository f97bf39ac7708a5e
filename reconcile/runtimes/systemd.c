/* One call for many units: systemd starts and stops them side by side. */
#include "reconcile/runtimes/systemd.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *systemd_unit(struct spec_arena *a, const char *template, const char *name)
{
    return spec_arena_printf(a, "%s@%s.service", template, name);
}

int systemd_call(struct rec_run *run, const char *template, const char *verb,
                 const char *const *names, size_t n, int deadline_ms, int *status,
                 struct rec_error *err)
{
    const char **argv = spec_arena_alloc(run->arena, (n + 4) * sizeof *argv);
    char *output;
    if (!argv)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!run->facts.systemctl)
        return rec_fail(err, ENOENT, "cannot %s units: no systemctl on this host", verb);
    argv[0] = run->facts.systemctl;
    argv[1] = verb;
    argv[2] = "--";
    for (size_t i = 0; i < n; i++)
        argv[3 + i] = systemd_unit(run->arena, template, names[i]);
    int r = rec_proc_run(run->arena, argv, deadline_ms, status, &output, err);
    if (!r && *status) {
        output[strcspn(output, "\n")] = 0;
        rec_fail(err, EIO, "systemctl %s: %.300s", verb, output);
    }
    return r;
}

const char *systemd_said(struct rec_run *run, const char *template, const char *name)
{
    static const char *const programs[] = {"/usr/bin/journalctl",
                                           "/run/current-system/sw/bin/journalctl"};
    char *output = "";
    int status;
    for (size_t i = 0; i < 2; i++) {
        const char *argv[] = {programs[i], "-u",  systemd_unit(run->arena, template, name),
                              "-q",        "-n",  "4",
                              "-o",        "cat", "--no-pager",
                              NULL};
        if (access(programs[i], X_OK) ||
            rec_proc_run(run->arena, argv, 5000, &status, &output, NULL) || status)
            continue;
        return output;
    }
    return "its journal cannot be read";
}

const char *systemd_said_since(struct rec_run *run, const char *template, const char *name,
                               const struct timespec *since)
{
    static const char *const programs[] = {"/usr/bin/journalctl",
                                           "/run/current-system/sw/bin/journalctl"};
    char *output = "";
    int status;
    for (size_t i = 0; i < 2; i++) {
        const char *sync[] = {programs[i], "--sync", NULL};
        const char *argv[] = {programs[i],
                              spec_arena_printf(run->arena, "_SYSTEMD_UNIT=%s",
                                                systemd_unit(run->arena, template, name)),
                              "--since",
                              spec_arena_printf(run->arena, "@%lld.%06ld", (long long)since->tv_sec,
                                                since->tv_nsec / 1000),
                              "-q",
                              "-n",
                              "12",
                              "-o",
                              "cat",
                              "--no-pager",
                              NULL};
        if (access(programs[i], X_OK) ||
            rec_proc_run(run->arena, sync, 5000, &status, NULL, NULL) ||
            rec_proc_run(run->arena, argv, 5000, &status, &output, NULL) || status)
            continue;
        size_t n = strlen(output);
        while (n && (unsigned char)output[n - 1] <= ' ')
            output[--n] = 0;
        return output;
    }
    return "";
}

const char *systemd_said_why(struct rec_run *run, const char *template, const char *name,
                             const struct timespec *since)
{
    const char *said = systemd_said_since(run, template, name, since);
    return *said ? said : systemd_said(run, template, name);
}

const char *systemd_state(struct rec_run *run, const char *template, const char *name)
{
    return systemd_show(run, template, name, "ActiveState");
}

const char *systemd_show(struct rec_run *run, const char *template, const char *name,
                         const char *property)
{
    const char *argv[] = {run->facts.systemctl,
                          "show",
                          "-P",
                          property,
                          "--",
                          systemd_unit(run->arena, template, name),
                          NULL};
    char *output;
    int status;
    if (!argv[0] || rec_proc_run(run->arena, argv, 5000, &status, &output, NULL) || status)
        return "";
    output[strcspn(output, "\n")] = 0;
    return output;
}

void systemd_machine_end(struct rec_run *run, const char *name)
{
    static const char *const programs[] = {"/usr/bin/machinectl",
                                           "/run/current-system/sw/bin/machinectl"};
    int status;
    for (size_t i = 0; i < 2; i++) {
        const char *argv[] = {programs[i], "terminate", name, NULL};
        if (!access(programs[i], X_OK))
            rec_proc_run(run->arena, argv, 10000, &status, NULL, NULL);
    }
}

pid_t systemd_leader(struct rec_run *run, const char *name, unsigned long long *started)
{
    char path[128], *text;
    size_t len;
    snprintf(path, sizeof path, "/run/systemd/machines/%.63s", name);
    if (rec_file_read(run->arena, path, 65536, &text, &len, NULL))
        return 0;
    const char *p = !strncmp(text, "LEADER=", 7) ? text : strstr(text, "\nLEADER=");
    pid_t leader = p ? (pid_t)strtol(strchr(p, '=') + 1, NULL, 10) : 0;
    *started = rec_proc_started(leader);
    return *started ? leader : 0;
}
