/* berth-contain puts a file aside when it has grown, and begins another one. A follower looks at
 * the directory as well as at the file, and goes on with the file that has the name now. */
#include "reconcile/logs.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILED REC_RUN_DIR "/failed"

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* 1: to the end of the file; 0: nobody reads any more. */
static int pour(int fd, int out)
{
    char b[8192];
    ssize_t n;
    while ((n = read(fd, b, sizeof b)) != 0) {
        if (n < 0 && errno != EINTR)
            return 0;
        for (ssize_t at = 0; at < n;) {
            ssize_t k = write(out, b + at, (size_t)(n - at));
            if (k < 0 && errno != EINTR)
                return 0;
            at += k > 0 ? k : 0;
        }
    }
    return 1;
}

static bool is_newer(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec > b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec > b->st_mtim.tv_nsec;
}

/* The names have changed twice since the last look: the file between is the old one now. false:
 * nobody reads. */
static bool pour_between(const struct stat *here, const char *path, int out)
{
    char old[300];
    struct stat st;
    snprintf(old, sizeof old, "%s.old", path);
    int fd = open_file(old);
    bool more = true;
    if (fd >= 0 && !fstat(fd, &st) && (st.st_ino != here->st_ino || st.st_dev != here->st_dev) &&
        is_newer(&st, here))
        more = pour(fd, out);
    if (fd >= 0)
        close(fd);
    return more;
}

/* Cut off in place: begin again. Another file of that name: the rest of this one is out, go on
 * with that. false: nobody reads. */
static bool catch_up(int *fd, const char *path, int out)
{
    struct stat here, there;
    if (!fstat(*fd, &here) && lseek(*fd, 0, SEEK_CUR) > here.st_size)
        lseek(*fd, 0, SEEK_SET);
    if (!pour(*fd, out))
        return false;
    if (lstat(path, &there) || (there.st_ino == here.st_ino && there.st_dev == here.st_dev))
        return true;
    int next = open_file(path);
    if (next < 0)
        return true;
    int more = pour(*fd, out); /* what came between the last look and the change of names */
    more = more && !fstat(*fd, &here) && pour_between(&here, path, out);
    close(*fd);
    *fd = next;
    return more && pour(next, out);
}

static void follow_file(int *fd, const char *path, int out)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event)))), dir[256];
    int watch = inotify_init1(IN_CLOEXEC), of_file = -1;
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    bool more =
        watch >= 0 && inotify_add_watch(watch, dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) >= 0 &&
        /* The open file holds its directory, which so tells nothing of its own removal; the one
         * above does. */
        inotify_add_watch(watch, REC_RUN_DIR "/c", IN_DELETE | IN_ONLYDIR) >= 0;
    while (more) {
        struct stat st;
        struct pollfd p[2] = {{watch, POLLIN, 0}, {out, 0, 0}};
        int w = inotify_add_watch(watch, path, IN_MODIFY | IN_DONT_FOLLOW);
        if (w != of_file && of_file >= 0)
            inotify_rm_watch(watch, of_file);
        of_file = w;
        more = catch_up(fd, path, out); /* after the watch: nothing falls between */
        if (!more || stat(dir, &st) || (poll(p, 2, -1) < 0 && errno != EINTR) ||
            p[1].revents & (POLLERR | POLLHUP))
            break;
        if (p[0].revents && read(watch, events, sizeof events) <= 0)
            break;
    }
    if (watch >= 0)
        close(watch);
}

/* Where the last `lines` lines start; as many fewer as there are not, in *lines. */
static off_t tail_start(int fd, long *lines)
{
    char b[8192];
    off_t end = lseek(fd, 0, SEEK_END), at = end;
    if (!*lines)
        return end;
    while (at > 0) {
        off_t from = at > (off_t)sizeof b ? at - (off_t)sizeof b : 0;
        ssize_t n = pread(fd, b, (size_t)(at - from), from);
        if (n <= 0)
            return 0;
        for (ssize_t i = n; i-- > 0;)
            if (b[i] == '\n' && from + i + 1 < end && !--*lines)
                return from + i + 1;
        at = from;
    }
    *lines -= end > 0; /* the first line has no line end before it */
    return 0;
}

