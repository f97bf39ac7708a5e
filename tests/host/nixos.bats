#!/usr/bin/env bats
# NixOS containers on a host with systemd, real nix and real systemd-nspawn; container@.service and the systems are stand-ins.
load ../lab/lib

NAME=n${BATS_SUITE_TEST_NUMBER:-1}x$$
BUILD=${BERTH%/cmd/berth}
on() { "$LAB/host" exec "$NAME" "$@"; }
flake() { on sh -c "cat >/srv/flake/$1"; }

# The spec of two; `address` of the first, and what else is to stand with the host.
spec_of() { flake berth.json <<<'{"version": 1, "hosts": {"localhost": {"bridge": {"name": "br-containers", "address": "10.100.0.1/24"}, "nat": {"interface": "auto"},
    "containers": {"container1": {"address": "'"${1:-10.100.0.10}"'", "runtime": "nixos", "nixos": {"flake": "./."}},
                   "container2": {"address": "10.100.0.20", "runtime": "nixos", "nixos": {"flake": "./."}'"${2-}"'}'"${3-}"'}}}}'; }
leader() { on machinectl show "$1" -p Leader --value; }
profile() { on readlink -f "/nix/var/nix/profiles/per-container/$1/system"; }

setup() {
    need_berth
    command -v cmake >/dev/null || skip "no cmake to install with"
    [[ -f $BUILD/cmake_install.cmake ]] || skip "$BERTH is not in a build folder"
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet --install "$BUILD" >&2
    on sh -c 'mkdir -p /opt/nixos /srv/flake /etc/nix; cp "$1"/pre "$1"/start "$1"/init "$1"/reload /bin/busybox /opt/nixos/
        cp "$1"/container@.service /etc/systemd/system/; cp "$1"/flake.nix /srv/flake/; printf one >/srv/flake/stamp
        printf "experimental-features = nix-command flakes\nsandbox = false\nbuild-users-group =\nsubstituters =\n" >/etc/nix/nix.conf; systemctl daemon-reload' sh "$LAB/nixos" >&2
    spec_of
}
# Every call of nix is noted, in /run/nix.log, until the test ends.
count_nix() {
    # With a level alone it is nix that calls itself, by another name: no call of ours.
    on sh -c 'mkdir -p /opt/real && cd /usr/bin && mv nix nix-store nix-env nix-instantiate /opt/real/ && for p in nix nix-store nix-env nix-instantiate; do
        printf "#!/bin/bash\n[[ \$1 =~ ^[0-9]+$ ]] && exec -a build-remote /opt/real/nix \"\$@\"\necho %s \"\$*\" >>/run/nix.log\nexec /opt/real/%s \"\$@\"\n" $p $p >$p
        chmod 755 $p; done'
}
nix_calls() { on sh -c 'cat /run/nix.log 2>/dev/null; rm -f /run/nix.log'; }
teardown() { "$LAB/host" down "$NAME"; }
S=/srv/flake/berth.json

@test "two from a flake: made, named, reached, in sync; each change goes its lightest way" {
    exits 0 on berth apply $S
    exits 0 on berth plan -e $S
    assert_match "$output" 'Nothing to do'
    exits 0 on systemctl is-active container@container1
    assert_eq "$(on sh -c 'grep -v LOCAL_MAC /etc/nixos-containers/container1.conf')" "$(printf '%s\n' \
        '# Made by berth; what is changed in here is changed back.' PRIVATE_NETWORK=1 HOST_BRIDGE=br-containers HOST_PORT= HOST_ADDRESS=10.100.0.1 \
        LOCAL_ADDRESS=10.100.0.10/24 AUTO_START=1 FLAKE=/var/lib/berth/nixos/.flake-container1)"
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    exits 0 on berth run container1 -- ping -c1 -W2 198.51.100.1
    exits 3 on berth run container1 -- sh -c 'exit 3'
    assert_match "$(on berth list -f $S)" 'container1 +nixos +running'
    # What a bare `nixos-container update` builds is this very system.
    assert_eq "$(on nix build -o /tmp/update "/var/lib/berth/nixos/.flake-container1#nixosConfigurations.\"container\".config.system.build.toplevel" 2>/dev/null; on readlink /tmp/update)" "$(profile container1)"

    # The system alone: reloaded, the same process.
    local first second before
    first=$(leader container1) before=$(profile container1)
    flake stamp <<<two
    exits 2 on berth plan -e $S
    assert_match "$output" '~ run container1 +system in force differs'
    assert_match "$output" 'reload'
    exits 0 on berth apply $S
    assert_eq "$(leader container1)" "$first"
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" two
    [[ $(profile container1) != "$before" ]] || fail "the profile did not move"
    assert_eq "$(on sh -c 'ls /nix/var/nix/profiles/per-container/container1 | grep -c system-')" 2
    exits 0 on berth plan -e $S

    # An address: restarted, the other one is left alone.
    second=$(leader container2)
    spec_of 10.100.0.11
    flake stamp <<<two
    exits 0 on berth apply $S
    [[ $(leader container1) != "$first" ]] || fail "it was not restarted"
    exits 0 on berth run container1 -- ping -c1 -W2 10.100.0.20
    assert_match "$(on berth run container1 -- ip -4 addr show dev eth0)" '10.100.0.11/24'

    # Stopped and started by the spec, and by hand. A stop applies nothing else of the spec.
    local conf
    conf=$(on cat /etc/nixos-containers/container1.conf)
    spec_of 10.100.0.13
    exits 0 on berth stop container1 -f $S
    assert_eq "$(on cat /etc/nixos-containers/container1.conf)" "$conf"
    exits 3 on systemctl is-active --quiet container@container1
    spec_of 10.100.0.11
    exits 0 on berth apply $S
    assert_eq "$(on systemctl is-active container@container1 || :)" inactive
    exits 0 on berth start container1 -f $S
    exits 0 on systemctl is-active container@container1
    exits 0 on berth plan -e $S

    # Gone from the spec: conf and profile go, its files stay.
    local less
    less=$(on cat $S | jq 'del(.hosts.localhost.containers.container2)')
    flake berth.json <<<"$less"
    exits 0 on berth apply $S
    exits 1 on test -e /etc/nixos-containers/container2.conf
    exits 1 on test -e /nix/var/nix/profiles/per-container/container2
    exits 0 on test -d /var/lib/nixos-containers/container2/etc
    exits 0 on berth destroy --yes $S
    assert_eq "$(on sh -c 'machinectl list --no-legend; ls /etc/nixos-containers /var/lib/berth 2>/dev/null')" ""
    exits 1 on ip link show br-containers
    # With all that berth made: the directory, too. One that was there before stays, empty as it was.
    exits 1 on test -e /etc/nixos-containers
    on mkdir -m 700 /etc/nixos-containers
    exits 0 on berth apply $S
    exits 0 on berth destroy --yes $S
    assert_eq "$(on sh -c 'stat -c %a /etc/nixos-containers; ls -A /etc/nixos-containers')" 700
}

@test "what breaks by hand is seen, and mended" {
    exits 0 on berth apply $S
    local first second
    mends() { exits 2 on berth plan -e --no-eval $S; assert_match "$output" "$1"; exits 0 on berth apply --no-eval $S; exits 0 on berth plan -e --no-eval $S; }
    first=$(leader container1) second=$(leader container2)
    # Nobody inside notices these.
    on sed -i 's/AUTO_START=1/AUTO_START=0/' /etc/nixos-containers/container1.conf
    mends '~ unit container1'
    on sh -c ': >/etc/nixos-containers/container1.conf'
    mends '~ unit container1'
    on rm /etc/nixos-containers/container2.conf
    mends '\+ unit container2'
    on ip link set vb-container1 nomaster
    mends '~ run container1 +master differs'
    on rm /nix/var/nix/profiles/per-container/container1/system
    mends '~ root container1 +system differs'
    on ip link del br-containers
    mends '\+ bridge br-containers'
    assert_eq "$(leader container1) $(leader container2)" "$first $second" "nothing was restarted"
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    # These need a restart, of that one alone.
    on sh -c 'kill -9 $(machinectl show container1 -p Leader --value); timeout 10 sh -c "while systemctl is-active -q container@container1; do sleep 0.05; done"; systemctl stop container@container1'
    mends '\+ run container1'
    on berth run container1 -- ip addr flush dev eth0
    mends '~ run container1 +address in force differs'
    assert_eq "$(leader container2)" "$second"
    # Settings that only the process shows.
    on sh -c 'echo EXTRA_NSPAWN_FLAGS=--setenv=X=1 >>/etc/nixos-containers/container1.conf; systemctl restart container@container1'
    mends '~ run container1 +settings in force differ'
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    # The flake that the conf names.
    on sh -c 'echo "{ }" >/var/lib/berth/nixos/.flake-container1/flake.nix'
    mends '~ unit container1 +flake differs'
    exits 0 on grep -q nixosConfigurations.container /var/lib/berth/nixos/.flake-container1/flake.nix
    on rm -r /var/lib/berth
    mends '~ unit container2 +flake differs'
    exits 0 on grep -q nixosConfigurations.container /var/lib/berth/nixos/.flake-container1/flake.nix
}

