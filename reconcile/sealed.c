/* The copy is complete before the seals are set, and read-only afterwards. */
#include "reconcile/sealed.h"
#include "netops/scoped.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
/* linux/memfd.h, Linux 6.3. With vm.memfd_noexec=1 an executable copy needs this flag. */
#define MFD_EXEC 0x10u
#endif
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int copy_file(int from, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat st;
    int to = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL)
        to = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0)
        return -errno;
    int r = fstat(from, &st) ? -errno : 0;
    off_t left = r ? 0 : st.st_size;
    while (!r && left > 0) {
        ssize_t n = sendfile(to, from, NULL, (size_t)left);
        if (n > 0)
            left -= n;
        else if (!n)
            r = -EIO;
        else if (errno != EINTR)
            r = -errno;
    }
    if (!r && fcntl(to, F_ADD_SEALS, SEALS))
        r = -errno;
    if (!r)
        return to;
    close(to);
    return r;
}

int rec_sealed_copy(const char *path, struct rec_error *err)
{
    scoped(closep) int from = open(path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return rec_fail(err, errno, "cannot read '%s': %s", path, strerror(errno));
    int fd = copy_file(from, path);
    if (fd < 0)
        return rec_fail(err, -fd, "cannot copy '%s' into memory: %s", path, strerror(-fd));
    return fd;
}
