/* A tree as it is on disk. No path is followed: each directory is opened in the one above,
 * through no link and onto no mount. */
#include "cmd/archive/archive.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

struct first_name { /* of an inode that has several */
    dev_t dev;
    ino_t ino;
    char *path;
};
struct walk {
    const struct tree *t;
    struct item item;
    void *links; /* tsearch(3) of struct first_name */
};

/* How often openat2(2) may say EAGAIN in all walks of this program, 10 ms apart: a rename beside it
 * is over by then. What lasts longer is a lease (fcntl(2), F_SETLEASE). The container may stand
 * still meanwhile, so that its holder cannot give it up. */
enum { WAITS_MOST = 200 };
static unsigned waits;

static int open_in(int dir, const char *name, int flags)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_BENEATH};
    for (;;) {
        int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
            return fd;
        if (errno == EINTR)
            continue;
        if (waits == WAITS_MOST) {
            errno = EAGAIN;
            return -1;
        }
        waits++;
        nanosleep(&pause, NULL);
    }
}

static void cannot_open(const char *path)
{
    if (errno == EAGAIN)
        fail(ARCHIVE_TREE,
             "a process has a lease on '%s' (fcntl(2), F_SETLEASE) and does not give it up; stop "
             "it first",
             shown(path + sizeof ARCHIVE_ROOT - 1));
    if (errno == EXDEV)
        fail(ARCHIVE_TREE, "something is mounted at '%s', and a backup reaches through no mount",
             shown(path + sizeof ARCHIVE_ROOT - 1));
    fail(ARCHIVE_TREE, "cannot read '%s': %s", shown(path + sizeof ARCHIVE_ROOT - 1),
         strerror(errno));
}

static int by_inode(const void *a, const void *b)
{
    const struct first_name *x = a, *y = b;
    return x->dev != y->dev   ? (x->dev < y->dev ? -1 : 1)
           : x->ino != y->ino ? (x->ino < y->ino ? -1 : 1)
                              : 0;
}

/* The name under which this inode was seen first; NULL: this is it. */
static const char *seen(struct walk *w, const struct stat *st)
{
    struct first_name *n = grow(NULL, sizeof *n), **found;
    *n = (struct first_name){st->st_dev, st->st_ino, NULL};
    found = tsearch(n, &w->links, by_inode);
    if (!found)
        fail(ARCHIVE_IO, "out of memory");
    if (*found == n) {
        n->path = strcpy(grow(NULL, strlen(w->item.path) + 1), w->item.path);
        return NULL;
    }
    free(n);
    return (*found)->path;
}

/* By a path below a directory that is held open: l*xattr(2) follows no link at its end. */
static void read_xattrs(struct item *i, int dir, const char *name)
{
    static char names[65536], value[65536];
    char path[NAME_MAX + 64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
    ssize_t n = llistxattr(path, names, sizeof names);
    if (n < 0 && errno != EOPNOTSUPP)
        fail(ARCHIVE_TREE, "cannot read the attributes of '%s': %s", shown(i->path),
             strerror(errno));
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        ssize_t size = lgetxattr(path, p, value, sizeof value);
        if (size < 0)
            fail(ARCHIVE_TREE, "cannot read attribute '%s' of '%s': %s", shown(p), shown(i->path),
                 strerror(errno));
        xattrs_add(&i->xattrs, p, value, (size_t)size);
    }
    xattrs_sort(&i->xattrs);
}

static void describe(struct item *i, const struct stat *st)
{
    i->mode = st->st_mode;
    i->uid = st->st_uid;
    i->gid = st->st_gid;
    i->sec = st->st_mtim.tv_sec;
    i->nsec = st->st_mtim.tv_nsec;
    i->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    i->rdev = st->st_rdev;
    i->hard = false;
    *i->target = *i->digest = 0;
    i->name = strrchr(i->path, '/');
    i->name = i->name ? i->name + 1 : i->path;
}

