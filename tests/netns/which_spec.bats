#!/usr/bin/env bats
# Which spec is this? Each verb names the file and the commit, and the host remembers which one was applied last.
load ../lab/lib

setup() { need_berth; lab_up --inet; host mkdir -p /srv/a /etc/berth; }
teardown() { lab_down; }

# spec_at FILE NAME...: a spec with containers of these names.
spec_at() {
    local file=$1 n=10 name
    shift
    {
        printf 'version: 1\nhosts:\n  localhost:\n    bridge: {address: 10.100.0.1/24}\n    containers:\n'
        for name; do printf '      %s: {address: 10.100.0.%d, runtime: netns}\n' "$name" $((n++)); done
    } | host_sh 'cat >"$1"' "$file"
}

@test "plan, apply, status and stop name the spec by its full path on stderr; stdout stays data; --quiet is silent" {
    spec_at /srv/a/berth.yaml web
    local verb in_dir=(host_sh 'cd /srv/a && "$@"' "$BERTH")
    for verb in plan apply status "stop web" "start web"; do
        exits 0 "${in_dir[@]}" $verb
        assert_match "$stderr" '(^|'$'\n'')spec: /srv/a/berth.yaml($|'$'\n'')' "$verb"
        refute_match "$output" '/srv/a/berth.yaml' "$verb"
        exits 0 "${in_dir[@]}" $verb -q
        refute_match "$stderr" 'spec:' "$verb"
    done
    for verb in plan apply status "stop web"; do
        exits 0 "${in_dir[@]}" $verb --json
        assert_eq "$(json '"\(.spec.file) \(.spec.path)"')" 'berth.yaml /srv/a/berth.yaml' "$verb"
        refute_match "$stderr" 'spec:' "$verb"
    done
    exits 0 host_sh '"$1" plan --json - </srv/a/berth.yaml' "$BERTH"
    assert_eq "$(json '"\(.spec.file) \(.spec.path)"')" '<stdin> null'
    exits 0 host_sh 'cd / && "$1" plan srv/../srv/a/berth.yaml' "$BERTH"
    assert_match "$stderr" 'spec: /srv/a/berth.yaml'
}

