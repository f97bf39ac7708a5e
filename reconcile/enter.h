/* reconcile/enter.h — a command inside a container, whatever its runtime.
 * Enters   all namespaces, the container's cgroup, its capability bound and its system call filter,
 *          with a clean environment, before a process inside can see the command. A namespace
 *          alone: own mount namespace with the container's hosts, resolv.conf, hostname bound over
 *          /etc.
 * Program  berth-enter (reconcile/enter/main.c) does it, from a sealed copy.
 * Source   setns(2), capabilities(7), seccomp(2), pty(7). */
#ifndef RECONCILE_ENTER_H
#define RECONCILE_ENTER_H
#include "reconcile/runtime.h"

struct rec_enter {
    const char *container;
    char *const *argv;   /* NULL: a root shell (login) */
    const char *program; /* path of berth-enter */
};
/* Runs it and waits. Exit status as a shell would give it (127: not found, 126: not executable,
 * 128+n: killed by signal n) in *status. The command gets a pty and pipes of its own (relay.h).
 * Signals that berth receives meanwhile are passed on. */
int rec_enter(struct rec_run *run, const struct rec_enter *e, int *status, struct rec_error *err);
#endif
