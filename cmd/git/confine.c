/* Each layer alone would do for most attacks; a hostile repository has to get through all of them. */
#include "cmd/git/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* An address sanitizer reserves terabytes. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static void limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit l = {most, most};
    setrlimit(what, &l);
}

void git_confine_limits(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef SANITIZED
    limit(RLIMIT_AS, (rlim_t)1 << 30);
#endif
    limit(RLIMIT_CPU, 10);
    limit(RLIMIT_NOFILE, 64);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
}

int git_confine_user(uid_t uid, gid_t gid)
{
    if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
        return -errno;
    prctl(PR_SET_PDEATHSIG, SIGKILL);       /* a change of user has cleared it */
    return 0;
}

static int landlock(const char *const *dirs, size_t n)
{
    const uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    struct landlock_ruleset_attr rules = {
        .handled_access_fs = reading | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                             LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                             LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM};
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0u);
    if (fd < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
    int r = 0;
    for (size_t i = 0; i < n; i++) {
        struct landlock_path_beneath_attr below = {.allowed_access = reading, .parent_fd = open(dirs[i], O_PATH | O_CLOEXEC)};
        struct stat st;
        if (below.parent_fd < 0)
            continue;
        if (!fstat(below.parent_fd, &st) && !S_ISDIR(st.st_mode))
            below.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
        if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0u))
            r = -errno;
        close(below.parent_fd);
    }
    if (!r && syscall(SYS_landlock_restrict_self, fd, 0u))
        r = -errno;
    close(fd);
    return r;
}

#ifdef ARCH
#define REFUSED(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

/* What a reader of files never asks for. */
static int seccomp(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef __x86_64__
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),      /* x32 */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        REFUSED(fork), REFUSED(vfork), REFUSED(chmod), REFUSED(chown), REFUSED(lchown), REFUSED(utimes), REFUSED(utime),
#endif
        REFUSED(execve), REFUSED(execveat), REFUSED(socket), REFUSED(socketpair), REFUSED(connect), REFUSED(bind), REFUSED(sendto),
        REFUSED(sendmsg), REFUSED(ptrace), REFUSED(process_vm_readv), REFUSED(process_vm_writev), REFUSED(mount), REFUSED(umount2),
        REFUSED(unshare), REFUSED(setns), REFUSED(bpf), REFUSED(keyctl), REFUSED(add_key), REFUSED(io_uring_setup),
        REFUSED(open_by_handle_at), REFUSED(fchmod), REFUSED(fchmodat), REFUSED(fchown), REFUSED(fchownat), REFUSED(utimensat),
        REFUSED(setxattr), REFUSED(lsetxattr), REFUSED(fsetxattr), REFUSED(removexattr), REFUSED(kill), REFUSED(tkill),
        REFUSED(truncate), REFUSED(perf_event_open), REFUSED(userfaultfd), REFUSED(clone3),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) && errno != EINVAL && errno != ENOSYS ? -errno : 0;
}
#else
static int seccomp(void)
{
    return 0;
}
#endif

int git_confine_files(const char *const *dirs, size_t n)
{
    int r = landlock(dirs, n);
    return r ? r : seccomp();
}
