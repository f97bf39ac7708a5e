/* Finding and reading the spec's bytes: files as they are, streams only where they are asked
 * for. */
#include "cmd/spec_file.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/berth-cmd-XXXXXX");
    return !mkdtemp(dir) || chdir(dir);
}

static int leave(void **state)
{
    (void)state;
    unlink("berth.yaml");
    unlink("fifo");
    unlink("big");
    return chdir("/") || rmdir(dir);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void the_usual_places(void **state)
{
    (void)state;
    assert_string_equal(cmd_spec_find("given", "env"), "given");
    assert_string_equal(cmd_spec_find(NULL, "env"), "env");
    put("berth.yaml", "version: 1\n");
    assert_string_equal(cmd_spec_find(NULL, ""), "berth.yaml");
}

static void a_file(void **state)
{
    (void)state;
    struct cmd_spec_file f;
    struct rec_error err;
    put("berth.yaml", "version: 1\n");
    assert_int_equal(cmd_spec_read("berth.yaml", 100, &f, &err), 0);
    assert_string_equal(f.text, "version: 1\n");
    assert_int_equal(f.len, 11);
    assert_string_equal(f.name, "berth.yaml");
    assert_int_equal(f.dir[0], '/');
    cmd_spec_file_done(&f);
    put("berth.yaml", "");
    assert_int_equal(cmd_spec_read("./berth.yaml", 100, &f, &err), 0);
    assert_int_equal(f.len, 0);
    cmd_spec_file_done(&f);
}

static void at_most_one_byte_too_many(void **state)
{
    (void)state;
    struct cmd_spec_file f;
    struct rec_error err;
    put("big", "");
    assert_int_equal(truncate("big", 1 << 20), 0);
    assert_int_equal(cmd_spec_read("big", 1000, &f, &err), 0);
    assert_int_equal(f.len, 1001);
    cmd_spec_file_done(&f);
    assert_int_equal(truncate("big", 1000), 0);
    assert_int_equal(cmd_spec_read("big", 1000, &f, &err), 0);
    assert_int_equal(f.len, 1000);
    cmd_spec_file_done(&f);
}

static void what_is_no_file(void **state)
{
    (void)state;
    struct cmd_spec_file f;
    struct rec_error err;
    assert_int_equal(cmd_spec_read("/tmp", 100, &f, &err), -EISDIR);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    /* and does not wait for a writer */
    assert_int_equal(cmd_spec_read("fifo", 100, &f, &err), -EINVAL);
    assert_non_null(strstr(err.text, "a pipe"));
    assert_int_equal(cmd_spec_read("/dev/zero", 100, &f, &err), -EINVAL);
    assert_int_equal(cmd_spec_read("nope", 100, &f, &err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_usual_places, enter, leave),
        cmocka_unit_test_setup_teardown(a_file, enter, leave),
        cmocka_unit_test_setup_teardown(at_most_one_byte_too_many, enter, leave),
        cmocka_unit_test_setup_teardown(what_is_no_file, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
