#!/usr/bin/env bats
# Git drives a host with systemd: a bare repository of a user without root, hooks, the timer, a reboot.
load ../lab/lib

NAME=g${BATS_SUITE_TEST_NUMBER:-1}x$$
BUILD=${BERTH%/cmd/berth}
on() { "$LAB/host" exec "$NAME" "$@"; }
as_git() { on setpriv --reuid git --regid git --clear-groups --reset-env env "$DATES" "${DATES/AUTHOR/COMMITTER}" sh -c "cd /home/git/work && $1" 2>&1; }
DATES=GIT_AUTHOR_DATE='2026-05-01 10:00:00 +0000'

# Every command that a reader of README sees, and its answer, as they were.
tell() { printf '    $ %s\n' "$1"; sed -E 's/^/    /; s/ +$//' <<<"$2"; } >>"$BATS_TEST_TMPDIR/transcript"
# What README's page shows happened here, in this order; `…` stands for what it leaves out.
as_in_readme() {
    awk '/^<!-- from-git -->$/ {on = 1; next} /^<!-- end -->$/ {on = 0} on && /^    / && !/^ *…/ && NF' "$REPO/README.md" >"$BATS_TEST_TMPDIR/page"
    [[ -s $BATS_TEST_TMPDIR/page ]] || fail "README has no such page"
    awk 'NR == FNR {page[++n] = $0; next} $0 == page[i + 1] {i++} END {if (i < n) {print "README says, and it was not so: " page[i + 1]; exit 1}}' \
        "$BATS_TEST_TMPDIR/page" "$BATS_TEST_TMPDIR/transcript" >&2 || { cat "$BATS_TEST_TMPDIR/transcript" >&2; fail "README is not what happens"; }
}

setup() {
    need_berth
    command -v cmake >/dev/null || skip "no cmake to install with"
    [[ -f $BUILD/cmake_install.cmake ]] || skip "$BERTH is not in a build folder"
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet --install "$BUILD" >&2
    on sh -c 'useradd -m git && mkdir -p /srv/git && git init -q --bare -b main /srv/git/infra.git && chown -R git: /srv/git
        setpriv --reuid git --regid git --clear-groups --reset-env sh -c "
            git config --global user.name Ann; git config --global user.email ann@example.org; git config --global advice.pushUpdateRejected false
            git clone -q /srv/git/infra.git /home/git/work; cd /home/git/work; git checkout -q -b main"' >&2
    on sh -c 'cat >/home/git/work/berth.yaml; chown git: /home/git/work/berth.yaml' <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br-containers, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      web: 10.100.0.10
	      db: {address: 10.100.0.20, runtime: netns}
	END
}
teardown() { "$LAB/host" down "$NAME"; }

