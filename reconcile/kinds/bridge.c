/* Bridges: made down, with owner and MAC in the creating message; brought up in `finish`, after
 * their ports and after the filters, but for those with IPv6 (early).
 * Two settings of the bridge's own belong to it: accept_ra (a container's root shall not become the
 * host's router) and route_localnet (mapped ports answer on 127.0.0.1; the guard chain must be in
 * place before). With IPv6 a bridge needs a link-local address: what is forwarded is resolved
 * from it alone (ndisc_solicit). It is made from the MAC, without waiting for DAD. */
#include "netops/sysctl.h"
#include "reconcile/kinds.h"
#include "reconcile/record.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { F_DOOMED, F_MAC, F_MTU, F_ACCEPT_RA, F_LOOPBACK, F_LINK_LOCAL, F_LL_LEARN, F_UP };
static const struct rec_field fields[] = {
    /* name, type, where, what a change costs */
    [F_DOOMED] = {"marked for deletion", REC_T_BOOL, offsetof(struct rec_item, bridge.doomed),
                  REC_LIVE},
    [F_MAC] = {"mac", REC_T_MAC, offsetof(struct rec_item, bridge.mac), REC_LIVE},
    [F_MTU] = {"mtu", REC_T_U32, offsetof(struct rec_item, bridge.mtu), REC_LIVE},
    [F_ACCEPT_RA] = {"accepts router advertisements", REC_T_BOOL,
                     offsetof(struct rec_item, bridge.accept_ra), REC_LIVE},
    [F_LOOPBACK] = {"ports on 127.0.0.1", REC_T_BOOL, offsetof(struct rec_item, bridge.loopback),
                    REC_LIVE},
    [F_LINK_LOCAL] = {"link-local address", REC_T_BOOL,
                      offsetof(struct rec_item, bridge.link_local), REC_LIVE},
    [F_LL_LEARN] = {"learns from link-local frames", REC_T_BOOL,
                    offsetof(struct rec_item, bridge.ll_learn), REC_LIVE},
    [F_UP] = {"up", REC_T_BOOL, offsetof(struct rec_item, bridge.up), REC_LIVE},
};

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    for (size_t i = 0; i < h->n_bridges; i++) {
        const struct spec_bridge *b = &h->bridges[i];
        struct rec_item *it = rec_state_add(out, REC_BRIDGE, b->name);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->at = b->at;
        rec_derive_mac(h->name, "bridge", b->name, it->bridge.mac);
        it->bridge.mtu = b->mtu;
        it->bridge.up = true;
        it->bridge.loopback = rec_bridge_has_ports(h, b) && rec_bridge_has(b, 4);
        it->stated = 1u << F_DOOMED | 1u << F_MAC | 1u << F_LOOPBACK | 1u << F_LL_LEARN |
                     1u << F_UP | (b->mtu ? 1u << F_MTU : 0) |
                     (run->facts.ipv6 ? 1u << F_ACCEPT_RA : 0);
        it->weak = 1u << F_MAC | 1u << F_ACCEPT_RA | 1u << F_LOOPBACK | 1u << F_LINK_LOCAL |
                   1u << F_LL_LEARN;
        bool ipv6 = run->facts.ipv6 && rec_bridge_has(b, 6);
        if (ipv6 && run->facts.no_ipv6 && run->facts.no_ipv6[i]) {
            const char *object = spec_arena_printf(out->arena, "bridge %s", b->name);
            if (!object ||
                rec_state_warn(
                    out, object,
                    "sysctl -w net.ipv6.conf.all.disable_ipv6=0, or take IPv6 out of the spec",
                    "IPv6 is disabled for it by sysctl disable_ipv6: it gets no IPv6 address"))
                return rec_fail(err, ENOMEM, "out of memory");
        } else if (ipv6) {
            it->bridge.link_local = true;
            it->stated |= 1u << F_LINK_LOCAL;
        }
    }
    return 0;
}

