#!/usr/bin/env bats
# The program as its users meet it: help, colours, JSON, and that looking changes nothing.
load ../lab/lib

setup() { need_berth; lab_up --inet; SPEC=$REPO/examples/ports.yaml; }
teardown() { lab_down; }

verbs() { berth help | awk '/^Verbs/ {on = 1; next} on && /^ / {print $1} on && !/^ / {exit}'; }

@test "every verb of the table has help, an example and a completion" {
    local verb
    [[ $(verbs | wc -l) -ge 15 ]]
    for verb in $(verbs); do
        exits 0 berth help "$verb"
        assert_match "$output" "berth $verb"
        assert_match "$output" "Example"
        local help=$output
        exits 0 berth "$verb" --help
        assert_eq "$output" "$help"
        for shell in bash zsh fish; do assert_match "$(berth completion $shell)" "$verb"; done
    done
    berth completion bash | bash -n
    assert_eq "$(berth completion names "$SPEC" 2>/dev/null | sort | xargs)" "admin dns voice web" || true
}

@test "a mistyped verb, flag or container gets the near one named, and 64" {
    exits 64 berth aply
    assert_match "$stderr" "apply"
    exits 64 berth apply --alow-deletes 3
    assert_match "$stderr" "allow-deletes"
    exits 0 berth apply "$SPEC"
    exits 64 berth stop -f "$SPEC" wbe
    assert_match "$stderr" "web"
    exits 64 berth
}

@test "words of other tools: an alias does what its verb does; another meaning gets the verb to use, and 64" {
    exits 0 berth up "$SPEC"
    host ip -j link show br-containers >/dev/null || fail "up made no bridge"
    exits 0 berth list --json -f "$SPEC"
    local listed=$output word
    for word in ls ps; do
        exits 0 berth $word --json -f "$SPEC"
        assert_eq "$output" "$listed" "$word"
    done
    exits 0 berth exec web -- hostname
    exits 0 berth diff -e "$SPEC"
    exits 0 berth help ps
    assert_match "$output" '^berth list'
    assert_match "$output" 'Also: berth ls, berth ps'
    for word in down rm show history stats; do
        exits 64 berth $word web
        assert_match "$stderr" "berth has no verb '$word'"
        refute_match "$stderr" "did you mean"
    done
    host ip -j link show vb-web >/dev/null || fail "rm or down took a container away"
    exits 64 berth down
    assert_match "$stderr" 'berth destroy'
    exits 64 berth apply --yes "$SPEC"
    assert_match "$stderr" '--yes is a flag of: destroy'
}

@test "validate and a bad spec: no netlink, no file, no lock, no root" {
    exits 0 traced_berth "$BATS_TEST_TMPDIR/trace" validate "$SPEC"
    refute_match "$(<"$BATS_TEST_TMPDIR/trace")" AF_NETLINK
    assert_eq "$(writes "$BATS_TEST_TMPDIR/trace")" ""
    exits 0 host setpriv --reuid=65534 --regid=65534 --clear-groups "$BERTH" validate - <"$SPEC"
    local bad=$BATS_TEST_TMPDIR/bad.yaml verb
    sed 's/8080:80,/8080:80, 8080:81,/' "$SPEC" >"$bad"
    for verb in plan apply status "destroy --yes"; do
        exits 65 traced_berth "$BATS_TEST_TMPDIR/trace" $verb "$bad"
        assert_match "$stderr" 'bad.yaml:[0-9]+:[0-9]+: error\[E[0-9]+\]'
        refute_match "$(<"$BATS_TEST_TMPDIR/trace")" AF_NETLINK "$verb"
        assert_eq "$(writes "$BATS_TEST_TMPDIR/trace")" "" "$verb"
    done
}

@test "plan, status and list change nothing, on an empty host and on a full one" {
    local verb round
    for round in empty full; do
        for verb in plan status list "apply -n" "destroy -n"; do
            exits 0 traced_berth "$BATS_TEST_TMPDIR/trace" $verb -f "$SPEC"
            assert_eq "$(changes "$BATS_TEST_TMPDIR/trace")" "" "$verb on an $round host"
            assert_eq "$(writes "$BATS_TEST_TMPDIR/trace")" "" "$verb on an $round host"
        done
        exits 0 berth apply "$SPEC"
    done
}

