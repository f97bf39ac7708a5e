#!/usr/bin/env bash
# nspawn.sh BERTH N: what `starts` times on its host: N containers from nothing, each with the host's /usr and a pause process.
set -u
berth=$1 n=$2
mkdir -p /srv/bench
cd /srv/bench || exit 1

fail() {
    echo "nspawn.sh: $*" >&2
    exit 1
}

# timed PHASE ARG...: one run of berth, from exec to exit
timed() {
    local phase=$1
    shift
    /srv/bench/timeit "phase=$phase n=$n" log "$berth" "$@" || {
        tail -n 5 log >&2
        fail "berth $1 failed in phase $phase"
    }
}

{
    printf 'version: 1\nhosts:\n  localhost:\n    bridge: {name: b0, address: 10.200.0.1/16}\n    containers:\n'
    for ((i = 0; i < n; i++)); do
        printf '      c%d: {address: 10.200.1.%d, runtime: nspawn}\n' "$i" $((i + 1))
    done
} >berth.yaml

timed start apply berth.yaml
[[ $(machinectl list --no-legend | wc -l) == "$n" ]] || fail "not all of them run"
for ((i = 0; i < 20; i++)); do
    timed run run c$((i % n)) -- true
done
timed stop destroy --yes berth.yaml
[[ -z $(machinectl list --no-legend) ]] || fail "some of them run on"
# What the kernel and systemd still have to clear away is not charged to the next turn.
sleep 1
