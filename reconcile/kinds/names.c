/* Names without a name server: a marked block in the host's /etc/hosts; one hosts file per bridge,
 * which its containers see by a bind mount and which is therefore rewritten in place (a rename
 * would leave them the old one); and per container a directory with resolv.conf, hostname and a
 * link to that hosts file, which `ip netns exec` finds by /etc/netns/NAME. */
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
#define BEGIN_WORD "# BEGIN berth"
#define BEGIN_MARK BEGIN_WORD " (made from the spec: edits inside are undone)"
#define GLUED_MARK BEGIN_MARK " " /* the line end before it came with the block */
#define MADE_MARK  BEGIN_WORD " (made from the spec, and so is this file: edits inside are undone)"
#define END_MARK   "# END berth"
enum { HOSTS_MOST = 16 << 20 };
/* of a directory that berth made: the bit means nothing there, and is the mark */
enum { NETNS_MODE = 01755 };

enum { F_TEXT, F_RESOLV, F_HOSTNAME, F_LINK };
static const struct rec_field fields[] = {
    [F_TEXT] = {"lines", REC_T_TEXT, offsetof(struct rec_item, names.text), REC_LIVE},
    [F_RESOLV] = {"resolv.conf", REC_T_TEXT, offsetof(struct rec_item, names.resolv), REC_LIVE},
    [F_HOSTNAME] = {"hostname", REC_T_TEXT, offsetof(struct rec_item, names.hostname), REC_LIVE},
    [F_LINK] = {"link", REC_T_STRING, offsetof(struct rec_item, names.link), REC_LIVE},
};

struct text {
    struct spec_arena *a;
    char *p;
    size_t n, room;
    bool oom;
};

static void put(struct text *t, const char *s)
{
    size_t k = s ? strlen(s) : 0;
    if (!s) {
        t->oom = true;
        return;
    }
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

static int want_bridge(struct rec_run *run, const struct spec_host *h, size_t b,
                       struct rec_state *out)
{
    struct text t = {.a = out->arena};
    const struct spec_bridge *bridge = &h->bridges[b];
    const char *host = strcmp(h->name, "localhost") ? h->name : run->facts.hostname;
    bool clash = !host || !*host;
    put(&t, "# made by berth for the containers on this "
            "bridge\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n");
    for (size_t i = 0; i < h->n_containers && !clash; i++)
        clash = !strcmp(h->containers[i].name, host);
    for (size_t i = 0; i < bridge->n_addresses && !clash; i++)
        put_name(&t, &bridge->addresses[i].addr, host);
    for (size_t i = 0; i < h->n_containers; i++)
        if (h->containers[i].bridge == b)
            put_container(&t, &h->containers[i]);
    struct rec_item *it =
        item(out, spec_arena_printf(out->arena, HOSTS_DIR "/%s", bridge->name), 1u << F_TEXT);
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
    put(&t, n ? "# made by berth\n"
              : "# made by berth: the host has no nameserver but its own, so give `nameservers` in "
                "the spec\n");
    for (size_t i = 0; i < n; i++) {
        put(&t, "nameserver ");
        put(&t, spec_addr_format(h->nameservers_given ? &h->nameservers[i].addr
                                                      : &run->facts.nameservers[i],
                                 false, address));
        put(&t, "\n");
    }
    return t.oom ? NULL : t.p;
}

static int want(struct rec_run *run, const struct spec_host *h, struct rec_state *out,
                struct rec_error *err)
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
        if (rec_runtime_of(run, c) == SPEC_RT_NIXOS)
            continue; /* its flake writes its files */
        if (!h->names && rec_runtime_of(run, c) != SPEC_RT_NSPAWN)
            continue;
        struct rec_item *it = item(out, spec_arena_printf(out->arena, OWN_DIR "/%s", c->name),
                                   1u << F_RESOLV | 1u << F_HOSTNAME | 1u << F_LINK);
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
        it->names.hosts =
            h->names ? spec_arena_printf(out->arena, HOSTS_DIR "/%s", h->bridges[c->bridge].name)
                     : NULL;
    }
    return r ? rec_fail(err, ENOMEM, "out of memory") : 0;
}

/* A line of `text` from `from` on that begins with `mark` and ends there, or goes on with a
 * blank. NULL: none. */
static const char *find_mark(const char *text, const char *from, const char *mark)
{
    size_t n = strlen(mark);
    for (const char *p = from; (p = strstr(p, mark)); p++)
        if ((p == text || p[-1] == '\n') && (!p[n] || strchr(" \r\n", p[n])))
            return p;
    return NULL;
}

