/* reconcile/runtimes/nspawn.h — what both ways to run systemd-nspawn share: with systemd as PID 1 as a unit, else detached. */
#ifndef RECONCILE_RUNTIMES_NSPAWN_H
#define RECONCILE_RUNTIMES_NSPAWN_H
#include "reconcile/apply.h"
#include "reconcile/runtime.h"
#include <stdbool.h>
#include <stddef.h>

#define NSPAWN_DIR  REC_RUN_DIR "/c"
#define NSPAWN_ROOTS REC_STATE_DIR "/roots"

struct nspawn_words {           /* an argument vector, and the environment that goes into the container */
    struct spec_arena *a;
    const char       **word;
    size_t             n, room;
    bool               oom;
};
void nspawn_word(struct nspawn_words *w, const char *word);
/* Arguments behind the program's name; `unit`: systemd registers the machine. */
int nspawn_arguments(struct rec_run *run, const struct spec_host *h, const struct spec_container *c, struct nspawn_words *out);
const char *nspawn_path(struct spec_arena *a, const char *container, const char *file);  /* /run/berth/c/NAME/FILE */
const char *nspawn_digest(struct spec_arena *a, const char *text);
/* The host's root needs an /etc of the container's own (facts R1 to R4): made anew before each start. */
int nspawn_furnish(struct rec_run *run, const struct spec_container *c, struct rec_error *err);

struct nspawn_found {
    pid_t              leader, nspawn;      /* 0: none */
    unsigned long long leader_started, nspawn_started;
    const char        *digest;              /* of the unit it was started with, NULL: not known */
};
/* Both: observe one container. */
int nspawn_unit_find(struct rec_run *run, const char *name, struct nspawn_found *out);
int nspawn_detached_find(struct rec_run *run, const char *name, struct nspawn_found *out);

/* Settings as text, and where they are kept. */
const char *nspawn_unit_text(struct rec_run *run, const struct spec_container *c, const struct nspawn_words *w);
const char *nspawn_unit_path(struct spec_arena *a, const char *name);
int  nspawn_unit_write(struct rec_run *run, const char *name, const char *text, struct rec_error *err);
int  nspawn_unit_remove(struct rec_run *run, const char *name, struct rec_error *err);
int  nspawn_unit_start(struct rec_run *run, const struct rec_item *want, struct rec_error *err);
int  nspawn_unit_stop(struct rec_run *run, const char *name, struct rec_error *err);
int  nspawn_detached_start(struct rec_run *run, const struct rec_item *want, struct rec_error *err);
int  nspawn_detached_stop(struct rec_run *run, const char *name, const struct nspawn_found *f, struct rec_error *err);
#endif
