#!/usr/bin/env bats
# Specs out of git, plans of a range, hooks: with the real git on the other side, and with repositories that mean harm.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset "${!GIT_@}" "${!BERTH_GIT@}"
    export HOME=$BATS_TEST_TMPDIR/home GIT_AUTHOR_NAME='Ann Example' GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann
    export GIT_COMMITTER_EMAIL=ann@example.org GIT_AUTHOR_DATE='2026-05-01 10:00:00 +0000' GIT_COMMITTER_DATE='2026-05-01 10:00:00 +0000'
    mkdir "$HOME"
    R=$BATS_TEST_TMPDIR/repo
    git init -q -b main "$R"
    cd "$R"
    two >berth.yaml
    git add .
    git commit -qm 'two containers'
}
teardown() { lab_down; }

two() { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/24}\n    containers:\n      one: {address: 10.9.0.10, runtime: netns}\n      two: {address: 10.9.0.20, runtime: netns}\n'; }
# Run by the outside's shell, in the repository: no kernel is needed. What is to apply would be written to this machine's own /etc.
here() { if [[ " $* " == *' --apply '* ]]; then fail "only on the lab's host: berth $*"; else "$BERTH" "$@"; fi; }
# The same as a user without root.
nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }

@test "a revision is read from the object database, never from the work tree" {
    echo 'not: [a spec' >berth.yaml
    for rev in main:berth.yaml HEAD:./berth.yaml "$(git rev-parse HEAD):berth.yaml" HEAD:x/../berth.yaml refs/heads/main:berth.yaml; do
        exits 0 here validate "$rev"
    done
    exits 65 here validate berth.yaml
    exits 0 berth apply --git "$R" main:berth.yaml
    exits 0 berth status --git "$R" main:berth.yaml
    assert_match "$output" "in sync with $(git rev-parse --short=7 HEAD) \(main\), applied [0-9]+s ago"
    exits 0 here validate 'main@{2030-01-01 10:00:00}:berth.yaml'
    # A second apply writes nothing; another commit is recorded even if nothing differs.
    local before
    before=$(host stat -c %Y%Z%i /var/lib/berth/applied)
    exits 0 berth apply --git "$R" main:berth.yaml
    assert_eq "$(host stat -c %Y%Z%i /var/lib/berth/applied)" "$before"
    git commit -q --allow-empty -m again
    exits 0 berth status --git "$R" --json main:berth.yaml
    assert_eq "$(json .spec.commit.id)" "$(git rev-parse HEAD)"
    assert_eq "$(json .spec.commit.author)" 'Ann Example'
    assert_eq "$(json .applied.commit)" "$(git rev-parse HEAD~1)"
    exits 0 berth apply --git "$R" main:berth.yaml
    exits 0 berth status --json --git "$R" main:berth.yaml
    assert_eq "$(json .applied.commit)" "$(git rev-parse HEAD)"
    # What is applied from a file is no commit.
    two | host sh -c 'cat >/root/plain.yaml'
    exits 0 berth apply /root/plain.yaml
    exits 0 berth status --json /root/plain.yaml
    assert_eq "$(json '.applied | "\(.file) \(.commit)"')" '/root/plain.yaml null'
}

@test "each way to fail has its sentence" {
    ln -s berth.yaml link.yaml
    mkdir dir 'a b'
    two >'a b/ü.yaml'
    printf '%*s' 5000000 x >dir/large.yaml
    git add .
    git -c protocol.file.allow=always submodule --quiet add "$R" sub 2>/dev/null
    git commit -qm more
    try() { exits "$1" here validate "$2"; assert_match "$stderr" "$3"; }
    try 65 nope:berth.yaml "there is no revision 'nope'"
    try 65 main:nope.yaml "there is no file 'nope.yaml' at main"
    try 65 main:x/ü.yaml 'there is one of that name: a b/ü.yaml'
    try 65 main:link.yaml 'is a symbolic link'
    try 65 main:sub 'is a submodule'
    try 65 main:dir 'is a directory'
    try 65 main:dir/large.yaml 'has 5000000 bytes; a spec may have 4194304'
    try 65 main:../x 'leads out of the repository'
    try 65 "$(git rev-parse HEAD^{tree}):berth.yaml" 'is a tree, not a commit'
    exits 0 here validate 'main:a b/ü.yaml'
    exits 0 here validate ./berth.yaml
    cd /
    try 65 main:berth.yaml "there is no git repository in '/'"
    exits 0 here validate --git "$R" main:berth.yaml
    exits 65 here validate --git /usr main:berth.yaml
    # Roots beside a spec that is in no folder.
    cd "$R"
    sed -i 's/one:.*/one: {address: 10.9.0.10, runtime: nspawn, nspawn: {root: .\/tree, command: [sh]}}/' berth.yaml
    git commit -qam root
    exits 69 berth plan --git "$R" main:berth.yaml
    assert_match "$stderr" 'a spec out of git has no directory around it'
}

@test "repositories of every kind: bare, packed, shallow, worktree, inside a submodule, empty" {
    git clone -q --bare . ../bare.git
    git -C ../bare.git pack-refs --all
    git -C ../bare.git repack -adq
    exits 0 here validate --git ../bare.git main:berth.yaml
    git clone -q --depth 1 "file://$R" ../shallow
    exits 0 here validate --git ../shallow HEAD:berth.yaml
    exits 65 here validate --git ../shallow HEAD~1:berth.yaml
    assert_match "$stderr" 'this clone is shallow'
    git worktree add -q ../tree -b other
    (cd ../tree && exits 0 here validate HEAD:berth.yaml)
    (cd ../tree && exits 0 here validate :berth.yaml)
    git init -q ../super
    git -C ../super -c protocol.file.allow=always submodule --quiet add "$R" inner 2>/dev/null
    (cd ../super/inner && exits 0 here validate HEAD:./berth.yaml)
    git init -q ../empty
    exits 65 here validate --git ../empty HEAD:berth.yaml
    assert_match "$stderr" 'has no commit yet'
    # Objects borrowed from who borrows them.
    git clone -q -s "$R" ../shared1
    for i in 2 3 4 5; do git clone -q -s "../shared$((i - 1))" "../shared$i"; rm -f "../shared$i/.git/objects/info/alternates"; echo "$BATS_TEST_TMPDIR/shared$((i - 1))/.git/objects" >"../shared$i/.git/objects/info/alternates"; done
    exits 0 here validate --git ../shared2 HEAD:berth.yaml
    exits 0 here validate --git ../shared5 HEAD:berth.yaml
    chown -R 4242 ../shared1/.git/objects
    exits 4 here validate --git ../shared5 HEAD:berth.yaml
    assert_match "$stderr" 'shared1/.git/objects. belongs to user 4242'
    echo "$BATS_TEST_TMPDIR/shared5/.git/objects" >../shared2/.git/objects/info/alternates
    exits 1 here validate --git ../shared2 HEAD:berth.yaml
    # What this library does not know.
    git init -q --object-format=sha256 ../sha256
    exits 1 here validate --git ../sha256 HEAD:berth.yaml
    assert_match "$stderr" 'SHA-256 ids, which are not supported.*repository of SHA-1'
    git clone -q . ../odd && git -C ../odd config extensions.worktreeConfig true && git -C ../odd config core.repositoryformatversion 1
    exits 1 here validate --git ../odd HEAD:berth.yaml
    assert_match "$stderr" "its extension 'worktreeconfig' is not supported.*git clone --bare"
    git tag -am 'annotated' v1
    exits 0 here validate v1:berth.yaml
}

