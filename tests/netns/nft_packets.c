/* What the tables do to packets: a host with a bridge and three containers, a second bridge, and
 * a neighbour outside. */
#include "netops/nft.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #x, phase);            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static char phase[64] = "start";
static struct net_error err;
static struct net_port *port;
/* C3 is isolated; D1 is on the other bridge */
enum { HOST, OUT, C1, C2, C3, D1, WORLDS };
static int world[WORLDS];

static void enter(int w)
{
    CHECK(setns(world[w], CLONE_NEWNET) == 0);
}
static __attribute__((format(printf, 2, 3))) void in(int w, const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    enter(w);
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(strstr(command, "bridge") || strstr(command, "veth") ? 77 : 1);
    }
    enter(HOST);
}
static void set(int w, const char *file, const char *value)
{
    enter(w);
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        CHECK(write(fd, value, strlen(value)) > 0);
        close(fd);
    }
    enter(HOST);
}

static socklen_t address(struct sockaddr_storage *a, const char *text, uint16_t number)
{
    struct sockaddr_in *v4 = (void *)a;
    struct sockaddr_in6 *v6 = (void *)a;
    memset(a, 0, sizeof *a);
    if (strchr(text, ':')) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(number);
        CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
        return sizeof *v6;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(number);
    CHECK(inet_pton(AF_INET, text, &v4->sin_addr) == 1);
    return sizeof *v4;
}
static int listen_on(int w, const char *at, uint16_t number)
{
    struct sockaddr_storage a;
    socklen_t len = address(&a, at, number);
    enter(w);
    int s = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    CHECK(s >= 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    CHECK(bind(s, (void *)&a, len) == 0 && listen(s, 64) == 0);
    enter(HOST);
    return s;
}
/* Who `server` saw when `from` spoke to TO:NUMBER; "": nobody came within `ms`. */
static const char *seen(int server, int from, const char *to, uint16_t number, int ms)
{
    static char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage a;
    socklen_t len = address(&a, to, number);

    text[0] = '\0';
    enter(from);
    int s = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), code = ETIMEDOUT;
    socklen_t size = sizeof code;
    CHECK(s >= 0);
    enter(HOST);
    if (connect(s, (void *)&a, len) == 0)
        code = 0;
    else {
        struct pollfd p = {.fd = s, .events = POLLOUT};
        if (poll(&p, 1, ms) == 1)
            getsockopt(s, SOL_SOCKET, SO_ERROR, &code, &size);
    }
    struct pollfd p = {.fd = server, .events = POLLIN};
    if (code == 0 && poll(&p, 1, ms) == 1) {
        len = sizeof a;
        int got = accept(server, (void *)&a, &len);
        CHECK(got >= 0);
        close(got);
        inet_ntop(a.ss_family,
                  a.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&a)->sin_addr
                                         : (void *)&((struct sockaddr_in6 *)&a)->sin6_addr,
                  text, sizeof text);
    }
    close(s);
    return text;
}
enum { SOON = 3000, NEVER = 200 };
#define REACHES(server, from, to, number) CHECK(seen(server, from, to, number, SOON)[0])
#define BLOCKED(server, from, to, number) CHECK(!seen(server, from, to, number, NEVER)[0])
#define SEEN_AS(who, server, from, to, number)                                                     \
    CHECK(!strcmp(seen(server, from, to, number, SOON), who))

static void container(int w, const char *name, const char *bridge, const char *net4, int last)
{
    in(HOST,
       "ip link add vb-%s type veth peer name eth0 netns /proc/%d/fd/%d && ip link set vb-%s "
       "master %s up",
       name, getpid(), world[w], name, bridge);
    in(w,
       "ip link set lo up; ip link set eth0 up; ip addr add %s.%d/24 dev eth0; ip route add "
       "default via %s.1",
       net4, last, net4);
    if (!strcmp(bridge, "br-a"))
        in(w, "ip addr add fd00:100::%d/64 dev eth0 nodad; ip route add default via fd00:100::1",
           last);
}

