#!/usr/bin/env bats
# ./berth.yaml, which nobody named: root takes it only from root, or from the user who called sudo.
load ../lab/lib

setup() {
    need_berth
    lab_up
    unset SUDO_UID
    D=$BATS_TEST_TMPDIR/dir
    mkdir "$D"
    for_others
    printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/24}\n    containers:\n      one: {address: 10.9.0.10, runtime: netns}\n' >"$D/berth.yaml"
}
teardown() { lab_down; }

# In that directory, on the host.
there() { host env "SUDO_UID=${SUDO_UID-}" sh -c 'cd "$1" && shift && exec "$@"' sh "$D" "$BERTH" "$@"; }
refused() {
    exits 4 there "$@"
    assert_match "$stderr" "berth: cannot use './berth.yaml': .*${want?}"
    assert_match "$stderr" 'if you trust it, name it: berth plan ./berth.yaml'
}

@test "a spec of another user is not applied from the directory where root stands" {
    chown 4242 "$D/berth.yaml"
    want='it belongs to user 4242, who is neither root nor the user who called sudo' refused apply
    want='it belongs to user 4242' refused plan
    exits 1 host ip link show b0
    exits 4 there plan --json
    assert_eq "$(json .outcome)" refused
    # In a directory of that user, root's file can be replaced.
    chown 0 "$D/berth.yaml" && chown 4242 "$D"
    want='the directory belongs to user 4242' refused apply
    # What is named is the operator's choice.
    exits 0 there plan ./berth.yaml
    exits 0 there plan -f berth.yaml
    exits 0 host env "BERTH_SPEC=$D/berth.yaml" "$BERTH" plan
    # The one who called sudo is the operator, and nobody else is.
    chown 4242 "$D/berth.yaml"
    SUDO_UID=4242 exits 0 there apply
    exits 0 host ip link show b0
    SUDO_UID=4243 want='the directory belongs to user 4242' refused apply
    SUDO_UID=4242x want='the directory belongs to user 4242' refused apply
}

@test "a directory or a file that others can write is refused, and so is a link of another user" {
    chmod 757 "$D"
    want='other users can write to the directory' refused plan
    chmod 1777 "$D"
    exits 0 there plan
    ln "$D/berth.yaml" "$BATS_TEST_TMPDIR/elsewhere"
    want='other users can write to the directory' refused plan
    rm "$BATS_TEST_TMPDIR/elsewhere"
    # As in /tmp: a link to a file of root's.
    mv "$D/berth.yaml" "$BATS_TEST_TMPDIR/roots.yaml" && ln -s "$BATS_TEST_TMPDIR/roots.yaml" "$D/berth.yaml"
    exits 0 there plan
    chown -h 4242 "$D/berth.yaml"
    want='a symbolic link of another user leads to it' refused plan
    rm "$D/berth.yaml" && mv "$BATS_TEST_TMPDIR/roots.yaml" "$D/berth.yaml"
    chmod 755 "$D" && chmod 646 "$D/berth.yaml"
    want='other users can write to it' refused plan
    # Groups: one that others are in, and one of the owner alone.
    chmod 664 "$D/berth.yaml"
    exits 0 there plan
    chgrp 4242 "$D/berth.yaml"
    want='other users can write to it' refused plan
    host_sh 'useradd -U -u 4300 ann; chown ann:ann "$1" "$1/berth.yaml"; chmod 775 "$1"' "$D"
    SUDO_UID=4300 exits 0 there plan
    host usermod -aG ann nobody
    SUDO_UID=4300 want='other users can write to the directory' refused plan
}

@test "a user without root, and root in a directory of root's, need no flag" {
    exits 0 there plan
    exits 0 there apply
    chown -R 4242 "$D"
    exits 0 host setpriv --reuid 4242 --regid 4242 --clear-groups sh -c 'cd "$1" && "$2" validate' sh "$D" "$BERTH"
    exits 0 host setpriv --reuid 4243 --regid 4243 --clear-groups sh -c 'cd "$1" && "$2" validate' sh "$D" "$BERTH"
}

@test "list and destroy need no spec, so a bad ./berth.yaml does not stop them" {
    local here=$D/berth.yaml
    host mkdir -p /srv
    host cp "$here" /srv/one.yaml
    exits 0 berth apply /srv/one.yaml
    chown 4242 "$here"
    exits 0 there list
    assert_match "$output" 'one .*netns'
    assert_match "$stderr" "warning: cannot use './berth.yaml': it belongs to user 4242"
    assert_match "$stderr" 'berth list goes on without a spec'
    exits 0 there list --json
    assert_eq "$(json '"\(.host) \(.containers[0].name)"')" 'null one'
    exits 64 there list nosuch
    # What needs a spec says which one there is.
    exits 4 there stop one
    assert_match "$stderr" 'the last apply here came from /srv/one.yaml:'$'\n'' *berth stop one -f /srv/one.yaml'
    exits 4 there status
    assert_match "$stderr" 'cd / && berth status'
    # A faulty one.
    chown 0 "$here" && echo 'nonsense: true' >>"$here"
    exits 0 there list
    assert_match "$stderr" 'warning: berth.yaml: the spec is not valid: 1 error'
    exits 65 there stop one
    assert_match "$stderr" '`nonsense` is not a key here'
    assert_match "$stderr" 'the last apply here came from /srv/one.yaml:'$'\n'' *berth stop one -f /srv/one.yaml'
    exits 65 there status
    assert_match "$stderr" 'cd / && berth status'
    # Who names a spec means it.
    exits 65 there destroy --yes berth.yaml
    assert_match "$stderr" 'destroy needs no spec.*'$'\n'' *cd / && berth destroy'
    host test -e /run/netns/one
    exits 0 there destroy --yes
    assert_match "$stderr" 'berth destroy goes on without a spec'
    exits 1 host test -e /run/netns/one
    exits 1 host ip link show b0
}
