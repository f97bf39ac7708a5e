/* The state of each resource: beside what the spec asks for, what berth made that it no longer
 * asks for. */
#include "cmd/git.h"
#include "cmd/render/json.h"
#include "reconcile/record.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name, *text;
    const char *utf8, *ascii;
    enum cmd_style style;
} rows[] = {
    [CMD_IN_SYNC] = {"in_sync", "in sync", "✓", "ok", CMD_GREEN},
    [CMD_MISSING] = {"missing", "missing", "+", "+ ", CMD_YELLOW},
    [CMD_DIFFERS] = {"differs", "differs", "~", "~ ", CMD_YELLOW},
    [CMD_FOREIGN] = {"conflict", "not berth's", "!", "! ", CMD_RED},
    [CMD_UNWANTED] = {"unwanted", "not in the spec", "-", "- ", CMD_RED},
    [CMD_OURS] = {"ours", "berth's", "*", "* ", CMD_GREEN},
    [CMD_UNKNOWN] = {"unknown", "not known", "?", "? ", CMD_DIM},
};

static const char *said(const struct cmd_render_resource *r)
{
    if (r->conflict)
        return r->conflict->text;
    if (r->step && r->sync != CMD_UNWANTED && r->step->reason)
        return r->step->reason;
    if (r->sync == CMD_UNKNOWN && r->item->unknown)
        return r->item->unknown;
    if (r->sync == CMD_IN_SYNC && r->item->kind == REC_RUN && r->item->run.held)
        return r->item->run.held;
    return rows[r->sync].text;
}

static void line(struct cmd_out *o, const struct cmd_render_status *s,
                 const struct cmd_render_resource *r, size_t width)
{
    const char *text = said(r);
    const struct spec_loc *at = &r->item->at;
    cmd_put(o, "  ");
    cmd_style(o, rows[r->sync].style);
    cmd_put(o, cmd_symbol(o, rows[r->sync].utf8, rows[r->sync].ascii));
    cmd_style(o, CMD_PLAIN);
    cmd_put(o, " ");
    size_t n = cmd_safe(o, r->object);
    bool below = cmd_safe_width(o, text) > 26;
    cmd_pad(o, (n < width ? width - n : 0) + 2);
    size_t k = cmd_safe(o, below ? rows[r->sync].text : text);
    if (s->file && at->line && r->sync != CMD_IN_SYNC) {
        cmd_pad(o, k < 16 ? 18 - k : 2);
        cmd_style(o, CMD_DIM);
        const char *base = strrchr(s->file, '/');
        cmd_safe(o, base ? base + 1 : s->file);
        cmd_printf(o, ":%u", at->line);
        cmd_style(o, CMD_PLAIN);
    }
    cmd_put(o, "\n");
    if (below) {
        cmd_pad(o, 6);
        cmd_wrap(o, text, 6, 6, CMD_WIDTH);
        cmd_put(o, "\n");
    }
    for (size_t i = 0; r->step && i < r->step->n_differences; i++) {
        const struct rec_difference *d = &r->step->differences[i];
        cmd_pad(o, 6);
        size_t f = cmd_safe(o, d->field);
        cmd_put(o, "  ");
        if (r->item->kind == REC_NAT && d->from && !d->to) {
            cmd_wrap(o, d->from, 8 + f, 8 + f, CMD_WIDTH);
        } else {
            size_t from = cmd_safe(o, d->from ? d->from : "nothing");
            bool fits =
                8 + f + from + 3 + cmd_safe_width(o, d->to ? d->to : "nothing") <= CMD_WIDTH;
            cmd_put(o, fits ? " " : "\n");
            cmd_pad(o, fits ? 0 : 8 + f);
            cmd_put(o, cmd_symbol(o, "→ ", "-> "));
            cmd_safe(o, d->to ? d->to : "nothing");
        }
        cmd_put(o, "\n");
    }
}

static void count(const struct cmd_render_status *s, size_t n[CMD_SYNCS])
{
    memset(n, 0, CMD_SYNCS * sizeof *n);
    for (size_t i = 0; i < s->n; i++)
        n[s->list[i].sync]++;
}

/* "abc1234 (main)" */
static void commit(struct cmd_out *o, const char *id, const char *ref)
{
    struct cmd_git g = {0};
    cmd_printf(o, "%.7s", id);
    snprintf(g.ref, sizeof g.ref, "%s", ref ? ref : "");
    if (!*g.ref)
        return;
    cmd_put(o, " (");
    cmd_safe(o, cmd_git_short_ref(&g));
    cmd_put(o, ")");
}

/* ", applied 3h ago", or which commit that was if it is not the spec's. */
static void applied(struct cmd_out *o, const struct cmd_render_status *s, bool told)
{
    char ago[32];
    if (!s->applied || !s->applied->commit)
        return;
    cmd_render_duration(
        s->now > s->applied->when ? (uint64_t)(s->now - s->applied->when) * 1000u : 0, ago);
    if (told && !strcmp(s->applied->commit, s->git->commit)) {
        cmd_printf(o, ", applied %s ago", ago);
        return;
    }
    cmd_put(o, "; applied was ");
    commit(o, s->applied->commit, s->applied->ref);
    cmd_printf(o, ", %s ago", ago);
}

