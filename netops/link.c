/* Links. Creating messages carry all that the kernel honours in them (MAC, MTU, group, master, and
 * for a veth the whole other end in its namespace), always with NLM_F_EXCL, since without it the
 * kernel edits a foreign link of that name. Changes carry one group of attributes each, since a
 * refused change may have been made in part. */
#include "netops/link.h"
#include "netops/attr.h"
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>

#ifndef RTEXT_FILTER_SKIP_STATS
#define RTEXT_FILTER_SKIP_STATS (1 << 3)
#endif

/* ---- decode ---- */

static void decode_port(const struct nlattr *nest, struct net_link *out)
{
    const struct nlattr *a;
    out->port = true;
    NET_EACH_IN(a, nest)
    if (mnl_attr_get_type(a) == IFLA_BRPORT_MODE)
        out->hairpin = net_attr_u8(a) != 0;
}

static void decode_bridge(const struct nlattr *nest, struct net_link *out)
{
    const struct nlattr *a;
    struct br_boolopt_multi options;
    NET_EACH_IN(a, nest)
    {
        if (mnl_attr_get_type(a) != IFLA_BR_MULTI_BOOLOPT ||
            mnl_attr_get_payload_len(a) != sizeof options)
            continue;
        memcpy(&options, mnl_attr_get_payload(a), sizeof options);
        out->ll_learn = options.optmask & ~options.optval & 1u << BR_BOOLOPT_NO_LL_LEARN;
    }
}

static void decode_info(const struct nlattr *nest, struct net_link *out)
{
    const struct nlattr *a, *data = NULL, *own = NULL;
    char kind[IFNAMSIZ] = "";
    NET_EACH_IN(a, nest)
    {
        switch (mnl_attr_get_type(a)) {
        case IFLA_INFO_KIND:
            net_attr_text(a, out->kind, sizeof out->kind);
            break;
        case IFLA_INFO_DATA:
            own = a;
            break;
        case IFLA_INFO_SLAVE_KIND:
            net_attr_text(a, kind, sizeof kind);
            break;
        case IFLA_INFO_SLAVE_DATA:
            data = a;
            break;
        }
    }
    if (own && !strcmp(out->kind, "bridge"))
        decode_bridge(own, out);
    if (!strcmp(kind, "bridge")) {
        out->port = true;
        if (data)
            decode_port(data, out);
    }
}

static void decode_inet6(const struct nlattr *nest, struct net_link *out)
{
    const struct nlattr *a;
    NET_EACH_IN(a, nest)
    if (mnl_attr_get_type(a) == IFLA_INET6_ADDR_GEN_MODE)
        out->addrgen = net_attr_u8(a);
}

static void decode_families(const struct nlattr *nest, struct net_link *out)
{
    const struct nlattr *family;
    NET_EACH_IN(family, nest) if (mnl_attr_get_type(family) == AF_INET6) decode_inet6(family, out);
}

bool net_link_decode(const struct nlmsghdr *m, struct net_link *out)
{
    struct net_link l = {.link_netnsid = -1, .addrgen = IN6_ADDR_GEN_MODE_NONE};
    const struct nlattr *a;

    if (!net_message_is(m, RTM_NEWLINK, sizeof(struct ifinfomsg)) &&
        !net_message_is(m, RTM_DELLINK, sizeof(struct ifinfomsg)))
        return false;
    const struct ifinfomsg *i = mnl_nlmsg_get_payload(m);
    l.index = i->ifi_index;
    l.flags = i->ifi_flags;
    NET_EACH(a, m, sizeof *i)
    {
        switch (mnl_attr_get_type(a)) {
        case IFLA_IFNAME:
            net_attr_text(a, l.name, sizeof l.name);
            break;
        case IFLA_ADDRESS:
            l.has_mac = mnl_attr_get_payload_len(a) == sizeof l.mac;
            if (l.has_mac)
                memcpy(l.mac, mnl_attr_get_payload(a), sizeof l.mac);
            break;
        case IFLA_GROUP:
            l.group = net_attr_u32(a);
            break;
        case IFLA_MTU:
            l.mtu = net_attr_u32(a);
            break;
        case IFLA_MASTER:
            l.master = (int)net_attr_u32(a);
            break;
        case IFLA_LINK:
            l.link = (int)net_attr_u32(a);
            break;
        case IFLA_LINK_NETNSID:
            l.link_netnsid = (int)net_attr_u32(a);
            break;
        case IFLA_LINKINFO:
            decode_info(a, &l);
            break;
        case IFLA_PROTINFO: /* what a message of that family is about, nested there */
            if (i->ifi_family == AF_BRIDGE)
                decode_port(a, &l);
            else if (i->ifi_family == AF_INET6)
                decode_inet6(a, &l);
            break;
        case IFLA_AF_SPEC:
            if (i->ifi_family != AF_BRIDGE)
                decode_families(a, &l);
            break;
        }
    }
    if (!net_attrs_whole(m, a) || l.index <= 0 || !l.name[0])
        return false;
    *out = l;
    return true;
}

