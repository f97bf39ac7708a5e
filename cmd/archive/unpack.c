/* From an archive to a tree, or to nothing but a verdict. What is not exactly as `pack` writes it
 * is refused, entry by entry, before any of it is made; and what was made is read back from the
 * disk and compared. */
#include "cmd/archive/archive.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

struct level {        /* a directory that was entered and not yet left */
    int fd;           /* -1: only looked at */
    size_t len;       /* of its path */
    char *last;       /* the name in it that came last */
    struct item item; /* its mode, owner and times are set when it is left */
};
struct unpack {
    struct archive *a;
    int staging; /* -1: only looked at */
    struct text manifest, head;
    struct level *levels; /* ARCHIVE_DEPTH + 2 */
    size_t n;
    char path[ARCHIVE_PATH]; /* of the innermost directory */
    void *files;             /* tsearch(3): paths that a hard link may name */
    uint64_t bytes, count;
    uint64_t most;      /* bytes of content that there is room for */
    uint64_t old_holes; /* bytes of holes that were hashed for format 1 */
    unsigned format;
};

#define bad(...) fail(ARCHIVE_BAD, __VA_ARGS__)

static void disk(const char *verb, const char *path)
{
    fail(ARCHIVE_IO, "cannot %s '%s': %s", verb, shown(path), strerror(errno));
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* ---- one entry: is it as it may be? ---------------------------------------- */

static void copy_path(char out[ARCHIVE_PATH], const char *from, const char *what)
{
    if (!from || !*from || strlen(from) >= ARCHIVE_PATH)
        bad("the archive holds %s without a usable name", what);
    strcpy(out, from);
}

/* "root", "root/a/b": no component is empty, "." or "..". */
static void check_path(const char *path)
{
    const char *p = path + sizeof ARCHIVE_ROOT - 1;
    if (strncmp(path, ARCHIVE_ROOT, sizeof ARCHIVE_ROOT - 1) || (*p && *p != '/'))
        bad("the archive holds '%s', which is not below '" ARCHIVE_ROOT "'", shown(path));
    while (*p) {
        size_t n = strcspn(++p, "/");
        if (!n || n > NAME_MAX || (n == 1 && *p == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            bad("the archive holds '%s', a path that is not safe", shown(path));
        p += n;
    }
}

static void take_xattrs(struct item *i, struct archive_entry *e)
{
    const char *name;
    const void *value;
    size_t size, all = 0;
    archive_entry_xattr_reset(e);
    while (archive_entry_xattr_next(e, &name, &value, &size) == ARCHIVE_OK) {
        if ((all += size + strlen(name)) > ARCHIVE_XATTRS)
            bad("the archive's '%s' has more attributes than there can be", shown(i->path));
        xattrs_add(&i->xattrs, name, value, size);
    }
    xattrs_sort(&i->xattrs);
    for (size_t k = 1; k < i->xattrs.n; k++)
        if (!strcmp(i->xattrs.list[k].name, i->xattrs.list[k - 1].name))
            bad("the archive's '%s' has an attribute twice", shown(i->path));
}

static void take(struct item *i, struct archive_entry *e)
{
    const char *hard = archive_entry_hardlink(e);
    copy_path(i->path, archive_entry_pathname(e), "an entry");
    size_t n = strlen(i->path);
    i->mode = archive_entry_mode(e);
    if (S_ISDIR(i->mode) && n > 1 && i->path[n - 1] == '/')
        i->path[n - 1] = 0;
    check_path(i->path);
    i->name = strrchr(i->path, '/');
    i->name = i->name ? i->name + 1 : i->path;
    i->uid = (uid_t)archive_entry_uid(e);
    i->gid = (gid_t)archive_entry_gid(e);
    i->sec = archive_entry_mtime(e);
    i->nsec = archive_entry_mtime_nsec(e);
    i->rdev = archive_entry_rdev(e);
    i->hard = hard != NULL;
    i->size = 0;
    *i->target = *i->digest = 0;
    xattrs_clear(&i->xattrs);
    if (i->hard) {
        copy_path(i->target, hard, "a hard link");
        return;
    }
    if (archive_entry_uid(e) < 0 || archive_entry_uid(e) >= UINT32_MAX ||
        archive_entry_gid(e) < 0 || archive_entry_gid(e) >= UINT32_MAX)
        bad("the archive's '%s' has an owner that cannot be", shown(i->path));
    if (S_ISLNK(i->mode))
        copy_path(i->target, archive_entry_symlink(e), "a link");
    else if (S_ISREG(i->mode) && archive_entry_size(e) < 0)
        bad("the archive's '%s' has no size", shown(i->path));
    else if (S_ISREG(i->mode))
        i->size = (uint64_t)archive_entry_size(e);
    else if (!S_ISDIR(i->mode) && !S_ISCHR(i->mode) && !S_ISBLK(i->mode) && !S_ISFIFO(i->mode))
        bad("the archive's '%s' is of a kind that no backup holds", shown(i->path));
    take_xattrs(i, e);
}

/* ---- onto the disk ---------------------------------------------------------- */

static void set_xattrs(const struct item *i, int dir, const char *name)
{
    char path[NAME_MAX + 64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
    for (size_t k = 0; k < i->xattrs.n; k++) {
        const struct xattr *x = &i->xattrs.list[k];
        if (lsetxattr(path, x->name, x->value, x->size, 0))
            fail(ARCHIVE_IO, "cannot set attribute '%s' of '%s': %s", shown(x->name),
                 shown(i->path), strerror(errno));
    }
}

/* Owner first: it takes away set-user-id bits and capabilities. */
static void finish(const struct item *i, int dir, const char *name)
{
    struct timespec times[2] = {{i->sec, i->nsec}, {i->sec, i->nsec}};
    if (fchownat(dir, name, i->uid, i->gid, AT_SYMLINK_NOFOLLOW))
        disk("give an owner to", i->path);
    set_xattrs(i, dir, name);
    if (!S_ISLNK(i->mode) && fchmodat(dir, name, i->mode & 07777, 0))
        disk("set the mode of", i->path);
    if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW))
        disk("set the time of", i->path);
}

static void leave(struct unpack *u)
{
    struct level *l = &u->levels[--u->n];
    if (l->fd >= 0) {
        finish(&l->item, l->fd, ".");
        close(l->fd);
    }
    free(l->last);
    xattrs_clear(&l->item.xattrs);
    free(l->item.xattrs.list);
    u->path[u->n ? u->levels[u->n - 1].len : 0] = 0;
}

/* Its directory is one that has been entered; what has been left does not come again, and names
 * within one only ascend. */
static int place(struct unpack *u, const struct item *i)
{
    size_t n = strlen(i->path) - strlen(i->name); /* with the slash */
    if (!u->n) {
        if (n || strcmp(i->path, ARCHIVE_ROOT) || !S_ISDIR(i->mode) || i->hard)
            bad("the archive's tree does not begin with its root, but with '%s'", shown(i->path));
        return u->staging;
    }
    while (u->n && (n < 1 || u->levels[u->n - 1].len != n - 1 || memcmp(u->path, i->path, n - 1)))
        leave(u);
    if (!u->n)
        bad("the archive's '%s' is not in a directory of the archive, or out of order",
            shown(i->path));
    struct level *l = &u->levels[u->n - 1];
    if (l->last && strcmp(l->last, i->name) >= 0)
        bad("the archive's '%s' comes twice, or out of order", shown(i->path));
    l->last = strcpy(grow(l->last, strlen(i->name) + 1), i->name);
    return l->fd;
}

static void enter(struct unpack *u, const struct item *i, int dir)
{
    if (u->n > ARCHIVE_DEPTH)
        bad("the archive has too many directories in one another");
    struct level *l = &u->levels[u->n];
    *l = (struct level){.fd = -1, .len = strlen(i->path), .item = *i};
    l->item.xattrs = (struct xattrs){0};
    for (size_t k = 0; k < i->xattrs.n; k++)
        xattrs_add(&l->item.xattrs, i->xattrs.list[k].name, i->xattrs.list[k].value,
                   i->xattrs.list[k].size);
    if (dir >= 0 && u->n && mkdirat(dir, i->name, 0700))
        disk("make directory", i->path);
    if (dir >= 0) {
        l->fd = openat(dir, u->n ? i->name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (l->fd < 0)
            disk("open", i->path);
    }
    strcpy(u->path, i->path);
    u->n++;
}

static void count_bytes(struct unpack *u, size_t n)
{
    u->bytes += n;
    if (u->bytes > u->most)
        bad("its files hold more than the %llu MiB that are free where they would go",
            (unsigned long long)(u->most >> 20));
}

/* Bytes to their places, holes left open; the digest is of the whole. */
static void data(struct unpack *u, struct item *i, int fd)
{
    static struct content content;
    uint64_t at = 0;
    const void *bytes;
    size_t n;
    la_int64_t where;
    int r;
    content_init(&content, u->format, i->size);
    for (;;) {
        r = archive_read_data_block(u->a, &bytes, &n, &where);
        bool over = r == ARCHIVE_EOF;
        if (!over && r != ARCHIVE_OK)
            bad("the archive is damaged at '%s': %s", shown(i->path), archive_error_string(u->a));
        uint64_t from = over ? i->size : (uint64_t)where;
        if (where < 0 || from < at || from > i->size || (!over && n > i->size - from))
            bad("the archive's '%s' is longer than it says", shown(i->path));
        if (u->format == 1 && (u->old_holes += from - at) > ARCHIVE_OLD_HOLES)
            bad("it was written by an earlier berth, and '%s' has holes that are too large to "
                "check",
                shown(i->path));
        if (over)
            break;
        count_bytes(u, n);
        content_put(&content, from, bytes, n);
        at = from;
        for (size_t done = 0; fd >= 0 && done < n;) {
            ssize_t k = pwrite(fd, (const char *)bytes + done, n - done, (off_t)(at + done));
            if (k < 0 && errno != EINTR)
                disk("write", i->path);
            done += k > 0 ? (size_t)k : 0;
        }
        at += n;
    }
    if (fd >= 0 && ftruncate(fd, (off_t)i->size))
        disk("write", i->path);
    content_done(&content, i->digest);
}

static void hard_link(struct unpack *u, const struct item *i, int dir)
{
    if (!tfind(i->target, &u->files, by_text))
        bad("the archive's '%s' is a hard link to '%s', which is no file before it", shown(i->path),
            shown(i->target));
    if (dir < 0)
        return;
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    char up[ARCHIVE_PATH];
    const char *name = strrchr(i->target, '/') + 1;
    snprintf(up, sizeof up, ".%.*s", (int)(name - i->target - (long)sizeof ARCHIVE_ROOT),
             i->target + sizeof ARCHIVE_ROOT - 1);
    int fd = (int)syscall(SYS_openat2, u->staging, up, &how, sizeof how);
    if (fd < 0 || linkat(fd, name, dir, i->name, 0))
        disk("link", i->path);
    close(fd);
}

static void entry(struct unpack *u, struct archive_entry *e, struct item *i)
{
    take(i, e);
    int dir = place(u, i), fd = -1;
    u->count++;
    if (i->hard) {
        hard_link(u, i, dir);
    } else if (S_ISDIR(i->mode)) {
        enter(u, i, dir);
    } else {
        char *path = strcpy(grow(NULL, strlen(i->path) + 1), i->path);
        if (!tsearch(path, &u->files, by_text))
            fail(ARCHIVE_IO, "out of memory");
        if (dir >= 0 && S_ISREG(i->mode))
            fd = openat(dir, i->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (dir >= 0 && ((S_ISREG(i->mode) && fd < 0) ||
                         (S_ISLNK(i->mode) && symlinkat(i->target, dir, i->name)) ||
                         (!S_ISREG(i->mode) && !S_ISLNK(i->mode) &&
                          mknodat(dir, i->name, (i->mode & S_IFMT) | 0600, i->rdev))))
            disk("make", i->path);
        if (S_ISREG(i->mode))
            data(u, i, fd);
        if (fd >= 0)
            close(fd);
        if (dir >= 0)
            finish(i, dir, i->name);
    }
    manifest_item(&u->manifest, i);
}

/* ---- the whole ---------------------------------------------------------------- */

static struct archive_entry *next(struct unpack *u)
{
    struct archive_entry *e;
    int r = archive_read_next_header(u->a, &e);
    if (r == ARCHIVE_EOF)
        return NULL;
    if (r != ARCHIVE_OK)
        bad("the archive is damaged: %s",
            archive_error_string(u->a) ? archive_error_string(u->a) : "it cannot be read");
    return e;
}

/* A file of our own: all of it. */
static void own_file(struct unpack *u, struct archive_entry *e, size_t most, struct text *out)
{
    char b[65536];
    la_ssize_t n;
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e))
        bad("this is no backup of berth's");
    text_put(out, "", 0);
    while ((n = archive_read_data(u->a, b, sizeof b)) != 0) {
        if (n < 0)
            bad("the archive is damaged: %s", archive_error_string(u->a));
        if (out->n + (size_t)n > most)
            bad("the archive's '%s' is larger than it can be", shown(archive_entry_pathname(e)));
        text_put(out, b, (size_t)n);
    }
}

/* Its bytes to `fd`, if it is wanted. Its line is true of what was written: each write is
 * checked, and nix checks it all once more. */
static void closure(struct unpack *u, struct archive_entry *e, int fd, struct text *line)
{
    static struct item i;
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) || u->count || line->n ||
        archive_entry_size(e) < 0)
        bad("the archive's closure is not where it belongs");
    strcpy(i.path, ARCHIVE_CLOSURE);
    i.size = (uint64_t)archive_entry_size(e);
    data(u, &i, fd);
    manifest_closure(line, i.size, i.digest);
    text_put(&u->manifest, line->p, line->n);
}

