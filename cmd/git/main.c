/* berth-git-read — reads one file at one revision out of a git repository and prints it as a frame
 * (frame.h), as `berth` asks it to. It is a separate program, so that what the library or a
 * hostile repository does to it (a crash, a hang, all the memory) is an error message to berth and
 * nothing more, and so that starting berth does not wait for the library.
 *
 *   berth-git-read [--git DIR] [--rev REV | --index FILE] --path PATH --limit BYTES --owner UID...
 *                  [--objects DIR] [--since REV]
 *   berth-git-read [--git DIR] [--rev REV | --index FILE] --trees FOLDER//... --owner UID...
 *                  [--objects DIR]
 *       what folders hold
 *   berth-git-read [--git DIR] --about HOME [--config FILE]... --owner UID...
 *       the repository itself: its folders, its hooks, its HEAD.
 *       FILE: where the caller's git looks for settings after HOME/.gitconfig
 *
 * --owner: a user who may own the repository, and whose links may lead anywhere. --guest: one who
 * may own it. Without --git, the repository around the working directory. --objects: more objects,
 * those of a push that is not yet accepted. */
#include "cmd/git/confine.h"
#include "cmd/git/find.h"
#include <errno.h>
#include <git2.h>
#include <git2/sys/mempack.h>
#include <git2/sys/odb_backend.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0"; /* its thread may not trace, and the process ends anyway */
}
#endif

enum {
    MOST_CONFIGS = 2,
    MOST_CONFIG_BYTES = 1 << 20,
    MOST_COMMITS = 1000,
    MOST_WALKED = 20000,
    MOST_REFS = 500,
    MOST_REF = 4096, /* bytes of a name */
    MOST_LINKS = 10,
    MOST_ENTRIES = 20000,
    MOST_TRAILERS = 4096,
    MOST_REVISION = 20000
};

struct asked {
    const char *git, *about, *ref, *rev, *index, *path, *objects, *since, *trees;
    const char *configs[MOST_CONFIGS];
    size_t n_configs;
    size_t limit;
    struct owned_trust lead, owners; /* who may lead anywhere; who may own a repository */
};

static void record(const char *name, const void *bytes, size_t n)
{
    printf("%s %zu\n", name, n);
    fwrite(bytes, 1, n, stdout);
    putchar('\n');
}

static void text(const char *name, const char *s)
{
    record(name, s ? s : "", s ? strlen(s) : 0);
}

static bool unconfined; /* the kernel lacks Landlock */

static void begin(void)
{
    fputs("berth-git 1\n", stdout);
    if (unconfined)
        text("unconfined", "1");
}

static void end(void)
{
    fputs("end 0\n\n", stdout);
    exit(fflush(stdout) ? 1 : 0);
}

/* `kind`: "refused", "spec", "absent" (no such file), "norev" (no such revision), "exotic" (an
 * index for git alone), "thing" (no commit) or "failed": which exit code berth ends with. */
