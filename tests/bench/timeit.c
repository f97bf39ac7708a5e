/* Runs one command and says how long it took from exec to exit. The child takes the first time
 * itself, right before it becomes the command, so that the fork is not counted. A command that
 * fails gives no figure.
 *
 *     timeit LABEL LOG COMMAND [ARG]...
 *
 * prints "LABEL us=… rss_kb=…". The output of the command goes to the file LOG. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int give_up(const char *what)
{
    fprintf(stderr, "timeit: cannot %s: %s\n", what, strerror(errno));
    return 1;
}

static void become(char **command, const char *log, struct timespec *start)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    clock_gettime(CLOCK_MONOTONIC, start);
    execvp(command[0], command);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fputs("timeit LABEL LOG COMMAND [ARG]...\n", stderr);
        return 64;
    }
    /* seen by the child too */
    struct timespec *start =
        mmap(NULL, sizeof *start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return give_up("share a page");
    pid_t child = fork();
    if (child < 0)
        return give_up("fork");
    if (!child)
        become(argv + 3, argv[2], start);

    struct timespec end;
    struct rusage used;
    int status;
    if (wait4(child, &status, 0, &used) < 0)
        return give_up("wait");
    clock_gettime(CLOCK_MONOTONIC, &end);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (code) {
        fprintf(stderr, "timeit: '%s' ended with %d, see %s\n", argv[3], code, argv[2]);
        return code;
    }
    long us = (end.tv_sec - start->tv_sec) * 1000000L + (end.tv_nsec - start->tv_nsec) / 1000;
    printf("%s us=%ld rss_kb=%ld\n", argv[1], us, used.ru_maxrss);
    return 0;
}
