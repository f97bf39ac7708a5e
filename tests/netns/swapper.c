/* A hostile owner: puts links in the place of files and directories and takes them back, as fast as
 * it can, until a signal ends it.
 *
 *   swapper UID SEED COUNT-FILE PATH TARGET [PATH TARGET]...     PATH becomes a symbolic link to
 *                                                                TARGET, and what it was again
 *
 * TARGET "=FILE": a hard link, or a copy's place if the kernel refuses one. On SIGTERM it puts
 * everything back and writes how many exchanges it made to COUNT-FILE. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 16 };
static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
}

struct pair {
    const char *path;
    char other[PATH_MAX];
    int swapped;
};

int main(int argc, char **argv)
{
    struct pair pairs[MOST];
    int n = (argc - 4) / 2;
    if (n < 1 || n > MOST)
        return 64;
    unsigned long long seed = strtoull(argv[2], NULL, 10) * 6364136223846793005ull +
                              1442695040888963407ull,
                       count = 0;
    int out = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
    if (out < 0 || (uid && (setgid(uid) || setuid(uid))))
        return 1;
    struct sigaction a = {.sa_handler = end};
    sigaction(SIGTERM, &a, NULL);
    for (int i = 0; i < n; i++) {
        const char *target = argv[5 + 2 * i];
        pairs[i] = (struct pair){.path = argv[4 + 2 * i]};
        snprintf(pairs[i].other, sizeof pairs[i].other, "%s.swap", pairs[i].path);
        unlink(pairs[i].other);
        if (*target == '=' ? link(target + 1, pairs[i].other) : symlink(target, pairs[i].other))
            fprintf(stderr, "swapper: %s: %s\n", pairs[i].other, strerror(errno));
    }
    while (!ended) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        struct pair *p = &pairs[(seed >> 33) % (unsigned)n];
        if (!renameat2(AT_FDCWD, p->path, AT_FDCWD, p->other, RENAME_EXCHANGE)) {
            p->swapped = !p->swapped;
            count++;
        } else if (errno == ENOENT) {
            /* The name is free: it is a link until the next turn. */
            if (!renameat2(AT_FDCWD, p->other, AT_FDCWD, p->path, RENAME_NOREPLACE)) {
                count++;
                renameat2(AT_FDCWD, p->path, AT_FDCWD, p->other, RENAME_NOREPLACE);
            }
        }
        for (volatile unsigned wait = (unsigned)(seed >> 40) % 4096; wait; wait--)
            ;
    }
    for (int i = n; i-- > 0;) {
        if (pairs[i].swapped)
            renameat2(AT_FDCWD, pairs[i].path, AT_FDCWD, pairs[i].other, RENAME_EXCHANGE);
        unlink(pairs[i].other);
    }
    dprintf(out, "%llu\n", count);
    return 0;
}