@test "from an empty repository to a host that follows it: pushes, refusals, a trailer, drift, a reboot" {
    # Who may say what a host is to be is named, never guessed.
    exits 4 on berth hook install --repo /srv/git/infra.git --apply
    assert_match "$stderr" 'belongs to user [0-9]+, who is neither you nor root'
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply --deny delete
    assert_match "$output" 'berth-look.path listens'
    local told=$output
    tell 'berth hook install --repo /srv/git/infra.git --git-owner git --apply --deny delete' "$output"
    exits 0 on systemctl is-enabled berth-look.path
    # Each path that was named is there, and each that was made is named.
    local made
    for made in /etc/berth/policy.yaml /etc/berth/berth.env /srv/git/infra.git/berth-look /etc/systemd/system/berth-look.path.d/repository.conf; do
        exits 0 on test -f "$made"
        assert_match "$told" "written: $made[ ,]"
    done
    # The commands of the page enable what is not enabled, and then there is nothing to say.
    exits 1 on systemctl is-enabled berth.service
    exits 1 on systemctl is-enabled berth.timer
    exits 0 on sh -c "$(sed -n 's/^  to enable it: //p' <<<"$told")"
    exits 0 on systemctl is-enabled berth.service berth.timer
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply --deny delete
    refute_match "$output" 'not enabled'
    assert_match "$output" 'was there: /srv/git/infra.git/berth-look'
    on systemctl disable -q --now berth.timer
    on systemctl disable -q berth.service

    # A good push is applied by root's unit, and the pusher sees how it ended.
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    tell 'git push origin main' "$(sed -E 's/in [0-9]+\.[0-9]+ s/in 0.09 s/' <<<"$output")"
    exits 0 on berth run web -- ping -c1 -W2 db
    local first
    first=$(as_git 'git rev-parse HEAD')
    exits 0 on berth status --git /srv/git/infra.git --git-owner git main:berth.yaml
    assert_match "$output" "in sync with ${first:0:7} \(main\), applied [0-9]+s ago"
    tell 'berth status --git /srv/git/infra.git --git-owner git main:berth.yaml' "$(sed -E 's/applied [0-9]+s/applied 1s/' <<<"$output")"

    # A bad one is refused, with the place; the host and the branch stay.
    as_git 'sed -i s/10.100.0.20/10.100.9.20/ berth.yaml && git commit -qam "a slip"'
    exits 1 as_git 'git push origin main'
    assert_match "$output" 'remote: berth.yaml:8:21: error\[E012\]'
    tell 'git push origin main' "$output"
    assert_eq "$(as_git 'git ls-remote origin main' | cut -c1-40)" "$first"

    # One that takes a container away is refused, until a commit says that it is meant.
    as_git 'git reset -q --hard origin/main && sed -i /db:/d berth.yaml && git commit -qam "db has moved"'
    exits 1 as_git 'git push origin main'
    assert_match "$output" 'remote: Refused: this plan deletes netns db, which is denied'
    tell 'git push origin main' "$output"
    exits 0 on test -e /run/netns/db
    as_git 'git commit -q --amend -m "db has moved" --trailer "Berth-Allow: delete"'
    exits 0 as_git 'git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    tell 'git commit --amend --trailer "Berth-Allow: delete" && git push origin main' "$(sed -E 's/in [0-9]+\.[0-9]+ s/in 0.01 s/' <<<"$output")"
    exits 1 on test -e /run/netns/db

    # Drift made by hand is mended by the timer, and the journal says what it was.
    on sh -c 'mkdir -p /etc/systemd/system/berth.timer.d; printf "[Timer]\nOnBootSec=0\nOnUnitInactiveSec=300ms\nRandomizedDelaySec=0\nAccuracySec=1ms\n" >/etc/systemd/system/berth.timer.d/soon.conf; systemctl daemon-reload'
    exits 0 on systemctl enable --now berth.timer
    exits 0 on systemctl start berth.service
    on ip address del 10.100.0.1/24 dev br-containers
    exits 0 on timeout 20 sh -c 'until ip -4 -o address show dev br-containers | grep -q 10.100.0.1/24; do sleep 0.05; done'
    on timeout 20 sh -c 'until journalctl -q BERTH_KIND=address -o json | grep -q .; do sleep 0.05; done'
    local entry
    entry=$(on journalctl -q BERTH_KIND=address BERTH_STEP=create BERTH_REF=refs/heads/main -o json | tail -1)
    assert_eq "$(jq -r .BERTH_OBJECT <<<"$entry")" 'address br-containers 10.100.0.1/24'
    assert_eq "$(jq -r .BERTH_COMMIT <<<"$entry")" "$(as_git 'git rev-parse HEAD')"
    assert_eq "$(jq -r ._SYSTEMD_UNIT <<<"$entry")" berth.service

    tell 'ip address del 10.100.0.1/24 dev br-containers; journalctl -o cat BERTH_REF=refs/heads/main' "$(jq -r .MESSAGE <<<"$entry")"
    # Runs with nothing to do say nothing.
    local marks
    entries() { on journalctl --sync; on journalctl -q -u berth.service SYSLOG_IDENTIFIER=berth -o cat | wc -l; }
    marks=$(entries)
    ((marks)) || fail "the witness itself sees an entry"
    on sh -c 'for i in 1 2 3; do systemctl start berth.service; done'
    assert_eq "$(entries)" "$marks"

    # A failing run leaves its reason with the unit.
    on sh -c 'mv /srv/git/infra.git /srv/git/away'
    exits 1 on systemctl start berth.service
    assert_match "$(on systemctl status berth.service 2>&1 || :)" "is no git repository"
    on mv /srv/git/away /srv/git/infra.git

    # All back after a reboot.
    "$LAB/host" reboot "$NAME" >&2
    on timeout 60 sh -c 'until [ "$(systemctl show berth.service -p ExecMainExitTimestampMonotonic --value)" != 0 ]; do sleep 0.05; done'
    assert_eq "$(on systemctl show berth.service -p Result --value)" success
    exits 0 on berth plan -e --git /srv/git/infra.git --git-owner git main:berth.yaml
    exits 0 on machinectl show web -p State --value
    assert_eq "$output" running

    as_in_readme
    # And away: hooks, units, what listened.
    exits 0 on berth hook uninstall --repo /srv/git/infra.git --git-owner git
    assert_eq "$(on sh -c 'ls /srv/git/infra.git/hooks | grep -v sample; ls /srv/git/infra.git/berth-look /etc/systemd/system/berth-look.path.d 2>/dev/null')" ""
    exits 3 on systemctl is-active -q berth-look.path
}

