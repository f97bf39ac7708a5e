/* spec/repair.c — the second look at a spec that has faults: what was meant? Keys that are indented
 * like their owner, keys of docker-compose, netplan and NixOS, typing errors. Each is told once,
 * with the line to write, and the tree becomes what was meant, so that no fault follows from
 * another one.
 * Owns     nothing; new nodes live in the arena. */
#include "spec/repair.h"
#include "spec/schema.h"
#include "spec/values.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const owner[] = {
    [TOP] = "the top level",     [DEFAULTS] = "`defaults`",  [HOST] = "a host",
    [BRIDGE] = "`bridge`",       [BRIDGES_ONE] = "a bridge", [NAT] = "`nat`",
    [CONTAINER] = "a container", [NIXOS] = "`nixos`",        [NSPAWN] = "`nspawn`",
};

/* ---- the walk ----------------------------------------------------------------- */
struct fix {
    struct spec_ctx *c;
    const char *container; /* the one that is looked at */
};

static bool hollow(const struct spec_node *v)
{
    return v->type == SPEC_SCALAR && !v->quoted && !v->len;
}

static bool named(const struct spec_node *k)
{
    return k->type == SPEC_SCALAR && !spec_extension(k);
}

__attribute__((format(printf, 4, 5))) static void
hint_unknown(struct fix *f, struct spec_node *k, enum spec_place p, const char *format, ...)
{
    char text[300];
    va_list ap;
    struct spec_diag *d = spec_fault(f->c, SPEC_E_UNKNOWN_KEY, k->at,
                                     *spec_tables[p].where ? "`%.80s` is not a key of %s"
                                                           : "`%.80s` is not a key here%.0s",
                                     k->text, spec_tables[p].where);
    k->told = true;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    spec_hint(f->c, d, "%s", text);
}

/* Tell that a key is not one, and read its value as that of the key that is meant. */
static void take_as(struct fix *f, struct spec_node *map, struct spec_node *k, enum spec_place p,
                    const char *meant)
{
    if (spec_value(map, meant)) {
        hint_unknown(f, k, p, "`%s` is given already; leave this out", meant);
        return;
    }
    hint_unknown(f, k, p, "did you mean `%s`?", meant);
    k->told = false;
    k->text = meant;
    k->len = strlen(meant);
}

static void tell_foreign(struct fix *f, struct spec_node *map, size_t i, enum spec_place p,
                         const struct spec_foreign *x)
{
    struct spec_node *k = map->keys[i];
    const struct spec_node *v = map->values[i];
    struct spec_words w = {0};
    bool nixos = spec_value(map, "nixos") != NULL;
    switch (x->form) {
    case SAY:
        hint_unknown(f, k, p, "%s", x->hint);
        return;
    case MEANT:
        take_as(f, map, k, p, x->hint);
        return;
    case VALUE:
        spec_words_node(&w, v, 0);
        break;
    case LIST:
        spec_words_binds(&w, v);
        break;
    case PAIRS:
        spec_words_pairs(&w, v);
        break;
    case WORDS:
        spec_words_command(&w, v);
        break;
    case NAMED:
        spec_words_put(&w, nixos ? "container@" : "berth@");
        spec_words_put(&w, f->container ? f->container : "NAME");
        break;
    }
    const char *at = strstr(x->hint, "%s");
    hint_unknown(f, k, p, "%.*s%s%s", (int)(at - x->hint), x->hint, w.text, at + 2);
}

