/* cmd/render/fragment.h — a container as a spec says it: all defaults merged in, nothing relative
 * to a folder.
 * Owns     what jansson's functions give is the caller's. */
#ifndef CMD_RENDER_FRAGMENT_H
#define CMD_RENDER_FRAGMENT_H
#include "cmd/render/json.h"
#include "reconcile/runtime.h"

json_t *cmd_fragment(struct rec_run *run, const struct spec_container *c);
/* "name:" and what belongs to it, as YAML, indented by six blanks: a value that is a list or a
 * map stands in JSON's form, which YAML reads. */
void cmd_fragment_put(struct cmd_out *o, const char *name, json_t *fragment);
#endif