@test "who owns the repository decides, and its reader has no more rights than its owner" {
    chown -R 65534 "$R" && chmod 755 "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR" "$BATS_SUITE_TMPDIR" 2>/dev/null || true
    exits 4 here validate --git "$R" main:berth.yaml
    assert_match "$stderr" 'belongs to user 65534'
    exits 0 here validate --git "$R" --git-owner 65534 main:berth.yaml
    SUDO_UID=65534 exits 0 here validate --git "$R" main:berth.yaml
    # Secrets that the owner cannot read stay unread, though root asks.
    chown 0 .git/HEAD && chmod 600 .git/HEAD
    exits 1 here validate --git "$R" --git-owner 65534 HEAD:berth.yaml
    # What it may do: seen in its own system calls.
    chown 65534 .git/HEAD
    ASAN_OPTIONS=detect_leaks=0 exits 0 strace -f -qq -o "$BATS_TEST_TMPDIR/trace" -e trace=setresuid,seccomp,prctl,landlock_restrict_self,execve,socket,connect,openat \
        "$BERTH" validate --git "$R" --git-owner 65534 main:berth.yaml
    local reader
    reader=$(awk '/berth-git-read/ && /execve/ {print $1; exit}' "$BATS_TEST_TMPDIR/trace")
    grep "^$reader " "$BATS_TEST_TMPDIR/trace" >"$BATS_TEST_TMPDIR/reader"
    grep -qE 'setresuid\(65534, 65534, 65534\) += 0' "$BATS_TEST_TMPDIR/reader"
    grep -qE 'landlock_restrict_self.* = 0' "$BATS_TEST_TMPDIR/reader"
    grep -q 'PR_SET_SECCOMP\|SECCOMP_SET_MODE_FILTER' "$BATS_TEST_TMPDIR/reader"
    ! grep -E 'socket\(|connect\(|O_WRONLY|O_RDWR' "$BATS_TEST_TMPDIR/reader" | grep -v /dev/null || fail "the reader writes or connects"
}

# A repository that means harm: refused in time, with a reason, without a crash of ours and without a process left.
hostile() {
    local wants=$1 said=$2 began=$SECONDS
    exits "$wants" berth validate --git "$R" "${3:-main:berth.yaml}"
    assert_match "$stderr" "$said"
    ((SECONDS - began < 30)) || fail "it took $((SECONDS - began)) s"
    # On this host there are no readers but ours.
    ! host pgrep -f berth-git-read >/dev/null || fail "a reader is left"
}

@test "a pipe in place of a file ends at the deadline" {
    mkfifo "$BATS_TEST_TMPDIR/fifo" .git/fifo
    printf '[include]\n\tpath = fifo\n' >>.git/config
    hostile 1 'took longer than 20 s|cannot open the repository'
}

@test "a reader that falls silent, or stays after its last word, is ended" {
    local bin=$BATS_TEST_TMPDIR/bin began=$SECONDS
    mkdir "$bin" && cp "$BERTH" "$bin/berth"
    printf '#!/bin/sh\nexec >/dev/null\nexec /bin/sleep 300\n' >"$bin/berth-git-read" && chmod +x "$bin/berth-git-read"
    exits 1 timeout 60 "$bin/berth" validate main:berth.yaml
    assert_match "$stderr" 'its reader was killed by signal 9'
    # What it said in good order before counts.
    # With an environment as empty as berth gives it: a leak checker waits in vain for what a confined program may not do.
    env -i "${BERTH%/*}/berth-git-read" --git "$R/.git" --rev main --path berth.yaml --limit 100000 --owner 0 | cat >"$BATS_TEST_TMPDIR/frame"
    printf '#!/bin/sh\n/bin/cat %s\nexec >/dev/null\nexec /bin/sleep 300\n' "$BATS_TEST_TMPDIR/frame" >"$bin/berth-git-read"
    exits 0 timeout 60 "$bin/berth" validate main:berth.yaml
    ((SECONDS - began < 20)) || fail "it took $((SECONDS - began)) s"
    ! pgrep -f "$bin/berth-git-read" >/dev/null || fail "a reader is left"
}

