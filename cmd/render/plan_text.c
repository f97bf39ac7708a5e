/* A plan for people: one line a step, in the order of apply: sign, object, why, the spec's line.
 * Below it, indented, what changes from what to what, and whom it interrupts. Columns come from
 * the plan itself, within 80. */
#include "cmd/git.h"
#include "cmd/render/grants.h"
#include "cmd/render/live.h"
#include "cmd/render/render.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OBJECT_MOST = 50, REASON_MOST = 26, PLACE_MOST = 24, FIELD_MOST = 24 };

static enum cmd_style style_of(enum rec_action a)
{
    switch (a) {
    case REC_CREATE:
        return CMD_GREEN;
    case REC_CHANGE:
        return CMD_YELLOW;
    case REC_REMOVE:
        return CMD_RED;
    case REC_REPLACE:
        return CMD_MAGENTA;
    case REC_ADOPT:
        return CMD_CYAN;
    }
    return CMD_PLAIN;
}

static const char *sign_of(const struct cmd_out *o, enum rec_action a)
{
    return cmd_symbol(o, rec_action_sign(a), a == REC_REPLACE ? "%" : rec_action_sign(a));
}

/* What a creation brings, where the object's name does not say it: the address of a port, the
 * value of a setting. */
static void gist(const struct rec_step *s, char out[SPEC_ADDR_TEXT + 8])
{
    out[0] = 0;
    if (s->action != REC_CREATE || !s->to)
        return;
    if (s->kind == REC_PORT && s->to->spec) {
        const struct spec_addr *a = s->to->spec->address[0].addr.family
                                        ? &s->to->spec->address[0].addr
                                        : &s->to->spec->address[1].addr;
        if (a->family)
            spec_addr_format(a, true, out);
    } else if (s->kind == REC_SYSCTL && s->to->sysctl.value &&
               strlen(s->to->sysctl.value) < SPEC_ADDR_TEXT) {
        strcat(strcpy(out, "= "), s->to->sysctl.value);
    }
}

static size_t object_width(const struct cmd_out *o, const struct rec_step *s)
{
    char more[SPEC_ADDR_TEXT + 8];
    gist(s, more);
    return cmd_safe_width(o, s->object) + (*more ? 2 + cmd_safe_width(o, more) : 0);
}

/* "spec.yaml:5": the file's last part, since the column is narrow and errors give it whole. */
static size_t place_text(const struct cmd_out *o, const char *file, const struct spec_loc *at,
                         char out[PLACE_MOST + 24])
{
    const char *base = file ? strrchr(file, '/') : NULL;
    base = base ? base + 1 : file;
    *out = 0;
    if (!at->line || !file)
        return 0;
    bool fits = strlen(base) <= PLACE_MOST && cmd_safe_width(o, base) == strlen(base);
    return (size_t)snprintf(out, PLACE_MOST + 24, "%s%s%u", fits ? base : "line", fits ? ":" : " ",
                            at->line);
}

static void place(struct cmd_out *o, const char *text)
{
    cmd_style(o, CMD_DIM);
    cmd_put(o, text);
    cmd_style(o, CMD_PLAIN);
}

static void widen(size_t *column, size_t width, size_t most)
{
    if (width <= most && width > *column)
        *column = width;
}

static const char *reason_of(const struct rec_step *s)
{
    if (s->implied)
        return "goes with its link";
    return s->reason ? s->reason : "";
}

