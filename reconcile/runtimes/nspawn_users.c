/* Ids, idmapped mounts and capabilities of nspawn containers. Everything that is read here is
 * read once a run. */
#include "reconcile/runtimes/nspawn_users.h"
#include "reconcile/files.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#define IDS_FILE REC_STATE_DIR "/ids"

/* Ranges are numbered from FIRST_ID on. Directory services map users up to 2,000,200,000, so names
 * start above that; the lower ranges serve when the upper ones are used up. */
enum { RANGE = 65536, RANGES = 4093, UPPER = 2048, IDS_MOST = 4 << 20, DEVICES = 32 };
#define FIRST_ID 0x70000000u

struct range {
    const char *name;
    uint32_t number;
};

struct rec_nspawn {
    /* fresh: some range is not recorded yet; gone: some record has to go */
    bool ranges_read, fresh, gone;
    struct range *range; /* sorted by name */
    size_t n, room;
    uint8_t taken[(RANGES + 7) / 8];
    /* -1: this kernel gives none; -2: not asked for yet */
    int userns;
    struct {
        dev_t device;
        bool can;
    } seen[DEVICES];
    size_t n_seen;
    /* mount points of this host, each with its NUL, then an empty one; NULL: not read yet */
    char *mounts;
};

static struct rec_nspawn *memory(struct rec_run *run)
{
    if (!run->nspawn) {
        run->nspawn = spec_arena_alloc(run->arena, sizeof *run->nspawn);
        if (run->nspawn)
            run->nspawn->userns = -2;
    }
    return run->nspawn;
}

void nspawn_users_done(struct rec_run *run)
{
    if (run->nspawn && run->nspawn->userns >= 0)
        close(run->nspawn->userns);
    run->nspawn = NULL;
}

/* ---- idmapped mounts ------------------------------------------------------ */

static bool write_map(pid_t pid, const char *file, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

/* A process with a user namespace without ids. It holds the lock of this host, too, so it must not
 * outlive its parent, even a killed one: it ends when 'end' has no writer. */
_Noreturn static void hold_userns(const int ready[2], const int end[2])
{
    char byte = !unshare(CLONE_NEWUSER);
    close(end[1]);
    if (write(ready[1], &byte, 1) == 1)
        while (read(end[0], &byte, 1) < 0 && errno == EINTR)
            ;
    _exit(0);
}

/* Open the user namespace of 'pid' with ids from FIRST_ID on; -1: there is none. */
static int open_userns(pid_t pid)
{
    char text[64];
    snprintf(text, sizeof text, "0 %u %d\n", FIRST_ID, RANGE);
    if (!write_map(pid, "uid_map", text) || !write_map(pid, "gid_map", text))
        return -1;
    snprintf(text, sizeof text, "/proc/%d/ns/user", (int)pid);
    return open(text, O_RDONLY | O_CLOEXEC);
}

/* A user namespace to try mounts with; -1: there is none. A child makes it and lives only until
 * it is opened. */
static int make_userns(void)
{
    int ready[2], end[2], fd = -1;
    char byte = 0;
    if (pipe2(ready, O_CLOEXEC))
        return -1;
    if (pipe2(end, O_CLOEXEC)) {
        close(ready[0]);
        close(ready[1]);
        return -1;
    }
    pid_t pid = fork();
    if (!pid)
        hold_userns(ready, end);
    close(ready[1]);
    close(end[0]);
    ssize_t n = 0;
    while (pid > 0 && (n = read(ready[0], &byte, 1)) < 0 && errno == EINTR)
        ;
    close(ready[0]);
    if (pid > 0 && n == 1 && byte)
        fd = open_userns(pid);
    close(end[1]);
    if (pid > 0)
        kill(pid, SIGKILL); /* another thread's child may have 'end', too */
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return fd;
}

/* Without root nothing can be tried: then the file system's type decides. */
static bool guess_by_type(int file)
{
    enum {
        OVERLAY = 0x794c7630,
        NFS = 0x6969,
        NINEP = 0x01021997,
        FUSE = 0x65735546,
        ZFS = 0x2fc12fc1,
        DEVTMPFS = 0x1373
    };
    struct statfs fs;
    if (fstatfs(file, &fs))
        return true;
    return fs.f_type != OVERLAY && fs.f_type != NFS && fs.f_type != NINEP && fs.f_type != FUSE &&
           fs.f_type != ZFS && fs.f_type != DEVTMPFS;
}

static bool try_idmap(const struct rec_nspawn *m, int file)
{
    int fd =
        (int)syscall(SYS_open_tree, file, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return false;
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)m->userns};
    bool can = !syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof attr);
    close(fd);
    return can;
}

