/* A scalar takes its type from its field, never from its look: `010`, `22:22`, `no` and `1e3` mean
 * what the field can mean, or nothing. */
#include "spec/values.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void *spec_new(struct spec_build *b, size_t bytes)
{
    void *p = spec_arena_alloc(b->c->arena, bytes ? bytes : 1);
    b->c->oom |= !p;
    return p;
}

static size_t find(const struct spec_node *map, const char *key)
{
    for (size_t i = 0; map && map->type == SPEC_MAP && i < map->n; i++)
        if (map->keys[i]->type == SPEC_SCALAR && !strcmp(map->keys[i]->text, key))
            return i;
    return SIZE_MAX;
}

const struct spec_node *spec_value(const struct spec_node *map, const char *key)
{
    size_t i = find(map, key);
    return i == SIZE_MAX ? NULL : map->values[i];
}

const struct spec_node *spec_key_of(const struct spec_node *map, const char *key)
{
    size_t i = find(map, key);
    return i == SIZE_MAX ? NULL : map->keys[i];
}

bool spec_extension(const struct spec_node *key)
{
    return key->type == SPEC_SCALAR && !strncmp(key->text, "x-", 2);
}

bool spec_is(const struct spec_node *v, const char *word)
{
    return v->type == SPEC_SCALAR && v->len == strlen(word) && !memcmp(v->text, word, v->len);
}

static bool null(const struct spec_node *v)
{
    return v->type == SPEC_SCALAR && !v->quoted &&
           (!v->len || spec_is(v, "~") || spec_is(v, "null") || spec_is(v, "Null") ||
            spec_is(v, "NULL"));
}

bool spec_missing(struct spec_build *b, const struct spec_node *key, const struct spec_node *v)
{
    if (v->type != SPEC_SCALAR || v->quoted || v->len)
        return false;
    spec_fault(b->c, SPEC_E_NO_VALUE, key->at, "`%.80s` has no value", key->text ? key->text : "?");
    return true;
}

static const char *form(const struct spec_node *v)
{
    if (null(v))
        return "nothing (null)";
    return v->type == SPEC_MAP ? "`key: value` pairs" : v->type == SPEC_LIST ? "a list" : "text";
}

bool spec_scalar(struct spec_build *b, const struct spec_node *v, const char *what)
{
    if (v->type == SPEC_SCALAR && !null(v))
        return true;
    spec_fault(b->c, SPEC_E_TYPE, v->at, "expected %s, found %s", what, form(v));
    return false;
}

bool spec_is_map(struct spec_build *b, const struct spec_node *v, const struct spec_node *key)
{
    if (v->type == SPEC_MAP)
        return true;
    spec_fault(b->c, SPEC_E_TYPE, v->at, "`%.80s` must be `name: …` pairs, not %s",
               key ? key->text : "the spec", form(v));
    return false;
}

/* Of the first reading: it only says that there is a fault. spec/repair.c then finds the words for
 * it. */
static void unknown(struct spec_build *b, const struct spec_table *t, const struct spec_node *k)
{
    spec_fault(b->c, SPEC_E_UNKNOWN_KEY, k->at,
               *t->where ? "`%.80s` is not a key of %s" : "`%.80s` is not a key here%.0s", k->text,
               t->where);
}

void spec_take_map(struct spec_build *b, const struct spec_table *t, const struct spec_node *v,
                   const struct spec_node *key, void *object)
{
    if (!spec_is_map(b, v, key))
        return;
    for (size_t i = 0; i < v->n && !b->c->oom; i++) {
        const struct spec_node *k = v->keys[i];
        const struct spec_key *row = NULL;
        if (k->type != SPEC_SCALAR || k->told || spec_extension(k))
            continue;
        for (size_t j = 0; j < t->n && !row; j++)
            if (!strcmp(t->keys[j].name, k->text))
                row = &t->keys[j];
        if (!row)
            unknown(b, t, k);
        else if (!spec_missing(b, k, v->values[i]))
            row->take(b, object, k, v->values[i]);
    }
}

