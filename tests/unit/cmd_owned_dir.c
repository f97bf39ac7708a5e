/* Directories of other users: where a link may lead, what is opened below one, and that a swapper
 * gains nothing. BERTH_SWAPS sets the number of tries. */
#include "cmd/owned_dir.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { OTHER = 65534, THIRD = 65533 };
static char dir[64];

static int enter(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/berth-owned-XXXXXX");
    umask(022);
    return !mkdtemp(dir) || chdir(dir) || chmod(dir, 0755);
}

static int leave(void **state)
{
    char command[100];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return chdir("/") || system(command);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct owned_trust root(void)
{
    struct owned_trust t = {.n = 0};
    owned_trust_add(&t, 0);
    return t;
}

static int walk(const char *path, uid_t *lead)
{
    struct owned_trust t = root();
    int fd = -1;
    *lead = OWNED_NOBODY;
    int r = owned_walk(AT_FDCWD, path, &t, lead, &fd);
    if (!r)
        close(fd);
    return r;
}

/* A link, and who made it. */
static void make_link(const char *target, const char *name, uid_t uid)
{
    assert_int_equal(symlink(target, name), 0);
    assert_int_equal(lchown(name, uid, uid), 0);
}

static void where_a_link_may_lead(void **state)
{
    uid_t lead;
    (void)state;
    if (geteuid())
        skip();
    assert_int_equal(mkdir("ours", 0755) | mkdir("theirs", 0755) | mkdir("thirds", 0755), 0);
    assert_int_equal(chown("theirs", OTHER, OTHER) | chown("thirds", THIRD, THIRD), 0);
    put("ours/file", "x");
    make_link("ours", "good", 0);
    make_link("ours", "bad", OTHER);
    make_link("theirs", "fine", OTHER);
    make_link("bad", "twice", 0);
    make_link("fine", "thirds/fine", THIRD);
    make_link("../fine", "thirds/two", THIRD);
    make_link("../ours/../theirs", "theirs/round", OTHER);
    make_link("/", "theirs/top", OTHER);
    /* A link that root made, in a directory where another user can put it. */
    make_link("../ours", "theirs/moved", 0);
    make_link("loop", "loop", 0);
    assert_int_equal(walk("ours/file", &lead), 0);
    assert_int_equal(walk("good/file", &lead), 0);
    assert_int_equal(lead, OWNED_NOBODY);
    assert_int_equal(walk("./ours/../good//", &lead), 0);
    assert_int_equal(walk("bad", &lead), -EXDEV);
    assert_int_equal(lead, OTHER);
    assert_int_equal(walk("bad/file", &lead), -EXDEV);
    assert_int_equal(walk("twice", &lead), -EXDEV);
    assert_int_equal(walk("fine", &lead), 0);
    assert_int_equal(lead, OTHER);
    assert_int_equal(walk("thirds/two", &lead), -EXDEV);
    assert_int_equal(walk("theirs/round", &lead), 0);
    assert_int_equal(walk("theirs/top", &lead), -EXDEV);
    assert_int_equal(walk("theirs/moved", &lead), -EXDEV);
    assert_int_equal(walk("loop", &lead), -ELOOP);
    assert_int_equal(walk("nope", &lead), -ENOENT);
    assert_int_equal(walk("ours/file/x", &lead), -ENOTDIR);
    assert_int_equal(walk("", &lead), -ENOENT);
}

static void below_a_directory_of_another_user(void **state)
{
    struct owned_trust t = root();
    struct owned_dir top, d;
    struct stat st;
    char text[16];
    (void)state;
    if (geteuid())
        skip();
    assert_int_equal(mkdir("repo", 0755) | mkdir("repo/hooks", 0755) | mkdir("repo/thirds", 0755) |
                         mkdir("victim", 0755),
                     0);
    assert_int_equal(chown("repo", OTHER, OTHER) | chown("repo/hooks", OTHER, OTHER) |
                         chown("repo/thirds", THIRD, THIRD),
                     0);
    put("victim/file", "secret");
    make_link("../victim", "repo/out", OTHER);
    make_link("hooks", "repo/in", OTHER);
    assert_int_equal(owned_open("repo", &t, &top), 0);
    assert_int_equal(top.uid, OTHER);
    assert_int_equal(owned_below(&top, "out", &d), -ELOOP);
    assert_int_equal(owned_below(&top, "in", &d), -ELOOP);
    assert_int_equal(owned_below(&top, "../victim", &d), -EXDEV);
    assert_int_equal(owned_below(&top, "/tmp", &d), -EXDEV);
    assert_int_equal(owned_below(&top, "thirds", &d), -EXDEV);
    assert_int_equal(owned_below(&top, "nope", &d), -ENOENT);
    assert_int_equal(owned_below(&top, "hooks", &d), 0);
    /* Files: a link, a pipe, and one with two names are never read, written or given away. */
    make_link("../../victim/file", "repo/hooks/a", OTHER);
    assert_int_equal(mkfifo("repo/hooks/b", 0600), 0);
    assert_int_equal(owned_read(&d, "a", text, sizeof text), -ELOOP);
    assert_int_equal(owned_read(&d, "b", text, sizeof text), -EINVAL);
    assert_int_equal(owned_write(&d, "a", "mine", 4, 0755), 0);
    assert_int_equal(owned_read(&d, "a", text, sizeof text), 4);
    assert_int_equal(owned_give(&d, "b", 0644), 0);
    assert_int_equal(link("victim/file", "repo/hooks/c"), 0);
    assert_int_equal(owned_give(&d, "c", 0644), 0);
    make_link("../../victim/file", "repo/hooks/d", OTHER);
    assert_int_equal(owned_give(&d, "d", 0644), 0);
    for (const char *name = "b\0c\0d\0"; *name; name += 2) {
        assert_int_equal(owned_stat(&d, name, &st), 0);
        assert_true(S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == OTHER && !st.st_size);
    }
    ino_t same = st.st_ino;
    assert_int_equal(owned_give(&d, "d", 0644), 0);
    assert_int_equal(owned_stat(&d, "d", &st), 0);
    assert_int_equal(st.st_ino, same);
    assert_int_equal(stat("victim/file", &st), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_size, 6);
    owned_close(&d);
    owned_close(&top);
}

static volatile sig_atomic_t ended;

static void end(int signal)
{
    (void)signal;
    ended = 1;
}

static int swap_path(const char *path, const char *with)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, with, RENAME_EXCHANGE);
}

