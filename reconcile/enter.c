/* Into a container: by the leader's pidfd all its namespaces at once, its cgroup and its capability bound; or, where there is only a
 * network namespace, a mount namespace of our own with the container's files bound over /etc, as `ip netns exec` does. Children are in
 * the pid namespace, so a child of a child runs the command, and its status comes back through both. All of it runs out of a copy of
 * this program: what the container's files make of the command may get hold of that, and of nothing of the host's. */
#include "reconcile/enter.h"
#include "reconcile/files.h"
#include "reconcile/proc.h"
#include "reconcile/runtimes/nixos.h"
#include "reconcile/runtimes/nspawn.h"
#include "reconcile/runtimes/systemd.h"
#include "reconcile/self.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { DRAIN_MS = 200 };

struct inside {
    const struct rec_enter *e;
    struct rec_leader       leader;
    unsigned long long      bound;      /* capabilities the leader may have */
    char                    cgroup[512];
    int                     tty_back;   /* to hand the pty's master to the parent; -1: no pty */
};

static void complain(const char *what)
{
    dprintf(2, "berth: cannot %s: %s\n", what, strerror(errno));
    _exit(126);
}

/* As `ip netns exec`: files of /etc/netns/NAME over those of /etc; one without a place in /etc is passed over. */
static void bind_names(const char *name)
{
    static const char *const files[] = {"hosts", "resolv.conf", "hostname"};
    for (int i = 0; i < 3; i++) {
        char from[256], to[64];
        snprintf(from, sizeof from, "/etc/netns/%s/%s", name, files[i]);
        snprintf(to, sizeof to, "/etc/%s", files[i]);
        if (!access(from, F_OK))
            mount(from, to, NULL, MS_BIND, NULL);
    }
}

static void enter_netns(const struct inside *in)
{
    if (setns(in->leader.netns, CLONE_NEWNET))
        complain("enter the network namespace");
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS) || mount("", "/", NULL, MS_SLAVE | MS_REC, NULL))
        complain("make a mount namespace");
    if (sethostname(in->e->container, strlen(in->e->container)))
        complain("set the hostname");
    /* /sys shows the network of whoever mounted it. */
    struct statvfs fs;
    unsigned long flags = !statvfs("/sys", &fs) && fs.f_flag & ST_RDONLY ? MS_RDONLY : 0;
    if (!umount2("/sys", MNT_DETACH) && mount("sysfs", "/sys", "sysfs", flags | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
        complain("mount /sys");
    bind_names(in->e->container);
}

static bool own_userns(pid_t pid)
{
    char path[64];
    struct stat a, b;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    return !stat(path, &a) && !stat("/proc/self/ns/user", &b) && a.st_ino == b.st_ino;
}

/* setns keeps the host's ids, which the container's user namespace does not map: files made with them belong to nobody. The kernel
 * forgets the death signal and the dumpable flag when ids change (prctl(2)). */
static void become_root_inside(void)
{
    if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
        complain("become root in the container");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);
}

static void enter_leader(const struct inside *in)
{
    int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
    if (*in->cgroup) {      /* before the namespace of cgroups: its path is the host's */
        int fd = open(in->cgroup, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "0", 1) < 0 && errno != EBUSY)
            complain("join the container's cgroup");
        if (fd >= 0)
            close(fd);
    }
    bool other_user = !own_userns(in->leader.pid);
    if (other_user)
        flags |= CLONE_NEWUSER;
    if (setns(in->leader.pidfd, flags))
        complain("enter the container");
    if (other_user)
        become_root_inside();
}

/* What the leader may never have, we give up too. */
static void bound_capabilities(unsigned long long bound)
{
    for (int c = 0; c < 64; c++)
        if (!(bound >> c & 1) && prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1)
            prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};
    if (!syscall(SYS_capget, &h, d)) {
        for (int i = 0; i < 2; i++) {
            uint32_t m = (uint32_t)(bound >> (32 * i));
            d[i].effective &= m;
            d[i].permitted &= m;
            d[i].inheritable &= m;
        }
        syscall(SYS_capset, &h, d);
    }
}

static void take_terminal(void)
{
    setsid();
    ioctl(0, TIOCSCTTY, 0);
}

