#!/usr/bin/env bats
# The units that ship: how far they are confined, and that berth still does all its work inside them.
load ../lab/lib

NAME=s${BATS_SUITE_TEST_NUMBER:-1}x$$
BUILD=${BERTH%/cmd/berth}
on() { "$LAB/host" exec "$NAME" "$@"; }

setup() {
    need_berth
    command -v cmake >/dev/null || skip "no cmake to install with"
    [[ -f $BUILD/cmake_install.cmake ]] || skip "$BERTH is not in a build folder"
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet --install "$BUILD" >&2
    on mkdir -p /etc/berth
}
teardown() { "$LAB/host" down "$NAME"; }

@test "systemd rates the exposure of both services at 6.2 at most" {
    # These units make names of network namespaces, so no option may give them a mount namespace.
    local unit
    for unit in berth.service berth-look.service; do
        exits 0 on systemd-analyze security --offline=yes --threshold=62 --no-pager "/usr/local/lib/systemd/system/$unit"
        refute_match "$(on cat "/usr/local/lib/systemd/system/$unit")" '^(Protect(System|Home|Kernel|Control)|Private|ReadWrite|ReadOnly|Inaccessible|BindPaths|TemporaryFileSystem)'
    done
}

@test "an address that the service moves is announced to its neighbours" {
    on sh -c 'cat >/etc/berth/berth.yaml' <<-END
	version: 1
	hosts:
	  $NAME:
	    bridge: {name: br0, address: [10.100.0.1/24, 'fd00:100::1/64']}
	    containers:
	      web: {address: [10.100.0.10, 'fd00:100::10'], runtime: netns}
	END
    exits 0 on systemctl start berth.service
    on sed -i 's/0\.10,/0.11,/; s/::10.]/::11'"'"']/' /etc/berth/berth.yaml
    # The witness hears the bridge before berth speaks.
    on systemd-run -q --unit=witness sh -c 'exec timeout 60 tcpdump -lni br0 -c2 "(arp[14:4] = 0x0a64000b and arp[24:4] = 0x0a64000b) or (icmp6 and ip6[40] = 136 and src fd00:100::11)" >/tmp/heard 2>/tmp/listens'
    exits 0 on timeout 20 sh -c 'until grep -q listening /tmp/listens; do sleep 0.05; done'
    exits 0 on systemctl start berth.service
    exits 0 on timeout 20 sh -c 'until [ "$(wc -l </tmp/heard)" = 2 ]; do sleep 0.05; done'
    assert_match "$(on cat /tmp/heard)" '10\.100\.0\.11'
    assert_match "$(on cat /tmp/heard)" 'fd00:100::11'
    exits 0 on ip netns exec web ip -j address show dev eth0
    assert_match "$output" '10\.100\.0\.11'
}
