/* States and plans that nobody has thought of: two random specs, the plan between them, and a model
 * of a host that it is applied to.
 *   test_rec_random [SEED [PAIRS]]     a failure names its seed; with it alone, that pair is
 *                                      tried again */
#include "rec_offline.h"

static unsigned first_seed = 1, pairs = 4000;
static uint64_t dice;
static size_t steps;

static unsigned roll(unsigned sides)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(dice >> 33) % sides;
}

/* ---- random specs: every field that a plan can meet, few values of each, so that pairs differ
 * in some and share others ---- */

static const char *random_spec(struct spec_arena *a)
{
    char *text = spec_arena_alloc(a, 8192), *t = text;
    bool two = roll(2), six = roll(2);
    size_t containers = roll(7);
    t += sprintf(t, "version: 1\nhosts:\n  lab:\n    bridges:\n");
    for (unsigned b = 0; b <= two; b++) {
        static const char *const nat[] = {"", ", nat: {interface: eth0}",
                                          ", nat: {interface: auto}",
                                          ", nat: {interface: none, inbound: open}"};
        static const char *const mtu[] = {"", ", mtu: 1400", ", mtu: 9000"};
        t += sprintf(t, "      br%u: {address: [10.%u.0.1/24", b + (roll(8) ? 0 : 4), b);
        if (six)
            t += sprintf(t, ", \"fd00:%u::1/64\"", b);
        t += sprintf(t, "]%s%s}\n", nat[roll(4)], mtu[roll(3)]);
    }
    if (!roll(6))
        t += sprintf(t, "    names: none\n");
    if (containers)
        t += sprintf(t, "    containers:\n");
    for (unsigned c = 0, b; c < 8 && containers; c++) {
        static const char *const more[] = {"",
                                           "",
                                           ", isolated: true",
                                           ", state: stopped",
                                           ", gateway: none",
                                           ", protect: true",
                                           ", autostart: false"};
        if (!roll(3))
            continue;
        b = two ? roll(2) : 0;
        t += sprintf(t, "      c%u: {runtime: %s, address: [10.%u.0.%u", c,
                     roll(3) ? "netns" : "nspawn", b, 10 + c + 10 * roll(2));
        if (six && roll(2))
            t += sprintf(t, ", \"fd00:%u::%u\"", b, 10 + c);
        t += sprintf(t, "]%s", more[roll(7)]);
        if (!roll(3))
            t += sprintf(t, ", ports: [%u:80%s]", 8000 + c + 10 * roll(2), roll(2) ? "/udp" : "");
        if (!roll(4))
            t += sprintf(t, ", mac: \"02:00:00:00:%02x:%02x\"", roll(2), c);
        t += sprintf(t, "}\n");
        containers--;
    }
    return text;
}

/* ---- the model: items by kind and key, as a host would have them after each step ---- */

static int find(const struct rec_state *s, const struct rec_item *i)
{
    for (size_t k = 0; k < s->n; k++)
        if (s->items[k]->kind == i->kind && !strcmp(s->items[k]->key, i->key))
            return (int)k;
    return -1;
}

static void carry_out(struct rec_state *host, const struct rec_step *s)
{
    int at = find(host, s->from ? s->from : s->to);
    /* what goes or changes is there, what is made is not */
    assert_true((at >= 0) == (s->from != NULL));
    if (at >= 0)
        host->items[at] = host->items[--host->n];
    if (s->to)
        assert_int_equal(rec_state_push(host, (struct rec_item *)s->to), 0);
}

static const char *print(struct rec_run *run, const struct rec_plan *p)
{
    char *text = spec_arena_alloc(run->arena, 1 << 18), *t = text;
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        t += sprintf(t, "%s %s: %s %d %s\n", rec_action_sign(s->action), s->object, s->reason,
                     s->effect, s->blinks);
        for (size_t k = 0; k < s->n_differences; k++)
            t += sprintf(t, "  %s %s %s\n", s->differences[k].field,
                         s->differences[k].from ? s->differences[k].from : "-",
                         s->differences[k].to ? s->differences[k].to : "-");
    }
    return text;
}

