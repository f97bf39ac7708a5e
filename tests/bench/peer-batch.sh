#!/usr/bin/env bash
# peer-batch.sh N [plain]: the work of limit.c as a script does it that knows `ip -batch` and `nft -f`, with the tricks
# that these tools can express (one queue, no IPv6 where there is none, removal by group); `plain`: as usually written.
set -u
. "$(dirname "$(realpath "$0")")/host.sh"
private_host "$@"
n=$1 style=${2:-tricks}

queues='' group=''
[[ $style == plain ]] || queues='numtxqueues 1 numrxqueues 1' group='group 1'
quiet() {
    [[ $style == plain ]] || echo "link set $1 addrgenmode none"
}

host_lines() {
    local b
    for ((b = 0; b < $(bridges); b++)); do
        echo "link add b$b type bridge"
        [[ $style == plain ]] || echo "link set b$b group 1"
        echo "addr add 10.$((200 + b)).0.1/16 dev b$b"
        echo "link set b$b up"
    done
}

port_lines() {
    echo "netns add c$1"
    echo "link add v$1 $queues master b$(($1 / PER_BRIDGE)) $group type veth peer name eth0 netns c$1 $queues"
    quiet "v$1"
    echo "link set v$1 up"
}

inside_lines() {
    address "$1"
    echo "link set lo up"
    quiet eth0
    printf 'link set eth0 up\naddr add %s/16 dev eth0\nroute add default via 10.%d.0.1\n' "$REPLY" $((200 + $1 / PER_BRIDGE))
}

# Not timed: a program would hold these in memory.
write_batches() {
    local i b
    host_lines >host
    for ((i = 0; i < n; i++)); do
        port_lines "$i" >>host
        inside_lines "$i" >"inside.$i"
        echo "netns delete c$i" >>names
    done
    printf 'addr show dev eth0\nroute show default\n' >questions
    {
        printf 'table ip bench {\n  chain post {\n    type nat hook postrouting priority 100;\n'
        for ((b = 0; b < $(bridges); b++)); do
            echo "    ip saddr 10.$((200 + b)).0.0/16 oifname != \"b$b\" masquerade"
        done
        printf '  }\n}\n'
    } >nat
}

create() {
    echo 1 >/proc/sys/net/ipv4/ip_forward
    nft -f nat
    ip -batch host
    for ((i = 0; i < n; i++)); do
        ip -n "c$i" -batch "inside.$i"
    done
}

# The containers that are not as they should be.
observe() {
    local i here ports
    ports=$(ip -o link show type bridge_slave up)
    for ((i = 0; i < n; i++)); do
        address "$i"
        here=$(ip -n "c$i" -o -batch questions 2>&1)
        [[ $here == *" $REPLY/16 "*default\ via* && $ports == *" v$i@"* ]] || echo "$i"
    done
}

repair() {
    local i
    for i in $(observe); do
        port_lines "$i" | ip -batch -
        ip -n "c$i" -batch "inside.$i"
    done
}

destroy() {
    local b
    nft delete table ip bench
    [[ $style == plain ]] || ip link delete group 1
    ip -batch names
    [[ $style == tricks ]] || for ((b = 0; b < $(bridges); b++)); do ip link delete "b$b"; done
    # a namespace is removed later, and the links with it: not done before they are gone
    while [[ -n $(ip -o link show type veth) ]]; do sleep 0.005; done
}

write_batches
start; create; report create
check_host
sleep 0.3
start; wrong=$(observe); report observe
[[ -z $wrong ]] || fail "wrong: $wrong"
lose_container $((n / 2))
start; repair; report repair
check_host
start; destroy; report destroy
check_empty
