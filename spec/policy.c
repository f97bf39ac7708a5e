/* A policy is read by the same reader and the same tables as a spec. Checking walks the host once;
 * suggesting walks it in the same way, with an empty policy, and collects what was missing. */
#include "spec/policy.h"
#include "spec/internal.h"
#include "spec/values.h"
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---------------------------------------------------------------- */

#define TAKE(name)                                                                                 \
    static void name(struct spec_build *b, void *object, const struct spec_node *key,              \
                     const struct spec_node *v)
#define TAKE_PATTERNS(name, field)                                                                 \
    TAKE(name)                                                                                     \
    {                                                                                              \
        struct spec_policy *p = object;                                                            \
        p->field.n = 0;                                                                            \
        spec_take_words(b, key, v, &p->field.list, &p->field.n);                                   \
    }

TAKE_PATTERNS(policy_bridges, bridges)
TAKE_PATTERNS(policy_containers, containers)
TAKE_PATTERNS(policy_roots, roots)
TAKE_PATTERNS(policy_systems, systems)
TAKE_PATTERNS(policy_configs, configs)
TAKE_PATTERNS(policy_flakes, flakes)
TAKE_PATTERNS(policy_nat, nat)

static void check_words(struct spec_build *b, const struct spec_string *list, size_t n,
                        const char *const *words, size_t n_words)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < n_words && strcmp(list[i].text, words[k]))
            k++;
        if (k < n_words)
            continue;
        struct spec_diag *d =
            spec_fault(b->c, SPEC_E_CHOICE, list[i].at, "`%.80s` is not known here", list[i].text);
        const char *near = spec_nearest(list[i].text, words, n_words);
        if (near)
            spec_hint(b->c, d, "did you mean `%s`?", near);
    }
}
TAKE(policy_runtimes)
{
    static const char *const words[] = {"nixos", "nspawn", "netns"};
    struct spec_policy *p = object;
    p->runtimes.n = 0;
    spec_take_words(b, key, v, &p->runtimes.list, &p->runtimes.n);
    check_words(b, p->runtimes.list, p->runtimes.n, words, 3);
}
TAKE(policy_private_users)
{
    static const char *const words[] = {"auto", "none", "identity"};
    struct spec_policy *p = object;
    p->private_users.n = 0;
    spec_take_words(b, key, v, &p->private_users.list, &p->private_users.n);
    check_words(b, p->private_users.list, p->private_users.n, words, 3);
}
TAKE(policy_binds)
{
    struct spec_policy *p = object;
    p->binds.n = 0;
    spec_take_words(b, key, v, &p->binds.list, &p->binds.n);
    for (size_t i = 0; i < p->binds.n; i++)
        if (*p->binds.list[i].text != '/' && *p->binds.list[i].text != '.')
            spec_fault(
                b->c, SPEC_E_PATH, p->binds.list[i].at,
                "a bind is a path of the host, with `:ro` behind it where it may only be read");
}
TAKE(policy_capabilities)
{
    struct spec_policy *p = object;
    p->capabilities = 0;
    spec_take_capabilities(b, key, v, &p->capabilities);
}
TAKE(policy_network_admin)
{
    (void)key;
    spec_take_bool(b, v, &((struct spec_policy *)object)->network_admin);
}
TAKE(policy_router)
{
    (void)key;
    spec_take_bool(b, v, &((struct spec_policy *)object)->router);
}
TAKE(policy_open_inbound)
{
    (void)key;
    spec_take_bool(b, v, &((struct spec_policy *)object)->open_inbound);
}
static void take_in_use(struct spec_build *b, const struct spec_node *v, bool *out)
{
    static const char *const words[] = {"refuse", "allow"};
    int k = spec_take_word(b, v, words, 2);
    if (k >= 0)
        *out = k == 1;
}
TAKE(policy_ports_in_use)
{
    (void)key;
    take_in_use(b, v, &((struct spec_policy *)object)->ports_in_use);
}
TAKE(policy_subnets_in_use)
{
    (void)key;
    take_in_use(b, v, &((struct spec_policy *)object)->subnets_in_use);
}

