/* Dumps and messages into images. A rule becomes a canonical code, so that two rules are the same
 * rule exactly when their bytes are: its expressions in order, each as name, NUL, number of
 * attributes, then per attribute type, length (two bytes), value. Attributes are sorted by type.
 * Those that are all zero are left out, for the kernel tells defaults that nobody set (flags of a
 * lookup, the operation of a bitwise) and newer kernels tell more of them. Only values of type
 * `data` are looked into, since the nesting flag inside them differs between those who ask and
 * those who answer. */
#include "netops/nft_image.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

const struct nft_family net_nft_families[NFT_TABLES] = {
    [NFT_INET] = {NFPROTO_INET, "inet", ""},
    [NFT_BRIDGE] = {NFPROTO_BRIDGE, "bridge", "bridge "},
};
/* kernel 6.17; Debian 12's headers end before it */
enum { NFTA_SET_COUNT_ = 20 };

struct nft_block {
    struct nft_block *next;
    size_t used, room;
    uint8_t bytes[];
};

static void *keep(struct nft_image *img, size_t size)
{
    struct nft_block *b = img->blocks;

    size = (size + 7) & ~(size_t)7;
    if (!b || b->room - b->used < size) {
        size_t room = size > 8000 ? size : 8000;
        b = malloc(sizeof *b + room);
        if (!b)
            return NULL;
        b->next = img->blocks;
        b->used = 0;
        b->room = room;
        img->blocks = b;
    }
    void *at = b->bytes + b->used;
    b->used += size;
    return at;
}

char *net_nft_image_text(struct nft_image *img, const char *text, size_t len)
{
    char *copy = keep(img, len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

void net_nft_image_init(struct nft_image *img)
{
    memset(img, 0, sizeof *img);
}

void net_nft_image_done(struct nft_image *img)
{
    for (size_t t = 0; t < NFT_TABLES; t++) {
        struct nft_table *table = &img->table[t];
        for (size_t i = 0; i < table->n_chain; i++)
            free(table->chain[i].rule);
        for (size_t i = 0; i < table->n_set; i++)
            free(table->set[i].elem);
        free(table->chain);
        free(table->set);
    }
    while (img->blocks) {
        struct nft_block *next = img->blocks->next;
        free(img->blocks);
        img->blocks = next;
    }
    free(img->scratch);
    memset(img, 0, sizeof *img);
}

/* Room for one more of `size` bytes, cleared; NULL: no memory. */
static void *one_more(void *array_pointer, size_t *n, size_t *room, size_t size)
{
    void *array;
    memcpy(&array, array_pointer, sizeof array);
    if (*n == *room) {
        size_t more = *room ? *room * 2 : 8;
        array = realloc(array, more * size);
        if (!array)
            return NULL;
        memcpy(array_pointer, &array, sizeof array);
        *room = more;
    }
    return memset((char *)array + (*n)++ * size, 0, size);
}

struct nft_elem *net_nft_set_add(struct nft_set *s)
{
    s->sorted = false;
    return one_more(&s->elem, &s->n, &s->room, sizeof *s->elem);
}

void net_nft_set_room(struct nft_set *s, size_t n)
{
    struct nft_elem *elem = s && n > s->room ? realloc(s->elem, n * sizeof *elem) : NULL;
    if (!elem)
        return;
    s->elem = elem;
    s->room = n;
}

struct nft_set *net_nft_find_set(const struct nft_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_set; i++)
        if (!strcmp(t->set[i].name, name))
            return &t->set[i];
    return NULL;
}

struct nft_chain *net_nft_find_chain(const struct nft_table *t, const char *name)
{
    for (size_t i = 0; i < t->n_chain; i++)
        if (!strcmp(t->chain[i].name, name))
            return &t->chain[i];
    return NULL;
}

/* Attributes by type into `at` (n of them; larger types are counted in *beyond). */
static size_t split(const void *p, size_t len, const struct nlattr **at, size_t n)
{
    const struct nlattr *attr;
    size_t beyond = 0;

    memset(at, 0, n * sizeof *at);
    mnl_attr_for_each_payload(p, len)
    {
        uint16_t type = mnl_attr_get_type(attr);
        if (type < n)
            at[type] = attr;
        else
            beyond++;
    }
    return beyond;
}
static size_t split_nest(const struct nlattr *nest, const struct nlattr **at, size_t n)
{
    return split(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), at, n);
}
static uint32_t get32(const struct nlattr *a)
{
    uint32_t v = 0;
    if (a && mnl_attr_get_payload_len(a) >= sizeof v)
        memcpy(&v, mnl_attr_get_payload(a), sizeof v);
    return ntohl(v);
}
/* A string of an attribute; its end need not be there. */
static const char *text_of(struct nft_image *img, const struct nlattr *a)
{
    const char *s = mnl_attr_get_payload(a);
    return net_nft_image_text(img, s, strnlen(s, mnl_attr_get_payload_len(a)));
}
static bool is_text(const struct nlattr *a, const char *text)
{
    size_t len = strlen(text), have = a ? mnl_attr_get_payload_len(a) : 0;
    if (have < len || memcmp(mnl_attr_get_payload(a), text, len))
        return false;
    return have == len || ((const char *)mnl_attr_get_payload(a))[len] == '\0';
}
static struct nft_chain *chain_of(struct nft_table *t, const struct nlattr *a)
{
    for (size_t i = 0; a && i < t->n_chain; i++)
        if (is_text(a, t->chain[i].name))
            return &t->chain[i];
    return NULL;
}
static struct nft_set *set_of(struct nft_table *t, const struct nlattr *a)
{
    for (size_t i = 0; a && i < t->n_set; i++)
        if (is_text(a, t->set[i].name))
            return &t->set[i];
    return NULL;
}