@test "a build that fails changes nothing; two applies at once; a reboot" {
    flake stamp < <(printf broken)
    on "$LAB/fingerprint" >"$BATS_TEST_TMPDIR/before"
    exits 1 on berth apply $S
    assert_match "$stderr" 'cannot build container container[12]: .*this system does not build|builder for .* failed'
    assert_match "$stderr" 'berth.json:[0-9]+:'
    on "$LAB/fingerprint" | diff "$BATS_TEST_TMPDIR/before" - >&2 || fail "something was changed"
    assert_eq "$(on sh -c 'ls /etc/nixos-containers 2>/dev/null')" ""
    flake stamp <<<one
    on sh -c "berth apply $S & berth apply $S; wait" >&2
    exits 0 on berth plan -e $S
    on sh -c "mkdir -p /etc/berth; echo BERTH_SPEC=$S >/etc/berth/berth.env; systemctl enable berth.service" >&2
    "$LAB/host" reboot "$NAME" >&2
    on timeout 90 sh -c 'until [ "$(systemctl show berth.service -p ExecMainExitTimestampMonotonic --value)" != 0 ]; do sleep 0.05; done'
    assert_eq "$(on systemctl show berth.service -p Result --value)" success
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    exits 0 on berth plan -e $S
}

@test "made by hand, and taken over without a restart where nothing in force changes; declarative ones never" {
    # The manual page's way: a bridge of the host's configuration, a conf of three lines, the profile set.
    on sh -c 'ip link add br-containers type bridge; ip address add 10.100.0.1/24 dev br-containers; ip link set br-containers up
        mkdir -p /etc/nixos-containers /nix/var/nix/profiles/per-container/container1
        printf "PRIVATE_NETWORK=yes\nHOST_BRIDGE=br-containers\nHOST_ADDRESS=10.100.0.1\nLOCAL_ADDRESS=10.100.0.10/24\n" >/etc/nixos-containers/container1.conf
        cd /srv/flake && nix build -o /tmp/one ".#nixosConfigurations.\"container1\".config.system.build.toplevel" && nix-env -p /nix/var/nix/profiles/per-container/container1/system --set $(readlink /tmp/one)
        systemctl start container@container1
        # The other one as the page has it to the letter: no gateway.
        mkdir -p /nix/var/nix/profiles/per-container/container2
        printf "PRIVATE_NETWORK=yes\nHOST_BRIDGE=br-containers\nLOCAL_ADDRESS=10.100.0.20/24\n" >/etc/nixos-containers/container2.conf
        nix build -o /tmp/two ".#nixosConfigurations.\"container2\".config.system.build.toplevel" && nix-env -p /nix/var/nix/profiles/per-container/container2/system --set $(readlink /tmp/two)
        systemctl start container@container2' >&2
    local first second mac
    mac() { on cat /sys/class/net/br-containers/address; }
    first=$(leader container1) second=$(leader container2) mac=$(mac)
    exits 4 on berth apply $S
    assert_match "$output$stderr" 'unit container1'
    assert_eq "$(mac)" "$mac"
    exits 0 on berth plan --adopt $S
    assert_match "$output" 'run container2 .*restart|run container2 +(address|settings) in force differ'
    refute_match "$output" 'run container1 .*restart'
    exits 0 on berth apply --adopt $S
    assert_eq "$(leader container1)" "$first" "it was restarted"
    [[ $(leader container2) != "$second" ]] || fail "its gateway cannot be in force"
    assert_match "$(on berth run container2 -- ip route)" 'default via 10.100.0.1'
    exits 0 on berth plan -e $S
    exits 0 on berth run container2 -- ping -c1 -W2 container1
    # A store link in place of a conf.
    on sh -c 'echo X=1 >/opt/declared.conf; ln -s /opt/declared.conf /etc/nixos-containers/declared.conf'
    spec_of 10.100.0.10 '' ', "declared": {"address": "10.100.0.30", "runtime": "nixos", "nixos": {"flake": "./."}}'
    exits 4 on berth apply --adopt $S
    assert_match "$output$stderr" 'it is a declarative container'
    assert_eq "$(on readlink /etc/nixos-containers/declared.conf)" /opt/declared.conf
    exits 0 on berth destroy --yes
    exits 0 on test -L /etc/nixos-containers/declared.conf
    # The bridge is its owner's again.
    assert_eq "$(mac)" "$mac"
}

@test "whose a container is stands in its conf, never in a record of ours" {
    local first second less before
    spec_of 10.100.0.10 ', "on_remove": "destroy"'
    exits 0 on berth apply $S
    less=$(on cat $S | jq 'del(.hosts.localhost.containers.container2)')
    first=$(leader container1) second=$(leader container2) before=$(profile container2)
    # Written again by hand: somebody's own, whatever was recorded of it.
    on sed -i 1d /etc/nixos-containers/container2.conf
    exits 4 on berth apply $S
    assert_match "$output$stderr" 'unit container2: a container of that name is here already, and berth did not make it'
    refute_match "$output$stderr" '(root|run) container2'
    exits 4 on berth stop container2 -f $S
    flake berth.json <<<"$less"
    exits 0 on berth apply $S
    assert_eq "$(profile container2) $(leader container2)" "$before $second"
    exits 0 on test -d /var/lib/nixos-containers/container2/etc
    # Made by the host's configuration since.
    on sh -c 'cd /etc/nixos-containers; mv container2.conf /opt/declared.conf; ln -s /opt/declared.conf container2.conf'
    on sh -c 'printf "source x\npath x\non_remove destroy\n" >/var/lib/berth/nixos/container2'
    exits 0 on berth plan -e $S
    exits 4 on berth destroy --yes --files $S
    assert_match "$stderr" 'vb-container2 is a port of it, and berth did not put it there'
    on ip link set vb-container2 nomaster
    exits 0 on berth destroy --yes --files $S
    assert_eq "$(profile container2) $(leader container2)" "$before $second"
    exits 0 on test -d /var/lib/nixos-containers/container2/etc
    exits 0 on test -L /etc/nixos-containers/container2.conf
    exits 1 on test -e /etc/nixos-containers/container1.conf
    # Half gone: only then the record is heard.
    on sh -c 'systemctl stop container@container2; rm /etc/nixos-containers/container2.conf; mkdir -p /var/lib/berth/nixos
        printf "source x\npath x\non_remove destroy\n" >/var/lib/berth/nixos/container2'
    exits 0 on berth destroy --yes $S
    exits 1 on test -e /nix/var/nix/profiles/per-container/container2
    exits 1 on test -e /var/lib/nixos-containers/container2
}

@test "a takeover that fails is undone: conf, profile and process are the owner's again" {
    on sh -c 'mkdir -p /etc/nixos-containers /nix/var/nix/profiles/per-container/container1
        printf "PRIVATE_NETWORK=yes\nHOST_BRIDGE=br-containers\nHOST_ADDRESS=10.100.0.1\nLOCAL_ADDRESS=10.100.0.10/24\n" | tee /opt/before >/etc/nixos-containers/container1.conf
        cd /srv/flake && nix build -o /tmp/one ".#nixosConfigurations.\"container1\".config.system.build.toplevel" && nix-env -p /nix/var/nix/profiles/per-container/container1/system --set $(readlink /tmp/one)' >&2
    local before
    before=$(profile container1)
    flake stamp <<<two
    # Between its system and its unit: a directory in the conf's way while it is written.
    on mkdir /etc/nixos-containers/.container1.conf.berth-new
    exits 5 on berth apply --adopt $S
    assert_eq "$(profile container1)" "$before"
    exits 0 on cmp /opt/before /etc/nixos-containers/container1.conf
    exits 1 on test -e /var/lib/berth/nixos/container1
    on rmdir /etc/nixos-containers/.container1.conf.berth-new
    # And after it.
    on sh -c 'printf "#!/bin/sh\nexit 7\n" >/opt/nixos/start'
    exits 5 on berth apply --adopt $S
    assert_eq "$(profile container1)" "$before"
    exits 0 on cmp /opt/before /etc/nixos-containers/container1.conf
    assert_eq "$(on sh -c 'ls -A /var/lib/berth 2>/dev/null')" ""
}