/* "8080", "1024-65535", "53/udp". */
static bool parse_ports(const char *text, struct spec_policy_ports *out)
{
    char *end;
    unsigned long first = strtoul(text, &end, 10), last = first;
    if (*text < '0' || *text > '9')
        return false;
    if (*end == '-' && end[1] >= '0' && end[1] <= '9')
        last = strtoul(end + 1, &end, 10);
    out->any_proto = !*end;
    out->proto = !strcmp(end, "/udp") ? SPEC_UDP : SPEC_TCP;
    out->first = (uint16_t)first;
    out->last = (uint16_t)last;
    return first >= 1 && first <= last && last <= 65535 &&
           (!*end || !strcmp(end, "/tcp") || !strcmp(end, "/udp"));
}
TAKE(policy_ports)
{
    struct spec_policy *p = object;
    struct spec_string *list = NULL;
    size_t n = 0;
    p->n_ports = 0;
    spec_take_words(b, key, v, &list, &n);
    p->ports = spec_new(b, n * sizeof *p->ports);
    for (size_t i = 0; p->ports && i < n; i++) {
        if (parse_ports(list[i].text, &p->ports[p->n_ports]))
            p->n_ports++;
        else
            spec_fault(b->c, SPEC_E_PORT, list[i].at,
                       "`%.80s` is neither a port nor a range, as in 1024-65535 or 53/udp",
                       list[i].text);
    }
}
TAKE(policy_subnets)
{
    struct spec_policy *p = object;
    struct spec_string *list = NULL;
    size_t n = 0;
    p->n_subnets = 0;
    spec_take_words(b, key, v, &list, &n);
    p->subnets = spec_new(b, n * sizeof *p->subnets);
    for (size_t i = 0; p->subnets && i < n; i++) {
        char why[128];
        if (!strcmp(list[i].text, "*"))
            p->any_subnet = true;
        else if (spec_addr_parse(list[i].text, strlen(list[i].text), &p->subnets[p->n_subnets].addr,
                                 why))
            spec_fault(b->c, SPEC_E_ADDRESS, list[i].at, "%s", why);
        else
            p->subnets[p->n_subnets++].at = list[i].at;
    }
}

static const struct spec_key allow_keys[] = {
    {"binds", "a list of patterns of host paths, `:ro` behind those that may only be read", "none",
     "", policy_binds},
    {"bridges", "a list of patterns", "any", "names of bridges", policy_bridges},
    {"capabilities", "a list of capabilities", "none", "that containers may have in addition",
     policy_capabilities},
    {"configs", "a list of patterns", "none", "paths of NixOS configurations", policy_configs},
    {"containers", "a list of patterns", "any", "names of containers", policy_containers},
    {"flakes", "a list of patterns", "none", "flake references without `#attr`", policy_flakes},
    {"nat", "a list of link names, `auto`", "none", "where containers' traffic may leave",
     policy_nat},
    {"network_admin", "true or false", "false", "containers may change their own network",
     policy_network_admin},
    {"open_inbound", "true or false", "false", "bridges may be open from outside",
     policy_open_inbound},
    {"ports", "a list of ports and ranges, with /tcp or /udp", "none", "ports of the host",
     policy_ports},
    {"ports_in_use", "`refuse` or `allow`", "refuse", "new maps of ports that a program listens on",
     policy_ports_in_use},
    {"private_users", "a list of `auto`, `none`, `identity`", "auto alone", "",
     policy_private_users},
    {"roots", "a list of patterns, `host`", "`host` alone", "root directories and archives",
     policy_roots},
    {"router", "true or false", "false", "containers may send from any address", policy_router},
    {"runtimes", "a list of `nixos`, `nspawn`, `netns`", "any", "", policy_runtimes},
    {"subnets", "a list of CIDRs, or `*`", "private ones", "that a bridge's subnet must lie in",
     policy_subnets},
    {"subnets_in_use", "`refuse` or `allow`", "refuse",
     "new subnets that cover a gateway, a nameserver or a route of the host",
     policy_subnets_in_use},
    {"systems", "a list of patterns", "none", "store paths of NixOS systems", policy_systems},
};
static const struct spec_table allow_table = {"allow", allow_keys,
                                              sizeof allow_keys / sizeof *allow_keys};