/* ---- the canonical code of a rule ---- */

static bool zero(const void *p, size_t len)
{
    const uint8_t *b = p;
    while (len--)
        if (*b++)
            return false;
    return true;
}
/* Which attributes of an expression have a value of type `data`: a bit per type. */
static uint64_t data_types(const char *expr)
{
    if (!strcmp(expr, "cmp"))
        return 1ull << NFTA_CMP_DATA;
    if (!strcmp(expr, "immediate"))
        return 1ull << NFTA_IMMEDIATE_DATA;
    if (!strcmp(expr, "bitwise"))
        return 1ull << NFTA_BITWISE_MASK | 1ull << NFTA_BITWISE_XOR | 1ull << NFTA_BITWISE_DATA;
    return 0;
}
struct writer {
    uint8_t *p;
    size_t len;
};
static void put(struct writer *w, const void *p, size_t len)
{
    memcpy(w->p + w->len, p, len);
    w->len += len;
}
static void put_value(struct writer *w, uint8_t type, const void *p, size_t len)
{
    uint8_t head[3] = {type, (uint8_t)(len >> 8), (uint8_t)len};
    put(w, head, sizeof head);
    put(w, p, len);
}
/* A value, or a verdict as its code (4 bytes) and the name of the chain. */
static void put_data(struct writer *w, uint8_t type, const struct nlattr *nest)
{
    const struct nlattr *a[3], *v[3];

    split_nest(nest, a, 3);
    if (a[NFTA_DATA_VERDICT]) {
        uint8_t verdict[4 + 256];
        split_nest(a[NFTA_DATA_VERDICT], v, 3);
        uint32_t code = htonl(get32(v[NFTA_VERDICT_CODE]));
        size_t len = v[NFTA_VERDICT_CHAIN] ? mnl_attr_get_payload_len(v[NFTA_VERDICT_CHAIN]) : 0;
        memcpy(verdict, &code, 4);
        if (len > 256)
            len = 256;
        if (len) {
            len = strnlen(mnl_attr_get_payload(v[NFTA_VERDICT_CHAIN]), len);
            memcpy(verdict + 4, mnl_attr_get_payload(v[NFTA_VERDICT_CHAIN]), len);
        }
        put_value(w, type, verdict, 4 + len);
    } else if (a[NFTA_DATA_VALUE]) {
        put_value(w, type, mnl_attr_get_payload(a[NFTA_DATA_VALUE]),
                  mnl_attr_get_payload_len(a[NFTA_DATA_VALUE]));
    }
}
/* Writes one attribute; false: its value says nothing. */
static bool put_attr(struct writer *w, const struct nlattr *a, uint8_t type, bool data)
{
    const void *value = mnl_attr_get_payload(a);
    size_t len = mnl_attr_get_payload_len(a);

    if (data) {
        put_data(w, type, a);
        return true;
    }
    if (!len || (zero(value, len) && (len == 4 || len == 8)))
        return false;
    put_value(w, type, value, len);
    return true;
}
/* Attributes by type; the last of those of one type counts. Returns how many there are. */
static size_t by_type(const struct nlattr *nest, const struct nlattr **at, size_t most,
                      bool *beyond)
{
    const struct nlattr *attr;
    size_t n = 0;

    mnl_attr_for_each_nested(attr, nest)
    {
        uint16_t type = mnl_attr_get_type(attr);
        size_t i = n;
        if (type >= most) {
            *beyond = true;
            continue;
        }
        while (i && mnl_attr_get_type(at[i - 1]) > type)
            i--;
        if (i && mnl_attr_get_type(at[i - 1]) == type) {
            at[i - 1] = attr;
            continue;
        }
        memmove(&at[i + 1], &at[i], (n++ - i) * sizeof *at);
        at[i] = attr;
    }
    return n;
}
static int put_expr(struct writer *w, const struct nlattr *list_elem)
{
    enum { TYPES = 40 };
    const struct nlattr *a[3], *d[TYPES];
    bool beyond = false;

    split_nest(list_elem, a, 3);
    if (!a[NFTA_EXPR_NAME])
        return -EBADMSG;
    const char *name = mnl_attr_get_payload(a[NFTA_EXPR_NAME]);
    size_t name_len = strnlen(name, mnl_attr_get_payload_len(a[NFTA_EXPR_NAME]));
    char plain[32] = "";
    if (name_len < sizeof plain)
        memcpy(plain, name, name_len);
    put(w, name, name_len);
    put(w, "", 1);
    uint8_t *count = w->p + w->len;
    put(w, "", 1);
    if (!a[NFTA_EXPR_DATA])
        return 0;
    uint64_t data = data_types(plain);
    size_t n = by_type(a[NFTA_EXPR_DATA], d, TYPES, &beyond);
    for (size_t i = 0; i < n; i++) {
        uint16_t type = mnl_attr_get_type(d[i]);
        *count = (uint8_t)(*count + put_attr(w, d[i], (uint8_t)type, data >> type & 1));
    }
    if (beyond) { /* nothing that we send: never equal */
        put_value(w, 255, "", 0);
        (*count)++;
    }
    return 0;
}
static int take_code(struct nft_image *img, const struct nlattr *exprs, struct nft_rule *r)
{
    size_t len = exprs ? mnl_attr_get_payload_len(exprs) : 0;
    /* heads of values are shorter than those of attributes */
    size_t room = 2 * len + 512;

    if (img->scratch_room < room) {
        uint8_t *p = realloc(img->scratch, room);
        if (!p)
            return -ENOMEM;
        img->scratch = p;
        img->scratch_room = room;
    }
    struct writer w = {img->scratch, 0};
    if (exprs) {
        const struct nlattr *attr;
        mnl_attr_for_each_nested(attr, exprs)
        {
            int e = put_expr(&w, attr);
            if (e)
                return e;
        }
    }
    uint8_t *code = keep(img, w.len);
    if (!code)
        return -ENOMEM;
    memcpy(code, w.p, w.len);
    r->code = code;
    r->len = w.len;
    return 0;
}

