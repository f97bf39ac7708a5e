/* A list of refused calls, since libseccomp needs 13 ms for a list of all that are allowed, and
 * 0.3 ms for this one. */
#include "reconcile/enter/filter.h"
#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>

enum { ALWAYS = -1 };

/* Ordered by reason, then by name. */
static const struct refused {
    int unless; /* the capability that allows it, or ALWAYS */
    const char *name;
} refused[] = {
    /* Keys are not bound to a namespace. */
    {ALWAYS, "add_key"},
    {ALWAYS, "keyctl"},
    {ALWAYS, "request_key"},
    /* As for the container's own processes (--system-call-filter): much of the kernel behind one
     * call. */
    {ALWAYS, "io_uring_enter"},
    {ALWAYS, "io_uring_register"},
    {ALWAYS, "io_uring_setup"},
    /* They reach the whole host. */
    {ALWAYS, "bpf"},
    {ALWAYS, "fanotify_init"},
    {ALWAYS, "fanotify_mark"},
    {ALWAYS, "kexec_file_load"},
    {ALWAYS, "kexec_load"},
    {ALWAYS, "lookup_dcookie"},
    {ALWAYS, "open_by_handle_at"},
    {ALWAYS, "perf_event_open"},
    {ALWAYS, "quotactl"},
    {ALWAYS, "quotactl_fd"},
    {ALWAYS, "swapoff"},
    {ALWAYS, "swapon"},
    /* They emulate another processor. */
    {ALWAYS, "modify_ldt"},
    {ALWAYS, "subpage_prot"},
    {ALWAYS, "switch_endian"},
    {ALWAYS, "vm86"},
    {ALWAYS, "vm86old"},
    /* Nobody needs them today. */
    {ALWAYS, "_sysctl"},
    {ALWAYS, "afs_syscall"},
    {ALWAYS, "bdflush"},
    {ALWAYS, "create_module"},
    {ALWAYS, "get_kernel_syms"},
    {ALWAYS, "getpmsg"},
    {ALWAYS, "nfsservctl"},
    {ALWAYS, "putpmsg"},
    {ALWAYS, "query_module"},
    {ALWAYS, "security"},
    {ALWAYS, "sgetmask"},
    {ALWAYS, "ssetmask"},
    {ALWAYS, "stime"},
    {ALWAYS, "sysfs"},
    {ALWAYS, "tuxcall"},
    {ALWAYS, "uselib"},
    {ALWAYS, "ustat"},
    {ALWAYS, "vserver"},
    /* They belong to a capability. */
    {CAP_SYS_TIME, "adjtimex"},
    {CAP_SYS_TIME, "clock_adjtime"},
    {CAP_SYS_TIME, "clock_adjtime64"},
    {CAP_SYS_TIME, "clock_settime"},
    {CAP_SYS_TIME, "clock_settime64"},
    {CAP_SYS_TIME, "settimeofday"},
    {CAP_SYS_MODULE, "delete_module"},
    {CAP_SYS_MODULE, "finit_module"},
    {CAP_SYS_MODULE, "init_module"},
    {CAP_SYS_RAWIO, "ioperm"},
    {CAP_SYS_RAWIO, "iopl"},
    {CAP_SYS_RAWIO, "pciconfig_iobase"},
    {CAP_SYS_RAWIO, "pciconfig_read"},
    {CAP_SYS_RAWIO, "pciconfig_write"},
    {CAP_SYS_RAWIO, "s390_pci_mmio_read"},
    {CAP_SYS_RAWIO, "s390_pci_mmio_write"},
    {CAP_SYS_PACCT, "acct"},
    {CAP_SYS_PTRACE, "pidfd_getfd"},
    {CAP_SYS_PTRACE, "process_vm_readv"},
    {CAP_SYS_PTRACE, "process_vm_writev"},
    {CAP_SYS_PTRACE, "ptrace"},
    {CAP_SYS_BOOT, "reboot"},
    {CAP_SYSLOG, "syslog"},
    {CAP_SYS_TTY_CONFIG, "vhangup"},
};

/* The other architectures whose programs a kernel of this one can run. */
static const struct {
    uint32_t native, also[2];
} families[] = {
    {SCMP_ARCH_X86_64, {SCMP_ARCH_X86, SCMP_ARCH_X32}},
    {SCMP_ARCH_AARCH64, {SCMP_ARCH_ARM}},
    {SCMP_ARCH_MIPS64, {SCMP_ARCH_MIPS, SCMP_ARCH_MIPS64N32}},
    {SCMP_ARCH_MIPSEL64, {SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64N32}},
    {SCMP_ARCH_PPC64, {SCMP_ARCH_PPC}},
    {SCMP_ARCH_S390X, {SCMP_ARCH_S390}},
    {SCMP_ARCH_PARISC64, {SCMP_ARCH_PARISC}},
};

static int add_architectures(scmp_filter_ctx filter)
{
    uint32_t native = seccomp_arch_native();
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        for (size_t k = 0; k < 2 && families[i].native == native; k++) {
            int r = families[i].also[k] ? seccomp_arch_add(filter, families[i].also[k]) : 0;
            if (r && r != -EEXIST)
                return r;
        }
    }
    return 0;
}

static int add_refusals(scmp_filter_ctx filter, uint64_t bound)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int number = seccomp_syscall_resolve_name(refused[i].name);
        if (number == __NR_SCMP_ERROR) /* this libseccomp does not know it */
            continue;
        if (refused[i].unless != ALWAYS && bound >> refused[i].unless & 1)
            continue;
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
        if (r && r != -EDOM) /* -EDOM: no architecture of the filter has it */
            return r;
    }
    return 0;
}

int enter_filter_install(uint64_t bound)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter)
        return -ENOMEM;
    int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (!r)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (!r)
        r = add_architectures(filter);
    if (!r)
        r = add_refusals(filter, bound);
    if (!r)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}
