/* Two wishes and the planner that apply uses: nothing of this host is asked. */
#include "cmd/range.h"
#include "reconcile/guard.h"
#include "reconcile/record.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cmd_deny_parse(const char *list, uint32_t *bits, char bad[32])
{
    bool item = false; /* something stands between the last comma and here */
    while (*list) {
        size_t n = strcspn(list, ", ");
        bool known = !n && (item || *list != ',');
        for (int d = 0; d < REC_DENIES; d++)
            if (n && strlen(rec_deny_name((enum rec_deny)d)) == n &&
                !memcmp(rec_deny_name((enum rec_deny)d), list, n)) {
                *bits |= 1u << d;
                known = true;
            }
        if (!known) {
            snprintf(bad, 32, "%.*s", (int)(n < 31 ? n : 31), list);
            return false;
        }
        item = n || (item && *list != ',');
        list += n ? n : 1;
    }
    return true;
}

void cmd_deny_format(uint32_t bits, char out[64])
{
    size_t n = 0;
    *out = 0;
    for (int d = 0; d < REC_DENIES; d++)
        if (bits & 1u << d)
            n += (size_t)snprintf(out + n, 64 - n, "%s%s", n ? "," : "",
                                  rec_deny_name((enum rec_deny)d));
}

uint32_t cmd_allow_parse(const char *words, char unknown[32])
{
    uint32_t bits = 0;
    char bad[32];
    *unknown = 0;
    while (*words) {
        char word[32];
        size_t n = strcspn(words, ", ");
        snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), words);
        if (!cmd_deny_parse(word, &bits, bad) && !*unknown)
            strcpy(unknown, bad);
        words += n + (words[n] != 0);
    }
    return bits;
}

uint32_t cmd_allowed_since_apply(const struct cmd_git_ask *ask, char commit[65])
{
    struct rec_options o = {.allow_deletes = -1};
    struct rec_run *run = NULL;
    struct rec_applied last = {0};
    struct cmd_git_ask since = *ask;
    struct rec_error ignored;
    struct cmd_git g;
    char *text = NULL, unknown[32];
    size_t len;
    uint32_t allow = 0;
    *commit = 0;
    if (rec_open(&run, &o, &ignored))
        return 0;
    rec_applied_read(run, &last, &ignored);
    since.since = last.commit ? last.commit : "";
    if (cmd_git_read(&since, &text, &len, &g, &ignored) == CMD_OK) {
        strcpy(commit, g.commit);
        allow = cmd_allow_parse(g.allow, unknown);
    }
    free(text);
    rec_close(run);
    return allow;
}

/* The earlier side: what cannot be read as a spec there counts as nothing, since the later side
 * may be what mends it. */
static enum cmd_exit read_from(struct cmd *c, const struct cmd_git_ask *ask, struct cmd_range *out,
                               struct rec_error *err)
{
    struct spec_limits limits = {ask ? ask->limit : 0};
    struct spec_diags diags;
    size_t len;
    out->from_nothing = true;
    if (!ask)
        return CMD_OK;
    enum cmd_exit code = cmd_git_read(ask, &out->text, &len, &out->from, err);
    if (code != CMD_OK && (out->from.absent || out->from.no_commit)) {
        snprintf(out->note, sizeof out->note, "%s has no %s: all that is there after it is new",
                 ask->rev, ask->path);
        return CMD_OK;
    }
    if (code != CMD_OK)
        return code;
    int r = spec_load(out->arena, out->text, len, &limits, &out->doc, &diags);
    if (r == -EINVAL)
        snprintf(out->note, sizeof out->note,
                 "the spec at %s is not valid: all that is there after it is shown as new",
                 ask->rev);
    out->from_nothing = r != 0;
    (void)c;
    return r == -ENOMEM ? CMD_FAILED : CMD_OK;
}

