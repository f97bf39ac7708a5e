/* reconcile/kinds/links.h — the host's links and addresses, read in one dump each and looked up by
 * every kind.
 * Owns     its arrays, until rec_links_free; a new read replaces them. */
#ifndef RECONCILE_KINDS_LINKS_H
#define RECONCILE_KINDS_LINKS_H
#include "netops/address.h"
#include "reconcile/run.h"
#include "reconcile/state.h"

struct rec_links {
    struct net_link *link;
    size_t n, room;
    uint32_t *by_name, *by_index; /* positions in `link`, sorted */
    /* beside `link`: the end of a port that has been read */
    bool *paired;
    struct net_altname *alt;
    size_t n_alt, room_alt;
    struct net_address *address;
    size_t n_address, room_address;
    /* indexes of bridges that are not berth's, or that others have ports on */
    int *shared;
    size_t n_shared, room_shared;
    /* of ports, only what a bridge tells; slaves of what is no bridge are missing */
    bool brief;
};
/* Brief where many ports are wanted, and all that is there are these and look as they should; else,
 * and with `wanted` NULL, whole. One port that is not of berth's making (or of a version that
 * gave it no MAC) is enough for that. */
int rec_links_read(struct rec_run *run, const struct rec_state *wanted, struct rec_error *err);
/* Again and whole, if they were read in brief: for whoever takes links away, or must know of those
 * that are not ours. Links that were found before are forgotten. */
int rec_links_whole(struct rec_run *run, struct rec_error *err);
/* Link `name`, which was read in brief, as a whole reading has it; left as it is where it has
 * become another one meanwhile. */
int rec_link_closer(struct rec_run *run, const char *name, struct rec_error *err);
void rec_links_free(struct rec_links *l);
const struct net_link *rec_link_named(const struct rec_links *l, const char *name);
const struct net_link *rec_link_indexed(const struct rec_links *l, int index);
/* The link that bears `name` as an alternative name, or NULL: such a name is taken too. */
const struct net_link *rec_link_altnamed(const struct rec_links *l, const char *name);
/* Set by the reading of bridges: such a bridge, that is wanted or ours. -ENOMEM. */
int rec_link_share(struct rec_links *l, int bridge);
bool rec_link_is_shared(const struct rec_links *l, int bridge);
/* The index of link `name` as it is now: from the dump, else asked for (it was made since). */
int rec_link_index(struct rec_run *run, const char *name, int *index, struct rec_error *err);
#endif