void git_fail(const char *kind, const char *hint, const char *format, ...)
{
    char said[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(said, sizeof said, format, ap);
    va_end(ap);
    begin();
    text("error", said);
    text("hint", hint);
    text("kind", kind);
    end();
    abort();
}

static const char *why(void)
{
    const git_error *e = git_error_last();
    return e && e->message ? e->message : "the library does not say why";
}

static git_repository *repository(const struct asked *a)
{
    git_repository *repo;
    struct git_find find = {a->git, &a->lead, &a->owners};
    struct git_found found;
    bool root = !geteuid(), landlock = false;
    git_find(&find, &found);
    const char *git = found.path;
    if (a->objects)
        git_found_add(&found, a->objects);
    if (a->about && *a->about)
        /* the user's own configuration may say where hooks are */
        git_found_add(&found, a->about);
    for (size_t i = 0; i < a->n_configs; i++)
        git_found_add(&found, a->configs[i]);
    int r = git_confine_fds(found.dirs, found.n, &landlock);
    if (r)
        git_fail("failed", NULL, "cannot confine the reader of '%s': %s", git, strerror(-r));
    if (!landlock && root && found.uid)
        git_fail(
            "refused", "boot with landlock in lsm=, or read it as its owner",
            "this kernel has no Landlock, so root does not read the repository '%s' of user %u",
            git, found.uid);
    unconfined = !landlock;
    /* The caller's own configuration may say where hooks are; root's says nothing to the user
     * that the repository belongs to. */
    if (a->about && *a->about && !access(a->about, R_OK | X_OK))
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, GIT_CONFIG_LEVEL_GLOBAL, a->about);
    static const char unknown[] = "unsupported extension name extensions.";
    int opened = git_repository_open_ext(
        &repo, git, GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_NO_DOTGIT, NULL);
    const char *extension =
        opened && !strncmp(why(), unknown, sizeof unknown - 1) ? why() + sizeof unknown - 1 : NULL;
    if (extension && !strcmp(extension, "objectformat"))
        git_fail("failed",
                 "keep the spec in a repository of SHA-1 ids, which git init makes by itself",
                 "cannot open the repository '%s': its objects have SHA-256 ids, which are not "
                 "supported",
                 git);
    if (extension)
        git_fail("failed",
                 "keep the spec in a repository without it: a fresh `git clone --bare` of this one "
                 "has none",
                 "cannot open the repository '%s': its extension '%s' is not supported", git,
                 extension);
    if (opened)
        git_fail("failed", NULL, "cannot open the repository '%s': %s", git, why());
    git_odb *odb;
    if (a->objects &&
        (git_repository_odb(&odb, repo) || git_odb_add_disk_alternate(odb, a->objects)))
        git_fail("failed", NULL, "cannot read the pushed objects in '%s': %s", a->objects, why());
    return repo;
}

static bool ref_there(git_repository *repo, const char *name)
{
    git_reference *ref;
    if (git_reference_lookup(&ref, repo, name))
        return false;
    git_reference_free(ref);
    return true;
}

/* An object whose id begins so, other than the one that `ref` leads to. */
static bool id_too(git_repository *repo, const char *name, const char *ref)
{
    git_odb *odb;
    git_oid prefix, found, tip;
    size_t n = strlen(name);
    if (n < 4 || n >= GIT_OID_HEXSZ || strspn(name, "0123456789abcdef") != n ||
        git_oid_fromstrn(&prefix, name, n) || git_repository_odb(&odb, repo))
        return false;
    int r = git_odb_exists_prefix(&found, odb, &prefix, n);
    git_odb_free(odb);
    return r == GIT_EAMBIGUOUS ||
           (!r && (git_reference_name_to_id(&tip, repo, ref) || !git_oid_equal(&tip, &found)));
}

static _Noreturn void no_revision(git_repository *repo, const char *rev)
{
    bool shallow = git_repository_is_shallow(repo) == 1;
    git_fail("norev",
             shallow ? "this clone is shallow: git fetch --unshallow"
                     : "git log shows what there is",
             git_repository_is_empty(repo) == 1
                 ? "there is no revision '%s': the repository has no commit yet"
                 : "there is no revision '%s'",
             rev);
}

/* The revision with the full name of the ref that it begins with: "refs/heads/main~1" for "main~1".
 * A short name with two meanings is refused: who pushes a tag of a branch's name must not
 * decide what the name means. */
static void full_revision(git_repository *repo, const char *rev, char out[MOST_REVISION])
{
    static const char *const forms[][2] = {{"refs/", ""},
                                           {"refs/heads/", ""},
                                           {"refs/tags/", ""},
                                           {"refs/remotes/", ""},
                                           {"refs/remotes/", "/HEAD"}};
    char name[MOST_REVISION], full[2][MOST_REVISION + 32], one[MOST_REVISION + 32],
        hint[MOST_REVISION + 64];
    const char *at = strstr(rev, "@{");
    size_t n = strcspn(rev, "^~:"), hits = 0;
    if (at && (size_t)(at - rev) < n)
        n = (size_t)(at - rev);
    if (strlen(rev) >= MOST_REVISION)
        git_fail("spec", NULL, "the revision is too long");
    strcpy(out, rev);
    snprintf(name, sizeof name, "%.*s", (int)n, rev);
    bool special = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == n && ref_there(repo, name);
    bool id = n == GIT_OID_HEXSZ && strspn(name, "0123456789abcdefABCDEF") == n;
    if (!n || special || id || !strcmp(name, "@"))
        return;
    /* The library would also look for refs/tags/refs/heads/main. */
    if (!strncmp(name, "refs/", 5)) {
        if (!ref_there(repo, name))
            no_revision(repo, rev);
        return;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms && hits < 2; i++) {
        snprintf(one, sizeof one, "%s%s%s", forms[i][0], name, forms[i][1]);
        if (ref_there(repo, one))
            strcpy(full[hits++], one);
    }
    snprintf(hint, sizeof hint, "write the full name: %s", hits ? full[0] : "");
    if (hits == 2)
        git_fail("spec", hint, "'%s' is ambiguous: it stands for '%s' and for '%s'", name, full[0],
                 full[1]);
    if (hits && id_too(repo, name, full[0]))
        git_fail("spec", hint,
                 "'%s' is ambiguous: it stands for '%s' and for an object with that id", name,
                 full[0]);
    if (hits && (size_t)snprintf(out, MOST_REVISION, "%s%s", full[0], rev + n) >= MOST_REVISION)
        git_fail("spec", NULL, "the revision is too long");
}

