/* Neither may cost an apply its outcome: a journal that does not take an entry is not waited for,
 * and one that has taken it no longer than READ_MS. */
#include "cmd/observe.h"
#include "cmd/git.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include <endian.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* NAME, its length and the bytes: nothing in a value can begin another field. */
static void field(struct cmd_out *o, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    uint64_t n = htole64(strlen(value));
    cmd_put(o, name);
    cmd_put(o, "\n");
    cmd_putn(o, (const char *)&n, sizeof n);
    cmd_put(o, value);
    cmd_put(o, "\n");
}

static const char *action(enum rec_action a)
{
    static const char *const names[] = {[REC_CREATE] = "create",
                                        [REC_CHANGE] = "change",
                                        [REC_REMOVE] = "remove",
                                        [REC_REPLACE] = "replace",
                                        [REC_ADOPT] = "adopt"};
    return names[a];
}

static void entry(struct cmd_out *o, const struct cmd *c, const struct rec_step *s)
{
    const struct rec_item *i = s->to ? s->to : s->from;
    char text[600];
    bool failed = s->state == REC_FAILED;
    snprintf(text, sizeof text, "%s%s %s%s%s", failed ? "failed: " : "", rec_action_sign(s->action),
             s->object, s->reason ? ": " : "", s->reason ? s->reason : "");
    o->n = 0;
    field(o, "MESSAGE", text);
    field(o, "PRIORITY", failed ? "3" : "5");
    field(o, "SYSLOG_IDENTIFIER", "berth");
    field(o, "BERTH_OBJECT", s->object);
    field(o, "BERTH_KIND", rec_kinds[s->kind] ? rec_kinds[s->kind]->name : "");
    field(o, "BERTH_STEP", action(s->action));
    field(o, "BERTH_REASON", s->reason);
    field(o, "BERTH_CONTAINER", i->container);
    field(o, "BERTH_COMMIT", c->git ? c->git->commit : NULL);
    field(o, "BERTH_REF", c->git ? c->git->ref : NULL);
}

enum { READ_MS = 1000 };

/* The journal looks up whose an entry is when it reads it: of a process that has ended by then it
 * does not know the unit. An empty datagram is no entry; once it has been read, those before
 * have been dealt with. The socket tells how much is unread, and only when asked. */
static void stay_until_read(int fd, const struct sockaddr_un *to)
{
    struct timespec tick = {.tv_nsec = 1000000};
    int unread = 1;
    if (sendto(fd, "", 0, MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to) < 0)
        return;
    for (int ms = 0; ms < READ_MS && !ioctl(fd, SIOCOUTQ, &unread) && unread; ms++)
        nanosleep(&tick, NULL);
}

void cmd_journal_steps(const struct cmd *c, const struct rec_result *r)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    const char *stream = getenv("JOURNAL_STREAM");
    if (!stream || !*stream || !r->plan || !r->plan->n)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct cmd_out o = {.fd = -1};
    for (size_t i = 0; fd >= 0 && i < r->plan->n; i++)
        if (r->plan->steps[i]->state == REC_DONE || r->plan->steps[i]->state == REC_FAILED) {
            entry(&o, c, r->plan->steps[i]);
            if (sendto(fd, o.text, o.n, MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to) < 0)
                break;
        }
    if (fd >= 0) {
        stay_until_read(fd, &to);
        close(fd);
    }
    cmd_out_done(&o);
}

static void label(struct cmd_out *o, const char *text)
{
    for (; *text; text++)
        if (*text == '"' || *text == '\\')
            cmd_printf(o, "\\%c", *text);
        else if (*text == '\n')
            cmd_put(o, "\\n");
        else
            cmd_putn(o, text, 1);
}

