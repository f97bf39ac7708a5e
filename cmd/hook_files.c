/* The scripts are made and taken away; what was there before is moved aside and put back, never
 * read or changed. */
#include "cmd/hook.h"
#include "cmd/owned_dir.h"
#include "cmd/policy.h"
#include "cmd/render/json.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void script(struct cmd *c, const struct cmd_hook_event *e, const char *branch,
                   const char *owner, const char *only, struct cmd_out *o)
{
    char exe[1024];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = 0;
    cmd_put(o, "#!/bin/sh\n" CMD_HOOK_MARK
               " made by `berth hook install`, taken away by `berth hook uninstall`.\nexec ");
    quoted(o, exe);
    cmd_printf(o, " hook %s --before \"${0%%/*}/" CMD_HOOK_BEFORE "/%s\"", e->name, e->name);
    option(o, "--spec", cmd_hook_path(c));
    option(o, "--branch", branch);
    option(o, "--deny", c->args.deny);
    option(o, "--host", c->args.host);
    option(o, "--git-owner", owner);
    option(o, "--only", only);
    cmd_printf(o, "%s -- \"$@\"\n", c->args.apply ? " --apply" : "");
}

/* What stands under the event's name; its text, until the next call. */
static enum state state_of(const struct owned_dir *hooks, const char *name, char **text)
{
    static char buffer[8192];
    *text = NULL;
    if (!owned_there(hooks, name))
        return NONE;
    ssize_t n = owned_read(hooks, name, buffer, sizeof buffer - 1);
    if (n < 0)
        return OTHER;
    buffer[n] = 0;
    *text = buffer;
    return strstr(buffer, "\n" CMD_HOOK_MARK) ? OURS : OTHER;
}

/* The repository that a hook of berth's serves, out of its text. false: any that calls it. */
static bool serves(const char *text, char out[1100])
{
    const char *p = strstr(text, " --only '");
    size_t n = 0;
    if (!p)
        return false;
    for (p += strlen(" --only '"); *p && n + 1 < 1100; p++) {
        if (*p == '\'' && strncmp(p, "'\\''", 4))
            break;
        p += *p == '\'' ? 3 : 0;
        out[n++] = *p;
    }
    out[n] = 0;
    return true;
}

/* It serves another repository, which is still there; *only: which. */
static bool serves_another(const char *text, const struct owned_dir *common, char only[1100])
{
    struct stat here, there;
    return serves(text, only) && !stat(only, &there) && !fstat(common->fd, &here) &&
           (here.st_dev != there.st_dev || here.st_ino != there.st_ino);
}

static bool wanted(const struct cmd *c, const struct cmd_git_about *a,
                   const struct cmd_hook_event *e)
{
    return (e->where & (*a->work ? CMD_HOOK_WORK : CMD_HOOK_BARE)) &&
           (!(e->where & CMD_HOOK_APPLY) || c->args.apply);
}

static void close_repo(struct cmd_hook_repo *r)
{
    owned_close(&r->git);
    owned_close(&r->common);
    owned_close(&r->work);
}

/* The reader named the directories; from here on they are held open, so nobody can put others in
 * their place. */
static int open_repo(const struct cmd *c, const struct cmd_git_about *a, struct cmd_hook_repo *out,
                     const char **path, struct rec_error *err)
{
    struct owned_trust may = {.n = 0}, lead = {.n = 0};
    struct cmd_hook_repo r = {{.fd = -1}, {.fd = -1}, {.fd = -1}, false};
    owned_trust_add(&lead, 0);
    owned_trust_add(&lead, geteuid());
    int code = cmd_git_owners(c->args.git_owner, &may, err);
    if (code)
        return code;
    *path = a->repo;
    code = owned_open(a->repo, &lead, &r.git);
    if (!code)
        code = owned_open(*path = *a->common ? a->common : a->repo, &lead, &r.common);
    if (!code && *a->work)
        code = owned_open(*path = a->work, &lead, &r.work);
    if (!code && (!owned_trusts(&may, r.git.uid) || !owned_trusts(&may, r.common.uid)))
        code = -EXDEV;
    if (!code && r.git.uid != r.common.uid && !owned_trusts(&lead, r.git.uid))
        code = -EXDEV;
    if (code) {
        close_repo(&r);
        return rec_fail(err, -code, "cannot open '%s': %s", *path,
                        code == -EXDEV ? "a user who may not own it has replaced it"
                                       : strerror(-code));
    }
    r.foreign = !geteuid() && (r.git.uid || r.common.uid);
    /* The repository's own settings name its work tree. */
    if (r.foreign && r.work.fd >= 0 && r.work.uid != r.git.uid)
        owned_close(&r.work);
    *out = r;
    return 0;
}