static bool setting(const char *family, const char *link, const char *name)
{
    char key[96], value[64];
    snprintf(key, sizeof key, "net/%s/conf/%s/%s", family, link, name);
    return !net_sysctl_read(key, value, NULL) && strcmp(value, "0");
}

static int set(const char *family, const char *link, const char *name, bool on,
               struct rec_error *err)
{
    char key[96];
    struct net_error e;
    snprintf(key, sizeof key, "net/%s/conf/%s/%s", family, link, name);
    int r = net_sysctl_write(key, on ? "1" : "0", &e);
    if (r == -EROFS)
        return 0; /* the plan has warned */
    return r ? rec_fail_net(err, &e) : 0;
}

/* A link with an mtu below 1280 has no IPv6 and no such setting; it comes back, with its
 * default, when the mtu grows. */
static int set_accept_ra(const char *link, bool on, struct rec_error *err)
{
    int r = set("ipv6", link, "accept_ra", on, err);
    return r == -ENOENT ? 0 : r;
}

/* The name of a port that neither berth nor a container of berth's has brought, or NULL. A
 * container that this run adopts is berth's: otherwise the bridge would keep its MAC before the
 * apply, and differ from what is wanted after it. */
static const char *foreign_port(struct rec_run *run, const struct rec_state *wanted, int bridge)
{
    const char *name = NULL;
    for (size_t i = 0; i < run->links->n; i++) {
        const struct net_link *l = &run->links->link[i];
        if (l->master != bridge || rec_group_ours(l->group))
            continue;
        if (strncmp(l->name, "vb-", 3) || !nixos_ours_after(run, wanted, l->name + 3))
            name = l->name;
    }
    return name;
}

