#!/usr/bin/env bats
# A container in a file, and out of it again: here, under another name, on a host that has never seen it.
load ../lab/lib

setup() {
    need_berth
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    lab_up --inet
    B=$BATS_TEST_TMPDIR/web.tar.zst
}
teardown() { lab_down; }

# A root of busybox with one of everything that a file system can hold.
web() {
    host_sh 'set -e; mkdir -p /srv/root/bin /srv/root/usr /srv/root/etc /srv/root/proc /srv/root/sys /srv/root/dev /srv/root/run /srv/root/tmp /srv/root/data
        cd /srv/root
        cp "$(command -v busybox)" bin/busybox && for a in sh sleep cat hostname ping date; do ln -sf busybox bin/$a; done
        echo first >data/page
        ln data/page data/same
        ln -s ../../../etc/passwd data/away
        mkfifo data/fifo
        cp bin/busybox data/suid; chown 1000:33 data/suid; chmod 6755 data/suid
        printf x >"data/$(printf "blank and \303\251 \n line")"; printf x >"data/$(printf "e\314\201")"; printf x >"data/$(printf "no \377 text")"
        truncate -s 64M data/sparse; printf end >>data/sparse
        setfattr -n user.mark -v yes data/page
        setfattr -n trusted.deep -v no data
        mkdir data/locked; chmod 000 data/locked
        touch -d "2001-02-03 04:05:06.789012345" data/page data'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      other: {address: 10.100.0.20, runtime: nspawn}
	      web:
	        address: 10.100.0.10
	        runtime: nspawn
	        ports: ["8080-8082:80-82", "127.0.0.1:5353:53/udp"]
	        nspawn: {root: /srv/root, command: [/bin/sh, -c, 'while :; do /bin/date >>/beat; /bin/sleep 0.05; done'], environment: {A: 'b "c"'}}
	END
    exits 0 berth apply "$SPEC"
}

# All that there is of a tree, seen by others: find(1), sha256sum(1), getfattr(1).
tree() {
    host_sh 'cd "$1" && find . -path ./beat -prune -o -not -path ./tmp -printf "%P|%y|%m|%U:%G|%s|%T@|%l|%n\n" | sort
        find . -type f -not -name beat -exec sha256sum {} + | sort; getfattr -R -d -m - -h . 2>/dev/null; stat -c "%b" data/sparse' "$1"
}

@test "a container goes into a file, and comes out of it under another name: byte for byte, by the lines that are printed" {
    web
    exits 0 berth backup web "$B" -f "$SPEC"
    assert_match "$output" 'Backed up web to .*web.tar.zst: [0-9]+ entries, .*; it stood still for [0-9.]+ s; read back and checked'
    assert_eq "$(stat -c %a "$B")" 600
    # GNU tar reads it, too.
    assert_match "$(tar --zstd -tf "$B" 2>/dev/null | head -3 | xargs)" '^berth.json berth.format root'
    exits 0 tar --zstd -xOf "$B" berth.json
    assert_eq "$(json '.spec.nspawn.root + " " + .spec.ports[0]')" '/srv/root 8080-8082:80-82'
    exits 0 berth restore "$B" --name copy --address 10.100.0.11 -f "$SPEC"
    assert_match "$output" "its machine-id and host keys are still those of web"
    # What was printed goes into the spec as it stands.
    printf '%s\n' "$output" | sed -n '/^      copy:/,/^$/p' >>"$SPEC"
    assert_match "$output" 'Its ports stay with web: 8080-8082:80-82, 127.0.0.1:5353:53/udp; give it others'
    exits 0 berth validate "$SPEC"
    exits 0 berth apply "$SPEC"
    exits 0 berth plan -e "$SPEC"
    diff <(tree /srv/root) <(tree /var/lib/berth/roots/copy)
    exits 0 berth run copy -- /bin/sh -c 'echo "$(/bin/cat /data/page)"; test -s /beat'
    assert_eq "$output" first
    exits 0 berth run copy -- /bin/ping -c1 -W2 web
    # Out of the spec the tree stays, as any other does; --files takes it away.
    sed -i '/^      copy:/,$d' "$SPEC"
    exits 0 berth apply "$SPEC"
    host test -e /var/lib/berth/roots/copy/data/page
    exits 0 berth destroy --yes --files "$SPEC"
    assert_eq "$(host_sh 'ls -A /var/lib/berth 2>/dev/null || :')" ""
    host test -e /srv/root/data/page
}

