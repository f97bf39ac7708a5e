/* Before a push is accepted or a commit made: read, plan, give a verdict. Nothing is applied,
 * and nothing written. */
#include "cmd/hook.h"
#include "cmd/policy.h"
#include "cmd/render/grants.h"
#include "cmd/render/render.h"
#include "reconcile/apply.h"
#include "reconcile/connection.h"
#include "reconcile/guard.h"
#include "reconcile/listeners.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { DELETES_ALLOWED = 1000000, GRANTS_MOST = 100 /* lines */ };

static size_t lines_of(const struct cmd_out *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n; i++)
        n += o->text[i] == '\n';
    return n;
}

/* The line after `n` others. */
static const char *line_at(const struct cmd_out *o, size_t n)
{
    const char *p = o->text, *end = o->text + o->n;
    while (n-- && p < end) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        p = next ? next + 1 : end;
    }
    return p;
}

/* At most so many lines: the beginning, and the last `tail`, where a plan says what it comes to. */
static void screenful(struct cmd_out *to, const struct cmd_out *from, const char *more, size_t most,
                      size_t tail)
{
    size_t n = lines_of(from);
    if (n <= most) {
        cmd_putn(to, from->text ? from->text : "", from->n);
        return;
    }
    const char *cut = line_at(from, most - 1 - tail), *rest = line_at(from, n - tail);
    cmd_putn(to, from->text, (size_t)(cut - from->text));
    cmd_printf(to, "… %zu more lines; all of it: ", n - (most - 1));
    cmd_safe(to, more);
    cmd_put(to, "\n");
    cmd_putn(to, rest, from->n - (size_t)(rest - from->text));
}

struct look {
    struct cmd_out *out;
    size_t most; /* lines, about */
    const char *ref, *old, *new;
    bool branch; /* it is the branch that is applied, so denials count */
    bool own;    /* `old` is what this one had before */
    bool here;   /* this host follows the branch */
};

struct given {
    struct cmd_out *out;
    const char *container;
    size_t n; /* lines */
};

static void given_line(void *arg, const char *field, const char *value)
{
    struct given *g = arg;
    if (g->n++ >= GRANTS_MOST)
        return;
    cmd_put(g->out, "  ");
    cmd_safe(g->out, g->container);
    cmd_printf(g->out, ": %s ", field);
    cmd_safe(g->out, value);
    cmd_put(g->out, "\n");
}

static void collect_grants(const struct cmd_range *r, enum cmd_grants_of which, struct given *g)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; r->hosts[i].plan && k < r->hosts[i].plan->n; k++) {
            const struct rec_step *s = r->hosts[i].plan->steps[k];
            g->container = s->to && s->to->container ? s->to->container : s->object;
            cmd_grants(s, which, given_line, g);
        }
}

/* What a screen has no room for is no reason not to see what containers get of the host. */
static void tell_grants(struct cmd_out *out, const struct cmd_range *r)
{
    struct cmd_out text = {.fd = -1, .utf8 = out->utf8};
    struct given g = {&text, NULL, 0};
    collect_grants(r, CMD_GRANTS_HOST, &g);
    collect_grants(r, CMD_GRANTS_COMMAND, &g);
    if (g.n) {
        cmd_put(out, "What containers are given:\n");
        cmd_putn(out, text.text, text.n);
    }
    if (g.n > GRANTS_MOST)
        cmd_printf(out, "  … and %zu more lines\n", g.n - GRANTS_MOST);
    cmd_out_done(&text);
}

