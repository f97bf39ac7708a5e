/* nftables without a kernel: what is wanted becomes an image, images are compared, lines are made
 * for people. The kernel is played by the images themselves: one decoder serves both. */
#include "netops/nft_image.h"
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

static struct net_nft_bridge bridges[] = {
    {.name = "br-b",
     .open = true,
     .n_net = 1,
     .net = (struct net_nft_net[]){{AF_INET, 20, {10, 99, 16}}},
     .uplink4 = "eth1"},
    {.name = "br-a",
     .n_net = 3,
     .uplink4 = "eth0",
     .uplink6 = "eth0",
     .net = (struct net_nft_net[]){{AF_INET6, 64, {0xfd, 0, 1}},
                                   {AF_INET, 24, {10, 100}},
                                   {AF_INET6, 61, {0xfd, 0, 2}}}},
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
     .to = {10, 100, 0, 20},
     .tag = 12},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .any = true,
     .port = 8080,
     .to_port = 80,
     .to = {0xfd, 0, 1, [15] = 0x10},
     .tag = 13},
    {.family = AF_INET6,
     .proto = IPPROTO_TCP,
     .port = 443,
     .to_port = 8443,
     .host = {0x20, 1, 0xd, 0xb8, [15] = 1},
     .to = {0xfd, 0, 1, [15] = 0x10},
     .tag = 14},
};
static struct net_nft_alone alone[] = {
    {.port = "vb-c3",
     .has4 = true,
     .addr4 = {10, 100, 0, 30},
     .has6 = true,
     .addr6 = {0xfd, 0, 1, [15] = 0x30},
     .tag = 21},
};
static const struct net_nft wish = {
    .bridges = bridges, .n_bridges = 2, .maps = maps, .n_maps = 4, .alone = alone, .n_alone = 1};

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

struct lines {
    char text[64][256];
    size_t n;
};
static void collect(void *arg, const char *line)
{
    struct lines *l = arg;
    assert_true(l->n < 64);
    snprintf(l->text[l->n++], sizeof l->text[0], "%s", line);
}
static bool said(const struct lines *l, const char *line)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->text[i], line))
            return true;
    for (size_t i = 0; i < l->n; i++)
        print_message("said: %s\n", l->text[i]);
    return false;
}
/* What the kernel would hold after `n` was applied. */
static void hold(struct net_nft_have *h, const struct net_nft *n)
{
    struct nft_want w;
    assert_int_equal(net_nft_want_init(&w, n, NULL), 0);
    for (size_t t = 0; t < NFT_TABLES; t++)
        free(w.msgs[t].p);
    h->img = w.img;
    h->generation = 7;
}
static size_t compare(const struct net_nft *want, const struct net_nft_have *h, struct lines *l)
{
    l->n = 0;
    return net_nft_compare(want, h, collect, l);
}

static void test_equal(void **state)
{
    struct net_nft_have h;
    struct lines l;
    struct net_nft_bridge turned[2] = {bridges[1], bridges[0]};
    struct net_nft other = wish;

    (void)state;
    hold(&h, &wish);
    assert_int_equal(compare(&wish, &h, &l), 0);
    other.bridges = turned; /* the order of a wish says nothing */
    assert_int_equal(compare(&other, &h, &l), 0);
    net_nft_image_done(&h.img);
}

