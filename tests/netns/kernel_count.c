/* What one container costs, for a tracer to count: nothing but netops, as an apply uses it.
 * `kernel_count create N` makes N containers with names, `read N` makes them and reads each once
 * more, `none` makes the bridge alone. The difference of two runs is the price
 * (kernel_count.sh). */
#include "kernel.h"
#include "netops/netns.h"
#include <arpa/inet.h>

enum { MOST = 64 };

static void inside(int ns, int i)
{
    scoped(net_batch_closep) struct net_batch *b = NULL;
    struct net_link_ref eth0 = {.index = 2, .name = "eth0"};
    struct net_address a = {
        .index = 2, .family = AF_INET, .prefix = 24, .bytes = {10, 100, 0, (uint8_t)(10 + i)}};
    struct net_route r = {
        .family = AF_INET, .oif = 2, .has_gateway = true, .gateway = {10, 100, 0, 1}};
    (void)ns;
    DO(net_batch_open(&b, err));
    CHECK(!net_batch_link_up(b, (struct net_link_ref){.index = 1, .name = "lo"}, true, 1));
    CHECK(!net_batch_link_no_autoconf(b, eth0, 2));
    CHECK(!net_batch_link_up(b, eth0, true, 3));
    CHECK(!net_batch_address_new(b, &a, "eth0", 4));
    CHECK(!net_batch_route_new(b, &r, "eth0", 5));
    DO(net_batch_send(b, NULL, NULL, err));
}

int main(int argc, char **argv)
{
    int n = argc > 2 ? atoi(argv[2]) : 0, host, dir, ns[MOST];
    CHECK(argc > 1 && n >= 0 && n <= MOST);
    own_world();
    DO(net_netns_self(&host, err));
    DO(net_netns_dir(true, &dir, err));

    scoped(net_batch_closep) struct net_batch *b = NULL;
    struct net_bridge_new br = {.name = "br0", .group = 190};
    struct net_link l;
    DO(net_batch_open(&b, err));
    CHECK(!net_batch_bridge_new(b, &br, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    DO(net_link_get(net_batch_port(b), "br0", 0, &l, err));

    for (int i = 0; i < n; i++) /* the thread wanders and never goes back in between */
        DO(net_netns_unshare(&ns[i], err));
    for (int i = 0; i < n; i++) {
        char name[16];
        struct net_veth_new v = {.name = name,
                                 .index = 1000 + i,
                                 .master = l.index,
                                 .group = 190,
                                 .peer_name = "eth0",
                                 .peer_index = 2,
                                 .peer_netns_fd = ns[i]};
        struct net_link_ref ref = {.index = 1000 + i, .name = name};
        snprintf(name, sizeof name, "v%d", i);
        CHECK(!net_batch_veth_new(b, &v, 1) && !net_batch_link_no_autoconf(b, ref, 2) &&
              !net_batch_link_up(b, ref, true, 3));
    }
    DO(net_batch_send(b, NULL, NULL, err));
    for (int i = 0; i < n; i++) {
        char name[16];
        DO(net_netns_enter(ns[i], err));
        inside(ns[i], i);
        snprintf(name, sizeof name, "c%d", i);
        DO(net_netns_name(dir, name, ns[i], err));
        close(ns[i]);
    }
    for (int i = 0; i < n && !strcmp(argv[1], "read"); i++) {
        static struct net_inside in;
        char name[16];
        int fd;
        snprintf(name, sizeof name, "c%d", i);
        DO(net_netns_open(dir, name, &fd, err));
        DO(net_inside_read(fd, NULL, NULL, &in, err));
        close(fd);
        CHECK(in.n_address == 1 && in.n_route == 1 && in.eth0.flags & IFF_UP);
        net_inside_done(&in);
    }
    return 0;
}
