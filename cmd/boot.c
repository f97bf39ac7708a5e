/* The unit is of type notify: `systemctl start berth` returns when the first apply is done, and the
 * wait for the uplink delays nobody. */
#include "cmd/boot.h"
#include "reconcile/uplink.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { OTHER_FAMILY_MS = 10000 }; /* a way out in one family is there, in the other none */

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = path ? strlen(path) : 0;
    if (!n || n >= sizeof to.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(to.sun_path, path, n);
    if (path[0] == '@')
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to, size);
    close(fd);
}

/* "an IPv4 default route for bridge 'br0', and a nameserver in /etc/resolv.conf". */
static void describe(const struct rec_pending *p, char out[256])
{
    const char *routes = p->route4 && p->route6 ? "IPv4 and IPv6 default routes" : NULL;
    if (!routes)
        routes = p->route4 ? "an IPv4 default route" : "an IPv6 default route";
    int n = 0;
    out[0] = 0;
    if (p->route4 || p->route6)
        n = snprintf(out, 256, "%s for NAT of bridge '%s'", routes, p->bridge);
    if (p->resolver && n >= 0 && n < 256)
        snprintf(out + n, 256 - (size_t)n, "%sa nameserver in /etc/resolv.conf", n ? ", and " : "");
}

/* A fresh run for each reading and each apply. */
static enum cmd_exit open_anew(struct cmd *c, struct rec_error *err)
{
    rec_close(c->run);
    c->run = NULL;
    enum cmd_exit code = cmd_open(c, err);
    if (code == CMD_OK)
        c->run->host = c->host;
    return code;
}

static enum cmd_exit converge(struct cmd *c, struct cmd_converge *v, bool await_ipv6)
{
    struct rec_error err;
    enum cmd_exit code = open_anew(c, &err);
    if (code != CMD_OK)
        return cmd_fail(c, v->format, code, &err);
    c->run->opt.await_ipv6 = await_ipv6;
    code = cmd_converge(c, v);
    /* Containers that do not start keep no other one from its uplink. cmd_boot_apply ends with
     * CMD_PARTIAL for them. */
    return code == CMD_PARTIAL && v->alone ? CMD_OK : code;
}

/* `text` lives until the next call. */
static enum cmd_exit look(struct cmd *c, struct cmd_converge *v, struct rec_pending *p,
                          char text[256])
{
    struct rec_error err;
    enum cmd_exit code = open_anew(c, &err);
    int r = code == CMD_OK ? rec_uplink_pending(c->run, p, &err) : 0;
    if (r)
        code = cmd_exit_of_errno(-r);
    if (code != CMD_OK)
        return cmd_fail(c, v->format, code, &err);
    describe(p, text);
    return CMD_OK;
}

static bool same(const struct rec_pending *a, const struct rec_pending *b)
{
    return a->route4 == b->route4 && a->route6 == b->route6 && a->resolver == b->resolver;
}

/* Until nothing is missing, or the time is over. */
static enum cmd_exit wait_for_uplink(struct cmd *c, struct cmd_converge *v,
                                     struct rec_uplink_watch *w, struct rec_pending *p,
                                     char text[256])
{
    struct rec_pending now;
    struct rec_error err;
    char status[320];
    long start = now_ms(), most = c->args.boot_wait_ms;
    enum cmd_exit code = CMD_OK;
    for (;;) {
        long limit = !p->needed && most > OTHER_FAMILY_MS ? OTHER_FAMILY_MS : most;
        long left = start + limit - now_ms();
        if (!rec_pending_any(p) || left <= 0)
            break;
        snprintf(status, sizeof status, "STATUS=Waiting for %s", text);
        notify(status);
        int r = rec_uplink_wait(w, (int)left, &err);
        if (r < 0)
            return cmd_fail(c, v->format, CMD_FAILED, &err);
        if (!r)
            break;
        code = look(c, v, &now, text);
        if (code != CMD_OK)
            return code;
        if (same(p, &now))
            continue;
        *p = now;
        code = converge(c, v, p->route6);
        cmd_signals_release();
        if (code != CMD_OK)
            return code;
    }
    /* IPv6 forwarding waited for a router: the kernel ignores routers once it forwards. */
    return p->route6 ? converge(c, v, false) : CMD_OK;
}

static enum cmd_exit end(struct cmd *c, const struct cmd_converge *v, const struct rec_pending *p,
                         const char *text, long waited_ms)
{
    char status[400];
    if (!p->needed) {
        notify("READY=1"); /* of two states in one message systemd takes one */
        notify(v->alone ? "STOPPING=1\nSTATUS=Applied, but not every container runs"
                        : "STOPPING=1\nSTATUS=In sync with the spec");
        return CMD_OK;
    }
    snprintf(status, sizeof status, "STATUS=Pending: %s", text);
    notify(status);
    if (waited_ms)
        cmd_printf(&c->err,
                   "berth: gave up after %ld s; all else is applied, and this is pending: %s\n",
                   waited_ms / 1000, text);
    else
        cmd_printf(&c->err, "berth: all else is applied, and this is pending: %s\n", text);
    cmd_put(
        &c->err,
        "  once the host has it: systemctl restart berth (berth.timer tries again by itself)\n");
    if (p->resolver)
        cmd_put(&c->err, "  containers need no resolver of the host where the spec has "
                         "`nameservers: [ADDRESS]`\n");
    return CMD_LOCKED;
}

enum cmd_exit cmd_boot_apply(struct cmd *c, struct cmd_converge *v)
{
    struct rec_uplink_watch *w = NULL;
    struct rec_pending p = {0};
    struct rec_error err;
    char text[256] = "";
    long waited = 0;
    /* Nobody has taken the lock since the host booted: this is the first run. It listens before it
     * reads, so that it misses no change. */
    bool waits = c->args.boot_wait_ms > 0 && access(REC_RUN_DIR "/lock", F_OK) &&
                 !rec_uplink_watch_open(&w, &err);
    enum cmd_exit code = converge(c, v, waits);
    cmd_signals_release();
    if (code == CMD_OK)
        code = look(c, v, &p, text);
    if (code == CMD_OK && waits && rec_pending_any(&p)) {
        cmd_printf(&c->err, "berth: applied; now waiting up to %ld s for %s\n",
                   c->args.boot_wait_ms / 1000, text);
        cmd_out_flush(&c->err);
        notify("READY=1");
        code = wait_for_uplink(c, v, w, &p, text);
        waited = c->args.boot_wait_ms;
    }
    if (code == CMD_OK)
        code = end(c, v, &p, text, waited);
    rec_uplink_watch_close(w);
    return (code == CMD_OK || code == CMD_LOCKED) && v->alone ? CMD_PARTIAL : code;
}
