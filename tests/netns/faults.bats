#!/usr/bin/env bats
# What can fail does: system calls refused one by one, a read-only /etc, a full disk, a signal in the middle. After each the
# host is as it was, or as it shall be, or what is left is named; and the next apply converges.
load ../lab/lib

setup() { need_berth; lab_up --inet; two; }
teardown() { lab_down; }

two() {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    nat: {interface: auto}
	    containers:
	      web: {address: [10.100.0.10, "fd00:100::10"], ports: [8080:80]}
	      db: {address: 10.100.0.20, isolated: true}
	END
}

remember() { fingerprint | without_folders >"$BATS_TEST_TMPDIR/before"; }
# as_before: like same_facts, but for berth's own directories, once they are empty.
as_before() { diff "$BATS_TEST_TMPDIR/before" <(fingerprint | without_folders) >&2 || fail "the host is not what it was"; }
without_folders() { grep -vE '^file d .* /run/berth/(c|hosts) *$'; }

# judge STATUS WHAT: an exit status and the host tell the same.
judge() {
    case $1 in
    0) berth plan -e "$SPEC" >/dev/null 2>&1 || fail "$2: called success, and is none" ;;
    1 | 5) as_before || fail "$2: exit $1, and the host is not as it was" ;;
    6) [[ -s $BATS_TEST_TMPDIR/err ]] || fail "$2: exit 6 without a word" ;;
    69 | 75 | 77) as_before ;;
    137) fail "$2: it hangs" ;;
    *) fail "$2: exit status $1: $(<"$BATS_TEST_TMPDIR/err")" ;;
    esac
    if (($1)); then [[ -s $BATS_TEST_TMPDIR/err ]] || fail "$2: failed without a word"; fi
}

# refused CALL ERRNO [MOST]: CALL fails once, at each of its ordinals (at most MOST of them, evenly).
refused() {
    local call=$1 errno=$2 most=${3:-12} all n step status
    all=$(ordinals "$call" apply "$SPEC")
    ((all)) || fail "apply never calls $call: this test has lost its object"
    exits 0 berth destroy --yes "$SPEC"
    as_before
    step=$(((all + most - 1) / most))
    for ((n = 1; n <= all; n += step)); do
        status=0
        tampered "error=$errno:when=$n" "$call" apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        judge $status "$call number $n of $all says $errno"
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        exits 0 berth destroy --yes "$SPEC"
        as_before || fail "after $call number $n"
        POINTS=$((POINTS + 1))
    done
}

@test "one request is not sent (ENOBUFS), one answer is not had (ENOBUFS): named, undone, and no false success" {
    remember
    POINTS=0
    refused sendto ENOBUFS 16
    refused recvmmsg ENOBUFS 16
    echo "# points: $POINTS" >&3
}

@test "one namespace, mount, file or rename is refused: named, undone, and no false success" {
    remember
    POINTS=0
    local call
    for call in unshare setns mount mknodat openat2 renameat pwrite64 ftruncate write fsync mkdirat symlinkat; do
        refused "$call" EIO 5
    done
    echo "# points: $POINTS" >&3
}

@test "killed at other calls than requests: mounts, files, answers not yet read" {
    remember
    local call verb all n step points=0
    for verb in apply destroy; do
        for call in recvmmsg mount umount2 openat2 mkdirat symlinkat renameat unlinkat pwrite64 write unshare; do
            if [[ $verb == destroy ]]; then exits 0 berth apply "$SPEC"; fi
            all=$(ordinals "$call" $verb $([[ $verb == destroy ]] && echo --yes) "$SPEC")
            if [[ $verb == apply ]]; then exits 0 berth destroy --yes "$SPEC"; fi
            step=$(((all + 4) / 5))
            for ((n = 1; n <= all; n += step)); do
                if [[ $verb == destroy ]]; then exits 0 berth apply "$SPEC"; fi
                tampered "signal=KILL:when=$n" "$call" $verb $([[ $verb == destroy ]] && echo --yes) "$SPEC" >/dev/null 2>&1 || true
                exits 0 berth apply "$SPEC"
                exits 0 berth plan -e "$SPEC"
                exits 0 berth destroy --yes "$SPEC"
                as_before || fail "$verb killed at $call number $n of $all"
                points=$((points + 1))
            done
        done
    done
    echo "# kill points survived: $points" >&3
}

@test "SIGTERM in the middle: what was begun is finished or undone, then 143" {
    remember
    local n
    for n in 3 5 8 12; do
        status=0
        tampered "signal=TERM:when=$n" sendto apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        assert_eq $status 143 "signal at request $n"
        berth plan -e "$SPEC" >/dev/null || as_before
        exits 0 berth destroy --yes "$SPEC"
        as_before
    done
}

