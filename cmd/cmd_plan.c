/* plan, apply, destroy: one flow with three wishes. The spec comes before the lock; what is printed
 * is the plan that was, or will be, sent. */
#include "cmd/boot.h"
#include "cmd/cmd.h"
#include "cmd/converge.h"
#include "cmd/observe.h"
#include "cmd/range.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "A..B", each with HEAD where it is left out. */
static bool split_range(char *range, const char **from, const char **to)
{
    char *dots = strstr(range, "..");
    if (!dots || dots[2] == '.' || strstr(dots + 2, ".."))
        return false;
    *dots = 0;
    *from = *range ? range : "HEAD";
    *to = dots[2] ? dots + 2 : "HEAD";
    return true;
}

static void show_range(struct cmd *c, const struct cmd_range *r, enum cmd_exit code)
{
    if (c->args.json)
        cmd_render_range_json(&c->out, c, r, code);
    else if (c->args.markdown)
        cmd_render_range_markdown(&c->out, c, r);
    else if (c->args.github)
        cmd_render_faults_github(&c->out, c, r->to.path);
    else
        cmd_render_range_text(&c->out, c, r);
    for (size_t i = 0; c->args.github && i < r->n; i++)
        if (r->hosts[i].refusal.code)
            cmd_render_refusal_github(&c->out, r->to.path, &r->hosts[i].refusal);
}

/* The later side is bad: each form says so in its own way. */
static enum cmd_exit range_failed(struct cmd *c, const struct cmd_range *r, enum cmd_exit code,
                                  const struct rec_error *err)
{
    if (!c->diags.errors) {
        if (c->args.markdown && code != CMD_USAGE)
            cmd_render_refusal_markdown(&c->out, r->title, err);
        return cmd_fail(c, "berth.range", code, err);
    }
    if (c->args.json)
        cmd_render_diags_json(&c->out, "berth.range", c->file.name, &c->diags, c->file.text,
                              c->file.len, NULL);
    else if (c->args.markdown)
        cmd_render_faults_markdown(&c->out, c, r->title);
    else if (c->args.github)
        cmd_render_faults_github(&c->out, c, c->file.name);
    return code;
}

/* The spec's path in the repository, whose revisions are the range's. `given` by hand, else what
 * the environment names. */
static enum cmd_exit range_path(struct cmd *c, char *room, size_t size, const char **path,
                                struct rec_error *err)
{
    const char *env = getenv("BERTH_SPEC"), *given = c->args.spec  ? c->args.spec
                                                     : env && *env ? env
                                                                   : "berth.yaml";
    int rev = cmd_git_split(given);
    struct cmd_git_about a = {0};
    if (!strcmp(given, "-") || (c->args.spec && rev >= 0)) {
        rec_fail(err, EINVAL,
                 "--range names the revisions itself, and '%.200s' is no path in the repository",
                 given);
        if (rev >= 0)
            rec_hint(err, "write %.100s; a path that has a colon in it is written ./PATH",
                     given + rev + 1);
        return CMD_USAGE;
    }
    *path = given + rev + 1;
    if (**path != '/')
        return CMD_OK;
    enum cmd_exit code = cmd_git_about(c->args.git, c->args.git_owner, &a, err);
    char *real = code == CMD_OK ? realpath(*path, NULL) : NULL;
    const char *whole = real ? real : *path;
    bool inside = *a.work && !strncmp(whole, a.work, strlen(a.work));
    if (inside)
        snprintf(room, size, "%s", whole + strlen(a.work));
    free(real);
    if (code == CMD_OK && !inside) {
        rec_fail(err, EINVAL, "%s'%.200s' is not in the work tree of the repository",
                 c->args.spec ? "" : "BERTH_SPEC is set, and ", *path);
        rec_hint(err, "with --range the spec is named by its path from the repository's top");
        return CMD_USAGE;
    }
    *path = room;
    return code;
}

