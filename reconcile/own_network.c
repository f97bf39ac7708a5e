/* Until the gate has passed only berth's own code runs in the container. What comes out of it is
 * checked nevertheless: one descriptor, of a network namespace that the sender lives in and that a
 * child of this user namespace owns. */
#include "reconcile/own_network.h"
#include "netops/scoped.h"
#include "reconcile/files.h"
#include "reconcile/kinds.h"
#include "reconcile/port_text.h"
#include "reconcile/runtimes/nspawn.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GATE_MS = 90000, TEXT_MOST = 65536 };

/* ---- what the gate sends -------------------------------------------------- */

static int keep_only_one(const int *fds, size_t n, int *out)
{
    if (n == 1) {
        *out = fds[0];
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    return -EPROTO;
}

static int receive(int sock, int *fd, pid_t *sender)
{
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte[16];
    struct iovec io = {byte, sizeof byte};
    struct msghdr m = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct pollfd p = {sock, POLLIN, 0};
    int fds[8], k;
    size_t n = 0;
    *sender = 0;
    while ((k = poll(&p, 1, GATE_MS)) < 0 && errno == EINTR)
        ;
    if (k <= 0)
        return k ? -errno : -ETIMEDOUT;
    ssize_t got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return got ? -errno : -ECONNRESET;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len <= CMSG_LEN(sizeof fds)) {
            n = (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
            memcpy(fds, CMSG_DATA(c), n * sizeof *fds);
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof who);
            *sender = who.pid;
        }
    }
    int r = keep_only_one(fds, n, fd);
    if (!r && (m.msg_flags & MSG_CTRUNC || got != 1 || *sender <= 0)) {
        close(*fd);
        r = -EPROTO;
    }
    return r;
}

static bool same_namespace(int fd, pid_t pid, const char *kind)
{
    struct stat a, b;
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, kind);
    return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* NULL: it is what it should be. */
static const char *find_fault(int fd, pid_t sender)
{
    scoped(closep) int owner = -1;
    scoped(closep) int parent = -1;
    if (net_netns_owner(fd, &owner, NULL))
        return "it is no network namespace";
    if (net_netns_foreign(fd, NULL) != 1)
        return "the network namespace belongs to the host";
    if (!same_namespace(fd, sender, "net") || !same_namespace(owner, sender, "user"))
        return "the network namespace does not belong to the container";
    parent = ioctl(owner, NS_GET_PARENT);
    if (parent < 0 || !same_namespace(parent, getpid(), "user"))
        return "the container's user namespace was not made by the host";
    return NULL;
}

static int await_gate(const char *name, int sock, int *fd, struct rec_error *err)
{
    pid_t sender;
    int r = receive(sock, fd, &sender);
    if (r == -ECONNRESET)
        return r;
    if (r)
        return rec_fail(err, -r, "container '%s' has sent no network namespace: %s", name,
                        strerror(-r));
    const char *fault = find_fault(*fd, sender);
    if (!fault)
        return 0;
    close(*fd);
    return rec_fail(err, EPROTO, "cannot use the network of container '%s': %s", name, fault);
}

/* ---- what an earlier life has left ---------------------------------------- */

struct look {
    int fd;
    bool ours;
};

/* A thread of its own, since it stays in the namespace. */
static void *look_for_mark(void *arg)
{
    struct look *l = arg;
    struct net_inside in;
    if (net_inside_read(l->fd, NULL, NULL, &in, NULL))
        return NULL;
    l->ours = in.has_lo && in.lo.group == REC_GROUP;
    net_inside_done(&in);
    return NULL;
}

/* A container had it, or berth made it. */
static bool is_ours(int fd)
{
    struct look l = {.fd = fd};
    pthread_t thread;
    if (net_netns_foreign(fd, NULL) == 1)
        return true;
    if (!pthread_create(&thread, NULL, look_for_mark, &l))
        pthread_join(thread, NULL);
    return l.ours;
}

static int drop_name(int dir, const char *name, struct rec_error *err)
{
    struct net_error e;
    scoped(closep) int fd = -1;
    int r = net_netns_open(dir, name, &fd, &e);
    if (r == -ENOENT || r == -EINVAL)
        return 0; /* an empty file takes the name, and anything else is refused there */
    if (r)
        return rec_fail_net(err, &e);
    if (!is_ours(fd))
        return rec_fail(err, EEXIST, "a network namespace '%s' exists, and berth did not make it",
                        name);
    r = net_netns_unname(dir, name, &e);
    return r && r != -ENOENT ? rec_fail_net(err, &e) : 0;
}

