/* One run is one sentence: read, plan, guard, apply, read again; and if that fails, a plan back to
 * what was read first. Success is an empty second plan, never an acknowledgement. */
#include "reconcile/apply.h"
#include "reconcile/again.h"
#include "reconcile/claims.h"
#include "reconcile/connection.h"
#include "reconcile/contain/contain.h"
#include "reconcile/files.h"
#include "reconcile/guard.h"
#include "reconcile/kinds.h"
#include "reconcile/kinds/insides.h"
#include "reconcile/listeners.h"
#include "reconcile/logs.h"
#include "reconcile/overlap.h"
#include "reconcile/proc.h"
#include "reconcile/record.h"
#include "reconcile/runtime.h"
#include "reconcile/sources.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void rec_report_begin(struct rec_report *r, const struct rec_step *s)
{
    if (r->progress)
        r->progress(r->arg, s, r->done, r->total);
}

void rec_report_done(struct rec_report *r, struct rec_step *s)
{
    if (s->state != REC_PENDING)
        return;
    s->state = REC_DONE;
    r->done++;
    if (r->progress)
        r->progress(r->arg, s, r->done, r->total);
}

void rec_report_failed(struct rec_report *r, struct rec_step *s, const struct rec_error *e)
{
    if (s)
        s->state = REC_FAILED;
    if (s && r->progress)
        r->progress(r->arg, s, r->done, r->total);
    struct rec_failure *list = spec_arena_grow(r->arena, r->failures, r->n_failures * sizeof *list,
                                               (r->n_failures + 1) * sizeof *list);
    if (!list) {
        r->n_failures += !r->n_failures && r->failures;
        return;
    }
    r->failures = list;
    list[r->n_failures++] = (struct rec_failure){s, *e};
}

bool rec_step_interrupted(const struct rec_step *s)
{
    return *s->blinks && (s->state == REC_DONE || s->state == REC_FAILED);
}

/* Containers that are held for the same reason share a note. */
static int note_hold(struct rec_run *run, const struct spec_host *host, const char *why,
                     struct rec_state *out)
{
    size_t room = 1;
    for (size_t i = 0; i < host->n_containers; i++)
        room += strlen(host->containers[i].name) + 2;
    char *list = spec_arena_alloc(out->arena, room), *words = spec_arena_alloc(out->arena, room);
    if (!list || !words)
        return -ENOMEM;
    char *l = list, *w = words;
    *list = *words = 0;
    for (size_t i = 0; i < host->n_containers; i++) {
        const struct spec_container *c = &host->containers[i];
        const char *held = c->state == SPEC_RUNNING ? rec_held_why(run, c->name) : NULL;
        if (!held || strcmp(held, why))
            continue;
        l = stpcpy(stpcpy(l, l == list ? "" : ", "), c->name);
        w = stpcpy(stpcpy(w, " "), c->name);
    }
    if (!*list)
        return 0;
    const char *hint = spec_arena_printf(out->arena, "to start again: berth start%s", words);
    return hint ? rec_state_hint(out, list, hint, "%s; apply does not start it", why) : -ENOMEM;
}

/* The host is as the spec wants it although these containers do not run. */
static int note_holds(struct rec_run *run, const struct spec_host *host, struct rec_state *out)
{
    const struct rec_facts *f = &run->facts;
    int r = 0;
    for (size_t i = 0; i < f->n_held && !r; i++) {
        bool told = false;
        for (size_t k = 0; k < i && !told; k++)
            told = !strcmp(f->held_why[k], f->held_why[i]);
        if (!told)
            r = note_hold(run, host, f->held_why[i], out);
    }
    return r;
}

int rec_want(struct rec_run *run, const struct spec_host *host, struct rec_state *out,
             struct rec_error *err)
{
    rec_state_init(out, run->arena);
    run->host = host;
    int r = rec_facts_read(run, err);
    for (size_t i = 0; !r && host && i < host->n_containers; i++) {
        const struct spec_container *c = &host->containers[i];
        const struct rec_runtime *rt = rec_runtime(rec_runtime_of(run, c));
        const char *why = rt->refuse ? rt->refuse(run, c) : NULL;
        if (why) {
            r = rec_fail(err, EOPNOTSUPP, "container %s cannot be had with runtime %s: %s", c->name,
                         rt->name, why);
            err->at = c->runtime_at.line ? c->runtime_at : c->at;
        }
    }
    for (size_t k = 0; !r && host && k < REC_KINDS; k++)
        r = rec_kinds[k]->want(run, host, out, err);
    if (!r)
        rec_state_sort(out);
    if (!r && host && note_holds(run, host, out))
        r = rec_fail(err, ENOMEM, "out of memory");
    return r || run->opt.offline ? r : rec_adopted_want(run, out, err);
}

