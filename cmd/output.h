/* cmd/output.h — all that berth prints: collected, written in one go, escaped where others' bytes
 * are in it.
 * Owns     its buffer, until cmd_out_done. Nothing reaches the descriptor before cmd_out_flush.
 * Closed pipes and full disks never end a run half-way: they are remembered and told at its end. */
#ifndef CMD_OUTPUT_H
#define CMD_OUTPUT_H
#include "cmd/args.h"

struct cmd_out {
    char *text;
    size_t n, room;
    int fd; /* -1: stays in memory (tests) */
    bool color, utf8, terminal;
    int error; /* errno of the first failed write; EPIPE: nobody reads any more */
};

enum cmd_style {
    CMD_PLAIN,
    CMD_BOLD,
    CMD_DIM,
    CMD_GREEN,
    CMD_YELLOW,
    CMD_RED,
    CMD_MAGENTA,
    CMD_CYAN
};

/* Colour and symbols are settled here: the flag, NO_COLOR, CLICOLOR_FORCE, TERM, a terminal; UTF-8
 * by LC_ALL, LC_CTYPE, LANG. What is no terminal gets UTF-8 and the same bytes in every locale. */
void cmd_out_init(struct cmd_out *o, int fd, enum cmd_color color);
bool cmd_color_wanted(enum cmd_color color, bool terminal, const char *no_color, const char *force,
                      const char *term);
bool cmd_locale_is_utf8(const char *lc_all, const char *lc_ctype, const char *lang);
void cmd_out_done(struct cmd_out *o);
int cmd_out_flush(struct cmd_out *o); /* 0, or -errno */

void cmd_put(struct cmd_out *o, const char *text); /* our own words */
void cmd_putn(struct cmd_out *o, const char *text, size_t n);
/* our own words */
void cmd_printf(struct cmd_out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* until the next; CMD_PLAIN ends it */
void cmd_style(struct cmd_out *o, enum cmd_style s);
void cmd_pad(struct cmd_out *o, size_t columns);
/* Others' bytes: what a terminal could take for a command, what hides or turns text, and what is
 * not UTF-8 comes out as \x1b, \u202e. Gives back the columns it took. */
size_t cmd_safe(struct cmd_out *o, const char *text);
size_t cmd_safe_width(const struct cmd_out *o, const char *text);
/* Several lines of others' bytes: the first as it stands, each further one indented behind a bar
 * that it cannot forge. */
void cmd_safe_lines(struct cmd_out *o, const char *text, size_t indent);
/* Words of ours and others' (escaped), broken at blanks (a tab is one, too) before `width`
 * columns; further lines begin at `indent`. */
void cmd_wrap(struct cmd_out *o, const char *text, size_t column, size_t indent, size_t width);
/* One of two spellings of a symbol. */
const char *cmd_symbol(const struct cmd_out *o, const char *utf8, const char *ascii);

/* The length of the whole and harmless character at `p` (n bytes are left); 0: it must be escaped.
 * *point: its number, or -1 for a byte that is no UTF-8. *len: bytes that it takes either way. */
size_t cmd_harmless(const char *p, size_t n, long *point, size_t *len);
#endif