/* Our block from `from` on: from its first mark to behind the line of its last. 0: none; -EINVAL:
 * it never ends, or another begins in it, and what belongs to whom nobody can tell. */
static int find_block(const char *text, const char *from, const char **start, const char **end)
{
    const char *b = find_mark(text, from, BEGIN_WORD), *e = b ? find_mark(text, b, END_MARK) : NULL;
    const char *next = b ? find_mark(text, b + 1, BEGIN_WORD) : NULL;
    if (!b)
        return 0;
    if (!e || (next && next < e))
        return -EINVAL;
    e += strcspn(e, "\n");
    *start = b;
    *end = e + (*e == '\n');
    return 1;
}

static bool begins_with(const char *block, const char *mark)
{
    size_t n = strlen(mark);
    return !strncmp(block, mark, n) && block[n] == '\n';
}
#define UNCLOSED                                                                                   \
    "berth's lines cannot be told from others: a block begins ('" BEGIN_WORD                       \
    " …') and does not end ('" END_MARK "')"
#define UNCLOSED_HINT "put the last line back, or take the first one out"

static int unclosed(struct rec_error *err)
{
    rec_fail(err, EINVAL, "cannot change '%s': %s", HOSTS, UNCLOSED);
    rec_hint(err, UNCLOSED_HINT);
    return -EINVAL;
}

/* As it is nobody can change it; what else is in the host can be. */
static int blocked(struct rec_state *out, bool ours, const char *why, const char *hint,
                   struct rec_error *err)
{
    struct rec_item *it = item(out, HOSTS, 0);
    if (!it || !why)
        return rec_fail(err, ENOMEM, "out of memory");
    it->ours = ours;
    it->names.blocked = why;
    it->names.blocked_hint = hint;
    return 0;
}

static bool never(const struct rec_item *w, const struct rec_item *have)
{
    return have->names.blocked && !w->names.blocked; /* undo wants it as it was */
}

static const char *conflict(struct spec_arena *a, const struct rec_state *from,
                            const struct rec_item *w, const struct rec_item *have,
                            const char **hint)
{
    (void)a, (void)from, (void)w;
    if (!have || !have->names.blocked)
        return NULL;
    *hint = have->names.blocked_hint;
    return have->names.blocked;
}

/* What is left alone is no difference. */
static int as_wanted(const struct rec_item *w, struct rec_state *out, struct rec_error *err)
{
    struct rec_item *it = w ? item(out, w->key, 1u << F_TEXT) : NULL;
    if (w && !it)
        return rec_fail(err, ENOMEM, "out of memory");
    if (it) {
        it->ours = false;
        it->names.text = w->names.text;
        it->names.note = "left alone";
    }
    return 0;
}

static int compare_container(const void *key, const void *entry)
{
    return strcmp(key, ((const struct spec_container *)entry)->name);
}

/* Line `n` says that `name` is `a`: the resolver takes the first line that it finds. */
static int check_name(const struct spec_host *h, const struct spec_addr *a, const char *name,
                      unsigned n, struct rec_state *out)
{
    const struct spec_container *c =
        bsearch(name, h->containers, h->n_containers, sizeof *h->containers, compare_container);
    char text[SPEC_ADDR_TEXT];
    if (!c || spec_addr_equal(a, &c->address[a->family == 6].addr))
        return 0;
    return rec_state_warn(
        out, HOSTS, "take the name out of that line, or rename the container",
        "line %u gives the name '%s' to %s: this host finds that before container %s", n, name,
        spec_addr_format(a, false, text), c->name);
}

/* Lines of others that come before ours and name a container. */
static int check_earlier(const struct spec_host *h, struct spec_arena *a, const char *text,
                         const char *end, struct rec_state *out)
{
    unsigned n = 0;
    int r = 0;
    for (const char *line = text; !r && line < end; n++) {
        size_t len = strcspn(line, "\n"), used = strcspn(line, "#\n");
        char *copy = spec_arena_strndup(a, line, used), *save = NULL, why[128];
        struct spec_addr addr;
        if (!copy)
            return -ENOMEM;
        const char *word = strtok_r(copy, " \t\r", &save);
        if (word && !spec_addr_parse(word, strlen(word), &addr, why))
            while (!r && (word = strtok_r(NULL, " \t\r", &save)))
                r = check_name(h, &addr, word, n + 1, out);
        line += len + (line[len] == '\n');
    }
    return r;
}

