/* One step of a container tells it: the unit's, or the root's of a NixOS container. */
#include "cmd/render/grants.h"
#include "cmd/output.h"
#include <string.h>

struct lines {
    void (*each)(void *arg, const char *field, const char *value);
    void  *arg;
};

static void tell(const struct lines *l, const char *field, struct cmd_out *text)
{
    l->each(l->arg, field, text->text ? text->text : "");
    cmd_out_done(text);
}

/* As a shell would need it: sh -c 'echo x'. */
static void put_word(struct cmd_out *o, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    if (*word && !word[strspn(word, plain)]) {
        cmd_put(o, word);
        return;
    }
    cmd_put(o, "'");
    for (; *word; word++)
        if (*word == '\'')
            cmd_put(o, "'\\''");
        else
            cmd_putn(o, word, 1);
    cmd_put(o, "'");
}

static void nspawn_grants(const struct spec_container *c, const struct lines *l)
{
    static const char *const users[] = {
        [SPEC_USERS_AUTO] = NULL, [SPEC_USERS_NONE] = "none", [SPEC_USERS_IDENTITY] = "identity"};
    struct cmd_out o = {.fd = -1};
    if (c->nspawn.root != SPEC_ROOT_HOST && c->nspawn.path.text)
        l->each(l->arg, c->nspawn.root == SPEC_ROOT_TAR ? "root, unpacked from" : "root",
                c->nspawn.path.text);
    if (c->nspawn.boot)
        l->each(l->arg, "command", "the root's own init");
    for (size_t i = 0; i < c->nspawn.n_command; i++) {
        cmd_put(&o, i ? " " : "");
        put_word(&o, c->nspawn.command[i].text);
    }
    if (c->nspawn.n_command)
        tell(l, "command", &o);
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        cmd_printf(&o, "%s:%s%s", b->host, b->container, b->read_only ? ":ro" : "");
        tell(l, "bind", &o);
    }
    for (unsigned i = 0; i < 64; i++)
        if (c->nspawn.capabilities >> i & 1 && spec_capability_name(i))
            cmd_printf(&o, "%s%s", o.n ? ", " : "", spec_capability_name(i));
    if (c->nspawn.capabilities)
        tell(l, "capabilities", &o);
    if (users[c->nspawn.users])
        l->each(l->arg, "private_users", users[c->nspawn.users]);
    if (c->nspawn.network_admin)
        l->each(l->arg, "network_admin", "true");
}

static void nixos_grants(const struct spec_container *c, const struct lines *l)
{
    struct cmd_out o = {.fd = -1};
    if (c->nixos.flake.text) {
        cmd_put(&o, c->nixos.flake.text);
        if (c->nixos.attr.text && !strchr(c->nixos.flake.text, '#'))
            cmd_printf(&o, "#%s", c->nixos.attr.text);
        tell(l, "flake", &o);
    }
    if (c->nixos.config.text)
        l->each(l->arg, "config", c->nixos.config.text);
    if (c->nixos.system.text)
        l->each(l->arg, "system", c->nixos.system.text);
}

void cmd_grants(const struct rec_step *s,
                void (*each)(void *arg, const char *field, const char *value), void *arg)
{
    const struct spec_container *c = s->to ? s->to->spec : NULL;
    struct lines l = {each, arg};
    if (!c || s->action == REC_REMOVE)
        return;
    if (s->to->runtime == SPEC_RT_NSPAWN && s->kind == REC_UNIT)
        nspawn_grants(c, &l);
    if (s->to->runtime == SPEC_RT_NIXOS && s->kind == REC_SYSTEM)
        nixos_grants(c, &l);
}
