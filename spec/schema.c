/* Tables of keys. A row names what reads its value; the reader of a map walks the map, finds the
 * row, and what it does not find gets the nearest name as a hint. Defaults are merged as trees,
 * before reading, so a default and a value are one thing. */
#include "spec/schema.h"
#include "spec/internal.h"
#include "spec/values.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAKE(name)                                                                                 \
    static void name(struct spec_build *b, void *object, const struct spec_node *key,              \
                     const struct spec_node *v)

/* ---- bridge, nat ------------------------------------------------------- */
TAKE(bridge_name)
{
    struct spec_bridge *o = object;
    (void)key;
    const char *s = spec_take_link(b, v);
    if (s)
        o->name = s;
    o->at = v->at;
}
TAKE(bridge_address)
{
    struct spec_bridge *o = object;
    spec_take_addresses(b, key, v, &o->addresses, &o->n_addresses);
}
TAKE(bridge_mtu)
{
    struct spec_bridge *o = object;
    (void)key;
    o->mtu_at = v->at;
    spec_take_number(b, v, 68, 65535, &o->mtu);
}
TAKE(nat_interface)
{
    struct spec_nat *o = object;
    (void)key;
    o->interface_at = v->at;
    if (spec_is(v, "none"))
        o->uplink = SPEC_UPLINK_NONE;
    else if (spec_is(v, "auto"))
        o->uplink = SPEC_UPLINK_AUTO;
    else if ((o->interface = spec_take_link(b, v)))
        o->uplink = SPEC_UPLINK_LINK;
}
TAKE(nat_inbound)
{
    static const char *const words[] = {"ports", "open"};
    struct spec_nat *o = object;
    int i = spec_take_word(b, v, words, 2);
    (void)key;
    o->inbound_at = v->at;
    if (i >= 0)
        o->open = i == 1;
}

static const struct spec_key nat_keys[] = {
    {"inbound", "`ports` or `open`", "ports",
     "from outside only mapped ports and answers reach containers, or everything", nat_inbound},
    {"interface", "a link name, `auto` or `none`", "none",
     "where containers' traffic leaves masqueraded; auto: the default route's", nat_interface},
};
static const struct spec_table nat_table = {"nat", nat_keys, sizeof nat_keys / sizeof *nat_keys};

static void take_nat(struct spec_build *b, struct spec_nat *nat, const struct spec_node *key,
                     const struct spec_node *v)
{
    nat->given = true;
    nat->at = key->at;
    spec_take_map(b, &nat_table, v, key, nat);
}
TAKE(bridge_nat)
{
    take_nat(b, &((struct spec_bridge *)object)->nat, key, v);
}

static const struct spec_key bridge_keys[] = {
    {"address", "a CIDR, or a list of them (IPv4, IPv6)", "error",
     "the bridge's own addresses; their subnets are the containers'", bridge_address},
    {"mtu", "68..65535", "left as found", "bytes, of the bridge and its ports", bridge_mtu},
    {"name", "a link name, 1..15 characters", "br-containers", "", bridge_name},
};
static const struct spec_key bridges_keys[] = {
    {"address", "a CIDR, or a list of them (IPv4, IPv6)", "error",
     "the bridge's own addresses; their subnets are the containers'", bridge_address},
    {"mtu", "68..65535", "left as found", "bytes, of the bridge and its ports", bridge_mtu},
    {"nat", "a map", "no NAT", "", bridge_nat},
};
static const struct spec_table bridge_table = {"bridge", bridge_keys,
                                               sizeof bridge_keys / sizeof *bridge_keys};
static const struct spec_table bridges_table = {"bridges.NAME", bridges_keys,
                                                sizeof bridges_keys / sizeof *bridges_keys};

