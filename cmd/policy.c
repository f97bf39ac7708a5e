/* Reading the policy, and holding a spec against it. The words are explained in
 * spec/policy.c. */
#include "cmd/policy.h"
#include "cmd/git.h"
#include "reconcile/files.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { POLICY_BYTES = 1 << 20 };

static const char strict[] =
    "# What a spec that is pushed may ask for on this host. Only root can change this file.\n"
    "# `berth policy check SPEC` explains, `berth policy suggest SPEC` prints what a spec needs; "
    "see POLICY in berth(1).\n"
    "version: 1\n"
    "allow:\n"
    "  # A NixOS container has no user namespace: whoever chooses its system has root of the host "
    "in reach. Add nixos here,\n"
    "  # and flakes, for example './**', if those who push may have that.\n"
    "  runtimes: [nspawn, netns]\n"
    "  roots: [host]                     # directories and archives by name: /srv/roots/*\n"
    "  binds: []                         # for example /srv/data/*, or /srv/www:ro\n"
    "  capabilities: []\n"
    "  private_users: [auto]\n"
    "  network_admin: false\n"
    "  router: false                     # a router may send from any address\n"
    "  bridges: ['*']                    # one that berth did not make needs its name: [br0, '*']\n"
    "  flakes: []\n"
    "  systems: []\n"
    "  configs: []\n"
    "  ports: [1024-65535]\n"
    "  ports_in_use: refuse              # a new map of a port that a program of the host listens "
    "on\n"
    "  subnets: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 'fc00::/7']\n"
    "  subnets_in_use: refuse            # a new subnet that covers a gateway, a nameserver or a "
    "route of the host\n"
    "  nat: ['*']\n"
    "  open_inbound: false\n";

