/* Nothing that is not ours reaches a terminal as a command, and no stream can end a run. */
#include "cmd/output.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void hostile_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *in, *utf8, *ascii;
    } rows[] = {
        {"br-0", "br-0", "br-0"},
        {"\033[2J", "\\x1b[2J", "\\x1b[2J"},
        {"a\nb\tc\r", "a\\nb\\tc\\r", "a\\nb\\tc\\r"},
        {"\x7f", "\\x7f", "\\x7f"},
        /* C1: CSI in one character */
        {"\xc2\x9b"
         "31m",
         "\\x9b31m", "\\x9b31m"},
        {"\xe2\x80\xae"
         "fdp",
         "\\u202efdp", "\\u202efdp"}, /* turns the text round */
        {"\xe2\x80\xa8", "\\u2028", "\\u2028"},
        {"\xe2\x80\x8b", "\\u200b", "\\u200b"},
        {"\xef\xbb\xbf", "\\ufeff", "\\ufeff"},
        {"\xf3\xa0\x80\xa1", "\\U0e0021", "\\U0e0021"}, /* tags */
        {"na\xc3\xafve", "na\xc3\xafve", "na\\xefve"},
        {"\xff\xfe", "\\xff\\xfe", "\\xff\\xfe"},
        {"\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf"},               /* overlong */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80"}, /* surrogate */
        {"\xe2\x80", "\\xe2\\x80", "\\xe2\\x80"},               /* cut off */
        {"", "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int utf8 = 0; utf8 < 2; utf8++) {
            struct cmd_out o = {.fd = -1, .utf8 = utf8};
            const char *want = utf8 ? rows[i].utf8 : rows[i].ascii;
            size_t n = cmd_safe(&o, rows[i].in);
            assert_string_equal(o.text ? o.text : "", want);
            assert_int_equal(n, cmd_safe_width(&o, rows[i].in));
            cmd_out_done(&o);
        }
}

static void every_byte(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    for (int c = 1; c < 256; c++) {
        char one[2] = {(char)c, 0};
        cmd_safe(&o, one);
    }
    for (size_t i = 0; i < o.n; i++)
        assert_true(o.text[i] >= 0x20 && o.text[i] < 0x7f);
    cmd_out_done(&o);
}

static void lines_cannot_be_forged(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    cmd_safe_lines(&o, "it died\nw.yaml:1:1: error: forged\n\033[1mbold", 4);
    assert_string_equal(o.text, "it died\n    | w.yaml:1:1: error: forged\n    | \\x1b[1mbold");
    cmd_out_done(&o);
}

static void wrapping(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    cmd_wrap(&o, "one two three four", 2, 4, 12);
    assert_string_equal(o.text, "one two\n    three\n    four");
    cmd_out_done(&o);
}

static void colour(void **state)
{
    (void)state;
    assert_true(cmd_color_wanted(CMD_COLOR_ALWAYS, false, "1", NULL, "dumb"));
    assert_false(cmd_color_wanted(CMD_COLOR_NEVER, true, NULL, "1", "xterm"));
    assert_true(cmd_color_wanted(CMD_COLOR_AUTO, true, NULL, NULL, "xterm"));
    assert_true(cmd_color_wanted(CMD_COLOR_AUTO, true, "", NULL, "xterm"));
    assert_false(cmd_color_wanted(CMD_COLOR_AUTO, true, "1", "1", "xterm"));
    assert_true(cmd_color_wanted(CMD_COLOR_AUTO, false, NULL, "1", NULL));
    assert_false(cmd_color_wanted(CMD_COLOR_AUTO, false, NULL, "0", "xterm"));
    assert_false(cmd_color_wanted(CMD_COLOR_AUTO, true, NULL, NULL, "dumb"));
    assert_false(cmd_color_wanted(CMD_COLOR_AUTO, true, NULL, NULL, NULL));
    assert_true(cmd_locale_is_utf8(NULL, NULL, "de_DE.UTF-8"));
    assert_true(cmd_locale_is_utf8("", "C.utf8", "C"));
    assert_false(cmd_locale_is_utf8("C", NULL, "de_DE.UTF-8"));
    assert_false(cmd_locale_is_utf8(NULL, NULL, NULL));
}

static void streams_that_end(void **state)
{
    (void)state;
    int p[2];
    struct cmd_out o;
    assert_int_equal(pipe(p), 0);
    close(p[0]);
    cmd_out_init(&o, p[1], CMD_COLOR_AUTO);
    cmd_put(&o, "nobody reads this");
    assert_int_equal(cmd_out_flush(&o), -EPIPE);
    cmd_put(&o, "nor this");
    assert_int_equal(cmd_out_flush(&o), -EPIPE);
    cmd_out_done(&o);
    close(p[1]);
    int full = open("/dev/full", O_WRONLY);
    cmd_out_init(&o, full, CMD_COLOR_AUTO);
    cmd_put(&o, "x");
    assert_int_equal(cmd_out_flush(&o), -ENOSPC);
    cmd_out_done(&o);
    close(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_bytes),
        cmocka_unit_test(every_byte),
        cmocka_unit_test(lines_cannot_be_forged),
        cmocka_unit_test(wrapping),
        cmocka_unit_test(colour),
        cmocka_unit_test(streams_that_end),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
