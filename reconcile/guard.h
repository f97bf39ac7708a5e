/* reconcile/guard.h — plans that are refused although they could be done (exit 4): too many
 * deletions, an empty host, a protected container. Each refusal names the flag, and the number,
 * that lets the plan through. */
#ifndef RECONCILE_GUARD_H
#define RECONCILE_GUARD_H
#include "reconcile/plan.h"

#define REC_POLICY_FILE "/etc/berth/policy.yaml" /* its keys may forbid findings */

/* "restart", … as --deny and a commit's trailer name them; NULL: beyond the last. */
const char *rec_deny_name(enum rec_deny d);
/* 0, or -EPERM with *err. */
int rec_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
/* The ids that a container of the wanted state will have on this host: SPEC_USERS_NONE also where
 * `auto` cannot be had, and then *why says what is in the way; else *why is NULL. Containers of
 * other runtimes: SPEC_USERS_AUTO. */
enum spec_users rec_users_in_force(const struct rec_state *want, const char *container,
                                   const char **why);
/* Containers that would run without the user namespace that `auto` asks for, if the options forbid
 * that. */
int rec_users_check(struct rec_run *run, const struct rec_state *want, struct rec_plan *p,
                    struct rec_error *err);
/* Containers that would get a tree which berth kept, and which was made from another source than
 * their spec names, if the options forbid that. */
int rec_kept_roots_check(struct rec_run *run, const struct rec_state *have,
                         const struct rec_state *want, struct rec_plan *p, struct rec_error *err);
/* Bridges of the host that berth did not make, and that the spec would use as they are, if the
 * options forbid that. */
int rec_foreign_bridges_check(struct rec_run *run, const struct rec_state *have,
                              const struct rec_state *want, struct rec_plan *p,
                              struct rec_error *err);
/* The policy's key that allows a finding: "ports_in_use". */
const char *rec_finding_rule(enum rec_finding f);
/* As a refusal, with its place in the spec and the policy's key. */
void rec_forbidden_error(const struct rec_forbidden *f, struct rec_error *err);
/* 0, or -EPERM with the first finding that is forbidden in *err. */
int rec_guard_forbidden(const struct rec_plan *p, struct rec_error *err);
/* Protected containers are kept also from a confirmed destroy. */
int rec_guard_protected(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
#endif
