/* What is read again after an apply: never less than what its steps can have changed. */
#include "reconcile/again.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct world {
    struct spec_arena *a;
    struct rec_state before;
    struct rec_plan plan;
    struct rec_step *steps[64];
};

static struct world *begin(size_t containers)
{
    static struct world w;
    memset(&w, 0, sizeof w);
    w.a = spec_arena_new();
    assert_non_null(w.a);
    rec_state_init(&w.before, w.a);
    for (size_t i = 0; i < containers; i++) {
        const char *name = spec_arena_printf(w.a, "c%02zu", i);
        for (int port = 0; port < 2; port++)
            rec_state_add(&w.before, port ? REC_PORT : REC_NETNS, name)->container = name;
    }
    w.plan.steps = w.steps;
    return &w;
}

static void step(struct world *w, enum rec_kind_id kind, const char *container,
                 enum rec_action action)
{
    struct rec_item *it = spec_arena_alloc(w->a, sizeof *it);
    struct rec_step *s = spec_arena_alloc(w->a, sizeof *s);
    *it =
        (struct rec_item){.kind = kind, .key = container ? container : "x", .container = container};
    *s = (struct rec_step){.kind = kind, .action = action};
    if (kind == REC_PORT && container)
        it->port.link = spec_arena_printf(w->a, "vb-%s", container);
    *(action == REC_REMOVE ? &s->from : &s->to) = it;
    w->plan.steps[w->plan.n++] = s;
}

static const struct rec_again *after(struct world *w)
{
    return rec_again_after(&w->plan, &w->before);
}

static void test_one(void **state)
{
    (void)state;
    struct world *w = begin(10);
    step(w, REC_NETNS, "c07", REC_CREATE);
    step(w, REC_PORT, "c07", REC_CREATE);
    step(w, REC_PORT, "c03", REC_REMOVE);
    step(w, REC_NAT, NULL, REC_CHANGE);
    const struct rec_again *a = after(w);
    assert_non_null(a);
    assert_int_equal(a->n, 2);
    assert_true(rec_again_touched(a, "c07") && rec_again_touched(a, "c03"));
    assert_false(rec_again_touched(a, "c00") || rec_again_touched(a, "c09") ||
                 rec_again_touched(a, "c"));
    assert_false(a->addresses);
    assert_ptr_equal(a->before, &w->before);
    for (int i = 0; i < 2; i++) {
        step(w, i ? REC_ADDRESS : REC_SYSCTL, NULL, REC_CREATE);
        assert_true(after(w)->addresses);
        w->plan.n--;
    }
    spec_arena_free(w->a);
}

static void test_all(void **state)
{
    static const enum rec_kind_id far[] = {REC_SYSTEM, REC_BRIDGE, REC_UNIT, REC_RUN};
    (void)state;
    assert_true(rec_again_touched(NULL, "anybody"));
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        struct world *w = begin(10);
        step(w, REC_PORT, "c01", REC_CHANGE);
        assert_non_null(after(w));
        step(w, far[i], "c01", REC_CHANGE);
        assert_null(after(w));
        spec_arena_free(w->a);
    }
    struct world *w = begin(10);
    for (size_t i = 0; i < 5; i++)
        step(w, REC_NETNS, spec_arena_printf(w->a, "c%02zu", i), REC_CREATE);
    assert_null(after(w)); /* half of them: one pass over all is as good */
    spec_arena_free(w->a);
    w = begin(200);
    for (size_t i = 0; i < 33; i++)
        step(w, REC_NETNS, spec_arena_printf(w->a, "c%02zu", i), REC_CREATE);
    assert_null(after(w)); /* too many to ask for links one by one */
    spec_arena_free(w->a);
    w = begin(10);
    step(w, REC_PORT, NULL, REC_CHANGE);
    assert_null(after(w)); /* whose it is is not known */
    spec_arena_free(w->a);
    w = begin(10);
    step(w, REC_PORT, "c01", REC_REMOVE);
    assert_non_null(after(w));
    ((struct rec_item *)w->steps[0]->from)->port.link = "foo0";
    /* a link that is asked for under its container's name would not be found */
    assert_null(after(w));
    spec_arena_free(w->a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one), cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