static int read_host(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                     struct rec_error *err)
{
    char *text;
    const char *start, *end;
    size_t len;
    const struct rec_item *w = rec_state_find(wanted, REC_NAMES, HOSTS);
    int r = rec_file_read(out->arena, HOSTS, HOSTS_MOST, &text, &len, err);
    if (r == -ENOENT)
        return 0;
    if (r == -ELOOP) { /* NixOS: the file belongs to somebody who writes it anew */
        if (w)
            rec_state_note(out, HOSTS,
                           "it is a symbolic link and left alone; the host itself does not learn "
                           "the containers' names");
        return as_wanted(w, out, err);
    }
    /* no file at all: nothing in it is berth's */
    if (r == -EINVAL || r == -ENXIO || r == -EFBIG) {
        struct rec_error e = *err;
        *err = (struct rec_error){0};
        return w ? blocked(out, false, spec_arena_strdup(out->arena, e.text),
                           "put a file in its place; `names: none` leaves hosts files alone", err)
                 : 0;
    }
    if (r)
        return r;
    if (strlen(text) != len) {
        rec_state_note(out, HOSTS, "it holds a NUL byte and is left alone");
        return as_wanted(w, out, err);
    }
    bool found = find_block(text, text, &start, &end) > 0;
    if (w && run->host &&
        check_earlier(run->host, out->arena, text, found ? start : text + len, out))
        return rec_fail(err, ENOMEM, "out of memory");
    /* More than one block is too many, and differs from what is wanted. */
    struct text t = {.a = out->arena};
    for (const char *at = text; (r = find_block(text, at, &start, &end)) > 0; at = end) {
        bool variant = begins_with(start, GLUED_MARK) || begins_with(start, MADE_MARK);
        const char *line = start + strcspn(start, "\n");
        char *block = spec_arena_strndup(out->arena, variant ? line : start,
                                         (size_t)(end - (variant ? line : start)));
        if (variant)
            put(&t, BEGIN_MARK);
        put(&t, block ? block : "");
        t.oom |= !block;
    }
    if (r)
        return blocked(out, true, UNCLOSED, UNCLOSED_HINT, err);
    if (!t.n && !t.oom)
        return 0;
    struct rec_item *it = item(out, HOSTS, 1u << F_TEXT);
    if (!it || t.oom)
        return rec_fail(err, ENOMEM, "out of memory");
    it->names.text = t.p;
    return 0;
}

static int read_text(struct spec_arena *a, const char *path, const char **out,
                     struct rec_error *err)
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

static bool is_ours(const char *target)
{
    return target && !strncmp(target, OWN_DIR "/", strlen(OWN_DIR) + 1);
}

static void note_foreign(struct rec_state *out, const char *name)
{
    rec_state_note(out, spec_arena_printf(out->arena, NETNS_DIR "/%s", name),
                   "it is not berth's and left alone; `ip netns exec %s` goes by it", name);
}

/* What stands at /etc/netns/NAME: 1: our link, to *target; 0: nothing; 2: somebody's files,
 * which are left to them. */
static int look(struct spec_arena *a, const char *name, char **target, struct rec_error *err)
{
    int r = rec_link_read(a, spec_arena_printf(a, NETNS_DIR "/%s", name), target, err);
    if (!r)
        return is_ours(*target) ? 1 : 2;
    return r == -ENOENT ? 0 : r == -EINVAL || r == -ELOOP ? 2 : r;
}

static int read_link(const struct rec_item *w, struct rec_item *it, struct rec_state *out,
                     struct rec_error *err)
{
    char *target = NULL;
    int r = look(out->arena, it->container, &target, err);
    if (r < 0)
        return r;
    if (r == 1)
        it->names.link = target;
    if (r < 2)
        return 0;
    if (w && w->names.link) {
        note_foreign(out, it->container);
        it->names.link = w->names.link;
    }
    it->names.note = "left alone";
    return 0;
}

static int read_own(const struct rec_state *wanted, struct rec_state *out, const char *name,
                    struct rec_error *err)
{
    struct spec_arena *a = out->arena;
    char *to = NULL;
    struct rec_item *it =
        item(out, spec_arena_printf(a, OWN_DIR "/%s", name), (1u << F_LINK) * 2 - 1);
    if (!it)
        return rec_fail(err, ENOMEM, "out of memory");
    it->container = name;
    int r =
        read_text(a, spec_arena_printf(a, "%s/ns/resolv.conf", it->key), &it->names.resolv, err);
    if (!r)
        r = read_text(a, spec_arena_printf(a, "%s/ns/hostname", it->key), &it->names.hostname, err);
    if (!r)
        r = read_link(rec_state_find(wanted, REC_NAMES, it->key), it, out, err);
    if (!r && !rec_link_read(a, spec_arena_printf(a, "%s/ns/hosts", it->key), &to, NULL))
        it->names.hosts = to;
    return r;
}

