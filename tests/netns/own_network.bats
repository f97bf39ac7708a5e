#!/usr/bin/env bats
# network_admin: true in a user namespace: the container owns its network, and berth makes that network at each start.
# Witnesses: ip and nft, inside and outside.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up --inet
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv
        mkdir -p /srv/root/usr/bin /srv/root/usr/lib /srv/root/etc && cp "$(command -v busybox)" /srv/root/usr/bin/busybox
        for l in sh sleep ls id cat ip nc ping; do ln -s busybox /srv/root/usr/bin/$l; done
        ln -s usr/bin /srv/root/bin; echo root:x:0:0::/root:/bin/sh >/srv/root/etc/passwd'
}
teardown() { lab_down; }

containers() {
    SPEC=$BATS_TEST_TMPDIR/berth.yaml
    { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: br0, address: [10.100.0.1/24, "fd00:a::1/64"]}\n    nat: {interface: auto}\n    containers:\n'
      sed 's/^/      /'; } >"$SPEC"
}
run_in() { local c=$1; shift; host "$BERTH" run -f "$SPEC" "$c" -- "$@"; }
leader() { host_sh 'pgrep -P "$(pgrep -of "[s]ystemd-nspawn.*-M $1 ")"' "$1"; }
first_id() { host awk 'NR == 1 {print $2}' "/proc/$(leader "$1")/uid_map"; }
addresses() { inside "$1" ip -j address show eth0 | jq -c '[.[].addr_info[] | select(.scope == "global") | .local]'; }
veths() { host ip -j link show type veth | jq -c '[.[] | select(.ifname | startswith("vb-")) | .ifname]'; }

@test "the network is complete at the first instruction, and root inside has all rights over it and none on the host" {
    containers <<-'END'
	a: {address: [10.100.0.10, "fd00:a::10"], ports: [8080:80], nspawn: {root: /srv/root, network_admin: true, command: [/bin/sh, -c, 'exec >/seen 2>&1; ip -4 addr show eth0; ip -6 addr show eth0; ip route; for f in /proc/self/fd/*; do echo $f; done; cat /proc/self/environ; exec sleep 9999']}}
	h: {address: 10.100.0.11, nspawn: {network_admin: true}}
	n: {address: 10.100.0.12, runtime: nspawn}
	END
    exits 0 berth apply "$SPEC"
    assert_match "$output" 'a'
    exits 0 berth plan -e "$SPEC"
    output=$(host cat /srv/root/seen | tr '\0' '\n')
    assert_match "$output" 'inet 10.100.0.10/24'
    assert_match "$output" 'inet6 fd00:a::10/64'
    assert_match "$output" 'default via 10.100.0.1'
    refute_match "$output" LISTEN_
    # The shell opens nothing that it did not get: descriptors above 2 are the glob's own.
    refute_match "$output" '/fd/4'
    [[ $(first_id a) -ge 65536 && $(first_id h) -ge 65536 ]] || fail "no user namespace"
    # The namespace belongs to the container, and bears its name.
    assert_eq "$(host readlink "/proc/$(leader a)/ns/net")" "$(host stat -Lc 'net:[%i]' /run/netns/a)"
    exits 0 run_in a ip link set eth0 mtu 1400
    exits 0 run_in a ip link set eth0 mtu 1500
    exits 0 run_in a ip link add d0 type veth peer name d1
    exits 0 run_in h nft add table inet mine
    assert_match "$(inside h nft list tables)" 'table inet mine'
    refute_match "$(host nft list tables)" 'inet mine'
    # Another container has no such right.
    exits 2 run_in n ip link set eth0 mtu 1400
    # Nothing of the host's: its links, its settings, its program.
    exits 1 run_in a sh -c 'echo 1 >/proc/sys/kernel/panic'
    assert_eq "$(host_sh 'ip link show br0 | grep -c UP')" 1
    exits 0 run_in n ping -q -c1 -W2 10.100.0.10
    exits 0 run_in a ping -q -c1 -W2 198.51.100.1
}