@test "out of git: repository, path, commit and branch, in words and in JSON" {
    host_sh 'cd /srv/a && git init -q -b main && git config user.name A && git config user.email a@example.org'
    spec_at /srv/a/berth.yaml web
    host_sh 'cd /srv/a && git add . && git commit -qm first'
    local commit
    commit=$(host git -C /srv/a rev-parse HEAD)
    exits 0 berth apply --git /srv/a main:berth.yaml
    assert_match "$stderr" "spec: berth.yaml in /srv/a/?, commit ${commit:0:12} \(main\)"
    exits 0 berth plan --json --git /srv/a main:berth.yaml
    assert_eq "$(json '"\(.spec.commit.id) \(.spec.path)"')" "$commit null"
    assert_match "$(json .spec.repository)" '^/srv/a/?$'
    # A file is asked for, and another spec is applied: both are named.
    spec_at /etc/berth/berth.yaml db
    exits 64 host_sh 'cd / && "$1" stop web' "$BERTH"
    assert_match "$stderr" "there is no container 'web' in /etc/berth/berth.yaml; one of that name runs here, from berth.yaml in /srv/a/?, commit ${commit:0:12}"
    exits 0 host_sh "cd / && $(sed -n 's/.*name that spec: *//p' <<<"${stderr//$'\n'  / }" | sed "s#^berth#$BERTH#")"
    exits 0 berth status --json --git /srv/a main:berth.yaml
    assert_eq "$(json .applied.commit)" "$commit"
}

@test "a container of another spec: it is said where it comes from, and the hint works" {
    spec_at /srv/x.yaml vm other
    spec_at /etc/berth/berth.yaml web
    exits 0 berth apply /srv/x.yaml
    local before
    before=$(host stat -c %Y%Z%i /var/lib/berth/applied)
    exits 64 host_sh 'cd / && "$1" stop vm' "$BERTH"
    assert_match "$stderr" "there is no container 'vm' in /etc/berth/berth.yaml; one of that name runs here, from /srv/x.yaml"
    assert_match "$stderr" 'berth stop -f /srv/x.yaml vm'
    exits 0 berth stop -f /srv/x.yaml vm
    exits 0 berth start -f /srv/x.yaml vm
    # A typing error is still one, and what is nowhere is nowhere.
    exits 64 host_sh 'cd / && "$1" stop wbe' "$BERTH"
    assert_match "$stderr" 'did you mean web'
    refute_match "$stderr" 'runs here'
    # A plan of another file says what was applied last.
    exits 0 host_sh 'cd / && "$1" plan' "$BERTH"
    assert_match "$stderr" 'spec: /etc/berth/berth.yaml'$'\n''applied last: /srv/x.yaml'
    # Nothing is written where nothing changes; a stop of one container is no apply of its spec.
    exits 0 berth apply /srv/x.yaml
    refute_match "$stderr" 'applied last'
    assert_eq "$(host stat -c %Y%Z%i /var/lib/berth/applied)" "$before"
    exits 0 berth status --json /srv/x.yaml
    assert_eq "$(json .applied.file)" /srv/x.yaml
}

@test "the record is a hint: without it, with a cut one, or where it cannot be written, all is as before" {
    spec_at /srv/x.yaml vm
    spec_at /etc/berth/berth.yaml web
    exits 0 berth apply /srv/x.yaml
    host_sh 'printf "file /srv/x.ya" >/var/lib/berth/applied'
    exits 64 host_sh 'cd / && "$1" stop vm' "$BERTH"
    assert_match "$stderr" "there is no container 'vm' in /etc/berth/berth.yaml; one of that name runs here"
    refute_match "$stderr" '/srv/x.ya'
    host rm -rf /var/lib/berth
    exits 0 berth plan -e /srv/x.yaml
    exits 64 host_sh 'cd / && "$1" stop vm' "$BERTH"
    assert_match "$stderr" 'one of that name runs here'
    # /var/lib/berth cannot be written to.
    host_sh 'mkdir -p /var/lib/berth && mount -t tmpfs -o ro none /var/lib/berth'
    exits 0 berth apply /srv/x.yaml
    host umount /var/lib/berth
    exits 0 berth apply /srv/x.yaml
    exits 0 berth destroy --yes -q
    exits 1 host test -e /var/lib/berth
}

@test "on a host that follows a repository root's verbs take the spec that the units apply" {
    host_sh 'cd /srv/a && git init -q -b main && git config user.name A && git config user.email a@example.org'
    spec_at /srv/a/berth.yaml web
    host_sh 'cd /srv/a && sed -i s/localhost/here/ berth.yaml && git add . && git commit -qm first && git clone -q --bare . /srv/r.git'
    host_sh 'chown -R 65534:65534 /srv/r.git'
    exits 0 berth hook install --repo /srv/r.git --git-owner 65534 --host here --apply --deny delete
    exits 0 host_sh 'cd / && "$1" apply' "$BERTH"
    assert_match "$stderr" 'spec: berth.yaml in /srv/r.git/?, commit [0-9a-f]+ \(main\)'
    host test -e /run/netns/web
    exits 0 host_sh 'cd / && "$1" stop web && "$1" list --json' "$BERTH"
    exits 1 host test -e /run/netns/web
    exits 0 host_sh 'cd / && "$1" start web' "$BERTH"
    exits 0 host_sh 'cd / && "$1" list --json' "$BERTH"
    assert_eq "$(json '"\(.host) \(.containers[0].name) \(.containers[0].sync)"')" 'here web in sync'
    exits 0 host_sh 'cd / && "$1" status -e' "$BERTH"
    # What root's file denies holds here as it does for the units; another spec is the operator's choice.
    host_sh 'cd /srv/a && sed -i "/web:/s/web/db/" berth.yaml && git commit -qam second'
    host_sh 'git --git-dir=/srv/r.git -c safe.directory="*" fetch -q /srv/a +main:main'
    exits 4 host_sh 'cd / && "$1" apply' "$BERTH"
    assert_match "$stderr" 'denied'
    exits 0 host_sh 'cd /srv/a && "$1" apply --host here' "$BERTH"
    # A value that cannot be used is named with its file.
    host_sh 'sed -i s/BERTH_SPEC=.*/BERTH_SPEC=nosuch.yaml/ /etc/berth/berth.env'
    exits 65 host_sh 'cd / && "$1" apply' "$BERTH"
    assert_match "$stderr" '/etc/berth/nosuch.yaml'
    # Only root's verbs read it, and only root names the spec of the last apply.
    exits 64 host_sh 'cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$1" plan' "$BERTH"
    assert_match "$stderr" 'there is no spec here'
}

@test "where no spec is found, the one of the last apply is named with the command line for it" {
    spec_at '/srv/x y.yaml' web
    exits 64 host_sh 'cd / && "$1" restart web' "$BERTH"
    assert_match "$stderr" 'there is no spec here.*berth init'
    exits 0 berth apply '/srv/x y.yaml'
    local words
    for words in "stop web" "start -- web" plan; do
        exits 64 host_sh 'cd / && "$@"' "$BERTH" $words
        assert_match "$stderr" 'the last apply here came from /srv/x y.yaml:'
        exits 0 host_sh "cd / && $(sed -n '/came from/{n;s/^ *//;p}' <<<"$stderr" | sed "s#^berth#$BERTH#")"
    done
    # Out of git: the branch, so that the next commit is applied as well.
    host_sh 'cd /srv/a && git init -q -b main && git config user.name A && git config user.email a@example.org'
    spec_at /srv/a/berth.yaml web
    host_sh 'cd /srv/a && git add . && git commit -qm first'
    exits 0 berth apply --git /srv/a main:berth.yaml
    exits 64 host_sh 'cd / && "$1" apply -q' "$BERTH"
    assert_match "$stderr" 'berth apply -q --git /srv/a/? -f main:berth.yaml'
}
