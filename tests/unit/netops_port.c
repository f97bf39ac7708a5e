/* Dumps and single questions over a fake kernel: what must never pass for "nothing is there". */
#include "netops/link.h"
#include "netops/monitor.h"
#include "netops/netns.h"
#include "netops/route.h"
#include "netops_fake.h"
#include <linux/if_addr.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

struct seen {
    int n, restarts, stop;
    char names[256];
};
static int each_link(void *arg, const struct net_link *l)
{
    struct seen *s = arg;
    s->n++;
    size_t at = strlen(s->names);
    snprintf(s->names + at, sizeof s->names - at, "%s ", l->name);
    return s->stop;
}
static void again(void *arg)
{
    struct seen *s = arg;
    s->restarts++;
    s->n = 0;
    s->names[0] = '\0';
}

struct world {
    struct fake k;
    struct net_port *p;
    struct seen s;
    struct net_error err;
};
static int up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    return !w || net_port_test_ops(&fake_ops, &w->k, NETLINK_ROUTE, &w->p);
}
static int down(void **state)
{
    struct world *w = *state;
    net_port_close(w->p);
    free(w);
    return 0;
}
static int dump(struct world *w)
{
    return net_link_dump(w->p, each_link, NULL, again, &w->s, &w->err);
}

static void good_dump(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    assert_true((m->nlmsg_flags & (NLM_F_REQUEST | NLM_F_DUMP)) == (NLM_F_REQUEST | NLM_F_DUMP));
    struct fake_datagram *d = fake_add(k);
    fake_link(d, NLM_F_MULTI, m->nlmsg_seq, 1, "lo");
    fake_link(d, NLM_F_MULTI, m->nlmsg_seq, 2, "br0");
    fake_done(k, m->nlmsg_seq, 0, 0);
}
static void test_dump(void **state)
{
    struct world *w = *state;
    w->k.on_send = good_dump;
    assert_int_equal(dump(w), 0);
    assert_string_equal(w->s.names, "lo br0 ");
    assert_int_equal(w->s.restarts, 0);
    assert_int_equal(w->k.receives, 1);
}

static void done_error(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    struct fake_datagram *d = fake_done(k, m->nlmsg_seq, 0, -EINVAL);
    fake_text(d, (void *)d->bytes, "Filter by device index not supported for link dumps", 0);
}
static void test_done_with_error(void **state)
{
    struct world *w = *state;
    char text[300];
    w->k.on_send = done_error;
    assert_int_equal(dump(w), -EINVAL);
    assert_int_equal(w->s.n, 0);
    net_error_format(&w->err, text, sizeof text);
    assert_string_equal(text, "cannot read links: Invalid argument (kernel: Filter by device index "
                              "not supported for link dumps)");
}

/* Torn `*arg` times, the mark on one message of several; then good. */
static void torn(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    int *left = k->arg;
    if (!*left) {
        good_dump(k, m, size);
        return;
    }
    --*left;
    struct fake_datagram *d = fake_add(k);
    fake_link(d, NLM_F_MULTI, m->nlmsg_seq, 1, "lo");
    fake_link(d, NLM_F_MULTI | (*left % 2 ? NLM_F_DUMP_INTR : 0), m->nlmsg_seq, 3, "torn");
    fake_done(k, m->nlmsg_seq, *left % 2 ? 0 : NLM_F_DUMP_INTR, 0);
}
static void test_torn(void **state)
{
    static const struct {
        int times, result, restarts;
    } rows[] = {{1, 0, 1}, {9, 0, 9}, {10, 0, 10}, {11, -EINTR, 10}, {1000, -EINTR, 10}};
    struct world *w = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int left = rows[i].times;
        w->s = (struct seen){0};
        w->k.on_send = torn;
        w->k.arg = &left;
        assert_int_equal(dump(w), rows[i].result);
        assert_int_equal(w->s.restarts, rows[i].restarts);
        if (!rows[i].result)
            assert_string_equal(w->s.names, "lo br0 ");
    }
}