static void test_lines(void **state)
{
    struct net_nft_have h;
    struct lines l;
    struct net_nft_map some[4];
    struct net_nft_bridge b[2];
    struct net_nft less = wish, none = {0};

    (void)state;
    memset(&h, 0, sizeof h);
    assert_int_equal(compare(&wish, &h, &l), 2);
    assert_true(said(&l, "table inet berth is missing"));
    assert_true(said(&l, "table bridge berth is missing"));
    assert_int_equal(compare(NULL, &h, &l), 0);

    hold(&h, &wish);
    assert_int_equal(compare(NULL, &h, &l), 2);
    assert_true(said(&l, "table inet berth is not wanted"));

    memcpy(some, maps, sizeof some);
    some[0].to_port = 81;
    some[1].port = 54;
    some[3].to[15] = 0x11;
    less.maps = some;
    assert_int_equal(compare(&less, &h, &l), 4);
    assert_true(said(&l, "port map tcp 8080 goes to 10.100.0.10:80, not to 10.100.0.10:81"));
    assert_true(said(&l, "port map udp 203.0.113.2:54 to 10.100.0.20:5353 is missing"));
    assert_true(said(&l, "port map udp 203.0.113.2:53 to 10.100.0.20:5353 is not wanted"));
    assert_true(said(
        &l,
        "port map tcp [2001:db8::1]:443 goes to [fd00:100::10]:8443, not to [fd00:100::11]:8443"));

    less = wish;
    less.n_alone = 0;
    assert_int_equal(compare(&less, &h, &l), 3);
    assert_true(said(&l, "table bridge berth is not wanted"));
    assert_true(said(&l, "set 'alone4': element \"10.100.0.30\" is not wanted"));
    assert_true(said(&l, "set 'alone6': element \"fd00:100::30\" is not wanted"));

    less = wish;
    memcpy(b, bridges, sizeof b);
    b[0].open = false;
    snprintf(b[1].uplink4, sizeof b[1].uplink4, "wan");
    less.bridges = b;
    assert_int_equal(compare(&less, &h, &l), 2);
    assert_true(said(
        &l, "chain 'pass': rule 9 is missing (drop the rest that comes to br-b from outside)"));
    assert_true(
        said(&l, "chain 'src': rule 6 differs (should masquerade 10.100.0.0/24 leaving by wan)"));
    snprintf(b[1].name, sizeof b[1].name, "br\x1b[2J");
    b[0] = bridges[0];
    assert_true(compare(&wish, &h, &l) == 0);
    net_nft_image_done(&h.img);

    hold(&h, &less);
    compare(&wish, &h, &l);
    assert_true(said(&l, "set 'bridges': element \"br\\x1b[2J\" is not wanted"));
    net_nft_image_done(&h.img);

    hold(&h, &none);
    assert_true(h.img.table[NFT_INET].present && !h.img.table[NFT_BRIDGE].present);
    net_nft_image_done(&h.img);
}

static void test_structure(void **state)
{
    struct net_nft_have h;
    struct lines l;
    struct nft_table *t = &h.img.table[NFT_INET];

    (void)state;
    hold(&h, &wish);
    struct nft_chain *pass = net_nft_find_chain(t, "pass"), *in = net_nft_find_chain(t, "in");
    pass->policy = 0;
    in->priority = -90;
    t->flags = 1;
    struct nft_rule r = pass->rule[1];
    pass->rule[1] = pass->rule[2];
    pass->rule[2] = r;
    net_nft_find_set(t, "any4")->odd_elem = true;
    net_nft_find_set(t, "any6")->key_type++;
    t->uses = 100;
    assert_int_equal(compare(&wish, &h, &l), 7);
    assert_true(said(&l, "chain 'pass': policy is drop, not accept"));
    assert_true(said(&l, "chain 'in': priority is -90, not -100"));
    assert_true(said(&l, "table inet berth is dormant (flags 0x1)"));
    assert_true(said(&l, "chain 'pass': rules 2 to 3 are in another order, or doubled"));
    assert_true(said(&l, "set 'any4' holds elements of another kind"));
    assert_true(said(&l, "set 'any6' is of another type"));
    net_nft_image_done(&h.img);
}

