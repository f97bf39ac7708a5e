/* The scripts are made and taken away; what was there before is moved aside and put back, never read or changed. */
#include "cmd/hook.h"
#include "cmd/render/json.h"
#include "reconcile/files.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum state { NONE, OURS, OTHER };

/* 'a'\''b': one word for a shell. */
static void quoted(struct cmd_out *o, const char *text)
{
    cmd_put(o, "'");
    for (; *text; text++)
        if (*text == '\'')
            cmd_put(o, "'\\''");
        else
            cmd_putn(o, text, 1);
    cmd_put(o, "'");
}

static void option(struct cmd_out *o, const char *flag, const char *value)
{
    if (!value)
        return;
    cmd_printf(o, " %s ", flag);
    quoted(o, value);
}

static void script(struct cmd *c, const struct cmd_hook_event *e, const char *branch, const char *owner, struct cmd_out *o)
{
    char exe[1024];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    cmd_put(o, "#!/bin/sh\n" CMD_HOOK_MARK " made by `berth hook install`, taken away by `berth hook uninstall`.\nexec ");
    quoted(o, exe);
    cmd_printf(o, " hook %s --before \"${0%%/*}/" CMD_HOOK_BEFORE "/%s\"", e->name, e->name);
    option(o, "--spec", cmd_hook_path(c));
    option(o, "--branch", branch);
    option(o, "--deny", c->args.deny);
    option(o, "--host", c->args.host);
    option(o, "--git-owner", owner);
    cmd_printf(o, "%s -- \"$@\"\n", c->args.apply ? " --apply" : "");
}

static enum state state_of(const char *path, char **text)
{
    static char buffer[8192];
    struct stat st;
    *text = NULL;
    if (lstat(path, &st))
        return NONE;
    int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return OTHER;
    buffer[n] = 0;
    *text = buffer;
    return strstr(buffer, "\n" CMD_HOOK_MARK) ? OURS : OTHER;
}

static bool wanted(const struct cmd *c, const struct cmd_git_about *a, const struct cmd_hook_event *e)
{
    return (e->where & (*a->work ? CMD_HOOK_WORK : CMD_HOOK_BARE)) && (!(e->where & CMD_HOOK_APPLY) || c->args.apply);
}

static enum cmd_exit ask(struct cmd *c, struct cmd_git_about *a)
{
    struct rec_error err;
    enum cmd_exit code = cmd_git_about(c->args.git, c->args.git_owner, a, &err);
    return code == CMD_OK ? code : cmd_fail(c, "berth.hook", code == CMD_BAD_SPEC ? CMD_USAGE : code, &err);
}

enum cmd_exit cmd_hook_failed(struct cmd *c, const char *what, const char *path, int code)
{
    struct rec_error err;
    rec_fail(&err, code, "cannot %s '%s': %s", what, path, strerror(code));
    return cmd_fail(c, "berth.hook", code == EACCES || code == EPERM ? CMD_DENIED : CMD_FAILED, &err);
}

struct cmd_out *cmd_hook_talk(struct cmd *c)
{
    return c->args.json ? &c->err : &c->out;
}

