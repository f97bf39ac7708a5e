# Counts what `strace -ff -y -v -e write=all` wrote, one file per thread, given twice: the first pass learns which socket
# speaks which netlink protocol, the second one counts. strace cannot name the requests of a socket that was opened in
# another namespace, so they are read from the dump of the bytes.
#
# One line comes out: LABEL calls= messages= changes= dellinks= moved= renamed= programs= sysctls=
BEGIN {
    for (i = 0; i < 16; i++) digit[substr("0123456789abcdef", i + 1, 1)] = i
    # linux/netfilter/nf_tables.h: the requests that only ask
    split("1 4 7 10 13 16 19 21 23 25 33", asks, " ")
    for (i in asks) nft_asks[asks[i]] = 1
}
function inode(line,    at) { # of the first descriptor, "5<socket:[123]>"
    if (!match(line, /[0-9]+<[^>]*\[[0-9]+\]>/)) return ""
    at = substr(line, RSTART, RLENGTH)
    sub(/.*\[/, "", at)
    sub(/\].*/, "", at)
    return at
}
function u16(at) { return byte[at] + 256 * byte[at + 1] }
function u32(at) { return u16(at) + 65536 * u16(at + 2) }

function route_message(at, len, type, flags,    a, create) {
    if (type % 4 != 2) changes++                        # linux/rtnetlink.h: new, del, get, set
    if (type == 17) dellinks++
    create = int(flags / 1024) % 2
    if ((type != 16 && type != 19) || create) return
    for (a = at + 32; a + 4 <= at + len && u16(a) >= 4; a += int((u16(a) + 3) / 4) * 4) {
        if (u16(a + 2) == 28 || u16(a + 2) == 19) moved++    # IFLA_NET_NS_FD, IFLA_NET_NS_PID
        if (u16(a + 2) == 3 && u32(at + 20)) renamed++       # IFLA_IFNAME of a link that is named by its index
    }
}
function nft_message(type) {
    if (int(type / 256) == 10 && !(type % 256 in nft_asks)) changes++
}
function take_messages(    at, len, type) {
    for (at = 0; at + 16 <= n_bytes; at += int((len + 3) / 4) * 4) {
        len = u32(at)
        type = u16(at + 4)
        if (len < 16) break
        messages++
        if (protocol[sender] ~ /ROUTE/) route_message(at, len, type, u16(at + 6))
        else if (protocol[sender] ~ /NETFILTER/) nft_message(type)
    }
}
function end_of_call() {
    if (n_bytes) take_messages()
    n_bytes = 0
    sender = ""
}

pass == 1 {
    if (/^socket\(AF_NETLINK/ && match($0, /NETLINK_[A-Z_]+/)) {
        kind = substr($0, RSTART, RLENGTH)
        sub(/.*= /, "")
        protocol[inode($0)] = kind
    }
    next
}
/^ \| / {
    if (sender == "") next
    line = substr($0, 10, 50)
    n = split(line, pair, " ")
    for (i = 1; i <= n; i++)
        if (pair[i] ~ /^[0-9a-f][0-9a-f]$/)
            byte[n_bytes++] = 16 * digit[substr(pair[i], 1, 1)] + digit[substr(pair[i], 2, 1)]
    next
}
/^[a-z_0-9]+\(/ {
    end_of_call()
    name = $0
    sub(/\(.*/, "", name)
    # Waiting for the other thread and asking for memory are no work done for a container, and a call that the kernel starts
    # again (ip_forward while another holds the rtnl lock) is one call.
    if ($0 !~ /\? ERESTART/ && name !~ /^(futex|sched_yield|exit|exit_group|restart_syscall|brk|mmap|munmap|madvise|mprotect)$/) calls++
    if (name == "execve" && / = 0$/) programs++
    if (name ~ /^open/ && /O_WRONLY|O_RDWR/ && /<\/proc\/sys\//) sysctls++
    if (name ~ /^(write|writev|sendto|sendmsg|sendmmsg)$/ && (inode($0) in protocol)) sender = inode($0)
}
END {
    end_of_call()
    printf "%s calls=%d messages=%d changes=%d dellinks=%d moved=%d renamed=%d programs=%d sysctls=%d\n", label, calls,
        messages, changes, dellinks, moved, renamed, programs - 1, sysctls
}
