/* The verbs that change a host differ in what they want; all else is here once. */
#include "cmd/converge.h"
#include "cmd/observe.h"
#include "cmd/policy.h"
#include "cmd/progress.h"
#include "cmd/range.h"
#include "cmd/render/render.h"
#include "reconcile/files.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static bool only(void *arg, const struct rec_item *i)
{
    const struct cmd_converge *v = arg;
    bool net = i->kind == REC_NETNS || i->kind == REC_PORT;
    /* The conf of a NixOS container says whose it is: a conflict there stops a stop. */
    bool conf = i->kind == REC_UNIT && i->runtime == SPEC_RT_NIXOS;
    if (v->stops && i->kind != REC_RUN && !conf && (!net || i->spec))
        return false;
    for (size_t k = 0; i->container && k < v->n_only; k++)
        if (!strcmp(v->only[k], i->container))
            return true;
    return false;
}

enum { SLOW_US = 1000000 };

/* A step that took its time leaves a line behind as soon as it is done. */
static void slow_step(struct cmd_converge *v, const struct rec_step *s, uint64_t us)
{
    struct cmd_out *err = &v->cmd->err;
    cmd_progress_hide();
    cmd_printf(err, "  %s %s ", cmd_symbol(err, "✓", "ok"), rec_action_sign(s->action));
    cmd_safe(err, s->object);
    cmd_printf(err, "  %llu.%llu s\n", (unsigned long long)(us / SLOW_US),
               (unsigned long long)(us % SLOW_US / 100000));
    cmd_out_flush(err);
    cmd_progress_show();
}

/* On a terminal the report's lines come one by one: the report itself has only the rest of them. */
static bool prints_lines(const struct cmd_converge *v)
{
    const struct cmd *c = v->cmd;
    return v->plan && c->out.terminal && !v->dry && !v->silent && !v->asked;
}

static void planned(void *arg, const struct rec_plan *plan)
{
    ((struct cmd_converge *)arg)->plan = plan;
}

static void print_lines(struct cmd_converge *v)
{
    cmd_progress_hide();
    cmd_out_flush(&v->cmd->out);
    cmd_progress_show();
    v->printed = v->seen;
}

enum { PAUSE_US = 50000 }; /* between two looks at the terminal */

/* What is printed waits for more, but not while the next step goes on. */
static void line_of_step(struct cmd_converge *v, const struct rec_step *s, uint64_t us)
{
    struct cmd *c = v->cmd;
    if (!v->live.told) {
        struct cmd_render_plan p = {
            .file = c->file.name, .plan = v->plan, .verbose = c->args.verbose > 0};
        if (!cmd_live_begin(&v->live, &c->out, &p))
            return;
    }
    bool begins = s->state == REC_PENDING;
    if (!begins)
        cmd_live_step(&c->out, &v->live, s, us);
    if (c->out.n && (begins || v->seen - v->printed >= PAUSE_US))
        print_lines(v);
}

static void progress(void *arg, const struct rec_step *s, size_t done, size_t total)
{
    struct cmd_converge *v = arg;
    char text[320];
    uint64_t now = now_us(), took = now - v->seen;
    bool slow = v->seen && s->state == REC_DONE && took >= SLOW_US;
    v->seen = now;
    if (prints_lines(v))
        line_of_step(v, s, slow ? took : 0);
    else if (slow)
        slow_step(v, s, took);
    /* A thousand short steps are not worth a thousand looks at the terminal. */
    if (s->state != REC_PENDING && now - v->told < PAUSE_US)
        return;
    v->told = now;
    snprintf(text, sizeof text, "%zu of %zu  %.200s", done, total, s->object);
    cmd_progress_say(v->cmd, text);
}

static void building(void *arg, const char *container, const char *doing, size_t done, size_t total)
{
    struct cmd_converge *v = arg;
    struct cmd_out *err = &v->cmd->err;
    char text[160];
    if (!err->terminal || v->cmd->args.quiet || v->cmd->args.json)
        return;
    cmd_progress_hide();
    if (done)
        cmd_printf(err, "%s %zu of %zu: %s\n", doing, done, total, container);
    else
        cmd_printf(err, "%s %s\n", doing, container);
    cmd_out_flush(err);
    cmd_progress_show();
    if (done)
        snprintf(text, sizeof text, "building, %zu of %zu done", done, total);
    else
        snprintf(text, sizeof text, "building %.80s", container);
    cmd_progress_say(v->cmd, text);
}

