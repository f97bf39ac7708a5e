/* berth's tables in a kernel, in a network namespace of their own. Witness: nft, the other
 * program that reads them. */
#include "netops/nft_foreign.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define OK(x)                                                                                      \
    do {                                                                                           \
        if ((x) != 0) {                                                                            \
            char text_[512];                                                                       \
            net_error_format(&err, text_, sizeof text_);                                           \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x, text_);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static struct net_error err;
static struct net_port *port;

static struct net_nft_bridge bridges[] = {
    {.name = "br-containers",
     .uplink4 = "eth0",
     .uplink6 = "eth0",
     .n_net = 2,
     .net = (struct net_nft_net[]){{AF_INET, 24, {10, 100}}, {AF_INET6, 64, {0xfd, 0, 1}}}},
    {.name = "br-lab",
     .open = true,
     .uplink4 = "eth0",
     .n_net = 2,
     .net = (struct net_nft_net[]){{AF_INET, 20, {10, 99, 16}}, {AF_INET6, 61, {0xfd, 0, 2}}}},
};
static struct net_nft_map maps[] = {
    {.family = AF_INET,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8080,
     .to_port = 80,
     .to = {10, 100, 0, 10},
     .tag = 11},
    {.family = AF_INET,
     .proto = IPPROTO_UDP,
     .port = 53,
     .to_port = 5353,
     .host = {203, 0, 113, 2},
     .to = {10, 100, 0, 20}},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8080,
     .to_port = 80,
     .to = {0xfd, 0, 1, [15] = 0x10}},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .port = 443,
     .to_port = 8443,
     .host = {0x20, 1, 0xd, 0xb8, [15] = 1},
     .to = {0xfd, 0, 1, [15] = 0x10}},
};
static struct net_nft_alone alone[] = {
    {.port = "vb-c3",
     .has4 = true,
     .addr4 = {10, 100, 0, 30},
     .has6 = true,
     .addr6 = {0xfd, 0, 1, [15] = 0x30},
     .tag = 21},
};
/* A container with all, one without IPv6, a router, an isolated guest, and a bridge's own
 * address. */
static const struct net_nft_source sources[] = {
    {.port = "vb-all",
     .mac = {2, 1},
     .has_mac = true,
     .addr4 = {10, 100, 0, 10},
     .has4 = true,
     .addr6 = {0xfd, 0, 1, [15] = 0x10},
     .has6 = true,
     .tag = 31},
    {.port = "vb-four",
     .mac = {2, 2},
     .has_mac = true,
     .addr4 = {10, 100, 0, 11},
     .has4 = true,
     .tag = 32},
    {.port = "vb-router",
     .mac = {2, 3},
     .has_mac = true,
     .addr4 = {10, 100, 0, 12},
     .has4 = true,
     .router = true,
     .any_mac = true,
     .any4 = true},
    {.port = "vb-guest", .guest = true, .addr4 = {10, 100, 0, 13}, .has4 = true, .any_mac = true},
    {.addr4 = {10, 100, 0, 1}, .has4 = true},
};
static const struct net_nft wish = {.bridges = bridges,
                                    .n_bridges = 2,
                                    .maps = maps,
                                    .n_maps = 4,
                                    .alone = alone,
                                    .n_alone = 1,
                                    .sources = sources,
                                    .n_sources = 5,
                                    .group = 0x62657274};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}
static char *output(const char *command)
{
    static char text[2][1 << 16];
    static int which;
    char *out = text[which ^= 1];
    FILE *f = popen(command, "r");
    CHECK(f);
    size_t n = fread(out, 1, sizeof text[0] - 1, f);
    out[n] = '\0';
    CHECK(pclose(f) == 0);
    return out;
}
static void run(const char *command)
{
    if (system(command) != 0) {
        fprintf(stderr, "failed: %s\n", command);
        exit(1);
    }
}
static struct net_nft_have *read_now(void)
{
    struct net_nft_have *h;
    OK(net_nft_read(port, &h, &err));
    return h;
}
static void apply(const struct net_nft *want)
{
    struct net_nft_have *h = read_now();
    OK(net_nft_apply(port, want, h, NULL, &err));
    net_nft_have_free(h);
}
static size_t differences(const struct net_nft *want)
{
    struct net_nft_have *h = read_now();
    size_t n = net_nft_compare(want, h, NULL, NULL);
    net_nft_have_free(h);
    return n;
}
static uint32_t generation(void)
{
    uint32_t g;
    OK(net_nft_read_generation(port, &g, &err));
    return g;
}

