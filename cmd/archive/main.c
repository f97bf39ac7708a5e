/* berth-archive: makes and reads backups for berth, in a program of its own, so that only it is linked to libarchive.
 *
 *   berth-archive create [tree] [closure]   descriptor 0: berth.json; 3: the tree; 4: the archive, written and synced; 5: the closure
 *   berth-archive verify                    descriptor 0: the archive; the verdict and berth.json to 1; as nobody, with no file and no socket
 *   berth-archive extract [closure]         descriptor 0: the archive; 3: an empty directory, which becomes the tree, if it is wanted; 5: a
 *                                           file for the closure; else as verify
 */
#include "cmd/archive/archive.h"
#include "cmd/git/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Written is below the tree alone. */
static void only_below(int dir)
{
    /* From its second version on it lets hard links be made between directories, if asked. */
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
        return;
    struct landlock_ruleset_attr rules = {.handled_access_fs = (LANDLOCK_ACCESS_FS_REFER << 1) - 1};
    struct landlock_path_beneath_attr below = {.allowed_access = rules.handled_access_fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
                                               .parent_fd = dir};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0u);
    if (fd < 0 || syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0u) || syscall(SYS_landlock_restrict_self, fd, 0u))
        fail(ARCHIVE_IO, "cannot confine the reader: %s", strerror(errno));
    close(fd);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    struct rlimit files = {1024, 1024};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_NOFILE, &files);
    setlocale(LC_CTYPE, "C.UTF-8");
    umask(0);
    bool tree = false, closure = false;
    for (int i = 2; i < argc; i++) {
        tree |= !strcmp(argv[i], "tree");
        closure |= !strcmp(argv[i], "closure");
    }
    if (!strcmp(what, "create") && argc == 2 + tree + closure) {
        archive_create(0, tree ? 3 : -1, closure ? 5 : -1, 4);
    } else if (!strcmp(what, "verify") && argc == 2) {
        int r = geteuid() ? 0 : git_confine_user(65534, 65534);
        if (!r)
            r = git_confine_files(NULL, 0);
        if (r)
            fail(ARCHIVE_IO, "cannot confine the reader: %s", strerror(-r));
        archive_read_all(0, -1, -1);
        _exit(0);               /* at a usual end a leak checker would look for files that it cannot have any more */
    } else if (!strcmp(what, "extract") && argc == 2 + closure) {
        tree = fcntl(3, F_GETFD) >= 0;
        int r = tree ? 0 : git_confine_files(NULL, 0);
        if (r)
            fail(ARCHIVE_IO, "cannot confine the reader: %s", strerror(-r));
        if (tree)
            only_below(3);
        archive_read_all(0, tree ? 3 : -1, closure ? 5 : -1);
        _exit(0);
    } else {
        fail(64, "berth-archive is started by berth: see berth backup and berth restore\n");
    }
    return 0;
}
