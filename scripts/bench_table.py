#!/usr/bin/env python3
"""Reads one JSON object per line, prints a table of them and writes them as one JSON list to the named file."""

import json
import sys
from pathlib import Path


def main(target):
    figures = [json.loads(line) for line in sys.stdin if line.startswith("{")]
    if not figures:
        raise SystemExit("the benchmarks printed no figures; see what cargo says above")
    columns = list(dict.fromkeys(key for figure in figures for key in figure))
    rows = [columns] + [[str(figure.get(column, "")) for column in columns] for figure in figures]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    Path(target).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
