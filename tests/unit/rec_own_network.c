/* What berth takes from the gate of a container: one descriptor, of a network namespace that
 * belongs to the sender and that a child of this user namespace owns. And the text of a port says
 * all that a port has. */
#include "rec_offline.h"
#include "reconcile/own_network.h"
#include "reconcile/port_text.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 2 };

static void send_all(int sock, const int *fds, size_t n)
{
    union {
        char bytes[CMSG_SPACE(MOST * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    char byte = 0;
    struct iovec io = {&byte, 1};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (n) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(n * sizeof *fds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof *fds);
        memcpy(CMSG_DATA(c), fds, n * sizeof *fds);
    }
    if (sendmsg(sock, &m, 0) != 1)
        _exit(2);
}

/* Runs `gate` as a sender of its own, which stays until the answer is there. */
static int answer(void (*gate)(int sock), struct rec_error *e)
{
    int ends[2], done[2], on = 1, status;
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(pipe(done), 0);
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    pid_t pid = fork();
    if (!pid) {
        close(ends[0]);
        close(done[1]);
        gate(ends[1]);
        _exit(read(done[0], &byte, 1) != 0);
    }
    close(ends[1]);
    close(done[0]);
    *e = (struct rec_error){0};
    int r = rec_own_network_make("berth-test-of-the-gate", ends[0], e);
    close(done[1]);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
    return r;
}

static int open_net(void)
{
    return open("/proc/self/ns/net", O_RDONLY);
}

static void apart(int flags)
{
    if (unshare(flags))
        _exit(77);
}

static void sends_nothing(int sock)
{
    send_all(sock, NULL, 0);
}
static void sends_two(int sock)
{
    apart(CLONE_NEWUSER | CLONE_NEWNET);
    int fds[] = {open_net(), open_net()};
    send_all(sock, fds, 2);
}
static void sends_a_file(int sock)
{
    int fd = open("/dev/null", O_RDWR);
    send_all(sock, &fd, 1);
}
static void sends_another_kind(int sock)
{
    apart(CLONE_NEWUSER | CLONE_NEWUTS);
    int fd = open("/proc/self/ns/uts", O_RDONLY);
    send_all(sock, &fd, 1);
}
static void sends_the_hosts(int sock)
{
    int fd = open_net();
    send_all(sock, &fd, 1);
}
/* Its own user namespace owns it, but the sender is elsewhere. */
static void sends_anothers(int sock)
{
    apart(CLONE_NEWUSER | CLONE_NEWNET);
    int fd = open_net();
    apart(CLONE_NEWNET);
    send_all(sock, &fd, 1);
}
static void write_map(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        _exit(77);
    close(fd);
}
static void sends_a_nested_one(int sock)
{
    apart(CLONE_NEWUSER);
    write_map("/proc/self/setgroups", "deny");
    write_map("/proc/self/uid_map", "0 0 1");
    write_map("/proc/self/gid_map", "0 0 1");
    apart(CLONE_NEWUSER | CLONE_NEWNET);
    int fd = open_net();
    send_all(sock, &fd, 1);
}
/* All is well with it, so the port is what is missing. */
static void sends_its_own(int sock)
{
    apart(CLONE_NEWUSER | CLONE_NEWNET);
    int fd = open_net();
    send_all(sock, &fd, 1);
}
static void says_nothing(int sock)
{
    close(sock);
}

static void only_a_containers_own_network_is_taken(void **state)
{
    static const struct {
        void (*gate)(int sock);
        int code;
        const char *text;
    } cases[] = {
        {sends_nothing, EPROTO, "has sent no network namespace"},
        {sends_two, EPROTO, "has sent no network namespace"},
        {sends_a_file, EPROTO, "it is no network namespace"},
        {sends_another_kind, EPROTO, "it is no network namespace"},
        {sends_the_hosts, EPROTO, "belongs to the host"},
        {sends_anothers, EPROTO, "does not belong to the container"},
        {sends_a_nested_one, EPROTO, "was not made by the host"},
        {sends_its_own, ENOENT, "network"},
        {says_nothing, ECONNRESET, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rec_error e;
        int r = answer(cases[i].gate, &e);
        if (r != -cases[i].code || !strstr(e.text, cases[i].text))
            fail_msg("case %zu: %d, %s", i, r, e.text);
    }
}

static void the_text_of_a_port_says_all(void **state)
{
    static const char spec[] = "version: 1\n"
                               "defaults: {container: {runtime: nspawn}}\n"
                               "hosts:\n"
                               "  h:\n"
                               "    bridges:\n"
                               "      br0: {address: [10.0.0.1/24, \"fd00::1/64\"], mtu: 1400}\n"
                               "      br1: {address: 10.1.0.1/24}\n"
                               "    containers:\n"
                               "      a: {address: [10.0.0.10, \"fd00::10\"], ports: [8080:80]}\n"
                               "      b: {address: 10.1.0.10, mac: \"02:00:00:00:00:09\"}\n"
                               "      c: {address: 10.1.0.11, gateway: none}\n";
    struct rec_run *run = offline();
    struct rec_state want, back;
    struct rec_error e;
    size_t ports = 0;
    (void)state;
    wanted(run, spec, &want);
    rec_state_init(&back, run->arena);
    for (size_t i = 0; i < want.n; i++) {
        if (want.items[i]->kind != REC_PORT)
            continue;
        struct rec_item *it = spec_arena_alloc(run->arena, sizeof *it);
        const char *text = rec_port_text(run->arena, want.items[i]);
        assert_int_equal(rec_port_parse(run->arena, want.items[i]->key,
                                        spec_arena_strdup(run->arena, text), it, &e),
                         0);
        assert_int_equal(it->stated, want.items[i]->stated);
        assert_false(rec_item_differs(run, it, want.items[i]));
        assert_false(rec_item_differs(run, want.items[i], it));
        assert_memory_equal(it->port.host_mac, want.items[i]->port.host_mac, 6);
        assert_string_equal(rec_port_text(run->arena, it), text);
        ports++;
    }
    assert_int_equal(ports, 3);
    rec_close(run);
}

static void a_damaged_text_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "link vb-a\n",
        "link vb-a\nbridge br0\nspeed 7\n",
        "link a-name-that-is-too-long\nbridge br0\n",
        "link vb-a\nbridge br0\naddress 10.0.0.300/24\n",
        "link vb-a\nbridge br0\nmac 1:2\n",
        "link vb-a\nbridge br0\nmtu -1\n",
        "link vb-a\nbridge br0\nhairpin 2\n",
        "link vb-a\nbridge br0\ngateway\n",
        "link vb-a\nbridge br0\naddress 10.0.0.1/8\naddress 10.0.0.2/8\naddress 10.0.0.3/8\n",
    };
    struct rec_run *run = offline();
    struct rec_error e;
    struct rec_item it;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (rec_port_parse(run->arena, "a", spec_arena_strdup(run->arena, texts[i]), &it, &e) !=
            -EINVAL)
            fail_msg("taken: %s", texts[i]);
    rec_close(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_containers_own_network_is_taken),
        cmocka_unit_test(the_text_of_a_port_says_all),
        cmocka_unit_test(a_damaged_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