static void forged(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    struct fake_datagram *d = fake_add(k);
    fake_link(d, NLM_F_MULTI, m->nlmsg_seq, 9, "forged");
    d->from = 4242;
    fake_done(k, m->nlmsg_seq, 0, 0)->from = 4242;
    d = fake_add(k); /* the kernel's, but of an earlier question */
    fake_link(d, NLM_F_MULTI, m->nlmsg_seq - 1, 9, "stale");
    fake_done(k, m->nlmsg_seq - 1, 0, 0);
    good_dump(k, m, size);
}
static void test_forged(void **state)
{
    struct world *w = *state;
    w->k.on_send = forged;
    assert_int_equal(dump(w), 0);
    assert_string_equal(w->s.names, "lo br0 ");
}

static void silent(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    fake_link(fake_add(k), NLM_F_MULTI, m->nlmsg_seq, 1, "lo");
}
static void test_no_done(void **state)
{
    struct world *w = *state;
    w->k.on_send = silent;
    assert_int_equal(dump(w), -ETIMEDOUT);
}

static void cut(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    int *left = k->arg;
    if (*left && (*left)--) {
        fake_link(fake_add(k), NLM_F_MULTI, m->nlmsg_seq, 1, "lo");
        fake_link(fake_add(k), NLM_F_MULTI, m->nlmsg_seq, 1, "cut");
        k->q[(k->tail - 1) % FAKE_QUEUE].cut = true; /* the end of the dump was in it */
    } else
        good_dump(k, m, size);
}
static void test_cut(void **state)
{
    struct world *w = *state;
    int left = 1;
    w->k.on_send = cut;
    w->k.arg = &left;
    assert_int_equal(dump(w), 0);
    assert_string_equal(w->s.names, "lo br0 ");
    left = 1000;
    w->s = (struct seen){0};
    assert_int_equal(dump(w), -EMSGSIZE);
    assert_true(w->k.sends <= 8);
}

static void lossy(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    int *left = k->arg;
    if (*left && (*left)--) {
        fake_link(fake_add(k), NLM_F_MULTI, m->nlmsg_seq, 1, "lost");
        fake_error(k, -ENOBUFS);
    } else
        good_dump(k, m, size);
}
static void test_lost(void **state)
{
    struct world *w = *state;
    int left = 2;
    w->k.on_send = lossy;
    w->k.arg = &left;
    assert_int_equal(dump(w), 0);
    assert_int_equal(w->s.restarts, 2);
    assert_string_equal(w->s.names, "lo br0 ");
}

static void short_message(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    struct fake_datagram *d = fake_add(k);
    struct nlmsghdr *l = fake_link(d, NLM_F_MULTI, m->nlmsg_seq, 1, "lo");
    l->nlmsg_len = *(uint32_t *)k->arg;
    fake_done(k, m->nlmsg_seq, 0, 0);
}
static void test_nonsense(void **state)
{
    struct world *w = *state;
    const uint32_t lengths[] = {0, 8, 15, 17, 31, 34, 36, 500, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint32_t length = lengths[i];
        w->k.head = w->k.tail = 0;
        w->k.arg = &length;
        w->k.on_send = short_message;
        assert_true(dump(w) < 0);
        assert_int_equal(w->s.n, 0);
    }
}

static void test_stop(void **state)
{
    struct world *w = *state;
    w->k.on_send = good_dump;
    w->s.stop = -ENOMEM;
    assert_int_equal(dump(w), -ENOMEM);
    assert_int_equal(w->s.n, 1);
    assert_int_equal(w->k.head, w->k.tail); /* read to its end: the next dump is not refused */
}

static void signals(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    fake_error(k, -EINTR);
    good_dump(k, m, size);
}
static void test_signal(void **state)
{
    struct world *w = *state;
    w->k.on_send = signals;
    assert_int_equal(dump(w), 0);
    assert_int_equal(w->s.n, 2);
}

static void test_send_fails(void **state)
{
    struct world *w = *state;
    w->k.send_error = -EPERM;
    assert_int_equal(dump(w), -EPERM);
    assert_int_equal(w->err.code, EPERM);
    w->k.send_error = -ENOBUFS; /* nothing went out: not the "outcome unknown" of lost answers */
    assert_int_equal(dump(w), -ENOMEM);
}

