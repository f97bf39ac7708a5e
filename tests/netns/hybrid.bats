#!/usr/bin/env bats
# Processes on a machine with both kinds of cgroups, as Debian 12 containers and older systems have them.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    [[ -d /sys/fs/cgroup/systemd || ! -e /sys/fs/cgroup/cgroup.procs ]] || skip "this machine has cgroup2 alone"
    lab_up --inet --hybrid
    workshop
}
teardown() { lab_down; }

@test "the workshop: each container in a group of its own, which ends with it" {
    exits 0 berth apply "$SPEC"
    exits 0 berth run container1 -- ping -c1 -W2 container2
    local group
    group=$(host find /sys/fs/cgroup/unified -type d -path '*berth/container1' | head -1)
    [[ -n $group ]]
    [[ $(host_sh 'cat $(find "$1" -name cgroup.procs) | wc -l' "$group") -ge 2 ]]
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host find /sys/fs/cgroup/unified -type d -path '*berth/container*')" ""
    refute_match "$(host_sh 'pgrep -x systemd-nspawn || :')" '[0-9]'
}

@test "nspawn killed: its orphan is ended before another is started" {
    exits 0 berth apply "$SPEC"
    host_sh 'kill -9 $(pgrep -of "[s]ystemd-nspawn.*-M container1")'
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "run container1"
    exits 0 berth apply "$SPEC"
    exits 0 berth run container1 -- ping -c1 -W2 container2
    assert_eq "$(host_sh 'pgrep -cf "[s]ystemd-nspawn.*-M container1"')" 1
}