/* The path, or the nearest parent that is there. A start refuses links that a container can make,
 * so they must not decide here whether it has a user namespace. */
static int open_nearest(struct rec_run *run, const char *path)
{
    const char *why;
    char *there = spec_arena_strdup(run->arena, path);
    if (!there)
        return -ENOMEM;
    for (;;) {
        int fd = nspawn_source_open(run, there, &why);
        char *slash = strrchr(there, '/');
        if ((fd != -ENOENT && fd != -ENOTDIR) || !slash || !slash[1])
            return fd;
        slash[slash == there] = 0;
    }
}

static bool can_idmap(struct rec_run *run, struct rec_nspawn *m, int file)
{
    struct stat st;
    if (fstat(file, &st))
        return true;
    for (size_t i = 0; i < m->n_seen; i++)
        if (m->seen[i].device == st.st_dev)
            return m->seen[i].can;
    if (run->facts.root && m->userns == -2)
        m->userns = make_userns();
    bool can = run->facts.root ? m->userns >= 0 && try_idmap(m, file) : guess_by_type(file);
    if (m->n_seen < DEVICES) {
        m->seen[m->n_seen].device = st.st_dev;
        m->seen[m->n_seen++].can = can;
    }
    return can;
}

bool nspawn_can_idmap(struct rec_run *run, const char *path)
{
    struct rec_nspawn *m = memory(run);
    int fd = run->opt.offline || !m ? -1 : open_nearest(run, path);
    bool can = fd < 0 || can_idmap(run, m, fd);
    if (fd >= 0)
        close(fd);
    return can;
}

/* proc(5), mountinfo: the fifth word, where blanks, line ends and \\ are written as three octal
 * digits. */
static char *read_mounts(struct rec_run *run)
{
    enum { MOST = 64 << 20 };
    char path[48], *text, *out, *p;
    size_t len;
    snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)getpid());
    if (rec_file_read(run->arena, path, MOST, &text, &len, NULL) ||
        !(out = p = spec_arena_alloc(run->arena, len + 2)))
        return NULL;
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));) {
        for (int word = 0; line && word < 4; word++)
            if ((line = strchr(line, ' ')))
                line++;
        if (!line)
            continue;
        for (; *line && *line != ' '; line++) {
            bool octal = *line == '\\' && line[1] && line[2] && line[3];
            *p++ = octal ? (char)((line[1] - '0') << 6 | (line[2] - '0') << 3 | (line[3] - '0'))
                         : *line;
            line += octal ? 3 : 0;
        }
        *p++ = 0;
    }
    *p = 0;
    return out;
}

/* nspawn cannot put an idmapped mount in place of a tree that has mounts below it. */
static bool has_mounts_below(struct rec_run *run, const char *path)
{
    struct rec_nspawn *m = memory(run);
    char real[PATH_MAX], link[32];
    const char *why;
    int fd = run->opt.offline || !m ? -1 : nspawn_source_open(run, path, &why);
    if (fd < 0)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, real, sizeof real - 1);
    close(fd);
    if (len < 0)
        return false;
    real[len] = 0;
    if (!m->mounts)
        m->mounts = read_mounts(run);
    size_t n = strcmp(real, "/") ? strlen(real) : 0;
    for (const char *p = m->mounts; p && *p; p += strlen(p) + 1)
        if (!strncmp(p, real, n) && p[n] == '/' && p[n + 1])
            return true;
    return false;
}

/* `path` is `dir` or is below it. Without symbolic links; a path that is not there yet is
 * compared as it is written. */