static enum cmd_exit ask(struct cmd *c, struct cmd_git_about *a, struct cmd_hook_repo *r)
{
    struct rec_error err;
    const char *path = "";
    enum cmd_exit code = cmd_git_about(c->args.git, c->args.git_owner, a, &err);
    if (code != CMD_OK)
        return cmd_fail(c, "berth.hook", code == CMD_BAD_SPEC ? CMD_USAGE : code, &err);
    int e = open_repo(c, a, r, &path, &err);
    return e ? cmd_fail(c, "berth.hook",
                        e == -EXDEV || e == -ELOOP ? CMD_REFUSED : cmd_exit_of_errno(-e), &err)
             : CMD_OK;
}

enum cmd_exit cmd_hook_failed(struct cmd *c, const char *what, const char *path, int code)
{
    struct rec_error err;
    rec_fail(&err, code, "cannot %s '%s': %s", what, path, strerror(code));
    return cmd_fail(c, "berth.hook", code == EACCES || code == EPERM ? CMD_DENIED : CMD_FAILED,
                    &err);
}

struct cmd_out *cmd_hook_talk(struct cmd *c)
{
    return c->args.json ? &c->err : &c->out;
}

/* The hooks folder, and in it the folder of the hooks that were there before. */
struct places {
    char path[1200];              /* of the folder, for messages */
    struct owned_dir hooks, kept; /* fd -1: not there */
};

static void old_name(const char *event, char out[64])
{
    snprintf(out, 64, "%s" CMD_HOOK_OLD, event);
}

static enum cmd_exit place_failed(struct cmd *c, const char *what, const struct places *p,
                                  const char *name, int code)
{
    char path[1300];
    snprintf(path, sizeof path, "%s%s%s", p->path, *name ? "/" : "", name);
    return cmd_hook_failed(c, what, path, code);
}

/* The rest of `path` below the directory `top`; NULL: it is not below. */
static const char *below(const char *path, const char *top)
{
    size_t n = strlen(top);
    while (n && top[n - 1] == '/')
        n--;
    if (!n || strncmp(path, top, n) || path[n] != '/')
        return NULL;
    path += n + strspn(path + n, "/");
    return *path ? path : NULL;
}

/* The part before the last name, and that name. Without "/" the first is "". */
static void split_last(const char *path, char parent[1200], const char **name)
{
    const char *slash = strrchr(path, '/');
    snprintf(parent, 1200, "%.*s", slash ? (int)(slash - path) : 0, path);
    if (slash == path)
        strcpy(parent, "/");
    *name = slash ? slash + 1 : path;
}

/* In a repository of another user: below its own directories alone. */
static int open_foreign(const struct cmd_hook_repo *r, const struct cmd_git_about *a,
                        const char *path, bool make, struct owned_dir *out)
{
    char parent[1200];
    const char *name, *rest = below(path, a->common);
    const struct owned_dir *top = &r->common;
    struct owned_dir up = {.fd = -1};
    int code = 0;
    if (!rest && r->work.fd >= 0) {
        rest = below(path, a->work);
        top = &r->work;
    }
    if (!rest)
        return -EXDEV;
    split_last(rest, parent, &name);
    if (make && *parent)
        code = owned_below(top, parent, &up);
    if (make && !code)
        code = owned_mkdir(*parent ? &up : top, name);
    owned_close(&up);
    return code ? code : owned_below(top, rest, out);
}

static int open_own(const char *path, bool make, struct owned_dir *out)
{
    char parent[1200];
    const char *name;
    struct owned_trust trust = {.n = 0};
    struct owned_dir up = {.fd = -1};
    owned_trust_add(&trust, 0);
    owned_trust_add(&trust, geteuid());
    split_last(path, parent, &name);
    int code = make ? owned_open(*parent ? parent : ".", &trust, &up) : 0;
    if (make && !code)
        code = owned_mkdir(&up, name);
    owned_close(&up);
    return code ? code : owned_open(path, &trust, out);
}

