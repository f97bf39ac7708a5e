#!/usr/bin/env bats
# The days after the first apply: files that go and come back, logs, figures, packets, backups.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up --inet
}
teardown() { lab_down; }

# A root of busybox alone, and a tar of it, on the host.
root_dir() {
    host_sh 'mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc /srv/root/proc /srv/root/sys /srv/root/dev /srv/root/run /srv/root/tmp
        cp "$(command -v busybox)" /srv/root/bin/busybox && for a in sh sleep cat hostname ping dd head; do ln -sf busybox /srv/root/bin/$a; done
        echo kept >/srv/root/canary; tar -C /srv/root -cf /srv/root.tar .'
}

# What each container is, one line a container, after the host's part.
hosts_with() {
    spec <<-END
	version: 1
	defaults: {container: {runtime: nspawn}}
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	$(sed 's/^/      /')
	END
}

tarred() {
    root_dir
    hosts_with <<-'END'
	pause: 10.100.0.10
	tar: {address: 10.100.0.30, nspawn: {root: /srv/root.tar, command: [/bin/sleep, "9999"]}}
	END
    exits 0 berth apply "$SPEC"
    host_sh 'echo mine >/var/lib/berth/roots/tar/written'
}

# ---- files of containers that go ----

@test "destroy keeps the trees that berth unpacked; with --files they go, and nothing of them stays" {
    tarred
    exits 0 berth destroy --yes "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth apply "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth destroy --yes --files "$SPEC"
    assert_match "$output" "root tar"
    assert_eq "$(host_sh 'ls -A /var/lib/berth 2>/dev/null || :')" ""
    assert_eq "$(host cat /srv/root/canary)" kept
}

@test "on_remove: destroy: the tree goes with its container, and comes back whole when that apply fails" {
    tarred
    sed -i 's/"9999"\]/"9999"]}, on_remove: destroy/; s/destroy}}/destroy}/' "$SPEC"
    exits 0 berth apply "$SPEC"
    # The container leaves the spec in the same apply in which another one cannot start.
    sed -i '/tar:/d' "$SPEC"
    cp "$SPEC" "$SPEC.good"
    echo '      bad: {address: 10.100.0.40, nspawn: {root: /srv/root, command: [/no/such]}}' >>"$SPEC"
    exits 5 berth apply "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/tar/written)" mine
    exits 0 berth run tar -- cat /written
    assert_eq "$output" mine
    exits 0 berth apply "$SPEC.good"
    assert_eq "$(host_sh 'ls -A /var/lib/berth/roots 2>/dev/null || :')" ""
}

@test "a tree with a mount in it, or a link in its place, is not removed: refused by name, nothing is lost" {
    tarred
    host_sh 'mkdir /var/lib/berth/roots/tar/disk /srv/disk && echo other >/srv/disk/file && mount --bind /srv/disk /var/lib/berth/roots/tar/disk'
    exits 5 berth destroy --yes --files "$SPEC"
    assert_match "$stderr" "mounted at '/var/lib/berth/roots/tar/disk'"
    assert_eq "$(host cat /srv/disk/file /var/lib/berth/roots/tar/written | xargs)" "other mine"
    exits 0 berth plan -e "$SPEC"
    host_sh 'umount /var/lib/berth/roots/tar/disk; mv /var/lib/berth/roots/tar /srv/elsewhere; ln -s /srv/elsewhere /var/lib/berth/roots/tar'
    exits 5 berth destroy --yes --files "$SPEC"
    assert_match "$output$stderr" "symbolic link"
    assert_eq "$(host cat /srv/elsewhere/written)" mine
}

# ---- logs ----

# A container that says a line for each that it reads from /ask.
talker() {
    root_dir
    hosts_with <<-'END'
	talk: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; exec sleep 9999']}}
	END
    exits 0 berth apply "$SPEC"
    wait_for host grep -qx 'line 20' /run/berth/c/talk/log
}
LOG=/run/berth/c/talk/log

@test "logs: all, the last ones, and across a file that was put aside" {
    talker
    exits 0 berth logs talk
    assert_match "$output" $'^line 1\n.*line 20$'
    exits 0 berth logs -n 2 talk
    assert_eq "$output" $'line 19\nline 20'
    exits 0 berth logs -n 0 talk
    assert_eq "$output" ""
    host_sh "mv $LOG $LOG.old; echo 'line 21' >$LOG"
    exits 0 berth logs -n 2 talk
    assert_eq "$output" $'line 20\nline 21'
    exits 0 berth logs talk
    assert_match "$output" $'line 1\n.*line 20\nline 21$'
    exits 1 berth logs tal
    assert_match "$stderr" "no log here"
}

