/* spec/syntax.c — what libyaml refuses, in an author's words. libyaml says where it stopped; the
 * mistake is often a line above. The lines around the place are looked at again here, as text. */
#include "spec/internal.h"
#include <string.h>

struct line {
    size_t start, end; /* bytes, without the line end */
    /* of what is on it: its first byte, and one past its last; first == last: blank or a comment */
    size_t first, last;
    size_t indent; /* blanks in front */
};

static struct line line_at(const struct spec_ctx *c, size_t byte)
{
    struct line l = {.start = byte > c->len ? c->len : byte};
    while (l.start && c->text[l.start - 1] != '\n')
        l.start--;
    const char *nl = memchr(c->text + l.start, '\n', c->len - l.start);
    l.end = nl ? (size_t)(nl - c->text) : c->len;
    if (l.end > l.start && c->text[l.end - 1] == '\r')
        l.end--;
    l.first = l.start;
    while (l.first < l.end && (c->text[l.first] == ' ' || c->text[l.first] == '\t'))
        l.first++;
    l.indent = l.first - l.start;
    l.last = l.end;
    for (size_t i = l.first; i < l.end; i++)
        if (c->text[i] == '#' &&
            (i == l.first || c->text[i - 1] == ' ' || c->text[i - 1] == '\t')) {
            l.last = i;
            break;
        }
    while (l.last > l.first && (c->text[l.last - 1] == ' ' || c->text[l.last - 1] == '\t'))
        l.last--;
    return l;
}

/* The line above that holds something. false: none does. */
static bool line_above(const struct spec_ctx *c, struct line of, struct line *out)
{
    while (of.start) {
        of = line_at(c, of.start - 1);
        if (of.first < of.last) {
            *out = of;
            return true;
        }
    }
    return false;
}

static bool begins(const struct spec_ctx *c, const struct line *l, const char *with)
{
    size_t n = strlen(with);
    return l->last - l->first >= n && !memcmp(c->text + l->first, with, n);
}

/* `key: …`, `key:` or `- …`: what a block is made of. */
static bool opens_block(const struct spec_ctx *c, const struct line *l)
{
    if (begins(c, l, "- ") || c->text[l->last - 1] == ':')
        return true;
    return memmem(c->text + l->first, l->last - l->first, ": ", 2) != NULL;
}

/* Lines that git leaves behind, and comments of other languages: the same words wherever libyaml
 * stopped at them. */
static bool foreign_line(struct spec_ctx *c, struct line at)
{
    for (struct line l = at;;) {
        size_t n = l.last - l.first;
        bool ours = !l.indent && (begins(c, &l, "<<<<<<< ") || begins(c, &l, ">>>>>>> ") ||
                                  (n == 7 && begins(c, &l, "=======")));
        if (ours) {
            spec_fault(c, SPEC_E_YAML, spec_place(c, l.first, n),
                       "this line is git's: a merge conflict is not resolved");
            return true;
        }
        const char *brace = memmem(c->text + l.first, n, "{%", 2);
        if (brace) {
            struct spec_diag *d =
                spec_fault(c, SPEC_E_YAML, spec_place(c, (size_t)(brace - c->text), 2),
                           "`{%%` begins a template, and a spec is plain YAML");
            spec_hint(c, d, "fill the template in first, and give berth the result");
            return true;
        }
        if (begins(c, &l, "//") || begins(c, &l, "/*")) {
            struct spec_diag *d =
                spec_fault(c, SPEC_E_YAML, spec_place(c, l.first, 2),
                           "a comment does not begin with `%.2s` here", c->text + l.first);
            spec_hint(c, d, "write `#`");
            return true;
        }
        if (l.start != at.start || !line_above(c, l, &l))
            return false;
    }
}

/* "2, 4 or 6": how far the blocks are indented that are open above this line. */
static const char *open_indents(struct spec_ctx *c, struct line of)
{
    size_t list[8], n = 0, least = SIZE_MAX;
    struct line l = of;
    while (n < 8 && least && line_above(c, l, &l))
        if (l.indent < least && opens_block(c, &l))
            least = list[n++] = l.indent;
    if (!n || least)
        return NULL;
    const char *text = "";
    for (size_t i = n; i-- > 0 && text;) {
        const char *between = i ? ", " : " or ";
        if (i + 1 == n)
            between = "";
        text = spec_arena_printf(c->arena, "%s%s%zu", text, between, list[i]);
    }
    return text;
}