struct lines {
    char text[4096];
    size_t n;
};
static void collect(void *arg, const char *line)
{
    struct lines *l = arg;
    size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%s\n", line);
    l->n++;
}

static void test_life(void)
{
    run("nft 'add table inet other; add chain inet other pass { type filter hook forward priority "
        "0; policy drop; };"
        " add set inet other bridges { type ifname; }; add table ip berth; add chain ip berth "
        "pass'");
    char *before = strdup(output("nft list ruleset"));
    CHECK(before);

    apply(&wish);
    CHECK(differences(&wish) == 0);
    uint32_t g = generation();
    apply(&wish);
    CHECK(generation() == g);

    char *json = output("nft -j list table inet berth");
    CHECK(strstr(json, "\"type\": [\"inet_proto\", \"inet_service\"]") &&
          strstr(json, "\"br-containers\""));
    char *text = output("nft list table inet berth");
    CHECK(strstr(text, "tcp . 8080 : 10.100.0.10 . 80"));
    CHECK(strstr(text, "203.0.113.2 . udp . 53 : 10.100.0.20 . 5353"));
    CHECK(strstr(text, "2001:db8::1 . tcp . 443 : fd00:100::10 . 8443"));
    CHECK(strstr(text, "ip saddr 10.99.16.0/20 oifname \"eth0\" masquerade"));
    CHECK(strstr(text, "ip6 saddr fd00:200::/61 masquerade") &&
          strstr(text, "ip6 daddr ::1 accept"));
    CHECK(strstr(output("nft list table bridge berth"), "\"vb-c3\""));

    /* what nft prints, nft takes, and it is still ours */
    run("f=$(mktemp); nft list ruleset >$f && nft flush ruleset && nft -f $f; r=$?; rm -f $f; exit "
        "$r");
    CHECK(differences(&wish) == 0);

    struct net_nft_have *h = read_now();
    struct net_nft_model m;
    CHECK(net_nft_model(h, &m));
    apply(NULL);
    CHECK(differences(NULL) == 0);
    CHECK(!strcmp(before, output("nft list ruleset")));
    apply(&m.nft); /* back to what was read */
    CHECK(differences(&wish) == 0);
    net_nft_model_done(&m);
    net_nft_have_free(h);
    apply(NULL);
    CHECK(!strcmp(before, output("nft list ruleset")));
    free(before);
}

static void test_foreign(void)
{
    struct net_nft_foreign *f;
    struct net_nft_packet out = {.family = AF_INET, .iif = "br-a", .oif = "eth0"};
    struct net_nft_drop d;
    bool found;
    OK(net_nft_foreign_read(port, &f, &err));
    OK(net_nft_foreign_find(f, &out, &found, &d, &err));
    CHECK(found && !strcmp(d.table, "other") && !strcmp(d.chain, "pass") && d.rule == 0);
    net_nft_foreign_free(f);
    run("nft flush ruleset");
}

