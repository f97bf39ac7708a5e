/* One namespace in few system calls. A socket has one dump at a time, and another one is refused
 * with EBUSY. One that fits into a datagram is over before the next request is looked at where the
 * kernel puts its end there too (seen on 6.18: IPv6's do, others have a datagram of their own for
 * it and go last); where it does not, what was refused is asked again by itself. What is not wanted
 * is dropped here, so that no option need be set on a socket that lives for a question or two.
 *
 * The short way takes what a namespace in good order has: both links, eth0's addresses, and the
 * routes that packets to nowhere in particular would take, which is a lookup and no dump of all
 * tables. Links as IPv6 sees them cost less than links asked one by one, and the kernel does not
 * lock all others out meanwhile; they lack a group. Whatever is not as it would be there (lo
 * down, no default route, one of somebody else's, a rule that leads to another table) is read in
 * full. */
#include "netops/attr.h"
#include "netops/netns.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifndef RTEXT_FILTER_SKIP_STATS
#define RTEXT_FILTER_SKIP_STATS (1 << 3)
#endif

enum { RETRIES = 10, ANSWER_MS = 10000, MOST_LOSSES = 1000, BELIEVED = 3 };
/* in the order of asking */
enum question {
    LO,
    ETH0,
    LINKS6,
    VIA4,
    VIA6,
    ADDRESSES6,
    ADDRESSES4,
    ADDRESSES,
    ROUTES,
    QUESTIONS
};
#define BIT(question) (1u << (question))
#define DUMPS         (BIT(LINKS6) | BIT(ADDRESSES4) | BIT(ADDRESSES6) | BIT(ADDRESSES) | BIT(ROUTES))

struct asking {
    struct net_inside *out;
    uint32_t first; /* number of question 0 */
    bool sent[QUESTIONS];
    bool over[QUESTIONS];
    unsigned busy; /* refused while another dump was under way */
    bool torn;
    bool unclear; /* the short way does not tell all */
    int code;     /* the first refusal */
    enum question refused;
    struct net_error said;
};

/* ---- answers ---- */

/* Other families (MPLS, multicast) are none of ours; a cut or senseless message of ours must not
 * pass for "nothing there". */
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

static void no_memory(struct asking *q, enum question i)
{
    if (!q->code) {
        q->code = ENOMEM;
        q->refused = i;
    }
}

/* For one more. A container's root may have given itself any number: what berth looks for must
 * not be lost among them. */
