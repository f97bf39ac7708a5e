/* Paths of the host that a spec gives to containers, and what containers can write. */
#include "spec/internal.h"
#include <string.h>

const char *spec_plain_path(const char *path, char *out)
{
    char *to = out;
    for (const char *from = path; *from;) {
        size_t part = *from == '/' ? strcspn(from + 1, "/") : 0;
        bool empty = *from == '/' && (!part || (part == 1 && from[1] == '.'));
        if (empty) {
            from += 1 + part;
            continue;
        }
        *to++ = *from++;
    }
    if (to == out && *path == '/')
        *to++ = '/';
    *to = 0;
    return out;
}

const char *spec_plain_copy(struct spec_arena *a, const char *path)
{
    char *out = spec_arena_alloc(a, strlen(path) + 2);
    return out ? spec_plain_path(path, out) : NULL;
}

static void put_path(struct spec_seen *set, const char *path, struct spec_loc at, bool *oom)
{
    const char *plain = spec_plain_copy(set->arena, path);
    if (plain)
        spec_seen_put(set, plain, strlen(plain), at, oom);
    else
        *oom = true;
}

bool spec_writable_find(struct spec_arena *a, const struct spec_host *h, struct spec_writable *out)
{
    bool oom = false;
    *out = (struct spec_writable){.roots = {.arena = a}, .binds = {.arena = a}};
    for (size_t i = 0; i < h->n_containers && !oom; i++) {
        const struct spec_container *c = &h->containers[i];
        if (c->nspawn.root == SPEC_ROOT_DIR && c->nspawn.path.text)
            put_path(&out->roots, c->nspawn.path.text, c->nspawn.path.at, &oom);
        for (size_t b = 0; b < c->nspawn.n_binds && !oom; b++)
            if (!c->nspawn.binds[b].read_only)
                put_path(&out->binds, c->nspawn.binds[b].host, c->nspawn.binds[b].at, &oom);
    }
    return !oom;
}

const struct spec_loc *spec_writable_above(const struct spec_seen *set, const char *plain)
{
    const struct spec_loc *above = NULL;
    for (size_t n = set->n ? strlen(plain) : 0; n > 1 && !above; n--)
        if (plain[n] == '/')
            above = spec_seen_find(set, plain, n);
    return above;
}
