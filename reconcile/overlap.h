/* reconcile/overlap.h — does a new subnet of a bridge take over what the host reaches by another
 * link: the operator's client, a gateway, a nameserver, a route?
 * Kernel   an address brings a connected route. The longest prefix wins; of two equal routes the
 *          kernel may use either. */
#ifndef RECONCILE_OVERLAP_H
#define RECONCILE_OVERLAP_H
#include "reconcile/plan.h"

struct rec_routes { /* that packets leave by, of the main table */
    struct net_route *list;
    size_t n;
};
int rec_routes_read(struct rec_run *run, struct rec_routes *out, struct rec_error *err);
/* The route that packets to `a` take, or NULL. Routes of link `without` do not count; 0: all do. */
const struct net_route *rec_route_to(const struct rec_routes *r, const struct spec_addr *a,
                                     int without);

/* Looks at the steps of `p` that add an address. What must be refused goes to p->cuts, unless the
 * options allow it. Everything else becomes a warning of the plan. opt.forbid forbids both, for a
 * subnet that the last apply did not claim. Without such steps nothing is read. */
int rec_overlap_find(struct rec_run *run, struct rec_plan *p, struct rec_error *err);
#endif
