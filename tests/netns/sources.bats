#!/usr/bin/env bats
# What a container's port may send: its own MAC and addresses, and nothing that only a router or a DHCP server sends.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    FRAMES=$REPO/tests/netns/frames.pl
}
teardown() { lab_down; }

two() {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
    containers:
      web: {address: [10.100.0.10, "fd00:100::10"], runtime: netns}
      db: {address: [10.100.0.20, "fd00:100::20"], runtime: netns}
      old: {address: 10.100.0.30, runtime: netns}
      gate: {address: [10.100.0.40, "fd00:100::40"], runtime: netns, router: true}
Y
}

# sends FROM NAME KIND [KEY=VALUE]...
sends() { local from=$1; shift; inside "$from" "$FRAMES" send eth0 "$@"; }
# listens WHERE LINK: WHERE is a command, as for echo_server. heard FROM NAMES: these frames came by until
# FROM's last one.
listens() {
    rm -f "$BATS_TEST_TMPDIR/listens"
    $1 "$FRAMES" hear "$2" "$BATS_TEST_TMPDIR/listens" >"$BATS_TEST_TMPDIR/heard" 3>&- {LAB_LIFE}>&- &
    HEARS=$!
    wait_for test -e "$BATS_TEST_TMPDIR/listens"
}
heard() {
    sends "$1" last other
    wait "$HEARS"
    assert_eq "$(paste -sd ' ' "$BATS_TEST_TMPDIR/heard")" "$2" "what came from $1"
}
mac_of() { inside "$1" ip -j link show eth0 | jq -r '.[0].address'; }
# made6 PREFIX NAME: the address that the kernel makes of NAME's MAC.
made6() {
    local m
    IFS=: read -ra m <<<"$(mac_of "$2")"
    printf '%s%02x%s:%sff:fe%s:%s%s' "$1" $((16#${m[0]} ^ 2)) "${m[@]:1}"
}

@test "a container's router advertisements and DHCP answers reach neither its neighbours nor the host" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    containers:
      web: {address: 10.100.0.10, runtime: netns}
      db: {address: 10.100.0.20, runtime: netns}
      gate: {address: 10.100.0.40, runtime: netns, router: true}
Y
    berth apply -q "$SPEC"
    for where in "inside db" "host"; do
        link=eth0
        if [[ $where == host ]]; then link=br0; fi
        listens "$where" "$link"
        sends web ra ra
        sends web redirect redirect
        sends web dhcp4 udp4 src=10.100.0.10 port=68
        sends web dhcp6 udp6 src=fe80::1 port=546
        sends web ordinary udp4 src=10.100.0.10 port=4000
        heard web ordinary
    done

    inside db sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=0 net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.accept_dad=0
    inside db ip link set eth0 down
    inside db ip link set eth0 up
    listens "inside db" eth0
    sends web ra ra
    heard web ""
    assert_eq "$(inside db ip -6 route show default)" ""
    sends gate ra ra                                    # the witness itself works: a router may
    wait_for eval "inside db ip -6 route show default | grep -q fe80::bad"
}

@test "a frame with another's MAC or address, or a made-up one, is dropped, and the container's own pass" {
    two
    berth apply -q "$SPEC"
    db=$(mac_of db) own_local=$(made6 fe80:: web)
    listens "inside db" eth0
    sends web mac-taken other mac="$(mac_of old)"
    sends web mac-new other mac=02:00:00:00:00:99
    sends web arp-mac arp src=10.100.0.10 sha="$db"
    sends web arp-taken arp src=10.100.0.20
    sends web arp-gateway arp src=10.100.0.1
    sends web arp-new arp src=10.100.0.99
    sends web arp-vlan0 arp src=10.100.0.1 vlan=0
    sends web arp-vlan0-outer arp src=10.100.0.1 vlan=0 tpid=88a8
    sends web ip4-taken udp4 src=10.100.0.30
    sends web ip4-gateway udp4 src=10.100.0.1
    sends web ip4-new udp4 src=10.100.0.99
    sends web ip4-two-tags udp4 src=10.100.0.30 vlan=7 inner=8
    sends web arp-two-tags arp src=10.100.0.1 vlan=7 tpid=88a8 inner=8
    sends web ip6-taken udp6 src=fd00:100::20
    sends web ip6-gateway udp6 src=fd00:100::1
    sends web ip6-new udp6 src=fd00:100::99
    sends web na-taken na target=fd00:100::20
    sends web na-gateway na target=fd00:100::1
    sends web na-new na target=fd00:100::99
    sends web dad-taken dad target=fd00:100::20
    sends web dad-new dad target=fd00:100::99
    sends web local-new udp6 src=fe80::77
    sends web local-taken udp6 src="$(made6 fe80:: db)"
    sends web na-local-new na target=fe80::77
    sends web na-local-taken na target="$(made6 fe80:: db)"
    sends web dad-local-new dad target=fe80::77
    sends web made-taken udp6 src="$(made6 2001:db8:7:0: db)"
    sends web bpdu other to=01:80:c2:00:00:00
    sends web own-arp arp src=10.100.0.10 target=10.100.0.20
    sends web own-gratuitous arp src=10.100.0.10
    sends web own-probe arp src=0.0.0.0 target=10.100.0.10
    sends web own-dhcp udp4 src=0.0.0.0 port=67
    sends web own-ip4 udp4 src=10.100.0.10
    sends web own-ip6 udp6 src=fd00:100::10
    sends web own-link-local udp6 src="$own_local"
    sends web own-made udp6 src="$(made6 2001:db8:7:0: web)"
    sends web own-na na src=fd00:100::10 target=fd00:100::10
    sends web own-na-local na src=fd00:100::10 target="$own_local"
    sends web own-dad dad target=fd00:100::10
    sends web own-dad-local dad target="$own_local"
    sends web own-vlan other vlan=7
    heard web "own-arp own-gratuitous own-probe own-dhcp own-ip4 own-ip6 own-link-local own-made own-na own-na-local own-dad \
own-dad-local own-vlan"
    pings "inside web" 10.100.0.20
    pings "inside web" fd00:100::20
    pings "inside web" 10.100.0.1
    # The bridge learnt nothing from them.
    host bridge -j fdb show br br0 | jq -e --arg mac "$db" '[.[] | select(.mac == $mac and .ifname != "vb-db")] == []'
    host bridge -j fdb show br br0 | jq -e '[.[] | select(.mac == "02:00:00:00:00:99")] == []'
}

@test "with br_netfilter a false source address does not even reach the filters of IP" {
    two
    berth apply -q "$SPEC"
    host sysctl -qw net.bridge.bridge-nf-call-iptables=1
    host nft -f - <<'N'
table ip seen {
  set sources { type ipv4_addr; flags dynamic; }
  chain first {
    type filter hook prerouting priority -300;
    iifname { br0, vb-web } add @sources { ip saddr }
  }
}
N
    listens "inside db" eth0
    sends web false udp4 src=10.100.0.99
    sends web own udp4 src=10.100.0.10
    heard web own
    assert_eq "$(host nft -j list set ip seen sources | jq -r '[.nftables[].set? // empty | .elem[]?] | join(" ")')" 10.100.0.10
}

@test "without an address of a family in the spec, a container sends from none that it chooses" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: [10.100.0.1/24, "fd00:100::1/64"]}
    containers:
      db: {address: [10.100.0.20, "fd00:100::20"], runtime: netns}
      four: {address: 10.100.0.30, runtime: netns}
      six: {address: "fd00:100::30", runtime: netns}
