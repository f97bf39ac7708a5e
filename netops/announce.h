/* netops/announce.h — telling neighbours who has an address now, so that none goes on sending to the one who had it before.
 * Kernel   packet(7); RFC 5227 3 (gratuitous ARP), RFC 4861 7.2.6 (unsolicited neighbour advertisement). Linux takes both for an
 *          address that it knows already, whatever arp_accept says; it learns none by them. */
#ifndef NETOPS_ANNOUNCE_H
#define NETOPS_ANNOUNCE_H
#include "netops/address.h"

/* On link `index` of the calling thread's namespace, from `mac`: one frame an address; link-local ones are left out. The link must be up.
 * 0, or -errno of what could not be sent: neighbours then find out by themselves, some seconds later. */
int net_announce(int index, const uint8_t mac[6], const struct net_address *list, size_t n, struct net_error *err);
#endif
