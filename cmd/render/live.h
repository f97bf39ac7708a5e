/* cmd/render/live.h — lines of a plan on a terminal, each when its step is done or has failed.
 * Rule     Up to 50 steps of one kind with one action have a line each. More have one line with
 *          their number, once all are done; a step that fails has its own line.
 * Owns     `told`, from cmd_live_begin to cmd_live_done. Borrows the plan. */
#ifndef CMD_RENDER_LIVE_H
#define CMD_RENDER_LIVE_H
#include "cmd/render/render.h"

enum { CMD_LIVE_EACH = 50, CMD_LIVE_ACTIONS = REC_ADOPT + 1 };
struct cmd_columns {
    size_t object; /* width */
    size_t place;  /* where the spec's line begins */
};
struct cmd_live_group {
    size_t total, done;
};
struct cmd_live {
    struct cmd_render_plan p;
    struct cmd_columns columns;
    struct cmd_live_group group[REC_KINDS][CMD_LIVE_ACTIONS];
    bool *told; /* beside the plan's steps */
};
/* `p->plan` is about to be applied. false: out of memory. */
bool cmd_live_begin(struct cmd_live *l, const struct cmd_out *o, const struct cmd_render_plan *p);
void cmd_live_done(struct cmd_live *l);
/* The step is done or has failed. `us`: how long it took, for a slow step; 0: not said. */
void cmd_live_step(struct cmd_out *o, struct cmd_live *l, const struct rec_step *s, uint64_t us);
/* What has no line yet: steps that were not begun. Then a blank line. */
void cmd_live_rest(struct cmd_out *o, struct cmd_live *l);

/* In plan_text.c. */
struct cmd_columns cmd_columns_of(const struct cmd_out *o, const struct cmd_render_plan *p,
                                  const struct rec_plan *plan);
void cmd_render_done_step(struct cmd_out *o, const struct cmd_render_plan *p,
                          const struct rec_step *s, const struct cmd_columns *w, uint64_t us);
void cmd_render_done_steps(struct cmd_out *o, enum rec_step_state state, enum rec_action action,
                           size_t n, const char *what);
#endif