bool net_nft_code_next(struct nft_code *c)
{
    if (c->name) { /* past the attributes of the present one */
        const uint8_t *p = (const uint8_t *)c->name + strlen(c->name) + 1;
        unsigned n = *p++;
        while (n--)
            p += 3 + (p[1] << 8) + p[2];
        c->at = p;
    }
    c->name = c->at < c->end ? (const char *)c->at : NULL;
    return c->name != NULL;
}

const uint8_t *net_nft_code_attr(const struct nft_code *c, uint8_t type, size_t *len)
{
    const uint8_t *p = (const uint8_t *)c->name + strlen(c->name) + 1;
    for (unsigned n = *p++; n--; p += 3 + (p[1] << 8) + p[2])
        if (*p == type) {
            *len = (size_t)(p[1] << 8) + p[2];
            return p + 3;
        }
    return NULL;
}

uint32_t net_nft_code_u32(const struct nft_code *c, uint8_t type)
{
    size_t len;
    uint32_t v = 0;
    const uint8_t *p = net_nft_code_attr(c, type, &len);
    if (p && len == 4)
        memcpy(&v, p, 4);
    return ntohl(v);
}

/* ---- messages ---- */

static int take_table(struct nft_table *t, const struct nlattr *const *a)
{
    t->present = true;
    t->flags = get32(a[NFTA_TABLE_FLAGS]);
    t->uses = get32(a[NFTA_TABLE_USE]);
    return 0;
}

