#!/usr/bin/env bats
# What berth did not make survives everything; what stands in its way is named, and taken over only when asked.
load ../lab/lib

setup() { need_berth; lab_up --inet; workshop; }
teardown() { lab_down; }

zoo() {
    host_sh '
        ip link add br-other type bridge && ip link set br-other addrgenmode none && ip addr add 192.0.2.1/25 dev br-other && ip link set br-other up
        ip link add vb-foreign type veth peer name foreign-peer && for l in vb-foreign foreign-peer; do ip link set $l addrgenmode none; done
        ip link set vb-foreign master br-other up && ip link set foreign-peer up
        ip netns add other && ip netns exec other ip link set lo up
        ip route add 198.51.100.128/25 via 203.0.113.1 && ip rule add pref 77 from 192.0.2.0/25 lookup 77
        nft add table inet docker; nft add chain inet docker fwd2 "{ type filter hook forward priority 5; }"
        nft add table ip nixos-nat; nft add chain ip nixos-nat post "{ type nat hook postrouting priority 110; }"
        echo "192.0.2.77 someone" >>/etc/hosts; mkdir -p /etc/netns/other; echo x >/etc/netns/other/hosts
        echo 1 >/proc/sys/net/ipv4/conf/br-other/forwarding'
    wait_for host_sh 'ip -br link show br-other | grep -q UP; ! ip link | grep -q "UNKNOWN.*br\|NO-CARRIER"; bridge link | grep -q forwarding'
}

@test "a zoo of foreign links, addresses, routes, rules, tables, names and settings survives apply and destroy" {
    zoo
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply "$SPEC"
    host nft list table inet docker >/dev/null
    host ip link show vb-foreign >/dev/null
    assert_eq "$(host cat /etc/netns/other/hosts)" x
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "an empty /etc/netns, an empty /etc/hosts: there before, there afterwards; not there before, gone afterwards" {
    local before=$BATS_TEST_TMPDIR/before way
    for way in 'mkdir -p /etc/netns; >/etc/hosts' 'chmod 700 /etc/netns; rm /etc/hosts' 'rmdir /etc/netns'; do
        host_sh "$way"
        fingerprint >"$before"
        exits 0 berth apply "$SPEC"
        assert_match "$(host cat /etc/hosts)" $'10.100.0.10\tcontainer1'
        exits 0 berth apply "$SPEC"
        sed 's/10.100.0.20/10.100.0.21/' "$SPEC" >"$BATS_TEST_TMPDIR/other.yaml"
        exits 0 berth apply "$BATS_TEST_TMPDIR/other.yaml"
        exits 0 berth plan -e "$BATS_TEST_TMPDIR/other.yaml"
        exits 0 berth destroy --yes "$SPEC"
        same_facts "$before"
    done
    # What others have put into either meanwhile keeps it.
    exits 0 berth apply "$SPEC"
    host_sh 'mkdir /etc/netns/other; echo 192.0.2.7 theirs >>/etc/hosts'
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host ls -A /etc/netns)" other
    assert_eq "$(host cat /etc/hosts)" "192.0.2.7 theirs"
}

@test "an apply that fails leaves no /etc/hosts and no /etc/netns behind" {
    host_sh 'rm /etc/hosts; mkdir -p /run/netns; mount -t tmpfs -o ro none /run/netns'
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 5 berth apply "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "forwarding that was on before stays on" {
    host_sh 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "an address that somebody put on our bridge is kept, told, and keeps the bridge" {
    exits 0 berth apply "$SPEC"
    host ip addr add 192.0.2.5/24 dev br-containers
    exits 0 berth plan -e --json "$SPEC"
    assert_match "$(json '.notes[].text')" 192.0.2.5
    exits 4 berth destroy --yes "$SPEC"
    assert_match "$stderr" 192.0.2.5
    host ip addr del 192.0.2.5/24 dev br-containers
    exits 0 berth destroy --yes "$SPEC"
}

@test "a foreign bridge that differs is a conflict; one that is equal is used and left; --adopt takes it over" {
    host_sh 'ip link add br-containers type bridge; ip link set br-containers up'
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "workshop-6.yaml:5:.*10.100.0.1/24.*did not make"
    assert_eq "$(host ip netns list)" ""
    host ip addr add 10.100.0.1/24 dev br-containers
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    host ip -br addr show br-containers | grep -q 10.100.0.1/24
    exits 0 berth apply --adopt "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    # Adopted, and given back.
    assert_eq "$(host ip -j addr show br-containers | jq -r '.[0] | "\(.group // "default") \(.addr_info[] | select(.family == "inet") | "\(.local) \(.protocol)")"')" \
        "default 10.100.0.1 null"
}

@test "a foreign link, an alternative name, a foreign namespace under our names: named, exit 4, nothing changed" {
    spec < <(sed 's/container1: 10.100.0.10/container1: {address: 10.100.0.10, runtime: netns}/' "$SPEC")
    host ip link add vb-container1 type veth peer name p1
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "vb-container1.*did not make"
    same_facts "$BATS_TEST_TMPDIR/before"
    host_sh 'ip link set vb-container1 name p2; ip link property add dev p2 altname vb-container1'
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "alternative name of link p2"
    host ip link del p2
    host ip netns add container1
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "namespace of that name exists"
    host ip netns del container1
    exits 0 berth apply "$SPEC"
}

@test "--adopt takes over what can be taken over, and deletes nothing: a link that is no bridge, half a pair, another's eth0" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: netns}}
	hosts: {localhost: {bridge: {name: up0, address: 10.100.0.1/24}, containers: {web: 10.100.0.10}}}
	END
    host_sh 'ip link add up0 type veth peer name up0p; ip link set up0 addrgenmode none up; ip link set up0p addrgenmode none up; ip addr add 192.0.2.1/24 dev up0'
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 4 berth apply --adopt "$SPEC"
    assert_match "$stderr" "bridge up0: a link of that name exists and is no bridge"
    same_facts "$BATS_TEST_TMPDIR/before"
    host ip link del up0
    host ip link add vb-web type veth peer name p1
    host ip addr add 192.0.2.1/24 dev p1
    fingerprint >"$BATS_TEST_TMPDIR/before"
    exits 4 berth apply --adopt "$SPEC"
    assert_match "$stderr" "link 'vb-web'.*did not make it"
    same_facts "$BATS_TEST_TMPDIR/before"
    host_sh 'ip link del vb-web; ip link add vb-web type bridge'
    exits 4 berth apply --adopt "$SPEC"
    host ip -br link show type bridge | grep -q vb-web
    host_sh 'ip link del vb-web; ip netns add web; ip link add other type veth peer name eth0 netns web'
    exits 4 berth apply --adopt "$SPEC"
    host ip link show other >/dev/null
}