static void unlike_any(struct spec_ctx *c, struct spec_loc at, struct line l)
{
    const char *open = open_indents(c, l);
    struct line above;
    struct spec_diag *d =
        spec_fault(c, SPEC_E_YAML, at, "this line is indented unlike any block above it");
    if (line_above(c, l, &above) && above.indent < l.indent && !open)
        return;
    if (open)
        spec_hint(c, d, "it begins with %zu space%s; the blocks above begin with %s", l.indent,
                  l.indent == 1 ? "" : "s", open);
}

static void missing_colon(struct spec_ctx *c, struct spec_loc at)
{
    struct line l = line_at(c, at.byte - c->skipped);
    const char *t = c->text + l.first;
    size_t n = l.last - l.first;
    bool word = n && n <= 60 && !memchr(t, ':', n) && !memchr(t, ' ', n);
    struct spec_diag *d = spec_fault(
        c, SPEC_E_YAML, at, "expected `key: value`; is a `:`, or the space after it, missing?");
    if (word && *t == '-' && n > 1)
        spec_hint(c, d, "write `- %.*s`", (int)n - 1, t + 1);
    else if (word)
        spec_hint(c, d, "write `%.*s:`", (int)n, t);
}

/* `a: b: c`, or a block below a key that has a value already, or a line above without the blank
 * behind its `:`. */
static void unexpected_colon(struct spec_ctx *c, struct spec_loc at, struct line l)
{
    size_t byte = at.byte - c->skipped;
    const char *first = memmem(c->text + l.first, l.last - l.first, ": ", 2);
    bool second = first && c->text + byte > first;
    struct line above;
    struct spec_diag *d;
    if (second || !line_above(c, l, &above)) {
        d = spec_fault(c, SPEC_E_YAML, at, "a second `:` on this line");
        spec_hint(c, d, "put values with `: ` in quotes");
        return;
    }
    const char *t = c->text + above.first, *colon = memchr(t, ':', above.last - above.first);
    if (colon && !memmem(t, above.last - above.first, ": ", 2) && c->text[above.last - 1] != ':') {
        d = spec_fault(c, SPEC_E_YAML, spec_place(c, (size_t)(colon - c->text), 1),
                       "a space is missing behind this `:`");
        spec_hint(
            c, d, "write `%.*s: %.*s`", (int)(colon - t > 60 ? 60 : colon - t), t,
            (int)(c->text + above.last - colon - 1 > 60 ? 60 : c->text + above.last - colon - 1),
            colon + 1);
        return;
    }
    size_t key = byte > l.first && byte <= l.last ? byte - l.first : 1;
    struct spec_loc place = spec_place(c, l.first, key);
    if (l.indent > above.indent) {
        size_t name = colon ? (size_t)(colon - t) : above.last - above.first;
        d = spec_fault(
            c, SPEC_E_YAML, place,
            "this line is indented below `%.*s`, which has a value on its own line already",
            (int)(name > 60 ? 60 : name), t);
        const char *value = colon ? colon + 1 + strspn(colon + 1, " ") : t;
        int left = (int)(c->text + above.last - value), most = left > 60 ? 60 : left;
        bool address = colon && left > 0 && *value >= '0' && *value <= '9';
        if (address)
            spec_hint(c, d, "move that value down, too: `address: %.*s`", most, value);
        else
            spec_hint(c, d, "give it the %zu spaces of the line above", above.indent);
    } else if (!colon) {
        missing_colon(c, spec_place(c, above.first, above.last - above.first));
    } else {
        unlike_any(c, place, l);
    }
}

/* A list or map in brackets: what is missing is at the end of the line above where libyaml
 * stopped at the start of one. */
static void in_brackets(struct spec_ctx *c, bool list, struct spec_loc at, struct spec_loc opened,
                        struct line l)
{
    size_t byte = at.byte - c->skipped;
    const char *what = list ? "list" : "map";
    char close = list ? ']' : '}';
    struct line above;
    if (byte >= c->len) {
        spec_fault(c, SPEC_E_YAML, at, "this %s, opened at %u:%u, is never closed with `%c`", what,
                   opened.line, opened.col, close);
        return;
    }
    if (byte == l.first && line_above(c, l, &above) &&
        above.start >= line_at(c, opened.byte - c->skipped).start)
        at = spec_place(c, above.last, 1);
    struct spec_diag *d =
        spec_fault(c, SPEC_E_YAML, at, "`,` or `%c` is needed here, in the %s opened at %u:%u",
                   close, what, opened.line, opened.col);
    char found = c->text[byte];
    if (at.byte == byte + c->skipped && (found == ']' || found == '}') && found != close)
        spec_hint(c, d, "write `%c%c`", close, found);
}

