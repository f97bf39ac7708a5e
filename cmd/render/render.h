/* cmd/render/render.h — results as text and as JSON. Pure: from structs into a cmd_out, the same
 * bytes for the same structs. JSON     one envelope: format, format_version, berth_version, host,
 * outcome, spec, …; keys sorted; no times, so two runs are equal.
 *          Keys are only ever added within format_version 1. */
#ifndef CMD_RENDER_RENDER_H
#define CMD_RENDER_RENDER_H
#include "cmd/cmd.h"
#include "reconcile/usage.h"

#define CMD_WIDTH 80

struct rec_applied;
struct cmd_live;
/* A plan, before it is applied or after. */
struct cmd_render_plan {
    const char *format;              /* "berth.plan", "berth.apply", … */
    const char *host;                /* NULL: not known */
    const char *file;                /* the spec as the user wrote it; NULL: none */
    const char *path;                /* absolute; NULL: no file */
    const struct cmd_git *git;       /* the commit that the spec was read at, or NULL */
    const struct rec_plan *plan;     /* NULL: not that far */
    const struct rec_result *result; /* NULL: a plan alone */
    size_t resources;                /* that are wanted */
    bool applied;                    /* each step with its mark: done, failed, not done */
    bool quiet, verbose;
    struct cmd_live *live; /* lines of steps that were printed already; NULL: none */
};
void cmd_render_plan_text(struct cmd_out *o, const struct cmd_render_plan *p);
/* of a plan or a status; warnings first */
void cmd_render_notes(struct cmd_out *o, const struct rec_plan *plan);
/* a line each, for --quiet */
void cmd_render_warnings(struct cmd_out *o, const struct rec_plan *plan);
/* "commit 0123456789ab (main), 2026-11-01, Ann: subject" on a line of its own. */
void cmd_render_commit(struct cmd_out *o, const struct cmd_git *g);
void cmd_render_plan_json(struct cmd_out *o, const struct cmd_render_plan *p);
/* What an apply came to: the last line, or the cause, what was undone or is left, and what to do
 * next (on `err`). */
void cmd_render_result_text(struct cmd_out *out, struct cmd_out *err,
                            const struct cmd_render_plan *p, const char *verb);

/* Each resource that is wanted or ours, beside the step that it needs. */
enum cmd_render_sync {
    CMD_IN_SYNC,
    CMD_MISSING,
    CMD_DIFFERS,
    CMD_FOREIGN /* a conflict */,
    CMD_UNWANTED,
    CMD_OURS,
    CMD_UNKNOWN /* not to be read without root */,
    CMD_SYNCS
};
struct cmd_render_resource {
    const struct rec_item *item;
    const struct rec_step *step; /* NULL: none needed */
    const struct rec_conflict *conflict;
    const char *object;
    enum cmd_render_sync sync;
};
struct cmd_render_status {
    const char *host, *file, *path;
    struct cmd_render_resource *list;
    size_t n;
    const struct cmd_git *git;         /* the commit of the spec, or NULL */
    const struct rec_applied *applied; /* the last apply; NULL: not known */
    long long now;                     /* seconds since 1970 */
    const struct rec_plan *plan;       /* notes; NULL: no spec */
    char *const *held;                 /* containers that are held, and why */
    const char *const *held_why;
    size_t n_held;
    bool quiet;
};
void cmd_render_status_text(struct cmd_out *o, const struct cmd_render_status *s);
void cmd_render_status_json(struct cmd_out *o, const struct cmd_render_status *s);

struct cmd_render_container {
    const char *name, *runtime, *state, *address, *root, *sync;
    const char *held;    /* why it is stopped although the spec wants it to run, or NULL */
    uint64_t started_ms; /* CLOCK_BOOTTIME; 0: not known */
    pid_t leader;
};
struct cmd_render_list {
    const char *host, *file, *path;
    const struct cmd_git *git;
    const struct cmd_render_container *list;
    size_t n;
    uint64_t now_ms; /* CLOCK_BOOTTIME */
};
void cmd_render_list_text(struct cmd_out *o, const struct cmd_render_list *l);
void cmd_render_list_json(struct cmd_out *o, const struct cmd_render_list *l);
struct cmd_render_top {
    const struct rec_usages *now, *before; /* before NULL: no rates yet */
    /* on a terminal: the busiest first, each line up to its end, `rows` of them (0: all) */
    bool live;
    size_t rows;
};
void cmd_render_top_text(struct cmd_out *o, const struct cmd_render_top *t);
void cmd_render_top_json(struct cmd_out *o, const struct cmd_render_top *t);
void cmd_render_bytes(uint64_t n, char out[24]);   /* "12.3M" */
const char *cmd_runtime_name(enum spec_runtime r); /* NULL: auto */

/* "3d 4h", "12m 5s": at most two units. */
void cmd_render_duration(uint64_t ms, char out[32]);

/* file:line:col: TEXT, then the hint. */
void cmd_render_error(struct cmd_out *o, const char *file, const struct rec_error *e);
bool cmd_same_error(const struct rec_error *a, const struct rec_error *b);
/* An envelope that only says what failed. */
void cmd_render_failures_json(struct cmd_out *o, const char *format, const char *host,
                              const char *file, enum cmd_exit code, const struct rec_error *list,
                              size_t n);
/* An envelope of diagnostics. `doc`: what the valid spec holds, or NULL. */
void cmd_render_diags_json(struct cmd_out *o, const char *format, const char *file,
                           const struct spec_diags *d, const char *text, size_t len,
                           const struct spec_doc *doc);
void cmd_render_version_json(struct cmd_out *o);

void cmd_render_help(struct cmd_out *o, const struct cmd_verb *v); /* NULL: all verbs */
/* the tables as man(7) sections */
void cmd_render_manual(struct cmd_out *o);
bool cmd_render_completion(struct cmd_out *o, const char *shell); /* false: no such shell */
#endif
