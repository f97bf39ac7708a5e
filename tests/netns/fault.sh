#!/bin/bash
# fault.sh refuse|kill BERTH NLFAULT: one small spec, and a fault at every point of its life.
#
#   refuse   request number n of an apply is refused, for every n; or it is carried out and called refused; or its answer
#            is lost. berth ends with a cause and the host as it was, or as it shall be.
#   kill     SIGKILL at every ordinal of every system call that changes something, for apply and for destroy. The next
#            apply converges, the one after it has nothing to do, and destroy leaves nothing.
#
#   BERTH_FAULT_POINTS=TEXT   only points whose name holds TEXT: "refuse 12 16"; a failing point is printed by that name
#
# Two hosts work through the points in turn. A skip is 77.
set -euo pipefail
export LC_ALL=C NO_COLOR=1
self=$(readlink -f "$0")
here=${self%/*}
WORKERS=2
# Leaks cannot be looked for under strace, and are looked for elsewhere; a preloaded library comes before ASan's.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0:verify_asan_link_order=0

skip() { echo "skipped: $*"; exit 77; }
say() { printf '%s\n' "$*"; }

# ---- outside: two hosts, and a sum ----

outside() {
    local kind=$1 berth shim k pids=() bad=0 tool
    berth=$(readlink -f "$2")
    shim=$(readlink -f "$3")
    ((EUID == 0)) || skip "needs root"
    for tool in strace nft ip; do command -v $tool >/dev/null || skip "needs $tool"; done
    unshare --net --mount true 2>/dev/null || skip "no namespaces for this user"
    dir=$(mktemp -d /tmp/berth-fault.XXXXXX)
    trap 'rm -rf "$dir"' EXIT
    cat >"$dir/spec.yaml" <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  homelab:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    nat: {interface: eth0}
	    containers:
	      web: {address: [10.100.0.10, "fd00:100::10"], ports: [8080:80, 5353:53/udp]}
	      db: {address: 10.100.0.20, isolated: true}
	END
    for ((k = 0; k < WORKERS; k++)); do
        "$here/../lab/bare" --inet -- "$self" --inside "$kind" "$berth" "$shim" "$dir" "$k" >"$dir/out$k" 2>&1 &
        pids+=($!)
    done
    for k in "${!pids[@]}"; do wait "${pids[k]}" || { say "host $k ended with $?"; bad=1; }; done
    cat "$dir"/out*
    cat "$dir"/points* >"$dir/all"
    local survived all
    all=$(grep -c . "$dir/all" || true)
    survived=$(grep -c '^good ' "$dir/all" || true)
    case $kind in
    refuse) say "refused requests survived: $survived of $all" ;;
    kill) say "kill points survived: $survived of $all" ;;
    esac
    # A fault that never happens is survived by everybody: how the faulty runs ended.
    say "exit statuses of the faulty runs: $(sed -n 's/.* -> //p' "$dir/all" | sort | uniq -c | awk '{ printf "%s%d x %s", (NR > 1 ? ", " : ""), $1, $2 }')"
    ((!bad && all > 0 && survived == all))
}

# ---- inside: the points of one host ----

# All that this spec could touch, in few processes; the full fingerprint compares the hosts' ends.
state() (
    set +e
    ip -o -d addr
    ip -4 route show table all
    ip -6 route show table all type unicast
    ls /run/netns 2>/dev/null
    nft list ruleset
    head -n 1 /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv[46]/conf/*/{forwarding,accept_ra,route_localnet}
    sha256sum /etc/hosts
    stat -c '%a %u %g' /etc/hosts
    find /run/berth /etc/netns /var/lib/berth ! -path /run/berth ! -path /run/berth/lock 2>/dev/null
    find /etc -maxdepth 1 -name '*berth*'
) 2>&1

as_before() {
    state >"$dir/now$k"
    diff "$dir/before$k" "$dir/now$k" >"$dir/diff$k"
}

# told STATUS CMD...: CMD ends with STATUS; what it said is kept.
told() {
    local want=$1 status=0
    shift
    timeout -s KILL 60 "$@" >"$dir/text$k" 2>"$dir/err$k" || status=$?
    if ((status != want)); then
        WHY="exit $status, not $want: ${*: -3}: $(cat "$dir/text$k" "$dir/err$k")"
        return 1
    fi
}

whole() {
    told 0 "$berth" apply "$spec" && told 0 "$berth" plan -e "$spec"
}

gone() {
    told 0 "$berth" destroy --yes "$spec" || return 1
    as_before || { WHY="destroy leaves: $(<"$dir/diff$k")"; return 1; }
}

