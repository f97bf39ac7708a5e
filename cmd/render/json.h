/* cmd/render/json.h — the parts that every envelope is made of.
 * Owns     references as jansson's `_new` functions do: what is set is stolen. */
#ifndef CMD_RENDER_JSON_H
#define CMD_RENDER_JSON_H
#include "cmd/render/render.h"
#include <jansson.h>

/* A string of anybody's bytes; what is not UTF-8 comes out as \xNN text. NULL: null. */
json_t *cmd_json_text(const char *s);
/* {file,line,column}; null where there is no line */
json_t *cmd_json_place(const char *file, const struct spec_loc *at);
/* Puts `path` (of a file; null: it is none), `commit` and `repository` into the envelope's `spec`;
 * NULL is fine. */
void cmd_json_origin(json_t *envelope, const char *path, const struct cmd_git *g);
json_t *cmd_json_envelope(const char *format, const char *host, const char *file,
                          const char *outcome);
/* {severity, code, summary, hint, file, start, …} of a failure. */
json_t *cmd_json_error(const char *file, const struct rec_error *e);
json_t *cmd_json_step(const char *file, const struct rec_step *s);
json_t *cmd_json_notes(const struct rec_plan *p);
/* Containers that are stopped although the spec wants them to run: name and reason of each. */
json_t *cmd_json_held(char *const *names, const char *const *why, size_t n);
/* containers that take a new default of berth at their next start */
json_t *cmd_json_next_start(const struct rec_plan *p);
json_t *cmd_json_conflicts(const char *file, const struct rec_plan *p);
/* names of kinds that could not be read */
json_t *cmd_json_unknown(uint32_t kinds);
/* of what is in sync as far as it is known */
json_t *cmd_json_not_known(const char *file, const struct rec_plan *p);
/* how many of each action */
json_t *cmd_json_summary(const struct rec_plan *p);
json_t *cmd_json_changes(const struct rec_step *s);
/* Prints and frees it: sorted keys, two blanks, ASCII only, one line end. */
void cmd_json_emit(struct cmd_out *o, json_t *j);
#endif
