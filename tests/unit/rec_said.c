/* Why a container did not start: the cause first, other lines below, nothing of systemd's own
 * noise. */
#include "reconcile/runtimes/said.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void check(int code, const char *said, const char *want)
{
    struct spec_arena *a = spec_arena_new();
    struct rec_error err = {0};
    rec_said_failure(a, &err, code, "web", said, "it ended at once");
    assert_string_equal(err.text, want);
    assert_int_equal(err.code, code);
    spec_arena_free(a);
}

static void the_failed_call_is_the_cause(void **state)
{
    (void)state;
    check(EIO, "execv(/usr/bin/ngnix) failed: No such file or directory\n",
          "cannot start container 'web': execv(/usr/bin/ngnix) failed: No such file or directory");
    check(EIO, "one\r\nexecv(/x) failed: Permission denied\n\ntwo\n",
          "cannot start container 'web': execv(/x) failed: Permission denied\none\ntwo");
    check(EIO,
          "Failed to add a rule, ignoring: No\nFailed to mount /a: No such file or "
          "directory\nFailed to read from child\n",
          "cannot start container 'web': Failed to mount /a: No such file or directory\nFailed to "
          "add a rule, ignoring: No\nFailed to read from child");
}

static void the_last_line_else(void **state)
{
    (void)state;
    check(EIO, "first\nsecond\n", "cannot start container 'web': second\nfirst");
    check(EIO, "", "cannot start container 'web': it ended at once");
    check(EIO, "\n \n", "cannot start container 'web': it ended at once");
    check(ETIMEDOUT, "first\nsecond\n",
          "cannot start container 'web': it ended at once\nfirst\nsecond");
}

static void systemd_says_no_cause(void **state)
{
    (void)state;
    check(EIO,
          "Starting Container web (berth)...\nthe cause\nberth@web.service: Main process exited, "
          "code=exited, status=1/FAILURE\n"
          "berth@web.service: Failed with result 'exit-code'.\nFailed to start Container web "
          "(berth).\n",
          "cannot start container 'web': the cause");
    check(EIO, "berth@web.service: Failed with result 'exit-code'.\n",
          "cannot start container 'web': it ended at once\nberth@web.service: Failed with result "
          "'exit-code'.");
}

static void only_so_much(void **state)
{
    (void)state;
    char said[8192] = "", line[400];
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    line[sizeof line - 1] = 0;
    for (int i = 0; i < 20; i++)
        strcat(said, line);
    struct spec_arena *a = spec_arena_new();
    struct rec_error err = {0};
    rec_said_failure(a, &err, EIO, "web", said, "");
    size_t lines = 0;
    for (const char *p = err.text; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 6);
    spec_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_failed_call_is_the_cause),
        cmocka_unit_test(the_last_line_else),
        cmocka_unit_test(systemd_says_no_cause),
        cmocka_unit_test(only_so_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
