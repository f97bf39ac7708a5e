/* Systems are built before anything on the host is touched, several at once, each with a root of nix's garbage collector; what fails
 * refuses the apply with nix's own words. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AT_ONCE = 4, BUILD_MS = 3600000, EVAL_MS = 600000 };

#define BESIDE(name) {"/run/current-system/sw/bin/" name, "/nix/var/nix/profiles/default/bin/" name, "/usr/bin/" name, "/usr/local/bin/" name}

const char *nixos_program(const char *name)
{
    static const char *const paths[][4] = {BESIDE("nix"), BESIDE("nix-env"), BESIDE("nix-build"), BESIDE("nix-store")};
    for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
        for (size_t i = 0; !strcmp(strrchr(paths[k][0], '/') + 1, name) && i < 4; i++)
            if (!access(paths[k][i], X_OK))
                return paths[k][i];
    return NULL;
}

/* As a part of a URL (RFC 3986 2.3): what is neither unreserved nor a slash is %XX. */
static const char *encoded(struct spec_arena *a, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/", hex[] = "0123456789ABCDEF";
    char *out = spec_arena_alloc(a, 3 * strlen(text) + 1), *to = out;
    for (; out && *text; text++) {
        bool as_it_is = strchr(plain, *text) != NULL;
        *to++ = as_it_is ? *text : '%';
        if (as_it_is)
            continue;
        *to++ = hex[(unsigned char)*text >> 4];
        *to++ = hex[*text & 15];
    }
    return out;
}

/* Is it a place beside the spec; `rest`: without "path:" and the dots in front. */
static bool relative(const char *ref, const char **rest)
{
    ref += strncmp(ref, "path:", 5) ? 0 : 5;
    if (strcmp(ref, ".") && strncmp(ref, "./", 2) && strcmp(ref, "..") && strncmp(ref, "../", 3))
        return false;
    while (!strncmp(ref, "./", 2))
        ref += 2;
    *rest = strcmp(ref, ".") ? ref : "";
    return true;
}

const char *nixos_folder(struct spec_arena *a, const char *path, const char *ref)
{
    const char *slash = strrchr(path, '/'), *rest;
    if (!relative(ref, &rest))
        return "";
    char *whole = spec_arena_printf(a, "%.*s/%s", (int)(slash ? slash - path : 0), path, rest), *to = whole;
    for (const char *p = whole, *next; p && *p; p = next) {
        size_t n = strcspn(p, "/");
        next = p + n + (p[n] == '/');
        if (n == 2 && !memcmp(p, "..", 2)) {
            if (to == whole)
                return NULL;
            while (to > whole && *--to != '/')
                ;
        } else if (n && !(n == 1 && *p == '.')) {
            if (to > whole)
                *to++ = '/';
            memmove(to, p, n);
            to += n;
        }
    }
    if (whole)
        *to = 0;
    return whole;
}

const char *nixos_flake(struct rec_run *run, const struct spec_container *c)
{
    const char *ref = c->nixos.flake.text, *rest;
    struct spec_arena *a = run->arena;
    if (!ref)
        return "";
    if (!relative(ref, &rest))
        return ref;
    const struct rec_source *s = run->opt.source;
    if (!s)
        return spec_arena_printf(a, "%s%s%s%s", strncmp(ref, "path:", 5) ? "" : "path:", run->opt.spec_dir, *rest ? "/" : "", rest);
    /* Beside the spec at that very commit, never the work tree. */
    size_t n = strlen(s->repo);
    while (n > 1 && s->repo[n - 1] == '/')
        n--;
    const char *repo = spec_arena_strndup(a, s->repo, n), *folder = nixos_folder(a, s->path, ref), *via = encoded(a, s->via);
    if (!repo || !folder || !via || !(repo = encoded(a, repo)) || !(folder = encoded(a, folder)))
        return NULL;
    /* A bare repository is fetched from, by a ref, and nix takes it for master's if it is not told. */
    return spec_arena_printf(a, "git+file://%s?rev=%s&%s%s%s%s", repo, s->commit, *via ? "ref=" : "allRefs=1", via, *folder ? "&dir=" : "", folder);
}

