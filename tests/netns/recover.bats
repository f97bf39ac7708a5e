#!/usr/bin/env bats
# What a killed run, an undo, a waiting run and a container's own root leave behind, and how the next apply takes it.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    containers:
	      a: {address: [10.100.0.10, "fd00:100::10"], protect: true}
	      b: 10.100.0.20
	END
}
teardown() { lab_down; }

# One step for this port, and then nothing.
mended() {
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "port a (vb-a)"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    pings "inside b" 10.100.0.10
}

@test "links that a killed removal had marked stay where they are wanted" {
    exits 0 berth apply "$SPEC"
    local index
    index=$(host cat /sys/class/net/vb-a/ifindex)
    host ip link set br0 group $((0x62657275))
    host ip link set vb-a group $((0x62657275))
    sed -i '/ b:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /sys/class/net/vb-a/ifindex)" "$index"
    assert_eq "$(host ip -br link show master br0 | awk '{print $1}')" "vb-a@if64"
    exits 0 berth plan -e "$SPEC"
}

@test "an adoption that is undone gives back the group, the MAC, the prefix and whose address it was" {
    host ip link add br0 type bridge
    host_sh 'ip link set br0 group 5 address 02:11:22:33:44:55 addrgenmode none up
        ip addr add 10.100.0.1/24 dev br0; ip addr add fd00:100::1/48 dev br0 nodad'
    sed -i 's/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [\/no\/such]}}/' "$SPEC"
    # A bridge that has had ports remembers what they could do, and the log of what did not start is kept.
    facts() { fingerprint | sed 's/"tso_max_size":[0-9]*,//' | grep -v /run/berth/failed; }
    facts >"$BATS_TEST_TMPDIR/before"
    exits 5 berth apply --adopt "$SPEC"
    assert_match "$stderr" '/no/such'
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
    assert_eq "$(host ip -j -d link show br0 | jq -r '.[0] | "\(.group) \(.address)"')" "5 02:11:22:33:44:55"
    assert_eq "$(host ip -j addr show br0 | jq -r '[.[0].addr_info[] | select(.scope == "global") | "\(.local)/\(.prefixlen) \(.protocol)"] | join(" ")')" \
        "10.100.0.1/24 null fd00:100::1/48 null"
}

@test "a link-local address that the kernel made for somebody's bridge meanwhile is nothing to undo" {
    host_sh 'ip link add br0 type bridge; ip link set br0 up; ip addr add 10.100.0.1/24 dev br0'
    sed -i 's/, "fd00:100::1\/64"//; s/, "fd00:100::10"//; s/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [\/no\/such]}}/' "$SPEC"
    exits 5 berth apply --adopt "$SPEC"
    assert_match "$stderr" 'the host is as it was before'
}

@test "a container's root has addresses without number and default routes of its own: one step, and what is not in the way stays" {
    exits 0 berth apply "$SPEC"
    inside a ip addr flush dev eth0 scope global
    inside a bash -c 'for i in $(seq 1 40); do echo "addr add 10.9.$i.1/24 dev eth0"; done | ip -batch -'
    mended
    assert_eq "$(inside a ip -4 -o addr show dev eth0 | wc -l)" 41
    inside a ip route replace default via 10.100.0.77 proto static
    mended
    inside a ip route del default
    inside a bash -c 'ip route add unreachable default; for i in $(seq 1 20); do ip route append default via 10.100.0.$((i+100)) metric $((i+1)); done'
    mended
    assert_eq "$(inside a ip -j route show default | jq -r '.[0] | "\(.gateway) \(.protocol)"')" "10.100.0.1 190"
    assert_eq "$(inside a ip route show default | wc -l)" 21
    inside a ip -6 route replace default via fd00:100::77 proto static
    mended
    assert_eq "$(inside a ip -6 -j route show default | jq -r '.[].gateway')" "fd00:100::1"
}

@test "what is undone inside a container is as it was: a default route and an address of its own root" {
    exits 0 berth apply "$SPEC"
    inside a ip route replace default via 10.100.0.77 proto static
    inside a ip -6 addr add fd00:100::99/64 dev eth0 nodad
    inside a ip -j route | jq -cS . >"$BATS_TEST_TMPDIR/routes"
    inside a ip -j -6 addr show dev eth0 | jq -cS '[.[].addr_info[] | {local, protocol}]' >"$BATS_TEST_TMPDIR/addresses"
    sed -i 's/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [\/no\/such]}}/' "$SPEC"
    exits 5 berth apply "$SPEC"
    inside a ip -j route | jq -cS . | diff "$BATS_TEST_TMPDIR/routes" -
    inside a ip -j -6 addr show dev eth0 | jq -cS '[.[].addr_info[] | {local, protocol}]' | diff "$BATS_TEST_TMPDIR/addresses" -
}

