/* berth-archive: makes and reads backups for berth, in a separate program, so that only it is
 * linked to libarchive.
 *
 *   berth-archive create [tree] [closure]   descriptor 0: berth.json; 3: the tree; 4: the archive,
 *                                           written and synced; 5: the closure
 *   berth-archive head                      descriptor 0: the archive; its berth.json to 1,
 *                                           unchecked; as nobody, with no file and no socket
 *   berth-archive verify MOST               descriptor 0: the archive; the verdict and berth.json
 *                                           to 1; as nobody, with no file and no socket
 *   berth-archive extract MOST [closure]    descriptor 0: the archive; 3: an empty directory, which
 *                                           becomes the tree, if it is wanted; 5: a file for the
 *                                           closure; else as verify
 *
 * MOST: the number of bytes that there is room for. An archive whose files hold more is refused. */
#include "cmd/archive/archive.h"
#include "cmd/git/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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
    struct landlock_path_beneath_attr below = {
        .allowed_access = rules.handled_access_fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE,
        .parent_fd = dir};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0u);
    if (fd < 0 || syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0u) ||
        syscall(SYS_landlock_restrict_self, fd, 0u))
        fail(ARCHIVE_IO, "cannot confine the reader: %s", strerror(errno));
    close(fd);
}

static void confine_reader(bool nobody)
{
    int r = nobody && !geteuid() ? git_confine_user(65534, 65534) : 0;
    if (!r)
        r = git_confine_files(NULL, 0);
    if (r)
        fail(ARCHIVE_IO, "cannot confine the reader: %s", strerror(-r));
}

static void read_archive(const char *what, uint64_t most, bool closure)
{
    bool tree = !strcmp(what, "extract") && fcntl(3, F_GETFD) >= 0;
    if (tree)
        only_below(3);
    else
        confine_reader(strcmp(what, "extract") != 0);
    if (!strcmp(what, "head"))
        archive_read_head(0);
    else
        archive_read_all(0, tree ? 3 : -1, closure ? 5 : -1, most);
    _exit(0); /* at a usual end a leak checker would look for files that it cannot have any more */
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
    uint64_t most = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    if (!strcmp(what, "create") && argc == 2 + tree + closure)
        archive_create(0, tree ? 3 : -1, closure ? 5 : -1, 4);
    else if (!strcmp(what, "head") && argc == 2)
        read_archive(what, 0, false);
    else if (!strcmp(what, "verify") && argc == 3)
        read_archive(what, most, false);
    else if (!strcmp(what, "extract") && argc == 3 + closure)
        read_archive(what, most, closure);
    else
        fail(64, "berth-archive is started by berth: see berth backup and berth restore\n");
    return 0;
}
