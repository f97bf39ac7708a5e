/* reconcile/logs.h — what a container's process printed: from the journal where its runtime has a
 * unit there, else from a file.
 * Files    /run/berth/c/NAME/log, and log.old when it has grown (reconcile/contain/contain.h);
 *          /run/berth/failed/NAME: of a container that never started, whose files an undo has taken
 *          away. Kept until it starts or all is destroyed. */
#ifndef RECONCILE_LOGS_H
#define RECONCILE_LOGS_H
#include "reconcile/runtime.h"

/* To `fd`, the last `lines` lines (-1: all); `follow`: until interrupted, or the container's
 * files are gone. */
int rec_logs(struct rec_run *run, const char *container, bool follow, long lines, int fd,
             struct rec_error *err);

/* The log at `path` gets a second name that outlives the container's files. */
void rec_log_keep(const char *container, const char *path);
void rec_log_forget(const char *container);
void rec_logs_forget(struct spec_arena *a); /* of all containers */
#endif
