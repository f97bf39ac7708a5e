/* Two wishes and the planner that apply uses: nothing of this host is asked. */
#include "cmd/range.h"
#include "reconcile/guard.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cmd_deny_parse(const char *list, uint32_t *bits, char bad[32])
{
    while (*list) {
        size_t n = strcspn(list, ", ");
        bool known = !n;
        for (int d = 0; d < REC_DENIES; d++)
            if (n && strlen(rec_deny_name((enum rec_deny)d)) == n && !memcmp(rec_deny_name((enum rec_deny)d), list, n)) {
                *bits |= 1u << d;
                known = true;
            }
        if (!known) {
            snprintf(bad, 32, "%.*s", (int)(n < 31 ? n : 31), list);
            return false;
        }
        list += n + (list[n] != 0);
    }
    return true;
}

/* The earlier side: what cannot be read as a spec there counts as nothing, since the later side may be what mends it. */
static enum cmd_exit read_from(struct cmd *c, const struct cmd_git_ask *ask, struct cmd_range *out, struct rec_error *err)
{
    struct spec_limits limits = {ask ? ask->limit : 0};
    struct spec_diags diags;
    size_t len;
    out->from_nothing = true;
    if (!ask)
        return CMD_OK;
    enum cmd_exit code = cmd_git_read(ask, &out->text, &len, &out->from, err);
    if (code != CMD_OK && out->from.absent) {
        snprintf(out->note, sizeof out->note, "%s has no %s: all that is there after it is new", ask->rev, ask->path);
        return CMD_OK;
    }
    if (code != CMD_OK)
        return code;
    int r = spec_load(out->arena, out->text, len, &limits, &out->doc, &diags);
    if (r == -EINVAL)
        snprintf(out->note, sizeof out->note, "the spec at %s is not valid: all that is there after it is shown as new", ask->rev);
    out->from_nothing = r != 0;
    (void)c;
    return r == -ENOMEM ? CMD_FAILED : CMD_OK;
}

static enum cmd_exit read_to(struct cmd *c, const struct cmd_git_ask *ask, struct cmd_range *out, struct rec_error *err)
{
    struct spec_limits limits = {ask->limit};
    enum cmd_exit code = cmd_git_read(ask, &c->file.text, &c->file.len, &out->to, err);
    if (code != CMD_OK)
        return code;
    c->file.name = out->to.path;
    c->arena = spec_arena_new();
    int r = c->arena ? spec_load(c->arena, c->file.text, c->file.len, &limits, &c->doc, &c->diags) : -ENOMEM;
    if (r == -EINVAL)
        rec_fail(err, EINVAL, "the spec is not valid: %zu %s", c->diags.errors, c->diags.errors == 1 ? "error" : "errors");
    else if (r)
        rec_fail(err, ENOMEM, "out of memory");
    return r == -EINVAL ? CMD_BAD_SPEC : r ? CMD_FAILED : CMD_OK;
}

static const struct spec_host *host_of(const struct spec_doc *doc, const char *name)
{
    for (size_t i = 0; doc && i < doc->n_hosts; i++)
        if (!strcmp(doc->hosts[i].name, name))
            return &doc->hosts[i];
    return NULL;
}

static enum cmd_exit plan_host(struct cmd *c, struct cmd_range *r, struct cmd_range_host *h, uint32_t deny, struct rec_error *err)
{
    struct rec_options o = {.spec_name = c->file.name, .spec_dir = r->to.commit[0] ? NULL : r->to.work, .adopt = true,
                            .allow_deletes = c->args.allow_deletes, .deny = deny, .offline = true};
    struct rec_state have, want;
    c->source = cmd_git_source(&r->to);
    o.source = r->to.commit[0] ? &c->source : NULL;
    if (rec_open(&h->run, &o, err))
        return CMD_FAILED;
    rec_facts_offline(h->run);
    /* What the earlier side asks for is taken as applied, whatever would be said of it today. */
    struct rec_error ignored;
    h->run->opt.spec_dir = "/";
    if (rec_want(h->run, r->from_nothing ? NULL : host_of(r->doc, h->name), &have, &ignored) && rec_want(h->run, NULL, &have, err))
        return CMD_FAILED;
    h->run->opt.spec_dir = o.spec_dir;
    if (rec_want(h->run, host_of(c->doc, h->name), &want, err))
        return CMD_BAD_SPEC;
    h->resources = want.n;
    if (rec_plan(h->run, &have, &want, NULL, NULL, &h->plan, err))
        return CMD_FAILED;
    rec_guard(h->run, h->plan, &h->refusal);
    for (size_t i = 0; i < h->plan->n; i++)
        if (!h->plan->steps[i]->to)
            h->plan->steps[i]->at = (struct spec_loc){0};      /* its line is in the other file */
    return CMD_OK;
}

enum cmd_exit cmd_range_read(struct cmd *c, const struct cmd_git_ask *from, const struct cmd_git_ask *to, uint32_t deny,
                             struct cmd_range *out, struct rec_error *err)
{
    out->arena = spec_arena_new();
    if (!out->arena) {
        rec_fail(err, ENOMEM, "out of memory");
        return CMD_FAILED;
    }
    enum cmd_exit code = read_from(c, from, out, err);
    if (code == CMD_OK)
        code = read_to(c, to, out, err);
    if (code != CMD_OK)
        return code;
    size_t most = c->doc->n_hosts + (out->doc ? out->doc->n_hosts : 0);
    out->hosts = calloc(most + 1, sizeof *out->hosts);
    for (size_t i = 0; i < c->doc->n_hosts; i++)
        out->hosts[out->n++] = (struct cmd_range_host){.name = c->doc->hosts[i].name, .comes = !host_of(out->doc, c->doc->hosts[i].name)};
    for (size_t i = 0; out->doc && !out->from_nothing && i < out->doc->n_hosts; i++)
        if (!host_of(c->doc, out->doc->hosts[i].name))
            out->hosts[out->n++] = (struct cmd_range_host){.name = out->doc->hosts[i].name, .goes = true};
    if (c->args.host) {
        size_t k = 0;
        for (size_t i = 0; i < out->n; i++)
            if (!strcmp(out->hosts[i].name, c->args.host))
                out->hosts[k++] = out->hosts[i];
        out->n = k;
        if (!k) {
            rec_fail(err, ENOENT, "there is no host '%.64s' in the spec, before or after", c->args.host);
            return CMD_REFUSED;
        }
    }
    for (size_t i = 0; code == CMD_OK && i < out->n; i++)
        if (!out->hosts[i].goes)
            code = plan_host(c, out, &out->hosts[i], deny, err);
    return code;
}

void cmd_range_done(struct cmd_range *r)
{
    for (size_t i = 0; i < r->n; i++)
        rec_close(r->hosts[i].run);
    free(r->hosts);
    free(r->text);
    spec_arena_free(r->arena);
}

enum cmd_exit cmd_range_verdict(const struct cmd_range *r)
{
    size_t steps = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->hosts[i].refusal.code)
            return CMD_REFUSED;
        steps += r->hosts[i].goes || (r->hosts[i].plan && r->hosts[i].plan->n);
    }
    return steps ? CMD_PENDING : CMD_OK;
}
