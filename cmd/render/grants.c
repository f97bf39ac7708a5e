/* One step of a container tells it: the unit's, or the root's of a NixOS container. */
#include "cmd/render/grants.h"
#include "cmd/output.h"
#include <stdlib.h>
#include <string.h>

struct lines {
    void (*each)(void *arg, const char *field, const char *value);
    void *arg;
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

/* As the policy compares it: without empty parts and `.`. */
static void put_path(struct cmd_out *o, const char *path)
{
    char *plain = malloc(strlen(path) + 2);
    cmd_put(o, plain ? spec_plain_path(path, plain) : path);
    free(plain);
}

static const struct spec_env *variable(const struct spec_container *c, const char *name)
{
    for (size_t i = 0; c && i < c->nspawn.n_environment; i++)
        if (!strcmp(c->nspawn.environment[i].name, name))
            return &c->nspawn.environment[i];
    return NULL;
}

/* The files that variables come from, never what is in them. `was` is the container before, if its
 * spec is known. */
static void variable_grants(const struct spec_container *c, const struct spec_container *was,
                            const struct lines *l)
{
    struct cmd_out o = {.fd = -1};
    for (size_t i = 0; i < c->nspawn.n_environment; i++) {
        const struct spec_env *e = &c->nspawn.environment[i], *before = variable(was, e->name);
        if (!e->file)
            continue;
        cmd_put(&o, e->name);
        cmd_put(&o, " from ");
        put_path(&o, e->file);
        if (before && before->file && strcmp(before->file, e->file)) {
            cmd_put(&o, ", before from ");
            put_path(&o, before->file);
        }
        tell(l, "variable", &o);
    }
}

static void nspawn_grants(const struct spec_container *c, const struct spec_container *was,
                          const struct lines *l)
{
    static const char *const users[] = {
        [SPEC_USERS_AUTO] = NULL, [SPEC_USERS_NONE] = "none", [SPEC_USERS_IDENTITY] = "identity"};
    struct cmd_out o = {.fd = -1};
    if (c->nspawn.root != SPEC_ROOT_HOST && c->nspawn.path.text) {
        put_path(&o, c->nspawn.path.text);
        tell(l, c->nspawn.root == SPEC_ROOT_TAR ? "root, unpacked from" : "root", &o);
    }
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        const struct spec_bind *b = &c->nspawn.binds[i];
        put_path(&o, b->host);
        cmd_put(&o, ":");
        put_path(&o, b->container);
        cmd_put(&o, b->read_only ? ":ro" : "");
        tell(l, "bind", &o);
    }
    variable_grants(c, was, l);
    for (unsigned i = 0; i < 64; i++)
        if (c->nspawn.capabilities >> i & 1 && spec_capability_name(i)) {
            cmd_put(&o, o.n ? ", " : "");
            cmd_put(&o, spec_capability_name(i));
        }
    if (c->nspawn.capabilities)
        tell(l, "capabilities", &o);
    if (users[c->nspawn.users])
        l->each(l->arg, "private_users", users[c->nspawn.users]);
    if (c->nspawn.network_admin)
        l->each(l->arg, "network_admin", "true");
}

static void nspawn_command(const struct spec_container *c, const struct lines *l)
{
    struct cmd_out o = {.fd = -1};
    if (c->nspawn.boot)
        l->each(l->arg, "command", "the root's own init");
    for (size_t i = 0; i < c->nspawn.n_command; i++) {
        cmd_put(&o, i ? " " : "");
        put_word(&o, c->nspawn.command[i].text);
    }
    if (c->nspawn.n_command)
        tell(l, "command", &o);
}

static void nixos_grants(const struct spec_container *c, const struct lines *l)
{
    struct cmd_out o = {.fd = -1};
    if (c->nixos.flake.text) {
        cmd_put(&o, c->nixos.flake.text);
        if (c->nixos.attr.text && !strchr(c->nixos.flake.text, '#')) {
            cmd_put(&o, "#");
            cmd_put(&o, c->nixos.attr.text);
        }
        tell(l, "flake", &o);
    }
    if (c->nixos.config.text)
        l->each(l->arg, "config", c->nixos.config.text);
    if (c->nixos.system.text)
        l->each(l->arg, "system", c->nixos.system.text);
}

void cmd_grants(const struct rec_step *s, enum cmd_grants_of which,
                void (*each)(void *arg, const char *field, const char *value), void *arg)
{
    const struct spec_container *c = s->to ? s->to->spec : NULL;
    struct lines l = {each, arg};
    const char *port;
    for (size_t i = 0; which != CMD_GRANTS_COMMAND && (port = rec_step_router(s, i)); i++)
        each(arg, "router", port);
    if (!c || s->action == REC_REMOVE)
        return;
    bool nspawn = s->to->runtime == SPEC_RT_NSPAWN && s->kind == REC_UNIT;
    if (which != CMD_GRANTS_COMMAND) {
        if (nspawn)
            nspawn_grants(c, s->from ? s->from->spec : NULL, &l);
        if (s->to->runtime == SPEC_RT_NIXOS && s->kind == REC_SYSTEM)
            nixos_grants(c, &l);
    }
    if (nspawn && which != CMD_GRANTS_HOST)
        nspawn_command(c, &l);
}
