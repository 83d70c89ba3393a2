"""Configuration as YAML that a YAML 1.1 and a YAML 1.2 parser read alike.

The usual writer leaves a text such as `1e3` or `08` without quotes, because for YAML 1.1 it is no number; for the agent's parser it
is. Here every text is quoted, so that no rule about what a plain word means applies.
"""

from __future__ import annotations

import json
import math
import re

from ansible.errors import AnsibleFilterError

from .plain import plain

# Words that need no quotes as a key, but for those that YAML 1.1 takes for a truth value or null.
PLAIN_KEY = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z_][a-z0-9_]*$", re.IGNORECASE)
HEADER = "# Written by the role shakenfist.cloud.node. Changes are lost; use the variables of the role.\n"


def to_sf_yaml(value, omit_empty=False):
    """The mapping `value` as text: sorted keys, block style, quoted texts, the constant header.

    With `omit_empty`, top-level keys that hold an empty text, list or mapping or null are left out.
    """
    try:
        mapping = plain(value)
    except TypeError as error:
        raise AnsibleFilterError(f"to_sf_yaml: {error}") from error
    if not isinstance(mapping, dict):
        raise AnsibleFilterError(f"to_sf_yaml: needs a mapping, not {type(mapping).__name__}")
    if omit_empty:
        mapping = {key: item for key, item in mapping.items() if item not in ("", None, [], {})}
    lines = _mapping(mapping, 0) if mapping else ["{}"]
    return HEADER + "\n".join(lines) + "\n"


def _mapping(mapping, depth):
    lines = []
    for key in sorted(mapping):
        if not isinstance(key, str):
            raise AnsibleFilterError(f"to_sf_yaml: the key {key!r} is not a text; put it in quotes")
        lines.extend(_entry(f"{'  ' * depth}{_key(key)}:", mapping[key], depth))
    return lines


def _entry(head, value, depth):
    """The lines of one value; `head` is what stands before it."""
    if isinstance(value, dict) and value:
        return [head, *_mapping(value, depth + 1)]
    if isinstance(value, list) and value:
        lines = [head]
        for item in value:
            lines.extend(_item(item, depth + 1))
        return lines
    return [f"{head} {_scalar(value)}"]


def _item(value, depth):
    """The lines of one item of a list: a nested value begins on a line of its own."""
    dash = f"{'  ' * depth}-"
    if isinstance(value, (dict, list)) and value:
        nested = _mapping(value, depth + 1) if isinstance(value, dict) else [
            line for item in value for line in _item(item, depth + 1)
        ]
        return [dash, *nested]
    return [f"{dash} {_scalar(value)}"]


def _scalar(value):
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise AnsibleFilterError(f"to_sf_yaml: {value} is not a number of a configuration")
        return repr(value)
    if isinstance(value, int):
        return str(value)
    return "{}" if isinstance(value, dict) else "[]"


def _key(key):
    return key if PLAIN_KEY.match(key) else _text(key)


def _text(text):
    """A JSON text is a double-quoted YAML text, and escapes everything that is not printable ASCII."""
    return json.dumps(text)