/* The question stands on a line of its own. */
static bool confirmed(void *arg, const struct rec_plan *p)
{
    struct cmd_converge *v = arg;
    cmd_progress_end();
    return v->confirm(v, p);
}

static bool cancelled(void *arg)
{
    (void)arg;
    return cmd_signals_seen();
}

static size_t count_wanted(const struct cmd_converge *v, const struct rec_state *want)
{
    size_t n = 0;
    for (size_t i = 0; i < want->n; i++)
        n += !v->only || only((void *)v, want->items[i]);
    return n;
}

static void timings(struct cmd *c, const struct rec_result *r)
{
    cmd_printf(&c->err, "read and planned in %.2f ms, applied in %.2f ms, checked in %.2f ms\n",
               (double)r->us_read / 1000, (double)r->us_apply / 1000, (double)r->us_check / 1000);
}

/* A quiet run that changes nothing is a timer's: it gives warnings when they are new, not every
 * five minutes. The file holds those that were given last; where it is lost they are given once
 * more. */
static void warn_quietly(struct cmd *c, const struct rec_plan *plan, bool idle)
{
    struct cmd_out text = {.fd = -1, .utf8 = c->err.utf8};
    struct spec_arena *a = spec_arena_new();
    char *last = NULL;
    size_t len = 0;
    cmd_render_warnings(&text, plan);
    bool known = a && !rec_file_read(a, REC_WARNED, SPEC_BYTES, &last, &len, NULL);
    bool same = known ? len == text.n && !memcmp(last, text.text ? text.text : "", len) : !text.n;
    if (!same && text.n)
        rec_file_write(REC_WARNED, text.text, text.n, 0600, NULL);
    else if (!same)
        unlink(REC_WARNED);
    if (!same || !idle)
        cmd_putn(&c->err, text.text ? text.text : "", text.n);
    spec_arena_free(a);
    cmd_out_done(&text);
}

static void report(struct cmd *c, struct cmd_converge *v, const struct rec_result *r,
                   size_t resources)
{
    bool good = r->outcome == REC_IN_SYNC || r->outcome == REC_APPLIED;
    struct cmd_render_plan p = {.format = v->format,
                                .host = c->host ? c->host->name : NULL,
                                .file = c->file.name,
                                .path = c->file.path,
                                .git = c->git,
                                .plan = r->plan,
                                .result = r,
                                .resources = resources,
                                .quiet = c->args.quiet,
                                .verbose = c->args.verbose > 0,
                                .live = v->live.told ? &v->live : NULL,
                                .applied =
                                    !v->dry && (r->outcome != REC_REFUSED || r->report.done)};
    if (v->silent && good)
        return;
    if (c->args.json)
        cmd_render_plan_json(&c->out, &p);
    else if (r->plan && (v->dry || r->plan->n || r->plan->n_conflicts || r->plan->n_notes) &&
             !(p.quiet && p.applied))
        /* a plan that was asked about has been seen */
        if (!v->asked || (r->outcome != REC_REFUSED && !good))
            cmd_render_plan_text(&c->out, &p);
    /* A destroy remembers no warnings: nothing of berth's is to stay. */
    if (v->nothing && !v->dry && good)
        unlink(REC_WARNED);
    if (c->args.quiet && !c->args.json && r->plan && (v->dry || v->nothing))
        cmd_render_warnings(&c->err, r->plan);
    else if (c->args.quiet && !c->args.json && r->plan)
        warn_quietly(c, r->plan, r->outcome == REC_IN_SYNC);
    /* A plan has ended with its summary; only what an apply came to, or what went wrong, is left
     * to tell. */
    struct cmd_out nowhere = {.fd = -1};
    if (!v->dry || !good)
        cmd_render_result_text(c->args.json ? &nowhere : &c->out, &c->err, &p, v->done);
    cmd_out_done(&nowhere);
    if (c->args.github && !good && r->error.text[0])
        cmd_render_refusal_github(&c->out, c->git ? c->git->path : c->file.name, &r->error);
    if (r->outcome == REC_DENIED && geteuid())
        cmd_put(&c->err, "  this needs root\n");
    if (c->args.verbose > 1)
        timings(c, r);
}

