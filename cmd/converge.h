/* cmd/converge.h — from an opened command to a host that holds what it shall: want, converge, and
 * the report of it.
 * Borrows  the command; opens its run where that is not open yet. */
#ifndef CMD_CONVERGE_H
#define CMD_CONVERGE_H
#include "cmd/render/live.h"

struct cmd_converge {
    const char *format; /* of the envelope: "berth.apply" */
    const char *verb;   /* for the lock's holder line */
    const char *done;   /* "Applied 3 steps": its first word */
    bool dry, exempt;
    bool nothing; /* destroy: the state to reach is an empty one */
    bool (*confirm)(void *converge, const struct rec_plan *p);
    char *const *only; /* containers; NULL: everything */
    size_t n_only;
    bool evaluate; /* with `only`: ask nix for these */
    /* Root can always stop a container, so a policy has no say in it, and nothing else of the spec
     * is applied. */
    bool stops;
    /* nothing is printed unless it fails (the first half of a restart) */
    bool silent;
    /* Out. */
    struct cmd *cmd;
    bool pending;  /* dry: there are steps */
    bool asked;    /* confirm has shown the plan */
    bool measured; /* the metrics file was seen to */
    enum rec_outcome outcome;
    bool alone; /* partial: some containers do not run, and all else is done */
    /* when the last step was shown, and when one began or was done; microseconds */
    uint64_t told, seen;
    /* the lines of steps on a terminal, and when the last of them were printed */
    const struct rec_plan *plan;
    struct cmd_live live;
    uint64_t printed;
};
enum cmd_exit cmd_converge(struct cmd *c, struct cmd_converge *v);
/* args.names are held (with `why`) or let go, and those alone converged, in a fresh run. What
 * failed leaves the holds as they were. */
enum cmd_hold {
    CMD_LET_GO,
    CMD_HOLD,
    CMD_HOLD_FOR_NOW /* until this process ends, however it ends */
};
enum cmd_exit cmd_hold_converge(struct cmd *c, const char *format, const char *verb,
                                const char *done, enum cmd_hold to, const char *why, bool silent);
#endif
