/* One loop over poll. Each output has a buffer that is written before the next read. Input of a
 * pipe is duplicated (tee(2)) into a pipe that holds one buffer, and taken from its source when
 * the command has emptied that one. */
#include "reconcile/relay.h"
#include "reconcile/enter/call.h"
#include "reconcile/proc.h"
#include "reconcile/pump.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    ONE_BUFFER = 4096,
    /* a pump that says nothing: a process that stays behind locks its pipe */
    PUMP_MS = 700,
    /* a process that stays behind may hold the pty: its silence ends the wait for more */
    DRAIN_MS = 200,
    PTY_MOST = 131072, /* a pty holds less */
    AGAIN_MS = 200,    /* a terminal that is another program's now: look again */
    /* berth-enter takes a signal at once; one that it has not taken by then finds it frozen */
    FROZEN_MS = 1000,
};

enum input_kind { INPUT_NONE, INPUT_TERMINAL, INPUT_FILE, INPUT_PIPE, INPUT_SOCKET, INPUT_OTHER };

struct input {
    enum input_kind kind;
    /* a description of our own where it can be had, so that O_NONBLOCK is nobody else's */
    int from;
    int to;            /* the pty's master, or a pipe; -1: closed */
    off_t start, sent; /* of a file */
    /* of a file that has ended: the command's pipe, to see what stays in it; else -1 */
    int peek;
    size_t lent; /* bytes in the command's pipe that are still in their source */
    char bytes[ONE_BUFFER];
    size_t at, n; /* read and not yet written */
};

struct output {
    int from;             /* the pty's master or the pump's socket; -1: ended */
    struct rec_pump pump; /* of a pipe */
    int to;               /* -1: nobody reads any more */
    int own;              /* `to`, if it is ours to close; else -1 */
    bool is_pty, is_socket;
    char bytes[16384];
    size_t at, n;
    /* of a pty, once the command has ended: bytes that may still be its own */
    size_t rest;
};

struct relay {
    const struct rec_relay *look;
    struct input in;
    struct output out[3];
    size_t n_out;
    int master, signals, pidfd;
    pid_t pid;
    bool raw_now, ended;
    /* to end, by a signal: nothing is waited for that does not come at once */
    bool asked;
    /* the latest such signal that went to berth-enter; 0: none, or it was taken */
    int sent;
    long sent_ms; /* when */
    /* berth-enter did not take this signal, and was killed; 0: it was not */
    int killed_for;
};

static bool same_description(int a, int b)
{
    struct stat x, y;
    long k = syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b);
    if (k >= 0)
        return !k;
    return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void rec_relay_look(struct rec_relay *r)
{
    static const int order[] = {1, 2, 0};
    *r = (struct rec_relay){.terminal = -1};
    for (int i = 0; i < 3; i++)
        r->tty[i] = isatty(i);
    for (int i = 0; i < 3 && r->terminal < 0; i++)
        if (r->tty[order[i]])
            r->terminal = order[i];
    r->modes_known = r->terminal >= 0 && !tcgetattr(r->terminal, &r->modes);
    r->raw = r->tty[0] && r->tty[1] && r->modes_known;
    r->joined = !r->tty[1] && !r->tty[2] && same_description(1, 2);
}

/* A description of our own has an O_NONBLOCK of our own. Where there is none to be had: the
 * descriptor itself. */
