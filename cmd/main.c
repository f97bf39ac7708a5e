/* One row of the verbs' table is chosen and run. What a caller may have left in disorder is put
 * right first: descriptors, umask, SIGPIPE, SIGXFSZ. */
#include "cmd/cmd.h"
#include "cmd/progress.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void ignore(int n)
{
    (void)n;
}

static void put_right(void)
{
    /* A closed descriptor 1 would become the first file or socket that is opened, and be written
     * into. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0)
            _exit(CMD_FAILED);
    umask(022);
    /* A handler and not SIG_IGN: what berth starts gets the default back. */
    /* the write that caused it fails, and says why */
    static const int harmless[] = {SIGPIPE, SIGXFSZ};
    struct sigaction a = {.sa_handler = ignore, .sa_flags = SA_RESTART}, old;
    sigemptyset(&a.sa_mask);
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (!sigaction(harmless[i], NULL, &old) && old.sa_handler != SIG_IGN)
            sigaction(harmless[i], &a, NULL);
}

int main(int argc, char **argv)
{
    struct cmd c = {0};
    struct cmd_complaint why;
    int code;
    put_right();
    /* threads allocate little, and a second arena costs more than all of it */
    mallopt(M_ARENA_MAX, 1);
    if (getauxval(AT_SECURE)) {
        dprintf(2, "berth: refuses to run with more rights than its caller has (setuid, file "
                   "capabilities)\n");
        return CMD_DENIED;
    }
    char **given = calloc((size_t)argc + 1, sizeof *given); /* operands move within argv */
    for (int i = 0; given && i < argc; i++)
        given[i] = argv[i];
    c.argv = given;
    int r = argc > 0 ? cmd_args_parse(argc, argv, environ, &c.args, &why) : -EINVAL;
    cmd_out_init(&c.out, 1, c.args.color);
    cmd_out_init(&c.err, 2, c.args.color);
    if (r) {
        struct rec_error err = {0};
        rec_fail(&err, EINVAL, "%s", argc > 0 ? why.text : "berth needs to be told what to do");
        if (argc > 0 && *why.hint)
            rec_hint(&err, "%s", why.hint);
        code = cmd_fail(&c, NULL, CMD_USAGE, &err);
    } else if (c.args.help) {
        cmd_render_help(&c.out, c.args.verb);
        code = CMD_OK;
    } else if (cmd_lacks_root(&c)) {
        code = CMD_DENIED;
    } else {
        code = c.args.verb->run(&c);
        cmd_progress_end();
    }
    /* Nobody reading any more (a pager that was left) is no failure; a full disk is one, of
     * those verbs that only answer. */
    int lost = cmd_out_flush(&c.out);
    if (lost && lost != -EPIPE) {
        cmd_printf(&c.err, "berth: cannot write the answer: %s\n", strerror(-lost));
        if (code == CMD_OK && c.args.verb &&
            !(c.args.verb->run == cmd_apply || c.args.verb->run == cmd_destroy))
            code = CMD_FAILED;
    }
    cmd_out_flush(&c.err);
    cmd_done(&c);
    free(given);
    return code;
}
