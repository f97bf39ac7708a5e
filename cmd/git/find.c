/* Only descriptors are held and looked at here; the library gets a path, and Landlock limits what
 * that path can reach to these. */
#include "cmd/git/find.h"
#include "cmd/git/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_TEXT = 65536 };

static const char no_repository_hint[] = "name one with --git DIR (hooks: --repo DIR); a file "
                                         "whose name has a colon in it is written ./NAME";

static void path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
}

static void stat_of(int fd, struct stat *st)
{
    if (fstat(fd, st))
        git_fail("failed", NULL, "cannot look at the repository: %s", strerror(errno));
}

static void check_owner(const struct git_find *f, int fd, uid_t uid)
{
    char hint[200], path[PATH_MAX];
    if (owned_trusts(f->owners, uid))
        return;
    path_of(fd, path);
    snprintf(hint, sizeof hint,
             "if user %u may say what this host is to be: --git-owner %u (or BERTH_GIT_OWNER)", uid,
             uid);
    git_fail("refused", hint, "the repository '%s' belongs to user %u, who is neither you nor root",
             path, uid);
}

/* From here on with no more rights than the owner has. */
static void become(uid_t uid, gid_t gid)
{
    int r = geteuid() || !uid ? 0 : git_confine_user(uid, gid);
    if (r)
        git_fail("failed", NULL, "cannot become user %u: %s", uid, strerror(-r));
}

__attribute__((noreturn)) static void refuse_lead(const char *what, uid_t lead)
{
    char hint[200];
    snprintf(
        hint, sizeof hint,
        "a link or a `.git` file of user %u is on the way; name the repository itself: --git DIR",
        lead);
    git_fail("refused", hint, "'%s' leads to what belongs to another user than user %u", what,
             lead);
}

static bool has(int dir, const char *name, mode_t type)
{
    struct stat st;
    return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) &&
           (S_ISLNK(st.st_mode) || (st.st_mode & S_IFMT) == type);
}

static bool is_git_dir(int dir)
{
    return has(dir, "HEAD", S_IFREG) &&
           (has(dir, "commondir", S_IFREG) ||
            (has(dir, "objects", S_IFDIR) && has(dir, "refs", S_IFDIR)));
}

/* A small file that is open as O_PATH. false: it cannot be read. */
static bool read_held(int fd, char *out, size_t room)
{
    char link[64];
    struct stat st;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return false;
    int file = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = file < 0 ? -1 : read(file, out, room - 1);
    if (file >= 0)
        close(file);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The directory that the file `.git` in `dir` names; -1: it names none. The file decides, so its
 * owner leads. */
static int from_gitfile(const struct git_find *f, int dir, int file, uid_t *lead)
{
    static const char word[] = "gitdir: ";
    char text[PATH_MAX + 16], path[PATH_MAX];
    struct stat st, in;
    int target;
    stat_of(file, &st);
    stat_of(dir, &in);
    path_of(file, path);
    check_owner(f, file, st.st_uid);
    become(st.st_uid, st.st_gid);
    if (owned_lead(f->lead, in.st_uid, lead) || owned_lead(f->lead, st.st_uid, lead))
        refuse_lead(path, *lead);
    if (!read_held(file, text, sizeof text) || strncmp(text, word, sizeof word - 1))
        return -1;
    text[strcspn(text, "\r\n")] = 0;
    int r = owned_walk(dir, text + sizeof word - 1, f->lead, lead, &target);
    if (r == -EXDEV)
        refuse_lead(path, *lead);
    if (r)
        git_fail("spec", NULL, "cannot open the repository that '%s' names: %s", path,
                 strerror(-r));
    return target;
}

/* The repository's directory in `dir` or `dir` itself; -1: none. */
static int at_level(const struct git_find *f, int dir, uid_t *lead)
{
    struct stat st;
    char path[PATH_MAX];
    int dot, r = owned_walk(dir, ".git", f->lead, lead, &dot);
    if (r == -EXDEV) {
        path_of(dir, path);
        strncat(path, "/.git", sizeof path - strlen(path) - 1);
        refuse_lead(path, *lead);
    }
    if (!r) {
        stat_of(dot, &st);
        int target = S_ISDIR(st.st_mode) ? dot : from_gitfile(f, dir, dot, lead);
        if (target >= 0 && is_git_dir(target))
            return target;
        close(target >= 0 ? target : dot);
    }
    return is_git_dir(dir) ? dir : -1;
}

static int start(const struct git_find *f, uid_t *lead)
{
    int at = -1, r = owned_walk(AT_FDCWD, f->git ? f->git : ".", f->lead, lead, &at);
    if (r == -EXDEV)
        refuse_lead(f->git, *lead);
    if (r == -ENOENT || r == -ENOTDIR)
        git_fail("spec", NULL, "'%s' is no git repository", f->git ? f->git : ".");
    if (r)
        git_fail("failed", NULL, "cannot look at the repository '%s': %s", f->git ? f->git : ".",
                 strerror(-r));
    return at;
}

/* Upwards from where we start. With --git, not beyond its file system. */
static int discover(const struct git_find *f, uid_t *lead)
{
    struct stat here, up;
    char path[PATH_MAX];
    int at = start(f, lead);
    stat_of(at, &here);
    path_of(at, path);
    if (!S_ISDIR(here.st_mode)) {
        char *slash = strrchr(path, '/');
        int dir = -1, git = -1;
        if (slash)
            slash[slash == path] = 0;
        if (!owned_walk(AT_FDCWD, path, f->lead, lead, &dir))
            git = from_gitfile(f, dir, at, lead);
        if (git < 0 || !is_git_dir(git))
            git_fail("spec", NULL, "'%s' is no git repository", f->git);
        return git;
    }
    for (;;) {
        int git = at_level(f, at, lead), above;
        if (git >= 0)
            return git;
        above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (above < 0 || fstat(above, &up) ||
            (up.st_dev == here.st_dev && up.st_ino == here.st_ino) ||
            (f->git && up.st_dev != here.st_dev))
            git_fail("spec", f->git ? NULL : no_repository_hint,
                     f->git ? "'%s' is no git repository"
                            : "there is no git repository in '%s' or above it",
                     f->git ? f->git : path);
        close(at);
        at = above;
        here = up;
    }
}

static void add(struct git_found *g, int fd)
{
    if (g->n == FOUND_DIRS)
        git_fail("failed", NULL, "the repository needs too many folders");
    g->dirs[g->n++] = fd;
}

void git_found_add(struct git_found *g, const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd >= 0)
        add(g, fd);
}

