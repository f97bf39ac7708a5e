/* reconcile/self.h — this program, out of a copy of itself that nobody can write.
 * Why      what runs inside a container has /proc/self/exe: through it a program of the container's could keep the host's berth, and
 *          write into it once berth has ended (CVE-2019-5736). Through a sealed copy it keeps that copy.
 * Kernel   memfd_create(2), fcntl(2) F_ADD_SEALS, fexecve(3). */
#ifndef RECONCILE_SELF_H
#define RECONCILE_SELF_H
#include "reconcile/error.h"
#include "spec/arena.h"

/* 0: this is the copy. Else the program begins anew as the copy, with the same arguments, environment and process id: nothing may have
 * been read from standard input yet, nor said. Returns only if that cannot be. */
int rec_self_seal(struct spec_arena *a, struct rec_error *err);
#endif
