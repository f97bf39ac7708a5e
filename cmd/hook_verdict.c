/* Before a push is accepted or a commit made: read, plan, give a verdict. Nothing is applied, and nothing written. */
#include "cmd/hook.h"
#include "cmd/render/render.h"
#include "reconcile/guard.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DELETES_ALLOWED = 1000000 };

/* What goes to whoever pushes: never more than a screen. */
static void screenful(struct cmd_out *to, const struct cmd_out *from, const char *more)
{
    const char *p = from->text ? from->text : "", *end = p + from->n;
    size_t lines = 0, left = 0;
    for (const char *q = p; q < end; q++)
        left += *q == '\n';
    while (p < end && lines < CMD_HOOK_SCREEN) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        next = next ? next + 1 : end;
        cmd_putn(to, p, (size_t)(next - p));
        p = next;
        lines++;
    }
    if (p < end) {
        cmd_printf(to, "… and %zu more lines; all of it: ", left - lines);
        cmd_safe(to, more);
        cmd_put(to, "\n");
    }
}

/* Plan one change of the spec and print it. `branch`: this is the branch that is applied, so denials count. `own`: `old` is what this one
 * had before. */
static enum cmd_exit look_at(struct cmd *c, const char *ref, const char *old, const char *new, bool branch, bool own)
{
    struct cmd one = {.args = c->args};
    struct rec_error err = {0};
    struct cmd_git_ask from = cmd_hook_ask(c, old), to = cmd_hook_ask(c, new);
    struct cmd_out text = {.fd = -1, .utf8 = c->out.utf8};
    char title[600], range[200], bad[32];
    uint32_t deny = 0, allow = 0;
    cmd_out_init(&one.out, -1, CMD_COLOR_NEVER);
    snprintf(title, sizeof title, "%.400s: %.7s..%.7s", ref, old ? old : "nothing", new ? new : "staged");
    if (old)
        snprintf(range, sizeof range, "berth plan --range %.7s..%.7s", old, new ? new : "");
    else
        snprintf(range, sizeof range, "berth plan %.7s:%.150s", new ? new : "", cmd_hook_path(c));
    struct cmd_range r = {.title = title};
    if (branch && c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(&err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    to.since = new ? old ? old : "" : NULL;
    enum cmd_exit code = cmd_range_read(&one, old ? &from : NULL, &to, 0, &r, &err);
    /* What the commits themselves let through is known once they are read: then each host is judged. */
    if (code == CMD_OK) {
        const char *p = r.to.allow;
        while (*p) {
            char word[32];
            size_t n = strcspn(p, ", ");
            snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), p);
            cmd_deny_parse(word, &allow, bad);
            p += n + (p[n] != 0);
        }
        for (size_t i = 0; i < r.n; i++) {
            if (!r.hosts[i].run)
                continue;
            r.hosts[i].run->opt.deny = deny & ~allow;
            r.hosts[i].run->opt.allow_deletes = allow & 1u << REC_DENY_DELETE ? DELETES_ALLOWED : c->args.allow_deletes;
            r.hosts[i].refusal = (struct rec_error){0};
            if (branch)
                rec_guard(r.hosts[i].run, r.hosts[i].plan, &r.hosts[i].refusal);
        }
        code = cmd_range_verdict(&r);
        cmd_render_range_text(&text, &one, &r);
        if (code != CMD_OK || !c->args.quiet)
            screenful(&c->out, &text, range);
        code = code == CMD_PENDING ? CMD_OK : code;
    } else if (one.diags.errors) {
        char *faults = spec_diags_format(one.arena, &one.diags, one.file.name, one.file.text, one.file.len, false);
        cmd_put(&text, faults ? faults : "berth: out of memory\n");
        cmd_put(&c->out, title);
        cmd_put(&c->out, "\n");
        screenful(&c->out, &text, "berth validate");
    } else if (r.to.exotic) {
        cmd_put(&c->out, "berth: what is staged is not shown: ");
        cmd_safe(&c->out, err.text);
        cmd_put(&c->out, "\n");
        code = CMD_OK;
    } else if (r.to.absent && (!branch || r.from_nothing)) {
        /* It may do without; what goes unseen from now on is worth a line. */
        if (own && !r.from_nothing) {
            cmd_put(&c->out, "berth: ");
            cmd_safe(&c->out, err.text);
            cmd_put(&c->out, " any more, so no plan is shown");
            cmd_put(&c->out, strncmp(err.hint, "there is", 8) ? "" : "; ");
            cmd_safe(&c->out, strncmp(err.hint, "there is", 8) ? "" : err.hint);
            cmd_put(&c->out, "\n");
        }
        code = CMD_OK;
    } else {
        cmd_put(&c->out, title);
        cmd_put(&c->out, "\n");
        cmd_render_error(&c->out, one.file.name, &err);
    }
    cmd_range_done(&r);
    one.file.name = NULL;
    cmd_done(&one);
    cmd_out_done(&text);
    return code;
}

