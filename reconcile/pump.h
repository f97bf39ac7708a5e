/* reconcile/pump.h — a process between berth and one pipe of a command in a container.
 * Why      A program that splices (splice(2), sendfile(2): busybox cat) to its standard output
 *          locks that pipe in the kernel while it waits for its source. Every call on the other end
 *          then waits too, even close(2). No signal ends that wait. Only the pump waits, not berth.
 *          A thread that waits there would keep berth from its end; a process does not.
 * Holds    the outer end of the pipe and a socket to berth, and no other descriptor. A pump that
 *          still waits when berth ends keeps nothing of the operator's.
 * Ends     when its work is done, or when berth closes the socket or ends. Signals do not reach it.
 * Source   fs/splice.c: splice_file_to_pipe(); fs/pipe.c; unix(7). */
#ifndef RECONCILE_PUMP_H
#define RECONCILE_PUMP_H
#include <sys/types.h>

struct rec_pump {
    pid_t pid; /* 0: none */
    int sock;  /* berth's end, which does not block; -1: closed */
};

/* `pipe` is the end to read from; it is closed in this process, also on failure. What the command
 * writes comes out of the socket. Returns 0 or a negative errno. */
int rec_pump_output(struct rec_pump *p, int pipe);
/* The command has ended. What its pipe holds now still comes, then the socket ends. */
void rec_pump_finish(const struct rec_pump *p);
/* Close the socket, and end the pump. A pump whose pipe is locked stays until the lock is free. */
void rec_pump_close(struct rec_pump *p);
#endif
