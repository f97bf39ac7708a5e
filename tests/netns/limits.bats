#!/usr/bin/env bats
# What a container can write into the host's /run, its /etc and its log: both have limits while it runs. Witness: du, df and stat on the host.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up
    # As small as on a small machine.
    host mount -o remount,size=48m /run
}
teardown() { lab_down; }

# box COMMAND: a container with the host's root.
box() {
    spec <<-END
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      box: {address: 10.100.0.10, runtime: nspawn, nspawn: {command: $1}}
	END
    exits 0 berth apply "$SPEC"
}
LOG=/run/berth/c/box/log
MOST=$((4 << 20))
run_in() { host "$BERTH" run -f "$SPEC" box -- "$@"; }
leader() { host_sh 'pgrep -P "$(pgrep -of "[s]ystemd-nspawn.*-M box ")"'; }
bytes() { host_sh 'stat -c %s "$1" "$1.old" 2>/dev/null | awk "{s += \$1} END {print s + 0}"' "$LOG"; }
# written BYTES: at least so many, as the numbers of the newest lines tell.
written() { (($(host tail -n 2 "$LOG" | head -n 1) * 8 > $1)); }
pipe_of_payload() { host_sh 'echo "/proc/$(pgrep -x -P "$1" sleep || echo "$1")/fd/1"' "$(leader)"; }

@test "a container that prints without end: two files within their limit, the newest lines without a gap, and it goes on" {
    box '[seq, inf]'
    wait_for written $((6 * MOST))
    (($(bytes) <= 2 * MOST)) || fail "the log holds $(bytes) bytes"
    host_sh 'head -c 16M /dev/zero >/run/other && rm /run/other'
    [[ -n $(leader) ]] || fail "the container has ended"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth stop box -f "$SPEC"
    assert_eq "$(host_sh 'pgrep -f "[b]erth-contain log" || :')" ""
    (($(bytes) <= 2 * MOST)) || fail "the log holds $(bytes) bytes"
    (($(bytes) > MOST)) || fail "the log holds only $(bytes) bytes"
    # The numbers are in order; nspawn says something at its end.
    host_sh 'cat "$1.old" "$1" | sed 1d | awk "/[^0-9]/ {exit bad} NR > 1 && \$1 != n + 1 {print n, \$1; bad = 1} {n = \$1} END {exit bad}"' "$LOG" || fail "a gap"
    exits 0 berth logs -n 3 box
    assert_eq "$(wc -l <<<"$output")" 3
}

@test "while /run is nearly full, a log takes little of it; while it is full, the container goes on and its newest lines come later" {
    box '[sleep, infinity]'
    local pipe
    pipe=$(pipe_of_payload)
    host_sh 'head -c 45M /dev/zero >/run/filler; seq 1 3000000 >"$1"' "$pipe"
    (($(bytes) <= 2 * 65536 + 65536)) || fail "the log takes $(bytes) bytes of a full /run"
    host_sh 'cat /dev/zero >>/run/filler 2>/dev/null; seq 1 1000000 >"$1"; rm /run/filler; echo afterwards >"$1"' "$pipe"
    wait_for host_sh 'tail -n 1 "$1" | grep -qx afterwards' "$LOG"
    [[ -n $(leader) ]] || fail "the container has ended"
}

@test "logs -f: every line across several changes of files; a file that others move or cut off is found again" {
    box '[sleep, infinity]'
    local pipe out=$BATS_TEST_TMPDIR/out at
    pipe=$(pipe_of_payload)
    host_sh 'echo 0 >"$1"' "$pipe"
    wait_for host grep -qx 0 "$LOG"
    host "$BERTH" logs -f -n 1 box >"$out" 2>&1 3>&- {LAB_LIFE}>&- &
    local pid=$!
    wait_for grep -qx 0 "$out"
    for at in 0 1 2 3 4; do
        host_sh 'seq $(($2 * 300000 + 1)) $((($2 + 1) * 300000)) >"$1"' "$pipe" "$at"
        wait_for bash -c '[[ $(tail -n 1 "$1") == "$2" ]]' bash "$out" $(((at + 1) * 300000))
    done
    cmp "$out" <(seq 0 1500000) || fail "lines are missing"
    # Two changes while it does not look.
    kill -STOP "$(pgrep -x -P "$pid" berth || echo "$pid")"
    host_sh 'seq 1500001 2400000 >"$1"' "$pipe"
    wait_for bash -c '[[ $(nsenter -t "$1" -m -p tail -n 1 "$2") == 2400000 ]]' bash "$LAB_PID" "$LOG"
    kill -CONT "$(pgrep -x -P "$pid" berth || echo "$pid")"
    wait_for bash -c '[[ $(tail -n 1 "$1") == 2400000 ]]' bash "$out"
    cmp "$out" <(seq 0 2400000) || fail "lines are missing after two changes"
    host_sh 'mv "$2" "$2.aside"; echo moved >"$1"' "$pipe" "$LOG"
    wait_for grep -qx moved "$out"
    host_sh ': >"$2"; echo cut >"$1"' "$pipe" "$LOG"
    wait_for grep -qx cut "$out"
    assert_eq "$(host cat "$LOG")" cut
    exits 0 berth destroy --yes "$SPEC"
    wait "$pid" || fail "logs -f failed when its container went"
}

