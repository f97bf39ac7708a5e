/* tests/unit/rec_offline.h — a run that asks no kernel: its facts are fixed, its states come
 * from spec texts. */
#ifndef TESTS_UNIT_REC_OFFLINE_H
#define TESTS_UNIT_REC_OFFLINE_H
/* cmocka wants these first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "reconcile/guard.h"
#include "reconcile/kinds.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline struct rec_run *offline(void)
{
    static const struct spec_addr ns = {.family = 4, .bytes = {192, 0, 2, 53}};
    struct rec_options o = {.spec_name = "want.yaml", .spec_dir = "/spec", .allow_deletes = -1};
    struct rec_run *run;
    struct rec_error e;
    assert_int_equal(rec_open(&run, &o, &e), 0);
    run->facts = (struct rec_facts){.known_host = true,
                                    .known = true,
                                    .root = true,
                                    .nspawn = "/usr/bin/systemd-nspawn",
                                    .contain = "berth-contain",
                                    .network = "berth-network",
                                    .hostname = "lab",
                                    .machine_id = "0",
                                    .uplink4 = "eth0",
                                    .uplink6 = "eth0",
                                    .nameservers = &ns,
                                    .n_nameservers = 1,
                                    .ipv6 = true};
    return run;
}

/* The state that `text`, a spec of one host, asks for. The text stays where it is: places point
 * into it. */
static inline void wanted(struct rec_run *run, const char *text, struct rec_state *out)
{
    struct spec_limits l = {SPEC_BYTES};
    struct spec_diags d;
    struct spec_doc *doc;
    struct rec_error e = {0};
    size_t n = strlen(text);
    if (spec_load(run->arena, text, n, &l, &doc, &d))
        fail_msg("%s\nin:\n%s", spec_diags_format(run->arena, &d, "spec", text, n, false), text);
    if (rec_want(run, &doc->hosts[0], out, &e))
        fail_msg("%s\nin:\n%s", e.text, text);
}

static inline struct rec_plan *planned(struct rec_run *run, const struct rec_state *from,
                                       const struct rec_state *to)
{
    struct rec_plan *p = NULL;
    struct rec_error e;
    assert_int_equal(rec_plan(run, from, to, NULL, NULL, &p, &e), 0);
    return p;
}
#endif
