#!/bin/sh
# System calls and netlink messages for one container, exact: the difference between 40 and 20 of them, under strace.
# Usage: kernel_count.sh PROGRAM
command -v strace > /dev/null || { echo "no strace here"; exit 77; }
grep -q __asan_init "$1" && { echo "a sanitizer makes system calls of its own"; exit 77; }
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
run() { # verb n: sets calls and messages
    strace -f -v -s 1000000 -o "$t/trace" "$1" "$2" "$3" || { r=$?; [ $r -eq 77 ] || cat "$t/trace" | tail -5; exit $r; }
    calls=$(grep -c '(' "$t/trace")
    messages=$(grep -E 'sendto\(|sendmsg\(' "$t/trace" | grep -o 'nlmsg_len=' | wc -l)
}
price() { # program verb: sets calls and messages for one
    run "$1" "$2" 20; c=$calls; m=$messages
    run "$1" "$2" 40; calls=$(((calls - c + 10) / 20)); messages=$(((messages - m) / 20))
}
price "$1" create; create=$calls; made=$messages
price "$1" read; read=$((calls - create)); asked=$((messages - made))
echo "create, with a name: $create system calls, $made messages; read: $read system calls, $asked messages"
[ "$create" -le 14 ] && [ "$made" -le 8 ] && [ "$read" -le 10 ]
