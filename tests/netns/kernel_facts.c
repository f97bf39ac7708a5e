/* What netops takes for granted about Linux, one function a fact (the rows K of the kernel facts).
 * A newer kernel that differs fails here, with a sentence, and not somewhere in an apply. */
#include "kernel.h"
#include "netops/address.h"
#include "netops/monitor.h"
#include "netops/netns.h"
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <pthread.h>

static struct net_batch *b;

#define FACT(cond, sentence)                                                                       \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "this kernel differs: %s\n", sentence);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct net_error last;
static int go(void)
{
    memset(&last, 0, sizeof last);
    return net_batch_send(b, NULL, NULL, &last);
}
static int index_of(const char *name)
{
    struct net_link l;
    return net_link_get(net_batch_port(b), name, 0, &l, NULL) ? 0 : l.index;
}
static int bridge(const char *name, uint32_t group)
{
    struct net_bridge_new n = {.name = name, .group = group};
    CHECK(!net_batch_bridge_new(b, &n, 1));
    return go();
}
static int delete (const char *name)
{
    CHECK(!net_batch_link_del(b, (struct net_link_ref){.name = name}, 1));
    return go();
}
static const char *sentence(void)
{
    static char text[400];
    net_error_format(&last, text, sizeof text);
    return text;
}

/* A creation that is refused leaves nothing; a bridge takes 1023 ports. One batch of over a
 * thousand requests on the way. */
