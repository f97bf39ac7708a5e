/* start, stop, restart: a hold is cleared or set, and then these containers are converged, and
 * nothing else. A hold that led to a failed apply is put back to what it was. */
#include "cmd/cmd.h"
#include "cmd/converge.h"
#include "reconcile/record.h"
#include "reconcile/sources.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Does berth run a container of this name here? The host is read as `list` reads it without a
 * spec. */
static bool runs_here(const char *name)
{
    struct rec_state want, have;
    struct rec_error ignored;
    struct rec_options o = {.spec_name = "", .allow_deletes = -1};
    struct rec_run *run = NULL;
    bool found = false;
    if (!rec_open(&run, &o, &ignored) && !rec_want(run, NULL, &want, &ignored) &&
        !rec_read(run, &want, &have, &ignored))
        for (size_t i = 0; i < have.n && !found; i++)
            found = have.items[i]->ours && have.items[i]->container &&
                    !strcmp(have.items[i]->container, name);
    rec_close(run);
    return found;
}

/* "from /srv/x.yaml", or what is known of it, and how to name that spec. */
static void name_other_spec(struct cmd *c, struct rec_error *err, const char *text,
                            const char *name)
{
    struct rec_options o = {.spec_name = "", .allow_deletes = -1};
    struct rec_run *run = NULL;
    struct rec_applied last = {0};
    struct rec_error ignored;
    const char *verb = c->args.verb ? c->args.verb->name : "list";
    if (!rec_open(&run, &o, &ignored) && rec_applied_read(run, &last, &ignored))
        last = (struct rec_applied){0};
    bool this = last.file && c->file.path && !strcmp(last.file, c->file.path);
    if (last.file && !this) {
        rec_fail(err, ESRCH, "%s; one of that name runs here, from %.300s", text, last.file);
        rec_hint(err, "name that spec: berth %s -f %.300s %.64s", verb, last.file, name);
    } else if (last.commit && !c->git) {
        rec_fail(err, ESRCH, "%s; one of that name runs here, from %.200s in %.200s, commit %.12s",
                 text, last.path ? last.path : "", last.repo ? last.repo : "", last.commit);
        rec_hint(err, "name that spec: berth %s --git %.200s -f %.12s:%.200s %.64s", verb,
                 last.repo ? last.repo : "", last.commit, last.path ? last.path : "", name);
    } else {
        rec_fail(err, ESRCH, "%s; one of that name runs here", text);
        rec_hint(err, "name the spec that it is in: berth %s -f FILE %.64s", verb, name);
    }
    rec_close(run);
}

enum cmd_exit cmd_no_container(struct cmd *c, const char *format, const char *name)
{
    struct rec_error err;
    char text[600];
    const char *file = c->file.path ? c->file.path : c->file.name;
    bool hosts = c->host && c->doc && c->doc->n_hosts > 1;
    snprintf(text, sizeof text, "there is no container '%.64s'%s%.300s%s%s", name,
             c->host ? " in " : "", c->host && file ? file : "", hosts ? ", host " : "",
             hosts ? c->host->name : "");
    if (c->host && runs_here(name)) {
        name_other_spec(c, &err, text, name);
        return cmd_fail(c, format, CMD_USAGE, &err);
    }
    const char *near = cmd_nearest_container(c, name);
    rec_fail(&err, ESRCH, "%s", text);
    if (near)
        rec_hint(&err, "did you mean %s?", near);
    else if (strpbrk(name, "./"))
        rec_hint(&err, "a spec is named by its flag here: --file %.100s", name);
    else
        rec_hint(&err, "`berth list` shows those that there are");
    return cmd_fail(c, format, CMD_USAGE, &err);
}

static const struct spec_container *find(const struct spec_host *h, const char *name)
{
    for (size_t i = 0; i < h->n_containers; i++)
        if (!strcmp(h->containers[i].name, name))
            return &h->containers[i];
    return NULL;
}

