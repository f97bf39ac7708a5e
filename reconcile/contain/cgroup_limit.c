/* Root of a container can make cgroups below its own, and each takes memory of the kernel's. The
 * limit stands in the cgroup that the unit, or berth, made for the container (cgroups(7),
 * cgroup.max.descendants), above what a container sees. */
#include "reconcile/contain/contain.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where this process is in the cgroup2 hierarchy: "0::/system.slice/…". false: it is not there. */
static bool own_cgroup(char *out, size_t room)
{
    char line[PATH_MAX + 16];
    FILE *f = fopen("/proc/self/cgroup", "re");
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "0::/", 4) && !strstr(line, "/.."))
            found = snprintf(out, room, "%s", line + 3) < (int)room;
    }
    if (f)
        fclose(f);
    return found;
}

void contain_cgroups(void)
{
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    char own[PATH_MAX], path[PATH_MAX + 64];

    /* The root cgroup is everybody's, and has no limit. */
    if (!own_cgroup(own, sizeof own) || !own[1])
        return;
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        snprintf(path, sizeof path, "%s%s/cgroup.max.descendants", mounts[i], own);
        int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            continue;
        if (write(fd, CONTAIN_CGROUPS, strlen(CONTAIN_CGROUPS)) < 0)
            dprintf(2, "berth: warning: cannot write '%s': %s\n", path, strerror(errno));
        close(fd);
        return;
    }
}