static enum cmd_exit judge(struct cmd *c, const struct look *l, struct cmd *one,
                           struct cmd_range *r, uint32_t deny, const char *range)
{
    struct cmd_out text = {.fd = -1, .utf8 = c->out.utf8};
    char unknown[32];
    uint32_t allow = cmd_allow_parse(r->to.allow, unknown);
    for (size_t i = 0; i < r->n; i++) {
        if (!r->hosts[i].run)
            continue;
        r->hosts[i].run->opt.deny = deny & ~allow;
        r->hosts[i].run->opt.allow_deletes =
            allow & 1u << REC_DENY_DELETE ? DELETES_ALLOWED : c->args.allow_deletes;
        r->hosts[i].refusal = (struct rec_error){0};
        if (l->branch)
            rec_guard(r->hosts[i].run, r->hosts[i].plan, &r->hosts[i].refusal);
    }
    enum cmd_exit code = cmd_range_verdict(r);
    cmd_render_range_text(&text, one, r);
    if (code != CMD_OK || !c->args.quiet) {
        screenful(l->out, &text, range, l->most, l->most > 12 ? 5 : l->most / 2);
        if (lines_of(&text) > l->most)
            tell_grants(l->out, r);
    }
    if (*unknown && (code != CMD_OK || !c->args.quiet)) {
        cmd_put(l->out, "berth: `Berth-Allow: ");
        cmd_safe(l->out, unknown);
        cmd_put(l->out, "` lets nothing through; it knows reload, restart, recreate and delete\n");
    }
    cmd_out_done(&text);
    return code == CMD_PENDING ? CMD_OK : code;
}

/* The port maps that the push itself adds: may they take their ports? *result gets the plan that
 * refuses them. */
static void judge_ports(struct rec_run *run, const struct cmd_range *r, struct rec_plan *p,
                        struct rec_result *result, struct rec_error *err)
{
    const struct rec_state *kept;
    struct rec_error refusal;
    struct rec_state nothing = {.n = 0};
    /* In a branch's first push all maps are new, though the host may have them: the apply knows. */
    if (rec_connection_guard(run, p, err) || r->from_nothing)
        return;
    run->opt.own_connection = true; /* whose a connection is, only root can see */
    if (!rec_listeners_check(run, &nothing, p, &kept, &refusal, err) && rec_guard_forbidden(p, err))
        result->plan = p;
}

/* All else that the policy forbids on this host. */
static void tell_others(const struct look *l, const struct cmd *one, const struct rec_plan *p,
                        const struct rec_error *told)
{
    for (size_t i = 0; p && i < p->n_forbidden; i++) {
        struct rec_error e;
        rec_forbidden_error(&p->forbidden[i], &e);
        if (strcmp(e.text, told->text))
            cmd_render_error(l->out, one->file.name, &e);
    }
}

/* Hooks that apply a branch do so on this host. What the apply after the push would refuse here is
 * refused before it: the plan of the pushed spec against the host, with its guards, and nothing is
 * changed. The guard of deletions has had its say. Without root berth does not see all of the host,
 * so what only looks like a conflict is left to the apply. */
static enum cmd_exit judge_here(const struct cmd *c, const struct look *l, struct cmd *one,
                                const struct cmd_range *r, const struct cmd_policy_verdict *policy)
{
    struct rec_options o = {
        .spec_name = one->file.name, .source = &r->sources[1], .allow_deletes = DELETES_ALLOWED};
    struct rec_apply_options dry = {.dry = true};
    struct rec_error err = {0}, ignored;
    struct rec_result result = {.outcome = REC_IN_SYNC};
    struct rec_run *run = NULL;
    struct rec_state want;
    struct utsname u;
    const struct spec_host *h = spec_host_find(one->doc, c->args.host, uname(&u) ? "" : u.nodename);
    cmd_policy_options(policy, &o);
    if (!h) {
        rec_fail(&err, ENOENT, "the spec has no host '%.64s', and this host follows the branch",
                 c->args.host ? c->args.host : u.nodename);
        rec_hint(&err, "if it is to follow no longer: berth hook uninstall");
    } else if (!rec_open(&run, &o, &ignored)) {
        run->doc = one->doc;
        if (!rec_want(run, h, &want, &ignored))
            rec_converge(run, &want, &dry, &result);
        if (result.outcome == REC_REFUSED && (!geteuid() || result.error.code == EPERM))
            err = result.error;
        /* Without root nftables cannot be read, so there are no steps for it: those of the push
         * itself count. */
        for (size_t i = 0; geteuid() && !err.code && i < r->n; i++)
            if (r->hosts[i].plan && !strcmp(r->hosts[i].name, h->name))
                judge_ports(run, r, r->hosts[i].plan, &result, &err);
        if (geteuid() && err.code != EPERM)
            err = (struct rec_error){0};
    }
    if (err.code) {
        cmd_put(l->out, "Refused on this host:\n");
        tell_others(l, one, result.plan, &err);
        cmd_render_error(l->out, one->file.name, &err);
    }
    rec_close(run);
    return err.code ? CMD_REFUSED : CMD_OK;
}