@test "a removal that is undone: whole again, its files and the flake that its conf names with it" {
    spec_of 10.100.0.10 ', "on_remove": "destroy"'
    exits 0 on berth apply $S
    flake stamp <<<two
    exits 0 on berth apply $S
    local first flake broken root
    on sh -c 'echo precious >/var/lib/nixos-containers/container2/root/file'
    first=$(leader container1) flake=$(on cat /var/lib/berth/nixos/.flake-container2/flake.nix) root=$(on stat -c %i /var/lib/nixos-containers/container2)
    # container2 goes, and what comes in its place does not start.
    broken=$(on cat $S | jq '.hosts.localhost.containers |= (.broken = (.container2 | .address = "10.100.0.30") | del(.container2))')
    on sh -c 'mv /opt/nixos/start /opt/nixos/real; printf "#!/bin/sh\n[ \$INSTANCE != broken ] || exit 7\nexec /opt/nixos/real\n" >/opt/nixos/start; chmod 755 /opt/nixos/start'
    flake broken.json <<<"$broken"
    on sh -c 'cp /srv/flake/berth.json /srv/flake/kept.json; cp /srv/flake/broken.json /srv/flake/berth.json'
    exits 5 on berth apply $S
    on cp /srv/flake/kept.json /srv/flake/berth.json
    assert_eq "$(on cat /var/lib/berth/nixos/.flake-container2/flake.nix)" "$flake"
    exits 0 on berth plan -e $S
    exits 0 on berth run container2 -- ping -c1 -W2 container1
    assert_eq "$(leader container1)" "$first"
    assert_eq "$(on sh -c 'ls -A /etc/nixos-containers /var/lib/berth/nixos /var/lib/nixos-containers /nix/var/nix/*/per-container | grep -E "broken|gone|purge" || :')" ""
    assert_eq "$(on cat /var/lib/nixos-containers/container2/root/file)" precious
    assert_eq "$(on stat -c %i /var/lib/nixos-containers/container2)" "$root"
    assert_eq "$(on sh -c 'ls /nix/var/nix/profiles/per-container/container2 | grep -c system-')" 2

    # A root that was there before stays where what it was for does not come about.
    on sh -c 'mkdir /var/lib/nixos-containers/broken; echo mine >/var/lib/nixos-containers/broken/file; cp /srv/flake/broken.json /srv/flake/berth.json'
    exits 5 on berth apply $S
    assert_eq "$(on cat /var/lib/nixos-containers/broken/file)" mine
    # One that was killed in between: what it had put aside comes back.
    on cp /srv/flake/kept.json /srv/flake/berth.json
    on sh -c 'systemctl stop container@container2; cd /var/lib/nixos-containers; mv container2 .container2.berth-gone; rm /etc/nixos-containers/container2.conf
        cd /nix/var/nix/profiles/per-container; mv container2 .container2.berth-gone; cd /var/lib/berth/nixos; mv container2 .gone-container2'
    exits 0 on berth apply $S
    assert_eq "$(on cat /var/lib/nixos-containers/container2/root/file)" precious
    assert_eq "$(on sh -c 'ls /nix/var/nix/profiles/per-container/container2 | grep -c system-')" 2

    # What is mounted there goes nowhere, and nothing else either.
    on mount -t tmpfs none /var/lib/nixos-containers/container2/srv --mkdir
    exits 5 on berth destroy --yes $S
    assert_match "$stderr" "something is mounted at '/var/lib/nixos-containers/container2/srv'"
    exits 0 on berth plan -e $S
    assert_eq "$(on sh -c 'ls /nix/var/nix/profiles/per-container/container2 | grep -c system-')" 2
    on umount /var/lib/nixos-containers/container2/srv

    # Once it holds, nothing is left of it.
    exits 0 on berth destroy --yes $S
    assert_eq "$(on sh -c 'ls -A /etc/nixos-containers /var/lib/berth /var/lib/nixos-containers /nix/var/nix/*/per-container 2>/dev/null | grep -E "container2|gone|purge|nixos$" || :')" ""
    exits 0 on test -d /var/lib/nixos-containers/container1/etc
}

@test "one that is stopped is as protected as one that runs" {
    spec_of 10.100.0.10 ', "protect": true, "state": "stopped"'
    exits 0 on berth apply $S
    local less
    less=$(on cat $S | jq 'del(.hosts.localhost.containers.container2)')
    flake berth.json <<<"$less"
    exits 4 on berth apply $S
    assert_match "$stderr" 'container container2 is protected, and this plan would remove it'
    exits 4 on berth destroy --yes $S
    exits 0 on test -e /etc/nixos-containers/container2.conf
    spec_of 10.100.0.10 ', "protect": false, "state": "stopped"'
    exits 0 on berth apply $S
    flake berth.json <<<"$less"
    exits 4 on berth apply --deny delete $S
    assert_match "$stderr" 'this plan deletes .* container2, which is denied'
    exits 0 on test -e /etc/nixos-containers/container2.conf
    exits 0 on berth apply $S
    exits 1 on test -e /etc/nixos-containers/container2.conf
}

@test "its files go when the spec says so, and only they" {
    spec_of 10.100.0.10 ', "on_remove": "destroy"'
    exits 0 on berth apply $S
    on sh -c 'mkdir -p /srv/kept; echo precious >/srv/kept/file; ln -s /srv/kept /var/lib/nixos-containers/container2/link'
    exits 0 on berth destroy --yes $S
    exits 1 on test -e /var/lib/nixos-containers/container2
    exits 0 on test -d /var/lib/nixos-containers/container1
    exits 0 on test -e /srv/kept/file
}

@test "out of git: the flake beside the spec at that very commit, never the work tree; update, validate --eval" {
    on sh -c 'useradd -m git && cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one && chown -R git: .' >&2
    exits 4 on berth apply --git /srv/flake main:berth.json
    exits 0 on berth apply --git /srv/flake --git-owner git main:berth.json
    assert_eq "$(on sed -n 's/^source //p' /var/lib/berth/nixos/container1)" \
        "git+file:///srv/flake?rev=$(on git -c safe.directory=/srv/flake -C /srv/flake rev-parse HEAD)&ref=refs/heads/main#container1"
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" one
    flake stamp <<<dirty
    exits 0 on berth plan -e --git /srv/flake --git-owner git main:berth.json
    # Only a new revision asks nix: with it out of the way, a run of the timer still heals.
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.away; ip link set vb-container1 nomaster'
    exits 0 on berth apply --boot --git /srv/flake --git-owner git main:berth.json
    on mv /usr/bin/nix.away /usr/bin/nix
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    # From the work tree, one alone.
    on chown -R root: /srv/flake
    exits 0 on berth update container1 -f $S
    refute_match "$output$stderr" 'default route'
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" dirty
    assert_eq "$(on berth run container2 -- cat /run/current-system/stamp)" one
    exits 0 on berth update --all -f $S
    assert_eq "$(on berth run container2 -- cat /run/current-system/stamp)" dirty
    exits 64 on berth update -f $S
    exits 0 on berth validate --eval $S
    on sed -i 's/mapAttrs/mapAttr/' /srv/flake/flake.nix
    exits 65 on berth validate --eval $S
    assert_match "$stderr" "berth.json:2:[0-9]+: cannot evaluate container container1: error:"
}

@test "a name in root's own registry of flakes means the same where another user owns the repository of the spec" {
    # nix of this generation and the next looks for it in its directory of settings.
    on sh -c 'cp -r /srv/flake /srv/named && echo named >/srv/named/stamp && mkdir -p /root/.config/nix &&
        echo "{\"version\": 2, \"flakes\": [{\"from\": {\"type\": \"indirect\", \"id\": \"mine\"}, \"to\": {\"type\": \"path\", \"path\": \"/srv/named\"}}]}" >/root/.config/nix/registry.json
        echo "{\"version\": 2, \"flakes\": []}" >/srv/everybodys.json && echo "flake-registry = /srv/everybodys.json" >>/etc/nix/nix.conf'
    on sh -c 'sed "s|\"./\.\"|\"mine\"|g; s|\"\./#|\"mine#|g; s|\"\.#|\"mine#|g" /srv/flake/berth.json >/srv/flake/new && mv /srv/flake/new /srv/flake/berth.json'
    exits 0 on grep mine /srv/flake/berth.json
    on sh -c 'useradd -m git && cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one && chown -R git: .' >&2
    exits 0 on berth apply --git /srv/flake --git-owner git main:berth.json
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" named
}

@test "out of a bare repository: a commit that nix has not seen, on a branch that is not master" {
    on sh -c 'mkdir /srv/flake/flakes && cd /srv/flake && mv flake.nix stamp flakes && sed "s|\"./\.\"|\"./flakes\"|g" berth.json >new && mv new berth.json
        mkdir deep && sed "s|\"./flakes\"|\".././flakes\"|g" berth.json >deep/berth.json && cp berth.json flakes && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one
        git init -q --bare -b main /srv/bare.git && git push -q /srv/bare.git main' >&2
    exits 0 on berth validate --eval --git /srv/bare.git main:berth.json
    exits 0 on berth apply --git /srv/bare.git main:berth.json
    assert_eq "$(on sed -n 's/^source //p' /var/lib/berth/nixos/container1)" \
        "git+file:///srv/bare.git?rev=$(on git -C /srv/bare.git rev-parse main)&ref=refs/heads/main&dir=flakes#container1"
    exits 0 on berth plan -e --git /srv/bare.git main:deep/berth.json
    # By its id, and one that no ref names: both lead there by one that has it.
    on sh -c 'cd /srv/flake && printf two >flakes/stamp && git -c user.name=Ann -c user.email=a@example.org commit -qam two && git push -q /srv/bare.git main:side
        git -C /srv/bare.git symbolic-ref HEAD refs/heads/none; rm -r /root/.cache/nix' >&2
    exits 0 on berth validate --eval --git /srv/bare.git "$(on git -C /srv/bare.git rev-parse side~1):berth.json"
    on git -C /srv/bare.git update-ref -d refs/heads/main
    on rm -r /root/.cache/nix
    exits 0 on berth validate --eval --git /srv/bare.git "$(on git -C /srv/bare.git rev-parse side~1):berth.json"
}

