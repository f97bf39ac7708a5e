/* spec/addr.h — IPv4 and IPv6 addresses, prefixes and MACs as a spec writes them.
 * Owns     nothing; all by value, network byte order.
 * Sources  RFC 4291 2.2 (IPv6 text), RFC 5952 (canonical text), inet_pton(3). */
#ifndef SPEC_ADDR_H
#define SPEC_ADDR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spec_addr {
    uint8_t family;    /* 4, 6; 0: none */
    uint8_t prefix;    /* bits, 0..32 or 0..128; with a bare address the whole width */
    bool has_prefix;   /* "/24" was written */
    uint8_t bytes[16]; /* network order; 4 used by IPv4 */
};
#define SPEC_ADDR_TEXT 64 /* room for "ffff:…:ffff/128" and its NUL */

/* Parse `text` of `len` bytes strictly: no leading zeros, no zone, no blanks. 0, or -EINVAL with
 * *why (static or in `buf`) naming the fault as a sentence ("`300` is not a number 0..255"). */
int spec_addr_parse(const char *text, size_t len, struct spec_addr *out, char why[128]);
char *spec_addr_format(const struct spec_addr *a, bool with_prefix, char out[SPEC_ADDR_TEXT]);
/* the address, not its prefix */
bool spec_addr_equal(const struct spec_addr *a, const struct spec_addr *b);
/* v4 first, then by bytes */
int spec_addr_compare(const struct spec_addr *a, const struct spec_addr *b);
/* a lies in net's prefix */
bool spec_addr_in(const struct spec_addr *a, const struct spec_addr *net);
/* host bits cleared */
void spec_addr_network(const struct spec_addr *a, struct spec_addr *out);
int spec_mac_parse(const char *text, size_t len, uint8_t out[6], char why[128]);
char *spec_mac_format(const uint8_t mac[6], char out[18]);
#endif
