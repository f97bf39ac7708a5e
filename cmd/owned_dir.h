/* cmd/owned_dir.h — directories of other users: opened and changed so that their owner cannot lead
 * berth anywhere else.
 * Owns     the descriptor of struct owned_dir, from open to close. No path is resolved again after
 *          that.
 * Rule     A symbolic link, or a file that names a directory, may lead anywhere if a trusted user
 *          made it. If another user made it, it may lead only to what belongs to that user. Below a
 *          directory of another user no symbolic link is followed at all.
 * Callers  cmd/hook_*.c for every write into a repository, cmd/git/ for reading one,
 *          cmd/spec_file.c for ./berth.yaml. tests/hook_calls.sh checks that the hook code has no
 *          other way to write there.
 * Source   openat2(2), path_resolution(7), link(2) on protected_hardlinks. */
#ifndef CMD_OWNED_DIR_H
#define CMD_OWNED_DIR_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { OWNED_MOST = 8 };
#define OWNED_NOBODY ((uid_t)-1)

struct owned_trust {
    uid_t uids[OWNED_MOST];
    size_t n;
};
bool owned_trusts(const struct owned_trust *t, uid_t uid);
void owned_trust_add(struct owned_trust *t, uid_t uid);

/* Note that `uid` decides where the path leads. -EXDEV: two untrusted users decide. `lead`:
 * OWNED_NOBODY until an untrusted one does. */
int owned_lead(const struct owned_trust *t, uid_t uid, uid_t *lead);

/* Resolves `path` step by step from `base` (AT_FDCWD, or a directory). *out is an O_PATH descriptor
 * that is no symbolic link. -EXDEV: an untrusted user leads to what is not theirs; *lead is that
 * user. Else 0 or -errno. */
int owned_walk(int base, const char *path, const struct owned_trust *t, uid_t *lead, int *out);

struct owned_dir {
    int fd; /* for reading; -1: not open */
    uid_t uid;
    gid_t gid;
};
/* The directory at `path`, by owned_walk. 0 or -errno. */
int owned_open(const char *path, const struct owned_trust *t, struct owned_dir *out);
/* A directory below `top`: no link, no "..", no other mount. It belongs to top's owner, to root or
 * to the caller: else -EXDEV. */
int owned_below(const struct owned_dir *top, const char *path, struct owned_dir *out);
void owned_close(struct owned_dir *d);

/* Each of these acts on one name in the directory, without "/". 0 or -errno. */
/* 0 also if the name exists */
int owned_mkdir(const struct owned_dir *d, const char *name);
/* of a link itself */
int owned_stat(const struct owned_dir *d, const char *name, struct stat *st);
bool owned_there(const struct owned_dir *d, const char *name);
/* bytes. -EINVAL: no regular file */
ssize_t owned_read(const struct owned_dir *d, const char *name, char *out, size_t room);
/* bytes, without an end */
ssize_t owned_readlink(const struct owned_dir *d, const char *name, char *out, size_t room);
int owned_write(const struct owned_dir *d, const char *name, const char *bytes, size_t n,
                mode_t mode); /* a new file takes the name */
int owned_symlink(const struct owned_dir *d, const char *name, const char *target);
int owned_unlink(const struct owned_dir *d, const char *name);
int owned_rmdir(const struct owned_dir *d, const char *name);
int owned_rename(const struct owned_dir *from, const char *name, const struct owned_dir *to,
                 const char *new_name);
/* A regular file with one link that belongs to the directory's owner. Any other object of that name
 * is replaced by an empty file. */
int owned_give(const struct owned_dir *d, const char *name, mode_t mode);
#endif
