#!/usr/bin/env bats
# A container that breaks its own files fails alone: the others run.
load ../lab/lib

setup() {
    need_berth
    lab_up
    host_sh 'mkdir -p /srv/bad/{bin,etc,proc,sys,dev,tmp,run,usr} && cp /bin/busybox /srv/bad/bin/ && for i in sh sleep; do ln -s busybox /srv/bad/bin/$i; done
        touch /srv/bad/etc/os-release && cp -a /srv/bad /srv/good'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      bad: {address: 10.100.0.10, runtime: nspawn, nspawn: {root: /srv/bad, command: [/bin/sleep, "9999"], private_users: none}}
	      good: {address: 10.100.0.20, runtime: nspawn, nspawn: {root: /srv/good, command: [/bin/sleep, "9999"], private_users: none}}
	      net: {address: 10.100.0.30, runtime: netns}
	END
}
teardown() { lab_down; }

# The processes in a container's network namespace, without berth's help.
processes() { host ip netns pids "$1" | wc -l; }
# The others run and can be reached.
others() {
    (($(processes good) > 0)) || fail "good does not run"
    pings "inside net" 10.100.0.20
}
# boot STATUS: as the first run after a boot, of a host where nothing of berth is left in /run and in the kernel.
boot() {
    host_sh 'rm -f /run/berth/lock'
    exits "$1" berth apply --boot --boot-wait 0 "$SPEC"
}
breaks() { host_sh 'rm -rf /srv/bad/etc; echo x >/srv/bad/etc'; }
mends() { host_sh 'rm -f /srv/bad/etc; mkdir /srv/bad/etc; touch /srv/bad/etc/os-release'; }

@test "at boot: a container whose /etc is a file is named, and all others start" {
    exits 0 berth apply "$SPEC"
    exits 0 berth destroy --yes
    breaks
    boot 6
    assert_match "$stderr" "berth.yaml:6:[0-9]+: cannot start container 'bad': "
    assert_match "$stderr" "what is named above failed, and nothing was undone"
    assert_eq "$(processes bad)" 0
    others
    # Later runs try again, and leave the others alone.
    local before
    before=$(host ip netns pids good)
    exits 6 berth apply "$SPEC"
    assert_match "$stderr" "cannot start container 'bad'"
    assert_eq "$(host ip netns pids good)" "$before"
    exits 2 berth plan -e "$SPEC"
    mends
    exits 0 berth apply "$SPEC"
    (($(processes bad) > 0)) || fail "bad does not run"
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host ip netns pids good)" "$before"
}

@test "later: it died and cannot start again; a new container of the same apply starts" {
    exits 0 berth apply "$SPEC"
    breaks
    host_sh 'kill -9 $(ip netns pids bad)'
    until_gone() { (($(processes bad) == 0)); }
    wait_for until_gone
    echo '      more: {address: 10.100.0.40, runtime: netns}' >>"$SPEC"
    exits 6 berth apply "$SPEC"
    assert_match "$stderr" "cannot start container 'bad'"
    pings "inside more" 10.100.0.20
    others
}

@test "a new setting that keeps a container from its start is undone, as ever" {
    exits 0 berth apply "$SPEC"
    sed -i '/ good:/s,/bin/sleep,/no/such,' "$SPEC"
    exits 5 berth apply "$SPEC"
    others
}

@test "a container fills its own /etc with a very deep tree and odd files: a start replaces it, destroy removes it" {
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      bad: {address: 10.100.0.10, runtime: nspawn, nspawn: {command: [sleep, "9999"]}}
	      good: {address: 10.100.0.20, runtime: netns}
	END
    exits 0 berth apply "$SPEC"
    local turn
    for turn in 1 2; do
        exits 0 berth run -f "$SPEC" bad -- sh -c 'cd /etc && for top in a b; do perl -e "mkdir q(.berth-deep-0); for (1..5000) { mkdir qq(d) x 200 or die; chdir qq(d) x 200 or die }" || exit 1
            mkdir $top || exit 1; cd $top; done; rm -f /etc/passwd; mkdir /etc/passwd; chmod 0 /etc/passwd; mkdir /etc/.group.berth-new'
        [[ $turn == 2 ]] || exits 0 berth restart -f "$SPEC" bad
    done
    exits 0 berth plan -e "$SPEC"
    exits 0 berth destroy --yes
    assert_eq "$(host_sh 'ls -A /run/berth/c 2>/dev/null || :')" ""
}