TAKE(policy_allow)
{
    spec_take_map(b, &allow_table, v, key, object);
}
TAKE(policy_version)
{
    struct spec_policy *p = object;
    (void)key;
    if (spec_take_number(b, v, 0, 999999, &p->version) && p->version != 1)
        spec_fault(b->c, SPEC_E_VERSION, v->at, "this berth knows version 1 of a policy");
}
static const struct spec_key policy_keys[] = {
    {"allow", "a map", "error", "what a spec may ask for", policy_allow},
    {"version", "1", "error", "of this format", policy_version},
};
static const struct spec_table policy_table = {"policy", policy_keys,
                                               sizeof policy_keys / sizeof *policy_keys};

/* What an absent key means. */
static bool default_lists(struct spec_arena *a, struct spec_policy *p)
{
    static const char *const private_nets[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                               "fc00::/7"};
    char why[128];
    struct spec_string *any = spec_arena_alloc(a, 4 * sizeof *any);
    p->subnets =
        spec_arena_alloc(a, sizeof private_nets / sizeof *private_nets * sizeof *p->subnets);
    if (!any || !p->subnets)
        return false;
    memset(p->subnets, 0, sizeof private_nets / sizeof *private_nets * sizeof *p->subnets);
    memset(any, 0, 4 * sizeof *any);
    any[0].text = "*";
    any[1].text = "auto";
    any[2].text = "host";
    p->bridges.list = p->containers.list = p->runtimes.list = &any[0];
    p->private_users.list = &any[1];
    p->roots.list = &any[2];
    p->bridges.n = p->containers.n = p->runtimes.n = p->private_users.n = p->roots.n = 1;
    for (size_t i = 0; i < sizeof private_nets / sizeof *private_nets; i++)
        spec_addr_parse(private_nets[i], strlen(private_nets[i]), &p->subnets[p->n_subnets++].addr,
                        why);
    return true;
}

int spec_policy_load(struct spec_arena *a, const char *text, size_t len, struct spec_policy **out,
                     struct spec_diags *diags)
{
    struct spec_ctx c = {.arena = a, .text = text, .len = len, .diags = diags};
    struct spec_limits limits = {SPEC_BYTES};
    struct spec_build b = {.c = &c};
    memset(diags, 0, sizeof *diags);
    struct spec_policy *p = spec_new(&b, sizeof *p);
    if (!p || !default_lists(a, p))
        return -ENOMEM;
    if (spec_prescan(&c, &limits)) {
        struct spec_node *root = spec_read(&c);
        struct spec_node whole = {
            .type = SPEC_SCALAR, .text = "policy", .at = root ? root->at : (struct spec_loc){0}};
        if (root)
            spec_take_map(&b, &policy_table, root, &whole, p);
        if (root && root->type == SPEC_MAP && !spec_value(root, "version"))
            spec_fault(&c, SPEC_E_MISSING, root->at, "a policy needs a `version`: version: 1");
        if (root && root->type == SPEC_MAP && !spec_value(root, "allow"))
            spec_fault(&c, SPEC_E_MISSING, root->at,
                       "a policy needs `allow`, a map of what a spec may ask for");
    }
    spec_diags_sort(diags);
    if (c.oom)
        return -ENOMEM;
    if (diags->errors || !p->version)
        return -EINVAL;
    *out = p;
    return 0;
}

/* ---- checking ---------------------------------------------------------------- */

struct audit {
    struct spec_arena *arena;
    const struct spec_policy *p;
    struct spec_violation *list;
    size_t n, room;
    bool oom, suggests;
    struct spec_writable writable;
};

static void violate(struct audit *v, const char *rule, struct spec_loc at, const char *value,
                    const char *text)
{
    if (v->n == v->room) {
        size_t room = v->room ? 2 * v->room : 16;
        struct spec_violation *list = spec_arena_alloc(v->arena, room * sizeof *list);
        if (list && v->n)
            memcpy(list, v->list, v->n * sizeof *list);
        if (list) {
            v->list = list;
            v->room = room;
        }
    }
    if (v->n == v->room || !text || !value) {
        v->oom = true;
        return;
    }
    v->list[v->n++] = (struct spec_violation){at, rule, text, value};
}

static const char *plain_path(struct audit *v, const char *path)
{
    const char *plain = spec_plain_copy(v->arena, path);
    v->oom |= !plain;
    return plain ? plain : path;
}

static bool matches(const char *pattern, const char *text)
{
    size_t n = strlen(pattern);
    if (n > 3 && !strcmp(pattern + n - 3, "/**") && !strncmp(pattern, text, n - 2) && text[n - 2])
        return true;
    return !fnmatch(pattern, text, FNM_PATHNAME | FNM_NOESCAPE | FNM_PERIOD);
}

