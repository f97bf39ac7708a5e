/* Kernel settings. The names below hold link names, which a user chose: each part of a name is
 * looked at before any of it becomes a path, and the walk follows no links. */
#include "netops/sysctl.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH = 256, VALUE = 64 };
#define ROOT "/proc/sys/"

/* Parts parted by single slashes, none of them "", "." or "..". */
static bool good_name(const char *name)
{
    size_t n = strlen(name);
    if (!n || n + sizeof ROOT > PATH)
        return false;
    for (const char *at = name;; at++) {
        size_t part = strcspn(at, "/");
        if (part == 0 || (part <= 2 && !strncmp(at, "..", part)))
            return false;
        at += part;
        if (!*at)
            return true;
    }
}

static int open_plain(const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    for (int tries = 0;; tries++) {
        int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
        if (fd < 0 && errno == ENOSYS)
            fd = openat(AT_FDCWD, path, (int)(how.flags | O_NOFOLLOW));
        if (fd >= 0)
            return fd;
        if ((errno != EAGAIN && errno != EINTR) || tries == 16)
            return -errno;
    }
}

static int open_setting(const char *name, uint64_t flags)
{
    char path[PATH];
    if (!good_name(name))
        return -EINVAL;
    snprintf(path, sizeof path, ROOT "%s", name);
    return open_plain(path, flags);
}

int net_sysctl_read(const char *name, char out[64], struct net_error *err)
{
    char value[VALUE + 1];
    ssize_t n;
    int fd = open_setting(name, O_RDONLY);

    if (fd < 0)
        return net_fail(err, -fd, "read", "setting %.80s", name);
    do
        n = read(fd, value, sizeof value);
    while (n < 0 && errno == EINTR);
    int code = n < 0 ? errno : 0;
    close(fd);
    if (code)
        return net_fail(err, code, "read", "setting %.80s", name);
    if (n && value[n - 1] == '\n')
        n--;
    if (n >= VALUE)
        return net_fail(err, EOVERFLOW, "read", "setting %.80s", name);
    memcpy(out, value, (size_t)n);
    out[n] = '\0';
    return 0;
}

int net_sysctl_writable(const char *name)
{
    char path[PATH];
    if (!good_name(name))
        return -EINVAL;
    snprintf(path, sizeof path, ROOT "%s", name);
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) ? -errno : 0;
}

int net_sysctl_write(const char *name, const char *value, struct net_error *err)
{
    size_t size = strlen(value);
    ssize_t n;

    if (size >= VALUE || strchr(value, '\n'))
        return net_fail(err, EINVAL, "write", "setting %.80s", name);
    int fd = open_setting(name, O_WRONLY);
    if (fd < 0)
        return net_fail(err, -fd, "write", "setting %.80s", name);
    do
        n = write(fd, value, size);
    while (n < 0 && errno == EINTR);
    int code = n < 0 ? errno : (size_t)n == size ? 0 : EIO;
    close(fd);
    return code ? net_fail(err, code, "write", "setting %.80s", name) : 0;
}

int net_sysctl_links(int family, int (*each)(void *arg, const char *link), void *arg,
                     struct net_error *err)
{
    const char *name = family == AF_INET6 ? "net/ipv6/conf" : "net/ipv4/conf";
    int result = 0;
    int fd = open_setting(name, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return net_fail(err, -fd, "read", "settings %s", name);
    DIR *d = fdopendir(fd);
    if (!d) {
        int code = errno;
        close(fd);
        return net_fail(err, code, "read", "settings %s", name);
    }
    while (!result) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            if (errno)
                result = net_fail(err, errno, "read", "settings %s", name);
            break;
        }
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        result = each(arg, e->d_name);
        if (result)
            net_fail(err, result < 0 ? -result : result, "read", "settings %s", name);
    }
    closedir(d);
    return result;
}
