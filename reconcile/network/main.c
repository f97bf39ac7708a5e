/* berth-network — starts a container that owns its network namespace. berth and berth's units
 * start it.
 *
 *     berth-network start NAME PROGRAM ARGUMENT...   make the container's network once its gate
 *                                                    waits, and execute PROGRAM meanwhile
 *     berth-network end NAME                         the container has ended
 */
#include "reconcile/own_network.h"
#include "reconcile/sealed.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 126, USAGE = 64, BEYOND = 16 };

static int complain(const struct rec_error *e)
{
    dprintf(2, "berth: %s\n", e->text);
    return FAILED;
}

static int gate_program(struct rec_error *err)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = 0;
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(path + sizeof path - slash) < sizeof "/" REC_GATE_NAME)
        return rec_fail(err, ENOENT, "cannot find " REC_GATE_NAME);
    strcpy(slash, "/" REC_GATE_NAME);
    return rec_sealed_copy(path, err);
}

/* Without a service manager nobody is told that the container has ended. This process holds no
 * output of the container, or its log would never end. */
static void await_end(const char *name, int nspawn)
{
    struct pollfd p = {nspawn, POLLIN, 0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    while (poll(&p, 1, -1) < 0 && errno == EINTR)
        ;
    rec_own_network_end(name, NULL);
}

/* A grandchild, so that systemd-nspawn has no child that it does not know. */
static void make_network(const char *name, int sock, int nspawn)
{
    struct rec_error e = {0};
    if (fork())
        _exit(0);
    setsid();
    int r = rec_own_network_make(name, sock, &e);
    if (r && e.code)
        complain(&e);
    close(sock);
    if (!r && access("/run/systemd/system", F_OK))
        await_end(name, nspawn);
    _exit(0);
}

static int place(int sock, int gate)
{
    int a = fcntl(sock, F_DUPFD_CLOEXEC, BEYOND), b = fcntl(gate, F_DUPFD_CLOEXEC, BEYOND);
    if (a < 0 || b < 0 || dup2(a, REC_GATE_SOCKET) < 0 || dup2(b, REC_GATE_PROGRAM) < 0)
        return -errno;
    return 0;
}

static int start(const char *name, char **argv)
{
    struct rec_error e = {0};
    char pid[16];
    int ends[2], status, gate = gate_program(&e);
    if (gate < 0)
        return complain(&e);
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0);
    int on = 1;
    pid_t child = -1;
    if (self >= 0 && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) &&
        !setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on))
        child = fork();
    if (!child) {
        close(ends[1]);
        close(gate);
        make_network(name, ends[0], self);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || close(ends[0]) ||
        place(ends[1], gate)) {
        rec_fail(&e, errno, "cannot start container '%s': %s", name, strerror(errno));
        return complain(&e);
    }
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    if (setenv("LISTEN_FDS", "2", 1) || setenv("LISTEN_PID", pid, 1))
        return FAILED;
    unsetenv("LISTEN_FDNAMES");
    execv(argv[0], argv);
    dprintf(2, "%s: %s\n", argv[0], strerror(errno));
    return FAILED;
}

int main(int argc, char **argv)
{
    struct rec_error e = {0};
    if (argc >= 4 && !strcmp(argv[1], "start"))
        return start(argv[2], argv + 3);
    if (argc == 3 && !strcmp(argv[1], "end"))
        return rec_own_network_end(argv[2], &e) ? complain(&e) : 0;
    dprintf(2, "berth-network: berth starts this program, see berth.yaml(5)\n");
    return USAGE;
}
