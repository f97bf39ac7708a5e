/* A user without root pushes: the hook says "look now" by writing the commit's name into a file of
 * the repository's, a unit of root's looks at the branch and applies, and what came of it stands
 * in a file that bears the commit's name. */
#include "cmd/hook.h"
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    OUTCOMES_KEPT = 16,
    MOST_LOOKS = 5 /* of one run; the pauses between them are 0, 1, 2 and 4 seconds */
};

static bool listening(void)
{
    int status = 0;
    const char *program = rec_systemctl();
    if (!program || access("/run/systemd/system", F_OK))
        return false;
    pid_t pid = fork();
    if (!pid) {
        execl(program, "systemctl", "is-active", "-q", "berth-look.path", (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Where the branch stands and when it moved there, as its file tells. Packed away, it does not:
 * then both stay as they are. */
static void tip_of(const char *git, const char *ref, char id[65], struct timespec *moved)
{
    char path[PATH_MAX + 320], text[80];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", git, ref);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n =
        fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = 0;
    size_t len = strspn(text, "0123456789abcdef");
    if ((len == 40 || len == 64) && text[len] == '\n') {
        text[len] = 0;
        strcpy(id, text);
        *moved = st.st_mtim;
    }
}

static bool before(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Each answer is a file of its own, so one that was not there when we came is of this push. One
 * that was is ours if it was given after the branch had moved to our commit: an apply that another
 * push asked for has taken it along, or it stems from when the branch was there once before. */
struct answer {
    char path[200];
    struct stat was; /* all 0: there was none */
    struct timespec moved;
};

static void expect(struct answer *a, const char *commit)
{
    snprintf(a->path, sizeof a->path, CMD_LOOK_DIR "/%.64s", commit);
    if (lstat(a->path, &a->was))
        a->was = (struct stat){0};
}

static bool ours(const struct answer *a, const struct stat *st)
{
    bool same = st->st_ino == a->was.st_ino && !before(&st->st_mtim, &a->was.st_mtim) &&
                !before(&a->was.st_mtim, &st->st_mtim);
    return !same || !before(&st->st_mtim, &a->moved);
}

/* false: not there yet. */
static bool outcome(struct cmd *c, const struct answer *a, enum cmd_exit *code)
{
    char text[CMD_HOOK_BYTES + 64], last[80] = "";
    struct stat st;
    int fd = open(a->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = fstat(fd, &st) || !ours(a, &st) ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    if (n < 0)
        return false;
    text[n] = 0;
    char *end = strstr(text, "\nexit ");
    for (char *more = end; more && (more = strstr(more + 1, "\nexit "));)
        end = more;
    if (!end)
        return false;
    snprintf(last, sizeof last, "%s", end + 6);
    end[1] = 0;
    cmd_put(&c->out, text);
    *code = (enum cmd_exit)atoi(last);
    return true;
}

/* The name written again is a new sign, too: its closing is what the unit hears. 0 or -errno. */
static int sign(const char *file, const char *commit)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r = 0;
    size_t n = strlen(commit);
    char line[66];
    memcpy(line, commit, n);
    line[n] = '\n';
    if (fd < 0 || pwrite(fd, line, n + 1, 0) != (ssize_t)n + 1 || ftruncate(fd, (off_t)n + 1))
        r = errno ? -errno : -EIO;
    if (fd >= 0)
        close(fd);
    return r;
}

/* Say our name, the `first` time or again. A later one is never written over: ours was late, or
 * somebody else has come since; then it is in `later`. 0, -EWOULDBLOCK (another is about to say
 * its own), or -errno. */
static int say(const char *git, const char *ref, const char *commit, bool first, char later[65])
{
    char file[PATH_MAX + 32], there[65], tip[65] = "";
    struct timespec ignored;
    int r = 0;
    *later = 0;
    snprintf(file, sizeof file, "%s/" CMD_LOOK_FILE, git);
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
        r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    cmd_hook_asked(git, there);
    tip_of(git, ref, tip, &ignored);
    /* Who has moved the branch on since may never come to say so: it is said for them. */
    if (first && *tip && strcmp(tip, commit)) {
        strcpy(later, tip);
        r = strcmp(tip, there) ? sign(file, tip) : 0;
    } else if (!first && *there && strcmp(there, commit)) {
        strcpy(later, there);
    } else {
        r = sign(file, commit);
    }
    close(fd);
    return r;
}

/* The unit does not hear what is said between its program's last look and its end: we say it
 * again, after 1, 2, 4… seconds. */
enum cmd_exit cmd_hook_say(struct cmd *c, const char *ref, const char *commit,
                           const struct timespec *began)
{
    const char *git = c->args.git ? c->args.git : getenv("GIT_DIR");
    char now[65];
    enum cmd_exit code;
    struct answer a = {.moved = *began};
    git = git && *git ? git : ".";
    tip_of(git, ref, now, &a.moved);
    expect(&a, commit);
    if (!listening()) {
        cmd_put(&c->out, "berth: accepted, but nobody applies it: root has to run `berth hook "
                         "install --apply` for this repository\n");
        return CMD_OK;
    }
    struct timespec tick = {.tv_nsec = 50000000};
    long long start = cmd_hook_now(), next = start, pause = 0;
    for (; cmd_hook_now() < start + CMD_HOOK_SECONDS; nanosleep(&tick, NULL)) {
        if (outcome(c, &a, &code))
            return code;
        int r = cmd_hook_now() >= next ? say(git, ref, commit, !pause, now) : -EWOULDBLOCK;
        if (!r) {
            pause = pause ? 2 * pause : 1;
            next = cmd_hook_now() + pause;
        } else if (r != -EWOULDBLOCK) {
            cmd_printf(&c->out, "berth: accepted, but cannot write '%s/" CMD_LOOK_FILE "': %s\n",
                       git, strerror(-r));
            return CMD_OK;
        }
        if ((!r && *now) || (pause && cmd_hook_asked(git, now) && strcmp(now, commit))) {
            cmd_printf(&c->out, "berth: a later push (%.7s) takes this one along\n", now);
            return CMD_OK;
        }
    }
    cmd_printf(&c->out,
               "berth: no outcome after %d s; `systemctl status berth-look.service` on the host "
               "tells more\n",
               CMD_HOOK_SECONDS);
    return CMD_OK;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    struct stat x = {0}, y = {0};
    char path[400];
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", (*a)->d_name);
    stat(path, &x);
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", (*b)->d_name);
    stat(path, &y);
    return x.st_mtim.tv_sec != y.st_mtim.tv_sec    ? (x.st_mtim.tv_sec < y.st_mtim.tv_sec ? 1 : -1)
           : x.st_mtim.tv_nsec < y.st_mtim.tv_nsec ? 1
                                                   : -1;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* An earlier berth let everybody read them. */
static void forget_old(void)
{
    struct dirent **list;
    char path[400];
    int n = scandir(CMD_LOOK_DIR, &list, visible, newest_first);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", list[i]->d_name);
        if (i >= OUTCOMES_KEPT)
            unlink(path);
        else
            chmod(path, 0640);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

struct readers {
    uid_t user;
    gid_t group;
};

/* The users who may write berth-look, the file that asked. Root, if that file's owner cannot be
 * read. */
static struct readers askers(const char *git)
{
    char file[PATH_MAX + 32];
    struct stat st;
    struct readers to = {0};
    snprintf(file, sizeof file, "%s/" CMD_LOOK_FILE, git);
    if (lstat(file, &st) || !S_ISREG(st.st_mode) || st.st_nlink != 1)
        return to;
    to.user = st.st_uid;
    to.group = st.st_mode & S_IWGRP ? st.st_gid : 0;
    return to;
}

/* The answer, under the name of `commit`. A container may have said into it what is nobody else's
 * business. It has its owner before it has its name. */
static void publish(struct cmd *c, const char *commit, struct readers to,
                    const struct cmd_out *kept)
{
    static const char fresh[] = CMD_LOOK_DIR "/.answer";
    char path[200];
    struct rec_error err;
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", commit);
    int r = rec_file_write(fresh, kept->text, kept->n, 0640, &err);
    if (!r && (lchown(fresh, to.user, to.group) || rename(fresh, path)))
        r = rec_fail(&err, errno, "cannot write '%s': %s", path, strerror(errno));
    if (r)
        cmd_tell(c, &err);
}

static enum cmd_exit look_once(struct cmd *c, const struct cmd_hook_target *t,
                               struct cmd_hook_taken *taken)
{
    struct cmd_out said = {.fd = -1}, journal = c->out, kept = {.fd = -1};
    struct rec_error err;
    c->out = said;
    enum cmd_exit code = cmd_hook_turn(c, t, 0, taken);
    said = c->out;
    c->out = journal;
    cmd_putn(&c->out, said.text ? said.text : "", said.n);
    cmd_out_flush(&c->out);
    if (rec_dir_make(CMD_LOOK_DIR, 0711, &err)) {
        cmd_tell(c, &err);
    } else {
        chmod(CMD_LOOK_DIR, 0711);
        cmd_hook_end(&kept, &said, "all: journalctl -u berth-look.service");
        cmd_printf(&kept, "\nexit %d\n", (int)code);
        if (*taken->applied)
            publish(c, taken->applied, askers(t->git), &kept);
        if (*taken->asked && strcmp(taken->asked, taken->applied))
            publish(c, taken->asked, askers(t->git), &kept);
        forget_old();
    }
    cmd_out_done(&kept);
    cmd_out_done(&said);
    return code;
}

int cmd_hook_look(struct cmd *c)
{
    struct cmd_hook_target t = {getenv("BERTH_GIT"),     getenv("BERTH_GIT_OWNER"),
                                getenv("BERTH_SPEC"),    getenv("BERTH_HOST"),
                                getenv("BERTH_METRICS"), 0};
    struct cmd_hook_taken taken;
    struct rec_error err;
    char now[65], bad[32];
    const char *deny = getenv("BERTH_DENY");
    if (deny && !cmd_deny_parse(deny, &t.deny, bad)) {
        rec_fail(&err, EINVAL,
                 "BERTH_DENY in " CMD_ENV_FILE
                 " knows reload, restart, recreate and delete, not '%s'",
                 bad);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    if (!t.git || !t.spec || cmd_git_split(t.spec) <= 0) {
        rec_fail(&err, EINVAL,
                 "berth hook look needs BERTH_GIT and BERTH_SPEC=REF:PATH, out of " CMD_ENV_FILE);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    enum cmd_exit code = look_once(c, &t, &taken);
    /* Who asked while we were at work may not have been heard by the path unit. A repository that
     * asks without end is not looked at without end: who waits for an answer asks again, which
     * starts the unit again. */
    for (unsigned looks = 1; looks < MOST_LOOKS && cmd_hook_asked(t.git, now) &&
                             strcmp(now, taken.asked) && strcmp(now, taken.applied);
         looks++) {
        sleep(looks > 1 ? 1u << (looks - 2) : 0);
        code = look_once(c, &t, &taken);
    }
    return code;
}