static enum cmd_exit plan_range(struct cmd *c)
{
    struct rec_error err = {0};
    struct cmd_range r = {.title = c->args.range};
    uint32_t deny = 0;
    char bad[32], room[1100], *range = strdup(c->args.range);
    const char *path, *from, *to;
    enum cmd_exit code = CMD_USAGE;
    if (!range || !split_range(range, &from, &to)) {
        rec_fail(&err, EINVAL, "--range needs two revisions: A..B, not '%s'", c->args.range);
        rec_hint(
            &err,
            "what a branch adds since it left main: --range $(git merge-base main HEAD)..HEAD");
    } else if (c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(&err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
    } else if ((code = range_path(c, room, sizeof room, &path, &err)) == CMD_OK) {
        struct cmd_git_ask a = {.git = c->args.git,
                                .owner = c->args.git_owner,
                                .rev = from,
                                .path = path,
                                .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES},
                           b = a;
        b.rev = to;
        code = cmd_range_read(c, &a, &b, deny, &r, &err);
        if (c->diags.n && !c->args.github && (code == CMD_BAD_SPEC || !c->args.quiet)) {
            char *text = spec_diags_format(c->arena, &c->diags, c->file.name, c->file.text,
                                           c->file.len, c->err.color);
            cmd_put(&c->err, text ? text : "berth: out of memory\n");
        }
    }
    if (code == CMD_OK) {
        code = cmd_range_verdict(&r);
        show_range(c, &r, code);
        if (code == CMD_PENDING && !c->args.exit_code)
            code = CMD_OK;
    } else {
        code = range_failed(c, &r, code, &err);
    }
    c->file.name = NULL; /* it is the range's */
    cmd_range_done(&r);
    free(range);
    return code;
}

int cmd_plan(struct cmd *c)
{
    struct rec_error err;
    if (c->args.range)
        return plan_range(c);
    if (c->args.markdown) {
        rec_fail(&err, EINVAL, "--markdown is for the plan of a change: --range A..B");
        return cmd_fail(c, "berth.plan", CMD_USAGE, &err);
    }
    struct cmd_converge v = {.format = "berth.plan", .done = "Applied", .dry = true};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, v.format);
    if (code == CMD_OK)
        code = cmd_converge(c, &v);
    if (code == CMD_OK && !v.pending)
        return CMD_OK;
    if (code == CMD_OK && c->err.terminal && !c->args.quiet && !c->args.json) {
        cmd_put(&c->err, "Apply it: berth apply ");
        cmd_safe(&c->err, c->args.spec && strcmp(c->args.spec, "-") ? c->args.spec : "");
        cmd_put(&c->err, "\n");
    }
    return code == CMD_OK && c->args.exit_code ? CMD_PENDING : code;
}

int cmd_apply(struct cmd *c)
{
    struct cmd_converge v = {
        .format = "berth.apply", .verb = "apply", .done = "Applied", .dry = c->args.dry};
    struct rec_error err;
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, v.format);
    if (code == CMD_OK)
        code = c->args.boot && !v.dry ? cmd_boot_apply(c, &v) : cmd_converge(c, &v);
    if (code != CMD_OK && c->args.metrics && !v.dry && !v.measured &&
        cmd_metrics_failed(c->args.metrics, &err))
        cmd_tell(c, &err);
    if (code == CMD_OK && !v.dry)
        cmd_boot_hint(c);
    return code;
}

/* The plan, then the question. Ctrl-C at the question is an answer, too. */
static bool ask(void *arg, const struct rec_plan *p)
{
    struct cmd_converge *v = arg;
    struct cmd *c = v->cmd;
    char line[16];
    v->asked = !c->args.json;
    if (!c->args.json) {
        struct cmd_render_plan shown = {.format = v->format,
                                        .host = c->host ? c->host->name : NULL,
                                        .file = c->file.name,
                                        .plan = p};
        cmd_render_plan_text(&c->out, &shown);
        cmd_out_flush(&c->out);
    }
    cmd_put(&c->err, c->args.files ? "The containers' files are deleted too, for good. " : "");
    cmd_put(&c->err, "Remove all this? Only `yes` does it: ");
    cmd_out_flush(&c->err);
    cmd_signals_release();
    ssize_t n = read(0, line, sizeof line - 1);
    cmd_signals_hold();
    line[n > 0 ? n : 0] = 0;
    return !strcmp(line, "yes\n") || !strcmp(line, "yes");
}

int cmd_destroy(struct cmd *c)
{
    struct cmd_converge v = {.format = "berth.destroy",
                             .verb = "destroy",
                             .done = "Removed",
                             .dry = c->args.dry,
                             .nothing = true,
                             .exempt = true};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_IF_GOOD, v.format);
    if (code != CMD_OK)
        return code;
    if (!c->args.yes && !c->args.dry) {
        if (!isatty(0) || !c->err.terminal) {
            struct rec_error err;
            rec_fail(&err, EPERM,
                     "destroy asks before it removes anything, and there is no terminal to ask on");
            rec_hint(&err, "give --yes, or look first: berth destroy --dry-run");
            return cmd_fail(c, v.format, CMD_REFUSED, &err);
        }
        v.confirm = ask;
    }
    return cmd_converge(c, &v);
}