static int open_again(int fd, int mode)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return again >= 0 ? again : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void set_nonblocking(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- the operator's terminal ---- */

static bool in_foreground(int terminal)
{
    pid_t group = tcgetpgrp(terminal);
    /* not our controlling terminal: nobody else's either */
    return group < 0 || group == getpgrp();
}

static void set_raw(struct relay *r, bool raw)
{
    if (!r->look->raw || raw == r->raw_now || (raw && !in_foreground(0)))
        return;
    struct termios modes = r->look->modes;
    if (raw)
        cfmakeraw(&modes);
    /* Answers that the terminal gave to the command must not reach the shell: TCSAFLUSH drops
     * them. */
    if (!raw && !in_foreground(0))
        return;
    tcsetattr(0, raw ? TCSADRAIN : TCSAFLUSH, &modes);
    r->raw_now = raw;
}

/* A program beside this one, as in `berth run … | less`, may have the keyboard: it switches line
 * editing off. */
static bool may_read_terminal(const struct relay *r)
{
    struct termios now;
    if (!in_foreground(0))
        return false;
    return r->look->raw ? r->raw_now : tcgetattr(0, &now) || now.c_lflag & ICANON;
}

/* ---- input ---- */

static void input_close(struct relay *r)
{
    if (r->in.to >= 0 && r->in.to != r->master)
        close(r->in.to);
    r->in.to = -1;
}

static void input_begin(struct relay *r, int to)
{
    struct input *in = &r->in;
    struct stat st;
    int type;
    socklen_t len = sizeof type;
    in->to = to;
    in->kind = INPUT_OTHER;
    if (r->look->tty[0])
        in->kind = INPUT_TERMINAL;
    else if (fstat(0, &st))
        in->kind = INPUT_NONE;
    else if (S_ISREG(st.st_mode) && (in->start = lseek(0, 0, SEEK_CUR)) >= 0)
        in->kind = INPUT_FILE;
    else if (S_ISFIFO(st.st_mode))
        in->kind = INPUT_PIPE;
    else if (S_ISSOCK(st.st_mode) && !getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &len) &&
             type == SOCK_STREAM)
        in->kind = INPUT_SOCKET;
    in->from = in->kind == INPUT_FILE ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open_again(0, O_RDONLY);
    if (to != r->master)
        set_nonblocking(to);
    if (in->kind == INPUT_PIPE || in->kind == INPUT_SOCKET)
        fcntl(to, F_SETPIPE_SZ, ONE_BUFFER);
    if (in->kind == INPUT_NONE || in->from < 0)
        input_close(r);
}

/* What the command has taken out of its pipe is taken from the source too. */
static void input_settle(struct relay *r)
{
    struct input *in = &r->in;
    char scrap[ONE_BUFFER];
    int left, pipe = in->peek >= 0 ? in->peek : in->to;
    if (pipe < 0 || pipe == r->master || ioctl(pipe, FIONREAD, &left))
        return;
    if (in->kind == INPUT_FILE)
        lseek(in->from, in->start + in->sent - left, SEEK_SET);
    if (in->kind != INPUT_PIPE && in->kind != INPUT_SOCKET)
        return;
    while (in->lent > (size_t)left) {
        size_t want = in->lent - (size_t)left;
        if (want > sizeof scrap)
            want = sizeof scrap;
        ssize_t k = in->kind == INPUT_SOCKET ? recv(in->from, scrap, want, MSG_DONTWAIT)
                                             : read(in->from, scrap, want);
        if (k <= 0 && errno != EINTR)
            break;
        in->lent -= k > 0 ? (size_t)k : 0;
    }
    if (in->lent > (size_t)left)
        in->lent = (size_t)left;
}

static void input_failed(struct relay *r)
{
    input_settle(r);
    input_close(r);
}

/* The command's pipe is empty, or never held anything: lend it the next buffer. */
static void input_lend(struct relay *r)
{
    struct input *in = &r->in;
    ssize_t k;
    input_settle(r);
    if (in->kind == INPUT_PIPE) {
        k = tee(in->from, in->to, ONE_BUFFER, SPLICE_F_NONBLOCK);
    } else {
        k = recv(in->from, in->bytes, sizeof in->bytes, MSG_PEEK | MSG_DONTWAIT);
        if (k > 0)
            k = write(in->to, in->bytes, (size_t)k);
    }
    if (k > 0)
        in->lent = (size_t)k;
    else if (!k || (errno != EAGAIN && errno != EINTR))
        input_failed(r);
}

static void input_flush(struct relay *r)
{
    struct input *in = &r->in;
    ssize_t k = write(in->to, in->bytes + in->at, in->n - in->at);
    if (k > 0)
        in->at += (size_t)k;
    else if (errno != EAGAIN && errno != EINTR)
        input_failed(r);
    if (in->at == in->n)
        in->at = in->n = 0;
    if (in->kind == INPUT_FILE && k > 0)
        in->sent += k;
}

