/* reconcile/runtimes/said.h — why a container did not start, out of what systemd-nspawn and its
 * payload printed. */
#ifndef RECONCILE_RUNTIMES_SAID_H
#define RECONCILE_RUNTIMES_SAID_H
#include "reconcile/error.h"
#include "spec/arena.h"

/* *err: "cannot start container 'NAME': CAUSE", and then the other lines of `said`, one a line. The
 * cause is the line that names a failed call; without such a line the last one. With ETIMEDOUT, or
 * where nothing was said, `otherwise` is the cause. */
void rec_said_failure(struct spec_arena *a, struct rec_error *err, int code, const char *container,
                      const char *said, const char *otherwise);
#endif
