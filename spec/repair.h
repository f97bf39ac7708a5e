/* spec/repair.h — what the second look at a faulty spec knows (repair.c): the places of a spec, the
 * keys that other tools have there, and values as a hint writes them.
 * Owns     nothing. */
#ifndef SPEC_REPAIR_H
#define SPEC_REPAIR_H
#include "spec/internal.h"

enum spec_place {
    TOP,
    DEFAULTS,
    HOST,
    BRIDGE,
    BRIDGES_ONE,
    NAT,
    CONTAINER,
    NIXOS,
    NSPAWN,
    HOSTS,
    BRIDGES,
    CONTAINERS,
    NOWHERE
};
#define N_TABLES                                                                                   \
    HOSTS /* the places before it are spec_tables[], in that order; keys of the others are names */

/* How a hint is made of a key of another tool, and of its value. */
enum spec_hint_form {
    SAY, /* the hint as it is */
    /* `hint` names the key of this place that is meant; the value is read as its value */
    MEANT,
    VALUE, /* %s is the value */
    LIST,  /* %s is the value as a list */
    PAIRS, /* %s is the value as NAME: text pairs */
    WORDS, /* %s is the value as a command */
    NAMED, /* %s is the name of the container */
};

struct spec_foreign {
    enum spec_place in;
    const char *key; /* lower case, without - and _ */
    enum spec_hint_form form;
    const char *hint;
};

/* repair_keys.c */
/* Where the value of `key` is. */
enum spec_place spec_repair_place(enum spec_place in, const char *key);
/* Whether `key` is one of berth's in place `p`. */
bool spec_repair_has_row(enum spec_place p, const char *key);
/* The key of `p` that differs from `key` in case, - and _ alone; NULL: there is none. */
const char *spec_repair_same_word(enum spec_place p, const char *key);
/* What is known of a key of another tool; NULL: nothing. */
const struct spec_foreign *spec_repair_foreign(enum spec_place p, const char *key);
/* The key of `p` that is spelled most like `key`; NULL: none is. `p` is one of spec_tables. */
const char *spec_repair_nearest(enum spec_place p, const char *key);

/* repair_words.c: the text of a hint. What does not fit is cut off. */
struct spec_words {
    char text[160];
    size_t n;
};
void spec_words_put(struct spec_words *w, const char *s);
void spec_words_text(struct spec_words *w, const char *s); /* a scalar, quoted where needed */
/* Any value, in brackets; with `depth` 4 a list or map is cut short. */
void spec_words_node(struct spec_words *w, const struct spec_node *v, unsigned depth);
void spec_words_binds(struct spec_words *w, const struct spec_node *v);
void spec_words_pairs(struct spec_words *w, const struct spec_node *v);
void spec_words_command(struct spec_words *w, const struct spec_node *v);
/* The scalar of that key; NULL: there is none. */
const struct spec_node *spec_words_text_at(const struct spec_node *map, const char *key);
#endif
