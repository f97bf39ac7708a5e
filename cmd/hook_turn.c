/* Applies take turns: one runs, one waits, and whoever comes while one waits is served by that one.
 * What git put into the environment is not handed on. */
#include "cmd/hook.h"
#include "reconcile/files.h"
#include "reconcile/guard.h"
#include "reconcile/record.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

long long cmd_hook_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* A lock file of root's; waits unless `now`. -1 with errno. */
static int lock(const char *name, bool now)
{
    char path[200];
    struct rec_error err;
    if (rec_dir_make("/run/berth", 0700, &err)) {
        errno = err.code;
        return -1;
    }
    snprintf(path, sizeof path, "/run/berth/%s", name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | (now ? LOCK_NB : 0))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* What is applied now, the branch's tip, and what its commits since the last apply let through.
 * Without a commit the apply itself has to say why it cannot be read. */
static uint32_t look_up(const struct cmd *c, const struct cmd_hook_target *t, char commit[65])
{
    char rev[600];
    int n = cmd_git_split(t->spec);
    *commit = 0;
    if (n <= 0)
        return 0;
    snprintf(rev, sizeof rev, "%.*s", n, t->spec);
    struct cmd_git_ask ask = {.git = t->git,
                              .owner = t->owner,
                              .rev = rev,
                              .path = t->spec + n + 1,
                              .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
    return cmd_allowed_since_apply(&ask, commit);
}

static void run_apply(const struct cmd_hook_target *t, const char *commit, uint32_t allow)
{
    char deny[64];
    static char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin",
                                "LC_ALL=C.UTF-8", NULL};
    const char *argv[24] = {"berth", "apply", "--color", "never"};
    size_t n = 4;
    if (t->git) {
        argv[n++] = "--git";
        argv[n++] = t->git;
    }
    if (t->owner) {
        argv[n++] = "--git-owner";
        argv[n++] = t->owner;
    }
    if (t->host) {
        argv[n++] = "--host";
        argv[n++] = t->host;
    }
    if (t->metrics) {
        argv[n++] = "--metrics";
        argv[n++] = t->metrics;
    }
    cmd_deny_format(t->deny & ~allow, deny);
    if (*deny) {
        argv[n++] = "--deny";
        argv[n++] = deny;
    }
    if (allow & 1u << REC_DENY_DELETE) {
        argv[n++] = "--allow-deletes";
        argv[n++] = "1000000";
    }
    if (*commit) {
        argv[n++] = "--at";
        argv[n++] = commit;
    }
    argv[n++] = "--";
    argv[n++] = t->spec;
    execve("/proc/self/exe", (char *const *)argv, env);
    _exit(CMD_FAILED);
}

/* Who has the turn, for those that wait: COMMIT PID SINCE, in the lock's file. */
static void sign(int fd, const char *commit)
{
    char line[120];
    int n = snprintf(line, sizeof line, "%.64s %d %lld\n", *commit ? commit : "-", (int)getpid(),
                     (long long)time(NULL));
    if (ftruncate(fd, 0) || pwrite(fd, line, (size_t)n, 0) != n)
        return; /* a name in a message is lost, not the turn */
}

static void tell_who(void)
{
    char line[120] = "", commit[65];
    int fd = open("/run/berth/hook.running", O_RDONLY | O_CLOEXEC | O_NOFOLLOW), pid;
    long long since;
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
    if (fd >= 0)
        close(fd);
    if (n > 0 && sscanf(line, "%64s %d %lld", commit, &pid, &since) == 3 && !kill(pid, 0))
        dprintf(1, "berth: waiting for the apply of %.7s (process %d, for %lld s)\n", commit, pid,
                (long long)time(NULL) - since);
    else
        dprintf(1, "berth: waiting for an apply that is at work\n");
}

/* The child has the place of who waits, then the turn, and keeps it until the apply ends,
 * whoever has stopped listening by then. */
static void take_turn(const struct cmd *c, const struct cmd_hook_target *t, int waiting, int out,
                      struct cmd_hook_taken *taken)
{
    setsid();
    int null = open("/dev/null", O_RDONLY), running;
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || dup2(waiting, 3) < 0 ||
        chdir("/"))
        _exit(CMD_FAILED);
    syscall(SYS_close_range, 4, ~0u, 0);
    if ((running = lock("hook.running", true)) < 0 && errno == EWOULDBLOCK) {
        tell_who();
        running = lock("hook.running", false);
    }
    if (running < 0) {
        int code = errno;
        dprintf(2, "berth: cannot lock /run/berth: %s\n", strerror(code));
        _exit(cmd_exit_of_errno(code));
    }
    taken->begun = true;
    close(3);
    /* Whoever asks from now on finds that nobody waits, and so is not counted on to be served
     * here. */
    cmd_hook_asked(t->git, taken->asked);
    uint32_t allow = look_up(c, t, taken->applied);
    sign(running, taken->applied);
    fcntl(running, F_SETFD, 0);
    run_apply(t, taken->applied, allow);
}

