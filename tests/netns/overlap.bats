#!/usr/bin/env bats
# A bridge's subnet that covers the operator's client, the gateway, a nameserver or a route of the host.
load ../lab/lib

setup() { need_berth; lab_up --inet; unset SSH_CONNECTION; }
teardown() { lab_down; }

# bridge ADDRESS...: a spec with one bridge b0.
bridge() {
    local IFS=, list
    list="$*"
    spec <<END
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: [$list]}
    nat: {interface: eth0}
    nameservers: [198.51.100.1]
    containers: {}
END
}
untouched() {
    host ip -j link | jq -e 'any(.[]; .ifname == "b0") | not' >/dev/null || fail "b0 was made"
    pings host 203.0.113.1 || fail "the gateway is lost"
    pings host 2001:db8:1::1 || fail "the IPv6 gateway is lost"
}
warnings() { json '[.notes[] | select(.warning) | .text] | join("\n")'; }

@test "a subnet that covers the gateway is refused, whoever runs berth" {
    bridge 203.0.113.126/25
    exits 4 berth plan "$SPEC"
    assert_match "$stderr" 'address 203.0.113.126/25 of bridge b0 covers gateway 203.0.113.1 of the default route by eth0'
    assert_match "$stderr" 'allow-own-connection'
    exits 4 berth apply "$SPEC"
    untouched
    exits 4 host env -i "$BERTH" apply --quiet "$SPEC"
    assert_match "$stderr" 'covers gateway 203.0.113.1'
    untouched
    # Status refuses nothing; it warns.
    exits 0 berth status --json "$SPEC"
    assert_match "$(warnings)" 'covers gateway 203.0.113.1'
}

@test "the gateway's own address, and the subnet of the LAN, are refused" {
    bridge 203.0.113.1/30
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'address 203.0.113.1/30 of bridge b0 is gateway 203.0.113.1'
    bridge 203.0.113.77/24
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'covers gateway 203.0.113.1'
    # In a wider subnet the LAN's route is still taken, but the address itself is now this host's.
    bridge 203.0.113.1/16
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'address 203.0.113.1/16 of bridge b0 is gateway 203.0.113.1'
    untouched
    # A LAN without a gateway.
    host ip link add eth1 type veth peer name eth1 netns /run/lab/inet
    host_sh 'ip addr add 192.0.2.5/24 dev eth1; ip link set eth1 up'
    bridge 192.0.2.77/24
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'address 192.0.2.77/24 of bridge b0 is in subnet 192.0.2.0/24, which link eth1 has already'
    untouched
}

@test "IPv6: gateway, its address, the LAN's subnet" {
    local address
    for address in 2001:db8:1::77/64 2001:db8:1::77/112 2001:db8:1::1/126; do
        bridge 10.100.0.1/24 "$address"
        exits 4 berth apply "$SPEC"
        assert_match "$stderr" "address $address of bridge b0 (is|covers) gateway 2001:db8:1::1 of the default route by eth0"
    done
    untouched
    bridge 10.100.0.1/24 2001:db8:ffff::77/64
    SSH_CONNECTION='2001:db8:ffff::1 40000 2001:db8:1::2 22' exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'covers client 2001:db8:ffff::1, which you are connected from by eth0'
    untouched
}

@test "a subnet that covers the client is refused; once it is there, destroy gives the way back" {
    inet ip addr add 10.8.0.9/32 dev lo
    pings host 10.8.0.9
    bridge 10.8.0.1/24
    export SSH_CONNECTION='10.8.0.9 40000 203.0.113.2 22'
    exits 4 berth plan "$SPEC"
    assert_match "$stderr" 'address 10.8.0.1/24 of bridge b0 covers client 10.8.0.9, which you are connected from by eth0'
    exits 4 host env -u SSH_CONNECTION sh -c 'SSH_CONNECTION=$2 sh -c "env -u SSH_CONNECTION \"\$1\" apply \"\$2\"; exit \$?" sh "$0" "$1"' \
        "$BERTH" "$SPEC" "$SSH_CONNECTION"
    untouched
    exits 0 berth plan --json --allow-own-connection "$SPEC"
    assert_match "$(warnings)" 'covers client 10.8.0.9'
    exits 0 berth apply --allow-own-connection "$SPEC"
    no_ping host 10.8.0.9
    exits 0 berth destroy --yes "$SPEC"
    pings host 10.8.0.9
    bridge 10.8.0.9/30
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" 'address 10.8.0.9/30 of bridge b0 is client 10.8.0.9'
}

@test "a connection of sshd is seen where the environment names none" {
    inet ip addr add 10.8.0.9/32 dev lo
    bridge 10.8.0.1/24
    # What has that name is sshd; the client speaks from 10.8.0.9.
    host_sh 'cp "$(command -v socat)" /run/sshd'
    host_sh 'exec /run/sshd TCP-LISTEN:2222,reuseaddr,fork EXEC:cat' >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for listening host tcp 2222
    exits 0 berth plan "$SPEC"
    inet socat -u TCP:203.0.113.2:2222,bind=10.8.0.9 - >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for host_sh 'ss -Htn state established "( sport = :2222 )" | grep -q .'
    exits 4 host env -i "$BERTH" apply --quiet "$SPEC"
    assert_match "$stderr" 'covers client 10.8.0.9, which sshd has a connection with by eth0'
    untouched
    exits 0 host env -i "$BERTH" apply --quiet --allow-own-connection "$SPEC"
}

