/* Batches over a fake kernel: every request is answered once, a missing answer is a failure, and a
 * refusal names the right thing. Also the sentences of errors. */
#include "netops/address.h"
#include "netops/batch.h"
#include "netops/link.h"
#include "netops/route.h"
#include "netops_fake.h"
#include <arpa/inet.h>
#include <stdlib.h>

/* Answers each request with what `plan` says for it; the answers come backwards to show that
 * order does not matter. */
enum act { FINE, REFUSE, NOTHING, TWICE, FORGE, STRANGER, EXIST, BAD_MAC, OFFSET };
struct plan {
    const enum act *acts;
    size_t n;
    uint32_t offset;
};
struct world {
    struct fake k;
    struct net_batch *b;
    struct net_error err;
    int refused;
    struct net_error last;
    struct plan plan;
};
static int up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct net_port *p;
    *state = w;
    return !w || net_port_test_ops(&fake_ops, &w->k, NETLINK_ROUTE, &p) ||
           net_batch_over(p, &w->b, NULL);
}
static int down(void **state)
{
    struct world *w = *state;
    net_batch_close(w->b);
    free(w);
    return 0;
}
static void refused(void *arg, const struct net_error *e)
{
    struct world *w = arg;
    w->refused++;
    w->last = *e;
}
static int send_all(struct world *w)
{
    w->refused = 0;
    return net_batch_send(w->b, refused, w, &w->err);
}
static const char *said(const struct net_error *e)
{
    static char text[400];
    net_error_format(e, text, sizeof text);
    return text;
}

static void answer(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    struct plan *plan = k->arg;
    const struct nlmsghdr *list[64];
    size_t n = 0;
    for (int left = (int)size; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
        assert_true((m->nlmsg_flags & (NLM_F_REQUEST | NLM_F_ACK)) == (NLM_F_REQUEST | NLM_F_ACK));
        assert_true(n < 64);
        list[n++] = m;
    }
    while (n--) {
        uint32_t seq = list[n]->nlmsg_seq;
        switch (plan->acts[n % plan->n]) {
        case FINE:
            fake_ack(k, seq, 0, NULL, 0);
            break;
        case REFUSE:
            fake_ack(k, seq, -EINVAL, "mtu less than device minimum", 0);
            break;
        case NOTHING:
            break;
        case TWICE:
            fake_ack(k, seq, 0, NULL, 0);
            fake_ack(k, seq, -EINVAL, NULL, 0);
            break;
        case FORGE:
            fake_ack(k, seq, -EPERM, NULL, 0)->from = 4711;
            fake_ack(k, seq, 0, NULL, 0);
            break;
        case STRANGER:
            fake_ack(k, seq - 100000, -EPERM, NULL, 0);
            fake_ack(k, seq, 0, NULL, 0);
            break;
        case EXIST:
            fake_ack(k, seq, -EEXIST, NULL, 0);
            break;
        case BAD_MAC:
            fake_ack(k, seq, -EADDRNOTAVAIL, NULL, 0);
            break;
        case OFFSET:
            fake_ack(k, seq, -ERANGE, "Attribute failed policy validation", plan->offset);
            break;
        }
    }
}
static void use(struct world *w, const enum act *acts, size_t n)
{
    w->plan = (struct plan){.acts = acts, .n = n};
    w->k.on_send = answer;
    w->k.arg = &w->plan;
}
static void three(struct world *w)
{
    struct net_link_ref a = {.index = 3, .name = "a"}, b = {.name = "br0"}, c = {.index = 5};
    assert_int_equal(net_batch_link_up(w->b, a, true, 11), 0);
    assert_int_equal(net_batch_link_mtu(w->b, b, 1400, 12), 0);
    assert_int_equal(net_batch_link_group(w->b, c, 190, 13), 0);
    assert_int_equal(net_batch_count(w->b), 3);
}