static void test_drift(void)
{
    static const struct {
        const char *command, *line;
    } drifts[] = {
        {"nft flush ruleset", "table inet berth is missing\ntable bridge berth is missing\n"},
        {"nft delete table bridge berth", "table bridge berth is missing\n"},
        {"nft delete rule inet berth guard handle $(nft -a list chain inet berth guard | sed -n "
         "'s/.*daddr.*handle //p')",
         "chain 'guard': rule 2 is missing (drop what our bridges send to 127.0.0.0/8)\n"},
        {"nft insert rule inet berth pass ip saddr 192.0.2.0/24 drop",
         "chain 'pass': rule 1 is not wanted\n"},
        {"nft insert rule inet berth pass ct status dnat accept",
         "chain 'pass': rule 1 is not wanted\n"},
        {"nft add rule inet berth own counter", "chain 'own': rule 3 is not wanted\n"},
        {"nft replace rule inet berth own handle $(nft -a list chain inet berth own | sed -n "
         "'s/.*::1.*handle //p') ip6 daddr ::2 accept",
         "chain 'own': rule 1 differs (should never map ::1)\n"},
        {"nft flush chain inet berth in",
         "chain 'in': rule 1 is missing (what comes to this host goes through the port maps)\n"},
        {"nft delete element inet berth any4 { tcp . 8080 }",
         "port map tcp 8080 to 10.100.0.10:80 is missing\n"},
        {"nft add element inet berth any4 { udp . 99 : 10.100.0.9 . 1 }",
         "port map udp 99 to 10.100.0.9:1 is not wanted\n"},
        {"nft 'delete element inet berth any4 { tcp . 8080 }; add element inet berth any4 { tcp . "
         "8080 : 10.100.0.11 . 80 }'",
         "port map tcp 8080 goes to 10.100.0.11:80, not to 10.100.0.10:80\n"},
        {"nft 'add element inet berth bridges { br9 }'",
         "set 'bridges': element \"br9\" is not wanted\n"},
        {"nft 'delete element bridge berth alone { vb-c3 }'",
         "bridge set 'alone': element \"vb-c3\" is missing\n"},
        {"nft 'flush set inet berth alone6'",
         "set 'alone6': element \"fd00:100::30\" is missing\n"},
        {"nft 'flush chain inet berth src; delete chain inet berth src'",
         "chain 'src' is missing\n"},
        {"nft add chain inet berth more", "chain 'more' is not wanted\n"},
        {"nft add set inet berth more '{ type ipv4_addr; }'", "set 'more' is not wanted\n"},
        {"nft add counter inet berth more", "table inet berth holds objects that are not wanted"},
        {"nft 'chain inet berth pass { policy drop; }'",
         "chain 'pass': policy is drop, not accept\n"},
        {"nft 'flush chain inet berth in; delete chain inet berth in; add chain inet berth in "
         "{ type nat hook prerouting priority -90; }; add rule inet berth in fib daddr type local "
         "jump ports'",
         "chain 'in': priority is -90, not -100\n"},
        {"nft 'add table inet berth { flags dormant; }'",
         "table inet berth is dormant (flags 0x1)\n"},
        {"nft add rule bridge berth pass accept", "bridge chain 'pass': rule 3 is not wanted\n"},
    };
    for (size_t i = 0; i < sizeof drifts / sizeof drifts[0]; i++) {
        struct lines l = {0};
        apply(&wish);
        CHECK(differences(&wish) == 0);
        run(drifts[i].command);
        struct net_nft_have *h = read_now();
        OK(net_nft_confirm(port, &h, &err));
        net_nft_compare(&wish, h, collect, &l);
        if (strncmp(l.text, drifts[i].line, strlen(drifts[i].line)) || l.n != (i == 0 ? 2 : 1)) {
            fprintf(stderr, "after: %s\nsaid: %sbut should: %s", drifts[i].command, l.text,
                    drifts[i].line);
            exit(1);
        }
        OK(net_nft_apply(port, &wish, h, NULL, &err));
        net_nft_have_free(h);
        CHECK(differences(&wish) == 0);
    }
    apply(NULL);
    CHECK(output("nft list ruleset")[0] == '\0');
}

/* Elements alone leave the rules where they are: their handles stay. */
static void test_lightly(void)
{
    struct net_nft_map more[5];
    struct net_nft other = wish;

    apply(&wish);
    char *before = strdup(output("nft -a list chain inet berth pass"));
    CHECK(before);
    memcpy(more, maps, sizeof maps);
    more[0].to_port = 81;
    more[1].port = 54;
    more[4] = (struct net_nft_map){.family = AF_INET,
                                   .proto = IPPROTO_TCP,
                                   .any = true,
                                   .port = 9,
                                   .to_port = 9,
                                   .to = {10, 100, 0, 9}};
    other.maps = more;
    other.n_maps = 5;
    apply(&other);
    CHECK(differences(&other) == 0);
    CHECK(!strcmp(before, output("nft -a list chain inet berth pass")));
    other.n_alone = 0;
    other.n_sources = 0;
    apply(&other);
    CHECK(!strcmp(before, output("nft -a list chain inet berth pass")));
    CHECK(strstr(output("nft list tables"), "bridge") == NULL);
    free(before);
    apply(NULL);
}

