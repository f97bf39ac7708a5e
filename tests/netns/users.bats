#!/usr/bin/env bats
# private_users: user namespaces, ranges of ids, idmapped roots and binds, capabilities, and upgrades that interrupt nobody.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up
    # Roots and binds on a file system with idmapped mounts: the host's own root is an overlay.
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv
        mkdir -p /srv/root/usr/bin /srv/root/usr/lib /srv/root/etc /srv/data && cp "$(command -v busybox)" /srv/root/usr/bin/busybox
        for l in sh sleep ls id cat touch stat chown mkdir nc ping mount; do ln -s busybox /srv/root/usr/bin/$l; done
        ln -s usr/bin /srv/root/bin; echo root:x:0:0::/root:/bin/sh >/srv/root/etc/passwd
        echo mine >/srv/data/of-root; echo yours >/srv/data/of-user; chown 1000:1000 /srv/data/of-user; chmod 600 /srv/data/*'
    command -v busybox >/dev/null || skip "busybox is not installed"
}
teardown() { lab_down; }

containers() {
    SPEC=$BATS_TEST_TMPDIR/berth.yaml
    { printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: br0, address: 10.100.0.1/24}\n    containers:\n'; sed 's/^/      /'; } >"$SPEC"
}
run_in() { local c=$1; shift; host "$BERTH" run -f "$SPEC" "$c" -- "$@"; }
leader() { host_sh 'pgrep -P "$(pgrep -of "[s]ystemd-nspawn.*-M $1 ")"' "$1"; }
first_id() { host awk 'NR == 1 {print $2}' "/proc/$(leader "$1")/uid_map"; }

@test "auto: a range for each container, no two alike, the same after a restart, recorded until the container leaves" {
    containers <<-'END'
	a: {address: 10.100.0.10, runtime: nspawn}
	b: {address: 10.100.0.11, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"]}}
	c: {address: 10.100.0.12, nspawn: {root: /srv/root2, command: [/bin/sleep, "9999"]}}
	END
    host cp -a /srv/root /srv/root2
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    local a b c
    a=$(first_id a) b=$(first_id b) c=$(first_id c)
    assert_eq "$(printf '%s\n' "$a" "$b" "$c" | sort -u | wc -l)" 3
    assert_eq "$(host awk '{print $2}' /var/lib/berth/ids | xargs)" "$a $b $c"
    assert_eq "$(host awk '{print $3}' "/proc/$(leader a)/uid_map")" 65536
    assert_eq "$(host stat -c %u "/proc/$(leader b)")" "$b"
    exits 0 berth restart b -f "$SPEC"
    assert_eq "$(first_id b)" "$b"
    sed -i '/ b:/d' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(host awk '{print $1}' /var/lib/berth/ids | xargs)" "a c"
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host_sh 'ls -A /var/lib/berth 2>/dev/null || :')" ""
}

@test "auto: ranges of /etc/subuid, /etc/subgid and recorded ranges are left alone; a damaged record is no obstacle" {
    containers <<<'a: {address: 10.100.0.10, runtime: nspawn}'
    exits 0 berth apply "$SPEC"
    local first other
    first=$(first_id a)
    exits 0 berth destroy --yes "$SPEC"
    host_sh 'echo "someone:$1:100" >/etc/subuid' $((first + 1000))
    exits 0 berth apply "$SPEC"
    other=$(first_id a)
    [[ $other != "$first" ]] || fail "a range of /etc/subuid was taken: $other"
    exits 0 berth destroy --yes "$SPEC"
    host_sh 'mv /etc/subuid /etc/subgid'
    exits 0 berth apply "$SPEC"
    [[ $(first_id a) != "$first" ]] || fail "a range of /etc/subgid was taken"
    exits 0 berth destroy --yes "$SPEC"
    host_sh 'rm /etc/subgid; mkdir -p /var/lib/berth; printf "%s\n" garbage "b $1" "c $1" "a 7" "d 99999999999" >/var/lib/berth/ids' "$first"
    exits 0 berth apply "$SPEC"
    [[ $(first_id a) != "$first" ]] || fail "the range of b was taken"
    exits 0 berth plan -e "$SPEC"
}

@test "auto: root and users of the container are themselves on disk; binds keep all owners in both directions" {
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/data:/data", "/srv/data:/seen:ro"]}}'
    exits 0 berth apply "$SPEC"
    exits 0 run_in a /bin/sh -c 'cat /data/of-root /data/of-user; stat -c %u:%g /data/of-root /data/of-user /bin/busybox; touch /new /data/new /data/user; chown 1000:1000 /data/user'
    assert_eq "$(xargs <<<"$output")" "mine yours 0:0 1000:1000 0:0"
    assert_eq "$(host stat -c %u:%g /srv/root/new /srv/data/new /srv/data/user | xargs)" "0:0 0:0 1000:1000"
    exits 1 run_in a /bin/touch /seen/no
    # Mount points that were made for it, too.
    assert_eq "$(host sh -c 'find /srv/root -uid +65535 -o -gid +65535')" ""
}

@test "auto: a bind from inside the container's own root works, and keeps its owners" {
    host_sh 'mkdir -p /srv/root/data/sub && cp -p /srv/data/of-* /srv/root/data/ && ln -s /srv/root/data/sub /srv/link'
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/root/data:/seen", "/srv/link:/linked:ro", "/srv/root:/all", "/srv/data:/out"]}}'
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    [[ $(first_id a) != 0 ]] || fail "no user namespace"
    exits 0 run_in a /bin/sh -c 'cat /seen/of-root /all/data/of-user; stat -c %u:%g /seen/of-root /seen/of-user /all/data/of-user /out/of-user; touch /seen/sub/new; ls /linked'
    assert_eq "$(xargs <<<"$output")" "mine yours 0:0 1000:1000 1000:1000 1000:1000 new"
    assert_eq "$(host stat -c %u:%g /srv/root/data/sub/new)" 0:0
    exits 1 run_in a /bin/touch /linked/no
    exits 0 berth restart a -f "$SPEC"
}

@test "auto: the network is complete, port 80 and ping work, the container cannot change it" {
    containers <<-'END'
	a: {address: 10.100.0.10, runtime: nspawn}
	b: {address: 10.100.0.11, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'echo at-port-80 | nc -l -p 80; exec sleep 9999']}}
	END
    exits 0 berth apply "$SPEC"
    exits 0 run_in a ping -q -c1 -W2 10.100.0.1
    wait_for listening 'inside b' tcp 80
    assert_eq "$(ask host tcp 10.100.0.11 80)" at-port-80
    local before
    before=$(inside a ip -j address | jq -c '[.[].addr_info[].local]')
    exits 2 run_in a ip address add 10.100.0.99/24 dev eth0
    exits 2 run_in a ip link set eth0 down
    assert_eq "$(inside a ip -j address | jq -c '[.[].addr_info[].local]')" "$before"
    assert_eq "$(run_in a ls /sys/class/net | xargs)" "eth0 lo"
}

@test "a file system without idmapped mounts: the plan warns, and the container runs as under none" {
    host_sh 'mkdir -p /mine && cp -a /srv/root /mine/root'
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /mine/root, command: [/bin/sleep, "9999"]}}'
    exits 0 berth plan "$SPEC"
    assert_match "$(tr -s ' \n' ' ' <<<"$output")" "Warnings: ! a: '/mine/root' is on a file system without idmapped mounts, so it runs as under private_users: none"
    exits 0 berth apply "$SPEC"
    assert_eq "$(first_id a)" 0
    exits 0 run_in a /bin/cat /proc/self/status
    assert_match "$output" $'CapBnd:\t00000000a00424fb'
    exits 0 berth plan -e "$SPEC"
    # An init of its own does not start that way: refused before anything is done.
    sed -i 's/command: .*\]/boot: true/' "$SPEC"
    exits 69 berth apply "$SPEC"
    assert_match "$stderr" 'boot: true. needs a user namespace, and /mine/root is on a file system without idmapped mounts'
    # A bind can be what is in the way.
    containers <<<'a: {address: 10.100.0.10, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/mine:/mine"]}}'
    exits 0 berth plan "$SPEC"
    assert_match "$(tr -s ' \n' ' ' <<<"$output")" "a: '/mine' is on a file system without idmapped mounts"
    # So can mounts below it. The container's own root below a bind is none.
    host_sh 'mkdir -p "/srv/data/sub dir" && mount -t tmpfs tmpfs "/srv/data/sub dir" && echo x >"/srv/data/sub dir/below"'
    sed -i 's,/mine:/mine,/srv/data:/data,' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_match "$(tr -s ' \n' ' ' <<<"$output")" "a: '/srv/data' has other mounts below it, so it runs as under private_users: none"
    assert_eq "$(run_in a /bin/cat '/data/sub dir/below')" x
    # A mount that comes or goes restarts nobody.
    local before
    before=$(leader a)
    host umount '/srv/data/sub dir'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a)" "$before"
    assert_match "$output" 'a: next start: user namespace'
    exits 0 berth restart a -f "$SPEC"
    [[ $(first_id a) != 0 ]] || fail "nothing is in the way any more"
    before=$(leader a)
    host mount -t tmpfs tmpfs '/srv/data/sub dir'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a)" "$before"
    assert_match "$output" 'a: next start: no user namespace'
    host umount '/srv/data/sub dir'
    sed -i 's,/srv/data:/data,/srv:/data,' "$SPEC"
    exits 0 berth apply "$SPEC"
    [[ $(first_id a) != 0 ]] || fail "nothing is in the way any more"
    assert_eq "$(run_in a /bin/cat /data/data/of-user)" yours
    exits 0 berth plan -e "$SPEC"
}

@test "none, identity, capabilities, network_admin: what is in force, and what the plan says of it" {
    containers <<-'END'
	none: {address: 10.100.0.10, nspawn: {private_users: none}}
	more: {address: 10.100.0.11, nspawn: {private_users: none, capabilities: [SYS_TIME, CAP_SYS_ADMIN]}}
	net: {address: 10.100.0.12, nspawn: {private_users: none, network_admin: true}}
	same: {address: 10.100.0.13, nspawn: {private_users: identity}}
	auto: {address: 10.100.0.14, nspawn: {capabilities: [SYS_TIME]}}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    output=$(tr -s ' \n' ' ' <<<"$output")
    assert_match "$output" "none: no user namespace: its root is the host's uid 0 with few capabilities"
    assert_match "$output" "more: no user namespace: with SYS_ADMIN,SYS_TIME its root can become the host's root"
    assert_match "$output" "same: private_users: identity: its root has the host's uid 0"
    refute_match "$output" 'auto: [^t]*root'
    bound() { host awk '/CapBnd/ {print $2}' "/proc/$(leader "$1")/status"; }
    # Of 41 capabilities: bits 21 and 25 are SYS_ADMIN and SYS_TIME, 11 and 12 NET_BROADCAST and NET_ADMIN.
    assert_eq "$(bound none)" 00000000a00424fb
    assert_eq "$(bound same)" 00000000a00424fb
    assert_eq "$(printf %x $((0x$(bound more) ^ 0xa00424fb)))" 2200000
    assert_eq "$(printf %x $((0x$(bound net) ^ 0xa00424fb)))" 1800
    assert_eq "$(($(printf %d "0x$(bound auto)") >> 25 & 1))" 1
    assert_eq "$(first_id same)" 0
    [[ $(host readlink "/proc/$(leader same)/ns/user") != "$(host readlink /proc/self/ns/user)" ]] || fail "identity has no user namespace"
    assert_eq "$(host readlink "/proc/$(leader none)/ns/user")" "$(host readlink /proc/self/ns/user)"
    exits 0 run_in net ip link set dev eth0 mtu 1400
    exits 2 run_in none ip link set dev eth0 mtu 1400
    for c in none net same more; do assert_eq "$(run_in "$c" ls /sys/class/net | xargs)" "eth0 lo"; done
}

# Container a of the host's root and d of a directory, started with the settings that berth 0.1.0 gives them, byte for byte.
started_by_old_berth() {
    local unit
    exits 0 berth apply "$SPEC"
    host_sh 'first() { printf "%s\n" "# made by berth: the arguments of systemd-nspawn" --quiet --keep-unit --register=no -M "$1"; }
        middle() { printf "%s\n" "--network-namespace-path=/run/netns/$1" --resolv-conf=off --timezone=off --link-journal=no --console=pipe \
            --kill-signal=SIGRTMIN+3 "--bind-ro=/run/berth/hosts/br0:/etc/hosts" "--bind-ro=/run/berth/c/$1/ns/resolv.conf:/etc/resolv.conf"; }
        cd /run/berth/c
        { first a; printf "%s\n" -D / --volatile=yes --bind=/run/berth/c/a/etc:/etc
          for d in alternatives ld.so.conf.d ssl ca-certificates; do [ ! -d /etc/$d ] || echo "--bind-ro=/etc/$d"; done
          for f in ld.so.cache ld.so.conf localtime; do [ ! -f /etc/$f ] || echo "--bind-ro=/etc/$f"; done
          middle a; printf "%s\n" --as-pid2 -- sleep infinity; } >a/unit
        { first d; printf "%s\n" -D /srv/root; middle d; printf "%s\n" --bind=/srv/data:/data --setenv=A=b --as-pid2 -- /bin/sleep 9999; } >d/unit'
    for unit in a d; do
        apart 'cgroup=$(find /sys/fs/cgroup -type d -path "*/berth/$1") && echo 1 >"$cgroup/cgroup.kill"
            while pgrep -f "[s]ystemd-nspawn.*-M $1" >/dev/null; do :; done
            rm "/run/berth/c/$1/run"
            mapfile -t words < <(tail -n +2 "/run/berth/c/$1/unit")
            digest=$(perl -0777 -ne "use integer; \$h = 0xcbf29ce484222325; \$h = (\$h ^ ord) * 1099511628211 for split //; printf q(%016x), \$h" "/run/berth/c/$1/unit")
            [[ -d $cgroup ]] || mkdir -p "$cgroup"
            (echo "$BASHPID" >"$cgroup/cgroup.procs"
             exec setsid env -i PATH="$PATH" LC_ALL=C BERTH_UNIT="$digest" systemd-nspawn "${words[@]}" </dev/null >>"/run/berth/c/$1/log" 2>&1) &
            ' "$unit"
        wait_for started "$unit"
    done
}
started() { host_sh 'p=$(pgrep -of "[s]ystemd-nspawn.*-M $1") && l=$(pgrep -P "$p") && c=$(pgrep -P "$l") && [ "$(cat /proc/$c/comm)" = sleep ]' "$1"; }

