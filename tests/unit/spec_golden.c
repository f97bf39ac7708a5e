/* Every bad spec of golden/bad is refused in the words of its .err, at the same places with CRLF
 * and with a byte order mark too; every one of golden/good is taken in all three forms.
 * BERTH_GOLDEN=write renews the .err files, for a review to read. */
#include "spec/policy.h"
#include "spec/spec.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* MUST() is not there in a release build. */
#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            perror(#x);                                                                            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct text {
    char *p;
    size_t n;
};

static struct text slurp(const char *path)
{
    struct text t = {malloc(8 << 20), 0};
    FILE *f = fopen(path, "r");
    if (f) {
        t.n = fread(t.p, 1, 8 << 20, f);
        fclose(f);
    }
    return t;
}

static struct text variant(struct text in, int how)
{
    struct text t = {malloc(2 * in.n + 3), 0};
    if (how == 2) {
        memcpy(t.p, "\xef\xbb\xbf", 3);
        t.n = 3;
    }
    for (size_t i = 0; i < in.n; i++) {
        if (how == 1 && in.p[i] == '\n' && (!i || in.p[i - 1] != '\r'))
            t.p[t.n++] = '\r';
        t.p[t.n++] = in.p[i];
    }
    return t;
}

/* Places and codes alone: what must not move with line ends or a mark. */
static char *places(const struct spec_diags *d)
{
    char *out = malloc(64 * (d->n + 1)), *p = out;
    *p = 0;
    for (size_t i = 0; i < d->n; i++)
        p += sprintf(p, "%u:%u E%03u\n", d->list[i].at.line, d->list[i].at.col, d->list[i].code);
    return out;
}

static char *load(struct text t, int *result, char **where, size_t lines)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_limits limits = {SPEC_BYTES};
    struct spec_diags d;
    struct spec_doc *doc;
    *result = spec_load(a, t.p, t.n, &limits, &doc, &d);
    for (size_t i = 0; i < d.n; i++)
        if (!d.list[i].at.line || d.list[i].at.line > lines + 1 || !d.list[i].at.col)
            *result = -999;
    char *text = strdup(spec_diags_format(a, &d, "spec.yaml", t.p, t.n, false));
    *where = places(&d);
    spec_arena_free(a);
    return text;
}

static int one(const char *dir, const char *file, bool good, bool renew)
{
    char path[1024], golden[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    snprintf(golden, sizeof golden, "%s/%.*s.err", dir, (int)strlen(file) - 5, file);
    struct text in = slurp(path);
    size_t lines = 1;
    for (size_t i = 0; i < in.n; i++)
        lines += in.p[i] == '\n';
    int failed = 0, r;
    char *base = NULL;
    /* UTF-16, or has its mark */
    bool own_bytes = in.n >= 2 && ((uint8_t)in.p[0] == 0xff || !memcmp(in.p, "\xef\xbb", 2));
    for (int how = 0; how < (own_bytes ? 1 : 3); how++) {
        struct text t = variant(in, how);
        char *where, *text = load(t, &r, &where, lines);
        if (how == 0) {
            base = strdup(where);
            if (!good && renew) {
                FILE *f = fopen(golden, "w");
                MUST(f);
                fputs(text, f);
                fclose(f);
            }
            struct text want = slurp(golden);
            if (good ? r != 0
                     : r != -22 || want.n != strlen(text) || memcmp(want.p, text, want.n)) {
                printf("%s: result %d\n%s", file, r, text);
                failed = 1;
            }
            free(want.p);
        } else if (good ? r != 0 : strcmp(where, base) != 0) {
            printf("%s with %s: result %d\n%s", file, how == 1 ? "CRLF" : "a mark", r, text);
            failed = 1;
        }
        free(text);
        free(where);
        free(t.p);
    }
    free(base);
    free(in.p);
    return failed;
}

static int too_large(void)
{
    struct text t = {malloc(SPEC_BYTES + 1), SPEC_BYTES + 1};
    memset(t.p, '#', t.n);
    int r;
    char *where, *text = load(t, &r, &where, 1);
    int failed =
        r != -22 ||
        !strstr(text, "1:1: error[E016]: the spec is larger than 4 MiB; `--huge` allows 64");
    if (failed)
        printf("4 MiB and a byte: %d %s", r, text);
    free(text);
    free(where);
    free(t.p);
    return failed;
}

/* Of golden/policy: a policy that is refused has its words in an .err, any other one is taken. */
static int one_policy(const char *dir, const char *file, bool renew)
{
    char path[1024], golden[1024];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    snprintf(golden, sizeof golden, "%s/%.*s.err", dir, (int)strlen(file) - 5, file);
    struct text in = slurp(path), want = slurp(golden);
    struct spec_arena *a = spec_arena_new();
    struct spec_policy *p;
    struct spec_diags d;
    int r = spec_policy_load(a, in.p, in.n, &p, &d);
    const char *text = spec_diags_format(a, &d, "policy.yaml", in.p, in.n, false);
    if (renew && r) {
        FILE *f = fopen(golden, "w");
        MUST(f);
        fputs(text, f);
        fclose(f);
    }
    bool same = want.n == strlen(text) && !memcmp(want.p, text, want.n);
    int failed = renew ? 0 : r != (want.n ? -22 : 0) || !same;
    if (failed)
        printf("policy %s: result %d\n%s", file, r, text);
    spec_arena_free(a);
    free(in.p);
    free(want.p);
    return failed;
}

static int policies(const char *golden, bool renew)
{
    char dir[400];
    int failed = 0;
    snprintf(dir, sizeof dir, "%s/policy", golden);
    DIR *d = opendir(dir);
    MUST(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t k = strlen(e->d_name);
        if (k > 5 && !strcmp(e->d_name + k - 5, ".yaml"))
            failed += one_policy(dir, e->d_name, renew);
    }
    closedir(d);
    return failed;
}

int main(int argc, char **argv)
{
    const char *mode = getenv("BERTH_GOLDEN");
    int failed = too_large(), n = 1;
    MUST(argc == 2);
    failed += policies(argv[1], mode && !strcmp(mode, "write"));
    for (int good = 0; good < 2; good++) {
        char dir[400];
        snprintf(dir, sizeof dir, "%s/%s", argv[1], good ? "good" : "bad");
        DIR *d = opendir(dir);
        MUST(d);
        for (struct dirent *e; (e = readdir(d));) {
            size_t k = strlen(e->d_name);
            if (k > 5 && !strcmp(e->d_name + k - 5, ".yaml")) {
                failed += one(dir, e->d_name, good, mode && !strcmp(mode, "write"));
                n++;
            }
        }
        closedir(d);
    }
    printf("%d specs, %d not as they should be\n", n, failed);
    return failed != 0;
}