static enum cmd_exit read_to(struct cmd *c, const struct cmd_git_ask *ask, struct cmd_range *out,
                             struct rec_error *err)
{
    struct spec_limits limits = {ask->limit};
    enum cmd_exit code = cmd_git_read(ask, &c->file.text, &c->file.len, &out->to, err);
    if (code != CMD_OK)
        return code;
    c->file.name = out->to.path;
    c->arena = spec_arena_new();
    int r = c->arena ? spec_load(c->arena, c->file.text, c->file.len, &limits, &c->doc, &c->diags)
                     : -ENOMEM;
    if (r == -EINVAL)
        rec_fail(err, EINVAL, "the spec is not valid: %zu %s", c->diags.errors,
                 c->diags.errors == 1 ? "error" : "errors");
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

/* The folders that flakes beside the spec stand in, each once. */
static size_t folders(struct spec_arena *a, const char *path, const struct spec_doc *doc,
                      struct rec_tree **out)
{
    size_t n = 0, most = 0;
    for (size_t i = 0; doc && i < doc->n_hosts; i++)
        most += doc->hosts[i].n_containers;
    struct rec_tree *trees = *out = spec_arena_alloc(a, (most + 1) * sizeof *trees);
    for (size_t i = 0; trees && doc && i < doc->n_hosts; i++)
        for (size_t k = 0; k < doc->hosts[i].n_containers; k++) {
            const char *ref = doc->hosts[i].containers[k].nixos.flake.text;
            const char *folder = ref && nixos_relative(ref) ? nixos_folder(a, path, ref) : NULL;
            bool seen = !folder;
            for (size_t m = 0; !seen && m < n; m++)
                seen = !strcmp(trees[m].folder, folder);
            if (!seen)
                trees[n++].folder = folder;
        }
    return n;
}

/* What a flake beside the spec holds at that commit decides its systems; what else the commit
 * changes does not. */
static enum cmd_exit read_trees(struct cmd_range *r, const struct cmd_git_ask *ask,
                                const struct cmd_git *g, const struct spec_doc *doc,
                                struct rec_source *out, struct rec_error *err)
{
    struct rec_tree *trees;
    *out = cmd_git_source(g);
    out->n_trees = folders(r->arena, g->path, doc, &trees);
    out->trees = trees;
    return out->n_trees ? cmd_git_trees(ask, trees, out->n_trees, err) : CMD_OK;
}

static bool same_trees(const struct cmd_git_ask *a, const struct cmd_git_ask *b, const char *path,
                       const char *text, size_t len)
{
    struct spec_arena *arena = spec_arena_new();
    struct spec_limits limits = {b->limit};
    struct spec_diags diags;
    struct spec_doc *doc;
    struct rec_tree *one, *two;
    struct rec_error ignored;
    bool equal = true;
    if (arena && !spec_load(arena, text, len, &limits, &doc, &diags)) {
        size_t n = folders(arena, path, doc, &one);
        folders(arena, path, doc, &two);
        equal = !n || (cmd_git_trees(a, one, n, &ignored) == CMD_OK &&
                       cmd_git_trees(b, two, n, &ignored) == CMD_OK);
        for (size_t i = 0; equal && i < n; i++)
            equal = !strcmp(one[i].id, two[i].id);
    }
    spec_arena_free(arena);
    return equal;
}

bool cmd_range_same(const struct cmd_git_ask *a, const struct cmd_git_ask *b)
{
    char *one = NULL, *two = NULL;
    size_t n, m;
    struct cmd_git g;
    struct rec_error ignored;
    enum cmd_exit first = cmd_git_read(a, &one, &n, &g, &ignored);
    bool absent = g.absent || g.no_revision;
    enum cmd_exit second = cmd_git_read(b, &two, &m, &g, &ignored);
    bool equal = first == CMD_OK && second == CMD_OK
                     ? n == m && !memcmp(one, two, n) && same_trees(a, b, g.path, one, n)
                     : absent && g.absent;
    free(one);
    free(two);
    return equal;
}

/* Whether another flake makes another system is known to who builds it. */
static void say_what_is_unknown(struct rec_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct rec_step *s = p->steps[i];
        if (s->kind == REC_SYSTEM && s->from && s->to && s->from->system.flake &&
            s->to->system.flake && !*s->to->system.profile &&
            strcmp(s->from->system.flake, s->to->system.flake))
            s->reason = "system known after build";
    }
}

