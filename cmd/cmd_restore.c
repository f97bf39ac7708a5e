/* restore: all of the file is checked before anything is made, and all that was made before
 * anything is replaced. */
#include "cmd/archive.h"
#include "cmd/cmd.h"
#include "cmd/converge.h"
#include "cmd/policy.h"
#include "cmd/progress.h"
#include "cmd/render/fragment.h"
#include "cmd/render/render.h"
#include "reconcile/backup.h"
#include "reconcile/files.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FORMAT "berth.restore"

struct restore {
    struct cmd *cmd;
    struct spec_arena *arena;
    const char *file;
    int fd, staging, closure;
    char *said; /* berth.json, not yet checked */
    struct cmd_archive_verdict verdict;
    uint64_t room; /* bytes that are free where its files go */
    json_t *head;
    json_t *ports_left; /* that the printed lines leave to the original */
    char *name;
    const char *was; /* its name in the backup */
    enum spec_runtime runtime;
    const struct spec_container *container; /* the spec's; NULL: it has none of that name */
    struct rec_root root;
    bool ran, replaced, restarted, imported;
};

static const char *said(const struct restore *r, const char *key)
{
    return json_string_value(json_object_get(r->head, key));
}

static int bad(struct rec_error *err, const char *file, const char *why)
{
    return rec_fail(err, EINVAL, "cannot restore from '%s': %s", file, why);
}

static json_t *addresses(const struct spec_cidr *list, size_t n, bool with_prefix)
{
    json_t *j = json_array();
    for (size_t i = 0; i < n; i++) {
        char text[SPEC_ADDR_TEXT];
        if (list[i].addr.family)
            json_array_append_new(j,
                                  json_string(spec_addr_format(&list[i].addr, with_prefix, text)));
    }
    return j;
}

/* What of a host decides whether an address is free on it. */
static json_t *surroundings(const struct spec_host *h, const char *but)
{
    json_t *bridges = json_object(), *containers = json_object();
    for (size_t i = 0; i < h->n_bridges; i++)
        json_object_set_new(
            bridges, h->bridges[i].name,
            json_pack("{s:o}", "address",
                      addresses(h->bridges[i].addresses, h->bridges[i].n_addresses, true)));
    for (size_t i = 0; i < h->n_containers; i++)
        if (strcmp(h->containers[i].name, but))
            json_object_set_new(
                containers, h->containers[i].name,
                json_pack("{s:o}", "address", addresses(h->containers[i].address, 2, false)));
    return json_pack("{s:o, s:o}", "bridges", bridges, "containers", containers);
}

/* Whose it is; NULL: nobody's. */
static const struct spec_container *owner(const struct spec_host *h, const char *but,
                                          const struct spec_addr *a)
{
    char one[SPEC_ADDR_TEXT], other[SPEC_ADDR_TEXT];
    spec_addr_format(a, false, one);
    for (size_t i = 0; i < h->n_containers; i++) {
        const struct spec_addr *has = &h->containers[i].address[a->family == 6].addr;
        if (has->family && strcmp(h->containers[i].name, but) &&
            !strcmp(spec_addr_format(has, false, other), one))
            return &h->containers[i];
    }
    return NULL;
}

/* A name and an address are tried on the spec's own reader, as a container of that runtime; with
 * `h` beside all that the spec has there. */
static int fits(const struct spec_host *h, const char *name, const char *runtime,
                const char *address, struct rec_error *err)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_doc *doc;
    struct spec_diags diags = {0};
    struct spec_limits limits = {SPEC_BYTES_HUGE};
    json_t *host =
        h ? surroundings(h, name)
          : json_pack("{s:{s:s}, s:{}}", "bridge", "address", "10.0.0.1/24", "containers");
    json_t *c = json_pack("{s:s, s:s}", "address", address, "runtime", runtime);
    if (!strcmp(runtime, "nixos"))
        json_object_set_new(c, "nixos", json_pack("{s:s}", "system", "/nix/store/any"));
    json_object_set_new(json_object_get(host, "containers"), name, c);
    json_t *o = json_pack("{s:i, s:{s:o}}", "version", 1, "hosts", "localhost", host);
    char *text = o ? json_dumps(o, 0) : NULL;
    int r = a && text ? spec_load(a, text, strlen(text), &limits, &doc, &diags) : -ENOMEM;
    const struct spec_diag *d = NULL;
    for (size_t i = 0; r == -EINVAL && i < diags.n && !d; i++)
        d = diags.list[i].level == SPEC_ERROR ? &diags.list[i] : NULL;
    /* it is no line of anybody's */
    const char *why = d ? d->text : "the spec would not be valid", *place = strstr(why, " (1:");
    if (r == -ENOMEM)
        rec_fail(err, ENOMEM, "out of memory");
    else if (r)
        rec_fail(err, EINVAL, "'%s' cannot be %s: %.*s", h ? address : name,
                 h ? "its address" : "a container's name",
                 (int)(place ? (size_t)(place - why) : strlen(why)), why);
    if (d && d->hint && h)
        rec_hint(err, "%s", d->hint);
    free(text);
    json_decref(o);
    spec_arena_free(a);
    return r;
}

