/* Addresses are read strictly and by hand, since the libraries' readers say only yes or no: an
 * author wants to hear which number is too large. What comes out agrees with inet_pton(3). */
#include "spec/addr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN(s, n) (int)((n) > 60 ? 60 : (n)), (s) /* for "%.*s": a part of what was written */

__attribute__((format(printf, 2, 3))) static int bad(char why[128], const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, 128, format, ap);
    va_end(ap);
    return -EINVAL;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex(char c)
{
    if (digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse4(const char *s, size_t len, uint8_t out[4], char why[128])
{
    size_t parts = 1;
    for (size_t i = 0; i < len; i++)
        parts += s[i] == '.';
    if (parts != 4)
        return bad(why, "four numbers are needed, as in 10.0.0.1; `%.*s` is not that",
                   SHOWN(s, len));
    for (int k = 0; k < 4; k++) {
        size_t n = 0;
        while (n < len && s[n] != '.')
            n++;
        unsigned v = 0;
        bool good = n > 0 && n <= 3;
        for (size_t i = 0; i < n; i++) {
            good = good && digit(s[i]);
            v = v * 10 + (unsigned)(s[i] - '0');
        }
        if (!good || v > 255)
            return bad(why, "`%.*s` is not a number 0..255", SHOWN(s, n));
        if (n > 1 && *s == '0')
            return bad(
                why,
                "`%.*s` has a leading zero, which some programs take for octal; write it without",
                SHOWN(s, n));
        out[k] = (uint8_t)v;
        s += n + 1;
        len -= n < len ? n + 1 : n;
    }
    return 0;
}

static int parse6(const char *s, size_t len, uint8_t out[16], char why[128])
{
    char text[INET6_ADDRSTRLEN + 1];
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%')
            return bad(why, "a zone (`%.*s`) is not allowed here", SHOWN(s + i, len - i));
        if (hex(s[i]) < 0 && s[i] != ':' && s[i] != '.')
            return bad(why, "`%.*s` is not part of an IPv6 address", SHOWN(s + i, 1));
        if (i + 2 < len && !memcmp(s + i, ":::", 3))
            return bad(why, "`%.*s` is not valid", SHOWN(s + i, 3));
        size_t n = 0;
        while (i + n < len && hex(s[i + n]) >= 0)
            n++;
        if (n > 4 && !(i + n < len && s[i + n] == '.'))
            return bad(why, "`%.*s` has more than four hexadecimal digits", SHOWN(s + i, n));
        i += n ? n - 1 : 0;
    }
    if (len < sizeof text) {
        memcpy(text, s, len);
        text[len] = 0;
        if (inet_pton(AF_INET6, text, out) == 1)
            return 0;
    }
    return bad(why, "`%.*s` is not an IPv6 address (eight groups, or `::` once for the zeros)",
               SHOWN(s, len));
}

int spec_addr_parse(const char *text, size_t len, struct spec_addr *out, char why[128])
{
    struct spec_addr a = {0};
    if (!len)
        return bad(why, "an address is needed");
    if (text[0] == ' ' || text[0] == '\t')
        return bad(why, "leading space");
    if (text[len - 1] == ' ' || text[len - 1] == '\t')
        return bad(why, "trailing space");
    const char *slash = memchr(text, '/', len);
    size_t n = slash ? (size_t)(slash - text) : len;
    a.family = memchr(text, ':', n) ? 6 : 4;
    int r = a.family == 6 ? parse6(text, n, a.bytes, why) : parse4(text, n, a.bytes, why);
    if (r)
        return r;
    unsigned width = a.family == 6 ? 128 : 32;
    a.prefix = (uint8_t)width;
    if (slash) {
        const char *p = slash + 1;
        size_t k = len - n - 1;
        unsigned v = 0;
        bool good = k > 0 && k <= 3;
        for (size_t i = 0; i < k; i++) {
            good = good && digit(p[i]);
            v = v * 10 + (unsigned)(p[i] - '0');
        }
        if (good && k > 1 && *p == '0')
            return bad(why, "prefix length with a leading zero (`/%.*s`)", SHOWN(p, k));
        if (!good || v > width) {
            snprintf(why, 128, "IPv%d prefix length is 0..%u", a.family, width);
            return -EINVAL;
        }
        a.prefix = (uint8_t)v;
        a.has_prefix = true;
    }
    *out = a;
    return 0;
}

char *spec_addr_format(const struct spec_addr *a, bool with_prefix, char out[SPEC_ADDR_TEXT])
{
    inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->bytes, out, SPEC_ADDR_TEXT);
    if (with_prefix) {
        size_t n = strlen(out);
        snprintf(out + n, SPEC_ADDR_TEXT - n, "/%u", a->prefix);
    }
    return out;
}

int spec_addr_compare(const struct spec_addr *a, const struct spec_addr *b)
{
    if (a->family != b->family)
        return a->family < b->family ? -1 : 1;
    return memcmp(a->bytes, b->bytes, a->family == 6 ? 16 : 4);
}

bool spec_addr_equal(const struct spec_addr *a, const struct spec_addr *b)
{
    return spec_addr_compare(a, b) == 0;
}

void spec_addr_network(const struct spec_addr *a, struct spec_addr *out)
{
    struct spec_addr n = *a;
    for (unsigned i = 0; i < (a->family == 6 ? 16u : 4u); i++) {
        unsigned bits = a->prefix > i * 8 ? a->prefix - i * 8 : 0;
        n.bytes[i] &= (uint8_t)(bits >= 8 ? 0xff : 0xff00u >> bits);
    }
    *out = n;
}

bool spec_addr_in(const struct spec_addr *a, const struct spec_addr *net)
{
    struct spec_addr x = *a, y;
    if (a->family != net->family)
        return false;
    x.prefix = net->prefix;
    spec_addr_network(&x, &x);
    spec_addr_network(net, &y);
    return spec_addr_equal(&x, &y);
}

int spec_mac_parse(const char *text, size_t len, uint8_t out[6], char why[128])
{
    uint8_t m[6];
    const char *s = text;
    size_t left = len;
    for (int i = 0; i < 6; i++) {
        size_t n = 0;
        while (n < left && s[n] != ':')
            n++;
        if (n != 2 || hex(s[0]) < 0 || hex(s[1]) < 0)
            return bad(why,
                       "`%.*s` is not two hexadecimal digits; a MAC is six of them, as in "
                       "02:00:00:00:00:10",
                       SHOWN(s, n));
        m[i] = (uint8_t)(hex(s[0]) << 4 | hex(s[1]));
        bool colon = n < left;
        if (colon != (i < 5))
            return bad(why, "`%.*s` is not six pairs of digits, as in 02:00:00:00:00:10",
                       SHOWN(text, len));
        s += n + colon;
        left -= n + colon;
    }
    if (!memcmp(m, "\0\0\0\0\0", 6))
        return bad(why, "an all-zero address cannot be used");
    if (m[0] & 1)
        return bad(why, "a multicast address (its first byte is odd) cannot be a link's own");
    memcpy(out, m, 6);
    return 0;
}

char *spec_mac_format(const uint8_t mac[6], char out[18])
{
    snprintf(out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
    return out;
}