const struct spec_node *spec_merged(struct spec_build *b, const struct spec_node *own,
                                    const struct spec_node *defaults, const char *alone)
{
    if (!defaults)
        if (!alone || own->type == SPEC_MAP)
            return own;
    size_t extra = defaults && defaults->type == SPEC_MAP ? defaults->n : 0,
           n = own->type == SPEC_MAP ? own->n : 1;
    if (own->type != SPEC_MAP && !alone)
        return own;
    struct spec_node *m = spec_new(b, sizeof *m);
    struct spec_node **keys = spec_new(b, 2 * (n + extra) * sizeof *keys),
                     **values = keys ? keys + n + extra : NULL;
    if (!m || !keys)
        return NULL;
    *m = (struct spec_node){.type = SPEC_MAP, .at = own->at, .keys = keys, .values = values};
    if (own->type == SPEC_MAP && n) {
        memcpy(keys, own->keys, n * sizeof *keys);
        memcpy(values, own->values, n * sizeof *values);
    } else if (own->type != SPEC_MAP) {
        struct spec_node *k = spec_new(b, sizeof *k);
        if (!k)
            return NULL;
        *k = (struct spec_node){
            .type = SPEC_SCALAR, .at = own->at, .text = alone, .len = strlen(alone)};
        keys[0] = k;
        values[0] = (struct spec_node *)own;
    }
    m->n = n;
    for (size_t i = 0; i < extra; i++) {
        const struct spec_node *k = defaults->keys[i];
        size_t at = k->type == SPEC_SCALAR ? find(m, k->text) : SIZE_MAX;
        if (at == SIZE_MAX) {
            keys[m->n] = defaults->keys[i];
            values[m->n++] = defaults->values[i];
        } else if (values[at]->type == SPEC_MAP && defaults->values[i]->type == SPEC_MAP) {
            values[at] = (struct spec_node *)spec_merged(b, values[at], defaults->values[i], NULL);
            if (!values[at])
                return NULL;
        }
    }
    return m;
}

bool spec_take_number(struct spec_build *b, const struct spec_node *v, uint32_t least,
                      uint32_t most, uint32_t *out)
{
    struct spec_ctx *c = b->c;
    if (v->type != SPEC_SCALAR || null(v)) {
        spec_fault(c, v->type == SPEC_SCALAR ? SPEC_E_NUMBER : SPEC_E_TYPE, v->at,
                   "expected a number, found %s", form(v));
        return false;
    }
    const char *s = v->text + (*v->text == '-' || *v->text == '+');
    size_t digits = strspn(s, "0123456789"), under = strspn(s, "0123456789_");
    if (!strncmp(s, "0x", 2) || !strncmp(s, "0o", 2) || !strncmp(s, "0b", 2)) {
        char *end;
        unsigned long long n = strtoull(s + 2, &end, s[1] == 'x' ? 16 : s[1] == 'o' ? 8 : 2);
        if (*end || !s[2])
            spec_fault(c, SPEC_E_NUMBER, v->at, "expected a whole number");
        else
            spec_fault(c, SPEC_E_NUMBER, v->at, "write the number in decimal: %llu", n);
        return false;
    }
    if (under > digits && !s[under]) {
        char plain[32] = "";
        for (size_t i = 0, n = 0; s[i] && n + 1 < sizeof plain; i++)
            if (s[i] != '_')
                plain[n++] = s[i];
        spec_fault(c, SPEC_E_NUMBER, v->at, "underscores are not allowed in numbers; write %s",
                   plain);
        return false;
    }
    if (!digits || s[digits]) {
        spec_fault(c, SPEC_E_NUMBER, v->at, "expected a whole number");
        return false;
    }
    if (digits > 1 && *s == '0') {
        spec_fault(c, SPEC_E_NUMBER, v->at, "a leading zero is ambiguous (octal?); write %s",
                   s + strspn(s, "0") - (strspn(s, "0") == digits));
        return false;
    }
    unsigned long long n = digits > 12 ? 1ull << 40 : strtoull(s, NULL, 10);
    if ((*v->text == '-' && n) || n < least || n > most) {
        spec_fault(c, SPEC_E_NUMBER, v->at, "number out of range %u..%u", least, most);
        return false;
    }
    *out = (uint32_t)n;
    return true;
}

static const char *bool_meant(const char *text)
{
    static const char *const words[][2] = {
        {"yes", "true"},     {"on", "true"},        {"y", "true"},    {"1", "true"},
        {"enabled", "true"}, {"no", "false"},       {"off", "false"}, {"n", "false"},
        {"0", "false"},      {"disabled", "false"}, {"true", "true"}, {"false", "false"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i][0]))
            return words[i][1];
    return NULL;
}