@test "in its place: nothing is replaced unasked; with --force it is, in one step, and only that container starts anew" {
    web
    exits 0 berth backup web "$B" -q -f "$SPEC"
    local before other
    before=$(tree /srv/root)
    other=$(berth list --json -f "$SPEC" | jq '.containers[] | select(.name == "other") | .leader')
    host_sh 'echo second >/srv/root/data/page; rm /srv/root/data/away; touch /srv/root/new'
    exits 1 berth backup web "$B" -f "$SPEC"
    assert_match "$stderr" "is there already"
    exits 0 berth backup web "$B.2" -q -f "$SPEC"
    exits 4 berth restore "$B" -f "$SPEC"
    assert_match "$stderr" "container web has a root already: '/srv/root'"
    assert_eq "$(host cat /srv/root/data/page)" second
    exits 0 berth restore "$B" --force -f "$SPEC"
    assert_match "$output" 'at /srv/root; started again'
    diff <(echo "$before") <(tree /srv/root)
    assert_eq "$(host_sh 'ls -A /srv | grep berth || :')" ""
    assert_eq "$(berth list --json -f "$SPEC" | jq '.containers[] | select(.name == "other") | .leader')" "$other"
    exits 0 berth plan -e "$SPEC"
    # One that does not start: the old root is back, and runs.
    host_sh 'rm /srv/root/bin/sh'
    exits 0 berth stop web -f "$SPEC"
    exits 0 berth backup web "$B.3" -f "$SPEC"
    refute_match "$output" 'stood still'
    exits 0 berth restore "$B.2" --force -q -f "$SPEC"
    exits 0 berth start web -f "$SPEC"
    exits 5 berth restore "$B.3" --force -f "$SPEC"
    assert_match "$stderr" "does not start from the backup; its old root is in place again"
    assert_eq "$(host cat /srv/root/data/page)" second
    exits 0 berth plan -e "$SPEC"
    assert_eq "$(host_sh 'ls -A /srv | grep berth || :')" ""
    exits 5 berth restore "$B.3" --force --json -f "$SPEC"
    assert_eq "$(jq -rs 'map(.format + " " + .outcome) | join(",")' <<<"$output")" "berth.restore rolled_back"
}

@test "it stands still while it is read, and goes on whatever happens to berth" {
    web
    # A reader that waits: berth can be looked at while the container is frozen, and killed.
    host_sh 'dd if=/dev/urandom of=/srv/root/data/noise bs=1M count=8 status=none'
    apart 'cd "$3"; mkfifo pipe; "$1" backup web - -f "$2" >pipe 2>said & exec 9<pipe; head -c 1000 <&9 >/dev/null
        end=$((SECONDS + 10)); until grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events; do [ $SECONDS -lt $end ] || exit 2; done
        a=$(stat -c %s /srv/root/beat); "$1" list -f "$2" >/dev/null; test "$a" = "$(stat -c %s /srv/root/beat)" || exit 3
        kill -9 $!; exec 9<&-
        end=$((SECONDS + 10)); until [ "$(stat -c %s /srv/root/beat)" -gt "$a" ]; do [ $SECONDS -lt $end ] || exit 4; done' "$BERTH" "$SPEC" "$BATS_TEST_TMPDIR"
    exits 0 berth plan -e "$SPEC"
    # Through a pipe, whole.
    host_sh 'set -o pipefail; "$1" backup web - -f "$2" | cat >"$3"' "$BERTH" "$SPEC" "$B"
    exits 0 berth restore "$B" --name w2 -f "$SPEC"
    printf '%s\n' "$output" | sed -n '/^      w2:/,/^$/p' >>"$SPEC"
    grep -q '10.100.0.11' "$SPEC"
    exits 0 berth validate "$SPEC"
}

