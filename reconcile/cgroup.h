/* reconcile/cgroup.h — a container's cgroup: found by its leader, read, frozen.
 * Files    cgroup2 at /sys/fs/cgroup, or at /sys/fs/cgroup/unified beside version 1.
 * Source   the kernel's admin-guide/cgroup-v2. */
#ifndef RECONCILE_CGROUP_H
#define RECONCILE_CGROUP_H
#include "reconcile/run.h"

/* The directory of the whole container, not only of what its leader is in; NULL: it has none of
 * its own. */
const char *rec_cgroup_of(struct spec_arena *a, pid_t leader, const char *container);
/* What the kernel counts in it and below. What it does not count for this cgroup is added up
 * over processes. */
struct rec_cgroup_usage {
    /* summed: resident memory of the processes */
    bool has_cpu, has_memory, has_tasks, summed;
    uint64_t cpu_us, memory, memory_max, tasks; /* memory_max 0: no bound */
};
void rec_cgroup_usage(const char *dir, struct rec_cgroup_usage *out);

/* Stop all in it where it stands, and wait until it does. Whatever happens to this process
 * meanwhile, it goes on afterwards: a child holds the thread. -EOPNOTSUPP: this kernel cannot;
 * -ETIMEDOUT: it did not within 10 s (and goes on). */
struct rec_frozen {
    pid_t guard;
    int hold;
    /* cgroup.events: tells whether it was thawed meanwhile; only with a guard */
    int events;
};
int rec_cgroup_freeze(const char *dir, struct rec_frozen *out, struct rec_error *err);
/* Has all in it stood still since rec_cgroup_freeze? Another command may thaw, kill or restart
 * it. */
bool rec_cgroup_was_still(const struct rec_frozen *f);
void rec_cgroup_thaw(struct rec_frozen *f);
/* Before a stop: thaw the container's cgroup and all below it, also those that the container froze,
 * so that its processes can act on a signal. Not all of a tree that is deeper than 16 or has more
 * than 4096 cgroups: what stays frozen is killed at the end of the stop. */
void rec_cgroup_thaw_all(struct spec_arena *a, pid_t leader, const char *container);
#endif
