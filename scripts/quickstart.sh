#!/usr/bin/env bash
# From a fresh machine to a running guest: installs, builds, starts the cloud in standalone mode, boots a guest through the
# public API with the released client, and shows what happened. Running it again boots one more guest.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

started=$(date +%s)
root=$(root_dir)
data=${SF_QUICKSTART_DIR:-/srv/sf-quickstart}
profile=${SF_PROFILE:-release}
cd "$root"

need_root "make quickstart"
say "1/7 packages"
scripts/install-deps.sh

binary=$(agent_binary)
if [ -n "${SF_BINARY:-}" ]; then
    say "2/7 the agent is $binary"
else
    say "2/7 building the agent ($profile)"
    if [ "$profile" = release ]; then cargo build --release --locked -p sf-node; else cargo build --locked -p sf-node; fi ||
        fail "building the agent" "cargo said why above" "fix it and run make quickstart again"
fi

mark=$(quickstart_mark "$data")
if [ -e "$data" ] && [ ! -f "$mark" ] && [ -n "$(ls -A "$data")" ]; then
    fail "making the cloud in $data" "the directory holds something that is not of a quickstart" \
        "set SF_QUICKSTART_DIR to a directory that is not there yet"
fi
install -d -m 0755 "$data"
touch "$mark"

say "3/7 the tiny guest image, from Debian's kernel and busybox"
scripts/guest-image.sh "$data/tiny.qcow2"

say "4/7 the released Python client"
venv=$(scripts/client-venv.sh client)

say "5/7 the cloud, in standalone mode, in $data"
scripts/standalone.sh start "$binary" "$data"

say "6/7 a guest, through the public API"
"$venv/bin/python" scripts/quickstart.py --data-dir "$data" --client "$venv/bin/sf-client"

say "7/7 done; stop and remove everything with: make quickstart-down"
instance=$(sed -n 's/^instance=//p' "$data/quickstart.result")
address=$(sed -n 's/^address=//p' "$data/quickstart.result")
echo "QUICKSTART OK instance=$instance address=$address seconds=$(($(date +%s) - started))"