@test "what is damaged, cut off or not of ours is refused before anything is made" {
    web
    exits 0 berth backup web "$B" -q -f "$SPEC"
    local size before dir=$BATS_TEST_TMPDIR i
    size=$(stat -c %s "$B")
    wait_for host_sh 'ip -j link show br0 | grep -q "\"operstate\":\"UP\""'
    fingerprint >"$dir/before"
    before=$(host_sh 'ls -A /srv /var/lib/berth; cat /srv/root/data/page')
    refused() {
        exits 1 berth restore "$1" --force -f "$SPEC"
        assert_match "$stderr" "cannot restore from '[^']*': $2"
        assert_eq "$(host_sh 'ls -A /srv /var/lib/berth; cat /srv/root/data/page')" "$before"
    }
    for i in 10 $((size / 3)) $((size / 2)) $((size - 20)); do
        cp "$B" "$dir/bad"
        printf '\x5a\xa5' | dd of="$dir/bad" bs=1 seek="$i" conv=notrunc status=none
        refused "$dir/bad" .
    done
    for i in 0 1 1000 $((size / 2)) $((size - 1)); do
        head -c "$i" "$B" >"$dir/bad"
        refused "$dir/bad" .
    done
    refused /etc/passwd 'this is no backup'
    # Made anew from the same entries: an entry more, one less, another mode.
    mkdir "$dir/x"
    tar --zstd -xf "$B" -C "$dir/x" --exclude='root/data/blank*' --exclude=root/data/fifo 2>/dev/null
    again() { (cd "$dir/x" && tar --zstd --xattrs -cf "$dir/bad" berth.json "$@"); }
    again root/ berth.manifest
    refused "$dir/bad" .
    printf 'x' >"$dir/x/passwd"
    (cd "$dir/x" && tar --zstd -cPf "$dir/bad" berth.json --transform='s,^passwd,root/../../../etc/evil,' passwd berth.manifest)
    refused "$dir/bad" .
    (cd "$dir/x" && ln -s / up && mkdir -p real && echo hi >real/evil &&
        tar --zstd -cPf "$dir/bad" berth.json --transform='s,^up,root/up,;s,^real,root/up,' up real/evil berth.manifest)
    refused "$dir/bad" .
    assert_eq "$(host_sh 'ls /etc/evil /evil 2>/dev/null || :')" ""
    same_facts "$dir/before"
}

@test "a namespace alone is its spec; what is not here, or does not fit, is refused by name" {
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: [10.100.0.1/24, "fd00:1::1/64"]}
	    containers:
	      lone: {address: [10.100.0.10, "fd00:1::10"], runtime: netns, isolated: true}
	      host: {address: 10.100.0.20, runtime: nspawn}
	END
    exits 0 berth apply "$SPEC"
    exits 64 berth backup lon "$B" -f "$SPEC"
    assert_match "$stderr" 'did you mean lone'
    exits 0 berth backup lone "$B" -f "$SPEC"
    assert_match "$output" 'it has no files of its own'
    exits 0 berth restore "$B" --name twin --json -f "$SPEC"
    # The next addresses that are free, since lone keeps its own.
    assert_eq "$(json '.spec_lines.isolated, .spec_lines.address[0], .spec_lines.address[1]' | xargs)" 'true 10.100.0.11 fd00:1::11'
    exits 64 berth restore "$B" --name 'Not_A_Name' -f "$SPEC"
    exits 64 berth restore "$B" --name twin --address 10.300.0.1 -f "$SPEC"
    # Where the spec has no room for it.
    exits 64 berth restore "$B" --name twin --address 10.100.9.20 -f "$SPEC"
    assert_match "$stderr" "'10.100.9.20' cannot be its address: .*outside bridge br0"
    exits 64 berth restore "$B" --name twin --address 10.100.0.20 -f "$SPEC"
    assert_match "$stderr" "'10.100.0.20' cannot be its address: container host has it"
    exits 64 berth restore "$B" --name twin --address 10.100.0.1 -f "$SPEC"
    exits 0 berth restore "$B" --name twin --address 10.100.0.30 --json -f "$SPEC"
    exits 0 berth restore "$B" --name twin --address fd00:1::30 --json -f "$SPEC"
    # Where it has another one for it.
    exits 4 berth restore "$B" --force --address 10.100.0.30 -f "$SPEC"
    assert_match "$stderr" 'the spec gives container lone 10.100.0.10, and --address is 10.100.0.30'
    exits 0 berth restore "$B" --force --address 10.100.0.10 -f "$SPEC"
    exits 4 berth restore "$B" --name host -f "$SPEC"
    assert_match "$stderr" "the backup is of a container of runtime netns, and the spec gives host runtime nspawn"
    exits 64 berth backup lone
    exits 64 berth backup lone "$B.2" --closure -f "$SPEC"
    assert_match "$stderr" '--closure is for NixOS containers'
    assert_eq "$(host_sh 'ls -A /var/lib/berth 2>/dev/null | xargs')" 'applied claims ids writable'
}

