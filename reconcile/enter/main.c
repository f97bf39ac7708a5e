/* berth-enter — a command inside a container, started by berth as call.h says. It runs from a
 * sealed copy of its file.
 * Order    join the cgroup; enter all namespaces; become the container's root; install the system
 *          call filter; reduce capabilities; make the pty and the pipes inside; close everything
 *          else; only then fork. The pid namespace begins with the child, so no process inside can
 *          see this program before it is confined. The child holds the command's descriptors and no
 *          others.
 * Messages go to standard error, which is berth's until the pty and the pipes take its place. */
#include "reconcile/enter/call.h"
#include "reconcile/enter/filter.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 126, ABSENT = 127, CAPABILITIES = 64 };

static void complain(const char *what)
{
    dprintf(2, "berth: cannot %s: %s\n", what, strerror(errno));
    _exit(FAILED);
}

/* ---- a namespace alone ---- */

/* As `ip netns exec`: files of /etc/netns/NAME over those of /etc. A file that /etc does not
 * have is left out. */
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

static void enter_netns(const char *name)
{
    if (setns(ENTER_NAMESPACE, CLONE_NEWNET))
        complain("enter the network namespace");
    if (unshare(CLONE_NEWNS | CLONE_NEWUTS) || mount("", "/", NULL, MS_SLAVE | MS_REC, NULL))
        complain("make a mount namespace");
    if (sethostname(name, strlen(name)))
        complain("set the hostname");
    /* /sys shows the network of the process that mounted it. */
    struct statvfs fs;
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (!statvfs("/sys", &fs) && fs.f_flag & ST_RDONLY)
        flags |= MS_RDONLY;
    if (!umount2("/sys", MNT_DETACH) && mount("sysfs", "/sys", "sysfs", flags, NULL))
        complain("mount /sys");
    bind_names(name);
}

/* ---- a container ---- */

/* Before the cgroup namespace: the path is the host's. */
static void join_cgroup(void)
{
    if (fcntl(ENTER_CGROUP, F_GETFD) < 0)
        return;
    if (write(ENTER_CGROUP, "0", 1) < 0 && errno != EBUSY)
        complain("join the container's cgroup");
    close(ENTER_CGROUP);
}

/* The kernel forgets the death signal and the dumpable flag when ids change (prctl(2)). */
static void die_with_berth(void)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_DUMPABLE, 0))
        complain("protect the process");
}

/* setns keeps the host's ids, which a user namespace does not map: files made with them belong
 * to nobody. */
static void become_root_inside(void)
{
    if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
        complain("become root in the container");
    die_with_berth();
}

/* As root: what exec gives the command is the bounding set. So nothing is left that the leader
 * may not have. */
static void reduce_capabilities(uint64_t bound)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};
    for (int c = 0; c < CAPABILITIES; c++)
        if (!(bound >> c & 1) && prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, c, 0, 0, 0))
            complain("reduce the capabilities");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
        complain("reduce the capabilities");
    if (syscall(SYS_capget, &h, d))
        complain("reduce the capabilities");
    for (int i = 0; i < 2; i++) {
        uint32_t most = (uint32_t)(bound >> (32 * i));
        d[i].permitted &= most;
        d[i].effective = d[i].permitted;
        d[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &h, d))
        complain("reduce the capabilities");
}

