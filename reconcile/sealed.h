/* reconcile/sealed.h — a program as a copy in memory that nobody can write.
 * Why      A process inside a container has /proc/PID/exe of the program that entered it. Through
 *          that link the container could keep the host's program open and write into it later
 *          (CVE-2019-5736). With a sealed copy it reaches only the copy.
 * Kernel   memfd_create(2), fcntl(2) F_ADD_SEALS, fexecve(3). */
#ifndef RECONCILE_SEALED_H
#define RECONCILE_SEALED_H
#include "reconcile/error.h"

/* A close-on-exec descriptor of the copy, for fexecve(3), or -errno. */
int rec_sealed_copy(const char *path, struct rec_error *err);
#endif
