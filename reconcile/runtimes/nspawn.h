/* reconcile/runtimes/nspawn.h — what both ways to run systemd-nspawn share: with systemd as PID
 * 1 as a unit, else detached. */
#ifndef RECONCILE_RUNTIMES_NSPAWN_H
#define RECONCILE_RUNTIMES_NSPAWN_H
#include "reconcile/apply.h"
#include "reconcile/contain/contain.h"
#include "reconcile/contain/source.h"
#include "reconcile/runtime.h"
#include <stdbool.h>
#include <stddef.h>

#define NSPAWN_DIR   REC_RUN_DIR "/c"
#define NSPAWN_ROOTS REC_STATE_DIR "/roots"
#define NSPAWN_INSIDE                                                                              \
    "# inside " /* settings, second line: the network namespace that nspawn starts in, if any */
#define NSPAWN_RESTORED "-" /* a tree's source: no tar */

struct nspawn_users;
/* an argument vector, and the environment that goes into the container */
struct nspawn_words {
    struct spec_arena *a;
    const char **word;
    size_t n, room;
    bool oom;
    /* nspawn starts inside this network namespace, by path; NULL: it enters by an option of its
     * own */
    const char *netns;
};
/* How a berth starts the container that a spec describes. Without keys that only a later form
 * knows, a container which runs in an earlier form stays as it is until its next start: berth
 * changed, not the spec. */
enum nspawn_form {
    NSPAWN_FORM_NOW,
    NSPAWN_FORM_LINKS /* nspawn follows links in sources, and is the host's own file */,
    NSPAWN_FORM_UNLIMITED /* its own /etc and log grow without a limit */,
    NSPAWN_FORM_ALL_SSL /* `root: host` shows the host's whole /etc/ssl */,
    NSPAWN_FORM_FIRST /* no user namespace, nspawn's default capabilities: up to 0.1.0 */,
    NSPAWN_FORMS
};
void nspawn_word(struct nspawn_words *w, const char *word);
/* Arguments behind the program's name. `u` as nspawn_users_find has it; unused with an earlier
 * form. */
int nspawn_arguments(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                     enum nspawn_form form, const struct nspawn_users *u, struct nspawn_words *out);
/* /run/berth/c/NAME/FILE */
const char *nspawn_path(struct spec_arena *a, const char *container, const char *file);
const char *nspawn_digest(struct spec_arena *a, const char *text);
/* The variables of a container as a settings file of nspawn's, which root alone can read; NULL: it
 * has none. */
int nspawn_env_text(struct rec_run *run, const struct spec_container *c, struct spec_arena *a,
                    const char **out, struct rec_error *err);
const char *nspawn_env_path(struct spec_arena *a, const char *name);
/* The variables of a container as nspawn_env_write left them: each NAME=VALUE with its NUL, in the
 * run's arena. None: 0 bytes. */
int nspawn_env_read(struct rec_run *run, const char *name, char **out, size_t *out_len,
                    struct rec_error *err);
int nspawn_env_write(struct rec_run *run, const char *name, const char *text,
                     struct rec_error *err); /* NULL: removed */
/* Trees below NSPAWN_ROOTS. `own`: the container's root is one of them, wherever it came from. */
const char *nspawn_root_path(struct rec_run *run, const struct spec_container *c,
                             struct spec_arena *a);
/* What container `c` needs and the tree `root` lacks, as text; NULL: nothing, or the tree cannot be
 * opened. `c` NULL: what every container needs. */
const char *nspawn_root_fault(const char *root, const struct spec_container *c);
/* nspawn_root_files.c: before a start: nothing in the root may make systemd-nspawn wait, or open a
 * device. `tree` is the root's path. */
