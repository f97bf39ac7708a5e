/* Without systemd as PID 1: nspawn by itself, out of our session, in a separate cgroup where
 * there is a cgroup2. berth-contain writes its output to a log. A small file tells their pids and
 * the leader's, each with its start time, so that a pid that came again is never taken for a
 * container; where the file was lost, the cgroup or the network namespace leads to the processes. A
 * killed nspawn leaves the payload behind: then the leader lives without it, and is an
 * orphan. */
#include "reconcile/cgroup.h"
#include "reconcile/files.h"
#include "reconcile/logs.h"
#include "reconcile/own_network.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/said.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
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
#include <unistd.h>

#define CGROUP2_MAGIC 0x63677270
enum {
    START_MS = 90000,
    SETTLE_MS = 5000,
    PAYLOAD_MS = 10000,
    STUB_MS = 3000,
    INIT_MS = 15000,
    KILLED_MS = 5000,
    LOG_MS = 1000
};

static int left_until(long deadline)
{
    long left = deadline - nspawn_now_ms();
    return left > 0 ? (int)left : 0;
}

/* ---- its cgroup ----------------------------------------------------------- */

static void put(const char *dir, const char *file, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, text, strlen(text));
    (void)n; /* what it was for is looked at afterwards */
    close(fd);
}

/* Above those of all containers; it need not be there. NULL: no cgroup2 here. */
static const char *cgroup_top(struct spec_arena *a)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (size_t i = 0; i < 2; i++) {
        struct statfs fs;
        if (!statfs(mounts[i], &fs) && fs.f_type == CGROUP2_MAGIC)
            return spec_arena_printf(a, "%s/berth", mounts[i]);
    }
    return NULL;
}

/* The container's cgroup directory, made if it can be; NULL: no cgroup2 here that we may write. */
static const char *cgroup_of(struct spec_arena *a, const char *name, bool make)
{
    const char *top = cgroup_top(a), *dir = top ? spec_arena_printf(a, "%s/%s", top, name) : NULL;
    if (!dir)
        return NULL;
    /* counted where the host counts; one that it does not have refuses only itself */
    if (make && !mkdir(top, 0755)) {
        put(top, "cgroup.subtree_control", "+cpu");
        put(top, "cgroup.subtree_control", "+memory");
        put(top, "cgroup.subtree_control", "+pids");
    }
    if (make && mkdir(dir, 0755) && errno != EEXIST)
        return NULL;
    return make || !access(dir, F_OK) ? dir : NULL;
}

int nspawn_detached_names(struct spec_arena *a, char ***names, size_t *n, struct rec_error *err)
{
    const char *top = cgroup_top(a);
    size_t kept = 0;
    *n = 0;
    int r = top ? rec_dir_list(a, top, names, n, err) : 0;
    for (size_t i = 0; !r && i < *n; i++)
        if (!access(spec_arena_printf(a, "%s/%s/cgroup.procs", top, (*names)[i]), F_OK))
            (*names)[kept++] = (*names)[i];
    *n = kept;
    return r == -ENOENT ? 0 : r;
}

static void each_cgroup(struct spec_arena *a, const char *dir, int depth,
                        void (*each)(void *arg, const char *dir), void *arg)
{
    char **list;
    size_t n;
    if (depth < 8 && !rec_dir_list(a, dir, &list, &n, NULL))
        for (size_t i = 0; i < n; i++) {
            const char *sub = spec_arena_printf(a, "%s/%s", dir, list[i]);
            struct stat st;
            if (sub && !lstat(sub, &st) && S_ISDIR(st.st_mode))
                each_cgroup(a, sub, depth + 1, each, arg);
        }
    each(arg, dir);
}

static void drop(void *arg, const char *dir)
{
    (void)arg;
    rmdir(dir);
}

