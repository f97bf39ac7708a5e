/* plan(from, to) pairs two sorted sets by kind and key. In one only: create or remove; in both: the
 * kind's field table says what differs, and the heaviest effect decides between a change and a
 * replacement. */
#include "reconcile/plan.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

struct differ {
    struct spec_arena *a;
    const struct rec_kind *kind;
    const struct rec_item *from, *to;
    struct rec_difference *list;
    size_t n, room;
    uint32_t changed;
    enum rec_effect effect;
    bool failed, later;
};

struct planner {
    struct rec_run *run;
    const struct rec_state *from, *to;
    struct rec_plan *plan;
    size_t room_steps, room_conflicts, room_not_known, room_later;
    bool (*only)(void *arg, const struct rec_item *i);
    void *arg;
};

static bool push(struct spec_arena *a, void **list, size_t n, size_t *room, size_t each)
{
    if (n < *room)
        return true;
    size_t more = *room ? *room * 2 : 16;
    void *p = spec_arena_grow(a, *list, *room * each, more * each);
    if (!p)
        return false;
    *list = p;
    *room = more;
    return true;
}

static void differs(void *arg, size_t field, const char *from, const char *to)
{
    struct differ *d = arg;
    if (!push(d->a, (void **)&d->list, d->n, &d->room, sizeof *d->list)) {
        d->failed = true;
        return;
    }
    d->list[d->n++] = (struct rec_difference){d->kind->fields[field].name, from, to};
    d->changed |= 1u << field;
    if (d->kind->fields[field].effect > d->effect)
        d->effect = d->kind->fields[field].effect;
}

static const char *text_of(struct spec_arena *a, const struct rec_item *i,
                           const struct rec_field *f)
{
    const char *at = (const char *)i + f->offset;
    char mac[18];
    switch (f->type) {
    case REC_T_BOOL:
        return *(const bool *)at ? "on" : "off";
    case REC_T_U32:
        return spec_arena_printf(a, "%u", *(const uint32_t *)at);
    case REC_T_STRING:
    case REC_T_TEXT:
        return *(const char *const *)at;
    case REC_T_MAC:
        return spec_arena_strdup(a, spec_mac_format((const uint8_t *)at, mac));
    case REC_T_CUSTOM:
        break;
    }
    return NULL;
}

static bool equal(const struct rec_item *x, const struct rec_item *y, const struct rec_field *f)
{
    const char *a = (const char *)x + f->offset, *b = (const char *)y + f->offset;
    switch (f->type) {
    case REC_T_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case REC_T_U32:
        return *(const uint32_t *)a == *(const uint32_t *)b;
    case REC_T_STRING:
    case REC_T_TEXT: {
        const char *s = *(const char *const *)a, *t = *(const char *const *)b;
        return s == t || (s && t && !strcmp(s, t));
    }
    case REC_T_MAC:
        return !memcmp(a, b, 6);
    case REC_T_CUSTOM:
        break;
    }
    return true;
}

/* Settings of an earlier berth have the values of variables in them, which are not to be shown. */
static size_t shown_length(const char *line, size_t n)
{
    static const char option[] = "--setenv=";
    const char *p = memmem(line, n, option, sizeof option - 1);
    const char *value =
        p ? memchr(p + sizeof option - 1, '=', n - (size_t)(p + sizeof option - 1 - line)) : NULL;
    return value ? (size_t)(value + 1 - line) : n;
}

static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *l = text; l && *l;) {
        size_t k = strcspn(l, "\n");
        if (k == n && !memcmp(l, line, n))
            return true;
        l += k + (l[k] == '\n');
    }
    return false;
}

/* Lines of `a` that `b` lacks, as one text: what a long text's change comes to. Of more than four,
 * three are shown. */