static void differs(const struct text *want, const struct text *have, const char *what)
{
    size_t line = 0, i = 0, end;
    if (want->n == have->n && !memcmp(want->p, have->p, want->n))
        return;
    for (; i < want->n && i < have->n && want->p[i] == have->p[i]; i++)
        if (want->p[i] == '\n')
            line = i + 1;
    for (end = line; end < want->n && want->p[end] != '\n';)
        end++;
    if (end > line + 500)
        end = line + 500;
    char text[512];
    snprintf(text, sizeof text, "%.*s", (int)(end - line), want->p + line);
    fail(ARCHIVE_BAD, "%s; the first that differs: %s", what,
         *text ? shown(text) : "something was added");
}

struct reread {
    unsigned format;
    struct text manifest;
};

static void reread_item(void *arg, struct item *i, int fd)
{
    struct reread *again = arg;
    if (fd >= 0)
        tree_data(i, fd, again->format, NULL, NULL);
    manifest_item(&again->manifest, i);
}

static void open_archive(struct unpack *u, int in)
{
    u->a = archive_read_new();
    /* Nothing but what pack writes: each format and filter more is code that a hostile file
     * could reach. */
    if (!u->a || archive_read_support_format_tar(u->a) != ARCHIVE_OK ||
        archive_read_support_filter_zstd(u->a) != ARCHIVE_OK)
        fail(ARCHIVE_IO, "out of memory");
    if (archive_read_open_fd(u->a, in, 1 << 16) != ARCHIVE_OK)
        bad("this is no backup of berth's: %s", archive_error_string(u->a));
    struct archive_entry *e = next(u);
    if (!e || !archive_entry_pathname(e) || strcmp(archive_entry_pathname(e), ARCHIVE_HEAD))
        bad("this is no backup of berth's");
    own_file(u, e, ARCHIVE_HEAD_MOST, &u->head);
}

