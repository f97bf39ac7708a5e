/* A pid is a number that comes again; with its start time it is a process. Signals go through a
 * pidfd that was opened before the start time was compared. */
#include "reconcile/proc.h"
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum { MOST_ENV = 8, STOP_MS = 5000 };

static struct rlimit files_before;
static bool files_raised;

int rec_proc_files(size_t need, size_t useful, struct rec_error *err)
{
    struct rlimit now, more;
    if (getrlimit(RLIMIT_NOFILE, &now) || now.rlim_cur >= useful)
        return 0;
    more = (struct rlimit){.rlim_cur = useful, .rlim_max = now.rlim_max};
    if (more.rlim_cur > now.rlim_max)
        more.rlim_cur = now.rlim_max;
    bool raised = more.rlim_cur > now.rlim_cur && !setrlimit(RLIMIT_NOFILE, &more);
    rlim_t limit = raised ? more.rlim_cur : now.rlim_cur;
    if (limit < need) {
        if (raised)
            setrlimit(RLIMIT_NOFILE, &now);
        rec_fail(err, EMFILE,
                 "cannot begin: this process may open %llu files, and %zu may be needed",
                 (unsigned long long)limit, need);
        rec_hint(err, "ulimit -n 1024");
        return -EMFILE;
    }
    if (raised && !files_raised)
        files_before = now;
    files_raised |= raised;
    return 0;
}

void rec_proc_files_back(void)
{
    if (files_raised)
        setrlimit(RLIMIT_NOFILE, &files_before);
    files_raised = false;
}

static void child(const char *const *argv, const char *const *more, int out, int err)
{
    const char *env[MOST_ENV + 3] = {"LC_ALL=C", "PATH=" REC_PROC_PATH};
    for (size_t i = 0; more && more[i] && i < MOST_ENV; i++)
        env[2 + i] = more[i];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    setpgid(0, 0);
    umask(022);
    rec_proc_files_back();
    int null = open("/dev/null", O_RDONLY);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    execve(argv[0], (char *const *)argv, (char *const *)env);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* One stream of a helper's: the first `most` bytes of it, or the last. */
struct stream {
    int fd; /* -1: it has ended, or there is none */
    char *text;
    size_t n, room, most;
    bool last;
};

static bool take(struct stream *s)
{
    char some[16384];
    ssize_t got = read(s->fd, some, sizeof some);
    if (got < 0 && errno == EINTR)
        return true;
    if (got <= 0) {
        close(s->fd);
        s->fd = -1;
        return true;
    }
    size_t k = (size_t)got;
    if (s->n + k > s->most && s->last && k < s->most) {
        size_t keep = s->most / 2 < s->most - k ? s->most / 2 : s->most - k;
        keep = keep < s->n ? keep : s->n;
        memmove(s->text, s->text + s->n - keep, keep);
        s->n = keep;
    }
    k = k < s->most - s->n ? k : s->most - s->n;
    if (s->n + k + 1 > s->room) {
        size_t room = 2 * (s->n + k + 1);
        char *more = realloc(s->text, room);
        if (!more)
            return false;
        s->text = more;
        s->room = room;
    }
    memcpy(s->text + s->n, some, k);
    s->n += k;
    return true;
}

/* Until it has ended, whoever else may still hold its pipes. */
static int attend(pid_t pid, const struct rec_proc_call *c, struct stream *s, size_t n)
{
    int end = (int)syscall(SYS_pidfd_open, pid, 0), stop = c->stop, r = 0;
    long deadline = now_ms() + c->deadline_ms;
    bool ended = false, stopped = false;
    for (;;) {
        struct pollfd p[4] = {{.fd = ended ? -1 : end, .events = POLLIN},
                              {.fd = ended ? -1 : stop, .events = POLLIN},
                              {.fd = -1},
                              {.fd = -1}};
        bool open = false;
        for (size_t i = 0; i < n; i++) {
            p[2 + i] = (struct pollfd){.fd = s[i].fd, .events = POLLIN};
            open |= s[i].fd >= 0;
        }
        if (ended && !open)
            break;
        long left = deadline - now_ms();
        int k = poll(p, 2 + n, ended || left < 0 ? 0 : (int)left);
        if (k < 0 && errno == EINTR && left > 0)
            continue;
        if (k <= 0) {
            r = ended ? 0 : -ETIMEDOUT;
            break;
        }
        ended |= p[0].revents != 0;
        if (p[1].revents) { /* asked to first: what it has started is its own to end */
            kill(-pid, SIGTERM);
            stopped = true;
            stop = -1;
            deadline = now_ms() + STOP_MS;
        }
        for (size_t i = 0; i < n && !r; i++)
            if (p[2 + i].revents && !take(&s[i]))
                r = -ENOMEM;
        if (r)
            break;
    }
    if (end >= 0)
        close(end);
    if (r || stopped)
        kill(-pid, SIGKILL);
    return stopped ? -ECANCELED : r;
}

static int run(const struct rec_proc_call *c, struct stream *s, size_t n, int *status,
               struct rec_error *err)
{
    int ends[2] = {-1, -1}, st;
    for (size_t i = 0; i < n; i++) {
        int both[2];
        if (pipe2(both, O_CLOEXEC)) {
            int code = errno;
            for (size_t k = 0; k < i; k++) {
                close(s[k].fd);
                close(ends[k]);
            }
            return rec_fail(err, code, "cannot run '%s': %s", c->argv[0], strerror(code));
        }
        s[i].fd = both[0];
        ends[i] = both[1];
    }
    pid_t pid = fork();
    if (!pid)
        child(c->argv, c->env, ends[0], ends[n - 1]);
    int code = errno, r = 0;
    for (size_t i = 0; i < n; i++)
        close(ends[i]);
    if (pid > 0) {
        setpgid(pid, pid); /* as it does itself: whoever comes first */
        r = attend(pid, c, s, n);
    }
    for (size_t i = 0; i < n; i++)
        if (s[i].fd >= 0)
            close(s[i].fd);
    if (pid < 0)
        return rec_fail(err, code, "cannot run '%s': %s", c->argv[0], strerror(code));
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    if (r == -ECANCELED)
        return rec_fail(err, ECANCELED, "'%s' was stopped", c->argv[0]);
    if (r == -ENOMEM)
        return rec_fail(err, ENOMEM, "out of memory");
    if (r)
        return rec_fail(err, ETIMEDOUT, "'%s' did not end within %d s, and was killed", c->argv[0],
                        c->deadline_ms / 1000);
    *status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
    return 0;
}

static char *keep(struct spec_arena *a, struct stream *s)
{
    char *text = spec_arena_strndup(a, s->text ? s->text : "", s->n);
    free(s->text);
    return text;
}

int rec_proc_run(struct spec_arena *a, const char *const *argv, int deadline_ms, int *status,
                 char **output, struct rec_error *err)
{
    struct rec_proc_call c = {.argv = argv, .deadline_ms = deadline_ms, .stop = -1};
    struct stream s = {.fd = -1, .most = 65536};
    int r = run(&c, &s, 1, status, err);
    char *text = keep(a, &s);
    if (!r && !text)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!r && output)
        *output = text;
    return r;
}

