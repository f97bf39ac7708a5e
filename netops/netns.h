/* netops/netns.h — network namespaces with a name, as `ip netns` makes and sees them.
 * Files    /run/netns/NAME, a bind mount of the namespace on an empty file; the directory is a
 *          shared mount.
 * Kernel   namespaces(7), setns(2), ip-netns(8). A namespace without a name lives as long as a
 *          descriptor or process holds it. */
#ifndef NETOPS_NETNS_H
#define NETOPS_NETNS_H
#include "netops/address.h"
#include "netops/route.h"
#include <sys/types.h>

#define NET_NETNS_DIR "/run/netns"

/* The directory, open (O_PATH is not enough: it is listed). `create`: made, and made a shared
 * mount, as `ip netns add` does. -ENOENT without `create` when there is none. */
int net_netns_dir(bool create, int *fd, struct net_error *err);
/* -ENOENT; -EINVAL: no namespace behind it */
int net_netns_open(int dir, const char *name, int *fd, struct net_error *err);
/* of the calling thread */
int net_netns_self(int *fd, struct net_error *err);
/* the calling thread alone */
int net_netns_enter(int fd, struct net_error *err);
/* Who owns the network namespace: 0: the user namespace of the caller; 1: another one, whose root
 * has all rights over it. linux/nsfs.h: NS_GET_USERNS (Linux 4.9). */
int net_netns_foreign(int fd, struct net_error *err);
/* The user namespace that owns it, as a descriptor. */
int net_netns_owner(int fd, int *owner, struct net_error *err);
/* the calling thread is in a fresh namespace; *fd holds it */
int net_netns_unshare(int *fd, struct net_error *err);
/* EXCL; a name with nothing behind it is taken */
int net_netns_name(int dir, const char *name, int fd, struct net_error *err);
/* lazy unmount and unlink */
int net_netns_unname(int dir, const char *name, struct net_error *err);
/* Nothing is mounted on that name, and its empty file bears the mark of net_netns_name: a run
 * was killed between the two. */
bool net_netns_left_over(int dir, const char *name);

/* What is inside one namespace, for a thread that may wander: enters `fd` and stays there. Ten
 * system calls with opening and closing. On success the caller frees what was found:
 * net_inside_done. `enough`: a first reading, of a namespace in good order, has no groups of links,
 * and of the routes only the default ones by way of eth0; if it says that this will do, nothing
 * more is read. NULL: all is read. */
struct net_inside {
    bool has_lo, has_eth0;
    struct net_link lo, eth0;
    /* of eth0, link-local ones left out; of a family in the kernel's order */
    struct net_address *address;
    size_t n_address, room_address;
    /* addresses and routes changed during each reading, and are left out */
    bool torn;
    /* default routes of the main table, whatever link and type; kernel-made ones left out */
    struct net_route *route;
    size_t n_route, room_route;
};
void net_inside_done(struct net_inside *in);
int net_inside_read(int fd, bool (*enough)(void *arg, const struct net_inside *in), void *arg,
                    struct net_inside *out, struct net_error *err);
/* The reading alone, on a port of that namespace that is open already: a test's. */
int net_inside_read_port(struct net_port *p, bool (*enough)(void *arg, const struct net_inside *in),
                         void *arg, struct net_inside *out, struct net_error *err);
#endif
