/* The exchange with the kernel. rtnetlink works inside sendmsg: when the send returns, the answers
 * are already queued. So receiving tries first, with recvmmsg (many datagrams a call; a dump goes
 * on inside it), and polls only when nothing is there. libmnl's own loop is not used: it takes
 * NLMSG_DONE for success whatever it carries, and a forged ack for the kernel's. */
#include "netops/port.h"
#include "netops/attr.h"
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER = 256 * 1024, /* one for each thread that has a port */
    /* CAP_ACK keeps acks short; the longest text of the kernel's is some 200 bytes */
    SLOT_ACK = 512,
    SLOT_DUMP = 32 * 1024,
    SLOT_EVENT = 16 * 1024,
    MAX_SLOTS = 64,
    RETRIES = 10, /* the longest run of torn dumps seen was 1 */
    ANSWER_MS = 10000,
    MOST_LOSSES = 1000,
    MOST_INTERRUPTS = 16,
    DEFAULT_ROOM = 200 * 1024, /* net.core.{r,w}mem_default on all kernels */
};

struct net_port {
    int fd, protocol;
    uint32_t seq;
    bool strict;
    size_t dump_slot; /* grows when a datagram was cut */
    size_t send_room, receive_room;
    uint8_t *buffer;
    const struct net_port_ops *ops;
    void *arg;
};

/* ---- the thread's buffer: a thread opens thousands of short-lived ports, one after the other
 * ---- */

static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static pthread_key_t buffer_key;
static bool buffer_key_made;

static void buffer_init(void)
{
    buffer_key_made = pthread_key_create(&buffer_key, free) == 0;
}

static void *buffer_take(void)
{
    pthread_once(&buffer_once, buffer_init);
    void *spare = buffer_key_made ? pthread_getspecific(buffer_key) : NULL;
    if (!spare)
        return malloc(BUFFER);
    pthread_setspecific(buffer_key, NULL);
    return spare;
}

static void buffer_give(void *buffer)
{
    if (!buffer_key_made || pthread_getspecific(buffer_key) ||
        pthread_setspecific(buffer_key, buffer))
        free(buffer);
}

/* ---- the real socket ---- */

static int socket_send(void *arg, const void *bytes, size_t size)
{
    struct net_port *p = arg;
    for (int tries = 0;; tries++) {
        ssize_t n = send(p->fd, bytes, size, 0);
        if (n == (ssize_t)size)
            return 0;
        if (n >= 0)
            return -EMSGSIZE;
        if (errno != EINTR || tries == 16) /* EINTR: nothing went out */
            return -errno;
    }
}