static bool listed(const struct spec_string *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (matches(list[i].text, text))
            return true;
    return false;
}

static const char *const users_names[] = {
    [SPEC_USERS_AUTO] = "auto", [SPEC_USERS_NONE] = "none", [SPEC_USERS_IDENTITY] = "identity"};

bool spec_policy_allows_users(const struct spec_policy *p, enum spec_users mode)
{
    return listed(p->private_users.list, p->private_users.n, users_names[mode]);
}

bool spec_policy_allows_root(const struct spec_policy *p, const char *path)
{
    return listed(p->roots.list, p->roots.n, path);
}

static bool bind_allowed(const struct spec_policy *p, const char *path, bool read_only)
{
    for (size_t i = 0; i < p->binds.n; i++) {
        const char *pattern = p->binds.list[i].text;
        size_t n = strlen(pattern);
        bool only_read = n > 3 && !strcmp(pattern + n - 3, ":ro");
        char bare[SPEC_TEXT + 1];
        snprintf(bare, sizeof bare, "%.*s", (int)(only_read ? n - 3 : n), pattern);
        if ((read_only || !only_read) && matches(bare, path))
            return true;
    }
    return false;
}

static bool ports_allowed(const struct spec_policy *p, const struct spec_port *port)
{
    /* A range may be covered by several rules together. */
    for (uint32_t k = port->host; k < (uint32_t)port->host + port->count; k++) {
        bool found = false;
        for (size_t i = 0; i < p->n_ports && !found; i++)
            found = (p->ports[i].any_proto || p->ports[i].proto == port->proto) &&
                    k >= p->ports[i].first && k <= p->ports[i].last;
        if (!found)
            return false;
    }
    return true;
}

static bool subnet_allowed(const struct spec_policy *p, const struct spec_addr *a)
{
    for (size_t i = 0; i < p->n_subnets; i++)
        if (p->subnets[i].addr.family == a->family && a->prefix >= p->subnets[i].addr.prefix &&
            spec_addr_in(a, &p->subnets[i].addr))
            return true;
    return p->any_subnet;
}

static void audit_bridge(struct audit *v, const struct spec_bridge *b)
{
    const struct spec_policy *p = v->p;
    struct spec_arena *a = v->arena;
    if (!listed(p->bridges.list, p->bridges.n, b->name))
        violate(v, "bridges", b->at, b->name,
                spec_arena_printf(a, "there may be no bridge '%s'", b->name));
    for (size_t i = 0; i < b->n_addresses; i++) {
        struct spec_addr net;
        char text[SPEC_ADDR_TEXT];
        spec_addr_network(&b->addresses[i].addr, &net);
        spec_addr_format(&net, true, text);
        if (!subnet_allowed(p, &net))
            violate(v, "subnets", b->addresses[i].at, spec_arena_strdup(a, text),
                    spec_arena_printf(a, "bridge '%s' may not have the subnet %s", b->name, text));
    }
    const char *uplink = NULL;
    if (b->nat.uplink == SPEC_UPLINK_LINK)
        uplink = b->nat.interface;
    if (b->nat.uplink == SPEC_UPLINK_AUTO)
        uplink = "auto";
    if (uplink && !listed(p->nat.list, p->nat.n, uplink))
        violate(
            v, "nat", b->nat.interface_at, uplink,
            spec_arena_printf(a, "bridge '%s' may not have NAT by way of '%s'", b->name, uplink));
    if (b->nat.open && !p->open_inbound)
        violate(v, "open_inbound", b->nat.inbound_at, "true",
                spec_arena_printf(a, "bridge '%s' may not be open from outside", b->name));
}

static bool below_writable(const struct audit *v, const char *path)
{
    return spec_writable_above(&v->writable.roots, path) ||
           spec_writable_above(&v->writable.binds, path);
}

