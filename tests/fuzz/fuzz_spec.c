/* Any bytes are a spec with faults at sane places, or a document whose promises hold. With
 * libFuzzer, or replaying files. */
#include "spec/spec.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMISE(x)                                                                                 \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "broken promise: %s\n", #x);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void hold(const struct spec_doc *d)
{
    for (size_t i = 0; i < d->n_hosts; i++) {
        const struct spec_host *h = &d->hosts[i];
        PROMISE(h->n_bridges);
        for (size_t k = 0; k < h->n_containers; k++) {
            const struct spec_container *c = &h->containers[k];
            PROMISE(c->bridge < h->n_bridges);
            PROMISE(c->address[0].addr.family || c->address[1].addr.family);
            PROMISE(!k || strcmp(h->containers[k - 1].name, c->name) < 0);
            for (int f = 0; f < 2; f++) {
                const struct spec_bridge *b = &h->bridges[c->bridge];
                bool held = false;
                for (size_t n = 0; n < b->n_addresses && c->address[f].addr.family; n++) {
                    held |= c->address[f].addr.prefix == b->addresses[n].addr.prefix &&
                            spec_addr_in(&c->address[f].addr, &b->addresses[n].addr);
                    PROMISE(!spec_addr_equal(&c->address[f].addr, &b->addresses[n].addr));
                }
                PROMISE(!c->address[f].addr.family || (held && c->address[f].addr.has_prefix));
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_limits limits = {1 << 20};
    struct spec_diags d;
    struct spec_doc *doc;
    uint32_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    int r = spec_load(a, (const char *)data, size, &limits, &doc, &d);
    PROMISE(r == 0 || r == -22);
    PROMISE((r == 0) == (d.errors == 0));
    for (size_t i = 0; i < d.n; i++)
        PROMISE(d.list[i].at.line >= 1 && d.list[i].at.line <= lines + 1 && d.list[i].at.col >= 1 &&
                *d.list[i].text);
    const char *text = spec_diags_format(a, &d, "f", (const char *)data, size, false);
    for (const char *p = text; *p; p++)
        PROMISE((unsigned char)*p >= 0x20 || *p == '\n');
    if (!r)
        hold(doc);
    spec_arena_free(a);
    return 0;
}

#ifndef BERTH_LIBFUZZER
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "r");
        uint8_t *bytes = malloc(8 << 20);
        if (!f || !bytes)
            return 1;
        LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, 8 << 20, f));
        fclose(f);
        free(bytes);
    }
    printf("%d inputs replayed\n", argc - 1);
    return argc < 2;
}
#endif
