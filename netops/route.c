/* Routes of the main table. */
#include "netops/route.h"
#include "netops/attr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

enum { LOOPBACK_IFINDEX = 1 }; /* in every namespace: include/net/flow.h of the kernel */

static size_t family_size(uint8_t family)
{
    return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

/* The first next hop of a multipath route stands for all; a later one can name one more link. */
static bool decode_hops(const struct nlattr *nest, size_t size, struct net_route *d)
{
    const struct rtnexthop *h = mnl_attr_get_payload(nest);
    size_t left = mnl_attr_get_payload_len(nest);
    const struct nlattr *a;

    if (left < sizeof *h || h->rtnh_len < sizeof *h || h->rtnh_len > left)
        return false;
    d->oif = h->rtnh_ifindex;
    const uint8_t *end = (const uint8_t *)h + h->rtnh_len;
    for (a = (const void *)(h + 1); net_attr_ok(a, end); a = mnl_attr_next(a))
        if (mnl_attr_get_type(a) == RTA_GATEWAY)
            d->has_gateway = net_attr_bytes(a, d->gateway, size);
    for (;;) {
        size_t step = RTNH_ALIGN(h->rtnh_len);
        if (left < step + sizeof *h)
            return true;
        left -= step;
        h = (const void *)((const uint8_t *)h + step);
        if (h->rtnh_len < sizeof *h || h->rtnh_len > left)
            return false;
        if (!d->other_oif && h->rtnh_ifindex != d->oif)
            d->other_oif = h->rtnh_ifindex;
    }
}

bool net_route_decode(const struct nlmsghdr *m, struct net_route *out)
{
    struct net_route d = {0};
    const struct nlattr *a;
    bool good = true;

    if (!net_message_is(m, RTM_NEWROUTE, sizeof(struct rtmsg)) &&
        !net_message_is(m, RTM_DELROUTE, sizeof(struct rtmsg)))
        return false;
    const struct rtmsg *t = mnl_nlmsg_get_payload(m);
    size_t size = family_size(t->rtm_family);
    if (!size || t->rtm_dst_len > size * 8)
        return false;
    d.family = t->rtm_family;
    d.prefix = t->rtm_dst_len;
    d.type = t->rtm_type;
    d.scope = t->rtm_scope;
    d.protocol = t->rtm_protocol;
    d.table = t->rtm_table;
    NET_EACH(a, m, sizeof *t)
    {
        switch (mnl_attr_get_type(a)) {
        case RTA_DST:
            good &= net_attr_bytes(a, d.dst, size);
            break;
        case RTA_GATEWAY:
            d.has_gateway = net_attr_bytes(a, d.gateway, size);
            break;
        case RTA_OIF:
            d.oif = (int)net_attr_u32(a);
            break;
        case RTA_PRIORITY:
            d.metric = net_attr_u32(a);
            break;
        case RTA_TABLE:
            d.table = net_attr_u32(a);
            break;
        case RTA_MULTIPATH:
            good &= decode_hops(a, size, &d);
            break;
        }
    }
    if (!good || !net_attrs_whole(m, a))
        return false;
    *out = d;
    return true;
}

bool net_route_leaves(const struct net_route *r)
{
    return r->type == RTN_UNICAST && r->oif > LOOPBACK_IFINDEX;
}

struct route_reader {
    net_route_fn each;
    void (*restart)(void *arg);
    void *arg;
    bool all; /* not the main table alone */
};

/* A kernel without strict checking sends more than was asked for. */
static int route_message(void *arg, const struct nlmsghdr *m)
{
    struct route_reader *r = arg;
    struct net_route route;

    if (m->nlmsg_type != RTM_NEWROUTE)
        return 0;
    if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg))) {
        const struct rtmsg *t = mnl_nlmsg_get_payload(m);
        if (!family_size(t->rtm_family) || t->rtm_flags & RTM_F_CLONED || t->rtm_type == RTN_LOCAL)
            return 0;
    }
    if (!net_route_decode(m, &route))
        return -EBADMSG;
    bool asked = r->all ? route.table != RT_TABLE_LOCAL : route.table == RT_TABLE_MAIN;
    return asked ? r->each(r->arg, &route) : 0;
}

static void route_restart(void *arg)
{
    struct route_reader *r = arg;
    if (r->restart)
        r->restart(r->arg);
}

static int dump_table(struct net_port *p, uint8_t table, struct route_reader *r,
                      struct net_error *err)
{
    struct {
        struct nlmsghdr head;
        struct rtmsg body;
    } q = {.head = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_GETROUTE},
           .body = {.rtm_family = AF_UNSPEC, .rtm_table = table}};
    return net_port_dump(p, &q.head, route_message, route_restart, r, err);
}

int net_route_dump(struct net_port *p, net_route_fn each, void (*restart)(void *arg), void *arg,
                   struct net_error *err)
{
    struct route_reader r = {.each = each, .restart = restart, .arg = arg};
    return dump_table(p, RT_TABLE_MAIN, &r, err);
}

int net_route_dump_tables(struct net_port *p, net_route_fn each, void (*restart)(void *arg),
                          void *arg, struct net_error *err)
{
    struct route_reader r = {.each = each, .restart = restart, .arg = arg, .all = true};
    return dump_table(p, RT_TABLE_UNSPEC, &r, err);
}

