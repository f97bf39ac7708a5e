/* reconcile/run.h — one run: its options, the facts of this host, its sockets and its memory.
 * Owns     the arena of want, have, plan; netlink sockets; the directory of namespaces. Closed
 *          by rec_close. */
#ifndef RECONCILE_RUN_H
#define RECONCILE_RUN_H
#include "netops/batch.h"
#include "netops/nft.h"
#include "reconcile/error.h"
#include "spec/spec.h"

struct rec_links;
struct rec_insides;
struct rec_again;
struct rec_nspawn;
struct rec_memory;
enum rec_deny { REC_DENY_RELOAD, REC_DENY_RESTART, REC_DENY_RECREATE, REC_DENY_DELETE, REC_DENIES };
/* What the host may have against a spec, beside its guards. A policy can forbid each. */
enum rec_finding {
    REC_FIND_NO_USERNS,
    REC_FIND_PORT_IN_USE,
    REC_FIND_SUBNET_IN_USE,
    REC_FIND_KEPT_ROOT,
    REC_FIND_FOREIGN_BRIDGE,
    REC_FINDINGS
};
#define REC_FORBID(finding) (1u << (finding))
struct rec_tree {       /* a folder of a repository at a commit */
    const char *folder; /* from the top: "", "a/b" */
    char id[65];        /* "" : there is none */
};
/* the commit that a spec was read at; offline also what is staged, with commit "" */
struct rec_source {
    const char *commit, *ref, *path, *subject; /* ref: "refs/heads/main", or "" */
    const char *repo;             /* its folder; where there is a work tree, that one's */
    const char *via;              /* a ref that leads to the commit, or "" */
    const struct rec_tree *trees; /* offline: those that relative flakes stand in */
    size_t n_trees;
};
struct rec_except { /* names that a finding is no reason to refuse for */
    const char **list;
    size_t n;
};
struct rec_options {
    const char *spec_name;           /* as the user wrote it: "spec.yaml" */
    const char *spec_dir;            /* absolute: relative roots start here; NULL: none allowed */
    const struct rec_source *source; /* NULL: the spec is no git object */
    bool adopt;
    long allow_deletes; /* -1: the default bound */
    uint32_t deny;      /* bit per enum rec_deny: such plans are refused */
    /* bit per enum rec_finding: a plan that has one is refused. Without the bit, the plan warns:
     * private_users: auto runs as `none` here; a new map of a port that a program listens on; a new
     * subnet that covers what the host reaches by another link; a container that gets a kept tree
     * which was made from another source; a bridge that berth did not make. */
    uint32_t forbid;
    struct rec_except bridges;    /* that they may use all the same */
    struct rec_except kept_roots; /* containers whose kept tree they may have all the same */
    bool own_connection;          /* the operator's own connection may be cut */
    /* two wishes are compared: nothing of this host is read, not even its memory of what was
     * protected */
    bool offline;
    /* no IPv6 forwarding while `auto` finds no IPv6 uplink: a router may still announce itself */
    bool await_ipv6;
    /* called by the boot unit: containers with autostart: false stay stopped */
    bool boot;
    bool destroy_files; /* destroy: container files too */
    bool stops_only;    /* of the spec nothing is applied but that containers stop */
    /* why a container that does not run is started; NULL: "it is not running" */
    const char *why_start;
    long lock_timeout_ms;
};
struct rec_ra { /* a link that lives by router advertisements (RA) */
    char link[16];
    bool route; /* it has a default route from an RA */
    /* why its accept_ra cannot be written, NULL: it can, or need not be */
    const char *stuck;
};
struct rec_record;
/* what only the host knows; read once a run, lazily by rec_facts_read */
struct rec_facts {
    bool known_host;     /* those of rec_facts_host */
    bool known;          /* and all others */
    bool root;           /* may change things */
    bool systemd;        /* is PID 1 (/run/systemd/system) */
    bool nixos;          /* /etc/NIXOS */
    const char *nspawn;  /* absolute path of systemd-nspawn, or NULL */
    const char *nsenter; /* of util-linux, or NULL */
    const char *contain; /* berth-contain, or NULL */
    /* berth-network and its berth-gate, or NULL: for containers that own their network */
    const char *network;
    const char *systemctl;
    const char *hostname;
    /* or "": seeds derived MACs together with the host's name in the spec */
    const char *machine_id;
    char uplink4[16], uplink6[16];       /* links of the default routes, "" none */
    const struct spec_addr *nameservers; /* of resolv.conf without loopback */
    size_t n_nameservers;
    /* resolv.conf names a resolver on loopback that is not systemd-resolved's */
    bool own_resolver;
    bool ipv6; /* the kernel has it */
    /* links whose accept_ra must be 2 while the host forwards IPv6, sorted by name */
    struct rec_ra *ra;
    size_t n_ra;
    /* another link that traffic may leave by although `auto` is uplink4, uplink6; NULL: none */
    const char *other4, *other6;
    /* it is the one of a policy rule's table, not of the same route */
    bool policy4, policy6;
    /* beside the host's bridges: why the link that `nat` names cannot be used; NULL: all can */
    const char **no_uplink;
    /* beside the host's bridges: IPv6 is switched off for it; NULL: for none */
    bool *no_ipv6;
    bool fixed_sysctls; /* /proc/sys is mounted read-only */
    /* beside the host's bridges: it is used as it is, and traffic of others on it is not filtered;
     * NULL: none is */
    bool *shared;
    struct rec_record *adopted; /* record.h: what adopted bridges were before */
    size_t n_adopted;
    char **held;           /* containers that `berth stop` holds, sorted */
    const char **held_why; /* beside them: "stopped by berth stop", "autostart: false" */
    size_t n_held;
};
struct rec_built {
    const char *path; /* store path; NULL: none, or not known */
    const char *key;  /* what its source was at that time, NULL: not known */
};
struct rec_run {
    struct spec_arena *arena;
    struct rec_options opt;
    struct rec_facts facts;
    const struct spec_doc *doc;
    const struct spec_host *host;
    struct net_batch *net; /* host's namespace; opened by rec_net */
    struct net_port *nft;  /* opened by rec_nft */
    /* own_network.c: the namespace of a container that starts, which has no name yet; -1: none */
    int given_netns;
    int netns_dir; /* -1: not open */
    /* the directory is a shared mount, as `ip netns` has it */
    bool netns_shared;
    int lock;                          /* -1: not held */
    bool first;                        /* nobody had taken the lock since the host booted */
    struct net_nft_have *nft_have[16]; /* readings, the latest last; closed with the run */
    size_t n_nft_have;
    bool nft_lingers;  /* something was deleted by it */
    bool foreign_told; /* other programs' filters have been looked at */
    /* the wish that the latest is known to be equal to */
    const struct net_nft *nft_equal;
    struct rec_built *built; /* beside the host's containers: what rec_build found */
    const struct spec_host *built_host;
    bool undoing; /* what is removed now was made by this very run */
    /* rec_build: a directory of this run's own, with roots of what it built until the run ends; or
     * NULL */
    char *builds;
    int builds_lock; /* held open by it; -1 */
    /* a descriptor: once it can be read rec_build ends what it has begun, -ECANCELED; -1: none */
    int stop;
    /* namespaces without a name, let go when the run is closed */
    int *dying;
    size_t n_dying;
    /* kinds/links.h: the latest dump of the host's links and addresses */
    struct rec_links *links;
    /* runtimes/nspawn_users.c: ids and file systems, as far as they were asked for */
    struct rec_nspawn *nspawn;
    /* runtimes/nspawn_sources.c: what containers can write; NULL: not asked for yet */
    struct rec_writable *writable;
    struct rec_insides *insides; /* kinds/insides.h: of a reading that is under way */
    /* record.h: what earlier runs left to remember; NULL: not read, or written since */
    struct rec_memory *memory;
    const struct rec_again *again; /* again.h: a reading reads only this; NULL: all */
};
int rec_open(struct rec_run **out, const struct rec_options *opt, struct rec_error *err);
void rec_close(struct rec_run *run); /* NULL is fine */
/* The lock, unless this run has it; a run waits for it as long as its options say. What apply acts
 * on is read after it: facts that were read before are forgotten. `verb`: for those who wait.
 * rec_close lets it go, too. */
int rec_run_lock(struct rec_run *run, const char *verb, struct rec_error *err);
void rec_run_unlock(struct rec_run *run);
int rec_net(struct rec_run *run, struct net_batch **out, struct rec_error *err);
int rec_nft(struct rec_run *run, struct net_port **out, struct rec_error *err);
int rec_facts_read(struct rec_run *run, struct rec_error *err);
/* Nameservers of resolv.conf without those on loopback; no file: none. */
int rec_nameservers_read(struct rec_run *run, struct spec_addr **out, size_t *n,
                         struct rec_error *err);
/* Only what stays as long as the host is up: who it is and what it runs with. For this no spec's
 * host need be chosen. */
int rec_facts_host(struct rec_run *run, struct rec_error *err);
/* Its absolute path, or NULL: facts.systemctl, for who has no run. */
const char *rec_systemctl(void);
/* Facts of no host: what is `auto` stays so by name. */
void rec_facts_offline(struct rec_run *run);
/* The runtime that `auto` means here. */
enum spec_runtime rec_runtime_of(const struct rec_run *run, const struct spec_container *c);
#endif