@test "out of repositories with blanks and letters of other alphabets in their paths" {
    on sh -c 'd="/srv/the host/tülpe #1&2+3"; git init -q -b "wörk&more" "$d" && mkdir -p "$d/a b/ö?" && cp /srv/flake/* "$d/a b/ö?" && cd "$d" && git add . &&
        git -c user.name=Ann -c user.email=a@example.org commit -qm one && mkdir /srv/n && git clone -q --bare . "/srv/n/a b" && git clone -q --bare . /srv/n/ö' >&2
    local repo
    for repo in '/srv/the host/tülpe #1&2+3' '/srv/n/a b' /srv/n/ö; do
        on rm -rf /root/.cache/nix
        exits 0 on berth validate --eval --git "$repo" 'HEAD:a b/ö?/berth.json'
    done
    exits 0 on berth apply --git '/srv/n/a b' 'HEAD:a b/ö?/berth.json'
    assert_eq "$(on sh -c 'nix build -o /tmp/update "/var/lib/berth/nixos/.flake-container1#nixosConfigurations.\"container\".config.system.build.toplevel" && readlink /tmp/update' 2>/dev/null)" \
        "$(profile container1)"
}

@test "a commit that changes no system is known once it is applied: nix is not asked again for it" {
    on sh -c 'cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one' >&2
    exits 0 on berth apply --git /srv/flake main:berth.json
    on sh -c 'cd /srv/flake && git -c user.name=Ann -c user.email=a@example.org commit -q --allow-empty -m two' >&2
    # The flakes that name the commit are written anew, and that is all.
    exits 0 on berth apply --git /srv/flake main:berth.json
    assert_eq "$(grep -o '[~+-] [a-z]* container.*differs' <<<"$output" | tr -s ' ')" "$(printf '~ unit container%s flake differs\n' 1 2)"
    assert_match "$output" 'Applied 2 steps'
    assert_match "$(on cat /var/lib/berth/nixos/container1)" "source .*rev=$(on git -C /srv/flake rev-parse HEAD)"
    # With nix out of the way, a run of the timer still heals; and what holds already is not written again.
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.away; ip link set vb-container1 nomaster; touch /run/before'
    exits 0 on berth apply --boot --git /srv/flake main:berth.json
    on mv /usr/bin/nix.away /usr/bin/nix
    exits 0 on berth run container1 -- ping -c1 -W2 container2
    exits 0 on berth apply --git /srv/flake main:berth.json
    assert_eq "$(on find /var/lib/berth/nixos -type f -newer /run/before)" ""
}

@test "nix is asked about what can have changed, and about nothing else" {
    count_nix
    exits 0 on berth apply $S
    nix_calls >/dev/null
    # Two containers of one flake that is not pinned: what it is now, and that is all.
    exits 0 on berth plan -e $S
    assert_eq "$(nix_calls | grep -o 'flake metadata --json -- .*')" 'flake metadata --json -- /srv/flake'
    on touch /run/before
    exits 0 on berth apply $S
    assert_eq "$(nix_calls | wc -l)" 1
    assert_eq "$(on find /var/lib/berth/nixos -newer /run/before)" "" "something was written again"
    exits 0 on berth apply --no-eval $S
    exits 0 on berth status -e $S
    assert_eq "$(nix_calls)" ""
    # Its source is another one, and its systems are not: evaluated once, then known.
    flake other <<<text
    exits 0 on berth plan -e $S
    assert_eq "$(nix_calls | grep -c ' eval ')" 2
    exits 0 on berth apply $S
    assert_eq "$(nix_calls | grep -c ' eval ')" 2
    exits 0 on berth apply $S
    assert_eq "$(nix_calls | grep -c ' eval ' || :)" 0
    # As before, and then as it was again: the answer is of the source that it is now.
    flake stamp <<<two
    exits 2 on berth plan -e $S
    exits 0 on berth apply $S
    flake stamp < <(printf one)
    exits 2 on berth plan -e $S
    assert_match "$output" 'run container1 +system in force differs'
    exits 0 on berth apply $S
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" one
    # Pinned to a commit it cannot change. Only update asks.
    on sh -c 'cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one' >&2
    exits 0 on berth apply --git /srv/flake main:berth.json
    nix_calls >/dev/null
    exits 0 on berth plan -e --git /srv/flake main:berth.json
    exits 0 on berth apply --git /srv/flake main:berth.json
    assert_eq "$(nix_calls)" ""
    exits 0 on berth update container1 --git /srv/flake -f main:berth.json
    assert_eq "$(nix_calls | grep -c ' eval ')" 1
    # What is in no record cannot be known; what is gone from the store neither.
    exits 0 on berth validate --eval --git /srv/flake main:berth.json
    assert_eq "$(nix_calls | grep -c ' eval ')" 2
}

# web, out of a configuration.nix, on a host whose root has that channel.
from_configuration() {
    on sh -c 'd=/nix/var/nix/profiles/per-user/root/channels/nixos/nixos; mkdir -p $d; cp "$1" $d/default.nix; echo "{ stamp = \"one\"; }" >/srv/flake/web.nix' sh "$LAB/nixos/nixpkgs.nix"
    flake berth.json <<<'{"version": 1, "hosts": {"localhost": {"bridge": {"address": "10.100.0.1/24"}, "containers":
        {"web": {"address": "10.100.0.10", "runtime": "nixos"'"${1-}"', "nixos": {"config": "./web.nix"}}}}}}'
}

@test "what a plan does not know it says, and it is not in sync" {
    from_configuration
    exits 0 on berth apply $S
    exits 0 on berth plan -e $S
    flake web.nix <<<'{ stamp = "two"; }'
    exits 2 on berth plan -e $S
    assert_match "$output" '~ run web +system in force differs'
    exits 0 on berth apply $S
    assert_eq "$(on berth run web -- cat /run/current-system/stamp)" two
    exits 0 on berth plan -e $S
    # Another source, and nix is not to be asked.
    on sh -c "cp /srv/flake/web.nix /srv/flake/same.nix; sed -i 's|./web.nix|./same.nix|' $S"
    exits 2 on berth plan -e --no-eval $S
    assert_match "$output" '\? root web +known after build +berth.json:2'
    assert_match "$output" 'Nothing to do in what is known; 1 system is known after build'
    exits 2 on berth plan -e --no-eval --json $S
    assert_eq "$(json '.outcome, .not_known[0].container, .not_known[0].spec.line, (.steps | length)')" $'pending\nweb\n2\n0'
    exits 2 on berth status -e $S
    assert_match "$output" '\? root web +known after build'
    assert_match "$output" ', 1 not known'
    assert_match "$(on berth list -f $S)" 'web .*not known'
    exits 0 on berth plan -e $S
    exits 0 on berth destroy --yes $S
    spec_of
    exits 2 on berth plan -e --no-eval $S
    assert_match "$output" '\+ root container1 +missing; known after build'
    exits 0 on berth apply $S
    exits 0 on berth plan -e --no-eval $S
    on sed -i '0,/"flake": ".\/."/s//"flake": ".\/.#container2"/' $S
    exits 2 on berth plan -e --no-eval $S
    assert_match "$output" '\? root container1 +known after build +berth.json:2'
    refute_match "$output" '(root|unit) container2'
    assert_match "$output" 'Plan: 0 to create, 1 to change, 0 to remove; 1 known after build'
    exits 2 on berth plan -e --no-eval --json $S
    assert_eq "$(json '.outcome, .not_known[0].container, .not_known[0].spec.line')" $'pending\ncontainer1\n2'
    exits 2 on berth status -e $S
    assert_match "$output" '\? root container1 +known after build'
    assert_match "$output" ', 1 not known'
    spec_of
    on sh -c 'cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one' >&2
    exits 0 on berth apply --git /srv/flake main:berth.json
    exits 0 on berth plan -e --no-eval --git /srv/flake main:berth.json
    on sh -c 'cd /srv/flake && git -c user.name=Ann -c user.email=a@example.org commit -q --allow-empty -m two' >&2
    exits 2 on berth plan -e --no-eval --git /srv/flake main:berth.json
    assert_match "$output" '\? root container1 +known after build'
    # Asked, nix says that the systems are the same; the flake that names the commit is another.
    exits 2 on berth plan -e --git /srv/flake main:berth.json
    assert_match "$output" '~ unit container1 +flake differs'
    refute_match "$output" '(root|run) container|known after build'
    exits 0 on berth apply --git /srv/flake main:berth.json
    exits 0 on berth plan -e --no-eval --git /srv/flake main:berth.json
    exits 0 on berth plan -e --git /srv/flake main:berth.json
}

