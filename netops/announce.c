/* The kernel knows the link's addresses, its MAC and its state best, so it makes the frames. */
#include "netops/announce.h"
#include "netops/batch.h"
#include "netops/link.h"
#include "netops/sysctl.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct notify {
    char name[96], before[64];
    bool set;
};

/* A family that the kernel lacks has no such setting, and nothing to announce. */
static void notify_begin(struct notify *n, const char *family, const char *link,
                         const char *setting)
{
    snprintf(n->name, sizeof n->name, "net/%s/conf/%s/%s", family, link, setting);
    n->set = !net_sysctl_read(n->name, n->before, NULL) && strcmp(n->before, "1") &&
             !net_sysctl_write(n->name, "1", NULL);
}

static void notify_end(const struct notify *n)
{
    if (n->set)
        net_sysctl_write(n->name, n->before, NULL);
}

int net_announce(int index, struct net_error *err)
{
    struct net_batch *b;
    struct net_link link;
    struct notify v4, v6;
    int r = net_batch_open(&b, err);
    if (r)
        return r;
    r = net_link_get(net_batch_port(b), NULL, index, &link, err);
    if (!r) {
        notify_begin(&v4, "ipv4", link.name, "arp_notify");
        notify_begin(&v6, "ipv6", link.name, "ndisc_notify");
        net_batch_link_mac(b, (struct net_link_ref){.index = index, .name = link.name}, link.mac,
                           0);
        r = net_batch_send(b, NULL, NULL, err);
        notify_end(&v6);
        notify_end(&v4);
    }
    net_batch_close(b);
    return r;
}
