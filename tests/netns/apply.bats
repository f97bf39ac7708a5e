#!/usr/bin/env bats
# The main job on a bare host: apply, an empty second plan, every drift named and mended alone, and the way back.
load ../lab/lib

setup() { need_berth; lab_up --inet; workshop; }
teardown() { lab_down; }

netns_workshop() {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts:
	  localhost:
	    bridge: {name: br-containers, address: 10.100.0.1/24, mtu: 1400}
	    nat: {interface: auto}
	    containers:
	      container1: {address: 10.100.0.10, mac: "02:00:00:00:00:10"}
	      container2: {address: 10.100.0.20, ports: [8080:80]}
	END
}

# plan names exactly these objects, one a line, and apply leaves nothing to do.
drifts() {
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(jq -r '.steps[].object' <<<"$output")" "$1" "the drift that is named"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "the workshop: applied, seen by ip and nft, pinged by name and out to the internet" {
    exits 0 berth apply "$SPEC"
    assert_eq "$(host ip -j addr show br-containers | jq -r '.[0].addr_info[] | select(.family=="inet") | "\(.local)/\(.prefixlen)"')" 10.100.0.1/24
    assert_eq "$(host ip -j link show master br-containers | jq -r '.[].ifname' | sort | xargs)" "vb-container1 vb-container2"
    assert_eq "$(inside container1 ip -j route show default | jq -r '.[0].gateway')" 10.100.0.1
    host nft -j list table inet berth | jq -e '[.nftables[] | select(.rule.chain == "src")] | length > 0' >/dev/null
    exits 0 berth run container1 -- ping -c1 -W2 container2
    exits 0 berth run container1 -- ping -c1 -W2 198.51.100.1
    exits 0 berth run container2 -- ping -c1 -W2 container1
    exits 0 berth status -e "$SPEC"
}

@test "a second apply changes nothing: no netlink change, no file, no generation" {
    netns_workshop
    exits 0 traced_berth "$BATS_TEST_TMPDIR/first" apply "$SPEC"
    assert_match "$(changes "$BATS_TEST_TMPDIR/first")" RTM_NEWLINK "the witness itself sees a change"
    assert_match "$(writes "$BATS_TEST_TMPDIR/first")" hosts.berth-new
    nft_watch "$BATS_TEST_TMPDIR/nft"
    exits 0 traced_berth "$BATS_TEST_TMPDIR/trace" apply "$SPEC"
    assert_eq "$(changes "$BATS_TEST_TMPDIR/trace")" ""
    refute_match "$(writes "$BATS_TEST_TMPDIR/trace" | grep -v '/run/berth/lock\|ftruncate')" '[a-z]'
    assert_eq "$(nft_watched "$BATS_TEST_TMPDIR/nft")" 0 "commits by berth"
    nft_watch "$BATS_TEST_TMPDIR/nft"
    host nft flush ruleset
    exits 0 berth apply "$SPEC"
    [[ $(nft_watched "$BATS_TEST_TMPDIR/nft") -gt 0 ]] || fail "the witness itself sees a commit"
}

