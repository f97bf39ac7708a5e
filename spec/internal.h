/* spec/internal.h — what the files of this layer share: the text being read, its nodes, its faults.
 * A node keeps its place; a scalar has no type of its own: its field gives it one. */
#ifndef SPEC_INTERNAL_H
#define SPEC_INTERNAL_H
#include "spec/spec.h"

/* Code and slug of each fault, E001… in this order; append only. */
enum spec_code {
    SPEC_E_EMPTY = 1,
    SPEC_E_CHAR,
    SPEC_E_UTF8,
    SPEC_E_ENCODING,
    SPEC_E_YAML,
    SPEC_E_NOT_MAP,
    SPEC_E_MULTI_DOC,
    SPEC_E_YAML_VERSION,
    SPEC_E_DUPLICATE_KEY,
    SPEC_E_ALIAS,
    SPEC_E_TAG,
    SPEC_E_OUTSIDE,
    SPEC_E_KEY,
    SPEC_E_UNKNOWN_KEY,
    SPEC_E_DEPTH,
    SPEC_E_SIZE,
    SPEC_E_LONG,
    SPEC_E_NAME,
    SPEC_E_NUMBER,
    SPEC_E_NO_VALUE,
    SPEC_E_BOOL,
    SPEC_E_TYPE,
    SPEC_E_MISSING,
    SPEC_E_VERSION,
    SPEC_E_RESERVED,
    SPEC_E_ADDRESS,
    SPEC_E_PREFIX,
    SPEC_E_DUPLICATE_ADDRESS,
    SPEC_E_MAC,
    SPEC_E_DUPLICATE_MAC,
    SPEC_E_PORT,
    SPEC_E_PROTOCOL,
    SPEC_E_DUPLICATE_PORT,
    SPEC_E_PATH,
    SPEC_E_NESTED,
    SPEC_E_CHOICE,
    SPEC_E_TOGETHER,
    SPEC_E_MANY,
    SPEC_E_OVERLAP,
    SPEC_E_GATEWAY,
    SPEC_E_LINK_NAME,
    SPEC_E_REF,
    SPEC_E_TEXT,
    SPEC_E_LAST
};

enum spec_node_type { SPEC_SCALAR, SPEC_MAP, SPEC_LIST };
struct spec_node {
    enum spec_node_type type;
    bool quoted; /* a scalar in quotes, or a block */
    bool told;   /* a key: its fault is told, and nothing reads its value */
    struct spec_loc at;
    /* of a scalar; ends in NUL, which it does not hold otherwise */
    const char *text;
    size_t len;
    struct spec_node **keys, **values; /* of a map; of a list `values` alone */
    size_t n;
};

struct spec_seen { /* a set of strings, with where each was seen first */
    struct spec_arena *arena;
    struct {
        const char *key;
        size_t len;
        struct spec_loc at;
    } * slot;
    size_t n, room;
};
/* The place where `key` was put first, or NULL: it is put now. `oom` is set when memory ran out. */
const struct spec_loc *spec_seen_put(struct spec_seen *s, const char *key, size_t len,
                                     struct spec_loc at, bool *oom);
/* The same without putting it. */
const struct spec_loc *spec_seen_find(const struct spec_seen *s, const char *key, size_t len);

struct spec_ctx {
    struct spec_arena *arena;
    const char *text;    /* without a byte order mark */
    size_t len, skipped; /* bytes of the mark */
    struct spec_diags *diags;
    size_t room;
    /* a fault is told once, however often its place is looked at */
    struct spec_seen told;
    bool repairs; /* the second reading, of a spec that has faults */
    bool oom;
};

/* spec_plain_path (spec.h) in the arena; NULL: out of memory. */
const char *spec_plain_copy(struct spec_arena *a, const char *path);
/* The directories of the host that its containers can write: their roots, and sources of writable
 * binds. Plain paths. */
struct spec_writable {
    struct spec_seen roots, binds;
};
/* false: out of memory */
bool spec_writable_find(struct spec_arena *a, const struct spec_host *h, struct spec_writable *out);
/* A directory of the set that the plain path lies strictly below: where the spec names it, or NULL.
 * Its container can replace what is below by a symbolic link, and the next start follows that. */
const struct spec_loc *spec_writable_above(const struct spec_seen *set, const char *plain);

/* One fault. The text is formatted into the arena. */
struct spec_diag *spec_fault(struct spec_ctx *c, enum spec_code code, struct spec_loc at,
                             const char *format, ...) __attribute__((format(printf, 4, 5)));
struct spec_diag *spec_warning(struct spec_ctx *c, enum spec_code code, struct spec_loc at,
                               const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Add to the fault (NULL is fine). */
void spec_hint(struct spec_ctx *c, struct spec_diag *d, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void spec_note(struct spec_ctx *c, struct spec_diag *d, struct spec_loc at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void spec_diags_sort(struct spec_diags *d);

/* Bytes first: what libyaml would take and a reader would not see. false: there is no point in
 * going on. */
bool spec_prescan(struct spec_ctx *c, const struct spec_limits *limits);
/* The document's root, or NULL with faults told. */
struct spec_node *spec_read(struct spec_ctx *c);
/* The second of two equal keys is told, and then as if it were not there. */
void spec_drop_duplicates(struct spec_ctx *c, struct spec_node *n);
/* syntax.c: what libyaml refused, in an author's words: its problem and context, and where both
 * are. */
void spec_syntax_fault(struct spec_ctx *c, const char *problem, const char *context,
                       struct spec_loc at, struct spec_loc context_at);
/* lookalike.c: characters that look like another one. Each gets a separate fault where it changes
 * the structure. Returns whether there is one. */
bool spec_lookalikes(struct spec_ctx *c, const struct spec_node *root);
/* The first such character in the `n` bytes from `byte` of the text: tell it. false: there is
 * none. */
bool spec_lookalike_fault(struct spec_ctx *c, size_t byte, size_t n);
/* Name it in the hint of each fault that underlines one. */
void spec_lookalike_hints(struct spec_ctx *c);
/* The place of a byte of the text. Takes time linear in the text. */
struct spec_loc spec_place(const struct spec_ctx *c, size_t byte, size_t bytes);
/* repair.c: tell the mistakes whose cause is known (indentation, keys of other tools, typing
 * errors), and change the tree to what was meant, so that one cause gives one message. false: the
 * file is not a spec at all, which is told. */
bool spec_repair(struct spec_ctx *c, struct spec_node *root);
/* The nearest of `n` names by edit distance (at most 2, and one edit for each three letters), or
 * NULL. */
const char *spec_nearest(const char *word, const char *const *names, size_t n);

/* schema.c: the tree as a document; merges defaults; keeps going after a fault. */
struct spec_doc *spec_build(struct spec_ctx *c, struct spec_node *root);
/* check.c: rules between objects. */
void spec_check(struct spec_ctx *c, struct spec_doc *doc);
/* names.c: a sentence, or NULL if the name is fine. *code says which kind of fault. */
const char *spec_link_fault(struct spec_ctx *c, const char *name, size_t len, enum spec_code *code);
const char *spec_container_fault(struct spec_ctx *c, const char *name, size_t len,
                                 enum spec_code *code);
const char *spec_host_fault(struct spec_ctx *c, const char *name, size_t len, enum spec_code *code);
#endif