static int drop_link(struct rec_run *run, const char *name, struct rec_error *err)
{
    const struct net_link *l = rec_link_named(run->links, name);
    struct net_batch *host;
    struct net_error e;
    int r = l ? rec_net(run, &host, err) : 0;
    if (!l || r)
        return r;
    if (!rec_group_ours(l->group) || strcmp(l->kind, "veth") != 0)
        return rec_fail(err, EEXIST, "link '%s' exists, and berth did not make it", name);
    net_batch_link_del(host, (struct net_link_ref){l->index, l->name}, 0);
    r = net_batch_send(host, NULL, NULL, &e);
    return r && r != -ENODEV ? rec_fail_net(err, &e) : 0;
}

/* ---- the port ------------------------------------------------------------- */

static int read_port(struct rec_run *run, const char *name, struct rec_item *out,
                     struct rec_error *err)
{
    char *text;
    size_t len;
    int r = rec_file_read(run->arena, nspawn_path(run->arena, name, "network"), TEXT_MOST, &text,
                          &len, err);
    return r ? r : rec_port_parse(run->arena, name, text, out, err);
}

static int make_port(struct rec_run *run, const char *name, struct rec_item *port,
                     struct rec_error *err)
{
    struct rec_item netns = {.kind = REC_NETNS,
                             .key = name,
                             .container = name,
                             .runtime = SPEC_RT_NSPAWN,
                             .ours = true,
                             .stated = 1u << REC_NETNS_LO | 1u << REC_NETNS_OWN,
                             .netns = {.lo_up = true, .own = true}};
    struct rec_step steps[] = {{.action = REC_CREATE, .kind = REC_NETNS, .to = &netns},
                               {.action = REC_CREATE, .kind = REC_PORT, .to = port}};
    struct rec_step *list[] = {&steps[0], &steps[1]};
    struct rec_plan plan = {.steps = list, .n = 2};
    struct rec_report report = {.arena = run->arena};
    for (size_t i = 0; i < plan.n; i++) {
        steps[i].object = rec_item_object(run->arena, steps[i].to);
        steps[i].reason = steps[i].blinks = "";
    }
    int r = rec_links_apply(run, list, plan.n, &report);
    if (r && report.n_failures && err)
        *err = report.failures[0].error;
    else if (r)
        rec_fail(err, -r, "cannot make the network of container '%s': %s", name, strerror(-r));
    else
        rec_announce(run, &plan);
    return r;
}

static int make_network(struct rec_run *run, const char *name, struct rec_error *err)
{
    struct rec_item port;
    int dir, r = read_port(run, name, &port, err);
    if (!r)
        r = rec_links_read(run, NULL, err);
    if (!r)
        r = rec_netns_dir(run, true, &dir, err);
    if (!r)
        r = drop_link(run, port.port.link, err);
    if (!r)
        r = drop_name(dir, name, err);
    return r ? r : make_port(run, name, &port, err);
}

int rec_own_network_make(const char *name, int sock, struct rec_error *err)
{
    struct rec_options options = {.allow_deletes = -1};
    struct rec_run *run;
    scoped(closep) int fd = -1;
    int r = await_gate(name, sock, &fd, err);
    if (r)
        return r;
    r = rec_open(&run, &options, err);
    if (r)
        return r;
    run->given_netns = fd;
    r = make_network(run, name, err);
    rec_close(run);
    if (!r && write(sock, "", 1) != 1)
        r = -ECONNRESET;
    return r;
}

int rec_own_network_end(const char *name, struct rec_error *err)
{
    struct net_error e;
    scoped(closep) int dir = -1, fd = -1;
    int r = net_netns_dir(false, &dir, &e);
    if (!r)
        r = net_netns_open(dir, name, &fd, &e);
    if (!r && net_netns_foreign(fd, NULL) != 1)
        return 0;
    if (!r)
        r = net_netns_unname(dir, name, &e);
    return r && r != -ENOENT && r != -EINVAL ? rec_fail_net(err, &e) : 0;
}
