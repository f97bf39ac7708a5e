/* netops/monitor.h — the kernel's events, as hints: an event says that something changed, reading
 * says what is.
 * Owns     a rtnetlink socket of the calling thread's network namespace, with a receive buffer of 8
 *          MiB where that is allowed.
 * Kernel   rtnetlink(7), RTMGRP_* of linux/rtnetlink.h. The kernel drops events where a socket's
 *          buffer is full, and links of a namespace that has ended linger. */
#ifndef NETOPS_MONITOR_H
#define NETOPS_MONITOR_H
#include "netops/port.h"

struct net_monitor;
/* `groups`: RTMGRP_LINK | RTMGRP_IPV4_IFADDR | … Events from now on are kept until they are
 * waited for. */
int net_monitor_open(uint32_t groups, struct net_monitor **out, struct net_error *err);
void net_monitor_close(struct net_monitor *m);
DEFINE_SCOPED(struct net_monitor *, net_monitor_close)
/* On a port that is open already (the monitor owns it from now on), or one of a test's. */
int net_monitor_over(struct net_port *p, struct net_monitor **out, struct net_error *err);
/* readable when there is something to wait for; never read from it */
int net_monitor_fd(const struct net_monitor *m);

/* Hand on what has happened, waiting up to `timeout_ms` for the first event (0: only what is there;
 * -1: for ever). > 0: that many events went to `each`, whose answer other than 0 ends the call and
 * is returned if negative; 0: none came. -ENOBUFS, "resync": events were lost, everything must
 * be read again (the monitor goes on working). A signal: -EINTR. */
int net_monitor_wait(struct net_monitor *m, int timeout_ms, net_each_fn each, void *arg,
                     struct net_error *err);

/* Wait until no link of the calling thread's namespace is called `name`, by event, never by
 * sleeping. 0 at once when there is none. -ETIMEDOUT after `timeout_ms`: it is still there. */
int net_link_wait_gone(const char *name, int timeout_ms, struct net_error *err);
#endif
