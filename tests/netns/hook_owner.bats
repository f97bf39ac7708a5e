#!/usr/bin/env bats
# A repository's owner attacks root: `hook install` and `hook uninstall` write nowhere but in the repository, and reading a repository
# follows its owner nowhere else. The owner is user 65534; nothing here needs a container.
load ../lab/lib

setup() {
    need_berth
    : "${SWAPPER:=${BERTH%/cmd/berth}/tests/swapper}"
    lab_up
    unset "${!GIT_@}" "${!BERTH_GIT@}"
    T=$BATS_TEST_TMPDIR
    export HOME=$T/home GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
    export GIT_CONFIG_SYSTEM=/dev/null
    mkdir "$HOME" "$T/srv" "$T/victim"
    for_others
    printf 'secret\n' >"$T/victim/file" && chmod 600 "$T/victim/file"
    git init -q --bare -b main "$T/srv/infra.git"
    rm -f "$T/srv/infra.git/hooks/"*
    git init -q -b main "$T/work"
    cd "$T/work"
    printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/24}\n    containers:\n      one: {address: 10.9.0.10, runtime: netns}\n' >berth.yaml
    git add . && git commit -qm one && git push -q "$T/srv/infra.git" main
    R=$T/srv/infra.git
    chown -Rh 65534:65534 "$T/srv"
}
teardown() { lab_down; }

owner() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
install() { berth hook install --repo "$R" --git-owner 65534 "$@"; }
uninstall() { berth hook uninstall --repo "$R" --git-owner 65534; }
# Everything about what is not the owner's.
untouched() { diff <(printf '%s\n' "$1") <(victims) >&2 || fail "what is not the owner's has changed"; }
victims() { find "$T/victim" -printf '%p %U:%G %m %n %s %i %T@ %C@ %l\n' | sort; }

@test "a link in the place of hooks, or of the folder of earlier hooks, is refused" {
    local was
    owner sh -c "printf '#!/bin/sh\nid >$T/pwned\n' >'$R/hooks/pre-receive'; chmod 755 '$R/hooks/pre-receive'"
    was=$(victims)
    owner ln -s "$T/victim" "$R/hooks/before-berth"
    exits 4 install --apply
    assert_match "$stderr" "cannot use '.*/infra.git/hooks/before-berth': it is not a plain folder"
    untouched "$was"
    owner sh -c "rm '$R/hooks/before-berth'; mv '$R/hooks' '$R/away'; ln -s '$T/victim' '$R/hooks'"
    exits 4 install --apply
    assert_match "$stderr" "cannot use the hooks folder '.*/infra.git/hooks': it is not inside the repository .* of user 65534, or a link leads to it"
    exits 4 uninstall
    untouched "$was"
    # A link that stays in the repository is one, too.
    owner sh -c "rm '$R/hooks'; ln -s away '$R/hooks'"
    exits 4 install
    owner sh -c "rm '$R/hooks'; mv '$R/away' '$R/hooks'"
    exits 0 install --apply
    assert_match "$output" 'pre-receive +installed; the hook that was there runs first'
    assert_eq "$(find "$R/hooks" ! -type d -printf '%P ' | tr ' ' '\n' | sort | xargs)" 'before-berth/pre-receive post-receive pre-receive'
    exits 0 uninstall
    assert_eq "$(cd "$R/hooks" && find . ! -type d -printf '%P %U %m')" 'pre-receive 65534 755'
    untouched "$was"
}

@test "a hooks folder outside of the repository is refused, whichever settings name it" {
    local was hooks
    was=$(victims)
    owner git -C "$R" config core.hooksPath "$T/victim"
    exits 4 install
    assert_match "$stderr" "cannot use the hooks folder '.*/victim': it is not inside the repository"
    assert_match "$stderr" "git -C '.*/infra.git/' config core.hooksPath '.*/infra.git/hooks'"
    exits 4 uninstall
    for hooks in ../../victim hooks/../../../victim "$R/../../victim"; do
        owner git -C "$R" config core.hooksPath "$hooks"
        exits 4 install
    done
    owner git -C "$R" config --unset core.hooksPath
    printf '[core]\n\thooksPath = %s\n' "$T/victim" | host_sh 'cat >/etc/gitconfig'
    (unset GIT_CONFIG_SYSTEM && exits 4 install)
    host rm /etc/gitconfig
    untouched "$was"
    # One inside is taken, and made.
    owner git -C "$R" config core.hooksPath "$R/own"
    exits 0 install
    assert_eq "$(ls "$R/own" | xargs)" 'post-receive pre-receive'
    exits 0 uninstall
    # A repository names its own work tree.
    owner git init -q "$T/srv/tree"
    owner git -C "$T/srv/tree" config core.worktree "$T/victim"
    owner git -C "$T/srv/tree" config core.hooksPath "hooks"
    exits 4 berth hook install --repo "$T/srv/tree" --git-owner 65534
    owner git -C "$T/srv/tree" config core.hooksPath "$T/victim/x"
    exits 4 berth hook install --repo "$T/srv/tree" --git-owner 65534
    untouched "$was"
    # Root's own repository may name root's own folder.
    git -C "$T/work" config core.hooksPath "$T/victim"
    exits 0 berth hook install --repo "$T/work"
    exits 0 berth hook uninstall --repo "$T/work"
}

