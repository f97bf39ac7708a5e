/* status and list: the plan again, looked at from the side of the resources. */
#include "cmd/cmd.h"
#include "cmd/render/render.h"
#include "reconcile/overlap.h"
#include "reconcile/record.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct view {
    struct rec_state want, have;
    struct rec_plan *plan;
    struct cmd_render_resource *list;
    size_t n;
};

static int compare_resources(const void *a, const void *b)
{
    const struct cmd_render_resource *x = a, *y = b;
    return x->item == y->item ? 0 : (uintptr_t)x->item < (uintptr_t)y->item ? -1 : 1;
}

static struct cmd_render_resource *find(struct cmd_render_resource *list, size_t n,
                                        const struct rec_item *item)
{
    struct cmd_render_resource key = {.item = item};
    return n ? bsearch(&key, list, n, sizeof *list, compare_resources) : NULL;
}

static enum cmd_render_sync sync_of(const struct rec_step *s)
{
    switch (s->action) {
    case REC_CREATE:
        return CMD_MISSING;
    case REC_REMOVE:
        return CMD_UNWANTED;
    case REC_CHANGE:
    case REC_REPLACE:
    case REC_ADOPT:
        return CMD_DIFFERS;
    }
    return CMD_DIFFERS;
}

/* As people read it: the host's own things, then each container's together, ordered by kind. */
static int compare_shown(const void *a, const void *b)
{
    const struct rec_item *x = ((const struct cmd_render_resource *)a)->item,
                          *y = ((const struct cmd_render_resource *)b)->item;
    if (!x->container != !y->container)
        return x->container ? 1 : -1;
    int c = x->container ? strcmp(x->container, y->container) : 0;
    if (!c && x->kind != y->kind)
        c = x->kind < y->kind ? -1 : 1;
    return c ? c : strcmp(x->key, y->key);
}

/* Steps and conflicts, sorted by the item that they are about. */
static int fill(struct spec_arena *a, struct view *v, bool spec)
{
    size_t n_about = v->plan->n + v->plan->n_conflicts, k = 0;
    struct cmd_render_resource *about = spec_arena_alloc(a, (n_about + 1) * sizeof *about);
    v->list = spec_arena_alloc(a, (v->want.n + v->have.n + 1) * sizeof *v->list);
    if (!about || !v->list)
        return -ENOMEM;
    for (size_t i = 0; i < v->plan->n; i++) {
        const struct rec_step *s = v->plan->steps[i];
        about[k++] = (struct cmd_render_resource){
            .item = s->to ? s->to : s->from, .step = s, .object = s->object, .sync = sync_of(s)};
    }
    for (size_t i = 0; i < v->plan->n_conflicts; i++) {
        const struct rec_conflict *f = &v->plan->conflicts[i];
        about[k++] = (struct cmd_render_resource){.item = f->to ? f->to : f->from,
                                                  .conflict = f,
                                                  .object = f->object,
                                                  .sync = CMD_FOREIGN};
    }
    qsort(about, n_about, sizeof *about, compare_resources);
    for (size_t i = 0; i < v->want.n; i++) {
        const struct cmd_render_resource *r = find(about, n_about, v->want.items[i]);
        if (v->want.items[i]->back && (!spec || !r))
            continue;
        v->list[v->n++] = r ? *r
                            : (struct cmd_render_resource){
                                  .item = v->want.items[i],
                                  .object = rec_item_object(a, v->want.items[i]),
                                  .sync = v->want.items[i]->unknown ||
                                                  v->plan->unknown & 1u << v->want.items[i]->kind
                                              ? CMD_UNKNOWN
                                              : CMD_IN_SYNC};
    }
    for (size_t i = 0; i < v->have.n; i++) {
        const struct rec_item *h = v->have.items[i];
        const struct cmd_render_resource *r = find(about, n_about, h);
        if (spec ? r != NULL : h->ours)
            v->list[v->n++] = spec ? *r
                                   : (struct cmd_render_resource){.item = h,
                                                                  .object = rec_item_object(a, h),
                                                                  .sync = CMD_OURS};
    }
    if (v->n)
        qsort(v->list, v->n, sizeof *v->list, compare_shown);
    for (size_t i = 0; i < v->n; i++)
        if (!v->list[i].object)
            return -ENOMEM;
    return 0;
}

static enum cmd_exit look(struct cmd *c, enum cmd_need need, const char *format, struct view *v)
{
    struct rec_error err;
    *v = (struct view){0};
    enum cmd_exit code = cmd_load(c, need, format);
    if (code != CMD_OK)
        return code;
    code = cmd_open(c, &err);
    if (code == CMD_OK) {
        struct rec_build build = {.plan = true};
        int r = rec_build(c->run, c->host, &build, &err);
        if (!r)
            r = rec_want(c->run, c->host, &v->want, &err);
        if (!r)
            r = rec_read(c->run, &v->want, &v->have, &err);
        if (!r)
            r = rec_plan(c->run, &v->have, &v->want, NULL, NULL, &v->plan, &err);
        if (!r && c->host) {
            c->run->opt.own_connection = true; /* status refuses nothing: it warns */
            r = rec_overlap_find(c->run, v->plan, &err);
        }
        if (!r && fill(c->run->arena, v, c->host != NULL))
            r = rec_fail(&err, ENOMEM, "out of memory");
        code = r ? cmd_exit_of_errno(-r) : CMD_OK;
    }
    return code == CMD_OK ? code : cmd_fail(c, format, code, &err);
}

