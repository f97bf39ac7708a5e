/* reconcile/kinds.h — the rows of the table of kinds, and what several of them share. */
#ifndef RECONCILE_KINDS_H
#define RECONCILE_KINDS_H
#include "reconcile/apply.h"
#include "reconcile/kind.h"
#include "reconcile/kinds/links.h"

extern const struct rec_kind rec_kind_system, rec_kind_bridge, rec_kind_address, rec_kind_nat,
    rec_kind_sysctl, rec_kind_names, rec_kind_netns, rec_kind_port, rec_kind_unit, rec_kind_run;

/* Equal, or both NULL. */
bool rec_same_text(const char *a, const char *b);
/* A MAC of our own making: locally administered, the same for the same names for ever, so
 * neighbours never hold a stale one. */
void rec_derive_mac(const char *host, const char *what, const char *name, uint8_t out[6]);
/* The same for many names. */
struct rec_mac_seed {
    uint64_t hash;
};
struct rec_mac_seed rec_mac_seed(const char *host, const char *what);
void rec_seeded_mac(struct rec_mac_seed seed, const char *name, uint8_t out[6]);
/* Of eth0: given, or derived. The seed is that of its host and "container". */
void rec_container_mac(struct rec_mac_seed seed, const struct spec_container *c, uint8_t out[6]);
/* Of a port's host end. It begins with fe: a bridge that chooses the lowest MAC of its ports never
 * takes it. Ports of earlier versions have rec_derive_mac(…, "port", …) as it is, which begins with
 * 02, and keep it. */
void rec_derive_port_mac(struct rec_mac_seed seed, const char *name,
                         uint8_t out[6]); /* the seed of its host and "port" */
bool rec_port_mac_is(const uint8_t mac[6], const uint8_t wanted[6], bool *earlier);
/* Does `address` of a link of ours make bridge `b` (or one of its ports) speak a family: 4, 6. */
bool rec_bridge_has(const struct spec_bridge *b, int family);
/* Where the container's default route of a family leads: given, or the bridge's address in the
 * container's own subnet; NULL: there is none. */
const struct spec_addr *rec_gateway(const struct spec_container *c, const struct spec_bridge *b,
                                    int family);
/* What the spec asks of forwarding for bridge `b` of host `h`: any of NAT, port maps, open
 * routing. */
bool rec_bridge_forwards(const struct spec_host *h, const struct spec_bridge *b);
/* The first bridge for which the host must forward a family (4, 6), or NULL. */
const struct spec_bridge *rec_host_forwards(const struct spec_host *h, int family);
/* Are there tables for it: NAT, port maps or isolation. */
bool rec_bridge_filtered(const struct spec_host *h, const struct spec_bridge *b);
bool rec_bridge_has_ports(const struct spec_host *h, const struct spec_bridge *b);
bool rec_bridge_has_isolated(const struct spec_host *h, const struct spec_bridge *b);
struct net_address rec_net_address(const struct spec_addr *a);
struct spec_addr rec_spec_address(const struct net_address *a);
/* Is the container's namespace wanted: not stopped by spec or by hand, unless its runtime keeps
 * the namespace while stopped. */
bool rec_wants_netns(struct rec_run *run, const struct spec_container *c);
/* The namespace belongs to the container's user namespace. Whatever starts the container makes it
 * and its port (own_network.h), so an apply leaves both to the start. */