static enum cmd_exit known(struct cmd *c, const char *format)
{
    for (size_t i = 0; i < c->args.n_names; i++)
        if (!find(c->host, c->args.names[i]))
            return cmd_no_container(c, format, c->args.names[i]);
    return CMD_OK;
}

/* `held`: what each hold said before, so that it can be put back. */
static enum cmd_exit hold(struct cmd *c, bool on, const char *why, bool for_now, const char **held)
{
    struct rec_error err;
    for (size_t i = 0; i < c->args.n_names; i++) {
        held[i] = rec_hold_find(c->run->arena, c->args.names[i]);
        int r = on ? rec_hold_set(c->args.names[i], why, for_now, &err)
                   : rec_hold_clear(c->args.names[i], &err);
        if (r)
            return cmd_fail(c, NULL, cmd_exit_of_errno(-r), &err);
    }
    return CMD_OK;
}

static void put_back(struct cmd *c, const char *const *held)
{
    struct rec_error err;
    for (size_t i = 0; i < c->args.n_names; i++)
        if ((held[i] ? rec_hold_set(c->args.names[i], held[i], false, &err)
                     : rec_hold_clear(c->args.names[i], &err)))
            cmd_tell(c, &err);
}

static enum cmd_exit begin(struct cmd *c, const char *format)
{
    struct rec_error err;
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, format);
    if (code == CMD_OK)
        code = known(c, format);
    if (code != CMD_OK)
        return code;
    code = cmd_open(c, &err);
    return code == CMD_OK ? code : cmd_fail(c, format, code, &err);
}

/* The hold is a fact that a run reads once: a fresh run for each converging. The lock goes from
 * one to the next. */
enum cmd_exit cmd_hold_converge(struct cmd *c, const char *format, const char *verb,
                                const char *done, enum cmd_hold to, const char *why, bool silent)
{
    struct rec_error err;
    struct cmd_converge v = {.format = format,
                             .verb = verb,
                             .done = done,
                             .only = c->args.names,
                             .n_only = c->args.n_names,
                             .stops = to == CMD_HOLD,
                             .silent = silent};
    int lock = c->run ? c->run->lock : -1;
    if (c->run)
        c->run->lock = -1;
    rec_close(c->run);
    c->run = NULL;
    enum cmd_exit code = cmd_open(c, &err);
    if (code == CMD_OK && to == CMD_LET_GO)
        c->run->opt.why_start = why;
    if (code == CMD_OK)
        c->run->lock = lock;
    else if (lock >= 0)
        close(lock);
    if (code == CMD_OK && rec_run_lock(c->run, verb, &err))
        code = cmd_exit_of_errno(err.code);
    if (code != CMD_OK)
        return cmd_fail(c, format, code, &err);
    cmd_signals_hold();
    const char **held = spec_arena_alloc(c->run->arena, (c->args.n_names + 1) * sizeof *held);
    if (!held) {
        rec_fail(&err, ENOMEM, "out of memory");
        return cmd_fail(c, format, CMD_FAILED, &err);
    }
    code = hold(c, to != CMD_LET_GO, why, to == CMD_HOLD_FOR_NOW, held);
    if (code == CMD_OK) {
        code = cmd_converge(c, &v);
        if (v.outcome == REC_IN_SYNC || v.outcome == REC_APPLIED)
            return code;
    }
    put_back(c, held);
    return code;
}

int cmd_start(struct cmd *c)
{
    enum cmd_exit code = begin(c, "berth.start");
    if (code != CMD_OK)
        return code;
    for (size_t i = 0; i < c->args.n_names; i++) {
        const struct spec_container *s = find(c->host, c->args.names[i]);
        if (s->state == SPEC_RUNNING)
            continue;
        struct rec_error err;
        rec_fail(&err, EPERM, "the spec says that container %s is stopped", s->name);
        err.at = s->state_at.line ? s->state_at : s->at;
        rec_hint(&err, "write state: running there, and apply it");
        return cmd_fail(c, "berth.start", CMD_REFUSED, &err);
    }
    return cmd_hold_converge(c, "berth.start", "start", "Started:", CMD_LET_GO, NULL, false);
}

