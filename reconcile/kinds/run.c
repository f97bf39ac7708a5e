/* A container runs or does not. That its settings changed, that it lives in a namespace which no longer bears its name, that its nspawn
 * died and left it: each is seen on the process itself, and each is a restart. */
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct rec_item, run.member)
static const struct rec_field fields[] = {
    {"running", REC_T_BOOL, AT(running), REC_LIVE},
    {"settings in force", REC_T_STRING, AT(digest), REC_RESTART},
    {"in a lost network namespace", REC_T_BOOL, AT(stale), REC_RESTART},
    {"left without its nspawn", REC_T_BOOL, AT(orphan), REC_RESTART},
};

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out, struct rec_error *err)
{
    (void)run, (void)h, (void)out, (void)err;
    return 0;       /* kinds/system.c asks the runtimes for all three */
}

static int read_run(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    (void)run, (void)wanted, (void)out, (void)err;
    return 0;
}

static int one(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    const struct rec_runtime *rt = rec_runtime(i->runtime);
    int r = s->from && s->from->run.running ? rt->stop(run, s->from, err) : 0;
    if (r || !s->to || !s->to->run.running)
        return r;
    if (!s->to->spec)       /* undo: a stopped process is not brought back from what was read of it */
        return 0;
    return rt->start(run, s->to, err);
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n, struct rec_report *report)
{
    return rec_each_step(run, steps, n, report, one);
}

const struct rec_kind rec_kind_run = {
    .name = "run", .fields = fields, .n_fields = sizeof fields / sizeof *fields, .want = want, .read = read_run, .apply = apply,
};
