/* From a tree to an archive, in one pass. */
#include "cmd/archive/archive.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT 2
#define ZEROS  ((size_t)1 << 30)

struct pack {
    struct archive *a;
    struct text manifest;
    uint64_t at;       /* bytes of the current file that libarchive has */
    const void *zeros; /* ZEROS bytes of address space, without memory behind them */
};

static void check(struct pack *p, int r)
{
    if (r != ARCHIVE_OK)
        fail(ARCHIVE_IO, "cannot write the archive: %s",
             archive_error_string(p->a) ? archive_error_string(p->a) : strerror(errno));
}

static void put(struct pack *p, const void *bytes, size_t n)
{
    while (n) {
        la_ssize_t done = archive_write_data(p->a, bytes, n);
        if (done <= 0)
            check(p, ARCHIVE_FATAL);
        bytes = (const char *)bytes + done;
        n -= (size_t)done;
        p->at += (uint64_t)done;
    }
}

/* libarchive is told of holes beforehand, and then passes over their bytes unread. */
static void put_hole(struct pack *p, uint64_t to)
{
    while (p->at < to)
        put(p, p->zeros, to - p->at < ZEROS ? (size_t)(to - p->at) : ZEROS);
}

static void put_data(void *arg, uint64_t offset, const void *bytes, size_t n)
{
    struct pack *p = arg;
    put_hole(p, offset);
    put(p, bytes, n);
}

static void put_content(struct pack *p, struct item *i, int fd)
{
    p->at = 0;
    tree_data(i, fd, FORMAT, put_data, p);
    put_hole(p, i->size);
}

/* Where the bytes are, if there are holes between them. */
static void sparse(struct archive_entry *e, int fd, uint64_t size)
{
    uint64_t at = 0;
    bool holes = false;
    while (at < size) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;
        if (data < 0 && errno != ENXIO)
            return;
        holes |= data < 0 || (uint64_t)data > at;
        if (data < 0 || (uint64_t)data >= size)
            break;
        hole = lseek(fd, data, SEEK_HOLE);
        at = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
    }
    for (at = 0; holes && at < size;) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA),
              hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (data < 0 || (uint64_t)data >= size)
            break;
        at = hole < 0 || (uint64_t)hole > size ? size : (uint64_t)hole;
        archive_entry_sparse_add_entry(e, data, (la_int64_t)at - data);
    }
    if (holes && !archive_entry_sparse_count(e))
        archive_entry_sparse_add_entry(e, 0, 0);
}

static void item(void *arg, struct item *i, int fd)
{
    struct pack *p = arg;
    struct archive_entry *e = archive_entry_new();
    if (!e)
        fail(ARCHIVE_IO, "out of memory");
    archive_entry_set_pathname(e, i->path);
    archive_entry_set_mode(e, i->mode);
    archive_entry_set_uid(e, i->uid);
    archive_entry_set_gid(e, i->gid);
    archive_entry_set_mtime(e, i->sec, i->nsec);
    if (i->hard)
        archive_entry_set_hardlink(e, i->target);
    else if (S_ISLNK(i->mode))
        archive_entry_set_symlink(e, i->target);
    else if (S_ISREG(i->mode))
        archive_entry_set_size(e, (la_int64_t)i->size);
    else if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
        archive_entry_set_rdev(e, i->rdev);
    for (size_t k = 0; k < i->xattrs.n; k++)
        archive_entry_xattr_add_entry(e, i->xattrs.list[k].name, i->xattrs.list[k].value,
                                      i->xattrs.list[k].size);
    if (fd >= 0)
        sparse(e, fd, i->size);
    check(p, archive_write_header(p->a, e));
    archive_entry_free(e);
    if (fd >= 0)
        put_content(p, i, fd);
    manifest_item(&p->manifest, i);
}

static void own_file(struct pack *p, const char *name, const char *bytes, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    if (!e)
        fail(ARCHIVE_IO, "out of memory");
    archive_entry_set_pathname(e, name);
    archive_entry_set_mode(e, S_IFREG | 0600);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_mtime(e, 0, 0);
    check(p, archive_write_header(p->a, e));
    archive_entry_free(e);
    put(p, bytes, n);
}

static void read_head(int fd, struct text *out)
{
    char b[65536];
    ssize_t n;
    while ((n = read(fd, b, sizeof b)) != 0)
        if (n > 0 && out->n + (size_t)n <= ARCHIVE_HEAD_MOST)
            text_put(out, b, (size_t)n);
        else if (n > 0 || errno != EINTR)
            fail(ARCHIVE_IO, "cannot read what is to be said of the container");
}

static void put_closure(struct pack *p, int fd)
{
    struct item i = {.mode = S_IFREG | 0600};
    struct stat st;
    struct archive_entry *e = archive_entry_new();
    if (!e || fstat(fd, &st))
        fail(ARCHIVE_IO, "cannot read the closure: %s", strerror(errno));
    i.size = (uint64_t)st.st_size;
    strcpy(i.path, ARCHIVE_CLOSURE);
    archive_entry_set_pathname(e, i.path);
    archive_entry_set_mode(e, i.mode);
    archive_entry_set_size(e, st.st_size);
    archive_entry_set_mtime(e, 0, 0);
    check(p, archive_write_header(p->a, e));
    archive_entry_free(e);
    put_content(p, &i, fd);
    manifest_closure(&p->manifest, i.size, i.digest);
}

void archive_create(int head, int root, int closure, int out)
{
    struct pack p = {.a = archive_write_new()};
    struct text h = {0};
    read_head(head, &h);
    p.zeros = mmap(NULL, ZEROS, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p.zeros == MAP_FAILED)
        fail(ARCHIVE_IO, "out of memory");
    if (!p.a)
        fail(ARCHIVE_IO, "out of memory");
    check(&p, archive_write_set_format_pax(p.a));
    check(&p, archive_write_add_filter_zstd(p.a));
    /* Names are bytes, and attributes stand once, where GNU tar finds them too. */
    check(&p, archive_write_set_options(p.a, "pax:hdrcharset=BINARY,pax:xattrheader=SCHILY"));
    /* a pipe would get zeros up to a tape's block */
    check(&p, archive_write_set_bytes_in_last_block(p.a, 1));
    check(&p, archive_write_open_fd(p.a, out));
    own_file(&p, ARCHIVE_HEAD, h.p ? h.p : "", h.n);
    own_file(&p, ARCHIVE_FORMAT, "2\n", 2);
    manifest_head(&p.manifest, FORMAT, h.p ? h.p : "", h.n);
    if (closure >= 0)
        put_closure(&p, closure);
    if (root >= 0)
        tree_walk(&(struct tree){.item = item, .arg = &p}, root);
    own_file(&p, ARCHIVE_MANIFEST, p.manifest.p, p.manifest.n);
    check(&p, archive_write_close(p.a));
    if (fsync(out) && errno != EINVAL) /* a pipe */
        fail(ARCHIVE_IO, "cannot write the archive: %s", strerror(errno));
    archive_write_free(p.a);
    free(p.manifest.p);
    free(h.p);
}