/* Links, addresses and settings are for everybody to read. Tables, what is inside of namespaces,
 * processes' environments and berth's own files are not. */
static const uint32_t needs_root = 1u << REC_SYSTEM | 1u << REC_NAT | 1u << REC_NAMES |
                                   1u << REC_NETNS | 1u << REC_PORT | 1u << REC_UNIT |
                                   1u << REC_RUN;

int rec_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
             struct rec_error *err)
{
    rec_state_init(out, run->arena);
    int r = rec_facts_read(run, err);
    if (!r && run->facts.root)
        r = rec_insides_begin(run, err);
    if (!r)
        r = rec_links_read(run, wanted, err);
    if (!r && !run->facts.root) {
        out->unknown = needs_root;
        rec_state_note(out, "without root",
                       "nft tables, names, namespaces and containers cannot be read: what of them "
                       "is missing or differs is "
                       "not known");
    }
    for (size_t k = 0; !r && k < REC_KINDS; k++)
        if (!(out->unknown & 1u << k))
            r = rec_kinds[k]->read(run, wanted, out, err);
    rec_insides_free(run);
    if (!r)
        rec_state_sort(out);
    return r;
}

/* After the steps of `p`, which came from `before`. */
static int read_again(struct rec_run *run, const struct rec_state *wanted, const struct rec_plan *p,
                      const struct rec_state *before, struct rec_state *out, struct rec_error *err)
{
    run->again = rec_again_after(p, before);
    int r = rec_read(run, wanted, out, err);
    run->again = NULL;
    return r;
}

typedef int (*apply_fn)(struct rec_run *, struct rec_step *const *, size_t, struct rec_report *);

static apply_fn way_of(const struct rec_step *s)
{
    const struct rec_kind *k = rec_kinds[s->kind];
    return s->action == REC_REMOVE && k->remove ? k->remove : k->apply;
}

/* Bridges come up once everything that is made between them and the processes is there. */
static void finish(struct rec_run *run, struct rec_step **steps, size_t *n,
                   struct rec_report *report)
{
    if (*n)
        rec_kinds[steps[0]->kind]->finish(run, steps, *n, report);
    *n = 0;
}

/* The plan changes this container itself, and does not only start it. Names of its bridge do not
 * count. */
static bool changes_container(const struct rec_plan *p, const struct rec_step *run_step)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        const char *container = (s->to ? s->to : s->from)->container;
        if (s->kind != run_step->kind && s->kind != REC_NAMES && container &&
            !strcmp(container, run_step->to->container))
            return true;
    }
    return false;
}

/* Root of a container that owns its network can take its eth0 away whenever it likes. */
static bool breaks_its_port(struct rec_run *run, const struct rec_plan *p, const struct rec_step *s)
{
    for (size_t i = 0; s->kind == REC_PORT && run->host && i < run->host->n_containers; i++)
        if (!strcmp(run->host->containers[i].name, s->to->container))
            return rec_owns_netns(run, &run->host->containers[i]) && !changes_container(p, s);
    return false;
}

/* Undoing the plan cannot help a container whose start fails although the plan did not change it:
 * its own files are the cause. It fails alone. In the first run of a boot everything is made again,
 * and an undo would only take the other containers down. */
static bool fails_alone(struct rec_run *run, const struct rec_apply_options *o,
                        const struct rec_plan *p, const struct rec_step *s)
{
    if (o->only || !s || !s->to)
        return false;
    if (s->kind == REC_PORT)
        return breaks_its_port(run, p, s);
    if (s->kind != REC_RUN || !s->to->run.running)
        return false;
    return (run->opt.boot && run->first) || !changes_container(p, s);
}

/* From failure `first` on. `o` NULL: an undo, where none does. */
static bool all_fail_alone(struct rec_run *run, const struct rec_apply_options *o,
                           const struct rec_plan *p, const struct rec_report *report, size_t first)
{
    for (size_t i = first; i < report->n_failures; i++)
        if (!o || !fails_alone(run, o, p, report->failures[i].step))
            return false;
    return true;
}

