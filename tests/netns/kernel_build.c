/* A host as berth makes it, with one bridge and two containers, seen with the eyes of iproute2:
 * what was asked for is there, what is read is what `ip` prints, and removal by group leaves
 * nothing. */
#include "kernel.h"
#include "netops/monitor.h"
#include "netops/netns.h"
#include "netops/sysctl.h"
#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

static const uint8_t bridge_mac[6] = {0x02, 0xbe, 0, 0, 0, 1},
                     host_mac[6] = {0x02, 0xbe, 0, 0, 0, 2},
                     inner_mac[6] = {0x02, 0xbe, 0, 0, 0, 3};

static struct net_address address(int index, int family, const char *text, uint8_t prefix)
{
    struct net_address a = {.index = index, .family = (uint8_t)family, .prefix = prefix};
    CHECK(inet_pton(family, text, a.bytes) == 1);
    return a;
}

static struct net_route route(int oif, int family, const char *dst, uint8_t prefix,
                              const char *gateway)
{
    struct net_route r = {
        .family = (uint8_t)family, .prefix = prefix, .oif = oif, .has_gateway = gateway};
    CHECK(!dst || inet_pton(family, dst, r.dst) == 1);
    CHECK(!gateway || inet_pton(family, gateway, r.gateway) == 1);
    return r;
}

static bool has_ipv6(void)
{
    return access("/proc/sys/net/ipv6/conf/all", F_OK) == 0;
}

/* Lo up, eth0 up with addresses and routes: one send inside. */
static void furnish(int ns, int i)
{
    scoped(net_batch_closep) struct net_batch *b = NULL;
    struct net_link_ref eth0 = {.index = 2, .name = "eth0"};
    char text[64];

    DO(net_netns_enter(ns, err));
    DO(net_batch_open(&b, err));
    CHECK(!net_batch_link_up(b, (struct net_link_ref){.index = 1, .name = "lo"}, true, 1));
    CHECK(!net_batch_link_no_autoconf(b, eth0, 2));
    CHECK(!net_batch_link_up(b, eth0, true, 3));
    snprintf(text, sizeof text, "10.100.0.%d", 10 + i);
    struct net_address a = address(2, AF_INET, text, 24);
    CHECK(!net_batch_address_new(b, &a, "eth0", 4));
    struct net_route r = route(2, AF_INET, NULL, 0, "10.100.0.1");
    CHECK(!net_batch_route_new(b, &r, "eth0", 5));
    struct net_route on_link = route(2, AF_INET, "192.0.2.0", 24, NULL);
    CHECK(!net_batch_route_new(b, &on_link, "eth0", 6));
    if (has_ipv6()) {
        snprintf(text, sizeof text, "fd00:100::%d", 10 + i);
        a = address(2, AF_INET6, text, 64);
        CHECK(!net_batch_address_new(b, &a, "eth0", 7));
        r = route(2, AF_INET6, NULL, 0, "fd00:100::1");
        CHECK(!net_batch_route_new(b, &r, "eth0", 8));
    }
    DO(net_batch_send(b, NULL, NULL, err));
}

struct found {
    struct net_link links[16];
    int n;
    int altnames;
};
static int found_link(void *arg, const struct net_link *l)
{
    struct found *f = arg;
    CHECK(f->n < 16);
    f->links[f->n++] = *l;
    return 0;
}
static int found_altname(void *arg, const struct net_altname *a)
{
    struct found *f = arg;
    f->altnames += !strcmp(a->name, "another-name-for-br0");
    return 0;
}
static const struct net_link *find(const struct found *f, const char *name)
{
    for (int i = 0; i < f->n; i++)
        if (!strcmp(f->links[i].name, name))
            return &f->links[i];
    return NULL;
}
static bool will(void *arg, const struct net_inside *in)
{
    return in->has_eth0 && *(bool *)arg;
}

static bool has_address(const struct net_inside *in, const struct net_address *a)
{
    for (size_t i = 0; i < in->n_address; i++)
        if (!memcmp(&in->address[i], a, sizeof *a))
            return true;
    return false;
}

static int count_address(void *arg, const struct net_address *a)
{
    *(int *)arg += a->proto == NET_PROTO_BERTH;
    return 0;
}
static int count_route(void *arg, const struct net_route *r)
{
    int *n = arg;
    CHECK(r->table == RT_TABLE_MAIN && r->type != RTN_LOCAL);
    n[r->family == AF_INET6] += r->protocol == NET_PROTO_BERTH;
    return 0;
}
static int count_setting(void *arg, const char *link)
{
    *(int *)arg += !strcmp(link, "br0") || !strcmp(link, "all");
    return 0;
}

