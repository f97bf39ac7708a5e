#!/usr/bin/env bats
# The rules of other programs as iptables-nft writes them: berth's warning and what happens to a connection are compared.
load ../lab/lib

setup() {
    need_berth
    IPTABLES=$(command -v iptables-nft-restore) || skip "no iptables-nft"
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
    exits 0 berth apply "$SPEC"
    echo_server inet tcp 198.51.100.1 7777 outside
    echo_server "inside web" tcp 10.100.0.10 80 web
}
teardown() { lab_down; }

# rules POLICY [LINE...]: table filter with this policy of FORWARD, and LINEs of iptables-save.
rules() {
    local policy=$1
    shift
    { echo '*filter'; echo ":FORWARD $policy [0:0]"; printf '%s\n' "$@"; echo COMMIT; } | host "$IPTABLES"
}
out_passes() { ask "inside web" tcp 198.51.100.1 7777 >/dev/null; }
in_passes() { ask inet tcp 203.0.113.2 8080 >/dev/null; }
between_passes() { ask "inside db" tcp 10.100.0.10 80 >/dev/null; }
said() { tr -s ' \n' ' ' <<<"$output$stderr"; }
# verdict WHAT PASSES: berth warns of WHAT and nothing passes, or it passes and berth says nothing of it.
verdict() {
    local what=$1 wanted=$2 text
    case $what in
    out) text="drops what its containers send to the outside" ;;
    in) text="drops what comes in by its port maps" ;;
    between) text="drops what its containers send to each other" ;;
    esac
    if "${what}_passes"; then
        [[ $wanted == passes ]] || fail "$what: the test is wrong: it passes"
        refute_match "$(said)" "$text" "a false warning"
    else
        [[ $wanted == dropped ]] || fail "$what: the test is wrong: nothing passes"
        assert_match "$(said)" "$text" "a false silence"
    fi
}
# judged OUT IN: each is `passes` or `dropped`. One chain is named once, for the first that it drops.
judged() {
    exits 0 berth plan "$SPEC"
    verdict out "$1"
    if [[ $1 == passes ]]; then verdict in "$2"; fi
}

@test "the command that a warning prints is one line, and lets the traffic pass where it is pasted" {
    # The name of the program differs; the chain that the command names must be one that packets come to.
    local chains
    for chains in "-A FORWARD -i br9 -j DROP" "-A FORWARD -j DOCKER-USER" elsewhere; do
        if [[ $chains == elsewhere ]]; then
            # Packets come to DOCKER-USER, and another table drops them.
            rules ACCEPT ":DOCKER-USER - [0:0]" "-A FORWARD -j DOCKER-USER"
            host nft 'add table inet fw; add chain inet fw forward { type filter hook forward priority 10; policy drop; }'
        else
            rules DROP ":DOCKER-USER - [0:0]" "$chains"
        fi
        exits 0 berth plan "$SPEC"
        verdict out dropped
        local command
        command=$(grep -oE '(iptables|nft)[^ ]* .* && .*' <<<"$output$stderr" | head -1)
        assert_match "$command" '&&'
        if [[ $chains == *DOCKER-USER ]]; then assert_match "$command" DOCKER-USER; else refute_match "$command" DOCKER-USER; fi
        exits 0 berth status --quiet "$SPEC"
        assert_match "$stderr" "berth: warning: .*drops what its containers send to the outside"
        host_sh "$command"
        exits 0 berth status --quiet "$SPEC"
        refute_match "$stderr" warning
        exits 0 berth plan "$SPEC"
        verdict out passes
    done
}

@test "Docker's chains: a policy of drop is named, and an accept of new connections in DOCKER-USER is understood" {
    local docker=(":DOCKER - [0:0]" ":DOCKER-USER - [0:0]" ":DOCKER-ISOLATION-STAGE-1 - [0:0]" ":DOCKER-ISOLATION-STAGE-2 - [0:0]"
        "-A FORWARD -j DOCKER-USER" "-A FORWARD -j DOCKER-ISOLATION-STAGE-1"
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" "-A FORWARD -o docker0 -j DOCKER"
        "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT" "-A FORWARD -i docker0 -o docker0 -j ACCEPT"
        "-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT"
        "-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2" "-A DOCKER-ISOLATION-STAGE-1 -j RETURN"
        "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP" "-A DOCKER-ISOLATION-STAGE-2 -j RETURN")
    rules DROP "${docker[@]}" "-A DOCKER-USER -j RETURN"
    judged dropped dropped
    assert_match "$(said)" "the policy of chain 'FORWARD' in table 'ip filter'"
    rules DROP "${docker[@]}" "-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment answers -j ACCEPT" \
        "-A DOCKER-USER -i br0 -m conntrack --ctstate NEW -j ACCEPT" "-A DOCKER-USER -j RETURN"
    judged passes dropped
    rules DROP "${docker[@]}" "-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT" \
        "-A DOCKER-USER -i br0 -m state --state NEW -j ACCEPT" "-A DOCKER-USER -j RETURN"
    judged passes passes
}