/* The plan's steps from `first` up to `end`, group after group, until one fails: what comes
 * later may build on it. */
static void apply_steps(struct rec_run *run, const struct rec_apply_options *o, struct rec_plan *p,
                        size_t first, size_t end, struct rec_report *report)
{
    size_t waiting = 0, n_waiting = 0;
    size_t failed = report->n_failures;
    report->total = p->n;
    for (size_t i = first; i < end && all_fail_alone(run, o, p, report, failed);) {
        int rank = rec_step_rank(p->steps[i]);
        size_t n = 1;
        while (i + n < end && rec_step_rank(p->steps[i + n]) == rank &&
               way_of(p->steps[i + n]) == way_of(p->steps[i]))
            n++;
        if (n_waiting && rank > rec_finish_rank)
            finish(run, p->steps + waiting, &n_waiting, report);
        if (!all_fail_alone(run, o, p, report, failed))
            break;
        way_of(p->steps[i])(run, p->steps + i, n, report);
        if (rec_kinds[p->steps[i]->kind]->finish && p->steps[i]->action != REC_REMOVE) {
            waiting = i;
            n_waiting = n;
        }
        i += n;
    }
    if (all_fail_alone(run, o, p, report, failed))
        finish(run, p->steps + waiting, &n_waiting, report);
}

static enum rec_outcome outcome_of(int code)
{
    switch (code) {
    case EPERM:
    case EACCES:
        return REC_DENIED;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
        return REC_UNSUPPORTED;
    case EWOULDBLOCK:
        return REC_LOCKED;
    default:
        return REC_UNTOUCHED;
    }
}

/* Directories of ours that nothing is in any more. The lock's file stays: two could lock two. */
static void drop_empty(void)
{
    static const char *const dirs[] = {REC_RUN_DIR "/hosts", REC_RUN_DIR "/held",
                                       REC_STATE_DIR "/roots", REC_STATE_DIR};
    if (!rmdir(REC_RUN_DIR "/c"))
        unlink(CONTAIN_WRITABLE);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        rmdir(dirs[i]);
}

/* Files that a killed run was about to put in place. Whatever writes such a file again removes its
 * own; after a destroy nothing does. */
static void drop_unfinished(struct spec_arena *a)
{
    static const char *const files[] = {"/etc/hosts",
                                        REC_RUN_DIR "/sysctl",
                                        REC_WARNED,
                                        REC_STATE_DIR "/protected",
                                        REC_STATE_DIR "/applied",
                                        REC_ADOPTED,
                                        REC_CLAIMS,
                                        REC_STATE_DIR "/ids",
                                        CONTAIN_WRITABLE};
    static const char *const dirs[] = {"/etc/netns", REC_RUN_DIR "/held"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        rec_file_unfinished(files[i]);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        rec_dir_unfinished(a, dirs[i]);
}

/* What is gone is held no more: one of that name that comes later starts as its spec says. */
static int drop_holds(struct rec_run *run, struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < run->facts.n_held; i++)
        if (!rec_in_spec(run, run->facts.held[i]))
            r = rec_hold_clear(run->facts.held[i], err);
    if (run->facts.n_held)
        rmdir(REC_RUN_DIR "/held");
    return r;
}

static bool removes_trees(const struct rec_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_SYSTEM && p->steps[i]->from)
            return true;
    return false;
}

/* Nothing will be undone any more. What cannot be deleted now is tried again by the next whole
 * apply that does something; `start` and its like leave it alone. It is a failure of a plan that
 * removes trees, and a warning of all later ones (rec_aside_tell). */
static int purge(struct rec_run *run, const struct rec_plan *p, bool whole, struct rec_error *err)
{
    bool own = removes_trees(p);
    int r = 0;
    for (size_t i = 0; (own || whole) && rec_runtimes[i]; i++) {
        struct rec_error one = {0};
        int failed = rec_runtimes[i]->purge ? rec_runtimes[i]->purge(run, &one) : 0;
        if (failed && own && !r) {
            r = failed;
            *err = one;
        }
    }
    return r;
}

/* A container that is taken over becomes ours with its unit, after its system: what this very
 * run did to it is its own to take back. */
