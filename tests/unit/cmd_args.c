/* The command line: what each word means, and what is said of those that mean nothing. */
#include "cmd/cmd.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct cmd_args a;
static struct cmd_complaint why;

#define PARSE(...) parse(NULL, (char *[]){"berth", __VA_ARGS__, NULL})
static int parse(char *const *env, char **argv)
{
    static char *copy[32]; /* operands move within argv */
    int n = 0;
    for (; argv[n]; n++)
        copy[n] = argv[n];
    copy[n] = NULL;
    return cmd_args_parse(n, copy, env, &a, &why);
}

static void tables_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < cmd_n_verbs; i++) {
        const struct cmd_verb *v = &cmd_verbs[i];
        assert_non_null(v->run);
        assert_ptr_equal(cmd_verb_find(v->name), v);
        assert_non_null(strstr(v->example, "berth "));
        for (size_t k = 0; k < cmd_n_flags; k++)
            for (size_t m = k + 1; m < cmd_n_flags; m++)
                if (cmd_flag_of(&cmd_flags[k], v) && cmd_flag_of(&cmd_flags[m], v)) {
                    assert_string_not_equal(cmd_flags[k].name, cmd_flags[m].name);
                    assert_true(!cmd_flags[k].letter || cmd_flags[k].letter != cmd_flags[m].letter);
                }
    }
    for (size_t k = 0; k < cmd_n_flags; k++)
        assert_true((cmd_flags[k].value != NULL) ==
                    (cmd_flags[k].type != CMD_SWITCH && cmd_flags[k].type != CMD_COUNT));
}

static void flags_are_read(void **state)
{
    (void)state;
    assert_int_equal(PARSE("plan", "s.yaml", "-e", "--json", "--host=h", "--allow-deletes", "7"),
                     0);
    assert_string_equal(a.verb->name, "plan");
    assert_string_equal(a.spec, "s.yaml");
    assert_string_equal(a.host, "h");
    assert_true(a.exit_code && a.json && !a.quiet);
    assert_int_equal(a.allow_deletes, 7);
    assert_int_equal(PARSE("apply", "-qvvHother", "--lock-timeout", "500ms", "-f", "-"), 0);
    assert_true(a.quiet);
    assert_int_equal(a.verbose, 2);
    assert_string_equal(a.host, "other");
    assert_string_equal(a.spec, "-");
    assert_int_equal(a.lock_timeout_ms, 500);
    assert_int_equal(PARSE("logs", "-f", "-n", "20", "web"), 0);
    assert_true(a.follow && !a.spec);
    assert_int_equal(a.lines, 20);
    assert_int_equal(PARSE("stop", "-f", "s", "a", "--", "-b"), 0);
    assert_int_equal(a.n_names, 2);
    assert_string_equal(a.names[0], "a");
    assert_string_equal(a.names[1], "-b");
    assert_int_equal(PARSE("--version"), 0);
    assert_string_equal(a.verb->name, "version");
    assert_int_equal(PARSE("--help"), 0);
    assert_null(a.verb);
    assert_int_equal(PARSE("run", "--help"), 0);
    assert_true(a.help);
}

static void a_commands_words_are_its_own(void **state)
{
    (void)state;
    assert_int_equal(PARSE("run", "-q", "web", "--", "ls", "-l", "--json"), 0);
    assert_true(a.quiet && !a.json);
    assert_string_equal(a.names[0], "web");
    assert_string_equal(a.command[0], "ls");
    assert_string_equal(a.command[2], "--json");
    assert_int_equal(PARSE("run", "web", "ls", "--", "x"), 0);
    assert_string_equal(a.command[1], "--");
    assert_int_equal(PARSE("run", "web"), -EINVAL);
    assert_non_null(strstr(why.text, "command"));
}

