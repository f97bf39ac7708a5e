/* Few steps of few containers are worth the trouble: else one pass over all is as good. */
#include "reconcile/again.h"
#include <stdlib.h>
#include <string.h>

enum { MOST = 32 }; /* links are asked for one by one */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool one_containers(const struct rec_step *s)
{
    return s->kind == REC_NETNS || s->kind == REC_PORT;
}

static bool reaches_far(const struct rec_step *s)
{
    return !one_containers(s) && s->kind != REC_NAT && s->kind != REC_NAMES &&
           s->kind != REC_SYSCTL && s->kind != REC_ADDRESS;
}

/* Its link is called otherwise than that container's port would be. */
static bool renamed(const struct rec_step *s)
{
    char name[16];
    if (s->kind != REC_PORT || !s->from)
        return false;
    spec_link_name(s->from->container, name);
    return strcmp(name, s->from->port.link) != 0;
}

static const char *container_of(const struct rec_step *s)
{
    return (s->to ? s->to : s->from)->container;
}

const struct rec_again *rec_again_after(const struct rec_plan *p, const struct rec_state *before)
{
    const char *names[MOST];
    size_t n = 0, all = 0, kept = 0;
    bool addresses = false;
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (reaches_far(s) || (one_containers(s) && (n == MOST || !container_of(s))) || renamed(s))
            return NULL;
        addresses |= s->kind == REC_ADDRESS || s->kind == REC_SYSCTL;
        if (one_containers(s) && (!n || strcmp(names[n - 1], container_of(s))))
            names[n++] = container_of(s);
    }
    for (size_t i = 0; i < before->n; i++)
        all += before->items[i]->kind == REC_NETNS;
    struct rec_again *a =
        n * 2 < all ? spec_arena_alloc(before->arena, sizeof *a + sizeof names) : NULL;
    if (!a)
        return NULL;
    qsort(names, n, sizeof *names, compare_names);
    a->names = (const char **)(a + 1);
    for (size_t i = 0; i < n; i++)
        if (!kept || strcmp(a->names[kept - 1], names[i]))
            a->names[kept++] = names[i];
    a->n = kept;
    a->before = before;
    a->addresses = addresses;
    return a;
}

bool rec_again_touched(const struct rec_again *a, const char *container)
{
    return !a ||
           (container && bsearch(&container, a->names, a->n, sizeof *a->names, compare_names));
}
