/* What git calls: the hook that was there before, then ours. */
#include "cmd/hook.h"
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_INPUT = 1 << 16, MOST_INPUT = 64 << 20 };

bool cmd_hook_zero(const char *id)
{
    return strspn(id, "0") == strlen(id);
}

const char *cmd_hook_path(const struct cmd *c)
{
    return c->args.spec ? c->args.spec : "berth.yaml";
}

const char *cmd_hook_branch(const struct cmd *c)
{
    return c->args.branch ? c->args.branch : "main";
}

bool cmd_hook_denies(const struct cmd *c, uint32_t *bits, char bad[32])
{
    char list[100], ignored[32];
    if (c->args.apply && cmd_hook_env("BERTH_DENY", list, sizeof list))
        cmd_deny_parse(list, bits, ignored);
    return !c->args.deny || cmd_deny_parse(c->args.deny, bits, bad);
}

struct cmd_git_ask cmd_hook_ask(const struct cmd *c, const char *rev)
{
    const char *git = c->args.git ? c->args.git : getenv("GIT_DIR");
    return (struct cmd_git_ask){.git = git,
                                .owner = c->args.git_owner,
                                .rev = rev,
                                .index = getenv("GIT_INDEX_FILE"),
                                .path = cmd_hook_path(c),
                                .objects = getenv("GIT_QUARANTINE_PATH"),
                                .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
}

void cmd_hook_follow(const struct cmd *c, struct cmd_hook_followed *out)
{
    struct cmd_git_ask ask = cmd_hook_ask(c, NULL);
    struct rec_error ignored;
    *out = (struct cmd_hook_followed){.c = c};
    snprintf(out->ref, sizeof out->ref, "refs/heads/%.250s", cmd_hook_branch(c));
    out->known = cmd_git_moved(&ask, out->ref, out->end, &ignored) == CMD_OK;
}

bool cmd_hook_moves(const struct cmd_hook_followed *f, const char *ref)
{
    char end[CMD_GIT_REF];
    struct cmd_git_ask ask = cmd_hook_ask(f->c, NULL);
    struct rec_error ignored;
    if (!f->known || !strcmp(ref, f->ref) || !strcmp(ref, f->end))
        return true;
    return cmd_git_moved(&ask, ref, end, &ignored) != CMD_OK || !strcmp(end, f->end);
}

int cmd_hook_line(char **input, char *word[4], size_t n)
{
    char *line = strsep(input, "\n"), *save = NULL;
    size_t k = 0;
    if (!line || (!*line && !*input))
        return 0;
    for (char *w = strtok_r(line, " ", &save); w && k < n; w = strtok_r(NULL, " ", &save))
        word[k++] = w;
    return k == n ? 1 : -EBADMSG;
}

/* How it came out stands last, and whoever pushed has seen the plan: from the beginning of a
 * line. */
void cmd_hook_end(struct cmd_out *to, const struct cmd_out *said, const char *more)
{
    const char *text = said->text ? said->text : "", *from = text + said->n;
    size_t lines = 0;
    while (from > text && (from[-1] != '\n' || lines++ < CMD_HOOK_SCREEN) &&
           text + said->n - from < CMD_HOOK_BYTES / 2)
        from--;
    if (from > text) {
        if (from[-1] != '\n')
            from += strcspn(from, "\n") + 1;
        cmd_printf(to, "… the end of it; %s\n", more);
    }
    if (from < text + said->n)
        cmd_putn(to, from, (size_t)(text + said->n - from));
}

/* Root's own file says where; the environment is whoever's. */
static const char *metrics(void)
{
    static char path[PATH_MAX];
    return cmd_hook_env("BERTH_METRICS", path, sizeof path) && *path ? path : NULL;
}

/* When git called us: what it tells of had happened by then. */
static struct timespec began;

static int post_receive(struct cmd *c, char *input)
{
    char *w[4], spec[1400], git[PATH_MAX], bad[32];
    struct cmd_hook_followed follows;
    if (!c->args.apply)
        return CMD_OK;
    cmd_hook_follow(c, &follows);
    while (cmd_hook_line(&input, w, 3) > 0) {
        if (cmd_hook_zero(w[1]) || !cmd_hook_moves(&follows, w[2]))
            continue;
        if (geteuid())
            return cmd_hook_say(c, follows.ref, w[1], &began);
        const char *dir = c->args.git ? c->args.git : getenv("GIT_DIR");
        snprintf(spec, sizeof spec, "%s:%.1000s", follows.ref, cmd_hook_path(c));
        struct cmd_hook_taken taken;
        struct cmd_hook_target t = {.git = realpath(dir && *dir ? dir : ".", git),
                                    .owner = c->args.git_owner,
                                    .spec = spec,
                                    .host = c->args.host,
                                    .metrics = metrics()};
        cmd_hook_denies(c, &t.deny, bad);
        return cmd_hook_turn(c, &t, CMD_HOOK_SECONDS, &taken);
    }
    return CMD_OK;
}

/* The work tree has moved on; where it stands on the branch that is applied, the host follows. */
static int moved(struct cmd *c, const char *old)
{
    struct cmd_git_ask before = cmd_hook_ask(c, old), head = cmd_hook_ask(c, "HEAD");
    struct cmd_git_about a;
    struct rec_error err;
    char spec[1400], bad[32];
    if (!c->args.apply || cmd_git_about(head.git, head.owner, &a, &err) != CMD_OK ||
        strncmp(a.ref, "refs/heads/", 11) || strcmp(a.ref + 11, cmd_hook_branch(c)) ||
        cmd_range_same(&before, &head))
        return CMD_OK;
    snprintf(spec, sizeof spec, "%.300s:%.1000s", a.ref, cmd_hook_path(c));
    if (geteuid()) {
        cmd_printf(&c->out,
                   "berth: the spec has changed; root applies it with: berth apply --git ");
        cmd_safe(&c->out, a.repo);
        cmd_put(&c->out, " ");
        cmd_safe(&c->out, spec);
        cmd_put(&c->out, "\n");
        return CMD_OK;
    }
    struct cmd_hook_taken taken;
    struct cmd_hook_target t = {.git = a.repo,
                                .owner = c->args.git_owner,
                                .spec = spec,
                                .host = c->args.host,
                                .metrics = metrics()};
    cmd_hook_denies(c, &t.deny, bad);
    return cmd_hook_turn(c, &t, CMD_HOOK_SECONDS, &taken);
}

static int post_merge(struct cmd *c, char *input)
{
    (void)input;
    return moved(c, "ORIG_HEAD");
}

/* "rebase" or "amend"; a commit that is made by hand is not applied either. */
static int post_rewrite(struct cmd *c, char *input)
{
    (void)input;
    return c->args.n_names < 2 || strcmp(c->args.names[1], "rebase") ? CMD_OK
                                                                     : moved(c, "ORIG_HEAD");
}

static int post_checkout(struct cmd *c, char *input)
{
    (void)input;
    /* OLD NEW 1: another branch; 0: files alone. */
    if (c->args.n_names < 4 || strcmp(c->args.names[3], "1") || cmd_hook_zero(c->args.names[1]))
        return CMD_OK;
    return moved(c, c->args.names[1]);
}

const struct cmd_hook_event cmd_hook_events[] = {
    {"pre-receive", CMD_HOOK_BARE, true, cmd_hook_pre_receive},
    {"post-receive", CMD_HOOK_BARE, true, post_receive},
    {"pre-commit", CMD_HOOK_WORK, false, cmd_hook_pre_commit},
    {"pre-push", CMD_HOOK_WORK, true, cmd_hook_pre_push},
    {"post-merge", CMD_HOOK_WORK | CMD_HOOK_APPLY, false, post_merge},
    {"post-checkout", CMD_HOOK_WORK | CMD_HOOK_APPLY, false, post_checkout},
    {"post-rewrite", CMD_HOOK_WORK | CMD_HOOK_APPLY, true, post_rewrite},
};
const size_t cmd_n_hook_events = sizeof cmd_hook_events / sizeof *cmd_hook_events;

const struct cmd_hook_event *cmd_hook_find(const char *name)
{
    for (size_t i = 0; i < cmd_n_hook_events; i++)
        if (!strcmp(name, cmd_hook_events[i].name))
            return &cmd_hook_events[i];
    return NULL;
}

/* All of it, so that no ref goes unjudged. NULL after a message. */
static char *read_input(const char *hook)
{
    size_t n = 0, room = FIRST_INPUT;
    char *text = malloc(room);
    int code = text ? 0 : ENOMEM;
    for (ssize_t r = 1; !code && r;) {
        r = read(0, text + n, room - n - 1);
        if (r > 0)
            n += (size_t)r;
        else if (r < 0 && errno != EINTR)
            code = errno;
        if (code || n + 1 < room)
            continue;
        char *more = room < MOST_INPUT ? realloc(text, room * 2) : NULL;
        if (more) {
            text = more;
            room *= 2;
        } else {
            code = room < MOST_INPUT ? ENOMEM : EFBIG;
        }
    }
    if (!code) {
        text[n] = 0;
        return text;
    }
    free(text);
    fprintf(stderr, "berth: cannot read from git what the %s hook is about: %s%s\n", hook,
            strerror(code), code == EFBIG ? "; push fewer refs at once" : "");
    return NULL;
}

/* The hook that was there before, with the same words and input. Its exit status; 0: there is
 * none, or git would not run it either. */
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

/* A line of a small file. false: it is not there. */
static bool first_line(const struct owned_dir *d, const char *name, char out[PATH_MAX])
{
    ssize_t n = owned_read(d, name, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\r\n")] = 0;
    return n > 0;
}

/* The directory that all work trees of the repository share. Git calls a hook at the top of the
 * work tree or in a bare repository, and sets GIT_DIR unless that is .git there. 0 or -errno. */
static int open_common(const struct cmd *c, struct owned_dir *out)
{
    const char *git = getenv("GIT_DIR");
    struct owned_trust trust = {.n = 0};
    struct owned_dir d, up;
    char line[PATH_MAX];
    struct rec_error ignored;
    int at, r = cmd_git_owners(c->args.git_owner, &trust, &ignored);
    uid_t lead = OWNED_NOBODY;
    if (!r)
        r = owned_open(git && *git ? git : ".git", &trust, &d);
    if (r || !first_line(&d, "commondir", line)) {
        *out = d;
        return r;
    }
    r = owned_walk(d.fd, line, &trust, &lead, &at);
    owned_close(&d);
    if (r)
        return r;
    up = (struct owned_dir){.fd = at};
    r = owned_below(&up, ".", out);
    close(at);
    return r;
}

/* Is the hook's own folder in that repository? */
static bool lies_in(const struct cmd *c, const struct owned_dir *common)
{
    char folder[PATH_MAX], link[64], path[PATH_MAX], *slash;
    snprintf(folder, sizeof folder, "%s", c->args.before ? c->args.before : "");
    for (int i = 0; i < 2 && (slash = strrchr(folder, '/')); i++)
        *slash = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", common->fd);
    char *real = *folder ? realpath(folder, NULL) : NULL;
    ssize_t n = readlink(link, path, sizeof path - 1);
    bool in = real && n > 0 && !strncmp(real, path, (size_t)n) && (real[n] == '/' || !real[n]);
    free(real);
    return in;
}

/* Was the hook installed for the repository that calls it? Several may share a hooks folder by
 * core.hooksPath. A copy of a repository holds copies of its hooks, and its owner gets a message;
 * one that was moved is still the same. */
static bool for_this_repository(const struct cmd *c)
{
    struct owned_dir common;
    struct stat here, there;
    if (!c->args.only)
        return true;
    if (open_common(c, &common))
        return false;
    bool known = !stat(c->args.only, &there);
    bool same = known && !fstat(common.fd, &here) && here.st_dev == there.st_dev &&
                here.st_ino == there.st_ino;
    bool inside = !same && lies_in(c, &common);
    owned_close(&common);
    if (known && inside)
        fprintf(stderr,
                "berth: this hook was installed for '%s' and does nothing here; to have it here: "
                "berth hook install\n",
                c->args.only);
    return same || (!known && inside);
}

int cmd_hook_call(struct cmd *c, const struct cmd_hook_event *e)
{
    clock_gettime(CLOCK_REALTIME_COARSE, &began);
    char *input = e->input ? read_input(e->name) : NULL;
    int code = e->input && !input ? CMD_FAILED : before(c, input);
    /* What was asked before a change may stop it. After one there is nothing to stop: git takes
     * no notice, and nor do we. */
    bool after = !strncmp(e->name, "post-", 5) && (!e->input || input);
    if (code && after) {
        cmd_printf(&c->err, "berth: the %s hook that was there before ended with %d\n", e->name,
                   code);
        cmd_out_flush(&c->err);
    }
    if ((!code || after) && for_this_repository(c)) {
        int own = e->run(c, input);
        code = own ? own : code;
    }
    free(input);
    return code;
}
