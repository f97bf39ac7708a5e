/* Loading: bytes, tree, document, rules. Each stage runs only on what the one before could read,
 * and tells all its faults. */
#include "spec/internal.h"
#include <errno.h>
#include <string.h>

static bool plain(const char *key)
{
    for (const char *p = key; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              *p == '_' || *p == '-'))
            return false;
    return *key != 0;
}

/* The last of `n` nodes that begins at or before `byte`: they stand in the file's order. n: none
 * does. */
static size_t last_before(struct spec_node *const *nodes, size_t n, uint32_t byte)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (nodes[mid]->at.byte <= byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? lo - 1 : n;
}

/* "hosts.homelab.containers.web.ports[0]": the way to what stands at `byte`. */
static const char *path_to(struct spec_arena *a, const struct spec_node *node, uint32_t byte)
{
    const char *path = "";
    while (path && node && node->type != SPEC_SCALAR) {
        bool map = node->type == SPEC_MAP;
        size_t i = last_before(map ? node->keys : node->values, node->n, byte);
        if (i == node->n || (map && !node->keys[i]->text)) /* a key that is a map itself */
            break;
        const char *dot = *path ? "." : "";
        if (!map)
            path = spec_arena_printf(a, "%s[%zu]", path, i);
        else if (plain(node->keys[i]->text))
            path = spec_arena_printf(a, "%s%s%s", path, dot, node->keys[i]->text);
        else
            path = spec_arena_printf(a, "%s[\"%s\"]", path, node->keys[i]->text);
        node = node->values[i] && node->values[i]->at.byte <= byte ? node->values[i] : NULL;
    }
    return path ? path : "";
}

/* One reading. *root: the tree, for the ways to its places. */
static struct spec_doc *load_once(struct spec_ctx *c, struct spec_node **root)
{
    struct spec_doc *doc = NULL;
    *root = spec_read(c);
    if (!*root || c->oom)
        return NULL;
    if (c->repairs && (spec_lookalikes(c, *root) || !spec_repair(c, *root)))
        return NULL;
    doc = spec_build(c, *root);
    if (doc && !c->oom)
        spec_check(c, doc);
    return doc;
}

/* A spec with faults is read once more. The second reading looks for the cause of what the first
 * one found: a mistake of indentation makes five faults in the first and one in the second. A spec
 * without faults never pays for that. */
static void load_again(struct spec_ctx *first)
{
    struct spec_diags diags = {0};
    struct spec_ctx c = *first;
    struct spec_node *root;
    c.diags = &diags;
    c.room = 0;
    c.told = (struct spec_seen){0};
    c.repairs = true;
    load_once(&c, &root);
    spec_diags_sort(&diags);
    spec_lookalike_hints(&c);
    first->oom = c.oom;
    if (diags.errors)
        *first->diags = diags;
}

int spec_load(struct spec_arena *a, const char *text, size_t len, const struct spec_limits *limits,
              struct spec_doc **out, struct spec_diags *diags)
{
    struct spec_ctx c = {.arena = a, .text = text, .len = len, .diags = diags};
    struct spec_doc *doc = NULL;
    memset(diags, 0, sizeof *diags);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        c.skipped = 3;
        c.text += 3;
        c.len -= 3;
    }
    if (spec_prescan(&c, limits)) {
        struct spec_node *root;
        doc = load_once(&c, &root);
        if (root && diags->errors && !c.oom)
            load_again(&c);
        for (size_t i = 0; root && i < diags->n; i++)
            diags->list[i].path = path_to(a, root, diags->list[i].at.byte);
    }
    spec_diags_sort(diags);
    if (c.oom)
        return -ENOMEM;
    if (diags->errors || !doc)
        return -EINVAL;
    *out = doc;
    return 0;
}

const struct spec_host *spec_host_find(const struct spec_doc *doc, const char *wanted,
                                       const char *hostname)
{
    size_t whole = strlen(hostname ? hostname : ""), label = strcspn(hostname ? hostname : "", ".");
    const struct spec_host *found = NULL;
    for (size_t i = 0; i < doc->n_hosts && !found; i++) {
        const char *name = doc->hosts[i].name;
        if (wanted ? !strcmp(name, wanted)
            : strlen(name) == whole
                ? whole && !strcasecmp(name, hostname)
                : strlen(name) == label && label && !strncasecmp(name, hostname, label))
            found = &doc->hosts[i];
    }
    if (!found && !wanted && doc->n_hosts == 1 && !strcmp(doc->hosts[0].name, "localhost"))
        found = &doc->hosts[0];
    return found;
}
