/* netops/neighbour.h — whether a link has an answer to "who has this address".
 * Kernel   neigh_get in net/core/neighbour.c (5.0): RTM_GETNEIGH of one entry;
 *          linux/neighbour.h, NUD_*. */
#ifndef NETOPS_NEIGHBOUR_H
#define NETOPS_NEIGHBOUR_H
#include "netops/port.h"

/* `bytes`: 4 or 16, by `family` (AF_INET, AF_INET6). *known: the link has a hardware address for
 * it, be it an old one. An error where the kernel cannot be asked. */
int net_neighbour_known(struct net_port *p, int link, uint8_t family, const uint8_t *bytes,
                        bool *known, struct net_error *err);
#endif
