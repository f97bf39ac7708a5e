/* Variables of a container's command. Anyone on the host can read the arguments of a process and
 * the properties of a unit, so values go into a settings file of systemd-nspawn
 * (systemd.nspawn(5)) that root alone can read. */
#include "reconcile/files.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VALUE_MOST = 65536 };

const char *nspawn_env_path(struct spec_arena *a, const char *name)
{
    return spec_arena_printf(a, "/run/systemd/nspawn/%s.nspawn", name);
}

static int refuse_file(const struct spec_env *e, int code, const char *why, struct rec_error *err)
{
    int r = rec_fail(err, code, "cannot read '%.180s' for %.60s: %s", e->file, e->name, why);
    err->at = e->at;
    return r;
}

/* The file's text without its last line end. Nobody but root may be able to change it. */
static int read_value(struct rec_run *run, const struct spec_env *e, const char **out,
                      struct rec_error *err)
{
    struct stat st;
    char *text;
    size_t len;
    int r = rec_file_read(run->arena, e->file, VALUE_MOST, &text, &len, err);
    if (r) {
        err->at = e->at;
        return r;
    }
    if (lstat(e->file, &st) || st.st_uid || st.st_mode & 022) {
        refuse_file(e, EACCES, "it must belong to root, and nobody else may write to it", err);
        rec_hint(err, "chown root %.180s; chmod 600 %.180s", e->file, e->file);
        return -EACCES;
    }
    if (len && text[len - 1] == '\n')
        text[--len] = 0;
    if (strlen(text) != len)
        return refuse_file(e, EINVAL, "it has a NUL byte", err);
    if (strchr(text, '\n'))
        return refuse_file(e, EINVAL, "a variable holds one line; bind the file instead", err);
    *out = text;
    return 0;
}

/* In single quotes; one inside is written in double quotes. nspawn keeps every other byte as it
 * is. */
static char *put_quoted(char *p, const char *s)
{
    for (; *s; s++) {
        if (*s == '\'')
            p = stpcpy(p, "'\"'\"'");
        else
            *p++ = *s;
    }
    return p;
}

int nspawn_env_text(struct rec_run *run, const struct spec_container *c, struct spec_arena *a,
                    const char **out, struct rec_error *err)
{
    static const char head[] = "# made by berth\n[Exec]\n";
    size_t size = sizeof head;
    const char **values = spec_arena_alloc(a, (c->nspawn.n_environment + 1) * sizeof *values);
    *out = NULL;
    if (!values)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < c->nspawn.n_environment; i++) {
        const struct spec_env *e = &c->nspawn.environment[i];
        /* Without root, or offline, the path stands for what is in the file. */
        values[i] = e->file ? e->file : e->value;
        int r = e->file && run->facts.root && !run->opt.offline
                    ? read_value(run, e, &values[i], err)
                    : 0;
        if (r)
            return r;
        size += 5 * (strlen(e->name) + strlen(values[i])) + sizeof "Environment='='\n";
    }
    if (!c->nspawn.n_environment)
        return 0;
    char *text = spec_arena_alloc(a, size), *p = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    p = stpcpy(p, head);
    for (size_t i = 0; i < c->nspawn.n_environment; i++) {
        p = stpcpy(stpcpy(stpcpy(p, "Environment='"), c->nspawn.environment[i].name), "=");
        p = stpcpy(put_quoted(p, values[i]), "'\n");
    }
    *out = text;
    return 0;
}

int nspawn_env_read(struct rec_run *run, const char *name, char **out, size_t *out_len,
                    struct rec_error *err)
{
    enum { SETTINGS_MOST = 8 << 20 };
    static const char mark[] = "# made by berth\n", begins[] = "\nEnvironment='",
                      quote[] = "'\"'\"'";
    char *text;
    size_t len;
    *out = "";
    *out_len = 0;
    int r = rec_file_read(run->arena, nspawn_env_path(run->arena, name), SETTINGS_MOST, &text, &len,
                          err);
    if (r == -ENOENT)
        return 0;
    if (r || strncmp(text, mark, sizeof mark - 1))
        return r;
    char *to = *out = spec_arena_alloc(run->arena, len + 1);
    if (!to)
        return rec_fail(err, ENOMEM, "out of memory");
    for (const char *p = text; (p = strstr(p, begins));) {
        p += sizeof begins - 1;
        while (*p) {
            bool escaped = !strncmp(p, quote, sizeof quote - 1);
            if (*p == '\'' && !escaped)
                break;
            *to++ = *p;
            p += escaped ? sizeof quote - 1 : 1;
        }
        *to++ = 0;
    }
    *out_len = (size_t)(to - *out);
    return 0;
}

int nspawn_env_write(struct rec_run *run, const char *name, const char *text, struct rec_error *err)
{
    struct spec_arena *a = run->arena;
    const char *digest = nspawn_path(a, name, "env");
    if (!text) {
        int r = rec_file_remove(nspawn_env_path(a, name), err);
        return r ? r : rec_file_remove(digest, err);
    }
    const char *line = spec_arena_printf(a, "BERTH_ENV=%s\n", nspawn_digest(a, text));
    int r = rec_dir_make("/run/systemd/nspawn", 0755, err);
    if (!r)
        r = rec_dir_make(nspawn_path(a, name, ""), 0755, err);
    if (!r)
        r = rec_file_write(nspawn_env_path(a, name), text, strlen(text), 0600, err);
    return r ? r : rec_file_write(digest, line, strlen(line), 0600, err);
}
