#!/usr/bin/env python3
"""Sizes of source files, blocks written twice, and names that must not exist.

- No source file above 800 lines; the median of the Rust files at most 150.
- No block of six or more lines stands twice. Blank lines, comments, lone punctuation, imports and lists of allowed lints do not
  count; nor does what two test programs share, for they have no common library to put it in.
- The names of the parts that were left out on purpose (`events.md` §1.1) appear nowhere in the sources.
"""

import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {".rs", ".py", ".sh"}
LIMIT = 800
MEDIAN = 150
BLOCK = 6
FORBIDDEN = re.compile(r"EVENTLOG_[A-Z]|NODE_IS_EVENTLOG_NODE|event_dlq|correlation_id")
SKIPPED = re.compile(
    r"^\s*(//.*|#!?\[allow\(|clippy::\w+,|reason = .*|#(?!\[).*|[\])}({\[;,]+|use .*|pub use .*|import .*|from .* import .*|mod \w+;|pub mod \w+;|)\s*$"
)
ASSIGNED_NAMES = {"scripts/lint/rooms.py"}


def tracked():
    out = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in out.splitlines() if Path(name).suffix in SOURCES and (ROOT / name).exists()]


def meaningful(lines):
    """(line number, text) of what counts, white space folded; a multi-line import is skipped as a whole."""
    inside_use = False
    kept = []
    for number, line in enumerate(lines, 1):
        text = " ".join(line.split())
        if inside_use:
            inside_use = not text.endswith(";")
            continue
        if re.match(r"^(pub )?use .*[^;]$", text):
            inside_use = True
            continue
        if not SKIPPED.match(text):
            kept.append((number, text))
    return kept


def test_program(name):
    """The integration test a Rust file is compiled into; empty for anything else."""
    found = re.match(r"^(.*/tests/[^/]+?)(\.rs$|/)", name)
    return found[1] if found and name.endswith(".rs") else ""


def main():
    problems = []
    rust_sizes = []
    blocks = defaultdict(list)
    for name in tracked():
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        if len(lines) > LIMIT:
            problems.append(f"{name}: {len(lines)} lines, at most {LIMIT}")
        if name.endswith(".rs"):
            rust_sizes.append(len(lines))
        if name not in ASSIGNED_NAMES:
            for number, line in enumerate(lines, 1):
                if FORBIDDEN.search(line):
                    problems.append(f"{name}:{number}: a name that must not exist")
        kept = meaningful(lines)
        for start in range(len(kept) - BLOCK + 1):
            window = kept[start : start + BLOCK]
            blocks["\n".join(text for _, text in window)].append((name, window[0][0], start))
    reported = set()
    for places in blocks.values():
        if len(places) < 2:
            continue
        (one, line_one, start_one), (two, line_two, start_two) = places[0], places[1]
        if one == two and abs(start_one - start_two) < BLOCK:
            continue  # A run of equal lines overlaps itself.
        if test_program(one) and test_program(two) and test_program(one) != test_program(two):
            continue
        pair = (one, two, line_one // 12, line_two // 12)
        if pair not in reported:
            reported.add(pair)
            problems.append(f"{one}:{line_one} and {two}:{line_two}: the same {BLOCK} lines")
    median = statistics.median(rust_sizes) if rust_sizes else 0
    if median > MEDIAN:
        problems.append(f"median of the Rust files is {median} lines, at most {MEDIAN}")
    for problem in problems:
        print(problem)
    print(f"rooms: {len(rust_sizes)} Rust files, median {median:.0f} lines, largest {max(rust_sizes, default=0)}, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
