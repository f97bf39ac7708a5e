/* A new file is made under a temporary name with O_EXCL, so its descriptor is never a file that
 * somebody else chose. Only such a file is given to another user. Existing files are replaced by
 * rename, never written or chowned. */
#include "cmd/owned_dir.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_LINKS = 40, MOST_TRIES = 16 };

bool owned_trusts(const struct owned_trust *t, uid_t uid)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->uids[i] == uid)
            return true;
    return false;
}

void owned_trust_add(struct owned_trust *t, uid_t uid)
{
    if (t->n < OWNED_MOST && !owned_trusts(t, uid))
        t->uids[t->n++] = uid;
}

int owned_lead(const struct owned_trust *t, uid_t uid, uid_t *lead)
{
    if (owned_trusts(t, uid))
        return 0;
    if (*lead == OWNED_NOBODY)
        *lead = uid;
    return *lead == uid ? 0 : -EXDEV;
}

/* Closes *fd unless it is negative, and puts another one there. */
static void replace_fd(int *fd, int with)
{
    if (*fd >= 0)
        close(*fd);
    *fd = with;
}

/* The link `fd` in `dir`: its text goes before `rest`, and *dir to where that starts. */
static int follow_link(int *dir, int fd, const char *rest, const struct owned_trust *t, uid_t *lead,
                       char out[2 * PATH_MAX])
{
    char text[PATH_MAX], whole[3 * PATH_MAX];
    struct stat in, link;
    if (fstat(*dir, &in) || fstat(fd, &link))
        return -errno;
    int r = owned_lead(t, in.st_uid, lead);
    r = r ? r : owned_lead(t, link.st_uid, lead);
    if (r)
        return r;
    ssize_t n = readlinkat(fd, "", text, sizeof text - 1);
    if (n <= 0)
        return n ? -errno : -ENOENT;
    text[n] = 0;
    if ((size_t)snprintf(whole, sizeof whole, "%s/%s", text, rest) >= 2 * PATH_MAX)
        return -ENAMETOOLONG;
    strcpy(out, whole);
    if (*text == '/')
        replace_fd(dir, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    return *dir < 0 ? -errno : 0;
}

int owned_walk(int base, const char *path, const struct owned_trust *t, uid_t *lead, int *out)
{
    char rest[2 * PATH_MAX], name[NAME_MAX + 1];
    struct stat st;
    int links = 0, r = 0;
    if (!*path)
        return -ENOENT;
    if ((size_t)snprintf(rest, sizeof rest, "%s", path) >= sizeof rest)
        return -ENAMETOOLONG;
    int dir = *path == '/' ? open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)
                           : openat(base, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    for (const char *p = rest + strspn(rest, "/"); !r && *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n > NAME_MAX) {
            r = -ENAMETOOLONG;
            break;
        }
        memcpy(name, p, n);
        name[n] = 0;
        p += n;
        int next = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0 || fstat(next, &st)) {
            r = -errno;
        } else if (!S_ISLNK(st.st_mode)) {
            replace_fd(&dir, next);
            next = -1;
        } else if (++links > MOST_LINKS) {
            r = -ELOOP;
        } else {
            r = follow_link(&dir, next, p, t, lead, rest);
            p = rest;
        }
        replace_fd(&next, -1);
    }
    if (!r && *lead != OWNED_NOBODY)
        r = fstat(dir, &st) ? -errno : st.st_uid == *lead ? 0 : -EXDEV;
    if (r) {
        replace_fd(&dir, -1);
        return r;
    }
    *out = dir;
    return 0;
}

/* From an open descriptor on: the kernel resolves one name, and only below `dir`. Kernels before
 * 5.6 lack openat2(2): there each part of the path is opened without links, one by one. */
static int open_below(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .mode = mode,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
                                      RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    int fd = -1;
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        /* A rename somewhere on the host meanwhile. */
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd >= 0 || errno != ENOSYS)
        return fd >= 0 ? fd : -errno;
    char name[NAME_MAX + 1];
    int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), r = at < 0         ? -errno
                                                                     : *path == '/' ? -EXDEV
                                                                                    : 0;
    while (!r) {
        size_t n = strcspn(path, "/");
        const char *next = path + n + strspn(path + n, "/");
        if (n > NAME_MAX)
            r = -ENAMETOOLONG;
        snprintf(name, sizeof name, "%.*s", (int)(n < NAME_MAX ? n : NAME_MAX), path);
        if (!strcmp(name, ".."))
            r = -EXDEV;
        if (r)
            break;
        int step = *next ? O_PATH | O_DIRECTORY : flags;
        fd = openat(at, name, step | O_NOFOLLOW | O_CLOEXEC, mode);
        r = fd < 0 ? -errno : 0;
        replace_fd(&at, fd);
        path = next;
        if (!*path)
            break;
    }
    if (r)
        replace_fd(&at, -1);
    return r ? r : at;
}

static int take_dir(int fd, struct owned_dir *out)
{
    struct stat st;
    if (fd < 0)
        return fd;
    if (fstat(fd, &st)) {
        int r = -errno;
        close(fd);
        return r;
    }
    *out = (struct owned_dir){fd, st.st_uid, st.st_gid};
    return 0;
}

