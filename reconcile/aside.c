/* A tree has three names in its life: its own, one where it waits whole, and one where it is being
 * deleted. Each step is one rename in the same directory, so whoever is killed in between leaves
 * something that the next run understands. */
#include "reconcile/aside.h"
#include "reconcile/files.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define PLACE  "%s/%s"
#define ASIDE  "%s/.%s.berth-gone"
#define DOOMED "%s/.%s.berth-purge"

static bool there(const char *path)
{
    struct stat st;
    return !lstat(path, &st);
}

int rec_aside_put(struct rec_run *run, const char *dir, const char *name, struct rec_error *err)
{
    const char *place = spec_arena_printf(run->arena, PLACE, dir, name),
               *aside = spec_arena_printf(run->arena, ASIDE, dir, name);
    const char *doomed = spec_arena_printf(run->arena, DOOMED, dir, name);
    if (!place || !aside || !doomed)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!there(place))
        return 0;
    /* What an earlier run put aside makes room: this one is the tree that an undo would want. */
    int r = there(aside) ? rec_tree_remove(doomed, err) : 0;
    if (!r && there(aside))
        r = rec_tree_move(aside, doomed, err);
    return r ? r : rec_tree_move(place, aside, err);
}

int rec_aside_take(struct rec_run *run, const char *dir, const char *name, struct rec_error *err)
{
    const char *place = spec_arena_printf(run->arena, PLACE, dir, name),
               *aside = spec_arena_printf(run->arena, ASIDE, dir, name);
    if (!place || !aside)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!there(aside) || there(place))
        return 0;
    int r = rec_tree_move(aside, place, err);
    return r ? r : 1;
}

static int purge_one(struct rec_run *run, const char *dir, const char *name, rec_aside_fn last,
                     struct rec_error *err)
{
    const char *aside = spec_arena_printf(run->arena, ASIDE, dir, name),
               *doomed = spec_arena_printf(run->arena, DOOMED, dir, name);
    int r = aside && doomed ? 0 : rec_fail(err, ENOMEM, "out of memory");
    bool whole = !r && there(aside);
    /* what is half gone first: its name is needed */
    for (int pass = 0; !r && pass <= whole; pass++) {
        if (pass)
            r = rec_tree_move(aside, doomed, err);
        if (!r && last && there(doomed))
            r = last(run, name, doomed, err);
        if (!r)
            r = rec_tree_remove(doomed, err);
    }
    return r;
}

int rec_aside_drop(struct rec_run *run, const char *dir, const char *name, rec_aside_fn last,
                   struct rec_error *err)
{
    int r = rec_aside_put(run, dir, name, err);
    return r ? r : purge_one(run, dir, name, last, err);
}

/* The name of the container whose tree this is; NULL: it is no tree that was put aside. */
static const char *name_of(struct spec_arena *a, const char *file, const char *end)
{
    size_t len = strlen(file), rest = strlen(end);
    if (*file != '.' || len <= rest + 1 || strcmp(file + len - rest, end))
        return NULL;
    return spec_arena_strndup(a, file + 1, len - rest - 1);
}

int rec_aside_purge(struct rec_run *run, const char *dir, rec_aside_fn last, struct rec_error *err)
{
    static const char *const ends[] = {".berth-gone", ".berth-purge"};
    char **names;
    size_t n;
    int r = rec_dir_list(run->arena, dir, &names, &n, err);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < 2; k++) {
            struct rec_error one = {0};
            const char *name = name_of(run->arena, names[i], ends[k]);
            int failed = name ? purge_one(run, dir, name, last, &one) : 0;
            if (failed && !r) {
                r = failed;
                *err = one;
            }
        }
    return r == -ENOENT ? 0 : r;
}

int rec_aside_tell(struct rec_state *out, const char *dir, char *const *names, size_t n)
{
    int r = 0;
    for (size_t i = 0; !r && i < n; i++) {
        const char *name = name_of(out->arena, names[i], ".berth-purge");
        const char *hint = spec_arena_printf(
            out->arena, "look why, then: rm -rf --one-file-system %s/%s", dir, names[i]);
        if (name)
            r = rec_state_warn(out, name, hint,
                               "a part of its removed tree could not be deleted: '%s/%s'", dir,
                               names[i]);
    }
    return r;
}
