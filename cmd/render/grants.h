/* cmd/render/grants.h — what a step gives a container of the host, as the spec has it: root,
 * binds, files of variables, capabilities, router, flake, command. A reviewer, and root, read this
 * in full before a push of somebody else is applied. */
#ifndef CMD_RENDER_GRANTS_H
#define CMD_RENDER_GRANTS_H
#include "reconcile/plan.h"

enum cmd_grants_of {
    CMD_GRANTS_ALL,
    CMD_GRANTS_HOST, /* what of the host is given */
    CMD_GRANTS_COMMAND
};
/* Calls `each` for every line of it; none where the step brings nothing of the kind. */
void cmd_grants(const struct rec_step *s, enum cmd_grants_of which,
                void (*each)(void *arg, const char *field, const char *value), void *arg);
#endif