int owned_open(const char *path, const struct owned_trust *t, struct owned_dir *out)
{
    uid_t lead = OWNED_NOBODY;
    int at, r = owned_walk(AT_FDCWD, path, t, &lead, &at);
    if (r)
        return r;
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd;
    close(at);
    return take_dir(r, out);
}

int owned_below(const struct owned_dir *top, const char *path, struct owned_dir *out)
{
    struct owned_dir d;
    int r = take_dir(open_below(top->fd, path, O_RDONLY | O_DIRECTORY, 0), &d);
    if (r)
        return r;
    if (d.uid != top->uid && d.uid && d.uid != geteuid()) {
        close(d.fd);
        return -EXDEV;
    }
    *out = d;
    return 0;
}

void owned_close(struct owned_dir *d)
{
    replace_fd(&d->fd, -1);
}

int owned_mkdir(const struct owned_dir *d, const char *name)
{
    return mkdirat(d->fd, name, 0755) && errno != EEXIST ? -errno : 0;
}

int owned_stat(const struct owned_dir *d, const char *name, struct stat *st)
{
    return fstatat(d->fd, name, st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

bool owned_there(const struct owned_dir *d, const char *name)
{
    struct stat st;
    return !owned_stat(d, name, &st);
}

ssize_t owned_read(const struct owned_dir *d, const char *name, char *out, size_t room)
{
    struct stat st;
    int fd = open_below(d->fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fd;
    ssize_t n = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
    for (ssize_t got = 1; n >= 0 && got && (size_t)n < room;) {
        got = read(fd, out + n, room - (size_t)n);
        if (got < 0 && errno != EINTR)
            n = -errno;
        else if (got > 0)
            n += got;
    }
    close(fd);
    return n;
}

ssize_t owned_readlink(const struct owned_dir *d, const char *name, char *out, size_t room)
{
    ssize_t n = readlinkat(d->fd, name, out, room);
    return n < 0 ? -errno : n;
}

/* A file of our own under a temporary name. Its descriptor, or -errno. */
static int make_temp(const struct owned_dir *d, const char *name, char temp[NAME_MAX + 1])
{
    int fd = -EEXIST;
    if ((size_t)snprintf(temp, NAME_MAX + 1, ".%s.berth-new", name) > NAME_MAX)
        return -ENAMETOOLONG;
    for (int tries = 0; fd == -EEXIST && tries < MOST_TRIES; tries++) {
        if (unlinkat(d->fd, temp, 0) && errno != ENOENT)
            return -errno;
        fd = open_below(d->fd, temp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    }
    return fd;
}

static int take_name(const struct owned_dir *d, int fd, const char *temp, const char *name, int r)
{
    if (!r && fsync(fd))
        r = -errno;
    close(fd);
    if (!r && renameat(d->fd, temp, d->fd, name))
        r = -errno;
    if (r)
        unlinkat(d->fd, temp, 0);
    else if (fsync(d->fd) && errno != EINVAL)
        r = -errno;
    return r;
}

int owned_write(const struct owned_dir *d, const char *name, const char *bytes, size_t n,
                mode_t mode)
{
    char temp[NAME_MAX + 1];
    int fd = make_temp(d, name, temp), r = 0;
    if (fd < 0)
        return fd;
    for (size_t done = 0; !r && done < n;) {
        ssize_t put = write(fd, bytes + done, n - done);
        if (put < 0 && errno != EINTR)
            r = -errno;
        else if (put > 0)
            done += (size_t)put;
    }
    if (!r && fchmod(fd, mode))
        r = -errno;
    return take_name(d, fd, temp, name, r);
}

int owned_symlink(const struct owned_dir *d, const char *name, const char *target)
{
    return symlinkat(target, d->fd, name) ? -errno : 0;
}

int owned_unlink(const struct owned_dir *d, const char *name)
{
    return unlinkat(d->fd, name, 0) ? -errno : 0;
}

int owned_rmdir(const struct owned_dir *d, const char *name)
{
    return unlinkat(d->fd, name, AT_REMOVEDIR) ? -errno : 0;
}

int owned_rename(const struct owned_dir *from, const char *name, const struct owned_dir *to,
                 const char *new_name)
{
    return renameat(from->fd, name, to->fd, new_name) ? -errno : 0;
}

int owned_give(const struct owned_dir *d, const char *name, mode_t mode)
{
    struct stat st;
    char temp[NAME_MAX + 1];
    int r = owned_stat(d, name, &st);
    if (!r && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == d->uid)
        return 0;
    if (r && r != -ENOENT)
        return r;
    int fd = make_temp(d, name, temp);
    if (fd < 0)
        return fd;
    r = fstat(fd, &st) ? -errno : 0;
    if (!r && (!S_ISREG(st.st_mode) || st.st_uid != geteuid()))
        r = -EPERM;
    if (!r && (fchmod(fd, mode) || fchown(fd, d->uid, d->gid)))
        r = -errno;
    return take_name(d, fd, temp, name, r);
}