@test "the port is like any other: mapped, checked for its source, repaired, moved live, and gone with its container" {
    containers <<-'END'
	a: {address: 10.100.0.10, ports: [8080:80], nspawn: {root: /srv/root, network_admin: true, command: [/bin/sh, -c, 'while :; do echo at-port-80 | nc -l -p 80; done']}}
	b: {address: 10.100.0.11, nspawn: {root: /srv/root2, network_admin: true, command: [/bin/sleep, "9999"]}}
	END
    host cp -a /srv/root /srv/root2
    exits 0 berth apply "$SPEC"
    wait_for listening 'inside a' tcp 80
    assert_eq "$(ask inet tcp 203.0.113.2 8080)" at-port-80
    local before
    before=$(leader a)
    # An address that it gives itself does not get past the bridge.
    exits 0 run_in b ip address add 10.100.0.77/24 dev eth0
    exits 1 run_in b ping -q -c1 -W1 -I 10.100.0.77 10.100.0.1
    # Its kernel asks under that address for the gateway until it gives up.
    wait_for run_in b ping -q -c1 -W1 -I 10.100.0.11 10.100.0.1
    # Drift, made inside and outside.
    exits 0 run_in a ip address flush dev eth0
    host ip link set vb-b nomaster
    exits 2 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    assert_match "$(host ip -j link show vb-b)" '"master":"br0"'
    exits 0 run_in a ip link del eth0
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    # Another address: live, and the next start has it too.
    sed -i 's/10.100.0.10/10.100.0.20/' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.20"]'
    assert_eq "$(leader a)" "$before"
    exits 0 berth restart a -f "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.20"]'
    [[ $(leader a) != "$before" ]] || fail "no restart"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth stop a -f "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host ls /run/netns | xargs) $(veths)" 'b ["vb-b"]'
    exits 0 berth start a -f "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth status "$SPEC"
    exits 0 berth list -f "$SPEC"
    assert_match "$output" '10.100.0.20'
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host ls -A /run/netns | xargs) $(veths)" ' []'
    assert_eq "$(host_sh 'pgrep -fc "[b]erth-network" || :')" 0
}

@test "a container that ends takes its name and link along, and comes back whole" {
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, network_admin: true, command: [/bin/sleep, "9999"]}}'
    exits 0 berth apply "$SPEC"
    gone() { [[ -z $(host ls -A /run/netns) && $(veths) == '[]' ]]; }
    host_sh 'kill -9 "$(pgrep -P "$1")"' "$(leader a)"
    wait_for gone
    exits 2 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    # All of it is killed at once: what is left over is no obstacle.
    host_sh 'pkill -9 -f "[b]erth-network start a"; pkill -9 -f "[s]ystemd-nspawn.*-M a "; while pgrep -f "[s]ystemd-nspawn.*-M a " >/dev/null; do :; done'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    host ip netns delete a
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "network_admin comes and goes, and so does the user namespace" {
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"]}}'
    local on=', network_admin: true}}' none=', network_admin: true, private_users: none}}'
    exits 0 berth apply "$SPEC"
    exits 2 run_in a ip link set eth0 mtu 1400
    local way
    for way in "$on" '}}' "$none" "$on" "$none" '}}'; do
        sed -i 's/"9999"\].*/"9999"]/' "$SPEC"
        sed -i "s/\"9999\"\].*/&$way/" "$SPEC"
        exits 0 berth apply "$SPEC"
        exits 0 berth plan -e "$SPEC"
        assert_eq "$(addresses a)" '["10.100.0.10"]'
        assert_eq "$(host readlink "/proc/$(leader a)/ns/net")" "$(host stat -Lc 'net:[%i]' /run/netns/a)"
        if [[ $way == '}}' ]]; then exits 2 run_in a ip link set eth0 mtu 1400; else exits 0 run_in a ip link set eth0 mtu 1400; exits 0 run_in a ip link set eth0 mtu 1500; fi
    done
    # As another runtime.
    sed -i 's/nspawn: .*/runtime: netns}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
}

