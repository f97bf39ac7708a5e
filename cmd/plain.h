/* cmd/plain.h — text of a container's, made harmless for a terminal.
 * Keeps    printable UTF-8, newlines and tabs.
 * Drops    escape sequences, and all other control characters (also those of U+0080 to U+009F). A
 *          byte that is not UTF-8, and a character that changes the direction of a line, becomes
 *          U+FFFD. A sequence ends with its line: nothing hides what follows. */
#ifndef CMD_PLAIN_H
#define CMD_PLAIN_H
#include <stddef.h>
#include <sys/types.h>

struct cmd_plain {
    int state;             /* where in an escape sequence; 0: in text */
    unsigned char held[4]; /* the beginning of a character whose rest is still to come */
    size_t n_held;
};
enum { CMD_PLAIN_ROOM = 3 }; /* `out` has room for 3 * (n + 4) bytes */

/* Returns how many bytes it wrote into `out`. */
size_t cmd_plain_filter(struct cmd_plain *p, const char *in, size_t n, char *out);
/* What was held back at the end of the text. */
size_t cmd_plain_end(struct cmd_plain *p, char *out);

/* A child process that filters what is written to *to, into `out`, until *to is closed. Its pid, or
 * -errno. */
pid_t cmd_plain_start(int out, int *to);
#endif
