/* What may be a name. The kernel takes nearly anything for a link, so the rules are ours: what a
 * person can type, what no tool reads as an option, a number format or a sysctl directory. */
#include "spec/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool upper(char c)
{
    return c >= 'A' && c <= 'Z';
}
static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t characters(const char *s, size_t n)
{
    size_t c = 0;
    for (size_t i = 0; i < n; i++)
        c += ((uint8_t)s[i] & 0xc0) != 0x80;
    return c;
}

static const char *character(struct spec_ctx *c, const char *s, size_t n, size_t i,
                             const char *where)
{
    size_t k = 1;
    while (i + k < n && ((uint8_t)s[i + k] & 0xc0) == 0x80)
        k++;
    uint32_t code = (uint8_t)s[i] & (0x7fu >> k);
    for (size_t j = 1; j < k && k <= 4; j++)
        code = code << 6 | ((uint8_t)s[i + j] & 0x3f);
    if (k > 1) /* some cannot be seen, and some look like another one */
        return spec_arena_printf(c->arena, "`%.*s` (U+%04X) is not allowed in %s", (int)k, s + i,
                                 code, where);
    return spec_arena_printf(c->arena, "`%.*s` is not allowed in %s", (int)k, s + i, where);
}

const char *spec_link_fault(struct spec_ctx *c, const char *s, size_t n, enum spec_code *code)
{
    *code = SPEC_E_NAME;
    if (!n)
        return "a name cannot be empty";
    if (!strcmp(s, ".") || !strcmp(s, ".."))
        return spec_arena_printf(c->arena, "`%s` is not a usable interface name", s);
    if (*s == '-')
        return "a name cannot start with `-`";
    for (size_t i = 0; i < n; i++) {
        if (s[i] == ' ' || s[i] == '\t')
            return "spaces are not allowed in a name";
        if (s[i] == '%')
            return "`%` is not allowed: the kernel would replace it with a number";
        if (!lower(s[i]) && !upper(s[i]) && !digit(s[i]) && s[i] != '-' && s[i] != '_' &&
            s[i] != '.')
            return character(c, s, n, i, "an interface name");
    }
    if (n > 15)
        return spec_arena_printf(c->arena,
                                 "`%.80s` has %zu characters; interface names have at most 15", s,
                                 characters(s, n));
    *code = SPEC_E_RESERVED;
    if (!strcmp(s, "all") || !strcmp(s, "default"))
        return spec_arena_printf(c->arena, "`%s` is reserved by the kernel (sysctl tree)", s);
    if (!strcmp(s, "lo"))
        return "`lo` is the loopback interface";
    if (!strncmp(s, "vb-", 3) || !strncmp(s, "ve-", 3))
        return spec_arena_printf(c->arena, "`%.3s…` names belong to container host links", s);
    return NULL;
}

static const char *lowered(struct spec_ctx *c, const char *s, size_t n)
{
    char *t = spec_arena_strndup(c->arena, s, n);
    for (size_t i = 0; t && i < n; i++)
        t[i] = upper(t[i]) ? (char)(t[i] - 'A' + 'a') : t[i];
    return t ? t : "";
}

static const char *label_fault(struct spec_ctx *c, const char *s, size_t n, const char *what,
                               bool first_digit)
{
    bool capital = false;
    const char *slash = memchr(s, '/', n);
    if (!n)
        return "a name cannot be empty";
    if (slash)
        return character(c, s, n, (size_t)(slash - s), what);
    for (size_t i = 0; i < n; i++) {
        capital |= upper(s[i]);
        if (s[i] == '_')
            return "`_` is not allowed: machine names take a-z, 0-9 and -";
        if (s[i] == ' ')
            return "spaces are not allowed in a name";
        if (!lower(s[i]) && !upper(s[i]) && !digit(s[i]) && s[i] != '-')
            return character(c, s, n, i, what);
    }
    if (s[0] == '-' || s[n - 1] == '-')
        return spec_arena_printf(c->arena, "%s cannot start or end with `-`", what);
    if (capital)
        return spec_arena_printf(c->arena,
                                 "write names in lower case: `%.80s` (host names do not know case)",
                                 lowered(c, s, n));
    if (!first_digit && digit(s[0]))
        return spec_arena_printf(c->arena, "%s starts with a letter a-z", what);
    if (n > 63)
        return spec_arena_printf(c->arena, "%s has at most 63 characters; this one has %zu", what,
                                 n);
    return NULL;
}

const char *spec_container_fault(struct spec_ctx *c, const char *s, size_t n, enum spec_code *code)
{
    static const char *const loopback[] = {"localhost", "ip6-localhost", "ip6-loopback"};
    *code = SPEC_E_NAME;
    const char *fault = label_fault(c, s, n, "a container name", false);
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback && !fault; i++)
        if (!strcmp(s, loopback[i])) {
            *code = SPEC_E_RESERVED;
            return spec_arena_printf(
                c->arena, "`%s` is each machine's name for itself; hosts files lead it to loopback",
                s);
        }
    return fault;
}

const char *spec_host_fault(struct spec_ctx *c, const char *s, size_t n, enum spec_code *code)
{
    *code = SPEC_E_NAME;
    return label_fault(c, s, n, "a host name", true);
}

void spec_link_name(const char *container, char out[16])
{
    size_t n = strlen(container);
    memcpy(out, "vb-", 3);
    if (n <= 12) {
        memcpy(out + 3, container, n + 1);
        return;
    }
    uint32_t h = 2166136261u;
    for (const char *p = container; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    snprintf(out, 16, "vb-%.7s-%04x", container, (h ^ h >> 16) & 0xffff);
}

/* Edit distance with neighbours swapped counting one; words longer than 32 are nothing's
 * neighbour. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), d[3][34];
    if (n > 32 || m > 32)
        return 99;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = d[i % 3], *before = d[(i + 2) % 3], *two = d[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two[j - 2] + 1 < best)
                best = two[j - 2] + 1;
            now[j] = best;
        }
    }
    return d[n % 3][m];
}

const char *spec_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t least = 3;
    for (size_t i = 0; i < n; i++) {
        size_t k = distance(word, names[i]);
        if (k < least && 3 * k <= strlen(names[i])) {
            least = k;
            best = names[i];
        }
    }
    return best;
}
