/* Systems are built before anything on the host is touched, several at once, each with a root of
 * nix's garbage collector; what fails refuses the apply with nix's own words. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    AT_ONCE = 4,
    BUILD_MS = 3600000,
    EVAL_MS = 600000,
    NIX_WORDS = 1100,
    BUSY_SECONDS = 5,
    BUSY_MS = 100
};

/* What one container's system comes to. */
struct job {
    const struct spec_container *c;
    const char *source, *link;
    struct spec_arena *arena; /* of its thread's own */
    bool plan, trusted;       /* trusted: the repository's owner has been looked at */
    int stop;
    const char *drv, *path; /* NULL: not known */
    struct rec_error error;
};

static bool store_path(const char *p)
{
    return !strncmp(p, "/nix/store/", 11) && p[11] && !strchr(p + 11, '/') && strlen(p) < 500;
}

/* Where <nixpkgs> is: as the caller has it, else where NixOS keeps root's channel. */
static const char *nix_path(struct spec_arena *a)
{
    static const char channel[] = "/nix/var/nix/profiles/per-user/root/channels/nixos";
    const char *given = getenv("NIX_PATH");
    return given && *given         ? spec_arena_printf(a, "NIX_PATH=%s", given)
           : access(channel, F_OK) ? NULL
                                   : spec_arena_printf(a, "NIX_PATH=nixpkgs=%s", channel);
}

/* git refuses a repository of another user's; who may own this one was asked when the spec was read
 * out of it. nix reads it by git or, from 2.20 on, by libgit2, and libgit2 hears of
 * safe.directory from files alone: a directory of settings, for one call. */
#define SAFE "[safe]\n\tdirectory = *\n"
struct trust {
    char dir[32];
    const char *env; /* "XDG_CONFIG_HOME=DIR" */
};

/* nix keeps the user's settings and registry, which it looks for in the same directory. 0 or
 * -errno. */
static int trust_begin(struct spec_arena *a, struct trust *t, struct rec_error *err)
{
    const char *home = getenv("HOME");
    *t = (struct trust){.dir = "/tmp/berth-nix-XXXXXX"};
    if (!mkdtemp(t->dir))
        return rec_fail(err, errno, "cannot make a directory in /tmp: %s", strerror(errno));
    const char *git = spec_arena_printf(a, "%s/git", t->dir),
               *file = spec_arena_printf(a, "%s/config", git);
    const char *nix = spec_arena_printf(a, "%s/.config/nix", home && *home == '/' ? home : "/root"),
               *link = spec_arena_printf(a, "%s/nix", t->dir);
    t->env = spec_arena_printf(a, "XDG_CONFIG_HOME=%s", t->dir);
    if (!git || !file || !nix || !link || !t->env)
        return rec_fail(err, ENOMEM, "out of memory");
    if (symlink(nix, link))
        return rec_fail(err, errno, "cannot make '%s': %s", link, strerror(errno));
    int r = rec_dir_make(git, 0700, err);
    return r ? r : rec_file_write(file, SAFE, sizeof SAFE - 1, 0600, err);
}

static void trust_end(const struct trust *t)
{
    if (*t->dir)
        rec_tree_remove(t->dir, NULL);
}

static time_t seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

static bool is_busy(const char *said)
{
    const char *at = strstr(said, "SQLite database '");
    const char *end = at ? strstr(at, "' is busy") : NULL;
    return end && !memchr(at, '\n', (size_t)(end - at));
}

/* Its database may be busy with others' work for longer than nix itself is patient, and nothing
 * tells when it is not. Asked again for some seconds from the first such answer on: what takes
 * long, and only says that it was busy, is done once more and not for ever. */
static int call_nix(struct spec_arena *a, const struct rec_proc_call *call,
                    struct rec_proc_said *said, struct rec_error *err)
{
    for (time_t first = 0;;) {
        int r = rec_proc_call(a, call, said, err);
        time_t now = seconds();
        if (r || !said->status || !is_busy(said->err) || (first && now - first >= BUSY_SECONDS))
            return r;
        if (!first)
            first = now;
        poll(&(struct pollfd){.fd = call->stop, .events = POLLIN}, call->stop >= 0, BUSY_MS);
    }
}