@test "a protected container's cable is made anew; the container itself is not" {
    exits 0 berth apply "$SPEC"
    host ip netns add elsewhere
    inside a ip link set eth0 netns elsewhere
    host ip link del vb-a 2>/dev/null || host ip -n elsewhere link del eth0
    mended
}

@test "names of namespaces work as ip netns's own, whether the folder was there or not" {
    host_sh 'umount -l /run/netns 2>/dev/null; mkdir -p /run/netns'
    exits 0 berth apply "$SPEC"
    host grep -q ' /run/netns .*shared:' /proc/self/mountinfo
    host ip netns add x
    sed -i '/ b:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host ip netns list | awk '{print $1}' | sort | xargs)" "a x"
}

@test "what apply goes by is read once it has the lock; a signal ends the wait, and nothing is begun" {
    exits 0 berth apply "$SPEC"
    # While one waits, a container is stopped by hand: it stays so.
    host_sh 'exec 9>>/run/berth/lock; flock 9
        "$1" apply --lock-timeout 60s "$2" 9>&- >/run/out 2>&1 & p=$!
        until grep -q "^.*: -> FLOCK .*WRITE $p " /proc/locks || [ "$(cat /proc/$p/wchan 2>/dev/null)" = hrtimer_nanosleep ]; do :; done
        mkdir -p /run/berth/held; echo "stopped by hand" >/run/berth/held/b; ip netns del b; flock -u 9; wait $p' "$BERTH" "$SPEC"
    exits 1 host test -e /run/netns/b
    exits 0 berth start -f "$SPEC" b
    host ip netns del b
    wait_for host_sh '! ip link show vb-b'
    host_sh 'exec 9>>/run/berth/lock; flock 9
        "$1" apply --lock-timeout 60s "$2" 9>&- >/run/out 2>&1 & p=$!
        until [ "$(cat /proc/$p/wchan 2>/dev/null)" = hrtimer_nanosleep ]; do :; done
        kill -TERM $p; wait $p; echo $? >/run/status'  "$BERTH" "$SPEC"
    assert_eq "$(host cat /run/status)" 143
    exits 1 host test -e /run/netns/b
}

@test "a restart that is killed half-way holds nobody: the next apply starts it" {
    sed -i 's/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    host_sh '"$1" restart -f "$2" b >/dev/null 2>&1 & p=$!
        until [ -e /run/berth/held/b ] || [ ! -e /proc/$p ]; do :; done; kill -KILL $p; wait $p' "$BERTH" "$SPEC" || [[ $? -eq 137 ]]
    exits 0 berth apply "$SPEC"
    exits 0 berth run b -- true
    exits 1 host test -e /run/berth/held/b
}

@test "a berth that is killed while it tries idmapped mounts leaves nobody with the lock" {
    sed -i 's/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    # Its child is late, and sees its own parent killed.
    host_sh 'strace -f -qq -o /dev/null -e trace=unshare -e inject=unshare:delay_exit=1s "$1" apply "$2" &
        strace=$!; until child=$(pgrep -P "$(pgrep -P $strace)"); do :; done
        kill -KILL "$(pgrep -P $strace)"; wait $strace
        while [ -e /proc/$child ] && ! grep -q "^State:.Z" /proc/$child/status; do
            [ $((tries += 1)) -lt 2000 ] || { cat /proc/$child/stack; exit 1; }; read -rt 0.01 <> <(:)
        done; true' "$BERTH" "$SPEC" >&2
    exits 0 berth apply "$SPEC"
}

@test "a failed restart says whom it interrupted, and who was not reached is not" {
    sed -i 's/b: 10.100.0.20/b: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [sleep, infinity]}}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    sed -i 's/sleep, infinity/\/no\/such/' "$SPEC"
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" 'the host is as it was before; meanwhile interrupted: b\.'
    exits 0 berth run b -- true
}

@test "a port that somebody has renamed goes, and the container gets one again" {
    local i
    for i in 1 2 3 4 5 6; do echo "      more$i: 10.100.0.3$i" >>"$SPEC"; done
    exits 0 berth apply "$SPEC"
    host ip link set vb-b down
    host ip link set vb-b name other
    exits 0 berth apply "$SPEC"
    assert_match "$output" "port b"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host ip -br link show master br0 | grep -c '^vb-')" 8
    refute_match "$(host ip -br link)" other
    pings "inside b" 10.100.0.10
}

@test "an mtu without IPv6 inside, which the spec does not speak of, is nobody's difference" {
    exits 0 berth apply "$SPEC"
    host ip -n b link set eth0 mtu 1000
    exits 0 berth plan -e "$SPEC"
    host ip -n b link set eth0 mtu 1500         # IPv6 comes back, and with it the kernel's own way to addresses
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host ip -n b -d -j link show eth0 | jq -r '.[0].inet6_addr_gen_mode')" none
}
