/* berth's side of entering: find the leader, learn what it may do, start berth-enter, and relay
 * until it has ended. */
#include "reconcile/enter.h"
#include "netops/scoped.h"
#include "reconcile/enter/call.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/relay.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/sealed.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FROZEN_MS = 4000, FILTER_WAIT_MS = 5000, FILTER_AGAIN_MS = 20, STATUS_MOST = 65536 };

static void close_leader(struct rec_leader *l)
{
    if (l->netns >= 0)
        close(l->netns);
    if (l->pidfd >= 0)
        close(l->pidfd);
}

/* ---- what the leader may do ---- */

static bool other_userns(pid_t pid, struct spec_arena *a)
{
    struct stat theirs, ours;
    if (stat(spec_arena_printf(a, "/proc/%d/ns/user", (int)pid), &theirs) ||
        stat("/proc/self/ns/user", &ours))
        return false;
    return theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev;
}

static const char *field(const char *text, const char *name)
{
    const char *p = strstr(text, name);
    return p ? p + strlen(name) + strspn(p + strlen(name), " \t") : NULL;
}

/* From its status. A container that starts just now has no system call filter yet, nor its last
 * capabilities: wait for that. */
static int read_limits(struct rec_run *run, const char *container, const struct rec_leader *l,
                       struct enter_call *call, struct rec_error *err)
{
    const char *path = spec_arena_printf(run->arena, "/proc/%d/status", (int)l->pid), *bound,
               *filter, *privs;
    for (int waited = 0;; waited += FILTER_AGAIN_MS) {
        char *text;
        size_t len;
        /* Asked before the status is read: what is read of a container whose command runs is
         * final. */
        bool final = waited >= FILTER_WAIT_MS && nspawn_payload_runs(run, l->pid);
        int r = rec_file_read(run->arena, path, STATUS_MOST, &text, &len, err);
        if (r)
            return r;
        bound = field(text, "\nCapBnd:");
        filter = field(text, "\nSeccomp:");
        privs = field(text, "\nNoNewPrivs:");
        if (!bound)
            return rec_fail(err, EIO,
                            "cannot read the capabilities of the container's first process: '%s' "
                            "does not name them",
                            path);
        if (!filter || *filter != '0' || final)
            break;
        /* This is a stage of nspawn's own, whose capabilities may be all of the host's. */
        if (waited >= FILTER_WAIT_MS) {
            rec_fail(err, ETIMEDOUT,
                     "cannot enter container '%s': its first process has no system call filter "
                     "after %d s",
                     container, FILTER_WAIT_MS / 1000);
            rec_hint(err, "it may still be starting; what it says: berth logs %s", container);
            return -ETIMEDOUT;
        }
        struct pollfd end = {l->pidfd, POLLIN, 0};
        if (poll(&end, 1, FILTER_AGAIN_MS) > 0)
            break;
    }
    call->bound = strtoull(bound, NULL, 16);
    call->no_new_privs = privs && *privs == '1';
    call->user = other_userns(l->pid, run->arena);
    /* The number was the leader's all the time. */
    struct pollfd end = {l->pidfd, POLLIN, 0};
    return poll(&end, 1, 0) > 0
               ? rec_fail(err, ESRCH, "the container's first process has just ended")
               : 0;
}

/* cgroup.procs of the leader's cgroup as the host sees it; -1: there is none to join. */
static int open_cgroup(struct rec_run *run, pid_t leader)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char *text;
    size_t len;
    if (rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/cgroup", (int)leader),
                      STATUS_MOST, &text, &len, NULL))
        return -1;
    char *path = strstr(text, "0::/");
    if (!path)
        return -1;
    path += 3;
    path[strcspn(path, "\n")] = 0;
    for (int i = 0; i < 2; i++) {
        int fd = open(spec_arena_printf(run->arena, "%s%s/cgroup.procs", mounts[i], path),
                      O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            return fd;
    }
    return -1;
}

/* berth-enter joins the leader's cgroup. Whoever freezes that cgroup, or one above it, stops it,
 * too: `berth backup`, or root of the container. */