/* Deepest first; a cgroup that still has processes stays. */
static void remove_cgroup(struct spec_arena *a, const char *dir)
{
    each_cgroup(a, dir, 0, drop, NULL);
    /* the last one takes ours along */
    rmdir(spec_arena_strndup(a, dir, (size_t)(strrchr(dir, '/') - dir)));
}

/* ---- who runs ------------------------------------------------------------- */

struct search {
    struct rec_run *run;
    struct nspawn_found *found;
};

static void consider(void *arg, pid_t pid)
{
    struct search *s = arg;
    unsigned long long started = rec_proc_started(pid);
    pid_t inside = rec_proc_inside(pid);
    if (started && inside == 1 && !s->found->leader) {
        s->found->leader = pid;
        s->found->leader_started = started;
    } else if (started && !inside && !s->found->nspawn &&
               rec_proc_runs(pid, s->run->facts.nspawn)) {
        s->found->nspawn = pid;
        s->found->nspawn_started = started;
    }
}

static void consider_cgroup(void *arg, const char *dir)
{
    struct search *s = arg;
    char *text, *save = NULL;
    size_t len;
    if (rec_file_read(s->run->arena, spec_arena_printf(s->run->arena, "%s/cgroup.procs", dir),
                      1 << 20, &text, &len, NULL))
        return;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        consider(s, (pid_t)strtol(l, NULL, 10));
}

/* The file that tells is not there, or tells of the dead: the one who wrote it may have been
 * killed in between. */
static void search(struct rec_run *run, const char *name, struct nspawn_found *out)
{
    struct search s = {run, out};
    struct stat st;
    char *text;
    size_t len;
    const char *dir = cgroup_of(run->arena, name, false);
    if (dir &&
        !rec_file_read(run->arena, spec_arena_printf(run->arena, "%s/cgroup.events", dir), 4096,
                       &text, &len, NULL) &&
        strstr(text, "populated 1"))
        each_cgroup(run->arena, dir, 0, consider_cgroup, &s);
    if (!dir && !stat(spec_arena_printf(run->arena, NET_NETNS_DIR "/%s", name), &st))
        rec_proc_each_in_netns(st.st_ino, consider, &s);
    if (!dir && out->leader && rec_proc_runs(rec_proc_parent(out->leader), run->facts.nspawn)) {
        out->nspawn = rec_proc_parent(out->leader);
        out->nspawn_started = rec_proc_started(out->nspawn);
    }
}

struct process {
    int pid; /* 0: none */
    unsigned long long started;
};
struct run_file {
    struct process nspawn, leader, log;
};

static void forget_ended(struct process *p)
{
    if (!p->started || rec_proc_started(p->pid) != p->started)
        *p = (struct process){0};
}

/* nspawn and the leader, if they still run. `log` may have ended; an earlier berth named none. */
static void read_run_file(struct rec_run *run, const char *name, struct run_file *out)
{
    char *text, boot[48] = "";
    size_t len;
    *out = (struct run_file){0};
    if (rec_file_read(run->arena, nspawn_path(run->arena, name, "run"), 4096, &text, &len, NULL))
        return;
    int n = sscanf(text, "boot %40s nspawn %d %llu leader %d %llu log %d %llu", boot,
                   &out->nspawn.pid, &out->nspawn.started, &out->leader.pid, &out->leader.started,
                   &out->log.pid, &out->log.started);
    if (n < 5 || strcmp(boot, rec_proc_boot()) != 0)
        *out = (struct run_file){0};
    forget_ended(&out->nspawn);
    forget_ended(&out->leader);
}

int nspawn_detached_find(struct rec_run *run, const char *name, struct nspawn_found *out)
{
    struct run_file file;
    read_run_file(run, name, &file);
    *out = (struct nspawn_found){.leader = file.leader.pid,
                                 .leader_started = file.leader.started,
                                 .nspawn = file.nspawn.pid,
                                 .nspawn_started = file.nspawn.started};
    out->unlogged =
        out->nspawn && file.log.pid && rec_proc_started(file.log.pid) != file.log.started;
    if (!out->leader)
        search(run, name, out);
    if (out->nspawn) {
        out->digest = rec_proc_env(run->arena, out->nspawn, "BERTH_UNIT");
        out->environment = rec_proc_env(run->arena, out->nspawn, "BERTH_ENV");
    }
    return out->leader ? 0 : -ESRCH;
}

