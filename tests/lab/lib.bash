# lib.bash: what the suites share. In a .bats file:  load ../lab/lib
#
# Every test gets a bare host of its own (tests/lab/bare) from lab_up and gives it back in lab_down; `host CMD` runs
# on it, `inet CMD` on the internet beside it, `berth ARGS` is the program on it. Nothing here sleeps: events are
# waited for with a deadline.
#
#   BERTH            the program; default build/dev/cmd/berth
#   BERTH_SANITIZED  set when it was built with ASan: leaks are looked for, but not under strace (it cannot)

LAB=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
REPO=${LAB%/tests/lab}
BERTH=$(readlink -f "${BERTH:-$REPO/build/dev/cmd/berth}")
export BERTH REPO LAB
export LC_ALL=C NO_COLOR=1
unset BERTH_SPEC BERTH_HOST
# script(1) starts this.
if [[ -z ${SHELL-} ]]; then export SHELL=/bin/sh; fi
WAIT_SECONDS=${WAIT_SECONDS:-20}
if [[ -n ${BERTH_SANITIZED-} ]]; then
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 UBSAN_OPTIONS=print_stacktrace=1:exitcode=99
fi

need_berth() { [[ -x $BERTH ]] || skip "no program at $BERTH"; }

# for_others: let every user run berth, and open this test's folder. Others cannot reach a checkout in /root: they get a copy.
for_others() {
    chmod 755 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_SUITE_TMPDIR" 2>/dev/null || true
    if setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$BERTH"; then return 0; fi
    mkdir "$BATS_TEST_TMPDIR/program"
    cp "$BERTH" "${BERTH%/*}"/berth-{archive,contain,enter,git-read} "$BATS_TEST_TMPDIR/program/"
    BERTH=$BATS_TEST_TMPDIR/program/berth
}

# ---- the host ----

# lab_up [--inet] [--hybrid]: a bare host that lives until lab_down, or until this test's shell ends.
lab_up() {
    local fd dir=$BATS_TEST_TMPDIR
    mkfifo "$dir/life" "$dir/ready"
    exec {LAB_LIFE}<>"$dir/life"
    (
        # bats waits for whoever holds its descriptors.
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            if ((fd > 2)); then eval "exec $fd>&-" 2>/dev/null; fi
        done
        exec 0<"$dir/life" >"$dir/bare.log" 2>&1
        exec "$LAB/bare" "$@" --ready "$dir/ready" -- cat
    ) &
    LAB_BARE=$!
    if ! read -rt "$WAIT_SECONDS" LAB_PID LAB_CGROUP <>"$dir/ready"; then cat "$dir/bare.log" >&2; return 1; fi
}

lab_down() {
    [[ -n ${LAB_BARE-} ]] || return 0
    exec {LAB_LIFE}>&-
    wait "$LAB_BARE" || true
    LAB_BARE=''
}

# host CMD...: on the host, in its cgroup and all its namespaces, where CMD's children stay as well.
host() (
    echo "$BASHPID" >"$LAB_CGROUP/cgroup.procs" || exit 125
    exec nsenter -t "$LAB_PID" -m -n -p -u -i -C -- "$@"
)

# host_sh SCRIPT [ARGS...]: the same for a piece of shell.
host_sh() { local script=$1; shift; host bash -c "$script" bash "$@"; }

# apart SCRIPT [ARGS...]: the same, where SCRIPT leaves processes behind: they hold nothing that bats or the host's end waits for.
apart() ( exec 3>&- {LAB_LIFE}>&-; host_sh "$@" )

# inet CMD...: on the internet's side of eth0.
inet() { host nsenter --net=/run/lab/inet -- "$@"; }

# inside NAME CMD...: in a container's network alone, without berth's help.
inside() { local name=$1; shift; host nsenter --net="/run/netns/$name" -- "$@"; }

berth() { host "$BERTH" "$@"; }

# spec [FILE]: a spec from stdin, for the host that the test is on; SPEC names it.
spec() { SPEC=$BATS_TEST_TMPDIR/${1:-berth.yaml}; cat >"$SPEC"; }