static void test_sources(void **state)
{
    struct net_nft_have h;
    struct net_nft_model m;
    struct lines l;
    struct net_nft_source some[5];
    struct net_nft checked = {.sources = sources, .n_sources = 5, .group = 77}, other = checked;

    (void)state;
    hold(&h, &checked);
    assert_true(h.img.table[NFT_INET].present && h.img.table[NFT_BRIDGE].present);
    assert_null(net_nft_find_chain(&h.img.table[NFT_INET], "pass"));
    assert_int_equal(net_nft_find_chain(&h.img.table[NFT_INET], "guard")->n, 1);
    assert_int_equal(compare(&checked, &h, &l), 0);
    assert_true(net_nft_model(&h, &m));
    assert_int_equal(m.nft.group, 77);
    assert_int_equal(compare(&m.nft, &h, &l), 0);
    net_nft_model_done(&m);

    memcpy(some, sources, sizeof some);
    other.sources = some;
    some[0].mac[5] = 9;
    some[0].addr6[15] = 0x11;
    some[3].any_mac = false;
    assert_true(compare(&other, &h, &l) > 4);
    assert_true(said(&l, "bridge set 'macs': element \"vb-all . 02:01:00:00:00:09\" is missing"));
    assert_true(
        said(&l, "bridge set 'macs': element \"vb-all . 02:01:00:00:00:00\" is not wanted"));
    assert_true(said(&l, "bridge set 'src6': element \"vb-all . fd00:100::11\" is missing"));
    assert_true(said(&l, "bridge set 'ids6': element \"vb-all . ::1:ff:fe00:9\" is missing"));
    assert_true(said(&l, "bridge set 'takenmac': element \"02:01:00:00:00:09\" is missing"));
    assert_true(said(&l, "bridge set 'anymac': element \"vb-guest\" is not wanted"));
    other = checked;
    other.group = 78;
    assert_int_equal(compare(&other, &h, &l), 2);
    assert_true(said(&l, "chain 'guard': rule 1 differs (should drop what ports send to this host "
                         "past their bridge)"));
    assert_true(said(
        &l,
        "bridge chain 'guard': rule 1 differs (should what ports of our making send is checked)"));
    net_nft_image_done(&h.img);

    size_t rules[2];
    /* the rules do not grow with the containers */
    for (size_t i = 0; i < 2; i++) {
        other.group = 77;
        other.n_sources = i ? 5 : 1;
        hold(&h, &other);
        rules[i] = net_nft_find_chain(&h.img.table[NFT_BRIDGE], "sources")->n;
        net_nft_image_done(&h.img);
    }
    assert_int_equal(rules[0], rules[1]);

    /* the table as it was before there were checks */
    struct net_nft old = wish, both = wish;
    both.sources = sources;
    both.n_sources = 5;
    hold(&h, &old);
    assert_true(net_nft_model(&h, &m));
    assert_int_equal(m.nft.n_sources, 0);
    net_nft_model_done(&m);
    assert_true(compare(&both, &h, &l) > 0);
    net_nft_image_done(&h.img);
    hold(&h, &both);
    assert_true(net_nft_model(&h, &m));
    net_nft_model_done(&m);
    net_nft_image_done(&h.img);
}

static void test_model(void **state)
{
    struct net_nft_have h;
    struct net_nft_model m;
    struct lines l;
    struct net_nft none = {0};

    (void)state;
    hold(&h, &wish);
    assert_true(net_nft_model(&h, &m));
    assert_int_equal(m.nft.n_bridges, 2);
    assert_string_equal(m.bridges[0].name, "br-a");
    assert_false(m.bridges[0].open);
    assert_true(m.bridges[1].open);
    assert_int_equal(m.bridges[0].n_net, 3);
    assert_string_equal(m.bridges[0].uplink6, "eth0");
    assert_int_equal(m.bridges[1].net[0].prefix, 20);
    assert_int_equal(m.nft.n_maps, 4);
    assert_int_equal(compare(&m.nft, &h, &l), 0);
    net_nft_model_done(&m);
    net_nft_find_chain(&h.img.table[NFT_INET], "pass")->n--;
    assert_true(net_nft_model(&h, &m)); /* this is how an open bridge looks */
    assert_true(m.bridges[0].open);
    net_nft_model_done(&m);
    net_nft_find_chain(&h.img.table[NFT_INET], "guard")->n--;
    assert_false(net_nft_model(&h, &m)); /* and this is nothing of ours */
    net_nft_image_done(&h.img);

    struct net_nft_net many[20]; /* as many subnets as a bridge has */
    struct net_nft_bridge wide[2] = {{.name = "br-a", .n_net = 20, .net = many, .uplink4 = "eth0"},
                                     bridges[0]};
    struct net_nft broad = {.bridges = wide, .n_bridges = 2};
    for (uint8_t i = 0; i < 20; i++)
        many[i] = (struct net_nft_net){AF_INET, 24, {10, 100, i}};
    hold(&h, &broad);
    assert_true(net_nft_model(&h, &m));
    assert_int_equal(m.bridges[0].n_net, 20);
    assert_int_equal(m.bridges[0].net[19].bytes[2], 19);
    assert_int_equal(m.bridges[1].n_net, 1);
    net_nft_model_done(&m);
    net_nft_image_done(&h.img);

    hold(&h, &none);
    assert_true(net_nft_model(&h, &m));
    net_nft_model_done(&m);
    net_nft_image_done(&h.img);
    memset(&h, 0, sizeof h);
    assert_false(net_nft_model(&h, &m));
}

