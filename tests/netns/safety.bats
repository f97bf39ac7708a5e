#!/usr/bin/env bats
# What goes wrong: refusals by the kernel, a kill at any moment, two at once, bad specs, guards, exit codes.
load ../lab/lib

setup() { need_berth; lab_up --inet; workshop; }
teardown() { lab_down; }

small() {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    nat: {interface: auto}
	    containers:
	      web: {address: [10.100.0.10, "fd00:100::10"], ports: [8080:80]}
	      db: 10.100.0.20
	END
}

@test "a bad spec changes nothing and says where and why (65)" {
    spec < <(printf 'version: 1\nhosts:\n  localhost:\n    bridge: {address: 10.100.0.1/24}\n    containers:\n      web: 10.100.1.10\n')
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 65 berth apply "$SPEC"
    assert_match "$stderr" 'berth.yaml:6:12: error\[E012\]: address 10.100.1.10 is outside bridge'
    assert_match "$stderr" 'did you mean 10.100.0.10'
    exits 65 berth validate --json "$SPEC"
    assert_eq "$(jq -r '[.. | objects | select(.code == "E012")] | length' <<<"$output")" 1
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "the kernel refuses a step: its sentence, the spec's line, and the host as it was (5)" {
    # An uplink's name that nobody has is fine; a bridge whose port limit is used up by others is not.
    small
    exits 0 berth apply "$SPEC"
    host_sh 'for i in $(seq 1021); do echo "link add f$i type veth peer name g$i"; echo "link set f$i master br0"; done | ip -batch -'
    cat >>"$SPEC" <<-'END'
	      late: {address: 10.100.0.30, runtime: netns}
	END
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" 'berth.yaml:10:.*1023 ports'
    same_facts "$BATS_TEST_TMPDIR/before"
    # A namespace whose port failed got no name: it is not done.
    exits 5 berth apply --json "$SPEC"
    assert_eq "$(json '[.steps[] | select(.container == "late") | "\(.kind) \(.state)"] | sort | join(",")')" "names done,netns pending,port failed"
}

@test "killed at every request of a create, then applied again: converged, and nothing is left over" {
    small
    local n=0 survived=0 all
    fingerprint >"$BATS_TEST_TMPDIR/before"
    all=$(ASAN_OPTIONS=detect_leaks=0 host_sh 'strace -f -qq -e trace=sendto,sendmsg,mount,mknodat,renameat,umount2,unlinkat -e signal=none -o /run/trace "$@" >/dev/null && grep -cE "^[0-9]+ +(sendto|sendmsg)" /run/trace' "$BERTH" apply "$SPEC" | tail -1)
    exits 0 berth destroy --yes "$SPEC"
    ((all > 10)) || fail "an apply sends only $all requests"
    for ((n = 1; n <= all; n += 1 + all / 25)); do
        ASAN_OPTIONS=detect_leaks=0 host strace -f -qq -e trace=sendto,sendmsg -e "inject=sendto,sendmsg:signal=KILL:when=$n" -o /dev/null \
            "$BERTH" apply "$SPEC" >/dev/null 2>&1 || true
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        ASAN_OPTIONS=detect_leaks=0 host strace -f -qq -e trace=sendto,sendmsg -e "inject=sendto,sendmsg:signal=KILL:when=$n" -o /dev/null \
            "$BERTH" destroy --yes "$SPEC" >/dev/null 2>&1 || true
        exits 0 berth destroy --yes "$SPEC"
        survived=$((survived + 1))
        same_facts "$BATS_TEST_TMPDIR/before"
    done
    echo "# kill points survived: $survived" >&3
}

@test "two at once: one waits or is told who holds the lock (75)" {
    exits 75 host_sh 'mkdir -p -m 700 /run/berth; exec 9>>/run/berth/lock; flock 9; echo "pid 42, berth apply, since yesterday" >&9; "$@"' \
        "$BERTH" apply --lock-timeout 0s "$SPEC"
    assert_match "$stderr" "pid 42"
    assert_eq "$(host ip netns list)" ""
    small
    host_sh '"$1" apply "$2" & a=$!; "$1" apply "$2" & b=$!; "$1" apply "$2" & wait $! && wait $a && wait $b' "$BERTH" "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "guards: many deletions, an empty host, a protected container; the number lets it through" {
    spec < <(
        printf 'version: 1\ndefaults: {container: {runtime: netns}}\nhosts:\n  localhost:\n    bridge: {address: 10.100.0.1/24}\n    containers:\n'
        for i in 1 2 3 4 5 6 7 8; do echo "      c$i: 10.100.0.1$i"; done
    )
    exits 0 berth apply "$SPEC"
    cp "$SPEC" "$SPEC.all"
    sed -i '/c[4-8]:/d' "$SPEC"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "--allow-deletes 5"
    assert_eq "$(host ip netns list | wc -l)" 8
    exits 0 berth apply --allow-deletes 5 "$SPEC"
    assert_eq "$(host ip netns list | wc -l)" 3
    sed -i 's/c1: 10.100.0.11/c1: {address: 10.100.0.11, protect: true}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    sed -i '/c1:/d' "$SPEC"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "c1 is protected"
    sed 's/, protect: true//' "$SPEC.all" >"$SPEC"
    exits 0 berth apply "$SPEC"
    sed -i '/c[0-9]:/d; s/containers:/containers: {}/' "$SPEC"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "berth.yaml:[0-9]+:.*leaves host localhost without a container"
    assert_match "$stderr" "--allow-deletes 8"
    sed -i '/containers:/d' "$SPEC"
    exits 4 berth apply "$SPEC"
    cp "$SPEC.all" "$SPEC"
    sed -i 's/c1: 10.100.0.11/c1: {address: 10.100.0.11, protect: true}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 4 berth destroy --yes "$SPEC"
}

@test "this host missing from the spec: refused, nothing torn down" {
    small
    exits 0 berth apply "$SPEC"
    sed -i 's/  localhost:/  elsewhere:/' "$SPEC"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" elsewhere
    assert_eq "$(host ip netns list | wc -l)" 2
    exits 0 berth plan --host elsewhere "$SPEC"
}

@test "exit codes and forms: usage 64, no rights 77, json twice equal and valid, stdin, a broken pipe" {
    exits 64 berth frobnicate
    exits 64 berth apply --no-such-flag
    exits 77 host setpriv --reuid=65534 --regid=65534 --clear-groups "$BERTH" apply "$SPEC"
    exits 0 host_sh '"$1" validate - <"$2"' "$BERTH" "$SPEC"
    exits 0 berth plan --json "$SPEC"
    local first=$output
    exits 0 berth plan --json "$SPEC"
    assert_eq "$output" "$first"
    jq -e '.format == "berth.plan" and .summary.create == 15' <<<"$output" >/dev/null
    host_sh '"$1" apply "$2" | head -1 >/dev/null' "$BERTH" "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth help
    exits 0 berth version
    refute_match "$(berth plan "$SPEC")" $'\e'
}

@test "the operator's way is looked for among routes that lead somewhere" {
    small
    exits 0 berth apply "$SPEC"
    host_sh 'ip route add 192.0.2.0/24 via 10.100.0.10 metric 10; ip route add unreachable 192.0.2.0/24; ip route add blackhole 192.0.2.7/32'
    export SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 22'
    exits 4 berth destroy --yes "$SPEC"
    assert_match "$stderr" 'you are connected from 192.0.2.7 to 203.0.113.2, and this plan cuts that way'
    unset SSH_CONNECTION
}

@test "the operator's own connection: a plan that cuts it is refused, with the connection and the step named" {
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: 10.9.0.1/24}
    containers:
      jump: {address: 10.9.0.10, runtime: netns}
      other: {address: 10.9.0.20, runtime: netns}
END
    exits 0 berth apply -q "$SPEC"
    # Somebody is here from inside a container, by a connection that lives.
    apart 'socat TCP-LISTEN:2222,reuseaddr PIPE >/dev/null 2>&1 </dev/null &
        ip netns exec jump socat TCP:10.9.0.1:2222,retry=50,interval=0.1 EXEC:"sleep 60" >/dev/null 2>&1 </dev/null &
        for i in $(seq 100); do ss -Htn state established "( sport = :2222 )" | grep -q . && exit; sleep 0.05; done; exit 1'
    export SSH_CONNECTION='10.9.0.10 40000 10.9.0.1 2222'
    local before
    before=$(host_sh 'ip -o link | cut -d" " -f1,2; ls /run/netns; nft list ruleset')
    exits 4 berth destroy --yes "$SPEC"
    assert_match "$stderr" 'you are connected from 10.9.0.10 to 10.9.0.1, and this plan cuts that way: - (address b0|port jump|netns jump)'
    # Neighbours send to a MAC of before for a while: one that would be changed back cuts the way, too.
    local mac
    mac=$(host cat /sys/class/net/b0/address)
    host ip link set b0 address 02:00:00:00:00:77
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'this plan cuts that way: ~ bridge b0'
    assert_eq "$(host cat /sys/class/net/b0/address)" 02:00:00:00:00:77
    host ip link set b0 address "$mac"
    sed -i '/jump/d' "$SPEC"
    exits 4 berth apply --allow-deletes 9 "$SPEC"
    assert_match "$stderr" 'allow-own-connection'
    assert_eq "$(host_sh 'ip -o link | cut -d" " -f1,2; ls /run/netns; nft list ruleset')" "$before"
    # What is not on the way goes.
    sed -i 's/ other:.*/ jump: {address: 10.9.0.10, runtime: netns}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    # The port of the connection, mapped away from the host. sudo forgets the variable; a parent has it still.
    sed -i 's/10.9.0.10,/10.9.0.10, ports: [2200-2230:2200-2230],/' "$SPEC"
    exits 4 host sh -c 'env -u SSH_CONNECTION "$@"; exit $?' sh "$BERTH" apply "$SPEC"
    assert_match "$stderr" 'to port 2222 here, and container jump takes that port'
    exits 0 berth apply --allow-own-connection "$SPEC"
    exits 0 berth plan -e "$SPEC"
    unset SSH_CONNECTION
    exits 0 berth destroy --yes "$SPEC"
}
