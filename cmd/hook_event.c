/* What hooks do. Before a push is accepted, or a commit made: read, plan, give a verdict; nothing is applied and nothing written. After:
 * apply, as root, or say "look now" to a unit of root's. What git put into the environment is not handed on. */
#include "cmd/hook.h"
#include "cmd/render/render.h"
#include "reconcile/files.h"
#include "reconcile/guard.h"
#include "reconcile/record.h"
#include <dirent.h>
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SCREEN = 24, MOST_INPUT = 4 << 20, OUTCOME_SECONDS = 60, OUTCOMES_KEPT = 16, OUTCOME_BYTES = 32768, DELETES_ALLOWED = 1000000 };

static bool is_zero(const char *id)
{
    return strspn(id, "0") == strlen(id);
}

static const char *path_of(const struct cmd *c)
{
    return c->args.spec ? c->args.spec : "berth.yaml";
}

static const char *branch_of(const struct cmd *c)
{
    return c->args.branch ? c->args.branch : "main";
}

static struct cmd_git_ask ask_of(const struct cmd *c, const char *rev)
{
    const char *git = c->args.git ? c->args.git : getenv("GIT_DIR");
    return (struct cmd_git_ask){.git = git, .owner = c->args.git_owner, .rev = rev, .index = getenv("GIT_INDEX_FILE"), .path = path_of(c),
                                .objects = getenv("GIT_QUARANTINE_PATH"), .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
}

/* What goes to whoever pushes: never more than a screen. */
static void screenful(struct cmd_out *to, const struct cmd_out *from, const char *more)
{
    const char *p = from->text ? from->text : "", *end = p + from->n;
    size_t lines = 0, left = 0;
    for (const char *q = p; q < end; q++)
        left += *q == '\n';
    while (p < end && lines < SCREEN) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        next = next ? next + 1 : end;
        cmd_putn(to, p, (size_t)(next - p));
        p = next;
        lines++;
    }
    if (p < end) {
        cmd_printf(to, "… and %zu more lines; all of it: ", left - lines);
        cmd_safe(to, more);
        cmd_put(to, "\n");
    }
}

/* Plan one change of the spec and print it. `branch`: this is the branch that is applied, so denials count. */
static enum cmd_exit look_at(struct cmd *c, const char *ref, const char *old, const char *new, bool branch)
{
    struct cmd one = {.args = c->args};
    struct rec_error err = {0};
    struct cmd_git_ask from = ask_of(c, old), to = ask_of(c, new);
    struct cmd_out text = {.fd = -1, .utf8 = c->out.utf8};
    char title[600], range[200], bad[32];
    uint32_t deny = 0, allow = 0;
    cmd_out_init(&one.out, -1, CMD_COLOR_NEVER);
    snprintf(title, sizeof title, "%.400s: %.7s..%.7s", ref, old ? old : "nothing", new ? new : "staged");
    if (old)
        snprintf(range, sizeof range, "berth plan --range %.7s..%.7s", old, new ? new : "");
    else
        snprintf(range, sizeof range, "berth plan %.7s:%.150s", new ? new : "", path_of(c));
    struct cmd_range r = {.title = title};
    if (branch && c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(&err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    to.since = new ? old ? old : "" : NULL;
    enum cmd_exit code = cmd_range_read(&one, old ? &from : NULL, &to, 0, &r, &err);
    /* What the commits themselves let through is known once they are read: then each host is judged. */
    if (code == CMD_OK) {
        const char *p = r.to.allow;
        while (*p) {
            char word[32];
            size_t n = strcspn(p, ", ");
            snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), p);
            cmd_deny_parse(word, &allow, bad);
            p += n + (p[n] != 0);
        }
        for (size_t i = 0; i < r.n; i++) {
            if (!r.hosts[i].run)
                continue;
            r.hosts[i].run->opt.deny = deny & ~allow;
            r.hosts[i].run->opt.allow_deletes = allow & 1u << REC_DENY_DELETE ? DELETES_ALLOWED : c->args.allow_deletes;
            r.hosts[i].refusal = (struct rec_error){0};
            if (branch)
                rec_guard(r.hosts[i].run, r.hosts[i].plan, &r.hosts[i].refusal);
        }
        code = cmd_range_verdict(&r);
        cmd_render_range_text(&text, &one, &r);
        if (code != CMD_OK || !c->args.quiet)
            screenful(&c->out, &text, range);
        code = code == CMD_PENDING ? CMD_OK : code;
    } else if (one.diags.errors) {
        char *faults = spec_diags_format(one.arena, &one.diags, one.file.name, one.file.text, one.file.len, false);
        cmd_put(&text, faults ? faults : "berth: out of memory\n");
        cmd_put(&c->out, title);
        cmd_put(&c->out, "\n");
        screenful(&c->out, &text, "berth validate");
    } else if (r.to.absent && r.from_nothing) {
        code = CMD_OK;      /* neither side has a spec */
    } else if (r.to.absent && !branch) {
        code = CMD_OK;
    } else {
        cmd_put(&c->out, title);
        cmd_put(&c->out, "\n");
        cmd_render_error(&c->out, one.file.name, &err);
    }
    cmd_range_done(&r);
    one.file.name = NULL;
    cmd_done(&one);
    cmd_out_done(&text);
    return code;
}

