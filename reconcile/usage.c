/* Who is here is asked of the same readers as for a plan; figures come from the cgroups and from
 * one dump of counters. */
#include "reconcile/usage.h"
#include "netops/stats.h"
#include "reconcile/apply.h"
#include "reconcile/kinds.h"
#include "reconcile/kinds/insides.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int by_index(const void *a, const void *b)
{
    const struct rec_usage *x = *(struct rec_usage *const *)a, *y = *(struct rec_usage *const *)b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct rec_usage *)a)->name, ((const struct rec_usage *)b)->name);
}

struct counters {
    struct rec_usage **list;
    size_t n;
};

/* The host's end sends what the container receives. */
static int count(void *arg, const struct net_stats *s)
{
    struct counters *c = arg;
    struct rec_usage key = {.index = s->index}, *k = &key, **found;
    found = c->n ? bsearch(&k, c->list, c->n, sizeof k, by_index) : NULL;
    if (!found)
        return 0;
    (*found)->rx_bytes = s->tx_bytes;
    (*found)->tx_bytes = s->rx_bytes;
    (*found)->rx_packets = s->tx_packets;
    (*found)->tx_packets = s->rx_packets;
    return 0;
}

/* Processes and namespaces that are here: a container is one of them or both. */
static int look(struct rec_run *run, struct rec_state *have, struct rec_error *err)
{
    struct rec_state nothing;
    rec_state_init(&nothing, run->arena);
    rec_state_init(have, run->arena);
    int r = rec_facts_host(run, err);
    if (!r)
        r = rec_links_read(run, NULL, err);
    if (!r)
        r = rec_kinds[REC_SYSTEM]->read(run, &nothing, have, err);
    if (!r)
        r = rec_kinds[REC_NETNS]->read(run, &nothing, have, err);
    rec_insides_free(run);
    if (!r)
        rec_state_sort(have);
    return r;
}

static void fill(struct rec_run *run, struct rec_usage *u)
{
    char link[16];
    spec_link_name(u->name, link);
    const struct net_link *l = rec_link_named(run->links, link);
    const char *dir = rec_cgroup_of(run->arena, u->leader, u->name);
    if (l) {
        u->link = spec_arena_strdup(run->arena, link);
        u->index = l->index;
    }
    if (dir)
        rec_cgroup_usage(dir, &u->cgroup);
}

int rec_usage_read(struct rec_run *run, struct rec_usages *out, struct rec_error *err)
{
    struct rec_state have;
    struct net_batch *net;
    struct net_error e;
    struct timespec t;
    int r = look(run, &have, err);
    if (!r)
        r = rec_net(run, &net, err);
    if (r)
        return r;
    struct rec_usage *list = spec_arena_alloc(run->arena, (have.n + 1) * sizeof *list), **sorted;
    sorted = spec_arena_alloc(run->arena, (have.n + 1) * sizeof *sorted);
    if (!list || !sorted)
        return rec_fail(err, ENOMEM, "out of memory");
    size_t n = 0;
    for (size_t i = 0; i < have.n; i++) {
        const struct rec_item *it = have.items[i],
                              *running = rec_state_find(&have, REC_RUN, it->key);
        bool both = it->kind == REC_NETNS && running;
        if ((it->kind != REC_NETNS && it->kind != REC_RUN) || both ||
            (it->kind == REC_NETNS && (!it->ours || it->netns.left_over)))
            continue;
        list[n] = (struct rec_usage){.name = it->container, .runtime = SPEC_RT_NETNS};
        if (it->kind == REC_RUN) {
            list[n].runtime = it->runtime;
            list[n].leader = it->run.leader;
            list[n].started_ms = it->run.started_ms;
        }
        n++;
    }
    qsort(list, n, sizeof *list, by_name);
    for (size_t i = 0; i < n; i++) {
        fill(run, &list[i]);
        sorted[i] = &list[i];
    }
    qsort(sorted, n, sizeof *sorted, by_index);
    struct counters c = {sorted, n};
    clock_gettime(CLOCK_MONOTONIC, &t);
    if (net_stats_dump(net_batch_port(net), count, NULL, &c, &e))
        return rec_fail_net(err, &e);
    *out =
        (struct rec_usages){list, n, (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u};
    return 0;
}

int rec_usage_link(struct rec_run *run, const char *container, char link[16], struct rec_error *err)
{
    struct net_batch *net;
    struct net_error e;
    struct net_link l;
    if (strlen(container) > 63)
        return rec_fail(err, ESRCH, "there is no container '%.64s' here", container);
    spec_link_name(container, link);
    int r = rec_net(run, &net, err);
    if (r)
        return r;
    r = net_link_get(net_batch_port(net), link, 0, &l, &e);
    if (r == -ENODEV)
        return rec_fail(err, ESRCH, "container '%s' is not here: there is no link '%s'", container,
                        link);
    return r ? rec_fail_net(err, &e) : 0;
}
