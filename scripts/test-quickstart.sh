#!/usr/bin/env bash
# The quickstart, twice, then its removal: what the machine holds afterwards is what it held before.
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
for round in first second; do
    scripts/quickstart.sh | tee "$work/$round"
    tail -n 1 "$work/$round" | grep -Eq '^QUICKSTART OK instance=[0-9a-f-]{36} address=[0-9.]+ seconds=[0-9]+$' ||
        fail "the $round quickstart" "its last line is not QUICKSTART OK" "read its output above"
done
scripts/inventory.sh "$SF_QUICKSTART_DIR" >"$work/while"
cmp -s "$work/before" "$work/while" && fail "the check itself" "a running cloud left no trace in the inventory" "repair scripts/inventory.sh"
scripts/quickstart-down.sh
scripts/inventory.sh "$SF_QUICKSTART_DIR" >"$work/after"
diff "$work/before" "$work/after" || fail "the removal" "the lines above were left behind" "make quickstart-down remove them"
[ ! -e "$SF_QUICKSTART_DIR" ] || fail "the removal" "$SF_QUICKSTART_DIR is still there" "make quickstart-down remove it"
echo "QUICKSTART LEAVES NOTHING"
