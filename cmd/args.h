/* cmd/args.h — the command line: one table of verbs, one of flags. Dispatch, help, completion and
 * manual all come from them.
 * Borrows  argv and the environment, for as long as the arguments are used.
 * Order    flag, then BERTH_⟨FLAG⟩, then the default. */
#ifndef CMD_ARGS_H
#define CMD_ARGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cmd;

enum cmd_color { CMD_COLOR_AUTO, CMD_COLOR_ALWAYS, CMD_COLOR_NEVER };

struct cmd_args {
    const struct cmd_verb *verb;
    const char *spec; /* as given: argument or --file; NULL: by the usual rules */
    const char *host;
    const char *git;       /* --git: the repository of REV:path; NULL: the one around */
    const char *git_owner; /* who else may own it */
    const char *range;     /* plan --range A..B */
    const char *deny;      /* "restart,delete": such plans are refused */
    bool markdown, github;
    const char *branch, *before; /* hook */
    const char *only;            /* hook: the repository that it was installed for; NULL: any */
    const char *at;              /* apply: the commit that REV stands for; NULL: look */
    bool own_connection;         /* may be cut */
    bool no_eval, eval, all;
    const char *metrics; /* a file; NULL: none */
    bool apply;
    enum cmd_color color;
    bool json, quiet, huge, help;
    unsigned verbose;
    bool exit_code; /* plan, status -e */
    bool dry, adopt, boot, yes, files, follow, raw;
    bool man;           /* help --man: the tables as a manual's sections */
    long allow_deletes; /* -1: the default bound */
    long lock_timeout_ms, boot_wait_ms;
    long lines;                 /* -1: all */
    const char *write;          /* capture: into this file; NULL: to the terminal */
    long interval_ms;           /* top; -1: the default */
    long count;                 /* top: readings; -1: the default */
    bool force;                 /* backup, restore: over what is there */
    bool closure;               /* backup */
    const char *name, *address; /* restore: under this name, at this address; NULL: as it was */
    char **names;               /* NAME…, in argv */
    size_t n_names;
    char **command; /* run: CMD and its arguments, ends in NULL; in argv */
};

/* What follows a verb. */
enum cmd_operands {
    CMD_TAKES_NOTHING,
    CMD_TAKES_SPEC,       /* [SPEC] */
    CMD_TAKES_NAME,       /* NAME */
    CMD_TAKES_NAMES,      /* NAME… */
    CMD_TAKES_ANY_NAMES,  /* [NAME…] */
    CMD_TAKES_COMMAND,    /* NAME [--] CMD [ARG…] */
    CMD_TAKES_NAME_WORDS, /* NAME [--] [WORD…] */
    CMD_TAKES_NAME_FILE,  /* NAME FILE */
    CMD_TAKES_FILE,       /* FILE */
    CMD_TAKES_ANY_FILE,   /* [FILE] */
    CMD_TAKES_WORD,       /* [WORD] */
    CMD_TAKES_WORDS       /* WORD [ARG…] */
};

enum cmd_rights {
    /* what needs root is named as not known, or refused by who is asked */
    CMD_ANYBODY,
    CMD_ROOT,
    CMD_ROOT_TO_CHANGE /* with --dry-run it is for anybody */
};

struct cmd_verb {
    const char *name;
    int (*run)(struct cmd *c);
    enum cmd_operands operands;
    const char *synopsis; /* "[SPEC]" */
    const char *summary;  /* one line, no full stop */
    const char *text;     /* what a manual says more */
    const char *example;
    enum cmd_rights rights;
};
extern const struct cmd_verb cmd_verbs[];
extern const size_t cmd_n_verbs;
/* By name or alias. NULL: none. */
const struct cmd_verb *cmd_verb_find(const char *name);

/* Words of other tools. */
struct cmd_word {
    const char *word;
    const char *alias; /* the verb with the same meaning; NULL: there is none */
    const char *hint;  /* what to do instead; NULL with an alias */
};
extern const struct cmd_word cmd_words[];
extern const size_t cmd_n_words;
/* What to write in place of a word that is no verb, into `hint`: "`berth …`". */
void cmd_verb_hint(const char *word, char *hint, size_t room);

enum cmd_value { CMD_SWITCH, CMD_COUNT, CMD_TEXT, CMD_NUMBER, CMD_TIME, CMD_COLOUR };
struct cmd_flag {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* "NAME": takes one; NULL: none */
    enum cmd_value type;
    size_t offset;     /* in struct cmd_args */
    const char *verbs; /* "plan apply"; NULL: every verb */
    /* NULL: none, on purpose, where a forgotten variable could do harm */
    const char *env;
    bool hidden;
    const char *help;
};
extern const struct cmd_flag cmd_flags[];
extern const size_t cmd_n_flags;
bool cmd_flag_of(const struct cmd_flag *f, const struct cmd_verb *v);

/* What a shell offers for a flag's value, or after a verb. */
enum cmd_offer {
    CMD_OFFERS_NOTHING,
    CMD_OFFERS_WORDS,
    CMD_OFFERS_LIST,
    CMD_OFFERS_FILES,
    CMD_OFFERS_FOLDERS
};
struct cmd_offers {
    const char *name;     /* of the flag or the verb */
    enum cmd_offer offer; /* LIST: some of the words, with commas between */
    const char *words;    /* with blanks between; NULL: none */
};
/* Never NULL. */
const struct cmd_offers *cmd_flag_offers(const struct cmd_flag *f);
const struct cmd_offers *cmd_verb_offers(const struct cmd_verb *v);

struct cmd_complaint {
    char text[400]; /* a sentence; raw bytes of the user's may be in it */
    char hint[200];
};
/* 0, or -EINVAL with *why. *out is filled as far as it got; its verb, colour and json, which counts
 * wherever it stands, are for the complaint's form. json is false for a verb that knows no
 * --json, whatever BERTH_JSON says. */
int cmd_args_parse(int argc, char **argv, char *const *env, struct cmd_args *out,
                   struct cmd_complaint *why);
/* Sets the flag that has the variable `env`, if the verb takes it and no value is there. 0, or
 * -EINVAL with *why. */
int cmd_args_fill(struct cmd_args *a, const char *env, const char *value,
                  struct cmd_complaint *why);
/* "30s", "500ms", "2m", "1h", "30": milliseconds; -1: not a time. */
long cmd_time_parse(const char *text);

/* The name that `word` is a typing error of, or that it alone begins: one of those that `next`
 * gives (until NULL). NULL: none is near enough. */
const char *cmd_nearest(const char *word, const char *(*next)(void *arg, size_t i), void *arg);
#endif
