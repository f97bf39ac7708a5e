/* The verbs that only talk: validate, version, help, completion. */
#include "cmd/cmd.h"
#include "cmd/git.h"
#include "cmd/policy.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct faults {
    struct rec_error *list;
    size_t n;
};

static void failed(void *arg, const struct rec_error *e)
{
    struct faults *f = arg;
    if (f->n % 16 == 0) {
        struct rec_error *more = realloc(f->list, (f->n + 16) * sizeof *more);
        if (!more)
            return;
        f->list = more;
    }
    f->list[f->n++] = *e;
}

/* Every system of a host, as `nix flake check` would; needs no rights and not that host. */
static void evaluate(struct cmd *c, const struct spec_host *h, struct faults *f)
{
    struct rec_options o = {
        .spec_name = c->file.name, .spec_dir = c->file.dir, .allow_deletes = -1, .offline = true};
    const struct cmd_git *g = c->git;
    struct rec_build build = {.plan = true, .evaluate = true, .failed = failed, .arg = f};
    struct rec_run *run;
    struct rec_error err;
    /* nix runs what a flake says while it evaluates, so a policy has its say first. */
    struct cmd_policy_verdict v = {0};
    if (cmd_policy_concerns(c) && !geteuid() && (cmd_policy_judge(c->arena, h, &v, &err) || v.n)) {
        for (size_t i = 0; i < v.n; i++) {
            cmd_policy_error(&v.list[i], &err);
            failed(f, &err);
        }
        if (!v.n)
            failed(f, &err);
        return;
    }
    if (g)
        c->source = cmd_git_source(g);
    o.source = g ? &c->source : NULL;
    size_t before = f->n;
    int r = rec_open(&run, &o, &err);
    if (!r) {
        run->stop = cmd_signals_stop();
        r = rec_build(run, h, &build, &err);
        cmd_signals_stop_end();
        rec_close(run);
    }
    if (r && f->n == before)
        failed(f, &err);
}

/* Of all hosts all that is wrong: each at its line, and in one envelope. */
static enum cmd_exit evaluate_all(struct cmd *c)
{
    struct faults f = {0};
    enum cmd_exit code = CMD_OK;
    bool json = c->args.json;
    for (size_t i = 0; i < c->doc->n_hosts && !cmd_signals_seen(); i++)
        evaluate(c, &c->doc->hosts[i], &f);
    for (size_t i = 0; i < f.n; i++) {
        /* What this machine lacks says nothing of the spec. */
        enum cmd_exit one = f.list[i].code == EPERM        ? CMD_REFUSED
                            : f.list[i].code == EOPNOTSUPP ? CMD_UNSUPPORTED
                            : f.list[i].code == ENOMEM     ? CMD_FAILED
                                                           : CMD_BAD_SPEC;
        code = code == CMD_OK || one == CMD_BAD_SPEC ? one : code;
        c->args.json = false;
        cmd_fail(c, "berth.validate", one, &f.list[i]);
        c->args.json = json;
    }
    if (f.n && json)
        cmd_render_failures_json(&c->out, "berth.validate", NULL, c->file.name, code, f.list, f.n);
    free(f.list);
    return cmd_signals_exit(code);
}

/* `path` as a spec writes it; a flake's may begin with "path:". Only what lies beside the spec
 * can be looked for offline. */
static void look_beside(struct cmd *c, const struct spec_container *k, const char *what,
                        const struct spec_string *path)
{
    char whole[8192];
    const char *rest = path->text;
    if (!rest)
        return;
    rest += strncmp(rest, "path:", 5) ? 0 : 5;
    size_t len = strcspn(rest, "#?");
    bool beside = !strncmp(rest, "./", 2) || !strncmp(rest, "../", 3);
    if (!beside ||
        snprintf(whole, sizeof whole, "%s/%.*s", c->file.dir, (int)len, rest) >=
            (int)sizeof whole ||
        !access(whole, F_OK))
        return;
    cmd_safe(&c->err, c->file.name);
    cmd_printf(&c->err, ":%u:%u: warning: the %s of container '%s' is not there: '", path->at.line,
               path->at.col, what, k->name);
    cmd_safe(&c->err, path->text);
    cmd_put(&c->err, "'\n");
}

