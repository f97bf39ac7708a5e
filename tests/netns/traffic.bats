#!/usr/bin/env bats
# Packets: port maps from everywhere, isolation in both directions, what may come in, names.
load ../lab/lib

setup() { need_berth; lab_up --inet; }
teardown() { lab_down; }

both_families() {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    nat: {interface: auto}
	    containers:
	      web: {address: [10.100.0.10, "fd00:100::10"], ports: [8080:80, "5000-5002:6000-6002/udp", "203.0.113.2:8090:80"]}
	      app: {address: [10.100.0.20, "fd00:100::20"]}
	      lone: {address: [10.100.0.30, "fd00:100::30"], isolated: true, ports: [8443:443]}
	END
    exits 0 berth apply "$SPEC"
}

@test "a mapped port answers from outside, the host, 127.0.0.1, and the containers themselves (hairpin)" {
    both_families
    echo_server "inside web" tcp 10.100.0.10 80 four
    local where
    assert_match "$(ask inet tcp 203.0.113.2 8080)" four "outside"
    assert_match "$(ask inet tcp 203.0.113.2 8090)" four "outside, one address"
    for where in 127.0.0.1 203.0.113.2 10.100.0.1; do assert_match "$(ask host tcp $where 8080)" four "host to $where"; done
    assert_match "$(ask "inside web" tcp 203.0.113.2 8080)" four "itself"
    assert_match "$(ask "inside app" tcp 203.0.113.2 8080)" four "a neighbour"
    assert_match "$(ask "inside app" tcp 10.100.0.10 80)" four "directly"
    no_answer host tcp 10.100.0.1 8090
}

@test "over IPv6 at once, the first packet after apply included" {
    both_families
    echo_server "inside web" tcp fd00:100::10 80 six
    assert_match "$(ask inet tcp 2001:db8:1::2 8080)" six "outside"
    assert_match "$(ask host tcp 2001:db8:1::2 8080)" six "host"
    assert_match "$(ask "inside app" tcp 2001:db8:1::2 8080)" six "a neighbour"
    pings "inside web" 2001:db8:ffff::1
}

@test "a container's first packet to its gateway over IPv6 is answered, not the second" {
    both_families
    # A lost solicitation is sent again after a second (RFC 4861 10); here after a minute, so that load cannot be taken for a loss.
    inside web bash -c 'echo 60000 >/proc/sys/net/ipv6/neigh/eth0/retrans_time_ms'
    inside web ping -q -c1 -W30 fd00:100::1 >/dev/null
    assert_eq "$(inside web cat /proc/sys/net/ipv6/neigh/eth0/retrans_time_ms)" 60000
}

# Everybody pings everybody, by both families.
all_reach_all() {
    local from to
    for from in "$@"; do
        for to in 10.100.0.1 10.100.0.20 10.100.0.30 10.100.0.50 fd00:100::1 fd00:100::20 fd00:100::30 fd00:100::50; do
            inside "$from" ping -q -c1 -W2 "$to" >/dev/null || fail "$from does not reach $to"
        done
    done
    for to in 10.100.0.20 10.100.0.30 10.100.0.50 fd00:100::20; do pings host "$to" || fail "the host does not reach $to"; done
}

@test "an address that comes to another container, another MAC or another bridge is reached there at once" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    containers:
	      db: {address: [10.100.0.20, "fd00:100::20"]}
	      c3: {address: [10.100.0.30, "fd00:100::30"]}
	      c5: {address: [10.100.0.50, "fd00:100::50"], mac: "02:00:00:00:00:05"}
	END
    exits 0 berth apply "$SPEC"
    all_reach_all db c3 c5
    sed -i 's/c3:/c4:/' "$SPEC"
    exits 0 berth apply "$SPEC"
    all_reach_all db c4 c5
    sed -i 's/10.100.0.20, "fd00:100::20"/A/; s/10.100.0.50, "fd00:100::50"/10.100.0.20, "fd00:100::20"/; s/A/10.100.0.50, "fd00:100::50"/' "$SPEC"
    exits 0 berth apply "$SPEC"
    all_reach_all db c4 c5
    sed -i 's/00:05"/00:06"/' "$SPEC"
    exits 0 berth apply "$SPEC"
    all_reach_all db c4 c5
    sed -i 's/br0/br1/' "$SPEC"
    exits 0 berth apply "$SPEC"
    all_reach_all db c4 c5
}

