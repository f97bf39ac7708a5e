/* One dump of links and one of addresses serve all kinds of a read. Link by link is asked only
 * after an apply, for the few it touched. Of a thousand ports a whole dump costs more than all else
 * that the host is asked for (for each the kernel looks through a list of all namespaces), and what
 * it tells beyond a dump of ports is who owns them. So where each port is of a name that is wanted,
 * and bears the MAC that berth gave that port when it made it, that is taken for the mark; a single
 * one that is or bears anything else, and all are read in whole. A port that is about to be
 * changed is looked at more closely before that is planned. Of those where nothing else differs
 * two things are not seen: a group that somebody changed, and an addrgen mode that has made no
 * address yet. */
#include "reconcile/kinds/links.h"
#include "reconcile/again.h"
#include "reconcile/kinds.h"
#include "reconcile/kinds/insides.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int room(void **list, size_t n, size_t *room, size_t each)
{
    if (n < *room)
        return 0;
    size_t more = *room ? *room * 2 : 64;
    void *p = realloc(*list, more * each);
    if (!p)
        return -ENOMEM;
    *list = p;
    *room = more;
    return 0;
}

static int take_link(void *arg, const struct net_link *l)
{
    struct rec_links *s = arg;
    if (room((void **)&s->link, s->n, &s->room, sizeof *s->link))
        return -ENOMEM;
    s->link[s->n++] = *l;
    return 0;
}

static int take_altname(void *arg, const struct net_altname *a)
{
    struct rec_links *s = arg;
    if (room((void **)&s->alt, s->n_alt, &s->room_alt, sizeof *s->alt))
        return -ENOMEM;
    s->alt[s->n_alt++] = *a;
    return 0;
}

static void forget_links(void *arg)
{
    struct rec_links *s = arg;
    s->n = s->n_alt = 0;
}

static int take_address(void *arg, const struct net_address *a)
{
    struct rec_links *s = arg;
    if (room((void **)&s->address, s->n_address, &s->room_address, sizeof *s->address))
        return -ENOMEM;
    s->address[s->n_address++] = *a;
    return 0;
}

static void forget_addresses(void *arg)
{
    ((struct rec_links *)arg)->n_address = 0;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const struct rec_links *s = arg;
    return strcmp(s->link[*(const uint32_t *)a].name, s->link[*(const uint32_t *)b].name);
}

static int compare_indexes(const void *a, const void *b, void *arg)
{
    const struct rec_links *s = arg;
    int x = s->link[*(const uint32_t *)a].index, y = s->link[*(const uint32_t *)b].index;
    return (x > y) - (x < y);
}

/* The link of that name as it is now, in place of what is known of it. Only of the first `known`
 * the order is known. */
static int ask_for(struct rec_links *s, size_t known, struct net_port *p, const char *name,
                   struct net_error *e)
{
    struct net_link now;
    size_t n = s->n;
    int r = net_link_get(p, name, 0, &now, e);
    if (r && r != -ENODEV)
        return r;
    s->n = known;
    const struct net_link *old = rec_link_named(s, name);
    s->n = n;
    if (old)
        s->link[old - s->link].index = 0;
    /* else it bears that as an alternative name */
    if (!r && !strcmp(now.name, name) && take_link(s, &now))
        return net_fail(e, ENOMEM, "read", "link '%s'", name);
    return 0;
}

/* Ports that may have changed, and bridges, which change with their ports. */
static int ask_again(struct rec_links *s, struct net_port *p, const struct rec_again *again,
                     struct net_error *e)
{
    size_t known = s->n, n = 0;
    int r = 0;
    for (size_t i = 0; !r && i < again->n; i++) {
        char name[16];
        spec_link_name(again->names[i], name);
        r = ask_for(s, known, p, name, e);
    }
    for (size_t i = 0; !r && i < again->before->n; i++)
        if (again->before->items[i]->kind == REC_BRIDGE)
            r = ask_for(s, known, p, again->before->items[i]->key, e);
    for (size_t i = 0; i < s->n; i++)
        if (s->link[i].index)
            s->link[n++] = s->link[i];
    s->n = n;
    return r;
}

