/* spec/spec.h — a spec file as a document: hosts, bridges, containers, each value with its place in
 * the file.
 * Owns     all of it lives in the arena given to spec_load and is freed with it; strings end in
 *          NUL.
 * Borrows  the text, until spec_load has returned (spec_diags_format wants it once more).
 * Opens    nothing: whoever calls has read the file, standard input or git object.
 * Source   berth.yaml(5); defaults are merged in (defaults.host, defaults.container, deep), and
 *          bounds checked. */
#ifndef SPEC_SPEC_H
#define SPEC_SPEC_H
#include "spec/addr.h"
#include "spec/arena.h"
#include "spec/diag.h"

enum spec_state { SPEC_RUNNING, SPEC_STOPPED };
enum spec_runtime { SPEC_RT_AUTO, SPEC_RT_NIXOS, SPEC_RT_NSPAWN, SPEC_RT_NETNS };
enum spec_uplink { SPEC_UPLINK_NONE, SPEC_UPLINK_AUTO, SPEC_UPLINK_LINK };
enum spec_root { SPEC_ROOT_HOST, SPEC_ROOT_DIR, SPEC_ROOT_TAR };
/* nspawn.private_users */
enum spec_users { SPEC_USERS_AUTO, SPEC_USERS_NONE, SPEC_USERS_IDENTITY };
enum spec_l4 { SPEC_TCP = 6, SPEC_UDP = 17 }; /* IPPROTO_* */

struct spec_string {
    const char *text;
    struct spec_loc at;
};
struct spec_cidr {
    struct spec_addr addr;
    struct spec_loc at;
};
struct spec_nat {
    bool given;              /* the bridge has a `nat` map */
    enum spec_uplink uplink; /* NONE when not given */
    const char *interface;   /* with SPEC_UPLINK_LINK */
    bool open;               /* inbound: open */
    struct spec_loc at, interface_at, inbound_at;
};
struct spec_bridge {
    const char *name;
    struct spec_loc at; /* of the name, or of the map where the name is left out */
    struct spec_cidr *addresses;
    size_t n_addresses;
    uint32_t mtu; /* bytes; 0: left as found */
    struct spec_loc mtu_at;
    struct spec_nat nat;
};
struct spec_port { /* [ADDRESS:]HOST:CONTAINER[/tcp|/udp]; a range when count > 1 */
    /* family 0: any of the host's addresses; 0.0.0.0, [::]: any of that family (spec_port_any) */
    struct spec_addr address;
    uint16_t host, container, count;
    enum spec_l4 proto;
    struct spec_loc at;
};
struct spec_gateway {
    enum { SPEC_GW_BRIDGE, SPEC_GW_NONE, SPEC_GW_GIVEN } mode;
    struct spec_addr addr; /* with GIVEN */
    struct spec_loc at;
};
struct spec_bind { /* nspawn.binds: HOST[:CONTAINER][:ro] */
    const char *host, *container;
    bool read_only;
    struct spec_loc at;
};
struct spec_env {
    const char *name, *value;
    /* the host's file that holds the value, absolute; NULL: `value` is the value */
    const char *file;
    struct spec_loc at;
};
struct spec_container {
    const char *name;
    struct spec_loc at; /* of the name */
    uint32_t bridge;    /* index into the host's bridges */
    /* [0] IPv4, [1] IPv6; family 0: none; prefix is the bridge's */
    struct spec_cidr address[2];
    struct spec_gateway gateway;
    bool has_mac;
    uint8_t mac[6];
    struct spec_loc mac_at;
    struct spec_port *ports;
    size_t n_ports;
    enum spec_state state;
    /* destroy_files: on_remove: destroy */
    bool autostart, isolated, router, protect, destroy_files;
    struct spec_loc state_at, isolated_at, runtime_at, router_at;
    enum spec_runtime runtime;
    struct { /* one of the three is set when the map is given */
        bool given;
        struct spec_loc at;
        /* attr: after '#', else the name */
        struct spec_string flake, attr, system, config;
    } nixos;
    struct {
        bool given;
        struct spec_loc at;
        enum spec_root root;
        struct spec_string path; /* DIR, TAR; as written */
        bool boot;
        /* n_command 0: a pause process */
        struct spec_string *command;
        size_t n_command;
        struct spec_bind *binds;
        size_t n_binds;
        struct spec_env *environment; /* sorted by name */
        size_t n_environment;
        enum spec_users users;
        /* bit per capability that is added */
        uint64_t capabilities;
        bool network_admin;
        struct spec_loc boot_at, users_at, capabilities_at, network_admin_at;
    } nspawn;
};
struct spec_host {
    const char *name;
    struct spec_loc at;
    struct spec_bridge *bridges; /* in the spec's order */
    size_t n_bridges;
    struct spec_cidr *nameservers; /* none: the host's */
    size_t n_nameservers;
    bool nameservers_given;
    bool names;                        /* hosts files are kept */
    struct spec_container *containers; /* sorted by name, bytewise */
    size_t n_containers;
    struct spec_loc containers_at;
};
struct spec_doc {
    uint32_t version;
    struct spec_host *hosts; /* in the spec's order */
    size_t n_hosts;
};
struct spec_limits {
    size_t bytes; /* SPEC_BYTES, or SPEC_BYTES_HUGE with --huge */
};
#define SPEC_BYTES            (4u << 20)
#define SPEC_BYTES_HUGE       (64u << 20)
#define SPEC_DEPTH            16
#define SPEC_TEXT             4096 /* bytes in one scalar */
#define SPEC_PORTS_PER_BRIDGE 1023 /* the kernel's limit */

/* Parse and check all of `text`. 0 with *out; -EINVAL when *diags holds errors (*out is then not
 * written); -ENOMEM. Time and memory are linear in `len`. Warnings alone leave 0. */
int spec_load(struct spec_arena *a, const char *text, size_t len, const struct spec_limits *limits,
              struct spec_doc **out, struct spec_diags *diags);

/* The host that this machine is: `wanted` (from --host or $BERTH_HOST) by exact name; else
 * `hostname`, whole or up to its first dot; else a lone `localhost`. NULL: none fits. */
const struct spec_host *spec_host_find(const struct spec_doc *doc, const char *wanted,
                                       const char *hostname);
/* The host's end of a container's veth: `vb-NAME` where that fits 15 bytes, else `vb-` + the name's
 * first 7 characters + `-` + 4 hex digits of its FNV-1a hash. Names that come out equal are an
 * error of the spec. */
void spec_link_name(const char *container, char out[16]);
/* Any of the host's addresses leads in, of the port's family if it has one. */
bool spec_port_any(const struct spec_port *p);
/* "SYS_ADMIN" for CAP_SYS_ADMIN; NULL: no capability has this number. */
const char *spec_capability_name(unsigned number);
/* The bridge's own address of a family (4, 6), or NULL. */
const struct spec_cidr *spec_bridge_address(const struct spec_bridge *b, int family);
/* The bridge's own address in the subnet of a container's (which has the subnet's prefix), or
 * NULL. */
const struct spec_cidr *spec_bridge_near(const struct spec_bridge *b, const struct spec_addr *a);
/* host_paths.c. "/srv//a/./b/" is "/srv/a/b"; a relative path stays relative. `out` has room for
 * the path and two bytes more. Returns `out`. */
const char *spec_plain_path(const char *path, char *out);
#endif
