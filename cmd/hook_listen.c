/* A push by a user without root, applied: a path unit of root's that looks when that user says so,
 * and the environment file that tells it at what. */
#include "cmd/hook.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_DROPIN      "/etc/systemd/system/berth-look.path.d"
#define LOOK_DROPIN_FILE LOOK_DROPIN "/repository.conf"

/* Its words; what it says, in *said (may be NULL). */
static int systemctl(struct cmd *c, const char *verb, const char *const words[3], char **said,
                     struct rec_error *err)
{
    const char *argv[] = {rec_systemctl(),         verb,
                          words ? words[0] : NULL, words ? words[1] : NULL,
                          words ? words[2] : NULL, NULL};
    int status;
    char *output = NULL;
    if (!argv[0])
        return rec_fail(err, ENOENT, "there is no systemctl on this host");
    int r = rec_proc_run(c->arena, argv, 30000, &status, &output, err);
    if (said)
        *said = output;
    return r ? r : status ? rec_fail(err, EIO, "%s %s failed: %s", argv[0], verb, output) : 0;
}

static bool systemd(void)
{
    return !access("/run/systemd/system", F_OK);
}

/* A value of the environment file as systemd reads it: quoted where it is not plain. */
static void setting(struct cmd_out *o, const char *name, const char *value)
{
    bool plain = true;
    for (const char *p = value; *p; p++)
        plain &= strchr("\"'\\`$#; \t", *p) == NULL;
    cmd_printf(o, "%s=%s", name, plain ? "" : "\"");
    for (const char *p = value; *p; p++) {
        cmd_put(o, !plain && strchr("\"\\`$", *p) ? "\\" : "");
        cmd_putn(o, p, 1);
    }
    cmd_put(o, plain ? "\n" : "\"\n");
}

bool cmd_hook_env(const char *name, char *out, size_t room)
{
    static char line[2 * PATH_MAX];
    FILE *f = fopen(CMD_ENV_FILE, "re");
    size_t n = strlen(name);
    bool found = false;
    while (f && fgets(line, sizeof line, f)) {
        const char *p = line + n + 1, *end = strchr(line, '\n');
        if (!end || strncmp(line, name, n) || line[n] != '=')
            continue;
        char quote = *p == '"' || *p == '\'' ? *p++ : 0;
        size_t k = 0;
        for (; p < end && (!quote || *p != quote) && k + 1 < room; p++) {
            if (*p == '\\' && quote != '\'' && p + 1 < end && (!quote || strchr("\"\\`$", p[1])))
                p++;
            out[k++] = *p;
        }
        while (!quote && k && (out[k - 1] == ' ' || out[k - 1] == '\t'))
            k--;
        out[k] = 0;
        found = true;
    }
    if (f)
        fclose(f);
    return found;
}

/* What the drop-in has the path unit look at. A percent sign would be one of systemd's own. */
static void watch(struct cmd_out *o, const char *file)
{
    cmd_put(o, "[Path]\nPathChanged=");
    for (; *file; file++)
        cmd_put(o, *file == '%' ? "%%" : (char[]){*file, 0});
    cmd_put(o, "\n");
}

enum dropin { DROPIN_NONE, DROPIN_OURS, DROPIN_OTHER };

