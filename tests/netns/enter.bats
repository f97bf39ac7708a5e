#!/usr/bin/env bats
# Entering a container: what the command inside may do and hold, and that nothing inside reaches the operator's terminal.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    command -v cc >/dev/null || skip "needs a compiler"
    lab_up
    box
}
teardown() { lab_down; }

# A container of busybox, whose root is /srv/root, and a namespace alone.
box() {
    host_sh 'mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc /srv/root/proc /srv/root/sys /srv/root/dev /srv/root/run /srv/root/tmp /srv/root/root
        cp "$(command -v busybox)" /srv/root/bin/busybox
        for a in sh sleep cat env ls readlink grep head tr stty tty yes wc md5sum dd true kill; do ln -sf busybox /srv/root/bin/$a; done'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      box: {address: 10.100.0.10, runtime: nspawn, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"]}}
	      alone: {address: 10.100.0.20, runtime: netns}
	END
    exits 0 berth apply "$SPEC"
}

leader() { exits 0 berth list --json -f "$SPEC"; json '.containers[] | select(.name == "box") | .leader'; }

# helper NAME: a program of tests/netns, on the host at /srv/NAME and inside at /NAME. It is compiled once.
helper() {
    local program=$BATS_FILE_TMPDIR/$1
    if [[ ! -e $program ]]; then cc -O1 -static -o "$program" "$REPO/tests/netns/$1.c"; fi
    host install -m 755 "$program" "/srv/$1"
    host install -m 755 "$program" "/srv/root/$1"
}

# field NAME: of a process's status in $output.
field() { sed -n "s/^$1:[[:space:]]*//p" <<<"$output"; }

@test "the command has the container's capabilities, a system call filter, a clean environment and three descriptors" {
    local theirs
    theirs=$(host grep CapBnd "/proc/$(leader)/status" | cut -f2)
    exits 0 host env OPERATORS_SECRET=x SSH_AUTH_SOCK=/y "$BERTH" run box -- cat /proc/self/status
    assert_eq "$(field CapBnd)" "$theirs"
    assert_eq "$(field CapEff)" "$theirs"
    assert_eq "$(field CapPrm)" "$theirs"
    assert_eq "$(field CapInh)" 0000000000000000
    assert_eq "$(field CapAmb)" 0000000000000000
    assert_eq "$(field Seccomp)" 2
    # setuid programs inside go on to work.
    assert_eq "$(field NoNewPrivs)" 0
    exits 0 host env OPERATORS_SECRET=x SSH_AUTH_SOCK=/y "$BERTH" run box -- env
    assert_eq "$(cut -d= -f1 <<<"$output" | sort | xargs)" "HOME LANG LOGNAME PATH TERM USER container"
    exits 0 host_sh 'exec 7</etc/passwd 9>/tmp/x; "$1" run box -- sh -c "ls /proc/\$\$/fd; true"' "$BERTH"
    assert_eq "$(xargs <<<"$output")" "0 1 2"
    assert_eq "$(echo 'cat /proc/$$/status; ls /proc/$$/fd; true' | host "$BERTH" login box | grep -E '^(CapEff|Seccomp:|[0-9])' | xargs)" "CapEff: $theirs Seccomp: 2 0 1 2"
}

@test "the command has the container's variables, which no argument shows" {
    host_sh 'mkdir -p /srv/keys && printf "%s\n" "s3 cret" >/srv/keys/token && chmod 600 /srv/keys/token'
    sed -i "s,command: .*9999.\],& \, environment: {TZ: UTC\, QUOTED: \"a 'b' \\\\\"c\\\\\" %n\"\, HOME: /tmp\, TOKEN: {file: /srv/keys/token}}," "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 host env OPERATORS_SECRET=x "$BERTH" run box -- sh -c 'echo "$TZ|$QUOTED|$HOME|$TOKEN|$USER|$OPERATORS_SECRET"'
    assert_eq "$output" "UTC|a 'b' \"c\" %n|/tmp|s3 cret|root|"
    assert_eq "$(echo 'echo $TZ $TOKEN' | host "$BERTH" login box)" "UTC s3 cret"
    exits 0 host_sh '"$1" run box -- sleep 7779 & p=$!; until pgrep -f "^sleep 7779" >/dev/null; do read -rt 0.05 <>/srv/full2 || :; done
        ! grep -al "s3 [c]ret" /proc/[0-9]*/cmdline; r=$?; pkill -f "^sleep 7779"; wait $p; exit $r' "$BERTH"
}