@test "firewalld's chains: a reject at their end is named, and zones and port maps that it accepts are understood" {
    local firewalld=(":FORWARD_direct - [0:0]" ":FORWARD_IN_ZONES - [0:0]" ":FWDI_public - [0:0]" ":FWDI_public_allow - [0:0]" ":FWDI_trusted - [0:0]"
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT" "-A FORWARD -i lo -j ACCEPT" "-A FORWARD -j FORWARD_direct"
        "-A FORWARD -j FORWARD_IN_ZONES" "-A FORWARD -m conntrack --ctstate INVALID -j DROP"
        "-A FORWARD -j REJECT --reject-with icmp-host-prohibited" "-A FWDI_public -j FWDI_public_allow" "-A FWDI_public -p icmp -j ACCEPT"
        "-A FWDI_public_allow -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT" "-A FWDI_trusted -j ACCEPT")
    rules ACCEPT "${firewalld[@]}" "-A FORWARD_IN_ZONES -g FWDI_public"
    judged dropped passes
    assert_match "$(said)" "rule 6 of chain 'FORWARD' in table 'ip filter'"
    rules ACCEPT "${firewalld[@]}" "-A FORWARD_IN_ZONES -i br0 -g FWDI_trusted" "-A FORWARD_IN_ZONES -g FWDI_public"
    judged passes passes
}

@test "states and directions of connections: of a first packet, and of one that a port map translated" {
    rules ACCEPT "-A FORWARD -i br0 -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP"
    judged dropped passes
    rules ACCEPT "-A FORWARD -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
    judged dropped passes
    rules DROP "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT" "-A FORWARD -m conntrack --ctdir REPLY -j ACCEPT" \
        "-A FORWARD -m conntrack --ctstatus SEEN_REPLY -j ACCEPT"
    judged dropped dropped
    rules DROP "-A FORWARD -m conntrack --ctdir ORIGINAL -j ACCEPT" "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    judged passes passes
    rules ACCEPT "-A FORWARD -m conntrack --ctstate INVALID -j DROP" "-A FORWARD -m conntrack --ctstatus EXPECTED -j DROP"
    judged passes passes
}

@test "kinds of addresses and packets" {
    local established="-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    rules DROP "$established" "-A FORWARD -m addrtype --dst-type LOCAL -j ACCEPT" "-A FORWARD -m addrtype --src-type LOCAL -j ACCEPT"
    judged dropped dropped
    rules DROP "$established" "-A FORWARD -m addrtype ! --dst-type LOCAL -j ACCEPT"
    judged passes passes
    rules ACCEPT "-A FORWARD -m addrtype --src-type UNICAST --dst-type UNICAST -j REJECT"
    judged dropped dropped
    rules ACCEPT "-A FORWARD -m pkttype --pkt-type multicast -j DROP" "-A FORWARD -m addrtype --dst-type MULTICAST -j DROP"
    judged passes passes
}

@test "ports, protocols and limits decide for some packets alone: they are no finding" {
    rules ACCEPT "-A FORWARD -p tcp -m multiport --dports 25,465 -j DROP" "-A FORWARD -p udp -m udp --dport 53 -j REJECT" \
        "-A FORWARD -p tcp -m tcp --dport 25 -j DROP" "-A FORWARD -p icmp -m icmp --icmp-type 8 -j DROP"
    judged passes passes
    rules DROP "-A FORWARD -p tcp -m multiport --dports 25,465 -j ACCEPT" "-A FORWARD -m comment --comment all -j DROP"
    judged dropped dropped
    assert_match "$(said)" "rule 2 of chain 'FORWARD'"
}

@test "marks: none where no rule gives one; where one does, nothing is guessed" {
    local accept=("-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT" "-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT"
        "-A FORWARD -m connmark --mark 0x1 -j ACCEPT")
    rules DROP "${accept[@]}"
    judged dropped dropped
    printf '%s\n' '*mangle' ':PREROUTING ACCEPT [0:0]' '-A PREROUTING -i br0 -j MARK --set-xmark 0x4000/0x4000' COMMIT | host "$IPTABLES" --noflush
    exits 0 berth plan "$SPEC"
    verdict out passes
    rules ACCEPT "-A FORWARD -m connmark ! --mark 0x0 -j DROP"
    judged passes passes
}

@test "ports of a bridge: bridged or not is known, and each by its name only without br_netfilter" {
    local established="-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    host sysctl -qw net.bridge.bridge-nf-call-iptables=0
    rules DROP "$established" "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT" "-A FORWARD -m physdev --physdev-in vb-web -j ACCEPT"
    judged dropped dropped
    rules ACCEPT "-A FORWARD -m physdev ! --physdev-is-bridged -j DROP"
    judged dropped dropped
    host sysctl -qw net.bridge.bridge-nf-call-iptables=1
    rules DROP "$established" "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT" "-A FORWARD -i br0 -o eth0 -j ACCEPT" \
        "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    judged passes passes
    verdict between passes
    rules DROP "$established" "-A FORWARD -m physdev ! --physdev-is-bridged -j ACCEPT"
    judged passes passes
    verdict between dropped
    rules DROP "$established" "-A FORWARD -m physdev --physdev-in vb-+ -j ACCEPT"
    exits 0 berth plan "$SPEC"
    verdict out passes
}

@test "of a match that berth does not know, it says nothing" {
    rules DROP "-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT" "-A FORWARD -m policy --dir in --pol none -j ACCEPT"
    judged passes passes
    rules ACCEPT "-A FORWARD -m policy --dir in --pol ipsec -j DROP"
    judged passes passes
}
