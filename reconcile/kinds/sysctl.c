/* Forwarding: settings with one value for the whole host, so never a conflict, but always given
 * back. What was there before stands in a record that is written before the change; writing the
 * global switch changes every link's own, so these are recorded too. */
#include "netops/sysctl.h"
#include "reconcile/kinds.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define FORWARD4 "net/ipv4/ip_forward"
#define FORWARD6 "net/ipv6/conf/all/forwarding"

static const struct rec_field fields[] = {
    {"value", REC_T_STRING, offsetof(struct rec_item, sysctl.value), REC_LIVE}};

static int add(struct rec_state *out, const char *key, const char *value, struct spec_loc at,
               struct rec_error *err)
{
    struct rec_item *it = key ? rec_state_add(out, REC_SYSCTL, key) : NULL;
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->sysctl.value = value;
    it->stated = 1;
    it->at = at;
    return 0;
}

/* accept_ra 1 means "unless the host forwards": the kernel then drops the default routes that it
 * learned. With 2 it keeps them. */
static int want_ra(struct rec_run *run, struct rec_state *out, struct spec_loc at,
                   struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; !r && i < run->facts.n_ra; i++) {
        const struct rec_ra *l = &run->facts.ra[i];
        r = add(out, spec_arena_printf(out->arena, "net/ipv6/conf/%s/accept_ra", l->link), "2", at,
                err);
        if (r || !l->stuck)
            continue;
        const char *object = spec_arena_printf(out->arena, "link %s", l->link);
        const char *hint = spec_arena_printf(
            out->arena, "make it writable, then: sysctl -w net/ipv6/conf/%s/accept_ra=2", l->link);
        const char *text = l->route
                               ? "its IPv6 default route comes from router advertisements and "
                                 "would be lost once the host forwards"
                               : "it would ignore router advertisements once the host forwards";
        if (!object || !hint ||
            rec_state_warn(out, object, hint, "%s: accept_ra cannot be set to 2: %s", text,
                           l->stuck))
            r = rec_fail(err, ENOMEM, "out of memory");
    }
    return r;
}

