/* Several ports in several threads, each thread in a namespace of its own at a time: nothing is
 * shared but the process. Run it under ThreadSanitizer too. */
#include "kernel.h"
#include "netops/netns.h"
#include <arpa/inet.h>
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 12 };

static void *work(void *arg)
{
    struct net_inside in;
    for (int i = 0; i < ROUNDS; i++) {
        scoped(net_batch_closep) struct net_batch *b = NULL;
        uint8_t last = (uint8_t)(1 + i);
        struct net_address a = {
            .index = 1, .family = AF_INET, .prefix = 32, .bytes = {10, 0, *(uint8_t *)arg, last}};
        int ns;
        DO(net_netns_unshare(&ns, err));
        DO(net_batch_open(&b, err));
        CHECK(!net_batch_link_up(b, (struct net_link_ref){.index = 1, .name = "lo"}, true, 1));
        CHECK(!net_batch_address_new(b, &a, "lo", 2));
        DO(net_batch_send(b, NULL, NULL, err));
        CHECK(!net_batch_address_new(b, &a, "lo", last));
        struct net_error e;
        CHECK(net_batch_send(b, NULL, NULL, &e) == -EEXIST && e.tag == last);
        DO(net_inside_read(ns, NULL, NULL, &in, err));
        CHECK(in.has_lo && in.lo.flags & IFF_UP && !in.has_eth0);
        close(ns);
    }
    return NULL;
}

int main(void)
{
    pthread_t t[THREADS];
    uint8_t id[THREADS];
    own_world();
    for (int i = 0; i < THREADS; i++) {
        id[i] = (uint8_t)i;
        CHECK(!pthread_create(&t[i], NULL, work, &id[i]));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    printf("%d threads, %d namespaces each\n", THREADS, ROUNDS);
    return 0;
}