static void claim(const struct rec_plan *p, struct rec_state *now)
{
    for (size_t i = 0; p && i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->state == REC_PENDING ||
            (s->kind != REC_SYSTEM && s->kind != REC_UNIT && s->kind != REC_RUN))
            continue;
        struct rec_item *it =
            (struct rec_item *)rec_state_find(now, s->kind, (s->to ? s->to : s->from)->key);
        if (it)
            it->ours = true;
    }
}

/* Also where no step was due: what is wanted can have come from elsewhere and be the same. */
static int settle(struct rec_run *run, const struct rec_state *want,
                  const struct rec_apply_options *o, struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < want->n; i++) {
        const struct rec_item *w = want->items[i];
        const struct rec_runtime *rt = w->kind == REC_SYSTEM ? rec_runtime(w->runtime) : NULL;
        if (rt && rt->settle && (!o->only || o->only(o->arg, w)))
            r = rt->settle(run, w, err);
    }
    return r;
}

/* What a killed run had left is not brought back. */
static void forget_litter(struct rec_state *before)
{
    size_t kept = 0;
    for (size_t i = 0; i < before->n; i++) {
        struct rec_item *it = before->items[i];
        if (it->kind == REC_PORT)
            it->port.doomed = false;
        if (it->kind != REC_NETNS || !it->netns.left_over)
            before->items[kept++] = it;
    }
    before->n = kept;
}

/* Back to `before`: a plan like any other. What it leaves is told. */
static void undo(struct rec_run *run, const struct rec_state *want, struct rec_state *before,
                 bool (*only)(void *, const struct rec_item *), void *arg, struct rec_result *out)
{
    struct rec_state now, after;
    struct rec_plan *back = NULL, *left = NULL;
    struct rec_error e;
    struct rec_report report = {.arena = run->arena};
    bool adopt = run->opt.adopt;
    run->opt.adopt = false;
    forget_litter(before);
    run->undoing = true;
    bool failed = rec_read(run, want, &now, &e);
    claim(out->plan, &now);
    if (!failed)
        rec_bridges_settle(before, &now);
    failed = failed || rec_plan(run, &now, before, only, arg, &back, &e);
    if (!failed && back->n) {
        apply_steps(run, NULL, back, 0, back->n, &report);
        failed = rec_read(run, want, &after, &e);
        claim(out->plan, &after);
        failed = failed || rec_plan(run, &after, before, only, arg, &left, &e);
        if (!failed)
            rec_announce(run, back);
    } else {
        left = back;
    }
    run->opt.adopt = adopt;
    run->undoing = false;
    drop_empty();
    for (size_t i = 0; i < report.n_failures; i++)
        rec_report_failed(&out->report, NULL, &report.failures[i].error);
    if (failed)
        rec_report_failed(&out->report, NULL, &e);
    bool touched = back && back->n;
    bool clean = !failed && left && !left->n && !left->n_conflicts;
    out->left = clean ? NULL : left;
    out->outcome = clean ? (touched ? REC_ROLLED_BACK : REC_UNTOUCHED) : REC_PARTIAL;
    if (clean && !touched && outcome_of(out->error.code) != REC_LOCKED)
        out->outcome = outcome_of(out->error.code);
}

/* The first conflict that leaves nothing to be done; NULL: there is none. A destroy goes around
 * what nothing depends on. */
static const struct rec_conflict *in_the_way(const struct rec_plan *p,
                                             const struct rec_apply_options *o)
{
    for (size_t i = 0; i < p->n_conflicts; i++)
        if (!o->exempt || !p->conflicts[i].aside)
            return &p->conflicts[i];
    return NULL;
}

static int conflict_error(const struct rec_conflict *c, struct rec_error *err)
{
    rec_fail(err, EEXIST, "%s: %s", c->object, c->text);
    err->at = c->at;
    if (c->hint)
        rec_hint(err, "%s", c->hint);
    return -EEXIST;
}

