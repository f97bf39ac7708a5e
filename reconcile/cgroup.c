/* nspawn puts its payload in a cgroup of that name below the container's own, with itself beside
 * it: a leader's path is cut there. A path that does not bear the container's name just before
 * is somebody else's cgroup, and is not touched. */
#include "reconcile/cgroup.h"
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FREEZE_MS = 10000, LOCK_MS = 3000, NOTIFY_MS = 30, DEPTH = 16, CGROUPS_MOST = 4096 };

const char *rec_cgroup_of(struct spec_arena *a, pid_t leader, const char *container)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    const char *ends[] = {spec_arena_printf(a, "/%s/payload", container),
                          spec_arena_printf(a, "@%s.service/payload", container)};
    char *text, *end = NULL;
    size_t len;
    if (leader <= 0 || rec_file_read(a, spec_arena_printf(a, "/proc/%d/cgroup", (int)leader), 65536,
                                     &text, &len, NULL))
        return NULL;
    char *path = !strncmp(text, "0::/", 4) ? text : strstr(text, "\n0::/");
    if (!path)
        return NULL;
    path = strchr(path, '/');
    path[strcspn(path, "\n")] = 0;
    for (int i = 0; i < 2 && !end; i++)
        for (char *p = path; ends[i] && !end && (p = strstr(p, ends[i])); p++) {
            char after = p[strlen(ends[i])];
            if (!after || after == '/')
                end = p + strlen(ends[i]) - (sizeof "/payload" - 1);
        }
    if (!end)
        return NULL;
    *end = 0;
    for (int i = 0; i < 2; i++) {
        const char *dir = spec_arena_printf(a, "%s%s", mounts[i], path);
        if (dir && !access(spec_arena_printf(a, "%s/cgroup.procs", dir), F_OK))
            return dir;
    }
    return NULL;
}

static ssize_t slurp(int dir, const char *file, char *out, size_t room)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    ssize_t n, all = 0;
    while ((n = read(fd, out + all, room - 1 - (size_t)all)) > 0)
        all += n;
    close(fd);
    if (n < 0)
        return -errno;
    out[all] = 0;
    return all;
}

static int open_dir(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static bool number_at(int dir, const char *file, uint64_t *out)
{
    char text[64], *end;
    if (slurp(dir, file, text, sizeof text) <= 0 || *text < '0' || *text > '9')
        return false;
    *out = strtoull(text, &end, 10);
    return *end == '\n' || !*end;
}

static bool field_at(int dir, const char *file, const char *key, uint64_t *out)
{
    char text[8192], *save = NULL;
    size_t n = strlen(key);
    if (slurp(dir, file, text, sizeof text) <= 0)
        return false;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        if (!strncmp(l, key, n) && l[n] == ' ') {
            *out = strtoull(l + n + 1, NULL, 10);
            return true;
        }
    return false;
}

static uint64_t resident(long pid)
{
    char path[48], text[128];
    unsigned long long pages = 0;
    snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    if (slurp(AT_FDCWD, path, text, sizeof text) <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Each line of `file`, in `dir` and in all below it. */
static void walk(int dir, const char *file, int depth, void (*each)(void *arg, long pid), void *arg)
{
    int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    long pid;
    while (f && fscanf(f, "%ld", &pid) == 1)
        each(arg, pid);
    if (f)
        fclose(f);
    fd = depth < DEPTH ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_type != DT_DIR || *e->d_name == '.')
            continue;
        int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub < 0)
            continue;
        walk(sub, file, depth + 1, each, arg);
        close(sub);
    }
    if (d)
        closedir(d);
}

static void add_memory(void *arg, long pid)
{
    *(uint64_t *)arg += resident(pid);
}

static void add_one(void *arg, long pid)
{
    (void)pid;
    ++*(uint64_t *)arg;
}

void rec_cgroup_usage(const char *dir, struct rec_cgroup_usage *out)
{
    int fd = open_dir(dir);
    *out = (struct rec_cgroup_usage){0};
    if (fd < 0)
        return;
    out->has_cpu = field_at(fd, "cpu.stat", "usage_usec", &out->cpu_us);
    out->has_memory = number_at(fd, "memory.current", &out->memory);
    number_at(fd, "memory.max", &out->memory_max);
    out->has_tasks = number_at(fd, "pids.current", &out->tasks);
    if (!out->has_memory) {
        walk(fd, "cgroup.procs", 0, add_memory, &out->memory);
        out->has_memory = out->summed = true;
    }
    if (!out->has_tasks) {
        walk(fd, "cgroup.threads", 0, add_one, &out->tasks);
        out->has_tasks = true;
    }
    close(fd);
}

/* ---- freeze --------------------------------------------------------------- */