static enum cmd_exit plan_host(struct cmd *c, struct cmd_range *r, struct cmd_range_host *h,
                               uint32_t deny, struct rec_error *err)
{
    struct rec_options o = {.spec_name = c->file.name,
                            .spec_dir = r->to.commit[0] ? NULL : r->to.work,
                            .adopt = true,
                            .allow_deletes = c->args.allow_deletes,
                            .deny = deny,
                            .offline = true};
    struct rec_state have, want;
    o.source = &r->sources[1];
    if (rec_open(&h->run, &o, err))
        return CMD_FAILED;
    rec_facts_offline(h->run);
    /* What the earlier side asks for is taken as applied, whatever would be said of it today. */
    struct rec_error ignored;
    h->run->opt.spec_dir = o.spec_dir ? o.spec_dir : "/";
    h->run->opt.source = &r->sources[0];
    if (rec_want(h->run, r->from_nothing ? NULL : host_of(r->doc, h->name), &have, &ignored) &&
        rec_want(h->run, NULL, &have, err))
        return CMD_FAILED;
    h->run->opt.spec_dir = o.spec_dir;
    h->run->opt.source = o.source;
    if (rec_want(h->run, host_of(c->doc, h->name), &want, err))
        return CMD_BAD_SPEC;
    h->resources = want.n;
    if (rec_plan(h->run, &have, &want, NULL, NULL, &h->plan, err))
        return CMD_FAILED;
    say_what_is_unknown(h->plan);
    /* What goes has its line in the earlier file alone, and every place that is told is one of
     * the later. */
    for (size_t i = 0; i < h->plan->n; i++)
        if (!h->plan->steps[i]->to)
            h->plan->steps[i]->at = (struct spec_loc){0};
    rec_guard(h->run, h->plan, &h->refusal);
    return CMD_OK;
}

enum cmd_exit cmd_range_read(struct cmd *c, const struct cmd_git_ask *from,
                             const struct cmd_git_ask *to, uint32_t deny, struct cmd_range *out,
                             struct rec_error *err)
{
    out->arena = spec_arena_new();
    if (!out->arena) {
        rec_fail(err, ENOMEM, "out of memory");
        return CMD_FAILED;
    }
    enum cmd_exit code = read_from(c, from, out, err);
    if (code == CMD_OK)
        code = read_to(c, to, out, err);
    if (code == CMD_OK && !out->from_nothing)
        code = read_trees(out, from, &out->from, out->doc, &out->sources[0], err);
    if (code == CMD_OK)
        code = read_trees(out, to, &out->to, c->doc, &out->sources[1], err);
    if (code != CMD_OK)
        return code;
    size_t most = c->doc->n_hosts + (out->doc ? out->doc->n_hosts : 0);
    out->hosts = calloc(most + 1, sizeof *out->hosts);
    for (size_t i = 0; i < c->doc->n_hosts; i++)
        out->hosts[out->n++] = (struct cmd_range_host){
            .name = c->doc->hosts[i].name, .comes = !host_of(out->doc, c->doc->hosts[i].name)};
    for (size_t i = 0; out->doc && !out->from_nothing && i < out->doc->n_hosts; i++)
        if (!host_of(c->doc, out->doc->hosts[i].name))
            out->hosts[out->n++] =
                (struct cmd_range_host){.name = out->doc->hosts[i].name, .goes = true};
    if (c->args.host) {
        size_t k = 0;
        for (size_t i = 0; i < out->n; i++)
            if (!strcmp(out->hosts[i].name, c->args.host))
                out->hosts[k++] = out->hosts[i];
        out->n = k;
        if (!k) {
            rec_fail(err, ENOENT, "there is no host '%.64s' in the spec, before or after",
                     c->args.host);
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