/* Links that a reboot has left without what they lead to, and names that others have taken. */
static int read_others(const struct rec_state *wanted, struct rec_state *out, char **known,
                       size_t n_known, struct rec_error *err)
{
    char **list;
    size_t n;
    int r = rec_dir_list(out->arena, NETNS_DIR, &list, &n, err);
    for (size_t i = 0, k = 0; !r && i < n; i++) {
        char *target = NULL;
        while (k < n_known && strcmp(known[k], list[i]) < 0)
            k++;
        if (k < n_known && !strcmp(known[k], list[i]))
            continue;
        const char *key = spec_arena_printf(out->arena, OWN_DIR "/%s", list[i]);
        int what = look(out->arena, list[i], &target, err);
        if (what == 2 && rec_state_find(wanted, REC_NAMES, key))
            note_foreign(out, list[i]);
        if (what != 1)
            continue;
        struct rec_item *it = item(out, key, (1u << F_LINK) * 2 - 1);
        if (!it)
            return rec_fail(err, ENOMEM, "out of memory");
        it->container = list[i];
        it->names.link = target;
    }
    return r == -ENOENT || r == -ELOOP ? 0 : r;
}

static int read_names(struct rec_run *run, const struct rec_state *wanted, struct rec_state *out,
                      struct rec_error *err)
{
    char **list;
    size_t n;
    (void)run;
    int r = read_host(run, wanted, out, err);
    if (r)
        return r;
    r = rec_dir_list(out->arena, HOSTS_DIR, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        struct rec_item *it =
            item(out, spec_arena_printf(out->arena, HOSTS_DIR "/%s", list[i]), 1u << F_TEXT);
        r = it ? read_text(out->arena, it->key, &it->names.text, err)
               : rec_fail(err, ENOMEM, "out of memory");
    }
    if (r && r != -ENOENT)
        return r;
    r = rec_dir_list(out->arena, OWN_DIR, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++)
        r = read_own(wanted, out, list[i], err);
    return r && r != -ENOENT ? r : read_others(wanted, out, list, n, err);
}

/* Which hosts file a container's link leads to changes with its bridge. */
static void compare(struct spec_arena *a, const struct rec_item *w, const struct rec_item *h,
                    rec_differs_fn differs, void *arg)
{
    (void)a;
    const char *x = h->names.hosts, *y = w->names.hosts;
    if (w->container && x != y && (!x || !y || strcmp(x, y)))
        differs(arg, F_LINK, x, y);
}

/* As the file was, so it stays: mode and owner; and where it is a mount (in many containers it
 * is), it cannot be replaced. */
static int put_hosts(const char *text, size_t len, struct rec_error *err)
{
    struct stat st;
    bool there = !lstat(HOSTS, &st);
    int r = rec_file_write(HOSTS, text, len, there ? st.st_mode & 07777 : 0644, err);
    if (r == -EBUSY)
        r = rec_file_rewrite(HOSTS, text, len, 0644, err);
    else if (!r && there && (st.st_uid || st.st_gid) && lchown(HOSTS, st.st_uid, st.st_gid))
        r = rec_fail(err, errno, "cannot give '%s' back to its owner: %s", HOSTS, strerror(errno));
    if (r == -EROFS)
        rec_hint(err, "`names: none` leaves the hosts files alone");
    return r;
}

/* Bytes outside the marks stay as they are; a file without a last line end gets one only with the
 * block, and loses it with it. A file that was made for the block goes with it, unless there is
 * something else in it by then. */
