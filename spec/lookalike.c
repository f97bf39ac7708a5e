/* spec/lookalike.c — characters that look like a blank, a quote, a colon or a hyphen and are none
 * to YAML. They come from web pages and word processors, and no reader can see them. Comments,
 * quoted text and free text (`x-…`, environment, command) may hold them. */
#include "spec/internal.h"
#include <string.h>

struct lookalike {
    uint32_t code;
    const char *name;
    const char *meant; /* what to type, "" where nothing is */
};

static const struct lookalike table[] = {
    /* sorted by code */
    {0x00a0, "a no-break space", " "},
    {0x00ad, "a soft hyphen", ""},
    {0x1680, "an ogham space", " "},
    {0x2000, "an en quad", " "},
    {0x2001, "an em quad", " "},
    {0x2002, "an en space", " "},
    {0x2003, "an em space", " "},
    {0x2004, "a space of a third em", " "},
    {0x2005, "a space of a fourth em", " "},
    {0x2006, "a space of a sixth em", " "},
    {0x2007, "a figure space", " "},
    {0x2008, "a punctuation space", " "},
    {0x2009, "a thin space", " "},
    {0x200a, "a hair space", " "},
    {0x200b, "a zero-width space", ""},
    {0x200c, "a zero-width non-joiner", ""},
    {0x200d, "a zero-width joiner", ""},
    {0x2010, "another hyphen", "-"},
    {0x2011, "a no-break hyphen", "-"},
    {0x2012, "a figure dash", "-"},
    {0x2013, "an en dash", "-"},
    {0x2014, "an em dash", "-"},
    {0x2015, "a horizontal bar", "-"},
    {0x2018, "a curly quote", "'"},
    {0x2019, "a curly quote", "'"},
    {0x201c, "a curly quote", "\""},
    {0x201d, "a curly quote", "\""},
    {0x201e, "a low quote", "\""},
    {0x2024, "a one dot leader", "."},
    {0x202f, "a narrow no-break space", " "},
    {0x205f, "a mathematical space", " "},
    {0x2060, "a word joiner", ""},
    {0x2212, "a minus sign", "-"},
    {0x2236, "a ratio sign", ":"},
    {0x3000, "an ideographic space", " "},
    {0xa789, "a letter like a colon", ":"},
    {0xff0c, "a fullwidth comma", ","},
    {0xff0d, "a fullwidth hyphen", "-"},
    {0xff0e, "a fullwidth full stop", "."},
    {0xff0f, "a fullwidth slash", "/"},
    {0xff1a, "a fullwidth colon", ":"},
    {0xff3b, "a fullwidth bracket", "["},
    {0xff3d, "a fullwidth bracket", "]"},
    {0xff5b, "a fullwidth brace", "{"},
    {0xff5d, "a fullwidth brace", "}"},
};

/* The text is valid UTF-8: spec_prescan has seen it. */
static uint32_t decode(const char *s, size_t n, size_t *bytes)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t k = 1;
    if (p[0] >= 0xc0)
        k = (size_t)2 + (p[0] >= 0xe0) + (p[0] >= 0xf0);
    if (k > n)
        k = 1;
    uint32_t v = k == 1 ? p[0] : p[0] & (0x7fu >> k);
    for (size_t i = 1; i < k; i++)
        v = v << 6 | (p[i] & 0x3f);
    *bytes = k;
    return v;
}

