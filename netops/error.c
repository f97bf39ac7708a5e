/* Refusals as values: filled where the kernel said no, made into a sentence only when somebody
 * wants to read it. The kernel gives a text for many refusals, but not for the commonest ones (a
 * name that exists, a full bridge, a bad MAC); the table below has the sentences it lacks. */
#include "netops/error.h"
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Names of links may hold any byte but a few (the kernel takes ESC): none of them may reach a
 * terminal as it is. */
static void plain(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

int net_fail(struct net_error *err, int code, const char *op, const char *object_format, ...)
{
    if (err) {
        va_list args;
        va_start(args, object_format);
        memset(err, 0, sizeof *err);
        err->op = op;
        err->code = code;
        vsnprintf(err->object, sizeof err->object, object_format, args);
        va_end(args);
        plain(err->object);
    }
    return -code;
}

void net_error_kernel(struct net_error *err, const char *text, size_t length)
{
    if (!err)
        return;
    if (length >= sizeof err->kernel)
        length = sizeof err->kernel - 1;
    memcpy(err->kernel, text, length);
    err->kernel[length] = '\0';
    plain(err->kernel);
}

/* First row that fits wins: `op` NULL and `object` "" fit everything, `object` is a beginning. */
static const struct sentence {
    int code;
    const char *op;
    const char *object;
    const char *text;
} sentences[] = {
    /*              op, object (beginning)                sentence */
    {EEXIST, "create", "",
     "a link of that name exists already (or an alternative name, see 'ip -d link')"},
    {EEXIST, "add", "address", "the link has this address already"},
    {EEXIST, "add", "route", "a route to this destination exists already"},
    {EEXIST, "name", "", "a namespace of that name exists already"},
    {EXFULL, NULL, "", "the bridge is full: Linux takes 1023 ports"},
    {EADDRNOTAVAIL, "create", "", "its MAC is not a usable (unicast) MAC"},
    {EADDRNOTAVAIL, "set the MAC of", "", "not a usable (unicast) MAC"},
    {EADDRNOTAVAIL, "remove", "address", "the link does not have this address"},
    {EBUSY, "set the master of", "", "the link is a port of something else already"},
    {EBUSY, "create", "", "the index or the device is in use"},
    {EPERM, NULL, "", "this needs CAP_NET_ADMIN (are you root?)"},
    {EACCES, NULL, "", "this needs CAP_NET_ADMIN (are you root?)"},
    {ENETUNREACH, NULL, "", "the gateway cannot be reached: no network that is up holds it"},
    {EHOSTUNREACH, NULL, "", "the gateway cannot be reached"},
    {ENETDOWN, NULL, "", "the link is down"},
    {ESRCH, "remove", "route", "there is no such route"},
    {ENODEV, NULL, "", "there is no such link"},
    {EOPNOTSUPP, NULL, "table bridge",
     "this kernel lacks nftables bridge filtering (CONFIG_NF_TABLES_BRIDGE)"},
    {EOPNOTSUPP, NULL, "nftables", "this kernel lacks nftables (CONFIG_NF_TABLES)"},
    {EOPNOTSUPP, "create", "",
     "this kernel lacks this kind of link (see CONFIG_BRIDGE, CONFIG_VETH)"},
    {EOPNOTSUPP, NULL, "", "this kernel lacks what is needed for it"},
    {EAFNOSUPPORT, NULL, "", "this kernel lacks that address family (is IPv6 switched off?)"},
    {EPROTONOSUPPORT, NULL, "", "this kernel lacks that netlink family"},
    {ERANGE, "create", "", "its name is too long: Linux takes 15 characters"},
    {EINVAL, "set the master of", "", "the master does not exist, or takes no such link"},
    {EINVAL, "open", "namespace", "there is no network namespace behind this name"},
    {EINVAL, "enter", "", "there is no network namespace behind it"},
    {EINVAL, "create", "", "a value in it is invalid (its name, or its master)"},
    {ENFILE, "create", "", "no free number is left for its name"},
    {EINTR, NULL, "", "it changed during each of 11 readings"},
    {ETIMEDOUT, NULL, "", "no answer from the kernel"},
    {ENOBUFS, NULL, "", "the kernel dropped answers: the outcome is unknown, read again"},
    {EMSGSIZE, NULL, "", "a netlink message was cut"},
    {EBADMSG, NULL, "", "the kernel's answer makes no sense"},
    {ECANCELED, NULL, "", "it was not sent, since something before it went wrong"},
    {ERESTART, NULL, "", "somebody else changed it at the same time"},
};

void net_error_format(const struct net_error *err, char *out, unsigned long size)
{
    const char *op = err->op ? err->op : "do something with";
    const char *space = err->object[0] ? " " : "";

    if (err->kernel[0]) {
        snprintf(out, size, "cannot %s%s%s: %s (kernel: %s)", op, space, err->object,
                 strerror(err->code), err->kernel);
        return;
    }
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        const struct sentence *s = &sentences[i];
        if (s->code == err->code && (!s->op || !strcmp(s->op, op)) &&
            !strncmp(err->object, s->object, strlen(s->object))) {
            snprintf(out, size, "cannot %s%s%s: %s", op, space, err->object, s->text);
            return;
        }
    }
    snprintf(out, size, "cannot %s%s%s: %s", op, space, err->object, strerror(err->code));
}
