/* The text has what kinds/port.c wants, and nothing that is derived from it later. */
#include "reconcile/port_text.h"
#include "reconcile/kinds.h"
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADDRESSES = 2 };

static const char *address_line(struct spec_arena *a, const char *so_far, const char *name,
                                const struct spec_addr *address, bool with_prefix)
{
    char t[SPEC_ADDR_TEXT];
    if (!so_far)
        return NULL;
    return spec_arena_printf(a, "%s%s %s\n", so_far, name,
                             spec_addr_format(address, with_prefix, t));
}

static const char *gateway_line(struct spec_arena *a, const char *so_far, const struct rec_port *p,
                                bool v6)
{
    struct spec_addr gateway = {.family = v6 ? 6 : 4};
    if (!(v6 ? p->has_gw6 : p->has_gw4))
        return so_far;
    memcpy(gateway.bytes, v6 ? p->gw6 : p->gw4, v6 ? 16 : 4);
    return address_line(a, so_far, "gateway", &gateway, false);
}

const char *rec_port_text(struct spec_arena *a, const struct rec_item *port)
{
    const struct rec_port *p = &port->port;
    char mac[18], host_mac[18];
    const char *t = spec_arena_printf(a, "link %s\nbridge %s\nmac %s\nhost-mac %s\nhairpin %d\n",
                                      p->link, p->bridge, spec_mac_format(p->mac, mac),
                                      spec_mac_format(p->host_mac, host_mac), p->hairpin);
    if (t && port->stated & 1u << REC_PORT_MTU)
        t = spec_arena_printf(a, "%smtu %u\n", t, p->mtu);
    if (t && port->stated & 1u << REC_PORT_AUTOCONF)
        t = spec_arena_printf(a, "%sautoconf %d\n", t, p->autoconf);
    for (size_t i = 0; i < p->n_address; i++) {
        struct spec_addr s = rec_spec_address(&p->address[i]);
        t = address_line(a, t, "address", &s, true);
    }
    t = gateway_line(a, t, p, false);
    return gateway_line(a, t, p, true);
}

static bool parse_link(const char *value, const char **out)
{
    *out = value;
    return *value && strlen(value) < IFNAMSIZ;
}

static bool parse_number(const char *value, uint32_t most, uint32_t *out)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    *out = (uint32_t)n;
    return *value >= '0' && *value <= '9' && !*end && n <= most;
}

static bool parse_flag(const char *value, bool *out)
{
    uint32_t n;
    bool good = parse_number(value, 1, &n);
    *out = good && n;
    return good;
}

static bool parse_mac(const char *value, uint8_t out[6])
{
    char why[128];
    return !spec_mac_parse(value, strlen(value), out, why);
}

static bool parse_address(const char *value, struct rec_port *p)
{
    struct spec_addr a;
    char why[128];
    if (p->n_address == ADDRESSES || spec_addr_parse(value, strlen(value), &a, why))
        return false;
    p->address[p->n_address++] = rec_net_address(&a);
    return true;
}

static bool parse_gateway(const char *value, struct rec_port *p)
{
    struct spec_addr a;
    char why[128];
    if (spec_addr_parse(value, strlen(value), &a, why))
        return false;
    if (a.family == 6) {
        p->has_gw6 = p->gw6_ours = true;
        memcpy(p->gw6, a.bytes, 16);
    } else {
        p->has_gw4 = p->gw4_ours = true;
        memcpy(p->gw4, a.bytes, 4);
    }
    return true;
}

static bool parse_line(const char *name, const char *value, struct rec_item *it)
{
    struct rec_port *p = &it->port;
    if (!strcmp(name, "link"))
        return parse_link(value, &p->link);
    if (!strcmp(name, "bridge"))
        return parse_link(value, &p->bridge);
    if (!strcmp(name, "mac"))
        return parse_mac(value, p->mac);
    if (!strcmp(name, "host-mac"))
        return parse_mac(value, p->host_mac);
    if (!strcmp(name, "hairpin"))
        return parse_flag(value, &p->hairpin);
    if (!strcmp(name, "address"))
        return parse_address(value, p);
    if (!strcmp(name, "gateway"))
        return parse_gateway(value, p);
    if (!strcmp(name, "mtu")) {
        it->stated |= 1u << REC_PORT_MTU;
        return parse_number(value, UINT32_MAX, &p->mtu);
    }
    it->stated |= 1u << REC_PORT_AUTOCONF;
    return !strcmp(name, "autoconf") && parse_flag(value, &p->autoconf);
}

int rec_port_parse(struct spec_arena *a, const char *container, char *text, struct rec_item *out,
                   struct rec_error *err)
{
    struct rec_item it = {.kind = REC_PORT,
                          .key = container,
                          .container = container,
                          .runtime = SPEC_RT_NSPAWN,
                          .ours = true};
    struct rec_port *p = &it.port;
    it.stated =
        ((1u << REC_PORT_GATEWAY) * 2 - 1) & ~(1u << REC_PORT_MTU | 1u << REC_PORT_AUTOCONF);
    p->up = p->inside_up = p->whole = true;
    p->address = spec_arena_alloc(a, ADDRESSES * sizeof *p->address);
    if (!p->address)
        return rec_fail(err, ENOMEM, "out of memory");
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, ' ');
        if (!*line)
            continue;
        if (value)
            *value++ = 0;
        if (!value || !parse_line(line, value, &it))
            return rec_fail(err, EINVAL, "the network of container '%s' is not readable: '%.40s'",
                            container, line);
    }
    if (!p->link || !p->bridge)
        return rec_fail(err, EINVAL, "the network of container '%s' is not complete", container);
    *out = it;
    return 0;
}
