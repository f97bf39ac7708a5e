/* cmd/archive/archive.h — a backup: a tar, compressed by zstd, that proves itself.
 * Holds    berth.json (what was backed up, and its part of the spec), berth.format ("2"; absent in
 *          format 1), closure.nix (what `nix-store --export` wrote; may be absent), root/… (the
 *          tree; may be absent), berth.manifest.
 * Manifest one line for berth.json, for closure.nix and for each entry of the tree, in their order,
 *          with all that is kept of it and the SHA-256 of its bytes and of its extended attributes.
 *          A reader writes the same text again and compares; after an extraction it
 *          is written once more, from the disk.
 * Order    a directory before what is in it, names within one sorted by bytes: so each entry's
 *          directory is the one that was entered last, nothing comes twice, and no path is ever
 *          looked up.
 * Source   libarchive's archive_entry(3); pax(1) extended headers with SCHILY.xattr and
 *          GNU.sparse. */
#ifndef CMD_ARCHIVE_ARCHIVE_H
#define CMD_ARCHIVE_ARCHIVE_H
#include <archive.h>
#include <archive_entry.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARCHIVE_HEAD      "berth.json"
#define ARCHIVE_FORMAT    "berth.format"
#define ARCHIVE_CLOSURE   "closure.nix"
#define ARCHIVE_ROOT      "root"
#define ARCHIVE_MANIFEST  "berth.manifest"
#define ARCHIVE_DEPTH     500 /* directories in one another: each is held open */
#define ARCHIVE_PATH      4096
#define ARCHIVE_XATTRS    (1 << 20) /* bytes of one entry's */
#define ARCHIVE_HEAD_MOST (4 << 20)
#define ARCHIVE_CHUNK     65536 /* bytes: the unit of a digest in format 2 */
#define ARCHIVE_OLD_HOLES                                                                          \
    ((uint64_t)64 << 30) /* bytes of holes that format 1 may hash in one archive */

/* Exit status: what failed is one line on stderr. */
enum {
    ARCHIVE_OK_EXIT = 0,
    ARCHIVE_BAD = 1 /* the archive */,
    ARCHIVE_IO = 2 /* this host */,
    ARCHIVE_TREE = 3 /* cannot be backed up */
};

void *grow(void *p, size_t size); /* realloc, or the end */
void fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* `text` for a message: control bytes as \ooo. In a buffer of its own, four at once. */
const char *shown(const char *text);

struct text {
    char *p;
    size_t n, room;
};
void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_put(struct text *t, const char *bytes, size_t n);

/* Extended attributes, sorted by name. */
struct xattrs {
    struct xattr {
        char *name, *value;
        size_t size;
    } * list;
    size_t n, room;
};
void xattrs_add(struct xattrs *x, const char *name, const void *value, size_t size);
void xattrs_sort(struct xattrs *x);
void xattrs_clear(struct xattrs *x);

struct item {
    char path[ARCHIVE_PATH]; /* "root", "root/etc/passwd" */
    const char *name;        /* its last component */
    mode_t mode;             /* with its type */
    uid_t uid;
    gid_t gid;
    int64_t sec;
    long nsec;
    uint64_t size; /* regular files */
    dev_t rdev;
    char target[ARCHIVE_PATH]; /* of a symlink, or the first name of a hard link */
    bool hard;
    struct xattrs xattrs;
    char digest[65]; /* of a regular file's bytes */
};
void manifest_head(struct text *m, unsigned format, const char *head, size_t size);
void manifest_closure(struct text *m, uint64_t size, const char *digest);
void manifest_item(struct text *m, const struct item *i);
void hex(struct sha256_ctx *h, char out[65]);

/* The digest of a file's content, fed with its data in ascending order; holes are left out.
 * Format 1  SHA-256 of all bytes, holes as zeros: its time grows with the holes.
 * Format 2  SHA-256 over each aligned chunk of ARCHIVE_CHUNK bytes that is not all zeros: its
 *           offset (8 bytes, little endian), then its bytes. It is the same wherever a file system
 *           keeps holes, and holes cost no time. */
struct content {
    struct sha256_ctx hash;
    unsigned format;
    uint64_t size; /* of the file */
    uint64_t at;   /* format 1: bytes hashed; format 2: where `chunk` begins */
    bool begun;    /* format 2: `chunk` holds data */
    uint8_t chunk[ARCHIVE_CHUNK];
};
void content_init(struct content *c, unsigned format, uint64_t size);
void content_put(struct content *c, uint64_t offset, const void *bytes, size_t n);
void content_done(struct content *c, char out[65]);

/* tree.c: each entry of the tree at `dir`, in order; `fd`: a regular file, open, or -1. `data`
 * has to set the digest. */
struct tree {
    void (*item)(void *arg, struct item *i, int fd);
    void *arg;
};
void tree_walk(const struct tree *t, int dir);
/* The data of `fd`, without its holes, to `each` in ascending order (NULL: to nobody); sets the
 * digest. */
void tree_data(struct item *i, int fd, unsigned format,
               void (*each)(void *arg, uint64_t offset, const void *bytes, size_t n), void *arg);

/* pack.c, unpack.c */
/* root, closure -1: there is none */
void archive_create(int head, int root, int closure, int out);
/* Looked at, told on stdout, and with `staging` made there; `closure`: goes into that file. -1:
 * neither. */
/* `most`: bytes of content that there is room for; an archive with more is refused. */
void archive_read_all(int in, int staging, int closure, uint64_t most);
/* berth.json alone, to stdout, unchecked. */
void archive_read_head(int in);
#endif
