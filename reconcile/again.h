/* reconcile/again.h — what of a host is read again after an apply: all that its steps can have
 * changed, and all that is cheap to read. Left out are links of others, and ports and namespaces of
 * other containers, where no step speaks of anything but single containers, filters, names,
 * settings and addresses: those were read a moment ago, and nothing that was done reaches them.
 * (Bridges are read again: ports change them.) What somebody else does to them in that moment
 * the next reading finds. */
#ifndef RECONCILE_AGAIN_H
#define RECONCILE_AGAIN_H
#include "reconcile/plan.h"

struct rec_again {
    const struct rec_state *before; /* the reading that the steps came from */
    const char **names;             /* containers whose namespace or port is touched, sorted */
    size_t n;
    bool addresses; /* of the host's links: settings can take some away */
};
/* NULL: everything is to be read again (also where memory is out). */
const struct rec_again *rec_again_after(const struct rec_plan *p, const struct rec_state *before);
/* `a` NULL: everything is. */
bool rec_again_touched(const struct rec_again *a, const char *container);
#endif
