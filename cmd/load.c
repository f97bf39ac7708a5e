/* What most verbs begin with: find the spec, read it, tell what is wrong with it, choose the
 * host, open the run. */
#include "cmd/cmd.h"
#include "cmd/git.h"
#include "cmd/hook.h"
#include "cmd/range.h"
#include "cmd/render/render.h"
#include "reconcile/record.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum cmd_exit cmd_exit_of_outcome(enum rec_outcome o)
{
    switch (o) {
    case REC_IN_SYNC:
    case REC_APPLIED:
        return CMD_OK;
    case REC_UNTOUCHED:
        return CMD_FAILED;
    case REC_REFUSED:
        return CMD_REFUSED;
    case REC_ROLLED_BACK:
        return CMD_ROLLED_BACK;
    case REC_PARTIAL:
        return CMD_PARTIAL;
    case REC_UNSUPPORTED:
        return CMD_UNSUPPORTED;
    case REC_LOCKED:
        return CMD_LOCKED;
    case REC_DENIED:
        return CMD_DENIED;
    }
    return CMD_FAILED;
}

enum cmd_exit cmd_exit_of_errno(int code)
{
    switch (code) {
    case EPERM:
    case EACCES:
        return CMD_DENIED;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
        return CMD_UNSUPPORTED;
    case EWOULDBLOCK:
        return CMD_LOCKED;
    default:
        return CMD_FAILED;
    }
}

const char *cmd_outcome_name(enum rec_outcome o, bool pending)
{
    switch (o) {
    case REC_IN_SYNC:
        return pending ? "pending" : "in_sync";
    case REC_APPLIED:
        return "applied";
    case REC_UNTOUCHED:
        return "failed";
    case REC_REFUSED:
        return "refused";
    case REC_ROLLED_BACK:
        return "rolled_back";
    case REC_PARTIAL:
        return "partial";
    case REC_UNSUPPORTED:
        return "unsupported";
    case REC_LOCKED:
        return "locked";
    case REC_DENIED:
        return "denied";
    }
    return "failed";
}

void cmd_tell(struct cmd *c, const struct rec_error *e)
{
    cmd_render_error(&c->err, c->file.name, e);
}

static void put_place(struct cmd_out *o, const char *file, const char *repo, const char *path,
                      const char *commit, const char *ref)
{
    if (file) {
        cmd_safe(o, file);
        return;
    }
    cmd_safe(o, path ? path : "");
    cmd_put(o, " in ");
    cmd_safe(o, repo ? repo : "");
    cmd_printf(o, ", commit %.12s", commit);
    if (ref && *ref) {
        const char *slash = !strncmp(ref, "refs/heads/", 11) ? ref + 11 : ref;
        cmd_put(o, " (");
        cmd_safe(o, slash);
        cmd_put(o, ")");
    }
}

static bool same_spec(const struct cmd *c, const struct rec_applied *last)
{
    const struct cmd_git *g = c->git;
    if (!g)
        return last->file && c->file.path && !strcmp(last->file, c->file.path);
    bool repo = last->repo && !strcmp(last->repo, *g->work ? g->work : g->repo);
    return last->commit && repo && last->path && !strcmp(last->path, g->path);
}

void cmd_name_spec(struct cmd *c)
{
    struct rec_applied last;
    struct rec_error ignored;
    const struct cmd_git *g = c->git;
    /* A hook has told the commit already. */
    if (c->named || c->args.quiet || c->args.json || c->args.at || !c->file.name)
        return;
    c->named = true;
    cmd_put(&c->err, "spec: ");
    if (g)
        put_place(&c->err, NULL, *g->work ? g->work : g->repo, g->path, g->commit, g->ref);
    else
        cmd_safe(&c->err, c->file.path ? c->file.path : c->file.name);
    cmd_put(&c->err, "\n");
    bool known = !rec_applied_read(c->run, &last, &ignored) && (last.file || last.commit);
    if (known && !same_spec(c, &last)) {
        cmd_put(&c->err, "applied last: ");
        put_place(&c->err, last.file, last.repo, last.path, last.commit ? last.commit : "",
                  last.ref);
        cmd_put(&c->err, "\n");
    }
    cmd_out_flush(&c->err);
}

/* The spec's path in the repository, for who looks at it there. */
static const char *path_shown(const struct cmd *c)
{
    const char *name = c->git ? c->git->path : c->file.name ? c->file.name : "";
    return name + (*name == ':');
}

