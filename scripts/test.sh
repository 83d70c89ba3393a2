#!/usr/bin/env bash
# Installs what tests need, then runs the named stages: lint, rust, conformance, system, kill, quickstart.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$(root_dir)"
need_root "running the tests"
scripts/install-deps.sh test
exec python3 scripts/run_tests.py "$@"
