/* The lock is flock(2) on a file that stays: its death is its process's death, so it can never be
 * stale. The line inside only tells people who holds it. */
#include "reconcile/lock.h"
#include "reconcile/files.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int held_by(int fd, struct rec_error *err)
{
    char line[160] = "";
    ssize_t n = pread(fd, line, sizeof line - 1, 0);
    line[n > 0 ? n : 0] = 0;
    line[strcspn(line, "\n")] = 0;
    rec_fail(err, EWOULDBLOCK, "another berth is at work here: %s",
             *line ? line : "it has not said who it is");
    rec_hint(err, "wait for it to end, or give --lock-timeout a longer time");
    return -EWOULDBLOCK;
}

static void sign(int fd, const char *verb)
{
    char line[160];
    time_t now = time(NULL);
    struct tm t = {0};
    gmtime_r(&now, &t); /* printed by hand: strftime would read the time zone's file */
    int n = snprintf(line, sizeof line, "pid %d, berth %s, since %04d-%02d-%02dT%02d:%02d:%02dZ\n",
                     (int)getpid(), verb, t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec);
    /* A failure here costs a name in a message, not the lock. */
    if (n > 0 && pwrite(fd, line, (size_t)n, 0) == n && ftruncate(fd, n))
        return;
}

int rec_lock(const char *verb, long timeout_ms, int *out, struct rec_error *err)
{
    static const char path[] = REC_RUN_DIR "/lock";
    enum { MOST_INTERRUPTS = 16 };
    long deadline = now_ms() + timeout_ms;
    int interrupted = 0;
    if (mkdir(REC_RUN_DIR, 0700) && errno != EEXIST)
        return rec_fail(err, errno, "cannot make '%s': %s", REC_RUN_DIR, strerror(errno));
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        struct stat a, b;
        if (fd < 0)
            return rec_fail(err, errno, "cannot open the lock '%s': %s", path, strerror(errno));
        while (flock(fd, LOCK_EX | LOCK_NB)) {
            if (errno == EINTR && interrupted++ < MOST_INTERRUPTS)
                continue;
            if (errno != EWOULDBLOCK || now_ms() >= deadline) {
                int r = errno == EWOULDBLOCK
                            ? held_by(fd, err)
                            : rec_fail(err, errno, "cannot lock '%s': %s", path, strerror(errno));
                close(fd);
                return r;
            }
            /* flock has no way to wait with a limit in time; the wait is for another process,
             * not for an answer. */
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
        /* Somebody may have replaced the file between open and flock: then ours locks nothing. */
        if (!fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev) {
            sign(fd, verb);
            *out = fd;
            return 0;
        }
        close(fd);
    }
}