void cmd_tell_faults(struct cmd *c, enum cmd_exit code)
{
    if (!c->diags.n || (code != CMD_BAD_SPEC && c->args.quiet))
        return;
    if (c->args.github) {
        cmd_render_faults_github(&c->out, c, path_shown(c));
        return;
    }
    char *text = spec_diags_format(c->arena, &c->diags, c->file.name, c->file.text, c->file.len,
                                   c->err.color);
    cmd_put(&c->err, text ? text : "berth: out of memory\n");
}

static size_t put_word(char *out, size_t room, size_t n, const char *word)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-";
    bool quotes = !*word || word[strspn(word, plain)];
    const char *before = n ? " " : "";
    if (!quotes)
        return n + (size_t)snprintf(out + n, n < room ? room - n : 0, "%s%s", before, word);
    n += (size_t)snprintf(out + n, n < room ? room - n : 0, "%s'", before);
    for (; *word; word++)
        n += (size_t)snprintf(out + n, n < room ? room - n : 0, *word == '\'' ? "'\\''" : "%c",
                              *word);
    return n + (size_t)snprintf(out + n, n < room ? room - n : 0, "'");
}

/* The same command line with sudo, which drops the environment: what berth takes from there is
 * named again. */
static void hint_sudo(const struct cmd *c, struct rec_error *e)
{
    static const char *const taken[] = {"BERTH_SPEC", "BERTH_HOST", "BERTH_GIT"};
    char line[900] = "", word[300];
    size_t n = put_word(line, sizeof line, 0, "sudo");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        const char *value = getenv(taken[i]);
        if (!value || !*value)
            continue;
        snprintf(word, sizeof word, "%s=%s", taken[i], value);
        n = put_word(line, sizeof line, n < sizeof line ? n : sizeof line, word);
    }
    for (char **p = c->argv; p && *p && n < sizeof line; p++)
        n = put_word(line, sizeof line, n, *p);
    if (c->argv && n < sizeof line)
        rec_hint(e, "run it as root:\n%s", line);
    else
        rec_hint(e, "run it as root: sudo berth %s …", c->args.verb ? c->args.verb->name : "");
}

bool cmd_lacks_root(struct cmd *c)
{
    const struct cmd_verb *v = c->args.verb;
    bool needed = v->rights == CMD_ROOT || (v->rights == CMD_ROOT_TO_CHANGE && !c->args.dry);
    if (!needed || !geteuid())
        return false;
    struct rec_error err = {0};
    rec_fail(&err, EPERM, "berth %s needs root", v->name);
    cmd_fail(c, NULL, CMD_DENIED, &err);
    return true;
}

enum cmd_exit cmd_fail(struct cmd *c, const char *format, enum cmd_exit code,
                       const struct rec_error *e)
{
    struct rec_error said = *e;
    if (code == CMD_DENIED && geteuid() && !said.hint[0])
        hint_sudo(c, &said);
    cmd_tell(c, &said);
    if (c->args.github)
        cmd_render_refusal_github(&c->out, path_shown(c), &said);
    if (c->args.json) {
        char own[64];
        snprintf(own, sizeof own, "berth.%s", c->args.verb ? c->args.verb->name : "usage");
        cmd_render_failures_json(&c->out, format ? format : own, c->host ? c->host->name : NULL,
                                 c->file.name, code, &said, 1);
    }
    return code;
}

static const char *container_name(void *arg, size_t i)
{
    const struct spec_host *h = arg;
    return i < h->n_containers ? h->containers[i].name : NULL;
}

const char *cmd_nearest_container(const struct cmd *c, const char *name)
{
    return c->host ? cmd_nearest(name, container_name, (void *)c->host) : NULL;
}

/* The spec's bytes: out of git, a file, or standard input. */
static enum cmd_exit read_spec(struct cmd *c, const char *name, bool here, size_t limit,
                               struct rec_error *err)
{
    int rev = cmd_git_split(name);
    if (rev < 0) {
        int r = here ? cmd_spec_read_here(limit, &c->file, err)
                     : cmd_spec_read(name, limit, &c->file, err);
        if (r == -EXDEV)
            return CMD_REFUSED;
        return !r                            ? CMD_OK
               : r == -EACCES || r == -EPERM ? CMD_DENIED
               : r == -ENOMEM || r == -EIO   ? CMD_FAILED
                                             : CMD_BAD_SPEC;
    }
    char *word = strndup(name, (size_t)rev);
    struct cmd_git *git = calloc(1, sizeof *git);
    struct cmd_git_ask ask = {.git = c->args.git,
                              .owner = c->args.git_owner,
                              .rev = !rev         ? NULL
                                     : c->args.at ? c->args.at
                                                  : word,
                              .path = name + rev + 1,
                              .limit = limit};
    enum cmd_exit code = CMD_FAILED;
    if (word && git)
        code = cmd_git_read(&ask, &c->file.text, &c->file.len, git, err);
    else
        rec_fail(err, ENOMEM, "out of memory");
    if (code == CMD_OK && rev && c->args.at && !*git->ref)
        snprintf(git->ref, sizeof git->ref, "%s", word);
    free(word);
    if (code == CMD_OK && rev)
        c->git = git;
    else
        free(git);
    c->file.name = name;
    return code;
}

