/* What nix says on standard error, and the one part of it that is the cause. An error begins with
 * "error:", and goes on in indented lines (nix 2.8) or has its trace before it, which begins with
 * an "error:" of its own (from 2.14 on); below it come those that only say that something else
 * has failed. */
#include "reconcile/runtimes/nixos.h"
#include <stdio.h>
#include <string.h>

enum { LINES_MOST = 64 };

struct line {
    const char *at;
    size_t len;
};

static size_t indent_of(const char *p)
{
    return strspn(p, " \t");
}

static size_t length(const char *p)
{
    size_t n = strcspn(p, "\n");
    while (n && (unsigned char)p[n - 1] <= ' ')
        n--;
    return n;
}

static bool has(const char *p, size_t n, const char *what)
{
    return memmem(p, n, what, strlen(what)) != NULL;
}

/* From the line `p` to the end of what it begins: indented lines, up to the next that begins
 * something. */
static const char *end_of(const char *p)
{
    const char *q = p + strcspn(p, "\n");
    while (*q) {
        const char *line = q + 1, *word = line + indent_of(line);
        bool blank = !*word || *word == '\n';
        if (!blank && (word == line || !strncmp(word, "error:", 6) ||
                       !strncmp(word, "error (ignored):", 16) || !strncmp(word, "warning:", 8)))
            return line;
        q = line + strcspn(line, "\n");
    }
    return q;
}

/* 2: a cause; 1: it says that something else failed, or that nix will try again; 0: nothing at
 * all. */
static int weight(const char *p, size_t n)
{
    const char *text = p + 6;
    size_t k = n - 6;
    while (k && (unsigned char)*text <= ' ') {
        text++;
        k--;
    }
    if (!k || !strncmp(text, "…", sizeof "…" - 1))
        return 0;
    bool other = (has(text, k, "dependencies of derivation") && has(text, k, "failed to build")) ||
                 has(text, k, "dependency failed") || has(text, k, "dependencies failed") ||
                 has(text, k, "due to failed dependency") ||
                 (!strncmp(text, "build of '", 10) && has(text, k, "' failed"));
    bool passing = has(text, k, "interrupted by the user") ||
                   (has(text, k, "SQLite database") && has(text, k, "is busy"));
    return other || passing ? 1 : 2;
}

/* The lines of [p, p+n) without their indent; what a builder printed loses its first ones, the
 * rest its last, until they fit. */
static void put(const char *p, size_t n, char *out, size_t room)
{
    struct line lines[LINES_MOST];
    size_t m = 0, total = 0, least = SIZE_MAX;
    for (const char *q = p, *end = p + n; q < end; q += strcspn(q, "\n") + 1) {
        if (!length(q))
            continue;
        size_t indent = indent_of(q);
        if (q != p && indent < least)
            least = indent;
        if (m == LINES_MOST) { /* the first stays */
            memmove(lines + 1, lines + 2, (LINES_MOST - 2) * sizeof *lines);
            m--;
        }
        lines[m++] = (struct line){q, length(q)};
    }
    for (size_t i = 0; i < m; i++) {
        size_t cut = i ? least : indent_of(lines[i].at);
        lines[i].at += cut;
        lines[i].len -= cut;
        total += lines[i].len + 1;
    }
    for (size_t i = 1; i < m && total > room;) {
        if (*lines[i].at != '>') {
            i++;
            continue;
        }
        total -= lines[i].len + 1;
        memmove(lines + i, lines + i + 1, (--m - i) * sizeof *lines);
    }
    while (m > 1 && total > room)
        total -= lines[--m].len + 1;
    size_t at = 0;
    for (size_t i = 0; i < m; i++) {
        size_t k = lines[i].len < room - 1 - at ? lines[i].len : room - 1 - at;
        while (k < lines[i].len && k && ((unsigned char)lines[i].at[k] & 0xc0) == 0x80)
            k--;
        memcpy(out + at, lines[i].at, k);
        at += k;
        if (i + 1 < m && at + 1 < room)
            out[at++] = '\n';
    }
    out[at] = 0;
}

void nixos_cause(const char *said, char *out, size_t room)
{
    const char *best = NULL, *last = NULL;
    size_t best_len = 0;
    int best_weight = -1;
    for (const char *p = said; *p;) {
        const char *word = p + indent_of(p), *end = NULL;
        if (!strncmp(word, "error:", 6)) {
            end = end_of(p);
            int w = weight(word, (size_t)(end - word));
            if (w >= best_weight) {
                best = p;
                best_len = (size_t)(end - p);
                best_weight = w;
            }
        } else if (!strncmp(word, "warning:", 8) || !strncmp(word, "error (ignored):", 16)) {
            end = end_of(p);
        } else if (length(p) && strncmp(word, "(use '--show-trace'", 19)) {
            last = p;
        }
        p += strcspn(p, "\n");
        p += *p == '\n';
        p = end && end > p ? end : p;
    }
    if (best)
        put(best, best_len, out, room);
    else if (last)
        put(last, strcspn(last, "\n"), out, room);
    else
        snprintf(out, room, "it said nothing");
}