static int put(int dir, const char *text)
{
    int fd = openat(dir, "cgroup.freeze", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* It waits for the end of the pipe, which comes when the other one thaws, ends or is killed. */
static void guard(int dir, int pipe)
{
    char b;
    setsid();
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_IGN);
    dup2(dir, 0);
    dup2(pipe, 1);
    syscall(SYS_close_range, 2, ~0u, 0);
    while (read(1, &b, 1) < 0 && errno == EINTR)
        ;
    put(0, "0");
    _exit(0);
}

/* Wait until cgroup.events of `dir` says `state`. 0 or -errno; -ETIMEDOUT after FREEZE_MS. */
static int await_state(int dir, const char *state)
{
    struct timespec now, end;
    int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW),
        r = fd < 0 ? -errno : -EAGAIN;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += FREEZE_MS / 1000;
    while (r == -EAGAIN) {
        char text[256];
        struct pollfd p = {fd, POLLPRI, 0};
        ssize_t n = pread(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = 0;
        clock_gettime(CLOCK_MONOTONIC, &now);
        long left = (end.tv_sec - now.tv_sec) * 1000 + (end.tv_nsec - now.tv_nsec) / 1000000;
        if (strstr(text, state))
            r = 0;
        else if (left <= 0)
            r = -ETIMEDOUT;
        else
            poll(&p, 1, (int)left);
    }
    if (fd >= 0)
        close(fd);
    return r;
}

/* The guard of a killed process thaws a moment after that process has ended. It must not thaw what
 * is frozen next, so it locks the directory until then, and the processes in it must run again
 * before the next freeze. After LOCK_MS the lock is that of a process which lives:
 * rec_cgroup_was_still() tells if it thaws. */
static void await_earlier_guard(int dir)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    char wanted[8];
    int tries = LOCK_MS / 10;
    while (flock(dir, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK && tries-- > 0)
        nanosleep(&pause, NULL);
    if (slurp(dir, "cgroup.freeze", wanted, sizeof wanted) > 0 && wanted[0] == '0')
        await_state(dir, "frozen 0");
}

/* Open cgroup.events so that only changes from now on can be polled. The kernel says one of a few
 * milliseconds ago late (kernel/cgroup/cgroup.c: CGROUP_FILE_NOTIFY_MIN_INTV, 10 ms). */
static int watch_events(int dir, int *out)
{
    char text[256];
    *out = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*out < 0 || pread(*out, text, sizeof text, 0) < 0)
        return -errno;
    struct pollfd p = {*out, POLLPRI, 0};
    if (poll(&p, 1, NOTIFY_MS) > 0 && pread(*out, text, sizeof text, 0) < 0)
        return -errno;
    return 0;
}

int rec_cgroup_freeze(const char *dir, struct rec_frozen *out, struct rec_error *err)
{
    int hold[2], fd = open_dir(dir), r = fd < 0 ? -errno : 0;
    *out = (struct rec_frozen){.hold = -1, .events = -1};
    if (!r && pipe2(hold, O_CLOEXEC))
        r = -errno;
    if (r) {
        if (fd >= 0)
            close(fd);
        return rec_fail(err, -r, "cannot freeze '%s': %s", dir, strerror(-r));
    }
    await_earlier_guard(fd);
    out->hold = hold[1];
    out->guard = fork();
    if (!out->guard)
        guard(fd, hold[0]);
    close(hold[0]);
    r = out->guard < 0 ? -errno : put(fd, "1");
    if (!r)
        r = await_state(fd, "frozen 1");
    if (!r)
        r = watch_events(fd, &out->events);
    close(fd);
    if (!r)
        return 0;
    rec_cgroup_thaw(out);
    return r == -ENOENT
               ? rec_fail(err, EOPNOTSUPP,
                          "cannot freeze '%s': this kernel has no cgroup.freeze (Linux 5.2)", dir)
               : rec_fail(err, -r, "cannot freeze '%s': %s", dir, strerror(-r));
}

bool rec_cgroup_was_still(const struct rec_frozen *f)
{
    struct pollfd p = {.fd = f->events, .events = POLLPRI};
    char text[256] = "";
    if (f->guard <= 0)
        return true;
    return !poll(&p, 1, 0) && pread(f->events, text, sizeof text - 1, 0) > 0 &&
           strstr(text, "frozen 1") && strstr(text, "populated 1");
}

void rec_cgroup_thaw(struct rec_frozen *f)
{
    if (f->guard > 0 && f->events >= 0)
        close(f->events);
    f->events = -1;
    if (f->hold >= 0)
        close(f->hold);
    f->hold = -1;
    while (f->guard > 0 && waitpid(f->guard, NULL, 0) < 0 && errno == EINTR)
        ;
    f->guard = 0;
}

/* ---- what was frozen from inside ------------------------------------------ */

static void thaw_below(int dir, int depth, unsigned *left)
{
    put(dir, "0");
    int fd = depth < DEPTH ? openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *e; d && *left && (e = readdir(d));) {
        if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        --*left;
        int sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (sub < 0)
            continue;
        thaw_below(sub, depth + 1, left);
        close(sub);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

void rec_cgroup_thaw_all(struct spec_arena *a, pid_t leader, const char *container)
{
    unsigned left = CGROUPS_MOST;
    const char *dir = rec_cgroup_of(a, leader, container);
    int fd = dir ? open_dir(dir) : -1;
    if (fd < 0)
        return;
    thaw_below(fd, 0, &left);
    close(fd);
}
