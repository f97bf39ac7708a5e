/* netops/sockdiag.h — sockets of this network namespace that have an address.
 * Kernel   linux/inet_diag.h, sock_diag(7); the ports are filtered in the kernel
 *          (INET_DIAG_REQ_BYTECODE). */
#ifndef NETOPS_SOCKDIAG_H
#define NETOPS_SOCKDIAG_H
#include "netops/port.h"

struct net_socket {
    /* AF_INET, AF_INET6; an IPv4 address that is mapped into IPv6 counts as IPv4 */
    uint8_t family;
    uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
    bool listens;  /* TCP: in state LISTEN; UDP: not connected */
    bool both;     /* bound to ::, and takes IPv4 as well */
    bool any;      /* bound to no single address */
    uint8_t addr[16], peer[16];
    uint16_t port;  /* host's order */
    uint32_t inode; /* of the socket: /proc/PID/fd names it */
};
typedef int (*net_socket_fn)(void *arg, const struct net_socket *s);
enum net_socket_states { NET_SOCKETS_ALL, NET_SOCKETS_CONNECTED }; /* all: those that listen, too */
/* Those of `proto` in `states` on local ports `first` to `last`, in any order of the families. A
 * kernel without this question has none to show. */
int net_sockdiag_dump(uint8_t proto, enum net_socket_states states, uint16_t first, uint16_t last,
                      net_socket_fn each, void (*restart)(void *arg), void *arg,
                      struct net_error *err);
#endif