static enum cmd_exit refuse_folder(struct cmd *c, const struct cmd_hook_repo *r,
                                   const struct cmd_git_about *a, const char *path)
{
    struct rec_error err;
    rec_fail(&err, EXDEV,
             "cannot use the hooks folder '%s': it is not inside the repository '%s' of user %u, "
             "or a link leads to it",
             path, a->common, r->common.uid);
    if (*a->hooks_set)
        rec_hint(&err,
                 "for another user, root writes hooks only inside the repository; set it so:\ngit "
                 "-C '%s' config core.hooksPath '%s%shooks'",
                 a->repo, a->common, a->common[strlen(a->common) - 1] == '/' ? "" : "/");
    else
        rec_hint(&err, "put a plain folder in its place");
    return cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
}

static enum cmd_exit open_places(struct cmd *c, const struct cmd_hook_repo *r,
                                 const struct cmd_git_about *a, const char *dir, bool make,
                                 struct places *p)
{
    size_t n = strlen(dir);
    *p = (struct places){.hooks.fd = -1, .kept.fd = -1};
    if (n >= sizeof p->path)
        return cmd_hook_failed(c, "open", dir, ENAMETOOLONG);
    strcpy(p->path, dir);
    while (n > 1 && p->path[n - 1] == '/')
        p->path[--n] = 0;
    int code = r->foreign ? open_foreign(r, a, p->path, make, &p->hooks)
                          : open_own(p->path, make, &p->hooks);
    if (code == -ENOENT && !make)
        return CMD_OK;
    if (code == -EXDEV || code == -ELOOP || (code == -ENOTDIR && r->foreign))
        return refuse_folder(c, r, a, p->path);
    if (code)
        return place_failed(c, make ? "make" : "open", p, "", -code);
    code = owned_below(&p->hooks, CMD_HOOK_BEFORE, &p->kept);
    if (!code || code == -ENOENT)
        return CMD_OK;
    owned_close(&p->hooks);
    if (code != -EXDEV && code != -ELOOP && code != -ENOTDIR)
        return place_failed(c, "open", p, CMD_HOOK_BEFORE, -code);
    struct rec_error err;
    rec_fail(&err, -code,
             "cannot use '%s/" CMD_HOOK_BEFORE "': it is not a plain folder of the same user",
             p->path);
    rec_hint(&err, "look at it, and take it away: ls -ld '%s/" CMD_HOOK_BEFORE "'", p->path);
    return cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
}

static void close_places(struct places *p)
{
    owned_close(&p->hooks);
    owned_close(&p->kept);
}

/* Into the folder (`in`) or out of it, over what is there. A link that counts from where it stands
 * is made to count from there. 0 or -errno. */
