/* Events. Their number is not ours to choose, so the buffer may overflow, and then the kernel says
 * so once: that must never be dropped on the floor, since what was lost may be the only notice
 * of a change. */
#include "netops/monitor.h"
#include "netops/link.h"
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4 * 1024 * 1024 /* doubled by the kernel */, FOR_EVER_MS = 3600 * 1000 };

struct net_monitor {
    struct net_port *port;
};

int net_monitor_over(struct net_port *p, struct net_monitor **out, struct net_error *err)
{
    struct net_monitor *m = calloc(1, sizeof *m);
    if (!m)
        return net_fail(err, ENOMEM, "listen to", "the kernel's events");
    m->port = p;
    *out = m;
    return 0;
}

int net_monitor_open(uint32_t groups, struct net_monitor **out, struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    int r = net_port_open_quick(&p, err);
    if (r)
        return r;
    (void)net_port_room(p, 0, ROOM); /* a smaller buffer only means more resyncs */
    r = net_port_listen(p, groups, err);
    if (r)
        return r;
    r = net_monitor_over(p, out, err);
    if (!r)
        (void)steal(p);
    return r;
}

void net_monitor_close(struct net_monitor *m)
{
    if (!m)
        return;
    net_port_close(m->port);
    free(m);
}

int net_monitor_fd(const struct net_monitor *m)
{
    return net_port_fd(m->port);
}

struct hearing {
    net_each_fn each;
    void *arg;
    int n, stop;
};

static int hear(void *arg, const struct nlmsghdr *m)
{
    struct hearing *h = arg;
    if (m->nlmsg_type < NLMSG_MIN_TYPE)
        return m->nlmsg_type == NLMSG_OVERRUN ? -ENOBUFS : 0;
    if (h->n < INT_MAX)
        h->n++;
    h->stop = h->each ? h->each(h->arg, m) : 0;
    return h->stop;
}

int net_monitor_wait(struct net_monitor *m, int timeout_ms, net_each_fn each, void *arg,
                     struct net_error *err)
{
    struct hearing h = {.each = each, .arg = arg};
    int64_t deadline =
        timeout_ms < 0 ? net_port_deadline(FOR_EVER_MS) : net_port_deadline(timeout_ms);
    int r;

    for (;;) {
        r = net_port_receive(m->port, NET_SLOT_EVENT, UINT_MAX, timeout_ms ? deadline : NET_NO_WAIT,
                             hear, &h);
        if (h.stop)
            return h.stop < 0 ? h.stop : h.n;
        if (r == -EMSGSIZE || r == -EBADMSG) /* an event was lost: the cure is the same */
            r = -ENOBUFS;
        if (r == -ETIMEDOUT && timeout_ms < 0) {
            deadline = net_port_deadline(FOR_EVER_MS);
            continue;
        }
        if (r == -ETIMEDOUT || r == -EAGAIN)
            return h.n;
        if (r)
            return net_fail(err, -r, "listen to", "the kernel's events");
        if (h.n)
            return h.n;
    }
}

/* ---- one link ---- */

struct waiting {
    const char *name;
    bool changed; /* a link of that name went, or changed its name */
    int index;
};

static int look(void *arg, const struct nlmsghdr *m)
{
    struct waiting *w = arg;
    struct net_link l;
    if (net_link_decode(m, &l) && l.index == w->index)
        w->changed |= m->nlmsg_type == RTM_DELLINK || strcmp(l.name, w->name);
    return 0;
}

int net_link_wait_gone(const char *name, int timeout_ms, struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    scoped(net_monitor_closep) struct net_monitor *m = NULL;
    struct waiting w = {.name = name};
    struct net_link l;
    int64_t deadline = net_port_deadline(timeout_ms);

    int r = net_port_open(NETLINK_ROUTE, &p, err);
    for (;;) {
        if (!r)
            r = net_link_get(p, name, 0, &l, err);
        if (r)
            return r == -ENODEV ? 0 : r;
        /* most links are gone at once; now listen, and look again: it may have gone in between */
        if (!m) {
            r = net_monitor_open(RTMGRP_LINK, &m, err);
            continue;
        }
        w.index = l.index;
        w.changed = false;
        while (!w.changed) {
            int64_t left = (deadline - net_port_deadline(0)) / 1000000;
            if (left <= 0)
                return net_fail(err, ETIMEDOUT, "wait for the end of", "link '%s'", name);
            r = net_monitor_wait(m, left > INT_MAX ? INT_MAX : (int)left, look, &w, err);
            if (r == -ENOBUFS)
                break;
            if (r < 0 && r != -EINTR)
                return r;
        }
        r = 0;
    }
}
