#!/usr/bin/env bats
# Sources of containers that others can exchange for a symbolic link, and what root without a user namespace reaches through /proc/1.
# Witness: the host's own files, and what the container's command finds.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    command -v busybox >/dev/null || skip "busybox is not installed"
    lab_up
    # /srv/all is what container c writes. /secret is the host's.
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv
        for r in /srv/root /srv/all/root; do
            mkdir -p $r/usr/bin $r/usr/lib $r/etc && cp "$(command -v busybox)" $r/usr/bin/busybox
            for l in sh sleep ls id cat stat chmod chown touch mkdir mv ln rm find; do ln -s busybox $r/usr/bin/$l; done
            ln -s usr/bin $r/bin; echo root:x:0:0::/root:/bin/sh >$r/etc/passwd; echo "mine" >$r/marker
        done
        mkdir -p /srv/all/d/data /secret/data && echo mine >/srv/all/d/data/marker && echo SECRET >/secret/data/marker && echo SECRET >/secret/marker'
}
teardown() { lab_down; }

containers() {
    SPEC=$BATS_TEST_TMPDIR/berth.yaml
    { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: br0, address: 10.100.0.1/24}\n    containers:\n'; sed 's/^/      /'; } >"$SPEC"
}
run_in() { local c=$1; shift; host "$BERTH" run -f "$SPEC" "$c" -- "$@"; }
nspawn() { host_sh 'pgrep -of "[s]ystemd-nspawn.*-M $1 "' "$1"; }
leader() { host_sh 'pgrep -P "$(pgrep -of "[s]ystemd-nspawn.*-M $1 ")"' "$1"; }
leftovers() { host_sh 'grep -l "/run/berth/c/[a-z]*/start" /proc/[0-9]*/mountinfo 2>/dev/null; pgrep -af "[b]erth-contain|[s]ystemd-nspawn"; :'; }

C='c: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/all:/all"]}}'
D='d: {address: 10.100.0.11, nspawn: {root: host, binds: ["/srv/all/d/data:/data"]}}'
E='e: {address: 10.100.0.12, nspawn: {root: /srv/all/root, command: [/bin/sleep, "9998"]}}'

@test "a bind below another container's: a link in its place is not followed, the container does not start, and a plan says so before" {
    containers <<<"$C"$'\n'"$D"
    exits 0 berth apply "$SPEC"
    assert_eq "$(run_in d cat /data/marker)" mine
    # Root of c has uid 0 on disk there, so who owns the link tells nothing.
    exits 0 run_in c /bin/sh -c 'mv /all/d /all/was && mkdir /all/d && ln -s /secret/data /all/d/data && stat -c %u /all/d/data'
    assert_eq "$(host stat -c '%u %a' /srv/all/d /srv/all/d/data | xargs)" "0 755 0 777"
    exits 0 berth plan -e "$SPEC"
    assert_match "$(tr -s ' \n' ' ' <<<"$output")" "d: its next start will fail: its bind '/srv/all/d/data' leads through the symbolic link '/srv/all/d/data', which lies in a directory that a container can write"
    assert_match "$(host cat "/proc/$(leader d)/uid_map")" '^ +0 +[1-9]' "the link decides about the user namespace"
    # What cannot start again is not stopped.
    local runs
    runs=$(leader d)
    exits 1 berth restart d -f "$SPEC"
    assert_match "$stderr" "berth.yaml:7:.*cannot start container 'd': its bind '/srv/all/d/data' leads through"
    assert_eq "$(leader d)" "$runs"
    exits 0 berth stop d -f "$SPEC"
    exits 1 berth start d -f "$SPEC"
    assert_match "$stderr" "cannot start container 'd': its bind '/srv/all/d/data' leads through"
    assert_eq "$(nspawn d || :)" ""
    # c leaves the spec. What it made is still there.
    sed -i '/ c:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 1 berth start d -f "$SPEC"
    host_sh 'rm -r /srv/all/d && mv /srv/all/was /srv/all/d'
    exits 0 berth start d -f "$SPEC"
    assert_eq "$(run_in d cat /data/marker)" mine
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(leftovers)" ""
    assert_eq "$(host_sh 'ls -A /var/lib/berth /run/berth/c 2>/dev/null || :')" ""
}