static const char *lines_lacking(struct spec_arena *arena, const char *a, const char *b)
{
    const char *line[4];
    size_t length[4], n_lines = 0, shown = 0, len = 0;
    char out[400];
    for (const char *l = a; l && *l;) {
        size_t n = strcspn(l, "\n");
        if (n && !has_line(b, l, n) && n_lines++ < 4) {
            line[n_lines - 1] = l;
            length[n_lines - 1] = n;
        }
        l += n + (l[n] == '\n');
    }
    if (!n_lines)
        return NULL;
    size_t most = n_lines > 4 ? 3 : n_lines;
    while (shown < most && len + length[shown] + 16 < sizeof out) {
        size_t k = shown_length(line[shown], length[shown]);
        len += (size_t)snprintf(out + len, sizeof out - len, "%s%.*s%s", len ? ", " : "", (int)k,
                                line[shown], k < length[shown] ? "(set)" : "");
        shown++;
    }
    for (char *p = out; p < out + len; p++)
        if (*p == '\t')
            *p = ' ';
    size_t more = n_lines - shown;
    return more ? spec_arena_printf(arena, "%.*s%s%zu more line%s", (int)len, out,
                                    len ? ", and " : "", more, more > 1 ? "s" : "")
                : spec_arena_strndup(arena, out, len);
}

static int compare(struct planner *p, struct differ *d)
{
    const struct rec_kind *k = d->kind;
    const struct rec_item *want = d->to, *have = d->from;
    if (k->compare)
        k->compare(p->run->arena, want, have, differs, d);
    if (d->effect == REC_RECREATE)
        return d->failed ? -ENOMEM : 0; /* what else differs comes anew with it */
    for (size_t f = 0; f < k->n_fields; f++) {
        const struct rec_field *field = &k->fields[f];
        if (field->type == REC_T_CUSTOM || !(want->stated & 1u << f) || equal(want, have, field))
            continue;
        if (have->kept & 1u << f && !want->back)
            continue;
        if (k->partial && !(have->stated & 1u << f))
            /* nothing is known of it: a process that is not there has no settings in force */
            continue;
        /* Berth changed, not the spec: an upgrade interrupts nobody. */
        if (have->later & 1u << f) {
            d->later = true;
            continue;
        }
        /* What the author did not write is no difference on what is not ours; but what is taken
         * over becomes ours whole. */
        if (!have->ours && (want->weak & 1u << f) && !(p->run->opt.adopt && k->marks))
            continue;
        if (field->type == REC_T_TEXT) {
            const char *x = *(const char *const *)((const char *)have + field->offset);
            const char *y = *(const char *const *)((const char *)want + field->offset);
            const char *gone = lines_lacking(d->a, x, y), *come = lines_lacking(d->a, y, x);
            differs(d, f, gone ? gone : come ? NULL : "other order or line ends", come);
        } else {
            differs(d, f, text_of(d->a, have, field), text_of(d->a, want, field));
        }
    }
    return d->failed ? -ENOMEM : 0;
}

bool rec_item_differs(struct rec_run *run, const struct rec_item *have, const struct rec_item *want)
{
    struct planner p = {.run = run};
    struct differ d = {.a = run->arena, .kind = rec_kinds[want->kind], .from = have, .to = want};
    return compare(&p, &d) || d.n;
}

bool rec_process_goes_on(struct rec_run *run, const struct rec_item *have,
                         const struct rec_item *want)
{
    struct planner p = {.run = run};
    struct differ d = {.a = run->arena, .kind = rec_kinds[want->kind], .from = have, .to = want};
    if (!have->run.running || !want->run.running || have->runtime != want->runtime)
        return false;
    return !compare(&p, &d) && d.effect < REC_RESTART;
}

const char *rec_item_object(struct spec_arena *a, const struct rec_item *i)
{
    const char *kind = rec_kinds[i->kind]->name;
    if (i->kind == REC_PORT && i->port.link)
        return spec_arena_printf(a, "%s %s (%s)", kind, i->key, i->port.link);
    if (i->kind == REC_NAMES && i->container)
        return spec_arena_printf(a, "%s of %s", kind, i->container);
    if (i->kind == REC_NAT)
        return "nat tables 'inet berth' and 'bridge berth'";
    /* with dots, as sysctl(8) has it, where no link's name has any */
    if (i->kind == REC_SYSCTL) {
        char *s = spec_arena_printf(a, "%s %s", kind, i->key);
        for (char *p = strchr(i->key, '.') ? NULL : s; p && *p; p++)
            *p = *p == '/' ? '.' : *p;
        return s;
    }
    return spec_arena_printf(a, "%s %s", kind, i->key);
}

