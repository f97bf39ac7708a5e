/* A hostile program inside a container: it tries to trace every new process as soon as it exists.
 * Each catch is a line in /caught: what the process may do, how many descriptors it has, and
 * whether a word of the operator's environment is in its memory. It ends when /enough exists. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* its last letter comes later, or this program would find itself */
static char secret[] = "OPERATORS_SECRE?";

static void read_status(pid_t pid, char *caps, size_t room)
{
    char path[64], line[256];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    *caps = 0;
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "CapPrm", 6) || !strncmp(line, "CapBnd", 6) ||
            !strncmp(line, "Seccomp:", 8)) {
            line[strcspn(line, "\n")] = ' ';
            n += (size_t)snprintf(caps + n, room - n, "%s", line);
        }
    if (f)
        fclose(f);
}

static int count_descriptors(pid_t pid)
{
    char path[64];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        n += *e->d_name != '.';
    if (d)
        closedir(d);
    return n;
}

static int finds_secret(pid_t pid)
{
    char path[64], line[256];
    int found = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "r");
    snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY);
    while (maps && mem >= 0 && !found && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx rw", &from, &to) != 2 || to - from > (64ul << 20))
            continue;
        char *bytes = malloc(to - from);
        ssize_t n = bytes ? pread(mem, bytes, to - from, (off_t)from) : -1;
        found = n > 0 && memmem(bytes, (size_t)n, secret, sizeof secret - 1);
        free(bytes);
    }
    if (maps)
        fclose(maps);
    if (mem >= 0)
        close(mem);
    return found;
}

int main(void)
{
    FILE *out = fopen("/caught", "w");
    pid_t last = getpid();
    secret[sizeof secret - 2] = 'T';
    while (out && access("/enough", F_OK)) {
        for (pid_t pid = last + 1; pid < last + 6; pid++) {
            if (ptrace(PTRACE_SEIZE, pid, 0, 0))
                continue;
            char caps[512];
            int status;
            ptrace(PTRACE_INTERRUPT, pid, 0, 0);
            waitpid(pid, &status, __WALL);
            read_status(pid, caps, sizeof caps);
            int fds = count_descriptors(pid), found = finds_secret(pid);
            fprintf(out, "%d %s fds %d secret %d\n", (int)pid, caps, fds, found);
            fflush(out);
            ptrace(PTRACE_DETACH, pid, 0, 0);
            last = pid;
        }
        char text[32] = "";
        int fd = open("/proc/sys/kernel/ns_last_pid", O_RDONLY);
        if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && atoi(text) > last + 4)
            last = atoi(text);
        if (fd >= 0)
            close(fd);
    }
    return 0;
}
