/* reconcile/relay.h — bytes between the operator's standard descriptors and those of a command in a
 * container.
 * Why      The command gets none of the operator's descriptors. A terminal could be typed into
 *          (TIOCSTI), a file opened again for writing through /proc/self/fd, a pipe filled for the
 *          next program that reads it.
 * Input    of a file, a pipe or a stream socket stays where it is until the command has read it:
 *          what the command leaves, the next program finds. Of a terminal, what is typed while the
 *          command runs goes to the command.
 * Blocking never: only poll waits, so signals are always heard. Pipes that the command could lock
 *          have pumps (pump.h). */
#ifndef RECONCILE_RELAY_H
#define RECONCILE_RELAY_H
#include "reconcile/error.h"
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

struct rec_relay {
    /* the operator's descriptor is a terminal; its bytes go through the pty */
    bool tty[3];
    int terminal; /* the first of 1, 2, 0 that is a terminal, -1: none */
    /* 1 and 2 are the same, and no terminal: one pipe keeps the order of what is written */
    bool joined;
    bool raw; /* input and output are the terminal: the pty edits lines instead */
    bool modes_known;
    struct termios modes; /* as they were found */
};

/* What the operator's standard descriptors are. */
void rec_relay_look(struct rec_relay *r);
/* `ends`: the outer ends, as reconcile/enter/call.h orders them; closed at the end. `signals`: a
 * signalfd of the signals that are blocked meanwhile; they go to `pid`, berth-enter. Its wait
 * status goes to *status. On failure `pid` was killed; 0 or -errno. */
int rec_relay_run(const struct rec_relay *r, const int *ends, size_t n, int signals, pid_t pid,
                  int *status, struct rec_error *err);
#endif
