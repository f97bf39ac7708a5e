/* cmd/archive.h — the programs that a backup needs: berth-archive, and nix-store for closures. Each
 * is a child with no descriptor but those it is given, an empty environment, and its answer in a
 * file in memory. */
#ifndef CMD_ARCHIVE_CALL_H
#define CMD_ARCHIVE_CALL_H
#include "reconcile/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CMD_ARCHIVE_FDS = 6 };
struct cmd_archive_call {
    const char *const *argv; /* [0]: an absolute path */
    /* what its 0, 3, 4 and 5 are; 1 where the answer goes elsewhere; -1: none */
    int fds[CMD_ARCHIVE_FDS];
    /* out: what it printed, to be freed; NULL with fds[1] given */
    char *answer;
    size_t len;
    char *said; /* out: what it printed on stderr, to be freed */
};
/* 0; or -errno with *err: its own sentence, where it had one. -ECANCELED: the descriptor of
 * cmd_archive_until became readable, and the program was ended. */
int cmd_archive_call(struct cmd_archive_call *c, struct rec_error *err);
/* Calls from now on end as soon as `fd` can be read; -1: they end by themselves. */
void cmd_archive_until(int fd);
/* Beside this program (a build tree), else where it is installed. */
const char *cmd_archive_program(char out[1200]);

/* What `verify` and `extract` tell. */
struct cmd_archive_verdict {
    char digest[65]; /* of the manifest */
    bool tree, closure;
    uint64_t entries, bytes;
    char *head; /* berth.json; in `text` */
    char *text; /* to be freed */
};
/* `most`: bytes of content that there is room for; an archive with more is refused. */
int cmd_archive_verify(int file, uint64_t most, struct cmd_archive_verdict *out,
                       struct rec_error *err);
int cmd_archive_extract(int file, int dir, int closure, uint64_t most,
                        struct cmd_archive_verdict *out, struct rec_error *err);
/* berth.json of an archive that was not checked yet; *out is to be freed. */
int cmd_archive_head(int file, char **out, struct rec_error *err);
#endif