static void mistakes_are_named(void **state)
{
    (void)state;
    assert_int_equal(PARSE("plna"), -EINVAL);
    assert_non_null(strstr(why.hint, "berth plan"));
    assert_int_equal(PARSE("frobnicate"), -EINVAL);
    assert_non_null(strstr(why.hint, "berth help"));
    assert_int_equal(PARSE("plan", "--jsno"), -EINVAL);
    assert_non_null(strstr(why.hint, "--json"));
    assert_int_equal(PARSE("validate", "--adopt"), -EINVAL);
    assert_int_equal(PARSE("plan", "--json=yes"), -EINVAL);
    assert_int_equal(PARSE("plan", "--host"), -EINVAL);
    assert_int_equal(PARSE("plan", "--host="), -EINVAL);
    assert_int_equal(PARSE("plan", "-H"), -EINVAL);
    assert_int_equal(PARSE("plan", "-x"), -EINVAL);
    assert_int_equal(PARSE("plan", "a", "b"), -EINVAL);
    assert_int_equal(PARSE("plan", "a", "-f", "b"), -EINVAL);
    assert_int_equal(PARSE("plan", "--color", "red"), -EINVAL);
    assert_int_equal(PARSE("plan", "--allow-deletes", "-1"), -EINVAL);
    assert_int_equal(PARSE("plan", "--allow-deletes", "99999999999999999999"), -EINVAL);
    assert_int_equal(PARSE("stop"), -EINVAL);
    assert_int_equal(PARSE("version", "x"), -EINVAL);
    assert_int_equal(parse(NULL, (char *[]){"berth", NULL}), -EINVAL);
}

/* A suggestion is a typing error put right, or has the same meaning: a word with another meaning
 * gets the verb to use. */
static void words_of_other_tools(void **state)
{
    (void)state;
    static const char *const alias[][2] = {{"ps", "list"},  {"ls", "list"},   {"exec", "run"},
                                           {"sh", "login"}, {"diff", "plan"}, {"up", "apply"}};
    static const char *const typo[][2] = {
        {"aply", "apply"},      {"plna", "plan"}, {"stauts", "status"},  {"destory", "destroy"},
        {"restrat", "restart"}, {"lits", "list"}, {"valid", "validate"}, {"udpate", "update"}};
    static const char *const other[][2] = {{"down", "berth destroy"},   {"rm", "berth apply"},
                                           {"show", "berth status"},    {"history", "git log"},
                                           {"stats", "berth top"},      {"upgrade", "berth update"},
                                           {"reboot", "berth restart"}, {"shell", "berth login"}};
    static const char *const none[] = {"ship",       "st",   "re", "histogram", "upwards",
                                       "frobnicate", "post", "x",  "at"};
    for (size_t i = 0; i < sizeof alias / sizeof *alias; i++) {
        PARSE((char *)alias[i][0], "web", "true");
        assert_string_equal(a.verb->name, alias[i][1]);
    }
    for (size_t i = 0; i < sizeof typo / sizeof *typo; i++) {
        char want[64];
        snprintf(want, sizeof want, "did you mean `berth %s`?", typo[i][1]);
        assert_int_equal(PARSE((char *)typo[i][0]), -EINVAL);
        assert_string_equal(why.hint, want);
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        assert_int_equal(PARSE((char *)other[i][0]), -EINVAL);
        assert_null(a.verb);
        assert_non_null(strstr(why.hint, other[i][1]));
    }
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(PARSE((char *)none[i]), -EINVAL);
        assert_string_equal(why.hint, "`berth help` lists the verbs");
    }
    /* Every word is known once, and is no verb; its verb is there, and each hint names a
     * command. */
    for (size_t i = 0; i < cmd_n_words; i++) {
        for (size_t k = 0; k < cmd_n_verbs; k++)
            assert_string_not_equal(cmd_words[i].word, cmd_verbs[k].name);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(cmd_words[i].word, cmd_words[k].word);
        assert_true((cmd_words[i].alias != NULL) != (cmd_words[i].hint != NULL));
        assert_true(!cmd_words[i].alias || cmd_verb_find(cmd_words[i].alias));
    }
    /* Flags: of another verb, of another tool. */
    assert_int_equal(PARSE("apply", "--yes"), -EINVAL);
    assert_string_equal(why.hint, "--yes is a flag of: destroy");
    assert_int_equal(PARSE("apply", "--no-color"), -EINVAL);
    assert_non_null(strstr(why.hint, "--color never"));
    assert_int_equal(PARSE("apply", "--dry"), -EINVAL);
    assert_non_null(strstr(why.hint, "--dry-run"));
    assert_int_equal(PARSE("plan", "--jsn"), -EINVAL);
    assert_non_null(strstr(why.hint, "--json"));
    assert_int_equal(PARSE("plan", "--host-only"), -EINVAL);
    assert_non_null(strstr(why.hint, "lists them"));
    assert_int_equal(PARSE("exec", "-it", "web", "sh"), -EINVAL);
    assert_non_null(strstr(why.hint, "the terminal that berth has"));
    assert_int_equal(PARSE("ps", "-a"), -EINVAL);
    assert_non_null(strstr(why.hint, "stopped are listed, too"));
    assert_int_equal(PARSE("-f", "x.yaml", "plan"), -EINVAL);
    assert_non_null(strstr(why.hint, "behind the verb"));
}

