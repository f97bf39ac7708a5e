#!/usr/bin/env bats
# Installed and taken away again on a host without systemd: the same files as before, and an enabled unit is in the way.
load ../lab/lib

BUILD=${BERTH%/cmd/berth}

setup() {
    need_berth
    command -v cmake >/dev/null || skip "no cmake to install with"
    [[ -f $BUILD/cmake_install.cmake ]] || skip "$BERTH is not in a build folder"
    lab_up
    # The repository is read only here, and cmake keeps its lists in the build folder.
    host_sh 'mount -t tmpfs layer /mnt && mkdir /mnt/up /mnt/work &&
        mount -t overlay -o "lowerdir=$1,upperdir=/mnt/up,workdir=/mnt/work" overlay "$1" &&
        rm -f "$1"/install_*.txt' "$BUILD"
}
teardown() { lab_down; }

files() { host find /usr /etc /var/lib -xdev -printf '%y %m %p %l\n' | sort; }
uninstall() { host cmake --build "$BUILD" --target uninstall; }

@test "uninstall removes what install made, and nothing else" {
    # Directories that only this installation needs, and one that somebody else uses meanwhile.
    host rm -rf /usr/local/lib/systemd /usr/local/share/bash-completion /usr/local/share/zsh /usr/share/fish/vendor_completions.d
    files >"$BATS_TEST_TMPDIR/before"
    exits 0 host cmake --install "$BUILD"
    exits 0 host test -x /usr/local/bin/berth
    exits 0 host test -f /usr/local/lib/systemd/system/berth.service
    exits 0 host cmake --install "$BUILD"
    exits 0 uninstall
    files | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the files are not what they were"

    exits 0 host cmake --install "$BUILD"
    host touch /usr/local/lib/systemd/system/other.service
    exits 0 uninstall
    exits 0 host test -f /usr/local/lib/systemd/system/other.service
    host rm -r /usr/local/lib/systemd
    files | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "the files are not what they were"

    # Without an installation there is nothing to go by.
    ! uninstall >"$BATS_TEST_TMPDIR/said" 2>&1 || fail "uninstalled twice"
    assert_match "$(<"$BATS_TEST_TMPDIR/said")" "install_manifest.txt"
}

@test "an enabled unit stops the uninstallation, which names it; disabled, it goes" {
    exits 0 host cmake --install "$BUILD"
    exits 0 host systemctl enable berth.service berth.timer
    files >"$BATS_TEST_TMPDIR/before"
    ! uninstall >"$BATS_TEST_TMPDIR/said" 2>&1 || fail "uninstalled an enabled unit"
    assert_match "$(tr -s ' \n' ' ' <"$BATS_TEST_TMPDIR/said")" "systemctl disable --now berth.service berth.timer"
    files | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "a refused uninstallation removed something"
    # Another berth.service that is enabled is not ours.
    exits 0 host systemctl disable berth.service berth.timer
    host ln -s /opt/other/berth.service /etc/systemd/system/multi-user.target.wants/berth.service
    exits 0 uninstall
    exits 0 host test -L /etc/systemd/system/multi-user.target.wants/berth.service
    exits 1 host test -e /usr/local/bin/berth
}

@test "zsh and fish find the installed completions by themselves; bash has its file" {
    exits 0 host cmake --install "$BUILD"
    exits 0 host test -f /usr/local/share/bash-completion/completions/berth
    if host sh -c 'command -v zsh' >/dev/null; then
        exits 0 host zsh -fc 'autoload -Uz compinit; compinit -u -D; print $_comps[berth]'
        assert_eq "$output" _berth
    fi
    if host sh -c 'command -v fish' >/dev/null; then
        exits 0 host env -u XDG_DATA_DIRS HOME=/root fish -c 'complete -C "berth hook un"'
        assert_match "$output" '^uninstall'
    fi
}