static void no_device(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    fake_ack(k, m->nlmsg_seq, -ENODEV, NULL, 0);
}
static void one_link(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    (void)size;
    assert_false(m->nlmsg_flags & NLM_F_DUMP);
    fake_link(fake_add(k), 0, m->nlmsg_seq, 7, "br7");
}
static void test_get(void **state)
{
    struct world *w = *state;
    struct net_link l = {.index = 99};
    char text[200];
    w->k.on_send = no_device;
    assert_int_equal(net_link_get(w->p, "br7", 0, &l, &w->err), -ENODEV);
    assert_int_equal(l.index, 99);
    net_error_format(&w->err, text, sizeof text);
    assert_string_equal(text, "cannot read link 'br7': there is no such link");
    w->k.on_send = one_link;
    assert_int_equal(net_link_get(w->p, "br7", 0, &l, &w->err), 0);
    assert_int_equal(l.index, 7);
    assert_int_equal(net_link_get(w->p, "", 0, &l, &w->err), -ENODEV);
}

/* ---- the inside of a namespace ---- */

static void inside(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    int *mode = k->arg;
    for (int left = (int)size; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
        if (m->nlmsg_type == RTM_GETLINK &&
            ((const struct ifinfomsg *)mnl_nlmsg_get_payload(m))->ifi_index == 1) {
            fake_link(fake_add(k), 0, m->nlmsg_seq, 1, "lo");
        } else if (m->nlmsg_type == RTM_GETLINK) {
            if (*mode == 1)
                fake_ack(k, m->nlmsg_seq, -ENODEV, NULL, 0);
            else
                fake_link(fake_add(k), 0, m->nlmsg_seq, 2, *mode == 2 ? "other" : "eth0");
        } else if (m->nlmsg_type == RTM_GETADDR) {
            struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 2};
            uint8_t v4[4] = {10, 0, 0, 1};
            struct fake_datagram *d = fake_add(k);
            struct nlmsghdr *q =
                fake_message(d, RTM_NEWADDR, NLM_F_MULTI | (*mode == 3 ? NLM_F_DUMP_INTR : 0),
                             m->nlmsg_seq, &a, sizeof a);
            mnl_attr_put(q, 2 /* IFA_LOCAL */, *mode == 5 ? 3 : 4, v4);
            d->length = NLMSG_ALIGN(q->nlmsg_len);
            fake_done(k, m->nlmsg_seq, 0, *mode == 4 ? -EPERM : 0);
            if (*mode == 3)
                *mode = 0;
        } else {
            assert_int_equal(m->nlmsg_type, RTM_GETROUTE);
            if (*mode == 1)
                fake_ack(k, m->nlmsg_seq, -ENOENT, NULL, 0);
            else
                fake_done(k, m->nlmsg_seq, 0, 0);
        }
    }
}
static void test_inside(void **state)
{
    struct world *w = *state;
    static struct net_inside in;
    static const struct {
        int mode, result;
        bool eth0;
        size_t addresses;
    } rows[] = {{0, 0, true, 1},         /* all is well */
                {1, 0, false, 0},        /* no eth0, never a route: answers */
                {2, 0, false, 0},        /* eth0 is but an alternative name */
                {3, 0, true, 1},         /* torn once */
                {4, -EPERM, true, 0},    /* DONE with an error */
                {5, -EBADMSG, true, 0}}; /* an address that makes no sense */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int mode = rows[i].mode;
        w->k.on_send = inside;
        w->k.arg = &mode;
        assert_int_equal(net_inside_read_port(w->p, NULL, NULL, &in, &w->err), rows[i].result);
        if (rows[i].result)
            continue;
        assert_true(in.has_lo);
        assert_int_equal(in.has_eth0, rows[i].eth0);
        assert_int_equal(in.n_address, rows[i].addresses);
        assert_int_equal(in.n_route, 0);
        net_inside_done(&in);
    }
    w->k.sends = w->k.receives = 0;
    int mode = 0;
    w->k.arg = &mode;
    assert_int_equal(net_inside_read_port(w->p, NULL, NULL, &in, &w->err), 0);
    assert_int_equal(w->k.sends, 2);
    assert_int_equal(w->k.receives, 2);
    net_inside_done(&in);
}

