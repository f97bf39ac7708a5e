/* Addresses against the C library, names, defaults, and what a document says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "spec/internal.h"
#include "spec/schema.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct spec_doc *load(struct spec_arena *a, const char *text, struct spec_diags *d)
{
    struct spec_doc *doc = NULL;
    struct spec_limits l = {SPEC_BYTES};
    return spec_load(a, text, strlen(text), &l, &doc, d) ? NULL : doc;
}

static void addresses_agree_with_the_library(void **state)
{
    (void)state;
    srand(1);
    for (int i = 0; i < 20000; i++) {
        struct spec_addr a = {.family = i & 1 ? 6 : 4}, b;
        char text[SPEC_ADDR_TEXT], want[INET6_ADDRSTRLEN], why[128];
        for (int k = 0; k < (i & 1 ? 16 : 4); k++)
            a.bytes[k] = rand() % 3 ? (uint8_t)rand() : 0;
        spec_addr_format(&a, false, text);
        inet_ntop(i & 1 ? AF_INET6 : AF_INET, a.bytes, want, sizeof want);
        assert_string_equal(text, want);
        assert_int_equal(spec_addr_parse(text, strlen(text), &b, why), 0);
        assert_true(spec_addr_equal(&a, &b));
    }
}

static void what_the_library_refuses_is_refused(void **state)
{
    static const char alphabet[] = "0123456789abcdef:./% g";
    (void)state;
    srand(2);
    for (int i = 0; i < 200000; i++) {
        char text[24], why[128];
        uint8_t bytes[16];
        struct spec_addr a;
        size_t n = (size_t)rand() % 20;
        for (size_t k = 0; k < n; k++)
            text[k] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        text[n] = 0;
        bool lib = inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
        bool ours = !spec_addr_parse(text, n, &a, why) && !a.has_prefix;
        if (lib != ours)
            fail_msg("'%s': the library says %d, we say %d", text, lib, ours);
    }
}

static void networks(void **state)
{
    static const struct {
        const char *a, *net;
        bool in;
    } row[] = {
        {"10.0.0.5", "10.0.0.1/24", true}, {"10.0.1.5", "10.0.0.1/24", false},
        {"10.0.0.1", "10.0.0.0/31", true}, {"10.0.0.2", "10.0.0.0/31", false},
        {"fd00::1", "fd00::/127", true},   {"fd00::2", "fd00::/127", false},
        {"10.0.0.1", "fd00::/8", false},   {"255.255.255.255", "128.0.0.0/1", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct spec_addr a, n;
        char why[128];
        assert_int_equal(spec_addr_parse(row[i].a, strlen(row[i].a), &a, why), 0);
        assert_int_equal(spec_addr_parse(row[i].net, strlen(row[i].net), &n, why), 0);
        assert_int_equal(spec_addr_in(&a, &n), row[i].in);
    }
}

static void link_names_fit_and_differ(void **state)
{
    char a[16], b[16];
    (void)state;
    spec_link_name("web", a);
    assert_string_equal(a, "vb-web");
    spec_link_name("abcdefghijkl", a);
    assert_string_equal(a, "vb-abcdefghijkl");
    spec_link_name("abcdefghijklm", a);
    spec_link_name("abcdefghijkln", b);
    assert_int_equal(strlen(a), 15);
    assert_string_not_equal(a, b);
}

static void tables_are_sorted_and_told(void **state)
{
    (void)state;
    for (size_t t = 0; t < spec_n_tables; t++)
        for (size_t i = 0; i < spec_tables[t].n; i++) {
            assert_true(*spec_tables[t].keys[i].type && *spec_tables[t].keys[i].absent);
            assert_non_null(spec_tables[t].keys[i].take);
            if (i)
                assert_true(strcmp(spec_tables[t].keys[i - 1].name, spec_tables[t].keys[i].name) <
                            0);
        }
}

static void defaults_are_deep_and_give_way(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    (void)state;
    struct spec_doc *doc =
        load(a,
             "version: 1\n"
             "defaults:\n"
             "  host: {names: none, nat: {interface: auto}}\n"
             "  container: {runtime: nspawn, isolated: true, nspawn: {environment: {A: x, B: y}}}\n"
             "hosts:\n"
             "  h:\n"
             "    bridge: {address: 10.0.0.1/24}\n"
             "    nat: {inbound: open}\n"
             "    containers:\n"
             "      b: 10.0.0.3\n"
             "      a: {address: 10.0.0.2, isolated: false, nspawn: {environment: {B: z, C: w}}}\n",
             &d);
    assert_non_null(doc);
    const struct spec_host *h = &doc->hosts[0];
    assert_false(h->names);
    assert_true(h->bridges[0].nat.open);
    assert_int_equal(h->bridges[0].nat.uplink, SPEC_UPLINK_AUTO);
    assert_string_equal(h->containers[0].name, "a");
    assert_false(h->containers[0].isolated);
    assert_int_equal(h->containers[0].nspawn.n_environment, 3);
    assert_string_equal(h->containers[0].nspawn.environment[0].value, "x");
    assert_string_equal(h->containers[0].nspawn.environment[1].value, "z");
    assert_true(h->containers[1].isolated);
    assert_int_equal(h->containers[1].runtime, SPEC_RT_NSPAWN);
    assert_int_equal(h->containers[1].address[0].addr.prefix, 24);
    spec_arena_free(a);
}

static void a_scalar_has_the_type_of_its_field(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    (void)state;
    struct spec_doc *doc = load(
        a,
        "version: 1\nhosts:\n  h:\n    bridge: {address: 10.0.0.1/24}\n    containers:\n"
        "      no: {address: 10.0.0.2, ports: [22:22, '53:53/udp', 9000-9002:1-3, 127.0.0.1:1:2]}\n"
        "      on: {address: 10.0.0.3, mac: 02:00:00:00:00:10, nspawn: {command: [echo, 010, 1e3, "
        "no]}}\n",
        &d);
    assert_non_null(doc);
    const struct spec_container *c = doc->hosts[0].containers;
    assert_string_equal(c[0].name, "no");
    assert_int_equal(c[0].n_ports, 4);
    assert_int_equal(c[0].ports[0].host, 22);
    assert_int_equal(c[0].ports[1].proto, SPEC_UDP);
    assert_int_equal(c[0].ports[2].count, 3);
    assert_int_equal(c[0].ports[3].address.bytes[0], 127);
    assert_int_equal(c[1].mac[5], 0x10);
    assert_string_equal(c[1].nspawn.command[1].text, "010");
    assert_string_equal(c[1].nspawn.command[2].text, "1e3");
    assert_string_equal(c[1].nspawn.command[3].text, "no");
    spec_arena_free(a);
}

static void this_host_is_found(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    (void)state;
    struct spec_doc *doc = load(a,
                                "version: 1\nhosts: {web: {bridge: {address: 10.0.0.1/24}}, db: "
                                "{bridge: {address: 10.0.0.1/24}}}\n",
                                &d);
    assert_non_null(doc);
    assert_string_equal(spec_host_find(doc, NULL, "db.example.org")->name, "db");
    assert_string_equal(spec_host_find(doc, "web", "db")->name, "web");
    assert_null(spec_host_find(doc, NULL, "other"));
    assert_null(spec_host_find(doc, "other", "db"));
    doc = load(a, "version: 1\nhosts: {localhost: {bridge: {address: 10.0.0.1/24}}}\n", &d);
    assert_non_null(spec_host_find(doc, NULL, "anything"));
    assert_null(spec_host_find(doc, "named", "anything"));
    spec_arena_free(a);
}

/* Ten times the containers may not cost a hundred times the memory blocks: the arena's growth is
 * a stand-in for all work. */