static bool there(const char *path)
{
    return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

struct places {
    char hook[1200], kept[1300], old[1300];     /* kept: the one that was there; old: where berth kept it once */
};

static void places_of(const char *dir, const char *event, struct places *p)
{
    snprintf(p->hook, sizeof p->hook, "%s/%s", dir, event);
    snprintf(p->kept, sizeof p->kept, "%s/" CMD_HOOK_BEFORE "/%s", dir, event);
    snprintf(p->old, sizeof p->old, "%s" CMD_HOOK_OLD, p->hook);
}

/* Into the folder (`in`) or out of it, over what is there. A link that counts from where it stands is made to count from there. 0 or -1 with errno. */
static int move(const char *from, const char *to, bool in)
{
    char target[PATH_MAX], moved[PATH_MAX + 3];
    ssize_t n = readlink(from, target, sizeof target - 1);
    if (n < 0 || *target == '/' || (!in && strncmp(target, "../", 3)))
        return rename(from, to);
    target[n] = 0;
    snprintf(moved, sizeof moved, "%s%s", in ? "../" : "", in ? target : target + 3);
    return (!in && unlink(to) && errno != ENOENT) || symlink(moved, to) || unlink(from) ? -1 : 0;
}

/* The folder, with a link to each helper that a hook may look for beside itself. */
static int folder(const char *hooks)
{
    char path[1300], link[PATH_MAX], target[300];
    snprintf(path, sizeof path, "%s/" CMD_HOOK_BEFORE, hooks);
    if (mkdir(path, 0755) && errno != EEXIST)
        return -1;
    DIR *d = opendir(hooks);
    for (const struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (*e->d_name == '.' || !strcmp(e->d_name, CMD_HOOK_BEFORE) || cmd_hook_find(e->d_name) ||
            (n > 7 && !strcmp(e->d_name + n - 7, ".sample")) || strstr(e->d_name, CMD_HOOK_OLD))
            continue;
        snprintf(link, sizeof link, "%s/%s", path, e->d_name);
        snprintf(target, sizeof target, "../%s", e->d_name);
        if (symlink(target, link) && errno != EEXIST)
            break;      /* a convenience */
    }
    if (d)
        closedir(d);
    return 0;
}

/* Those links, and the folder once nothing is in it. */
static void unfolder(const char *hooks)
{
    char path[PATH_MAX], link[PATH_MAX + 300], target[300];
    if ((size_t)snprintf(path, sizeof path, "%s/" CMD_HOOK_BEFORE, hooks) >= sizeof path)
        return;
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        snprintf(link, sizeof link, "%s/%s", path, e->d_name);
        ssize_t n = cmd_hook_find(e->d_name) ? -1 : readlink(link, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        if (n > 3 && !strncmp(target, "../", 3) && !strcmp(target + 3, e->d_name))
            unlink(link);
    }
    if (d)
        closedir(d);
    rmdir(path);
}

static enum cmd_exit install_one(struct cmd *c, const struct cmd_git_about *a, const struct cmd_hook_event *e, const char *branch,
                                 const char *owner)
{
    char *have;
    struct places p;
    struct cmd_out text = {.fd = -1};
    struct rec_error err;
    enum cmd_exit code = CMD_OK;
    places_of(a->hooks, e->name, &p);
    script(c, e, branch, owner, &text);
    enum state s = state_of(p.hook, &have);
    /* What is to be kept, and is not yet where it is kept now. */
    const char *from = s == OTHER ? p.hook : there(p.old) ? p.old : NULL;
    if (s == OURS && !from && !strcmp(have, text.text)) {
        cmd_printf(cmd_hook_talk(c), "  %-14s is there already\n", e->name);
    } else if ((from && there(p.kept)) || (s == OTHER && there(p.old))) {
        rec_fail(&err, EEXIST, "'%s' is not berth's, and '%s' is there as well", from, there(p.kept) ? p.kept : p.old);
        rec_hint(&err, "another program has replaced berth's hook: take one of the two away");
        code = cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
    } else if (from && (folder(a->hooks) || move(from, p.kept, true))) {
        code = cmd_hook_failed(c, "move aside", from, errno);
    } else if (rec_file_write(p.hook, text.text, text.n, 0755, &err)) {
        if (from)
            move(p.kept, from, false);
        code = cmd_fail(c, "berth.hook", cmd_exit_of_errno(err.code), &err);
    } else {
        cmd_printf(cmd_hook_talk(c), "  %-14s %s\n", e->name,
                   s == OTHER  ? "installed; the hook that was there runs first"
                   : s == OURS ? "renewed"
                               : "installed");
    }
    cmd_out_done(&text);
    return code;
}

/* The path from the repository's top, without parts that lead nowhere: hooks run there, and in a bare repository there is no other place.
 * "./x" counts from where the caller stands in the work tree. 0, or -EINVAL. */
static int spec_path(const char *path, const char *work, char out[PATH_MAX], struct rec_error *err)
{
    char here[PATH_MAX] = "", whole[2 * PATH_MAX];
    size_t top = strlen(work), n = 0;
    if (*path == '/') {
        rec_fail(err, EINVAL, "--spec is a path in the repository, not '%s'", path);
        rec_hint(err, "from its top: net/berth.yaml");
        return -EINVAL;
    }
    bool inside = *path == '.' && top && getcwd(here, sizeof here - 1) && !strncmp(strcat(here, "/"), work, top);
    if ((size_t)snprintf(whole, sizeof whole, "%s%s", inside ? here + top : "", path) >= sizeof whole)
        return rec_fail(err, EINVAL, "--spec is too long");
    for (char *save = NULL, *part = strtok_r(whole, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (!strcmp(part, "."))
            continue;
        if (!strcmp(part, "..")) {
            if (!n)
                return rec_fail(err, EINVAL, "--spec '%s' leads out of the repository", path);
            while (n && out[--n] != '/')
                ;
            continue;
        }
        size_t len = strlen(part);
        if (n + len + 2 > 1000)
            return rec_fail(err, EINVAL, "--spec is too long");
        n += (size_t)sprintf(out + n, "%s%s", n ? "/" : "", part);
    }
    out[n] = 0;
    return n && path[strlen(path) - 1] != '/' ? 0 : rec_fail(err, EINVAL, "--spec '%s' names no file", path);
}

int cmd_hook_install(struct cmd *c)
{
    static char path[PATH_MAX];
    struct cmd_git_about a = {0};
    struct rec_error err;
    uint32_t deny = 0;
    char bad[32];
    struct stat st;
    char owner[24] = "";
    c->arena = c->arena ? c->arena : spec_arena_new();
    if (c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(&err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return cmd_fail(c, "berth.hook", CMD_USAGE, &err);
    }
    if (strpbrk(cmd_hook_path(c), "\n\r") || (c->args.branch && strpbrk(c->args.branch, "\n\r: "))) {
        rec_fail(&err, EINVAL, "a hook cannot hold such a path or branch");
        return cmd_fail(c, "berth.hook", CMD_USAGE, &err);
    }
    enum cmd_exit code = ask(c, &a);
    if (code != CMD_OK)
        return code;
    if (c->args.spec && spec_path(c->args.spec, a.work, path, &err))
        return cmd_fail(c, "berth.hook", CMD_USAGE, &err);
    c->args.spec = c->args.spec ? path : NULL;
    const char *branch = c->args.branch ? c->args.branch : !strncmp(a.ref, "refs/heads/", 11) ? a.ref + 11 : "main";
    /* Who pushes is not always who owns the repository. */
    if (!stat(a.repo, &st) && st.st_uid)
        snprintf(owner, sizeof owner, "%u", st.st_uid);
    bool listens = c->args.apply && !geteuid() && !*a.work;
    if (listens && (code = cmd_hook_may_listen(c, &a)) != CMD_OK)
        return code;
    cmd_put(cmd_hook_talk(c), "Hooks in ");
    cmd_safe(cmd_hook_talk(c), a.hooks);
    cmd_put(cmd_hook_talk(c), *a.hooks_set ? " (core.hooksPath)\n" : "\n");
    if (mkdir(a.hooks, 0755) && errno != EEXIST)
        return cmd_hook_failed(c, "make", a.hooks, errno);
    for (size_t i = 0; code == CMD_OK && i < cmd_n_hook_events; i++)
        if (wanted(c, &a, &cmd_hook_events[i]))
            code = install_one(c, &a, &cmd_hook_events[i], branch, c->args.git_owner ? c->args.git_owner : *owner ? owner : NULL);
    if (code == CMD_OK && listens)
        code = cmd_hook_listen(c, &a, branch);
    return code == CMD_OK && c->args.json ? (enum cmd_exit)cmd_hook_status(c) : code;
}

/* Where hooks are, and with core.hooksPath set, where they were before: the folder in the repository. "" : none. */
static void folders(const struct cmd_git_about *a, char out[2][1100])
{
    snprintf(out[0], sizeof out[0], "%s", a->hooks);
    snprintf(out[1], sizeof out[1], "%.1000s%shooks", a->common, *a->common && a->common[strlen(a->common) - 1] == '/' ? "" : "/");
    struct stat one, two;
    if (!*a->common || !strcmp(out[0], out[1]) || (!stat(out[0], &one) && !stat(out[1], &two) && one.st_dev == two.st_dev && one.st_ino == two.st_ino))
        *out[1] = 0;
}

int cmd_hook_uninstall(struct cmd *c)
{
    struct cmd_git_about a = {0};
    char dirs[2][1100];
    c->arena = c->arena ? c->arena : spec_arena_new();
    enum cmd_exit code = ask(c, &a);
    size_t n = 0;
    if (code != CMD_OK)
        return code;
    folders(&a, dirs);
    for (size_t i = 0; i < 2 * cmd_n_hook_events; i++) {
        char *text;
        struct places p;
        const char *name = cmd_hook_events[i % cmd_n_hook_events].name, *dir = dirs[i / cmd_n_hook_events];
        places_of(dir, name, &p);
        if (!*dir || state_of(p.hook, &text) != OURS)
            continue;
        const char *kept = there(p.kept) ? p.kept : there(p.old) ? p.old : NULL;
        if (!kept ? unlink(p.hook) : kept == p.kept ? move(kept, p.hook, false) : rename(kept, p.hook))
            return cmd_hook_failed(c, "remove", p.hook, errno);
        cmd_printf(cmd_hook_talk(c), "  %-14s %s%s", name, kept ? "removed; the hook that was there before is back" : "removed", *dirs[1] ? ", in " : "\n");
        if (*dirs[1]) {
            cmd_safe(cmd_hook_talk(c), dir);
            cmd_put(cmd_hook_talk(c), "\n");
        }
        n++;
    }
    for (size_t i = 0; i < 2; i++)
        if (*dirs[i])
            unfolder(dirs[i]);
    if (!n)
        cmd_put(cmd_hook_talk(c), "There is no hook of berth's here.\n");
    code = cmd_hook_forget(c, &a);
    return code == CMD_OK && c->args.json ? cmd_hook_status(c) : (int)code;
}

/* One hook, as a line and as data. */
static json_t *tell_one(struct cmd *c, const char *dir, const struct cmd_hook_event *e, bool if_none)
{
    char *text;
    struct places p;
    places_of(dir, e->name, &p);
    enum state s = state_of(p.hook, &text);
    bool chained = s == OURS && (there(p.kept) || there(p.old)), runs = !access(p.hook, X_OK);
    /* What stands between the name of the hook before and its arguments. */
    char *options = s == OURS ? strstr(text, " --before \"") : NULL, *end = options ? strstr(options, " -- ") : NULL;
    if (end)
        *end = 0;
    options = end ? strchr(options + strlen(" --before \""), '"') : NULL;
    options = options ? options + 1 + (options[1] == ' ') : NULL;
    json_t *one = json_object();
    json_object_set_new(one, "event", json_string(e->name));
    json_object_set_new(one, "state", json_string(s == OURS ? "berth" : s == OTHER ? "other" : "none"));
    json_object_set_new(one, "chained", json_boolean(chained));
    json_object_set_new(one, "executable", json_boolean(s != NONE && runs));
    json_object_set_new(one, "options", options ? cmd_json_text(options) : json_null());
    if (c->args.json || (s == NONE && !if_none))
        return one;
    cmd_printf(&c->out, "  %-14s %s", e->name, s == OURS ? "berth's: " : s == OTHER ? "not berth's" : "none");
    if (options)
        cmd_safe(&c->out, options);
    cmd_put(&c->out, s != NONE && !runs ? "; not executable, so git does not run it" : "");
    cmd_put(&c->out, chained ? "; the hook that was there before runs first\n" : "\n");
    return one;
}

static void tell_folder(struct cmd *c, const char *said, const char *dir, const char *more)
{
    if (c->args.json)
        return;
    cmd_put(&c->out, said);
    cmd_safe(&c->out, dir);
    cmd_put(&c->out, more);
}

int cmd_hook_status(struct cmd *c)
{
    struct cmd_git_about a = {0};
    char dirs[2][1100], path[1200], *text;
    enum cmd_exit code = ask(c, &a);
    if (code != CMD_OK)
        return code;
    folders(&a, dirs);
    json_t *j = cmd_json_envelope("berth.hook", NULL, NULL, "told"), *list = json_array(), *left = json_array();
    json_object_set_new(j, "hooks_path", cmd_json_text(a.hooks));
    json_object_set_new(j, "core_hooks_path", *a.hooks_set ? cmd_json_text(a.hooks_set) : json_null());
    tell_folder(c, "Hooks in ", a.hooks, *a.hooks_set ? " (core.hooksPath)\n" : "\n");
    for (size_t i = 0; i < cmd_n_hook_events; i++)
        json_array_append_new(list, tell_one(c, a.hooks, &cmd_hook_events[i], wanted(c, &a, &cmd_hook_events[i])));
    for (size_t i = 0; *dirs[1] && i < cmd_n_hook_events; i++) {
        snprintf(path, sizeof path, "%s/%s", dirs[1], cmd_hook_events[i].name);
        if (state_of(path, &text) != OURS)
            continue;
        if (!json_array_size(left))
            tell_folder(c, "Left in ", dirs[1], ", where git does not look since core.hooksPath is set; `berth hook uninstall` takes them away:\n");
        json_array_append_new(left, tell_one(c, dirs[1], &cmd_hook_events[i], false));
    }
    json_object_set_new(j, "events", list);
    json_object_set_new(j, "left", left);
    if (c->args.json)
        cmd_json_emit(&c->out, j);
    else
        json_decref(j);
    return CMD_OK;
}