# two_names: a spec of two network namespaces.
two_names() {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts: {localhost: {bridge: {name: br0, address: 10.100.0.1/24}, containers: {a: 10.100.0.10, b: 10.100.0.20}}}
	END
}

workshop() { SPEC=$REPO/examples/workshop-6.yaml; }

fingerprint() { host "$LAB/fingerprint"; }

# ---- verdicts ----

fail() { printf '%s\n' "$*" >&2; return 1; }

assert_eq() { [[ $1 == "$2" ]] || fail "${3:-not equal}"$'\n'"  have: $1"$'\n'"  want: $2"; }

assert_match() { [[ $1 =~ $2 ]] || fail "${3:-no match}"$'\n'"  text:  $1"$'\n'"  regex: $2"; }

refute_match() { [[ ! $1 =~ $2 ]] || fail "${3:-must not match}"$'\n'"  text:  $1"$'\n'"  regex: $2"; }

# exits STATUS CMD...: CMD ends with STATUS. Leaves $output, and $stderr apart from it.
exits() {
    local want=$1 file=$BATS_TEST_TMPDIR/stderr
    shift
    status=0
    output=$("$@" 2>"$file") || status=$?
    stderr=$(<"$file")
    if ((status != want)); then fail "exit status $status, wanted $want: $*"$'\n'"stdout: $output"$'\n'"stderr: $stderr"; fi
}

# same_facts FILE: the fingerprint now is the one in FILE, byte for byte.
same_facts() { fingerprint | diff "$1" - >&2 || fail "the host is not what it was"; }

# json FILTER: one answer of jq from $output.
json() { jq -er "$1" <<<"$output"; }

# ---- faults ----

# tampered WHAT CALLS ARGS...: berth under strace with an injection. A tracer that waits for ever is a failure, too.
tampered() {
    local what=$1 calls=$2
    shift 2
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} host timeout -s KILL 60 \
        strace -f -qq -e trace="$calls" -e inject="$calls:$what" -o /dev/null -- "$BERTH" "$@"
}

# ordinals CALL ARGS...: how often berth makes this call; the calls are in /run/calls of the host.
ordinals() {
    local call=$1
    shift
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} \
        host strace -f -qq -e trace="$call" -e signal=none -o /run/calls -- "$BERTH" "$@" >/dev/null 2>&1 || true
    host grep -cE "^[0-9]+ +$call\(" /run/calls || true
}

# ---- waiting ----

# wait_for CMD...: until CMD succeeds. Looks again after each change of links, addresses and routes on the host, and
# ten times a second for what sends no notice; gives up after WAIT_SECONDS.
wait_for() {
    local end=$((SECONDS + WAIT_SECONDS)) notice
    # It outlives the wait, and must hold nothing that the host's end waits for.
    exec {notice}< <(exec 3>&- {LAB_LIFE}>&-; host timeout "$WAIT_SECONDS" ip monitor link address route 2>/dev/null)
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then exec {notice}<&-; fail "not within $WAIT_SECONDS s: $*"; return 1; fi
        read -rt 0.1 -u "$notice" || true
    done
    exec {notice}<&-
}

# ---- witnesses ----

# nft_watch FILE: every commit to the ruleset from now on, a line each with the program that made it, until nft_watched.
nft_watch() {
    : >"$1"
    host nft monitor >"$1" 2>&1 3>&- {LAB_LIFE}>&- &
    NFT_WATCH=$!
    # It listens once it has told of a change of our own.
    wait_for nft_marked "$1"
}
nft_marked() { host_sh 'nft add table ip lab_mark && nft delete table ip lab_mark'; grep -q 'new generation.*(nft)' "$1"; }
# nft_watched FILE: what berth committed meanwhile; a last change of our own bounds the wait.
nft_watched() {
    host_sh 'nft add table ip lab_end && nft delete table ip lab_end'
    wait_for grep -q lab_end "$1"
    kill "$NFT_WATCH" 2>/dev/null || true
    grep -c 'new generation.*berth' "$1" || true
}