/* The file's text, to be freed; NULL with 0: there is none. */
static int read_policy(char **text, size_t *len, struct rec_error *err)
{
    struct stat st;
    *text = NULL;
    int fd = open(CMD_POLICY_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st)) {
        int r = rec_fail(err, errno, "cannot read '%s': %s", CMD_POLICY_FILE, strerror(errno));
        if (fd >= 0)
            close(fd);
        return r;
    }
    int r = 0;
    if (!S_ISREG(st.st_mode) || st.st_uid || st.st_mode & 022 || st.st_size > POLICY_BYTES) {
        r = rec_fail(err, EPERM, "cannot trust '%s': others than root could have written it",
                     CMD_POLICY_FILE);
        rec_hint(err, "look at it, then: chown root: %s; chmod 644 %s", CMD_POLICY_FILE,
                 CMD_POLICY_FILE);
    }
    char *buffer = r ? NULL : malloc((size_t)st.st_size + 1);
    size_t n = 0;
    if (!r && !buffer)
        r = rec_fail(err, ENOMEM, "out of memory");
    while (!r && n < (size_t)st.st_size) {
        ssize_t k = read(fd, buffer + n, (size_t)st.st_size - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            r = rec_fail(err, errno, "cannot read '%s': %s", CMD_POLICY_FILE, strerror(errno));
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    close(fd);
    if (r) {
        free(buffer);
        return r;
    }
    buffer[n] = 0;
    *text = buffer;
    *len = n;
    return 0;
}

/* What `runtime: auto` means on this host. */
static int automatic_runtime(enum spec_runtime *out, struct rec_error *err)
{
    struct rec_options o = {.allow_deletes = -1};
    struct spec_container any = {.runtime = SPEC_RT_AUTO};
    struct rec_run *run = NULL;
    int r = rec_open(&run, &o, err);
    if (!r)
        r = rec_facts_host(run, err);
    if (!r)
        *out = rec_runtime_of(run, &any);
    rec_close(run);
    return r;
}

/* Does the path lead through a symbolic link? Others than root may make links, so a pattern says
 * nothing of what such a path is. */
static bool through_link(const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = *path == '/' ? (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how) : -2;
    if (fd >= 0)
        close(fd);
    return fd == -1 && errno == ELOOP;
}

static void add_link(struct spec_arena *a, struct cmd_policy_verdict *v, const char *rule,
                     struct spec_loc at, const char *container, const char *path)
{
    struct spec_violation *list = spec_arena_alloc(a, (v->n + 1) * sizeof *list);
    if (!list)
        return;
    if (v->n)
        memcpy(list, v->list, v->n * sizeof *list);
    list[v->n++] = (struct spec_violation){
        .at = at,
        .rule = rule,
        .value = path,
        .text = spec_arena_printf(
            a, "container '%s' may not use '%s', a path through a symbolic link", container, path)};
    v->list = list;
}

static void check_links(struct spec_arena *a, const struct spec_host *host,
                        struct cmd_policy_verdict *v)
{
    for (size_t i = 0; i < host->n_containers; i++) {
        const struct spec_container *c = &host->containers[i];
        if (c->nspawn.given && c->nspawn.root != SPEC_ROOT_HOST &&
            through_link(c->nspawn.path.text))
            add_link(a, v, "roots", c->nspawn.path.at, c->name, c->nspawn.path.text);
        for (size_t k = 0; k < c->nspawn.n_binds; k++)
            if (through_link(c->nspawn.binds[k].host))
                add_link(a, v, "binds", c->nspawn.binds[k].at, c->name, c->nspawn.binds[k].host);
        if (c->nixos.config.text && through_link(c->nixos.config.text))
            add_link(a, v, "configs", c->nixos.config.at, c->name, c->nixos.config.text);
    }
}

/* Containers whose kept tree the policy allows by its path. An earlier spec may have unpacked it
 * from another source. */
static int allow_kept_roots(struct spec_arena *a, const struct spec_policy *p,
                            const struct spec_host *host, struct rec_except *out)
{
    out->list = spec_arena_alloc(a, (host->n_containers + 1) * sizeof *out->list);
    for (size_t i = 0; out->list && i < host->n_containers; i++) {
        const char *name = host->containers[i].name;
        const char *tree = spec_arena_printf(a, NSPAWN_ROOTS "/%s", name);
        if (!tree)
            return -ENOMEM;
        if (spec_policy_allows_root(p, tree))
            out->list[out->n++] = name;
    }
    return out->list ? 0 : -ENOMEM;
}

/* A pattern says nothing of what the host has: such a bridge needs its name. */
static int allow_bridges(struct spec_arena *a, const struct spec_policy *p, struct rec_except *out)
{
    out->list = spec_arena_alloc(a, (p->bridges.n + 1) * sizeof *out->list);
    for (size_t i = 0; out->list && i < p->bridges.n; i++)
        if (!(out->list[out->n++] = spec_arena_strdup(a, p->bridges.list[i].text)))
            return -ENOMEM;
    return out->list ? 0 : -ENOMEM;
}

void cmd_policy_options(const struct cmd_policy_verdict *v, struct rec_options *o)
{
    o->forbid = v->forbid;
    o->bridges = v->bridges;
    o->kept_roots = v->kept_roots;
}

int cmd_policy_judge(struct spec_arena *a, const struct spec_host *host,
                     struct cmd_policy_verdict *out, struct rec_error *err)
{
    struct spec_policy *p;
    struct spec_diags diags = {0};
    enum spec_runtime automatic;
    char *text;
    size_t len;
    *out = (struct cmd_policy_verdict){0};
    int r = read_policy(&text, &len, err);
    if (r)
        return r;
    if (!text) {
        out->absent = true;
        return 0;
    }
    r = spec_policy_load(a, text, len, &p, &diags);
    if (r == -EINVAL) {
        const struct spec_diag *d = diags.n ? &diags.list[0] : NULL;
        rec_fail(err, EINVAL, "the policy is not valid: " CMD_POLICY_FILE ":%u:%u: %s",
                 d ? d->at.line : 0, d ? d->at.col : 0, d ? d->text : "");
        if (d && d->hint)
            rec_hint(err, "%s", d->hint);
    } else if (r) {
        rec_fail(err, ENOMEM, "out of memory");
    }
    if (!r)
        r = automatic_runtime(&automatic, err);
    if (!r && spec_policy_check(a, p, host, automatic, &out->list, &out->n))
        r = rec_fail(err, ENOMEM, "out of memory");
    if (!r)
        check_links(a, host, out);
    if (!r && !spec_policy_allows_users(p, SPEC_USERS_NONE))
        out->forbid |= REC_FORBID(REC_FIND_NO_USERNS);
    if (!r && !p->ports_in_use)
        out->forbid |= REC_FORBID(REC_FIND_PORT_IN_USE);
    if (!r && !p->subnets_in_use)
        out->forbid |= REC_FORBID(REC_FIND_SUBNET_IN_USE);
    if (!r &&
        (allow_kept_roots(a, p, host, &out->kept_roots) || allow_bridges(a, p, &out->bridges)))
        r = rec_fail(err, ENOMEM, "out of memory");
    if (!r)
        out->forbid |= REC_FORBID(REC_FIND_KEPT_ROOT) | REC_FORBID(REC_FIND_FOREIGN_BRIDGE);
    /* The policy's own words are no longer needed. */
    free(text);
    return r;
}

void cmd_policy_error(const struct spec_violation *v, struct rec_error *out)
{
    *out = (struct rec_error){0};
    rec_fail(out, EPERM, "%s: '%s' in " CMD_POLICY_FILE " does not allow it", v->text, v->rule);
    out->at = v->at;
}

/* The same spec again, for a command line. */
static void put_spec_words(struct cmd_out *o, const struct cmd *c)
{
    if (c->git && *c->git->repo) {
        cmd_put(o, " --git ");
        cmd_safe(o, c->git->repo);
    }
    if (c->args.git_owner) {
        cmd_put(o, " --git-owner ");
        cmd_safe(o, c->args.git_owner);
    }
    if (c->args.host) {
        cmd_put(o, " --host ");
        cmd_safe(o, c->args.host);
    }
    cmd_put(o, " ");
    cmd_safe(o, c->file.name);
}

void cmd_policy_warn(struct cmd *c)
{
    cmd_put(&c->err,
            "berth: warning: no policy limits what this repository may ask for on this host\n"
            "  to allow what the spec asks for now, and no more: berth policy write");
    put_spec_words(&c->err, c);
    cmd_put(&c->err, "\n");
}

bool cmd_policy_concerns(const struct cmd *c)
{
    return c->git || (c->file.name && cmd_git_split(c->file.name) >= 0);
}

enum cmd_exit cmd_policy_enforce(struct cmd *c, const char *format)
{
    struct cmd_policy_verdict v;
    struct rec_error err = {0};
    if (!cmd_policy_concerns(c) || !c->host || !c->run)
        return CMD_OK;
    if (cmd_policy_judge(c->arena, c->host, &v, &err))
        return cmd_fail(c, format, CMD_REFUSED, &err);
    if (v.absent && !c->args.quiet)
        cmd_policy_warn(c);
    /* What depends on this host is found with the plan. */
    cmd_policy_options(&v, &c->run->opt);
    for (size_t i = 0; i + 1 < v.n; i++) {
        cmd_policy_error(&v.list[i], &err);
        cmd_tell(c, &err);
    }
    if (!v.n)
        return CMD_OK;
    cmd_policy_error(&v.list[v.n - 1], &err);
    rec_hint(&err, "nothing was changed; root decides in '%s' what a pushed spec may ask for",
             CMD_POLICY_FILE);
    return cmd_fail(c, format, CMD_REFUSED, &err);
}

void cmd_policy_tell(struct cmd *c, const struct rec_plan *p, const struct rec_error *told)
{
    for (size_t i = 0; i < p->n_forbidden; i++) {
        struct rec_error err;
        rec_forbidden_error(&p->forbidden[i], &err);
        if (strcmp(err.text, told->text))
            cmd_tell(c, &err);
    }
}

/* -EEXIST: there is one. Nobody ever sees half of it. */
static int write_policy(const char *text, size_t len, struct rec_error *err)
{
    if (mkdir("/etc/berth", 0755) && errno != EEXIST)
        return rec_fail(err, errno, "cannot make '/etc/berth': %s", strerror(errno));
    struct stat st;
    if (!lstat(CMD_POLICY_FILE, &st))
        return rec_fail(err, EEXIST, "there is a policy already: '%s'", CMD_POLICY_FILE);
    return rec_file_write(CMD_POLICY_FILE, text, len, 0644, err);
}

int cmd_policy_write_strict(bool *made, struct rec_error *err)
{
    int r = write_policy(strict, sizeof strict - 1, err);
    *made = !r;
    return r == -EEXIST ? 0 : r;
}

/* What depends on the host: violations that the dry plan of an apply finds and `policy` forbids,
 * and why it could not be made, "" if it could. */
struct look {
    struct cmd_policy_verdict policy;
    struct spec_violation *list;
    size_t n;
    char missed[1400];
};

/* Another host of the spec has this machine's name. */
static bool is_elsewhere(const struct cmd *c)
{
    struct utsname u;
    const struct spec_host *here = spec_host_find(c->doc, NULL, uname(&u) ? "" : u.nodename);
    return here && here != c->host;
}

static int by_place(const void *a, const void *b)
{
    const struct spec_violation *x = a, *y = b;
    return x->at.byte < y->at.byte ? -1 : x->at.byte > y->at.byte;
}

static int take_forbidden(struct spec_arena *a, const struct rec_plan *p, struct look *l)
{
    l->list = spec_arena_alloc(a, (p->n_forbidden + 1) * sizeof *l->list);
    if (!l->list)
        return -ENOMEM;
    for (size_t i = 0; i < p->n_forbidden; i++) {
        const struct rec_forbidden *f = &p->forbidden[i];
        l->list[l->n++] = (struct spec_violation){.at = f->at,
                                                  .rule = rec_finding_rule(f->finding),
                                                  .text = spec_arena_strdup(a, f->text),
                                                  .value = f->value ? f->value : "allow"};
        if (!l->list[l->n - 1].text)
            return -ENOMEM;
    }
    qsort(l->list, l->n, sizeof *l->list, by_place);
    return 0;
}

/* The plan that an apply would make now. Errors that no rule of the policy causes are left out. */
static int look_here(struct cmd *c, struct look *l)
{
    struct rec_apply_options dry = {.dry = true};
    struct rec_result result = {.outcome = REC_IN_SYNC};
    struct rec_state want;
    struct rec_error err = {0};
    if (cmd_open(c, &err) == CMD_OK) {
        cmd_policy_options(&l->policy, &c->run->opt);
        if (!rec_want(c->run, c->host, &want, &err) && rec_converge(c->run, &want, &dry, &result))
            err = result.error;
    }
    if (result.plan)
        return take_forbidden(c->arena, result.plan, l);
    snprintf(l->missed, sizeof l->missed, "%s", err.text);
    return err.code == ENOMEM ? -ENOMEM : 0;
}

static int look_at_host(struct cmd *c, struct look *l)
{
    if (is_elsewhere(c))
        snprintf(l->missed, sizeof l->missed, "'%s' is not this machine", c->host->name);
    else if (geteuid())
        snprintf(l->missed, sizeof l->missed, "that needs root");
    else if (l->policy.forbid)
        return look_here(c, l);
    return 0;
}

static void put_missed(struct cmd_out *o, const char *begin, const struct look *l)
{
    if (!*l->missed)
        return;
    cmd_put(o, begin);
    cmd_put(o, "not looked at: ports and subnets that the host uses, and whether its file systems "
               "allow user namespaces: ");
    cmd_safe(o, l->missed);
    cmd_put(o, "\n");
}

static void put_violation(struct cmd *c, const struct spec_violation *v)
{
    bool flag = !strcmp(v->value, "true") || !strcmp(v->value, "allow");
    cmd_safe(&c->out, c->file.name);
    cmd_printf(&c->out, ":%u:%u: ", v->at.line, v->at.col);
    cmd_safe(&c->out, v->text);
    if (flag)
        cmd_printf(&c->out, "\n  to allow it, set in " CMD_POLICY_FILE ": %s: ", v->rule);
    else
        cmd_printf(&c->out, "\n  to allow it, add to `%s` in " CMD_POLICY_FILE ": ", v->rule);
    cmd_safe(&c->out, v->value);
    cmd_put(&c->out, "\n");
}

static int policy_check(struct cmd *c)
{
    struct cmd_policy_verdict v;
    struct rec_error err = {0};
    if (cmd_policy_judge(c->arena, c->host, &v, &err))
        return cmd_fail(c, "berth.policy", CMD_REFUSED, &err);
    if (v.absent) {
        rec_fail(&err, ENOENT, "there is no policy: '%s'", CMD_POLICY_FILE);
        rec_hint(&err,
                 "to write one that allows what this spec asks for: berth policy write %.200s",
                 c->file.name);
        return cmd_fail(c, "berth.policy", CMD_REFUSED, &err);
    }
    struct look l = {.policy = v};
    if (look_at_host(c, &l)) {
        rec_fail(&err, ENOMEM, "out of memory");
        return cmd_fail(c, "berth.policy", CMD_FAILED, &err);
    }
    for (size_t i = 0; i < v.n; i++)
        put_violation(c, &v.list[i]);
    for (size_t i = 0; i < l.n; i++)
        put_violation(c, &l.list[i]);
    put_missed(&c->err, "berth: ", &l);
    if (!v.n && !l.n && !c->args.quiet)
        cmd_printf(&c->out, "The policy allows all that the spec asks for on %s.\n", c->host->name);
    return v.n || l.n ? CMD_REFUSED : CMD_OK;
}

/* A policy for this spec. What the host itself made necessary is explained above it. */
static int compose_policy(struct cmd *c, struct cmd_out *o, struct rec_error *err)
{
    enum spec_runtime automatic;
    struct look l = {.policy.forbid = ~0u};
    int r = automatic_runtime(&automatic, err);
    if (r)
        return r;
    const char *text =
        look_at_host(c, &l) ? NULL : spec_policy_suggest(c->arena, c->host, automatic, l.list, l.n);
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    put_missed(o, "# ", &l);
    put_missed(&c->err, "berth: ", &l);
    for (size_t i = 0; i < l.n; i++) {
        cmd_printf(o, "# %s: ", l.list[i].rule);
        cmd_safe(o, l.list[i].text);
        cmd_put(o, "\n");
    }
    cmd_put(o, text);
    return 0;
}

/* To standard output, or into its place. */
static int policy_suggest(struct cmd *c, bool write)
{
    struct cmd_out text = {.fd = -1, .utf8 = true};
    struct rec_error err = {0};
    int r = compose_policy(c, &text, &err);
    bool composed = !r;
    if (!r && write)
        r = write_policy(text.text, text.n, &err);
    if (!r && write && !c->args.quiet)
        cmd_put(&c->out, "Written: " CMD_POLICY_FILE "\n");
    if (!r && !write)
        cmd_putn(&c->out, text.text, text.n);
    cmd_out_done(&text);
    if (r == -EEXIST && composed) {
        rec_hint(&err, "to see what the spec needs: berth policy suggest %.200s", c->file.name);
        return cmd_fail(c, "berth.policy", CMD_REFUSED, &err);
    }
    return r ? cmd_fail(c, "berth.policy", cmd_exit_of_errno(err.code), &err) : CMD_OK;
}

int cmd_policy(struct cmd *c)
{
    static const char *const words[] = {"check", "suggest", "write"};
    const char *word = c->args.names[0];
    struct rec_error err = {0};
    size_t k = 0;
    while (k < 3 && strcmp(word, words[k]))
        k++;
    if (k == 3 || c->args.n_names > 2) {
        rec_fail(&err, EINVAL,
                 k < 3 ? "berth policy %s takes one spec"
                       : "berth policy knows check, suggest and write, not '%.64s'",
                 word);
        return cmd_fail(c, "berth.policy", CMD_USAGE, &err);
    }
    if (k == 2 && geteuid()) {
        rec_fail(&err, EPERM, "berth policy write needs root");
        return cmd_fail(c, "berth.policy", CMD_DENIED, &err);
    }
    if (c->args.n_names > 1)
        c->args.spec = c->args.names[1];
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, "berth.policy");
    if (code != CMD_OK)
        return code;
    return k ? policy_suggest(c, k == 2) : policy_check(c);
}