static const char *shell(void)
{
    return !access("/bin/bash", X_OK) ? "/bin/bash" : "/bin/sh";
}

/* The last one in the line: becomes the command. */
static void become(const struct inside *in)
{
    static const char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";
    const char *term = getenv("TERM");
    char term_line[128], container[128];
    snprintf(term_line, sizeof term_line, "TERM=%.100s", term ? term : "dumb");
    snprintf(container, sizeof container, "container=systemd-nspawn");
    char *env[] = {(char *)path,      "HOME=/root",      "USER=root", "LOGNAME=root",
                   "LANG=C.UTF-8", term_line, in->leader.pid ? container : NULL, NULL};
    environ = env;      /* the search for the program goes by this PATH, not by the caller's */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    syscall(SYS_close_range, 3, ~0u, 0);
    if (in->leader.pid)
        bound_capabilities(in->bound);
    if (in->e->argv) {
        execvpe(in->e->argv[0], in->e->argv, env);
        int code = errno == ENOENT || errno == ENOTDIR ? 127 : 126;
        dprintf(2, "berth: cannot run '%.200s' in container %s: %s\n", in->e->argv[0], in->e->container,
                code == 127 ? "not found there" : strerror(errno));
        _exit(code);
    }
    const char *sh = shell();
    if (chdir("/root") && chdir("/"))
        _exit(126);
    execle(sh, sh[5] == 'b' ? "-bash" : "-sh", (char *)NULL, env);
    dprintf(2, "berth: there is no shell in container %s\n", in->e->container);
    _exit(127);
}