/* What the policy of this host says of its part of the spec. */
static enum cmd_exit judge_policy(struct cmd *c, const struct look *l, struct cmd *one,
                                  struct cmd_policy_verdict *v)
{
    struct rec_error err = {0};
    struct utsname u;
    const struct spec_host *host =
        spec_host_find(one->doc, c->args.host, uname(&u) ? "" : u.nodename);
    if (!host)
        return CMD_OK;
    if (cmd_policy_judge(one->arena, host, v, &err)) {
        cmd_render_error(l->out, one->file.name, &err);
        return CMD_REFUSED;
    }
    if (v->absent && l->here)
        cmd_put(l->out, "berth: warning: no policy limits what this repository may ask for; root "
                        "can write " CMD_POLICY_FILE "\n");
    for (size_t i = 0; i < v->n; i++) {
        cmd_policy_error(&v->list[i], &err);
        cmd_render_error(l->out, one->file.name, &err);
    }
    return v->n ? CMD_REFUSED : CMD_OK;
}

/* Plan one change of the spec and print it. */
static enum cmd_exit look_at(struct cmd *c, const struct look *l)
{
    const char *old = l->old, *new = l->new;
    struct cmd one = {.args = c->args};
    struct rec_error err = {0};
    struct cmd_git_ask from = cmd_hook_ask(c, old), to = cmd_hook_ask(c, new);
    struct cmd_out text = {.fd = -1, .utf8 = c->out.utf8};
    char title[600], range[200], bad[32];
    uint32_t deny = 0;
    cmd_out_init(&one.out, -1, CMD_COLOR_NEVER);
    snprintf(title, sizeof title, "%.400s: %.7s..%.7s", l->ref, old ? old : "nothing",
             new ? new : "staged");
    if (old)
        snprintf(range, sizeof range, "berth plan --range %.7s..%.7s", old, new ? new : "");
    else
        snprintf(range, sizeof range, "berth plan %.7s:%.150s", new ? new : "", cmd_hook_path(c));
    struct cmd_range r = {.title = title};
    if (l->branch && !cmd_hook_denies(c, &deny, bad)) {
        rec_fail(&err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    to.since = new ? old ? old : "" : NULL;
    enum cmd_exit code = cmd_range_read(&one, old ? &from : NULL, &to, 0, &r, &err);
    if (code == CMD_OK) {
        struct cmd_policy_verdict verdict = {0};
        code = judge(c, l, &one, &r, deny, range);
        enum cmd_exit policy = l->branch ? judge_policy(c, l, &one, &verdict) : CMD_OK;
        code = code == CMD_OK ? policy : code;
        if (code == CMD_OK && l->here)
            code = judge_here(c, l, &one, &r, &verdict);
    } else if (one.diags.errors) {
        char *faults = spec_diags_format(one.arena, &one.diags, one.file.name, one.file.text,
                                         one.file.len, false);
        cmd_put(&text, faults ? faults : "berth: out of memory\n");
        cmd_safe(l->out, title);
        cmd_put(l->out, "\n");
        screenful(l->out, &text, "berth validate", l->most - 1, 0);
    } else if (r.to.exotic) {
        cmd_put(l->out, "berth: what is staged is not shown: ");
        cmd_safe(l->out, err.text);
        cmd_put(l->out, "\n");
        code = CMD_OK;
    } else if ((r.to.absent || r.to.no_commit) && (!l->branch || r.from_nothing)) {
        /* It may do without; what goes unseen from now on is worth a line. */
        if (l->own && !r.from_nothing) {
            bool elsewhere = !strncmp(err.hint, "there is", 8);
            cmd_put(l->out, "berth: ");
            cmd_safe(l->out, err.text);
            cmd_put(l->out, elsewhere ? " any more, so no plan is shown; "
                                      : " any more, so no plan is shown");
            cmd_safe(l->out, elsewhere ? err.hint : "");
            cmd_put(l->out, "\n");
        }
        code = CMD_OK;
    } else {
        cmd_safe(l->out, title);
        cmd_put(l->out, "\n");
        cmd_render_error(l->out, one.file.name, &err);
    }
    cmd_range_done(&r);
    one.file.name = NULL;
    cmd_done(&one);
    cmd_out_done(&text);
    return code;
}

/* The commit that this host was last made, if it is one of this repository: a branch that was taken
 * away is judged by it when it comes back. Only root may know it. */
static bool applied(const struct cmd *c, char out[65])
{
    struct rec_options o = {.allow_deletes = -1};
    struct rec_run *run = NULL;
    struct rec_applied last = {0};
    struct rec_error ignored;
    struct cmd_git g = {0};
    char *text = NULL;
    size_t len;
    *out = 0;
    if (!rec_open(&run, &o, &ignored) && !rec_applied_read(run, &last, &ignored) && last.commit) {
        struct cmd_git_ask ask = cmd_hook_ask(c, last.commit);
        if (cmd_git_read(&ask, &text, &len, &g, &ignored) == CMD_OK)
            snprintf(out, 65, "%s", g.commit);
        free(text);
    }
    rec_close(run);
    return *out != 0;
}

static enum cmd_exit deleted(const struct cmd *c, struct cmd_out *to, const char *ref)
{
    uint32_t deny = 0;
    char bad[32];
    if (cmd_hook_denies(c, &deny, bad) && !deny) {
        cmd_printf(to, "berth: %s is deleted; nothing is applied until it is there again\n", ref);
        return CMD_OK;
    }
    cmd_printf(
        to,
        "Refused: deleting %s, which is applied: pushed again, it would be judged from nothing\n",
        ref);
    cmd_put(to, "  where it is meant, take the hooks away first: berth hook uninstall\n");
    return CMD_REFUSED;
}

/* What it is seen against: what it was; else, what is applied. */
static const char *base_of(const struct cmd *c, const char *was, const char *mine, bool branch,
                           char out[65])
{
    struct cmd_git_ask ask = cmd_hook_ask(c, mine);
    struct cmd_git tip = {0};
    struct rec_error ignored;
    char *text = NULL;
    size_t len;
    if (!cmd_hook_zero(was))
        return was;
    if (branch)
        return applied(c, out) ? out : NULL;
    enum cmd_exit code = cmd_git_read(&ask, &text, &len, &tip, &ignored);
    free(text);
    return code == CMD_OK ? strcpy(out, tip.commit) : NULL;
}

/* Those of a push that are let through, or that are not: a screen of them, and how many more
 * there are. */
struct heap {
    struct cmd_out text;
    size_t more;
};

struct push {
    struct heap good, bad;
    enum cmd_exit worst;
    size_t n; /* refs of it */
};

static void begin(struct push *p, const char *input)
{
    *p = (struct push){.good.text.fd = -1, .bad.text.fd = -1};
    for (; *input; input++)
        p->n += *input == '\n';
}

/* The branch that is applied matters; the others share what is left, and are told in four lines
 * at least. */
static size_t room(const struct push *p, bool branch)
{
    size_t share = CMD_HOOK_SCREEN / (p->n ? p->n : 1);
    return p->n < 2 ? CMD_HOOK_SCREEN : branch ? CMD_HOOK_SCREEN / 2 : share > 4 ? share : 4;
}

static void add(struct push *p, enum cmd_exit code, struct cmd_out *one)
{
    struct heap *h = code == CMD_OK ? &p->good : &p->bad;
    p->worst = p->worst == CMD_OK ? code : p->worst;
    if (!h->text.n || lines_of(&h->text) + lines_of(one) < CMD_HOOK_SCREEN)
        cmd_putn(&h->text, one->text ? one->text : "", one->n);
    else
        h->more += one->n != 0;
    cmd_out_done(one);
}

/* What cannot be judged does not go through. */
static void add_unknown(struct push *p)
{
    struct cmd_out said = {.fd = -1};
    cmd_put(&said, "berth: git says of a ref what this hook does not understand\n");
    add(p, CMD_FAILED, &said);
}

/* A push is refused as a whole, so what would have gone through says nothing then. */
static enum cmd_exit finish(struct cmd *c, struct push *p)
{
    const struct heap *h = p->worst == CMD_OK ? &p->good : &p->bad;
    cmd_putn(&c->out, h->text.text ? h->text.text : "", h->text.n);
    if (h->more)
        cmd_printf(&c->out, "… and %zu more refs%s\n", h->more,
                   p->worst == CMD_OK ? "" : " that are refused");
    cmd_out_done(&p->good.text);
    cmd_out_done(&p->bad.text);
    return p->worst;
}

/* Git reads a commit by way of refs/replace, and takes refs/heads/refs/heads/main for a meaning of
 * "main". The next pushes fail then, and only who owns the repository can mend that. */
static bool confuses(const char *ref)
{
    const char *rest = strncmp(ref, "refs/", 5) ? NULL : strchr(ref + 5, '/');
    return !strncmp(ref, "refs/replace/", 13) || (rest && !strncmp(rest, "/refs/", 6));
}

static enum cmd_exit confusing(struct cmd_out *to, const char *ref)
{
    cmd_put(to, "Refused: ");
    cmd_safe(to, ref);
    cmd_put(to, ": git would take it for something else in later pushes\n");
    return CMD_REFUSED;
}

int cmd_hook_pre_receive(struct cmd *c, char *input)
{
    char *w[4], base[65];
    struct cmd_hook_followed follows;
    struct push p;
    int more;
    begin(&p, input);
    cmd_hook_follow(c, &follows);
    while ((more = cmd_hook_line(&input, w, 3)) > 0) {
        struct cmd_out text = {.fd = -1, .utf8 = c->out.utf8};
        enum cmd_exit code = CMD_OK;
        struct look l = {
            .out = &text, .ref = w[2], .new = w[1], .branch = cmd_hook_moves(&follows, w[2])};
        l.most = room(&p, l.branch);
        l.here = l.branch && c->args.apply;
        if (!cmd_hook_zero(w[1]) && confuses(w[2])) {
            code = confusing(&text, w[2]);
        } else if (!cmd_hook_zero(w[1])) {
            l.old = base_of(c, w[0], follows.ref, l.branch, base);
            code = look_at(c, &l);
        } else if (l.branch) {
            code = deleted(c, &text, follows.ref);
        }
        add(&p, code, &text);
    }
    if (more)
        add_unknown(&p);
    if (finish(c, &p) != CMD_OK)
        cmd_put(&c->out, "berth: the push is refused; nothing was changed\n");
    return p.worst;
}

int cmd_hook_pre_commit(struct cmd *c, char *input)
{
    struct cmd_git_ask head = cmd_hook_ask(c, "HEAD"), staged = cmd_hook_ask(c, NULL);
    struct rec_error ignored;
    struct cmd_git g = {0};
    char *text = NULL;
    size_t len;
    (void)input;
    if (cmd_range_same(&head, &staged))
        return CMD_OK;
    bool first = cmd_git_read(&head, &text, &len, &g, &ignored) != CMD_OK;
    free(text);
    return look_at(c, &(struct look){.out = &c->out,
                                     .most = CMD_HOOK_SCREEN,
                                     .ref = "commit",
                                     .old = first ? NULL : "HEAD",
                                     .own = true});
}

int cmd_hook_pre_push(struct cmd *c, char *input)
{
    char *w[4];
    struct push p;
    int more;
    begin(&p, input);
    while ((more = cmd_hook_line(&input, w, 4)) > 0) {
        if (cmd_hook_zero(w[1]))
            continue;
        struct cmd_git_ask theirs = cmd_hook_ask(c, w[3]), ours = cmd_hook_ask(c, w[1]);
        struct rec_error ignored;
        struct cmd_git g = {0};
        char *text = NULL;
        size_t len;
        bool known = !cmd_hook_zero(w[3]) &&
                     (cmd_git_read(&theirs, &text, &len, &g, &ignored) == CMD_OK || g.absent);
        free(text);
        if (known && cmd_range_same(&theirs, &ours))
            continue;
        struct cmd_out said = {.fd = -1, .utf8 = c->out.utf8};
        struct look l = {.out = &said,
                         .most = room(&p, false),
                         .ref = w[2],
                         .old = known ? w[3] : NULL,
                         .new = w[1],
                         .own = true};
        add(&p, look_at(c, &l), &said);
    }
    if (more)
        add_unknown(&p);
    return finish(c, &p);
}