static void build(void)
{
    for (int i = 0; i < WORLDS; i++) {
        if (geteuid() != 0 || unshare(CLONE_NEWNET)) {
            fprintf(stderr, "skipped: no network namespace (%s)\n", strerror(errno));
            exit(77);
        }
        /* not CLOEXEC: ip finds it in our fd directory */
        world[i] = open("/proc/self/ns/net", O_RDONLY);
        CHECK(world[i] >= 0);
        /* else the first connection over IPv6 takes seconds */
        set(i, "/proc/sys/net/ipv6/conf/default/accept_dad", "0");
        set(i, "/proc/sys/net/ipv6/conf/all/accept_dad", "0");
    }
    in(HOST, "ip link set lo up; ip link add br-a type bridge; ip link add br-d type bridge;"
             " ip addr add 10.100.0.1/24 dev br-a; ip addr add fd00:100::1/64 dev br-a nodad; ip "
             "addr add 10.101.0.1/24 dev br-d;"
             " ip link set br-a up; ip link set br-d up");
    in(HOST,
       "ip link add eth0 type veth peer name eth0 netns /proc/%d/fd/%d; ip link set eth0 up;"
       " ip addr add 192.0.2.1/24 dev eth0; ip addr add 2001:db8::1/64 dev eth0 nodad",
       getpid(), world[OUT]);
    /* a neighbour that knows the way to the containers */
    in(OUT,
       "ip link set lo up; ip link set eth0 up; ip addr add 192.0.2.2/24 dev eth0; ip addr add "
       "2001:db8::2/64 dev eth0 nodad;"
       " ip route add 10.100.0.0/15 via 192.0.2.1; ip route add fd00:100::/64 via 2001:db8::1");
    container(C1, "c1", "br-a", "10.100.0", 10);
    container(C2, "c2", "br-a", "10.100.0", 20);
    container(C3, "c3", "br-a", "10.100.0", 30);
    container(D1, "d1", "br-d", "10.101.0", 10);
    in(HOST, "bridge link set dev vb-c1 hairpin on; bridge link set dev vb-c2 hairpin on; bridge "
             "link set dev vb-c3 hairpin on");
    set(HOST, "/proc/sys/net/ipv4/ip_forward", "1");
    set(HOST, "/proc/sys/net/ipv6/conf/all/forwarding", "1");
    set(HOST, "/proc/sys/net/ipv4/conf/all/send_redirects", "0");
    set(HOST, "/proc/sys/net/ipv4/conf/br-a/send_redirects", "0");
    set(HOST, "/proc/sys/net/ipv4/conf/br-a/route_localnet", "1");
}

static struct net_nft_bridge bridges[] = {
    {.name = "br-a",
     .uplink4 = "eth0",
     .uplink6 = "eth0",
     .n_net = 2,
     .net = (struct net_nft_net[]){{AF_INET, 24, {10, 100}}, {AF_INET6, 64, {0xfd, 0, 1}}}},
    {.name = "br-d",
     .uplink4 = "eth0",
     .n_net = 1,
     .net = (struct net_nft_net[]){{AF_INET, 24, {10, 101}}}},
};
static const struct net_nft_map maps[] = {
    {.family = AF_INET,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8080,
     .to_port = 80,
     .to = {10, 100, 0, 10}},
    {.family = AF_INET,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8083,
     .to_port = 80,
     .to = {10, 100, 0, 30}},
    {.family = AF_INET,
     .proto = IPPROTO_TCP,
     .port = 8090,
     .to_port = 80,
     .host = {192, 0, 2, 1},
     .to = {10, 100, 0, 10}},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8080,
     .to_port = 80,
     .to = {0xfd, 0, 1, [15] = 0x10}},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .port = 8090,
     .to_port = 80,
     .host = {0x20, 1, 0xd, 0xb8, [15] = 1},
     .to = {0xfd, 0, 1, [15] = 0x10}},
};
static const struct net_nft_alone alone[] = {
    {.port = "vb-c3",
     .has4 = true,
     .addr4 = {10, 100, 0, 30},
     .has6 = true,
     .addr6 = {0xfd, 0, 1, [15] = 0x30}},
};

