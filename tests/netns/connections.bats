#!/usr/bin/env bats
# Connections follow the port maps: a peer that keeps sending reaches what the spec says now, and all others go on.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
}
teardown() { lab_down; }

# maps WEB DB: ports of both containers.
maps() {
    spec <<Y
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    nat: {interface: eth0}
    containers:
      web: {address: 10.100.0.10, runtime: netns, ports: [$1]}
      db: {address: 10.100.0.20, runtime: netns, ports: [$2]}
Y
    exits 0 berth apply "$SPEC"
}

# keeps_sending WHERE ADDRESS: a datagram to port 5000 twenty times a second from one socket, each with its number.
keeps_sending() {
    $1 perl -MIO::Socket::INET -e '
        $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 4444) or die;
        $to = sockaddr_in(5000, inet_aton($ARGV[0]));
        $| = 1;
        for ($n = 1; ; $n++) { $s->send("$n\n", 0, $to); print "$n\n"; select undef, undef, undef, 0.05 }' "$2" \
        >"$BATS_TEST_TMPDIR/sent" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    wait_for test -s "$BATS_TEST_TMPDIR/sent"
}
# receives CONTAINER: what comes to port 6000 there, into the file of its name.
receives() {
    inside "$1" socat -u UDP4-RECV:6000 - >"$BATS_TEST_TMPDIR/$1" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    wait_for listening "inside $1" udp 6000
}
sent() { tail -n1 "$BATS_TEST_TMPDIR/sent"; }
got() { tail -n1 "$BATS_TEST_TMPDIR/$1"; }
# Of what is sent from now on something arrives, or nothing does.
arrives() { local from; from=$(sent); wait_for eval "[[ \$(got $1) -gt $from ]]"; }
stays_away() {
    local from
    from=$(($(sent) + 2))
    wait_for eval "[[ \$(sent) -gt $((from + 5)) ]]"
    [[ $(got "$1") -le $from ]] || fail "$1 got $(got "$1") of after $from"
}

@test "a UDP peer that keeps sending reaches a new port map, follows it to another container, and nobody when it is gone" {
    maps "" "9:9"
    receives web
    receives db
    keeps_sending inet 203.0.113.2
    maps "5000:6000/udp" "9:9"
    arrives web
    maps "" "9:9, 5000:6000/udp"
    arrives db
    stays_away web
    maps "" "9:9"
    stays_away db
    maps "203.0.113.2:5000:6000/udp" "9:9"
    arrives web
    berth destroy -q --yes "$SPEC"
}

@test "a peer on the host itself follows a port map, too" {
    maps "" "9:9"
    receives web
    keeps_sending host 203.0.113.2
    maps "5000:6000/udp" "9:9"
    arrives web
    maps "" "9:9"
    stays_away web
}

# opens PORT NAME: a TCP connection from the internet that says what it is told by a fifo, into the file of that name.
opens() {
    mkfifo "$BATS_TEST_TMPDIR/$2.in"
    inet socat "TCP:203.0.113.2:$1" - <"$BATS_TEST_TMPDIR/$2.in" >"$BATS_TEST_TMPDIR/$2.out" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    eval "exec {FD_$2}>\"$BATS_TEST_TMPDIR/$2.in\""
}
says() { local fd="FD_$1"; echo "$2" >&"${!fd}"; }
echoes() {
    inside "$1" socat "TCP4-LISTEN:$2,fork,reuseaddr" SYSTEM:"tee -a $BATS_TEST_TMPDIR/$1.got" >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for listening "inside $1" tcp "$2"
}

@test "a TCP connection through a port map ends with it; those through others and from inside go on" {
    maps "8080:80" "8081:80"
    echoes web 80
    echoes db 80
    opens 8080 gone
    opens 8081 stays
    says gone one
    says stays one
    wait_for grep -q one "$BATS_TEST_TMPDIR/gone.out"
    wait_for grep -q one "$BATS_TEST_TMPDIR/stays.out"
    maps "" "8081:80, 8082:80"
    says gone two
    says stays two
    wait_for grep -q two "$BATS_TEST_TMPDIR/stays.out"
    if grep -q two "$BATS_TEST_TMPDIR/web.got"; then fail "the old target still receives"; fi
    host grep -q "dport=8081 .*src=10.100.0.20" /proc/net/nf_conntrack
    exits 1 host grep "dport=8080 .*src=10.100.0.10" /proc/net/nf_conntrack
}

@test "a connection to a service of this host goes on when its port is mapped" {
    maps "" "9:9"
    host socat TCP4-LISTEN:8080,fork,reuseaddr SYSTEM:cat >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for listening host tcp 8080
    opens 8080 own
    says own one
    wait_for grep -q one "$BATS_TEST_TMPDIR/own.out"
    maps "8080:80" "9:9"
    says own two
    wait_for grep -q two "$BATS_TEST_TMPDIR/own.out"
}