@test "a log that an earlier berth let grow keeps its newest lines alone" {
    box '[sleep, infinity]'
    exits 0 berth stop box -f "$SPEC"
    host_sh 'seq 1 1500000 >"$1"; seq 1 1200000 >"$1.old"' "$LOG"
    exits 0 berth start box -f "$SPEC"
    wait_for host_sh '[ $(stat -c %s "$1") -le 4194304 ] && [ $(stat -c %s "$1.old") -le 4194304 ]' "$LOG"
    assert_eq "$(host tail -n 1 "$LOG")" 1500000
    assert_eq "$(host tail -n 1 "$LOG.old")" 1200000
}

@test "a container fills its /etc: it sees ENOSPC, the host's /run holds nothing of it, and a restart begins with a new one" {
    box '[sleep, infinity]'
    local before after
    before=$(host_sh 'df --output=used,iused /run | tail -n 1')
    exits 1 run_in sh -c 'cat /dev/zero >/etc/fill'
    assert_match "$stderr" "No space left"
    assert_match "$(run_in stat -c %s /etc/fill)" '^1[56][0-9]{6}$'
    exits 0 run_in sh -c 'rm /etc/fill; i=0; while true 2>/dev/null >/etc/f$i; do i=$((i + 1)); done; ls /etc | wc -l'
    ((output > 16000 && output < 16500)) || fail "the container made $output files"
    exits 1 run_in sh -c 'for o in size=1g nr_inodes=0; do if mount -o remount,$o /etc; then exit 0; fi; done; exit 1'
    after=$(host_sh 'df --output=used,iused /run | tail -n 1')
    # The host's own runtime files of a `run` are few.
    awk -v a="$before" -v b="$after" 'BEGIN {split(a, x); split(b, y); exit y[1] > x[1] + 512 || y[2] > x[2] + 20}' || fail "before: $before, after: $after"
    assert_eq "$(host_sh 'grep -c " /run/berth/" /proc/self/mountinfo || :')" 0
    exits 0 berth plan -e "$SPEC"
    exits 0 berth restart box -f "$SPEC"
    exits 0 run_in sh -c 'ls /etc | grep -c "^f[0-9]" || touch /etc/new'
    assert_eq "$output" 0
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'ls -A /run/berth/c 2>/dev/null || :')" ""
    assert_eq "$(host_sh 'pgrep -f "[b]erth-contain" || :')" ""
}

@test "users and packages of a container can change its /etc as before; names come from the host" {
    box '[sleep, infinity]'
    exits 0 run_in sh -c 'echo x:x:7:7::/:/bin/sh >>/etc/passwd && mv /etc/passwd /etc/p && cp /etc/p /etc/passwd && mkdir /etc/x.d && stat -c "%u:%g %a" /etc /etc/passwd /etc/machine-id && cat /etc/hostname'
    assert_eq "$(xargs <<<"$output")" "0:0 755 0:0 644 0:0 444 box"
    exits 0 run_in sh -c 'grep -q box /etc/hosts && readlink /etc/os-release && grep " /etc " /proc/self/mountinfo | grep -c "nosuid,nodev.* - tmpfs"'
    assert_eq "$(xargs <<<"$output")" "../usr/lib/os-release 1"
    # What berth wrote for it is as it was.
    assert_eq "$(host grep -c '^x:' /run/berth/c/box/etc/passwd || :)" 0
}

