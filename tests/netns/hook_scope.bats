#!/usr/bin/env bats
# Which repository a hook serves, which branch a name stands for, and what git calls no hook for.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset "${!GIT_@}" "${!BERTH_GIT@}" XDG_CONFIG_HOME
    T=$BATS_TEST_TMPDIR
    export HOME=$T/home GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
    mkdir "$HOME"
    A=$T/a C=$T/c
    for repo in "$A" "$C"; do
        git init -q -b main "$repo"
        two >"$repo/berth.yaml"
        git -C "$repo" add . && git -C "$repo" commit -qm two
    done
    cd "$A"
}
teardown() { lab_down; }

two() { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/24}\n    containers:\n      one: {address: 10.9.0.10, runtime: netns}\n      two: {address: 10.9.0.20, runtime: netns}\n'; }
here() { "$BERTH" "$@"; }
# On the lab's host, as root there.
there() { host env "HOME=$HOME" "GIT_CONFIG_GLOBAL=${GIT_CONFIG_GLOBAL-$HOME/.gitconfig}" sh -c 'cd "$1" && shift && exec "$@"' sh "$@"; }
bad() { echo '      bad: 10.99.0.1' >>"$1/berth.yaml" && git -C "$1" add .; }
more() { echo "      $2: {address: 10.9.0.$3, runtime: netns}" >>"$1/berth.yaml" && git -C "$1" -c core.hooksPath=/dev/null commit -qam "$2"; }

@test "a hook in a shared folder serves its own repository, with its linked work trees, and no other" {
    git config --global core.hooksPath "$T/shared"
    exits 0 berth_there hook install --repo "$A" --apply
    assert_match "$output" 'Hooks in .*/shared \(core.hooksPath\)'
    # In an unrelated one nothing is refused and nothing applied.
    bad "$C"
    exits 0 there "$C" git commit -qm bad
    assert_eq "$output$stderr" ''
    git -C "$C" reset -q --hard HEAD~1
    more "$C" three 30
    exits 0 there "$C" git checkout -q -b side HEAD~1
    exits 0 there "$C" git checkout -q main
    exits 0 there "$C" git merge -q main
    assert_eq "$output$stderr" ''
    exits 1 host ip link show b0
    # Its own is checked and applied, in a linked work tree too.
    git -c core.hooksPath=/dev/null worktree add -q "$T/tree" -b side
    bad "$T/tree"
    exits 1 there "$T/tree" git commit -qm bad
    assert_match "$output$stderr" 'error\[E012\]'
    git -C "$T/tree" reset -q --hard
    bad "$A"
    exits 1 there "$A" git commit -qm bad
    git reset -q --hard
    more "$T/tree" four 40
    exits 0 there "$A" git merge -q side
    exits 0 host ip netns exec four true
    # The other one neither takes the folder nor empties it.
    exits 4 berth_there hook install --repo "$C"
    assert_match "$stderr" "it is the hook of the repository '.*/a/.git/?', which shares this folder"
    exits 0 berth_there hook uninstall --repo "$C"
    assert_match "$output" 'pre-commit +stays: it is the hook of the repository .*/a/.git'
    exits 0 berth_there hook status --repo "$A"
    assert_match "$output" "pre-commit +berth's: .* --only '.*/a/.git/?'"
    exits 0 berth_there hook uninstall --repo "$A"
    assert_eq "$(ls "$T/shared")" ''
}
berth_there() { there / "$BERTH" "$@"; }

@test "a hook that was there before runs in each repository that shares the folder" {
    mkdir "$T/shared" && git config --global core.hooksPath "$T/shared"
    printf '#!/bin/sh\necho before >&2\n' >"$T/shared/pre-commit" && chmod 755 "$T/shared/pre-commit"
    exits 0 berth_there hook install --repo "$A"
    bad "$C"
    exits 0 there "$C" git commit -qm bad
    assert_eq "$stderr" before
}

