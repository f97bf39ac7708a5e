/* reconcile/contain/contain.h — the two parts of berth-contain, which keeps a container's own files
 *          of the host within limits while the container runs.
 * Why      /run is a small file system in memory. A container may fill only what is its own. */
#ifndef RECONCILE_CONTAIN_CONTAIN_H
#define RECONCILE_CONTAIN_CONTAIN_H

#define CONTAIN_ETC_SIZE   "16m" /* tmpfs(5), also in berth.yaml(5), berth(1) and SECURITY.md */
#define CONTAIN_ETC_INODES "16384"
#define CONTAIN_LOG_MOST   (4 << 20) /* bytes of a log file; there are at most two */
/* The same while less than an eighth of the file system is free. */
#define CONTAIN_LOG_LEAST (64 << 10)

/* In a mount namespace that only this process has: a limited copy of `dir` over `dir`. */
int contain_etc(const char *dir); /* -errno, after a message on standard error */
/* Lines from standard input to the end of the file at `path`, until the last writer has gone. */
int contain_log(const char *path); /* -errno */
#endif
