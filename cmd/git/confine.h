/* cmd/git/confine.h — the git reader gives up all it does not need before it opens a repository:
 * rights of root, writing, the network, starting programs, memory and time.
 * Source   landlock(7), seccomp(2), setrlimit(2), prctl(2). */
#ifndef CMD_GIT_CONFINE_H
#define CMD_GIT_CONFINE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* At the start: limits of memory (1 GiB), processor time (10 s) and descriptors (64), no core,
 * death with the parent. */
void git_confine_limits(void);
/* Become that user. 0 or -errno. */
int git_confine_user(uid_t uid, gid_t gid);
/* Read below the directories or files that `fds` hold open (O_PATH) and nowhere else, write
 * nowhere. *landlock: whether the kernel has Landlock; without it the limit of reading is missing.
 * Without seccomp that part is missing. 0 or -errno. */
int git_confine_fds(const int *fds, size_t n, bool *landlock);
/* The same for paths; what is not there is left out. */
int git_confine_files(const char *const *dirs, size_t n);
#endif
