/* Faults are collected, told once each, sorted by place and printed in the form that editors and
 * grep know. Whatever the file holds is escaped on its way out: a spec may be hostile to the
 * terminal that shows its faults. */
#include "spec/internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const slugs[] = {
    [0] = "",
    [SPEC_E_EMPTY] = "empty-spec",
    [SPEC_E_CHAR] = "bad-char",
    [SPEC_E_UTF8] = "bad-utf8",
    [SPEC_E_ENCODING] = "bad-encoding",
    [SPEC_E_YAML] = "yaml-syntax",
    [SPEC_E_NOT_MAP] = "not-a-map",
    [SPEC_E_MULTI_DOC] = "multi-doc",
    [SPEC_E_YAML_VERSION] = "yaml-version",
    [SPEC_E_DUPLICATE_KEY] = "duplicate-key",
    [SPEC_E_ALIAS] = "no-alias",
    [SPEC_E_TAG] = "no-tag",
    [SPEC_E_OUTSIDE] = "outside-bridge",
    [SPEC_E_KEY] = "bad-key",
    [SPEC_E_UNKNOWN_KEY] = "unknown-key",
    [SPEC_E_DEPTH] = "too-deep",
    [SPEC_E_SIZE] = "too-large",
    [SPEC_E_LONG] = "too-long",
    [SPEC_E_NAME] = "bad-name",
    [SPEC_E_NUMBER] = "bad-number",
    [SPEC_E_NO_VALUE] = "missing-value",
    [SPEC_E_BOOL] = "bad-bool",
    [SPEC_E_TYPE] = "bad-type",
    [SPEC_E_MISSING] = "missing-key",
    [SPEC_E_VERSION] = "bad-version",
    [SPEC_E_RESERVED] = "reserved-name",
    [SPEC_E_ADDRESS] = "bad-address",
    [SPEC_E_PREFIX] = "prefix-mismatch",
    [SPEC_E_DUPLICATE_ADDRESS] = "duplicate-address",
    [SPEC_E_MAC] = "bad-mac",
    [SPEC_E_DUPLICATE_MAC] = "duplicate-mac",
    [SPEC_E_PORT] = "bad-port",
    [SPEC_E_PROTOCOL] = "bad-protocol",
    [SPEC_E_DUPLICATE_PORT] = "duplicate-port",
    [SPEC_E_PATH] = "bad-path",
    [SPEC_E_NESTED] = "nested-path",
    [SPEC_E_CHOICE] = "bad-choice",
    [SPEC_E_TOGETHER] = "not-together",
    [SPEC_E_MANY] = "too-many",
    [SPEC_E_OVERLAP] = "overlap",
    [SPEC_E_GATEWAY] = "bad-gateway",
    [SPEC_E_LINK_NAME] = "link-name-clash",
    [SPEC_E_REF] = "bad-ref",
    [SPEC_E_TEXT] = "bad-text",
};

void spec_diag_code(uint16_t code, char out[6])
{
    snprintf(out, 6, "E%03u", code % 1000u);
}

static uint64_t hash(const char *s, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 1099511628211u;
    return h ^ h >> 29;
}

const struct spec_loc *spec_seen_put(struct spec_seen *s, const char *key, size_t len,
                                     struct spec_loc at, bool *oom)
{
    if (2 * (s->n + 1) > s->room) {
        struct spec_seen old = *s;
        size_t room = s->room ? s->room * 2 : 16;
        s->slot = spec_arena_alloc(s->arena, room * sizeof *s->slot);
        if (!s->slot) {
            *s = old;
            *oom = true;
            return NULL;
        }
        s->room = room;
        s->n = 0;
        for (size_t i = 0; i < old.room; i++)
            if (old.slot[i].key)
                spec_seen_put(s, old.slot[i].key, old.slot[i].len, old.slot[i].at, oom);
    }
    size_t i = hash(key, len) & (s->room - 1);
    for (; s->slot[i].key; i = (i + 1) & (s->room - 1))
        if (s->slot[i].len == len && !memcmp(s->slot[i].key, key, len))
            return &s->slot[i].at;
    s->slot[i].key = key;
    s->slot[i].len = len;
    s->slot[i].at = at;
    s->n++;
    return NULL;
}

const struct spec_loc *spec_seen_find(const struct spec_seen *s, const char *key, size_t len)
{
    if (!s->room)
        return NULL;
    for (size_t i = hash(key, len) & (s->room - 1); s->slot[i].key; i = (i + 1) & (s->room - 1))
        if (s->slot[i].len == len && !memcmp(s->slot[i].key, key, len))
            return &s->slot[i].at;
    return NULL;
}

