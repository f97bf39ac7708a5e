/* A terminal for tests: runs a command as leader of a session on a pty, types and waits, and looks
 * afterwards whether somebody else has typed there.
 *
 *   terminal [-w TEXT | -s TEXT | -r ROWS COLUMNS]... -- COMMAND...
 *
 * -w waits until the terminal shows TEXT, after what an earlier -w found; -s types; -r changes the
 * size. All that was shown goes to standard output. Exit status: the command's; 98: TEXT never
 * came; 99: the input queue is not empty, and what is in it goes to standard error. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_S = 20, SHOWN_MOST = 1 << 22 };
static char shown[SHOWN_MOST + 1];
static size_t n_shown, seen;

static int pump(int master, int ms)
{
    struct pollfd p = {master, POLLIN, 0};
    if (poll(&p, 1, ms) <= 0 || n_shown == SHOWN_MOST)
        return 0;
    ssize_t n = read(master, shown + n_shown, SHOWN_MOST - n_shown);
    if (n <= 0)
        return 0;
    n_shown += (size_t)n;
    return 1;
}

static int finish(int status)
{
    fwrite(shown, 1, n_shown, stdout);
    fflush(stdout);
    return status;
}

static int wait_text(int master, const char *text)
{
    time_t end = time(NULL) + WAIT_S;
    for (;;) {
        char *at = memmem(shown + seen, n_shown - seen, text, strlen(text));
        if (at) {
            seen = (size_t)(at - shown) + strlen(text);
            return 1;
        }
        if (time(NULL) > end)
            return 0;
        pump(master, 100);
    }
}

int main(int argc, char **argv)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0, at = 1, status = 0,
        left = 0;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock))
        return 97;
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC), first = 1;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(slave, TIOCSWINSZ, &size);
    while (first < argc && strcmp(argv[first], "--"))
        first++;
    if (first >= argc - 1)
        return 97;
    pid_t pid = fork();
    if (!pid) {
        setsid();
        ioctl(slave, TIOCSCTTY, 0);
        for (int i = 0; i < 3; i++)
            dup2(slave, i);
        /* A shell starts its background jobs with these ignored, and a program on a terminal
         * expects them to work. */
        signal(SIGINT, SIG_DFL);
        signal(SIGQUIT, SIG_DFL);
        execvp(argv[first + 1], argv + first + 1);
        _exit(97);
    }
    while (at < first) {
        const char *what = argv[at], *text = argv[at + 1];
        at += 2;
        if (!strcmp(what, "-w") && !wait_text(master, text)) {
            kill(-pid, SIGKILL);
            fprintf(stderr, "terminal: '%s' was not shown\n", text);
            return finish(98);
        }
        if (!strcmp(what, "-s") && write(master, text, strlen(text)) < 0)
            return 97;
        if (!strcmp(what, "-r")) {
            size.ws_row = (unsigned short)atoi(text);
            size.ws_col = (unsigned short)atoi(argv[at++]);
            ioctl(master, TIOCSWINSZ, &size);
        }
    }
    time_t end = time(NULL) + WAIT_S;
    while (!waitpid(pid, &status, WNOHANG) && time(NULL) <= end)
        pump(master, 50);
    while (pump(master, 100))
        ;
    if (time(NULL) > end)
        return finish(98);
    /* In line mode a line that has no end yet is not counted. */
    struct termios modes;
    tcgetattr(slave, &modes);
    modes.c_lflag &= ~(tcflag_t)ICANON;
    tcsetattr(slave, TCSANOW, &modes);
    if (!ioctl(slave, FIONREAD, &left) && left > 0) {
        char typed[4096];
        ssize_t n = read(slave, typed, sizeof typed);
        fprintf(stderr, "terminal: somebody typed: %.*s\n", (int)n, typed);
        return finish(99);
    }
    return finish(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
