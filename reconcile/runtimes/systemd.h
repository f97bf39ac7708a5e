/* reconcile/runtimes/systemd.h — units of containers, by systemctl and journalctl: a template's
 * instance for each name.
 * Source   systemctl(1), journalctl(1). */
#ifndef RECONCILE_RUNTIMES_SYSTEMD_H
#define RECONCILE_RUNTIMES_SYSTEMD_H
#include "reconcile/run.h"
#include <time.h>

/* "berth@web.service" for template "berth". */
const char *systemd_unit(struct spec_arena *a, const char *template, const char *name);
/* `verb` for the units of all of `names` in one go; n 0: the verb alone. Not zero in *status:
 * *err says what systemctl said. */
int systemd_call(struct rec_run *run, const char *template, const char *verb,
                 const char *const *names, size_t n, int deadline_ms, int *status,
                 struct rec_error *err);
/* The unit's latest journal lines, also those of systemd itself. */
const char *systemd_said(struct rec_run *run, const char *template, const char *name);
/* What its processes, and not systemd itself, have printed since then: a line each, the latest
 * 12; "" nothing. */
const char *systemd_said_since(struct rec_run *run, const char *template, const char *name,
                               const struct timespec *since);
/* The same, or where they printed nothing, the unit's latest journal lines: why it did not
 * start. */
const char *systemd_said_why(struct rec_run *run, const char *template, const char *name,
                             const struct timespec *since);
/* Its ActiveState: "active", "activating", "failed", …; "" where it cannot be known. */
const char *systemd_state(struct rec_run *run, const char *template, const char *name);
/* One property of its unit; "" where it cannot be known. */
const char *systemd_show(struct rec_run *run, const char *template, const char *name,
                         const char *property);
/* machined forgets the machine of that name; whoever still runs in it ends. */
void systemd_machine_end(struct rec_run *run, const char *name);
/* The leader that systemd-machined knows by that name, 0: none. */
pid_t systemd_leader(struct rec_run *run, const char *name, unsigned long long *started);
#endif