static void test_all_fine(void **state)
{
    struct world *w = *state;
    static const enum act acts[] = {FINE};
    use(w, acts, sizeof acts / sizeof *acts);
    assert_int_equal(send_all(w), 0); /* nothing to send: nothing is sent */
    assert_int_equal(w->k.sends, 0);
    for (int round = 0; round < 3; round++) {
        three(w);
        assert_int_equal(send_all(w), 0);
        assert_int_equal(net_batch_count(w->b), 0);
    }
    assert_int_equal(w->k.sends, 3);
    assert_int_equal(w->k.receives, 3);
}

static void test_refused(void **state)
{
    struct world *w = *state;
    static const enum act acts[] = {FINE, REFUSE, FINE};
    use(w, acts, sizeof acts / sizeof *acts);
    three(w);
    assert_int_equal(send_all(w), -EINVAL);
    assert_int_equal(w->refused, 1);
    assert_int_equal(w->err.tag, 12);
    assert_int_equal(w->err.code, EINVAL);
    assert_string_equal(said(&w->err), "cannot set the mtu of link 'br0': Invalid argument "
                                       "(kernel: mtu less than device minimum)");
}

static void test_strange_answers(void **state)
{
    struct world *w = *state;
    static const enum act acts[] = {TWICE, FORGE, STRANGER};
    use(w, acts, sizeof acts / sizeof *acts);
    three(w);
    /* backwards: the second answer to the first request is the last datagram, and is not even
     * waited for */
    assert_int_equal(send_all(w), 0);
    three(w);
    assert_int_equal(send_all(w), 0);
}

static void test_missing(void **state)
{
    struct world *w = *state;
    static const enum act acts[] = {FINE, NOTHING, FINE};
    use(w, acts, sizeof acts / sizeof *acts);
    three(w);
    assert_int_equal(send_all(w), -ETIMEDOUT);
    assert_int_equal(w->refused, 1);
    assert_int_equal(w->err.tag, 12);
    assert_string_equal(said(&w->err),
                        "cannot set the mtu of link 'br0': no answer from the kernel");
}

static void overrun(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    fake_ack(k, m->nlmsg_seq, 0, NULL, 0);
    fake_error(k, -ENOBUFS);
}
static void test_lost_acks(void **state)
{
    struct world *w = *state;
    w->k.on_send = overrun;
    three(w);
    assert_int_equal(send_all(w), -ENOBUFS);
    assert_int_equal(w->refused, 2);
    assert_int_equal(w->err.tag, 12);
    assert_string_equal(said(&w->err), "cannot set the mtu of link 'br0': the kernel dropped "
                                       "answers: the outcome is unknown, read again");
}

static void cut_ack(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    fake_ack(k, m->nlmsg_seq, 0, NULL, 0)->cut = true;
    fake_ack(k, m->nlmsg_seq + 1, 0, NULL, 0);
    fake_ack(k, m->nlmsg_seq + 2, 0, NULL, 0);
}
static void test_cut_ack(void **state)
{
    struct world *w = *state;
    w->k.on_send = cut_ack;
    three(w);
    assert_int_equal(send_all(w), -EMSGSIZE);
    assert_int_equal(w->refused, 1);
    assert_int_equal(w->err.tag, 11);
}

static void test_send_fails(void **state)
{
    struct world *w = *state;
    w->k.send_error = -ENOBUFS;
    three(w);
    assert_int_equal(send_all(w), -ENOMEM);
    assert_int_equal(w->refused, 3);
    assert_int_equal(net_batch_count(w->b), 0);
}

