/* netops/conntrack.h — tracked connections that a change of our tables makes obsolete.
 * Why      the kernel translates a connection as its first packet was. So a peer that keeps sending
 *          reaches the old target of a port map after the map is gone, and does not reach a new
 *          one.
 * Kernel   linux/netfilter/nfnetlink_conntrack.h; net/netfilter/nf_conntrack_netlink.c. One
 *          dump, one request per matching entry. */
#ifndef NETOPS_CONNTRACK_H
#define NETOPS_CONNTRACK_H
#include "netops/address.h"
#include "netops/nft.h"

/* Delete the entries that differ between `from` and `to` (NULL: no tables), and no others:
 *   - through a port map that `to` lacks;
 *   - to the key of a new port map, where they do not reach its target: UDP, and TCP connections
 *     that nobody has answered;
 *   - of an address that a container had and has no more;
 *   - between a newly isolated container and another one;
 *   - from outside into a bridge that is no longer open;
 *   - unanswered ones that leave a bridge's net untranslated, where an uplink is new.
 * `p` is a NETLINK_NETFILTER port. `local`: addresses of this host. *deleted counts the entries; it
 * may be NULL. Nothing is asked where nothing of these changed. A kernel that tracks no
 * connections has nothing to delete. */
int net_conntrack_settle(struct net_port *p, const struct net_nft *from, const struct net_nft *to,
                         const struct net_address *local, size_t n_local, size_t *deleted,
                         struct net_error *err);
#endif
