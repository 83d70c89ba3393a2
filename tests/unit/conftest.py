"""Makes the plugins importable by their collection names, also where pytest runs without ansible-test."""
from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def is_importable():
    try:
        return importlib.util.find_spec('ansible_collections.shakenfist.cloud') is not None
    except ModuleNotFoundError:
        return False


if not is_importable():
    # Kept for as long as the interpreter runs.
    TREE = tempfile.TemporaryDirectory(prefix='sf-collections-')
    place = Path(TREE.name) / 'ansible_collections' / 'shakenfist'
    place.mkdir(parents=True)
    (place / 'cloud').symlink_to(ROOT)
    sys.path.insert(0, TREE.name)
