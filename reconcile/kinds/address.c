/* Addresses of bridges. The protocol field of an address says whose it is; one that somebody else
 * put on our bridge stays and is told of. An IPv6 address is one whatever its prefix, so a
 * change of prefix is a replacement. */
#include "reconcile/kinds.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { F_PREFIX };
static const struct rec_field fields[] = {
    [F_PREFIX] = {"prefix length", REC_T_U32, offsetof(struct rec_item, address.prefix),
                  REC_RECREATE},
};

static struct rec_item *add(struct rec_state *out, const char *link, const struct spec_addr *a)
{
    char text[SPEC_ADDR_TEXT];
    const char *key =
        spec_arena_printf(out->arena, "%s %s", link, spec_addr_format(a, a->family == 4, text));
    struct rec_item *it = key ? rec_state_add(out, REC_ADDRESS, key) : NULL;
    if (it) {
        it->address = (struct rec_address){
            .link = link, .addr = rec_net_address(a), .text = *a, .prefix = a->prefix};
        it->stated = 1u << F_PREFIX;
    }
    return it;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    for (size_t i = 0; i < h->n_bridges; i++)
        for (size_t k = 0; k < h->bridges[i].n_addresses; k++) {
            if (h->bridges[i].addresses[k].addr.family == 6 && run->facts.no_ipv6 &&
                run->facts.no_ipv6[i])
                continue; /* kinds/bridge.c warns */
            struct rec_item *it = add(out, h->bridges[i].name, &h->bridges[i].addresses[k].addr);
            if (!it)
                return rec_fail(err, ENOMEM, "out of memory");
            it->at = h->bridges[i].addresses[k].at;
        }
    return 0;
}

static int read_addresses(struct rec_run *run, const struct rec_state *wanted,
                          struct rec_state *out, struct rec_error *err)
{
    const struct rec_links *links = run->links;
    for (size_t i = 0; i < links->n_address; i++) {
        const struct net_address *a = &links->address[i];
        const struct net_link *l = rec_link_indexed(links, a->index);
        if (!l || strcmp(l->kind, "bridge") || a->scope == RT_SCOPE_LINK)
            continue;
        bool our_link = l->group == REC_GROUP, ours = a->proto == NET_PROTO_BERTH;
        if (!our_link && !ours && !rec_state_find(wanted, REC_BRIDGE, l->name))
            continue;
        struct spec_addr s = rec_spec_address(a);
        char *name = spec_arena_strdup(out->arena, l->name);
        struct rec_item *it = name ? add(out, name, &s) : NULL;
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->address.addr = *a;
        it->ours = ours;
        if (!ours && our_link && !rec_state_find(wanted, REC_ADDRESS, it->key)) {
            char text[SPEC_ADDR_TEXT];
            rec_state_note(out, l->name, "%s was put there by somebody else; it is kept",
                           spec_addr_format(&s, true, text));
        }
    }
    return 0;
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    if (!w || have)
        return NULL;
    const struct rec_item *bridge = rec_state_find(from, REC_BRIDGE, w->address.link);
    if (!bridge || bridge->ours)
        return NULL;
    *hint = "give --adopt to take the bridge over, or change the spec or the host";
    return spec_arena_printf(
        a, "bridge %s does not have this address, and berth did not make the bridge",
        w->address.link);
}

static const char *record_name(struct spec_arena *a, const struct rec_item *i)
{
    char text[SPEC_ADDR_TEXT];
    return spec_arena_printf(a, "address/%s/%s", i->address.link,
                             spec_addr_format(&i->address.text, true, text));
}

/* Before the steps are done: whose the addresses were that are taken over. After: the record drops
 * what was given back or removed. */
