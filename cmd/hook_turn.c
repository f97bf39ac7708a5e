/* Applies take turns: one runs, one waits, and whoever comes while one waits is served by that one. What git put into the environment is
 * not handed on. */
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

/* Deletions that commits since the last apply let through. */
static bool deletes_allowed(const struct cmd *c, const struct cmd_hook_target *t)
{
    struct rec_options o = {.allow_deletes = -1};
    struct rec_run *run = NULL;
    struct rec_applied last = {0};
    struct rec_error err;
    struct cmd_git g;
    char *text = NULL, rev[600], bad[32];
    size_t len;
    uint32_t allow = 0;
    int n = cmd_git_split(t->spec);
    if (n <= 0 || rec_open(&run, &o, &err))
        return false;
    rec_applied_read(run, &last, &err);
    snprintf(rev, sizeof rev, "%.*s", n, t->spec);
    struct cmd_git_ask ask = {.git = t->git, .owner = t->owner, .rev = rev, .path = t->spec + n + 1, .since = last.commit ? last.commit : "",
                              .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
    if (cmd_git_read(&ask, &text, &len, &g, &err) == CMD_OK)
        for (char *save = NULL, *w = strtok_r(g.allow, ", ", &save); w; w = strtok_r(NULL, ", ", &save))
            cmd_deny_parse(w, &allow, bad);
    free(text);
    rec_close(run);
    return allow & 1u << REC_DENY_DELETE;
}

static void run_apply(const struct cmd_hook_target *t, bool deletes, int out)
{
    static char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin", "LC_ALL=C.UTF-8", NULL};
    const char *argv[20] = {"berth", "apply", "--color", "never"};
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
    if (deletes) {
        argv[n++] = "--allow-deletes";
        argv[n++] = "1000000";
    }
    argv[n++] = "--";
    argv[n++] = t->spec;
    setsid();
    int null = open("/dev/null", O_RDONLY);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir("/"))
        _exit(CMD_FAILED);
    execve("/proc/self/exe", (char *const *)argv, env);
    _exit(CMD_FAILED);
}

/* Everything the apply says goes to `o` at once, for `seconds`; then it goes on alone. */
static enum cmd_exit stream(struct cmd_out *o, pid_t pid, int fd, int seconds)
{
    char buffer[4096];
    long long end = cmd_hook_now() + seconds;
    int status = 0;
    for (;;) {
        long long left = end - cmd_hook_now();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)left * 1000) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            cmd_printf(o, "berth: still at work after %d s; `berth status` on the host tells how it ended\n", seconds);
            cmd_out_flush(o);
            close(fd);
            return CMD_OK;
        }
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n <= 0)
            break;
        cmd_putn(o, buffer, (size_t)n);
        cmd_out_flush(o);
    }
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? (enum cmd_exit)WEXITSTATUS(status) : CMD_FAILED;
}

bool cmd_hook_asked(const char *git, char out[65])
{
    char path[PATH_MAX + 32], text[80] = "";
    *out = 0;
    snprintf(path, sizeof path, "%s/" CMD_LOOK_FILE, git);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[strspn(text, "0123456789abcdef")] = 0;
    size_t len = strlen(text);
    strcpy(out, len == 40 || len == 64 ? text : "");
    return *out != 0;
}

enum cmd_exit cmd_hook_turn(struct cmd *c, const struct cmd_hook_target *t, int seconds, char asked[65])
{
    struct rec_error err;
    int waiting = lock("hook.waiting", true);
    if (asked)
        cmd_hook_asked(t->git, asked);
    if (waiting < 0 && errno == EWOULDBLOCK) {
        cmd_put(&c->out, "berth: an apply is waiting already and will take this commit along\n");
        return CMD_OK;
    }
    int running = waiting < 0 ? -1 : lock("hook.running", false);
    if (running < 0) {
        rec_fail(&err, errno, "cannot lock /run/berth: %s", strerror(errno));
        return cmd_fail(c, NULL, cmd_exit_of_errno(err.code), &err);
    }
    close(waiting);
    if (asked)
        cmd_hook_asked(t->git, asked); /* a later one may have come meanwhile */
    int pipe[2];
    bool deletes = deletes_allowed(c, t);
    if (pipe2(pipe, O_CLOEXEC)) {
        close(running);
        return CMD_FAILED;
    }
    /* The child keeps the turn until it ends, whoever has stopped listening by then. */
    fcntl(running, F_SETFD, 0);
    pid_t pid = fork();
    if (!pid)
        run_apply(t, deletes, pipe[1]);
    close(pipe[1]);
    close(running);
    if (pid < 0) {
        close(pipe[0]);
        return CMD_FAILED;
    }
    return stream(&c->out, pid, pipe[0], seconds);
}
