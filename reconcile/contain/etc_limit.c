/* A container's /etc is a tmpfs with limits. No other process of the host sees the mount, so it
 * ends with the container, and nothing has to be unmounted. berth writes `dir` before a start;
 * every start, also a reboot from inside, begins with a copy of that. */
#include "reconcile/contain/contain.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(const char *verb, const char *object)
{
    int code = errno;
    dprintf(2, "berth: cannot %s '%s': %s\n", verb, object, strerror(code));
    return -code;
}

static int copy_bytes(int from, int to)
{
    char b[16384];
    for (ssize_t n; (n = read(from, b, sizeof b)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || write(to, b, (size_t)n) != n)
            return -1;
    }
    return 0;
}

/* Close both, where they are open. errno stays. */
static void close_both(int in, int out)
{
    int code = errno;
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    errno = code;
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
    int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = out >= 0 && !copy_bytes(in, out) && !fchown(out, st->st_uid, st->st_gid) &&
                !fchmod(out, st->st_mode & 07777);
    close_both(in, out);
    return good ? 0 : -1;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(from, name, target, sizeof target - 1);
    if (n < 0)
        return -1;
    target[n] = 0;
    if (symlinkat(target, to, name))
        return -1;
    return fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW);
}

static int copy_entries(int from, int to, unsigned depth);

static int copy_directory(int from, int to, const char *name, const struct stat *st, unsigned depth)
{
    int in = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), out = -1;
    if (in >= 0 && !mkdirat(to, name, 0700))
        out = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int r = out < 0 ? -1 : copy_entries(in, out, depth + 1);
    if (!r && (fchown(out, st->st_uid, st->st_gid) || fchmod(out, st->st_mode & 07777)))
        r = -1;
    close_both(in, out);
    return r;
}

static int copy_entry(int from, int to, const char *name, unsigned depth)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
        return -1;
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to, name, &st);
    if (S_ISDIR(st.st_mode))
        return copy_directory(from, to, name, &st, depth);
    /* A container of an earlier berth could write here. berth itself makes no FIFO or device. */
    return S_ISREG(st.st_mode) ? copy_file(from, to, name, &st) : 0;
}

static DIR *open_again(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !dir)
        close(fd);
    return dir;
}

static int copy_entries(int from, int to, unsigned depth)
{
    enum { DEPTH_MOST = 32 };
    int r = 0;
    DIR *dir = depth < DEPTH_MOST ? open_again(from) : NULL;
    if (!dir) {
        errno = depth < DEPTH_MOST ? errno : ELOOP;
        return -1;
    }
    for (struct dirent *e; !r && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        r = copy_entry(from, to, e->d_name, depth);
        if (r && !depth)
            complain("copy to the container's /etc", e->d_name);
    }
    int code = errno;
    closedir(dir);
    errno = code;
    return r;
}

static int copy_all(int from, const char *dir)
{
    struct stat st;
    int to = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    if (to < 0 || fstat(from, &st) || fchown(to, st.st_uid, st.st_gid) ||
        fchmod(to, st.st_mode & 07777))
        r = complain("write", dir);
    if (!r && copy_entries(from, to, 0))
        r = -EIO;
    if (to >= 0)
        close(to);
    return r;
}

int contain_etc(const char *dir)
{
    int from = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return complain("read", dir);
    int r = 0;
    if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV,
              "mode=0755,size=" CONTAIN_ETC_SIZE ",nr_inodes=" CONTAIN_ETC_INODES))
        r = complain("mount a tmpfs on", dir);
    if (!r)
        r = copy_all(from, dir);
    close(from);
    return r;
}
