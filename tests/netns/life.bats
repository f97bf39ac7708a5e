#!/usr/bin/env bats
# Processes in containers without systemd as PID 1: start, enter, stop, die, and come back.
load ../lab/lib

setup() { need_berth; host_has_nspawn; lab_up --inet; }
teardown() { lab_down; }
host_has_nspawn() { command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"; }

# A root of busybox alone, and a tar of it, on the host.
root_dir() {
    host_sh 'mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc /srv/root/proc /srv/root/sys /srv/root/dev /srv/root/run /srv/root/tmp
        cp "$(command -v busybox)" /srv/root/bin/busybox && for a in sh sleep httpd cat hostname ping; do ln -sf busybox /srv/root/bin/$a; done
        echo kept >/srv/root/canary; tar -C /srv/root -cf /srv/root.tar .'
}

three() {
    root_dir
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: nspawn}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    nameservers: [192.0.2.53]
	    containers:
	      pause: 10.100.0.10
	      dir: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'echo "says $GREETING"; exec sleep 9999'], environment: {GREETING: 'a b "c"'}}}
	      tar: {address: 10.100.0.30, nspawn: {root: /srv/root.tar, binds: ["/srv:/mnt/srv:ro"]}}
	END
    exits 0 berth apply "$SPEC"
}

leader() { exits 0 berth list --json -f "$SPEC"; json ".containers[] | select(.name == \"$1\") | .leader"; }

@test "roots: the host's, a directory, a tar; command, environment, binds, log, names" {
    three
    exits 0 berth run pause -- sh -c 'hostname; id -un; grep nameserver /etc/resolv.conf; cat /proc/1/comm'
    assert_match "$output" "pause"
    assert_match "$output" "192.0.2.53"
    exits 0 berth logs dir
    assert_match "$output" 'says a b "c"'
    exits 0 berth run tar -- cat /canary
    assert_eq "$output" kept
    exits 0 berth run tar -- cat /mnt/srv/root/canary
    exits 0 berth run pause -- ping -c1 -W2 dir
    exits 0 berth run dir -- ping -c1 -W2 198.51.100.1
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host readlink "/proc/$(leader dir)/ns/net")" "$(host stat -Lc 'net:[%i]' /run/netns/dir)"
}

@test "run: status, signals, standard input, output, no terminal needed, bounded capabilities, the container's cgroup" {
    three
    exits 7 berth run pause -- sh -c 'exit 7'
    exits 127 berth run pause -- /no/such/program
    exits 143 berth run pause -- sh -c 'kill -TERM $$'
    assert_eq "$(echo through | host "$BERTH" run pause -- cat)" through
    assert_eq "$(host "$BERTH" run pause -- sh -c 'head -c 300000 /dev/zero' | wc -c)" 300000
    exits 0 berth run pause -- grep CapBnd /proc/self/status
    assert_match "$output" "fdecabff"
    exits 9 host_sh '"$1" run pause -- sh -c "trap \"exit 9\" TERM; echo up; while :; do sleep 0.1; done" >/run/out & p=$!
        until grep -q up /run/out 2>/dev/null; do read -rt 0.05 <>/run/f || :; done; kill -TERM $p; wait $p' "$BERTH"
}

@test "a container cannot get hold of the host's berth through what is run in it" {
    command -v cc readelf >/dev/null || skip "needs a compiler"
    local way
    # A host of its own has a berth of its own to lose; what it loads there is the container's.
    host install -m 755 "$BERTH" "${BERTH%/*}/berth-enter" /usr/local/bin
    three
    cc -O1 -static -no-pie -nostdlib -ffreestanding -fno-stack-protector -o "$BATS_TEST_TMPDIR/escape" "$REPO/tests/netns/escape.c"
    host_sh 'loader=$(LC_ALL=C readelf -lW "$1" | sed -n "s/.*program interpreter: \(.*\)]/\1/p")
        mkdir -p "/srv/root${loader%/*}" && cp "$2" "/srv/root$loader" && cp "$2" /srv/root/stage2
        printf "#!/proc/self/exe\n" >/srv/root/bin/ls; chmod 755 /srv/root/bin/ls; cp /srv/root/bin/ls /srv/root/bin/bash' "$BERTH" "$BATS_TEST_TMPDIR/escape"
    for way in "run dir -- /bin/ls" "run dir -- ls" "login dir"; do
        host rm -f /srv/root/result
        exits 0 host /usr/local/bin/berth $way
        wait_for host test -s /srv/root/result
        assert_eq "$(host cat /srv/root/result)" S "$way"
        host cmp "$BERTH" /usr/local/bin/berth
        host cmp "${BERTH%/*}/berth-enter" /usr/local/bin/berth-enter
    done
    # The witness itself: a program that takes no such care is written to.
    host rm -f /srv/root/result
    host_sh 'cp "$(command -v nsenter)" /usr/local/bin/victim; victim -t "$1" -m -p -- /bin/ls' "$(leader dir)"
    wait_for host test -s /srv/root/result
    assert_eq "$(host cat /srv/root/result)" W
    assert_eq "$(host tail -c 5 /usr/local/bin/victim)" OWNED
}

