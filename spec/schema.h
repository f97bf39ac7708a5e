/* spec/schema.h — every key of a spec as a table row: what it takes, its bounds, what its absence
 * means. The rows drive parsing, suggestions and help, and are there to be listed. */
#ifndef SPEC_SCHEMA_H
#define SPEC_SCHEMA_H
#include <stddef.h>

struct spec_build;
struct spec_node;

struct spec_key {
    const char *name;   /* sorted within a table */
    const char *type;   /* "address or CIDR, or a list" */
    const char *absent; /* "error", "NAME's value", … */
    const char *about;
    /* Read `value` into the object; faults are told, and the object's default stays. */
    void (*take)(struct spec_build *b, void *object, const struct spec_node *key,
                 const struct spec_node *value);
};
struct spec_table {
    const char *where; /* "hosts.NAME.bridge" */
    const struct spec_key *keys;
    size_t n;
};
extern const struct spec_table spec_tables[];
extern const size_t spec_n_tables;
#endif
