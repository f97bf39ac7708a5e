#!/usr/bin/env bats
# Installed on a host with systemd: the unit that ships, at boot; the program taken away again.
load ../lab/lib

NAME=i${BATS_SUITE_TEST_NUMBER:-1}x$$
BUILD=${BERTH%/cmd/berth}
on() { "$LAB/host" exec "$NAME" "$@"; }

setup() {
    need_berth
    command -v cmake >/dev/null || skip "no cmake to install with"
    [[ -f $BUILD/cmake_install.cmake ]] || skip "$BERTH is not in a build folder"
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet --install "$BUILD" >&2
}
teardown() { "$LAB/host" down "$NAME"; }

on_fingerprint() { on "$LAB/fingerprint" | grep -v ' /etc/systemd/system'; }

@test "the workshop with the installed program, its manual, its completions and its unit" {
    exits 0 on sh -c 'command -v berth'
    assert_eq "$output" /usr/local/bin/berth
    exits 0 on sh -c "ls /usr/local/share/man/man1/berth.1* /usr/local/share/bash-completion/completions/berth"
    exits 0 on systemd-analyze verify --man=no berth.service
    on_fingerprint >"$BATS_TEST_TMPDIR/before"
    on mkdir -p /etc/berth
    on sh -c 'cat >/etc/berth/berth.yaml' <"$REPO/examples/workshop-6.yaml"
    exits 0 on systemctl enable --now berth.service
    exits 0 on berth status -e
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    exits 0 on machinectl show container1 -p State --value
    assert_eq "$output" running

    # A changed spec is taken by another start, without a restart of what did not change.
    local leader
    leader=$(on machinectl show container1 -p Leader --value)
    on sh -c 'echo "      later: 10.100.0.30" >>/etc/berth/berth.yaml'
    exits 0 on systemctl start berth.service
    exits 0 on berth run container1 -- ping -c1 -W2 later
    assert_eq "$(on machinectl show container1 -p Leader --value)" "$leader"

    # And away again.
    exits 0 on berth destroy --yes
    exits 0 on systemctl disable --now berth.service
    assert_eq "$(on machinectl list --no-legend)" ""
    on_fingerprint | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the host is not what it was"
}

@test "stopping the boot unit stops no container; a stop by hand ends at a reboot; a shutdown is clean" {
    on mkdir -p /etc/berth
    on sh -c 'cat >/etc/berth/berth.yaml' <"$REPO/examples/workshop-6.yaml"
    exits 0 on systemctl enable --now berth.service
    exits 0 on systemctl stop berth.service
    exits 0 on berth run container1 -- true
    exits 0 on berth stop container1
    assert_eq "$(on systemctl --failed --no-legend)" "" "what was stopped on purpose has not failed"
    exits 0 on berth apply
    assert_eq "$(on machinectl list --no-legend | awk '{print $1}')" container2
    "$LAB/host" reboot "$NAME" >&2
    on timeout 60 sh -c 'until [ "$(systemctl show berth.service -p ExecMainExitTimestampMonotonic --value)" != 0 ]; do sleep 0.05; done'
    assert_eq "$(on systemctl show berth.service -p Result --value)" success
    assert_eq "$(on machinectl list --no-legend | awk '{print $1}' | sort | xargs)" "container1 container2"
    exits 0 on berth plan -e
    # Nothing of the containers kept the host from going down, or failed on the way.
    assert_eq "$(on systemctl --failed --no-legend)" ""
    refute_match "$(on journalctl -b -1 --no-pager -q -u 'berth@*' 2>/dev/null || :)" 'timed out'
}

# A terminal of the host's own: what berth prints there, stdout and stderr together.
terminal() { on script -qec "$1" /dev/null </dev/null | tr -d '\r'; }

@test "apply on a terminal says once per host how to keep the state over a reboot; what it says works" {
    on mkdir -p /srv/net
    on sh -c 'cat >/srv/net/lab.yaml' <"$REPO/examples/workshop-6.yaml"
    # Whoever reads no terminal gets no advice, and it is not used up.
    exits 0 on berth apply /srv/net/lab.yaml
    refute_match "$output$stderr" 'reboot'
    refute_match "$(terminal 'berth apply --json /srv/net/lab.yaml')" 'reboot'
    refute_match "$(terminal 'berth apply --dry-run /srv/net/lab.yaml')" 'reboot'
    refute_match "$(terminal 'berth apply --quiet /srv/net/lab.yaml')" 'reboot'
    exits 1 on test -e /var/lib/berth/boot-hint

    local said
    said=$(terminal 'berth apply /srv/net/lab.yaml')
    assert_match "$said" 'systemctl enable berth.service'
    refute_match "$(terminal 'berth apply /srv/net/lab.yaml')" 'reboot' "it is said once"
    # Its commands as they are pasted; then the reboot.
    on bash -euc "$(grep '^  [a-z]' <<<"$said" | grep -E '^  (mkdir|systemctl) ')"
    assert_eq "$(on systemctl is-enabled berth.service)" enabled
    "$LAB/host" reboot "$NAME" >&2
    on timeout 60 sh -c 'until [ "$(systemctl show berth.service -p ExecMainExitTimestampMonotonic --value)" != 0 ]; do sleep 0.05; done'
    exits 0 on berth run -f /srv/net/lab.yaml container1 -- ping -c1 -W2 container2

    # An enabled unit needs no advice; where the environment file names a spec, it is shown and not replaced.
    on rm /var/lib/berth/boot-hint
    refute_match "$(terminal 'berth apply /srv/net/lab.yaml')" 'reboot'
    exits 0 on systemctl disable berth.service
    said=$(terminal 'berth apply /srv/net/lab.yaml')
    assert_match "$said" 'cat /etc/berth/berth.env'
    assert_match "$said" 'systemctl enable berth.service'
    # The default place needs no environment file.
    on sh -c 'rm /etc/berth/berth.env /var/lib/berth/boot-hint; mv /srv/net/lab.yaml /etc/berth/berth.yaml'
    said=$(terminal 'cd / && berth apply')
    assert_match "$said" 'systemctl enable berth.service'
    refute_match "$said" 'berth.env'
}
