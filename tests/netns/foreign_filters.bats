#!/usr/bin/env bats
# Filters of other programs that drop what berth's bridges forward are named, and left alone.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    nat: {interface: eth0}
    containers:
      web: {address: 10.100.0.10, runtime: netns, ports: [8080:80]}
      db: {address: 10.100.0.20, runtime: netns}
Y
}
teardown() { lab_down; }

filter() { host nft -f - ; }
said() { tr -s ' \n' ' ' <<<"$output$stderr"; }       # lines are wrapped
flows() { pings "inside web" 198.51.100.1; }
# warned REGEX: plan, apply and status say so, and the traffic is really dropped. silent: none does, and it flows.
warned() {
    local verb
    for verb in plan apply status; do
        exits 0 berth "$verb" "$SPEC"
        assert_match "$(said)" "$1" "$verb"
    done
    ! flows || fail "the warning is false: it flows"
}
silent() {
    exits 0 berth apply "$SPEC"
    flows || fail "the silence is false: nothing flows"
    exits 0 berth status "$SPEC"
    refute_match "$(said)" "not berth's"
    exits 0 berth plan "$SPEC"
    refute_match "$(said)" "not berth's"
}
# What the warning says to do is done as it is printed, and helps.
do_as_told() {
    local hint
    exits 0 berth plan --json "$SPEC"
    hint=$(json '[.. | objects | select(.warning == true and (.hint // "" | startswith("nft insert")))][0].hint')
    host_sh "$hint"
    silent
}

@test "a policy of drop, as Docker has it, is named with the command that helps; an accept before it is no fault" {
    filter <<'N'
table ip filter {
  chain DOCKER-USER {
  }
  chain DOCKER {
  }
  chain FORWARD {
    type filter hook forward priority 0; policy drop;
    counter jump DOCKER-USER
    ct state established,related accept
    oifname "docker0" counter jump DOCKER
    iifname "docker0" oifname != "docker0" accept
    tcp dport 22 accept
  }
}
N
    local before
    warned "the policy of chain 'FORWARD' in table 'ip filter'"
    before=$(host nft list table ip filter)
    exits 0 berth apply "$SPEC"
    assert_eq "$(host nft list table ip filter)" "$before" "what is foreign is left alone"
    do_as_told
    host nft list chain ip filter DOCKER-USER | grep -q br0
}

@test "a reject behind a jump, as firewalld has it, is named by chain and rule" {
    filter <<'N'
table inet firewalld {
  chain zone_public {
    tcp dport 80 accept
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    iifname vmap { "eth0" : return, "br0" : goto zone_public }
  }
}
N
    warned "rule 2 of chain 'zone_public' in table 'inet firewalld'"
    assert_match "$(said)" "firewall-cmd --permanent --zone=trusted --add-interface=br0"
    host nft insert rule inet firewalld filter_FORWARD iifname br0 accept
    silent
}

@test "a drop of another's traffic, of single ports, or after an accept by prefix, address or set is no warning" {
    filter <<'N'
table inet other {
  set nets {
    type ipv4_addr; flags interval
    elements = { 10.0.0.0/8 }
  }
  chain a {
    type filter hook forward priority 0; policy accept;
    iifname "docker0" drop
    tcp dport 25 drop
    ct state vmap { invalid : drop, established : accept, related : accept }
    ip saddr 192.168.0.0/16 drop
    limit rate over 100000/second drop
  }
  chain b {
    type filter hook forward priority 1; policy drop;
    ct state established,related accept
    ct status dnat accept
    ip saddr 10.100.0.0/16 iifname "br*" accept
  }
  chain c {
    type filter hook forward priority 2; policy drop;
    ct state established,related accept
    ct status dnat accept
    ip saddr @nets accept
  }
  chain other_hook {
    type filter hook input priority 0; policy accept;
  }
}
N
    silent
}

@test "what comes in by port maps alone is dropped: that is said" {
    filter <<'N'
table ip mine {
  chain f {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "br0" accept
  }
}
N
    exits 0 berth apply "$SPEC"
    flows
    assert_match "$(said)" "drops what comes in by its port maps"
    echo_server "inside web" tcp 10.100.0.10 80 web
    no_answer inet tcp 203.0.113.2 8080
    do_as_told
    ask inet tcp 203.0.113.2 8080
}

@test "with br_netfilter, containers of one bridge are told of, too" {
    filter <<'N'
table ip mine {
  chain f {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct status dnat accept
    iifname "br0" oifname "eth0" accept
  }
}
N
    host sysctl -qw net.bridge.bridge-nf-call-iptables=1
    exits 0 berth apply "$SPEC"
    assert_match "$(said)" "drops what its containers send to each other"
    no_ping "inside web" 10.100.0.20
    host sysctl -qw net.bridge.bridge-nf-call-iptables=0
    silent
    pings "inside web" 10.100.0.20
}

# not_checked VERB: the last list of chains (protocol 12, type 2564) is for the filters of others; it is refused. The number of that
# request is not the same in every run.
not_checked() {
    local log=$BATS_TEST_TMPDIR/log at
    rm -f "$log"
    host env LD_PRELOAD="$SHIM" NLFAULT_LOG="$log" "$BERTH" "$1" "$SPEC" || return 1
    at=$(awk '$2 == 12 && $3 == 2564 { n = $1 } END { print n }' "$log")
    output=$(host env LD_PRELOAD="$SHIM" NLFAULT_AT="$at" NLFAULT_ERRNO=22 "$BERTH" "$1" "$SPEC" 2>&1) || return 1
    tr -s ' \n' ' ' <<<"$output" | grep -q 'filters of other programs were not checked: cannot '
}

@test "filters that cannot be read are a warning, not a failure" {
    SHIM=${BERTH%/cmd/berth}/tests/libnlfault.so
    if [[ ! -e $SHIM || -n ${BERTH_SANITIZED-} ]]; then skip "a library cannot be loaded first"; fi
    exits 0 berth apply "$SPEC"
    local verb
    for verb in plan status apply; do wait_for not_checked "$verb"; done
    silent
}