static bool refused(struct rec_run *run, const struct rec_apply_options *o, struct rec_result *out)
{
    const struct rec_plan *p = out->plan;
    const struct rec_conflict *c = p->n ? in_the_way(p, o) : p->conflicts;
    if (p->n_conflicts && c) {
        conflict_error(c, &out->error);
        out->outcome = REC_REFUSED;
        return true;
    }
    int r = o->exempt ? rec_guard_protected(run, p, &out->error) : rec_guard(run, p, &out->error);
    if (!r)
        r = rec_connection_guard(run, p, &out->error);
    if (!r && p->cuts) {
        out->error = *p->cuts;
        r = -EPERM;
    }
    if (!r)
        r = rec_guard_forbidden(p, &out->error);
    if (!r && o->confirm && p->n && !o->confirm(o->arg, p))
        r = rec_fail(&out->error, ECANCELED, "not confirmed; nothing was changed");
    if (r)
        out->outcome = r == -EPERM || r == -ECANCELED ? REC_REFUSED : outcome_of(-r);
    return r != 0;
}

/* Containers that are started by themselves need the bridge that `apply` makes. */
static int needs_all(const struct rec_state *have, const struct rec_plan *p, struct rec_error *err)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_item *to = p->steps[i]->to;
        if (p->steps[i]->kind != REC_PORT || p->steps[i]->from || !to || !*to->port.bridge ||
            rec_state_find(have, REC_BRIDGE, to->port.bridge))
            continue;
        rec_fail(err, ESRCH, "cannot start container '%s' by itself: its bridge '%s' is not there",
                 to->container, to->port.bridge);
        err->at = to->at;
        rec_hint(err, "`berth apply` makes all that the spec asks for");
        return -ESRCH;
    }
    return 0;
}

/* Of a running process: it is ended, and another one begun. */
static bool interrupts(const struct rec_step *s)
{
    return s->kind == REC_RUN && s->action == REC_CHANGE && s->effect >= REC_RESTART &&
           s->from->run.running;
}

/* Where the steps begin that interrupt a process, and all that come after; p->n: none does. */
static size_t first_interruption(const struct rec_plan *p)
{
    size_t first = 0;
    while (first < p->n && !interrupts(p->steps[first]))
        first++;
    while (first && first < p->n &&
           rec_step_rank(p->steps[first - 1]) == rec_step_rank(p->steps[first]))
        first--;
    return first;
}

static void hint_at_own_network(struct rec_error *e, const char *container)
{
    rec_hint(
        e,
        "`network_admin: true` lets root of the container change its eth0; for a new one: berth "
        "restart %s",
        container);
}

/* The kernel's words are about eth0; whose it is, they do not say. */
static void name_ports(struct rec_result *out)
{
    for (size_t i = 0; i < out->report.n_failures; i++) {
        const struct rec_step *s = out->report.failures[i].step;
        struct rec_error *e = &out->report.failures[i].error, named;
        if (!s || s->kind != REC_PORT || strstr(e->text, s->object))
            continue;
        rec_fail(&named, e->code, "%s: %s", s->object, e->text);
        named.at = e->at;
        hint_at_own_network(&named, s->to->container);
        *e = named;
    }
}

/* It may have been in place before the apply, and have gone since. */
static void excuse_port(struct rec_step *left, struct rec_result *out)
{
    struct rec_error e;
    const char *container = left->to->container;

    for (size_t i = 0; i < out->report.n_failures; i++) {
        const struct rec_step *s = out->report.failures[i].step;
        if (s && s->kind == REC_PORT && !strcmp(s->to->container, container))
            return;
    }
    rec_fail(&e, EIO, "%s is not as wanted after the apply: %s", left->object, left->reason);
    e.at = left->at;
    hint_at_own_network(&e, container);
    rec_report_failed(&out->report, left, &e);
}

/* `left` is a step that the check found after the apply. True if only its container fails; the
 * failure is reported once. */
static bool excuse(struct rec_run *run, const struct rec_apply_options *o, struct rec_step *left,
                   struct rec_result *out)
{
    struct rec_error e;

    if (left->kind == REC_PORT && fails_alone(run, o, out->plan, left)) {
        excuse_port(left, out);
        return true;
    }
    if (left->kind != REC_RUN || !left->to)
        return false;
    for (size_t i = 0; i < out->plan->n; i++) {
        struct rec_step *s = out->plan->steps[i];
        if (s->kind != REC_RUN || !s->to || strcmp(s->to->key, left->to->key) ||
            !fails_alone(run, o, out->plan, s))
            continue;
        if (s->state != REC_FAILED) {
            rec_fail(&e, EIO, "container '%s' does not run after its start: %s",
                     left->to->container, left->reason);
            e.at = s->at;
            rec_hint(&e, "why it ended: berth logs %s", left->to->container);
            rec_report_failed(&out->report, s, &e);
        }
        return true;
    }
    return false;
}

