/* backup: the container stands still, its tree goes into a file without a name, that file is
 * read back, and only then has it a name. */
#include "cmd/archive.h"
#include "cmd/cmd.h"
#include "cmd/git.h"
#include "cmd/policy.h"
#include "cmd/progress.h"
#include "cmd/render/fragment.h"
#include "cmd/render/render.h"
#include "reconcile/backup.h"
#include "reconcile/files.h"
#include "reconcile/lock.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FORMAT "berth.backup"

struct backup {
    struct cmd *cmd;
    const struct spec_container *container;
    struct rec_root root;
    struct rec_frozen frozen;
    const char *system; /* store path; NULL: none */
    bool ran;           /* and was frozen */
    int lock, head, tree, closure, file;
    bool nameless;        /* the file has no name yet */
    char temporary[4200]; /* its name until it is proven; "": it has the user's */
    struct timespec began;
    long still_ms;
    struct cmd_archive_verdict verdict;
    uint64_t size;
};

static long since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

static int memory(const char *text, size_t n, struct rec_error *err)
{
    int fd = memfd_create("head", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET))
        return rec_fail(err, errno, "cannot keep what is to be said of the container: %s",
                        strerror(errno));
    return fd;
}

static int say(struct backup *b, struct rec_error *err)
{
    struct cmd *c = b->cmd;
    char made[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm))
        strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", &tm);
    const char *conf = b->system ? rec_conf_of(c->run, b->container->name) : NULL;
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "format", FORMAT,
                  "version", 2, "berth", BERTH_VERSION, "name", b->container->name, "host",
                  c->host->name, "runtime", rec_runtime(rec_runtime_of(c->run, b->container))->name,
                  "made", made, "spec", cmd_fragment(c->run, b->container), "system",
                  b->system ? json_string(b->system) : json_null(), "conf",
                  conf ? cmd_json_text(conf) : json_null(), "commit",
                  c->git ? json_string(c->git->commit) : json_null());
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS | JSON_ENSURE_ASCII) : NULL;
    json_decref(o);
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    b->head = memory(text, strlen(text), err);
    free(text);
    return b->head < 0 ? b->head : 0;
}

