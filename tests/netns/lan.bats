#!/usr/bin/env bats
# A bridge of the host's own, with a NIC in it: berth puts containers on it, and leaves it as its owner wants it.
load ../lab/lib

# br-lan takes its MAC from eth0, its only port: 02:1a:…. The host has its addresses there.
setup() {
    need_berth
    lab_up --inet
    host_sh 'ip addr flush dev eth0; ip -6 route flush default; ip link set eth0 address 02:1a:00:00:00:01
        ip link add br-lan type bridge; echo 1 >/proc/sys/net/ipv6/conf/br-lan/accept_ra; ip link set eth0 master br-lan
        ip link set br-lan up; ip addr add 203.0.113.2/24 dev br-lan; ip route add default via 203.0.113.1'
    wait_for pings host 203.0.113.1
    wait_for settled
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: br-lan, address: 203.0.113.2/24}
    containers:
      web: {address: 203.0.113.10, gateway: 203.0.113.1, runtime: netns}
      db: {address: 203.0.113.11, gateway: 203.0.113.1, runtime: netns}
END
}
teardown() { lab_down; }
settled() { [[ -z $(host ip -6 -o addr show tentative) && $(host ip -6 -o addr show dev br-lan scope link) ]]; }
mac() { host ip -j link show "$1" | jq -r '.[0].address'; }
ra() { host cat /proc/sys/net/ipv6/conf/br-lan/accept_ra; }
group() { host ip -j link show br-lan | jq -r '.[0].group // "default"'; }
# What is new on a bridge that had ports stays: the kernel counts features and remembers peers.
facts() { fingerprint | sed 's/"tso_max_size":[0-9]*,//g'; }

@test "a port's host end has a MAC that no bridge chooses: br-lan keeps its own" {
    facts >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply "$SPEC"
    assert_match "$(mac vb-web)" '^fe:'
    assert_match "$(mac vb-db)" '^fe:'
    assert_eq "$(mac br-lan)" 02:1a:00:00:00:01
    assert_eq "$(ra)" 1
    pings "inside web" 203.0.113.1
    pings inet 203.0.113.10
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
}

@test "--adopt changes neither MAC nor router advertisements, and destroy gives the bridge back" {
    facts >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply --adopt "$SPEC"
    assert_eq "$(mac br-lan) $(ra)" "02:1a:00:00:00:01 1"
    assert_eq "$(group)" $((0x62657274))
    exits 0 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth status -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
    pings host 203.0.113.1
    exits 0 berth destroy --yes "$SPEC"
}

@test "an adopted bridge without other ports gets berth's settings, and destroy gives its own back" {
    host_sh 'ip link add br7 type bridge; ip link set br7 address 02:77:00:00:00:07 mtu 1400 group 9 addrgenmode none; ip link set br7 up
        echo 1 >/proc/sys/net/ipv6/conf/br7/accept_ra
        ip addr add 10.7.0.1/24 dev br7; ip addr add fd07::1/48 dev br7 nodad'
    wait_for settled
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: br7, address: [10.7.0.1/24, "fd07::1/64"], mtu: 1300}
    containers:
      web: {address: [10.7.0.10, "fd07::10"], ports: [8080:80], runtime: netns}
END
    facts >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply --adopt "$SPEC"
    assert_eq "$(host ip -j link show br7 | jq -r '.[0] | "\(.address != "02:77:00:00:00:07") \(.mtu)"')" "true 1300"
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/br7/accept_ra)" 0
    exits 0 berth plan -e "$SPEC"
    # A later change is given back, too.
    sed -i 's/mtu: 1300/mtu: 1350/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    # Out of the spec is as good as destroyed.
    spec other.yaml <<<'{version: 1, hosts: {localhost: {bridge: {name: br8, address: 10.8.0.1/24}, containers: {}}}}'
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
}

@test "ports of an earlier version keep their MAC, but on a bridge that chooses the lowest one" {
    exits 0 berth apply "$SPEC"
    local old
    old=$(mac vb-web)
    host ip link set vb-web address "02${old:2}"
    assert_eq "$(mac br-lan)" 02:1a:00:00:00:01        # lower than a MAC that is derived, or there is nothing to see
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[] | "\(.object) \(.effect) \(.blinks | length)"] | join(",")')" "port web (vb-web) live 0"
    exits 0 berth apply "$SPEC"
    assert_eq "$(mac vb-web)" "$old"
    exits 0 berth destroy --yes "$SPEC"
    spec <<<'{version: 1, hosts: {localhost: {bridge: {name: b0, address: 10.9.0.1/24}, containers: {web: {address: 10.9.0.10, runtime: netns}}}}}'
    exits 0 berth apply "$SPEC"
    old=$(mac vb-web)
    host ip link set vb-web address "02${old:2}"
    exits 0 berth plan -e "$SPEC"
}

# A bridge of somebody else's with a machine `vm` (10.100.0.50) on it, which `inet` has a route to.
somebodys() {
    host_sh 'ip link add br0 type bridge; ip link set br0 up; ip addr add 10.100.0.1/24 dev br0; echo 1 >/proc/sys/net/ipv4/ip_forward
        ip netns add vm; ip link add vm0 type veth peer name eth0 netns vm; ip link set vm0 master br0 up
        ip -n vm addr add 10.100.0.50/24 dev eth0; ip -n vm link set eth0 up; ip -n vm route add default via 10.100.0.1'
    inet ip route add 10.100.0.0/24 via 203.0.113.2
    wait_for pings inet 10.100.0.50
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: br0, address: 10.100.0.1/24}
    nat: {interface: br-lan}
    containers:
      web: {address: 10.100.0.10, ports: [8080:80], runtime: netns}
