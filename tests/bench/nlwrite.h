/* tests/bench/nlwrite.h — netlink messages behind each other in one buffer, for the limit program.
 * Owns     nothing; the caller's buffer is large enough for what the caller puts there.
 * Kernel   linux/netlink.h, linux/rtnetlink.h. */
#ifndef BENCH_NLWRITE_H
#define BENCH_NLWRITE_H
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <string.h>

struct nlwrite {
    char *bytes;
    size_t len;            /* always a multiple of four */
    struct nlmsghdr *last; /* the message that is being written, or was written last */
    uint32_t seq;
};

/* `size` zeroed bytes at the end. */
static inline void *nlw_room(struct nlwrite *w, size_t size)
{
    void *at = memset(w->bytes + w->len, 0, NLMSG_ALIGN(size));
    w->len += NLMSG_ALIGN(size);
    return at;
}

/* A message and its fixed part, which is returned. Its length grows with each attribute that
 * follows. */
static inline void *nlw_message(struct nlwrite *w, uint16_t type, uint16_t flags, size_t fixed)
{
    w->last = nlw_room(w, NLMSG_HDRLEN);
    w->last->nlmsg_type = type;
    w->last->nlmsg_flags = NLM_F_REQUEST | flags;
    w->last->nlmsg_seq = ++w->seq;
    void *body = nlw_room(w, fixed);
    w->last->nlmsg_len = (uint32_t)(w->bytes + w->len - (char *)w->last);
    return body;
}

static inline struct rtattr *nlw_put(struct nlwrite *w, uint16_t type, const void *data,
                                     size_t size)
{
    struct rtattr *a = nlw_room(w, RTA_LENGTH(size));
    a->rta_type = type;
    a->rta_len = (uint16_t)RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(a), data, size);
    w->last->nlmsg_len = (uint32_t)(w->bytes + w->len - (char *)w->last);
    return a;
}

static inline void nlw_u8(struct nlwrite *w, uint16_t type, uint8_t v)
{
    nlw_put(w, type, &v, sizeof v);
}

static inline void nlw_u32(struct nlwrite *w, uint16_t type, uint32_t v)
{
    nlw_put(w, type, &v, sizeof v);
}

static inline void nlw_text(struct nlwrite *w, uint16_t type, const char *s)
{
    nlw_put(w, type, s, strlen(s) + 1);
}

/* An attribute that holds those which follow, until it is shut. */
static inline struct rtattr *nlw_nest(struct nlwrite *w, uint16_t type)
{
    return nlw_put(w, type, NULL, 0);
}

static inline void nlw_shut(struct nlwrite *w, struct rtattr *nest)
{
    nest->rta_len = (uint16_t)(w->bytes + w->len - (char *)nest);
}
#endif
