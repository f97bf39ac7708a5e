/* The conf of a NixOS container: what is written, and what others' files mean to systemd. */
#include "rec_offline.h"
#include "reconcile/runtimes/nixos.h"
#include <errno.h>

static struct spec_arena *a;

static void the_canonical_form(void **state)
{
    struct nixos_conf c = {.bridge = "br-containers",
                           .gateway4 = "10.100.0.1",
                           .address4 = "10.100.0.10/24",
                           .mac = "02:00:00:00:00:01",
                           .flake = "/srv/flake",
                           .autostart = true};
    (void)state;
    assert_string_equal(nixos_conf_text(a, &c),
                        NIXOS_MARK "\nPRIVATE_NETWORK=1\nHOST_BRIDGE=br-containers\nHOST_PORT=\n"
                                   "HOST_ADDRESS=10.100.0.1\nLOCAL_ADDRESS=10.100.0.10/"
                                   "24\nLOCAL_MAC_ADDRESS=02:00:00:00:00:01\nAUTO_START=1\n"
                                   "FLAKE=/srv/flake\n");
    struct nixos_conf bare = {.bridge = "b", .address6 = "fd00::2/64", .gateway6 = "fd00::1"};
    assert_string_equal(nixos_conf_text(a, &bare), NIXOS_MARK
                        "\nPRIVATE_NETWORK=1\nHOST_BRIDGE=b\nHOST_PORT=\nHOST_ADDRESS6=fd00::1\n"
                        "LOCAL_ADDRESS6=fd00::2/64\nAUTO_START=0\n");
    assert_true(nixos_conf_ours(nixos_conf_text(a, &bare)));
}

