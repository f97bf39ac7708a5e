/* What went wrong, for people (file:line:col first, so that editors and grep find the place) and
 * as data. */
#include "cmd/render/json.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void cmd_render_error(struct cmd_out *o, const char *file, const struct rec_error *e)
{
    cmd_style(o, CMD_BOLD);
    if (e->at.line && file) {
        cmd_safe(o, file);
        cmd_printf(o, ":%u:%u: ", e->at.line, e->at.col);
    } else {
        cmd_put(o, "berth: ");
    }
    cmd_style(o, CMD_PLAIN);
    cmd_safe_lines(o, e->text[0] ? e->text : "failed, and nothing says why", 4);
    cmd_put(o, "\n");
    if (e->hint[0]) {
        cmd_put(o, "  ");
        cmd_style(o, CMD_CYAN);
        char *words = strdup(e->hint), *command = words ? strchr(words, '\n') : NULL;
        if (command)
            *command++ = 0;
        cmd_wrap(o, words ? words : "", 2, 2, CMD_WIDTH);
        if (command) { /* whatever its width */
            cmd_put(o, "\n    ");
            cmd_safe(o, command);
        }
        free(words);
        cmd_style(o, CMD_PLAIN);
        cmd_put(o, "\n");
    }
}

static const char *code_name(enum cmd_exit code)
{
    switch (code) {
    case CMD_REFUSED:
        return "refused";
    case CMD_UNSUPPORTED:
        return "unsupported";
    case CMD_LOCKED:
        return "locked";
    case CMD_DENIED:
        return "denied";
    case CMD_ROLLED_BACK:
        return "rolled_back";
    case CMD_PARTIAL:
        return "partial";
    case CMD_BAD_SPEC:
        return "invalid";
    case CMD_USAGE:
        return "usage";
    case CMD_OK:
    case CMD_FAILED:
    case CMD_PENDING:
    case CMD_STALE:
    case CMD_FAULTS:
        break;
    }
    return "failed";
}

void cmd_render_failures_json(struct cmd_out *o, const char *format, const char *host,
                              const char *file, enum cmd_exit code, const struct rec_error *list,
                              size_t n)
{
    json_t *j = cmd_json_envelope(format, host, file, code_name(code));
    for (size_t i = 0; i < n; i++)
        json_array_append_new(json_object_get(j, "errors"), cmd_json_error(file, &list[i]));
    cmd_json_emit(o, j);
}

static json_t *point(const struct spec_loc *at, uint32_t more)
{
    json_t *j = json_object();
    json_object_set_new(j, "line", json_integer(at->line));
    json_object_set_new(j, "column", json_integer(at->col + more));
    if (!more)
        json_object_set_new(j, "byte", json_integer(at->byte));
    return j;
}

static json_t *snippet(const char *text, size_t len, uint32_t line)
{
    const char *start;
    size_t n = line && text ? spec_source_line(text, len, line, &start) : 0;
    if (!n)
        return json_null();
    /* a NUL in it ends it, which is no loss: it is one of the faults */
    char *copy = strndup(start, n);
    json_t *j = cmd_json_text(copy);
    free(copy);
    return j;
}

static json_t *diag(const struct spec_diag *d, const char *file, const char *text, size_t len)
{
    char code[6];
    json_t *j = json_object(), *related = json_array();
    spec_diag_code(d->code, code);
    json_object_set_new(j, "severity", json_string(d->level == SPEC_ERROR ? "error" : "warning"));
    json_object_set_new(j, "code", cmd_json_text(code));
    json_object_set_new(j, "slug", cmd_json_text(d->slug));
    json_object_set_new(j, "summary", cmd_json_text(d->text));
    json_object_set_new(j, "path", cmd_json_text(d->path));
    json_object_set_new(j, "hint", cmd_json_text(d->hint));
    json_object_set_new(j, "file", cmd_json_text(file));
    json_object_set_new(j, "start", point(&d->at, 0));
    json_object_set_new(j, "end", point(&d->at, d->at.width ? d->at.width : 1));
    json_object_set_new(j, "snippet", snippet(text, len, d->at.line));
    if (d->note) {
        json_t *r = json_object();
        json_object_set_new(r, "summary", cmd_json_text(d->note));
        json_object_set_new(r, "file", cmd_json_text(file));
        json_object_set_new(r, "start", d->note_at.line ? point(&d->note_at, 0) : json_null());
        json_array_append_new(related, r);
    }
    json_object_set_new(j, "related", related);
    return j;
}

void cmd_render_diags_json(struct cmd_out *o, const char *format, const char *file,
                           const struct spec_diags *d, const char *text, size_t len,
                           const struct spec_doc *doc)
{
    json_t *j = cmd_json_envelope(format, NULL, file, d->errors ? "invalid" : "valid");
    json_t *errors = json_array(), *warnings = json_array(), *summary = json_object();
    for (size_t i = 0; i < d->n; i++)
        json_array_append_new(d->list[i].level == SPEC_ERROR ? errors : warnings,
                              diag(&d->list[i], file, text, len));
    json_object_set_new(j, "errors", errors);
    json_object_set_new(j, "warnings", warnings);
    size_t containers = 0;
    for (size_t i = 0; doc && i < doc->n_hosts; i++)
        containers += doc->hosts[i].n_containers;
    json_object_set_new(summary, "errors", json_integer((json_int_t)d->errors));
    json_object_set_new(summary, "warnings", json_integer((json_int_t)(d->total - d->errors)));
    json_object_set_new(summary, "hosts",
                        doc ? json_integer((json_int_t)doc->n_hosts) : json_null());
    json_object_set_new(summary, "containers",
                        doc ? json_integer((json_int_t)containers) : json_null());
    json_object_set_new(j, "summary", summary);
    cmd_json_emit(o, j);
}
