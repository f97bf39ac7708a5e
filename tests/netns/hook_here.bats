#!/usr/bin/env bats
# A host that follows a branch: what the apply after a push would refuse there is refused before the branch moves.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset "${!GIT_@}" "${!BERTH_GIT@}" XDG_CONFIG_HOME SSH_CONNECTION
    T=$BATS_TEST_TMPDIR
    export HOME=$T/home GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
    mkdir "$HOME"
    for_others
    git init -q -b main "$T/w"
    cd "$T/w"
    base >berth.yaml
    git add . && git commit -qm base
    git clone -q --bare . "$T/infra.git"
    R=$T/infra.git
    git remote add origin "$R"
}
teardown() { lab_down; }

base() { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.9.0.1/24}\n    containers:\n      one: {address: 10.9.0.10, runtime: netns}\n'; }
push() { exits "$1" host env "HOME=$HOME" "SSH_CONNECTION=${SSH_CONNECTION-}" sh -c 'cd "$1" && shift && exec git push origin "$@"' sh "$T/w" "${@:2}"; }
# As a user without root, who owns all of it.
theirs() { chown -R 65534:65534 "$T/w" "$R" "$HOME"; }
push_theirs() { exits "$1" host env "HOME=$HOME" "SSH_CONNECTION=${SSH_CONNECTION-}" setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cd "$1" && shift && exec git push origin "$@"' sh "$T/w" "${@:2}"; }
tip() { git -c safe.directory='*' --git-dir="$R" rev-parse main; }

@test "a port by which the pusher is connected, and an address that covers the client, are refused before the push" {
    exits 0 berth hook install --repo "$R" --apply
    git commit -q --allow-empty -m first && push 0 main
    assert_match "$stderr" 'remote: Applied [0-9]+ steps'
    local was
    was=$(tip)
    sed -i 's/10.9.0.10,/10.9.0.10, ports: [2222:22],/' berth.yaml && git commit -qam mapped
    SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 2222' push 1 main
    assert_match "$stderr" 'remote: Refused on this host:'
    assert_match "$stderr" 'you are connected from 192.0.2.7 to port 2222 here, and container one takes that port'
    assert_match "$stderr" 'remote: berth: the push is refused; nothing was changed'
    assert_eq "$(tip)" "$was"
    # The same push on another branch is not applied, so it is nobody's way.
    SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 2222' push 0 main:other
    # From elsewhere it goes through.
    SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 22' push 0 main
    assert_match "$stderr" 'remote: Applied [0-9]+ steps'
    # What stands in the way on this host, too.
    host ip link add b1 type bridge && host ip address add 10.77.0.1/24 dev b1
    sed -i 's/name: b0, address: 10.9.0.1/name: b1, address: 10.9.0.1/' berth.yaml && git commit -qam 'a bridge that is there'
    was=$(tip)
    exits 4 berth plan --git "$T/w" HEAD:berth.yaml
    push 1 main
    assert_match "$stderr" 'Refused on this host'
    assert_eq "$(tip)" "$was"
}

@test "a pusher without root is refused in the same way" {
    theirs
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply
    local was
    was=$(tip)
    exits 0 setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "sed -i 's/10.9.0.10,/10.9.0.10, ports: [2222:22],/' berth.yaml && git commit -qam mapped"
    SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 2222' push_theirs 1 main
    assert_match "$stderr" 'you are connected from 192.0.2.7 to port 2222 here, and container one takes that port'
    assert_eq "$(tip)" "$was"
    SSH_CONNECTION='192.0.2.7 40000 203.0.113.2 22' push_theirs 0 main
}

@test "a spec without this host is refused, where the host follows the branch" {
    exits 0 berth hook install --repo "$R" --apply
    sed -i 's/localhost/elsewhere/; $ a\  third: {bridge: {address: 10.8.0.1/24}, containers: {only: 10.8.0.2}}' berth.yaml && git commit -qam 'another host'
    push 1 main
    assert_match "$stderr" 'the spec has no host .*, and this host follows the branch'
    # Where nothing is applied, the spec may be about others.
    exits 0 berth hook install --repo "$R"
    push 0 main
}

@test "what pushes may not do is kept by root, and enforced at every apply, however the branch came to stand there" {
    echo '      two: {address: 10.9.0.20, runtime: netns}' >>berth.yaml && git commit -qam two && git push -q origin main
    theirs
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply --deny delete
    exits 0 host cat /etc/berth/berth.env
    assert_match "$output" 'BERTH_DENY=delete'
    host sh -c 'echo BERTH_METRICS=/run/berth.prom >>/etc/berth/berth.env'
    # As berth-look.service and berth.service run it.
    look() { exits "$1" host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" hook look' sh "$BERTH"; }
    timer() { exits "$1" host sh -c 'set -a; . /etc/berth/berth.env; cd /etc/berth; exec "$1" apply --quiet' sh "$BERTH"; }
    look 0
    exits 0 host test -e /run/netns/two
    # The owner goes past the hook.
    setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "cd '$T/w' && sed -i /two:/d berth.yaml && git commit -qam 'no two' && git push -q '$R' main:refs/heads/side && git --git-dir='$R' update-ref refs/heads/main side"
    look 4
    assert_match "$output$stderr" 'this plan deletes netns two, which is denied'
    timer 4
    exits 0 host test -e /run/netns/two
    # So does a hook that the owner has rewritten.
    sed -i "s/ --deny 'delete'//" "$R/hooks/pre-receive"
    setpriv --reuid 65534 --regid 65534 --clear-groups git --git-dir="$R" update-ref refs/heads/main side~1
    push_theirs 1 main
    assert_match "$stderr" 'this plan deletes netns two, which is denied'
    # A commit that allows it is heard by both.
    setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "cd '$T/w' && git commit -q --amend -m 'no two' --trailer 'Berth-Allow: delete'"
    push_theirs 0 main
    timer 0
    exits 1 host test -e /run/netns/two
    # By hand it is the operator's choice, and a second installation sets the list anew.
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply --deny restart,delete
    assert_match "$output" '/etc/berth/berth.env: BERTH_DENY=restart,delete; all else there stays as it is'
    exits 0 host cat /etc/berth/berth.env
    assert_match "$output" 'BERTH_METRICS=/run/berth.prom.*BERTH_DENY=restart,delete'
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply
    assert_match "$output" 'BERTH_DENY is gone'
    exits 1 host grep BERTH_DENY /etc/berth/berth.env
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply
    assert_match "$output" 'is there and stays as it is'
    host sh -c 'echo BERTH_DENY=all >>/etc/berth/berth.env'
    look 64
    assert_match "$stderr" "BERTH_DENY in /etc/berth/berth.env knows .* not 'all'"
}

@test "a container that the spec stops is stopped by no push where restarts are denied; root can stop it" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    echo '      two: {address: 10.9.0.20, nspawn: {command: [sleep, "1000"]}}' >>berth.yaml && git commit -qam two && git push -q origin main
    theirs
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply --deny restart
    host rm -f /etc/berth/policy.yaml
    look() { exits "$1" host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" hook look' sh "$BERTH"; }
    look 0
    as_owner() { setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "cd '$T/w' && $1"; }
    local one two
    one=$(host stat -Lc %i /run/netns/one) two=$(host pgrep -f '[s]leep 1000')
    stays() { assert_eq "$(host stat -Lc %i /run/netns/one) $(host pgrep -f '[s]leep 1000')" "$one $two"; }
    as_owner "sed -i 's/10.9.0.20,/10.9.0.20, state: stopped,/; s/1000/2000/' berth.yaml && git commit -qam 'two is stopped'"
    push_theirs 1 main
    assert_match "$stderr" 'this plan restarts (unit|run) two, which is denied'
    as_owner "git push -q '$R' main:refs/heads/side && git --git-dir='$R' update-ref refs/heads/main side"
    look 4
    assert_match "$output$stderr" 'this plan restarts run two, which is denied'
    stays
    as_owner "git --git-dir='$R' update-ref refs/heads/main side~1 && git reset -q --hard HEAD~1 && sed -i 's/10.9.0.10,/10.9.0.10, state: stopped,/' berth.yaml && git commit -qam 'one is stopped'"
    push_theirs 1 main
    assert_match "$stderr" 'this plan restarts netns one, which is denied'
    stays
    # What root stops is no restart by the spec, also not in the next run of the timer.
    exits 0 host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" stop two' sh "$BERTH"
    look 0
    exits 1 host pgrep -f '[s]leep 1000'
    exits 0 host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" start two' sh "$BERTH"
    as_owner "git commit -q --amend -m 'one is stopped' --trailer 'Berth-Allow: restart'"
    push_theirs 0 main
    look 0
    exits 1 host test -e /run/netns/one
}

@test "a review, a push and a plan show in full what a container is given: root, command, binds, capabilities, flake" {
    local words
    words="$(printf 'a%.0s' {1..300})"
    cat >>berth.yaml <<END
      evil: {address: 10.9.0.30, runtime: nspawn, nspawn: {root: /srv/root, command: [sh, -c, "echo 'x' >/mnt/own; $words; last"],
             binds: ["/etc:/mnt", "/srv/data:/data:ro"], capabilities: [SYS_ADMIN, NET_RAW], private_users: none}}
      nix: {address: 10.9.0.40, runtime: nixos, nixos: {flake: "github:somebody/flakes#web"}}
END
    git commit -qam evil
    flat() { tr -d ' \n' <<<"$output"; }
    exits 0 "$BERTH" plan --range HEAD~1..HEAD
    assert_match "$output" 'root +/srv/root'
    assert_match "$output" 'bind +/etc:/mnt'
    assert_match "$output" 'bind +/srv/data:/data:ro'
    assert_match "$output" 'capabilities +NET_RAW, SYS_ADMIN'
    assert_match "$output" 'private_users +none'
    assert_match "$output" 'flake +github:somebody/flakes#web'
    assert_match "$(flat)" "commandsh-c'echo'\\\\''x'\\\\''>/mnt/own;$words;last'"
    exits 0 "$BERTH" plan --range HEAD~1..HEAD --markdown
    assert_match "$output" '<code>bind</code>: <code>/etc&#58;/mnt</code>'
    assert_match "$output" "$words; last"
    exits 0 "$BERTH" plan --range HEAD~1..HEAD --json
    assert_eq "$(json '[.hosts[0].steps[] | select(.object == "unit evil") | .grants[] | .field] | join(" ")')" 'root bind bind capabilities private_users command'
    # The one who pushes reads it, too; what changes is shown as it will be.
    exits 0 berth hook install --repo "$R"
    push 0 main
    assert_match "$stderr" 'remote: What containers are given:'
    assert_match "$stderr" 'remote: +evil: bind /etc:/mnt'
    assert_match "$stderr" "remote: +evil: command sh -c .*$words; last"
    sed -i 's|/etc:/mnt|/root:/mnt|' berth.yaml && git commit -qam more
    exits 0 "$BERTH" plan --range HEAD~1..HEAD
    assert_match "$output" '~ unit evil.*bind +/root:/mnt.*bind +/srv/data'
}

@test "a push to a symbolic ref is judged as the branch that it moves" {
    git --git-dir="$R" symbolic-ref refs/heads/master refs/heads/main
    git --git-dir="$R" symbolic-ref refs/heads/alias refs/heads/master
    exits 0 berth hook install --repo "$R" --apply --deny delete
    echo '      two: {address: 10.9.0.20, runtime: netns}' >>berth.yaml && git commit -qam two
    # What it moves is applied.
    push 0 HEAD:master
    assert_match "$stderr" 'remote: Applied [0-9]+ steps'
    exits 0 host test -e /run/netns/two
    local was ref
    was=$(tip)
    sed -i /two:/d berth.yaml && git commit -qam 'no two'
    for ref in main master alias; do
        push 1 "HEAD:$ref"
        assert_match "$stderr" 'this plan deletes netns two, which is denied'
        assert_eq "$(tip)" "$was"
    done
    push 1 :master
    assert_eq "$(tip)" "$was"
    # The branch that is applied may be the symbolic one.
    git --git-dir="$R" update-ref refs/heads/trunk main
    git --git-dir="$R" symbolic-ref refs/heads/main refs/heads/trunk
    push 1 HEAD:trunk
    assert_match "$stderr" 'this plan deletes netns two, which is denied'
    # Another branch is as free as before.
    push 0 HEAD:other
    exits 0 host test -e /run/netns/two
}

@test "what a look says is for the repository's owner, and for a group that may ask" {
    theirs
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply
    host sh -c 'mkdir -p /run/berth-look && chmod 755 /run/berth-look && echo old >/run/berth-look/old && chmod 644 /run/berth-look/old'
    exits 0 host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" hook look' sh "$BERTH"
    local file
    file=/run/berth-look/$(tip)
    assert_eq "$(host stat -c '%a %u' "$file")" '640 65534'
    assert_eq "$(host stat -c '%a %u' /run/berth-look)" '711 0'
    assert_eq "$(host stat -c '%a %u' /run/berth-look/old)" '640 0'
    exits 0 host setpriv --reuid 65534 --regid 65534 --clear-groups cat "$file"
    assert_match "$output" 'Applied [0-9]+ steps'
    exits 1 host setpriv --reuid 65533 --regid 65533 --clear-groups cat "$file"
    exits 2 host setpriv --reuid 65533 --regid 65533 --clear-groups ls /run/berth-look
    local sign
    sign=$(host find "$R" -maxdepth 2 -name berth-look)
    host chgrp 65533 "$sign"
    host chmod 664 "$sign"
    exits 0 host sh -c 'set -a; . /etc/berth/berth.env; exec "$1" hook look' sh "$BERTH"
    assert_eq "$(host stat -c '%a %u %g' "$file")" '640 65534 65533'
    exits 0 host setpriv --reuid 65533 --regid 65533 --clear-groups cat "$file"
}

@test "a repository that asks without pause is looked at five times, with pauses, and then the look ends" {
    theirs
    exits 0 berth hook install --repo "$R" --git-owner 65534 --apply
    local sign asker
    sign=$(host find "$R" -maxdepth 2 -name berth-look)
    host setpriv --reuid 65534 --regid 65534 --clear-groups perl -e '
        for (my $n = 0; ; $n++) {
            open my $f, "+<", $ARGV[0] or die;
            printf $f "%040x\n", $n;
            close $f;
            select undef, undef, undef, 0.01;
        }' "$sign" 3>&- {LAB_LIFE}>&- &
    asker=$!
    exits 0 host sh -c 'set -a; . /etc/berth/berth.env; exec timeout 60 "$1" hook look' sh "$BERTH"
    kill "$asker"
    wait "$asker" || true
    assert_eq "$(host find /run/berth-look -type f | wc -l)" 6 "answers: of the commit, and of each look"
}