bool nixos_relative(const char *ref)
{
    return relative(ref, &(const char *){NULL});
}

const char *nixos_compared(struct rec_run *run, const struct spec_container *c, const char *source)
{
    const char *ref = c->nixos.flake.text, *folder;
    const struct rec_source *s = run->opt.source;
    if (!ref || !s || !nixos_relative(ref) || !(folder = nixos_folder(run->arena, s->path, ref)))
        return source;
    const char *name = *folder ? folder : ".";
    for (size_t i = 0; i < s->n_trees; i++)
        if (!strcmp(s->trees[i].folder, folder))
            return *s->trees[i].id ? spec_arena_printf(run->arena, "%s#%s, tree %.12s", name, c->nixos.attr.text, s->trees[i].id)
                                   : spec_arena_printf(run->arena, "%s#%s, not there", name, c->nixos.attr.text);
    return spec_arena_printf(run->arena, "%s#%s", name, c->nixos.attr.text);
}

const char *nixos_source(struct rec_run *run, const struct spec_container *c, struct rec_error *err)
{
    if (c->nixos.system.text)
        return c->nixos.system.text;
    const char *from = c->nixos.flake.text ? nixos_flake(run, c) : c->nixos.config.text;
    if (!from) {
        rec_fail(err, EINVAL, "container %s: runtime nixos needs a `nixos` map: a flake, a system or a config", c->name);
        err->at = c->at;
        return NULL;
    }
    if (c->nixos.config.text)
        return spec_arena_printf(run->arena, "config %s%s%s", *from == '/' ? "" : run->opt.spec_dir ? run->opt.spec_dir : "",
                                 *from == '/' ? "" : "/", from);
    return spec_arena_printf(run->arena, "%s#%s", from, c->nixos.attr.text);
}

bool nixos_record_read(struct rec_run *run, const char *name, struct nixos_record *out)
{
    char *text, *save = NULL;
    size_t len;
    *out = (struct nixos_record){.source = "", .path = "", .on_remove = "keep"};
    if (rec_file_read(run->arena, spec_arena_printf(run->arena, NIXOS_RECORDS "/%s", name), 65536, &text, &len, NULL))
        return false;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, ' ');
        if (!value)
            continue;
        *value++ = 0;
        if (!strcmp(line, "source"))
            out->source = value;
        else if (!strcmp(line, "path"))
            out->path = value;
        else if (!strcmp(line, "on_remove"))
            out->on_remove = value;
        else if (!strcmp(line, "root"))
            out->root_made = !strcmp(value, "made");
    }
    return true;
}

int nixos_record_write(struct rec_run *run, const char *name, const struct nixos_record *r, struct rec_error *err)
{
    const char *text = spec_arena_printf(run->arena, "source %s\npath %s\non_remove %s\n%s", r->source, r->path, r->on_remove,
                                         r->root_made ? "root made\n" : "");
    int rc = text ? rec_dir_make(REC_STATE_DIR, 0700, err) : rec_fail(err, ENOMEM, "out of memory");
    if (!rc)
        rc = rec_dir_make(NIXOS_RECORDS, 0755, err);
    return rc ? rc : rec_file_write(spec_arena_printf(run->arena, NIXOS_RECORDS "/%s", name), text, strlen(text), 0600, err);
}

