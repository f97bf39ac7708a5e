/* A watch only says that something changed; what is there is read again as facts. The kernel tells
 * of links and routes. Of resolv.conf the directories are watched: it is a symlink on most hosts,
 * and its target may appear later. */
#include "reconcile/uplink.h"
#include "netops/monitor.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define RESOLV "/etc/resolv.conf"

struct rec_uplink_watch {
    struct net_monitor *monitor;
    int files; /* inotify */
};

static void watch_directory(const struct rec_uplink_watch *w, const char *path)
{
    inotify_add_watch(w->files, path,
                      IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_ONLYDIR);
}

/* Again before each wait: a directory may have come since. Watching one twice is watching it
 * once. */
static void watch_directories(const struct rec_uplink_watch *w)
{
    static const char *const fixed[] = {"/etc", "/run", "/run/systemd", "/run/systemd/resolve"};
    char target[PATH_MAX], path[PATH_MAX + 8];
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        watch_directory(w, fixed[i]);
    ssize_t n = readlink(RESOLV, target, sizeof target - 1);
    if (n <= 0)
        return;
    target[n] = 0;
    snprintf(path, sizeof path, "%s%s", target[0] == '/' ? "" : "/etc/", target);
    char *slash = strrchr(path, '/');
    if (slash == path)
        return;
    *slash = 0;
    watch_directory(w, path);
}

int rec_uplink_watch_open(struct rec_uplink_watch **out, struct rec_error *err)
{
    struct net_error e;
    struct rec_uplink_watch *w = calloc(1, sizeof *w);
    if (!w)
        return rec_fail(err, ENOMEM, "out of memory");
    int r = net_monitor_open(RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE, &w->monitor, &e);
    if (r) {
        free(w);
        return rec_fail_net(err, &e);
    }
    w->files = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->files < 0) {
        int code = errno;
        rec_uplink_watch_close(w);
        return rec_fail(err, code, "cannot watch '" RESOLV "': %s", strerror(code));
    }
    watch_directories(w);
    *out = w;
    return 0;
}

void rec_uplink_watch_close(struct rec_uplink_watch *w)
{
    if (!w)
        return;
    net_monitor_close(w->monitor);
    if (w->files >= 0)
        close(w->files);
    free(w);
}

int rec_uplink_wait(struct rec_uplink_watch *w, int ms, struct rec_error *err)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    struct pollfd p[2] = {{.fd = net_monitor_fd(w->monitor), .events = POLLIN},
                          {.fd = w->files, .events = POLLIN}};
    watch_directories(w);
    int k = poll(p, 2, ms);
    if (k < 0 && errno != EINTR)
        return rec_fail(err, errno, "cannot wait for the uplink: %s", strerror(errno));
    if (p[1].revents)
        while (read(w->files, events, sizeof events) > 0)
            ;
    /* -ENOBUFS: events were lost. All is read again anyway. */
    if (p[0].revents)
        net_monitor_wait(w->monitor, 0, NULL, NULL, NULL);
    return k != 0;
}

static bool leads_out(const struct spec_host *h)
{
    for (size_t i = 0; i < h->n_bridges; i++)
        if (h->bridges[i].nat.uplink != SPEC_UPLINK_NONE)
            return true;
    for (size_t i = 0; i < h->n_containers; i++)
        if (h->containers[i].gateway.mode == SPEC_GW_GIVEN)
            return true;
    return false;
}

int rec_uplink_pending(struct rec_run *run, struct rec_pending *out, struct rec_error *err)
{
    const struct spec_host *h = run->host;
    *out = (struct rec_pending){0};
    run->facts.known = false;
    int r = rec_facts_read(run, err);
    if (r)
        return r;
    bool lacks4 = !run->facts.uplink4[0], lacks6 = run->facts.ipv6 && !run->facts.uplink6[0];
    for (size_t i = 0; i < h->n_bridges; i++) {
        const struct spec_bridge *b = &h->bridges[i];
        bool has4 = rec_bridge_has(b, 4), has6 = rec_bridge_has(b, 6);
        if (b->nat.uplink != SPEC_UPLINK_AUTO || !((has4 && lacks4) || (has6 && lacks6)))
            continue;
        out->route4 |= has4 && lacks4;
        out->route6 |= has6 && lacks6;
        /* A host with a way out in one family often has none in the other. */
        out->needed |= (!has4 || lacks4) && (!has6 || lacks6);
        if (!out->bridge)
            out->bridge = b->name;
    }
    out->resolver = !h->nameservers_given && !run->facts.n_nameservers &&
                    !run->facts.own_resolver && h->n_containers && leads_out(h);
    out->needed |= out->resolver;
    return 0;
}