static void input_fill(struct relay *r)
{
    struct input *in = &r->in;
    ssize_t k;
    if (in->kind == INPUT_FILE)
        k = pread(in->from, in->bytes, sizeof in->bytes, in->start + in->sent);
    else
        k = read(in->from, in->bytes, sizeof in->bytes);
    if (k > 0) {
        in->n = (size_t)k;
    } else if (!k && in->kind == INPUT_TERMINAL && !r->look->raw) {
        in->bytes[0] = r->look->modes_known ? (char)r->look->modes.c_cc[VEOF] : 4;
        in->n = 1; /* the end of one reading; more may be typed */
    } else if (!k || (errno != EAGAIN && errno != EINTR)) {
        if (in->kind == INPUT_FILE)
            in->peek = open_again(in->to, O_RDONLY);
        input_close(r);
        return;
    }
    if (in->n)
        input_flush(r);
}

/* Whether something is lent: it comes back when the pipe is empty, which poll tells by POLLOUT. */
static bool input_waits_for_command(const struct input *in)
{
    return in->n || in->lent;
}

/* ---- output ---- */

static int output_begin(struct relay *r, int from, int to, bool is_pty)
{
    struct output *o = &r->out[r->n_out++];
    struct stat st;
    *o = (struct output){.from = from, .to = to, .own = -1, .is_pty = is_pty, .rest = SIZE_MAX};
    o->pump.sock = -1;
    if (is_pty) {
        set_nonblocking(from);
    } else {
        int code = rec_pump_output(&o->pump, from);
        o->from = o->pump.sock;
        if (code)
            return code;
    }
    if (fstat(to, &st)) {
        o->to = -1;
        return 0;
    }
    o->is_socket = S_ISSOCK(st.st_mode);
    /* A file has one offset, which goes with its description: others may write there as well. */
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        o->own = open_again(to, O_WRONLY);
        o->to = o->own >= 0 ? o->own : to;
    }
    return 0;
}

static void output_close(struct relay *r, struct output *o)
{
    if (o->is_pty && r->in.to == r->master)
        r->in.to = -1;
    if (!o->is_pty)
        rec_pump_close(&o->pump);
    o->from = -1;
}