@test "a container with mapped ports moves to another bridge, and its ports go with it" {
    both_families
    sed -i 's/\(bridge: {name: \)[^,]*/\1elsewhere/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    echo_server "inside web" tcp 10.100.0.10 80 four
    assert_match "$(ask inet tcp 203.0.113.2 8080)" four
    assert_match "$(ask "inside web" tcp 203.0.113.2 8080)" four "itself"
}

@test "0.0.0.0 and [::] before a port are any address of their family; a port may lead elsewhere for each" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    nat: {interface: auto}
	    containers:
	      both: {address: [10.100.0.10, "fd00:100::10"], ports: ["0.0.0.0:8081:80", "[::]:8082:80"]}
	      four: {address: 10.100.0.20, ports: [8080:80]}
	      six: {address: "fd00:100::30", ports: [8080:80]}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    echo_server "inside both" tcp 10.100.0.10 80 both4
    echo_server "inside both" tcp fd00:100::10 80 both6
    echo_server "inside four" tcp 10.100.0.20 80 four
    echo_server "inside six" tcp fd00:100::30 80 six
    assert_match "$(ask inet tcp 203.0.113.2 8081)" both4
    assert_match "$(ask host tcp 127.0.0.1 8081)" both4
    no_answer inet tcp 2001:db8:1::2 8081
    assert_match "$(ask inet tcp 2001:db8:1::2 8082)" both6
    no_answer inet tcp 203.0.113.2 8082
    assert_match "$(ask inet tcp 203.0.113.2 8080)" four
    assert_match "$(ask inet tcp 2001:db8:1::2 8080)" six
}

@test "udp ranges map port by port" {
    both_families
    echo_server "inside web" udp 10.100.0.10 6001 udp
    assert_match "$(ask inet udp 203.0.113.2 5001)" udp
    no_answer inet udp 203.0.113.2 5000
}

@test "route_localnet opens no hole: the host's loopback does not answer a container" {
    both_families
    echo_server host tcp 127.0.0.1 7777 secret
    inside app ip route add 127.0.0.1 via 10.100.0.1 table 99
    inside app ip rule add pref 0 to 127.0.0.1 lookup 99
    inside app ip rule del pref 0 from all lookup local
    inside app ip rule add pref 1 from all lookup local
    inside app sysctl -qw net.ipv4.conf.all.route_localnet=1
    no_answer "inside app" tcp 127.0.0.1 7777
    assert_match "$(ask host tcp 127.0.0.1 7777)" secret "the service is there"
}

