#!/usr/bin/env bats
# Accidents: a file that cannot be read or written, too few descriptors, a limit on file sizes, a kill at the wrong moment. What berth
# says afterwards is so, and what it remembers is so.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      web: {address: 10.100.0.10, ports: [8080:80]}
	      db: {address: 10.100.0.20, protect: true}
	END
}
teardown() { lab_down; }

# on_file FILE WHAT CALLS ARGS...: the same, but only for calls on that file.
on_file() {
    local file=$1 what=$2 calls=$3
    shift 3
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} host timeout -s KILL 60 \
        strace -f -qq -P "$file" -e trace="$calls" -e inject="$calls:$what" -o /dev/null -- "$BERTH" "$@"
}

forwarding() { host_sh 'cd /proc/sys/net/ipv4; echo "$(<ip_forward) $(<conf/eth0/forwarding) $(<conf/default/forwarding)"'; }
remember() { fingerprint >"$BATS_TEST_TMPDIR/before"; }
as_before() { same_facts "$BATS_TEST_TMPDIR/before"; }
unprotected() { sed -i 's/, protect: true//' "$SPEC"; }

@test "a destroy that fails at any write remembers what forwarding was, and the next destroy gives it back" {
    local n all before
    unprotected
    host_sh 'echo 1 >/proc/sys/net/ipv4/conf/default/forwarding'
    before=$(forwarding)
    exits 0 berth apply "$SPEC"
    all=$(ordinals write destroy --yes "$SPEC")
    assert_eq "$(forwarding)" "$before"
    ((all > 3)) || fail "destroy writes $all times: this test has lost its object"
    for ((n = 1; n <= all; n++)); do
        exits 0 berth apply "$SPEC"
        tampered "error=ENOSPC:when=$n" write destroy --yes "$SPEC" >/dev/null 2>&1 || true
        exits 0 berth destroy --yes "$SPEC"
        assert_eq "$(forwarding)" "$before" "after write number $n of $all said ENOSPC"
    done
}

@test "resolv.conf that cannot be read is no empty one: named, and nothing is done" {
    host_sh 'echo "nameserver 198.51.100.53" >/run/resolv && mount --bind /run/resolv /etc/resolv.conf'
    remember
    run on_file /etc/resolv.conf error=EIO read apply "$SPEC"
    assert_eq "$status" 1
    assert_match "$output" "cannot read '/etc/resolv.conf': Input/output error"
    as_before
    run on_file /etc/resolv.conf error=EACCES openat apply "$SPEC"
    assert_match "$status $output" "^77 .*cannot read '/etc/resolv.conf': Permission denied"
    as_before
    exits 0 berth apply "$SPEC"
    host grep -q 198.51.100.53 /etc/netns/web/resolv.conf
    # What is there stays as it is, and destroy needs no resolver.
    run on_file /etc/resolv.conf error=EIO read apply "$SPEC"
    assert_eq "$status" 1
    host grep -q 198.51.100.53 /etc/netns/web/resolv.conf
    unprotected
    exits 0 berth apply "$SPEC"
    exits 0 on_file /etc/resolv.conf error=EIO read destroy --yes "$SPEC"
}

# The state of a link comes later, by itself.
macs() { host ip -j link | jq -r '.[] | "\(.ifname) \(.address)"'; }

@test "a machine-id that cannot be read is no other machine: MACs stay" {
    local macs
    exits 0 berth apply "$SPEC"
    macs=$(macs)
    run on_file /etc/machine-id error=EIO read apply "$SPEC"
    assert_eq "$status" 1
    assert_match "$output" "cannot read '/etc/machine-id': Input/output error"
    assert_eq "$(macs)" "$macs"
}

@test "killed while names of namespaces come or go: the next destroy leaves none, whatever the spec says by then" {
    local call n verb
    unprotected
    remember
    cp "$SPEC" "$BATS_TEST_TMPDIR/whole"
    for verb in apply destroy; do
        for call in umount2 unlinkat mount mknodat; do
            for n in 1 2 3 4; do
                cp "$BATS_TEST_TMPDIR/whole" "$SPEC"
                if [[ $verb == destroy ]]; then exits 0 berth apply "$SPEC"; fi
                tampered "signal=KILL:when=$n" "$call" $verb $([[ $verb == destroy ]] && echo --yes) "$SPEC" >/dev/null 2>&1 || true
                sed -i '/ db:/d' "$SPEC"
                exits 0 berth destroy --yes "$SPEC"
                assert_eq "$(host ls /run/netns)" "" "$verb killed at $call number $n"
                as_before || fail "$verb killed at $call number $n"
            done
        done
    done
}