@test "run out of its copy: arguments to the letter, the copy while it runs, none for a namespace alone" {
    three
    exits 0 berth run dir -- busybox printf '%s|' 'a b' '' '--json' $'two\nlines' 'é'
    assert_eq "$output" $'a b||--json|two\nlines|é|'
    apart '"$1" run dir -- sh -c "echo >/ran; exec sleep 7777" </dev/null >/dev/null 2>&1 &' "$BERTH"
    wait_for host test -e /srv/root/ran
    assert_eq "$(host_sh 'for p in $(pgrep -x berth-enter); do readlink /proc/$p/exe; done | sort | uniq -c | xargs')" "1 /memfd:berth-enter (deleted)"
    host pkill -f '[s]leep 7777'
    spec plain.yaml <<<'{version: 1, hosts: {localhost: {bridge: {name: br1, address: 10.101.0.1/24}, containers: {alone: {address: 10.101.0.10, runtime: netns}}}}}'
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    exits 0 traced_berth "$BATS_TEST_TMPDIR/trace" run alone -- true
    refute_match "$(<"$BATS_TEST_TMPDIR/trace")" memfd_create
}

@test "a dead container is drift and started again; so is one whose nspawn alone was killed" {
    three
    host kill -9 "$(leader dir)"
    wait_for host_sh '! pgrep -f "[s]ystemd-nspawn.*-M dir"'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "run dir"
    exits 0 berth apply "$SPEC"
    exits 0 berth run dir -- hostname
    host_sh 'kill -9 $(pgrep -of "[s]ystemd-nspawn.*-M dir")'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "run dir"
    exits 0 berth apply "$SPEC"
    exits 0 berth run dir -- hostname
    assert_eq "$(host_sh 'pgrep -cf "^sleep 9999"')" 1
}

@test "a pid that came again is not taken for a container" {
    three
    host_sh 'kill -9 $(pgrep -of "[s]ystemd-nspawn.*-M dir"); echo 1 >"$(find /sys/fs/cgroup -path "*berth/dir/cgroup.kill" | head -1)"'
    wait_for host_sh '! pgrep -f "[s]leep 9999"'
    # The file names a process that lives: this shell, with another start time.
    host_sh 'sed -i -E "s/leader [0-9]+/leader 1/; s/nspawn [0-9]+/nspawn 1/" /run/berth/c/dir/run'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "run dir"
    exits 0 berth apply "$SPEC"
    exits 0 berth run dir -- hostname
}

@test "stop holds until start: plan, apply and status respect it; restart; list tells" {
    three
    exits 0 berth stop -f "$SPEC" dir
    exits 1 berth run dir -- true
    assert_match "$stderr" "container 'dir' is not running"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth list --json -f "$SPEC"
    assert_eq "$(json '.containers[] | select(.name == "dir") | .state')" held
    exits 0 berth start -f "$SPEC" dir
    exits 0 berth run dir -- hostname
    local before
    before=$(leader dir)
    exits 0 berth restart -f "$SPEC" dir
    assert_match "$output" '~ run dir +restart requested'
    refute_match "$output" 'not running'
    [[ $(leader dir) != "$before" ]]
    exits 0 berth restart --json -f "$SPEC" dir
    assert_eq "$(json '.steps[] | select(.object == "run dir") | .reason')" 'restart requested'
}

