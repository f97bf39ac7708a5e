#!/usr/bin/env bats
# A host with systemd as PID 1: units, machinectl, a reboot, a crash.
load ../lab/lib

NAME=t${BATS_SUITE_TEST_NUMBER:-1}x$$
on() { "$LAB/host" exec "$NAME" "$@"; }
b() { on "$REPO/${BERTH#"$REPO"/}" "$@"; }

setup() {
    need_berth
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet >&2
    on sh -c 'mkdir -p /etc/ssl/certs /etc/ssl/private && echo AUTHORITY >/etc/ssl/certs/ca.pem && echo SECRET >/etc/ssl/private/key.pem'
    on sh -c 'mkdir -p /etc/berth; cat >/etc/berth/berth.yaml' <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br-containers, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      container1: 10.100.0.10
	      container2: {address: 10.100.0.20, autostart: false}
	      booted: {address: 10.100.0.30, nspawn: {boot: true}}
	      talks: {address: 10.100.0.40, nspawn: {private_users: none, command: [sh, -c, 'echo "hello $A"; exec sleep 9999'], environment: {A: 'b "c" %n $$'}}}
	END
}
teardown() { "$LAB/host" down "$NAME"; }

machines() { on machinectl list --no-legend --no-pager | awk '{print $1}' | sort | xargs; }

@test "units of ours, seen by systemctl and machinectl; entered, logged, stopped, started" {
    exits 0 b apply
    assert_eq "$(machines)" "booted container1 container2 talks"
    assert_eq "$(on systemctl is-active berth@container1)" active
    exits 0 b run container1 -- ping -c1 -W2 container2
    exits 0 b run container1 -- ping -c1 -W2 198.51.100.1
    exits 0 b run booted -- systemctl is-system-running --wait
    # Debian 13 has this unit; it would replace the cache that the host shows.
    exits 0 b run booted -- readlink /etc/systemd/system/ldconfig.service
    assert_eq "$output" /dev/null
    for c in container1 talks; do
        exits 0 b run "$c" -- cat /etc/ssl/certs/ca.pem
        exits 2 b run "$c" -- ls /etc/ssl/private
    done
    exits 0 b logs talks
    assert_match "$output" 'hello b "c" %n \$\$'
    exits 0 b plan -e
    exits 0 b stop container1
    # An ordinary stop is no failure.
    refute_match "$(on journalctl -b --no-pager -o cat -u berth@container1)" "[Ff]ailed"
    assert_eq "$(on systemctl show berth@container1 -p Result --value)" success
    assert_eq "$(machines)" "booted container2 talks"
    exits 0 b plan -e
    exits 0 b start container1
    assert_eq "$(on systemctl is-active berth@container1)" active
    exits 0 b destroy --yes
    assert_eq "$(machines)" ""
    assert_eq "$(on sh -c 'ls /run/systemd/system | grep berth@ || :')" ""
}

@test "without /run/berth, and without its unit's settings, what runs is known and goes with its container" {
    exits 0 b apply
    on rm -rf /run/berth
    exits 0 b list --json
    assert_eq "$(json '[.containers[] | select(.state == "running") | .name] | join(" ")')" "booted container1 container2 talks"
    on sed -i '/talks:/d; /container2:/d' /etc/berth/berth.yaml
    on sh -c 'rm -rf /run/systemd/system/berth@talks.service.d; systemctl daemon-reload'
    exits 0 b apply
    assert_eq "$(machines)" "booted container1"
    exits 0 b plan -e
}

@test "a killed container is drift, and started again; a change of settings restarts that one alone" {
    exits 0 b apply
    local pid other
    pid=$(on systemctl show -P MainPID berth@container1) other=$(on systemctl show -P MainPID berth@talks)
    on kill -9 "$pid"
    on sh -c 'until ! systemctl is-active -q berth@container1; do :; done'
    exits 2 b plan -e --json
    assert_eq "$(json '[.steps[].object] | join(",")')" "run container1"
    exits 0 b apply
    assert_eq "$(on systemctl is-active berth@container1)" active
    on sed -i 's/container1: 10.100.0.10/container1: {address: 10.100.0.10, nspawn: {environment: {X: y}}}/' /etc/berth/berth.yaml
    exits 0 b apply
    assert_eq "$(on systemctl show -P MainPID berth@talks)" "$other"
    exits 0 b plan -e
}

@test "a reboot, and a power cut: berth's boot unit brings the network and the autostarted containers back" {
    exits 0 b apply
    on sh -c "sed 's|@BERTH_PROGRAM@|$REPO/${BERTH#"$REPO"/}|' '$REPO/cmd/systemd/berth.service' >/etc/systemd/system/berth.service; systemctl enable berth.service"
    local way
    for way in reboot crash; do
        "$LAB/host" "$way" "$NAME" >&2
        on timeout 60 sh -c 'until [ "$(systemctl show berth.service -p ExecMainExitTimestampMonotonic --value)" != 0 ]; do sleep 0.05; done'
        assert_eq "$(on systemctl show berth.service -p Result --value)" success
        assert_eq "$(machines)" "booted container1 talks"
        exits 0 b run container1 -- ping -c1 -W2 198.51.100.1
        exits 0 b plan -e
        exits 0 b list --json
        assert_eq "$(json '.containers[] | select(.name == "container2") | .state')" held
    done
    exits 0 b start container2
    assert_eq "$(machines)" "booted container1 container2 talks"
}

@test "a command that ends at once fails the apply each time, and leaves no failed unit behind" {
    b_spec() {
        on sh -c 'cat >/etc/berth/berth.yaml' <<-END
		version: 1
		hosts:
		  localhost:
		    bridge: {name: br-containers, address: 10.100.0.1/24}
		    containers:
		      web: {address: 10.100.0.10, nspawn: {command: [sh, -c, '$1']}}
		END
    }
    local ends
    for ends in 0 7 0; do
        b_spec "echo hello; echo bye; exit $ends"
        exits 5 b apply
        assert_match "$stderr" "cannot start container 'web': its command ended, status $ends"$'\n *. hello\n *. bye(\n|$)'
        assert_eq "$(on systemctl list-units --all --plain --no-legend 'berth@*' | xargs)" ""
    done
    b_spec 'echo up; exec sleep 9999'
    exits 0 b apply
    exits 0 b plan -e
    # One that failed later, and is taken out of the spec.
    on sh -c 'systemctl kill -s KILL berth@web; while systemctl is-active -q berth@web; do sleep 0.05; done'
    assert_eq "$(on systemctl is-failed berth@web)" failed
    on sed -i 's/containers:/containers: {}/; /web:/d' /etc/berth/berth.yaml
    exits 0 b apply --allow-deletes 1
    assert_eq "$(on systemctl list-units --all --plain --no-legend 'berth@*' | xargs)" ""
}