/* ---- start ---------------------------------------------------------------- */

struct start {
    const char *name, *cgroup, *sock_path, *log_path, *netns;
    char **argv, *env[6];
    /* log: a pipe to berth-contain; inside: the network namespace to start in, -1: none */
    int sock, log, pidfd, inside;
    off_t log_from; /* where this life's output begins */
    pid_t nspawn, leader;
    unsigned long long started;
    struct process logger;
    /* waits_forever: `sleep infinity`, which cannot end at once */
    bool ready, over, waits_forever;
};

/* It stays a child of berth's as long as berth lives, so that its exit status can be told. */
static void launch(const struct start *s)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    setsid();
    int null = open("/dev/null", O_RDONLY);
    if (s->inside >= 0 && setns(s->inside, CLONE_NEWNET)) {
        dprintf(s->log, "cannot enter network namespace '%s': %s\n", s->netns, strerror(errno));
        _exit(126);
    }
    if (s->cgroup)
        put(s->cgroup, "cgroup.procs", "0");
    if (dup2(null, 0) < 0 || dup2(s->log, 1) < 0 || dup2(s->log, 2) < 0 || chdir("/"))
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    umask(022);
    rec_proc_files_back();
    execve(s->argv[0], s->argv, s->env);
    dprintf(2, "%s: %s\n", s->argv[0], strerror(errno));
    _exit(127);
}

/* The unit has the arguments, a line each; a line end inside one is written \n. */
static char **arguments(struct rec_run *run, const char *name, const char *text, const char **netns)
{
    *netns = NULL;
    size_t n = 8, i = 0;
    for (const char *p = text; *p; p++)
        n += *p == '\n';
    char **argv = spec_arena_alloc(run->arena, (n + 1) * sizeof *argv),
         *rest = spec_arena_strdup(run->arena, text);
    if (!argv || !rest)
        return NULL;
    if (nspawn_network_in(text)) {
        argv[i++] = (char *)run->facts.network;
        argv[i++] = "start";
        argv[i++] = (char *)name;
    }
    argv[i++] = (char *)run->facts.contain;
    argv[i++] = "start";
    argv[i++] = (char *)spec_arena_printf(run->arena, NSPAWN_DIR "/%s", name);
    argv[i++] = (char *)run->facts.nspawn;
    strsep(&rest, "\n"); /* the first line says whose file it is */
    while (rest && *rest == '#') {
        const char *line = strsep(&rest, "\n");
        if (!strncmp(line, NSPAWN_INSIDE, sizeof NSPAWN_INSIDE - 1))
            *netns = line + sizeof NSPAWN_INSIDE - 1;
    }
    for (char *l; (l = strsep(&rest, "\n")) && (rest || *l);) {
        char *to = argv[i++] = l;
        for (; *l; l++)
            *to++ = *l != '\\' || !l[1] ? *l : *++l == 'n' ? '\n' : *l;
        *to = 0;
    }
    return argv;
}

/* The end of what this life has said. */
static const char *log_tail(struct rec_run *run, const struct start *s)
{
    char text[4096];
    int fd = open(s->log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END), from = end - (off_t)sizeof text + 1;
    if (from < s->log_from && s->log_from <= end)
        from = s->log_from;
    if (from < 0)
        from = 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, from);
    if (fd >= 0)
        close(fd);
    const char *tail = n > 0 ? spec_arena_strndup(run->arena, text, (size_t)n) : "";
    return tail ? tail : "";
}

