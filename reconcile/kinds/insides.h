/* reconcile/kinds/insides.h — what is inside of each named namespace, read by threads of its own
 * while the run reads the host.
 * Threads  each enters namespaces one after the other and never comes back, so that the run itself
 *          never leaves the host's. They share nothing with it until they are awaited.
 * Owns     what was found, until the next reading or rec_insides_free. */
#ifndef RECONCILE_KINDS_INSIDES_H
#define RECONCILE_KINDS_INSIDES_H
#include "netops/netns.h"
#include "reconcile/run.h"
#include "reconcile/state.h"

struct rec_inside {
    const char *name; /* in the run's arena */
    bool there;       /* a namespace is behind the name */
    /* something is that is none, and no empty file (what a dead `ip netns` leaves behind) */
    bool taken;
    bool left_over; /* only the file that a killed run of ours left behind */
    struct net_inside in;
    bool brief; /* only what one in good order has was read */
    int failed;
    struct net_error *error; /* of one that failed; NULL: no memory for it */
};
/* Begin to read all of them, or those of run->again alone. 0 also where there are none. */
int rec_insides_begin(struct rec_run *run, struct rec_error *err);
/* All are read; begun now if they were not. run->links has been read: what the host's end of a
 * brief one gainsays is read in full, and so are the links themselves (rec_links_whole) where
 * they were read in brief. */
int rec_insides_await(struct rec_run *run, struct rec_inside **list, size_t *n,
                      struct rec_error *err);
/* Of those that are being read, by name alone: `container` is one; all of them are wanted. */
bool rec_insides_has(const struct rec_run *run, const char *container);
bool rec_insides_wanted(const struct rec_run *run, const struct rec_state *wanted);
/* Wait for what is under way, and forget it. */
void rec_insides_free(struct rec_run *run);
#endif
