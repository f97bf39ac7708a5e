/* spec/diag.h — what is wrong with a spec, told to its author: every fault of one run, in file
 * order.
 * Owns     nothing; text and notes live in the arena of the document.
 * Codes    E001… are stable for good: never reused, never renumbered (spec/diag.c has the
 *          table). */
#ifndef SPEC_DIAG_H
#define SPEC_DIAG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spec_arena;

/* 1-based; col counts characters (code points), byte counts bytes from the start of the file,
 * 0-based. width: characters the caret line underlines, at least 1. line 0: not in the file (a
 * default). */
struct spec_loc {
    uint32_t line, col, byte, width;
};

enum spec_level { SPEC_ERROR, SPEC_WARNING };

struct spec_diag {
    enum spec_level level;
    uint16_t code;    /* 12 prints as E012 */
    const char *slug; /* static: "duplicate-address" */
    struct spec_loc at;
    const char *path;        /* "hosts.homelab.containers.web.address", or "" */
    const char *text;        /* one sentence, no full stop */
    const char *hint;        /* "did you mean 10.100.0.10?", or NULL */
    struct spec_loc note_at; /* the other place of a conflict; line 0: none */
    const char *note;        /* "the bridge's address is given here", or NULL */
};

struct spec_diags {
    struct spec_diag *list; /* sorted by position after spec_load */
    size_t n;               /* kept: at most SPEC_DIAGS_KEPT */
    size_t total;           /* found */
    size_t errors;          /* of them errors */
};
#define SPEC_DIAGS_KEPT  1000
#define SPEC_DIAGS_SHOWN 20

/* `code` as people read it: "E012" into out[6]. */
void spec_diag_code(uint16_t code, char out[6]);
/* The source line that `at` names, without its line end, borrowed from the text: its length, 0
 * if there is none. */
size_t spec_source_line(const char *text, size_t len, uint32_t line, const char **start);
/* The 20 first diagnostics as people and editors read them, then "and 7 more":
 * file:line:col: error[E012]: TEXT, the source line, a caret with the hint, a note. `name` is the
 * file as the user wrote it. Every byte that is not ours is escaped. Allocated in `a`; NULL if
 * memory ran out. `color`: with terminal colours. */
char *spec_diags_format(struct spec_arena *a, const struct spec_diags *d, const char *name,
                        const char *text, size_t len, bool color);
#endif
