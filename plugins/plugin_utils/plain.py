"""Values as Python's own types. Ansible marks texts with where they came from; serializers must not see that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def plain(value):
    """The same value made of dict, list, str, int, float, bool and None.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        # Concatenation is the one way to shed a subclass of str that works for every one of them.
        return "".join([*value])
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item) for item in value]
    raise TypeError(f"a value of type {type(value).__name__} cannot be written as configuration")
