/* Settings that a container's process is started with: one text. What is in force is told by the
 * process (kind run). */
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <stddef.h>

static const struct rec_field fields[] = {
    {"settings", REC_T_TEXT, offsetof(struct rec_item, unit.text), REC_LIVE},
    {"flake", REC_T_TEXT, offsetof(struct rec_item, unit.flake), REC_LIVE},
    {"environment", REC_T_CUSTOM, 0, REC_LIVE},
    {"network at start", REC_T_TEXT, offsetof(struct rec_item, unit.network), REC_LIVE},
};
enum { ENVIRONMENT = 2 };

static void compare(struct spec_arena *a, const struct rec_item *want, const struct rec_item *have,
                    rec_differs_fn differs, void *arg)
{
    const char *w = want->unit.environment, *h = have->unit.environment;
    (void)a;
    if (!(want->stated & have->stated & 1u << ENVIRONMENT) || rec_same_text(w, h))
        return;
    differs(arg, ENVIRONMENT, h ? "(set)" : NULL, !w ? NULL : h ? "(changed)" : "(set)");
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    (void)run, (void)h, (void)out, (void)err;
    return 0; /* kinds/system.c asks the runtimes for all three */
}

static int read_unit(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                     struct rec_error *err)
{
    (void)run, (void)wanted, (void)out, (void)err;
    return 0;
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e = {0};
    int r = rec_each_step(run, steps, n, report, rec_runtime_unit);
    for (size_t i = 0; rec_runtimes[i]; i++)
        if (rec_runtimes[i]->units_done && rec_runtimes[i]->units_done(run, &e)) {
            rec_report_failed(report, n ? steps[n - 1] : NULL, &e);
            r = -e.code;
        }
    return r;
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    (void)a, (void)from;
    if (!w || !have || (have->ours && !have->unit.foreign))
        return NULL;
    *hint = have->unit.foreign ? have->unit.foreign_hint
                               : "give --adopt to take it over, or choose another name";
    return have->unit.foreign
               ? have->unit.foreign
               : "a container of that name is here already, and berth did not make it";
}

static bool never(const struct rec_item *w, const struct rec_item *have)
{
    (void)w;
    return have->unit.foreign != NULL;
}

const struct rec_kind rec_kind_unit = {.name = "unit",
                                       .fields = fields,
                                       .n_fields = sizeof fields / sizeof *fields,
                                       .compare = compare,
                                       .want = want,
                                       .read = read_unit,
                                       .conflict = conflict,
                                       .never = never,
                                       .apply = apply};