@test "before the first apply, start, restart, run and login say what to begin with, and leave nothing" {
    spec <<-END
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers: {web: {address: 10.100.0.10, runtime: nspawn}}
	END
    for verb in start restart; do
        exits 1 berth $verb -f "$SPEC" web
        assert_match "$stderr" "cannot start container 'web' by itself: its bridge 'br0' is not there"
        assert_match "$stderr" "\`berth apply\` makes all that the spec asks for"
    done
    for verb in "run -f $SPEC web -- true" "login -f $SPEC web"; do
        exits 1 berth $verb
        assert_match "$stderr" "nothing of the spec has been made on this host; begin with: berth apply"
    done
    assert_eq "$(host_sh 'find /run/berth/held /run/netns -type f 2>/dev/null || :')" ""
    exits 0 berth apply "$SPEC"
    exits 0 berth run -f "$SPEC" web -- true
    exits 0 berth restart -f "$SPEC" web
}

@test "what berth stop holds is shown as stopped by it in status, list, plan and apply, until it is started" {
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      db: {address: 10.100.0.10, runtime: netns}
	      mail: {address: 10.100.0.20, runtime: nspawn}
	      off: {address: 10.100.0.30, runtime: nspawn, state: stopped}
	      web: {address: 10.100.0.40, runtime: nspawn}
	END
    exits 0 berth apply "$SPEC"
    refute_match "$output" 'berth start'
    exits 0 berth status --json "$SPEC"
    assert_eq "$(json .held)" '[]'
    exits 0 berth stop -f "$SPEC" web
    assert_match "$output" '~ run web +stopped by berth stop'
    exits 0 berth stop -f "$SPEC" db
    assert_match "$output" '- netns db +stopped by berth stop'
    for verb in plan apply status; do
        exits 0 berth $verb "$SPEC"
        assert_match "$output" 'db, web: stopped by berth stop; apply does not start it'
        assert_match "$output" 'to start again: berth start db web'
        assert_match "$output" 'in sync'
    done
    assert_match "$output" 'run web +stopped by berth stop'
    assert_match "$output" 'run mail +in sync'
    exits 0 berth status --json "$SPEC"
    assert_eq "$(json '[.held[] | "\(.container): \(.reason)"] | join(",")')" 'db: stopped by berth stop,web: stopped by berth stop'
    for given in "-f $SPEC" ""; do
        exits 0 berth list $given
        assert_match "$output" 'web +[a-z-]+ +stopped \(by berth stop\)'
        exits 0 berth list --json $given
        assert_eq "$(json '.containers[] | select(.name == "web") | "\(.state) \(.held)"')" 'held stopped by berth stop'
        assert_eq "$(json '.containers[] | select(.name == "mail") | "\(.state) \(.held)"')" 'running null'
    done
    exits 0 berth list -f "$SPEC"
    assert_match "$output" 'db +netns +stopped \(by berth stop\)'
    assert_match "$output" 'off +nspawn +stopped  '
    exits 0 berth start -f "$SPEC" db web
    exits 0 berth status "$SPEC"
    refute_match "$output" 'berth stop'
}

@test "a hold goes with its container: destroyed, or out of the spec, it comes back as the spec says" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: nspawn}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      web: 10.100.0.10
	      db: 10.100.0.20
	END
    local state='[.containers[] | "\(.name) \(.state)"] | join(",")'
    exits 0 berth apply "$SPEC"
    exits 0 berth stop -f "$SPEC" db
    exits 0 berth destroy --yes "$SPEC"
    exits 0 host test ! -e /run/berth/held
    exits 0 berth apply "$SPEC"
    exits 0 berth list --json -f "$SPEC"
    assert_eq "$(json "$state")" "db running,web running"
    exits 0 berth stop -f "$SPEC" db web
    grep -v db: "$SPEC" >"$SPEC.less"
    exits 0 berth apply "$SPEC.less"
    assert_eq "$(host ls /run/berth/held)" web
    exits 0 berth apply "$SPEC"
    exits 0 berth list --json -f "$SPEC"
    assert_eq "$(json "$state")" "db running,web held"
    # Nothing else to do is no reason to keep it.
    exits 0 berth start -f "$SPEC" web
    exits 0 berth apply "$SPEC.less"
    host_sh 'mkdir -p /run/berth/held; echo long ago >/run/berth/held/gone'
    exits 0 berth apply "$SPEC.less"
    exits 0 host test ! -e /run/berth/held
}

