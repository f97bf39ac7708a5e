/* What berth makes is gone after a reboot, unless the boot unit applies the spec again. A person
 * who applies a spec by hand reads once per host how to enable it.
 * File     /var/lib/berth/boot-hint: empty; the hint was printed on this host.
 * Source   systemd.unit(5): an enabled unit has a link in a .wants or .requires directory. */
#include "cmd/cmd.h"
#include "reconcile/files.h"
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNIT CMD_BOOT_UNIT
#define TOLD REC_STATE_DIR "/boot-hint"

/* The directories of systemd's units that an administrator, a package or an installation fills. */
static const char *const unit_dirs[] = {"/etc/systemd/system", "/run/systemd/system",
                                        "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                        "/lib/systemd/system"};

static bool matches(const char *pattern)
{
    glob_t found;
    int r = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (!r)
        globfree(&found);
    return !r;
}

bool cmd_unit_enabled(const char *unit)
{
    char pattern[140];
    for (size_t i = 0; i < sizeof unit_dirs / sizeof *unit_dirs; i++) {
        snprintf(pattern, sizeof pattern, "%s/*.wants/%.40s", unit_dirs[i], unit);
        if (matches(pattern))
            return true;
        snprintf(pattern, sizeof pattern, "%s/*.requires/%.40s", unit_dirs[i], unit);
        if (matches(pattern))
            return true;
    }
    return false;
}

static bool unit_installed(void)
{
    char path[100];
    for (size_t i = 0; i < sizeof unit_dirs / sizeof *unit_dirs; i++) {
        snprintf(path, sizeof path, "%s/" UNIT, unit_dirs[i]);
        if (!access(path, F_OK))
            return true;
    }
    return false;
}

/* A word that neither a shell nor systemd's environment file reads as anything else. */
static bool plain_word(const char *word)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-";
    return *word && !word[strspn(word, plain)];
}

/* The spec as the boot unit can find it: "REV:path", or an absolute path; "" for standard input. */
static void spec_place(const struct cmd *c, char *out, size_t room)
{
    *out = 0;
    if (!c->file.name)
        return;
    if (c->git) {
        snprintf(out, room, "%s", c->file.name);
    } else if (c->file.dir) {
        const char *slash = strrchr(c->file.name, '/');
        const char *root = strcmp(c->file.dir, "/") ? c->file.dir : "";
        snprintf(out, room, "%s/%s", root, slash ? slash + 1 : c->file.name);
    }
}

/* "NAME=VALUE …" for /etc/berth/berth.env. false: a value cannot be pasted as it is. */
static bool env_words(const struct cmd *c, const char *spec, char *out, size_t room)
{
    const struct {
        const char *name, *value;
    } vars[] = {{"BERTH_SPEC", spec},
                {"BERTH_GIT", c->git ? c->source.repo : NULL},
                {"BERTH_GIT_OWNER", c->args.git_owner},
                {"BERTH_HOST", c->args.host}};
    size_t n = 0;
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) {
        if (!vars[i].value)
            continue;
        if (!plain_word(vars[i].value))
            return false;
        n += (size_t)snprintf(out + n, room - n, "%s%s=%s", n ? " " : "", vars[i].name,
                              vars[i].value);
        if (n >= room)
            return false;
    }
    return true;
}

static void put_commands(struct cmd *c)
{
    struct cmd_out *o = &c->err;
    char spec[4300], words[9000];
    spec_place(c, spec, sizeof spec);
    if (!unit_installed())
        cmd_put(o, "  cmake --install build/release\n");
    if (!access("/etc/berth/berth.env", F_OK))
        cmd_put(o, "  cat /etc/berth/berth.env    # it names the spec that is applied at boot\n");
    else if (!*spec)
        cmd_put(o, "  cp FILE /etc/berth/berth.yaml    # FILE: the spec that was read from "
                   "standard input\n");
    else if (env_words(c, spec, words, sizeof words) &&
             strcmp(words, "BERTH_SPEC=/etc/berth/berth.yaml"))
        cmd_printf(o, "  mkdir -p /etc/berth && printf '%%s\\n' %s >/etc/berth/berth.env\n", words);
    else if (strcmp(spec, "/etc/berth/berth.yaml"))
        cmd_put(o, "  name the spec in /etc/berth/berth.env: BERTH_SPEC=\"PATH\"\n");
    cmd_put(o, "  systemctl enable " UNIT "\n");
}

void cmd_boot_hint(struct cmd *c)
{
    struct cmd_out *o = &c->err;
    bool person = o->terminal && !c->args.quiet && !c->args.json && !c->args.boot && !c->args.at &&
                  !geteuid();
    if (!person || access("/run/systemd/system", F_OK) || !access(TOLD, F_OK) ||
        cmd_unit_enabled(UNIT))
        return;
    cmd_out_flush(&c->out);
    cmd_put(o, "After a reboot nothing of this is there: " UNIT
               " applies the spec at boot, and it is not enabled.\n");
    cmd_put(o, "To enable it (berth says this once per host):\n");
    if (!access("/etc/NIXOS", F_OK))
        cmd_put(o, "  set services.berth.enable = true in the configuration of this host\n  "
                   "nixos-rebuild switch\n");
    else
        put_commands(c);
    /* If the note cannot be written, the next apply says this again. */
    if (!rec_dir_make(REC_STATE_DIR, 0700, NULL))
        rec_file_write(TOLD, "", 0, 0600, NULL);
}