bool rec_in_spec(const struct rec_run *run, const char *container)
{
    if (!run->host)
        return false;
    size_t lo = 0, hi = run->host->n_containers;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(run->host->containers[mid].name, container);
        if (!c)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

enum {
    WHOLE = 1u << REC_BRIDGE | 1u << REC_SYSTEM | 1u << REC_NETNS | 1u << REC_UNIT | 1u << REC_RUN
};

/* No container's, only a name. */
static bool left_over(const struct rec_item *i)
{
    return i->kind == REC_NETNS && i->netns.left_over;
}

bool rec_step_ends(const struct rec_run *run, const struct rec_step *s)
{
    return s->action == REC_REMOVE && !left_over(s->from) && WHOLE & 1u << s->kind &&
           !(s->from->container && rec_in_spec(run, s->from->container));
}

static const char *blinks(const struct rec_step *s)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    bool stops =
        s->kind == REC_RUN && s->from && s->to && s->from->run.running && !s->to->run.running;
    bool hurts = s->action == REC_REMOVE || s->action == REC_REPLACE || stops ||
                 (s->action == REC_CHANGE && s->effect >= REC_RESTART);
    bool of_container = i->kind == REC_NETNS || i->kind == REC_PORT || i->kind == REC_RUN;
    return hurts && of_container && i->container && !left_over(i) ? i->container : "";
}

static int conflict(struct planner *p, const struct rec_item *from, const struct rec_item *to,
                    const char *text, const char *hint)
{
    struct rec_plan *q = p->plan;
    if (!push(p->run->arena, (void **)&q->conflicts, q->n_conflicts, &p->room_conflicts,
              sizeof *q->conflicts))
        return -ENOMEM;
    const struct rec_item *i = to ? to : from;
    q->conflicts[q->n_conflicts++] =
        (struct rec_conflict){from, to,    rec_item_object(p->run->arena, i), text,
                              hint, i->at, !to && i->kind == REC_NAMES};
    return 0;
}

