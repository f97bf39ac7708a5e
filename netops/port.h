/* netops/port.h — a netlink socket: the one place that sends to and receives from the kernel, and the seam that tests replace.
 * Owns     the socket and its receive buffer.
 * Sets     NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK (where the kernel has them), forced buffers on demand.
 * Accepts  only datagrams whose sender is the kernel (nl_pid 0); a cut one (MSG_TRUNC) is an error, never data.
 * Deadline 10 s for every answer, then -ETIMEDOUT. */
#ifndef NETOPS_PORT_H
#define NETOPS_PORT_H
#include "netops/error.h"
#include "netops/scoped.h"
#include <linux/netlink.h>
#include <stddef.h>

struct net_port;
/* A socket of `protocol` (NETLINK_ROUTE, NETLINK_NETFILTER) in the network namespace of the calling thread. */
int  net_port_open(int protocol, struct net_port **out, struct net_error *err);
void net_port_close(struct net_port *p);
DEFINE_SCOPED(struct net_port *, net_port_close)

/* Every message of one dump to `each`, which returns 0 or -errno to stop. NLMSG_DONE with an error is an error; a dump that
 * NLM_F_DUMP_INTR marks is thrown away and read again (`restart` tells the reader to forget what it has), 10 times at most. */
typedef int (*net_each_fn)(void *arg, const struct nlmsghdr *m);
int net_port_dump(struct net_port *p, const struct nlmsghdr *request, net_each_fn each, void (*restart)(void *arg),
                  void *arg, struct net_error *err);
#endif
