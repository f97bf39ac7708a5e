/* Names without a name server: a marked block in the host's /etc/hosts; one hosts file per bridge, which its containers see by a bind
 * mount and which is therefore rewritten in place (a rename would leave them the old one); and per container a directory with
 * resolv.conf, hostname and a link to that hosts file, which `ip netns exec` finds by /etc/netns/NAME. */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOSTS      "/etc/hosts"
#define HOSTS_DIR  REC_RUN_DIR "/hosts"
#define OWN_DIR    REC_RUN_DIR "/c"
#define NETNS_DIR  "/etc/netns"
#define BEGIN_MARK "# BEGIN berth: made from the spec, what is changed in here is changed back"
#define GLUED_MARK BEGIN_MARK " "      /* the line end before it came with the block */
#define END_MARK   "# END berth"
enum { HOSTS_MOST = 16 << 20 };

enum { F_TEXT, F_RESOLV, F_HOSTNAME, F_LINK };
static const struct rec_field fields[] = {
    [F_TEXT] = {"lines", REC_T_TEXT, offsetof(struct rec_item, names.text), REC_LIVE},
    [F_RESOLV] = {"resolv.conf", REC_T_TEXT, offsetof(struct rec_item, names.resolv), REC_LIVE},
    [F_HOSTNAME] = {"hostname", REC_T_TEXT, offsetof(struct rec_item, names.hostname), REC_LIVE},
    [F_LINK] = {"link", REC_T_STRING, offsetof(struct rec_item, names.link), REC_LIVE},
};

struct text {
    struct spec_arena *a;
    char              *p;
    size_t             n, room;
    bool               oom;
};

static void put(struct text *t, const char *s)
{
    size_t k = strlen(s);
    if (t->n + k + 1 > t->room) {
        size_t room = (t->n + k + 1) * 2;
        char *p = spec_arena_grow(t->a, t->p, t->room, room);
        if (!p) {
            t->oom = true;
            return;
        }
        t->p = p;
        t->room = room;
    }
    memcpy(t->p + t->n, s, k + 1);
    t->n += k;
}

static void put_name(struct text *t, const struct spec_addr *a, const char *name)
{
    char address[SPEC_ADDR_TEXT];
    put(t, spec_addr_format(a, false, address));
    put(t, "\t");
    put(t, name);
    put(t, "\n");
}

static void put_container(struct text *t, const struct spec_container *c)
{
    for (int f = 0; f < 2; f++)
        if (c->address[f].addr.family)
            put_name(t, &c->address[f].addr, c->name);
}

static struct rec_item *item(struct rec_state *out, const char *key, uint32_t stated)
{
    struct rec_item *it = key ? rec_state_add(out, REC_NAMES, key) : NULL;
    if (it)
        it->stated = stated;
    return it;
}

static int want_host(const struct spec_host *h, struct rec_state *out)
{
    struct text t = {.a = out->arena};
    put(&t, BEGIN_MARK "\n");
    for (size_t i = 0; i < h->n_containers; i++)
        put_container(&t, &h->containers[i]);
    put(&t, END_MARK "\n");
    struct rec_item *it = item(out, HOSTS, 1u << F_TEXT);
    if (!it || t.oom)
        return -ENOMEM;
    it->names.text = t.p;
    it->at = h->containers_at;
    return 0;
}

