/* netops/announce.h — telling neighbours who has an address now, so that none goes on sending to
 * the one who had it before.
 * Kernel   Documentation/networking/ip-sysctl.rst, arp_notify and ndisc_notify: the kernel
 *          announces all addresses of a link when the link's MAC is set, also when it is set to
 *          what it is (inetdev_event, ndisc_netdev_event). RFC 5227 3 (gratuitous ARP), RFC 4861
 *          7.2.6 (unsolicited neighbour advertisement). Linux takes both for an address that it
 *          knows already, whatever arp_accept says; it learns none by them.
 * Note     No packet socket is needed, so a confined service can announce too. A MAC that was the
 *          kernel's own choice counts as given afterwards: a bridge then no longer takes its
 *          lowest port's. */
#ifndef NETOPS_ANNOUNCE_H
#define NETOPS_ANNOUNCE_H
#include "netops/error.h"

/* All addresses of link `index` of the calling thread's namespace. The link must be up. Both
 * settings are as before afterwards. 0, or -errno: neighbours then find out by themselves, some
 * seconds later. */
int net_announce(int index, struct net_error *err);
#endif
