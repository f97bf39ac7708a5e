/* systemd-nspawn with sources that nobody can exchange. nspawn follows symbolic links in the paths
 * of its root and binds, and a container may be able to put a link there. So each source is opened
 * here without such links, becomes a mount in a private mount namespace, and nspawn gets the path
 * of that mount. The namespace and its mounts end with the container.
 * Without a user namespace root inside has uid 0 of the host, and /proc/1 leads to the program and
 * the descriptors of nspawn's stub. So nspawn's file and /dev/null come from read-only mounts. */
#include "reconcile/contain/contain.h"
#include "reconcile/contain/source.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x00000001
#endif
#ifndef MOUNT_ATTR_NODEV
#define MOUNT_ATTR_NODEV 0x00000004
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x00000004
#endif

/* One source of nspawn's arguments. */
struct source {
    char **word;        /* the argument that names it */
    const char *option; /* "--bind=", "--bind-ro=" or "": the word is a path alone */
    const char *behind; /* ":PLACE:OPTIONS" as in the argument, or "" */
    char path[PATH_MAX];
    char place[PATH_MAX]; /* where nspawn finds it */
};
struct start {
    const char *dir;
    char mounts[PATH_MAX];  /* a tmpfs that only root of this namespace sees */
    char program[PATH_MAX]; /* nspawn, in there */
    struct source *source;
    size_t n;
    struct source_writable writable;
};

static int complain(const char *verb, const char *object)
{
    int code = errno;
    dprintf(2, "berth: cannot %s '%s': %s\n", verb, object, strerror(code));
    return -code;
}

/* ---- nspawn's arguments ---------------------------------------------------- */

/* nspawn writes a colon in a path as \: and ends the path at a plain one. */
static int read_bind(struct source *s, char *word, const char *option)
{
    const char *p = word + strlen(option);
    size_t n = 0;
    for (; *p && *p != ':'; p++) {
        p += *p == '\\' && p[1];
        if (n + 1 == sizeof s->path)
            return -ENAMETOOLONG;
        s->path[n++] = *p;
    }
    s->path[n] = 0;
    s->option = option;
    s->behind = p;
    return 0;
}

static int read_words(struct start *s, char **argv)
{
    static const char *const options[] = {"--bind=", "--bind-ro="};
    size_t room = 0;
    while (argv[room])
        room++;
    s->source = calloc(room + 1, sizeof *s->source);
    if (!s->source)
        return complain("start", s->dir);
    for (char **word = argv; *word && strcmp(*word, "--") != 0; word++) {
        struct source *to = &s->source[s->n];
        *to = (struct source){.word = word};
        int r = 0;
        if (!strcmp(*word, "-D") && word[1]) {
            to->word = ++word;
            to->option = to->behind = "";
            r = snprintf(to->path, sizeof to->path, "%s", *word) >= (int)sizeof to->path;
        }
        for (size_t i = 0; !to->option && i < 2; i++)
            if (!strncmp(*word, options[i], strlen(options[i])))
                r = read_bind(to, *word, options[i]);
        errno = ENAMETOOLONG;
        if (r)
            return complain("open", *word);
        /* nspawn itself knows that the host's root directory is no container's. */
        s->n += to->option && strcmp(to->path, "/") != 0;
    }
    return 0;
}

static char *put_escaped(char *to, const char *path)
{
    for (; *path; path++) {
        if (*path == ':' || *path == '\\')
            *to++ = '\\';
        *to++ = *path;
    }
    *to = 0;
    return to;
}

/* The argument with `place` in the place of the path. A bind that names the path alone means the
 * same path in the container. */
static char *write_word(const struct source *s)
{
    size_t size = strlen(s->option) + 2 * (strlen(s->place) + strlen(s->path)) + strlen(s->behind);
    char *word = *s->option ? malloc(size + 2) : strdup(s->place);
    if (!word || !*s->option)
        return word;
    char *to = put_escaped(stpcpy(word, s->option), s->place);
    if (*s->behind) {
        strcpy(to, s->behind);
    } else {
        *to++ = ':';
        put_escaped(to, s->path);
    }
    return word;
}