# own_etc NAME: which directory of which file system its /etc is.
own_etc() { host awk '$5 == "/etc" {print $4}' "/proc/$(leader "$1")/mountinfo"; }

@test "an upgrade interrupts nobody: what only berth's new default brings waits for the next start, and is named" {
    containers <<-'END'
	a: {address: 10.100.0.10, runtime: nspawn}
	d: {address: 10.100.0.11, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/data:/data"], environment: {A: b}}}
	END
    # BERTH_OLD: a program of that version, if there is one; without it what it would have started is started by hand.
    if [[ -x ${BERTH_OLD-} ]]; then exits 0 host "$BERTH_OLD" apply "$SPEC"; else started_by_old_berth; fi
    local a d
    a=$(leader a) d=$(leader d)
    assert_eq "$(first_id a) $(first_id d)" "0 0"
    exits 0 berth plan "$SPEC" --json
    assert_eq "$(json '[.next_start[] | "\(.container): \(.text)"] | join(", ")')" "a: user namespace, d: user namespace"
    assert_eq "$(json '[.steps[] | select(.effect != "live")] | length')" 0
    exits 0 berth plan "$SPEC"
    assert_match "$output" 'a, d: next start: user namespace'
    assert_match "$output" 'nothing is interrupted'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a) $(leader d)" "$a $d"
    assert_match "$(own_etc a)" '/berth/c/a/etc$'
    exits 0 berth plan -e "$SPEC"
    assert_match "$output" 'a, d: next start: user namespace'
    exits 0 berth status "$SPEC"
    assert_match "$output" 'a, d: next start: user namespace'
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a) $(leader d)" "$a $d"
    # The next start takes it, and so does a change of the spec that restarts the container in any case.
    exits 0 berth restart a -f "$SPEC"
    [[ $(first_id a) != 0 ]] || fail "the restart brought no user namespace"
    assert_eq "$(own_etc a)" / "the restart brought no limit for /etc"
    assert_eq "$(host_sh 'pgrep -fc "berth-contain log .*/c/a/log"')" 1
    assert_eq "$(leader d)" "$d"
    sed -i 's/A: b/A: c/' "$SPEC"
    exits 0 berth apply "$SPEC"
    [[ $(first_id d) != 0 ]] || fail "the change brought no user namespace"
    exits 0 berth plan -e "$SPEC" --json
    assert_eq "$(json '.next_start | length')" 0
}