/* "OLD NEW REF" lines. */
static bool next_line(char **input, char *word[4], size_t n)
{
    char *line = strsep(input, "\n"), *save = NULL;
    size_t k = 0;
    if (!line || !*line)
        return false;
    for (char *w = strtok_r(line, " ", &save); w && k < n; w = strtok_r(NULL, " ", &save))
        word[k++] = w;
    return k == n;
}

static int pre_receive(struct cmd *c, char *input)
{
    char *w[4], mine[300];
    enum cmd_exit worst = CMD_OK;
    snprintf(mine, sizeof mine, "refs/heads/%.250s", branch_of(c));
    while (next_line(&input, w, 3)) {
        bool branch = !strcmp(w[2], mine);
        if (is_zero(w[1])) {
            if (branch)
                cmd_printf(&c->out, "berth: %s is deleted; nothing is applied until it is there again\n", mine);
            continue;
        }
        /* A new branch is seen against the one that is applied. */
        struct cmd_git_ask base = ask_of(c, mine);
        struct cmd_git tip = {0};
        struct rec_error ignored;
        char *text = NULL;
        size_t len;
        const char *old = is_zero(w[0]) ? NULL : w[0];
        if (!old && !branch && cmd_git_read(&base, &text, &len, &tip, &ignored) == CMD_OK)
            old = tip.commit;
        free(text);
        enum cmd_exit code = look_at(c, w[2], old, w[1], branch);
        worst = code != CMD_OK && worst == CMD_OK ? code : worst;
    }
    if (worst != CMD_OK)
        cmd_put(&c->out, "berth: the push is refused; nothing was changed\n");
    return worst;
}

static long long now_s(void)
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

struct target {
    const char *git, *owner, *spec, *host;      /* spec: REV:path */
};

/* Deletions that commits since the last apply let through. */
static bool deletes_allowed(const struct cmd *c, const struct target *t)
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