static void test_refused(void **state)
{
    struct nft_want w;
    struct net_error err;
    char text[512];
    struct net_nft_map twice[2] = {maps[0], maps[0]};
    struct net_nft n = wish;
    struct net_nft_bridge b = bridges[1];

    (void)state;
    n.maps = twice;
    n.n_maps = 2;
    assert_int_equal(net_nft_want_init(&w, &n, &err), 0); /* said twice, meant once */
    assert_int_equal(net_nft_find_set(&w.img.table[NFT_INET], "any4")->n, 1);
    net_nft_want_done(&w);
    twice[1].to_port = 81;
    twice[1].tag = 99;
    assert_int_equal(net_nft_want_init(&w, &n, &err), -EEXIST);
    assert_true(err.tag == 99 || err.tag == 11);
    net_error_format(&err, text, sizeof text);
    assert_non_null(strstr(text, "port map tcp 8080 to 10.100.0.10:8"));
    n = wish;
    n.bridges = &b;
    n.n_bridges = 1;
    snprintf(b.uplink4, sizeof b.uplink4, "%s", b.name);
    assert_int_equal(net_nft_want_init(&w, &n, &err), -EINVAL);
    assert_int_equal(net_nft_compare(&n, &(struct net_nft_have){0}, NULL, NULL), 1);

    net_fail(&err, EOPNOTSUPP, "create", "table bridge berth");
    net_error_format(&err, text, sizeof text);
    assert_non_null(strstr(text, "lacks nftables bridge filtering"));
}

/* Bytes of a message cut anywhere, or changed anywhere, are taken or refused, never run over. */
static void test_hostile(void **state)
{
    struct nft_want w;
    struct nft_image img;
    unsigned seed = 1;

    (void)state;
    assert_int_equal(net_nft_want_init(&w, &wish, NULL), 0);
    for (unsigned round = 0; round < 3000; round++) {
        net_nft_image_init(&img);
        for (size_t at = 0; at < w.msgs[NFT_INET].len;) {
            const struct nlmsghdr *m = (const void *)(w.msgs[NFT_INET].p + at);
            size_t len = m->nlmsg_len;
            uint8_t *copy = malloc(len);
            assert_non_null(copy);
            memcpy(copy, m, len);
            seed = seed * 1103515245u + 12345u;
            if (seed >> 16 & 1)
                copy[20 + (seed >> 17) % (len - 20)] ^= (uint8_t)(1u << (seed >> 8 & 7));
            if ((seed >> 20) % 8 == 0)
                ((struct nlmsghdr *)(void *)copy)->nlmsg_len =
                    (uint32_t)(20 + (seed >> 9) % (len - 20));
            (void)net_nft_image_take(&img, (const void *)copy);
            free(copy);
            at += NLMSG_ALIGN(len);
        }
        net_nft_image_sort(&img);
        struct nft_verdict v;
        net_nft_judge(&w.img, &img, NULL, NULL, &v);
        struct net_nft_have h = {.img = img, .generation = 1};
        struct net_nft_model m;
        if (net_nft_model(&h, &m))
            net_nft_model_done(&m);
        net_nft_image_done(&h.img);
    }
    net_nft_want_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),     cmocka_unit_test(test_lines),
        cmocka_unit_test(test_structure), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_model),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