@test "a root below another container's bind: the same" {
    containers <<<"$C"$'\n'"$E"
    exits 0 berth apply "$SPEC"
    assert_eq "$(run_in e /bin/cat /marker)" mine
    local runs
    runs=$(leader e)
    exits 0 run_in c /bin/sh -c 'mv /all/root/etc /all/root/real && mkdir /all/root/etc && busybox mkfifo /all/root/etc/machine-id'
    exits 1 berth restart e -f "$SPEC"
    assert_match "$stderr" "berth.yaml:7:.*cannot start container 'e': '/srv/all/root/etc/machine-id' is a FIFO"
    assert_eq "$(leader e)" "$runs"
    exits 0 run_in c /bin/sh -c 'rm -r /all/root/etc && mv /all/root/real /all/root/etc'
    exits 0 berth restart e -f "$SPEC"
    [[ $(leader e) != "$runs" ]]
    exits 0 run_in c /bin/sh -c 'mv /all/root /all/was && ln -s /secret /all/root'
    exits 0 berth stop e -f "$SPEC"
    exits 1 berth start e -f "$SPEC"
    assert_match "$stderr" "its root '/srv/all/root' leads through the symbolic link '/srv/all/root'"
    assert_eq "$(nspawn e || :)" ""
    assert_eq "$(host find /secret -newer /srv/all/root)" ""
    exits 0 run_in c /bin/sh -c 'mkdir /all/deep && ln -s /secret /all/deep/link'
    sed -i 's,/srv/all/root,/srv/all/deep/link/data,' "$SPEC"
    exits 77 berth backup e "$BATS_TEST_TMPDIR/e.backup" -f "$SPEC"
    assert_match "$stderr" "cannot read '/srv/all/deep/link/data': it leads through the symbolic link '/srv/all/deep/link'"
    sed -i 's,/srv/all/deep/link/data,/srv/all/root,' "$SPEC"
    exits 0 run_in c /bin/sh -c 'rm /all/root && mv /all/was /all/root'
    exits 0 berth start e -f "$SPEC"
    assert_eq "$(run_in e /bin/cat /marker)" mine
}

@test "while links come and go, a start sees the directory or fails, and never the place where a link leads" {
    containers <<<"$C"
    exits 0 berth apply "$SPEC"
    build_swapper
    # In nspawn's place: a program that prints what it was given.
    host_sh 'mkdir -p /srv/x && printf "%s\n" "#!/bin/sh" "for w; do case \$w in --bind=*) w=\${w#--bind=}; cat \${w%%:*}/marker; esac; done" >/usr/local/bin/nspawn-here && chmod 755 /usr/local/bin/nspawn-here'
    apart '"$1" 0 7 /srv/count /srv/all/d /secret /srv/all/d/data /secret/data & echo $! >/srv/pid' "$SWAPPER"
    local starts=1500
    # Each of a program with sanitizers takes ten times as long.
    if [[ ${BERTH_SANITIZED-} ]]; then starts=150; fi
    host_sh 'mkdir -p /run/berth/c/x; for ((i = 0; i < $2; i++)); do "$1" start /run/berth/c/x /usr/local/bin/nspawn-here --bind=/srv/all/d/data:/data; done 2>/srv/said | cat >/srv/seen' "${BERTH%/*}/berth-contain" "$starts" >"$BATS_TEST_TMPDIR/out"
    host_sh 'kill "$(cat /srv/pid)"; while kill -0 "$(cat /srv/pid)" 2>/dev/null; do :; done'
    (($(host cat /srv/count) > 1500)) || fail "only $(host cat /srv/count) exchanges"
    assert_eq "$(host grep -c SECRET /srv/seen || :)" 0
    (($(host grep -c mine /srv/seen) > 10)) || fail "no start saw its directory"
    (($(host grep -c 'leads through' /srv/said) > 10)) || fail "no start met a link"
}
build_swapper() {
    SWAPPER=$BATS_TEST_TMPDIR/swapper
    gcc -O2 -o "$SWAPPER" "$REPO/tests/netns/swapper.c"
}