/* ---- what containers can write ---------------------------------------------- */

/* berth writes CONTAIN_WRITABLE, each path with its NUL. Without that file no link is followed. */
static int read_writable(struct start *s)
{
    struct stat st;
    int fd = open(CONTAIN_WRITABLE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = NULL;
    static const char *const everything[] = {"/"};
    static struct source_place place;
    s->writable = (struct source_writable){.path = everything, .n = 1, .place = &place};
    if (fd < 0)
        return errno == ENOENT ? 0 : complain("read", CONTAIN_WRITABLE);
    ssize_t n = fstat(fd, &st) ? -1 : st.st_size;
    if (n >= 0 && (text = calloc(1, (size_t)n + 1)))
        n = read(fd, text, (size_t)n);
    int r = !text || n < 0 ? complain("read", CONTAIN_WRITABLE) : 0;
    close(fd);
    size_t most = 1;
    for (ssize_t i = 0; !r && i < n; i++)
        most += !text[i];
    const char **path = r ? NULL : calloc(most, sizeof *path);
    struct source_place *places = r ? NULL : calloc(most, sizeof *places);
    if (!r && (!path || !places))
        r = complain("read", CONTAIN_WRITABLE);
    if (r)
        return r;
    s->writable = (struct source_writable){.path = path, .place = places};
    for (const char *p = text; p < text + n; p += strlen(p) + 1)
        path[s->writable.n++] = p;
    return 0;
}

/* ---- the sources as mounts --------------------------------------------------- */

/* A bind of /run must not show it: hence unbindable. Its files are places to mount on. */
static int mount_places(struct start *s)
{
    int n = snprintf(s->mounts, sizeof s->mounts, "%s/start", s->dir);
    errno = ENAMETOOLONG;
    if (n >= (int)sizeof s->mounts || (mkdir(s->mounts, 0700) && errno != EEXIST) ||
        mount("tmpfs", s->mounts, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") ||
        mount("", s->mounts, NULL, MS_UNBINDABLE, NULL))
        return complain("mount a tmpfs on", s->mounts);
    return 0;
}

/* An empty file or directory to mount on, with the directories above it. */
static int make_place(const char *path, bool directory)
{
    char part[PATH_MAX];
    for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
        if (mkdir(part, 0755) && errno != EEXIST)
            return -1;
    }
    return directory ? mkdir(path, 0755) : mknod(path, S_IFREG | 0600, 0);
}

/* A device node in a root or a bind is no device, whoever made it: an archive, or an earlier root
 * without a user namespace. What a bind names below /dev is meant. */
static bool has_devices(const struct source *source, const struct stat *st)
{
    return *source->option && (!S_ISDIR(st->st_mode) || !strcmp(source->path, "/dev") ||
                               !strncmp(source->path, "/dev/", 5));
}

static int forbid_devices(int tree)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV};
    return (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
                        sizeof attr);
}