/* The last apply on this host, in words, and what names its spec on a command line. false: it is
 * not known, or too long. */
static bool last_apply(char *said, size_t size, char *words, size_t room)
{
    struct rec_options o = {.spec_name = "", .allow_deletes = -1};
    struct rec_run *run = NULL;
    struct rec_applied last = {0};
    struct rec_error ignored;
    char rev[1400];
    size_t n = 0;
    if (!rec_open(&run, &o, &ignored) && rec_applied_read(run, &last, &ignored))
        last = (struct rec_applied){0};
    bool known = last.file || (last.commit && last.repo && last.path);
    if (last.file) {
        snprintf(said, size, "%.400s", last.file);
        n = put_word(words, room, n, "-f");
        n = put_word(words, room, n, last.file);
    } else if (known) {
        const char *ref = last.ref && *last.ref ? last.ref : last.commit;
        snprintf(said, size, "%.200s in %.200s", last.path, last.repo);
        snprintf(rev, sizeof rev, "%.200s:%.1000s",
                 ref + (strncmp(ref, "refs/heads/", 11) ? 0 : 11), last.path);
        n = put_word(words, room, n, "--git");
        n = put_word(words, room, n, last.repo);
        n = n < room ? put_word(words, room, n, "-f") : n;
        n = n < room ? put_word(words, room, n, rev) : n;
    }
    rec_close(run);
    return known && n < room;
}

/* The words of this call with those of `more`, which come last. After `--` a flag would be no flag:
 * they follow the verb then. false: it is too long. */
static bool repeat_with(const struct cmd *c, const char *more, char *out, size_t room)
{
    bool early = false;
    size_t n = put_word(out, room, 0, "berth");
    for (char **p = c->argv ? c->argv + 1 : NULL; p && *p; p++)
        early |= !strcmp(*p, "--");
    for (char **p = c->argv ? c->argv + 1 : NULL; p && *p && n < room; p++) {
        n = put_word(out, room, n, *p);
        if (early && c->args.verb && cmd_verb_find(*p) == c->args.verb && n < room) {
            n += (size_t)snprintf(out + n, room - n, " %s", more);
            early = false;
            more = "";
        }
    }
    if (*more && n < room)
        n += (size_t)snprintf(out + n, room - n, " %s", more);
    return n < room;
}

static enum cmd_exit no_spec(struct cmd *c, struct rec_error *err)
{
    static const char text[] = "there is no spec here: neither ./berth.yaml nor "
                               "/etc/berth/berth.yaml, and BERTH_SPEC is not set";
    const struct cmd_verb *v = c->args.verb;
    char said[450], more[500], line[560];
    bool known = c->argv && last_apply(said, sizeof said, more, sizeof more);
    if (known && repeat_with(c, more, line, sizeof line)) {
        rec_fail(err, ENOENT, "%s", text);
        rec_hint(err, "the last apply here came from %s:\n%s", said, line);
        return CMD_USAGE;
    }
    rec_fail(err, ENOENT, "%s", text);
    rec_hint(err, "name one: berth %s %s; `berth init` writes one that fits this host",
             v ? v->name : "plan", v && v->operands != CMD_TAKES_SPEC ? "-f FILE …" : "FILE");
    return CMD_USAGE;
}

/* The spec that root's environment file names: what the units of this host apply. The variables
 * that say how to read it become flags of this call, unless they are given. *name NULL: the file
 * names none. */
