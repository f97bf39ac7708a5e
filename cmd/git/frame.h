/* cmd/git/frame.h — what the git reader tells berth over a pipe: records of a name, a length and
 * bytes.
 * Form     "berth-git 1\n", then for each record "NAME LENGTH\n", LENGTH bytes and "\n", and last
 *          "end 0\n\n". What is cut off, too long or oddly named is refused as a whole: the reader
 *          may have been killed, or turned by the repository that it read.
 * Opens    nothing. */
#ifndef CMD_GIT_FRAME_H
#define CMD_GIT_FRAME_H
#include <stdbool.h>
#include <stddef.h>

enum { GIT_FRAME_NAME = 15, GIT_FRAME_RECORDS = 64 };

struct git_record {
    char name[GIT_FRAME_NAME + 1]; /* [a-z]+ */
    const char *bytes;             /* in the frame's text */
    size_t len;
};
struct git_frame {
    struct git_record list[GIT_FRAME_RECORDS];
    size_t n;
};
/* 0, or -EINVAL: the frame is damaged. Points into `text`. */
int git_frame_parse(const char *text, size_t len, struct git_frame *out);
/* The first record of that name, or NULL. */
const struct git_record *git_frame_find(const struct git_frame *f, const char *name);
/* The record as a string without control characters, cut to room - 1 bytes; "" when there is
 * none. */
void git_frame_text(const struct git_frame *f, const char *name, char *out, size_t room);
#endif