@test "hostile repositories: links, alternates, objects, modes, config" {
    local blob tree commit
    cp -a .git "$BATS_TEST_TMPDIR/good"
    again() { rm -rf .git && cp -a "$BATS_TEST_TMPDIR/good" .git; }
    # HEAD and a ref that are links to a secret.
    echo s3cret-s3cret >"$BATS_TEST_TMPDIR/secret"
    ln -sf "$BATS_TEST_TMPDIR/secret" .git/refs/heads/main
    exits 1 here validate main:berth.yaml
    refute_match "$stderr" s3cret
    again
    # Objects borrowed from a folder of somebody else's.
    mkdir -p "$BATS_TEST_TMPDIR/foreign" && chown 4242 "$BATS_TEST_TMPDIR/foreign"
    echo "$BATS_TEST_TMPDIR/foreign" >.git/objects/info/alternates
    hostile 4 'belongs to user 4242'
    again
    # A blob whose bytes are not what its name says; a pack that is cut off.
    blob=$(git rev-parse HEAD:berth.yaml)
    chmod u+w ".git/objects/${blob:0:2}/${blob:2}"
    printf 'rubbish' >".git/objects/${blob:0:2}/${blob:2}"
    hostile 1 "cannot read|failed"
    again
    git repack -adq
    for pack in .git/objects/pack/*.pack; do chmod u+w "$pack"; truncate -s 60 "$pack"; done
    hostile 1 'leads to a commit that is not there'
    again
    # A tree with modes that git never writes, and names that lead elsewhere.
    blob=$(git rev-parse HEAD:berth.yaml)
    tree=$(printf '120777 berth.yaml\0%b' "$(sed 's/../\\x&/g' <<<"$blob")" | git hash-object -w --literally -t tree --stdin)
    commit=$(git commit-tree -m odd "$tree")
    hostile 65 'is (a symbolic link|something else)|there is no file' "$commit:berth.yaml"
    tree=$(printf '40000 berth.yaml\0%b' "$(sed 's/../\\x&/g' <<<"$blob")" | git hash-object -w --literally -t tree --stdin)
    commit=$(git commit-tree -m odd "$tree")
    hostile 65 'is a directory' "$commit:berth.yaml"
    hostile 1 'cannot read' "$commit:berth.yaml/x"
    # A commit that points at itself through its tree, a tag at nothing.
    git update-ref --no-deref refs/heads/broken "$(git rev-parse HEAD)"
    echo "$(printf 'f%.0s' {1..40})" >.git/refs/heads/broken
    hostile 1 'leads to a commit that is not there' broken:berth.yaml
    again
    # Configuration that would run programs or read elsewhere.
    printf '[core]\n\tfsmonitor = touch %s/pwned\n\tsshCommand = touch %s/pwned\n\thooksPath = /tmp\n[include]\n\tpath = /etc/shadow\n' \
        "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR" >>.git/config
    exits 0 here validate main:berth.yaml || hostile 1 'cannot open'
    [[ ! -e $BATS_TEST_TMPDIR/pwned ]] || fail "a program was run"
    again
    printf '[[[[' >.git/config
    hostile 1 'cannot open the repository'
    again
    # Delta bombs and giants are cut by their header.
    head -c 200000000 /dev/zero | git hash-object -w --stdin >"$BATS_TEST_TMPDIR/id"
    tree=$(printf '100644 blob %s\tberth.yaml\n' "$(<"$BATS_TEST_TMPDIR/id")" | git mktree)
    hostile 65 'has 200000000 bytes' "$(git commit-tree -m giant "$tree"):berth.yaml"
}

@test "a range is planned offline, without root, for every host in the file, with the guards" {
    sed -i 's/      two:.*/      three: {address: 10.9.0.30, runtime: netns}/' berth.yaml
    printf '  second:\n    bridge: {address: 10.8.0.1/24}\n    containers: {only: 10.8.0.2}\n' >>berth.yaml
    git commit -qam 'three for two'
    chmod -R a+rX "$R"
    exits 0 here plan --range HEAD~1..HEAD
    assert_match "$output" '- netns two'
    assert_match "$output" '\+ netns three'
    assert_match "$output" '\+ netns only|\+ run only'
    exits 2 here plan -e --range HEAD~1..HEAD
    exits 0 here plan -e --range HEAD..HEAD
    assert_match "$output" 'localhost: nothing changes'
    exits 0 here plan --range HEAD~1..HEAD --json
    assert_eq "$(json '[.hosts[].host] | join(" ")')" 'localhost second'
    assert_eq "$(json '.hosts[0].summary.remove')" "$(json '[.hosts[0].steps[] | select(.action == "remove")] | length')"
    # The same steps that apply takes.
    local planned
    planned=$(json '[.hosts[0].steps[] | "\(.sign) \(.object)"] | sort | join("\n")')
    exits 0 berth apply --git "$R" HEAD~1:berth.yaml --host localhost
    exits 0 berth plan --json --git "$R" HEAD:berth.yaml --host localhost
    assert_eq "$(json '[.steps[] | "\(.sign) \(.object)"] | sort | join("\n")')" "$planned"
    exits 4 berth plan --github --deny delete --git "$R" HEAD:berth.yaml --host localhost
    assert_match "$output" '::error .*title=berth refused::this plan deletes netns two'
    # Denials and guards.
    exits 4 here plan --range HEAD~1..HEAD --deny delete
    assert_match "$output" 'deletes netns two, which is denied'
    exits 0 here plan --range HEAD~1..HEAD --deny restart,recreate
    exits 4 here plan --range HEAD~1..HEAD --allow-deletes 0
    exits 64 here plan --range HEAD~1..HEAD --deny everything
    exits 64 here plan --range HEAD
    exits 0 here plan --range HEAD~1..HEAD --host second
    refute_match "$output" localhost
    # The place of a refusal is one of the later file: what goes has none there.
    exits 4 here plan --range HEAD~1..HEAD --deny delete --github
    assert_match "$output" '^::error title=berth refused::this plan deletes netns two'
    exits 4 here plan --range HEAD~1..HEAD --deny delete --json
    assert_eq "$(json '.hosts[0].refusal | [.file, .start] | tojson')" '[null,null]'
    sed -i '1i # moved\n# down' berth.yaml
    sed -i 's/one:.*/one: {address: 10.9.0.10, runtime: nspawn, nspawn: {root: host, command: [a]}}/' berth.yaml
    git commit -qam runs && sed -i '1d; s/\[a\]/[b]/' berth.yaml && git commit -qam 'runs another'
    exits 4 here plan --range HEAD~1..HEAD --deny restart --github
    assert_match "$output" '^::error file=berth.yaml,line=7,.*this plan restarts'
    # A bad and B good is fine; B bad is not.
    echo 'hosts: [' >berth.yaml && git commit -qam bad
    exits 65 here plan --range HEAD~1..HEAD
    assert_match "$stderr" 'berth.yaml:2:1: error'
    two >berth.yaml && git commit -qam good
    exits 0 here plan --range HEAD~1..HEAD
    assert_match "$output" 'the spec at HEAD~1 is not valid'
    # Moved.
    mkdir deep && git mv berth.yaml deep/ && git commit -qm moved
    exits 65 here plan --range HEAD~1..HEAD
    assert_match "$stderr" 'there is one of that name: deep/berth.yaml'
    exits 0 here plan --range HEAD~1..HEAD deep/berth.yaml
    assert_match "$output" 'has no deep/berth.yaml'
    # Named by the environment, as the timer has it, and by its place in the work tree.
    BERTH_SPEC=main:deep/berth.yaml exits 0 here plan --range HEAD..HEAD
    BERTH_SPEC=$R/deep/berth.yaml exits 0 here plan --range HEAD..HEAD
    exits 0 here plan --range HEAD..HEAD "$R/deep/berth.yaml"
    BERTH_SPEC=/etc/berth/berth.yaml exits 64 here plan --range HEAD..HEAD
    assert_match "$stderr" "BERTH_SPEC is set, and '/etc/berth/berth.yaml' is not in the work tree"
    exits 64 here plan --range HEAD..HEAD main:deep/berth.yaml
    assert_match "$stderr" "--range names the revisions itself.*write deep/berth.yaml"
    # A host that leaves is not torn down.
    sed -i s/localhost/elsewhere/ deep/berth.yaml && git commit -qam renamed
    exits 2 here plan -e --range HEAD~1..HEAD deep/berth.yaml
    assert_match "$output" 'localhost is no longer in the spec'
}

@test "what a flake beside the spec holds tells whether a change makes another system" {
    mkdir flakes other
    sed -i 's/one:.*/one: {address: 10.9.0.10, runtime: nixos, nixos: {flake: .\/flakes}}/; s/two:.*/two: {address: 10.9.0.20, runtime: nixos, nixos: {flake: .\/flakes\/b#container}}/' berth.yaml
    mkdir flakes/b && echo one | tee flakes/flake.nix flakes/b/flake.nix >other/flake.nix
    git add . && git commit -qm flakes
    echo more >README && git add . && git commit -qm unrelated
    exits 0 here plan -e --range HEAD~1..HEAD
    assert_match "$output" 'localhost: nothing changes'
    # Both are told, the first one alone, and one that moves elsewhere.
    local range=HEAD~1..HEAD
    echo two >flakes/b/flake.nix && git commit -qam b
    exits 2 here plan -e --range $range
    assert_match "$output" '~ root one +system known after build'
    assert_match "$output" "flakes#one, tree $(git rev-parse HEAD~1:flakes | cut -c1-12) → flakes#one, tree $(git rev-parse HEAD:flakes | cut -c1-12)"
    assert_match "$output" '~ root two +system known after build'
    refute_match "$output" 'unit'
    echo two >flakes/flake.nix && git commit -qam a
    exits 0 here plan --range $range --json
    assert_eq "$(json '.hosts[0].steps[] | "\(.object), \(.reason)"')" 'root one, system known after build'
    exits 0 here plan --range $range --markdown
    assert_match "$output" '~ \| <code>root one</code> \| <code>system known after build</code>'
    refute_match "$output" 'root two'
    sed -i 's/flakes}/other}/' berth.yaml && git commit -qam moved
    exits 0 here plan --range $range
    assert_match "$output" '~ root one +system known after build'
    git rm -rq other && git commit -qm gone
    exits 0 here plan --range $range
    assert_match "$output" 'other#one, not there'
    # What is staged, as a commit would have it.
    exits 0 here hook install
    echo again >>README && git add README
    exits 0 git commit -qm unrelated
    assert_eq "$stderr$output" ''
    echo three >flakes/b/flake.nix && git add flakes && echo four >flakes/b/flake.nix
    exits 0 git commit -m staged
    assert_match "$(tr -s ' \n' ' ' <<<"$output$stderr")" "flakes/b#container, tree $(git rev-parse HEAD~1:flakes/b | cut -c1-12) → flakes/b#container, tree $(git rev-parse HEAD:flakes/b | cut -c1-12)"
    # On a server, before it is accepted.
    git clone -q --bare . ../far.git && exits 0 here hook install --repo ../far.git
    git checkout -q . && echo five >flakes/b/flake.nix && git -c core.hooksPath=/dev/null commit -qam five
    exits 0 git -c core.hooksPath=/dev/null push ../far.git main
    assert_match "$stderr" 'root two +system known after build'
}

