/* One namespace in few system calls. A socket has one dump at a time (a second one in the same send is refused with EBUSY, seen
 * on 6.18): so both links and the addresses go out in the first send, the routes in a second. Both dumps ask for all families,
 * which works without IPv6 in the kernel too. What is not wanted is dropped here, so that no option need be set on a socket
 * that lives for two questions. */
#include "netops/netns.h"
#include "netops/attr.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#ifndef RTEXT_FILTER_SKIP_STATS
#define RTEXT_FILTER_SKIP_STATS (1 << 3)
#endif

enum { RETRIES = 10, ANSWER_MS = 10000, MOST_LOSSES = 1000 };
enum question { LO, ETH0, ADDRESSES, ROUTES, QUESTIONS };

struct asking {
    struct net_inside *out;
    uint32_t           first;             /* number of question 0 */
    bool               sent[QUESTIONS];
    bool               over[QUESTIONS];
    bool               torn;
    int                code;              /* the first refusal */
    enum question      refused;
    struct net_error   said;
};

/* ---- answers ---- */

/* Other families (MPLS, multicast) are none of ours; a cut or senseless message of ours must not pass for "nothing there". */
static bool ours(const struct nlmsghdr *m)
{
    uint8_t family = m->nlmsg_len > NLMSG_HDRLEN ? *(const uint8_t *)NLMSG_DATA(m) : AF_INET;
    return family == AF_INET || family == AF_INET6;
}

static void nonsense(struct asking *q, enum question i)
{
    if (!q->code) {
        q->code = EBADMSG;
        q->refused = i;
    }
}

static void keep_link(struct asking *q, enum question i, const struct nlmsghdr *m)
{
    struct net_link *l = i == LO ? &q->out->lo : &q->out->eth0;
    q->over[i] = true;
    if (!net_link_decode(m, l))
        nonsense(q, i);
    else if (i == LO)
        q->out->has_lo = true;
    else /* the kernel also answers with a link that has this as an alternative name */
        q->out->has_eth0 = !strcmp(l->name, "eth0");
}

static void keep_address(struct asking *q, const struct nlmsghdr *m)
{
    struct net_inside *in = q->out;
    struct net_address a;
    if (!ours(m))
        return;
    if (!net_address_decode(m, &a)) {
        nonsense(q, ADDRESSES);
        return;
    }
    bool link_local = a.family == AF_INET6 ? a.scope == RT_SCOPE_LINK : a.bytes[0] == 169 && a.bytes[1] == 254;
    if (!in->has_eth0 || a.index != in->eth0.index || link_local)
        return;
    if (in->n_address < sizeof in->address / sizeof in->address[0])
        in->address[in->n_address] = a;
    in->n_address++;
}

static void keep_route(struct asking *q, const struct nlmsghdr *m)
{
    struct net_inside *in = q->out;
    struct net_route   r;
    if (!ours(m))
        return;
    if (!net_route_decode(m, &r)) {
        nonsense(q, ROUTES);
        return;
    }
    const struct rtmsg *t = mnl_nlmsg_get_payload(m);
    if (r.table != RT_TABLE_MAIN || r.type != RTN_UNICAST || r.protocol == RTPROT_KERNEL || t->rtm_flags & RTM_F_CLONED)
        return;
    if (in->n_route < sizeof in->route / sizeof in->route[0])
        in->route[in->n_route] = r;
    in->n_route++;
}

static void over(struct asking *q, enum question i, const struct nlmsghdr *m)
{
    struct net_error said = {0};
    int              code = net_answer_code(m, &said, NULL);

    q->over[i] = true;
    if (!code)
        return;
    if (i <= ETH0 && code == ENODEV) /* no such link is an answer too */
        return;
    if (i == ROUTES && code == ENOENT) /* "FIB table does not exist": there was never a route */
        return;
    if (code == EINTR || code == EAGAIN) {
        q->torn = true;
        return;
    }
    if (!q->code) {
        q->code = code;
        q->refused = i;
        q->said = said;
    }
}

static int hear(void *arg, const struct nlmsghdr *m)
{
    struct asking *q = arg;
    uint32_t       i = m->nlmsg_seq - q->first;

    if (i >= QUESTIONS || !q->sent[i] || q->over[i])
        return 0;
    if (m->nlmsg_flags & NLM_F_DUMP_INTR)
        q->torn = true;
    if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) {
        over(q, i, m);
        return 0;
    }
    if (m->nlmsg_type == NLMSG_OVERRUN)
        q->torn = true;
    if (m->nlmsg_type < NLMSG_MIN_TYPE)
        return 0;
    switch ((enum question)i) {
    case LO:
    case ETH0:
        keep_link(q, i, m);
        break;
    case ADDRESSES:
        keep_address(q, m);
        break;
    case ROUTES:
        keep_route(q, m);
        break;
    case QUESTIONS:
        break;
    }
    return 0;
}

