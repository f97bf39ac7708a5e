/* The least that this kernel takes for the work that berth does: bridges with an address, a
 * masquerade table, ip_forward, and N named namespaces, each with a port, an address, lo up and a
 * default route. No spec, no plan, no library. What berth needs on top of this is berth's own.
 *
 * Creation is a pipeline, since links are made under one kernel lock and namespaces are not: a
 * maker thread makes namespaces, the linker (the main thread) fills them. `how=one` does both in
 * one thread. The other options undo or move one step, to learn what that step is worth. All
 * happens in a network and mount namespace of its own. */
#include "nlwrite.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PER_BRIDGE = 1000, /* a bridge has 1023 usable ports */
    BRIDGE = 10,       /* interface index of bridge 0, … */
    PORT = 1000,       /* … of the host's end of container 0 */
    LO = 1,
    ETH0 = 2,
    GROUP = 0x62656e63,
    MOST_BATCH = 64,
    DUMP_ROOM = 64 * 1024,
    ANSWERS = 8, /* datagrams that one recvmmsg takes, … */
    ANSWER_ROOM = 8192,
};

enum seen { SEEN_PORT = 1, SEEN_LO = 2, SEEN_ETH0 = 4, SEEN_ADDRESS = 8, SEEN_ROUTE = 16 };

struct slot {
    int ns, socket;
};

static int n = 100, batch = 1, readers, rounds = 3;
static const char *how = "pipe"; /* pipe, one */
static const char *name =
    /* who mounts the name: maker, marked (after a mark on lo), linker (after the inside) */
    "maker";
static const char *inside =
    /* what observe reads: two dumps; full: both links too; lookup: one send, no dump of routes */
    "two";

static int host_ns, host_socket, nft_socket, names_dir;
static struct slot *slots;
static unsigned char *seen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int made; /* slots filled by the maker, under `lock` */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *form, ...)
{
    int e = errno;
    va_list args;
    va_start(args, form);
    fputs("limit: cannot ", stderr);
    vfprintf(stderr, form, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(e));
    exit(1);
}

static long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void report(const char *phase, long start)
{
    printf("phase=%s n=%d us=%ld\n", phase, n, now_us() - start);
    fflush(stdout);
}

/* ---- names and numbers ---- */

static int bridges(void)
{
    return (n + PER_BRIDGE - 1) / PER_BRIDGE;
}

static uint32_t bridge_address(int b)
{
    return htonl(0x0a000001u | (uint32_t)(200 + b) << 16);
}

static uint32_t address(int i)
{
    return htonl(0x0a000000u | (uint32_t)(200 + i / PER_BRIDGE) << 16 |
                 (uint32_t)(i % PER_BRIDGE + 10));
}

static const char *numbered(char text[16], char letter, int i)
{
    snprintf(text, 16, "%c%d", letter, i);
    return text;
}

/* ---- sockets ---- */

static int open_netlink(int protocol)
{
    int on = 1, s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (s < 0)
        fail("open a netlink socket");
    if (protocol == NETLINK_ROUTE)
        setsockopt(s, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    return s;
}

static void post(int s, struct nlwrite *w)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(s, w->bytes, w->len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        fail("send");
    w->len = 0;
}

/* Until request `seq` is answered; a refusal of any request ends the program. */
static void await(int s, uint32_t seq, const char *what)
{
    _Alignas(8) char answer[ANSWER_ROOM];
    for (;;) {
        ssize_t got = recv(s, answer, sizeof answer, 0);
        if (got < 0)
            fail("%s", what);
        unsigned left = (unsigned)got;
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            struct nlmsgerr *e = NLMSG_DATA(h);
            if (h->nlmsg_type == NLMSG_ERROR && e->error) {
                errno = -e->error;
                fail("%s (request %u)", what, h->nlmsg_seq);
            }
            if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_seq == seq)
                return;
        }
    }
}

