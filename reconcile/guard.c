/* A guard is a counter with a flag that names the number, so that it cannot become a habit. */
#include "reconcile/guard.h"
#include "reconcile/record.h"
#include <errno.h>
#include <string.h>

int rec_guard_protected(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    char **names = NULL;
    size_t n = 0;
    if (p->protects) {
        rec_fail(err, EPERM, "%s is protected, and this plan would remove or recreate it", p->protects);
        rec_hint(err, "set protect: false in the spec first, and apply that");
        return -EPERM;
    }
    if (!p->removes)
        return 0;
    int r = rec_protected_read(run, &names, &n, err);
    for (size_t i = 0; !r && i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->action != REC_REMOVE || !s->from->container || (s->kind != REC_NETNS && s->kind != REC_RUN) ||
            rec_in_spec(run, s->from->container))
            continue;
        for (size_t k = 0; k < n; k++)
            if (!strcmp(names[k], s->from->container)) {
                rec_fail(err, EPERM, "container %s is protected, and this plan would remove it", names[k]);
                rec_hint(err, "set protect: false for it in the spec first, and apply that");
                return -EPERM;
            }
    }
    return r;
}

int rec_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    int r = rec_guard_protected(run, p, err);
    if (r)
        return r;
    size_t bound = p->ours / 4 > 3 ? p->ours / 4 : 3;
    if (run->opt.allow_deletes >= 0)
        bound = (size_t)run->opt.allow_deletes;
    else if (p->deletes && run->host && !run->host->n_containers && !run->host->n_bridges)
        bound = 0;      /* an empty host is more often a mistake than a wish */
    if (p->deletes <= bound)
        return 0;
    rec_fail(err, EPERM, "this plan deletes %zu containers and bridges of %zu; without a flag %zu may go at once", p->deletes,
             p->ours, bound);
    rec_hint(err, "if that is what you want: --allow-deletes %zu", p->deletes);
    return -EPERM;
}
