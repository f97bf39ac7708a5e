/* init: a first spec, written for the host that it is on. What it says is read back by the spec's
 * own reader before it is written. */
#include "cmd/cmd.h"
#include "cmd/render/json.h"
#include "cmd/render/render.h"
#include "reconcile/survey.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The host's name as a spec takes it: up to the first dot, in lower case. `localhost` fits every
 * host. */
static void host_name(const char *hostname, char out[64])
{
    size_t n = strcspn(hostname, ".");
    bool good = n > 0 && n < 64 && hostname[0] != '-' && hostname[n - 1] != '-';
    for (size_t i = 0; good && i < n; i++) {
        char c = hostname[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        out[i] = c;
    }
    out[good ? n : 0] = 0;
    if (!good)
        snprintf(out, 64, "localhost");
}

static void address_of(const struct rec_survey *s, uint8_t last, bool prefix,
                       char out[SPEC_ADDR_TEXT])
{
    struct spec_addr a = s->bridge;
    a.bytes[3] = last;
    spec_addr_format(&a, prefix, out);
}

static void comment(struct cmd_out *o, size_t from, const char *text)
{
    size_t start = o->n;
    while (start && o->text[start - 1] != '\n')
        start--;
    size_t column = o->n - start;
    cmd_pad(o, column < from ? from - column : 2);
    cmd_printf(o, "# %s\n", text);
}

static void nat_line(struct cmd_out *o, const struct rec_survey *s)
{
    char text[100];
    if (!s->facts->uplink4[0]) {
        comment(o, 4, "No NAT: this host has no default route for IPv4. Once it has one:");
        cmd_put(o, "    # nat: {interface: auto}\n");
        return;
    }
    snprintf(text, sizeof text, "out by the link of the default route, now %s", s->facts->uplink4);
    cmd_put(o, "    nat: {interface: auto}");
    comment(o, 44, text);
}

static void nameserver_line(struct cmd_out *o, const struct rec_survey *s)
{
    char text[SPEC_ADDR_TEXT];
    if (!s->facts->n_nameservers) {
        comment(o, 4, "This host has no nameserver that containers can reach. Name one:");
        cmd_put(o, "    # nameservers: [ADDRESS]\n");
        return;
    }
    cmd_put(o, "    # nameservers: [");
    for (size_t i = 0; i < s->facts->n_nameservers; i++)
        cmd_printf(o, "%s%s", i ? ", " : "",
                   spec_addr_format(&s->facts->nameservers[i], false, text));
    cmd_put(o, "]");
    comment(o, 44, "left out: the host's own, which are these");
}

static void runtime_lines(struct cmd_out *o, const struct rec_survey *s)
{
    bool nspawn = s->runtime == SPEC_RT_NSPAWN;
    cmd_printf(o, "    runtime: %s", nspawn ? "nspawn" : "netns");
    comment(o, 44,
            nspawn ? "systemd-nspawn is installed here"
                   : "a network alone, without processes and files");
    if (!nspawn && !s->nixos)
        cmd_put(o, "    # For real containers: apt-get install systemd-container, then `runtime: "
                   "nspawn`.\n");
}

static void container_lines(struct cmd_out *o, const struct rec_survey *s, const char *host)
{
    const char *first = strcmp(host, "web") ? "web" : "site",
               *second = strcmp(host, "db") ? "db" : "store";
    char a[SPEC_ADDR_TEXT], line[160];
    address_of(s, 10, false, a);
    cmd_put(o, "    containers:\n");
    snprintf(line, sizeof line, "      %s: %s", first, a);
    cmd_put(o, line);
    comment(o, 44, "the short form: its address alone");
    address_of(s, 20, false, a);
    cmd_printf(o, "      %s:\n        address: %s\n", second, a);
    cmd_put(o, "        # ports: [8080:80]");
    comment(o, 44, "port 8080 of the host leads to its port 80");
    if (s->runtime == SPEC_RT_NSPAWN) {
        cmd_put(o, "        # nspawn:");
        comment(o, 44, "left out: the host's /usr, and no program runs");
        cmd_put(
            o,
            "        #   root: /srv/roots/db.tar\n        #   command: [/usr/bin/program, --flag]\n"
            "        #   environment: {TZ: UTC}\n        #   binds: [/srv/data:/data]\n");
    }
    if (s->nixos) {
        address_of(s, 30, false, a);
        cmd_put(o, "      # A NixOS container, from a flake:\n      # system:\n");
        cmd_printf(o,
                   "      #   address: %s\n      #   runtime: nixos\n      #   nixos: {flake: "
                   "/etc/nixos#system}\n",
                   a);
    }
}

static void write_spec(struct cmd_out *o, const struct rec_survey *s)
{
    char host[64], a[SPEC_ADDR_TEXT];
    host_name(s->facts->hostname, host);
    cmd_put(o, "# What runs on this host. `berth plan` shows what would change, `berth apply` "
               "makes it so.\n"
               "# All keys: man berth.yaml\n"
               "version: 1\n\n"
               "defaults:\n  container:");
    comment(o, 44, "what all containers share");
    runtime_lines(o, s);
    cmd_printf(o, "\nhosts:\n  %s:", host);
    comment(o, 44,
            strcmp(host, "localhost") ? "the name of this host"
                                      : "whatever the name of this host is");
    address_of(s, 1, true, a);
    cmd_printf(o, "    bridge:\n      name: %s\n      address: %s", s->bridge_name, a);
    comment(o, 44, "free here: no route overlaps it");
    nat_line(o, s);
    nameserver_line(o, s);
    container_lines(o, s, host);
}

/* Never over a file that is there. What cannot be written whole goes again. */
static int write_file(const char *name, const char *text, size_t n, struct rec_error *err)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) {
        rec_fail(err, EEXIST, "cannot write '%s': it is there already", name);
        rec_hint(
            err,
            "to see what would be in it: berth init -; to write it elsewhere: berth init FILE");
        return -EEXIST;
    }
    if (fd < 0)
        return rec_fail(err, errno, "cannot write '%s': %s", name, strerror(errno));
    size_t done = 0;
    int code = 0;
    while (done < n && !code) {
        ssize_t k = write(fd, text + done, n - done);
        if (k > 0)
            done += (size_t)k;
        else if (k == 0 || errno != EINTR)
            code = k == 0 ? ENOSPC : errno;
    }
    if (!code && fsync(fd) && errno != EINVAL)
        code = errno;
    if (close(fd) && !code)
        code = errno;
    if (code) {
        unlink(name);
        return rec_fail(err, code, "cannot write '%s': %s", name, strerror(code));
    }
    return 0;
}