/* ---- container --------------------------------------------------------- */
TAKE(flake)
{
    struct spec_container *c = object;
    struct spec_string s;
    (void)key;
    if (!spec_take_text(b, v, &s))
        return;
    const char *hash = strrchr(s.text, '#');
    c->nixos.flake = c->nixos.attr = s;
    c->nixos.attr.text = NULL;
    if (hash && hash[1])
        c->nixos.attr.text = hash + 1;
    if (hash)
        c->nixos.flake.text = spec_arena_strndup(b->c->arena, s.text, (size_t)(hash - s.text));
}
TAKE(nixos_system)
{
    struct spec_container *c = object;
    (void)key;
    if (!spec_take_text(b, v, &c->nixos.system))
        return;
    /* One name there (nix's libstore, path.cc), not what is inside of it. */
    const char *name = c->nixos.system.text + 11;
    bool below = !strncmp(c->nixos.system.text, "/nix/store/", 11) &&
                 !strstr(c->nixos.system.text, "..") && *name != '/';
    bool one =
        below && *name && *name != '.' &&
        !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._?=")];
    if (!one) {
        spec_fault(b->c, SPEC_E_PATH, v->at,
                   below ? "a system is one path of the store: /nix/store/HASH-NAME"
                         : "a system is a path below /nix/store");
        c->nixos.system.text = NULL;
    }
}
TAKE(nixos_config)
{
    (void)key;
    spec_take_path(b, v, &((struct spec_container *)object)->nixos.config, false);
}
static const struct spec_key nixos_keys[] = {
    {"config", "a path", "–", "a configuration.nix", nixos_config},
    {"flake", "a flake reference", "–", "`#attr` defaults to the container's name", flake},
    {"system", "a store path", "–", "a system that is built already", nixos_system},
};
static const struct spec_table nixos_table = {"nixos", nixos_keys,
                                              sizeof nixos_keys / sizeof *nixos_keys};

TAKE(nspawn_root)
{
    struct spec_container *c = object;
    static const char *const tars[] = {".tar", ".tar.gz",  ".tgz",    ".tar.xz",
                                       ".txz", ".tar.zst", ".tar.bz2"};
    (void)key;
    if (spec_is(v, "host")) {
        c->nspawn.root = SPEC_ROOT_HOST;
        return;
    }
    if (!spec_take_path(b, v, &c->nspawn.path, true))
        return;
    c->nspawn.root = SPEC_ROOT_DIR;
    for (size_t i = 0; i < sizeof tars / sizeof *tars; i++) {
        size_t n = strlen(tars[i]), k = strlen(c->nspawn.path.text);
        if (k > n && !strcmp(c->nspawn.path.text + k - n, tars[i]))
            c->nspawn.root = SPEC_ROOT_TAR;
    }
    if (c->nspawn.root == SPEC_ROOT_DIR && *c->nspawn.path.text == '/' &&
        spec_system_directory(c->nspawn.path.text)) {
        spec_fault(b->c, SPEC_E_PATH, v->at,
                   "a directory of the host's own system cannot be a container root; `host` gives "
                   "the host's own /usr, read-only");
        c->nspawn.path.text = NULL;
    }
}
TAKE(nspawn_command)
{
    struct spec_container *c = object;
    spec_take_words(b, key, v, &c->nspawn.command, &c->nspawn.n_command);
    if (c->nspawn.n_command && !*c->nspawn.command[0].text)
        spec_fault(b->c, SPEC_E_TEXT, c->nspawn.command[0].at, "a command needs a program");
}
TAKE(nspawn_boot)
{
    (void)key;
    ((struct spec_container *)object)->nspawn.boot_at = v->at;
    spec_take_bool(b, v, &((struct spec_container *)object)->nspawn.boot);
}
TAKE(nspawn_binds)
{
    struct spec_container *c = object;
    spec_take_binds(b, key, v, &c->nspawn.binds, &c->nspawn.n_binds);
}
TAKE(nspawn_environment)
{
    struct spec_container *c = object;
    spec_take_environment(b, key, v, &c->nspawn.environment, &c->nspawn.n_environment);
}
TAKE(nspawn_private_users)
{
    static const char *const words[] = {"auto", "none", "identity"};
    struct spec_container *c = object;
    int i = spec_take_word(b, v, words, 3);
    (void)key;
    c->nspawn.users_at = v->at;
    if (i >= 0)
        c->nspawn.users = (enum spec_users)i;
}
TAKE(nspawn_capabilities)
{
    struct spec_container *c = object;
    c->nspawn.capabilities_at = v->at;
    spec_take_capabilities(b, key, v, &c->nspawn.capabilities);
}
TAKE(nspawn_network_admin)
{
    struct spec_container *c = object;
    (void)key;
    c->nspawn.network_admin_at = v->at;
    spec_take_bool(b, v, &c->nspawn.network_admin);
}
static const struct spec_key nspawn_keys[] = {
    {"binds", "a list of HOST[:CONTAINER][:ro]", "none", "directories and files of the host's",
     nspawn_binds},
    {"boot", "true or false", "false", "start the root's own init", nspawn_boot},
    {"capabilities", "a list of capabilities", "none", "that its root has in addition",
     nspawn_capabilities},
    {"command", "a list of words", "a pause process", "what runs in it", nspawn_command},
    {"environment", "NAME: text, or NAME: {file: PATH}", "none", "", nspawn_environment},
    {"network_admin", "true or false", "false", "its root may change its own network",
     nspawn_network_admin},
    {"private_users", "`auto`, `none` or `identity`", "auto",
     "whose ids its users have on the host", nspawn_private_users},
    {"root", "`host`, a directory, a tar file", "host", "", nspawn_root},
};
static const struct spec_table nspawn_table = {"nspawn", nspawn_keys,
                                               sizeof nspawn_keys / sizeof *nspawn_keys};

