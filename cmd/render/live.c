/* Which steps have a line of their own, and when. */
#include "cmd/render/live.h"
#include <stdlib.h>

static const char *name_of(enum rec_kind_id kind)
{
    switch (kind) {
    case REC_SYSTEM:
        return "systems";
    case REC_BRIDGE:
        return "bridges";
    case REC_ADDRESS:
        return "addresses of bridges";
    case REC_NAT:
        return "rulesets";
    case REC_SYSCTL:
        return "sysctls";
    case REC_NAMES:
        return "files with names";
    case REC_NETNS:
        return "network namespaces";
    case REC_PORT:
        return "ports";
    case REC_UNIT:
        return "units";
    case REC_RUN:
        return "processes of containers";
    case REC_KINDS:
        break;
    }
    return "";
}

static struct cmd_live_group *group_of(struct cmd_live *l, const struct rec_step *s)
{
    return &l->group[s->kind][s->action];
}

static bool is_counted(struct cmd_live *l, const struct rec_step *s)
{
    return group_of(l, s)->total > CMD_LIVE_EACH;
}

bool cmd_live_begin(struct cmd_live *l, const struct cmd_out *o, const struct cmd_render_plan *p)
{
    *l = (struct cmd_live){.p = *p, .told = calloc(p->plan->n + 1, sizeof *l->told)};
    if (!l->told)
        return false;
    l->p.applied = true;
    l->columns = cmd_columns_of(o, &l->p, p->plan);
    for (size_t i = 0; i < p->plan->n; i++)
        group_of(l, p->plan->steps[i])->total++;
    return true;
}

void cmd_live_done(struct cmd_live *l)
{
    free(l->told);
    l->told = NULL;
}

/* false: it is no step of this plan, or has a line already. */
static bool tell_once(struct cmd_live *l, const struct rec_step *s)
{
    for (size_t i = 0; i < l->p.plan->n; i++)
        if (l->p.plan->steps[i] == s) {
            bool first = !l->told[i];
            l->told[i] = true;
            return first;
        }
    return false;
}

void cmd_live_step(struct cmd_out *o, struct cmd_live *l, const struct rec_step *s, uint64_t us)
{
    struct cmd_live_group *g = group_of(l, s);
    if (s->state == REC_DONE && is_counted(l, s)) {
        if (++g->done == g->total)
            cmd_render_done_steps(o, REC_DONE, s->action, g->total, name_of(s->kind));
    } else if (tell_once(l, s)) {
        cmd_render_done_step(o, &l->p, s, &l->columns, us);
    }
}

static void count_rest(struct cmd_out *o, const struct cmd_live *l, enum rec_step_state state,
                       enum rec_kind_id kind, enum rec_action action)
{
    size_t n = 0;
    for (size_t i = 0; i < l->p.plan->n; i++) {
        const struct rec_step *s = l->p.plan->steps[i];
        n += !l->told[i] && s->state == state && s->kind == kind && s->action == action;
    }
    if (n)
        cmd_render_done_steps(o, state, action, n, name_of(kind));
}

void cmd_live_rest(struct cmd_out *o, struct cmd_live *l)
{
    for (size_t i = 0; i < l->p.plan->n; i++)
        if (!l->told[i] && !is_counted(l, l->p.plan->steps[i]))
            cmd_render_done_step(o, &l->p, l->p.plan->steps[i], &l->columns, 0);
    for (enum rec_kind_id kind = 0; kind < REC_KINDS; kind++)
        for (enum rec_action action = 0; action <= REC_ADOPT; action++) {
            const struct cmd_live_group *g = &l->group[kind][action];
            if (g->total <= CMD_LIVE_EACH || g->done == g->total)
                continue;
            for (enum rec_step_state state = 0; state <= REC_FAILED; state++)
                count_rest(o, l, state, kind, action);
        }
    if (l->p.plan->n)
        cmd_put(o, "\n");
}
