/* nlfault: a library to preload that makes the kernel refuse one netlink request.
 *
 *   NLFAULT_LOG=FILE   a line for each request: number, protocol, type, flags (decimal)
 *   NLFAULT_AT=N       the request with that number …
 *   NLFAULT_ERRNO=E    … fails with E
 *   NLFAULT_MODE=refuse    it is not carried out: its type becomes one that the kernel does not
 *                          know (the default)
 *               =lie       it is carried out, and the answer says it failed
 *               =mute      it is carried out, and the answer never comes
 *
 * Requests are counted over all sockets and threads of one process; the begin and the end of an
 * nftables batch are none. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NO_SUCH_TYPE = 0x0ff0, BATCH_BEGIN = 0x10, BATCH_END = 0x11 };

static ssize_t (*true_send)(int, const void *, size_t, int);
static int (*true_recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *);
static int log_fd = -1, code, at;
static char mode = 'r';
static atomic_int number;
static atomic_int hit_fd = -1; /* where the answer to the chosen request will come */
static uint32_t hit_seq;

static int wish(const char *name)
{
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *log = getenv("NLFAULT_LOG"), *how = getenv("NLFAULT_MODE");
    *(void **)&true_send = dlsym(RTLD_NEXT, "send");
    *(void **)&true_recvmmsg = dlsym(RTLD_NEXT, "recvmmsg");
    at = wish("NLFAULT_AT");
    code = wish("NLFAULT_ERRNO");
    mode = how ? *how : 'r';
    if (log)
        log_fd = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int protocol_of(int fd)
{
    int domain = 0, protocol = -1;
    socklen_t n = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) || domain != AF_NETLINK)
        return -1;
    n = sizeof protocol;
    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) ? -1 : protocol;
}

/* NLMSG_OK and NLMSG_NEXT compare lengths of both signs, which clang refuses. */
static bool whole(const struct nlmsghdr *m, size_t left)
{
    return left >= sizeof *m && m->nlmsg_len >= sizeof *m && m->nlmsg_len <= left;
}

static struct nlmsghdr *next(const struct nlmsghdr *m, size_t *left)
{
    size_t step = NLMSG_ALIGN(m->nlmsg_len);
    *left -= step < *left ? step : *left;
    return (struct nlmsghdr *)((char *)m + step);
}

ssize_t send(int fd, const void *bytes, size_t size, int flags)
{
    int protocol = protocol_of(fd);
    size_t left = size;
    void *copy = NULL;
    if (protocol < 0)
        return true_send(fd, bytes, size, flags);
    for (const struct nlmsghdr *m = bytes; whole(m, left); m = next(m, &left)) {
        if (protocol == NETLINK_NETFILTER &&
            (m->nlmsg_type == BATCH_BEGIN || m->nlmsg_type == BATCH_END))
            continue;
        int n = atomic_fetch_add(&number, 1) + 1;
        if (log_fd >= 0)
            dprintf(log_fd, "%d %d %d %d\n", n, protocol, m->nlmsg_type, m->nlmsg_flags);
        if (n != at)
            continue;
        hit_seq = m->nlmsg_seq;
        atomic_store(&hit_fd, fd);
        if (mode == 'r' && (copy = malloc(size))) {
            memcpy(copy, bytes, size);
            ((struct nlmsghdr *)((char *)copy + ((const char *)m - (const char *)bytes)))
                ->nlmsg_type = NO_SUCH_TYPE;
        }
    }
    ssize_t sent = true_send(fd, copy ? copy : bytes, size, flags);
    int why = errno;
    free(copy);
    errno = why;
    return sent;
}

/* The answer's code, or no answer: a message that nobody waits for is left in its place. */
static void tamper(void *bytes, unsigned size)
{
    size_t left = size;
    for (struct nlmsghdr *m = bytes; whole(m, left); m = next(m, &left)) {
        if (m->nlmsg_seq != hit_seq || m->nlmsg_type != NLMSG_ERROR)
            continue;
        struct nlmsgerr *e = NLMSG_DATA(m);
        if (mode == 'm')
            m->nlmsg_seq = ~hit_seq;
        else if (mode == 'l' || e->error)
            e->error = -code;
    }
}

int recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *limit)
{
    int got = true_recvmmsg(fd, m, n, flags, limit);
    for (int i = 0; i < got && fd == atomic_load(&hit_fd); i++)
        tamper(m[i].msg_hdr.msg_iov->iov_base, m[i].msg_len);
    return got;
}
