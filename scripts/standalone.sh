#!/usr/bin/env bash
# Starts a cloud in standalone mode and waits until it serves.
#
#   standalone.sh start BINARY DATA_DIR [OPTIONS OF sf-node standalone]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ "${1:-}" = start ] || fail "standalone.sh" "the only verb is start" "see the head of this file"
binary=$2
data=$3
shift 3
log=$data/agent.log
report=$data/standalone.json

value() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1])).get(sys.argv[2], ""))' "$report" "$1" 2>/dev/null; }
serves() { [ -f "$report" ] && curl -fs -o /dev/null -m 2 "$(value api_url)/readyz"; }

if serves; then
    echo "    it runs already (pid $(value pid)) and listens on $(value api_url)"
    exit 0
fi

install -d -m 0755 "$data"
setsid "$binary" standalone --data-dir "$data" "$@" >>"$log" 2>&1 </dev/null &
pid=$!

deadline=$(($(date +%s) + ${SF_START_SECONDS:-180}))
shown=
until serves; do
    if ! kill -0 "$pid" 2>/dev/null; then
        tail -n 5 "$log" >&2
        fail "starting the cloud" "the agent ended, its last words are above" "read $log"
    fi
    [ "$(date +%s)" -lt "$deadline" ] || fail "starting the cloud" "it did not serve in time" "read $log"
    # The agent's own steps, one line each, as they come.
    step=$(grep -o "\"message\":\"\(starting\|preparing\|serving\)[^\"]*\"" "$log" | tail -n 1 | cut -d"\"" -f4 || true)
    if [ -n "$step" ] && [ "$step" != "$shown" ]; then
        echo "    $step"
        shown=$step
    fi
    sleep 0.3
done
echo "    serving on $(value api_url), log in $log"