# changes FILE: of a trace by traced_berth, the netlink requests that ask for a change, one a line. strace knows names
# for some numbers and prints others in hex; rtnetlink's come in fours (new, del, get, set), nftables' one by one.
changes() {
    perl -ne '
        next unless /^(?:\d+ +)?(?:sendto|sendmsg|sendmmsg)\(/;
        while (/nlmsg_type=([A-Z][A-Z_0-9|<]*|0x[0-9a-f]+)/g) {
            my ($type, $n) = ($1, 0);
            # Questions for sockets: strace sometimes has no name for them.
            next if $type =~ /^SOCK_DIAG/ || /nlmsg_type=0x14 \/\* NLMSG_\?\?\? \*\/, nlmsg_flags=NLM_F_REQUEST\|0x300\b/;
            if ($type =~ /^0x/) {
                $n = hex $type;
                next if $n < 16;
                my %get = map { $_ => 1 } 1, 4, 7, 10, 13, 16, 19, 21, 23;
                if ($n >> 8 == 10) { next if $get{$n & 255} } elsif ($n >= 256 || $n % 4 == 2) { next }
                $type = sprintf "%s_%s (%s)", $n >> 8 ? "NFT" : "RTM", $n >> 8 ? "CHANGE" : (qw(NEW DEL GET SET))[$n % 4], $type;
            }
            next if $type =~ /(?:RTM_|NFT_MSG_)GET|^NLMSG_/;
            print "$type\n";
        }' "$@"
}

# writes FILE: of such a trace, the files opened for writing, made, renamed or removed; devices and pipes left out.
writes() {
    grep -hE '(openat2?|open|creat)\(.*O_(WRONLY|RDWR|CREAT|TMPFILE)|\b(rename|renameat2?|unlink|unlinkat|mkdirat?|symlinkat?|linkat|mknodat?|truncate|ftruncate|fchmodat?|chmod|utimensat)\(' "$@" |
        grep -vE '= -1 |/dev/(null|tty|ptmx)|"/proc/(self|thread-self)/|/proc/[0-9]+/' || true
}

# traced_berth FILE ARGS...: berth under strace, all threads and children.
traced_berth() {
    local file=$1
    shift
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} \
        host strace -f -qq -s 256 -v -e trace=%file,%network,%desc -e signal=none -o "$file" -- "$BERTH" "$@"
}

# ---- peers ----

# echo_server WHERE PROTO ADDRESS PORT TEXT: answers every connection or datagram with TEXT and the sender's address.
# WHERE is a command that runs its arguments somewhere: host, inet, "inside container1". Returns once it listens.
echo_server() {
    local where=$1 proto=$2 address=$3 port=$4 text=$5 family=4 listen
    if [[ $address == *:* ]]; then family=6; address=[$address]; fi
    case $proto in
    tcp) listen=TCP$family-LISTEN:$port,bind=$address,fork,reuseaddr ;;
    udp) listen=UDP$family-RECVFROM:$port,bind=$address,fork,reuseaddr ;;
    esac
    if ((family == 6)); then listen+=,ipv6only=1; fi
    $where socat "$listen" SYSTEM:"read -r line; echo '$text' \$SOCAT_PEERADDR" >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for listening "$where" "$proto" "$port"
}

listening() { $1 ss -Hln --"$2" "sport = :$3" | grep -q .; }

# ask WHERE PROTO ADDRESS PORT: what a server there says; fails after two seconds of silence.
ask() {
    local where=$1 proto=$2 address=$3 port=$4
    if [[ $address == *:* ]]; then address=[$address]; fi
    case $proto in
    tcp) $where timeout 5 socat -t2 -T2 - "TCP:$address:$port,connect-timeout=2" <<<hello ;;
    udp) $where timeout 5 socat -t2 -T2 - "UDP:$address:$port" <<<hello ;;
    esac 2>/dev/null | grep .
}

# no_answer WHERE PROTO ADDRESS PORT
no_answer() { if ask "$@"; then fail "an answer where none may come: $*"; fi; }

# pings WHERE ADDRESS
pings() { $1 ping -q -c1 -W2 "$2" >/dev/null 2>&1; }
no_ping() { if pings "$@"; then fail "a ping went through that must not: $*"; fi; }