int nspawn_root_files_check(const char *name, const char *tree, struct rec_error *err);
bool nspawn_root_own(struct rec_run *run, const struct spec_container *c);
int nspawn_roots_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                      struct rec_error *err);
int nspawn_root_step(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
int nspawn_roots_purge(struct rec_run *run, struct rec_error *err);
/* Before a start, for a tree in a user namespace: the places in it where something will be bound.
 * nspawn would make them as a user who is nobody on disk. Never leaves the tree, whatever links it
 * holds; what cannot be made is left to nspawn. */
void nspawn_mount_points(int root, const char *const *places, const bool *directory, size_t n);
/* nspawn_sources.c. A descriptor (O_PATH) of a root or bind, opened as berth-contain does at a
 * start. -EPERM: a link on the way may not be followed, and `why` is the end of a sentence that
 * begins with the path; else `why` is NULL. */
int nspawn_source_open(struct rec_run *run, const char *path, const char **why);
/* The same sentence; NULL: the path is good, or cannot be opened for another reason. */
const char *nspawn_source_fault(struct rec_run *run, const char *path);
/* CONTAIN_WRITABLE as it must be before a start. */
int nspawn_writable_write(struct rec_run *run, struct rec_error *err);
/* The host's root needs an /etc of the container's own, written before each start.
 * berth-contain mounts a limited copy of it for the container. `settings`: the unit's text. */
bool nspawn_has_own_etc(struct spec_arena *a, const char *name, const char *settings);
/* nspawn_host_root.c. The words of nspawn for it; `skeleton`: under a directory that berth makes;
 * `shifted`: in a user namespace. */
void nspawn_host_root_words(struct rec_run *run, const struct spec_container *c,
                            enum nspawn_form form, bool skeleton, bool shifted,
                            struct nspawn_words *w);
int nspawn_host_root_furnish(struct rec_run *run, const char *name, const char *settings,
                             struct rec_error *err);
int nspawn_host_root_skeleton(struct spec_arena *a, const char *name, const char *settings,
                              struct rec_error *err);
/* What follows `word` in an argument of `settings` that begins with it; NULL: there is none. */
const char *nspawn_find_argument(const char *settings, const char *word);
/* A link counts as what it leads to. */
bool nspawn_exists(const char *path, bool directory);
/* All that must be there before a start; `settings` is the unit's text. */
int nspawn_furnish(struct rec_run *run, const char *name, const char *settings,
                   struct rec_error *err);
/* A command that ends at once is no running container. This waits until the command has ended, or
 * has run for a while; a command that has had no processor meanwhile gets more time. false: it has
 * ended. `since`: when it was first seen to run (CLOCK_MONOTONIC, ms). */
bool nspawn_payload_stays(struct rec_run *run, pid_t leader, long since);
long nspawn_now_ms(void);
bool nspawn_payload_runs(struct rec_run *run, pid_t leader);
/* Without an init the container's command is the child of nspawn's stub, the leader. It gets
 * SIGTERM, unless that would only end it. false: it got none, or an init runs, or nothing. */
bool nspawn_ask_payload(struct rec_run *run, pid_t leader);
/* nspawn_network.c: containers that own their network namespace (own_network.h). */
bool nspawn_owns_network(const struct spec_container *c, const struct nspawn_users *u);
bool nspawn_owns_netns(struct rec_run *run, const struct spec_container *c);
bool nspawn_network_in(const char *settings);
int nspawn_network_want(struct rec_run *run, const struct spec_host *h,
                        const struct spec_container *c, struct spec_arena *a, const char **out,
                        struct rec_error *err);
const char *nspawn_network_read(struct spec_arena *a, const char *name); /* NULL: it has none */
int nspawn_network_write(struct rec_run *run, const char *name, const char *text,
                         struct rec_error *err); /* NULL: removed */
/* The payload is not there yet: the gate waits for the network. */
bool nspawn_is_gate(pid_t pid);
/* Wait until the gate has passed, or for 5 s. What is read before then is about to change. false:
 * there was nothing to wait for. */
bool nspawn_network_await(struct rec_run *run, pid_t leader);
#define NSPAWN_AT_ONCE   8
#define NSPAWN_UNIT_MOST (8 << 20)

/* The process that writes the log of a running container has ended, and the container gets SIGPIPE.
 * This starts another process. */
int nspawn_detached_log(struct rec_run *run, const char *name, struct rec_error *err);

struct nspawn_found {
    bool unlogged;        /* the process that wrote its log has ended */
    pid_t leader, nspawn; /* 0: none */
    unsigned long long leader_started, nspawn_started;
    const char *digest;      /* of the unit it was started with, NULL: not known */
    const char *environment; /* digest of its variables, NULL: none, or not known */
};
/* Both: observe one container. */
int nspawn_unit_find(struct rec_run *run, const char *name, struct nspawn_found *out);
int nspawn_detached_find(struct rec_run *run, const char *name, struct nspawn_found *out);
/* Both: names of containers that may be there, found without berth's own files. */
int nspawn_unit_names(struct spec_arena *a, char ***names, size_t *n, struct rec_error *err);
int nspawn_detached_names(struct spec_arena *a, char ***names, size_t *n, struct rec_error *err);

/* With systemd: settings as a drop-in, and where they are kept. */
const char *nspawn_unit_text(struct rec_run *run, const struct spec_container *c,
                             const struct nspawn_words *w, const char *digest);
const char *nspawn_unit_path(struct spec_arena *a, const char *name);
/* the template is there and as it shall be */
bool nspawn_unit_template(struct rec_run *run);
int nspawn_unit_write(struct rec_run *run, const char *name, const char *text,
                      struct rec_error *err);
int nspawn_unit_remove(struct rec_run *run, const char *name, struct rec_error *err);
int nspawn_unit_reload(struct rec_run *run, struct rec_error *err);
/* Each of `names` with an error of its own, code 0: good. */
void nspawn_unit_start(struct rec_run *run, const char *const *names, size_t n,
                       struct rec_error *err);
void nspawn_unit_stop(struct rec_run *run, const char *const *names, size_t n,
                      struct rec_error *err);
void nspawn_detached_start(struct rec_run *run, const char *const *names, size_t n,
                           struct rec_error *err);
void nspawn_detached_stop(struct rec_run *run, const char *const *names, size_t n,
                          struct rec_error *err);
#endif
