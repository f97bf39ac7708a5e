/* cmd/progress.h — one line on the operator's terminal about work that takes over a second, with
 * how long it has taken.
 * Where    standard error, only if that is a terminal, and neither --quiet nor --json was given.
 *          Elsewhere nothing happens.
 * Thread   a separate one writes the line, so that it moves while berth waits for a child. All
 *          calls come from one thread. */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H
#include "cmd/cmd.h"

/* What goes on now; the first call begins the second of silence. `text` is escaped here. */
void cmd_progress_say(struct cmd *c, const char *text);
/* Before anything else is printed: the line goes. After it is printed: the line may come back. */
void cmd_progress_hide(void);
void cmd_progress_show(void);
void cmd_progress_end(void);
#endif