END
}
notes() { json '[.notes[] | "\(.object): \(.text)"] | join("\n")'; }

@test "a bridge that somebody else made is used as it is, plan and status say so, and its other ports are not filtered" {
    somebodys
    exits 0 berth plan --json "$SPEC"
    assert_match "$(notes)" 'bridge br0: used as it is, not created by berth'
    assert_match "$(notes)" 'bridge br0: others have it too, so what comes to it from outside is not filtered'
    exits 0 berth apply "$SPEC"
    assert_match "$output" 'used as it is, not created by berth'
    pings inet 10.100.0.50
    pings "inside vm" 203.0.113.1
    echo_server "inside web" tcp 10.100.0.10 80 here
    assert_match "$(ask inet tcp 203.0.113.2 8080)" here
    exits 0 berth status --json "$SPEC"
    assert_match "$(notes)" 'bridge br0: used as it is'
    exits 0 berth plan -e "$SPEC"
    # Adopted, it is still shared.
    exits 0 berth apply --adopt "$SPEC"
    pings inet 10.100.0.50
    exits 0 berth plan -e --json "$SPEC"
    refute_match "$(notes)" 'not created by berth'
    # Alone on it, berth filters.
    host ip link del vm0
    exits 0 berth apply "$SPEC"
    no_ping inet 10.100.0.10
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    host ip link show br0 >/dev/null
}

@test "a bridge of berth's own is filtered, and there is nothing to note" {
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: 10.100.0.1/24}
    nat: {interface: br-lan}
    containers:
      web: {address: 10.100.0.10, runtime: netns}
END
    exits 0 berth apply "$SPEC"
    inet ip route add 10.100.0.0/24 via 203.0.113.2
    no_ping inet 10.100.0.10
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '.notes | length')" 0
}

# An adopted bridge that its owner deletes and that berth makes again is berth's alone.
@test "an adopted bridge that its owner deleted is made again, and destroy removes it" {
    facts >"$BATS_TEST_TMPDIR/before"
    host_sh 'ip link add br7 type bridge; ip link set br7 up; ip addr add 10.7.0.1/24 dev br7; ip addr add fd07::1/64 dev br7 nodad'
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: br7, address: [10.7.0.1/24, "fd07::1/64"]}
    containers:
      web: {address: [10.7.0.10, "fd07::10"], runtime: netns}
END
    exits 0 berth apply --adopt "$SPEC"
    host ip link del br7
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    spec other.yaml <<<'{version: 1, hosts: {localhost: {bridge: {name: br8, address: 10.8.0.1/24}, containers: {}}}}'
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    exits 1 host ip link show br7
    exits 0 berth destroy --yes "$SPEC"
    exits 1 host test -e /var/lib/berth/adopted
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
}

@test "an address that was adopted on a bridge of berth's goes with the bridge" {
    facts >"$BATS_TEST_TMPDIR/before"
    spec <<<'{version: 1, hosts: {localhost: {bridge: {name: b0, address: 10.9.0.1/24}, containers: {}}}}'
    exits 0 berth apply "$SPEC"
    host_sh 'ip addr del 10.9.0.1/24 dev b0; ip addr add 10.9.0.1/24 dev b0'
    exits 0 berth apply --adopt "$SPEC"
    host test -e /var/lib/berth/adopted
    exits 0 berth destroy --yes "$SPEC"
    exits 1 host ip link show b0
    exits 1 host test -e /var/lib/berth/adopted
    facts | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
}

files() { host_sh 'find /run/berth /var/lib/berth -mindepth 1 2>/dev/null | grep -v "/lock$" | sort'; }

@test "destroy gives an adopted bridge back after /run/berth was deleted; a record of another boot is void" {
    host_sh 'ip link add br7 type bridge; ip link set br7 up; ip addr add 10.7.0.1/24 dev br7'
    spec <<<'{version: 1, hosts: {localhost: {bridge: {name: br7, address: 10.7.0.1/24}, containers: {}}}}'
    files >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply --adopt "$SPEC"
    assert_eq "$(host head -n1 /var/lib/berth/adopted)" "boot $(cat /proc/sys/kernel/random/boot_id)"
    host rm -rf /run/berth
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host ip -j addr show br7 | jq -r '.[0] | "\(.group) \(.addr_info[0] | "\(.local) \(.protocol)")"')" "default 10.7.0.1 null"
    files | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "files stay"
    # Another boot: the bridge is not the one that was adopted.
    exits 0 berth apply --adopt "$SPEC"
    host sed -i 's/^boot .*/boot 00000000-0000-0000-0000-000000000000/' /var/lib/berth/adopted
    exits 0 berth destroy --yes "$SPEC"
    exits 1 host ip link show br7
    exits 1 host test -e /var/lib/berth/adopted
}

@test "destroy of an adopted bridge leaves no file of warnings and no unfinished file" {
    host_sh 'ip link add br7 type bridge; ip link set br7 up; ip addr add 10.7.0.1/24 dev br7'
    spec <<<'{version: 1, hosts: {localhost: {bridge: {name: br7, address: 10.7.0.1/24}, nat: {interface: eno9}, containers: {}}}}'
    files >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply --adopt -q "$SPEC"
    host_sh 'test -e /run/berth/warned; touch /run/berth/.warned.berth-new /var/lib/berth/.adopted.berth-new /var/lib/berth/.ids.berth-new'
    exits 0 berth destroy --yes -q "$SPEC"
    files | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "files stay"
}
