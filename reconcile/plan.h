/* reconcile/plan.h — plan(from, to): the ordered steps that make one state into the other. Pure: no
 * effect, no kernel. What is printed is what apply sends: apply decides nothing. */
#ifndef RECONCILE_PLAN_H
#define RECONCILE_PLAN_H
#include "reconcile/kind.h"

enum rec_action {
    REC_CREATE,
    REC_CHANGE,
    REC_REMOVE,
    REC_REPLACE /* remove and create: recreate */,
    REC_ADOPT
};
enum rec_step_state { REC_PENDING, REC_DONE, REC_FAILED };

struct rec_difference {
    const char *field;
    const char *from, *to; /* NULL: absent */
};
struct rec_step {
    enum rec_action action;
    enum rec_kind_id kind;
    const struct rec_item *from, *to; /* NULL: is not there / shall not be */
    uint32_t changed;                 /* bit per field */
    enum rec_effect effect;           /* live, reload, restart, recreate */
    struct rec_difference *differences;
    size_t n_differences;
    /* "bridge br-containers", "port container1 (vb-container1)" */
    const char *object;
    /* "missing", "mtu differs", "no longer in the spec", "it died" … */
    const char *reason;
    /* names of the containers whose traffic or process is interrupted, "" none */
    const char *blinks;
    bool final; /* undo never passes it */
    /* the kernel does it with another step (an address goes with its link) */
    bool implied;
    /* the container makes its namespace itself, and whatever starts it makes the port
     * (own_network.h): the step says that, and does nothing */
    bool with_start;
    bool unmark; /* undo of an adoption: the owner's mark is taken off */
    struct spec_loc at;
    enum rec_step_state state; /* set by apply */
    /* set by apply: of the eth0 that this step made in a container, 0: none */
    int eth0_index;
};
struct rec_conflict { /* different and not ours: exit 4 until --adopt */
    const struct rec_item *from, *to;
    const char *object, *text, *hint;
    struct spec_loc at;
    /* nothing depends on it: a destroy does all else and leaves it */
    bool aside;
};
struct rec_forbidden { /* a finding that the options forbid */
    enum rec_finding finding;
    const char *text;
    /* what the policy's key would have to hold; NULL: `allow` */
    const char *value;
    struct spec_loc at;
};
struct rec_plan {
    struct rec_step **steps; /* in the order of apply */
    size_t n;
    struct rec_conflict *conflicts;
    size_t n_conflicts;
    const struct rec_note *notes; /* of both states */
    size_t n_notes;
    size_t creates, changes, removes, replaces, adopts;
    size_t deletes; /* containers and bridges that go, for the guard */
    size_t deleted_containers;
    size_t ours;      /* containers and bridges that are ours now */
    uint32_t unknown; /* bit per kind that could not be read */
    /* wanted, in sync as far as it is known: their `unknown` says what is not */
    const struct rec_item **not_known;
    size_t n_not_known;
    /* refused unless --allow-own-connection: a new subnet takes over a way (overlap.h); or NULL */
    const struct rec_error *cuts;
    struct rec_forbidden *forbidden; /* each is a reason to refuse the plan (guard.h) */
    size_t n_forbidden;
    /* port maps that are wanted, and refused for now: one for each port (listeners.h) */
    size_t n_pending;
    /* had: differs only because berth changed; its `next_start` says what that brings */
    const struct rec_item **later;
    size_t n_later;
    const char *protects; /* a protected object that would go, or NULL */
};
/* `only`: plan just the items for which it says true; NULL: all. */
int rec_plan(struct rec_run *run, const struct rec_state *from, const struct rec_state *to,
             bool (*only)(void *arg, const struct rec_item *i), void *arg, struct rec_plan **out,
             struct rec_error *err);
/* One more warning, found by a look at the plan itself. `hint` may be NULL. Texts are copied. */
int rec_plan_warn(struct rec_run *run, struct rec_plan *p, const char *object, const char *hint,
                  const char *text);
/* The ports, one for each `i`, that the step lets send from any address and that it found
 * otherwise, as far as that is known; NULL: no more. */
const char *rec_step_router(const struct rec_step *s, size_t i);
/* A finding that opt.forbid has. `text` and `value` are borrowed; text NULL: -ENOMEM. */
int rec_plan_forbid(struct rec_run *run, struct rec_plan *p, enum rec_finding finding,
                    struct spec_loc at, const char *text, const char *value);
/* Where in the plan a step stands: groups of equal rank are applied together (order.c). */
/* Would a plan change `have` so as to become `want`, both of one kind; also where memory is out. */
bool rec_item_differs(struct rec_run *run, const struct rec_item *have,
                      const struct rec_item *want);
/* Items of kind run: would the process go on running through a plan from `have` to `want`. */
bool rec_process_goes_on(struct rec_run *run, const struct rec_item *have,
                         const struct rec_item *want);
int rec_step_rank(const struct rec_step *s);
extern const int rec_finish_rank; /* steps of a higher rank come after the kinds' finish */
void rec_plan_sort(struct rec_plan *p);
/* "port web (vb-web)". */
const char *rec_item_object(struct spec_arena *a, const struct rec_item *i);
/* Is the container in the spec's host (then its removal is a stop). */
bool rec_in_spec(const struct rec_run *run, const char *container);
/* Does the step belong to the removal of a whole container, running or not, or of a bridge. */
bool rec_step_ends(const struct rec_run *run, const struct rec_step *s);
const char *rec_action_sign(enum rec_action a); /* "+", "~", "-", "±", "=" */
const char *rec_effect_name(enum rec_effect e); /* "live", … */
#endif
