/* cmd/observe.h — what an apply tells machines: structured entries of the journal, and a file for
 * node_exporter's textfile collector.
 * Source   systemd.journal-fields(7), the journal's native protocol; the text format of
 *          Prometheus 0.0.4. */
#ifndef CMD_OBSERVE_H
#define CMD_OBSERVE_H
#include "cmd/cmd.h"
#include "reconcile/apply.h"

/* One entry for each step that was done or failed, where the caller's output goes to the journal
 * ($JOURNAL_STREAM); else nothing. */
void cmd_journal_steps(const struct cmd *c, const struct rec_result *r);
/* Written whole, and only if a line of it differs: a run with nothing to do writes nothing. 0,
 * or -errno with *err. */
int cmd_metrics_write(const struct cmd *c, const char *path, const struct rec_result *r,
                      struct rec_error *err);
/* The same for a run that failed before it read the host: out of sync, all else as it stands in
 * the file. */
int cmd_metrics_failed(const char *path, struct rec_error *err);
#endif
