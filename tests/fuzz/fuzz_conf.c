/* Any bytes are a container's conf: what is read out of it lies in it, on one line, and what berth
 * writes reads back. With libFuzzer, or replaying files. */
#include "reconcile/runtimes/nixos.h"
#include <stdint.h>
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"HOST_BRIDGE", "LOCAL_ADDRESS", "FLAKE", "A"};
    struct spec_arena *a = spec_arena_new();
    char *text = spec_arena_strndup(a, (const char *)data, strnlen((const char *)data, size));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *v = nixos_conf_get(a, text, names[i]);
        PROMISE(!v || (!strchr(v, '\n') && strstr(text, v) && strstr(text, names[i])));
    }
    PROMISE(!nixos_conf_ours(text) || !strncmp(text, NIXOS_MARK, strlen(NIXOS_MARK)));
    if (nixos_conf_plain(text) && *text) {
        struct nixos_conf c = {.bridge = text, .flake = text};
        const char *written = nixos_conf_text(a, &c);
        PROMISE(nixos_conf_ours(written));
        PROMISE(!strcmp(nixos_conf_get(a, written, "HOST_BRIDGE"), text) &&
                !strcmp(nixos_conf_get(a, written, "FLAKE"), text));
    }
    spec_arena_free(a);
    return 0;
}

#ifndef BERTH_LIBFUZZER
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "r");
        uint8_t *bytes = malloc(1 << 20);
        if (!f || !bytes)
            return 1;
        LLVMFuzzerTestOneInput(bytes, fread(bytes, 1, 1 << 20, f));
        fclose(f);
        free(bytes);
    }
    printf("%d inputs replayed\n", argc - 1);
    return argc < 2;
}
#endif
