/* tests/unit/netops_fake.h — a kernel that answers what a test tells it to: datagrams are queued by
 * hand, or by a function that hears each send. */
#ifndef TESTS_UNIT_NETOPS_FAKE_H
#define TESTS_UNIT_NETOPS_FAKE_H
/* cmocka wants these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "netops/port.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <string.h>

enum { FAKE_QUEUE = 256, FAKE_BYTES = 1024 };
struct fake_datagram {
    _Alignas(8) uint8_t bytes[FAKE_BYTES];
    size_t length;
    uint32_t from;
    bool cut;
    int error; /* this receive fails so, and nothing is read */
};
struct fake {
    struct fake_datagram q[FAKE_QUEUE];
    unsigned head, tail;
    unsigned sends, receives;
    int send_error;
    void (*on_send)(struct fake *k, const struct nlmsghdr *first, size_t size);
    void *arg;
};

static inline struct fake_datagram *fake_add(struct fake *k)
{
    struct fake_datagram *d = &k->q[k->tail++ % FAKE_QUEUE];
    memset(d, 0, sizeof *d);
    return d;
}
/* Ends a message in the newest datagram: the next one begins there. */
static inline struct nlmsghdr *fake_message(struct fake_datagram *d, uint16_t type, uint16_t flags,
                                            uint32_t seq, const void *body, size_t size)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(d->bytes + d->length);
    m->nlmsg_type = type;
    m->nlmsg_flags = flags;
    m->nlmsg_seq = seq;
    if (size)
        memcpy(mnl_nlmsg_put_extra_header(m, size), body, size);
    d->length += NLMSG_ALIGN(m->nlmsg_len);
    return m;
}
static inline void fake_text(struct fake_datagram *d, struct nlmsghdr *m, const char *text,
                             uint32_t offset)
{
    uint32_t before = NLMSG_ALIGN(m->nlmsg_len);
    m->nlmsg_flags |= NLM_F_ACK_TLVS;
    if (text)
        mnl_attr_put_strz(m, NLMSGERR_ATTR_MSG, text);
    if (offset)
        mnl_attr_put_u32(m, NLMSGERR_ATTR_OFFS, offset);
    d->length += NLMSG_ALIGN(m->nlmsg_len) - before;
}
/* An ack as CAP_ACK makes it, in a datagram of its own. */
static inline struct fake_datagram *fake_ack(struct fake *k, uint32_t seq, int error,
                                             const char *text, uint32_t offset)
{
    struct nlmsgerr e = {.error = error, .msg = {.nlmsg_len = NLMSG_HDRLEN, .nlmsg_seq = seq}};
    struct fake_datagram *d = fake_add(k);
    struct nlmsghdr *m = fake_message(d, NLMSG_ERROR, NLM_F_CAPPED, seq, &e, sizeof e);
    if (text || offset)
        fake_text(d, m, text, offset);
    return d;
}
static inline struct fake_datagram *fake_done(struct fake *k, uint32_t seq, uint16_t flags,
                                              int error)
{
    struct fake_datagram *d = fake_add(k);
    fake_message(d, NLMSG_DONE, NLM_F_MULTI | flags, seq, &error, sizeof error);
    return d;
}
static inline void fake_error(struct fake *k, int error)
{
    fake_add(k)->error = error;
}
static inline struct nlmsghdr *fake_link(struct fake_datagram *d, uint16_t flags, uint32_t seq,
                                         int index, const char *name)
{
    struct ifinfomsg i = {.ifi_index = index};
    struct nlmsghdr *m = fake_message(d, RTM_NEWLINK, flags, seq, &i, sizeof i);
    uint32_t before = m->nlmsg_len;
    mnl_attr_put_strz(m, IFLA_IFNAME, name);
    d->length += m->nlmsg_len - before;
    return m;
}

static inline int fake_send(void *arg, const void *bytes, size_t size)
{
    struct fake *k = arg;
    k->sends++;
    if (k->send_error)
        return k->send_error;
    if (k->on_send)
        k->on_send(k, bytes, size);
    return 0;
}
static inline int fake_recv(void *arg, struct net_datagram *d, unsigned n, int timeout_ms)
{
    struct fake *k = arg;
    unsigned i = 0;
    k->receives++;
    for (; i < n && k->head != k->tail; i++) {
        struct fake_datagram *f = &k->q[k->head % FAKE_QUEUE];
        if (f->error) {
            if (i)
                break;
            k->head++;
            return f->error;
        }
        k->head++;
        d[i].cut = f->cut || f->length > d[i].size;
        d[i].length = f->length > d[i].size ? d[i].size : f->length;
        d[i].from = f->from;
        memcpy(d[i].bytes, f->bytes, d[i].length);
    }
    return i ? (int)i : timeout_ms ? -ETIMEDOUT : -EAGAIN;
}
static const struct net_port_ops fake_ops = {.send = fake_send, .recv = fake_recv};
#endif
