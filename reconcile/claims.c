/* A line for each port map and each address of a bridge, which the last apply set. */
#include "reconcile/claims.h"
#include "reconcile/files.h"
#include "reconcile/runtime.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CLAIMS_BYTES = 16 << 20, LINE = 2 * SPEC_ADDR_TEXT };

static const char *proto_name(unsigned proto)
{
    return proto == IPPROTO_UDP ? "udp" : "tcp";
}

int rec_claims_read(struct rec_run *run, struct rec_claims *out)
{
    struct rec_error ignored;
    char *text, *save = NULL;
    size_t len, most = 1;
    *out = (struct rec_claims){0};
    int r = rec_file_read(run->arena, REC_CLAIMS, CLAIMS_BYTES, &text, &len, &ignored);
    if (r)
        return r == -ENOMEM ? r : 0;
    for (size_t i = 0; i < len; i++)
        most += text[i] == '\n';
    out->lines = spec_arena_alloc(run->arena, most * sizeof *out->lines);
    if (!out->lines)
        return -ENOMEM;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
        out->lines[out->n++] = l;
    return 0;
}

/* Where a map takes its port: at one address, or at any of a family. */
static const char *place(bool any, bool v6, const uint8_t bytes[16], char out[SPEC_ADDR_TEXT])
{
    struct spec_addr a = {.family = v6 ? 6 : 4};
    if (any)
        return v6 ? "any6" : "any4";
    memcpy(a.bytes, bytes, v6 ? 16 : 4);
    return spec_addr_format(&a, false, out);
}

bool rec_claims_port(const struct rec_claims *c, const struct net_nft_map *m)
{
    char prefix[LINE], text[SPEC_ADDR_TEXT];
    int n = snprintf(prefix, sizeof prefix, "port %s %s ", proto_name(m->proto),
                     place(m->any, m->family == AF_INET6, m->host, text));
    for (size_t i = 0; i < c->n; i++) {
        unsigned first, last;
        if (!strncmp(c->lines[i], prefix, (size_t)n) &&
            sscanf(c->lines[i] + n, "%u-%u", &first, &last) == 2 && m->port >= first &&
            m->port <= last)
            return true;
    }
    return false;
}

bool rec_claims_subnet(const struct rec_claims *c, const char *link, const struct spec_addr *a)
{
    char line[LINE], text[SPEC_ADDR_TEXT];
    snprintf(line, sizeof line, "subnet %.20s %s", link, spec_addr_format(a, true, text));
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->lines[i], line))
            return true;
    return false;
}

static char *put_subnet(char *to, const struct rec_item *i)
{
    struct spec_addr a = i->address.text;
    char text[SPEC_ADDR_TEXT];
    a.prefix = (uint8_t)i->address.prefix;
    return to + sprintf(to, "subnet %.20s %s\n", i->address.link, spec_addr_format(&a, true, text));
}

/* In each family that the container has an address of. */
static char *put_port(char *to, const struct spec_container *c, const struct spec_port *p)
{
    char text[SPEC_ADDR_TEXT];
    for (int v6 = 0; v6 < 2; v6++)
        if (c->address[v6].addr.family &&
            (!p->address.family || p->address.family == c->address[v6].addr.family))
            to += sprintf(to, "port %s %s %u-%u\n", proto_name(p->proto),
                          place(spec_port_any(p), v6, p->address.bytes, text), p->host,
                          p->host + p->count - 1u);
    return to;
}

/* An adopted address that goes back to its owner is no claim. */
static bool is_claimed(const struct rec_item *i)
{
    return i->kind == REC_ADDRESS && !i->back;
}

static size_t most_lines(const struct spec_host *h, const struct rec_state *want)
{
    size_t n = 0;
    for (size_t i = 0; i < want->n; i++)
        n += is_claimed(want->items[i]);
    for (size_t i = 0; h && i < h->n_containers; i++)
        n += 2 * h->containers[i].n_ports;
    return n;
}

static bool changes(const struct rec_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->steps[i]->kind == REC_ADDRESS || p->steps[i]->kind == REC_NAT)
            return true;
    return false;
}

int rec_claims_write(struct rec_run *run, const struct rec_state *want, const struct rec_plan *p,
                     struct rec_error *err)
{
    const struct spec_host *h = run->host;
    struct rec_error ignored;
    size_t n = most_lines(h, want);
    bool there = !access(REC_CLAIMS, F_OK);
    if (there ? n && !changes(p) : !n)
        return 0;
    if (!n)
        return rec_file_remove(REC_CLAIMS, err);
    char *text = spec_arena_alloc(run->arena, n * LINE), *to = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < want->n; i++)
        if (is_claimed(want->items[i]))
            to = put_subnet(to, want->items[i]);
    for (size_t i = 0; h && i < h->n_containers; i++)
        for (size_t k = 0; k < h->containers[i].n_ports; k++)
            to = put_port(to, &h->containers[i], &h->containers[i].ports[k]);
    int r = rec_dir_make(REC_STATE_DIR, 0700, &ignored);
    if (!r)
        r = rec_file_write(REC_CLAIMS, text, (size_t)(to - text), 0600, &ignored);
    /* Without the file a policy refuses more. With an old one it would refuse less. */
    return r && r != -EROFS ? rec_file_remove(REC_CLAIMS, err) : 0;
}
