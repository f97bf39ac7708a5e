/* netops/nft_foreign.h — what the filter chains of other programs do to traffic that our bridges
 * forward.
 * Idea     the chains are read and followed for one packet that opens a connection. A test that the
 *          packet does not decide (a port, a limit) counts as not passed. A test that might name
 *          our bridge in a way that is not understood ends the search without a finding: a warning
 *          is never guessed.
 * Kernel   linux/netfilter/nf_tables.h; rules of iptables-nft have the expressions `match` and
 *          `target` (nft_compat.c). */
#ifndef NETOPS_NFT_FOREIGN_H
#define NETOPS_NFT_FOREIGN_H
#include "netops/nft.h"

struct net_nft_foreign; /* forward chains that are not ours; borrows the port */
int net_nft_foreign_read(struct net_port *p, struct net_nft_foreign **out, struct net_error *err);
void net_nft_foreign_free(struct net_nft_foreign *f);
DEFINE_SCOPED(struct net_nft_foreign *, net_nft_foreign_free)
bool net_nft_foreign_none(const struct net_nft_foreign *f); /* there is no such chain */

struct net_nft_packet {
    uint8_t family; /* AF_INET, AF_INET6 */
    const char *iif, *oif;
    const uint8_t *src; /* source address; NULL: any */
    bool mapped;        /* a port map translated it */
    bool br_netfilter;  /* the filters of IP see bridged packets */
};
struct net_nft_drop {                   /* texts live as long as the reading */
    const char *family, *table, *chain; /* "ip", "filter", "FORWARD" */
    /* the chain on the hook that led there; equal to `chain` in most cases */
    const char *base;
    unsigned rule; /* from 1; 0: the policy of the chain */
    bool has_user; /* the packet went through the chain DOCKER-USER before */
};
/* 0: *found says whether a chain drops it; -errno: the elements of a set could not be read. */
int net_nft_foreign_find(struct net_nft_foreign *f, const struct net_nft_packet *packet,
                         bool *found, struct net_nft_drop *out, struct net_error *err);
#endif
