#!/usr/bin/env bats
# Variables of a container: seen by root and by the container, by nobody else on the host, and never in what berth prints.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up
    host_sh 'mkdir -p /etc/berth/secrets && (umask 077; echo from-the-file >/etc/berth/secrets/db)'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      web: {address: 10.100.0.10, nspawn: {command: [sh, -c, 'exec sleep 9999'], environment: {PLAIN: hunter2-word, DB: {file: /etc/berth/secrets/db}}}}
	      odd: {address: 10.100.0.11, nspawn: {command: [sh, -c, 'exec sleep 9999'], environment: {QUOTES: "a 'b' \"c\" `d` \\ %n $x #;\\", EMPTY: ''}}}
	END
}
teardown() { lab_down; }

web() { host_sh 'l=$(pgrep -P "$(pgrep -of "[s]ystemd-nspawn.*-M $1 ")"); tr "\0" "\n" <"/proc/$(pgrep -P "$l")/environ"' "$1"; }

@test "values arrive to the letter; no argument, no file that others may read, no line of berth has them" {
    exits 0 berth plan "$SPEC"
    refute_match "$output$stderr" 'hunter2|from-the-file'
    exits 0 berth apply "$SPEC"
    refute_match "$output$stderr" 'hunter2|from-the-file'
    assert_match "$(web web)" 'PLAIN=hunter2-word'
    assert_match "$(web web)" 'DB=from-the-file'
    assert_eq "$(web odd | grep ^QUOTES=)" "QUOTES=a 'b' \"c\" \`d\` \\ %n \$x #;\\"
    assert_eq "$(web odd | grep ^EMPTY)" "EMPTY="
    # Everything that another user of the host can read.
    assert_eq "$(host setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'grep -rlsaE "[h]unter2|[f]rom-the-file" /run /etc /var/lib /proc/[0-9]*/environ; :')" ""
    assert_eq "$(host_sh 'grep -lsaE "[h]unter2|[f]rom-the-file" /proc/[0-9]*/cmdline || :')" ""
    for words in "plan -e" status "status --json" "plan --json"; do
        exits 0 berth $words "$SPEC"
        refute_match "$output$stderr" 'hunter2|from-the-file'
    done
}

@test "a changed value is a restart of that container, shown as changed; also where only the file has changed" {
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    sed -i 's/hunter2-word/hunter3-word/' "$SPEC"
    exits 2 berth plan -e --json "$SPEC"
    assert_eq "$(json '[.steps[] | .object as $o | .changes[] | "\($o) \(.field): \(.from) \(.to)"] | join(", ")')" \
        "unit web environment: (set) (changed), run web environment in force: (set) (changed)"
    refute_match "$output" hunter
    exits 0 berth apply "$SPEC"
    refute_match "$output$stderr" hunter
    assert_match "$(web web)" 'PLAIN=hunter3-word'
    exits 0 berth plan -e "$SPEC"
    host_sh 'echo another >/etc/berth/secrets/db'
    exits 2 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_match "$(web web)" 'DB=another'
    # By hand changed, and repaired.
    host_sh 'sed -i s/another/third/ /run/systemd/nspawn/web.nspawn'
    exits 2 berth plan -e "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_match "$(host cat /run/systemd/nspawn/web.nspawn)" 'DB=another'
    sed -i 's/, environment: {PLAIN.*}}}}/}}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    refute_match "$(web web)" 'PLAIN|DB='
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'ls /run/systemd/nspawn/*.nspawn 2>/dev/null || :')" ""
}

@test "a file that is missing, or that others may change, is refused with its place in the spec" {
    host rm /etc/berth/secrets/db
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "berth.yaml:6:[0-9]+: cannot read '/etc/berth/secrets/db'"
    host_sh 'echo x >/etc/berth/secrets/db; chmod 666 /etc/berth/secrets/db'
    exits 77 berth plan "$SPEC"
    assert_match "$stderr" "it must belong to root, and nobody else may write to it"
    host_sh 'chmod 600 /etc/berth/secrets/db; printf "a\nb\n" >/etc/berth/secrets/db'
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "a variable holds one line; bind the file instead"
    host_sh 'rm /etc/berth/secrets/db; ln -s /etc/shadow /etc/berth/secrets/db'
    exits 1 berth plan "$SPEC"
    assert_match "$stderr" "cannot read '/etc/berth/secrets/db'"
    assert_eq "$(host_sh 'ls /run/netns 2>/dev/null || :')" ""
}

@test "a unit that an earlier berth has written with values in it: they are not shown either" {
    exits 0 berth apply "$SPEC"
    host_sh 'sed -i "s/^--as-pid2/--setenv=PLAIN=hunter2-word\n&/" /run/berth/c/web/unit'
    exits 2 berth plan -e "$SPEC"
    assert_match "$output" '--setenv=PLAIN=\(set\)'
    refute_match "$output" hunter2
}

@test "a settings file of the host's own would hide the variables: refused" {
    host_sh 'mkdir -p /etc/systemd/nspawn; echo "[Exec]" >/etc/systemd/nspawn/web.nspawn'
    exits 69 berth apply "$SPEC"
    assert_match "$stderr" 'container web cannot .* remove the file'
}