TAKE(container_address)
{
    struct spec_container *c = object;
    struct spec_cidr *list = NULL;
    size_t n = 0;
    spec_take_addresses(b, key, v, &list, &n);
    for (size_t i = 0; i < n; i++) {
        struct spec_cidr *slot = &c->address[list[i].addr.family == 6];
        if (slot->addr.family) {
            struct spec_diag *d =
                spec_fault(b->c, SPEC_E_MANY, list[i].at, "one IPv%d address per container",
                           list[i].addr.family);
            spec_note(b->c, d, slot->at, "the first one is here");
        } else {
            *slot = list[i];
        }
    }
    if (!n)
        b->bad_address = true;
}
TAKE(container_gateway)
{
    struct spec_container *c = object;
    (void)key;
    c->gateway.at = v->at;
    if (spec_is(v, "none"))
        c->gateway.mode = SPEC_GW_NONE;
    else if (spec_take_address(b, v, false, &c->gateway.addr))
        c->gateway.mode = SPEC_GW_GIVEN;
}
TAKE(container_mac)
{
    struct spec_container *c = object;
    char why[128];
    (void)key;
    c->mac_at = v->at;
    if (!spec_scalar(b, v, "a MAC address"))
        return;
    if (spec_mac_parse(v->text, v->len, c->mac, why))
        spec_fault(b->c, SPEC_E_MAC, v->at, "%s", why);
    else
        c->has_mac = true;
}
TAKE(container_ports)
{
    struct spec_container *c = object;
    spec_take_ports(b, key, v, &c->ports, &c->n_ports);
}
TAKE(container_state)
{
    static const char *const words[] = {"running", "stopped"};
    struct spec_container *c = object;
    int i = spec_take_word(b, v, words, 2);
    (void)key;
    c->state_at = v->at;
    if (i >= 0)
        c->state = i ? SPEC_STOPPED : SPEC_RUNNING;
}
TAKE(container_autostart)
{
    (void)key;
    spec_take_bool(b, v, &((struct spec_container *)object)->autostart);
}
TAKE(container_isolated)
{
    (void)key;
    ((struct spec_container *)object)->isolated_at = v->at;
    spec_take_bool(b, v, &((struct spec_container *)object)->isolated);
}
TAKE(container_protect)
{
    (void)key;
    spec_take_bool(b, v, &((struct spec_container *)object)->protect);
}
TAKE(container_router)
{
    struct spec_container *c = object;
    (void)key;
    c->router_at = v->at;
    spec_take_bool(b, v, &c->router);
}
TAKE(container_runtime)
{
    static const char *const words[] = {"auto", "nixos", "nspawn", "netns"};
    struct spec_container *c = object;
    int i = spec_take_word(b, v, words, 4);
    (void)key;
    c->runtime_at = v->at;
    if (i >= 0)
        c->runtime = (enum spec_runtime)i;
}
TAKE(container_on_remove)
{
    static const char *const words[] = {"keep", "destroy"};
    int i = spec_take_word(b, v, words, 2);
    (void)key;
    if (i >= 0)
        ((struct spec_container *)object)->destroy_files = i == 1;
}
TAKE(container_nixos)
{
    struct spec_container *c = object;
    c->nixos.given = true;
    c->nixos.at = key->at;
    spec_take_map(b, &nixos_table, v, key, c);
    if (v->type == SPEC_MAP && !b->in_defaults && !spec_value(v, "flake") &&
        !spec_value(v, "system") && !spec_value(v, "config"))
        spec_fault(b->c, SPEC_E_MISSING, key->at,
                   "`nixos` needs a `flake`, a `system` or a `config`");
}
TAKE(container_nspawn)
{
    struct spec_container *c = object;
    c->nspawn.given = true;
    c->nspawn.at = key->at;
    spec_take_map(b, &nspawn_table, v, key, c);
}

