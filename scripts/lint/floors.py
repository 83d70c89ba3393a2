#!/usr/bin/env python3
"""Fails when an import points up, or sideways between daemons, or when MariaDB is reachable from a place that may not.

The floors, top to bottom: agent/node, agent/daemons, agent/libs, agent/libs/model. The graph is what cargo itself
says (`cargo metadata`), development dependencies included, except that tests may reach for anything below their own floor
and for the test harness of the store.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The only crates that may depend on the store.
STORE_USERS = {"sf-daemon-database", "sf-node", "sf-system-tests"}


def floor_of(manifest):
    path = Path(manifest).resolve().parent.relative_to(ROOT)
    parts = path.parts
    if parts[0] == "tests":
        return 4
    if parts[:2] == ("agent", "node"):
        return 3
    if parts[:2] == ("agent", "daemons"):
        return 2
    if parts[:3] == ("agent", "libs", "model"):
        return 0
    if parts[:2] == ("agent", "libs"):
        return 1
    if parts[0] == "benches":
        return 4
    raise SystemExit(f"{path}: on no floor; give it a place in agent/, tests/ or benches/")


def main():
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True
        ).stdout
    )
    floors = {package["name"]: floor_of(package["manifest_path"]) for package in metadata["packages"]}
    problems = []
    for package in metadata["packages"]:
        name = package["name"]
        for dependency in package["dependencies"]:
            target = dependency["name"]
            if target not in floors or target == name:
                continue
            test_only = dependency["kind"] == "dev"
            if floors[target] > floors[name]:
                problems.append(f"{name} -> {target}: points up")
            if floors[name] == 2 and floors[target] == 2 and not test_only:
                problems.append(f"{name} -> {target}: a daemon depends on another daemon")
            if target == "sf-store" and name not in STORE_USERS and not test_only:
                problems.append(f"{name} -> {target}: only {', '.join(sorted(STORE_USERS))} may reach MariaDB")
    for problem in sorted(set(problems)):
        print(problem)
    print(f"floors: {len(floors)} crates, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
