#!/usr/bin/env bats
# Many containers on one bridge. Counts, not times: those belong to tests/bench.
load ../lab/lib

setup() { need_berth; lab_up --inet; }
teardown() { lab_down; }

# many N: N containers, each with a mapped port.
many() {
    spec < <(
        printf 'version: 1\ndefaults: {container: {runtime: netns}}\nhosts:\n  localhost:\n    bridge: {name: br0, address: 10.100.0.1/20}\n    nat: {interface: auto}\n    containers:\n'
        for ((i = 0; i < $1; i++)); do echo "      c$i: {address: 10.100.$((1 + i / 250)).$((1 + i % 250)), ports: [$((20000 + i)):80]}"; done
    )
}
rules() { host nft -j list ruleset | jq '[.nftables[] | select(.rule)] | length'; }

@test "300 containers: made, in sync, one lost is one step, reached, gone; rules do not grow with them" {
    local few before
    fingerprint >"$BATS_TEST_TMPDIR/before"
    many 5
    exits 0 berth apply "$SPEC"
    few=$(rules)
    many 300
    exits 0 berth apply "$SPEC"
    assert_eq "$(rules)" "$few"
    assert_eq "$(host ip netns list | wc -l)" 300
    assert_eq "$(host bridge -j link | jq '[.[] | select(.master == "br0")] | length')" 300
    exits 0 berth plan -e "$SPEC"
    host ip link del vb-c217
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join(",")')" "port c217 (vb-c217)"
    exits 0 berth apply "$SPEC"
    exits 0 berth run c0 -- ping -c1 -W2 c299
    exits 0 berth run c217 -- ping -c1 -W2 198.51.100.1
    exits 0 berth destroy --yes "$SPEC"
    wait_for host_sh '! ip link | grep -q vb-'
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "more than 1023 on one bridge: refused before anything is done, with the limit named" {
    many 1024
    fingerprint >"$BATS_TEST_TMPDIR/before"
    status=0
    berth apply "$SPEC" >/dev/null 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [[ $status == 65 || $status == 4 ]] || fail "exit $status: $(head -c 500 "$BATS_TEST_TMPDIR/err")"
    assert_match "$(<"$BATS_TEST_TMPDIR/err")" 1023
    same_facts "$BATS_TEST_TMPDIR/before"
}

@test "many go where few descriptors may be open: destroyed, exchanged for another, and back again" {
    fingerprint >"$BATS_TEST_TMPDIR/before"
    local limit
    for limit in "-Sn 64" "-n 64"; do
        many 120
        exits 0 berth apply "$SPEC"
        exits 0 host_sh "ulimit $limit; exec \"\$@\"" "$BERTH" destroy --yes "$SPEC"
        same_facts "$BATS_TEST_TMPDIR/before"
    done
    exits 0 berth apply "$SPEC"
    sed -i 's/^      c0:/      new0:/; /^      c[0-9]/d' "$SPEC"
    exits 0 host_sh "ulimit -Sn 64; exec \"\$@\"" "$BERTH" apply --allow-deletes 120 "$SPEC"
    assert_eq "$(host ls /run/netns)" new0
    exits 0 berth destroy --yes "$SPEC"

    many 120
    ASAN_OPTIONS=${ASAN_OPTIONS/detect_leaks=1/detect_leaks=0} exits 5 host_sh "ulimit -Sn 150; exec \"\$@\"" \
        strace -f -qq -e trace=mount -e inject=mount:error=ENOMEM:when=100 -o /dev/null -- "$BERTH" apply "$SPEC"
    same_facts "$BATS_TEST_TMPDIR/before"
}