struct rule_reader {
    int (*each)(void *arg, const struct net_rule *r);
    void (*restart)(void *arg);
    void *arg;
};

static int rule_message(void *arg, const struct nlmsghdr *m)
{
    struct rule_reader *r = arg;
    const struct nlattr *a;
    if (m->nlmsg_type != RTM_NEWRULE)
        return 0;
    if (!net_message_is(m, RTM_NEWRULE, sizeof(struct fib_rule_hdr)))
        return -EBADMSG;
    const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(m);
    struct net_rule one = {.family = h->family, .table = h->action == FR_ACT_TO_TBL ? h->table : 0};
    if (!family_size(h->family))
        return 0;
    NET_EACH(a, m, sizeof *h)
    {
        if (mnl_attr_get_type(a) == FRA_TABLE && h->action == FR_ACT_TO_TBL)
            one.table = net_attr_u32(a);
        if (mnl_attr_get_type(a) == FRA_PRIORITY)
            one.priority = net_attr_u32(a);
    }
    return net_attrs_whole(m, a) ? r->each(r->arg, &one) : -EBADMSG;
}

static void rule_restart(void *arg)
{
    struct rule_reader *r = arg;
    if (r->restart)
        r->restart(r->arg);
}

int net_rule_dump(struct net_port *p, int (*each)(void *arg, const struct net_rule *r),
                  void (*restart)(void *arg), void *arg, struct net_error *err)
{
    struct {
        struct nlmsghdr head;
        struct fib_rule_hdr body;
    } q = {.head = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_GETRULE},
           .body = {.family = AF_UNSPEC}};
    struct rule_reader r = {each, restart, arg};
    return net_port_dump(p, &q.head, rule_message, rule_restart, &r, err);
}

static void describe(const struct nlmsghdr *m, const char *link, char *out, size_t size)
{
    struct net_route r;
    char to[INET6_ADDRSTRLEN + 4] = "?", by[INET6_ADDRSTRLEN] = "?";

    if (!net_route_decode(m, &r)) {
        snprintf(out, size, "a route");
        return;
    }
    inet_ntop(r.family, r.dst, to, sizeof to);
    inet_ntop(r.family, r.gateway, by, sizeof by);
    if (r.prefix)
        snprintf(to + strlen(to), sizeof to - strlen(to), "/%u", r.prefix);
    else
        snprintf(to, sizeof to, "default");
    int n = snprintf(out, size, "route %s%s%s", to, r.has_gateway ? " via " : "",
                     r.has_gateway ? by : "");
    if (link[0] && n > 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, " on link '%s'", link);
}

static int queue(struct net_batch *b, struct rtmsg *body, uint16_t type, uint16_t flags,
                 const char *op, const struct net_route *r, const char *link, uint32_t tag)
{
    size_t size = family_size(r->family);
    struct net_request q = {.type = type,
                            .flags = flags,
                            .body = body,
                            .body_size = sizeof *body,
                            .op = op,
                            .describe = describe,
                            .name = link,
                            .tag = tag};
    bool leads = type != RTM_NEWROUTE || body->rtm_type != RTN_UNICAST || r->has_gateway || r->oif;
    if (!size || r->prefix > size * 8 || !leads)
        return net_batch_lose(b, &q, EINVAL);
    struct nlmsghdr *m = net_batch_begin(b, &q);
    if (!m)
        return -ENOMEM;
    if (r->prefix)
        mnl_attr_put(m, RTA_DST, size, r->dst);
    if (r->has_gateway)
        mnl_attr_put(m, RTA_GATEWAY, size, r->gateway);
    if (r->oif)
        mnl_attr_put_u32(m, RTA_OIF, (uint32_t)r->oif);
    if (r->metric)
        mnl_attr_put_u32(m, RTA_PRIORITY, r->metric);
    net_batch_end(b);
    return 0;
}

int net_batch_route_new(struct net_batch *b, const struct net_route *r, const char *link,
                        uint32_t tag)
{
    struct rtmsg body = {.rtm_family = r->family,
                         .rtm_dst_len = r->prefix,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = r->protocol ? r->protocol : NET_PROTO_BERTH,
                         .rtm_type = r->type ? r->type : RTN_UNICAST,
                         .rtm_scope = RT_SCOPE_UNIVERSE};
    /* on the link alone: as `ip route add NET dev LINK` */
    if (r->family == AF_INET && !r->has_gateway && body.rtm_type == RTN_UNICAST)
        body.rtm_scope = RT_SCOPE_LINK;
    return queue(b, &body, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, "add", r, link, tag);
}

int net_batch_route_del(struct net_batch *b, const struct net_route *r, const char *link,
                        uint32_t tag)
{
    struct rtmsg body = {.rtm_family = r->family,
                         .rtm_dst_len = r->prefix,
                         .rtm_table = RT_TABLE_MAIN,
                         .rtm_protocol = r->protocol,
                         .rtm_type = r->type,
                         .rtm_scope = RT_SCOPE_NOWHERE};
    return queue(b, &body, RTM_DELROUTE, 0, "remove", r, link, tag);
}