static void ten_thousand_containers_load(void **state)
{
    (void)state;
    size_t room = 4 << 20, n = 0;
    char *text = malloc(room);
    n += (size_t)snprintf(text, room, "version: 1\nhosts:\n  h:\n    bridges:\n");
    for (int b = 0; b < 10; b++)
        n += (size_t)snprintf(text + n, room - n, "      br%d: {address: 10.%d.0.1/16}\n", b, b);
    n += (size_t)snprintf(text + n, room - n, "    containers:\n");
    for (int i = 0; i < 10000; i++)
        n += (size_t)snprintf(text + n, room - n,
                              "      c%d: {address: 10.%d.%d.%d, ports: [\"%d:80\"]}\n", i,
                              i / 1000, 1 + i % 1000 / 250, 1 + i % 250, 1000 + i);
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    struct spec_doc *doc = load(a, text, &d);
    if (!doc)
        fail_msg("%s", spec_diags_format(a, &d, "big", text, n, false));
    assert_int_equal(doc->hosts[0].n_containers, 10000);
    spec_arena_free(a);
    free(text);
}

/* What json.dumps writes of a character beyond U+FFFF; what is no escape stays as it is written. */
static void surrogate_pairs_are_characters(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    (void)state;
    struct spec_doc *doc =
        load(a,
             "version: 1\nhosts:\n  h:\n    bridge: {address: 10.0.0.1/24}\n    containers:\n      "
             "a:\n        address: 10.0.0.2\n"
             "        x-\\ud83d\\ude00: 1   # \\ud83d\\ude00 \"\\ud83d\\ude00\n"
             "        nspawn:\n          environment:\n"
             "            A: \"\\ud83d\\ude00-\\uD83D\\uDE01 \\udbff\\udfff\"\n"
             "            B: \\ud83d\\ude00 plain\n"
             "            C: '\\ud83d\\ude00 single'\n"
             "            D: | # \\ud83d\\ude03\n              \\ud83d\\ude00 block\n"
             "            E: \"\\\\ud83d \\\\\\ud800\\udc00 \\u00e9\"\n"
             "            F: \"folded\n              \\ud83d\\ude00\"\n"
             "            G: \"\\ufdd0\\ufdd1\"\n",
             &d);
    if (!doc)
        fail_msg("%u:%u %s", d.list[0].at.line, d.list[0].at.col, d.list[0].text);
    static const char *const want[] = {
        "\xf0\x9f\x98\x80-\xf0\x9f\x98\x81 \xf4\x8f\xbf\xbf", "\\ud83d\\ude00 plain",
        "\\ud83d\\ude00 single", "\\ud83d\\ude00 block", "\\ud83d \\\xf0\x90\x80\x80 \xc3\xa9"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        assert_string_equal(doc->hosts[0].containers[0].nspawn.environment[i].value, want[i]);
    spec_arena_free(a);
    /* As long as text may be, and longer. */
    for (int n = 1023; n <= 1025; n++) {
        char *text = malloc(16 * 1100 + 300), *p = text;
        p += sprintf(p, "{\"version\": 1, \"hosts\": {\"h\": {\"bridge\": {\"address\": "
                        "\"10.0.0.1/24\"}, \"containers\": {\"a\": {\"address\": "
                        "\"10.0.0.2\", \"nspawn\": {\"environment\": {\"A\": \"");
        for (int i = 0; i < n; i++)
            p = stpcpy(p, "\\ud83d\\ude00");
        strcpy(p, "\"}}}}}}}\n");
        a = spec_arena_new();
        doc = load(a, text, &d);
        assert_true(!doc == (n > 1024));
        if (!doc)
            assert_int_equal(d.list[0].code, SPEC_E_LONG);
        else
            assert_int_equal(strlen(doc->hosts[0].containers[0].nspawn.environment[0].value),
                             4 * n);
        spec_arena_free(a);
        free(text);
    }
}

/* More ports than an author writes, sorted and not: 45 000 that differ load, and one more of
 * them is found, wherever it is mapped. */
static void many_ports_load_and_the_one_too_many_is_found(void **state)
{
    enum { PORTS = 45000, EACH = 1000 };
    (void)state;
    static const struct {
        const char *address, *extra;
        int line;
    } row[] = {
        {"", NULL, 0},
        {"", "1000:1", 8},
        {"", "45999:1", 8},
        {"", "900-1000:1-101", 8},
        {"", "0.0.0.0:23456:1", 8},
        {"", "10.0.0.1:23456:1", 8},
        {"10.0.0.1:", NULL, 0},
        {"10.0.0.1:", "45999:1", 8},
        {"10.0.0.1:", "10.0.0.2:1000-45999:1-45000", 0},
        {"10.0.0.1:", "0.0.0.0:2000-60000:1-58001", 8},
        {"", "1000:1/udp", 0},
        {"", "[::]:1000:1", 0},
    };
    size_t room = 4 << 20;
    char *text = malloc(room);
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        size_t n = (size_t)snprintf(text, room,
                                    "version: 1\nhosts:\n  h:\n    bridge: {address: [10.9.0.1/16, "
                                    "fd00::1/64]}\n    containers:\n");
        n += (size_t)snprintf(text + n, room - n,
                              "      # the first in the file\n      #\n      zz: {address: "
                              "[10.9.1.1, fd00::9], ports: [\"%s\"]}\n",
                              row[r].extra ? row[r].extra : "500:1");
        for (int c = 0; c < PORTS / EACH; c++) {
            n += (size_t)snprintf(text + n, room - n, "      c%d: {address: 10.9.0.%d, ports: [", c,
                                  c + 2);
            for (int p = 0; p < EACH; p++) /* 7919 is prime to 45 000: in no order */
                n += (size_t)snprintf(text + n, room - n, "\"%s%d:80\",", row[r].address,
                                      1000 + (c * EACH + p) * 7919 % PORTS);
            n += (size_t)snprintf(text + n, room - n, "]}\n");
        }
        struct spec_arena *a = spec_arena_new();
        struct spec_diags d;
        struct spec_doc *doc = load(a, text, &d);
        if (!doc != !!row[r].line)
            fail_msg("row %zu: %s", r, spec_diags_format(a, &d, "ports", text, n, false));
        if (row[r].line) {
            assert_int_equal(d.list[0].note_at.line, row[r].line);
            assert_int_equal(d.list[0].code, SPEC_E_DUPLICATE_PORT);
        }
        spec_arena_free(a);
    }
    free(text);
}

