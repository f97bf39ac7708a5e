/* Trees that berth keeps for containers: unpacked from a tar, or restored from a backup. Made
 * beside their place and renamed into it, so a root is there whole or not at all. One that goes
 * is put aside (aside.h). */
#include "reconcile/aside.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANIFEST NSPAWN_ROOTS "/.%s.berth"
#define STAGING  NSPAWN_ROOTS "/.%s.berth-new"

const char *nspawn_root_path(struct rec_run *run, const struct spec_container *c,
                             struct spec_arena *a)
{
    if (c->nspawn.root == SPEC_ROOT_TAR)
        return spec_arena_printf(a, NSPAWN_ROOTS "/%s", c->name);
    const char *p = c->nspawn.path.text;
    return *p == '/' ? p : spec_arena_printf(a, "%s/%s", run->opt.spec_dir, p + 2);
}

bool nspawn_root_own(struct rec_run *run, const struct spec_container *c)
{
    if (c->nspawn.root != SPEC_ROOT_DIR)
        return c->nspawn.root == SPEC_ROOT_TAR;
    const char *p = nspawn_root_path(run, c, run->arena);
    return p && !strncmp(p, NSPAWN_ROOTS "/", sizeof NSPAWN_ROOTS) &&
           !strcmp(p + sizeof NSPAWN_ROOTS, c->name);
}

/* A policy is in force: a spec out of a repository cannot have a tree deleted that somebody else
 * left to be kept. */
static bool stays_kept(const struct rec_run *run, const struct rec_item *w, const char *on_remove)
{
    return run->opt.forbid & REC_FORBID(REC_FIND_KEPT_ROOT) &&
           !strcmp(w->system.on_remove, "destroy") && strcmp(on_remove, "destroy");
}

/* Trees here: those that are wanted, and of the others those that shall go with their
 * containers. */
int nspawn_roots_read(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                      struct rec_error *err)
{
    char **names;
    size_t n;
    int r = rec_dir_list(out->arena, NSPAWN_ROOTS, &names, &n, err);
    if (!r && rec_aside_tell(out, NSPAWN_ROOTS, names, n))
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; !r && i < n; i++) {
        char *text, source[SPEC_TEXT + 1] = "", on_remove[16] = "keep";
        size_t len;
        const struct rec_item *w = rec_state_find(wanted, REC_SYSTEM, names[i]);
        if (*names[i] == '.')
            continue;
        r = rec_file_read(out->arena, spec_arena_printf(out->arena, MANIFEST, names[i]),
                          3 * SPEC_TEXT, &text, &len, err);
        if (r && r != -ENOENT)
            return r;
        if (!r)
            sscanf(text, "source %4096[^\n]\non_remove %15s", source, on_remove);
        r = 0;
        if (!w && strcmp(on_remove, "destroy") && !run->opt.destroy_files)
            continue;
        struct rec_item *it = rec_state_add(out, REC_SYSTEM, names[i]);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->container = names[i];
        it->runtime = SPEC_RT_NSPAWN;
        it->stated = 3;
        it->system.path = spec_arena_printf(out->arena, NSPAWN_ROOTS "/%s", names[i]);
        it->system.source = spec_arena_strdup(out->arena, source);
        it->system.on_remove = spec_arena_strdup(out->arena, on_remove);
        if (w && strcmp(source, w->system.source) && stays_kept(run, w, on_remove)) {
            it->system.on_remove = w->system.on_remove;
            rec_state_note(out, names[i],
                           "its root '%s' stays when the container goes: it was not made from what "
                           "this spec, which comes out of a repository, names",
                           it->system.path);
        }
        if (w && *source && strcmp(source, w->system.source) && strcmp(source, NSPAWN_RESTORED) &&
            strcmp(w->system.source, NSPAWN_RESTORED))
            rec_state_note(out, names[i],
                           "its root was unpacked from '%.180s' and stays; remove '%s' to have it "
                           "made from '%.180s'",
                           source, it->system.path, w->system.source);
    }
    return r == -ENOENT ? 0 : r;
}

static int write_manifest(struct rec_run *run, const struct rec_item *w, const char *source,
                          struct rec_error *err)
{
    const char *text =
        spec_arena_printf(run->arena, "source %s\non_remove %s\n", source, w->system.on_remove);
    return rec_file_write(spec_arena_printf(run->arena, MANIFEST, w->key), text, strlen(text), 0600,
                          err);
}

static const char *tar_program(void)
{
    static const char *const tars[] = {"/usr/bin/tar", "/bin/tar",
                                       "/run/current-system/sw/bin/tar"};
    for (size_t i = 0; i < sizeof tars / sizeof *tars; i++)
        if (!access(tars[i], X_OK))
            return tars[i];
    return NULL;
}

