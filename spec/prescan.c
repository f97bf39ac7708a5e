/* Bytes before YAML: libyaml takes UTF-16, breaks lines at U+0085 and U+2028, and reports encoding
 * faults without a place. What a reviewer cannot see must not reach it. */
#include "spec/internal.h"
#include <string.h>

static bool cont(const uint8_t *p, size_t n, size_t i)
{
    return i < n && (p[i] & 0xc0) == 0x80;
}

struct scan {
    struct spec_ctx *c;
    uint32_t line, col;
    size_t at;
    bool bad;
};

static struct spec_loc here(const struct scan *s)
{
    return (struct spec_loc){s->line, s->col, (uint32_t)(s->at + s->c->skipped), 1};
}

/* Length of the character at s->at and its number; 0 with a fault told. */
static size_t decode(struct scan *s, uint32_t *code)
{
    const uint8_t *p = (const uint8_t *)s->c->text + s->at;
    size_t n = s->c->len - s->at;
    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    size_t k = (p[0] & 0xe0) == 0xc0   ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    uint32_t v = k ? p[0] & (0x7fu >> k) : 0;
    for (size_t i = 1; i < k; i++) {
        if (!cont(p, n, i)) {
            k = 0;
            break;
        }
        v = v << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    s->bad = true;
    if (!k)
        spec_fault(s->c, SPEC_E_UTF8, here(s), "byte 0x%02X is not valid UTF-8", p[0]);
    else if (v < least[k])
        spec_fault(s->c, SPEC_E_UTF8, here(s), "overlong UTF-8 sequence 0x%02X 0x%02X", p[0], p[1]);
    else if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        spec_fault(s->c, SPEC_E_UTF8, here(s),
                   "0x%02X 0x%02X is not valid UTF-8: U+%04X is no character", p[0], p[1], v);
    else {
        s->bad = false;
        *code = v;
        return k;
    }
    return 0;
}

static bool bidi(uint32_t c)
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e ||
           c == 0x200f || c == 0x061c;
}

static void judge(struct scan *s, uint32_t c)
{
    if (c == 0x85 || c == 0x2028 || c == 0x2029)
        spec_fault(s->c, SPEC_E_CHAR, here(s), "U+%04X acts as a hidden line break; remove it", c);
    else if (bidi(c))
        spec_fault(s->c, SPEC_E_CHAR, here(s),
                   "bidirectional control U+%04X can hide text; remove it", c);
    else if (c == 0)
        spec_fault(s->c, SPEC_E_CHAR, here(s), "NUL byte (U+0000) is not allowed");
    else if (c == '\r')
        spec_fault(s->c, SPEC_E_CHAR, here(s),
                   "a carriage return without a line feed acts as a hidden line break; remove it");
    else if (c == 0xfeff)
        spec_fault(s->c, SPEC_E_CHAR, here(s),
                   "a byte order mark (U+FEFF) belongs at the start of the file alone; remove it");
    else if ((c < 0x20 && c != '\t') || (c >= 0x7f && c < 0xa0))
        spec_fault(s->c, SPEC_E_CHAR, here(s), "control character U+%04X is not allowed", c);
    else if (c == 0xfffe || c == 0xffff)
        spec_fault(s->c, SPEC_E_CHAR, here(s), "U+%04X is no character; remove it", c);
    else
        return;
    s->bad = true;
}

bool spec_prescan(struct spec_ctx *c, const struct spec_limits *limits)
{
    struct spec_loc start = {1, 1, 0, 1};
    if (c->len + c->skipped > limits->bytes) {
        bool huge = limits->bytes >= SPEC_BYTES_HUGE;
        spec_fault(c, SPEC_E_SIZE, start,
                   huge ? "the spec is larger than 64 MiB"
                        : "the spec is larger than 4 MiB; `--huge` allows 64");
        return false;
    }
    if (!c->len) {
        spec_fault(c, SPEC_E_EMPTY, start, "the spec is empty; it needs at least `version: 1`");
        return false;
    }
    const uint8_t *p = (const uint8_t *)c->text;
    bool utf16 = c->len >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff));
    bool bare16 = c->len >= 4 && !c->skipped &&
                  ((!p[0] && p[1] && !p[2] && p[3]) || (p[0] && !p[1] && p[2] && !p[3]));
    if (utf16 || bare16) {
        spec_fault(c, SPEC_E_ENCODING, start, "UTF-16 is not supported; save the spec as UTF-8");
        return false;
    }
    struct scan s = {.c = c, .line = 1, .col = 1};
    bool any = false;
    while (s.at < c->len && c->diags->n < SPEC_DIAGS_KEPT) {
        uint32_t code = 0;
        s.bad = false;
        size_t k = decode(&s, &code);
        if (k == 1 &&
            (code == '\n' || (code == '\r' && s.at + 1 < c->len && c->text[s.at + 1] == '\n'))) {
            s.at += code == '\r' ? 2 : 1;
            s.line++;
            s.col = 1;
            continue;
        }
        if (k)
            judge(&s, code);
        any |= s.bad;
        if (!k) { /* a broken sequence is one fault: its continuation bytes are skipped */
            k = 1;
            while (cont(p, c->len, s.at + k) && k < 4)
                k++;
        }
        s.at += k;
        s.col++;
    }
    return !any;
}
