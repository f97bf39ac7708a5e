/* Records are hints for the way back, never truth about the kernel. */
#include "reconcile/record.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SYSCTL_FILE    REC_RUN_DIR "/sysctl"
#define PROTECTED_FILE REC_STATE_DIR "/protected"
#define BOOT_LINE      "boot" /* first line of REC_ADOPTED: the boot that the other lines are of */
#define APPLIED_FILE   REC_STATE_DIR "/applied"

/* The lines of `text`, which is cut up. */
static int split_lines(struct rec_run *run, char *text, size_t len, char ***out, size_t *n,
                       struct rec_error *err)
{
    size_t max = 0;
    *n = 0;
    for (size_t i = 0; i < len; i++)
        max += text[i] == '\n';
    char **list = spec_arena_alloc(run->arena, (max + 1) * sizeof *list), *save = NULL;
    if (!list)
        return rec_fail(err, ENOMEM, "out of memory");
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        list[(*n)++] = l;
    *out = list;
    return 0;
}

/* The lines of a file of ours: none when it is not there. */
static int lines(struct rec_run *run, const char *path, char ***out, size_t *n,
                 struct rec_error *err)
{
    char *text;
    size_t len;
    *n = 0;
    *out = NULL;
    int r = rec_file_read(run->arena, path, 1 << 20, &text, &len, err);
    if (r)
        return r == -ENOENT ? 0 : r;
    return split_lines(run, text, len, out, n, err);
}

static int read_pairs(struct rec_run *run, const char *path, struct rec_records *out,
                      struct rec_error *err)
{
    char **list;
    size_t n;
    out->n = 0;
    int r = lines(run, path, &list, &n, err);
    if (r)
        return r;
    out->list = spec_arena_alloc(run->arena, (n + 1) * sizeof *out->list);
    if (!out->list)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char *blank = strrchr(list[i], ' ');
        if (!blank)
            continue; /* a damaged line is a lost way back, no more */
        *blank = 0;
        out->list[out->n++] = (struct rec_record){list[i], blank + 1};
    }
    return 0;
}

static int write_pairs(struct rec_run *run, const char *dir, const char *path,
                       const struct rec_records *r, struct rec_error *err)
{
    if (!r->n)
        return rec_file_remove(path, err);
    size_t size = 1;
    for (size_t i = 0; i < r->n; i++)
        size += strlen(r->list[i].name) + strlen(r->list[i].value) + 2;
    char *text = spec_arena_alloc(run->arena, size), *p = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < r->n; i++) {
        p = stpcpy(p, r->list[i].name);
        *p++ = ' ';
        p = stpcpy(p, r->list[i].value);
        *p++ = '\n';
    }
    int rc = rec_dir_make(dir, 0700, err);
    return rc ? rc : rec_file_write(path, text, (size_t)(p - text), 0600, err);
}

int rec_records_read(struct rec_run *run, struct rec_records *out, struct rec_error *err)
{
    return read_pairs(run, SYSCTL_FILE, out, err);
}

int rec_records_write(struct rec_run *run, const struct rec_records *r, struct rec_error *err)
{
    return write_pairs(run, REC_RUN_DIR, SYSCTL_FILE, r, err);
}

int rec_adopted_read(struct rec_run *run, struct rec_records *out, struct rec_error *err)
{
    int r = read_pairs(run, REC_ADOPTED, out, err);
    if (r || !out->n)
        return r == -EACCES && !run->facts.root ? 0 : r;
    if (strcmp(out->list[0].name, BOOT_LINE))
        return 0;
    /* A reboot made new links. They have the settings of their owner, and berth has adopted none of
     * them. */
    out->n = strcmp(out->list[0].value, rec_proc_boot()) ? 0 : out->n - 1;
    memmove(out->list, out->list + 1, out->n * sizeof *out->list);
    return 0;
}

int rec_adopted_write(struct rec_run *run, const struct rec_records *r, struct rec_error *err)
{
    struct rec_records all = {0};
    if (r->n && rec_record_add(run, &all, BOOT_LINE, rec_proc_boot()))
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < r->n; i++)
        if (rec_record_add(run, &all, r->list[i].name, r->list[i].value))
            return rec_fail(err, ENOMEM, "out of memory");
    return write_pairs(run, REC_STATE_DIR, REC_ADOPTED, &all, err);
}