static void k2_k11(int other)
{
    char name[16];
    int master;
    struct net_veth_new v = {.name = name, .group = 77, .peer_netns_fd = other};

    DO(bridge("full", 77));
    master = v.master = index_of("full");
    for (int i = 0; i < 1023; i++) {
        char peer[16];
        snprintf(name, sizeof name, "p%d", i);
        snprintf(peer, sizeof peer, "q%d", i);
        v.peer_name = peer;
        CHECK(!net_batch_veth_new(b, &v, (uint32_t)i));
    }
    DO(net_batch_send(b, NULL, NULL, err));
    snprintf(name, sizeof name, "p1023");
    v.peer_name = "q1023";
    CHECK(!net_batch_veth_new(b, &v, 1023));
    FACT(go() == -EXFULL, "a bridge refuses its 1024th port with EXFULL");
    FACT(!last.kernel[0], "EXFULL has no text");
    CHECK(says(sentence(), "the bridge is full: Linux takes 1023 ports") && last.tag == 1023);
    FACT(!index_of("p1023"), "a refused creation leaves no link behind");
    CHECK(master && !net_batch_group_del(b, 77, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    FACT(!index_of("full") && !index_of("p0") && !index_of("p1022"),
         "one RTM_DELLINK deletes a group");
}

static void k3(void)
{
    const uint8_t mac[6] = {0x02, 1, 2, 3, 4, 5};
    struct net_bridge_new n = {.name = "k3", .group = 190, .mac = mac, .mtu = 1300};
    struct net_link l;
    CHECK(!net_batch_bridge_new(b, &n, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    DO(net_link_get(net_batch_port(b), "k3", 0, &l, err));
    FACT(l.group == 190 && l.mtu == 1300 && !memcmp(l.mac, mac, 6),
         "group, MTU and MAC are honoured at creation");
    DO(delete ("k3"));
}

static void k4(void)
{
    DO(bridge("k4", 0));
    FACT(bridge("k4", 190) == -EEXIST, "creating with NLM_F_EXCL over a name fails with EEXIST");
    FACT(!last.kernel[0], "that EEXIST has no text");
    /* by hand, without EXCL: the foreign bridge is edited */
    struct ifinfomsg body = {0};
    struct net_request r = {.type = RTM_NEWLINK,
                            .flags = NLM_F_CREATE,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = "create"};
    struct nlmsghdr *m = net_batch_begin(b, &r);
    mnl_attr_put_strz(m, IFLA_IFNAME, "k4");
    mnl_attr_put_u32(m, IFLA_GROUP, 66);
    struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
    mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(m, info);
    net_batch_end(b);
    struct net_link l;
    FACT(go() == 0 && !net_link_get(net_batch_port(b), "k4", 0, &l, NULL) && l.group == 66,
         "creating without NLM_F_EXCL edits what is there");
    DO(delete ("k4"));
}

static void k7(void)
{
    DO(bridge("k7", 0));
    output("ip link property add dev k7 altname short");
    FACT(bridge("short", 0) == -EEXIST, "an alternative name blocks a name");
    CHECK(says(sentence(), "or an alternative name"));
    DO(delete ("k7"));
}

static void k9(void)
{
    if (access("/proc/sys/net/ipv6/conf/all", F_OK)) {
        puts("no IPv6 here: K9 left out");
        return;
    }
    DO(bridge("k9", 0));
    struct net_address a = {.family = AF_INET6, .prefix = 64, .index = index_of("k9")};
    inet_pton(AF_INET6, "fd00::1", a.bytes);
    CHECK(!net_batch_address_new(b, &a, "k9", 1));
    DO(net_batch_send(b, NULL, NULL, err));
    a.prefix = 48;
    CHECK(!net_batch_address_new(b, &a, "k9", 2));
    FACT(go() == -EEXIST, "an IPv6 address is one whatever its prefix");
    FACT(last.kernel[0], "and the kernel has a text for it");
    DO(delete ("k9"));
}

static void refusals(void)
{
    DO(bridge("r", 0));
    struct net_link_ref r = {.index = index_of("r"), .name = "r"};
    CHECK(!net_batch_link_mtu(b, r, 12, 5) && !net_batch_link_group(b, r, 55, 6));
    FACT(go() == -EINVAL && last.tag == 5 && !strcmp(last.kernel, "mtu less than device minimum"),
         "a small MTU has a text");
    struct net_link l;
    FACT(!net_link_get(net_batch_port(b), "r", 0, &l, NULL) && l.group == 55,
         "requests behind a refused one take effect");
    CHECK(!net_batch_link_mac(b, r, (const uint8_t[6]){1, 2, 3, 4, 5, 6}, 7));
    FACT(go() == -EADDRNOTAVAIL, "a multicast MAC is EADDRNOTAVAIL");
    struct net_bridge_new long_name = {.name = "r2", .mtu = 0, .name_tag = 9};
    CHECK(!net_batch_bridge_new(b, &long_name, 8) && go() == 0);
    CHECK(!net_batch_link_master(b, (struct net_link_ref){.name = "r2"}, r.index, 1));
    FACT(go() == -ELOOP || last.kernel[0], "a bridge in a bridge is refused with a text");
    CHECK(!net_batch_link_del(b, (struct net_link_ref){.name = "nobody"}, 3));
    FACT(go() == -ENODEV && last.tag == 3, "no such link is ENODEV");
    DO(delete ("r"));
    DO(delete ("r2"));
}

/* The offset of a refused attribute comes back as its tag. */
static void x2(void)
{
    struct ifinfomsg body = {0};
    struct net_request r = {.type = RTM_NEWLINK,
                            .flags = NLM_F_CREATE | NLM_F_EXCL,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = "create",
                            .tag = 30};
    struct nlmsghdr *m = net_batch_begin(b, &r);
    net_batch_mark(b, 31);
    mnl_attr_put_strz(m, IFLA_IFNAME, "sixteen-letters-");
    struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
    mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
    mnl_attr_nest_end(m, info);
    net_batch_end(b);
    FACT(go() == -ERANGE && last.tag == 31, "a policy refusal carries the attribute's offset");
}

/* The peer goes some time after the namespace: wait by event. */
static void k17(int host)
{
    int ns;
    DO(net_netns_unshare(&ns, err));
    DO(net_netns_enter(host, err));
    struct net_veth_new v = {.name = "k17", .peer_name = "eth0", .peer_netns_fd = ns};
    CHECK(!net_batch_veth_new(b, &v, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    struct net_error e;
    CHECK(net_link_wait_gone("k17", 30, &e) == -ETIMEDOUT);
    close(ns);
    DO(net_link_wait_gone("k17", 10000, err));
    CHECK(!index_of("k17"));
    DO(net_link_wait_gone("never-was", 0, err));
}

/* Lost events are said to be lost. */
static void k14(void)
{
    struct net_monitor *m;
    struct net_port *p;
    int small = 2048, lost = 0;
    DO(net_port_open(NETLINK_ROUTE, &p, err));
    CHECK(!setsockopt(net_port_fd(p), SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
    DO(net_port_listen(p, RTMGRP_LINK, err));
    DO(net_monitor_over(p, &m, err));
    for (int i = 0; i < 20; i++) {
        DO(bridge("k14", 0));
        DO(delete ("k14"));
    }
    for (int r = 1; r;) {
        struct net_error e;
        r = net_monitor_wait(m, 0, NULL, NULL, &e);
        lost += r == -ENOBUFS;
    }
    FACT(lost >= 1, "a full event buffer is ENOBUFS");
    net_monitor_close(m);
    DO(net_monitor_open(RTMGRP_LINK, &m, err));
    for (int i = 0; i < 30; i++) {
        DO(bridge("k14", 0));
        DO(delete ("k14"));
    }
    int n = 0;
    for (int r = 1; r > 0;) {
        struct net_error e;
        r = net_monitor_wait(m, 0, NULL, NULL, &e);
        CHECK(r >= 0);
        n += r;
    }
    CHECK(n >= 60);
    net_monitor_close(m);
}

/* Dumps while links come and go in another thread: each is whole, each holds what was there all
 * the time. */
static volatile bool stop;
static void *churn(void *arg)
{
    struct net_batch *mine;
    (void)arg;
    if (net_batch_open(&mine, NULL))
        return arg;
    for (unsigned char i = 0; !stop; i++) {
        char name[16];
        snprintf(name, sizeof name, "churn%d", i % 40);
        struct net_bridge_new n = {.name = name};
        if (net_batch_bridge_new(mine, &n, 1) || net_batch_send(mine, NULL, NULL, NULL))
            net_batch_forget(mine);
        snprintf(name, sizeof name, "churn%d", (i + 20) % 40);
        if (!net_batch_link_del(mine, (struct net_link_ref){.name = name}, 1))
            net_batch_send(mine, NULL, NULL, NULL);
    }
    net_batch_close(mine);
    return NULL;
}
static int restarts;
static int count_still(void *arg, const struct net_link *l)
{
    *(int *)arg += !strncmp(l->name, "still", 5);
    return 0;
}
static void forget(void *arg)
{
    *(int *)arg = 0;
    restarts++;
}
static void k13(int other)
{
    pthread_t t;
    char name[16];
    int n;
    struct net_veth_new v = {.name = name, .group = 78, .peer_netns_fd = other};
    for (unsigned char i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "still%d", i);
        v.peer_name = name;
        CHECK(!net_batch_veth_new(b, &v, 1));
    }
    DO(net_batch_send(b, NULL, NULL, err));
    CHECK(!pthread_create(&t, NULL, churn, NULL));
    /* Never a torn one: whole, or, on a machine so busy that eleven in a row were, the error
     * that says so. */
    int whole = 0;
    for (int i = 0; i < 100; i++) {
        n = 0;
        int r = net_link_dump(net_batch_port(b), count_still, NULL, forget, &n, NULL);
        CHECK(r == 0 ? n == 60 : r == -EINTR);
        whole += r == 0;
    }
    CHECK(whole > 50);
    stop = true;
    pthread_join(t, NULL);
    CHECK(!net_batch_group_del(b, 78, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    printf("100 dumps under churn, %d torn ones read again\n", restarts);
}

int main(void)
{
    int host, other;
    own_world();
    DO(net_netns_self(&host, err));
    DO(net_netns_unshare(&other, err));
    DO(net_netns_enter(host, err));
    DO(net_batch_open(&b, err));
    k2_k11(other);
    k3();
    k4();
    k7();
    k9();
    refusals();
    x2();
    k17(host);
    k14();
    k13(other);
    net_batch_close(b);
    puts("the kernel is as it was taken for");
    return 0;
}
