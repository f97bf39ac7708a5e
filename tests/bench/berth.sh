#!/usr/bin/env bash
# berth.sh N: the work of limit.c by berth ($BERTH), each command as a whole process, from exec to exit.
# $TIMEIT: the stopwatch (timeit.c). `berth.sh N spec` only prints the spec.
set -u
. "$(dirname "$(realpath "$0")")/host.sh"

spec() {
    local i b
    printf 'version: 1\ndefaults:\n  container: {runtime: netns}\nhosts:\n  localhost:\n    names: none\n'
    if (($(bridges) == 1)); then
        printf '    bridge: {name: b0, address: 10.200.0.1/16}\n    nat: {interface: up0}\n'
    else
        echo '    bridges:'
        for ((b = 0; b < $(bridges); b++)); do
            printf '      b%d: {address: 10.%d.0.1/16, nat: {interface: up0}}\n' "$b" $((200 + b))
        done
    fi
    echo '    containers:'
    for ((i = 0; i < n; i++)); do
        address "$i"
        echo "      c$i: $REPLY"
    done
}

# timed PHASE ARG...: one run of berth; a failure ends everything and shows what was said
timed() {
    local phase=$1
    shift
    "$TIMEIT" "phase=$phase n=$n" log "$BERTH" "$@" || {
        tail -n 5 log >&2
        fail "berth $1 failed in phase $phase"
    }
}

n=$1
if [[ ${2-} == spec ]]; then
    spec
    exit
fi
BERTH=$(realpath "${BERTH:?names the program}") TIMEIT=$(realpath "${TIMEIT:?names the stopwatch}")
export BERTH TIMEIT
private_host "$@"

spec >spec.yaml
ip link add up0 type veth peer name up1
ip link set up0 up
ip address add 192.0.2.2/24 dev up0

timed create apply spec.yaml
check_host
sleep 0.3
for _ in 1 2 3; do
    timed observe apply spec.yaml
    timed plan plan -e spec.yaml
done
ip -n "c$((n / 2))" address flush dev eth0
timed repair-address apply spec.yaml
check_host
lose_container $((n / 2))
timed repair apply spec.yaml
check_host
"$BERTH" plan -e spec.yaml >log 2>&1 || fail "a repaired host still differs"
sleep 0.2
timed destroy destroy --yes spec.yaml
check_empty
