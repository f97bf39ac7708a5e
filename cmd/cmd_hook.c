/* berth hook: its first word says what. */
#include "cmd/hook.h"
#include <errno.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(struct cmd *c);
} words[] = {{"install", cmd_hook_install},
             {"uninstall", cmd_hook_uninstall},
             {"status", cmd_hook_status},
             {"look", cmd_hook_look}};
enum { WORDS = sizeof words / sizeof *words };

static const char *word_name(void *arg, size_t i)
{
    (void)arg;
    return i < WORDS                       ? words[i].name
           : i < WORDS + cmd_n_hook_events ? cmd_hook_events[i - WORDS].name
                                           : NULL;
}

int cmd_hook(struct cmd *c)
{
    const char *word = c->args.names[0];
    struct rec_error err;
    const struct cmd_hook_event *e = cmd_hook_find(word);
    if (e) {
        c->args.json = false; /* git calls it, and whoever pushes reads it */
        return cmd_hook_call(c, e);
    }
    for (size_t i = 0; i < WORDS; i++)
        if (!strcmp(word, words[i].name)) {
            c->args.json &= words[i].run != cmd_hook_look;
            if (c->args.n_names == 1)
                return words[i].run(c);
            rec_fail(&err, EINVAL, "berth hook %s takes no argument, and '%s' is one", word,
                     c->args.names[1]);
            return cmd_fail(c, NULL, CMD_USAGE, &err);
        }
    const char *near = cmd_nearest(word, word_name, NULL);
    rec_fail(&err, EINVAL,
             "berth hook knows install, uninstall, status and git's events, not '%.64s'", word);
    if (near)
        rec_hint(&err, "did you mean `berth hook %s`?", near);
    return cmd_fail(c, NULL, CMD_USAGE, &err);
}