@test "validate --eval: all that is wrong, each at its line, in one envelope" {
    flake two.json <<<'{"version": 1, "hosts": {
      "one": {"bridge": {"address": "10.100.0.1/24"}, "containers": {
        "container1": {"address": "10.100.0.10", "runtime": "nixos", "nixos": {"flake": "./.#gone"}},
        "container2": {"address": "10.100.0.20", "runtime": "nixos", "nixos": {"flake": "./."}},
        "container3": {"address": "10.100.0.30", "runtime": "nixos", "nixos": {"flake": "./.#away"}}}},
      "two": {"bridge": {"address": "10.100.0.1/24"}, "containers": {
        "absent": {"address": "10.100.0.10", "runtime": "nixos", "nixos": {"config": "./absent.nix"}},
        "garbage": {"address": "10.100.0.20", "runtime": "nixos", "nixos": {"config": "./garbage.nix"}}}}}}'
    from_configuration
    spec_of
    flake garbage.nix <<<'{ stamp = '
    exits 65 on berth validate --eval /srv/flake/two.json
    assert_eq "$(grep -o '^/srv[^:]*:[0-9]*:[0-9]*: cannot evaluate container [^:]*:' <<<"$stderr")" "$(printf '/srv/flake/two.json:%s: cannot evaluate container %s:\n' \
        3:89 container1 5:89 container3 7:86 absent 8:87 garbage)"
    assert_match "$stderr" "container absent: there is no file '/srv/flake/absent.nix'"
    assert_match "$stderr" 'container garbage: error: .*unexpected end of file'
    exits 65 on berth validate --eval --json /srv/flake/two.json
    assert_eq "$(json '[.outcome, (.errors | length), .errors[3].start.line] | join(" ")')" 'invalid 4 8'
    exits 0 on berth validate --eval $S
    from_configuration
    exits 0 on berth validate --eval $S
    flake web.nix <<<'{ stamp = '
    exits 65 on berth validate --eval $S
    # That nix is not here is no fault of the spec.
    spec_of
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.away'
    exits 69 on berth validate --eval $S
    assert_match "$stderr" 'there is no nix on this host'
    exits 69 on berth apply $S
}

@test "a flake whose place would need quotes is refused, with the place" {
    local dir
    for dir in '/srv/odd$x' '/srv/a"b' '/srv/a\b' '/srv/a b' "/srv/it's"; do
        on cp -r /srv/flake "$dir"
        exits 65 on berth apply "$dir/berth.json"
        assert_match "$stderr" "berth.json:2:[0-9]+: container container1: its flake is '/srv/.*', and a character of that would need quotes"
    done
    assert_eq "$(on sh -c 'ls /etc/nixos-containers /var/lib/berth 2>/dev/null')" ""
}

@test "the command that an error names does it again, pasted as it stands" {
    again() {
        local command
        command=$(sed -n '/all that nix says:$/{n;s/^    //p;q}' <<<"$stderr")
        assert_match "$command" "$1"
        exits "$2" on sh -c "$command"
        assert_match "$stderr" "$3"
    }
    flake stamp < <(printf broken)
    exits 1 on berth apply $S
    again '^nix .* build .*/srv/flake#nixosConfigurations."container1"' 1 'this system does not build'
    on sh -c 'useradd -m git && cd /srv/flake && git init -q -b main && git add . && git -c user.name=Ann -c user.email=a@example.org commit -qm one && chown -R git: .' >&2
    exits 1 on berth apply --git /srv/flake --git-owner git main:berth.json
    again 'git\+file:///srv/flake\?rev=' 1 'this system does not build'
    from_configuration
    flake web.nix <<<'{ stamp = "broken"; }'
    exits 1 on berth apply $S
    again "nix-build .* --argstr file '/srv/flake/web.nix' --argstr name web" 100 'this system does not build'
    flake web.nix <<<'{ stamp = '
    exits 1 on berth plan $S
    again nix-build 1 'unexpected end of file'
}

@test "a system that is named by its path is had before anything is touched, or refused" {
    exits 0 on berth apply $S
    local path gone=/nix/store/1qjfpa1wcr7rdjy8b8hrc95xddfvpyv9-gone
    path=$(profile container1)
    named() { flake named.json < <(on cat $S | jq --arg p "$1" '.hosts.localhost.containers.container1.nixos = {system: $p}'); }
    named $gone
    on touch /run/before
    for verb in plan apply 'apply --boot'; do
        exits 1 on berth $verb /srv/flake/named.json
        assert_match "$stderr" "named.json:[0-9]+:[0-9]+: cannot have the system of container container1: '$gone' is not on this host, and it cannot be fetched: "
    done
    assert_eq "$(on find /var/lib/berth /etc/nixos-containers /nix/var/nix/profiles/per-container -newer /run/before -not -path /var/lib/berth/nixos)" ""
    exits 0 on berth validate /srv/flake/named.json
    exits 0 on berth plan --no-eval /srv/flake/named.json
    named "$path"
    exits 0 on berth apply /srv/flake/named.json
    exits 0 on berth plan -e /srv/flake/named.json
    # Out of a cache.
    on sh -c 'nix --extra-experimental-features nix-command copy --no-check-sigs --to file:///srv/cache "$1" && berth destroy --yes --files /srv/flake/named.json && nix-collect-garbage' sh "$path" >&2
    exits 1 on test -e "$path"
    on sh -c 'printf "substituters = file:///srv/cache\nrequire-sigs = false\n" >>/etc/nix/nix.conf'
    exits 2 on berth plan -e /srv/flake/named.json
    exits 1 on test -e "$path"
    exits 0 on berth apply /srv/flake/named.json
    assert_eq "$(profile container1)" "$path"
}

@test "a container from a configuration.nix can be updated by nixos-container, and its file is its own once it has run" {
    local own=/var/lib/nixos-containers/web/etc/nixos/configuration.nix
    # As `nixos-container update` does it where there is no flake.
    update() {
        exits 0 on env NIX_PATH=nixpkgs=/nix/var/nix/profiles/per-user/root/channels/nixos nix-env -p /nix/var/nix/profiles/per-container/web/system \
            -I nixos-config=$own -f '<nixpkgs/nixos>' --set -A system
    }
    from_configuration ', "state": "stopped"'
    exits 0 on berth apply $S
    assert_match "$(on cat $own)" 'imports = \[ /srv/flake/web.nix \];'
    assert_eq "$(on stat -c %a /var/lib/nixos-containers)" 700
    local built
    built=$(profile web)
    update
    assert_eq "$(profile web)" "$built"
    flake web.nix <<<'{ stamp = "two"; }'
    update
    [[ $(profile web) != "$built" ]] || fail "it was not built anew"
    exits 0 on berth plan -e $S
    # Never started, and not wanted any more: nothing is left of it. Another path before the first start is another import.
    exits 0 on berth destroy --yes $S
    exits 1 on test -e /var/lib/nixos-containers/web
    exits 0 on berth apply $S
    on sh -c 'mkdir "/srv/flake/a b"; mv /srv/flake/web.nix "/srv/flake/a b/"; sed -i "s|./web.nix|./a b/web.nix|" '$S
    exits 0 on berth apply $S
    assert_match "$(on cat $own)" 'imports = \[ \(/. \+ "/srv/flake/a b/web.nix"\) \];'
    on sed -i 's|stopped|running|' $S
    exits 0 on berth apply $S
    exits 0 on berth run web -- cat /run/current-system/stamp
    # From now on nobody writes in there.
    on sh -c "echo mine >$own; mv '/srv/flake/a b/web.nix' /srv/flake/; sed -i 's|./a b/web.nix|./web.nix|' $S; echo '{ stamp = \"three\"; }' >/srv/flake/web.nix"
    exits 0 on berth apply $S
    assert_eq "$(on cat $own)" mine
    on rm $own
    flake web.nix <<<'{ stamp = "four"; }'
    exits 0 on berth apply $S
    exits 1 on test -e $own
}

@test "a switch that the guest refuses is told in the guest's own words, once" {
    exits 0 on berth apply $S
    local before said
    before=$(profile container1)
    # The old one's, too, when the change is undone.
    on touch /var/lib/nixos-containers/container1/refuse-switch
    flake stamp < <(printf two)
    exits 5 on berth apply $S
    said=$stderr
    assert_match "$said" "container 'container1' did not take its new system:
 +\| starting units
 +\| the switch says no: two
 +\| warning: web.service failed
"
    refute_match "$said" 'Reload failed|code=exited|already|is up'
    assert_eq "$(grep -c 'the switch says no' <<<"$said")" 1
    assert_eq "$(profile container1)" "$before"
    exits 5 on berth apply --json $S
    assert_eq "$(json '[.errors[] | select(.summary | test("did not take"))] | length')" 1
    # One that says nothing.
    on sed -i 's|{ echo starting.*exit 4; }|exit 4|' /srv/flake/flake.nix
    exits 5 on berth apply $S
    assert_match "$stderr" "did not take its new system: systemctl reload: Job for container@container1.service failed"
}

