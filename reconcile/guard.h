/* reconcile/guard.h — plans that are refused although they could be done (exit 4): too many deletions, an empty host, a protected
 * container. Each refusal names the flag, and the number, that lets the plan through. */
#ifndef RECONCILE_GUARD_H
#define RECONCILE_GUARD_H
#include "reconcile/plan.h"

/* "restart", … as --deny and a commit's trailer name them; NULL: beyond the last. */
const char *rec_deny_name(enum rec_deny d);
/* 0, or -EPERM with *err. */
int rec_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
/* The ids that a container of the wanted state will have on this host: SPEC_USERS_NONE also where
 * `auto` cannot be had, and then *why says what is in the way; else *why is NULL. Containers of
 * other runtimes: SPEC_USERS_AUTO. */
enum spec_users rec_users_in_force(const struct rec_state *want, const char *container,
                                   const char **why);
/* Whether a spec out of a repository would run a container without the user namespace that `auto`
 * asks for, although the options refuse that. 0, or -EPERM with *err. */
int rec_guard_users(struct rec_run *run, const struct rec_state *want, struct rec_error *err);
/* Protected containers are kept also from a confirmed destroy. */
int rec_guard_protected(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
#endif