static void change_line(struct cmd_out *o, const struct rec_step *s, const struct rec_difference *d,
                        size_t field_width)
{
    size_t at = 6 + field_width + 2;
    cmd_pad(o, 6);
    cmd_pad(o, field_width + 2 - cmd_safe(o, d->field));
    /* the ruleset's differences are sentences */
    if (s->kind == REC_NAT && d->from && !d->to) {
        cmd_wrap(o, d->from, at, at, CMD_WIDTH);
    } else if (s->kind == REC_NAMES) { /* lines that go, lines that come */
        if (d->from) {
            cmd_put(o, "- ");
            cmd_wrap(o, d->from, at + 2, at + 2, CMD_WIDTH);
        }
        if (d->from && d->to) {
            cmd_put(o, "\n");
            cmd_pad(o, at);
        }
        if (d->to) {
            cmd_put(o, "+ ");
            cmd_wrap(o, d->to, at + 2, at + 2, CMD_WIDTH);
        }
    } else {
        const char *from = d->from ? d->from : "nothing", *to = d->to ? d->to : "nothing";
        size_t width = cmd_safe_width(o, from) + cmd_safe_width(o, to) + 4;
        cmd_wrap(o, from, at, at, CMD_WIDTH);
        if (at + width > CMD_WIDTH) {
            cmd_put(o, "\n");
            cmd_pad(o, at);
        } else {
            cmd_put(o, " ");
        }
        cmd_put(o, cmd_symbol(o, "→ ", "-> "));
        cmd_wrap(o, to, at + 3, at + 3, CMD_WIDTH);
    }
    cmd_put(o, "\n");
}

static void changes(struct cmd_out *o, const struct rec_step *s)
{
    size_t width = 0;
    for (size_t i = 0; i < s->n_differences; i++)
        widen(&width, cmd_safe_width(o, s->differences[i].field), FIELD_MOST);
    for (size_t i = 0; i < s->n_differences; i++) {
        size_t own = cmd_safe_width(o, s->differences[i].field);
        struct rec_difference d = s->differences[i];
        /* One value that goes and one that comes, of the same field, are one change to read. */
        if (s->kind != REC_NAT && i + 1 < s->n_differences && !d.to &&
            !s->differences[i + 1].from && !strcmp(d.field, s->differences[i + 1].field))
            d.to = s->differences[++i].to;
        change_line(o, s, &d, own > width ? own : width);
    }
}

struct grants {
    struct cmd_out *o;
    size_t width; /* of the fields */
};

static void grant_width(void *arg, const char *field, const char *value)
{
    struct grants *g = arg;
    (void)value;
    widen(&g->width, strlen(field), FIELD_MOST);
}

/* Never cut: what is not read here is not known before it is applied. */
static void grant_line(void *arg, const char *field, const char *value)
{
    struct grants *g = arg;
    size_t at = 6 + g->width + 2;
    cmd_pad(g->o, 6);
    cmd_pad(g->o, at - 6 - cmd_safe(g->o, field));
    cmd_wrap(g->o, value, at, at, CMD_WIDTH);
    cmd_put(g->o, "\n");
}

static void grants(struct cmd_out *o, const struct rec_step *s)
{
    struct grants g = {o, 0};
    cmd_grants(s, CMD_GRANTS_ALL, grant_width, &g);
    cmd_grants(s, CMD_GRANTS_ALL, grant_line, &g);
}

static bool blinks(const struct rec_step *s)
{
    /* A container that goes is told of once, not again for its wire. */
    return s->blinks && *s->blinks && !(s->action == REC_REMOVE && s->kind == REC_PORT);
}

static void disruption(struct cmd_out *o, const struct rec_step *s)
{
    if (s->effect == REC_LIVE && !blinks(s))
        return;
    cmd_pad(o, 6);
    cmd_style(o, CMD_YELLOW);
    if (s->effect != REC_LIVE)
        cmd_put(o, rec_effect_name(s->effect));
    if (blinks(s)) {
        cmd_put(o, s->effect == REC_LIVE ? "interrupts " : ": interrupts ");
        cmd_safe(o, s->blinks);
    }
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, "\n");
}

static void mark(struct cmd_out *o, enum rec_step_state s)
{
    switch (s) {
    case REC_DONE:
        cmd_style(o, CMD_GREEN);
        cmd_put(o, cmd_symbol(o, "✓ ", "ok "));
        break;
    case REC_FAILED:
        cmd_style(o, CMD_RED);
        cmd_put(o, cmd_symbol(o, "✗ ", "XX "));
        break;
    case REC_PENDING:
        cmd_style(o, CMD_DIM);
        cmd_put(o, cmd_symbol(o, "· ", ".. "));
        break;
    }
    cmd_style(o, CMD_PLAIN);
}