static const struct spec_key container_keys[] = {
    {"address", "an address or CIDR, or one per family", "error",
     "on the bridge whose subnet holds it", container_address},
    {"autostart", "true or false", "true", "started at boot", container_autostart},
    {"gateway", "an address, or `none`", "the bridge's address in the container's subnet",
     "the default route inside", container_gateway},
    {"isolated", "true or false", "false", "may not talk to other containers on its bridge",
     container_isolated},
    {"mac", "a unicast MAC", "derived from host and container name", "of eth0", container_mac},
    {"nixos", "a map", "error with runtime nixos", "", container_nixos},
    {"nspawn", "a map", "the host's root, a pause process", "", container_nspawn},
    {"on_remove", "`keep` or `destroy`", "keep", "its files, when it leaves the spec",
     container_on_remove},
    {"ports", "[ADDRESS:]HOST:CONTAINER[/tcp|/udp], ranges allowed; a list", "none",
     "ports of the host that lead to it", container_ports},
    {"protect", "true or false", "false", "no plan may remove or recreate it", container_protect},
    {"router", "true or false", "false",
     "may send from other addresses than its own, advertise routes and answer DHCP",
     container_router},
    {"runtime", "`nixos`, `nspawn`, `netns`, `auto`", "auto", "", container_runtime},
    {"state", "`running` or `stopped`", "running", "", container_state},
};
static const struct spec_table container_table = {"containers.NAME", container_keys,
                                                  sizeof container_keys / sizeof *container_keys};

/* ---- host ---------------------------------------------------------------- */
static void bridge_of(struct spec_build *b, struct spec_bridge *bridge, const struct spec_table *t,
                      const struct spec_node *key, const struct spec_node *v)
{
    bridge->at = key->at;
    spec_take_map(b, t, v, key, bridge);
    if (!bridge->n_addresses && v->type == SPEC_MAP && !b->in_defaults && !spec_value(v, "address"))
        spec_fault(b->c, SPEC_E_MISSING, key->at,
                   "bridge `%.80s` needs an `address`, as in 10.100.0.1/24", bridge->name);
}
TAKE(host_bridge)
{
    struct spec_host *h = object;
    h->bridges = spec_new(b, sizeof *h->bridges);
    if (!h->bridges)
        return;
    h->bridges[0].name = "br-containers";
    h->n_bridges = 1;
    bridge_of(b, h->bridges, &bridge_table, key, v);
}
TAKE(host_bridges)
{
    struct spec_host *h = object;
    if (!spec_is_map(b, v, key))
        return;
    struct spec_bridge *list = spec_new(b, v->n * sizeof *list);
    if (!list)
        return;
    h->bridges = list;
    h->n_bridges = 0;
    for (size_t i = 0; i < v->n; i++) {
        struct spec_bridge *x = &list[h->n_bridges];
        if (spec_extension(v->keys[i]))
            continue;
        x->name = spec_take_link(b, v->keys[i]);
        if (!x->name)
            x->name = v->keys[i]->text ? v->keys[i]->text : "";
        h->n_bridges++;
        if (!spec_missing(b, v->keys[i], v->values[i]))
            bridge_of(b, x, &bridges_table, v->keys[i], v->values[i]);
    }
    if (!h->n_bridges && !b->in_defaults)
        spec_fault(b->c, SPEC_E_MISSING, key->at, "`bridges` needs at least one bridge");
}
TAKE(host_nat)
{
    take_nat(b, &b->host_nat, key, v);
    (void)object;
}
TAKE(host_nameservers)
{
    struct spec_host *h = object;
    h->nameservers_given = true;
    spec_take_plain_addresses(b, key, v, &h->nameservers, &h->n_nameservers);
}
TAKE(host_names)
{
    static const char *const words[] = {"hosts", "none"};
    int i = spec_take_word(b, v, words, 2);
    (void)key;
    if (i >= 0)
        ((struct spec_host *)object)->names = i == 0;
}
static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct spec_container *)a)->name,
                  ((const struct spec_container *)b)->name);
}
/* A key that is no text is told already, and could be any. */
static bool torn(const struct spec_node *map)
{
    for (size_t i = 0; i < map->n; i++)
        if (map->keys[i]->type != SPEC_SCALAR)
            return true;
    return false;
}
TAKE(host_containers)
{
    struct spec_host *h = object;
    h->containers_at = key->at;
    if (!spec_is_map(b, v, key))
        return;
    h->containers = spec_new(b, v->n * sizeof *h->containers);
    if (!h->containers)
        return;
    for (size_t i = 0; i < v->n; i++) {
        const struct spec_node *k = v->keys[i], *x = v->values[i];
        struct spec_container *c = &h->containers[h->n_containers];
        if (k->type != SPEC_SCALAR || k->told || spec_extension(k))
            continue;
        spec_container_name(b, k); /* a bad name hides none of its container's other faults */
        if (spec_missing(b, k, x))
            continue;
        *c = (struct spec_container){
            .name = k->text, .at = k->at, .bridge = SPEC_NO_BRIDGE, .autostart = true};
        c->runtime = SPEC_RT_AUTO;
        b->bad_address = false;
        x = spec_merged(b, x, b->container_defaults, "address");
        if (x)
            spec_take_map(b, &container_table, x, k, c);
        if (x && x->type == SPEC_MAP && !spec_value(x, "address") && !torn(x))
            spec_fault(b->c, SPEC_E_MISSING, k->at, "container `%.80s` needs an `address`",
                       c->name);
        if (!c->nixos.attr.text)
            c->nixos.attr.text = c->name;
        h->n_containers++;
    }
    if (h->n_containers > 1)
        qsort(h->containers, h->n_containers, sizeof *h->containers, by_name);
}