@test "a flake beside the spec stays in the repository" {
    mkdir deep
    sed 's/one:.*/one: {address: 10.9.0.10, runtime: nixos, nixos: {flake: ..\/flakes#container}}/' berth.yaml >deep/in.yaml
    sed 's/\.\./..\/../' deep/in.yaml >deep/out.yaml
    sed 's/\.\.\/flakes/../' deep/in.yaml >deep/top.yaml
    git add . && git commit -qm deep
    exits 0 here plan --range HEAD~1..HEAD deep/in.yaml
    exits 65 here plan --range HEAD~1..HEAD deep/out.yaml --json
    assert_match "$stderr" 'deep/out.yaml:6:.*its flake leads out of the repository'
    exits 65 here validate --eval HEAD:deep/out.yaml
    assert_match "$stderr" 'out.yaml:6:.*its flake leads out of the repository'
    exits 0 here plan --range HEAD~1..HEAD deep/top.yaml
    exits 69 berth plan --git "$R" HEAD:deep/out.yaml
    assert_match "$stderr" 'its flake leads out of the repository'
}

@test "markdown for a pull request: stable, short, nothing in it that the author could turn into markup" {
    sed -i 's/      two:.*/      three: {address: 10.9.0.30, runtime: nspawn, nspawn: {root: host, command: [sh, -c, "x"], environment: {A: "<script>|`@x`"}}}/' berth.yaml
    git commit -qam three
    exits 0 here plan --range HEAD~1..HEAD --markdown
    local one=$output
    exits 0 here plan --range HEAD~1..HEAD --markdown
    assert_eq "$output" "$one"
    refute_match "$one" '<script|`'
    assert_match "$one" '\| <code>localhost</code> \| [0-9]+ \| [0-9]+ \| [0-9]+ \| 0 \| <code>two</code> \| ok \|'
    # A thousand containers: under 60 kB, and it says so.
    { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/16}\n    containers:\n'
      for i in {1..1000}; do echo "      c$i: {address: 10.9.$((1 + i / 250)).$((1 + i % 250)), runtime: netns}"; done; } >berth.yaml
    git commit -qam thousand
    exits 0 here plan --range HEAD~1..HEAD --markdown
    ((${#output} < 60000)) || fail "${#output} bytes"
    assert_match "$output" 'and [0-9]+ more steps of this host'
    assert_match "$output" 'all of it: <code>berth plan --range'
    # Names that are five times as long when nothing in them is markup.
    local long
    long=$(printf '_%.0s' {1..200})
    git branch "a/$long/$long" HEAD~1 && git branch "b/$long/$long"
    for host in {1..40}; do printf '  h%s:\n    bridge: {name: b0, address: 10.9.0.1/16}\n    containers:\n' "$host"
      for i in {1..30}; do echo "      c$i: {address: 10.9.1.$i, runtime: netns}"; done; done >>berth.yaml
    git commit -qam 'forty hosts' && git branch "c/$long/$long"
    for range in "a/$long/$long..b/$long/$long" "a/$long/$long..c/$long/$long" "HEAD~1..HEAD$(printf '~0%.0s' {1..4000})"; do
        exits 0 here plan --range "$range" --markdown
        (($(wc -c <<<"$output") <= 60000)) || fail "$(wc -c <<<"$output") bytes for ${range:0:10}"
        (($(wc -c <<<"$output") > 50000)) || fail "$(wc -c <<<"$output") bytes for ${range:0:10}"
        assert_match "$output" 'Cut to fit a comment; all of it: <code>berth plan --range'
        assert_eq "$(grep -c '^<details>' <<<"$output")" "$(grep -c '^</details>' <<<"$output")"
    done
    git reset -q --hard HEAD~1
    # Annotations.
    echo '      bad: 10.99.0.1' >>berth.yaml && git commit -qam bad
    exits 65 here plan --range HEAD~1..HEAD --github
    assert_match "$output" '^::error file=berth.yaml,line=1006,col=12,endColumn=[0-9]+,title=berth E012::'
    exits 65 here plan --range HEAD~1..HEAD --markdown
    assert_match "$output" 'the spec is not valid: 1 error'
    # Each where there is no range, too, or a word that it needs one.
    exits 65 here validate --github HEAD:berth.yaml
    assert_match "$output" '^::error file=berth.yaml,line=1006,col=12,endColumn=[0-9]+,title=berth E012::'
    assert_eq "$stderr" ''
    exits 65 here validate --github berth.yaml
    assert_match "$output" '^::error file=berth.yaml,line=1006,'
    exits 65 here plan --github :berth.yaml
    assert_match "$output" '^::error file=berth.yaml,line=1006,'
    exits 65 here plan --github nope.yaml
    assert_match "$output" '^::error title=berth refused::cannot read .nope.yaml.'
    exits 64 here plan --markdown main:berth.yaml
    assert_match "$stderr" '--markdown is for the plan of a change'
    # A spec that is not there is something to comment on.
    exits 65 here plan --range HEAD~1..HEAD no_pe.yaml --markdown
    assert_match "$output" '^### berth: <code>HEAD&#126;1..HEAD</code> — there is no plan.*no&#95;pe.yaml'
    exits 65 here plan --range HEAD~1..HEAD no_pe.yaml --github
    assert_eq "$(grep -c '^::error' <<<"$output")" 1
}

@test "hooks on a server: every kind of push" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    printf '#!/bin/sh\ncat >>seen\n[ ! -e veto ]\n' >../infra.git/hooks/pre-receive
    chmod 750 ../infra.git/hooks/pre-receive
    local was
    was=$(stat -c '%a %s' ../infra.git/hooks/pre-receive; md5sum <../infra.git/hooks/pre-receive)
    exits 0 here hook install --repo ../infra.git --deny delete
    exits 0 here hook install --repo ../infra.git --deny delete
    assert_match "$output" 'is there already'
    exits 0 here hook status --repo ../infra.git --json
    assert_eq "$(json '.events[] | select(.event == "pre-receive") | .state, .chained' | xargs)" 'berth true'
    push() { exits "$1" git push origin "${@:3}"; assert_match "$stderr" "$2"; }
    # A good one, a bad one, a removal, its trailer.
    echo '      three: {address: 10.9.0.30, runtime: netns}' >>berth.yaml && git commit -qam three
    push 0 'remote:.*\+ netns three' main
    grep -q refs/heads/main ../infra.git/seen
    echo '      four: 10.99.0.30' >>berth.yaml && git commit -qam four
    push 1 'remote: berth.yaml:9:13: error\[E012\]' main
    git reset -q --hard HEAD~1 && sed -i /three/d berth.yaml && git commit -qam 'no three'
    push 1 'remote: Refused: this plan deletes netns three' main
    git commit -q --amend -m 'no three' --trailer 'Berth-Allow: restart'
    push 1 'which is denied' main
    git commit -q --amend -m 'no three' --trailer 'Berth-Allow: delete' && git commit -q --allow-empty -m 'on top'
    push 0 '- netns three' main
    # The hook that was there still has its say.
    : >../infra.git/veto && git commit -q --allow-empty -m vetoed
    push 1 'hook declined' main
    rm ../infra.git/veto
    # Other branches, several refs, a tag, a deletion, a forced push, a merge.
    git checkout -q -b side && echo '      side: {address: 10.9.0.40, runtime: netns}' >>berth.yaml && git commit -qam side
    push 0 '\+ netns side' side
    git tag t1
    push 0 '.' side:refs/heads/a side:refs/heads/b t1
    push 0 'deleted' :a
    git checkout -q main && git merge -q --no-ff -m merged side
    push 0 '\+ netns side' main
    git reset -q --hard HEAD~1
    push 1 'Refused: this plan deletes netns side' --force main
    git commit -q --amend --allow-empty -m forced --trailer 'Berth-Allow: delete'
    push 0 '- netns side' --force main
    # The spec taken away, and moved.
    git rm -q berth.yaml && git commit -qm gone
    push 1 "there is no file 'berth.yaml'" main
    git reset -q --hard HEAD~1 && mkdir x && git mv berth.yaml x/ && git commit -qm moved
    push 1 'there is one of that name: x/berth.yaml' main
    # Back, byte for byte.
    exits 0 here hook uninstall --repo ../infra.git
    assert_eq "$(stat -c '%a %s' ../infra.git/hooks/pre-receive; md5sum <../infra.git/hooks/pre-receive)" "$was"
    assert_eq "$(ls ../infra.git/hooks | grep -v sample | xargs)" pre-receive
}

@test "what is denied stays denied: going back to an old permission, a branch taken away and back, the pusher's environment" {
    printf '      stays: {address: 10.9.0.50, runtime: netns}\n  second:\n    bridge: {address: 10.8.0.1/24}\n    containers: {only: 10.8.0.2}\n' >>berth.yaml
    git commit -qam 'second host'
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    exits 0 here hook install --repo ../infra.git --deny delete
    push() { exits "$1" git push origin "${@:3}"; assert_match "$stderr" "$2"; }
    # A commit that was let through once does not let through what goes back to it, whatever its date says.
    sed -i /two:/d berth.yaml && git commit -qam 'no two' --trailer 'Berth-Allow: delete'
    push 0 '- netns two' main
    sed -i 's/      one:.*/&\n      three: {address: 10.9.0.30, runtime: netns}/' berth.yaml
    GIT_COMMITTER_DATE='2019-05-01 10:00:00 +0000' git commit -qam three
    push 0 '\+ netns three' main
    push 1 'Refused: this plan deletes netns three' --force HEAD~1:main
    # Its own commit on top does.
    git checkout -q HEAD~1 && git commit -q --allow-empty -m 'three goes' --trailer 'Berth-Allow: delete'
    push 0 '- netns three' --force HEAD:main
    # What is gone is judged from nothing when it comes back.
    push 1 'Refused: deleting refs/heads/main, which is applied' :main
    # Nor does an environment.
    sed -i /one:/d berth.yaml && git commit -qam 'no one'
    BERTH_HOST=second push 1 'Refused: this plan deletes netns one' HEAD:main
    BERTH_GIT=/nowhere BERTH_ALLOW_DELETES=9 BERTH_JSON=1 push 1 'Refused: this plan deletes netns one' HEAD:main
    # Root knows what the host was made last, and sees a branch that is back by that.
    exits 0 berth apply --git "$R/../infra.git" main:berth.yaml --host localhost
    git -C ../infra.git update-ref -d refs/heads/main
    exits 1 host sh -c "cd '$R' && HOME='$HOME' git push origin HEAD:refs/heads/main"
    assert_match "$stderr" 'Refused: this plan deletes netns one'
    # Without a denial it may go.
    exits 0 here hook uninstall --repo ../infra.git
    git push -q origin HEAD:refs/heads/main && exits 0 here hook install --repo ../infra.git
    git -C ../infra.git config receive.denyDeleteCurrent ignore
    push 0 'main is deleted; nothing is applied until it is there again' :main
}

@test "at most a screen for each push, however many refs and steps; what is no commit needs no spec" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    exits 0 here hook install --repo ../infra.git --deny delete
    exits 0 here hook install
    push() { exits "$1" git push origin "${@:3}"; assert_match "$stderr" "$2"; }
    screen() { (($(grep -c '^remote: ' <<<"$stderr") < 30 && $(grep -vc '^remote: ' <<<"$stderr") < 60)) || fail "more than a screen: $stderr"; }
    local i
    for i in {1..20}; do
        printf '      more%d: {address: 10.9.0.%d, runtime: netns}\n' "$i" $((100 + i)) >>berth.yaml
        git -c core.hooksPath=/dev/null commit -qam "more $i" && git branch "b$i"
    done
    # The summary of a long plan is there, and those of several refs.
    push 0 'more lines; all of it: berth plan --range [0-9a-f]+\.\.[0-9a-f]+.*remote: Plan: [0-9]+ to create' main
    screen
    push 0 'remote: … and 1[0-9] more refs' b{1..20}
    screen
    # So is why one is refused, and that alone.
    two >berth.yaml && git commit -qam 'all away' && git branch fine && echo '      bad: 10.99.0.1' >>berth.yaml
    git -c core.hooksPath=/dev/null commit -qam bad && git branch wrong
    push 1 'remote: Refused: this plan deletes netns more' fine:main
    screen
    git -c core.hooksPath=/dev/null push origin fine:main fine:x wrong:y 2>"$BATS_TEST_TMPDIR/stderr" && fail "it went through"
    stderr=$(<"$BATS_TEST_TMPDIR/stderr")
    assert_match "$stderr" 'remote: Refused: this plan deletes.*error\[E012\]'
    refute_match "$stderr" 'refs/heads/x:'
    screen
    # Tags of what is no commit.
    git tag blob "$(git rev-parse HEAD:berth.yaml)" && git tag tree "$(git rev-parse 'HEAD^{tree}')" && git tag -am x noted blob
    exits 0 git push origin blob tree noted
    git tag -f blob fine >/dev/null
    exits 0 git push -f origin blob
    # What an apply says to who pushes as root.
    exits 0 here hook uninstall --repo ../infra.git
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply
    exits 0 host sh -c "cd '$R' && HOME='$HOME' git -c core.hooksPath=/dev/null push origin b19:refs/heads/main --force"
    assert_match "$stderr" 'remote: … the end of it; `berth status` on the host tells all'
    assert_match "$stderr" 'remote: Applied [0-9]+ steps'
    (($(grep -c '^remote: ' <<<"$stderr") < 60)) || fail "more than two screens: $stderr"
}