@test "logs -f: what is written, a file cut off, one put aside and begun anew; ends with its reader and with the container" {
    talker
    local out=$BATS_TEST_TMPDIR/out
    host "$BERTH" logs -f -n 1 talk >"$out" 2>&1 3>&- {LAB_LIFE}>&- &
    local pid=$!
    wait_for grep -q 'line 20' "$out"
    host_sh "echo more >>$LOG"
    wait_for grep -q more "$out"
    host_sh "echo last >>$LOG; mv $LOG $LOG.old; echo 'after the change' >$LOG"
    wait_for grep -q 'after the change' "$out"
    host_sh "echo again >>$LOG"
    wait_for grep -q again "$out"
    host_sh "echo 'cut off' >$LOG"
    wait_for grep -q 'cut off' "$out"
    assert_eq "$(grep -c . "$out")" 6
    exits 0 berth destroy --yes "$SPEC"
    wait "$pid" || fail "logs -f failed when its container went"
    exits 0 berth apply "$SPEC"
    exits 0 host_sh '"$1" logs -f talk | head -1' "$BERTH"
    assert_eq "$output" "line 1"
}

@test "the log of a container whose first start failed outlives the undo, until it starts or all is destroyed" {
    root_dir
    hosts_with <<-'END'
	talk: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/no/such]}}
	END
    exits 5 berth apply "$SPEC"
    assert_match "$stderr" "berth logs talk"
    assert_eq "$(host_sh 'ls /run/berth/c 2>/dev/null || :')" ""
    exits 0 berth logs talk
    assert_match "$output" "/no/such"
    exits 0 berth logs -n1 talk
    exits 0 berth plan "$SPEC"
    sed -i 's|/no/such|/bin/sleep, "9999"|' "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth logs talk
    refute_match "$output" "/no/such"
    exits 0 host test ! -e /run/berth/failed
    sed -i 's|/bin/sleep, "9999"|/no/such|; s/talk:/other:/' "$SPEC"
    exits 5 berth apply "$SPEC"
    exits 0 berth logs other
    exits 0 berth destroy --yes "$SPEC"
    exits 1 berth logs other
    exits 0 host test ! -e /run/berth/failed
}

# ---- top ----

# One that idles, one that burns a processor, and a namespace alone.
busy() {
    root_dir
    hosts_with <<-'END'
	idle: 10.100.0.10
	burn: {address: 10.100.0.20, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'while :; do :; done']}}
	bare: {address: 10.100.0.30, runtime: netns}
	END
    exits 0 berth apply "$SPEC"
}
link_bytes() { host ip -s -j link show vb-bare | jq -c '.[0].stats64 | [.tx.bytes, .rx.bytes, .tx.packets, .rx.packets]'; }
cgroup_dir() { host_sh 'find /sys/fs/cgroup -type d -path "*/berth/$1" | head -1' "$1"; }
of() { json ".containers[] | select(.name == \"$1\") | $2"; }

@test "top: what cgroup files and ip's counters say, rates between two readings, names, JSON" {
    busy
    local dir low high
    dir=$(cgroup_dir burn)
    host ping -q -c3 -i0.01 -s 1000 10.100.0.30 >/dev/null
    low=$(host awk '/^usage_usec/ {print $2}' "$dir/cpu.stat")
    exits 0 berth top --json -i 200ms
    high=$(host awk '/^usage_usec/ {print $2}' "$dir/cpu.stat")
    assert_eq "$(json '[.containers[] | "\(.name) \(.runtime)"] | join(",")')" "bare netns,burn nspawn,idle nspawn"
    (($(of burn .cpu_usec) >= low && $(of burn .cpu_usec) <= high))
    # The table of processors is shared with others here: half of one is plenty more than what an idle one takes.
    [[ $(of burn '.cpu_percent > 20') == true && $(of idle '.cpu_percent < 10') == true ]]
    assert_eq "$(of idle .tasks)" "$(host_sh 'find "$1" -name cgroup.threads -exec cat {} + | wc -l' "$(cgroup_dir idle)")"
    [[ $(of idle '.memory_bytes > 100000') == true ]]
    assert_match "$(of idle .memory_from)" 'cgroup|processes'
    assert_eq "$(json '.containers[] | select(.name == "bare") | [.cpu_usec, .memory_bytes, .tasks] | map(. == null) | all')" true
    # What the host's end sends is what the container receives.
    low=$(link_bytes)
    exits 0 berth top --json -i 50ms bare
    high=$(link_bytes)
    jq -en --argjson low "$low" --argjson high "$high" --argjson now "$(jq -c '.containers[0].network | [.rx_bytes, .tx_bytes, .rx_packets, .tx_packets]' <<<"$output")" \
        '[range(4)] | all(. as $i | $low[$i] > 0 and $low[$i] <= $now[$i] and $now[$i] <= $high[$i])' >/dev/null || fail "counters: $low, $output, $high"
    exits 0 berth top -n1 -i 100ms burn
    assert_match "$output" $'^NAME +RUNTIME +CPU .*\nburn +nspawn +[0-9.]+% '
    refute_match "$output" 'idle|\x1b'
    exits 1 berth top brun
    assert_match "$stderr" "brun"
    exits 0 berth top -n2 -i 100ms bare
    assert_eq "$(grep -c '^NAME' <<<"$output")" 2
}

