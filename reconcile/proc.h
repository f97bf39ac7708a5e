/* reconcile/proc.h — other processes: run a helper to its end, and know a process again by more
 * than its number.
 * Runs     absolute programs with an argv vector, a clean environment (LC_ALL=C), no descriptor but
 *          0 to 2, and a deadline.
 * Source   proc(5): field 22 of stat is the start time; pidfd_open(2); close_range(2). */
#ifndef RECONCILE_PROC_H
#define RECONCILE_PROC_H
#include "reconcile/error.h"
#include "spec/arena.h"
#include <stdbool.h>
#include <sys/types.h>

#define REC_PROC_PATH "/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin"

/* Raise this process's limit of open files to `useful`, or as far as the hard limit allows, until
 * rec_proc_files_back. Every helper begins with the limit that was there. -EMFILE: the limit stays
 * below `need`, and nothing was changed. */
int rec_proc_files(size_t need, size_t useful, struct rec_error *err);
void rec_proc_files_back(void);
/* Exit status in *status (128+n: killed by n); its output, both streams, at most 64 KiB, in *output
 * (may be NULL). -ETIMEDOUT: its process group was killed. */
int rec_proc_run(struct spec_arena *a, const char *const *argv, int deadline_ms, int *status,
                 char **output, struct rec_error *err);
/* A helper whose answer and whose talk are two things. */
struct rec_proc_call {
    /* env: NAME=VALUE, more than the clean one, ends in NULL; may be NULL */
    const char *const *argv, *const *env;
    int deadline_ms;
    /* a descriptor; once it can be read the process group is ended. -1: none */
    int stop;
};
struct rec_proc_said {
    int status; /* as above */
    /* standard output, its first 1 MiB; standard error, its last 64 KiB */
    char *out, *err;
};
/* -ETIMEDOUT as above; -ECANCELED: it was stopped, and has ended. */
int rec_proc_call(struct spec_arena *a, const struct rec_proc_call *c, struct rec_proc_said *said,
                  struct rec_error *err);
/* Clock ticks since boot; 0: no such process (a zombie is none). */
unsigned long long rec_proc_started(pid_t pid);
pid_t rec_proc_parent(pid_t pid); /* 0: no such process */
/* its first child, 0: none */
pid_t rec_proc_child(pid_t pid);
/* NULL: not set, or no such process */
char *rec_proc_env(struct spec_arena *a, pid_t pid, const char *name);
/* Of what is mounted on its /etc or below, something has been deleted where it came from (proc(5),
 * mountinfo): what it sees stays as it was, or is empty. */
bool rec_proc_lost_etc(struct spec_arena *a, pid_t pid);
/* inode of its network namespace, 0: unknown */
ino_t rec_proc_netns(pid_t pid);
/* its number in its own pid namespace, 0: that is ours, or no such process */
pid_t rec_proc_inside(pid_t pid);
/* its executable is that very file */
bool rec_proc_runs(pid_t pid, const char *program);
/* it neither catches, blocks nor ignores the signal (proc(5), SigCgt) */
bool rec_proc_dies_of(pid_t pid, int signal);
/* the signal was sent to it and not yet taken (proc(5), SigPnd, ShdPnd) */
bool rec_proc_has_pending(pid_t pid, int signal);
/* for an event: it neither runs nor wants a processor (state S) */
bool rec_proc_waits(pid_t pid);
/* false: no program any more: a zombie, or about to be one */
bool rec_proc_runs_any(pid_t pid);
/* this boot's id: start times count from it */
const char *rec_proc_boot(void);
/* Every process in that network namespace that is in another pid namespace than ours: a
 * container's, not a guest's of `ip netns exec`. */
int rec_proc_each_in_netns(ino_t netns, void (*each)(void *arg, pid_t pid), void *arg);
/* Wait until the process has ended. false: it had not after `ms`. */
bool rec_proc_wait(pid_t pid, unsigned long long started, int ms);
/* Send a signal to that very process. */
void rec_proc_kill(pid_t pid, unsigned long long started, int signal);
#endif