static void step_line(struct cmd_out *o, const struct cmd_render_plan *p, const struct rec_step *s,
                      const struct cmd_columns *w, uint64_t us)
{
    char more[SPEC_ADDR_TEXT + 8];
    gist(s, more);
    cmd_put(o, "  ");
    if (p->applied)
        mark(o, s->state);
    cmd_style(o, style_of(s->action));
    cmd_put(o, sign_of(o, s->action));
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, " ");
    size_t n = cmd_safe(o, s->object);
    if (*more) {
        cmd_put(o, "  ");
        n += 2 + cmd_safe(o, more);
    }
    const char *why = reason_of(s);
    char where[PLACE_MOST + 24];
    size_t width = cmd_safe_width(o, why), column = 4 + (p->applied ? 2 : 0) + n;
    bool there = place_text(o, p->file, &s->at, where) > 0, below = width > REASON_MOST;
    if (*why || there) {
        size_t pad = (n < w->object ? w->object - n : 0) + 2;
        cmd_pad(o, pad);
        column += pad;
    }
    if (!below)
        column += cmd_safe(o, why);
    if (there) {
        cmd_pad(o, column + 2 < w->place ? w->place - column : 2);
        place(o, where);
    }
    if (us)
        cmd_printf(o, "  %.1f s", (double)us / 1e6);
    cmd_put(o, "\n");
    if (below) {
        cmd_pad(o, 6);
        cmd_wrap(o, why, 6, 6, CMD_WIDTH);
        cmd_put(o, "\n");
    }
}

static void step_details(struct cmd_out *o, const struct rec_step *s)
{
    changes(o, s);
    grants(o, s);
    disruption(o, s);
}

void cmd_render_done_step(struct cmd_out *o, const struct cmd_render_plan *p,
                          const struct rec_step *s, const struct cmd_columns *w, uint64_t us)
{
    step_line(o, p, s, w, us);
    if (p->verbose)
        step_details(o, s);
}

void cmd_render_done_steps(struct cmd_out *o, enum rec_step_state state, enum rec_action action,
                           size_t n, const char *what)
{
    cmd_put(o, "  ");
    mark(o, state);
    cmd_style(o, style_of(action));
    cmd_put(o, sign_of(o, action));
    cmd_style(o, CMD_PLAIN);
    cmd_printf(o, " %zu %s\n", n, what);
}

/* A row that is longer than its column takes from the blanks of the next, so that most lines end
 * within 80. */
struct cmd_columns cmd_columns_of(const struct cmd_out *o, const struct cmd_render_plan *p,
                                  const struct rec_plan *plan)
{
    size_t object = 0, reason = 0, last = 0, first = 4 + (p->applied ? 2 : 0);
    char where[PLACE_MOST + 24];
    for (size_t i = 0; i < plan->n; i++) {
        widen(&object, object_width(o, plan->steps[i]), OBJECT_MOST);
        widen(&reason, cmd_safe_width(o, reason_of(plan->steps[i])), REASON_MOST);
        widen(&last, place_text(o, p->file, &plan->steps[i]->at, where), PLACE_MOST + 24);
    }
    size_t others = first + 2 + reason + 2 + last;
    if (object + others > CMD_WIDTH)
        object = others < CMD_WIDTH ? CMD_WIDTH - others : 0;
    return (struct cmd_columns){object, first + object + 2 + reason + 2};
}

/* Files with names are the host's, though some are made for a container. */
static bool stands_alone(const struct rec_item *i)
{
    return i->container && i->kind != REC_NAMES;
}