static int note_unfiltered(struct rec_run *run, struct rec_state *out, struct rec_error *err)
{
    for (size_t i = 0; run->facts.shared && run->host && i < run->host->n_bridges; i++) {
        const char *name = run->host->bridges[i].name;
        const char *object =
            run->facts.shared[i] ? spec_arena_printf(out->arena, "bridge %s", name) : "";
        if (!object ||
            (*object &&
             rec_state_note(
                 out, object,
                 "others have it too, so what comes to it from outside is not filtered")))
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return 0;
}

static int read_bridges(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                        struct rec_error *err)
{
    struct rec_links *links = run->links;
    links->n_shared = 0;
    for (size_t i = 0; i < links->n; i++) {
        const struct net_link *l = &links->link[i];
        bool bridge = !strcmp(l->kind, "bridge"), ours = bridge && rec_group_ours(l->group);
        const struct rec_item *w = ours ? NULL : rec_state_find(wanted, REC_BRIDGE, l->name);
        if (!ours && !w)
            continue;
        char *name = spec_arena_strdup(out->arena, l->name);
        struct rec_item *it = name ? rec_state_add(out, REC_BRIDGE, name) : NULL;
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->ours = ours;
        it->bridge = (struct rec_bridge){.mtu = l->mtu,
                                         .up = l->flags & IFF_UP,
                                         .index = l->index,
                                         .other_kind = !bridge,
                                         .doomed = l->group == REC_GROUP_GONE,
                                         .group = l->group,
                                         .ll_learn = l->ll_learn};
        memcpy(it->bridge.mac, l->mac, 6);
        it->stated = (1u << F_UP) * 2 - 1;
        if (bridge) {
            it->bridge.accept_ra = run->facts.ipv6 && setting("ipv6", l->name, "accept_ra");
            it->bridge.loopback = setting("ipv4", l->name, "route_localnet");
        }
        const char *other = bridge ? foreign_port(run, wanted, l->index) : NULL;
        it->bridge.foreign =
            ours && other ? spec_arena_printf(out->arena, "%s is a port of it", other) : NULL;
        it->bridge.foreign_port = other != NULL;
        if (run->facts.fixed_sysctls)
            it->kept |= 1u << F_ACCEPT_RA | 1u << F_LOOPBACK;
        /* Neighbours and DHCP servers know it by its MAC, and the host may have its routes by
         * router advertisements there. */
        if (other)
            it->kept |= 1u << F_MAC | 1u << F_ACCEPT_RA;
        if (w && bridge && !run->opt.adopt &&
            rec_state_note(out, spec_arena_printf(out->arena, "bridge %s", l->name),
                           "used as it is, not created by berth"))
            return rec_fail(err, ENOMEM, "out of memory");
        if (bridge && (other || !ours) && rec_link_share(run->links, l->index))
            return rec_fail(err, ENOMEM, "out of memory");
        for (size_t k = 0; bridge && k < links->n_address; k++) {
            const struct net_address *a = &links->address[k];
            char text[SPEC_ADDR_TEXT];
            struct spec_addr s = rec_spec_address(a);
            if (a->index == l->index && a->family == AF_INET6 && a->scope == RT_SCOPE_LINK)
                it->bridge.link_local = true;
            if (a->index == l->index && a->family == AF_INET6 && a->scope == RT_SCOPE_LINK &&
                a->proto == NET_PROTO_BERTH)
                it->bridge.link_local_ours = true;
            if (ours && a->index == l->index && a->proto != NET_PROTO_BERTH &&
                a->scope != RT_SCOPE_LINK)
                it->bridge.foreign = spec_arena_printf(out->arena, "%s is an address on it",
                                                       spec_addr_format(&s, true, text));
        }
    }
    return note_unfiltered(run, out, err);
}

/* What a bridge is to be again that the kernel has moved on by itself: a link-local address that
 * came with its first port is not ours to take away. */
void rec_bridges_settle(const struct rec_state *before, const struct rec_state *now)
{
    for (size_t i = 0; i < before->n; i++) {
        struct rec_item *b = before->items[i];
        const struct rec_item *n =
            b->kind == REC_BRIDGE ? rec_state_find(now, REC_BRIDGE, b->key) : NULL;
        if (b->kind == REC_BRIDGE)
            /* what a killed run had doomed is not to be doomed again */
            b->bridge.doomed = false;
        if (n && !b->bridge.link_local && n->bridge.link_local && !n->bridge.link_local_ours)
            b->stated &= ~(1u << F_LINK_LOCAL);
    }
}

/* ---- what a bridge was before it was adopted
 * --------------------------------------------------------------------- */
static const char *const record_fields[] = {
    [F_MAC] = "mac",
    [F_MTU] = "mtu",
    [F_ACCEPT_RA] = "accept_ra",
    [F_LOOPBACK] = "route_localnet",
    [F_LINK_LOCAL] = "link_local",
    [F_LL_LEARN] = "ll_learn",
    [F_UP] = "up",
};

static const char *record_value(struct spec_arena *a, const struct rec_bridge *b, size_t field)
{
    char mac[18];
    switch (field) {
    case F_MAC:
        return spec_arena_strdup(a, spec_mac_format(b->mac, mac));
    case F_MTU:
        return spec_arena_printf(a, "%u", b->mtu);
    case F_ACCEPT_RA:
        return b->accept_ra ? "1" : "0";
    case F_LOOPBACK:
        return b->loopback ? "1" : "0";
    case F_LINK_LOCAL:
        return b->link_local ? "1" : "0";
    case F_LL_LEARN:
        return b->ll_learn ? "1" : "0";
    default:
        return b->up ? "1" : "0";
    }
}

static int record_fields_of(struct rec_run *run, struct rec_records *rec, const char *prefix,
                            const struct rec_step *s)
{
    int r = 0;
    for (size_t f = 0; !r && f < sizeof record_fields / sizeof *record_fields; f++)
        if (record_fields[f] && s->changed & 1u << f)
            r = rec_record_add(run, rec,
                               spec_arena_printf(run->arena, "%s%s", prefix, record_fields[f]),
                               record_value(run->arena, &s->from->bridge, f));
    return r;
}

/* Before the steps are done: what is about to be changed of a bridge that is, or was, adopted.
 * After: what was given back is forgotten. */
static int remember_bridges(struct rec_run *run, struct rec_step *const *steps, size_t n, bool done,
                            struct rec_error *err)
{
    struct rec_records rec;
    bool changed = false;
    int r = rec_adopted_read(run, &rec, err);
    for (size_t i = 0; !r && i < n; i++) {
        const struct rec_step *s = steps[i];
        bool adopts = s->action == REC_ADOPT && !s->unmark;
        const char *prefix = spec_arena_printf(run->arena, "bridge/%s/", s->to->key);
        const char *addresses = spec_arena_printf(run->arena, "address/%s/", s->to->key);
        if (!prefix || !addresses)
            return rec_fail(err, ENOMEM, "out of memory");
        bool gone = done ? s->unmark && s->state != REC_FAILED : adopts || s->action == REC_CREATE;
        if (gone)
            changed |= rec_record_drop(&rec, prefix);
        /* The adopted link was deleted, and its addresses with it. berth owns the new link
         * alone. */
        if (!done && s->action == REC_CREATE)
            changed |= rec_record_drop(&rec, addresses);
        size_t before = rec.n;
        const char *group = spec_arena_printf(run->arena, "%sgroup", prefix);
        if (!done && adopts)
            r = rec_record_add(run, &rec, group,
                               spec_arena_printf(run->arena, "%u", s->from->bridge.group));
        if (!r && !done && !s->unmark && s->from && group && rec_record_find(&rec, group))
            r = record_fields_of(run, &rec, prefix, s);
        changed |= rec.n != before;
        if (r)
            return rec_fail(err, ENOMEM, "out of memory");
    }
    return !r && changed ? rec_adopted_write(run, &rec, err) : r;
}

static void take_field(struct rec_item *it, const char *field, const char *value)
{
    char why[128];
    struct rec_bridge *b = &it->bridge;
    size_t f = 0;
    bool on = !strcmp(value, "1");
    while (f < sizeof record_fields / sizeof *record_fields &&
           !(record_fields[f] && !strcmp(record_fields[f], field)))
        f++;
    if (f == sizeof record_fields / sizeof *record_fields ||
        (f == F_MAC && spec_mac_parse(value, strlen(value), b->mac, why)))
        return;
    if (f == F_MTU)
        b->mtu = (uint32_t)strtoul(value, NULL, 10);
    if (f == F_ACCEPT_RA)
        b->accept_ra = on;
    if (f == F_LOOPBACK)
        b->loopback = on;
    if (f == F_LINK_LOCAL)
        b->link_local = on;
    if (f == F_LL_LEARN)
        b->ll_learn = on;
    if (f == F_UP)
        b->up = on;
    it->stated |= 1u << f;
}

int rec_adopted_want(struct rec_run *run, struct rec_state *out, struct rec_error *err)
{
    struct rec_item *it = NULL;
    int r = 0;
    size_t n = out->n;
    for (size_t i = 0; !r && i < run->facts.n_adopted; i++) {
        const struct rec_record *line = &run->facts.adopted[i];
        if (!strncmp(line->name, "address/", 8)) {
            r = rec_adopted_address(out, n, line, err);
            continue;
        }
        char name[16], field[32];
        if (sscanf(line->name, "bridge/%15[^/]/%31s", name, field) != 2)
            continue;
        if (!strcmp(field, "group")) {
            const char *key = spec_arena_strdup(out->arena, name);
            it = NULL;
            if (!key)
                return rec_fail(err, ENOMEM, "out of memory");
            if (rec_state_find(&(struct rec_state){.items = out->items, .n = n}, REC_BRIDGE, name))
                continue;
            if (!(it = rec_state_add(out, REC_BRIDGE, key)))
                return rec_fail(err, ENOMEM, "out of memory");
            it->ours = false;
            it->back = true;
            it->bridge.group = (uint32_t)strtoul(line->value, NULL, 10);
        } else if (it && !strcmp(it->key, name)) {
            take_field(it, field, line->value);
        }
    }
    if (!r)
        rec_state_sort(out);
    return r;
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    (void)from;
    if (!w && have->bridge.foreign) {
        *hint = "take it away by hand first, or keep the bridge in the spec";
        return spec_arena_printf(
            a, "%s, and berth did not put it there: removing the bridge would take it along",
            have->bridge.foreign);
    }
    if (w && have && have->bridge.other_kind) {
        *hint = "choose another name for the bridge";
        return "a link of that name exists and is no bridge";
    }
    return NULL;
}

/* IPv6 hears of a bridge's carrier up to a second late where its ports were up before it, and until
 * then the bridge answers no neighbour. Such a bridge goes up while it has no port; its filters
 * still come before its ports. */
static bool early(const struct rec_step *s)
{
    return s->action == REC_CREATE && s->to->bridge.up && s->to->bridge.link_local &&
           s->to->stated & 1u << F_LINK_LOCAL;
}

static bool never(const struct rec_item *w, const struct rec_item *have)
{
    (void)w;
    return have->bridge.other_kind;
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e;
    struct net_batch *b;
    int r = rec_host_batch(run, steps, n, report, &b);
    if (r)
        return r;
    if (remember_bridges(run, steps, n, false, &e)) {
        rec_report_failed(report, steps[0], &e);
        return -e.code;
    }
    for (size_t i = 0; i < n; i++) {
        const struct rec_step *s = steps[i];
        const struct rec_item *t = s->to;
        struct net_link_ref l = {s->from ? s->from->bridge.index : 0, t->key};
        if (s->action == REC_CREATE) {
            struct net_bridge_new new = {.name = t->key,
                                         .group = REC_GROUP,
                                         .mac = t->stated & 1u << F_MAC ? t->bridge.mac : NULL};
            net_batch_bridge_new(b, &new, REC_TAG(i, REC_PART_LINK));
            /* Apart from its creation: only a change tells the kernel that the bridge is not to
             * follow its ports. */
            if (t->stated & 1u << F_MTU)
                net_batch_link_mtu(b, (struct net_link_ref){0, t->key}, t->bridge.mtu,
                                   REC_TAG(i, REC_PART_MTU));
            if (run->facts.ipv6)
                net_batch_link_no_autoconf(b, (struct net_link_ref){0, t->key},
                                           REC_TAG(i, REC_PART_LINK));
            continue;
        }
        if (s->changed & 1u << F_DOOMED)
            net_batch_link_group(b, l, REC_GROUP, REC_TAG(i, REC_PART_LINK));
        if (s->action == REC_ADOPT)
            net_batch_link_group(b, l, s->unmark ? t->bridge.group : REC_GROUP,
                                 REC_TAG(i, REC_PART_LINK));
        if (s->changed & 1u << F_MAC)
            net_batch_link_mac(b, l, t->bridge.mac, REC_TAG(i, REC_PART_MAC));
        if (s->changed & 1u << F_MTU)
            net_batch_link_mtu(b, l, t->bridge.mtu, REC_TAG(i, REC_PART_MTU));
        if (s->changed & 1u << F_LL_LEARN)
            net_batch_bridge_ll_learn(b, l, t->bridge.ll_learn, REC_TAG(i, REC_PART_LINK));
        for (size_t k = 0;
             s->changed & 1u << F_LINK_LOCAL && !t->bridge.link_local && k < run->links->n_address;
             k++) {
            const struct net_address *a = &run->links->address[k];
            if (a->index == l.index && a->scope == RT_SCOPE_LINK && a->proto == NET_PROTO_BERTH)
                net_batch_address_del(b, a, t->key, REC_TAG(i, REC_PART_LINK));
        }
        if (s->changed & 1u << F_LOOPBACK && !t->bridge.loopback &&
            set("ipv4", t->key, "route_localnet", false, &e))
            rec_report_failed(report, steps[i], &e);
    }
    struct rec_outcomes o = {steps, n, report};
    struct net_error ne;
    r = net_batch_send(b, rec_refused, &o, &ne);
    for (size_t i = 0; i < n; i++)
        if (early(steps[i]) && steps[i]->state == REC_PENDING) {
            if (set("ipv6", steps[i]->to->key, "accept_ra", false, &e))
                rec_report_failed(report, steps[i], &e);
            else
                net_batch_link_up(b, (struct net_link_ref){0, steps[i]->to->key}, true,
                                  REC_TAG(i, REC_PART_LINK));
        }
    return r ? r : net_batch_send(b, rec_refused, &o, &ne);
}

/* fe80::/64 and the MAC as EUI-64 (RFC 4291, appendix A). */
static int add_link_local(struct rec_run *run, struct net_batch *b, const struct rec_item *t,
                          uint32_t tag, struct rec_error *err)
{
    const uint8_t *m = t->bridge.mac;
    struct net_address a = {.family = AF_INET6,
                            .prefix = 64,
                            .scope = RT_SCOPE_LINK,
                            .proto = NET_PROTO_BERTH,
                            .bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff,
                                      0xfe, m[3], m[4], m[5]}};
    int r = rec_link_index(run, t->key, &a.index, err);
    if (!r)
        net_batch_address_new(b, &a, t->key, tag);
    return r;
}