@test "a client that is on the bridge is still guarded from destroy" {
    bridge 10.8.0.1/24
    exits 0 berth apply "$SPEC"
    host ip link add vm type veth peer name eth9 netns /run/lab/inet
    host_sh 'ip link set vm master b0 up'
    inet ip addr add 10.8.0.9/24 dev eth9
    inet ip link set eth9 up
    wait_for pings host 10.8.0.9
    export SSH_CONNECTION='10.8.0.9 40000 203.0.113.2 22'
    exits 4 berth destroy --yes "$SPEC"
    pings host 10.8.0.9
}

@test "a nameserver and a route of the host that would be covered are warned of" {
    host ip route add 172.20.0.0/16 via 203.0.113.1
    host ip route add 10.50.7.0/24 via 203.0.113.1
    host ip route add 192.0.2.128/25 via 203.0.113.1
    spec <<'END'
version: 1
hosts:
  localhost:
    bridges:
      b0: {address: 172.20.5.1/24}
      b1: {address: 10.50.0.1/16}
      b2: {address: 198.51.100.7/24}
      b3: {address: 192.0.2.129/25}
    containers: {}
END
    exits 0 berth plan --json "$SPEC"
    assert_match "$(warnings)" 'address 172.20.5.1/24 takes over a part of the route to 172.20.0.0/16 by eth0'
    assert_match "$(warnings)" 'the subnet of address 10.50.0.1/16 contains the route to 10.50.7.0/24 by eth0'
    assert_match "$(warnings)" 'address 198.51.100.7/24 of bridge b2 covers nameserver 198.51.100.1, which is reached by eth0'
    assert_match "$(warnings)" 'address 192.0.2.129/25 takes over the route to 192.0.2.128/25 by eth0'
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 4
    # Nothing of this stops an apply; afterwards nothing is new.
    exits 0 berth apply -q "$SPEC"
    assert_match "$stderr" 'warning: bridge b2: .*covers nameserver'
    exits 0 berth plan -e --json "$SPEC"
    assert_eq "$(json '.notes | length')" 0
}

@test "the gateway of a single route, and a nameserver that only the spec names, are warned of" {
    host_sh 'ip route add 10.77.0.0/16 via 203.0.113.9; echo nameserver 203.0.113.1 >/etc/resolv.conf'
    bridge 203.0.113.10/29
    exits 0 berth plan --json "$SPEC"
    assert_match "$(warnings)" 'covers gateway 203.0.113.9 of the route to 10.77.0.0/16 by eth0: that route would no longer work'
    bridge 198.51.100.7/24
    exits 0 berth plan --json "$SPEC"
    assert_match "$(warnings)" 'address 198.51.100.7/24 of bridge b0 covers nameserver 198.51.100.1, which is reached by eth0'
    # Of two routes to it the one with the lower metric is taken.
    host ip link add eth1 type veth peer name eth1 netns /run/lab/inet
    host_sh 'ip link set eth1 up; ip addr add 192.0.2.5/24 dev eth1
        ip route add 198.51.100.0/24 via 203.0.113.1 metric 200; ip route add 198.51.100.0/24 dev eth1 metric 50'
    assert_eq "$(host ip -j route get 198.51.100.1 | jq -r '.[0].dev')" eth1
    exits 0 berth plan --json --allow-own-connection "$SPEC"
    assert_match "$(warnings)" 'covers nameserver 198.51.100.1, which is reached by eth1'
}

@test "a resolver among the containers, and a bridge with another name, are no cause for a warning" {
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: 10.60.0.1/24}
    nameservers: [10.60.0.53]
    containers:
      dns: {address: 10.60.0.53, runtime: netns}
END
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
    exits 0 berth apply "$SPEC"
    # The new bridge has the subnet that the old one of berth's still has.
    sed -i 's/name: b0/name: b9/' "$SPEC"
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    pings host 10.60.0.53
    assert_eq "$(host ip -j route get 10.60.0.53 | jq -r '.[0].dev')" b9
}

@test "a bridge with the address of the nameserver that this host asks is warned of" {
    host_sh 'echo nameserver 198.51.100.1 >/etc/resolv.conf'
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: b0, address: 198.51.100.1/24}
    containers: {}
END
    exits 0 berth plan --json "$SPEC"
    assert_match "$(warnings)" 'address 198.51.100.1/24 of bridge b0 is nameserver 198.51.100.1, which is reached by eth0: it would no longer answer'
    exits 0 berth apply -q "$SPEC"
    assert_match "$stderr" 'warning: bridge b0: .*is nameserver 198.51.100.1'
    exits 0 berth plan -e --json "$SPEC"
    assert_eq "$(json '.notes | length')" 0
    # Only containers ask a resolver that the spec names: it may be on the bridge.
    exits 0 berth destroy --yes "$SPEC"
    host_sh 'echo nameserver 203.0.113.1 >/etc/resolv.conf'
    bridge 198.51.100.1/24
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
}

@test "no warning without a cause, nor for a bridge that the LAN is on" {
    bridge 10.100.0.1/24 fd00:100::1/64
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '.notes | length')" 0
    # The LAN link is a port of the bridge, but its addresses are on it still.
    host_sh 'ip link add b0 type bridge; ip link set b0 up; ip link set eth0 master b0'
    bridge 203.0.113.3/24
    exits 0 berth plan --adopt --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
    # The bridge has the LAN's address.
    host_sh 'ip addr flush dev eth0; ip addr add 203.0.113.2/24 dev b0; ip route add default via 203.0.113.1'
    bridge 203.0.113.3/24
    exits 0 berth plan --adopt --json "$SPEC"
    assert_eq "$(json '[.notes[] | select(.warning)] | length')" 0
}
