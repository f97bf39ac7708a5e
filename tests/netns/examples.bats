#!/usr/bin/env bats
# Every example does what its comments say.
load ../lab/lib

setup() { need_berth; lab_up --inet; SPEC=$REPO/examples; }
teardown() { lab_down; }

there_and_back() {
    exits 0 berth destroy --yes "$1"
    assert_eq "$(host ip netns list)" ""
    refute_match "$(host nft list tables)" berth
}

@test "ports.yaml: mapped over tcp and udp, one on 127.0.0.1 alone" {
    exits 0 berth apply "$SPEC/ports.yaml"
    exits 0 berth plan -e "$SPEC/ports.yaml"
    echo_server "inside web" tcp 10.100.0.10 80 web
    echo_server "inside voice" udp 10.100.0.60 50003 voice
    echo_server "inside admin" tcp 10.100.0.70 22 admin
    assert_match "$(ask inet tcp 203.0.113.2 8080)" web
    assert_match "$(ask inet udp 203.0.113.2 40003)" voice
    assert_match "$(ask host tcp 127.0.0.1 2222)" admin
    no_answer inet tcp 203.0.113.2 2222
    there_and_back "$SPEC/ports.yaml"
}

@test "ipv6.yaml: both families reach each other by name, and the outside" {
    exits 0 berth apply "$SPEC/ipv6.yaml"
    exits 0 berth plan -e "$SPEC/ipv6.yaml"
    local first
    first=$(host ip netns list | awk '{print $1}' | sort | head -1)
    pings "inside $first" 2001:db8:ffff::1
    there_and_back "$SPEC/ipv6.yaml"
}

@test "nspawn.yaml: a directory, a command, the host's root" {
    host_sh 'mkdir -p /srv/hello/bin /srv/hello/usr && cp "$(command -v busybox)" /srv/hello/bin/busybox'
    exits 0 berth apply "$SPEC/nspawn.yaml"
    exits 0 berth plan -e "$SPEC/nspawn.yaml"
    wait_for berth logs ticker
    assert_match "$(berth logs ticker)" "good morning"
    wait_for listening "inside hello" tcp 80
    host_sh 'exec 3<>/dev/tcp/127.0.0.1/8080; printf "GET / HTTP/1.0\r\n\r\n" >&3; head -1 <&3' | grep -q "HTTP/1"
    there_and_back "$SPEC/nspawn.yaml"
}

@test "many-bridges.yaml and lab-50.yaml: applied, in sync, taken down" {
    local f
    for f in many-bridges lab-50; do
        exits 0 berth apply "$SPEC/$f.yaml"
        exits 0 berth plan -e "$SPEC/$f.yaml"
        # What is protected goes only after the spec has said otherwise.
        if grep -q 'protect: true' "$SPEC/$f.yaml"; then
            exits 4 berth destroy --yes "$SPEC/$f.yaml"
            sed 's/protect: true/protect: false/' "$SPEC/$f.yaml" >"$BATS_TEST_TMPDIR/$f.yaml"
            exits 0 berth apply "$BATS_TEST_TMPDIR/$f.yaml"
            there_and_back "$BATS_TEST_TMPDIR/$f.yaml"
        else
            there_and_back "$SPEC/$f.yaml"
        fi
    done
}
