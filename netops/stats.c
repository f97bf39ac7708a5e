/* Counters alone, in one dump: nothing else of a link is asked for, and nothing else comes. */
#include "netops/stats.h"
#include "netops/attr.h"
#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

bool net_stats_decode(const struct nlmsghdr *m, struct net_stats *out)
{
    const struct nlattr *a;
    struct rtnl_link_stats64 s;
    bool has = false;
    if (!net_message_is(m, RTM_NEWSTATS, sizeof(struct if_stats_msg)))
        return false;
    const struct if_stats_msg *i = mnl_nlmsg_get_payload(m);
    memset(&s, 0, sizeof s);
    NET_EACH(a, m, sizeof *i)
    {
        if (mnl_attr_get_type(a) != IFLA_STATS_LINK_64)
            continue;
        size_t n = mnl_attr_get_payload_len(a); /* kernels add figures at its end */
        memcpy(&s, mnl_attr_get_payload(a), n < sizeof s ? n : sizeof s);
        has = n >= 4 * sizeof(uint64_t);
    }
    if (!net_attrs_whole(m, a) || !has)
        return false;
    *out = (struct net_stats){(int)i->ifindex, s.rx_bytes, s.tx_bytes, s.rx_packets, s.tx_packets};
    return true;
}

struct reader {
    net_stats_fn each;
    void (*restart)(void *arg);
    void *arg;
};

static int message(void *arg, const struct nlmsghdr *m)
{
    struct reader *r = arg;
    struct net_stats s;
    if (m->nlmsg_type != RTM_NEWSTATS)
        return 0;
    return net_stats_decode(m, &s) ? r->each(r->arg, &s) : -EBADMSG;
}

static void again(void *arg)
{
    struct reader *r = arg;
    if (r->restart)
        r->restart(r->arg);
}

int net_stats_dump(struct net_port *p, net_stats_fn each, void (*restart)(void *arg), void *arg,
                   struct net_error *err)
{
    struct {
        struct nlmsghdr head;
        struct if_stats_msg body;
    } q = {.head = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_GETSTATS},
           .body = {.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64)}};
    struct reader r = {each, restart, arg};
    return net_port_dump(p, &q.head, message, again, &r, err);
}
