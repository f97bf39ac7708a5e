/* reconcile/files.h — the one place that touches files: beneath held directories, never through a
 * symlink, whole or not at all.
 * Order    temporary file (O_EXCL, a name that the next run recognises: .NAME.berth-new) → write →
 *          fsync → rename → fsync(dir).
 * Source   openat2(2), renameat2(2). */
#ifndef RECONCILE_FILES_H
#define RECONCILE_FILES_H
#include "reconcile/error.h"
#include "spec/arena.h"
#include <sys/types.h>

/* The whole file, at most `max` bytes, with a NUL after it. -ENOENT; -ELOOP: a symlink; -EINVAL:
 * not a regular file. */
int rec_file_read(struct spec_arena *a, const char *path, size_t max, char **text, size_t *len,
                  struct rec_error *err);
/* -EINVAL: not a link */
int rec_link_read(struct spec_arena *a, const char *path, char **target, struct rec_error *err);
/* Replace or make `path` atomically, mode as given; parents must be there. */
int rec_file_write(const char *path, const char *text, size_t len, mode_t mode,
                   struct rec_error *err);
/* The same inode keeps its place (bind mounts of it go on working): one write, then truncate.
 * Made, if it is not there. */
int rec_file_rewrite(const char *path, const char *text, size_t len, mode_t mode,
                     struct rec_error *err);
/* rec_file_rewrite for a file that containers read through a bind. It belongs to an id that nobody
 * has, so that the user ids of a container do not suffice for a lease on it (fcntl(2), F_SETLEASE),
 * which would stop the next write. -EBUSY: a lease was not given up within a second. */
#define REC_SHARED_OWNER 2147483646
int rec_file_share(const char *path, const char *text, size_t len, struct rec_error *err);
/* atomically, over a link only */
int rec_link_write(const char *path, const char *target, struct rec_error *err);
/* What a killed run left of writing `path`, or anything in directory `path`. */
void rec_file_unfinished(const char *path);
void rec_dir_unfinished(struct spec_arena *a, const char *path);
/* gone already is fine */
int rec_file_remove(const char *path, struct rec_error *err);
/* parents too; there already is fine */
int rec_dir_make(const char *path, mode_t mode, struct rec_error *err);
/* sorted; ENOENT: none */
int rec_dir_list(struct spec_arena *a, const char *path, char ***names, size_t *n,
                 struct rec_error *err);
/* A directory to another name on its file system, where nothing may stand. -EBUSY: something is
 * mounted at it or below. */
int rec_tree_move(const char *from, const char *to, struct rec_error *err);
/* Two directories beside each other change their names with one another, at once. -EBUSY as
 * above. */
int rec_tree_exchange(const char *a, const char *b, struct rec_error *err);
/* Everything below and the directory itself, without crossing a mount or following a link. */
int rec_tree_remove(const char *path, struct rec_error *err);
#endif
