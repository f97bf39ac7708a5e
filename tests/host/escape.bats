#!/usr/bin/env bats
# Root of a container against the host: each way out that was ever found, as an attack that must fail. Witness: the host itself.
load ../lab/lib

NAME=t${BATS_SUITE_TEST_NUMBER:-1}e$$
on() { "$LAB/host" exec "$NAME" "$@"; }
b() { on "$REPO/${BERTH#"$REPO"/}" "$@"; }

setup() {
    need_berth
    "$LAB/host" make >/dev/null 2>&1 || skip "no host with systemd could be made: mmdebstrap needs Debian's packages"
    "$LAB/host" up "$NAME" --inet >&2
    # /srv has idmapped mounts; the root of this host, an overlay, has none.
    on sh -c 'mount -t tmpfs -o mode=755 tmpfs /srv; mkdir -p /srv/root/usr/bin /srv/root/usr/lib /srv/root/etc /srv/data
        for l in $(busybox --list); do ln -sf busybox /srv/root/usr/bin/$l; done; rm /srv/root/usr/bin/busybox; cp /bin/busybox /srv/root/usr/bin/
        ln -s usr/bin /srv/root/bin; ln -s usr/bin /srv/root/sbin; echo root:x:0:0::/root:/bin/sh >/srv/root/etc/passwd; cp -a /srv/root /srv/root2
        cp /usr/share/zoneinfo/UTC /etc/localtime 2>/dev/null || { mkdir -p /usr/share/zoneinfo; echo z >/usr/share/zoneinfo/UTC; }
        ln -sf /usr/share/zoneinfo/UTC /etc/localtime; mkdir -p /etc/berth; cat >/etc/berth/berth.yaml' <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    nat: {interface: auto}
	    containers:
	      host: {address: 10.100.0.10, runtime: nspawn, isolated: true}
	      boot: {address: 10.100.0.11, nspawn: {boot: true}}
	      dir: {address: 10.100.0.12, nspawn: {root: /srv/root, command: [/bin/sleep, "9999"], binds: ["/srv/data:/data:ro"]}}
	      none: {address: 10.100.0.13, nspawn: {private_users: none}}
	      nodir: {address: 10.100.0.14, nspawn: {private_users: none, root: /srv/root2, command: [/bin/sleep, "9999"]}}
	      same: {address: 10.100.0.15, nspawn: {private_users: identity}}
	END
    exits 0 b apply
}
teardown() { "$LAB/host" down "$NAME"; }

ALL="host boot dir none nodir same"

# in C SCRIPT: SCRIPT by root of container C; what it prints of a success begins with "won".
in_c() { local c=$1; shift; b run "$c" -- /bin/sh -c "$@"; }

@test "remounts of every mount, the host's files behind each of them" {
    local c
    on touch /srv/stamp
    for c in $ALL; do
        in_c "$c" 'cut -d" " -f5 /proc/self/mountinfo | sort -u | while read -r m; do
            for how in remount,bind,rw remount,rw remount,bind,rw,suid,dev,exec; do mount -o $how "$m" 2>/dev/null; done
            if [ -d "$m" ]; then echo own >"$m/own"; else echo own >>"$m"; fi
        done; umount /etc/hosts; echo own >>/etc/hosts; umount -l /usr; echo own >/usr/bin/own; mv /etc /etc.old; echo own >/etc/hosts' >/dev/null 2>&1 || true
    done
    # What is newer: only what belongs to containers. berth keeps their own etc in /run/berth/c/NAME/etc.
    assert_eq "$(on find /usr /etc /opt /root /home /boot /bin /sbin /lib /srv/data /run/berth/hosts /run/systemd /run/netns /var/lib/berth -xdev -newer /srv/stamp \
        -not -path '/run/systemd/*' -not -path '/etc/berth*' | xargs)" ""
    assert_eq "$(on find / -xdev -name own -not -path '/proc/*' | xargs)" ""
    assert_eq "$(on find /run -name own -not -path '/run/berth/c/*/etc/*' | xargs)" ""
    assert_eq "$(on sh -c 'grep -l own /run/berth/hosts/* /run/berth/c/*/ns/* /etc/hosts || :')" ""
}