bool spec_take_bool(struct spec_build *b, const struct spec_node *v, bool *out)
{
    if (v->type != SPEC_SCALAR) {
        spec_fault(b->c, SPEC_E_TYPE, v->at, "expected true or false, found %s", form(v));
        return false;
    }
    bool yes = spec_is(v, "true");
    if (!yes && !spec_is(v, "false")) {
        struct spec_diag *d = spec_fault(b->c, SPEC_E_BOOL, v->at, "write `true` or `false`");
        const char *meant = bool_meant(v->text);
        if (meant)
            spec_hint(b->c, d, "did you mean `%s`?", meant);
        return false;
    }
    *out = yes;
    return true;
}

/* Words of other tools with the same meaning. */
static const char *word_meant(const char *text, const char *const *words, size_t n)
{
    static const char *const same[][2] = {
        {"started", "running"},       {"up", "running"},       {"present", "running"},
        {"active", "running"},        {"down", "stopped"},     {"halted", "stopped"},
        {"off", "stopped"},           {"inactive", "stopped"}, {"delete", "destroy"},
        {"remove", "destroy"},        {"purge", "destroy"},    {"retain", "keep"},
        {"systemd-nspawn", "nspawn"}, {"namespace", "netns"},  {"nix", "nixos"},
        {"mapped", "ports"},          {"all", "open"},         {"allow", "open"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        for (size_t k = 0; k < n && !strcasecmp(text, same[i][0]); k++)
            if (!strcmp(words[k], same[i][1]))
                return words[k];
    for (size_t k = 0; k < n; k++)
        if (!strcasecmp(text, words[k]))
            return words[k];
    return spec_nearest(text, words, n);
}

int spec_take_word(struct spec_build *b, const struct spec_node *v, const char *const *words,
                   size_t n)
{
    char list[200] = "";
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (spec_is(v, words[i]))
            return (int)i;
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(list + k, sizeof list - k, "%s`%s`",
                              !i           ? ""
                              : i + 1 == n ? " or "
                                           : ", ",
                              words[i]);
    if (v->type != SPEC_SCALAR || null(v)) {
        spec_fault(b->c, SPEC_E_TYPE, v->at, "expected %s, found %s", list, form(v));
        return -1;
    }
    struct spec_diag *d =
        spec_fault(b->c, SPEC_E_CHOICE, v->at, "`%.80s` is not one of %s", v->text, list);
    const char *near = word_meant(v->text, words, n);
    bool gone = spec_is(v, "absent") && !strcmp(words[0], "running");
    if (gone)
        spec_hint(b->c, d, "take the container out of the spec, and apply");
    else if (near)
        spec_hint(b->c, d, "did you mean `%s`?", near);
    return -1;
}

const char *spec_take_link(struct spec_build *b, const struct spec_node *v)
{
    enum spec_code code;
    if (v->type != SPEC_SCALAR)
        return spec_scalar(b, v, "a link name"), NULL;
    const char *fault = spec_link_fault(b->c, v->text, v->len, &code);
    if (fault)
        spec_fault(b->c, code, v->at, "%s", fault);
    return fault ? NULL : v->text;
}

bool spec_container_name(struct spec_build *b, const struct spec_node *k)
{
    enum spec_code code;
    if (k->type != SPEC_SCALAR)
        return false;
    const char *fault = spec_container_fault(b->c, k->text, k->len, &code);
    if (fault)
        spec_fault(b->c, code, k->at, "%s", fault);
    return !fault;
}

bool spec_take_text(struct spec_build *b, const struct spec_node *v, struct spec_string *out)
{
    if (!spec_scalar(b, v, "text"))
        return false;
    if (!v->len) {
        spec_fault(b->c, SPEC_E_TEXT, v->at, "this may not be empty");
        return false;
    }
    *out = (struct spec_string){v->text, v->at};
    return true;
}

static const char *path_fault(const char *s, bool relative)
{
    if (*s != '/' && !(relative && (!strncmp(s, "./", 2) || !strncmp(s, "../", 3))))
        return relative ? "a path must be absolute, or start with `./`" : "a path must be absolute";
    for (const char *p = s; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
            return "`..` is not allowed in a path";
        if (!strchr(p, '/'))
            break;
    }
    return NULL;
}

bool spec_system_directory(const char *path)
{
    static const char *const whole[] = {
        "/home",     "/media",   "/mnt",       "/opt",       "/root",      "/run",
        "/srv",      "/tmp",     "/usr/local", "/var",       "/var/cache", "/var/lib",
        "/var/lock", "/var/log", "/var/run",   "/var/spool", "/var/tmp"};
    static const char *const below[] = {"/bin",   "/boot",  "/dev",    "/etc", "/lib",
                                        "/lib32", "/lib64", "/libx32", "/nix", "/proc",
                                        "/sbin",  "/sys",   "/usr"};
    char plain[SPEC_TEXT + 2];
    spec_plain_path(path, plain);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(plain, whole[i]))
            return true;
    if (!strncmp(plain, "/usr/local/", 11) || !strncmp(plain, "/dev/shm/", 9))
        return false;
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        size_t n = strlen(below[i]);
        if (!strncmp(plain, below[i], n) && (!plain[n] || plain[n] == '/'))
            return true;
    }
    return false;
}