static void unknown_key(struct fix *f, struct spec_node *map, size_t i, enum spec_place p)
{
    struct spec_node *k = map->keys[i];
    if (spec_is(k, "<<")) {
        struct spec_diag *d =
            spec_fault(f->c, SPEC_E_UNKNOWN_KEY, k->at, "`<<` (merge) is not supported");
        spec_hint(f->c, d, "write what containers share once: `defaults: {container: {…}}`");
        k->told = true;
        return;
    }
    const char *same = spec_repair_same_word(p, k->text);
    const struct spec_foreign *x = spec_repair_foreign(p, k->text);
    bool below = p == NSPAWN || p == NIXOS;
    if (!x && below) /* limits are looked for here, too */
        x = spec_repair_foreign(CONTAINER, k->text);
    if (x && x->in != p && x->form != NAMED)
        x = NULL;
    if (*k->text >= '0' && *k->text <= '9' && strchr(k->text, ':') && p == CONTAINER) {
        hint_unknown(f, k, p, "several ports stand in brackets: `ports: [8080:80, %.40s]`",
                     k->text);
        return;
    }
    if (same) {
        take_as(f, map, k, p, same);
        return;
    }
    if (x) {
        tell_foreign(f, map, i, p, x);
        return;
    }
    for (enum spec_place q = TOP; q < N_TABLES; q++)
        if (spec_repair_has_row(q, k->text)) { /* another key's name is no typing error */
            struct spec_words w = {0};
            spec_words_node(&w, map->values[i], 0);
            if (p == CONTAINER && (q == NSPAWN || q == NIXOS))
                hint_unknown(f, k, p, "write `%s: {%.60s: %s}`", q == NSPAWN ? "nspawn" : "nixos",
                             k->text, w.text);
            else
                hint_unknown(f, k, p, "it is a key of %s", owner[q]);
            return;
        }
    const char *near = spec_repair_nearest(p, k->text);
    if (near) {
        take_as(f, map, k, p, near);
        return;
    }
    struct spec_words w = {0};
    for (size_t j = 0; j < spec_tables[p].n; j++) {
        spec_words_put(&w, j ? ", " : "");
        spec_words_put(&w, spec_tables[p].keys[j].name);
    }
    hint_unknown(f, k, p, "keys here: %s", w.text);
}

/* ---- indentation -------------------------------------------------------------- */
static bool address_like(const struct spec_node *v)
{
    return v->type == SPEC_SCALAR && v->len &&
           v->text[strspn(v->text, "0123456789abcdefABCDEF.:/")] == 0;
}

/* Does a map of place p have this key, with such a value? */
static bool fits(enum spec_place p, const struct spec_node *k, const struct spec_node *v)
{
    if (!named(k))
        return false;
    if (p < N_TABLES) {
        bool own_map = v->type == SPEC_MAP && spec_repair_place(p, k->text) == NOWHERE &&
                       !spec_value(v, "NAME");
        return (spec_repair_has_row(p, k->text) || spec_repair_foreign(p, k->text)) && !own_map;
    }
    if (p == HOSTS)
        return (v->type == SPEC_MAP || hollow(v)) && !spec_repair_has_row(TOP, k->text) &&
               !spec_repair_has_row(HOST, k->text) && !spec_repair_foreign(TOP, k->text);
    if (p == BRIDGES)
        return v->type == SPEC_MAP && !spec_repair_has_row(HOST, k->text) &&
               !spec_repair_foreign(HOST, k->text);
    return (v->type == SPEC_MAP || address_like(v)) && !spec_repair_has_row(HOST, k->text);
}

/* Keys `from`..`to`-1 of `map` as a map of their own. */
static struct spec_node *map_of(struct fix *f, const struct spec_node *map, size_t from, size_t to)
{
    struct spec_node *m = spec_arena_alloc(f->c->arena, sizeof *m);
    size_t n = to - from;
    struct spec_node **list = spec_arena_alloc(f->c->arena, 2 * n * sizeof *list);
    if (!m || !list) {
        f->c->oom = true;
        return NULL;
    }
    *m = (struct spec_node){
        .type = SPEC_MAP, .at = map->keys[from]->at, .keys = list, .values = list + n, .n = n};
    memcpy(m->keys, map->keys + from, n * sizeof *list);
    memcpy(m->values, map->values + from, n * sizeof *list);
    return m;
}

/* The key behind the last one that belongs to hollow key `i` of a map of place p; i + 1: none
 * does. */
static size_t end_of_run(const struct spec_node *map, size_t i, enum spec_place p)
{
    const struct spec_node *k = map->keys[i];
    enum spec_place below =
        named(k) && hollow(map->values[i]) ? spec_repair_place(p, k->text) : NOWHERE;
    size_t to = i + 1;
    if (below == NOWHERE || to == map->n || map->keys[to]->at.col != k->at.col)
        return to;
    for (; to < map->n && fits(below, map->keys[to], map->values[to]) &&
           !spec_repair_has_row(p, map->keys[to]->text);
         to++) {
        /* a second `address` is the next container's */
        size_t again = below < N_TABLES ? i + 1 : to;
        while (again < to && strcmp(map->keys[again]->text, map->keys[to]->text))
            again++;
        if (again < to)
            break;
    }
    bool by_name = below < N_TABLES && to > i + 1;
    return by_name && !spec_repair_has_row(below, map->keys[i + 1]->text) ? i + 1 : to;
}