static int log_file(struct rec_run *run, const char *container, bool follow, long lines, int out,
                    struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *path = spec_arena_printf(a, REC_RUN_DIR "/c/%.63s/log", container);
    int fd = open_file(path), old = -1;
    if (fd < 0 && errno == ENOENT) {
        path = spec_arena_printf(a, FAILED "/%.63s", container);
        fd = open_file(path);
        follow = false; /* nobody writes there */
    } else {
        old = open_file(spec_arena_printf(a, "%s.old", path));
    }
    if (fd < 0)
        return errno == ENOENT
                   ? rec_fail(err, ENOENT,
                              "container '%s' has no log here: it has no process, or never started",
                              container)
                   : rec_fail(err, errno, "cannot read '%s': %s", path, strerror(errno));
    off_t from = lines >= 0 ? tail_start(fd, &lines) : 0;
    if (old >= 0) {
        lseek(old, lines >= 0 ? tail_start(old, &lines) : 0, SEEK_SET);
        pour(old, out);
        close(old);
    }
    lseek(fd, from, SEEK_SET);
    if (follow)
        follow_file(&fd, path, out);
    else
        pour(fd, out);
    close(fd);
    return 0;
}

static const char *journalctl(void)
{
    static const char *const programs[] = {"/usr/bin/journalctl",
                                           "/run/current-system/sw/bin/journalctl"};
    return access(programs[0], X_OK) && !access(programs[1], X_OK) ? programs[1] : programs[0];
}

static int journal(const char *unit, bool follow, long lines, int out, struct rec_error *err)
{
    char count[32];
    snprintf(count, sizeof count, "%ld", lines);
    const char *argv[] = {
        journalctl(),         "--no-pager", "--all", "-u", unit, "-n", lines < 0 ? "all" : count,
        follow ? "-f" : NULL, NULL};
    static char *const env[] = {"LC_ALL=C.UTF-8", "PATH=" REC_PROC_PATH, NULL};
    if (access(argv[0], X_OK))
        return rec_fail(err, ENOENT, "cannot show logs: no journalctl on this host");
    pid_t pid = fork();
    if (!pid) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        for (int s = 1; s < NSIG; s++)
            signal(s, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(out, 1);
        syscall(SYS_close_range, 3, ~0u, 0);
        execve(argv[0], (char *const *)argv, env);
        _exit(127);
    }
    int st;
    if (pid < 0)
        return rec_fail(err, errno, "cannot start journalctl: %s", strerror(errno));
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

/* An undo has taken its unit away, but the journal remembers. */
static bool remembered(struct rec_run *run, const char *unit)
{
    const char *argv[] = {journalctl(), "--no-pager", "-q", "-o", "cat",
                          "-n",         "1",          "-u", unit, NULL};
    char *output;
    int status;
    return !rec_proc_run(run->arena, argv, 10000, &status, &output, NULL) && !status && *output;
}

int rec_logs(struct rec_run *run, const char *container, bool follow, long lines, int out,
             struct rec_error *err)
{
    int r = rec_facts_host(run, err);
    const char *unit = NULL;
    if (r)
        return r;
    for (size_t i = 0; rec_runtimes[i] && !unit; i++)
        if (rec_runtimes[i]->journal)
            unit = rec_runtimes[i]->journal(run, container, true);
    for (size_t i = 0; rec_runtimes[i] && !unit; i++)
        if (rec_runtimes[i]->journal) {
            const char *past = rec_runtimes[i]->journal(run, container, false);
            unit = past && remembered(run, past) ? past : NULL;
        }
    return unit ? journal(unit, follow, lines, out, err)
                : log_file(run, container, follow, lines, out, err);
}

void rec_log_keep(const char *container, const char *path)
{
    char kept[128];
    snprintf(kept, sizeof kept, FAILED "/%.63s", container);
    if (rec_dir_make(FAILED, 0700, NULL))
        return;
    unlink(kept);
    if (link(path, kept))
        rmdir(FAILED);
}

void rec_log_forget(const char *container)
{
    char kept[128];
    snprintf(kept, sizeof kept, FAILED "/%.63s", container);
    if (!unlink(kept))
        rmdir(FAILED);
}

void rec_logs_forget(struct spec_arena *a)
{
    char **names;
    size_t n;
    if (!rec_dir_list(a, FAILED, &names, &n, NULL))
        for (size_t i = 0; i < n; i++)
            rec_log_forget(names[i]);
}