int rec_proc_call(struct spec_arena *a, const struct rec_proc_call *c, struct rec_proc_said *said,
                  struct rec_error *err)
{
    struct stream s[2] = {{.fd = -1, .most = 1 << 20}, {.fd = -1, .most = 65536, .last = true}};
    int status, r = run(c, s, 2, &status, err);
    char *out = keep(a, &s[0]), *talk = keep(a, &s[1]);
    if (!r && (!out || !talk))
        return rec_fail(err, ENOMEM, "out of memory");
    if (!r)
        *said = (struct rec_proc_said){status, out, talk};
    return r;
}

/* Fields of /proc/PID/stat from the third on: the second may hold anything, so count from the
 * last ')'. */
static bool stat_fields(pid_t pid, char *state, int *parent, unsigned long long *started)
{
    char path[48], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    line[n] = 0;
    const char *p = strrchr(line, ')');
    return p &&
           sscanf(p + 1,
                  " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  state, parent, started) == 3;
}

unsigned long long rec_proc_started(pid_t pid)
{
    char state;
    int parent;
    unsigned long long started;
    return stat_fields(pid, &state, &parent, &started) && state != 'Z' && state != 'X' ? started
                                                                                       : 0;
}

pid_t rec_proc_parent(pid_t pid)
{
    char state;
    int parent;
    unsigned long long started;
    return stat_fields(pid, &state, &parent, &started) ? parent : 0;
}

pid_t rec_proc_child(pid_t pid)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return (pid_t)strtol(text, NULL, 10);
}

char *rec_proc_env(struct spec_arena *a, pid_t pid, const char *name)
{
    char path[48];
    enum { MOST = 131072 };
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return NULL;
    char *text = malloc(MOST), *found = NULL;
    size_t n = 0, k = strlen(name);
    for (ssize_t r; text && n < MOST && (r = read(fd, text + n, MOST - n)) > 0;)
        n += (size_t)r;
    close(fd);
    for (size_t i = 0; text && i < n && !found; i += strnlen(text + i, n - i) + 1)
        if (n - i > k && !strncmp(text + i, name, k) && text[i + k] == '=')
            found =
                spec_arena_strndup(a, text + i + k + 1, strnlen(text + i + k + 1, n - i - k - 1));
    free(text);
    return found;
}

