/* What of a container's text reaches a terminal. */
#include "cmd/plain.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* The whole text at once, and byte by byte: the same must come out. */
static void check(const char *in, const char *want)
{
    for (size_t piece = 1; piece <= strlen(in) + 1; piece += strlen(in) ? strlen(in) : 1) {
        struct cmd_plain p = {0};
        char out[1024];
        size_t n = 0, len = strlen(in);
        for (size_t at = 0; at < len; at += piece)
            n += cmd_plain_filter(&p, in + at, piece < len - at ? piece : len - at, out + n);
        n += cmd_plain_end(&p, out + n);
        out[n] = 0;
        assert_string_equal(out, want);
    }
}

static void text_stays(void **state)
{
    (void)state;
    check("", "");
    check("a line\n\ttab  é € 𝄞 日本\n", "a line\n\ttab  é € 𝄞 日本\n");
}

static void sequences_go(void **state)
{
    (void)state;
    check("\033[1;31mred\033[0m\n", "red\n");
    check("a\033]0;title\007b", "ab");
    check("a\033]0;title\033\\b", "ab");
    check("a\033P+q544e\033\\b", "ab");
    check("a\033(Bb\033cc\0337d", "abcd");
    check("a\033\033[31mb", "ab");
    check("a\033[", "a");
    /* A sequence without an end hides no other line. */
    check("a\033]0;never\nb\n", "a\nb\n");
    check("a\033[1\nb", "a\nb");
}

static void controls_go(void **state)
{
    (void)state;
    check("a\rb\bc\007d\177e\016f\005g\r\n", "abcdefg\n");
    check("a\xc2\x9b"
          "31mb",
          "a31mb");
    check("a\xc2\x85"
          "b",
          "ab");
}

static void no_utf8_is_marked(void **state)
{
    (void)state;
    check("a\xff"
          "b",
          "a\xef\xbf\xbd"
          "b");
    check("a\xc3", "a\xef\xbf\xbd");
    check("a\xc3(", "a\xef\xbf\xbd(");
    check("\xc0\x9b[31m", "\xef\xbf\xbd\xef\xbf\xbd[31m");
    check("\xe0\x80\x9b"
          "x",
          "\xef\xbf\xbdx");
    check("\xed\xa0\x80", "\xef\xbf\xbd");
    check("\xf4\x90\x80\x80", "\xef\xbf\xbd");
    check("a\xe2\x80\xae"
          "b",
          "a\xef\xbf\xbd"
          "b");
    check("\xc3\033[1mx", "\xef\xbf\xbdx");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_stays),
        cmocka_unit_test(sequences_go),
        cmocka_unit_test(controls_go),
        cmocka_unit_test(no_utf8_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
