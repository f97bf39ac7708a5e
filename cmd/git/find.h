/* cmd/git/find.h — finds the repository and holds its directories open before the git library sees
 * any of it.
 * Rule     No link and no `.git` file of an untrusted user leads to what is not theirs
 *          (cmd/owned_dir.h). Ownership is that of the open directory. If root is at work and the
 *          repository has another owner, no file in it is read before the process is that user.
 * Source   gitrepository-layout(5) on gitfile, commondir and alternates. */
#ifndef CMD_GIT_FIND_H
#define CMD_GIT_FIND_H
#include "cmd/owned_dir.h"
#include <limits.h>

enum { FOUND_DIRS = 32, FOUND_BORROWED = 24, FOUND_DEPTH = 5 };

struct git_found {
    char path[PATH_MAX];  /* of the repository's directory */
    uid_t uid;            /* who owns it */
    int dirs[FOUND_DIRS]; /* O_PATH: what has to be readable */
    size_t n;
};
/* `git`: NULL: around the working directory. `lead`: who may lead anywhere; `owners`: who may own a
 * repository. */
struct git_find {
    const char *git;
    const struct owned_trust *lead, *owners;
};
/* Ends with a frame that holds the error if there is no such repository, or if it is refused. */
void git_find(const struct git_find *f, struct git_found *out);
/* One more directory or file to be readable, if it is there. */
void git_found_add(struct git_found *g, const char *path);
/* Ends with the error as a frame. `kind`: see main.c. */
__attribute__((noreturn, format(printf, 3, 4))) void git_fail(const char *kind, const char *hint,
                                                              const char *format, ...);
#endif
