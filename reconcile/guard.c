/* A guard is a counter with a flag that names the number, so that it cannot become a habit. */
#include "reconcile/guard.h"
#include "reconcile/kinds.h"
#include "reconcile/record.h"
#include <errno.h>
#include <string.h>

int rec_guard_protected(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    char **names = NULL;
    size_t n = 0;
    if (p->protects) {
        rec_fail(err, EPERM, "%s is protected, and this plan would remove or recreate it",
                 p->protects);
        rec_hint(err, "set protect: false in the spec first, and apply that");
        return -EPERM;
    }
    if (!p->n || run->opt.offline || !run->facts.root)
        return 0;
    int r = rec_protected_read(run, &names, &n, err);
    for (size_t i = 0; !r && i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (!rec_step_ends(run, s) || !s->from->container)
            continue;
        for (size_t k = 0; k < n; k++)
            if (!strcmp(names[k], s->from->container)) {
                rec_fail(err, EPERM, "container %s is protected, and this plan would remove it",
                         names[k]);
                rec_hint(err, "set protect: false for it in the spec first, and apply that");
                return -EPERM;
            }
    }
    return r;
}

static const struct {
    const char *name, *does;
} denials[REC_DENIES] = {
    [REC_DENY_RELOAD] = {"reload", "reloads"},
    [REC_DENY_RESTART] = {"restart", "restarts"},
    [REC_DENY_RECREATE] = {"recreate", "recreates"},
    [REC_DENY_DELETE] = {"delete", "deletes"},
};

const char *rec_deny_name(enum rec_deny d)
{
    return d < REC_DENIES ? denials[d].name : NULL;
}

/* The spec says that a container which runs, or whose namespace is there, is stopped. What
 * `berth stop` holds was stopped by root. */
static bool stops(const struct rec_run *run, const struct rec_step *s)
{
    const struct rec_item *from = s->from, *to = s->to;
    bool ends = from && from->container &&
                ((s->kind == REC_RUN && from->run.running && (!to || !to->run.running)) ||
                 (s->kind == REC_NETNS && s->action == REC_REMOVE));
    return ends && !rec_is_held(run, from->container);
}

/* What a step does that somebody may not want, as a bit per enum rec_deny. */
static uint32_t does(const struct rec_run *run, const struct rec_step *s)
{
    if (s->action == REC_REPLACE || s->effect == REC_RECREATE)
        return 1u << REC_DENY_RECREATE;
    if (rec_step_ends(run, s))
        return 1u << REC_DENY_DELETE;
    /* A container that is stopped on purpose goes the way of one that is started again. */
    if (s->action != REC_CREATE &&
        (s->effect == REC_RESTART || (s->action == REC_REMOVE && s->kind == REC_RUN) ||
         stops(run, s)))
        return 1u << REC_DENY_RESTART;
    return s->action != REC_CREATE && s->effect == REC_RELOAD ? 1u << REC_DENY_RELOAD : 0;
}

static int denied(const struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    /* Root can always stop a container. */
    for (size_t i = 0; run->opt.deny && !run->opt.stops_only && i < p->n; i++) {
        uint32_t hit = does(run, p->steps[i]) & run->opt.deny;
        for (int d = 0; d < REC_DENIES; d++)
            if (hit & 1u << d) {
                rec_fail(err, EPERM, "this plan %s %s, which is denied", denials[d].does,
                         p->steps[i]->object);
                err->at = p->steps[i]->at;
                rec_hint(err,
                         "a commit with the line `Berth-Allow: %s` lets a push through; by hand, "
                         "leave it out of --deny",
                         denials[d].name);
                return -EPERM;
            }
    }
    return 0;
}

enum spec_users rec_users_in_force(const struct rec_state *want, const char *container,
                                   const char **why)
{
    const struct rec_item *i = rec_state_find(want, REC_RUN, container);
    bool known = i && i->runtime == SPEC_RT_NSPAWN;
    *why = known ? i->run.no_userns : NULL;
    return known ? i->run.users : SPEC_USERS_AUTO;
}

