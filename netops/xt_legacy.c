/* Every offset is checked once, in net_xt_legacy_decode. After that, a jump may only go to the
 * start of a checked entry. */
#include "netops/xt_legacy.h"
#include "netops/xt_match.h"
#include <netinet/in.h>

/* The kernel's headers define the same types, unless libc has defined them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ALIGN = 8, DEPTH = 16, STEPS_MOST = 100000, TRIES = 5 };
enum { SIZE_MOST = 256 << 20 };

struct net_xt_legacy {
    int family;
    struct net_xt_info info;
    size_t size;
    uint8_t *bytes;
    uint8_t *starts; /* one byte for each ALIGN bytes: an entry starts here */
};

/* One rule, of either family, in one form. */
struct rule_view {
    uint8_t src[16], src_mask[16], dst[16], dst_mask[16];
    char iif[IFNAMSIZ], oif[IFNAMSIZ];
    uint8_t iif_mask[IFNAMSIZ], oif_mask[IFNAMSIZ];
    bool protocol, fragments, goes;
    uint8_t invert;
    uint32_t head, target, next; /* offsets within the entry */
};

static size_t entry_size(int family)
{
    return family == AF_INET6 ? sizeof(struct ip6t_entry) : sizeof(struct ipt_entry);
}

static void view_ipv4(const uint8_t *at, struct rule_view *v)
{
    struct ipt_entry e;

    memcpy(&e, at, sizeof e);
    memcpy(v->src, &e.ip.src, 4);
    memcpy(v->src_mask, &e.ip.smsk, 4);
    memcpy(v->dst, &e.ip.dst, 4);
    memcpy(v->dst_mask, &e.ip.dmsk, 4);
    memcpy(v->iif, e.ip.iniface, IFNAMSIZ);
    memcpy(v->oif, e.ip.outiface, IFNAMSIZ);
    memcpy(v->iif_mask, e.ip.iniface_mask, IFNAMSIZ);
    memcpy(v->oif_mask, e.ip.outiface_mask, IFNAMSIZ);
    v->protocol = e.ip.proto;
    /* A first packet is no fragment: `-f` never matches it, `! -f` always does. */
    v->fragments = !(e.ip.flags & IPT_F_FRAG) != !(e.ip.invflags & IPT_INV_FRAG);
    v->goes = e.ip.flags & IPT_F_GOTO;
    v->invert = e.ip.invflags;
    v->target = e.target_offset;
    v->next = e.next_offset;
}

static void view_ipv6(const uint8_t *at, struct rule_view *v)
{
    struct ip6t_entry e;

    memcpy(&e, at, sizeof e);
    memcpy(v->src, &e.ipv6.src, 16);
    memcpy(v->src_mask, &e.ipv6.smsk, 16);
    memcpy(v->dst, &e.ipv6.dst, 16);
    memcpy(v->dst_mask, &e.ipv6.dmsk, 16);
    memcpy(v->iif, e.ipv6.iniface, IFNAMSIZ);
    memcpy(v->oif, e.ipv6.outiface, IFNAMSIZ);
    memcpy(v->iif_mask, e.ipv6.iniface_mask, IFNAMSIZ);
    memcpy(v->oif_mask, e.ipv6.outiface_mask, IFNAMSIZ);
    v->protocol = e.ipv6.flags & IP6T_F_PROTO && e.ipv6.proto;
    v->goes = e.ipv6.flags & IP6T_F_GOTO;
    v->invert = e.ipv6.invflags;
    v->target = e.target_offset;
    v->next = e.next_offset;
}

static struct rule_view view_entry(const struct net_xt_legacy *t, size_t offset)
{
    struct rule_view v = {.head = (uint32_t)entry_size(t->family)};

    if (t->family == AF_INET6)
        view_ipv6(t->bytes + offset, &v);
    else
        view_ipv4(t->bytes + offset, &v);
    return v;
}

/* ---- checks ---- */

static bool matches_fit(const struct net_xt_legacy *t, size_t offset, const struct rule_view *v)
{
    for (uint32_t at = v->head; at < v->target;) {
        uint16_t size;
        if (v->target - at < sizeof(struct xt_entry_match))
            return false;
        memcpy(&size, t->bytes + offset + at, sizeof size);
        if (size < sizeof(struct xt_entry_match) || size > v->target - at)
            return false;
        at += size;
    }
    return true;
}

