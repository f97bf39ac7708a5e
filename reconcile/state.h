/* reconcile/state.h — a state is a sorted set of resources (items): what a spec wants, what a host
 * has.
 * Owns     items live in the arena of the run that made them; a state only points.
 * One diff, one order, one apply work on states alone; see plan.h. */
#ifndef RECONCILE_STATE_H
#define RECONCILE_STATE_H
#include "netops/netns.h"
#include "netops/nft.h"
#include "netops/route.h"
#include "spec/spec.h"

/* "bert": the link group of every link that berth made, and of `lo` in every namespace that it
 * made. */
#define REC_GROUP      0x62657274u
#define REC_GROUP_GONE 0x62657275u /* verified links on their way out, deleted as one group */

static inline bool rec_group_ours(uint32_t group)
{
    return group == REC_GROUP || group == REC_GROUP_GONE;
}

/* In plan order as people read it; removal runs backwards. */
enum rec_kind_id {
    REC_SYSTEM, /* key: container */
    REC_BRIDGE, /* key: link */
    /* key: "LINK ADDRESS/PREFIX" (IPv4), "LINK ADDRESS" (IPv6: one address whatever its prefix) */
    REC_ADDRESS,
    REC_NAT,    /* key: "berth" */
    REC_SYSCTL, /* key: its name with slashes */
    REC_NAMES,  /* key: path of the file, or directory of a container */
    REC_NETNS,  /* key: container */
    REC_PORT,   /* key: container */
    REC_UNIT,   /* key: container */
    REC_RUN,    /* key: container */
    REC_KINDS
};

struct rec_bridge {
    uint8_t mac[6];
    uint32_t mtu;
    bool up;
    bool accept_ra;
    bool loopback; /* route_localnet: mapped ports answer on 127.0.0.1 */
    bool ll_learn; /* learns MACs from link-local frames, which no filter sees */
    /* a run that was killed had marked it for deletion: wanted, it gets its mark back */
    bool doomed;
    bool link_local;      /* has an IPv6 link-local address */
    bool link_local_ours; /* have only */
    int index;            /* have only */
    uint32_t group;       /* have only: what an adoption that is undone gives back */
    bool other_kind;      /* have: a link of that name that is no bridge */
    const char *foreign;  /* have: what would go with it and is not ours, or NULL */
    bool foreign_port;    /* have */
};
struct rec_address {
    const char *link;
    struct net_address addr; /* index: have only */
    struct spec_addr text;
    uint32_t prefix; /* bits */
};
struct rec_nat {
    const struct net_nft *want;
    struct net_nft_have *have;   /* have only; closed with the run */
    const struct net_nft *equal; /* have only: the wish that it was found equal to, NULL: none */
};
struct rec_sysctl {
    const char *value;
    const char *before; /* have: what the record says it was before berth, or NULL */
};
struct rec_netns {
    bool lo_up;
    ino_t ino;  /* have only */
    bool taken; /* have only: something that is no namespace bears the name */
    /* have only: no namespace, but an empty file that a killed run of ours left behind */
    bool left_over;
    uint32_t group; /* have only: of lo */
    /* it belongs to the container's user namespace, and comes and goes with each start */
    bool own;
};
struct rec_port {
    const char *link;   /* the host's end: spec_link_name() */
    const char *bridge; /* its master, "" none */
    uint8_t mac[6];     /* of eth0 */
    /* what the host's end is made with, and known by where its group is not told; 0: whatever the
     * kernel chooses */
    uint8_t host_mac[6];
    uint32_t mtu;
    /* autoconf: IPv6 link-local addresses are made on the host's end or eth0 */
    bool up, inside_up, hairpin, autoconf;
    struct net_address *address; /* of eth0; have: global ones; proto tells whose */
    size_t n_address;
    /* all 0: a default route that leads to none by way of eth0 */
    uint8_t gw4[4], gw6[16];
    bool has_gw4, has_gw6;
    bool gw4_ours, gw6_ours;
    struct net_route via4, via6;   /* have: that route, whole */
    int index, peer_index, master; /* have only */
    uint32_t group, inside_group;  /* have only */
    bool doomed;                   /* as a bridge's */
    bool whole;                    /* both ends are there and belong together */
    const char *taken;             /* have: what stands in the way of the link's name, or NULL */
    bool shared;                   /* have: its bridge is not berth's, or others have ports on it */
    bool own;                      /* have: its namespace is `own` */
    /* have: its addresses and routes cannot be told, and are left alone */
    bool unclear;
};
struct rec_names {
    /* of the file or, of /etc/hosts, of the block with its marks; NULL: no file */
    const char *text;
    /* of a container's directory: the target of /etc/netns/NAME, or NULL */
    const char *link;
    const char *resolv, *hostname; /* of a container's directory */
    /* of a container's directory: the hosts file that its link leads to, or NULL */
    const char *hosts;
    const char *note; /* why it is left alone (a symlink), or NULL */
    /* have: why nobody can change it as it is, or NULL */
    const char *blocked, *blocked_hint;
};
struct rec_unit {
    const char *text;        /* settings, canonical: what the process is started with */
    const char *digest;      /* of text */
    const char *environment; /* nspawn: its variables, not to be shown; NULL: none */
    /* nspawn: the port that the container's own network gets at each start; NULL: the namespace is
     * the host's */
    const char *network;
    /* nixos: the flake that calls the container's attribute `container`, "" where it needs none */
    const char *flake;
    const char *foreign; /* have: why it may never be taken over, or NULL */
    const char *foreign_hint;
};
struct rec_running {
    bool running;
    enum spec_users users; /* want, nspawn: the mode that will be in force on this host */
    /* want, nspawn: why `auto` will run as `none`, with the path that is in the way; NULL: it will
     * not */
    const char *no_userns;
    const char *digest; /* of the unit in force */
    /* nspawn: digest of the variables in force, not to be shown; NULL: none */
    const char *environment;
    /* have: lives in another network namespace than the one that bears its name */
    bool stale;
    bool orphan;         /* have: processes without their nspawn */
    bool unlogged;       /* have, nspawn: the process that writes its log has ended */
    pid_t leader;        /* have; 0: none */
    uint64_t started_ms; /* have: CLOCK_BOOTTIME */
    const char *address; /* nixos: what eth0 has in force: "10.0.0.2/24 via 10.0.0.1" */
    const char *master;  /* nixos: the bridge that its port is on, "" none */
    const char *system;  /* nixos: the store path that runs inside */
    int port;            /* have, nixos: index of the host's end, 0: none */
    /* want: stopped by hand until start or reboot: why; NULL: not held */
    const char *held;
    bool autostart;
};
struct rec_system {
    const char *path;      /* of the root tree */
    const char *source;    /* the tar it is unpacked from */
    const char *on_remove; /* "keep", "destroy" */
    const char *profile;   /* nixos: the store path that the container's profile points to */
    /* nixos, want: what the source was when it was built, NULL: not known; not compared */
    const char *key;
    /* nixos: where the system comes from, as the spec has it; compared offline alone */
    const char *flake;
};

