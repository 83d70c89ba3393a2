#!/usr/bin/env bash
# Runs the benchmark programs; prints their figures as a table and writes them to target/bench.json.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$(root_dir)"
need_root "installing what the benchmarks need"
scripts/install-deps.sh
out=${CARGO_TARGET_DIR:-target}/bench.json
mkdir -p "$(dirname "$out")"
cargo bench --quiet --locked -p sf-blobs --bench hashing | python3 scripts/bench_table.py "$out"
say "written to $out"
