#!/usr/bin/env bats
# What this host has in use, and a spec out of a repository may not take: ports, subnets, user namespaces.
load ../lab/lib

setup() {
    need_berth
    lab_up --inet
    unset "${!GIT_@}" "${!BERTH_GIT@}" XDG_CONFIG_HOME SSH_CONNECTION SSH_CLIENT
    T=$BATS_TEST_TMPDIR
    export HOME=$T/home GIT_AUTHOR_NAME=Ann GIT_AUTHOR_EMAIL=ann@example.org GIT_COMMITTER_NAME=Ann GIT_COMMITTER_EMAIL=ann@example.org
    mkdir "$HOME"
    R=$T/w
    git init -q -b main "$R"
    cd "$R"
    host mkdir -p /etc/berth
    POLICY='{version: 1, allow: {nat: [auto], ports: [1-65535]}}'
    policy <<<"$POLICY"
}
teardown() { lab_down; }

# spec_of ADDRESS [PORTS]: one bridge, one container.
spec_of() {
    cat <<-END
	version: 1
	hosts:
	  homelab:
	    bridge: {name: b0, address: $1}
	    nat: {interface: auto}
	    containers:
	      one: {address: ${1%.*}.10, runtime: netns, ports: [${2-}]}
	END
}
policy() { host_sh 'cat >/etc/berth/policy.yaml'; }
commit() { spec_of "$@" >berth.yaml; git add berth.yaml; git commit -q --allow-empty -m change; }
from_git() { exits "$1" berth apply --git "$R" "${@:2}" main:berth.yaml; }
# As berth.service runs it for the timer.
timer() { exits "$1" host env -i "BERTH_GIT=$R" BERTH_SPEC=main:berth.yaml "$BERTH" apply --quiet; }
# serves PROGRAM ADDRESS: a program of that name on the host, which says `PROGRAM speaks`.
serves() {
    host cp /usr/bin/socat "/usr/local/bin/$1"
    host "/usr/local/bin/$1" "$2" SYSTEM:"echo $1 speaks" >/dev/null 2>&1 3>&- {LAB_LIFE}>&- &
}
says() { inet socat -T2 - "TCP:203.0.113.2:$1,connect-timeout=2" </dev/null 2>/dev/null; }
is_mapped() { host nft get element inet berth any4 "{ $1 . $2 }" >/dev/null 2>&1; }
# What a reboot leaves: files alone.
reboot() {
    host_sh 'nft delete table inet berth; nft delete table bridge berth; ip link del b0; ip -all netns delete; rm -rf /run/berth'
}

@test "a spec out of git takes no port that a program listens on: by hand, in a timer; from a file it does" {
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    serves dnsd UDP4-RECVFROM:5353,fork
    wait_for listening host tcp 8080
    wait_for listening host udp 5353
    commit 10.9.0.1/24 '8000:80, 8080:80, 5353:53/udp'
    from_git 4
    assert_match "$stderr" "main:berth.yaml:7:[0-9]+: container 'one' may not take port 8080/tcp of this host: httpd \(pid [0-9]+\) listens on it: 'ports_in_use' in /etc/berth/policy.yaml does not allow it"
    assert_match "$stderr" "port 5353/udp of this host: dnsd .*'ports_in_use'"
    refute_match "$stderr" 'port 8000'
    # The place is the second map's own.
    local before
    before=$(grep -o '.*8000:80, ' berth.yaml)
    assert_match "$stderr" "main:berth.yaml:7:$((${#before} + 1)): container 'one' may not take port 8080/tcp"
    timer 4
    assert_match "$stderr" "'ports_in_use' in /etc/berth/policy.yaml"
    exits 4 berth plan --git "$R" main:berth.yaml
    git add berth.yaml
    exits 4 host sh -c 'cd "$1" && exec "$2" plan :berth.yaml' sh "$R" "$BERTH"
    exits 1 host test -e /run/netns/one
    assert_eq "$(says 8080)" 'httpd speaks'
    # What is not in use may be mapped.
    commit 10.9.0.1/24 8000:80
    from_git 0
    is_mapped tcp 8000
    # A new map beside it is judged alone.
    commit 10.9.0.1/24 '8000:80, 8080:80'
    from_git 4
    assert_eq "$(grep -c ports_in_use <<<"${stderr%%root allows*}")" 1
    assert_eq "$(says 8080)" 'httpd speaks'
    # The operator's own file takes the port, with a warning; then git asks for nothing new.
    exits 0 berth apply "$R/berth.yaml"
    assert_match "$output$stderr" 'httpd \(pid [0-9]+\) listens on it'
    is_mapped tcp 8080
    from_git 0
    timer 0
}

