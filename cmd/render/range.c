/* A change of a spec, host by host, for people and as data. */
#include "cmd/range.h"
#include "cmd/render/json.h"
#include <string.h>

static const char gone[] =
    "is no longer in the spec: berth refuses to apply it there, and removes nothing";

void cmd_render_range_text(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r)
{
    cmd_style(o, CMD_BOLD);
    cmd_safe(o, r->title);
    cmd_style(o, CMD_PLAIN);
    if (*r->to.commit)
        cmd_render_commit(o, &r->to);
    cmd_put(o, "\n");
    if (*r->note) {
        cmd_put(o, "  * ");
        cmd_wrap(o, r->note, 4, 4, CMD_WIDTH);
        cmd_put(o, "\n");
    }
    for (size_t i = 0; i < r->n; i++) {
        const struct cmd_range_host *h = &r->hosts[i];
        if (c->args.quiet && !h->refusal.code)
            continue;
        cmd_put(o, "\n");
        if (h->goes || !h->plan->n) {
            cmd_style(o, CMD_BOLD);
            cmd_safe(o, h->name);
            cmd_style(o, CMD_PLAIN);
            cmd_put(o, h->goes ? " " : ": nothing changes\n");
            if (h->goes)
                cmd_wrap(o, gone, strlen(h->name) + 1, 2, CMD_WIDTH);
            cmd_put(o, h->goes ? "\n" : "");
            continue;
        }
        struct cmd_render_plan p = {.host = h->name,
                                    .file = r->to.path,
                                    .plan = h->plan,
                                    .resources = h->resources,
                                    .quiet = c->args.quiet};
        cmd_render_plan_text(o, &p);
        if (h->refusal.code) {
            cmd_style(o, CMD_RED);
            cmd_put(o, "Refused: ");
            cmd_wrap(o, h->refusal.text, 9, 2, CMD_WIDTH);
            cmd_style(o, CMD_PLAIN);
            cmd_put(o, "\n  ");
            cmd_wrap(o, h->refusal.hint, 2, 2, CMD_WIDTH);
            cmd_put(o, "\n");
        }
    }
}

static const char *outcome(enum cmd_exit code)
{
    return code == CMD_REFUSED ? "refused" : code == CMD_PENDING ? "pending" : "in_sync";
}

static json_t *side(const struct cmd_git *g, const char *file)
{
    json_t *j = json_object(), *spec = json_object();
    json_object_set_new(spec, "file", cmd_json_text(file));
    json_object_set_new(j, "spec", spec);
    if (*g->commit)
        cmd_json_origin(j, NULL, g);
    json_incref(spec);
    json_decref(j);
    return spec;
}

void cmd_render_range_json(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r,
                           enum cmd_exit code)
{
    json_t *j = cmd_json_envelope("berth.range", c->args.host, r->to.path, outcome(code)),
           *hosts = json_array();
    cmd_json_origin(j, NULL, *r->to.commit ? &r->to : NULL);
    json_object_set_new(j, "range", cmd_json_text(r->title));
    json_object_set_new(j, "from", r->from_nothing ? json_null() : side(&r->from, r->from.path));
    json_object_set_new(j, "note", *r->note ? cmd_json_text(r->note) : json_null());
    for (size_t i = 0; i < r->n; i++) {
        const struct cmd_range_host *h = &r->hosts[i];
        json_t *one = json_object(), *steps = json_array();
        for (size_t k = 0; h->plan && k < h->plan->n; k++)
            json_array_append_new(steps, cmd_json_step(r->to.path, h->plan->steps[k]));
        json_object_set_new(one, "host", cmd_json_text(h->name));
        json_object_set_new(one, "change",
                            json_string(h->goes      ? "goes"
                                        : h->comes   ? "comes"
                                        : h->plan->n ? "changes"
                                                     : "none"));
        json_object_set_new(one, "outcome",
                            cmd_json_text(h->refusal.code         ? "refused"
                                          : h->goes || h->plan->n ? "pending"
                                                                  : "in_sync"));
        json_object_set_new(one, "steps", steps);
        json_object_set_new(one, "summary", cmd_json_summary(h->plan));
        json_object_set_new(one, "notes", cmd_json_notes(h->plan));
        json_object_set_new(one, "refusal",
                            h->refusal.code ? cmd_json_error(r->to.path, &h->refusal)
                                            : json_null());
        json_array_append_new(hosts, one);
    }
    json_object_set_new(j, "hosts", hosts);
    cmd_json_emit(o, j);
}
