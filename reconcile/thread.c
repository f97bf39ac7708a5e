/* The processors are named in the attributes, not by the thread itself: by the time it could, it
 * would have waited already. */
#include "reconcile/thread.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

struct start {
    void *(*run)(void *);
    void *arg;
    cpu_set_t allowed;
};

static void *begin(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    sched_setaffinity(0, sizeof s.allowed, &s.allowed);
    return s.run(s.arg);
}

static int beside(pthread_t *out, struct start *s)
{
    pthread_attr_t how;
    cpu_set_t others = s->allowed;
    int cpu = sched_getcpu(), r = pthread_attr_init(&how);
    if (r)
        return r;
    if (cpu >= 0 && cpu < CPU_SETSIZE)
        CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others))
        r = pthread_attr_setaffinity_np(&how, sizeof others, &others);
    if (!r)
        r = pthread_create(out, &how, begin, s);
    pthread_attr_destroy(&how);
    return r;
}

int rec_thread(pthread_t *out, void *(*run)(void *), void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (s)
        *s = (struct start){.run = run, .arg = arg};
    /* More processors than the set has room for: wherever the kernel likes. */
    if (!s || sched_getaffinity(0, sizeof s->allowed, &s->allowed) || beside(out, s)) {
        free(s);
        return pthread_create(out, NULL, run, arg);
    }
    return 0;
}
