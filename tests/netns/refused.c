/* Which system calls that reach the host a command in a container may still make: a line each.
 * Nothing: all are refused with EPERM. */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void check(const char *name, long r, int code)
{
    if (r != -1 || code != EPERM)
        printf("%s gives %ld, errno %d\n", name, r, code);
}
#define TRY(name, ...)                                                                             \
    do {                                                                                           \
        long r_ = syscall(SYS_##name, __VA_ARGS__);                                                \
        check(#name, r_, errno);                                                                   \
    } while (0)

static sigjmp_buf after;

static void no_such_entry(int number)
{
    (void)number;
    siglongjmp(after, 1);
}

int main(void)
{
    /* Each would fail otherwise too, with another error: EINVAL, EFAULT, EBADF. */
    TRY(add_key, 0, 0, 0, 0, 0);
    TRY(keyctl, 0, -3, 0, 0, 0);
    TRY(request_key, 0, 0, 0, 0);
    TRY(bpf, 9999, 0, 0);
    TRY(perf_event_open, 0, 0, -1, -1, 0);
    TRY(open_by_handle_at, -1, 0, 0);
    TRY(fanotify_init, 0xffffffff, 0);
    TRY(io_uring_setup, 0, 0);
    TRY(quotactl, -1, 0, 0, 0);
#ifdef __x86_64__
    /* The 32-bit entry: keyctl is number 288 there. The filter must know that architecture as well.
     * A kernel without that entry sends SIGSEGV. */
    volatile int r = -ENOSYS;
    signal(SIGSEGV, no_such_entry);
    if (!sigsetjmp(after, 1))
        __asm__ volatile("int $0x80"
                         : "=a"(r)
                         : "a"(288), "b"(0), "c"(-3), "d"(0), "S"(0), "D"(0)
                         : "memory", "r8", "r9", "r10", "r11");
    if (r != -EPERM && r != -ENOSYS)
        printf("32-bit keyctl gives %d\n", r);
    /* And x32: the number with a bit. */
    long x = syscall(0x40000000 | 250, 0, -3, 0, 0, 0);
    check("x32 keyctl", x, errno == ENOSYS ? EPERM : errno);
#endif
    return 0;
}
