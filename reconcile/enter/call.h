/* reconcile/enter/call.h — what berth tells berth-enter, and what berth-enter gives back.
 * Why      berth-enter is a program of its own. Its memory holds nothing of berth's, and its
 *          libraries come from the host.
 * Channel  a SOCK_SEQPACKET socket at ENTER_SOCKET. berth sends one struct enter_call. berth-enter
 *          answers with one byte and, by SCM_RIGHTS, the outer ends: first the pty's master if any
 *          standard descriptor is a terminal; then for each of the others, in the order 0, 1, 2,
 *          the outer end of a pipe (2 has none if `joined`). berth-enter closes the socket before
 *          the command's process exists.
 * Variables each NAME=VALUE with its NUL. They never stand in arguments, which everybody on the
 * host can read.
 * Command  argv[1] is the container's name, the rest the command. Without a command: a login
 *          shell. */
#ifndef RECONCILE_ENTER_CALL_H
#define RECONCILE_ENTER_CALL_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <termios.h>

enum {
    ENTER_SOCKET = 3,
    /* the leader's pidfd; of a namespace alone: its network namespace */
    ENTER_NAMESPACE = 4,
    ENTER_CGROUP = 5, /* cgroup.procs of the leader's cgroup, or not open */
    ENTER_ENDS_MOST = 4,
    ENTER_ENV_PART = 32768,
    ENTER_ENV_MOST = 4 << 20,
};

struct enter_call {
    uint64_t bound; /* capabilities that the leader may have (CapBnd) */
    bool leader;    /* false: a namespace alone */
    bool user;      /* the leader has a user namespace of its own */
    bool no_new_privs;
    bool tty[3]; /* which of the operator's standard descriptors are terminals */
    bool joined; /* 2 is the same as 1: no pipe of its own */
    /* the operator's terminal will be in raw mode: the pty edits and echoes lines */
    bool raw;
    bool modes_known;
    struct termios modes; /* of the operator's terminal */
    struct winsize size;
    char term[64]; /* TERM: letters, digits and -+._ */
    /* of the container's variables, which follow in messages of at most ENTER_ENV_PART bytes */
    uint32_t env_bytes;
};

/* Where the command has been started, signals for it go to berth-enter. With this value
 * (sigqueue(3)) the whole group of the command gets it, as from a keyboard. */
enum { ENTER_TO_GROUP = 1 };
#endif
