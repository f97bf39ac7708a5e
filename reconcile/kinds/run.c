/* A container runs or does not. That its settings changed, that it lives in a namespace which no
 * longer bears its name, that its nspawn died and left it: each is seen on the process itself,
 * and each is a restart. */
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define AT(member) offsetof(struct rec_item, run.member)
static const struct rec_field fields[] = {
    {"running", REC_T_BOOL, AT(running), REC_LIVE},
    {"settings in force", REC_T_STRING, AT(digest), REC_RESTART},
    {"with a lost namespace or lost files", REC_T_BOOL, AT(stale), REC_RESTART},
    {"left without its nspawn, or stuck in its start", REC_T_BOOL, AT(orphan), REC_RESTART},
    {"address in force", REC_T_STRING, AT(address), REC_RESTART},
    {"master", REC_T_STRING, AT(master), REC_LIVE},
    {"system in force", REC_T_STRING, AT(system), REC_RELOAD},
    {"environment in force", REC_T_CUSTOM, 0, REC_RESTART},
    {"log", REC_T_CUSTOM, 0, REC_LIVE},
};
enum { ENVIRONMENT = 7, LOG = 8 };

static void compare(struct spec_arena *a, const struct rec_item *want, const struct rec_item *have,
                    rec_differs_fn differs, void *arg)
{
    const char *w = want->run.environment, *h = have->run.environment;
    (void)a;
    /* An undo does not ask for a log that nobody writes. */
    if (want->run.running && have->run.unlogged && !want->run.unlogged)
        differs(arg, LOG, "nobody writes it", "written");
    /* What waits for the next start has the same variables: its settings tell. */
    if (!(want->stated & have->stated & ~have->later & 1u << ENVIRONMENT) || rec_same_text(w, h))
        return;
    differs(arg, ENVIRONMENT, h ? "(set)" : NULL, !w ? NULL : h ? "(changed)" : "(set)");
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    (void)run, (void)h, (void)out, (void)err;
    return 0; /* kinds/system.c asks the runtimes for all three */
}

static int read_run(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                    struct rec_error *err)
{
    (void)run, (void)wanted, (void)out, (void)err;
    return 0;
}

static const struct rec_item *item_of(const struct rec_step *s)
{
    return s->to ? s->to : s->from;
}

static bool up(const struct rec_item *i)
{
    return i && i->run.running;
}

/* A container that goes on running through the step. */
static bool stays(const struct rec_step *s)
{
    return s->action != REC_CREATE && s->action != REC_REMOVE && up(s->from) && up(s->to) &&
           s->effect < REC_RESTART;
}

enum way { STOP, MEND, RELOAD, START };

static bool goes(const struct rec_step *s, enum way way)
{
    switch (way) {
    case STOP:
        return up(s->from) && !stays(s);
    case START:
        return up(s->to) && !stays(s);
    case RELOAD:
        return stays(s) && s->effect == REC_RELOAD;
    case MEND:
        break;
    }
    return stays(s);
}

/* What runs is stopped by the runtime that runs it. */
static const struct rec_runtime *runtime(const struct rec_step *s, enum way way)
{
    return rec_runtime((way == STOP ? s->from : item_of(s))->runtime);
}

/* One way for all steps of one runtime that go it: those that failed before are left out. */
static void go(struct rec_run *run, const struct rec_runtime *rt, struct rec_step *const *steps,
               size_t n, enum way way, const char **names, struct rec_error *err, size_t *at)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (steps[i]->state == REC_PENDING && goes(steps[i], way) && runtime(steps[i], way) == rt) {
            names[k] = item_of(steps[i])->container;
            at[k] = i;
            err[k] = (struct rec_error){0};
            if (way == MEND && rt->mend)
                rt->mend(run, steps[i], &err[k]);
            k++;
        }
    if (k && way == RELOAD && rt->reload)
        rt->reload(run, names, k, err);
    else if (k && (way == START || way == STOP))
        (way == START ? rt->start : rt->stop)(run, names, k, err);
}

static int way(struct rec_run *run, struct rec_step *const *steps, size_t n, enum way which,
               struct rec_report *report)
{
    const char **names = spec_arena_alloc(run->arena, n * sizeof *names);
    size_t *at = spec_arena_alloc(run->arena, n * sizeof *at);
    struct rec_error *err = calloc(n, sizeof *err);
    int bad = 0;
    for (size_t t = 0; names && at && err && rec_runtimes[t]; t++) {
        memset(at, 0xff, n * sizeof *at);
        if (rec_runtimes[t]->start)
            go(run, rec_runtimes[t], steps, n, which, names, err, at);
        for (size_t k = 0; k < n && at[k] != SIZE_MAX; k++) {
            if (!err[k].code)
                continue;
            if (!err[k].at.line)
                err[k].at = steps[at[k]]->at;
            rec_report_failed(report, steps[at[k]], &err[k]);
            bad = -err[k].code;
        }
    }
    free(err);
    return names && at && err ? bad : -ENOMEM;
}

/* A restart is a stop and a start; all that go down do so together, and all that come up. What
 * does lighter goes on running. */
static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e;
    int bad = 0;
    if (n)
        rec_report_begin(report, steps[0]);
    for (enum way w = STOP; bad != -ENOMEM && w <= START; w++) {
        int r = way(run, steps, n, w, report);
        bad = r ? r : bad;
    }
    if (bad == -ENOMEM) {
        rec_fail(&e, ENOMEM, "out of memory");
        rec_report_failed(report, n ? steps[0] : NULL, &e);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        if (steps[i]->state == REC_PENDING)
            rec_report_done(report, steps[i]);
    return bad;
}

const struct rec_kind rec_kind_run = {
    .name = "run",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .compare = compare,
    .want = want,
    .read = read_run,
    .apply = apply,
    .partial = true,
};
