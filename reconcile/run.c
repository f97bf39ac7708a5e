/* A run opens what it needs when it is first asked for, so that `validate` and an offline plan
 * touch no socket. */
#include "reconcile/run.h"
#include "reconcile/kinds/insides.h"
#include "reconcile/kinds/links.h"
#include "reconcile/lock.h"
#include "reconcile/runtime.h"
#include "reconcile/runtimes/nspawn_users.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

int rec_open(struct rec_run **out, const struct rec_options *opt, struct rec_error *err)
{
    struct rec_run *r = calloc(1, sizeof *r);
    if (!r || !(r->arena = spec_arena_new())) {
        free(r);
        return rec_fail(err, ENOMEM, "out of memory");
    }
    r->opt = *opt;
    r->netns_dir = r->given_netns = r->lock = r->builds_lock = r->stop = -1;
    *out = r;
    return 0;
}

void rec_close(struct rec_run *r)
{
    if (!r)
        return;
    rec_build_done(r);
    nspawn_users_done(r);
    rec_run_unlock(r);
    rec_insides_free(r);
    for (size_t i = 0; i < r->n_nft_have; i++)
        net_nft_have_free(r->nft_have[i]);
    if (r->net)
        net_batch_close(r->net);
    if (r->nft_lingers)
        net_port_close_later(r->nft);
    else
        net_port_close(r->nft);
    if (r->netns_dir >= 0)
        close(r->netns_dir);
    for (size_t i = 0; i < r->n_dying; i++)
        close(r->dying[i]);
    free(r->dying);
    rec_links_free(r->links);
    spec_arena_free(r->arena);
    free(r);
}

int rec_run_lock(struct rec_run *r, const char *verb, struct rec_error *err)
{
    if (r->lock >= 0)
        return 0;
    r->first = access(REC_RUN_DIR "/lock", F_OK) != 0;
    r->facts.known = false;
    r->memory = NULL;
    return rec_lock(verb, r->opt.lock_timeout_ms, &r->lock, err);
}

void rec_run_unlock(struct rec_run *r)
{
    if (r->lock >= 0) {
        flock(r->lock, LOCK_UN); /* a child may still hold the descriptor for a moment */
        close(r->lock);
    }
    r->lock = -1;
}

int rec_net(struct rec_run *r, struct net_batch **out, struct rec_error *err)
{
    struct net_error e;
    if (!r->net && net_batch_open(&r->net, &e))
        return rec_fail_net(err, &e);
    *out = r->net;
    return 0;
}

int rec_nft(struct rec_run *r, struct net_port **out, struct rec_error *err)
{
    struct net_error e;
    if (!r->nft && net_port_open(NETLINK_NETFILTER, &r->nft, &e))
        return rec_fail_net(err, &e);
    *out = r->nft;
    return 0;
}