@test "settings of the kernel, through /proc as it is and as it can be mounted" {
    local c file
    # Files are opened and never written: the kernel is shared with the machine that runs this test.
    for c in $ALL; do
        exits 0 in_c "$c" 'mount -o remount,bind,rw /proc/sys; mount -o remount,rw /proc
            mkdir -p /tmp/p /tmp/s; mount -t proc proc /tmp/p; mount -t sysfs sysfs /tmp/s; umount /proc/sys; umount -l /proc/sys
            for f in sys/kernel/core_pattern sys/kernel/modprobe sys/kernel/hotplug sys/kernel/sysrq sys/vm/panic_on_oom sys/fs/suid_dumpable \
                sys/kernel/yama/ptrace_scope sysrq-trigger kcore; do
                for p in /proc /tmp/p; do
                    [ ! -e $p/$f ] || (exec 3<>$p/$f) 2>/dev/null && [ -e $p/$f ] && echo "won $p/$f"
                done
            done
            for s in /sys /tmp/s; do for f in kernel/uevent_helper kernel/mm/ksm/run power/state; do
                [ -e $s/$f ] && (exec 3<>$s/$f) 2>/dev/null && echo "won $s/$f"
            done; done; true' 2>/dev/null
        refute_match "$output" won "$c"
    done
}

@test "its own /etc and log: limits while it runs, also after a restart by systemd and a reboot from inside" {
    local c before leader
    full() {
        in_c "$1" 'cat /dev/zero >/etc/fill; stat -c %s /etc/fill; rm /etc/fill' >"$BATS_TEST_TMPDIR/size" 2>"$BATS_TEST_TMPDIR/why" || true
        grep -q "No space left" "$BATS_TEST_TMPDIR/why" || fail "$1: no end: $(cat "$BATS_TEST_TMPDIR/size" "$BATS_TEST_TMPDIR/why")"
        (($(<"$BATS_TEST_TMPDIR/size") <= 16 << 20)) || fail "$1: $(cat "$BATS_TEST_TMPDIR/size") bytes in /etc"
        in_c "$1" 'for o in size=1g nr_inodes=0; do mount -o remount,$o /etc && echo "won $o"; done; cat /dev/zero >/etc/fill; true' >"$BATS_TEST_TMPDIR/won" 2>/dev/null
        ! grep won "$BATS_TEST_TMPDIR/won" || fail "$1"
    }
    used() { on df --output=used /run | tail -n 1; }
    before=$(used)
    for c in host boot none same; do full "$c"; done
    (($(used) <= before + 4096)) || fail "/run holds $(used) KiB, before $before"
    # The host has no mount more, and berth's own files are as berth wrote them.
    assert_eq "$(on sh -c 'grep -c " /run/berth/" /proc/1/mountinfo || :')" 0
    on cmp /etc/passwd /run/berth/c/boot/etc/passwd
    exits 0 b plan -e
    # As one of an earlier berth could leave it, where /etc was this directory.
    on mkfifo /run/berth/c/host/etc/pipe
    on timeout 60 systemctl restart berth@host
    on rm /run/berth/c/host/etc/pipe
    exits 1 in_c host '[ -e /etc/pipe ]'
    full host
    leader=$(on machinectl show -p Leader --value boot)
    in_c boot 'systemctl reboot' >/dev/null 2>&1 || true
    wait_for on sh -c 'new=$(machinectl show -p Leader --value boot) && [ "$new" != "$1" ] && [ "$(systemctl -M boot is-system-running 2>/dev/null)" != starting ]' sh "$leader"
    exits 0 in_c boot 'ls /etc/fill 2>/dev/null; ip -o -4 address show dev eth0 | grep -o 10.100.0.11'
    assert_eq "$output" 10.100.0.11
    full boot
    assert_eq "$(on sh -c 'ls /sys/fs/cgroup/machine.slice | grep -c "^berth@"')" 6
}

@test "cgroups: a container makes 4,096 at most, and none that ends with its stop is left" {
    local c
    for c in host boot none same; do
        exits 0 in_c $c 'for d in /sys/fs/cgroup /sys/fs/cgroup/unified; do [ ! -e $d/cgroup.procs ] || cd $d; done
            for round in 1 2; do mkdir $(seq -f x$round-%g 5000) 2>/dev/null; echo max >cgroup.max.descendants; done 2>/dev/null; find . -type d -name "x*" | wc -l'
        ((output > 3500 && output <= 4096)) || fail "$c made $output cgroups"
        exits 0 b stop $c
    done
    assert_eq "$(on sh -c 'find /sys/fs/cgroup -name "x[12]-*" | wc -l')" 0
}