static enum cmd_exit follow_units(struct cmd *c, const char **name, struct rec_error *err)
{
    static const char *const taken[] = {"BERTH_GIT", "BERTH_GIT_OWNER", "BERTH_HOST", "BERTH_DENY",
                                        "BERTH_HUGE"};
    static char spec[PATH_MAX];
    char value[PATH_MAX];
    struct cmd_complaint why = {"out of memory", ""};
    bool other_git = c->args.git != NULL;
    *name = NULL;
    if (geteuid() || !cmd_hook_env("BERTH_SPEC", value, sizeof value) || !*value)
        return CMD_OK;
    /* A relative path counts from where the units run. */
    bool relative = *value != '/' && cmd_git_split(value) < 0;
    int n = snprintf(spec, sizeof spec, "%s%s", relative ? "/etc/berth/" : "", value);
    if (n < 0 || (size_t)n >= sizeof spec) {
        rec_fail(err, ENAMETOOLONG, "cannot use BERTH_SPEC of " CMD_ENV_FILE ": %s",
                 strerror(ENAMETOOLONG));
        return CMD_USAGE;
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        bool about_git = !strncmp(taken[i], "BERTH_GIT", 9);
        if ((about_git && other_git) || !cmd_hook_env(taken[i], value, sizeof value))
            continue;
        /* The environment keeps the value for as long as the flag is used. */
        if (setenv(taken[i], value, 0) ||
            cmd_args_fill(&c->args, taken[i], getenv(taken[i]), &why)) {
            rec_fail(err, EINVAL, "cannot use %s of " CMD_ENV_FILE ": %s", taken[i], why.text);
            return CMD_USAGE;
        }
    }
    *name = spec;
    return CMD_OK;
}

