/* Matches of iptables, from their kernel structs: what each says of a first packet. */
#include "netops/xt_match.h"
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* These need the headers above. */
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_physdev.h>
#include <cmocka.h>

static const struct net_xt_way OUT = {.marked = true}, IN = {.mapped = true},
                               BETWEEN = {.bridged = true, .br_netfilter = true};

/* The kernel's structs come from messages, so they may lie at any address. */
static enum net_xt_holds ask(const char *name, uint32_t revision, const void *data, size_t size,
                             const struct net_xt_way *way)
{
    uint8_t odd[512];
    struct net_xt_match m = {.revision = revision, .data = odd + 1, .size = size};
    assert_true(size < sizeof odd);
    if (size)
        memcpy(odd + 1, data, size);
    snprintf(m.name, sizeof m.name, "%s", name);
    return net_xt_match_holds(&m, way);
}
#define ASK(name, revision, x, way) ask(name, revision, &(x), sizeof(x), way)

static void connections(void **state)
{
    struct xt_conntrack_mtinfo3 x = {.match_flags = XT_CONNTRACK_STATE};
    (void)state;
    x.state_mask = XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_DNAT;
    assert_int_equal(ASK("conntrack", 3, x, &OUT), NET_XT_NO);
    assert_int_equal(ASK("conntrack", 3, x, &IN), NET_XT_YES);
    x.invert_flags = XT_CONNTRACK_STATE;
    assert_int_equal(ASK("conntrack", 3, x, &OUT), NET_XT_YES);
    x.match_flags |= XT_CONNTRACK_DIRECTION;
    assert_int_equal(ASK("conntrack", 3, x, &OUT), NET_XT_YES);
    x.invert_flags |= XT_CONNTRACK_DIRECTION;
    assert_int_equal(ASK("conntrack", 3, x, &OUT), NET_XT_NO);
    x = (struct xt_conntrack_mtinfo3){.match_flags = XT_CONNTRACK_STATUS,
                                      .status_mask = IPS_SEEN_REPLY};
    assert_int_equal(ASK("conntrack", 3, x, &OUT), NET_XT_NO);
    x.match_flags |= XT_CONNTRACK_ORIGDST_PORT;
    x.status_mask = IPS_DST_NAT;
    assert_int_equal(ASK("conntrack", 3, x, &IN), NET_XT_NOT_OURS);
    x.match_flags |= XT_CONNTRACK_ORIGSRC;
    assert_int_equal(ASK("conntrack", 3, x, &IN), NET_XT_UNCLEAR);
    assert_int_equal(ASK("conntrack", 1, x, &IN), NET_XT_UNCLEAR);
    assert_int_equal(ask("conntrack", 3, &x, 8, &IN), NET_XT_UNCLEAR);
}

static void ports_of_bridges(void **state)
{
    struct xt_physdev_info x = {.bitmask = XT_PHYSDEV_OP_BRIDGED};
    (void)state;
    assert_int_equal(ASK("physdev", 0, x, &OUT), NET_XT_NO);
    assert_int_equal(ASK("physdev", 0, x, &BETWEEN), NET_XT_YES);
    x.bitmask = XT_PHYSDEV_OP_IN;
    assert_int_equal(ASK("physdev", 0, x, &OUT), NET_XT_NO);
    assert_int_equal(ASK("physdev", 0, x, &BETWEEN), NET_XT_UNCLEAR);
    x.invert = XT_PHYSDEV_OP_IN;
    assert_int_equal(ASK("physdev", 0, x, &OUT), NET_XT_YES);
}

static void addresses_and_marks(void **state)
{
    struct xt_addrtype_info old = {.dest = XT_ADDRTYPE_LOCAL};
    struct xt_addrtype_info_v1 x = {.dest = XT_ADDRTYPE_LOCAL};
    struct xt_mark_mtinfo1 mark = {.mark = 1, .mask = 1};
    (void)state;
    assert_int_equal(ASK("addrtype", 0, old, &OUT), NET_XT_NO);
    old.invert_dest = 1;
    assert_int_equal(ASK("addrtype", 0, old, &OUT), NET_XT_YES);
    assert_int_equal(ASK("addrtype", 1, x, &OUT), NET_XT_NO);
    x.flags = XT_ADDRTYPE_LIMIT_IFACE_IN;
    assert_int_equal(ASK("addrtype", 1, x, &OUT), NET_XT_UNCLEAR);
    assert_int_equal(ASK("mark", 1, mark, &OUT), NET_XT_UNCLEAR);
    assert_int_equal(ASK("mark", 1, mark, &IN), NET_XT_NO);
    mark.invert = 1;
    assert_int_equal(ASK("connmark", 1, mark, &IN), NET_XT_YES);
}

static void others(void **state)
{
    static const char *const short_of[] = {"conntrack", "state", "physdev",
                                           "addrtype",  "mark",  "pkttype"};
    (void)state;
    for (size_t i = 0; i < sizeof short_of / sizeof short_of[0]; i++)
        assert_int_equal(ask(short_of[i], 1, NULL, 0, &IN), NET_XT_UNCLEAR);
    assert_int_equal(ask("comment", 0, NULL, 0, &OUT), NET_XT_YES);
    assert_int_equal(ask("multiport", 1, NULL, 0, &OUT), NET_XT_NOT_OURS);
    assert_int_equal(ask("set", 4, NULL, 0, &OUT), NET_XT_UNCLEAR);
    assert_int_equal(ask("", 0, NULL, 0, &OUT), NET_XT_UNCLEAR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections),
        cmocka_unit_test(ports_of_bridges),
        cmocka_unit_test(addresses_and_marks),
        cmocka_unit_test(others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
