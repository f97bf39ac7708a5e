#!/usr/bin/env bats
# Containers that own their network, as units of systemd: reboots from inside, restarts, crashes. Nobody applies anything meanwhile.
load ../lab/lib

NAME=t${BATS_SUITE_TEST_NUMBER:-1}n$$
on() { "$LAB/host" exec "$NAME" "$@"; }
b() { on "$REPO/${BERTH#"$REPO"/}" "$@"; }

setup() {
    need_berth
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet >&2
    on sh -c 'mount -t tmpfs -o mode=755 tmpfs /srv; mkdir -p /srv/root/usr/bin /srv/root/usr/lib /srv/root/etc
        cp /bin/busybox /srv/root/usr/bin/; for l in $(busybox --list); do [ $l = busybox ] || ln -sf busybox /srv/root/usr/bin/$l; done
        ln -s usr/bin /srv/root/bin; ln -s usr/bin /srv/root/sbin; echo root:x:0:0::/root:/bin/sh >/srv/root/etc/passwd
        mkdir -p /etc/berth; cat >/etc/berth/berth.yaml' <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      booted: {address: 10.100.0.10, ports: [8080:80], nspawn: {boot: true, network_admin: true}}
	      plain: {address: 10.100.0.11, nspawn: {root: /srv/root, network_admin: true, command: [/bin/sh, -c, 'ip -4 address show eth0 >>/seen; exec sleep 9999']}}
	END
    exits 0 b apply
}
teardown() { "$LAB/host" down "$NAME"; }

# Each look takes some time of its own.
eventually() {
    local end=$((SECONDS + 60))
    until "$@"; do
        ((SECONDS < end)) || fail "it did not happen within 60 s: $*"
    done
}
main_pid() { on systemctl show -P MainPID "berth@$1"; }
# The container has started anew, its gate has passed, and its name is that of its namespace.
came_back() {
    local pid leader
    pid=$(main_pid "$1")
    [[ $pid != 0 && $pid != "$2" ]] || return 1
    leader=$(on pgrep -P "$pid" | head -1)
    [[ $leader ]] || return 1
    on sh -c 'ip netns exec "$1" ip -4 address show eth0 | grep -q "inet $2/24" &&
        [ "$(readlink "/proc/$3/ns/net")" = "net:[$(stat -Lc %i "/run/netns/$1")]" ]' sh "$1" "$3" "$leader" 2>/dev/null
}
whole() {
    exits 0 b plan -e
    exits 0 b run booted -- ip link set eth0 mtu 1400
    exits 0 b run booted -- ip link set eth0 mtu 1500
    exits 0 b run plain -- ping -q -c1 -W2 10.100.0.10
    exits 0 b run plain -- ping -q -c1 -W2 198.51.100.1
}

@test "a reboot from inside, a restart of the unit, and a crash bring the network back, without an apply" {
    local pid
    exits 0 b run booted -- readlink /etc/systemd/system/ldconfig.service
    assert_eq "$output" /dev/null
    eventually b run booted -- systemctl is-system-running --wait
    whole
    assert_eq "$(on systemctl is-active berth@booted berth@plain | xargs)" "active active"
    pid=$(main_pid booted)
    exits 0 b run booted -- systemctl reboot
    eventually came_back booted "$pid" 10.100.0.10
    eventually b run booted -- systemctl is-system-running --wait
    whole
    for c in booted plain; do
        pid=$(main_pid $c)
        on systemctl restart berth@$c
        eventually came_back $c "$pid" "10.100.0.1$([[ $c == booted ]] && echo 0 || echo 1)"
    done
    whole
    # Root inside changes its network; the next life has the network of the spec.
    exits 0 b run plain -- sh -c 'ip address add 10.100.0.99/24 dev eth0; ip route del default'
    pid=$(main_pid plain)
    on systemctl restart berth@plain
    eventually came_back plain "$pid" 10.100.0.11
    whole
    # Each life saw its address at its first instruction.
    assert_eq "$(on grep -c 'inet 10.100.0.11/24' /srv/root/seen)" 3
    # A crash. systemd-machined forgets the container a moment later.
    pid=$(main_pid plain)
    on kill -9 "$pid"
    eventually eval '! on machinectl -q show plain >/dev/null 2>&1 && ! on systemctl -q is-active berth@plain'
    assert_eq "$(on ls /run/netns)" booted
    on systemctl reset-failed berth@plain
    on systemctl start berth@plain
    eventually came_back plain "$pid" 10.100.0.11
    whole
}

@test "an ended container leaves no name and no link; its unit brings it back" {
    links() { on ip -j link show type veth | jq -c '[.[].ifname | select(startswith("vb-"))] | sort'; }
    assert_eq "$(links)" '["vb-booted","vb-plain"]'
    on systemctl stop berth@plain
    assert_eq "$(on ls /run/netns)" booted
    eventually eval '[[ $(links) == "[\"vb-booted\"]" ]]'
    on systemctl start berth@plain
    eventually came_back plain 0 10.100.0.11
    whole
    exits 0 b stop plain
    assert_eq "$(on ls /run/netns)" booted
    exits 0 b plan -e
    exits 0 b restart booted
    exits 0 b start plain
    whole
    assert_match "$(on machinectl list --no-legend --no-pager | awk '{print $1}' | sort | xargs)" 'booted plain'
    exits 0 b backup plain /root/plain.tar
    exits 0 b destroy --yes
    assert_eq "$(on ls -A /run/netns) $(links)" ' []'
    assert_eq "$(on sh -c 'ls /run/systemd/system | grep berth@ || :')" ""
}

@test "a start fails, and says why, where the network cannot be made" {
    on systemctl stop berth@plain
    on ip link add vb-plain type bridge
    on systemctl start berth@plain || true
    eventually on systemctl -q is-failed berth@plain
    assert_match "$(on journalctl -b --no-pager -o cat -u berth@plain)" "link 'vb-plain' exists, and berth did not make it"
    assert_eq "$(on ip -d -j link show vb-plain | jq -r '.[].linkinfo.info_kind')" bridge
    assert_eq "$(on ls /run/netns)" booted
    on ip link del vb-plain
    on systemctl start berth@plain
    eventually came_back plain 0 10.100.0.11
    whole
}