static void test_many(size_t n)
{
    struct net_nft_map *many = calloc(n, sizeof *many);
    struct net_nft want = wish;

    CHECK(many);
    for (size_t i = 0; i < n; i++)
        many[i] = (struct net_nft_map){.family = i % 3 == 2 ? AF_INET6 : AF_INET,
                                       .proto = IPPROTO_TCP,
                                       .any = i % 2 == 0,
                                       .port = (uint16_t)(1000 + i),
                                       .to_port = 80,
                                       .host = {203, 0, 113, 2},
                                       .to = {10, 100, (uint8_t)(i >> 8), (uint8_t)i},
                                       .tag = (uint32_t)i + 1};
    want.maps = many;
    want.n_maps = n;
    struct net_nft_have *h = read_now();
    double t = now_ms();
    OK(net_nft_apply(port, &want, h, NULL, &err));
    double applied = now_ms();
    net_nft_have_free(h);
    h = read_now();
    double was_read = now_ms();
    CHECK(net_nft_compare(&want, h, NULL, NULL) == 0);
    double compared = now_ms();
    printf("%zu maps: apply %.2f ms, read %.2f ms, compare %.2f ms\n", n, applied - t,
           was_read - applied, compared - was_read);
    many[n / 2].to_port++;
    t = now_ms();
    OK(net_nft_apply(port, &want, h, NULL, &err));
    printf("%zu maps: one changed %.2f ms\n", n, now_ms() - t);
    net_nft_have_free(h);
    CHECK(differences(&want) == 0);
    struct net_nft none = wish;
    none.n_maps = 0;
    h = read_now();
    t = now_ms();
    OK(net_nft_apply(port, &none, h, NULL, &err));
    printf("%zu maps: all removed %.2f ms\n", n, now_ms() - t);
    net_nft_have_free(h);
    /* thousands of elements into sets that are there */
    apply(&want);
    CHECK(differences(&want) == 0);
    apply(NULL);
    free(many);
}

static void test_stale(void)
{
    struct net_nft_have *h = read_now();
    run("nft add table ip somebody");
    CHECK(net_nft_apply(port, &wish, h, NULL, &err) == -ERESTART);
    char text[512];
    net_error_format(&err, text, sizeof text);
    CHECK(strstr(text, "somebody else"));
    net_nft_have_free(h);
    CHECK(strstr(output("nft list ruleset"), "berth") == NULL);
    run("nft flush ruleset");
}

/* ---- a port that damages what is sent, to make the kernel refuse ---- */

static struct {
    int fd;
    uint16_t from, to; /* this port of a map becomes that */
    bool mute;         /* the kernel's extended acks are cut off */
    /* somebody writes between the last reading and the batch */
    bool late;
    bool armed;
} evil;

static int evil_send(void *arg, const void *bytes, size_t size)
{
    uint8_t *copy = malloc(size);
    const struct nlmsghdr *first = bytes;
    (void)arg;
    CHECK(copy);
    memcpy(copy, bytes, size);
    if (first->nlmsg_type == NFNL_MSG_BATCH_BEGIN && evil.late) {
        evil.late = false;
        run("nft add table ip somebody");
    }
    if (first->nlmsg_type == NFNL_MSG_BATCH_BEGIN && evil.armed) {
        uint8_t key[8] = {IPPROTO_TCP,        0, 0, 0, (uint8_t)(evil.from >> 8),
                          (uint8_t)evil.from, 0, 0};
        for (size_t i = 0; i + 8 <= size; i += 4)
            if (!memcmp(copy + i, key, 8)) {
                copy[i + 4] = (uint8_t)(evil.to >> 8);
                copy[i + 5] = (uint8_t)evil.to;
            }
    }
    ssize_t n = send(evil.fd, copy, size, 0);
    free(copy);
    return n < 0 ? -errno : 0;
}
static int evil_recv(void *arg, struct net_datagram *d, unsigned n, int timeout_ms)
{
    (void)arg;
    (void)n;
    struct pollfd p = {.fd = evil.fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) == 0)
        return timeout_ms ? -ETIMEDOUT : -EAGAIN;
    struct sockaddr_nl a;
    struct iovec v = {d->bytes, d->size};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &v, .msg_iovlen = 1};
    ssize_t got = recvmsg(evil.fd, &m, 0);
    if (got < 0)
        return -errno;
    d->length = (size_t)got;
    d->cut = (m.msg_flags & MSG_TRUNC) != 0;
    d->from = a.nl_pid;
    struct nlmsghdr *h = d->bytes;
    if (evil.mute && h->nlmsg_type == NLMSG_ERROR)
        h->nlmsg_flags &= (uint16_t)~NLM_F_ACK_TLVS;
    return 1;
}