@test "plan itself changes nothing" {
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 2 berth plan -e "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "destroy leaves the host as it was, byte for byte" {
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "the issue's own drift: link deleted and ruleset flushed are named, and only they are mended" {
    exits 0 berth apply "$SPEC"
    host ip link del vb-container1
    host nft flush ruleset
    drifts "nat tables 'inet berth' and 'bridge berth'
port container1 (vb-container1)"
    exits 0 berth run container1 -- ping -c1 -W2 198.51.100.1
}

@test "drift on the bridge: down, mtu, mac, address, settings" {
    netns_workshop
    exits 0 berth apply "$SPEC"
    host ip link set br-containers down
    drifts "bridge br-containers"
    host ip link set br-containers mtu 1300
    drifts "bridge br-containers"
    host ip link set br-containers address 02:aa:aa:aa:aa:aa
    drifts "bridge br-containers"
    host ip addr del 10.100.0.1/24 dev br-containers
    drifts "address br-containers 10.100.0.1/24"
    host_sh 'echo 1 >/proc/sys/net/ipv6/conf/br-containers/accept_ra'
    drifts "bridge br-containers"
    host_sh 'echo 0 >/proc/sys/net/ipv4/ip_forward'
    drifts "sysctl net.ipv4.ip_forward"
    host ip link del br-containers
    drifts "bridge br-containers
address br-containers 10.100.0.1/24
port container1 (vb-container1)
port container2 (vb-container2)"
    pings "inside container1" 10.100.0.20
}

@test "drift of a container: master, link down, address, route, mac, lo, namespace" {
    netns_workshop
    exits 0 berth apply "$SPEC"
    local port="port container1 (vb-container1)"
    host ip link set vb-container1 nomaster;                        drifts "$port"
    host ip link set vb-container1 down;                            drifts "$port"
    inside container1 ip addr flush dev eth0;                       drifts "$port"
    inside container1 ip route del default;                         drifts "$port"
    inside container1 ip link set eth0 address 02:bb:bb:bb:bb:bb;   drifts "$port"
    inside container1 ip link set eth0 mtu 1280;                    drifts "$port"
    inside container1 ip link set eth0 down;                        drifts "$port"
    inside container1 ip link set lo down;                          drifts "netns container1"
    host ip netns del container1
    wait_for host_sh '! ip link show vb-container1'
    drifts "netns container1
$port"
    pings "inside container1" 198.51.100.1
}

@test "drift of the ruleset: rule deleted, rule added, element gone, element added, policy, chain" {
    netns_workshop
    exits 0 berth apply "$SPEC"
    local nat="nat tables 'inet berth' and 'bridge berth'" handle
    handle=$(host nft -j -a list chain inet berth src | jq '[.nftables[].rule.handle // empty] | last')
    host nft delete rule inet berth src handle "$handle";           drifts "$nat"
    host nft insert rule inet berth pass drop;                      drifts "$nat"
    host nft delete element inet berth any4 '{ tcp . 8080 }';       drifts "$nat"
    host nft add element inet berth bridges '{ "lo" }';             drifts "$nat"
    host nft chain inet berth pass '{ policy drop; }';              drifts "$nat"
    host nft add chain inet berth mine;                             drifts "$nat"
}

@test "a changed default route is drift where the uplink is auto" {
    netns_workshop
    exits 0 berth apply "$SPEC"
    host ip link add eth9 type veth peer name eth9p
    host_sh 'ip link set eth9 up; ip link set eth9p up; ip addr add 192.0.2.2/24 dev eth9; ip route replace default via 192.0.2.1 dev eth9'
    drifts "nat tables 'inet berth' and 'bridge berth'"
    host nft -j list chain inet berth src | jq -e '[.. | strings] | index("eth9") and (index("eth0") | not)' >/dev/null
}

# masqueraded FAMILY: the nets that nft says are masqueraded leaving by eth0.
masqueraded() {
    host nft -j list chain inet berth src | jq -r --arg family "$1" '.nftables[].rule.expr // empty |
        select(any(.[]; .match.right? == "eth0")) | .[].match? | select(.left.payload?.protocol == $family) | .right.prefix |
        "\(.addr)/\(.len)"'
}

@test "a bridge with a dozen subnets: each of them is masqueraded, and undo goes back to all of them" {
    local nets4 nets6
    nets4=$(seq -f '10.100.%g.1/24' 0 11 | paste -sd,) nets6=$(seq -f 'fd00:%g::1/64' 1 10 | paste -sd,)
    spec <<-END
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: [$nets4, "${nets6//,/\", \"}"]}
	    nat: {interface: auto}
	    containers:
	      c: {address: 10.100.11.10, runtime: netns, gateway: 10.100.11.1}
	END
    exits 0 berth apply "$SPEC"
    assert_eq "$(masqueraded ip | sort -V)" "$(seq -f '10.100.%g.0/24' 0 11)"
    assert_eq "$(masqueraded ip6 | sort -V)" "$(seq -f 'fd00:%g::/64' 1 10)"
    pings "inside c" 198.51.100.1
    exits 0 berth plan -e "$SPEC"
    # The table changes, a later step fails: what comes back is the whole of what was there.
    host nft -s list table inet berth >"$BATS_TEST_TMPDIR/before"
    sed -i 's/interface: auto/interface: auto, inbound: open/; /^      c:/s/}$/}\n      d: {address: 10.100.0.10, runtime: netns, mac: "02:00:00:00:00:10"}/' "$SPEC"
    host ip netns add d
    exits 4 berth apply "$SPEC"
    host ip netns del d
    host_sh 'mkdir -p /run/netns && mount -t tmpfs -o ro none /run/netns'
    exits 5 berth apply "$SPEC"
    host nft -s list table inet berth | diff "$BATS_TEST_TMPDIR/before" -
}