static const struct lookalike *row_of(uint32_t code)
{
    for (size_t i = 0; i < sizeof table / sizeof *table && table[i].code <= code; i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

/* The first look-alike in `n` bytes of `s`, and where it is. */
static const struct lookalike *find_in(const char *s, size_t n, size_t *where)
{
    for (size_t i = 0, k; i < n; i += k) {
        const struct lookalike *l = (uint8_t)s[i] < 0x80 ? NULL : row_of(decode(s + i, n - i, &k));
        if ((uint8_t)s[i] < 0x80)
            k = 1;
        *where = i;
        if (l)
            return l;
    }
    return NULL;
}

struct spec_loc spec_place(const struct spec_ctx *c, size_t byte, size_t bytes)
{
    struct spec_loc l = {1, 1, (uint32_t)(byte + c->skipped), 0};
    size_t start = 0;
    for (size_t i = 0; i < byte && i < c->len; i++)
        if (c->text[i] == '\n') {
            l.line++;
            start = i + 1;
        }
    for (size_t i = start; i < byte && i < c->len; i++)
        l.col += ((uint8_t)c->text[i] & 0xc0) != 0x80;
    for (size_t i = byte; i < byte + bytes && i < c->len; i++)
        l.width += ((uint8_t)c->text[i] & 0xc0) != 0x80;
    l.width = l.width ? l.width : 1;
    return l;
}

static void tell(struct spec_ctx *c, const struct lookalike *l, size_t byte)
{
    struct spec_loc at = spec_place(c, byte, 1);
    struct spec_diag *d;
    if (!*l->meant) {
        spec_fault(c, SPEC_E_CHAR, at, "U+%04X (%s) cannot be seen; remove it", l->code, l->name);
        return;
    }
    if (*l->meant == ' ') {
        d = spec_fault(c, SPEC_E_CHAR, at, "U+%04X (%s) is not a space to YAML", l->code, l->name);
        spec_hint(c, d, "type a plain space at column %u", at.col);
    } else {
        d = spec_fault(c, SPEC_E_CHAR, at, "U+%04X (%s) is not a `%s` to YAML", l->code, l->name,
                       l->meant);
        spec_hint(c, d, "type a plain `%s` at column %u", l->meant, at.col);
    }
}

bool spec_lookalike_fault(struct spec_ctx *c, size_t byte, size_t n)
{
    size_t where;
    if (byte > c->len)
        return false;
    if (n > c->len - byte)
        n = c->len - byte;
    const struct lookalike *l = find_in(c->text + byte, n, &where);
    if (l)
        tell(c, l, byte + where);
    return l != NULL;
}

/* The first one of a plain scalar's text, in the file. */
static bool tell_in_file(struct spec_ctx *c, const struct spec_node *s, uint32_t code)
{
    for (size_t i = s->at.byte - c->skipped, k; i < c->len; i += k)
        if (decode(c->text + i, c->len - i, &k) == code) {
            tell(c, row_of(code), i);
            return true;
        }
    return false;
}

/* In a plain value one is a mistake where it touches what gives the value its structure: its ends,
 * a `:`, a `-` at its start. */
static bool value_suffers(struct spec_ctx *c, const struct spec_node *v)
{
    size_t k;
    for (size_t i = 0; i < v->len; i += k) {
        const struct lookalike *l = row_of(decode(v->text + i, v->len - i, &k));
        if (!l)
            continue;
        bool end = i == 0 || i + k == v->len;
        bool after = i > 0 && (v->text[i - 1] == ':' || (i == 1 && v->text[0] == '-'));
        bool comment = *l->meant == ' ' && i + k < v->len && v->text[i + k] == '#';
        bool colon = *l->meant == ':' && i + k < v->len && v->text[i + k] == ' ';
        if (end || after || colon || comment)
            return tell_in_file(c, v, l->code);
    }
    return false;
}

static bool key_suffers(struct spec_ctx *c, const struct spec_node *k)
{
    size_t where, n;
    const struct lookalike *l = find_in(k->text, k->len, &where);
    return l && tell_in_file(c, k, decode(k->text + where, k->len - where, &n));
}

static bool free_text(const struct spec_node *k)
{
    return k->type == SPEC_SCALAR &&
           (!strncmp(k->text, "x-", 2) || !strcmp(k->text, "environment") ||
            !strcmp(k->text, "command"));
}

bool spec_lookalikes(struct spec_ctx *c, const struct spec_node *n)
{
    bool any = false;
    if (n->type == SPEC_SCALAR)
        return !n->quoted && value_suffers(c, n);
    /* Finding a place takes a walk through the text: no more of them than are shown. */
    for (size_t i = 0; i < n->n && c->diags->n < SPEC_DIAGS_SHOWN; i++) {
        const struct spec_node *k = n->type == SPEC_MAP ? n->keys[i] : NULL;
        if (k && free_text(k))
            continue;
        if (k && k->type == SPEC_SCALAR && !k->quoted)
            any |= key_suffers(c, k);
        any |= spec_lookalikes(c, n->values[i]);
    }
    return any;
}

void spec_lookalike_hints(struct spec_ctx *c)
{
    for (size_t i = 0; i < c->diags->n && i < SPEC_DIAGS_SHOWN; i++) {
        struct spec_diag *d = &c->diags->list[i];
        size_t byte = d->at.byte - c->skipped, n = 0, where;
        if (d->hint || d->code == SPEC_E_CHAR || byte >= c->len)
            continue;
        for (uint32_t k = 0; k < d->at.width && byte + n < c->len; k++) {
            size_t bytes;
            decode(c->text + byte + n, c->len - byte - n, &bytes);
            n += bytes;
        }
        const struct lookalike *l = find_in(c->text + byte, n, &where);
        if (l && *l->meant)
            spec_hint(c, d, "column %u has U+%04X (%s), which looks like `%s`",
                      spec_place(c, byte + where, 1).col, l->code, l->name, l->meant);
        else if (l)
            spec_hint(c, d, "column %u has U+%04X (%s), which cannot be seen",
                      spec_place(c, byte + where, 1).col, l->code, l->name);
    }
}
