/* reconcile/enter.h — a command inside a container, whatever its runtime.
 * Enters   namespaces (setns by pidfd), the container's cgroup, its capability bound and a clean environment; closes every other
 *          descriptor. A namespace alone: own mount namespace with the container's hosts, resolv.conf, hostname bound over /etc.
 * Source   facts/runtime-and-nat.md C and M1; setns(2), capabilities(7), pty(7). */
#ifndef RECONCILE_ENTER_H
#define RECONCILE_ENTER_H
#include "reconcile/runtime.h"

struct rec_enter {
    const char        *container;
    char *const       *argv;            /* NULL: a root shell (login) */
    bool               tty;             /* a pty of the container's own, if standard input is a terminal */
};
/* Runs it and waits. Exit status as a shell would give it (127: not found, 126: not executable, 128+n: killed by signal n) in *status;
 * signals that berth gets meanwhile (INT, TERM, HUP, QUIT, USR1, USR2, WINCH) are passed on. The first call, unless for a namespace alone,
 * begins the program anew out of a sealed copy (self.h): before it nothing may be said, nor read from standard input. */
int rec_enter(struct rec_run *run, const struct rec_enter *e, int *status, struct rec_error *err);
#endif
