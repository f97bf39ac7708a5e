/* reconcile/survey.h — what a first spec for this host can build on: a free network, the uplink, a
 * name, a runtime.
 * Reads    links, addresses and routes of all tables by netlink, and the facts of facts.c. Changes
 *          nothing, needs no root. */
#ifndef RECONCILE_SURVEY_H
#define RECONCILE_SURVEY_H
#include "reconcile/run.h"

struct rec_survey {
    /* the first address of a free private /24, as 10.100.0.1/24 */
    struct spec_addr bridge;
    const char *bridge_name;       /* no link has this name */
    enum spec_runtime runtime;     /* NSPAWN or NETNS: one that needs nothing but this host */
    bool nixos;                    /* the host is NixOS */
    bool used;                     /* berth has made a bridge here already */
    const struct rec_facts *facts; /* uplink4, nameservers, hostname */
};
/* 0, or -errno with *err. -EADDRNOTAVAIL: no private network is free. */
int rec_survey(struct rec_run *run, struct rec_survey *out, struct rec_error *err);
#endif
