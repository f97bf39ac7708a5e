/* cmd/range.h — what the change from one revision of a spec to another would do: offline, without
 * root, with the first taken as applied.
 * Owns     the runs and texts of both sides, until cmd_range_done.
 * Exit     CMD_BAD_SPEC where the later side is bad; a bad earlier side counts as nothing, with
 *          a note. */
#ifndef CMD_RANGE_H
#define CMD_RANGE_H
#include "cmd/git.h"

struct cmd_range_host {
    const char *name;
    bool comes, goes;    /* only the later, only the earlier side has it */
    struct rec_run *run; /* NULL: it goes */
    struct rec_plan *plan;
    size_t resources;
    struct rec_error refusal; /* a guard's, or --deny's; code 0: none */
};
struct cmd_range {
    const char *title; /* "main..feature" */
    struct cmd_git from, to;
    struct rec_source sources[2]; /* the same, for the runs */
    bool from_nothing;
    char note[300]; /* why the earlier side is taken as nothing, or "" */
    char *text;     /* of the earlier side */
    struct spec_arena *arena;
    struct spec_doc *doc;
    struct cmd_range_host *hosts; /* as the later side has them, then those that go */
    size_t n;
};
/* Read both sides and plan each host. The later side becomes the command's file and document, its
 * faults the command's diagnostics. `from` NULL: nothing. */
enum cmd_exit cmd_range_read(struct cmd *c, const struct cmd_git_ask *from,
                             const struct cmd_git_ask *to, uint32_t deny, struct cmd_range *out,
                             struct rec_error *err);
/* Do both ask for the same: one text, and one content of the flakes beside it? Two that have no
 * spec do. */
bool cmd_range_same(const struct cmd_git_ask *a, const struct cmd_git_ask *b);
void cmd_range_done(struct cmd_range *r);
/* CMD_REFUSED where a host's plan is, CMD_PENDING with steps, else CMD_OK. */
enum cmd_exit cmd_range_verdict(const struct cmd_range *r);
/* "restart,delete" into bits of enum rec_deny, added to *bits. false: an unknown word, copied
 * into `bad`. */
bool cmd_deny_parse(const char *list, uint32_t *bits, char bad[32]);
/* The same words, "delete,restart", of these bits. */
void cmd_deny_format(uint32_t bits, char out[64]);
/* What Berth-Allow lines let through, as such bits; the first word that lets nothing through, in
 * `unknown`, or "". */
uint32_t cmd_allow_parse(const char *words, char unknown[32]);
/* What the commits at `rev` allow that are new since the last apply on this host. *commit: what
 * `rev` names, "": it cannot be read. */
uint32_t cmd_allowed_since_apply(const struct cmd_git_ask *ask, char commit[65]);

/* render/range.c, render/markdown.c */
void cmd_render_range_text(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r);
void cmd_render_range_json(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r,
                           enum cmd_exit code);
enum { CMD_MARKDOWN_MOST = 60000 };
void cmd_render_range_markdown(struct cmd_out *o, const struct cmd *c, const struct cmd_range *r);
/* Faults of the later side, in markdown and as annotations of a workflow. */
void cmd_render_faults_markdown(struct cmd_out *o, const struct cmd *c, const char *title);
/* Why there is no plan. */
void cmd_render_refusal_markdown(struct cmd_out *o, const char *title, const struct rec_error *e);
void cmd_render_faults_github(struct cmd_out *o, const struct cmd *c, const char *path);
void cmd_render_refusal_github(struct cmd_out *o, const char *path, const struct rec_error *e);
#endif