static int notify_socket(const char *path, int *out, struct rec_error *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int s = strlen(path) < sizeof sa.sun_path ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (s < 0)
        return rec_fail(err, errno, "cannot listen on '%s': %s", path, strerror(errno));
    strcpy(sa.sun_path, path);
    unlink(path);
    if (bind(s, (struct sockaddr *)&sa, sizeof sa)) {
        int code = errno;
        close(s);
        return rec_fail(err, code, "cannot listen on '%s': %s", path, strerror(code));
    }
    *out = s;
    return 0;
}

/* It ends by itself when the last writer has gone. A process elsewhere may hold the pipe. */
static void end_log(const struct process *p)
{
    if (!p->pid || rec_proc_wait(p->pid, p->started, LOG_MS))
        return;
    rec_proc_kill(p->pid, p->started, SIGKILL);
    rec_proc_wait(p->pid, p->started, KILLED_MS);
}

/* Nothing of an earlier life may still write to the root, or to the log. */
static int clear_leftovers(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct nspawn_found f;
    struct run_file file;
    struct rec_error e = {0};
    nspawn_detached_find(run, name, &f);
    read_run_file(run, name, &file);
    if (!f.leader && !f.nspawn)
        end_log(&file.log);
    if (f.leader || f.nspawn)
        nspawn_detached_stop(run, &name, 1, &e);
    if (e.code && err)
        *err = e;
    return -e.code;
}

/* A pipe without a reader would end the container, so the kernel must not choose this process when
 * memory runs out. */
