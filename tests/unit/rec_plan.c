/* golden/plan/CASE: have.yaml and want.yaml are two states as if applied; plan.txt is the way from
 * one to the other, undo.txt the way back. Offline, without a kernel: the same planner that
 * apply uses. BERTH_GOLDEN=write renews. Beside it, what must hold of any plan. */
#include "reconcile/guard.h"
#include "reconcile/kinds.h"
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

static int failed;
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #x);                                         \
            failed++;                                                                              \
        }                                                                                          \
    } while (0)

static struct rec_run *offline(void)
{
    struct rec_options o = {
        .spec_name = "want.yaml", .spec_dir = "/spec", .allow_deletes = -1, .offline = true};
    struct rec_run *run;
    struct rec_error e;
    int r = rec_open(&run, &o, &e);
    MUST(!r);
    static const struct spec_addr ns = {.family = 4, .bytes = {192, 0, 2, 53}};
    run->facts = (struct rec_facts){.known_host = true,
                                    .known = true,
                                    .root = true,
                                    .nspawn = "/usr/bin/systemd-nspawn",
                                    .contain = "berth-contain",
                                    .network = "berth-network",
                                    .hostname = "lab",
                                    .machine_id = "0",
                                    .uplink4 = "eth0",
                                    .uplink6 = "eth0",
                                    .nameservers = &ns,
                                    .n_nameservers = 1,
                                    .ipv6 = true};
    return run;
}

static char *slurp(struct spec_arena *a, const char *path, size_t *n)
{
    char *p = spec_arena_alloc(a, 1 << 20);
    FILE *f = fopen(path, "r");
    *n = f ? fread(p, 1, (1 << 20) - 1, f) : 0;
    if (f)
        fclose(f);
    return p;
}

static void state_of(struct rec_run *run, const char *dir, const char *file, struct rec_state *out)
{
    char path[1024];
    size_t n;
    struct spec_limits l = {SPEC_BYTES};
    struct spec_diags d;
    struct spec_doc *doc;
    struct rec_error e = {0};
    snprintf(path, sizeof path, "%s/%s", dir, file);
    char *text = slurp(run->arena, path, &n);
    if (spec_load(run->arena, text, n, &l, &doc, &d)) {
        printf("%s: %s\n", path, spec_diags_format(run->arena, &d, file, text, n, false));
        exit(1);
    }
    int r = rec_want(run, &doc->hosts[0], out, &e);
    if (r) {
        printf("%s: %s\n", path, e.text);
        exit(1);
    }
}

static char *print(struct rec_run *run, const struct rec_plan *p)
{
    char *out = spec_arena_alloc(run->arena, 1 << 20), *t = out;
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        t += sprintf(t, "%s %s: %s%s%s%s%s\n", rec_action_sign(s->action), s->object, s->reason,
                     s->effect ? "; " : "", s->effect ? rec_effect_name(s->effect) : "",
                     *s->blinks ? "; interrupts " : "", s->blinks);
        for (size_t k = 0; k < s->n_differences; k++)
            t += sprintf(t, "    %s: %s -> %s\n", s->differences[k].field,
                         s->differences[k].from ? s->differences[k].from : "nothing",
                         s->differences[k].to ? s->differences[k].to : "nothing");
    }
    struct rec_error e;
    bool refused = rec_guard(run, p, &e) != 0;
    sprintf(t, "%zu to create, %zu to change, %zu to remove, %zu deletions%s%s\n", p->creates,
            p->changes, p->removes, p->deletes, refused ? "; refused: " : "",
            refused ? e.text : "");
    return out;
}

/* Filters before forwarding, namespaces after the bridge, processes after their port, removal
 * the other way round. */
