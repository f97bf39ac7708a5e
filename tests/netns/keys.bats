#!/usr/bin/env bats
# What a spec can say no to: names, a gateway, running. Each with both runtimes that need no NixOS, and seen with other programs' eyes.
load ../lab/lib

setup() { need_berth; lab_up --inet; }
teardown() { lab_down; }
host_has_nspawn() { command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"; }

# with RUNTIME HOST-KEYS CONTAINER-KEYS: a and b on br0, where a has these keys.
with() {
    spec <<-END
	version: 1
	defaults: {container: {runtime: $1}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    nameservers: [192.0.2.53]$2
	    containers:
	      a: {address: 10.100.0.10$3}
	      b: 10.100.0.20
	END
}

applied() {
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
}

# drifts OBJECTS: plan names exactly these, one a line, and apply leaves nothing to do.
drifts() {
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(jq -r '.steps[].object' <<<"$output")" "$1" "the drift that is named"
    applied
}

sum_of_hosts() { host sha256sum /etc/hosts; }

@test "names: none, netns: no hosts file has a name, and one that gets in goes" {
    local before
    before=$(sum_of_hosts)
    with netns $'\n    names: none'
    applied
    assert_eq "$(sum_of_hosts)" "$before"
    assert_eq "$(host_sh 'ls -A /etc/netns /run/berth/hosts 2>/dev/null || :')" ""
    exits 2 host ip netns exec a getent hosts b
    exits 1 berth run a -- grep -w b /etc/hosts
    pings "inside a" 10.100.0.20
    # Lines between our marks, by somebody's hand.
    host_sh 'printf "# BEGIN berth (made from the spec: edits inside are undone)\n10.100.0.20\tb\n# END berth\n" >>/etc/hosts'
    assert_eq "$(host getent hosts b | awk '{print $1}')" 10.100.0.20
    drifts "names /etc/hosts"
    assert_eq "$(sum_of_hosts)" "$before"
    # Names that were there go when they are no longer wanted.
    with netns
    applied
    assert_eq "$(host ip netns exec a getent hosts b | awk '{print $1}')" 10.100.0.20
    with netns $'\n    names: none'
    applied
    assert_eq "$(sum_of_hosts)" "$before"
    exits 2 host ip netns exec a getent hosts b
}

@test "names: none, nspawn: resolv.conf and hostname are kept, hosts files are not" {
    host_has_nspawn
    local before
    before=$(sum_of_hosts)
    with nspawn $'\n    names: none'
    applied
    assert_eq "$(sum_of_hosts)" "$before"
    assert_eq "$(host_sh 'ls -A /etc/netns /run/berth/hosts 2>/dev/null || :')" ""
    exits 0 berth run a -- sh -c 'grep nameserver /etc/resolv.conf; hostname; getent hosts b || echo nobody'
    assert_eq "$output" $'nameserver 192.0.2.53\na\nnobody'
    pings "inside a" 10.100.0.20
    host_sh 'echo nameserver 203.0.113.99 >/run/berth/c/a/ns/resolv.conf'
    drifts "names of a"
    assert_eq "$(berth run a -- grep nameserver /etc/resolv.conf)" "nameserver 192.0.2.53"
    assert_eq "$(sum_of_hosts)" "$before"
}

no_gateway() {
    with "$1" '' ', gateway: none'
    applied
    assert_eq "$(inside a ip route show default)" ""
    assert_eq "$(inside b ip -j route show default | jq -r '.[].gateway')" 10.100.0.1
    pings "inside a" 10.100.0.20
    pings "inside a" 10.100.0.1
    no_ping "inside a" 198.51.100.1
    pings "inside b" 198.51.100.1
    # A route with our mark is not wanted; an address that is gone comes back without one.
    inside a ip route add default via 10.100.0.1 proto 190
    drifts "port a (vb-a)"
    assert_eq "$(inside a ip route show default)" ""
    inside a ip addr flush dev eth0
    drifts "port a (vb-a)"
    assert_eq "$(inside a ip route show default)" ""
    pings "inside a" 10.100.0.20
    # There and back.
    with "$1"
    applied
    pings "inside a" 198.51.100.1
    with "$1" '' ', gateway: none'
    applied
    assert_eq "$(inside a ip route show default)" ""
}

@test "gateway: none, netns" { no_gateway netns; }
@test "gateway: none, nspawn" { host_has_nspawn; no_gateway nspawn; }

@test "state: stopped, netns: there is no such namespace, and one that is made goes" {
    with netns '' ', state: stopped'
    applied
    assert_eq "$(host ip netns list | awk '{print $1}')" b
    refute_match "$(host ip -br link)" vb-a
    exits 4 berth start a -f "$SPEC"
    assert_match "$stderr" 'the spec says that container a is stopped'
    with netns
    applied
    pings "inside b" 10.100.0.10
    with netns '' ', state: stopped'
    drifts 'port a (vb-a)
netns a'
    assert_eq "$(host ip netns list | awk '{print $1}')" b
    refute_match "$(host ip -br link)" vb-a
    no_ping "inside b" 10.100.0.10
    assert_eq "$(berth list --json -f "$SPEC" | jq -r '.containers[] | "\(.name) \(.state) \(.sync)"')" $'a stopped in sync\nb running in sync'
}

@test "state: stopped, nspawn: no process of it, and one that was started ends" {
    host_has_nspawn
    with nspawn '' ', state: stopped'
    applied
    assert_eq "$(host_sh 'pgrep -fc "[s]ystemd-nspawn.*-M a" || :')" 0
    assert_eq "$(host_sh 'pgrep -fc "[s]ystemd-nspawn.*-M b" || :')" 1
    exits 1 berth run a -- true
    exits 4 berth start a -f "$SPEC"
    with nspawn
    applied
    pings "inside b" 10.100.0.10
    with nspawn '' ', state: stopped'
    exits 2 berth plan -e --json "$SPEC"
    assert_match "$(json '.steps[].object')" 'run a'
    applied
    assert_eq "$(host_sh 'pgrep -fc "[s]ystemd-nspawn.*-M a" || :')" 0
    assert_eq "$(host find /sys/fs/cgroup -path '*berth/a/*' -name cgroup.procs -exec cat {} +)" ""
    assert_eq "$(berth list --json -f "$SPEC" | jq -r '.containers[] | "\(.name) \(.state) \(.sync)"')" $'a stopped in sync\nb running in sync'
}