__attribute__((format(printf, 5, 0))) static struct spec_diag *
add(struct spec_ctx *c, enum spec_level level, enum spec_code code, struct spec_loc at,
    const char *format, va_list ap)
{
    struct spec_diags *d = c->diags;
    char text[600], key[32];
    /* What cannot be read at all has no second fault at its place. */
    bool unread =
        code == SPEC_E_TAG || code == SPEC_E_ALIAS || code == SPEC_E_CHAR || code == SPEC_E_LONG;
    vsnprintf(text, sizeof text, format, ap);
    int n = snprintf(key, sizeof key, "%u:%u:%d", at.byte, at.line, (int)code);
    int place = snprintf(NULL, 0, "%u:%u", at.byte, at.line);
    const char *mine = spec_arena_strndup(c->arena, key, (size_t)n);
    c->told.arena = c->arena;
    if (!mine || spec_seen_find(&c->told, mine, (size_t)place) ||
        spec_seen_put(&c->told, mine, (size_t)n, at, &c->oom))
        return NULL;
    if (unread)
        spec_seen_put(&c->told, mine, (size_t)place, at, &c->oom);
    d->total++;
    d->errors += level == SPEC_ERROR;
    if (d->n == SPEC_DIAGS_KEPT)
        return NULL;
    if (d->n == c->room) {
        size_t room = c->room ? c->room * 2 : 16;
        struct spec_diag *list = spec_arena_alloc(c->arena, room * sizeof *list);
        if (!list) {
            c->oom = true;
            return NULL;
        }
        if (d->n)
            memcpy(list, d->list, d->n * sizeof *list);
        d->list = list;
        c->room = room;
    }
    struct spec_diag *x = &d->list[d->n++];
    *x = (struct spec_diag){.level = level,
                            .code = (uint16_t)code,
                            .slug = slugs[code],
                            .at = at,
                            .path = "",
                            .text = spec_arena_strdup(c->arena, text)};
    if (!x->at.width)
        x->at.width = 1;
    if (!x->text) {
        x->text = "";
        c->oom = true;
    }
    return x;
}

struct spec_diag *spec_fault(struct spec_ctx *c, enum spec_code code, struct spec_loc at,
                             const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    struct spec_diag *d = add(c, SPEC_ERROR, code, at, format, ap);
    va_end(ap);
    return d;
}

struct spec_diag *spec_warning(struct spec_ctx *c, enum spec_code code, struct spec_loc at,
                               const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    struct spec_diag *d = add(c, SPEC_WARNING, code, at, format, ap);
    va_end(ap);
    return d;
}

__attribute__((format(printf, 2, 0))) static const char *text_of(struct spec_ctx *c,
                                                                 const char *format, va_list ap)
{
    char text[300];
    vsnprintf(text, sizeof text, format, ap);
    const char *t = spec_arena_strdup(c->arena, text);
    c->oom |= !t;
    return t;
}

void spec_hint(struct spec_ctx *c, struct spec_diag *d, const char *format, ...)
{
    if (!d)
        return;
    va_list ap;
    va_start(ap, format);
    d->hint = text_of(c, format, ap);
    va_end(ap);
}

void spec_note(struct spec_ctx *c, struct spec_diag *d, struct spec_loc at, const char *format, ...)
{
    if (!d)
        return;
    va_list ap;
    va_start(ap, format);
    d->note_at = at;
    d->note = text_of(c, format, ap);
    va_end(ap);
}

static int compare(const void *a, const void *b)
{
    const struct spec_diag *x = a, *y = b;
    if (x->at.line != y->at.line)
        return x->at.line < y->at.line ? -1 : 1;
    if (x->at.col != y->at.col)
        return x->at.col < y->at.col ? -1 : 1;
    return (x->code > y->code) - (x->code < y->code);
}

void spec_diags_sort(struct spec_diags *d)
{
    if (d->n > 1)
        qsort(d->list, d->n, sizeof *d->list, compare);
}

