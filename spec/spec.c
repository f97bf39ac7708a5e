/* Loading: bytes, tree, document, rules. Each stage runs only on what the one before could read, and tells all its faults. */
#include "spec/internal.h"
#include <errno.h>
#include <string.h>

int spec_load(struct spec_arena *a, const char *text, size_t len, const struct spec_limits *limits, struct spec_doc **out,
              struct spec_diags *diags)
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
        struct spec_node *root = spec_read(&c);
        if (root && !c.oom)
            doc = spec_build(&c, root);
        if (doc && !c.oom)
            spec_check(&c, doc);
    }
    spec_diags_sort(diags);
    if (c.oom)
        return -ENOMEM;
    if (diags->errors || !doc)
        return -EINVAL;
    *out = doc;
    return 0;
}

const struct spec_host *spec_host_find(const struct spec_doc *doc, const char *wanted, const char *hostname)
{
    size_t whole = strlen(hostname ? hostname : ""), label = strcspn(hostname ? hostname : "", ".");
    const struct spec_host *found = NULL;
    for (size_t i = 0; i < doc->n_hosts && !found; i++) {
        const char *name = doc->hosts[i].name;
        if (wanted ? !strcmp(name, wanted)
                   : strlen(name) == whole ? whole && !strcasecmp(name, hostname)
                                           : strlen(name) == label && label && !strncasecmp(name, hostname, label))
            found = &doc->hosts[i];
    }
    if (!found && !wanted && doc->n_hosts == 1 && !strcmp(doc->hosts[0].name, "localhost"))
        found = &doc->hosts[0];
    return found;
}