static git_commit *commit_of(git_repository *repo, const char *rev, git_reference **ref)
{
    git_object *o = NULL, *peeled = NULL;
    char full[MOST_REVISION];
    full_revision(repo, rev, full);
    int r = git_revparse_ext(&o, ref, repo, full);
    if (r == GIT_EAMBIGUOUS)
        git_fail("spec", "write more of it", "'%s' stands for several objects", rev);
    if (r == GIT_ENOTFOUND || r == GIT_EINVALIDSPEC) {
        git_reference *dangling = NULL;
        if (r == GIT_ENOTFOUND && !git_reference_dwim(&dangling, repo, full))
            git_fail("failed", "git fsck tells more", "'%s' leads to a commit that is not there",
                     rev);
        no_revision(repo, rev);
    }
    if (r)
        git_fail("failed", NULL, "cannot read revision '%s': %s", rev, why());
    if (git_object_peel(&peeled, o, GIT_OBJECT_COMMIT))
        git_fail("thing", NULL, "'%s' is a %s, not a commit", rev,
                 git_object_type2string(git_object_type(o)));
    return (git_commit *)peeled;
}

struct search {
    const char *base; /* the last part of the path that is not there */
    char hit[512];
    size_t seen;
};

static int look(const char *root, const git_tree_entry *e, void *arg)
{
    struct search *s = arg;
    if (!strcmp(git_tree_entry_name(e), s->base) && git_tree_entry_type(e) == GIT_OBJECT_BLOB) {
        snprintf(s->hit, sizeof s->hit, "%s%s", root, git_tree_entry_name(e));
        return -1;
    }
    return ++s->seen > MOST_ENTRIES ? -1 : 0;
}

/* One that has the same name, for the hint: a spec that was moved. */
__attribute__((noreturn)) static void not_there(git_tree *root, const char *path, const char *rev)
{
    const char *slash = strrchr(path, '/');
    struct search s = {.base = slash ? slash + 1 : path};
    char hint[700];
    git_tree_walk(root, GIT_TREEWALK_PRE, look, &s);
    snprintf(hint, sizeof hint, "there is one of that name: %s", s.hit);
    git_fail("absent", *s.hit ? hint : NULL, "there is no file '%s' at %s", path, rev);
}

static void check_mode(const char *path, const char *rev, git_filemode_t mode)
{
    const char *what =
        mode == GIT_FILEMODE_LINK     ? "a symbolic link"
        : mode == GIT_FILEMODE_COMMIT ? "a submodule"
        : mode == GIT_FILEMODE_TREE   ? "a directory"
        : mode != GIT_FILEMODE_BLOB && mode != GIT_FILEMODE_BLOB_EXECUTABLE && mode != 0100664
            ? "something else"
            : NULL;
    if (what)
        git_fail("spec",
                 mode == GIT_FILEMODE_TREE ? "name the spec file in it"
                                           : "the spec itself must stand there, as a file",
                 "'%s' at %s is %s, not a file", path, rev, what);
}