@test "links that only root can change are followed; those of others are not" {
    host_sh 'mkdir -p /srv/homes/x /srv/real /srv/user /srv/open && echo a >/srv/homes/x/marker && echo b >/srv/real/marker
        ln -s /srv/homes /homes; ln -s ../srv/./real /opt/current; ln -s /homes/x /srv/real/again
        mkdir -m 1777 /srv/sticky; ln -s /srv/real /srv/sticky/of-root; ln -s /srv/real /srv/sticky/of-user; chown -h 1000:1000 /srv/sticky/of-user
        ln -s /srv/real /srv/user/link; chown 1000:1000 /srv/user; ln -s /srv/real /srv/of-user; chown -h 1000:1000 /srv/of-user
        mkdir /srv/user/below && ln -s /srv/real /srv/user/below/link'
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: host, binds: ["/homes/x:/1", "/opt/current:/2:ro", "/opt/current/again/marker:/3:ro", "/srv/sticky/of-root:/4:ro", "/srv/real:/with:ro"]}}'
    exits 0 berth apply "$SPEC"
    assert_eq "$(run_in a cat /1/marker /2/marker /3 /4/marker /with/marker | xargs)" "a b a b b"
    exits 0 berth plan -e "$SPEC"
    exits 0 berth restart a -f "$SPEC"
    # Who has the whole host is no reason to refuse its links.
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: host, private_users: none, binds: ["/:/host", "/homes/x:/1"]}}'
    exits 0 berth apply "$SPEC"
    assert_eq "$(run_in a cat /1/marker /host/srv/homes/x/marker | xargs)" "a a"
    local path
    for path in "/srv/sticky/of-user 'belongs to user 1000'" "/srv/user/link 'other users can write'" "/srv/of-user 'belongs to user 1000'" "/srv/user/below/link 'other users can write'"; do
        containers <<<"b: {address: 10.100.0.11, nspawn: {root: host, binds: [\"${path% \'*}:/1\"]}}"
        exits 1 berth plan "$SPEC"
        assert_match "$stderr" "cannot start container 'b': its bind '${path% \'*}' leads through the symbolic link '${path% \'*}', which .*$(cut -d\' -f2 <<<"$path")"
    done
}

@test "the file of systemd-nspawn and what its first process has open stay as they are on the host" {
    containers <<-'END'
	none: {address: 10.100.0.10, nspawn: {root: /srv/root, private_users: none, command: [/bin/sh, -c, 'cat; echo ready; exec sleep 9999']}}
	same: {address: 10.100.0.11, nspawn: {root: host, private_users: identity}}
	END
    # The machine that runs this test keeps its own /dev/null, whatever happens.
    host_sh 'mknod -m 666 /srv/null c 1 3 && mount --bind /srv/null /dev/null'
    exits 0 berth apply "$SPEC"
    local before c
    state() { host_sh 'stat -c "%n %a %u:%g %y %z" "$(command -v systemd-nspawn)" /dev/null; stat -L -c "%a %u:%g" /run/berth/c/*/log "$1"' "${BERTH%/*}/berth-contain"; }
    before=$(state)
    for c in none same; do
        exits 0 run_in "$c" /bin/sh -c 'for p in 1 2; do [ -d /proc/$p ] || continue
            for f in /proc/$p/exe /proc/$p/fd/*; do chmod 4757 $f; chown 1000:1000 $f; touch $f; echo x >>$f; done; done; ls -l /proc/1/exe /proc/1/fd; true'
        refute_match "$output" ' (/run/berth/[^ ]*/log|/dev/null|/work|/tmp)' "$c"
    done
    assert_eq "$(state)" "$before"
    assert_match "$(host cat /run/berth/c/none/log)" ready
    # Nothing else was opened for it.
    assert_eq "$(host_sh 'ls /proc/"$1"/fd | xargs' "$(leader none)")" "0 1 2"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(leftovers)" ""
}

@test "a stop, a kill, a failed start: no mount, directory or process is left" {
    containers <<<"$C"$'\n'"$D"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host_sh 'grep -c " /run/berth/" /proc/self/mountinfo || :')" 0
    assert_eq "$(host_sh 'ls -A /run/berth/c/d/start /run/berth/c/c/start' | xargs)" "/run/berth/c/c/start: /run/berth/c/d/start:"
    exits 0 berth stop d -f "$SPEC"
    assert_eq "$(leftovers | grep /d/ || :)" ""
    exits 0 berth start d -f "$SPEC"
    host kill -KILL "$(nspawn d)" "$(leader d)"
    wait_for host_sh '! grep -l /run/berth/c/d/start /proc/[0-9]*/mountinfo 2>/dev/null'
    exits 0 berth apply "$SPEC"
    assert_eq "$(run_in d cat /data/marker)" mine
    sed -i 's,root: host,root: host\, command: [/bin/false],' "$SPEC"
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" "its command ended"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(leftovers)" ""
    assert_eq "$(host_sh 'ls -A /var/lib/berth /run/berth/c 2>/dev/null || :')" ""
}