@test "an upgrade: keys that only the new program knows are the author's wish, and take effect at once" {
    containers <<-'END'
	a: {address: 10.100.0.10, runtime: nspawn}
	d: {address: 10.100.0.11, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/data:/data"], environment: {A: b}}}
	END
    if [[ -x ${BERTH_OLD-} ]]; then exits 0 host "$BERTH_OLD" apply "$SPEC"; else started_by_old_berth; fi
    local a
    a=$(leader a)
    sed -i 's/environment: {A: b}/environment: {A: b}, private_users: auto/' "$SPEC"
    exits 2 berth plan -e "$SPEC" --json
    assert_eq "$(json '[.next_start[].container] | join(",")')" a
    assert_eq "$(json '[.steps[] | select(.effect == "restart") | .object] | join(",")')" "run d"
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a)" "$a"
    [[ $(first_id d) != 0 ]] || fail "no user namespace"
}

# A host whose /etc has private keys at the usual places, and some at others.
with_keys() {
    host_sh 'mkdir -p /etc/ssl/private /etc/ssl/certs/java /etc/ssh /etc/letsencrypt/live /etc/pki/tls/private /etc/pki/ca-trust/extracted/pem
        for f in ssl/private/a.key ssl/stray.key ssh/ssh_host_x_key letsencrypt/live/privkey.pem pki/tls/private/b.key machine-secret; do
            echo SECRET-of-the-host >/etc/$f; chmod 644 /etc/$f
        done
        for f in ssl/certs/mixed.pem ssl/certs/java/c.key pki/ca-trust/extracted/pem/d.key; do
            echo SECRET-of-the-host >/etc/$f; chmod 600 /etc/$f
        done
        chmod 755 /etc/ssl/private
        ln -sf ../private/a.key /etc/ssl/certs/link.pem
        echo AUTHORITY >/etc/ssl/certs/ca.pem; ln -sf ca.pem /etc/ssl/certs/01234567.0
        echo AUTHORITY >/etc/pki/ca-trust/extracted/pem/ca.pem
        echo "# for clients" >/etc/ssl/openssl.cnf
        echo "kept:SECRET-of-the-host:4242:4242::/:/bin/sh" >>/etc/passwd
        echo "kept:SECRET-of-the-host:4242:" >>/etc/group'
}