@test "a change of settings is a restart of that container alone, and the plan says so" {
    three
    local pause dir
    pause=$(leader pause) dir=$(leader dir)
    sed -i 's/a b "c"/new/' "$SPEC"
    exits 0 berth plan --json "$SPEC"
    assert_eq "$(json '[.steps[] | select(.kind == "run") | .effect] | join(",")')" restart
    assert_eq "$(json '[.steps[].blinks[]] | unique | join(",")')" dir
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader pause)" "$pause"
    [[ $(leader dir) != "$dir" ]]
    exits 0 berth logs dir
    assert_match "$output" "says new"
}

@test "a command that cannot start: why, and the host as it was" {
    three
    sed -i 's|/bin/sh, -c, .echo[^]]*|/no/such|' "$SPEC"
    exits 5 berth apply "$SPEC"
    # The cause stands alone, without what other lines say.
    assert_match "$stderr" "cannot start container 'dir': execv\\(/no/such\\) failed: No such file or directory"$'(\n|$)'
    assert_match "$stderr" "berth logs dir"
    assert_match "$(berth logs dir)" "/no/such"
}

@test "destroy stops all, keeps the files, leaves nothing running" {
    root_dir
    fingerprint >"$BATS_TEST_TMPDIR/before"
    three
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host cat /srv/root/canary)" kept
    refute_match "$(host_sh 'pgrep -x systemd-nspawn || :')" '[0-9]'
    refute_match "$(host find /sys/fs/cgroup -path '*berth/dir*')" dir
    # The unpacked tar is a container's file: it stays.
    assert_eq "$(host cat /var/lib/berth/roots/tar/canary)" kept
    fingerprint | grep -v /var/lib/berth | diff <(grep -v /var/lib/berth "$BATS_TEST_TMPDIR/before") -
}

@test "a namespace alone: run sees its own names; login is a shell" {
    two_names
    exits 0 berth apply "$SPEC"
    exits 0 berth run a -- sh -c 'hostname; ping -c1 -W2 b >/dev/null && ip -br addr show eth0 | grep -o 10.100.0.10'
    assert_eq "$output" $'a\n10.100.0.10'
    assert_eq "$(echo 'echo $0; hostname; exit 5' | host "$BERTH" login a | tail -1)" a
    exits 3 berth run a -- sh -c 'exit 3'
}

@test "without /run/berth what runs is known, goes when its container does, and is stopped where the spec says so" {
    spec <<-'END'
	version: 1
	defaults: {container: {runtime: nspawn, nspawn: {command: [sleep, "9999"]}}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      one: 10.100.0.10
	      two: 10.100.0.20
	      three: 10.100.0.30
	END
    exits 0 berth apply "$SPEC"
    local one
    one=$(leader one)
    host rm -rf /run/berth
    exits 0 berth list --json
    assert_eq "$(json '[.containers[] | "\(.name) \(.state)"] | join(",")')" "one running,three running,two running"
    exits 0 berth list --json -f "$SPEC"
    assert_eq "$(json '[.containers[] | "\(.name) \(.state)"] | join(",")')" "one running,three running,two running"
    sed -i '/two:/d; s/three:.*/three: {address: 10.100.0.30, state: stopped}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host_sh 'pgrep -f "[s]ystemd-nspawn.*-M (two|three)" || :; find /sys/fs/cgroup -path "*/berth/two*" -o -path "*/berth/three*"')" ""
    assert_eq "$(host_sh 'pgrep -cf "^sleep 9999"')" 1
    # Its files went from under it: it is started anew, and has them again.
    [[ $(leader one) != "$one" ]] || fail "it goes on with an empty /etc"
    exits 0 berth run one -- sh -c 'grep -q "10.100.0.30.*three" /etc/hosts && getent passwd root && [ "$(cat /etc/hostname)" = one ]'
    exits 0 berth plan -e "$SPEC"
    host rm -rf /run/berth
    exits 0 berth destroy --yes "$SPEC"
    refute_match "$(host_sh 'pgrep -x systemd-nspawn || :; pgrep -f "^sleep 9999" || :')" '[0-9]'
}

@test "an nspawn without its leader runs: it is started anew, and goes with its container" {
    three
    # Held where it is, it does not learn that its container has ended.
    host_sh 'kill -STOP $(pgrep -of "[s]ystemd-nspawn.*-M dir")'
    host kill -9 "$(leader dir)"
    exits 0 berth list --json -f "$SPEC"
    assert_eq "$(json '.containers[] | select(.name == "dir") | .state')" running
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[] | "\(.object) \(.effect)"] | join(",")')" "run dir restart"
    sed -i '/ dir:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    refute_match "$(host_sh 'pgrep -f "[s]ystemd-nspawn.*-M dir" || :')" '[0-9]'
    exits 0 berth plan -e "$SPEC"
}