int cmd_status(struct cmd *c)
{
    struct view v;
    enum cmd_exit code = look(c, CMD_SPEC_IF_FOUND, "berth.status", &v);
    if (code != CMD_OK)
        return code;
    struct cmd_render_status s = {.host = c->host ? c->host->name : NULL,
                                  .file = c->file.name,
                                  .list = v.list,
                                  .n = v.n,
                                  .plan = v.plan,
                                  .quiet = c->args.quiet,
                                  .git = c->git,
                                  .now = time(NULL)};
    struct rec_applied applied;
    struct rec_error err;
    s.path = c->file.path;
    s.held = c->run->facts.held;
    s.held_why = c->run->facts.held_why;
    s.n_held = c->run->facts.n_held;
    cmd_name_spec(c);
    /* without root it is not known, and not said */
    if (!rec_applied_read(c->run, &applied, &err))
        s.applied = &applied;
    if (c->args.json)
        cmd_render_status_json(&c->out, &s);
    else
        cmd_render_status_text(&c->out, &s);
    if (c->args.quiet && !c->args.json && v.plan)
        cmd_render_warnings(&c->err, v.plan);
    bool differs =
        c->host && (v.plan->n || v.plan->n_conflicts || v.plan->unknown || v.plan->n_not_known);
    return differs && c->args.exit_code ? CMD_PENDING : CMD_OK;
}

static bool listed(const struct cmd *c, const char *name)
{
    for (size_t i = 0; i < c->args.n_names; i++)
        if (!strcmp(c->args.names[i], name))
            return true;
    return !c->args.n_names;
}

static const char *address_of(struct spec_arena *a, const struct spec_container *spec,
                              const struct rec_item *port)
{
    char text[2][SPEC_ADDR_TEXT] = {"", ""};
    for (int f = 0; spec && f < 2; f++)
        if (spec->address[f].addr.family)
            spec_addr_format(&spec->address[f].addr, false, text[f]);
    for (size_t i = 0; !spec && port && i < port->port.n_address; i++) {
        const struct net_address *n = &port->port.address[i];
        struct spec_addr s = {.family = n->prefix > 32 || n->family == 10 /* AF_INET6 */ ? 6 : 4,
                              .prefix = n->prefix};
        memcpy(s.bytes, n->bytes, s.family == 6 ? 16 : 4);
        if (!*text[s.family == 6])
            spec_addr_format(&s, false, text[s.family == 6]);
    }
    return spec_arena_printf(a, "%s%s%s", text[0], *text[0] && *text[1] ? " " : "", text[1]);
}

static const char *root_of(struct spec_arena *a, enum spec_runtime rt,
                           const struct spec_container *spec, const struct rec_item *system)
{
    if (rt == SPEC_RT_NIXOS && system && system->system.profile && *system->system.profile)
        return spec_arena_strdup(a, system->system.profile);
    if (rt != SPEC_RT_NSPAWN)
        return NULL;
    if (spec && spec->nspawn.given && spec->nspawn.root != SPEC_ROOT_HOST)
        return spec->nspawn.path.text;
    if (system && system->system.path)
        return spec_arena_strdup(a, system->system.path);
    return spec ? "host" : NULL;
}

