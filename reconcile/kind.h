/* reconcile/kind.h — the table of kinds: what a kind compares, how it is wanted, read and applied.
 * A kind is one row in kinds.c and one file in kinds/. */
#ifndef RECONCILE_KIND_H
#define RECONCILE_KIND_H
#include "reconcile/run.h"
#include "reconcile/state.h"

struct rec_step;
struct rec_report;

/* What a change of a field costs. Heaviest wins. */
enum rec_effect { REC_LIVE, REC_RELOAD, REC_RESTART, REC_RECREATE };
enum rec_type {
    REC_T_BOOL,
    REC_T_U32,
    REC_T_STRING,
    REC_T_TEXT /* long: told by its changed lines */,
    REC_T_MAC,
    REC_T_CUSTOM /* the kind's `compare` tells */
};
struct rec_field {
    const char *name; /* as people read it: "mtu" */
    enum rec_type type;
    uint16_t offset; /* in struct rec_item */
    enum rec_effect effect;
};
/* Told of each difference: field's index, from and to as text (NULL: absent). */
typedef void (*rec_differs_fn)(void *arg, size_t field, const char *from, const char *to);

struct rec_kind {
    const char *name; /* "bridge" */
    const struct rec_field *fields;
    size_t n_fields;
    /* What the spec asks for. Pure: host only through run->facts. */
    int (*want)(struct rec_run *run, const struct spec_host *host, struct rec_state *out,
                struct rec_error *err);
    /* What the host holds: all that is ours, and what stands where `wanted` things would go.
     * Observes only. */
    int (*read)(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                struct rec_error *err);
    /* Differences of REC_T_CUSTOM fields; NULL: none. */
    void (*compare)(struct spec_arena *a, const struct rec_item *want, const struct rec_item *have,
                    rec_differs_fn differs, void *arg);
    /* Why this may not be done although it could be: `want` NULL: removal of `have`; `have` NULL:
     * creation. NULL: fine. Asked for every step of what is not a plain in-sync; the text lives
     * in `a`. */
    const char *(*conflict)(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *want, const struct rec_item *have,
                            const char **hint);
    /* What is had may not even be taken over with --adopt: the conflict's text then says why.
     * NULL: it may. */
    bool (*never)(const struct rec_item *want, const struct rec_item *have);
    /* a setting that has one value for all (sysctl): changed and given back, never a conflict */
    bool shared;
    /* what is had may not state all fields: what it does not state is no difference */
    bool partial;
    /* the kernel or file keeps a mark of ours: --adopt sets it on what is equal */
    bool marks;
    /* Do these steps, all of this kind's phase, in order, batched; each outcome into the report
     * (rec_report_done/failed). Goes on after a refusal where that is harmless. */
    int (*apply)(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report);
    /* As apply, for removals; NULL: apply does these too. */
    int (*remove)(struct rec_run *run, struct rec_step *const *steps, size_t n,
                  struct rec_report *report);
    /* After all other creations: what must come last (a bridge goes up after its ports). May be
     * NULL. */
    int (*finish)(struct rec_run *run, struct rec_step *const *steps, size_t n,
                  struct rec_report *report);
};
extern const struct rec_kind *const rec_kinds[REC_KINDS];
#endif
