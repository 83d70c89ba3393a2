#!/usr/bin/env bash
# Stops and removes everything that the quickstart made, and nothing else. Repeatable.
#
# The agent that does it is the one of SF_BINARY or of this clone, else a copy of the one that runs in the data directory.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$(root_dir)
data=${SF_QUICKSTART_DIR:-/srv/sf-quickstart}
cd "$root"

need_root "make quickstart-down"
if [ ! -d "$data" ]; then
    say "there is nothing in $data"
    exit 0
fi
mark=$(quickstart_mark "$data")
[ -f "$mark" ] || fail "removing $data" "it is not marked as the work of a quickstart" "remove it by hand if it is yours"
kept=$data/.sf-node

is_agent() { case "$("$1" --version 2>/dev/null)" in "sf-node "*) ;; *) return 1 ;; esac; }

# A copy of the agent that runs: its file may be gone, and what it left in the kernel is removed after its end.
keep_running_agent() {
    pid=$(python3 -c 'import json, sys; print(int(json.load(open(sys.argv[1]))["pid"]))' "$data/standalone.json" 2>/dev/null) || return 1
    tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF "$data" || return 1
    is_agent "/proc/$pid/exe" || return 1
    install -m 0755 "/proc/$pid/exe" "$kept.new"
    mv "$kept.new" "$kept"
}

binary=$(agent_binary)
if ! is_agent "$binary"; then
    is_agent "$kept" || keep_running_agent ||
        fail "stopping the cloud" "$binary is not there, and none runs in $data" \
            "SF_BINARY=/path/to/sf-node make quickstart-down, or build it here: cargo build --release --locked -p sf-node"
    say "$binary is not there: the one that runs in $data does it"
    binary=$kept
fi

# Guests and networks are removed through the API, as a user would; the agent is started for that if it does not run.
through_api() {
    scripts/standalone.sh start "$binary" "$data" || return 1
    venv=$(scripts/client-venv.sh client) || return 1
    "$venv/bin/python" scripts/quickstart_clean.py --data-dir "$data"
}

# The emulators of this data directory and no others, for a cloud that cannot be started any more.
end_guests() {
    for exe in /proc/[0-9]*/exe; do
        pid=${exe#/proc/}
        pid=${pid%/exe}
        case "$(readlink "$exe" 2>/dev/null)" in */qemu-system-*) ;; *) continue ;; esac
        if tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF "$data/"; then
            echo "    guest process $pid"
            kill -9 "$pid"
        fi
    done
}

if [ -d "$data/mariadb/data" ] || [ -f "$data/standalone.json" ]; then
    say "1/3 guests and networks, through the public API"
    if ! through_api; then
        say "    the cloud does not serve: its guests and devices are removed without it"
        forced=yes
    fi

    say "2/3 the agent, MariaDB and libvirt"
    "$binary" standalone --data-dir "$data" --stop
    [ -z "${forced:-}" ] || end_guests
fi

say "3/3 what is left in the kernel, and $data"
# The agent writes the name before it makes anything in the kernel; earlier quickstarts kept it in the mark.
for name in "$data/cluster_id" "$mark"; do
    [ -s "$name" ] || continue
    "$binary" net-cleanup --config-dir "$data/etc" --cluster "$(cat "$name")"
    break
done
awk -v data="$data" '$2 == data || index($2, data "/") == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r -n 1 umount
rm -rf --one-file-system "$data"
echo "QUICKSTART REMOVED"
