/* The table of containers. Columns are as wide as what stands in them. */
#include "cmd/render/json.h"
#include <stdio.h>
#include <string.h>

void cmd_render_duration(uint64_t ms, char out[32])
{
    unsigned long long s = ms / 1000;
    if (s >= 86400)
        snprintf(out, 32, "%llud %lluh", s / 86400, s % 86400 / 3600);
    else if (s >= 3600)
        snprintf(out, 32, "%lluh %llum", s / 3600, s % 3600 / 60);
    else if (s >= 60)
        snprintf(out, 32, "%llum %llus", s / 60, s % 60);
    else
        snprintf(out, 32, "%llus", s);
}

const char *cmd_runtime_name(enum spec_runtime r)
{
    switch (r) {
    case SPEC_RT_NIXOS:
        return "nixos";
    case SPEC_RT_NSPAWN:
        return "nspawn";
    case SPEC_RT_NETNS:
        return "netns";
    case SPEC_RT_AUTO:
        break;
    }
    return NULL;
}

enum { COLUMNS = 7 };

struct texts {
    char uptime[32];
    char state[160];
};

/* "stopped (by berth stop)": the state that is seen, and why. */
static const char *state_of(const struct cmd_render_container *c, char out[160])
{
    static const char stopped[] = "stopped ";
    if (!c->held || !c->state || strcmp(c->state, "held"))
        return c->state;
    size_t skip = strncmp(c->held, stopped, sizeof stopped - 1) ? 0 : sizeof stopped - 1;
    snprintf(out, 160, "stopped (%.140s)", c->held + skip);
    return out;
}

static void cells(const struct cmd_render_container *c, uint64_t now, struct texts *t,
                  const char *cell[COLUMNS])
{
    strcpy(t->uptime, "-");
    if (c->started_ms && now >= c->started_ms)
        cmd_render_duration(now - c->started_ms, t->uptime);
    const char *state = state_of(c, t->state);
    const char *all[COLUMNS] = {c->name, c->runtime, state,  c->address,
                                c->root, t->uptime,  c->sync};
    for (int i = 0; i < COLUMNS; i++)
        cell[i] = all[i] && *all[i] ? all[i] : "-";
}

static enum cmd_style style_of(int column, const char *text)
{
    if (column == 6)
        return strcmp(text, "in sync") ? CMD_YELLOW : CMD_GREEN;
    if (column == 2)
        return !strcmp(text, "running")                            ? CMD_GREEN
               : !strcmp(text, "dead") || !strcmp(text, "missing") ? CMD_RED
                                                                   : CMD_PLAIN;
    return CMD_PLAIN;
}

static void row(struct cmd_out *o, const char *const cell[COLUMNS], const size_t width[COLUMNS],
                bool head)
{
    for (int i = 0; i < COLUMNS; i++) {
        cmd_style(o, head ? CMD_BOLD : style_of(i, cell[i]));
        size_t n = cmd_safe(o, cell[i]);
        cmd_style(o, CMD_PLAIN);
        if (i + 1 < COLUMNS)
            cmd_pad(o, width[i] - n + 2);
    }
    cmd_put(o, "\n");
}

void cmd_render_list_text(struct cmd_out *o, const struct cmd_render_list *l)
{
    static const char *const head[COLUMNS] = {"NAME", "RUNTIME", "STATE", "ADDRESS",
                                              "ROOT", "UPTIME",  "SYNC"};
    size_t width[COLUMNS];
    struct texts text;
    const char *cell[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        width[i] = strlen(head[i]);
    for (size_t k = 0; k < l->n; k++) {
        cells(&l->list[k], l->now_ms, &text, cell);
        for (int i = 0; i < COLUMNS; i++) {
            size_t w = cmd_safe_width(o, cell[i]);
            width[i] = w > width[i] ? w : width[i];
        }
    }
    row(o, head, width, true);
    for (size_t k = 0; k < l->n; k++) {
        cells(&l->list[k], l->now_ms, &text, cell);
        row(o, cell, width, false);
    }
}

void cmd_render_list_json(struct cmd_out *o, const struct cmd_render_list *l)
{
    json_t *j = cmd_json_envelope("berth.list", l->host, l->file, "listed"), *list = json_array();
    for (size_t i = 0; i < l->n; i++) {
        const struct cmd_render_container *c = &l->list[i];
        json_t *one = json_object();
        json_object_set_new(one, "name", cmd_json_text(c->name));
        json_object_set_new(one, "runtime", cmd_json_text(c->runtime));
        json_object_set_new(one, "state", cmd_json_text(c->state));
        json_object_set_new(one, "held", c->held ? cmd_json_text(c->held) : json_null());
        json_object_set_new(one, "address", cmd_json_text(c->address));
        json_object_set_new(one, "root", cmd_json_text(c->root));
        json_object_set_new(one, "sync", cmd_json_text(c->sync));
        json_object_set_new(one, "leader", c->leader ? json_integer(c->leader) : json_null());
        json_object_set_new(one, "started_boottime_ms",
                            c->started_ms ? json_integer((json_int_t)c->started_ms) : json_null());
        json_array_append_new(list, one);
    }
    cmd_json_origin(j, l->path, l->git);
    json_object_set_new(j, "containers", list);
    cmd_json_emit(o, j);
}
