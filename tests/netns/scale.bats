#!/usr/bin/env bats
# Many containers on one bridge. Counts, not times: those belong to tests/bench.
load ../lab/lib

setup() { need_berth; lab_up --inet; }
teardown() { lab_down; }

# many N: N containers, each with a mapped port.
many() {
    spec < <(
        printf 'version: 1\ndefaults: {container: {runtime: netns}}\nhosts:\n  localhost:\n    bridge: {name: br0, address: 10.100.0.1/20}\n    nat: {interface: auto}\n    containers:\n'
        for ((i = 0; i < $1; i++)); do echo "      c$i: {address: 10.100.$((1 + i / 250)).$((1 + i % 250)), ports: [$((20000 + i)):80]}"; done
    )
}
rules() { host nft -j list ruleset | jq '[.nftables[] | select(.rule)] | length'; }

@test "300 containers: made, in sync, one lost is one step, reached, gone; rules do not grow with them" {
    local few before
    fingerprint >"$BATS_TEST_TMPDIR/before"
    many 5
    exits 0 berth apply "$SPEC"
    few=$(rules)
    many 300
    exits 0 berth apply "$SPEC"
    assert_eq "$(rules)" "$few"
    assert_eq "$(host ip netns list | wc -l)" 300
    assert_eq "$(host bridge -j link | jq '[.[] | select(.master == "br0")] | length')" 300
    exits 0 berth plan -e "$SPEC"
    host ip link del vb-c217
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "port c217 (vb-c217)"
    exits 0 berth apply "$SPEC"
    exits 0 berth run c0 -- ping -c1 -W2 c299
    exits 0 berth run c217 -- ping -c1 -W2 198.51.100.1
    exits 0 berth destroy --yes "$SPEC"
    wait_for host_sh '! ip link | grep -q vb-'
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "more than 1023 on one bridge: refused before anything is done, with the limit named" {
    many 1024
    fingerprint >"$BATS_TEST_TMPDIR/before"
    status=0
    berth apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status == 65 || $status == 4 ]] || fail "exit $status: $(head -c 500 "$BATS_TEST_TMPDIR/err")"
    assert_match "$(<"$BATS_TEST_TMPDIR/err")" 1023
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "many go where few descriptors may be open: destroyed, exchanged for another, and back again" {
    fingerprint >"$BATS_TEST_TMPDIR/before"
    local limit
    for limit in "-Sn 64" "-n 64"; do
        many 120
        exits 0 berth apply "$SPEC"
        exits 0 host_sh "ulimit $limit; exec \"\$@\"" "$BERTH" destroy --yes "$SPEC"
        same_facts "$BATS_TEST_TMPDIR/before"
    done
    exits 0 berth apply "$SPEC"
    sed -i 's/^      c0:/      new0:/; /^      c[0-9]/d' "$SPEC"
    exits 0 host_sh "ulimit -Sn 64; exec \"\$@\"" "$BERTH" apply --allow-deletes 120 "$SPEC"
    assert_eq "$(host ls /run/netns)" new0
    exits 0 berth destroy --yes "$SPEC"

    many 120
    for limit in "-Sn 150" "-n 64" "-n 48"; do
        ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} exits 5 host_sh "ulimit $limit; exec \"\$@\"" \
            strace -f -qq -e trace=mount -e inject=mount:error=ENOMEM:when=100 -o /dev/null -- "$BERTH" apply "$SPEC"
        same_facts "$BATS_TEST_TMPDIR/before"
    done

    # What can be made in small parts needs no more descriptors; below that it is refused before the first change.
    exits 1 host_sh "ulimit -n 44; exec \"\$@\"" "$BERTH" apply "$SPEC"
    assert_match "$stderr" 'may open 44 files, and 48 may be needed'
    same_facts "$BATS_TEST_TMPDIR/before"
    exits 0 host_sh "ulimit -n 48; exec \"\$@\"" "$BERTH" apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    # A removal that fails makes again what it had removed, with as few.
    host_sh 'mount --bind /etc/hosts /etc/hosts; mount -o remount,bind,ro /etc/hosts'
    status=0
    host_sh 'ulimit -n 48; exec "$@"' "$BERTH" destroy --yes "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    host umount /etc/hosts
    assert_eq "$status" 5 "$(<"$BATS_TEST_TMPDIR/err")"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

