/* The tree that a container's root is unpacked from a tar to: made once, before all else, and never
 * changed. It goes with its container only where the spec said so (on_remove: destroy). */
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <stddef.h>

static const struct rec_field fields[] = {
    {"root", REC_T_STRING, offsetof(struct rec_item, system.path), REC_RESTART},
    {"on_remove", REC_T_STRING, offsetof(struct rec_item, system.on_remove), REC_LIVE},
    /* what runs is told by kind run */
    {"system", REC_T_STRING, offsetof(struct rec_item, system.profile), REC_LIVE},
    {"flake", REC_T_STRING, offsetof(struct rec_item, system.flake), REC_LIVE},
};

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    int r = 0;
    /* The runtimes tell what they want of kinds system, unit and run in one go. */
    for (size_t i = 0; !r && i < h->n_containers; i++) {
        const struct rec_runtime *rt = rec_runtime(rec_runtime_of(run, &h->containers[i]));
        if (rt->want)
            r = rt->want(run, h, &h->containers[i], out, err);
    }
    return r;
}

static int read_system(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                       struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && rec_runtimes[i]; i++)
        if (rec_runtimes[i]->read)
            r = rec_runtimes[i]->read(run, wanted, out, err);
    return r;
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    return rec_each_step(run, steps, n, report, rec_runtime_system);
}

const struct rec_kind rec_kind_system = {.name = "root",
                                         .fields = fields,
                                         .n_fields = 4,
                                         .partial = true,
                                         .want = want,
                                         .read = read_system,
                                         .apply = apply};