/* Step by step, so that each way to fail has its sentence. */
static git_oid walk(git_repository *repo, git_tree *root, const char *path, const char *rev)
{
    char part[PATH_MAX], sofar[PATH_MAX] = "";
    git_tree *tree = root;
    git_oid id = {0};
    if (strlen(path) >= sizeof part)
        git_fail("spec", NULL, "the path is too long");
    for (const char *p = path, *next; *p; p = next) {
        size_t n = strcspn(p, "/");
        next = p + n + (p[n] == '/');
        memcpy(part, p, n);
        part[n] = 0;
        memcpy(sofar, path, (size_t)(p - path) + n);
        sofar[(size_t)(p - path) + n] = 0;
        const git_tree_entry *e = git_tree_entry_byname(tree, part);
        if (!e)
            not_there(root, path, rev);
        git_filemode_t mode = git_tree_entry_filemode_raw(e);
        git_oid_cpy(&id, git_tree_entry_id(e));
        if (!*next) {
            check_mode(sofar, rev, mode);
        } else if (git_tree_entry_type(e) != GIT_OBJECT_TREE) {
            check_mode(sofar, rev,
                       mode == GIT_FILEMODE_BLOB || mode == GIT_FILEMODE_BLOB_EXECUTABLE
                           ? GIT_FILEMODE_BLOB
                           : mode);
            not_there(root, path, rev);
        } else if (git_tree_lookup(&tree, repo, &id)) {
            git_fail("failed", "git fsck tells more", "cannot read '%s' at %s: %s", sofar, rev,
                     why());
        }
    }
    return id;
}

/* "exotic": what only git itself can read (a split index), or what lies where a reader of this
 * repository may not look. */
static git_index *index_of(git_repository *repo, const char *file)
{
    git_index *index;
    if (file && *file ? git_index_open(&index, file) : git_repository_index(&index, repo))
        git_fail("exotic", NULL, "cannot read the index: %s", why());
    return index;
}

/* One that has the same name as what is not there, for the hint: it was moved. */
__attribute__((noreturn)) static void not_staged(git_index *index, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *hit = NULL;
    char hint[700] = "git add it first";
    for (size_t i = 0; i < git_index_entrycount(index) && !hit; i++) {
        const char *p = git_index_get_byindex(index, i)->path, *last = strrchr(p, '/');
        hit = strcmp(last ? last + 1 : p, base) ? NULL : p;
    }
    if (hit)
        snprintf(hint, sizeof hint, "there is one of that name: %s", hit);
    git_fail("absent", hint, "there is no file '%s' in the index", path);
}

static git_oid staged(git_repository *repo, const char *file, const char *path)
{
    git_index *index = index_of(repo, file);
    const git_index_entry *e = git_index_get_bypath(index, path, 0);
    if (!e && git_index_get_bypath(index, path, 2))
        git_fail("spec", "end the merge first", "'%s' has a merge conflict", path);
    if (!e)
        not_staged(index, path);
    check_mode(path, "the index", e->mode);
    return e->id;
}

static git_odb_object *blob(git_repository *repo, const git_oid *id, const struct asked *a,
                            const char *path)
{
    git_odb *odb;
    git_object_t type;
    git_odb_object *o;
    size_t len;
    int r = git_repository_odb(&odb, repo);
    if (!r)
        r = git_odb_read_header(&len, &type, odb, id);
    if (!r && type != GIT_OBJECT_BLOB)
        git_fail("failed", "git fsck tells more", "'%s' is not a file in the object database",
                 path);
    if (!r && len > a->limit)
        git_fail("spec", "--huge allows up to 64 MiB", "'%s' has %zu bytes; a spec may have %zu",
                 path, len, a->limit);
    if (!r)
        r = git_odb_read(&o, odb, id);
    if (r)
        git_fail("failed", "git fsck tells more", "cannot read '%s': %s", path, why());
    return o;
}

