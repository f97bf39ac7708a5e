/* reconcile/thread.h — a thread that begins at once, beside what its creator goes on with. */
#ifndef RECONCILE_THREAD_H
#define RECONCILE_THREAD_H
#include <pthread.h>

/* As pthread_create(3), an errno; on another processor than the caller's, where it may use one: a
 * kernel puts a new thread where its creator is, and may leave it there for milliseconds (0.8 to 5
 * were seen, beside an idle processor) while the creator goes on. Begun, the thread may run
 * wherever its creator may. `arg` is lent until it ends. */
int rec_thread(pthread_t *out, void *(*run)(void *arg), void *arg);
#endif
