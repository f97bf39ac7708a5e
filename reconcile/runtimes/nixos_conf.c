/* NAME.conf: one KEY=value a line, read by systemd, by Perl and by shell, so written in what all
 * three take for the same. */
#include "reconcile/runtimes/nixos.h"
#include <string.h>

bool nixos_conf_plain(const char *value)
{
    for (; *value; value++)
        if ((unsigned char)*value <= ' ' || (unsigned char)*value >= 0x7f ||
            strchr("\"'\\`$;#", *value))
            return false;
    return true;
}

const char *nixos_path(struct spec_arena *a, const char *path)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._/";
    size_t n = strlen(path);
    if (n > 1 && path[strspn(path, plain)] == 0 && path[n - 1] != '/' && !strstr(path, "//"))
        return path;
    char *text = spec_arena_alloc(a, 2 * n + 16), *to = text;
    if (!text)
        return NULL;
    to = stpcpy(to, "(/. + \"");
    for (; *path; path++) {
        if (strchr("\"\\$", *path))
            *to++ = '\\';
        *to++ = *path;
    }
    strcpy(to, "\")");
    return text;
}

bool nixos_conf_ours(const char *text)
{
    return !strncmp(text, NIXOS_MARK "\n", sizeof NIXOS_MARK);
}

static char *put(char *p, const char *key, const char *value)
{
    if (!value || !*value)
        return p;
    p = stpcpy(p, key);
    *p++ = '=';
    p = stpcpy(p, value);
    *p++ = '\n';
    return p;
}

const char *nixos_conf_text(struct spec_arena *a, const struct nixos_conf *c)
{
    const char *const all[] = {c->bridge,   c->gateway4, c->gateway6, c->address4,
                               c->address6, c->mac,      c->flake};
    size_t size = 400;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        size += all[i] ? strlen(all[i]) : 0;
    char *text = spec_arena_alloc(a, size), *p = text;
    if (!text)
        return NULL;
    p = stpcpy(p, NIXOS_MARK "\n");
    p = put(p, "PRIVATE_NETWORK", "1");
    p = put(p, "HOST_BRIDGE", c->bridge);
    p = stpcpy(p, "HOST_PORT=\n");
    p = put(p, "HOST_ADDRESS", c->gateway4);
    p = put(p, "LOCAL_ADDRESS", c->address4);
    p = put(p, "HOST_ADDRESS6", c->gateway6);
    p = put(p, "LOCAL_ADDRESS6", c->address6);
    p = put(p, "LOCAL_MAC_ADDRESS", c->mac);
    p = put(p, "AUTO_START", c->autostart ? "1" : "0");
    put(p, "FLAKE", c->flake);
    return text;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

const char *nixos_conf_get(struct spec_arena *a, const char *text, const char *name)
{
    const char *found = NULL, *end = NULL;
    size_t n = strlen(name);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *p = line;
        while (blank(*p))
            p++;
        if (strncmp(p, name, n) || p[n] != '=')
            continue;
        for (p += n + 1; blank(*p);)
            p++;
        found = p;
        end = p + strcspn(p, "\n");
    }
    if (!found)
        return NULL;
    while (end > found && blank(end[-1]))
        end--;
    if (end - found >= 2 && (*found == '"' || *found == '\'') && end[-1] == *found) {
        found++;
        end--;
    }
    return spec_arena_strndup(a, found, (size_t)(end - found));
}
