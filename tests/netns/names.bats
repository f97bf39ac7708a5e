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

# lease NAME UID [SECONDS]: ask, in the container with this user id, for a read lease on /etc/hosts,
# and keep it though the kernel asks for it back. Prints "won", or why there is none.
lease() {
    berth run "$1" -- perl -e '
        $SIG{IO} = "IGNORE"; $> = $ARGV[0]; $| = 1;
        open my $f, "<", "/etc/hosts" or die;
        print fcntl($f, 1024, 0) ? "won\n" : "$!\n"; sleep $ARGV[1]' "$2" "${3-0}"
}

@test "a lease on a container's /etc/hosts stops no change of names" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    three() {
        spec <<-END
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      same: {address: 10.100.0.10, runtime: nspawn, nspawn: {root: host, command: [sleep, infinity], private_users: identity}}
	      none: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: host, command: [sleep, infinity], private_users: none}}
	      $1: {address: 10.100.0.30, runtime: netns}
	END
        exits 0 berth apply --allow-deletes 9 "$SPEC"
    }
    local inode owner
    three b
    inode=$(host stat -c %i /run/berth/hosts/br0)
    owner=$(host stat -c %u /run/berth/hosts/br0)
    for name in same none; do
        exits 0 lease "$name" 0
        assert_eq "$output" "Permission denied"
    done
    three c     # the same file has the new text
    assert_eq "$(host stat -c %i /run/berth/hosts/br0)" "$inode"
    for name in same none; do
        exits 0 berth run "$name" -- cat /etc/hosts
        assert_match "$output" "10.100.0.30[[:space:]]+c"
    done
    # Without a user namespace every id is within reach. The error says what is in the way.
    lease none "$owner" 60 >"$BATS_TEST_TMPDIR/won" 3>&- {LAB_LIFE}>&- &
    wait_for grep -q won "$BATS_TEST_TMPDIR/won"
    sed -i 's/ c: {/ d: {/' "$SPEC"
    exits 5 berth apply --allow-deletes 9 "$SPEC"
    assert_match "$stderr" "cannot write '/run/berth/hosts/br0': a process keeps a lease on it"
    exits 0 berth stop -f "$SPEC" none
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    exits 0 berth run same -- cat /etc/hosts
    assert_match "$output" "10.100.0.30[[:space:]]+d"
}
