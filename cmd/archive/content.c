/* The digest of a file's content in both formats of a backup. */
#include "cmd/archive/archive.h"
#include <string.h>

static const uint8_t zeros[ARCHIVE_CHUNK];

void content_init(struct content *c, unsigned format, uint64_t size)
{
    sha256_init(&c->hash);
    c->format = format;
    c->size = size;
    c->at = 0;
    c->begun = false;
}

/* Format 1: the hole up to `offset`. */
static void hash_zeros(struct content *c, uint64_t offset)
{
    while (c->at < offset) {
        size_t n = offset - c->at < sizeof zeros ? (size_t)(offset - c->at) : sizeof zeros;
        sha256_update(&c->hash, n, zeros);
        c->at += n;
    }
}

/* Format 2: the chunk that is complete. */
static void hash_chunk(struct content *c)
{
    uint64_t left = c->size - c->at;
    size_t n = left < sizeof c->chunk ? (size_t)left : sizeof c->chunk;
    uint8_t offset[8];
    if (!c->begun || !memcmp(c->chunk, zeros, n))
        return;
    for (int i = 0; i < 8; i++)
        offset[i] = (uint8_t)(c->at >> (8 * i));
    sha256_update(&c->hash, sizeof offset, offset);
    sha256_update(&c->hash, n, c->chunk);
}

void content_put(struct content *c, uint64_t offset, const void *bytes, size_t n)
{
    if (c->format == 1) {
        hash_zeros(c, offset);
        sha256_update(&c->hash, n, bytes);
        c->at += n;
        return;
    }
    while (n) {
        uint64_t begin = offset - offset % ARCHIVE_CHUNK;
        size_t inside = (size_t)(offset - begin);
        size_t part = ARCHIVE_CHUNK - inside < n ? ARCHIVE_CHUNK - inside : n;
        if (!c->begun || begin != c->at) {
            hash_chunk(c);
            memset(c->chunk, 0, sizeof c->chunk);
            c->at = begin;
            c->begun = true;
        }
        memcpy(c->chunk + inside, bytes, part);
        bytes = (const char *)bytes + part;
        offset += part;
        n -= part;
    }
}

void content_done(struct content *c, char out[65])
{
    if (c->format == 1)
        hash_zeros(c, c->size);
    else
        hash_chunk(c);
    hex(&c->hash, out);
}
