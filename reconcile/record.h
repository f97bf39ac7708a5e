/* reconcile/record.h — what settings were before berth changed them, so that destroy can give them
 * back.
 * Files    /run/berth/sysctl: "NAME VALUE" a line. As volatile as the settings. Losing it loses the
 *          way back, nothing else.
 *          /var/lib/berth/adopted: what a bridge was before --adopt, so that it can be given back:
 *          "bridge/LINK/FIELD VALUE" and "address/LINK/ADDRESS/PREFIX PROTOCOL" a line, after "boot
 *          ID". The lines of another boot are void. If the file is lost, `destroy` removes the
 *          bridge.
 *          /run/berth/warned: the warnings that a quiet run gave last (cmd/converge.c).
 *          /var/lib/berth/protected: a container's name a line: it had `protect: true` when it was
 *          last applied.
 *          /var/lib/berth/applied: "FIELD VALUE" a line: the spec that was last applied: its file,
 *          or its commit and when that was. */
#ifndef RECONCILE_RECORD_H
#define RECONCILE_RECORD_H
#include "reconcile/run.h"

#define REC_ADOPTED "/var/lib/berth/adopted"
#define REC_WARNED  REC_RUN_DIR "/warned"

struct rec_record {
    const char *name, *value;
};
struct rec_records {
    struct rec_record *list;
    size_t n;
};
/* none: n 0 */
int rec_records_read(struct rec_run *run, struct rec_records *out, struct rec_error *err);
/* n 0: the file goes */
int rec_records_write(struct rec_run *run, const struct rec_records *r, struct rec_error *err);
/* none, or no right to: n 0 */
int rec_adopted_read(struct rec_run *run, struct rec_records *out, struct rec_error *err);
int rec_adopted_write(struct rec_run *run, const struct rec_records *r, struct rec_error *err);
/* Unless one of that name is there. The texts must live as long as the run. -ENOMEM, also where
 * either is NULL. */
int rec_record_add(struct rec_run *run, struct rec_records *r, const char *name, const char *value);
/* All whose name begins so. True: there was one. */
bool rec_record_drop(struct rec_records *r, const char *prefix);
const char *rec_record_find(const struct rec_records *r, const char *name);

/* Reads the next two files, for what follows in this run: an error in them is told before anything
 * is changed. */
int rec_memory_read(struct rec_run *run, struct rec_error *err);

/* Where the spec came from that was applied last. */
struct rec_applied {
    const char *file; /* absolute; NULL: out of git, or not known */
    const char *commit, *ref, *path, *subject, *repo;
    long long when; /* seconds since 1970 */
};
/* NULL in out->commit: not out of git, or nothing is applied. */
int rec_applied_read(struct rec_run *run, struct rec_applied *out, struct rec_error *err);
/* Of this run's options. A commit that is recorded already is not written again, unless there
 * were `steps`. */
int rec_applied_write(struct rec_run *run, bool steps, struct rec_error *err);

/* Names that were protected at the last apply, sorted. */
int rec_protected_read(struct rec_run *run, char ***names, size_t *n, struct rec_error *err);
/* Writes only what changes. */
int rec_protected_write(struct rec_run *run, const struct spec_host *host, struct rec_error *err);
#endif