static void test_marks(void **state)
{
    struct world *w = *state;
    static const enum act acts[] = {OFFSET};
    const uint8_t mac[6] = {2};
    struct net_bridge_new n = {.name = "br0",
                               .group = 190,
                               .mac = mac,
                               .mtu = 12,
                               .name_tag = 21,
                               .mac_tag = 22,
                               .mtu_tag = 23};
    use(w, acts, sizeof acts / sizeof *acts);
    /* head 16 + ifinfomsg 16 = 32: name (8), group (8), MAC (12), MTU */
    static const struct {
        uint32_t offset, tag;
    } rows[] = {{32, 21}, {40, 20}, {48, 22}, {60, 23}, {0, 20}, {4000, 20}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        w->plan.offset = rows[i].offset;
        assert_int_equal(net_batch_bridge_new(w->b, &n, 20), 0);
        assert_int_equal(send_all(w), -ERANGE);
        assert_int_equal(w->err.tag, rows[i].tag);
        assert_string_equal(said(&w->err),
                            "cannot create bridge 'br0': Numerical result out of range "
                            "(kernel: Attribute failed policy validation)");
    }
}

static void test_sentences(void **state)
{
    struct world *w = *state;
    static const enum act exist[] = {EXIST}, bad_mac[] = {BAD_MAC};
    struct net_bridge_new n = {.name = "br0"};
    struct net_address a = {.index = 2, .family = AF_INET6, .prefix = 64};
    struct net_route r = {
        .family = AF_INET, .oif = 2, .has_gateway = true, .gateway = {10, 0, 0, 1}};
    inet_pton(AF_INET6, "fd00::1", a.bytes);
    use(w, exist, sizeof exist / sizeof *exist);
    net_batch_bridge_new(w->b, &n, 1);
    send_all(w);
    assert_string_equal(
        said(&w->err),
        "cannot create bridge 'br0': a link of that name exists already (or an alternative name, "
        "see 'ip -d link')");
    net_batch_address_new(w->b, &a, "eth0", 1);
    send_all(w);
    assert_string_equal(
        said(&w->err),
        "cannot add address fd00::1/64 on link 'eth0': the link has this address already");
    net_batch_route_new(w->b, &r, "eth0", 1);
    send_all(w);
    assert_string_equal(
        said(&w->err),
        "cannot add route default via 10.0.0.1 on link 'eth0': a route to this destination exists "
        "already");
    r.prefix = 16;
    r.dst[0] = 192;
    r.dst[1] = 168;
    net_batch_route_new(w->b, &r, NULL, 1);
    send_all(w);
    assert_string_equal(
        said(&w->err),
        "cannot add route 192.168.0.0/16 via 10.0.0.1: a route to this destination exists already");
    w->plan.acts = bad_mac;
    net_batch_link_mac(w->b, (struct net_link_ref){.index = 4}, (const uint8_t[6]){1}, 1);
    send_all(w);
    assert_string_equal(said(&w->err), "cannot set the MAC of link 4: not a usable (unicast) MAC");
    net_batch_group_del(w->b, 191, 1);
    send_all(w);
    assert_string_equal(said(&w->err),
                        "cannot delete the links of group 191: Cannot assign requested address");
    struct net_error e;
    net_fail(&e, EXFULL, "set the master of", "link '%s'", "v\033[1m");
    assert_string_equal(
        said(&e),
        "cannot set the master of link 'v?[1m': the bridge is full: Linux takes 1023 ports");
    net_error_kernel(&e, "\nx", 2);
    assert_string_equal(e.kernel, "?x");
    assert_int_equal(net_fail(NULL, EPERM, "x", "y"), -EPERM);
    char tiny[8];
    net_error_format(&e, tiny, sizeof tiny);
    assert_string_equal(tiny, "cannot ");
}

/* What could not be queued is remembered: the send fails with it, and nothing that was to go
 * along goes. */