int rec_record_add(struct rec_run *run, struct rec_records *r, const char *name, const char *value)
{
    if (!name || !value)
        return -ENOMEM;
    if (rec_record_find(r, name))
        return 0;
    struct rec_record *list =
        spec_arena_grow(run->arena, r->list, r->n * sizeof *list, (r->n + 1) * sizeof *list);
    if (!list)
        return -ENOMEM;
    r->list = list;
    list[r->n++] = (struct rec_record){name, value};
    return 0;
}

bool rec_record_drop(struct rec_records *r, const char *prefix)
{
    size_t kept = 0, n = r->n;
    for (size_t i = 0; i < n; i++)
        if (strncmp(r->list[i].name, prefix, strlen(prefix)))
            r->list[kept++] = r->list[i];
    r->n = kept;
    return kept != n;
}

const char *rec_record_find(const struct rec_records *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->list[i].name, name))
            return r->list[i].value;
    return NULL;
}

/* What berth remembers of earlier runs, as it was when this run began. */
struct rec_memory {
    char *protects; /* text of the file; NULL: it is not there */
    size_t protects_len;
    char **names; /* its lines */
    size_t n_names;
    bool applied_known;
    struct rec_applied applied;
};

/* A name that cannot be one would protect nobody. */
static bool good_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] <= ' ' || name[i] == '/' || name[i] == 0x7f)
            return false;
    return n > 0 && n < 64;
}

static int damaged(struct rec_error *err, size_t line)
{
    rec_fail(err, EINVAL,
             "cannot read '" PROTECTED_FILE "': line %zu is not the name of a container", line);
    rec_hint(err, "it lists the containers that were protected, one a line; correct it, or if the "
                  "spec still has them: rm " PROTECTED_FILE);
    return -EINVAL;
}

static int read_protected(struct rec_run *run, struct rec_memory *m, struct rec_error *err)
{
    int r = rec_file_read(run->arena, PROTECTED_FILE, 1 << 20, &m->protects, &m->protects_len, err);
    if (r) {
        m->protects = NULL;
        if (r != -ENOENT)
            rec_hint(err, "it lists the containers that were protected; if the spec still has "
                          "them: rm -r " PROTECTED_FILE);
        return r == -ENOENT ? 0 : r;
    }
    if (memchr(m->protects, 0, m->protects_len))
        return damaged(err, 1);
    char *copy = spec_arena_strdup(run->arena, m->protects);
    r = copy ? split_lines(run, copy, m->protects_len, &m->names, &m->n_names, err)
             : rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; !r && i < m->n_names; i++)
        if (!good_name(m->names[i]))
            r = damaged(err, i + 1);
    return r;
}

static int remember(struct rec_run *run, struct rec_error *err)
{
    if (run->memory)
        return 0;
    struct rec_memory *m = spec_arena_alloc(run->arena, sizeof *m);
    if (!m)
        return rec_fail(err, ENOMEM, "out of memory");
    *m = (struct rec_memory){0};
    int r = read_protected(run, m, err);
    if (!r)
        run->memory = m;
    return r;
}

int rec_memory_read(struct rec_run *run, struct rec_error *err)
{
    int r = remember(run, err);
    if (!r && !run->memory->applied_known) {
        r = rec_applied_read(run, &run->memory->applied, err);
        run->memory->applied_known = !r;
    }
    return r;
}

int rec_protected_read(struct rec_run *run, char ***names, size_t *n, struct rec_error *err)
{
    int r = remember(run, err);
    *names = r ? NULL : run->memory->names;
    *n = r ? 0 : run->memory->n_names;
    return r;
}

int rec_protected_write(struct rec_run *run, const struct spec_host *host, struct rec_error *err)
{
    size_t size = 1;
    for (size_t i = 0; i < host->n_containers; i++)
        size += host->containers[i].protect ? strlen(host->containers[i].name) + 1 : 0;
    char *text = spec_arena_alloc(run->arena, size), *p = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < host->n_containers; i++)
        if (host->containers[i].protect) {
            p = stpcpy(p, host->containers[i].name);
            *p++ = '\n';
        }
    size_t len = (size_t)(p - text);
    int r = remember(run, err);
    if (r)
        return r;
    const struct rec_memory *m = run->memory;
    if (m->protects ? m->protects_len == len && !memcmp(m->protects, text, len) : !len)
        return 0;
    run->memory = NULL; /* it changes now */
    if (!len)
        return rec_file_remove(PROTECTED_FILE, err);
    r = rec_dir_make(REC_STATE_DIR, 0700, err);
    return r ? r : rec_file_write(PROTECTED_FILE, text, len, 0600, err);
}