# What root of a container finds of them. grep fails for files that it cannot read.
secrets_of() { run_in "$1" sh -c 'grep -rs SECRET /etc /run /var /root; :'; }

@test "root: host shows certificates and no secret of the host's /etc, under each private_users" {
    with_keys
    containers <<-'END'
	auto: {address: 10.100.0.10, nspawn: {root: host}}
	none: {address: 10.100.0.11, nspawn: {root: host, private_users: none}}
	same: {address: 10.100.0.12, nspawn: {root: host, private_users: identity}}
	END
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    local c
    for c in auto none same; do
        assert_eq "$(secrets_of "$c")" ""
        exits 0 run_in "$c" cat /etc/ssl/certs/01234567.0 /etc/pki/ca-trust/extracted/pem/ca.pem /etc/ssl/openssl.cnf
        assert_eq "$output" $'AUTHORITY\nAUTHORITY\n# for clients'
        exits 0 run_in "$c" grep ^kept: /etc/passwd
        assert_eq "$output" "kept:x:4242:4242::/:/bin/sh"
        # A list of what is shown: anything else of the host's /etc would be a new entry here.
        exits 0 run_in "$c" ls /etc /etc/ssl /etc/pki /etc/pki/ca-trust
        host_sh 'for d in alternatives ld.so.conf.d ca-certificates; do [ ! -d /etc/$d ] || echo $d; done
            for f in ld.so.cache ld.so.conf localtime; do [ ! -f /etc/$f ] || echo $f; done' >"$BATS_TEST_TMPDIR/there"
        assert_eq "$(sed -n '/^\/etc:$/,/^$/p' <<<"$output" | grep -v -e '^/etc:$' -e '^$' | sort | xargs)" \
            "$(sort "$BATS_TEST_TMPDIR/there" - <<<$'ssl\npki\npasswd\ngroup\nhosts\nresolv.conf\nhostname\nnsswitch.conf\nmachine-id\nhost.conf\nos-release' | xargs)"
        assert_eq "$(sed -n '/^\/etc\/ssl:$/,/^$/p' <<<"$output" | xargs)" "/etc/ssl: certs openssl.cnf"
        assert_eq "$(sed -n '/^\/etc\/pki:$/,/^$/p' <<<"$output" | xargs)" "/etc/pki: ca-trust"
        assert_eq "$(sed -n '/^\/etc\/pki\/ca-trust:$/,/^$/p' <<<"$output" | xargs)" "/etc/pki/ca-trust: extracted"
    done
    # The host's list of authorities changes: a container with a range of ids sees it at once, the others at their next start.
    host_sh 'echo NEWER >/etc/ssl/certs/newer.pem'
    exits 0 run_in auto cat /etc/ssl/certs/newer.pem
    exits 0 berth plan -e "$SPEC"
    exits 0 berth restart none -f "$SPEC"
    exits 0 run_in none cat /etc/ssl/certs/newer.pem
}

