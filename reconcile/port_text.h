/* reconcile/port_text.h — a wanted port as text, for whatever starts its container later.
 * Form     one line for each value, "NAME VALUE"; addresses may repeat. A field without a value
 *          has no line. Only berth writes and reads it, and unknown names are errors. */
#ifndef RECONCILE_PORT_TEXT_H
#define RECONCILE_PORT_TEXT_H
#include "reconcile/error.h"
#include "reconcile/state.h"

/* NULL: out of memory. */
const char *rec_port_text(struct spec_arena *a, const struct rec_item *port);
/* An item as the kind's `want` makes it, but for the spec. `text` is changed. -EINVAL, -ENOMEM. */
int rec_port_parse(struct spec_arena *a, const char *container, char *text, struct rec_item *out,
                   struct rec_error *err);
#endif
