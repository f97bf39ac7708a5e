/* A plan as a comment on a pull request: the same bytes for the same change, under what a comment
 * may have, and nothing in it that the spec's author could turn into markup. And faults as
 * annotations of a workflow. */
#include "cmd/range.h"
#include "cmd/render/grants.h"
#include "cmd/render/render.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_FOR_END = 200 /* the sentences that count what is left out */, MOST_TITLE = 1200 };

/* Others' bytes inside <code>: every character that markdown or HTML could take for its own is
 * an entity. */
static void code_text(struct cmd_out *o, const char *text)
{
    struct cmd_out raw = {.fd = -1, .utf8 = true};
    char *copy = strdup(text);
    for (char *t = copy; t && (t = strchr(t, '\t'));)
        *t = ' ';
    cmd_safe(&raw, copy ? copy : "");
    free(copy);
    cmd_put(o, "<code>");
    for (const char *p = raw.text ? raw.text : ""; *p; p++)
        if (strchr("&<>|`*_~[]\\@#", *p) || (*p == ':' && p[1] == '/'))
            cmd_printf(o, "&#%d;", *p);
        else
            cmd_putn(o, p, 1);
    cmd_put(o, "</code>");
    cmd_out_done(&raw);
}

static void counted(struct cmd_out *o, size_t n, const char *what, bool *first)
{
    if (!n)
        return;
    cmd_printf(o, "%s%zu %s", *first ? "" : ", ", n, what);
    *first = false;
}

static void host_summary(struct cmd_out *o, const struct rec_plan *p)
{
    bool first = true;
    counted(o, p->creates, "to create", &first);
    counted(o, p->changes, "to change", &first);
    counted(o, p->removes, "to remove", &first);
    counted(o, p->replaces, "to recreate", &first);
    if (first)
        cmd_put(o, "nothing changes");
}

static size_t interrupted(const struct rec_plan *p, const char *names[4])
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const char *who = p->steps[i]->blinks;
        bool seen = !who || !*who;
        for (size_t k = 0; !seen && k < n && k < 4; k++)
            seen = !strcmp(names[k], who);
        for (size_t k = 0; !seen && k < i && n >= 4; k++)
            seen = p->steps[k]->blinks && !strcmp(p->steps[k]->blinks, who);
        if (!seen && n < 4)
            names[n] = who;
        n += !seen;
    }
    return n;
}

static void table_row(struct cmd_out *o, const struct cmd_range_host *h)
{
    cmd_put(o, "| ");
    code_text(o, h->name);
    if (h->goes) {
        cmd_put(o, " | | | | | | leaves the spec: nothing is removed there |\n");
        return;
    }
    cmd_printf(o, " | %zu | %zu | %zu | %zu | ", h->plan->creates, h->plan->changes,
               h->plan->removes, h->plan->replaces);
    const char *names[4];
    size_t n = interrupted(h->plan, names);
    for (size_t i = 0; i < n && i < 4; i++) {
        cmd_put(o, i ? ", " : "");
        code_text(o, names[i]);
    }
    if (n > 4)
        cmd_printf(o, " and %zu more", n - 4);
    cmd_put(o, h->refusal.code ? " | **refused** |\n"
               : h->plan->n    ? " | ok |\n"
                               : " | no change |\n");
}

static void grant_row(void *arg, const char *field, const char *value)
{
    struct cmd_out *o = arg;
    cmd_put(o, "<br>");
    code_text(o, field);
    cmd_put(o, ": ");
    code_text(o, value);
}

static void step_row(struct cmd_out *o, const struct rec_step *s, const char *path)
{
    cmd_printf(o, "| %s | ", rec_action_sign(s->action));
    code_text(o, s->object);
    cmd_put(o, " | ");
    code_text(o, s->implied ? "goes with its link" : s->reason ? s->reason : "");
    if (s->effect != REC_LIVE)
        cmd_printf(o, "; **%s**", rec_effect_name(s->effect));
    for (size_t i = 0; i < s->n_differences && i < 12; i++) {
        struct rec_difference d = s->differences[i];
        /* One value that goes and one that comes, of the same field, are one change to read. */
        if (i + 1 < s->n_differences && !d.to && !s->differences[i + 1].from &&
            !strcmp(d.field, s->differences[i + 1].field))
            d.to = s->differences[++i].to;
        cmd_put(o, "<br>");
        code_text(o, d.field);
        cmd_put(o, ": ");
        code_text(o, d.from ? d.from : "nothing");
        cmd_put(o, " → ");
        code_text(o, d.to ? d.to : "nothing");
    }
    if (s->n_differences > 12)
        cmd_printf(o, "<br>and %zu more", s->n_differences - 12);
    cmd_grants(s, CMD_GRANTS_ALL, grant_row, o);
    cmd_put(o, " | ");
    if (s->at.line && s->to) {
        char where[1100];
        snprintf(where, sizeof where, "%s:%u", path, s->at.line);
        code_text(o, where);
    }
    cmd_put(o, " |\n");
}

