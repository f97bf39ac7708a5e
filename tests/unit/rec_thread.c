/* A thread of berth's may run wherever its creator may, and begins also where there is no other
 * processor to begin on. */
#include "reconcile/thread.h"
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static cpu_set_t asked; /* of pthread_create, which is this one here (--wrap of ld) */

int __real_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg);

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *how, void *(*run)(void *),
                          void *arg)
{
    if (how)
        assert_int_equal(pthread_attr_getaffinity_np(how, sizeof asked, &asked), 0);
    return __real_pthread_create(out, how, run, arg);
}

static void *mask_of(void *arg)
{
    assert_int_equal(sched_getaffinity(0, sizeof(cpu_set_t), arg), 0);
    return arg;
}

static void check(void)
{
    cpu_set_t mine, its;
    pthread_t t;
    void *back;
    CPU_ZERO(&its);
    assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
    assert_int_equal(rec_thread(&t, mask_of, &its), 0);
    assert_int_equal(pthread_join(t, &back), 0);
    assert_ptr_equal(back, &its);
    assert_true(CPU_EQUAL(&mine, &its));
}

static void anywhere(void **state)
{
    (void)state;
    check();
}

static void on_one_processor(void **state)
{
    cpu_set_t before, one;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    check();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

/* All processors but one, its creator's, are those that it may begin on. */
static void beside(void **state)
{
    cpu_set_t all;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    if (CPU_COUNT(&all) < 2)
        skip();
    CPU_ZERO(&asked);
    check();
    assert_int_equal(CPU_COUNT(&asked), CPU_COUNT(&all) - 1);
    CPU_AND(&asked, &asked, &all);
    assert_int_equal(CPU_COUNT(&asked), CPU_COUNT(&all) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anywhere), cmocka_unit_test(on_one_processor), cmocka_unit_test(beside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
