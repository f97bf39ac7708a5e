/* Without systemd as PID 1: nspawn on its own, out of our session, in a cgroup of its own where there is a cgroup2, its output in a
 * log. A small file tells its pid and leader, each with its start time, so that a pid that came again is never taken for a
 * container. A killed nspawn leaves the payload behind (facts R11): then the leader lives without it, and is an orphan. */
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CGROUP2_MAGIC 0x63677270

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The container's cgroup directory, made if it can be; NULL: no cgroup2 here that we may write. */
static const char *cgroup_of(struct spec_arena *a, const char *name, bool make)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < 2; i++) {
        struct statfs fs;
        if (statfs(mounts[i], &fs) || fs.f_type != CGROUP2_MAGIC)
            continue;
        const char *top = spec_arena_printf(a, "%s/berth", mounts[i]), *dir = spec_arena_printf(a, "%s/berth/%s", mounts[i], name);
        if (!top || !dir)
            return NULL;
        if (make && ((mkdir(top, 0755) && errno != EEXIST) || (mkdir(dir, 0755) && errno != EEXIST)))
            return NULL;
        return dir;
    }
    return NULL;
}

static void put(const char *dir, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, text, strlen(text));
    (void)n;    /* what it was for is looked at afterwards */
    close(fd);
}

/* Deepest first; a cgroup that still has processes stays. */
static void remove_cgroup(struct spec_arena *a, const char *dir, int depth)
{
    char **list;
    size_t n;
    if (depth < 8 && !rec_dir_list(a, dir, &list, &n, NULL))
        for (size_t i = 0; i < n; i++) {
            const char *sub = spec_arena_printf(a, "%s/%s", dir, list[i]);
            struct stat st;
            if (sub && !lstat(sub, &st) && S_ISDIR(st.st_mode))
                remove_cgroup(a, sub, depth + 1);
        }
    rmdir(dir);
}

int nspawn_detached_find(struct rec_run *run, const char *name, struct nspawn_found *out)
{
    char *text;
    size_t len;
    int nspawn, leader;
    unsigned long long s1, s2;
    *out = (struct nspawn_found){0};
    if (rec_file_read(run->arena, nspawn_path(run->arena, name, "run"), 4096, &text, &len, NULL) ||
        sscanf(text, "nspawn %d %llu leader %d %llu", &nspawn, &s1, &leader, &s2) != 4)
        return -ESRCH;
    if (s2 && rec_proc_started(leader) == s2) {
        out->leader = leader;
        out->leader_started = s2;
    }
    if (s1 && rec_proc_started(nspawn) == s1) {
        out->nspawn = nspawn;
        out->nspawn_started = s1;
        out->digest = rec_proc_env(run->arena, nspawn, "BERTH_UNIT");
    }
    return out->leader ? 0 : -ESRCH;
}

struct launch {
    char      **argv, **env;
    int         log, netns;
    const char *cgroup;
};

static void launch(const struct launch *l, int report)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    setsid();
    pid_t pid = fork();
    if (pid) {
        if (write(report, &pid, sizeof pid) != sizeof pid)
            _exit(1);
        _exit(pid < 0);
    }
    int null = open("/dev/null", O_RDONLY);
    if (l->cgroup)
        put(l->cgroup, "cgroup.procs", "0");
    if (dup2(null, 0) < 0 || dup2(l->log, 1) < 0 || dup2(l->log, 2) < 0 || chdir("/"))
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    umask(022);
    execve(l->argv[0], l->argv, l->env);
    dprintf(2, "%s: %s\n", l->argv[0], strerror(errno));
    _exit(127);
}

/* The arguments stand in the unit, a line each. */
static char **arguments(struct rec_run *run, const char *text)
{
    size_t n = 2, i = 1;
    for (const char *p = text; *p; p++)
        n += *p == '\n';
    char **argv = spec_arena_alloc(run->arena, (n + 1) * sizeof *argv), *copy = spec_arena_strdup(run->arena, text), *save = NULL;
    if (!argv || !copy)
        return NULL;
    argv[0] = (char *)run->facts.nspawn;
    strtok_r(copy, "\n", &save);            /* the first line says whose file it is */
    for (char *l; (l = strsep(&save, "\n"));)
        if (save || *l)
            argv[i++] = l;
    return argv;
}

static const char *log_tail(struct rec_run *run, const char *name)
{
    char *text;
    size_t len;
    if (rec_file_read(run->arena, nspawn_path(run->arena, name, "log"), 64 << 20, &text, &len, NULL))
        return "";
    while (len && text[len - 1] == '\n')
        text[--len] = 0;
    size_t start = len, lines = 0;
    while (start && lines < 3) {
        start--;
        lines += text[start] == '\n';
    }
    for (char *p = text + start; *p; p++)
        *p = *p == '\n' ? ';' : *p;
    return text + start + (text[start] == ';');
}