static void look_beside_all(struct cmd *c)
{
    for (size_t i = 0; c->file.dir && !c->git && !c->args.quiet && i < c->doc->n_hosts; i++) {
        const struct spec_host *h = &c->doc->hosts[i];
        for (size_t n = 0; n < h->n_containers; n++) {
            const struct spec_container *k = &h->containers[n];
            look_beside(c, k, k->nspawn.root == SPEC_ROOT_TAR ? "archive" : "root",
                        &k->nspawn.path);
            look_beside(c, k, "flake", &k->nixos.flake);
            look_beside(c, k, "configuration", &k->nixos.config);
        }
    }
}

int cmd_validate(struct cmd *c)
{
    struct rec_error err = {0};
    enum cmd_exit code = cmd_load_file(c, CMD_SPEC_NEEDED, &err);
    if (code != CMD_OK && !c->diags.errors)
        return cmd_fail(c, "berth.validate", code, &err);
    cmd_tell_faults(c, code);
    if (code == CMD_OK)
        look_beside_all(c);
    if (code == CMD_OK && c->args.eval) {
        code = evaluate_all(c);
        if (code != CMD_OK)
            return code;
    }
    if (c->args.json) {
        cmd_render_diags_json(&c->out, "berth.validate", c->file.name, &c->diags, c->file.text,
                              c->file.len, c->doc);
    } else if (code == CMD_OK && !c->args.quiet) {
        size_t n = 0;
        for (size_t i = 0; i < c->doc->n_hosts; i++)
            n += c->doc->hosts[i].n_containers;
        cmd_safe(&c->out, c->file.name);
        cmd_printf(&c->out, ": valid: %zu %s, %zu %s\n", c->doc->n_hosts,
                   c->doc->n_hosts == 1 ? "host" : "hosts", n, n == 1 ? "container" : "containers");
    }
    return code;
}

int cmd_version(struct cmd *c)
{
    if (c->args.json)
        cmd_render_version_json(&c->out);
    else
        cmd_put(&c->out, "berth " BERTH_VERSION "\n");
    return CMD_OK;
}

int cmd_help(struct cmd *c)
{
    const struct cmd_verb *v = NULL;
    if (c->args.man) {
        cmd_render_manual(&c->out);
        return CMD_OK;
    }
    if (c->args.n_names && !(v = cmd_verb_find(c->args.names[0]))) {
        struct rec_error err;
        char hint[200];
        rec_fail(&err, EINVAL, "berth has no verb '%.64s'", c->args.names[0]);
        cmd_verb_hint(c->args.names[0], hint, sizeof hint);
        rec_hint(&err, "%s", hint);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    cmd_render_help(&c->out, v);
    return CMD_OK;
}

/* For the scripts themselves: names of this host's containers, or of all hosts'; a bad spec
 * completes to nothing. */
static void names(struct cmd *c)
{
    struct rec_error err;
    char hostname[256] = "";
    if (cmd_load_file(c, CMD_SPEC_IF_FOUND, &err) != CMD_OK || !c->doc)
        return;
    gethostname(hostname, sizeof hostname - 1);
    const struct spec_host *only = spec_host_find(c->doc, c->args.host, hostname);
    for (size_t i = 0; i < c->doc->n_hosts; i++)
        for (size_t k = 0;
             (!only || only == &c->doc->hosts[i]) && k < c->doc->hosts[i].n_containers; k++) {
            cmd_safe(&c->out, c->doc->hosts[i].containers[k].name);
            cmd_put(&c->out, "\n");
        }
}

int cmd_completion(struct cmd *c)
{
    const char *shell = c->args.n_names ? c->args.names[0] : "";
    struct rec_error err;
    if (!strcmp(shell, "names")) {
        names(c);
        return CMD_OK;
    }
    if (cmd_render_completion(&c->out, shell))
        return CMD_OK;
    rec_fail(&err, EINVAL, *shell ? "there is no completion for '%.64s'" : "which shell is it for?",
             shell);
    rec_hint(&err, "usage: berth completion bash|zsh|fish");
    return cmd_fail(c, NULL, CMD_USAGE, &err);
}