int nixos_profile_set(struct rec_run *run, const char *name, const char *path, struct rec_error *err)
{
    const char *dir = spec_arena_printf(run->arena, NIXOS_PROFILES "/%s", name);
    const char *argv[] = {nixos_program("nix-env"), "-p", spec_arena_printf(run->arena, "%s/system", dir), "--set", path, NULL};
    char *said;
    int status;
    if (!argv[0])
        return rec_fail(err, ENOENT, "cannot set the profile of container %s: there is no nix-env on this host", name);
    int r = rec_dir_make(NIXOS_PROFILES, 0700, err);
    if (!r)
        r = rec_dir_make(dir, 0755, err);
    if (!r)
        r = rec_proc_run(run->arena, argv, 60000, &status, &said, err);
    if (!r && status) {
        for (char *p = said; *p; p++)
            *p = *p == '\n' ? ' ' : *p;
        r = rec_fail(err, EIO, "cannot set the profile of container %s: %.400s", name, said);
    }
    return r;
}

/* What one container's system comes to. */
struct job {
    const struct spec_container *c;
    const char        *source, *link;
    struct spec_arena *arena;           /* of its thread's own */
    bool               plan, trusted;   /* trusted: the repository's owner has been looked at */
    char               path[512];       /* "" : not known */
    struct rec_error   error;
};