static int write_host(struct rec_run *run, const char *block, struct rec_error *err)
{
    char *text = "";
    const char *start, *end, *kept;
    size_t len = 0;
    bool placed = false, glued = false;
    struct text t = {.a = run->arena};
    int r = rec_file_read(run->arena, HOSTS, HOSTS_MOST, &text, &len, err);
    bool made = r == -ENOENT;
    if (r && !made)
        return r;
    if (strlen(text) != len)
        return rec_fail(err, EINVAL, "cannot change '%s': it holds a NUL byte", HOSTS);
    for (kept = text; (r = find_block(text, kept, &start, &end)) > 0; kept = end) {
        glued = begins_with(start, GLUED_MARK);
        made |= begins_with(start, MADE_MARK);
        /* the line end before goes only if nothing has come behind */
        bool last = glued && !*end && !block;
        put(&t,
            spec_arena_strndup(run->arena, kept, (size_t)(start - kept) - (last && start > kept)));
        if (block && !placed) {
            put(&t, glued ? GLUED_MARK : made ? MADE_MARK : BEGIN_MARK);
            put(&t, block + strcspn(block, "\n"));
            placed = true;
        }
    }
    if (r)
        return unclosed(err);
    put(&t, kept);
    if (block && !placed) {
        glued = len && text[len - 1] != '\n';
        put(&t, glued ? "\n" GLUED_MARK : made ? MADE_MARK : BEGIN_MARK);
        put(&t, block + strcspn(block, "\n"));
    }
    if (!block && made && !t.n && !t.oom && (r = rec_file_remove(HOSTS, err)) != -EBUSY)
        return r;
    return t.oom ? rec_fail(err, ENOMEM, "out of memory") : put_hosts(t.p ? t.p : "", t.n, err);
}

static int write_one(struct spec_arena *a, const char *dir, const char *name, const char *text,
                     struct rec_error *err)
{
    const char *path = spec_arena_printf(a, "%s/%s", dir, name);
    return text ? rec_file_rewrite(path, text, strlen(text), 0644, err)
                : rec_file_remove(path, err);
}

static int write_own(struct rec_run *run, const struct rec_item *h, const struct rec_item *w,
                     struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *dir = spec_arena_printf(a, "%s/ns", w->key),
               *link = spec_arena_printf(a, NETNS_DIR "/%s", w->container);
    int r = rec_dir_make(dir, 0755, err);
    if (!r)
        r = write_one(a, dir, "resolv.conf", w->names.resolv, err);
    if (!r)
        r = write_one(a, dir, "hostname", w->names.hostname, err);
    if (!r && w->names.hosts && !(h && h->names.hosts && !strcmp(h->names.hosts, w->names.hosts)))
        r = rec_link_write(spec_arena_printf(a, "%s/hosts", dir), w->names.hosts, err);
    else if (!r && !w->names.hosts && h && h->names.hosts)
        r = rec_file_remove(spec_arena_printf(a, "%s/hosts", dir), err);
    if (r || (h && h->names.note))
        return r;
    if (!w->names.link)
        return h && is_ours(h->names.link) ? rec_file_remove(link, err) : 0;
    if (h && h->names.link && !strcmp(h->names.link, w->names.link))
        return 0;
    char *target;
    r = look(a, w->container, &target, err);
    if (r < 0 || r == 2)
        return r < 0 ? r : 0;
    r = access(NETNS_DIR, F_OK) ? rec_dir_make(NETNS_DIR, NETNS_MODE, err) : 0;
    return r ? r : rec_link_write(link, w->names.link, err);
}

/* A directory that berth made, once nothing of anybody's is in it. */
static void leave_netns_dir(void)
{
    struct stat st;
    if (!lstat(NETNS_DIR, &st) && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == NETNS_MODE)
        rmdir(NETNS_DIR);
}

static int remove_own(struct rec_run *run, const struct rec_item *h, struct rec_error *err)
{
    int r = 0;
    if (is_ours(h->names.link) && !h->names.note)
        r = rec_file_remove(spec_arena_printf(run->arena, NETNS_DIR "/%s", h->container), err);
    leave_netns_dir();
    return r ? r : rec_tree_remove(h->key, err);
}

static int apply_one(struct rec_run *run, const struct rec_step *s, struct rec_error *err)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    if (i->container)
        return s->to ? write_own(run, s->from, s->to, err) : remove_own(run, s->from, err);
    if (!strcmp(i->key, HOSTS))
        return write_host(run, s->to ? s->to->names.text : NULL, err);
    if (!s->to)
        return rec_file_remove(i->key, err);
    int r = rec_dir_make(HOSTS_DIR, 0755, err);
    return r ? r : rec_file_share(i->key, i->names.text, strlen(i->names.text), err);
}

static int apply(struct rec_run *run, struct rec_step *const *steps, size_t n,
                 struct rec_report *report)
{
    return rec_each_step(run, steps, n, report, apply_one);
}

const struct rec_kind rec_kind_names = {
    .name = "names",
    .fields = fields,
    .n_fields = sizeof fields / sizeof *fields,
    .want = want,
    .read = read_names,
    .compare = compare,
    .conflict = conflict,
    .never = never,
    .shared = true,
    .apply = apply,
};