@test "an mtu too small for IPv6 is applied where there is none, and taken back" {
    spec <<'END'
version: 1
hosts:
  localhost:
    bridge: {name: br0, address: 10.100.0.1/24, mtu: 1000}
    containers:
      a: {address: 10.100.0.10, runtime: netns}
END
    local mtu
    for mtu in 1000 1500 576 1280; do
        sed -i "s/mtu: [0-9]*/mtu: $mtu/" "$SPEC"
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        assert_eq "$(host cat /sys/class/net/br0/mtu) $(inside a ip -j link show eth0 | jq '.[0].mtu')" "$mtu $mtu"
        pings "inside a" 10.100.0.1
    done
    assert_eq "$(host cat /proc/sys/net/ipv6/conf/br0/accept_ra)" 0
}

@test "changes of the spec are live: address, mac, mtu, ports, isolation; what leaves it is removed" {
    netns_workshop
    exits 0 berth apply "$SPEC"
    sed -i 's/10.100.0.10,/10.100.0.11,/; s/00:10"/00:11"/; s/1400/1350/; s/8080:80/8081:80/; s/10.100.0.20,/10.100.0.20, isolated: true,/' "$SPEC"
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.steps[].effect] | unique | join(" ")')" live
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(inside container1 ip -j addr show eth0 | jq -r '.[0] | "\(.address) \(.mtu) \(.addr_info[0].local)"')" "02:00:00:00:00:11 1350 10.100.0.11"
    pings "inside container1" 198.51.100.1
    no_ping "inside container1" 10.100.0.20
    sed -i '/container2/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host ip netns list | awk '{print $1}')" container1
}

@test "a bridge keeps its mtu when its last port goes, and follows none" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts: {localhost: {bridge: {name: br0, address: 10.100.0.1/24, mtu: 9000}, containers: {web: 10.100.0.10}}}
	END
    exits 0 berth apply "$SPEC"
    assert_eq "$(inside web ip -j link show eth0 | jq -r ".[0].mtu")" 9000
    exits 0 berth stop -f "$SPEC" web
    exits 0 berth plan -e "$SPEC"
    sed -i 's/, containers.*}}}/}}/' "$SPEC"
    exits 0 berth apply --allow-deletes 1 "$SPEC"
    assert_eq "$(host cat /sys/class/net/br0/mtu)" 9000
    sed -i 's/9000/1400/' "$SPEC"
    exits 0 berth apply "$SPEC"
    host_sh 'ip link add p0 type veth peer name p1 && ip link set p0 master br0 && ip link set p0 nomaster && ip link del p0'
    exits 0 berth plan -e "$SPEC"
}

@test "fifty namespaces, as in the example; then ten more bridges" {
    exits 0 berth apply "$REPO/examples/lab-50.yaml"
    assert_eq "$(host ip netns list | wc -l)" 50
    exits 0 berth plan -e "$REPO/examples/lab-50.yaml"
    exits 0 berth destroy --yes "$REPO/examples/lab-50.yaml"
    assert_eq "$(host ip netns list | wc -l)" 0
    exits 0 berth apply "$REPO/examples/many-bridges.yaml"
    exits 0 berth plan -e "$REPO/examples/many-bridges.yaml"
}
