/* One entry of the neighbour table. */
#include "netops/neighbour.h"
#include "netops/attr.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>

static int take_state(void *arg, const struct nlmsghdr *m)
{
    uint16_t *state = arg;
    if (!net_message_is(m, RTM_NEWNEIGH, sizeof(struct ndmsg)))
        return -EBADMSG;
    *state = ((const struct ndmsg *)mnl_nlmsg_get_payload(m))->ndm_state;
    return 0;
}

int net_neighbour_known(struct net_port *p, int link, uint8_t family, const uint8_t *bytes,
                        bool *known, struct net_error *err)
{
    union {
        struct nlmsghdr head;
        uint8_t room[NLMSG_LENGTH(sizeof(struct ndmsg)) + 64];
    } q;
    uint16_t state = 0;
    memset(&q, 0, sizeof q);
    q.head.nlmsg_len = NLMSG_LENGTH(sizeof(struct ndmsg));
    q.head.nlmsg_type = RTM_GETNEIGH;
    struct ndmsg *body = mnl_nlmsg_get_payload(&q.head);
    body->ndm_family = family;
    body->ndm_ifindex = link;
    mnl_attr_put(&q.head, NDA_DST, family == AF_INET6 ? 16 : 4, bytes);
    int r = net_port_ask(p, &q.head, take_state, &state, err);
    if (r && r != -ENOENT)
        return r;
    *known = !r && state & (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_STALE | NUD_DELAY |
                            NUD_PROBE);
    return 0;
}
