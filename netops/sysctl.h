/* netops/sysctl.h — kernel settings below /proc/sys, of the calling thread's network namespace.
 * Names    with slashes ("net/ipv4/conf/br0/forwarding"): a link's name may hold dots.
 * Values   text without its line end, at most 63 bytes. */
#ifndef NETOPS_SYSCTL_H
#define NETOPS_SYSCTL_H
#include "netops/error.h"

/* -ENOENT: the kernel has no such setting */
int net_sysctl_read(const char *name, char out[64], struct net_error *err);
int net_sysctl_write(const char *name, const char *value, struct net_error *err);
/* 0: a write would be let through; else a negative errno: -EROFS where /proc/sys is mounted
 * read-only. */
int net_sysctl_writable(const char *name);
/* The links that have a directory below net/ipv4/conf or net/ipv6/conf (`family` AF_INET,
 * AF_INET6), `all` and `default` too. */
int net_sysctl_links(int family, int (*each)(void *arg, const char *link), void *arg,
                     struct net_error *err);
#endif
