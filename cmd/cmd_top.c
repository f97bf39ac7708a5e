/* top: two readings, and a third, … Each is a run of its own, so a day of watching takes no more
 * memory than a second. */
#include "cmd/cmd.h"
#include "cmd/render/render.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#define FORMAT "berth.top"
enum { INTERVAL_MS = 1000, LEAST_MS = 50 };

struct reading {
    struct rec_run *run;
    struct rec_usages usages;
};
struct top {
    struct cmd *cmd;
    struct reading now, before;
    bool live, raw;
    struct termios saved;
    int timer, signals;
    int killed_by; /* 0: by nobody */
    bool quit;
};

static bool listed(const struct cmd *c, const char *name)
{
    for (size_t i = 0; i < c->args.n_names; i++)
        if (!strcmp(c->args.names[i], name))
            return true;
    return !c->args.n_names;
}

/* Those that were asked for; `strict`: each must be there. */
static enum cmd_exit choose(struct cmd *c, struct rec_usages *u, bool strict)
{
    size_t n = 0;
    for (size_t i = 0; i < c->args.n_names && strict; i++) {
        bool found = false;
        for (size_t k = 0; k < u->n && !found; k++)
            found = !strcmp(u->list[k].name, c->args.names[i]);
        if (found)
            continue;
        struct rec_error err;
        c->args.names[0] = c->args.names[i];
        rec_fail(&err, ESRCH, "container '%.64s' is not here", c->args.names[i]);
        return cmd_absent(c, &err);
    }
    for (size_t i = 0; i < u->n; i++)
        if (listed(c, u->list[i].name))
            u->list[n++] = u->list[i];
    u->n = n;
    return CMD_OK;
}

static enum cmd_exit look(struct top *t, bool first)
{
    struct cmd *c = t->cmd;
    struct rec_error err;
    enum cmd_exit code = cmd_open(c, &err);
    if (code == CMD_OK) {
        int r = rec_usage_read(c->run, &t->now.usages, &err);
        code = r ? cmd_exit_of_errno(-r) : CMD_OK;
    }
    if (code != CMD_OK)
        return cmd_fail(c, FORMAT, code, &err);
    t->now.run = c->run;
    code = choose(c, &t->now.usages, first);
    c->run = NULL;
    return code;
}

static void shift(struct top *t)
{
    rec_close(t->before.run);
    t->before = t->now;
    t->now = (struct reading){0};
}

static void show(struct top *t)
{
    struct cmd_out *o = &t->cmd->out;
    struct winsize w;
    struct cmd_render_top r = {
        .now = &t->now.usages, .before = t->before.run ? &t->before.usages : NULL, .live = t->live};
    if (t->cmd->args.json) {
        cmd_render_top_json(o, &r);
        return;
    }
    if (t->live) {
        r.rows = ioctl(1, TIOCGWINSZ, &w) ? 24 : w.ws_row;
        cmd_put(o, "\033[H");
    }
    cmd_render_top_text(o, &r);
    if (t->live)
        cmd_put(o, "\033[J");
    cmd_out_flush(o);
}

/* Until the next reading is due, or the end: a key, a signal, a reader that left. */
static void pause_until_due(struct top *t)
{
    for (bool due = false; !due && !t->quit && !t->killed_by;) {
        struct pollfd p[4] = {{t->timer, POLLIN, 0},
                              {t->signals, POLLIN, 0},
                              {t->raw ? 0 : -1, POLLIN, 0},
                              {1, 0, 0}};
        struct signalfd_siginfo s;
        uint64_t ticks;
        char key;
        if (poll(p, 4, -1) < 0 && errno != EINTR)
            t->quit = true;
        if (p[1].revents && read(t->signals, &s, sizeof s) == sizeof s) {
            if ((int)s.ssi_signo == SIGWINCH)
                show(t);
            else
                t->killed_by = (int)s.ssi_signo;
        }
        if (p[2].revents) {
            ssize_t n = read(0, &key, 1);
            t->quit |= n == 0 || (n == 1 && (key == 'q' || key == 'Q'));
        }
        if (p[0].revents)
            due = read(t->timer, &ticks, sizeof ticks) == sizeof ticks;
        t->quit |= (p[3].revents & (POLLERR | POLLHUP)) != 0;
    }
}

static enum cmd_exit begin(struct top *t)
{
    struct cmd *c = t->cmd;
    struct rec_error err;
    sigset_t mask;
    long ms = c->args.interval_ms < 0          ? INTERVAL_MS
              : c->args.interval_ms < LEAST_MS ? LEAST_MS
                                               : c->args.interval_ms;
    struct timespec every = {ms / 1000, ms % 1000 * 1000000};
    struct itimerspec due = {every, every};
    t->live = c->out.terminal && !c->args.json && c->args.count != 1;
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);
    if (t->live)
        sigaddset(&mask, SIGWINCH);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    t->signals = signalfd(-1, &mask, SFD_CLOEXEC);
    t->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (t->signals < 0 || t->timer < 0 || timerfd_settime(t->timer, 0, &due, NULL)) {
        rec_fail(&err, errno, "cannot wait for the next reading: %s", strerror(errno));
        return cmd_fail(c, FORMAT, CMD_FAILED, &err);
    }
    if (t->live && isatty(0) && !tcgetattr(0, &t->saved)) {
        struct termios keys = t->saved;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        t->raw = !tcsetattr(0, TCSADRAIN, &keys);
    }
    if (t->live)
        cmd_put(&c->out, "\033[?1049h\033[?25l\033[H\033[2J");
    return CMD_OK;
}

static void end(struct top *t)
{
    if (t->live) { /* the terminal as it was, and the last figures on it */
        cmd_put(&t->cmd->out, "\033[?25h\033[?1049l");
        t->live = false;
        if (t->now.run && !t->killed_by)
            show(t);
        cmd_out_flush(&t->cmd->out);
    }
    if (t->raw)
        tcsetattr(0, TCSADRAIN, &t->saved);
    rec_close(t->now.run);
    rec_close(t->before.run);
    if (t->signals >= 0)
        close(t->signals);
    if (t->timer >= 0)
        close(t->timer);
}

int cmd_top(struct cmd *c)
{
    struct top t = {.cmd = c, .signals = -1, .timer = -1};
    /* what is wrong is told before the screen changes */
    enum cmd_exit code = look(&t, true);
    if (code == CMD_OK)
        code = begin(&t);
    long times = c->args.count > 0 ? c->args.count : t.live ? -1 : 1;
    if (code == CMD_OK && t.live)
        show(&t);
    while (code == CMD_OK && times) {
        pause_until_due(&t);
        if (t.quit || t.killed_by)
            break;
        shift(&t);
        code = look(&t, false);
        if (code == CMD_OK)
            show(&t);
        times -= times > 0;
        if (times && !t.live && !c->args.json)
            cmd_put(&c->out, "\n");
    }
    end(&t);
    return t.killed_by && t.killed_by != SIGINT ? 128 + t.killed_by
           : t.killed_by && !t.raw              ? 128 + SIGINT
                                                : (int)code;
}
