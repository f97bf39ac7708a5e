/* Any bytes are a damaged frame, or one whose records lie in it. With libFuzzer, or replaying
 * files. */
#include "cmd/git/frame.h"
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
    struct git_frame f;
    const char *text = (const char *)data;
    char out[16];
    if (git_frame_parse(text, size, &f))
        return 0;
    PROMISE(f.n <= GIT_FRAME_RECORDS);
    for (size_t i = 0; i < f.n; i++) {
        const struct git_record *r = &f.list[i];
        PROMISE(*r->name && r->bytes >= text && r->len < (size_t)(text + size - r->bytes) &&
                r->bytes[r->len] == '\n');
        git_frame_text(&f, r->name, out, sizeof out);
        PROMISE(strlen(out) < sizeof out);
        for (const char *p = out; *p; p++)
            PROMISE((unsigned char)*p >= 0x20 && *p != 0x7f);
    }
    /* Whole or not at all. */
    PROMISE(size && git_frame_parse(text, size - 1, &f));
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
        size_t n = fread(bytes, 1, 1 << 20, f);
        /* Each beginning of it, too: an answer may be cut off anywhere. */
        for (size_t k = 0; k <= n && k < 4096; k++)
            LLVMFuzzerTestOneInput(bytes, k);
        LLVMFuzzerTestOneInput(bytes, n);
        fclose(f);
        free(bytes);
    }
    printf("%d inputs replayed\n", argc - 1);
    return argc < 2;
}
#endif
