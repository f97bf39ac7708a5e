#!/usr/bin/env bats
# A boot where the uplink gets its address and its resolver after berth has run.
load ../lab/lib

NAME=u${BATS_SUITE_TEST_NUMBER:-1}x$$
on() { "$LAB/host" exec "$NAME" "$@"; }
b() { on "$REPO/${BERTH#"$REPO"/}" "$@"; }

setup() {
    need_berth
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet >&2
    on sh -c 'mkdir -p /etc/berth; cat >/etc/berth/berth.yaml' <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      web: {address: 10.100.0.10}
	      db: {address: 10.100.0.20, runtime: netns}
	END
    on sh -c "for u in service timer; do sed 's|@BERTH_PROGRAM@|$REPO/${BERTH#"$REPO"/}|' '$REPO/cmd/systemd/berth.'\$u >/etc/systemd/system/berth.\$u; done
        systemctl enable berth.service"
    # The next boot has no uplink, until uplinked.
    on sh -c 'systemctl disable uplink.service; rm -f /etc/resolv.conf'
}
teardown() { "$LAB/host" down "$NAME"; }

uplinked() { on sh -c 'ip -batch /etc/uplink; echo "nameserver 198.51.100.1" >/etc/resolv.conf'; }
property() { on systemctl show berth.service -P "$1"; }
# Without berth's help: from the container's own network.
reaches() { on ip netns exec "$1" ping -q -c1 -W2 198.51.100.1; }
status_says() { [[ $(property StatusText) =~ $1 ]]; }
ended() { [[ $(property ActiveState) == inactive && $(property Result) == success ]]; }
failed() { [[ $(property ActiveState) == failed ]]; }
names_resolver() { on grep -q '^nameserver 198.51.100.1' "/etc/netns/$1/resolv.conf"; }

@test "the uplink comes after berth has run: NAT and the resolver follow by themselves" {
    "$LAB/host" reboot "$NAME" >&2
    until_here status_says 'Waiting for an IPv4 default route for NAT of bridge .br0., and a nameserver'
    assert_eq "$(property ActiveState)" active
    assert_match "$(on journalctl -q -u berth.service -o cat)" 'now waiting up to 60 s for an IPv4 default route'
    # All that needs no uplink is there.
    assert_eq "$(on systemctl is-active berth@web)" active
    exits 0 on ip netns exec db ping -q -c1 -W2 10.100.0.10
    if reaches db; then fail "there is no uplink yet"; fi
    # First the address and the route, later the resolver.
    on ip -batch /etc/uplink
    until_here status_says 'Waiting for a nameserver'
    exits 0 reaches db
    on sh -c 'echo "nameserver 198.51.100.1" >/etc/resolv.conf'
    until_here ended
    exits 0 names_resolver db
    exits 0 reaches web
    exits 0 b run web -- cat /etc/resolv.conf
    assert_match "$output" 198.51.100.1
    assert_eq "$(on systemctl is-system-running)" running
}

@test "the resolver comes by way of a link into a directory that appears later" {
    on ln -sf ../run/later/resolv.conf /etc/resolv.conf
    "$LAB/host" reboot "$NAME" >&2
    until_here status_says 'Waiting for'
    on ip -batch /etc/uplink
    until_here status_says 'Waiting for a nameserver'
    on sh -c 'mkdir /run/later; echo "nameserver 198.51.100.1" >/run/later/new; mv /run/later/new /run/later/resolv.conf'
    until_here ended
    exits 0 names_resolver db
}

@test "no uplink comes: the unit is not green, says what is pending, and the timer tries again" {
    on sh -c 'echo BERTH_BOOT_WAIT=1s >/etc/berth/berth.env'
    "$LAB/host" reboot "$NAME" >&2
    until_here failed
    assert_match "$(on systemctl status berth.service || :)" "Pending: an IPv4 default route for NAT of bridge 'br0', and a nameserver in /etc/resolv.conf"
    assert_match "$(on journalctl -q -u berth.service -o cat)" 'gave up after 1 s; all else is applied, and this is pending: an IPv4 default route'
    assert_eq "$(property ExecMainStatus)" 75
    assert_eq "$(on systemctl is-active berth@web)" active
    # By hand it does not wait again.
    exits 1 on systemctl start berth.service
    assert_match "$(on systemctl status berth.service || :)" 'Pending:'
    on sh -c 'mkdir -p /etc/systemd/system/berth.timer.d
        printf "[Timer]\nOnBootSec=0\nOnUnitInactiveSec=300ms\nRandomizedDelaySec=0\nAccuracySec=1ms\n" >/etc/systemd/system/berth.timer.d/soon.conf
        systemctl daemon-reload; systemctl start berth.timer'
    uplinked
    until_here reaches db
    on systemctl stop berth.timer
    until_here ended
    exits 0 reaches web
    exits 0 names_resolver db
}

@test "a host with its uplink waits for nothing" {
    on sh -c 'echo "nameserver 198.51.100.1" >/etc/resolv.conf'
    exits 0 on systemctl start berth.service
    until_here ended
    refute_match "$(on journalctl -q -u berth.service -o cat)" waiting
    exits 0 reaches db
    # One after the other: a start is a run of its own.
    on ip link del vb-db
    exits 0 on systemctl start berth.service
    on ip link del vb-db
    exits 0 on systemctl start berth.service
    exits 0 reaches db
}

# until_here CMD...: until CMD succeeds; what happens there sends no notice to here.
until_here() {
    local end=$((SECONDS + 60))
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then fail "not within 60 s: $*; $(on systemctl status berth.service 2>&1 || :)"; return 1; fi
        read -rt 0.1 <> <(:) || true
    done
}

@test "a container that broke its own /etc fails alone at boot, and the others get their uplink" {
    on sh -c 'echo "nameserver 198.51.100.1" >/etc/resolv.conf
        mkdir -p /srv/bad/usr/bin /srv/bad/usr/lib /srv/bad/etc; cp /bin/busybox /srv/bad/usr/bin/
        for l in sh sleep rm umount mkdir; do ln -sf busybox /srv/bad/usr/bin/$l; done; ln -s usr/bin /srv/bad/bin
        echo "      bad: {address: 10.100.0.30, nspawn: {private_users: none, capabilities: [SYS_ADMIN], root: /srv/bad, command: [/bin/sleep, 9999]}}" >>/etc/berth/berth.yaml'
    exits 0 on systemctl start berth.service
    exits 0 b run bad -- /bin/sh -c 'umount /etc/hosts /etc/resolv.conf; rm -rf /etc; echo x >/etc'
    assert_eq "$(on cat /srv/bad/etc)" x
    "$LAB/host" reboot "$NAME" >&2
    until_here status_says 'Waiting for an IPv4 default route'
    assert_eq "$(on systemctl is-active berth@web)" active
    uplinked
    until_here failed
    assert_eq "$(property ExecMainStatus)" 6
    assert_match "$(on journalctl -q -u berth.service -o cat)" "cannot start container 'bad'"
    exits 0 reaches web
    exits 0 reaches db
    # Later runs name it again.
    exits 6 b apply
    assert_match "$stderr" "cannot start container 'bad'"
    exits 0 reaches web
}