/* Offset of the next entry; 0: this entry is malformed. */
static size_t check_entry(const struct net_xt_legacy *t, size_t offset)
{
    uint16_t target_size;

    if (t->size - offset < entry_size(t->family))
        return 0;
    struct rule_view v = view_entry(t, offset);
    if (v.target < v.head || v.next < v.target ||
        v.next - v.target < sizeof(struct xt_entry_target))
        return 0;
    if (v.next > t->size - offset || v.next % ALIGN)
        return 0;
    memcpy(&target_size, t->bytes + offset + v.target, sizeof target_size);
    if (target_size < sizeof(struct xt_entry_target) || target_size > v.next - v.target)
        return 0;
    return matches_fit(t, offset, &v) ? offset + v.next : 0;
}

static bool starts_at(const struct net_xt_legacy *t, size_t offset)
{
    return offset < t->size && offset % ALIGN == 0 && t->starts[offset / ALIGN];
}

int net_xt_legacy_decode(int family, const struct net_xt_info *info, const void *entries,
                         size_t size, struct net_xt_legacy **out)
{
    scoped(net_xt_legacy_freep) struct net_xt_legacy *t = calloc(1, sizeof *t);

    if (!t)
        return -ENOMEM;
    if (!size || size > SIZE_MOST)
        return -EBADMSG;
    t->family = family;
    t->info = *info;
    t->size = size;
    t->bytes = malloc(size);
    t->starts = calloc(1, size / ALIGN + 1);
    if (!t->bytes || !t->starts)
        return -ENOMEM;
    memcpy(t->bytes, entries, size);
    for (size_t at = 0, next; at < size; at = next) {
        next = check_entry(t, at);
        if (!next)
            return -EBADMSG;
        t->starts[at / ALIGN] = 1;
    }
    if (!starts_at(t, info->forward) || !starts_at(t, info->underflow) ||
        info->forward > info->underflow)
        return -EBADMSG;
    *out = steal(t);
    return 0;
}

void net_xt_legacy_free(struct net_xt_legacy *t)
{
    if (!t)
        return;
    free(t->bytes);
    free(t->starts);
    free(t);
}

/* ---- one packet ---- */

static enum net_xt_holds test_link(const char *name, const char *wanted, const uint8_t *mask)
{
    char padded[IFNAMSIZ] = "";

    snprintf(padded, sizeof padded, "%s", name);
    for (size_t i = 0; i < IFNAMSIZ; i++)
        if ((padded[i] ^ wanted[i]) & mask[i])
            return NET_XT_NO;
    return NET_XT_YES;
}

static uint8_t prefix_byte(unsigned prefix, unsigned i)
{
    if (prefix >= (i + 1) * 8)
        return 0xff;
    return prefix <= i * 8 ? 0 : (uint8_t)(0xff << (8 - (prefix - i * 8)));
}

/* `other`: the answer for an address that the packet leaves open. */
static enum net_xt_holds test_address(int family, const uint8_t *have, uint8_t prefix,
                                      const uint8_t *wanted, const uint8_t *mask,
                                      enum net_xt_holds other)
{
    unsigned len = family == AF_INET6 ? 16 : 4;
    bool any = true, whole = true;

    for (unsigned i = 0; i < len; i++)
        any = any && !mask[i];
    if (any)
        return NET_XT_YES;
    if (!have)
        return other;
    for (unsigned i = 0; i < len; i++) {
        uint8_t ours = prefix_byte(prefix, i);
        if ((have[i] ^ wanted[i]) & mask[i] & ours)
            return NET_XT_NO;
        whole = whole && !(mask[i] & ~ours);
    }
    return whole ? NET_XT_YES : NET_XT_UNCLEAR; /* some addresses of our network */
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(name, *list))
            return true;
    return false;
}

static enum net_xt_holds test_match(const uint8_t *at, size_t size, const struct net_xt_packet *p)
{
    struct net_xt_way way = {.mapped = p->mapped,
                             .bridged = !strcmp(p->iif, p->oif),
                             .br_netfilter = p->br_netfilter,
                             .marked = true};
    struct xt_entry_match head;
    struct net_xt_match m = {.data = at + sizeof head, .size = size - sizeof head};

    memcpy(&head, at, sizeof head);
    memcpy(m.name, head.u.user.name, XT_EXTENSION_MAXNAMELEN);
    m.revision = head.u.user.revision;
    return net_xt_match_holds(&m, &way);
}

