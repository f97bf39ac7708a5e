/* What is a revision and what a file; what the reader of a repository may say and what is
 * refused. */
#include "cmd/git.h"
#include "cmd/git/frame.h"
#include "cmd/range.h"
#include "reconcile/guard.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void a_revision_or_a_file(void **state)
{
    static const struct {
        const char *spec;
        int rev;
    } rows[] = {
        {"main:berth.yaml", 4},
        {"HEAD~2:a/b.yaml", 6},
        {":berth.yaml", 0},
        {"v1.0:./x", 4},
        {"refs/heads/main:x", 15},
        {"berth.yaml", -1},
        {"-", -1},
        {"", -1},
        {"main:", -1},
        {"/srv/a:b.yaml", -1},
        {"./main:berth.yaml", -1},
        {"../a:b", -1},
        {"a b:c d", 3},
        {"x:y:z", 1},
        {"main@{2030-01-01 10:00:00}:berth.yaml", 26},
        {"HEAD^{/fix: it}:x", 15},
        {"a{b:c", 3},
        {"@{0}:{a:b}", 4},
        {"a{:}b", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(cmd_git_split(rows[i].spec), rows[i].rev);
}

static int parse(const char *text, size_t len)
{
    struct git_frame f;
    return git_frame_parse(text, len, &f);
}

static void a_frame_is_whole_or_refused(void **state)
{
    static const char good[] = "berth-git 1\nblob 3\na\nb\nsubject 4\nx\x1by\xc3\nend 0\n\n";
    struct git_frame f;
    char out[16];
    (void)state;
    assert_int_equal(git_frame_parse(good, sizeof good - 1, &f), 0);
    assert_int_equal(f.n, 2);
    assert_int_equal(git_frame_find(&f, "blob")->len, 3);
    assert_memory_equal(git_frame_find(&f, "blob")->bytes, "a\nb", 3);
    assert_null(git_frame_find(&f, "ref"));
    git_frame_text(&f, "subject", out, sizeof out);
    assert_string_equal(out, "x y\xc3");
    git_frame_text(&f, "ref", out, sizeof out);
    assert_string_equal(out, "");
    for (size_t n = 0; n < sizeof good - 1; n++)
        assert_int_equal(parse(good, n), -EINVAL);
    static const char *const bad[] = {
        "",
        "berth-git 2\nend 0\n\n",
        "berth-git 1\nend 0\n\nmore",
        "berth-git 1\nend 1\nx\n",
        "berth-git 1\nblob 4\na\nb\nend 0\n\n",
        "berth-git 1\nblob 2\nabc\nend 0\n\n",
        "berth-git 1\nBLOB 1\na\nend 0\n\n",
        "berth-git 1\nblob -1\na\nend 0\n\n",
        "berth-git 1\nblob 99999999999999999999\na\nend 0\n\n",
        "berth-git 1\nblob 4294967295\na\nend 0\n\n",
        "berth-git 1\nblobblobblobblobblob 1\na\nend 0\n\n",
        "berth-git 1\nblob\na\nend 0\n\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(bad[i], strlen(bad[i])), -EINVAL);
}

static void a_frame_has_few_records(void **state)
{
    char text[4096] = "berth-git 1\n";
    (void)state;
    for (int i = 0; i < GIT_FRAME_RECORDS; i++)
        strcat(text, "a 1\nx\n");
    size_t n = strlen(text);
    strcpy(text + n, "end 0\n\n");
    assert_int_equal(parse(text, strlen(text)), 0);
    strcpy(text + n, "a 1\nx\nend 0\n\n");
    assert_int_equal(parse(text, strlen(text)), -EINVAL);
}

static void a_cut_text_ends_at_a_character(void **state)
{
    struct git_frame f = {.n = 1, .list = {{"s", "ab\xc3\xbc\xc3\xbc", 6}}};
    char out[6];
    (void)state;
    git_frame_text(&f, "s", out, sizeof out);
    assert_string_equal(out, "ab\xc3\xbc");
    git_frame_text(&f, "s", out, 4);
    assert_string_equal(out, "ab");
    git_frame_text(&f, "s", out, 1);
    assert_string_equal(out, "");
}

static void denials_are_words(void **state)
{
    uint32_t bits = 0;
    char bad[32];
    (void)state;
    assert_true(cmd_deny_parse("delete,restart", &bits, bad));
    assert_int_equal(bits, 1u << REC_DENY_DELETE | 1u << REC_DENY_RESTART);
    assert_true(cmd_deny_parse(" recreate ,", &bits, bad));
    assert_true(cmd_deny_parse("", &bits, bad));
    assert_true(cmd_deny_parse("delete , restart reload", &bits, bad));
    static const char *const empty[] = {"restart,,delete", ",delete", "restart, ,delete", ",",
                                        "delete,,"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        assert_false(cmd_deny_parse(empty[i], &bits, bad));
        assert_string_equal(bad, "");
    }
    assert_false(cmd_deny_parse("delete,remove", &bits, bad));
    assert_string_equal(bad, "remove");
    assert_null(rec_deny_name(REC_DENIES));
}

static void a_ref_is_told_short(void **state)
{
    struct cmd_git g = {.ref = "refs/heads/a/b"};
    (void)state;
    assert_string_equal(cmd_git_short_ref(&g), "a/b");
    strcpy(g.ref, "refs/tags/v1");
    assert_string_equal(cmd_git_short_ref(&g), "v1");
    strcpy(g.ref, "refs/notes/x");
    assert_string_equal(cmd_git_short_ref(&g), "refs/notes/x");
    *g.ref = 0;
    assert_string_equal(cmd_git_short_ref(&g), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_revision_or_a_file),    cmocka_unit_test(a_frame_is_whole_or_refused),
        cmocka_unit_test(a_frame_has_few_records), cmocka_unit_test(a_cut_text_ends_at_a_character),
        cmocka_unit_test(denials_are_words),       cmocka_unit_test(a_ref_is_told_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