Y
    berth apply -q "$SPEC"
    own_local=$(made6 fe80:: four)
    listens "inside db" eth0
    sends four new6 udp6 src=fd00:100::99
    sends four host6 udp6 src=2001:db8:ffff::1
    sends four taken6 udp6 src=fd00:100::20
    sends four local-new udp6 src=fe80::77
    sends four na-new na src="$own_local" target=fd00:100::99
    sends four na-taken na src="$own_local" target=fd00:100::1
    sends four na-local na src="$own_local" target=fe80::bad
    sends four dad-new dad target=fd00:100::99
    sends four new4 udp4 src=10.100.0.99
    sends four own-dad dad target="$own_local"
    sends four own-local udp6 src="$own_local"
    sends four own-na na src="$own_local" target="$own_local"
    sends four own-unspecified udp6 src=::
    heard four "own-dad own-local own-na own-unspecified"
    listens "inside db" eth0
    sends six new4 udp4 src=10.100.0.99
    sends six arp-new4 arp src=10.100.0.99
    sends six arp-gateway arp src=10.100.0.1
    sends six dhcp udp4 src=0.0.0.0 port=67
    sends six probe arp src=0.0.0.0 target=10.100.0.77
    heard six "dhcp probe"
    # `router: true` lifts it, for all but what others have.
    sed -i 's/runtime: netns}$/runtime: netns, router: true}/' "$SPEC"
    berth apply -q "$SPEC"
    listens "inside db" eth0
    sends four new6 udp6 src=fd00:100::99
    sends four local-new udp6 src=fe80::77
    sends four na-new na target=fd00:100::99
    sends four na-taken na target=fd00:100::20
    heard four "new6 local-new na-new"
    berth plan -e "$SPEC"
}