bool rec_owns_netns(struct rec_run *run, const struct spec_container *c);
/* kinds/port.c: the port of `c` as an item, as the spec wants it. */
struct rec_item;
int rec_port_want(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                  struct spec_arena *a, struct rec_item *out);
bool rec_is_held(const struct rec_run *run, const char *container);
/* Why it is held: "stopped by berth stop"; NULL: it is not. */
const char *rec_held_why(const struct rec_run *run, const char *container);
/* A failed request of a batch belongs to the step that its tag names. */
#define REC_TAG(step, part) ((uint32_t)(((step) + 1) << 3 | (part)))
#define REC_TAG_STEP(tag)   ((size_t)((tag) >> 3) - 1)
#define REC_TAG_PART(tag)   ((tag)&7)
enum rec_part {
    REC_PART_LINK,
    REC_PART_ADDRESS4,
    REC_PART_ADDRESS6,
    REC_PART_GATEWAY,
    REC_PART_MAC,
    REC_PART_MTU
};
/* Steps of a group that a batch has refused, then all others done. */
struct rec_outcomes {
    struct rec_step *const *steps;
    size_t n;
    struct rec_report *report;
};
/* The batch of the host's namespace; a failure is reported with the first step. */
int rec_host_batch(struct rec_run *run, struct rec_step *const *steps, size_t n,
                   struct rec_report *report, struct net_batch **out);
void rec_refused(void *outcomes, const struct net_error *e);
void rec_rest_done(struct rec_outcomes *o);
/* Steps one by one, each with its own outcome. */
int rec_each_step(struct rec_run *run, struct rec_step *const *steps, size_t n,
                  struct rec_report *report,
                  int (*one)(struct rec_run *run, const struct rec_step *s, struct rec_error *err));
int rec_runtime_system(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
int rec_runtime_unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
/* The index that eth0 is asked to have in a container, so that no one need look it up; far from
 * what the kernel makes by itself. Where that is taken, a step's `eth0_index` says which it got. */
#define REC_ETH0_INDEX 64
/* kinds/pipeline.c: namespaces and ports together. */
/* `a` is one of the addresses of `p`, prefix included; `only_ours`: and bears our mark. */
/* A default route that one of ours cannot be added beside: of the metric that ours has (IPv6:
 * what the kernel makes of none). */
bool rec_route_collides(const struct net_route *r);
bool rec_port_has(const struct rec_port *p, const struct net_address *a, bool only_ours);
/* Descriptors that an apply has open: REC_FILES for itself, REC_LINK_FILES for each namespace that
 * is being made. It makes REC_LINKS_MOST of these at once, and fewer, down to REC_LINKS_LEAST,
 * where its limit is low. */
enum { REC_FILES = 40, REC_LINK_FILES = 2, REC_LINKS_LEAST = 4, REC_LINKS_MOST = 100 };
int rec_links_apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                    struct rec_report *report);
int rec_links_remove(struct rec_run *run, struct rec_step *const *steps, size_t n,
                     struct rec_report *report);
/* kinds/foreign.c: a warning for each filter of another program that drops what a bridge of the
 * spec forwards. */
int rec_foreign_filters_warn(struct rec_run *run, struct net_port *nft, struct rec_state *out,
                             struct rec_error *err);
/* kinds/bridge.c: before an undo. */
void rec_bridges_settle(const struct rec_state *before, const struct rec_state *now);
/* What was adopted and is no longer wanted goes back to its owner as it was: it is added to what is
 * wanted. */
int rec_adopted_want(struct rec_run *run, struct rec_state *out, struct rec_error *err);
/* One line of the record: an item for it, unless that address is wanted. Only the first `n` items
 * of `out` are sorted. */
struct rec_record;
int rec_adopted_address(struct rec_state *out, size_t n, const struct rec_record *line,
                        struct rec_error *err);
/* kinds/announce.c: after the steps of `p` are done, and the host has been read again: who has
 * an address now says so. */
void rec_announce(struct rec_run *run, const struct rec_plan *p);
int rec_netns_dir(struct rec_run *run, bool create, int *fd, struct rec_error *err);
enum {
    REC_PORT_WHOLE,
    REC_PORT_BRIDGE,
    REC_PORT_MAC,
    REC_PORT_MTU,
    REC_PORT_AUTOCONF,
    REC_PORT_HAIRPIN,
    REC_PORT_UP,
    REC_PORT_INSIDE_UP,
    REC_PORT_DOOMED,
    REC_PORT_HOST_MAC,
    REC_PORT_ADDRESS,
    REC_PORT_GATEWAY
};
enum { REC_NETNS_LO, REC_NETNS_OWN };
#endif