bool spec_take_path(struct spec_build *b, const struct spec_node *v, struct spec_string *out,
                    bool root)
{
    if (!spec_take_text(b, v, out))
        return false;
    const char *fault = path_fault(v->text, true);
    if (!fault && root && !v->text[strspn(v->text, "./")] && *v->text == '/')
        fault = "/ cannot be a container root; `host` gives the host's own /usr, read-only";
    if (!fault && root && !v->text[strspn(v->text, "./")])
        fault = "the spec's own directory cannot be a container root";
    if (fault) {
        spec_fault(b->c, SPEC_E_PATH, v->at, "%s", fault);
        out->text = NULL;
    }
    return !fault;
}

static bool usable(struct spec_build *b, const struct spec_node *v, const struct spec_addr *a)
{
    static const uint8_t zero[16], one[16] = {[15] = 1};
    const uint8_t *x = a->bytes;
    bool v6 = a->family == 6;
    const char *fault = NULL;
    if (v6 ? x[0] == 0xff : x[0] >= 224 && x[0] < 240)
        fault = "multicast addresses cannot be assigned";
    else if (v6 ? !memcmp(x, one, 16) : x[0] == 127)
        fault = "loopback addresses belong to `lo`";
    else if (v6 ? !memcmp(x, zero, 16) : x[0] == 0)
        fault =
            v6 ? "`::` is no address of a machine" : "addresses 0.… are no address of a machine";
    else if (!v6 && x[0] >= 240)
        fault = "addresses from 240.0.0.0 on are reserved";
    else if (v6 && x[0] == 0xfe && (x[1] & 0xc0) == 0x80)
        fault = "link-local addresses (fe80::/10) cannot be given here";
    else if (v6 && !memcmp(x, zero, 10) && x[10] == 0xff && x[11] == 0xff)
        fault = "an IPv4-mapped address cannot be assigned; write it as IPv4";
    if (fault)
        spec_fault(b->c, SPEC_E_ADDRESS, v->at, "%s", fault);
    return !fault;
}

bool spec_take_address(struct spec_build *b, const struct spec_node *v, bool cidr,
                       struct spec_addr *out)
{
    char why[128];
    struct spec_addr a;
    if (!spec_scalar(b, v, "an address"))
        return false;
    if (spec_addr_parse(v->text, v->len, &a, why)) {
        spec_fault(b->c, SPEC_E_ADDRESS, v->at, "%s", why);
        return false;
    }
    if (!cidr && a.has_prefix) {
        spec_fault(b->c, SPEC_E_ADDRESS, v->at,
                   "an address without a prefix length is needed here");
        return false;
    }
    if (!usable(b, v, &a))
        return false;
    *out = a;
    return true;
}

/* A list, or one thing for a list of one. Calls `take` for each. */
struct items {
    const struct spec_node *one;
    struct spec_node *const *list;
    size_t n;
};
static bool items(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                  struct items *out)
{
    if (v->type == SPEC_MAP || null(v)) {
        spec_fault(b->c, SPEC_E_TYPE, v->at, "`%.80s` must be a list, not %s", key->text, form(v));
        return false;
    }
    out->one = v;
    out->list = v->type == SPEC_LIST ? v->values : (struct spec_node *const *)&out->one;
    out->n = v->type == SPEC_LIST ? v->n : 1;
    return true;
}

