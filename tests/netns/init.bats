#!/usr/bin/env bats
# A first spec: it fits the host that it is written on, and nothing is overwritten.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    host mkdir -p /srv/new
}
teardown() { lab_down; }

# init_in DIR ARGS...: `berth init` there.
init_in() { local dir=$1; shift; host_sh 'cd "$1" && shift && "$@"' "$dir" "$BERTH" init "$@"; }

address() { host sed -n 's/^ *address: \(10[0-9.]*\.1\)\/24 .*/\1/p; s/^ *address: \([0-9.]*\.1\)\/24 .*/\1/p' /srv/new/berth.yaml | head -1; }

@test "init, apply: the container reaches the internet, its neighbour by name, and the second plan is empty" {
    exits 0 init_in /srv/new
    assert_match "$output" 'Written: /srv/new/berth.yaml'
    exits 0 host_sh 'cd /srv/new && "$1" validate && "$1" apply' "$BERTH"
    exits 0 host_sh 'cd /srv/new && "$1" plan -e' "$BERTH"
    inside web ping -q -c1 -W5 198.51.100.1 || fail "no way out of web"
    exits 0 host_sh 'cd /srv/new && "$1" list --json' "$BERTH"
    assert_eq "$(json '[.containers[] | "\(.name) \(.sync)"] | join(", ")')" 'db in sync, web in sync'
    assert_eq "$(host ip -j address show br-containers | jq -r '.[].addr_info[] | select(.family == "inet").local')" 10.100.0.1
    exits 0 host_sh 'cd /srv/new && "$1" destroy --yes' "$BERTH"
}

@test "init takes a network that no route, address or nameserver of the host is in" {
    host ip link add lan0 type bridge
    host ip address add 10.100.0.7/24 dev lan0
    host ip link set lan0 up
    host ip route add 10.101.0.0/16 dev lan0
    host ip route add unreachable 10.102.0.0/17
    host ip route add 10.103.0.0/24 dev lan0 table 52
    host_sh 'echo "nameserver 10.104.0.53" >/etc/resolv.conf'
    exits 0 init_in /srv/new
    assert_eq "$(address)" 10.105.0.1
    exits 0 host_sh 'cd /srv/new && "$1" apply' "$BERTH"
    exits 0 host_sh 'cd /srv/new && "$1" plan -e' "$BERTH"
    inside web ping -q -c1 -W5 198.51.100.1 || fail "no way out of web"
    # The whole of 10.0.0.0/8 is a VPN's: another range.
    host ip route add 10.0.0.0/8 dev lan0
    exits 0 init_in /srv/new other.yaml
    assert_match "$(host cat /srv/new/other.yaml)" 'address: 172\.24\.0\.1/24'
    host ip route add 172.16.0.0/12 dev lan0
    host ip route add 192.168.0.0/16 dev lan0
    exits 1 init_in /srv/new third.yaml
    assert_match "$stderr" 'cannot find a free private network'
    host test ! -e /srv/new/third.yaml
}

@test "init overwrites nothing: a file, a link, a directory; and leaves no half of one" {
    host_sh 'echo mine >/srv/new/berth.yaml; ln -s /srv/new/nowhere /srv/new/link.yaml; mkdir /srv/new/dir'
    exits 1 init_in /srv/new
    assert_match "$stderr" "cannot write 'berth.yaml': it is there already"
    assert_match "$stderr" 'berth init -'
    assert_eq "$(host cat /srv/new/berth.yaml)" mine
    exits 1 init_in /srv/new link.yaml
    host test ! -e /srv/new/nowhere
    exits 1 init_in /srv/new dir
    exits 1 init_in /srv/new none/berth.yaml
    assert_match "$stderr" "No such file or directory"
    host_sh 'mkdir /srv/full && mount -t tmpfs -o size=4k full /srv/full && echo x >/srv/full/x'
    exits 1 init_in /srv/full
    assert_eq "$(host ls /srv/full)" x
    exits 1 init_in /srv/new --json berth.yaml
    assert_eq "$(json .outcome)" failed
}

@test "init without root, to standard output, changes nothing on the host" {
    host cp "$BERTH" /tmp/berth.init
    exits 0 traced_berth "$BATS_TEST_TMPDIR/trace" init -
    local text=$output
    assert_eq "$(changes "$BATS_TEST_TMPDIR/trace")" ""
    assert_eq "$(writes "$BATS_TEST_TMPDIR/trace")" ""
    exits 0 host_sh 'cd / && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$1" init -' "$BERTH"
    assert_eq "$output" "$text"
    exits 0 host_sh 'printf "%s\n" "$2" | "$1" validate -' "$BERTH" "$text"
    host rm -f /tmp/berth.init
}

@test "init on a host without a default route, a resolver or a usable name; beside a foreign bridge, and a second time" {
    host_sh 'ip route del default; ip -6 route del default; : >/etc/resolv.conf; echo My_Host >/proc/sys/kernel/hostname; ip link add br-containers type bridge'
    exits 0 init_in /srv/new
    local text
    text=$(host cat /srv/new/berth.yaml)
    assert_match "$text" '# nat: \{interface: auto\}'
    assert_match "$text" '# nameservers: \[ADDRESS\]'
    assert_match "$text" $'\n  localhost:'
    assert_match "$text" 'name: br-berth1'
    exits 0 host_sh 'cd /srv/new && "$1" apply' "$BERTH"
    exits 0 host_sh 'cd /srv/new && "$1" plan -e' "$BERTH"
    inside web ping -q -c1 -W5 10.100.0.20 || fail "web does not reach db"
    exits 0 init_in /srv/new second.yaml
    assert_match "$stderr" 'another spec is applied here already'
    assert_match "$(host cat /srv/new/second.yaml)" 'address: 10\.101\.0\.1/24'
}

@test "init on a host without systemd-nspawn, and on NixOS: containers that need neither" {
    local where
    for where in 'rm -f /usr/bin/systemd-nspawn' 'touch /etc/NIXOS'; do
        host_sh "$where; rm -f /srv/new/berth.yaml"
        exits 0 init_in /srv/new
        assert_match "$(host cat /srv/new/berth.yaml)" 'runtime: netns'
        exits 0 host_sh 'cd /srv/new && "$1" apply && "$1" plan -e' "$BERTH"
        inside web ping -q -c1 -W5 198.51.100.1 || fail "no way out of web"
    done
    assert_match "$(host cat /srv/new/berth.yaml)" 'runtime: nixos'
}

@test "init says its choices in JSON; without a spec the hint names it" {
    exits 0 init_in /srv/new --json named.yaml
    assert_eq "$(json '"\(.format) \(.outcome) \(.spec.file) \(.bridge) \(.uplink)"')" 'berth.init written /srv/new/named.yaml 10.100.0.1/24 eth0'
    exits 64 host_sh 'cd / && "$1" plan' "$BERTH"
    assert_match "$stderr" 'berth init'
}
