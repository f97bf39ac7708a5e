/* A step that takes away, replaces or re-addresses what the operator's packets go by is found
 * before it is too late to say no. */
#include "reconcile/connection.h"
#include "netops/neighbour.h"
#include "reconcile/kinds.h"
#include "reconcile/overlap.h"
#include "reconcile/proc.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANCESTORS = 32 };

static bool address(const char *text, size_t n, struct spec_addr *out)
{
    char why[128];
    const char *scope = memchr(text, '%', n);
    n = scope ? (size_t)(scope - text) : n;
    if (n > 7 && !strncasecmp(text, "::ffff:", 7) && memchr(text + 7, '.', n - 7)) {
        text += 7;
        n -= 7;
    }
    return !spec_addr_parse(text, n, out, why);
}

bool rec_connection_parse(const char *text, struct rec_connection *out)
{
    const char *word[4];
    size_t n[4];
    for (int i = 0; i < 4; i++) {
        text += strspn(text, " ");
        word[i] = text;
        n[i] = strcspn(text, " ");
        text += n[i];
        if (!n[i])
            return false;
    }
    *out = (struct rec_connection){.port = (unsigned)strtoul(word[3], NULL, 10)};
    return address(word[0], n[0], &out->client) && address(word[2], n[2], &out->server) &&
           out->client.family == out->server.family;
}

bool rec_connection_find(struct rec_run *run, struct rec_connection *out)
{
    const char *text = getenv("SSH_CONNECTION");
    pid_t pid = getpid();
    for (int i = 0; !text && i < ANCESTORS && (pid = rec_proc_parent(pid)) > 1; i++)
        text = rec_proc_env(run->arena, pid, "SSH_CONNECTION");
    return text && rec_connection_parse(text, out);
}

/* The link that has the server's address, and the one that answers leave by: names, "" where
 * there is none. */
struct links {
    char server[16], out[16];
    struct spec_addr hop; /* who the next one is: the client itself or a gateway */
    /* the client is not on `out`, and would be reached by another link without it */
    bool restored;
};

static bool has_foreign_port(const struct rec_links *l, int bridge)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->link[i].master == bridge && !rec_group_ours(l->link[i].group))
            return true;
    return false;
}

/* A bridge whose subnet was made to cover the client is in the way: nobody on it has the
 * client's address. */
static bool is_restored(const struct rec_run *run, const struct rec_routes *routes,
                        struct net_port *p, const struct net_route *best,
                        const struct spec_addr *client)
{
    bool known = true;
    if (best->has_gateway || has_foreign_port(run->links, best->oif) ||
        !rec_route_to(routes, client, best->oif))
        return false;
    return !net_neighbour_known(p, best->oif, best->family, client->bytes, &known, NULL) && !known;
}

static int find_links(struct rec_run *run, const struct rec_connection *c, struct links *out,
                      struct rec_error *err)
{
    struct rec_routes routes;
    struct net_batch *b;
    *out = (struct links){.hop = c->client};
    int r = rec_net(run, &b, err);
    if (!r)
        r = rec_links_whole(run, err);
    if (!r)
        r = rec_routes_read(run, &routes, err);
    if (r)
        return r;
    const struct net_route *best = rec_route_to(&routes, &c->client, 0);
    if (best && best->has_gateway)
        memcpy(out->hop.bytes, best->gateway, 16);
    const struct rec_links *links = run->links;
    const struct net_link *l = best ? rec_link_indexed(links, best->oif) : NULL;
    if (l)
        snprintf(out->out, sizeof out->out, "%s", l->name);
    if (l && rec_group_ours(l->group))
        out->restored = is_restored(run, &routes, net_batch_port(b), best, &c->client);
    for (size_t i = 0; i < links->n_address; i++) {
        const struct net_address *a = &links->address[i];
        if ((a->family == AF_INET6) == (c->server.family == 6) &&
            !memcmp(a->bytes, c->server.bytes, a->family == AF_INET6 ? 16 : 4) &&
            (l = rec_link_indexed(links, a->index)))
            snprintf(out->server, sizeof out->server, "%s", l->name);
    }
    return 0;
}