# Container $1 of $SPEC, which runs, again with the whole of /etc/ssl: the settings of an earlier berth.
started_with_all_ssl() {
    host_sh 'cd "/run/berth/c/$1" && grep -v -e "^# limited: " -e "^# sources: " -e "^--bind-ro=/etc/ssl/" -e "^--bind-ro=/etc/pki/" -e "^--bind-ro=/etc/ca-certificates$" unit >was
        [ ! -d /etc/ca-certificates ] || sed -i "/^--bind-ro=.etc.ld.so.conf.d$/a --bind-ro=/etc/ca-certificates" was
        sed -i "/^--bind-ro=.etc.ld.so.conf.d$/a --bind-ro=/etc/ssl" was && mv was unit && mkdir -p etc/ssl etc/ca-certificates' "$1"
    apart 'cgroup=$(find /sys/fs/cgroup -type d -path "*/berth/$1") && echo 1 >"$cgroup/cgroup.kill"
        while pgrep -f "[s]ystemd-nspawn.*-M $1" >/dev/null; do :; done
        rm "/run/berth/c/$1/run"
        mapfile -t words < <(grep -v "^# " "/run/berth/c/$1/unit")
        digest=$(perl -0777 -ne "use integer; \$h = 0xcbf29ce484222325; \$h = (\$h ^ ord) * 1099511628211 for split //; printf q(%016x), \$h" "/run/berth/c/$1/unit")
        [[ -d $cgroup ]] || mkdir -p "$cgroup"
        (echo "$BASHPID" >"$cgroup/cgroup.procs"
         exec nsenter --net="/run/netns/$1" setsid env -i PATH="$PATH" LC_ALL=C BERTH_UNIT="$digest" systemd-nspawn "${words[@]}" </dev/null >>"/run/berth/c/$1/log" 2>&1) &
        ' "$1"
    wait_for started "$1"
}

