# Copyright: The Shaken Fist Cloud authors
# SPDX-License-Identifier: Apache-2.0
"""Metadata: named keys are seen to, a key whose value is null is removed, all others belong to somebody else."""
from __future__ import annotations

from ansible_collections.shakenfist.cloud.plugins.module_utils.sf_api import quoted


def wanted(existing, asked):
    """The metadata as they should be."""
    merged = dict(existing)
    for key, value in (asked or {}).items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def write(api, path, existing, after):
    """Makes the metadata of the object at a path what they should be, one key at a time."""
    for key in sorted(set(existing) | set(after)):
        if key not in after:
            api.delete(f'{path}/metadata/{quoted(key)}')
        elif key not in existing or existing[key] != after[key]:
            api.put(f'{path}/metadata/{quoted(key)}', {'value': after[key]})
