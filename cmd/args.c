/* Two tables, one loop. A flag belongs to all verbs or to those that its row names, so the same
 * letter may mean two things to two verbs (`logs -f` follows, elsewhere -f names the spec) and
 * never two to one. */
#include "cmd/args.h"
#include "cmd/cmd.h"
#include "cmd/hook.h"
#include "cmd/policy.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cmd_verb cmd_verbs[] = {
    {"init", cmd_init, CMD_TAKES_ANY_FILE, "[FILE]", "write a first spec that fits this host",
     "Looks at the addresses, routes, resolver and programs of this host, and writes a commented "
     "spec into FILE, else into ./berth.yaml: a private network that is free here, NAT by the "
     "default route's link, the runtime that this host has, and two containers. Never overwrites a "
     "file, and changes nothing else. FILE may be -: standard output. Needs no root.",
     "berth init && berth plan", CMD_ANYBODY},
    {"validate", cmd_validate, CMD_TAKES_SPEC, "[SPEC]", "check a spec, offline",
     "Reads the spec and tells everything that is wrong with it, each fault with its line, a caret "
     "and a hint. Needs neither root nor the host that the spec describes.",
     "berth validate berth.yaml", CMD_ANYBODY},
    {"plan", cmd_plan, CMD_TAKES_SPEC, "[SPEC]", "show the steps that apply would take",
     "Reads the host, works out what differs from the spec, and prints the steps in the order of "
     "apply: what, from what to what, why, and what they interrupt. Changes nothing.",
     "berth plan -e || echo 'something is pending'", CMD_ANYBODY},
    {"apply", cmd_apply, CMD_TAKES_SPEC, "[SPEC]", "make this host what the spec says",
     "Plans, applies the plan, and reads the host again: only an empty second plan is success. "
     "What fails is undone. A container that the plan only starts fails alone: nothing is undone, "
     "the error names it, and the exit status is 6. So does the port of a container with "
     "network_admin, whose root can take it away at any moment. In the first run of a boot that "
     "holds for "
     "every container. Once the host holds what the spec says, apply changes nothing.",
     "berth apply berth.yaml", CMD_ROOT_TO_CHANGE},
    {"status", cmd_status, CMD_TAKES_SPEC, "[SPEC]", "show each resource: in sync, or how not",
     "Lists all that the spec asks for with its state, and what berth made that the spec no longer "
     "asks for. Without a spec: all that berth made on this host.",
     "berth status", CMD_ANYBODY},
    {"destroy", cmd_destroy, CMD_TAKES_SPEC, "[SPEC]", "remove what berth made",
     "Stops the containers and removes every network object of berth's; settings get back the "
     "values they had before. Asks first on a terminal. Files of containers stay, unless --files "
     "is given. What is not berth's stays in any case.",
     "berth destroy --yes", CMD_ROOT_TO_CHANGE},
    {"list", cmd_list, CMD_TAKES_ANY_NAMES, "[NAME...]", "show the containers",
     "One line for each container: its runtime, state, address, root, how long it has been "
     "running, and whether it is in sync. Without a spec: all containers that berth made on this "
     "host.",
     "berth list", CMD_ROOT},
    {"start", cmd_start, CMD_TAKES_NAMES, "NAME...", "start containers that were stopped",
     "Ends the hold that stop put on them, and converges these containers and nothing else.",
     "berth start web", CMD_ROOT},
    {"stop", cmd_stop, CMD_TAKES_NAMES, "NAME...", "stop containers until start or a reboot",
     "Stops them and holds them: apply leaves them stopped until `berth start`, or until the host "
     "boots again. list, status and plan name them.",
     "berth stop web db", CMD_ROOT},
    {"restart", cmd_restart, CMD_TAKES_NAMES, "NAME...", "stop and start the containers' processes",
     "A container with the runtime netns is a network namespace alone and has no process to "
     "restart.",
     "berth restart web", CMD_ROOT},
    {"update", cmd_update, CMD_TAKES_ANY_NAMES, "NAME...|--all",
     "build NixOS containers again and switch them",
     "Asks nix again for the systems of these containers, and takes the lightest way to each that "
     "has changed: a new system alone is switched to inside, without a restart.",
     "berth update web", CMD_ROOT},
    {"run", cmd_run, CMD_TAKES_COMMAND, "NAME [--] CMD [ARG...]",
     "run a command inside a container",
     "The exit status is the command's: 126 when it cannot be executed, 127 when it is not found, "
     "128+n when signal n killed it. The command has the container's capabilities and environment,"
     " and none of your descriptors: berth relays its input and output. A terminal becomes a "
     "terminal of the container's.",
     "berth run container1 -- ping -c1 container2", CMD_ROOT},
    {"login", cmd_login, CMD_TAKES_NAME, "NAME", "open a root shell inside a container",
     "Ends with the shell; no password is asked.", "berth login container1", CMD_ROOT},
    {"logs", cmd_logs, CMD_TAKES_NAME, "NAME", "show what a container's process printed",
     "From the journal where systemd is PID 1, else from its log file, which keeps the newest 4 to "
     "8 MiB. Of a container whose first start failed, what it said then. On a terminal, control "
     "sequences are left out.",
     "berth logs -f web", CMD_ROOT},
    {"top", cmd_top, CMD_TAKES_ANY_NAMES, "[NAME...]", "show what the containers use",
     "CPU and memory out of their cgroups, tasks, and the bytes that went over their links, as the "
     "container sees them: RX is what it received. Rates come from two readings. On a terminal "
     "until q or Ctrl-C, else once. Where the kernel counts no memory for a cgroup, the resident "
     "memory of its processes is added up, and shared pages count more than once.",
     "berth top -i 2s", CMD_ROOT},
    {"capture", cmd_capture, CMD_TAKES_NAME_WORDS, "NAME [--] [FILTER...]",
     "show the packets of a container",
     "Runs tcpdump on the host's end of the container's link; what follows -- goes to tcpdump, a "
     "filter or its flags. The exit status is tcpdump's, 69 where it is not installed.",
     "berth capture web -w web.pcap -- tcp port 80", CMD_ANYBODY},
    {"backup", cmd_backup, CMD_TAKES_NAME_FILE, "NAME FILE",
     "write a container, with its files, into one file",
     "A tar, compressed by zstd, of the container's root and what the spec says of it, with "
     "checksums of everything; of a NixOS container its conf and its system's store path too, and "
     "with --closure the system itself. A running container is frozen meanwhile. What was "
     "written is read back and checked before the file gets its name. FILE may be -: standard "
     "output.",
     "berth backup web web.tar.zst", CMD_ROOT},
    {"restore", cmd_restore, CMD_TAKES_FILE, "FILE",
     "put back what backup wrote, here or on another host",
     "Checks all of FILE first, unpacks it beside the root's place, checks it again there, and "
     "then puts it into place in one step. A container that runs is stopped for that and started "
     "again; one that does not start gets its old root back. Where the spec has no such container, "
     "the lines for it are printed.",
     "berth restore web.tar.zst --name web2 --address 10.100.0.50", CMD_ROOT},
    {"hook", cmd_hook, CMD_TAKES_WORDS, "install|uninstall|status|EVENT",
     "have git validate, plan and apply the spec",
     "install writes small hooks into the repository around, or that of --repo: in a bare one "
     "pre-receive, which refuses bad specs and denied disruptions, and post-receive, which with "
     "--apply applies the branch's new tip; in a work tree pre-commit and pre-push, and with "
     "--apply post-merge, post-checkout and post-rewrite. A hook that was there runs first. "
     "uninstall puts everything back. A commit with a line `Berth-Allow: delete` lets through what "
     "--deny or the guard of deletions would refuse.",
     "berth hook install --repo /srv/git/infra.git --apply --deny delete", CMD_ANYBODY},
    {"policy", cmd_policy, CMD_TAKES_WORDS, "check|suggest|write [SPEC]",
     "what a pushed spec may ask for on this host",
     "/etc/berth/policy.yaml belongs to root and limits what a spec that comes through a "
     "repository may ask for: roots, binds, capabilities, flakes, ports, subnets, NAT. pre-receive "
     "and apply refuse what it does not allow. check explains what of SPEC it refuses, suggest "
     "prints a policy that allows just what SPEC asks for, write puts it into its place if there "
     "is none. As root on the host of the spec they also look at the host: ports and subnets in "
     "use, containers that could have no user namespace there.",
     "berth policy write --git /srv/git/infra.git main:berth.yaml", CMD_ANYBODY},
    {"version", cmd_version, CMD_TAKES_NOTHING, "", "print the version", "", "berth version --json",
     CMD_ANYBODY},
    {"completion", cmd_completion, CMD_TAKES_WORD, "bash|zsh|fish",
     "print a completion script for a shell",
     "Completes verbs, flags, and the names of containers in the spec.",
     "source <(berth completion bash)", CMD_ANYBODY},
    {"help", cmd_help, CMD_TAKES_WORD, "[VERB]", "explain berth, or one verb", "",
     "berth help apply", CMD_ANYBODY},
};
const size_t cmd_n_verbs = sizeof cmd_verbs / sizeof *cmd_verbs;