static void take_cidrs(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                       struct spec_cidr **list, size_t *n, bool cidr)
{
    struct items it;
    if (!items(b, key, v, &it))
        return;
    *list = spec_new(b, it.n * sizeof **list);
    *n = 0;
    for (size_t i = 0; *list && i < it.n; i++)
        if (spec_take_address(b, it.list[i], cidr, &(*list)[*n].addr))
            (*list)[(*n)++].at = it.list[i]->at;
}

void spec_take_addresses(struct spec_build *b, const struct spec_node *key,
                         const struct spec_node *v, struct spec_cidr **list, size_t *n)
{
    if (b->in_defaults) {
        spec_fault(b->c, SPEC_E_TOGETHER, key->at,
                   "addresses cannot be shared: give each its own, outside `defaults`");
        return;
    }
    if (v->type == SPEC_LIST && !v->n) {
        spec_fault(b->c, SPEC_E_MISSING, v->at, "`%.80s` needs at least one address", key->text);
        return;
    }
    take_cidrs(b, key, v, list, n, true);
}

void spec_take_plain_addresses(struct spec_build *b, const struct spec_node *key,
                               const struct spec_node *v, struct spec_cidr **list, size_t *n)
{
    take_cidrs(b, key, v, list, n, false);
}

void spec_take_words(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_string **list, size_t *n)
{
    struct items it;
    if (!items(b, key, v, &it))
        return;
    *list = spec_new(b, it.n * sizeof **list);
    for (size_t i = 0; *list && i < it.n; i++)
        if (it.list[i]->type != SPEC_SCALAR)
            spec_scalar(b, it.list[i], "text");
        else
            (*list)[(*n)++] = (struct spec_string){it.list[i]->text, it.list[i]->at};
}

/* "9000-9005" or "80": first port and how many; a fault as a sentence. */
static const char *range(const char *s, size_t len, uint32_t *first, uint32_t *count)
{
    uint32_t v[2] = {0, 0};
    int k = 0;
    size_t digits = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || s[i] == '-') {
            if (!digits || (digits > 1 && s[i - digits] == '0'))
                return digits ? "a leading zero is ambiguous; write the port without"
                              : "a port number is needed, as in 8080:80";
            digits = 0;
            if (i < len && k++)
                return "a range is two numbers, as in 9000-9005";
        } else if (s[i] < '0' || s[i] > '9' || ++digits > 6) {
            return digits > 6 ? "port out of range 1..65535" : "a port is a number, as in 8080:80";
        } else {
            v[k] = v[k] * 10 + (uint32_t)(s[i] - '0');
        }
    }
    v[1] = k ? v[1] : v[0];
    if (!v[0])
        return "port 0 cannot be forwarded";
    if (v[0] > 65535 || v[1] > 65535)
        return "port out of range 1..65535";
    if (v[1] < v[0])
        return "a range starts with its smaller number";
    *first = v[0];
    *count = v[1] - v[0] + 1;
    return NULL;
}

/* An address that no packet to this host is sent to. 0.0.0.0 and [::] are any of their family. */
static const char *no_door(const struct spec_addr *a)
{
    static const uint8_t zero[16], all[4] = {255, 255, 255, 255};
    const uint8_t *x = a->bytes;
    if (!memcmp(x, zero, a->family == 6 ? 16 : 4))
        return NULL;
    if (a->family == 6 ? x[0] == 0xff : x[0] >= 224 && x[0] < 240)
        return "ports of a multicast address cannot be forwarded; leave the address out for any of "
               "this host's";
    if (a->family == 4 && !memcmp(x, all, 4))
        return "ports of the broadcast address cannot be forwarded; leave the address out for any "
               "of this host's";
    if (a->family == 4 && x[0] == 0)
        return "addresses 0.… are no address of a machine; 0.0.0.0 is any of this host's IPv4 "
               "addresses";
    if (a->family == 4 && x[0] >= 240)
        return "addresses from 240.0.0.0 on are reserved";
    if (a->family == 6 && !memcmp(x, zero, 10) && x[10] == 0xff && x[11] == 0xff)
        return "an IPv4-mapped address is no address of this host; write it as IPv4";
    return NULL;
}

