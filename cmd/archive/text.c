/* What all parts use: the end with a sentence, text that grows, the manifest's lines. */
#include "cmd/archive/archive.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void fail(int code, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vdprintf(2, format, ap);
    va_end(ap);
    _exit(code);
}

void *grow(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        fail(ARCHIVE_IO, "out of memory");
    return q;
}

const char *shown(const char *text)
{
    static char buffers[4][1024];
    static unsigned next;
    char *out = buffers[next++ % 4], *p = out;
    for (; *text && p < out + 1000; text++)
        if ((unsigned char)*text < ' ' || *text == 127)
            p += sprintf(p, "\\%03o", (unsigned char)*text);
        else
            *p++ = *text;
    *p = 0;
    return out;
}

void text_put(struct text *t, const char *bytes, size_t n)
{
    if (t->n + n + 1 > t->room) {
        t->room = (t->n + n + 1) * 2;
        t->p = grow(t->p, t->room);
    }
    memcpy(t->p + t->n, bytes, n);
    t->n += n;
    t->p[t->n] = 0;
}

void text_add(struct text *t, const char *format, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    text_put(t, line, (size_t)n);
}

/* A path on one line: blanks, controls and the backslash itself in octal. */
static void add_path(struct text *t, const char *path)
{
    for (; *path; path++)
        if ((unsigned char)*path <= ' ' || *path == '\\' || *path == 127)
            text_add(t, "\\%03o", (unsigned char)*path);
        else
            text_put(t, path, 1);
}

void hex(struct sha256_ctx *h, char out[65])
{
    uint8_t d[SHA256_DIGEST_SIZE];
    sha256_digest(h, sizeof d, d);
    for (size_t i = 0; i < sizeof d; i++)
        sprintf(out + 2 * i, "%02x", d[i]);
}

void manifest_head(struct text *m, unsigned format, const char *head, size_t size)
{
    struct sha256_ctx h;
    char digest[65];
    sha256_init(&h);
    sha256_update(&h, size, (const uint8_t *)head);
    hex(&h, digest);
    text_add(m, "berth.manifest %u\n%s %zu " ARCHIVE_HEAD "\n", format, digest, size);
}

void manifest_closure(struct text *m, uint64_t size, const char *digest)
{
    text_add(m, "%s %llu " ARCHIVE_CLOSURE "\n", digest, (unsigned long long)size);
}

static void xattrs_digest(const struct xattrs *x, char out[65])
{
    struct sha256_ctx h;
    strcpy(out, "-");
    if (!x->n)
        return;
    sha256_init(&h);
    for (size_t i = 0; i < x->n; i++) {
        char size[32];
        int n = snprintf(size, sizeof size, "%zu:", x->list[i].size);
        sha256_update(&h, strlen(x->list[i].name) + 1, (const uint8_t *)x->list[i].name);
        sha256_update(&h, (size_t)n, (const uint8_t *)size);
        sha256_update(&h, x->list[i].size, (const uint8_t *)x->list[i].value);
    }
    hex(&h, out);
}

void manifest_item(struct text *m, const struct item *i)
{
    char attributes[65], type = S_ISREG(i->mode)   ? 'f'
                                : S_ISDIR(i->mode) ? 'd'
                                : S_ISLNK(i->mode) ? 'l'
                                : S_ISCHR(i->mode) ? 'c'
                                : S_ISBLK(i->mode) ? 'b'
                                                   : 'p';
    if (i->hard) { /* all else stands with its first name */
        text_add(m, "h - - - - - - - ");
    } else {
        xattrs_digest(&i->xattrs, attributes);
        text_add(m, "%c %04o %lu %lu %lld.%09ld ", type, (unsigned)(i->mode & 07777),
                 (unsigned long)i->uid, (unsigned long)i->gid, (long long)i->sec, i->nsec);
        if (type == 'f')
            text_add(m, "%llu %s %s ", (unsigned long long)i->size, i->digest, attributes);
        else if (type == 'c' || type == 'b')
            text_add(m, "%u:%u - %s ", major(i->rdev), minor(i->rdev), attributes);
        else
            text_add(m, "- - %s ", attributes);
    }
    add_path(m, i->path);
    if (i->hard || type == 'l') {
        text_put(m, " ", 1);
        add_path(m, i->target);
    }
    text_put(m, "\n", 1);
}

void xattrs_add(struct xattrs *x, const char *name, const void *value, size_t size)
{
    if (x->n == x->room) {
        x->room = x->room ? 2 * x->room : 8;
        x->list = grow(x->list, x->room * sizeof *x->list);
    }
    struct xattr *a = &x->list[x->n++];
    a->name = strcpy(grow(NULL, strlen(name) + 1), name);
    a->value = grow(NULL, size);
    a->size = size;
    if (size)
        memcpy(a->value, value, size);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

void xattrs_sort(struct xattrs *x)
{
    if (x->n > 1)
        qsort(x->list, x->n, sizeof *x->list, by_name);
}

void xattrs_clear(struct xattrs *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->list[i].name);
        free(x->list[i].value);
    }
    x->n = 0;
}