@test "no ref of a push goes unjudged: megabytes before it, a line cut short, more than is read" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    exits 0 here hook install --repo ../infra.git --deny delete
    local old none lines
    old=$(git rev-parse HEAD) none=$(printf '0%.0s' {1..40})
    sed -i /two:/d berth.yaml && git commit -qam 'no two' && git -C ../infra.git fetch -q "$R" main
    judge() { exits "$1" env GIT_DIR="$BATS_TEST_TMPDIR/infra.git" sh -c 'cd "$GIT_DIR" && sh hooks/pre-receive'; }
    # More than is read at once. No ref of such a name can be looked up, so it is judged as the branch that is applied.
    lines="$old $none refs/heads/$(head -c $((5 << 20)) /dev/zero | tr '\0' a)"
    judge 4 <<<"$lines"$'\n'"$old $(git rev-parse HEAD) refs/heads/main"
    assert_match "$output$stderr" 'Refused: this plan deletes'
    judge 4 <<<"$lines"
    judge 0 <<<"$old $none refs/heads/other"
    # Git writes neither of these.
    judge 1 <<<"$old $none"$'\n'"$old $(git rev-parse HEAD) refs/heads/main"
    assert_match "$output$stderr" 'git says of a ref what this hook does not understand'
    judge 1 <<<$'\n'"$old $(git rev-parse HEAD) refs/heads/main"
    assert_match "$output$stderr" 'git says of a ref what this hook does not understand'
    head -c $((65 << 20)) /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/much"
    judge 1 <"$BATS_TEST_TMPDIR/much"
    assert_match "$output$stderr" 'cannot read from git what the pre-receive hook is about: File too large; push fewer refs at once'
}