static int read_head(struct restore *r, struct rec_error *err)
{
    struct rec_error why;
    if (!cmd_archive_head(r->fd, &r->said, &why))
        return 0;
    if (why.code != ECANCELED)
        return bad(err, r->file, why.text);
    *err = why;
    return -ECANCELED;
}

static int understand(struct restore *r, struct rec_error *err)
{
    struct cmd_args *args = &r->cmd->args;
    json_error_t e;
    r->head = json_loads(r->said, JSON_REJECT_DUPLICATES, &e);
    json_t *version = json_object_get(r->head, "version");
    const char *format = said(r, "format"), *runtime = said(r, "runtime");
    if (!r->head || !format || strcmp(format, "berth.backup") || !runtime || !said(r, "name") ||
        !json_is_object(json_object_get(r->head, "spec")))
        return bad(err, r->file, "it does not say what it is a backup of");
    if (json_integer_value(version) != 1 && json_integer_value(version) != 2)
        return bad(err, r->file,
                   "it was written by a later berth, whose backups this one cannot read");
    for (r->runtime = SPEC_RT_NIXOS;
         r->runtime <= SPEC_RT_NETNS && strcmp(rec_runtime(r->runtime)->name, runtime);
         r->runtime++)
        ;
    if (r->runtime > SPEC_RT_NETNS)
        return bad(err, r->file, "it is of a runtime that this berth does not know");
    r->was = said(r, "name");
    r->name = strdup(args->name ? args->name : r->was);
    if (!r->name)
        return rec_fail(err, ENOMEM, "out of memory");
    const char *own = rec_runtime(r->runtime)->name;
    int k = fits(NULL, r->was, own, "10.0.0.2", err);
    if (!k)
        k = fits(NULL, r->name, own, "10.0.0.2", err);
    struct spec_addr address;
    char why[128];
    if (!k && args->address &&
        spec_addr_parse(args->address, strlen(args->address), &address, why)) {
        k = rec_fail(err, EINVAL, "--address: %s", why);
        args->address = NULL;
    }
    const struct spec_container *has =
        !k && args->address && r->cmd->host ? owner(r->cmd->host, r->name, &address) : NULL;
    if (has) {
        k = rec_fail(err, EINVAL, "'%s' cannot be its address: container %s has it", args->address,
                     has->name);
        err->at = has->at;
    }
    if (!k && args->address && r->cmd->host)
        k = fits(r->cmd->host, r->name, own, args->address, err);
    return k;
}

