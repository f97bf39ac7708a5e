/* A user without root pushes: the hook says "look now" by writing the commit's name into a file of the repository's, a unit of root's looks
 * at the branch and applies, and what came of it stands in a file that bears the commit's name. */
#include "cmd/hook.h"
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUTCOMES_KEPT = 16, OUTCOME_BYTES = 32768 };

static bool listening(void)
{
    int status = 0;
    if (access("/run/systemd/system", F_OK))
        return false;
    pid_t pid = fork();
    if (!pid) {
        execl("/usr/bin/systemctl", "systemctl", "is-active", "-q", "berth-look.path", (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Which file tells the outcome of a commit; all 0: none does. Each answer is a file of its own, so a branch that goes back to a commit
 * that was applied once is not answered with what came of it then. */
static struct stat outcome_file(const char *commit)
{
    char path[200];
    struct stat st = {0};
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%.64s", commit);
    return lstat(path, &st) ? (struct stat){0} : st;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The outcome of our commit, if it is another than was there before. false: not there yet. */
static bool outcome(struct cmd *c, const char *commit, const struct stat *before, enum cmd_exit *code)
{
    char path[200], text[OUTCOME_BYTES + 64], last[80] = "";
    struct stat st;
    snprintf(path, sizeof path, CMD_LOOK_DIR "/%.64s", commit);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    ssize_t n = fstat(fd, &st) || same_file(&st, before) ? -1 : read(fd, text, sizeof text - 1);
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

enum cmd_exit cmd_hook_say(struct cmd *c, const char *commit)
{
    const char *git = c->args.git ? c->args.git : getenv("GIT_DIR");
    char file[PATH_MAX + 32], now[65];
    enum cmd_exit code;
    struct stat before = outcome_file(commit);
    snprintf(file, sizeof file, "%s/" CMD_LOOK_FILE, git && *git ? git : ".");
    if (!listening()) {
        cmd_put(&c->out, "berth: accepted, but nobody applies it: root has to run `berth hook install --apply` for this repository\n");
        return CMD_OK;
    }
    int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || dprintf(fd, "%s\n", commit) < 0) {
        cmd_printf(&c->out, "berth: accepted, but cannot write '%s': %s\n", file, strerror(errno));
        return CMD_OK;
    }
    close(fd);
    struct timespec tick = {.tv_nsec = 50000000};
    for (long long end = cmd_hook_now() + CMD_HOOK_SECONDS; cmd_hook_now() < end; nanosleep(&tick, NULL))
        if (outcome(c, commit, &before, &code)) {
            return code;
        } else if (cmd_hook_asked(git && *git ? git : ".", now) && strcmp(now, commit)) {
            cmd_printf(&c->out, "berth: a later push (%.7s) takes this one along\n", now);
            return CMD_OK;
        }
    cmd_printf(&c->out, "berth: no outcome after %d s; `systemctl status berth-look.service` on the host tells more\n", CMD_HOOK_SECONDS);
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
    return x.st_mtim.tv_sec != y.st_mtim.tv_sec ? (x.st_mtim.tv_sec < y.st_mtim.tv_sec ? 1 : -1)
           : x.st_mtim.tv_nsec < y.st_mtim.tv_nsec ? 1 : -1;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void forget_old(void)
{
    struct dirent **list;
    char path[400];
    int n = scandir(CMD_LOOK_DIR, &list, visible, newest_first);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", list[i]->d_name);
        if (i >= OUTCOMES_KEPT)
            unlink(path);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
}

/* The end of what was said, from the beginning of a line: how it came out stands last, and whoever pushed has seen the plan. */
static void last_of(struct cmd_out *to, const struct cmd_out *said)
{
    const char *text = said->text ? said->text : "", *from = text + said->n;
    size_t lines = 0;
    while (from > text && (from[-1] != '\n' || lines++ < CMD_HOOK_SCREEN) && text + said->n - from < OUTCOME_BYTES / 2)
        from--;
    if (from > text) {
        if (from[-1] != '\n')
            from += strcspn(from, "\n") + 1;
        cmd_put(to, "… the end of it; all: journalctl -u berth-look.service\n");
    }
    if (from < text + said->n)
        cmd_putn(to, from, (size_t)(text + said->n - from));
}

/* All of it is said once here, for the journal, and its end in a file, for whoever pushed. */
static enum cmd_exit look_once(struct cmd *c, const struct cmd_hook_target *t, char commit[65])
{
    struct cmd_out said = {.fd = -1}, journal = c->out;
    struct rec_error err;
    char path[200];
    c->out = said;
    struct cmd_hook_taken taken;
    enum cmd_exit code = cmd_hook_turn(c, t, INT_MAX / 1000, &taken);
    strcpy(commit, taken.asked);
    said = c->out;
    c->out = journal;
    cmd_putn(&c->out, said.text ? said.text : "", said.n);
    if (*commit && !rec_dir_make(CMD_LOOK_DIR, 0755, &err)) {
        struct cmd_out kept = {.fd = -1};
        chmod(CMD_LOOK_DIR, 0755);
        snprintf(path, sizeof path, CMD_LOOK_DIR "/%s", commit);
        last_of(&kept, &said);
        cmd_printf(&kept, "\nexit %d\n", (int)code);
        if (rec_file_write(path, kept.text, kept.n, 0644, &err))
            cmd_tell(c, &err);
        cmd_out_done(&kept);
        forget_old();
    }
    cmd_out_done(&said);
    return code;
}

int cmd_hook_look(struct cmd *c)
{
    struct cmd_hook_target t = {getenv("BERTH_GIT"), getenv("BERTH_GIT_OWNER"), getenv("BERTH_SPEC"), getenv("BERTH_HOST")};
    struct rec_error err;
    char commit[65], now[65];
    if (!t.git || !t.spec || cmd_git_split(t.spec) <= 0) {
        rec_fail(&err, EINVAL, "berth hook look needs BERTH_GIT and BERTH_SPEC=REF:PATH, out of " CMD_ENV_FILE);
        return cmd_fail(c, NULL, CMD_USAGE, &err);
    }
    enum cmd_exit code;
    bool again;
    do {
        code = look_once(c, &t, commit);
        /* Who asked while we were at work may not have been heard by the path unit. */
        again = cmd_hook_asked(t.git, now) && strcmp(now, commit);
    } while (again);
    return code;
}
