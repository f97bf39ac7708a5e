/* One stat(2) for each source of a container that starts. */
#include "reconcile/sources.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FAULTS_MOST = 8 };

struct faults {
    struct rec_run *run;
    char            text[900];
    size_t          n, len;
    struct spec_loc at;         /* of the first one */
    char            hint[300];
};

static void add_fault(struct faults *f, const struct spec_loc *at, const char *hint,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add_fault(struct faults *f, const struct spec_loc *at, const char *hint,
                      const char *format, ...)
{
    va_list args;
    if (f->n++ >= FAULTS_MOST || f->len + 1 >= sizeof f->text)
        return;
    if (f->n > 1)
        f->len += (size_t)snprintf(f->text + f->len, sizeof f->text - f->len, "\n");
    va_start(args, format);
    int n = vsnprintf(f->text + f->len, sizeof f->text - f->len, format, args);
    va_end(args);
    f->len += n > 0 ? (size_t)n : 0;
    if (f->len >= sizeof f->text)
        f->len = sizeof f->text - 1;
    if (f->n > 1)
        return;
    f->at = *at;
    snprintf(f->hint, sizeof f->hint, "%s", hint);
}

/* What berth itself makes, before or while it starts the container. */
static bool is_ours(const char *path)
{
    return !strncmp(path, REC_STATE_DIR "/", sizeof REC_STATE_DIR) ||
           !strncmp(path, REC_RUN_DIR "/", sizeof REC_RUN_DIR);
}

static bool unpacks(const struct rec_plan *p, const char *container)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_SYSTEM && p->steps[i]->action == REC_CREATE &&
            !strcmp(p->steps[i]->to->key, container))
            return true;
    return false;
}

static void check_root(struct faults *f, const struct rec_plan *p, const struct spec_container *c)
{
    struct stat st;
    struct spec_arena *a = f->run->arena;
    const char *path = c->nspawn.path.text;
    if (!path)
        return;
    if (c->nspawn.root == SPEC_ROOT_DIR) {
        path = nspawn_root_path(f->run, c, a);
        if (!path || is_ours(path) || (!stat(path, &st) && S_ISDIR(st.st_mode)))
            return;
        add_fault(f, &c->nspawn.path.at,
                  spec_arena_printf(a, "put a system there, or change `root` of %s", c->name),
                  "cannot start container '%s': its root '%s' is %s", c->name, path,
                  stat(path, &st) ? "not there" : "no directory");
        return;
    }
    if (c->nspawn.root != SPEC_ROOT_TAR || !unpacks(p, c->name))
        return;
    if (*path != '/')
        path = spec_arena_printf(a, "%s/%s", f->run->opt.spec_dir, path + 2);
    if (path && (stat(path, &st) || !S_ISREG(st.st_mode)))
        add_fault(f, &c->nspawn.path.at,
                  spec_arena_printf(a, "put the archive there, or change `root` of %s", c->name),
                  "cannot start container '%s': the archive of its root '%s' is %s", c->name, path,
                  stat(path, &st) ? "not there" : "no file");
}

static void check_binds(struct faults *f, const struct spec_container *c)
{
    struct stat st;
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const char *path = c->nspawn.binds[i].host;
        if (!is_ours(path) && stat(path, &st))
            add_fault(f, &c->nspawn.at,
                      spec_arena_printf(f->run->arena,
                                        "make it: mkdir -p %s; or take it out of `binds`", path),
                      "cannot start container '%s': '%s', which it binds, is not there", c->name,
                      path);
    }
}

/* A system that is named by its path may come out of a cache of nix's: rec_build has asked, except
 * for plan --no-eval. */
static void check_nixos(struct faults *f, const struct spec_container *c)
{
    struct stat st;
    const struct spec_string *s = &c->nixos.config;
    const char *path = s->text;
    if (!path || f->run->opt.source)
        return;
    if (*path != '/')
        path = spec_arena_printf(f->run->arena, "%s/%s",
                                 f->run->opt.spec_dir ? f->run->opt.spec_dir : ".", path);
    if (path && stat(path, &st))
        add_fault(f, &s->at,
                  spec_arena_printf(f->run->arena, "put it there, or change the `nixos` map of %s",
                                    c->name),
                  "cannot start container '%s': its configuration '%s' is not there", c->name,
                  path);
}

int rec_sources_check(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    struct faults f = {.run = run};
    for (size_t i = 0; i < p->n && !run->opt.boot && !run->opt.offline; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->kind != REC_RUN || !s->to || !s->to->run.running || !s->to->spec)
            continue;
        const struct spec_container *c = s->to->spec;
        if (s->to->runtime == SPEC_RT_NSPAWN) {
            check_root(&f, p, c);
            check_binds(&f, c);
        } else if (s->to->runtime == SPEC_RT_NIXOS) {
            check_nixos(&f, c);
        }
    }
    if (!f.n)
        return 0;
    rec_fail(err, ENOENT, "%s", f.text);
    err->at = f.at;
    rec_hint(err, "%s", f.hint);
    return -ENOENT;
}
