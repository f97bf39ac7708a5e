/* One dump of links and one of addresses serve all kinds of a read. Link by link is asked only after an apply, for the few it touched. */
#include "reconcile/kinds/links.h"
#include "reconcile/again.h"
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

/* The link of that name as it is now, in place of what is known of it. Only of the first `known` the order is known. */
static int ask_for(struct rec_links *s, size_t known, struct net_port *p, const char *name, struct net_error *e)
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
    if (!r && !strcmp(now.name, name) && take_link(s, &now))    /* else it bears that as an alternative name */
        return net_fail(e, ENOMEM, "read", "link '%s'", name);
    return 0;
}

/* Ports that may have changed, and bridges, which change with their ports. */
static int ask_again(struct rec_links *s, struct net_port *p, const struct rec_again *again, struct net_error *e)
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

int rec_links_read(struct rec_run *run, struct rec_error *err)
{
    struct net_batch *b;
    int r = rec_net(run, &b, err);
    if (r)
        return r;
    if (!run->links && !(run->links = calloc(1, sizeof *run->links)))
        return rec_fail(err, ENOMEM, "out of memory");
    struct rec_links *s = run->links;
    struct net_error e;
    bool addresses = !run->again || run->again->addresses;
    if (run->again) {
        r = ask_again(s, net_batch_port(b), run->again, &e);
    } else {
        s->n = s->n_alt = 0;
        r = net_link_dump(net_batch_port(b), take_link, take_altname, forget_links, s, &e);
    }
    if (addresses)
        s->n_address = 0;
    if (!r && addresses)
        r = net_address_dump(net_batch_port(b), take_address, forget_addresses, s, &e);
    if (r)
        return rec_fail_net(err, &e);
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

void rec_links_free(struct rec_links *l)
{
    if (!l)
        return;
    free(l->link);
    free(l->by_name);
    free(l->by_index);
    free(l->paired);
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