static void test_refused(void)
{
    static const struct net_port_ops ops = {evil_send, evil_recv};
    struct net_nft_map many[100];
    struct net_nft want = wish;
    struct net_port *good = port;
    int one = 1;

    for (unsigned i = 0; i < 100; i++)
        many[i] = (struct net_nft_map){.family = AF_INET,
                                       .proto = IPPROTO_TCP,
                                       .any = true,
                                       .port = (uint16_t)(1000 + i),
                                       .to_port = (uint16_t)i,
                                       .to = {10, 100, 0, 7},
                                       .tag = 500 + i};
    want.maps = many;
    want.n_maps = 100;
    evil.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    CHECK(evil.fd >= 0);
    CHECK(!setsockopt(evil.fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one));
    CHECK(!setsockopt(evil.fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one));
    CHECK(!net_port_test_ops(&ops, NULL, NETLINK_NETFILTER, &port));
    evil.from = 1042;
    evil.to = 1041; /* one key twice */
    evil.armed = true;
    for (int mute = 0; mute < 2; mute++) {
        struct net_nft_have *h = read_now();
        uint32_t g = generation();
        evil.mute = mute;
        memset(&err, 0, sizeof err);
        CHECK(net_nft_apply(port, &want, h, NULL, &err) == -EEXIST);
        CHECK(err.tag == 542);
        char text[512];
        net_error_format(&err, text, sizeof text);
        CHECK(strstr(text, "cannot add port map tcp 1042 to 10.100.0.7:42"));
        CHECK(generation() == g); /* not a bit of it */
        CHECK(net_nft_compare(NULL, h, NULL, NULL) == 0);
        net_nft_have_free(h);
    }
    evil.mute = false;

    /* the kernel takes it, but it is not what was meant */
    evil.to = 4242;
    struct net_nft_have *h = read_now();
    CHECK(net_nft_apply(port, &want, h, NULL, &err) == -EIO);
    CHECK(strstr(err.kernel, "port map tcp 1042 to 10.100.0.7:42 is missing"));
    net_nft_have_free(h);
    evil.armed = false;
    apply(&want);
    apply(NULL);

    /* refused by the generation in the batch itself */
    h = read_now();
    evil.late = true;
    CHECK(net_nft_apply(port, &want, h, NULL, &err) == -ERESTART);
    net_nft_have_free(h);
    CHECK(strstr(output("nft list ruleset"), "berth") == NULL);
    run("nft flush ruleset");

    net_port_close(port);
    close(evil.fd);
    port = good;
}

int main(void)
{
    if (system("nft --version >/dev/null 2>&1") != 0) {
        fprintf(stderr, "skipped: nft is not here\n");
        return 77;
    }
    if (geteuid() != 0 || unshare(CLONE_NEWNET)) { /* forced buffers need the real root */
        fprintf(stderr, "skipped: no network namespace (%s)\n", strerror(errno));
        return 77;
    }
    OK(net_port_open(NETLINK_NETFILTER, &port, &err));
    struct net_nft_have *h;
    int e = net_nft_read(port, &h, &err);
    if (!e) {
        e = net_nft_apply(port, &wish, h, NULL, &err);
        net_nft_have_free(h);
    }
    if (e) {
        char text[512];
        net_error_format(&err, text, sizeof text);
        fprintf(stderr, "%s: %s\n", e == -EOPNOTSUPP || e == -EPERM ? "skipped" : "failed", text);
        return e == -EOPNOTSUPP || e == -EPERM ? 77 : 1;
    }
    apply(NULL);
    test_life();
    test_foreign();
    test_drift();
    test_lightly();
    test_many(0 + 1);
    test_many(1000);
    test_many(10000);
    test_stale();
    test_refused();
    net_port_close(port);
    return 0;
}
