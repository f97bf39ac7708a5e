/* reconcile/contain/source.h — opens a directory or file of the host that a container gets. A
 * symbolic link on the way is followed only where root alone can change it.
 * Owns     nothing but what a call returns.
 * Why      root of a container writes as uid 0 into its root and its binds. Who owns a link tells
 *          nothing there, so berth writes down which directories containers can write.
 * Kernel   openat2(2), open(2): O_PATH; symlink(7). */
#ifndef RECONCILE_CONTAIN_SOURCE_H
#define RECONCILE_CONTAIN_SOURCE_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct source_place {
    dev_t device;
    ino_t inode;
};
/* What containers can write: `path` sorted, so that each directory comes before those below it. The
 * caller's memory; `place` has room for `n`. The first link that is met fills it in. */
struct source_writable {
    const char *const *path;
    size_t n;
    struct source_place *place;
    size_t n_places;
    bool known;
};
/* A descriptor (O_PATH) of the absolute path, or -errno. -EPERM: a link on the way may not be
 * followed, and `why` is the end of a sentence that begins with the path. */
int source_open(const char *path, struct source_writable *writable, char *why, size_t room);
#endif
