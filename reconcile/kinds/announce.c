/* Neighbours keep an address's old place for up to a minute. Where one has come to another MAC, or a bridge's own addresses have, its
 * new holder says so. A frame that is lost costs that minute and no more, so nothing fails by it. */
#include "netops/announce.h"
#include "reconcile/kinds.h"
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct announcement {
    const struct rec_plan *plan;
    int                    dir;
};

static bool bridge_is_new(const struct rec_plan *p, const char *bridge)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_BRIDGE && p->steps[i]->action == REC_CREATE && !strcmp(p->steps[i]->to->key, bridge))
            return true;
    return false;
}

/* On a bridge that has just been made nobody knows anybody yet, but for ports that came to it from another. */
static bool has_moved(const struct rec_plan *p, const struct rec_step *s)
{
    if (s->kind != REC_PORT || s->state != REC_DONE || !s->to || !s->to->port.inside_up)
        return false;
    if (s->action == REC_CREATE || s->action == REC_REPLACE)
        return !bridge_is_new(p, s->to->port.bridge);
    return s->changed & (1u << REC_PORT_MAC | 1u << REC_PORT_ADDRESS | 1u << REC_PORT_BRIDGE);
}

static void *inside(void *arg)
{
    const struct announcement *a = arg;
    for (size_t i = 0; i < a->plan->n; i++) {
        const struct rec_step *s = a->plan->steps[i];
        int fd;
        if (!has_moved(a->plan, s) || net_netns_open(a->dir, s->to->key, &fd, NULL))
            continue;
        bool made = s->action == REC_CREATE || s->action == REC_REPLACE;
        const struct rec_port *p = &s->to->port;
        const uint8_t *mac = s->to->stated & 1u << REC_PORT_MAC ? p->mac : s->from ? s->from->port.mac : p->mac;
        if (!net_netns_enter(fd, NULL))
            net_announce(made ? REC_ETH0_INDEX : s->from->port.peer_index, mac, p->address, p->n_address, NULL);
        close(fd);
    }
    return NULL;
}

/* `links` are as they were read after the apply. */
static void of_bridge(const struct rec_links *links, const char *name)
{
    const struct net_link *l = rec_link_named(links, name);
    for (size_t i = 0; l && i < links->n_address; i++)
        if (links->address[i].index == l->index)
            net_announce(l->index, l->mac, &links->address[i], 1, NULL);
}

void rec_announce(struct rec_run *run, const struct rec_plan *p)
{
    struct announcement a = {.plan = p};
    struct rec_error e;
    pthread_t thread;
    bool any = false, moved = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        any |= has_moved(p, s);
        moved |= s->kind == REC_PORT && s->action == REC_CHANGE && s->changed & 1u << REC_PORT_BRIDGE;
    }
    for (size_t i = 0; i < p->n && run->links; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->kind == REC_BRIDGE && s->to && s->state == REC_DONE && (s->action == REC_CREATE ? moved : s->n_differences > 0))
            of_bridge(run->links, s->to->key);
        else if (s->kind == REC_ADDRESS && s->to && s->state == REC_DONE && !bridge_is_new(p, s->to->address.link))
            of_bridge(run->links, s->to->address.link);
    }
    /* A thread of its own: the run never leaves the host's namespace. */
    if (any && !rec_netns_dir(run, false, &a.dir, &e) && !pthread_create(&thread, NULL, inside, &a))
        pthread_join(thread, NULL);
}
