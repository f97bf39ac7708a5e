/* One number says where a step stands. Trees that are unpacked from archives come first of all.
 * Then removals, from the process inwards to the wire, so that an identity is free before its next
 * owner comes. Then creations and changes, filters before forwarding. Addresses come after
 * forwarding: where it is switched on while the kernel still announces a new IPv6 address, the
 * kernel joins the subnet's anycast address twice and leaves it once (net/ipv6/addrconf.c:
 * dev_forward_change, addrconf_dad_work), and a route stays. Our tables go last of all, when
 * nothing that they guard is left. */
#include "reconcile/plan.h"
#include <stdlib.h>
#include <string.h>

static const int removal[REC_KINDS] = {
    [REC_RUN] = 1,    [REC_UNIT] = 2,  [REC_SYSCTL] = 3, [REC_NAMES] = 4, [REC_ADDRESS] = 5,
    [REC_PORT] = 6,   [REC_NETNS] = 6, [REC_BRIDGE] = 6, /* one request deletes them all */
    [REC_SYSTEM] = 7, [REC_NAT] = 40,
};
static const int creation[REC_KINDS] =
    {
        [REC_SYSTEM] = 10, [REC_BRIDGE] = 12,  [REC_NAT] = 13,
        [REC_SYSCTL] = 14, [REC_ADDRESS] = 15, [REC_NAMES] = 16,
        [REC_NETNS] = 17,  [REC_PORT] = 17, /* one container after the other, in one pipeline */
        [REC_UNIT] = 20,   [REC_RUN] = 21,
};

const int rec_finish_rank = 19;

/* A tree is unpacked before anything is interrupted or removed: a bad archive then harms no other
 * container. */
static bool is_staged(const struct rec_step *s)
{
    return s->kind == REC_SYSTEM && s->action == REC_CREATE && s->to->runtime == SPEC_RT_NSPAWN;
}

/* The network of a container that owns it comes with its process, and goes after its process has
 * ended. */
enum { AFTER_PROCESS = 22, WITH_PROCESS = 23 };

static bool outlives_process(const struct rec_item *from)
{
    if (!from)
        return false;
    return (from->kind == REC_NETNS && from->netns.own) ||
           (from->kind == REC_PORT && from->port.own);
}

int rec_step_rank(const struct rec_step *s)
{
    if (s->action == REC_REMOVE)
        return outlives_process(s->from) ? AFTER_PROCESS : removal[s->kind];
    if (s->with_start)
        return WITH_PROCESS;
    if (is_staged(s))
        return 0;
    return creation[s->kind];
}

/* accept_ra is written before the host forwards, or a link would lose its routes. It is given back
 * after the host has stopped. */
static int sysctl_turn(const struct rec_step *s)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    bool back = s->action == REC_REMOVE || (s->to && !s->to->ours);
    bool link = strstr(i->key, "/accept_ra") != NULL;
    return link == back;
}

static int compare_steps(const void *a, const void *b)
{
    const struct rec_step *x = *(struct rec_step *const *)a, *y = *(struct rec_step *const *)b;
    int rx = rec_step_rank(x), ry = rec_step_rank(y);
    if (rx != ry)
        return rx < ry ? -1 : 1;
    const struct rec_item *i = x->to ? x->to : x->from, *k = y->to ? y->to : y->from;
    /* Within a rank: by container, then by kind (its namespace before its port), then by key. */
    if (!i->container != !k->container)
        return i->container ? -1 : 1;
    int c = i->container ? strcmp(i->container, k->container) : 0;
    if (c)
        return c;
    if (i->kind != k->kind)
        return (i->kind < k->kind ? -1 : 1) * (x->action == REC_REMOVE ? -1 : 1);
    if (i->kind == REC_SYSCTL && sysctl_turn(x) != sysctl_turn(y))
        return sysctl_turn(x) - sysctl_turn(y);
    return strcmp(i->key, k->key);
}

void rec_plan_sort(struct rec_plan *p)
{
    if (p->n > 1)
        qsort(p->steps, p->n, sizeof *p->steps, compare_steps);
}