static int step(struct planner *p, enum rec_action action, const struct rec_item *from,
                const struct rec_item *to, const struct differ *d, const char *reason)
{
    struct rec_plan *q = p->plan;
    struct spec_arena *a = p->run->arena;
    const struct rec_item *i = to ? to : from;
    if (!push(a, (void **)&q->steps, q->n, &p->room_steps, sizeof *q->steps))
        return -ENOMEM;
    struct rec_step *s = spec_arena_alloc(a, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (to && to->unknown && !(reason = spec_arena_printf(a, "%s; %s", reason, to->unknown)))
        return -ENOMEM;
    *s = (struct rec_step){
        .action = action, .kind = i->kind, .from = from, .to = to, .at = i->at, .reason = reason};
    if (d) {
        s->changed = d->changed;
        s->effect = action == REC_REPLACE ? REC_RECREATE : d->effect;
        s->differences = d->list;
        s->n_differences = d->n;
    }
    s->object = rec_item_object(a, i);
    s->blinks = blinks(s);
    s->final = i->kind == REC_RUN && action != REC_CREATE;
    if (!s->object)
        return -ENOMEM;
    q->steps[q->n++] = s;
    return 0;
}

/* The one sentence that says why a change is due: the first difference, and how many more. */
static const char *reason_of(const struct rec_run *run, const struct differ *d)
{
    struct spec_arena *a = run->arena;
    if (!d->n)
        return "differs";
    if (d->from->kind == REC_RUN && !d->from->run.running)
        return run->opt.why_start ? run->opt.why_start : "it is not running";
    if (d->from->kind == REC_RUN && !d->to->run.running)
        return d->to->run.held ? d->to->run.held : "it shall be stopped";
    const char *one = d->list[0].field;
    size_t n = strlen(one);
    bool plural = n > 1 && one[n - 1] == 's' && one[n - 2] != 's';
    return d->n == 1 ? spec_arena_printf(a, plural ? "%s differ" : "%s differs", one)
                     : spec_arena_printf(a, "%s and %zu more differ", d->list[0].field, d->n - 1);
}

/* A container's system and process are as foreign as its unit, whose conflict says it all. */
static bool told_by_unit(const struct planner *p, const struct rec_item *from)
{
    const struct rec_item *unit = from->kind == REC_SYSTEM || from->kind == REC_RUN
                                      ? rec_state_find(p->from, REC_UNIT, from->key)
                                      : NULL;
    return unit && !unit->ours;
}

/* What one runtime made and another is to make are two things, though they bear one name: the one
 * goes, by the way of its own runtime, before the other comes. The container's files are not
 * what goes: it has not left the spec. */
static int change_runtime(struct planner *p, const struct rec_item *from, const struct rec_item *to)
{
    struct rec_item *gone = spec_arena_alloc(p->run->arena, sizeof *gone);
    if (!gone)
        return -ENOMEM;
    *gone = *from;
    if (from->kind == REC_SYSTEM)
        gone->system.on_remove = "keep";
    bool goes = from->kind != REC_SYSTEM || from->runtime == SPEC_RT_NIXOS;
    int r = goes ? step(p, REC_REMOVE, gone, NULL, NULL, "its runtime is another now") : 0;
    return r || (to->kind == REC_RUN && !to->run.running)
               ? r
               : step(p, REC_CREATE, NULL, to, NULL, "its runtime is another now");
}

/* The item goes on as it is; whatever restarts it for another reason takes the difference along. */
static int wait_for_next_start(struct planner *p, const struct rec_item *from)
{
    struct rec_plan *q = p->plan;
    if (!from->next_start) /* another item of the container tells */
        return 0;
    if (!push(p->run->arena, (void **)&q->later, q->n_later, &p->room_later, sizeof *q->later))
        return -ENOMEM;
    q->later[q->n_later++] = from;
    return 0;
}

static int not_known(struct planner *p, const struct rec_item *to)
{
    struct rec_plan *q = p->plan;
    if (!push(p->run->arena, (void **)&q->not_known, q->n_not_known, &p->room_not_known,
              sizeof *q->not_known))
        return -ENOMEM;
    q->not_known[q->n_not_known++] = to;
    return 0;
}

/* The kernel removes an address with its link. Such an address cannot be given back. */
static bool ends_with_link(const struct planner *p, const struct rec_item *address)
{
    const struct rec_item *bridge = rec_state_find(p->from, REC_BRIDGE, address->address.link);
    return bridge && bridge->ours && !rec_state_find(p->to, REC_BRIDGE, bridge->key);
}

/* The kernel removes a pair with its namespace. Namespaces stand before ports. */
static bool ends_with_netns(const struct planner *p, const struct rec_item *port)
{
    const struct rec_plan *q = p->plan;
    for (size_t i = q->n; i && q->steps[i - 1]->kind >= REC_NETNS; i--) {
        const struct rec_step *s = q->steps[i - 1];
        if (s->kind == REC_NETNS && s->action == REC_REPLACE && !strcmp(s->to->key, port->key))
            return true;
    }
    return false;
}

static int pair(struct planner *p, const struct rec_item *from, const struct rec_item *to)
{
    const struct rec_kind *k = rec_kinds[(to ? to : from)->kind];
    struct spec_arena *a = p->run->arena;
    const char *hint = NULL;
    if (p->only && !p->only(p->arg, to ? to : from))
        return 0;
    if (to && to->kind == REC_PORT && !to->port.whole) {
        if (!from)
            return 0; /* undo does not bring a half of something back */
        to = NULL;
    }
    if (to && to->kind == REC_ADDRESS && to->back && from && ends_with_link(p, from))
        to = NULL;
    if (!to) {
        if (!from->ours)
            return 0;
        const char *why = k->conflict ? k->conflict(a, p->from, NULL, from, &hint) : NULL;
        if (why)
            return conflict(p, from, NULL, why, hint);
        if (left_over(from))
            return step(p, REC_REMOVE, from, NULL, NULL, "a run that was killed left it behind");
        bool lives = from->kind == REC_NETNS || from->kind == REC_PORT || from->kind == REC_RUN;
        bool stopped = lives && from->container && rec_in_spec(p->run, from->container);
        const char *held = stopped ? rec_held_why(p->run, from->container) : NULL;
        if (held)
            return step(p, REC_REMOVE, from, NULL, NULL, held);
        return step(p, REC_REMOVE, from, NULL, NULL,
                    stopped ? "it shall be stopped" : "no longer wanted");
    }
    if (to->back && (!from || !from->ours))
        return 0;
    if (!from) {
        const char *why =
            k->conflict && !p->run->opt.adopt ? k->conflict(a, p->from, to, NULL, &hint) : NULL;
        if (why)
            return conflict(p, NULL, to, why, hint);
        bool asked = to->kind == REC_RUN && p->run->opt.why_start;
        return step(p, REC_CREATE, NULL, to, NULL, asked ? p->run->opt.why_start : "missing");
    }
    bool own = from->kind == REC_SYSTEM || from->kind == REC_UNIT || from->kind == REC_RUN;
    if (own && from->ours && from->container && from->runtime != to->runtime)
        return change_runtime(p, from, to);
    if (k->never && k->never(to, from)) {
        const char *why = k->conflict(a, p->from, to, from, &hint);
        return conflict(p, from, to, why, hint);
    }
    struct differ d = {.a = a, .kind = k, .from = from, .to = to};
    if (to->kind == REC_PORT && from->ours && ends_with_netns(p, to))
        return step(p, REC_REPLACE, from, to, &d, "its namespace is another one");
    if (compare(p, &d))
        return -ENOMEM;
    if (from->ours && !to->ours && k->marks && d.effect < REC_RECREATE) {
        int r = step(p, REC_ADOPT, from, to, &d,
                     to->back ? "given back: it was there before berth" : "it was not ours before");
        if (!r)
            p->plan->steps[p->plan->n - 1]->unmark = true;
        return r;
    }
    if (d.later && d.effect < REC_RESTART && wait_for_next_start(p, from))
        return -ENOMEM;
    /* An undo marks again what was ours before it was given back. */
    bool again = p->run->undoing && (to->kind == REC_BRIDGE || to->kind == REC_ADDRESS);
    bool adopt = (p->run->opt.adopt || again) && !from->ours && to->ours && k->marks;
    if (!d.n && !adopt && to->unknown)
        return not_known(p, to);
    if (!d.n)
        return adopt ? step(p, REC_ADOPT, from, to, &d, "equal, and now ours") : 0;
    if (!from->ours && !k->shared && !p->run->opt.adopt) {
        if (told_by_unit(p, from))
            return 0;
        const char *why = k->conflict ? k->conflict(a, p->from, to, from, &hint) : NULL;
        if (!why)
            why = spec_arena_printf(a, "%s: is %s, shall be %s, and berth did not make it",
                                    d.list[0].field, d.list[0].from ? d.list[0].from : "absent",
                                    d.list[0].to ? d.list[0].to : "absent");
        return conflict(p, from, to, why,
                        hint ? hint
                             : "give --adopt to take it over, or change the spec or the host");
    }
    if (adopt && d.effect < REC_RECREATE)
        return step(p, REC_ADOPT, from, to, &d, reason_of(p->run, &d));
    return step(p, d.effect == REC_RECREATE ? REC_REPLACE : REC_CHANGE, from, to, &d,
                reason_of(p->run, &d));
}

/* A new namespace of a container that owns it, and the port in it. */
static void leave_to_start(struct rec_plan *q)
{
    for (size_t i = 0; i < q->n; i++) {
        struct rec_step *s = q->steps[i];
        bool renewed = s->action == REC_CREATE || s->action == REC_REPLACE;
        if (s->kind != REC_NETNS || !renewed || !s->to->netns.own)
            continue;
        s->with_start = true;
        for (size_t k = 0; k < q->n; k++)
            if (q->steps[k]->kind == REC_PORT && q->steps[k]->action != REC_REMOVE &&
                !strcmp(q->steps[k]->to->container, s->to->container))
                q->steps[k]->with_start = true;
    }
}

/* A container that stops without a process loses its namespace. */
static void keep_stops(struct rec_plan *q)
{
    size_t kept = 0;
    for (size_t i = 0; i < q->n; i++) {
        struct rec_step *s = q->steps[i];
        bool net = s->kind == REC_NETNS || s->kind == REC_PORT;
        if (s->kind == REC_RUN || (net && s->action == REC_REMOVE))
            q->steps[kept++] = s;
    }
    q->n = kept;
}

static int compare_keys(const struct rec_item *a, const struct rec_item *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return strcmp(a->key, b->key);
}

/* What the kernel does along with a step needs no request of its own: addresses go with their
 * link. */
static void imply(struct rec_plan *q)
{
    for (size_t i = 0; i < q->n; i++) {
        struct rec_step *s = q->steps[i];
        if (s->kind != REC_ADDRESS || s->action != REC_REMOVE)
            continue;
        for (size_t k = 0; k < q->n && !s->implied; k++)
            s->implied = q->steps[k]->kind == REC_BRIDGE && q->steps[k]->action == REC_REMOVE &&
                         !strcmp(q->steps[k]->from->key, s->from->address.link);
    }
}

/* What containers and bridges are counted by: of a container's items the first that is there. */
static bool counted(const struct rec_state *s, const struct rec_item *i)
{
    static const enum rec_kind_id first[] = {REC_NETNS, REC_UNIT, REC_RUN, REC_SYSTEM};
    if (left_over(i))
        return false;
    if (!i->ours || !(WHOLE & 1u << i->kind) || i->kind == REC_BRIDGE)
        return i->ours && i->kind == REC_BRIDGE;
    for (size_t k = 0; k < sizeof first / sizeof *first; k++) {
        const struct rec_item *other =
            first[k] == i->kind ? i : rec_state_find(s, first[k], i->key);
        if (other && other->ours && (other->kind != REC_RUN || other->run.running))
            return other == i;
    }
    return false;
}

static void count(struct planner *p)
{
    struct rec_plan *q = p->plan;
    for (size_t i = 0; i < q->n; i++) {
        const struct rec_step *s = q->steps[i];
        switch (s->action) {
        case REC_CREATE:
            q->creates++;
            break;
        case REC_CHANGE:
            q->changes++;
            break;
        case REC_REMOVE:
            q->removes++;
            break;
        case REC_REPLACE:
            q->replaces++;
            break;
        case REC_ADOPT:
            q->adopts++;
            break;
        }
        bool ends = rec_step_ends(p->run, s);
        if (ends && counted(p->from, s->from)) {
            q->deletes++;
            q->deleted_containers += s->from->container != NULL;
        }
        /* A port that is made anew is a repair: what is protected is the container, not its
         * cable. */
        bool cable = s->kind == REC_PORT || s->kind == REC_NETNS;
        bool goes = ends || (s->action == REC_REPLACE && !cable);
        /* What a host is read to have protects nothing: then the record of the last apply is
         * asked (guard.c). */
        const struct rec_item *item = s->to ? s->to : s->from;
        if (!q->protects && item->protect && goes)
            q->protects = item->container
                              ? spec_arena_printf(p->run->arena, "container %s", item->container)
                              : s->object;
    }
    for (size_t i = 0; i < p->from->n; i++)
        q->ours += counted(p->from, p->from->items[i]);
}

static int collect_notes(struct planner *p)
{
    size_t n = p->from->n_notes + p->to->n_notes, later = p->plan->n_later;
    struct rec_note *all = spec_arena_alloc(p->run->arena, (n + later + 1) * sizeof *all);
    if (!all)
        return -ENOMEM;
    if (p->from->n_notes)
        memcpy(all, p->from->notes, p->from->n_notes * sizeof *all);
    if (p->to->n_notes)
        memcpy(all + p->from->n_notes, p->to->notes, p->to->n_notes * sizeof *all);
    for (size_t i = 0; i < later; i++) {
        const struct rec_item *item = p->plan->later[i];
        const char *text = spec_arena_printf(p->run->arena, "next start: %s", item->next_start);
        if (!text)
            return -ENOMEM;
        all[n++] = (struct rec_note){.object = item->container ? item->container : item->key,
                                     .text = text};
    }
    p->plan->notes = all;
    p->plan->n_notes = n;
    return 0;
}

int rec_plan_warn(struct rec_run *run, struct rec_plan *p, const char *object, const char *hint,
                  const char *text)
{
    struct rec_note *all = spec_arena_alloc(run->arena, (p->n_notes + 1) * sizeof *all);
    if (!all)
        return -ENOMEM;
    if (p->n_notes)
        memcpy(all, p->notes, p->n_notes * sizeof *all);
    struct rec_note n = {.object = spec_arena_strdup(run->arena, object),
                         .text = spec_arena_strdup(run->arena, text),
                         .hint = hint ? spec_arena_strdup(run->arena, hint) : NULL,
                         .warning = true};
    if (!n.object || !n.text || !n.hint != !hint)
        return -ENOMEM;
    all[p->n_notes] = n;
    p->notes = all;
    p->n_notes++;
    return 0;
}

int rec_plan_forbid(struct rec_run *run, struct rec_plan *p, enum rec_finding finding,
                    struct spec_loc at, const char *text, const char *value)
{
    struct rec_forbidden *list =
        text ? spec_arena_grow(run->arena, p->forbidden, p->n_forbidden * sizeof *list,
                               (p->n_forbidden + 1) * sizeof *list)
             : NULL;
    if (!list)
        return -ENOMEM;
    p->forbidden = list;
    list[p->n_forbidden++] = (struct rec_forbidden){finding, text, value, at};
    return 0;
}

int rec_plan(struct rec_run *run, const struct rec_state *from, const struct rec_state *to,
             bool (*only)(void *arg, const struct rec_item *i), void *arg, struct rec_plan **out,
             struct rec_error *err)
{
    struct planner p = {.run = run, .from = from, .to = to, .only = only, .arg = arg};
    p.plan = spec_arena_alloc(run->arena, sizeof *p.plan);
    int r = p.plan ? 0 : -ENOMEM;
    if (p.plan)
        p.plan->unknown = from->unknown | to->unknown;
    for (size_t i = 0, k = 0; !r && (i < from->n || k < to->n);) {
        int c = i == from->n ? 1 : k == to->n ? -1 : compare_keys(from->items[i], to->items[k]);
        const struct rec_item *f = c <= 0 ? from->items[i] : NULL,
                              *t = c >= 0 ? to->items[k] : NULL;
        if (!(p.plan->unknown & 1u << (f ? f : t)->kind))
            r = pair(&p, f, t);
        i += c <= 0;
        k += c >= 0;
    }
    if (!r)
        r = collect_notes(&p);
    if (r)
        return rec_fail(err, ENOMEM, "out of memory");
    if (run->opt.stops_only)
        keep_stops(p.plan);
    imply(p.plan);
    leave_to_start(p.plan);
    rec_plan_sort(p.plan);
    count(&p);
    *out = p.plan;
    return 0;
}

const char *rec_action_sign(enum rec_action a)
{
    static const char *const sign[] = {"+", "~", "-", "±", "="};
    return sign[a];
}

const char *rec_effect_name(enum rec_effect e)
{
    static const char *const name[] = {"live", "reload", "restart", "recreate"};
    return name[e];
}