/* A blank line where the host's own things end and containers begin. */
static void steps(struct cmd_out *o, const struct cmd_render_plan *p, const struct rec_plan *plan,
                  bool details)
{
    struct cmd_columns w = cmd_columns_of(o, p, plan);
    bool of_container = false;
    for (size_t i = 0; i < plan->n; i++) {
        const struct rec_step *s = plan->steps[i];
        const struct rec_item *item = s->to ? s->to : s->from;
        if (i && stands_alone(item) != of_container)
            cmd_put(o, "\n");
        of_container = stands_alone(item);
        step_line(o, p, s, &w, 0);
        if (details)
            step_details(o, s);
    }
    if (plan->n)
        cmd_put(o, "\n");
}

static const char *object_of(const struct rec_item *i, char out[128])
{
    snprintf(out, 128, "%s %.100s", rec_kinds[i->kind]->name, i->key);
    return out;
}

/* In sync, as far as it is known: what of it is not. */
static void not_known(struct cmd_out *o, const struct cmd_render_plan *p)
{
    const struct rec_plan *q = p->plan;
    size_t width = 0;
    char object[128], where[PLACE_MOST + 24];
    for (size_t i = 0; i < q->n_not_known; i++)
        widen(&width, cmd_safe_width(o, object_of(q->not_known[i], object)), OBJECT_MOST);
    for (size_t i = 0; i < q->n_not_known; i++) {
        cmd_put(o, "  ");
        cmd_style(o, CMD_DIM);
        cmd_put(o, "?");
        cmd_style(o, CMD_PLAIN);
        cmd_put(o, " ");
        size_t n = cmd_safe(o, object_of(q->not_known[i], object));
        cmd_pad(o, (n < width ? width - n : 0) + 2);
        cmd_safe(o, q->not_known[i]->unknown);
        if (place_text(o, p->file, &q->not_known[i]->at, where)) {
            cmd_pad(o, 2);
            place(o, where);
        }
        cmd_put(o, "\n");
    }
    if (q->n_not_known)
        cmd_put(o, "\n");
}

static void conflicts(struct cmd_out *o, const struct cmd_render_plan *p)
{
    if (!p->plan->n_conflicts)
        return;
    cmd_style(o, CMD_BOLD);
    cmd_put(o, "In the way, and not berth's:\n");
    cmd_style(o, CMD_PLAIN);
    size_t width = 0;
    for (size_t i = 0; i < p->plan->n_conflicts; i++)
        widen(&width, cmd_safe_width(o, p->plan->conflicts[i].object), OBJECT_MOST);
    for (size_t i = 0; i < p->plan->n_conflicts; i++) {
        const struct rec_conflict *c = &p->plan->conflicts[i];
        cmd_put(o, "  ");
        cmd_style(o, CMD_RED);
        cmd_put(o, "!");
        cmd_style(o, CMD_PLAIN);
        cmd_put(o, " ");
        size_t n = cmd_safe(o, c->object);
        char where[PLACE_MOST + 24];
        if (place_text(o, p->file, &c->at, where)) {
            cmd_pad(o, (n < width ? width - n : 0) + 2);
            place(o, where);
        }
        cmd_put(o, "\n      ");
        cmd_wrap(o, c->text, 6, 6, CMD_WIDTH);
        if (c->hint && *c->hint) {
            cmd_put(o, "\n      ");
            cmd_style(o, CMD_CYAN);
            cmd_wrap(o, c->hint, 6, 6, CMD_WIDTH);
            cmd_style(o, CMD_PLAIN);
        }
        cmd_put(o, "\n");
    }
    cmd_put(o, "\n");
}

static size_t count_notes(const struct rec_plan *plan, bool warnings)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n_notes; i++)
        n += plan->notes[i].warning == warnings;
    return n;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* They say the same of two objects. */
static bool same_note(const struct rec_note *a, const struct rec_note *b)
{
    return a->warning == b->warning && same_text(a->text, b->text) && same_text(a->hint, b->hint);
}

