#!/usr/bin/env bats
# The days after the first apply: files that go and come back, logs, figures, packets, backups.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up --inet
}
teardown() { lab_down; }

# A root of busybox alone, and a tar of it, on the host.
root_dir() {
    host_sh 'mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc /srv/root/proc /srv/root/sys /srv/root/dev /srv/root/run /srv/root/tmp
        cp "$(command -v busybox)" /srv/root/bin/busybox && for a in sh sleep cat hostname ping dd head; do ln -sf busybox /srv/root/bin/$a; done
        echo kept >/srv/root/canary; tar -C /srv/root -cf /srv/root.tar .'
}

# What each container is, one line a container, after the host's part.
hosts_with() {
    spec <<-END
	version: 1
	defaults: {container: {runtime: nspawn}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	$(sed 's/^/      /')
	END
}

tarred() {
    root_dir
    hosts_with <<-'END'
	pause: 10.100.0.10
	tar: {address: 10.100.0.30, nspawn: {root: /srv/root.tar, command: [/bin/sleep, "9999"]}}
	END
    exits 0 berth apply "$SPEC"
    host_sh 'echo mine >/var/lib/berth/roots/tar/written'
}

# ---- files of containers that go ----

@test "destroy keeps the trees that berth unpacked; with --files they go, and nothing of them stays" {
    tarred
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth destroy --yes --files "$SPEC"
    assert_match "$output" "root tar"
    assert_eq "$(host_sh 'ls -A /var/lib/berth 2>/dev/null || :')" ""
    assert_eq "$(host cat /srv/root/canary)" kept
}

@test "on_remove: destroy: the tree goes with its container, and comes back whole when that apply fails" {
    tarred
    sed -i 's/"9999"\]/"9999"]}, on_remove: destroy/; s/destroy}}/destroy}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    # The container leaves the spec in the same apply in which another one cannot start.
    sed -i '/tar:/d' "$SPEC"
    cp "$SPEC" "$SPEC.good"
    echo '      bad: {address: 10.100.0.40, nspawn: {root: /srv/root, command: [/no/such]}}' >>"$SPEC"
    exits 5 berth apply "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth run tar -- cat /written
    assert_eq "$output" mine
    exits 0 berth apply "$SPEC.good"
    assert_eq "$(host_sh 'ls -A /var/lib/berth/roots 2>/dev/null || :')" ""
}

@test "a tree with a mount in it, or a link in its place, is not removed: refused by name, nothing is lost" {
    tarred
    host_sh 'mkdir /var/lib/berth/roots/tar/disk /srv/disk && echo other >/srv/disk/file && mount --bind /srv/disk /var/lib/berth/roots/tar/disk'
    exits 5 berth destroy --yes --files "$SPEC"
    assert_match "$stderr" "mounted at '/var/lib/berth/roots/tar/disk'"
    assert_eq "$(host cat /srv/disk/file /var/lib/berth/roots/tar/written | xargs)" "other mine"
    exits 0 berth plan -e "$SPEC"
    host_sh 'umount /var/lib/berth/roots/tar/disk; mv /var/lib/berth/roots/tar /srv/elsewhere; ln -s /srv/elsewhere /var/lib/berth/roots/tar'
    berth destroy --yes --files "$SPEC" >"$BATS_TEST_TMPDIR/out" 2>&1 && fail "it followed a link"
    assert_match "$(<"$BATS_TEST_TMPDIR/out")" "symbolic link"
    assert_eq "$(host cat /srv/elsewhere/written)" mine
}

# ---- logs ----

# A container that says a line for each that it reads from /ask.
talker() {
    root_dir
    hosts_with <<-'END'
	talk: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; exec sleep 9999']}}
	END
    exits 0 berth apply "$SPEC"
}
LOG=/run/berth/c/talk/log

@test "logs: all, the last ones, and across a file that was put aside" {
    talker
    exits 0 berth logs talk
    assert_match "$output" $'^line 1\n.*line 20$'
    exits 0 berth logs -n 2 talk
    assert_eq "$output" $'line 19\nline 20'
    exits 0 berth logs -n 0 talk
    assert_eq "$output" ""
    host_sh "mv $LOG $LOG.old; echo 'line 21' >$LOG"
    exits 0 berth logs -n 2 talk
    assert_eq "$output" $'line 20\nline 21'
    exits 0 berth logs talk
    assert_match "$output" $'line 1\n.*line 20\nline 21$'
    exits 1 berth logs tal
    assert_match "$stderr" "no log here"
}

@test "logs -f: what is written, a file cut off, one put aside and begun anew; ends with its reader and with the container" {
    talker
    local out=$BATS_TEST_TMPDIR/out
    host "$BERTH" logs -f -n 1 talk >"$out" 2>&1 3>&- {LAB_LIFE}>&- &
    local pid=$!
    wait_for grep -q 'line 20' "$out"
    host_sh "echo more >>$LOG"
    wait_for grep -q more "$out"
    host_sh "echo last >>$LOG; mv $LOG $LOG.old; echo 'after the change' >$LOG"
    wait_for grep -q 'after the change' "$out"
    host_sh "echo again >>$LOG"
    wait_for grep -q again "$out"
    host_sh "echo 'cut off' >$LOG"
    wait_for grep -q 'cut off' "$out"
    assert_eq "$(grep -c . "$out")" 6
    exits 0 berth destroy --yes "$SPEC"
    wait "$pid" || fail "logs -f failed when its container went"
    exits 0 berth apply "$SPEC"
    exits 0 host_sh '"$1" logs -f talk | head -1' "$BERTH"
    assert_eq "$output" "line 1"
}

@test "the log of a container whose first start failed outlives the undo, until it starts or all is destroyed" {
    root_dir
    hosts_with <<-'END'
	talk: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/no/such]}}
	END
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" "berth logs talk"
    assert_eq "$(host_sh 'ls /run/berth/c 2>/dev/null || :')" ""
    exits 0 berth logs talk
    assert_match "$output" "/no/such"
    exits 0 berth logs -n1 talk
    exits 0 berth plan "$SPEC"
    sed -i 's|/no/such|/bin/sleep, "9999"|' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth logs talk
    refute_match "$output" "/no/such"
    exits 0 host test ! -e /run/berth/failed
    sed -i 's|/bin/sleep, "9999"|/no/such|; s/talk:/other:/' "$SPEC"
    exits 5 berth apply "$SPEC"
    exits 0 berth logs other
    exits 0 berth destroy --yes "$SPEC"
    exits 1 berth logs other
    exits 0 host test ! -e /run/berth/failed
}
