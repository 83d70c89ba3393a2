#!/usr/bin/env bash
# Installs what tests need, then runs the named stages of scripts/tests.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$(root_dir)"
need_root "running the tests"
scripts/install-deps.sh test
exec python3 scripts/tests "$@"