@test "top counts bytes as they go: the rate is that of the flow" {
    busy
    host_sh 'ping -q -f -s 1400 10.100.0.30 >/dev/null & echo $! >/run/flood'
    exits 0 berth top --json -i 500ms bare
    host_sh 'kill $(cat /run/flood)'
    [[ $(of bare '.network.rx_bytes_per_second > 20000 and .network.tx_bytes_per_second > 20000') == true ]]
}

# on_terminal KEY: `berth top` on a pty, redrawn three times, then ended by KEY. Leaves in /run of the host: screen (all that was shown),
# status, and the terminal's settings before and after. A Ctrl-C is for the shell around it, too: dash, unlike bash, would end by it.
on_terminal() {
    host_sh 'cd /run; rm -f keys shown screen status before after; mkfifo keys shown; exec 9<>keys
        script -qefc "trap : INT; stty -g >before; \"$1\" top -i 100ms; echo status \$? >status; stty -g >after" /dev/null <keys >shown 8>&- & p=$!
        exec 8<shown; exec >screen
        for ((seen = 0; seen < 3;)); do
            IFS= read -rt 30 -u 8 line || { kill $p; exit 1; }
            printf "%s\n" "$line"
            if [[ $line == *burn* ]]; then ((++seen)); fi
        done
        printf "$2" >&9
        # The whole of it, to the end: a key that is not heard shows as a screen that goes on.
        timeout 30 cat <&8 || { kill $p; exit 1; }
        wait $p' "$BERTH" "$1"
}

@test "top on a terminal: redrawn, ended by q and by Ctrl-C, the terminal as it was" {
    busy
    local key
    for key in q '\003'; do
        on_terminal "$key" || fail "not ended by $key: $(host cat /run/screen)"
        assert_eq "$(host cat /run/status)" "status 0"
        assert_eq "$(host cat /run/after)" "$(host cat /run/before)"
        assert_match "$(host cat /run/screen)" $'\e\\[\\?1049h.*\e\\[H.*\e\\[\\?1049l'
    done
}

# ---- capture ----

need_tcpdump() { host_sh 'command -v tcpdump >/dev/null' || skip "tcpdump is not installed"; }

@test "capture: the packets of that container alone, on a terminal and into a file; the filter, the status and the signal are tcpdump's" {
    need_tcpdump
    busy
    host_sh 'rm -f /run/said; "$1" capture bare -- -c 2 icmp >/run/seen 2>/run/said & p=$!
        until grep -qs "listening on vb-bare" /run/said; do kill -0 $p || exit 1; done
        ping -q -c1 10.100.0.10 >/dev/null; ping -q -c1 10.100.0.30 >/dev/null; wait $p' "$BERTH"
    assert_match "$(host cat /run/seen)" "10.100.0.1 > 10.100.0.30: ICMP echo request"
    refute_match "$(host cat /run/seen)" "10.100.0.10"
    host_sh 'mkdir -m 700 /run/private; rm -f /run/said; "$1" capture bare -w /run/private/p.pcap -- -c 2 icmp 2>/run/said & p=$!
        until grep -qs "listening on vb-bare" /run/said; do kill -0 $p || exit 1; done
        ping -q -c1 10.100.0.30 >/dev/null; wait $p' "$BERTH"
    assert_eq "$(host tcpdump -n -r - < <(host cat /run/private/p.pcap) 2>/dev/null | grep -c ICMP)" 2
    assert_eq "$(host stat -c %a /run/private/p.pcap)" 600
    exits 137 host_sh 'rm -f /run/said; "$1" capture bare >/dev/null 2>/run/said & p=$!
        until grep -qs "listening on vb-bare" /run/said; do kill -0 $p || exit 1; done
        kill -KILL $p; wait $p' "$BERTH"
    exits 1 berth capture bare -- no such filter
    assert_match "$stderr" "syntax error"
    exits 1 berth capture bra
    assert_match "$stderr" "not here"
    exits 64 berth capture
}

@test "capture where tcpdump is not installed says so, and 69" {
    hosts_with <<<'bare: {address: 10.100.0.30, runtime: netns}'
    exits 0 berth apply "$SPEC"
    host_sh 'rm -f /usr/bin/tcpdump /usr/sbin/tcpdump'
    exits 69 berth capture bare
    assert_match "$stderr" "tcpdump is not installed"
    assert_match "$stderr" "apt-get install tcpdump"
}
