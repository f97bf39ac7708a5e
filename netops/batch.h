/* netops/batch.h — many requests, one send, one answer each.
 * Owns     a rtnetlink socket of the calling thread's network namespace and all request bytes, from
 *          open to close.
 * Borrows  nothing once a call has returned.
 * Kernel   linux/netlink.h: struct nlmsgerr, enum nlmsgerr_attrs; rtnetlink(7).
 * Note     rtnetlink is not atomic: requests before *and after* a refused one take effect, and a
 *          refused change may have taken effect in part: read again before you say what is. */
#ifndef NETOPS_BATCH_H
#define NETOPS_BATCH_H
#include "netops/port.h"

struct net_batch;
int net_batch_open(struct net_batch **out, struct net_error *err);
void net_batch_close(struct net_batch *b);
DEFINE_SCOPED(struct net_batch *, net_batch_close)
/* On a port that is open already (the batch owns it from now on), or one of a test's. */
int net_batch_over(struct net_port *p, struct net_batch **out, struct net_error *err);

struct net_port *net_batch_port(struct net_batch *b); /* borrowed: for the dumps in between */
size_t net_batch_count(const struct net_batch *b);    /* requests that wait to be sent */
void net_batch_forget(struct net_batch *b);           /* drop what is queued */

/* Send all that is queued, wait for every ack, forget the queue. 0, or -errno of the first refusal
 * with *err filled. `refused`, if not NULL, hears of each refusal in turn. Requests of any number:
 * the batch cuts them into sends that the socket's buffers hold. -ETIMEDOUT: an ack is missing;
 * -ENOBUFS: acks were dropped; both mean that the outcome is unknown. Where a request could not be
 * queued nothing is sent: that one is refused with its error, all others with ECANCELED. So who
 * queues need not look at each result. */
typedef void (*net_refused_fn)(void *arg, const struct net_error *e);
int net_batch_send(struct net_batch *b, net_refused_fn refused, void *arg, struct net_error *err);

/* ---- for the files that encode: link.c, address.c, route.c ---- */

/* Writes the object of a refusal ("link 'br0'") from the request itself: only the refused ones
 * ever need it. */
typedef void (*net_describe_fn)(const struct nlmsghdr *request, const char *name, char *out,
                                size_t size);
struct net_request {
    uint16_t type, flags; /* NLM_F_REQUEST and NLM_F_ACK are added */
    const void *body;     /* struct ifinfomsg and the like */
    size_t body_size;
    const char *op;           /* static */
    net_describe_fn describe; /* may be NULL */
    const char *name;         /* copied, up to 15 bytes; may be NULL */
    int forgive;              /* an errno that counts as done; 0: none */
    uint32_t tag;
};
/* A request that cannot be: the first is remembered for net_batch_send. Gives back -code. */
int net_batch_lose(struct net_batch *b, const struct net_request *r, int code);
/* The request's head, to which mnl_attr_put and net_batch_mark add, up to NET_REQUEST_MAX bytes in
 * all; it is queued by net_batch_end. NULL: out of memory, and remembered. */
#define NET_REQUEST_MAX 2048
struct nlmsghdr *net_batch_begin(struct net_batch *b, const struct net_request *r);
/* The attribute that is put next answers to `tag` if the kernel refuses it (NLMSGERR_ATTR_OFFS).
 * 0: nothing is noted. */
void net_batch_mark(struct net_batch *b, uint32_t tag);
void net_batch_end(struct net_batch *b);
#endif
