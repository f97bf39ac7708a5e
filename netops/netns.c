/* Namespaces with names, made so that `ip netns` takes them for its own: the directory is a shared
 * mount, so that names reach all mount namespaces, and each name is an empty file with the
 * namespace mounted on it. A name is one component below a directory that is held open: no path
 * is ever put together from a name that was not looked at. */
#include "netops/netns.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { PATH = 320, MOST_MOUNTS = 8 };
/* Mode of the file below a name that berth made; `ip netns` makes them with 0. Of a run that was
 * killed it shows whose the file is. */
enum { MARK = S_ISVTX };
#define SELF "/proc/thread-self/ns/net"

/* openat2 without links of any kind; kernels before 5.6 lack it: there the last component alone is
 * guarded, which is all of it where `path` is one component. */
static int open_plain(int dir, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    for (int tries = 0;; tries++) {
        int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0)
            return fd;
        if (errno == ENOSYS) {
            fd = openat(dir, path, (int)(how.flags | O_NOFOLLOW));
            return fd >= 0 ? fd : -errno;
        }
        if ((errno != EAGAIN && errno != EINTR) || tries == 16)
            return -errno;
    }
}

static bool good_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_MAX && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static int bad_name(const char *op, const char *name, struct net_error *err)
{
    net_fail(err, EINVAL, op, "namespace '%.48s'", name);
    const char text[] = "not a name: it is empty, '.', '..', too long or holds '/'";
    net_error_kernel(err, text, sizeof text - 1);
    return -EINVAL;
}

int net_netns_dir(bool create, int *fd, struct net_error *err)
{
    if (create) {
        bool bound = false;
        if (mkdir(NET_NETNS_DIR, 0755) && errno != EEXIST)
            return net_fail(err, errno, "create", "directory %s", NET_NETNS_DIR);
        /* as iproute2: mark it shared; where it is no mount yet, first mount it on itself */
        while (mount("", NET_NETNS_DIR, "none", MS_SHARED | MS_REC, NULL)) {
            if (errno != EINVAL || bound)
                return net_fail(err, errno, "make", "%s a shared mount", NET_NETNS_DIR);
            if (mount(NET_NETNS_DIR, NET_NETNS_DIR, "none", MS_BIND | MS_REC, NULL))
                return net_fail(err, errno, "mount", "%s on itself", NET_NETNS_DIR);
            bound = true;
        }
    }
    int r = open_plain(AT_FDCWD, NET_NETNS_DIR, O_RDONLY | O_DIRECTORY);
    if (r < 0)
        return net_fail(err, -r, "open", "directory %s", NET_NETNS_DIR);
    *fd = r;
    return 0;
}

int net_netns_open(int dir, const char *name, int *fd, struct net_error *err)
{
    if (!good_name(name))
        return bad_name("open", name, err);
    int r = open_plain(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (r < 0)
        return net_fail(err, -r, "open", "namespace '%.48s'", name);
    if (ioctl(r, NS_GET_NSTYPE) != CLONE_NEWNET) { /* an ordinary file: ENOTTY */
        close(r);
        return net_fail(err, EINVAL, "open", "namespace '%.48s'", name);
    }
    *fd = r;
    return 0;
}

int net_netns_self(int *fd, struct net_error *err)
{
    int r = open(SELF, O_RDONLY | O_CLOEXEC);
    if (r < 0)
        return net_fail(err, errno, "open", "%s", SELF);
    *fd = r;
    return 0;
}

int net_netns_enter(int fd, struct net_error *err)
{
    return setns(fd, CLONE_NEWNET) ? net_fail(err, errno, "enter", "the namespace") : 0;
}

int net_netns_owner(int fd, int *owner, struct net_error *err)
{
    int r = ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? ioctl(fd, NS_GET_USERNS) : -1;
    if (r < 0)
        return net_fail(err, errno, "find the owner of", "a network namespace");
    *owner = r;
    return 0;
}

int net_netns_foreign(int fd, struct net_error *err)
{
    struct stat self, st;
    int owner, r = net_netns_owner(fd, &owner, err);
    if (r)
        return r;
    r = stat("/proc/self/ns/user", &self) || fstat(owner, &st) ? -errno : st.st_ino != self.st_ino;
    close(owner);
    return r < 0 ? net_fail(err, -r, "find the owner of", "a network namespace") : r;
}

int net_netns_unshare(int *fd, struct net_error *err)
{
    if (unshare(CLONE_NEWNET))
        return net_fail(err, errno, "make", "a network namespace");
    return net_netns_self(fd, err);
}

/* What a mount call can use of a name below a held directory; nothing in between can be swapped. */
static int mount_path(char out[PATH], int dir, const char *name)
{
    int n = snprintf(out, PATH, "/proc/self/fd/%d/%s", dir, name);
    return n > 0 && n < PATH ? 0 : -ENAMETOOLONG;
}

/* An empty file under that name and nothing mounted on it: left behind by a dead `ip netns`, or
 * by a reboot. */
static bool is_leftover(int dir, const char *name, struct stat *st)
{
    struct stat self;
    return !fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) && !stat(SELF, &self) &&
           S_ISREG(st->st_mode) && st->st_size == 0 && st->st_dev != self.st_dev;
}

bool net_netns_left_over(int dir, const char *name)
{
    struct stat st;
    return is_leftover(dir, name, &st) && (st.st_mode & 07777) == MARK;
}

int net_netns_name(int dir, const char *name, int fd, struct net_error *err)
{
    char source[PATH], target[PATH];
    struct stat st;
    bool made = true;

    if (!good_name(name))
        return bad_name("name", name, err);
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    if (mount_path(target, dir, name))
        return bad_name("name", name, err);
    /* O_CREAT | O_EXCL without a descriptor to close */
    if (mknodat(dir, name, S_IFREG | MARK, 0)) {
        if (errno != EEXIST)
            return net_fail(err, errno, "name", "namespace '%.48s'", name);
        if (!is_leftover(dir, name, &st))
            return net_fail(err, EEXIST, "name", "namespace '%.48s'", name);
        made = false;
    }
    if (mount(source, target, "none", MS_BIND, NULL)) {
        int code = errno;
        if (made)
            unlinkat(dir, name, 0);
        return net_fail(err, code, "name", "namespace '%.48s'", name);
    }
    return 0;
}

int net_netns_unname(int dir, const char *name, struct net_error *err)
{
    char target[PATH];

    if (!good_name(name) || mount_path(target, dir, name))
        return bad_name("remove", name, err);
    for (int mounts = 0;; mounts++) {
        /* EINVAL: nothing is mounted on it */
        if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) && errno != EINVAL)
            return net_fail(err, errno, "remove", "namespace '%.48s'", name);
        if (!unlinkat(dir, name, 0))
            return 0;
        if (errno != EBUSY || mounts == MOST_MOUNTS) /* EBUSY: mounted twice */
            return net_fail(err, errno, "remove", "namespace '%.48s'", name);
    }
}