@test "a tracer inside catches no process that may do more than its container, nor anything of the operator's" {
    helper tracer
    local theirs i
    theirs=$(host grep CapBnd "/proc/$(leader)/status" | cut -f2)
    apart '"$1" run box -- /tracer </dev/null >/dev/null 2>&1 &' "$BERTH"
    wait_for host test -e /srv/root/caught
    host_sh 'export OPERATORS_SECRET=1; for ((i = 0; i < 150; i++)); do "$1" run box -- true </etc/passwd; done' "$BERTH"
    host touch /srv/root/enough
    # Of a process that has ended meanwhile there is nothing to read.
    assert_eq "$(host_sh 'grep CapPrm /srv/root/caught | grep -vE "CapPrm:.$1 .*CapBnd:.$1 .*Seccomp:.2 .*fds [0-3] secret 0$" || :' "$theirs")" ""
}

@test "nothing inside types into the operator's terminal, whatever is redirected, nor through login" {
    host_sh '[[ ! -e /proc/sys/dev/tty/legacy_tiocsti || $(</proc/sys/dev/tty/legacy_tiocsti) == 1 ]]' || skip "this kernel has no TIOCSTI"
    helper typist
    helper terminal
    local form
    for form in "" "</dev/null" ">/tmp/o" "2>/tmp/e" "</dev/null >/tmp/o" "</dev/null 2>/tmp/e" ">/tmp/o 2>/tmp/e" "</dev/null >/tmp/o 2>/tmp/e" \
        "| cat" "2>&1 | cat" "< <(echo)"; do
        host rm -f /srv/root/typist
        helper typist
        host rm -f /srv/root/seen
        exits 0 host /srv/terminal -- bash -c "'$BERTH' run box -- sh -c '/typist; cat /typist >/seen' $form"
        exits 0 host test -s /srv/root/seen
    done
    exits 0 host /srv/terminal -w '# ' -s $'/typist; exit\n' -- "$BERTH" login box
    # The witness of the witness: without berth the same program does type.
    exits 99 host /srv/terminal -- /srv/typist
}

@test "the command's descriptors are none of the operator's: a file cannot be opened again for writing" {
    host_sh 'echo before >/srv/input; echo >/srv/output'
    exits 0 host_sh '"$1" run box -- sh -c "cat; (echo evil >/proc/self/fd/0) 2>/dev/null; cat /proc/self/fd/1 2>/dev/null & true" </srv/input >>/srv/output' "$BERTH"
    assert_eq "$(host cat /srv/input)" before
    # Nor the shell's script, or what the next program reads.
    exits 0 host_sh 'printf "%s\n" "\"$1\" run box -- sh -c \"(echo echo evil >/proc/self/fd/0) 2>/dev/null & sleep 0.2\"" "echo next" | bash -s "$1"' "$BERTH"
    assert_eq "$output" next
}

@test "what the command does not read stays for the next program: file, pipe, socket" {
    host_sh 'printf "%s\n" one two three >/srv/lines'
    local want=$'in one\nin two\nin three'
    exits 0 host_sh 'while read -r l; do echo "in $l"; "$1" run box -- true; done </srv/lines' "$BERTH"
    assert_eq "$output" "$want"
    exits 0 host_sh 'cat /srv/lines | while read -r l; do echo "in $l"; "$1" run box -- true; done' "$BERTH"
    assert_eq "$output" "$want"
    exits 0 host_sh '{ "$1" run box -- sh -c "read l; echo first \$l"; cat; } </srv/lines' "$BERTH"
    assert_eq "$output" $'first one\ntwo\nthree'
    exits 0 host_sh 'cat /srv/lines | { "$1" run box -- sh -c "read l; echo first \$l"; cat; }' "$BERTH"
    assert_eq "$output" $'first one\ntwo\nthree'
    # A script that comes by standard input.
    exits 0 host_sh 'printf "%s\n" "\"$1\" run box -- true" "echo two" "\"$1\" run box -- cat" "three" | bash -s "$1"' "$BERTH"
    assert_eq "$output" $'two\nthree'
    host_sh "printf '%s\n' '\"$BERTH\" run box -- sh -c \"read l; echo first \\\$l\"; cat' >/srv/both"
    exits 0 host_sh 'socat -u FILE:/srv/lines EXEC:"bash /srv/both",sockets,nofork=0 2>/dev/null || socat FILE:/srv/lines,ignoreeof=0\!\!STDOUT EXEC:"bash /srv/both"'
    assert_eq "$output" $'first one\ntwo\nthree'
}

