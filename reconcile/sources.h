/* reconcile/sources.h — is everything there that the containers need which a plan starts: roots,
 * tars, bind sources, configurations?
 * When     after the plan is made and before its first step: a container that cannot start
 *          interrupts no other one. Containers that a plan does not start are not looked at. At
 *          boot a container that lacks something fails alone. */
#ifndef RECONCILE_SOURCES_H
#define RECONCILE_SOURCES_H
#include "reconcile/plan.h"

/* -ENOENT: *err names everything that is missing, the first of it with its place in the spec. */
int rec_sources_check(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);

/* The same for a container that is to be stopped and started again, before it is stopped. Also
 * -EINVAL: its root has something in the place of a file that systemd-nspawn reads. */
int rec_sources_check_restart(struct rec_run *run, const struct spec_container *c,
                              struct rec_error *err);
#endif
