/* netops/link.h — links: bridges and veth pairs, read and changed.
 * Kernel   linux/if_link.h, linux/if_bridge.h, linux/veth.h. */
#ifndef NETOPS_LINK_H
#define NETOPS_LINK_H
#include "netops/batch.h"
#include <linux/if_link.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct net_link {
    int index;
    char name[IFNAMSIZ];
    char kind[IFNAMSIZ]; /* "bridge", "veth", "" for a real device */
    uint32_t group;      /* 0: none */
    uint32_t mtu;        /* bytes */
    uint32_t flags;      /* IFF_UP … */
    int master;          /* index, 0: none */
    /* IFLA_LINK: a veth's other end (in its own namespace), 0: none */
    int link;
    int link_netnsid; /* where `link` counts, -1: here or not told */
    uint8_t mac[6];
    bool has_mac; /* six bytes */
    /* IN6_ADDR_GEN_MODE_*; NONE where there is no IPv6 (mtu under 1280) */
    uint8_t addrgen;
    bool port, hairpin; /* a bridge port; IFLA_BRPORT_MODE */
    bool ll_learn;      /* a bridge that learns MACs from link-local frames */
};
struct net_altname { /* no link can take a name that is one of these */
    int index;
    char name[128];
};
typedef int (*net_link_fn)(void *arg, const struct net_link *l);
/* All links of the port's namespace in one dump, without statistics. `altname` may be NULL. */
int net_link_dump(struct net_port *p, net_link_fn each,
                  int (*altname)(void *arg, const struct net_altname *a),
                  void (*restart)(void *arg), void *arg, struct net_error *err);
/* Ports of bridges, and links without a master, in two dumps: where ports are many this costs a
 * fifth. Left out are slaves of what is no bridge; of a port, group, kind and addrgen are not told
 * (IFLA_PROTINFO is what AF_BRIDGE is about: net/bridge/br_netlink.c). A kernel that cannot ask
 * for "no master" (link_master_filtered in net/core/rtnetlink.c) tells none of the others, not
 * even `lo`. */
int net_link_dump_ports(struct net_port *p, net_link_fn each,
                        int (*altname)(void *arg, const struct net_altname *a),
                        void (*restart)(void *arg), void *arg, struct net_error *err);
/* One link by name (index 0) or index (name NULL). -ENODEV when there is none. */
int net_link_get(struct net_port *p, const char *name, int index, struct net_link *out,
                 struct net_error *err);
/* Decode one RTM_NEWLINK; false: not one, or a cut one. */
bool net_link_decode(const struct nlmsghdr *m, struct net_link *out);

struct net_bridge_new {
    const char *name;
    uint32_t group;
    const uint8_t *mac; /* NULL: the kernel's choice */
    uint32_t mtu;       /* 0: the kernel's default */
    /* for a refusal that names the attribute; 0: the request's tag */
    uint32_t name_tag, mac_tag, mtu_tag;
};
/* Queue: a new bridge, down, with NLM_F_EXCL; owner group, MAC and BR_BOOLOPT_NO_LL_LEARN are in
 * the creating message. */
int net_batch_bridge_new(struct net_batch *b, const struct net_bridge_new *n, uint32_t tag);

struct net_veth_new {
    const char *name;      /* the host's end */
    int master;            /* index of its bridge, 0: none */
    uint32_t group;        /* of both ends */
    uint32_t mtu;          /* of both ends, 0: the kernel's default */
    const uint8_t *mac;    /* of the host's end, NULL: the kernel's choice */
    const char *peer_name; /* "eth0" */
    const uint8_t *peer_mac;
    /* asked for, so that no one need look it up; 0: the kernel's choice */
    int peer_index;
    int peer_netns_fd; /* where the peer is born */
    int index;         /* asked for, of the host's end; 0: the kernel's choice */
    /* for a refusal that names the attribute; 0: the request's tag */
    uint32_t name_tag, mac_tag, mtu_tag, peer_mac_tag;
};
/* Queue: the pair in one message, EXCL, one queue each, both ends down (IFF_UP in VETH_INFO_PEER
 * is refused). */
int net_batch_veth_new(struct net_batch *b, const struct net_veth_new *n, uint32_t tag);

/* Queue: changes of one link, named by index or, where index is 0, by name. One group of attributes
 * a message. 0: queued; -ENOMEM; -EINVAL: no index and no name of 1 to 15 bytes (such a request
 * could fit links that are not meant). */
struct net_link_ref {
    int index;
    const char *name; /* for messages too; borrowed for the call */
};
int net_batch_link_up(struct net_batch *b, struct net_link_ref l, bool up, uint32_t tag);
int net_batch_link_mtu(struct net_batch *b, struct net_link_ref l, uint32_t mtu, uint32_t tag);
int net_batch_link_mac(struct net_batch *b, struct net_link_ref l, const uint8_t mac[6],
                       uint32_t tag);
/* 0: none */
int net_batch_link_master(struct net_batch *b, struct net_link_ref l, int master, uint32_t tag);
int net_batch_link_group(struct net_batch *b, struct net_link_ref l, uint32_t group, uint32_t tag);
/* both in one */
int net_batch_link_group_up(struct net_batch *b, struct net_link_ref l, uint32_t group,
                            uint32_t tag);
int net_batch_link_hairpin(struct net_batch *b, struct net_link_ref l, bool on, uint32_t tag);
/* Does the bridge learn source MACs from frames to 01:80:c2:00:00:0x? No hook of nftables sees
 * those that go to the host (br_handle_frame in net/bridge/br_input.c). */
int net_batch_bridge_ll_learn(struct net_batch *b, struct net_link_ref l, bool on, uint32_t tag);
/* ADDR_GEN_MODE none; before up */
int net_batch_link_no_autoconf(struct net_batch *b, struct net_link_ref l, uint32_t tag);
int net_batch_link_del(struct net_batch *b, struct net_link_ref l, uint32_t tag);
/* every link of the group, at once; never 0 */
int net_batch_group_del(struct net_batch *b, uint32_t group, uint32_t tag);
#endif