/* A range as it was asked for; one that is a page long by its beginning. */
static void title_text(struct cmd_out *o, const char *before, const char *title)
{
    char *text = NULL;
    bool cut = strlen(title) > MOST_TITLE;
    if (asprintf(&text, "%s%.*s%s", before, MOST_TITLE, title, cut ? "…" : "") < 0)
        text = NULL;
    code_text(o, text ? text : "");
    free(text);
}

/* One host's part, as long as `room` is left after it. false: it was cut. */
static bool host_part(struct cmd_out *o, const struct cmd_range *r, const struct cmd_range_host *h,
                      size_t room)
{
    struct cmd_out row = {.fd = -1, .utf8 = true};
    cmd_put(&row, "\n<details><summary><b>");
    code_text(&row, h->name);
    cmd_put(&row, "</b>: ");
    host_summary(&row, h->plan);
    cmd_put(&row, h->refusal.code ? ", <b>refused</b></summary>\n\n" : "</summary>\n\n");
    if (h->refusal.code) {
        cmd_put(&row, "**Refused**: ");
        code_text(&row, h->refusal.text);
        cmd_put(&row, "<br>");
        code_text(&row, h->refusal.hint);
        cmd_put(&row, "\n\n");
    }
    cmd_put(&row, "| | object | what | spec |\n|---|---|---|---|\n");
    room += ROOM_FOR_END;
    bool begun = o->n + row.n + room < CMD_MARKDOWN_MOST, whole = begun;
    if (begun)
        cmd_putn(o, row.text, row.n);
    for (size_t i = 0; whole && i < h->plan->n; i++) {
        row.n = 0;
        step_row(&row, h->plan->steps[i], r->to.path);
        whole = o->n + row.n + room < CMD_MARKDOWN_MOST;
        if (whole)
            cmd_putn(o, row.text, row.n);
        else
            cmd_printf(o, "\n… and %zu more steps of this host.\n", h->plan->n - i);
    }
    cmd_out_done(&row);
    cmd_put(o, begun ? "\n</details>\n" : "");
    return whole;
}

struct given {
    struct cmd_out *o;
    const char *host, *container;
    size_t more; /* that found no room */
};

static void given_item(void *arg, const char *field, const char *value)
{
    struct given *g = arg;
    struct cmd_out item = {.fd = -1, .utf8 = true};
    cmd_put(&item, "- ");
    code_text(&item, g->host);
    cmd_put(&item, ", ");
    code_text(&item, g->container);
    cmd_put(&item, ": ");
    code_text(&item, field);
    cmd_put(&item, " ");
    code_text(&item, value);
    cmd_put(&item, "\n");
    if (g->o->n + item.n < CMD_MARKDOWN_MOST / 2)
        cmd_putn(g->o, item.text, item.n);
    else
        g->more++;
    cmd_out_done(&item);
}

/* Where not all steps have room, what containers are given of the host comes before them. */
static void given_part(struct cmd_out *o, const struct cmd_range *r)
{
    struct given g = {.o = o};
    size_t before = o->n;
    cmd_put(o, "\nWhat containers are given of the host:\n\n");
    size_t begun = o->n;
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; r->hosts[i].plan && k < r->hosts[i].plan->n; k++) {
            const struct rec_step *s = r->hosts[i].plan->steps[k];
            g.host = r->hosts[i].name;
            g.container = s->to && s->to->container ? s->to->container : s->object;
            cmd_grants(s, CMD_GRANTS_HOST, given_item, &g);
        }
    if (g.more)
        cmd_printf(o, "\n… and %zu more lines.\n", g.more);
    else if (o->n == begun)
        o->n = before;
}

/* The parts of the hosts. The number that had to be cut. */
static size_t host_parts(struct cmd_out *o, const struct cmd_range *r, size_t room)
{
    size_t left = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->hosts[i].plan && r->hosts[i].plan->n && !host_part(o, r, &r->hosts[i], room))
            left++;
    return left;
}

