/* reconcile/usage.h — what the containers of this host use, at one moment: their cgroups and the
 * counters of their links. */
#ifndef RECONCILE_USAGE_H
#define RECONCILE_USAGE_H
#include "reconcile/cgroup.h"

struct rec_usage {
    const char *name;
    enum spec_runtime runtime;
    pid_t leader; /* 0: a namespace alone */
    /* of the leader: figures of two lives have no difference */
    uint64_t started_ms;
    struct rec_cgroup_usage cgroup;
    const char *link; /* the host's end, NULL: none */
    int index;
    /* as the container sees them */
    uint64_t rx_bytes, tx_bytes, rx_packets, tx_packets;
};
struct rec_usages {
    struct rec_usage *list; /* sorted by name; in the run's arena */
    size_t n;
    uint64_t at_us; /* CLOCK_MONOTONIC */
};
/* Of all containers of ours that are here. */
int rec_usage_read(struct rec_run *run, struct rec_usages *out, struct rec_error *err);
/* The host's end of a container's link, as it is now. -ESRCH: there is none. */
int rec_usage_link(struct rec_run *run, const char *container, char link[16],
                   struct rec_error *err);
#endif
