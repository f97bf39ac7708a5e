/* The parent trusts nothing of this: each length is held against what is there. */
#include "cmd/git/frame.h"
#include <errno.h>
#include <string.h>

static const char head[] = "berth-git 1\n";

/* "NAME LENGTH\n" at *p. */
static int record_head(const char **p, const char *end, struct git_record *out)
{
    size_t n = 0;
    const char *q = *p;
    for (; q < end && *q >= 'a' && *q <= 'z' && n < GIT_FRAME_NAME; q++)
        out->name[n++] = *q;
    out->name[n] = 0;
    if (!n || q == end || *q++ != ' ')
        return -EINVAL;
    const char *digits = q;
    for (out->len = 0; q < end && *q >= '0' && *q <= '9' && q - digits < 10; q++)
        out->len = out->len * 10 + (size_t)(*q - '0');
    if (q == digits || q == end || *q++ != '\n')
        return -EINVAL;
    *p = q;
    return 0;
}

int git_frame_parse(const char *text, size_t len, struct git_frame *out)
{
    const char *p = text + sizeof head - 1, *end = text + len;
    out->n = 0;
    if (len < sizeof head - 1 || memcmp(text, head, sizeof head - 1))
        return -EINVAL;
    for (;;) {
        struct git_record r;
        if (record_head(&p, end, &r) || r.len >= (size_t)(end - p) || p[r.len] != '\n')
            return -EINVAL;
        r.bytes = p;
        p += r.len + 1;
        if (!strcmp(r.name, "end"))
            return r.len || p != end ? -EINVAL : 0;
        if (out->n == GIT_FRAME_RECORDS)
            return -EINVAL;
        out->list[out->n++] = r;
    }
}

const struct git_record *git_frame_find(const struct git_frame *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (!strcmp(f->list[i].name, name))
            return &f->list[i];
    return NULL;
}

void git_frame_text(const struct git_frame *f, const char *name, char *out, size_t room)
{
    const struct git_record *r = git_frame_find(f, name);
    size_t n = 0;
    for (size_t i = 0; r && i < r->len && n + 1 < room; i++)
        out[n++] = (unsigned char)r->bytes[i] < 0x20 || r->bytes[i] == 0x7f ? ' ' : r->bytes[i];
    /* Not in the middle of a character. */
    if (r && n < r->len)
        while (n && ((unsigned char)out[n - 1] & 0xc0) == 0x80)
            n--;
    if (r && n < r->len && n && (unsigned char)out[n - 1] >= 0xc0)
        n--;
    out[n] = 0;
}
