/* cmd/git.h — a spec at a revision: `REV:path`, read by a confined program of ours (cmd/git/) under
 * a deadline.
 * Owns     text of what is read, until the caller frees it.
 * Trusts   nothing that the program says: the frame is parsed as a stranger's.
 * Order    before any lock is taken. */
#ifndef CMD_GIT_H
#define CMD_GIT_H
#include "cmd/cmd.h"
#include "cmd/owned_dir.h"

enum { CMD_GIT_SECONDS = 20 };

struct cmd_git_ask {
    const char *git; /* the repository; NULL: the one around */
    /* a user beside root and the caller who may own it: a name or number; NULL: none */
    const char *owner;
    const char *rev;   /* NULL: what is staged */
    const char *index; /* with rev NULL: the index file; "": the repository's own */
    const char *path;
    const char *objects; /* those of a push that is not accepted yet; NULL: none */
    /* collect what the commits after this id let through; NULL: do not, "": those of the tip
     * alone */
    const char *since;
    size_t limit; /* bytes of the file */
};
struct cmd_git {
    char commit[65]; /* "" : staged */
    char ref[256];   /* "refs/heads/main", or "" */
    /* a ref that leads to the commit, for who can only fetch by one, or "" */
    char via[256];
    char author[128], email[128], subject[256], path[1024];
    char repo[1024], work[1024]; /* work: "" in a bare repository */
    char allow[4096];            /* "delete,restart,": values of Berth-Allow trailers */
    long long time;              /* author's, seconds since 1970 */
    bool absent;                 /* the revision is there, and has no such file */
    bool no_revision;
    bool no_commit; /* it is a tree or a file */
    bool exotic;    /* staged: the index is one that only git can read */
};
/* "REV:path": the length of REV. -1: a file's name. ":path" is what is staged. */
int cmd_git_split(const char *spec);
/* CMD_OK, or the exit code with *err. */
enum cmd_exit cmd_git_read(const struct cmd_git_ask *ask, char **text, size_t *len,
                           struct cmd_git *out, struct rec_error *err);
/* The ids of folders at the revision (or of what is staged): equal ids hold the same files. */
enum cmd_exit cmd_git_trees(const struct cmd_git_ask *ask, struct rec_tree *trees, size_t n,
                            struct rec_error *err);
/* A repository itself. `ref` is what HEAD names. */
struct cmd_git_about {
    char repo[1024], work[1024], common[1024], ref[256];
    char hooks[1024];     /* where git looks for hooks */
    char hooks_set[1024]; /* core.hooksPath as it is set, or "" */
};
enum cmd_exit cmd_git_about(const char *git, const char *owner, struct cmd_git_about *out,
                            struct rec_error *err);
enum { CMD_GIT_REF = 4096 }; /* room for the name of a ref */
/* The ref that a push to `ref` moves: another one where `ref` is symbolic. */
enum cmd_exit cmd_git_moved(const struct cmd_git_ask *ask, const char *ref, char out[CMD_GIT_REF],
                            struct rec_error *err);
/* Who may own a repository: the caller, root, who called sudo, and `owner` (a name or number; NULL:
 * nobody else). 0 or -errno with *err. */
int cmd_git_owners(const char *owner, struct owned_trust *out, struct rec_error *err);
/* The commit as a run takes it; borrows `g`. */
struct rec_source cmd_git_source(const struct cmd_git *g);
/* "main", "v1.2", or "" */
const char *cmd_git_short_ref(const struct cmd_git *g);
#endif
