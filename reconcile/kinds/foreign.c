/* Filters of other programs that stand in the way of our bridges: named, and left alone. */
#include "netops/nft_foreign.h"
#include "netops/xt_legacy.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* br_netfilter: the filters of IP see what a bridge forwards between its own ports. */
static bool sees_bridged(int family)
{
    char value = '0';
    int fd = open(family == 6 ? "/proc/sys/net/bridge/bridge-nf-call-ip6tables"
                              : "/proc/sys/net/bridge/bridge-nf-call-iptables",
                  O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (read(fd, &value, 1) != 1)
        value = '0';
    close(fd);
    return value == '1';
}

static size_t containers_on(const struct spec_host *h, const struct spec_bridge *b)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_containers; i++)
        n += &h->bridges[h->containers[i].bridge] == b;
    return n;
}

static int warn(struct rec_state *out, const char *bridge, const struct net_nft_drop *d,
                const char *what)
{
    char rule[32] = "the policy", hint[512];
    const char *into = d->has_user ? "DOCKER-USER" : d->base;

    if (d->rule)
        snprintf(rule, sizeof rule, "rule %u", d->rule);
    if (!strcmp(d->table, "firewalld"))
        snprintf(
            hint, sizeof hint,
            "firewall-cmd --permanent --zone=trusted --add-interface=%s && firewall-cmd --reload",
            bridge);
    else
        snprintf(hint, sizeof hint,
                 "nft insert rule %s %s %s iifname %s accept && nft insert rule %s %s %s oifname "
                 "%s accept",
                 d->family, d->table, into, bridge, d->family, d->table, into, bridge);
    return rec_state_warn(out, bridge, hint,
                          "%s of chain '%s' in table '%s %s', which is not berth's, drops %s", rule,
                          d->chain, d->family, d->table, what);
}

struct way {
    const char *iif, *oif, *what;
    bool asked, mapped;
};

enum { WAYS = 4 };

/* The ways by which packets of one bridge are forwarded. */
static void list_ways(const struct rec_run *run, const struct spec_host *h,
                      const struct spec_bridge *b, int family, struct way out[WAYS])
{
    const char *uplink = b->nat.uplink == SPEC_UPLINK_LINK ? b->nat.interface : family == 6 ? run->facts.uplink6 : run->facts.uplink4;
    const struct way ways[WAYS] = {
        {b->name, uplink, "what its containers send to the outside",
         b->nat.uplink != SPEC_UPLINK_NONE && *uplink, false},
        {uplink, b->name, "what comes in by its port maps", rec_bridge_has_ports(h, b) && *uplink,
         true},
        {uplink, b->name, "what comes in from outside", b->nat.open && *uplink, false},
        {b->name, b->name, "what its containers send to each other",
         containers_on(h, b) > 1 && sees_bridged(family), false},
    };
    memcpy(out, ways, sizeof ways);
}

static int warn_bridge(struct rec_run *run, struct net_nft_foreign *f, const struct spec_host *h,
                       const struct spec_bridge *b, int family, struct net_nft_drop *told,
                       struct rec_state *out, struct net_error *e)
{
    const struct spec_cidr *own = spec_bridge_address(b, family);
    struct way ways[WAYS];

    list_ways(run, h, b, family, ways);
    for (size_t i = 0; own && i < WAYS; i++) {
        struct net_nft_packet p = {.family = family == 6 ? AF_INET6 : AF_INET,
                                   .iif = ways[i].iif,
                                   .oif = ways[i].oif,
                                   .mapped = ways[i].mapped,
                                   .br_netfilter = sees_bridged(family),
                                   .src = ways[i].iif == b->name ? own->addr.bytes : NULL};
        struct net_nft_drop d;
        bool found = false;
        if (!ways[i].asked)
            continue;
        int r = net_nft_foreign_find(f, &p, &found, &d, e);
        if (r)
            return r;
        if (!found ||
            (told->chain && !strcmp(told->chain, d.chain) && !strcmp(told->table, d.table)))
            continue;
        *told = d;
        if (warn(out, b->name, &d, ways[i].what))
            return -ENOMEM;
    }
    return 0;
}