@test "builds follow one another as they end; on a terminal each says when it begins, and how many are done" {
    local i more=
    for i in 3 4 5 6; do more+=', "container'$i'": {"address": "10.100.0.'$i'0", "runtime": "nixos", "state": "stopped", "nixos": {"flake": "./."}}'; done
    spec_of 10.100.0.10 '' "$more"
    # The first one waits until the last one is being built: were they built four by four, for ever.
    on sed -i 's|^          b=/bin/busybox|&\n          if [ $name = container6 ]; then : >/run/last; fi\n          if [ $name = container1 ]; then n=0; until [ -e /run/last ]; do $b sleep 0.1; n=$((n+1)); [ $n -lt 300 ]; done; fi|' /srv/flake/flake.nix
    exits 0 on script -qec "berth apply $S" /dev/null
    # What stays on the terminal: the line of progress is erased before another one is printed.
    output=$(tr -d '\r' <<<"$output" | sed 's/.*\x1b\[K//')
    assert_eq "$(grep -c '^building container[1-6]$' <<<"$output")" 6
    assert_eq "$(sed -n 's/^built \([1-6]\) of 6: container[1-6]$/\1/p' <<<"$output" | xargs)" '1 2 3 4 5 6'
    assert_match "$output" $'building container6\n.*built [1-6] of 6: container1\n'
    # Nobody is told twice, and no file is.
    flake stamp < <(printf broken)
    exits 1 on script -qec "berth apply $S" /dev/null
    assert_match "$output" 'failed 6 of 6: container'
    exits 1 on berth apply $S
    refute_match "$stderr" 'building|failed . of'
}

@test "a store that others keep busy for a moment is asked again" {
    spec_of 10.100.0.10
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.real; cat >/usr/bin/nix; chmod 755 /usr/bin/nix' <<'END'
#!/bin/bash
if [ ! -e /run/busy2 ]; then
    if [ -e /run/busy1 ]; then : >/run/busy2; fi
    : >/run/busy1
    echo "error: SQLite database '/nix/var/nix/db/db.sqlite' is busy" >&2
    exit 1
fi
exec -a "$0" /usr/bin/nix.real "$@"
END
    exits 0 on berth apply $S
    on test -e /run/busy2
    # For ever: told in the end, and nothing was changed.
    on sed -i 's/^if .*busy2.*/if :; then/; s/: >.run.busy1/echo asked >>\/run\/asked/' /usr/bin/nix
    flake stamp < <(printf two)
    exits 1 on timeout 60 "$BERTH" apply $S
    assert_match "$stderr" "SQLite database '/nix/var/nix/db/db.sqlite' is busy"
    (($(on grep -c asked /run/asked) > 5))
}

@test "of what nix says the cause is told, line by line" {
    # What nix from 2.14 on would say, where the system is evaluated.
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.real; cat >/usr/bin/nix; chmod 755 /usr/bin/nix' <<'END'
#!/bin/sh
cat >&2 <<'SAID'
warning: error: unable to download 'https://cache.example/x': Timeout; retrying in 250 ms
error:
       … while calling the 'head' builtin
         at /nix/store/x-source/flake.nix:1:2:
            1| first

       error: attribute 'wanted' missing
       at /nix/store/x-source/flake.nix:33:29:
           33|  mapAttr
             |  ^
error (ignored): error: SQLite database '/root/.cache/nix/eval-cache-v4/x.sqlite' is busy
SAID
exit 1
END
    exits 1 on berth apply $S
    assert_match "$stderr" "cannot build container container1: error: attribute 'wanted' missing
 +\| at /nix/store/x-source/flake.nix:33:29:
 +\|     33\|  mapAttr
"
    refute_match "$stderr" 'retrying|SQLite|while calling'
    exits 1 on berth apply --json $S
    assert_match "$(json '.errors[0].summary')" $'missing\nat /nix/store'
    on mv /usr/bin/nix.real /usr/bin/nix
    # And what 2.8 says of a builder that another one waited for.
    on sed -i 's|^        inherit name hosts stamp;|&\n        needs = derivation { name = "needed"; system = "x86_64-linux"; builder = "/bin/busybox"; args = [ "sh" "-c" "echo first; echo no such input; exit 3" ]; };|' /srv/flake/flake.nix
    exits 1 on berth apply $S
    assert_match "$stderr" "cannot build container container[12]: error: builder for '/nix/store/[^ ]*needed.drv' failed with exit code 3;
 +\| last 2 log lines:
 +\| > first
 +\| > no such input
"
    refute_match "$stderr" 'dependencies of derivation'
}

@test "what is built has its place only once it is taken into use; each run builds in a place of its own" {
    exits 0 on berth apply $S
    assert_eq "$(on readlink /var/lib/berth/nixos/.root-container1)" "$(profile container1)"
    assert_eq "$(on sh -c 'ls -A /var/lib/berth/nixos | grep build || :')" ""
    # One is built, the other is not: nothing has moved.
    on sed -i "s|\\[ \"\$stamp\" != broken \\]|[ \"\$stamp\" != two -o \"\$name\" != container2 ]|" /srv/flake/flake.nix
    flake stamp < <(printf two)
    # Another run is at work, and one was killed.
    on sh -c 'mkdir /var/lib/berth/nixos/.build-other /var/lib/berth/nixos/.build-killed; ln -s /nowhere /var/lib/berth/nixos/.build-killed/web'
    on systemd-run -q --unit=other flock /var/lib/berth/nixos/.build-other sleep 1000
    on timeout 10 sh -c 'while flock -n /var/lib/berth/nixos/.build-other true; do :; done'
    on sh -c 'rm -r /var/lib/berth/nixos/.build-killed; ls -lA --time-style=full-iso /var/lib/berth/nixos; mkdir /var/lib/berth/nixos/.build-killed' >"$BATS_TEST_TMPDIR/before"
    exits 1 on berth apply $S
    assert_match "$stderr" 'cannot build container container2'
    on ls -lA --time-style=full-iso /var/lib/berth/nixos | diff <(sed 1d "$BATS_TEST_TMPDIR/before") <(sed 1d /dev/stdin) >&2 || fail "something moved"
    on systemctl stop other
    flake stamp < <(printf three)
    exits 0 on berth apply $S
    assert_eq "$(on readlink /var/lib/berth/nixos/.root-container1)" "$(profile container1)"
    # It is a root: without its profile, too.
    local path
    path=$(profile container1)
    on sh -c 'rm /nix/var/nix/profiles/per-container/container1/system*; nix-collect-garbage' >/dev/null
    exits 0 on test -e "$path"
    exits 0 on berth apply --no-eval $S
    assert_eq "$(profile container1)" "$path"
    exits 0 on berth plan -e $S
    # And made again where it is missing.
    on rm /var/lib/berth/nixos/.root-container1
    exits 0 on berth apply $S
    assert_eq "$(on readlink /var/lib/berth/nixos/.root-container1)" "$path"
    exits 0 on berth destroy --yes $S
    exits 1 on test -e /var/lib/berth
}

