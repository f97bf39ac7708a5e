/* The writing thread takes no memory and no lock but ours: berth forks while it runs. */
#include "cmd/progress.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SILENT_MS = 1000, AGAIN_MS = 250, PAUSE_MS = 50, LINE_MOST = 512, NARROWEST = 20 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, over, shown, held; /* held: something else is being printed */
    char line[LINE_MOST];
    struct timespec began; /* what the line says */
    struct timespec drawn;
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER};

static long since_ms(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

/* With the lock. */
static void erase(void)
{
    static const char gone[] = "\r\033[K";
    if (progress.shown && write(2, gone, sizeof gone - 1) < 0)
        progress.over = true; /* nobody looks any more */
    progress.shown = false;
}

static void draw(void)
{
    char text[LINE_MOST + 48];
    int n = snprintf(text, sizeof text, "\r\033[K%s  %ld s", progress.line,
                     since_ms(&progress.began) / 1000);
    progress.shown = true;
    clock_gettime(CLOCK_MONOTONIC, &progress.drawn);
    if (write(2, text, (size_t)n) < 0)
        progress.over = true;
}

static void wait_ms(long ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += ms % 1000 * 1000000;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    while (!progress.over &&
           pthread_cond_timedwait(&progress.wake, &progress.lock, &t) != ETIMEDOUT)
        ;
}

static void *write_lines(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&progress.lock);
    wait_ms(SILENT_MS);
    while (!progress.over) {
        if (!progress.held)
            draw();
        wait_ms(AGAIN_MS);
    }
    pthread_mutex_unlock(&progress.lock);
    return NULL;
}

static void begin(void)
{
    pthread_condattr_t clock;
    sigset_t all, before;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&progress.wake, &clock);
    pthread_condattr_destroy(&clock);
    progress.over = progress.shown = false;
    /* Signals are for the thread that does the work. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    progress.runs = !pthread_create(&progress.thread, NULL, write_lines, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void cmd_progress_say(struct cmd *c, const char *text)
{
    if (!c->err.terminal || c->args.quiet || c->args.json)
        return;
    struct cmd_out line = {.fd = -1, .utf8 = c->err.utf8};
    struct winsize w;
    size_t room = ioctl(2, TIOCGWINSZ, &w) || w.ws_col < NARROWEST ? CMD_WIDTH : w.ws_col;
    size_t columns = cmd_safe(&line, text);
    pthread_mutex_lock(&progress.lock);
    if (columns + 12 < room && line.n < sizeof progress.line) {
        memcpy(progress.line, line.text, line.n);
        progress.line[line.n] = 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &progress.began);
    if (progress.shown && since_ms(&progress.drawn) >= PAUSE_MS)
        draw(); /* else the thread does, soon */
    if (!progress.runs)
        begin();
    pthread_mutex_unlock(&progress.lock);
    cmd_out_done(&line);
}

void cmd_progress_hide(void)
{
    pthread_mutex_lock(&progress.lock);
    erase();
    progress.held = true;
    pthread_mutex_unlock(&progress.lock);
}

void cmd_progress_show(void)
{
    pthread_mutex_lock(&progress.lock);
    progress.held = false;
    pthread_mutex_unlock(&progress.lock);
}

void cmd_progress_end(void)
{
    if (!progress.runs)
        return;
    pthread_mutex_lock(&progress.lock);
    progress.over = true;
    pthread_cond_signal(&progress.wake);
    pthread_mutex_unlock(&progress.lock);
    pthread_join(progress.thread, NULL);
    erase();
    pthread_cond_destroy(&progress.wake);
    progress.runs = false;
}