void cmd_render_status_text(struct cmd_out *o, const struct cmd_render_status *s)
{
    size_t width = 0, n[CMD_SYNCS];
    count(s, n);
    for (size_t i = 0; i < s->n; i++) {
        size_t w = cmd_safe_width(o, s->list[i].object);
        if (w > width && w <= 46)
            width = w;
    }
    bool of_container = false;
    for (size_t i = 0; i < s->n; i++) {
        const struct cmd_render_resource *r = &s->list[i];
        if (s->quiet && (r->sync == CMD_IN_SYNC || r->sync == CMD_OURS))
            continue;
        if (i && (r->item->container != NULL) != of_container && !s->quiet)
            cmd_put(o, "\n");
        of_container = r->item->container != NULL;
        line(o, s, r, width);
    }
    if (s->n && !s->quiet)
        cmd_put(o, "\n");
    if (s->plan && !s->quiet)
        cmd_render_notes(o, s->plan);
    bool good = n[CMD_IN_SYNC] + n[CMD_OURS] == s->n, told = false;
    cmd_style(o, good ? CMD_GREEN : CMD_BOLD);
    if (!s->n)
        cmd_put(o, "Nothing here is berth's");
    else if (n[CMD_OURS] == s->n)
        cmd_printf(o, "%zu %s berth's; without a spec nothing is compared", s->n,
                   s->n == 1 ? "resource is" : "resources are");
    else if (good)
        cmd_printf(o, "All %zu resources are in sync", s->n);
    else
        cmd_printf(o, "%zu resources: %zu in sync", s->n, n[CMD_IN_SYNC]);
    static const enum cmd_render_sync faults[] = {CMD_MISSING, CMD_DIFFERS, CMD_FOREIGN,
                                                  CMD_UNWANTED, CMD_UNKNOWN};
    for (int i = 0; i < 5; i++)
        if (n[faults[i]])
            cmd_printf(o, ", %zu %s", n[faults[i]],
                       faults[i] == CMD_DIFFERS && n[faults[i]] > 1 ? "differ"
                                                                    : rows[faults[i]].text);
    if (good && s->git && s->n && n[CMD_OURS] != s->n) {
        told = true;
        cmd_put(o, " with ");
        commit(o, s->git->commit, s->git->ref);
    }
    cmd_style(o, CMD_PLAIN);
    applied(o, s, told);
    cmd_put(o, "\n");
}

void cmd_render_status_json(struct cmd_out *o, const struct cmd_render_status *s)
{
    size_t n[CMD_SYNCS];
    count(s, n);
    bool good = n[CMD_IN_SYNC] + n[CMD_OURS] == s->n;
    json_t *j = cmd_json_envelope("berth.status", s->host, s->file,
                                  n[CMD_FOREIGN] ? "conflict"
                                  : good         ? "in_sync"
                                                 : "pending");
    json_t *list = json_array(), *sum = json_object();
    for (size_t i = 0; i < s->n; i++) {
        const struct cmd_render_resource *r = &s->list[i];
        json_t *one = json_object();
        json_object_set_new(
            one, "kind",
            cmd_json_text(rec_kinds[r->item->kind] ? rec_kinds[r->item->kind]->name : ""));
        json_object_set_new(one, "key", cmd_json_text(r->item->key));
        json_object_set_new(one, "object", cmd_json_text(r->object));
        json_object_set_new(one, "container", cmd_json_text(r->item->container));
        json_object_set_new(one, "state", cmd_json_text(rows[r->sync].name));
        json_object_set_new(one, "reason",
                            r->step || r->conflict ? cmd_json_text(said(r)) : json_null());
        json_object_set_new(one, "changes", cmd_json_changes(r->step));
        json_object_set_new(one, "spec", cmd_json_place(s->file, &r->item->at));
        json_array_append_new(list, one);
    }
    for (int i = 0; i < CMD_SYNCS; i++)
        json_object_set_new(sum, rows[i].name, json_integer((json_int_t)n[i]));
    cmd_json_origin(j, s->path, s->git);
    if (s->applied && s->applied->commit) {
        json_t *a = json_object();
        json_object_set_new(a, "commit", cmd_json_text(s->applied->commit));
        json_object_set_new(a, "ref",
                            s->applied->ref && *s->applied->ref ? cmd_json_text(s->applied->ref)
                                                                : json_null());
        json_object_set_new(a, "subject", cmd_json_text(s->applied->subject));
        json_object_set_new(a, "time", json_integer(s->applied->when));
        json_object_set_new(j, "applied", a);
    }
    if (s->applied && s->applied->file) {
        json_t *a = json_object();
        json_object_set_new(a, "file", cmd_json_text(s->applied->file));
        json_object_set_new(a, "time", json_integer(s->applied->when));
        json_object_set_new(j, "applied", a);
    }
    json_object_set_new(j, "held", cmd_json_held(s->held, s->held_why, s->n_held));
    json_object_set_new(j, "resources", list);
    json_object_set_new(j, "summary", sum);
    json_object_set_new(j, "notes", cmd_json_notes(s->plan));
    json_object_set_new(j, "next_start", cmd_json_next_start(s->plan));
    cmd_json_emit(o, j);
}
