/* Splices its standard input, or a socket on which nothing comes, to its standard output. While it
 * waits it holds the lock of that pipe in the kernel, as cat(1) does.
 *
 *   splicer [-s] [-w FILE] [PID]...
 *
 * -s takes the socket. As soon as it holds the lock, it says "holds" on standard error; -w: and
 * makes FILE. It stops the processes PID, says "up" while they cannot read it, and continues them
 * when it holds the lock. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int in_splice(pid_t pid)
{
    char path[64], text[16] = "";
    snprintf(path, sizeof path, "/proc/%d/syscall", (int)pid);
    int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    close(fd);
    return n > 0 && atoi(text) == SYS_splice;
}

int main(int argc, char **argv)
{
    static const struct timespec pause = {0, 10000000};
    int in = 0, option, pair[2];
    const char *file = NULL;
    while ((option = getopt(argc, argv, "sw:")) != -1) {
        if (option == 'w')
            file = optarg;
        else if (option == 's' && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
            in = pair[0];
        else
            return 64;
    }
    pid_t self = getpid();
    for (int i = optind; i < argc; i++)
        kill(atoi(argv[i]), SIGSTOP);
    if (optind < argc && write(1, "up\n", 3) != 3)
        return 1;
    if (!fork()) {
        while (!in_splice(self))
            nanosleep(&pause, NULL);
        if (write(2, "holds\n", 6) != 6)
            return 1;
        if (file)
            close(open(file, O_WRONLY | O_CREAT, 0600));
        for (int i = optind; i < argc; i++)
            kill(atoi(argv[i]), SIGCONT);
        _exit(0);
    }
    for (;;) {
        ssize_t n = splice(in, NULL, 1, NULL, 65536, 0);
        if (n <= 0)
            return n < 0;
    }
}
