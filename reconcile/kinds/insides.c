/* A first reading takes of each namespace what one in good order has, before it is known what the
 * host's end says; the few that the host gainsays are read once more, in full. */
#include "reconcile/kinds/insides.h"
#include "reconcile/again.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* a further thread pays for so many namespaces that are left */
enum { MOST_THREADS = 2, MANY = 20 };

struct rec_insides {
    int dir;
    struct rec_inside *list;
    size_t n;
    struct rec_inside **todo;
    size_t n_todo;
    bool brief; /* to begin with */
    atomic_size_t next;
    pthread_t thread[MOST_THREADS];
    size_t threads;
};

static bool brief_for_now(void *arg, const struct net_inside *in)
{
    struct rec_inside *i = arg;
    (void)in;
    return i->brief = true;
}

static void look(const struct rec_insides *all, struct rec_inside *i)
{
    struct stat st;
    struct net_error e;
    int fd, r = net_netns_open(all->dir, i->name, &fd, &e);
    i->brief = i->there = i->left_over = false;
    if (r) {
        i->failed = r == -EINVAL || r == -ELOOP || r == -ENOENT ? 0 : r;
        i->left_over = r == -EINVAL && net_netns_left_over(all->dir, i->name);
        i->taken = !i->failed && r != -ENOENT &&
                   !fstatat(all->dir, i->name, &st, AT_SYMLINK_NOFOLLOW) &&
                   !(S_ISREG(st.st_mode) && !st.st_size);
    } else {
        i->failed = net_inside_read(fd, all->brief ? brief_for_now : NULL, i, &i->in, &e);
        i->there = !i->failed;
        close(fd);
    }
    if (i->failed && (i->error || (i->error = malloc(sizeof e))))
        *i->error = e;
}

static void *wander(void *arg)
{
    struct rec_insides *all = arg;
    for (size_t k;
         (k = atomic_fetch_add_explicit(&all->next, 1, memory_order_relaxed)) < all->n_todo;)
        look(all, all->todo[k]);
    return NULL;
}

static void join(struct rec_insides *all)
{
    for (size_t k = 0; k < all->threads; k++)
        pthread_join(all->thread[k], NULL);
    all->threads = 0;
}

/* `busy` threads of this process have other work to do. */
static int more_threads(struct rec_insides *all, long busy, struct rec_error *err)
{
    for (long spare = sysconf(_SC_NPROCESSORS_ONLN) - busy; all->threads < MOST_THREADS;
         all->threads++) {
        size_t next = atomic_load(&all->next), left = next < all->n_todo ? all->n_todo - next : 0;
        if (!left || (all->threads && (left < MANY || (long)all->threads >= spare)))
            break;
        pthread_t *t = &all->thread[all->threads];
        /* else the creator makes room for it */
        int r = busy ? rec_thread(t, wander, all) : pthread_create(t, NULL, wander, all);
        if (r && !all->threads)
            return rec_fail(err, r, "cannot start a thread to look into namespaces: %s",
                            strerror(r));
        if (r)
            break;
    }
    return 0;
}

static int start(struct rec_insides *all, bool brief, long busy, struct rec_error *err)
{
    all->brief = brief;
    atomic_store(&all->next, 0);
    return more_threads(all, busy, err);
}

/* Sorted. Those of a few containers are asked for by name, whether there or not: there may be
 * thousands of others. */
static int list_names(struct rec_run *run, char ***names, size_t *n, struct rec_error *err)
{
    if (!run->again)
        return rec_dir_list(run->arena, NET_NETNS_DIR, names, n, err);
    *names = (char **)run->again->names;
    *n = run->again->n;
    return 0;
}

int rec_insides_begin(struct rec_run *run, struct rec_error *err)
{
    char **names = NULL;
    size_t n = 0;
    int dir, r = rec_netns_dir(run, false, &dir, err);
    rec_insides_free(run);
    if (!r)
        r = list_names(run, &names, &n, err);
    if (r && r != -ENOENT)
        return r;
    struct rec_insides *all = run->insides = calloc(1, sizeof *all);
    struct rec_inside *list = all ? all->list = calloc(n + 1, sizeof *list) : NULL;
    if (!list || !(all->todo = calloc(n + 1, sizeof *all->todo)))
        return rec_fail(err, ENOMEM, "out of memory");
    all->dir = run->netns_dir;
    for (size_t i = 0; i < n; i++) {
        list[all->n].name = names[i];
        all->todo[all->n_todo++] = &list[all->n++];
    }
    return start(all, true, 1, err);
}

static int compare_name(const void *name, const void *inside)
{
    return strcmp(name, ((const struct rec_inside *)inside)->name);
}

bool rec_insides_has(const struct rec_run *run, const char *container)
{
    const struct rec_insides *all = run->insides;
    return bsearch(container, all->list, all->n, sizeof *all->list, compare_name) != NULL;
}

bool rec_insides_wanted(const struct rec_run *run, const struct rec_state *wanted)
{
    for (size_t i = 0; i < run->insides->n; i++)
        if (!rec_state_find(wanted, REC_NETNS, run->insides->list[i].name))
            return false;
    return true;
}

/* The host's end bears the name that the container's port has, our group, and is the other end
 * of this very eth0. */
static bool enough(const struct rec_links *links, const struct rec_inside *i)
{
    char name[16];
    spec_link_name(i->name, name);
    const struct net_link *l = rec_link_named(links, name);
    return l && rec_group_ours(l->group) && !strcmp(l->kind, "veth") &&
           i->in.eth0.link == l->index && l->link == i->in.eth0.index;
}

int rec_insides_await(struct rec_run *run, struct rec_inside **list, size_t *n,
                      struct rec_error *err)
{
    int r = run->insides ? 0 : rec_insides_begin(run, err);
    struct rec_insides *all = run->insides;
    if (!r)
        r = more_threads(all, 0, err);
    if (r)
        return r;
    join(all);
    for (size_t i = 0; !r && run->links->brief && i < all->n; i++)
        if (!all->list[i].there || !enough(run->links, &all->list[i]))
            r = rec_links_whole(run, err);
    if (r)
        return r;
    all->n_todo = 0;
    for (size_t i = 0; i < all->n; i++)
        if (all->list[i].there && all->list[i].brief && !enough(run->links, &all->list[i])) {
            net_inside_done(&all->list[i].in);
            all->todo[all->n_todo++] = &all->list[i];
        }
    r = start(all, false, 0, err);
    if (r)
        return r;
    join(all);
    for (size_t i = 0; i < all->n; i++)
        if (all->list[i].failed)
            return all->list[i].error ? rec_fail_net(err, all->list[i].error)
                                      : rec_fail(err, ENOMEM, "out of memory");
    *list = all->list;
    *n = all->n;
    return 0;
}

void rec_insides_free(struct rec_run *run)
{
    struct rec_insides *all = run->insides;
    if (!all)
        return;
    join(all);
    for (size_t i = 0; all->list && i < all->n; i++) {
        if (all->list[i].there)
            net_inside_done(&all->list[i].in);
        free(all->list[i].error);
    }
    free(all->todo);
    free(all->list);
    free(all);
    run->insides = NULL;
}
