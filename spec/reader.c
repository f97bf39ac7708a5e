/* libyaml's events become nodes that keep their place. Events, not documents: depth is bounded
 * before libyaml's scanner turns quadratic, and anchors, aliases and tags are refused where they
 * stand. libyaml's own complaints are put into words for an author. JSON writes a character beyond
 * U+FFFF as two escapes, a surrogate pair, which libyaml refuses (RFC 8259 7): it is given two
 * of as many bytes that it takes, so that places stay right, and what it makes of them becomes
 * the character. */
#include "spec/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    struct spec_ctx *c;
    yaml_parser_t parser;
    /* libyaml counts characters; bytes are found by walking on from the latest place, since
     * events come in order. */
    size_t line, col, byte;
    struct pair {
        size_t byte;
        uint32_t code;
    } * pairs; /* in the text's order */
    size_t n_pairs, next_pair;
    bool stop, anchored;
};

#define PAIR_ESCAPED "\\ufdd0\\ufdd1" /* U+FDD0, U+FDD1: no characters, ever (Unicode 23.7) */
#define PAIR_READ    "\xef\xb7\x90\xef\xb7\x91"

/* One half of a pair: an escape whose upper six bits are those of `kind`. */
static bool half(const char *t, size_t left, uint32_t kind, uint32_t *out)
{
    uint32_t v = 0;
    if (left < 6 || t[0] != '\\' || t[1] != 'u')
        return false;
    for (int i = 2; i < 6; i++) {
        char c = t[i] >= 'A' && t[i] <= 'F' ? (char)(t[i] - 'A' + 'a') : t[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        v = v << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    *out = v & 0x3ff;
    return (v & 0xfc00) == kind;
}

static bool append_pair(struct reader *r, size_t *room, size_t byte, uint32_t code)
{
    if (r->n_pairs == *room) {
        size_t more = *room ? *room * 2 : 16;
        struct pair *p =
            spec_arena_grow(r->c->arena, r->pairs, *room * sizeof *p, more * sizeof *p);
        if (!p)
            return false;
        r->pairs = p;
        *room = more;
    }
    r->pairs[r->n_pairs++] = (struct pair){byte, code};
    return true;
}

/* The text with another escape for each pair, wherever it stands; put_pairs gives back what was
 * no escape. NULL: out of memory. */
static const char *without_pairs(struct reader *r)
{
    const char *t = r->c->text, *end = t + r->c->len;
    char *copy = NULL;
    size_t room = 0;
    for (const char *p = t; (p = memmem(p, (size_t)(end - p), "\\u", 2));) {
        size_t byte = (size_t)(p - t), back = 0, left = (size_t)(end - p);
        uint32_t high, low;
        while (back < byte && p[-1 - (ptrdiff_t)back] == '\\')
            back++;
        if (back % 2 || !half(p, left, 0xd800, &high) || !half(p + 6, left - 6, 0xdc00, &low)) {
            p += 2;
            continue;
        }
        if (!copy && !(copy = spec_arena_strndup(r->c->arena, t, r->c->len)))
            return NULL;
        if (!append_pair(r, &room, byte, 0x10000 + (high << 10 | low)))
            return NULL;
        memcpy(copy + byte, PAIR_ESCAPED, sizeof PAIR_ESCAPED - 1);
        p += sizeof PAIR_ESCAPED - 1;
    }
    return copy ? copy : t;
}

/* Byte of a line and column, both from 0. */
static size_t byte_of(struct reader *r, size_t line, size_t col)
{
    const char *t = r->c->text;
    size_t len = r->c->len;
    if (line < r->line || (line == r->line && col < r->col))
        r->line = r->col = r->byte = 0;
    while (r->line < line && r->byte < len) {
        const char *nl = memchr(t + r->byte, '\n', len - r->byte);
        r->byte = nl ? (size_t)(nl - t) + 1 : len;
        r->line++;
        r->col = 0;
    }
    for (; r->col < col && r->byte < len; r->col++) {
        r->byte++;
        while (r->byte < len && ((uint8_t)t[r->byte] & 0xc0) == 0x80)
            r->byte++;
    }
    return r->byte;
}

static struct spec_loc at(struct reader *r, const yaml_mark_t *m, size_t width)
{
    size_t byte = byte_of(r, m->line, m->column);
    return (struct spec_loc){(uint32_t)m->line + 1, (uint32_t)m->column + 1,
                             (uint32_t)(byte + r->c->skipped), width ? (uint32_t)width : 1};
}

static size_t width_of(const yaml_event_t *e)
{
    return e->start_mark.line == e->end_mark.line && e->end_mark.column > e->start_mark.column
               ? e->end_mark.column - e->start_mark.column
               : 1;
}

/* `[::1]` is a list of a map to YAML: an empty key. Whoever writes it means an address. */
static bool meant_address(struct reader *r, const yaml_mark_t *m)
{
    struct spec_loc l = at(r, m, 1);
    size_t i = l.byte - r->c->skipped, n = 0;
    const char *t = r->c->text + i;
    while (i + n < r->c->len &&
           (t[n] == ':' || t[n] == '.' || t[n] == '/' || (t[n] >= '0' && t[n] <= '9') ||
            (t[n] >= 'a' && t[n] <= 'f') || (t[n] >= 'A' && t[n] <= 'F')))
        n++;
    if (n < 2 || t[0] != ':')
        return false;
    l.width = (uint32_t)n;
    spec_fault(r->c, SPEC_E_YAML, l,
               "quote this value: \"%.*s\" (a leading `:` means something else in YAML)",
               (int)(n > 60 ? 60 : n), t);
    return r->stop = true;
}

static void complain(struct reader *r)
{
    yaml_parser_t *p = &r->parser;
    r->stop = true;
    if (p->error == YAML_MEMORY_ERROR) {
        r->c->oom = true;
        return;
    }
    if (p->problem && strstr(p->problem, "expected node content") &&
        meant_address(r, &p->problem_mark))
        return;
    struct spec_loc problem = at(r, &p->problem_mark, 1);
    struct spec_loc context = p->context ? at(r, &p->context_mark, 1) : problem;
    spec_syntax_fault(r->c, p->problem ? p->problem : "not YAML", p->context ? p->context : "",
                      problem, context);
}

static bool next(struct reader *r, yaml_event_t *e)
{
    if (r->stop)
        return false;
    if (!yaml_parser_parse(&r->parser, e)) {
        complain(r);
        return false;
    }
    return true;
}

/* One cause, one message: an anchor is told, and the aliases that lead to it are not. */
static void refuse_anchor(struct reader *r, struct spec_loc l)
{
    if (r->anchored)
        return;
    r->anchored = true;
    struct spec_diag *d =
        spec_fault(r->c, SPEC_E_ALIAS, l, "anchors and aliases are not supported");
    spec_hint(r->c, d, "write what containers share once: `defaults: {container: {…}}`");
}

/* Anchors and tags: told, and then passed over, so that what follows is still read. */
static void refuse(struct reader *r, const yaml_event_t *e, const yaml_char_t *anchor,
                   const yaml_char_t *tag, bool implicit)
{
    if (anchor)
        refuse_anchor(r, at(r, &e->start_mark, strlen((const char *)anchor) + 1));
    if (tag && !implicit)
        spec_fault(r->c, SPEC_E_TAG, at(r, &e->start_mark, 1), "tags are not supported (`%.60s`)",
                   (const char *)tag);
}

static struct spec_node *node(struct reader *r, const yaml_event_t *e, enum spec_node_type type)
{
    struct spec_node *n = spec_arena_alloc(r->c->arena, sizeof *n);
    if (!n) {
        r->c->oom = r->stop = true;
        return NULL;
    }
    n->type = type;
    n->at = at(r, &e->start_mark, type == SPEC_SCALAR ? width_of(e) : 1);
    return n;
}

/* Escapes bring in what the bytes could not: \0, \e, \n. */
static void judge_text(struct reader *r, const struct spec_node *n, bool key)
{
    for (size_t i = 0; i < n->len; i++) {
        uint8_t b = (uint8_t)n->text[i];
        unsigned u = b;
        if (b == 0xc2 && i + 1 < n->len && (uint8_t)n->text[i + 1] < 0xa0)
            u = (uint8_t)n->text[i + 1];
        else if (b >= 0x20 && b != 0x7f)
            continue;
        if (!u)
            spec_fault(r->c, SPEC_E_CHAR, n->at, "NUL (U+0000, written \\0) is not allowed");
        else if (u == '\n' && key)
            spec_fault(r->c, SPEC_E_CHAR, n->at, "a line break is not allowed in a name");
        else if (u == '\n')
            spec_fault(r->c, SPEC_E_CHAR, n->at, "a line break is not allowed here");
        else if (key)
            spec_fault(r->c, SPEC_E_NAME, n->at, "control character U+%04X in a name", u);
        else
            spec_fault(r->c, SPEC_E_CHAR, n->at, "control character U+%04X is not allowed here", u);
        return;
    }
}

static char *put_utf8(char *to, uint32_t code) /* from U+10000 on */
{
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* Between double quotes a pair was read as two of no character, and is one; elsewhere a
 * backslash is one, and comes back. */
static void put_pairs(struct reader *r, const yaml_event_t *e, struct spec_node *n)
{
    size_t begin = n->at.byte - r->c->skipped;
    if (r->next_pair == r->n_pairs)
        return;
    bool escaped = e->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    bool block = e->data.scalar.style == YAML_LITERAL_SCALAR_STYLE ||
                 e->data.scalar.style == YAML_FOLDED_SCALAR_STYLE;
    const char *mark = escaped ? PAIR_READ : PAIR_ESCAPED,
               *line = block ? memchr(r->c->text + begin, '\n', r->c->len - begin) : NULL;
    size_t end = byte_of(r, e->end_mark.line, e->end_mark.column), k = strlen(mark);
    if (line) /* what stands behind `|` is a comment */
        begin = (size_t)(line - r->c->text);
    while (r->next_pair < r->n_pairs && r->pairs[r->next_pair].byte < begin)
        r->next_pair++;
    char *from = (char *)n->text, *to = from, *stop = from + n->len, *m;
    for (; r->next_pair < r->n_pairs && r->pairs[r->next_pair].byte < end; r->next_pair++) {
        const struct pair *p = &r->pairs[r->next_pair];
        if (!(m = memmem(from, (size_t)(stop - from), mark, k)))
            break;
        memmove(to, from, (size_t)(m - from));
        to += m - from;
        from = m + k;
        to = escaped ? put_utf8(to, p->code) : mempcpy(to, r->c->text + p->byte, k);
    }
    bool more = r->next_pair < r->n_pairs && r->pairs[r->next_pair].byte < end;
    if (more || (to != n->text && memmem(from, (size_t)(stop - from), mark, k)))
        spec_fault(r->c, SPEC_E_CHAR, n->at, "U+FDD0 and U+FDD1 are no characters; remove them");
    memmove(to, from, (size_t)(stop - from));
    n->len = (size_t)(to - n->text) + (size_t)(stop - from);
    ((char *)n->text)[n->len] = 0;
}

static struct spec_node *read_scalar(struct reader *r, const yaml_event_t *e, bool key)
{
    struct spec_node *n = node(r, e, SPEC_SCALAR);
    if (!n)
        return NULL;
    refuse(r, e, e->data.scalar.anchor, e->data.scalar.tag,
           e->data.scalar.plain_implicit || e->data.scalar.quoted_implicit);
    n->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    n->len = e->data.scalar.length;
    bool read = n->len <= 2 * SPEC_TEXT;
    n->text =
        spec_arena_strndup(r->c->arena, (const char *)e->data.scalar.value, read ? n->len : 0);
    if (!n->text) {
        r->c->oom = r->stop = true;
        return NULL;
    }
    if (read)
        put_pairs(r, e, n);
    if (n->len > SPEC_TEXT) {
        spec_fault(r->c, SPEC_E_LONG, n->at, "text longer than %d bytes", SPEC_TEXT);
        ((char *)n->text)[n->len = 0] = 0;
    }
    /* A block scalar's own last line break is how it is written, not what it says. */
    if (n->quoted && e->data.scalar.style == YAML_LITERAL_SCALAR_STYLE && n->len &&
        n->text[n->len - 1] == '\n')
        ((char *)n->text)[--n->len] = 0;
    judge_text(r, n, key);
    return n;
}

static struct spec_node *read_node(struct reader *r, yaml_event_t *e, unsigned depth, bool key);

static bool append(struct reader *r, struct spec_node ***list, size_t n, size_t *room,
                   struct spec_node *x)
{
    if (n == *room) {
        size_t more = *room ? *room * 2 : 4;
        struct spec_node **p =
            spec_arena_grow(r->c->arena, *list, *room * sizeof *p, more * sizeof *p);
        if (!p) {
            r->c->oom = r->stop = true;
            return false;
        }
        *list = p;
        *room = more;
    }
    (*list)[n] = x;
    return true;
}

static bool too_deep(struct reader *r, const yaml_event_t *e, unsigned depth)
{
    if (depth <= SPEC_DEPTH)
        return false;
    spec_fault(r->c, SPEC_E_DEPTH, at(r, &e->start_mark, 1), "nested deeper than %d levels",
               SPEC_DEPTH);
    return r->stop = true;
}

static struct spec_node *read_list(struct reader *r, yaml_event_t *e, unsigned depth)
{
    struct spec_node *n = node(r, e, SPEC_LIST);
    size_t room = 0;
    refuse(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag,
           e->data.sequence_start.implicit);
    if (!n || too_deep(r, e, depth))
        return n;
    for (yaml_event_t x; next(r, &x);) {
        bool end = x.type == YAML_SEQUENCE_END_EVENT;
        struct spec_node *v = end ? NULL : read_node(r, &x, depth + 1, false);
        yaml_event_delete(&x);
        if (end || !v || !append(r, &n->values, n->n, &room, v))
            break;
        n->n++;
    }
    return n;
}

void spec_drop_duplicates(struct spec_ctx *c, struct spec_node *n)
{
    struct spec_seen seen = {.arena = c->arena};
    size_t all = n->n, kept = 0;
    for (size_t i = 0; i < all; i++) {
        const struct spec_node *k = n->keys[i];
        const struct spec_loc *first = NULL;
        if (k->type == SPEC_SCALAR && all > 8)
            first = spec_seen_put(&seen, k->text, k->len, k->at, &c->oom);
        for (size_t j = 0; j < kept && k->type == SPEC_SCALAR && all <= 8 && !first; j++)
            if (n->keys[j]->type == SPEC_SCALAR && n->keys[j]->len == k->len &&
                !memcmp(n->keys[j]->text, k->text, k->len))
                first = &n->keys[j]->at;
        if (!first) {
            n->keys[kept] = n->keys[i];
            n->values[kept++] = n->values[i];
            continue;
        }
        struct spec_diag *d = spec_fault(
            c, SPEC_E_DUPLICATE_KEY, k->at, "`%.80s` is already set at %u:%u%s", k->text,
            first->line, first->col, k->quoted ? " (quotes do not make it another key)" : "");
        spec_note(c, d, *first, "the first one is here");
    }
    n->n = kept;
}

static struct spec_loc question_mark(const struct reader *r, struct spec_loc l)
{
    size_t i = l.byte - r->c->skipped, back = 0;
    while (back < i && r->c->text[i - back - 1] == ' ')
        back++;
    if (back < i && r->c->text[i - back - 1] == '?') {
        l.byte -= (uint32_t)back + 1;
        l.col -= (uint32_t)back + 1;
    }
    return l;
}

static void refuse_key(struct reader *r, const struct spec_node *map, const struct spec_node *k)
{
    bool template = k->type == SPEC_MAP && k->at.byte == map->at.byte + 1 &&
                    r->c->text[map->at.byte - r->c->skipped] == '{';
    if (!template) {
        spec_fault(r->c, SPEC_E_KEY, question_mark(r, k->at), "a key must be plain text");
        return;
    }
    struct spec_loc l = map->at;
    l.width = 2;
    struct spec_diag *d =
        spec_fault(r->c, SPEC_E_KEY, l, "`{{` begins a template, and a spec is plain YAML");
    spec_hint(r->c, d, "fill the template in first, and give berth the result");
}

static struct spec_node *read_map(struct reader *r, yaml_event_t *e, unsigned depth)
{
    struct spec_node *n = node(r, e, SPEC_MAP);
    size_t room_keys = 0, room_values = 0;
    refuse(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag,
           e->data.mapping_start.implicit);
    if (!n || too_deep(r, e, depth))
        return n;
    for (yaml_event_t x; next(r, &x);) {
        bool end = x.type == YAML_MAPPING_END_EVENT;
        struct spec_node *k = end ? NULL : read_node(r, &x, depth + 1, true), *v = NULL;
        yaml_event_delete(&x);
        if (end || !k)
            break;
        if (k->type != SPEC_SCALAR)
            refuse_key(r, n, k);
        if (next(r, &x)) {
            v = read_node(r, &x, depth + 1, false);
            yaml_event_delete(&x);
        }
        if (!v || !append(r, &n->keys, n->n, &room_keys, k) ||
            !append(r, &n->values, n->n, &room_values, v))
            break;
        n->n++;
    }
    if (!r->c->repairs)
        spec_drop_duplicates(r->c, n);
    return n;
}

static struct spec_node *read_node(struct reader *r, yaml_event_t *e, unsigned depth, bool key)
{
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, e, key);
    case YAML_SEQUENCE_START_EVENT:
        return read_list(r, e, depth);
    case YAML_MAPPING_START_EVENT:
        if (e->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE &&
            meant_address(r, &e->start_mark))
            return NULL;
        return read_map(r, e, depth);
    case YAML_ALIAS_EVENT:
        refuse_anchor(r, at(r, &e->start_mark, width_of(e)));
        r->stop = true;
        return NULL;
    default:
        r->stop = true;
        return NULL;
    }
}

static uint32_t lines_of(const struct spec_ctx *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < c->len; i++)
        n += c->text[i] == '\n';
    return n + (c->len && c->text[c->len - 1] != '\n');
}