int rec_users_check(struct rec_run *run, const struct rec_state *want, struct rec_plan *p,
                    struct rec_error *err)
{
    if (!(run->opt.forbid & REC_FORBID(REC_FIND_NO_USERNS)))
        return 0;
    for (size_t i = 0; i < want->n; i++) {
        const struct rec_item *w = want->items[i];
        if (w->kind == REC_RUN && w->run.no_userns &&
            rec_plan_forbid(run, p, REC_FIND_NO_USERNS, w->at,
                            spec_arena_printf(
                                run->arena, "container '%s' would run without a user namespace: %s",
                                w->key, w->run.no_userns),
                            "none"))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return 0;
}

static bool is_excepted(const struct rec_except *e, const char *name)
{
    for (size_t i = 0; i < e->n; i++)
        if (!strcmp(e->list[i], name))
            return true;
    return false;
}

int rec_kept_roots_check(struct rec_run *run, const struct rec_state *have,
                         const struct rec_state *want, struct rec_plan *p, struct rec_error *err)
{
    if (!(run->opt.forbid & REC_FORBID(REC_FIND_KEPT_ROOT)))
        return 0;
    for (size_t i = 0; i < want->n; i++) {
        const struct rec_item *w = want->items[i];
        const struct rec_item *h = w->kind == REC_SYSTEM && w->runtime == SPEC_RT_NSPAWN
                                       ? rec_state_find(have, REC_SYSTEM, w->key)
                                       : NULL;
        if (!h || h->runtime != SPEC_RT_NSPAWN || !strcmp(h->system.source, w->system.source) ||
            is_excepted(&run->opt.kept_roots, w->key))
            continue;
        bool known = *h->system.source == '/';
        const char *text = spec_arena_printf(
            run->arena, "container '%s' may not have the kept tree '%s', which was %s%.200s%s",
            w->key, h->system.path, known ? "made from '" : "not made from what the spec names",
            known ? h->system.source : "", known ? "'" : "");
        if (rec_plan_forbid(run, p, REC_FIND_KEPT_ROOT, w->at, text, h->system.path))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return 0;
}

int rec_foreign_bridges_check(struct rec_run *run, const struct rec_state *have,
                              const struct rec_state *want, struct rec_plan *p,
                              struct rec_error *err)
{
    if (!(run->opt.forbid & REC_FORBID(REC_FIND_FOREIGN_BRIDGE)))
        return 0;
    for (size_t i = 0; i < want->n; i++) {
        const struct rec_item *w = want->items[i];
        const struct rec_item *h =
            w->kind == REC_BRIDGE ? rec_state_find(have, REC_BRIDGE, w->key) : NULL;
        if (!h || h->ours || h->bridge.other_kind || is_excepted(&run->opt.bridges, w->key))
            continue;
        const char *text = spec_arena_printf(
            run->arena, "the spec may not use bridge '%s' of this host, which berth did not make",
            w->key);
        if (rec_plan_forbid(run, p, REC_FIND_FOREIGN_BRIDGE, w->at, text, w->key))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return 0;
}

static const struct {
    const char *rule, *hint;
} findings[REC_FINDINGS] = {
    [REC_FIND_NO_USERNS] = {"private_users",
                            "use a tree of its own on ext4, xfs or btrfs; or root allows it: "
                            "private_users: [auto, none] in " REC_POLICY_FILE},
    [REC_FIND_PORT_IN_USE] = {"ports_in_use", "choose another port; or root allows it: "
                                              "ports_in_use: allow in " REC_POLICY_FILE},
    [REC_FIND_SUBNET_IN_USE] = {"subnets_in_use", "choose another subnet; or root allows it: "
                                                  "subnets_in_use: allow in " REC_POLICY_FILE},
    [REC_FIND_KEPT_ROOT] = {"roots", "choose another name; or root removes the tree, or adds its "
                                     "path to `roots` in " REC_POLICY_FILE},
    [REC_FIND_FOREIGN_BRIDGE] = {"bridges",
                                 "choose another name; or root adds this one, in full and without "
                                 "an asterisk, to `bridges` in " REC_POLICY_FILE},
};

const char *rec_finding_rule(enum rec_finding f)
{
    return findings[f].rule;
}

void rec_forbidden_error(const struct rec_forbidden *f, struct rec_error *err)
{
    rec_fail(err, EPERM, "%s: '%s' in " REC_POLICY_FILE " does not allow it", f->text,
             findings[f->finding].rule);
    rec_hint(err, "%s", findings[f->finding].hint);
    err->at = f->at;
}

int rec_guard_forbidden(const struct rec_plan *p, struct rec_error *err)
{
    if (!p->n_forbidden)
        return 0;
    rec_forbidden_error(&p->forbidden[0], err);
    return -EPERM;
}

int rec_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    int r = rec_guard_protected(run, p, err);
    if (!r)
        r = denied(run, p, err);
    if (r)
        return r;
    size_t bound = p->ours / 4 > 3 ? p->ours / 4 : 3;
    if (run->opt.allow_deletes >= 0)
        bound = (size_t)run->opt.allow_deletes;
    else if (p->deleted_containers && run->host && !run->host->n_containers) {
        /* An empty host is more often a mistake than a wish. */
        rec_fail(err, EPERM,
                 "the spec leaves host %s without a container, and this plan deletes all %zu",
                 run->host->name, p->deleted_containers);
        err->at = run->host->containers_at.line ? run->host->containers_at : run->host->at;
        rec_hint(err, "if that is what you want: --allow-deletes %zu", p->deletes);
        return -EPERM;
    }
    if (p->deletes <= bound)
        return 0;
    rec_fail(
        err, EPERM,
        "this plan deletes %zu containers and bridges of %zu; without a flag %zu may go at once",
        p->deletes, p->ours, bound);
    rec_hint(err, "if that is what you want: --allow-deletes %zu", p->deletes);
    return -EPERM;
}
