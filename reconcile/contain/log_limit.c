/* A container's output in two files: FILE, and FILE.old when FILE has grown. Together they never
 * hold more than twice the limit, and the newest lines are kept. A full disk, a file that another
 * program moves or cuts off, and a directory that is removed do not end this program: then the
 * container would get SIGPIPE. */
#include "reconcile/contain/contain.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct log {
    const char *path;
    char old[PATH_MAX];
    int fd; /* of FILE; -1: it cannot be opened now */
    off_t size;
};

static int open_log(const char *path, int flags)
{
    return open(path, O_CLOEXEC | O_NOFOLLOW | flags, 0640);
}

/* An earlier berth set a limit only at the start of a container: keep the last lines of its file.
 */
static void cut_head(const char *path)
{
    char b[65536];
    struct stat st;
    int fd = open_log(path, O_RDWR);
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > CONTAIN_LOG_MOST) {
        off_t from = st.st_size - CONTAIN_LOG_MOST, to = 0;
        ssize_t n = pread(fd, b, sizeof b, from);
        char *end = n > 0 ? memchr(b, '\n', (size_t)n) : NULL;
        from += end ? end + 1 - b : 0;
        while ((n = pread(fd, b, sizeof b, from)) > 0 && pwrite(fd, b, (size_t)n, to) == n) {
            from += n;
            to += n;
        }
        if (ftruncate(fd, to))
            unlink(path);
    }
    if (fd >= 0)
        close(fd);
}

static bool same_file(int fd, const char *path, struct stat *here)
{
    struct stat there;
    return !fstat(fd, here) && !lstat(path, &there) && here->st_ino == there.st_ino &&
           here->st_dev == there.st_dev;
}

/* The file that has the name now. While there is no such directory, the file that was open stays.
 */
static void follow_name(struct log *l)
{
    struct stat st = {0};
    if (l->fd < 0 || !same_file(l->fd, l->path, &st)) {
        int fd = open_log(l->path, O_WRONLY | O_APPEND | O_CREAT);
        if (fd >= 0 && l->fd >= 0)
            close(l->fd);
        l->fd = fd >= 0 ? fd : l->fd;
        if (l->fd >= 0 && fstat(l->fd, &st))
            st.st_size = 0;
    }
    l->size = st.st_size;
}

static off_t limit(const struct log *l)
{
    struct statvfs fs;
    bool tight = !fstatvfs(l->fd, &fs) && fs.f_bavail < fs.f_blocks / 8;
    return tight ? CONTAIN_LOG_LEAST : CONTAIN_LOG_MOST;
}

static void begin_again(struct log *l)
{
    if (!rename(l->path, l->old))
        follow_name(l);
    else if (!ftruncate(l->fd, 0))
        l->size = 0;
}

static size_t put(struct log *l, const char *text, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = write(l->fd, text + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        done += (size_t)k;
        l->size += k;
    }
    return done;
}

/* Where there is no space, older lines make place for these. */
static void put_newest(struct log *l, const char *text, size_t n)
{
    size_t done = put(l, text, n);
    if (done < n && !unlink(l->old))
        done += put(l, text + done, n - done);
    if (done < n && !ftruncate(l->fd, 0)) {
        l->size = 0;
        put(l, text + done, n - done);
    }
}

static void add(struct log *l, const char *text, size_t n)
{
    follow_name(l);
    if (l->fd < 0)
        return;
    off_t most = limit(l);
    if (l->size + (off_t)n > most && l->size > 0) {
        /* A line that has begun ends in the file where it began, if it fits. */
        const char *end = memchr(text, '\n', n);
        size_t rest = end ? (size_t)(end + 1 - text) : 0;
        rest = l->size + (off_t)rest > most ? 0 : rest;
        put_newest(l, text, rest);
        begin_again(l);
        text += rest;
        n -= rest;
    }
    put_newest(l, text, n);
}

int contain_log(const char *path)
{
    char text[32768];
    struct log l = {.path = path, .fd = -1};
    if (snprintf(l.old, sizeof l.old, "%s.old", path) >= (int)sizeof l.old)
        return -ENAMETOOLONG;
    cut_head(l.old);
    cut_head(path);
    for (ssize_t n; (n = read(0, text, sizeof text)) != 0;) {
        if (n > 0)
            add(&l, text, (size_t)n);
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}
