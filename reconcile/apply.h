/* reconcile/apply.h — from a plan to a host that holds it: lock, read, plan, guard, apply, read
 * again, undo.
 * Files    /run/berth/lock; /run/berth/sysctl (what settings were before); nothing there is the
 *          truth about the kernel. */
#ifndef RECONCILE_APPLY_H
#define RECONCILE_APPLY_H
#include "reconcile/plan.h"

struct rec_failure {
    const struct rec_step *step; /* NULL: not one step's */
    struct rec_error error;
};
struct rec_report {
    struct spec_arena *arena;
    struct rec_failure *failures; /* the first one is the cause */
    size_t n_failures;
    size_t done; /* steps done */
    /* one begins, is done or has failed; may be NULL */
    void (*progress)(void *arg, const struct rec_step *s, size_t done, size_t total);
    void *arg;
    size_t total;
};
/* It is being done now: for the operator's eyes. */
void rec_report_begin(struct rec_report *r, const struct rec_step *s);
void rec_report_done(struct rec_report *r, struct rec_step *s);
void rec_report_failed(struct rec_report *r, struct rec_step *s, const struct rec_error *e);

enum rec_outcome {
    REC_IN_SYNC,     /* 0: nothing to do */
    REC_APPLIED,     /* 0 */
    REC_UNTOUCHED,   /* 1: failed, host untouched */
    REC_REFUSED,     /* 4: guard or conflict */
    REC_ROLLED_BACK, /* 5 */
    REC_PARTIAL,     /* 6: `left` says what is left */
    REC_UNSUPPORTED, /* 69 */
    REC_LOCKED,      /* 75 */
    REC_DENIED       /* 77 */
};
/* The process or the traffic of this step's container was interrupted, by a step that was done
 * or begun. */
bool rec_step_interrupted(const struct rec_step *s);
struct rec_result {
    enum rec_outcome outcome;
    struct rec_plan *plan; /* what was to be done; NULL: not that far */
    struct rec_plan *left; /* what differs at the end; NULL: nothing, or not read */
    /* REC_PARTIAL: all but the conflicts in `left` is done, and not undone */
    bool aside;
    /* REC_PARTIAL: all is done but the starts in `report.failures`, and not undone */
    bool alone;
    struct rec_report report;
    struct rec_error error; /* of anything but REC_IN_SYNC and REC_APPLIED: the cause */
    uint64_t us_read, us_apply, us_check;
};
/* want: the state to reach (rec_want, or an empty one for destroy). `dry`: plan and guards only,
 * no lock, no change. */
struct rec_apply_options {
    bool dry;
    bool exempt;      /* a confirmed destroy: no guard on numbers */
    const char *verb; /* for the lock's holder line: "apply" */
    /* called once the plan is made, before it is applied */
    void (*planned)(void *arg, const struct rec_plan *p);
    bool (*confirm)(void *arg, const struct rec_plan *p); /* destroy asks; NULL: yes */
    /* asked before the first step: nothing is begun then; may be NULL */
    bool (*cancelled)(void *arg);
    void (*progress)(void *arg, const struct rec_step *s, size_t done, size_t total);
    void *arg;
    /* Only items for which this says true are planned (start, stop NAME); NULL: all. */
    bool (*only)(void *arg, const struct rec_item *i);
};
int rec_want(struct rec_run *run, const struct spec_host *host, struct rec_state *out,
             struct rec_error *err);
int rec_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
             struct rec_error *err);
int rec_converge(struct rec_run *run, const struct rec_state *want,
                 const struct rec_apply_options *o, struct rec_result *out);
#endif