static int socket_recv(void *arg, struct net_datagram *d, unsigned n, int timeout_ms)
{
    struct net_port *p = arg;
    struct mmsghdr m[MAX_SLOTS];
    struct iovec v[MAX_SLOTS];
    struct sockaddr_nl a[MAX_SLOTS];

    if (n > MAX_SLOTS)
        n = MAX_SLOTS;
    for (unsigned i = 0; i < n; i++) {
        v[i] = (struct iovec){.iov_base = d[i].bytes, .iov_len = d[i].size};
        m[i] = (struct mmsghdr){
            .msg_hdr = {
                .msg_name = &a[i], .msg_namelen = sizeof a[i], .msg_iov = &v[i], .msg_iovlen = 1}};
    }
    int got = recvmmsg(p->fd, m, n, MSG_DONTWAIT, NULL);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && timeout_ms != 0) {
        struct pollfd wait = {.fd = p->fd, .events = POLLIN};
        int ready = poll(&wait, 1, timeout_ms);
        if (ready < 0)
            return -errno;
        if (ready == 0)
            return -ETIMEDOUT;
        got = recvmmsg(p->fd, m, n, MSG_DONTWAIT, NULL);
    }
    if (got < 0)
        return -errno;
    for (int i = 0; i < got; i++) {
        d[i].length = m[i].msg_len;
        d[i].cut = (m[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        d[i].from = m[i].msg_hdr.msg_namelen >= sizeof a[i] ? a[i].nl_pid : UINT32_MAX;
    }
    return got;
}

static const struct net_port_ops socket_ops = {.send = socket_send, .recv = socket_recv};

static void option(struct net_port *p, int name)
{
    int one = 1;
    if (p->fd >= 0) /* an old kernel without it answers ENOPROTOOPT and works all the same */
        (void)setsockopt(p->fd, SOL_NETLINK, name, &one, sizeof one);
}

static struct net_port *port_new(int protocol)
{
    struct net_port *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->fd = -1;
    p->protocol = protocol;
    p->dump_slot = SLOT_DUMP;
    p->send_room = p->receive_room = DEFAULT_ROOM;
    return p;
}

static int port_open(int protocol, bool acks, struct net_port **out, struct net_error *err)
{
    struct net_port *p = port_new(protocol);
    if (!p)
        return net_fail(err, ENOMEM, "open", "a netlink socket");
    p->ops = &socket_ops;
    p->arg = p;
    p->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (p->fd < 0) {
        int code = errno;
        free(p);
        return net_fail(err, code, "open", "a netlink socket");
    }
    if (acks) {
        option(p, NETLINK_EXT_ACK);
        option(p, NETLINK_CAP_ACK);
    }
    *out = p;
    return 0;
}

int net_port_open(int protocol, struct net_port **out, struct net_error *err)
{
    return port_open(protocol, true, out, err);
}

int net_port_open_quick(struct net_port **out, struct net_error *err)
{
    return port_open(NETLINK_ROUTE, false, out, err);
}

void net_port_strict(struct net_port *p)
{
    if (p->strict || p->protocol != NETLINK_ROUTE)
        return;
    option(p, NETLINK_GET_STRICT_CHK);
    p->strict = true;
}

int net_port_widen(struct net_port *p)
{
    if (p->dump_slot >= BUFFER)
        return -EMSGSIZE;
    p->dump_slot = p->dump_slot * 4 > BUFFER ? BUFFER : p->dump_slot * 4;
    return 0;
}

int net_port_test_ops(const struct net_port_ops *ops, void *arg, int protocol,
                      struct net_port **out)
{
    struct net_port *p = port_new(protocol);
    if (!p)
        return -ENOMEM;
    p->ops = ops;
    p->arg = arg;
    *out = p;
    return 0;
}

void net_port_close(struct net_port *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        close(p->fd);
    if (p->buffer)
        buffer_give(p->buffer);
    free(p);
}

void net_port_close_later(struct net_port *p)
{
    if (p && p->fd >= 0 && !fork()) {
        if (!dup2(p->fd, 0) && !close_range(1, ~0u, 0) && !chdir("/"))
            _exit(0);
        _exit(1);
    }
    net_port_close(p);
}

/* ---- single steps ---- */

uint32_t net_port_number(struct net_port *p)
{
    return ++p->seq;
}

int net_port_fd(const struct net_port *p)
{
    return p->fd;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t net_port_deadline(int milliseconds)
{
    return now() + (int64_t)milliseconds * 1000000;
}

/* Without the right to force, the plain option goes as far as the system's limit. */
static int room(struct net_port *p, int force, int plain, size_t want, size_t *have)
{
    int v = want > INT_MAX / 2 ? INT_MAX / 2 : (int)want;
    if (p->fd < 0 || want <= *have)
        return 0;
    if (setsockopt(p->fd, SOL_SOCKET, force, &v, sizeof v)) {
        int code = errno;
        (void)setsockopt(p->fd, SOL_SOCKET, plain, &v, sizeof v);
        return -code;
    }
    *have = want;
    return 0;
}

int net_port_room(struct net_port *p, size_t send_bytes, size_t receive)
{
    int s = room(p, SO_SNDBUFFORCE, SO_SNDBUF, send_bytes, &p->send_room);
    int r = room(p, SO_RCVBUFFORCE, SO_RCVBUF, receive, &p->receive_room);
    return s ? s : r;
}

int net_port_listen(struct net_port *p, uint32_t groups, struct net_error *err)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = groups};
    if (p->fd >= 0 && bind(p->fd, (struct sockaddr *)&a, sizeof a))
        return net_fail(err, errno, "listen to", "the kernel's events");
    return 0;
}

int net_port_send(struct net_port *p, const void *messages, size_t size, struct net_error *err)
{
    int r = p->ops->send(p->arg, messages, size);
    if (r == -ENOBUFS || r == -ENOMEM) /* not the ENOBUFS of lost answers: nothing went out */
        return net_fail(err, ENOMEM, "send", "%zu bytes to the kernel", size);
    return r ? net_fail(err, -r, "send", "%zu bytes to the kernel", size) : 0;
}

static int walk(const struct net_datagram *d, net_each_fn each, void *arg)
{
    const uint8_t *at = d->bytes;
    size_t left = d->length;

    while (left >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *m = (const void *)at;
        if (m->nlmsg_len < sizeof *m || m->nlmsg_len > left)
            return -EBADMSG;
        int r = each(arg, m);
        if (r)
            return r;
        size_t step = NLMSG_ALIGN((size_t)m->nlmsg_len);
        if (step >= left)
            return 0;
        at += step;
        left -= step;
    }
    return left ? -EBADMSG : 0;
}

