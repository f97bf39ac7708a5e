#!/usr/bin/env bats
# Names as programs inside a container resolve them.
load ../lab/lib

setup() { need_berth; lab_up; }
teardown() { lab_down; }

@test "a host-root container resolves a name to its addresses of both families" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
	    containers:
	      a: {address: [10.100.0.10, "fd00:100::10"], runtime: nspawn, nspawn: {root: host, command: [sleep, infinity]}}
	      b: {address: [10.100.0.20, "fd00:100::20"], runtime: netns}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth run a -- getent ahosts b
    assert_eq "$(awk '$2 == "STREAM" { print $1 }' <<<"$output" | sort | xargs)" "10.100.0.20 fd00:100::20"
    exits 0 berth run a -- getent ahostsv4 b
    assert_match "$output" 10.100.0.20
    exits 0 berth run a -- cat /etc/host.conf
    assert_eq "$output" "multi on"
}