@test "devices: made by mknod, and those that are there" {
    local c
    for c in $ALL; do
        exits 0 in_c "$c" 'cd /tmp || cd /; for d in "c 10 237" "b 7 0" "b 254 0" "b 8 0" "c 1 1" "c 1 2" "c 1 11" "c 10 229" "c 5 1"; do
                rm -f node; mknod node $d 2>/dev/null && (exec 3<node) 2>/dev/null && echo "won $d"
            done
            for d in /dev/loop-control /dev/loop0 /dev/mem /dev/kmsg /dev/vda /dev/sda /dev/fuse; do
                [ -e $d ] && (exec 3<>$d) 2>/dev/null && [ "$(readlink -f $d)" = $d ] && [ ! -f $d ] && echo "won $d"
            done; true'
        refute_match "$output" won "$c"
    done
    # The unit says so too, should a container have MKNOD.
    assert_eq "$(on systemctl show -P DevicePolicy berth@none)" strict
    on sed -i 's/private_users: none}/private_users: none, capabilities: [MKNOD]}/' /etc/berth/berth.yaml
    exits 0 b apply
    exits 0 in_c none 'cd /tmp; for d in "c 10 237" "b 7 0" "b 254 0" "c 1 1" "c 1 11"; do rm -f node; mknod node $d && (exec 3<node) 2>/dev/null && echo "won $d"; done
        (exec 3<>/dev/null) && echo fine'
    assert_eq "$output" fine
}

