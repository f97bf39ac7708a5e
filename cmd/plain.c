/* One byte at a time through the states of ECMA-48; characters are judged when they are whole. */
#include "cmd/plain.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TEXT, ESCAPED, INTERMEDIATE, CONTROL_SEQUENCE, STRING, STRING_ESCAPED };
enum { ESC = 0x1b, BELL = 0x07, DELETE = 0x7f, PIECE = 8192 };

static size_t put(char *out, const void *bytes, size_t n)
{
    memcpy(out, bytes, n);
    return n;
}

static size_t put_unknown(char *out)
{
    return put(out, "\xef\xbf\xbd", 3);
}

/* How many bytes a character has that begins with this one; 0: none begins so. */
static size_t length(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Whole, and longer than a byte. */
static size_t put_character(char *out, const unsigned char *c, size_t n)
{
    uint32_t v = c[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        v = v << 6 | (c[i] & 0x3f);
    bool too_long = (n == 3 && v < 0x800) || (n == 4 && v < 0x10000);
    bool no_character = (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff;
    bool turns = (v >= 0x200e && v <= 0x200f) || (v >= 0x202a && v <= 0x202e) ||
                 (v >= 0x2066 && v <= 0x2069) || v == 0x61c;
    if (v >= 0x80 && v <= 0x9f)
        return 0;
    if (too_long || no_character || turns)
        return put_unknown(out);
    return put(out, c, n);
}

/* In text: one byte. */
static size_t text(struct cmd_plain *p, unsigned char c, char *out)
{
    size_t n = 0;
    if (p->n_held) {
        if ((c & 0xc0) == 0x80) {
            p->held[p->n_held++] = c;
            if (p->n_held < length(p->held[0]))
                return 0;
            n = put_character(out, p->held, p->n_held);
            p->n_held = 0;
            return n;
        }
        n = put_unknown(out);
        p->n_held = 0;
    }
    if (c == ESC)
        p->state = ESCAPED;
    else if (c == '\n' || c == '\t' || (c >= 0x20 && c < DELETE))
        n += put(out + n, &c, 1);
    else if (length(c) > 1)
        p->held[p->n_held++] = c;
    else if (c >= 0x80)
        n += put_unknown(out + n);
    return n;
}

/* The state after a byte that follows ESC. */
static int after_escape(unsigned char c)
{
    if (c == '[')
        return CONTROL_SEQUENCE;
    if (c && strchr("]PX^_", c))
        return STRING;
    if (c >= 0x20 && c <= 0x2f)
        return INTERMEDIATE;
    return c == ESC ? ESCAPED : TEXT;
}

static int next_state(int state, unsigned char c)
{
    switch (state) {
    case ESCAPED:
    case INTERMEDIATE:
        return after_escape(c);
    case CONTROL_SEQUENCE:
        if (c == ESC)
            return ESCAPED;
        return c >= 0x20 && c <= 0x3f ? CONTROL_SEQUENCE : TEXT;
    case STRING:
        if (c == ESC)
            return STRING_ESCAPED;
        return c == BELL ? TEXT : STRING;
    case STRING_ESCAPED:
        return c == '\\' ? TEXT : after_escape(c);
    default:
        return TEXT;
    }
}

size_t cmd_plain_filter(struct cmd_plain *p, const char *in, size_t n, char *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)in[i];
        if (p->state != TEXT && c == '\n')
            p->state = TEXT;
        if (p->state == TEXT)
            k += text(p, c, out + k);
        else
            p->state = next_state(p->state, c);
    }
    return k;
}

size_t cmd_plain_end(struct cmd_plain *p, char *out)
{
    size_t k = p->n_held ? put_unknown(out) : 0;
    *p = (struct cmd_plain){0};
    return k;
}

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n) {
        ssize_t k = write(fd, bytes, n);
        if (k < 0 && errno != EINTR)
            return false;
        if (k > 0) {
            bytes += k;
            n -= (size_t)k;
        }
    }
    return true;
}

static void filter_all(int from, int to)
{
    struct cmd_plain p = {0};
    char in[PIECE], out[CMD_PLAIN_ROOM * (PIECE + 4)];
    for (;;) {
        ssize_t n = read(from, in, sizeof in);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (!write_all(to, out, cmd_plain_filter(&p, in, (size_t)n, out)))
            return;
    }
    write_all(to, out, cmd_plain_end(&p, out));
}

pid_t cmd_plain_start(int out, int *to)
{
    int both[2];
    if (pipe2(both, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (!pid) {
        /* The end of its input ends it, also after Ctrl-C: what is there is shown. */
        signal(SIGINT, SIG_IGN);
        if (dup2(both[0], 0) < 0 || dup2(out, 1) < 0)
            _exit(1);
        syscall(SYS_close_range, 3, ~0u, 0);
        filter_all(0, 1);
        _exit(0);
    }
    int code = errno;
    close(both[0]);
    if (pid > 0)
        *to = both[1];
    else
        close(both[1]);
    return pid > 0 ? pid : -code;
}
