/* For each container that starts: each source is opened as at the start. The first block of an
 * archive and a few paths of a tree are looked at only where the container is set up. */
#include "reconcile/sources.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FAULTS_MOST = 8 };

struct faults {
    struct rec_run *run;
    char text[900];
    size_t n, len;
    struct spec_loc at; /* of the first fault */
    char advice[500];   /* what to do, each way once */
    char make[480];     /* the folders that are missing, for mkdir(1) */
};

static void append(char *text, size_t room, const char *between, const char *more)
{
    size_t n = strlen(text);
    if (n + strlen(between) + strlen(more) < room)
        snprintf(text + n, room - n, "%s%s", n ? between : "", more);
}

/* A later fault begins with its own place in the spec, as the first line of the error does. */
static void add_fault(struct faults *f, const struct spec_loc *at, const char *advice,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
static void add_fault(struct faults *f, const struct spec_loc *at, const char *advice,
                      const char *format, ...)
{
    va_list args;
    char line[600];
    if (f->n++ >= FAULTS_MOST)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (f->n > 1) {
        char place[200];
        snprintf(place, sizeof place, "\n%.160s:%u:%u: ", f->run->opt.spec_name, at->line, at->col);
        append(f->text, sizeof f->text, "", place);
    } else {
        f->at = *at;
    }
    append(f->text, sizeof f->text, "", line);
    if (!strstr(f->advice, advice))
        append(f->advice, sizeof f->advice, "; ", advice);
}

static bool is_plain_word(const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789/._+-,:@";
    return !path[strspn(path, plain)];
}

/* A path with a quote in it is left out: nobody can paste it as it is. */
static void add_missing(struct faults *f, const char *path)
{
    char word[300];
    int n = snprintf(word, sizeof word, is_plain_word(path) ? "%s" : "'%s'", path);
    if (f->n <= FAULTS_MOST && n > 0 && (size_t)n < sizeof word && !strchr(path, '\''))
        append(f->make, sizeof f->make, " ", word);
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

/* The plan gives the container its settings. A container that is only started again may have
 * damaged its own tree: that is no concern of the others. */
static bool sets_up(const struct rec_plan *p, const char *container)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->kind == REC_UNIT && s->to && !strcmp(s->to->key, container))
            return true;
    }
    return false;
}

/* The first header of a tar. Its bytes, with blanks in place of the checksum, add up to the
 * checksum; some programs add them up as signed numbers. */
static bool is_tar_header(const uint8_t block[512])
{
    enum { SUM = 148, SUM_LEN = 8 };
    char octal[SUM_LEN + 1] = "";
    long sum = 0, signed_sum = 0;
    for (size_t i = 0; i < 512; i++) {
        uint8_t byte = i >= SUM && i < SUM + SUM_LEN ? ' ' : block[i];
        sum += byte;
        signed_sum += (int8_t)byte;
    }
    memcpy(octal, block + SUM, SUM_LEN);
    long stored = strtol(octal, NULL, 8);
    return stored == sum || stored == signed_sum;
}

/* tar knows these by their first bytes: gzip, compress, bzip2, xz, zstd, lzip, lzma, lzop. */
static bool is_compressed(const uint8_t *bytes, size_t n)
{
    static const char *const magic[] = {"\x1f\x8b",         "\x1f\x9d", "BZh", "\3757zXZ",
                                        "\x28\xb5\x2f\xfd", "LZIP",     "]",   "\x89LZO"};
    for (size_t i = 0; i < sizeof magic / sizeof *magic; i++)
        if (n >= strlen(magic[i]) && !memcmp(bytes, magic[i], strlen(magic[i])))
            return true;
    return false;
}

/* Why tar cannot unpack the file, or NULL. Only its first block is read. A file that cannot be read
 * is left to tar, which says why. */
static const char *archive_fault(const char *path)
{
    uint8_t block[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, block, sizeof block);
    if (fd >= 0)
        close(fd);
    if (n < 0 || is_compressed(block, (size_t)n))
        return NULL;
    if (!n)
        return "is empty";
    return n == sizeof block && is_tar_header(block) ? NULL : "is no tar archive";
}

/* The tree is there, and the plan sets up a container in it. */
static void check_tree(struct faults *f, const struct rec_plan *p, const struct spec_container *c,
                       const char *tree, const char *advice)
{
    struct spec_arena *a = f->run->arena;
    const char *fault = tree && sets_up(p, c->name) ? nspawn_root_fault(tree, c) : NULL;
    if (fault)
        add_fault(f, &c->nspawn.path.at,
                  spec_arena_printf(a, "%s, or change the `nspawn` map of %s", advice, c->name),
                  "cannot start container '%s' with root '%s': %s", c->name, tree, fault);
}

