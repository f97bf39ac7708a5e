/* Every path is walked component by component by the kernel, beneath the root directory and through
 * no symlink: openat2 does in one call what lstat and open never do without a race. What is
 * replaced is replaced whole. */
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define scoped_fd __attribute__((cleanup(closep))) int

/* As open(2), but a symlink anywhere in the path is -ELOOP. */
static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    if (flags & (O_CREAT | O_TMPFILE))
        how.mode = mode;
    for (int tries = 0; tries < 16; tries++) {
        int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            return fd >= 0 ? fd : -errno;
    }
    return -EAGAIN;
}

static int fail(struct rec_error *err, int code, const char *verb, const char *path)
{
    const char *why = code == ELOOP   ? "a symbolic link stands in the path, and berth follows none"
                      : code == EXDEV ? "the path leads out of its directory"
                                      : strerror(code);
    return rec_fail(err, code, "cannot %s '%s': %s", verb, path, why);
}

/* The directory of `path`, and where its last component starts. */
static int parent(const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    char dir[4096];
    if (!slash && *path) {
        *name = path;
        return open_beneath(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY, 0);
    }
    if (!slash || !slash[1] || slash - path >= (long)sizeof dir)
        return -EINVAL;
    snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    *name = slash + 1;
    return open_beneath(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY, 0);
}