@test "what a container needs and is not there is found by plan and apply, before another one is interrupted" {
    three
    local pause before
    pause=$(leader pause)
    before=$(<"$SPEC")
    sed -i 's|pause: 10.100.0.10|pause: {address: 10.100.0.10, nspawn: {environment: {A: b}}}|; s|command: \[/bin/sh|binds: ["/srv/data:/data", "/srv/more:/more:ro"], &|' "$SPEC"
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "berth.yaml:[0-9]+:[0-9]+: cannot start container 'dir': '/srv/data', which it binds, is not there"
    # Each missing one has its own place in the spec, and one command makes them all.
    assert_match "$stderr" "\| [^ ]*berth.yaml:10:[0-9]+: cannot start container 'dir': '/srv/more', which it binds, is not there"
    assert_match "$stderr" 'make what `binds` names, or take it out:'$'\n''    mkdir -p /srv/data /srv/more'$'\n'
    [[ $(grep -o 'berth.yaml:10:[0-9]*' <<<"$stderr" | sort -u | wc -l) == 2 ]] || fail "one place for both: $stderr"
    exits 1 berth apply "$SPEC"
    assert_eq "$(leader pause)" "$pause"
    host mkdir -p /srv/data /srv/more
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    sed -i 's|root: /srv/root,|root: /srv/absent,|; s|A: b|A: c|' "$SPEC"
    exits 1 berth apply "$SPEC"
    assert_match "$stderr" "berth.yaml:[0-9]+:[0-9]+: cannot start container 'dir': its root '/srv/absent' is not there"
    # A tar that was unpacked is not needed any more; a new one is.
    printf '%s\n' "$before" >"$SPEC"
    exits 0 berth apply "$SPEC"
    host mv /srv/root.tar /srv/root2.tar
    exits 0 berth restart -f "$SPEC" tar
    printf '%s\n' "      new: {address: 10.100.0.40, nspawn: {root: /srv/root.tar}}" >>"$SPEC"
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "cannot start container 'new': the archive of its root '/srv/root.tar' is not there"
}

@test "a bad archive, or a root without what its container needs, is found before another container is interrupted" {
    three
    local pause dir before
    pause=$(leader pause) dir=$(leader dir)
    before=$(<"$SPEC")
    # The apply would restart pause, and remove dir.
    sed -i 's|pause: 10.100.0.10|pause: {address: 10.100.0.10, nspawn: {environment: {A: b}}}|; /^ *dir:/d' "$SPEC"
    local changed at="berth.yaml:11:[0-9]+: cannot start container 'new'"
    changed=$(<"$SPEC")
    refused() {     # NSPAWN-MAP MESSAGE
        printf '%s\n' "$changed" "      new: {address: 10.100.0.40, nspawn: $1}" >"$SPEC"
        exits 1 berth plan "$SPEC"
        assert_match "$stderr" "$2"
        exits 1 berth apply "$SPEC"
        assert_match "$stderr" "$2"
        assert_match "$stderr" 'the host is as it was'
        host kill -0 "$pause" "$dir"
        exits 1 host test -e /var/lib/berth/roots/new
    }
    host_sh 'seq 2000 >/srv/text.tar; : >/srv/empty.tar; head -c 300 /srv/root.tar >/srv/short.tar
        { printf x; tail -c +2 /srv/root.tar; } >/srv/header.tar'
    refused '{root: /srv/text.tar}' "$at: the archive of its root '/srv/text.tar' is no tar archive"
    refused '{root: /srv/empty.tar}' "$at: the archive of its root '/srv/empty.tar' is empty"
    refused '{root: /srv/short.tar}' "$at: .*'/srv/short.tar' is no tar archive"
    refused '{root: /srv/header.tar}' "$at: .*'/srv/header.tar' is no tar archive"
    host_sh 'mkdir -p /srv/bare/etc /srv/os/usr /srv/os/etc && : >/srv/os/etc/os-release'
    # The test's file system may be one without idmapped mounts.
    local boot="boot: true, private_users: none, capabilities: [SYS_ADMIN]"
    refused '{root: /srv/bare}' "$at with root '/srv/bare': there is no /usr and no /bin in it"
    refused "{root: /srv/root, $boot}" "$at with root '/srv/root': there is no /etc/os-release in it"
    refused "{root: /srv/os, $boot}" "$at with root '/srv/os': there is no /sbin/init in it"
    # An init that a symlink finds in a bind is there when the container starts.
    host_sh 'mkdir -p /srv/os/sbin && ln -s /opt/init /srv/os/sbin/init'
    printf '%s\n' "$changed" "      new: {address: 10.100.0.40, nspawn: {root: /srv/os, binds: ['/srv/opt:/opt'], $boot}}" >"$SPEC"
    host mkdir -p /srv/opt
    exits 0 berth plan "$SPEC"
    # What only tar sees fails before all other steps.
    for bad in inside.tar.gz cut.tar bare.tar; do
        host_sh 'cd /srv; case $1 in
            inside.tar.gz) seq 2000 | gzip >/srv/$1 ;;
            cut.tar) head -c 20000 /srv/root.tar >/srv/$1 ;;
            bare.tar) tar -C /srv/bare -cf /srv/$1 . ;;
        esac' "$bad"
        printf '%s\n' "$changed" "      new: {address: 10.100.0.40, nspawn: {root: /srv/$bad}}" >"$SPEC"
        exits 1 berth apply "$SPEC"
        assert_match "$stderr" "cannot (unpack|use) '/srv/$bad'"
        assert_match "$stderr" 'the host is as it was'
        host kill -0 "$pause" "$dir"
        assert_eq "$(leader pause)" "$pause"
    done
}