static bool is_frozen(pid_t leader)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char path[4096 + 64], line[4096];
    bool frozen = false;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)leader);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        found = !strncmp(line, "0::/", 4);
    if (f)
        fclose(f);
    line[found ? strcspn(line, "\n") : 0] = 0;
    for (int i = 0; i < 2 && found && !frozen; i++) {
        char text[256] = "";
        snprintf(path, sizeof path, "%s%s/cgroup.events", mounts[i], line + 3);
        scoped(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        frozen = fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strstr(text, "frozen 1");
    }
    return frozen;
}

static void describe_terminal(const struct rec_relay *relay, struct enter_call *call)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-+._";
    const char *term = getenv("TERM");
    bool usable =
        term && *term && strlen(term) < sizeof call->term && strspn(term, good) == strlen(term);
    strcpy(call->term, relay->terminal >= 0 && usable ? term : "dumb");
    memcpy(call->tty, relay->tty, sizeof call->tty);
    call->joined = relay->joined;
    call->raw = relay->raw;
    call->modes_known = relay->modes_known;
    call->modes = relay->modes;
    if (relay->terminal >= 0 && ioctl(relay->terminal, TIOCGWINSZ, &call->size))
        call->size = (struct winsize){0};
}

/* ---- berth-enter ---- */

/* The parent's signals stay blocked: berth-enter lets them in when it can pass them on. */
static void start_program(const struct rec_enter *e, int copy, int sock, int namespace, int cgroup)
{
    char *const env[] = {"LC_ALL=C", NULL};
    int high[4] = {sock, namespace, cgroup, copy};
    size_t n = 0;
    while (e->argv && e->argv[n])
        n++;
    char **argv = calloc(n + 3, sizeof *argv);
    if (!argv)
        _exit(126);
    argv[0] = "berth-enter";
    argv[1] = (char *)e->container;
    if (n)
        memcpy(argv + 2, e->argv, n * sizeof *argv);
    for (int i = 0; i < 4; i++)
        if (high[i] >= 0 && (high[i] = fcntl(high[i], F_DUPFD_CLOEXEC, 16)) < 0)
            _exit(126);
    /* Only messages go out, by descriptor 2. */
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, 15, 0);
    if (dup2(high[0], ENTER_SOCKET) < 0 || dup2(high[1], ENTER_NAMESPACE) < 0 ||
        (high[2] >= 0 && dup2(high[2], ENTER_CGROUP) < 0))
        _exit(126);
    syscall(SYS_close_range, 6, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    if (copy >= 0)
        fexecve(high[3], argv, env);
    else
        execve(e->program, argv, env);
    dprintf(2, "berth: cannot start '%s': %s\n", e->program, strerror(errno));
    _exit(126);
}

/* The outer ends. 0: berth-enter has ended; because of a signal that came for berth, if *by is not
 * 0; because the container is frozen, if *frozen. `leader` 0: nothing can freeze it. */
static size_t receive_ends(int sock, int signals, pid_t pid, pid_t leader,
                           int ends[ENTER_ENDS_MOST], int *by, bool *frozen)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(ENTER_ENDS_MOST * sizeof(int))];
    char byte;
    struct iovec v = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    for (;;) {
        struct pollfd p[2] = {{sock, POLLIN, 0}, {signals, POLLIN, 0}};
        int ready = poll(p, 2, leader ? FROZEN_MS : -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (!ready && is_frozen(leader)) {
            kill(pid, SIGKILL);
            *frozen = true;
            return 0;
        }
        if (!ready)
            continue;
        if (p[0].revents)
            break;
        struct signalfd_siginfo s;
        if (read(signals, &s, sizeof s) == sizeof s &&
            (s.ssi_signo == SIGINT || s.ssi_signo == SIGTERM || s.ssi_signo == SIGHUP ||
             s.ssi_signo == SIGQUIT)) {
            kill(pid, SIGKILL); /* it waits for a frozen container, for example */
            *by = (int)s.ssi_signo;
            return 0;
        }
    }
    if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) <= 0)
        return 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof *ends;
    memcpy(ends, CMSG_DATA(c), n * sizeof *ends);
    return n;
}