/* The objects of `first` and of all notes behind it that say the same. */
static char *note_objects(const struct rec_plan *plan, const struct rec_note *first)
{
    struct cmd_out all = {.fd = -1};
    cmd_put(&all, first->object);
    for (const struct rec_note *n = first + 1; n < plan->notes + plan->n_notes; n++)
        if (same_note(first, n) && strcmp(first->object, n->object) != 0)
            cmd_printf(&all, ", %s", n->object);
    return all.text;
}

static bool told_before(const struct rec_plan *plan, const struct rec_note *one)
{
    for (const struct rec_note *n = plan->notes; n < one; n++)
        if (same_note(n, one))
            return true;
    return false;
}

static void note(struct cmd_out *o, const struct rec_plan *plan, const struct rec_note *one)
{
    char *objects = note_objects(plan, one);
    const char *object = objects ? objects : one->object;

    cmd_put(o, "  ");
    if (one->warning)
        cmd_style(o, CMD_YELLOW);
    cmd_put(o, one->warning ? "!" : "*");
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, " ");
    /* The object may be a list of containers. */
    size_t width = cmd_safe_width(o, object), at = 4 + width;
    if (at < CMD_WIDTH)
        cmd_safe(o, object);
    else
        cmd_wrap(o, object, 4, 6, CMD_WIDTH);
    free(objects);
    cmd_put(o, ": ");
    cmd_wrap(o, one->text, at < CMD_WIDTH ? at + 2 : CMD_WIDTH, 6, CMD_WIDTH);
    cmd_put(o, "\n");
    if (!one->hint)
        return;
    cmd_pad(o, 6);
    cmd_style(o, CMD_CYAN);
    /* Commands are one line, so that they can be pasted. */
    if (strstr(one->hint, " && "))
        cmd_safe(o, one->hint);
    else
        cmd_wrap(o, one->hint, 6, 6, CMD_WIDTH);
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, "\n");
}

/* Warnings first, then what is only worth knowing. */
void cmd_render_notes(struct cmd_out *o, const struct rec_plan *plan)
{
    static const char *const title[] = {"Warnings:\n", "Notes:\n"};
    for (int pass = 0; pass < 2; pass++) {
        bool warnings = pass == 0;
        if (!count_notes(plan, warnings))
            continue;
        cmd_style(o, CMD_BOLD);
        cmd_put(o, title[pass]);
        cmd_style(o, CMD_PLAIN);
        for (size_t i = 0; i < plan->n_notes; i++)
            if (plan->notes[i].warning == warnings && !told_before(plan, &plan->notes[i]))
                note(o, plan, &plan->notes[i]);
        cmd_put(o, "\n");
    }
}

