#!/usr/bin/env bats
# What IPv6 does by itself, and must not: addresses, router advertisements, waiting, forwarding.
load ../lab/lib

setup() { need_berth; lab_up --inet; SPEC=$REPO/examples/ipv6.yaml; }
teardown() { lab_down; }

@test "no address that nobody asked for, none that waits; router advertisements are not heard on our bridge" {
    exits 0 berth apply "$SPEC"
    assert_eq "$(inside six ip -j -6 addr show eth0 scope global | jq -r '.[].addr_info[] | "\(.local) \(.tentative // "ready")"')" "fd00:100::20 ready"
    assert_eq "$(inside four ip -6 addr show eth0)" ""
    assert_eq "$(host ip -6 addr show vb-six)" ""
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/br-containers/accept_ra)" 0
    assert_eq "$(inside six ip -j -6 route show default | jq -r '.[].gateway')" fd00:100::1
    pings "inside six" fd00:100::10
    pings "inside six" 2001:db8:ffff::1
    exits 0 berth plan -e "$SPEC"
}

@test "only four: no IPv6 setting of the host is touched" {
    spec <<<'{version: 1, hosts: {localhost: {bridge: {address: 10.100.0.1/24}, nat: {interface: auto}, containers: {a: {address: 10.100.0.10, runtime: netns}}}}}'
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/all/forwarding)" 0
    assert_eq "$(inside a ip -6 addr show eth0)" ""
}

@test "an uplink that lives on router advertisements goes on hearing them; destroy gives its own value back" {
    host_sh 'echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_ra; ip link add other type bridge; echo 1 >/proc/sys/net/ipv6/conf/other/forwarding'
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/all/forwarding)" 1
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/eth0/accept_ra)" 2
    exits 0 berth plan -e "$SPEC"
    host_sh 'echo 0 >/proc/sys/net/ipv6/conf/all/forwarding'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "sysctl net.ipv6.conf.all.forwarding"
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "nat: auto takes no route for an uplink that leads nowhere" {
    host ip -6 route add unreachable default metric 5
    host ip route add unreachable default metric 4000000000
    exits 0 berth apply "$SPEC"
    assert_eq "$(host nft -j list chain inet berth src | jq -r '[.. | .match? | select(.left.meta?.key == "oifname") | .right | strings] | unique | join(" ")')" \
        "@bridges br-containers eth0"
    # Nor does it where there is no other.
    host_sh 'ip -6 route del default dev eth0; ip -6 route add blackhole default metric 6'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host nft -j list chain inet berth src | jq '[.. | .match? | select(.right == "lo")] | length')" 0
    assert_eq "$(host nft -j list chain inet berth src | jq '[.nftables[].rule.expr // empty | select(any(.[]; .match.right? == "eth0")) |
        .[].match?.left.payload?.protocol // empty] | unique | join(" ")' -r)" ip
}

@test "drift: an address, its prefix, the default route" {
    exits 0 berth apply "$SPEC"
    local port="port six (vb-six)" what
    for what in 'ip addr del fd00:100::20/64 dev eth0' 'ip -6 route del default'; do
        inside six $what
        exits 2 berth plan -e --json "$SPEC"
        assert_eq "$(json '[.steps[].object] | join(",")')" "$port" "$what"
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        pings "inside six" 2001:db8:ffff::1
    done
    inside six bash -c 'ip addr del fd00:100::20/64 dev eth0; ip addr add fd00:100::20/48 dev eth0 nodad'
    exits 2 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(inside six ip -j -6 addr show eth0 scope global | jq -r '.[].addr_info[].prefixlen')" 64
}
