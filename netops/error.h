/* netops/error.h — what the kernel refused, for whoever asked it.
 * Sources  linux/netlink.h: struct nlmsgerr, enum nlmsgerr_attrs. */
#ifndef NETOPS_ERROR_H
#define NETOPS_ERROR_H
#include <stddef.h>
#include <stdint.h>

struct net_error {
    const char *op;   /* static: "set the mtu of" */
    char object[96];  /* "link 'br0'" */
    int code;         /* errno, positive */
    uint32_t tag;     /* the caller's number for what was refused; 0: not known */
    char kernel[160]; /* the kernel's own sentence (NLMSGERR_ATTR_MSG), or "" */
};
/* Fill *err, if it is not NULL; gives back -code, so that `return net_fail(…)` works. */
int net_fail(struct net_error *err, int code, const char *op, const char *object_format, ...)
    __attribute__((format(printf, 4, 5)));
/* The kernel's own sentence, `length` bytes, into *err (if it is not NULL). */
void net_error_kernel(struct net_error *err, const char *text, size_t length);
/* One sentence: "cannot set the mtu of link 'br0': Invalid argument (kernel: mtu less than device
 * minimum)". Where the kernel has no text (a name that exists, a full bridge, a bad MAC…) ours
 * stands in its place. */
void net_error_format(const struct net_error *err, char *out, unsigned long size);
#endif