static void test_not_queued(void **state)
{
    struct world *w = *state;
    struct net_address a = {.index = 2, .family = AF_INET, .prefix = 33};
    assert_int_equal(net_batch_link_up(w->b, (struct net_link_ref){.index = 2}, true, 7), 0);
    assert_int_equal(net_batch_address_new(w->b, &a, "eth0", 8), -EINVAL);
    assert_int_equal(net_batch_link_del(w->b, (struct net_link_ref){0}, 9), -EINVAL);
    assert_int_equal(net_batch_link_up(w->b, (struct net_link_ref){.index = 3}, true, 10), 0);
    assert_int_equal(send_all(w), -EINVAL);
    assert_int_equal(w->k.sends, 0);
    assert_int_equal(w->err.tag, 8);
    assert_string_equal(said(&w->err), "cannot add 'eth0': Invalid argument");
    assert_int_equal(w->refused, 3);
    assert_int_equal(w->last.tag, 10);
    assert_int_equal(w->last.code, ECANCELED);
    /* Nothing of it is left for the next. */
    assert_int_equal(net_batch_count(w->b), 0);
    assert_int_equal(send_all(w), 0);
    assert_int_equal(net_batch_address_new(w->b, &a, "eth0", 8), -EINVAL);
    assert_int_equal(send_all(w), -EINVAL);
    assert_int_equal(w->refused, 1);
}

static void test_bad_arguments(void **state)
{
    struct world *w = *state;
    struct net_bridge_new n = {.name = "br%d"};
    struct net_veth_new v = {.name = "v", .peer_name = "eth0", .peer_netns_fd = -1};
    struct net_address a = {.index = 2, .family = AF_INET, .prefix = 33};
    struct net_route r = {.family = AF_INET};
    assert_int_equal(net_batch_bridge_new(w->b, &n, 1), -EINVAL);
    n.name = "sixteen-letters-";
    assert_int_equal(net_batch_bridge_new(w->b, &n, 1), -EINVAL);
    n.name = "";
    assert_int_equal(net_batch_bridge_new(w->b, &n, 1), -EINVAL);
    assert_int_equal(net_batch_veth_new(w->b, &v, 1), -EINVAL);
    assert_int_equal(net_batch_address_new(w->b, &a, "x", 1), -EINVAL);
    a.prefix = 32;
    a.index = 0;
    assert_int_equal(net_batch_address_new(w->b, &a, "x", 1), -EINVAL);
    assert_int_equal(net_batch_route_new(w->b, &r, "x", 1), -EINVAL);
    assert_int_equal(net_batch_link_del(w->b, (struct net_link_ref){0}, 1), -EINVAL);
    assert_int_equal(net_batch_link_del(w->b, (struct net_link_ref){.name = ""}, 1), -EINVAL);
    assert_int_equal(net_batch_group_del(w->b, 0, 1), -EINVAL);
    assert_int_equal(net_batch_count(w->b), 0);
}

/* More requests than one send may carry; the fake has no buffers to force, so only the count of
 * acks cuts. */
static void many(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    unsigned *n = k->arg;
    for (int left = (int)size; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
        struct nlmsgerr e = {.msg = {.nlmsg_len = NLMSG_HDRLEN}};
        if (k->tail - k->head < FAKE_QUEUE - 1) {
            fake_message(fake_add(k), NLMSG_ERROR, NLM_F_CAPPED, m->nlmsg_seq, &e, sizeof e);
        } else {
            struct fake_datagram *d = &k->q[(k->tail - 1) % FAKE_QUEUE];
            if (d->length + 36 <= 512)
                fake_message(d, NLMSG_ERROR, NLM_F_CAPPED, m->nlmsg_seq, &e, sizeof e);
        }
        ++*n;
    }
}
static void test_many(void **state)
{
    struct world *w = *state;
    unsigned n = 0;
    w->k.on_send = many;
    w->k.arg = &n;
    for (int i = 0; i < 200; i++)
        assert_int_equal(net_batch_link_up(w->b, (struct net_link_ref){.index = 10 + i}, true, 1),
                         0);
    assert_int_equal(send_all(w), 0);
    assert_int_equal(n, 200);
    assert_int_equal(w->k.sends, 1);
    assert_true(w->k.receives <= 4);
}