/* Of a bridge that somebody else made, the kernel adds the link-local address itself once a port
 * is up. */
static void refused_unless_there(void *arg, const struct net_error *e)
{
    bool link_local = e->tag && REC_TAG_PART(e->tag) == REC_PART_ADDRESS6;
    if (!link_local || e->code != EEXIST)
        rec_refused(arg, e);
}

/* Now that filters and ports are there. The steps are reported here: until its bridge is up a
 * creation is not done. */
static int finish(struct rec_run *run, struct rec_step *const *steps, size_t n,
                  struct rec_report *report)
{
    struct rec_error e;
    struct net_batch *b;
    int r = rec_host_batch(run, steps, n, report, &b);
    if (r)
        return r;
    for (size_t i = 0; i < n; i++) {
        const struct rec_step *s = steps[i];
        const struct rec_item *t = s->to;
        bool new = s->action == REC_CREATE;
        r = 0;
        if (s->state != REC_PENDING)
            continue;
        bool grown = (new && !early(s)) || s->changed & 1u << F_MTU;
        if ((grown && t->stated & 1u << F_ACCEPT_RA && !t->bridge.accept_ra) ||
            s->changed & 1u << F_ACCEPT_RA)
            r = set_accept_ra(t->key, t->bridge.accept_ra, &e);
        /* Without it, deleting our address would take another's of the same subnet along. */
        if (!r && new)
            r = set("ipv4", t->key, "promote_secondaries", true, &e);
        if (!r && t->bridge.loopback && (new || s->changed & 1u << F_LOOPBACK))
            r = set("ipv4", t->key, "route_localnet", true, &e);
        if (!r && t->bridge.link_local && (new ? t->stated : s->changed) & 1u << F_LINK_LOCAL)
            r = add_link_local(run, b, t, REC_TAG(i, REC_PART_ADDRESS6), &e);
        if (r)
            rec_report_failed(report, steps[i], &e);
        else if (new ? t->bridge.up && !early(s) : (s->changed & 1u << F_UP) != 0)
            net_batch_link_up(b, (struct net_link_ref){s->from ? s->from->bridge.index : 0, t->key},
                              t->bridge.up, REC_TAG(i, REC_PART_LINK));
    }
    struct rec_outcomes o = {steps, n, report};
    struct net_error ne;
    r = net_batch_send(b, refused_unless_there, &o, &ne);
    rec_rest_done(&o);
    if (remember_bridges(run, steps, n, true, &e))
        rec_report_failed(report, NULL, &e);
    return r;
}

const struct rec_kind rec_kind_bridge = {
    .name = "bridge",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .want = want,
    .read = read_bridges,
    .conflict = conflict,
    .never = never,
    .marks = true,
    .apply = apply,
    .remove = rec_links_remove,
    .finish = finish,
};
