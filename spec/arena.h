/* spec/arena.h — memory by lifetime: everything allocated from an arena is freed with it.
 * Owns     every block it has handed out, until spec_arena_free.
 * Limits   an allocation of 0 bytes is one of 1; alignment is that of max_align_t.
 * Errors   NULL when malloc fails; the arena stays usable. */
#ifndef SPEC_ARENA_H
#define SPEC_ARENA_H
#include <stddef.h>

struct spec_arena;
struct spec_arena *spec_arena_new(void);
void spec_arena_free(struct spec_arena *a);                 /* NULL is fine */
void *spec_arena_alloc(struct spec_arena *a, size_t bytes); /* zeroed */
/* As realloc of the arena's latest allocation where it fits, else a copy. `old` NULL with 0
 * bytes is a first one. */
void *spec_arena_grow(struct spec_arena *a, void *old, size_t old_bytes, size_t new_bytes);
char *spec_arena_strndup(struct spec_arena *a, const char *s, size_t n);
char *spec_arena_strdup(struct spec_arena *a, const char *s);
char *spec_arena_printf(struct spec_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#endif
