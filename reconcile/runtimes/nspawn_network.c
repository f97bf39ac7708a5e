/* `network_admin: true` in a user namespace: the container owns its network namespace, which
 * berth-network furnishes at each start (own_network.h). */
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/own_network.h"
#include "reconcile/port_text.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/nspawn_users.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_MOST = 65536 };

bool nspawn_owns_network(const struct spec_container *c, const struct nspawn_users *u)
{
    return c->nspawn.network_admin && u->in_force == SPEC_USERS_AUTO;
}

bool nspawn_owns_netns(struct rec_run *run, const struct spec_container *c)
{
    struct nspawn_users u;
    return c->nspawn.network_admin && !nspawn_users_find(run, c, &u) && nspawn_owns_network(c, &u);
}

bool nspawn_network_in(const char *settings)
{
    return nspawn_find_argument(settings, "--private-network") != NULL;
}

static const char *network_path(struct spec_arena *a, const char *name)
{
    return nspawn_path(a, name, "network");
}

int nspawn_network_want(struct rec_run *run, const struct spec_host *h,
                        const struct spec_container *c, struct spec_arena *a, const char **out,
                        struct rec_error *err)
{
    struct rec_item port;
    const char *text = rec_port_want(run, h, c, a, &port) ? NULL : rec_port_text(a, &port);
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    *out = text;
    return 0;
}

const char *nspawn_network_read(struct spec_arena *a, const char *name)
{
    char *text;
    size_t len;
    return rec_file_read(a, network_path(a, name), TEXT_MOST, &text, &len, NULL) ? NULL : text;
}

int nspawn_network_write(struct rec_run *run, const char *name, const char *text,
                         struct rec_error *err)
{
    const char *path = network_path(run->arena, name);
    if (!path)
        return rec_fail(err, ENOMEM, "out of memory");
    if (!text)
        return rec_file_remove(path, err);
    int r = rec_dir_make(spec_arena_printf(run->arena, NSPAWN_DIR "/%s", name), 0755, err);
    return r ? r : rec_file_write(path, text, strlen(text), 0644, err);
}

bool nspawn_is_gate(pid_t pid)
{
    static const char gate[] = "/memfd:" REC_GATE_NAME " ";
    char path[48], program[sizeof gate];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, program, sizeof program);
    return n >= (ssize_t)sizeof gate - 1 && !memcmp(program, gate, sizeof gate - 1);
}

bool nspawn_network_await(struct rec_run *run, pid_t leader)
{
    enum { MOST_MS = 5000 };
    unsigned long long started = rec_proc_started(leader);
    int ms = 0;
    for (; ms < MOST_MS; ms++) {
        pid_t child = rec_proc_runs(leader, run->facts.nspawn) ? rec_proc_child(leader) : leader;
        if (!child || !nspawn_is_gate(child) || rec_proc_wait(leader, started, 1))
            break;
    }
    return ms > 0;
}