static bool is_within(const char *path, const char *dir)
{
    char a[PATH_MAX], b[PATH_MAX];
    bool both = realpath(path, a) && realpath(dir, b);
    const char *p = both ? a : path, *d = both ? b : dir;
    size_t n = strlen(d);
    while (n && d[n - 1] == '/')
        n--;
    return !strncmp(p, d, n) && (!p[n] || p[n] == '/');
}

bool nspawn_users_mapped_bind(struct rec_run *run, const struct spec_container *c, const char *host)
{
    const char *root =
        c->nspawn.root == SPEC_ROOT_HOST ? NULL : nspawn_root_path(run, c, run->arena);
    return !root || !is_within(host, root);
}

/* ---- ranges --------------------------------------------------------------- */

static bool is_taken(const struct rec_nspawn *m, uint32_t number)
{
    return m->taken[number / 8] >> number % 8 & 1;
}

static void take_number(struct rec_nspawn *m, uint32_t number)
{
    m->taken[number / 8] |= (uint8_t)(1u << number % 8);
}

/* Every range that [first, first+count) touches belongs to someone else. */
static void take_ids(struct rec_nspawn *m, unsigned long long first, unsigned long long count)
{
    const unsigned long long low = FIRST_ID, high = low + (unsigned long long)RANGES * RANGE;
    if (!count || first >= high || count > UINT32_MAX || first + count <= low)
        return;
    unsigned long long from = first < low ? low : first,
                       to = first + count > high ? high : first + count;
    for (unsigned long long n = (from - low) / RANGE; n * RANGE < to - low; n++)
        take_number(m, (uint32_t)n);
}

/* subuid(5): NAME:FIRST:COUNT. */
static void read_subordinate(struct rec_run *run, struct rec_nspawn *m, const char *path)
{
    char *text;
    size_t len;
    if (rec_file_read(run->arena, path, IDS_MOST, &text, &len, NULL))
        return;
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));) {
        unsigned long long first, count;
        const char *colon = strchr(line, ':');
        if (colon && sscanf(colon, ":%llu:%llu", &first, &count) == 2)
            take_ids(m, first, count);
    }
}