/* The commit that this host was last made, if it is one of this repository: a branch that was taken away is judged by it when it comes
 * back. Only root may know it. */
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

static enum cmd_exit deleted(struct cmd *c, const char *ref)
{
    if (!c->args.deny) {
        cmd_printf(&c->out, "berth: %s is deleted; nothing is applied until it is there again\n", ref);
        return CMD_OK;
    }
    cmd_printf(&c->out, "Refused: deleting %s, which is applied: pushed again, it would be judged from nothing\n", ref);
    cmd_put(&c->out, "  where it is meant, take the hooks away first: berth hook uninstall\n");
    return CMD_REFUSED;
}

int cmd_hook_pre_receive(struct cmd *c, char *input)
{
    char *w[4], mine[300], last[65];
    enum cmd_exit worst = CMD_OK;
    snprintf(mine, sizeof mine, "refs/heads/%.250s", cmd_hook_branch(c));
    while (cmd_hook_line(&input, w, 3)) {
        bool branch = !strcmp(w[2], mine);
        if (cmd_hook_zero(w[1])) {
            enum cmd_exit gone = branch ? deleted(c, mine) : CMD_OK;
            worst = worst == CMD_OK ? gone : worst;
            continue;
        }
        /* A new branch is seen against the one that is applied. */
        struct cmd_git_ask base = cmd_hook_ask(c, mine);
        struct cmd_git tip = {0};
        struct rec_error ignored;
        char *text = NULL;
        size_t len;
        const char *old = cmd_hook_zero(w[0]) ? NULL : w[0];
        if (!old && !branch && cmd_git_read(&base, &text, &len, &tip, &ignored) == CMD_OK)
            old = tip.commit;
        free(text);
        if (!old && branch && applied(c, last))
            old = last;
        enum cmd_exit code = look_at(c, w[2], old, w[1], branch, false);
        worst = code != CMD_OK && worst == CMD_OK ? code : worst;
    }
    if (worst != CMD_OK)
        cmd_put(&c->out, "berth: the push is refused; nothing was changed\n");
    return worst;
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
    return look_at(c, "commit", first ? NULL : "HEAD", NULL, false, true);
}

int cmd_hook_pre_push(struct cmd *c, char *input)
{
    char *w[4];
    enum cmd_exit worst = CMD_OK;
    while (cmd_hook_line(&input, w, 4)) {
        if (cmd_hook_zero(w[1]))
            continue;
        struct cmd_git_ask theirs = cmd_hook_ask(c, w[3]), ours = cmd_hook_ask(c, w[1]);
        struct rec_error ignored;
        struct cmd_git g = {0};
        char *text = NULL;
        size_t len;
        bool known = !cmd_hook_zero(w[3]) && (cmd_git_read(&theirs, &text, &len, &g, &ignored) == CMD_OK || g.absent);
        free(text);
        if (known && cmd_range_same(&theirs, &ours))
            continue;
        enum cmd_exit code = look_at(c, w[2], known ? w[3] : NULL, w[1], false, true);
        worst = code != CMD_OK && worst == CMD_OK ? code : worst;
    }
    return worst;
}