static int warn_legacy(struct rec_state *out, const char *bridge, int family,
                       const struct net_xt_drop *d, const char *what)
{
    const char *program = family == 6 ? "ip6tables-legacy" : "iptables-legacy",
               *into = d->has_user ? "DOCKER-USER" : "FORWARD";
    char rule[32] = "the policy", hint[256];

    if (d->rule)
        snprintf(rule, sizeof rule, "rule %u", d->rule);
    snprintf(hint, sizeof hint, "%s -I %s -i %s -j ACCEPT && %s -I %s -o %s -j ACCEPT", program,
             into, bridge, program, into, bridge);
    return rec_state_warn(
        out, bridge, hint,
        "%s of chain '%s' in table 'filter' of %s, which is not berth's, drops %s", rule, d->chain,
        program, what);
}

/* As warn_bridge: one warning for each chain of a bridge. */
static int warn_bridge_legacy(struct rec_run *run, const struct net_xt_legacy *t,
                              const struct spec_host *h, const struct spec_bridge *b, int family,
                              struct rec_state *out)
{
    const struct spec_cidr *own = spec_bridge_address(b, family);
    struct net_xt_drop told = {0};
    struct way ways[WAYS];

    list_ways(run, h, b, family, ways);
    for (size_t i = 0; own && i < WAYS; i++) {
        const uint8_t *src = ways[i].iif == b->name ? own->addr.bytes : NULL,
                      *dst = ways[i].oif == b->name ? own->addr.bytes : NULL;
        struct net_xt_packet p = {.iif = ways[i].iif,
                                  .oif = ways[i].oif,
                                  .src = src,
                                  .dst = dst,
                                  .src_prefix = own->addr.prefix,
                                  .dst_prefix = own->addr.prefix,
                                  .mapped = ways[i].mapped,
                                  .br_netfilter = sees_bridged(family)};
        struct net_xt_drop d;
        if (!ways[i].asked || !net_xt_legacy_drops(t, &p, &d) || !strcmp(told.chain, d.chain))
            continue;
        told = d;
        if (warn_legacy(out, b->name, family, &d, ways[i].what))
            return -ENOMEM;
    }
    return 0;
}

/* A table that cannot be read does not stop the run. A warning says that it was not checked. */
static int warn_legacy_tables(struct rec_run *run, struct rec_state *out)
{
    const struct spec_host *h = run->host;
    int r = 0;

    for (int family = 4; !r && family <= 6; family += 2) {
        scoped(net_xt_legacy_freep) struct net_xt_legacy *t = NULL;
        struct net_error e = {0};
        char text[384];
        if (net_xt_legacy_read(family == 6 ? AF_INET6 : AF_INET, &t, &e)) {
            net_error_format(&e, text, sizeof text);
            r = rec_state_warn(out, "/proc/net",
                               family == 6 ? "ip6tables-legacy -S FORWARD"
                                           : "iptables-legacy -S FORWARD",
                               "%s", text);
        }
        for (size_t i = 0; !r && t && i < h->n_bridges; i++)
            r = warn_bridge_legacy(run, t, h, &h->bridges[i], family, out);
    }
    return r;
}

/* These filters only cause warnings, so an error in reading them does not stop the run. */
static int warn_not_checked(struct rec_state *out, const struct net_error *e)
{
    char text[384];
    net_error_format(e, text, sizeof text);
    return rec_state_warn(out, "nft", "nft list ruleset",
                          "filters of other programs were not checked: %s", text);
}

int rec_foreign_filters_warn(struct rec_run *run, struct net_port *nft, struct rec_state *out,
                             struct rec_error *err)
{
    scoped(net_nft_foreign_freep) struct net_nft_foreign *f = NULL;
    const struct spec_host *h = run->host;
    struct net_error e = {0};

    if (!h || !h->n_containers)
        return 0;
    if (warn_legacy_tables(run, out))
        return rec_fail(err, ENOMEM, "out of memory");
    int r = net_nft_foreign_read(nft, &f, &e);
    if (!r && net_nft_foreign_none(f))
        return 0;
    for (size_t i = 0; !r && i < h->n_bridges; i++) {
        struct net_nft_drop told = {0};
        for (int family = 4; !r && family <= 6; family += 2)
            r = warn_bridge(run, f, h, &h->bridges[i], family, &told, out, &e);
    }
    if (r && r != -ENOMEM)
        r = warn_not_checked(out, &e);
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}
