/* The table of kinds, by hand: rows that register themselves vanish from static libraries. Below
 * it what several kinds share. */
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <stdlib.h>
#include <string.h>

const struct rec_kind *const rec_kinds[REC_KINDS] = {
    [REC_SYSTEM] = &rec_kind_system,   [REC_BRIDGE] = &rec_kind_bridge,
    [REC_ADDRESS] = &rec_kind_address, [REC_NAT] = &rec_kind_nat,
    [REC_SYSCTL] = &rec_kind_sysctl,   [REC_NAMES] = &rec_kind_names,
    [REC_NETNS] = &rec_kind_netns,     [REC_PORT] = &rec_kind_port,
    [REC_UNIT] = &rec_kind_unit,       [REC_RUN] = &rec_kind_run,
};

static uint64_t mac_hash(uint64_t h, const char *part) /* FNV-1a, with the part's end */
{
    for (;; part++) {
        h = (h ^ (uint8_t)*part) * 1099511628211u;
        if (!*part)
            return h;
    }
}

struct rec_mac_seed rec_mac_seed(const char *host, const char *what)
{
    return (struct rec_mac_seed){mac_hash(mac_hash(14695981039346656037u, host), what)};
}

void rec_seeded_mac(struct rec_mac_seed seed, const char *name, uint8_t out[6])
{
    uint64_t h = mac_hash(seed.hash, name);
    h ^= h >> 32;
    out[0] = 0x02;
    for (int i = 1; i < 6; i++)
        out[i] = (uint8_t)(h >> (8 * (i - 1)));
}

void rec_derive_mac(const char *host, const char *what, const char *name, uint8_t out[6])
{
    rec_seeded_mac(rec_mac_seed(host, what), name, out);
}

void rec_derive_port_mac(struct rec_mac_seed seed, const char *name, uint8_t out[6])
{
    rec_seeded_mac(seed, name, out);
    out[0] = 0xfe;
}

bool rec_port_mac_is(const uint8_t mac[6], const uint8_t wanted[6], bool *earlier)
{
    *earlier = mac[0] == 0x02 && wanted[0] == 0xfe;
    return !memcmp(mac + 1, wanted + 1, 5) && (mac[0] == wanted[0] || *earlier);
}

void rec_container_mac(struct rec_mac_seed seed, const struct spec_container *c, uint8_t out[6])
{
    if (c->has_mac)
        memcpy(out, c->mac, 6);
    else
        rec_seeded_mac(seed, c->name, out);
}

bool rec_bridge_has(const struct spec_bridge *b, int family)
{
    return spec_bridge_address(b, family) != NULL;
}

const struct spec_addr *rec_gateway(const struct spec_container *c, const struct spec_bridge *b,
                                    int family)
{
    const struct spec_addr *a = &c->address[family == 6].addr;
    if (!a->family || c->gateway.mode == SPEC_GW_NONE)
        return NULL;
    if (c->gateway.mode == SPEC_GW_GIVEN && c->gateway.addr.family == family)
        return &c->gateway.addr;
    const struct spec_cidr *near = spec_bridge_near(b, a);
    return near ? &near->addr : NULL;
}

bool rec_bridge_has_ports(const struct spec_host *h, const struct spec_bridge *b)
{
    for (size_t i = 0; i < h->n_containers; i++)
        if (h->containers[i].n_ports && &h->bridges[h->containers[i].bridge] == b)
            return true;
    return false;
}

bool rec_bridge_has_isolated(const struct spec_host *h, const struct spec_bridge *b)
{
    for (size_t i = 0; i < h->n_containers; i++)
        if (h->containers[i].isolated && &h->bridges[h->containers[i].bridge] == b)
            return true;
    return false;
}

bool rec_bridge_forwards(const struct spec_host *h, const struct spec_bridge *b)
{
    return b->nat.uplink != SPEC_UPLINK_NONE || b->nat.open || rec_bridge_has_ports(h, b);
}

const struct spec_bridge *rec_host_forwards(const struct spec_host *h, int family)
{
    for (size_t i = 0; i < h->n_bridges; i++)
        if (rec_bridge_has(&h->bridges[i], family) && rec_bridge_forwards(h, &h->bridges[i]))
            return &h->bridges[i];
    return NULL;
}

struct net_address rec_net_address(const struct spec_addr *a)
{
    struct net_address n = {.family = a->family == 6 ? AF_INET6 : AF_INET,
                            .prefix = a->prefix,
                            .proto = NET_PROTO_BERTH};
    memcpy(n.bytes, a->bytes, a->family == 6 ? 16 : 4);
    return n;
}

