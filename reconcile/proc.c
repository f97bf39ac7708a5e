/* A pid is a number that comes again; with its start time it is a process. Signals go through a pidfd that was opened before the start
 * time was compared. */
#include "reconcile/proc.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum { MOST_ENV = 8 };

static void child(const char *const *argv, const char *const *more, int out)
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
    int null = open("/dev/null", O_RDONLY);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    execve(argv[0], (char *const *)argv, (char *const *)env);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int rec_proc_run(struct spec_arena *a, const char *const *argv, int deadline_ms, int *status, char **output, struct rec_error *err)
{
    return rec_proc_run_env(a, argv, NULL, deadline_ms, status, output, err);
}

int rec_proc_run_env(struct spec_arena *a, const char *const *argv, const char *const *env, int deadline_ms, int *status, char **output,
                     struct rec_error *err)
{
    enum { MOST = 65536 };
    int pipe[2], st, r = 0;
    size_t n = 0;
    long deadline = now_ms() + deadline_ms;
    char *text = spec_arena_alloc(a, MOST + 1);
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    if (pipe2(pipe, O_CLOEXEC))
        return rec_fail(err, errno, "cannot run '%s': %s", argv[0], strerror(errno));
    pid_t pid = fork();
    if (!pid)
        child(argv, env, pipe[1]);
    close(pipe[1]);
    if (pid < 0) {
        close(pipe[0]);
        return rec_fail(err, errno, "cannot run '%s': %s", argv[0], strerror(errno));
    }
    /* Its end is the end: whoever else still holds the pipe is not waited for. */
    int end = (int)syscall(SYS_pidfd_open, pid, 0);
    for (bool ended = false;;) {
        struct pollfd p[2] = {{.fd = pipe[0], .events = POLLIN}, {.fd = ended ? -1 : end, .events = POLLIN}};
        long left = deadline - now_ms();
        int k = poll(p, 2, ended || left < 0 ? 0 : (int)left);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            r = ended ? 0 : -ETIMEDOUT;
            break;
        }
        ended |= p[1].revents != 0;
        if (!p[0].revents)
            continue;
        char scrap[4096];
        ssize_t got = n < MOST ? read(pipe[0], text + n, MOST - n) : read(pipe[0], scrap, sizeof scrap);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {     /* all has been said */
            struct pollfd q = {.fd = end, .events = POLLIN};
            left = deadline - now_ms();
            r = ended || poll(&q, 1, left > 0 ? (int)left : 0) > 0 ? 0 : -ETIMEDOUT;
            break;
        }
        n += n < MOST ? (size_t)got : 0;
    }
    close(pipe[0]);
    if (end >= 0)
        close(end);
    if (r)
        kill(-pid, SIGKILL);
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    if (r)
        return rec_fail(err, ETIMEDOUT, "'%s' did not end within %d s, and was killed", argv[0], deadline_ms / 1000);
    *status = WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
    if (output)
        *output = text;
    return 0;
}

/* Fields of /proc/PID/stat from the third on: the second may hold anything, so count from the last ')'. */
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
    return p && sscanf(p + 1, " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", state, parent,
                       started) == 3;
}

unsigned long long rec_proc_started(pid_t pid)
{
    char state;
    int parent;
    unsigned long long started;
    return stat_fields(pid, &state, &parent, &started) && state != 'Z' && state != 'X' ? started : 0;
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
            found = spec_arena_strndup(a, text + i + k + 1, strnlen(text + i + k + 1, n - i - k - 1));
    free(text);
    return found;
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
    return last && last > p ? (pid_t)strtol(last, NULL, 10) : 0;     /* one number a level */
}

bool rec_proc_runs(pid_t pid, const char *program)
{
    char path[48];
    struct stat a, b;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return pid > 0 && program && !stat(path, &a) && !stat(program, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
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
        if (k < 0 && errno == EINTR)
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