@test "an upgrade interrupts nobody: a container that sees the whole of /etc/ssl loses it at its next start, and is named" {
    with_keys
    containers <<-'END'
	a: {address: 10.100.0.10, nspawn: {root: host}}
	b: {address: 10.100.0.11, nspawn: {root: host, private_users: none}}
	END
    exits 0 berth apply "$SPEC"
    started_with_all_ssl a
    started_with_all_ssl b
    assert_match "$(secrets_of b)" '/etc/ssl/private/a.key:SECRET'
    local a b
    a=$(leader a) b=$(leader b)
    exits 0 berth plan "$SPEC" --json
    assert_eq "$(json '[.next_start[] | "\(.container): \(.text)"] | join(", ")')" \
        "a: only certificates of the host's /etc/ssl, b: only certificates of the host's /etc/ssl"
    assert_eq "$(json '[.steps[] | select(.effect != "live")] | length')" 0
    exits 0 berth apply "$SPEC"
    assert_eq "$(leader a) $(leader b)" "$a $b"
    exits 0 berth plan -e "$SPEC"
    assert_match "$output" "b: next start: only certificates of the host's /etc/ssl"
    exits 0 berth restart b -f "$SPEC"
    assert_eq "$(secrets_of b)" ""
    sed -i 's/root: host}/root: host, command: [sleep, "4321"]}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    assert_eq "$(secrets_of a)" ""
    exits 0 berth plan -e "$SPEC" --json
    assert_eq "$(json '.next_start | length')" 0
}
