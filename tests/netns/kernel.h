/* tests/netns/kernel.h — a world of its own for each kernel test: fresh user (unless root), network
 * and mount namespaces with an empty /run. `ip -j` is the independent witness. A kernel that
 * lacks a kind of link: exit 77, skipped, saying which. */
#ifndef TESTS_NETNS_KERNEL_H
#define TESTS_NETNS_KERNEL_H
#include "netops/error.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SKIP = 77 };

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
/* A call that must succeed. */
#define DO(call)                                                                                   \
    do {                                                                                           \
        struct net_error e_ = {0};                                                                 \
        struct net_error *err = &e_;                                                               \
        int r_ = (call);                                                                           \
        if (r_ < 0) {                                                                              \
            char text_[400];                                                                       \
            net_error_format(err, text_, sizeof text_);                                            \
            fprintf(stderr, "%s:%d: %s: %d, %s\n", __FILE__, __LINE__, #call, r_, text_);          \
            exit(r_ == -EOPNOTSUPP ? SKIP : 1);                                                    \
        }                                                                                          \
    } while (0)

static inline void put_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            perror(path);
        close(fd);
    }
}

/* Out of the caller's world; 77 where that is not allowed. */
static inline void own_world(void)
{
    unsigned uid = geteuid(), gid = getegid();
    char map[64];
    if (unshare((uid ? CLONE_NEWUSER : 0) | CLONE_NEWNET | CLONE_NEWNS)) {
        perror("no namespaces here");
        exit(SKIP);
    }
    if (uid) {
        put_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", uid);
        put_file("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "0 %u 1", gid);
        put_file("/proc/self/gid_map", map);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", "/run", "tmpfs", 0, "mode=755")) {
        perror("no mounts here");
        exit(SKIP);
    }
}

/* What a command prints (stdout and stderr), for the witness. */
static inline const char *output(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline const char *output(const char *format, ...)
{
    static char text[65536];
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    strncat(command, " 2>&1", sizeof command - strlen(command) - 1);
    FILE *f = popen(command, "r");
    CHECK(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    pclose(f);
    return text;
}
static inline bool says(const char *text, const char *part)
{
    if (strstr(text, part))
        return true;
    fprintf(stderr, "'%s' is not in:\n%s\n", part, text);
    return false;
}
#endif
