/* reconcile/error.h — what failed, on which object, why, and which line of the spec wanted it.
 * Owns     the text. One error is one sentence: "cannot ⟨verb⟩ ⟨object⟩: ⟨reason⟩", lower case,
 *          no full stop. */
#ifndef RECONCILE_ERROR_H
#define RECONCILE_ERROR_H
#include "netops/error.h"
#include "spec/diag.h"

struct rec_error {
    int code;           /* errno, positive; 0: none */
    struct spec_loc at; /* line 0: no line of the spec */
    char text[1280];    /* may have several lines, where it is another program's */
    /* what to do, or ""; after a line's end a command, to be pasted as it is */
    char hint[1024];
};
/* Fill *err (NULL is fine); gives back -code. */
int rec_fail(struct rec_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* From a kernel's refusal. */
int rec_fail_net(struct rec_error *err, const struct net_error *e);
void rec_hint(struct rec_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
