"""Facts about a binary on the controller."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from ansible.errors import AnsibleFilterError

MACHINES = {62: "x86_64", 183: "aarch64"}


def elf_machine(path):
    """The processor that an ELF file is for, such as `x86_64`.

    Only the header is read: a file of another kind is named as such before it reaches a host.
    """
    with _opened(path) as file:
        header = file.read(20)
    if len(header) < 20 or header[:4] != b"\x7fELF":
        raise AnsibleFilterError(f"{path} is not a Linux program")
    order = "<" if header[5] == 1 else ">"
    (machine,) = struct.unpack(order + "H", header[18:20])
    return MACHINES.get(machine, f"machine {machine}")


def sha256(path):
    """The SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with _opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _opened(path):
    try:
        return Path(str(path)).expanduser().open("rb")
    except OSError as error:
        raise AnsibleFilterError(f"{path} on the controller cannot be read: {error.strerror}") from error
