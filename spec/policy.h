/* spec/policy.h — what a spec that comes through a repository may ask for. Root writes it; what it
 * does not allow is refused.
 * Owns     everything lives in the arena given to spec_policy_load.
 * Opens    nothing: the caller has read the file, and has checked whose it is.
 * Match    names, paths and references by fnmatch(3): `*` stays within one component of a path, and
 *          a pattern that ends in a slash and two asterisks covers all below it. */
#ifndef SPEC_POLICY_H
#define SPEC_POLICY_H
#include "spec/spec.h"

struct spec_policy_ports {
    uint16_t first, last;
    enum spec_l4 proto;
    bool any_proto;
};
struct spec_policy {
    uint32_t version;
    struct {
        struct spec_string *list;
        size_t n;
    } bridges, containers, runtimes, roots, binds, private_users, systems, configs, flakes, nat;
    struct spec_policy_ports *ports;
    size_t n_ports;
    struct spec_cidr *subnets;
    size_t n_subnets;
    uint64_t capabilities; /* bit per capability */
    bool network_admin, open_inbound, router, any_subnet;
    /* What the host has in use may be taken over: a port that a program listens on; a subnet that
     * covers a gateway, a nameserver or a route. */
    bool ports_in_use, subnets_in_use;
};
/* 0 with *out; -EINVAL when *diags holds errors; -ENOMEM. */
int spec_policy_load(struct spec_arena *a, const char *text, size_t len, struct spec_policy **out,
                     struct spec_diags *diags);

struct spec_violation {
    struct spec_loc at; /* in the spec */
    const char *rule;   /* the policy's key: "binds" */
    const char *text;   /* "container 'web' binds '/etc'" */
    const char *value;  /* what the rule would have to hold: "/etc" */
};
/* All that `host` asks for and `p` does not allow, in the order of the spec. `automatic`: the
 * runtime that `auto` means on this host. 0 with *list, *n; -ENOMEM. */
int spec_policy_check(struct spec_arena *a, const struct spec_policy *p,
                      const struct spec_host *host, enum spec_runtime automatic,
                      struct spec_violation **list, size_t *n);
/* Whether the policy's private_users has that mode. */
bool spec_policy_allows_users(const struct spec_policy *p, enum spec_users mode);
/* Whether the policy's roots have that path, which is plain. */
bool spec_policy_allows_root(const struct spec_policy *p, const char *path);
/* The text of a policy that allows just what `host` asks for; NULL: out of memory. `seen`: what the
 * caller found on the host itself, and a policy must allow, too. */
char *spec_policy_suggest(struct spec_arena *a, const struct spec_host *host,
                          enum spec_runtime automatic, const struct spec_violation *seen,
                          size_t n_seen);
#endif