# Whatever a bad point has left is no fault of the next one.
sweep() {
    local n
    "$berth" destroy --yes "$spec" >/dev/null 2>&1 || true
    as_before && return 0
    nft flush ruleset
    for n in /run/netns/*; do if [[ -e $n ]]; then umount "$n" || true; rm -f "$n"; fi; done 2>/dev/null
    for n in br0 vb-web vb-db; do ip link del "$n" 2>/dev/null || true; done
    sed -i '/BEGIN berth/,/END berth/d' /etc/hosts
    rm -rf /run/berth /etc/netns /var/lib/berth
    echo 0 >/proc/sys/net/ipv4/ip_forward
    echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
}

# point NAME CMD...: one point, its verdict, and a clean host.
point() {
    local name=$1
    shift
    WHY=''
    [[ -z ${BERTH_FAULT_POINTS-} || $name == *"$BERTH_FAULT_POINTS"* ]] || return 0
    ((turn++ % WORKERS == k)) || return 0
    STATUS=-
    if "$@"; then
        say "good $name -> $STATUS" >>"$dir/points$k"
    else
        say "bad $name -> $STATUS" >>"$dir/points$k"
        say "BAD $name: $WHY"
        sweep
    fi
}

# What an exit status says is so.
judge() {
    local status=$1
    case $status in
    0) told 0 "$berth" plan -e "$spec" || { WHY="called success: $WHY"; return 1; } ;;
    1 | 5 | 69 | 77)
        [[ -s $dir/fault$k ]] || { WHY="exit $status without a word"; return 1; }
        as_before || { WHY="exit $status, and the host is not as it was: $(<"$dir/diff$k"); it said: $(<"$dir/fault$k")"; return 1; } ;;
    137) WHY="it hangs"; return 1 ;;
    *) WHY="exit $status: $(<"$dir/fault$k")"; return 1 ;;
    esac
}

refuse() {
    local mode=$1 n=$2 errno=$3 status=0
    timeout -s KILL 45 env LD_PRELOAD="$shim" NLFAULT_MODE="$mode" NLFAULT_AT="$n" NLFAULT_ERRNO="$errno" "$berth" apply "$spec" >/dev/null 2>"$dir/fault$k" || status=$?
    STATUS=$status
    judge $status && whole && gone
}

all_refusals() {
    local n protocol type flags errno
    env LD_PRELOAD="$shim" NLFAULT_LOG="$dir/log$k" "$berth" apply "$spec" >/dev/null
    gone
    while read -r n protocol type flags; do
        for errno in 12 16; do point "refuse $n $errno" refuse refuse "$n" "$errno"; done         # ENOMEM, EBUSY
        # rtnetlink's types come in fours: new, del, get, set. There already, gone already.
        case $protocol/$((type % 4)) in
        0/0) point "refuse $n 17" refuse refuse "$n" 17 ;;
        0/1) point "refuse $n 19" refuse refuse "$n" 19 ;;
        esac
        # NLM_F_ACK, and not a dump.
        if ((flags & 4 && (flags & 0x300) != 0x300)); then point "lie $n 12" refuse lie "$n" 12; fi
        # Ten seconds each, so a few.
        if ((flags & 4 && n % 16 == 0)); then point "mute $n 0" refuse mute "$n" 0; fi
    done <"$dir/log$k"
}

# ---- kills ----

# What changes something. A kill strikes before the call is made: what happens between two of these is another name for
# the second one.
CALLS=sendto,sendmsg,mount,umount2,mknodat,renameat,renameat2,openat2,unshare,setns,mkdir,mkdirat,unlinkat,symlinkat,linkat
CALLS+=,write,pwrite64,ftruncate,fchmod,fsync,rmdir,clone3,recvmmsg

tracer() { timeout -s KILL 30 strace -f -qq "$@"; }

# ordinals CMD...: "CALL MOST" a line: how often one thread makes the call (each thread counts for itself).
ordinals() {
    tracer -e trace="$CALLS" -e signal=none -o "$dir/trace$k" -- "$@" >/dev/null 2>&1
    sed -nE 's/^([0-9]+) +([a-z0-9_]+)\(.*/\1 \2/p' "$dir/trace$k" | sort | uniq -c |
        awk '$1 > most[$3] { most[$3] = $1 } END { for (c in most) print c, most[c] }' | sort
}

kill_at() {
    local verb=$1 call=$2 n=$3
    STATUS=0
    if [[ $verb == destroy ]]; then told 0 "$berth" apply "$spec" || return 1; fi
    tracer --seccomp-bpf -e trace="$call" -e "inject=$call:signal=KILL:when=$n" -o /dev/null -- \
        "$berth" $verb ${yes[$verb]} "$spec" >/dev/null 2>&1 || STATUS=$?
    whole && gone
}

all_kills() {
    local verb call most n
    declare -A yes=([apply]='' [destroy]=--yes)
    for verb in apply destroy; do
        ordinals "$berth" $verb ${yes[$verb]} "$spec" >"$dir/ordinals-$verb$k"
    done
    for verb in apply destroy; do
        while read -r call most; do
            for ((n = 1; n <= most; n++)); do point "kill $verb $call $n" kill_at $verb "$call" "$n"; done
        done <"$dir/ordinals-$verb$k"
    done
}

inside() {
    local kind=$1
    berth=$2 shim=$3 dir=$4 k=$5 turn=0 spec=$4/spec.yaml
    : >"$dir/points$k"
    state >"$dir/before$k"
    "$here/../lab/fingerprint" >"$dir/print$k"
    case $kind in
    refuse) all_refusals ;;
    kill) all_kills ;;
    esac
    "$here/../lab/fingerprint" | diff "$dir/print$k" -
}

case ${1-} in
--inside) shift; inside "$@" ;;
refuse | kill) (($# == 3)) || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 64; }; outside "$@" ;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 64 ;;
esac