struct spec_addr rec_spec_address(const struct net_address *a)
{
    struct spec_addr s = {
        .family = a->family == AF_INET6 ? 6 : 4, .prefix = a->prefix, .has_prefix = true};
    memcpy(s.bytes, a->bytes, s.family == 6 ? 16 : 4);
    return s;
}

static int compare_names(const void *key, const void *entry)
{
    return strcmp(key, *(char *const *)entry);
}

const char *rec_held_why(const struct rec_run *run, const char *container)
{
    const struct rec_facts *f = &run->facts;
    if (!f->n_held)
        return NULL;
    char **at = bsearch(container, f->held, f->n_held, sizeof *f->held, compare_names);
    return at ? f->held_why[at - f->held] : NULL;
}

bool rec_is_held(const struct rec_run *run, const char *container)
{
    return rec_held_why(run, container) != NULL;
}

bool rec_owns_netns(struct rec_run *run, const struct spec_container *c)
{
    const struct rec_runtime *rt = rec_runtime(rec_runtime_of(run, c));
    return rt && rt->owns_netns && rt->owns_netns(run, c);
}

bool rec_wants_netns(struct rec_run *run, const struct spec_container *c)
{
    bool runs = c->state == SPEC_RUNNING && !rec_is_held(run, c->name);
    switch (rec_runtime_of(run, c)) {
    case SPEC_RT_NETNS:
        return runs;
    case SPEC_RT_NSPAWN:
        return runs || !rec_owns_netns(run, c);
    case SPEC_RT_NIXOS: /* its namespace and port come and go with its unit */
    case SPEC_RT_AUTO:
        break;
    }
    return false;
}

int rec_host_batch(struct rec_run *run, struct rec_step *const *steps, size_t n,
                   struct rec_report *report, struct net_batch **out)
{
    struct rec_error e;
    if (!rec_net(run, out, &e))
        return 0;
    rec_report_failed(report, n ? steps[0] : NULL, &e);
    return -e.code;
}

void rec_refused(void *arg, const struct net_error *e)
{
    struct rec_outcomes *o = arg;
    size_t i = REC_TAG_STEP(e->tag);
    struct rec_error err;
    rec_fail_net(&err, e);
    if (!e->tag || i >= o->n) {
        rec_report_failed(o->report, NULL, &err);
        return;
    }
    const struct rec_item *item = o->steps[i]->to ? o->steps[i]->to : o->steps[i]->from;
    const struct spec_container *c = item->spec;
    err.at = o->steps[i]->at;
    switch ((enum rec_part)REC_TAG_PART(e->tag)) {
    case REC_PART_ADDRESS4:
        err.at = c ? c->address[0].at : err.at;
        break;
    case REC_PART_ADDRESS6:
        err.at = c ? c->address[1].at : err.at;
        break;
    case REC_PART_GATEWAY:
        err.at = c && c->gateway.at.line ? c->gateway.at : err.at;
        break;
    case REC_PART_MAC:
        err.at = c && c->has_mac ? c->mac_at : err.at;
        break;
    case REC_PART_LINK:
    case REC_PART_MTU:
        break;
    }
    rec_report_failed(o->report, o->steps[i], &err);
}

void rec_rest_done(struct rec_outcomes *o)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->steps[i]->state == REC_PENDING)
            rec_report_done(o->report, o->steps[i]);
}

int rec_each_step(struct rec_run *run, struct rec_step *const *steps, size_t n,
                  struct rec_report *report,
                  int (*one)(struct rec_run *run, const struct rec_step *s, struct rec_error *err))
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        struct rec_error e = {0};
        rec_report_begin(report, steps[i]);
        int r = one(run, steps[i], &e);
        if (!r) {
            rec_report_done(report, steps[i]);
            continue;
        }
        if (!e.at.line)
            e.at = steps[i]->at;
        rec_report_failed(report, steps[i], &e);
        bad = r;
    }
    return bad;
}

static const struct rec_runtime *runtime_of(const struct rec_step *s)
{
    return rec_runtime((s->to ? s->to : s->from)->runtime);
}

int rec_runtime_system(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    return runtime_of(s)->system(run, s, err);
}

int rec_runtime_unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    return runtime_of(s)->unit(run, s, err);
}

bool rec_same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}
