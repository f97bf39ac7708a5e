/* netops/scoped.h — handles that close themselves at the end of their scope, in reverse order.
 *     scoped(net_batch_closep) struct net_batch *b = NULL;
 *     *out = steal(b);                                             hands it on */
#ifndef NETOPS_SCOPED_H
#define NETOPS_SCOPED_H
#include <unistd.h>

#define scoped(fn) __attribute__((cleanup(fn)))
#define DEFINE_SCOPED(type, fn)                                                                    \
    static inline void fn##p(type *p)                                                              \
    {                                                                                              \
        if (*p)                                                                                    \
            fn(*p);                                                                                \
    }
#define steal(x)                                                                                   \
    __extension__({                                                                                \
        __typeof__(x) stolen_ = (x);                                                               \
        (x) = NULL;                                                                                \
        stolen_;                                                                                   \
    })
static inline void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#endif