@test "a file system without idmapped mounts: as under none, and what comes or goes restarts nobody" {
    host_sh 'mkdir -p /mine && cp -a /srv/root /mine/root; mkdir -p /srv/data'
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, network_admin: true, binds: ["/srv/data:/data"], command: [/bin/sleep, "9999"]}}'
    exits 0 berth apply "$SPEC"
    local before
    before=$(leader a)
    host_sh 'mkdir -p /srv/data/sub && mount -t tmpfs tmpfs /srv/data/sub'
    exits 0 berth plan "$SPEC"
    assert_match "$output" 'nothing is interrupted'
    assert_match "$output" 'a: next start: no user namespace'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a)" "$before"
    exits 0 berth restart a -f "$SPEC"
    assert_eq "$(first_id a)" 0
    exits 0 berth plan -e "$SPEC"
    exits 0 run_in a ip link set eth0 mtu 1400
    exits 0 run_in a ip link set eth0 mtu 1500
    host umount /srv/data/sub
    before=$(leader a)
    exits 0 berth plan "$SPEC"
    assert_match "$output" 'nothing is interrupted'
    assert_match "$output" 'a: next start: user namespace'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a)" "$before"
    exits 0 berth restart a -f "$SPEC"
    [[ $(first_id a) != 0 ]] || fail "no user namespace"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    # Whatever restarts it for another reason takes the difference along.
    host mount -t tmpfs tmpfs /srv/data/sub
    exits 0 berth apply "$SPEC"
    sed -i 's/9999/9998/' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(first_id a)" 0
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(addresses a)" '["10.100.0.10"]'
    exits 0 berth stop a -f "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

@test "what is not berth's stays: a link or a namespace of that name, and the start says so" {
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, network_admin: true, command: [/bin/sleep, "9999"]}}'
    host ip netns add a
    exits 4 berth apply "$SPEC"
    host ip netns delete a
    host ip link add vb-a type bridge
    exits 4 berth apply "$SPEC"
    host ip link del vb-a
    exits 0 berth apply "$SPEC"
    exits 0 berth stop a -f "$SPEC"
    # The start itself looks once more.
    host ip link add vb-a type bridge
    apart '"$1" start a -f "$2"' "$BERTH" "$SPEC" || true
    assert_match "$(host ip -d -j link show vb-a)" bridge
}

@test "a container that takes its eth0 away without pause keeps no other from what the spec says, and is named" {
    containers <<-'END'
	a: {address: 10.100.0.10, nspawn: {root: /srv/root, network_admin: true, command: [/bin/sh, -c, 'while ! [ -e /go ]; do sleep 0.1; done; while :; do ip link del eth0; done 2>/dev/null']}}
	n: {address: 10.100.0.12, runtime: netns}
	END
    exits 0 berth apply "$SPEC"
    host touch /srv/root/go
    gone() { ! host ip link show vb-a >/dev/null 2>&1; }
    wait_for gone
    # Where an apply and its check come between two removals, it succeeds.
    local round code alone=0
    for round in 1 2 3 4 5 6 7 8; do
        if ((round % 2)); then echo '      fresh: {address: 10.100.0.13, runtime: netns}' >>"$SPEC"; else sed -i /fresh:/d "$SPEC"; fi
        code=0
        host "$BERTH" apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/said" || code=$?
        if ((round % 2)); then exits 0 inside n ping -q -c1 -W2 10.100.0.13; else exits 1 host test -e /run/netns/fresh; fi
        [[ $code == 0 || $code == 6 ]] || fail "round $round: exit $code: $(<"$BATS_TEST_TMPDIR/said")"
        [[ $code == 6 ]] || continue
        alone=$((alone + 1))
        assert_match "$(<"$BATS_TEST_TMPDIR/said")" 'berth.yaml:[0-9]+:[0-9]+: port a \(vb-a\).*berth restart a'
        assert_match "$(<"$BATS_TEST_TMPDIR/said")" 'nothing was undone'
    done
    echo "# its port failed alone in $alone of 8 applies" >&3
    host rm /srv/root/go
    exits 0 berth restart a -f "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}