static int arrange(struct rec_links *s, struct rec_error *err)
{
    uint32_t *names = realloc(s->by_name, (s->n + 1) * sizeof *names);
    if (names)
        s->by_name = names;
    uint32_t *indexes = realloc(s->by_index, (s->n + 1) * sizeof *indexes);
    if (indexes)
        s->by_index = indexes;
    free(s->paired);
    s->paired = calloc(s->n + 1, sizeof *s->paired);
    if (!names || !indexes || !s->paired)
        return rec_fail(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < s->n; i++)
        names[i] = indexes[i] = i;
    qsort_r(names, s->n, sizeof *names, compare_names, s);
    qsort_r(indexes, s->n, sizeof *indexes, compare_indexes, s);
    return 0;
}

enum { MANY_PORTS = 64, MOST_MISSING = 32 };

static size_t count_ports(const struct rec_state *wanted)
{
    size_t n = 0;
    for (size_t i = 0; wanted && i < wanted->n; i++)
        n += wanted->items[i]->kind == REC_PORT;
    return n;
}

/* Nothing of that name, be it an alternative one. */
static bool is_missing(struct net_port *p, const char *name)
{
    struct net_link l;
    return net_link_get(p, name, 0, &l, NULL) == -ENODEV;
}

/* Two dumps are no snapshot: what came or went between them may be there twice. */
static bool any_twice(const struct rec_links *s)
{
    for (size_t i = 1; i < s->n; i++)
        if (s->link[s->by_index[i]].index == s->link[s->by_index[i - 1]].index)
            return true;
    return false;
}

/* Nobody here has slaves, but bridges; and no port has an address. */
static bool bridges_alone(const struct rec_links *s)
{
    bool loopback = false; /* not told by a kernel that does not know "no master" */
    for (size_t i = 0; i < s->n; i++) {
        const struct net_link *l = &s->link[i];
        loopback |= (l->flags & IFF_LOOPBACK) != 0;
        if (l->flags & IFF_MASTER || !strcmp(l->kind, "team") || !strcmp(l->kind, "hsr") ||
            !strcmp(l->kind, "batadv") || !strcmp(l->kind, "openvswitch"))
            return false;
    }
    for (size_t i = 0; i < s->n_address; i++) {
        const struct net_link *l = rec_link_indexed(s, s->address[i].index);
        if (!l || l->port)
            return false;
    }
    return loopback;
}

/* Where each port is one that is wanted, of a container whose namespace is there: they are given
 * the mark that they are taken to have. False: that cannot be said. */
static bool take_for_ours(const struct rec_run *run, struct rec_links *s, struct net_port *p,
                          const struct rec_state *wanted)
{
    const char *missing[MOST_MISSING];
    size_t ports = 0, met = 0, n_missing = 0;
    for (size_t i = 0; i < s->n; i++)
        ports += s->link[i].port;
    for (size_t i = 0; i < wanted->n; i++) {
        const struct rec_item *w = wanted->items[i];
        if (w->kind != REC_PORT)
            continue;
        const struct net_link *found = rec_link_named(s, w->port.link);
        if (!found && n_missing == MOST_MISSING)
            return false;
        if (!found) {
            missing[n_missing++] = w->port.link;
            continue;
        }
        struct net_link *l = &s->link[found - s->link];
        bool earlier;
        if (!l->port || !l->has_mac || !rec_port_mac_is(l->mac, w->port.host_mac, &earlier) ||
            !rec_insides_has(run, w->container))
            return false;
        l->group = REC_GROUP;
        strcpy(l->kind, "veth");
        met++;
    }
    for (size_t i = 0; i < n_missing; i++)
        if (!is_missing(p, missing[i]))
            return false;
    return ports == met && rec_insides_wanted(run, wanted);
}

static int read_addresses(struct rec_links *s, struct net_port *p, struct net_error *e)
{
    s->n_address = 0;
    return net_address_dump(p, take_address, forget_addresses, s, e);
}

static int read_whole(struct rec_links *s, struct net_port *p, struct net_error *e)
{
    s->n = s->n_alt = 0;
    return net_link_dump(p, take_link, take_altname, forget_links, s, e);
}

/* In brief. False: not so, or not enough; the whole reading then says what is wrong, if anything
 * is. */
