#!/usr/bin/env bash
# Makes a Python environment from one of the lists in tests/, and prints its path. Cached by the list.
#
#   client-venv.sh [client|test|ansible|ansible-oldest]
set -euo pipefail
. "$(dirname "$0")/lib.sh"

kind=${1:-client}
requirements=$(root_dir)/tests/requirements-$kind.txt
key=$(sha256sum "$requirements" | cut -c1-12)
venv=${SF_CACHE:-$(root_dir)/.cache}/venv-$kind-$key

# Two that need the same one must not make it at the same time.
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock 9
if [ ! -f "$venv/ready" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || fail "making a Python environment" "python3 -m venv did not work" "install python3-venv"
    "$venv/bin/pip" install --quiet --requirement "$requirements" >&2 ||
        fail "installing $requirements" "the package index did not answer" "check the network, then run the command again"
    touch "$venv/ready"
fi
printf '%s\n' "$venv"