static enum net_xt_holds test_rule(const struct net_xt_legacy *t, size_t offset,
                                   const struct rule_view *v, const struct net_xt_packet *p)
{
    enum net_xt_holds to_outside = p->mapped ? NET_XT_UNCLEAR : NET_XT_NOT_OURS;
    enum net_xt_holds h =
        net_xt_inverted(test_link(p->iif, v->iif, v->iif_mask), v->invert & IPT_INV_VIA_IN);

    h = net_xt_both(
        h, net_xt_inverted(test_link(p->oif, v->oif, v->oif_mask), v->invert & IPT_INV_VIA_OUT));
    h = net_xt_both(h, net_xt_inverted(test_address(t->family, p->src, p->src_prefix, v->src,
                                                    v->src_mask, NET_XT_UNCLEAR),
                                       v->invert & IPT_INV_SRCIP));
    h = net_xt_both(h, net_xt_inverted(test_address(t->family, p->dst, p->dst_prefix, v->dst,
                                                    v->dst_mask, to_outside),
                                       v->invert & IPT_INV_DSTIP));
    if (v->fragments)
        h = NET_XT_NO;
    if (v->protocol)
        h = net_xt_both(h, NET_XT_NOT_OURS);
    for (uint32_t at = v->head; at < v->target;) {
        uint16_t size;
        memcpy(&size, t->bytes + offset + at, sizeof size);
        h = net_xt_both(h, test_match(t->bytes + offset + at, size, p));
        at += size;
    }
    return h;
}

/* ---- verdicts ---- */

enum act { PASS_ON, LEAVE, LET_GO, DROP_IT, JUMP, NOT_KNOWN };

static void target_name(const struct net_xt_legacy *t, size_t offset, const struct rule_view *v,
                        char name[static XT_EXTENSION_MAXNAMELEN + 1])
{
    struct xt_entry_target target;

    memcpy(&target, t->bytes + offset + v->target, sizeof target);
    memcpy(name, target.u.user.name, XT_EXTENSION_MAXNAMELEN);
    name[XT_EXTENSION_MAXNAMELEN] = '\0';
}

/* *to: offset, for JUMP. */
static enum act rule_act(const struct net_xt_legacy *t, size_t offset, const struct rule_view *v,
                         int *to)
{
    static const char *const passing[] = {
        "LOG", "NFLOG", "ULOG", "MARK", "CONNMARK", "TCPMSS", "TRACE",    "AUDIT",   "DSCP",
        "TOS", "TTL",   "HL",   "CT",   "CHECKSUM", "SET",    "CLASSIFY", "RATEEST", NULL};
    char name[XT_EXTENSION_MAXNAMELEN + 1];

    target_name(t, offset, v, name);
    if (!strcmp(name, "REJECT"))
        return DROP_IT;
    if (name[0])
        return is_one_of(name, passing) ? PASS_ON : NOT_KNOWN;
    if (v->next - v->target < sizeof(struct xt_standard_target))
        return NOT_KNOWN;
    memcpy(to, t->bytes + offset + v->target + offsetof(struct xt_standard_target, verdict),
           sizeof *to);
    if (*to >= 0)
        return JUMP;
    switch (*to) {
    case XT_RETURN:
        return LEAVE;
    case -NF_DROP - 1:
        return DROP_IT;
    case -NF_ACCEPT - 1:
        return LET_GO;
    default:
        return NOT_KNOWN; /* a queue: a program decides */
    }
}

/* Name of the chain that starts here; false: none does. */
static bool chain_head(const struct net_xt_legacy *t, size_t offset, char *out, size_t room)
{
    struct rule_view v = view_entry(t, offset);
    char name[XT_EXTENSION_MAXNAMELEN + 1];

    target_name(t, offset, &v, name);
    if (strcmp(name, XT_ERROR_TARGET) || v.next - v.target < sizeof(struct xt_error_target))
        return false;
    snprintf(out, room, "%.*s", XT_FUNCTION_MAXNAMELEN,
             (const char *)t->bytes + offset + v.target +
                 offsetof(struct xt_error_target, errorname));
    return true;
}

/* A user chain starts with an entry that holds its name. */
static void name_drop(const struct net_xt_legacy *t, size_t drop, bool user,
                      struct net_xt_drop *out)
{
    bool inside = false, named = false;
    unsigned rule = 0;

    memset(out, 0, sizeof *out);
    out->has_user = user;
    for (size_t at = 0; at < t->size && !named; at += view_entry(t, at).next) {
        char name[sizeof out->chain] = "";
        bool head = chain_head(t, at, name, sizeof name);
        if (head || at == t->info.forward) {
            inside = true;
            rule = 0;
            snprintf(out->chain, sizeof out->chain, "%s", head ? name : "FORWARD");
        }
        rule += inside && !head;
        named = at == drop;
    }
    out->rule = drop == t->info.underflow ? 0 : rule;
}

/* Where the rules of chain DOCKER-USER begin; 0: there is none. */
static size_t user_chain(const struct net_xt_legacy *t)
{
    char name[32];

    for (size_t at = 0, next; at < t->size; at = next) {
        next = at + view_entry(t, at).next;
        if (chain_head(t, at, name, sizeof name) && !strcmp(name, "DOCKER-USER"))
            return next;
    }
    return 0;
}

