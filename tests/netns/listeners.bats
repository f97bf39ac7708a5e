#!/usr/bin/env bats
# A port map never takes a port of this host unseen.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset SSH_CONNECTION SSH_CLIENT
}
teardown() { lab_down; }

# maps PORTS: of one container.
maps() {
    spec <<Y
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    nat: {interface: eth0}
    containers:
      web: {address: 10.100.0.10, runtime: netns, ports: [$1]}
Y
}
# serves PROGRAM ADDRESS: a program of that name on the host.
serves() {
    host cp /usr/bin/socat "/usr/local/bin/$1"
    host "/usr/local/bin/$1" "$2" PIPE >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
}
pid_of() { host pgrep -x "$1" | head -n1; }

@test "plan and apply name the program on a port that is to be mapped" {
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    serves dnsd UDP6-RECVFROM:5353,fork,ipv6only=0
    serves other TCP4-LISTEN:8090,fork,bind=127.0.0.1
    wait_for listening host tcp 8080
    wait_for listening host udp 5353
    wait_for listening host tcp 8090
    maps "8080:80, 5353:53/udp, 203.0.113.2:8090:90"
    exits 0 berth plan "$SPEC"
    assert_match "$output$stderr" "httpd \(pid $(pid_of httpd)\) listens on it"
    assert_match "$output$stderr" "port tcp 8080"
    assert_match "$output$stderr" "dnsd \(pid $(pid_of dnsd)\) listens"
    refute_match "$output$stderr" "other"               # on another address than the map's
    exits 0 berth plan --json "$SPEC"
    json '[.. | objects | select(.warning == true and (.object == "port tcp 8080"))] | length == 1'
    exits 0 berth apply -q "$SPEC"
    assert_match "$stderr" "httpd"
    exits 0 berth plan -e "$SPEC"                       # the map is there: nothing new is taken
    refute_match "$output$stderr" "httpd"
}

@test "a new map of a port on which sshd has a connection is refused without SSH_CONNECTION; all else is done" {
    serves sshd TCP6-LISTEN:2222,fork,reuseaddr,ipv6only=0
    wait_for listening host tcp 2222
    mkfifo "$BATS_TEST_TMPDIR/in"
    inet socat TCP:203.0.113.2:2222 - <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    exec {ssh}>"$BATS_TEST_TMPDIR/in"
    echo one >&"$ssh"
    wait_for grep -q one "$BATS_TEST_TMPDIR/out"
    maps "8080:80, 2220-2225:2220-2225"
    exits 4 berth plan "$SPEC"
    # The place is the second map's own, not the first's.
    local before
    before=$(grep -o '.*8080:80, ' "$SPEC")
    assert_match "$stderr" "berth.yaml:7:$((${#before} + 1)): sshd"
    assert_match "$output" "port tcp 2222: *the port map to container web is pending"
    refute_match "$output$stderr" "nothing will reach that program"
    assert_match "$stderr" "sshd \(pid [0-9]+\) has a connection from 203.0.113.1 to port 2222 here, and container web takes that port"
    assert_match "$stderr" "--allow-own-connection"
    exits 4 berth apply "$SPEC"
    assert_match "$stderr" "port 2222 here"
    assert_match "$stderr" "Applied [0-9]+ steps; what is named above is refused"
    pings "inside web" 10.100.0.1
    host nft get element inet berth any4 '{ tcp . 8080 }'
    host nft get element inet berth any4 '{ tcp . 2221 }'
    exits 1 host nft get element inet berth any4 '{ tcp . 2222 }'
    echo two >&"$ssh"
    wait_for grep -q two "$BATS_TEST_TMPDIR/out"
    exits 4 berth apply "$SPEC"                         # again, as a timer would
    assert_match "$stderr" "Refused; nothing was changed"
    exits 4 berth plan "$SPEC"
    assert_match "$output" "Nothing can be done now; 1 port map is pending"
    refute_match "$output" "in sync"
    refute_match "$output$stderr" "nothing will reach that program"
    exits 0 berth apply --allow-own-connection "$SPEC"
    host nft get element inet berth any4 '{ tcp . 2222 }'
    exits 0 berth apply "$SPEC"                         # no new map any more
    echo three >&"$ssh"
    wait_for grep -q three "$BATS_TEST_TMPDIR/out"
}

@test "where no map is new, no socket is looked at" {
    maps "8080:80"
    exits 0 berth apply "$SPEC"
    local ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0}
    exits 0 host strace -f -qq -e trace=socket -o "$BATS_TEST_TMPDIR/trace" -- "$BERTH" apply "$SPEC"
    grep -q NETLINK_NETFILTER "$BATS_TEST_TMPDIR/trace"
    exits 1 grep "NETLINK_SOCK_DIAG\|NETLINK_INET_DIAG" "$BATS_TEST_TMPDIR/trace"
}
