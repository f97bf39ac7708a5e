/* cmd/hook.h — git hooks: written, taken away, and what they do when git calls them.
 * Files    HOOKS/EVENT, a small shell script that calls `berth hook EVENT`;
 *          HOOKS/before-berth/EVENT, the one that was there: it runs first, with the same arguments
 *          and standard input. Before a change its verdict counts; after one ours follows all the
 *          same.
 * Source   githooks(5). */
#ifndef CMD_HOOK_H
#define CMD_HOOK_H
#include "cmd/owned_dir.h"
#include "cmd/range.h"

#define CMD_HOOK_MARK   "# berth-hook 1:"
#define CMD_HOOK_BEFORE "before-berth"  /* a folder: a hook may look at its own name */
#define CMD_HOOK_OLD    ".before-berth" /* where it was kept once: beside, under another name */
#define CMD_LOOK_FILE                                                                              \
    "berth-look" /* in the repository: its change says "look now" to berth-look.path */
#define CMD_LOOK_DIR                                                                               \
    "/run/berth-look" /* what came of it, a file a commit, for the pusher to read */
#define CMD_ENV_FILE "/etc/berth/berth.env"

enum cmd_hook_where {
    CMD_HOOK_BARE = 1,
    CMD_HOOK_WORK = 2,
    CMD_HOOK_APPLY = 4 /* only with --apply */
};
struct cmd_hook_event {
    const char *name;
    unsigned where;
    bool input; /* git gives it lines on standard input */
    int (*run)(struct cmd *c, char *input);
};
extern const struct cmd_hook_event cmd_hook_events[];
extern const size_t cmd_n_hook_events;
/* NULL: no event of git's, or none of ours */
const struct cmd_hook_event *cmd_hook_find(const char *name);

int cmd_hook_install(struct cmd *c);
int cmd_hook_uninstall(struct cmd *c);
int cmd_hook_status(struct cmd *c);
int cmd_hook_call(struct cmd *c, const struct cmd_hook_event *e);

/* The repository's directories, held open. `foreign`: root is at work, and another user owns the
 * repository. */
struct cmd_hook_repo {
    struct owned_dir git, common, work; /* work: fd -1 in a bare repository */
    bool foreign;
};

/* What the files of hooks share. */
enum {
    CMD_HOOK_SCREEN = 24 /* lines to whoever pushes */,
    CMD_HOOK_BYTES = 32768,
    CMD_HOOK_SECONDS = 60 /* that they wait for an outcome */
};
/* git's name of no commit */
bool cmd_hook_zero(const char *id);
const char *cmd_hook_path(const struct cmd *c);
const char *cmd_hook_branch(const struct cmd *c);
/* The branch that is applied. It may be a symbolic ref itself. */
struct cmd_hook_followed {
    const struct cmd *c;
    char ref[300];         /* its full name */
    char end[CMD_GIT_REF]; /* the ref that a push to it moves */
    bool known;            /* `end` could be read */
};
void cmd_hook_follow(const struct cmd *c, struct cmd_hook_followed *out);
/* Does a push to `ref` move it? Also by a symbolic ref; what cannot be read is judged as that
 * branch. */
bool cmd_hook_moves(const struct cmd_hook_followed *f, const char *ref);
/* What the hook's --deny and, if the host follows the branch, root's environment file deny. false:
 * a word of --deny is unknown, in `bad`. */
bool cmd_hook_denies(const struct cmd *c, uint32_t *bits, char bad[32]);
struct cmd_git_ask cmd_hook_ask(const struct cmd *c, const char *rev); /* NULL: what is staged */
/* the next line: 1; 0: none; -EBADMSG: not of n words */
int cmd_hook_line(char **input, char *word[4], size_t n);

/* its last screen; `more`: where all is */
void cmd_hook_end(struct cmd_out *to, const struct cmd_out *said, const char *more);
/* "cannot WHAT 'PATH': …", told */
enum cmd_exit cmd_hook_failed(struct cmd *c, const char *what, const char *path, int code);
/* What is done is data for people only: a program that asks for JSON gets the state that came of
 * it. */
struct cmd_out *cmd_hook_talk(struct cmd *c);

/* hook_listen.c */
/* a value of root's environment file. false: not set */
bool cmd_hook_env(const char *name, char *out, size_t room);
/* a host follows one repository; a refusal is told */
enum cmd_exit cmd_hook_may_listen(struct cmd *c, const struct cmd_git_about *a);
enum cmd_exit cmd_hook_listen(struct cmd *c, const struct cmd_git_about *a,
                              const struct cmd_hook_repo *r, const char *branch);
enum cmd_exit cmd_hook_forget(struct cmd *c, const struct cmd_git_about *a,
                              const struct cmd_hook_repo *r);

/* hook_verdict.c */
int cmd_hook_pre_receive(struct cmd *c, char *input);
int cmd_hook_pre_commit(struct cmd *c, char *input);
int cmd_hook_pre_push(struct cmd *c, char *input);

/* hook_turn.c */
struct cmd_hook_target {
    const char *git, *owner, *spec, *host; /* spec: REV:path */
    const char *metrics;                   /* NULL: none */
    /* what such a plan may not do, unless commits since the last apply allow it */
    uint32_t deny;
};
long long cmd_hook_now(void); /* seconds, monotonic */
/* The commit that somebody asked for, as they wrote it into the repository: only a name for the
 * answer, never what is applied. */
bool cmd_hook_asked(const char *git, char out[65]);
/* One runs, one waits; whoever comes while one waits is served by that one, which reads the tip
 * when its turn comes. After `seconds` the caller is told so and goes; the turn is kept. They
 * see the end of what the apply says; with `seconds` 0 (no limit) all of it. */
struct cmd_hook_taken {
    char asked[65]; /* the commit that was asked for when the turn came, or "" */
    /* the one that the branch stood at then, and that was applied; "": it could not be read */
    char applied[65];
    bool begun;
};
enum cmd_exit cmd_hook_turn(struct cmd *c, const struct cmd_hook_target *t, int seconds,
                            struct cmd_hook_taken *out);

/* hook_look.c: say "look now", and wait for what comes of it. `began`: the hook did, after `ref`
 * had moved to `commit`. */
struct timespec;
enum cmd_exit cmd_hook_say(struct cmd *c, const char *ref, const char *commit,
                           const struct timespec *began);
/* Called by berth-look.service: apply what the environment file names, once for all that asked
 * meanwhile. */
int cmd_hook_look(struct cmd *c);
#endif