static const char *take_port(struct spec_build *b, const struct spec_node *v, struct spec_port *p)
{
    const char *s = v->text, *end = s + v->len, *slash = memrchr(s, '/', v->len);
    char why[128];
    uint32_t host, container, n, m;
    *p = (struct spec_port){.proto = SPEC_TCP, .at = v->at};
    if (slash) {
        size_t k = (size_t)(end - slash - 1);
        if (k == 3 && !memcmp(slash + 1, "udp", 3)) {
            p->proto = SPEC_UDP;
        } else if (k != 3 || memcmp(slash + 1, "tcp", 3)) {
            struct spec_diag *d =
                spec_fault(b->c, SPEC_E_PROTOCOL, v->at, "protocol is `tcp` or `udp`, not `%.*s`",
                           (int)(k > 40 ? 40 : k), slash + 1);
            bool udp = !strcasecmp(slash + 1, "udp"), tcp = !strcasecmp(slash + 1, "tcp");
            if (udp || tcp)
                spec_hint(b->c, d, "write `%.*s/%s`", (int)(slash - s), s, udp ? "udp" : "tcp");
            return "";
        }
        end = slash;
    }
    const char *colon = memrchr(s, ':', (size_t)(end - s));
    if (!colon)
        return "two ports are needed, HOST:CONTAINER, as in 8080:80";
    const char *fault = range(colon + 1, (size_t)(end - colon - 1), &container, &m);
    if (fault)
        return fault;
    const char *before = memrchr(s, ':', (size_t)(colon - s)), *start = before ? before + 1 : s;
    fault = range(start, (size_t)(colon - start), &host, &n);
    if (fault)
        return fault;
    if (n != m)
        return spec_arena_printf(
            b->c->arena, "the ranges have %u and %u ports; they must be equally long", n, m);
    if (before) {
        size_t k = (size_t)(before - s);
        bool brackets = k >= 2 && s[0] == '[' && s[k - 1] == ']';
        if (memchr(s, ':', k) && !brackets)
            return "an IPv6 address before ports stands in brackets, as in \"[fd00::1]:8080:80\"";
        if (spec_addr_parse(brackets ? s + 1 : s, brackets ? k - 2 : k, &p->address, why))
            return spec_arena_strdup(b->c->arena, why);
        if (p->address.has_prefix)
            return "an address without a prefix length is needed before the ports";
        static const uint8_t one[16] = {[15] = 1};
        if (p->address.family == 6 && !memcmp(p->address.bytes, one, 16))
            return "the kernel does not map ports of ::1; 127.0.0.1 can be given, and a client of "
                   "`localhost` tries that too";
        if ((fault = no_door(&p->address)))
            return fault;
    }
    p->host = (uint16_t)host;
    p->container = (uint16_t)container;
    p->count = (uint16_t)n;
    return NULL;
}

static void bad_port(struct spec_build *b, const struct spec_node *v, const char *fault)
{
    struct spec_diag *d = spec_fault(b->c, SPEC_E_PORT, v->at, "%s", fault);
    size_t digits = strspn(v->text, "0123456789");
    bool alone = digits && digits < 6 && (!v->text[digits] || v->text[digits] == '/');
    if (alone)
        spec_hint(b->c, d, "write `%.*s:%s`", (int)digits, v->text, v->text);
}

void spec_take_ports(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_port **list, size_t *n)
{
    struct items it;
    if (!items(b, key, v, &it))
        return;
    *list = spec_new(b, it.n * sizeof **list);
    for (size_t i = 0; *list && i < it.n; i++) {
        if (!spec_scalar(b, it.list[i], "HOST:CONTAINER"))
            continue;
        const char *fault = take_port(b, it.list[i], &(*list)[*n]);
        if (!fault)
            (*n)++;
        else if (*fault)
            bad_port(b, it.list[i], fault);
    }
}

