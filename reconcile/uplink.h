/* reconcile/uplink.h — what a spec needs of this host's way out and does not find yet: default
 * routes and a resolver.
 * Why      at boot berth may run before the uplink has its address; NAT with `interface: auto` then
 *          has no link to go out by.
 * Kernel   rtnetlink(7) RTMGRP_*, inotify(7). */
#ifndef RECONCILE_UPLINK_H
#define RECONCILE_UPLINK_H
#include "reconcile/run.h"

struct rec_pending {
    /* a bridge with NAT by `auto` has this family, and the host has no default route of it */
    bool route4, route6;
    /* containers shall get the host's nameservers, and it has none */
    bool resolver;
    /* something is missing without which a bridge has no NAT, or its containers no resolver */
    bool needed;
    const char *bridge; /* of the first route that is missing */
};
/* Reads the facts of `run` again; run->host is the spec's host. */
int rec_uplink_pending(struct rec_run *run, struct rec_pending *out, struct rec_error *err);
static inline bool rec_pending_any(const struct rec_pending *p)
{
    return p->route4 || p->route6 || p->resolver;
}

/* Changes of links, routes and resolv.conf since it was opened. */
struct rec_uplink_watch;
int rec_uplink_watch_open(struct rec_uplink_watch **out, struct rec_error *err);
void rec_uplink_watch_close(struct rec_uplink_watch *w); /* NULL is fine */
/* Waits up to `ms` milliseconds. 1: something changed, or a signal came; 0: nothing did. */
int rec_uplink_wait(struct rec_uplink_watch *w, int ms, struct rec_error *err);
#endif
