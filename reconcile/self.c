/* One copy of the program in memory, sealed, and then the same call once more out of it. It is known again by its seals. */
#include "reconcile/self.h"
#include "netops/scoped.h"
#include "reconcile/files.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u      /* linux/memfd.h, 6.3: where vm.memfd_noexec is 1 a copy that runs has to be asked for */
#endif
enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE, ARGUMENTS_MOST = 8 << 20 };

extern char **environ;

/* As the kernel keeps them: the table that main was given has been put in another order. */
static char **arguments(struct spec_arena *a, struct rec_error *err)
{
    char *text;
    size_t len, n = 0, k = 0;
    if (rec_file_read(a, spec_arena_printf(a, "/proc/%d/cmdline", (int)getpid()), ARGUMENTS_MOST, &text, &len, err))
        return NULL;
    for (size_t i = 0; i < len; i++)
        n += !text[i];
    char **argv = spec_arena_alloc(a, (n + 1) * sizeof *argv);
    if (!argv || !n) {
        rec_fail(err, ENOMEM, "out of memory");
        return NULL;
    }
    for (char *at = text; k < n; at += strlen(at) + 1)
        argv[k++] = at;
    return argv;
}

static int copy(int from)
{
    struct stat st;
    int to = memfd_create("berth", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL)
        to = memfd_create("berth", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (to < 0)
        return -errno;
    int r = fstat(from, &st) ? -errno : 0;
    for (off_t left = st.st_size; !r && left > 0;) {
        ssize_t n = sendfile(to, from, NULL, (size_t)left);
        if (n <= 0 && errno != EINTR)
            r = n ? -errno : -EIO;
        left -= n > 0 ? n : 0;
    }
    if (!r && fcntl(to, F_ADD_SEALS, SEALS))
        r = -errno;
    if (r)
        close(to);
    return r ? r : to;
}

int rec_self_seal(struct spec_arena *a, struct rec_error *err)
{
    scoped(closep) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0)
        return rec_fail(err, errno, "cannot read berth's own program: %s", strerror(errno));
    int seals = fcntl(self, F_GET_SEALS);
    if (seals >= 0 && (seals & SEALS) == SEALS) {
        prctl(PR_SET_NAME, "berth");        /* else it bears a descriptor's number */
        return 0;
    }
    const char *path = (const char *)getauxval(AT_EXECFN);
    if (path && !strncmp(path, "/dev/fd/", 8))
        return rec_fail(err, ELOOP, "cannot copy berth's own program: the copy is not known again");
    scoped(closep) int fd = copy(self);
    if (fd < 0)
        return rec_fail(err, -fd, "cannot copy berth's own program, out of which a container is entered: %s", strerror(-fd));
    char **argv = arguments(a, err);
    if (!argv)
        return -err->code;
    fexecve(fd, argv, environ);
    return rec_fail(err, errno, "cannot start the copy of berth's own program: %s", strerror(errno));
}
