#!/usr/bin/env bats
# Numbers of links: berth asks the kernel for some, and the kernel or a container may have taken them before.
load ../lab/lib

setup() {
    need_berth
    lab_up
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers: {c1: 10.100.0.11, c2: 10.100.0.12, c3: 10.100.0.13, c4: 10.100.0.14, c5: 10.100.0.15, c6: 10.100.0.16}
	END
}
teardown() { lab_down; }

index_of() { host ip -j link show "$1" | jq '.[0].ifindex'; }

# count_to N: the next link that the kernel numbers by itself gets N or a little more.
count_to() {
    host_sh 'exec 2>/dev/null
        ip link add probe type bridge; now=$(cat /sys/class/net/probe/ifindex); ip link del probe
        for ((i = now + 1; i < $1 - 1; i += 2)); do echo "link add x$i group 7 type veth peer name y$i group 7"; done | ip -batch -
        ip link del group 7
        until ip link add probe type bridge; (($(cat /sys/class/net/probe/ifindex) >= $1 - 1)); do ip link del probe; done
        ip link del probe' "$1"
    host ip link add probe type bridge
    assert_eq "$(index_of probe)" "$1" "the kernel's count"
    host ip link del probe
}

@test "the kernel's own count of links reaches the range that berth asks for: apply and destroy go on" {
    local round
    count_to 996
    for round in 1 2 3 4 5 6; do
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        assert_eq "$(host ip -j link show master br0 | jq -r '[.[].ifname] | sort | join(" ")')" "vb-c1 vb-c2 vb-c3 vb-c4 vb-c5 vb-c6"
        pings "inside c1" 10.100.0.16
        exits 0 berth destroy --yes "$SPEC"
    done
}

@test "links of somebody else with the largest number, and with those that come next, are in nobody's way" {
    exits 0 berth apply "$SPEC"
    local next
    next=$(($(index_of vb-c6) + 1))
    host ip link add last index 2147483647 type bridge
    for n in c3 c4; do host ip link del vb-$n; done
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    (($(index_of vb-c4) < 3000)) || fail "an index without need: $(index_of vb-c4)"
    exits 0 berth destroy --yes "$SPEC"
    host ip link add first index 1000 type bridge
    host ip link add second index $next type bridge
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    pings "inside c1" 10.100.0.16
}

# meanwhile SCRIPT ARGS...: berth stops before it makes the first namespace, SCRIPT runs, and berth goes on. Sets status and stderr.
meanwhile() {
    local script=$1 tracer
    shift
    status=0
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} host timeout -s KILL 60 \
        strace -f -qq -e trace=unshare -e inject=unshare:signal=STOP:when=1 -o /run/trace -- "$BERTH" "$@" \
        >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&- {LAB_LIFE}>&- &
    tracer=$!
    wait_for host grep -q 'stopped by SIGSTOP' /run/trace
    host_sh "$script"
    host pkill -CONT -x "${BERTH##*/}"
    wait "$tracer" || status=$?
    stderr=$(<"$BATS_TEST_TMPDIR/err")
}

@test "a number that is taken between the reading and the request: another one is asked for" {
    meanwhile 'ip link add taken index 1001 type bridge; ip link add taken2 index 1002 type bridge' apply "$SPEC"
    assert_eq "$status" 0 "$stderr"
    assert_eq "$(index_of taken) $(index_of taken2)" "1001 1002"
    exits 0 berth plan -e "$SPEC"
    pings "inside c1" 10.100.0.16
}

@test "a container that has a link with the number of eth0 gets its port back" {
    exits 0 berth apply "$SPEC"
    host ip link del vb-c2
    inside c2 ip link add mine index 64 type bridge
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(inside c2 ip -j link show mine | jq '.[0].ifindex')" 64
    pings "inside c2" 10.100.0.11
}

@test "a name that is really taken is still said to be" {
    meanwhile 'ip link add vb-c3 type bridge' apply "$SPEC"
    assert_eq "$status" 5
    assert_match "$stderr" "cannot create link 'vb-c3': a link of that name exists already"
    assert_eq "$(host ip -j -d link show vb-c3 | jq -r '.[0].linkinfo.info_kind')" bridge
}