@test "what berth has set stays: after a second apply, drift by hand, a reboot; not after a destroy" {
    commit 10.9.0.1/24 8080:80
    from_git 0
    # The program came later.
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    wait_for listening host tcp 8080
    from_git 0
    exits 0 berth plan -e --git "$R" main:berth.yaml
    host nft delete table inet berth
    assert_eq "$(says 8080)" 'httpd speaks'
    from_git 0
    is_mapped tcp 8080
    reboot
    timer 0
    is_mapped tcp 8080
    # Another commit keeps the map, too.
    commit 10.9.0.1/24 '8080:80, 8090:80'
    from_git 0
    reboot
    from_git 0
    is_mapped tcp 8080
    # Without the map nothing is kept for it.
    commit 10.9.0.1/24 8090:80
    from_git 0
    assert_eq "$(says 8080)" 'httpd speaks'
    commit 10.9.0.1/24 '8080:80, 8090:80'
    from_git 4
    exits 0 berth apply "$R/berth.yaml"
    exits 0 berth destroy --yes "$R/berth.yaml"
    exits 1 host test -e /var/lib/berth
    from_git 4
    # A policy can allow it, and the plan warns as it does for the operator.
    policy <<<"${POLICY/ports:/ports_in_use: allow, ports:}"
    from_git 0
    assert_match "$output$stderr" 'httpd \(pid [0-9]+\) listens on it'
    is_mapped tcp 8080
}

@test "a map of one address leaves the others to their programs, and an upgrade writes down what the kernel holds" {
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr,bind=127.0.0.1
    wait_for listening host tcp 8080
    commit 10.9.0.1/24 203.0.113.2:8080:80
    from_git 0
    host rm /var/lib/berth/claims
    commit 10.9.0.1/24 0.0.0.0:8080:80
    from_git 4
    commit 10.9.0.1/24 203.0.113.2:8080:80
    from_git 0
    exits 0 host cat /var/lib/berth/claims
    assert_eq "$output" $'subnet b0 10.9.0.1/24\nport tcp 203.0.113.2 8080-8080'
    assert_eq "$(host stat -c %a /var/lib/berth/claims)" 600
}

@test "a spec out of git covers no route, gateway or nameserver of the host; from a file it does, with a warning" {
    inet ip addr add 10.20.5.9/32 dev lo
    inet ip addr add 10.53.0.53/32 dev lo
    host ip route add 10.20.0.0/16 via 203.0.113.1
    host_sh 'echo nameserver 10.53.0.53 >/etc/resolv.conf'
    pings host 10.20.5.9
    local address
    for address in 10.20.5.1/24 10.20.0.1/16 10.16.0.1/12 10.53.0.1/24; do
        commit "$address"
        from_git 4
        assert_match "$stderr" "main:berth.yaml:4:[0-9]+: .*address $address.*'subnets_in_use' in /etc/berth/policy.yaml does not allow it"
        timer 4
        pings host 10.20.5.9
        pings host 10.53.0.53
        exits 0 berth plan "$R/berth.yaml"
        assert_match "$output" "bridge b0: .*address $address"
    done
    exits 1 host ip link show b0
    # What the operator has set stays, after drift and a reboot.
    commit 10.20.5.1/24
    exits 0 berth apply "$R/berth.yaml"
    from_git 0
    host ip addr del 10.20.5.1/24 dev b0
    pings host 10.20.5.9
    timer 0
    exits 0 host ip -j addr show b0
    json '[.[].addr_info[] | select(.local == "10.20.5.1" and .prefixlen == 24)] | length == 1'
    reboot
    from_git 0
    # Another prefix is another subnet.
    commit 10.20.5.1/23
    from_git 4
    assert_match "$stderr" "'subnets_in_use'"
    policy <<<"${POLICY/ports:/subnets_in_use: allow, ports:}"
    from_git 0
    assert_match "$output$stderr" 'address 10.20.5.1/23 takes over a part of the route to'
}

