/* The table `filter` of iptables-legacy, from bytes as the kernel lays them out: struct
 * ipt_entry, matches, target. */
#include "netops/xt_legacy.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { ACCEPT = -NF_ACCEPT - 1, DROP = -NF_DROP - 1, QUEUE = -NF_QUEUE - 1, RETURN = XT_RETURN };

struct blob {
    _Alignas(8) uint8_t bytes[8192];
    size_t size;
    struct net_xt_info info;
};
struct rule {
    const char *in, *out;       /* "br0", "br+", "!br0" */
    const char *src, *dst;      /* "10.1.0.0/24" */
    const char *match, *target; /* names of extensions; no target: `verdict` */
    const char *chain;          /* head of a user chain */
    unsigned states;            /* of match "conntrack" */
    uint8_t proto;
    bool jumps_on, goes; /* jumps to the next entry: a rule without a target */
    int verdict;
};

static void put_link(const char *wanted, char *name, unsigned char *mask, uint8_t *invert,
                     uint8_t bit)
{
    if (!wanted)
        return;
    if (*wanted == '!') {
        *invert |= bit;
        wanted++;
    }
    size_t len = strlen(wanted);
    bool open = len && wanted[len - 1] == '+';
    memcpy(name, wanted, open ? len - 1 : len);
    memset(mask, 0xff, open ? len - 1 : len + 1);
}

static void put_network(const char *wanted, struct in_addr *addr, struct in_addr *mask)
{
    char text[32];
    if (!wanted)
        return;
    snprintf(text, sizeof text, "%s", wanted);
    unsigned prefix = (unsigned)atoi(strchr(text, '/') + 1);
    *strchr(text, '/') = '\0';
    assert_int_equal(inet_pton(AF_INET, text, addr), 1);
    mask->s_addr = htonl(0xffffffffu << (32 - prefix));
}

/* Gives back the offset of the rule. */
static uint32_t put(struct blob *b, struct rule r)
{
    size_t at = b->size, match = 0;
    struct ipt_entry e = {0};

    if (r.match)
        match = sizeof(struct xt_entry_match) +
                (!strcmp(r.match, "conntrack") ? XT_ALIGN(sizeof(struct xt_conntrack_mtinfo3)) : 8);
    put_link(r.in, e.ip.iniface, e.ip.iniface_mask, &e.ip.invflags, IPT_INV_VIA_IN);
    put_link(r.out, e.ip.outiface, e.ip.outiface_mask, &e.ip.invflags, IPT_INV_VIA_OUT);
    put_network(r.src, &e.ip.src, &e.ip.smsk);
    put_network(r.dst, &e.ip.dst, &e.ip.dmsk);
    e.ip.proto = r.proto;
    e.ip.flags = r.goes ? IPT_F_GOTO : 0;
    size_t target = r.chain ? XT_ALIGN(sizeof(struct xt_error_target))
                            : XT_ALIGN(sizeof(struct xt_standard_target));
    e.target_offset = (uint16_t)(sizeof e + match);
    e.next_offset = (uint16_t)(e.target_offset + target);
    memcpy(b->bytes + at, &e, sizeof e);
    if (r.match) {
        struct xt_entry_match m = {.u.user.match_size = (uint16_t)match, .u.user.revision = 3};
        snprintf(m.u.user.name, sizeof m.u.user.name, "%s", r.match);
        memcpy(b->bytes + at + sizeof e, &m, sizeof m);
    }
    if (r.states) {
        struct xt_conntrack_mtinfo3 m = {.match_flags = XT_CONNTRACK_STATE,
                                         .state_mask = (uint16_t)r.states};
        memcpy(b->bytes + at + sizeof e + sizeof(struct xt_entry_match), &m, sizeof m);
    }
    struct xt_standard_target t = {.target.u.user.target_size = (uint16_t)target,
                                   .verdict = r.jumps_on ? (int)(at + e.next_offset) : r.verdict};
    snprintf(t.target.u.user.name, sizeof t.target.u.user.name, "%s",
             r.chain    ? "ERROR"
             : r.target ? r.target
                        : "");
    memcpy(b->bytes + at + e.target_offset, &t, sizeof t);
    if (r.chain)
        snprintf((char *)b->bytes + at + e.target_offset +
                     offsetof(struct xt_error_target, errorname),
                 XT_FUNCTION_MAXNAMELEN, "%s", r.chain);
    b->size += e.next_offset;
    assert_true(b->size <= sizeof b->bytes);
    return (uint32_t)at;
}