/* nix's last words, without the lines that only say where it looked. */
static void last_words(char *said, char *out, size_t room)
{
    char *p = strstr(said, "error:");
    p = p ? p : said;
    size_t n = 0;
    for (bool gap = true; *p && n + 1 < room; p++) {
        bool b = (unsigned char)*p <= ' ';
        if (!b || !gap)
            out[n++] = b ? ' ' : *p;
        gap = b;
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = 0;
}

static bool store_path(const char *p)
{
    return !strncmp(p, "/nix/store/", 11) && p[11] && !strchr(p + 11, '/') && strlen(p) < 500;
}

/* Where <nixpkgs> is: as the caller has it, else where NixOS keeps root's channel. */
static const char *nix_path(struct spec_arena *a)
{
    static const char channel[] = "/nix/var/nix/profiles/per-user/root/channels/nixos";
    const char *given = getenv("NIX_PATH");
    return given && *given ? spec_arena_printf(a, "NIX_PATH=%s", given) : access(channel, F_OK) ? NULL : spec_arena_printf(a, "NIX_PATH=nixpkgs=%s", channel);
}

static int run_nix(struct job *j, const char *const *argv, int deadline_ms, int *status, char **said)
{
    /* git refuses a repository of another user's; who may own this one was asked when the spec was read out of it. */
    static const char *const trusting[] = {"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"};
    const char *env[5], *path = nix_path(j->arena);
    size_t n = 0;
    for (size_t i = 0; j->trusted && i < 3; i++)
        env[n++] = trusting[i];
    if (path)
        env[n++] = path;
    env[n] = NULL;
    return rec_proc_run_env(j->arena, argv, env, deadline_ms, status, said, &j->error);
}

static void ask(struct job *j, const char *const *argv, int deadline_ms)
{
    char *said, words[420];
    int status;
    if (!argv[0]) {
        rec_fail(&j->error, ENOENT, "cannot build container %s: there is no nix on this host", j->c->name);
        rec_hint(&j->error, "install nix, or give `system: /nix/store/…` and have that path here");
        return;
    }
    if (run_nix(j, argv, deadline_ms, &status, &said))
        return;
    if (status) {
        last_words(said, words, sizeof words);
        rec_fail(&j->error, EIO, "cannot %s container %s: %s", j->plan ? "evaluate" : "build", j->c->name, words);
        rec_hint(&j->error, "nothing was changed; all that nix says: nix build '%.150s'", j->source);
        return;
    }
    if (!j->plan) {
        ssize_t n = readlink(j->link, j->path, sizeof j->path - 1);
        j->path[n > 0 ? n : 0] = 0;
    } else {
        /* The path is the last word; warnings come before it. */
        char *at = strrchr(said, '/');
        while (at && at > said && strncmp(at, "/nix/store/", 11))
            at--;
        snprintf(j->path, sizeof j->path, "%s", at ? at : "");
        j->path[strcspn(j->path, " \n")] = 0;
    }
    if (!store_path(j->path))
        rec_fail(&j->error, EIO, "cannot use what nix made for container %s: '%.200s' is no store path", j->c->name, j->path);
}

/* From 25.11 on nixpkgs makes a container for nspawn of what sets this; boot.isContainer, which was enough before, is not. The option
 * itself is asked; where there is none the release does not know it. */
static bool misses_option(struct job *j, const char *nix, const char *hash)
{
    const char *option = spec_arena_printf(j->arena, "%.*s#nixosConfigurations.\"%s\".config.boot.isNspawnContainer", (int)(hash - j->source),
                                           j->source, hash + 1);
    const char *argv[] = {nix, "--extra-experimental-features", "nix-command flakes", "eval", "--json", "--", option, NULL};
    char *said;
    int status;
    if (!nix || run_nix(j, argv, EVAL_MS, &status, &said) || status) {
        j->error = (struct rec_error){0};       /* what is really wrong is told by the build */
        return false;
    }
    size_t n = strlen(said);
    while (n && said[n - 1] == '\n')
        said[--n] = 0;
    if (n < 5 || strcmp(said + n - 5, "false"))
        return false;
    rec_fail(&j->error, EIO, "the system of container %s is not made for systemd-nspawn: its nixpkgs has boot.isNspawnContainer, and it is false",
             j->c->name);
    rec_hint(&j->error, "write `boot.isNspawnContainer = true;` in its configuration; boot.isContainer alone was enough before 25.11");
    return true;
}

static void *work(void *arg)
{
    struct job *j = arg;
    struct spec_arena *a = j->arena;
    const char *nix = nixos_program("nix"), *hash = strrchr(j->source, '#');
    if (!strncmp(j->source, "config ", 7)) {
        /* What the spec says is a value there, never a part of the expression: a path may have blanks, quotes and braces. */
        static const char expression[] =
            "{ file, name }: (import <nixpkgs/nixos> { configuration = { lib, ... }: { imports = [ (/. + file) ]; boot.isContainer = true; "
            "networking.hostName = lib.mkDefault name; networking.useDHCP = false; }; }).system";
        const char *build[] = {nixos_program("nix-build"), "--out-link", j->link, "--argstr", "file", j->source + 7, "--argstr", "name", j->c->name,
                               "-E", expression, NULL};
        if (j->plan)
            return NULL;        /* known after build */
        ask(j, build, BUILD_MS);
        return NULL;
    }
    const char *what = spec_arena_printf(a, "%.*s#nixosConfigurations.\"%s\".config.system.build.toplevel%s", (int)(hash - j->source),
                                         j->source, hash + 1, j->plan ? ".outPath" : "");
    const char *build[] = {nix, "--extra-experimental-features", "nix-command flakes", "build", "-o", j->link, "--", what, NULL};
    const char *eval[] = {nix, "--extra-experimental-features", "nix-command flakes", "eval", "--raw", "--", what, NULL};
    if (!misses_option(j, nix, hash))
        ask(j, j->plan ? eval : build, j->plan ? EVAL_MS : BUILD_MS);
    return NULL;
}

static bool chosen(const struct rec_build *b, const char *name)
{
    for (size_t i = 0; i < b->n_only; i++)
        if (!strcmp(b->only[i], name))
            return true;
    return !b->only;
}

/* Is there nothing to ask nix: a store path, or the answer that the last apply left. */
static bool known(struct rec_run *run, const struct spec_container *c, const char *source, const struct rec_build *b, const char **path)
{
    struct nixos_record r;
    if (c->nixos.system.text)
        *path = c->nixos.system.text;
    else if ((!b->evaluate || !chosen(b, c->name)) && nixos_record_read(run, c->name, &r) && !strcmp(r.source, source) && store_path(r.path) && !access(r.path, F_OK))
        *path = r.path;
    else
        return false;
    return true;
}

static int run_jobs(struct rec_run *run, const struct spec_host *h, struct job *jobs, size_t n, const struct rec_build *b,
                    struct rec_error *err)
{
    int r = 0;
    for (size_t at = 0; !r && at < n; at += AT_ONCE) {
        pthread_t threads[AT_ONCE];
        bool started[AT_ONCE] = {false};
        size_t some = n - at < AT_ONCE ? n - at : AT_ONCE;
        for (size_t i = 0; i < some; i++) {
            if (b->progress)
                b->progress(b->arg, jobs[at + i].c->name, b->plan ? "evaluating" : "building");
            started[i] = !pthread_create(&threads[i], NULL, work, &jobs[at + i]);
            if (!started[i])
                work(&jobs[at + i]);
        }
        for (size_t i = 0; i < some; i++)
            if (started[i])
                pthread_join(threads[i], NULL);
        for (size_t i = 0; i < some; i++) {
            struct job *j = &jobs[at + i];
            if (j->error.code && !r) {
                *err = j->error;
                err->at = j->c->nixos.flake.text ? j->c->nixos.flake.at : j->c->nixos.at;
                r = -j->error.code;
            }
            run->built[j->c - h->containers] = *j->path ? spec_arena_strdup(run->arena, j->path) : NULL;
        }
    }
    return r;
}

int rec_build(struct rec_run *run, const struct spec_host *h, const struct rec_build *b, struct rec_error *err)
{
    if (run->opt.offline && !run->facts.known)
        rec_facts_offline(run);
    run->host = h;              /* what it asks for is what is read of the facts */
    int r = rec_facts_host(run, err);
    size_t n = 0;
    if (r || !h)
        return r;
    struct job *jobs = NULL;
    run->built = spec_arena_alloc(run->arena, (h->n_containers + 1) * sizeof *run->built);
    if (!run->built)
        return rec_fail(err, ENOMEM, "out of memory");
    memset(run->built, 0, (h->n_containers + 1) * sizeof *run->built);
    run->built_host = h;
    for (size_t i = 0; !r && i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (rec_runtime_of(run, c) != SPEC_RT_NIXOS)
            continue;
        const char *why = rec_runtime(SPEC_RT_NIXOS)->refuse(run, c);
        if (why && !run->opt.offline)
            continue;           /* rec_want says so */
        const char *source = nixos_source(run, c, err);
        if (why) {
            r = rec_fail(err, EINVAL, "container %s cannot be had with runtime nixos: %s", c->name, why);
            err->at = c->nixos.flake.text ? c->nixos.flake.at : c->at;
        } else if (!source)
            r = -EINVAL;
        else if (!known(run, c, source, b, &run->built[i]) && (!b->plan || b->evaluate) && chosen(b, c->name)) {
            jobs = jobs ? jobs : calloc(h->n_containers, sizeof *jobs);
            struct spec_arena *own = spec_arena_new();
            if (!jobs || !own) {
                spec_arena_free(own);
                r = rec_fail(err, ENOMEM, "out of memory");
            } else {
                jobs[n++] = (struct job){.c = c, .source = source, .arena = own, .plan = b->plan, .trusted = run->opt.source != NULL,
                                         .link = spec_arena_printf(run->arena, NIXOS_RECORDS "/.root-%s", c->name)};
            }
        }
    }
    if (!r && n && !b->plan) {
        r = rec_dir_make(REC_STATE_DIR, 0700, err);
        if (!r)
            r = rec_dir_make(NIXOS_RECORDS, 0755, err);
    }
    if (!r && n)
        r = run_jobs(run, h, jobs, n, b, err);
    for (size_t i = 0; i < n; i++) {
        struct nixos_record record;
        if (r && !b->plan && !nixos_record_read(run, jobs[i].c->name, &record))
            unlink(jobs[i].link);
        spec_arena_free(jobs[i].arena);
    }
    if (r && n && !b->plan) {   /* what has changed nothing leaves nothing */
        rmdir(NIXOS_RECORDS);
        rmdir(REC_STATE_DIR);
    }
    free(jobs);
    return r;
}
