/* Files in a container's root that systemd-nspawn opens itself, as root of the host, before the
 * container runs. It opens them without O_NONBLOCK: a FIFO in such a place holds the start up until
 * its time is over, and whoever waits for berth's lock with it. The container's root can make
 * one. */
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* nspawn.c and os-util.c of systemd 252: setup_machine_id, open_os_release, setup_timezone. */
static const char *const opened[] = {"etc/machine-id", "etc/os-release", "usr/lib/os-release",
                                     "etc/localtime"};

static const char *type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "no regular file";
    }
}

/* Nothing is opened but places (O_PATH), and symbolic links lead nowhere out of the root. */
static int check_one(int root, const char *path, const char *name, const char *tree,
                     struct rec_error *err)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0)
        return 0;
    int r = fstat(fd, &st);
    close(fd);
    if (r || S_ISREG(st.st_mode))
        return 0;
    rec_fail(err, EINVAL, "cannot start container '%s': '%s/%s' is %s, and systemd-nspawn reads it",
             name, tree, path, type_of(st.st_mode));
    rec_hint(err, "remove it: rm %s/%s", tree, path);
    return -EINVAL;
}

int nspawn_root_files_check(const char *name, const char *tree, struct rec_error *err)
{
    int root = open(tree, O_PATH | O_DIRECTORY | O_CLOEXEC), r = 0;
    if (root < 0)
        return 0;
    for (size_t i = 0; !r && i < sizeof opened / sizeof *opened; i++)
        r = check_one(root, opened[i], name, tree, err);
    close(root);
    return r;
}