static int take_chain(struct nft_image *img, struct nft_table *t, const struct nlattr *const *a)
{
    const struct nlattr *h[8];

    if (!a[NFTA_CHAIN_NAME])
        return -EBADMSG;
    struct nft_chain *c = one_more(&t->chain, &t->n_chain, &t->chain_room, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->type = "";
    c->name = text_of(img, a[NFTA_CHAIN_NAME]);
    if (!c->name) {
        t->n_chain--;
        return -ENOMEM;
    }
    c->flags = get32(a[NFTA_CHAIN_FLAGS]);
    /* NFT_CHAIN_BASE: told by newer kernels; `base` says it */
    c->flags &= ~1u;
    if (a[NFTA_CHAIN_HOOK]) {
        split_nest(a[NFTA_CHAIN_HOOK], h, 8);
        c->base = true;
        c->hook = get32(h[NFTA_HOOK_HOOKNUM]);
        c->priority = (int32_t)get32(h[NFTA_HOOK_PRIORITY]);
        c->policy = a[NFTA_CHAIN_POLICY] ? get32(a[NFTA_CHAIN_POLICY]) : NF_ACCEPT;
        if (a[NFTA_CHAIN_TYPE] && !(c->type = text_of(img, a[NFTA_CHAIN_TYPE])))
            return -ENOMEM;
    }
    return 0;
}

static int take_rule(struct nft_image *img, struct nft_table *t, const struct nlattr *const *a)
{
    struct nft_chain *c = chain_of(t, a[NFTA_RULE_CHAIN]);

    if (!c)
        return -EINTR;
    struct nft_rule *r = one_more(&c->rule, &c->n, &c->room, sizeof *r);
    return r ? take_code(img, a[NFTA_RULE_EXPRESSIONS], r) : -ENOMEM;
}

static int take_set(struct nft_image *img, struct nft_table *t, const struct nlattr *const *a)
{
    const struct nlattr *d[3];

    if (!a[NFTA_SET_NAME])
        return -EBADMSG;
    struct nft_set *s = one_more(&t->set, &t->n_set, &t->set_room, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->name = text_of(img, a[NFTA_SET_NAME]);
    if (!s->name) {
        t->n_set--;
        return -ENOMEM;
    }
    s->key_type = get32(a[NFTA_SET_KEY_TYPE]);
    s->key_len = get32(a[NFTA_SET_KEY_LEN]);
    s->data_type = get32(a[NFTA_SET_DATA_TYPE]);
    s->data_len = get32(a[NFTA_SET_DATA_LEN]);
    s->flags = get32(a[NFTA_SET_FLAGS]);
    s->empty = a[NFTA_SET_COUNT_] && get32(a[NFTA_SET_COUNT_]) == 0;
    if (a[NFTA_SET_DESC]) {
        split_nest(a[NFTA_SET_DESC], d, 3);
        s->odd = get32(d[NFTA_SET_DESC_SIZE]) != 0;
    }
    s->odd = s->odd || a[NFTA_SET_TIMEOUT] || get32(a[NFTA_SET_POLICY]) || a[NFTA_SET_OBJ_TYPE] ||
             a[NFTA_SET_EXPR] || a[NFTA_SET_EXPRESSIONS];
    return 0;
}

/* The bytes of a value; false: not a value, or too long to be one of ours. */
static bool take_value(const struct nlattr *nest, uint8_t *out, size_t room, uint8_t *len)
{
    const struct nlattr *d[3];

    split_nest(nest, d, 3);
    if (!d[NFTA_DATA_VALUE] || mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]) > room)
        return false;
    *len = (uint8_t)mnl_attr_get_payload_len(d[NFTA_DATA_VALUE]);
    memcpy(out, mnl_attr_get_payload(d[NFTA_DATA_VALUE]), *len);
    return true;
}

