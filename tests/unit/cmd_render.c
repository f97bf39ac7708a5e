/* A plan made by hand, as text and as JSON, byte for byte; hostile names in it; the manual
 * beside its tables. */
#include "cmd/render/render.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct rec_item bridge = {.kind = REC_BRIDGE, .key = "br0", .at = {5, 5, 0, 1}};
static struct rec_item port = {
    .kind = REC_PORT, .key = "web", .container = "web", .at = {9, 7, 0, 1}};
static struct rec_item run = {
    .kind = REC_RUN, .key = "web", .container = "web", .at = {9, 7, 0, 1}};
static struct rec_item old = {.kind = REC_NETNS, .key = "old", .container = "old"};
static struct rec_difference port_differs[] = {
    {"mtu", "1500", "1400"}, {"address", "10.0.0.2/24", NULL}, {"address", NULL, "10.0.0.3/24"}};
static struct rec_difference run_differs[] = {{"unit", "aa", "bb"}};
static struct rec_step s_old = {.action = REC_REMOVE,
                                .kind = REC_NETNS,
                                .from = &old,
                                .object = "netns old",
                                .reason = "no longer wanted",
                                .blinks = "old"};
static struct rec_step s_bridge = {.action = REC_CREATE,
                                   .kind = REC_BRIDGE,
                                   .to = &bridge,
                                   .object = "bridge br0",
                                   .reason = "missing",
                                   .blinks = "",
                                   .at = {5, 5, 0, 1}};
static struct rec_step s_port = {.action = REC_CHANGE,
                                 .kind = REC_PORT,
                                 .from = &port,
                                 .to = &port,
                                 .object = "port web (vb-web)",
                                 .reason = "mtu and 2 more differ",
                                 .differences = port_differs,
                                 .n_differences = 3,
                                 .blinks = "",
                                 .at = {9, 7, 0, 1}};
static struct rec_step s_run = {.action = REC_REPLACE,
                                .kind = REC_RUN,
                                .from = &run,
                                .to = &run,
                                .effect = REC_RECREATE,
                                .object = "run web",
                                .reason = "unit differs",
                                .differences = run_differs,
                                .n_differences = 1,
                                .blinks = "web",
                                .at = {9, 7, 0, 1},
                                .final = true};
static struct rec_step *steps[] = {&s_old, &s_bridge, &s_port, &s_run};
static struct rec_note notes[] = {
    {.object = "eth0", .text = "somebody else's"},
    {.object = "eth1", .text = "down", .hint = "ip link set eth1 up", .warning = true}};
static struct rec_plan plan = {.steps = steps,
                               .n = 4,
                               .notes = notes,
                               .n_notes = 2,
                               .creates = 1,
                               .changes = 1,
                               .removes = 1,
                               .replaces = 1};

static const char golden[] =
    "lab, as dir/spec.yaml has it\n"
    "\n"
    "  - netns old          no longer wanted\n"
    "      interrupts old\n"
    "\n"
    "  + bridge br0         missing                spec.yaml:5\n"
    "\n"
    "  ~ port web (vb-web)  mtu and 2 more differ  spec.yaml:9\n"
    "      mtu      1500 → 1400\n"
    "      address  10.0.0.2/24 → 10.0.0.3/24\n"
    "  ± run web            unit differs           spec.yaml:9\n"
    "      unit  aa → bb\n"
    "      recreate: interrupts web\n"
    "\n"
    "Warnings:\n"
    "  ! eth1: down\n"
    "      ip link set eth1 up\n"
    "\n"
    "Notes:\n"
    "  * eth0: somebody else's\n"
    "\n"
    "Plan: 1 to create, 1 to change, 1 to remove, 1 to recreate; interrupts old, web\n";

static struct cmd_render_plan shown(void)
{
    return (struct cmd_render_plan){.format = "berth.plan",
                                    .host = "lab",
                                    .file = "dir/spec.yaml",
                                    .plan = &plan,
                                    .resources = 3};
}

static void text(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    struct cmd_render_plan p = shown();
    cmd_render_plan_text(&o, &p);
    assert_string_equal(o.text, golden);
    cmd_out_done(&o);
}

static void ascii(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1};
    struct cmd_render_plan p = shown();
    cmd_render_plan_text(&o, &p);
    for (size_t i = 0; i < o.n; i++)
        assert_true((unsigned char)o.text[i] < 0x7f);
    assert_non_null(strstr(o.text, "  % run web"));
    assert_non_null(strstr(o.text, "1500 -> 1400"));
    cmd_out_done(&o);
}