static void check_archive(struct faults *f, const struct rec_plan *p,
                          const struct spec_container *c)
{
    struct stat st;
    struct spec_arena *a = f->run->arena;
    const char *path = c->nspawn.path.text, *fault = NULL;
    if (!unpacks(p, c->name)) {
        const char *tree = nspawn_root_path(f->run, c, a);
        check_tree(f, p, c, tree,
                   spec_arena_printf(a, "to unpack its archive again, remove '%s'", tree));
        return;
    }
    if (*path != '/')
        path = spec_arena_printf(a, "%s/%s", f->run->opt.spec_dir, path + 2);
    if (!path)
        return;
    if (stat(path, &st))
        fault = "is not there";
    else if (!S_ISREG(st.st_mode))
        fault = "is no file";
    else
        fault = archive_fault(path);
    if (fault)
        add_fault(f, &c->nspawn.path.at,
                  spec_arena_printf(a, "put the archive there, or change `root` of %s", c->name),
                  "cannot start container '%s': the archive of its root '%s' %s", c->name, path,
                  fault);
}

/* berth-contain refuses it, too. */
static bool check_links(struct faults *f, const struct spec_container *c, const char *what,
                        const char *path, const struct spec_loc *at)
{
    const char *why = nspawn_source_fault(f->run, path);
    if (why)
        add_fault(f, at, "name the place that the link leads to, if that is the one you mean",
                  "cannot start container '%s': its %s '%s' %s", c->name, what, path, why);
    return why != NULL;
}

static void check_directory(struct faults *f, const struct rec_plan *p,
                            const struct spec_container *c)
{
    struct stat st;
    const char *path = nspawn_root_path(f->run, c, f->run->arena), *fault = NULL;
    if (!path || is_ours(path) || check_links(f, c, "root", path, &c->nspawn.path.at))
        return;
    if (stat(path, &st))
        fault = "not there";
    else if (!S_ISDIR(st.st_mode))
        fault = "no directory";
    if (!fault) {
        check_tree(f, p, c, path, "put a system there");
        return;
    }
    add_fault(
        f, &c->nspawn.path.at,
        spec_arena_printf(f->run->arena, "put a system there, or change `root` of %s", c->name),
        "cannot start container '%s': its root '%s' is %s", c->name, path, fault);
}

static void check_root(struct faults *f, const struct rec_plan *p, const struct spec_container *c)
{
    if (!c->nspawn.path.text)
        return;
    if (c->nspawn.root == SPEC_ROOT_DIR)
        check_directory(f, p, c);
    else if (c->nspawn.root == SPEC_ROOT_TAR)
        check_archive(f, p, c);
}

static void check_binds(struct faults *f, const struct spec_container *c)
{
    struct stat st;
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        if (is_ours(b->host) ||
            check_links(f, c, "bind", b->host, b->at.line ? &b->at : &c->nspawn.at) ||
            !stat(b->host, &st))
            continue;
        add_fault(f, b->at.line ? &b->at : &c->nspawn.at, "make what `binds` names, or take it out",
                  "cannot start container '%s': '%s', which it binds, is not there", c->name,
                  b->host);
        add_missing(f, b->host);
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

static void check_container(struct faults *f, const struct rec_plan *p,
                            const struct spec_container *c, enum spec_runtime runtime)
{
    if (runtime == SPEC_RT_NSPAWN) {
        check_root(f, p, c);
        check_binds(f, c);
    } else if (runtime == SPEC_RT_NIXOS) {
        check_nixos(f, c);
    }
}

static int report(const struct faults *f, struct rec_error *err)
{
    if (!f->n)
        return 0;
    if (f->n > FAULTS_MOST)
        rec_fail(err, ENOENT, "%s\nand %zu more, which the next plan names", f->text,
                 f->n - FAULTS_MOST);
    else
        rec_fail(err, ENOENT, "%s", f->text);
    err->at = f->at;
    if (*f->make)
        rec_hint(err, "%s:\nmkdir -p %s", f->advice, f->make);
    else
        rec_hint(err, "%s", f->advice);
    return -ENOENT;
}

int rec_sources_check(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    struct faults f = {.run = run};
    for (size_t i = 0; i < p->n && !run->opt.boot && !run->opt.offline; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->kind == REC_RUN && s->to && s->to->run.running && s->to->spec)
            check_container(&f, p, s->to->spec, s->to->runtime);
    }
    return report(&f, err);
}

int rec_sources_check_restart(struct rec_run *run, const struct spec_container *c,
                              struct rec_error *err)
{
    struct faults f = {.run = run};
    const struct rec_plan no_steps = {0};
    enum spec_runtime runtime = rec_runtime_of(run, c);
    check_container(&f, &no_steps, c, runtime);
    int r = report(&f, err);
    if (r || runtime != SPEC_RT_NSPAWN || c->nspawn.root == SPEC_ROOT_HOST)
        return r;
    const char *tree = nspawn_root_path(run, c, run->arena);
    r = tree ? nspawn_root_files_check(c->name, tree, err) : 0;
    if (r)
        err->at = c->nspawn.path.at;
    return r;
}