void cmd_render_warnings(struct cmd_out *o, const struct rec_plan *plan)
{
    for (size_t i = 0; i < plan->n_notes; i++) {
        const struct rec_note *n = &plan->notes[i];
        if (!n->warning)
            continue;
        cmd_put(o, "berth: warning: ");
        cmd_safe(o, n->object);
        cmd_put(o, ": ");
        cmd_safe(o, n->text);
        if (n->hint) {
            cmd_put(o, " (");
            cmd_safe(o, n->hint);
            cmd_put(o, ")");
        }
        cmd_put(o, "\n");
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "; interrupts a, b, c and 9 more". `past`: those that were. */
static void interrupted(struct cmd_out *o, const struct rec_plan *p, bool past)
{
    const char **names = malloc((p->n + 1) * sizeof *names);
    size_t n = 0, m = 0;
    for (size_t i = 0; names && i < p->n; i++)
        if (past ? rec_step_interrupted(p->steps[i]) : p->steps[i]->blinks && *p->steps[i]->blinks)
            names[n++] = p->steps[i]->blinks;
    if (n)
        qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        if (!m || strcmp(names[m - 1], names[i]))
            names[m++] = names[i];
    if (!m && !past)
        cmd_put(o, "; nothing is interrupted");
    for (size_t i = 0; i < m && i < 4; i++) {
        cmd_put(o, i ? ", " : past ? "; meanwhile interrupted: " : "; interrupts ");
        cmd_safe(o, names[i]);
    }
    if (m > 4)
        cmd_printf(o, " and %zu more", m - 4);
    free(names);
}

static void in_sync(struct cmd_out *o, const struct cmd_render_plan *p)
{
    if (p->plan && p->plan->unknown) {
        cmd_put(o, "Nothing to do in what can be read without root; the rest is not known\n");
        return;
    }
    if (p->plan && p->plan->n_not_known) {
        cmd_printf(o, "Nothing to do in what is known; %zu %s known after build\n",
                   p->plan->n_not_known, p->plan->n_not_known == 1 ? "system is" : "systems are");
        return;
    }
    if (p->plan && p->plan->n_pending) {
        cmd_printf(o, "Nothing can be done now; %zu port %s pending\n", p->plan->n_pending,
                   p->plan->n_pending == 1 ? "map is" : "maps are");
        return;
    }
    cmd_style(o, CMD_GREEN);
    if (p->resources)
        cmd_printf(o, "Nothing to do: %zu %s in sync", p->resources,
                   p->resources == 1 ? "resource is" : "resources are");
    else
        cmd_put(o, "Nothing to do: nothing is wanted, and nothing here is berth's");
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, "\n");
}

static void summary(struct cmd_out *o, const struct cmd_render_plan *p)
{
    const struct rec_plan *q = p->plan;
    if (!q->n && !q->n_conflicts) {
        in_sync(o, p);
        return;
    }
    cmd_style(o, CMD_BOLD);
    cmd_printf(o, "Plan: %zu to create, %zu to change, %zu to remove", q->creates, q->changes,
               q->removes);
    if (q->replaces)
        cmd_printf(o, ", %zu to recreate", q->replaces);
    if (q->adopts)
        cmd_printf(o, ", %zu to adopt", q->adopts);
    if (q->n_conflicts)
        cmd_printf(o, "; %zu in the way", q->n_conflicts);
    if (q->n_not_known)
        cmd_printf(o, "; %zu known after build", q->n_not_known);
    interrupted(o, q, false);
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, "\n");
}

void cmd_render_commit(struct cmd_out *o, const struct cmd_git *g)
{
    char day[16] = "";
    time_t when = (time_t)g->time;
    struct tm t;
    if (gmtime_r(&when, &t))
        strftime(day, sizeof day, "%Y-%m-%d", &t);
    cmd_put(o, "\n");
    cmd_style(o, CMD_DIM);
    cmd_printf(o, "commit %.12s", g->commit);
    if (*g->ref) {
        cmd_put(o, " (");
        cmd_safe(o, cmd_git_short_ref(g));
        cmd_put(o, ")");
    }
    cmd_printf(o, ", %s, ", day);
    cmd_safe(o, g->author);
    cmd_put(o, ": ");
    cmd_safe(o, g->subject);
    cmd_style(o, CMD_PLAIN);
}

void cmd_render_plan_text(struct cmd_out *o, const struct cmd_render_plan *p)
{
    if (!p->plan)
        return;
    if (!p->quiet && p->plan->n && p->host && !p->applied) {
        cmd_style(o, CMD_BOLD);
        cmd_safe(o, p->host);
        cmd_style(o, CMD_PLAIN);
        if (p->file) {
            cmd_put(o, ", as ");
            cmd_safe(o, p->file);
            cmd_put(o, " has it");
        }
        if (p->git)
            cmd_render_commit(o, p->git);
        cmd_put(o, "\n\n");
    }
    if (p->live)
        cmd_live_rest(o, p->live);
    else
        steps(o, p, p->plan, !p->applied || p->verbose);
    not_known(o, p);
    conflicts(o, p);
    if (!p->quiet)
        cmd_render_notes(o, p->plan);
    if (!p->applied)
        summary(o, p);
}

/* An undo can fail as the apply did: once is enough. What another program has said to it is
 * below the first line. */