static void the_environment_comes_second(void **state)
{
    (void)state;
    char *const env[] = {"BERTH_HOST=env",    "BERTH_JSON=1", "BERTH_QUIET=0",
                         "BERTH_COLOR=never", "BERTH_YES=1",  NULL};
    assert_int_equal(parse(env, (char *[]){"berth", "destroy", NULL}), 0);
    assert_string_equal(a.host, "env");
    assert_true(a.json && !a.quiet && !a.yes); /* what does harm is said each time */
    assert_int_equal(a.color, CMD_COLOR_NEVER);
    assert_int_equal(parse(env, (char *[]){"berth", "plan", "--host", "flag", NULL}), 0);
    assert_string_equal(a.host, "flag");
    char *const bad[] = {"BERTH_LOCK_TIMEOUT=soon", NULL};
    assert_int_equal(parse(bad, (char *[]){"berth", "plan", NULL}), -EINVAL);
    assert_non_null(strstr(why.text, "BERTH_LOCK_TIMEOUT"));
    /* Who pushes does not say what the hook does. */
    assert_int_equal(
        parse(env, (char *[]){"berth", "hook", "pre-receive", "--deny", "delete", NULL}), 0);
    assert_true(!a.host && !a.json);
    assert_int_equal(parse(bad, (char *[]){"berth", "hook", "post-receive", "--apply", NULL}), 0);
    assert_int_equal(parse(env, (char *[]){"berth", "hook", "install", NULL}), 0);
    assert_string_equal(a.host, "env");
}

static void times(void **state)
{
    (void)state;
    assert_int_equal(cmd_time_parse("30s"), 30000);
    assert_int_equal(cmd_time_parse("2"), 2000);
    assert_int_equal(cmd_time_parse("1h"), 3600000);
    assert_int_equal(cmd_time_parse("0"), 0);
    assert_int_equal(cmd_time_parse(""), -1);
    assert_int_equal(cmd_time_parse("5 s"), -1);
    assert_int_equal(cmd_time_parse("-5s"), -1);
    assert_int_equal(cmd_time_parse("99999999999999999999h"), -1);
}

static const char *name(void *arg, size_t i)
{
    return ((const char **)arg)[i];
}

static void the_nearest_name(void **state)
{
    (void)state;
    const char *names[] = {"container1", "container2", "db", "web", NULL};
    assert_string_equal(cmd_nearest("contaner2", name, names), "container2");
    assert_string_equal(cmd_nearest("wbe", name, names), "web");
    assert_string_equal(cmd_nearest("cont", name, names), "container1");
    assert_null(cmd_nearest("wxyz", name, names));
    assert_null(cmd_nearest("mailserver", name, names));
    assert_null(cmd_nearest("", name, names));
    char longest[200];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_null(cmd_nearest(longest, name, names));
}

static void exits(void **state)
{
    (void)state;
    static const struct {
        enum rec_outcome outcome;
        int code;
        const char *word;
    } rows[] = {
        {REC_IN_SYNC, 0, "in_sync"},          {REC_APPLIED, 0, "applied"},
        {REC_UNTOUCHED, 1, "failed"},         {REC_REFUSED, 4, "refused"},
        {REC_ROLLED_BACK, 5, "rolled_back"},  {REC_PARTIAL, 6, "partial"},
        {REC_UNSUPPORTED, 69, "unsupported"}, {REC_LOCKED, 75, "locked"},
        {REC_DENIED, 77, "denied"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(cmd_exit_of_outcome(rows[i].outcome), rows[i].code);
        assert_string_equal(cmd_outcome_name(rows[i].outcome, false), rows[i].word);
    }
    assert_string_equal(cmd_outcome_name(REC_IN_SYNC, true), "pending");
    assert_int_equal(cmd_exit_of_errno(EPERM), 77);
    assert_int_equal(cmd_exit_of_errno(EOPNOTSUPP), 69);
    assert_int_equal(cmd_exit_of_errno(EWOULDBLOCK), 75);
    assert_int_equal(cmd_exit_of_errno(ENOMEM), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_hold),
        cmocka_unit_test(flags_are_read),
        cmocka_unit_test(a_commands_words_are_its_own),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(words_of_other_tools),
        cmocka_unit_test(the_environment_comes_second),
        cmocka_unit_test(times),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
