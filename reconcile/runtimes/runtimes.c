/* The three rows, who is inside a container, and holds. */
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtime.h"
#include "reconcile/runtimes/nixos.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const struct rec_runtime rec_runtime_netns, rec_runtime_nspawn, rec_runtime_nixos;
const struct rec_runtime *const rec_runtimes[] = {&rec_runtime_netns, &rec_runtime_nspawn,
                                                  &rec_runtime_nixos, NULL};

const struct rec_runtime *rec_runtime(enum spec_runtime id)
{
    for (size_t i = 0; rec_runtimes[i]; i++)
        if (rec_runtimes[i]->id == id)
            return rec_runtimes[i];
    return NULL;
}

/* A NixOS container's namespace has no name: it is its leader's. -ENOENT: it is none. */
static int nixos_find(struct rec_run *run, const char *container, struct rec_leader *out,
                      struct rec_error *err)
{
    unsigned long long started;
    if (!run->facts.systemd || !nixos_ours(run, container))
        return -ENOENT;
    pid_t leader = nixos_leader(run, container, &started);
    if (!leader) {
        rec_fail(err, ESRCH, "container '%s' is not running", container);
        rec_hint(err, "start it: berth start %s; why it stopped: berth logs %s", container,
                 container);
        return -ESRCH;
    }
    *out = (struct rec_leader){.pid = leader, .pidfd = (int)syscall(SYS_pidfd_open, leader, 0)};
    out->netns =
        open(spec_arena_printf(run->arena, "/proc/%d/ns/net", (int)leader), O_RDONLY | O_CLOEXEC);
    if (out->pidfd >= 0 && out->netns >= 0 && rec_proc_started(leader) == started)
        return 0;
    if (out->pidfd >= 0)
        close(out->pidfd);
    if (out->netns >= 0)
        close(out->netns);
    return rec_fail(err, ESRCH, "container '%s' went away just now", container);
}

int rec_leader_find(struct rec_run *run, const char *container, struct rec_leader *out,
                    struct rec_error *err)
{
    struct nspawn_found f = {0};
    struct net_error e;
    int dir, r = rec_facts_host(run, err);
    if (!r)
        r = nixos_find(run, container, out, err);
    if (r != -ENOENT)
        return r;
    r = net_netns_dir(false, &dir, &e);
    if (r)
        return r == -ENOENT ? rec_fail(err, ESRCH, "there is no container '%s' here", container)
                            : rec_fail_net(err, &e);
    *out = (struct rec_leader){.pidfd = -1, .netns = -1};
    r = net_netns_open(dir, container, &out->netns, &e);
    close(dir);
    if (r)
        return r == -ENOENT || r == -EINVAL
                   ? rec_fail(err, ESRCH,
                              "container '%s' is not here: no network namespace bears its name",
                              container)
                   : rec_fail_net(err, &e);
    if (run->facts.systemd)
        nspawn_unit_find(run, container, &f);
    else
        nspawn_detached_find(run, container, &f);
    if (!f.leader) {
        char *text;
        size_t len;
        const char *unit = run->facts.systemd ? nspawn_unit_path(run->arena, container)
                                              : nspawn_path(run->arena, container, "unit");
        if (rec_file_read(run->arena, unit, 1 << 20, &text, &len, NULL) == -ENOENT)
            return 0; /* a namespace alone */
        close(out->netns);
        rec_fail(err, ESRCH, "container '%s' is not running", container);
        rec_hint(err, "start it: berth start %s; why it stopped: berth logs %s", container,
                 container);
        return -ESRCH;
    }
    out->pidfd = (int)syscall(SYS_pidfd_open, f.leader, 0);
    if (out->pidfd < 0 || rec_proc_started(f.leader) != f.leader_started) {
        if (out->pidfd >= 0)
            close(out->pidfd);
        close(out->netns);
        return rec_fail(err, ESRCH, "container '%s' went away just now", container);
    }
    struct stat ns;
    if (fstat(out->netns, &ns) || ns.st_ino != rec_proc_netns(f.leader)) {
        close(out->pidfd);
        close(out->netns);
        rec_fail(
            err, ESRCH,
            "container '%s' runs in another network namespace than the one that bears its name",
            container);
        rec_hint(err, "berth apply starts it again where it belongs");
        return -ESRCH;
    }
    out->pid = f.leader;
    return 0;
}

#define HELD REC_RUN_DIR "/held/"

int rec_hold_set(const char *container, const char *why, bool while_running, struct rec_error *err)
{
    char path[128], line[280];
    snprintf(path, sizeof path, HELD "%.63s", container);
    int n = snprintf(line, sizeof line, "%.190s\n", why);
    if (while_running)
        n += snprintf(line + n, sizeof line - (size_t)n, "pid %d %llu\n", (int)getpid(),
                      rec_proc_started(getpid()));
    int r = rec_dir_make(REC_RUN_DIR, 0700, err);
    if (!r)
        r = rec_dir_make(REC_RUN_DIR "/held", 0755, err);
    return r ? r : rec_file_write(path, line, (size_t)n, 0644, err);
}

int rec_hold_clear(const char *container, struct rec_error *err)
{
    char path[128];
    snprintf(path, sizeof path, HELD "%.63s", container);
    return rec_file_remove(path, err);
}

const char *rec_hold_find(struct spec_arena *a, const char *container)
{
    char path[128], *text;
    size_t len;
    snprintf(path, sizeof path, HELD "%.63s", container);
    if (rec_file_read(a, path, 4096, &text, &len, NULL))
        return NULL;
    /* One that ends with a process, and that process has ended: it was killed. */
    int pid;
    unsigned long long started;
    char *owner = strchr(text, '\n');
    if (owner && sscanf(owner + 1, "pid %d %llu", &pid, &started) == 2 &&
        rec_proc_started(pid) != started)
        return NULL;
    text[strcspn(text, "\n")] = 0;
    return text;
}
