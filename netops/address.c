/* Addresses. The kernel takes any nonsense as an address: what is sensible is decided above. */
#include "netops/address.h"
#include "netops/attr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>

#ifndef IFA_PROTO
#define IFA_PROTO 11 /* linux/if_addr.h of 5.18 */
#endif

bool net_address_decode(const struct nlmsghdr *m, struct net_address *out)
{
    struct net_address d = {0};
    const struct nlattr *a;
    bool local = false, given = false;

    if (!net_message_is(m, RTM_NEWADDR, sizeof(struct ifaddrmsg)) &&
        !net_message_is(m, RTM_DELADDR, sizeof(struct ifaddrmsg)))
        return false;
    const struct ifaddrmsg *i = mnl_nlmsg_get_payload(m);
    size_t size = i->ifa_family == AF_INET ? 4 : i->ifa_family == AF_INET6 ? 16 : 0;
    d.index = (int)i->ifa_index;
    d.family = i->ifa_family;
    d.prefix = i->ifa_prefixlen;
    d.scope = i->ifa_scope;
    d.flags = i->ifa_flags;
    if (!size)
        return false;
    NET_EACH(a, m, sizeof *i)
    {
        switch (mnl_attr_get_type(a)) {
        case IFA_LOCAL:
            local = net_attr_bytes(a, d.bytes, size);
            break;
        case IFA_ADDRESS: /* of a point-to-point link this is the other end */
            if (!local)
                given = net_attr_bytes(a, d.bytes, size);
            break;
        case IFA_FLAGS:
            d.flags = net_attr_u32(a);
            break;
        case IFA_PROTO:
            d.proto = net_attr_u8(a);
            break;
        }
    }
    if (!net_attrs_whole(m, a) || !(local || given) || d.index <= 0 || d.prefix > size * 8)
        return false;
    *out = d;
    return true;
}

struct address_reader {
    net_address_fn each;
    void (*restart)(void *arg);
    void *arg;
};

static int address_message(void *arg, const struct nlmsghdr *m)
{
    struct address_reader *r = arg;
    struct net_address a;

    if (m->nlmsg_type != RTM_NEWADDR)
        return 0;
    if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg))) {
        const struct ifaddrmsg *i = mnl_nlmsg_get_payload(m);
        if (i->ifa_family != AF_INET && i->ifa_family != AF_INET6)
            return 0;
    }
    return net_address_decode(m, &a) ? r->each(r->arg, &a) : -EBADMSG;
}

static void address_restart(void *arg)
{
    struct address_reader *r = arg;
    if (r->restart)
        r->restart(r->arg);
}

int net_address_dump(struct net_port *p, net_address_fn each, void (*restart)(void *arg), void *arg,
                     struct net_error *err)
{
    struct {
        struct nlmsghdr head;
        struct ifaddrmsg body;
    } q = {.head = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_GETADDR},
           .body = {.ifa_family = AF_UNSPEC}};
    struct address_reader r = {.each = each, .restart = restart, .arg = arg};
    return net_port_dump(p, &q.head, address_message, address_restart, &r, err);
}

static void describe(const struct nlmsghdr *m, const char *link, char *out, size_t size)
{
    struct net_address a;
    char text[INET6_ADDRSTRLEN] = "?";

    if (net_address_decode(m, &a))
        inet_ntop(a.family, a.bytes, text, sizeof text);
    else
        a.prefix = 0;
    if (link[0])
        snprintf(out, size, "address %s/%u on link '%s'", text, a.prefix, link);
    else
        snprintf(out, size, "address %s/%u on link %d", text, a.prefix, a.index);
}

static int queue(struct net_batch *b, uint16_t type, uint16_t flags, const char *op,
                 const struct net_address *a, const char *link, uint8_t proto, uint32_t tag)
{
    size_t size = a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0;
    struct ifaddrmsg body = {.ifa_family = a->family,
                             .ifa_prefixlen = a->prefix,
                             .ifa_scope = a->scope,
                             .ifa_index = (uint32_t)a->index};
    struct net_request r = {.type = type,
                            .flags = flags,
                            .body = &body,
                            .body_size = sizeof body,
                            .op = op,
                            .describe = describe,
                            .name = link,
                            .tag = tag};
    if (!size || a->index <= 0 || a->prefix > size * 8)
        return net_batch_lose(b, &r, EINVAL);
    struct nlmsghdr *m = net_batch_begin(b, &r);
    if (!m)
        return -ENOMEM;
    mnl_attr_put(m, IFA_LOCAL, size, a->bytes);
    mnl_attr_put(m, IFA_ADDRESS, size, a->bytes);
    if (type == RTM_NEWADDR) {
        uint32_t kept = IFA_F_NOPREFIXROUTE | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR |
                        IFA_F_MCAUTOJOIN | IFA_F_NODAD;
        uint32_t own = (a->flags & kept) | (a->family == AF_INET6 ? IFA_F_NODAD : 0);
        if (own)
            mnl_attr_put_u32(m, IFA_FLAGS, own);
        if (proto)
            mnl_attr_put_u8(m, IFA_PROTO, proto);
    }
    net_batch_end(b);
    return 0;
}

int net_batch_address_new(struct net_batch *b, const struct net_address *a, const char *link,
                          uint32_t tag)
{
    return queue(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add", a, link, NET_PROTO_BERTH, tag);
}

int net_batch_address_back(struct net_batch *b, const struct net_address *a, const char *link,
                           uint32_t tag)
{
    return queue(b, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "add", a, link, a->proto, tag);
}

int net_batch_address_del(struct net_batch *b, const struct net_address *a, const char *link,
                          uint32_t tag)
{
    return queue(b, RTM_DELADDR, 0, "remove", a, link, 0, tag);
}

int net_batch_address_mark(struct net_batch *b, const struct net_address *a, const char *link,
                           uint8_t proto, uint32_t tag)
{
    return queue(b, RTM_NEWADDR, NLM_F_REPLACE, proto == NET_PROTO_BERTH ? "mark" : "unmark", a,
                 link, proto, tag);
}