@test "--json: valid, keys sorted, equal in two runs, the same under another locale and time zone; failures too" {
    local verb first
    exits 0 berth apply --json "$SPEC"
    assert_eq "$(json '.format')" berth.apply
    for verb in validate plan status list "apply -n" version; do
        local args=($verb --json)
        [[ $verb == version ]] || args+=(-f "$SPEC")
        exits 0 berth "${args[@]}"
        first=$output
        assert_eq "$(jq -S . <<<"$first")" "$(jq . <<<"$first")" "$verb: keys are sorted"
        jq -e '.format and .format_version and .outcome' <<<"$first" >/dev/null || [[ $verb == version ]]
        exits 0 host env LC_ALL=C.UTF-8 TZ=Asia/Kolkata "$BERTH" "${args[@]}"
        assert_eq "$output" "$first" "$verb"
    done
    exits 65 host_sh 'echo "version: 2" | "$1" plan --json -' "$BERTH"
    json '.errors | length > 0' >/dev/null
    assert_eq "$(json .outcome)" invalid
}

# one_envelope STATUS ARGS...: that status, and on standard output one JSON document with an outcome and at least one error.
one_envelope() {
    exits "$@"
    assert_eq "$(jq -s length <<<"$output")" 1 "documents: ${*:2}"
    json '.outcome and .format_version and (.errors | length > 0)' >/dev/null || fail "no failure in it: ${*:2}: $output"
    [[ -n $stderr ]] || fail "nothing is told: ${*:2}"
}

@test "--json: one envelope, and only one, whatever fails" {
    spec <<<'{version: 1, hosts: {localhost: {bridge: {address: 10.100.0.1/24}, containers: {web: {address: 10.100.0.10, nspawn: {root: host}}}}}}'
    local verb user=(host env HOME=/ setpriv --reuid=65534 --regid=65534 --clear-groups "$BERTH") dir=$BATS_TEST_TMPDIR
    chmod 755 "$dir"
    for verb in "stop web" "start web" "restart web"; do
        one_envelope 77 "${user[@]}" ${verb} --json -f "$SPEC"
        assert_eq "$(json .format)" "berth.${verb%% *}"
    done
    one_envelope 77 "${user[@]}" apply --json "$SPEC"
    for verb in stop start restart update list; do one_envelope 64 berth $verb --json nosuch -f "$SPEC"; done
    one_envelope 1 berth top --json nosuch
    one_envelope 64 berth plan --json --bogus
    one_envelope 64 berth plan --bogus --json "$SPEC"
    one_envelope 64 berth plan one two --json
    one_envelope 64 berth frobnicate --json
    one_envelope 64 berth hook frobnicate --json
    one_envelope 64 berth hook status here --json
    one_envelope 64 berth backup --json nosuch "$dir/x" -f "$SPEC"
    one_envelope 1 berth restore --json "$dir/nosuch" -f "$SPEC"
    one_envelope 65 host_sh 'echo "version: 2" | "$1" apply --json -' "$BERTH"
    one_envelope 75 host_sh 'mkdir -p -m 700 /run/berth; exec 9>>/run/berth/lock; flock 9; "$@"' "$BERTH" apply --json --lock-timeout 0s "$SPEC"
    # Two hosts whose systems cannot be evaluated, with nix here or without: both are in it.
    spec <<'END'
version: 1
hosts:
  one: {bridge: {address: 10.1.0.1/24}, containers: {a: {address: 10.1.0.10, nixos: {config: ./nowhere.nix}}}}
  two: {bridge: {address: 10.2.0.1/24}, containers: {b: {address: 10.2.0.10, nixos: {config: ./nowhere.nix}}}}
END
    one_envelope 65 berth validate --eval --json "$SPEC"
    assert_eq "$(json '.errors | length')" 2
    # What --json is not for has none, whatever the environment says.
    exits 1 host env BERTH_JSON=1 "$BERTH" logs nosuch
    assert_eq "$output" ""
    # hook: the state that came of it.
    host git init -q "$dir/repo"
    for verb in install uninstall status; do
        exits 0 host "$BERTH" hook $verb --json --repo "$dir/repo"
        assert_eq "$(jq -s length <<<"$output")" 1 "hook $verb"
        assert_eq "$(json '[.events[] | select(.state == "berth")] | length > 0')" "$([[ $verb == install ]] && echo true || echo false)"
    done
}

@test "colour: none in a pipe, none with NO_COLOR, some when it is asked for" {
    refute_match "$(berth plan "$SPEC")" $'\e'
    assert_match "$(host env -u NO_COLOR "$BERTH" --color always plan "$SPEC")" $'\e\\['
    refute_match "$(host script -qec "NO_COLOR=1 '$BERTH' plan '$SPEC'" /dev/null)" $'\e\\[[0-9;]*m'
    assert_match "$(host env -u NO_COLOR TERM=xterm script -qec "'$BERTH' plan '$SPEC'" /dev/null)" $'\e\\[[0-9;]*m'
}

