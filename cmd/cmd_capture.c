/* capture: tcpdump takes this program's place, so its exit status, its signals and its terminal
 * are its own. */
#include "cmd/cmd.h"
#include "reconcile/usage.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *tcpdump(void)
{
    static const char *const programs[] = {"/usr/bin/tcpdump", "/usr/sbin/tcpdump",
                                           "/run/current-system/sw/bin/tcpdump"};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (!access(programs[i], X_OK))
            return programs[i];
    return NULL;
}

/* tcpdump gives up root's rights before it opens its file, and could not write where only root
 * can: it writes to us. */
static int into_file(const char *path, struct rec_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0 || dup2(fd, 1) < 0)
        return rec_fail(err, errno, "cannot write '%s': %s", path, strerror(errno));
    close(fd);
    return 0;
}

int cmd_capture(struct cmd *c)
{
    struct rec_error err = {0};
    char link[16];
    enum cmd_exit code = cmd_open(c, &err);
    if (code != CMD_OK)
        return cmd_fail(c, NULL, code, &err);
    int r = rec_usage_link(c->run, c->args.names[0], link, &err);
    if (r == -ESRCH)
        return cmd_absent(c, &err);
    if (r)
        return cmd_fail(c, NULL, cmd_exit_of_errno(-r), &err);
    const char *program = tcpdump();
    if (!program) {
        rec_fail(&err, EOPNOTSUPP, "cannot capture: tcpdump is not installed");
        rec_hint(&err, "on Debian: apt-get install tcpdump; the link to look at is %s", link);
        return cmd_fail(c, NULL, CMD_UNSUPPORTED, &err);
    }
    /* Where the administrator has given tcpdump itself the right, nobody needs to be root. */
    bool may = !geteuid() || getxattr(program, "security.capability", NULL, 0) > 0;
    if (!may) {
        rec_fail(&err, EPERM, "berth capture needs root");
        return cmd_fail(c, NULL, CMD_DENIED, &err);
    }
    bool file = c->args.write && strcmp(c->args.write, "-");
    char **argv = calloc(c->args.n_names + 8, sizeof *argv);
    size_t n = 0;
    if (!argv)
        rec_fail(&err, ENOMEM, "out of memory");
    if (!argv || (file && into_file(c->args.write, &err)))
        return cmd_fail(c, NULL, CMD_FAILED, &err);
    argv[n++] = (char *)program;
    argv[n++] = "-n"; /* a name server may be what is being looked for */
    argv[n++] = "-i";
    argv[n++] = link;
    if (c->args.write) {
        argv[n++] = "-w";
        argv[n++] = "-";
    }
    for (size_t i = 1; i < c->args.n_names; i++)
        argv[n++] = c->args.names[i];
    cmd_out_flush(&c->err);
    execv(program, argv);
    rec_fail(&err, errno, "cannot run '%s': %s", program, strerror(errno));
    free(argv);
    return cmd_fail(c, NULL, CMD_FAILED, &err);
}