static const char golden_json[] = "{\n"
                                  "  \"berth_version\": \"" BERTH_VERSION "\",\n"
                                  "  \"conflicts\": [],\n"
                                  "  \"errors\": [],\n"
                                  "  \"format\": \"berth.plan\",\n"
                                  "  \"format_version\": \"1.0\",\n"
                                  "  \"host\": \"lab\",\n"
                                  "  \"next_start\": [],\n"
                                  "  \"not_known\": [],\n"
                                  "  \"notes\": [],\n"
                                  "  \"outcome\": \"pending\",\n"
                                  "  \"resources\": 1,\n"
                                  "  \"spec\": {\n"
                                  "    \"file\": \"spec.yaml\",\n"
                                  "    \"path\": null\n"
                                  "  },\n"
                                  "  \"steps\": [\n"
                                  "    {\n"
                                  "      \"action\": \"replace\",\n"
                                  "      \"blinks\": [\n"
                                  "        \"web\"\n"
                                  "      ],\n"
                                  "      \"changes\": [\n"
                                  "        {\n"
                                  "          \"field\": \"unit\",\n"
                                  "          \"from\": \"aa\",\n"
                                  "          \"to\": \"bb\"\n"
                                  "        }\n"
                                  "      ],\n"
                                  "      \"container\": \"web\",\n"
                                  "      \"effect\": \"recreate\",\n"
                                  "      \"final\": true,\n"
                                  "      \"grants\": [],\n"
                                  "      \"id\": \"run/web\",\n"
                                  "      \"implied\": false,\n"
                                  "      \"kind\": \"run\",\n"
                                  "      \"object\": \"run web\",\n"
                                  "      \"reason\": \"unit differs\",\n"
                                  "      \"sign\": \"\\u00B1\",\n"
                                  "      \"spec\": {\n"
                                  "        \"column\": 7,\n"
                                  "        \"file\": \"spec.yaml\",\n"
                                  "        \"line\": 9\n"
                                  "      },\n"
                                  "      \"state\": \"pending\"\n"
                                  "    }\n"
                                  "  ],\n"
                                  "  \"summary\": {\n"
                                  "    \"adopt\": 0,\n"
                                  "    \"change\": 0,\n"
                                  "    \"create\": 0,\n"
                                  "    \"remove\": 0,\n"
                                  "    \"replace\": 1\n"
                                  "  },\n"
                                  "  \"unknown\": []\n"
                                  "}\n";

static void json(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    struct rec_step *one[] = {&s_run};
    struct rec_plan small = {.steps = one, .n = 1, .replaces = 1};
    struct cmd_render_plan p = {
        .format = "berth.plan", .host = "lab", .file = "spec.yaml", .plan = &small, .resources = 1};
    cmd_render_plan_json(&o, &p);
    assert_string_equal(o.text, golden_json);
    cmd_out_done(&o);
}

/* A link may be called anything without slash and blank; none of it may reach a terminal. */
static void hostile_names(void **state)
{
    (void)state;
    static const char *const names[] = {"\033[2J",      "a\nb", "\xff\xc2", "\xc2\x9bm",
                                        "\xe2\x80\xae", "\x7f", "\"},{\"",  "%s%n"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct rec_item item = {
            .kind = REC_BRIDGE, .key = names[i], .container = names[i], .at = {1, 1, 0, 1}};
        struct rec_difference d[] = {{names[i], names[i], names[i]}};
        struct rec_step s = {.action = REC_CHANGE,
                             .kind = REC_BRIDGE,
                             .from = &item,
                             .to = &item,
                             .object = names[i],
                             .reason = names[i],
                             .blinks = names[i],
                             .differences = d,
                             .n_differences = 1,
                             .at = {1, 1, 0, 1}};
        struct rec_step *one[] = {&s};
        struct rec_note note[] = {
            {.object = names[i], .text = names[i], .hint = names[i], .warning = true}};
        struct rec_conflict conflict[] = {{.to = &item,
                                           .object = names[i],
                                           .text = names[i],
                                           .hint = names[i],
                                           .at = {1, 1, 0, 1}}};
        struct rec_plan small = {.steps = one,
                                 .n = 1,
                                 .changes = 1,
                                 .notes = note,
                                 .n_notes = 1,
                                 .conflicts = conflict,
                                 .n_conflicts = 1};
        struct cmd_render_plan p = {
            .format = "berth.plan", .host = names[i], .file = names[i], .plan = &small};
        struct rec_error e = {.at = {1, 1, 0, 1}};
        snprintf(e.text, sizeof e.text, "%s", names[i]);
        snprintf(e.hint, sizeof e.hint, "%s", names[i]);
        for (int form = 0; form < 3; form++) {
            struct cmd_out o = {.fd = -1, .utf8 = true};
            if (form == 0)
                cmd_render_plan_text(&o, &p);
            else if (form == 1)
                cmd_render_plan_json(&o, &p);
            else
                cmd_render_error(&o, names[i], &e);
            for (const char *c = o.text; *c;) {
                long point;
                size_t len;
                assert_true(*c == '\n' || cmd_harmless(c, strlen(c), &point, &len));
                c += *c == '\n' ? 1 : len;
            }
            cmd_out_done(&o);
        }
    }
}

