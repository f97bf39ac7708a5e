/* run, login, logs: no spec is needed, the host knows its containers. If one is there all the
 * same, it helps with a mistyped name. */
#include "cmd/cmd.h"
#include "cmd/plain.h"
#include "reconcile/enter.h"
#include "reconcile/logs.h"
#include "reconcile/record.h"
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef BERTH_LIBEXEC
#define BERTH_LIBEXEC "/usr/libexec"
#endif

/* Has any spec been applied here? Who may not know is told yes. */
static bool applied_here(struct cmd *c)
{
    struct rec_applied last = {0};
    struct rec_error ignored;
    return !c->run || rec_applied_read(c->run, &last, &ignored) || last.file || last.commit;
}

/* Not running, or never heard of? The spec, if there is a valid one, can tell a typing error. */
enum cmd_exit cmd_absent(struct cmd *c, struct rec_error *err)
{
    const char *name = c->args.names[0];
    struct rec_error ignored;
    if (cmd_load_file(c, CMD_SPEC_IF_FOUND, &ignored) == CMD_OK && c->doc) {
        char hostname[256] = "";
        gethostname(hostname, sizeof hostname - 1);
        c->host = spec_host_find(c->doc, c->args.host, hostname);
    }
    bool known = false;
    for (size_t i = 0; c->host && i < c->host->n_containers; i++)
        known = known || !strcmp(c->host->containers[i].name, name);
    const char *near = known ? NULL : cmd_nearest_container(c, name);
    if (near && strcmp(near, name))
        rec_hint(err, "did you mean %s?", near);
    else if (!err->hint[0] && err->code == ESRCH && known && !applied_here(c))
        rec_hint(err, "nothing of the spec has been made on this host; begin with: berth apply");
    else if (!err->hint[0] && err->code == ESRCH)
        rec_hint(err, known ? "berth start %s" : "`berth list` shows those that there are", name);
    return cmd_fail(c, NULL, CMD_FAILED, err);
}

static enum cmd_exit failed(struct cmd *c, int r, struct rec_error *err)
{
    if (r == -ESRCH || r == -ENOENT)
        return cmd_absent(c, err);
    return cmd_fail(c, NULL, cmd_exit_of_errno(-r), err);
}

/* Beside this program (a build tree), else where it is installed. */
static const char *enter_program(char out[1200])
{
    ssize_t n = readlink("/proc/self/exe", out, 1000);
    out[n > 0 ? n : 0] = 0;
    char *slash = strrchr(out, '/');
    strcpy(slash ? slash + 1 : out, "berth-enter");
    if (slash && !access(out, X_OK))
        return out;
    return strcpy(out, BERTH_LIBEXEC "/berth-enter");
}

static int enter(struct cmd *c, char *const *argv)
{
    struct rec_error err = {0};
    char program[1200];
    int status = 0;
    enum cmd_exit code = cmd_open(c, &err);
    if (code != CMD_OK)
        return cmd_fail(c, NULL, code, &err);
    struct rec_enter e = {
        .container = c->args.names[0], .argv = argv, .program = enter_program(program)};
    int r = rec_enter(c->run, &e, &status, &err);
    return r ? (int)failed(c, r, &err) : status;
}

int cmd_run(struct cmd *c)
{
    return enter(c, c->args.command);
}

int cmd_login(struct cmd *c)
{
    return enter(c, NULL);
}

int cmd_logs(struct cmd *c)
{
    struct rec_error err = {0};
    enum cmd_exit code = cmd_open(c, &err);
    if (code != CMD_OK)
        return cmd_fail(c, NULL, code, &err);
    int to = 1, status;
    pid_t filter = 0;
    if (c->out.terminal && !c->args.raw) {
        cmd_out_flush(&c->out);
        filter = cmd_plain_start(1, &to);
    }
    if (filter < 0) {
        rec_fail(&err, -filter, "cannot start a process: %s", strerror(-filter));
        return cmd_fail(c, NULL, CMD_FAILED, &err);
    }
    int r = rec_logs(c->run, c->args.names[0], c->args.follow, c->args.lines, to, &err);
    if (filter) {
        close(to);
        while (waitpid(filter, &status, 0) < 0 && errno == EINTR)
            ;
    }
    return r && r != -EPIPE ? failed(c, r, &err) : CMD_OK;
}
