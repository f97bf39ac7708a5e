/* Blocks that double up to a bound, handed out from the front. The latest allocation may grow in
 * place, which is what lists do. */
#include "spec/arena.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 16 * 1024, LARGEST_BLOCK = 1024 * 1024 };

struct block {
    struct block *next;
    size_t size, used;
    _Alignas(max_align_t) char bytes[];
};
struct spec_arena {
    struct block *head;
};

static size_t rounded(size_t n)
{
    const size_t a = _Alignof(max_align_t);
    return n ? (n + a - 1) / a * a : a;
}

struct spec_arena *spec_arena_new(void)
{
    return calloc(1, sizeof(struct spec_arena));
}

void spec_arena_free(struct spec_arena *a)
{
    if (!a)
        return;
    for (struct block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

void *spec_arena_alloc(struct spec_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t n = rounded(bytes);
    struct block *b = a->head;
    if (!b || b->size - b->used < n) {
        size_t size = !b ? FIRST_BLOCK : b->size < LARGEST_BLOCK ? b->size * 2 : LARGEST_BLOCK;
        if (size < n)
            size = n;
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        *b = (struct block){.next = a->head, .size = size};
        a->head = b;
    }
    void *p = b->bytes + b->used;
    b->used += n;
    return memset(p, 0, n);
}

void *spec_arena_grow(struct spec_arena *a, void *old, size_t old_bytes, size_t new_bytes)
{
    struct block *b = a->head;
    size_t was = rounded(old_bytes), want = rounded(new_bytes);
    if (new_bytes > SIZE_MAX / 2)
        return NULL;
    if (old && b && (char *)old + was == b->bytes + b->used && want >= was &&
        b->size - b->used >= want - was) {
        memset(b->bytes + b->used, 0, want - was);
        b->used += want - was;
        return old;
    }
    void *p = spec_arena_alloc(a, new_bytes);
    if (p && old && old_bytes)
        memcpy(p, old, old_bytes < new_bytes ? old_bytes : new_bytes);
    return p;
}

char *spec_arena_strndup(struct spec_arena *a, const char *s, size_t n)
{
    char *p = spec_arena_alloc(a, n + 1);
    return p ? memcpy(p, s, n) : NULL;
}

char *spec_arena_strdup(struct spec_arena *a, const char *s)
{
    return spec_arena_strndup(a, s, strlen(s));
}

char *spec_arena_printf(struct spec_arena *a, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : spec_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}