static void answer_head(const struct unpack *u)
{
    for (size_t at = 0; at < u->head.n;) {
        ssize_t n = write(1, u->head.p + at, u->head.n - at);
        if (n < 0 && errno != EINTR)
            fail(ARCHIVE_IO, "cannot answer: %s", strerror(errno));
        at += n > 0 ? (size_t)n : 0;
    }
}

void archive_read_head(int in)
{
    struct unpack u = {.staging = -1};
    open_archive(&u, in);
    answer_head(&u);
    archive_read_free(u.a);
}

static void take_format(struct unpack *u, struct archive_entry *e)
{
    struct text text = {0};
    own_file(u, e, 16, &text);
    if (strcmp(text.p, "2\n"))
        bad("it was written by a later berth, whose backups this one cannot read");
    u->format = 2;
    free(text.p);
}

void archive_read_all(int in, int staging, int closure_out, uint64_t most)
{
    struct unpack u = {.staging = staging,
                       .levels = grow(NULL, (ARCHIVE_DEPTH + 2) * sizeof *u.levels),
                       .most = most,
                       .format = 1};
    struct text stored = {0}, closure_line = {0};
    struct item *i = grow(NULL, sizeof *i);
    struct archive_entry *e;
    memset(i, 0, sizeof *i);
    open_archive(&u, in);
    e = next(&u);
    if (e && archive_entry_pathname(e) && !strcmp(archive_entry_pathname(e), ARCHIVE_FORMAT)) {
        take_format(&u, e);
        e = next(&u);
    }
    manifest_head(&u.manifest, u.format, u.head.p, u.head.n);
    bool whole = false;
    for (; e; e = next(&u)) {
        const char *path = archive_entry_pathname(e);
        if (whole)
            bad("something follows the manifest");
        if (path && !strcmp(path, ARCHIVE_MANIFEST)) {
            own_file(&u, e, u.manifest.n + (1 << 16), &stored);
            whole = true;
        } else if (path && !strcmp(path, ARCHIVE_CLOSURE)) {
            closure(&u, e, closure_out, &closure_line);
        } else {
            entry(&u, e, i);
        }
    }
    if (!whole)
        bad("the archive is cut off: it has no manifest");
    differs(&stored, &u.manifest, "the archive is not what was written");
    bool tree = u.count > 0;
    while (u.n)
        leave(&u);
    if (staging >= 0 && tree) {
        struct reread again = {.format = u.format};
        manifest_head(&again.manifest, u.format, u.head.p, u.head.n);
        if (closure_line.n)
            text_put(&again.manifest, closure_line.p, closure_line.n);
        tree_walk(&(struct tree){.item = reread_item, .arg = &again}, staging);
        differs(&stored, &again.manifest,
                "what was written to the disk is not what the archive holds");
        if (syncfs(staging))
            fail(ARCHIVE_IO, "cannot write the tree: %s", strerror(errno));
    }
    struct sha256_ctx h;
    char digest[65];
    sha256_init(&h);
    sha256_update(&h, stored.n, (const uint8_t *)stored.p);
    hex(&h, digest);
    dprintf(1, "%s %d %d %llu %llu\n", digest, tree, closure_line.n > 0,
            (unsigned long long)u.count, (unsigned long long)u.bytes);
    answer_head(&u);
    archive_read_free(u.a);
}