@test "a repository that was moved keeps its hooks; a copy is told that its hooks do nothing" {
    git clone -q --bare "$A" "$T/infra.git"
    exits 0 here hook install --repo "$T/infra.git"
    cp -a "$T/infra.git" "$T/copy.git"
    bad "$A" && git commit -qm bad
    exits 0 git push "$T/copy.git" main
    assert_match "$stderr" "remote: berth: this hook was installed for '.*/infra.git/?' and does nothing here"
    exits 1 git push "$T/infra.git" main
    mv "$T/infra.git" "$T/moved.git"
    exits 1 git push "$T/moved.git" main
    assert_match "$stderr" 'error\[E012\]'
    # What was installed for a repository of that name is renewed.
    exits 0 here hook install --repo "$T/moved.git"
    assert_match "$output" 'pre-receive +renewed'
    exits 0 here hook uninstall --repo "$T/moved.git"
    # A hook of an earlier program serves whoever calls it.
    exits 0 here hook install --repo "$T/moved.git"
    sed -i "s/ --only '[^']*'//" "$T/moved.git/hooks/pre-receive"
    exits 1 git push "$T/moved.git" main
}

@test "the hooks folder is found as git finds it" {
    same() {
        exits 0 here hook status --repo "$A" --json
        local mine=$output git
        git=$(git -C "$A" rev-parse --path-format=absolute --git-path hooks)
        assert_eq "$(jq -r '.hooks_path' <<<"$mine" | sed 's|/*$||')" "$git" "${1-}"
    }
    same default
    local file
    for file in global system home xdg; do printf '[core]\n\thooksPath = %s\n' "$T/$file" >"$T/$file.conf"; done
    GIT_CONFIG_GLOBAL=$T/global.conf same global
    GIT_CONFIG_SYSTEM=$T/system.conf same system
    GIT_CONFIG_SYSTEM=$T/system.conf GIT_CONFIG_NOSYSTEM=1 same nosystem
    GIT_CONFIG_SYSTEM=$T/system.conf GIT_CONFIG_NOSYSTEM=0 same nosystem=0
    GIT_CONFIG_GLOBAL=$T/global.conf GIT_CONFIG_SYSTEM=$T/system.conf same both
    cp "$T/home.conf" "$HOME/.gitconfig"
    same home
    GIT_CONFIG_GLOBAL=$T/global.conf same 'in place of home'
    GIT_CONFIG_GLOBAL= same 'an empty name'
    GIT_CONFIG_GLOBAL=/dev/null same none
    GIT_CONFIG_SYSTEM=$T/system.conf same 'home before system'
    mkdir -p "$T/config/git" && cp "$T/xdg.conf" "$T/config/git/config"
    XDG_CONFIG_HOME=$T/config same 'home before xdg'
    rm "$HOME/.gitconfig"
    XDG_CONFIG_HOME=$T/config same xdg
    git -C "$A" config core.hooksPath mine
    GIT_CONFIG_GLOBAL=$T/global.conf same 'its own first'
    git -C "$A" config core.hooksPath '~/mine'
    same 'of the home directory'
}

@test "a tag with the branch's name decides nothing: a short name that stands for two things is refused" {
    git clone -q --bare "$A" "$T/infra.git"
    exits 0 berth hook install --repo "$T/infra.git" --apply --deny delete
    push() { exits "$1" there "$A" git push "$T/infra.git" "${@:2}"; }
    git commit -q --allow-empty -m again && push 0 main
    # What --deny refuses for the branch comes as a tag.
    sed -i /two:/d berth.yaml && git commit -qam 'no two'
    push 1 main
    git update-ref refs/tags/main HEAD
    push 0 refs/tags/main
    exits 65 berth plan --git "$T/infra.git" main:berth.yaml
    assert_match "$stderr" "'main' is ambiguous: it stands for 'refs/heads/main' and for 'refs/tags/main'"
    assert_match "$stderr" 'write the full name: refs/heads/main'
    exits 65 here plan --range 'main~1..main'
    exits 0 berth plan -e --git "$T/infra.git" refs/heads/main:berth.yaml
    exits 0 host ip netns exec two true
    # The next good push applies the branch.
    git reset -q --hard HEAD~1 && more "$A" three 30 && push 0 refs/heads/main:refs/heads/main
    exits 0 host ip netns exec three true
    exits 0 host ip netns exec two true
    # A branch before a tag, and each way to write a revision.
    git tag -d main >/dev/null
    git tag v1 && git branch x/y
    local rev
    for rev in main v1 x/y HEAD @ main~1 'main^{commit}' 'main@{0}' heads/main tags/v1 "$(git rev-parse HEAD)" "$(git rev-parse --short HEAD)"; do
        exits 0 here validate "$rev:berth.yaml"
    done
    # A branch that looks like the id of another commit.
    git branch "$(git rev-parse --short=8 HEAD~1)" HEAD
    exits 65 here validate "$(git rev-parse --short=8 HEAD~1):berth.yaml"
    assert_match "$stderr" "is ambiguous: it stands for 'refs/heads/[0-9a-f]{8}' and for an object with that id"
    # A whole id is that commit, whatever is called so.
    git update-ref "refs/heads/$(git rev-parse HEAD~1)" HEAD
    sed -i '1i junk: [' berth.yaml && git commit -qam junk && git update-ref "refs/heads/$(git rev-parse HEAD~1)" HEAD
    exits 0 here validate "$(git rev-parse HEAD~1):berth.yaml"
    # A tag that has the branch's whole name, where the branch is gone.
    local bare=$T/infra.git
    git --git-dir="$bare" update-ref refs/tags/refs/heads/main "$(git --git-dir="$bare" rev-parse refs/heads/main)"
    git --git-dir="$bare" update-ref -d refs/heads/main
    exits 65 berth plan --git "$bare" refs/heads/main:berth.yaml
    assert_match "$stderr" "there is no revision 'refs/heads/main'"
    exits 0 berth plan -e --git "$bare" refs/tags/refs/heads/main:berth.yaml
}

