/* What containers can write, for this run and for berth-contain: it follows no symbolic link there.
 * A path stays in CONTAIN_WRITABLE as long as it exists, until no container is left: what a
 * container of an earlier spec made there may still be there. */
#include "reconcile/files.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITABLE_MOST = 4 << 20 };

struct rec_writable {
    struct source_writable trust;
    char *before; /* the file as it was; NULL: there was none */
    size_t before_len;
    bool written;
};
struct paths {
    struct spec_arena *a;
    const char **path;
    size_t n, room;
    bool oom;
};

static void add_path(struct paths *p, const char *path)
{
    if (p->n == p->room) {
        size_t room = p->room ? p->room * 2 : 64;
        const char **more =
            spec_arena_grow(p->a, p->path, p->room * sizeof *more, room * sizeof *more);
        if (!more) {
            p->oom = true;
            return;
        }
        p->path = more;
        p->room = room;
    }
    p->oom |= !path;
    p->path[p->n] = path;
    p->n += path != NULL;
}

/* Who can write these has the host already. To follow no link in them would keep other containers
 * from starting, and protect nothing. */
static bool is_whole_host(const char *path)
{
    static const char *const whole[] = {"", "/etc", "/usr", "/var", "/var/lib", "/run"};
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (n == strlen(whole[i]) && !strncmp(path, whole[i], n))
            return true;
    return false;
}

static void add_container(struct rec_run *run, struct paths *p, const struct spec_container *c)
{
    if (c->nspawn.root != SPEC_ROOT_HOST && c->nspawn.path.text &&
        (*c->nspawn.path.text == '/' || run->opt.spec_dir || c->nspawn.root == SPEC_ROOT_TAR))
        add_path(p, nspawn_root_path(run, c, run->arena));
    for (size_t i = 0; i < c->nspawn.n_binds; i++)
        if (!c->nspawn.binds[i].read_only && !is_whole_host(c->nspawn.binds[i].host))
            add_path(p, c->nspawn.binds[i].host);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort_once(struct paths *p)
{
    size_t kept = 0;
    if (p->n > 1)
        qsort(p->path, p->n, sizeof *p->path, compare_paths);
    for (size_t i = 0; i < p->n; i++)
        if (!kept || strcmp(p->path[kept - 1], p->path[i]) != 0)
            p->path[kept++] = p->path[i];
    p->n = kept;
}

static struct rec_writable *find_writable(struct rec_run *run)
{
    struct paths p = {.a = run->arena};
    struct stat st;
    size_t len;
    char *text;
    if (run->writable)
        return run->writable;
    struct rec_writable *w = spec_arena_alloc(run->arena, sizeof *w);
    if (!w)
        return NULL;
    if (!rec_file_read(run->arena, CONTAIN_WRITABLE, WRITABLE_MOST, &text, &len, NULL)) {
        w->before = text;
        w->before_len = len;
    }
    for (size_t at = 0; at < w->before_len; at += strlen(w->before + at) + 1)
        if (!lstat(w->before + at, &st))
            add_path(&p, w->before + at);
    for (size_t i = 0; run->host && i < run->host->n_containers; i++)
        add_container(run, &p, &run->host->containers[i]);
    if (run->facts.nixos) {
        add_path(&p, "/var/lib/nixos-containers");
        add_path(&p, "/var/lib/containers");
    }
    sort_once(&p);
    w->trust.path = p.path;
    w->trust.n = p.n;
    w->trust.place = spec_arena_alloc(run->arena, (p.n + 1) * sizeof *w->trust.place);
    if (p.oom || !w->trust.place)
        return NULL;
    return run->writable = w;
}

int nspawn_source_open(struct rec_run *run, const char *path, const char **why)
{
    enum { WHY_SIZE = 600 };
    struct rec_writable *w = find_writable(run);
    char *text = spec_arena_alloc(run->arena, WHY_SIZE);
    if (!w || !text)
        return -ENOMEM;
    int fd = source_open(path, &w->trust, text, WHY_SIZE);
    *why = fd == -EPERM ? text : NULL;
    return fd;
}

const char *nspawn_source_fault(struct rec_run *run, const char *path)
{
    const char *why = NULL;
    int fd = run->opt.offline ? -ENOENT : nspawn_source_open(run, path, &why);
    if (fd >= 0)
        close(fd);
    return why;
}

int nspawn_writable_write(struct rec_run *run, struct rec_error *err)
{
    struct rec_writable *w = find_writable(run);
    size_t len = 0;
    for (size_t i = 0; w && i < w->trust.n; i++)
        len += strlen(w->trust.path[i]) + 1;
    char *text = w ? spec_arena_alloc(run->arena, len + 1) : NULL, *p = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < w->trust.n; i++)
        p = stpcpy(p, w->trust.path[i]) + 1;
    bool same = w->before && w->before_len == len && !memcmp(w->before, text, len);
    if (w->written || same)
        return 0;
    int r = rec_dir_make(REC_STATE_DIR, 0700, err);
    if (!r)
        r = rec_file_write(CONTAIN_WRITABLE, text, len, 0600, err);
    w->written = !r;
    return r;
}