static int send_fd(int sock, int fd)
{
    char byte = 0, room[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int receive_fd(int sock)
{
    int fd = -1;
    char byte, room[CMSG_SPACE(sizeof fd)];
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    if (recvmsg(sock, &m, MSG_CMSG_CLOEXEC) <= 0)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* The pty is made inside, or `tty` there has no name for it (facts E3). */
static void open_pty(const struct inside *in)
{
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0;
    int slave = master < 0 || ioctl(master, TIOCSPTLCK, &unlock) ? -1 : ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    struct winsize w;
    if (slave < 0)
        complain("make a terminal");
    if (!ioctl(0, TIOCGWINSZ, &w))
        ioctl(slave, TIOCSWINSZ, &w);
    if (send_fd(in->tty_back, master))
        complain("hand over the terminal");
    close(master);
    for (int i = 0; i < 3; i++)
        dup2(slave, i);
    if (slave > 2)
        close(slave);
}

static volatile sig_atomic_t innermost;

/* What the terminal sends, it sends to all of the foreground at once: the command has had it. */
static void pass_on(int s, siginfo_t *i, void *context)
{
    (void)context;
    if (innermost > 0 && i->si_code != SI_KERNEL)
        kill((pid_t)innermost, s);
}

static const int passed[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* The middle one: in the namespaces, but not yet in the pid namespace. It waits for the command, and dies with the run. */
static void middle(const struct inside *in)
{
    int st;
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 0);      /* nobody inside shall get at this program through /proc while it is not yet the command */
    if (in->leader.pid)
        enter_leader(in);
    else
        enter_netns(in);
    if (in->tty_back >= 0)
        open_pty(in);
    pid_t pid = fork();
    if (pid < 0)
        complain("start a process");
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (in->tty_back >= 0)
            take_terminal();
        become(in);
    }
    innermost = pid;
    struct sigaction sa = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaction(passed[i], &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (in->tty_back >= 0)      /* the pty ends when its last holder closes it */
        for (int i = 0; i < 3; i++)
            close(i);
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st));
}

static bool forward(int from, int to)
{
    char b[8192];
    ssize_t n = read(from, b, sizeof b);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    for (ssize_t at = 0; at < n;) {
        ssize_t k = write(to, b + at, (size_t)(n - at));
        if (k < 0 && errno != EINTR)
            return false;
        at += k > 0 ? k : 0;
    }
    return n > 0;
}

/* Bytes between the terminal and the pty, signals to the middle process, until it has ended. */
static int attend(pid_t pid, int master, int signals)
{
    int st = 0, pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    bool in_open = master >= 0, out_open = master >= 0, ended = false;
    while (!ended || out_open) {
        struct pollfd p[4] = {{ended ? -1 : pidfd, POLLIN, 0},
                              {signals, POLLIN, 0},
                              {in_open ? 0 : -1, POLLIN, 0},
                              {out_open ? master : -1, POLLIN, 0}};
        int k = poll(p, 4, ended ? DRAIN_MS : -1);      /* what was left behind may hold the pty: no need to wait for it */
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        if (p[1].revents & POLLIN) {
            struct signalfd_siginfo s;
            struct winsize w;
            if (read(signals, &s, sizeof s) == sizeof s && (int)s.ssi_signo == SIGWINCH) {
                if (master >= 0 && !ioctl(0, TIOCGWINSZ, &w))
                    ioctl(master, TIOCSWINSZ, &w);
            } else if (s.ssi_code != SI_KERNEL) {
                kill(pid, (int)s.ssi_signo);
            }
        }
        if (p[2].revents)
            in_open = forward(0, master);
        if (p[3].revents)
            out_open = forward(master, 1);
        if (p[0].revents)
            ended = true;
    }
    while (waitpid(pid, &st, 0) < 0 && errno == EINTR)
        ;
    if (pidfd >= 0)
        close(pidfd);
    return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* Where the leader's processes are counted: its cgroup as the host sees it. */
static void find_cgroup(struct rec_run *run, struct inside *in)
{
    char *text;
    size_t len;
    in->bound = ~0ull;
    if (!rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/status", (int)in->leader.pid), 65536, &text, &len, NULL)) {
        const char *p = strstr(text, "CapBnd:");
        if (p)
            in->bound = strtoull(p + 7, NULL, 16);
    }
    if (rec_file_read(run->arena, spec_arena_printf(run->arena, "/proc/%d/cgroup", (int)in->leader.pid), 65536, &text, &len, NULL))
        return;
    char *path = strstr(text, "0::/");
    if (!path)
        return;
    path += 3;
    path[strcspn(path, "\n")] = 0;
    static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    for (int i = 0; i < 2; i++) {
        snprintf(in->cgroup, sizeof in->cgroup, "%s%s/cgroup.procs", mounts[i], path);
        if (!access(in->cgroup, W_OK))
            return;
    }
    *in->cgroup = 0;
}

int rec_enter(struct rec_run *run, const struct rec_enter *e, int *status, struct rec_error *err)
{
    struct inside in = {.e = e, .tty_back = -1};
    int pair[2] = {-1, -1}, master = -1, r = rec_leader_find(run, e->container, &in.leader, err);
    struct termios saved;
    bool tty = e->tty && isatty(0) && !tcgetattr(0, &saved);
    if (r)
        return r;
    /* A namespace alone has the host's own files: nobody there could take hold of this program who cannot in any case. */
    if (in.leader.pid && (r = rec_self_seal(run->arena, err))) {
        close(in.leader.netns);
        if (in.leader.pidfd >= 0)
            close(in.leader.pidfd);
        return r;
    }
    if (in.leader.pid)
        find_cgroup(run, &in);
    if (tty && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        r = rec_fail(err, errno, "cannot enter container '%s': %s", e->container, strerror(errno));
        close(in.leader.netns);
        if (in.leader.pidfd >= 0)
            close(in.leader.pidfd);
        return r;
    }
    in.tty_back = pair[1];
    sigset_t mask, before;
    sigemptyset(&mask);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaddset(&mask, passed[i]);
    sigaddset(&mask, SIGWINCH);
    sigprocmask(SIG_BLOCK, &mask, &before);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    pid_t pid = fork();
    if (!pid)
        middle(&in);
    if (pid > 0) {
        if (tty) {
            close(pair[1]);
            pair[1] = -1;
            master = receive_fd(pair[0]);
            struct termios raw = saved;
            cfmakeraw(&raw);
            if (master >= 0)
                tcsetattr(0, TCSADRAIN, &raw);
        }
        *status = attend(pid, master, signals);
        if (master >= 0) {
            tcsetattr(0, TCSADRAIN, &saved);
            close(master);
        }
    } else {
        r = rec_fail(err, errno, "cannot start a process: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    if (signals >= 0)
        close(signals);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(in.leader.netns);
    if (in.leader.pidfd >= 0)
        close(in.leader.pidfd);
    return r;
}