/* NAT by `auto` of a bridge with IPv6 has no link to go out by. */
static bool awaits_ipv6(const struct rec_run *run, const struct spec_host *h)
{
    for (size_t i = 0; i < h->n_bridges; i++)
        if (h->bridges[i].nat.uplink == SPEC_UPLINK_AUTO && rec_bridge_has(&h->bridges[i], 6) &&
            !run->facts.uplink6[0])
            return true;
    return false;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
{
    const struct spec_bridge *b4 = rec_host_forwards(h, 4), *b6 = rec_host_forwards(h, 6);
    int r = b4 ? add(out, FORWARD4, "1", b4->nat.given ? b4->nat.at : b4->at, err) : 0;
    if (r || !b6 || !run->facts.ipv6 || (run->opt.await_ipv6 && awaits_ipv6(run, h)))
        return r;
    struct spec_loc at = b6->nat.given ? b6->nat.at : b6->at;
    r = add(out, FORWARD6, "1", at, err);
    return r ? r : want_ra(run, out, at, err);
}

static int read_one(struct rec_state *out, const char *key, const struct rec_records *rec,
                    struct rec_error *err)
{
    char value[64];
    struct net_error e;
    int r = net_sysctl_read(key, value, &e);
    if (r)
        return r == -ENOENT ? 0 : rec_fail_net(err, &e);
    struct rec_item *it = rec_state_add(out, REC_SYSCTL, key);
    if (!it || !(it->sysctl.value = spec_arena_strdup(out->arena, value)))
        return rec_fail(err, ENOMEM, "out of memory");
    it->sysctl.before = rec_record_find(rec, key);
    it->ours = it->sysctl.before != NULL;
    it->stated = 1;
    return 0;
}

/* /proc/sys is read-only: nothing is planned, and what differs is told. */
static int keep_fixed(const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    size_t differ = 0;
    char list[400] = "";
    for (size_t k = 0; k < out->n; k++) {
        struct rec_item *have = out->items[k];
        const struct rec_item *w =
            have->kind == REC_SYSCTL ? rec_state_find(wanted, REC_SYSCTL, have->key) : NULL;
        size_t len = strlen(list);
        if (!w)
            continue;
        have->kept = 1;
        if (!strcmp(have->sysctl.value, w->sysctl.value))
            continue;
        if (!differ++ || len + strlen(w->key) + 24 < sizeof list)
            snprintf(list + len, sizeof list - len, "%s%s is %.8s and must be %.8s",
                     len ? ", " : "", w->key, have->sysctl.value, w->sysctl.value);
    }
    const char *hint = "set them where this host is started, or: mount -o remount,rw /proc/sys";
    int r = differ ? rec_state_warn(out, "/proc/sys", hint, "it is mounted read-only: %s", list)
                   : rec_state_note(out, "/proc/sys",
                                    "it is mounted read-only: kernel settings stay as they are");
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

static bool switch_of(const char *key)
{
    return !strcmp(key, FORWARD4) || !strcmp(key, FORWARD6) || strstr(key, "/accept_ra");
}

static int read_sysctls(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                        struct rec_error *err)
{
    struct rec_records rec;
    int r = rec_records_read(run, &rec, err);
    if (r == -EACCES && !run->facts.root) {
        rec.n = 0; /* what it was before is only for destroy */
        r = 0;
    }
    for (size_t i = 0; !r && i < wanted->n; i++)
        if (wanted->items[i]->kind == REC_SYSCTL)
            r = read_one(out, wanted->items[i]->key, &rec, err);
    if (!r && run->facts.fixed_sysctls)
        return keep_fixed(wanted, out, err);
    for (size_t i = 0; !r && i < rec.n; i++)
        if (switch_of(rec.list[i].name) && !rec_state_find(wanted, REC_SYSCTL, rec.list[i].name))
            r = read_one(out, rec.list[i].name, &rec, err);
    return r;
}

struct recorder {
    struct rec_run *run;
    struct rec_records *rec;
    const char *family;
    struct net_error error; /* of a value that could not be read */
};

/* A setting that does not exist needs no record. Any other error must stop the step: destroy
 * could not give the value back. */
static int record_one(struct recorder *k, const char *name)
{
    char value[64];
    if (rec_record_find(k->rec, name))
        return 0;
    int r = net_sysctl_read(name, value, &k->error);
    if (r)
        return r == -ENOENT ? 0 : r;
    struct spec_arena *a = k->run->arena;
    struct rec_record *list =
        spec_arena_grow(a, k->rec->list, k->rec->n * sizeof *list, (k->rec->n + 1) * sizeof *list);
    if (!list)
        return -ENOMEM;
    k->rec->list = list;
    list[k->rec->n] = (struct rec_record){spec_arena_strdup(a, name), spec_arena_strdup(a, value)};
    return list[k->rec->n].name && list[k->rec->n++].value ? 0 : -ENOMEM;
}

static int record_link(void *arg, const char *link)
{
    struct recorder *k = arg;
    char name[96];
    const struct net_link *l = rec_link_named(k->run->links, link);
    if (l && rec_group_ours(l->group))
        return 0; /* ours: it goes before the way back is needed */
    snprintf(name, sizeof name, "net/%s/conf/%s/forwarding", k->family, link);
    return record_one(k, name);
}

/* Everything that setting `key` will change. */
static int record_all(struct rec_run *run, struct rec_records *rec, const char *key,
                      struct rec_error *err)
{
    struct recorder k = {.run = run, .rec = rec};
    int r = record_one(&k, key), family = 0;
    if (!strcmp(key, FORWARD4))
        family = AF_INET;
    if (!strcmp(key, FORWARD6))
        family = AF_INET6;
    k.family = family == AF_INET6 ? "ipv6" : "ipv4";
    struct net_error e = {0};
    if (!r && family)
        r = net_sysctl_links(family, record_link, &k, &e);
    if (r == -ENOMEM)
        return rec_fail(err, ENOMEM, "out of memory");
    if (r)
        return rec_fail_net(err, k.error.code && k.error.code != ENOENT ? &k.error : &e);
    return 0;
}

static int write_value(const char *key, const char *value, struct rec_error *err)
{
    struct net_error e;
    char now[64];
    if (!net_sysctl_read(key, now, NULL) && !strcmp(now, value))
        return 0;
    return net_sysctl_write(key, value, &e) ? rec_fail_net(err, &e) : 0;
}

/* Setting `key` changes the setting `name`. */
static bool comes_with(const char *name, const char *key)
{
    const char *prefix = !strcmp(key, FORWARD4)   ? "net/ipv4/conf/"
                         : !strcmp(key, FORWARD6) ? "net/ipv6/conf/"
                                                  : NULL;
    const char *end = strrchr(name, '/');
    if (!strcmp(name, key))
        return true;
    return prefix && !strncmp(name, prefix, strlen(prefix)) && !strcmp(end, "/forwarding") &&
           strcmp(name, FORWARD6);
}

/* Give back: the switch first, since it sets all links, then what single links had; and their
 * records go. Where one could not be given back all records stay: the next destroy needs them. */
static int give_back(struct rec_records *rec, const char *key, struct rec_error *err)
{
    const char *before = rec_record_find(rec, key);
    int r = before ? write_value(key, before, err) : 0;
    size_t kept = 0;
    for (size_t i = 0; !r && i < rec->n; i++) {
        const char *name = rec->list[i].name;
        char now[64];
        /* conf/all is the switch itself; a link that has gone meanwhile has nothing to get back. */
        if (!comes_with(name, key) || !strcmp(name, key) || strstr(name, "/conf/all/"))
            continue;
        if (net_sysctl_read(name, now, NULL) != -ENOENT)
            r = write_value(name, rec->list[i].value, err);
    }
    for (size_t i = 0; !r && i < rec->n; i++)
        if (!comes_with(rec->list[i].name, key))
            rec->list[kept++] = rec->list[i];
    if (!r)
        rec->n = kept;
    return r;
}

/* Links that have gone have nothing to get back; a later link of that name is another one. */
static void forget_gone(struct rec_records *rec)
{
    size_t kept = 0;
    for (size_t i = 0; i < rec->n; i++) {
        char now[64];
        if (net_sysctl_read(rec->list[i].name, now, NULL) != -ENOENT)
            rec->list[kept++] = rec->list[i];
    }
    rec->n = kept;
}

/* A step towards a value that was not ours is the way back (undo); the record knows it best. */
static bool takes(const struct rec_step *s)
{
    return s->to && s->to->ours;
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    struct rec_error e;
    struct rec_records rec;
    int r = rec_records_read(run, &rec, &e);
    if (r) {
        rec_report_failed(report, n ? steps[0] : NULL, &e);
        return r;
    }
    size_t before = rec.n;
    for (size_t i = 0; !r && i < n; i++)
        if (takes(steps[i]))
            r = record_all(run, &rec, steps[i]->to->key, &e);
    if (!r && rec.n != before)
        /* before the change: a kill in between loses no way back */
        r = rec_records_write(run, &rec, &e);
    if (r) {
        rec_report_failed(report, steps[0], &e);
        return r;
    }
    bool gave = false;
    bool deaf = false; /* a link would lose its router, were forwarding switched on now */
    for (size_t i = 0; i < n; i++) {
        struct rec_step *s = steps[i];
        if (deaf && takes(s) && !strcmp(s->to->key, FORWARD6))
            continue;
        int k = takes(s) ? write_value(s->to->key, s->to->sysctl.value, &e)
                         : give_back(&rec, s->from->key, &e);
        gave |= !takes(s);
        if (k) {
            e.at = s->at;
            rec_report_failed(report, s, &e);
            r = k;
            deaf |= takes(s) && strstr(s->to->key, "/accept_ra");
            if (takes(s)) { /* what was not taken needs no way back */
                give_back(&rec, s->to->key, NULL);
                gave = true;
            }
        } else {
            rec_report_done(report, s);
        }
    }
    if (gave)
        forget_gone(&rec);
    if (gave && rec_records_write(run, &rec, &e)) {
        rec_report_failed(report, NULL, &e);
        r = -e.code;
    }
    return r;
}

const struct rec_kind rec_kind_sysctl = {
    .name = "sysctl",
    .fields = fields,
    .n_fields = 1,
    .want = want,
    .read = read_sysctls,
    .shared = true,
    .apply = apply,
};
