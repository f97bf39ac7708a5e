/* reconcile/guard.h — plans that are refused although they could be done (exit 4): too many deletions, an empty host, a protected
 * container. Each refusal names the flag, and the number, that lets the plan through. */
#ifndef RECONCILE_GUARD_H
#define RECONCILE_GUARD_H
#include "reconcile/plan.h"

/* "restart", … as --deny and a commit's trailer name them; NULL: beyond the last. */
const char *rec_deny_name(enum rec_deny d);
/* 0, or -EPERM with *err. */
int rec_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
/* Protected containers are kept also from a confirmed destroy. */
int rec_guard_protected(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
#endif