int net_port_receive(struct net_port *p, enum net_slot slot, unsigned expect, int64_t deadline,
                     net_each_fn each, void *arg)
{
    struct net_datagram d[MAX_SLOTS];
    size_t size = slot == NET_SLOT_ACK     ? SLOT_ACK
                  : slot == NET_SLOT_EVENT ? SLOT_EVENT
                                           : p->dump_slot;
    unsigned n = (unsigned)(BUFFER / size);

    if (!p->buffer && !(p->buffer = buffer_take()))
        return -ENOMEM;
    if (n > MAX_SLOTS)
        n = MAX_SLOTS;
    if (n > expect)
        n = expect ? expect : 1;
    for (int interrupted = 0;;) {
        for (unsigned i = 0; i < n; i++)
            d[i] = (struct net_datagram){.bytes = p->buffer + i * size, .size = size};
        int wait = 0;
        if (deadline != NET_NO_WAIT) {
            int64_t left = (deadline - now()) / 1000000;
            wait = left < 0 ? 0 : left >= INT_MAX ? INT_MAX : (int)left + 1;
        }
        int got = p->ops->recv(p->arg, d, n, wait);
        if (got == -EAGAIN && deadline != NET_NO_WAIT && now() >= deadline)
            return -ETIMEDOUT;
        if (got == -EINTR && slot == NET_SLOT_EVENT)
            return got;
        if (got == -EINTR && deadline == NET_NO_WAIT && interrupted++ == MOST_INTERRUPTS)
            return -EAGAIN;
        if (got == -EINTR && deadline != NET_NO_WAIT && now() >= deadline)
            return -ETIMEDOUT;
        if (got == -EINTR || (got == -EAGAIN && deadline != NET_NO_WAIT))
            continue;
        if (got < 0)
            return got;
        bool heard = false;
        int result = 0;
        for (int i = 0; i < got; i++) {
            if (d[i].from != 0) /* another process: not the kernel's word */
                continue;
            heard = true;
            int r = d[i].cut ? -EMSGSIZE : 0;
            if (!r && (!result || result == -EMSGSIZE))
                r = walk(&d[i], each, arg);
            if (r && !result)
                result = r;
        }
        if (heard)
            return result;
        if (deadline != NET_NO_WAIT && now() >= deadline)
            return -ETIMEDOUT;
    }
}

int net_answer_code(const struct nlmsghdr *m, struct net_error *err, uint32_t *offset)
{
    size_t have = m->nlmsg_len, at; /* `at`: where the extended ack begins */
    int code;

    if (offset)
        *offset = 0;
    if (have < NLMSG_HDRLEN + sizeof code)
        return m->nlmsg_type == NLMSG_DONE ? 0 : EBADMSG;
    memcpy(&code, NLMSG_DATA(m), sizeof code);
    if (m->nlmsg_type == NLMSG_DONE) {
        at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof code);
    } else {
        if (have < NLMSG_HDRLEN + sizeof(struct nlmsgerr))
            return EBADMSG;
        const struct nlmsgerr *e = NLMSG_DATA(m);
        at = NLMSG_HDRLEN + sizeof *e;
        if (!(m->nlmsg_flags & NLM_F_CAPPED)) {
            if (e->msg.nlmsg_len < NLMSG_HDRLEN || e->msg.nlmsg_len > have)
                return code ? (code < 0 && code >= -4095 ? -code : EBADMSG) : 0;
            at += NLMSG_ALIGN((size_t)e->msg.nlmsg_len) - NLMSG_HDRLEN;
        }
    }
    if (code > 0 || code < -4095)
        return m->nlmsg_type == NLMSG_DONE && code > 0 ? 0 : EBADMSG;
    if (!(m->nlmsg_flags & NLM_F_ACK_TLVS) || at >= have)
        return -code;
    const struct nlattr *a;
    NET_EACH(a, m, at - NLMSG_HDRLEN)
    {
        if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG) {
            const char *text = mnl_attr_get_payload(a);
            net_error_kernel(err, text, strnlen(text, mnl_attr_get_payload_len(a)));
        } else if (mnl_attr_get_type(a) == NLMSGERR_ATTR_OFFS && offset &&
                   mnl_attr_get_payload_len(a) >= sizeof(uint32_t)) {
            *offset = net_attr_u32(a);
        }
    }
    return -code;
}

/* ---- whole readings ---- */

enum { REQUEST = 512 };
union request {
    struct nlmsghdr head;
    uint8_t bytes[REQUEST];
};

struct reading {
    uint32_t seq;
    net_each_fn each;
    void *arg;
    bool one; /* a single answer, not a dump */
    bool over, torn;
    int stop, code;
    struct net_error said;
};

static const char *subject(const struct net_port *p, const struct nlmsghdr *request)
{
    if (p->protocol != NETLINK_ROUTE)
        return "nftables";
    switch (request->nlmsg_type) {
    case RTM_GETLINK:
        return "links";
    case RTM_GETADDR:
        return "addresses";
    case RTM_GETROUTE:
        return "routes";
    default:
        return "the kernel's state";
    }
}