static void run_log(const char *program, const char *path, int input)
{
    char *const argv[] = {"berth-contain", "log", (char *)path, NULL};
    char *const env[] = {"LC_ALL=C", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    setsid();
    put("/proc/self", "oom_score_adj", "-1000");
    int null = open("/dev/null", O_WRONLY);
    if (dup2(input, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || chdir("/"))
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    umask(022);
    rec_proc_files_back();
    execve(program, argv, env);
    _exit(127);
}

/* `input` stays the caller's. */
static int start_log(struct rec_run *run, const char *name, int input, struct process *out,
                     struct rec_error *err)
{
    const char *path = nspawn_path(run->arena, name, "log");
    if (!run->facts.contain || !path)
        return rec_fail(err, ENOENT, "cannot start berth-contain: it is not installed");
    pid_t pid = fork();
    if (!pid)
        run_log(run->facts.contain, path, input);
    if (pid < 0)
        return rec_fail(err, EAGAIN,
                        "cannot write the log of container '%s': no process could be made", name);
    *out = (struct process){pid, rec_proc_started(pid)};
    return 0;
}

static int open_log(struct rec_run *run, struct start *s, struct rec_error *err)
{
    int ends[2];
    s->log_path = nspawn_path(run->arena, s->name, "log");
    int fd = open(s->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return rec_fail(err, errno, "cannot write '%s': %s", s->log_path, strerror(errno));
    s->log_from = lseek(fd, 0, SEEK_END);
    close(fd);
    if (pipe2(ends, O_CLOEXEC))
        return rec_fail(err, errno, "cannot make a pipe: %s", strerror(errno));
    s->log = ends[1];
    int r = start_log(run, s->name, ends[0], &s->logger, err);
    close(ends[0]);
    return r;
}

static int write_run_file(struct rec_run *run, const char *name, const struct run_file *f,
                          struct rec_error *err)
{
    char line[192];
    int n = snprintf(line, sizeof line, "boot %s nspawn %d %llu leader %d %llu log %d %llu\n",
                     rec_proc_boot(), f->nspawn.pid, f->nspawn.started, f->leader.pid,
                     f->leader.started, f->log.pid, f->log.started);
    return rec_file_write(nspawn_path(run->arena, name, "run"), line, (size_t)n, 0644, err);
}

/* nspawn holds the end of the pipe that is written to. proc(5) opens the other end again. */
int nspawn_detached_log(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct run_file file;
    struct stat st;
    char path[48];
    read_run_file(run, name, &file);
    snprintf(path, sizeof path, "/proc/%d/fd/1", file.nspawn.pid);
    if (!file.nspawn.pid || !file.leader.pid || stat(path, &st) || !S_ISFIFO(st.st_mode))
        return rec_fail(err, ESRCH, "cannot write the log of container '%s': its pipe is not there",
                        name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fcntl(fd, F_SETFL, 0)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return rec_fail(err, code, "cannot read the output of container '%s': %s", name,
                        strerror(code));
    }
    int r = start_log(run, name, fd, &file.log, err);
    close(fd);
    return r ? r : write_run_file(run, name, &file, err);
}

static int prepare(struct rec_run *run, struct start *s, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    char *text;
    size_t len;
    int r = rec_file_read(a, nspawn_path(a, s->name, "unit"), NSPAWN_UNIT_MOST, &text, &len, err);
    if (!r)
        r = clear_leftovers(run, s->name, err);
    if (!r)
        r = nspawn_furnish(run, s->name, text, err);
    if (!r)
        r = open_log(run, s, err);
    if (r)
        return r;
    s->cgroup = cgroup_of(a, s->name, true);
    if (s->cgroup)
        put(s->cgroup, "cgroup.kill", "1");
    s->sock_path = nspawn_path(a, s->name, "notify");
    s->argv = arguments(run, s->name, text, &s->netns);
    size_t words = 0;
    while (s->argv && s->argv[words])
        words++;
    s->waits_forever = words > 2 && !strcmp(s->argv[words - 1], "infinity") &&
                       !strcmp(s->argv[words - 2], "sleep");
    s->env[0] = "PATH=" REC_PROC_PATH;
    s->env[1] = "LC_ALL=C";
    s->env[2] = spec_arena_printf(a, "BERTH_UNIT=%s", nspawn_digest(a, text));
    s->env[3] = spec_arena_printf(a, "NOTIFY_SOCKET=%s", s->sock_path);
    if (!rec_file_read(a, nspawn_path(a, s->name, "env"), 256, &text, &len, NULL)) {
        text[strcspn(text, "\n")] = 0;
        s->env[4] = text;
    }
    if (!s->argv || !s->env[2] || !s->env[3])
        return rec_fail(err, ENOMEM, "out of memory");
    if (s->netns && (s->inside = open(s->netns, O_RDONLY | O_CLOEXEC)) < 0)
        return rec_fail(err, errno, "cannot open network namespace '%s': %s", s->netns,
                        strerror(errno));
    /* nspawn keeps its locks and sockets there; without systemd as PID 1 nobody has made it. */
    if ((r = rec_dir_make("/run/systemd", 0755, err)))
        return r;
    return notify_socket(s->sock_path, &s->sock, err);
}

static int begin(struct rec_run *run, struct start *s, struct rec_error *err)
{
    int r = prepare(run, s, err);
    if (r)
        return r;
    s->nspawn = fork();
    if (!s->nspawn)
        launch(s);
    close(s->log); /* its reader ends with the container */
    s->log = -1;
    if (s->nspawn < 0)
        return rec_fail(err, EAGAIN, "cannot start container '%s': no process could be made",
                        s->name);
    s->started = rec_proc_started(s->nspawn);
    s->pidfd = (int)syscall(SYS_pidfd_open, s->nspawn, 0);
    s->over = s->pidfd < 0;
    return 0;
}

/* Its messages: the leader's pid, then READY. */
static void hear(struct start *s)
{
    char m[1024];
    ssize_t n = recv(s->sock, m, sizeof m - 1, MSG_DONTWAIT);
    if (n <= 0)
        return;
    m[n] = 0;
    const char *x = strstr(m, "X_NSPAWN_LEADER_PID=");
    if (x)
        s->leader = (pid_t)strtol(x + 20, NULL, 10);
    s->ready |= !strncmp(m, "READY=1", 7) || strstr(m, "\nREADY=1");
}

/* Until each is ready or has ended, all of them by one deadline. */
static void await(struct start *s, size_t n)
{
    struct pollfd p[2 * NSPAWN_AT_ONCE];
    long deadline = nspawn_now_ms() + START_MS;
    for (;;) {
        size_t open = 0;
        for (size_t i = 0; i < n; i++) {
            bool wait = s[i].nspawn > 0 && !s[i].ready && !s[i].over;
            p[2 * i] = (struct pollfd){wait ? s[i].sock : -1, POLLIN, 0};
            p[2 * i + 1] = (struct pollfd){wait ? s[i].pidfd : -1, POLLIN, 0};
            open += wait;
        }
        if (!open)
            return;
        int left = left_until(deadline), k = poll(p, 2 * n, left);
        if (k < 0 && errno == EINTR && left > 0)
            continue;
        if (k <= 0)
            return;
        for (size_t i = 0; i < n; i++) {
            if (p[2 * i].revents & POLLIN)
                hear(&s[i]);
            else if (p[2 * i + 1].revents)
                s[i].over = true; /* it ended, and has no more to say */
        }
    }
}

/* READY is said before the payload's program is there: whether that could be run shows a moment
 * later. */
static void settle(struct rec_run *run, struct start *s, size_t n)
{
    long deadline = nspawn_now_ms() + SETTLE_MS;
    for (size_t i = 0; i < n; i++)
        while (s[i].ready && !s[i].over) {
            struct pollfd p = {s[i].pidfd, POLLIN, 0};
            bool runs = nspawn_payload_runs(run, s[i].leader);
            s[i].over = poll(&p, 1, runs ? 0 : 1) > 0;
            if (runs || !left_until(deadline))
                break;
        }
    long since = nspawn_now_ms();
    for (size_t i = 0; i < n; i++) {
        if (!s[i].ready || s[i].over || s[i].waits_forever ||
            nspawn_payload_stays(run, s[i].leader, since))
            continue;
        struct pollfd p = {s[i].pidfd, POLLIN, 0};
        s[i].over = poll(&p, 1, SETTLE_MS) > 0;
    }
}

/* Its own exit status, which is that of the command; -1: not known. */
static int exit_status(const struct start *s)
{
    int status;
    pid_t k;
    while ((k = waitpid(s->nspawn, &status, WNOHANG)) < 0 && errno == EINTR)
        ;
    return k == s->nspawn && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int end(struct rec_run *run, struct start *s, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    unsigned long long leader_started = rec_proc_started(s->leader);
    if (s->ready && !s->over && leader_started) {
        struct run_file file = {{s->nspawn, s->started}, {s->leader, leader_started}, s->logger};
        int r = write_run_file(run, s->name, &file, err);
        if (!r) {
            rec_log_forget(s->name);
            return 0;
        }
    }
    bool slow = !s->ready && !s->over, ran = s->ready && s->over;
    rec_proc_kill(s->nspawn, s->started, SIGKILL);
    if (s->cgroup)
        put(s->cgroup, "cgroup.kill", "1");
    rec_proc_kill(s->leader, leader_started, SIGKILL);
    rec_proc_wait(s->nspawn, s->started, KILLED_MS);
    end_log(&s->logger);
    rec_own_network_end(s->name, NULL);
    if (s->cgroup)
        remove_cgroup(a, s->cgroup);
    char late[64];
    snprintf(late, sizeof late, "it was not ready within %d s", START_MS / 1000);
    int status = exit_status(s);
    if (ran && status >= 0) {
        snprintf(late, sizeof late, "its command ended, status %d", status);
        rec_said_failure(a, err, ECHILD, s->name, log_tail(run, s), late);
    } else {
        rec_said_failure(a, err, slow ? ETIMEDOUT : EIO, s->name, log_tail(run, s),
                         slow ? late : "it said nothing");
    }
    rec_log_keep(s->name, s->log_path);
    rec_hint(err, "all it said: berth logs %s", s->name);
    return -err->code;
}

static void start_some(struct rec_run *run, const char *const *names, size_t n,
                       struct rec_error *err)
{
    struct start s[NSPAWN_AT_ONCE];
    for (size_t i = 0; i < n; i++) {
        s[i] = (struct start){.name = names[i], .sock = -1, .log = -1, .pidfd = -1, .inside = -1};
        begin(run, &s[i], &err[i]);
    }
    await(s, n);
    settle(run, s, n);
    for (size_t i = 0; i < n; i++) {
        if (!err[i].code)
            end(run, &s[i], &err[i]);
        if (s[i].sock >= 0) {
            close(s[i].sock);
            unlink(s[i].sock_path);
        }
        if (s[i].log >= 0)
            close(s[i].log);
        if (s[i].pidfd >= 0)
            close(s[i].pidfd);
        if (s[i].inside >= 0)
            close(s[i].inside);
    }
}

void nspawn_detached_start(struct rec_run *run, const char *const *names, size_t n,
                           struct rec_error *err)
{
    for (size_t at = 0; at < n; at += NSPAWN_AT_ONCE)
        start_some(run, names + at, n - at < NSPAWN_AT_ONCE ? n - at : NSPAWN_AT_ONCE, err + at);
}

/* ---- stop ----------------------------------------------------------------- */

/* Cleanly first, all at once: the payload under the stub gets its signal, then nspawn, then what
 * is left is killed. */
void nspawn_detached_stop(struct rec_run *run, const char *const *names, size_t n,
                          struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    struct nspawn_found *f = calloc(n, sizeof *f);
    bool *stub = calloc(n, sizeof *stub);
    for (size_t i = 0; i < n && (!f || !stub); i++)
        rec_fail(&err[i], ENOMEM, "out of memory");
    for (size_t i = 0; f && stub && i < n; i++) {
        nspawn_detached_find(run, names[i], &f[i]);
        rec_cgroup_thaw_all(a, f[i].leader, names[i]);
        stub[i] = nspawn_ask_payload(run, f[i].leader);
    }
    long deadline = nspawn_now_ms() + PAYLOAD_MS;
    for (size_t i = 0; f && stub && i < n; i++)
        if (stub[i])
            rec_proc_wait(f[i].leader, f[i].leader_started, left_until(deadline));
    for (size_t i = 0; f && stub && i < n; i++)
        rec_proc_kill(f[i].nspawn, f[i].nspawn_started, SIGTERM);
    deadline = nspawn_now_ms();
    for (size_t i = 0; f && stub && i < n; i++)
        rec_proc_wait(f[i].nspawn, f[i].nspawn_started,
                      left_until(deadline + (stub[i] || !f[i].leader ? STUB_MS : INIT_MS)));
    for (size_t i = 0; f && stub && i < n; i++) {
        const char *cgroup = cgroup_of(a, names[i], false);
        rec_proc_kill(f[i].nspawn, f[i].nspawn_started, SIGKILL);
        if (cgroup)
            put(cgroup, "cgroup.kill", "1");
        /* PID 1 of its namespace: all in it goes with it */
        rec_proc_kill(f[i].leader, f[i].leader_started, SIGKILL);
        if (!rec_proc_wait(f[i].leader, f[i].leader_started, KILLED_MS) ||
            !rec_proc_wait(f[i].nspawn, f[i].nspawn_started, KILLED_MS)) {
            rec_fail(&err[i], EBUSY,
                     "cannot stop container '%s': its processes do not end (pid %d)", names[i],
                     (int)f[i].leader);
            continue;
        }
        if (cgroup)
            remove_cgroup(a, cgroup);
        struct run_file file;
        read_run_file(run, names[i], &file);
        end_log(&file.log);
        rec_own_network_end(names[i], &err[i]);
        rec_file_remove(nspawn_path(a, names[i], "run"), &err[i]);
    }
    free(f);
    free(stub);
}
