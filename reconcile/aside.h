/* reconcile/aside.h — trees that go are put aside first, whole: an undo takes one back from there,
 * and only once an apply holds is it deleted. Put aside under names that no tool takes for a
 * container.
 * Files    DIR/.NAME.berth-gone: whole, and may come back; DIR/.NAME.berth-purge: perhaps half
 *          gone already. */
#ifndef RECONCILE_ASIDE_H
#define RECONCILE_ASIDE_H
#include "reconcile/run.h"
#include "reconcile/state.h"

/* DIR/NAME leaves its place; not there is fine. -EBUSY: something is mounted at it or below;
 * -ELOOP, -ENOTDIR: it is no directory. */
int rec_aside_put(struct rec_run *run, const char *dir, const char *name, struct rec_error *err);
/* 1: the very tree is back in its place; 0: none was put aside, or something has taken its place
 * since. */
int rec_aside_take(struct rec_run *run, const char *dir, const char *name, struct rec_error *err);
/* Called with the tree that was DIR/NAME, just before it is deleted. */
typedef int (*rec_aside_fn)(struct rec_run *run, const char *name, const char *tree,
                            struct rec_error *err);
/* DIR/NAME goes at once, and is never seen half gone. `last` may be NULL. */
int rec_aside_drop(struct rec_run *run, const char *dir, const char *name, rec_aside_fn last,
                   struct rec_error *err);
/* All that is aside in DIR goes for good. A tree that cannot be deleted does not keep the others:
 * `err` is the first failure. */
int rec_aside_purge(struct rec_run *run, const char *dir, rec_aside_fn last, struct rec_error *err);
/* A warning for each of DIR's names that is a tree that an earlier purge could not delete. */
int rec_aside_tell(struct rec_state *out, const char *dir, char *const *names, size_t n);
#endif