/* All that the system needs, as `nix-store --export` writes it, in a file without a name. */
static int export_closure(struct backup *b, struct rec_error *err)
{
    struct spec_arena *a = b->cmd->run->arena;
    const char *store = nixos_program("nix-store");
    if (!b->system)
        return rec_fail(err, EINVAL,
                        "container %s has no system yet: there is no closure to back up",
                        b->container->name);
    if (!store)
        return rec_fail(err, EOPNOTSUPP,
                        "cannot read the system's closure: there is no nix-store on this host");
    const char *query[] = {store, "--query", "--requisites", b->system, NULL};
    struct cmd_archive_call asked = {.argv = query, .fds = {-1, -1, -1, -1, -1, -1}};
    int r = cmd_archive_call(&asked, err);
    size_t n = 0, room = 3;
    for (size_t i = 0; !r && i < asked.len; i++)
        room += asked.answer[i] == '\n';
    const char **argv = r ? NULL : spec_arena_alloc(a, room * sizeof *argv);
    if (argv) {
        char *save = NULL;
        argv[n++] = store;
        argv[n++] = "--export";
        for (char *p = strtok_r(asked.answer, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
            argv[n++] = p;
        argv[n] = NULL;
        b->closure = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        struct cmd_archive_call export = {.argv = argv, .fds = {-1, b->closure, -1, -1, -1, -1}};
        r = b->closure < 0
                ? rec_fail(err, errno, "cannot make a file in '/var/tmp': %s", strerror(errno))
                : cmd_archive_call(&export, err);
        free(export.answer);
        free(export.said);
    }
    free(asked.answer);
    free(asked.said);
    return r;
}

/* The directory of `name`, as it was written. */
static void directory_of(const char *name, char *out, size_t size)
{
    const char *slash = strrchr(name, '/');
    snprintf(out, size, "%.*s", slash ? (int)(slash - name + 1) : 1, slash ? name : ".");
}

/* A file without a name, in the directory where it gets one: whatever ends berth, nothing is left.
 * Where the file system has no such files, a file with another name, which only SIGKILL or a power
 * cut leaves. */
static int open_file(struct backup *b, struct rec_error *err)
{
    const char *name = b->cmd->args.names[1], *slash = strrchr(name, '/');
    char dir[4200];
    struct stat st;
    if (!strcmp(name, "-")) {
        if (isatty(1))
            return rec_fail(err, EINVAL, "a backup is not for a terminal");
        b->file = fcntl(1, F_DUPFD_CLOEXEC, 3);
        return b->file < 0
                   ? rec_fail(err, errno, "cannot write to standard output: %s", strerror(errno))
                   : 0;
    }
    if (!stat(name, &st) && (!b->cmd->args.force || !S_ISREG(st.st_mode))) {
        rec_fail(err, EEXIST,
                 S_ISREG(st.st_mode) ? "'%s' is there already"
                                     : "'%s' is there already, and is no file",
                 name);
        if (S_ISREG(st.st_mode))
            rec_hint(err, "take another name, or replace it: --force");
        return -EEXIST;
    }
    directory_of(name, dir, sizeof dir);
    snprintf(b->temporary, sizeof b->temporary, "%.*s.%s.%d.berth-new",
             slash ? (int)(slash - name + 1) : 0, name, slash ? slash + 1 : name, (int)getpid());
    b->file = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    b->nameless = b->file >= 0;
    if (b->file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        b->file = open(b->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (b->file >= 0)
        return 0;
    int code = errno;
    b->temporary[0] = 0;
    return rec_fail(err, code, "cannot write '%s': %s", name, strerror(code));
}

/* The name that the user gave. Without --force it replaces nothing. */
static int name_file(struct backup *b)
{
    const char *name = b->cmd->args.names[1];
    bool force = b->cmd->args.force;
    char self[64];
    if (b->nameless) {
        snprintf(self, sizeof self, "/proc/self/fd/%d", b->file);
        if (linkat(AT_FDCWD, self, AT_FDCWD, force ? b->temporary : name, AT_SYMLINK_FOLLOW))
            return -errno;
        b->nameless = false;
        if (!force)
            return 0;
    }
    if (force)
        return rename(b->temporary, name) ? -errno : 0;
    if (!renameat2(AT_FDCWD, b->temporary, AT_FDCWD, name, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL)
        return -errno;
    /* A file system without that flag: a second name, which replaces nothing either. */
    return link(b->temporary, name) || unlink(b->temporary) ? -errno : 0;
}

static int write_archive(struct backup *b, struct rec_error *err)
{
    char path[1200];
    const char *argv[5] = {cmd_archive_program(path), "create"};
    size_t n = 2;
    if (b->tree >= 0)
        argv[n++] = "tree";
    if (b->closure >= 0)
        argv[n++] = "closure";
    struct cmd_archive_call call = {.argv = argv,
                                    .fds = {b->head, -1, -1, b->tree, b->file, b->closure}};
    int r = cmd_archive_call(&call, err);
    if (!r && call.said && *call.said) {
        cmd_put(&b->cmd->err, "  note: ");
        call.said[strcspn(call.said, "\n")] = 0;
        cmd_safe(&b->cmd->err, call.said);
        cmd_put(&b->cmd->err, "\n");
    }
    free(call.answer);
    free(call.said);
    return r;
}

/* As it will be read some day. */
static int prove(struct backup *b, struct rec_error *err)
{
    const char *name = b->cmd->args.names[1];
    char dir[4200];
    struct stat st;
    int r = cmd_archive_verify(b->file, UINT64_MAX, &b->verdict, err);
    if (r || fstat(b->file, &st))
        return r ? r : -EIO;
    b->size = (uint64_t)st.st_size;
    r = name_file(b);
    if (r)
        return rec_fail(err, -r, "cannot name the backup '%s': %s", name, strerror(-r));
    b->temporary[0] = 0;
    directory_of(name, dir, sizeof dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    return 0;
}

static int hold_still(struct backup *b, struct rec_error *err)
{
    int r = rec_root_freeze(b->cmd->run, b->container->name, &b->frozen, err);
    clock_gettime(CLOCK_MONOTONIC, &b->began);
    b->ran = b->frozen.guard > 0;
    return r;
}

static void let_go(struct backup *b)
{
    if (b->ran && b->frozen.guard > 0)
        b->still_ms = since(&b->began);
    rec_cgroup_thaw(&b->frozen);
}

static int make(struct backup *b, struct rec_error *err)
{
    struct cmd *c = b->cmd;
    enum spec_runtime runtime = rec_runtime_of(c->run, b->container);
    cmd_progress_say(c, "waiting for the lock");
    int r = rec_lock("backup", c->run->opt.lock_timeout_ms, &b->lock, err);
    if (!r)
        r = rec_root_of(c->run, b->container->name, runtime, b->container, &b->root, err);
    if (!r && runtime == SPEC_RT_NIXOS)
        b->system = rec_profile_of(c->run, b->container->name);
    if (!r)
        r = open_file(b, err);
    if (!r)
        r = say(b, err);
    if (!r && c->args.closure) {
        cmd_progress_say(c, "exporting the system's closure");
        r = export_closure(b, err);
    }
    if (!r && b->root.there) {
        r = rec_root_open(c->run, &b->root, &b->tree, err);
        if (!r)
            r = hold_still(b, err);
    }
    /* All files of the container are open, and it is frozen: other work need not wait for the
     * copying. */
    if (b->lock >= 0) {
        close(b->lock);
        b->lock = -1;
    }
    if (!r) {
        cmd_progress_say(c, "packing the files");
        r = write_archive(b, err);
    }
    if (!r && !rec_cgroup_was_still(&b->frozen)) {
        r = rec_fail(err, EBUSY,
                     "container '%s' did not stand still while it was copied: another command "
                     "stopped, started or thawed it",
                     b->container->name);
        rec_hint(err, "run the backup again");
    }
    let_go(b);
    if (!r && b->temporary[0]) {
        cmd_progress_say(c, "reading the backup back");
        r = prove(b, err);
    }
    cmd_progress_end();
    return r;
}

static void tell(struct backup *b)
{
    struct cmd *c = b->cmd;
    char size[24], bytes[24];
    cmd_render_bytes(b->size, size);
    cmd_render_bytes(b->verdict.bytes, bytes);
    if (c->args.json) {
        json_t *j = cmd_json_envelope(FORMAT, c->host->name, c->file.name, "written");
        json_object_set_new(j, "container", cmd_json_text(b->container->name));
        json_object_set_new(j, "backup", cmd_json_text(c->args.names[1]));
        json_object_set_new(j, "size", json_integer((json_int_t)b->size));
        json_object_set_new(j, "entries", json_integer((json_int_t)b->verdict.entries));
        json_object_set_new(j, "bytes", json_integer((json_int_t)b->verdict.bytes));
        json_object_set_new(j, "manifest", cmd_json_text(b->verdict.digest));
        json_object_set_new(j, "frozen_ms", b->ran ? json_integer(b->still_ms) : json_null());
        cmd_json_emit(&c->out, j);
        return;
    }
    if (c->args.quiet)
        return;
    cmd_printf(&c->out, "Backed up %s to ", b->container->name);
    cmd_safe(&c->out, c->args.names[1]);
    cmd_printf(&c->out, ": %llu entries, %s, in %s", (unsigned long long)b->verdict.entries, bytes,
               size);
    if (b->ran)
        cmd_printf(&c->out, "; it stood still for %ld.%ld s", b->still_ms / 1000,
                   b->still_ms % 1000 / 100);
    cmd_put(&c->out, "; read back and checked.\n");
    if (!b->root.there)
        cmd_put(&c->out,
                "  it has no files of its own: what the spec says of it is all there is\n");
    else if (b->system && !c->args.closure)
        cmd_put(&c->out, "  its system is in it by name only; with --closure a host that cannot "
                         "build it could restore it, too\n");
}

int cmd_backup(struct cmd *c)
{
    struct rec_error err = {0};
    struct backup b = {.cmd = c,
                       .lock = -1,
                       .head = -1,
                       .tree = -1,
                       .closure = -1,
                       .file = -1,
                       .frozen = {.hold = -1, .events = -1}};
    bool piped = !strcmp(c->args.names[1], "-");
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, FORMAT);
    if (code != CMD_OK)
        return code;
    for (size_t i = 0; i < c->host->n_containers && !b.container; i++)
        if (!strcmp(c->host->containers[i].name, c->args.names[0]))
            b.container = &c->host->containers[i];
    if (!b.container)
        return cmd_no_container(c, FORMAT, c->args.names[0]);
    code = cmd_open(c, &err);
    enum cmd_exit allowed = code == CMD_OK ? cmd_policy_enforce(c, FORMAT) : CMD_OK;
    if (allowed != CMD_OK)
        return allowed;
    if (code == CMD_OK && piped && c->args.json) {
        rec_fail(&err, EINVAL, "standard output cannot take both the backup and --json");
        code = CMD_USAGE;
    }
    if (code == CMD_OK && rec_facts_host(c->run, &err))
        code = cmd_exit_of_errno(err.code);
    if (code == CMD_OK && c->args.closure && rec_runtime_of(c->run, b.container) != SPEC_RT_NIXOS) {
        rec_fail(&err, EINVAL, "--closure is for NixOS containers, and %s is none",
                 b.container->name);
        code = CMD_USAGE;
    }
    if (code == CMD_OK) {
        cmd_archive_until(cmd_signals_stop());
        if (make(&b, &err))
            code = cmd_exit_of_errno(err.code);
        cmd_archive_until(-1);
        if (b.temporary[0] && !b.nameless)
            unlink(b.temporary);
        cmd_signals_stop_end();
    }
    if (code == CMD_OK && !piped)
        tell(&b);
    int fds[] = {b.lock, b.head, b.tree, b.closure, b.file};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(b.verdict.text);
    return cmd_signals_exit(code == CMD_OK ? code : cmd_fail(c, FORMAT, code, &err));
}