@test "large binary data in and out is whole; a reader that leaves ends the command; order of the two outputs" {
    host_sh 'head -c 20000000 /dev/urandom >/srv/data'
    local want
    want=$(host_sh 'md5sum </srv/data')
    assert_eq "$(host_sh '"$1" run box -- cat </srv/data | md5sum' "$BERTH")" "$want"
    assert_eq "$(host_sh 'cat /srv/data | "$1" run box -- cat >/srv/copy; md5sum </srv/copy' "$BERTH")" "$want"
    assert_eq "$(host_sh 'cat /srv/data | "$1" run alone -- cat | cat | md5sum' "$BERTH")" "$want"
    exits 0 host_sh 'timeout 20 "$1" run box -- yes | head -1' "$BERTH"
    assert_eq "$output" y
    exits 0 host_sh '"$1" run box -- sh -c "for i in 1 2 3 4 5 6 7 8 9; do echo \$i; echo \$i >&2; done" >/srv/both 2>&1; xargs </srv/both' "$BERTH"
    assert_eq "$output" "1 1 2 2 3 3 4 4 5 5 6 6 7 7 8 8 9 9"
    # A process that stays behind with the pipe is not waited for.
    exits 0 host_sh 'timeout 10 "$1" run box -- sh -c "sleep 8888 & echo done"' "$BERTH"
    assert_eq "$output" "done"
}

@test "a terminal: a name inside, its size, line editing, Ctrl-C, Ctrl-Z of a job inside, Ctrl-D, status" {
    helper terminal
    exits 0 host /srv/terminal -- "$BERTH" run box -- tty
    assert_match "$output" "^/dev/pts/[0-9]"
    exits 0 host /srv/terminal -w $'24 80' -r 40 100 -s $'\n' -w $'40 100' -- "$BERTH" run box -- sh -c 'stty size; read x; stty size'
    exits 7 host /srv/terminal -w '# ' -s $'exit 7\n' -- "$BERTH" login box
    exits 130 host /srv/terminal -w up -s $'\003' -- "$BERTH" run box -- sh -c 'echo up; sleep 7777'
    exits 0 host /srv/terminal -w up -s $'abc\177d\n' -w 'got abd' -s $'\004' -- "$BERTH" run box -- sh -c 'echo up; read x; echo got $x; cat'
    exits 0 host /srv/terminal -w '# ' -s $'sh -c "echo g\'\'o; exec sleep 7777"\n' -w $'go\r' -s $'\032' -w Stopped -s $'kill -9 %1\n' -w '# ' -s $'exit 0\nexit 0\n' -- "$BERTH" login box
    # The operator's terminal is as it was.
    exits 0 host /srv/terminal -- bash -c "stty -a >/tmp/1; '$BERTH' run box -- true; stty -a >/tmp/2; cmp /tmp/1 /tmp/2"
}

@test "a terminal for a part of the command: what is typed comes in lines, Ctrl-C and Ctrl-D work, lines end once" {
    helper terminal
    # The shell reads, and not cat(1): that may lock its output pipe before 'got one' is read out of it (next test).
    exits 0 host /srv/terminal -w up -s $'one\n' -w 'got one' -s $'\004' -w ended -- bash -c "'$BERTH' run box -- sh -c 'echo up; read x; echo got \$x; while read y; do echo \$y; done; echo ended' | cat"
    exits 130 host /srv/terminal -w up -s $'\003' -- bash -c "set -o pipefail; trap : INT; '$BERTH' run box -- sh -c 'echo up; sleep 7777' | cat"
    exits 0 host_sh "echo x | /srv/terminal -- bash -c 'echo in | \"$BERTH\" run box -- sh -c \"cat; echo out\"' | od -c"
    refute_match "$output" '\\r +\\r'
    # A pager beside it has the keyboard: line mode is off, so nothing is taken from it.
    exits 0 host /srv/terminal -w up -s 'q' -w 'key q' -- bash -c "'$BERTH' run box -- sh -c 'echo up; while [ ! -e /stop ]; do sleep 0.1; done' | { read l; stty -icanon </dev/tty; echo \$l; read -rn1 k </dev/tty; echo key \$k; touch /srv/root/stop; }"
    # Nor while that program is busy and does not read.
    exits 0 host /srv/terminal -w up -s 'q' -w 'key q' -- bash -c "'$BERTH' run box -- sh -c 'echo up; while [ ! -e /stop2 ]; do sleep 0.1; done' | { read l; stty -icanon </dev/tty; echo \$l; sleep 0.5; read -rn1 k </dev/tty; echo key \$k; touch /srv/root/stop2; }"
}

