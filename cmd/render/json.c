/* JSON is written in ASCII: a name can hide nothing from a terminal, and no locale has a say. */
#include "cmd/render/json.h"
#include "cmd/git.h"
#include "cmd/render/grants.h"
#include <stdlib.h>
#include <string.h>

json_t *cmd_json_text(const char *s)
{
    json_t *j = s ? json_string(s) : json_null();
    if (j)
        return j;
    struct cmd_out o = {.fd = -1, .utf8 = true}; /* not UTF-8 */
    cmd_safe(&o, s);
    j = json_string(o.text ? o.text : "");
    cmd_out_done(&o);
    return j;
}

json_t *cmd_json_place(const char *file, const struct spec_loc *at)
{
    if (!at->line)
        return json_null();
    json_t *j = json_object();
    json_object_set_new(j, "file", cmd_json_text(file));
    json_object_set_new(j, "line", json_integer(at->line));
    json_object_set_new(j, "column", json_integer(at->col));
    return j;
}

json_t *cmd_json_envelope(const char *format, const char *host, const char *file,
                          const char *outcome)
{
    json_t *j = json_object(), *spec = file ? json_object() : json_null();
    json_object_set_new(j, "format", cmd_json_text(format));
    json_object_set_new(j, "format_version", json_string("1.0"));
    json_object_set_new(j, "berth_version", json_string(BERTH_VERSION));
    json_object_set_new(j, "host", cmd_json_text(host));
    json_object_set_new(j, "outcome", cmd_json_text(outcome));
    if (file)
        json_object_set_new(spec, "file", cmd_json_text(file));
    json_object_set_new(j, "spec", spec);
    json_object_set_new(j, "errors", json_array());
    return j;
}

void cmd_json_origin(json_t *envelope, const char *path, const struct cmd_git *g)
{
    json_t *spec = json_object_get(envelope, "spec"), *c;
    if (!json_is_object(spec))
        return;
    json_object_set_new(spec, "path", cmd_json_text(path));
    if (!g)
        return;
    json_object_set_new(spec, "repository", cmd_json_text(*g->work ? g->work : g->repo));
    c = json_object();
    json_object_set_new(c, "id", cmd_json_text(g->commit));
    json_object_set_new(c, "ref", *g->ref ? cmd_json_text(g->ref) : json_null());
    json_object_set_new(c, "author", cmd_json_text(g->author));
    json_object_set_new(c, "email", cmd_json_text(g->email));
    json_object_set_new(c, "time", json_integer(g->time));
    json_object_set_new(c, "subject", cmd_json_text(g->subject));
    json_object_set_new(spec, "commit", c);
}

static json_t *position(const struct spec_loc *at, uint32_t more)
{
    json_t *j = json_object();
    json_object_set_new(j, "line", json_integer(at->line));
    json_object_set_new(j, "column", json_integer(at->col + more));
    return j;
}

json_t *cmd_json_error(const char *file, const struct rec_error *e)
{
    json_t *j = json_object();
    json_object_set_new(j, "severity", json_string("error"));
    json_object_set_new(j, "code", json_null());
    json_object_set_new(j, "summary", cmd_json_text(e->text));
    json_object_set_new(j, "hint", e->hint[0] ? cmd_json_text(e->hint) : json_null());
    json_object_set_new(j, "file", e->at.line ? cmd_json_text(file) : json_null());
    json_object_set_new(j, "start", e->at.line ? position(&e->at, 0) : json_null());
    json_object_set_new(j, "end",
                        e->at.line ? position(&e->at, e->at.width ? e->at.width : 1) : json_null());
    return j;
}

static const char *action_name(enum rec_action a)
{
    switch (a) {
    case REC_CREATE:
        return "create";
    case REC_CHANGE:
        return "change";
    case REC_REMOVE:
        return "remove";
    case REC_REPLACE:
        return "replace";
    case REC_ADOPT:
        return "adopt";
    }
    return "";
}

static const char *state_name(enum rec_step_state s)
{
    switch (s) {
    case REC_PENDING:
        return "pending";
    case REC_DONE:
        return "done";
    case REC_FAILED:
        return "failed";
    }
    return "";
}

json_t *cmd_json_changes(const struct rec_step *s)
{
    json_t *list = json_array();
    for (size_t i = 0; s && i < s->n_differences; i++) {
        json_t *j = json_object();
        json_object_set_new(j, "field", cmd_json_text(s->differences[i].field));
        json_object_set_new(j, "from", cmd_json_text(s->differences[i].from));
        json_object_set_new(j, "to", cmd_json_text(s->differences[i].to));
        json_array_append_new(list, j);
    }
    return list;
}