static const struct spec_key host_keys[] = {
    {"bridge", "a map", "error, unless `bridges` is given", "the one bridge", host_bridge},
    {"bridges", "NAME: {address, mtu, nat} pairs", "–", "several bridges, each with its own nat",
     host_bridges},
    {"containers", "NAME: address, or NAME: {…} pairs", "none", "", host_containers},
    {"names", "`hosts` or `none`", "hosts", "names in hosts files", host_names},
    {"nameservers", "a list of addresses", "the host's, without loopback", "for the containers",
     host_nameservers},
    {"nat", "a map", "no NAT", "of the one bridge", host_nat},
};
static const struct spec_table host_table = {"hosts.NAME", host_keys,
                                             sizeof host_keys / sizeof *host_keys};

/* `bridges` has a nat each; a host's own nat is the one bridge's. */
static void place_nat(struct spec_build *b, struct spec_host *h, const struct spec_node *v)
{
    const struct spec_node *one = spec_value(v, "bridge"), *many = spec_value(v, "bridges");
    if (one && many) {
        struct spec_diag *d = spec_fault(b->c, SPEC_E_TOGETHER, spec_key_of(v, "bridges")->at,
                                         "either `bridge` or `bridges`, not both");
        spec_note(b->c, d, spec_key_of(v, "bridge")->at, "`bridge` is given here");
    }
    if (!b->host_nat.given)
        return;
    if (many && !one) {
        struct spec_diag *d = spec_fault(b->c, SPEC_E_TOGETHER, b->host_nat.at,
                                         "with `bridges` each bridge has its own `nat`");
        spec_hint(b->c, d, "move it into the bridge that it is for");
    } else if (h->n_bridges) {
        h->bridges[0].nat = b->host_nat;
    }
}

static void take_host(struct spec_build *b, struct spec_host *h, const struct spec_node *key,
                      const struct spec_node *v)
{
    *h = (struct spec_host){.name = key->text, .at = key->at, .names = true};
    b->host_nat = (struct spec_nat){0};
    v = spec_merged(b, v, b->host_defaults, NULL);
    if (!v)
        return;
    spec_take_map(b, &host_table, v, key, h);
    if (v->type != SPEC_MAP)
        return;
    place_nat(b, h, v);
    if (!spec_value(v, "bridge") && !spec_value(v, "bridges"))
        spec_fault(b->c, SPEC_E_MISSING, key->at, "host `%.80s` needs a `bridge` with an address",
                   h->name);
}

