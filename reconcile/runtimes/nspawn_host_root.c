/* What a container with `root: host` sees: the host's /usr, and a private /etc with a few entries
 * of the host's. The words of nspawn that show it, and the files that must be there at a start. */
#include "reconcile/files.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/nspawn_users.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool nspawn_exists(const char *path, bool directory)
{
    struct stat st;
    return !stat(path, &st) && (directory ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
}

/* What a container with `root: host` sees of the host's /etc: this list and nothing else. Each
 * entry is shown only if it exists. */
static const struct shown {
    const char *name;
    bool directory;
    /* People may add files to this directory. Root of a container without a range of ids could read
     * each of them, so berth copies the files that every user of the host can read. */
    bool copied;
    bool earlier, now; /* earlier: what NSPAWN_FORM_ALL_SSL and before show */
} shown[] = {
    {"alternatives", .directory = true, .earlier = true, .now = true},
    {"ld.so.conf.d", .directory = true, .earlier = true, .now = true},
    {"ssl", .directory = true, .earlier = true},
    {"ssl/certs", .directory = true, .copied = true, .now = true},
    {"ca-certificates", .directory = true, .copied = true, .earlier = true, .now = true},
    {"pki/ca-trust/extracted", .directory = true, .copied = true, .now = true},
    {"ld.so.cache", .earlier = true, .now = true},
    {"ld.so.conf", .earlier = true, .now = true},
    {"localtime", .earlier = true, .now = true},
    {"ssl/cert.pem", .now = true},
    {"ssl/ca-bundle.pem", .now = true},
    {"ssl/openssl.cnf", .now = true},
};
enum { SHOWN = sizeof shown / sizeof *shown };

/* Every user of the host can read it. */
static bool is_public(const char *path, bool directory)
{
    struct stat st;
    mode_t bits = directory ? S_IROTH | S_IXOTH : S_IROTH;
    return !stat(path, &st) && (st.st_mode & bits) == bits;
}

/* Offline, every entry counts as one that exists. */
static bool is_bound(const struct rec_run *run, const struct shown *s, enum nspawn_form form,
                     bool shifted)
{
    bool listed = form < NSPAWN_FORM_ALL_SSL ? s->now && (shifted || !s->copied) : s->earlier;
    if (!listed || run->opt.offline)
        return listed;
    char path[64];
    snprintf(path, sizeof path, "/etc/%s", s->name);
    return nspawn_exists(path, s->directory) &&
           (form >= NSPAWN_FORM_ALL_SSL || is_public(path, s->directory));
}

/* In a user namespace the root is a skeleton that berth makes: nspawn must never get the host's own
 * root together with a range of ids. */
void nspawn_host_root_words(struct rec_run *run, const struct spec_container *c,
                            enum nspawn_form form, bool skeleton, bool shifted,
                            struct nspawn_words *w)
{
    const char *etc = nspawn_path(w->a, c->name, "etc");
    nspawn_word(w, "-D");
    nspawn_word(w, skeleton ? nspawn_path(w->a, c->name, "root") : "/");
    nspawn_word(w, "--volatile=yes");
    if (skeleton)
        nspawn_word(w, shifted && nspawn_can_idmap(run, "/usr") ? "--bind-ro=/usr:/usr:idmap"
                                                                : "--bind-ro=/usr");
    bool idmap = shifted && nspawn_can_idmap(run, REC_RUN_DIR);
    nspawn_word(w, spec_arena_printf(w->a, "--bind=%s:/etc%s", etc, idmap ? ":idmap" : ""));
    for (size_t i = 0; i < SHOWN; i++)
        if (is_bound(run, &shown[i], form, shifted))
            nspawn_word(w, spec_arena_printf(w->a, "--bind-ro=/etc/%s", shown[i].name));
}

/* What follows `word` in an argument of nspawn that begins with it. Settings have one argument a
 * line, plain or as a unit quotes it. Line ends of an author's text are escaped, so that only
 * words of the command, behind "--", could look like an option. */
const char *nspawn_find_argument(const char *settings, const char *word)
{
    static const char *const before[] = {"\n", "\n  \""};
    for (size_t i = 0; i < 2; i++) {
        char look[192], command[8];
        snprintf(look, sizeof look, "%s%.160s", before[i], word);
        snprintf(command, sizeof command, "%s--%c", before[i], i ? '"' : '\n');
        const char *p = strstr(settings, look), *end = strstr(settings, command);
        if (p && (!end || p < end))
            return p + strlen(look);
    }
    return NULL;
}

/* The first host id of the container's range; 0: it has none. */
static uint32_t range_of(const char *settings)
{
    const char *p = nspawn_find_argument(settings, "--private-users=");
    return p && *p >= '0' && *p <= '9' ? (uint32_t)strtoul(p, NULL, 10) : 0;
}

static bool is_loader(const char *name)
{
    return !strncmp(name, "ld-", 3) || !strncmp(name, "ld.so", 5) || !strncmp(name, "ld64", 4);
}

/* nspawn makes the links /bin, /lib64 and so on for what it finds below usr before the host's
 * /usr is bound there. */
int nspawn_host_root_skeleton(struct spec_arena *a, const char *name, const char *settings,
                              struct rec_error *err)
{
    static const char *const dirs[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    const char *root = nspawn_path(a, name, "root");
    if (!root)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!nspawn_find_argument(settings, root))
        return 0;
    int r = rec_dir_make(spec_arena_printf(a, "%s/usr/lib", root), 0755, err);
    if (!r)
        r = rec_file_write(spec_arena_printf(a, "%s/usr/lib/os-release", root), "", 0, 0644, err);
    for (size_t i = 0; !r && i < sizeof dirs / sizeof *dirs; i++) {
        const char *from = spec_arena_printf(a, "/usr/%s", dirs[i]);
        char **list = NULL;
        size_t n = 0;
        if (!nspawn_exists(from, true))
            continue;
        r = rec_dir_make(spec_arena_printf(a, "%s/usr/%s", root, dirs[i]), 0755, err);
        if (!r && !strncmp(dirs[i], "lib", 3) && rec_dir_list(a, from, &list, &n, NULL))
            n = 0;
        for (size_t k = 0; !r && k < n; k++)
            if (is_loader(list[k]))
                r = rec_file_write(spec_arena_printf(a, "%s/usr/%s/%s", root, dirs[i], list[k]), "",
                                   0, 0755, err);
    }
    return r;
}

/* Gives everything in a directory that berth has just made to the container's root. */
static int give_tree(struct spec_arena *a, const char *dir, uint32_t owner, struct rec_error *err)
{
    char **list;
    size_t n;
    struct stat st;
    int r = rec_dir_list(a, dir, &list, &n, err);
    for (size_t i = 0; !r && i <= n; i++) {
        const char *path = i < n ? spec_arena_printf(a, "%s/%s", dir, list[i]) : dir;
        if (!path || lchown(path, owner, owner))
            r = rec_fail(err, path ? errno : ENOMEM, "cannot give '%s' to the container: %s",
                         path ? path : dir, strerror(path ? errno : ENOMEM));
        if (!r && i < n && !lstat(path, &st) && S_ISDIR(st.st_mode))
            r = give_tree(a, path, owner, err);
    }
    return r;
}

/* Copies the links of a directory and the files that every user of the host can read. What vanishes
 * meanwhile is left out. */
static int copy_public(struct spec_arena *a, const char *from, const char *to, unsigned depth,
                       struct rec_error *err)
{
    enum { DEPTH = 8, FILE_MOST = 4 << 20 };
    char **list, *text;
    size_t n, len;
    struct stat st;
    int r = rec_dir_make(to, 0755, err);
    if (!r)
        r = rec_dir_list(a, from, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        const char *path = spec_arena_printf(a, "%s/%s", from, list[i]);
        const char *target = spec_arena_printf(a, "%s/%s", to, list[i]);
        if (!path || !target)
            return rec_fail(err, ENOMEM, "out of memory");
        if (lstat(path, &st))
            continue;
        if (S_ISLNK(st.st_mode) && !rec_link_read(a, path, &text, NULL))
            r = rec_link_write(target, text, err);
        else if (S_ISDIR(st.st_mode) && is_public(path, true) && depth < DEPTH)
            r = copy_public(a, path, target, depth + 1, err);
        else if (S_ISREG(st.st_mode) && is_public(path, false) &&
                 !rec_file_read(a, path, FILE_MOST, &text, &len, NULL))
            r = rec_file_write(target, text, len, 0644, err);
    }
    return r;
}

/* Whether the settings bind that entry of /etc, and not one that only begins with its name. */
static bool binds_entry(struct spec_arena *a, const char *settings, const struct shown *s)
{
    const char *word = spec_arena_printf(a, "--bind-ro=/etc/%s", s->name);
    const char *p = word ? nspawn_find_argument(settings, word) : NULL;
    return p && (*p == '\n' || *p == '"');
}

/* A place for each entry that is bound, and the entries that are copied. */
static int furnish_shown(struct spec_arena *a, const char *etc, const char *settings,
                         struct rec_error *err)
{
    bool earlier = false, shifted = range_of(settings) != 0;
    int r = 0;
    for (size_t i = 0; !r && i < SHOWN; i++) {
        const struct shown *s = &shown[i];
        const char *path = spec_arena_printf(a, "%s/%s", etc, s->name);
        char source[64], real[PATH_MAX], *slash;
        snprintf(source, sizeof source, "/etc/%s", s->name);
        if (!path)
            return rec_fail(err, ENOMEM, "out of memory");
        bool bound = binds_entry(a, settings, s);
        earlier |= bound && !s->now;
        if (bound && s->directory) {
            r = rec_dir_make(path, 0755, err);
        } else if (bound) {
            char *parent = spec_arena_strdup(a, path);
            slash = parent ? strrchr(parent, '/') : NULL;
            if (slash)
                *slash = 0;
            r = parent ? rec_dir_make(parent, 0755, err) : rec_fail(err, ENOMEM, "out of memory");
            if (!r)
                r = rec_file_write(path, "", 0, 0644, err);
        } else if (s->copied && s->now && !shifted && !earlier && is_public(source, true) &&
                   realpath(source, real)) {
            r = copy_public(a, real, path, 0, err);
        }
    }
    return r;
}

/* The cache of ld.so(8) is the host's, and read-only. Since Debian 13 a booted system rebuilds it
 * with this unit, which would fail. */
static int mask_ldconfig(struct spec_arena *a, const char *etc, const char *settings,
                         struct rec_error *err)
{
    const char *units = spec_arena_printf(a, "%s/systemd/system", etc);
    const char *unit = spec_arena_printf(a, "%s/systemd/system/ldconfig.service", etc);
    /* what boots has it, by either way */
    if (!nspawn_find_argument(settings, "--notify-ready=yes"))
        return 0;
    int r = units && unit ? rec_dir_make(units, 0755, err) : rec_fail(err, ENOMEM, "out of memory");
    return r ? r : rec_link_write(unit, "/dev/null", err);
}

/* passwd(5) or group(5), without a password: the second field becomes "x". */
static int copy_accounts(struct rec_run *run, const char *etc, const char *name,
                         struct rec_error *err)
{
    char *text;
    size_t len;
    int r = rec_file_read(run->arena, spec_arena_printf(run->arena, "/etc/%s", name), 4 << 20,
                          &text, &len, err);
    char *out = r ? NULL : spec_arena_alloc(run->arena, 2 * len + 1), *p = out;
    if (!r && !out)
        return rec_fail(err, ENOMEM, "out of memory");
    for (char *line, *rest = text; out && (line = strsep(&rest, "\n"));) {
        char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
        if (second)
            p += sprintf(p, "%.*s:x%s", (int)(first - line), line, second);
        else
            p = stpcpy(p, line);
        if (rest)
            *p++ = '\n';
    }
    return r ? r
             : rec_file_write(spec_arena_printf(run->arena, "%s/%s", etc, name), out,
                              (size_t)(p - out), 0644, err);
}

bool nspawn_has_own_etc(struct spec_arena *a, const char *name, const char *settings)
{
    const char *bind = spec_arena_printf(a, "--bind=%s:/etc", nspawn_path(a, name, "etc"));
    return bind && strstr(settings, bind);
}

int nspawn_host_root_furnish(struct rec_run *run, const char *name, const char *settings,
                             struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *etc = nspawn_path(a, name, "etc"),
               *bind = spec_arena_printf(a, "--bind=%s:/etc", etc);
    if (!etc || !bind)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!nspawn_has_own_etc(a, name, settings))
        return 0;
    int r = nspawn_host_root_skeleton(a, name, settings, err);
    if (!r)
        r = rec_tree_remove(etc, err);
    if (!r)
        r = rec_dir_make(etc, 0755, err);
    if (!r)
        r = furnish_shown(a, etc, settings, err);
    if (!r)
        r = mask_ldconfig(a, etc, settings, err);
    /* Without shadow there is no password to guess; whoever is root on the host enters by `berth
     * login`. */
    if (!r)
        r = copy_accounts(run, etc, "passwd", err);
    if (!r)
        r = copy_accounts(run, etc, "group", err);
    /* The same for a container of that name on this machine, and for no other. */
    const char *id = spec_arena_printf(
        a, "%s%s\n", nspawn_digest(a, name),
        nspawn_digest(a,
                      spec_arena_printf(a, "%s %s",
                                        run->facts.machine_id ? run->facts.machine_id : "", name)));
    const char *const files[][2] = {
        {"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n"},
        {"resolv.conf", ""},
        {"hostname", spec_arena_printf(a, "%s\n", name)},
        {"nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: "
                          "files\nprotocols: files\n"},
        {"machine-id", id},
        /* a name with addresses of both families has both (host.conf(5)) */
        {"host.conf", "multi on\n"},
    };
    for (size_t i = 0; !r && i < sizeof files / sizeof *files; i++)
        r = files[i][1]
                ? rec_file_write(spec_arena_printf(a, "%s/%s", etc, files[i][0]), files[i][1],
                                 strlen(files[i][1]), i == 4 ? 0444 : 0644, err)
                : rec_fail(err, ENOMEM, "out of memory");
    if (!r)
        r = rec_link_write(spec_arena_printf(a, "%s/os-release", etc), "../usr/lib/os-release",
                           err);
    uint32_t first = range_of(settings);
    bool idmap = strstr(settings, spec_arena_printf(a, "%s:idmap", bind)) != NULL;
    return r || !first || idmap ? r : give_tree(a, etc, first, err);
}