/* Nothing may be left but steps that are still to come, and what is left of our own making is no
 * longer a failure of reading but of the apply. */
static bool holds(struct rec_run *run, const struct rec_state *want, const struct rec_state *before,
                  const struct rec_apply_options *o, int to_come, struct rec_result *out)
{
    struct rec_state after;
    struct rec_plan *left = NULL;
    struct rec_error e;
    if (read_again(run, want, out->plan, before, &after, &e) ||
        rec_plan(run, &after, want, o->only, o->arg, &left, &e)) {
        rec_report_failed(&out->report, NULL, &e);
        return false;
    }
    const struct rec_step *s = NULL;
    for (size_t i = 0; i < left->n && !s; i++)
        if (rec_step_rank(left->steps[i]) < to_come && !excuse(run, o, left->steps[i], out))
            s = left->steps[i];
    const struct rec_conflict *c = in_the_way(left, o);
    out->left = left->n_conflicts || out->report.n_failures ? left : NULL;
    if (!s && !c)
        return true;
    rec_fail(&e, EIO, "%s is not as wanted after the apply: %s", s ? s->object : c->object,
             s ? s->reason : c->text);
    e.at = s ? s->at : c->at;
    if (s && s->kind == REC_RUN)
        rec_hint(&e, "why it ended: berth logs %s", s->to ? s->to->key : s->from->key);
    else
        rec_hint(&e, "another program may be changing it; `berth plan` shows what differs now");
    rec_report_failed(&out->report, NULL, &e);
    out->left = left;
    return false;
}

/* Descriptors that the steps of a plan, their undo and the check need at least, and can use
 * (pipeline.c, nspawn_detached.c). Removal needs those of its undo, which makes the links again. */
static int allow_files(const struct rec_plan *p, struct rec_error *err)
{
    enum { MOST_STARTS = 16, PER_START = 3 };
    size_t links = 0, starts = 0;
    for (size_t i = 0; i < p->n; i++) {
        links += p->steps[i]->kind == REC_NETNS || p->steps[i]->kind == REC_PORT;
        starts += p->steps[i]->kind == REC_RUN;
    }
    starts = starts < MOST_STARTS ? starts : MOST_STARTS;
    size_t least = links < REC_LINKS_LEAST ? links : REC_LINKS_LEAST;
    size_t most = links < REC_LINKS_MOST ? links : REC_LINKS_MOST;
    size_t others = REC_FILES + starts * PER_START;
    return rec_proc_files(others + least * REC_LINK_FILES, others + most * REC_LINK_FILES, err);
}