@test "fifty pushes while one apply runs: one more apply, and the last wins" {
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    as_git 'git add berth.yaml && git commit -qm "two containers" && git push -q origin main' >&2
    as_git 'for i in $(seq 1 50); do printf "      c$i: {address: 10.100.0.$((100+i)), runtime: netns}\n" >>berth.yaml; git commit -qam "c$i"; git update-ref refs/heads/step$i HEAD; done'
    # What the program said is in the journal once the journal says that it has all.
    applies() { on journalctl --sync; on journalctl -q -u berth-look.service -o cat SYSLOG_IDENTIFIER=berth | grep -cE '^(Applied|Nothing to do)'; }
    assert_eq "$(applies)" 1
    # As if an apply were at work for all that time.
    on sh -c 'mkfifo -m 666 /run/go; setsid flock /run/berth/hook.running sh -c "echo >/run/held; read x </run/go" </dev/null >/dev/null 2>&1 &
        until [ -e /run/held ]; do sleep 0.05; done'
    # The next goes as soon as the one before has moved the branch: none waits for an outcome but the last.
    as_git 'for i in $(seq 1 50); do
            git push -q origin step$i:main >/tmp/push$i 2>&1 &
            until [ "$(git ls-remote origin refs/heads/main | cut -c1-40)" = "$(git rev-parse step$i)" ]; do :; done
        done
        # The branch has moved before the last one says so.
        until grep -qx "$(git rev-parse step50)" /srv/git/infra.git/berth-look; do :; done
        echo >/run/go; wait' >&2
    assert_eq "$(on sh -c 'grep -l "takes this one along" /tmp/push* | wc -l')" 49
    exits 0 on cat /tmp/push50
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    exits 0 on test -e /run/netns/c50
    exits 0 on berth status --git /srv/git/infra.git --git-owner git main:berth.yaml
    assert_match "$output" "with $(as_git 'git rev-parse --short=7 HEAD') \(main\), applied"
    on timeout 20 sh -c 'while systemctl is-active -q berth-look.service; do sleep 0.05; done'
    assert_eq "$(applies)" 2
    # The unit may still be on its way down.
    refute_match "$(on systemctl is-failed berth-look.service || true)" '^failed'
}

@test "each push is told its own outcome: the end of a long one, and not an old one where the branch goes back" {
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    as_git 'for i in $(seq 1 30); do printf "      c$i: {address: 10.100.0.$((100+i)), runtime: netns}\n"; done >>berth.yaml; git add berth.yaml; git commit -qm many' >&2
    exits 0 as_git 'git push origin main'
    assert_match "$output" 'remote: … the end of it; all: journalctl -u berth-look.service'
    assert_match "$output" 'remote: Applied 1[0-9]{2} steps'
    (($(grep -c 'remote: *+ port c\|✓ + port c' <<<"$output") < 40)) || fail "that is more than two screens"
    as_git 'printf "      more: {address: 10.100.0.200, runtime: netns}\n" >>berth.yaml; git commit -qam more' >&2
    exits 0 as_git 'git push origin main'
    exits 0 on test -e /run/netns/more
    exits 0 as_git 'git push -f origin HEAD~1:main'
    assert_match "$output" 'remote: Applied [0-9] steps'
    exits 1 on test -e /run/netns/more
}