/* An alias means exactly what its verb does. What differs, or deletes, gets a hint. */
const struct cmd_word cmd_words[] = {
    {"diff", "plan", NULL},
    {"exec", "run", NULL},
    {"ls", "list", NULL},
    {"ps", "list", NULL},
    {"sh", "login", NULL},
    {"up", "apply", NULL},

    {"add", NULL, "write the container into the spec, then: berth apply"},
    {"attach", NULL, "for a shell inside: berth login NAME"},
    {"build", NULL, "apply builds what it needs; for a newer system: berth update NAME"},
    {"check", NULL, "for the spec alone: berth validate; for the host: berth status"},
    {"config", NULL, "to check the spec: berth validate"},
    {"console", NULL, "for a shell inside: berth login NAME"},
    {"converge", NULL, "that is: berth apply"},
    {"cp", NULL, "through a pipe: berth run NAME -- tar -C DIR -c . >FILE"},
    {"create", NULL, "write the container into the spec, then: berth apply"},
    {"delete", NULL, "take the container out of the spec, then: berth apply"},
    {"deploy", NULL, "that is: berth apply"},
    {"disable", NULL, "write `autostart: false` into the spec, then: berth apply"},
    {"down", NULL,
     "to remove all that berth made: berth destroy; to stop a container: berth stop NAME"},
    {"enable", NULL, "write `autostart: true` into the spec, then: berth apply"},
    {"enter", NULL, "for a shell inside: berth login NAME"},
    {"export", NULL, "to write a container into a file: berth backup NAME FILE"},
    {"history", NULL,
     "the spec's history is git's: git log; an older one is planned by: berth plan REV:berth.yaml"},
    {"import", NULL, "to put back what backup wrote: berth restore FILE"},
    {"info", NULL, "for the state of this host: berth status; for the program: berth version"},
    {"inspect", NULL,
     "for the state of each resource: berth status; of the containers: berth list --json"},
    {"kill", NULL, "to stop a container: berth stop NAME"},
    {"lint", NULL, "to check the spec: berth validate"},
    {"log", NULL, "for the output of a container: berth logs NAME"},
    {"man", NULL, "the manual is: man berth; for one verb: berth help VERB"},
    {"monitor", NULL, "for what containers use: berth top"},
    {"new", NULL, "write the container into the spec, then: berth apply"},
    {"pause", NULL, "to stop a container until start: berth stop NAME"},
    {"preview", NULL, "that is: berth plan"},
    {"pull", NULL, "berth pulls no images; for a newer NixOS system: berth update NAME"},
    {"reboot", NULL, "to restart a container: berth restart NAME"},
    {"reconcile", NULL, "that is: berth apply"},
    {"recreate", NULL, "to restart a container: berth restart NAME"},
    {"reload", NULL, "after a change of the spec: berth apply"},
    {"remove", NULL, "take the container out of the spec, then: berth apply"},
    {"reset", NULL, "to remove all that berth made: berth destroy"},
    {"rm", NULL, "take the container out of the spec, then: berth apply"},
    {"rollback", NULL, "apply an older revision of the spec: berth apply REV:berth.yaml"},
    {"save", NULL, "to write a container into a file: berth backup NAME FILE"},
    {"shell", NULL, "for a shell inside: berth login NAME"},
    {"show", NULL, "for the state of each resource: berth status; of the containers: berth list"},
    {"ssh", NULL, "for a shell inside: berth login NAME"},
    {"stats", NULL, "for what containers use: berth top"},
    {"sync", NULL, "that is: berth apply"},
    {"tcpdump", NULL, "for the packets of a container: berth capture NAME"},
    {"test", NULL, "for the spec alone: berth validate; for the host: berth status -e"},
    {"undo", NULL, "apply an older revision of the spec: berth apply REV:berth.yaml"},
    {"upgrade", NULL, "for a newer NixOS system: berth update NAME"},
    {"verify", NULL, "for the spec alone: berth validate; for the host: berth status -e"},
    {"watch", NULL, "to repair this host every five minutes: systemctl enable --now berth.timer"},
};
const size_t cmd_n_words = sizeof cmd_words / sizeof *cmd_words;