void cmd_render_range_markdown(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r)
{
    struct cmd_out last = {.fd = -1, .utf8 = true};
    size_t steps = 0, changed = 0;
    (void)c;
    for (size_t i = 0; i < r->n; i++) {
        steps += r->hosts[i].plan ? r->hosts[i].plan->n : 0;
        changed += r->hosts[i].goes || r->hosts[i].plan->n;
    }
    cmd_put(o, "### berth: ");
    title_text(o, "", r->title);
    cmd_printf(o, " — %zu %s on %zu of %zu %s\n\n", steps, steps == 1 ? "step" : "steps", changed,
               r->n, r->n == 1 ? "host" : "hosts");
    if (*r->note) {
        cmd_put(o, "> ");
        code_text(o, r->note);
        cmd_put(o, "\n\n");
    }
    cmd_put(&last, "\nCut to fit a comment; all of it: ");
    title_text(&last, "berth plan --range ", r->title);
    cmd_put(&last, "\n");
    cmd_put(o, "| host | create | change | remove | recreate | interrupts | "
               "|\n|---|--:|--:|--:|--:|---|---|\n");
    size_t shown = 0;
    for (size_t i = 0; i < r->n && o->n < CMD_MARKDOWN_MOST / 3; i++, shown++)
        table_row(o, &r->hosts[i]);
    if (shown < r->n)
        cmd_printf(o, "\n… and %zu more hosts.\n", r->n - shown);
    size_t parts = o->n, left = host_parts(o, r, last.n);
    if (left) {
        o->n = parts;
        given_part(o, r);
        host_parts(o, r, last.n);
    }
    if (left || shown < r->n)
        cmd_putn(o, last.text, last.n);
    cmd_out_done(&last);
}

void cmd_render_faults_markdown(struct cmd_out *o, const struct cmd *c, const char *title)
{
    struct cmd_out row = {.fd = -1, .utf8 = true};
    cmd_put(o, "### berth: ");
    title_text(o, "", title);
    cmd_printf(o, " — the spec is not valid: %zu %s\n\n", c->diags.errors,
               c->diags.errors == 1 ? "error" : "errors");
    cmd_put(o, "| where | | |\n|---|---|---|\n");
    size_t i = 0;
    for (; i < c->diags.n; i++) {
        const struct spec_diag *d = &c->diags.list[i];
        char where[1100], name[6];
        spec_diag_code(d->code, name);
        snprintf(where, sizeof where, "%s:%u:%u", c->file.name, d->at.line, d->at.col);
        row.n = 0;
        cmd_put(&row, "| ");
        code_text(&row, where);
        cmd_printf(&row, " | %s %s | ", d->level == SPEC_ERROR ? "error" : "warning", name);
        code_text(&row, d->text);
        if (d->hint) {
            cmd_put(&row, "<br>");
            code_text(&row, d->hint);
        }
        cmd_put(&row, " |\n");
        if (o->n + row.n + ROOM_FOR_END > CMD_MARKDOWN_MOST)
            break;
        cmd_putn(o, row.text, row.n);
    }
    if (i < c->diags.n)
        cmd_printf(o, "\n… and %zu more.\n", c->diags.n - i);
    cmd_out_done(&row);
}

void cmd_render_refusal_markdown(struct cmd_out *o, const char *title, const struct rec_error *e)
{
    cmd_put(o, "### berth: ");
    title_text(o, "", title);
    cmd_put(o, " — there is no plan\n\n> ");
    code_text(o, e->text);
    if (*e->hint) {
        cmd_put(o, "<br>");
        code_text(o, e->hint);
    }
    cmd_put(o, "\n");
}

/* The text of a workflow command: its own escapes. `property`: before the two colons. */
static void command_text(struct cmd_out *o, const char *text, bool property)
{
    for (const char *p = text; *p; p++)
        if (*p == '%' || *p == '\r' || *p == '\n' || (property && (*p == ':' || *p == ',')))
            cmd_printf(o, "%%%02X", (unsigned char)*p);
        else
            cmd_putn(o, p, 1);
}

static void annotation(struct cmd_out *o, const char *level, const char *path,
                       const struct spec_loc *at, const char *title, const char *text,
                       const char *hint)
{
    cmd_printf(o, "::%s ", level);
    if (at->line) {
        cmd_put(o, "file=");
        command_text(o, path, true);
        cmd_printf(o, ",line=%u,col=%u,endColumn=%u,", at->line, at->col,
                   at->col + (at->width ? at->width : 1));
    }
    cmd_printf(o, "title=%s::", title);
    command_text(o, text, false);
    if (hint && *hint) {
        cmd_put(o, "%0A");
        command_text(o, hint, false);
    }
    cmd_put(o, "\n");
}

void cmd_render_faults_github(struct cmd_out *o, const struct cmd *c, const char *path)
{
    for (size_t i = 0; i < c->diags.n; i++) {
        const struct spec_diag *d = &c->diags.list[i];
        char title[32] = "berth ";
        spec_diag_code(d->code, title + strlen(title));
        annotation(o, d->level == SPEC_ERROR ? "error" : "warning", path, &d->at, title, d->text,
                   d->hint);
        if (d->note && d->note_at.line)
            annotation(o, "notice", path, &d->note_at, title, d->note, NULL);
    }
}

void cmd_render_refusal_github(struct cmd_out *o, const char *path, const struct rec_error *e)
{
    annotation(o, "error", path, &e->at, "berth refused", e->text, e->hint);
}