@test "on a bridge with a router beside it, a container keeps the address that it makes of the router's prefix, and takes no other" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    containers:
      web: {address: 10.100.0.10, runtime: netns}
      alone: {address: 10.100.0.20, runtime: netns, isolated: true}
Y
    berth apply -q "$SPEC"
    host ip netns add lan
    host ip link add lan0 type veth peer name eth0 netns lan
    host ip link set lan0 master br0 up
    host_sh 'ip -n lan link set eth0 addrgenmode none; ip -n lan link set eth0 up
        ip -n lan addr add fe80::1/64 dev eth0 nodad; ip -n lan addr add 2001:db8:7::1/64 dev eth0 nodad'
    inside lan "$FRAMES" send eth0 ra ra src=fe80::1 prefix=2001:db8:7::
    own=$(made6 2001:db8:7:0: web)
    wait_for eval "inside web ip -6 -j addr show eth0 -tentative | grep -q global"
    wait_for pings "inside web" 2001:db8:7::1
    assert_match "$(host ip -n lan -6 -j neigh show dev eth0 | jq -r '.[].dst')" "$(inside web ip -6 -j addr show eth0 | jq -r '.[0].addr_info[0].local')"
    listens "inside lan" eth0
    sends web na-router na src="$own" target=fe80::1
    sends web na-host na src="$own" target=2001:db8:7::1
    sends web new6 udp6 src=2001:db8:7::99
    sends web local-router udp6 src=fe80::1
    sends web own-slaac udp6 src="$own"
    heard web "own-slaac"
    # No way around the isolation.
    listens host br0
    sends alone slaac udp6 src="$(made6 2001:db8:7:0: alone)"
    sends alone na-slaac na src="$(made6 fe80:: alone)" target="$(made6 2001:db8:7:0: alone)"
    sends alone dad-slaac dad target="$(made6 2001:db8:7:0: alone)"
    sends alone own-local udp6 src="$(made6 fe80:: alone)"
    heard alone "own-local"
}

@test "a router may forward for others but not claim their addresses" {
    two
    berth apply -q "$SPEC"
    listens "inside db" eth0
    sends gate forwarded4 udp4 src=192.0.2.7
    sends gate forwarded-web udp4 src=10.100.0.10
    sends gate forwarded6 udp6 src=fd00:100::10
    sends gate vrrp arp src=10.100.0.200
    sends gate own-mac other mac=00:00:5e:00:01:07
    sends gate arp-web arp src=10.100.0.10
    sends gate arp-gateway arp src=10.100.0.1
    sends gate na-web na target=fd00:100::10
    sends gate mac-web other mac="$(mac_of web)"
    heard gate "forwarded4 forwarded-web forwarded6 vrrp own-mac"
}

@test "a container that is another's gateway may forward without a key of its own" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    containers:
      hop: {address: 10.100.0.40, runtime: netns}
      web: {address: 10.100.0.10, runtime: netns, gateway: 10.100.0.40}
      db: {address: 10.100.0.20, runtime: netns}
Y
    berth apply -q "$SPEC"
    listens "inside db" eth0
    sends hop forwarded udp4 src=192.0.2.7
    heard hop forwarded
    listens "inside db" eth0
    sends web forged udp4 src=192.0.2.7
    heard web ""
}

@test "an isolated container does not leave its isolation by another address" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridges:
      br0: {address: 10.100.0.1/24, nat: {inbound: open}}
      br1: {address: 10.101.0.1/24, nat: {inbound: open}}
    containers:
      alone: {address: 10.100.0.10, runtime: netns, isolated: true}
      far: {address: 10.101.0.10, runtime: netns}
Y
    berth apply -q "$SPEC"
    no_ping "inside alone" 10.101.0.10
    inside alone ip address add 10.100.0.77/24 dev eth0
    if inside alone ping -q -c1 -W1 -I 10.100.0.77 10.101.0.10; then fail "out by another address"; fi
    pings "inside alone" 10.100.0.1
}

@test "ports that berth did not make are not checked" {
    two
    berth apply -q "$SPEC"
    host ip netns add lan
    host ip link add lan0 type veth peer name eth0 netns lan
    host ip link set lan0 master br0 up
    host ip -n lan link set eth0 up
    listens "inside db" eth0
    sends lan lan-ra ra
    sends lan lan-dhcp udp4 src=192.0.2.1 port=68
    sends lan lan-any udp4 src=192.0.2.9
    heard lan "lan-ra lan-dhcp lan-any"
    berth plan -e "$SPEC"
}