int cmd_stop(struct cmd *c)
{
    enum cmd_exit code = begin(c, "berth.stop");
    if (code != CMD_OK)
        return code;
    return cmd_hold_converge(c, "berth.stop", "stop", "Stopped:", CMD_HOLD, "stopped by berth stop",
                             false);
}

int cmd_restart(struct cmd *c)
{
    enum cmd_exit code = begin(c, "berth.restart");
    struct rec_error err;
    if (code != CMD_OK)
        return code;
    int r = rec_facts_host(c->run, &err);
    if (r)
        return cmd_fail(c, "berth.restart", cmd_exit_of_errno(-r), &err);
    for (size_t i = 0; i < c->args.n_names; i++) {
        const struct spec_container *s = find(c->host, c->args.names[i]);
        if (rec_runtime_of(c->run, s) == SPEC_RT_NETNS)
            rec_fail(&err, EINVAL,
                     "container %s is a network namespace alone (runtime netns): there is no "
                     "process to restart",
                     s->name);
        else if (s->state == SPEC_STOPPED)
            rec_fail(
                &err, EINVAL,
                "container %s shall be stopped, as the spec says: there is no process to restart",
                s->name);
        else if (!rec_sources_check_restart(c->run, s, &err))
            continue;
        if (!err.at.line)
            err.at = s->at;
        return cmd_fail(c, "berth.restart", CMD_FAILED, &err);
    }
    code = cmd_hold_converge(c, "berth.restart", "restart", "Stopped:", CMD_HOLD_FOR_NOW,
                             "it is being restarted", true);
    if (code != CMD_OK && !cmd_signals_seen())
        return code;
    return cmd_hold_converge(c, "berth.restart", "restart", "Restarted:", CMD_LET_GO,
                             "restart requested", false);
}

int cmd_update(struct cmd *c)
{
    struct rec_error err = {0};
    struct cmd_converge v = {
        .format = "berth.update", .verb = "update", .done = "Updated", .evaluate = true};
    enum cmd_exit code = cmd_load(c, CMD_SPEC_NEEDED, v.format);
    if (code == CMD_OK && !c->args.n_names == !c->args.all) {
        rec_fail(&err, EINVAL,
                 c->args.all ? "either names or --all, not both"
                             : "berth update needs the name of a container, or --all");
        return cmd_fail(c, v.format, CMD_USAGE, &err);
    }
    if (code == CMD_OK)
        code = known(c, v.format);
    if (code == CMD_OK)
        code = cmd_open(c, &err);
    if (code == CMD_OK && rec_facts_host(c->run, &err))
        code = CMD_FAILED;
    if (code != CMD_OK)
        return err.code ? cmd_fail(c, v.format, code, &err) : code;
    char **names = spec_arena_alloc(c->run->arena, (c->host->n_containers + 1) * sizeof *names);
    for (size_t i = 0; names && i < c->host->n_containers; i++) {
        const struct spec_container *k = &c->host->containers[i];
        bool asked = c->args.all;
        for (size_t n = 0; n < c->args.n_names && !asked; n++)
            asked = !strcmp(c->args.names[n], k->name);
        if (!asked)
            continue;
        if (rec_runtime_of(c->run, k) == SPEC_RT_NIXOS) {
            names[v.n_only++] = (char *)k->name;
        } else if (!c->args.all) {
            rec_fail(&err, EINVAL, "container %s is no NixOS container: it has no system to build",
                     k->name);
            err.at = k->at;
            return cmd_fail(c, v.format, CMD_USAGE, &err);
        }
    }
    v.only = names;
    return cmd_converge(c, &v);
}