static const struct cmd_word *find_word(const char *word)
{
    for (size_t i = 0; i < cmd_n_words; i++)
        if (!strcmp(cmd_words[i].word, word))
            return &cmd_words[i];
    return NULL;
}

#define AT(member) offsetof(struct cmd_args, member)
#define WITH_SPEC                                                                                  \
    "validate plan apply status destroy list start stop restart update run login backup restore "  \
    "completion policy"
const struct cmd_flag cmd_flags[] = {
    /* letter, name, value, type, where, verbs, environment, hidden, help */
    {'f', "file", "SPEC", CMD_TEXT, AT(spec), WITH_SPEC, NULL, false,
     "the spec file; - is standard input"},
    {0, "git", "DIR", CMD_TEXT, AT(git), WITH_SPEC, "BERTH_GIT", false,
     "the repository of REV:path (the one around)"},
    {0, "git-owner", "USER", CMD_TEXT, AT(git_owner), WITH_SPEC " hook", "BERTH_GIT_OWNER", false,
     "who may own that repository, beside you and root"},
    {0, "repo", "DIR", CMD_TEXT, AT(git), "hook", NULL, false, "the repository (the one around)"},
    {0, "spec", "PATH", CMD_TEXT, AT(spec), "hook", NULL, false,
     "the spec in the repository (berth.yaml)"},
    {0, "branch", "NAME", CMD_TEXT, AT(branch), "hook", NULL, false,
     "the branch that is applied (what HEAD names)"},
    {0, "apply", NULL, CMD_SWITCH, AT(apply), "hook", NULL, false,
     "apply what is pushed, merged or checked out"},
    {0, "before", "FILE", CMD_TEXT, AT(before), "hook", NULL, true,
     "the hook that was there, which runs first"},
    {0, "only", "DIR", CMD_TEXT, AT(only), "hook", NULL, true,
     "called by git: the repository that the hook was installed for"},
    {0, "range", "A..B", CMD_TEXT, AT(range), "plan", NULL, false,
     "what the change of SPEC from revision A to B would do; offline, A taken as applied"},
    {0, "markdown", NULL, CMD_SWITCH, AT(markdown), "plan", NULL, false,
     "with --range: as a comment for a pull request"},
    {0, "github", NULL, CMD_SWITCH, AT(github), "plan validate", NULL, false,
     "print faults as annotations of a workflow"},
    {0, "deny", "LIST", CMD_TEXT, AT(deny), "plan apply hook", "BERTH_DENY", false,
     "refuse plans that do any of these: reload, restart, recreate, delete"},
    {'H', "host", "NAME", CMD_TEXT, AT(host), WITH_SPEC " logs hook", "BERTH_HOST", false,
     "which host of the spec this machine is"},
    {'e', "exit-code", NULL, CMD_SWITCH, AT(exit_code), "plan status", NULL, false,
     "exit 2 when something differs"},
    {'n', "dry-run", NULL, CMD_SWITCH, AT(dry), "apply destroy", NULL, false,
     "show the plan, change nothing"},
    {'n', "lines", "LINES", CMD_NUMBER, AT(lines), "logs", NULL, false,
     "only the last LINES lines"},
    {'w', "write", "FILE", CMD_TEXT, AT(write), "capture", NULL, false,
     "write the packets into FILE, for tcpdump -r and its kin"},
    {'i', "interval", "TIME", CMD_TIME, AT(interval_ms), "top", NULL, false,
     "between two readings (1s)"},
    {'n', "count", "N", CMD_NUMBER, AT(count), "top", NULL, false, "so many times, then end"},
    {'f', "follow", NULL, CMD_SWITCH, AT(follow), "logs", NULL, false, "go on until interrupted"},
    {0, "raw", NULL, CMD_SWITCH, AT(raw), "logs", NULL, false,
     "on a terminal too, print control sequences as they are"},
    {0, "adopt", NULL, CMD_SWITCH, AT(adopt), "plan apply", NULL, false,
     "take over what is in the way and not berth's; destroy gives bridges back"},
    {0, "allow-deletes", "N", CMD_NUMBER, AT(allow_deletes), "plan apply", NULL, false,
     "let a plan delete up to N containers and bridges"},
    {0, "allow-own-connection", NULL, CMD_SWITCH, AT(own_connection),
     "plan apply destroy start stop restart update", NULL, false,
     "let a plan cut your connection, or take over this host's gateway"},
    {'y', "yes", NULL, CMD_SWITCH, AT(yes), "destroy", NULL, false, "do not ask"},
    {0, "files", NULL, CMD_SWITCH, AT(files), "destroy", NULL, false,
     "delete the containers' files too"},
    {0, "at", "COMMIT", CMD_TEXT, AT(at), "apply", NULL, true,
     "called by a hook: the commit of the revision in SPEC"},
    {0, "boot", NULL, CMD_SWITCH, AT(boot), "apply", NULL, true,
     "called by the boot unit: `autostart: false` stays stopped"},
    {0, "boot-wait", "TIME", CMD_TIME, AT(boot_wait_ms), "apply", "BERTH_BOOT_WAIT", true,
     "with --boot: how long the first run of a boot waits for the uplink (60s)"},
    {0, "no-eval", NULL, CMD_SWITCH, AT(no_eval), "plan apply", "BERTH_NO_EVAL", false,
     "do not ask nix whether a system has changed: what the last apply built will do"},
    {0, "eval", NULL, CMD_SWITCH, AT(eval), "validate", NULL, false,
     "evaluate the system of each NixOS container, too"},
    {0, "all", NULL, CMD_SWITCH, AT(all), "update", NULL, false,
     "every NixOS container of the spec"},
    {0, "closure", NULL, CMD_SWITCH, AT(closure), "backup", NULL, false,
     "put the NixOS system in, too, with all it needs"},
    {0, "force", NULL, CMD_SWITCH, AT(force), "backup restore", NULL, false,
     "replace the file, or the root, that is there"},
    {0, "name", "NAME", CMD_TEXT, AT(name), "restore", NULL, false,
     "restore it as the container of that name"},
    {0, "address", "ADDRESS", CMD_TEXT, AT(address), "restore", NULL, false,
     "in the lines for the spec: its address here"},
    {0, "metrics", "FILE", CMD_TEXT, AT(metrics), "apply", "BERTH_METRICS", false,
     "keep FILE up to date for node_exporter's textfile collector"},
    {0, "lock-timeout", "TIME", CMD_TIME, AT(lock_timeout_ms),
     "apply destroy start stop restart update backup restore", "BERTH_LOCK_TIMEOUT", false,
     "how long to wait for another berth (30s)"},
    {0, "huge", NULL, CMD_SWITCH, AT(huge), WITH_SPEC, "BERTH_HUGE", false,
     "allow specs of up to 64 MiB (4 MiB)"},
    {0, "json", NULL, CMD_SWITCH, AT(json),
     "init validate plan apply status destroy list start stop restart update top backup restore "
     "hook version",
     "BERTH_JSON", false, "print the result as JSON"},
    {0, "man", NULL, CMD_SWITCH, AT(man), "help", NULL, true,
     "print the verbs and flags as a manual's sections"},
    {0, "color", "WHEN", CMD_COLOUR, AT(color), NULL, "BERTH_COLOR", false,
     "auto, always or never"},
    {'q', "quiet", NULL, CMD_SWITCH, AT(quiet), NULL, "BERTH_QUIET", false,
     "say only what failed, and warnings"},
    {'v', "verbose", NULL, CMD_COUNT, AT(verbose), NULL, "BERTH_VERBOSE", false, "say more"},
    {'h', "help", NULL, CMD_SWITCH, AT(help), NULL, NULL, false, "explain the verb"},
};
const size_t cmd_n_flags = sizeof cmd_flags / sizeof *cmd_flags;

