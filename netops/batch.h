/* netops/batch.h — many requests, one send, one answer each.
 * Owns     a rtnetlink socket of the calling thread's network namespace and all request bytes, from open to close.
 * Borrows  nothing once a call has returned.
 * Kernel   linux/netlink.h: struct nlmsgerr, enum nlmsgerr_attrs; rtnetlink(7).
 * Note     rtnetlink is not atomic: requests before *and after* a refused one take effect (facts X1), and a refused change
 *          may have taken effect in part (facts K1): read again before you say what is. */
#ifndef NETOPS_BATCH_H
#define NETOPS_BATCH_H
#include "netops/port.h"

struct net_batch;
int  net_batch_open(struct net_batch **out, struct net_error *err);
void net_batch_close(struct net_batch *b);
DEFINE_SCOPED(struct net_batch *, net_batch_close)

struct net_port *net_batch_port(struct net_batch *b);       /* borrowed: for the dumps in between */
size_t           net_batch_count(const struct net_batch *b);/* requests that wait to be sent */

/* Send all that is queued, wait for every ack, forget the queue. 0, or -errno of the first refusal with *err filled.
 * `refused`, if not NULL, hears of each refusal in turn. Requests of any number: the batch cuts them into sends that the
 * socket's buffers hold. */
typedef void (*net_refused_fn)(void *arg, const struct net_error *e);
int net_batch_send(struct net_batch *b, net_refused_fn refused, void *arg, struct net_error *err);
#endif
