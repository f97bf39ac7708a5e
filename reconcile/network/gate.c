/* berth-gate — the first program in a container that owns its network (reconcile/own_network.h).
 * It is linked statically, since the container's root may have no libraries.
 *
 *     berth-gate                      then execute the root's init
 *     berth-gate COMMAND ARGUMENT...  then execute COMMAND
 *
 * Descriptor 3 is a socket to berth-network, 4 is this program. The payload has neither. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET = 3, PROGRAM = 4, NO_NETWORK = 125, FAILED = 126, NOT_FOUND = 127 };

static int send_network(void)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    char byte = 0;
    struct iovec io = {&byte, 1};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    int r = sendmsg(SOCKET, &m, MSG_NOSIGNAL) == 1 ? 0 : -1;
    close(fd);
    return r;
}

/* Whatever is in the way was reported by berth-network. */
static int await_network(void)
{
    char byte;
    ssize_t n;
    while ((n = read(SOCKET, &byte, 1)) < 0 && errno == EINTR)
        ;
    return n == 1 ? 0 : -1;
}

/* As systemd-nspawn --boot does. */
static void boot(void)
{
    static const char *const inits[] = {"/usr/lib/systemd/systemd", "/lib/systemd/systemd",
                                        "/sbin/init"};
    for (size_t i = 0; i < sizeof inits / sizeof *inits; i++)
        execl(inits[i], inits[i], (char *)NULL);
    dprintf(2, "berth: cannot execute an init: %s\n", strerror(errno));
}

int main(int argc, char **argv)
{
    if (send_network() || await_network())
        return NO_NETWORK;
    close(SOCKET);
    close(PROGRAM);
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDNAMES");
    if (argc < 2) {
        boot();
        return FAILED;
    }
    execvp(argv[1], argv + 1);
    dprintf(2, "berth: cannot execute '%s': %s\n", argv[1], strerror(errno));
    return errno == ENOENT ? NOT_FOUND : FAILED;
}