/* `path` as a process with that root would see it. */
static int resolve_in_tree(int root, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int open_in_tree(int root, const char *path, int flags)
{
    return resolve_in_tree(root, path, flags, 0);
}

/* A symlink on the way may lead into a bind, which is not there yet. */
static bool has_symlink(int root, const char *path)
{
    int fd = resolve_in_tree(root, path, O_PATH, RESOLVE_NO_SYMLINKS);
    int code = errno;
    if (fd < 0)
        return code == ELOOP;
    close(fd);
    return false;
}

/* One of the paths exists in the tree, and has that file type. With `binds` a path with a symlink
 * in it counts, too. */
static bool has_one(int root, mode_t type, const char *const *paths, bool binds)
{
    struct stat st;
    bool found = false;
    for (; *paths && !found; paths++) {
        int fd = open_in_tree(root, *paths, O_PATH);
        found = fd >= 0 && !fstat(fd, &st) && (st.st_mode & S_IFMT) == type;
        if (fd >= 0)
            close(fd);
        else
            found = binds && has_symlink(root, *paths);
    }
    return found;
}

const char *nspawn_root_fault(const char *root, const struct spec_container *c)
{
    static const char *const folders[] = {"usr", "bin", NULL};
    static const char *const releases[] = {"etc/os-release", "usr/lib/os-release", NULL};
    static const char *const inits[] = {"usr/lib/systemd/systemd", "lib/systemd/systemd",
                                        "sbin/init", NULL};
    bool boot = c && c->nspawn.boot, binds = c && c->nspawn.n_binds;
    const char *fault = NULL;
    int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (!has_one(fd, S_IFDIR, folders, binds))
        fault = "there is no /usr and no /bin in it";
    else if (boot && !has_one(fd, S_IFREG, releases, binds))
        fault = "there is no /etc/os-release in it, which `boot: true` needs";
    else if (boot && !has_one(fd, S_IFREG, inits, binds))
        fault = "there is no /sbin/init in it, which `boot: true` needs";
    close(fd);
    return fault;
}

static int extract(struct rec_run *run, const char *source, const char *to, struct rec_error *err)
{
    const char *argv[] = {tar_program(),     "--extract",
                          "--file",          source,
                          "--directory",     to,
                          "--numeric-owner", "--same-permissions",
                          "--xattrs",        "--xattrs-include=*",
                          "--acls",          NULL};
    char *output;
    int status;
    struct stat st;
    if (!argv[0])
        return rec_fail(err, ENOENT, "cannot unpack '%s': no tar program on this host", source);
    if (stat(source, &st) || !S_ISREG(st.st_mode))
        return rec_fail(err, ENOENT, "cannot unpack '%s': no such file", source);
    int r = rec_proc_run(run->arena, argv, 600000, &status, &output, err);
    if (r)
        return r;
    output[strcspn(output, "\n")] = 0;
    if (status)
        return rec_fail(err, EIO, "cannot unpack '%s': %.200s", source,
                        *output ? output : "tar failed");
    return 0;
}

static int unpack(struct rec_run *run, const struct rec_item *w, struct rec_error *err)
{
    const char *staging = spec_arena_printf(run->arena, STAGING, w->key);
    int r = rec_aside_take(run, NSPAWN_ROOTS, w->key, err);
    /* an undo, or the run that put it aside was killed: the very tree, not one like it */
    if (r)
        return r < 0 ? r : 0;
    if (!strcmp(w->system.source, NSPAWN_RESTORED)) {
        rec_fail(err, ENOENT, "the root of container '%s' is not there: '%s'", w->key,
                 w->system.path);
        rec_hint(err, "unpack it from a backup: berth restore FILE");
        return -ENOENT;
    }
    r = rec_dir_make(REC_STATE_DIR, 0700, err);
    if (!r)
        r = rec_dir_make(NSPAWN_ROOTS, 0700, err);
    if (!r)
        r = rec_tree_remove(staging, err);
    if (!r)
        r = rec_dir_make(staging, 0755, err);
    if (r)
        return r;
    r = extract(run, w->system.source, staging, err);
    const char *fault = r ? NULL : nspawn_root_fault(staging, w->spec);
    if (fault)
        r = rec_fail(err, EINVAL, "cannot use '%s' as a root: %s", w->system.source, fault);
    int fd = r ? -1 : open(staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) { /* after a power cut no half-written tree bears the name */
        syncfs(fd);
        close(fd);
    }
    if (!r)
        r = write_manifest(run, w, w->system.source, err);
    if (!r)
        r = rec_tree_move(staging, w->system.path, err);
    if (r)
        rec_tree_remove(staging, NULL);
    return r;
}

/* One component at a time: what is there is kept, whatever it is. */
static void make_place(int root, const char *place, bool directory)
{
    char path[PATH_MAX];
    size_t len = strlen(place);
    if (!len || len >= sizeof path)
        return;
    for (size_t end = strspn(place, "/"); end < len; end += strspn(place + end, "/")) {
        size_t start = end;
        end += strcspn(place + end, "/");
        bool last = end + strspn(place + end, "/") == len;
        memcpy(path, place, start);
        strcpy(path + start, start ? "" : ".");
        int parent = open_in_tree(root, path, O_PATH | O_DIRECTORY);
        if (parent < 0)
            return;
        snprintf(path, sizeof path, "%.*s", (int)(end - start), place + start);
        int r = 0;
        if (strcmp(path, ".") && strcmp(path, ".."))
            r = last && !directory ? mknodat(parent, path, S_IFREG | 0644, 0)
                                   : mkdirat(parent, path, 0755);
        bool good = !r || errno == EEXIST;
        close(parent);
        if (!good)
            return;
    }
}

void nspawn_mount_points(int root, const char *const *places, const bool *directory, size_t n)
{
    for (size_t i = 0; i < n; i++)
        make_place(root, places[i], directory[i]);
}

int nspawn_root_step(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    if (!s->to)
        return rec_aside_put(run, NSPAWN_ROOTS, s->from->key, err);
    return s->from
               ? write_manifest(
                     run, s->to,
                     *s->from->system.source ? s->from->system.source : s->to->system.source, err)
               : unpack(run, s->to, err);
}

/* What the tree was unpacked from is told beside it, and goes with the last one of that name. */
static int forget(struct rec_run *run, const char *name, const char *tree, struct rec_error *err)
{
    struct stat st;
    (void)tree;
    if (!lstat(spec_arena_printf(run->arena, NSPAWN_ROOTS "/%s", name), &st))
        return 0;
    return rec_file_remove(spec_arena_printf(run->arena, MANIFEST, name), err);
}

int nspawn_roots_purge(struct rec_run *run, struct rec_error *err)
{
    return rec_aside_purge(run, NSPAWN_ROOTS, forget, err);
}
