/* netops/nft.h — berth's own tables, `inet berth` and `bridge berth`, as one value: built, read,
 * compared, swapped.
 * Shape    sets and maps hold what grows, so the number of rules does not grow with containers.
 * Atomic   one batch with a generation id (NFNL_BATCH_GENID); success is a generation that moved
 *          and tables that read back equal.
 * Meaning  what wins over what (isolation, port maps, inbound): the heads of nft_inet.c and
 *          nft_bridge.c.
 * Kernel   linux/netfilter/nf_tables.h. Only objects of libnftnl, never text. */
#ifndef NETOPS_NFT_H
#define NETOPS_NFT_H
#include "netops/port.h"
#include <net/if.h>
#include <stdbool.h>

struct net_nft_net {
    uint8_t family; /* AF_INET, AF_INET6 */
    uint8_t prefix;
    uint8_t bytes[16]; /* host bits clear */
};
struct net_nft_bridge {
    char name[IFNAMSIZ];
    const struct net_nft_net *net; /* borrowed */
    size_t n_net;
    /* masquerade leaving by these; "": none */
    char uplink4[IFNAMSIZ], uplink6[IFNAMSIZ];
    /* inbound: open; else only mapped ports and answers come in */
    bool open;
};
struct net_nft_map {        /* one port: ranges are expanded */
    uint8_t family;         /* of the container's address: AF_INET, AF_INET6 */
    uint8_t proto;          /* IPPROTO_TCP, IPPROTO_UDP */
    bool any;               /* any address of the host, else `host` alone */
    uint16_t port, to_port; /* host's order */
    uint8_t host[16], to[16];
    uint32_t tag;
};
struct net_nft_alone { /* an isolated container */
    /* its host link; "": none (a model has addresses and ports in entries of their own) */
    char port[IFNAMSIZ];
    uint8_t addr4[4], addr6[16];
    bool has4, has6;
    uint32_t tag;
};
/* What a container's port may send, for the checks in `table bridge berth`. With an empty port: an
 * address that no container may use (a bridge's own). A model has each property in an entry of
 * its own. */
struct net_nft_source {
    char port[IFNAMSIZ]; /* its host link */
    uint8_t mac[6], addr4[4], addr6[16];
    bool has_mac, has4, has6;
    /* the link is not in net_nft.group: it is checked by its name */
    bool guest;
    /* it may forward for others, advertise routes and answer DHCP requests */
    bool router;
    /* any MAC and IPv6 address but another port's; else also IPv6 addresses made of `mac` */
    bool any_mac;
    bool any4; /* any IPv4 address but another port's */
    uint32_t tag;
};
struct net_nft { /* what berth wants of nftables; arrays borrowed */
    const struct net_nft_bridge *bridges;
    size_t n_bridges;
    const struct net_nft_map *maps;
    size_t n_maps;
    const struct net_nft_alone *alone;
    size_t n_alone;
    const struct net_nft_source *sources;
    size_t n_sources;
    /* the link group of our ports; 0: none has one, and there are no sources */
    uint32_t group;
};

/* both tables as the kernel holds them, and the generation they were read in */
struct net_nft_have;
int net_nft_read(struct net_port *nft, struct net_nft_have **out, struct net_error *err);
void net_nft_have_free(struct net_nft_have *h);
DEFINE_SCOPED(struct net_nft_have *, net_nft_have_free)
/* A dump may be torn without a sign: read again until two readings agree, *have is then the later
 * one. Do this where a difference was seen, before anybody hears of it; net_nft_apply does it by
 * itself. */
int net_nft_confirm(struct net_port *nft, struct net_nft_have **have, struct net_error *err);
uint32_t net_nft_generation(const struct net_nft_have *h); /* in which it was read */
bool net_nft_certain(const struct net_nft_have *h);        /* confirmed, or nothing was there */
/* The generation alone, in one exchange: did anybody write since? */
int net_nft_read_generation(struct net_port *nft, uint32_t *out, struct net_error *err);
bool net_nft_absent(const struct net_nft_have *h); /* neither table is there */

/* Every difference as one line for people, in a fixed order: "table inet berth is missing", "chain
 * 'src': rule 2 differs", "port map tcp 8080 to 10.100.0.10:80 is missing", "set 'bridges': element
 * \"br9\" is not wanted". want NULL: no tables. Returns the number of differences. `each` may be
 * NULL. */
size_t net_nft_compare(const struct net_nft *want, const struct net_nft_have *have,
                       void (*each)(void *arg, const char *line), void *arg);
/* The model that `have` holds, as far as it is ours in shape (undo goes back to it). malloc'd
 * arrays; false: not our shape. */
struct net_nft_model {
    struct net_nft nft;
    struct net_nft_bridge *bridges;
    struct net_nft_net *nets; /* of all bridges */
    struct net_nft_map *maps;
    struct net_nft_alone *alone;
    struct net_nft_source *sources;
};
bool net_nft_model(const struct net_nft_have *have, struct net_nft_model *out);
void net_nft_model_done(struct net_nft_model *m);

/* Make the kernel hold `want` (NULL: delete both tables) in one batch, only the differing elements
 * where the rest is equal, the tables made anew otherwise. Nothing is sent when nothing differs. A
 * `have` that was not confirmed is read again before it is acted on. *after is what was read when
 * the change was in, equal to `want` (NULL where nothing was sent); the caller's to free;
 * `after` may be NULL. -ERESTART: somebody committed since `have` was read. */
int net_nft_apply(struct net_port *nft, const struct net_nft *want, const struct net_nft_have *have,
                  struct net_nft_have **after, struct net_error *err);
#endif
