#!/usr/bin/env bats
# Work that takes over a second says what it does, on a terminal alone.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    command -v cc >/dev/null || skip "needs a compiler"
    lab_up
    local program=$BATS_FILE_TMPDIR/terminal
    if [[ ! -e $program ]]; then cc -O1 -static -o "$program" "$REPO/tests/netns/terminal.c"; fi
    host install -m 755 "$program" /srv/terminal
}
teardown() { lab_down; }

# A tar whose unpacking lasts until /srv/go is written: its bytes come out of a pipe.
slow_tar() {
    host_sh 'mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc; cp "$(command -v busybox)" /srv/root/bin/busybox; ln -s busybox /srv/root/bin/sleep
        tar -C /srv/root -cf /srv/root.tar .'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      tar: {address: 10.100.0.30, runtime: nspawn, nspawn: {root: /srv/root.tar, command: [/bin/sleep, "9999"]}}
	END
    # On this host tar goes on when the test says so.
    host_sh 'cp "$(command -v tar)" /srv/tar.real
        printf "#!/bin/sh\n/srv/tar.real \"\$@\" || exit\nuntil [ -e /srv/go ]; do sleep 0.1; done\n" >/srv/tar.slow; chmod 755 /srv/tar.slow
        mount --bind /srv/tar.slow "$(readlink -f "$(command -v tar)")"'
}

@test "unpacking a tar: the terminal names the step and counts seconds; a pipe and --quiet get nothing" {
    slow_tar
    exits 0 host /srv/terminal -w 'root tar  2 s' -s $'\n' -- bash -c "'$BERTH' apply '$SPEC' & read; touch /srv/go; wait \$!"
    # As soon as it is done the line of the plan replaces it, with its time; later steps follow.
    assert_match "$output" $'\r\e\\[K  ok \\+ root tar +missing +berth.yaml:6  [2-9][0-9]*\\.[0-9] s.*ok \\+ run tar .*Applied'
    assert_eq "$(grep -c 'ok + root tar' <<<"$output")" 1 "lines of a step"
    host_sh 'rm -rf /srv/go /var/lib/berth/roots'
    exits 0 berth destroy --yes "$SPEC"
    # Where nobody looks, nothing is shown: --quiet, and what is no terminal.
    exits 0 host /srv/terminal -s $'\n' -- bash -c "'$BERTH' apply --quiet '$SPEC' & read; sleep 1.5; touch /srv/go; wait \$!"
    refute_match "$output" "[0-9] s"
    host_sh 'rm -rf /srv/go /var/lib/berth/roots'
    exits 0 berth destroy --yes "$SPEC"
    exits 0 host_sh '"$1" apply "$2" & sleep 1.5; touch /srv/go; wait $!' "$BERTH" "$SPEC"
    refute_match "$stderr" "[0-9] s|root tar"
}

@test "backup and restore: the terminal says what goes on, and keeps nothing of it" {
    slow_tar
    host touch /srv/go
    exits 0 berth apply "$SPEC"
    host_sh 'head -c 30000000 /dev/urandom >/var/lib/berth/roots/tar/data'
    # The archive program waits, as it would for a slow disk.
    host_sh 'p=${1%/*}/berth-archive; cp "$p" /srv/archive.real
        printf "#!/bin/sh\nsleep 1.6\nexec /srv/archive.real \"\$@\"\n" >/srv/archive.slow; chmod 755 /srv/archive.slow; mount --bind /srv/archive.slow "$p"' "$BERTH"
    exits 0 host /srv/terminal -w 'packing the files  1 s' -w 'reading the backup back  1 s' -- "$BERTH" backup -f "$SPEC" tar /srv/b
    assert_match "$output" $'\r\033\\[KBacked up'
    exits 0 host /srv/terminal -w 'checking the backup  1 s' -w 'unpacking the backup  1 s' -- "$BERTH" restore -f "$SPEC" --force /srv/b
    exits 0 berth status -e "$SPEC"
}

@test "a step that fails has its line, and the error comes after it" {
    slow_tar
    host touch /srv/go
    spec <<<'{version: 1, hosts: {localhost: {bridge: {name: br0, address: 10.100.0.1/24}, containers: {bad: {address: 10.100.0.30, runtime: nspawn, nspawn: {root: /srv/root, command: [/bin/nope]}}}}}}'
    status=0
    output=$(host script -qec "'$BERTH' apply '$SPEC'" /dev/null) || status=$?
    ((status != 0)) || fail "it did not fail"
    assert_match "$output" 'ok \+ port bad .*XX \+ run bad .*nope'
    assert_eq "$(grep -c 'run bad ' <<<"$output")" 1 "lines of the step"
}