int rec_applied_read(struct rec_run *run, struct rec_applied *out, struct rec_error *err)
{
    char **list;
    size_t n;
    *out = (struct rec_applied){0};
    int r = lines(run, APPLIED_FILE, &list, &n, err);
    for (size_t i = 0; !r && i < n; i++) {
        char *blank = strchr(list[i], ' ');
        if (!blank)
            continue;
        *blank++ = 0;
        if (!strcmp(list[i], "file"))
            out->file = blank;
        else if (!strcmp(list[i], "repo"))
            out->repo = blank;
        else if (!strcmp(list[i], "commit"))
            out->commit = blank;
        else if (!strcmp(list[i], "ref"))
            out->ref = blank;
        else if (!strcmp(list[i], "path"))
            out->path = blank;
        else if (!strcmp(list[i], "subject"))
            out->subject = blank;
        else if (!strcmp(list[i], "when"))
            out->when = strtoll(blank, NULL, 10);
    }
    if (!out->when) /* the last line is missing: the rest may be cut off, too */
        *out = (struct rec_applied){0};
    return r;
}

/* The absolute path of this run's spec, if it is a file, and has no line end in it. NULL also where
 * nothing of a spec is wanted. */
static const char *spec_file(const struct rec_run *run)
{
    const char *slash = strrchr(run->opt.spec_name ? run->opt.spec_name : "", '/');
    const char *name = slash ? slash + 1 : run->opt.spec_name, *dir = run->opt.spec_dir;
    if (!run->host || !dir || !name || !*name)
        return NULL;
    const char *path = spec_arena_printf(run->arena, "%s/%s", strcmp(dir, "/") ? dir : "", name);
    return path && !strchr(path, '\n') ? path : NULL;
}

/* Nothing depends on this record: that it cannot be written is no failure, as long as it does not
 * name another spec. */
static int write_file_record(struct rec_run *run, const struct rec_applied *before,
                             const char *file, struct rec_error *err)
{
    struct rec_error ignored;
    bool same = !before->commit && before->file && !strcmp(before->file, file);
    char *text =
        same ? NULL
             : spec_arena_printf(run->arena, "file %s\nwhen %lld\n", file, (long long)time(NULL));
    if (same)
        return 0;
    if (text && !rec_dir_make(REC_STATE_DIR, 0700, &ignored) &&
        !rec_file_write(APPLIED_FILE, text, strlen(text), 0600, &ignored))
        return 0;
    return before->commit || before->file ? rec_file_remove(APPLIED_FILE, err) : 0;
}

int rec_applied_write(struct rec_run *run, bool steps, struct rec_error *err)
{
    const struct rec_source *s = run->opt.source;
    struct rec_applied before;
    int r = 0;
    if (run->memory && run->memory->applied_known)
        before = run->memory->applied;
    else
        r = rec_applied_read(run, &before, err);
    run->memory = NULL;
    if (r)
        return r;
    const char *file = s ? NULL : spec_file(run);
    if (file)
        return write_file_record(run, &before, file, err);
    if (!s)
        return before.commit || before.file ? rec_file_remove(APPLIED_FILE, err) : 0;
    bool recorded = before.commit && before.ref && before.path &&
                    !strcmp(before.commit, s->commit) && !strcmp(before.ref, s->ref) &&
                    !strcmp(before.path, s->path);
    if (!steps && recorded)
        return 0;
    char *text = spec_arena_printf(
        run->arena, "commit %s\nref %s\npath %s\nsubject %s\nrepo %s\nwhen %lld\n", s->commit,
        s->ref, s->path, s->subject, s->repo, (long long)time(NULL));
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    r = rec_dir_make(REC_STATE_DIR, 0700, err);
    return r ? r : rec_file_write(APPLIED_FILE, text, strlen(text), 0600, err);
}
