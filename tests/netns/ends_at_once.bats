#!/usr/bin/env bats
# A command that ends at once is no running container: every apply says so, with its status and what it said.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up
    SPEC=$BATS_TEST_TMPDIR/berth.yaml
}
teardown() { lab_down; }

with_command() {
    cat >"$SPEC" <<-END
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      a: {address: 10.100.0.10, runtime: nspawn, nspawn: {command: [sh, -c, '$1']}}
	END
}

@test "a command that ends with 0 at once fails the apply each time, with its status and its last lines" {
    with_command 'echo hello; echo bye; exit 0'
    for _ in 1 2 3 4 5; do
        exits 5 berth apply "$SPEC"
        assert_match "$stderr" "cannot start container 'a': its command ended, status 0"$'\n *. hello\n *. bye(\n|$)'
        exits 1 host test -e /run/netns/a
    done
    with_command 'exit 7'
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" "cannot start container 'a': its command ended, status 7"
    # Busy for a while, then gone.
    with_command 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.05; exit 3'
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" "its command ended, status 3"
    # One that goes on.
    with_command 'echo up; exec sleep 9999'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth run a -- true
}