@test "a file with another name is never given away; a pipe or a link in the place of a file harms nobody" {
    local was
    ln "$T/victim/file" "$R/berth-look"
    exits 0 install --apply
    assert_eq "$(stat -c '%U:%G %a %s' "$T/victim/file")" 'root:root 600 7'
    assert_eq "$(stat -c '%u %h %s' "$R/berth-look")" '65534 1 0'
    exits 0 uninstall
    was=$(victims)
    owner ln -s "$T/victim/file" "$R/berth-look"
    owner ln -s "$T/victim/file" "$R/hooks/pre-receive"
    owner mkfifo "$R/hooks/post-receive"
    exits 0 install --apply
    assert_eq "$(stat -c '%u %F' "$R/berth-look")" '65534 regular empty file'
    exits 0 uninstall
    assert_eq "$(stat -c %F "$R/hooks/pre-receive" "$R/hooks/post-receive" | xargs -d '\n')" 'symbolic link fifo'
    untouched "$was"
}

@test "the repository itself as a link to root's repository is refused" {
    git clone -q --bare --no-hardlinks "$T/work" "$T/roots.git"
    local was
    was=$(find "$T/roots.git" -printf '%p %T@ %C@\n' | sort)
    mv "$R" "$R.away" && owner ln -s "$T/roots.git" "$R"
    exits 4 install
    assert_match "$stderr" 'leads to what belongs to another user|belongs to user'
    exits 4 uninstall
    assert_eq "$(find "$T/roots.git" -printf '%p %T@ %C@\n' | sort)" "$was"
}

# BERTH_SWAPS: how many times each of install and uninstall runs.
@test "an owner who swaps directories and files for links while root installs gains nothing" {
    local swapper=$SWAPPER was i done=0 refused=0 count
    [[ -x $swapper ]] || skip "no swapper beside $BERTH"
    mkdir -p "$T/victim/hooks/before-berth" "$T/victim/before-berth"
    printf '#!/bin/sh\n' | tee "$T/victim/pre-receive" "$T/victim/hooks/pre-receive" >"$T/victim/berth-look"
    git clone -q --bare --no-hardlinks --template= "$T/work" "$T/victim/root.git"
    owner sh -c "printf '#!/bin/sh\n' >'$R/hooks/pre-receive'; chmod 755 '$R/hooks/pre-receive'; mkdir '$R/hooks/before-berth'"
    was=$(victims)
    "$swapper" 65534 "${BERTH_SEED:-1}" "$T/count" "$R" "$T/victim/root.git" "$R/hooks" "$T/victim" "$R/hooks/before-berth" "$T/victim" \
        "$R/hooks/pre-receive" "$T/victim/pre-receive" "$R/berth-look" "$T/victim/berth-look" "$R/hooks/.pre-receive.berth-new" "$T/victim/pre-receive" 3>&- &
    local pid=$!
    for ((i = 0; i < ${BERTH_SWAPS:-40}; i++)); do
        if install --apply >/dev/null 2>&1; then ((++done)); else ((++refused)); fi
        if uninstall >/dev/null 2>&1; then ((++done)); else ((++refused)); fi
    done
    kill "$pid" && wait "$pid"
    count=$(<"$T/count")
    echo "# $((done + refused)) tries, $done went through, $refused were refused, $count swaps" >&3
    ((count > 0)) || fail "nothing was swapped"
    untouched "$was"
}

# Root reads a spec in a repository that user 65534 may say.
reads() { exits "$1" berth validate --git "${2:-$R}" --git-owner 65534 main:berth.yaml; }