@test "a wrong word is told: the path of the spec, a permission that is none" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    exits 64 here hook install --repo ../infra.git --spec "$R/berth.yaml"
    assert_match "$stderr" "--spec is a path in the repository, not '/"
    exits 64 here hook install --repo ../infra.git --spec ../x/berth.yaml
    assert_match "$stderr" "leads out of the repository"
    exits 64 here hook install --repo ../infra.git --spec ./
    assert_match "$stderr" "names no file"
    assert_eq "$(ls ../infra.git/hooks | grep -v sample | xargs)" ''
    exits 0 here hook install --repo ../infra.git --spec .//x/.././berth.yaml --deny delete
    exits 0 here hook status --repo ../infra.git
    assert_match "$output" "pre-receive    berth's: --spec 'berth.yaml'"
    sed -i /two:/d berth.yaml && git commit -qam 'no two' --trailer 'Berth-Allow: Delete'
    exits 1 git push origin main
    assert_match "$stderr" 'remote: berth: `Berth-Allow: Delete` lets nothing through; it knows reload, restart, recreate and delete'
    git commit -q --amend -m 'no two' --trailer 'Berth-Allow: delete, evrything'
    exits 0 git push origin main
    assert_match "$stderr" '`Berth-Allow: evrything` lets nothing through'
    # In a work tree ./ is where one stands, as elsewhere.
    mkdir net && cd net || return 1
    exits 0 here hook install --spec ./berth.yaml
    exits 0 here hook status
    assert_match "$output" "--spec 'net/berth.yaml'"
    exits 0 here hook install --spec ../berth.yaml
    exits 0 here hook status
    assert_match "$output" "--spec 'berth.yaml'"
}

@test "an earlier hook runs under its own name, beside its helpers, and comes back as it was; so does one kept as it was kept once" {
    local hooks=.git/hooks was
    rm -f "$hooks"/*
    printf '#!/bin/sh\necho "I am ${0##*/}: $("${0%%/*}/helper") $*"\n' >"$hooks/pre-push" && chmod 710 "$hooks/pre-push"
    printf '#!/bin/sh\necho help\n' >"$hooks/helper" && chmod 755 "$hooks/helper"
    mkdir tools && printf '#!/bin/sh\necho "linked ${0##*/}"\n' >tools/check && chmod 755 tools/check && ln -s ../../tools/check "$hooks/pre-commit"
    listing() { (cd "$hooks" && find . -printf '%P %M %l\n' | sort && sort -z <(find . -type f -print0) | xargs -0 md5sum); }
    was=$(listing)
    git init -q --bare ../far.git && git remote add origin ../far.git
    exits 0 here hook install
    assert_match "$output" 'the hook that was there runs first'
    exits 0 here hook status --json
    assert_eq "$(json '[.events[] | select(.chained) | .event] | join(" ")')" 'pre-commit pre-push'
    assert_match "$(json '.events[] | select(.event == "pre-push") | .options')" "^--spec 'berth.yaml' --branch 'main'"
    exits 0 git push origin main
    assert_match "$output$stderr" 'I am pre-push: help origin ../far.git'
    exits 0 git commit -q --allow-empty -m x
    assert_match "$output$stderr" 'linked pre-commit'
    exits 0 here hook install
    assert_match "$output" 'is there already'
    exits 0 here hook uninstall
    assert_eq "$(listing)" "$was"
    # As it was kept once: renewed by an installation, and put back without one.
    once() {
        mv "$hooks/pre-push" "$hooks/pre-push.before-berth"
        printf '#!/bin/sh\n# berth-hook 1: made by `berth hook install`, taken away by `berth hook uninstall`.\nexec %s hook pre-push --before "$0.before-berth" --spec berth.yaml -- "$@"\n' \
            "'$BERTH'" >"$hooks/pre-push" && chmod 755 "$hooks/pre-push"
    }
    once
    git commit -q --allow-empty -m old
    exits 0 git push origin main
    assert_match "$output$stderr" 'I am pre-push.before-berth: help'
    exits 0 here hook status --json
    assert_eq "$(json '.events[] | select(.event == "pre-push") | "\(.chained) \(.options)"')" 'true --spec berth.yaml'
    exits 0 here hook uninstall
    assert_eq "$(listing)" "$was"
    once
    exits 0 here hook install
    git commit -q --allow-empty -m new
    exits 0 git push origin main
    assert_match "$output$stderr" 'I am pre-push: help'
    exits 0 here hook uninstall
    assert_eq "$(listing)" "$was"
}

@test "an earlier hook that fails after a push or a checkout is told of, and does not stop the apply" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    printf '#!/bin/sh\nexit 3\n' >../infra.git/hooks/post-receive && chmod 755 ../infra.git/hooks/post-receive
    cp ../infra.git/hooks/post-receive .git/hooks/post-checkout
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply
    exits 0 berth hook install --repo "$R" --apply
    echo '      three: {address: 10.9.0.30, runtime: netns}' >>berth.yaml && git -c core.hooksPath=/dev/null commit -qam three
    exits 0 host sh -c "cd '$R' && HOME='$HOME' git push origin main"
    assert_match "$stderr" 'remote: berth: the post-receive hook that was there before ended with 3'
    assert_match "$stderr" 'remote: Applied [0-9]+ steps'
    exits 0 host test -e /run/netns/three
    git -c core.hooksPath=/dev/null checkout -q -b side HEAD~1
    exits 1 host sh -c "cd '$R' && HOME='$HOME' git checkout -q main"
    assert_match "$stderr" 'the post-checkout hook that was there before ended with 3'
    # One that is asked before has its say, as ever.
    cp ../infra.git/hooks/before-berth/post-receive ../infra.git/hooks/before-berth/pre-receive
    git commit -q --allow-empty -m more
    exits 1 host sh -c "cd '$R' && HOME='$HOME' git push origin main"
}