enum cmd_exit cmd_converge(struct cmd *c, struct cmd_converge *v)
{
    struct rec_state want;
    struct rec_result result;
    struct rec_error err;
    enum cmd_exit code = c->run ? CMD_OK : cmd_open(c, &err);
    v->cmd = c;
    if (code == CMD_OK) {
        cmd_name_spec(c);
        c->run->opt.stops_only = v->stops;
    }
    if (code == CMD_OK && !v->nothing && !v->stops) {
        code = cmd_policy_enforce(c, v->format);
        if (code != CMD_OK)
            return code;
    }
    if (code == CMD_OK && v->nothing)
        c->run->opt.source = NULL; /* what is destroyed is no commit */
    if (code == CMD_OK && !v->nothing) {
        struct rec_build build = {.plan = v->dry,
                                  .evaluate =
                                      v->only ? v->evaluate : !c->args.boot && !c->args.no_eval,
                                  .again = v->evaluate,
                                  .only = v->only,
                                  .n_only = v->n_only,
                                  .progress = building,
                                  .arg = v};
        c->run->stop = cmd_signals_stop();
        int r = rec_build(c->run, c->host, &build, &err);
        cmd_signals_stop_end();
        if (c->run->stop >= 0 && cmd_signals_seen()) {
            if (r != -ECANCELED)
                rec_fail(&err, ECANCELED, "stopped before anything was changed");
            return cmd_signals_exit(cmd_fail(c, v->format, CMD_FAILED, &err));
        }
        code = r == -EINVAL ? CMD_BAD_SPEC : r ? cmd_exit_of_errno(-r) : CMD_OK;
    }
    /* After the builds, which take their time, and before all that the plan goes by. Until it is
     * there a signal ends berth at once. */
    bool locked = c->run && c->run->lock >= 0;
    if (code == CMD_OK && !v->dry) {
        cmd_progress_say(c, "waiting for the lock");
        int r = rec_run_lock(c->run, v->verb, &err);
        code = r ? cmd_exit_of_errno(-r) : CMD_OK;
    }
    if (code == CMD_OK) {
        int r = rec_want(c->run, v->nothing ? NULL : c->host, &want, &err);
        code = r ? cmd_exit_of_errno(-r) : CMD_OK;
    }
    if (code != CMD_OK)
        return cmd_fail(c, v->format, code, &err);
    struct rec_apply_options o = {
        .dry = v->dry,
        .exempt = v->exempt,
        .verb = v->verb,
        .planned = planned,
        .confirm = v->confirm ? confirmed : NULL,
        .arg = v,
        .progress = c->err.terminal && !c->args.quiet && !c->args.json ? progress : NULL,
        .cancelled = cancelled,
        .only = v->only ? only : NULL};
    cmd_progress_say(c, "reading the host");
    if (!v->dry)
        cmd_signals_hold();
    rec_converge(c->run, &want, &o, &result);
    if (!locked)
        rec_run_unlock(c->run);
    cmd_progress_end();
    v->outcome = result.outcome;
    v->alone = result.alone;
    v->pending = v->dry && result.plan &&
                 (result.plan->n || result.plan->unknown || result.plan->n_not_known);
    if (result.outcome == REC_REFUSED && result.plan)
        cmd_policy_tell(c, result.plan, &result.error);
    report(c, v, &result, count_wanted(v, &want));
    cmd_live_done(&v->live);
    if (!v->dry)
        cmd_journal_steps(c, &result);
    v->measured = !v->dry && c->args.metrics;
    if (v->measured && cmd_metrics_write(c, c->args.metrics, &result, &err))
        cmd_tell(c, &err);
    return cmd_signals_exit(cmd_exit_of_outcome(result.outcome));
}
