/* reconcile/own_network.h — the network of a container that owns its network namespace.
 * Why      A network namespace belongs to the user namespace that made it, for ever. Root of a
 *          container may change its network only if its own user namespace made that. nspawn makes
 *          a new user namespace at each start, so the network is made at each start too: by
 *          berth-network, which the unit, or berth itself, starts in front of systemd-nspawn.
 * Order    systemd-nspawn starts berth-gate in place of the payload. The gate sends its network
 *          namespace through a socket, and waits. berth-network checks what it has received, makes
 *          the port by the pipeline of an apply, names the namespace, and sends one byte. The gate
 *          then executes the payload, which has neither the socket nor the gate.
 * Files    /run/berth/c/NAME/network: the port (port_text.h), which an apply keeps as the spec has
 *          it. */
#ifndef RECONCILE_OWN_NETWORK_H
#define RECONCILE_OWN_NETWORK_H
#include "reconcile/error.h"

#define REC_GATE_NAME "berth-gate" /* of the copy in memory: /proc/PID/exe of a gate shows it */
/* Where systemd-nspawn passes them on (sd_listen_fds(3)), and the path of the second one. */
enum { REC_GATE_SOCKET = 3, REC_GATE_PROGRAM = 4 };
#define REC_GATE_PATH "/proc/self/fd/4"

/* Waits at `sock` (SOCK_SEQPACKET, SO_PASSCRED) for the gate of container `name`, makes its
 * network, and lets it pass. -ECONNRESET: the gate, or what should start it, has ended; err says
 * nothing then. */
int rec_own_network_make(const char *name, int sock, struct rec_error *err);
/* The container has ended: its namespace loses its name. Another namespace of that name stays. */
int rec_own_network_end(const char *name, struct rec_error *err);
#endif