/* What is said until the turn comes goes to `o` at once, the end of what the apply says when it
 * ends; after `seconds` it goes on alone. */
static enum cmd_exit stream(struct cmd_out *o, pid_t pid, int fd, int seconds,
                            const struct cmd_hook_taken *taken)
{
    static const char more[] = "`berth status` on the host tells all";
    char buffer[4096];
    struct cmd_out said = {.fd = -1};
    long long end = cmd_hook_now() + seconds;
    int status = 0;
    bool late = false;
    for (;;) {
        long long left = seconds ? end - cmd_hook_now() : 1;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, seconds ? (int)left * 1000 : -1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if ((late = ready <= 0))
            break;
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        cmd_putn(taken->begun && seconds ? &said : o, buffer, (size_t)n);
        cmd_out_flush(o);
    }
    close(fd);
    cmd_hook_end(o, &said, more);
    cmd_out_done(&said);
    if (late && taken->begun)
        cmd_printf(
            o, "berth: still at work after %d s; `berth status` on the host tells how it ended\n",
            seconds);
    else if (late)
        cmd_printf(o,
                   "berth: still waiting after %d s; it is applied in its turn, and `berth status` "
                   "on the host tells how it ended\n",
                   seconds);
    while (!late && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return late ? CMD_OK : WIFEXITED(status) ? (enum cmd_exit)WEXITSTATUS(status) : CMD_FAILED;
}

bool cmd_hook_asked(const char *git, char out[65])
{
    char text[80] = "";
    struct owned_trust trust = {.n = 0};
    struct owned_dir d;
    *out = 0;
    owned_trust_add(&trust, 0);
    owned_trust_add(&trust, geteuid());
    if (!git || owned_open(git, &trust, &d))
        return false;
    ssize_t n = owned_read(&d, CMD_LOOK_FILE, text, sizeof text - 1);
    owned_close(&d);
    if (n <= 0)
        return false;
    text[n] = 0;
    text[strspn(text, "0123456789abcdef")] = 0;
    size_t len = strlen(text);
    strcpy(out, len == 40 || len == 64 ? text : "");
    return *out != 0;
}

enum cmd_exit cmd_hook_turn(struct cmd *c, const struct cmd_hook_target *t, int seconds,
                            struct cmd_hook_taken *out)
{
    struct rec_error err;
    int pipe[2], waiting = lock("hook.waiting", true), code = waiting < 0 ? errno : 0;
    *out = (struct cmd_hook_taken){0};
    if (code == EWOULDBLOCK) {
        cmd_hook_asked(t->git, out->asked);
        cmd_put(&c->out, "berth: an apply is waiting already and will take this commit along\n");
        return CMD_OK;
    }
    if (code) {
        rec_fail(&err, code, "cannot lock /run/berth: %s", strerror(code));
        return cmd_fail(c, NULL, cmd_exit_of_errno(code), &err);
    }
    struct cmd_hook_taken *taken =
        mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool piped = taken != MAP_FAILED && !pipe2(pipe, O_CLOEXEC);
    pid_t pid = piped ? fork() : -1;
    if (!pid) {
        take_turn(c, t, waiting, pipe[1], taken);
        _exit(CMD_FAILED);
    }
    code = errno;
    close(waiting);
    if (piped)
        close(pipe[1]);
    enum cmd_exit end = CMD_FAILED;
    if (pid > 0) {
        end = stream(&c->out, pid, pipe[0], seconds, taken);
        *out = *taken;
    } else {
        rec_fail(&err, code, "cannot start an apply: %s", strerror(code));
        cmd_tell(c, &err);
        if (piped)
            close(pipe[0]);
    }
    if (taken != MAP_FAILED)
        munmap(taken, sizeof *taken);
    return end;
}
