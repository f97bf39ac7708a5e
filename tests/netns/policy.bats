#!/usr/bin/env bats
# What a spec that comes through a repository may ask for: the policy that root keeps, at the push and at the apply.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset "${!GIT_@}" "${!BERTH_GIT@}"
    export HOME=$BATS_TEST_TMPDIR/home GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
    mkdir "$HOME"
    R=$BATS_TEST_TMPDIR/repo
    git init -q -b main "$R"
    cd "$R"
    good >berth.yaml
    git add . && git commit -qm good
    host mkdir -p /etc/berth
}
teardown() { lab_down; }

good() {
    cat <<-'END'
	version: 1
	hosts:
	  homelab:
	    bridge: {name: b0, address: 10.9.0.1/24}
	    nat: {interface: auto}
	    containers:
	      one: {address: 10.9.0.10, runtime: netns, ports: [8080:80]}
	END
}
policy() { host_sh 'cat >/etc/berth/policy.yaml'; }
commit() { git commit -q --allow-empty -am "${1:-change}"; }
push() { host sh -c "cd '$R' && HOME='$HOME' git push origin main"; }

@test "each thing that a policy does not allow is refused at its place in the spec, by plan and by apply" {
    # The host's own root is an overlay, which cannot map ids.
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv'
    policy <<-'END'
	version: 1
	allow:
	  containers: [one, 'web-*']
	  bridges: ['b?']
	  runtimes: [netns, nspawn]
	  binds: [/srv/data/*, '/srv/www:ro', '/srv/all/**']
	  roots: [host, '/srv/all/**']
  ports: [1024-9000/tcp, 53/udp]
	  nat: [auto]
	END
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 berth plan -e --host homelab --git "$R" main:berth.yaml
    exits 0 berth policy check --host homelab "$R/berth.yaml"
    local before
    seen() { host_sh 'ls /run/netns /sys/class/net /etc /srv /var/lib/berth; nft -s list ruleset; cat /etc/hosts'; }
    before=$(seen)
    # refused LINE TEXT RULE: the spec on stdin.
    refused() {
        cat >berth.yaml
        commit
        exits 4 berth apply --host homelab --git "$R" main:berth.yaml
        assert_match "$stderr" "main:berth.yaml:$1:[0-9]+: .*$2"
        assert_match "$stderr" "'$3' in /etc/berth/policy.yaml"
        exits 4 berth plan --host homelab --git "$R" main:berth.yaml
        exits 4 berth policy check --host homelab "$R/berth.yaml"
        assert_match "$output" "berth.yaml:$1:"
    }
    with() { good; printf '%s\n' "$@"; }
    with '      evil: {address: 10.9.0.66, runtime: netns}' | refused 8 "container 'evil'" containers
    # What is staged or committed comes through a repository without --git, too.
    git add berth.yaml
    exits 4 host sh -c 'cd "$1" && exec "$2" plan --host homelab :berth.yaml' sh "$R" "$BERTH"
    exits 4 host sh -c 'cd "$1" && exec "$2" policy check --host homelab main:berth.yaml' sh "$R" "$BERTH"
    good | sed 's/name: b0/name: lan/' | refused 4 "bridge 'lan'" bridges
    good | sed 's,10.9.0.1/24,203.0.113.129/25,; s/10.9.0.10/203.0.113.140/' | refused 4 '203.0.113.128/25' subnets
    good | sed 's/interface: auto/interface: eth0/' | refused 5 "by way of 'eth0'" nat
    good | sed 's/interface: auto/interface: auto, inbound: open/' | refused 5 'open from outside' open_inbound
    good | sed 's/8080:80/22:22/' | refused 7 'port 22/tcp' ports
    good | sed 's/8080:80/8999-9001:80-82/' | refused 7 'port 8999-9001/tcp' ports
    good | sed 's,8080:80,5353:53/udp,' | refused 7 'port 5353/udp' ports
    with '      web-1: {address: 10.9.0.20, runtime: nixos, nixos: {flake: "github:evil/flake"}}' | refused 8 'runtime nixos' runtimes
    with '      web-1: {address: 10.9.0.20, runtime: nixos, nixos: {flake: "github:evil/flake"}}' | refused 8 'github:evil/flake' flakes
    local system=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web
    with "      web-1: {address: 10.9.0.20, runtime: nixos, nixos: {system: $system}}" | refused 8 "the system '$system'" systems
    with '      web-1: {address: 10.9.0.20, runtime: nixos, nixos: {config: /srv/web.nix}}' | refused 8 "the configuration '/srv/web.nix'" configs
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {root: /srv/root}}' | refused 8 "root '/srv/root'" roots
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {environment: {A: {file: /root/token}}}}' | refused 8 "read '/root/token'" binds
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {private_users: none}}' | refused 8 'private_users: none' private_users
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {capabilities: [NET_RAW]}}' | refused 8 'NET_RAW' capabilities
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {network_admin: true, private_users: none}}' | refused 8 'its own network' network_admin
    # Paths, however they are written.
    local path
    for path in /etc:/mnt '//etc:/mnt' '/./etc/:/mnt' /srv/data:/mnt /srv/data/a/b:/mnt /srv/dataset:/mnt /srv/data/.git:/mnt /srv/www:/mnt /srv/all:/mnt; do
        with "      web-1: {address: 10.9.0.20, runtime: nspawn, nspawn: {binds: ['$path']}}" | refused 8 "may not bind '/" binds
    done
    assert_eq "$(seen)" "$before" "nothing that was refused has changed the host"
    # And what it does allow.
    with "      web-1: {address: 10.9.0.20, runtime: nspawn, state: stopped, ports: ['53:53/udp'], nspawn: {binds: ['/srv/data/a:/a', '/srv/www:/b:ro', '/srv/all/x/y:/c', '/srv//data/./b/:/d']}}" >berth.yaml
    exits 0 berth policy check --host homelab "$R/berth.yaml"
    # A source below what another container can write, and a flake that names another server.
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, state: stopped, nspawn: {binds: ["/srv/all/a:/a"]}}' \
        '      web-2: {address: 10.9.0.21, runtime: nspawn, state: stopped, nspawn: {binds: ["/srv/all/a/logs:/b:ro"]}}' | refused 9 'a directory that a container can write' binds
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, state: stopped, nspawn: {binds: ["/srv/all/a:/a"]}}' \
        '      web-2: {address: 10.9.0.21, runtime: nspawn, state: stopped, nspawn: {root: /srv/all/a/root}}' | refused 9 'a directory that a container can write' roots
    with '      web-1: {address: 10.9.0.20, runtime: nspawn, state: stopped, nspawn: {binds: ["/srv/all/a:/a"]}}' \
        '      web-2: {address: 10.9.0.21, runtime: nspawn, state: stopped, nspawn: {binds: ["/srv/all/a/logs:/b:ro"]}}' >berth.yaml
    exits 0 berth validate "$R/berth.yaml"
    assert_match "$stderr" "'/srv/all/a/logs' of container 'web-2' lies in a directory that a container can write"
    # A container that can write to /srv/data/a makes a link there; a pattern says nothing of where it leads.
    host_sh 'mkdir -p /srv/data/a /srv/roots; ln -s /etc /srv/data/link; ln -s / /srv/data/up; ln -s /srv /srv/all'
    for path in /srv/data/link:/mnt /srv/all/x:/mnt; do
        with "      web-1: {address: 10.9.0.20, runtime: nspawn, state: stopped, nspawn: {binds: ['$path']}}" | refused 8 "through a symbolic link" binds
    done
    host rm /srv/all
    # A file that root names is root's own choice.
    with '      evil: {address: 10.9.0.66, runtime: netns}' >berth.yaml
    exits 0 berth plan --host homelab "$R/berth.yaml"
}

@test "a flake that nix reads in another way than a pattern is refused, unless the policy has it word for word" {
    policy <<-'END'
	version: 1
	allow:
	  runtimes: [netns, nixos]
	  nat: [auto]
	  ports: [8080]
	  flakes: ['path:/srv/flakes/**', 'path:/srv/one/*', 'github:trusted/*', './**', '../beside', 'git+https://x.org/a%20b', 'git+file:///srv/r?dir=*']
	END
    # Without systemd the runtime is refused as well; whether the flake is, is what counts here.
    flake() {
        { good; printf '      web-1: {address: 10.9.0.20, nixos: {flake: "%s#web"}}\n' "$2"; } >berth.yaml
        host "$BERTH" policy check --host homelab "$R/berth.yaml" >"$BATS_TEST_TMPDIR/why" 2>&1 || true
        local refused=0
        grep -qF "may not come from the flake '$2'" "$BATS_TEST_TMPDIR/why" || refused=$?
        [[ $1 == allowed && $refused == 1 || $1 == refused && $refused == 0 ]] || fail "$2 should be $1: $(<"$BATS_TEST_TMPDIR/why")"
    }
    local text
    for text in path:/srv/flakes/a path:/srv/flakes/a/b.c/..d path:/srv/one/a..b github:trusted/x ./a ./a/b ../beside git+https://x.org/a%20b \
        'git+file:///srv/r?dir=a'; do
        flake allowed "$text"
    done
    for text in path:/srv/flakes/../../tmp/evil path:/srv/flakes/a/.. path:/srv/flakes/./a/../b path:/srv/flakes/%2e%2e%2fevil path:/srv/one/%2e%2e%2fevil \
        github:trusted/x%2fy ./a/../evil ./../evil ../beside/../evil git+https://x.org/a%20b/c 'git+file:///srv/r?dir=../x' 'git+file:///srv/r?dir=%2e%2e'; do
        flake refused "$text"
    done
    # nix runs a part of it while it evaluates.
    commit
    exits 4 berth validate --eval --git "$R" main:berth.yaml
    assert_match "$stderr" "main:berth.yaml:8:[0-9]+: .*may not come from the flake"
    exits 0 berth validate --git "$R" main:berth.yaml
}

@test "a push that the policy refuses is refused before anything is applied, and a new installation begins strict" {
    git clone -q --bare . ../infra.git
    git remote add origin ../infra.git
    host rm -f /etc/berth/policy.yaml
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply --host homelab
    assert_match "$output" 'policy +written: /etc/berth/policy.yaml'
    assert_eq "$(host stat -c '%u %a' /etc/berth/policy.yaml)" '0 644'
    git commit -q --allow-empty -m again
    exits 0 push
    exits 0 host test -e /run/netns/one
    echo "      evil: {address: 10.9.0.66, runtime: nspawn, nspawn: {binds: ['/etc:/mnt'], command: [/bin/sh, -c, 'echo own >/mnt/own']}}" >>berth.yaml
    commit
    exits 1 push
    assert_match "$stderr" "berth.yaml:8:[0-9]+: .*container 'evil' may not bind '/etc' for writing: 'binds' in /etc/berth/policy.yaml"
    exits 1 host test -e /etc/own
    git -C "$R" reset -q --hard HEAD~1
    sed -i 's/8080:80/22:22/' berth.yaml && commit
    exits 1 push
    assert_match "$stderr" 'may not take port 22/tcp'
    # The owner of the repository moves the branch behind the hook's back: the apply refuses.
    git -C ../infra.git fetch -q "$R" main:main -f
    exits 4 berth apply --host homelab --git "$BATS_TEST_TMPDIR/infra.git" main:berth.yaml
    # Installed again, root's own policy stays.
    host_sh 'echo "# mine" >>/etc/berth/policy.yaml'
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply --host homelab
    exits 0 host grep -q '^# mine' /etc/berth/policy.yaml
}

@test "without a policy a repository has all rights, and every run says so" {
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$stderr" 'warning: no policy limits what this repository may ask for'
    exits 0 berth apply --host homelab "$R/berth.yaml"
    refute_match "$stderr" 'policy'
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    assert_match "$stderr" "there is no policy"
    # The command of the warning works as it stands, and is not needed twice.
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    local line
    line=$(grep -o 'berth policy write.*' <<<"$stderr")
    exits 0 host sh -c "cd /root && $BERTH ${line#berth }"
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    refute_match "$stderr" 'policy'
    exits 4 host sh -c "cd /root && $BERTH ${line#berth }"
    assert_match "$stderr" 'there is a policy already'
    # One that cannot be made leaves nothing.
    host rm /etc/berth/policy.yaml
    exits 65 berth policy write --host homelab /dev/null
    exits 1 host test -e /etc/berth/policy.yaml
}

@test "what suggest prints allows the spec it was made from, and nothing beside" {
    cat >>berth.yaml <<-'END'
	      two:
	        address: 10.9.0.20
	        runtime: nspawn
	        state: stopped
	        ports: ['53:53/udp', '9000-9003:90-93']
	        nspawn: {root: /srv/it's, capabilities: [NET_RAW], private_users: none, binds: ['/srv/data:/data', '/etc/ssl:/ssl:ro']}
	      three: {address: 10.9.0.30, runtime: nixos, state: stopped, nixos: {flake: 'path:/srv/flake#x'}}
	END
    commit
    host rm -f /etc/berth/policy.yaml
    exits 0 berth policy suggest --host homelab "$R/berth.yaml"
    policy <<<"$output"
    exits 0 berth policy check --host homelab "$R/berth.yaml"
    sed -i 's,/srv/data:/data,/opt:/data,' berth.yaml
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    assert_eq "$(wc -l <<<"$output")" 2
    # A path that looks like a pattern allows that path alone.
    sed -i 's,/opt:/data,/opt/*:/data,' berth.yaml
    exits 0 berth policy suggest --host homelab "$R/berth.yaml"
    policy <<<"$output"
    exits 0 berth policy check --host homelab "$R/berth.yaml"
    sed -i 's,/opt/\*:/data,/opt/x:/data,' berth.yaml
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    # Nothing at all for a spec that asks for nothing.
    printf 'version: 1\nhosts: {homelab: {bridge: {address: 10.9.0.1/24}}}\n' >small.yaml
    exits 0 berth policy suggest --host homelab "$R/small.yaml"
    policy <<<"$output"
    exits 4 berth policy check --host homelab "$R/berth.yaml"
}

@test "a policy that others could have written, or that has a fault, allows nothing" {
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080]}}'
    exits 0 berth plan --host homelab --git "$R" main:berth.yaml
    host chmod 666 /etc/berth/policy.yaml
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$stderr" "cannot trust '/etc/berth/policy.yaml'"
    host chmod 644 /etc/berth/policy.yaml
    host chown 1000 /etc/berth/policy.yaml
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    host chown 0 /etc/berth/policy.yaml
    host_sh 'mv /etc/berth/policy.yaml /etc/berth/real; ln -s real /etc/berth/policy.yaml'
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    host rm /etc/berth/policy.yaml
    local text
    for text in '{version: 1, allow: {bind: [/srv]}}' '{version: 1}' '{allow: {}}' '{version: 2, allow: {}}' '{version: 1, allow: {ports: [0-70000]}}' \
        '{version: 1, allow: {ports_in_use: false}}' '{version: 1, allow: {subnets_in_use: [refuse]}}' \
        '{version: 1, allow: {capabilities: [ALL]}}' '{version: 1, allow: {binds: [srv]}}' 'version: 1' ''; do
        policy <<<"$text"
        exits 4 berth apply --host homelab --git "$R" main:berth.yaml
        assert_match "$stderr" 'the policy is not valid: /etc/berth/policy.yaml:'
    done
    exits 1 host test -e /run/netns/one
}

@test "a policy without none refuses a container that could have no user namespace on this host" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    # The host's own root is an overlay, which cannot map ids. The tmpfs can.
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv && mkdir -p /srv/data /mine/data'
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], binds: [/mine/data, /srv/data]}}'
    with_bind() {
        good >berth.yaml
        echo "      two: {address: 10.9.0.20, runtime: nspawn, nspawn: {binds: ['$1:/data']}}" >>berth.yaml
        commit
    }
    with_bind /mine/data
    local verb
    for verb in plan apply; do
        exits 4 berth "$verb" --host homelab --git "$R" main:berth.yaml
        assert_match "$stderr" "main:berth.yaml:8:[0-9]+: container 'two' would run without a user namespace: '/mine/data' is on a file system without idmapped mounts"
    done
    exits 1 host test -e /run/netns/two
    # A spec of root's own is no matter of the policy.
    exits 0 berth plan --host homelab "$R/berth.yaml"
    # With the tmpfs there is a user namespace, and none that is allowed is allowed.
    with_bind /srv/data
    exits 0 berth plan --host homelab --git "$R" main:berth.yaml
    with_bind /mine/data
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], binds: [/mine/data], private_users: [auto, none]}}'
    exits 0 berth plan --host homelab --git "$R" main:berth.yaml
    # The push is refused for it, too.
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], binds: [/mine/data]}}'
    git clone -q --bare "$R" "$BATS_TEST_TMPDIR/infra.git"
    git remote add origin "$BATS_TEST_TMPDIR/infra.git"
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply --host homelab
    commit again
    exits 1 push
    assert_match "$output$stderr" "container 'two' would run without a user namespace"
}

@test "a tree that was kept from another source needs its own path in roots, and is not deleted for a pusher" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    host_sh 'mkdir -p /var/lib/berth && mount -t tmpfs -o mode=755 tmpfs /var/lib/berth'
    host_sh 'mkdir -p /tmp/t.$$/bin /tmp/t.$$/usr /srv/own /srv/images && cp /bin/busybox /tmp/t.$$/bin/ && ln -s busybox /tmp/t.$$/bin/sleep &&
        tar -C /tmp/t.$$ -cf /srv/own/vault.tar . && cp /srv/own/vault.tar /srv/images/base.tar; rm -rf /tmp/t.$$'
    with_vault() { good; echo "      vault: {address: 10.9.0.20, runtime: nspawn, state: stopped$1, nspawn: {root: $2, command: [sleep, '9999']}}"; }
    local tree=/var/lib/berth/roots/vault text
    # Root's own container leaves its tree.
    with_vault '' /srv/own/vault.tar >"$BATS_TEST_TMPDIR/own.yaml"
    exits 0 berth apply --host homelab "$BATS_TEST_TMPDIR/own.yaml"
    host_sh "umask 077; echo secret >$tree/data"
    good >"$BATS_TEST_TMPDIR/own.yaml"
    exits 0 berth apply --host homelab "$BATS_TEST_TMPDIR/own.yaml"
    exits 0 host test -e "$tree/data"
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], private_users: [auto, none], roots: [host, /srv/images/*]}}'
    with_vault ', on_remove: destroy' /srv/images/base.tar >berth.yaml
    commit
    local verb
    for verb in plan apply; do
        exits 4 berth "$verb" --host homelab --git "$R" main:berth.yaml
        assert_match "$stderr" "main:berth.yaml:8:[0-9]+: container 'vault' may not have the kept tree '$tree', which was made from '/srv/own/vault.tar': 'roots' in /etc/berth/policy.yaml"
    done
    exits 1 host test -e /run/berth/c/vault
    assert_match "$(host_sh 'cat /var/lib/berth/roots/.vault.berth')" 'on_remove keep'
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    assert_match "$output" "add to \`roots\` in /etc/berth/policy.yaml: $tree"
    # Root's own spec may have it.
    exits 0 berth plan --host homelab "$R/berth.yaml"
    # Before the branch moves, too.
    git clone -q --bare "$R" "$BATS_TEST_TMPDIR/infra.git"
    git remote add origin "$BATS_TEST_TMPDIR/infra.git"
    git -C "$BATS_TEST_TMPDIR/infra.git" update-ref refs/heads/main HEAD~1
    exits 0 berth hook install --repo "$BATS_TEST_TMPDIR/infra.git" --apply --host homelab
    exits 1 push
    assert_match "$output$stderr" "container 'vault' may not have the kept tree"
    # Its path in roots allows it. The tree is still not deleted with the container.
    policy <<<"{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], private_users: [auto, none], roots: [host, /srv/images/*, $tree]}}"
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$output$stderr" 'stays when the container goes'
    exits 0 berth plan -e --host homelab --git "$R" main:berth.yaml
    good >berth.yaml && commit
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 host test -e "$tree/data"
    # A tree from the source that the spec names is the pusher's to delete.
    host_sh "rm -r $tree /var/lib/berth/roots/.vault.berth"
    with_vault ', on_remove: destroy' /srv/images/base.tar >berth.yaml && commit
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 host test -e "$tree/bin/busybox"
    good >berth.yaml && commit
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 1 host test -e "$tree"
}

@test "a bridge of the host needs its name in bridges, not a pattern; a router needs router" {
    host_sh 'ip link add br0 type bridge && ip link set br0 up && ip address add 192.168.1.2/24 dev br0'
    sed -i 's,name: b0,name: br0,; s,10.9.0.1/24,192.168.1.2/24,; s,10.9.0.10,192.168.1.51,' berth.yaml
    commit
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], bridges: ["*"], subnets_in_use: allow}}'
    local verb
    for verb in plan apply; do
        exits 4 berth "$verb" --host homelab --git "$R" main:berth.yaml
        assert_match "$stderr" "main:berth.yaml:[0-9]+:[0-9]+: the spec may not use bridge 'br0' of this host, which berth did not make: 'bridges' in /etc/berth/policy.yaml"
    done
    exits 1 host test -e /run/netns/one
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    assert_match "$output" 'add to `bridges` in /etc/berth/policy.yaml: br0'
    # Root's own spec may use it.
    exits 0 berth plan --host homelab "$R/berth.yaml"
    # A suggestion names it, and allows all the rest as well.
    exits 0 berth policy suggest --host homelab "$R/berth.yaml"
    policy <<<"$output"
    assert_match "$output" "- 'br0'"
    exits 0 berth policy check --host homelab "$R/berth.yaml"
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 berth plan -e --host homelab --git "$R" main:berth.yaml
    host_sh 'ip -j link show dev vb-one' | jq -e '.[0].master == "br0"'
    # A bridge of berth's own needs no name, also at the second apply.
    exits 0 berth destroy --yes
    good >berth.yaml && commit
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], bridges: ["*"]}}'
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    # router: true, and the gateway of another container.
    good | sed 's/ports:/router: true, ports:/' >berth.yaml && commit
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$stderr" "main:berth.yaml:7:[0-9]+: container 'one' may not be a router: 'router' in /etc/berth/policy.yaml"
    { good; echo '      two: {address: 10.9.0.20, runtime: netns, gateway: 10.9.0.10}'; } >berth.yaml && commit
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$stderr" "container 'one' may not be a router, and it is the gateway of another"
    exits 4 berth policy check --host homelab "$R/berth.yaml"
    assert_match "$output" 'set in /etc/berth/policy.yaml: router: true'
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], router: true}}'
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
}

@test "stop changes nothing of a container but that it runs" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv && mkdir /srv/secret'
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], private_users: [auto, none]}}'
    with() { good; echo "      two: {address: 10.9.0.20, runtime: nspawn$1}"; }
    with '' >berth.yaml && commit
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    local before
    settings() { host_sh 'cat /run/berth/c/two/unit; nft -s list table inet berth; cat /etc/hosts'; }
    before=$(settings)
    with ', ports: ["22:22"], nspawn: {binds: ["/srv/secret:/mnt"], capabilities: [SYS_ADMIN]}' | sed 's/10.9.0.10/10.9.0.30/' >berth.yaml && commit
    exits 4 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 berth stop two --host homelab --git "$R" -f main:berth.yaml
    assert_match "$output" 'run two'
    assert_eq "$(settings)" "$before"
    exits 1 berth run two -- true
    assert_match "$stderr" "container 'two' is not running"
    exits 0 berth stop one --host homelab --git "$R" -f main:berth.yaml
    exits 1 host test -e /run/netns/one
    exits 4 berth start two --host homelab --git "$R" -f main:berth.yaml
}

@test "backup and restore ask the policy, too; so do settings of systemd-nspawn that the host has for that name" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv && mkdir -p /srv/a/usr/bin /srv/a/usr/lib /srv/a/etc /srv/vault/usr/bin /srv/vault/usr/lib /srv/vault/etc
        for r in a vault; do cp "$(command -v busybox)" /srv/$r/usr/bin/sleep; ln -s usr/bin /srv/$r/bin; echo root:x:0:0::/root:/bin/sh >/srv/$r/etc/passwd; done
        echo precious >/srv/vault/file'
    policy <<<'{version: 1, allow: {nat: [auto], ports: [8080], runtimes: [netns, nspawn], roots: [host, /srv/a], private_users: [auto, none]}}'
    with() { good; echo "      two: {address: 10.9.0.20, nspawn: {root: $1, command: [/bin/sleep, '9999']}}"; }
    with /srv/a >berth.yaml && commit
    exits 0 berth apply --host homelab --git "$R" main:berth.yaml
    exits 0 berth backup two "$BATS_TEST_TMPDIR/two.bk" --host homelab --git "$R" -f main:berth.yaml
    exits 0 berth stop two --host homelab --git "$R" -f main:berth.yaml
    with /srv/vault >berth.yaml && commit
    exits 4 berth backup two "$BATS_TEST_TMPDIR/vault.bk" --host homelab --git "$R" -f main:berth.yaml
    assert_match "$stderr" "root '/srv/vault'"
    [[ ! -e $BATS_TEST_TMPDIR/vault.bk ]] || fail "a backup of what the policy refuses was made"
    exits 4 berth restore "$BATS_TEST_TMPDIR/two.bk" --force --host homelab --git "$R" -f main:berth.yaml
    assert_match "$stderr" "root '/srv/vault'"
    assert_eq "$(host cat /srv/vault/file)" precious
    # What root says by a file is root's own choice.
    exits 0 berth backup two "$BATS_TEST_TMPDIR/vault.bk" --host homelab -f "$R/berth.yaml"
    with /srv/a >berth.yaml && commit
    exits 0 berth start two --host homelab --git "$R" -f main:berth.yaml
    # Capabilities that no policy has seen.
    host_sh 'mkdir -p /etc/systemd/nspawn; printf "[Exec]\nCapability=CAP_SYS_MODULE\n" >/etc/systemd/nspawn/three.nspawn'
    { with /srv/a; echo '      three: {address: 10.9.0.30, state: stopped, runtime: nspawn, nspawn: {root: host}}'; } >berth.yaml && commit
    exits 69 berth apply --host homelab --git "$R" main:berth.yaml
    assert_match "$stderr" "three .*/etc/systemd/nspawn/NAME.nspawn of this host would change it"
}