/* The path from the repository's top; "./x" starts where the caller stands. */
static char *from_top(git_repository *repo, const char *path)
{
    char *out = malloc(2 * PATH_MAX), here[PATH_MAX];
    const char *work = git_repository_workdir(repo), *prefix = "";
    char top[PATH_MAX + 2] = "";
    if (!out)
        abort();
    if (!strncmp(path, "./", 2) || !strncmp(path, "../", 3)) {
        if (!work || !getcwd(here, sizeof here))
            git_fail("spec", "name the file from the repository's top",
                     "'%s' starts where you stand, and that is not in a work tree", path);
        size_t n = strlen(work);
        snprintf(top, sizeof top, "%s/", here);
        if (strncmp(top, work, n))
            git_fail("spec", "name the file from the repository's top",
                     "'%s' starts where you stand, and that is not in a work tree", path);
        prefix = top + n;
    }
    snprintf(out, 2 * PATH_MAX, "%s%s", prefix, path);
    /* No empty part, no ".", and ".." takes one off. */
    char *to = out;
    bool more = true;
    for (const char *p = out; more && *p;) {
        size_t n = strcspn(p, "/");
        const char *next = p + n + 1;
        more = p[n] == '/';
        if (n == 2 && !memcmp(p, "..", 2)) {
            if (to == out)
                git_fail("spec", NULL, "'%s' leads out of the repository", path);
            for (to--; to > out && to[-1] != '/';)
                to--;
        } else if (n && !(n == 1 && *p == '.')) {
            memmove(to, p, n);
            to += n;
            *to++ = '/';
        }
        p = next;
    }
    if (to > out)
        to--;
    *to = 0;
    if (!*out)
        git_fail("spec", "name the spec file", "'%s' names no file", path);
    return out;
}

/* What is staged, as the tree that a commit would make of it; its objects are kept in memory. */
static git_tree *staged_tree(git_repository *repo, const char *file)
{
    git_odb_backend *memory;
    git_odb *odb;
    git_oid id;
    git_tree *tree;
    if (git_repository_odb(&odb, repo) || git_mempack_new(&memory) ||
        git_odb_add_backend(odb, memory, 1000) ||
        git_index_write_tree_to(&id, index_of(repo, file), repo) ||
        git_tree_lookup(&tree, repo, &id))
        git_fail("failed", "end a merge first, if there is one", "cannot read what is staged: %s",
                 why());
    return tree;
}

/* An id for each of the folders, which are told apart by "//": equal ids hold the same files. */
static void trees(git_tree *root, const char *list)
{
    char folder[PATH_MAX], *out = malloc(strlen(list) / 2 * (GIT_OID_HEXSZ + 1) + 1), *to = out;
    if (!out)
        abort();
    for (const char *p = list, *stop; (stop = strstr(p, "//")); p = stop + 2) {
        git_tree_entry *e = NULL;
        snprintf(folder, sizeof folder, "%.*s", (int)(stop - p), p);
        const git_oid *id = !*folder                                  ? git_tree_id(root)
                            : git_tree_entry_bypath(&e, root, folder) ? NULL
                                                                      : git_tree_entry_id(e);
        if (id)
            git_oid_tostr(to, GIT_OID_HEXSZ + 1, id);
        to += id ? GIT_OID_HEXSZ : 0;
        *to++ = '\n';
        git_tree_entry_free(e);
    }
    begin();
    record("trees", out, (size_t)(to - out));
    end();
}

static void trailers(git_commit *c, char *out)
{
    git_message_trailer_array list;
    if (git_message_trailers(&list, git_commit_message(c)))
        return;
    for (size_t i = 0; i < list.count; i++)
        if (!strcasecmp(list.trailers[i].key, "Berth-Allow") &&
            strlen(out) + strlen(list.trailers[i].value) + 2 < MOST_TRAILERS)
            strcat(strcat(out, list.trailers[i].value), ",");
    git_message_trailer_array_free(&list);
}

/* What the commits that are new since `since` let through: what one of them meant then says nothing
 * when the branch goes back to it. Where `since` is not known, or a commit in between cannot be
 * read, the tip's alone. */
static void allowed(git_repository *repo, git_commit *tip, const char *since)
{
    static char out[MOST_TRAILERS];
    git_revwalk *w = NULL;
    git_oid id, old;
    git_commit *c;
    int r = 0;
    if (!*since || git_oid_fromstr(&old, since) || git_revwalk_new(&w, repo) ||
        git_revwalk_hide(w, &old)) {
        trailers(tip, out);
    } else if (!git_revwalk_push(w, git_commit_id(tip))) {
        for (int n = 0; n < MOST_COMMITS && !(r = git_revwalk_next(&id, w)); n++)
            if (!git_commit_lookup(&c, repo, &id)) {
                trailers(c, out);
                git_commit_free(c);
            }
        if (r && r != GIT_ITEROVER) {
            *out = 0;
            trailers(tip, out);
        }
    }
    git_revwalk_free(w);
    text("allow", out);
}