/* Bytes that are free where `path` is or would be. */
static uint64_t room_at(const char *path)
{
    char at[4200];
    struct statvfs fs;
    snprintf(at, sizeof at, "%s", path);
    while (statvfs(at, &fs)) {
        char *slash = strrchr(at, '/');
        if (!slash)
            return 0;
        slash[slash == at] = 0;
        if (slash == at && statvfs(at, &fs))
            return 0;
    }
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Where its tree goes, and how large it may be. */
static int locate(struct restore *r, struct rec_error *err)
{
    struct cmd *c = r->cmd;
    for (size_t i = 0; c->host && i < c->host->n_containers && !r->container; i++)
        if (!strcmp(c->host->containers[i].name, r->name))
            r->container = &c->host->containers[i];
    int k = rec_root_of(c->run, r->name, r->runtime, r->container, &r->root, err);
    r->room = room_at(r->root.path ? r->root.path : REC_STATE_DIR);
    /* A closure goes into a file of its own before nix takes it; together they may need both. */
    if (r->runtime == SPEC_RT_NIXOS)
        r->room += room_at("/var/tmp");
    return k;
}

/* The whole file, against its own manifest. What was believed of it before must be what it says. */
static int check(struct restore *r, struct rec_error *err)
{
    struct rec_error why;
    cmd_progress_say(r->cmd, "checking the backup");
    if (cmd_archive_verify(r->fd, r->room, &r->verdict, &why)) {
        if (why.code == ECANCELED)
            *err = why;
        else
            bad(err, r->file, why.text);
        return -err->code;
    }
    return strcmp(r->verdict.head, r->said) ? bad(err, r->file, "it was changed while it was read")
                                            : 0;
}

/* Does what is in the file go where the spec has that container? */
static enum cmd_exit place(struct restore *r, struct rec_error *err)
{
    struct cmd *c = r->cmd;
    const struct spec_container *s = r->container;
    if (s && rec_runtime_of(c->run, s) != r->runtime) {
        rec_fail(err, EPERM,
                 "the backup is of a container of runtime %s, and the spec gives %s runtime %s",
                 rec_runtime(r->runtime)->name, r->name,
                 rec_runtime(rec_runtime_of(c->run, s))->name);
        err->at = s->runtime_at.line ? s->runtime_at : s->at;
        rec_hint(err, "change the spec, or restore it under another name: --name");
        return CMD_REFUSED;
    }
    struct spec_addr given;
    char why[128], had[SPEC_ADDR_TEXT], asked[SPEC_ADDR_TEXT];
    if (s && c->args.address &&
        !spec_addr_parse(c->args.address, strlen(c->args.address), &given, why)) {
        const struct spec_addr *own = &s->address[given.family == 6].addr;
        spec_addr_format(&given, false, asked);
        if (!own->family || strcmp(spec_addr_format(own, false, had), asked)) {
            rec_fail(err, EPERM, "the spec gives container %s %s, and --address is %s", r->name,
                     own->family ? had : "no address of that family", asked);
            err->at = s->at;
            rec_hint(err, "change the spec, or restore it under another name: --name");
            return CMD_REFUSED;
        }
    }
    /* it outlives this run: to stop and to start are runs of their own */
    if (r->root.path) {
        r->root.path = spec_arena_strdup(r->arena, r->root.path);
        r->root.staging = spec_arena_strdup(r->arena, r->root.staging);
        if (!r->root.path || !r->root.staging) {
            rec_fail(err, ENOMEM, "out of memory");
            return CMD_FAILED;
        }
    }
    if (r->verdict.tree && !r->root.path) {
        rec_fail(err, EPERM, "the backup holds a root, and the spec gives container %s the host's",
                 r->name);
        err->at = s->nspawn.at.line ? s->nspawn.at : s->at;
        rec_hint(err, "write there: nspawn: {root: /var/lib/berth/roots/%s}", r->name);
        return CMD_REFUSED;
    }
    if (r->verdict.tree && r->root.there && !c->args.force) {
        rec_fail(err, EEXIST, "container %s has a root already: '%s'", r->name, r->root.path);
        rec_hint(err, "replace it (--force; back it up first), or restore beside it: --name");
        return CMD_REFUSED;
    }
    return CMD_OK;
}

static int import(struct restore *r, struct rec_error *err)
{
    const char *store = nixos_program("nix-store"), *system = said(r, "system");
    const char *argv[] = {store, "--import", NULL};
    struct cmd_archive_call call = {.argv = argv, .fds = {r->closure, -1, -1, -1, -1, -1}};
    if (!store || !system || strncmp(system, "/nix/store/", 11))
        return rec_fail(err, EOPNOTSUPP,
                        store
                            ? "the backup has a closure, and does not say of what"
                            : "the backup holds a NixOS system, and there is no nix on this host");
    cmd_progress_say(r->cmd, "importing the system's closure");
    int k = lseek(r->closure, 0, SEEK_SET) < 0 ? -errno : cmd_archive_call(&call, err);
    free(call.answer);
    free(call.said);
    if (!k)
        k = rec_system_keep(r->cmd->run, r->name, system, err);
    r->imported = !k;
    return k;
}

static int extract(struct restore *r, struct rec_error *err)
{
    struct cmd_archive_verdict again = {0};
    int k = 0;
    if (r->verdict.tree)
        k = rec_root_stage(r->cmd->run, &r->root, &r->staging, err);
    if (!k && r->verdict.closure) {
        r->closure = open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (r->closure < 0)
            k = rec_fail(err, errno, "cannot make a file in '/var/tmp': %s", strerror(errno));
    }
    cmd_progress_say(r->cmd, "unpacking the backup");
    if (!k && (r->verdict.tree || r->verdict.closure))
        k = cmd_archive_extract(r->fd, r->staging, r->closure, r->room, &again, err);
    if (!k && again.text && strcmp(again.digest, r->verdict.digest))
        k = bad(err, r->file, "it was changed while it was read");
    free(again.text);
    return k || !r->verdict.closure ? k : import(r, err);
}

/* With the lock held: nobody else looks at the tree while it changes. */
static int swap(struct restore *r, struct rec_error *err)
{
    cmd_progress_say(r->cmd, "waiting for the lock");
    int k = rec_run_lock(r->cmd->run, "restore", err);
    return k ? k : rec_root_swap(r->cmd->run, r->name, &r->root, r->container, err);
}

/* The cmd's names are what start and stop are about. */
static enum cmd_exit turn(struct restore *r, bool stop)
{
    struct cmd *c = r->cmd;
    char *names[] = {r->name, NULL}, **saved = c->args.names;
    bool json = c->args.json;
    struct cmd_out out = c->out;
    size_t n = c->args.n_names;
    c->args.names = names;
    c->args.n_names = 1;
    c->args.json = false;
    if (json) /* what stop and start would tell is no part of the one envelope */
        c->out = (struct cmd_out){.fd = -1};
    enum cmd_exit code =
        stop ? cmd_hold_converge(c, FORMAT, "restore", "Stopped:", CMD_HOLD_FOR_NOW,
                                 "it is being restored", true)
             : cmd_hold_converge(c, FORMAT, "restore", "Started:", CMD_LET_GO, NULL, true);
    if (json) {
        cmd_out_done(&c->out);
        c->out = out;
    }
    c->args.json = json;
    c->args.names = saved;
    c->args.n_names = n;
    return code;
}

static enum cmd_exit replace(struct restore *r, struct rec_error *err)
{
    struct rec_leader leader;
    enum cmd_exit code = CMD_OK;
    int k = rec_leader_find(r->cmd->run, r->name, &leader, err);
    if (!k) {
        r->ran = leader.pid > 0;
        close(leader.netns);
        if (leader.pidfd >= 0)
            close(leader.pidfd);
    }
    if (k && k != -ESRCH)
        return CMD_FAILED;
    *err = (struct rec_error){0};
    if (r->ran && !r->container) {
        rec_fail(err, EPERM,
                 "container %s runs, and is not in the spec: nobody could start it again", r->name);
        rec_hint(err, "stop it, or restore under another name: --name");
        return CMD_REFUSED;
    }
    if (r->ran)
        code = turn(r, true);
    if (code != CMD_OK) {
        rec_fail(err, EIO, "container %s cannot be stopped, and its root stays as it is", r->name);
        return code;
    }
    if (swap(r, err)) {
        if (r->ran)
            turn(r, false);
        return CMD_FAILED;
    }
    r->replaced = r->root.there;
    if (!r->ran)
        return CMD_OK;
    code = turn(r, false);
    r->restarted = code == CMD_OK;
    if (code == CMD_OK)
        return code;
    struct rec_error ignored;
    if (swap(r, &ignored) || turn(r, false) != CMD_OK) {
        rec_fail(err, EIO,
                 "container %s does not start from the backup, and not from its old root either; "
                 "the other one is at '%s'",
                 r->name, r->root.staging);
        return CMD_PARTIAL;
    }
    r->replaced = false;
    rec_fail(err, EIO,
             "container %s does not start from the backup; its old root is in place again",
             r->name);
    rec_hint(err, "its log: berth logs %s", r->name);
    return CMD_ROLLED_BACK;
}

/* The next address, in the bits behind the prefix; after the last one the first. */
static void next_address(struct spec_addr *a, unsigned prefix)
{
    unsigned bits = a->family == 4 ? 32 : 128, at = bits;
    while (at-- > prefix) {
        uint8_t bit = (uint8_t)(1u << (7 - at % 8));
        a->bytes[at / 8] ^= bit;
        if (a->bytes[at / 8] & bit)
            return;
    }
}

/* The subnet's own address and, for IPv4, its broadcast address belong to nobody. */
static bool is_edge(const struct spec_addr *a, unsigned prefix)
{
    unsigned bits = a->family == 4 ? 32 : 128, ones = 0;
    for (unsigned at = prefix; at < bits; at++)
        ones += a->bytes[at / 8] >> (7 - at % 8) & 1;
    return bits - prefix > 1 && (!ones || (a->family == 4 && ones == bits - prefix));
}

static bool is_taken(const struct spec_host *h, const struct spec_addr *a)
{
    for (size_t i = 0; h && i < h->n_bridges; i++)
        for (size_t k = 0; k < h->bridges[i].n_addresses; k++)
            if (spec_addr_equal(&h->bridges[i].addresses[k].addr, a))
                return true;
    for (size_t i = 0; h && i < h->n_containers; i++)
        for (size_t k = 0; k < 2; k++)
            if (h->containers[i].address[k].addr.family &&
                spec_addr_equal(&h->containers[i].address[k].addr, a))
                return true;
    return false;
}

/* A free neighbour of the address `text`; without a spec the next one. NULL: there is none. */
static json_t *free_address(const struct spec_host *h, const char *text)
{
    enum { TRIES = 65536, UNKNOWN4 = 24, UNKNOWN6 = 64 };
    struct spec_addr a;
    char why[128], out[SPEC_ADDR_TEXT];
    if (!text || spec_addr_parse(text, strcspn(text, "/"), &a, why))
        return NULL;
    unsigned prefix = a.family == 4 ? UNKNOWN4 : UNKNOWN6;
    for (size_t i = 0; h && i < h->n_bridges; i++) {
        const struct spec_cidr *near = spec_bridge_near(&h->bridges[i], &a);
        if (near)
            prefix = near->addr.prefix;
    }
    for (int tries = 0; tries < TRIES; tries++) {
        next_address(&a, prefix);
        if (!is_edge(&a, prefix) && !is_taken(h, &a))
            return json_string(spec_addr_format(&a, false, out));
    }
    return NULL;
}

/* Beside the container that was backed up: what two cannot have is another's, or stays away. */
static void part_from_original(struct restore *r, json_t *f)
{
    json_t *address = json_object_get(f, "address"), *one, *other;
    size_t i;
    json_object_del(f, "mac");
    r->ports_left = json_incref(json_object_get(f, "ports"));
    json_object_del(f, "ports");
    if (r->cmd->args.address)
        return;
    if (json_is_string(address)) {
        other = free_address(r->cmd->host, json_string_value(address));
        if (other)
            json_object_set_new(f, "address", other);
    }
    json_array_foreach(address, i, one)
    {
        other = free_address(r->cmd->host, json_string_value(one));
        if (other)
            json_array_set_new(address, i, other);
    }
}

/* What the spec would have to say here. */
static json_t *fragment(struct restore *r)
{
    json_t *f = json_deep_copy(json_object_get(r->head, "spec")), *map;
    if (r->cmd->args.address)
        json_object_set_new(f, "address", json_string(r->cmd->args.address));
    if (strcmp(r->name, r->was))
        part_from_original(r, f);
    map = json_object_get(f, "nspawn");
    if (r->runtime == SPEC_RT_NSPAWN && r->verdict.tree && r->root.path) {
        if (!json_is_object(map)) {
            json_object_set_new(f, "nspawn", json_object());
            map = json_object_get(f, "nspawn");
        }
        json_object_set_new(map, "root", json_string(r->root.path));
    }
    map = json_object_get(f, "nixos");
    if (r->runtime == SPEC_RT_NIXOS && r->imported && json_is_object(map)) {
        json_object_clear(map);
        json_object_set_new(map, "system", json_string(said(r, "system")));
    }
    return f;
}

static void tell_ports_left(struct restore *r)
{
    json_t *one;
    size_t i;
    if (!json_array_size(r->ports_left))
        return;
    cmd_printf(&r->cmd->out, "\n  Its ports stay with %s:", r->was);
    json_array_foreach(r->ports_left, i, one)
    {
        cmd_put(&r->cmd->out, i ? ", " : " ");
        cmd_safe(&r->cmd->out, json_string_value(one));
    }
    cmd_put(&r->cmd->out, "; give it others if it needs some\n");
}

static void tell(struct restore *r)
{
    struct cmd *c = r->cmd;
    char bytes[24];
    json_t *lines = r->container ? NULL : fragment(r);
    cmd_render_bytes(r->verdict.bytes, bytes);
    if (c->args.json) {
        json_t *j =
            cmd_json_envelope(FORMAT, c->host ? c->host->name : NULL, c->file.name, "restored");
        json_object_set_new(j, "container", cmd_json_text(r->name));
        json_object_set_new(j, "backup", cmd_json_text(r->file));
        json_object_set_new(j, "root", r->verdict.tree ? cmd_json_text(r->root.path) : json_null());
        json_object_set_new(j, "entries", json_integer((json_int_t)r->verdict.entries));
        json_object_set_new(j, "bytes", json_integer((json_int_t)r->verdict.bytes));
        json_object_set_new(j, "manifest", cmd_json_text(r->verdict.digest));
        json_object_set_new(j, "restarted", json_boolean(r->restarted));
        json_object_set(j, "spec_lines", lines ? lines : json_null());
        cmd_json_emit(&c->out, j);
    } else if (!c->args.quiet) {
        cmd_printf(&c->out, "Restored %s from ", r->name);
        cmd_safe(&c->out, r->file);
        if (r->verdict.tree)
            cmd_printf(&c->out, ": %llu entries, %s, at %s", (unsigned long long)r->verdict.entries,
                       bytes, r->root.path);
        cmd_put(&c->out, r->restarted ? "; started again.\n" : ".\n");
        if (strcmp(r->name, r->was) && r->verdict.tree)
            cmd_printf(&c->out, "  its machine-id and host keys are still those of %s\n", r->was);
        if (lines) {
            cmd_printf(&c->out, "  %s. Below `containers:` it would be:\n\n",
                       c->host ? "The spec does not have it yet" : "No spec was found");
            cmd_fragment_put(&c->out, r->name, lines);
            tell_ports_left(r);
            cmd_put(&c->out, "\n  Then: berth apply\n");
        } else if (!r->ran) {
            cmd_put(&c->out, "  To have it run: berth apply\n");
        }
    }
    json_decref(lines);
}

/* A pipe would keep us waiting for a writer. A descriptor, or -1 with *err. */
static int open_backup(const char *path, struct rec_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode))
        return fd;
    if (fd < 0)
        rec_fail(err, errno, "cannot read '%s': %s", path, strerror(errno));
    else
        rec_fail(err, EINVAL, "cannot restore from '%s': it is not a file", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

int cmd_restore(struct cmd *c)
{
    struct rec_error err = {0}, later;
    struct restore r = {.cmd = c,
                        .arena = spec_arena_new(),
                        .file = c->args.names[0],
                        .fd = -1,
                        .staging = -1,
                        .closure = -1};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_IF_FOUND, FORMAT);
    if (code != CMD_OK) {
        spec_arena_free(r.arena);
        return code;
    }
    code = cmd_open(c, &err);
    enum cmd_exit allowed = code == CMD_OK ? cmd_policy_enforce(c, FORMAT) : CMD_OK;
    if (allowed != CMD_OK) {
        spec_arena_free(r.arena);
        return allowed;
    }
    if (code == CMD_OK && !r.arena) {
        rec_fail(&err, ENOMEM, "out of memory");
        code = CMD_FAILED;
    }
    r.fd = code == CMD_OK ? open_backup(r.file, &err) : -1;
    if (code == CMD_OK && r.fd < 0)
        code = CMD_FAILED;
    /* Until the old tree is replaced a signal ends all this, and nothing stays behind. */
    cmd_archive_until(cmd_signals_stop());
    if (code == CMD_OK && read_head(&r, &err))
        code = CMD_FAILED;
    if (code == CMD_OK && (rec_facts_host(c->run, &err) || understand(&r, &err)))
        code = err.code == EINVAL && (c->args.name || c->args.address) ? CMD_USAGE : CMD_FAILED;
    if (code == CMD_OK && (locate(&r, &err) || check(&r, &err)))
        code = CMD_FAILED;
    if (code == CMD_OK)
        code = place(&r, &err);
    if (code == CMD_OK && extract(&r, &err))
        code = CMD_FAILED;
    cmd_archive_until(-1);
    cmd_signals_stop_end();
    if (code == CMD_OK && cmd_signals_seen()) {
        rec_fail(&err, ECANCELED, "stopped before anything was replaced");
        code = CMD_FAILED;
    }
    if (code == CMD_OK && r.verdict.tree)
        code = replace(&r, &err);
    if (code == CMD_OK)
        tell(&r);
    /* What is left beside the place: the old root, or one that shall not be. Not where it is all
     * that there is. */
    if (r.staging >= 0 && code != CMD_PARTIAL && rec_root_discard(&r.root, &later))
        cmd_tell(c, &later);
    int fds[] = {r.fd, r.staging, r.closure};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (code != CMD_OK && err.code)
        code = cmd_fail(c, FORMAT, code, &err);
    json_decref(r.ports_left);
    json_decref(r.head);
    free(r.name);
    free(r.said);
    free(r.verdict.text);
    spec_arena_free(r.arena);
    return cmd_signals_exit(code);
}