static void audit_nspawn(struct audit *v, const struct spec_container *c)
{
    const struct spec_policy *p = v->p;
    struct spec_arena *a = v->arena;
    bool host = c->nspawn.root == SPEC_ROOT_HOST;
    const char *root = host ? "host" : plain_path(v, c->nspawn.path.text);
    if (!host && !v->suggests && below_writable(v, root))
        violate(v, "roots", c->nspawn.path.at, root,
                spec_arena_printf(a,
                                  "container '%s' may not have the root '%s', which lies in a "
                                  "directory that a container can write",
                                  c->name, root));
    else if (!listed(p->roots.list, p->roots.n, root))
        violate(v, "roots", host ? c->at : c->nspawn.path.at, root,
                spec_arena_printf(a, "container '%s' may not have the root '%s'", c->name, root));
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        const char *path = plain_path(v, b->host);
        if (!v->suggests && below_writable(v, path))
            violate(v, "binds", b->at, path,
                    spec_arena_printf(a,
                                      "container '%s' may not bind '%s', which lies in a directory "
                                      "that a container can write",
                                      c->name, path));
        else if (!bind_allowed(p, path, b->read_only))
            violate(v, "binds", b->at,
                    spec_arena_printf(a, "%s%s", path, b->read_only ? ":ro" : ""),
                    spec_arena_printf(a, "container '%s' may not bind '%s'%s", c->name, path,
                                      b->read_only ? "" : " for writing"));
    }
    /* A variable can show any file of root's to the container: its file counts as a bind that is
     * only read. */
    for (size_t i = 0; i < c->nspawn.n_environment; i++) {
        const struct spec_env *e = &c->nspawn.environment[i];
        const char *path = e->file ? plain_path(v, e->file) : NULL;
        if (path && !bind_allowed(p, path, true))
            violate(v, "binds", e->at, spec_arena_printf(a, "%s:ro", path),
                    spec_arena_printf(a, "container '%s' may not read '%s' for its variable '%s'",
                                      c->name, path, e->name));
    }
    const char *mode = users_names[c->nspawn.users];
    if (!spec_policy_allows_users(p, c->nspawn.users))
        violate(
            v, "private_users", c->nspawn.users_at, mode,
            spec_arena_printf(a, "container '%s' may not have private_users: %s", c->name, mode));
    for (unsigned k = 0; k < 64; k++)
        if (c->nspawn.capabilities & ~p->capabilities & UINT64_C(1) << k)
            violate(v, "capabilities", c->nspawn.capabilities_at, spec_capability_name(k),
                    spec_arena_printf(a, "container '%s' may not have the capability %s", c->name,
                                      spec_capability_name(k)));
    if (c->nspawn.network_admin && !p->network_admin)
        violate(v, "network_admin", c->nspawn.network_admin_at, "true",
                spec_arena_printf(a, "container '%s' may not change its own network", c->name));
}

/* Does nix take the text as it is written? It decodes %2e, and goes up at "..", so such a text may
 * mean what no pattern says. A "." in front is the folder of the spec. */
static bool flake_is_plain(const char *flake)
{
    static const char separators[] = "/:?&=#";
    for (const char *p = flake; *p;) {
        size_t n = strcspn(p, separators);
        bool dots = (n == 1 && p != flake) || n == 2;
        if (dots && strspn(p, ".") == n)
            return false;
        p += n;
        p += strspn(p, separators);
    }
    return !strchr(flake, '%');
}

/* A query can name another server or revision (`?host=`, `?url=`), so only a pattern with a query
 * allows one. */
static bool flake_allowed(const struct spec_policy *p, const char *flake)
{
    bool plain = flake_is_plain(flake);
    for (size_t i = 0; i < p->flakes.n; i++) {
        const char *pattern = p->flakes.list[i].text;
        bool query = !strchr(flake, '?') || strchr(pattern, '?');
        if (!strcmp(pattern, flake) || (plain && query && matches(pattern, flake)))
            return true;
    }
    return false;
}

static void audit_nixos(struct audit *v, const struct spec_container *c)
{
    const struct spec_policy *p = v->p;
    struct spec_arena *a = v->arena;
    const char *flake = c->nixos.flake.text, *system = c->nixos.system.text,
               *config = c->nixos.config.text;
    if (flake && !flake_allowed(p, flake))
        violate(v, "flakes", c->nixos.flake.at, flake,
                spec_arena_printf(a, "container '%s' may not come from the flake '%s'", c->name,
                                  flake));
    if (system && !listed(p->systems.list, p->systems.n, system))
        violate(
            v, "systems", c->nixos.system.at, system,
            spec_arena_printf(a, "container '%s' may not have the system '%s'", c->name, system));
    if (config && !listed(p->configs.list, p->configs.n, plain_path(v, config)))
        violate(v, "configs", c->nixos.config.at, plain_path(v, config),
                spec_arena_printf(a, "container '%s' may not have the configuration '%s'", c->name,
                                  config));
}