/* Nothing is compared with all others of its kind: what is not done in the square of its number
 * is done here. */
static void many_of_everything_is_judged(void **state)
{
    enum { MANY = 45000 };
    (void)state;
    size_t room = 8 << 20;
    char *text = malloc(room);
    for (int what = 0; what < 3; what++) {
        size_t n = (size_t)snprintf(text, room, "version: 1\nhosts:\n  h:\n%s\n",
                                    what == 1 ? "    bridges:" : "    bridge:\n      address:");
        for (int i = 1; i <= (what == 2 ? 1 : MANY); i++)
            n += (size_t)(what == 1 ? snprintf(text + n, room - n,
                                               "      b%d: {address: \"fd00:0:0:%x::1/64\", nat: "
                                               "{interface: eth0}}\n",
                                               i, i)
                                    : snprintf(text + n, room - n, "        - 10.%d.%d.%d/8\n",
                                               i >> 16, i >> 8 & 255, i & 255));
        n += (size_t)snprintf(text + n, room - n, "    containers:\n");
        /* outside, or the bridge's own, each of them */
        for (int i = 1; i <= (what == 1 ? 1 : MANY); i++)
            n += (size_t)snprintf(text + n, room - n, "      c%d: %d.%d.%d.%d\n", i,
                                  what == 0 ? 10 : 11, i >> 16, i >> 8 & 255, i & 255);
        struct spec_arena *a = spec_arena_new();
        struct spec_diags d;
        assert_null(load(a, text, &d));
        assert_true(d.errors >= (what == 1 ? 1 : MANY));
        spec_arena_free(a);
    }
    free(text);
}

