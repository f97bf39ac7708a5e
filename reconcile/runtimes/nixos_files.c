/* What is done to files: conf and flake are written whole, trees are put aside until the apply
 * holds, and records go with them. */
#include "reconcile/aside.h"
#include "reconcile/backup.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/runtimes/nixos_inner.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define GONE     ".gone-"
#define DIR_MARK ".berth"

static int write_flake(struct rec_run *run, const char *name, const char *text,
                       struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *dir = spec_arena_printf(a, NIXOS_OWN_FLAKE "%s", name);
    int r;
    if (!*text) {
        r = rec_tree_remove(dir, err);
        rmdir(NIXOS_RECORDS);
        return r;
    }
    r = rec_dir_make(REC_STATE_DIR, 0700, err);
    if (!r)
        r = rec_dir_make(NIXOS_RECORDS, 0755, err);
    if (!r)
        r = rec_dir_make(dir, 0755, err);
    if (!r)
        r = rec_file_remove(spec_arena_printf(a, "%s/flake.lock", dir), err);
    return r ? r
             : rec_file_write(spec_arena_printf(a, "%s/flake.nix", dir), text, strlen(text), 0644,
                              err);
}

/* A directory of ours bears our mark, and goes when nothing else is in it; any other is
 * somebody's, empty or not. */
static int make_conf_dir(struct rec_run *run, struct rec_error *err)
{
    static const char text[] = "# Made by berth; goes with the last container.\n";
    const char *dir = nixos_conf_dir(run);
    if (!access(dir, F_OK))
        return 0;
    int r = rec_dir_make(dir, 0755, err);
    return r ? r
             : rec_file_write(spec_arena_printf(run->arena, "%s/" DIR_MARK, dir), text,
                              sizeof text - 1, 0644, err);
}

static int drop_conf_dir(struct rec_run *run, struct rec_error *err)
{
    const char *dir = nixos_conf_dir(run);
    char **names;
    size_t n;
    int r = rec_dir_list(run->arena, dir, &names, &n, err);
    if (r || n != 1 || strcmp(names[0], DIR_MARK))
        return r == -ENOENT ? 0 : r;
    r = rec_file_remove(spec_arena_printf(run->arena, "%s/" DIR_MARK, dir), err);
    rmdir(dir);
    return r;
}

int nixos_unit(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const char *name = (s->to ? s->to : s->from)->container, *path = nixos_conf_path(run, name);
    const char *flake = s->to ? s->to->unit.flake : "";
    int r = s->to ? make_conf_dir(run, err) : rec_file_remove(path, err);
    if (!r && (!s->from || strcmp(s->from->unit.flake, flake)))
        r = write_flake(run, name, flake, err);
    if (!s->to)
        return r ? r : drop_conf_dir(run, err);
    if (r || (s->from && !strcmp(s->from->unit.text, s->to->unit.text)))
        return r;
    return rec_file_write(path, s->to->unit.text, strlen(s->to->unit.text), 0644, err);
}

/* NixOS makes /var/empty immutable. */
void nixos_make_mutable(const char *root)
{
    char path[4200];
    int flags;
    snprintf(path, sizeof path, "%s/var/empty", root);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags) && flags & FS_IMMUTABLE_FL) {
        flags &= ~FS_IMMUTABLE_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    if (fd >= 0)
        close(fd);
}

static int tree_goes(struct rec_run *run, const char *dir, const char *name, rec_aside_fn last,
                     struct rec_error *err)
{
    return run->undoing ? rec_aside_drop(run, dir, name, last, err)
                        : rec_aside_put(run, dir, name, err);
}

static int mutable(struct rec_run *run, const char *name, const char *tree, struct rec_error *err)
{
    (void)run, (void)name, (void)err;
    nixos_make_mutable(tree);
    return 0;
}

/* What is mounted there, or is no directory, is not ours to take away. */
static int root_goes(struct rec_run *run, const char *name, struct rec_error *err)
{
    const char *root = nixos_root_path(run, name);
    struct stat st, above;
    if (lstat(root, &st))
        return 0;
    if (!S_ISDIR(st.st_mode) || stat(nixos_state_dir(run), &above) || above.st_dev != st.st_dev) {
        rec_fail(err, EXDEV, "cannot remove '%s': it is a %s", root,
                 S_ISLNK(st.st_mode) ? "symbolic link" : "file system of its own, or no directory");
        rec_hint(err, "look at what is there, and take it away by hand; or let the container's "
                      "files stay: on_remove: keep");
        return -EXDEV;
    }
    return tree_goes(run, nixos_state_dir(run), name, mutable, err);
}