/* Is `id` the tip, or with some `most` left to look at, among the commits that it is made of? */
static bool leads(git_repository *repo, const git_reference *ref, const git_oid *id, size_t *most)
{
    git_object *tip;
    git_revwalk *w = NULL;
    git_oid one;
    if (git_reference_peel(&tip, ref, GIT_OBJECT_COMMIT))
        return false;
    bool found = git_oid_equal(git_object_id(tip), id);
    if (!found && *most && !git_revwalk_new(&w, repo) && !git_revwalk_push(w, git_object_id(tip)))
        for (; !found && *most && !git_revwalk_next(&one, w); --*most)
            found = git_oid_equal(&one, id);
    git_revwalk_free(w);
    git_object_free(tip);
    return found;
}

/* A ref that leads to the commit, for who can only fetch by one: the one that was named, HEAD's, or
 * the first that does. A push that is not accepted yet has none. */
static void tell_way(const struct asked *a, git_repository *repo, const git_oid *id,
                     git_reference *named)
{
    git_strarray names = {0};
    git_reference *head = NULL, *ref;
    size_t none = 0, most = MOST_WALKED;
    const char *way = NULL;
    if (a->objects)
        return;
    git_repository_head(&head, repo);
    git_reference_list(&names, repo);
    for (int round = 0; !way && round < 2; round++) {
        size_t *left = round ? &most : &none;
        if (named && leads(repo, named, id, left))
            way = git_reference_name(named);
        else if (head && leads(repo, head, id, left))
            way = git_reference_name(head);
        for (size_t i = 0; !way && i < names.count && i < MOST_REFS; i++)
            if (!git_reference_lookup(&ref, repo, names.strings[i])) {
                way = leads(repo, ref, id, left) ? names.strings[i] : NULL;
                git_reference_free(ref);
            }
    }
    text("via", way);
}

static void tell_commit(const struct asked *a, git_repository *repo, git_commit *c,
                        git_reference *ref)
{
    char id[GIT_OID_HEXSZ + 1], number[32];
    const git_signature *by = git_commit_author(c);
    git_reference *direct = NULL;
    text("commit", git_oid_tostr(id, sizeof id, git_commit_id(c)));
    text("author", by ? by->name : "");
    text("email", by ? by->email : "");
    snprintf(number, sizeof number, "%lld", (long long)(by ? by->when.time : 0));
    text("time", number);
    text("subject", git_commit_summary(c));
    if (ref && !git_reference_resolve(&direct, ref))
        text("ref", git_reference_name(direct));
    tell_way(a, repo, git_commit_id(c), direct);
    text("repo", git_repository_path(repo));
    text("work", git_repository_workdir(repo));
}

/* What a file of settings outside of the repository says of hooks. */
static bool hooks_set_in(const char *file, git_buf *set)
{
    struct stat st;
    git_config *config = NULL;
    bool there = !stat(file, &st) && S_ISREG(st.st_mode) && st.st_size <= MOST_CONFIG_BYTES &&
                 !git_config_open_ondisk(&config, file) &&
                 !git_config_get_path(set, config, "core.hooksPath");
    git_config_free(config);
    return there;
}

/* The ref that a push to `name` moves: symbolic refs are followed, also to one that is not there
 * yet. */
static void ref_moved(git_repository *repo, const char *name, char out[MOST_REF])
{
    snprintf(out, MOST_REF, "%s", name);
    for (int i = 0; i < MOST_LINKS; i++) {
        git_reference *ref = NULL;
        int r = git_reference_lookup(&ref, repo, out);
        if (r && r != GIT_ENOTFOUND)
            git_fail("failed", "git fsck tells more", "cannot read the ref '%s': %s", out, why());
        bool more = !r && git_reference_type(ref) == GIT_REFERENCE_SYMBOLIC;
        if (more)
            snprintf(out, MOST_REF, "%s", git_reference_symbolic_target(ref));
        git_reference_free(ref);
        if (!more)
            return;
    }
    git_fail("failed", NULL, "the symbolic ref '%s' leads to too many others", name);
}

/* Where git looks for hooks: core.hooksPath, from where hooks run, or the folder in the
 * repository. */