@test "killed at a file: destroy leaves no file behind, without an apply in between" {
    local call n all verb
    unprotected
    remember
    for verb in apply destroy; do
        for call in renameat fsync write symlinkat; do
            if [[ $verb == destroy ]]; then exits 0 berth apply "$SPEC"; fi
            all=$(ordinals "$call" $verb $([[ $verb == destroy ]] && echo --yes) "$SPEC")
            if [[ $verb == apply ]]; then exits 0 berth destroy --yes "$SPEC"; fi
            for ((n = 1; n <= all; n++)); do
                if [[ $verb == destroy ]]; then exits 0 berth apply "$SPEC"; fi
                tampered "signal=KILL:when=$n" "$call" $verb $([[ $verb == destroy ]] && echo --yes) "$SPEC" >/dev/null 2>&1 || true
                exits 0 berth destroy --yes "$SPEC"
                as_before || fail "$verb killed at $call number $n of $all"
            done
        done
    done
}

@test "an empty file that ip netns left behind is nobody's of ours, and stays" {
    host_sh 'mkdir -p /run/netns; : >/run/netns/theirs; chmod 0 /run/netns/theirs'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    unprotected
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host ls /run/netns)" theirs
}

@test "a damaged list of protected containers is seen before anything is done" {
    local damage
    remember
    for damage in 'mkdir -p /var/lib/berth/protected' 'ln -s /etc/passwd /var/lib/berth/protected' 'printf "db\0web\n" >/var/lib/berth/protected' \
        'echo "two words" >/var/lib/berth/protected' 'truncate -s 2M /var/lib/berth/protected'; do
        host_sh "mkdir -m 700 -p /var/lib/berth && $damage"
        exits 1 berth apply "$SPEC"
        assert_match "$stderr" "/var/lib/berth/protected" "$damage"
        host rm -rf /var/lib/berth
        as_before || fail "after: $damage"
    done
    # And where nothing is to be done, nothing was.
    exits 0 berth apply "$SPEC"
    host_sh 'rm /var/lib/berth/protected; mkdir /var/lib/berth/protected'
    exits 1 berth apply "$SPEC"
    exits 1 berth destroy --yes "$SPEC"
    host ip link del vb-web
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "/var/lib/berth/protected.*regular file"
    host ip link show vb-db
    host rmdir /var/lib/berth/protected
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /var/lib/berth/protected)" db
    host_sh 'rm -f /var/lib/berth/applied; mkdir /var/lib/berth/applied'
    exits 1 berth apply "$SPEC"
    assert_match "$stderr" /var/lib/berth/applied
}

@test "few descriptors: enough, or refused before the first change" {
    local n=0 i
    for ((i = 30; i < 60; i++)); do echo "      c$i: 10.100.0.$i" >>"$SPEC"; done
    remember
    for n in 6 8 10 12 13 14 15 16 17 18 20 24 32 64 128 256; do
        status=0
        host_sh 'ulimit -n '$n'; exec "$@"' "$BERTH" apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        case $status in
        0) exits 0 berth plan -e "$SPEC"
            unprotected; exits 0 berth apply "$SPEC"; exits 0 berth destroy --yes "$SPEC"
            sed -i 's/db: {address: 10.100.0.20/&, protect: true/' "$SPEC" ;;
        1) [[ -s $BATS_TEST_TMPDIR/err ]] || fail "$n descriptors: failed without a word" ;;
        *) fail "$n descriptors: exit $status: $(<"$BATS_TEST_TMPDIR/err")" ;;
        esac
        as_before || fail "$n descriptors"
    done
    assert_eq "$status" 0 "256 are enough"
    # A soft limit is no obstacle where the hard one allows more.
    exits 0 host_sh 'ulimit -Sn 20; exec "$@"' "$BERTH" apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    unprotected
    exits 0 berth apply "$SPEC"
    for n in 8 10 12 14 16 20; do
        status=0
        host_sh 'ulimit -n '$n'; exec "$@"' "$BERTH" destroy --yes "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        assert_eq "$status" 1 "$n descriptors: $(<"$BATS_TEST_TMPDIR/err")"
        exits 0 berth plan -e "$SPEC"
    done
}

@test "a limit on the size of files: named, and the host as it was" {
    remember
    status=0
    host_sh '{ ulimit -f 0; exec "$@"; } 2>&1 >/dev/null | cat; exit ${PIPESTATUS[0]}' "$BERTH" apply "$SPEC" >"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status == [15] ]] || fail "exit $status: $(<"$BATS_TEST_TMPDIR/err")"
    assert_match "$(<"$BATS_TEST_TMPDIR/err")" 'File too large'
    as_before
    exits 0 berth apply "$SPEC"
}

@test "a reader that goes away does not stop an apply half-way" {
    host_sh '"$1" apply "$2" 2>&1 | head -c1 >/dev/null' "$BERTH" "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "a wait that is interrupted for ever ends at its limit" {
    local call
    for call in poll recvmmsg; do
        status=0
        tampered error=EINTR "$call" apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
        [[ $status != 137 ]] || fail "$call: it hangs"
    done
    status=0
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} host timeout -s KILL 60 strace -f -qq -e trace=recvmmsg,poll \
        -e inject=recvmmsg:error=EAGAIN -e inject=poll:error=EINTR -o /dev/null -- "$BERTH" apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status != 137 ]] || fail "no answer, and poll interrupted: it hangs"
}
