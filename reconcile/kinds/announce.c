/* Neighbours keep an address's old place for up to a minute. Where one has come to another MAC, or
 * a bridge's own addresses have, its new holder says so. A frame that is lost costs that minute and
 * no more, so nothing fails by it. A child does it and is not waited for, since it enters
 * namespaces. */
#include "netops/announce.h"
#include "reconcile/kinds.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool bridge_is_new(const struct rec_plan *p, const char *bridge)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_BRIDGE && p->steps[i]->action == REC_CREATE &&
            !strcmp(p->steps[i]->to->key, bridge))
            return true;
    return false;
}

/* On a bridge that has just been made nobody knows anybody yet, but for ports that came to it
 * from another. */
static bool has_moved(const struct rec_plan *p, const struct rec_step *s)
{
    if (s->kind != REC_PORT || s->state != REC_DONE || !s->to || !s->to->port.inside_up)
        return false;
    if (s->action == REC_CREATE || s->action == REC_REPLACE)
        return !bridge_is_new(p, s->to->port.bridge);
    return s->changed & (1u << REC_PORT_MAC | 1u << REC_PORT_ADDRESS | 1u << REC_PORT_BRIDGE);
}

static void announce_containers(const struct rec_plan *plan, int dir)
{
    for (size_t i = 0; i < plan->n; i++) {
        const struct rec_step *s = plan->steps[i];
        int fd;
        if (!has_moved(plan, s) || net_netns_open(dir, s->to->key, &fd, NULL))
            continue;
        int index = s->eth0_index ? s->eth0_index : s->from->port.peer_index;
        if (!net_netns_enter(fd, NULL))
            net_announce(index, NULL);
        close(fd);
    }
}

/* Of a bridge that was given its MAC. The kernel's own choice is left alone, since announcing would
 * make it permanent. */
static bool has_given_mac(const char *link)
{
    char path[64], text[8] = "";
    /* linux/netdevice.h: NET_ADDR_SET is 3 */
    snprintf(path, sizeof path, "/sys/class/net/%s/addr_assign_type", link);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool given = read(fd, text, sizeof text - 1) > 0 && *text == '3';
    close(fd);
    return given;
}

/* `links` are as they were read after the apply. */
static void announce_bridge(const struct rec_links *links, const char *name)
{
    const struct net_link *l = rec_link_named(links, name);
    if (l && has_given_mac(name))
        net_announce(l->index, NULL);
}

static bool bridge_has_moved(const struct rec_plan *p, const struct rec_step *s, bool ports_moved)
{
    if (s->state != REC_DONE || !s->to)
        return false;
    if (s->kind == REC_ADDRESS)
        return !bridge_is_new(p, s->to->address.link);
    return s->kind == REC_BRIDGE && (s->action == REC_CREATE ? ports_moved : s->n_differences > 0);
}

void rec_announce(struct rec_run *run, const struct rec_plan *p)
{
    struct rec_error e;
    int dir = -1;
    bool any = false, ports_moved = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        any |= has_moved(p, s);
        ports_moved |=
            s->kind == REC_PORT && s->action == REC_CHANGE && s->changed & 1u << REC_PORT_BRIDGE;
    }
    if (any && rec_netns_dir(run, false, &dir, &e))
        any = false;
    for (size_t i = 0; i < p->n && !any; i++)
        any = bridge_has_moved(p, p->steps[i], ports_moved);
    if (!any || !run->links || fork())
        return;
    /* A service manager ends what is left of a service with SIGTERM, possibly before the frames are
     * sent. */
    signal(SIGTERM, SIG_IGN);
    /* Nobody is to wait for us by a pipe of ours. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        dup2(null, fd);
    for (size_t i = 0; i < p->n; i++)
        if (bridge_has_moved(p, p->steps[i], ports_moved))
            announce_bridge(run->links, p->steps[i]->kind == REC_BRIDGE
                                            ? p->steps[i]->to->key
                                            : p->steps[i]->to->address.link);
    if (dir >= 0)
        announce_containers(p, dir);
    _exit(0);
}
