/* reconcile/runtimes/nixos_inner.h — what the parts of the runtime share: nixos.c (what is wanted,
 * and processes), nixos_read.c (what is had), nixos_files.c (what is done to files). */
#ifndef RECONCILE_RUNTIMES_NIXOS_INNER_H
#define RECONCILE_RUNTIMES_NIXOS_INNER_H
#include "reconcile/runtimes/nixos.h"

/* as in kinds/unit.c */
enum { UNIT_SETTINGS, UNIT_FLAKE };
/* as in kinds/system.c */
enum { SYSTEM_ROOT, SYSTEM_ON_REMOVE, SYSTEM_PROFILE, SYSTEM_FLAKE };
/* as in kinds/run.c */
enum { RUN_RUNNING, RUN_DIGEST, RUN_STALE, RUN_ORPHAN, RUN_ADDRESS, RUN_MASTER, RUN_SYSTEM };
enum { NIXOS_CONF_MOST = 65536 };

#define NIXOS_OWN_FLAKE NIXOS_RECORDS "/.flake-"

/* ---- nixos.c ---- */
const char *nixos_conf_path(struct rec_run *run, const char *name);
const char *nixos_root_path(struct rec_run *run, const char *name);
bool nixos_of_unit(struct rec_run *run, pid_t pid, const char *template, const char *name);
/* "10.0.0.2/24 via 10.0.0.1, fd00::2/64": one text for what is wanted and for what is found. */
struct nixos_in_force {
    struct spec_addr address[2], gateway[2];
    uint8_t mac[6];
    bool has_mac;
};
struct nixos_in_force nixos_wanted_in_force(const struct spec_host *h,
                                            const struct spec_container *c);
const char *nixos_in_force_text(struct spec_arena *a, const struct nixos_in_force *f);
/* What of the conf only a restart brings into force, and what cannot be seen on the wire. */
const char *nixos_digest(struct spec_arena *a, const char *(*get)(void *arg, const char *name),
                         void *arg);

/* ---- nixos_read.c ---- */
/* Whose a container is says its conf: by our first line, or by being a link, which only the host's
 * own configuration makes. Our record is heard where no conf speaks: there is none, or an empty
 * one, and the container is half made or half gone. */
struct nixos_seen {
    char *text; /* of the conf; NULL: there is none, or a link */
    bool declarative, recorded, ours;
    /* its conf is no file: a directory, a device; nobody's that berth knows */
    bool odd;
    /* no conf, no record: what else bears the name belongs to no container */
    bool nobodys;
    struct nixos_record record; /* read only where it is heard, or ours */
};
int nixos_look_at(struct rec_run *run, struct spec_arena *a, const char *name, struct nixos_seen *s,
                  struct rec_error *err);
int nixos_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
               struct rec_error *err);

/* ---- nixos_files.c ---- */
int nixos_unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
int nixos_system(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
int nixos_settle(struct rec_run *run, const struct rec_item *system, struct rec_error *err);
int nixos_purge(struct rec_run *run, struct rec_error *err);
#endif