enum cmd_exit cmd_load_file(struct cmd *c, enum cmd_need need, struct rec_error *err)
{
    const char *env = getenv("BERTH_SPEC"), *name = cmd_spec_find(c->args.spec, env);
    bool here = name && !c->args.spec && name != env && !strcmp(name, CMD_SPEC_HERE);
    enum cmd_exit found = name ? CMD_OK : follow_units(c, &name, err);
    if (found != CMD_OK || (!name && need != CMD_SPEC_NEEDED))
        return found;
    if (!name)
        return no_spec(c, err);
    struct spec_limits limits = {c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
    enum cmd_exit code = read_spec(c, name, here, limits.bytes, err);
    if (code != CMD_OK)
        return code;
    c->arena = spec_arena_new();
    int r = c->arena ? spec_load(c->arena, c->file.text, c->file.len, &limits, &c->doc, &c->diags)
                     : -ENOMEM;
    if (r == -EINVAL) {
        rec_fail(err, EINVAL, "the spec is not valid: %zu %s", c->diags.errors,
                 c->diags.errors == 1 ? "error" : "errors");
        return CMD_BAD_SPEC;
    }
    if (r) {
        rec_fail(err, ENOMEM, "out of memory");
        return CMD_FAILED;
    }
    return CMD_OK;
}

/* "a, b, c and 4 more" */
static void list_hosts(const struct spec_doc *doc, char *out, size_t room)
{
    size_t n = 0, k;
    out[0] = 0;
    for (k = 0; k < doc->n_hosts && n + strlen(doc->hosts[k].name) + 20 < room; k++)
        n += (size_t)snprintf(out + n, room - n, "%s%s", k ? ", " : "", doc->hosts[k].name);
    if (k < doc->n_hosts)
        snprintf(out + n, room - n, " and %zu more", doc->n_hosts - k);
}

static enum cmd_exit choose_host(struct cmd *c, struct rec_error *err)
{
    struct utsname u;
    const char *hostname = uname(&u) ? "" : u.nodename;
    c->host = spec_host_find(c->doc, c->args.host, hostname);
    if (c->host)
        return CMD_OK;
    char names[200];
    list_hosts(c->doc, names, sizeof names);
    if (c->args.host)
        rec_fail(err, ENOENT, "there is no host '%.64s' in the spec; it has %s", c->args.host,
                 names);
    else
        rec_fail(err, ENOENT,
                 "this machine is called '%.64s', and the spec has no such host; it has %s; "
                 "nothing was changed",
                 hostname, names);
    rec_hint(err, "say which one this machine is: --host NAME, or BERTH_HOST=NAME");
    return CMD_REFUSED;
}

/* The verb works without the spec that was found: as if there were none. */
static void do_without(struct cmd *c, const struct rec_error *err)
{
    cmd_put(&c->err, "warning: ");
    if (c->diags.errors) {
        cmd_safe(&c->err, c->file.name);
        cmd_put(&c->err, ": ");
    }
    cmd_safe(&c->err, err->text);
    cmd_printf(&c->err, "\n  berth %s goes on without a spec%s\n", c->args.verb->name,
               c->diags.errors ? "; `berth validate` tells what is wrong" : "");
    spec_arena_free(c->arena);
    cmd_spec_file_done(&c->file);
    free(c->git);
    c->arena = NULL;
    c->git = NULL;
    c->doc = NULL;
    c->file = (struct cmd_spec_file){0};
    c->diags = (struct spec_diags){0};
}

/* What to do where the spec is bad: name the one of the last apply, or none. The first line is
 * said, the second is a command. false: there is nothing to say. */
static bool way_around(const struct cmd *c, char *said, size_t size, char *line, size_t room)
{
    const struct cmd_verb *v = c->args.verb;
    const char *file = c->file.path ? c->file.path : "";
    char from[450], more[500];
    if (v->run == cmd_destroy) {
        snprintf(said, size, "destroy needs no spec: it removes all that berth made on this host:");
        snprintf(line, room, "cd / && berth destroy");
        return true;
    }
    if (c->args.spec || !c->argv)
        return false;
    if (v->run == cmd_status) {
        snprintf(said, size, "what berth made on this host is shown without a spec, too:");
        snprintf(line, room, "cd / && berth status");
        return !strcmp(c->file.name ? c->file.name : CMD_SPEC_HERE, CMD_SPEC_HERE);
    }
    bool about_names =
        v->operands == CMD_TAKES_NAMES || v->run == cmd_update || v->run == cmd_backup;
    if (!about_names || !last_apply(from, sizeof from, more, sizeof more) || !strcmp(from, file))
        return false;
    snprintf(said, size, "the last apply here came from %s:", from);
    return repeat_with(c, more, line, room);
}

enum cmd_exit cmd_load(struct cmd *c, enum cmd_need need, const char *format)
{
    struct rec_error err = {0};
    char said[500], line[560];
    enum cmd_exit code = cmd_load_file(c, need, &err);
    if (code != CMD_OK && code != CMD_USAGE && need == CMD_SPEC_IF_GOOD && !c->args.spec &&
        err.code != ENOMEM) {
        do_without(c, &err);
        return CMD_OK;
    }
    cmd_tell_faults(c, code);
    bool around = (code == CMD_BAD_SPEC || code == CMD_REFUSED) &&
                  way_around(c, said, sizeof said, line, sizeof line);
    if (code == CMD_BAD_SPEC && c->diags.errors) {
        if (around) {
            cmd_safe(&c->err, said);
            cmd_put(&c->err, "\n    ");
            cmd_safe(&c->err, line);
            cmd_put(&c->err, "\n");
        }
        if (c->args.json)
            cmd_render_diags_json(&c->out, format, c->file.name, &c->diags, c->file.text,
                                  c->file.len, NULL);
        return code;
    }
    if (around)
        rec_hint(&err, "%s\n%s", said, line);
    if (code == CMD_OK && c->doc)
        code = choose_host(c, &err);
    return code == CMD_OK ? code : cmd_fail(c, format, code, &err);
}

/* The environment denies for everybody who pushes, so a commit may allow it. A flag is one
 * operator's wish. */
static uint32_t allowed_by_commits(const struct cmd *c, const struct cmd_git *g)
{
    char commit[65];
    struct cmd_git_ask ask = {.git = c->args.git,
                              .owner = c->args.git_owner,
                              .rev = g->commit,
                              .path = g->path,
                              .limit = c->args.huge ? SPEC_BYTES_HUGE : SPEC_BYTES};
    return *g->commit ? cmd_allowed_since_apply(&ask, commit) : 0;
}

enum cmd_exit cmd_open(struct cmd *c, struct rec_error *err)
{
    const struct cmd_git *g = c->git;
    if (g)
        c->source = cmd_git_source(g);
    uint32_t deny = 0;
    char bad[32];
    if (c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return CMD_USAGE;
    }
    struct rec_options o = {.deny = deny,
                            .source = g ? &c->source : NULL,
                            .spec_name = c->file.name ? c->file.name : "",
                            .spec_dir = c->file.dir,
                            .adopt = c->args.adopt,
                            .own_connection = c->args.own_connection,
                            .allow_deletes = c->args.allow_deletes,
                            .boot = c->args.boot,
                            .destroy_files = c->args.files,
                            .lock_timeout_ms = c->args.lock_timeout_ms};
    int r = rec_open(&c->run, &o, err);
    if (r)
        return cmd_exit_of_errno(-r);
    c->run->doc = c->doc;
    if (deny && g && c->args.deny == getenv("BERTH_DENY"))
        c->run->opt.deny &= ~allowed_by_commits(c, g);
    return CMD_OK;
}

void cmd_done(struct cmd *c)
{
    rec_close(c->run);
    spec_arena_free(c->arena);
    cmd_spec_file_done(&c->file);
    free(c->git);
    cmd_out_done(&c->out);
    cmd_out_done(&c->err);
}
