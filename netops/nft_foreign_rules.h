/* netops/nft_foreign_rules.h — chains, rules and sets of other programs, as they were read.
 * Private  to netops/nft_foreign*.c. */
#ifndef NETOPS_NFT_FOREIGN_RULES_H
#define NETOPS_NFT_FOREIGN_RULES_H
#include "netops/attr.h"
#include "netops/nft_foreign.h"
#include <arpa/inet.h>
#include <string.h>

enum { NFT_NAME_ROOM = 128 };

struct nft_foreign_chain {
    uint8_t family;
    char table[NFT_NAME_ROOM], name[NFT_NAME_ROOM];
    bool base;  /* filter, on hook forward */
    bool drops; /* its policy */
    int32_t priority;
};
struct nft_foreign_rule {
    uint8_t family;
    char table[NFT_NAME_ROOM], chain[NFT_NAME_ROOM];
    uint8_t *exprs; /* NFTA_RULE_EXPRESSIONS, whole */
};
struct nft_foreign_elem {
    uint8_t key[64], len;
    bool verdict;
    int32_t code;
    char chain[NFT_NAME_ROOM];
};
struct nft_foreign_set {
    uint8_t family;
    char table[NFT_NAME_ROOM], name[NFT_NAME_ROOM];
    bool plain; /* every element is one key */
    struct nft_foreign_elem *elem;
    size_t n, room;
};
struct net_nft_foreign {
    struct net_port *port;
    struct nft_foreign_chain *chain;
    size_t n_chain, chain_room;
    struct nft_foreign_rule *rule;
    size_t n_rule, rule_room;
    struct nft_foreign_set *set;
    size_t n_set, set_room;
    struct nft_foreign_set *reading;
    bool asked_marks, marks;
    int e; /* of a set or of all rules: they could not be read */
    struct net_error said;
};

/* NULL: its elements cannot be read. */
const struct nft_foreign_set *
net_nft_foreign_set(struct net_nft_foreign *f, const struct nft_foreign_chain *c, const char *name);
/* Whether some rule, in any table, gives packets or connections a mark. */
bool net_nft_foreign_marks(struct net_nft_foreign *f);

/* The verdict of an element or of an `immediate`, if `data` (NFTA_DATA_*) holds one. */
void net_nft_foreign_verdict(const struct nlattr *data, struct nft_foreign_elem *e);

static inline uint32_t net_nft_number(const struct nlattr *a)
{
    return a ? ntohl(net_attr_u32(a)) : 0;
}

/* Attributes of a nest by type; those beyond `n` are left out. */
static inline void net_nft_split(const struct nlattr *nest, const struct nlattr **at, size_t n)
{
    const struct nlattr *a;
    memset(at, 0, n * sizeof *at);
    if (!nest)
        return;
    NET_EACH_IN(a, nest)
    if (mnl_attr_get_type(a) < n)
        at[mnl_attr_get_type(a)] = a;
}

static inline bool net_nft_text_is(const struct nlattr *a, const char *text)
{
    char have[32] = "";
    if (a)
        net_attr_text(a, have, sizeof have);
    return !strcmp(have, text);
}
#endif