/* Nothing but a key, as in most of our elements: they are many. */
static bool take_plain_key(const struct nlattr *one, struct nft_elem *el)
{
    const struct nlattr *key = mnl_attr_get_payload(one),
                        *value = (const void *)((const char *)key + NLA_HDRLEN);
    const size_t head = NLA_HDRLEN;

    if (one->nla_len < 3 * head || key->nla_len < 2 * head ||
        (size_t)NLA_ALIGN(key->nla_len) + head != one->nla_len ||
        (key->nla_type & NLA_TYPE_MASK) != NFTA_SET_ELEM_KEY ||
        value->nla_len + head != key->nla_len ||
        (value->nla_type & NLA_TYPE_MASK) != NFTA_DATA_VALUE ||
        value->nla_len > head + sizeof el->key)
        return false;
    el->key_len = (uint8_t)(value->nla_len - head);
    memcpy(el->key, (const char *)value + head, el->key_len);
    return true;
}

static int take_elems(struct nft_table *t, const struct nlattr *const *a)
{
    const struct nlattr *e[NFTA_SET_ELEM_EXPRESSIONS + 1];
    struct nft_set *s = set_of(t, a[NFTA_SET_ELEM_LIST_SET]);

    if (!s)
        return -EINTR;
    if (!a[NFTA_SET_ELEM_LIST_ELEMENTS])
        return 0;
    const struct nlattr *attr;
    mnl_attr_for_each_nested(attr, a[NFTA_SET_ELEM_LIST_ELEMENTS])
    {
        struct nft_elem *el = net_nft_set_add(s);
        if (!el)
            return -ENOMEM;
        if (take_plain_key(attr, el))
            continue;
        size_t beyond = split_nest(attr, e, NFTA_SET_ELEM_EXPRESSIONS + 1);
        bool fine = !beyond && e[NFTA_SET_ELEM_KEY] && !get32(e[NFTA_SET_ELEM_FLAGS]) &&
                    !e[NFTA_SET_ELEM_TIMEOUT] && !e[NFTA_SET_ELEM_EXPR] &&
                    !e[NFTA_SET_ELEM_EXPRESSIONS] && !e[NFTA_SET_ELEM_OBJREF] &&
                    !e[NFTA_SET_ELEM_KEY_END] &&
                    take_value(e[NFTA_SET_ELEM_KEY], el->key, sizeof el->key, &el->key_len);
        if (fine && e[NFTA_SET_ELEM_DATA])
            fine = take_value(e[NFTA_SET_ELEM_DATA], el->data, sizeof el->data, &el->data_len);
        if (!fine) {
            s->n--;
            s->odd_elem = true;
        }
    }
    return 0;
}

int net_nft_image_take(struct nft_image *img, const struct nlmsghdr *m)
{
    enum { TYPES = 24 };
    const struct nlattr *a[TYPES];
    const struct nfgenmsg *g = mnl_nlmsg_get_payload(m);
    struct nft_table *t = NULL;

    if (m->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || mnl_nlmsg_get_payload_len(m) < sizeof *g)
        return -EBADMSG;
    for (size_t i = 0; i < NFT_TABLES; i++)
        if (net_nft_families[i].number == g->nfgen_family)
            t = &img->table[i];
    if (!t)
        return 0;
    split(mnl_nlmsg_get_payload_offset(m, sizeof *g), mnl_nlmsg_get_payload_len(m) - sizeof *g, a,
          TYPES);
    if (!is_text(a[1], NFT_OURS)) /* each kind has the table's name there */
        return 0;
    switch (m->nlmsg_type & 0xff) {
    case NFT_MSG_NEWTABLE:
        return take_table(t, a);
    case NFT_MSG_NEWCHAIN:
        return take_chain(img, t, a);
    case NFT_MSG_NEWRULE:
        return take_rule(img, t, a);
    case NFT_MSG_NEWSET:
        return take_set(img, t, a);
    case NFT_MSG_NEWSETELEM:
        return take_elems(t, a);
    }
    return 0;
}

/* ---- order and equality ---- */