/* `key:` with nothing behind it, and below it, no further to the right, what belongs to it. `end`:
 * the line behind the map. */
static void indentation(struct fix *f, struct spec_node *map, enum spec_place p, uint32_t end)
{
    bool block = map->n && map->keys[0]->at.byte == map->at.byte;
    size_t kept = 0, to;
    for (size_t i = 0; block && i < map->n && !f->c->oom; i = to) {
        struct spec_node *k = map->keys[i], *below = map->values[i];
        to = end_of_run(map, i, p);
        if (to > i + 1) {
            const struct spec_node *first = map->keys[i + 1];
            uint32_t last = to < map->n ? map->keys[to]->at.line - 1 : end - 1;
            struct spec_diag *d = spec_fault(
                f->c, SPEC_E_YAML, first->at,
                "`%.60s` is indented like `%.60s`, so it is not part of it", first->text, k->text);
            if (last > first->at.line)
                spec_hint(f->c, d, "give lines %u to %u two more spaces", first->at.line, last);
            else
                spec_hint(f->c, d, "give this line two more spaces");
            spec_note(f->c, d, k->at, "`%.60s` has nothing below it", k->text);
            below = map_of(f, map, i + 1, to);
        }
        map->keys[kept] = k;
        map->values[kept++] = below;
    }
    if (block && !f->c->oom)
        map->n = kept;
}

/* A key of the host that stands among the containers. */
static bool is_hosts_key(const struct spec_node *k, const struct spec_node *v)
{
    enum spec_place below = spec_repair_place(HOST, k->text);
    if (!spec_repair_has_row(HOST, k->text) || below == NOWHERE)
        return spec_repair_has_row(HOST, k->text) && v->type == SPEC_LIST;
    for (size_t i = 0; v->type == SPEC_MAP && i < v->n; i++)
        if (v->keys[i]->type == SPEC_SCALAR && spec_repair_has_row(below, v->keys[i]->text) &&
            !spec_repair_has_row(CONTAINER, v->keys[i]->text))
            return true;
    return v->type == SPEC_MAP && below == BRIDGE && !spec_value(v, "runtime") &&
           spec_value(v, "address") && spec_value(v, "address")->type == SPEC_SCALAR &&
           strchr(spec_value(v, "address")->text, '/');
}

/* ---- values -------------------------------------------------------------------- */
static void expect_pairs(struct fix *f, const struct spec_node *k, const struct spec_node *v,
                         const char *format, const char *value)
{
    const char *form = v->type == SPEC_LIST ? "a list" : "text";
    struct spec_diag *d = spec_fault(f->c, SPEC_E_TYPE, v->at,
                                     "`%.80s` must be `name: …` pairs, not %s", k->text, form);
    const char *at = strstr(format, "%s");
    if (at)
        spec_hint(f->c, d, "%.*s%s%s", (int)(at - format), format, value, at + 2);
    else
        spec_hint(f->c, d, "%s", format);
}