int rec_file_read(struct spec_arena *a, const char *path, size_t max, char **text, size_t *len,
                  struct rec_error *err)
{
    struct stat st;
    scoped_fd fd = open_beneath(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return fail(err, -fd, "read", path);
    if (fstat(fd, &st))
        return fail(err, errno, "read", path);
    if (!S_ISREG(st.st_mode))
        return rec_fail(err, EINVAL, "cannot read '%s': it is not a regular file", path);
    /* A size is a hint: files of /proc have none, and a file may grow while it is read. */
    size_t room = (size_t)st.st_size + 1, n = 0;
    char *p = NULL;
    for (ssize_t r = 1; r;) {
        if (!p || n == room) {
            size_t more = !p ? room : room < 4096 ? 8192 : room * 2;
            if (n >= max || (size_t)st.st_size > max)
                return rec_fail(err, EFBIG, "cannot read '%s': it is larger than %zu bytes", path,
                                max);
            char *q = spec_arena_grow(a, p, p ? room + 1 : 0, more + 1);
            if (!q)
                return rec_fail(err, ENOMEM, "out of memory");
            p = q;
            room = more;
        }
        r = read(fd, p + n, room - n);
        if (r < 0 && errno != EINTR)
            return fail(err, errno, "read", path);
        n += r > 0 ? (size_t)r : 0;
    }
    if (n > max)
        return rec_fail(err, EFBIG, "cannot read '%s': it is larger than %zu bytes", path, max);
    p[n] = 0;
    *text = p;
    *len = n;
    return 0;
}

int rec_link_read(struct spec_arena *a, const char *path, char **target, struct rec_error *err)
{
    const char *name;
    char to[4096];
    scoped_fd dir = parent(path, &name);
    if (dir < 0)
        return fail(err, -dir, "read", path);
    ssize_t n = readlinkat(dir, name, to, sizeof to);
    if (n < 0)
        return errno == EINVAL ? rec_fail(err, EINVAL, "'%s' is not a symbolic link", path)
                               : fail(err, errno, "read", path);
    *target = spec_arena_strndup(a, to, (size_t)n);
    return *target ? 0 : rec_fail(err, ENOMEM, "out of memory");
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    return 0;
}

#define TEMPORARY ".berth-new"

static int temporary(const char *name, char out[512])
{
    return snprintf(out, 512, ".%s" TEMPORARY, name) < 512 ? 0 : -ENAMETOOLONG;
}

int rec_file_write(const char *path, const char *text, size_t len, mode_t mode,
                   struct rec_error *err)
{
    const char *name;
    char temp[512];
    scoped_fd dir = parent(path, &name);
    int r = dir < 0 ? dir : temporary(name, temp);
    if (r)
        return fail(err, -r, "write", path);
    unlinkat(dir, temp, 0); /* of a run that was killed */
    scoped_fd fd = open_beneath(dir, temp, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return fail(err, -fd, "write", path);
    r = fchmod(fd, mode) ? -errno : write_all(fd, text, len);
    if (!r && fsync(fd))
        r = -errno;
    if (!r && renameat(dir, temp, dir, name))
        r = -errno;
    if (r)
        unlinkat(dir, temp, 0);
    else if (fsync(dir) && errno != EINVAL)
        r = -errno;
    return r ? fail(err, -r, "write", path) : 0;
}

int rec_file_rewrite(const char *path, const char *text, size_t len, mode_t mode,
                     struct rec_error *err)
{
    scoped_fd fd = open_beneath(AT_FDCWD, path, O_RDWR | O_CREAT | O_NONBLOCK, mode);
    if (fd < 0)
        return fail(err, -fd, "write", path);
    /* One write first: readers see the old text, or the new one with an old tail, never an empty
     * file. */
    size_t at = 0;
    while (at < len) {
        ssize_t n = pwrite(fd, text + at, len - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, errno, "write", path);
        at += (size_t)n;
    }
    if (ftruncate(fd, (off_t)len) || fsync(fd))
        return fail(err, errno, "write", path);
    return 0;
}

static int give_to_nobody(const char *path, struct rec_error *err)
{
    int r = lchown(path, REC_SHARED_OWNER, REC_SHARED_OWNER) ? -errno : 0;
    /* In a user namespace that does not have this id the file stays root's. */
    return !r || r == -EINVAL || r == -EPERM ? 0 : fail(err, -r, "change the owner of", path);
}

int rec_file_share(const char *path, const char *text, size_t len, struct rec_error *err)
{
    enum { TRIES = 20 };
    static const struct timespec pause = {.tv_nsec = 50000000};
    int r = rec_file_rewrite(path, text, len, 0644, err);
    /* The first try asked the holder of the lease to give it up. */
    for (int i = 0; r == -EWOULDBLOCK && i < TRIES; i++) {
        nanosleep(&pause, NULL);
        r = rec_file_rewrite(path, text, len, 0644, err);
    }
    if (r == -EWOULDBLOCK) {
        r = rec_fail(err, EBUSY,
                     "cannot write '%s': a process keeps a lease on it (fcntl(2), F_SETLEASE)",
                     path);
        rec_hint(err, "stop that process: /proc/locks names it");
    }
    return r ? r : give_to_nobody(path, err);
}

int rec_link_write(const char *path, const char *target, struct rec_error *err)
{
    const char *name;
    char temp[512];
    struct stat st;
    scoped_fd dir = parent(path, &name);
    int r = dir < 0 ? dir : temporary(name, temp);
    if (r)
        return fail(err, -r, "link", path);
    if (!fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISLNK(st.st_mode))
        return rec_fail(err, EEXIST, "cannot link '%s': something that is no link stands there",
                        path);
    unlinkat(dir, temp, 0);
    if (symlinkat(target, dir, temp) || renameat(dir, temp, dir, name)) {
        r = errno;
        unlinkat(dir, temp, 0);
        return fail(err, r, "link", path);
    }
    return 0;
}

void rec_file_unfinished(const char *path)
{
    const char *name;
    char temp[512];
    scoped_fd dir = parent(path, &name);
    if (dir >= 0 && !temporary(name, temp))
        unlinkat(dir, temp, 0);
}

int rec_file_remove(const char *path, struct rec_error *err)
{
    const char *name;
    char temp[512];
    scoped_fd dir = parent(path, &name);
    if (dir < 0)
        return dir == -ENOENT ? 0 : fail(err, -dir, "remove", path);
    if (!temporary(name, temp))
        unlinkat(dir, temp, 0); /* of a run that was killed */
    return unlinkat(dir, name, 0) && errno != ENOENT ? fail(err, errno, "remove", path) : 0;
}

int rec_dir_make(const char *path, mode_t mode, struct rec_error *err)
{
    char p[4096];
    size_t n = strlen(path);
    if (n >= sizeof p)
        return fail(err, ENAMETOOLONG, "make directory", path);
    scoped_fd there = open_beneath(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0);
    if (there >= 0)
        return 0;
    if (there != -ENOENT)
        return fail(err, -there, "make directory", path);
    memcpy(p, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (p[i] != '/' && p[i])
            continue;
        p[i] = 0;
        const char *name;
        scoped_fd up = parent(p, &name);
        if (up < 0)
            return fail(err, -up, "make directory", path);
        if (mkdirat(up, name, i == n ? mode : 0755) && errno != EEXIST)
            return fail(err, errno, "make directory", p);
        if (i < n)
            p[i] = '/';
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int rec_dir_list(struct spec_arena *a, const char *path, char ***names, size_t *n,
                 struct rec_error *err)
{
    int fd = open_beneath(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    size_t room = 0;
    *names = NULL;
    *n = 0;
    if (fd < 0)
        return fd == -ENOENT ? -ENOENT : fail(err, -fd, "list", path);
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return fail(err, errno, "list", path);
    }
    int r = 0;
    errno = 0;
    for (struct dirent *e; !r && (e = readdir(d)); errno = 0) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (*n == room) {
            size_t more = room ? room * 2 : 16;
            char **p = spec_arena_grow(a, *names, room * sizeof *p, more * sizeof *p);
            if (!p) {
                r = ENOMEM;
                break;
            }
            *names = p;
            room = more;
        }
        if (!((*names)[*n] = spec_arena_strdup(a, e->d_name)))
            r = ENOMEM;
        else
            (*n)++;
    }
    if (!r)
        r = errno;
    closedir(d);
    if (r)
        return fail(err, r, "list", path);
    if (*n > 1)
        qsort(*names, *n, sizeof **names, compare_names);
    return 0;
}

void rec_dir_unfinished(struct spec_arena *a, const char *path)
{
    static const char end[] = TEMPORARY;
    char **names;
    size_t n;
    if (rec_dir_list(a, path, &names, &n, NULL))
        return;
    scoped_fd dir = open_beneath(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    for (size_t i = 0; dir >= 0 && i < n; i++) {
        size_t len = strlen(names[i]);
        if (names[i][0] == '.' && len > sizeof end && !strcmp(names[i] + len - sizeof end + 1, end))
            unlinkat(dir, names[i], 0);
    }
}

/* "\\040" and its like of mountinfo(5), in place. */
static void unescape(char *p)
{
    char *to = p;
    for (; *p; p++)
        if (*p == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' &&
            p[3] <= '7') {
            *to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
            p += 3;
        } else {
            *to++ = *p;
        }
    *to = 0;
}

/* Moving would carry along what is mounted below. */
static int refuse_mounts(int dir, const char *path, struct rec_error *err)
{
    char link[32], real[4096], *line = NULL;
    size_t room = 0;
    int r = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, real, sizeof real);
    FILE *f = n <= 0 || n == sizeof real ? NULL : fopen("/proc/self/mountinfo", "re");
    if (!f)
        return fail(err, n == sizeof real ? ENAMETOOLONG : errno, "move", path);
    while (!r && getline(&line, &room, f) > 0) {
        char *p = line;
        for (int field = 0; p && field < 4; field++)
            p = (p = strchr(p, ' ')) ? p + 1 : NULL;
        if (!p)
            continue;
        p[strcspn(p, " \n")] = 0;
        unescape(p);
        if (!strncmp(p, real, (size_t)n) && (!p[n] || p[n] == '/'))
            r = rec_fail(err, EBUSY, "cannot move '%s': something is mounted at '%.200s'", path, p);
    }
    if (r)
        rec_hint(err, "berth reaches through no mount: unmount it first");
    free(line);
    fclose(f);
    return r;
}

int rec_tree_move(const char *from, const char *to, struct rec_error *err)
{
    const char *name, *new_name;
    scoped_fd up = parent(from, &name);
    scoped_fd dir = up < 0 ? up : open_beneath(up, name, O_RDONLY | O_DIRECTORY, 0);
    scoped_fd into = parent(to, &new_name);
    if (up < 0 || dir < 0)
        return fail(err, up < 0 ? -up : -dir, "move", from);
    if (into < 0)
        return fail(err, -into, "move to", to);
    int r = refuse_mounts(dir, from, err);
    if (!r && renameat2(up, name, into, new_name, RENAME_NOREPLACE))
        r = rec_fail(err, errno, "cannot move '%s' to '%s': %s", from, to, strerror(errno));
    if (!r && fsync(into) && errno != EINVAL)
        r = fail(err, errno, "move to", to);
    return r;
}

int rec_tree_exchange(const char *a, const char *b, struct rec_error *err)
{
    const char *name_a, *name_b;
    scoped_fd up_a = parent(a, &name_a);
    scoped_fd up_b = parent(b, &name_b);
    scoped_fd dir_a = up_a < 0 ? up_a : open_beneath(up_a, name_a, O_RDONLY | O_DIRECTORY, 0);
    scoped_fd dir_b = up_b < 0 ? up_b : open_beneath(up_b, name_b, O_RDONLY | O_DIRECTORY, 0);
    if (dir_a < 0 || dir_b < 0)
        return fail(err, dir_a < 0 ? -dir_a : -dir_b, "move", dir_a < 0 ? a : b);
    int r = refuse_mounts(dir_a, a, err);
    if (!r)
        r = refuse_mounts(dir_b, b, err);
    if (!r && renameat2(up_a, name_a, up_b, name_b, RENAME_EXCHANGE))
        r = rec_fail(err, errno, "cannot exchange '%s' and '%s': %s", a, b, strerror(errno));
    if (!r && fsync(up_a) && errno != EINVAL)
        r = fail(err, errno, "move", a);
    return r;
}

/* A removal holds two descriptors a level. What lies deeper than DEEPEST is moved to the top, which
 * is then read again. Its names there begin with a number that nobody could foresee, so nothing in
 * the tree stands in the way. */
enum { DEEPEST = 12 };
struct removal {
    int top;
    dev_t dev;
    uint64_t secret, moved;
};

static int move_up(struct removal *w, int dir, const char *name)
{
    char to[64];
    if (!w->secret && getrandom(&w->secret, sizeof w->secret, 0) != sizeof w->secret)
        return -errno;
    snprintf(to, sizeof to, ".berth-deep-%" PRIx64 "-%" PRIu64, w->secret, w->moved++);
    return renameat2(dir, name, w->top, to, RENAME_NOREPLACE) ? -errno : 0;
}

/* What is on another device, or is a mount, is not ours to delete. */
static int remove_inside(struct removal *w, int dir, unsigned depth)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    for (struct dirent *e; !r && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (!unlinkat(dir, e->d_name, 0) || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM) {
            r = -errno;
            break;
        }
        struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
                               .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_BENEATH};
        struct stat st;
        scoped_fd sub = (int)syscall(SYS_openat2, dir, e->d_name, &how, sizeof how);
        if (sub < 0 || fstat(sub, &st))
            r = -errno;
        else if (st.st_dev != w->dev)
            r = -EXDEV;
        else if (depth >= DEEPEST)
            r = move_up(w, dir, e->d_name);
        else
            r = remove_inside(w, sub, depth + 1);
        if (!r && depth < DEEPEST && unlinkat(dir, e->d_name, AT_REMOVEDIR))
            r = -errno;
    }
    closedir(d);
    return r;
}

int rec_tree_remove(const char *path, struct rec_error *err)
{
    const char *name;
    struct stat st;
    scoped_fd up = parent(path, &name);
    if (up < 0)
        return up == -ENOENT ? 0 : fail(err, -up, "remove", path);
    scoped_fd dir = open_beneath(up, name, O_RDONLY | O_DIRECTORY, 0);
    if (dir < 0)
        return dir == -ENOENT ? 0 : fail(err, -dir, "remove", path);
    int r = fstat(dir, &st) ? -errno : 0;
    struct removal w = {.top = dir, .dev = st.st_dev};
    for (uint64_t before = 0, again = 1; !r && again; before = w.moved) {
        r = remove_inside(&w, dir, 0);
        again = w.moved != before;
    }
    if (!r && unlinkat(up, name, AT_REMOVEDIR))
        r = -errno;
    return r ? fail(err, -r, "remove", path) : 0;
}