/* Does a new port map take the operator's port. */
static const struct spec_port *takes_port(const struct rec_run *run, const struct rec_connection *c,
                                          const struct spec_container **who)
{
    for (size_t i = 0; run->host && i < run->host->n_containers; i++)
        for (size_t k = 0; k < run->host->containers[i].n_ports; k++) {
            const struct spec_port *p = &run->host->containers[i].ports[k];
            bool family = !p->address.family || p->address.family == c->server.family;
            bool same = spec_port_any(p) ||
                        !memcmp(p->address.bytes, c->server.bytes, c->server.family == 6 ? 16 : 4);
            *who = &run->host->containers[i];
            if (p->proto == SPEC_TCP && family && same && c->port >= p->host &&
                c->port < (unsigned)p->host + p->count)
                return p;
        }
    return NULL;
}

static bool host_maps_ports(const struct rec_run *run)
{
    for (size_t i = 0; run->host && i < run->host->n_containers; i++)
        if (run->host->containers[i].n_ports)
            return true;
    return false;
}

/* Whether it is worth knowing who is connected: to find that out is to read the environment of
 * every process above this one. Never less than what `cuts` and `takes_port` look at. */
static bool may_cut(const struct rec_run *run, const struct rec_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        if (s->action == REC_REMOVE || s->action == REC_REPLACE || s->effect >= REC_RESTART ||
            (s->kind == REC_BRIDGE && s->n_differences) ||
            (s->kind == REC_NAT && host_maps_ports(run)))
            return true;
    }
    return false;
}

static bool cuts(const struct rec_step *s, const struct rec_connection *c, const struct links *l)
{
    const struct rec_item *i = s->from ? s->from : s->to;
    bool goes = s->action == REC_REMOVE || s->action == REC_REPLACE;
    switch (s->kind) {
    case REC_BRIDGE:
        if (strcmp(i->key, l->server) && strcmp(i->key, l->out))
            return false;
        if (goes && l->restored && strcmp(i->key, l->server))
            return false;
        for (size_t k = 0; k < s->n_differences; k++)
            /* neighbours send to the old one for a while */
            goes |= !strcmp(s->differences[k].field, "mac");
        return goes;
    case REC_ADDRESS:
        return goes && !strcmp(i->address.link, l->server) &&
               i->address.text.family == c->server.family &&
               !memcmp(i->address.text.bytes, c->server.bytes, c->server.family == 6 ? 16 : 4);
    case REC_PORT:
    case REC_NETNS:
    case REC_RUN:
        /* From inside a container, or by way of one. */
        for (size_t k = 0; i->spec && k < 2; k++)
            if (i->spec->address[k].addr.family == l->hop.family && s->action != REC_CREATE &&
                !memcmp(i->spec->address[k].addr.bytes, l->hop.bytes, l->hop.family == 6 ? 16 : 4))
                return goes || s->effect >= REC_RESTART;
        for (size_t k = 0; s->kind == REC_PORT && goes && k < i->port.n_address; k++)
            if ((i->port.address[k].family == AF_INET6) == (l->hop.family == 6) &&
                !memcmp(i->port.address[k].bytes, l->hop.bytes, l->hop.family == 6 ? 16 : 4))
                return true;
        return false;
    case REC_SYSTEM:
    case REC_NAT:
    case REC_SYSCTL:
    case REC_NAMES:
    case REC_UNIT:
    case REC_KINDS:
        return false;
    }
    return false;
}

int rec_connection_guard(struct rec_run *run, const struct rec_plan *p, struct rec_error *err)
{
    struct rec_connection c;
    struct links l;
    char client[SPEC_ADDR_TEXT], server[SPEC_ADDR_TEXT];
    if (!may_cut(run, p) || run->opt.own_connection || run->opt.offline || !run->links ||
        !rec_connection_find(run, &c))
        return 0;
    int r = find_links(run, &c, &l, err);
    if (r)
        return r;
    spec_addr_format(&c.client, false, client);
    spec_addr_format(&c.server, false, server);
    for (size_t i = 0; i < p->n; i++) {
        const struct rec_step *s = p->steps[i];
        const struct spec_container *who = NULL;
        const struct spec_port *port = s->kind == REC_NAT && s->to && s->action != REC_REMOVE
                                           ? takes_port(run, &c, &who)
                                           : NULL;
        if (port)
            rec_fail(err, EPERM,
                     "you are connected from %s to port %u here, and container %s takes that port: "
                     "the next connection would not "
                     "reach this host",
                     client, c.port, who->name);
        else if (cuts(s, &c, &l))
            rec_fail(err, EPERM,
                     "you are connected from %s to %s, and this plan cuts that way: %s %s", client,
                     server, rec_action_sign(s->action), s->object);
        else
            continue;
        err->at = port ? port->at : s->at;
        rec_hint(err, "if there is another way in: --allow-own-connection");
        return -EPERM;
    }
    return 0;
}
