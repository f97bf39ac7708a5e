/* One buffer for each stream. A name from the kernel or a spec can be any bytes, so text passes one
 * of two doors: cmd_put for what is written in this source, cmd_safe for all else. */
#include "cmd/output.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool cmd_color_wanted(enum cmd_color color, bool terminal, const char *no_color, const char *force,
                      const char *term)
{
    if (color != CMD_COLOR_AUTO)
        return color == CMD_COLOR_ALWAYS;
    if (no_color && *no_color)
        return false;
    if (force && *force && strcmp(force, "0"))
        return true;
    return terminal && term && *term && strcmp(term, "dumb");
}

bool cmd_locale_is_utf8(const char *lc_all, const char *lc_ctype, const char *lang)
{
    const char *l = lc_all && *lc_all       ? lc_all
                    : lc_ctype && *lc_ctype ? lc_ctype
                    : lang                  ? lang
                                            : "";
    const char *dot = strchr(l, '.');
    return dot && (!strncasecmp(dot, ".utf-8", 6) || !strncasecmp(dot, ".utf8", 5));
}

void cmd_out_init(struct cmd_out *o, int fd, enum cmd_color color)
{
    *o = (struct cmd_out){.fd = fd, .terminal = fd >= 0 && isatty(fd)};
    o->color = cmd_color_wanted(color, o->terminal, getenv("NO_COLOR"), getenv("CLICOLOR_FORCE"),
                                getenv("TERM"));
    o->utf8 =
        !o->terminal || cmd_locale_is_utf8(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG"));
}

void cmd_out_done(struct cmd_out *o)
{
    free(o->text);
    o->text = NULL;
    o->n = o->room = 0;
}

int cmd_out_flush(struct cmd_out *o)
{
    size_t done = 0;
    while (o->fd >= 0 && done < o->n && !o->error) {
        ssize_t r = write(o->fd, o->text + done, o->n - done);
        if (r >= 0) {
            done += (size_t)r;
            /* a stream that somebody made non-blocking: wait for its reader */
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = o->fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (errno != EINTR) {
            o->error = errno;
        }
    }
    if (o->fd >= 0)
        o->n = 0;
    return -o->error;
}

void cmd_putn(struct cmd_out *o, const char *text, size_t n)
{
    if (o->n + n + 1 > o->room) {
        size_t room = o->room ? o->room : 4096;
        while (room < o->n + n + 1)
            room *= 2;
        char *p = realloc(o->text, room);
        if (!p) { /* what was collected goes out, the rest piecemeal */
            cmd_out_flush(o);
            if (o->fd >= 0 && !o->error && write(o->fd, text, n) < 0)
                o->error = errno;
            return;
        }
        o->text = p;
        o->room = room;
    }
    memcpy(o->text + o->n, text, n);
    o->n += n;
    o->text[o->n] = 0;
}

void cmd_put(struct cmd_out *o, const char *text)
{
    cmd_putn(o, text, strlen(text));
}

void cmd_printf(struct cmd_out *o, const char *format, ...)
{
    char buf[1024];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(buf, sizeof buf, format, ap);
    va_end(ap);
    if (n > 0)
        cmd_putn(o, buf, (size_t)n < sizeof buf ? (size_t)n : sizeof buf - 1);
}

void cmd_style(struct cmd_out *o, enum cmd_style s)
{
    static const char *const code[] = {"\033[0m",  "\033[1m",  "\033[2m",  "\033[32m",
                                       "\033[33m", "\033[31m", "\033[35m", "\033[36m"};
    if (o->color)
        cmd_put(o, code[s]);
}

void cmd_pad(struct cmd_out *o, size_t columns)
{
    for (; columns; columns--)
        cmd_putn(o, " ", 1);
}

const char *cmd_symbol(const struct cmd_out *o, const char *utf8, const char *ascii)
{
    return o->utf8 ? utf8 : ascii;
}

/* RFC 3629: shortest form, no surrogates, at most U+10FFFF. */
static long decode(const unsigned char *p, size_t n, size_t *len)
{
    static const long least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t k = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;
    *len = 1;
    if (!k || k > n)
        return -1;
    long c = k == 1 ? p[0] : p[0] & (0x7f >> k);
    for (size_t i = 1; i < k; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[k] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return -1;
    *len = k;
    return c;
}

size_t cmd_harmless(const char *p, size_t n, long *point, size_t *len)
{
    long c = *point = decode((const unsigned char *)p, n, len);
    bool bad = c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
               (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
               (c >= 0xe0000 && c <= 0xe0fff);
    return bad ? 0 : *len;
}

/* The character at `p` as it is shown, in `out` (12 bytes are enough); its columns. */
static size_t shown(bool utf8, const char *p, size_t n, size_t *len, char out[12])
{
    long c;
    size_t k = cmd_harmless(p, n, &c, len);
    if (k && (utf8 || c < 0x80)) {
        memcpy(out, p, k);
        out[k] = 0;
        return 1;
    }
    if (c == '\n' || c == '\t' || c == '\r')
        return (size_t)snprintf(out, 12, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
    if (c < 0)
        return (size_t)snprintf(out, 12, "\\x%02x", (unsigned)(unsigned char)*p);
    return (size_t)snprintf(out, 12,
                            c < 0x100     ? "\\x%02lx"
                            : c < 0x10000 ? "\\u%04lx"
                                          : "\\U%06lx",
                            (unsigned long)c);
}

static size_t safe_n(struct cmd_out *o, const char *text, size_t n)
{
    size_t columns = 0;
    while (n) {
        char one[12];
        size_t len;
        columns += shown(o->utf8, text, n, &len, one);
        cmd_put(o, one);
        text += len;
        n -= len;
    }
    return columns;
}

size_t cmd_safe(struct cmd_out *o, const char *text)
{
    return text ? safe_n(o, text, strlen(text)) : 0;
}

static size_t width_n(bool utf8, const char *text, size_t n)
{
    size_t columns = 0;
    while (n) {
        char one[12];
        size_t len;
        columns += shown(utf8, text, n, &len, one);
        text += len;
        n -= len;
    }
    return columns;
}

size_t cmd_safe_width(const struct cmd_out *o, const char *text)
{
    return text ? width_n(o->utf8, text, strlen(text)) : 0;
}

void cmd_safe_lines(struct cmd_out *o, const char *text, size_t indent)
{
    for (bool first = true; *text; first = false) {
        size_t n = strcspn(text, "\n");
        if (!first) {
            cmd_put(o, "\n");
            cmd_pad(o, indent);
            cmd_put(o, "| ");
        }
        safe_n(o, text, n);
        text += n + (text[n] == '\n');
    }
}

void cmd_wrap(struct cmd_out *o, const char *text, size_t column, size_t indent, size_t width)
{
    bool begin = true;
    while (*text) {
        size_t n = strcspn(text, " \t");
        size_t w = width_n(o->utf8, text, n);
        if (!begin && column + 1 + w > width) {
            cmd_put(o, "\n");
            cmd_pad(o, indent);
            column = indent;
        } else if (!begin) {
            cmd_put(o, " ");
            column++;
        }
        column += safe_n(o, text, n);
        begin = false;
        text += n + (text[n] != 0);
    }
}