/* Its messages: the leader's pid, then READY (facts R7). */
static int await(int sock, pid_t nspawn, unsigned long long started, pid_t *leader)
{
    long deadline = now_ms() + 90000;
    int fd = (int)syscall(SYS_pidfd_open, nspawn, 0);
    bool ready = false;
    *leader = 0;
    while (!ready && fd >= 0 && rec_proc_started(nspawn) == started) {
        struct pollfd p[2] = {{.fd = sock, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
        long left = deadline - now_ms();
        int k = left > 0 ? poll(p, 2, (int)left) : 0;
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        if (!(p[0].revents & POLLIN))
            break;      /* it ended, and has no more to say */
        char m[1024];
        ssize_t n = recv(sock, m, sizeof m - 1, 0);
        m[n > 0 ? n : 0] = 0;
        const char *x = strstr(m, "X_NSPAWN_LEADER_PID=");
        if (x)
            *leader = (pid_t)strtol(x + 20, NULL, 10);
        ready = !strncmp(m, "READY=1", 7) || strstr(m, "\nREADY=1");
    }
    if (fd >= 0)
        close(fd);
    return ready && *leader ? 0 : -EIO;
}

static int notify_socket(const char *path, int *out, struct rec_error *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    unlink(path);
    if (s < 0 || strlen(path) >= sizeof sa.sun_path || bind(s, (struct sockaddr *)&sa, sizeof sa)) {
        if (s >= 0)
            close(s);
        return rec_fail(err, errno ? errno : ENAMETOOLONG, "cannot listen on '%s'", path);
    }
    *out = s;
    return 0;
}

/* Nothing of an earlier life may still write to the root (facts R12). */
static void clear_leftovers(struct rec_run *run, const char *name, const char *cgroup)
{
    struct nspawn_found f;
    nspawn_detached_find(run, name, &f);
    if (f.leader || f.nspawn)
        nspawn_detached_stop(run, name, &f, NULL);
    if (cgroup)
        put(cgroup, "cgroup.kill", "1");
}

int nspawn_detached_start(struct rec_run *run, const struct rec_item *w, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *name = w->container, *sock_path = nspawn_path(a, name, "notify");
    char *text;
    size_t len;
    int sock = -1, pipe[2];
    pid_t nspawn = 0, leader;
    int r = rec_file_read(a, nspawn_path(a, name, "unit"), 1 << 20, &text, &len, err);
    if (r)
        return r;
    const char *cgroup = cgroup_of(a, name, true);
    clear_leftovers(run, name, cgroup);
    char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", (char *)spec_arena_printf(a, "BERTH_UNIT=%s", nspawn_digest(a, text)),
                   (char *)spec_arena_printf(a, "NOTIFY_SOCKET=%s", sock_path), NULL};
    struct launch l = {.argv = arguments(run, text), .env = env, .cgroup = cgroup};
    if (!l.argv || !env[2] || !env[3])
        return rec_fail(err, ENOMEM, "out of memory");
    r = notify_socket(sock_path, &sock, err);
    if (r)
        return r;
    l.log = open(nspawn_path(a, name, "log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (l.log < 0 || pipe2(pipe, O_CLOEXEC)) {
        r = rec_fail(err, errno, "cannot start container '%s': %s", name, strerror(errno));
        if (l.log >= 0)
            close(l.log);
        close(sock);
        return r;
    }
    pid_t middle = fork();
    if (!middle)
        launch(&l, pipe[1]);
    close(pipe[1]);
    close(l.log);
    if (middle > 0) {
        while (read(pipe[0], &nspawn, sizeof nspawn) < 0 && errno == EINTR)
            ;
        while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(pipe[0]);
    unsigned long long started = nspawn > 0 ? rec_proc_started(nspawn) : 0;
    r = started ? await(sock, nspawn, started, &leader) : -EIO;
    close(sock);
    unlink(sock_path);
    if (!r) {
        char line[128];
        unsigned long long leader_started = rec_proc_started(leader);
        int n = snprintf(line, sizeof line, "nspawn %d %llu leader %d %llu\n", (int)nspawn, started, (int)leader, leader_started);
        r = rec_file_write(nspawn_path(a, name, "run"), line, (size_t)n, 0644, err);
        if (!r && leader_started)
            return 0;
    }
    rec_proc_kill(nspawn, started, SIGKILL);
    if (cgroup) {
        put(cgroup, "cgroup.kill", "1");
        rec_proc_wait(nspawn, started, 2000);
        remove_cgroup(a, cgroup, 0);
    }
    rec_fail(err, EIO, "cannot start container '%s': %.380s", name, log_tail(run, name));
    rec_hint(err, "all it said: berth logs %s", name);
    return -EIO;
}

int nspawn_detached_stop(struct rec_run *run, const char *name, const struct nspawn_found *f, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *cgroup = cgroup_of(a, name, false);
    pid_t payload = f->leader ? rec_proc_child(f->leader) : 0;
    unsigned long long payload_started = rec_proc_started(payload);
    char *comm;
    size_t len;
    /* Under the stub the payload is the leader's child and gets its signal first; a booted init is the leader itself. */
    bool stub = f->leader && !rec_file_read(a, spec_arena_printf(a, "/proc/%d/comm", (int)f->leader), 64, &comm, &len, NULL) &&
                strncmp(comm, "systemd", 7) && strncmp(comm, "init", 4);
    if (stub && payload_started) {
        rec_proc_kill(payload, payload_started, SIGTERM);
        rec_proc_wait(f->leader, f->leader_started, 10000);
    }
    if (f->nspawn) {
        rec_proc_kill(f->nspawn, f->nspawn_started, SIGTERM);
        rec_proc_wait(f->nspawn, f->nspawn_started, stub ? 3000 : 30000);
        rec_proc_kill(f->nspawn, f->nspawn_started, SIGKILL);
    }
    if (cgroup)
        put(cgroup, "cgroup.kill", "1");
    rec_proc_kill(f->leader, f->leader_started, SIGKILL);   /* PID 1 of its namespace: all in it goes with it */
    if (!rec_proc_wait(f->leader, f->leader_started, 5000) || !rec_proc_wait(f->nspawn, f->nspawn_started, 5000))
        return rec_fail(err, EBUSY, "cannot stop container '%s': its processes do not end (pid %d)", name, (int)f->leader);
    if (cgroup)
        remove_cgroup(a, cgroup, 0);
    return rec_file_remove(nspawn_path(a, name, "run"), err);
}