static int remember_owners(struct rec_run *run, struct rec_step *const *steps, size_t n, bool done,
                           struct rec_error *err)
{
    struct rec_records rec = {0};
    bool changed = false, read = false;
    int r = 0;
    for (size_t i = 0; !r && i < n; i++) {
        const struct rec_step *s = steps[i];
        bool taken = s->from && s->to && !s->from->ours && s->to->ours,
             given = s->from && s->to && s->from->ours && !s->to->ours;
        bool gone = given || s->action == REC_REMOVE;
        if (done ? !gone || s->state != REC_DONE : !taken)
            continue;
        if (!read && (r = rec_adopted_read(run, &rec, err)))
            break;
        read = true;
        const char *name = record_name(run->arena, done && given ? s->to : s->from);
        if (!name)
            return rec_fail(err, ENOMEM, "out of memory");
        changed |= rec_record_drop(&rec, name);
        if (done)
            continue;
        if (rec_record_add(run, &rec, name,
                           spec_arena_printf(run->arena, "%u", s->from->address.addr.proto)))
            return rec_fail(err, ENOMEM, "out of memory");
        changed = true;
    }
    return !r && changed ? rec_adopted_write(run, &rec, err) : r;
}

int rec_adopted_address(struct rec_state *out, size_t n, const struct rec_record *line,
                        struct rec_error *err)
{
    char why[128];
    struct spec_addr a;
    const char *link = line->name + strlen("address/"), *slash = strchr(link, '/');
    if (!slash || spec_addr_parse(slash + 1, strlen(slash + 1), &a, why))
        return 0; /* a damaged line is a lost way back, no more */
    const char *name = spec_arena_strndup(out->arena, link, (size_t)(slash - link));
    struct rec_state one = {.arena = out->arena};
    struct rec_item *it = name ? add(&one, name, &a) : NULL;
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    if (rec_state_find(&(struct rec_state){.items = out->items, .n = n}, REC_ADDRESS, it->key))
        return 0;
    it->address.addr.proto = (uint8_t)strtoul(line->value, NULL, 10);
    it->ours = false;
    it->back = true;
    return rec_state_push(out, it) ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e;
    struct net_batch *b;
    int r = rec_host_batch(run, steps, n, report, &b);
    if (r)
        return r;
    if (remember_owners(run, steps, n, false, &e)) {
        rec_report_failed(report, steps[0], &e);
        return -e.code;
    }
    const char *link = NULL;
    int index = 0;
    for (size_t i = 0; i < n; i++) {
        struct rec_step *s = steps[i];
        if (s->implied)
            continue;
        if (s->action == REC_ADOPT) {
            net_batch_address_mark(b, &s->from->address.addr, s->from->address.link,
                                   s->unmark ? s->to->address.addr.proto : NET_PROTO_BERTH,
                                   REC_TAG(i, REC_PART_LINK));
            continue;
        }
        if (s->from)
            net_batch_address_del(b, &s->from->address.addr, s->from->address.link,
                                  REC_TAG(i, REC_PART_LINK));
        if (!s->to)
            continue;
        if (!link || strcmp(link, s->to->address.link)) {
            link = s->to->address.link;
            if (rec_link_index(run, link, &index, &e)) {
                e.at = s->at;
                rec_report_failed(report, s, &e);
                link = NULL;
                continue;
            }
        }
        struct net_address a = s->to->address.addr;
        a.index = index;
        if (s->to->ours)
            net_batch_address_new(b, &a, link, REC_TAG(i, REC_PART_LINK));
        else
            net_batch_address_back(b, &a, link, REC_TAG(i, REC_PART_LINK));
    }
    struct rec_outcomes o = {steps, n, report};
    struct net_error ne;
    r = net_batch_send(b, rec_refused, &o, &ne);
    rec_rest_done(&o);
    if (remember_owners(run, steps, n, true, &e))
        rec_report_failed(report, NULL, &e);
    return r;
}

const struct rec_kind rec_kind_address = {
    .name = "address",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .want = want,
    .read = read_addresses,
    .conflict = conflict,
    .marks = true,
    .apply = apply,
};