static void shuffle(struct rec_state *s)
{
    for (size_t i = s->n; i > 1; i--) {
        size_t k = roll((unsigned)i);
        struct rec_item *x = s->items[k];
        s->items[k] = s->items[i - 1];
        s->items[i - 1] = x;
    }
}

/* ---- what must stand before what ---- */

static bool is(const struct rec_step *s, enum rec_action action, enum rec_kind_id kind)
{
    return s->action == action && s->kind == kind;
}
static bool same_container(const struct rec_step *x, const struct rec_step *y)
{
    const struct rec_item *a = x->to ? x->to : x->from, *b = y->to ? y->to : y->from;
    return a->container && b->container && !strcmp(a->container, b->container);
}
static bool claims(const struct rec_item *a, const struct rec_item *b)
{
    for (size_t i = 0; i < a->port.n_address; i++)
        for (size_t k = 0; k < b->port.n_address; k++)
            if (a->port.address[i].family == b->port.address[k].family &&
                !memcmp(a->port.address[i].bytes, b->port.address[k].bytes,
                        a->port.address[i].family == AF_INET6 ? 16 : 4))
                return true;
    return false;
}

/* `x` before `y`: is that the wrong way round? */
static const char *wrong(const struct rec_step *x, const struct rec_step *y)
{
    bool port = x->kind == REC_PORT && x->action != REC_REMOVE;
    if (port && is(y, REC_CREATE, REC_BRIDGE) && !strcmp(x->to->port.bridge, y->to->key))
        return "a port before its bridge";
    if (is(x, REC_CREATE, REC_ADDRESS) && is(y, REC_CREATE, REC_BRIDGE) &&
        !strcmp(x->to->address.link, y->to->key))
        return "an address before its bridge";
    if (is(x, REC_CREATE, REC_SYSCTL) && y->kind == REC_NAT && y->action != REC_REMOVE)
        return "forwarding before the filters";
    if (is(x, REC_REMOVE, REC_NAT) && is(y, REC_REMOVE, REC_SYSCTL))
        return "the filters go before forwarding";
    if (is(x, REC_REMOVE, REC_NAT) && y->kind == REC_PORT)
        return "the filters go while ports change";
    if (port && y->kind == REC_NAT && y->action != REC_REMOVE)
        return "a port before the filters";
    if (is(x, REC_CREATE, REC_RUN) &&
        (y->kind == REC_PORT || y->kind == REC_NETNS || y->kind == REC_UNIT ||
         y->kind == REC_NAMES) &&
        y->action != REC_REMOVE && same_container(x, y))
        return "a process before what it needs";
    if ((x->kind == REC_PORT || x->kind == REC_NETNS || x->kind == REC_UNIT) &&
        x->action == REC_REMOVE && is(y, REC_REMOVE, REC_RUN) && same_container(x, y))
        return "a process loses its network before it ends";
    if (is(x, REC_CREATE, REC_PORT) && is(y, REC_CREATE, REC_NETNS) && same_container(x, y))
        return "a port before its namespace";
    if (port && is(y, REC_REMOVE, REC_PORT) && claims(x->to, y->from))
        return "an address is taken before its owner gives it back";
    return NULL;
}

