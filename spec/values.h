/* spec/values.h — readers of values: each takes a node and either fills its output or tells a
 * fault. */
#ifndef SPEC_VALUES_H
#define SPEC_VALUES_H
#include "spec/internal.h"
#include "spec/schema.h"

#define SPEC_NO_BRIDGE  UINT32_MAX /* a container whose bridge is not known (yet) */
#define SPEC_PORTS_MOST 131072     /* expanded port maps on one host */

struct spec_build {
    struct spec_ctx *c;
    bool in_defaults, bad_address;
    const struct spec_node *host_defaults, *container_defaults;
    struct spec_nat host_nat;
};

void *spec_new(struct spec_build *b, size_t bytes);
/* Of a map: the value of a key, the key itself; NULL: not there. */
const struct spec_node *spec_value(const struct spec_node *map, const char *key);
const struct spec_node *spec_key_of(const struct spec_node *map, const char *key);
bool spec_extension(const struct spec_node *key);          /* x-… */
bool spec_is(const struct spec_node *v, const char *word); /* a scalar of this text */
/* `key:` and nothing */
bool spec_missing(struct spec_build *b, const struct spec_node *key, const struct spec_node *v);
bool spec_scalar(struct spec_build *b, const struct spec_node *v, const char *what);
bool spec_is_map(struct spec_build *b, const struct spec_node *v, const struct spec_node *key);
void spec_take_map(struct spec_build *b, const struct spec_table *t, const struct spec_node *v,
                   const struct spec_node *key, void *object);
/* `own` with what only `defaults` has; maps key by key. A scalar `own` is the value of `alone`. */
const struct spec_node *spec_merged(struct spec_build *b, const struct spec_node *own,
                                    const struct spec_node *defaults, const char *alone);

bool spec_take_number(struct spec_build *b, const struct spec_node *v, uint32_t least,
                      uint32_t most, uint32_t *out);
bool spec_take_bool(struct spec_build *b, const struct spec_node *v, bool *out);
/* -1 */
int spec_take_word(struct spec_build *b, const struct spec_node *v, const char *const *words,
                   size_t n);
/* NULL */
const char *spec_take_link(struct spec_build *b, const struct spec_node *v);
bool spec_container_name(struct spec_build *b, const struct spec_node *k);
bool spec_take_text(struct spec_build *b, const struct spec_node *v, struct spec_string *out);
bool spec_take_path(struct spec_build *b, const struct spec_node *v, struct spec_string *out,
                    bool root);
/* A directory of the host itself, or below one: root of a container there could write to the host.
 * Of some, like /srv, only the whole. */
bool spec_system_directory(const char *path);
bool spec_take_address(struct spec_build *b, const struct spec_node *v, bool cidr,
                       struct spec_addr *out);
void spec_take_addresses(struct spec_build *b, const struct spec_node *key,
                         const struct spec_node *v, struct spec_cidr **list, size_t *n);
void spec_take_plain_addresses(struct spec_build *b, const struct spec_node *key,
                               const struct spec_node *v, struct spec_cidr **list, size_t *n);
void spec_take_words(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_string **list, size_t *n);
void spec_take_ports(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_port **list, size_t *n);
void spec_take_binds(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_bind **list, size_t *n);
/* A list of capabilities, with or without CAP_ before each name: a bit per capability. */
void spec_take_capabilities(struct spec_build *b, const struct spec_node *key,
                            const struct spec_node *v, uint64_t *out);
void spec_take_environment(struct spec_build *b, const struct spec_node *key,
                           const struct spec_node *v, struct spec_env **list, size_t *n);
#endif