/* What was built for it is kept from nix's garbage collector by a link whose own name nix knows:
 * that cannot be put aside, and stays until the record beside it goes for good. */
static int record_goes(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *record = spec_arena_printf(a, NIXOS_RECORDS "/%s", name);
    if (!run->undoing && !rename(record, spec_arena_printf(a, NIXOS_RECORDS "/" GONE "%s", name)))
        return 0;
    int r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/.root-%s", name), err);
    if (!r)
        r = rec_file_remove(record, err);
    rmdir(NIXOS_RECORDS);
    return r;
}

#define CONFIGURATION_MARK                                                                         \
    "# Made by berth before the first start, as nixos-container would have; from then on it is "   \
    "the container's own.\n"

static bool has_run(struct rec_run *run, const char *name)
{
    return !access(spec_arena_printf(run->arena, "%s/var", nixos_root_path(run, name)), F_OK);
}

/* Not there, or ours. */
static bool may_write(struct rec_run *run, const char *path, bool *there)
{
    char *text;
    size_t len;
    *there = !rec_file_read(run->arena, path, NIXOS_CONF_MOST, &text, &len, NULL);
    return !*there || !strncmp(text, CONFIGURATION_MARK, sizeof CONFIGURATION_MARK - 1);
}

/* What a bare `nixos-container update` evaluates where there is no flake. */
static int write_configuration(struct rec_run *run, const struct spec_container *c,
                               struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    bool there;
    const char *dir = spec_arena_printf(a, "%s/etc/nixos", nixos_root_path(run, c->name)),
               *path = spec_arena_printf(a, "%s/configuration.nix", dir);
    const char *source = nixos_source(run, c, err);
    if (!source || !c->nixos.config.text || has_run(run, c->name) || !may_write(run, path, &there))
        return source ? 0 : -EINVAL;
    const char *wanted = spec_arena_printf(
        a,
        CONFIGURATION_MARK "{ config, lib, pkgs, ... }:\n\n{ boot.isContainer = true;\n"
                           "  networking.hostName = lib.mkDefault \"%s\";\n  networking.useDHCP = "
                           "false;\n  imports = [ %s ];\n}\n",
        c->name, nixos_path(a, source + 7));
    int r = rec_dir_make(nixos_state_dir(run), 0700, err);
    if (!r)
        r = rec_dir_make(dir, 0755, err);
    return r ? r : rec_file_write(path, wanted, strlen(wanted), 0644, err);
}

static bool alone(struct rec_run *run, const char *dir, const char *name)
{
    char **names;
    size_t n;
    return !rec_dir_list(run->arena, dir, &names, &n, NULL) && n == 1 && !strcmp(names[0], name);
}

/* A root that nothing has lived in: no more than that file. */
static bool only_configuration(struct rec_run *run, const char *name)
{
    struct spec_arena *a = run->arena;
    const char *root = nixos_root_path(run, name);
    struct stat st, above;
    bool there;
    return !lstat(root, &st) && S_ISDIR(st.st_mode) && !stat(nixos_state_dir(run), &above) &&
           above.st_dev == st.st_dev && alone(run, root, "etc") &&
           alone(run, spec_arena_printf(a, "%s/etc", root), "nixos") &&
           alone(run, spec_arena_printf(a, "%s/etc/nixos", root), "configuration.nix") &&
           may_write(run, spec_arena_printf(a, "%s/etc/nixos/configuration.nix", root), &there) &&
           there;
}

static int forget(struct rec_run *run, const struct rec_item *h, struct rec_error *err)
{
    const char *name = h->container;
    struct nixos_record record;
    struct stat st;
    bool root = run->undoing ? nixos_record_read(run, name, &record) && record.root_made
                             : !strcmp(h->system.on_remove, "destroy") || run->opt.destroy_files;
    int r = root || only_configuration(run, name) ? root_goes(run, name, err) : 0;
    if (!r)
        r = tree_goes(run, NIXOS_PROFILES, name, NULL, err);
    if (!r)
        r = tree_goes(run, NIXOS_GCROOTS, name, NULL, err);
    /* else it goes with its unit, or stays with it */
    if (!r && lstat(nixos_conf_path(run, name), &st))
        r = rec_tree_remove(spec_arena_printf(run->arena, NIXOS_OWN_FLAKE "%s", name), err);
    return r ? r : record_goes(run, name, err);
}

