/* Two frames made by hand: an ARP request for one's own address, to all, and a neighbour advertisement with the override flag, to all
 * nodes. Neither asks for an answer. */
#include "netops/announce.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ARP_SIZE = 28, NA_SIZE = 40 + 32 };

static size_t arp(uint8_t *f, const uint8_t mac[6], const struct net_address *a)
{
    static const uint8_t head[8] = {0, ARPHRD_ETHER, 8, 0, 6, 4, 0, ARPOP_REQUEST}; /* RFC 826 */
    memcpy(f, head, 8);
    memcpy(f + 8, mac, 6);
    memcpy(f + 14, a->bytes, 4);
    memset(f + 18, 0, 6);
    memcpy(f + 24, a->bytes, 4);
    return ARP_SIZE;
}

/* RFC 1071; the pseudo header of RFC 8200 8.1 stands before the message. */
static uint16_t checksum(const uint8_t *pseudo, size_t n, const uint8_t *message, size_t m)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)pseudo[i] << 8 | pseudo[i + 1];
    for (size_t i = 0; i < m; i += 2)
        sum += (uint32_t)message[i] << 8 | message[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1}; /* RFC 4291 2.7.1 */

static size_t advertisement(uint8_t *f, const uint8_t mac[6], const struct net_address *a)
{
    uint8_t pseudo[40] = {0}, *message = f + 40;
    memset(f, 0, NA_SIZE);
    f[0] = 6 << 4;
    f[5] = NA_SIZE - 40;
    f[6] = IPPROTO_ICMPV6;
    f[7] = 255;
    memcpy(f + 8, a->bytes, 16);
    memcpy(f + 24, all_nodes, 16);
    message[0] = 136; /* RFC 4861 4.4 */
    message[4] = 0x20; /* override */
    memcpy(message + 8, a->bytes, 16);
    message[24] = 2; /* option: the target's link-layer address, one unit of eight bytes */
    message[25] = 1;
    memcpy(message + 26, mac, 6);
    memcpy(pseudo, f + 8, 32);
    pseudo[35] = NA_SIZE - 40;
    pseudo[39] = IPPROTO_ICMPV6;
    uint16_t sum = checksum(pseudo, sizeof pseudo, message, NA_SIZE - 40);
    message[2] = (uint8_t)(sum >> 8);
    message[3] = (uint8_t)sum;
    return NA_SIZE;
}

int net_announce(int index, const uint8_t mac[6], const struct net_address *list, size_t n, struct net_error *err)
{
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* protocol 0: nothing is received */
    int code = fd < 0 ? errno : 0;
    for (size_t i = 0; !code && i < n; i++) {
        const struct net_address *a = &list[i];
        bool                      v6 = a->family == AF_INET6;
        uint8_t                   frame[NA_SIZE];
        struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(v6 ? ETH_P_IPV6 : ETH_P_ARP), .sll_ifindex = index,
                                 .sll_halen = 6};
        if (a->scope == RT_SCOPE_LINK || (a->family != AF_INET && !v6))
            continue;
        memset(to.sll_addr, 0xff, 6);
        if (v6) /* RFC 2464 7 */
            memcpy(to.sll_addr, (const uint8_t[6]){0x33, 0x33, 0, 0, 0, 1}, 6);
        size_t size = v6 ? advertisement(frame, mac, a) : arp(frame, mac, a);
        while (sendto(fd, frame, size, 0, (const struct sockaddr *)&to, sizeof to) < 0 && !code)
            if (errno != EINTR)
                code = errno;
    }
    if (fd >= 0)
        close(fd);
    return code ? net_fail(err, code, "announce", "addresses of link %d", index) : 0;
}