no_pump() { ! host pgrep -x berth-pump; }

@test "a command that splices to its output locks that pipe: keys and TERM reach it, and nothing is lost" {
    helper terminal
    helper splicer
    local i all='$(pgrep -x "berth|berth-pump")' got='while read -r l; do echo "got $l"; done'
    # berth and what belongs to it find the first bytes in a pipe that is locked already. As with
    # every pipe, they can be read when the next bytes come.
    exits 0 host timeout 60 /srv/terminal -w holds -s $'one\n' -s $'two\n' -s $'\004' -w 'got ended' \
        -- bash -c "'$BERTH' run alone -- sh -c '/srv/splicer $all; echo ended' | $got"
    assert_match "$output" 'got up.*got one.*got two.*got ended'
    exits 143 host_sh '"$1" run alone -- sh -c "exec /srv/splicer -s -w /srv/holds $2" >/srv/out & p=$!
        until [ -e /srv/holds ]; do read -rt 0.05 <>/srv/full2 || :; done; kill -TERM $p; wait $p' "$BERTH" "$all"
    assert_eq "$(host cat /srv/out)" up
    # With programs that people use, the lock is a matter of chance.
    for i in {1..10}; do
        exits 0 host timeout 60 /srv/terminal -w up -s $'one\n' -s $'two\n' -s $'\004' -w 'got ended' \
            -- bash -c "'$BERTH' run box -- sh -c 'echo up >&2; cat; echo ended' | $got"
        assert_match "$output" 'got one.*got two.*got ended'
    done
    wait_for no_pump
}

@test "a process that stays behind and locks the pipe: berth passes on all that the command wrote, and ends" {
    helper splicer
    local stay='rm -f /srv/holds; /srv/splicer -s -w /srv/holds & until [ -e /srv/holds ]; do sleep 0.1; done'
    # What it wrote has come before the pipe is locked.
    exits 7 host_sh ': >/srv/out; timeout 60 "$1" run alone -- sh -c "echo one; until [ -s /srv/out ]; do sleep 0.05; done; $2; exit 7" |
        cat >/srv/out; exit ${PIPESTATUS[0]}' "$BERTH" "$stay"
    assert_eq "$(host cat /srv/out)" one
    host pkill -x splicer
    # The command's bytes are in the locked pipe. berth waits for them, until TERM ends it.
    exits 7 host_sh '"$1" run alone -- sh -c "$2; exit 7" >/srv/out & p=$!
        until [ -e /srv/holds ] && pgrep -r D -x berth-pump >/dev/null && pgrep -r Z -P $p -x berth-enter >/dev/null
        do read -rt 0.05 <>/srv/full2 || :; done
        kill -TERM $p; wait $p' "$BERTH" "${stay/ &/ \$(pgrep -x \"berth|berth-pump\") &}"
    host pkill -x splicer
    wait_for no_pump
}

@test "a job in the background leaves the keyboard alone; Ctrl-Z stops the command with berth, fg goes on" {
    helper terminal
    exits 0 host /srv/terminal -w '$ ' -s $'"$B" run box -- sh -c "echo started-\\$((1+1)); sleep 1; echo ended-\\$((1+1))" &\n' -w started-2 -s $'echo shell-$((1+1))\n' -w shell-2 -w ended-2 -s $'exit\n' \
        -- env B="$BERTH" PS1='$ ' bash --norc -i
    exits 0 host /srv/terminal -w '$ ' -s $'"$B" run box -- sh -c "echo started-\\$((1+1)); while :; do echo tick-\\$((2+2)); echo >>/beat; sleep 0.1; done" | cat\n' -w started-2 -s $'\032' -w Stopped \
        -s $'a=$(wc -l </srv/root/beat); sleep 0.5; [ $a = $(wc -l </srv/root/beat) ] && echo still-$((1+1))\n' -w still-2 -s $'fg\n' -w tick-4 -s $'\003' -w '$ ' -s $'exit 0\n' \
        -- env B="$BERTH" PS1='$ ' bash --norc -i
}