static int move_tree(int from, const struct source *source)
{
    struct stat st;
    int tree = (int)syscall(SYS_open_tree, from, "",
                            AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return -1;
    int r = fstat(tree, &st) || make_place(source->place, S_ISDIR(st.st_mode)) ||
            (!has_devices(source, &st) && forbid_devices(tree)) ||
            syscall(SYS_move_mount, tree, "", AT_FDCWD, source->place, MOVE_MOUNT_F_EMPTY_PATH);
    int code = errno;
    close(tree);
    errno = code;
    return r ? -1 : 0;
}

/* Each has a directory of its own, by number. Below that it has its path, so that messages of
 * nspawn name it. */
static int place_source(struct start *s, size_t i)
{
    char why[600];
    struct source *source = &s->source[i];
    int fd = source_open(source->path, &s->writable, why, sizeof why);
    if (fd == -EPERM) {
        dprintf(2, "berth: '%s' %s\n", source->path, why);
        return fd;
    }
    errno = -fd;
    if (fd < 0)
        return complain("open", source->path);
    int n =
        snprintf(source->place, sizeof source->place, "%s/%zu%s", s->mounts, i + 1, source->path);
    errno = ENAMETOOLONG;
    int r = n >= (int)sizeof source->place || move_tree(fd, source);
    if (!r && !(*source->word = write_word(source)))
        r = -1;
    if (r)
        r = complain("mount", source->path);
    close(fd);
    return r;
}

static bool is_own_etc(const struct start *s, const struct source *source)
{
    size_t n = strlen(s->dir);
    return !strncmp(source->path, s->dir, n) && !strcmp(source->path + n, "/etc");
}

/* ---- nspawn itself ------------------------------------------------------------ */

/* The file `path` of the host, read-only, as `place`. mount_setattr(2) keeps flags of the mount
 * that remount would lose, but it needs Linux 5.12. */
static int mount_read_only(const char *path, const char *place)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return -1;
    bool set = !syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr);
    int r = mknod(place, S_IFREG | 0600, 0) ||
            syscall(SYS_move_mount, tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
    int code = errno;
    close(tree);
    errno = code;
    if (!r && !set)
        r = mount("", place, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
    return r ? -1 : 0;
}

/* sd_listen_fds(3): berth-network gives a container its gate by such descriptors. */
static unsigned first_to_close(void)
{
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    bool passed = pid && n && strtol(pid, NULL, 10) == getpid();
    return 3 + (passed ? (unsigned)strtoul(n, NULL, 10) : 0);
}

/* Pipes and sockets have no file on the host. Everything else becomes a /dev/null that can be
 * opened and not changed: also an output, which berth and its units never make anything else. */
static int replace_descriptors(const char *null)
{
    struct stat st;
    int fd = open(null, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        bool harmless = i && !fstat(i, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
        if (!harmless && dup2(fd, i) < 0)
            return -1;
    }
    return (int)syscall(SYS_close_range, first_to_close(), ~0u, 0);
}

/* The name stays "systemd-nspawn": ps(1) shows it. */
static int own_files(struct start *s, char *nspawn)
{
    char null[PATH_MAX];
    const char *slash = strrchr(nspawn, '/');
    int n = snprintf(s->program, sizeof s->program, "%s/%s", s->mounts, slash ? slash + 1 : nspawn);
    errno = ENAMETOOLONG;
    if (n >= (int)sizeof s->program || mount_read_only(nspawn, s->program))
        return complain("mount", nspawn);
    n = snprintf(null, sizeof null, "%s/null", s->mounts);
    if (n >= (int)sizeof null || mount_read_only("/dev/null", null) || replace_descriptors(null))
        return complain("open", "/dev/null");
    return 0;
}

int contain_start(const char *dir, char **argv)
{
    struct start s = {.dir = dir};
    int r = read_words(&s, argv);
    if (!r)
        r = read_writable(&s);
    if (!r && (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_SLAVE | MS_REC, NULL)))
        r = complain("make a mount namespace for", dir);
    for (size_t i = 0; !r && i < s.n; i++)
        if (is_own_etc(&s, &s.source[i]))
            r = contain_etc(s.source[i].path);
    if (!r)
        r = mount_places(&s);
    for (size_t i = 0; !r && i < s.n; i++)
        r = place_source(&s, i);
    /* Names of network namespaces would be kept once more for each container. */
    if (!r)
        umount2("/run/netns", MNT_DETACH | UMOUNT_NOFOLLOW);
    if (!r)
        r = own_files(&s, argv[0]);
    if (r)
        return r;
    contain_cgroups();
    execv(s.program, argv);
    return complain("execute", argv[0]);
}
