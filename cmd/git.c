/* The reader runs with an empty environment and standard error nowhere: all it has to say is in
 * the frame. */
#include "cmd/git.h"
#include "cmd/git/frame.h"
#include "reconcile/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef BERTH_LIBEXEC
#define BERTH_LIBEXEC "/usr/libexec"
#endif

enum {
    MOST_ARGS = 40,
    FRAME_ROOM = 65536,
    MOST_TREES = 100000,
    LAST_MS = 1000 /* for the reader to end after its last word */
};

int cmd_git_split(const char *spec)
{
    /* A date or a text in braces may have colons of its own: main@{10:00}, HEAD^{/fix: x}. */
    const char *colon = spec, *brace;
    while ((colon = strpbrk(colon, ":{")) && *colon == '{')
        colon = (brace = strchr(colon, '}')) ? brace : colon + 1;
    if (!colon || !colon[1] || *spec == '/' || !strncmp(spec, "./", 2) || !strncmp(spec, "../", 3))
        return -1;
    return (int)(colon - spec);
}

const char *cmd_git_short_ref(const struct cmd_git *g)
{
    static const char *const kinds[] = {"refs/heads/", "refs/tags/", "refs/remotes/"};
    for (size_t i = 0; i < 3; i++)
        if (!strncmp(g->ref, kinds[i], strlen(kinds[i])))
            return g->ref + strlen(kinds[i]);
    return g->ref;
}