# As if an apply were at work until somebody writes to /run/go.
hold() {
    on sh -c 'rm -f /run/held; [ -p /run/go ] || mkfifo -m 666 /run/go; setsid flock /run/berth/hook.running sh -c "echo >/run/held; read x </run/go" </dev/null >/dev/null 2>&1 &
        until [ -e /run/held ]; do sleep 0.05; done'
}

@test "an apply that took a later push along answers that one, too, though it had not asked yet" {
    # The hook of whoever pushes `late` is slow to say its name.
    on sh -c 'mkfifo -m 666 /run/late; printf "#!/bin/sh\nif [ -e /run/slow ]; then echo >/run/moved; read x </run/late; fi\n" >/srv/git/infra.git/hooks/post-receive
        chmod 755 /srv/git/infra.git/hooks/post-receive; chmod 777 /run'
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    hold
    as_git 'for i in 1 2; do printf "      c$i: {address: 10.100.0.$((100+i)), runtime: netns}\n" >>berth.yaml; git commit -qam "c$i"; done
        git push origin HEAD~1:main >/tmp/first 2>&1 &
        until grep -qx "$(git rev-parse HEAD~1)" /srv/git/infra.git/berth-look; do :; done; touch /run/slow
        git push origin HEAD:main >/tmp/late 2>&1 &
        until [ -e /run/moved ]; do :; done; echo >/run/go
        wait %1' >&2
    exits 0 on cat /tmp/first
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    exits 0 on test -e /run/netns/c2
    on timeout 20 sh -c 'while systemctl is-active -q berth-look.service; do sleep 0.05; done'
    as_git 'echo >/run/late'
    on timeout 20 sh -c 'until grep -q "HEAD -> main" /tmp/late; do sleep 0.05; done' || fail "it is not answered: $(on cat /tmp/late)"
    exits 0 on cat /tmp/late
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    on journalctl --sync
    assert_eq "$(on journalctl -q -u berth-look.service -o cat SYSLOG_IDENTIFIER=berth | grep -cE '^(Applied|Nothing to do)')" 2
}

@test "what is said while the unit does not listen is said again; a late hook does not talk over a later one" {
    on sh -c 'mkfifo -m 666 /run/late; printf "#!/bin/sh\nif [ -e /run/slow ]; then rm /run/slow; echo >/run/moved; read x </run/late; fi\n" >/srv/git/infra.git/hooks/post-receive
        chmod 755 /srv/git/infra.git/hooks/post-receive; chmod 777 /run'
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    # The path unit hears nothing as long as the service runs: here, for a while after its program's last look.
    on sh -c 'mkdir /etc/systemd/system/berth-look.service.d; printf "[Service]\nExecStartPost=/bin/sleep 4\n" >/etc/systemd/system/berth-look.service.d/slow.conf; systemctl daemon-reload'
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    as_git 'printf "      c1: {address: 10.100.0.101, runtime: netns}\n" >>berth.yaml; git commit -qam c1' >&2
    assert_eq "$(on systemctl is-active berth-look.service)" activating
    exits 0 as_git 'timeout 30 git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'

    hold
    as_git 'for i in 2 3; do printf "      c$i: {address: 10.100.0.$((100+i)), runtime: netns}\n" >>berth.yaml; git commit -qam "c$i"; done
        touch /run/slow; git push origin HEAD~1:main >/tmp/late 2>&1 &
        until [ -e /run/moved ]; do :; done
        git push origin HEAD:main >/tmp/last 2>&1 &
        until grep -qx "$(git rev-parse HEAD)" /srv/git/infra.git/berth-look; do :; done
        echo >/run/late; wait %1; cp /srv/git/infra.git/berth-look /tmp/named
        echo >/run/go; wait' >&2
    assert_match "$(on cat /tmp/late)" "a later push \($(as_git 'git rev-parse --short=7 HEAD')\) takes this one along"
    assert_eq "$(on cat /tmp/named)" "$(as_git 'git rev-parse HEAD')"
    assert_match "$(on cat /tmp/last)" 'remote: Applied [0-9]+ steps'
}

@test "the metrics tell the revision as soon as the pusher knows" {
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    on sh -c 'echo BERTH_METRICS=/run/berth.prom >>/etc/berth/berth.env'
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    assert_match "$(on cat /run/berth.prom)" "berth_revision_info\{commit=\"$(as_git 'git rev-parse HEAD')\",ref=\"refs/heads/main\"\} 1"
    on mv /srv/git/infra.git /srv/git/away
    exits 1 on systemctl start berth.service
    assert_match "$(on cat /run/berth.prom)" 'berth_in_sync 0'
}

