/* A state is an array of pointers, sorted once it is complete; looking up is a binary search. */
#include "reconcile/state.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rec_state_init(struct rec_state *s, struct spec_arena *a)
{
    memset(s, 0, sizeof *s);
    s->arena = a;
}

static int grow(struct spec_arena *a, void **list, size_t n, size_t *room, size_t each)
{
    if (n < *room)
        return 0;
    size_t more = *room ? *room * 2 : 32;
    void *p = spec_arena_grow(a, *list, *room * each, more * each);
    if (!p)
        return -ENOMEM;
    *list = p;
    *room = more;
    return 0;
}

int rec_state_push(struct rec_state *s, struct rec_item *i)
{
    if (grow(s->arena, (void **)&s->items, s->n, &s->room, sizeof *s->items))
        return -ENOMEM;
    s->items[s->n++] = i;
    return 0;
}

struct rec_item *rec_state_add(struct rec_state *s, enum rec_kind_id kind, const char *key)
{
    struct rec_item *i = spec_arena_alloc(s->arena, sizeof *i);
    if (!i || rec_state_push(s, i))
        return NULL;
    i->kind = kind;
    i->key = key;
    i->ours = true;
    return i;
}

static int add_note(struct rec_state *s, const struct rec_note *n)
{
    if (grow(s->arena, (void **)&s->notes, s->n_notes, &s->room_notes, sizeof *s->notes))
        return -ENOMEM;
    struct rec_note copy = {.object = spec_arena_strdup(s->arena, n->object),
                            .text = spec_arena_strdup(s->arena, n->text),
                            .hint = n->hint ? spec_arena_strdup(s->arena, n->hint) : NULL,
                            .warning = n->warning};
    if (!copy.object || !copy.text || !copy.hint != !n->hint)
        return -ENOMEM;
    s->notes[s->n_notes++] = copy;
    return 0;
}

int rec_state_note(struct rec_state *s, const char *object, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return add_note(s, &(struct rec_note){.object = object, .text = text});
}

int rec_state_hint(struct rec_state *s, const char *object, const char *hint, const char *format,
                   ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return add_note(s, &(struct rec_note){.object = object, .text = text, .hint = hint});
}

int rec_state_warn(struct rec_state *s, const char *object, const char *hint, const char *format,
                   ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return add_note(
        s, &(struct rec_note){.object = object, .text = text, .hint = hint, .warning = true});
}

static int compare_items(const void *a, const void *b)
{
    const struct rec_item *x = *(struct rec_item *const *)a, *y = *(struct rec_item *const *)b;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return strcmp(x->key, y->key);
}

void rec_state_sort(struct rec_state *s)
{
    for (size_t i = 1; i < s->n; i++)
        if (compare_items(&s->items[i - 1], &s->items[i]) > 0) {
            qsort(s->items, s->n, sizeof *s->items, compare_items);
            return;
        }
}

const struct rec_item *rec_state_find(const struct rec_state *s, enum rec_kind_id kind,
                                      const char *key)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct rec_item *i = s->items[mid];
        int c = i->kind != kind ? (i->kind < kind ? -1 : 1) : strcmp(i->key, key);
        if (!c)
            return i;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}