@test "isolated: no traffic with neighbours in either direction, not by way of the host either; host and outside stay" {
    both_families
    no_ping "inside app" 10.100.0.30
    no_ping "inside lone" 10.100.0.20
    no_ping "inside app" fd00:100::30
    no_ping "inside lone" fd00:100::20
    pings "inside app" 10.100.0.10
    pings "inside lone" 10.100.0.1
    pings host 10.100.0.30
    pings "inside lone" 198.51.100.1
    # Both ends with a host route past the bridge chain.
    inside app ip route add 10.100.0.30/32 via 10.100.0.1
    inside lone ip route add 10.100.0.20/32 via 10.100.0.1
    no_ping "inside app" 10.100.0.30
    no_ping "inside lone" 10.100.0.20
    echo_server "inside lone" tcp 10.100.0.30 443 lone
    assert_match "$(ask inet tcp 203.0.113.2 8443)" lone "its mapped port, from outside"
    sed -i 's/isolated: true/isolated: false/' "$SPEC"
    exits 0 berth apply "$SPEC"
    pings "inside app" 10.100.0.30
    assert_eq "$(host nft -j list set bridge berth alone | jq "[.nftables[].set.elem // empty] | length")" 0
}

@test "inbound: ports keeps a neighbour with a route out, open lets it in" {
    both_families
    inet ip route add 10.100.0.0/24 via 203.0.113.2
    no_ping inet 10.100.0.10
    sed -i 's/{interface: auto}/{interface: auto, inbound: open}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    pings inet 10.100.0.10
}

@test "what leaves is masqueraded, and nothing is without nat" {
    both_families
    echo_server inet tcp 198.51.100.1 80 seen
    assert_eq "$(ask "inside app" tcp 198.51.100.1 80)" "seen 203.0.113.2"
    exits 0 berth destroy --yes "$SPEC"
    sed -i 's/interface: auto/interface: none/; s/, ports: [^}]*//' "$SPEC"
    exits 0 berth apply "$SPEC"
    no_answer "inside app" tcp 198.51.100.1 80
}

@test "names: by run and by ip netns exec; a container that runs already learns of a later one" {
    both_families
    exits 0 berth run web -- getent ahostsv4 app
    assert_match "$output" "10.100.0.20"
    host ip netns exec web getent hosts lone | grep -q fd00:100::30
    host_sh 'ip netns exec web sh -c "until getent hosts later; do read -rt 0.05 <>/run/none || :; done" >/run/learned 2>/dev/null & mkfifo /run/none 2>/dev/null || :'
    cat >>"$SPEC" <<-'END'
	      later: 10.100.0.40
	END
    sed -i 's/later: 10.100.0.40/later: {address: 10.100.0.40, runtime: netns}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    wait_for host grep -q 10.100.0.40 /run/learned
    exits 0 berth run later -- hostname
    assert_eq "$output" later
}

@test "/etc/hosts: edits outside the marks are kept, inside undone; no last line end; a symbolic link is left alone" {
    both_families
    host_sh 'sed -i "1i 192.0.2.9 mine" /etc/hosts; sed -i "s/10.100.0.10/10.9.9.9/" /etc/hosts; printf "192.0.2.8 last" >>/etc/hosts'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "names /etc/hosts"
    exits 0 berth apply "$SPEC"
    host grep -q '^10.100.0.10' /etc/hosts
    host grep -q '^192.0.2.9 mine' /etc/hosts
    exits 0 berth destroy --yes "$SPEC"
    refute_match "$(host cat /etc/hosts)" berth
    assert_eq "$(host tail -n1 /etc/hosts)" "192.0.2.8 last"
    # Without a last line end to start with: back to the very same bytes.
    local before
    before=$(host sha256sum /etc/hosts)
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host sha256sum /etc/hosts)" "$before"
    host_sh 'mv /etc/hosts /etc/hosts.real; ln -s hosts.real /etc/hosts'
    exits 0 berth apply "$SPEC"
    assert_eq "$(host readlink /etc/hosts)" hosts.real
    assert_eq "$(host sha256sum /etc/hosts.real | cut -d' ' -f1)" "${before%% *}"
    exits 0 berth plan --json "$SPEC"
    assert_match "$(json '[.notes[].object] | join(",")')" /etc/hosts
}

@test "a bridge of two subnets: each container's way out is the bridge's address in its own" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.1.0.1/24, 10.2.0.1/24, "fd00:1::1/64", "fd00:2::1/64"]}
	    nat: {interface: auto}
	    containers:
	      one: {address: [10.1.0.10, "fd00:1::10"]}
	      two: {address: [10.2.0.10, "fd00:2::10"]}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_match "$(inside one ip route show default)" 'via 10\.1\.0\.1 '
    assert_match "$(inside two ip route show default)" 'via 10\.2\.0\.1 '
    assert_match "$(inside two ip -6 route show default)" 'via fd00:2::1 '
    pings "inside two" 198.51.100.1 || fail "no way out"
    pings "inside two" 2001:db8:ffff::1 || fail "no way out over IPv6"
    pings "inside two" 10.1.0.10 || fail "no way to the other subnet"
    # Moved while it runs.
    sed -i 's/two: .*/two: 10.1.0.20/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_match "$(inside two ip route show default)" 'via 10\.1\.0\.1 '
    pings "inside two" 198.51.100.1 || fail "no way out"
    # Its own is no container's, whichever of them it is.
    sed -i 's/two: .*/two: 10.2.0.1/' "$SPEC"
    exits 65 berth validate "$SPEC"
    assert_match "$stderr" '10.2.0.1 is the address of bridge br0 itself'
}