@test "names in /run/netns that are no namespaces are in nobody's way, but under a name that is wanted" {
    exits 0 berth apply "$SPEC"
    host_sh 'ln -s /proc/1/ns/net /run/netns/link; ln -s nowhere /run/netns/dangling; ln -s /dev/null /run/netns/null; mkdir /run/netns/dir
        echo text >/run/netns/file; mkfifo /run/netns/fifo'
    exits 0 berth plan -e "$SPEC"
    exits 0 berth status -e "$SPEC"
    exits 0 berth list -f "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'cd /run/netns; echo *')" "dangling dir fifo file link null"
    sed 's/container1:/link:/; s/container2:/dir:/' "$SPEC" | spec wanted.yaml
    exits 4 berth apply "$BATS_TEST_TMPDIR/wanted.yaml"
    assert_match "$stderr" "'/run/netns/(link|dir)' is there, and is no network namespace"
    exits 4 berth apply --adopt "$BATS_TEST_TMPDIR/wanted.yaml"
    exits 0 host test -L /run/netns/link
}

@test "a route and an address that a container was given by hand stay" {
    exits 0 berth apply "$SPEC"
    inside container1 ip addr add 192.0.2.50/32 dev eth0
    inside container1 ip route add 192.0.2.64/26 via 10.100.0.20
    exits 0 berth plan -e "$SPEC"
    inside container1 ip link set eth0 address 02:cc:cc:cc:cc:cc
    exits 0 berth apply "$SPEC"
    inside container1 ip addr show eth0 | grep -q 192.0.2.50
    inside container1 ip route | grep -q 192.0.2.64/26
}

@test "a torn block in /etc/hosts is one conflict, named; destroy does all else and says what it left" {
    exits 0 berth apply "$SPEC"
    host cp /etc/hosts /etc/hosts.whole
    host_sh 'grep -v "^# END berth" /etc/hosts.whole >/etc/hosts'
    exits 4 berth plan --json "$SPEC"
    assert_eq "$(json '[.conflicts[].object] | join(",")')" "names /etc/hosts"
    assert_match "$(json '.conflicts[].hint')" "put the last line back"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "names /etc/hosts: .*does not end"
    exits 4 berth apply --adopt "$SPEC"
    exits 0 berth status "$SPEC"
    assert_match "$output" "! names /etc/hosts"
    exits 0 berth destroy --dry-run "$SPEC"
    assert_match "$output" "1 in the way"
    exits 6 berth destroy --yes "$SPEC"
    assert_match "$stderr" "names /etc/hosts: .*does not end"
    assert_match "$stderr" "Removed [0-9]+ steps; what is named above is left"
    assert_eq "$(host_sh 'ip -br link show type bridge; ip netns list; nft list tables | grep berth; ls /run/berth/hosts 2>/dev/null')" ""
    # Nothing else is left to do: refused, as it was. What it waits for, and once more.
    exits 4 berth destroy --yes "$SPEC"
    host_sh 'cat /etc/hosts.whole >/etc/hosts'
    exits 0 berth destroy --yes "$SPEC"
    refute_match "$(host cat /etc/hosts)" berth
}

@test "/etc/hosts that is no file is a conflict where names are wanted, and in nobody's way where they are not" {
    host_sh 'mv /etc/hosts /etc/hosts.file; mkdir /etc/hosts'
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "names /etc/hosts: .*not a regular file"
    assert_match "$stderr" "names: none"
    host_sh 'rmdir /etc/hosts; cp /etc/hosts.file /etc/hosts'
    exits 0 berth apply "$SPEC"
    host_sh 'rm /etc/hosts; mkdir /etc/hosts'
    exits 4 berth plan "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'ip -br link show type bridge; ip netns list')" ""
}