static void any_of_a_family_is_any(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    (void)state;
    struct spec_doc *doc = load(a,
                                "version: 1\nhosts:\n  h:\n    bridge: {address: [10.0.0.1/24, "
                                "fd00::1/64]}\n    containers:\n"
                                "      a: {address: [10.0.0.2, fd00::2], ports: [1:1, 0.0.0.0:2:1, "
                                "'[::]:2:1', 192.0.2.1:3:1]}\n",
                                &d);
    assert_non_null(doc);
    const struct spec_port *p = doc->hosts[0].containers[0].ports;
    assert_true(spec_port_any(&p[0]) && !p[0].address.family);
    assert_true(spec_port_any(&p[1]) && p[1].address.family == 4);
    assert_true(spec_port_any(&p[2]) && p[2].address.family == 6);
    assert_false(spec_port_any(&p[3]));
    spec_arena_free(a);
}

static void diagnostics_escape_and_count(void **state)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_diags d;
    char text[4000] =
        "version: 1\nhosts:\n  h:\n    bridge: {address: 10.0.0.1/24}\n    containers:\n";
    (void)state;
    for (int i = 0; i < 25; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "      c%d: 10.9.0.%d\n", i,
                 i + 1);
    assert_null(load(a, text, &d));
    assert_int_equal(d.total, 25);
    assert_non_null(
        strstr(spec_diags_format(a, &d, "f", text, strlen(text), false), "\nand 5 more\n"));
    const char *hostile = "version: 1\nx: \"\x1b[2J\"\n";
    assert_null(load(a, hostile, &d));
    assert_null(
        strchr(spec_diags_format(a, &d, "na\x1bme", hostile, strlen(hostile), false), 0x1b));
    spec_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_agree_with_the_library),
        cmocka_unit_test(what_the_library_refuses_is_refused),
        cmocka_unit_test(networks),
        cmocka_unit_test(link_names_fit_and_differ),
        cmocka_unit_test(tables_are_sorted_and_told),
        cmocka_unit_test(defaults_are_deep_and_give_way),
        cmocka_unit_test(a_scalar_has_the_type_of_its_field),
        cmocka_unit_test(this_host_is_found),
        cmocka_unit_test(ten_thousand_containers_load),
        cmocka_unit_test(surrogate_pairs_are_characters),
        cmocka_unit_test(many_ports_load_and_the_one_too_many_is_found),
        cmocka_unit_test(any_of_a_family_is_any),
        cmocka_unit_test(many_of_everything_is_judged),
        cmocka_unit_test(diagnostics_escape_and_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
