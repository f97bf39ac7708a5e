/* The places of a spec, and the keys of docker-compose, netplan, NixOS and others in each. */
#include "spec/repair.h"
#include "spec/schema.h"
#include "spec/values.h"
#include <string.h>

/* Where the value of a key is. A key of NULL: any. */
static const struct {
    enum spec_place in;
    const char *key;
    enum spec_place value;
} shape[] = {
    {TOP, "defaults", DEFAULTS},
    {TOP, "hosts", HOSTS},
    {DEFAULTS, "container", CONTAINER},
    {DEFAULTS, "host", HOST},
    {HOSTS, NULL, HOST},
    {HOST, "bridge", BRIDGE},
    {HOST, "bridges", BRIDGES},
    {HOST, "containers", CONTAINERS},
    {HOST, "nat", NAT},
    {BRIDGES, NULL, BRIDGES_ONE},
    {BRIDGES_ONE, "nat", NAT},
    {CONTAINERS, NULL, CONTAINER},
    {CONTAINER, "nixos", NIXOS},
    {CONTAINER, "nspawn", NSPAWN},
};

static const struct spec_foreign foreign[] = {
    {TOP, "host", MEANT, "hosts"},
    {TOP, "machines", MEANT, "hosts"},
    {TOP, "nodes", MEANT, "hosts"},
    {TOP, "default", MEANT, "defaults"},

    {DEFAULTS, "hosts", MEANT, "host"},
    {DEFAULTS, "containers", MEANT, "container"},

    {HOST, "container", MEANT, "containers"},
    {HOST, "services", MEANT, "containers"},
    {HOST, "guests", MEANT, "containers"},
    {HOST, "machines", MEANT, "containers"},
    {HOST, "vms", MEANT, "containers"},
    {HOST, "dns", MEANT, "nameservers"},
    {HOST, "nameserver", MEANT, "nameservers"},
    {HOST, "dnsservers", MEANT, "nameservers"},
    {HOST, "resolvers", MEANT, "nameservers"},
    {HOST, "masquerade", SAY, "write `nat: {interface: auto}`"},
    {HOST, "interface", VALUE, "write `nat: {interface: %s}`"},
    {HOST, "uplink", VALUE, "write `nat: {interface: %s}`"},
    {HOST, "externalinterface", VALUE, "write `nat: {interface: %s}`"},
    {HOST, "inbound", VALUE, "write `nat: {inbound: %s}`"},
    {HOST, "address", VALUE, "write `bridge: {address: %s}`"},
    {HOST, "addresses", VALUE, "write `bridge: {address: %s}`"},
    {HOST, "subnet", SAY,
     "write the bridge's own address with its prefix length: `bridge: {address: 10.100.0.1/24}`"},
    {HOST, "mtu", VALUE, "write `bridge: {mtu: %s, …}`"},
    {HOST, "name", SAY, "the key above is the host's name; a bridge's is `bridge: {name: …}`"},
    {HOST, "hostname", SAY, "leave it out: the key above is the host's name"},
    {HOST, "gateway", SAY, "leave it out: berth does not set the host's own routes"},
    {HOST, "gateway4", SAY, "leave it out: berth does not set the host's own routes"},
    {HOST, "routes", SAY, "leave it out: berth does not set the host's own routes"},
    {HOST, "networks", SAY, "write `bridges: {NAME: {address: 10.100.0.1/24}}`"},
    {HOST, "network", SAY, "write `bridge: {address: 10.100.0.1/24}`"},
    {HOST, "ethernets", SAY, "leave it out: berth does not set the host's own links"},
    {HOST, "volumes", SAY, "a container has its own: `nspawn: {binds: [/HOST:/CONTAINER]}`"},
    {HOST, "ports", SAY, "a container has its own: `web: {address: …, ports: [8080:80]}`"},
    {HOST, "runtime", VALUE,
     "for all containers write `defaults: {container: {runtime: %s}}`, at the top level"},

    {BRIDGE, "addresses", MEANT, "address"},
    {BRIDGE, "ip", MEANT, "address"},
    {BRIDGE, "ipaddress", MEANT, "address"},
    {BRIDGE, "cidr", MEANT, "address"},
    {BRIDGE, "gateway", MEANT, "address"},
    {BRIDGE, "subnet", SAY,
     "write the bridge's own address with its prefix length: `address: 10.100.0.1/24`"},
    {BRIDGE, "nat", VALUE, "write `nat: %s` beside `bridge`, with the same indentation"},
    {BRIDGE, "containers", SAY, "write it beside `bridge`, with the same indentation"},
    {BRIDGE, "nameservers", VALUE,
     "write `nameservers: %s` beside `bridge`, with the same indentation"},
    {BRIDGE, "dns", VALUE, "write `nameservers: %s` beside `bridge`, with the same indentation"},
    {BRIDGE, "interfaces", SAY, "leave it out: a bridge of berth's has the containers alone"},
    {BRIDGE, "ports", SAY, "leave it out: a bridge of berth's has the containers alone"},
    {BRIDGE, "dhcp4", SAY, "leave it out: a bridge has a fixed address"},
    {BRIDGE, "dhcp6", SAY, "leave it out: a bridge has a fixed address"},
    {BRIDGE, "interface", VALUE,
     "the bridge's name is `name`; where traffic leaves is `nat: {interface: %s}`, beside "
     "`bridge`"},

    {BRIDGES_ONE, "addresses", MEANT, "address"},
    {BRIDGES_ONE, "ip", MEANT, "address"},
    {BRIDGES_ONE, "cidr", MEANT, "address"},
    {BRIDGES_ONE, "gateway", MEANT, "address"},
    {BRIDGES_ONE, "subnet", SAY,
     "write the bridge's own address with its prefix length: `address: 10.100.0.1/24`"},
    {BRIDGES_ONE, "name", SAY, "leave it out: the key above is the bridge's name"},
    {BRIDGES_ONE, "interfaces", SAY, "leave it out: a bridge of berth's has the containers alone"},
    {BRIDGES_ONE, "containers", SAY,
     "write it beside `bridges`: a container's address says which bridge it is on"},

    {NAT, "masquerade", SAY, "leave it out: `interface` switches masquerading on"},
    {NAT, "enable", SAY, "leave it out: `interface` switches masquerading on"},
    {NAT, "enabled", SAY, "leave it out: `interface` switches masquerading on"},
    {NAT, "uplink", MEANT, "interface"},
    {NAT, "link", MEANT, "interface"},
    {NAT, "out", MEANT, "interface"},
    {NAT, "outgoing", MEANT, "interface"},
    {NAT, "externalinterface", MEANT, "interface"},
    {NAT, "internalinterfaces", SAY, "leave it out: it is the bridge"},
    {NAT, "forwardports", SAY, "a container has its own: `web: {address: …, ports: [8080:80]}`"},
    {NAT, "ports", SAY, "a container has its own: `web: {address: …, ports: [8080:80]}`"},

    {CONTAINER, "addresses", MEANT, "address"},
    {CONTAINER, "ip", MEANT, "address"},
    {CONTAINER, "ipaddress", MEANT, "address"},
    {CONTAINER, "ipv4", MEANT, "address"},
    {CONTAINER, "ipv6", MEANT, "address"},
    {CONTAINER, "ipv4address", MEANT, "address"},
    {CONTAINER, "ipv6address", MEANT, "address"},
    {CONTAINER, "localaddress", MEANT, "address"},
    {CONTAINER, "localaddress6", MEANT, "address"},
    {CONTAINER, "hostaddress", SAY, "leave it out: it is the bridge's address"},
    {CONTAINER, "hostbridge", SAY,
     "leave it out: the container's address says which bridge it is on"},
    {CONTAINER, "bridge", SAY, "leave it out: the container's address says which bridge it is on"},
    {CONTAINER, "network", SAY, "leave it out: the container's address says which bridge it is on"},
    {CONTAINER, "networks", SAY,
     "leave it out: the container's address says which bridge it is on"},
    {CONTAINER, "networkmode", SAY,
     "leave it out: the container's address says which bridge it is on"},
    {CONTAINER, "privatenetwork", SAY, "leave it out: each container has a network of its own"},
    {CONTAINER, "dhcp", SAY, "leave it out: a container has a fixed address"},
    {CONTAINER, "dhcp4", SAY, "leave it out: a container has a fixed address"},
    {CONTAINER, "gateway4", MEANT, "gateway"},
    {CONTAINER, "gateway6", MEANT, "gateway"},
    {CONTAINER, "macaddress", MEANT, "mac"},
    {CONTAINER, "hwaddr", MEANT, "mac"},
    {CONTAINER, "port", MEANT, "ports"},
    {CONTAINER, "publish", MEANT, "ports"},
    {CONTAINER, "portmappings", MEANT, "ports"},
    {CONTAINER, "forwardports", SAY,
     "write `ports: [8080:80]`: the host's port, then the container's"},
    {CONTAINER, "expose", SAY, "leave it out; `ports: [8080:80]` leads a port of the host to it"},
    {CONTAINER, "enable", MEANT, "autostart"},
    {CONTAINER, "enabled", MEANT, "autostart"},
    {CONTAINER, "onboot", MEANT, "autostart"},
    {CONTAINER, "status", MEANT, "state"},
    {CONTAINER, "driver", MEANT, "runtime"},
    {CONTAINER, "type", MEANT, "runtime"},
    {CONTAINER, "isolate", MEANT, "isolated"},
    {CONTAINER, "protected", MEANT, "protect"},
    {CONTAINER, "ondelete", MEANT, "on_remove"},
    {CONTAINER, "dns", VALUE, "it is the host's: write `nameservers: %s` beside `containers`"},
    {CONTAINER, "nameserver", VALUE,
     "it is the host's: write `nameservers: [%s]` beside `containers`"},
    {CONTAINER, "nameservers", VALUE,
     "it is the host's: write `nameservers: %s` beside `containers`"},
    {CONTAINER, "nat", SAY, "it is the host's: write `nat: {interface: auto}` beside `containers`"},
    {CONTAINER, "names", VALUE, "it is the host's: write `names: %s` beside `containers`"},
    {CONTAINER, "mtu", VALUE, "it is the bridge's: write `bridge: {mtu: %s, …}`"},
    {CONTAINER, "name", SAY, "leave it out: the key above is the container's name"},
    {CONTAINER, "hostname", SAY, "leave it out: the container's name is its host name"},
    {CONTAINER, "containername", SAY, "leave it out: the key above is the container's name"},
    {CONTAINER, "dependson", SAY,
     "leave it out: all containers are started, and find each other by name"},
    {CONTAINER, "links", SAY, "leave it out: containers find each other by name"},
    {CONTAINER, "restart", SAY, "leave it out: `state: running` is the default"},
    {CONTAINER, "restartpolicy", SAY, "leave it out: `state: running` is the default"},
    {CONTAINER, "image", SAY,
     "berth pulls no images; unpack it, and write `nspawn: {root: /PATH/OF/DIR.or.tar}`"},
    {CONTAINER, "build", SAY,
     "berth builds no images; write `nspawn: {root: /PATH/OF/DIR.or.tar}` or `nixos: {flake: …}`"},
    {CONTAINER, "rootfs", VALUE, "write `nspawn: {root: %s}`"},
    {CONTAINER, "root", VALUE, "write `nspawn: {root: %s}`"},
    {CONTAINER, "boot", VALUE, "write `nspawn: {boot: %s}`"},
    {CONTAINER, "binds", LIST, "write `nspawn: {binds: %s}`"},
    {CONTAINER, "volumes", LIST, "write `nspawn: {binds: %s}`"},
    {CONTAINER, "mounts", LIST, "write `nspawn: {binds: %s}`"},
    {CONTAINER, "bindmounts", SAY, "write `nspawn: {binds: [/HOST:/CONTAINER]}`"},
    {CONTAINER, "environment", PAIRS, "write `nspawn: {environment: %s}`"},
    {CONTAINER, "env", PAIRS, "write `nspawn: {environment: %s}`"},
    {CONTAINER, "envfile", SAY, "write `nspawn: {environment: {NAME: text}}`"},
    {CONTAINER, "command", WORDS, "write `nspawn: {command: %s}`"},
    {CONTAINER, "cmd", WORDS, "write `nspawn: {command: %s}`"},
    {CONTAINER, "entrypoint", WORDS, "write `nspawn: {command: %s}`"},
    {CONTAINER, "flake", VALUE, "write `nixos: {flake: %s}`"},
    {CONTAINER, "system", VALUE, "write `nixos: {system: %s}`"},
    {CONTAINER, "config", VALUE, "write `nixos: {config: %s}`"},
    {CONTAINER, "memory", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=…` does"},
    {CONTAINER, "mem", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=…` does"},
    {CONTAINER, "memlimit", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=…` does"},
    {CONTAINER, "memorymax", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=…` does"},
    {CONTAINER, "cpu", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s CPUQuota=…` does"},
    {CONTAINER, "cpus", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s CPUQuota=…` does"},
    {CONTAINER, "cpulimit", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s CPUQuota=…` does"},
    {CONTAINER, "limits", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=… CPUQuota=…` does"},
    {CONTAINER, "deploy", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=… CPUQuota=…` does"},
    {CONTAINER, "resources", NAMED,
     "leave it out: berth sets no limits; `systemctl set-property %s MemoryMax=… CPUQuota=…` does"},
    {CONTAINER, "privileged", SAY,
     "leave it out, or name single rights: `nspawn: {capabilities: [CAP_…]}`"},
    {CONTAINER, "user", SAY,
     "leave it out; a command can change its user: `command: [setpriv, --reuid, \"1000\", …]`"},
    {CONTAINER, "labels", SAY, "leave it out; a comment can say it"},
    {CONTAINER, "annotations", SAY, "leave it out; a comment can say it"},
    {CONTAINER, "devices", SAY, "write `nspawn: {binds: [/dev/NAME]}`"},
    {CONTAINER, "secrets", SAY, "write `nspawn: {environment: {NAME: {file: /PATH}}}`"},
    {CONTAINER, "healthcheck", SAY, "leave it out: berth does not look into services"},
    {CONTAINER, "logging", SAY, "leave it out: the journal has the output; `berth logs NAME`"},
    {CONTAINER, "capadd", VALUE, "write `nspawn: {capabilities: %s}`"},

    {NIXOS, "path", MEANT, "system"},
    {NIXOS, "configuration", MEANT, "config"},
    {NIXOS, "attr", SAY, "write it behind the flake: `flake: PATH#ATTR`"},

    {NSPAWN, "volumes", MEANT, "binds"},
    {NSPAWN, "mounts", MEANT, "binds"},
    {NSPAWN, "bind", MEANT, "binds"},
    {NSPAWN, "env", MEANT, "environment"},
    {NSPAWN, "cmd", MEANT, "command"},
    {NSPAWN, "exec", MEANT, "command"},
    {NSPAWN, "entrypoint", MEANT, "command"},
    {NSPAWN, "rootfs", MEANT, "root"},
    {NSPAWN, "directory", MEANT, "root"},
    {NSPAWN, "path", MEANT, "root"},
    {NSPAWN, "tar", MEANT, "root"},
    {NSPAWN, "init", MEANT, "boot"},
    {NSPAWN, "capadd", MEANT, "capabilities"},
    {NSPAWN, "userns", MEANT, "private_users"},
    {NSPAWN, "image", SAY,
     "berth pulls no images; unpack it, and write `root: /PATH/OF/DIR.or.tar`"},
};

enum spec_place spec_repair_place(enum spec_place in, const char *key)
{
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        if (shape[i].in == in && (!shape[i].key || !strcmp(shape[i].key, key)))
            return shape[i].value;
    return NOWHERE;
}

bool spec_repair_has_row(enum spec_place p, const char *key)
{
    for (size_t i = 0; p < N_TABLES && i < spec_tables[p].n; i++)
        if (!strcmp(spec_tables[p].keys[i].name, key))
            return true;
    return false;
}

/* "on-remove", "onRemove" and "On_Remove" are one word. */
static void squeeze(const char *key, char out[64])
{
    size_t n = 0;
    for (; *key && n < 63; key++)
        if (*key >= 'A' && *key <= 'Z')
            out[n++] = (char)(*key - 'A' + 'a');
        else if (*key != '-' && *key != '_')
            out[n++] = *key;
    out[n] = 0;
}

const char *spec_repair_same_word(enum spec_place p, const char *key)
{
    char a[64], b[64];
    squeeze(key, a);
    for (size_t i = 0; p < N_TABLES && i < spec_tables[p].n; i++) {
        squeeze(spec_tables[p].keys[i].name, b);
        if (!strcmp(a, b))
            return spec_tables[p].keys[i].name;
    }
    return NULL;
}

const struct spec_foreign *spec_repair_foreign(enum spec_place p, const char *key)
{
    char word[64];
    squeeze(key, word);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (foreign[i].in == p && !strcmp(foreign[i].key, word))
            return &foreign[i];
    return NULL;
}

const char *spec_repair_nearest(enum spec_place p, const char *key)
{
    const char *names[32];
    for (size_t i = 0; i < spec_tables[p].n; i++)
        names[i] = spec_tables[p].keys[i].name;
    return spec_nearest(key, names, spec_tables[p].n);
}