# old_format FROM TO: a backup as berth wrote it before holes were left out of digests. Its tree has no attributes.
old_format() {
    local dir=$BATS_TEST_TMPDIR/old line path
    mkdir "$dir" && tar --zstd -xf "$1" -C "$dir" 2>/dev/null
    {
        echo 'berth.manifest 1'
        while read -r line; do
            path=${line##* }
            [[ $line != f\ * ]] || line=$(awk -v d="$(sha256sum <"$dir/$path" | cut -d' ' -f1)" '{$7 = d} 1' <<<"$line")
            echo "$line"
        done < <(tail -n +2 "$dir/berth.manifest")
    } >"$dir/manifest"
    mv "$dir/manifest" "$dir/berth.manifest"
    (cd "$dir" && { echo berth.json; tail -n +3 berth.manifest | awk '{print $NF}'; echo berth.manifest; } |
        tar --zstd --format=pax --no-recursion --hard-dereference --sparse -cf "$2" -T -)
}

plain() {
    host_sh 'set -e; mkdir -p /srv/root/{bin,usr,etc,proc,sys,dev,run,tmp,data}; cd /srv/root
        cp "$(command -v busybox)" bin/busybox && for a in sh sleep date; do cp bin/busybox bin/$a; done; echo first >data/page'
    spec <<-'END'
	version: 1
	hosts:
	  localhost:
	    bridge: {name: br0, address: 10.100.0.1/24}
	    containers:
	      other: {address: 10.100.0.20, runtime: netns}
	      web: {address: 10.100.0.10, runtime: nspawn, nspawn: {root: /srv/root, command: [/bin/sh, -c, 'while :; do /bin/sleep 1; done']}}
	END
    exits 0 berth apply "$SPEC"
}

@test "holes cost no time: a file of 4 TiB goes into a backup and out of it, and stays a hole" {
    plain
    host_sh 'truncate -s 4T /srv/root/data/hole; printf x | dd of=/srv/root/data/hole bs=1 seek=3000000000000 conv=notrunc status=none
        truncate -s 200K /srv/root/data/zeros; dd if=/dev/zero of=/srv/root/data/zeros bs=4K count=20 conv=notrunc status=none'
    exits 0 host timeout 60 "$BERTH" backup web "$B" -f "$SPEC"
    (($(stat -c %s "$B") < 10000000)) || fail "the backup is $(stat -c %s "$B") bytes long"
    exits 0 host timeout 60 "$BERTH" restore "$B" --name copy -f "$SPEC"
    assert_eq "$(host stat -c %s /var/lib/berth/roots/copy/data/hole)" 4398046511104
    (($(host stat -c %b /var/lib/berth/roots/copy/data/hole) < 1000)) || fail "the hole was filled"
    exits 0 host dd if=/var/lib/berth/roots/copy/data/hole bs=1 skip=3000000000000 count=1 status=none
    assert_eq "$output" x
    host cmp /srv/root/data/zeros /var/lib/berth/roots/copy/data/zeros
}

@test "a backup of an earlier berth is restored, unless its holes would take for ever to check" {
    plain
    exits 0 berth backup web "$B" -q -f "$SPEC"
    old_format "$B" "$B.1"
    exits 0 berth restore "$B.1" --name copy -f "$SPEC"
    assert_eq "$(host cat /var/lib/berth/roots/copy/data/page)" first
    # One byte that is not what its manifest says.
    printf second >"$BATS_TEST_TMPDIR/old/root/data/page"
    (cd "$BATS_TEST_TMPDIR/old" && { echo berth.json; tail -n +3 berth.manifest | awk '{print $NF}'; echo berth.manifest; } |
        tar --zstd --format=pax --no-recursion -cf "$B.2" -T -)
    exits 1 berth restore "$B.2" --name copy2 -f "$SPEC"
    truncate -s 1T "$BATS_TEST_TMPDIR/old/root/data/page"
    (cd "$BATS_TEST_TMPDIR/old" && { echo berth.json; tail -n +3 berth.manifest | awk '{print $NF}'; echo berth.manifest; } |
        tar --zstd --format=pax --no-recursion --sparse -cf "$B.3" -T -)
    exits 1 host timeout 60 "$BERTH" restore "$B.3" --name copy3 -f "$SPEC"
    assert_match "$stderr" 'has holes that are too large to check'
}

@test "an archive that holds more than there is room for is refused before anything is unpacked" {
    plain
    host_sh 'dd if=/dev/zero of=/srv/root/data/bomb bs=1M count=64 status=none; mkdir /small; mount -t tmpfs -o size=16m tmpfs /small'
    exits 0 berth backup web "$B" -q -f "$SPEC"
    (($(stat -c %s "$B") < 8000000))
    sed -i 's,^      other:.*,&\n      big: {address: 10.100.0.30\, runtime: nspawn\, state: stopped\, nspawn: {root: /small/root}},' "$SPEC"
    exits 1 berth restore "$B" --name big -f "$SPEC"
    assert_match "$stderr" 'its files hold more than the [0-9]+ MiB that are free'
    assert_eq "$(host_sh 'ls -A /small')" ""
}

@test "a killed backup that thaws late does not thaw the container of the next one" {
    plain
    host_sh 'dd if=/dev/urandom of=/srv/root/data/noise bs=1M count=64 status=none'
    # The child in a session of its own thaws at the end of its parent. It is stopped, so it is late.
    apart 'cd "$3"; mkfifo first second; "$1" backup web - -f "$2" >first 2>/dev/null & killed=$!
        exec 8<first; head -c 1000 <&8 >/dev/null
        for child in $(pgrep -P $killed); do
            if [ "$(ps -o sid= -p $child)" -eq $child ]; then late=$child; kill -STOP $late; fi
        done
        kill -KILL $killed; wait $killed 2>/dev/null
        "$1" backup web - -f "$2" >second 2>said & next=$!
        exec 9<second; timeout 0.5 head -c 1000 <&9 >/dev/null; kill -CONT $late || exit 2
        cat <&9 >/dev/null; wait $next || { cat said; exit 1; }' "$BERTH" "$SPEC" "$BATS_TEST_TMPDIR" >&2
}

@test "while data is copied others can work; a signal ends it at once and leaves nothing" {
    plain
    host_sh 'dd if=/dev/urandom of=/srv/root/data/noise bs=1M count=64 status=none'
    # A reader that waits: the copying has begun, and does not go on.
    apart 'cd "$3"; mkfifo pipe; "$1" backup web - -f "$2" >pipe 2>said & exec 9<pipe; head -c 1000 <&9 >/dev/null
        until grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events; do sleep 0.02; done
        timeout 20 "$1" apply --lock-timeout 0 "$2" || exit 2
        kill -TERM $!; end=$((SECONDS + 10)); while kill -0 $! 2>/dev/null; do [ $SECONDS -lt $end ] || exit 3; sleep 0.02; done
        wait $!; [ $? = 143 ] || exit 4
        grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events && exit 5; exit 0' "$BERTH" "$SPEC" "$BATS_TEST_TMPDIR"
    # Into a file: whatever ends it, no other file is left.
    local dir=$BATS_TEST_TMPDIR/backups signal
    mkdir "$dir"
    for signal in TERM INT KILL; do
        apart 'PATH=$PATH:/usr/sbin; "$1" backup web "$3/web.tar.zst" -f "$2" >/dev/null 2>&1 & 
            until grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events || [ -e "$3/web.tar.zst" ]; do sleep 0.005; done
            kill -$4 $!; wait $!; exit 0' "$BERTH" "$SPEC" "$dir" "$signal"
        assert_eq "$(ls -A "$dir" | grep -v '^web.tar.zst$' || :)" "" "after SIG$signal"
    done
    exits 0 berth backup web "$B" -q --force -f "$SPEC"
    apart '"$1" restore "$3" --name copy -f "$2" >/dev/null 2>&1 &
        until [ -e /var/lib/berth/roots/.copy.berth-new/data/noise ] || [ -e /var/lib/berth/roots/copy ]; do sleep 0.005; done
        kill -TERM $!; wait $!; exit 0' "$BERTH" "$SPEC" "$B"
    assert_eq "$(host_sh 'ls -A /var/lib/berth/roots | grep berth-new || :')" ""
    exits 0 berth status -e "$SPEC"
}

@test "a backup that another command disturbs fails, and is not kept" {
    plain
    local what
    for what in restart backup; do
        apart 'cd "$3"; rm -f pipe; mkfifo pipe; "$1" backup web - -f "$2" >pipe 2>said & exec 9<pipe; head -c 1000 <&9 >/dev/null
            until grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events; do sleep 0.02; done
            case $4 in
            restart) "$1" restart web -f "$2" >/dev/null 2>&1 ;;
            backup) "$1" backup web /tmp/second -q -f "$2" --force || exit 2 ;;
            esac
            cat <&9 >/dev/null; wait $!; [ $? = 1 ] || exit 3; cat said' "$BERTH" "$SPEC" "$BATS_TEST_TMPDIR" "$what" >"$BATS_TEST_TMPDIR/out"
        assert_match "$(<"$BATS_TEST_TMPDIR/out")" "container 'web' did not stand still while it was copied"
    done
}

