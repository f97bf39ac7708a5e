/* The line on the terminal stays away while something else is printed. */
#include "cmd/progress.h"
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <cmocka.h>

/* Reads what is drawn until `text` came. False: nothing more came within `ms`. */
static bool drawn(int terminal, const char *text, int ms)
{
    char got[4096] = "";
    size_t n = 0;
    struct pollfd p = {.fd = terminal, .events = POLLIN};
    while (!strstr(got, text) && poll(&p, 1, ms) > 0) {
        ssize_t r = read(terminal, got + n, sizeof got - 1 - n);
        if (r <= 0)
            return false;
        n += (size_t)r;
        got[n] = 0;
    }
    return strstr(got, text) != NULL;
}

static void hidden_until_shown(void **state)
{
    (void)state;
    struct cmd c = {.err = {.fd = 2, .terminal = true}};
    int terminal = posix_openpt(O_RDWR | O_NOCTTY), before = dup(2);
    assert_true(terminal >= 0 && before >= 0 && !grantpt(terminal) && !unlockpt(terminal));
    int line = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(line >= 0 && dup2(line, 2) == 2);
    cmd_progress_say(&c, "working");
    bool first = drawn(terminal, "working", 30000);
    cmd_progress_hide();
    bool erased = drawn(terminal, "\033[K", 30000);
    bool hidden = !drawn(terminal, "working", 1000); /* it is drawn four times a second */
    cmd_progress_show();
    bool again = drawn(terminal, "working", 30000);
    cmd_progress_end();
    dup2(before, 2);
    close(before);
    close(line);
    close(terminal);
    assert_true(first);
    assert_true(erased);
    assert_true(hidden);
    assert_true(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hidden_until_shown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
