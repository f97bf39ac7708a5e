/* cmd/spec_file.h — the spec's bytes: where they are, and one reading of them that nobody has
 * changed half-way.
 * Owns     text, until cmd_spec_file_done.
 * Limits   one byte more than the limit is read at most, so that the spec's reader can say that
 *          it is too large. */
#ifndef CMD_SPEC_FILE_H
#define CMD_SPEC_FILE_H
#include "reconcile/error.h"
#include "spec/spec.h"

struct cmd_spec_file {
    const char *name; /* as the user wrote it; "<stdin>" */
    char *text;
    size_t len;
    char *dir;  /* absolute; NULL: standard input */
    char *path; /* absolute; NULL: standard input, or no file */
};
/* Which file: `given`, else $BERTH_SPEC, else ./berth.yaml, else /etc/berth/berth.yaml. NULL:
 * none of them is there. */
const char *cmd_spec_find(const char *given, const char *env);
/* 0; -ENOENT, -EACCES, -EISDIR, -EINVAL (a stream, or it changes while it is read), … with *err.
 * `name` "-": standard input. */
int cmd_spec_read(const char *name, size_t limit, struct cmd_spec_file *out, struct rec_error *err);
/* The same for ./berth.yaml, which nobody named. If the caller is root, the file and the directory
 * must belong to root or to the user who called sudo, and no other user may be able to change them:
 * else -EXDEV. */
int cmd_spec_read_here(size_t limit, struct cmd_spec_file *out, struct rec_error *err);
#define CMD_SPEC_HERE "berth.yaml"
void cmd_spec_file_done(struct cmd_spec_file *f);
#endif