@test "mounts of sysfs and cgroup, other namespaces: the host's links, processes and cgroups stay out of sight" {
    local c host
    host=$(on readlink /proc/1/ns/mnt)
    on mkdir /sys/fs/cgroup/of-the-host
    for c in $ALL; do
        exits 0 in_c "$c" 'ls /sys/class/net | xargs'
        assert_eq "$output" "eth0 lo" "$c"
        output=$(in_c "$c" 'mkdir -p /tmp/s /tmp/c; mount -t sysfs sysfs /tmp/s && ls /tmp/s/class/net; mount -t cgroup2 none /tmp/c && ls /tmp/c /tmp/c/..
            ls /sys/fs/cgroup /tmp/c/..; cat /proc/self/cgroup; ls /proc; readlink /proc/[0-9]*/ns/mnt; nsenter -t 1 -m -n -p readlink /proc/1/ns/mnt
            unshare -Urmnp --fork sh -c "mount -t sysfs sysfs /tmp/s && ls /tmp/s/class/net; mount -t proc proc /tmp/c && ls /tmp/c"' 2>/dev/null || true)
        refute_match "$output" 'br0|vb-|berth@|of-the-host' "$c"
        [[ $output != *"$host"* ]] || fail "$c: it has reached the host's mount namespace"
        # A process of the host that it could see would have a command line with this name.
        output=$(in_c "$c" 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\0" "\n"' || true)
        refute_match "$output" 'systemd-nspawn|dbus-daemon --system --address=systemd: --nofork.*host' "$c"
    done
}

@test "its own network: an address, a link, a filter, a raw packet" {
    local c
    for c in host boot dir same none; do
        on sh -c 'nsenter --net=/run/netns/$1 ip -j address; nsenter --net=/run/netns/$1 nft list ruleset' sh "$c" >"$BATS_TEST_TMPDIR/before"
        in_c "$c" 'ip address add 10.100.0.77/24 dev eth0; ip link set eth0 address 02:00:00:00:00:99; ip link add x type dummy; ip route add 192.0.2.0/24 dev eth0
            nft add table inet x; echo 1 >/proc/sys/net/ipv4/ip_forward; mount -o remount,bind,rw /proc/sys; echo 1 >/proc/sys/net/ipv4/ip_forward' >/dev/null 2>&1 || true
        on sh -c 'nsenter --net=/run/netns/$1 ip -j address; nsenter --net=/run/netns/$1 nft list ruleset' sh "$c" | diff "$BATS_TEST_TMPDIR/before" - || fail "$c changed its network"
        assert_eq "$(on nsenter --net="/run/netns/$c" cat /proc/sys/net/ipv4/ip_forward)" 0 "$c"
    done
    # Under a user namespace not even a raw socket.
    local socket='socket(S, 17, 3, 0x0300) and print "won packet\n"; socket(S, 2, 3, 1) and print "won raw\n"; socket(S, 16, 3, 9) and print "audit\n"'
    for c in host boot; do
        exits 0 b run "$c" -- perl -e "$socket"
        refute_match "$output" won "$c"
    done
}

@test "system calls: modules, bpf, perf, keys, kexec, reboot, handles, clock, namespaces of others" {
    [[ $(uname -m) == x86_64 ]] || skip "numbers of x86_64"
    local c
    # Called by the container's own command, so that the filter of systemd-nspawn is what it meets.
    on sh -c 'cat >/srv/data/calls.pl' <<-'END'
	use Errno;
	my %n = (bpf => [321, 0, pack("x72"), 72], perf => [298, pack("x112"), 0, -1, -1, 0], init_module => [175, pack("x64"), 64, "\0"],
	    finit_module => [313, 0, "\0", 0], kexec_load => [246, 0, 0, 0, 0], kexec_file_load => [320, 0, 0, 0, "\0", 8],
	    add_key => [248, "user\0", "x\0", "y", 1, -3], keyctl => [250, 0, -3, 0], request_key => [249, "user\0", "x\0", "\0", -3],
	    clock_settime => [227, 0, pack("qq", 0, 0)], settimeofday => [164, pack("qq", 0, 0), 0], swapon => [167, "/tmp\0", 0], iopl => [172, 3],
	    syslog => [103, 3, "\0" x 64, 64], acct => [163, "/tmp/acct\0"], io_uring_setup => [425, 1, "\0" x 240],
	    open_by_handle_at => [304, 0, pack("LLx8", 8, 1), 0], userfaultfd => [323, 0]);
	$| = 1;
	for my $k (sort keys %n) {
	    my $r = syscall($n{$k}[0], map { my $a = $_; $a } @{$n{$k}}[1 .. $#{$n{$k}}]);
	    print $r >= 0 ? "won $k\n" : $!{EPERM} || $!{ENOSYS} || $!{EACCES} ? "refused $k\n" : "unsure $k $!\n";
	}
	print "over\n";
	sleep 9999;
	END
    on sh -c 'cat >>/etc/berth/berth.yaml' <<-'END'
	      calls-auto: {address: 10.100.0.20, nspawn: {command: [perl, /srv/data/calls.pl], binds: ["/srv/data:/srv/data:ro"]}}
	      calls-none: {address: 10.100.0.21, nspawn: {private_users: none, command: [perl, /srv/data/calls.pl], binds: ["/srv/data:/srv/data:ro"]}}
	      calls-same: {address: 10.100.0.22, nspawn: {private_users: identity, command: [perl, /srv/data/calls.pl], binds: ["/srv/data:/srv/data:ro"]}}
	END
    exits 0 b apply
    for c in calls-auto calls-none calls-same; do
        on timeout 60 sh -c 'until "$1" logs "$2" | grep -q "^over\|: over"; do :; done' sh "$REPO/${BERTH#"$REPO"/}" "$c"
        exits 0 b logs "$c"
        refute_match "$output" 'won|unsure' "$c"
        assert_match "$output" 'refused keyctl' "$c"
    done
}

@test "a start, a restart by systemd, a reboot from inside, a kill: the network is back without an apply" {
    local c before
    for c in host dir; do
        before=$(on systemctl show -P MainPID "berth@$c")
        on systemctl restart "berth@$c"
        exits 0 b run "$c" -- /bin/ping -c1 -W2 10.100.0.1 || exits 0 in_c "$c" 'ip route | grep -q default'
        [[ $(on systemctl show -P MainPID "berth@$c") != "$before" ]] || fail "not restarted"
        exits 0 b plan -e
    done
    before=$(on systemctl show -P MainPID berth@boot)
    in_c boot 'systemctl reboot' || true
    on timeout 60 sh -c 'until [ "$(systemctl show -P MainPID berth@boot)" != "$1" ] && [ "$(systemctl show -P MainPID berth@boot)" != 0 ] && systemctl is-active -q berth@boot; do sleep 0.1; done' sh "$before"
    exits 0 b run boot -- ping -c1 -W2 198.51.100.1
    exits 0 b plan -e
    on sh -c 'kill -9 "$(systemctl show -P MainPID berth@host)"; while systemctl is-active -q berth@host; do sleep 0.05; done
        while machinectl show host >/dev/null 2>&1; do sleep 0.05; done; systemctl start berth@host'
    exits 0 b run host -- ping -c1 -W2 198.51.100.1
    exits 0 b plan -e
}

@test "an entered process holds no descriptor of the host's, and no more capabilities than the container" {
    local c
    for c in $ALL; do
        exits 0 in_c "$c" 'ls -l /proc/$$/fd | sed -n "s/.* -> //p"' </dev/null
        refute_match "$output" '(^|\n)/(run|var|etc|usr|work|root|sys|proc/[0-9]*/ns|dev/(tty|pts))|memfd|net:|mnt:' "$c"
        exits 0 in_c "$c" 'sed -n "s/^CapBnd:\t//p" /proc/self/status /proc/1/status'
        assert_eq "$(sort -u <<<"$output" | wc -l)" 1 "$c"
    done
}

@test "a source becomes a link: restarts by systemd and a reboot from inside do not follow it, and the journal says why" {
    on sh -c 'mkdir -p /srv/all/low /srv/all/b /srv/secret; echo SECRET >/srv/secret/marker; echo mine >/srv/all/low/marker; echo mine >/srv/all/b/marker; cp -a /srv/root /srv/all/root; echo mine >/srv/all/root/marker
        sed -i "s,{boot: true},{boot: true\\, binds: [\"/srv/all/b:/b\"]}," /etc/berth/berth.yaml; cat >>/etc/berth/berth.yaml' <<-'END'
	      wide: {address: 10.100.0.20, nspawn: {root: /srv/root3, command: [/bin/sleep, "9999"], binds: ["/srv/all:/all"]}}
	      low: {address: 10.100.0.21, nspawn: {binds: ["/srv/all/low:/data:ro"]}}
	      base: {address: 10.100.0.22, nspawn: {root: /srv/all/root, command: [/bin/sleep, "9999"]}}
	END
    on cp -a /srv/root /srv/root3
    exits 0 b apply
    assert_eq "$(in_c low 'cat /data/marker') $(in_c boot 'cat /b/marker') $(in_c base 'cat /marker')" "mine mine mine"
    exits 0 in_c wide 'cd /all; for d in low b root; do mv $d was-$d; done; ln -s /srv/secret low; ln -s /srv/secret b; ln -s /srv/root2 root'
    local c leader
    for c in low base; do
        exits 1 on timeout 60 systemctl restart "berth@$c"
        assert_match "$(on journalctl -q -o cat -u "berth@$c")" "berth: '/srv/all/[a-z]*' leads through the symbolic link '/srv/all/[a-z]*', which lies in a directory that a container can write"
        assert_eq "$(on systemctl show -P MainPID "berth@$c")" 0
    done
    leader=$(on machinectl show -p Leader --value boot)
    in_c boot 'systemctl reboot' >/dev/null 2>&1 || true
    wait_for on sh -c '! [ -e /proc/$1 ] && systemctl is-failed -q berth@boot' sh "$leader"
    assert_match "$(on journalctl -q -o cat -u berth@boot)" "berth: '/srv/all/b' leads through the symbolic link '/srv/all/b'"
    exits 0 in_c wide 'cd /all; for d in low b root; do rm $d; mv was-$d $d; done'
    for c in low base boot; do on timeout 60 systemctl restart "berth@$c"; done
    assert_eq "$(in_c low 'cat /data/marker') $(in_c boot 'cat /b/marker') $(in_c base 'cat /marker')" "mine mine mine"
    exits 0 b plan -e
    # A link that root alone can change, and an exchange while systemd restarts.
    on sh -c 'mv /srv/all/low /srv/low && ln -s /srv/low /low && sed -i "s,/srv/all/low:/data,/low:/data," /etc/berth/berth.yaml'
    exits 0 b apply
    on timeout 60 systemctl restart berth@low
    assert_eq "$(in_c low 'cat /data/marker')" mine
    exits 0 b destroy --yes
    assert_eq "$(on sh -c 'grep -l "/run/berth/c/[a-z]*/start" /proc/[0-9]*/mountinfo 2>/dev/null; ls -A /run/berth/c /var/lib/berth 2>/dev/null; pgrep -af "[s]ystemd-nspawn"; :')" ""
}

@test "the file of systemd-nspawn and what its first process has open stay as they are on the host" {
    local c before
    state() { on sh -c 'stat -c "%n %a %u:%g %y %z" "$(command -v systemd-nspawn)" /dev/null /run/systemd/journal/stdout'; }
    before=$(state)
    for c in $ALL; do
        in_c "$c" 'for p in /proc/[0-9]*; do for f in $p/exe $p/fd/*; do chmod 4757 $f; chown 1000:1000 $f; touch $f; echo x >>$f; done; done' >/dev/null 2>&1 || true
        assert_eq "$(state)" "$before" "$c"
        # Of the first process, which in a container without an init is a part of systemd-nspawn.
        on sh -c 'ls -l /proc/$(machinectl show -p Leader --value "$1")/fd' sh "$c" >"$BATS_TEST_TMPDIR/fds"
        case $c in boot) ;; *) assert_eq "$(sed -n 's,.* \([0-9]*\) -> \([^:]*\).*,\1 \2,p' "$BATS_TEST_TMPDIR/fds" | xargs)" "0 /run/berth/c/$c/start/null 1 socket 2 socket" "$c" ;; esac
    done
}