@test "the plan: sign, object, reason, the spec's line, a summary; apply does those steps and no other" {
    exits 0 berth plan --json "$SPEC"
    local planned
    planned=$(json '[.steps[].object] | join("\n")')
    exits 0 berth plan "$SPEC"
    assert_match "$output" '\+ bridge br-containers +missing +ports.yaml:7'
    assert_match "$output" 'Plan: [0-9]+ to create, [0-9]+ to change, 0 to remove'
    exits 0 berth apply --json "$SPEC"
    assert_eq "$(json '[.steps[].object] | join("\n")')" "$planned"
}

@test "status without a spec shows all that is ours; with one, each fault; -e exits 2" {
    exits 0 berth status
    assert_match "$output" "Nothing here is berth's"
    exits 0 berth apply "$SPEC"
    exits 0 host_sh 'cd / && "$1" status' "$BERTH"
    assert_match "$output" "bridge br-containers"
    assert_match "$output" "port web"
    host ip link del vb-web
    exits 2 berth status -e "$SPEC"
    assert_match "$output" "port web .*missing"
    exits 0 berth status "$SPEC"
}

@test "list without a spec: a namespace of ours runs; a container that was stopped does not" {
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers: {bare: {address: 10.100.0.10, runtime: netns}}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth list --json
    assert_eq "$(json '.containers[] | "\(.name) \(.runtime) \(.state) \(.address)"')" "bare netns running 10.100.0.10"
    exits 0 berth list
    assert_match "$output" 'bare +netns +running'
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    sed -i 's/netns}}/netns}, still: {address: 10.100.0.20, runtime: nspawn, state: stopped}}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth list --json
    assert_eq "$(json '[.containers[] | "\(.name) \(.runtime) \(.state)"] | join(",")')" "bare netns running,still nspawn stopped"
}

@test "the spec is found: argument, BERTH_SPEC, ./berth.yaml, /etc/berth/berth.yaml; JSON is YAML" {
    host_sh 'mkdir -p /etc/berth /srv/here && cp "$1" /etc/berth/berth.yaml && sed s/web:/four:/ "$1" >/srv/here/berth.yaml && sed s/web:/three:/ "$1" >/srv/three.yaml' "$SPEC"
    exits 0 host_sh 'cd /srv && "$1" plan --json' "$BERTH"
    assert_eq "$(json .spec.file)" /etc/berth/berth.yaml
    exits 0 host_sh 'cd /srv/here && "$1" plan --json' "$BERTH"
    assert_match "$output" '"netns four"'
    exits 0 host_sh 'cd /srv/here && BERTH_SPEC=/srv/three.yaml "$1" plan --json' "$BERTH"
    assert_match "$output" '"netns three"'
    spec berth.json <<<'{"version": 1, "hosts": {"localhost": {"bridge": {"address": "10.100.0.1/24"}, "containers": {"a": {"address": "10.100.0.10", "runtime": "netns"}}}}}'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    # None at all: the hint is a command line that works, also where arguments are containers.
    host_sh 'rm -f /etc/berth/berth.yaml /var/lib/berth/applied'
    exits 64 host_sh 'cd / && "$1" plan' "$BERTH"
    assert_match "$stderr" "name one: berth plan FILE;"
    exits 64 host_sh 'cd / && "$1" stop web' "$BERTH"
    assert_match "$stderr" "name one: berth stop -f FILE …;"
}

@test "without root: what everybody may read is planned, the rest is named as not known" {
    workshop
    local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    host cp "$SPEC" /tmp/w6.yaml
    host cp "$BERTH" /tmp/berth
    chmod 755 /tmp/berth 2>/dev/null || true
    exits 2 host "${nobody[@]}" /tmp/berth plan -e --json /tmp/w6.yaml
    assert_eq "$(json '.unknown | join(" ")')" 'root nat names netns port unit run'
    assert_eq "$(json '[.steps[].kind] | unique | join(" ")')" 'address bridge sysctl'
    exits 0 berth apply -q "$SPEC"
    exits 0 host "${nobody[@]}" /tmp/berth plan /tmp/w6.yaml
    assert_match "$output" 'Nothing to do in what can be read without root; the rest is not known'
    host ip address del 10.100.0.1/24 dev br-containers
    exits 0 host "${nobody[@]}" /tmp/berth status /tmp/w6.yaml
    assert_match "$output" '\+ address br-containers 10.100.0.1/24 +missing'
    assert_match "$output" "\? nat tables 'inet berth' and 'bridge berth' +not known"
    assert_match "$output" '1 missing, [0-9]+ not known'
    exits 77 host "${nobody[@]}" /tmp/berth apply /tmp/w6.yaml
    exits 0 berth destroy --yes -q "$SPEC"
}