/* The short way. `whole`: this kernel ends a dump in the datagram that holds all of it, so the next
 * one may follow at once; else one that comes in the same send is refused. */
struct kernel {
    bool whole, dumping, lo_up, foreign;
    int refused, dumps;
};

static void fake_eth0(struct fake *k, uint32_t seq, const struct kernel *kernel)
{
    struct fake_datagram *d = fake_add(k);
    struct nlmsghdr *m = fake_link(d, NLM_F_MULTI, seq, 1, "lo");
    ((struct ifinfomsg *)mnl_nlmsg_get_payload(m))->ifi_flags = kernel->lo_up ? IFF_UP : 0;
    fake_link(d, NLM_F_MULTI, seq, 2, "eth0");
}

static void fake_address(struct fake *k, uint32_t seq, uint8_t family)
{
    struct ifaddrmsg a = {.ifa_family = family, .ifa_prefixlen = 24, .ifa_index = 2};
    uint8_t bytes[16] = {10, 0, 0, 1};
    struct fake_datagram *d = fake_add(k);
    struct nlmsghdr *q = fake_message(d, RTM_NEWADDR, NLM_F_MULTI, seq, &a, sizeof a);
    mnl_attr_put(q, IFA_ADDRESS, family == AF_INET ? 4 : 16, bytes);
    if (family == AF_INET)
        mnl_attr_put(q, IFA_LOCAL, 4, bytes);
    d->length = NLMSG_ALIGN(q->nlmsg_len);
}

static void fake_way(struct fake *k, uint32_t seq, const struct kernel *kernel)
{
    struct rtmsg r = {.rtm_family = AF_INET,
                      .rtm_table = RT_TABLE_MAIN,
                      .rtm_type = RTN_UNICAST,
                      .rtm_protocol = kernel->foreign ? RTPROT_BOOT : NET_PROTO_BERTH};
    uint8_t gateway[4] = {10, 0, 0, 254};
    struct fake_datagram *d = fake_add(k);
    struct nlmsghdr *q = fake_message(d, RTM_NEWROUTE, 0, seq, &r, sizeof r);
    mnl_attr_put(q, RTA_GATEWAY, 4, gateway);
    mnl_attr_put_u32(q, RTA_OIF, 2);
    d->length = NLMSG_ALIGN(q->nlmsg_len);
}

static void brief(struct fake *k, const struct nlmsghdr *m, size_t size)
{
    struct kernel *kernel = k->arg;
    kernel->dumping = false; /* what came before has been received to its end */
    for (int left = (int)size; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
        /* its first byte is the family in all three */
        const struct rtmsg *t = mnl_nlmsg_get_payload(m);
        if (m->nlmsg_flags & NLM_F_DUMP) {
            if (kernel->dumping) {
                kernel->refused++;
                fake_ack(k, m->nlmsg_seq, -EBUSY, NULL, 0);
                continue;
            }
            kernel->dumps++;
            kernel->dumping = !kernel->whole;
        }
        if (m->nlmsg_type == RTM_GETROUTE && !(m->nlmsg_flags & NLM_F_DUMP)) {
            if (t->rtm_family == AF_INET)
                fake_way(k, m->nlmsg_seq, kernel);
            else
                fake_ack(k, m->nlmsg_seq, -ENETUNREACH, NULL, 0);
            continue;
        }
        if (m->nlmsg_type == RTM_GETLINK)
            fake_eth0(k, m->nlmsg_seq, kernel);
        else if (m->nlmsg_type == RTM_GETADDR && t->rtm_family != AF_INET6)
            fake_address(k, m->nlmsg_seq, AF_INET);
        if (m->nlmsg_flags & NLM_F_DUMP)
            fake_done(k, m->nlmsg_seq, 0, 0);
    }
}