struct rec_source cmd_git_source(const struct cmd_git *g)
{
    return (struct rec_source){g->commit, g->ref, g->path, g->subject, *g->work ? g->work : g->repo,
                               g->via,    NULL,   0};
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Beside this program (a build tree), else where it is installed. */
static const char *program(char out[1200])
{
    ssize_t n = readlink("/proc/self/exe", out, 1000);
    out[n > 0 ? n : 0] = 0;
    char *slash = strrchr(out, '/');
    strcpy(slash ? slash + 1 : out, "berth-git-read");
    if (slash && !access(out, X_OK))
        return out;
    return strcpy(out, BERTH_LIBEXEC "/berth-git-read");
}

struct words {
    const char *list[MOST_ARGS];
    size_t n;
    char numbers[OWNED_MOST + 1][24];
    size_t n_numbers;
};

static void word(struct words *w, const char *flag, const char *value)
{
    if (!value)
        return;
    w->list[w->n++] = flag;
    w->list[w->n++] = value;
}

static void number(struct words *w, const char *flag, unsigned long value)
{
    char *to = w->numbers[w->n_numbers++];
    snprintf(to, sizeof w->numbers[0], "%lu", value);
    word(w, flag, to);
}

int cmd_git_owners(const char *owner, struct owned_trust *out, struct rec_error *err)
{
    const char *sudo = geteuid() ? NULL : getenv("SUDO_UID");
    owned_trust_add(out, geteuid());
    owned_trust_add(out, 0);
    if (sudo && *sudo && strspn(sudo, "0123456789") == strlen(sudo))
        owned_trust_add(out, (uid_t)strtoul(sudo, NULL, 10));
    if (!owner)
        return 0;
    const struct passwd *p = NULL;
    if (strspn(owner, "0123456789") != strlen(owner) && !(p = getpwnam(owner)))
        return rec_fail(err, ENOENT, "--git-owner: there is no user '%s'", owner);
    owned_trust_add(out, p ? p->pw_uid : (uid_t)strtoul(owner, NULL, 10));
    return 0;
}

static int owners(struct words *w, const char *owner, struct rec_error *err)
{
    struct owned_trust t = {.n = 0};
    int r = cmd_git_owners(owner, &t, err);
    struct owned_trust lead = {.n = 0};
    cmd_git_owners(NULL, &lead, NULL);
    for (size_t i = 0; !r && i < t.n; i++)
        number(w, owned_trusts(&lead, t.uids[i]) ? "--owner" : "--guest", t.uids[i]);
    return r;
}

static void child(const char *path, struct words *w, int out)
{
    static char *const env[] = {"LC_ALL=C", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    int null = open("/dev/null", O_RDWR);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(null, 2) < 0)
        _exit(126);
    syscall(SYS_close_range, 3, ~0u, 0);
    w->list[0] = path;
    w->list[w->n] = NULL;
    execve(path, (char *const *)w->list, env);
    _exit(127);
}

/* Everything that comes until the end, the deadline or `most`. -ETIMEDOUT, -E2BIG, or another
 * -errno. */
static int collect(int fd, size_t most, char **text, size_t *len)
{
    long deadline = now_ms() + CMD_GIT_SECONDS * 1000L;
    size_t room = FRAME_ROOM, n = 0;
    char *buffer = malloc(room);
    int r = buffer ? 0 : -ENOMEM;
    while (!r) {
        long left = deadline - now_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            r = ready ? -errno : -ETIMEDOUT;
            break;
        }
        if (n + 1 >= room) {
            char *more = room < most ? realloc(buffer, room *= 2) : NULL;
            if (!more) {
                r = room < most ? -ENOMEM : -E2BIG;
                break;
            }
            buffer = more;
        }
        ssize_t got = read(fd, buffer + n, room - n - 1);
        if (got < 0 && errno != EINTR)
            r = -errno;
        if (!got)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    if (r) {
        free(buffer);
        return r;
    }
    *text = buffer;
    *len = n;
    return 0;
}

static int failed_run(int r, int status, const char *path, struct rec_error *err)
{
    if (r == -ETIMEDOUT) {
        rec_fail(err, ETIMEDOUT, "reading the repository took longer than %d s and was ended",
                 CMD_GIT_SECONDS);
        rec_hint(err, "a pipe in place of a file, or a file system that does not answer? git fsck "
                      "tells more");
    } else if (r == -E2BIG) {
        rec_fail(err, E2BIG, "the reader of the repository said more than it was asked for");
    } else if (r) {
        rec_fail(err, -r, "cannot read the repository: %s", strerror(-r));
    } else if (WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == 126)) {
        rec_fail(err, ENOENT, "cannot run '%s', which reads git repositories: %s", path,
                 access(path, X_OK) ? strerror(errno) : "it did not start");
        rec_hint(err, "install berth whole; berth-git-read belongs to it and needs libgit2");
    } else if (WIFSIGNALED(status)) {
        rec_fail(err, EIO, "reading the repository failed: its reader was killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
        rec_hint(err,
                 "the repository is damaged or hostile, or memory ran out; git fsck tells more");
    } else {
        rec_fail(err, EIO,
                 "reading the repository failed: its reader ended with %d and half an answer",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    return -EIO;
}

/* Once per run. */
static void warn_unconfined(const struct git_frame *f)
{
    static bool warned;
    if (warned || !git_frame_find(f, "unconfined"))
        return;
    warned = true;
    fputs("berth: warning: this kernel has no Landlock, so the reader of git repositories is "
          "confined by less\n",
          stderr);
}

static int run(struct words *w, size_t most, char **text, size_t *len, struct rec_error *err)
{
    char path[1200];
    int pipe[2], status = 0;
    program(path);
    if (pipe2(pipe, O_CLOEXEC))
        return rec_fail(err, errno, "cannot read the repository: %s", strerror(errno));
    pid_t pid = fork();
    if (!pid)
        child(path, w, pipe[1]);
    int code = errno;
    close(pipe[1]);
    int r = pid < 0 ? -code : collect(pipe[0], most, text, len);
    close(pipe[0]);
    if (pid < 0)
        return rec_fail(err, code, "cannot start the reader of the repository: %s", strerror(code));
    if (r || !rec_proc_wait(pid, rec_proc_started(pid), LAST_MS))
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    struct git_frame f;
    if (!r && !git_frame_parse(*text, *len, &f)) {
        warn_unconfined(&f);
        return 0;
    }
    if (!r)
        free(*text);
    *text = NULL;
    return failed_run(r, status, path, err);
}

static bool hex(const char *s)
{
    size_t n = strlen(s);
    return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

static enum cmd_exit refusal(const struct git_frame *f, struct cmd_git *out, struct rec_error *err)
{
    char said[400], hint[300], kind[16];
    git_frame_text(f, "error", said, sizeof said);
    git_frame_text(f, "hint", hint, sizeof hint);
    git_frame_text(f, "kind", kind, sizeof kind);
    rec_fail(err, EINVAL, "%s", said);
    if (*hint)
        rec_hint(err, "%s", hint);
    out->absent = !strcmp(kind, "absent");
    out->no_revision = !strcmp(kind, "norev");
    out->exotic = !strcmp(kind, "exotic");
    out->no_commit = !strcmp(kind, "thing");
    return !strcmp(kind, "refused") ? CMD_REFUSED
           : !strcmp(kind, "spec") || out->absent || out->no_revision || out->no_commit
               ? CMD_BAD_SPEC
               : CMD_FAILED;
}

static int take(const struct git_frame *f, const struct cmd_git_ask *ask, struct cmd_git *out,
                const struct git_record **blob)
{
    char time[32];
    *out = (struct cmd_git){0};
    git_frame_text(f, "commit", out->commit, sizeof out->commit);
    git_frame_text(f, "ref", out->ref, sizeof out->ref);
    git_frame_text(f, "via", out->via, sizeof out->via);
    git_frame_text(f, "author", out->author, sizeof out->author);
    git_frame_text(f, "email", out->email, sizeof out->email);
    git_frame_text(f, "subject", out->subject, sizeof out->subject);
    git_frame_text(f, "path", out->path, sizeof out->path);
    git_frame_text(f, "repo", out->repo, sizeof out->repo);
    git_frame_text(f, "work", out->work, sizeof out->work);
    git_frame_text(f, "allow", out->allow, sizeof out->allow);
    git_frame_text(f, "time", time, sizeof time);
    out->time = strtoll(time, NULL, 10);
    *blob = git_frame_find(f, "blob");
    return *blob && (*blob)->len <= ask->limit && *out->path && (!ask->rev || hex(out->commit))
               ? 0
               : -EINVAL;
}

enum cmd_exit cmd_git_read(const struct cmd_git_ask *ask, char **text, size_t *len,
                           struct cmd_git *out, struct rec_error *err)
{
    struct words w = {.n = 1};
    struct git_frame f;
    const struct git_record *blob;
    *out = (struct cmd_git){0};
    word(&w, "--git", ask->git);
    word(&w, "--rev", ask->rev);
    word(&w, "--index", ask->rev ? NULL : ask->index ? ask->index : "");
    word(&w, "--path", ask->path);
    word(&w, "--objects", ask->objects);
    word(&w, "--since", ask->since);
    number(&w, "--limit", ask->limit);
    if (owners(&w, ask->owner, err))
        return CMD_USAGE;
    if (run(&w, ask->limit + FRAME_ROOM, text, len, err))
        return CMD_FAILED;
    enum cmd_exit code = CMD_OK;
    if (git_frame_parse(*text, *len, &f))
        code = CMD_FAILED;
    else if (git_frame_find(&f, "error"))
        code = refusal(&f, out, err);
    else if (take(&f, ask, out, &blob)) {
        rec_fail(err, EIO, "reading the repository failed: its reader gave no sound answer");
        code = CMD_FAILED;
    } else {
        *len = blob->len;
        memmove(*text, blob->bytes, blob->len);
        (*text)[blob->len] = 0;
    }
    if (code != CMD_OK) {
        free(*text);
        *text = NULL;
    }
    return code;
}

/* One id a line, an empty line where there is none. */
static int take_trees(const struct git_record *r, struct rec_tree *trees, size_t n)
{
    const char *p = r ? r->bytes : NULL, *end = r ? p + r->len : NULL;
    for (size_t i = 0; i < n; i++) {
        const char *line = p ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        if (!line || (size_t)(line - p) >= sizeof trees[i].id)
            return -EINVAL;
        snprintf(trees[i].id, sizeof trees[i].id, "%.*s", (int)(line - p), p);
        if (*trees[i].id && !hex(trees[i].id))
            return -EINVAL;
        p = line + 1;
    }
    return p == end ? 0 : -EINVAL;
}

enum cmd_exit cmd_git_trees(const struct cmd_git_ask *ask, struct rec_tree *trees, size_t n,
                            struct rec_error *err)
{
    struct words w = {.n = 1};
    struct git_frame f;
    struct cmd_git ignored;
    size_t room = 1, len;
    char *text;
    for (size_t i = 0; i < n; i++)
        room += strlen(trees[i].folder) + 2;
    char *list = room < MOST_TREES ? malloc(room) : NULL, *to = list;
    if (!list) {
        rec_fail(err, ENOMEM,
                 room < MOST_TREES
                     ? "out of memory"
                     : "the flakes of this spec are in more folders than can be looked at");
        return CMD_FAILED;
    }
    for (size_t i = 0; i < n; i++)
        to = stpcpy(stpcpy(to, trees[i].folder), "//");
    word(&w, "--git", ask->git);
    word(&w, "--rev", ask->rev);
    word(&w, "--index", ask->rev ? NULL : ask->index ? ask->index : "");
    word(&w, "--objects", ask->objects);
    word(&w, "--trees", list);
    enum cmd_exit code = owners(&w, ask->owner, err)                                    ? CMD_USAGE
                         : run(&w, FRAME_ROOM + n * sizeof trees->id, &text, &len, err) ? CMD_FAILED
                                                                                        : CMD_OK;
    free(list);
    if (code != CMD_OK)
        return code;
    if (git_frame_parse(text, len, &f) ||
        (!git_frame_find(&f, "error") && take_trees(git_frame_find(&f, "trees"), trees, n))) {
        rec_fail(err, EIO, "reading the repository failed: its reader gave no sound answer");
        code = CMD_FAILED;
    } else if (git_frame_find(&f, "error")) {
        code = refusal(&f, &ignored, err);
    }
    free(text);
    return code;
}

/* As git reads a boolean. */
static bool env_true(const char *value)
{
    return value && (!strcasecmp(value, "true") || !strcasecmp(value, "yes") ||
                     !strcasecmp(value, "on") || atoi(value));
}

enum cmd_exit cmd_git_about(const char *git, const char *owner, struct cmd_git_about *out,
                            struct rec_error *err)
{
    struct words w = {.n = 1};
    struct git_frame f;
    struct cmd_git ignored;
    char *text;
    size_t len;
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME"),
               *global = getenv("GIT_CONFIG_GLOBAL");
    const char *none = getenv("GIT_CONFIG_NOSYSTEM"), *system = getenv("GIT_CONFIG_SYSTEM");
    char own[1100];
    bool given = xdg && *xdg == '/';
    word(&w, "--git", git);
    /* As git does: this file in place of both that a user has. */
    word(&w, "--about", home && !global ? home : "");
    if (global)
        snprintf(own, sizeof own, "%.1090s", global);
    else if (given || (home && *home))
        snprintf(own, sizeof own, "%.1000s%s/git/config", given ? xdg : home,
                 given ? "" : "/.config");
    else
        *own = 0;
    word(&w, "--config", *own ? own : NULL);
    if (!env_true(none))
        word(&w, "--config", system ? system : "/etc/gitconfig");
    if (owners(&w, owner, err))
        return CMD_USAGE;
    if (run(&w, 2 * FRAME_ROOM, &text, &len, err))
        return CMD_FAILED;
    enum cmd_exit code = git_frame_parse(text, len, &f) ? CMD_FAILED : CMD_OK;
    if (code == CMD_OK && git_frame_find(&f, "error")) {
        code = refusal(&f, &ignored, err);
    } else if (code == CMD_OK) {
        git_frame_text(&f, "repo", out->repo, sizeof out->repo);
        git_frame_text(&f, "work", out->work, sizeof out->work);
        git_frame_text(&f, "common", out->common, sizeof out->common);
        git_frame_text(&f, "hooks", out->hooks, sizeof out->hooks);
        git_frame_text(&f, "set", out->hooks_set, sizeof out->hooks_set);
        git_frame_text(&f, "ref", out->ref, sizeof out->ref);
    }
    free(text);
    return code;
}

enum cmd_exit cmd_git_moved(const struct cmd_git_ask *ask, const char *ref, char out[CMD_GIT_REF],
                            struct rec_error *err)
{
    struct words w = {.n = 1};
    struct git_frame f;
    struct cmd_git ignored;
    char *text;
    size_t len;
    word(&w, "--git", ask->git);
    word(&w, "--about", "");
    word(&w, "--ref", ref);
    if (owners(&w, ask->owner, err))
        return CMD_USAGE;
    if (run(&w, 2 * FRAME_ROOM, &text, &len, err))
        return CMD_FAILED;
    enum cmd_exit code = git_frame_parse(text, len, &f) ? CMD_FAILED : CMD_OK;
    const struct git_record *moved = code == CMD_OK ? git_frame_find(&f, "moved") : NULL;
    if (code == CMD_OK && git_frame_find(&f, "error"))
        code = refusal(&f, &ignored, err);
    else if (!moved || !moved->len || moved->len >= CMD_GIT_REF)
        code = CMD_FAILED;
    else
        git_frame_text(&f, "moved", out, CMD_GIT_REF);
    free(text);
    return code;
}