static bool room(void **list, size_t n, size_t *room, size_t each)
{
    if (n < *room)
        return true;
    size_t more = *room ? *room * 2 : 4;
    void *p = realloc(*list, more * each);
    if (!p)
        return false;
    *list = p;
    *room = more;
    return true;
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

/* The host's end of a pair is not told of where it has eth0's own index: then this is no short
 * way. */
static void keep_link6(struct asking *q, const struct nlmsghdr *m)
{
    struct net_link l;
    if (!net_link_decode(m, &l)) {
        nonsense(q, LINKS6);
    } else if (l.index == 1) {
        q->out->lo = l;
        q->out->has_lo = true;
    } else if (!strcmp(l.name, "eth0")) {
        q->out->eth0 = l;
        q->out->has_eth0 = true;
    }
}

static void keep_address(struct asking *q, enum question i, const struct nlmsghdr *m)
{
    struct net_inside *in = q->out;
    struct net_address a;
    if (!ours(m))
        return;
    if (!net_address_decode(m, &a)) {
        nonsense(q, i);
        return;
    }
    if (i == ADDRESSES6 && a.family != AF_INET6) /* a kernel without IPv6 answers with all it has */
        return;
    bool link_local =
        a.family == AF_INET6 ? a.scope == RT_SCOPE_LINK : a.bytes[0] == 169 && a.bytes[1] == 254;
    if (!in->has_eth0 || a.index != in->eth0.index || link_local)
        return;
    if (!room((void **)&in->address, in->n_address, &in->room_address, sizeof a))
        no_memory(q, i);
    else
        in->address[in->n_address++] = a;
}

static void keep_route(struct asking *q, const struct nlmsghdr *m)
{
    struct net_inside *in = q->out;
    struct net_route r;
    if (!ours(m))
        return;
    if (!net_route_decode(m, &r)) {
        nonsense(q, ROUTES);
        return;
    }
    const struct rtmsg *t = mnl_nlmsg_get_payload(m);
    if (r.prefix || r.table != RT_TABLE_MAIN || r.protocol == RTPROT_KERNEL ||
        t->rtm_flags & RTM_F_CLONED)
        return;
    if (!room((void **)&in->route, in->n_route, &in->room_route, sizeof r))
        no_memory(q, ROUTES);
    else
        in->route[in->n_route++] = r;
}

static void keep_via(struct asking *q, enum question i, const struct nlmsghdr *m)
{
    struct net_route r;
    q->over[i] = true;
    if (!net_route_decode(m, &r))
        nonsense(q, i);
    else if (r.prefix || !r.has_gateway || r.table != RT_TABLE_MAIN || r.type != RTN_UNICAST ||
             r.protocol != NET_PROTO_BERTH || !q->out->has_eth0 || r.oif != q->out->eth0.index)
        q->unclear = true;
    else if (!room((void **)&q->out->route, q->out->n_route, &q->out->room_route, sizeof r))
        no_memory(q, i);
    else
        q->out->route[q->out->n_route++] = r;
}

static void over(struct asking *q, enum question i, const struct nlmsghdr *m)
{
    struct net_error said = {0};
    int code = net_answer_code(m, &said, NULL);

    q->over[i] = true;
    if (!code)
        return;
    if (i <= ETH0 && code == ENODEV) /* no such link is an answer too */
        return;
    if (i == VIA4 || i == VIA6) { /* no way there, or one that is refused */
        q->unclear |=
            i == VIA4 || (code != ENETUNREACH && code != EAFNOSUPPORT && code != EOPNOTSUPP);
        return;
    }
    if (i == ROUTES && code == ENOENT) /* "FIB table does not exist": there was never a route */
        return;
    if (code == EBUSY && BIT(i) & DUMPS) {
        q->busy |= BIT(i);
        return;
    }
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
    uint32_t i = m->nlmsg_seq - q->first;

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
    case LINKS6:
        keep_link6(q, m);
        break;
    case VIA4:
    case VIA6:
        keep_via(q, i, m);
        break;
    case ADDRESSES4:
    case ADDRESSES6:
    case ADDRESSES:
        keep_address(q, i, m);
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
    m->nlmsg_flags = NLM_F_REQUEST | (BIT(i) & DUMPS ? NLM_F_DUMP : 0);
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
    case LINKS6: {
        struct ifinfomsg *l = mnl_nlmsg_put_extra_header(m, sizeof *l);
        m->nlmsg_type = RTM_GETLINK;
        l->ifi_family = AF_INET6;
        break;
    }
    case VIA4:
    case VIA6: {
        /* Addresses that RFC 5737 and RFC 3849 keep for examples: nobody's. */
        static const uint8_t nobody4[4] = {203, 0, 113, 1},
                             nobody6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
        struct rtmsg *t = mnl_nlmsg_put_extra_header(m, sizeof *t);
        m->nlmsg_type = RTM_GETROUTE;
        t->rtm_family = i == VIA4 ? AF_INET : AF_INET6;
        t->rtm_dst_len = i == VIA4 ? 32 : 128;
        t->rtm_flags = RTM_F_FIB_MATCH;
        mnl_attr_put(m, RTA_DST, i == VIA4 ? sizeof nobody4 : sizeof nobody6,
                     i == VIA4 ? nobody4 : nobody6);
        break;
    }
    case ADDRESSES4:
    case ADDRESSES6:
    case ADDRESSES: {
        struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(m, sizeof *a);
        m->nlmsg_type = RTM_GETADDR;
        a->ifa_family = i == ADDRESSES4 ? AF_INET : i == ADDRESSES6 ? AF_INET6 : AF_UNSPEC;
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

static void start(struct net_inside *in)
{
    in->has_lo = in->has_eth0 = in->torn = false;
    in->n_address = in->n_route = 0;
}

/* Send these questions in one send and hear them to the end. */
static int ask(struct net_port *p, struct asking *q, unsigned questions, struct net_error *err)
{
    _Alignas(8) uint8_t bytes[QUESTIONS * 64];
    size_t size = 0;
    uint32_t first = 0;

    memset(bytes, 0, sizeof bytes);
    /* numbers for all, so that answer and question differ by q->first */
    for (enum question i = 0; i < QUESTIONS; i++) {
        uint32_t seq = net_port_number(p);
        if (i == LO)
            first = seq;
        q->sent[i] = questions & BIT(i);
        q->over[i] = !q->sent[i];
        if (q->sent[i])
            put(bytes, &size, i, seq);
    }
    q->first = first;
    int r = net_port_send(p, bytes, size, err);
    if (r)
        return r;

    int64_t deadline = net_port_deadline(ANSWER_MS);
    bool lost = false;
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

static bool in_order(const struct asking *q)
{
    return !q->torn && !q->unclear && !q->code && q->out->has_eth0 && q->out->has_lo &&
           q->out->lo.flags & IFF_UP;
}

/* 1: all is told; 0: it is not; or -errno. */
static int read_short(struct net_port *p, struct net_inside *out, struct net_error *err)
{
    /* so many namespaces have refused: it is the kernel, and not one that is full of links */
    static atomic_uint refusing;
    struct asking q = {.out = out};
    bool v6 = false, way6 = false;
    unsigned alone = atomic_load_explicit(&refusing, memory_order_relaxed) < BELIEVED
                         ? 0
                         : BIT(ADDRESSES6) | BIT(ADDRESSES4);
    start(out);
    int r = ask(p, &q,
                (BIT(LINKS6) | BIT(VIA4) | BIT(VIA6) | BIT(ADDRESSES6) | BIT(ADDRESSES4)) & ~alone,
                err);
    if (q.busy)
        atomic_fetch_add_explicit(&refusing, 1, memory_order_relaxed);
    unsigned left = q.busy | alone;
    q.busy = 0;
    for (enum question i = LINKS6; !r && i < QUESTIONS && in_order(&q); i++)
        if (left & BIT(i))
            r = ask(p, &q, BIT(i), err);
    if (r)
        return r;
    if (!in_order(&q) || q.busy)
        return 0;
    for (size_t i = 0; i < out->n_address; i++)
        v6 |= out->address[i].family == AF_INET6;
    for (size_t i = 0; i < out->n_route; i++)
        way6 |= out->route[i].family == AF_INET6;
    return v6 == way6;
}

/* A process with CAP_NET_ADMIN can change addresses and routes faster than they are read. Each link
 * is one answer, which no change tears. */
static int read_links(struct net_port *p, struct net_inside *out, struct net_error *err)
{
    struct asking q = {.out = out};
    start(out);
    int r = ask(p, &q, BIT(LO) | BIT(ETH0), err);
    if (!r && (q.torn || q.code))
        r = net_fail(err, q.code ? q.code : EINTR, "read", "what is in a namespace");
    out->torn = !r;
    return r;
}

static int read_all(struct net_port *p, struct net_inside *out, struct net_error *err)
{
    static const char *const names[QUESTIONS] = {"link 'lo'", "link 'eth0'", "a route",   "a route",
                                                 "addresses", "addresses",   "addresses", "routes"};

    for (int tries = 0; tries <= RETRIES; tries++) {
        struct asking q = {.out = out};
        start(out);
        int r = ask(p, &q, BIT(LO) | BIT(ETH0) | BIT(ADDRESSES), err);
        if (!r && !q.torn && !q.code)
            r = ask(p, &q, BIT(ROUTES), err);
        if (r)
            return r;
        if (q.torn || q.busy)
            continue;
        if (!q.code)
            return 0;
        net_fail(err, q.code, "read", "%s in a namespace", names[q.refused]);
        net_error_kernel(err, q.said.kernel, strlen(q.said.kernel));
        return -q.code;
    }
    return read_links(p, out, err);
}

void net_inside_done(struct net_inside *in)
{
    free(in->address);
    free(in->route);
    *in = (struct net_inside){0};
}

int net_inside_read_port(struct net_port *p, bool (*enough)(void *arg, const struct net_inside *in),
                         void *arg, struct net_inside *out, struct net_error *err)
{
    *out = (struct net_inside){0};
    int r = enough ? read_short(p, out, err) : 0;
    if (!r || (r > 0 && !enough(arg, out)))
        r = read_all(p, out, err);
    if (r < 0)
        net_inside_done(out);
    return r < 0 ? r : 0;
}

int net_inside_read(int fd, bool (*enough)(void *arg, const struct net_inside *in), void *arg,
                    struct net_inside *out, struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    *out = (struct net_inside){0};
    int r = net_netns_enter(fd, err);
    if (!r)
        r = net_port_open_quick(&p, err);
    return r ? r : net_inside_read_port(p, enough, arg, out, err);
}
