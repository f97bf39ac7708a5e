/* netops/port.h — a netlink socket: the one place that sends to and receives from the kernel, and
 * the seam that tests replace.
 * Owns     the socket; its receive buffer is lent by the thread (allocated once, on first use).
 * Sets     NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK (where the kernel has them),
 *          forced buffers on demand.
 * Accepts  only datagrams whose sender is the kernel (nl_pid 0); a cut one (MSG_TRUNC) is an error,
 *          never data.
 * Deadline 10 s for every answer, then -ETIMEDOUT.
 * Threads  one port by one thread at a time; any number of ports. */
#ifndef NETOPS_PORT_H
#define NETOPS_PORT_H
#include "netops/error.h"
#include "netops/scoped.h"
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct net_port;
/* A socket of `protocol` (NETLINK_ROUTE, NETLINK_NETFILTER) in the network namespace of the
 * calling thread. */
int net_port_open(int protocol, struct net_port **out, struct net_error *err);
void net_port_close(struct net_port *p);
/* For a port by which something was deleted from nftables: whoever closes such a socket waits until
 * the kernel has freed that, a grace period or more (nft_rcv_nl_event in
 * net/netfilter/nf_tables_api.c). A child that holds nothing else does, and nobody waits for the
 * child; where none can be had it is closed here. */
void net_port_close_later(struct net_port *p);
DEFINE_SCOPED(struct net_port *, net_port_close)

/* Every message of one dump to `each`, which returns 0 or -errno to stop. NLMSG_DONE with an error
 * is an error; a dump that NLM_F_DUMP_INTR marks is thrown away and read again (`restart` tells
 * the reader to forget what it has), 10 times at most. */
typedef int (*net_each_fn)(void *arg, const struct nlmsghdr *m);
int net_port_dump(struct net_port *p, const struct nlmsghdr *request, net_each_fn each,
                  void (*restart)(void *arg), void *arg, struct net_error *err);

/* Several dumps as one reading, in turn: if one of them is torn, all are read again. */
struct net_dump {
    /* NLM_F_REQUEST | NLM_F_DUMP and the number are filled in (in a copy) */
    const struct nlmsghdr *request;
    /* an errno that means "nothing to read here" (no IPv6 in this kernel); 0: none */
    int forgive;
};
int net_port_dump_all(struct net_port *p, const struct net_dump *dumps, size_t n, net_each_fn each,
                      void (*restart)(void *arg), void *arg, struct net_error *err);
/* One request with one answer, handed to `each`; the kernel's refusal is the result. */
int net_port_ask(struct net_port *p, const struct nlmsghdr *request, net_each_fn each, void *arg,
                 struct net_error *err);

/* ---- for batches, nftables and events: single steps ---- */

uint32_t net_port_number(struct net_port *p); /* the next nlmsg_seq */
int net_port_fd(const struct net_port *p);    /* for poll; never read from it */
int64_t net_port_deadline(int milliseconds);  /* from now; CLOCK_MONOTONIC, nanoseconds */
/* rtnetlink, reading alone: no option set yet */
int net_port_open_quick(struct net_port **out, struct net_error *err);
void net_port_strict(struct net_port *p); /* the readings above do it themselves */
/* after a cut datagram of a dump: 0: try again; -EMSGSIZE: as wide as can be */
int net_port_widen(struct net_port *p);
/* Room for `send` bytes in one send and for answers of `receive` bytes (as setsockopt counts: the
 * kernel doubles it). Never less than before. -errno when the kernel gave less than that (no
 * right to force it). */
int net_port_room(struct net_port *p, size_t send, size_t receive);
/* Join multicast groups (RTMGRP_*): the port hears events from now on. */
int net_port_listen(struct net_port *p, uint32_t groups, struct net_error *err);
/* One datagram to the kernel, `size` bytes of whole messages; after an error nothing was sent. */
int net_port_send(struct net_port *p, const void *messages, size_t size, struct net_error *err);

/* Room for each datagram, and how many a call: an ack 512 bytes, 64; a dump 32 KiB, 8; an event
 * 16 KiB, 16. */
enum net_slot { NET_SLOT_ACK, NET_SLOT_DUMP, NET_SLOT_EVENT };
#define NET_NO_WAIT INT64_MIN /* as a deadline: -EAGAIN when nothing is there */
/* One system call's worth of datagrams (`expect` at most; more when poll is needed), each message
 * to `each` (0, or a value other than 0 that stops and is returned). Some, then 0. For events a
 * signal ends the wait: -EINTR. -ETIMEDOUT; -ENOBUFS: the kernel dropped answers, the outcome is
 * unknown; -EMSGSIZE: one datagram was cut (the others were handed on); -EBADMSG. */
int net_port_receive(struct net_port *p, enum net_slot slot, unsigned expect, int64_t deadline,
                     net_each_fn each, void *arg);
/* Of an NLMSG_ERROR or NLMSG_DONE: 0 or an errno, positive. The kernel's sentence goes to
 * err->kernel, the offset of the refused attribute in the request to *offset (0: not told); both
 * may be NULL. */
int net_answer_code(const struct nlmsghdr *m, struct net_error *err, uint32_t *offset);

/* ---- the seam ---- */

struct net_datagram {
    void *bytes;
    size_t size;   /* room */
    size_t length; /* what came */
    uint32_t from; /* nl_pid of the sender; 0: the kernel */
    bool cut;      /* MSG_TRUNC */
};
struct net_port_ops {
    int (*send)(void *arg, const void *bytes, size_t size); /* 0 or -errno */
    /* Up to n datagrams that are there; none: wait timeout_ms (0: -EAGAIN at once), then
     * -ETIMEDOUT. */
    int (*recv)(void *arg, struct net_datagram *d, unsigned n, int timeout_ms);
};
/* A port without a socket, for tests. `ops` and `arg` are borrowed until it is closed. */
int net_port_test_ops(const struct net_port_ops *ops, void *arg, int protocol,
                      struct net_port **out);
#endif
