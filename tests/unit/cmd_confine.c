/* What a confined reader may still do, and what it may not. Each case runs in a child, since a
 * filter is for ever. */
#include "cmd/git/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* The wait status of a child that is confined and then calls `attempt`, which returns 0 or an
 * errno. */
static int confined_status(int (*attempt)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
        if (git_confine_files(NULL, 0))
            _exit(200);
        _exit(attempt());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int attempt_thread_body(void)
{
    pthread_t thread;
    extern void *confine_nothing(void *);
    int r = pthread_create(&thread, NULL, confine_nothing, NULL);
    return r ? r : pthread_join(thread, NULL);
}
void *confine_nothing(void *arg)
{
    return arg;
}
static int attempt_fork(void)
{
    pid_t child = fork();
    if (!child)
        _exit(0);
    return child < 0 ? errno : 0;
}
static int attempt_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return errno;
}
static int attempt_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}
static int attempt_mount(void)
{
    return mount("none", "/", "tmpfs", 0, NULL) ? errno : 0;
}
static int attempt_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? errno : 0;
}
static int attempt_chmod(void)
{
    return chmod("/tmp", 01777) ? errno : 0;
}
static int attempt_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;
}
static int attempt_open(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static void assert_refused(int (*attempt)(void), int code)
{
    int status = confined_status(attempt);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static void a_reader_may_use_threads(void **state)
{
    (void)state;
    assert_refused(attempt_thread_body, 0);
}

static void a_reader_may_not_do_anything_else(void **state)
{
    (void)state;
    assert_refused(attempt_fork, EPERM);
    assert_refused(attempt_exec, EPERM);
    assert_refused(attempt_socket, EPERM);
    assert_refused(attempt_mount, EPERM);
    assert_refused(attempt_ptrace, EPERM);
    assert_refused(attempt_chmod, EPERM);
    assert_refused(attempt_uring, EPERM);
    assert_refused(attempt_open, EACCES); /* Landlock */
}

#ifdef __x86_64__
/* getpid() through the 32-bit interface, which has call numbers of its own. */
static int attempt_other_interface(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    return result > 0 ? 0 : ENOSYS;
}
static int attempt_x32(void)
{
    return syscall(0x40000000 + SYS_getpid) < 0 ? errno : 0;
}

static void another_call_interface_ends_the_reader(void **state)
{
    (void)state;
    int status = confined_status(attempt_other_interface);
    assert_true(WIFSIGNALED(status));
    /* SIGSEGV: a kernel without the 32-bit interface. */
    assert_true(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
    status = confined_status(attempt_x32);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_may_use_threads),
        cmocka_unit_test(a_reader_may_not_do_anything_else),
#ifdef __x86_64__
        cmocka_unit_test(another_call_interface_ends_the_reader),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