int net_nft_elem_order(const void *a, const void *b)
{
    const struct nft_elem *x = a, *y = b;
    size_t len = x->key_len < y->key_len ? x->key_len : y->key_len;
    int d = memcmp(x->key, y->key, len);
    return d ? d : (int)x->key_len - (int)y->key_len;
}

bool net_nft_elem_same(const struct nft_elem *a, const struct nft_elem *b)
{
    /* Beyond their lengths both are zero. */
    return a->key_len == b->key_len && a->data_len == b->data_len &&
           !memcmp(a->key, b->key, sizeof a->key) && !memcmp(a->data, b->data, sizeof a->data);
}

static void sort_set(struct nft_set *s)
{
    size_t i = 1;

    while (i < s->n && net_nft_elem_order(&s->elem[i - 1], &s->elem[i]) <= 0)
        i++;
    if (i < s->n)
        qsort(s->elem, s->n, sizeof *s->elem, net_nft_elem_order);
    s->sorted = true;
}

void net_nft_image_sort(struct nft_image *img)
{
    for (size_t t = 0; t < NFT_TABLES; t++)
        for (size_t i = 0; i < img->table[t].n_set; i++)
            if (!img->table[t].set[i].sorted)
                sort_set(&img->table[t].set[i]);
}

static size_t hash_key(const struct nft_elem *e)
{
    uint64_t h = e->key_len, word;
    /* beyond its length a key is zero */
    for (size_t i = 0; i < e->key_len; i += sizeof word) {
        memcpy(&word, e->key + i, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return (size_t)h;
}

bool net_nft_elems_same(const struct nft_set *a, const struct nft_set *b)
{
    size_t room = 4;

    if (a->n != b->n)
        return false;
    while (room < 2 * a->n)
        room *= 2;
    /* 1 + an index of `a`, until that element is found in `b` */
    uint32_t *slot = calloc(room, sizeof *slot);
    bool same = slot != NULL;
    for (size_t i = 0; same && i < a->n; i++) {
        size_t at = hash_key(&a->elem[i]) & (room - 1);
        while (slot[at])
            at = (at + 1) & (room - 1);
        slot[at] = (uint32_t)i + 1;
    }
    for (size_t i = 0; same && i < b->n; i++) {
        size_t at = hash_key(&b->elem[i]) & (room - 1);
        while (slot[at] &&
               (slot[at] == UINT32_MAX || !net_nft_elem_same(&a->elem[slot[at] - 1], &b->elem[i])))
            at = (at + 1) & (room - 1);
        same = slot[at] != 0;
        slot[at] = UINT32_MAX; /* found */
    }
    free(slot);
    return same;
}

static bool same_set(const struct nft_set *a, const struct nft_set *b)
{
    if (strcmp(a->name, b->name) || a->key_type != b->key_type || a->key_len != b->key_len ||
        a->data_type != b->data_type || a->data_len != b->data_len || a->flags != b->flags ||
        a->odd != b->odd || a->odd_elem != b->odd_elem || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!net_nft_elem_same(&a->elem[i], &b->elem[i]))
            return false;
    return true;
}
static bool same_chain(const struct nft_chain *a, const struct nft_chain *b)
{
    if (strcmp(a->name, b->name) || strcmp(a->type, b->type) || a->base != b->base ||
        a->hook != b->hook || a->policy != b->policy || a->flags != b->flags ||
        a->priority != b->priority || a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->rule[i].len != b->rule[i].len ||
            memcmp(a->rule[i].code, b->rule[i].code, a->rule[i].len))
            return false;
    return true;
}

bool net_nft_image_same(const struct nft_image *a, const struct nft_image *b)
{
    for (size_t t = 0; t < NFT_TABLES; t++) {
        const struct nft_table *x = &a->table[t], *y = &b->table[t];
        if (x->present != y->present || x->flags != y->flags || x->uses != y->uses ||
            x->n_chain != y->n_chain || x->n_set != y->n_set)
            return false;
        for (size_t i = 0; i < x->n_chain; i++)
            if (!same_chain(&x->chain[i], &y->chain[i]))
                return false;
        for (size_t i = 0; i < x->n_set; i++)
            if (!same_set(&x->set[i], &y->set[i]))
                return false;
    }
    return true;
}