const struct cmd_verb *cmd_verb_find(const char *name)
{
    for (size_t i = 0; i < cmd_n_verbs; i++)
        if (!strcmp(cmd_verbs[i].name, name))
            return &cmd_verbs[i];
    const struct cmd_word *word = find_word(name);
    return word && word->alias ? cmd_verb_find(word->alias) : NULL;
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

bool cmd_flag_of(const struct cmd_flag *f, const struct cmd_verb *v)
{
    return !f->verbs || (v && has_word(f->verbs, v->name));
}

static const struct cmd_offers flag_offers[] = {
    {"color", CMD_OFFERS_WORDS, "auto always never"},
    {"deny", CMD_OFFERS_LIST, "reload restart recreate delete"},
    {"file", CMD_OFFERS_FILES, NULL},
    {"git", CMD_OFFERS_FOLDERS, NULL},
    {"metrics", CMD_OFFERS_FILES, NULL},
    {"repo", CMD_OFFERS_FOLDERS, NULL},
    {"write", CMD_OFFERS_FILES, NULL},
};
static const struct cmd_offers verb_offers[] = {
    {"completion", CMD_OFFERS_WORDS, "bash zsh fish"},
    {"hook", CMD_OFFERS_WORDS, "install uninstall status"},
};

static const struct cmd_offers *offers_of(const struct cmd_offers *list, size_t n, const char *name)
{
    static const struct cmd_offers nothing = {"", CMD_OFFERS_NOTHING, NULL};
    for (size_t i = 0; i < n; i++)
        if (!strcmp(list[i].name, name))
            return &list[i];
    return &nothing;
}

const struct cmd_offers *cmd_flag_offers(const struct cmd_flag *f)
{
    return offers_of(flag_offers, sizeof flag_offers / sizeof *flag_offers, f->name);
}

const struct cmd_offers *cmd_verb_offers(const struct cmd_verb *v)
{
    return offers_of(verb_offers, sizeof verb_offers / sizeof *verb_offers, v->name);
}

/* Restricted Damerau-Levenshtein distance, cut off at words of 63 characters. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strnlen(a, 63), m = strnlen(b, 63);
    unsigned row[3][64];
    for (size_t k = 0; k <= m; k++)
        row[0][k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *before2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t k = 1; k <= m; k++) {
            unsigned best = before[k - 1] + (a[i - 1] != b[k - 1]);
            if (before[k] + 1 < best)
                best = before[k] + 1;
            if (now[k - 1] + 1 < best)
                best = now[k - 1] + 1;
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1] &&
                before2[k - 2] + 1 < best)
                best = before2[k - 2] + 1;
            now[k] = best;
        }
    }
    return row[n % 3][m];
}

/* How many typing errors a word may have: one, and two in a longer one. More would suggest a name
 * that means something else. */
static size_t errors_allowed(size_t len)
{
    if (len < 3)
        return 0;
    return len < 6 ? 1 : 2;
}

const char *cmd_nearest(const char *word, const char *(*next)(void *arg, size_t i), void *arg)
{
    const char *best = NULL, *begun = NULL, *name;
    size_t len = strlen(word), least = errors_allowed(len) + 1, beginning = 0;
    for (size_t i = 0; (name = next(arg, i)); i++) {
        size_t d = distance(word, name);
        if (len >= 2 && !strncmp(word, name, len) && !beginning++)
            begun = name;
        if (d < least && d < strlen(name)) {
            least = d;
            best = name;
        }
    }
    return best ? best : begun;
}

static const char *verb_name(void *arg, size_t i)
{
    (void)arg;
    return i < cmd_n_verbs ? cmd_verbs[i].name : NULL;
}

/* Flags of the verb, one after the other. */
static const char *flag_name(void *arg, size_t i)
{
    for (size_t k = 0; k < cmd_n_flags; k++)
        if (!cmd_flags[k].hidden && cmd_flag_of(&cmd_flags[k], arg) && i-- == 0)
            return cmd_flags[k].name;
    return NULL;
}

long cmd_time_parse(const char *text)
{
    static const struct {
        const char *unit;
        long ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"min", 60000}, {"h", 3600000}};
    long n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (n > (LONG_MAX / 2 - 9) / 10 / 3600000)
            return -1;
        else
            n = n * 10 + (*p - '0');
    if (p == text)
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(p, units[i].unit))
            return n * units[i].ms;
    return -1;
}