@test "a commit that cannot be read in whole silences no later commit's Berth-Allow" {
    git clone -q --bare "$A" "$T/infra.git"
    exits 0 berth hook install --repo "$T/infra.git" --apply --deny delete
    push() { exits "$1" there "$A" git push "$T/infra.git" "${@:2}"; }
    git commit -q --allow-empty -m again && push 0 main
    exits 0 host test -e /run/netns/two
    local bad
    bad=$(printf 'tree %s\nparent %s\nauthor A <a@x> 99999999999999999999 +0000\ncommitter A <a@x> 99999999999999999999 +0000\n\nbad\n' \
        "$(git rev-parse 'HEAD^{tree}')" "$(git rev-parse HEAD)" | git hash-object -t commit -w --stdin --literally)
    git reset -q --hard "$bad"
    sed -i /two:/d berth.yaml && git commit -qam 'no two'
    push 1 main
    git commit -q --amend -m 'no two' --trailer 'Berth-Allow: delete'
    push 0 main
    exits 1 host test -e /run/netns/two
}

@test "refs that change what git reads in later pushes are refused" {
    git clone -q --bare "$A" "$T/infra.git"
    exits 0 berth hook install --repo "$T/infra.git" --apply
    push() { exits "$1" there "$A" git push "$T/infra.git" "${@:2}"; }
    git commit -q --allow-empty -m again && push 0 main
    local ref
    for ref in "refs/replace/$(git rev-parse HEAD)" refs/heads/refs/heads/main refs/tags/refs/heads/main refs/notes/refs/x; do
        push 1 "HEAD~1:$ref"
        assert_match "$stderr" "Refused: $ref: git would take it for something else"
    done
    push 0 HEAD:refs/heads/side/refs-x HEAD:refs/tags/v9
    git commit -q --allow-empty -m more && push 0 main
}

@test "git pull --rebase with a local commit is applied; an amended commit is not" {
    git clone -q "$A" "$T/w"
    exits 0 berth hook install --repo "$T/w" --apply
    echo note >"$T/w/note" && git -C "$T/w" add . && git -C "$T/w" -c core.hooksPath=/dev/null commit -qm note
    more "$A" three 30
    exits 0 there "$T/w" git pull -q --rebase
    assert_match "$stderr$output" 'Applied [0-9]+ steps'
    exits 0 host ip netns exec three true
    # Without a change of the spec nothing is said.
    git -C "$A" commit -q --allow-empty -m empty
    exits 0 there "$T/w" git pull -q --rebase
    refute_match "$stderr$output" 'berth|Applied'
    # Another branch that is rebased is not applied.
    git -C "$T/w" -c core.hooksPath=/dev/null checkout -q -b side HEAD~1
    more "$T/w" side 50
    exits 0 there "$T/w" git -c advice.skippedCherryPicks=false rebase -q main
    refute_match "$stderr$output" 'Applied'
    exits 1 host test -e /run/netns/side
    git -C "$T/w" -c core.hooksPath=/dev/null checkout -q main
    echo '      four: {address: 10.9.0.40, runtime: netns}' >>"$T/w/berth.yaml"
    exits 0 there "$T/w" git commit -q --amend -am four
    exits 1 host test -e /run/netns/four
    exits 0 berth hook uninstall --repo "$T/w"
    assert_eq "$(ls "$T/w/.git/hooks" | grep -v sample | xargs)" ''
}