bool rec_proc_lost_etc(struct spec_arena *a, pid_t pid)
{
    enum { MOUNTS_MOST = 4 << 20 };
    static const char gone[] = "//deleted";
    char *text, *save = NULL, root[PATH_MAX], point[PATH_MAX];
    size_t len;
    if (rec_file_read(a, spec_arena_printf(a, "/proc/%d/mountinfo", (int)pid), MOUNTS_MOST, &text,
                      &len, NULL))
        return false;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        size_t n = sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) == 2 ? strlen(root) : 0;
        if (n > sizeof gone - 1 && !strcmp(root + n - sizeof gone + 1, gone) &&
            !strncmp(point, "/etc", 4) && (!point[4] || point[4] == '/'))
            return true;
    }
    return false;
}

ino_t rec_proc_netns(pid_t pid)
{
    char path[48];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    return pid > 0 && !stat(path, &st) ? st.st_ino : 0;
}

pid_t rec_proc_inside(pid_t pid)
{
    char path[48], text[4096], *p;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    p = strstr(text, "\nNSpid:");
    if (!p)
        return 0;
    p += 7;
    p[strcspn(p, "\n")] = 0;
    const char *last = strrchr(p, '\t');
    return last && last > p ? (pid_t)strtol(last, NULL, 10) : 0; /* one number a level */
}

bool rec_proc_waits(pid_t pid)
{
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *p = strrchr(text, ')');
    return p && !strncmp(p, ") S", 3);
}

bool rec_proc_runs(pid_t pid, const char *program)
{
    char path[48];
    struct stat a, b;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return pid > 0 && program && !stat(path, &a) && !stat(program, &b) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* A set of signals from the process's status; `name`: "\nSigCgt:". false: no such process. */
static bool read_signals(pid_t pid, const char *name, unsigned long long *out)
{
    char path[48], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *p = strstr(text, name);
    if (p)
        *out = strtoull(p + strlen(name), NULL, 16);
    return p != NULL;
}

bool rec_proc_has_pending(pid_t pid, int signal)
{
    unsigned long long own = 0, shared = 0;
    bool known = read_signals(pid, "\nSigPnd:", &own) && read_signals(pid, "\nShdPnd:", &shared);
    return known && (own | shared) >> (signal - 1) & 1;
}

bool rec_proc_dies_of(pid_t pid, int signal)
{
    static const char *const masks[] = {"\nSigBlk:", "\nSigIgn:", "\nSigCgt:"};
    char path[48], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = pid > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        const char *p = strstr(text, masks[i]);
        if (!p || strtoull(p + strlen(masks[i]), NULL, 16) >> (signal - 1) & 1)
            return false;
    }
    return true;
}

bool rec_proc_runs_any(pid_t pid)
{
    char path[48];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return pid > 0 && !stat(path, &st);
}

const char *rec_proc_boot(void)
{
    static char boot[40];
    int fd = *boot ? -1 : open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, boot, sizeof boot - 1);
        boot[n > 0 ? n : 0] = 0;
        boot[strcspn(boot, "\n")] = 0;
        close(fd);
    }
    return *boot ? boot : "unknown";
}

int rec_proc_each_in_netns(ino_t netns, void (*each)(void *arg, pid_t pid), void *arg)
{
    struct stat own, st;
    DIR *d = netns ? opendir("/proc") : NULL;
    if (!d || stat("/proc/self/ns/pid", &own)) {
        if (d)
            closedir(d);
        return netns ? -errno : 0;
    }
    for (struct dirent *e; (e = readdir(d));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        char path[48];
        if (pid <= 0 || rec_proc_netns(pid) != netns)
            continue;
        snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)pid);
        if (!stat(path, &st) && st.st_ino != own.st_ino)
            each(arg, pid);
    }
    closedir(d);
    return 0;
}

static int pidfd(pid_t pid, unsigned long long started)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0 && rec_proc_started(pid) != started) {
        close(fd);
        return -1;
    }
    return fd;
}

bool rec_proc_wait(pid_t pid, unsigned long long started, int ms)
{
    long deadline = now_ms() + ms;
    int fd = pid > 0 && started ? pidfd(pid, started) : -1;
    bool ended = fd < 0;
    while (!ended) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        long left = deadline - now_ms();
        int k = poll(&p, 1, left > 0 ? (int)left : 0);
        if (k < 0 && errno == EINTR && left > 0)
            continue;
        ended = k > 0;
        break;
    }
    if (fd >= 0)
        close(fd);
    return ended;
}

void rec_proc_kill(pid_t pid, unsigned long long started, int signal)
{
    int fd = pid > 0 && started ? pidfd(pid, started) : -1;
    if (fd < 0)
        return;
    syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0);
    close(fd);
}