@test "an address that moves to another container takes no connection of the old one along" {
    maps "5000:6000/udp" "9:9"
    receives web
    keeps_sending inet 203.0.113.2
    arrives web
    sed -i 's/web: /www: /' "$SPEC"
    exits 0 berth apply "$SPEC"
    receives www
    arrives www
    exits 1 host grep "src=10.100.0.77" /proc/net/nf_conntrack
    sed -i 's/10.100.0.10,/10.100.0.11,/' "$SPEC"
    exits 0 berth apply "$SPEC"
    arrives www
    exits 1 host grep "src=10.100.0.10 " /proc/net/nf_conntrack
}

# outward NAME: the container sends to port 5000 of the internet, and has a tracked flow by that.
outward() {
    inside "$1" perl -MIO::Socket::INET -e '
        $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 4445) or die;
        $to = sockaddr_in(5000, inet_aton("198.51.100.1"));
        for (;;) { $s->send("x\n", 0, $to); select undef, undef, undef, 0.05 }' >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
    wait_for host grep -q "src=$2 dst=198.51.100.1 .*dport=5000" /proc/net/nf_conntrack
}

@test "the connections of an address that leaves go with it, and no others" {
    maps "8080:80" "9:9"
    outward web 10.100.0.10
    outward db 10.100.0.20
    sed -i '/web: /d' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 1 host grep "10.100.0.10 " /proc/net/nf_conntrack
    host grep -q "src=10.100.0.20 dst=198.51.100.1 " /proc/net/nf_conntrack
}

@test "a peer outside that could send to a container does not any longer when inbound is closed" {
    maps "8080:80" "9:9"
    sed -i 's/interface: eth0/interface: eth0, inbound: open/' "$SPEC"
    exits 0 berth apply "$SPEC"
    inet ip route add 10.100.0.0/24 via 203.0.113.2
    inside web perl -MIO::Socket::INET -e '
        $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 5000) or die;
        $| = 1;
        while ($s->recv($b, 99)) { print $b; $s->send("yes") }' >"$BATS_TEST_TMPDIR/web" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    wait_for listening "inside web" udp 5000
    keeps_sending inet 10.100.0.10
    arrives web
    wait_for host grep -q "dst=10.100.0.10 .*ASSURED" /proc/net/nf_conntrack
    sed -i 's/, inbound: open//' "$SPEC"
    exits 0 berth apply "$SPEC"
    stays_away web
}

@test "a container that sends before its bridge has NAT gets the address of the uplink with it" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    containers:
      web: {address: 10.100.0.10, runtime: netns}
Y
    exits 0 berth apply "$SPEC"
    # Somebody else's rule has the flow tracked.
    host_sh 'echo 1 >/proc/sys/net/ipv4/ip_forward
        nft "table ip own { chain c { type filter hook prerouting priority 0; ct state established accept; }; }"'
    inet perl -MIO::Socket::INET -e '
        $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 5000) or die;
        $| = 1;
        while ($s->recv($b, 9)) { print $s->peerhost, "\n" }' >"$BATS_TEST_TMPDIR/from" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    wait_for listening inet udp 5000
    outward web 10.100.0.10
    wait_for grep -qx 10.100.0.10 "$BATS_TEST_TMPDIR/from"
    sed -i 's/    containers:/    nat: {interface: eth0}\n    containers:/' "$SPEC"
    exits 0 berth apply "$SPEC"
    wait_for grep -qx 203.0.113.2 "$BATS_TEST_TMPDIR/from"
}

@test "a connection that somebody has put into a conntrack zone ends with its map, too" {
    host nft 'table ip own { chain c { type filter hook prerouting priority raw; udp dport 5000 ct zone set 7; }; }'
    maps "5000:6000/udp" "9:9"
    receives web
    keeps_sending inet 203.0.113.2
    arrives web
    wait_for host grep -q "dport=5000 .*zone=7" /proc/net/nf_conntrack
    maps "" "9:9"
    stays_away web
}

@test "a map of one address leaves the connections to another address of the host alone" {
    host_sh 'ip address add 203.0.113.3/24 dev eth0; echo 1 >/proc/sys/net/netfilter/nf_conntrack_acct'
    maps "8080:80" "9:9"
    keeps_sending inet 203.0.113.3
    seen() { host sed -n 's/.*dst=203.0.113.3 sport=4444 dport=5000 packets=\([0-9]*\) .*/\1/p' /proc/net/nf_conntrack; }
    wait_for eval '[[ $(seen) -ge 40 ]]'
    maps "203.0.113.2:5000:6000/udp" "9:9"
    [[ $(seen) -ge 40 ]] || fail "the entry is a new one: $(seen) packets"
    # Any address is another matter: the peer belongs to the container now.
    receives web
    maps "5000:6000/udp" "9:9"
    arrives web
}

@test "nothing is asked of the connections where no map, address or isolation changes" {
    maps "8080:80" "9:9"
    sed -i 's/interface: eth0/interface: eth0, inbound: open/' "$SPEC"
    local ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0}
    exits 0 host strace -f -qq -s 4096 -e trace=sendto,sendmsg -o "$BATS_TEST_TMPDIR/trace" -- "$BERTH" apply "$SPEC"
    grep -q NFNL_SUBSYS_NFTABLES "$BATS_TEST_TMPDIR/trace"
    exits 1 grep NFNL_SUBSYS_CTNETLINK "$BATS_TEST_TMPDIR/trace"
}