/* INPUT before FORWARD and OUTPUT after it, as in every table `filter`. */
static void begin(struct blob *b)
{
    memset(b, 0, sizeof *b);
    put(b, (struct rule){.verdict = DROP});
    b->info.forward = (uint32_t)b->size;
}

static void finish(struct blob *b, int policy)
{
    b->info.underflow = put(b, (struct rule){.verdict = policy});
    put(b, (struct rule){.verdict = ACCEPT});
}

static void end(struct blob *b)
{
    put(b, (struct rule){.chain = "ERROR"});
}

static const uint8_t NET[] = {10, 1, 0, 1};
static const struct net_xt_packet OUT = {.iif = "br0", .oif = "eth0", .src = NET, .src_prefix = 24};
static const struct net_xt_packet IN = {
    .iif = "eth0", .oif = "br0", .dst = NET, .dst_prefix = 24, .mapped = true};

static bool drops(const struct blob *b, const struct net_xt_packet *p, struct net_xt_drop *d)
{
    struct net_xt_legacy *t = NULL;
    assert_int_equal(net_xt_legacy_decode(AF_INET, &b->info, b->bytes, b->size, &t), 0);
    bool r = net_xt_legacy_drops(t, p, d);
    net_xt_legacy_free(t);
    return r;
}

static void policies(void **state)
{
    struct blob b;
    struct net_xt_drop d;
    (void)state;
    begin(&b), finish(&b, DROP), end(&b);
    assert_true(drops(&b, &OUT, &d));
    assert_string_equal(d.chain, "FORWARD");
    assert_int_equal(d.rule, 0);
    assert_false(d.has_user);
    begin(&b), finish(&b, ACCEPT), end(&b);
    assert_false(drops(&b, &OUT, &d));
}

/* `first`, then what a rule without interface drops: does the packet of our bridge meet that
 * drop? */
static bool passes_on(struct rule first, const struct net_xt_packet *p, unsigned *number)
{
    struct blob b;
    struct net_xt_drop d = {0};
    begin(&b);
    put(&b, first);
    put(&b, (struct rule){.verdict = DROP});
    finish(&b, ACCEPT), end(&b);
    bool r = drops(&b, p, &d);
    if (number)
        *number = d.rule;
    return r;
}

static void rules_by_link(void **state)
{
    unsigned number;
    (void)state;
    assert_false(passes_on((struct rule){.in = "br0", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.in = "br+", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.out = "br0", .verdict = ACCEPT}, &IN, NULL));
    assert_false(passes_on((struct rule){.in = "!docker0", .verdict = ACCEPT}, &OUT, NULL));
    assert_true(passes_on((struct rule){.in = "br01", .verdict = ACCEPT}, &OUT, &number));
    assert_int_equal(number, 2);
    assert_true(passes_on((struct rule){.in = "!br0", .verdict = ACCEPT}, &OUT, NULL));
    assert_true(passes_on((struct rule){.in = "br0", .verdict = ACCEPT}, &IN, NULL));
    assert_true(passes_on((struct rule){.in = "br0", .target = "REJECT"}, &OUT, &number));
    assert_int_equal(number, 1);
    assert_true(passes_on((struct rule){.target = "LOG"}, &OUT, NULL));
    assert_true(passes_on((struct rule){.jumps_on = true}, &OUT, NULL));
    /* RETURN leads to the policy, past the drop. */
    assert_false(passes_on((struct rule){.in = "br0", .verdict = RETURN}, &OUT, NULL));
}

static void rules_by_address(void **state)
{
    unsigned number;
    (void)state;
    assert_false(passes_on((struct rule){.src = "10.1.0.0/24", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.src = "10.0.0.0/8", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.dst = "10.1.0.0/16", .verdict = ACCEPT}, &IN, NULL));
    assert_true(passes_on((struct rule){.src = "10.2.0.0/16", .verdict = ACCEPT}, &OUT, NULL));
    /* Part of our network, or an address that is open: not known who is dropped. */
    assert_false(passes_on((struct rule){.src = "10.1.0.8/29", .verdict = ACCEPT}, &OUT, NULL));
    assert_true(passes_on((struct rule){.src = "10.1.0.1/32", .verdict = DROP}, &OUT, &number));
    assert_int_equal(number, 2);
    assert_true(passes_on((struct rule){.dst = "192.0.2.0/24", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.src = "192.0.2.0/24", .verdict = ACCEPT}, &IN, NULL));
}

