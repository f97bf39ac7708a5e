/* reconcile/claims.h — ports and subnets of this host that the last apply gave to containers. A
 * policy refuses new ones that the host has in use; after a reboot, or if berth's
 * tables were deleted, these are not new.
 * File     /var/lib/berth/claims: "port PROTOCOL ADDRESS FIRST-LAST" and "subnet LINK
 * ADDRESS/PREFIX" a line. If the file is lost, what the kernel holds is still not new. */
#ifndef RECONCILE_CLAIMS_H
#define RECONCILE_CLAIMS_H
#include "reconcile/plan.h"

#define REC_CLAIMS "/var/lib/berth/claims"

struct rec_claims {
    char **lines;
    size_t n;
};
/* No file, no right to read it, or a damaged line: that much is not claimed. -ENOMEM. */
int rec_claims_read(struct rec_run *run, struct rec_claims *out);
bool rec_claims_port(const struct rec_claims *c, const struct net_nft_map *m);
bool rec_claims_subnet(const struct rec_claims *c, const char *link, const struct spec_addr *a);

/* After an apply. Writes where the plan changed addresses or tables, or where there is no file. */
int rec_claims_write(struct rec_run *run, const struct rec_state *want, const struct rec_plan *p,
                     struct rec_error *err);
#endif