static void notes_of_one_cause(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1};
    struct rec_note list[] = {{.object = "a", .text = "no map", .warning = true},
                              {.object = "x", .text = "other", .warning = true},
                              {.object = "b", .text = "no map", .warning = true},
                              {.object = "c", .text = "no map", .hint = "do", .warning = true},
                              {.object = "d", .text = "no map"},
                              {.object = "a", .text = "no map", .warning = true}};
    struct rec_plan p = {.notes = list, .n_notes = sizeof list / sizeof *list};
    cmd_render_notes(&o, &p);
    assert_string_equal(o.text, "Warnings:\n  ! a, b: no map\n  ! x: other\n  ! c: no map\n      "
                                "do\n\nNotes:\n  * d: no map\n\n");
    cmd_out_done(&o);
}

static void results(void **state)
{
    (void)state;
    struct cmd_out out = {.fd = -1, .utf8 = true}, err = {.fd = -1, .utf8 = true};
    struct rec_result r = {
        .outcome = REC_APPLIED, .plan = &plan, .us_apply = 31000, .report = {.done = 12}};
    struct cmd_render_plan p = shown();
    p.result = &r;
    cmd_render_result_text(&out, &err, &p, "Applied");
    assert_string_equal(out.text, "Applied 12 steps in 0.03 s; in sync\n");
    assert_int_equal(err.n, 0);
    r.outcome = REC_ROLLED_BACK;
    rec_fail(&r.error, EINVAL, "cannot set mtu of link 'br0': Invalid argument");
    r.error.at = (struct spec_loc){14, 10, 0, 1};
    cmd_render_result_text(&out, &err, &p, "Applied");
    assert_non_null(
        strstr(err.text, "dir/spec.yaml:14:10: cannot set mtu of link 'br0': Invalid argument\n"));
    assert_non_null(strstr(err.text, "the host is as it was before"));
    err.n = 0;
    r.outcome = REC_PARTIAL;
    r.left = &plan;
    cmd_render_result_text(&out, &err, &p, "Applied");
    assert_non_null(strstr(err.text, "bridge br0"));
    cmd_out_done(&out);
    cmd_out_done(&err);
}

static void in_sync(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1, .utf8 = true};
    struct rec_plan none = {0};
    struct cmd_render_plan p = {.format = "berth.plan", .plan = &none, .resources = 14};
    cmd_render_plan_text(&o, &p);
    assert_string_equal(o.text, "Nothing to do: 14 resources are in sync\n");
    cmd_out_done(&o);
}

static void durations(void **state)
{
    (void)state;
    char d[32];
    cmd_render_duration(5999, d);
    assert_string_equal(d, "5s");
    cmd_render_duration(725000, d);
    assert_string_equal(d, "12m 5s");
    cmd_render_duration(7500000, d);
    assert_string_equal(d, "2h 5m");
    cmd_render_duration(273600000, d);
    assert_string_equal(d, "3d 4h");
}

static void completions(void **state)
{
    (void)state;
    struct cmd_out o = {.fd = -1};
    assert_false(cmd_render_completion(&o, "csh"));
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (int i = 0; i < 3; i++) {
        o.n = 0;
        assert_true(cmd_render_completion(&o, shells[i]));
        for (size_t k = 0; k < cmd_n_verbs; k++)
            assert_non_null(strstr(o.text, cmd_verbs[k].name));
        assert_non_null(strstr(o.text, "allow-deletes"));
        assert_null(strstr(o.text, "--boot"));
    }
    cmd_out_done(&o);
}

/* `berth help --man` between the two marks renews it. */
static void the_manual_is_the_tables(void **state)
{
    (void)state;
    static char page[1 << 18];
    struct cmd_out o = {.fd = -1};
    FILE *f = fopen(BERTH_MANUAL, "r");
    assert_non_null(f);
    page[fread(page, 1, sizeof page - 1, f)] = 0;
    fclose(f);
    cmd_render_manual(&o);
    assert_non_null(strstr(o.text, ".BR \\-\\-allow\\-deletes"));
    for (size_t i = 0; i < cmd_n_flags; i++) {
        /* as a row begins: .BR \-\-NAME */
        char row[80] = ".BR \\-\\-", *p = row + strlen(row);
        for (const char *n = cmd_flags[i].name; *n; *p++ = *n++)
            if (*n == '-')
                *p++ = '\\';
        strcpy(p, "\n");
        assert_true(!cmd_flags[i].hidden || !strstr(o.text, row));
        strcpy(p, " ");
        assert_true(!cmd_flags[i].hidden || !strstr(o.text, row));
    }
    static const char begin[] = ".\\\" verbs begin\n", end[] = ".\\\" verbs end\n";
    const char *from = strstr(page, begin), *to = strstr(page, end);
    assert_true(from && to);
    from += sizeof begin - 1;
    assert_int_equal(to - from, o.n);
    assert_memory_equal(from, o.text, o.n);
    cmd_out_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text),
        cmocka_unit_test(ascii),
        cmocka_unit_test(json),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(results),
        cmocka_unit_test(in_sync),
        cmocka_unit_test(durations),
        cmocka_unit_test(completions),
        cmocka_unit_test(the_manual_is_the_tables),
        cmocka_unit_test(notes_of_one_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