/* `other`: which file it names, if it is not ours. */
static enum dropin dropin_of(struct cmd *c, const char *file, char **other)
{
    struct rec_error ignored;
    struct cmd_out ours = {.fd = -1};
    char *text;
    size_t n;
    if (rec_file_read(c->arena, LOOK_DROPIN_FILE, 1 << 16, &text, &n, &ignored))
        return DROPIN_NONE;
    watch(&ours, file);
    bool same = n == ours.n && !memcmp(text, ours.text, n);
    cmd_out_done(&ours);
    char *path = strstr(text, "PathChanged="), *to;
    *other = path ? path + strlen("PathChanged=") : text;
    (*other)[strcspn(*other, "\n")] = 0;
    to = *other;
    for (char *p = *other; *p; p++)
        if ((*to++ = *p) == '%' && p[1] == '%')
            p++;
    *to = 0;
    return same || !strcmp(*other, file) ? DROPIN_OURS : DROPIN_OTHER;
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void look_file(const struct cmd_git_about *a, char out[1200])
{
    snprintf(out, 1200, "%s" CMD_LOOK_FILE, a->repo);
}

/* Somebody else's unit has it in view already: services.berth of a NixOS host, say. */
static bool watched(struct cmd *c, const char *file)
{
    static const char *const show[3] = {"-P", "Paths", "berth-look.path"};
    struct rec_error ignored;
    char *said = NULL, *other;
    if (!systemd() || dropin_of(c, file, &other) != DROPIN_NONE ||
        systemctl(c, "show", show, &said, &ignored) || !said)
        return false;
    size_t n = strlen(file);
    for (const char *p = said; (p = strstr(p, file)); p += n)
        if ((p == said || p[-1] == '\n') && !strncmp(p + n, " (PathChanged)", 14))
            return true;
    return false;
}

/* There is one of the units, one environment file: a host follows one repository. */
enum cmd_exit cmd_hook_may_listen(struct cmd *c, const struct cmd_git_about *a)
{
    char file[1200], git[PATH_MAX], *other;
    struct rec_error err;
    look_file(a, file);
    if (watched(c, file))
        return CMD_OK;
    bool named = cmd_hook_env("BERTH_GIT", git, sizeof git);
    if (named ? !same_folder(git, a->repo) : !access(CMD_ENV_FILE, F_OK)) {
        if (named)
            rec_fail(&err, EEXIST,
                     "this host follows '%s': " CMD_ENV_FILE " names it, and not '%s'", git,
                     a->repo);
        else
            rec_fail(&err, EEXIST,
                     CMD_ENV_FILE
                     " is there and names no repository, so a push would not be applied");
        rec_hint(&err, "if it is to follow this one, set BERTH_GIT and BERTH_SPEC there, or take "
                       "the file away");
        return cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
    }
    /* One whose repository is gone is in nobody's way. */
    if (dropin_of(c, file, &other) == DROPIN_OTHER && !access(other, F_OK)) {
        rec_fail(&err, EEXIST, "berth-look.path listens to '%s', another repository's", other);
        rec_hint(&err, "`berth hook uninstall` there first");
        return cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
    }
    return CMD_OK;
}

/* The environment file is root's, and stays as it is but for what pushes may not do: that is what
 * the hook was just told. */
static enum cmd_exit set_denials(struct cmd *c)
{
    struct cmd_out now = {.fd = -1};
    struct rec_error err;
    char *text, have[100] = "";
    const char *want = c->args.deny ? c->args.deny : "";
    size_t n;
    cmd_hook_env("BERTH_DENY", have, sizeof have);
    if (!strcmp(have, want)) {
        cmd_printf(cmd_hook_talk(c), "  %s is there and stays as it is\n", CMD_ENV_FILE);
        return CMD_OK;
    }
    int r = rec_file_read(c->arena, CMD_ENV_FILE, 1 << 16, &text, &n, &err);
    if (r)
        return cmd_fail(c, "berth.hook", cmd_exit_of_errno(-r), &err);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        if (strncmp(line, "BERTH_DENY=", 11) && (*line || rest)) {
            cmd_put(&now, line);
            cmd_put(&now, "\n");
        }
    if (*want)
        setting(&now, "BERTH_DENY", want);
    r = rec_file_write(CMD_ENV_FILE, now.text ? now.text : "", now.n, 0644, &err);
    cmd_out_done(&now);
    if (r)
        return cmd_fail(c, "berth.hook", cmd_exit_of_errno(err.code), &err);
    cmd_printf(cmd_hook_talk(c), "  %s: %s%s; all else there stays as it is\n", CMD_ENV_FILE,
               *want ? "BERTH_DENY=" : "BERTH_DENY is gone", want);
    return CMD_OK;
}

/* "  NAME           written: PATH, MORE" */
static void tell_written(struct cmd *c, const char *name, bool before, const char *path,
                         const char *more)
{
    struct cmd_out *o = cmd_hook_talk(c);
    cmd_printf(o, "  %-14s %s: ", name, before ? "was there" : "written");
    cmd_safe(o, path);
    cmd_printf(o, ", %s\n", more);
}

/* A push is applied from now on. At boot, and where the host drifts, other units apply. */
static void tell_units(struct cmd *c)
{
    static const struct {
        const char *unit, *without, *enable;
    } units[] = {
        {CMD_BOOT_UNIT, "after a reboot nothing is applied until the next push",
         "systemctl enable " CMD_BOOT_UNIT},
        {"berth.timer", "what differs later is not repaired until the next push",
         "systemctl enable --now berth.timer"},
    };
    struct cmd_out *o = cmd_hook_talk(c);
    for (size_t i = 0; systemd() && i < sizeof units / sizeof *units; i++) {
        if (cmd_unit_enabled(units[i].unit))
            continue;
        cmd_printf(o, "%s is not enabled: %s\n", units[i].unit, units[i].without);
        if (access("/etc/NIXOS", F_OK))
            cmd_printf(o, "  to enable it: %s\n", units[i].enable);
        else
            cmd_put(o, "  to enable it: services.berth in the configuration of this host\n");
    }
}

/* A user who pushes cannot apply: a unit of root's looks when that user says so, and the
 * environment file tells it at what. */
enum cmd_exit cmd_hook_listen(struct cmd *c, const struct cmd_git_about *a,
                              const struct cmd_hook_repo *r, const char *branch)
{
    char file[1200], spec[1400], uid[24];
    struct rec_error err;
    struct cmd_out text = {.fd = -1}, unit = {.fd = -1};
    look_file(a, file);
    bool before = owned_there(&r->git, CMD_LOOK_FILE);
    int made = owned_give(&r->git, CMD_LOOK_FILE, 0644);
    if (made)
        return cmd_hook_failed(c, "make", file, -made);
    tell_written(c, CMD_LOOK_FILE, before, file, "which a push by a user without root changes");
    if (watched(c, file)) {
        cmd_put(cmd_hook_talk(c), "  berth-look.path listens already\n");
        tell_units(c);
        return CMD_OK;
    }
    if ((size_t)snprintf(spec, sizeof spec, "refs/heads/%s:%s", branch, cmd_hook_path(c)) >=
        sizeof spec)
        return cmd_hook_failed(c, "name", cmd_hook_path(c), ENAMETOOLONG);
    snprintf(uid, sizeof uid, "%u", r->git.uid);
    cmd_put(&text, "# What the host is to be: berth.service (boot, timer) and berth-look.service "
                   "(a push) apply this.\n");
    setting(&text, "BERTH_GIT", a->repo);
    setting(&text, "BERTH_SPEC", spec);
    if (r->git.uid)
        setting(&text, "BERTH_GIT_OWNER", uid);
    if (c->args.host)
        setting(&text, "BERTH_HOST", c->args.host);
    watch(&unit, file);
    if (c->args.deny)
        setting(&text, "BERTH_DENY", c->args.deny);
    enum cmd_exit code = CMD_OK;
    if (!access(CMD_ENV_FILE, F_OK))
        code = set_denials(c);
    else if (rec_dir_make("/etc/berth", 0755, &err) ||
             rec_file_write(CMD_ENV_FILE, text.text, text.n, 0644, &err))
        code = cmd_fail(c, "berth.hook", cmd_exit_of_errno(err.code), &err);
    else
        tell_written(c, "berth.env", false, CMD_ENV_FILE,
                     "which names the repository and the spec");
    static const char *const enable[3] = {"--now", "berth-look.path"};
    if (code == CMD_OK && systemd()) {
        if (rec_dir_make(LOOK_DROPIN, 0755, &err) ||
            rec_file_write(LOOK_DROPIN_FILE, unit.text, unit.n, 0644, &err) ||
            systemctl(c, "daemon-reload", NULL, NULL, &err) ||
            systemctl(c, "enable", enable, NULL, &err))
            code = cmd_fail(c, "berth.hook", cmd_exit_of_errno(err.code), &err);
        else
            tell_written(c, "repository.conf", false, LOOK_DROPIN_FILE,
                         "which names that file to berth-look.path");
    }
    if (code == CMD_OK && systemd()) {
        cmd_put(cmd_hook_talk(c),
                "  berth-look.path listens: a push by a user without root is applied\n");
        tell_units(c);
    }
    cmd_out_done(&text);
    cmd_out_done(&unit);
    return code;
}

enum cmd_exit cmd_hook_forget(struct cmd *c, const struct cmd_git_about *a,
                              const struct cmd_hook_repo *r)
{
    static const char *const disable[3] = {"--now", "berth-look.path"};
    char file[1200], *other;
    struct rec_error err;
    look_file(a, file);
    if (geteuid() || !owned_there(&r->git, CMD_LOOK_FILE))
        return CMD_OK;
    bool ours = dropin_of(c, file, &other) == DROPIN_OURS;
    if (ours && systemd() && systemctl(c, "disable", disable, NULL, &err))
        cmd_tell(c, &err);
    if (ours) {
        unlink(LOOK_DROPIN_FILE);
        rmdir(LOOK_DROPIN);
    }
    if (ours && systemd() && systemctl(c, "daemon-reload", NULL, NULL, &err))
        cmd_tell(c, &err);
    int gone = owned_unlink(&r->git, CMD_LOOK_FILE);
    if (gone)
        return cmd_hook_failed(c, "remove", file, -gone);
    if (ours && systemd())
        cmd_put(cmd_hook_talk(c), "  berth-look.path no longer listens; " CMD_ENV_FILE
                                  " stays: the timer and the boot unit read it\n");
    return CMD_OK;
}