int rec_converge(struct rec_run *run, const struct rec_state *want,
                 const struct rec_apply_options *o, struct rec_result *out)
{
    struct rec_state have;
    const struct rec_state *kept = NULL;
    struct rec_error refusal;
    bool locked = run->lock >= 0;
    int r = 0;
    uint64_t start = now_us();
    memset(out, 0, sizeof *out);
    out->report = (struct rec_report){.arena = run->arena, .progress = o->progress, .arg = o->arg};
    if (!o->dry)
        r = rec_run_lock(run, o->verb ? o->verb : "apply", &out->error);
    if (!r && !o->dry && !o->only && run->facts.root)
        r = rec_memory_read(run, &out->error);
    if (!r)
        r = rec_read(run, want, &have, &out->error);
    if (!r)
        r = rec_plan(run, &have, want, o->only, o->arg, &out->plan, &out->error);
    if (!r)
        r = rec_overlap_find(run, out->plan, &out->error);
    if (!r)
        r = rec_users_check(run, want, out->plan, &out->error);
    if (!r)
        r = rec_kept_roots_check(run, &have, want, out->plan, &out->error);
    if (!r)
        r = rec_foreign_bridges_check(run, &have, want, out->plan, &out->error);
    if (!r)
        r = rec_listeners_check(run, want, out->plan, &kept, &refusal, &out->error);
    if (!r && kept) { /* all but these port maps is done */
        const struct rec_plan *whole = out->plan;
        want = kept;
        r = rec_plan(run, &have, want, o->only, o->arg, &out->plan, &out->error);
        if (!r) {
            out->plan->notes = whole->notes;
            out->plan->n_notes = whole->n_notes;
            out->plan->cuts = whole->cuts;
            out->plan->forbidden = whole->forbidden;
            out->plan->n_forbidden = whole->n_forbidden;
            out->plan->n_pending = whole->n_pending;
        }
    }
    if (!r)
        r = rec_sources_check(run, out->plan, &out->error);
    if (!r && o->only)
        r = needs_all(&have, out->plan, &out->error);
    out->us_read = now_us() - start;
    if (r) {
        out->outcome = outcome_of(-r);
        goto end;
    }
    if (o->planned)
        o->planned(o->arg, out->plan);
    if (refused(run, o, out))
        goto end;
    if (!out->plan->n || o->dry) {
        out->outcome = REC_IN_SYNC;
        goto record;
    }
    if (o->cancelled && o->cancelled(o->arg)) {
        rec_fail(&out->error, ECANCELED, "interrupted before the first step; nothing was changed");
        out->outcome = REC_UNTOUCHED;
        goto end;
    }
    r = allow_files(out->plan, &out->error);
    if (r) {
        out->outcome = outcome_of(-r);
        goto end;
    }
    start = now_us();
    size_t last = first_interruption(out->plan);
    apply_steps(run, o, out->plan, 0, last, &out->report);
    /* No process is ended for a network that does not hold. */
    bool good = all_fail_alone(run, o, out->plan, &out->report, 0);
    if (good && last < out->plan->n) {
        good = holds(run, want, &have, o, rec_step_rank(out->plan->steps[last]), out);
        if (good)
            apply_steps(run, o, out->plan, last, out->plan->n, &out->report);
    }
    out->us_apply = now_us() - start;
    start = now_us();
    good = good && all_fail_alone(run, o, out->plan, &out->report, 0) &&
           holds(run, want, &have, o, INT_MAX, out);
    out->us_check = now_us() - start;
    if (good)
        rec_announce(run, out->plan);
    if (!good) {
        if (out->report.n_failures)
            out->error = out->report.failures[0].error;
        undo(run, want, &have, o->only, o->arg, out);
        goto end;
    }
    out->outcome = REC_APPLIED;
record:
    if (!o->dry && settle(run, want, o, &out->error))
        out->outcome = REC_PARTIAL;
    if (!o->dry && !o->only &&
        (drop_holds(run, &out->error) ||
         (run->host && rec_protected_write(run, run->host, &out->error)) ||
         rec_applied_write(run, out->outcome == REC_APPLIED, &out->error)))
        out->outcome = REC_PARTIAL;
    /* Port maps that are pending are not claimed. */
    if (!o->dry && !o->only && !kept && rec_claims_write(run, want, out->plan, &out->error))
        out->outcome = REC_PARTIAL;
    if (out->outcome == REC_IN_SYNC && !o->dry && !want->n)
        drop_empty(); /* a destroy that was killed after its last step left them */
    if (out->outcome == REC_APPLIED) {
        if (purge(run, out->plan, !o->only, &out->error))
            out->outcome = REC_PARTIAL;
        if (!want->n)
            rec_logs_forget(run->arena);
        drop_empty();
    }
    if (!o->dry && !o->only && (!run->host || !want->n)) {
        drop_unfinished(run->arena);
        unlink(REC_WARNED);
        if (access(REC_RUN_DIR "/c", F_OK))
            unlink(CONTAIN_WRITABLE);
        /* What is there was given back. A record of another boot is void. */
        if (out->outcome == REC_APPLIED || out->outcome == REC_IN_SYNC)
            unlink(REC_ADOPTED);
        drop_empty();
    }
    if (out->outcome == REC_APPLIED && out->report.n_failures) {
        name_ports(out);
        out->error = out->report.failures[0].error;
        out->outcome = REC_PARTIAL;
        out->alone = true;
    }
    if (out->outcome == REC_APPLIED && out->left) {
        conflict_error(out->left->conflicts, &out->error);
        out->outcome = REC_PARTIAL;
        out->aside = true;
    }
    if (kept && (out->outcome == REC_APPLIED || out->outcome == REC_IN_SYNC)) {
        out->outcome = REC_REFUSED;
        out->error = refusal;
    }
end:
    rec_proc_files_back();
    if (!locked)
        rec_run_unlock(run);
    if (out->outcome != REC_IN_SYNC && out->outcome != REC_APPLIED)
        return -1;
    out->error = (struct rec_error){0};
    return 0;
}