/* ---- read ---- */

struct link_request {
    struct nlmsghdr head;
    struct ifinfomsg body;
    uint8_t attributes[256];
};

static void link_request(struct link_request *q)
{
    memset(q, 0, sizeof *q);
    struct nlmsghdr *m = mnl_nlmsg_put_header(q);
    m->nlmsg_type = RTM_GETLINK;
    mnl_nlmsg_put_extra_header(m, sizeof q->body);
    mnl_attr_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

struct link_reader {
    net_link_fn each;
    int (*altname)(void *arg, const struct net_altname *a);
    void (*restart)(void *arg);
    void *arg;
};

static int link_message(void *arg, const struct nlmsghdr *m)
{
    struct link_reader *r = arg;
    struct net_link l;
    const struct nlattr *list, *a;

    if (m->nlmsg_type != RTM_NEWLINK)
        return 0;
    if (!net_link_decode(m, &l))
        return -EBADMSG;
    int result = r->each(r->arg, &l);
    if (result || !r->altname)
        return result;
    NET_EACH(list, m, sizeof(struct ifinfomsg))
    {
        if (mnl_attr_get_type(list) != IFLA_PROP_LIST)
            continue;
        NET_EACH_IN(a, list)
        {
            if (mnl_attr_get_type(a) != IFLA_ALT_IFNAME)
                continue;
            struct net_altname alt = {.index = l.index};
            net_attr_text(a, alt.name, sizeof alt.name);
            result = r->altname(r->arg, &alt);
            if (result)
                return result;
        }
    }
    return 0;
}

static void link_restart(void *arg)
{
    struct link_reader *r = arg;
    if (r->restart)
        r->restart(r->arg);
}

int net_link_dump(struct net_port *p, net_link_fn each,
                  int (*altname)(void *arg, const struct net_altname *a),
                  void (*restart)(void *arg), void *arg, struct net_error *err)
{
    struct link_request q;
    struct link_reader r = {.each = each, .altname = altname, .restart = restart, .arg = arg};
    link_request(&q);
    return net_port_dump(p, &q.head, link_message, link_restart, &r, err);
}

int net_link_dump_ports(struct net_port *p, net_link_fn each,
                        int (*altname)(void *arg, const struct net_altname *a),
                        void (*restart)(void *arg), void *arg, struct net_error *err)
{
    enum { NO_MASTER = -1 };
    struct link_request ports, others;
    struct net_dump dumps[] = {{.request = &ports.head}, {.request = &others.head}};
    struct link_reader r = {.each = each, .altname = altname, .restart = restart, .arg = arg};
    link_request(&ports);
    link_request(&others);
    ports.body.ifi_family = AF_BRIDGE;
    mnl_attr_put_u32(&others.head, IFLA_MASTER, (uint32_t)NO_MASTER);
    return net_port_dump_all(p, dumps, 2, link_message, link_restart, &r, err);
}

static int link_one(void *arg, const struct nlmsghdr *m)
{
    return net_link_decode(m, arg) && m->nlmsg_type == RTM_NEWLINK ? 0 : -EBADMSG;
}

int net_link_get(struct net_port *p, const char *name, int index, struct net_link *out,
                 struct net_error *err)
{
    struct link_request q;
    struct net_link l;

    link_request(&q);
    q.body.ifi_index = index;
    if (index <= 0 && (!name || !name[0] || strlen(name) >= IFNAMSIZ))
        return net_fail(err, ENODEV, "read", "link '%s'", name ? name : "");
    if (index <= 0)
        mnl_attr_put_strz(&q.head, IFLA_IFNAME, name);
    int r = net_port_ask(p, &q.head, link_one, &l, err);
    if (r) {
        if (err && index <= 0)
            snprintf(err->object, sizeof err->object, "link '%s'", name);
        else if (err)
            snprintf(err->object, sizeof err->object, "link %d", index);
        return r;
    }
    *out = l;
    return 0;
}

/* ---- encode ---- */

static void describe_link(const struct nlmsghdr *m, const char *name, char *out, size_t size)
{
    const struct ifinfomsg *i = mnl_nlmsg_get_payload(m);
    if (name[0])
        snprintf(out, size, "link '%s'", name);
    else
        snprintf(out, size, "link %d", i->ifi_index);
}

static void describe_bridge(const struct nlmsghdr *m, const char *name, char *out, size_t size)
{
    (void)m;
    snprintf(out, size, "bridge '%s'", name);
}

static void describe_group(const struct nlmsghdr *m, const char *name, char *out, size_t size)
{
    const struct nlattr *a;
    (void)name;
    NET_EACH(a, m, sizeof(struct ifinfomsg))
    if (mnl_attr_get_type(a) == IFLA_GROUP)
        snprintf(out, size, "the links of group %u", net_attr_u32(a));
}

static bool good_name(const char *name)
{
    return name && name[0] && strlen(name) < IFNAMSIZ;
}

/* The kernel expands '%' in the name of a new link and says OK. */
static bool good_new_name(const char *name)
{
    return good_name(name) && !strchr(name, '%');
}

static void put_bridge(struct nlmsghdr *m, bool ll_learn)
{
    struct br_boolopt_multi options = {.optmask = 1u << BR_BOOLOPT_NO_LL_LEARN};
    options.optval = ll_learn ? 0 : options.optmask;
    mnl_attr_put_strz(m, IFLA_INFO_KIND, "bridge");
    struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
    mnl_attr_put(m, IFLA_BR_MULTI_BOOLOPT, sizeof options, &options);
    mnl_attr_nest_end(m, data);
}

int net_batch_bridge_new(struct net_batch *b, const struct net_bridge_new *n, uint32_t tag)
{
    struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
    struct net_request r = {.type = RTM_NEWLINK,
                            .flags = NLM_F_CREATE | NLM_F_EXCL,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = "create",
                            .describe = describe_bridge,
                            .name = n->name,
                            .tag = tag};
    if (!good_new_name(n->name))
        return net_batch_lose(b, &r, EINVAL);
    struct nlmsghdr *m = net_batch_begin(b, &r);
    if (!m)
        return -ENOMEM;
    net_batch_mark(b, n->name_tag);
    mnl_attr_put_strz(m, IFLA_IFNAME, n->name);
    if (n->group)
        mnl_attr_put_u32(m, IFLA_GROUP, n->group);
    if (n->mac) {
        net_batch_mark(b, n->mac_tag);
        mnl_attr_put(m, IFLA_ADDRESS, 6, n->mac);
    }
    if (n->mtu) {
        net_batch_mark(b, n->mtu_tag);
        mnl_attr_put_u32(m, IFLA_MTU, n->mtu);
    }
    struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
    put_bridge(m, false);
    mnl_attr_nest_end(m, info);
    net_batch_end(b);
    return 0;
}

/* What both ends have: group, MTU, and one queue (the default is one a processor, which costs
 * the more the more there are). */
static void put_end(struct net_batch *b, struct nlmsghdr *m, const struct net_veth_new *n,
                    const uint8_t *mac, uint32_t mac_tag)
{
    if (n->group)
        mnl_attr_put_u32(m, IFLA_GROUP, n->group);
    if (n->mtu) {
        net_batch_mark(b, n->mtu_tag);
        mnl_attr_put_u32(m, IFLA_MTU, n->mtu);
    }
    if (mac) {
        net_batch_mark(b, mac_tag);
        mnl_attr_put(m, IFLA_ADDRESS, 6, mac);
    }
    mnl_attr_put_u32(m, IFLA_NUM_TX_QUEUES, 1);
    mnl_attr_put_u32(m, IFLA_NUM_RX_QUEUES, 1);
}

int net_batch_veth_new(struct net_batch *b, const struct net_veth_new *n, uint32_t tag)
{
    struct ifinfomsg body = {.ifi_family = AF_UNSPEC, .ifi_index = n->index};
    struct net_request r = {.type = RTM_NEWLINK,
                            .flags = NLM_F_CREATE | NLM_F_EXCL,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = "create",
                            .describe = describe_link,
                            .name = n->name,
                            .tag = tag};
    if (!good_new_name(n->name) || !good_new_name(n->peer_name) || n->peer_netns_fd < 0)
        return net_batch_lose(b, &r, EINVAL);
    struct nlmsghdr *m = net_batch_begin(b, &r);
    if (!m)
        return -ENOMEM;
    net_batch_mark(b, n->name_tag);
    mnl_attr_put_strz(m, IFLA_IFNAME, n->name);
    if (n->master)
        mnl_attr_put_u32(m, IFLA_MASTER, (uint32_t)n->master);
    put_end(b, m, n, n->mac, n->mac_tag);
    struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
    mnl_attr_put_strz(m, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(m, VETH_INFO_PEER);
    struct ifinfomsg *end = mnl_nlmsg_put_extra_header(m, sizeof *end);
    end->ifi_index = n->peer_index;
    mnl_attr_put_strz(m, IFLA_IFNAME, n->peer_name);
    mnl_attr_put_u32(m, IFLA_NET_NS_FD, (uint32_t)n->peer_netns_fd);
    put_end(b, m, n, n->peer_mac, n->peer_mac_tag);
    mnl_attr_nest_end(m, peer);
    mnl_attr_nest_end(m, data);
    mnl_attr_nest_end(m, info);
    net_batch_end(b);
    return 0;
}

/* The beginning of a change; the link is named by index where there is one. */
static struct nlmsghdr *change(struct net_batch *b, uint16_t type, struct net_link_ref l,
                               const char *op, int forgive, unsigned flags, unsigned flags_mask,
                               uint32_t tag, int *result)
{
    struct ifinfomsg body = {.ifi_family = AF_UNSPEC,
                             .ifi_index = l.index,
                             .ifi_flags = flags,
                             .ifi_change = flags_mask};
    struct net_request r = {.type = type,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = op,
                            .describe = describe_link,
                            .name = l.name,
                            .forgive = forgive,
                            .tag = tag};
    if (l.index < 0 || (!l.index && !good_name(l.name))) {
        *result = net_batch_lose(b, &r, EINVAL);
        return NULL;
    }
    struct nlmsghdr *m = net_batch_begin(b, &r);
    *result = m ? 0 : -ENOMEM;
    if (m && !l.index)
        mnl_attr_put_strz(m, IFLA_IFNAME, l.name);
    return m;
}

int net_batch_link_up(struct net_batch *b, struct net_link_ref l, bool up, uint32_t tag)
{
    int result;
    if (change(b, RTM_NEWLINK, l, up ? "set up" : "set down", 0, up ? IFF_UP : 0, IFF_UP, tag,
               &result))
        net_batch_end(b);
    return result;
}

static int change32(struct net_batch *b, struct net_link_ref l, const char *op, uint16_t type,
                    uint32_t value, uint32_t tag)
{
    int result;
    struct nlmsghdr *m = change(b, RTM_NEWLINK, l, op, 0, 0, 0, tag, &result);
    if (m) {
        mnl_attr_put_u32(m, type, value);
        net_batch_end(b);
    }
    return result;
}

int net_batch_link_mtu(struct net_batch *b, struct net_link_ref l, uint32_t mtu, uint32_t tag)
{
    return change32(b, l, "set the mtu of", IFLA_MTU, mtu, tag);
}

int net_batch_link_mac(struct net_batch *b, struct net_link_ref l, const uint8_t mac[6],
                       uint32_t tag)
{
    int result;
    struct nlmsghdr *m = change(b, RTM_NEWLINK, l, "set the MAC of", 0, 0, 0, tag, &result);
    if (m) {
        mnl_attr_put(m, IFLA_ADDRESS, 6, mac);
        net_batch_end(b);
    }
    return result;
}

int net_batch_link_master(struct net_batch *b, struct net_link_ref l, int master, uint32_t tag)
{
    return change32(b, l, "set the master of", IFLA_MASTER, (uint32_t)master, tag);
}

int net_batch_link_group(struct net_batch *b, struct net_link_ref l, uint32_t group, uint32_t tag)
{
    return change32(b, l, "set the group of", IFLA_GROUP, group, tag);
}

int net_batch_link_group_up(struct net_batch *b, struct net_link_ref l, uint32_t group,
                            uint32_t tag)
{
    int result;
    struct nlmsghdr *m =
        change(b, RTM_NEWLINK, l, "set up, with its group,", 0, IFF_UP, IFF_UP, tag, &result);
    if (m) {
        mnl_attr_put_u32(m, IFLA_GROUP, group);
        net_batch_end(b);
    }
    return result;
}

int net_batch_link_hairpin(struct net_batch *b, struct net_link_ref l, bool on, uint32_t tag)
{
    int result;
    struct nlmsghdr *m =
        change(b, RTM_NEWLINK, l, "set the hairpin mode of", 0, 0, 0, tag, &result);
    if (m) {
        struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
        mnl_attr_put_strz(m, IFLA_INFO_SLAVE_KIND, "bridge");
        struct nlattr *data = mnl_attr_nest_start(m, IFLA_INFO_SLAVE_DATA);
        mnl_attr_put_u8(m, IFLA_BRPORT_MODE, on);
        mnl_attr_nest_end(m, data);
        mnl_attr_nest_end(m, info);
        net_batch_end(b);
    }
    return result;
}

int net_batch_bridge_ll_learn(struct net_batch *b, struct net_link_ref l, bool on, uint32_t tag)
{
    int result;
    struct nlmsghdr *m = change(b, RTM_NEWLINK, l, "set the learning of", 0, 0, 0, tag, &result);
    if (m) {
        struct nlattr *info = mnl_attr_nest_start(m, IFLA_LINKINFO);
        put_bridge(m, on);
        mnl_attr_nest_end(m, info);
        net_batch_end(b);
    }
    return result;
}

/* A kernel without IPv6 answers EAFNOSUPPORT: there is nothing to switch off, so that counts as
 * done. */
int net_batch_link_no_autoconf(struct net_batch *b, struct net_link_ref l, uint32_t tag)
{
    int result;
    struct nlmsghdr *m = change(b, RTM_SETLINK, l, "switch off the IPv6 link-local address of",
                                EAFNOSUPPORT, 0, 0, tag, &result);
    if (m) {
        struct nlattr *families = mnl_attr_nest_start(m, IFLA_AF_SPEC);
        struct nlattr *v6 = mnl_attr_nest_start(m, AF_INET6);
        mnl_attr_put_u8(m, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        mnl_attr_nest_end(m, v6);
        mnl_attr_nest_end(m, families);
        net_batch_end(b);
    }
    return result;
}

int net_batch_link_del(struct net_batch *b, struct net_link_ref l, uint32_t tag)
{
    int result;
    if (change(b, RTM_DELLINK, l, "delete", 0, 0, 0, tag, &result))
        net_batch_end(b);
    return result;
}

int net_batch_group_del(struct net_batch *b, uint32_t group, uint32_t tag)
{
    struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
    struct net_request r = {.type = RTM_DELLINK,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = "delete",
                            .describe = describe_group,
                            .tag = tag};
    if (!group) /* the group of all other links */
        return net_batch_lose(b, &r, EINVAL);
    struct nlmsghdr *m = net_batch_begin(b, &r);
    if (!m)
        return -ENOMEM;
    mnl_attr_put_u32(m, IFLA_GROUP, group);
    net_batch_end(b);
    return 0;
}