size_t spec_source_line(const char *text, size_t len, uint32_t line, const char **start)
{
    const char *p = text, *end = text + len;
    if (len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
        p += 3;
    for (uint32_t l = 1; l < line && p < end; l++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        p = nl ? nl + 1 : end;
    }
    *start = p;
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    size_t n = (size_t)((nl ? nl : end) - p);
    return n && p[n - 1] == '\r' ? n - 1 : n;
}

/* One character of UTF-8 at p: its length, or 0 if it is none. */
static size_t utf8(const char *s, size_t n, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t k = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (!k || k > n)
        return 0;
    uint32_t v = k == 1 ? p[0] : p[0] & (0x7fu >> k);
    for (size_t i = 1; i < k; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[k] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    *code = v;
    return k;
}

static bool unsafe(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
           c == 0x200f || c == 0x061c || c == 0xfeff;
}

struct out {
    char *p;
    size_t n, room;
    bool failed;
};

static void put(struct out *o, const char *s, size_t n)
{
    if (o->n + n + 1 > o->room) {
        size_t room = (o->n + n + 1) * 2;
        char *p = realloc(o->p, room);
        if (!p) {
            o->failed = true;
            return;
        }
        o->p = p;
        o->room = room;
    }
    memcpy(o->p + o->n, s, n);
    o->n += n;
    o->p[o->n] = 0;
}

static void puts_(struct out *o, const char *s)
{
    put(o, s, strlen(s));
}

/* At most `most` characters; what a terminal would act on becomes <U+009B> or <FF>. Gives the
 * column after `upto` characters. */
static size_t put_safe(struct out *o, const char *s, size_t n, size_t most, size_t upto)
{
    size_t shown = 0, column = 0, chars = 0;
    for (size_t i = 0; i < n && shown < most; chars++) {
        uint32_t c;
        char esc[16];
        size_t k = utf8(s + i, n - i, &c), width = 1;
        if (chars == upto)
            column = shown;
        if (k && c == '\t') {
            puts_(o, " ");
        } else if (!k || unsafe(c)) {
            width = (size_t)snprintf(esc, sizeof esc, k ? "<U+%04X>" : "<%02X>",
                                     k ? c : (unsigned)(uint8_t)s[i]);
            puts_(o, esc);
        } else {
            put(o, s + i, k);
        }
        shown += width;
        i += k ? k : 1;
    }
    return chars <= upto ? shown + (upto - chars) : column;
}

static void put_source(struct out *o, const struct spec_loc *at, const char *text, size_t len,
                       const char *hint, bool color)
{
    const char *line;
    char number[24];
    size_t n = spec_source_line(text, len, at->line, &line), most = 160;
    snprintf(number, sizeof number, "%5u | ", at->line);
    puts_(o, number);
    size_t column = put_safe(o, line, n, most, at->col - 1);
    puts_(o, "\n      | ");
    for (size_t i = 0; i < column && i < most; i++)
        puts_(o, " ");
    puts_(o, color ? "\033[1;32m" : "");
    for (uint32_t i = 0; i < at->width && i + column < most; i++)
        puts_(o, "^");
    puts_(o, color ? "\033[0m" : "");
    if (hint) {
        puts_(o, " ");
        put_safe(o, hint, strlen(hint), 1000, 0);
    }
    puts_(o, "\n");
}

static void put_place(struct out *o, const char *name, const struct spec_loc *at)
{
    char place[32];
    put_safe(o, name, strlen(name), 4096, 0);
    snprintf(place, sizeof place, ":%u:%u: ", at->line, at->col);
    puts_(o, place);
}

char *spec_diags_format(struct spec_arena *a, const struct spec_diags *d, const char *name,
                        const char *text, size_t len, bool color)
{
    struct out o = {0};
    size_t shown = d->n < SPEC_DIAGS_SHOWN ? d->n : SPEC_DIAGS_SHOWN;
    puts_(&o, "");
    for (size_t i = 0; i < shown; i++) {
        const struct spec_diag *x = &d->list[i];
        char code[6];
        bool error = x->level == SPEC_ERROR;
        spec_diag_code(x->code, code);
        put_place(&o, name, &x->at);
        puts_(&o, color ? (error ? "\033[1;31m" : "\033[1;33m") : "");
        puts_(&o, error ? "error[" : "warning[");
        puts_(&o, code);
        puts_(&o, color ? "]\033[0m: " : "]: ");
        put_safe(&o, x->text, strlen(x->text), 2000, 0);
        puts_(&o, "\n");
        put_source(&o, &x->at, text, len, x->hint, color);
        if (x->note) {
            put_place(&o, name, &x->note_at);
            puts_(&o, "note: ");
            put_safe(&o, x->note, strlen(x->note), 2000, 0);
            puts_(&o, "\n");
        }
    }
    if (d->total > shown) {
        char more[48];
        snprintf(more, sizeof more, "and %zu more\n", d->total - shown);
        puts_(&o, more);
    }
    char *out = o.failed || !o.p ? NULL : spec_arena_strndup(a, o.p, o.n);
    free(o.p);
    return out;
}