static bool number(const char *text, long *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || *end || n > INT_MAX)
        return false;
    *out = n;
    return true;
}

__attribute__((format(printf, 2, 3))) static int complain(struct cmd_complaint *why,
                                                          const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(why->text, sizeof why->text, format, ap);
    va_end(ap);
    return -EINVAL;
}

/* `from`: what the user wrote, for the complaint: "--color" or "BERTH_COLOR". */
static int set(struct cmd_args *a, const struct cmd_flag *f, const char *from, const char *value,
               struct cmd_complaint *why)
{
    void *at = (char *)a + f->offset;
    switch (f->type) {
    case CMD_SWITCH:
        *(bool *)at = true;
        return 0;
    case CMD_COUNT:
        ++*(unsigned *)at;
        return 0;
    case CMD_TEXT:
        if (!*value)
            return complain(why, "%s needs a value, and was given an empty one", from);
        *(const char **)at = value;
        return 0;
    case CMD_NUMBER:
        return number(value, at) ? 0
                                 : complain(why, "%s needs a whole number, not '%s'", from, value);
    case CMD_TIME:
        *(long *)at = cmd_time_parse(value);
        return *(long *)at >= 0
                   ? 0
                   : complain(why, "%s needs a time like 30s, 500ms or 2m, not '%s'", from, value);
    case CMD_COLOUR: {
        static const char *const words[] = {"auto", "always", "never"};
        for (int i = 0; i < 3; i++)
            if (!strcmp(words[i], value)) {
                *(enum cmd_color *)at = (enum cmd_color)i;
                return 0;
            }
        return complain(why, "%s is auto, always or never, not '%s'", from, value);
    }
    }
    return 0;
}

