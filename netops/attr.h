/* netops/attr.h — reading attributes, for the files of this folder that decode.
 * Differs  from libmnl's loops in one thing: the end of a message is its length, not that rounded
 *          up to four, so nothing behind a message is ever read.
 * Kernel   linux/netlink.h: struct nlattr. */
#ifndef NETOPS_ATTR_H
#define NETOPS_ATTR_H
#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Each attribute of message `m` behind a body of `body` bytes; afterwards `a` stands where
 * reading ended. */
#define NET_EACH(a, m, body)                                                                       \
    for ((a) = (const void *)((const uint8_t *)(m) + MNL_NLMSG_HDRLEN + MNL_ALIGN(body));          \
         net_attr_ok((a), (const uint8_t *)(m) + (m)->nlmsg_len); (a) = mnl_attr_next(a))
#define NET_EACH_IN(a, nest)                                                                       \
    for ((a) = mnl_attr_get_payload(nest);                                                         \
         net_attr_ok((a), (const uint8_t *)(nest) + (nest)->nla_len); (a) = mnl_attr_next(a))

static inline bool net_attr_ok(const struct nlattr *a, const uint8_t *end)
{
    const uint8_t *at = (const uint8_t *)a;
    return at < end && mnl_attr_ok(a, (int)(end - at));
}
/* A message of `type`, its body whole. */
static inline bool net_message_is(const struct nlmsghdr *m, uint16_t type, size_t body)
{
    return m->nlmsg_type == type && m->nlmsg_len >= MNL_NLMSG_HDRLEN + MNL_ALIGN(body);
}
/* Did NET_EACH reach the end? If not, the message was cut or is nonsense. */
static inline bool net_attrs_whole(const struct nlmsghdr *m, const struct nlattr *a)
{
    return (const uint8_t *)a >= (const uint8_t *)m + m->nlmsg_len;
}
static inline uint32_t net_attr_u32(const struct nlattr *a)
{
    uint32_t v = 0;
    if (mnl_attr_get_payload_len(a) >= sizeof v)
        memcpy(&v, mnl_attr_get_payload(a), sizeof v);
    return v;
}
static inline uint8_t net_attr_u8(const struct nlattr *a)
{
    return mnl_attr_get_payload_len(a) >= 1 ? *(const uint8_t *)mnl_attr_get_payload(a) : 0;
}
static inline void net_attr_text(const struct nlattr *a, char *out, size_t size)
{
    size_t n = strnlen(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
    if (n >= size)
        n = size - 1;
    memcpy(out, mnl_attr_get_payload(a), n);
    out[n] = '\0';
}
/* An address of `size` bytes; false: another length. */
static inline bool net_attr_bytes(const struct nlattr *a, void *out, size_t size)
{
    if (mnl_attr_get_payload_len(a) != size)
        return false;
    memcpy(out, mnl_attr_get_payload(a), size);
    return true;
}
#endif