static int reading_message(void *arg, const struct nlmsghdr *m)
{
    struct reading *r = arg;
    if (m->nlmsg_seq != r->seq || r->over)
        return 0;
    if (m->nlmsg_flags & NLM_F_DUMP_INTR)
        r->torn = true;
    switch (m->nlmsg_type) {
    case NLMSG_DONE:
    case NLMSG_ERROR:
        r->code = net_answer_code(m, &r->said, NULL);
        r->over = true;
        return 0;
    case NLMSG_OVERRUN:
        r->torn = true;
        return 0;
    default:
        if (m->nlmsg_type < NLMSG_MIN_TYPE)
            return 0;
        if (!r->torn && !r->stop)
            r->stop = r->each(r->arg, m);
        if (r->one)
            r->over = true;
        return 0;
    }
}

/* Send one request and read its answer to the end. 0, -EINTR: torn, read again; else final. */
static int read_once(struct net_port *p, const struct nlmsghdr *request, uint16_t flags,
                     struct reading *r, struct net_error *err)
{
    union request q;
    if (request->nlmsg_len > sizeof q)
        return net_fail(err, EMSGSIZE, "read", "%s", subject(p, request));
    net_port_strict(p);
    memset(&q, 0, sizeof q.head);
    memcpy(q.bytes, request, request->nlmsg_len);
    q.head.nlmsg_flags |= (uint16_t)(NLM_F_REQUEST | flags);
    q.head.nlmsg_seq = r->seq = net_port_number(p);
    q.head.nlmsg_pid = 0;
    int s = net_port_send(p, &q, q.head.nlmsg_len, err);
    if (s)
        return s;

    int64_t deadline = net_port_deadline(ANSWER_MS);
    bool lost = false, cut = false;
    for (int losses = 0; !r->over && losses <= MOST_LOSSES; losses += lost) {
        /* once something is lost the end may be lost too: then silence is the end */
        int got = net_port_receive(p, NET_SLOT_DUMP, r->one ? 1 : UINT_MAX,
                                   lost ? NET_NO_WAIT : deadline, reading_message, r);
        if (got == -EMSGSIZE)
            lost = cut = true;
        else if (got == -ENOBUFS)
            lost = true;
        else if (got == -EAGAIN && lost)
            break;
        else if (got)
            return net_fail(err, -got, "read", "%s", subject(p, request));
    }
    if (cut && net_port_widen(p))
        return net_fail(err, EMSGSIZE, "read", "%s", subject(p, request));
    if (lost || r->torn)
        return net_fail(err, EINTR, "read", "%s", subject(p, request));
    if (r->code) {
        net_fail(err, r->code, "read", "%s", subject(p, request));
        if (err)
            memcpy(err->kernel, r->said.kernel, sizeof err->kernel);
        return r->code == EINTR ? -EAGAIN : -r->code;
    }
    if (r->stop)
        return net_fail(err, r->stop < 0 ? -r->stop : r->stop, "read", "%s", subject(p, request));
    return 0;
}

int net_port_dump_all(struct net_port *p, const struct net_dump *dumps, size_t n, net_each_fn each,
                      void (*restart)(void *arg), void *arg, struct net_error *err)
{
    struct net_error failed;
    for (int tries = 0; tries <= RETRIES; tries++) {
        int r = 0;
        if (tries && restart)
            restart(arg);
        for (size_t i = 0; i < n && !r; i++) {
            struct reading reading = {.each = each, .arg = arg};
            r = read_once(p, dumps[i].request, NLM_F_DUMP, &reading, &failed);
            if (r && dumps[i].forgive && reading.over && reading.code == dumps[i].forgive)
                r = 0;
        }
        if (!r)
            return 0;
        if (r != -EINTR) {
            if (err)
                *err = failed;
            return r;
        }
    }
    if (err)
        *err = failed;
    return -EINTR;
}

int net_port_dump(struct net_port *p, const struct nlmsghdr *request, net_each_fn each,
                  void (*restart)(void *arg), void *arg, struct net_error *err)
{
    struct net_dump one = {.request = request};
    return net_port_dump_all(p, &one, 1, each, restart, arg, err);
}

int net_port_ask(struct net_port *p, const struct nlmsghdr *request, net_each_fn each, void *arg,
                 struct net_error *err)
{
    struct net_error failed;
    int r = -EINTR;
    for (int tries = 0; tries <= RETRIES && r == -EINTR; tries++) {
        struct reading reading = {.each = each, .arg = arg, .one = true};
        r = read_once(p, request, 0, &reading, &failed);
    }
    if (r && err)
        *err = failed;
    return r;
}
