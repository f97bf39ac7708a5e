#!/usr/bin/env bats
# Counts do not wander with the load of the machine, so these are held (counts, counts.awk).

setup() {
    [[ -n ${BERTH-} ]] || skip "BERTH does not name the program"
    command -v strace >/dev/null || skip "no strace"
    [[ $EUID == 0 ]] || skip "not root"
}

@test "berth sends and calls no more per container than its goals allow" {
    run "$BATS_TEST_DIRNAME/counts"
    echo "$output"
    [ "$status" -eq 0 ]
}