static void add_grant(void *list, const char *field, const char *value)
{
    json_t *j = json_object();
    json_object_set_new(j, "field", cmd_json_text(field));
    json_object_set_new(j, "value", cmd_json_text(value));
    json_array_append_new(list, j);
}

static json_t *grants_of(const struct rec_step *s)
{
    json_t *list = json_array();
    cmd_grants(s, CMD_GRANTS_ALL, add_grant, list);
    return list;
}

json_t *cmd_json_step(const char *file, const struct rec_step *s)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    json_t *j = json_object(), *blinks = json_array(), *id;
    const char *kind = rec_kinds[s->kind] ? rec_kinds[s->kind]->name : "";
    struct cmd_out o = {.fd = -1, .utf8 = true};
    cmd_put(&o, kind);
    cmd_put(&o, "/");
    cmd_safe(&o, i->key);
    id = cmd_json_text(o.text);
    cmd_out_done(&o);
    if (s->blinks && *s->blinks)
        json_array_append_new(blinks, cmd_json_text(s->blinks));
    json_object_set_new(j, "id", id);
    json_object_set_new(j, "kind", cmd_json_text(kind));
    json_object_set_new(j, "object", cmd_json_text(s->object));
    json_object_set_new(j, "action", cmd_json_text(action_name(s->action)));
    json_object_set_new(j, "sign", cmd_json_text(rec_action_sign(s->action)));
    json_object_set_new(j, "effect", cmd_json_text(rec_effect_name(s->effect)));
    json_object_set_new(j, "reason", cmd_json_text(s->reason));
    json_object_set_new(j, "changes", cmd_json_changes(s));
    json_object_set_new(j, "blinks", blinks);
    json_object_set_new(j, "grants", grants_of(s));
    json_object_set_new(j, "container", cmd_json_text(i->container));
    json_object_set_new(j, "spec", cmd_json_place(file, &s->at));
    json_object_set_new(j, "state", cmd_json_text(state_name(s->state)));
    json_object_set_new(j, "final", json_boolean(s->final));
    json_object_set_new(j, "implied", json_boolean(s->implied));
    return j;
}

json_t *cmd_json_held(char *const *names, const char *const *why, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "container", cmd_json_text(names[i]));
        json_object_set_new(one, "reason", cmd_json_text(why[i]));
        json_array_append_new(list, one);
    }
    return list;
}

json_t *cmd_json_notes(const struct rec_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; p && i < p->n_notes; i++) {
        json_t *j = json_object();
        json_object_set_new(j, "object", cmd_json_text(p->notes[i].object));
        json_object_set_new(j, "text", cmd_json_text(p->notes[i].text));
        json_object_set_new(j, "hint",
                            p->notes[i].hint ? cmd_json_text(p->notes[i].hint) : json_null());
        json_object_set_new(j, "warning", json_boolean(p->notes[i].warning));
        json_array_append_new(list, j);
    }
    return list;
}

json_t *cmd_json_next_start(const struct rec_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; p && i < p->n_later; i++) {
        const struct rec_item *item = p->later[i];
        json_t *j = json_object();
        json_object_set_new(j, "container", cmd_json_text(item->container));
        json_object_set_new(j, "text", cmd_json_text(item->next_start));
        json_array_append_new(list, j);
    }
    return list;
}

json_t *cmd_json_conflicts(const char *file, const struct rec_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; p && i < p->n_conflicts; i++) {
        json_t *j = json_object();
        json_object_set_new(j, "object", cmd_json_text(p->conflicts[i].object));
        json_object_set_new(j, "text", cmd_json_text(p->conflicts[i].text));
        json_object_set_new(j, "hint", cmd_json_text(p->conflicts[i].hint));
        json_object_set_new(j, "spec", cmd_json_place(file, &p->conflicts[i].at));
        json_array_append_new(list, j);
    }
    return list;
}

static int emit(const char *text, size_t n, void *arg)
{
    for (const char *del; n && (del = memchr(text, 0x7f, n));
         n -= (size_t)(del + 1 - text), text = del + 1) {
        cmd_putn(arg, text, (size_t)(del - text));
        cmd_put(arg, "\\u007f");
    }
    cmd_putn(arg, text, n);
    return 0;
}

void cmd_json_emit(struct cmd_out *o, json_t *j)
{
    if (!j || json_dump_callback(j, emit, o, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENSURE_ASCII))
        cmd_put(o, "{}"); /* out of memory */
    cmd_put(o, "\n");
    json_decref(j);
}

void cmd_render_version_json(struct cmd_out *o)
{
    json_t *j = json_object();
    json_object_set_new(j, "format", json_string("berth.version"));
    json_object_set_new(j, "format_version", json_string("1.0"));
    json_object_set_new(j, "berth_version", json_string(BERTH_VERSION));
    json_object_set_new(j, "spec_version", json_integer(1));
    cmd_json_emit(o, j);
}