@test "TERM ends a run whose reader does not read, and one that waits for a frozen container" {
    exits 143 host_sh 'mkfifo /srv/full; exec 8<>/srv/full; "$1" run box -- sh -c "yes & sleep 7777" >&8 & p=$!
        until pgrep -f "^sleep 7777" >/dev/null; do read -rt 0.05 <>/srv/full2 || :; done; kill -TERM $p; wait $p' "$BERTH"
    local cgroup
    cgroup=$(host_sh 'find /sys/fs/cgroup -path "*berth/box/cgroup.freeze" | head -1')
    host_sh 'echo 1 >"$1"' "$cgroup"
    exits 143 host_sh 'timeout -s KILL 20 "$1" run box -- true & p=$!; sleep 0.3; pkill -TERM -P $p -x berth; wait $p' "$BERTH"
    host_sh 'echo 0 >"$1"' "$cgroup"
    # Frozen after the command has started.
    exits 143 host_sh 'timeout -s KILL 20 "$1" run box -- sleep 7778 & p=$!
        until pgrep -f "^sleep 7778" >/dev/null; do read -rt 0.05 <>/srv/full2 || :; done
        echo 1 >"$2"; pkill -TERM -P $p -x berth; wait $p' "$BERTH" "$cgroup"
    host_sh 'echo 0 >"$1"' "$cgroup"
    # A command that ends in its own time has that time.
    exits 7 host_sh '"$1" run box -- sh -c "trap \"sleep 2; exit 7\" TERM; echo ready; while :; do sleep 0.1; done" >/srv/ready & p=$!
        until grep -q ready /srv/ready 2>/dev/null; do read -rt 0.05 <>/srv/full2 || :; done; kill -TERM $p; wait $p' "$BERTH"
}

@test "logs on a terminal leave control sequences out; --raw and a pipe do not" {
    helper terminal
    host_sh 'printf "\033]0;title\007\033[31mred\033[0m\ttab é\rX\n" >>/run/berth/c/box/log'
    exits 0 host /srv/terminal -- "$BERTH" logs box
    assert_eq "$output" $'red\ttab éX\r'
    exits 0 host /srv/terminal -- "$BERTH" logs --raw box
    assert_eq "$output" $'\033]0;title\a\033[31mred\033[0m\ttab é\rX\r'
    exits 0 berth logs box
    assert_eq "$output" $'\033]0;title\a\033[31mred\033[0m\ttab é\rX'
    exits 130 host /srv/terminal -w red -s $'\003' -- "$BERTH" logs -f box
}

@test "in a user namespace too: the leader's capabilities, a terminal, output by its name, files of the container's root" {
    helper terminal
    exits 0 berth destroy --yes "$SPEC"
    host_sh 'mkdir /srv2 && mount -t tmpfs -o mode=755 tmpfs /srv2 && cp -a /srv/root /srv2/root'
    sed -i 's|/srv/root|/srv2/root|' "$SPEC"
    exits 0 berth apply "$SPEC"
    local theirs
    theirs=$(host grep CapBnd "/proc/$(leader)/status" | cut -f2)
    exits 0 berth run box -- sh -c 'cat /proc/self/uid_map /proc/self/status'
    refute_match "$output" '^ +0 +0 '
    assert_eq "$(field CapBnd) $(field CapEff) $(field CapPrm) $(field Seccomp) $(field Groups)" "$theirs $theirs $theirs 2 "
    assert_eq "$(field Uid)" $'0\t0\t0\t0'
    # By its name, as daemons do it; the pipe belongs to the container's root.
    exits 0 host_sh '"$1" run box -- sh -c "echo named >/dev/stdout; echo made >/made" | cat' "$BERTH"
    assert_eq "$output" named
    assert_eq "$(host stat -c %u /srv2/root/made)" 0
    exits 0 host /srv/terminal -- "$BERTH" run box -- sh -c 'tty; echo to the terminal >/dev/tty'
    assert_match "$output" '^/dev/pts/[0-9].*to the terminal'
}

