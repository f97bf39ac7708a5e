/* The file is opened once, without waiting (a FIFO would), and looked at through that descriptor:
 * what fstat told before and after the reading must agree, or it is read again. */
#include "cmd/spec_file.h"
#include "cmd/owned_dir.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *cmd_spec_find(const char *given, const char *env)
{
    if (given)
        return given;
    if (env && *env)
        return env;
    if (!access(CMD_SPEC_HERE, F_OK))
        return CMD_SPEC_HERE;
    if (!access("/etc/berth/berth.yaml", F_OK))
        return "/etc/berth/berth.yaml";
    return NULL;
}

/* At most limit + 1 bytes from where `fd` stands. `guess`: how many there may be. */
static int slurp(int fd, size_t limit, size_t guess, char **out, size_t *len)
{
    size_t room = (guess < limit ? guess : limit) + 2, n = 0;
    char *text = malloc(room);
    while (text && n <= limit) {
        if (n + 1 >= room) {
            room *= 2;
            char *more = realloc(text, room);
            if (!more)
                break;
            text = more;
        }
        size_t want = room - n - 1 < limit + 1 - n ? room - n - 1 : limit + 1 - n;
        ssize_t r = read(fd, text + n, want);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0) {
            int code = errno;
            free(text);
            return -code;
        }
        if (!r) {
            text[n] = 0;
            *out = text;
            *len = n;
            return 0;
        }
        n += (size_t)r;
    }
    if (!text || n <= limit) {
        free(text);
        return -ENOMEM;
    }
    text[n] = 0;
    *out = text;
    *len = n;
    return 0;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
           a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static const char *what_it_is(mode_t mode)
{
    return S_ISFIFO(mode) ? "a pipe" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int read_open(int fd, const char *name, size_t limit, struct cmd_spec_file *out,
                     struct rec_error *err)
{
    struct stat before, after;
    for (int tries = 0; tries < 5; tries++) {
        if (fstat(fd, &before))
            return rec_fail(err, errno, "cannot read '%s': %s", name, strerror(errno));
        if (S_ISDIR(before.st_mode)) {
            rec_fail(err, EISDIR, "cannot read '%s': it is a directory", name);
            rec_hint(err, "name the spec file in it");
            return -EISDIR;
        }
        if (!S_ISREG(before.st_mode)) {
            rec_fail(err, EINVAL, "cannot read '%s': it is %s, not a file", name,
                     what_it_is(before.st_mode));
            rec_hint(err,
                     "to read a spec from a stream, give - and let the stream be standard input");
            return -EINVAL;
        }
        size_t guess = before.st_size > 0 ? (size_t)before.st_size : 0;
        int r =
            lseek(fd, 0, SEEK_SET) < 0 ? -errno : slurp(fd, limit, guess, &out->text, &out->len);
        if (!r && fstat(fd, &after))
            r = -errno;
        if (r)
            return rec_fail(err, -r, "cannot read '%s': %s", name, strerror(-r));
        if (same(&before, &after))
            return 0;
        free(out->text);
        out->text = NULL;
    }
    rec_fail(err, EINVAL, "cannot read '%s': it changes while it is read", name);
    rec_hint(err, "write a new file and rename it over the old one");
    return -EINVAL;
}

static char *dir_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    char *dir = slash ? strndup(name, slash == name ? 1 : (size_t)(slash - name)) : strdup(".");
    char *real = dir ? realpath(dir, NULL) : NULL;
    free(dir);
    return real;
}

static char *path_of(const char *dir, const char *name)
{
    const char *slash = strrchr(name, '/');
    char *path = NULL;
    if (!dir || asprintf(&path, "%s/%s", strcmp(dir, "/") ? dir : "", slash ? slash + 1 : name) < 0)
        return NULL;
    return path;
}

int cmd_spec_read(const char *name, size_t limit, struct cmd_spec_file *out, struct rec_error *err)
{
    struct cmd_spec_file f = {.name = name};
    if (!strcmp(name, "-")) {
        f.name = "<stdin>";
        int r = slurp(0, limit, 65536, &f.text, &f.len);
        if (r)
            return rec_fail(err, -r, "cannot read the spec from standard input: %s", strerror(-r));
        *out = f;
        return 0;
    }
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        int code = errno;
        rec_fail(err, code, "cannot read '%s': %s", name, strerror(code));
        return -code;
    }
    int r = read_open(fd, name, limit, &f, err);
    close(fd);
    if (r)
        return r;
    f.dir = dir_of(name);
    f.path = path_of(f.dir, name);
    *out = f;
    return 0;
}

