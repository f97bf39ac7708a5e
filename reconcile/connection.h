/* reconcile/connection.h — the way by which the operator is connected to this host, and whether a
 * plan would cut it.
 * Source   sshd(8): SSH_CONNECTION is "CLIENT PORT SERVER PORT"; sudo takes it away, so the
 *          ancestors' environments are asked as well. */
#ifndef RECONCILE_CONNECTION_H
#define RECONCILE_CONNECTION_H
#include "reconcile/plan.h"

struct rec_connection {
    struct spec_addr client, server;
    unsigned port; /* of the server */
};
/* false: nobody is connected, or it is not known. */
bool rec_connection_find(struct rec_run *run, struct rec_connection *out);
/* "CLIENT PORT SERVER PORT". */
bool rec_connection_parse(const char *text, struct rec_connection *out);
/* 0, or -EPERM: the plan cuts the way, or takes the port; *err names connection, object and
 * step. */
int rec_connection_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err);
#endif
