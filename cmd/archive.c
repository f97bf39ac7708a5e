/* A child that reads strangers' bytes has nothing but those bytes. */
#include "cmd/archive.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef BERTH_LIBEXEC
#define BERTH_LIBEXEC "/usr/libexec"
#endif

const char *cmd_archive_program(char out[1200])
{
    ssize_t n = readlink("/proc/self/exe", out, 1000);
    out[n > 0 ? n : 0] = 0;
    char *slash = strrchr(out, '/');
    strcpy(slash ? slash + 1 : out, "berth-archive");
    if (slash && !access(out, X_OK))
        return out;
    return strcpy(out, BERTH_LIBEXEC "/berth-archive");
}

static void child(const struct cmd_archive_call *c, int out, int err)
{
    static char *const env[] = {"LC_ALL=C", "PATH=/usr/bin:/bin:/run/current-system/sw/bin",
                                "HOME=/root", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR), high[CMD_ARCHIVE_FDS];
    for (int i = 0; i < CMD_ARCHIVE_FDS; i++) { /* out of each other's way first */
        int fd = i == 2                    ? err
                 : i == 1 && c->fds[1] < 0 ? out
                 : c->fds[i] < 0 && i < 3  ? null
                                           : c->fds[i];
        high[i] = fd < 0 ? -1 : fcntl(fd, F_DUPFD, 2 * CMD_ARCHIVE_FDS);
        if (fd >= 0 && high[i] < 0)
            _exit(126);
    }
    for (int i = 0; i < CMD_ARCHIVE_FDS; i++) {
        close(i);
        if (high[i] >= 0 && dup2(high[i], i) < 0)
            _exit(126);
    }
    syscall(SYS_close_range, CMD_ARCHIVE_FDS, ~0u, 0);
    execve(c->argv[0], (char *const *)c->argv, env);
    _exit(127);
}

static char *slurp(int fd, size_t *len)
{
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!text)
        return NULL;
    ssize_t k = pread(fd, text, (size_t)n, 0);
    text[k > 0 ? k : 0] = 0;
    *len = k > 0 ? (size_t)k : 0;
    return text;
}

static int verdict(int status, struct cmd_archive_call *c, struct rec_error *err)
{
    const char *name = strrchr(c->argv[0], '/') + 1;
    char *said = c->said;
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return rec_fail(err, ENOENT, "cannot run '%s'", c->argv[0]);
    size_t n = said ? strlen(said) : 0;
    while (n && said[n - 1] == '\n')
        said[--n] = 0;
    if (n) {
        for (char *p = said; *p; p++)
            *p = *p == '\n' ? ' ' : *p;
        return rec_fail(err, EIO, "%.480s", n > 480 ? said + n - 480 : said);
    }
    return WIFSIGNALED(status)
               ? rec_fail(err, EIO, "%s was ended by signal %d", name, WTERMSIG(status))
               : rec_fail(err, EIO, "%s ended with status %d", name, WEXITSTATUS(status));
}

static int until = -1;

void cmd_archive_until(int fd)
{
    until = fd;
}

/* Waits for the child; ends it where the caller no longer wants the answer. */
static int await_child(pid_t pid, int *status)
{
    int r = 0, pidfd = until < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd >= 0) {
        struct pollfd p[] = {{.fd = pidfd, .events = POLLIN}, {.fd = until, .events = POLLIN}};
        while (poll(p, 2, -1) < 0 && errno == EINTR)
            ;
        if (p[1].revents & POLLIN) {
            kill(pid, SIGKILL);
            r = -ECANCELED;
        }
        close(pidfd);
    }
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return r;
}

int cmd_archive_call(struct cmd_archive_call *c, struct rec_error *err)
{
    int out = memfd_create("answer", MFD_CLOEXEC), said = memfd_create("said", MFD_CLOEXEC),
        status = 0;
    c->answer = c->said = NULL;
    c->len = 0;
    pid_t pid = out < 0 || said < 0 ? -1 : fork();
    if (!pid)
        child(c, out, said);
    int r =
        pid < 0 ? rec_fail(err, errno, "cannot start '%s': %s", c->argv[0], strerror(errno)) : 0;
    if (!r && await_child(pid, &status))
        r = rec_fail(err, ECANCELED, "stopped before it was done");
    size_t n;
    if (!r) {
        c->answer = slurp(out, &c->len);
        c->said = slurp(said, &n);
        r = verdict(status, c, err);
    }
    if (out >= 0)
        close(out);
    if (said >= 0)
        close(said);
    return r;
}

/* "DIGEST TREE CLOSURE ENTRIES BYTES\n", then the head. */
static int parse(struct cmd_archive_call *c, struct cmd_archive_verdict *out, struct rec_error *err)
{
    unsigned long long entries, bytes;
    int tree, closure;
    char *line = c->answer ? strchr(c->answer, '\n') : NULL;
    if (!line || sscanf(c->answer, "%64[0-9a-f] %d %d %llu %llu", out->digest, &tree, &closure,
                        &entries, &bytes) != 5)
        return rec_fail(err, EIO, "the reader of the archive gave no sound answer");
    out->tree = tree;
    out->closure = closure;
    out->entries = entries;
    out->bytes = bytes;
    out->text = c->answer;
    out->head = line + 1;
    c->answer = NULL;
    return 0;
}

static int read_archive(const char *const *argv, int file, int dir, int closure,
                        struct cmd_archive_verdict *out, struct rec_error *err)
{
    struct cmd_archive_call c = {.argv = argv, .fds = {file, -1, -1, dir, -1, closure}};
    *out = (struct cmd_archive_verdict){0};
    int r = lseek(file, 0, SEEK_SET) < 0
                ? rec_fail(err, errno, "a backup is read twice, and cannot come through a pipe")
                : 0;
    if (!r)
        r = cmd_archive_call(&c, err);
    if (!r)
        r = parse(&c, out, err);
    free(c.answer);
    free(c.said);
    return r;
}

int cmd_archive_verify(int file, uint64_t most, struct cmd_archive_verdict *out,
                       struct rec_error *err)
{
    char path[1200], bytes[24];
    const char *argv[] = {cmd_archive_program(path), "verify", bytes, NULL};
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)most);
    return read_archive(argv, file, -1, -1, out, err);
}

int cmd_archive_extract(int file, int dir, int closure, uint64_t most,
                        struct cmd_archive_verdict *out, struct rec_error *err)
{
    char path[1200], bytes[24];
    const char *argv[] = {cmd_archive_program(path), "extract", bytes,
                          closure < 0 ? NULL : "closure", NULL};
    snprintf(bytes, sizeof bytes, "%llu", (unsigned long long)most);
    return read_archive(argv, file, dir, closure, out, err);
}

int cmd_archive_head(int file, char **out, struct rec_error *err)
{
    char path[1200];
    const char *argv[] = {cmd_archive_program(path), "head", NULL};
    struct cmd_archive_call c = {.argv = argv, .fds = {file, -1, -1, -1, -1, -1}};
    int r = lseek(file, 0, SEEK_SET) < 0
                ? rec_fail(err, errno, "a backup is read twice, and cannot come through a pipe")
                : 0;
    if (!r)
        r = cmd_archive_call(&c, err);
    free(c.said);
    if (r)
        free(c.answer);
    else
        *out = c.answer;
    return r;
}
