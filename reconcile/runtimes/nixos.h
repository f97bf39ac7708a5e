/* reconcile/runtimes/nixos.h — NixOS containers as `nixos-container` and container@NAME.service
 * know them.
 * Files    CONFDIR/NAME.conf, marked by its first line; CONFDIR/.berth where berth made the
 *          directory; /nix/var/nix/profiles/per-container/NAME/system;
 *          /var/lib/berth/nixos/NAME: where the system came from and what was built, "FIELD VALUE"
 *          a line; .gone-NAME: put aside with the container's trees (aside.h);
 *          /var/lib/berth/nixos/.root-NAME: a root of nix's garbage collector, at what the profile
 *          was last pointed to; /var/lib/berth/nixos/.build-XXXXXX/NAME: the same for what a run
 *          has built and not yet taken into use, while it lasts; /var/lib/berth/nixos/.flake-NAME/:
 *          where a container's attribute is not `container`, a flake that calls it so.
 * Source   nixos-container.pl, nixos-containers.nix of nixpkgs. */
#ifndef RECONCILE_RUNTIMES_NIXOS_H
#define RECONCILE_RUNTIMES_NIXOS_H
#include "reconcile/apply.h"
#include "reconcile/runtime.h"

#define NIXOS_MARK     "# Made by berth; what is changed in here is changed back."
#define NIXOS_PROFILES "/nix/var/nix/profiles/per-container"
#define NIXOS_GCROOTS  "/nix/var/nix/gcroots/per-container"
#define NIXOS_RECORDS  REC_STATE_DIR "/nixos"

/* /etc/nixos-containers, or the older /etc/containers where this host's nixos-container says so;
 * its states are beside it in /var/lib. */
const char *nixos_conf_dir(struct rec_run *run);
const char *nixos_state_dir(struct rec_run *run);

/* A container of that name that berth made: its conf bears our mark, or there is none and it is
 * recorded. */
bool nixos_ours(struct rec_run *run, const char *name);
/* The same once this run's plan is applied: also a container that the spec names and --adopt takes
 * over. */
bool nixos_ours_after(struct rec_run *run, const struct rec_state *wanted, const char *name);
/* The store path that the container's profile points to; "": none; NULL: out of memory. */
const char *nixos_profile(struct rec_run *run, const char *name);
/* NixOS makes /var/empty of a root immutable, which then cannot be deleted. */
void nixos_make_mutable(const char *root);
/* 0: container@NAME does not run. */
pid_t nixos_leader(struct rec_run *run, const char *name, unsigned long long *started);

/* ---- nixos_conf.c: pure ---- */
struct nixos_conf { /* NULL or "": not written */
    const char *bridge, *gateway4, *gateway6, *address4, *address6, *mac, *flake;
    bool autostart;
};
/* The canonical file; NULL: out of memory. */
const char *nixos_conf_text(struct spec_arena *a, const struct nixos_conf *c);
/* A variable as systemd reads it from such a file (systemd.exec(5), EnvironmentFile=): the last one
 * wins, quotes go, a line ends the value. NULL: not set. */
const char *nixos_conf_get(struct spec_arena *a, const char *text, const char *name);
bool nixos_conf_ours(const char *text);
/* May stand in a conf file as it is, for systemd and for Perl alike. */
bool nixos_conf_plain(const char *value);
/* An absolute path as an expression of nix's: as it stands where that is a path for nix, else
 * joined out of a string. */
const char *nixos_path(struct spec_arena *a, const char *path);

/* ---- nixos_words.c: pure ---- */
/* The cause, out of all that nix said on standard error, as lines; what is too long loses what
 * tells least. room: at least 64. */
void nixos_cause(const char *said, char *out, size_t room);

/* ---- nixos_source.c ---- */
/* Where the container's system comes from: "REF#ATTR" with an absolute REF, a store path, or
 * "config FILE". NULL with *err. */
const char *nixos_source(struct rec_run *run, const struct spec_container *c,
                         struct rec_error *err);
/* REF alone, as it goes into FLAKE=; "" for what is no flake. */
const char *nixos_flake(struct rec_run *run, const struct spec_container *c);
/* The same for who compares two commits: a flake beside the spec is what its folder holds, not
 * the commit that it is taken from. */
const char *nixos_compared(struct rec_run *run, const struct spec_container *c, const char *source);
bool nixos_relative(const char *ref); /* ".", "./x", "path:../x" */
/* The folder of a flake beside the spec at `path` of a repository, from the repository's top:
 * "", "a/b". NULL: it leads out. */
const char *nixos_folder(struct spec_arena *a, const char *path, const char *ref);
/* What was built for `name`; NULL: nothing is recorded. */
struct nixos_record {
    const char *source, *path, *on_remove;
    /* there was no root when the container was made: an undo leaves none */
    bool root_made;
    /* of the flake and its locks, where the source alone does not say which they are; "": not
     * known */
    const char *key;
};
bool nixos_record_read(struct rec_run *run, const char *name, struct nixos_record *out);
int nixos_record_write(struct rec_run *run, const char *name, const struct nixos_record *r,
                       struct rec_error *err);
/* Point the container's profile at a store path: a new generation. */
int nixos_profile_set(struct rec_run *run, const char *name, const char *path,
                      struct rec_error *err);
const char *nixos_program(const char *name); /* "nix", "nix-env"; NULL: not here */
#endif
