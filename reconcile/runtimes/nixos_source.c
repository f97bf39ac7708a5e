/* Where a container's system comes from: a flake, out of git at its very commit or as it lies
 * there, a store path, or a configuration; and what is remembered of the one that was built
 * last. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BESIDE(name)                                                                               \
    {                                                                                              \
        "/run/current-system/sw/bin/" name, "/nix/var/nix/profiles/default/bin/" name,             \
            "/usr/bin/" name, "/usr/local/bin/" name                                               \
    }

const char *nixos_program(const char *name)
{
    static const char *const paths[][4] = {BESIDE("nix"), BESIDE("nix-env"),
                                           BESIDE("nix-instantiate"), BESIDE("nix-store")};
    for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
        for (size_t i = 0; !strcmp(strrchr(paths[k][0], '/') + 1, name) && i < 4; i++)
            if (!access(paths[k][i], X_OK))
                return paths[k][i];
    return NULL;
}

/* As a part of a URL (RFC 3986 2.3): what is neither unreserved nor a slash is %XX. */
static const char *encoded(struct spec_arena *a, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/",
                      hex[] = "0123456789ABCDEF";
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
    char *whole = spec_arena_printf(a, "%.*s/%s", (int)(slash ? slash - path : 0), path, rest),
         *to = whole;
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
        return spec_arena_printf(a, "%s%s%s%s",
                                 strncmp(ref, "path:", 5) ? "" : "path:", run->opt.spec_dir,
                                 *rest ? "/" : "", rest);
    /* Beside the spec at that very commit, never the work tree. */
    size_t n = strlen(s->repo);
    while (n > 1 && s->repo[n - 1] == '/')
        n--;
    const char *repo = spec_arena_strndup(a, s->repo, n), *folder = nixos_folder(a, s->path, ref),
               *via = encoded(a, s->via);
    if (!repo || !folder || !via || !(repo = encoded(a, repo)) || !(folder = encoded(a, folder)))
        return NULL;
    /* A bare repository is fetched from, by a ref, and nix takes it for master's if it is not
     * told. */
    return spec_arena_printf(a, "git+file://%s?rev=%s&%s%s%s%s", repo, s->commit,
                             *via ? "ref=" : "allRefs=1", via, *folder ? "&dir=" : "", folder);
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
            return *s->trees[i].id ? spec_arena_printf(run->arena, "%s#%s, tree %.12s", name,
                                                       c->nixos.attr.text, s->trees[i].id)
                                   : spec_arena_printf(run->arena, "%s#%s, not there", name,
                                                       c->nixos.attr.text);
    return spec_arena_printf(run->arena, "%s#%s", name, c->nixos.attr.text);
}

const char *nixos_source(struct rec_run *run, const struct spec_container *c, struct rec_error *err)
{
    if (c->nixos.system.text)
        return c->nixos.system.text;
    const char *from = c->nixos.flake.text ? nixos_flake(run, c) : c->nixos.config.text;
    if (!from) {
        rec_fail(err, EINVAL,
                 "container %s: runtime nixos needs a `nixos` map: a flake, a system or a config",
                 c->name);
        err->at = c->at;
        return NULL;
    }
    while (c->nixos.config.text && !strncmp(from, "./", 2))
        from += 2;
    if (c->nixos.config.text)
        return spec_arena_printf(run->arena, "config %s%s%s",
                                 *from == '/'        ? ""
                                 : run->opt.spec_dir ? run->opt.spec_dir
                                                     : "",
                                 *from == '/' ? "" : "/", from);
    /* It goes into the conf, and into a flake of ours. What the spec says is looked at by
     * `refuse`; this is what it comes to here. */
    if (!run->opt.offline && !nixos_conf_plain(from)) {
        rec_fail(err, EINVAL,
                 "container %s: its flake is '%.300s', and a character of that would need quotes "
                 "in the container's conf",
                 c->name, from);
        rec_hint(err, "give the folder a name of letters, digits, dots and dashes, or name the "
                      "flake another way");
        err->at = c->nixos.flake.at;
        return NULL;
    }
    return spec_arena_printf(run->arena, "%s#%s", from, c->nixos.attr.text);
}

bool nixos_record_read(struct rec_run *run, const char *name, struct nixos_record *out)
{
    char *text, *save = NULL;
    size_t len;
    *out = (struct nixos_record){.source = "", .path = "", .on_remove = "keep", .key = ""};
    if (rec_file_read(run->arena, spec_arena_printf(run->arena, NIXOS_RECORDS "/%s", name), 65536,
                      &text, &len, NULL))
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
        else if (!strcmp(line, "key"))
            out->key = value;
    }
    return true;
}

int nixos_record_write(struct rec_run *run, const char *name, const struct nixos_record *r,
                       struct rec_error *err)
{
    const char *key = r->key ? r->key : "";
    const char *text = spec_arena_printf(run->arena, "source %s\npath %s\non_remove %s\n%s%s%s%s",
                                         r->source, r->path, r->on_remove, *key ? "key " : "", key,
                                         *key ? "\n" : "", r->root_made ? "root made\n" : "");
    int rc = text ? rec_dir_make(REC_STATE_DIR, 0700, err) : rec_fail(err, ENOMEM, "out of memory");
    if (!rc)
        rc = rec_dir_make(NIXOS_RECORDS, 0755, err);
    return rc ? rc
              : rec_file_write(spec_arena_printf(run->arena, NIXOS_RECORDS "/%s", name), text,
                               strlen(text), 0600, err);
}

int nixos_profile_set(struct rec_run *run, const char *name, const char *path,
                      struct rec_error *err)
{
    const char *dir = spec_arena_printf(run->arena, NIXOS_PROFILES "/%s", name);
    const char *argv[] = {nixos_program("nix-env"),
                          "-p",
                          spec_arena_printf(run->arena, "%s/system", dir),
                          "--set",
                          path,
                          NULL};
    char *said;
    int status;
    if (!argv[0])
        return rec_fail(err, ENOENT,
                        "cannot set the profile of container %s: there is no nix-env on this host",
                        name);
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
