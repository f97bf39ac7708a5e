/* A dump walks the kernel's whole table of sockets, a millisecond where that is large. TCP has a
 * request for both families in one walk; UDP needs one for each. */
#include "netops/sockdiag.h"
#include "netops/attr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>

struct taking {
    uint8_t proto;
    net_socket_fn each;
    void *arg;
    void (*restart)(void *arg);
};

static const uint8_t none[16], mapped[12] = {[10] = 0xff, [11] = 0xff};

static void take_address(struct net_socket *s, const __be32 *from, uint8_t *to)
{
    if (s->family == AF_INET6 && !memcmp(from, mapped, sizeof mapped))
        memcpy(to, (const uint8_t *)from + sizeof mapped, 4);
    else
        memcpy(to, from, s->family == AF_INET6 ? 16 : 4);
}

static int take_socket(void *arg, const struct nlmsghdr *m)
{
    const struct taking *t = arg;
    struct inet_diag_msg d;
    const struct nlattr *a;
    bool only6 = false;

    if (!net_message_is(m, SOCK_DIAG_BY_FAMILY, sizeof d) &&
        !net_message_is(m, TCPDIAG_GETSOCK, sizeof d))
        return -EBADMSG;
    memcpy(&d, mnl_nlmsg_get_payload(m), sizeof d);
    if (d.idiag_family != AF_INET && d.idiag_family != AF_INET6)
        return 0;
    NET_EACH(a, m, sizeof d)
    if (mnl_attr_get_type(a) == INET_DIAG_SKV6ONLY)
        only6 = net_attr_u8(a);
    struct net_socket s = {.family = d.idiag_family,
                           .proto = t->proto,
                           .port = ntohs(d.id.idiag_sport),
                           .inode = d.idiag_inode};
    s.listens = d.idiag_state == (t->proto == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
    take_address(&s, d.id.idiag_src, s.addr);
    take_address(&s, d.id.idiag_dst, s.peer);
    s.any = !memcmp(d.id.idiag_src, none, s.family == AF_INET6 ? 16 : 4);
    s.both = s.any && s.family == AF_INET6 && !only6;
    if (s.family == AF_INET6 && !memcmp(d.id.idiag_src, mapped, sizeof mapped))
        s.family = AF_INET;
    return t->each(t->arg, &s);
}

static void begin_again(void *arg)
{
    const struct taking *t = arg;
    if (t->restart)
        t->restart(t->arg);
}

/* The kernel's small filter language: two jumps, each past the end where it does not hold
 * (net/ipv4/inet_diag.c). */
static void put_ports(struct nlmsghdr *m, uint16_t first, uint16_t last)
{
    struct inet_diag_bc_op code[4] = {
        {INET_DIAG_BC_S_GE, sizeof code[0] * 2, sizeof code + 4},
        {.no = first},
        {INET_DIAG_BC_S_LE, sizeof code[0] * 2, sizeof code[0] * 2 + 4},
        {.no = last},
    };
    mnl_attr_put(m, INET_DIAG_REQ_BYTECODE, sizeof code, code);
}

union request {
    struct nlmsghdr head;
    uint8_t room[256];
};

static uint32_t state_bits(uint8_t proto, enum net_socket_states states)
{
    uint32_t bits = 1u << TCP_ESTABLISHED;
    if (states != NET_SOCKETS_CONNECTED)
        bits |= 1u << (proto == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
    return bits;
}

/* inet_diag_dump_compat() in net/ipv4/inet_diag.c takes AF_UNSPEC, whatever the request says. */
static void put_both_families(union request *q, uint32_t states, uint16_t first, uint16_t last)
{
    mnl_nlmsg_put_header(q);
    q->head.nlmsg_type = TCPDIAG_GETSOCK;
    struct inet_diag_req *body = mnl_nlmsg_put_extra_header(&q->head, sizeof *body);
    body->idiag_states = states;
    put_ports(&q->head, first, last);
}

static void put_family(union request *q, uint8_t family, uint8_t proto, uint32_t states,
                       uint16_t first, uint16_t last)
{
    mnl_nlmsg_put_header(q);
    q->head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    struct inet_diag_req_v2 *body = mnl_nlmsg_put_extra_header(&q->head, sizeof *body);
    body->sdiag_family = family;
    body->sdiag_protocol = proto;
    body->idiag_states = states;
    put_ports(&q->head, first, last);
}

static int ask_each_family(struct net_port *p, struct taking *t, uint32_t states, uint16_t first,
                           uint16_t last, struct net_error *err)
{
    union request q[2] = {0};
    struct net_dump dumps[2];
    for (int i = 0; i < 2; i++) {
        put_family(&q[i], i ? AF_INET6 : AF_INET, t->proto, states, first, last);
        /* ENOENT: no module for this family */
        dumps[i] = (struct net_dump){.request = &q[i].head, .forgive = ENOENT};
    }
    return net_port_dump_all(p, dumps, 2, take_socket, begin_again, t, err);
}

int net_sockdiag_dump(uint8_t proto, enum net_socket_states states, uint16_t first, uint16_t last,
                      net_socket_fn each, void (*restart)(void *arg), void *arg,
                      struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    struct taking t = {.proto = proto, .each = each, .arg = arg, .restart = restart};
    uint32_t bits = state_bits(proto, states);

    int e = net_port_open(NETLINK_SOCK_DIAG, &p, err);
    if (e == -EPROTONOSUPPORT)
        return 0;
    if (!e && proto == IPPROTO_TCP) {
        union request q = {0};
        put_both_families(&q, bits, first, last);
        e = net_port_dump_all(p, &(struct net_dump){.request = &q.head}, 1, take_socket,
                              begin_again, &t, err);
        if (e != -EOPNOTSUPP && e != -EINVAL)
            return e == -ENOENT ? 0 : e;
        e = 0; /* a kernel without that request */
    }
    return e ? e : ask_each_family(p, &t, bits, first, last, err);
}