static bool read_ports(const struct rec_run *run, struct rec_links *s, struct net_port *p,
                       const struct rec_state *wanted)
{
    struct net_error e;
    s->n = s->n_alt = 0;
    return !net_link_dump_ports(p, take_link, take_altname, forget_links, s, &e) &&
           !read_addresses(s, p, &e) && !arrange(s, NULL) && !any_twice(s) && bridges_alone(s) &&
           take_for_ours(run, s, p, wanted);
}

int rec_links_whole(struct rec_run *run, struct rec_error *err)
{
    struct net_batch *b;
    struct net_error e;
    if (!run->links || !run->links->brief)
        return 0;
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    r = read_whole(run->links, net_batch_port(b), &e);
    run->links->brief = false;
    return r ? rec_fail_net(err, &e) : arrange(run->links, err);
}

int rec_link_closer(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct net_batch *b;
    struct net_error e;
    struct net_link now;
    const struct net_link *was = rec_link_named(run->links, name);
    int r = was ? rec_net(run, &b, err) : 0;
    if (r || !was)
        return r;
    r = net_link_get(net_batch_port(b), NULL, was->index, &now, &e);
    if (r && r != -ENODEV)
        return rec_fail_net(err, &e);
    if (!r && !strcmp(now.name, name))
        run->links->link[was - run->links->link] = now;
    return 0;
}

int rec_links_read(struct rec_run *run, const struct rec_state *wanted, struct rec_error *err)
{
    struct net_batch *b;
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    if (!run->links && !(run->links = calloc(1, sizeof *run->links)))
        return rec_fail(err, ENOMEM, "out of memory");
    struct rec_links *s = run->links;
    struct net_port *p = net_batch_port(b);
    struct net_error e;
    if (run->again) {
        r = ask_again(s, p, run->again, &e);
        if (!r && run->again->addresses)
            r = read_addresses(s, p, &e);
        return r ? rec_fail_net(err, &e) : arrange(s, err);
    }
    /* What is to be taken over is asked for its group. */
    s->brief = run->insides && !run->opt.adopt && count_ports(wanted) >= MANY_PORTS &&
               read_ports(run, s, p, wanted);
    if (s->brief)
        return 0;
    r = read_whole(s, p, &e);
    if (!r)
        r = read_addresses(s, p, &e);
    return r ? rec_fail_net(err, &e) : arrange(s, err);
}

void rec_links_free(struct rec_links *l)
{
    if (!l)
        return;
    free(l->link);
    free(l->by_name);
    free(l->by_index);
    free(l->paired);
    free(l->shared);
    free(l->alt);
    free(l->address);
    free(l);
}

const struct net_link *rec_link_named(const struct rec_links *l, const char *name)
{
    for (size_t lo = 0, hi = l->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const struct net_link *x = &l->link[l->by_name[mid]];
        int c = strcmp(x->name, name);
        if (!c)
            return x;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct net_link *rec_link_indexed(const struct rec_links *l, int index)
{
    for (size_t lo = 0, hi = l->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const struct net_link *x = &l->link[l->by_index[mid]];
        if (x->index == index)
            return x;
        if (x->index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct net_link *rec_link_altnamed(const struct rec_links *l, const char *name)
{
    for (size_t i = 0; i < l->n_alt; i++)
        if (!strcmp(l->alt[i].name, name))
            return rec_link_indexed(l, l->alt[i].index);
    return NULL;
}

int rec_link_share(struct rec_links *l, int bridge)
{
    if (room((void **)&l->shared, l->n_shared, &l->room_shared, sizeof *l->shared))
        return -ENOMEM;
    l->shared[l->n_shared++] = bridge;
    return 0;
}

bool rec_link_is_shared(const struct rec_links *l, int bridge)
{
    for (size_t i = 0; i < l->n_shared; i++)
        if (l->shared[i] == bridge)
            return true;
    return false;
}

int rec_link_index(struct rec_run *run, const char *name, int *index, struct rec_error *err)
{
    struct net_batch *b;
    struct net_link l;
    struct net_error e;
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    if (net_link_get(net_batch_port(b), name, 0, &l, &e))
        return rec_fail_net(err, &e);
    *index = l.index;
    return 0;
}