static void about(const struct asked *a, git_repository *repo)
{
    const char *work = git_repository_workdir(repo), *common = git_repository_commondir(repo);
    char hooks[2 * PATH_MAX];
    git_config *config;
    git_buf set = {0};
    git_reference *head = NULL;
    char moved[MOST_REF] = "";
    if (a->ref)
        ref_moved(repo, a->ref, moved);
    bool own = git_repository_config_snapshot(&config, repo) ||
               git_config_get_path(&set, config, "core.hooksPath");
    for (size_t i = 0; own && i < a->n_configs; i++)
        own = !hooks_set_in(a->configs[i], &set);
    if (own)
        snprintf(hooks, sizeof hooks, "%shooks", common);
    else
        snprintf(hooks, sizeof hooks, "%s%s", *set.ptr == '/' ? "" : work ? work : common, set.ptr);
    begin();
    text("repo", git_repository_path(repo));
    text("work", work);
    text("common", common);
    text("hooks", hooks);
    text("set", own ? "" : set.ptr);
    text("path", ".");
    if (a->ref)
        text("moved", moved);
    if (!git_reference_lookup(&head, repo, "HEAD"))
        text("ref", git_reference_type(head) == GIT_REFERENCE_SYMBOLIC
                        ? git_reference_symbolic_target(head)
                        : "");
    end();
}

static void take_owner(struct asked *a, uid_t uid, bool leads)
{
    owned_trust_add(&a->owners, uid);
    if (leads)
        owned_trust_add(&a->lead, uid);
}

static bool flag(struct asked *a, const char *name, const char *value)
{
    if (!strcmp(name, "--git"))
        a->git = value;
    else if (!strcmp(name, "--rev"))
        a->rev = value;
    else if (!strcmp(name, "--index"))
        a->index = value;
    else if (!strcmp(name, "--about"))
        a->about = value;
    else if (!strcmp(name, "--ref"))
        a->ref = value;
    else if (!strcmp(name, "--config") && a->n_configs < MOST_CONFIGS)
        a->configs[a->n_configs++] = value;
    else if (!strcmp(name, "--path"))
        a->path = value;
    else if (!strcmp(name, "--objects"))
        a->objects = value;
    else if (!strcmp(name, "--trees"))
        a->trees = value;
    else if (!strcmp(name, "--since"))
        a->since = value;
    else if (!strcmp(name, "--limit"))
        a->limit = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--owner") || !strcmp(name, "--guest"))
        take_owner(a, (uid_t)strtoul(value, NULL, 10), !strcmp(name, "--owner"));
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct asked a = {0};
    for (int i = 1; i + 1 < argc; i += 2)
        if (!flag(&a, argv[i], argv[i + 1]))
            git_fail("failed", NULL, "berth-git-read has no flag '%s'", argv[i]);
    if (!a.about && ((!a.path && !a.trees) || (!a.rev && !a.index)))
        git_fail("failed", NULL, "berth-git-read is for berth to call");
    git_confine_limits();
    if (git_libgit2_init() < 0)
        git_fail("failed", NULL, "cannot start the git library: %s", why());
    /* Nobody's configuration but the repository's own; who may own it has been said. */
    for (int level = GIT_CONFIG_LEVEL_PROGRAMDATA; level <= GIT_CONFIG_LEVEL_GLOBAL; level++)
        git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, level, "");
    git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_SIZE, (size_t)32 << 20);
    git_libgit2_opts(GIT_OPT_SET_MWINDOW_MAPPED_LIMIT, (size_t)256 << 20);
    git_libgit2_opts(GIT_OPT_SET_CACHE_MAX_SIZE, (ssize_t)32 << 20);
    git_repository *repo = repository(&a);
    if (a.about)
        about(&a, repo);
    git_reference *ref = NULL;
    git_tree *tree = NULL;
    git_commit *c = a.index ? NULL : commit_of(repo, a.rev, &ref);
    if (c && git_commit_tree(&tree, c))
        git_fail("failed", "git fsck tells more", "cannot read the tree of '%s': %s", a.rev, why());
    if (a.trees)
        trees(c ? tree : staged_tree(repo, a.index), a.trees);
    char *path = from_top(repo, a.path);
    git_oid id = c ? walk(repo, tree, path, a.rev) : staged(repo, a.index, path);
    git_odb_object *file = blob(repo, &id, &a, path);
    begin();
    text("path", path);
    if (c)
        tell_commit(&a, repo, c, ref);
    if (c && a.since)
        allowed(repo, c, a.since);
    record("blob", git_odb_object_data(file), git_odb_object_size(file));
    end();
}