# Of many ports only what their bridge tells is read, as long as all look as they should. A port of somebody else's bridge, where none is
# expected, has everything read.
told() { status=0; output=$(berth plan -e --json "$SPEC" 2>"$BATS_TEST_TMPDIR/stderr") || status=$?; [[ $output == *\"steps\"* ]] || fail "$output"; }
others() { host_sh 'ip link add br-other type bridge; ip link add other0 type veth peer name other1; ip link set other0 master br-other'; }
no_others() { host_sh 'ip link del other0; ip link del br-other'; }

# same_plan OBJECTS: the plan speaks of these alone, and of the same, in the same words, when everything is read.
same_plan() {
    local brief
    told
    assert_eq "$(json '[.steps[].object, .conflicts[]?.object] | join(",")')" "$1"
    brief=$(jq -S '{steps, conflicts}' <<<"$output")
    others
    told
    no_others
    assert_eq "$(jq -S '{steps, conflicts}' <<<"$output")" "$brief" "not what a whole reading tells"
}

# c5's port by ip's account, and reached.
as_made() {
    assert_eq "$(host ip -j -d link show vb-c5 | jq -r '.[0] | "\(.master) \(.group) \(.inet6_addr_gen_mode) \(.linkinfo.info_slave_data.hairpin)"')" \
        "br0 $((0x62657274)) none true"
    assert_eq "$(host ip -n c5 -j address show eth0 | jq -r '.[0].addr_info | map("\(.local)/\(.prefixlen)") | join(" ")')" 10.100.1.6/20
    host ping -q -c1 -W2 10.100.1.6 >/dev/null
}

@test "many ports in good order are read by their bridge, and no link one by one" {
    many 70
    exits 0 berth apply "$SPEC"
    local ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0}
    exits 0 host strace -qq -s 4096 -e trace=sendto -o /run/trace -- "$BERTH" plan -e "$SPEC"
    host grep -q "RTM_GETLINK.*NLM_F_DUMP.*AF_BRIDGE" /run/trace
    exits 1 host_sh 'grep "RTM_GETLINK.*NLM_F_DUMP" /run/trace | grep -v "AF_INET6\|AF_BRIDGE\|IFLA_MASTER"'
    # Bridges are few and are asked for by name; a port is not.
    exits 1 host_sh 'grep "IFLA_IFNAME" /run/trace | grep -v "IFLA_IFNAME}, \"br0\""'
    # Where that is refused, all links are read as they are elsewhere.
    exits 0 host strace -qq -s 4096 -e trace=sendto -e inject=sendto:error=EPERM:when="$(host sed -n '/RTM_GETLINK.*AF_BRIDGE/=' /run/trace)" -o /run/trace -- \
        "$BERTH" plan -e "$SPEC"
    host grep -q "RTM_GETLINK.*AF_BRIDGE.*EPERM.*INJECTED" /run/trace
    host_sh 'grep "RTM_GETLINK.*NLM_F_DUMP" /run/trace | grep -v "AF_BRIDGE\|IFLA_MASTER"'
}

@test "among many ports each difference is told as when everything is read, and mended" {
    many 70
    exits 0 berth apply "$SPEC"
    same_plan ""
    local drift
    for drift in 'ip link set vb-c5 nomaster' 'ip link set vb-c5 down' 'ip link set vb-c5 mtu 1400' 'bridge link set dev vb-c5 hairpin off' \
                 'ip link set vb-c5 addrgenmode eui64; ip link set vb-c5 down; ip link set vb-c5 up' 'ip link set vb-c5 master br-own' 'ip link del vb-c5' \
                 'ip -n c5 address flush dev eth0' 'ip -n c5 link set eth0 address 02:00:00:00:00:05'; do
        [[ $drift != *br-own ]] || host ip link add br-own type bridge
        host_sh "$drift"
        same_plan "port c5 (vb-c5)" || fail "after: $drift"
        exits 0 berth apply "$SPEC"
        same_plan ""
        as_made
    done
    host ip netns del c5
    wait_for host_sh '! ip link show vb-c5'
    same_plan "netns c5,port c5 (vb-c5)"
    exits 0 berth apply "$SPEC"
    # What is not seen as long as nothing else differs is seen with it.
    for drift in 'ip link set vb-c5 group 0x62657275 down' 'ip link set vb-c5 addrgenmode eui64; ip -n c5 address flush dev eth0' \
                 'ip link set vb-c5 group 0x62657275; ip -n c5 link set lo down'; do
        host_sh "$drift"
        told
        [[ $(json '[.steps[].object] | join(",")') =~ ^(netns c5,)?port\ c5\ \(vb-c5\)$ ]] || fail "after: $drift: $output"
        exits 0 berth apply "$SPEC"
        same_plan ""
        as_made
    done
    # Whose MAC it has is nobody's wish: but then that port's mark is looked at.
    host ip link set vb-c5 address 02:00:00:00:00:05
    same_plan ""
}

@test "among many ports what is somebody else's is told, and stays" {
    many 70
    exits 0 berth apply "$SPEC"
    local mac; mac=$(host ip -j link show vb-c5 | jq -r '.[0].address')
    host_sh 'ip link del vb-c5; ip link add vb-c5 type bridge'
    same_plan "port c5 (vb-c5)"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "is no veth"
    host_sh 'ip link del vb-c5; ip link property add dev vb-c6 altname vb-c5'
    same_plan "port c5 (vb-c5)"
    host ip netns del c5
    same_plan "netns c5,port c5 (vb-c5)"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "alternative name of link vb-c6"
    host ip link property del dev vb-c6 altname vb-c5
    exits 0 berth apply "$SPEC"
    host ip link del vb-c5
    # In the bridge, with the name and the MAC, but the end of another pair; the other end in place, but not the MAC.
    host_sh 'ip link add vb-c5 address "$1" type veth peer name zz; ip link set vb-c5 master br0 up' "$mac"
    same_plan "port c5 (vb-c5)"
    exits 4 berth apply "$SPEC"
    host_sh 'ip link del vb-c5; ip link add vb-c5 type veth peer name eth0 netns c5; ip link set vb-c5 master br0 up'
    same_plan "port c5 (vb-c5)"
    exits 4 berth apply "$SPEC"
    host ip link del vb-c5
    exits 0 berth apply "$SPEC"
    assert_eq "$(host ip -j link show vb-c5 | jq -r '.[0].address')" "$mac"
    # One of ours, not wanted any more, whose namespace lives on without a name.
    apart 'ip netns exec c9 sleep 300 & echo $! >/run/sleeper; until [ /proc/$!/ns/net -ef /run/netns/c9 ]; do :; done; ip netns del c9'
    cp "$SPEC" "$BATS_TEST_TMPDIR/all.yaml"
    sed -i '/ c9:/d' "$SPEC"
    same_plan "names of c9,port c9 (vb-c9),nat tables 'inet berth' and 'bridge berth',names /etc/hosts,names /run/berth/hosts/br0"
    cp "$BATS_TEST_TMPDIR/all.yaml" "$SPEC"
    host_sh 'kill $(cat /run/sleeper)'
    exits 0 berth apply "$SPEC"
    # Its mark is gone: nothing of it is changed until it is taken over.
    host ip link set vb-c5 group 0 down
    exits 4 berth apply "$SPEC"
    assert_eq "$(host cat /sys/class/net/vb-c5/operstate)" down
    host ip link set vb-c5 up
    exits 0 berth apply --adopt "$SPEC"
    assert_eq "$(host cat /sys/class/net/vb-c5/netdev_group)" $((0x62657274))
    # A port of somebody else's in our bridge.
    host_sh 'ip link add zz type veth peer name zz1; ip link set zz master br0'
    told
    assert_eq "$status" 0
    exits 4 berth destroy --yes "$SPEC"
    assert_match "$stderr$output" "zz is a port of it"
    host ip link show zz >/dev/null
}

@test "among many ports those that a killed removal had marked stay when another is removed" {
    many 70
    exits 0 berth apply "$SPEC"
    host ip link set vb-c5 group $((0x62657275))
    local was; was=$(host cat /sys/class/net/vb-c5/ifindex)
    sed -i '/ c9:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /sys/class/net/vb-c5/ifindex)" "$was"
    exits 1 host ip link show vb-c9
    sed -i 's|^    bridge: .*|    bridges: {br0: {address: 10.100.0.1/20, nat: {interface: auto}}, br1: {address: 10.101.0.1/24}}|; /^    nat:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    host ip link set vb-c5 group $((0x62657275))
    sed -i 's|, br1: {address: 10.101.0.1/24}||' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 1 host ip link show br1
    assert_eq "$(host cat /sys/class/net/vb-c5/ifindex)" "$was"
    exits 0 berth run c5 -- ping -c1 -W2 c6
}
