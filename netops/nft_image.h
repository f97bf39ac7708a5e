/* netops/nft_image.h — both tables as values that can be compared; what is wanted and what was read
 * have the same shape.
 * Idea     one decoder for both: it reads the kernel's dumps and the very messages that would be
 *          sent.
 * Private  to netops/nft_*.c. */
#ifndef NETOPS_NFT_IMAGE_H
#define NETOPS_NFT_IMAGE_H
#include "netops/nft.h"

#define NFT_OURS "berth" /* the name of both tables */
enum nft_which { NFT_INET, NFT_BRIDGE, NFT_TABLES };
extern const struct nft_family {
    uint8_t number; /* NFPROTO_INET, NFPROTO_BRIDGE */
    /* "inet"; "" or "bridge " before "chain" and "set" */
    const char *name, *prefix;
} net_nft_families[NFT_TABLES];

struct nft_elem {
    uint32_t tag; /* want only */
    uint8_t key_len, data_len;
    /* as the kernel lays them out: each part padded to 4 bytes */
    uint8_t key[32], data[20];
};
struct nft_set {
    const char *name;
    uint32_t key_type, key_len, data_type, data_len, flags;
    /* has what ours never have: a timeout, a size… */
    bool odd;
    bool odd_elem; /* an element has: it is not in `elem` */
    /* the kernel said so: no need to ask for elements */
    bool empty;
    bool sorted;
    struct nft_elem *elem; /* by key, where `sorted` */
    size_t n, room;
};
struct nft_rule {
    /* the expressions in a canonical form: see nft_image.c */
    const uint8_t *code;
    size_t len;
    const char *means; /* want only, else NULL */
};
struct nft_chain {
    const char *name, *type; /* type "": not a base chain */
    bool base;
    uint32_t hook, policy, flags;
    int32_t priority;
    struct nft_rule *rule;
    size_t n, room;
};
struct nft_table {
    bool present;
    /* uses: chains, sets and all else it holds (the kernel's answer only) */
    uint32_t flags, uses;
    struct nft_chain *chain;
    size_t n_chain, chain_room;
    struct nft_set *set;
    size_t n_set, set_room;
};
struct nft_image {
    struct nft_table table[NFT_TABLES];
    struct nft_block *blocks; /* names and codes */
    uint8_t *scratch;
    size_t scratch_room;
};
void net_nft_image_init(struct nft_image *img);
void net_nft_image_done(struct nft_image *img);
/* One NEWTABLE, NEWCHAIN, NEWRULE, NEWSET or NEWSETELEM; of a table that is not ours: nothing.
 * -ENOMEM, -EBADMSG; -EINTR: it speaks of a chain or set that was not there a moment ago. */
int net_nft_image_take(struct nft_image *img, const struct nlmsghdr *m);
/* What was read comes unsorted; net_nft_judge sorts it when a difference makes that necessary. */
void net_nft_image_sort(struct nft_image *img);
/* both sorted */
bool net_nft_image_same(const struct nft_image *a, const struct nft_image *b);
/* Both hold the same elements, in any order; those of `a` have different keys. Where memory is
 * out: false. */
bool net_nft_elems_same(const struct nft_set *a, const struct nft_set *b);
int net_nft_elem_order(const void *a, const void *b);
bool net_nft_elem_same(const struct nft_elem *a, const struct nft_elem *b);
/* NULL: no memory */
struct nft_elem *net_nft_set_add(struct nft_set *s);
/* for n elements at once; NULL is fine; a hint */
void net_nft_set_room(struct nft_set *s, size_t n);
struct nft_set *net_nft_find_set(const struct nft_table *t, const char *name);
struct nft_chain *net_nft_find_chain(const struct nft_table *t, const char *name);
/* a copy that lives as long as img */
char *net_nft_image_text(struct nft_image *img, const char *text, size_t len);

struct net_nft_have {
    struct nft_image img;
    uint32_t generation;
    /* no torn dump: two readings agreed, or there was nothing to dump */
    bool certain;
};

/* What is wanted: its image, and the messages (NEWTABLE … NEWRULE, without elements) that would
 * make its tables. */
struct nft_bytes {
    uint8_t *p;
    size_t len, room;
};
struct nft_want {
    struct nft_image img;
    struct nft_bytes msgs[NFT_TABLES];
};
int net_nft_want_init(struct nft_want *w, const struct net_nft *want, struct net_error *err);
void net_nft_want_done(struct nft_want *w);
/* where to write; NULL: no memory */
uint8_t *net_nft_bytes_room(struct nft_bytes *b, size_t more);

struct nft_verdict {
    size_t count;
    /* the table is to be made anew, deleted or created */
    bool anew[NFT_TABLES];
    bool elements[NFT_TABLES]; /* only elements differ */
};
/* Sorts the elements of `have` where some differ. */
void net_nft_judge(const struct nft_image *want, struct nft_image *have,
                   void (*each)(void *arg, const char *line), void *arg, struct nft_verdict *v);
/* "port map tcp 8080 to 10.100.0.10:80", "set 'bridges': element \"br9\"" */
void net_nft_elem_format(enum nft_which t, const char *set, const struct nft_elem *e, char *out,
                         size_t size);

/* The expressions of a canonical code, one after the other. */
struct nft_code {
    const uint8_t *at, *end;
    const char *name;
};
bool net_nft_code_next(struct nft_code *c);
/* NULL: it is not there */
const uint8_t *net_nft_code_attr(const struct nft_code *c, uint8_t type, size_t *len);
/* 0: not there */
uint32_t net_nft_code_u32(const struct nft_code *c, uint8_t type);
#endif