@test "--allow-own-connection does not speak for the policy" {
    policy <<<"${POLICY/ports:/subnets: [203.0.113.0/24], ports:}"
    commit 203.0.113.126/25
    from_git 4
    assert_match "$stderr" 'covers gateway 203.0.113.1 of the default route'
    from_git 4 --allow-own-connection
    assert_match "$stderr" "covers gateway 203.0.113.1 .*'subnets_in_use' in /etc/berth/policy.yaml"
    pings host 203.0.113.1
    exits 4 berth policy check "$R/berth.yaml"
    assert_match "$output" 'covers gateway 203.0.113.1'
    exits 0 berth apply --allow-own-connection "$R/berth.yaml"
}

@test "a push is refused before the branch moves, and one that went past the hook at its apply" {
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    wait_for listening host tcp 8080
    host ip route add 10.20.0.0/16 via 203.0.113.1
    commit 10.9.0.1/24
    git clone -q --bare . "$T/infra.git"
    git remote add origin "$T/infra.git"
    host rm /etc/berth/policy.yaml
    exits 0 berth hook install --repo "$T/infra.git" --apply
    exits 0 host grep -c 'in_use: refuse' /etc/berth/policy.yaml
    assert_eq "$output" 2
    exits 0 berth policy check "$R/berth.yaml"
    push() { exits "$1" host env "HOME=$HOME" sh -c 'cd "$1" && exec git push origin main' sh "$R"; }
    tip() { git --git-dir="$T/infra.git" rev-parse main; }
    commit 10.9.0.1/24 8000:80
    push 0
    local was
    was=$(tip)
    commit 10.9.0.1/24 '8000:80, 8080:80'
    push 1
    assert_match "$stderr" 'Refused on this host:'
    assert_match "$stderr" "berth.yaml:7:[0-9]+: container 'one' may not take port 8080/tcp of this host: httpd \(pid [0-9]+\) listens on it: 'ports_in_use' in /etc/berth/policy.yaml"
    assert_match "$stderr" 'the push is refused; nothing was changed'
    assert_eq "$(tip)" "$was"
    commit 10.20.5.1/24
    push 1
    assert_match "$stderr" "'subnets_in_use' in /etc/berth/policy.yaml"
    assert_eq "$(tip)" "$was"
    # Somebody has taken the first hook away.
    mv "$T/infra.git/hooks/pre-receive" "$T/pre-receive"
    commit 10.9.0.1/24 '8000:80, 8080:80'
    push 0
    assert_match "$stderr" "remote: .*'ports_in_use' in /etc/berth/policy.yaml does not allow it"
    assert_eq "$(says 8080)" 'httpd speaks'
    # Root takes the port; the same commit and later ones may stay.
    mv "$T/pre-receive" "$T/infra.git/hooks/pre-receive"
    exits 0 berth apply "$R/berth.yaml"
    git commit -q --allow-empty -m again
    push 0
    commit 10.9.0.1/24 '8000:80, 8001:80, 8080:80'
    push 0
    assert_match "$stderr" 'remote: Applied'
    is_mapped tcp 8001
}

@test "a pusher without root is refused a port in use, too" {
    for_others
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    wait_for listening host tcp 8080
    commit 10.9.0.1/24
    git clone -q --bare . "$T/infra.git"
    git remote add origin "$T/infra.git"
    chown -R 65534:65534 "$T/w" "$T/infra.git" "$HOME"
    git() { setpriv --reuid 65534 --regid 65534 --clear-groups git "$@"; }
    exits 0 berth hook install --repo "$T/infra.git" --git-owner 65534 --apply
    push() { exits "$1" host env "HOME=$HOME" setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'cd "$1" && exec git push origin main' sh "$R"; }
    commit 10.9.0.1/24 8080:80
    push 1
    assert_match "$stderr" "container 'one' may not take port 8080/tcp of this host: a program listens on it: 'ports_in_use'"
    commit 10.9.0.1/24 8081:80
    push 0
}