static void rules_with_matches(void **state)
{
    const unsigned established =
        XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_BIT(IP_CT_RELATED);
    const unsigned new = XT_CONNTRACK_STATE_BIT(IP_CT_NEW);
    unsigned number;
    (void)state;
    assert_true(passes_on(
        (struct rule){.match = "conntrack", .states = established, .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on(
        (struct rule){
            .in = "br0", .match = "conntrack", .states = established | new, .verdict = ACCEPT},
        &OUT, NULL));
    assert_false(passes_on(
        (struct rule){.match = "conntrack", .states = XT_CONNTRACK_STATE_DNAT, .verdict = ACCEPT},
        &IN, NULL));
    assert_true(passes_on(
        (struct rule){.match = "conntrack", .states = XT_CONNTRACK_STATE_DNAT, .verdict = ACCEPT},
        &OUT, NULL));
    assert_false(passes_on((struct rule){.match = "comment", .verdict = ACCEPT}, &OUT, NULL));
    /* A port or a rate is of no bridge; an address set may be of ours. */
    assert_true(
        passes_on((struct rule){.match = "tcp", .proto = 6, .verdict = ACCEPT}, &OUT, NULL));
    assert_true(passes_on((struct rule){.match = "limit", .verdict = DROP}, &OUT, &number));
    assert_int_equal(number, 2);
    assert_false(passes_on((struct rule){.match = "set", .verdict = ACCEPT}, &OUT, NULL));
    assert_false(passes_on((struct rule){.match = "set", .verdict = RETURN}, &OUT, NULL));
    assert_true(passes_on((struct rule){.match = "set", .verdict = DROP}, &OUT, &number));
    assert_int_equal(number, 2);
    assert_false(passes_on((struct rule){.verdict = QUEUE}, &OUT, NULL));
    assert_false(passes_on((struct rule){.target = "NFQUEUE"}, &OUT, NULL));
}

/* FORWARD (policy DROP) jumps to DOCKER-USER, whose only rule is `inside`. */
static bool through_user(struct rule inside, bool goes, struct net_xt_drop *d)
{
    struct blob b;
    begin(&b);
    uint32_t jump = put(&b, (struct rule){.goes = goes});
    put(&b, (struct rule){.in = "br0", .verdict = ACCEPT});
    finish(&b, DROP);
    put(&b, (struct rule){.chain = "DOCKER-USER"});
    int to = (int)b.size;
    memcpy(b.bytes + jump + sizeof(struct ipt_entry) + offsetof(struct xt_standard_target, verdict),
           &to, sizeof to);
    put(&b, (struct rule){.target = "LOG"});
    put(&b, inside);
    put(&b, (struct rule){.verdict = RETURN});
    end(&b);
    return drops(&b, &OUT, d);
}

static void user_chains(void **state)
{
    struct net_xt_drop d;
    (void)state;
    assert_true(through_user((struct rule){.in = "br0", .verdict = DROP}, false, &d));
    assert_string_equal(d.chain, "DOCKER-USER");
    assert_int_equal(d.rule, 2);
    assert_true(d.has_user);
    /* Back from the chain, the next rule accepts; after a goto, the policy decides. */
    assert_false(through_user((struct rule){.in = "eth0", .verdict = DROP}, false, &d));
    assert_true(through_user((struct rule){.in = "eth0", .verdict = DROP}, true, &d));
    assert_string_equal(d.chain, "FORWARD");
    assert_int_equal(d.rule, 0);
}

static void ipv6(void **state)
{
    static const uint8_t net[16] = {0xfd, 0, 0, 1};
    const struct net_xt_packet p = {.iif = "br0", .oif = "eth0", .src = net, .src_prefix = 64};
    struct {
        struct ip6t_entry e;
        struct xt_standard_target t;
    } rules[2] = {0};
    struct net_xt_info info = {0, sizeof rules[0]};
    struct net_xt_drop d;
    (void)state;

    for (int i = 0; i < 2; i++) {
        rules[i].e.target_offset = sizeof rules[i].e;
        rules[i].e.next_offset = sizeof rules[i];
        rules[i].t.target.u.user.target_size = sizeof rules[i].t;
        rules[i].t.verdict = i ? DROP : ACCEPT;
    }
    memcpy(&rules[0].e.ipv6.src, net, 16);
    memset(&rules[0].e.ipv6.smsk, 0xff, 8);
    for (int other = 0; other < 2; other++) {
        struct net_xt_legacy *t = NULL;
        rules[0].e.ipv6.src.s6_addr[3] = other ? 2 : 1;
        assert_int_equal(net_xt_legacy_decode(AF_INET6, &info, rules, sizeof rules, &t), 0);
        assert_int_equal(net_xt_legacy_drops(t, &p, &d), other);
        net_xt_legacy_free(t);
    }
}

static int decode_exact(const struct blob *b, size_t size)
{
    struct net_xt_legacy *t = NULL;
    struct net_xt_drop d;
    uint8_t *exact = malloc(size ? size : 1); /* the sanitizer sees a read beyond it */
    memcpy(exact, b->bytes, size);
    int r = net_xt_legacy_decode(AF_INET, &b->info, exact, size, &t);
    free(exact);
    if (!r)
        (void)(net_xt_legacy_drops(t, &OUT, &d) || net_xt_legacy_drops(t, &IN, &d));
    net_xt_legacy_free(t);
    return r;
}

static void hostile(void **state)
{
    struct blob b, c;
    (void)state;
    begin(&b);
    put(&b, (struct rule){.in = "br0", .match = "conntrack", .states = 8, .verdict = ACCEPT});
    put(&b, (struct rule){.match = "tcp", .verdict = DROP});
    uint32_t jump = put(&b, (struct rule){.verdict = 0});
    finish(&b, DROP), end(&b);
    for (size_t size = 0; size < b.info.underflow + sizeof(struct ipt_entry); size++)
        assert_int_equal(decode_exact(&b, size), -EBADMSG);
    c = b;
    c.info.forward += 8;
    assert_int_equal(decode_exact(&c, c.size), -EBADMSG);
    c.info.forward = UINT32_MAX;
    assert_int_equal(decode_exact(&c, c.size), -EBADMSG);
    c.info = (struct net_xt_info){0, UINT32_MAX - 7};
    assert_int_equal(decode_exact(&c, c.size), -EBADMSG);
    /* A jump into the middle, beyond the end, or to itself without end: no finding. */
    for (int to = 1; to < 20000; to += to < 1000 ? 1 : 977) {
        c = b;
        memcpy(c.bytes + jump + sizeof(struct ipt_entry) +
                   offsetof(struct xt_standard_target, verdict),
               &to, sizeof to);
        assert_int_equal(decode_exact(&c, c.size), 0);
    }
    int self = (int)jump;
    c = b;
    memcpy(c.bytes + jump + sizeof(struct ipt_entry) + offsetof(struct xt_standard_target, verdict),
           &self, sizeof self);
    c.bytes[jump + offsetof(struct ipt_entry, ip.flags)] = IPT_F_GOTO;
    assert_int_equal(decode_exact(&c, c.size), 0);
    /* Every byte, changed: only memory errors matter, which the sanitizers see. */
    static const uint8_t values[] = {0, 1, 7, 8, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < b.size; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            c = b;
            c.bytes[i] = values[k];
            decode_exact(&c, c.size);
        }
}

static bool listed(const char *text)
{
    char path[] = "/tmp/berth-xt-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    bool r = net_xt_legacy_listed(path);
    unlink(path);
    return r;
}

static void lists(void **state)
{
    (void)state;
    assert_false(net_xt_legacy_listed("/nonexistent"));
    assert_false(net_xt_legacy_listed("/tmp"));
    assert_false(listed(""));
    assert_false(listed("nat\nmangle\n"));
    assert_false(listed("filters\nxfilter\nfilte\n"));
    assert_true(listed("filter\n"));
    assert_true(listed("nat\nfilter"));
}

/* A table that the kernel does not list is not asked for: the question would create it. */
static void not_listed(void **state)
{
    static const char *const paths[] = {"/proc/thread-self/net/ip_tables_names",
                                        "/proc/thread-self/net/ip6_tables_names"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct net_xt_legacy *t = (void *)1;
        struct net_error err;
        if (net_xt_legacy_listed(paths[i]))
            continue;
        assert_int_equal(net_xt_legacy_read(i ? AF_INET6 : AF_INET, &t, &err), 0);
        assert_null(t);
        assert_false(net_xt_legacy_listed(paths[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies),         cmocka_unit_test(rules_by_link),
        cmocka_unit_test(rules_by_address), cmocka_unit_test(rules_with_matches),
        cmocka_unit_test(user_chains),      cmocka_unit_test(ipv6),
        cmocka_unit_test(hostile),          cmocka_unit_test(lists),
        cmocka_unit_test(not_listed),
    };
    return cmocka_run_group_tests_name("netops_xt_legacy", tests, NULL, NULL);
}