@test "a build that is interrupted ends, with all that it has started" {
    on sed -i 's|^          b=/bin/busybox|&\n          if [ -e /run/slow ]; then : >/run/building; sleep 4321; fi|' /srv/flake/flake.nix
    exits 0 on berth apply $S
    on sh -c 'ls -lA --time-style=full-iso /var/lib/berth/nixos' >"$BATS_TEST_TMPDIR/before"
    flake stamp < <(printf two)
    local signal want
    for signal in INT:130 TERM:143 HUP:129; do
        want=${signal#*:} signal=${signal%:*}
        on sh -c ': >/run/slow; rm -f /run/building'
        on systemd-run -q --wait --collect --unit=applying berth apply $S & local waits=$!
        on timeout 60 sh -c 'until [ -e /run/building ]; do sleep 0.02; done'
        on systemctl kill --kill-who=main -s $signal applying
        wait $waits && status=0 || status=$?
        assert_eq "$status" "$want"
        assert_match "$(on journalctl -u applying -o cat)" 'stopped while systems were built; nothing was changed'
        assert_eq "$(on sh -c 'pgrep -f "[s]leep 4321|[n]ix-store" || :')" "" "somebody builds on"
        on ls -lA --time-style=full-iso /var/lib/berth/nixos | diff <(sed 1d "$BATS_TEST_TMPDIR/before") <(sed 1d /dev/stdin) >&2 || fail "something moved"
    done
    # An evaluation as well, of plan and of validate.
    on sh -c 'mv /usr/bin/nix /usr/bin/nix.real; printf "#!/bin/sh\n: >/run/building\nsleep 4321\n" >/usr/bin/nix; chmod 755 /usr/bin/nix'
    for verb in 'plan' 'validate --eval'; do
        on rm -f /run/building
        on systemd-run -q --wait --collect --unit=looking berth $verb $S & waits=$!
        on timeout 60 sh -c 'until [ -e /run/building ]; do sleep 0.02; done'
        on systemctl kill --kill-who=main -s TERM looking
        wait $waits && status=0 || status=$?
        assert_eq "$status" 143
        assert_eq "$(on sh -c 'pgrep -f "[s]leep 4321" || :')" ""
    done
    on sh -c 'mv /usr/bin/nix.real /usr/bin/nix; rm /run/slow'
    exits 0 on berth apply $S
    assert_eq "$(on berth run container1 -- cat /run/current-system/stamp)" two
}

@test "what cannot be had is refused before anything is done" {
    on rm /etc/systemd/system/container@.service
    exits 69 on berth apply $S
    assert_match "$stderr" 'set .boot.enableContainers = true'
    spec_of 10.100.0.10 '' ', "toolonganame": {"address": "10.100.0.30", "runtime": "nixos", "nixos": {"flake": "./."}}'
    exits 65 on berth validate $S
    spec_of 10.100.0.10 '' ', "quoted": {"address": "10.100.0.30", "runtime": "nixos", "nixos": {"flake": "./a b"}}'
    exits 69 on berth apply $S
    assert_match "$stderr" 'quotes|container@.service'
}

@test "the files for NixOS are nix, and their shared spec is a spec" {
    local file
    for file in "$REPO"/examples/nixos/*.nix "$REPO"/cmd/nix/*.nix "$REPO/flake.nix"; do
        exits 0 on nix-instantiate --parse "$file"
    done
    exits 0 on berth validate "$REPO/examples/nixos/berth.json"
    # As callPackage fills its arguments, out of a nixpkgs that has a package `src`.
    exits 0 on nix-instantiate --eval --strict --json -E "
        let pkgs = builtins.listToAttrs (map (name: { inherit name; value = name; }) [ \"cmake\" \"pkg-config\" \"libyaml\" \"libmnl\" \"libnftnl\" \"jansson\"
                     \"libgit2\" \"libarchive\" \"libseccomp\" \"nettle\" \"src\" ]) // { lib = { licenses.gpl2Plus = 1; platforms.linux = 1; }; glibc.static = \"glibc\"; stdenv.mkDerivation = a: a; };
            callPackage = f: more: f (builtins.intersectAttrs (builtins.functionArgs f) pkgs // more);
            berth = callPackage (import $REPO/cmd/nix/package.nix) { };
        in [ (builtins.toString berth.src) (builtins.pathExists (berth.src + \"/CMakeLists.txt\")) ]"
    assert_eq "$(jq -cS . <<<"$output")" "[\"$REPO\",true]"
    # The example's own expressions, over its own spec, without nixpkgs.
    exits 0 on nix-instantiate --eval --strict --json -E "
        let lib = { mkMerge = builtins.foldl' (a: b: a // b) {}; mkForce = x: x; optionalAttrs = c: a: if c then a else {};
                    toList = x: if builtins.isList x then x else [ x ]; splitString = s: x: builtins.filter builtins.isString (builtins.split s x);
                    nameValuePair = name: value: { inherit name value; };
                    mapAttrs' = f: a: builtins.listToAttrs (map (n: f n a.\${n}) (builtins.attrNames a)); };
            host = (builtins.fromJSON (builtins.readFile $REPO/examples/nixos/berth.json)).hosts.homelab;
        in (import $REPO/examples/nixos/configuration.nix { inherit lib host; options.boot = {}; name = \"container1\"; }).networking.hosts"
    assert_eq "$(jq -cS . <<<"$output")" '{"10.100.0.10":["container1"],"10.100.0.20":["container2"]}'
}

@test "the module has every unit that is installed elsewhere, and they look at the repository" {
    exits 0 on nix-instantiate --eval --strict --json -E "
        let lib = { mkIf = c: a: if c then a else {}; mkOption = x: x; mkEnableOption = x: x; literalExpression = x: x; removeSuffix = s: x: x;
                    types = { package = 1; path = 1; str = 1; nullOr = x: x; either = a: b: a; };
                    filterAttrs = f: a: builtins.removeAttrs a (builtins.filter (n: !f n a.\${n}) (builtins.attrNames a)); };
            module = import $REPO/cmd/nix/module.nix { inherit lib; pkgs = { git = 1; systemd = 1; };
                config = { nix.package = 1; services.berth = { enable = true; package = \"/p\"; spec = \"refs/heads/main:x\"; git = \"/srv/50%.git\";
                    gitOwner = \"git\"; host = null; metrics = null; timer = \"5min\"; }; }; };
        in { inherit (module.config.systemd) paths; look = module.config.systemd.services.berth-look;
             units = map (n: n + \".service\") (builtins.attrNames module.config.systemd.services)
                 ++ map (n: n + \".path\") (builtins.attrNames module.config.systemd.paths) ++ map (n: n + \".timer\") (builtins.attrNames module.config.systemd.timers); }"
    assert_eq "$(json '.paths["berth-look"].pathConfig.PathChanged')" '/srv/50%%.git/berth-look'
    assert_eq "$(json '.look.serviceConfig.ExecStart')" '/p/bin/berth hook look'
    assert_eq "$(json '.look.environment | keys | join(" ")')" 'BERTH_GIT BERTH_GIT_OWNER BERTH_SPEC'
    assert_eq "$(json '.units | sort | join(" ")')" "$(ls "$REPO/cmd/systemd" | sort | xargs)"
}

@test "backup with its system; restored on a host that has neither flake nor store path, under another name" {
    exits 0 on berth apply $S
    exits 0 on berth run container1 -- sh -c 'echo mine >/etc/kept'
    exits 0 on berth backup container1 /root/c1.tar.zst --closure -f $S
    assert_match "$output" 'Backed up container1 to .*; it stood still for'
    exits 0 on systemctl is-active container@container1
    exits 0 on berth plan -e $S
    on cat /root/c1.tar.zst >"$BATS_TEST_TMPDIR/c1"
    exits 0 tar --zstd -xOf "$BATS_TEST_TMPDIR/c1" berth.json
    assert_eq "$(json .system)" "$(profile container1)"
    assert_match "$(json .conf)" 'LOCAL_ADDRESS=10.100.0.10/24'
    exits 0 on berth backup container2 /root/c2.tar.zst -f $S
    assert_match "$output" 'its system is in it by name only'

    # What could not be in a spec is not made.
    on touch /run/before
    exits 64 on berth restore /root/c1.tar.zst --name toolonganame --address 10.100.0.30 -f $S
    assert_match "$stderr" "'toolonganame' cannot be a container's name: .*at most 11"
    exits 64 on berth restore /root/c1.tar.zst --name twin --address 10.100.0.20 -f $S
    exits 4 on berth restore /root/c1.tar.zst --force --address 10.100.0.30 -f $S
    assert_eq "$(on find /var/lib/nixos-containers /var/lib/berth -maxdepth 1 -newer /run/before)" ""

    # The files were spoiled, and come back in place; the other one runs on.
    local second first
    second=$(leader container2)
    on rm /var/lib/nixos-containers/container1/etc/kept
    exits 4 on berth restore /root/c1.tar.zst -f $S
    exits 0 on berth restore /root/c1.tar.zst --force -f $S
    assert_match "$output" 'started again'
    assert_eq "$(on berth run container1 -- cat /etc/kept)" mine
    assert_eq "$(leader container2)" "$second"
    exits 0 on berth plan -e $S

    # Another machine.
    first=$(profile container1)
    "$LAB/host" down "$NAME"
    "$LAB/host" up "$NAME" --inet --install "$BUILD" >&2
    on sh -c 'mkdir -p /opt/nixos /etc/nix; cp "$1"/pre "$1"/start "$1"/init "$1"/reload /bin/busybox /opt/nixos/
        cp "$1"/container@.service /etc/systemd/system/
        printf "sandbox = false\nbuild-users-group =\nsubstituters =\n" >/etc/nix/nix.conf; systemctl daemon-reload' sh "$LAB/nixos" >&2
    exits 1 on test -e "$first"
    on sh -c 'cat >/root/c1' <"$BATS_TEST_TMPDIR/c1"
    exits 0 on berth restore /root/c1 --name moved --address 10.100.0.40
    { printf '%s\n' 'version: 1' 'hosts:' '  localhost:' '    bridge: {address: 10.100.0.1/24}' '    containers:'
        sed -n '/^      moved:/,/^$/p' <<<"$output"; } | on sh -c 'mkdir -p /etc/berth; cat >/etc/berth/berth.yaml'
    exits 0 on nix-collect-garbage
    exits 0 on berth apply
    exits 0 on berth plan -e
    assert_eq "$(on berth run moved -- cat /etc/kept)" mine
    assert_eq "$(profile moved)" "$first"
    assert_match "$(on berth run moved -- ip -4 addr show dev eth0)" '10.100.0.40/24'
    exits 0 on berth run moved -- ping -c1 -W2 10.100.0.1
}

@test "left over, half made, in the way, or failing: named, and mended where it is ours" {
    on mkdir -p /var/lib/nixos-containers/old /nix/var/nix/profiles/per-container/older
    exits 0 on berth apply $S
    exits 0 on berth plan -e $S
    assert_match "$output" 'roots of containers that are no more: old'
    assert_match "$output" 'profiles without a container: older'
    exits 0 on test -d /var/lib/nixos-containers/old -a -d /nix/var/nix/profiles/per-container/older

    # What a failed create leaves: a conf without a profile.
    on sh -c 'systemctl stop container@container2; rm -r /nix/var/nix/profiles/per-container/container2'
    exits 0 on berth apply $S
    exits 0 on berth run container2 -- id

    # Why it does not start stands in its journal.
    on sh -c 'mv /opt/nixos/start /opt/nixos/real; systemctl stop container@container1
        printf "#!/bin/sh\necho there is no room for it >&2\nexit 7\n" >/opt/nixos/start; chmod 755 /opt/nixos/start'
    # It fails alone: the exit status is that of an apply which left something undone.
    exits 6 on berth apply $S
    assert_match "$stderr" "cannot start container 'container1': .*there is no room for it"
    assert_match "$(on berth logs container1)" 'there is no room for it'
    exits 0 on systemctl is-active container@container2
    # A name that machined has not let go: a second try.
    on sh -c 'printf "#!/bin/sh\n[ -e /run/once ] || { : >/run/once; echo \"Machine container1 already exists\" >&2; exit 1; }\nexec /opt/nixos/real\n" >/opt/nixos/start
        mkdir -p /run/systemd/system/container@.service.d; printf "[Service]\nRestart=no\n" >/run/systemd/system/container@.service.d/once.conf; systemctl daemon-reload'
    exits 0 on berth apply $S
    exits 0 on berth plan -e $S
    exits 0 on test -e /run/once

    # Somebody else's machine of that name: container@NAME would end it.
    spec_of 10.100.0.10 '' ', "taken": {"address": "10.100.0.30", "runtime": "nixos", "nixos": {"flake": "./."}}'
    on sh -c 'systemd-run -q --unit=stranger sleep 9999; busctl call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager \
        RegisterMachine sayssus taken 0 lab container $(systemctl show -P MainPID stranger) ""' >&2
    exits 4 on berth apply --adopt $S
    assert_match "$output$stderr" 'a machine of that name runs already, and not as container@taken'
    exits 0 on systemctl is-active stranger
    on systemctl stop stranger
    exits 0 on berth apply $S
    exits 0 on berth run taken -- ping -c1 -W2 container1

    # A system that its nixpkgs would not start under nspawn.
    flake stamp < <(printf unmarked)
    exits 1 on berth apply $S
    assert_match "$stderr" 'boot.isNspawnContainer, and it is false'
    assert_match "$stderr" 'write .boot.isNspawnContainer = true;'
    exits 65 on berth validate --eval $S
}

@test "another runtime and back: the one goes before the other comes, and its files stay" {
    exits 0 on berth apply $S
    on sh -c 'echo mine >/var/lib/nixos-containers/container2/canary'
    flake as-nspawn.json <<<"$(on cat $S | jq '.hosts.localhost.containers.container2 = {address: "10.100.0.20", runtime: "nspawn", on_remove: "destroy"}')"
    local first
    first=$(leader container1)
    exits 0 on berth plan /srv/flake/as-nspawn.json
    assert_match "$output" '- run container2 +its runtime is another now'
    exits 0 on berth apply /srv/flake/as-nspawn.json
    exits 0 on berth plan -e /srv/flake/as-nspawn.json
    exits 0 on systemctl is-active berth@container2
    exits 3 on systemctl is-active container@container2
    exits 1 on test -e /etc/nixos-containers/container2.conf
    exits 0 on berth run container2 -- ping -c1 -W2 10.100.0.10
    exits 0 on berth apply $S
    exits 0 on berth plan -e $S
    exits 0 on systemctl is-active container@container2
    exits 0 on berth run container2 -- ping -c1 -W2 container1
    exits 0 on grep -x mine /var/lib/nixos-containers/container2/canary
    assert_eq "$(leader container1)" "$first" "the other one was left alone"
}

@test "one that is still starting is not judged by what it has not got yet; what only looks like a conf is in nobody's way" {
    exits 0 on berth apply $S
    on sh -c 'mkdir /etc/nixos-containers/dir.conf'
    exits 0 on berth plan -e $S
    exits 0 on berth list -f $S
    # It has no address for a while.
    on sh -c 'mv /opt/nixos/init /opt/nixos/late; printf "#!/opt/nixos/busybox sh\n/opt/nixos/busybox sleep 4\nexec /opt/nixos/late \"\$@\"\n" >/opt/nixos/init; chmod 755 /opt/nixos/init'
    on systemctl restart --no-block container@container1
    on timeout 20 sh -c 'until [ "$(systemctl show -P ActiveState container@container1)" = activating ] && machinectl show container1 -p Leader >/dev/null 2>&1; do sleep 0.05; done'
    local starting
    starting=$(leader container1)
    exits 0 on berth apply $S
    assert_eq "$(leader container1)" "$starting" "it was let start"
    assert_match "$output" 'it is still starting'
    on timeout 20 sh -c 'until [ "$(systemctl show -P ActiveState container@container1)" = active ]; do sleep 0.05; done'
    exits 0 on berth plan -e $S
    assert_eq "$(leader container1)" "$starting"
}

@test "from a configuration.nix, as nixos-container --config-file takes it" {
    on sh -c 'mkdir -p /srv/nixpkgs/nixos; echo "{ }" >/srv/flake/web.nix; cat >/srv/nixpkgs/nixos/default.nix' <<'END'
{ configuration }:
let c = configuration { lib.mkDefault = x: x; };
in {
  system = assert c.boot.isContainer && builtins.pathExists (builtins.head c.imports);
    ((import /srv/flake/flake.nix).outputs { self = null; }).nixosConfigurations.${c.networking.hostName}.config.system.build.toplevel;
}
END
    flake berth.json <<<'{"version": 1, "hosts": {"localhost": {"bridge": {"address": "10.100.0.1/24"}, "containers":
        {"web": {"address": "10.100.0.10", "runtime": "nixos", "nixos": {"config": "./web.nix"}}}}}}'
    exits 1 on berth apply $S
    assert_match "$stderr" "cannot build container web: .*nixpkgs"
    exits 0 on env NIX_PATH=nixpkgs=/srv/nixpkgs berth apply $S
    exits 0 on berth run web -- cat /run/current-system/stamp
    assert_match "$(profile web)" 'web$'
    # Without it a run of the timer still heals, by what was built last.
    on sh -c 'systemctl stop container@web'
    exits 0 on berth apply --no-eval $S
    exits 0 on env NIX_PATH=nixpkgs=/srv/nixpkgs berth plan -e $S
    # Its path is a value, never a part of an expression.
    local odd='a b (1) ${x} "it'"'"'s" [' text
    on mkdir "/srv/flake/$odd"
    on mv /srv/flake/web.nix "/srv/flake/$odd/"
    text=$(on jq --arg odd "$odd" '.hosts.localhost.containers.web.nixos.config = "./\($odd)/web.nix"' $S)
    flake berth.json <<<"$text"
    exits 0 on env NIX_PATH=nixpkgs=/srv/nixpkgs berth apply $S
    exits 0 on env NIX_PATH=nixpkgs=/srv/nixpkgs berth plan -e $S
    # NixOS's own place of the channel.
    on sh -c 'mkdir -p /nix/var/nix/profiles/per-user/root/channels; mv /srv/nixpkgs /nix/var/nix/profiles/per-user/root/channels/nixos'
    exits 0 on berth apply $S
}

@test "each command that the README puts in the manual page's place does its work" {
    exits 0 on berth apply $S
    local line ran=0 some
    # A name server on the internet, to which every name is the same.
    "$LAB/host" inet "$NAME" sh -c 'echo "nothing yet" >/tmp/dns.$$; setsid perl -MSocket -e "
        socket(S, AF_INET, SOCK_DGRAM, 0) && bind(S, pack_sockaddr_in(53, inet_aton(q(198.51.100.1)))) || die;
        open(F, q(>), \$ARGV[0]); print F qq(ready\n); close F;
        while (defined(my \$from = recv(S, \$q, 512, 0))) {
            my (\$id, \$rest) = unpack(q(a2 x10 a*), \$q); my \$n = index(\$rest, qq(\0)) + 5; my \$ask = substr(\$rest, 0, \$n);
            my \$a = unpack(q(n), substr(\$ask, -4, 2)) == 1;
            send(S, \$id . pack(q(n5), 0x8180, 1, \$a, 0, 0) . \$ask . (\$a ? pack(q(n3 N n a4), 0xc00c, 1, 1, 60, 4, inet_aton(q(198.51.100.1))) : q()), 0, \$from)
        }" /tmp/dns.$$ </dev/null >/dev/null 2>&1 3>&- & until grep -qx ready /tmp/dns.$$; do :; done; rm /tmp/dns.$$' >&2
    # Somebody to be heard.
    on systemd-run -q --unit=pinging sh -c 'while :; do ping -c1 -W1 10.100.0.10; sleep 0.1; done'
    mapfile -t some < <(awk '$0 == "<!-- twins -->" {on = 1} on && /^$/ {exit} on' "$REPO/README.md" | awk -F' [|] ' '{print $NF}' | grep -o '`berth [^`]*`' | tr -d '`' | grep -v 'destroy')
    for line in "${some[@]}" 'berth destroy --yes'; do
        # shellcheck disable=SC2086
        exits 0 on env BERTH_SPEC=$S timeout 60 sh -c "cd /root; exec $line" </dev/null
        case $line in
        'berth list' | 'berth status' | 'berth top') assert_match "$output" container1 "$line" ;;
        *hostname) assert_eq "$output" container1 ;;
        *nslookup*) assert_match "$output" '198\.51\.100\.1' "$line" ;;
        'berth logs'*) assert_match "$output" 'is up' "$line" ;;
        *capture*) assert_match "$output" 'ICMP|ARP' "$line" ;;
        *restore*) assert_match "$output" 'started again' "$line" ;;
        *apply) exits 0 on env BERTH_SPEC=$S berth plan -e ;;
        esac
        ran=$((ran + 1))
    done
    ((ran >= 20)) || fail "the table has only $ran commands"
    assert_eq "$(on sh -c 'ls /etc/nixos-containers /sys/class/net 2>/dev/null | grep -E "container|br-" || :')" ""
}
