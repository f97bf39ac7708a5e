#!/usr/bin/env bats
# What the spec asks for and this host cannot do as it is: a warning in the plan, not silence and not an apply that fails.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    host_sh 'ip link add eth1 type veth peer name eth1 netns /run/lab/inet; ip link set eth1 up; ip addr add 192.0.2.2/24 dev eth1'
}
teardown() { lab_down; }

# small NAT [IPV6]: one bridge, one container.
small() {
    spec <<END
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: [10.100.0.1/24${2:+, "fd00:100::1/64"}]}
    nat: {interface: $1}
    containers:
      web: {address: [10.100.0.10${2:+, "fd00:100::10"}], ports: [8080:80], runtime: netns}
END
}
warnings() { json '[.notes[] | select(.warning) | "\(.object): \(.text)"] | join("\n")'; }
warned() { exits 0 berth plan --json "$SPEC"; assert_match "$(warnings)" "$1"; exits 0 berth status --json "$SPEC"; assert_match "$(warnings)" "$1"; }
quiet() { exits 0 berth plan --json "$SPEC"; assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0; }

@test "nat by a link that does not exist, or under a name that nftables does not know" {
    small eno1
    warned "nat of bridge b0: link 'eno1' does not exist: nothing is masqueraded"
    exits 0 berth apply "$SPEC"
    host ip link property add dev eth0 altname eno1
    warned "link 'eno1' is an alternative name of link eth0"
    host_sh 'ip link property del dev eth0 altname eno1; ip link set eth1 down; ip link set eth1 name eno1 up'
    quiet
}

@test "auto, and a default route with two links; or a policy rule with another one" {
    small auto
    quiet
    host_sh 'ip route replace default nexthop via 203.0.113.1 dev eth0 nexthop via 192.0.2.1 dev eth1'
    warned "nat of bridge b0: .auto. is link 'eth0', but the default route leads IPv4 out by link 'eth1', too: that is not masqueraded"
    host_sh 'ip route replace default via 203.0.113.1; ip route add default via 192.0.2.1 dev eth1 table 4000'
    quiet
    host ip rule add pref 100 from 10.100.0.0/24 lookup 4000
    warned "a policy rule leads IPv4 out by link 'eth1', too"
    exits 0 berth apply "$SPEC"
    host_sh 'ip rule del pref 100; ip rule add pref 32800 lookup 4000'
    quiet
    # IPv6: two routers, one metric.
    small auto 6
    quiet
    host_sh 'ip -6 route append default via fe80::1 dev eth1 metric $(ip -6 -j route show default | jq ".[0].metric")'
    warned "the default route leads IPv6 out by link 'eth1', too"
}

@test "IPv6 that is disabled by sysctl: the rest is done, and IPv6 follows once it is enabled" {
    host_sh 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
    small eth0 6
    warned 'bridge b0: IPv6 is disabled for it by sysctl disable_ipv6: it gets no IPv6 address'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    pings "inside web" 198.51.100.1
    assert_eq "$(host ip -6 -o addr show dev b0)" ''
    host_sh 'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    pings "inside web" fd00:100::1
}

@test "/proc/sys that is read-only: what must be set is named, and the rest is done" {
    host_sh 'mount -o bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys'
    small eth0
    warned '/proc/sys: it is mounted read-only: net/ipv4/ip_forward is 0 and must be 1'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    pings "inside web" 10.100.0.1
    exits 0 berth destroy --yes "$SPEC"
    exits 0 berth apply "$SPEC"
    host umount /proc/sys
    exits 0 berth apply "$SPEC"
    quiet
    pings "inside web" 198.51.100.1
    # What is as it must be is no cause for a warning.
    host_sh 'mount -o bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys'
    quiet
    assert_match "$(json '[.notes[].text] | join(" ")')" 'read-only: kernel settings stay as they are'
}

@test "a name that an earlier line of /etc/hosts gives another address" {
    small eth0
    host_sh 'printf "192.0.2.9\tdb web.example web # web\n10.100.0.10 web\n" >>/etc/hosts'
    warned "/etc/hosts: line 4 gives the name 'web' to 192.0.2.9: this host finds that before container web"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 1
    exits 0 berth apply "$SPEC"
    assert_match "$(host getent ahostsv4 web)" 192.0.2.9
    warned "line 4 gives the name 'web'"
    # Behind berth's lines it harms nobody.
    host_sh 'sed -i "/192.0.2.9/d" /etc/hosts; echo "192.0.2.9 web" >>/etc/hosts'
    quiet
}

@test "a quiet run gives a warning once, and again when it is new; destroy forgets it" {
    small eno1
    exits 0 berth apply --quiet "$SPEC"
    assert_match "$stderr" "link 'eno1' does not exist"
    exits 0 berth apply --quiet "$SPEC"
    assert_eq "$output$stderr" ''
    host ip link property add dev eth0 altname eno1
    exits 0 berth apply --quiet "$SPEC"
    assert_match "$stderr" "'eno1' is an alternative name of link eth0"
    # The cause goes away and comes back.
    host_sh 'ip link property del dev eth0 altname eno1; ip link set eth1 down; ip link set eth1 name eno1 up'
    exits 0 berth apply --quiet "$SPEC"
    refute_match "$stderr" eno1
    exits 1 host test -e /run/berth/warned
    host_sh 'ip link set eno1 down; ip link set eno1 name eth1 up'
    exits 0 berth apply --quiet "$SPEC"
    assert_match "$stderr" "link 'eno1' does not exist"
    exits 0 host test -e /run/berth/warned
    exits 0 berth destroy --quiet --yes "$SPEC"
    exits 1 host test -e /run/berth/warned
}

@test "addresses inside that change without pause: named and left alone, and the others are read, mended and removed" {
    two_names
    exits 0 berth apply "$SPEC"
    # A dump of so many takes several system calls.
    host_sh 'for ((i = 0; i < 12000; i++)); do echo "address add 10.$((i / 62500 + 1)).$((i / 250 % 250)).$((i % 250 + 1))/32 dev eth0"; done >/run/many
        for ((i = 0; i < 100000; i++)); do printf "address %s 10.9.9.9/32 dev eth0\n" add del; done >/run/flap
        ip -n a -batch /run/many'
    apart 'while :; do ip -n a -batch /run/flap; done & echo $! >/run/flapper'
    wait_for host_sh 'ip -n a monitor address | grep -q 10.9.9.9'
    host ip -n b address flush dev eth0
    # Now and then a reading is whole: the machine has other work, or the batch begins anew.
    unclear() { exits 0 berth plan --json "$SPEC" && [[ $(warnings) == "a: its addresses and routes changed during each of 11 readings, and are left as they are" ]]; }
    wait_for unclear
    assert_eq "$(json '[.steps[] | .object] | join(",")')" "port b (vb-b)"
    exits 0 berth apply "$SPEC"
    assert_match "$(host ip -n b -br address show eth0)" ' 10.100.0.20/24'
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host ip netns list)" ""
    host_sh 'kill "$(cat /run/flapper)"'
}