/* What is encoded reads back the same. */
static struct nlmsghdr kept_head;
static _Alignas(8) uint8_t kept[512];
static void keep(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    assert_true(size <= sizeof kept);
    memcpy(kept, m, size);
    kept_head = *m;
    fake_ack(k, m->nlmsg_seq, 0, NULL, 0);
}
static void test_round_trip(void **state)
{
    struct world *w = *state;
    struct net_address a = {.index = 2,
                            .family = AF_INET6,
                            .prefix = 64,
                            .scope = 0,
                            .bytes = {0xfd, 1}},
                       b;
    struct net_route r = {.family = AF_INET,
                          .prefix = 8,
                          .oif = 4,
                          .metric = 7,
                          .dst = {10},
                          .has_gateway = true,
                          .gateway = {1, 2, 3, 4}},
                     s;
    struct net_link l;
    const uint8_t mac[6] = {2, 1, 2, 3, 4, 5};
    w->k.on_send = keep;
    assert_int_equal(net_batch_address_new(w->b, &a, "x", 1), 0);
    assert_int_equal(send_all(w), 0);
    assert_true(net_address_decode((void *)kept, &b));
    assert_int_equal(b.proto, NET_PROTO_BERTH);
    assert_true(b.flags & 2 /* IFA_F_NODAD */);
    assert_true(b.index == 2 && b.prefix == 64 && b.family == AF_INET6 &&
                !memcmp(a.bytes, b.bytes, 16));
    /* in a block of its own size: a sanitizer sees any step outside */
    for (uint32_t cut = 0; cut < kept_head.nlmsg_len; cut++) {
        struct nlmsghdr *m = malloc(cut < sizeof *m ? sizeof *m : cut);
        memcpy(m, kept, cut < sizeof *m ? sizeof *m : cut);
        m->nlmsg_len = cut;
        (void)net_address_decode(m, &b);
        free(m);
    }
    assert_int_equal(net_batch_route_new(w->b, &r, "x", 1), 0);
    assert_int_equal(send_all(w), 0);
    assert_true(net_route_decode((void *)kept, &s));
    assert_true(s.protocol == NET_PROTO_BERTH && s.oif == 4 && s.metric == 7 && s.prefix == 8 &&
                s.dst[0] == 10);
    assert_true(s.has_gateway && !memcmp(s.gateway, r.gateway, 4) && s.table == RT_TABLE_MAIN &&
                s.type == RTN_UNICAST);
    for (uint32_t cut = 0; cut < kept_head.nlmsg_len; cut++) {
        struct nlmsghdr *m = malloc(cut < sizeof *m ? sizeof *m : cut);
        memcpy(m, kept, cut < sizeof *m ? sizeof *m : cut);
        m->nlmsg_len = cut;
        (void)net_route_decode(m, &s);
        free(m);
    }
    struct net_veth_new v = {.name = "v0",
                             .index = 3,
                             .master = 2,
                             .group = 190,
                             .mtu = 1400,
                             .mac = mac,
                             .peer_name = "eth0",
                             .peer_netns_fd = 0};
    assert_int_equal(net_batch_veth_new(w->b, &v, 1), 0);
    assert_int_equal(send_all(w), 0);
    assert_true(net_link_decode((void *)kept, &l));
    assert_true(l.index == 3 && l.master == 2 && l.group == 190 && l.mtu == 1400 &&
                !strcmp(l.kind, "veth") && l.has_mac);
    for (uint32_t cut = 0; cut < kept_head.nlmsg_len; cut++) {
        struct nlmsghdr *m = malloc(cut < sizeof *m ? sizeof *m : cut);
        memcpy(m, kept, cut < sizeof *m ? sizeof *m : cut);
        m->nlmsg_len = cut;
        (void)net_link_decode(m, &l);
        free(m);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {
        TEST(test_all_fine),      TEST(test_refused),   TEST(test_strange_answers),
        TEST(test_missing),       TEST(test_lost_acks), TEST(test_cut_ack),
        TEST(test_send_fails),    TEST(test_marks),     TEST(test_sentences),
        TEST(test_bad_arguments), TEST(test_many),      TEST(test_round_trip),
        TEST(test_not_queued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
