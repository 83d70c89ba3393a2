#!/usr/bin/env bash
# Stops and removes everything that the quickstart made, and nothing else. Repeatable.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$(root_dir)
data=${SF_QUICKSTART_DIR:-/srv/sf-quickstart}
profile=${SF_PROFILE:-release}
cd "$root"

need_root "make quickstart-down"
if [ ! -d "$data" ]; then
    say "there is nothing in $data"
    exit 0
fi
target=${CARGO_TARGET_DIR:-$root/target}
binary=$target/$([ "$profile" = release ] && echo release || echo debug)/sf-node
[ -x "$binary" ] || fail "stopping the cloud" "$binary is not there" "make quickstart builds it"

if [ -d "$data/mariadb/data" ] || [ -f "$data/standalone.json" ]; then
    # Guests and networks are removed through the API, as a user would; the agent is started for that if it does not run.
    say "1/3 guests and networks, through the public API"
    scripts/standalone.sh start "$binary" "$data"
    venv=$(scripts/client-venv.sh client)
    "$venv/bin/python" scripts/quickstart_clean.py --data-dir "$data"

    cluster=$("$binary" sf-ctl --config-dir "$data/etc" --json cluster-config get CLUSTER_ID |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["cluster_id"]["value"])')

    say "2/3 the agent, MariaDB and libvirt"
    "$binary" standalone --data-dir "$data" --stop
fi

say "3/3 what is left in the kernel, and $data"
if [ -n "${cluster:-}" ]; then
    "$binary" net-cleanup --config-dir "$data/etc" --cluster "$cluster"
fi
if grep -q " $data" /proc/self/mounts; then
    awk -v data="$data" 'index($2, data) == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r -n 1 umount
fi
rm -rf --one-file-system "$data"
echo "QUICKSTART REMOVED"