@test "a repository that its owner replaces by a link or a .git file to root's own is refused, and nothing of that is told" {
    git clone -q --bare --no-hardlinks "$T/work" "$T/roots.git"
    git -C "$T/work" commit -q --allow-empty -m x
    printf 'version: 1\nhosts: [s3cret\n' >"$T/work/berth.yaml" && git -C "$T/work" commit -qam secret && git -C "$T/work" push -q "$T/roots.git" main
    chmod 700 "$T/roots.git"
    reads 0
    mv "$R" "$R.away"
    owner ln -s "$T/roots.git" "$R"
    reads 4
    assert_match "$stderr" "berth: '.*/srv/infra.git' leads to what belongs to another user than user 65534"
    owner sh -c "rm '$R'; mkdir '$R'; ln -s '$T/roots.git' '$R/.git'"
    reads 4
    assert_match "$stderr" "'.*/srv/infra.git/.git' leads to what belongs to another user"
    owner sh -c "rm '$R/.git'; echo 'gitdir: $T/roots.git' >'$R/.git'"
    reads 4
    assert_match "$stderr" "'.*/srv/infra.git/.git' leads to what belongs to another user|cannot open the repository that"
    refute_match "$stderr$output" s3cret
    chmod 755 "$T/roots.git"
    reads 4
    assert_match "$stderr" "'.*/srv/infra.git/.git' leads to what belongs to another user"
    # Where the caller stands in it, too.
    cd "$R"
    exits 4 "$BERTH" validate --git-owner 65534 main:berth.yaml
    exits 4 here_validate
    # A folder of linked work trees that leads on.
    owner sh -c "rm '$R/.git'; mkdir -p '$R/.git'; cp '$R.away/HEAD' '$R/.git/'; echo '$T/roots.git' >'$R/.git/commondir'"
    reads 4
    assert_match "$stderr" "leads to what belongs to another user"
    refute_match "$stderr$output" s3cret
    # A pipe in the place of such a file holds nobody up.
    owner sh -c "rm '$R/.git/commondir'; mkfifo '$R/.git/commondir' '$R/.git/objects'"
    exits 65 timeout 10 "$BERTH" validate --git "$R" --git-owner 65534 main:berth.yaml
}
here_validate() { "$BERTH" validate main:berth.yaml; }

@test "links and linked work trees of one's own still work, for root and for the owner whom root names" {
    # Of the owner.
    owner git -c safe.directory='*' -C "$R" worktree add -q "$T/srv/tree" main
    reads 0 "$T/srv/tree"
    owner ln -s tree "$T/srv/link"
    reads 0 "$T/srv/link"
    owner ln -s "$T/srv/tree/.git" "$T/srv/file"
    mkdir "$T/srv/sub" && chown 65534 "$T/srv/sub" && owner ln -s ../infra.git "$T/srv/sub/.git"
    reads 0 "$T/srv/sub"
    # Of root: links in root's directories lead anywhere.
    ln -s "$R" "$T/infra"
    reads 0 "$T/infra"
    git -C "$T/work" worktree add -q "$T/mine" -b other
    exits 0 "$BERTH" validate --git "$T/mine" HEAD:berth.yaml
    (cd "$T/mine" && exits 0 "$BERTH" validate HEAD:./berth.yaml)
    ln -s work "$T/alias"
    exits 0 "$BERTH" validate --git "$T/alias" HEAD:berth.yaml
    mkdir "$T/deep" && ln -s ../work/.git "$T/deep/.git"
    exits 0 "$BERTH" validate --git "$T/deep" HEAD:berth.yaml
    # Who called sudo is the operator.
    SUDO_UID=65534 exits 0 "$BERTH" validate --git "$T/srv/link" main:berth.yaml
    # A user without root.
    exits 0 owner "$BERTH" validate --git "$T/srv/link" main:berth.yaml
}

@test "no file of a repository is read before its reader is the owner" {
    owner git -c safe.directory='*' -C "$R" worktree add -q "$T/srv/tree" main
    ASAN_OPTIONS=detect_leaks=0 exits 0 strace -f -qq -o "$T/trace" -e trace=setresuid,openat,open,openat2,execve,readlink,read \
        "$BERTH" validate --git "$T/srv/tree" --git-owner 65534 main:berth.yaml
    local reader
    reader=$(awk '/berth-git-read/ && /execve/ {print $1; exit}' "$T/trace")
    # Up to then: names are opened to be looked at alone.
    awk -v r="$reader" '$1 == r' "$T/trace" | sed '/setresuid/q' >"$T/before"
    grep -q setresuid "$T/before"
    ! grep -E "open.*srv" "$T/before" | grep -v O_PATH || fail "root has opened a file of the owner"
    grep -qE 'openat.*"tree", O_[A-Z|_]*O_PATH' "$T/before" || fail "the witness sees no opening at all"
}

@test "without Landlock berth warns, and root does not read what belongs to another user" {
    without() { ASAN_OPTIONS=detect_leaks=0 strace -f -qq -o /dev/null -e trace=landlock_create_ruleset -e inject=landlock_create_ruleset:error=ENOSYS "$BERTH" "$@"; }
    exits 0 without validate --git "$T/work" main:berth.yaml
    assert_match "$stderr" 'berth: warning: this kernel has no Landlock'
    exits 4 without validate --git "$R" --git-owner 65534 main:berth.yaml
    assert_match "$stderr" "this kernel has no Landlock, so root does not read the repository '.*/infra.git' of user 65534"
    ASAN_OPTIONS=detect_leaks=0 exits 0 owner strace -f -qq -o /dev/null -e trace=landlock_create_ruleset -e inject=landlock_create_ruleset:error=ENOSYS "$BERTH" validate --git "$R" main:berth.yaml
    exits 0 "$BERTH" validate --git "$T/work" main:berth.yaml
    refute_match "$stderr" Landlock
}