static bool is_gateway(const struct spec_host *host, const struct spec_container *c)
{
    for (size_t i = 0; i < host->n_containers; i++) {
        const struct spec_gateway *g = &host->containers[i].gateway;
        bool six = g->addr.family == 6;
        const struct spec_addr *own = &c->address[six].addr;
        if (g->mode == SPEC_GW_GIVEN && own->family == g->addr.family &&
            !memcmp(own->bytes, g->addr.bytes, six ? 16 : 4))
            return true;
    }
    return false;
}

/* What a router sends is not held to its own addresses. */
static void audit_router(struct audit *v, const struct spec_host *host,
                         const struct spec_container *c)
{
    bool gateway = !c->router && !v->p->router && is_gateway(host, c);
    if (v->p->router || (!c->router && !gateway))
        return;
    violate(v, "router", c->router ? c->router_at : c->at, "true",
            spec_arena_printf(v->arena, "container '%s' may not be a router%s", c->name,
                              gateway ? ", and it is the gateway of another" : ""));
}

static void audit_container(struct audit *v, const struct spec_container *c,
                            enum spec_runtime automatic)
{
    static const char *const names[] = {
        [SPEC_RT_NIXOS] = "nixos", [SPEC_RT_NSPAWN] = "nspawn", [SPEC_RT_NETNS] = "netns"};
    const struct spec_policy *p = v->p;
    struct spec_arena *a = v->arena;
    enum spec_runtime runtime = c->runtime == SPEC_RT_AUTO ? automatic : c->runtime;
    if (!listed(p->containers.list, p->containers.n, c->name))
        violate(v, "containers", c->at, c->name,
                spec_arena_printf(a, "there may be no container '%s'", c->name));
    if (runtime != SPEC_RT_AUTO && !listed(p->runtimes.list, p->runtimes.n, names[runtime]))
        violate(v, "runtimes", c->runtime_at.line ? c->runtime_at : c->at, names[runtime],
                spec_arena_printf(a, "container '%s' may not have runtime %s", c->name,
                                  names[runtime]));
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct spec_port *port = &c->ports[i];
        const char *proto = port->proto == SPEC_UDP ? "udp" : "tcp";
        char text[32];
        if (port->count > 1)
            snprintf(text, sizeof text, "%u-%u/%s", port->host, port->host + port->count - 1u,
                     proto);
        else
            snprintf(text, sizeof text, "%u/%s", port->host, proto);
        if (!ports_allowed(p, port))
            violate(v, "ports", port->at, spec_arena_strdup(a, text),
                    spec_arena_printf(a, "container '%s' may not take port %s of the host", c->name,
                                      text));
    }
    if (runtime == SPEC_RT_NSPAWN || c->nspawn.given)
        audit_nspawn(v, c);
    if (c->nixos.given)
        audit_nixos(v, c);
}

static int by_place(const void *a, const void *b)
{
    const struct spec_violation *x = a, *y = b;
    return x->at.byte != y->at.byte ? (x->at.byte < y->at.byte ? -1 : 1)
                                    : strcmp(x->value, y->value);
}

static bool audit_host(struct audit *v, const struct spec_host *host, enum spec_runtime automatic)
{
    v->oom |= !spec_writable_find(v->arena, host, &v->writable);
    for (size_t i = 0; i < host->n_bridges; i++)
        audit_bridge(v, &host->bridges[i]);
    for (size_t i = 0; i < host->n_containers; i++)
        audit_container(v, &host->containers[i], automatic);
    for (size_t i = 0; i < host->n_containers; i++)
        audit_router(v, host, &host->containers[i]);
    return !v->oom;
}

int spec_policy_check(struct spec_arena *a, const struct spec_policy *p,
                      const struct spec_host *host, enum spec_runtime automatic,
                      struct spec_violation **list, size_t *n)
{
    struct audit v = {.arena = a, .p = p};
    if (!audit_host(&v, host, automatic))
        return -ENOMEM;
    if (v.n > 1)
        qsort(v.list, v.n, sizeof *v.list, by_place);
    *list = v.list;
    *n = v.n;
    return 0;
}

