/* cmd/policy.h — /etc/berth/policy.yaml: what a spec that comes through a repository may ask for on
 * this host.
 * Files    /etc/berth/policy.yaml belongs to root, and nobody else may write it; it is never read
 *          from a repository.
 * Absent   everything is allowed, and berth says so. */
#ifndef CMD_POLICY_H
#define CMD_POLICY_H
#include "cmd/cmd.h"
#include "reconcile/guard.h"
#include "spec/policy.h"

#define CMD_POLICY_FILE REC_POLICY_FILE

/* What the policy says of one host of a spec. */
struct cmd_policy_verdict {
    bool absent;                  /* there is no policy */
    uint32_t forbid;              /* rec_options.forbid: what it does not allow here */
    struct rec_except bridges;    /* rec_options.bridges */
    struct rec_except kept_roots; /* rec_options.kept_roots */
    struct spec_violation *list;  /* in the arena of the call */
    size_t n;
};
/* Does the spec come through a repository? `:PATH`, what is staged, does, though it is no commit. */
bool cmd_policy_concerns(const struct cmd *c);
/* 0, or -errno with *err: the policy cannot be used, and then nothing may be applied. */
int cmd_policy_judge(struct spec_arena *a, const struct spec_host *host,
                     struct cmd_policy_verdict *out, struct rec_error *err);
/* The options of a run get what the policy forbids. */
void cmd_policy_options(const struct cmd_policy_verdict *v, struct rec_options *o);
/* One violation as an error, with its place in the spec and its rule. */
void cmd_policy_error(const struct spec_violation *v, struct rec_error *out);
/* Before a plan or an apply of a spec out of a repository. CMD_OK, or CMD_REFUSED, told. */
enum cmd_exit cmd_policy_enforce(struct cmd *c, const char *format);
/* Findings of a plan that the policy forbids, each with its rule, but the one that `told` is. */
void cmd_policy_tell(struct cmd *c, const struct rec_plan *p, const struct rec_error *told);
/* One line on stderr: no policy limits this repository. */
void cmd_policy_warn(struct cmd *c);
/* A strict policy, where there is none. `made` tells whether it was written. 0 or -errno with
 * *err. */
int cmd_policy_write_strict(bool *made, struct rec_error *err);

int cmd_policy(struct cmd *c);
#endif