static void enter_leader(const struct enter_call *call)
{
    int flags =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
    if (call->user) /* one's own: EINVAL */
        flags |= CLONE_NEWUSER;
    join_cgroup();
    if (setns(ENTER_NAMESPACE, flags))
        complain("enter the container");
    close(ENTER_NAMESPACE);
    /* The caller's session keyring holds the caller's keys. Without keys in the kernel there is
     * nothing to leave. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
    become_root_inside();
    /* The filter needs CAP_SYS_ADMIN, so it comes before the capabilities go. */
    int r = enter_filter_install(call->bound);
    if (r) {
        errno = -r;
        complain("install the system call filter");
    }
    reduce_capabilities(call->bound);
    if (call->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        complain("give up new privileges");
}

/* ---- descriptors ---- */

static void set_modes(int slave, const struct enter_call *call)
{
    struct termios modes;
    if (call->modes_known)
        modes = call->modes;
    else if (tcgetattr(slave, &modes))
        return;
    if (!call->raw) { /* the operator's terminal edits lines, echoes and ends them */
        modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        modes.c_oflag &= ~(tcflag_t)OPOST;
    }
    modes.c_lflag |= ICANON | ISIG;
    tcsetattr(slave, TCSANOW, &modes);
}

/* The pty is made inside, or `tty` there has no name for it. /dev/ptmx is the container's to
 * replace: check what it is. */
static int open_pty(const struct enter_call *call, int *slave)
{
    struct stat st;
    int unlock = 0, master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (master < 0 && errno == ENOSPC) {
        dprintf(
            2,
            "berth: cannot make a terminal in the container: no pseudo-terminal is left. All "
            "containers "
            "share kernel.pty.max less kernel.pty.reserve of them, and one of them may hold all\n"
            "  who holds them, on the host: grep -l '^tty-index' /proc/[0-9]*/fdinfo/*; raise the "
            "limit: "
            "sysctl kernel.pty.max; without a terminal: berth run NAME -- COMMAND </dev/null 2>&1 "
            "| cat\n");
        _exit(FAILED);
    }
    if (master < 0)
        complain("open /dev/ptmx in the container");
    errno = ENODEV;
    if (fstat(master, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2))
        complain("use /dev/ptmx in the container");
    if (ioctl(master, TIOCSPTLCK, &unlock) ||
        (*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        complain("make a terminal in the container");
    set_modes(*slave, call);
    if (call->size.ws_col)
        ioctl(*slave, TIOCSWINSZ, &call->size);
    return master;
}

static void send_ends(const int *ends, size_t n)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(ENTER_ENDS_MOST * sizeof(int))] = {0};
    char byte = 0;
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = room,
                       .msg_controllen = CMSG_SPACE(n * sizeof *ends)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(n * sizeof *ends);
    memcpy(CMSG_DATA(c), ends, n * sizeof *ends);
    if (sendmsg(ENTER_SOCKET, &m, MSG_NOSIGNAL) < 0)
        complain("hand over the command's input and output");
}

/* Descriptors 0 to 2 become the command's, the outer ends go to berth, and everything else is
 * closed. */
static void make_descriptors(const struct enter_call *call)
{
    int ends[ENTER_ENDS_MOST], inner[3], slave = -1;
    size_t n = 0;
    if (call->tty[0] || call->tty[1] || call->tty[2])
        ends[n++] = open_pty(call, &slave);
    for (int i = 0; i < 3; i++) {
        int both[2];
        inner[i] = slave;
        if (call->tty[i])
            continue;
        if (i == 2 && call->joined) {
            inner[2] = inner[1];
            continue;
        }
        if (pipe2(both, O_CLOEXEC))
            complain("make a pipe");
        ends[n++] = both[i == 0];
        inner[i] = both[i != 0];
    }
    send_ends(ends, n);
    /* All of them are above 5: nothing is overwritten before it is copied. */
    for (int i = 0; i < 3; i++)
        if (dup2(inner[i], i) < 0)
            _exit(FAILED);
    if (syscall(SYS_close_range, 3, ~0u, 0))
        _exit(FAILED);
}

/* ---- the command ---- */

static void clear_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void take_terminal(const struct enter_call *call)
{
    for (int i = 0; i < 3; i++)
        if (call->tty[i] && !ioctl(i, TIOCSCTTY, 0))
            return;
}

static void become_shell(const char *container, char *const *env)
{
    bool bash = !access("/bin/bash", X_OK);
    if (chdir("/root") && chdir("/"))
        _exit(FAILED);
    execle(bash ? "/bin/bash" : "/bin/sh", bash ? "-bash" : "-sh", (char *)NULL, env);
    dprintf(2, "berth: there is no shell in container %s\n", container);
    _exit(ABSENT);
}

/* The container's variables, as berth sends them. */
static char *receive_variables(const struct enter_call *call)
{
    size_t n = 0;
    char *text = call->env_bytes <= ENTER_ENV_MOST ? malloc(call->env_bytes + 1) : NULL;
    if (!text) {
        errno = ENOMEM;
        complain("take the container's variables");
    }
    while (n < call->env_bytes) {
        ssize_t k = recv(ENTER_SOCKET, text + n, call->env_bytes - n, 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            complain("take the container's variables");
        n += (size_t)k;
    }
    text[n] = 0;
    return text;
}

/* The terminal is the operator's, so TERM is too. */
static bool is_variable_of_ours(const char *variable)
{
    return !strncmp(variable, "TERM=", 5) || !strncmp(variable, "container=", 10);
}

/* The container's variables, and those of `usual` that it does not set. */
static char **make_environment(char *variables, size_t len, char *const *usual)
{
    size_t n = 0, most = 1;
    for (size_t i = 0; i < len; i++)
        most += !variables[i];
    for (char *const *u = usual; *u; u++)
        most++;
    char **env = calloc(most, sizeof *env);
    if (!env)
        _exit(FAILED);
    for (char *p = variables; p < variables + len; p += strlen(p) + 1)
        if (!is_variable_of_ours(p))
            env[n++] = p;
    size_t set = n;
    for (char *const *u = usual; *u; u++) {
        size_t name = strcspn(*u, "=") + 1;
        bool found = false;
        for (size_t i = 0; i < set && !found; i++)
            found = !strncmp(env[i], *u, name);
        if (!found)
            env[n++] = *u;
    }
    return env;
}

static void become_command(const struct enter_call *call, const char *container, char *const *argv,
                           char *variables)
{
    char term[sizeof call->term + 8];
    snprintf(term, sizeof term, "TERM=%.63s", call->term);
    char *usual[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/"
                     "current-system/sw/bin",
                     "HOME=/root",
                     "USER=root",
                     "LOGNAME=root",
                     "LANG=C.UTF-8",
                     term,
                     call->leader ? "container=systemd-nspawn" : NULL,
                     NULL};
    char **env = make_environment(variables, call->env_bytes, usual);
    environ = env; /* execvpe looks for the program by this PATH */
    if (!*argv)
        become_shell(container, env);
    execvpe(argv[0], argv, env);
    bool absent = errno == ENOENT || errno == ENOTDIR;
    dprintf(2, "berth: cannot run '%.200s' in container %s: %s\n", argv[0], container,
            absent ? "not found there" : strerror(errno));
    _exit(absent ? ABSENT : FAILED);
}

static volatile sig_atomic_t command;

/* Signals come from berth alone: no process inside can see this one, and it has no terminal. */
static void pass_on(int s, siginfo_t *i, void *context)
{
    (void)context;
    bool group = i->si_code == SI_QUEUE && i->si_value.sival_int == ENTER_TO_GROUP;
    int saved = errno;
    if (command > 0)
        kill(group ? -(pid_t)command : (pid_t)command, s == SIGTSTP ? SIGSTOP : s);
    errno = saved;
}

static void pass_signals_on(void)
{
    static const int passed[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                 SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT};
    struct sigaction sa = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO};
    sigset_t none;
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        sigaction(passed[i], &sa, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int wait_command(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    struct enter_call call;
    /* The terminal of berth's session stays behind: neither its signals nor /dev/tty reach here. */
    if (argc < 2 || recv(ENTER_SOCKET, &call, sizeof call, 0) != sizeof call) {
        dprintf(2, "berth-enter: berth starts this program, see berth run and berth login\n");
        return 64;
    }
    /* Before the memory holds anything of the container's. */
    prctl(PR_SET_DUMPABLE, 0);
    char *variables = receive_variables(&call);
    prctl(PR_SET_NAME, "berth-enter"); /* else the number of a descriptor */
    setsid();
    die_with_berth();
    call.term[sizeof call.term - 1] = 0;
    if (call.leader)
        enter_leader(&call);
    else
        enter_netns(argv[1]);
    make_descriptors(&call);
    pid_t pid = fork();
    if (pid < 0)
        complain("start a process");
    if (!pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        take_terminal(&call);
        clear_signals();
        become_command(&call, argv[1], argv + 2, variables);
    }
    command = pid;
    pass_signals_on();
    /* The pty and the pipes end with their last holder. */
    syscall(SYS_close_range, 0, 2, 0);
    _exit(wait_command(pid));
}
