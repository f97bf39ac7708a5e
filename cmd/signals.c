/* A host is never left half-way because somebody pressed Ctrl-C: the signal is noted, the apply
 * ends as it would have ended, and only then does berth exit as if killed. Handlers, not masks:
 * what berth starts must not inherit deafness. */
#include "cmd/cmd.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t seen;
static const int held[] = {SIGINT, SIGTERM, SIGHUP};
static struct sigaction before[3];
static bool holding;
static volatile sig_atomic_t stopping;
static int wake[2] = {-1, -1};

static void note(int n)
{
    static const char text[] = "\nberth: finishing what has begun; the host is not left half-way\n";
    int code = errno;
    if (stopping ? write(wake[1], "", 1) < 0
                 : !seen && isatty(2) && write(2, text, sizeof text - 1) < 0)
        seen = n;
    seen = n;
    errno = code;
}

static void take(void)
{
    struct sigaction a = {.sa_handler = note, .sa_flags = SA_RESTART};
    sigemptyset(&a.sa_mask);
    for (int i = 0; i < 3 && !holding; i++) {
        sigaction(held[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN) /* nohup stays nohup */
            sigaction(held[i], &a, NULL);
    }
    holding = true;
}

void cmd_signals_hold(void)
{
    stopping = false;
    take();
}

int cmd_signals_stop(void)
{
    if (seen || holding || (wake[0] < 0 && pipe2(wake, O_CLOEXEC | O_NONBLOCK)))
        return -1;
    stopping = true;
    take();
    return wake[0];
}

void cmd_signals_stop_end(void)
{
    if (stopping)
        cmd_signals_release();
}

void cmd_signals_release(void)
{
    stopping = false;
    for (int i = 0; i < 3 && holding; i++)
        sigaction(held[i], &before[i], NULL);
    holding = false;
}

int cmd_signals_seen(void)
{
    return seen;
}

enum cmd_exit cmd_signals_exit(enum cmd_exit code)
{
    return seen ? (enum cmd_exit)(128 + seen) : code;
}