static bool truth(const char *value)
{
    return *value && strcmp(value, "0") && strcmp(value, "false") && strcmp(value, "no");
}

static const char *env_find(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (!strncmp(*env, name, n) && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

static int from_environment(struct cmd_args *a, char *const *env, struct cmd_complaint *why)
{
    for (size_t i = 0; i < cmd_n_flags; i++) {
        const struct cmd_flag *f = &cmd_flags[i];
        const char *value = f->env ? env_find(env, f->env) : NULL;
        if (!value || !*value || (!f->value && !truth(value)))
            continue;
        int r = set(a, f, f->env, value, why);
        if (r)
            return r;
    }
    return 0;
}

int cmd_args_fill(struct cmd_args *a, const char *env, const char *value, struct cmd_complaint *why)
{
    for (size_t i = 0; i < cmd_n_flags; i++) {
        const struct cmd_flag *f = &cmd_flags[i];
        if (!f->env || strcmp(f->env, env) || !cmd_flag_of(f, a->verb))
            continue;
        bool given = f->type == CMD_TEXT && *(const char **)((char *)a + f->offset);
        if (given || !*value || (!f->value && !truth(value)))
            return 0;
        return set(a, f, env, value, why);
    }
    return 0;
}

/* A flag of other verbs is no typing error. */
static const struct cmd_flag *flag_of_others(const char *name)
{
    for (size_t k = 0; k < cmd_n_flags; k++)
        if (!cmd_flags[k].hidden && cmd_flags[k].verbs && !strcmp(cmd_flags[k].name, name))
            return &cmd_flags[k];
    return NULL;
}

/* Is it a flag of any verb? */
static bool is_flag(const char *word)
{
    for (size_t k = 0; k < cmd_n_flags; k++)
        if (word[1] == '-' ? !strcmp(cmd_flags[k].name, word + 2) : cmd_flags[k].letter == word[1])
            return true;
    return false;
}

/* Flags of other tools. */
static const char *flag_meant(const char *name)
{
    static const char *const words[][2] = {
        {"auto-approve", "destroy asks, and does not with --yes; apply does not ask"},
        {"check", "for a plan alone: --dry-run, or `berth plan`"},
        {"config", "the spec is --file SPEC"},
        {"dryrun", "for a plan alone: --dry-run"},
        {"detach", "leave it out: containers run in the background"},
        {"format", "for output that programs read: --json"},
        {"no-color", "that is --color never, or NO_COLOR=1"},
        {"no-colour", "that is --color never, or NO_COLOR=1"},
        {"colour", "that is --color"},
        {"output", "for output that programs read: --json"},
        {"silent", "that is --quiet"},
        {"tail", "`berth logs` has --lines LINES"},
        {"debug", "to say more: --verbose"},
        {"timeout", "how long to wait for another berth: --lock-timeout TIME"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(words[i][0], name))
            return words[i][1];
    return NULL;
}

/* Letters of other tools: `exec -it`, `ps -a`, `up -d`. */
static const char *letter_meant(const struct cmd_args *a, char letter)
{
    if (!a->verb)
        return NULL;
    if (strchr("it", letter) && (!strcmp(a->verb->name, "run") || !strcmp(a->verb->name, "login")))
        return "leave it out: the command has the terminal that berth has";
    if (letter == 'a' && !strcmp(a->verb->name, "list"))
        return "leave it out: containers that are stopped are listed, too";
    return letter == 'd' ? flag_meant("detach") : NULL;
}

static int unknown_flag(const struct cmd_args *a, const char *word, size_t len,
                        struct cmd_complaint *why)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(len < 63 ? len : 63), word);
    bool is_long = name[0] == '-' && name[1] == '-';
    const char *verb = a->verb ? a->verb->name : "", *gap = a->verb ? " " : "";
    const char *meant = is_long ? flag_meant(name + 2) : letter_meant(a, name[1]);
    if (!meant && !a->verb && is_flag(name))
        meant = "flags stand behind the verb, as in: berth plan --file SPEC";
    const struct cmd_flag *other = is_long && a->verb ? flag_of_others(name + 2) : NULL;
    const char *near =
        is_long && !meant && !other ? cmd_nearest(name + 2, flag_name, (void *)a->verb) : NULL;
    if (meant)
        snprintf(why->hint, sizeof why->hint, "%s", meant);
    else if (other)
        snprintf(why->hint, sizeof why->hint, "--%s is a flag of: %s", other->name, other->verbs);
    else if (near)
        snprintf(why->hint, sizeof why->hint, "did you mean --%s?", near);
    else
        snprintf(why->hint, sizeof why->hint, "`berth %s%s--help` lists them", verb, gap);
    return complain(why, "berth%s%s has no flag '%s'", gap, verb, name);
}

/* One word that begins with '-': --name, --name=value, -x, -xvalue, -xyz. */
static int flag_word(struct cmd_args *a, int argc, char **argv, int *i, struct cmd_complaint *why)
{
    const char *word = argv[*i];
    if (word[1] == '-') {
        const char *value = strchr(word, '=');
        size_t len = value ? (size_t)(value - word) : strlen(word);
        const struct cmd_flag *f = NULL;
        for (size_t k = 0; k < cmd_n_flags && !f; k++)
            if (strlen(cmd_flags[k].name) == len - 2 &&
                !memcmp(cmd_flags[k].name, word + 2, len - 2) &&
                cmd_flag_of(&cmd_flags[k], a->verb))
                f = &cmd_flags[k];
        if (!f)
            return unknown_flag(a, word, len, why);
        char from[80];
        snprintf(from, sizeof from, "--%s", f->name);
        if (!f->value && value)
            return complain(why, "%s takes no value", from);
        if (f->value && !value && *i + 1 >= argc)
            return complain(why, "%s needs a value: %s %s", from, from, f->value);
        return set(a, f, from, f->value ? (value ? value + 1 : argv[++*i]) : "", why);
    }
    for (const char *p = word + 1; *p; p++) {
        const struct cmd_flag *f = NULL;
        char from[3] = {'-', *p, 0};
        for (size_t k = 0; k < cmd_n_flags && !f; k++)
            if (cmd_flags[k].letter == *p && cmd_flag_of(&cmd_flags[k], a->verb))
                f = &cmd_flags[k];
        if (!f)
            return unknown_flag(a, from, strlen(from), why);
        if (!f->value) {
            int r = set(a, f, from, "", why);
            if (r)
                return r;
            continue;
        }
        if (!p[1] && *i + 1 >= argc)
            return complain(why, "%s needs a value: %s %s", from, from, f->value);
        return set(a, f, from, p[1] ? p + 1 : argv[++*i], why);
    }
    return 0;
}

static int operand(struct cmd_args *a, char **argv, int i, struct cmd_complaint *why)
{
    switch (a->verb->operands) {
    case CMD_TAKES_SPEC:
        if (!a->n_names)
            break;
        return complain(why, "berth %s takes one spec, and '%s' is a second one", a->verb->name,
                        argv[i]);
    case CMD_TAKES_NAME:
    case CMD_TAKES_WORD:
    case CMD_TAKES_FILE:
    case CMD_TAKES_ANY_FILE:
        if (!a->n_names)
            break;
        return complain(why, "berth %s takes one argument, and '%s' is a second one", a->verb->name,
                        argv[i]);
    case CMD_TAKES_NAME_FILE:
        if (a->n_names < 2)
            break;
        return complain(why, "berth %s takes a container and a file, and '%s' is a third argument",
                        a->verb->name, argv[i]);
    case CMD_TAKES_NOTHING:
        return complain(why, "berth %s takes no argument, and '%s' is one", a->verb->name, argv[i]);
    case CMD_TAKES_COMMAND:
    case CMD_TAKES_NAMES:
    case CMD_TAKES_ANY_NAMES:
    case CMD_TAKES_WORDS:
    case CMD_TAKES_NAME_WORDS:
        break;
    }
    /* Operands move to the front of argv, where they stand together. */
    if (!a->names)
        a->names = argv;
    a->names[a->n_names++] = argv[i];
    return 0;
}

void cmd_verb_hint(const char *word, char *hint, size_t room)
{
    const struct cmd_word *other = find_word(word);
    const char *near = other ? NULL : cmd_nearest(word, verb_name, NULL);
    size_t begun = 0;
    for (size_t i = 0; i < cmd_n_verbs; i++)
        begun += !strncmp(cmd_verbs[i].name, word, strlen(word));
    if (begun > 1) /* the beginning of several verbs says nothing */
        near = NULL;
    if (other)
        snprintf(hint, room, "%s", other->hint);
    else if (near)
        snprintf(hint, room, "did you mean `berth %s`?", near);
    else
        snprintf(hint, room, "`berth help` lists the verbs");
}

static int find_verb(struct cmd_args *a, const char *word, struct cmd_complaint *why)
{
    a->verb = cmd_verb_find(word);
    if (a->verb)
        return 0;
    cmd_verb_hint(word, why->hint, sizeof why->hint);
    return complain(why, "berth has no verb '%s'", word);
}

static int enough(struct cmd_args *a, struct cmd_complaint *why)
{
    const char *v = a->verb->name;
    snprintf(why->hint, sizeof why->hint, "usage: berth %s %s", v, a->verb->synopsis);
    switch (a->verb->operands) {
    case CMD_TAKES_SPEC:
        if (a->n_names && a->spec)
            return complain(why, "berth %s is given two specs, '%s' and '%s'", v, a->spec,
                            a->names[0]);
        if (a->n_names)
            a->spec = a->names[0];
        break;
    case CMD_TAKES_NAME:
    case CMD_TAKES_NAMES:
    case CMD_TAKES_NAME_WORDS:
        if (!a->n_names)
            return complain(why, "berth %s needs the name of a container", v);
        break;
    case CMD_TAKES_NAME_FILE:
        if (a->n_names < 2)
            return complain(why,
                            a->n_names ? "berth %s needs a file to write to"
                                       : "berth %s needs the name of a container, and a file",
                            v);
        break;
    case CMD_TAKES_FILE:
        if (!a->n_names)
            return complain(why, "berth %s needs a file", v);
        break;
    case CMD_TAKES_COMMAND:
        if (!a->n_names)
            return complain(why, "berth %s needs the name of a container", v);
        if (!a->command || !*a->command)
            return complain(why, "berth %s needs a command to run", v);
        break;
    case CMD_TAKES_WORDS:
        if (!a->n_names)
            return complain(why, "berth %s needs to be told what to do", v);
        break;
    case CMD_TAKES_NOTHING:
    case CMD_TAKES_ANY_NAMES:
    case CMD_TAKES_ANY_FILE:
    case CMD_TAKES_WORD:
        break;
    }
    return 0;
}

/* A hook has the environment of whoever pushes: what it is to do stands in its own words alone. */
static bool is_hook(int argc, char **argv)
{
    return argc > 2 && !strcmp(argv[1], "hook") && cmd_hook_find(argv[2]);
}

static bool takes(const struct cmd_verb *v, const char *flag)
{
    for (size_t k = 0; k < cmd_n_flags; k++)
        if (!strcmp(cmd_flags[k].name, flag))
            return cmd_flag_of(&cmd_flags[k], v);
    return false;
}

static int parse(int argc, char **argv, char *const *env, struct cmd_args *out,
                 struct cmd_complaint *why)
{
    *out = (struct cmd_args){.allow_deletes = -1,
                             .lock_timeout_ms = 30000,
                             .boot_wait_ms = 60000,
                             .lines = -1,
                             .interval_ms = -1,
                             .count = -1};
    memset(why, 0, sizeof *why);
    int r = is_hook(argc, argv) ? 0 : from_environment(out, env, why), i = 1;
    bool only_operands = false;
    for (; !r && i < argc; i++) {
        const char *word = argv[i];
        if (!only_operands && !strcmp(word, "--")) {
            only_operands = true;
        } else if (!only_operands && word[0] == '-' && word[1]) {
            if (!out->verb && !strcmp(word, "--version"))
                out->verb = cmd_verb_find("version");
            else
                r = flag_word(out, argc, argv, &i, why);
        } else if (!out->verb) {
            r = find_verb(out, word, why);
        } else {
            r = operand(out, argv, i, why);
            /* After the container's name all words are the command's, its flags too. */
            if (!r && out->verb->operands == CMD_TAKES_COMMAND) {
                out->command = argv + i + 1;
                if (!only_operands && *out->command && !strcmp(*out->command, "--"))
                    out->command++;
                break;
            }
        }
    }
    for (; r && !only_operands && i < argc && strcmp(argv[i], "--"); i++)
        out->json |= !strcmp(argv[i], "--json");
    if (r)
        return r;
    if (!out->verb && !out->help) {
        snprintf(why->hint, sizeof why->hint, "`berth help` lists the verbs");
        return complain(why, "berth needs to be told what to do");
    }
    return out->help ? 0 : enough(out, why);
}

int cmd_args_parse(int argc, char **argv, char *const *env, struct cmd_args *out,
                   struct cmd_complaint *why)
{
    int r = parse(argc, argv, env, out, why);
    out->json = out->json && (!out->verb || takes(out->verb, "json"));
    /* annotations would stand in the envelope's way */
    out->github = out->github && !out->json;
    return r;
}
