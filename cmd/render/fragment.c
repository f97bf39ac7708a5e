/* The twin of the spec's schema: what it reads, this writes. Keys at their defaults are left
 * out. */
#include "cmd/render/fragment.h"
#include "reconcile/runtimes/nixos.h"
#include "reconcile/runtimes/nspawn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text(json_t *o, const char *key, const char *value)
{
    json_object_set_new(o, key, json_string(value));
}

static json_t *addresses(const struct spec_container *c)
{
    json_t *list = json_array();
    char a[SPEC_ADDR_TEXT];
    for (int k = 0; k < 2; k++)
        if (c->address[k].addr.family)
            json_array_append_new(list,
                                  json_string(spec_addr_format(&c->address[k].addr, false, a)));
    if (json_array_size(list) != 1)
        return list;
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

static json_t *ports(const struct spec_container *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct spec_port *p = &c->ports[i];
        char a[SPEC_ADDR_TEXT] = "", line[SPEC_ADDR_TEXT + 64], last[2][16] = {"", ""};
        if (p->address.family)
            spec_addr_format(&p->address, false, a);
        if (p->count > 1) {
            snprintf(last[0], sizeof last[0], "-%u", p->host + p->count - 1u);
            snprintf(last[1], sizeof last[1], "-%u", p->container + p->count - 1u);
        }
        snprintf(line, sizeof line, "%s%s%s%s%u%s:%u%s%s", p->address.family == 6 ? "[" : "", a,
                 p->address.family == 6 ? "]" : "", *a ? ":" : "", p->host, last[0], p->container,
                 last[1], p->proto == SPEC_UDP ? "/udp" : "");
        json_array_append_new(list, json_string(line));
    }
    return list;
}

static json_t *nspawn(struct rec_run *run, const struct spec_container *c)
{
    json_t *o = json_object(), *list;
    if (c->nspawn.root == SPEC_ROOT_DIR)
        text(o, "root", nspawn_root_path(run, c, run->arena));
    if (c->nspawn.root == SPEC_ROOT_TAR)
        text(o, "root",
             *c->nspawn.path.text == '/' || !run->opt.spec_dir
                 ? c->nspawn.path.text
                 : spec_arena_printf(run->arena, "%s/%s", run->opt.spec_dir,
                                     c->nspawn.path.text + 2));
    if (c->nspawn.boot)
        json_object_set_new(o, "boot", json_true());
    if (c->nspawn.users != SPEC_USERS_AUTO)
        text(o, "private_users", c->nspawn.users == SPEC_USERS_NONE ? "none" : "identity");
    if (c->nspawn.network_admin)
        json_object_set_new(o, "network_admin", json_true());
    list = NULL;
    for (unsigned i = 0; spec_capability_name(i); i++) {
        if (!(c->nspawn.capabilities >> i & 1))
            continue;
        if (!list)
            json_object_set_new(o, "capabilities", list = json_array());
        json_array_append_new(list, json_string(spec_capability_name(i)));
    }
    for (size_t i = 0; i < c->nspawn.n_command; i++) {
        list = i ? json_object_get(o, "command") : json_array();
        json_array_append_new(list, cmd_json_text(c->nspawn.command[i].text));
        if (!i)
            json_object_set_new(o, "command", list);
    }
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        list = i ? json_object_get(o, "binds") : json_array();
        json_array_append_new(
            list, json_string(spec_arena_printf(run->arena, "%s:%s%s", b->host, b->container,
                                                b->read_only ? ":ro" : "")));
        if (!i)
            json_object_set_new(o, "binds", list);
    }
    for (size_t i = 0; i < c->nspawn.n_environment; i++) {
        json_t *map = i ? json_object_get(o, "environment") : json_object();
        const struct spec_env *e = &c->nspawn.environment[i];
        json_t *file = e->file ? json_object() : NULL;
        if (file)
            text(file, "file", e->file);
        json_object_set_new(map, e->name, file ? file : cmd_json_text(e->value));
        if (!i)
            json_object_set_new(o, "environment", map);
    }
    return o;
}

static json_t *nixos(struct rec_run *run, const struct spec_container *c)
{
    json_t *o = json_object();
    if (c->nixos.system.text)
        text(o, "system", c->nixos.system.text);
    else if (c->nixos.config.text)
        text(o, "config", nixos_source(run, c, NULL) + sizeof "config");
    else if (c->nixos.flake.text)
        text(o, "flake",
             spec_arena_printf(run->arena, "%s#%s", nixos_flake(run, c), c->nixos.attr.text));
    return o;
}

json_t *cmd_fragment(struct rec_run *run, const struct spec_container *c)
{
    json_t *o = json_object(), *map;
    char word[SPEC_ADDR_TEXT];
    enum spec_runtime runtime = rec_runtime_of(run, c);
    json_object_set_new(o, "address", addresses(c));
    text(o, "runtime", rec_runtime(runtime)->name);
    if (c->gateway.mode == SPEC_GW_NONE)
        text(o, "gateway", "none");
    if (c->gateway.mode == SPEC_GW_GIVEN)
        text(o, "gateway", spec_addr_format(&c->gateway.addr, false, word));
    if (c->has_mac)
        text(o, "mac", spec_mac_format(c->mac, word));
    if (c->n_ports)
        json_object_set_new(o, "ports", ports(c));
    if (c->state == SPEC_STOPPED)
        text(o, "state", "stopped");
    if (!c->autostart)
        json_object_set_new(o, "autostart", json_false());
    if (c->isolated)
        json_object_set_new(o, "isolated", json_true());
    if (c->router)
        json_object_set_new(o, "router", json_true());
    if (c->protect)
        json_object_set_new(o, "protect", json_true());
    if (c->destroy_files)
        text(o, "on_remove", "destroy");
    map = runtime == SPEC_RT_NSPAWN  ? nspawn(run, c)
          : runtime == SPEC_RT_NIXOS ? nixos(run, c)
                                     : json_object();
    if (json_object_size(map))
        json_object_set(o, rec_runtime(runtime)->name, map);
    json_decref(map);
    return o;
}

static void put_value(struct cmd_out *o, json_t *v)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./_-";
    const char *word = json_string_value(v);
    char *dump = word && *word != '-' && strspn(word, plain) == strlen(word) && *word
                     ? NULL
                     : json_dumps(v, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    cmd_put(o, dump ? dump : word ? word : "null");
    free(dump);
}

void cmd_fragment_put(struct cmd_out *o, const char *name, json_t *fragment)
{
    static const char *const order[] = {"address",   "runtime",   "gateway",  "mac",    "ports",
                                        "state",     "autostart", "isolated", "router", "protect",
                                        "on_remove", "nspawn",    "nixos"};
    cmd_printf(o, "      %s:\n", name);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        json_t *v = json_object_get(fragment, order[i]);
        if (!v)
            continue;
        cmd_printf(o, "        %s: ", order[i]);
        put_value(o, v);
        cmd_put(o, "\n");
    }
}