static bool one_of(const char *word, const char *list)
{
    size_t n = strlen(word);
    for (const char *p = list; n && (p = strstr(p, word)); p++)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

static void scalar_for_map(struct fix *f, enum spec_place below, const struct spec_node *k,
                           const struct spec_node *v)
{
    const char *s = v->text;
    if (!v->quoted && one_of(s, "~ null Null NULL")) /* spec_is_map has words for it */
        return;
    switch (below) {
    case NAT:
        if (one_of(s, "auto true yes on enabled masquerade"))
            expect_pairs(f, k, v, "write `nat: {interface: auto}`", "");
        else if (one_of(s, "none false no off disabled"))
            expect_pairs(f, k, v, "leave `nat` out where there is none", "");
        else
            expect_pairs(f, k, v, "write `nat: {interface: %s}`", s);
        return;
    case BRIDGE:
        expect_pairs(f, k, v,
                     address_like(v) ? "write `bridge: {address: %s}`"
                                     : "write `bridge: {name: %s, address: 10.100.0.1/24}`",
                     s);
        return;
    case BRIDGES_ONE:
        expect_pairs(f, k, v, "write `{address: %s}`", s);
        return;
    case NIXOS:
        expect_pairs(f, k, v,
                     one_of(s, "true yes on") ? "write `nixos: {flake: …}`"
                                              : "write `nixos: {flake: %s}`",
                     s);
        return;
    case NSPAWN:
        expect_pairs(
            f, k, v,
            one_of(s, "true yes on") ? "write `runtime: nspawn`" : "write `nspawn: {root: %s}`", s);
        return;
    case HOSTS:
        expect_pairs(f, k, v, "write `hosts: {%s: {bridge: …}}`", s);
        return;
    case CONTAINERS:
        expect_pairs(f, k, v, "write `containers: {%s: 10.100.0.10}`", s);
        return;
    case BRIDGES:
        expect_pairs(f, k, v, "write `bridges: {%s: {address: 10.100.0.1/24}}`", s);
        return;
    default:
        return;
    }
}

static void list_for_map(struct fix *f, enum spec_place below, const struct spec_node *k,
                         const struct spec_node *v)
{
    const struct spec_node *one = v->n ? v->values[0] : NULL, *name = NULL;
    char hint[200];
    if (one && one->type == SPEC_MAP)
        name = spec_words_text_at(one, "name");
    if (one && one->type == SPEC_SCALAR)
        name = one;
    bool one_map = below < N_TABLES;
    if (below == NOWHERE)
        return;
    if (one && one->type == SPEC_MAP && (one_map || (!name && one->n && named(one->keys[0])))) {
        snprintf(hint, sizeof hint, "write `%.60s:` without the `- ` in front",
                 one->n && one->keys[0]->text ? one->keys[0]->text : "KEY");
        expect_pairs(f, k, v, hint, "");
        return;
    }
    if (below != HOSTS && below != CONTAINERS && below != BRIDGES)
        return;
    const char *example = below == CONTAINERS ? "10.100.0.10" : "{address: 10.100.0.1/24}",
               *text = name ? name->text : "NAME";
    if (below == HOSTS)
        example = "{bridge: …}";
    if (one && one->type == SPEC_MAP)
        snprintf(hint, sizeof hint, "write `%.60s:` in place of `- name: %.60s`", text, text);
    else
        snprintf(hint, sizeof hint, "write `%.60s: %s` in place of `- %.60s`", text, example, text);
    expect_pairs(f, k, v, hint, "");
}

/* An address with something else in it. Its last character may be one of another language. */
static bool odd_address(struct fix *f, const struct spec_node *v)
{
    const char *s = v->text, *colon = strchr(s, ':');
    char last = s[v->len - 1];
    size_t quad = strspn(s, "0123456789.");
    struct spec_diag *d;
    if (strstr(s, "${") || *s == '$') {
        d = spec_fault(f->c, SPEC_E_ADDRESS, v->at,
                       "`%.60s` is no address, and berth replaces no variables", s);
        spec_hint(f->c, d, "write the address itself, as in 10.100.0.10");
    } else if (last == ';' || last == ',') {
        d = spec_fault(f->c, SPEC_E_ADDRESS, v->at, "a value does not end with `%c`", last);
        spec_hint(f->c, d, "write `%.*s`", (int)(v->len - 1 > 60 ? 60 : v->len - 1), s);
    } else if (colon && strchr(s, '.') && quad == (size_t)(colon - s) && colon[1] &&
               !colon[1 + strspn(colon + 1, "0123456789")]) {
        d = spec_fault(f->c, SPEC_E_ADDRESS, v->at, "an address has no port");
        spec_hint(f->c, d, "write `{address: %.*s, ports: [%.10s:%.10s]}`", (int)(colon - s), s,
                  colon + 1, colon + 1);
    } else {
        return false;
    }
    return true;
}

/* "8080:80, 8443:443" in one text, and items of docker-compose. */
static void odd_ports(struct fix *f, const struct spec_node *v)
{
    struct spec_diag *d;
    if (v->type == SPEC_SCALAR && strchr(v->text, ',')) {
        d = spec_fault(f->c, SPEC_E_PORT, v->at, "several ports stand in a list");
        spec_hint(f->c, d, "write `ports: [%.120s]`", v->text);
    }
    for (size_t i = 0; v->type == SPEC_LIST && i < v->n; i++) {
        const struct spec_node *to = spec_words_text_at(v->values[i], "target"),
                               *from = spec_words_text_at(v->values[i], "published");
        if (!to || !from)
            continue;
        d = spec_fault(f->c, SPEC_E_TYPE, v->values[i]->at,
                       "expected HOST:CONTAINER, found `key: value` pairs");
        spec_hint(f->c, d, "write `%.20s:%.20s`", from->text, to->text);
    }
}

/* A value that its reader would refuse in general words. */
static void value_of(struct fix *f, enum spec_place p, const struct spec_node *k,
                     const struct spec_node *v)
{
    struct spec_words w = {0};
    struct spec_diag *d;
    bool text = v->type == SPEC_SCALAR && v->len;
    const char *equals = text ? strchr(v->text, '=') : NULL;
    bool address = p == CONTAINERS ||
                   ((p == CONTAINER || p == BRIDGE || p == BRIDGES_ONE) && spec_is(k, "address"));
    if (p == CONTAINER && spec_is(k, "ports"))
        odd_ports(f, v);
    if (text && address && odd_address(f, v))
        return;
    if (p == CONTAINERS && equals) {
        char key[60];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(v->text, " ="), v->text);
        d = spec_fault(f->c, SPEC_E_ADDRESS, v->at, "expected `key: value`, found `=`");
        spec_hint(f->c, d, "write `%s: %s`", key, equals + 1 + strspn(equals + 1, " "));
    } else if (text && (p == CONTAINER || p == CONTAINERS) &&
               (p == CONTAINERS || spec_is(k, "address")) &&
               one_of(v->text, "dhcp auto automatic dynamic any none null ~")) {
        d = spec_fault(f->c, SPEC_E_ADDRESS, v->at,
                       "a container has a fixed address; `%.20s` is none", v->text);
        spec_hint(f->c, d, "write one of the bridge's subnet, as in 10.100.0.10");
    } else if (text && !v->quoted && v->len > 1 && *v->text == '-' && v->text[1] != ' ' &&
               (spec_is(k, "nameservers") || spec_is(k, "ports"))) {
        d = spec_fault(f->c, spec_is(k, "ports") ? SPEC_E_PORT : SPEC_E_ADDRESS, v->at,
                       "a space is missing behind this `-`");
        spec_hint(f->c, d, "write `- %.*s`", (int)strcspn(v->text + 1, " "), v->text + 1);
    } else if (p == CONTAINER && spec_is(k, "ports") && v->type == SPEC_MAP) {
        spec_words_put(&w, "[");
        for (size_t i = 0; i < v->n; i++) {
            spec_words_put(&w, i ? ", " : "");
            spec_words_node(&w, v->keys[i], 4);
            spec_words_put(&w, ":");
            spec_words_node(&w, v->values[i], 4);
        }
        spec_words_put(&w, "]");
        d = spec_fault(f->c, SPEC_E_TYPE, v->at, "`ports` must be a list, not `key: value` pairs");
        spec_hint(f->c, d, "write `ports: %s`", w.text);
    } else if (p == HOST && spec_is(k, "nameservers") && v->type == SPEC_MAP &&
               spec_value(v, "addresses")) {
        spec_words_node(&w, spec_value(v, "addresses"), 0);
        d = spec_fault(f->c, SPEC_E_TYPE, v->at,
                       "`nameservers` must be a list, not `key: value` pairs");
        spec_hint(f->c, d, "write `nameservers: %s`", w.text);
    } else if (p == NSPAWN && spec_is(k, "environment") && v->type == SPEC_LIST) {
        spec_words_pairs(&w, v);
        expect_pairs(f, k, v, "write `environment: %s`", w.text);
    } else if (p == TOP && spec_is(k, "version") && text && !strncmp(v->text, "1.", 2)) {
        d = spec_fault(f->c, SPEC_E_NUMBER, v->at, "expected a whole number");
        spec_hint(f->c, d, "write `version: 1`");
    }
}