/* The lines of one metric, as the file has them. */
static void keep(struct cmd_out *o, const char *before, const char *metric)
{
    size_t len = strlen(metric);
    for (const char *line = before; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (!strncmp(line, metric, len) && (line[len] == ' ' || line[len] == '{'))
            cmd_printf(o, "%.*s\n", (int)strcspn(line, "\n"), line);
}

static void steps_by_kind(struct cmd_out *o, const struct rec_plan *p)
{
    for (size_t k = 0; k < REC_KINDS; k++) {
        size_t n = 0;
        for (size_t i = 0; i < p->n; i++)
            n += p->steps[i]->kind == k;
        cmd_printf(o, "berth_last_change_steps{kind=\"%s\"} %zu\n", rec_kinds[k]->name, n);
    }
}

int cmd_metrics_write(const struct cmd *c, const char *path, const struct rec_result *r,
                      struct rec_error *err)
{
    struct cmd_out o = {.fd = -1};
    struct rec_error ignored;
    bool good = r->outcome == REC_IN_SYNC || r->outcome == REC_APPLIED;
    char *before = "";
    size_t n = 0;
    if (rec_file_read(c->run->arena, path, 1 << 20, &before, &n, &ignored))
        before = "";
    cmd_put(&o, "# HELP berth_in_sync Whether the last apply left this host as the spec has it.\n# "
                "TYPE berth_in_sync gauge\n");
    cmd_printf(&o, "berth_in_sync %d\n", good);
    cmd_put(&o, "# HELP berth_revision_info The commit that the spec was read at.\n# TYPE "
                "berth_revision_info gauge\n");
    cmd_put(&o, "berth_revision_info{commit=\"");
    label(&o, c->git ? c->git->commit : "");
    cmd_put(&o, "\",ref=\"");
    label(&o, c->git ? c->git->ref : "");
    bool changed = r->plan && r->plan->n && r->outcome != REC_REFUSED;
    cmd_put(&o, "\"} 1\n# HELP berth_last_change_steps Steps that the last apply with anything to "
                "do took, by kind.\n");
    cmd_put(&o, "# TYPE berth_last_change_steps gauge\n");
    if (changed)
        steps_by_kind(&o, r->plan);
    else
        keep(&o, before, "berth_last_change_steps");
    cmd_put(&o, "# HELP berth_last_change_timestamp_seconds When the last apply with anything to "
                "do ended.\n");
    cmd_put(&o, "# TYPE berth_last_change_timestamp_seconds gauge\n");
    if (changed)
        cmd_printf(&o, "berth_last_change_timestamp_seconds %lld\n", (long long)time(NULL));
    else
        keep(&o, before, "berth_last_change_timestamp_seconds");
    int rc = strlen(before) == o.n && !memcmp(before, o.text, o.n)
                 ? 0
                 : rec_file_write(path, o.text, o.n, 0644, err);
    cmd_out_done(&o);
    return rc;
}

int cmd_metrics_failed(const char *path, struct rec_error *err)
{
    static const char name[] = "berth_in_sync ",
                      head[] = "# HELP berth_in_sync Whether the last apply left this host as the "
                               "spec has it.\n# TYPE berth_in_sync gauge\n";
    struct spec_arena *a = spec_arena_new();
    struct cmd_out o = {.fd = -1};
    struct rec_error ignored;
    char *before = "";
    size_t n = 0;
    if (!a)
        return rec_fail(err, ENOMEM, "out of memory");
    if (rec_file_read(a, path, 1 << 20, &before, &n, &ignored))
        before = "";
    cmd_put(&o, *before ? "" : head);
    cmd_put(&o, *before ? "" : "berth_in_sync 0\n");
    for (const char *line = before; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (!strncmp(line, name, sizeof name - 1))
            cmd_put(&o, "berth_in_sync 0");
        else
            cmd_putn(&o, line, strcspn(line, "\n"));
        cmd_put(&o, "\n");
    }
    int rc = strlen(before) == o.n && !memcmp(before, o.text, o.n)
                 ? 0
                 : rec_file_write(path, o.text, o.n, 0644, err);
    cmd_out_done(&o);
    spec_arena_free(a);
    return rc;
}