/* Back to where they were: an undo, or the run that put them aside was killed. */
static int trees_come_back(struct rec_run *run, const char *name, struct rec_error *err)
{
    const char *const dirs[] = {NIXOS_PROFILES, NIXOS_GCROOTS, nixos_state_dir(run)};
    int r = 0;
    for (size_t i = 0; r >= 0 && i < sizeof dirs / sizeof *dirs; i++)
        r = rec_aside_take(run, dirs[i], name, err);
    return r < 0 ? r
                 : rec_file_remove(spec_arena_printf(run->arena, NIXOS_RECORDS "/" GONE "%s", name),
                                   err);
}

/* Also when the profile is gone. */
static int keep(struct rec_run *run, const char *name, const char *path, struct rec_error *err)
{
    char *target;
    return !rec_link_read(run->arena,
                          spec_arena_printf(run->arena, NIXOS_RECORDS "/.root-%s", name), &target,
                          NULL) &&
                   !strcmp(target, path)
               ? 0
               : rec_system_keep(run, name, path, err);
}

int nixos_system(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    if (!s->to)
        return forget(run, s->from, err);
    const struct rec_system *to = &s->to->system;
    const char *name = s->to->container;
    struct stat st;
    int r = s->from && !run->undoing ? 0 : trees_come_back(run, name, err);
    bool recorded = s->to->stated & 1u << SYSTEM_ON_REMOVE,
         fresh = !s->from && !run->undoing && lstat(nixos_root_path(run, name), &st);
    const char *had = nixos_profile(run, name);
    bool set = *to->profile && (!had || strcmp(had, to->profile));
    if (!r && set)
        r = nixos_profile_set(run, name, to->profile, err);
    if (!r && s->to->spec)
        r = write_configuration(run, s->to->spec, err);
    if (!r && set && recorded)
        r = keep(run, name, to->profile, err);
    if (r || !recorded) /* an undo: it was not ours, so nothing was recorded */
        return r ? r : record_goes(run, name, err);
    struct nixos_record record = {.source = to->source ? to->source : "",
                                  .path = to->profile,
                                  .on_remove = to->on_remove ? to->on_remove : "keep",
                                  .key = to->key,
                                  .root_made = fresh};
    return nixos_record_write(run, name, &record, err);
}

/* The next run of the timer asks nix for a source that is not the record's: also where the
 * system came out the same. */
int nixos_settle(struct rec_run *run, const struct rec_item *w, struct rec_error *err)
{
    const struct rec_system *to = &w->system;
    const char *key = to->key ? to->key : "";
    struct nixos_seen s;
    if (!(w->stated & 1u << SYSTEM_PROFILE) ||
        nixos_look_at(run, run->arena, w->container, &s, err) || !s.ours)
        return 0;
    int r = keep(run, w->container, to->profile, err);
    if (r || (s.recorded && !strcmp(s.record.source, to->source) &&
              !strcmp(s.record.path, to->profile) && !strcmp(s.record.on_remove, to->on_remove) &&
              !strcmp(s.record.key, key)))
        return r;
    struct nixos_record record = {.source = to->source,
                                  .path = to->profile,
                                  .on_remove = to->on_remove,
                                  .key = key,
                                  .root_made = s.record.root_made};
    r = w->spec ? write_configuration(run, w->spec, err) : 0;
    return r ? r : nixos_record_write(run, w->container, &record, err);
}

/* Records go for good where no container of ours bears their name, those that somebody else has
 * taken over included. */
static int purge_records(struct rec_run *run, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    char **names;
    size_t n;
    int r = rec_dir_list(a, NIXOS_RECORDS, &names, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        bool gone = !strncmp(names[i], GONE, sizeof GONE - 1);
        const char *name = gone ? names[i] + sizeof GONE - 1 : names[i];
        struct nixos_seen s;
        if (*name == '.' || strlen(name) > 63)
            continue;
        r = nixos_look_at(run, a, name, &s, err);
        if (!r && !s.ours) {
            r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/.root-%s", name), err);
            if (!r)
                r = rec_tree_remove(spec_arena_printf(a, NIXOS_OWN_FLAKE "%s", name), err);
        }
        if (!r && (gone || !s.ours))
            r = rec_file_remove(spec_arena_printf(a, NIXOS_RECORDS "/%s", names[i]), err);
    }
    rmdir(NIXOS_RECORDS);
    return r == -ENOENT ? 0 : r;
}

int nixos_purge(struct rec_run *run, struct rec_error *err)
{
    if (!run->facts.systemd)
        return 0;
    int r = rec_aside_purge(run, NIXOS_PROFILES, NULL, err);
    if (!r)
        r = rec_aside_purge(run, NIXOS_GCROOTS, NULL, err);
    if (!r)
        r = rec_aside_purge(run, nixos_state_dir(run), mutable, err);
    return r ? r : purge_records(run, err);
}
