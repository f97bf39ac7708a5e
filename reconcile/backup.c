/* A tree is made beside its place and takes it in one step: there is no moment without a whole
 * one. */
#include "reconcile/backup.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos.h"
#include "reconcile/runtimes/nspawn.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static bool filled(const char *path)
{
    DIR *d = opendir(path);
    bool any = false;
    for (struct dirent *e; d && !any && (e = readdir(d));)
        any = strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    if (d)
        closedir(d);
    return any;
}

int rec_root_of(struct rec_run *run, const char *name, enum spec_runtime runtime,
                const struct spec_container *c, struct rec_root *out, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    struct stat st;
    *out = (struct rec_root){0};
    if (runtime == SPEC_RT_NIXOS)
        out->path = spec_arena_printf(a, "%s/%s", nixos_state_dir(run), name);
    else if (runtime == SPEC_RT_NSPAWN && !c)
        out->path = spec_arena_printf(a, NSPAWN_ROOTS "/%s", name);
    else if (runtime == SPEC_RT_NSPAWN && c->nspawn.root != SPEC_ROOT_HOST)
        out->path = nspawn_root_path(run, c, a);
    if (!out->path)
        return 0;
    const char *slash = strrchr(out->path, '/');
    while (slash > out->path && !slash[1]) { /* "/srv/web/" */
        out->path = spec_arena_strndup(a, out->path, (size_t)(slash - out->path));
        slash = out->path ? strrchr(out->path, '/') : NULL;
    }
    if (!slash || !slash[1])
        return rec_fail(err, EINVAL, "cannot use '%s' as the root of container %s",
                        out->path ? out->path : "", name);
    out->staging =
        spec_arena_printf(a, "%.*s/.%s.berth-new", (int)(slash - out->path), out->path, slash + 1);
    out->own = !strncmp(out->path, NSPAWN_ROOTS "/", sizeof NSPAWN_ROOTS) &&
               !strcmp(out->path + sizeof NSPAWN_ROOTS, name);
    if (!out->staging)
        return rec_fail(err, ENOMEM, "out of memory");
    if (lstat(out->path, &st))
        return errno == ENOENT
                   ? 0
                   : rec_fail(err, errno, "cannot look at '%s': %s", out->path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return rec_fail(err, ENOTDIR, "the root of container %s, '%s', is no directory%s", name,
                        out->path, S_ISLNK(st.st_mode) ? " but a symbolic link" : "");
    out->there = filled(out->path);
    return 0;
}

int rec_root_open(struct rec_run *run, const struct rec_root *r, int *fd, struct rec_error *err)
{
    const char *why = NULL;
    int place = nspawn_source_open(run, r->path, &why);
    if (why)
        return rec_fail(err, EPERM, "cannot read '%s': it %s", r->path, why);
    if (place < 0)
        return rec_fail(err, -place, "cannot read '%s': %s", r->path, strerror(-place));
    *fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = errno;
    close(place);
    return *fd < 0 ? rec_fail(err, code, "cannot read '%s': %s", r->path, strerror(code)) : 0;
}

int rec_root_freeze(struct rec_run *run, const char *name, struct rec_frozen *f,
                    struct rec_error *err)
{
    struct rec_leader leader;
    *f = (struct rec_frozen){.hold = -1, .events = -1};
    int r = rec_leader_find(run, name, &leader, err);
    if (r)
        return r == -ESRCH ? 0 : r;
    if (leader.netns >= 0)
        close(leader.netns);
    if (leader.pidfd >= 0)
        close(leader.pidfd);
    if (!leader.pid)
        return 0;
    const char *dir = rec_cgroup_of(run->arena, leader.pid, name);
    r = dir ? rec_cgroup_freeze(dir, f, err)
            : rec_fail(err, EOPNOTSUPP,
                       "cannot hold container %s still: it has no cgroup of its own", name);
    if (r)
        rec_hint(err, "stop it for the time of the backup: berth stop %s", name);
    return r;
}

int rec_root_discard(const struct rec_root *r, struct rec_error *err)
{
    nixos_make_mutable(r->staging);
    return rec_tree_remove(r->staging, err);
}

int rec_root_stage(struct rec_run *run, const struct rec_root *r, int *fd, struct rec_error *err)
{
    *fd = open(r->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd >= 0 && flock(*fd, LOCK_EX | LOCK_NB)) {
        int code = errno;
        close(*fd);
        *fd = -1;
        return rec_fail(err, code, "another restore is at work at '%s'", r->staging);
    }
    if (*fd >= 0) /* what one that was killed has left */
        close(*fd);
    const char *slash = strrchr(r->path, '/');
    const char *above = spec_arena_strndup(run->arena, r->path, (size_t)(slash - r->path));
    if (!above)
        return rec_fail(err, ENOMEM, "out of memory");
    int e = *above ? rec_dir_make(above, r->own ? 0700 : 0755, err) : 0;
    if (!e)
        e = rec_root_discard(r, err);
    if (!e && mkdir(r->staging, 0700))
        e = rec_fail(err, errno, "cannot make '%s': %s", r->staging, strerror(errno));
    *fd = e ? -1 : open(r->staging, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (!e && (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB)))
        e = rec_fail(err, errno, "cannot hold '%s': %s", r->staging, strerror(errno));
    return e;
}

int rec_root_swap(struct rec_run *run, const char *name, const struct rec_root *r,
                  const struct spec_container *c, struct rec_error *err)
{
    struct stat st;
    int e = 0;
    if (r->own) {
        const char *note = spec_arena_printf(run->arena, NSPAWN_ROOTS "/.%s.berth", name);
        const char *text =
            spec_arena_printf(run->arena, "source " NSPAWN_RESTORED "\non_remove %s\n",
                              c && c->destroy_files ? "destroy" : "keep");
        char *found;
        size_t len;
        if (rec_file_read(run->arena, note, 3 * SPEC_TEXT, &found, &len, NULL))
            e = rec_file_write(note, text, strlen(text), 0600, err);
    }
    if (e)
        return e;
    if (lstat(r->path, &st))
        return rec_tree_move(r->staging, r->path, err);
    if (lstat(r->staging, &st))
        return rec_tree_move(r->path, r->staging, err);
    return rec_tree_exchange(r->path, r->staging, err);
}

const char *rec_profile_of(struct rec_run *run, const char *name)
{
    const char *path = nixos_profile(run, name);
    return path && *path ? path : NULL;
}

const char *rec_conf_of(struct rec_run *run, const char *name)
{
    char *text;
    size_t len;
    return rec_file_read(run->arena,
                         spec_arena_printf(run->arena, "%s/%s.conf", nixos_conf_dir(run), name),
                         65536, &text, &len, NULL)
               ? NULL
               : text;
}

int rec_system_keep(struct rec_run *run, const char *name, const char *system,
                    struct rec_error *err)
{
    const char *argv[] = {nixos_program("nix-store"),
                          "--realise",
                          system,
                          "--add-root",
                          spec_arena_printf(run->arena, NIXOS_RECORDS "/.root-%s", name),
                          "--indirect",
                          NULL};
    char *said;
    if (!argv[0])
        return rec_fail(err, EOPNOTSUPP, "cannot keep '%.200s': there is no nix on this host",
                        system);
    int status, r = rec_dir_make(REC_STATE_DIR, 0700, err);
    if (!r)
        r = rec_dir_make(NIXOS_RECORDS, 0755, err);
    if (!r)
        r = rec_proc_run(run->arena, argv, 60000, &status, &said, err);
    if (!r && status) {
        for (char *p = said; *p; p++)
            *p = *p == '\n' ? ' ' : *p;
        r = rec_fail(err, EIO, "cannot keep '%.200s': %.250s", system, said);
    }
    return r;
}
