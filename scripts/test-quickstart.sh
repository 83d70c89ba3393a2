#!/usr/bin/env bash
# The quickstart, cut off once and then twice to its end, each followed by its removal: what the machine holds afterwards is what
# it held before.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root "make test-quickstart"
cd "$(root_dir)"
export SF_QUICKSTART_DIR=${SF_QUICKSTART_DIR:-/srv/sf-quickstart-test}
scripts/install-deps.sh test
work=$(mktemp -d)
# A cloud that a failure leaves behind owns devices that the next one on this host needs.
trap 'rm -rf "$work"; [ ! -e "$SF_QUICKSTART_DIR" ] || scripts/quickstart-down.sh' EXIT

scripts/inventory.sh "$SF_QUICKSTART_DIR" >"$work/before"

# removed WHAT: takes the quickstart away and compares.
removed() {
    scripts/quickstart-down.sh
    scripts/inventory.sh "$SF_QUICKSTART_DIR" >"$work/after"
    diff "$work/before" "$work/after" || fail "the removal $1" "the lines above were left behind" "make quickstart-down remove them"
    [ ! -e "$SF_QUICKSTART_DIR" ] || fail "the removal $1" "$SF_QUICKSTART_DIR is still there" "make quickstart-down remove it"
}

# The agent has its tables in the kernel before anybody was told that it serves.
setsid scripts/quickstart.sh >"$work/cut" 2>&1 &
cut=$!
# nft cannot print all of our own expressions; what it says about that is not about this.
until nft list tables 2>/dev/null | grep -q ' sf_'; do
    kill -0 "$cut" 2>/dev/null || { cat "$work/cut"; fail "the quickstart to be cut off" "it ended before" "read its output above"; }
    sleep 0.1
done
kill -TERM -- "-$cut"
wait "$cut" && fail "the quickstart to be cut off" "it came to its end" "repair the check"
removed "of what was cut off"

for round in first second; do
    scripts/quickstart.sh | tee "$work/$round"
    tail -n 1 "$work/$round" | grep -Eq '^QUICKSTART OK instance=[0-9a-f-]{36} address=[0-9.]+ seconds=[0-9]+$' ||
        fail "the $round quickstart" "its last line is not QUICKSTART OK" "read its output above"
done
scripts/inventory.sh "$SF_QUICKSTART_DIR" >"$work/while"
cmp -s "$work/before" "$work/while" && fail "the check itself" "a running cloud left no trace in the inventory" "repair scripts/inventory.sh"
removed "of two rounds"
echo "QUICKSTART LEAVES NOTHING"