static void repair_map(struct fix *f, struct spec_node *map, enum spec_place p, uint32_t end)
{
    if (map->type != SPEC_MAP || p == NOWHERE) {
        if (map->type == SPEC_MAP)
            spec_drop_duplicates(f->c, map);
        return;
    }
    indentation(f, map, p, end);
    for (size_t i = 0; i < map->n; i++) {
        struct spec_node *k = map->keys[i];
        if (!named(k) || k->told)
            continue;
        if (p == CONTAINERS && is_hosts_key(k, map->values[i])) {
            struct spec_diag *d = spec_fault(
                f->c, SPEC_E_YAML, k->at,
                "`%.60s` is a key of the host, and is indented like a container", k->text);
            spec_hint(f->c, d, "give it the indentation of `containers`");
            k->told = true;
            continue;
        }
        if (p < N_TABLES && !spec_repair_has_row(p, k->text))
            unknown_key(f, map, i, p);
    }
    spec_drop_duplicates(f->c, map);
    for (size_t i = 0; i < map->n && !f->c->oom; i++) {
        const struct spec_node *k = map->keys[i];
        struct spec_node *v = map->values[i];
        if (!named(k) || k->told)
            continue;
        enum spec_place below = spec_repair_place(p, k->text);
        if (p == CONTAINERS || p == DEFAULTS)
            f->container = p == CONTAINERS ? k->text : NULL;
        if (p == CONTAINERS && hollow(v)) {
            struct spec_diag *d =
                spec_fault(f->c, SPEC_E_NO_VALUE, k->at, "`%.80s` has no value", k->text);
            spec_hint(f->c, d, "write its address: `%.60s: 10.100.0.10`", k->text);
        }
        value_of(f, p, k, v);
        if (v->type == SPEC_SCALAR && !hollow(v) && below != CONTAINER)
            scalar_for_map(f, below, k, v);
        else if (v->type == SPEC_LIST)
            list_for_map(f, below, k, v);
        repair_map(f, v, below, i + 1 < map->n ? map->keys[i + 1]->at.line : end);
    }
}