static void as_systemd_reads_it(void **state)
{
    static const struct {
        const char *text, *value; /* of A */
    } rows[] = {
        {"A=1\n", "1"},     {"A=1", "1"},           {"A=1\nA=2\n", "2"}, /* the last one wins */
        {"  A=1  \n", "1"}, {"A=\"a b\"\n", "a b"}, {"A='x'\n", "x"},    {"A=\"\n", "\""},
        {"#A=1\n", NULL},   {";A=1\n", NULL},       {"AB=1\n", NULL},    {"A\n", NULL},
        {"A=\n", ""},       {"\r\nA=1\r\n", "1"},   {"B=A=1\n", NULL},   {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *v = nixos_conf_get(a, rows[i].text, "A");
        if (!rows[i].value)
            assert_null(v);
        else
            assert_string_equal(v, rows[i].value);
    }
}

static void whose_it_is(void **state)
{
    (void)state;
    assert_false(nixos_conf_ours(""));
    assert_false(nixos_conf_ours("PRIVATE_NETWORK=yes\n"));
    assert_false(nixos_conf_ours("X=1\n" NIXOS_MARK "\n"));
    assert_true(nixos_conf_ours(NIXOS_MARK "\nX=1\n"));
}

static void what_needs_no_quotes(void **state)
{
    static const char *const bad[] = {"a b", "a\"b",  "a'b", "a\\b", "a\nb",    "a;b",
                                      "a#b", "$HOME", "`x`", "a\tb", "\xc3\xbc"};
    (void)state;
    assert_true(nixos_conf_plain("git+file:///srv/x?rev=0123&dir=a/b"));
    assert_true(nixos_conf_plain("github:owner/repo/v1.2-3_4~5"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(nixos_conf_plain(bad[i]));
}

static void a_folder_stays_in_its_repository(void **state)
{
    static const struct {
        const char *path, *ref, *folder;
    } rows[] = {
        {"berth.yaml", ".", ""},
        {"berth.yaml", "./flakes", "flakes"},
        {"berth.yaml", "./flakes/../x/./y//", "x/y"},
        {"berth.yaml", "..", NULL},
        {"berth.yaml", "./a/../../a", NULL},
        {"deep/berth.yaml", "./.", "deep"},
        {"deep/berth.yaml", "..", ""},
        {"deep/berth.yaml", "../flakes", "flakes"},
        {"deep/berth.yaml", "../../flakes", NULL},
        {"deep/er/berth.yaml", "path:../x", "deep/x"},
        {"deep/er/berth.yaml", "./../../...", "..."},
        {"berth.yaml", "github:a/b", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *folder = nixos_folder(a, rows[i].path, rows[i].ref);
        if (!rows[i].folder)
            assert_null(folder);
        else
            assert_string_equal(folder, rows[i].folder);
    }
}

#define HOST                                                                                       \
    "version: 1\nhosts:\n  lab:\n    bridge: {name: br0, address: 10.0.0.1/24}\n    "              \
    "containers:\n      web: {address: 10.0.0.10, runtime: netns}\n"

static void without(struct rec_state *s, enum rec_kind_id kind)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i]->kind != kind)
            s->items[n++] = s->items[i];
    s->n = n;
}

/* A host has no namespace and no process of it: its unit and its system are all there is, or,
 * half gone, its system alone. */
static void a_stopped_one_that_goes_is_seen(void **state)
{
    struct rec_run *run = offline();
    struct rec_state have, want;
    (void)state;
    run->opt.offline = true;
    wanted(run,
           HOST "      db: {address: 10.0.0.20, runtime: nixos, nixos: {system: /nix/store/a}, "
                "state: stopped}\n",
           &have);
    wanted(run, HOST, &want);
    without(&have, REC_RUN);
    for (int half = 0; half < 2; half++) {
        struct rec_error e = {0};
        struct rec_plan *p = planned(run, &have, &want);
        assert_int_equal(p->deletes, 1);
        assert_int_equal(p->ours, 3);
        run->opt.deny = 0;
        assert_int_equal(rec_guard(run, p, &e), 0);
        run->opt.deny = 1u << REC_DENY_DELETE;
        assert_int_equal(rec_guard(run, p, &e), -EPERM);
        assert_string_equal(e.text, half ? "this plan deletes root db, which is denied"
                                         : "this plan deletes unit db, which is denied");
        without(&have, REC_UNIT);
    }
    rec_close(run);
}

static int setup(void **state)
{
    (void)state;
    return !(a = spec_arena_new());
}

static int teardown(void **state)
{
    (void)state;
    spec_arena_free(a);
    return 0;
}

static void a_path_for_nix(void **state)
{
    (void)state;
    assert_string_equal(nixos_path(a, "/srv/web.nix"), "/srv/web.nix");
    assert_string_equal(nixos_path(a, "/srv/a b"), "(/. + \"/srv/a b\")");
    assert_string_equal(nixos_path(a, "/${x}\"\\/"), "(/. + \"/\\${x}\\\"\\\\/\")");
    assert_string_equal(nixos_path(a, "/a//b"), "(/. + \"/a//b\")");
}

static void the_cause_of_what_nix_says(void **state)
{
    static const struct {
        const char *said, *cause;
    } rows[] = {
        {"error: attribute 'x' missing\n\n       at /f.nix:1:2:\n\n            1| x\n             "
         "| ^\n(use '--show-trace' to show detailed location information)\n",
         "error: attribute 'x' missing\nat /f.nix:1:2:\n     1| x\n      | ^"},
        /* A builder's, below another that only waited for it. */
        {"building '/nix/store/a.drv'...\nerror: builder for '/nix/store/a.drv' failed with exit "
         "code 3;\n       last 2 log lines:\n       > one\n       > error: two\n"
         "       For full logs, run 'nix log /nix/store/a.drv'.\nerror: 1 dependencies of "
         "derivation '/nix/store/b.drv' failed to build\n",
         "error: builder for '/nix/store/a.drv' failed with exit code 3;\nlast 2 log lines:\n> "
         "one\n> error: two\nFor full logs, run 'nix log /nix/store/a.drv'."},
        /* Traces first. */
        {"error:\n       … while evaluating the attribute 'a'\n         at /f.nix:1:2:\n           "
         " 1| a\n\n       … while calling 'b'\n\n       error: attribute 'c' missing\n"
         "       at /f.nix:3:4:\n            3| c\n       Did you mean d?\n",
         "error: attribute 'c' missing\nat /f.nix:3:4:\n     3| c\nDid you mean d?"},
        {"error: Cannot build '/nix/store/a.drv'.\n       Reason: builder failed with exit code "
         "1.\n       Last 1 log lines:\n       > no\n"
         "error: Cannot build '/nix/store/b.drv'.\n       Reason: 1 dependency failed.\nerror: "
         "Build failed due to failed dependency\n",
         "error: Cannot build '/nix/store/a.drv'.\nReason: builder failed with exit code 1.\nLast "
         "1 log lines:\n> no"},
        /* What passes, and what only comes after. */
        {"warning: error: unable to download 'https://c/x': Timeout; retrying in 250 ms\nwarning: "
         "Git tree '/srv' is dirty\nerror: the cause\n"
         "error (ignored): error: SQLite database '/root/.cache/nix/x' is busy\nerror (ignored): "
         "aborting: error: of nothing\n",
         "error: the cause"},
        {"error: one\n       of two lines\nerror: SQLite database '/x' is busy\n",
         "error: one\nof two lines"},
        {"error: SQLite database '/x' is busy\n", "error: SQLite database '/x' is busy"},
        {"error: one\nerror: two\n", "error: two"},
        {"warning: nothing\n/usr/bin/nix: No such file or directory\n",
         "/usr/bin/nix: No such file or directory"},
        {"", "it said nothing"},
    };
    (void)state;
    char out[512], long_one[8192];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nixos_cause(rows[i].said, out, sizeof out);
        assert_string_equal(out, rows[i].cause);
    }
    /* Of a long log the end is left, and what follows it. */
    size_t n = (size_t)snprintf(long_one, sizeof long_one,
                                "error: builder for 'x' failed;\n       last 90 log lines:\n");
    for (int i = 0; i < 90; i++)
        n += (size_t)snprintf(long_one + n, sizeof long_one - n,
                              "       > this is line %d of the log\n", i);
    snprintf(long_one + n, sizeof long_one - n, "       For full logs, ask\n");
    nixos_cause(long_one, out, 200);
    assert_true(strlen(out) < 200);
    assert_non_null(strstr(out, "error: builder for 'x' failed;\n"));
    assert_non_null(strstr(out, "> this is line 89 of the log\nFor full logs, ask"));
    assert_null(strstr(out, "line 1 of"));
    /* One endless line is cut between characters. */
    strcpy(long_one, "error: ");
    for (int i = 0; i < 300; i++)
        strcat(long_one, "ü");
    nixos_cause(long_one, out, 65);
    assert_int_equal(strlen(out), 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_canonical_form, setup, teardown),
        cmocka_unit_test_setup_teardown(as_systemd_reads_it, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(what_needs_no_quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_stays_in_its_repository, setup, teardown),
        cmocka_unit_test(a_stopped_one_that_goes_is_seen),
        cmocka_unit_test_setup_teardown(a_path_for_nix, setup, teardown),
        cmocka_unit_test(the_cause_of_what_nix_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
