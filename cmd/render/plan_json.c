/* A plan, and what became of it, as data. */
#include "cmd/render/json.h"

json_t *cmd_json_summary(const struct rec_plan *p)
{
    json_t *j = json_object();
    json_object_set_new(j, "create", json_integer(p ? (json_int_t)p->creates : 0));
    json_object_set_new(j, "change", json_integer(p ? (json_int_t)p->changes : 0));
    json_object_set_new(j, "remove", json_integer(p ? (json_int_t)p->removes : 0));
    json_object_set_new(j, "replace", json_integer(p ? (json_int_t)p->replaces : 0));
    json_object_set_new(j, "adopt", json_integer(p ? (json_int_t)p->adopts : 0));
    return j;
}

json_t *cmd_json_unknown(uint32_t kinds)
{
    json_t *list = json_array();
    for (size_t k = 0; k < REC_KINDS; k++)
        if (kinds & 1u << k)
            json_array_append_new(list, cmd_json_text(rec_kinds[k]->name));
    return list;
}

json_t *cmd_json_not_known(const char *file, const struct rec_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; p && i < p->n_not_known; i++) {
        const struct rec_item *item = p->not_known[i];
        json_t *j = json_object();
        json_object_set_new(j, "kind", cmd_json_text(rec_kinds[item->kind]->name));
        json_object_set_new(j, "container", cmd_json_text(item->container));
        json_object_set_new(j, "text", cmd_json_text(item->unknown));
        json_object_set_new(j, "spec", cmd_json_place(file, &item->at));
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *steps(const char *file, const struct rec_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; p && i < p->n; i++)
        json_array_append_new(list, cmd_json_step(file, p->steps[i]));
    return list;
}

void cmd_render_plan_json(struct cmd_out *o, const struct cmd_render_plan *p)
{
    const struct rec_result *r = p->result;
    bool pending = p->plan && (p->plan->n || p->plan->n_not_known);
    json_t *j = cmd_json_envelope(p->format, p->host, p->file,
                                  cmd_outcome_name(r ? r->outcome : REC_IN_SYNC, pending));
    cmd_json_origin(j, p->path, p->git);
    json_object_set_new(j, "steps", steps(p->file, p->plan));
    json_object_set_new(j, "summary", cmd_json_summary(p->plan));
    json_object_set_new(j, "unknown", cmd_json_unknown(p->plan ? p->plan->unknown : 0));
    json_object_set_new(j, "not_known", cmd_json_not_known(p->file, p->plan));
    json_object_set_new(j, "conflicts", cmd_json_conflicts(p->file, p->plan));
    json_object_set_new(j, "notes", cmd_json_notes(p->plan));
    json_object_set_new(j, "next_start", cmd_json_next_start(p->plan));
    json_object_set_new(j, "resources", json_integer((json_int_t)p->resources));
    if (p->applied)
        json_object_set_new(j, "left", steps(p->file, r ? r->left : NULL));
    if (r && r->outcome != REC_IN_SYNC && r->outcome != REC_APPLIED) {
        json_t *errors = json_object_get(j, "errors");
        size_t first = 0;
        if (r->error.text[0]) {
            json_array_append_new(errors, cmd_json_error(p->file, &r->error));
            first = r->report.n_failures && r->error.code == r->report.failures[0].error.code;
        }
        for (size_t i = first; i < r->report.n_failures; i++)
            if (!cmd_same_error(&r->report.failures[i].error, &r->error))
                json_array_append_new(errors,
                                      cmd_json_error(p->file, &r->report.failures[i].error));
    }
    cmd_json_emit(o, j);
}