static int refuse_here(struct rec_error *err, const char *why)
{
    rec_fail(err, EXDEV, "cannot use './" CMD_SPEC_HERE "': %s", why);
    rec_hint(err, "if you trust it, name it: berth plan ./" CMD_SPEC_HERE);
    return -EXDEV;
}

/* A group of root, or one that has no member but the owner, as Debian's adduser makes it. */
static bool own_group(const struct stat *st)
{
    if (!st->st_gid)
        return true;
    const struct passwd *p = getpwuid(st->st_uid);
    const struct group *g = p && p->pw_gid == st->st_gid ? getgrgid(st->st_gid) : NULL;
    if (!g || strcmp(g->gr_name, p->pw_name))
        return false;
    for (char **member = g->gr_mem; *member; member++)
        if (strcmp(*member, p->pw_name))
            return false;
    return true;
}

static bool others_write(const struct stat *st)
{
    return st->st_mode & S_IWOTH || (st->st_mode & S_IWGRP && !own_group(st));
}

static int check_here(int dir, int file, const struct owned_trust *t, struct rec_error *err)
{
    struct stat in, st;
    char why[200];
    if (fstat(dir, &in) || fstat(file, &st))
        return rec_fail(err, errno, "cannot read '" CMD_SPEC_HERE "': %s", strerror(errno));
    bool swappable = others_write(&in) && (!(in.st_mode & S_ISVTX) || st.st_nlink > 1);
    const char *what = !owned_trusts(t, in.st_uid) ? "the directory" : "it";
    if (!owned_trusts(t, in.st_uid) || !owned_trusts(t, st.st_uid)) {
        snprintf(why, sizeof why,
                 "%s belongs to user %u, who is neither root nor the user who called sudo", what,
                 !owned_trusts(t, in.st_uid) ? in.st_uid : st.st_uid);
        return refuse_here(err, why);
    }
    if (swappable)
        return refuse_here(err,
                           "other users can write to the directory, and put another file there");
    return others_write(&st) ? refuse_here(err, "other users can write to it") : 0;
}

int cmd_spec_read_here(size_t limit, struct cmd_spec_file *out, struct rec_error *err)
{
    struct cmd_spec_file f = {.name = CMD_SPEC_HERE};
    struct owned_trust trust = {.n = 0};
    uid_t lead = OWNED_NOBODY;
    const char *sudo = getenv("SUDO_UID");
    char path[64];
    if (geteuid())
        return cmd_spec_read(CMD_SPEC_HERE, limit, out, err);
    /* The usual place, which root named: the units stand there. */
    struct stat in, usual;
    if (!stat(".", &in) && !stat("/etc/berth", &usual) && in.st_dev == usual.st_dev &&
        in.st_ino == usual.st_ino)
        return cmd_spec_read(CMD_SPEC_HERE, limit, out, err);
    owned_trust_add(&trust, 0);
    if (sudo && *sudo && strspn(sudo, "0123456789") == strlen(sudo))
        owned_trust_add(&trust, (uid_t)strtoul(sudo, NULL, 10));
    int held = -1, fd = -1, dir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? -errno : owned_walk(dir, CMD_SPEC_HERE, &trust, &lead, &held);
    if (r == -EXDEV)
        r = refuse_here(err, "a symbolic link of another user leads to it");
    else if (r)
        r = rec_fail(err, -r, "cannot read '" CMD_SPEC_HERE "': %s", strerror(-r));
    else
        r = check_here(dir, held, &trust, err);
    if (!r) {
        /* The file that was checked, not what has its name now. */
        snprintf(path, sizeof path, "/proc/self/fd/%d", held);
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        r = fd < 0 ? rec_fail(err, errno, "cannot read '" CMD_SPEC_HERE "': %s", strerror(errno))
                   : read_open(fd, f.name, limit, &f, err);
    }
    for (const int *p = (int[]){dir, held, fd, -2}; *p != -2; p++)
        if (*p >= 0)
            close(*p);
    if (r)
        return r;
    f.dir = dir_of(f.name);
    f.path = path_of(f.dir, f.name);
    *out = f;
    return 0;
}

void cmd_spec_file_done(struct cmd_spec_file *f)
{
    free(f->text);
    free(f->dir);
    free(f->path);
    f->text = f->dir = f->path = NULL;
}