static size_t position(const struct rec_nspawn *m, const char *name, bool *found)
{
    size_t lo = 0, hi = m->n;
    *found = false;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(m->range[mid].name, name);
        if (!c)
            *found = true;
        if (!c)
            return mid;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int insert(struct rec_run *run, struct rec_nspawn *m, size_t at, const char *name,
                  uint32_t number)
{
    if (m->n == m->room) {
        size_t room = m->room ? m->room * 2 : 64;
        struct range *p =
            spec_arena_grow(run->arena, m->range, m->room * sizeof *p, room * sizeof *p);
        if (!p)
            return -ENOMEM;
        m->range = p;
        m->room = room;
    }
    memmove(m->range + at + 1, m->range + at, (m->n - at) * sizeof *m->range);
    m->range[at] = (struct range){name, number};
    m->n++;
    take_number(m, number);
    return 0;
}

/* A line that is damaged, or says what another line said before, counts as not there: its
 * container gets a range as a new one does. */
static int read_record(struct rec_run *run, struct rec_nspawn *m)
{
    char *text;
    size_t len;
    if (rec_file_read(run->arena, IDS_FILE, IDS_MOST, &text, &len, NULL))
        return 0;
    for (char *line, *rest = text; (line = strsep(&rest, "\n"));) {
        char name[65];
        unsigned first;
        bool found;
        if (sscanf(line, "%64s %u", name, &first) != 2 || first < FIRST_ID ||
            (first - FIRST_ID) % RANGE)
            continue;
        uint32_t number = (first - FIRST_ID) / RANGE;
        size_t at = position(m, name, &found);
        if (number >= RANGES || found || is_taken(m, number))
            continue;
        const char *kept = spec_arena_strdup(run->arena, name);
        if (!kept || insert(run, m, at, kept, number))
            return -ENOMEM;
    }
    return 0;
}

static uint32_t hash_of(const char *name)
{
    uint64_t h = 14695981039346656037u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

/* The first free range from the one that the name leads to, among `n` from `from` on; RANGES:
 * all are taken. */
static uint32_t free_range(const struct rec_nspawn *m, const char *name, uint32_t from, uint32_t n)
{
    uint32_t start = hash_of(name) % n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = from + (start + i) % n;
        if (!is_taken(m, number))
            return number;
    }
    return RANGES;
}

static int find_range(struct rec_run *run, const char *name, uint32_t *first)
{
    struct rec_nspawn *m = memory(run);
    bool found;
    if (!m)
        return -ENOMEM;
    if (!m->ranges_read && !run->opt.offline) {
        if (read_record(run, m))
            return -ENOMEM;
        read_subordinate(run, m, "/etc/subuid");
        read_subordinate(run, m, "/etc/subgid");
    }
    m->ranges_read = true;
    size_t at = position(m, name, &found);
    if (!found) {
        uint32_t number = free_range(m, name, UPPER, RANGES - UPPER);
        if (number == RANGES)
            number = free_range(m, name, 0, UPPER);
        if (number == RANGES)
            return -ENOSPC;
        if (insert(run, m, at, name, number))
            return -ENOMEM;
        m->fresh = true;
    }
    *first = FIRST_ID + m->range[at].number * RANGE;
    return 0;
}

static int write_record(struct rec_run *run, struct rec_error *err)
{
    struct rec_nspawn *m = run->nspawn;
    char *text = spec_arena_alloc(run->arena, m->n * 80 + 1), *p = text;
    if (!text)
        return rec_fail(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < m->n; i++)
        p += sprintf(p, "%.64s %u\n", m->range[i].name, FIRST_ID + m->range[i].number * RANGE);
    if (p == text)
        return rec_file_remove(IDS_FILE, err);
    int r = rec_dir_make(REC_STATE_DIR, 0700, err);
    return r ? r : rec_file_write(IDS_FILE, text, (size_t)(p - text), 0644, err);
}

int nspawn_users_record(struct rec_run *run, struct rec_error *err)
{
    struct rec_nspawn *m = run->nspawn;
    if (!m || (!m->fresh && !m->gone))
        return 0;
    int r = write_record(run, err);
    if (!r)
        m->fresh = m->gone = false;
    return r;
}

void nspawn_users_forget(struct rec_run *run, const char *name)
{
    struct rec_nspawn *m = memory(run);
    uint32_t first;
    bool found;
    if (!m || (!m->ranges_read && access(IDS_FILE, F_OK)))
        return;
    if (!m->ranges_read && find_range(run, name, &first))
        return;
    size_t at = position(m, name, &found);
    if (!found)
        return;
    memmove(m->range + at, m->range + at + 1, (m->n - at - 1) * sizeof *m->range);
    m->n--;
    m->gone = true;
}

/* ---- what is in force ----------------------------------------------------- */

/* Why the container cannot have a user namespace, or NULL; *path: what is in the way, or NULL. */
static const char *cannot_idmap(struct rec_run *run, const struct spec_container *c,
                                const char **path)
{
    static const char type[] = "is on a file system without idmapped mounts",
                      below[] = "has other mounts below it";
    const char *root =
        c->nspawn.root == SPEC_ROOT_HOST ? NULL : nspawn_root_path(run, c, run->arena);
    *path = root;
    if (root && !nspawn_can_idmap(run, root))
        return type;
    if (root && has_mounts_below(run, root))
        return below;
    for (size_t i = 0; i < c->nspawn.n_binds; i++) {
        *path = c->nspawn.binds[i].host;
        if (!nspawn_can_idmap(run, *path))
            return type;
        if (has_mounts_below(run, *path))
            return below;
    }
    *path = NULL;
    /* The host's /usr is only read: its files may belong to nobody. This asks whether there are
     * user namespaces at all. */
    if (root || nspawn_can_idmap(run, "/usr") || !run->nspawn || run->nspawn->userns != -1)
        return NULL;
    return "this kernel gives no user namespace";
}

int nspawn_users_find(struct rec_run *run, const struct spec_container *c, struct nspawn_users *out)
{
    *out = (struct nspawn_users){.in_force = c->nspawn.users};
    if (c->nspawn.users != SPEC_USERS_AUTO)
        return 0;
    out->cannot = cannot_idmap(run, c, &out->path);
    int r = out->cannot ? 0 : find_range(run, c->name, &out->first);
    if (r == -ENOMEM)
        return r;
    if (r)
        out->cannot = "all ranges of ids are in use";
    if (out->cannot)
        out->in_force = SPEC_USERS_NONE;
    return 0;
}

int nspawn_users_other(struct rec_run *run, const struct spec_container *c,
                       const struct nspawn_users *u, struct nspawn_users *out)
{
    *out = (struct nspawn_users){.in_force = u->in_force == SPEC_USERS_AUTO ? SPEC_USERS_NONE
                                                                            : SPEC_USERS_AUTO};
    if (c->nspawn.users != SPEC_USERS_AUTO)
        return -ENOENT;
    return out->in_force == SPEC_USERS_AUTO ? find_range(run, c->name, &out->first) : 0;
}

/* ---- capabilities --------------------------------------------------------- */

#define BIT(name) (UINT64_C(1) << CAP_##name)
/* Without a user namespace. A plain command works with these; NET_RAW is needed because the kernel
 * refuses to start Debian's ping, which has it as a file capability, where the bounding set
 * lacks it. */
static const uint64_t plain = BIT(CHOWN) | BIT(DAC_OVERRIDE) | BIT(FOWNER) | BIT(FSETID) |
                              BIT(KILL) | BIT(SETGID) | BIT(SETUID) | BIT(NET_BIND_SERVICE) |
                              BIT(NET_RAW) | BIT(SYS_CHROOT) | BIT(AUDIT_WRITE) | BIT(SETFCAP);

static uint64_t asked_for(const struct spec_container *c)
{
    uint64_t extra = c->nspawn.network_admin ? BIT(NET_ADMIN) | BIT(NET_BROADCAST) : 0;
    return c->nspawn.capabilities | extra;
}

static const char *names_of(struct spec_arena *a, uint64_t set, const char *prefix)
{
    char list[1024] = "";
    size_t n = 0;
    for (unsigned i = 0; spec_capability_name(i); i++)
        if (set >> i & 1)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s%s", n ? "," : "", prefix,
                                  spec_capability_name(i));
    return spec_arena_strdup(a, list);
}

