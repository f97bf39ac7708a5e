/* Errors are one sentence with a place; the kernel's refusals arrive as net_error and become one
 * of ours. */
#include "reconcile/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int rec_fail(struct rec_error *err, int code, const char *format, ...)
{
    if (err) {
        memset(err, 0, sizeof *err);
        err->code = code;
        va_list ap;
        va_start(ap, format);
        vsnprintf(err->text, sizeof err->text, format, ap);
        va_end(ap);
    }
    return -code;
}

int rec_fail_net(struct rec_error *err, const struct net_error *e)
{
    if (err) {
        memset(err, 0, sizeof *err);
        err->code = e->code;
        net_error_format(e, err->text, sizeof err->text);
    }
    return -e->code;
}

void rec_hint(struct rec_error *err, const char *format, ...)
{
    if (!err)
        return;
    va_list ap;
    va_start(ap, format);
    vsnprintf(err->hint, sizeof err->hint, format, ap);
    va_end(ap);
}