@test "policy check and suggest look at this host: ports, subnets, user namespaces; elsewhere they say that they did not" {
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    # The host's own root is an overlay, which cannot map ids. The tmpfs can.
    host_sh 'mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv && mkdir -p /srv/data /srv/root/usr /srv/root4/usr /mine/data /mine/root/usr'
    serves httpd TCP4-LISTEN:8080,fork,reuseaddr
    wait_for listening host tcp 8080
    host ip route add 10.20.0.0/16 via 203.0.113.1
    local more="binds: [/mine/data, /srv/data], roots: ['/*/root*', host], ports:"
    policy <<<"${POLICY/ports:/$more}"
    commit 10.20.5.1/24 '8000:80, 8080:80'
    echo "      two: {address: 10.20.5.20, runtime: nspawn, nspawn: {root: /srv/root, binds: ['/mine/data:/data']}}" >>berth.yaml
    echo "      three: {address: 10.20.5.30, runtime: nspawn, nspawn: {root: /mine/root}}" >>berth.yaml
    echo "      four: {address: 10.20.5.40, runtime: nspawn, nspawn: {root: /srv/root4, binds: ['/srv/data:/data']}}" >>berth.yaml
    git commit -qam more
    local spec before
    before=$(host_sh 'ls -R /run /var/lib/berth /etc/berth; ip -o link; nft list ruleset' 2>&1)
    for spec in "$R/berth.yaml" "--git $R main:berth.yaml"; do
        # shellcheck disable=SC2086
        exits 4 berth policy check $spec
        assert_match "$output" "berth.yaml:7:[0-9]+: container 'one' may not take port 8080/tcp of this host: httpd"
        assert_match "$output" 'set in /etc/berth/policy.yaml: ports_in_use: allow'
        assert_match "$output" "berth.yaml:4:[0-9]+: address 10.20.5.1/24 takes over a part of the route"
        assert_match "$output" 'subnets_in_use: allow'
        assert_match "$output" "berth.yaml:8:[0-9]+: container 'two' would run without a user namespace: '/mine/data' is on a file system without idmapped mounts"
        assert_match "$output" "add to .private_users. in /etc/berth/policy.yaml: none"
        assert_match "$output" "berth.yaml:9:[0-9]+: container 'three' would run without a user namespace: '/mine/root' is on"
        refute_match "$output" "'four'"
        refute_match "$stderr" 'not looked at'
    done
    assert_eq "$(host_sh 'ls -R /run /var/lib/berth /etc/berth; ip -o link; nft list ruleset' 2>&1)" "$before" "nothing is changed by a look"
    exits 0 berth policy suggest "$R/berth.yaml"
    assert_match "$output" $'\n  ports_in_use: allow\n'
    assert_match "$output" $'\n  subnets_in_use: allow'
    assert_match "$output" $'\n  private_users:\n    - \'auto\'\n    - \'none\'\n'
    assert_match "$output" '# ports_in_use: .*httpd'
    policy <<<"$output"
    exits 0 berth policy check "$R/berth.yaml"
    exits 0 berth plan --git "$R" main:berth.yaml
    # A spec that takes nothing needs neither key.
    commit 10.9.0.1/24 8000:80
    exits 0 berth policy suggest "$R/berth.yaml"
    refute_match "$output" 'in_use|none|#'
    # Another host, or a user without root.
    sed -i '$ a\  other: {bridge: {address: 10.20.5.1/24}, containers: {x: {address: 10.20.5.2, ports: [8080:80]}}}' berth.yaml
    policy <<<"$POLICY"
    exits 0 berth policy check --host other "$R/berth.yaml"
    assert_match "$stderr" "not looked at: ports and subnets that the host uses, .*'other' is not this machine"
    exits 0 berth policy suggest --host other "$R/berth.yaml"
    assert_match "$output" "# not looked at: .*'other' is not this machine"
    refute_match "$output" 'in_use'
    for_others
    exits 0 host setpriv --reuid 65534 --regid 65534 --clear-groups "$BERTH" policy check "$R/berth.yaml"
    assert_match "$stderr" 'not looked at: .*needs root'
}