void nspawn_users_capabilities(const struct spec_container *c, const struct nspawn_users *u,
                               struct nspawn_words *w)
{
    uint64_t asked = asked_for(c);
    if (asked)
        nspawn_word(w, spec_arena_printf(w->a, "--capability=%s", names_of(w->a, asked, "CAP_")));
    /* With the host's uid 0, SYS_ADMIN over a user namespace is enough to make /proc/sys
     * writable. */
    if (u->in_force != SPEC_USERS_AUTO)
        nspawn_word(w, spec_arena_printf(w->a, "--drop-capability=%s",
                                         names_of(w->a, ~(plain | asked), "CAP_")));
}

const char *nspawn_users_risk(struct spec_arena *a, const struct spec_container *c,
                              const struct nspawn_users *u)
{
    /* Each of these alone opens a known way to the host's files, kernel or devices. */
    static const uint64_t deadly =
        BIT(SYS_ADMIN) | BIT(SYS_MODULE) | BIT(SYS_RAWIO) | BIT(SYS_PTRACE) | BIT(SYS_BOOT) |
        BIT(MKNOD) | BIT(DAC_READ_SEARCH) | BIT(BPF) | BIT(PERFMON) | BIT(MAC_ADMIN) |
        BIT(MAC_OVERRIDE) | BIT(LINUX_IMMUTABLE) | BIT(SYS_TIME) | BIT(CHECKPOINT_RESTORE);
    uint64_t bad = asked_for(c) & deadly;
    if (u->in_force == SPEC_USERS_AUTO)
        return NULL;
    if (u->in_force == SPEC_USERS_IDENTITY && bad & BIT(SYS_ADMIN))
        return "private_users: identity: with SYS_ADMIN its root can become the host's root by way "
               "of /proc/sys";
    if (u->in_force == SPEC_USERS_IDENTITY)
        return "private_users: identity: its root has the host's uid 0, and owns what belongs to "
               "root in its root and binds";
    if (bad)
        return spec_arena_printf(a,
                                 "no user namespace: with %s its root can become the host's root",
                                 names_of(a, bad, ""));
    return "no user namespace: its root is the host's uid 0 with few capabilities, and owns what "
           "belongs to root in its root and binds";
}
