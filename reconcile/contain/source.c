/* Most paths have no symbolic link: one openat2(2) opens them, and needs no trust, since what
 * others put there instead is their own. Otherwise each component is opened by itself. */
#include "reconcile/contain/source.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINKS_MOST = 40 };

/* Who could put another entry in the place of this one, or of a directory above it. */
enum trust { ROOT_ALONE, OTHER_USERS, CONTAINERS };

struct walk {
    struct source_writable *writable;
    int at; /* O_PATH of a directory, or of what the path names */
    enum trust trust;
    unsigned links;
    char rest[2 * PATH_MAX]; /* still to be walked */
    char done[PATH_MAX];     /* for sentences: what has been walked */
    char *why;
    size_t room;
};

static int open_without_links(const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

static bool is_writable(const struct source_writable *w, const struct stat *st)
{
    for (size_t i = 0; i < w->n_places; i++)
        if (w->place[i].device == st->st_dev && w->place[i].inode == st->st_ino)
            return true;
    return false;
}

/* Only root can replace what is in the directory. In one with the sticky bit that holds for what
 * belongs to root. */
static bool is_closed(const struct stat *directory, const struct stat *entry)
{
    if (directory->st_uid)
        return false;
    if (!(directory->st_mode & (S_IWGRP | S_IWOTH)))
        return true;
    bool own = !entry->st_uid && (!S_ISLNK(entry->st_mode) || entry->st_nlink == 1);
    return directory->st_mode & S_ISVTX && own;
}

static void add_done(struct walk *w, const char *name)
{
    size_t n = strlen(w->done);
    if (!strcmp(name, "..")) {
        char *slash = strrchr(w->done, '/');
        if (slash)
            *slash = 0;
    } else {
        snprintf(w->done + n, sizeof w->done - n, "/%s", name);
    }
}

/* From now on at the root directory. */
static int begin_walk(struct walk *w)
{
    struct stat st;
    if (w->at >= 0)
        close(w->at);
    w->at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w->at < 0 || fstat(w->at, &st))
        return -errno;
    *w->done = 0;
    w->trust = is_writable(w->writable, &st) ? CONTAINERS : ROOT_ALONE;
    return 0;
}

/* O_DIRECTORY first: without it the kernel would not mount what autofs(5) has there. */
static int open_entry(int directory, const char *name)
{
    int fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOTDIR)
        fd = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int refuse_link(struct walk *w, const struct stat *link)
{
    char whose[80] = "lies in a directory that other users can write";
    if (w->trust == CONTAINERS)
        snprintf(whose, sizeof whose, "lies in a directory that a container can write");
    else if (link->st_uid)
        snprintf(whose, sizeof whose, "belongs to user %u", link->st_uid);
    snprintf(w->why, w->room, "leads through the symbolic link '%.300s', which %s", w->done, whose);
    return -EPERM;
}

/* The link's own path comes before what is left of the path. A relative one goes on from the
 * link's directory, where the walk still is. */
static int follow_link(struct walk *w, int link, const struct stat *st)
{
    char target[PATH_MAX], left[sizeof w->rest];
    if (w->trust != ROOT_ALONE || st->st_uid)
        return refuse_link(w, st);
    ssize_t n = readlinkat(link, "", target, sizeof target - 1);
    if (n < 0)
        return -errno;
    target[n] = 0;
    if (++w->links > LINKS_MOST)
        return -ELOOP;
    int size = snprintf(left, sizeof left, "%s/%s", target, w->rest);
    if (size >= (int)sizeof left)
        return -ENAMETOOLONG;
    memcpy(w->rest, left, (size_t)size + 1);
    char *slash = strrchr(w->done, '/');
    if (slash)
        *slash = 0;
    return *target == '/' ? begin_walk(w) : 0;
}

static int enter_entry(struct walk *w, const char *name)
{
    struct stat in, st;
    if (!strcmp(name, "..") && w->trust != ROOT_ALONE)
        return -EXDEV;
    int fd = open_entry(w->at, name);
    if (fd < 0)
        return fd;
    if (fstat(w->at, &in) || fstat(fd, &st)) {
        int code = errno;
        close(fd);
        return -code;
    }
    add_done(w, name);
    if (w->trust == ROOT_ALONE && !is_closed(&in, &st))
        w->trust = OTHER_USERS;
    if (S_ISLNK(st.st_mode)) {
        int r = follow_link(w, fd, &st);
        close(fd);
        return r;
    }
    if (is_writable(w->writable, &st))
        w->trust = CONTAINERS;
    close(w->at);
    w->at = fd;
    return 0;
}

/* Takes the first component off what is left. false: there is none. */
static bool next_name(struct walk *w, char name[NAME_MAX + 1])
{
    char *p = w->rest + strspn(w->rest, "/");
    size_t n = strcspn(p, "/");
    if (!n || n > NAME_MAX)
        return false;
    memcpy(name, p, n);
    name[n] = 0;
    memmove(w->rest, p + n, strlen(p + n) + 1);
    return true;
}

static int walk_path(const char *path, struct source_writable *writable, char *why, size_t room)
{
    struct walk w = {.writable = writable, .at = -1, .why = why, .room = room};
    char name[NAME_MAX + 1];
    if (snprintf(w.rest, PATH_MAX, "%s", path) >= PATH_MAX)
        return -ENAMETOOLONG;
    int r = begin_walk(&w);
    while (!r && next_name(&w, name))
        if (strcmp(name, ".") != 0)
            r = enter_entry(&w, name);
    if (!r && w.rest[strspn(w.rest, "/")])
        r = -ENAMETOOLONG;
    if (r && w.at >= 0)
        close(w.at);
    return r ? r : w.at;
}

/* What is below a directory that is known already needs no place of its own: a link there is
 * refused in any case. */
static void find_places(struct source_writable *w)
{
    char why[16];
    struct stat st;
    w->known = true;
    for (size_t i = 0; i < w->n; i++) {
        int fd = open_without_links(w->path[i]);
        if (fd == -ELOOP)
            fd = walk_path(w->path[i], w, why, sizeof why);
        if (fd < 0)
            continue;
        if (!fstat(fd, &st))
            w->place[w->n_places++] = (struct source_place){st.st_dev, st.st_ino};
        close(fd);
    }
}

int source_open(const char *path, struct source_writable *writable, char *why, size_t room)
{
    int fd = *path == '/' ? open_without_links(path) : -EINVAL;
    /* EPERM, ENOSYS: a filter or a kernel without openat2(2). */
    if (fd >= 0 || (fd != -ELOOP && fd != -EPERM && fd != -ENOSYS))
        return fd;
    if (!writable->known)
        find_places(writable);
    return walk_path(path, writable, why, room);
}