/* The folders that `objects` borrows from, and those that they borrow from themselves, as deep as
 * git goes. They are read with the rights of the repository's owner, so it is enough that a user
 * who may own a repository owns them. */
static void borrowed(const struct git_find *f, int objects, int depth, struct git_found *out)
{
    char *text = malloc(MOST_TEXT), *rest = text, *line;
    struct owned_dir at = {.fd = objects};
    struct stat st, other;
    ssize_t n =
        text && depth < FOUND_DEPTH ? owned_read(&at, "info/alternates", text, MOST_TEXT - 1) : -1;
    if (text)
        text[n > 0 ? n : 0] = 0;
    while (n > 0 && (line = strsep(&rest, "\n"))) {
        line[strcspn(line, "\r")] = 0;
        int fd =
            *line && *line != '#' ? openat(objects, line, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        stat_of(fd, &st);
        bool seen = false;
        for (size_t i = 0; !seen && i < out->n; i++)
            seen = !fstat(out->dirs[i], &other) && other.st_dev == st.st_dev &&
                   other.st_ino == st.st_ino;
        if (seen) {
            close(fd);
            continue;
        }
        check_owner(f, fd, st.st_uid);
        if (out->n >= FOUND_BORROWED)
            git_fail("failed", "git repack -ad makes it whole",
                     "the repository borrows objects from too many folders");
        add(out, fd);
        borrowed(f, fd, depth + 1, out);
    }
    free(text);
}

/* The folder that linked work trees share; `git` itself if there is none. */
static int common_of(const struct git_find *f, int git, const struct stat *st, const char *path)
{
    char line[PATH_MAX];
    struct stat common;
    struct owned_dir at = {.fd = git};
    uid_t lead = OWNED_NOBODY;
    int fd = -1;
    ssize_t n = owned_read(&at, "commondir", line, sizeof line - 1);
    if (n <= 0)
        return git;
    line[n] = 0;
    line[strcspn(line, "\r\n")] = 0;
    int r = owned_lead(f->lead, st->st_uid, &lead);
    r = r ? r : owned_walk(git, line, f->lead, &lead, &fd);
    if (r == -EXDEV)
        refuse_lead(path, lead);
    if (r)
        git_fail("failed", NULL, "cannot open the repository that '%s/commondir' names: %s", path,
                 strerror(-r));
    stat_of(fd, &common);
    check_owner(f, fd, common.st_uid);
    become(common.st_uid, common.st_gid);
    return fd;
}

void git_find(const struct git_find *f, struct git_found *out)
{
    uid_t lead = OWNED_NOBODY;
    struct stat st;
    *out = (struct git_found){.n = 0};
    int git = discover(f, &lead);
    stat_of(git, &st);
    check_owner(f, git, st.st_uid);
    path_of(git, out->path);
    become(st.st_uid, st.st_gid);
    add(out, git);
    int common = common_of(f, git, &st, out->path), objects;
    if (common != git)
        add(out, common);
    out->uid = st.st_uid;
    objects = openat(common, "objects", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (objects >= 0)
        borrowed(f, objects, 0, out);
    if (objects >= 0)
        close(objects);
}