@test "a lease on a file of the tree ends the backup soon, and by the file's name" {
    plain
    apart 'exec >/dev/null 2>&1; perl -e "
        \$SIG{IO} = q(IGNORE);
        for (1 .. 3) { open \$f[\$_], q(+>), qq(/srv/root/data/leased\$_) or die; fcntl(\$f[\$_], 1024, 1) or die }
        open my \$ready, q(>), q(/run/leased); sleep 300" &'
    wait_for host test -e /run/leased
    local start=$SECONDS
    exits 1 berth backup web "$B" -f "$SPEC"
    assert_match "$stderr" "a process has a lease on '/?data/leased1'"
    ((SECONDS - start < 20)) || fail "the backup took $((SECONDS - start)) s"
    host_sh '! grep -qs "frozen 1" /sys/fs/cgroup/{,unified/}berth/web/cgroup.events'
    [[ ! -e $B ]]
}

@test "a pipe in the place of a backup is refused, and nobody waits for its writer" {
    mkfifo "$BATS_TEST_TMPDIR/one.berth"
    exits 1 timeout 20 "$BERTH" restore "$BATS_TEST_TMPDIR/one.berth" </dev/null
    assert_match "$stderr" "cannot restore from '.*/one.berth': it is not a file"
    exits 1 timeout 20 "$BERTH" restore /dev/zero </dev/null
    assert_match "$stderr" "cannot restore from '/dev/zero': it is not a file"
}
