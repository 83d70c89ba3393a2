"""Secrets in what is shown to people."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

REDACTED = "<redacted>"
NAMES = re.compile(r"(?i)(secret|password|passphrase|token|auth_header|authorization|_seed$|_key$|^kek$|_kek$)")
# Names that match and hold no secret: a path to one, or how long one is valid.
HARMLESS = re.compile(r"(?i)(_file|_path|_dir|_duration|_generate)$")


def redact(value):
    """The same value with the texts below telling names replaced. Numbers and truth values stay."""
    if isinstance(value, Mapping):
        return {key: _hidden(item) if _tells(str(key)) else redact(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [redact(item) for item in value]
    return value


def _tells(name):
    return bool(NAMES.search(name)) and not HARMLESS.search(name)


def _hidden(value):
    if isinstance(value, Mapping):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_hidden(item) for item in value]
    return REDACTED if isinstance(value, (str, bytes)) and value else value
