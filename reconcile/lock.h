/* reconcile/lock.h — one apply at a time: flock on /run/berth/lock (0600, in a 0700 directory of
 * root's). The holder's line inside (pid, start time, verb, since) is for people; the lock
 * itself dies with its process. */
#ifndef RECONCILE_LOCK_H
#define RECONCILE_LOCK_H
#include "reconcile/error.h"

/* -EWOULDBLOCK once timeout_ms have passed: err tells pid, verb and since when. *fd is CLOEXEC. */
int rec_lock(const char *verb, long timeout_ms, int *fd, struct rec_error *err);
#endif