@test "drift in the checks is seen and repaired; a change of an address or a MAC changes elements alone" {
    two
    berth apply -q "$SPEC"
    rules() { host nft -a -s list chain bridge berth sources; }
    before=$(rules)
    host nft delete element bridge berth src4 '{ "vb-web" . 10.100.0.10 }'
    no_ping "inside web" 10.100.0.1
    exits 2 berth plan -e "$SPEC"
    assert_match "$output" "set 'src4': element .*10.100.0.10"
    berth apply -q "$SPEC"
    wait_for pings "inside web" 10.100.0.1
    sed -i 's/10.100.0.10,/10.100.0.11,/' "$SPEC"
    berth apply -q "$SPEC"
    pings "inside web" 10.100.0.20
    assert_eq "$(rules)" "$before" "rules and their handles"
    host nft flush chain bridge berth sources
    exits 2 berth plan -e "$SPEC"
    berth apply -q "$SPEC"
    berth plan -e "$SPEC"
    berth destroy -q --yes "$SPEC"
    assert_eq "$(host nft list tables)" ""
}

@test "a host without the checks, or with those of an older berth, gets them in one commit, and an open connection goes on" {
    two
    berth apply -q "$SPEC"
    echo_server "inside db" tcp 10.100.0.20 80 db
    for before in none older; do
        if [[ $before == none ]]; then
            # What an older berth left: table inet berth where the spec has NAT, and no table bridge berth.
            host nft delete table bridge berth
        else
            # Any IPv6 address was free where the spec has none: a set `bound6` named the other ports.
            host_sh 'for handle in $(nft -a list chain bridge berth sources | sed -n "s/.*@ids6.*# handle //p"); do
                nft delete rule bridge berth sources handle $handle; done
                nft delete set bridge berth ids6
                nft "add set bridge berth bound6 { type ifname; elements = { vb-web, vb-db }; }"
                nft add rule bridge berth sources iifname . ip6 saddr != @src6 ip6 saddr != fe80::/10 iifname @bound6 drop'
            exits 2 berth plan -e "$SPEC"
        fi
        rm -f "$BATS_TEST_TMPDIR"/{open,go,said,nft}
        inside web bash -c 'exec 9<>/dev/tcp/10.100.0.20/80; echo ready >"$1"; read -r _ <"$2"; echo hello >&9; cat <&9' bash \
            "$BATS_TEST_TMPDIR/open" <(wait_for test -e "$BATS_TEST_TMPDIR/go"; echo go) >"$BATS_TEST_TMPDIR/said" 3>&- {LAB_LIFE}>&- &
        client=$!
        wait_for test -s "$BATS_TEST_TMPDIR/open"
        nft_watch "$BATS_TEST_TMPDIR/nft"
        berth apply -q "$SPEC"
        assert_eq "$(nft_watched "$BATS_TEST_TMPDIR/nft")" 1 "commits"
        touch "$BATS_TEST_TMPDIR/go"
        wait "$client"
        assert_match "$(<"$BATS_TEST_TMPDIR/said")" "db .*10.100.0.10"
        berth plan -e "$SPEC"
        host nft list set bridge berth ids6 | grep -q vb-old
    done
}

# router_ports: of br0, for multicast
router_ports() { host bridge -d mdb show dev br0 | sed -n 's/^router ports on br0: *//p' | xargs; }