@test "without root, what needs root says so with the command line for sudo, and exits 77" {
    exits 0 berth apply -q "$SPEC"
    local verb user=(host setpriv --reuid=65534 --regid=65534 --clear-groups "$BERTH")
    for verb in "run web -- true" "run nosuch true" "login web" "logs web" "list" "list -f $SPEC" "top" "start web -f $SPEC" \
        "stop web -f $SPEC" "restart web -f $SPEC" "update web -f $SPEC" "backup web /tmp/b -f $SPEC" "restore /tmp/b" "destroy --yes" \
        "apply $SPEC" "ps" "exec web true" "capture web"; do
        [[ $verb != capture* || -x /usr/bin/tcpdump || -x /usr/sbin/tcpdump ]] || continue
        exits 77 "${user[@]}" $verb
        assert_eq "$output" "" "$verb"
        assert_match "$stderr" 'needs root' "$verb"
        assert_match "$stderr" "sudo $BERTH $verb" "$verb"
    done
    # The command is the one that was given: words with blanks in quotes, and what the environment says.
    exits 77 host env BERTH_SPEC="/srv/my spec.yaml" setpriv --reuid=65534 --regid=65534 --clear-groups "$BERTH" run web -- sh -c "echo it's; date"
    assert_match "$stderr" "sudo 'BERTH_SPEC=/srv/my spec.yaml' $BERTH run web -- sh -c 'echo it'.''s; date'"
    exits 77 "${user[@]}" list --json
    assert_eq "$(json '"\(.format) \(.outcome)"')" 'berth.list denied'
    # What needs none still works; nothing was changed. The spec is where everybody may read it: the checkout may be in /root.
    host install -m 644 "$SPEC" /srv/ports.yaml
    exits 0 "${user[@]}" plan /srv/ports.yaml
    exits 0 "${user[@]}" apply -n /srv/ports.yaml
    exits 0 "${user[@]}" destroy -n
    exits 64 "${user[@]}" run
    exits 0 berth plan -e "$SPEC"
}

@test "list without a spec: all containers that berth made here, as root; from any directory" {
    exits 0 berth apply -q "$SPEC"
    exits 0 host_sh 'cd /srv && "$1" list --json' "$BERTH"
    assert_eq "$(json '[.containers[] | "\(.name) \(.state) \(.address)"] | join(",")')" \
        "admin running 10.100.0.70,dns running 10.100.0.53,voice running 10.100.0.60,web running 10.100.0.10"
    host ip netns add foreign
    exits 0 host_sh 'cd /srv && "$1" list' "$BERTH"
    refute_match "$output" foreign
    exits 0 berth destroy --yes -q
    exits 0 host_sh 'cd /srv && "$1" list --json' "$BERTH"
    assert_eq "$(json '.containers | length')" 0
}

@test "a fault says its place in the document, too" {
    exits 65 berth validate --json - <<'END'
version: 1
hosts:
  h:
    bridge: {address: 10.0.0.1/24}
    containers:
      web: {address: 10.0.0.2, ports: [80:80, 99999:1]}
      db: 10.0.9.2
END
    assert_eq "$(json '[.errors[].path] | join(" ")')" 'hosts.h.containers.web.ports[1] hosts.h.containers.db'
}

@test "validate looks for what stands beside the spec, and warns where it is missing" {
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      tree: {address: 10.100.0.10, runtime: nspawn, nspawn: {root: ./tree}}
	      tar: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: ./web.tar}}
	      flake: {address: 10.100.0.30, runtime: nixos, nixos: {flake: "path:./flake#web"}}
	      far: {address: 10.100.0.40, runtime: nspawn, nspawn: {root: /srv/elsewhere}}
	END
    exits 0 berth validate "$SPEC"
    assert_match "$stderr" "berth.yaml:6:[0-9]+: warning: the root of container 'tree' is not there: './tree'"
    assert_match "$stderr" "berth.yaml:7:[0-9]+: warning: the archive of container 'tar' is not there: './web.tar'"
    assert_match "$stderr" "berth.yaml:8:[0-9]+: warning: the flake of container 'flake' is not there: '(path:)?./flake"
    refute_match "$stderr" elsewhere
    mkdir -p "${SPEC%/*}/tree" "${SPEC%/*}/flake"
    : >"${SPEC%/*}/web.tar"
    exits 0 berth validate "$SPEC"
    assert_eq "$stderr" ""
}