@test "what is left of a removed tree stops no other verb, is named, and goes once it can" {
    three
    local left=/var/lib/berth/roots/.old.berth-purge
    host_sh 'mkdir -p "$1/x" && mount -t tmpfs none "$1/x"' "$left"
    exits 0 berth restart -f "$SPEC" pause
    exits 0 berth plan "$SPEC"
    assert_match "$output$stderr" "'$left'"
    exits 0 berth status -f "$SPEC"
    assert_match "$output$stderr" "'$left'"
    sed -i 's/10.100.0.20/10.100.0.21/' "$SPEC"
    exits 0 berth apply "$SPEC"
    host umount "$left/x"
    sed -i 's/10.100.0.21/10.100.0.22/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 host test ! -e "$left"
    exits 0 berth plan "$SPEC"
    refute_match "$output$stderr" "$left"
}

@test "a tree goes whole, whatever names its root has chosen" {
    three
    sed -i 's/\(tar: {.*\)}$/\1, on_remove: destroy}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    # Deeper than a removal holds open, beside a name for each place above that it could take.
    host_sh 'cd /var/lib/berth/roots/tar && perl -e "
        for my \$f (0 .. 99) {
            open my \$o, q(>), qq(f\$f) or die;
            for my \$i (0 .. 9999) { link qq(f\$f), sprintf(q(.berth-deep-%d), \$f * 10000 + \$i) or die }
        }
        for (1 .. 40) { mkdir q(deep); chdir q(deep) or die }"'
    sed -i '/^ *tar:/d' "$SPEC"
    exits 0 berth apply --allow-deletes 9 "$SPEC"
    assert_eq "$(host_sh 'ls -A /var/lib/berth/roots 2>/dev/null || :')" ""
}

@test "a FIFO where systemd-nspawn reads a file fails that container at once, and alone" {
    three
    host_sh 'mkdir -p /srv/root/usr/lib; mkfifo /srv/root/etc/machine-id /srv/fifo'
    local start=$SECONDS
    exits 1 berth restart -f "$SPEC" dir
    ((SECONDS - start < 15)) || fail "the restart took $((SECONDS - start)) s"
    assert_match "$stderr" "cannot start container 'dir': '/srv/root/etc/machine-id' is a FIFO"
    exits 0 berth run pause -- true
    # A link is followed inside the root alone: no such file is there.
    host_sh 'cd /srv/root; rm etc/machine-id; ln -s /srv/fifo etc/os-release'
    exits 0 berth start -f "$SPEC" dir
    exits 0 berth run dir -- cat /canary
}
