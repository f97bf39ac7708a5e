/* reconcile/runtime.h — one vtable, three rows: what makes a container's network into a running
 * container.
 * Rows     netns (the namespace alone), nspawn (systemd unit, or detached), nixos (container@NAME
 *          as NixOS ships it).
 * Files    /run/berth/c/NAME/ (0755): resolv.conf, hostname, etc/ (nspawn with the host's root),
 *          unit (settings), network (own_network.h), run (pid, start time of a detached nspawn),
 *          log (its output). /var/lib/berth/roots/NAME: trees unpacked from tars or backups;
 *          .NAME.berth beside it tells from which, and whether the tree goes with its container
 *          (on_remove); put aside as aside.h has it. */
#ifndef RECONCILE_RUNTIME_H
#define RECONCILE_RUNTIME_H
#include "reconcile/run.h"
#include "reconcile/state.h"

#define REC_RUN_DIR   "/run/berth"
#define REC_STATE_DIR "/var/lib/berth"

struct rec_step;
struct rec_leader { /* somebody to enter */
    pid_t pid;      /* 0: a namespace alone */
    int pidfd;      /* -1 with pid 0 */
    int netns;      /* fd of its network namespace */
};
struct rec_runtime {
    const char *name;
    enum spec_runtime id;
    /* Why containers of this runtime cannot be had on this host, with what to do; NULL: they
     * can. */
    const char *(*refuse)(struct rec_run *run, const struct spec_container *c);
    /* Whether the container's network namespace is its own: it comes and goes with the process.
     * NULL: no. */
    bool (*owns_netns)(struct rec_run *run, const struct spec_container *c);
    /* Items of kinds system, unit and run that the container asks for. */
    int (*want)(struct rec_run *run, const struct spec_host *h, const struct spec_container *c,
                struct rec_state *out, struct rec_error *err);
    /* Items of kinds system, unit and run of all containers of this runtime that berth made
     * here. */
    int (*read)(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                struct rec_error *err);
    /* write, or remove, the settings */
    int (*unit)(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
    int (*system)(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
    /* What `system` put aside goes for good: the apply holds, and no undo will ask for it. May
     * be NULL. */
    int (*purge)(struct rec_run *run, struct rec_error *err);
    /* The host holds what is wanted, `system` among it: what is to be remembered of that beside.
     * Writes nothing that is there. May be NULL. */
    int (*settle)(struct rec_run *run, const struct rec_item *system, struct rec_error *err);
    /* The unit whose lines in the journal are the container's; NULL: none. `here`: only if it
     * has one now. May be NULL. */
    const char *(*journal)(struct rec_run *run, const char *container, bool here);
    /* after some `unit`; may be NULL */
    int (*units_done)(struct rec_run *run, struct rec_error *err);
    /* Several at once, each with an error of its own (code 0: good). Started as the unit on the
     * host says. */
    /* until they are up */
    void (*start)(struct rec_run *run, const char *const *containers, size_t n,
                  struct rec_error *err);
    /* until they are gone */
    void (*stop)(struct rec_run *run, const char *const *containers, size_t n,
                 struct rec_error *err);
    /* what runs takes the new system */
    void (*reload)(struct rec_run *run, const char *const *containers, size_t n,
                   struct rec_error *err);
    /* differences that cost nothing */
    void (*mend)(struct rec_run *run, const struct rec_step *s, struct rec_error *err);
};
extern const struct rec_runtime *const rec_runtimes[]; /* ends in NULL */
const struct rec_runtime *rec_runtime(enum spec_runtime id);
/* Before the lock and before anything is read: builds that the host's nixos containers need.
 * `evaluate`: ask nix even where the last apply's answer would do. `plan`: only find out what
 * they would be. */
struct rec_build {
    bool plan, evaluate;
    bool again;        /* even what cannot have changed */
    char *const *only; /* containers that are evaluated; NULL: all */
    size_t n_only;
    /* "building" with `done` 0 when one begins; "built", or "failed", when it ends as the
     * done-th of all. One call at a time. */
    void (*progress)(void *arg, const char *container, const char *doing, size_t done,
                     size_t total);
    /* told of each; NULL: the first alone is told, by rec_build's own error */
    void (*failed)(void *arg, const struct rec_error *err);
    void *arg;
};
int rec_build(struct rec_run *run, const struct spec_host *h, const struct rec_build *b,
              struct rec_error *err);
void rec_build_done(struct rec_run *run); /* rec_close does it */
/* The leader of a running container (fds are the caller's), -ESRCH: it is not running. Checks that
 * the pid is still that process (start time) and lives in the namespace that bears the
 * container's name. */
int rec_leader_find(struct rec_run *run, const char *container, struct rec_leader *out,
                    struct rec_error *err);

/* Holds: `berth stop` holds a container until `berth start` or a reboot. /run/berth/held/NAME: a
 * line that says why, and, where it is to end with the process that set it (`while_running`),
 * one that names that process. */
int rec_hold_set(const char *container, const char *why, bool while_running, struct rec_error *err);
int rec_hold_clear(const char *container, struct rec_error *err);
const char *rec_hold_find(struct spec_arena *a, const char *container); /* NULL: not held */
#endif