@test "system calls that reach the host are refused, by each of the machine's ways to call" {
    helper refused
    exits 0 berth run box -- /refused
    assert_eq "$output" ""
    # The witness of the witness: outside they are not.
    exits 0 host /srv/refused
    assert_match "$output" 'keyctl gives [0-9]'
}

@test "what a container makes of its /dev/ptmx hurts that container's terminals alone" {
    helper terminal
    local trick
    for trick in 'rm -f /dev/ptmx; mkfifo /dev/ptmx' 'rm -f /dev/ptmx; echo x >/dev/ptmx' 'rm -f /dev/ptmx; ln -s null /dev/ptmx' 'rm -f /dev/ptmx'; do
        exits 0 berth run box -- /bin/busybox sh -c "$(sed 's/\(rm\|mkfifo\|ln\) /busybox \1 /g' <<<"$trick")"
        exits 126 host /srv/terminal -- "$BERTH" run box -- true
        assert_match "$output" 'cannot (open|use) /dev/ptmx in the container: '
        exits 0 berth run box -- true
    done
}

@test "a container that is still being started is not entered with the capabilities of that stage" {
    command -v strace >/dev/null || skip "strace is not installed"
    exits 0 berth stop box -f "$SPEC"
    # nspawn waits before its system call filter, much longer than berth waits for it.
    host_sh 'setsid strace -f -qq -o /dev/null -e trace=seccomp -e inject=seccomp:delay_enter=60s "$1" start box -f "$2" >/dev/null 2>&1 3>&- &' "$BERTH" "$SPEC"
    wait_for first_process
    exits 1 host timeout 60 "$BERTH" run box -- /bin/sh -c "echo >/entered"
    assert_match "$stderr" "cannot enter container 'box': its first process has no system call filter"
    exits 1 host test -e /srv/root/entered
    host pkill -KILL strace
}
first_process() { host_sh 'for p in $(cat $(find /sys/fs/cgroup -path "*berth/box*" -name cgroup.procs)); do grep -qE "^NSpid:.*[[:space:]]1$" /proc/$p/status && exit 0; done; exit 1'; }

@test "a container that freezes itself: run says so and ends, stop thaws it" {
    # As its root can: a cgroup of its own below, with all its processes, frozen.
    freeze() {
        host_sh 'for top in /sys/fs/cgroup/unified /sys/fs/cgroup; do
                dir=$top$(sed -n "s/^0:://p" "/proc/$1/cgroup"); [ -e "$dir/cgroup.procs" ] && break; done
            mkdir "$dir/x" && for p in $(cat "$dir/cgroup.procs"); do echo "$p" >"$dir/x/cgroup.procs"; done
            echo 1 >"$dir/x/cgroup.freeze"; until grep -q "frozen 1" "$dir/x/cgroup.events"; do :; done' "$(leader)"
    }
    freeze
    exits 1 host timeout -s KILL 30 "$BERTH" run box -- true
    assert_match "$stderr" "cannot enter container 'box': it is frozen"
    local start=$SECONDS
    exits 0 berth stop -f "$SPEC" box
    ((SECONDS - start < 8)) || fail "the stop took $((SECONDS - start)) s"
    exits 0 berth start -f "$SPEC" box
    exits 0 berth run box -- true
}

@test "no pseudo-terminal left: the limit is named, and a command without a terminal runs" {
    helper terminal
    host_sh 'nsenter -t "$1" -m /bin/busybox mount -t devpts -o remount,max=1,ptmxmode=666 devpts /dev/pts' "$(leader)"
    berth run box -- sh -c 'exec 3<>/dev/ptmx; echo held; exec sleep 60' >"$BATS_TEST_TMPDIR/held" 3>&- {LAB_LIFE}>&- &
    wait_for grep -q held "$BATS_TEST_TMPDIR/held"
    exits 126 host /srv/terminal -- "$BERTH" run box -- true
    assert_match "$output$stderr" "no pseudo-terminal is left.*kernel.pty.max"
    exits 0 berth run box -- true
    exits 0 berth stop -f "$SPEC" box
}