@test "whoever pushes as root waits for their turn no longer than a minute, and is applied all the same" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply
    # As if an apply hung.
    mkfifo "$BATS_TEST_TMPDIR/go"
    apart 'mkdir -p /run/berth; exec setsid flock /run/berth/hook.running sh -c "echo >/run/held; read x <$1" </dev/null >/dev/null 2>&1 &' "$BATS_TEST_TMPDIR/go"
    wait_for host test -e /run/held
    echo '      three: {address: 10.9.0.30, runtime: netns}' >>berth.yaml && git commit -qam three
    pushed() { host sh -c "cd '$R' && HOME='$HOME' timeout 100 git push origin main"; }
    local began=$SECONDS
    pushed >"$BATS_TEST_TMPDIR/first" 2>&1 3>&- &
    wait_for grep -q 'waiting for an apply that is at work' "$BATS_TEST_TMPDIR/first"
    # Who comes while one waits goes at once.
    git commit -q --allow-empty -m more
    exits 0 pushed
    assert_match "$stderr" 'an apply is waiting already and will take this commit along'
    wait %?pushed || fail "the push failed"
    ((SECONDS - began >= 55 && SECONDS - began < 90)) || fail "it took $((SECONDS - began)) s"
    assert_match "$(<"$BATS_TEST_TMPDIR/first")" 'still waiting after 60 s; it is applied in its turn'
    exits 1 host test -e /run/netns/three
    echo >"$BATS_TEST_TMPDIR/go"
    applied() { berth status --git "$R/../infra.git" main:berth.yaml | grep -q "in sync with $(git rev-parse --short=7 HEAD)"; }
    wait_for applied
    # Who has the turn is told by name.
    apart 'exec setsid flock /run/berth/hook.running sh -c "echo $(git -C "$2" rev-parse main) \$\$ $(date +%s) >/run/berth/hook.running; read x <$1" </dev/null >/dev/null 2>&1 &' "$BATS_TEST_TMPDIR/go" "$R"
    wait_for host_sh '! flock -n /run/berth/hook.running true'
    git commit -q --allow-empty -m 'one more'
    pushed >"$BATS_TEST_TMPDIR/second" 2>&1 3>&- &
    wait_for grep -qE "waiting for the apply of $(git rev-parse --short=7 main~1) \(process [0-9]+, for [0-9]+ s\)" "$BATS_TEST_TMPDIR/second"
    echo >"$BATS_TEST_TMPDIR/go"
    wait %?pushed || fail "the push failed"
    assert_match "$(<"$BATS_TEST_TMPDIR/second")" 'Nothing to do'
}

@test "hooks in a work tree: what is staged, what is pushed, what is checked out" {
    exits 0 berth hook install --repo "$R" --apply
    local hooks='post-checkout post-merge post-rewrite pre-commit pre-push'
    assert_eq "$(ls .git/hooks | grep -v sample | xargs)" "$hooks"
    exits 0 git commit -q --allow-empty -m nothing
    assert_eq "$stderr$output" ''
    # What is staged counts, not what lies around.
    echo '      bad: 10.99.0.1' >>berth.yaml
    git add berth.yaml && git checkout -q HEAD -- berth.yaml 2>/dev/null; echo '      bad: 10.99.0.1' >>berth.yaml; git add berth.yaml; two >berth.yaml
    exits 1 git commit -m bad
    assert_match "$output$stderr" 'berth.yaml:8:12: error\[E012\]'
    git add berth.yaml
    echo '      three: {address: 10.9.0.30, runtime: netns}' >>berth.yaml
    exits 0 git commit -am three
    assert_match "$output$stderr" '\+ netns three'
    git init -q --bare ../far.git && git remote add origin ../far.git
    git -c core.hooksPath=/dev/null commit -q --allow-empty -m x
    exits 0 git push origin main
    assert_match "$output$stderr" '\+ netns three'
    # Followed by the host: a merge of main.
    git -c core.hooksPath=/dev/null checkout -q -b side
    echo '      four: {address: 10.9.0.40, runtime: netns}' >>berth.yaml && git -c core.hooksPath=/dev/null commit -qam four
    host sh -c "cd '$R' && HOME='$HOME' git checkout -q main"
    exits 0 host ip netns exec three true
    host sh -c "cd '$R' && HOME='$HOME' git merge -q side"
    exits 0 host ip netns exec four true
    # A folder of hooks set elsewhere.
    git config core.hooksPath .githooks && mkdir .githooks
    exits 0 here hook status
    assert_match "$output" 'core.hooksPath'
    exits 0 here hook install
    assert_eq "$(ls .githooks | xargs)" 'pre-commit pre-push'
    exits 0 here hook uninstall
    assert_eq "$(ls .githooks)" ''
    git config --unset core.hooksPath
    # Set for the user or for the machine, after hooks were written: those are found where they are.
    for file in "$HOME/.config/git/config" "$HOME/xdg/git/config" /etc/gitconfig; do
        exits 0 here hook install
        local set=(env -u XDG_CONFIG_HOME "HOME=$HOME")
        [[ $file != *xdg* ]] || set=(env "XDG_CONFIG_HOME=$HOME/xdg" "HOME=$HOME")
        host mkdir -p "${file%/*}"
        printf '[core]\n\thooksPath = %s\n' "$BATS_TEST_TMPDIR/shared hooks" | host_sh 'cat >"$1"' "$file"
        exits 0 host "${set[@]}" "$BERTH" hook status --repo "$R"
        assert_match "$output" 'Hooks in .*/shared hooks \(core.hooksPath\)'
        assert_match "$output" "Left in .*/repo/.git/hooks, where git does not look.*pre-commit +berth's"
        exits 0 host "${set[@]}" "$BERTH" hook status --repo "$R" --json
        assert_eq "$(json '[.left[].event] | join(" ")')" 'pre-commit pre-push'
        assert_eq "$(json .core_hooks_path)" "$BATS_TEST_TMPDIR/shared hooks"
        exits 0 host "${set[@]}" "$BERTH" hook uninstall --repo "$R"
        assert_match "$output" 'pre-push +removed, in .*/repo/.git/hooks'
        assert_eq "$(ls .git/hooks | grep -v sample | xargs)" ''
        host rm "$file"
    done
    exits 0 here hook install
    # A hook that somebody has put in berth's place is not taken away.
    echo '#!/bin/sh' >.git/hooks/pre-commit
    exits 0 here hook uninstall
    assert_eq "$(ls .git/hooks | grep -v sample | xargs)" pre-commit
}

@test "a commit is not refused for what is no fault of its spec: none, moved, removed, an index of another kind" {
    exits 0 here hook install
    say() { exits 0 git commit -m x "$@"; assert_match "$stderr" "${want?}"; }
    # Away, moved, and with none at all.
    mkdir x && git mv berth.yaml x/
    want="berth: there is no file 'berth.yaml' in the index any more, so no plan is shown; there is one of that name: x/berth.yaml" say
    echo 1 >other && git add other
    exits 0 git commit -qm unrelated
    assert_eq "$output$stderr" ''
    git mv x/berth.yaml . && git -c core.hooksPath=/dev/null commit -qm back
    git rm -q berth.yaml
    want="berth: there is no file 'berth.yaml' in the index any more, so no plan is shown" say
    refute_match "$stderr" 'of that name'
    echo 2 >other && git add other
    exits 0 git commit -qm unrelated
    assert_eq "$output$stderr" ''
    git init -q --bare ../far.git && git remote add origin ../far.git
    exits 0 git push -q origin main
    git init -q ../none && exits 0 here hook install --repo ../none
    exits 0 git -C ../none commit -q --allow-empty -m first
    echo 1 >../none/other && git -C ../none add other
    exits 0 git -C ../none commit -qm other
    assert_eq "$output$stderr" ''
    # What only git can read is no reason to refuse, and said in a line.
    two >berth.yaml && git add berth.yaml && git -c core.hooksPath=/dev/null commit -qm there
    cp .git/index "$BATS_TEST_TMPDIR/index"
    echo '      three: {address: 10.9.0.30, runtime: netns}' >>berth.yaml
    GIT_INDEX_FILE=$BATS_TEST_TMPDIR/index git add berth.yaml
    GIT_INDEX_FILE=$BATS_TEST_TMPDIR/index exits 0 git commit -qm elsewhere
    assert_match "$stderr" '^berth: what is staged is not shown: cannot read the index'
    git reset -q --hard && git update-index --split-index
    echo '      four: {address: 10.9.0.40, runtime: netns}' >>berth.yaml && git add berth.yaml
    exits 0 git commit -qm split
    assert_match "$stderr" '^berth: what is staged is not shown: cannot read the index'
    git update-index --no-split-index
    # A bad one is refused as ever.
    echo '      bad: 10.99.0.1' >>berth.yaml && git add berth.yaml
    exits 1 git commit -qm bad
    assert_match "$stderr" 'error\[E012\]'
}