@test "a container's queries and announcements of multicast routers are dropped, and the bridge believes none" {
    two
    berth apply -q "$SPEC"
    local all=01:00:5e:00:00:01 all6=33:33:00:00:00:01 own
    IFS=: read -ra own <<<"$(mac_of web)"
    own=$(printf 'fe80::%x:%xff:fe%02x:%x' $((16#${own[0]}${own[1]} ^ 0x200)) $((16#${own[2]})) $((16#${own[3]})) $((16#${own[4]}${own[5]})))
    listens "inside db" eth0
    for tag in "" vlan=5; do
        sends web mld mld src=$own to=$all6 $tag
        sends web one mld src=$own to=$all6 target=ff02::1:ff00:20 dst=ff02::1:ff00:20 $tag
        sends web mrd6 mrd6 src=$own to=$all6 $tag
        sends web igmp igmp to=$all src=10.100.0.10 $tag
        sends web mrd4 mrd4 to=$all src=10.100.0.10 $tag
    done
    sends web report mld src=$own to=$all6 type=131 target=ff02::1:ff00:10
    sends web join igmp to=$all src=10.100.0.10 type=22
    heard web ""                                        # the bridge itself takes reports, and passes none on
    assert_eq "$(router_ports)" "" "router ports"
    assert_match "$(host bridge mdb show dev br0)" 'port vb-web grp ff02::1:ff00:10'
    # The witness itself works: a router may.
    listens "inside db" eth0
    sends gate mld mld to=$all6
    sends gate igmp igmp to=$all src=10.100.0.40
    heard gate "mld igmp"
    assert_eq "$(router_ports)" "vb-gate" "router ports"
}

@test "a container changes no path MTU of the host or of its neighbours, and a router may" {
    two
    berth apply -q "$SPEC"
    mtu_to() { $1 ip -j route get "$2" | jq -r '.[0].metrics[0].mtu // "none"'; }
    to_host=$(host cat /sys/class/net/br0/address)
    says_big() {
        sends "$1" big big4 src="$2" dst=10.100.0.1 to="$to_host" about=10.100.0.30 mtu=600
        sends "$1" big big6 src="$3" dst=fd00:100::1 to="$to_host" about=fd00:100::77 mtu=1300
        sends "$1" big big4 src="$2" dst=10.100.0.20 to="$(mac_of db)" about=10.100.0.30 mtu=600
        sends "$1" big cut6 src="$3" dst=fd00:100::1 to="$to_host" about=fd00:100::78 mtu=1320
    }
    says_big web 10.100.0.10 fd00:100::10
    pings "inside web" 10.100.0.1
    assert_eq "$(mtu_to host 10.100.0.30) $(mtu_to host fd00:100::77) $(mtu_to host fd00:100::78) $(mtu_to "inside db" 10.100.0.30)" "none none none none"
    # The same from a container that the spec calls a router: the frames are sound.
    says_big gate 10.100.0.40 fd00:100::40
    wait_for eval 'test "$(mtu_to host 10.100.0.30)" = 600'
    assert_eq "$(mtu_to host fd00:100::77) $(mtu_to host fd00:100::78) $(mtu_to "inside db" 10.100.0.30)" "1300 1320 600"
}

@test "frames that a bridge hands to the host unseen change nothing: no packets, no routes, no learned MACs" {
    spec <<'Y'
version: 1
hosts:
  homelab:
    bridge: {name: br0, address: 10.100.0.1/24}
    containers:
      web: {address: 10.100.0.10, runtime: netns}
      db: {address: 10.100.0.20, runtime: netns}
Y
    berth apply -q "$SPEC"
    host sysctl -qw net.ipv4.conf.all.rp_filter=0
    routes=$(host ip -6 route show default)
    db=$(mac_of db)
    where_is_db() { host bridge -j fdb show br br0 | jq -r --arg mac "$db" '[.[] | select(.mac == $mac and .master == "br0" and .state != "permanent") | .ifname] | unique | join(" ")'; }
    wait_for pings "inside db" 10.100.0.1
    assert_eq "$(where_is_db)" vb-db
    host socat -u UDP4-RECV:4000 - >"$BATS_TEST_TMPDIR/got" 2>/dev/null 3>&- {LAB_LIFE}>&- &
    wait_for eval "host ss -Hlun 'sport = :4000' | grep -q ."
    for n in 0e 03 00; do
        sends web past udp4 to=01:80:c2:00:00:$n src=10.100.0.20 dst=10.100.0.1
        sends web learn other to=01:80:c2:00:00:$n mac="$db"
        sends web ra ra to=01:80:c2:00:00:$n
    done
    sends web ordinary udp4 src=10.100.0.10 dst=10.100.0.1 to="$(host cat /sys/class/net/br0/address)"
    wait_for grep -q ordinary "$BATS_TEST_TMPDIR/got"
    refute_match "$(<"$BATS_TEST_TMPDIR/got")" past
    assert_eq "$(where_is_db)" vb-db
    assert_eq "$(host ip -6 route show default)" "$routes" "default routes"

    # By hand it learns again: that is seen, and set right.
    host ip link set br0 type bridge no_linklocal_learn 0
    exits 2 berth plan -e "$SPEC"
    assert_match "$output" 'learns from link-local frames'
    berth apply -q "$SPEC"
    assert_eq "$(host ip -j -d link show br0 | jq '.[0].linkinfo.info_data.no_linklocal_learn')" 1
    berth plan -e "$SPEC"
}