static int want_bridge(struct rec_run *run, const struct spec_host *h, size_t b, struct rec_state *out)
{
    struct text t = {.a = out->arena};
    const struct spec_bridge *bridge = &h->bridges[b];
    const char *host = strcmp(h->name, "localhost") ? h->name : run->facts.hostname;
    bool clash = !host || !*host;
    put(&t, "# made by berth for the containers on this bridge\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
    for (size_t i = 0; i < h->n_containers && !clash; i++)
        clash = !strcmp(h->containers[i].name, host);
    for (size_t i = 0; i < bridge->n_addresses && !clash; i++)
        put_name(&t, &bridge->addresses[i].addr, host);
    for (size_t i = 0; i < h->n_containers; i++)
        if (h->containers[i].bridge == b)
            put_container(&t, &h->containers[i]);
    struct rec_item *it = item(out, spec_arena_printf(out->arena, HOSTS_DIR "/%s", bridge->name), 1u << F_TEXT);
    if (!it || t.oom)
        return -ENOMEM;
    it->names.text = t.p;
    it->at = bridge->at;
    return 0;
}

static const char *resolvers(struct rec_run *run, const struct spec_host *h, struct spec_arena *a)
{
    struct text t = {.a = a};
    char address[SPEC_ADDR_TEXT];
    size_t n = h->nameservers_given ? h->n_nameservers : run->facts.n_nameservers;
    put(&t, n ? "# made by berth\n" : "# made by berth: the host has no nameserver but its own, so give `nameservers` in the spec\n");
    for (size_t i = 0; i < n; i++) {
        put(&t, "nameserver ");
        put(&t, spec_addr_format(h->nameservers_given ? &h->nameservers[i].addr : &run->facts.nameservers[i], false, address));
        put(&t, "\n");
    }
    return t.oom ? NULL : t.p;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out, struct rec_error *err)
{
    int r = 0;
    const char *resolv = h->n_containers ? resolvers(run, h, out->arena) : "";
    if (h->names && h->n_containers) {
        r = want_host(h, out);
        for (size_t b = 0; !r && b < h->n_bridges; b++)
            r = want_bridge(run, h, b, out);
    }
    for (size_t i = 0; !r && i < h->n_containers; i++) {
        const struct spec_container *c = &h->containers[i];
        if (!h->names && rec_runtime_of(run, c) != SPEC_RT_NSPAWN)
            continue;
        struct rec_item *it = item(out, spec_arena_printf(out->arena, OWN_DIR "/%s", c->name), 1u << F_RESOLV | 1u << F_HOSTNAME);
        if (!it || !resolv) {
            r = -ENOMEM;
            break;
        }
        it->container = c->name;
        it->spec = c;
        it->at = c->at;
        it->names.resolv = resolv;
        it->names.hostname = spec_arena_printf(out->arena, "%s\n", c->name);
        it->names.link = h->names ? spec_arena_printf(out->arena, "%s/ns", it->key) : NULL;
        it->names.hosts = h->names ? spec_arena_printf(out->arena, HOSTS_DIR "/%s", h->bridges[c->bridge].name) : NULL;
        if (h->names)
            it->stated |= 1u << F_LINK;
    }
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

/* Our block in `text`: from its first mark to behind the line of its last. 0: none; -EINVAL: it never ends. */
static int find_block(const char *text, size_t *start, size_t *end)
{
    const char *b = text;
    while ((b = strstr(b, "# BEGIN berth")) && b != text && b[-1] != '\n')
        b++;
    if (!b)
        return 0;
    const char *e = b;
    while ((e = strstr(e, "\n" END_MARK)) && e[1 + strlen(END_MARK)] && e[1 + strlen(END_MARK)] != '\n')
        e++;
    if (!e)
        return -EINVAL;
    e += 1 + strlen(END_MARK);
    *start = (size_t)(b - text);
    *end = (size_t)(e - text) + (*e == '\n');
    return 1;
}

static int read_host(const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    char *text;
    size_t len, start, end;
    const struct rec_item *w = rec_state_find(wanted, REC_NAMES, HOSTS);
    int r = rec_file_read(out->arena, HOSTS, HOSTS_MOST, &text, &len, err);
    if (r == -ENOENT)
        return 0;
    if (r == -ELOOP && !w)
        return 0;
    if (r == -ELOOP) {      /* NixOS: the file belongs to somebody who writes it anew */
        rec_state_note(out, HOSTS, "it is a symbolic link and left alone; the host itself does not learn the containers' names");
        struct rec_item *it = item(out, HOSTS, 1u << F_TEXT);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->ours = false;
        it->names.text = w->names.text;
        return 0;
    }
    if (r)
        return r;
    r = find_block(text, &start, &end);
    if (r == -EINVAL) {
        rec_fail(err, EINVAL, "the block of berth in '%s' has a first line and no last one ('%s')", HOSTS, END_MARK);
        rec_hint(err, "put the last line back, or take the first one out");
        return -EINVAL;
    }
    if (!r)
        return 0;
    struct rec_item *it = item(out, HOSTS, 1u << F_TEXT);
    char *block = it ? spec_arena_strndup(out->arena, text + start, end - start) : NULL;
    if (!block)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!strncmp(block, GLUED_MARK "\n", strlen(GLUED_MARK) + 1))
        memmove(block + strlen(BEGIN_MARK), block + strlen(GLUED_MARK), strlen(block) - strlen(GLUED_MARK) + 1);
    it->names.text = block;
    return 0;
}

static int read_text(struct spec_arena *a, const char *path, const char **out, struct rec_error *err)
{
    char *text;
    size_t len;
    int r = rec_file_read(a, path, HOSTS_MOST, &text, &len, err);
    if (r == -ENOENT || r == -ELOOP || r == -EINVAL) {
        *out = NULL;
        return 0;
    }
    *out = r ? NULL : text;
    return r;
}

static int read_own(struct rec_state *out, const char *name, struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    char *target = NULL, *to = NULL;
    struct rec_item *it = item(out, spec_arena_printf(a, OWN_DIR "/%s", name), (1u << F_LINK) * 2 - 1);
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->container = name;
    int r = read_text(a, spec_arena_printf(a, "%s/ns/resolv.conf", it->key), &it->names.resolv, err);
    if (!r)
        r = read_text(a, spec_arena_printf(a, "%s/ns/hostname", it->key), &it->names.hostname, err);
    if (r)
        return r;
    if (!rec_link_read(a, spec_arena_printf(a, NETNS_DIR "/%s", name), &target, NULL))
        it->names.link = target;
    if (!rec_link_read(a, spec_arena_printf(a, "%s/ns/hosts", it->key), &to, NULL))
        it->names.hosts = to;
    return 0;
}

static int read_names(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out, struct rec_error *err)
{
    char **list;
    size_t n;
    (void)run;
    int r = read_host(wanted, out, err);
    if (r)
        return r;
    r = rec_dir_list(out->arena, HOSTS_DIR, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        struct rec_item *it = item(out, spec_arena_printf(out->arena, HOSTS_DIR "/%s", list[i]), 1u << F_TEXT);
        r = it ? read_text(out->arena, it->key, &it->names.text, err) : rec_fail(err, ENOMEM, "out of memory");
    }
    if (r && r != -ENOENT)
        return r;
    r = rec_dir_list(out->arena, OWN_DIR, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++)
        r = read_own(out, list[i], err);
    return r == -ENOENT ? 0 : r;
}

/* Which hosts file a container's link leads to changes with its bridge. */
static void compare(struct spec_arena *a, const struct rec_item *w, const struct rec_item *h, rec_differs_fn differs, void *arg)
{
    (void)a;
    const char *x = h->names.hosts, *y = w->names.hosts;
    if (w->container && y && (!x || strcmp(x, y)))
        differs(arg, F_LINK, x, y);
}

/* Bytes outside the marks stay as they are; a file without a last line end gets one only with the block, and loses it with it. */
static int write_host(struct rec_run *run, const char *block, struct rec_error *err)
{
    char *text = "";
    size_t len = 0, start = 0, end = 0;
    struct text t = {.a = run->arena};
    int r = rec_file_read(run->arena, HOSTS, HOSTS_MOST, &text, &len, err);
    if (r && r != -ENOENT)
        return r;
    if (strlen(text) != len)
        return rec_fail(err, EINVAL, "cannot change '%s': it holds a NUL byte", HOSTS);
    r = find_block(text, &start, &end);
    if (r < 0)
        return rec_fail(err, EINVAL, "cannot change '%s': the block of berth in it never ends", HOSTS);
    if (!r)
        start = end = len;
    bool add = !r && len && text[len - 1] != '\n';
    bool glued = add || (r && !strncmp(text + start, GLUED_MARK "\n", strlen(GLUED_MARK) + 1));
    if (!block && glued && start)
        start--;
    const char *before = spec_arena_strndup(run->arena, text, start), *rest = block ? strchr(block, '\n') : NULL;
    put(&t, before ? before : "");
    if (block && add)
        put(&t, "\n");
    if (block) {
        put(&t, glued ? GLUED_MARK : BEGIN_MARK);
        put(&t, rest ? rest : "\n");
    }
    t.oom |= !before;
    put(&t, text + end);
    if (t.oom)
        return rec_fail(err, ENOMEM, "out of memory");
    return rec_file_write(HOSTS, t.p ? t.p : "", t.n, 0644, err);
}

static int write_own(struct rec_run *run, const struct rec_item *w, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *dir = spec_arena_printf(a, "%s/ns", w->key), *link = spec_arena_printf(a, NETNS_DIR "/%s", w->container);
    int r = rec_dir_make(dir, 0755, err);
    if (!r && w->names.resolv)
        r = rec_file_rewrite(spec_arena_printf(a, "%s/resolv.conf", dir), w->names.resolv, strlen(w->names.resolv), 0644, err);
    if (!r && w->names.hostname)
        r = rec_file_rewrite(spec_arena_printf(a, "%s/hostname", dir), w->names.hostname, strlen(w->names.hostname), 0644, err);
    if (!r && w->names.hosts)
        r = rec_link_write(spec_arena_printf(a, "%s/hosts", dir), w->names.hosts, err);
    if (!r && w->names.link)
        r = rec_dir_make(NETNS_DIR, 0755, err);
    if (!r && w->names.link)
        r = rec_link_write(link, w->names.link, err);
    return r;
}

static int remove_own(struct rec_run *run, const struct rec_item *h, struct rec_error *err)
{
    const char *mine = spec_arena_printf(run->arena, "%s/ns", h->key);
    int r = 0;
    if (h->names.link && mine && !strcmp(h->names.link, mine)) {
        r = rec_file_remove(spec_arena_printf(run->arena, NETNS_DIR "/%s", h->container), err);
        rmdir(NETNS_DIR);       /* only if nothing of anybody's is in it */
    }
    return r ? r : rec_tree_remove(h->key, err);
}

static int apply_one(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    if (i->container)
        return s->to ? write_own(run, s->to, err) : remove_own(run, s->from, err);
    if (!strcmp(i->key, HOSTS))
        return write_host(run, s->to ? s->to->names.text : NULL, err);
    if (!s->to)
        return rec_file_remove(i->key, err);
    int r = rec_dir_make(HOSTS_DIR, 0755, err);
    return r ? r : rec_file_rewrite(i->key, i->names.text, strlen(i->names.text), 0644, err);
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n, struct rec_report *report)
{
    return rec_each_step(run, steps, n, report, apply_one);
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from, const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    char *target;
    (void)from;
    (void)have;
    if (!w || !w->container || !w->names.link)
        return NULL;
    const char *path = spec_arena_printf(a, NETNS_DIR "/%s", w->container);
    struct stat st;
    if (!path || lstat(path, &st))
        return NULL;
    if (!rec_link_read(a, path, &target, NULL) && !strncmp(target, OWN_DIR "/", strlen(OWN_DIR) + 1))
        return NULL;
    *hint = "move it away, or say `names: none`";
    return spec_arena_printf(a, "'%s' exists and is not berth's", path);
}

const struct rec_kind rec_kind_names = {
    .name = "names", .fields = fields, .n_fields = sizeof fields / sizeof *fields, .want = want, .read = read_names,
    .compare = compare, .conflict = conflict, .shared = true, .apply = apply,
};