static void tab(struct spec_ctx *c, struct spec_loc at)
{
    size_t n = 0;
    for (size_t i = 0; i < c->len;) {
        struct line l = line_at(c, i);
        n += memchr(c->text + l.start, '\t', l.indent) != NULL;
        const char *nl = memchr(c->text + i, '\n', c->len - i);
        i = nl ? (size_t)(nl - c->text) + 1 : c->len;
    }
    struct line l = line_at(c, at.byte - c->skipped);
    const char *first = memchr(c->text + l.start, '\t', l.indent);
    if (first)
        at = spec_place(c, (size_t)(first - c->text), 1);
    struct spec_diag *d = spec_fault(c, SPEC_E_YAML, at, "a tab cannot indent YAML; use spaces");
    if (n > 1)
        spec_hint(c, d, "%zu lines begin with tabs; `expand -i -t 2` writes them with spaces", n);
}

static void bad_escape(struct spec_ctx *c, struct spec_loc l)
{
    size_t byte = l.byte - c->skipped - 2; /* libyaml points behind \u, or \U */
    const char *t = c->text + byte;
    bool lone = c->len - byte >= 6 && t[1] == 'u' && (t[2] == 'd' || t[2] == 'D') &&
                strchr("89abAB"
                       "cdefCDEF",
                       t[3]);
    l.byte -= 2;
    l.col -= 2;
    l.width = 6;
    spec_fault(c, SPEC_E_CHAR, l,
               lone ? "`%.6s` is half of a character: one of \\ud800 to \\udbff and one of \\udc00 "
                      "to \\udfff belong together"
                    : "`%.2s…` gives a number that no character has",
               t);
}

static bool is(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

static void bad_version(struct spec_ctx *c, struct spec_loc at)
{
    struct line l = line_at(c, at.byte - c->skipped);
    const char *line = c->text + l.start, *v = memmem(line, l.end - l.start, "%YAML", 5);
    size_t k = v ? l.end - l.start - (size_t)(v - line) - 5 : 0;
    spec_fault(c, SPEC_E_YAML_VERSION, at, "YAML%.*s is not supported", (int)(k > 40 ? 40 : k),
               v ? v + 5 : "");
}

void spec_syntax_fault(struct spec_ctx *c, const char *problem, const char *context,
                       struct spec_loc at, struct spec_loc context_at)
{
    size_t byte = at.byte - c->skipped;
    char next = byte < c->len ? c->text[byte] : 0;
    bool list = is(context, "flow sequence"), map = is(context, "flow mapping");
    struct line l = line_at(c, byte), above;
    struct spec_diag *d;
    if (is(problem, "incompatible YAML document")) {
        bad_version(c, at);
        return;
    }
    if (is(problem, "invalid Unicode character escape")) {
        bad_escape(c, at);
        return;
    }
    if (foreign_line(c, l))
        return;
    bool quoted = is(context, "quoted scalar");
    if (!quoted && (spec_lookalike_fault(c, l.first, l.last - l.first) ||
                    (line_above(c, l, &above) &&
                     spec_lookalike_fault(c, above.first, above.last - above.first))))
        return;
    if ((is(problem, "cannot start any token") && next == '\t') ||
        is(problem, "found a tab character")) {
        tab(c, at);
    } else if (list || map) {
        in_brackets(c, list, at, context_at, l);
    } else if (is(problem, "cannot start any token")) {
        d = spec_fault(c, SPEC_E_YAML, at, "a value cannot start with `%c`",
                       next >= ' ' ? next : '?');
        spec_hint(c, d, "put it in quotes");
    } else if (is(context, "block mapping") && is(problem, "expected key")) {
        unlike_any(c, at, l);
    } else if (is(problem, "mapping values are not allowed")) {
        unexpected_colon(c, at, l);
    } else if (is(problem, "could not find expected ':'")) {
        missing_colon(c, context_at);
    } else if (is(problem, "unexpected end of stream") && quoted) {
        spec_fault(c, SPEC_E_YAML, context_at, "this quote is never closed");
    } else if (is(problem, "document start")) {
        spec_fault(c, SPEC_E_YAML, at,
                   "this does not belong to what stands above; is its indentation right?");
    } else if (is(context, "block collection")) {
        spec_fault(c, SPEC_E_YAML, at, "a list item is needed here (`- …`), or other indentation");
    } else if (is(problem, "expected node content") && byte >= c->len) {
        spec_fault(c, SPEC_E_YAML, at, "the file ends before a list or map is closed");
    } else if (is(problem, "expected node content")) {
        spec_fault(c, SPEC_E_YAML, at,
                   next == ',' ? "a value is missing before this `,`" : "a value is missing here");
    } else {
        spec_fault(c, SPEC_E_YAML, at, "%s%s%s", problem, *context ? ", " : "", context);
    }
}
