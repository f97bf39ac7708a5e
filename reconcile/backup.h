/* reconcile/backup.h — the trees of containers: where they are, how they stand still, and how a
 * new one takes an old one's place. */
#ifndef RECONCILE_BACKUP_H
#define RECONCILE_BACKUP_H
#include "reconcile/cgroup.h"
#include "reconcile/runtime.h"

struct rec_root {
    const char *path;    /* absolute; NULL: such a container has no files of its own */
    const char *staging; /* beside it */
    /* below /var/lib/berth/roots: berth keeps a note of where it came from */
    bool own;
    bool there; /* a directory with something in it */
};
/* `c` NULL: no spec has it, and the tree is where berth would keep one. The run's facts have
 * been read. */
int rec_root_of(struct rec_run *run, const char *name, enum spec_runtime runtime,
                const struct spec_container *c, struct rec_root *out, struct rec_error *err);
/* The directory, for reading. As at a start, a link that others than root may have made is not
 * followed. */
int rec_root_open(struct rec_run *run, const struct rec_root *r, int *fd, struct rec_error *err);
/* Its processes stand still until `f` is thawed; f->guard 0: there are none. -EOPNOTSUPP: they
 * cannot be stopped where they are. */
int rec_root_freeze(struct rec_run *run, const char *name, struct rec_frozen *f,
                    struct rec_error *err);

/* An empty directory at `staging`, open: only this process makes anything of it until it closes
 * *fd. -EWOULDBLOCK: another one does. */
int rec_root_stage(struct rec_run *run, const struct rec_root *r, int *fd, struct rec_error *err);
/* The tree at `staging` becomes the root; what was there stands at `staging` then, whole. Called
 * again it goes back. */
int rec_root_swap(struct rec_run *run, const char *name, const struct rec_root *r,
                  const struct spec_container *c, struct rec_error *err);
/* What stands at `staging` goes for good. */
int rec_root_discard(const struct rec_root *r, struct rec_error *err);

/* The store path that a NixOS container's profile leads to; NULL: none. */
const char *rec_profile_of(struct rec_run *run, const char *name);
/* The text of its conf; NULL: none. */
const char *rec_conf_of(struct rec_run *run, const char *name);
/* nix's garbage collector keeps `system` for the container of that name, until an apply does. */
int rec_system_keep(struct rec_run *run, const char *name, const char *system,
                    struct rec_error *err);
#endif