static int by_rule(const void *a, const void *b)
{
    const struct spec_violation *x = a, *y = b;
    int r = strcmp(x->rule, y->rule);
    return r ? r : strcmp(x->value, y->value);
}

/* The lines of a text, joined at the end. */
struct lines {
    struct spec_arena *arena;
    const char **list;
    size_t n, room, bytes;
    bool oom;
};

static void add_line(struct lines *l, const char *line)
{
    if (line && l->n < l->room) {
        l->list[l->n++] = line;
        l->bytes += strlen(line);
    } else {
        l->oom = true;
    }
}

static char *join_lines(const struct lines *l)
{
    char *out = l->oom ? NULL : spec_arena_alloc(l->arena, l->bytes + 1);
    char *to = out;
    for (size_t i = 0; out && i < l->n; i++)
        to = stpcpy(to, l->list[i]);
    return out;
}

/* "    - 'VALUE'". A character of a pattern stands for itself in brackets; a quote is doubled. */
static const char *value_line(struct spec_arena *a, const char *value)
{
    char *out = spec_arena_alloc(a, 3 * strlen(value) + sizeof "    - ''\n");
    char *to = out ? stpcpy(out, "    - '") : NULL;
    for (; out && *value; value++) {
        bool pattern = strchr("*?[", *value);
        if (pattern)
            *to++ = '[';
        if (*value == '\'')
            *to++ = '\'';
        *to++ = *value;
        if (pattern)
            *to++ = ']';
    }
    if (out)
        strcpy(to, "'\n");
    return out;
}

/* Of these an absent key would allow something. */
static bool must_be_named(const char *rule)
{
    return !strcmp(rule, "roots") || !strcmp(rule, "private_users") || !strcmp(rule, "runtimes") ||
           !strcmp(rule, "subnets");
}

/* Keys that have one value, and no list. */
static bool is_flag(const char *rule)
{
    static const char *const flags[] = {"network_admin", "open_inbound", "ports_in_use", "router",
                                        "subnets_in_use"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!strcmp(rule, flags[i]))
            return true;
    return false;
}

char *spec_policy_suggest(struct spec_arena *a, const struct spec_host *host,
                          enum spec_runtime automatic, const struct spec_violation *seen,
                          size_t n_seen)
{
    /* Names of bridges and containers give no rights: a suggestion leaves both to their default,
     * which is any. */
    struct spec_string any = {.text = "*"};
    struct spec_policy nothing = {.bridges = {&any, 1}, .containers = {&any, 1}};
    struct audit v = {.arena = a, .p = &nothing, .suggests = true};
    const size_t n_keys = sizeof allow_keys / sizeof *allow_keys;
    /* But a bridge that the host has already needs its name there, and then all others do. */
    for (size_t i = 0; i < n_seen; i++)
        if (!strcmp(seen[i].rule, "bridges"))
            nothing.bridges.n = 0;
    for (size_t i = 0; i < n_seen; i++)
        violate(&v, seen[i].rule, seen[i].at, seen[i].value, seen[i].text);
    if (!audit_host(&v, host, automatic))
        return NULL;
    if (v.n > 1)
        qsort(v.list, v.n, sizeof *v.list, by_rule);
    struct lines l = {.arena = a, .room = v.n + n_keys + 1};
    l.list = spec_arena_alloc(a, l.room * sizeof *l.list);
    if (!l.list)
        return NULL;
    add_line(&l, "version: 1\nallow:\n");
    for (size_t k = 0, i = 0; k < n_keys; k++) {
        const char *rule = allow_keys[k].name, *last = NULL;
        size_t first = i;
        bool flag = is_flag(rule);
        if (i < v.n && !strcmp(v.list[i].rule, rule))
            add_line(&l, spec_arena_printf(a, "  %s:%s%s\n", rule, flag ? " " : "",
                                           flag ? v.list[i].value : ""));
        for (; i < v.n && !strcmp(v.list[i].rule, rule); i++) {
            if (!flag && (!last || strcmp(last, v.list[i].value)))
                add_line(&l, value_line(a, v.list[i].value));
            last = v.list[i].value;
        }
        if (i == first && must_be_named(rule))
            add_line(&l, spec_arena_printf(a, "  %s: []\n", rule));
    }
    return join_lines(&l);
}