/* ---- top level ------------------------------------------------------------ */
TAKE(version)
{
    struct spec_doc *d = object;
    (void)key;
    uint32_t n = 0;
    bool large = v->type == SPEC_SCALAR && v->len > 6 && *v->text != '0' &&
                 strspn(v->text, "0123456789") == v->len;
    if (large) /* whatever its size, it is a number, and that is what is wrong with it */
        spec_fault(b->c, SPEC_E_VERSION, v->at,
                   "format version %.40s is newer than this berth knows (1)", v->text);
    if (large || !spec_take_number(b, v, 0, 999999, &n))
        return;
    if (n > 1)
        spec_fault(b->c, SPEC_E_VERSION, v->at,
                   "format version %u is newer than this berth knows (1)", n);
    else if (n < 1)
        spec_fault(b->c, SPEC_E_VERSION, v->at, "format versions start at 1");
    d->version = n;
}
TAKE(defaults_host)
{
    struct spec_host scratch = {0};
    (void)object;
    if (!spec_is_map(b, v, key))
        return;
    b->host_defaults = v;
    b->in_defaults = true;
    spec_take_map(b, &host_table, v, key, &scratch);
    b->in_defaults = false;
}
TAKE(defaults_container)
{
    struct spec_container scratch = {0};
    (void)object;
    if (!spec_is_map(b, v, key))
        return;
    b->container_defaults = v;
    b->in_defaults = true;
    spec_take_map(b, &container_table, v, key, &scratch);
    b->in_defaults = false;
}
static const struct spec_key defaults_keys[] = {
    {"container", "what a container may hold, but for addresses", "nothing shared", "",
     defaults_container},
    {"host", "what a host may hold, but for addresses", "nothing shared", "", defaults_host},
};
static const struct spec_table defaults_table = {"defaults", defaults_keys,
                                                 sizeof defaults_keys / sizeof *defaults_keys};

TAKE(defaults)
{
    (void)object;
    spec_take_map(b, &defaults_table, v, key, NULL);
}
TAKE(hosts)
{
    struct spec_doc *d = object;
    if (!spec_is_map(b, v, key))
        return;
    d->hosts = spec_new(b, v->n * sizeof *d->hosts);
    if (!d->hosts)
        return;
    for (size_t i = 0; i < v->n; i++) {
        enum spec_code code;
        const struct spec_node *k = v->keys[i];
        if (spec_extension(k) || k->told || k->type != SPEC_SCALAR)
            continue;
        const char *fault = spec_host_fault(b->c, k->text, k->len, &code);
        if (fault)
            spec_fault(b->c, code, k->at, "%s", fault);
        if (!spec_missing(b, k, v->values[i]))
            take_host(b, &d->hosts[d->n_hosts++], k, v->values[i]);
    }
}
static const struct spec_key top_keys[] = {
    {"defaults", "a map", "nothing shared", "", defaults},
    {"hosts", "NAME: {…} pairs", "error", "", hosts},
    {"version", "1", "error", "of this format", version},
};
const struct spec_table spec_tables[] = {
    {"", top_keys, sizeof top_keys / sizeof *top_keys},
    {"defaults", defaults_keys, sizeof defaults_keys / sizeof *defaults_keys},
    {"hosts.NAME", host_keys, sizeof host_keys / sizeof *host_keys},
    {"bridge", bridge_keys, sizeof bridge_keys / sizeof *bridge_keys},
    {"bridges.NAME", bridges_keys, sizeof bridges_keys / sizeof *bridges_keys},
    {"nat", nat_keys, sizeof nat_keys / sizeof *nat_keys},
    {"containers.NAME", container_keys, sizeof container_keys / sizeof *container_keys},
    {"nixos", nixos_keys, sizeof nixos_keys / sizeof *nixos_keys},
    {"nspawn", nspawn_keys, sizeof nspawn_keys / sizeof *nspawn_keys},
};
const size_t spec_n_tables = sizeof spec_tables / sizeof *spec_tables;

struct spec_doc *spec_build(struct spec_ctx *c, struct spec_node *root)
{
    struct spec_build b = {.c = c};
    struct spec_doc *d = spec_arena_alloc(c->arena, sizeof *d);
    if (!d) {
        c->oom = true;
        return NULL;
    }
    struct spec_loc start = {1, 1, (uint32_t)c->skipped, 1};
    /* Defaults first, wherever they stand: hosts are read with them. */
    const struct spec_node *def = spec_value(root, "defaults");
    if (def && def->type == SPEC_MAP)
        spec_take_map(&b, &defaults_table, def, spec_key_of(root, "defaults"), NULL);
    spec_take_map(&b, &spec_tables[0], root, NULL, d);
    if (!spec_value(root, "version"))
        spec_fault(c, SPEC_E_MISSING, start, "`version: 1` must be given");
    if (!spec_value(root, "hosts") && !c->diags->errors)
        spec_fault(c, SPEC_E_MISSING, start,
                   "`hosts` must be given: which machines, and what is on each");
    return d;
}
