/* reconcile/runtimes/nspawn_users.h — whose ids the users of a container have on the host, and what
 * its root may do there.
 * Ranges   65,536 ids per container, no two containers alike. The first id comes from the
 *          container's name; a clash moves it on. REC_STATE_DIR/ids records each range until the
 *          container leaves, one line "NAME FIRST" each. Files on disk have unshifted ids: roots
 *          and binds are idmapped mounts.
 * Kernel   user_namespaces(7), mount_setattr(2) MOUNT_ATTR_IDMAP (5.12; tmpfs 6.3; not for
 *          overlay), capabilities(7).
 * Source   systemd.io/UIDS-GIDS: 0x70000000 to 0x7FFDFFFF is unused; systemd-nspawn picks below
 *          it. */
#ifndef RECONCILE_RUNTIMES_NSPAWN_USERS_H
#define RECONCILE_RUNTIMES_NSPAWN_USERS_H
#include "reconcile/run.h"
#include "reconcile/runtimes/nspawn.h"

struct nspawn_users {
    enum spec_users in_force; /* what the container runs with here */
    uint32_t first;           /* AUTO: the first host id of its range */
    const char *cannot;       /* `auto` is wanted and cannot be had: why; else NULL */
    /* with `cannot`: the root or bind that is in the way, or NULL */
    const char *path;
};
int nspawn_users_find(struct rec_run *run, const struct spec_container *c,
                      struct nspawn_users *out);
/* What would be in force if what is in the way of `auto` were not there, or came. -ENOENT: the spec
 * decides. */
int nspawn_users_other(struct rec_run *run, const struct spec_container *c,
                       const struct nspawn_users *u, struct nspawn_users *out);
/* `path` or its nearest existing parent is on a file system with idmapped mounts. */
bool nspawn_can_idmap(struct rec_run *run, const char *path);
/* Up to NSPAWN_FORM_LINKS: whether nspawn is asked to map ids for a bind of the host's path `host`.
 * A path inside the container's own root was mapped along with the root. */
bool nspawn_users_mapped_bind(struct rec_run *run, const struct spec_container *c,
                              const char *host);
/* Arguments of nspawn for the capabilities that the container has. */
void nspawn_users_capabilities(const struct spec_container *c, const struct nspawn_users *u,
                               struct nspawn_words *w);
/* One line: what root of the container can do to the host; NULL: nothing that a user namespace lets
 * through. */
const char *nspawn_users_risk(struct spec_arena *a, const struct spec_container *c,
                              const struct nspawn_users *u);
/* Ranges of this run go to the record before a container can use them. The other one forgets the
 * range of a container that leaves. */
int nspawn_users_record(struct rec_run *run, struct rec_error *err);
void nspawn_users_forget(struct rec_run *run, const char *name);
void nspawn_users_done(struct rec_run *run); /* rec_close does it */
#endif
