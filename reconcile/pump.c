/* Only a pump touches the pipe. berth closes its copy of the outer end before the pump begins. That
 * copy is therefore never the last one, whose close(2) takes the lock of the pipe. */
#include "reconcile/pump.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PIPE = 3, /* in the pump */
    SOCKET = 4,
    CHUNK = 16384,
    GONE_MS = 50, /* a pump ends at once, unless its pipe is locked */
};

static bool is_temporary(int code)
{
    return code == EAGAIN || code == EINTR;
}

/* ---- in the pump ---- */

struct output_pump {
    char bytes[CHUNK];
    size_t at, n; /* read and not yet sent */
    bool finishing;
    size_t rest; /* while finishing: bytes of the pipe that may still be the command's */
};

/* poll(2) does not take the lock: nobody waits for an empty pipe. */
static size_t bytes_to_read(void)
{
    struct pollfd p = {PIPE, POLLIN, 0};
    int n = 0;
    if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN) || ioctl(PIPE, FIONREAD, &n))
        return 0;
    return (size_t)n;
}

static bool read_chunk(struct output_pump *o)
{
    size_t most = o->finishing && o->rest < sizeof o->bytes ? o->rest : sizeof o->bytes;
    ssize_t k = read(PIPE, o->bytes, most);
    if (k <= 0)
        return k < 0 && is_temporary(errno);
    o->at = 0;
    o->n = (size_t)k;
    if (o->finishing)
        o->rest -= o->n;
    return true;
}

static bool send_chunk(struct output_pump *o)
{
    ssize_t k = send(SOCKET, o->bytes + o->at, o->n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (k < 0)
        return is_temporary(errno);
    o->at += (size_t)k;
    o->n -= (size_t)k;
    return true;
}

static void pump_output(void)
{
    struct output_pump o = {.at = 0};
    bool goes_on = true;
    while (goes_on && (o.n || o.rest || !o.finishing)) {
        struct pollfd p[2] = {{PIPE, POLLIN, 0}, {SOCKET, 0, 0}};
        char byte;
        if (o.n) {
            p[0].fd = -1;
            p[1].events = POLLOUT;
        }
        if (!o.finishing)
            p[1].events |= POLLIN;
        /* Another reader in the container may have taken the rest: nothing more comes then. */
        int wait = o.finishing && !o.n ? 0 : -1;
        int ready = poll(p, 2, wait);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || p[1].revents & (POLLHUP | POLLERR)) /* berth takes no more */
            return;
        if (p[1].revents & POLLIN && recv(SOCKET, &byte, 1, MSG_DONTWAIT) == 1) {
            o.finishing = true;
            o.rest = bytes_to_read();
        } else if (p[1].revents & POLLOUT) {
            goes_on = send_chunk(&o);
        } else if (p[0].revents) {
            goes_on = read_chunk(&o);
        }
    }
}

/* Only the pipe and the socket stay open. */
static bool keep_descriptors(int pipe, int sock)
{
    int high_pipe = fcntl(pipe, F_DUPFD, SOCKET + 1);
    int high_sock = fcntl(sock, F_DUPFD, SOCKET + 1);
    if (high_pipe < 0 || high_sock < 0 || dup2(high_pipe, PIPE) < 0 || dup2(high_sock, SOCKET) < 0)
        return false;
    if (syscall(SYS_close_range, 0, PIPE - 1, 0) || syscall(SYS_close_range, SOCKET + 1, ~0u, 0))
        return false;
    return fcntl(PIPE, F_SETFL, fcntl(PIPE, F_GETFL) | O_NONBLOCK) == 0;
}

static bool take_byte(int sock)
{
    char byte;
    ssize_t k;
    do
        k = recv(sock, &byte, 1, 0);
    while (k < 0 && errno == EINTR);
    return k == 1;
}

static bool give_byte(int sock)
{
    char byte = 0;
    return send(sock, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void run_pump(int pipe, int sock, void (*pump)(void))
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, "berth-pump");
    if (chdir("/") || !keep_descriptors(pipe, sock))
        return;
    /* berth closes the pipe between these two. */
    if (give_byte(SOCKET) && take_byte(SOCKET))
        pump();
    close(SOCKET); /* before the pipe, whose lock a process that stays behind may hold */
}

/* ---- in berth ---- */

static int start_pump(struct rec_pump *p, int pipe, int type, void (*pump)(void))
{
    int pair[2];
    *p = (struct rec_pump){.sock = -1};
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair)) {
        int code = errno;
        close(pipe);
        return -code;
    }
    pid_t pid = fork();
    if (!pid) {
        close(pair[0]);
        run_pump(pipe, pair[1], pump);
        _exit(0);
    }
    int code = pid < 0 ? errno : 0;
    close(pair[1]);
    if (!code && !take_byte(pair[0]))
        code = ECHILD;
    close(pipe);
    p->pid = pid > 0 ? pid : 0;
    p->sock = pair[0];
    if (!code && (fcntl(p->sock, F_SETFL, O_NONBLOCK) || !give_byte(p->sock)))
        code = ECHILD;
    if (code)
        rec_pump_close(p);
    return -code;
}

int rec_pump_output(struct rec_pump *p, int pipe)
{
    return start_pump(p, pipe, SOCK_STREAM, pump_output);
}

void rec_pump_finish(const struct rec_pump *p)
{
    if (p->sock >= 0)
        give_byte(p->sock);
}

void rec_pump_close(struct rec_pump *p)
{
    if (p->sock >= 0)
        close(p->sock);
    p->sock = -1;
    if (!p->pid)
        return;
    /* A pump in the kernel that does not end is left to the init process. */
    struct pollfd end = {(int)syscall(SYS_pidfd_open, p->pid, 0), POLLIN, 0};
    kill(p->pid, SIGKILL);
    poll(&end, 1, GONE_MS);
    if (end.fd >= 0)
        close(end.fd);
    waitpid(p->pid, NULL, WNOHANG);
    p->pid = 0;
}