static void order_is_safe(const struct rec_plan *p)
{
    int last = -1;
    for (size_t i = 0; i < p->n; i++) {
        CHECK(rec_step_rank(p->steps[i]) >= last);
        last = rec_step_rank(p->steps[i]);
    }
    struct rec_item i = {0};
    struct rec_step a = {.action = REC_CREATE, .to = &i}, b = a;
#define BEFORE(x, y) (a.kind = x, b.kind = y, rec_step_rank(&a) < rec_step_rank(&b))
    CHECK(BEFORE(REC_NAT, REC_SYSCTL));
    CHECK(BEFORE(REC_BRIDGE, REC_PORT));
    CHECK(BEFORE(REC_NAMES, REC_RUN));
    CHECK(BEFORE(REC_PORT, REC_RUN));
    a.action = b.action = REC_REMOVE;
    CHECK(BEFORE(REC_RUN, REC_PORT));
    CHECK(BEFORE(REC_SYSCTL, REC_NAT));
    CHECK(BEFORE(REC_PORT, REC_NAT));
}

static void golden(const char *dir, const char *name, const char *text)
{
    char path[1024];
    const char *mode = getenv("BERTH_GOLDEN");
    size_t n;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (mode && !strcmp(mode, "write")) {
        FILE *f = fopen(path, "w");
        MUST(f);
        fputs(text, f);
        fclose(f);
    }
    struct spec_arena *a = spec_arena_new();
    char *want = slurp(a, path, &n);
    if (strcmp(want, text)) {
        printf("%s differs; now:\n%s", path, text);
        failed++;
    }
    spec_arena_free(a);
}

static struct rec_plan *plan(struct rec_run *run, const struct rec_state *from,
                             const struct rec_state *to)
{
    struct rec_plan *p = NULL;
    struct rec_error e;
    int r = rec_plan(run, from, to, NULL, NULL, &p, &e);
    MUST(!r);
    return p;
}

static void one(const char *dir)
{
    struct rec_run *run = offline();
    struct rec_state have, want;
    state_of(run, dir, "have.yaml", &have);
    const struct spec_host *before = run->host;
    state_of(run, dir, "want.yaml", &want);
    struct rec_plan *there = plan(run, &have, &want);
    golden(dir, "plan.txt", print(run, there));
    order_is_safe(there);
    CHECK(plan(run, &want, &want)->n == 0);
    CHECK(plan(run, &have, &have)->n == 0);
    /* The same states in another order of items: the same plan. */
    char *text = print(run, there);
    for (size_t i = 0; i + 1 < have.n; i += 2) {
        struct rec_item *x = have.items[i];
        have.items[i] = have.items[i + 1];
        have.items[i + 1] = x;
    }
    rec_state_sort(&have);
    CHECK(!strcmp(print(run, plan(run, &have, &want)), text));
    run->host = before;
    golden(dir, "undo.txt", print(run, plan(run, &want, &have)));
    rec_close(run);
}

static void macs_are_steady_and_differ(void)
{
    uint8_t a[6], b[6];
    rec_derive_mac("h", "container", "web", a);
    rec_derive_mac("h", "container", "web", b);
    CHECK(!memcmp(a, b, 6));
    /* of every host that has applied such a spec */
    static const uint8_t known[6] = {0x02, 0x37, 0x0d, 0x1a, 0x65, 0xe2};
    rec_derive_mac("localhost", "container", "web", b);
    CHECK(!memcmp(known, b, 6));
    CHECK(memcmp(a, b, 6) && a[0] == 2);
    rec_derive_mac("hc", "ontainer", "web", b);
    CHECK(memcmp(a, b, 6));
}

int main(int argc, char **argv)
{
    MUST(argc == 2);
    DIR *d = opendir(argv[1]);
    MUST(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (*e->d_name != '.') {
            char dir[400];
            snprintf(dir, sizeof dir, "%s/%s", argv[1], e->d_name);
            one(dir);
            n++;
        }
    closedir(d);
    macs_are_steady_and_differ();
    printf("%d plans, %d faults\n", n, failed);
    return failed || !n;
}
