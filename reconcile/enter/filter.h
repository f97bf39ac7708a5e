/* reconcile/enter/filter.h — the system calls that a command in a container may not use.
 * Source   systemd-nspawn(1), --system-call-filter=; nspawn-seccomp.c of systemd 252: what its
 *          list leaves out. */
#ifndef RECONCILE_ENTER_FILTER_H
#define RECONCILE_ENTER_FILTER_H
#include <stdint.h>

/* Install the filter, for all architectures that this kernel can run. Needs CAP_SYS_ADMIN in the
 * own user namespace, and does not set no_new_privs: setuid programs inside go on to work.
 * `bound`: some calls belong to a capability. 0 or -errno. */
int enter_filter_install(uint64_t bound);
#endif