static int move(const struct owned_dir *from, const char *name, const struct owned_dir *to,
                const char *new_name, bool in)
{
    char target[PATH_MAX], moved[PATH_MAX + 3];
    ssize_t n = owned_readlink(from, name, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    if (n < 0 || *target == '/' || (!in && strncmp(target, "../", 3)))
        return owned_rename(from, name, to, new_name);
    snprintf(moved, sizeof moved, "%s%s", in ? "../" : "", in ? target : target + 3);
    int r = in ? 0 : owned_unlink(to, new_name);
    r = r == -ENOENT ? 0 : r;
    r = r ? r : owned_symlink(to, new_name, moved);
    return r ? r : owned_unlink(from, name);
}

/* The folder of the hooks before, with a link to each helper that a hook may look for beside
 * itself. */
static int folder(struct places *p)
{
    char target[300];
    int r = p->kept.fd < 0 ? owned_mkdir(&p->hooks, CMD_HOOK_BEFORE) : 0;
    if (!r && p->kept.fd < 0)
        r = owned_below(&p->hooks, CMD_HOOK_BEFORE, &p->kept);
    DIR *d = r ? NULL : fdopendir(fcntl(p->hooks.fd, F_DUPFD_CLOEXEC, 3));
    if (d)
        rewinddir(d);
    for (const struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (*e->d_name == '.' || !strcmp(e->d_name, CMD_HOOK_BEFORE) || cmd_hook_find(e->d_name) ||
            (n > 7 && !strcmp(e->d_name + n - 7, ".sample")) || strstr(e->d_name, CMD_HOOK_OLD))
            continue;
        snprintf(target, sizeof target, "../%s", e->d_name);
        int made = owned_symlink(&p->kept, e->d_name, target);
        if (made && made != -EEXIST)
            break; /* a convenience */
    }
    if (d)
        closedir(d);
    return r;
}

/* Those links, and the folder once nothing is in it. */
static void unfolder(struct places *p)
{
    char target[300];
    DIR *d = p->kept.fd < 0 ? NULL : fdopendir(fcntl(p->kept.fd, F_DUPFD_CLOEXEC, 3));
    if (d)
        rewinddir(d);
    for (const struct dirent *e; d && (e = readdir(d));) {
        ssize_t n = cmd_hook_find(e->d_name)
                        ? -1
                        : owned_readlink(&p->kept, e->d_name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        if (n > 3 && !strncmp(target, "../", 3) && !strcmp(target + 3, e->d_name))
            owned_unlink(&p->kept, e->d_name);
    }
    if (d)
        closedir(d);
    owned_rmdir(&p->hooks, CMD_HOOK_BEFORE);
}

static enum cmd_exit install_one(struct cmd *c, const struct cmd_git_about *a,
                                 const struct cmd_hook_repo *repo, struct places *p,
                                 const struct cmd_hook_event *e, const char *branch,
                                 const char *owner)
{
    char *have, old[64], only[1100];
    struct cmd_out text = {.fd = -1};
    struct rec_error err;
    enum cmd_exit code = CMD_OK;
    int r = 0;
    old_name(e->name, old);
    script(c, e, branch, owner, *a->common ? a->common : a->repo, &text);
    enum state s = state_of(&p->hooks, e->name, &have);
    /* What is to be kept, and is not yet where it is kept now. */
    const char *from = s == OTHER ? e->name : owned_there(&p->hooks, old) ? old : NULL;
    bool kept = owned_there(&p->kept, e->name);
    if (s == OURS && !from && !strcmp(have, text.text)) {
        cmd_printf(cmd_hook_talk(c), "  %-14s is there already\n", e->name);
    } else if (s == OURS && serves_another(have, &repo->common, only)) {
        rec_fail(
            &err, EEXIST,
            "cannot write '%s/%s': it is the hook of the repository '%s', which shares this folder",
            p->path, e->name, only);
        rec_hint(&err,
                 "give this repository a hooks folder of its own:\ngit -C '%s' config "
                 "core.hooksPath '%s%shooks'",
                 a->repo, a->common, a->common[strlen(a->common) - 1] == '/' ? "" : "/");
        code = cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
    } else if ((from && kept) || (s == OTHER && owned_there(&p->hooks, old))) {
        rec_fail(&err, EEXIST, "'%s/%s' is not berth's, and '%s/%s%s' is there as well", p->path,
                 from, p->path, kept ? CMD_HOOK_BEFORE "/" : "", kept ? e->name : old);
        rec_hint(&err, "another program has replaced berth's hook: take one of the two away");
        code = cmd_fail(c, "berth.hook", CMD_REFUSED, &err);
    } else if (from && ((r = folder(p)) || (r = move(&p->hooks, from, &p->kept, e->name, true)))) {
        code = place_failed(c, "move aside", p, from, -r);
    } else if ((r = owned_write(&p->hooks, e->name, text.text, text.n, 0755))) {
        if (from)
            move(&p->kept, e->name, &p->hooks, from, false);
        code = place_failed(c, "write", p, e->name, -r);
    } else {
        cmd_printf(cmd_hook_talk(c), "  %-14s %s\n", e->name,
                   s == OTHER  ? "installed; the hook that was there runs first"
                   : s == OURS ? "renewed"
                               : "installed");
    }
    cmd_out_done(&text);
    return code;
}

/* The path from the repository's top, without parts that lead nowhere: hooks run there, and in a
 * bare repository there is no other place. "./x" counts from where the caller stands in the work
 * tree. 0, or -EINVAL. */
static int spec_path(const char *path, const char *work, char out[PATH_MAX], struct rec_error *err)
{
    char here[PATH_MAX] = "", whole[2 * PATH_MAX];
    size_t top = strlen(work), n = 0;
    if (*path == '/') {
        rec_fail(err, EINVAL, "--spec is a path in the repository, not '%s'", path);
        rec_hint(err, "from its top: net/berth.yaml");
        return -EINVAL;
    }
    bool inside = *path == '.' && top && getcwd(here, sizeof here - 1) &&
                  !strncmp(strcat(here, "/"), work, top);
    if ((size_t)snprintf(whole, sizeof whole, "%s%s", inside ? here + top : "", path) >=
        sizeof whole)
        return rec_fail(err, EINVAL, "--spec is too long");
    for (char *save = NULL, *part = strtok_r(whole, "/", &save); part;
         part = strtok_r(NULL, "/", &save)) {
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
    return n && path[strlen(path) - 1] != '/'
               ? 0
               : rec_fail(err, EINVAL, "--spec '%s' names no file", path);
}

static bool check_install(struct cmd *c, struct rec_error *err)
{
    uint32_t deny = 0;
    char bad[32];
    if (c->args.deny && !cmd_deny_parse(c->args.deny, &deny, bad)) {
        rec_fail(err, EINVAL, "--deny knows reload, restart, recreate and delete, not '%s'", bad);
        return false;
    }
    if (strpbrk(cmd_hook_path(c), "\n\r") ||
        (c->args.branch && strpbrk(c->args.branch, "\n\r: "))) {
        rec_fail(err, EINVAL, "a hook cannot hold such a path or branch");
        return false;
    }
    return true;
}

static enum cmd_exit write_policy(struct cmd *c)
{
    struct rec_error err = {0};
    bool made;
    if (cmd_policy_write_strict(&made, &err))
        return cmd_fail(c, "berth.hook", CMD_FAILED, &err);
    cmd_printf(cmd_hook_talk(c),
               "  policy         %s: " CMD_POLICY_FILE " says what a push may ask for\n",
               made ? "written" : "was there");
    return CMD_OK;
}

static enum cmd_exit install_all(struct cmd *c, const struct cmd_git_about *a,
                                 const struct cmd_hook_repo *r)
{
    struct places p;
    char owner[24] = "";
    if (c->args.branch && !strncmp(c->args.branch, "refs/heads/", 11))
        c->args.branch += 11;
    const char *branch = c->args.branch                        ? c->args.branch
                         : !strncmp(a->ref, "refs/heads/", 11) ? a->ref + 11
                                                               : "main";
    /* Who pushes is not always who owns the repository. */
    if (r->git.uid)
        snprintf(owner, sizeof owner, "%u", r->git.uid);
    bool listens = c->args.apply && !geteuid() && !*a->work;
    enum cmd_exit code = listens ? cmd_hook_may_listen(c, a) : CMD_OK;
    if (code == CMD_OK)
        code = open_places(c, r, a, a->hooks, true, &p);
    if (code != CMD_OK)
        return code;
    cmd_put(cmd_hook_talk(c), "Hooks in ");
    cmd_safe(cmd_hook_talk(c), a->hooks);
    cmd_put(cmd_hook_talk(c), *a->hooks_set ? " (core.hooksPath)\n" : "\n");
    for (size_t i = 0; code == CMD_OK && i < cmd_n_hook_events; i++)
        if (wanted(c, a, &cmd_hook_events[i]))
            code = install_one(c, a, r, &p, &cmd_hook_events[i], branch,
                               c->args.git_owner ? c->args.git_owner
                               : *owner          ? owner
                                                 : NULL);
    close_places(&p);
    /* A host that follows a repository already keeps the rights that it gave; a new one begins with
     * few. */
    char followed[1100];
    if (code == CMD_OK && c->args.apply && !geteuid() &&
        !cmd_hook_env("BERTH_GIT", followed, sizeof followed))
        code = write_policy(c);
    return code == CMD_OK && listens ? cmd_hook_listen(c, a, r, branch) : code;
}

int cmd_hook_install(struct cmd *c)
{
    static char path[PATH_MAX];
    struct cmd_git_about a = {0};
    struct cmd_hook_repo r;
    struct rec_error err;
    c->arena = c->arena ? c->arena : spec_arena_new();
    if (!check_install(c, &err))
        return cmd_fail(c, "berth.hook", CMD_USAGE, &err);
    enum cmd_exit code = ask(c, &a, &r);
    if (code != CMD_OK)
        return code;
    if (c->args.spec && spec_path(c->args.spec, a.work, path, &err)) {
        code = cmd_fail(c, "berth.hook", CMD_USAGE, &err);
    } else {
        c->args.spec = c->args.spec ? path : NULL;
        code = install_all(c, &a, &r);
    }
    close_repo(&r);
    return code == CMD_OK && c->args.json ? (enum cmd_exit)cmd_hook_status(c) : code;
}

/* Where hooks are, and with core.hooksPath set, where they were before: the folder in the
 * repository. "" : none. */
static void folders(const struct cmd_git_about *a, char out[2][1100])
{
    snprintf(out[0], sizeof out[0], "%s", a->hooks);
    snprintf(out[1], sizeof out[1], "%.1000s%shooks", a->common,
             *a->common && a->common[strlen(a->common) - 1] == '/' ? "" : "/");
    struct stat one, two;
    if (!*a->common || !strcmp(out[0], out[1]) ||
        (!stat(out[0], &one) && !stat(out[1], &two) && one.st_dev == two.st_dev &&
         one.st_ino == two.st_ino))
        *out[1] = 0;
}

/* Takes away berth's hook of that event, and puts back the one that was there. *n counts. */
static enum cmd_exit uninstall_one(struct cmd *c, const struct cmd_hook_repo *repo,
                                   struct places *p, const char *name, bool tell_where, size_t *n)
{
    char *text, old[64], only[1100];
    old_name(name, old);
    if (state_of(&p->hooks, name, &text) != OURS)
        return CMD_OK;
    if (serves_another(text, &repo->common, only)) {
        cmd_printf(cmd_hook_talk(c), "  %-14s stays: it is the hook of the repository ", name);
        cmd_safe(cmd_hook_talk(c), only);
        cmd_put(cmd_hook_talk(c), "\n");
        return CMD_OK;
    }
    bool kept = owned_there(&p->kept, name), kept_old = !kept && owned_there(&p->hooks, old);
    int r = kept       ? move(&p->kept, name, &p->hooks, name, false)
            : kept_old ? owned_rename(&p->hooks, old, &p->hooks, name)
                       : owned_unlink(&p->hooks, name);
    if (r)
        return place_failed(c, "remove", p, name, -r);
    cmd_printf(cmd_hook_talk(c), "  %-14s %s%s", name,
               kept || kept_old ? "removed; the hook that was there before is back" : "removed",
               tell_where ? ", in " : "\n");
    if (tell_where) {
        cmd_safe(cmd_hook_talk(c), p->path);
        cmd_put(cmd_hook_talk(c), "\n");
    }
    ++*n;
    return CMD_OK;
}

static enum cmd_exit uninstall_all(struct cmd *c, const struct cmd_git_about *a,
                                   const struct cmd_hook_repo *r, size_t *n)
{
    char dirs[2][1100];
    struct places p;
    enum cmd_exit code = CMD_OK;
    folders(a, dirs);
    for (size_t i = 0; code == CMD_OK && i < 2; i++) {
        if (!*dirs[i])
            continue;
        code = open_places(c, r, a, dirs[i], false, &p);
        if (code != CMD_OK)
            break;
        for (size_t k = 0; code == CMD_OK && k < cmd_n_hook_events; k++)
            code = uninstall_one(c, r, &p, cmd_hook_events[k].name, *dirs[1] != 0, n);
        if (code == CMD_OK)
            unfolder(&p);
        close_places(&p);
    }
    return code;
}

int cmd_hook_uninstall(struct cmd *c)
{
    struct cmd_git_about a = {0};
    struct cmd_hook_repo r;
    size_t n = 0;
    c->arena = c->arena ? c->arena : spec_arena_new();
    enum cmd_exit code = ask(c, &a, &r);
    if (code != CMD_OK)
        return code;
    code = uninstall_all(c, &a, &r, &n);
    if (code == CMD_OK && !n)
        cmd_put(cmd_hook_talk(c), "There is no hook of berth's here.\n");
    if (code == CMD_OK)
        code = cmd_hook_forget(c, &a, &r);
    close_repo(&r);
    return code == CMD_OK && c->args.json ? cmd_hook_status(c) : (int)code;
}

/* One hook, as a line and as data. */
static json_t *tell_one(struct cmd *c, const struct places *p, const struct cmd_hook_event *e,
                        bool if_none)
{
    char *text, old[64];
    struct stat st;
    old_name(e->name, old);
    enum state s = state_of(&p->hooks, e->name, &text);
    bool chained = s == OURS && (owned_there(&p->kept, e->name) || owned_there(&p->hooks, old));
    bool runs = !owned_stat(&p->hooks, e->name, &st) && (!S_ISREG(st.st_mode) || st.st_mode & 0111);
    /* What stands between the name of the hook before and its arguments. */
    char *options = s == OURS ? strstr(text, " --before \"") : NULL,
         *end = options ? strstr(options, " -- ") : NULL;
    if (end)
        *end = 0;
    options = end ? strchr(options + strlen(" --before \""), '"') : NULL;
    options = options ? options + 1 + (options[1] == ' ') : NULL;
    json_t *one = json_object();
    json_object_set_new(one, "event", json_string(e->name));
    json_object_set_new(one, "state",
                        json_string(s == OURS    ? "berth"
                                    : s == OTHER ? "other"
                                                 : "none"));
    json_object_set_new(one, "chained", json_boolean(chained));
    json_object_set_new(one, "executable", json_boolean(s != NONE && runs));
    json_object_set_new(one, "options", options ? cmd_json_text(options) : json_null());
    if (c->args.json || (s == NONE && !if_none))
        return one;
    cmd_printf(&c->out, "  %-14s %s", e->name,
               s == OURS    ? "berth's: "
               : s == OTHER ? "not berth's"
                            : "none");
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

static enum cmd_exit tell_all(struct cmd *c, const struct cmd_git_about *a,
                              const struct cmd_hook_repo *r, json_t *list, json_t *left)
{
    char dirs[2][1100], *text;
    struct places p, old = {.hooks.fd = -1, .kept.fd = -1};
    folders(a, dirs);
    enum cmd_exit code = open_places(c, r, a, a->hooks, false, &p);
    if (code == CMD_OK && *dirs[1])
        code = open_places(c, r, a, dirs[1], false, &old);
    if (code != CMD_OK)
        return code;
    tell_folder(c, "Hooks in ", a->hooks, *a->hooks_set ? " (core.hooksPath)\n" : "\n");
    for (size_t i = 0; i < cmd_n_hook_events; i++)
        json_array_append_new(
            list, tell_one(c, &p, &cmd_hook_events[i], wanted(c, a, &cmd_hook_events[i])));
    for (size_t i = 0; *dirs[1] && i < cmd_n_hook_events; i++) {
        if (state_of(&old.hooks, cmd_hook_events[i].name, &text) != OURS)
            continue;
        if (!json_array_size(left))
            tell_folder(c, "Left in ", dirs[1],
                        ", where git does not look since core.hooksPath is set; `berth hook "
                        "uninstall` takes them away:\n");
        json_array_append_new(left, tell_one(c, &old, &cmd_hook_events[i], false));
    }
    close_places(&p);
    close_places(&old);
    return code;
}

int cmd_hook_status(struct cmd *c)
{
    struct cmd_git_about a = {0};
    struct cmd_hook_repo r;
    enum cmd_exit code = ask(c, &a, &r);
    if (code != CMD_OK)
        return code;
    json_t *j = cmd_json_envelope("berth.hook", NULL, NULL, "told"), *list = json_array(),
           *left = json_array();
    json_object_set_new(j, "hooks_path", cmd_json_text(a.hooks));
    json_object_set_new(j, "core_hooks_path",
                        *a.hooks_set ? cmd_json_text(a.hooks_set) : json_null());
    code = tell_all(c, &a, &r, list, left);
    close_repo(&r);
    json_object_set_new(j, "events", list);
    json_object_set_new(j, "left", left);
    if (code == CMD_OK && c->args.json)
        cmd_json_emit(&c->out, j);
    else
        json_decref(j);
    return code;
}
