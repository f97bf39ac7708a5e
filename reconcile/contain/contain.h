/* reconcile/contain/contain.h — the parts of berth-contain, which keeps a container to what is its
 *          own: files of the host within limits, and sources that no link can exchange.
 * Why      /run is a small file system in memory. A container may fill only what is its own, and
 *          may not choose which directories of the host it gets. */
#ifndef RECONCILE_CONTAIN_CONTAIN_H
#define RECONCILE_CONTAIN_CONTAIN_H

#define CONTAIN_ETC_SIZE   "16m" /* tmpfs(5), also in berth.yaml(5), berth(1) and SECURITY.md */
#define CONTAIN_ETC_INODES "16384"
#define CONTAIN_CGROUPS                                                                            \
    "4096" /* that a container may make; also in berth.yaml(5) and SECURITY.md */
#define CONTAIN_LOG_MOST (4 << 20) /* bytes of a log file; there are at most two */
/* The same while less than an eighth of the file system is free. */
#define CONTAIN_LOG_LEAST (64 << 10)

/* What containers can write: sorted paths, each with its NUL. berth writes this file. */
#define CONTAIN_WRITABLE "/var/lib/berth/writable"

/* Executes systemd-nspawn, whose path and arguments `argv` has: in a mount namespace, with paths
 * of it in the arguments, and with a limited copy of DIR/etc if that is a source. `dir` is the
 * container's directory of berth's. Returns only -errno, after a message on standard error. */
int contain_start(const char *dir, char **argv);
/* In a mount namespace that only this process has: a limited copy of `dir` over `dir`. */
int contain_etc(const char *dir); /* -errno, after a message on standard error */
/* Limits the cgroups below that of this process. Without cgroup2 there is nothing to limit. */
void contain_cgroups(void);
/* Lines from standard input to the end of the file at `path`, until the last writer has gone. */
int contain_log(const char *path); /* -errno */
#endif