static void pause_some(uint64_t random)
{
    for (volatile unsigned wait = (unsigned)random % 4096 * 16; wait; wait--)
        ;
}

/* Puts links in the place of everything that is opened. Never returns. */
static void swap_all(uint64_t seed)
{
    static const char *const pairs[][2] = {{"repo", "repo.link"},
                                           {"repo/hooks", "repo/hooks.link"},
                                           {"repo/hooks/kept", "repo/hooks/kept.link"},
                                           {"repo/hooks/event", "repo/hooks/event.link"},
                                           {"repo/hooks/.event.berth-new", "repo/hooks/event.link"},
                                           {"repo/look", "repo/look.link"},
                                           {"repo/.look.berth-new", "repo/look.link"}};
    if (setgid(OTHER) || setuid(OTHER))
        _exit(1);
    signal(SIGTERM, end);
    while (!ended) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        const char *const *p = pairs[(seed >> 33) % (sizeof pairs / sizeof *pairs)];
        /* What root moved away is put there again. */
        close(open("repo/hooks/event", O_WRONLY | O_CREAT | O_NOFOLLOW, 0755));
        if (symlink("../../victim/event", "repo/hooks/event.link") ||
            symlink("../victim/look", "repo/look.link"))
            errno = 0;
        pause_some(seed >> 40);
        if (swap_path(p[0], p[1]))
            continue;
        pause_some(seed >> 52);
        swap_path(p[0], p[1]);
    }
    _exit(0);
}

/* One try, as `hook install` and `hook uninstall` do it. true: it went through. */
static bool install_once(void)
{
    struct owned_trust t = root();
    struct owned_dir top, hooks, kept;
    bool whole = false;
    if (owned_open("repo", &t, &top))
        return false;
    if (!owned_below(&top, "hooks", &hooks)) {
        owned_mkdir(&hooks, "kept");
        if (!owned_below(&hooks, "kept", &kept)) {
            whole = !owned_rename(&hooks, "event", &kept, "event") &&
                    !owned_write(&hooks, "event", "berth", 5, 0755) &&
                    !owned_symlink(&kept, "helper", "../helper") &&
                    !owned_rename(&kept, "event", &hooks, "event");
            owned_unlink(&kept, "helper");
            owned_close(&kept);
        }
        owned_close(&hooks);
    }
    whole &= !owned_give(&top, "look", 0644);
    owned_unlink(&top, "look");
    owned_close(&top);
    return whole;
}

static void print_tree(const char *command, char *out, size_t room)
{
    FILE *f = popen(command, "r");
    assert_non_null(f);
    out[fread(out, 1, room - 1, f)] = 0;
    assert_int_equal(pclose(f), 0);
}

static void a_swapper_gains_nothing(void **state)
{
    static const char witness[] = "find victim -printf '%p %U:%G %m %n %s %i %T@ %C@ %l\n' | sort";
    static char before[8192], after[8192];
    const char *want = getenv("BERTH_SWAPS"), *seed = getenv("BERTH_SEED");
    long tries = want ? atol(want) : 2000, through = 0;
    (void)state;
    if (geteuid())
        skip();
    assert_int_equal(
        mkdir("repo", 0755) | mkdir("repo/hooks", 0755) | mkdir("repo/hooks/kept", 0755), 0);
    assert_int_equal(mkdir("victim", 0755) | mkdir("victim/hooks", 0755) |
                         mkdir("victim/hooks/kept", 0755) | mkdir("victim/kept", 0755),
                     0);
    put("repo/hooks/event", "theirs");
    put("victim/event", "root's");
    put("victim/hooks/event", "root's");
    put("victim/look", "root's");
    make_link("victim", "repo.link", OTHER);
    make_link("../victim", "repo/hooks.link", OTHER);
    make_link("../../victim", "repo/hooks/kept.link", OTHER);
    make_link("../../victim/event", "repo/hooks/event.link", OTHER);
    make_link("../victim/look", "repo/look.link", OTHER);
    assert_int_equal(system("chown -Rh 65534:65534 repo . && chown -R 0:0 victim"), 0);
    print_tree(witness, before, sizeof before);
    pid_t pid = fork();
    if (!pid)
        swap_all(seed ? strtoull(seed, NULL, 10) : 1);
    for (long i = 0; i < tries; i++)
        through += install_once();
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    print_tree(witness, after, sizeof after);
    assert_string_equal(after, before);
    print_message("%ld tries, %ld went through, 0 escapes\n", tries, through);
    /* Without its swaps the same way works. */
    assert_int_equal(system("rm -rf repo && mkdir -p repo/hooks && echo x >repo/hooks/event && "
                            "chown -R 65534:65534 repo"),
                     0);
    assert_true(install_once());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(where_a_link_may_lead, enter, leave),
        cmocka_unit_test_setup_teardown(below_a_directory_of_another_user, enter, leave),
        cmocka_unit_test_setup_teardown(a_swapper_gains_nothing, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
