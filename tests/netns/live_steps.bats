#!/usr/bin/env bats
# On a terminal each step of an apply has its line when it is done. Many equal steps have one line.
load ../lab/lib

setup() { need_berth; lab_up; }
teardown() { lab_down; }

# containers N: a spec with N of them.
containers() {
    local i
    spec < <(echo '{version: 1, hosts: {localhost: {bridge: {name: br0, address: 10.100.0.1/20}, containers: {'
        for ((i = 1; i <= $1; i++)); do echo "c$i: {address: 10.100.1.$i, runtime: netns},"; done
        echo '}}}}')
}
# What stays on the terminal: the line that counts seconds is erased.
on_terminal() { host script -qec "$*" /dev/null | tr -d '\r' | sed $'s/.*\e\\[K//'; }

@test "a terminal gets the lines of the report in the order of the work, and a pipe gets the report as before" {
    containers 3
    exits 0 berth apply "$SPEC"
    report=$output
    # The report has the plan's order: what the host has, then the containers, a blank line between them.
    assert_match "$report" $'^  ✓ \\+ bridge br0 .*\n\n  ✓ \\+ netns c1 .*\n\nApplied [0-9]+ steps'
    exits 0 berth destroy --yes "$SPEC"
    shown=$(on_terminal "'$BERTH'" apply "'$SPEC'")
    assert_eq "$(grep -c '^  ok ' <<<"$shown")" "$(grep -c '^  ✓ ' <<<"$report")" "lines"
    assert_eq "$(grep '^  ok ' <<<"$shown" | sed 's/^  ok //' | sort)" "$(grep '^  ✓ ' <<<"$report" | sed 's/^  ✓ //' | sort)"
    # A bridge comes up last.
    assert_eq "$(grep '^  ok ' <<<"$shown" | tail -1 | awk '{ print $3 }')" bridge
    assert_match "$shown" $'\n\nApplied [0-9]+ steps'
    assert_eq "$(on_terminal "'$BERTH'" apply --quiet "'$SPEC'")" ""
    berth plan -e "$SPEC"
}

@test "more than 50 equal steps have one line, and a few writes are enough" {
    containers 120
    shown=$(on_terminal strace -f -qq -e trace=write -e signal=none -o "$BATS_TEST_TMPDIR/writes" "'$BERTH'" apply "'$SPEC'")
    assert_match "$shown" 'ok \+ 120 ports'
    assert_match "$shown" 'ok \+ 120 network namespaces'
    refute_match "$shown" 'ok \+ port c1 '
    assert_match "$shown" 'ok \+ bridge br0'
    # Beside the line that counts seconds: at most one write for each line, however many steps there are.
    lines=$(wc -l <<<"$shown") writes=$(grep -cE 'write\(1,' "$BATS_TEST_TMPDIR/writes")
    ((lines < 30 && writes <= lines)) || fail "$lines lines, $writes writes to the terminal"
    berth plan -e "$SPEC"
}
