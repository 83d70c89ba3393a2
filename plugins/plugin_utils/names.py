"""Variables that nobody reads."""

from __future__ import annotations

import difflib


def unknown(given, known):
    """One text for each name in `given` that is not in `known`, with the nearest known name."""
    known = [str(name) for name in known]
    told = []
    for name in sorted({str(name) for name in given} - set(known)):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        told.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return told
