#!/usr/bin/env bash
# A Docker engine for the tests, for machines that run none.
#
#   docker.sh start   installs and starts it; does nothing where an engine answers already
#   docker.sh stop    ends the one that start began, with what it left in the kernel
#
# It filters and forwards nothing by itself: one nftables table of our own gives the test networks a way to the package
# mirror, and goes away with the engine.
set -euo pipefail
. "$(dirname "$0")/rig.sh"

table="ip shakenfist_test"

start() {
    docker info >/dev/null 2>&1 && return
    "$(root_dir)/scripts/install-deps.sh" rig
    install -d -m 0755 "$rig_run" "$SF_CACHE"
    cat /proc/sys/net/ipv4/ip_forward >"$rig_run/ip_forward"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # Frames that are bridged between test hosts are no business of the host's filters.
    nft -f - <<NFT
table $table
delete table $table
table $table {
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip saddr $rig_net ip daddr != $rig_net masquerade
    }
}
NFT
    setsid dockerd --host "unix://$rig_run/docker.sock" --data-root "$SF_CACHE/docker" --exec-root "$rig_run/exec" \
        --pidfile "$rig_run/docker.pid" --bridge none --iptables=false --ip6tables=false --ip-masq=false \
        >"$rig_run/docker.log" 2>&1 </dev/null &
    for _ in $(seq 100); do
        docker info >/dev/null 2>&1 && return
        [ -e "$rig_run/docker.pid" ] || kill -0 $! 2>/dev/null || break
        sleep 0.2
    done
    tail -n 5 "$rig_run/docker.log" >&2
    fail "starting the Docker engine" "it does not answer, its last words are above" "read $rig_run/docker.log"
}

stop() {
    [ -f "$rig_run/docker.pid" ] || return 0
    local pid
    pid=$(cat "$rig_run/docker.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 150); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    ! kill -0 "$pid" 2>/dev/null || fail "stopping the Docker engine" "process $pid does not end" "read $rig_run/docker.log"
    nft delete table $table 2>/dev/null || true
    cat "$rig_run/ip_forward" >/proc/sys/net/ipv4/ip_forward
    rm -rf "$rig_run"
}

need_root "docker.sh $*"
case "${1:-}" in
start) start ;;
stop) stop ;;
*) fail "docker.sh" "the verbs are start and stop" "see the head of this file" ;;
esac