@test "hooks where names have blanks and letters of other alphabets; first push, packed refs, shallow clone, worktree, submodule" {
    local dir="../m\303\266tley repos" bare
    dir=$(printf "$dir") bare="$dir/infra one.git"
    local name
    name=$(printf 'h\303\266st files/the spec.yaml')
    mkdir -p "$dir" && git init -q --bare -b main "$bare"
    git init -q -b main "$dir/work" && mkdir "$dir/work/${name%/*}" && cp berth.yaml "$dir/work/$name"
    exits 0 here hook install --repo "$bare" --spec "$name"
    cd "$dir/work" || return 1
    git remote add origin "$PWD/../infra one.git"
    git add . && git commit -qm first
    # Into an empty repository.
    exits 0 git push origin main
    assert_match "$stderr" '\+ netns'
    git -C "../infra one.git" pack-refs --all && git -C "../infra one.git" gc -q
    echo '      bad: 10.99.0.1' >>"$name" && git commit -qam bad
    exits 1 git push origin main
    assert_match "$stderr" 'the spec.yaml:8:12: error\[E012\]'
    git reset -q --hard HEAD~1
    # From a shallow clone, which has no more than a tip.
    git commit -q --allow-empty -m second
    exits 0 git push origin main
    git clone -q --depth 1 "file://$PWD/../infra one.git" ../shallow
    echo '      late: {address: 10.9.0.77, runtime: netns}' >>"../shallow/$name" && git -C ../shallow commit -qam late
    exits 0 git -C ../shallow push origin main
    assert_match "$stderr" '\+ netns late'
    # In a work tree's second worktree, and inside a submodule.
    exits 0 here hook install --spec "$name"
    git worktree add -q "../tree two" -b other
    echo '      bad: 10.99.0.1' >>"../tree two/$name"
    exits 1 git -C "../tree two" commit -am bad
    assert_match "$output$stderr" 'the spec.yaml:8:12: error\[E012\]'
    git init -q "../super" && git -C ../super -c protocol.file.allow=always submodule --quiet add "$PWD/../infra one.git" inner
    cd ../super/inner || return 1
    exits 0 here hook install --spec "$name"
    assert_match "$(ls ../.git/modules/inner/hooks | grep -v sample | xargs)" 'pre-commit pre-push'
    echo '      bad: 10.99.0.1' >>"$name"
    exits 1 git commit -am bad
    assert_match "$output$stderr" 'error\[E012\]'
}

# promtool's rules: HELP and TYPE once and first, all samples of a metric behind them in one piece.
check_metrics() {
    awk '/^# (HELP|TYPE) / { if (seen[$2 $3]++) exit 1; if ($2 == "HELP" && NF < 4) exit 1; if ($2 == "TYPE" && last != $3) exit 1; last = $3; help[$3] = 1; next }
        { split($1, name, "{"); if (name[1] != last || !help[last]) exit 1 }' <<<"$1" || fail "no metrics: $1"
}

@test "metrics are kept, and written only when they differ" {
    exits 0 berth apply --git "$R" main:berth.yaml --metrics /run/berth.prom
    local text
    text=$(host cat /run/berth.prom)
    check_metrics "$text"
    assert_match "$text" 'berth_in_sync 1'
    assert_match "$text" "berth_revision_info\{commit=\"$(git rev-parse HEAD)\",ref=\"refs/heads/main\"\} 1"
    assert_match "$text" 'berth_last_change_steps\{kind="port"\} 2'
    local before
    before=$(host stat -c %i /run/berth.prom)
    exits 0 berth apply --git "$R" main:berth.yaml --metrics /run/berth.prom
    assert_eq "$(host stat -c %i /run/berth.prom)" "$before"
    check_metrics "$(host cat /run/berth.prom)"
    # A name without a folder is a file here.
    exits 0 host_sh 'cd /run && "$1" apply --git "$2" main:berth.yaml --metrics m' "$BERTH" "$R"
    check_metrics "$(host cat /run/m)"
    host ip link del vb-one
    exits 0 berth apply --git "$R" main:berth.yaml --metrics /run/berth.prom
    assert_match "$(host cat /run/berth.prom)" 'berth_last_change_steps\{kind="port"\} 1'
    # A run that fails before it has read anything leaves the rest as it was.
    text=$(host cat /run/berth.prom)
    mv "$R" "$R.away"
    exits 65 berth apply --git "$R" main:berth.yaml --metrics /run/berth.prom
    assert_eq "$(host cat /run/berth.prom)" "${text/berth_in_sync 1/berth_in_sync 0}"
    before=$(host stat -c %i /run/berth.prom)
    exits 65 berth apply --git "$R" main:berth.yaml --metrics /run/berth.prom
    assert_eq "$(host stat -c %i /run/berth.prom)" "$before"
    exits 65 berth apply --git "$R" main:berth.yaml --metrics /run/new.prom
    assert_match "$(host cat /run/new.prom)" '^# HELP berth_in_sync .*berth_in_sync 0$'
    mv "$R.away" "$R"
    # A push keeps it, too, where root's file says so; what the pusher says is not heard.
    git clone -q --bare . "$BATS_TEST_TMPDIR/infra.git"
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply
    host sh -c 'echo "BERTH_METRICS=/run/berth.prom" >>/etc/berth/berth.env'
    git commit -q --allow-empty -m pushed
    exits 0 host sh -c "cd '$R' && HOME='$HOME' BERTH_METRICS=/run/theirs git push ../infra.git main"
    assert_match "$(host cat /run/berth.prom)" "berth_in_sync 1"
    assert_match "$(host cat /run/berth.prom)" "commit=\"$(git rev-parse HEAD)\""
    exits 1 host test -e /run/theirs
    exits 0 berth destroy --yes
}

# Each pair of states that the planner's golden cases know, as a change that somebody reviews. BERTH_GOLDEN=write renews.
@test "golden: what a review of each known change reads" {
    local case kept
    for case in "$REPO"/tests/golden/plan/*/; do
        kept=${case}review.md
        cp "$case/have.yaml" berth.yaml && git add berth.yaml && git commit -q --allow-empty -m have
        cp "$case/want.yaml" berth.yaml && git commit -q --allow-empty -am want
        status=0
        output=$(here plan --range HEAD~1..HEAD --markdown 2>&1) || status=$?
        [[ $status == 0 || ($status == 4 && $output == *'**refused**'*) ]] || fail "$case: $output"
        if [[ ${BERTH_GOLDEN-} == write ]]; then printf '%s\n' "$output" >"$kept"; fi
        diff "$kept" <(printf '%s\n' "$output") >&2 || fail "$case"
        ! grep -Ev '^(\||#|<details>|</details>|\*\*Refused|Cut to fit|> |…|$)' <<<"$output" >&2 || fail "$case: a line that is none of ours"
    done
}