/* All that is known of one container: items [from, to) of the view are its own. */
static struct cmd_render_container container(struct cmd *c, const struct view *v, size_t from,
                                             size_t to)
{
    struct spec_arena *a = c->run->arena;
    const char *name = v->list[from].item->container;
    struct cmd_render_container out = {.name = name, .sync = "in sync"};
    const struct spec_container *spec = NULL;
    enum spec_runtime rt = SPEC_RT_AUTO;
    size_t unwanted = 0, differ = 0, foreign = 0, unknown = 0;
    for (size_t i = from; i < to; i++) {
        spec = v->list[i].item->spec ? v->list[i].item->spec : spec;
        rt = v->list[i].item->runtime != SPEC_RT_AUTO ? v->list[i].item->runtime : rt;
        unwanted += v->list[i].sync == CMD_UNWANTED;
        differ += v->list[i].sync == CMD_DIFFERS || v->list[i].sync == CMD_MISSING;
        foreign += v->list[i].sync == CMD_FOREIGN;
        unknown += v->list[i].sync == CMD_UNKNOWN;
    }
    for (size_t i = 0; c->host && !spec && i < c->host->n_containers; i++)
        if (!strcmp(c->host->containers[i].name, name))
            spec = &c->host->containers[i];
    if (spec && rt == SPEC_RT_AUTO)
        rt = rec_runtime_of(c->run, spec);
    const struct rec_item *run = rec_state_find(&v->have, REC_RUN, name),
                          *netns = rec_state_find(&v->have, REC_NETNS, name);
    const struct rec_item *wanted = rec_state_find(&v->want, REC_RUN, name);
    if (!spec && rt == SPEC_RT_AUTO && netns && netns->ours)
        rt = SPEC_RT_NETNS; /* nothing that could run in it is here */
    const char *held = rec_hold_find(a, name);
    bool alive = rt == SPEC_RT_NETNS ? netns && netns->ours : run && run->run.running;
    bool shall = rt == SPEC_RT_NETNS ? rec_state_find(&v->want, REC_NETNS, name) != NULL
                                     : wanted && wanted->run.running;
    out.held = alive ? NULL : held;
    out.runtime = cmd_runtime_name(rt);
    out.state = alive          ? "running"
                : held         ? "held"
                : !shall       ? "stopped"
                : netns || run ? "dead"
                               : "missing";
    out.address = address_of(a, spec, rec_state_find(&v->have, REC_PORT, name));
    out.root = root_of(a, rt, spec, rec_state_find(&v->have, REC_SYSTEM, name));
    if (alive && run) {
        out.started_ms = run->run.started_ms;
        out.leader = run->run.leader;
    }
    if (v->have.unknown)
        out.state = out.sync = "unknown";
    else if (!c->host)
        out.sync = NULL;
    else if (foreign)
        out.sync = "in the way";
    else if (unwanted && !spec)
        out.sync = "not in the spec";
    else if (unwanted + differ)
        out.sync = spec_arena_printf(a, "%zu to do", unwanted + differ);
    else if (unknown)
        out.sync = "not known";
    return out;
}

int cmd_list(struct cmd *c)
{
    struct view v;
    enum cmd_exit code = look(c, CMD_SPEC_IF_GOOD, "berth.list", &v);
    if (code != CMD_OK)
        return code;
    struct timespec t;
    struct rec_error err;
    clock_gettime(CLOCK_BOOTTIME, &t);
    size_t room = v.n + (c->host ? c->host->n_containers : 0), n = 0;
    struct cmd_render_container *list = spec_arena_alloc(c->run->arena, (room + 1) * sizeof *list);
    if (!list) {
        rec_fail(&err, ENOMEM, "out of memory");
        return cmd_fail(c, "berth.list", CMD_FAILED, &err);
    }
    /* the spec's containers are sorted by name, as the view's are: one that has no item at all is
     * stopped */
    size_t s = 0;
    for (size_t i = 0; i < v.n;) {
        size_t k = i + 1;
        const char *name = v.list[i].item->container;
        while (name && k < v.n && !strcmp(v.list[k].item->container, name))
            k++;
        for (; name && c->host && s < c->host->n_containers &&
               strcmp(c->host->containers[s].name, name) <= 0;
             s++)
            if (strcmp(c->host->containers[s].name, name) && listed(c, c->host->containers[s].name))
                list[n++] = (struct cmd_render_container){.name = c->host->containers[s].name};
        if (name && listed(c, name))
            list[n++] = container(c, &v, i, k);
        i = k;
    }
    for (; c->host && s < c->host->n_containers; s++)
        if (listed(c, c->host->containers[s].name))
            list[n++] = (struct cmd_render_container){.name = c->host->containers[s].name};
    for (size_t i = 0; i < n; i++) {
        if (list[i].state)
            continue;
        const struct spec_container *spec = NULL;
        for (size_t k = 0; k < c->host->n_containers && !spec; k++)
            if (!strcmp(c->host->containers[k].name, list[i].name))
                spec = &c->host->containers[k];
        enum spec_runtime rt = rec_runtime_of(c->run, spec);
        const char *held = rec_hold_find(c->run->arena, spec->name);
        list[i] = (struct cmd_render_container){.name = spec->name,
                                                .runtime = cmd_runtime_name(rt),
                                                .sync = "in sync",
                                                .held = held,
                                                .state = held ? "held" : "stopped",
                                                .address = address_of(c->run->arena, spec, NULL),
                                                .root = root_of(c->run->arena, rt, spec, NULL)};
    }
    for (size_t i = 0; i < c->args.n_names; i++) {
        bool found = false;
        for (size_t k = 0; k < n && !found; k++)
            found = !strcmp(list[k].name, c->args.names[i]);
        if (!found)
            return cmd_no_container(c, "berth.list", c->args.names[i]);
    }
    struct cmd_render_list l = {.host = c->host ? c->host->name : NULL,
                                .file = c->file.name,
                                .path = c->file.path,
                                .git = c->git,
                                .list = list,
                                .n = n,
                                .now_ms =
                                    (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u};
    if (c->args.json)
        cmd_render_list_json(&c->out, &l);
    else
        cmd_render_list_text(&c->out, &l);
    return CMD_OK;
}