static bool good_enough(void *arg, const struct net_inside *in)
{
    ++*(int *)arg;
    return in->has_eth0;
}

static int read_brief(struct world *w, struct kernel *kernel, int *asked)
{
    static struct net_inside in;
    w->k.on_send = brief;
    w->k.arg = kernel;
    w->k.sends = 0;
    *asked = kernel->refused = kernel->dumps = 0;
    int r = net_inside_read_port(w->p, good_enough, asked, &in, &w->err);
    if (!r && *asked) {
        assert_true(in.has_lo && in.lo.flags & IFF_UP && in.has_eth0 && in.eth0.index == 2);
        assert_int_equal(in.n_address, 1);
        assert_int_equal(in.address[0].family, AF_INET);
        assert_int_equal(in.n_route, 1);
        assert_int_equal(in.route[0].gateway[3], 254);
    }
    net_inside_done(&in);
    return r;
}

static void test_inside_brief(void **state)
{
    struct world *w = *state;
    struct kernel kernel = {.whole = true, .lo_up = true};
    int asked;
    assert_int_equal(read_brief(w, &kernel, &asked), 0);
    assert_int_equal(asked, 1);
    assert_int_equal(w->k.sends, 1); /* three dumps and two questions in one */
    assert_int_equal(kernel.dumps, 3);

    /* what is not in order is read in full, and so is what somebody else routes */
    kernel.lo_up = false;
    assert_int_equal(read_brief(w, &kernel, &asked), 0);
    assert_int_equal(asked, 0);
    kernel.lo_up = kernel.foreign = true;
    assert_int_equal(read_brief(w, &kernel, &asked), 0);
    assert_int_equal(asked, 0);

    /* an older kernel: refused a few times, and from then on asked by themselves */
    kernel = (struct kernel){.lo_up = true};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_brief(w, &kernel, &asked), 0);
        assert_int_equal(asked, 1);
        assert_int_equal(kernel.refused, 2);
        assert_int_equal(kernel.dumps, 3);
    }
    assert_int_equal(read_brief(w, &kernel, &asked), 0);
    assert_int_equal(asked, 1);
    assert_int_equal(kernel.refused, 0);
    assert_int_equal(kernel.dumps, 3);
    assert_int_equal(w->k.sends, 3);
}

/* ---- events ---- */

static int count(void *arg, const struct nlmsghdr *m)
{
    (void)m;
    ++*(int *)arg;
    return 0;
}
static void test_monitor(void **state)
{
    struct world *w = *state;
    struct net_monitor *m;
    int n = 0;
    assert_int_equal(net_monitor_over(steal(w->p), &m, &w->err), 0);
    assert_int_equal(net_monitor_wait(m, 0, count, &n, &w->err), 0);
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), 0);
    fake_link(fake_add(&w->k), 0, 0, 1, "a");
    struct fake_datagram *d = fake_add(&w->k);
    fake_link(d, 0, 0, 2, "b");
    fake_link(d, 0, 0, 3, "c");
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), 3);
    assert_int_equal(n, 3);
    fake_error(&w->k, -ENOBUFS);
    fake_link(fake_add(&w->k), 0, 0, 1, "d");
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), -ENOBUFS);
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), 1);
    fake_error(&w->k, -EINTR);
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), -EINTR);
    d = fake_add(&w->k);
    fake_link(d, 0, 0, 1, "forged");
    d->from = 77;
    assert_int_equal(net_monitor_wait(m, 5, count, &n, &w->err), 0);
    net_monitor_close(m);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, up, down)
    const struct CMUnitTest tests[] = {
        TEST(test_dump),   TEST(test_done_with_error), TEST(test_torn),
        TEST(test_forged), TEST(test_no_done),         TEST(test_cut),
        TEST(test_lost),   TEST(test_nonsense),        TEST(test_stop),
        TEST(test_signal), TEST(test_send_fails),      TEST(test_get),
        TEST(test_inside), TEST(test_inside_brief),    TEST(test_monitor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
