/* cmd/hook.h — git hooks: written, taken away, and what they do when git calls them.
 * Files    HOOKS/EVENT, a small shell script that calls `berth hook EVENT`; HOOKS/EVENT.before-berth, the one that was there: it runs
 *          first, with the same arguments and standard input, and its verdict counts.
 * Source   githooks(5). */
#ifndef CMD_HOOK_H
#define CMD_HOOK_H
#include "cmd/range.h"

#define CMD_HOOK_MARK   "# berth-hook 1:"
#define CMD_HOOK_BEFORE ".before-berth"
#define CMD_LOOK_FILE   "berth-look"            /* in the repository: its change says "look now" to berth-look.path */
#define CMD_LOOK_DIR    "/run/berth-look"       /* what came of it, a file a commit, for the pusher to read */
#define CMD_ENV_FILE    "/etc/berth/berth.env"

enum cmd_hook_where { CMD_HOOK_BARE = 1, CMD_HOOK_WORK = 2, CMD_HOOK_APPLY = 4 /* only with --apply */ };
struct cmd_hook_event {
    const char *name;
    unsigned    where;
    bool        input;          /* git gives it lines on standard input */
    int       (*run)(struct cmd *c, char *input);
};
extern const struct cmd_hook_event cmd_hook_events[];
extern const size_t                cmd_n_hook_events;

int cmd_hook_install(struct cmd *c);
int cmd_hook_uninstall(struct cmd *c);
int cmd_hook_status(struct cmd *c);
int cmd_hook_call(struct cmd *c, const struct cmd_hook_event *e);
/* Called by berth-look.service: apply what the environment file names, once for all that asked meanwhile. */
int cmd_hook_look(struct cmd *c);
#endif