static int run_nix(struct spec_arena *a, bool trusted, int stop, const char *const *argv,
                   int deadline_ms, struct rec_proc_said *said, struct rec_error *err)
{
    struct trust t = {.env = NULL};
    const char *env[3], *path = nix_path(a);
    size_t n = 0;
    int r = trusted ? trust_begin(a, &t, err) : 0;
    if (t.env)
        env[n++] = t.env;
    if (path)
        env[n++] = path;
    env[n] = NULL;
    if (!r)
        r = call_nix(a,
                     &(struct rec_proc_call){
                         .argv = argv, .env = env, .deadline_ms = deadline_ms, .stop = stop},
                     said, err);
    trust_end(&t);
    return r;
}

/* The system of a configuration as nixos-container makes it. What the spec says is a value there,
 * never a part of the expression: a path may have blanks, quotes and braces. */
#define OF_CONFIG                                                                                  \
    "(import <nixpkgs/nixos> { configuration = { lib, ... }: { imports = [ (/. + file) ]; "        \
    "boot.isContainer = true; "                                                                    \
    "networking.hostName = lib.mkDefault name; networking.useDHCP = false; }; }).system"

/* A word for sh(1). */
static const char *quoted(struct spec_arena *a, const char *text)
{
    char *out = spec_arena_alloc(a, 4 * strlen(text) + 3), *to = out;
    if (!out)
        return "";
    *to++ = '\'';
    for (; *text; text++)
        if (*text == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *text;
    *to++ = '\'';
    return out;
}

/* What shows all of it, in any shell of root's. */
static void hint(struct job *j)
{
    struct spec_arena *a = j->arena;
    const char *hash = strrchr(j->source, '#'), *path = nix_path(a), *command;
    if (!strncmp(j->source, "config ", 7))
        command = spec_arena_printf(a,
                                    "%s%s%snix-build --no-out-link --argstr file %s --argstr name "
                                    "%s -E '{ file, name }: " OF_CONFIG "'",
                                    path ? "env " : "", path ? quoted(a, path) : "",
                                    path ? " " : "", quoted(a, j->source + 7), j->c->name);
    else
        command = spec_arena_printf(
            a, "%snix --extra-experimental-features 'nix-command flakes' build --no-link %s",
            j->trusted ? "d=$(mktemp -d) && ln -s ~/.config/nix $d && mkdir $d/git && "
                         "printf '[safe]\\ndirectory = *\\n' "
                         ">$d/git/config && XDG_CONFIG_HOME=$d "
                       : "",
            quoted(a, spec_arena_printf(
                          a, "%.*s#nixosConfigurations.\"%s\".config.system.build.toplevel",
                          (int)(hash - j->source), j->source, hash + 1)));
    if (command && strlen(command) + 64 < sizeof j->error.hint)
        rec_hint(&j->error, "nothing was changed; all that nix says:\n%s", command);
    else
        rec_hint(&j->error, "nothing was changed");
}

/* One that is named by its path: fetched, where it is not here. */
static void *fetch(struct job *j)
{
    const char *nix = nixos_program("nix-store");
    const char *fetches[] = {nix,     "--realise",  j->source, "--add-root",
                             j->link, "--indirect", NULL};
    const char *looks[] = {nix, "--realise", "--dry-run", j->source, NULL};
    struct rec_proc_said said = {.err = "there is no nix on this host"};
    char words[NIX_WORDS];
    if (nix && run_nix(j->arena, j->trusted, j->stop, j->plan ? looks : fetches, BUILD_MS, &said,
                       &j->error))
        return NULL;
    if (nix && !said.status && !strstr(said.err, "don't know how to build")) {
        j->path = j->source;
        return NULL;
    }
    nixos_cause(said.err, words, sizeof words);
    rec_fail(&j->error, EIO,
             "cannot have the system of container %s: '%.300s' is not on this host, and it cannot "
             "be fetched: %s",
             j->c->name, j->source, words);
    rec_hint(
        &j->error,
        "nothing was changed; build it, or copy it here: nix copy --from …, nix-store --import");
    return NULL;
}

/* What nix answers; NULL with the job's error. */
static char *ask(struct job *j, const char *const *argv, int deadline_ms)
{
    struct rec_proc_said said;
    char words[NIX_WORDS];
    if (!argv[0]) {
        rec_fail(&j->error, EOPNOTSUPP, "cannot %s container %s: there is no nix on this host",
                 j->plan ? "evaluate" : "build", j->c->name);
        rec_hint(&j->error, "install nix, or give `system: /nix/store/…` and have that path here");
        return NULL;
    }
    if (run_nix(j->arena, j->trusted, j->stop, argv, deadline_ms, &said, &j->error))
        return NULL;
    if (!said.status)
        return said.out;
    nixos_cause(said.err, words, sizeof words);
    rec_fail(&j->error, EIO, "cannot %s container %s: %s", j->plan ? "evaluate" : "build",
             j->c->name, words);
    hint(j);
    return NULL;
}

/* From 25.11 on nixpkgs makes a container for nspawn of what sets this; boot.isContainer, which was
 * enough before, is not. The option itself is asked; where there is none the release does not
 * know it. */
static const char of_flake[] = "s: if (s.config.boot or { }).isNspawnContainer or true then let t "
                               "= s.config.system.build.toplevel; in t.drvPath + \" \" + t.outPath "
                               "else \"not for nspawn\"";

static void *evaluate(void *arg)
{
    struct job *j = arg;
    struct spec_arena *a = j->arena;
    const char *hash = strrchr(j->source, '#');
    if (!strncmp(j->source, "config ", 7)) {
        static const char expression[] =
            "{ file, name }: let s = " OF_CONFIG "; in s.drvPath + \" \" + s.outPath";
        const char *argv[] = {nixos_program("nix-instantiate"),
                              "--eval",
                              "--read-write-mode",
                              "--argstr",
                              "file",
                              j->source + 7,
                              "--argstr",
                              "name",
                              j->c->name,
                              "-E",
                              expression,
                              NULL};
        if (access(j->source + 7, F_OK))
            rec_fail(&j->error, ENOENT, "cannot %s container %s: there is no file '%.300s'",
                     j->plan ? "evaluate" : "build", j->c->name, j->source + 7);
        else
            j->drv = ask(j, argv, EVAL_MS);
    } else {
        const char *what = spec_arena_printf(a, "%.*s#nixosConfigurations.\"%s\"",
                                             (int)(hash - j->source), j->source, hash + 1);
        const char *argv[] = {nixos_program("nix"),
                              "--extra-experimental-features",
                              "nix-command flakes",
                              "eval",
                              "--raw",
                              "--apply",
                              of_flake,
                              "--",
                              what,
                              NULL};
        j->drv = ask(j, argv, EVAL_MS);
    }
    if (!j->drv)
        return NULL;
    if (!strcmp(j->drv, "not for nspawn")) {
        rec_fail(&j->error, EIO,
                 "the system of container %s is not made for systemd-nspawn: its nixpkgs has "
                 "boot.isNspawnContainer, and it is false",
                 j->c->name);
        rec_hint(&j->error, "write `boot.isNspawnContainer = true;` in its configuration; "
                            "boot.isContainer alone was enough before 25.11");
        return NULL;
    }
    /* "DRV OUT", of nix-instantiate in quotes. */
    char *drv = (char *)j->drv + (*j->drv == '"'), *out = strchr(drv, ' ');
    if (out) {
        *out++ = 0;
        out[strcspn(out, "\"\n")] = 0;
    }
    if (out && store_path(drv) && store_path(out)) {
        j->drv = drv;
        j->path = out;
    } else {
        rec_fail(&j->error, EIO,
                 "cannot use what nix made for container %s: '%.200s' is no store path", j->c->name,
                 out ? out : drv);
    }
    return NULL;
}

static void *build(void *arg)
{
    struct job *j = arg;
    if (store_path(j->source))
        return fetch(j);
    evaluate(j);
    if (j->plan || j->error.code)
        return NULL;
    const char *argv[] = {nixos_program("nix-store"),
                          "-Q",
                          "--realise",
                          j->drv,
                          "--add-root",
                          j->link,
                          "--indirect",
                          NULL};
    ask(j, argv, BUILD_MS);
    return NULL;
}

static bool chosen(const struct rec_build *b, const char *name)
{
    for (size_t i = 0; i < b->n_only; i++)
        if (!strcmp(b->only[i], name))
            return true;
    return !b->only;
}

/* ---- what is known without an evaluation ---- */

/* A flake that its reference names to the last byte: a revision (RFC 3986 query), or a hash. */
static bool pinned(const char *source)
{
    const char *query = strchr(source, '?'), *hash = strrchr(source, '#');
    for (const char *p = query; p && p < hash; p = strchr(p + 1, '&'))
        if (!strncmp(p + 1, "narHash=", 8) ||
            (!strncmp(p + 1, "rev=", 4) && strspn(p + 5, "0123456789abcdef") >= 40))
            return true;
    return false;
}

/* What a flake that is not pinned is at this moment: one short call for all containers that are
 * built from it. Equal keys are equal sources and locks, so equal systems. */
struct flake {
    const char *ref;
    size_t len;
    struct spec_arena *arena;
    bool trusted;
    int stop;
    const char *key; /* NULL: not known */
};

static void *look_at_flake(void *arg)
{
    struct flake *f = arg;
    const char *nix = nixos_program("nix"), *ref = spec_arena_strndup(f->arena, f->ref, f->len);
    const char *argv[] = {nix,
                          "--extra-experimental-features",
                          "nix-command flakes",
                          "flake",
                          "metadata",
                          "--json",
                          "--",
                          ref,
                          NULL};
    struct rec_proc_said said;
    f->key = NULL;
    if (!nix || !ref || run_nix(f->arena, f->trusted, f->stop, argv, EVAL_MS, &said, NULL) ||
        said.status)
        return NULL; /* what is wrong with it is told by its evaluation */
    size_t n = strlen(said.out);
    while (n && said.out[n - 1] == '\n')
        n--;
    if (!n || said.out[n - 1] != '}' || !strstr(said.out, "\"/nix/store/"))
        return NULL;
    /* FNV-1a, twice with different seeds; which nix it was counts, too. */
    char *program = realpath(nix, NULL);
    uint64_t h[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};
    const char *texts[] = {program ? program : nix, said.out};
    for (size_t t = 0; t < 2; t++)
        for (const char *p = texts[t]; *p; p++)
            for (size_t i = 0; i < 2; i++)
                h[i] = (h[i] ^ (unsigned char)*p) * 0x100000001b3u;
    free(program);
    f->key = spec_arena_printf(f->arena, "%016llx%016llx", (unsigned long long)h[0],
                               (unsigned long long)h[1]);
    return NULL;
}

/* ---- where it is built ---- */

#define BUILDS NIXOS_RECORDS "/.build-"

/* Of runs that were killed: nobody holds them. */
static void sweep(struct rec_run *run)
{
    static const char prefix[] = ".build-";
    char **names;
    size_t n;
    if (rec_dir_list(run->arena, NIXOS_RECORDS, &names, &n, NULL))
        return;
    for (size_t i = 0; i < n; i++) {
        const char *path = spec_arena_printf(run->arena, NIXOS_RECORDS "/%s", names[i]);
        int fd = path && !strncmp(names[i], prefix, sizeof prefix - 1)
                     ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
                     : -1;
        if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
            rec_tree_remove(path, NULL);
        if (fd >= 0)
            close(fd);
    }
}

/* A directory that no other run looks into. What is built in there gets its place with the step
 * that takes it into use. */
static int make_dir(struct rec_run *run, struct rec_error *err)
{
    sweep(run);
    /* another run may take an empty folder along, or this one before it is held */
    for (int tries = 0; tries < 8; tries++) {
        struct stat a, b;
        char path[] = BUILDS "XXXXXX";
        int r = rec_dir_make(REC_STATE_DIR, 0700, err);
        if (!r)
            r = rec_dir_make(NIXOS_RECORDS, 0755, err);
        if (r && r != -ENOENT)
            return r;
        if (r || !mkdtemp(path))
            continue;
        run->builds_lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (run->builds_lock >= 0 && !flock(run->builds_lock, LOCK_EX | LOCK_NB) &&
            !fstat(run->builds_lock, &a) && !stat(path, &b) && a.st_ino == b.st_ino &&
            (run->builds = spec_arena_strdup(run->arena, path)))
            return 0;
        if (run->builds_lock >= 0)
            close(run->builds_lock);
        run->builds_lock = -1;
    }
    return rec_fail(err, errno ? errno : EIO, "cannot make a directory in '" NIXOS_RECORDS "': %s",
                    strerror(errno ? errno : EIO));
}

void rec_build_done(struct rec_run *run)
{
    if (run->builds)
        rec_tree_remove(run->builds, NULL);
    if (run->builds_lock >= 0)
        close(run->builds_lock);
    if (run->builds) { /* what has changed nothing leaves nothing */
        rmdir(NIXOS_RECORDS);
        rmdir(REC_STATE_DIR);
    }
    run->builds = NULL;
    run->builds_lock = -1;
}

/* ---- all of a host's ---- */

struct want {
    const struct spec_container *c;
    const char *source;
    /* source "": nothing is recorded for what is wanted, or it is gone */
    struct nixos_record record;
    struct flake *flake; /* NULL: no flake, or a pinned one */
    bool known;
    struct rec_built *out;
};

static struct flake *flake_of(struct rec_run *run, const struct want *w, struct flake *list,
                              size_t *n)
{
    const char *hash = strrchr(w->source, '#');
    if (!w->c->nixos.flake.text || !hash || pinned(w->source))
        return NULL;
    size_t len = (size_t)(hash - w->source);
    for (size_t i = 0; i < *n; i++)
        if (list[i].len == len && !memcmp(list[i].ref, w->source, len))
            return &list[i];
    list[*n] = (struct flake){
        .ref = w->source, .len = len, .trusted = run->opt.source != NULL, .stop = run->stop};
    return &list[(*n)++];
}

/* Several at once; who is done takes the next, so that no slow one holds up the others. What is
 * told of it is told under the lock. */
struct pool {
    pthread_mutex_t lock;
    void *(*each)(void *);
    char *list;
    size_t n, size, next, done;
    void (*told)(struct pool *p, void *one, bool begins); /* may be NULL */
    const struct rec_build *b;
};

static void *take_turns(void *arg)
{
    struct pool *p = arg;
    pthread_mutex_lock(&p->lock);
    while (p->next < p->n) {
        void *one = p->list + p->next++ * p->size;
        if (p->told)
            p->told(p, one, true);
        pthread_mutex_unlock(&p->lock);
        p->each(one);
        pthread_mutex_lock(&p->lock);
        p->done++;
        if (p->told)
            p->told(p, one, false);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static void all(struct pool *p)
{
    pthread_t threads[AT_ONCE];
    size_t n = 0;
    pthread_mutex_init(&p->lock, NULL);
    while (n < AT_ONCE && n < p->n && !pthread_create(&threads[n], NULL, take_turns, p))
        n++;
    if (!n)
        take_turns(p);
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&p->lock);
}

static void tell(struct pool *p, void *one, bool begins)
{
    struct job *j = one;
    bool fetches = store_path(j->source);
    if (p->b->progress && j->error.code != ECANCELED)
        p->b->progress(p->b->arg, j->c->name,
                       begins          ? (fetches      ? "fetching"
                                          : p->b->plan ? "evaluating"
                                                       : "building")
                       : j->error.code ? "failed"
                                       : (fetches      ? "fetched"
                                          : p->b->plan ? "evaluated"
                                                       : "built"),
                       begins ? 0 : p->done, p->n);
}

/* The line that says where the system comes from. */
static struct spec_loc place(const struct spec_container *c)
{
    return c->nixos.flake.text    ? c->nixos.flake.at
           : c->nixos.config.text ? c->nixos.config.at
           : c->nixos.system.text ? c->nixos.system.at
           : c->nixos.at.line     ? c->nixos.at
                                  : c->at;
}

/* The first is what the call fails with; `r`: what it has failed with so far. */
static int fault(const struct rec_build *b, const struct rec_error *e, int r, struct rec_error *err)
{
    if (b->failed)
        b->failed(b->arg, e);
    if (r)
        return r;
    *err = *e;
    return -e->code;
}

static int run_jobs(struct rec_run *run, const struct spec_host *h, struct job *jobs, size_t n,
                    const struct rec_build *b, int r, struct rec_error *err)
{
    struct pool p = {
        .each = build, .list = (char *)jobs, .n = n, .size = sizeof *jobs, .told = tell, .b = b};
    all(&p);
    for (size_t i = 0; i < n; i++) {
        struct job *j = &jobs[i];
        /* whatever else failed, that is why nothing came of it */
        if (j->error.code == ECANCELED)
            r = rec_fail(err, ECANCELED, "stopped while systems were %s; nothing was changed",
                         b->plan ? "evaluated" : "built");
        else if (j->error.code && r != -ECANCELED) {
            j->error.at = place(j->c);
            r = fault(b, &j->error, r, err);
        }
        run->built[j->c - h->containers].path =
            j->path ? spec_arena_strdup(run->arena, j->path) : NULL;
    }
    return r;
}

/* Who is built of what, and for whom the last apply's answer will do as it stands. */
static int survey(struct rec_run *run, const struct spec_host *h, const struct rec_build *b,
                  struct want *list, size_t *n, struct flake *flakes, size_t *n_flakes,
                  struct rec_error *err)
{
    int r = 0;
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (rec_runtime_of(run, c) != SPEC_RT_NIXOS)
            continue;
        const char *why = rec_runtime(SPEC_RT_NIXOS)->refuse(run, c);
        struct want w = {.c = c, .record = {.source = ""}, .out = &run->built[i]};
        struct rec_error e;
        if (why && !run->opt.offline)
            continue; /* rec_want says so */
        if (why) {
            rec_fail(&e, EINVAL, "container %s cannot be had with runtime nixos: %s", c->name, why);
            e.at = place(c);
        }
        if (why || !(w.source = nixos_source(run, c, &e))) {
            r = fault(b, &e, r, err);
            continue;
        }
        if (c->nixos.system.text) {
            w.out->path = c->nixos.system.text;
            if (!run->opt.offline && access(w.source, F_OK) && chosen(b, c->name) &&
                (!b->plan || b->evaluate))
                list[(*n)++] = w;
            continue;
        }
        if (run->opt.offline || !nixos_record_read(run, c->name, &w.record) ||
            strcmp(w.record.source, w.source) || !store_path(w.record.path) ||
            access(w.record.path, F_OK))
            w.record.source = "";
        bool asks = b->evaluate && chosen(b, c->name);
        w.known = *w.record.source && (!asks || (pinned(w.source) && !b->again));
        if (w.known)
            *w.out = (struct rec_built){w.record.path, w.record.key};
        if (w.known || (b->plan && !asks) || !chosen(b, c->name))
            continue;
        if ((!b->plan || (*w.record.source && *w.record.key)) && !run->opt.offline)
            w.flake = flake_of(run, &w, flakes, n_flakes);
        list[(*n)++] = w;
    }
    return r;
}

/* A key holds only if it was the same before and after: who edits meanwhile is not to be
 * believed later. */
static void look_at_flakes(struct rec_run *run, struct flake *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        list[i].arena = spec_arena_new();
    size_t k = 0;
    while (k < n && list[k].arena)
        k++;
    struct pool p = {.each = look_at_flake, .list = (char *)list, .n = k, .size = sizeof *list};
    all(&p);
    for (size_t i = 0; i < n; i++) {
        list[i].key = list[i].key ? spec_arena_strdup(run->arena, list[i].key) : NULL;
        spec_arena_free(list[i].arena);
        list[i].arena = NULL;
    }
}

static int ask_all(struct rec_run *run, const struct spec_host *h, const struct rec_build *b,
                   struct want *list, size_t n, struct flake *flakes, size_t n_flakes,
                   struct job *jobs, int r, struct rec_error *err)
{
    size_t n_jobs = 0;
    look_at_flakes(run, flakes, n_flakes);
    for (size_t i = 0; i < n; i++) {
        struct want *w = &list[i];
        if (!w->known && !b->again && w->flake && w->flake->key && *w->record.source &&
            !strcmp(w->flake->key, w->record.key)) {
            w->known = true;
            *w->out = (struct rec_built){w->record.path, w->record.key};
        }
        if (w->known)
            continue;
        struct spec_arena *own = spec_arena_new();
        if (!own) {
            r = rec_fail(err, ENOMEM, "out of memory");
            break;
        }
        w->out->key = w->flake ? w->flake->key : NULL;
        jobs[n_jobs++] = (struct job){.c = w->c,
                                      .source = w->source,
                                      .arena = own,
                                      .plan = b->plan,
                                      .trusted = run->opt.source != NULL,
                                      .stop = run->stop};
    }
    if (!r && n_jobs && !b->plan)
        r = make_dir(run, err);
    for (size_t i = 0; !r && i < n_jobs && !b->plan; i++)
        jobs[i].link = spec_arena_printf(run->arena, "%s/%s", run->builds, jobs[i].c->name);
    if (n_jobs && (!r || b->failed))
        r = run_jobs(run, h, jobs, n_jobs, b, r, err);
    if (!r && n_jobs && !b->plan) {
        look_at_flakes(run, flakes, n_flakes);
        for (size_t i = 0; i < n; i++)
            if (!list[i].known && list[i].out->key &&
                (!list[i].flake->key || strcmp(list[i].flake->key, list[i].out->key)))
                list[i].out->key = NULL;
    }
    for (size_t i = 0; i < n_jobs; i++)
        spec_arena_free(jobs[i].arena);
    return r;
}

int rec_build(struct rec_run *run, const struct spec_host *h, const struct rec_build *b,
              struct rec_error *err)
{
    if (run->opt.offline && !run->facts.known)
        rec_facts_offline(run);
    run->host = h; /* what it asks for is what is read of the facts */
    int r = rec_facts_host(run, err);
    size_t n = 0, n_flakes = 0;
    if (r || !h)
        return r;
    size_t room = h->n_containers + 1;
    run->built = spec_arena_alloc(run->arena, room * sizeof *run->built);
    struct want *list = calloc(room, sizeof *list);
    struct flake *flakes = calloc(room, sizeof *flakes);
    struct job *jobs = calloc(room, sizeof *jobs);
    if (!run->built || !list || !flakes || !jobs)
        r = rec_fail(err, ENOMEM, "out of memory");
    else
        run->built_host = h;
    if (!r)
        r = survey(run, h, b, list, &n, flakes, &n_flakes, err);
    if (run->built_host == h && n && (!r || b->failed))
        r = ask_all(run, h, b, list, n, flakes, n_flakes, jobs, r, err);
    free(list);
    free(flakes);
    free(jobs);
    return r;
}