static struct spec_node *read_stream(struct reader *r)
{
    struct spec_node *root = NULL;
    bool document = false;
    for (yaml_event_t e; next(r, &e);) {
        yaml_event_type_t type = e.type;
        if (type == YAML_DOCUMENT_START_EVENT && document) {
            spec_fault(r->c, SPEC_E_MULTI_DOC, at(r, &e.start_mark, 3),
                       "one document only; a second one starts here");
            r->stop = true;
        } else if (type == YAML_DOCUMENT_START_EVENT) {
            document = true;
        } else if (type == YAML_STREAM_END_EVENT && !document) {
            struct spec_loc l = {lines_of(r->c) + 1, 1, (uint32_t)(r->c->len + r->c->skipped), 1};
            spec_fault(r->c, SPEC_E_EMPTY, l, "the spec has no content");
        } else if (type != YAML_DOCUMENT_END_EVENT && type != YAML_STREAM_START_EVENT &&
                   type != YAML_STREAM_END_EVENT) {
            root = read_node(r, &e, 1, false);
        }
        yaml_event_delete(&e);
        if (type == YAML_STREAM_END_EVENT)
            break;
    }
    return root;
}

struct spec_node *spec_read(struct spec_ctx *c)
{
    struct reader r = {.c = c};
    if (!yaml_parser_initialize(&r.parser)) {
        c->oom = true;
        return NULL;
    }
    const char *text = without_pairs(&r);
    c->oom |= !text;
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text ? text : ""),
                                 text ? c->len : 0);
    struct spec_node *root = text ? read_stream(&r) : NULL;
    yaml_parser_delete(&r.parser);
    if (!root || r.stop || c->oom)
        return NULL;
    struct spec_loc start = root->at;
    if (root->type == SPEC_MAP)
        return root;
    if (root->type == SPEC_LIST)
        spec_fault(c, SPEC_E_NOT_MAP, start,
                   "the top level must be `key: value` pairs, not a list");
    else if (!root->len && !root->quoted)
        spec_fault(c, SPEC_E_EMPTY, (struct spec_loc){1, 1, (uint32_t)c->skipped, 1},
                   "the document is empty");
    else
        spec_fault(c, SPEC_E_NOT_MAP, start,
                   "expected `key: value`; is a space missing after `:`?");
    return NULL;
}
