/* reconcile/listeners.h — service ports of this host that new port maps would take from the
 * programs that use them.
 * Source   sockets by sock_diag(7), their processes by proc(5): /proc/PID/fd, /proc/PID/comm. */
#ifndef RECONCILE_LISTENERS_H
#define RECONCILE_LISTENERS_H
#include "reconcile/plan.h"

/* Looks only where `p` changes the tables, and only at port maps that are new in it. Each program
 * that listens on such a port becomes a warning of the plan, or is forbidden by opt.forbid if the
 * last apply did not claim that port. Maps that would take a port on which sshd has a connection
 * are refused, unless opt.own_connection: *kept is then
 * what is wanted without them, and *refusal says which; else *kept is NULL. Both live in the
 * run's arena. */
int rec_listeners_check(struct rec_run *run, const struct rec_state *want, struct rec_plan *p,
                        const struct rec_state **kept, struct rec_error *refusal,
                        struct rec_error *err);

/* Clients that sshd has a connection with, of those for which `wanted` says true: in a timer or
 * a hook the environment names none. */
int rec_sshd_clients(struct rec_run *run, bool (*wanted)(void *arg, const struct spec_addr *client),
                     void *arg, struct spec_addr **out, size_t *n, struct rec_error *err);
#endif