int main(void)
{
    scoped(net_batch_closep) struct net_batch *b = NULL;
    int host, dir, ns[2];

    own_world();
    DO(net_netns_self(&host, err));
    struct net_error gone;
    CHECK(net_netns_dir(false, &dir, &gone) == -ENOENT);
    DO(net_netns_dir(true, &dir, err));
    close(dir);
    DO(net_netns_dir(true, &dir, err)); /* a second time, over its own */
    for (int i = 0; i < 2; i++)
        DO(net_netns_unshare(&ns[i], err));
    DO(net_netns_enter(host, err));
    DO(net_batch_open(&b, err));

    /* the bridge; its index is asked for by name */
    struct net_bridge_new br = {.name = "br0", .group = 190, .mac = bridge_mac, .mtu = 1400};
    CHECK(!net_batch_bridge_new(b, &br, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    struct net_link l;
    DO(net_link_get(net_batch_port(b), "br0", 0, &l, err));
    CHECK(!strcmp(l.kind, "bridge") && l.group == 190 && l.mtu == 1400 && !(l.flags & IFF_UP) &&
          l.has_mac);
    CHECK(!memcmp(l.mac, bridge_mac, 6));
    int bridge = l.index;
    CHECK(!strcmp(output("ip -j link show group 190 | grep -o br0 | head -1"), "br0\n"));

    /* two containers, and what the bridge needs: one send */
    for (int i = 0; i < 2; i++) {
        char name[16];
        struct net_veth_new v = {.name = name,
                                 .master = bridge,
                                 .group = 190,
                                 .mtu = 1400,
                                 .mac = i ? NULL : host_mac,
                                 .peer_name = "eth0",
                                 .peer_mac = i ? NULL : inner_mac,
                                 .peer_index = 2,
                                 .peer_netns_fd = ns[i]};
        snprintf(name, sizeof name, "vc%d", i);
        CHECK(!net_batch_veth_new(b, &v, 10));
        struct net_link_ref ref = {.name = name};
        CHECK(!net_batch_link_no_autoconf(b, ref, 11));
        CHECK(!net_batch_link_up(b, ref, true, 12));
        if (i)
            CHECK(!net_batch_link_hairpin(b, ref, true, 13));
    }
    struct net_link_ref ref = {.index = bridge, .name = "br0"};
    struct net_address a = address(bridge, AF_INET, "10.100.0.1", 24);
    CHECK(!net_batch_address_new(b, &a, "br0", 14));
    CHECK(!net_batch_link_no_autoconf(b, ref, 15));
    CHECK(!net_batch_link_up(b, ref, true, 16));
    if (has_ipv6()) {
        a = address(bridge, AF_INET6, "fd00:100::1", 64);
        CHECK(!net_batch_address_new(b, &a, "br0", 17));
    }
    CHECK(net_batch_count(b) >= 10);
    DO(net_batch_send(b, NULL, NULL, err));
    CHECK(net_batch_count(b) == 0);

    for (int i = 0; i < 2; i++)
        furnish(ns[i], i);
    DO(net_netns_enter(host, err));
    DO(net_netns_name(dir, "container1", ns[0], err));
    DO(net_netns_name(dir, "container2", ns[1], err));

    /* names */
    struct net_error e;
    CHECK(net_netns_name(dir, "container1", ns[1], &e) == -EEXIST);
    CHECK(net_netns_name(dir, "../x", ns[1], &e) == -EINVAL &&
          net_netns_name(dir, "", ns[1], &e) == -EINVAL);
    CHECK(net_netns_name(dir, "..", ns[1], &e) == -EINVAL &&
          net_netns_unname(dir, ".", &e) == -EINVAL);
    const char *text = output("ip netns list");
    CHECK(says(text, "container1") && says(text, "container2"));
    CHECK(mknodat(dir, "leftover", S_IFREG, 0) == 0);
    int fd;
    CHECK(net_netns_open(dir, "leftover", &fd, &e) == -EINVAL);
    CHECK(net_netns_open(dir, "nobody", &fd, &e) == -ENOENT);
    DO(net_netns_name(dir, "leftover", ns[0], err));
    DO(net_netns_unname(dir, "leftover", err));
    CHECK(net_netns_unname(dir, "leftover", &e) == -ENOENT);
    struct stat st;
    CHECK(fstatat(dir, "container1", &st, 0) == 0);
    CHECK(fstatat(dir, "leftover", &st, 0) == -1 && errno == ENOENT);
    CHECK(symlinkat("container1", dir, "pointer") == 0 &&
          net_netns_open(dir, "pointer", &fd, &e) == -ELOOP);
    unlinkat(dir, "pointer", 0);

    /* the witness */
    text = output("ip -j -d link show vc0");
    CHECK(says(text, "\"master\":\"br0\"") && says(text, "02:be:00:00:00:02") &&
          says(text, "\"num_tx_queues\":1") && says(text, "\"mtu\":1400") &&
          says(text, "\"group\":\"190\""));
    text = output("ip -n container1 -j -d link show eth0");
    CHECK(says(text, "\"ifindex\":2,") && says(text, "02:be:00:00:00:03") &&
          says(text, "\"group\":\"190\"") && says(text, "\"mtu\":1400") && says(text, "LOWER_UP"));
    if (has_ipv6())
        CHECK(says(text, "\"inet6_addr_gen_mode\":\"none\""));
    text = output("ip -n container2 -j addr show eth0");
    CHECK(says(text, "10.100.0.11") && !strstr(text, "fe80"));
    CHECK(!strstr(text, "tentative"));
    text = output("ip -n container2 -j route");
    CHECK(says(text, "\"dst\":\"default\",\"gateway\":\"10.100.0.1\"") &&
          says(text, "192.0.2.0/24"));
    if (has_ipv6()) {
        CHECK(says(output("ip -n container2 -6 -j addr show eth0"), "fd00:100::11"));
        CHECK(says(output("ip -n container2 -6 -j route"), "fd00:100::1"));
        CHECK(says(output("ping -6 -c1 -W1 -I br0 fd00:100::11 || true"), ""));
    }

    /* what is read is the same */
    struct found f = {0};
    output("ip link property add dev br0 altname another-name-for-br0");
    DO(net_link_dump(net_batch_port(b), found_link, found_altname, NULL, &f, err));
    const struct net_link *v1 = find(&f, "vc1"), *v0 = find(&f, "vc0");
    CHECK(f.n == 4 && f.altnames == 1 && find(&f, "lo") && !find(&f, "lo")->kind[0]);
    CHECK(v0 && v0->master == bridge && v0->port && !v0->hairpin && !strcmp(v0->kind, "veth") &&
          v0->link == 2);
    CHECK(v1 && v1->hairpin && v1->group == 190 && v1->link_netnsid >= 0 && (v1->flags & IFF_UP));
    if (has_ipv6())
        CHECK(v1->addrgen == IN6_ADDR_GEN_MODE_NONE);
    /* and so are ports and links without a master by themselves, but for what only a whole dump
     * tells */
    struct found g = {0};
    DO(net_link_dump_ports(net_batch_port(b), found_link, found_altname, NULL, &g, err));
    const struct net_link *p1 = find(&g, "vc1");
    CHECK(g.n == f.n && g.altnames == 1 && find(&g, "lo") && !find(&g, "lo")->port);
    CHECK(find(&g, "br0") && !strcmp(find(&g, "br0")->kind, "bridge") &&
          find(&g, "br0")->group == find(&f, "br0")->group);
    CHECK(p1 && p1->index == v1->index && p1->master == bridge && p1->port && p1->hairpin &&
          p1->link == 2 && p1->flags == v1->flags && p1->mtu == v1->mtu && p1->has_mac &&
          !memcmp(p1->mac, v1->mac, 6));
    int addresses = 0, routes[2] = {0};
    DO(net_address_dump(net_batch_port(b), count_address, NULL, &addresses, err));
    CHECK(addresses == 1 + has_ipv6());
    DO(net_route_dump(net_batch_port(b), count_route, NULL, routes, err));
    CHECK(routes[0] == 0 && routes[1] == 0);

    static struct net_inside in;
    DO(net_netns_open(dir, "container2", &fd, err));
    DO(net_inside_read(fd, NULL, NULL, &in, err));
    CHECK(in.has_lo && (in.lo.flags & IFF_UP) && in.has_eth0 && in.eth0.index == 2 &&
          in.eth0.mtu == 1400);
    CHECK(in.n_address == 1u + has_ipv6() && in.address[0].family == AF_INET &&
          in.address[0].proto == NET_PROTO_BERTH);
    CHECK(in.n_route == 1u + has_ipv6() && in.route[0].protocol == NET_PROTO_BERTH);
    /* The short way tells the same of what is in order, and gives way where it is not taken for
     * enough. */
    struct net_inside full = in;
    in = (struct net_inside){0};
    bool will_do = true;
    DO(net_inside_read(fd, will, &will_do, &in, err));
    CHECK(in.has_lo && in.has_eth0 && in.eth0.index == 2 && in.n_address == full.n_address &&
          in.n_route == 1u + has_ipv6());
    for (size_t i = 0; i < full.n_address; i++)
        CHECK(has_address(&in, &full.address[i]));
    CHECK(in.lo.flags & IFF_UP && in.eth0.mtu == full.eth0.mtu && in.eth0.link == full.eth0.link &&
          in.eth0.addrgen == full.eth0.addrgen && in.eth0.flags == full.eth0.flags &&
          in.eth0.has_mac && !memcmp(in.eth0.mac, full.eth0.mac, 6));
    CHECK(in.route[0].protocol == NET_PROTO_BERTH && !in.route[0].prefix);
    will_do = false;
    net_inside_done(&in);
    DO(net_inside_read(fd, will, &will_do, &in, err));
    CHECK(in.has_lo && in.n_route == full.n_route);
    net_inside_done(&full);
    net_inside_done(&in);
    scoped(net_port_closep) struct net_port *inner = NULL;
    DO(net_port_open(NETLINK_ROUTE, &inner, err));
    DO(net_route_dump(inner, count_route, NULL, routes, err));
    CHECK(routes[0] == 2 && routes[1] == has_ipv6());
    DO(net_inside_read_port(inner, NULL, NULL, &in, err));
    CHECK(in.n_route == 1u + has_ipv6());
    close(fd);

    /* undo inside: route, address */
    {
        scoped(net_batch_closep) struct net_batch *c = NULL;
        DO(net_batch_over(steal(inner), &c, err));
        for (size_t i = 0; i < in.n_route; i++)
            CHECK(!net_batch_route_del(c, &in.route[i], "eth0", 1));
        struct net_route on_link = route(2, AF_INET, "192.0.2.0", 24, NULL);
        CHECK(!net_batch_route_del(c, &on_link, "eth0", 1));
        for (size_t i = 0; i < in.n_address; i++)
            CHECK(!net_batch_address_del(c, &in.address[i], "eth0", 1));
        DO(net_batch_send(c, NULL, NULL, err));
        net_inside_done(&in);
        DO(net_inside_read_port(net_batch_port(c), NULL, NULL, &in, err));
        CHECK(in.n_route == 0 && in.n_address == 0);
    }
    DO(net_netns_unshare(&fd, err)); /* an empty one: no eth0 is an answer */
    DO(net_inside_read(fd, NULL, NULL, &in, err));
    CHECK(in.has_lo && !in.has_eth0 && !in.n_address && !in.n_route);
    close(fd);
    DO(net_netns_enter(host, err));

    /* settings */
    char value[64];
    DO(net_sysctl_read("net/ipv4/conf/br0/forwarding", value, err));
    DO(net_sysctl_write("net/ipv4/conf/br0/forwarding", "1", err));
    DO(net_sysctl_read("net/ipv4/conf/br0/forwarding", value, err));
    CHECK(!strcmp(value, "1"));
    CHECK(net_sysctl_read("net/ipv4/conf/../ip_forward", value, &e) == -EINVAL &&
          net_sysctl_read("/etc/passwd", value, &e) == -EINVAL);
    CHECK(net_sysctl_read("net/ipv4/conf/nobody/forwarding", value, &e) == -ENOENT);
    int settings = 0;
    DO(net_sysctl_links(AF_INET, count_setting, &settings, err));
    CHECK(settings == 2);

    /* removal: by group, and the peers go with them */
    close(ns[0]);
    close(ns[1]);
    CHECK(net_batch_group_del(b, 0, 1) == -EINVAL);
    CHECK(net_batch_send(b, NULL, NULL, &e) == -EINVAL); /* it is not forgotten */
    CHECK(!net_batch_group_del(b, 190, 1));
    DO(net_batch_send(b, NULL, NULL, err));
    f = (struct found){0};
    DO(net_link_dump(net_batch_port(b), found_link, NULL, NULL, &f, err));
    CHECK(f.n == 1);
    DO(net_netns_unname(dir, "container1", err));
    DO(net_netns_unname(dir, "container2", err));
    CHECK(!strcmp(output("ip netns list"), ""));
    puts("1 host, 2 containers: made, read, removed");
    return 0;
}
