# shellcheck shell=bash
# What peer-batch.sh and berth.sh stand on: a private host, a clock, and a look at the outcome, so that work left undone
# is never timed as fast. The same addresses as in limit.c: container i has 10.(200 + i / 1000).x.y/16.
# shellcheck disable=SC2034,SC2154 # n is the caller's

PER_BRIDGE=1000

# Once more, in network and mount namespaces of its own, with an empty /run and /var/lib.
private_host() {
    if [[ ${BENCH_PRIVATE-} != "$PPID" ]]; then
        BENCH_PRIVATE=$$ exec unshare --net --mount --propagation private --fork -- "$0" "$@"
    fi
    mount -t tmpfs bench /run
    mount -t tmpfs bench /var/lib
    mkdir -p /run/netns /run/work
    mount -t tmpfs bench /run/netns
    cd /run/work || exit 1
    ip link set lo up
}

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

start() {
    started=${EPOCHREALTIME/./}
}

# report PHASE: the time since start
report() {
    local now=${EPOCHREALTIME/./}
    echo "phase=$1 n=$n us=$((now - started))"
}

# address I: into REPLY, without a process
address() {
    local k=$(($1 % PER_BRIDGE + 10))
    REPLY=10.$((200 + $1 / PER_BRIDGE)).$((k / 256)).$((k % 256))
}

bridges() {
    echo $(((n + PER_BRIDGE - 1) / PER_BRIDGE))
}

# check_host: all ports are there, and the first, the middle and the last container are whole
check_host() {
    local ports i
    ports=$(ip -o link show type bridge_slave up | wc -l)
    [[ $ports == "$n" ]] || fail "$ports ports are up, not $n"
    [[ $(</proc/sys/net/ipv4/ip_forward) == 1 ]] || fail "ip_forward is off"
    nft list ruleset | grep -q masquerade || fail "nothing masquerades"
    for i in 0 $((n / 2)) $((n - 1)); do
        address "$i"
        ip -n "c$i" -o -4 address show dev eth0 up | grep -qF " $REPLY/16 " || fail "c$i lacks $REPLY"
        ip -n "c$i" -4 route show default | grep -qF "via 10.$((200 + i / PER_BRIDGE)).0.1 " || fail "c$i lacks its route"
        ip -n "c$i" -o link show dev lo up | grep -q . || fail "c$i lacks lo"
    done
}

check_empty() {
    [[ -z $(ls /run/netns) ]] || fail "$(find /run/netns -type f | wc -l) names are left"
    [[ -z $(ip -o link show type bridge) ]] || fail "a bridge is left"
}

# lose_container I: its namespace, and wait for the links that go with it
lose_container() {
    local tries=0
    ip netns delete "c$1"
    while (($(ip -o link show type bridge_slave | wc -l) == n)); do
        ((tries++ < 500)) || fail "the port of c$1 stays"
        sleep 0.01
    done
    sleep 0.1
}