void spec_take_binds(struct spec_build *b, const struct spec_node *key, const struct spec_node *v,
                     struct spec_bind **list, size_t *n)
{
    struct items it;
    if (!items(b, key, v, &it))
        return;
    *list = spec_new(b, it.n * sizeof **list);
    for (size_t i = 0; *list && i < it.n; i++) {
        const struct spec_node *x = it.list[i];
        if (!spec_scalar(b, x, "HOST[:CONTAINER][:ro]"))
            continue;
        char *s = spec_arena_strdup(b->c->arena, x->text), *colon = s ? strchr(s, ':') : NULL,
             *rest = colon ? colon + 1 : NULL;
        struct spec_bind *o = &(*list)[*n];
        if (!s)
            return;
        *o = (struct spec_bind){.host = s, .container = s, .at = x->at};
        if (colon)
            *colon = 0;
        char *last = rest ? strrchr(rest, ':') : NULL;
        char *option = last ? last + 1 : rest && *rest != '/' ? rest : NULL;
        if (last)
            *last = 0;
        if (rest && (last || *rest == '/'))
            o->container = rest;
        const char *fault = path_fault(o->host, false);
        if (!fault)
            fault = path_fault(o->container, false);
        if (option && strcmp(option, "ro") && strcmp(option, "rw"))
            fault = spec_arena_printf(b->c->arena, "`%.60s` is no option of a bind: `ro` or `rw`",
                                      option);
        o->read_only = option && !strcmp(option, "ro");
        if (fault)
            spec_fault(b->c, SPEC_E_PATH, x->at, "%s", fault);
        else
            (*n)++;
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct spec_env *)a)->name, ((const struct spec_env *)b)->name);
}

/* linux/capability.h: the index is the number. */
static const char *const capabilities[] = {
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
};

const char *spec_capability_name(unsigned number)
{
    return number < sizeof capabilities / sizeof *capabilities ? capabilities[number] : NULL;
}

void spec_take_capabilities(struct spec_build *b, const struct spec_node *key,
                            const struct spec_node *v, uint64_t *out)
{
    struct items it;
    const size_t most = sizeof capabilities / sizeof *capabilities;
    if (!items(b, key, v, &it))
        return;
    for (size_t i = 0; i < it.n; i++) {
        const struct spec_node *x = it.list[i];
        size_t k = 0;
        if (x->type != SPEC_SCALAR) {
            spec_scalar(b, x, "the name of a capability");
            continue;
        }
        const char *name = strncmp(x->text, "CAP_", 4) ? x->text : x->text + 4;
        while (k < most && strcmp(name, capabilities[k]))
            k++;
        if (k < most) {
            if (*out >> k & 1)
                spec_fault(b->c, SPEC_E_MANY, x->at, "capability `%s` is listed twice",
                           capabilities[k]);
            *out |= UINT64_C(1) << k;
            continue;
        }
        struct spec_diag *d =
            spec_fault(b->c, SPEC_E_CHOICE, x->at, "`%.80s` is not a capability", x->text);
        const char *near = spec_nearest(name, capabilities, most);
        if (near)
            spec_hint(b->c, d, "did you mean `%s`?", near);
        else
            spec_hint(b->c, d, "names are those of capabilities(7), for example SYS_ADMIN");
    }
}

/* Text, or {file: PATH}. */
static bool take_variable(struct spec_build *b, const struct spec_node *v, struct spec_env *out)
{
    const struct spec_node *file = v->type == SPEC_MAP && v->n == 1 ? spec_value(v, "file") : NULL;
    struct spec_string path;
    *out = (struct spec_env){.value = v->text, .at = v->at};
    if (v->type != SPEC_SCALAR && !file)
        return spec_fault(b->c, SPEC_E_TYPE, v->at, "expected text or {file: PATH}, found %s",
                          form(v)),
               false;
    if (!file)
        return true;
    if (!spec_take_path(b, file, &path, false))
        return false;
    if (*path.text != '/')
        return spec_fault(b->c, SPEC_E_PATH, file->at,
                          "the file of a variable has an absolute path"),
               false;
    out->file = path.text;
    out->value = "";
    out->at = file->at;
    return true;
}

void spec_take_environment(struct spec_build *b, const struct spec_node *key,
                           const struct spec_node *v, struct spec_env **list, size_t *n)
{
    if (!spec_is_map(b, v, key))
        return;
    *list = spec_new(b, v->n * sizeof **list);
    for (size_t i = 0; *list && i < v->n; i++) {
        const struct spec_node *k = v->keys[i];
        if (k->type != SPEC_SCALAR)
            continue;
        size_t good =
            strspn(k->text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        if (!k->len || k->text[good] || (*k->text >= '0' && *k->text <= '9'))
            spec_fault(b->c, SPEC_E_NAME, k->at,
                       "a variable's name takes A-Z, a-z, 0-9 and _, and no digit first");
        else if (take_variable(b, v->values[i], &(*list)[*n]))
            (*list)[(*n)++].name = k->text;
    }
    if (*n > 1)
        qsort(*list, *n, sizeof **list, by_name);
}