struct rec_item {
    enum rec_kind_id kind;
    const char *key;
    const char *container;             /* NULL: the host's */
    const struct spec_container *spec; /* want of a container; NULL else */
    enum spec_runtime runtime;         /* of a container's items */
    struct spec_loc at;                /* want: the line that asks for it */
    bool ours;                         /* have: bears our mark. want: true */
    bool protect;
    /* want: was adopted and goes back to its owner; where it is not ours, nothing is to be done */
    bool back;
    uint32_t stated; /* bit per field of the kind's table: the field has a value */
    /* want: what of it is not known: "known after build"; NULL: nothing */
    const char *unknown;
    /* have: bit per field: it differs because berth changed, not the spec. That waits for the next
     * start */
    uint32_t later;
    const char *next_start; /* have, with `later`: what the next start brings: "user namespace" */
    uint32_t kept;          /* have: bit per field: stays as it is, since others depend on it */
    /* bit per field: derived, not written by the author; no difference on what is not ours */
    uint32_t weak;
    union {
        struct rec_system system;
        struct rec_bridge bridge;
        struct rec_address address;
        struct rec_nat nat;
        struct rec_sysctl sysctl;
        struct rec_netns netns;
        struct rec_port port;
        struct rec_names names;
        struct rec_unit unit;
        struct rec_running run;
    };
};

struct rec_note { /* seen, reported where it stands in the way, left alone */
    const char *object, *text;
    const char *hint; /* what to do, as a command where there is one; NULL: nothing */
    /* something that the spec asks for does not work, or harms the host */
    bool warning;
};
struct rec_state {
    struct spec_arena *arena; /* borrowed */
    struct rec_item **items;  /* sorted by kind and key after rec_state_sort */
    size_t n, room;
    struct rec_note *notes;
    size_t n_notes, room_notes;
    /* bit per kind: not read, for want of rights; nothing is planned for it */
    uint32_t unknown;
};
void rec_state_init(struct rec_state *s, struct spec_arena *a);
/* A zeroed item, ours; NULL: out of memory. */
struct rec_item *rec_state_add(struct rec_state *s, enum rec_kind_id kind, const char *key);
int rec_state_push(struct rec_state *s, struct rec_item *i); /* an item made elsewhere */
int rec_state_note(struct rec_state *s, const char *object, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int rec_state_hint(struct rec_state *s, const char *object, const char *hint, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
/* A note that is a warning. `hint` may be NULL. Texts are copied. */
int rec_state_warn(struct rec_state *s, const char *object, const char *hint, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));
void rec_state_sort(struct rec_state *s);
const struct rec_item *rec_state_find(const struct rec_state *s, enum rec_kind_id kind,
                                      const char *key);
#endif