static void one_pair(unsigned seed)
{
    struct rec_run *run = offline();
    struct rec_state a, b, host;
    dice = seed * 2654435761u + 1;
    const char *have = random_spec(run->arena), *want = random_spec(run->arena);
    wanted(run, have, &a);
    assert_int_equal(planned(run, &a, &a)->n, 0);
    wanted(run, want, &b);
    assert_int_equal(planned(run, &b, &b)->n, 0);

    struct rec_plan *p = planned(run, &a, &b);
    assert_int_equal(p->n_conflicts, 0);
    steps += p->n;
    const char *text = print(run, p);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = i + 1; k < p->n; k++) {
            const char *why = wrong(p->steps[i], p->steps[k]);
            if (why)
                fail_msg("seed %u: %s\nhave:\n%s\nwant:\n%s\nplan:\n%s", seed, why, have, want,
                         text);
        }
    rec_state_init(&host, run->arena);
    for (size_t i = 0; i < a.n; i++)
        assert_int_equal(rec_state_push(&host, a.items[i]), 0);
    for (size_t i = 0; i < p->n; i++)
        carry_out(&host, p->steps[i]);
    assert_int_equal(host.n, b.n);
    for (size_t i = 0; i < b.n; i++)
        assert_true(find(&host, b.items[i]) >= 0);
    rec_state_sort(&host);
    struct rec_plan *rest = planned(run, &host, &b);
    if (rest->n)
        fail_msg("seed %u: a second plan\n%s\nafter:\n%s", seed, print(run, rest), text);

    for (int i = 0; i < 3; i++) {
        shuffle(&a);
        shuffle(&b);
        rec_state_sort(&a);
        rec_state_sort(&b);
        assert_string_equal(print(run, planned(run, &a, &b)), text);
    }
    rec_close(run);
}

static void test_pairs(void **state)
{
    (void)state;
    for (unsigned i = 0; i < pairs; i++)
        one_pair(first_seed + i);
    print_message("%u pairs, %zu steps\n", pairs, steps);
}

/* ---- states ---- */

static void test_state(void **state)
{
    (void)state;
    struct spec_arena *arena = spec_arena_new();
    struct rec_state s;
    char key[16];
    rec_state_init(&s, arena);
    rec_state_sort(&s);
    assert_null(rec_state_find(&s, REC_PORT, "c1"));
    dice = 7;
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "c%d", i * 7 % 500);
        struct rec_item *it =
            rec_state_add(&s, i % 2 ? REC_PORT : REC_BRIDGE, spec_arena_strdup(arena, key));
        assert_non_null(it);
        assert_true(it->ours);
        assert_int_equal(it->stated, 0);
    }
    shuffle(&s);
    rec_state_sort(&s);
    for (size_t i = 1; i < s.n; i++)
        assert_true(s.items[i - 1]->kind < s.items[i]->kind ||
                    (s.items[i - 1]->kind == s.items[i]->kind &&
                     strcmp(s.items[i - 1]->key, s.items[i]->key) < 0));
    for (size_t i = 0; i < s.n; i++)
        assert_ptr_equal(rec_state_find(&s, s.items[i]->kind, s.items[i]->key), s.items[i]);
    assert_null(rec_state_find(&s, REC_PORT, "c"));
    assert_null(rec_state_find(&s, REC_RUN, "c1"));
    assert_null(rec_state_find(&s, REC_PORT, "c500"));
    spec_arena_free(arena);
}

/* ---- MACs: of all the names that a host could hold, no two are one; they are what they were
 * yesterday ---- */

static int compare_macs(const void *a, const void *b)
{
    return memcmp(a, b, 6);
}
static void test_macs(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    uint8_t(*mac)[6] = calloc(MANY, 6);
    assert_non_null(mac);
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "c%d", i / 2);
        rec_derive_mac("lab", i % 2 ? "container" : "bridge", name, mac[i]);
        assert_int_equal(mac[i][0], 2);
    }
    qsort(mac, MANY, 6, compare_macs);
    for (int i = 1; i < MANY; i++)
        assert_memory_not_equal(mac[i - 1], mac[i], 6);
    free(mac);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_state), cmocka_unit_test(test_macs),
                                       cmocka_unit_test(test_pairs)};
    if (argc > 1) {
        first_seed = (unsigned)atoi(argv[1]);
        pairs = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