static void apply(const struct net_nft *want)
{
    struct net_nft_have *h;
    int e = net_nft_read(port, &h, &err);
    if (!e) {
        e = net_nft_apply(port, want, h, NULL, &err);
        net_nft_have_free(h);
    }
    if (e) {
        char text[512];
        net_error_format(&err, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        exit(e == -EOPNOTSUPP ? 77 : 1);
    }
}

int main(void)
{
    if (system("ip -V >/dev/null 2>&1") != 0) {
        fprintf(stderr, "skipped: iproute2 is not here\n");
        return 77;
    }
    build();
    enter(HOST);
    if (net_port_open(NETLINK_NETFILTER, &port, &err))
        return 1;
    int c1 = listen_on(C1, "0.0.0.0", 80), c2 = listen_on(C2, "0.0.0.0", 80),
        c3 = listen_on(C3, "0.0.0.0", 80);
    int d1 = listen_on(D1, "0.0.0.0", 80), out = listen_on(OUT, "0.0.0.0", 9000),
        host = listen_on(HOST, "127.0.0.1", 7000);
    int c1v6 = listen_on(C1, "fd00:100::10", 80), c3v6 = listen_on(C3, "fd00:100::30", 80),
        outv6 = listen_on(OUT, "2001:db8::2", 9000);

    for (int br_nf = 0; br_nf < 2; br_nf++) {
        struct net_nft want = {.bridges = bridges,
                               .n_bridges = 2,
                               .maps = maps,
                               .n_maps = 5,
                               .alone = alone,
                               .n_alone = 1};
        set(HOST, "/proc/sys/net/bridge/bridge-nf-call-iptables", br_nf ? "1" : "0");
        set(HOST, "/proc/sys/net/bridge/bridge-nf-call-ip6tables", br_nf ? "1" : "0");
        bridges[0].open = bridges[1].open = false;
        apply(&want);

        snprintf(phase, sizeof phase, "port maps, br_nf %d", br_nf);
        SEEN_AS("192.0.2.2", c1, OUT, "192.0.2.1", 8080);
        SEEN_AS("192.0.2.2", c1, OUT, "192.0.2.1", 8090);
        SEEN_AS("2001:db8::2", c1v6, OUT, "2001:db8::1", 8080);
        SEEN_AS("2001:db8::2", c1v6, OUT, "2001:db8::1", 8090);
        REACHES(c1, HOST, "127.0.0.1", 8080);
        REACHES(c1, HOST, "192.0.2.1", 8090);
        REACHES(c1, HOST, "10.100.0.1", 8080);
        BLOCKED(c1, HOST, "10.100.0.1", 8090); /* of one address only */
        REACHES(c1v6, HOST, "2001:db8::1", 8080);
        BLOCKED(c1v6, HOST, "::1", 8080); /* refused, not hanging */
        REACHES(c1, C2, "192.0.2.1", 8080);
        REACHES(c1v6, C2, "2001:db8::1", 8080);
        REACHES(c1, C1, "192.0.2.1", 8080);
        SEEN_AS("10.101.0.10", c1, D1, "192.0.2.1", 8080);

        snprintf(phase, sizeof phase, "masquerade, br_nf %d", br_nf);
        SEEN_AS("192.0.2.1", out, C1, "192.0.2.2", 9000);
        SEEN_AS("2001:db8::1", outv6, C1, "2001:db8::2", 9000);
        SEEN_AS("192.0.2.1", out, D1, "192.0.2.2", 9000);
        SEEN_AS("10.100.0.20", c1, C2, "10.100.0.10", 80); /* never inside */
        SEEN_AS("192.0.2.1", out, C3, "192.0.2.2", 9000);

        snprintf(phase, sizeof phase, "guard, br_nf %d", br_nf);
        REACHES(host, HOST, "127.0.0.1", 7000);
        in(C2, "ip route replace 127.0.0.1/32 via 10.100.0.1 table 100; ip rule add to 127.0.0.1 "
               "lookup 100 pref 0;"
               " ip addr del 127.0.0.1/8 dev lo; ip rule del pref 0 lookup local; ip rule add pref "
               "100 lookup local");
        set(C2, "/proc/sys/net/ipv4/conf/all/route_localnet", "1");
        BLOCKED(host, C2, "127.0.0.1", 7000);
        in(C2, "ip rule del pref 0; ip route flush table 100; ip rule add pref 0 lookup local; ip "
               "rule del pref 100;"
               " ip addr add 127.0.0.1/8 dev lo");

        snprintf(phase, sizeof phase, "inbound, br_nf %d", br_nf);
        BLOCKED(c1, OUT, "10.100.0.10", 80);
        BLOCKED(c1v6, OUT, "fd00:100::10", 80);
        BLOCKED(c1, D1, "10.100.0.10", 80); /* another bridge is outside */
        BLOCKED(d1, C1, "10.101.0.10", 80);
        REACHES(c1, HOST, "10.100.0.10", 80);
        bridges[1].open = true;
        apply(&want);
        REACHES(d1, OUT, "10.101.0.10", 80);
        SEEN_AS("10.100.0.10", d1, C1, "10.101.0.10", 80);
        BLOCKED(c1, D1, "10.100.0.10", 80);

        snprintf(phase, sizeof phase, "isolation, br_nf %d", br_nf);
        bridges[0].open = true;
        apply(&want);
        REACHES(c1, OUT, "10.100.0.10", 80);
        /* isolated from containers, not from the world */
        REACHES(c3, OUT, "10.100.0.30", 80);
        REACHES(c3, OUT, "192.0.2.1", 8083);
        REACHES(c3, HOST, "127.0.0.1", 8083);
        REACHES(c2, C1, "10.100.0.20", 80);
        BLOCKED(c3, C1, "10.100.0.30", 80);
        BLOCKED(c3v6, C1, "fd00:100::30", 80);
        BLOCKED(c1, C3, "10.100.0.10", 80);
        BLOCKED(c3, D1, "10.100.0.30", 80);
        BLOCKED(d1, C3, "10.101.0.10", 80);
        in(C1, "ip route add 10.100.0.30/32 via 10.100.0.1"); /* the detour by layer 3 */
        in(C3, "ip route add 10.100.0.10/32 via 10.100.0.1");
        BLOCKED(c3, C1, "10.100.0.30", 80);
        BLOCKED(c1, C3, "10.100.0.10", 80);
        /* published for everybody, but br_nf keeps it at layer 2 */
        if (br_nf) {
            in(C1, "ip route del 10.100.0.30/32");
            in(C3, "ip route del 10.100.0.10/32");
            BLOCKED(c3, C1, "192.0.2.1", 8083);
        } else {
            REACHES(c3, C1, "192.0.2.1", 8083);
            REACHES(c1, C3, "192.0.2.1", 8080);
            in(C1, "ip route del 10.100.0.30/32");
            in(C3, "ip route del 10.100.0.10/32");
            REACHES(c3, C1, "192.0.2.1", 8083);
        }
        want.n_alone = 0;
        apply(&want);
        REACHES(c3, C1, "10.100.0.30", 80);
        apply(NULL);
    }
    net_port_close(port);
    return 0;
}