static void tell(struct cmd *c, const struct rec_survey *s, const char *name)
{
    bool usual = !strcmp(name, "berth.yaml");
    char a[SPEC_ADDR_TEXT];
    char *full = realpath(name, NULL);
    address_of(s, 1, true, a);
    if (c->args.json) {
        json_t *j = cmd_json_envelope("berth.init", NULL, full ? full : name, "written");
        json_object_set_new(j, "bridge", cmd_json_text(a));
        json_object_set_new(j, "runtime",
                            cmd_json_text(s->runtime == SPEC_RT_NSPAWN ? "nspawn" : "netns"));
        json_object_set_new(j, "uplink",
                            s->facts->uplink4[0] ? cmd_json_text(s->facts->uplink4) : json_null());
        cmd_json_emit(&c->out, j);
    } else if (!c->args.quiet) {
        cmd_put(&c->out, "Written: ");
        cmd_safe(&c->out, full ? full : name);
        cmd_printf(&c->out, "\nNext: berth plan%s", usual ? "" : " ");
        if (!usual)
            cmd_safe(&c->out, name);
        cmd_printf(&c->out, ", then%s: berth apply%s", geteuid() ? " as root" : "",
                   usual ? "" : " ");
        if (!usual)
            cmd_safe(&c->out, name);
        cmd_put(&c->out, "\n");
    }
    free(full);
}

/* A spec that berth does not take itself must never be written. */
static int read_back(const struct cmd_out *o, struct rec_error *err)
{
    struct spec_arena *a = spec_arena_new();
    struct spec_limits limits = {SPEC_BYTES};
    struct spec_doc *doc;
    struct spec_diags diags = {0};
    int r = a && o->text ? spec_load(a, o->text, o->n, &limits, &doc, &diags) : -ENOMEM;
    if (r == -ENOMEM)
        rec_fail(err, ENOMEM, "out of memory");
    else if (r)
        rec_fail(err, EINVAL, "cannot write a spec for this host: line %u of it would be wrong: %s",
                 diags.list[0].at.line, diags.list[0].text);
    spec_arena_free(a);
    return r;
}

int cmd_init(struct cmd *c)
{
    const char *name = c->args.n_names ? c->args.names[0] : "berth.yaml";
    struct rec_options o = {.spec_name = name, .allow_deletes = -1};
    struct rec_survey s;
    struct rec_error err = {0};
    struct cmd_out text = {.fd = -1};
    bool to_stdout = !strcmp(name, "-");
    int r = rec_open(&c->run, &o, &err);
    if (!r)
        r = rec_survey(c->run, &s, &err);
    if (!r) {
        write_spec(&text, &s);
        r = read_back(&text, &err);
    }
    if (!r && to_stdout)
        cmd_putn(&c->out, text.text, text.n);
    else if (!r)
        r = write_file(name, text.text, text.n, &err);
    if (!r && !to_stdout)
        tell(c, &s, name);
    cmd_out_done(&text);
    if (r)
        return cmd_fail(c, "berth.init",
                        r == -EEXIST || r == -EADDRNOTAVAIL ? CMD_FAILED : cmd_exit_of_errno(-r),
                        &err);
    if (s.used)
        cmd_printf(&c->err,
                   "berth: another spec is applied here already: what it asks for and %s does not "
                   "would be removed by an apply\n",
                   to_stdout ? "this one" : "the new one");
    return CMD_OK;
}