# Container $1 of $SPEC, which runs, as an earlier berth started it: nspawn found the sources itself.
started_with_links() {
    host_sh 'cd "/run/berth/c/$1" && sed -e "/^# sources: /d" -e "s,^--bind=/srv/root/own:/own:idmap$,--bind=/srv/root/own:/own," unit >was && mv was unit' "$1"
    apart 'cgroup=$(find /sys/fs/cgroup -type d -path "*/berth/$1") && echo 1 >"$cgroup/cgroup.kill"
        while pgrep -f "[s]ystemd-nspawn.*-M $1" >/dev/null; do :; done
        rm "/run/berth/c/$1/run"
        mapfile -t words < <(grep -v "^# " "/run/berth/c/$1/unit")
        digest=$(perl -0777 -ne "use integer; \$h = 0xcbf29ce484222325; \$h = (\$h ^ ord) * 1099511628211 for split //; printf q(%016x), \$h" "/run/berth/c/$1/unit")
        [[ -d $cgroup ]] || mkdir -p "$cgroup"
        (echo "$BASHPID" >"$cgroup/cgroup.procs"
         exec nsenter --net="/run/netns/$1" setsid env -i PATH="$PATH" LC_ALL=C BERTH_UNIT="$digest" systemd-nspawn "${words[@]}" </dev/null >>"/run/berth/c/$1/log" 2>&1) &
        ' "$1"
    wait_for host_sh 'p=$(pgrep -of "[s]ystemd-nspawn.*-M $1 ") && l=$(pgrep -P "$p") && c=$(pgrep -P "$l") && [ "$(cat "/proc/$c/comm")" = sleep ]' "$1"
}

@test "an upgrade interrupts nobody: a container whose sources nspawn found itself gets this at its next start, and is named" {
    host mkdir /srv/root/own
    containers <<-'END'
	a: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/root/own:/own", "/srv/all:/all"]}}
	b: {address: 10.100.0.11, nspawn: {root: host, private_users: none}}
	END
    exits 0 berth apply "$SPEC"
    started_with_links a
    started_with_links b
    local a b next="no links in its root and binds, and a systemd-nspawn that it cannot change"
    a=$(leader a) b=$(leader b)
    exits 0 berth plan "$SPEC" --json
    assert_eq "$(json '[.next_start[] | "\(.container): \(.text)"] | join("; ")')" "a: $next; b: $next"
    assert_eq "$(json '[.steps[] | select(.effect != "live")] | length')" 0
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a) $(leader b)" "$a $b"
    exits 0 berth plan -e "$SPEC"
    assert_match "$(tr -s ' \n' ' ' <<<"$output")" "b: next start: $next"
    exits 0 berth restart a b -f "$SPEC"
    assert_match "$(host readlink "/proc/$(nspawn a)/exe")" '^/run/berth/c/a/start/systemd-nspawn$'
    exits 0 berth plan -e "$SPEC" --json
    assert_eq "$(json '.next_start | length')" 0
}

@test "a device node in a root or a bind is no device; what a bind names below /dev is one" {
    # The kernel's own, so that nothing of this machine is at stake. The first is a file of the archive's author.
    host_sh 'mknod -m 666 /srv/root/random c 1 8; mkdir -p /srv/all/nodes && mknod -m 666 /srv/all/nodes/random c 1 8'
    containers <<<'c: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/all:/all", "/dev/random:/one", "/dev:/host-dev"]}}'
    for users in auto none identity; do
        sed -i "s/nspawn: {\(private_users: [a-z]*, \)\?/nspawn: {private_users: $users, /" "$SPEC"
        exits 0 berth apply "$SPEC"
        for node in /random /all/nodes/random; do
            exits 1 run_in c /bin/sh -c ": <$node"
            assert_match "$stderr$output" 'Permission denied' "$users $node"
        done
        for node in /one /host-dev/random /dev/random; do exits 0 run_in c /bin/sh -c ": <$node"; done
    done
}

@test "a destroy after /run/berth was lost forgets what containers could write" {
    containers <<<"$C"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host_sh 'tr "\0" "\n" </var/lib/berth/writable | xargs')" "/srv/all /srv/root"
    host rm -rf /run/berth
    exits 0 berth destroy --yes "$SPEC"
    host test ! -e /var/lib/berth/writable
}