/* One ack, of the last request: those before it are done by then, and a refusal answers unasked. */
static void carry_out(int s, struct nlwrite *w, const char *what)
{
    w->last->nlmsg_flags |= NLM_F_ACK;
    post(s, w);
    await(s, w->seq, what);
}

/* ---- requests that change ---- */

static struct ifinfomsg *put_link(struct nlwrite *w, uint16_t type, uint16_t flags, int index)
{
    struct ifinfomsg *m = nlw_message(w, type, flags, sizeof *m);
    m->ifi_index = index;
    return m;
}

static void put_up(struct nlwrite *w, int index)
{
    struct ifinfomsg *m = put_link(w, RTM_NEWLINK, 0, index);
    m->ifi_flags = m->ifi_change = IFF_UP;
}

/* No link-local address. A request of its own, before the link is up: the kernel ignores this when
 * it creates a link, and reads it after the flags when it changes one. */
static void put_no_ipv6(struct nlwrite *w, int index)
{
    put_link(w, RTM_SETLINK, 0, index);
    struct rtattr *families = nlw_nest(w, IFLA_AF_SPEC), *ipv6 = nlw_nest(w, AF_INET6);
    nlw_u8(w, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
    nlw_shut(w, ipv6);
    nlw_shut(w, families);
}

static void put_address(struct nlwrite *w, uint16_t type, int index, uint32_t ip)
{
    uint16_t flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0;
    struct ifaddrmsg *m = nlw_message(w, type, flags, sizeof *m);
    m->ifa_family = AF_INET;
    m->ifa_prefixlen = 16;
    m->ifa_index = (uint32_t)index;
    nlw_u32(w, IFA_LOCAL, ip);
    nlw_u32(w, IFA_ADDRESS, ip);
}

static void put_default_route(struct nlwrite *w, uint32_t gateway)
{
    struct rtmsg *m = nlw_message(w, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *m);
    m->rtm_family = AF_INET;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = RTPROT_STATIC;
    m->rtm_scope = RT_SCOPE_UNIVERSE;
    m->rtm_type = RTN_UNICAST;
    nlw_u32(w, RTA_GATEWAY, gateway);
    nlw_u32(w, RTA_OIF, ETH0);
}

/* Both ends as they stay: nothing is moved, renamed or enslaved afterwards. Up is not possible here
 * (ENOTCONN). */
static void put_veth(struct nlwrite *w, int i, int ns)
{
    char text[16];
    put_link(w, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, PORT + i);
    nlw_text(w, IFLA_IFNAME, numbered(text, 'v', i));
    nlw_u32(w, IFLA_MASTER, (uint32_t)(BRIDGE + i / PER_BRIDGE));
    nlw_u32(w, IFLA_GROUP, GROUP);
    nlw_u32(w, IFLA_NUM_TX_QUEUES, 1);
    nlw_u32(w, IFLA_NUM_RX_QUEUES, 1);
    struct rtattr *info = nlw_nest(w, IFLA_LINKINFO);
    nlw_text(w, IFLA_INFO_KIND, "veth");
    struct rtattr *data = nlw_nest(w, IFLA_INFO_DATA), *peer = nlw_nest(w, VETH_INFO_PEER);
    struct ifinfomsg *m = nlw_room(w, sizeof *m);
    m->ifi_index = ETH0;
    nlw_text(w, IFLA_IFNAME, "eth0");
    nlw_u32(w, IFLA_NET_NS_FD, (uint32_t)ns);
    nlw_u32(w, IFLA_NUM_TX_QUEUES, 1);
    nlw_u32(w, IFLA_NUM_RX_QUEUES, 1);
    nlw_shut(w, peer);
    nlw_shut(w, data);
    nlw_shut(w, info);
    put_no_ipv6(w, PORT + i);
    put_up(w, PORT + i);
}

static void put_inside(struct nlwrite *w, int i)
{
    put_up(w, LO);
    put_no_ipv6(w, ETH0);
    put_up(w, ETH0);
    put_address(w, RTM_NEWADDR, ETH0, address(i));
    put_default_route(w, bridge_address(i / PER_BRIDGE));
}

/* ---- the host's own part ---- */

static void make_bridges(void)
{
    char bytes[1024], text[16];
    struct nlwrite w = {.bytes = bytes};
    for (int i = 0; i < bridges(); i++) {
        put_link(&w, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, BRIDGE + i);
        nlw_text(&w, IFLA_IFNAME, numbered(text, 'b', i));
        nlw_u32(&w, IFLA_GROUP, GROUP);
        struct rtattr *info = nlw_nest(&w, IFLA_LINKINFO);
        nlw_text(&w, IFLA_INFO_KIND, "bridge");
        nlw_shut(&w, info);
        put_address(&w, RTM_NEWADDR, BRIDGE + i, bridge_address(i));
        carry_out(host_socket, &w, "make a bridge");
    }
}

/* Last of all: a bridge that is up works for each port that joins. */
static void bridges_up(void)
{
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    for (int i = 0; i < bridges(); i++) {
        put_up(&w, BRIDGE + i);
        carry_out(host_socket, &w, "set a bridge up");
    }
}

#define NFT(type)  ((NFNL_SUBSYS_NFTABLES << 8) | (type))
#define NEST(type) ((type) | NLA_F_NESTED)

static void put_nft(struct nlwrite *w, int type, uint16_t flags, uint8_t family, uint16_t resource)
{
    struct nfgenmsg *m = nlw_message(w, (uint16_t)type, flags, sizeof *m);
    m->nfgen_family = family;
    m->version = NFNETLINK_V0;
    m->res_id = htons(resource);
}

static void shut_expression(struct nlwrite *w, struct rtattr *nests[2])
{
    nlw_shut(w, nests[1]);
    nlw_shut(w, nests[0]);
}

static void put_expression(struct nlwrite *w, const char *kind, struct rtattr *nests[2])
{
    nests[0] = nlw_nest(w, NEST(NFTA_LIST_ELEM));
    nlw_text(w, NFTA_EXPR_NAME, kind);
    nests[1] = nlw_nest(w, NEST(NFTA_EXPR_DATA));
}

static void put_compare(struct nlwrite *w, uint32_t op, const void *with, size_t size)
{
    struct rtattr *nests[2];
    put_expression(w, "cmp", nests);
    nlw_u32(w, NFTA_CMP_SREG, htonl(NFT_REG_1));
    nlw_u32(w, NFTA_CMP_OP, htonl(op));
    struct rtattr *data = nlw_nest(w, NEST(NFTA_CMP_DATA));
    nlw_put(w, NFTA_DATA_VALUE, with, size);
    nlw_shut(w, data);
    shut_expression(w, nests);
}

/* ip saddr 10.200.0.0/16 oif != b0 masquerade */
static void put_masquerade(struct nlwrite *w, int bridge)
{
    struct rtattr *nests[2];
    uint32_t net = bridge_address(bridge), index = (uint32_t)(BRIDGE + bridge);
    put_nft(w, NFT(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND, NFPROTO_IPV4, 0);
    nlw_text(w, NFTA_RULE_TABLE, "limit");
    nlw_text(w, NFTA_RULE_CHAIN, "post");
    struct rtattr *list = nlw_nest(w, NEST(NFTA_RULE_EXPRESSIONS));
    put_expression(w, "payload", nests);
    nlw_u32(w, NFTA_PAYLOAD_DREG, htonl(NFT_REG_1));
    nlw_u32(w, NFTA_PAYLOAD_BASE, htonl(NFT_PAYLOAD_NETWORK_HEADER));
    nlw_u32(w, NFTA_PAYLOAD_OFFSET, htonl(12)); /* RFC 791 3.1: source address */
    nlw_u32(w, NFTA_PAYLOAD_LEN, htonl(2));
    shut_expression(w, nests);
    put_compare(w, NFT_CMP_EQ, &net, 2);
    put_expression(w, "meta", nests);
    nlw_u32(w, NFTA_META_DREG, htonl(NFT_REG_1));
    nlw_u32(w, NFTA_META_KEY, htonl(NFT_META_OIF));
    shut_expression(w, nests);
    put_compare(w, NFT_CMP_NEQ, &index, sizeof index);
    put_expression(w, "masq", nests);
    shut_expression(w, nests);
    nlw_shut(w, list);
}

static void nft_table(bool remove)
{
    char bytes[32 * 1024];
    struct nlwrite w = {.bytes = bytes};
    put_nft(&w, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    put_nft(&w, NFT(remove ? NFT_MSG_DELTABLE : NFT_MSG_NEWTABLE), remove ? 0 : NLM_F_CREATE,
            NFPROTO_IPV4, 0);
    nlw_text(&w, NFTA_TABLE_NAME, "limit");
    if (!remove) {
        put_nft(&w, NFT(NFT_MSG_NEWCHAIN), NLM_F_CREATE, NFPROTO_IPV4, 0);
        nlw_text(&w, NFTA_CHAIN_TABLE, "limit");
        nlw_text(&w, NFTA_CHAIN_NAME, "post");
        struct rtattr *hook = nlw_nest(&w, NEST(NFTA_CHAIN_HOOK));
        nlw_u32(&w, NFTA_HOOK_HOOKNUM, htonl(NF_INET_POST_ROUTING));
        nlw_u32(&w, NFTA_HOOK_PRIORITY, htonl(100));
        nlw_shut(&w, hook);
        nlw_text(&w, NFTA_CHAIN_TYPE, "nat");
        for (int i = 0; i < bridges(); i++)
            put_masquerade(&w, i);
    }
    w.last->nlmsg_flags |= NLM_F_ACK;
    uint32_t last = w.seq;
    put_nft(&w, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    post(nft_socket, &w);
    await(nft_socket, last, remove ? "remove the table" : "make the table");
}

static void set_forwarding(void)
{
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        fail("set ip_forward");
    close(fd);
}

/* ---- create ---- */

static void mount_name(int i, const char *from)
{
    char text[16], path[32];
    int fd =
        openat(names_dir, numbered(text, 'c', i), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd < 0)
        fail("make the name '%s'", text);
    close(fd);
    snprintf(path, sizeof path, "/run/netns/%s", text);
    if (mount(from, path, NULL, MS_BIND, NULL))
        fail("mount '%s'", path);
}

static void drop_name(int i)
{
    char text[16], path[32];
    snprintf(path, sizeof path, "/run/netns/%s", numbered(text, 'c', i));
    umount2(path, MNT_DETACH);
    unlinkat(names_dir, text, 0);
}

/* Leaves the calling thread in the new namespace. */
static struct slot make_namespace(int i)
{
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    if (unshare(CLONE_NEWNET))
        fail("make a namespace");
    struct slot s = {.socket = open_netlink(NETLINK_ROUTE)};
    if (!strcmp(name, "marked")) {
        put_link(&w, RTM_SETLINK, 0, LO);
        nlw_u32(&w, IFLA_GROUP, GROUP);
        carry_out(s.socket, &w, "mark lo");
    }
    if (strcmp(name, "linker"))
        mount_name(i, "/proc/thread-self/ns/net");
    s.ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (s.ns < 0)
        fail("open the namespace");
    return s;
}

static void fill(int first, int count)
{
    static char bytes[MOST_BATCH * 512];
    struct nlwrite w = {.bytes = bytes};
    for (int i = first; i < first + count; i++)
        put_veth(&w, i, slots[i].ns);
    carry_out(host_socket, &w, "make ports");
    for (int i = first; i < first + count; i++) {
        put_inside(&w, i);
        carry_out(slots[i].socket, &w, "fill a container");
        if (!strcmp(name, "linker")) {
            char path[32];
            snprintf(path, sizeof path, "/proc/thread-self/fd/%d", slots[i].ns);
            mount_name(i, path);
        }
        close(slots[i].socket);
        close(slots[i].ns);
    }
}

static void *maker(void *unused)
{
    for (int i = 0; i < n; i++) {
        slots[i] = make_namespace(i);
        pthread_mutex_lock(&lock);
        made = i + 1;
        pthread_cond_signal(&more);
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static int wait_made(int done)
{
    pthread_mutex_lock(&lock);
    while (made <= done)
        pthread_cond_wait(&more, &lock);
    int count = made - done;
    pthread_mutex_unlock(&lock);
    return count < batch ? count : batch; /* what is there: a batch is never waited for */
}

static void create(void)
{
    pthread_t thread;
    set_forwarding();
    make_bridges();
    nft_table(false);
    if (!strcmp(how, "one")) {
        for (int i = 0; i < n; i++) {
            slots[i] = make_namespace(i);
            fill(i, 1);
        }
        setns(host_ns, CLONE_NEWNET);
    } else {
        if (pthread_create(&thread, NULL, maker, NULL))
            fail("start a thread");
        for (int done = 0, count; done < n; done += count) {
            count = wait_made(done);
            fill(done, count);
        }
        pthread_join(thread, NULL);
    }
    bridges_up();
}

/* ---- observe ---- */

static void ask_link(struct nlwrite *w, uint8_t family, int index)
{
    put_link(w, RTM_GETLINK, index ? 0 : NLM_F_DUMP, index)->ifi_family = family;
    nlw_u32(w, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

static void ask_addresses(struct nlwrite *w, int index)
{
    struct ifaddrmsg *m = nlw_message(w, RTM_GETADDR, NLM_F_DUMP, sizeof *m);
    m->ifa_family = AF_INET;
    m->ifa_index = (uint32_t)index;
}

static void ask_routes(struct nlwrite *w)
{
    struct rtmsg *m = nlw_message(w, RTM_GETROUTE, NLM_F_DUMP, sizeof *m);
    m->rtm_family = AF_INET;
    m->rtm_table = RT_TABLE_MAIN;
}

/* The route to a documentation address (RFC 5737): no dump, so it can share a send with one. */
static void ask_lookup(struct nlwrite *w)
{
    struct rtmsg *m = nlw_message(w, RTM_GETROUTE, 0, sizeof *m);
    m->rtm_family = AF_INET;
    m->rtm_dst_len = 32;
    m->rtm_flags = RTM_F_FIB_MATCH;
    nlw_u32(w, RTA_DST, inet_addr("192.0.2.1"));
}

/* `index`: the attributes' room; a number attribute as number, 0 where it is absent. */
static uint32_t number_of(struct rtattr *a, unsigned room, uint16_t type)
{
    for (int left = (int)room; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == type) {
            uint32_t v;
            memcpy(&v, RTA_DATA(a), sizeof v);
            return v;
        }
    return 0;
}

static void note_port(struct nlmsghdr *h)
{
    struct ifinfomsg *m = NLMSG_DATA(h);
    int i = m->ifi_index - PORT;
    if (i >= 0 && i < n && (m->ifi_flags & IFF_UP) &&
        number_of(IFLA_RTA(m), IFLA_PAYLOAD(h), IFLA_MASTER) == (uint32_t)(BRIDGE + i / PER_BRIDGE))
        seen[i] |= SEEN_PORT;
}

static void note_link(struct nlmsghdr *h, int i)
{
    struct ifinfomsg *m = NLMSG_DATA(h);
    if (m->ifi_flags & IFF_UP)
        seen[i] |= m->ifi_index == LO ? SEEN_LO : m->ifi_index == ETH0 ? SEEN_ETH0 : 0;
}

static void note_address(struct nlmsghdr *h, int i)
{
    struct ifaddrmsg *m = NLMSG_DATA(h);
    if (m->ifa_index == ETH0 && m->ifa_prefixlen == 16 &&
        number_of(IFA_RTA(m), IFA_PAYLOAD(h), IFA_LOCAL) == address(i))
        seen[i] |= SEEN_ADDRESS;
}

static void note_route(struct nlmsghdr *h, int i)
{
    struct rtmsg *m = NLMSG_DATA(h);
    if (!m->rtm_dst_len &&
        number_of(RTM_RTA(m), RTM_PAYLOAD(h), RTA_GATEWAY) == bridge_address(i / PER_BRIDGE))
        seen[i] |= SEEN_ROUTE;
}

/* One datagram about container `i`, or about the host (-1). Returns how many requests it ends. */
static int note(char *bytes, size_t size, int i)
{
    int ended = 0;
    unsigned left = (unsigned)size;
    for (struct nlmsghdr *h = (void *)bytes; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_type == RTM_NEWLINK && i < 0)
            note_port(h);
        else if (h->nlmsg_type == RTM_NEWLINK)
            note_link(h, i);
        else if (h->nlmsg_type == RTM_NEWADDR && i >= 0)
            note_address(h, i);
        else if (h->nlmsg_type == RTM_NEWROUTE)
            note_route(h, i);
        /* an error is an answer: what was asked for is not there */
        ended += h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR ||
                 !(h->nlmsg_flags & NLM_F_MULTI);
    }
    return ended;
}

/* A small dump comes as two datagrams, its end is made when the first is taken: recvmmsg gets both
 * in one call. */
static void take_answers(int s, int i, int requests)
{
    static _Thread_local _Alignas(8) char room[ANSWERS][ANSWER_ROOM];
    struct iovec at[ANSWERS];
    struct mmsghdr heads[ANSWERS];
    memset(heads, 0, sizeof heads);
    for (int k = 0; k < ANSWERS; k++) {
        at[k] = (struct iovec){room[k], ANSWER_ROOM};
        heads[k].msg_hdr.msg_iov = &at[k];
        heads[k].msg_hdr.msg_iovlen = 1;
    }
    while (requests > 0) {
        int got = recvmmsg(s, heads, ANSWERS, MSG_WAITFORONE, NULL);
        if (got < 0)
            fail("read container %d", i);
        for (int k = 0; k < got; k++)
            requests -= note(room[k], heads[k].msg_len, i);
    }
}

static bool enter(int i)
{
    char text[16];
    int fd = openat(names_dir, numbered(text, 'c', i), O_RDONLY | O_CLOEXEC);
    bool in = fd >= 0 && !setns(fd, CLONE_NEWNET);
    if (fd >= 0)
        close(fd);
    return in;
}

static void read_container(int i)
{
    char bytes[512];
    struct nlwrite w = {.bytes = bytes};
    if (!enter(i))
        return;
    int s = open_netlink(NETLINK_ROUTE);
    if (strcmp(inside, "two")) {
        ask_link(&w, AF_UNSPEC, LO);
        ask_link(&w, AF_UNSPEC, ETH0);
    }
    if (!strcmp(inside, "lookup"))
        ask_lookup(&w);
    ask_addresses(&w, 0);
    int requests = (int)w.seq;
    post(s, &w);
    take_answers(s, i, requests);
    if (strcmp(inside, "lookup")) { /* a socket runs one dump at a time */
        ask_routes(&w);
        post(s, &w);
        take_answers(s, i, 1);
    }
    close(s);
}

static void *reader(void *first)
{
    for (int i = (int)(intptr_t)first; i < n; i += readers)
        read_container(i);
    return NULL;
}

static int wanted_bits(void)
{
    int links = strcmp(inside, "two") ? SEEN_LO | SEEN_ETH0 : 0;
    return SEEN_PORT | SEEN_ADDRESS | SEEN_ROUTE | links;
}

static void read_host(void)
{
    static _Alignas(8) char room[DUMP_ROOM];
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    ask_link(&w, AF_BRIDGE, 0);
    post(host_socket, &w);
    for (int ended = 0; !ended;) {
        ssize_t got = recv(host_socket, room, sizeof room, 0);
        if (got < 0)
            fail("read the ports");
        ended = note(room, (size_t)got, -1);
    }
    for (int i = 0; i < bridges(); i++) {
        ask_addresses(&w, BRIDGE + i);
        post(host_socket, &w);
        take_answers(host_socket, -1, 1);
    }
    put_nft(&w, NFT(NFT_MSG_GETRULE), NLM_F_DUMP, NFPROTO_IPV4, 0);
    nlw_text(&w, NFTA_RULE_TABLE, "limit");
    post(nft_socket, &w);
    take_answers(nft_socket, -1, 1);
    int fd = open("/proc/sys/net/ipv4/ip_forward", O_RDONLY | O_CLOEXEC);
    char value;
    if (fd < 0 || read(fd, &value, 1) != 1 || value != '1')
        fail("find ip_forward set");
    close(fd);
}

/* How many containers are not as they should be. */
static int observe(void)
{
    pthread_t threads[8];
    int wrong = 0;
    memset(seen, 0, (size_t)n);
    read_host();
    for (int k = 0; k < readers; k++)
        if (pthread_create(&threads[k], NULL, reader, (void *)(intptr_t)k))
            fail("start a thread");
    for (int k = 0; k < readers; k++)
        pthread_join(threads[k], NULL);
    for (int i = 0; i < n; i++)
        wrong += (seen[i] & wanted_bits()) != wanted_bits();
    return wrong;
}

static void expect_wrong(int wrong, int want)
{
    if (wrong == want)
        return;
    fprintf(stderr, "limit: %d containers are wrong, expected %d\n", wrong, want);
    exit(1);
}

/* ---- repair, destroy ---- */

static void lose_namespace(int i)
{
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    drop_name(i);
    for (int tries = 0; tries < 1000; tries++) {
        _Alignas(8) char answer[ANSWER_ROOM];
        ask_link(&w, AF_UNSPEC, PORT + i);
        post(host_socket, &w);
        if (recv(host_socket, answer, sizeof answer, 0) < 0)
            fail("wait for a link to go");
        if (((struct nlmsghdr *)(void *)answer)->nlmsg_type == NLMSG_ERROR)
            return;
        usleep(5000);
    }
}

static void lose_address(int i)
{
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    if (!enter(i))
        fail("enter container %d", i);
    int s = open_netlink(NETLINK_ROUTE);
    put_address(&w, RTM_DELADDR, ETH0, address(i));
    carry_out(s, &w, "drop an address");
    close(s);
    setns(host_ns, CLONE_NEWNET);
}

static void repair(void)
{
    char bytes[512];
    struct nlwrite w = {.bytes = bytes};
    expect_wrong(observe(), 1);
    for (int i = 0; i < n; i++) {
        if ((seen[i] & wanted_bits()) == wanted_bits())
            continue;
        if (seen[i] & SEEN_PORT) {
            enter(i);
            int s = open_netlink(NETLINK_ROUTE);
            put_address(&w, RTM_NEWADDR, ETH0, address(i));
            put_default_route(&w, bridge_address(i / PER_BRIDGE));
            carry_out(s, &w, "put an address back");
            close(s);
        } else {
            slots[i] = make_namespace(i);
            fill(i, 1);
        }
        setns(host_ns, CLONE_NEWNET);
    }
}

static void destroy(void)
{
    char bytes[256];
    struct nlwrite w = {.bytes = bytes};
    nft_table(true);
    put_link(&w, RTM_DELLINK, 0, 0);
    nlw_u32(&w, IFLA_GROUP, GROUP);
    carry_out(host_socket, &w, "remove all links");
    for (int i = 0; i < n; i++)
        drop_name(i);
}

/* ---- settle: dead namespaces ---- */

static long live_namespaces(void)
{
    char line[512];
    long live = -1;
    FILE *f = fopen("/proc/slabinfo", "re");
    while (f && live < 0 && fgets(line, sizeof line, f))
        sscanf(line, "net_namespace %ld", &live);
    if (f)
        fclose(f);
    return live;
}

static void *empty_namespace(void *unused)
{
    if (unshare(CLONE_NEWNET))
        fail("make a namespace");
    return unused;
}

/* The kernel frees a dead namespace when a later one dies, under the lock that links need: whoever
 * runs next would pay. So let empty ones die until the number of namespaces falls no more. */
static void settle(void)
{
    for (int calm = 0, tries = 0; calm < 5 && tries < 1000; tries++) {
        pthread_t thread;
        long before = live_namespaces();
        if (pthread_create(&thread, NULL, empty_namespace, NULL))
            fail("start a thread");
        pthread_join(thread, NULL);
        usleep(20000);
        calm = live_namespaces() < before ? 0 : calm + 1;
    }
}

/* ---- one run ---- */

static void private_host(void)
{
    struct rlimit files = {1 << 19, 1 << 19};
    setrlimit(RLIMIT_NOFILE, &files);
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("limit", "/run", "tmpfs", 0, NULL) || mkdir("/run/netns", 0755) ||
        mount("limit", "/run/netns", "tmpfs", 0, NULL))
        fail("make a private host");
    names_dir = open("/run/netns", O_DIRECTORY | O_CLOEXEC);
    host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    host_socket = open_netlink(NETLINK_ROUTE);
    nft_socket = open_netlink(NETLINK_NETFILTER);
    slots = calloc((size_t)n, sizeof *slots);
    seen = calloc((size_t)n, 1);
    if (names_dir < 0 || host_ns < 0 || !slots || !seen)
        fail("make a private host");
}

static void run(void)
{
    private_host();
    long start = now_us();
    create();
    report("create", start);
    usleep(300000); /* work that the kernel left for later is not part of the next phase */
    for (int k = 0; k < rounds; k++) {
        start = now_us();
        int wrong = observe();
        report("observe", start);
        expect_wrong(wrong, 0);
    }
    lose_address(n / 2);
    start = now_us();
    repair();
    report("repair-address", start);
    lose_namespace(n / 2);
    usleep(100000);
    start = now_us();
    repair();
    report("repair", start);
    expect_wrong(observe(), 0);
    usleep(200000);
    start = now_us();
    destroy();
    report("destroy", start);
}

static int usage(void)
{
    fputs("limit settle          wait until no dead namespace is left\n"
          "limit [KEY=VALUE]...  the defaults are the fastest\n"
          "  n=N                 containers (100)\n"
          "  how=pipe|one        a maker thread and a linker, or one thread for both\n"
          "  batch=K             ports per send, at most 64 (1); fewer where fewer namespaces are "
          "ready\n"
          "  name=maker|marked|linker  who mounts the name, and whether lo gets its group before\n"
          "  inside=two|full|lookup    addresses and routes; both links too; both links and one "
          "route\n"
          "  readers=T           threads that observe, at most 8 (1, from 50 containers on 2)\n"
          "  rounds=K            observations (3)\n",
          stderr);
    return 64;
}

/* The value in `arg` if its key is `key`. */
static const char *value_of(const char *arg, const char *key)
{
    size_t len = strlen(key);
    return !strncmp(arg, key, len) && arg[len] == '=' ? arg + len + 1 : NULL;
}

static bool take_option(const char *arg)
{
    const struct {
        const char *key;
        int *number;
        const char **text;
    } keys[] = {{"n", &n, NULL},           {"batch", &batch, NULL}, {"readers", &readers, NULL},
                {"rounds", &rounds, NULL}, {"how", NULL, &how},     {"name", NULL, &name},
                {"inside", NULL, &inside}};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const char *value = value_of(arg, keys[k].key);
        if (value && keys[k].number)
            *keys[k].number = atoi(value);
        else if (value)
            *keys[k].text = value;
        if (value)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "settle")) {
        settle();
        return 0;
    }
    for (int k = 1; k < argc; k++)
        if (!take_option(argv[k]))
            return usage();
    if (!readers)
        readers = n < 50 ? 1 : 2;
    if (n < 1 || n > 50 * PER_BRIDGE || batch < 1 || batch > MOST_BATCH || readers < 1 ||
        readers > 8)
        return usage();
    run();
    return 0;
}