@test "the process that writes a log is killed: the next apply starts another, without a restart" {
    box '[sleep, infinity]'
    local pipe before
    pipe=$(pipe_of_payload)
    before=$(leader)
    host_sh 'pkill -KILL -f "[b]erth-contain log .*/c/box/log"'
    exits 2 berth plan -e "$SPEC"
    assert_match "$output" 'box.*log'
    assert_match "$output" 'nothing is interrupted'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(leader)" "$before"
    host_sh 'echo after >"$1"' "$pipe"
    wait_for host grep -qx after "$LOG"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'pgrep -f "[b]erth-contain" || :')" ""
}

# The container that runs, again without limits: as an earlier berth started it.
started_unlimited() {
    host_sh 'cd /run/berth/c/box && grep -v -e "^# limited: " -e "^# sources: " unit >was && mv was unit'
    apart 'cgroup=$(find /sys/fs/cgroup -type d -path "*/berth/box") && echo 1 >"$cgroup/cgroup.kill"
        while pgrep -f "[s]ystemd-nspawn.*-M box" >/dev/null; do :; done
        rm /run/berth/c/box/run
        mapfile -t words < <(grep -v "^# " /run/berth/c/box/unit)
        digest=$(perl -0777 -ne "use integer; \$h = 0xcbf29ce484222325;
            \$h = (\$h ^ ord) * 1099511628211 for split //; printf q(%016x), \$h" /run/berth/c/box/unit)
        [[ -d $cgroup ]] || mkdir -p "$cgroup"
        (echo "$BASHPID" >"$cgroup/cgroup.procs"
         exec nsenter --net=/run/netns/box setsid env -i PATH="$PATH" LC_ALL=C BERTH_UNIT="$digest" \
             systemd-nspawn "${words[@]}" </dev/null >>/run/berth/c/box/log 2>&1) &'
    wait_for host_sh 'p=$(pgrep -of "[s]ystemd-nspawn.*-M box") && l=$(pgrep -P "$p") &&
        c=$(pgrep -P "$l") && [ "$(cat /proc/$c/comm)" = sleep ]'
}

@test "an upgrade interrupts nobody: a container that an earlier berth started has its limits at its next start, and is named" {
    box '[sleep, infinity]'
    started_unlimited
    local before
    before=$(leader)
    exits 0 berth plan "$SPEC" --json
    assert_eq "$(json '.next_start[].text')" "limits for /etc and log"
    assert_eq "$(json '[.steps[] | select(.effect != "live")] | length')" 0
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader)" "$before"
    exits 0 berth status "$SPEC"
    assert_match "$output" "box: next start: limits for /etc and log"
    # It had no limit before.
    exits 0 run_in sh -c 'head -c 20M /dev/zero >/etc/fill'
    exits 0 berth restart box -f "$SPEC"
    exits 1 run_in sh -c 'head -c 20M /dev/zero >/etc/fill'
    exits 0 berth plan -e "$SPEC" --json
    assert_eq "$(json '.next_start | length')" 0
}

@test "a process elsewhere holds a container's output open: a stop does not wait for it" {
    box '[sleep, infinity]'
    apart 'exec 9>"$1"; exec sleep 7654' "$(pipe_of_payload)" &
    wait_for host_sh 'p=$(pgrep -xf "sleep 7654") && readlink /proc/$p/fd/9 | grep -q pipe'
    exits 0 berth stop box -f "$SPEC"
    assert_eq "$(host_sh 'pgrep -f "[b]erth-contain" || :')" ""
    exits 0 berth start box -f "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    host pkill -xf 'sleep 7654'
}

@test "where /run has no idmapped mounts, as before Linux 6.3, files of /etc belong to the container's root" {
    # An overlay has none.
    host_sh 'mkdir -p /srv/o && mount -t tmpfs tmpfs /srv/o && mkdir /srv/o/l /srv/o/u /srv/o/w /run/berth &&
        mount -t overlay -o lowerdir=/srv/o/l,upperdir=/srv/o/u,workdir=/srv/o/w overlay /run/berth'
    box '[sleep, infinity]'
    refute_match "$(host_sh 'pgrep -af "[s]ystemd-nspawn.*-M box"')" '/etc:idmap'
    exits 0 run_in sh -c 'stat -c %u /etc /etc/ssl /etc/passwd /etc/os-release; echo x >>/etc/passwd && rm /etc/hostname'
    assert_eq "$(xargs <<<"$output")" "0 0 0 0"
    exits 1 run_in sh -c 'cat /dev/zero >/etc/fill'
}