/* ---- questions ---- */

static void put(uint8_t *at, size_t *size, enum question i, uint32_t seq)
{
    struct nlmsghdr *m = mnl_nlmsg_put_header(at + *size);
    m->nlmsg_seq = seq;
    m->nlmsg_flags = NLM_F_REQUEST | (i >= ADDRESSES ? NLM_F_DUMP : 0);
    switch (i) {
    case LO:
    case ETH0: {
        struct ifinfomsg *l = mnl_nlmsg_put_extra_header(m, sizeof *l);
        m->nlmsg_type = RTM_GETLINK;
        if (i == LO)
            l->ifi_index = 1; /* lo has it in every namespace */
        else
            mnl_attr_put_strz(m, IFLA_IFNAME, "eth0");
        mnl_attr_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        break;
    }
    case ADDRESSES: {
        struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(m, sizeof *a);
        m->nlmsg_type = RTM_GETADDR;
        a->ifa_family = AF_UNSPEC;
        break;
    }
    case ROUTES: {
        struct rtmsg *t = mnl_nlmsg_put_extra_header(m, sizeof *t);
        m->nlmsg_type = RTM_GETROUTE;
        t->rtm_family = AF_UNSPEC;
        t->rtm_table = RT_TABLE_MAIN; /* heeded by a strict socket alone */
        break;
    }
    case QUESTIONS:
        break;
    }
    *size += NLMSG_ALIGN(m->nlmsg_len);
}

/* Send the questions from..to in one send and hear them to the end. */
static int ask(struct net_port *p, struct asking *q, enum question from, enum question to, struct net_error *err)
{
    _Alignas(8) uint8_t bytes[QUESTIONS * 64];
    size_t              size = 0;
    uint32_t            first = 0;

    memset(bytes, 0, sizeof bytes);
    for (enum question i = 0; i < QUESTIONS; i++) { /* numbers for all, so that answer and question differ by q->first */
        uint32_t seq = net_port_number(p);
        if (i == LO)
            first = seq;
        q->sent[i] = i >= from && i <= to;
        q->over[i] = !q->sent[i];
        if (q->sent[i])
            put(bytes, &size, i, seq);
    }
    q->first = first;
    int r = net_port_send(p, bytes, size, err);
    if (r)
        return r;

    int64_t deadline = net_port_deadline(ANSWER_MS);
    bool    lost = false;
    for (int losses = 0; losses <= MOST_LOSSES; losses += lost) {
        unsigned left = 0;
        for (enum question i = 0; i < QUESTIONS; i++)
            left += !q->over[i];
        if (!left)
            break;
        r = net_port_receive(p, NET_SLOT_DUMP, UINT32_MAX, lost ? NET_NO_WAIT : deadline, hear, q);
        if (r == -EMSGSIZE || r == -ENOBUFS)
            lost = true;
        else if (r == -EAGAIN && lost)
            break;
        else if (r)
            return net_fail(err, -r, "read", "what is in a namespace");
        if (r == -EMSGSIZE && net_port_widen(p))
            return net_fail(err, EMSGSIZE, "read", "what is in a namespace");
    }
    q->torn |= lost;
    return 0;
}

static int read_all(struct net_port *p, struct net_inside *out, struct net_error *err)
{
    static const char *const names[QUESTIONS] = {"link 'lo'", "link 'eth0'", "addresses", "routes"};

    for (int tries = 0; tries <= RETRIES; tries++) {
        struct net_inside in; /* its arrays need no clearing: the counts say what of them is valid */
        struct asking     q = {.out = &in};
        in.has_lo = in.has_eth0 = false;
        in.n_address = in.n_route = 0;
        int r = ask(p, &q, LO, ADDRESSES, err);
        if (!r && !q.torn && !q.code)
            r = ask(p, &q, ROUTES, ROUTES, err);
        if (r)
            return r;
        if (q.torn)
            continue;
        if (!q.code) {
            *out = in;
            return 0;
        }
        net_fail(err, q.code, "read", "%s in a namespace", names[q.refused]);
        net_error_kernel(err, q.said.kernel, strlen(q.said.kernel));
        return -q.code;
    }
    return net_fail(err, EINTR, "read", "what is in a namespace");
}

int net_inside_read(int fd, struct net_inside *out, struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    int r = net_netns_enter(fd, err);
    if (!r)
        r = net_port_open_quick(&p, err);
    return r ? r : read_all(p, out, err);
}

int net_inside_read_port(struct net_port *p, struct net_inside *out, struct net_error *err)
{
    net_port_strict(p);
    return read_all(p, out, err);
}