static void one(struct walk *w, int dir, const char *name);

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Everything in the directory; `fd` is used up. */
static void inside(struct walk *w, int fd, unsigned depth)
{
    char **names = NULL;
    size_t n = 0, room = 0, len = strlen(w->item.path);
    DIR *d = fdopendir(fd);
    if (!d || depth > ARCHIVE_DEPTH)
        fail(ARCHIVE_TREE, "cannot read '%s': %s", shown(w->item.path),
             d ? "too many directories in one another" : strerror(errno));
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (n == room) {
            room = room ? 2 * room : 32;
            names = grow(names, room * sizeof *names);
        }
        names[n++] = strcpy(grow(NULL, strlen(e->d_name) + 1), e->d_name);
    }
    if (errno)
        fail(ARCHIVE_TREE, "cannot read '%s': %s", shown(w->item.path), strerror(errno));
    if (n > 1)
        qsort(names, n, sizeof *names, compare);
    for (size_t i = 0; i < n; i++) {
        if (len + 1 + strlen(names[i]) >= ARCHIVE_PATH)
            fail(ARCHIVE_TREE, "a path in '%s' is too long", shown(w->item.path));
        w->item.path[len] = '/';
        strcpy(w->item.path + len + 1, names[i]);
        one(w, fd, names[i]);
        w->item.path[len] = 0;
        free(names[i]);
    }
    free(names);
    closedir(d);
}

static unsigned depth_of(const char *path)
{
    unsigned n = 0;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static void one(struct walk *w, int dir, const char *name)
{
    struct item *i = &w->item;
    struct stat st, opened;
    int fd = -1;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
        cannot_open(i->path);
    if (S_ISSOCK(st.st_mode)) /* it is nothing without the process that listens */
        return;
    int how = S_ISREG(st.st_mode)   ? O_RDONLY | O_NONBLOCK
              : S_ISDIR(st.st_mode) ? O_RDONLY | O_DIRECTORY
                                    : -1;
    if (how >= 0) {
        fd = open_in(dir, name, how);
        if (fd < 0 || fstat(fd, &opened))
            cannot_open(i->path);
        if (opened.st_ino != st.st_ino || opened.st_dev != st.st_dev)
            fail(ARCHIVE_TREE, "'%s' changed while it was read", shown(i->path));
    }
    describe(i, &st);
    const char *first = st.st_nlink > 1 && !S_ISDIR(st.st_mode) ? seen(w, &st) : NULL;
    xattrs_clear(&i->xattrs);
    if (first) {
        i->hard = true;
        strcpy(i->target, first);
    } else {
        read_xattrs(i, dir, name);
        if (S_ISLNK(st.st_mode)) {
            ssize_t n = readlinkat(dir, name, i->target, sizeof i->target - 1);
            if (n < 0)
                cannot_open(i->path);
            i->target[n] = 0;
        }
    }
    w->t->item(w->t->arg, i, S_ISREG(st.st_mode) && !first ? fd : -1);
    if (S_ISDIR(st.st_mode))
        inside(w, fd, depth_of(i->path));
    else if (fd >= 0)
        close(fd);
}

static void forget(void *p)
{
    struct first_name *n = p;
    free(n->path);
    free(n);
}

void tree_walk(const struct tree *t, int dir)
{
    struct walk w = {.t = t};
    strcpy(w.item.path, ARCHIVE_ROOT);
    one(&w, dir, ".");
    tdestroy(w.links, forget);
    xattrs_clear(&w.item.xattrs);
    free(w.item.xattrs.list);
}

void tree_data(struct item *i, int fd, unsigned format,
               void (*each)(void *arg, uint64_t offset, const void *bytes, size_t n), void *arg)
{
    static char buffer[1 << 18];
    static struct content content;
    uint64_t at = 0;
    content_init(&content, format, i->size);
    while (at < i->size) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        if (data >= 0)
            at = (uint64_t)data;
        off_t hole = at < i->size ? lseek(fd, (off_t)at, SEEK_HOLE) : -1;
        uint64_t to = hole < 0 || (uint64_t)hole > i->size ? i->size : (uint64_t)hole;
        while (at < to) {
            size_t want = to - at < sizeof buffer ? (size_t)(to - at) : sizeof buffer;
            ssize_t n = pread(fd, buffer, want, (off_t)at);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                fail(ARCHIVE_TREE, "cannot read '%s': %s", shown(i->path), strerror(errno));
            if (!n)
                fail(ARCHIVE_TREE, "'%s' became shorter while it was read", shown(i->path));
            content_put(&content, at, buffer, (size_t)n);
            if (each)
                each(arg, at, buffer, (size_t)n);
            at += (uint64_t)n;
        }
    }
    content_done(&content, i->digest);
}
