/* plan, apply, destroy: one flow with three wishes. The spec comes before the lock; what is printed is the plan that was, or will be,
 * sent. */
#include "cmd/cmd.h"
#include "cmd/converge.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cmd_plan(struct cmd *c)
{
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
    struct cmd_converge v = {.format = "berth.apply", .verb = "apply", .done = "Applied", .dry = c->args.dry};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, v.format);
    return code == CMD_OK ? cmd_converge(c, &v) : code;
}

/* The plan, then the question. Ctrl-C at the question is an answer, too. */
static bool ask(void *arg, const struct rec_plan *p)
{
    struct cmd_converge *v = arg;
    struct cmd *c = v->cmd;
    char line[16];
    v->asked = !c->args.json;
    if (!c->args.json) {
        struct cmd_render_plan shown = {.format = v->format, .host = c->host ? c->host->name : NULL, .file = c->file.name, .plan = p};
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
    struct cmd_converge v = {.format = "berth.destroy", .verb = "destroy", .done = "Removed", .dry = c->args.dry, .nothing = true,
                             .exempt = true};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_IF_FOUND, v.format);
    if (code != CMD_OK)
        return code;
    if (!c->args.yes && !c->args.dry) {
        if (!isatty(0) || !c->err.terminal) {
            struct rec_error err;
            rec_fail(&err, EPERM, "destroy asks before it removes anything, and there is no terminal to ask on");
            rec_hint(&err, "give --yes, or look first: berth destroy --dry-run");
            return cmd_fail(c, v.format, CMD_REFUSED, &err);
        }
        v.confirm = ask;
    }
    return cmd_converge(c, &v);
}