bool cmd_same_error(const struct rec_error *a, const struct rec_error *b)
{
    size_t n = strcspn(a->text, "\n");
    return n == strcspn(b->text, "\n") && !memcmp(a->text, b->text, n);
}

static void failures(struct cmd_out *err, const struct cmd_render_plan *p)
{
    const struct rec_result *r = p->result;
    cmd_render_error(err, p->file, &r->error);
    for (size_t i = 0, shown = 0; i < r->report.n_failures; i++) {
        if (cmd_same_error(&r->report.failures[i].error, &r->error))
            continue;
        if (++shown > 20) {
            cmd_printf(err, "and %zu more failures\n", r->report.n_failures - i);
            break;
        }
        cmd_render_error(err, p->file, &r->report.failures[i].error);
    }
}

static void what_is_left(struct cmd_out *err, const struct cmd_render_plan *p)
{
    const struct rec_plan *left = p->result->left;
    if (!left || (!left->n && !left->n_conflicts)) {
        cmd_put(err, "What is left could not be read.\n");
        return;
    }
    cmd_put(err, "Left to be undone:\n");
    struct cmd_render_plan q = {.file = p->file, .plan = left};
    steps(err, &q, left, true);
    conflicts(err, &q);
}

static void next(struct cmd_out *err, const struct cmd_render_plan *p, const char *text)
{
    cmd_printf(err, "  %s: berth plan ", text);
    if (p->file && strcmp(p->file, "<stdin>"))
        cmd_safe(err, p->file);
    cmd_put(err, "\n");
}

void cmd_render_result_text(struct cmd_out *out, struct cmd_out *err,
                            const struct cmd_render_plan *p, const char *verb)
{
    const struct rec_result *r = p->result;
    switch (r->outcome) {
    case REC_IN_SYNC:
        if (!p->quiet && p->plan)
            in_sync(out, p);
        return;
    case REC_APPLIED: {
        uint64_t us = r->us_read + r->us_apply + r->us_check;
        if (p->quiet)
            return;
        cmd_style(out, CMD_GREEN);
        cmd_printf(out, "%s %zu %s in %llu.%02llu s; in sync", verb, r->report.done,
                   r->report.done == 1 ? "step" : "steps", (unsigned long long)(us / 1000000),
                   (unsigned long long)(us % 1000000 / 10000));
        cmd_style(out, CMD_PLAIN);
        cmd_put(out, "\n");
        return;
    }
    case REC_REFUSED:
        failures(err, p);
        if (r->report.done)
            cmd_printf(err, "%s %zu %s; what is named above is refused.\n", verb, r->report.done,
                       r->report.done == 1 ? "step" : "steps");
        else
            cmd_put(err, "Refused; nothing was changed.\n");
        return;
    case REC_UNTOUCHED:
        failures(err, p);
        cmd_put(err, "Failed; the host is as it was.\n");
        return;
    case REC_ROLLED_BACK:
        failures(err, p);
        cmd_printf(err, "Failed; %zu %s done and undone: the host is as it was before",
                   r->report.done, r->report.done == 1 ? "step was" : "steps were");
        if (r->plan)
            interrupted(err, r->plan, true);
        cmd_put(err, ".\n");
        next(err, p, "once the cause is gone, begin with");
        return;
    case REC_PARTIAL:
        failures(err, p);
        if (r->aside) {
            cmd_printf(err, "%s %zu %s; what is named above is left.\n", verb, r->report.done,
                       r->report.done == 1 ? "step" : "steps");
            return;
        }
        if (r->alone) {
            cmd_printf(err, "%s %zu %s; what is named above failed, and nothing was undone.\n",
                       verb, r->report.done, r->report.done == 1 ? "step" : "steps");
            return;
        }
        cmd_put(err, "Failed, and not all of it could be undone. ");
        what_is_left(err, p);
        next(err, p, "see what differs from the spec");
        return;
    case REC_UNSUPPORTED:
    case REC_LOCKED:
    case REC_DENIED:
        failures(err, p);
        return;
    }
}
