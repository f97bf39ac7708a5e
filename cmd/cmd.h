/* cmd/cmd.h — one call of berth: what was asked, where the answer goes, how it ends.
 * Owns     struct cmd owns its two outputs, the spec's text and document, and the run; cmd_done
 *          gives all of it back.
 * Exit     enum cmd_exit is the one place where the numbers stand; berth(1) says what they mean. */
#ifndef CMD_CMD_H
#define CMD_CMD_H
#include "cmd/args.h"
#include "cmd/output.h"
#include "cmd/spec_file.h"
#include "reconcile/apply.h"
#include "reconcile/runtime.h"

#ifndef BERTH_VERSION
#define BERTH_VERSION "0"
#endif

enum cmd_exit {
    CMD_OK = 0,
    CMD_FAILED = 1,  /* host untouched */
    CMD_PENDING = 2, /* -e only */
    CMD_STALE = 3,
    CMD_REFUSED = 4,
    CMD_ROLLED_BACK = 5,
    CMD_PARTIAL = 6,
    CMD_FAULTS = 7,
    CMD_USAGE = 64,
    CMD_BAD_SPEC = 65,
    CMD_UNSUPPORTED = 69,
    CMD_LOCKED = 75, /* also: the boot unit gave up waiting for the uplink */
    CMD_DENIED = 77
};

struct cmd_git;
struct cmd {
    struct cmd_args args;
    char **argv; /* as it was given, ends in NULL; NULL: not known */
    struct cmd_out out, err;
    struct cmd_spec_file file; /* text NULL: there is none */
    /* the commit that the spec was read at; NULL: it is no REV:path, or staged */
    struct cmd_git *git;
    struct rec_source source; /* the same, for the run */
    bool named;               /* the spec has been named on stderr */
    struct spec_arena *arena; /* of the document */
    struct spec_doc *doc;     /* NULL: no spec, or a bad one */
    struct spec_diags diags;
    const struct spec_host *host;
    struct rec_run *run;
};

enum cmd_exit cmd_exit_of_outcome(enum rec_outcome o);
enum cmd_exit cmd_exit_of_errno(int code); /* positive errno */
/* "in_sync", "applied", …: the word of JSON's `outcome`. `pending`: a dry run that found steps. */
const char *cmd_outcome_name(enum rec_outcome o, bool pending);

/* Find, read and check the spec; pick this machine's host. What is wrong has been told (stderr, and
 * the envelope with --json). CMD_OK, or the exit code. */
enum cmd_need {
    CMD_SPEC_NEEDED,
    CMD_SPEC_IF_FOUND, /* none is fine, a bad one is not */
    CMD_SPEC_IF_GOOD   /* a bad one that the command line does not name gives a warning */
};
enum cmd_exit cmd_load(struct cmd *c, enum cmd_need need, const char *format);
/* Check the spec alone: no host is chosen, nothing is printed but by the caller. */
enum cmd_exit cmd_load_file(struct cmd *c, enum cmd_need need, struct rec_error *err);
enum cmd_exit cmd_open(struct cmd *c, struct rec_error *err); /* c->run, from the flags */
void cmd_done(struct cmd *c);

/* What is wrong with the spec, on stderr; with --github, as annotations on stdout. */
void cmd_tell_faults(struct cmd *c, enum cmd_exit code);
/* One sentence, with its place in the spec and its hint, on stderr. */
void cmd_tell(struct cmd *c, const struct rec_error *e);
/* The same, with --github an annotation, and with --json an envelope that holds nothing else.
 * `format` NULL: "berth.VERB". Gives back `code`. */
enum cmd_exit cmd_fail(struct cmd *c, const char *format, enum cmd_exit code,
                       const struct rec_error *e);
/* Which spec this is, and which one was applied last if that is another one: a line each on stderr,
 * once. c->run is open. */
void cmd_name_spec(struct cmd *c);
/* Does the caller lack the rights of this verb? Then it is told, with the command line for sudo. */
bool cmd_lacks_root(struct cmd *c);
/* "there is no container …", with the nearest name there is. */
enum cmd_exit cmd_no_container(struct cmd *c, const char *format, const char *name);
/* args.names[0] is not here: *err tells so, and gets a hint out of the spec, if there is one. */
enum cmd_exit cmd_absent(struct cmd *c, struct rec_error *err);
/* The name nearest to `name` among the host's containers, or NULL. */
const char *cmd_nearest_container(const struct cmd *c, const char *name);

/* After an apply by a person: how the state survives a reboot, if the boot unit is not enabled.
 * Said once per host, on a terminal. */
void cmd_boot_hint(struct cmd *c);
#define CMD_BOOT_UNIT "berth.service"
/* Does a target start this unit at boot? */
bool cmd_unit_enabled(const char *unit);

/* From here to cmd_signals_stop_end INT, TERM and HUP raise a flag, and the descriptor that this
 * gives back can be read: what is only being prepared ends. -1: a host is being changed already,
 * or one has come that was not to end it. */
int cmd_signals_stop(void);
void cmd_signals_stop_end(void);
/* While a host is being changed INT, TERM and HUP only raise a flag: the current apply is
 * finished or undone first. */
void cmd_signals_hold(void);
int cmd_signals_seen(void); /* the signal's number, 0: none */
void cmd_signals_release(void);
enum cmd_exit cmd_signals_exit(enum cmd_exit code); /* 128+n where one was seen */

int cmd_init(struct cmd *c);
int cmd_validate(struct cmd *c);
int cmd_plan(struct cmd *c);
int cmd_apply(struct cmd *c);
int cmd_status(struct cmd *c);
int cmd_destroy(struct cmd *c);
int cmd_list(struct cmd *c);
int cmd_run(struct cmd *c);
int cmd_login(struct cmd *c);
int cmd_logs(struct cmd *c);
int cmd_top(struct cmd *c);
int cmd_capture(struct cmd *c);
int cmd_backup(struct cmd *c);
int cmd_restore(struct cmd *c);
int cmd_start(struct cmd *c);
int cmd_stop(struct cmd *c);
int cmd_restart(struct cmd *c);
int cmd_update(struct cmd *c);
int cmd_hook(struct cmd *c);
int cmd_version(struct cmd *c);
int cmd_help(struct cmd *c);
int cmd_completion(struct cmd *c);
#endif