@test "a read-only /etc: named, undone, and mended once it can be written" {
    remember
    host mount --bind -o ro /etc /etc
    status=0
    berth apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status == [15] ]] || fail "exit $status"
    assert_match "$(<"$BATS_TEST_TMPDIR/err")" '/etc/.*(ead-only|EROFS)'
    host umount /etc
    as_before
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "settings that cannot be written: named, and nothing is left behind" {
    remember
    # One setting alone: apply cannot see this before it writes. A whole /proc/sys that is read-only is only a warning (warnings.bats).
    local file=/proc/sys/net/ipv6/conf/all/forwarding
    host_sh "mount --bind $file $file && mount -o remount,bind,ro $file"
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" 'ipv6.conf.all.forwarding.*ead-only'
    host umount "$file"
    as_before
}

@test "settings whose values cannot be read: nothing is set that destroy could not give back" {
    remember
    local n seen=0
    # The reads just before the record is written: of the switches and of each link.
    ordinals openat2 apply "$SPEC" >/dev/null
    exits 0 berth destroy --yes "$SPEC"
    for n in $(host_sh "grep -E '^[0-9]+ +openat2\(' /run/calls | grep -nE 'proc/sys/net/(ipv4/ip_forward|ipv./conf(/[^/]*/forwarding)?)\"' | cut -d: -f1"); do
        status=0
        tampered "error=EIO:when=$n" openat2 apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        judge $status "openat2 number $n says EIO"
        exits 0 berth apply "$SPEC"
        exits 0 berth destroy --yes "$SPEC"
        as_before || fail "after openat2 number $n"
        seen=$((seen + 1))
    done
    ((seen >= 10)) || fail "apply reads only $seen settings: this test has lost its object"
}

@test "no room for a single file: named, and the host as it was" {
    remember
    host_sh 'mkdir -m 700 /run/berth; mount -t tmpfs -o size=4k,mode=700 full /run/berth; : >/run/berth/lock; head -c 4096 /dev/zero >/run/berth/ballast 2>/dev/null || :'
    status=0
    berth apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status == [15] ]] || fail "exit $status: $(<"$BATS_TEST_TMPDIR/err")"
    assert_match "$(<"$BATS_TEST_TMPDIR/err")" 'No space left'
    host umount /run/berth
    host rmdir /run/berth
    as_before
}

@test "all that berth keeps is deleted: the next plan is still right, and destroy still finds what is ours" {
    exits 0 berth apply "$SPEC"
    host rm -rf /run/berth /var/lib/berth
    exits 0 berth plan --json "$SPEC"
    refute_match "$(json '[.steps[].object] | join("\n")')" 'bridge|port|nat|netns'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    host rm -rf /run/berth
    exits 0 berth destroy --yes "$SPEC"
    refute_match "$(host ip -br link)" 'br0|vb-'
    refute_match "$(host nft list tables)" berth
    refute_match "$(host cat /etc/hosts)" berth
    assert_eq "$(host ip netns list)" ""
}

# undone_while_mended NAME: it has lost its address; an apply gives it back, and somebody takes it away again before the apply looks.
undone_while_mended() {
    local saboteur listens='NR > 1 && $2 == 0 && $4 !~ /^0+$/ {found = 1} END {exit !found}'
    host ip -n "$1" address flush dev eth0
    apart "timeout 20 ip -n $1 -o monitor address | { read -r _; ip -n $1 address flush dev eth0; }" &
    saboteur=$!
    wait_for host ip netns exec "$1" awk "$listens" /proc/net/netlink
    # Each thread's first look into a namespace comes late, the check's too: long enough for the saboteur on a busy machine.
    run tampered delay_enter=3s:when=1 setns apply "$SPEC"
    wait "$saboteur"
}

@test "what is undone while it is being mended is no success, one container among many" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    names: none
	    containers: {c1: 10.100.0.11, c2: 10.100.0.12, c3: 10.100.0.13, c4: 10.100.0.14, c5: 10.100.0.15, c6: 10.100.0.16}
	END
    exits 0 berth apply "$SPEC"
    undone_while_mended c3
    assert_eq "$status" 1 "the host is as it was before: c3 has no address"
    assert_match "$output" 'port c3 .* is not as wanted after the apply'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "no process is ended for a network that does not hold" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    local process
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    names: none
	    containers:
	      a: {address: 10.100.0.10, runtime: netns}
	      b: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [sleep, "987654"]}}
	END
    exits 0 berth apply "$SPEC"
    process=$(host pgrep -xf 'sleep 987654')
    sed -i 's/"987654"\]/&, environment: {NEW: "1"}/' "$SPEC"
    exits 0 berth plan "$SPEC"
    assert_match "$output" 'restart'
    undone_while_mended a
    assert_eq "$status" 5
    assert_match "$output" 'port a .* is not as wanted after the apply'
    refute_match "$output" interrupted:
    assert_eq "$(host pgrep -xf 'sleep 987654')" "$process"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    refute_match "$(host pgrep -xf 'sleep 987654')" "^$process\$"
}