@test "an entry of the journal is its unit's, however late the journal reads it" {
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    on ip address del 10.100.0.1/24 dev br-containers
    on sh -c 'j=$(systemctl show -P MainPID systemd-journald); kill -STOP $j; (sleep 0.4; kill -CONT $j) & systemctl start berth.service; wait'
    on timeout 20 sh -c 'until journalctl -q BERTH_KIND=address BERTH_OBJECT="address br-containers 10.100.0.1/24" BERTH_REASON=missing -o json | grep -q .; do sleep 0.05; done'
    on journalctl --sync
    assert_eq "$(on journalctl -q BERTH_KIND=address BERTH_STEP=create -o json | tail -1 | jq -r ._SYSTEMD_UNIT)" berth.service
}

@test "systemctl is found where NixOS has it" {
    on sh -c 'mkdir -p /run/current-system/sw/bin; mv /usr/bin/systemctl /run/current-system/sw/bin/'
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    assert_match "$output" 'berth-look.path listens'
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    exits 0 on berth hook uninstall --repo /srv/git/infra.git --git-owner git
    exits 3 on /run/current-system/sw/bin/systemctl is-active -q berth-look.path
}

@test "a host follows one repository: another is refused, and taking that away leaves the first alone" {
    exits 0 on berth hook install --repo /srv/git/infra.git --git-owner git --apply
    on cp /etc/systemd/system/berth-look.path.d/repository.conf /etc/berth/berth.env /root/ >&2
    on setpriv --reuid git --regid git --clear-groups git init -q --bare -b main '/srv/git/50%off "x".git' >&2
    local other='/srv/git/50%off "x".git'
    exits 4 on berth hook install --repo "$other" --git-owner git --apply
    assert_match "$stderr" "this host follows '/srv/git/infra.git/': /etc/berth/berth.env names it"
    # Even where somebody has taken the environment file away.
    on rm /etc/berth/berth.env
    exits 4 on berth hook install --repo "$other" --git-owner git --apply
    assert_match "$stderr" "berth-look.path listens to '/srv/git/infra.git/berth-look'"
    exits 1 on test -e "$other/hooks/pre-receive"
    on sh -c 'echo BERTH_METRICS=/run/m >/etc/berth/berth.env'
    exits 4 on berth hook install --repo "$other" --git-owner git --apply
    assert_match "$stderr" 'names no repository'
    on mv /root/berth.env /etc/berth/berth.env
    # Its hooks without a listener, and away again, as an installation of old left them.
    exits 0 on berth hook install --repo "$other" --git-owner git
    on touch "$other/berth-look"
    exits 0 on berth hook uninstall --repo "$other" --git-owner git
    refute_match "$output" 'no longer listens'
    exits 0 on cmp /root/repository.conf /etc/systemd/system/berth-look.path.d/repository.conf
    exits 0 on systemctl is-active -q berth-look.path
    exits 0 as_git 'git add berth.yaml && git commit -qm "two containers" && git push origin main'
    assert_match "$output" 'remote: Applied [0-9]+ steps'
    # The first makes way; signs that systemd would read as its own do not matter.
    exits 0 on berth hook uninstall --repo /srv/git/infra.git --git-owner git
    on rm /etc/berth/berth.env
    exits 0 on berth hook install --repo "$other" --git-owner git --apply
    exits 0 on systemctl show -P Paths berth-look.path
    assert_match "$output" "/srv/git/50%off \"x\".git/berth-look"
    as_git "git remote set-url origin '$other'" >&2
    exits 0 as_git 'git commit -q --allow-empty -m again && git push origin main'
    assert_match "$output" 'remote: Nothing to do'
    # A unit that is there for this already, as a NixOS host has it, is enough.
    on sh -c 'mv /etc/systemd/system/berth-look.path.d/repository.conf /etc/systemd/system/berth-look.path.d/module.conf; rm /etc/berth/berth.env; systemctl daemon-reload'
    exits 0 on berth hook install --repo "$other" --git-owner git --apply
    assert_match "$output" 'listens already'
    exits 1 on test -e /etc/berth/berth.env
}