static int wait_status(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool send_variables(int sock, const char *variables, size_t len)
{
    for (size_t n = 0; n < len;) {
        size_t part = len - n < ENTER_ENV_PART ? len - n : ENTER_ENV_PART;
        ssize_t k = send(sock, variables + n, part, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        n += (size_t)k;
    }
    return true;
}

static int attend(const struct rec_enter *e, const struct enter_call *call,
                  const struct rec_relay *relay, const struct rec_leader *l, int cgroup,
                  const char *variables, int copy, int signals, int *status, struct rec_error *err)
{
    int ends[ENTER_ENDS_MOST], pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return rec_fail(err, errno, "cannot enter container '%s': %s", e->container,
                        strerror(errno));
    scoped(closep) int ours = pair[0];
    pid_t pid = fork();
    if (!pid)
        start_program(e, copy, pair[1], l->pid ? l->pidfd : l->netns, cgroup);
    int code = errno;
    close(pair[1]);
    if (pid < 0)
        return rec_fail(err, code, "cannot start a process: %s", strerror(code));
    size_t n = 0;
    int by = 0;
    bool frozen = false;
    if (send(ours, call, sizeof *call, MSG_NOSIGNAL) == sizeof *call &&
        send_variables(ours, variables, call->env_bytes))
        n = receive_ends(ours, signals, pid, l->pid, ends, &by, &frozen);
    int st;
    int r = 0;
    if (n)
        r = rec_relay_run(relay, ends, n, signals, pid, &st, err);
    else
        st = wait_status(pid);
    if (frozen) {
        r = rec_fail(err, EBUSY, "cannot enter container '%s': it is frozen (cgroup.freeze)",
                     e->container);
        rec_hint(err,
                 "a backup freezes it for a while; if none is at work, its own root did: berth "
                 "restart %s",
                 e->container);
    }
    if (r)
        return r;
    *status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + (by ? by : WTERMSIG(st));
    return 0;
}

static int enter(struct rec_run *run, const struct rec_enter *e, const struct rec_leader *l,
                 int *status, struct rec_error *err)
{
    static const int passed[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
                                 SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};
    struct enter_call call;
    struct rec_relay relay;
    int r = 0;
    memset(&call, 0, sizeof call);
    rec_relay_look(&relay);
    describe_terminal(&relay, &call);
    call.leader = l->pid != 0;
    scoped(closep) int copy = -1;
    scoped(closep) int cgroup = -1;
    char *variables = "";
    size_t len = 0;
    if (l->pid) {
        r = nspawn_env_read(run, e->container, &variables, &len, err);
        if (r)
            return r;
        if (len > ENTER_ENV_MOST)
            return rec_fail(err, E2BIG,
                            "cannot enter container '%s': its variables are larger than %d bytes",
                            e->container, ENTER_ENV_MOST);
        call.env_bytes = (uint32_t)len;
        r = read_limits(run, e->container, l, &call, err);
        if (r)
            return r;
        copy = rec_sealed_copy(e->program, err);
        if (copy < 0) {
            rec_hint(err, "install berth whole; berth-enter belongs to it and needs libseccomp");
            return copy;
        }
        cgroup = open_cgroup(run, l->pid);
    }
    sigset_t mask, before;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaddset(&mask, passed[i]);
    sigprocmask(SIG_BLOCK, &mask, &before);
    scoped(closep) int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0)
        r = rec_fail(err, errno, "cannot watch for signals: %s", strerror(errno));
    else
        r = attend(e, &call, &relay, l, cgroup, variables, copy, signals, status, err);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return r;
}

int rec_enter(struct rec_run *run, const struct rec_enter *e, int *status, struct rec_error *err)
{
    struct rec_leader leader = {.pidfd = -1, .netns = -1};
    int r = rec_leader_find(run, e->container, &leader, err);
    if (r)
        return r;
    r = enter(run, e, &leader, status, err);
    close_leader(&leader);
    return r;
}