static void output_flush(struct relay *r, struct output *o)
{
    ssize_t k;
    if (o->to < 0)
        k = (ssize_t)(o->n - o->at);
    else if (o->is_socket)
        k = send(o->to, o->bytes + o->at, o->n - o->at, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        k = write(o->to, o->bytes + o->at, o->n - o->at);
    if (k < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (k < 0) { /* nobody reads any more: the command learns it from its own pipe */
        o->to = -1;
        o->at = o->n = 0;
        if (!o->is_pty)
            output_close(r, o);
        return;
    }
    o->at += (size_t)k;
    if (o->at == o->n)
        o->at = o->n = 0;
}

/* false: nothing is there now. */
static bool output_fill(struct relay *r, struct output *o)
{
    ssize_t k = read(o->from, o->bytes, o->rest < sizeof o->bytes ? o->rest : sizeof o->bytes);
    if (k > 0) {
        o->n = (size_t)k;
        if (r->ended && o->is_pty)
            o->rest -= (size_t)k;
        output_flush(r, o);
        return true;
    }
    if (!k || (errno != EAGAIN && errno != EINTR))
        output_close(r, o);
    return false;
}

/* ---- signals ---- */

static void send_signal(const struct relay *r, int s, bool group)
{
    sigqueue(r->pid, s, (union sigval){.sival_int = group ? ENTER_TO_GROUP : 0});
}

/* Stop with the command, and go on with it. */
static void stop_self(struct relay *r)
{
    sigset_t stop, before;
    send_signal(r, SIGTSTP, true);
    set_raw(r, false);
    /* Where no shell could continue us, the kernel ignores this signal, but not SIGSTOP. */
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    send_signal(r, SIGCONT, true);
    set_raw(r, true);
}

static void take_size(const struct relay *r)
{
    struct winsize w;
    if (r->master >= 0 && !ioctl(r->look->terminal, TIOCGWINSZ, &w))
        ioctl(r->master, TIOCSWINSZ, &w);
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A frozen container has frozen berth-enter too, so no signal gets to the command. A command that
 * takes its time to end is not meant: berth-enter has taken the signal then. */
static void end_frozen(struct relay *r)
{
    if (!r->sent || r->ended || now_ms() - r->sent_ms < FROZEN_MS)
        return;
    if (rec_proc_has_pending(r->pid, r->sent)) {
        r->killed_for = r->sent;
        kill(r->pid, SIGKILL);
    }
    r->sent = 0;
}

static void handle_signal(struct relay *r)
{
    struct signalfd_siginfo s;
    if (read(r->signals, &s, sizeof s) != sizeof s)
        return;
    bool keyboard = s.ssi_code == SI_KERNEL;
    switch (s.ssi_signo) {
    case SIGWINCH:
        take_size(r);
        return;
    case SIGCONT:
        set_raw(r, true);
        return;
    case SIGTSTP:
        stop_self(r);
        return;
    case SIGINT:
    case SIGQUIT:
        r->asked = true;
        /* The command's terminal knows who is in its foreground. */
        if (keyboard && r->master >= 0 && !ioctl(r->master, TIOCSIG, (long)s.ssi_signo))
            return;
        break;
    case SIGTERM:
    case SIGHUP:
        r->asked = true;
        break;
    default:
        break;
    }
    send_signal(r, (int)s.ssi_signo, keyboard);
    if (s.ssi_signo == SIGTERM || s.ssi_signo == SIGHUP || s.ssi_signo == SIGINT ||
        s.ssi_signo == SIGQUIT) {
        r->sent_ms = r->sent ? r->sent_ms : now_ms();
        r->sent = (int)s.ssi_signo;
    }
}

/* ---- the loop ---- */

/* All of `ends` are closed in the end, also on failure. */
static int begin(struct relay *r, const int *ends, size_t n)
{
    size_t at = 0;
    int code = 0;
    bool terminal = r->look->terminal >= 0;
    r->master = terminal && n ? ends[at++] : -1;
    if (r->master >= 0)
        code = output_begin(r, r->master, r->look->terminal, true);
    if (r->look->tty[0])
        input_begin(r, r->master);
    else if (at < n)
        input_begin(r, ends[at++]);
    for (int i = 1; i < 3 && !code; i++)
        if (!r->look->tty[i] && !(i == 2 && r->look->joined) && at < n)
            code = output_begin(r, ends[at++], i, false);
    while (at < n)
        close(ends[at++]);
    if (code)
        return code;
    set_raw(r, true);
    take_size(r);
    return 0;
}

enum { POLL_ENDED, POLL_SIGNALS, POLL_SOURCE, POLL_COMMAND, POLL_OUTPUT, POLLS = POLL_OUTPUT + 3 };

/* Whether a pump may still bring bytes. */
static bool any_pump_works(const struct relay *r)
{
    for (size_t i = 0; i < r->n_out; i++)
        if (!r->out[i].is_pty && r->out[i].from >= 0 && !r->out[i].n)
            return true;
    return false;
}

/* Which descriptors to wait for. Returns the longest wait in ms, or -1. */
static int prepare(const struct relay *r, struct pollfd p[POLLS])
{
    const struct input *in = &r->in;
    int wait = -1;
    for (int i = 0; i < POLLS; i++)
        p[i].fd = -1;
    p[POLL_SIGNALS] = (struct pollfd){r->signals, POLLIN, 0};
    if (!r->ended) {
        p[POLL_ENDED] = (struct pollfd){r->pidfd, POLLIN, 0};
        bool theirs = in->kind == INPUT_TERMINAL && in->to >= 0 && !may_read_terminal(r);
        if (theirs)
            wait = AGAIN_MS;
        if (in->to >= 0 && input_waits_for_command(in))
            p[POLL_COMMAND] = (struct pollfd){in->to, POLLOUT, 0};
        else if (in->to >= 0 && !theirs)
            p[POLL_SOURCE] = (struct pollfd){in->from, POLLIN, 0};
        /* A command that closes its input is heard of even while nothing comes. */
        if (in->to >= 0 && in->to != r->master && p[POLL_COMMAND].fd < 0)
            p[POLL_COMMAND] = (struct pollfd){in->to, 0, 0};
    }
    for (size_t i = 0; i < r->n_out; i++) {
        const struct output *o = &r->out[i];
        if (o->n && o->to >= 0)
            p[POLL_OUTPUT + i] = (struct pollfd){o->to, POLLOUT, 0};
        else if (o->from >= 0)
            p[POLL_OUTPUT + i] = (struct pollfd){o->from, POLLIN, 0};
        if (r->ended && o->is_pty && o->from >= 0 && !o->n)
            wait = DRAIN_MS;
    }
    if (r->ended && r->asked)
        return any_pump_works(r) ? PUMP_MS : DRAIN_MS;
    if (r->ended)
        return wait;
    if (r->sent) {
        long left = r->sent_ms + FROZEN_MS - now_ms();
        left = left > 0 ? left : 0;
        wait = wait < 0 || wait > left ? (int)left : wait;
    }
    return wait;
}

static void handle_input(struct relay *r, const struct pollfd p[POLLS])
{
    struct input *in = &r->in;
    if (p[POLL_COMMAND].revents & POLLERR) {
        input_failed(r);
        return;
    }
    if (p[POLL_COMMAND].revents & POLLOUT) {
        if (in->n)
            input_flush(r);
        else
            input_settle(r);
    }
    /* The terminal may have become another program's since `prepare`. */
    bool theirs = in->kind == INPUT_TERMINAL && !may_read_terminal(r);
    if (in->to >= 0 && p[POLL_SOURCE].revents && !theirs) {
        if (in->kind == INPUT_PIPE || in->kind == INPUT_SOCKET)
            input_lend(r);
        else
            input_fill(r);
    }
}

static void handle_output(struct relay *r, const struct pollfd p[POLLS])
{
    for (size_t i = 0; i < r->n_out; i++) {
        struct output *o = &r->out[i];
        if (!p[POLL_OUTPUT + i].revents)
            continue;
        if (o->n)
            output_flush(r, o);
        else if (o->from >= 0)
            output_fill(r, o);
    }
}

/* The command has ended. All that it wrote to a pipe is there now; the pty may still be busy with
 * it. What processes that stay behind write afterwards is not waited for. */
static void end(struct relay *r)
{
    r->ended = true;
    for (size_t i = 0; i < r->n_out; i++) {
        struct output *o = &r->out[i];
        if (o->is_pty)
            o->rest = PTY_MOST;
        else
            rec_pump_finish(&o->pump);
    }
}

static bool all_written(struct relay *r)
{
    bool all = true;
    for (size_t i = 0; i < r->n_out; i++) {
        struct output *o = &r->out[i];
        while (o->from >= 0 && !o->n && o->rest && output_fill(r, o))
            ;
        if (!o->rest)
            output_close(r, o);
        all &= !o->n && o->from < 0;
    }
    return all;
}

/* Nothing has come for a while. */
static void end_silent_pty(struct relay *r)
{
    for (size_t i = 0; i < r->n_out; i++)
        if (r->out[i].is_pty && !r->out[i].n)
            output_close(r, &r->out[i]);
}

static void loop(struct relay *r)
{
    for (;;) {
        struct pollfd p[POLLS];
        if (r->ended && all_written(r))
            return;
        int k = poll(p, POLLS, prepare(r, p));
        if (k < 0 && errno != EINTR)
            return;
        if (k < 0)
            continue;
        /* nobody reads, or a process that stays behind locks the pipe */
        if (!k && r->ended && r->asked)
            return;
        if (!k && r->ended)
            end_silent_pty(r);
        if (p[POLL_SIGNALS].revents)
            handle_signal(r);
        end_frozen(r);
        handle_output(r, p);
        if (!r->ended)
            handle_input(r, p);
        if (p[POLL_ENDED].revents && !r->ended)
            end(r);
    }
}

static void close_all(struct relay *r)
{
    for (size_t i = 0; i < r->n_out; i++) {
        output_close(r, &r->out[i]);
        if (r->out[i].own >= 0)
            close(r->out[i].own);
    }
    input_close(r);
    if (r->in.from >= 0)
        close(r->in.from);
    if (r->in.peek >= 0)
        close(r->in.peek);
    if (r->master >= 0)
        close(r->master);
    if (r->pidfd >= 0)
        close(r->pidfd);
}

int rec_relay_run(const struct rec_relay *look, const int *ends, size_t n, int signals, pid_t pid,
                  int *status, struct rec_error *err)
{
    struct relay r = {.look = look,
                      .in = {.from = -1, .to = -1, .peek = -1},
                      .master = -1,
                      .signals = signals,
                      .pid = pid};
    r.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int code = begin(&r, ends, n);
    if (code)
        kill(pid, SIGKILL);
    else
        loop(&r);
    input_settle(&r);
    set_raw(&r, false);
    close_all(&r);
    *status = 0;
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    if (code)
        return rec_fail(err, -code, "cannot start a process: %s", strerror(-code));
    if (r.killed_for && WIFSIGNALED(*status))
        *status = r.killed_for; /* as if that signal had ended it */
    return 0;
}