static void run_apply(const struct target *t, bool deletes, int out)
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
    long long end = now_s() + seconds;
    int status = 0;
    for (;;) {
        long long left = end - now_s();
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

/* The commit that somebody asked for, as they wrote it into the repository: only a name for the answer, never what is applied. */
static bool asked_commit(const char *git, char out[65])
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

/* One runs, one waits; whoever comes while one waits is served by that one, which reads the tip when its turn comes. `asked`: the
 * commit that was asked for by then, so that whoever asked finds the answer under it; "" if none was. */
static enum cmd_exit apply_in_turn(struct cmd *c, const struct target *t, int seconds, char asked[65])
{
    struct rec_error err;
    int waiting = lock("hook.waiting", true);
    if (asked)
        asked_commit(t->git, asked);
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
        asked_commit(t->git, asked); /* a later one may have come meanwhile */
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

static bool listening(void)
{
    int status = 0;
    if (access("/run/systemd/system", F_OK))
        return false;
    pid_t pid = fork();
    if (!pid) {
        execl("/usr/bin/systemctl", "systemctl", "is-active", "-q", "berth-look.path", (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Which file tells the outcome of a commit; all 0: none does. Each answer is a file of its own, so a branch that goes back to a commit
 * that was applied once is not answered with what came of it then. */
static struct stat outcome_file(const char *commit)
{
    char path[200];
    struct stat st = {0};
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%.64s", commit);
    return lstat(path, &st) ? (struct stat){0} : st;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The outcome of our commit, if it is another than was there before. false: not there yet. */
static bool outcome(struct cmd *c, const char *commit, const struct stat *before, enum cmd_exit *code)
{
    char path[200], text[OUTCOME_BYTES + 64], last[80] = "";
    struct stat st;
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%.64s", commit);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t n = fstat(fd, &st) || same_file(&st, before) ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = 0;
    char *end = strstr(text, "\nexit ");
    for (char *more = end; more && (more = strstr(more + 1, "\nexit "));)
        end = more;
    if (!end)
        return false;
    snprintf(last, sizeof last, "%s", end + 6);
    end[1] = 0;
    cmd_put(&c->out, text);
    *code = (enum cmd_exit)atoi(last);
    return true;
}

static enum cmd_exit say_look(struct cmd *c, const char *commit)
{
    const char *git = c->args.git ? c->args.git : getenv("GIT_DIR");
    char file[PATH_MAX + 32], now[65];
    enum cmd_exit code;
    struct stat before = outcome_file(commit);
    snprintf(file, sizeof file, "%s/" CMD_LOOK_FILE, git && *git ? git : ".");
    if (!listening()) {
        cmd_put(&c->out, "berth: accepted, but nobody applies it: root has to run `berth hook install --apply` for this repository\n");
        return CMD_OK;
    }
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || dprintf(fd, "%s\n", commit) < 0) {
        cmd_printf(&c->out, "berth: accepted, but cannot write '%s': %s\n", file, strerror(errno));
        return CMD_OK;
    }
    close(fd);
    struct timespec tick = {.tv_nsec = 50000000};
    for (long long end = now_s() + OUTCOME_SECONDS; now_s() < end; nanosleep(&tick, NULL))
        if (outcome(c, commit, &before, &code)) {
            return code;
        } else if (asked_commit(git && *git ? git : ".", now) && strcmp(now, commit)) {
            cmd_printf(&c->out, "berth: a later push (%.7s) takes this one along\n", now);
            return CMD_OK;
        }
    cmd_printf(&c->out, "berth: no outcome after %d s; `systemctl status berth-look.service` on the host tells more\n", OUTCOME_SECONDS);
    return CMD_OK;
}

static int post_receive(struct cmd *c, char *input)
{
    char *w[4], mine[300], spec[1400], git[PATH_MAX];
    snprintf(mine, sizeof mine, "refs/heads/%.250s", branch_of(c));
    while (next_line(&input, w, 3)) {
        if (strcmp(w[2], mine) || is_zero(w[1]) || !c->args.apply)
            continue;
        if (geteuid())
            return say_look(c, w[1]);
        const char *dir = c->args.git ? c->args.git : getenv("GIT_DIR");
        snprintf(spec, sizeof spec, "%s:%.1000s", mine, path_of(c));
        struct target t = {.git = realpath(dir && *dir ? dir : ".", git), .owner = c->args.git_owner, .spec = spec, .host = c->args.host};
        return apply_in_turn(c, &t, OUTCOME_SECONDS, NULL);
    }
    return CMD_OK;
}

static int pre_commit(struct cmd *c, char *input)
{
    struct cmd_git_ask head = ask_of(c, "HEAD"), staged = ask_of(c, NULL);
    struct rec_error ignored;
    struct cmd_git g = {0};
    char *text = NULL;
    size_t len;
    (void)input;
    if (cmd_range_same(&head, &staged))
        return CMD_OK;
    bool first = cmd_git_read(&head, &text, &len, &g, &ignored) != CMD_OK;
    free(text);
    return look_at(c, "commit", first ? NULL : "HEAD", NULL, false);
}

static int pre_push(struct cmd *c, char *input)
{
    char *w[4];
    enum cmd_exit worst = CMD_OK;
    while (next_line(&input, w, 4)) {
        if (is_zero(w[1]))
            continue;
        struct cmd_git_ask theirs = ask_of(c, w[3]), ours = ask_of(c, w[1]);
        struct rec_error ignored;
        struct cmd_git g = {0};
        char *text = NULL;
        size_t len;
        bool known = !is_zero(w[3]) && (cmd_git_read(&theirs, &text, &len, &g, &ignored) == CMD_OK || g.absent);
        free(text);
        if (known && cmd_range_same(&theirs, &ours))
            continue;
        enum cmd_exit code = look_at(c, w[2], known ? w[3] : NULL, w[1], false);
        worst = code != CMD_OK && worst == CMD_OK ? code : worst;
    }
    return worst;
}

/* The work tree has moved on; where it stands on the branch that is applied, the host follows. */
static int moved(struct cmd *c, const char *old)
{
    struct cmd_git_ask before = ask_of(c, old), head = ask_of(c, "HEAD");
    struct cmd_git_about a;
    struct rec_error err;
    char spec[1400];
    if (!c->args.apply || cmd_git_about(head.git, head.owner, &a, &err) != CMD_OK || strncmp(a.ref, "refs/heads/", 11) ||
        strcmp(a.ref + 11, branch_of(c)) || cmd_range_same(&before, &head))
        return CMD_OK;
    snprintf(spec, sizeof spec, "%.300s:%.1000s", a.ref, path_of(c));
    if (geteuid()) {
        cmd_printf(&c->out, "berth: the spec has changed; root applies it with: berth apply --git ");
        cmd_safe(&c->out, a.repo);
        cmd_put(&c->out, " ");
        cmd_safe(&c->out, spec);
        cmd_put(&c->out, "\n");
        return CMD_OK;
    }
    struct target t = {.git = a.repo, .owner = c->args.git_owner, .spec = spec, .host = c->args.host};
    return apply_in_turn(c, &t, OUTCOME_SECONDS, NULL);
}

static int post_merge(struct cmd *c, char *input)
{
    (void)input;
    return moved(c, "ORIG_HEAD");
}

static int post_checkout(struct cmd *c, char *input)
{
    (void)input;
    /* OLD NEW 1: another branch; 0: files alone. */
    if (c->args.n_names < 4 || strcmp(c->args.names[3], "1") || is_zero(c->args.names[1]))
        return CMD_OK;
    return moved(c, c->args.names[1]);
}

const struct cmd_hook_event cmd_hook_events[] = {
    {"pre-receive", CMD_HOOK_BARE, true, pre_receive},
    {"post-receive", CMD_HOOK_BARE, true, post_receive},
    {"pre-commit", CMD_HOOK_WORK, false, pre_commit},
    {"pre-push", CMD_HOOK_WORK, true, pre_push},
    {"post-merge", CMD_HOOK_WORK | CMD_HOOK_APPLY, false, post_merge},
    {"post-checkout", CMD_HOOK_WORK | CMD_HOOK_APPLY, false, post_checkout},
};
const size_t cmd_n_hook_events = sizeof cmd_hook_events / sizeof *cmd_hook_events;

static char *read_input(void)
{
    size_t n = 0;
    char *text = malloc(MOST_INPUT + 1);
    for (ssize_t r; text && n < MOST_INPUT && (r = read(0, text + n, MOST_INPUT - n)) != 0;)
        if (r > 0)
            n += (size_t)r;
        else if (errno != EINTR)
            break;
    if (text)
        text[n] = 0;
    return text;
}

/* The hook that was there before, with the same words and input. Its exit status; 0: there is none, or git would not run it either. */
static int before(const struct cmd *c, const char *input)
{
    int status = 0, in = -1;
    if (!c->args.before || access(c->args.before, X_OK))
        return 0;
    if (input) {
        in = memfd_create("berth-hook", MFD_CLOEXEC);
        size_t n = strlen(input);
        if (in < 0 || write(in, input, n) != (ssize_t)n || lseek(in, 0, SEEK_SET))
            return CMD_FAILED;
    }
    pid_t pid = fork();
    if (!pid) {
        char **argv = calloc(c->args.n_names + 1, sizeof *argv);
        if (!argv || (in >= 0 && dup2(in, 0) < 0))
            _exit(CMD_FAILED);
        argv[0] = (char *)c->args.before;
        for (size_t i = 1; i < c->args.n_names; i++)
            argv[i] = c->args.names[i];
        signal(SIGPIPE, SIG_DFL);
        execv(c->args.before, argv);
        dprintf(2, "berth: cannot run '%s': %s\n", c->args.before, strerror(errno));
        _exit(CMD_FAILED);
    }
    if (in >= 0)
        close(in);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid < 0 ? CMD_FAILED : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int cmd_hook_call(struct cmd *c, const struct cmd_hook_event *e)
{
    char *input = e->input ? read_input() : NULL;
    int code = e->input && !input ? CMD_FAILED : before(c, input);
    if (!code)
        code = e->run(c, input);
    free(input);
    return code;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    struct stat x = {0}, y = {0};
    char path[400];
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", (*a)->d_name);
    stat(path, &x);
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", (*b)->d_name);
    stat(path, &y);
    return x.st_mtim.tv_sec != y.st_mtim.tv_sec ? (x.st_mtim.tv_sec < y.st_mtim.tv_sec ? 1 : -1)
           : x.st_mtim.tv_nsec < y.st_mtim.tv_nsec ? 1 : -1;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void forget_old(void)
{
    struct dirent **list;
    char path[400];
    int n = scandir(CMD_LOOK_DIR, &list, visible, newest_first);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", list[i]->d_name);
        if (i >= OUTCOMES_KEPT)
            unlink(path);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

/* The end of what was said, from the beginning of a line: how it came out stands last, and whoever pushed has seen the plan. */
static void last_of(struct cmd_out *to, const struct cmd_out *said)
{
    const char *text = said->text ? said->text : "", *from = text + said->n;
    size_t lines = 0;
    while (from > text && (from[-1] != '\n' || lines++ < SCREEN) && text + said->n - from < OUTCOME_BYTES / 2)
        from--;
    if (from > text) {
        if (from[-1] != '\n')
            from += strcspn(from, "\n") + 1;
        cmd_put(to, "… the end of it; all: journalctl -u berth-look.service\n");
    }
    if (from < text + said->n)
        cmd_putn(to, from, (size_t)(text + said->n - from));
}

/* All of it is said once here, for the journal, and its end in a file, for whoever pushed. */
static enum cmd_exit look_once(struct cmd *c, const struct target *t, char commit[65])
{
    struct cmd_out said = {.fd = -1}, journal = c->out;
    struct rec_error err;
    char path[200];
    c->out = said;
    enum cmd_exit code = apply_in_turn(c, t, INT_MAX / 1000, commit);
    said = c->out;
    c->out = journal;
    cmd_putn(&c->out, said.text ? said.text : "", said.n);
    if (*commit && !rec_dir_make(CMD_LOOK_DIR, 0755, &err)) {
        struct cmd_out kept = {.fd = -1};
        chmod(CMD_LOOK_DIR, 0755);
        snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", commit);
        last_of(&kept, &said);
        cmd_printf(&kept, "\nexit %d\n", (int)code);
        if (rec_file_write(path, kept.text, kept.n, 0644, &err))
            cmd_tell(c, &err);
        cmd_out_done(&kept);
        forget_old();
    }
    cmd_out_done(&said);
    return code;
}

int cmd_hook_look(struct cmd *c)
{
    struct target t = {getenv("BERTH_GIT"), getenv("BERTH_GIT_OWNER"), getenv("BERTH_SPEC"), getenv("BERTH_HOST")};
    struct rec_error err;
    char commit[65], now[65];
    if (!t.git || !t.spec || cmd_git_split(t.spec) <= 0) {
        rec_fail(&err, EINVAL, "berth hook look needs BERTH_GIT and BERTH_SPEC=REF:PATH, out of " CMD_ENV_FILE);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    enum cmd_exit code;
    bool again;
    do {
        code = look_once(c, &t, commit);
        /* Who asked while we were at work may not have been heard by the path unit. */
        again = asked_commit(t.git, now) && strcmp(now, commit);
    } while (again);
    return code;
}
