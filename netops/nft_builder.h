/* netops/nft_builder.h — objects of our tables, one after the other, as messages and in an image.
 * Errors   the first failure stays in the builder, and later calls do nothing.
 * Source   nft's own numbers of types and byte orders: nft then prints our sets as it prints its
 *          own.
 * Private  to netops/nft_*.c. */
#ifndef NETOPS_NFT_BUILDER_H
#define NETOPS_NFT_BUILDER_H
#include "netops/nft_image.h"
#include <linux/netfilter/nf_tables.h>
#include <stdio.h> /* libnftnl/expr.h needs it */
#include <libnftnl/expr.h>

/* Types of keys and data: parts of a key by 6 bits each. */
enum {
    T_INTEGER = 4,
    T_IPV4 = 7,
    T_IPV6 = 8,
    T_ETHER = 9,
    T_PROTO = 12,
    T_SERVICE = 13,
    T_IFNAME = 41
};
#define T_PAIR(a, b) ((uint32_t)(a) << 6 | (uint32_t)(b))
/* nft's enum byteorder, in the set's user data */
enum { ORDER_MIXED, ORDER_HOST, ORDER_BIG };
enum { R1 = NFT_REG_1, R2 = NFT_REG_2, R9 = NFT_REG32_01, R10 = NFT_REG32_02 };

struct nft_builder {
    struct nft_want *w;
    enum nft_which t;
    struct nftnl_rule *rule;
    uint32_t set_id;
    int e; /* 0 or -errno */
};
struct nft_set_row {
    const char *name;
    uint32_t key_type, key_len, data_type, data_len; /* data_len 0: a set, else a map */
    uint8_t order;
};
struct nft_chain_row {
    const char *name, *type; /* type NULL: not a base chain */
    uint32_t hook;
    int32_t priority;
};
void net_nft_add_table(struct nft_builder *b, enum nft_which t);
void net_nft_add_sets(struct nft_builder *b, const struct nft_set_row *rows, size_t n);
void net_nft_add_chains(struct nft_builder *b, const struct nft_chain_row *rows, size_t n);

/* A rule: begin, expressions, done. */
void net_nft_rule_begin(struct nft_builder *b, const char *in_chain);
__attribute__((format(printf, 2, 3))) void net_nft_rule_done(struct nft_builder *b,
                                                             const char *means, ...);
struct nftnl_expr *net_nft_put_expr(struct nft_builder *b, const char *name); /* NULL: failed */
void net_nft_put_meta(struct nft_builder *b, uint32_t key, uint32_t reg);
/* Of register 1, as the next two. */
void net_nft_put_cmp(struct nft_builder *b, uint32_t op, const void *data, uint32_t len);
void net_nft_put_lookup(struct nft_builder *b, const char *in_set, uint32_t flags);
void net_nft_put_mask(struct nft_builder *b, const void *bits, uint32_t len);
void net_nft_put_payload(struct nft_builder *b, uint32_t base, uint32_t offset, uint32_t len,
                         uint32_t reg);
void net_nft_put_fragment_next(
    struct nft_builder *b); /* of an IPv6 fragment header: the next one */
void net_nft_put_verdict(struct nft_builder *b, int code, const char *to_chain);
/* Any of these bits. */
void net_nft_put_ct(struct nft_builder *b, uint32_t key, uint32_t bits);
void net_nft_put_name_is(struct nft_builder *b, uint32_t key, const char *name, uint32_t op);
void net_nft_put_name_in(struct nft_builder *b, uint32_t key, const char *in_set, uint32_t flags);
void net_nft_put_family(struct nft_builder *b, uint8_t number);
void net_nft_put_address(struct nft_builder *b, uint8_t number, bool source, uint32_t len);
uint32_t net_nft_address_len(uint8_t family); /* bytes */

/* The tables, without elements: nft_inet.c, nft_bridge.c. `group`: of our ports, or 0. */
void net_nft_inet_table(struct nft_builder *b, const struct net_nft_bridge *const *bridges,
                        size_t n, uint32_t group);
/* where nothing else is wanted */
void net_nft_inet_guard(struct nft_builder *b, uint32_t group);
void net_nft_bridge_table(struct nft_builder *b, const struct net_nft *want);
#endif