/* ---- other files -------------------------------------------------------------- */
static bool not_a_spec(struct fix *f, const struct spec_node *root)
{
    static const struct {
        const char *key, *with, *what, *hint;
    } files[] = {
        {"services", NULL, "a docker-compose file",
         "`berth init` writes a spec to begin with; services become `containers`"},
        {"network", NULL, "a netplan file",
         "`berth init` writes a spec to begin with; it leaves netplan's links alone"},
        {"apiVersion", "kind", "a Kubernetes manifest", "`berth init` writes a spec to begin with"},
        {"tasks", NULL, "a list of Ansible tasks", "`berth init` writes a spec to begin with"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct spec_node *k = spec_key_of(root, files[i].key);
        if (!k || spec_value(root, "hosts") || (files[i].with && !spec_value(root, files[i].with)))
            continue;
        struct spec_diag *d = spec_fault(f->c, SPEC_E_NOT_MAP, k->at,
                                         "`%s` at the top level: this is %s, not a spec of berth",
                                         files[i].key, files[i].what);
        spec_hint(f->c, d, "%s", files[i].hint);
        return true;
    }
    return false;
}

/* `bridge`, `containers` and their kind at the top level, without a host around them. */
static bool host_is_missing(struct fix *f, struct spec_node *root)
{
    struct spec_node *first = NULL;
    for (size_t i = 0; i < root->n; i++) {
        struct spec_node *k = root->keys[i];
        bool host_key = named(k) && spec_repair_has_row(HOST, k->text) &&
                        !spec_repair_has_row(TOP, k->text) && !hollow(root->values[i]);
        if (!host_key)
            continue;
        first = first ? first : k;
        k->told = true;
    }
    if (!first)
        return false;
    const struct spec_node *hosts = spec_value(root, "hosts");
    struct spec_diag *d =
        spec_fault(f->c, SPEC_E_UNKNOWN_KEY, first->at, "`%.80s` is not a key here", first->text);
    if (hosts && !hollow(hosts))
        spec_hint(
            f->c, d,
            "it is a host's: indent it below the host's name, as far as the host's other keys");
    else
        spec_hint(
            f->c, d,
            "it is a host's: write `hosts:`, below it the host's name, and indent this below that");
    return true;
}

bool spec_repair(struct spec_ctx *c, struct spec_node *root)
{
    struct fix f = {.c = c};
    if (not_a_spec(&f, root))
        return false;
    host_is_missing(&f, root);
    uint32_t lines = spec_place(c, c->len, 0).line;
    if (c->len && c->text[c->len - 1] != '\n')
        lines++;
    repair_map(&f, root, TOP, lines);
    return !c->oom;
}
