#!/usr/bin/env bats
# A host that has its IPv6 by router advertisements (RA) keeps it while it forwards. The RAs are real ones, sent by `inet`.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    host_sh 'ip -6 route flush default; echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_ra'
    host ip link add eth1 type veth peer name eth1 netns /run/lab/inet
    host_sh 'echo 1 >/proc/sys/net/ipv6/conf/eth1/accept_ra; ip link set eth1 up'
    inet ip link set eth1 up
    wait_for settled host
    wait_for settled inet
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: [10.100.0.1/24, fd00:100::1/64]}
    nat: {interface: eth0}
    containers:
      web: {address: [10.100.0.10, fd00:100::10], runtime: netns}
END
}
teardown() { lab_down; }
# Every link has its link-local address, and duplicate address detection is over.
settled() { [[ -z $($1 ip -6 -o addr show tentative) && $($1 ip -6 -o addr show dev eth1 scope link) ]]; }

# advertise LINK [LIFETIME]: a router advertisement for the default route; the kernel fills in the checksum.
advertise() {
    local seconds
    seconds=$(printf '\\x%02x\\x%02x' $((${2:-1800} / 256)) $((${2:-1800} % 256)))
    inet bash -c 'printf "\x86\x00\x00\x00\x40\x00$2\x00\x00\x00\x00\x00\x00\x00\x00" |
        socat -u - "IP6-SENDTO:[ff02::1%$1]:58,setsockopt-int=41:18:255"' bash "$1" "$seconds"
}
# A router repeats itself: the first RA can come before the host has asked for one.
advertised() { advertise "$1" && ra_route "$1"; }
ra_route() { host ip -6 -j route show default | jq -e --arg l "$1" 'any(.[]; .dev == $l and .protocol == "ra")' >/dev/null; }
no_ra_route() { ! ra_route "$1"; }

@test "the host's IPv6 default route from a router advertisement outlives apply and destroy" {
    wait_for advertised eth0
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[] | select(.kind == "sysctl") | .object] | join(",")')" \
        "sysctl net.ipv6.conf.eth0.accept_ra,sysctl net.ipv4.ip_forward,sysctl net.ipv6.conf.all.forwarding"
    exits 0 berth apply "$SPEC"
    ra_route eth0
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/eth0/accept_ra)" $'1\n2'
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    ra_route eth0
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/eth0/accept_ra)" $'0\n1'
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "every link with such a route is kept, not only the one that NAT goes out by" {
    wait_for advertised eth0
    wait_for advertised eth1
    exits 0 berth apply "$SPEC"
    ra_route eth0
    ra_route eth1
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/eth1/accept_ra)" 2
    # Its router is away for a while and comes back.
    advertise eth1 0
    wait_for no_ra_route eth1
    exits 0 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    wait_for advertised eth1
    exits 0 berth destroy --yes "$SPEC"
    ra_route eth1
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/eth1/accept_ra)" 1
}

@test "the uplink hears an advertisement that comes after the first apply" {
    exits 0 berth apply "$SPEC"
    wait_for advertised eth0
    exits 0 berth plan -e "$SPEC"
}

@test "a link whose router advertisements another program reads is left alone" {
    wait_for advertised eth0
    host_sh 'echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_ra; ip -6 route add default via fe80::1 dev eth1 proto ra metric 2000'
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/eth1/accept_ra)" 0
    ra_route eth1
    exits 0 berth plan -e "$SPEC"
}

@test "a route that would be lost is named by the plan, and apply stops before it is" {
    wait_for advertised eth1
    local key=/proc/sys/net/ipv6/conf/eth1/accept_ra
    host_sh 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"' "$key"
    exits 0 berth plan --json "$SPEC"
    assert_match "$(json '.notes[] | select(.warning) | "\(.object): \(.text)"')" \
        'link eth1: its IPv6 default route comes from router advertisements and would be lost .*Read-only file system'
    exits 5 berth apply "$SPEC"
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/all/forwarding)" 0
    ra_route eth1
    host umount "$key"
    exits 0 berth apply "$SPEC"
    ra_route eth1
}
