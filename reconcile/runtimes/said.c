/* Lines of systemd itself about the unit say only that it failed. They are no cause, and are left
 * out where others are there. */
#include "reconcile/runtimes/said.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINES_MOST = 12, LINES_SHOWN = 6, LINE_MOST = 160, CAUSE_MOST = 380 };

/* "berth@web.service: Failed with result 'exit-code'." and its kin; "Failed to start Container web
 * (berth)." */
static bool is_of_systemd(const char *line)
{
    const char *unit = strstr(line, ".service: ");
    size_t word = strcspn(line, " ");
    if (unit && (size_t)(unit - line) < word)
        return true;
    static const char *const begins[] = {"Starting ", "Started ",         "Stopping ",
                                         "Stopped ",  "Failed to start ", "Failed to stop "};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (!strncmp(line, begins[i], strlen(begins[i])) &&
            (strstr(line, "ontainer ") || strstr(line, ".service")))
            return true;
    return false;
}

/* Higher: says more about why. */
static int rank(const char *line)
{
    if (is_of_systemd(line))
        return 0;
    if (strstr(line, "ignoring"))
        return 1;
    if (!strncmp(line, "execv(", 6))
        return 4;
    return !strncmp(line, "Failed to ", 10) ? 3 : 2;
}

/* The lines of `text`, in place, without blank ones; the latest if there are too many. */
static size_t split(char *text, char *lines[LINES_MOST])
{
    size_t n = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n"))) {
        for (char *p = line; *p; p++)
            if ((unsigned char)*p < ' ')
                *p = ' ';
        line += strspn(line, " ");
        size_t len = strlen(line);
        while (len && line[len - 1] == ' ')
            line[--len] = 0;
        if (!len)
            continue;
        if (n == LINES_MOST)
            memmove(lines, lines + 1, --n * sizeof *lines);
        lines[n++] = line;
    }
    return n;
}

/* The first of the lines that say most; of lines without a known form, the last. */
static size_t find_cause(char *const *lines, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        int now = rank(lines[i]), before = rank(lines[best]);
        if (now > before || (now == before && now <= 2))
            best = i;
    }
    return best;
}

void rec_said_failure(struct spec_arena *a, struct rec_error *err, int code, const char *container,
                      const char *said, const char *otherwise)
{
    char *lines[LINES_MOST], *copy = spec_arena_strdup(a, said),
                             more[LINES_SHOWN * (LINE_MOST + 2)] = "";
    size_t n = copy ? split(copy, lines) : 0, cause = n ? find_cause(lines, n) : 0, len = 0,
           shown = 0;
    /* The command ran and ended: what it said is no cause, unless it is nspawn that says so. */
    int least = code == ECHILD ? 3 : 1;
    bool known = code != ETIMEDOUT && n && rank(lines[cause]) >= least;
    size_t first = n > LINES_SHOWN + 1 ? n - LINES_SHOWN - 1 : 0;
    for (size_t i = first; i < n && shown < LINES_SHOWN; i++) {
        if ((known && i == cause) || ((known || code == ECHILD) && !rank(lines[i])))
            continue;
        len += (size_t)snprintf(more + len, sizeof more - len, "\n%.*s", LINE_MOST, lines[i]);
        shown++;
    }
    rec_fail(err, code, "cannot start container '%s': %.*s%s", container, CAUSE_MOST,
             known ? lines[cause] : otherwise, more);
}