bool net_xt_legacy_drops(const struct net_xt_legacy *t, const struct net_xt_packet *packet,
                         struct net_xt_drop *out)
{
    size_t back[DEPTH], at = t->info.forward, docker = user_chain(t);
    bool user = false;
    int depth = 0;

    for (int steps = 0; steps < STEPS_MOST && starts_at(t, at); steps++) {
        struct rule_view v = view_entry(t, at);
        enum net_xt_holds h = test_rule(t, at, &v, packet);
        size_t next = at + v.next;
        int to = 0;
        enum act act = h == NET_XT_NO ? PASS_ON : rule_act(t, at, &v, &to);
        if (act == JUMP && (size_t)to == next)
            act = PASS_ON; /* a rule without a target */
        /* An unsure drop is no finding: the search goes on. An unsure accept or jump may take
         * all our packets away: the search ends. */
        if (h == NET_XT_NOT_OURS || (h == NET_XT_UNCLEAR && act == DROP_IT))
            act = PASS_ON;
        if (h == NET_XT_UNCLEAR && act != PASS_ON)
            return false;
        switch (act) {
        case PASS_ON:
            if (at == t->info.underflow)
                return false; /* beyond the policy: malformed */
            at = next;
            break;
        case LEAVE:
            at = depth ? back[--depth] : t->info.underflow;
            break;
        case JUMP:
            if (!v.goes && depth == DEPTH)
                return false;
            if (!v.goes)
                back[depth++] = next;
            at = (size_t)to;
            user = user || at == docker;
            break;
        case DROP_IT:
            name_drop(t, at, user, out);
            return true;
        case LET_GO:
        case NOT_KNOWN:
            return false;
        }
    }
    return false;
}

/* ---- the kernel ---- */

bool net_xt_legacy_listed(const char *path)
{
    char text[4096];
    size_t n = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    while (n < sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    close(fd);
    text[n] = '\0';
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (len == strlen("filter") && !strncmp(line, "filter", len))
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

/* The replies of both families start with the same header. */
_Static_assert(offsetof(struct ipt_get_entries, entrytable) ==
                   offsetof(struct ip6t_get_entries, entrytable),
               "one header");
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "one info");

/* 0; -EAGAIN: the table changed between the two questions; -errno. */
static int read_table(int fd, int family, struct net_xt_legacy **out)
{
    int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    struct ipt_getinfo info = {.name = "filter"};
    socklen_t len = sizeof info;

    if (getsockopt(fd, level, family == AF_INET6 ? IP6T_SO_GET_INFO : IPT_SO_GET_INFO, &info, &len))
        return -errno;
    if (len != sizeof info || !(info.valid_hooks & 1u << NF_INET_FORWARD) || info.size > SIZE_MOST)
        return -EBADMSG;
    len = (socklen_t)(offsetof(struct ipt_get_entries, entrytable) + info.size);
    struct ipt_get_entries *got = calloc(1, len);
    if (!got)
        return -ENOMEM;
    memcpy(got->name, "filter", sizeof "filter");
    got->size = info.size;
    int r = 0;
    if (getsockopt(fd, level, family == AF_INET6 ? IP6T_SO_GET_ENTRIES : IPT_SO_GET_ENTRIES, got,
                   &len))
        r = -errno;
    struct net_xt_info where = {info.hook_entry[NF_INET_FORWARD], info.underflow[NF_INET_FORWARD]};
    if (!r)
        r = net_xt_legacy_decode(family, &where,
                                 (const char *)got + offsetof(struct ipt_get_entries, entrytable),
                                 info.size, out);
    free(got);
    return r;
}

int net_xt_legacy_read(int family, struct net_xt_legacy **out, struct net_error *err)
{
    int r = -EAGAIN;

    *out = NULL;
    if (!net_xt_legacy_listed(family == AF_INET6 ? "/proc/thread-self/net/ip6_tables_names"
                                                 : "/proc/thread-self/net/ip_tables_names"))
        return 0;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return net_fail(err, errno, "read", "table 'filter' of %s",
                        family == AF_INET6 ? "ip6tables-legacy" : "iptables-legacy");
    for (int i = 0; i < TRIES && r == -EAGAIN; i++)
        r = read_table(fd, family, out);
    close(fd);
    if (r == -ENOENT) /* the table went away meanwhile */
        return 0;
    return r ? net_fail(err, -r, "read", "table 'filter' of %s",
                        family == AF_INET6 ? "ip6tables-legacy" : "iptables-legacy")
             : 0;
}
