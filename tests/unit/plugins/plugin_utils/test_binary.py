from __future__ import annotations

import hashlib
import struct

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shakenfist.cloud.plugins.plugin_utils.binary import elf_machine, sha256


def header(machine, order="<"):
    return b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(12) + struct.pack(order + "H", machine) + bytes(8)


@pytest.mark.parametrize("machine, order, name", [(62, "<", "x86_64"), (183, "<", "aarch64"), (183, ">", "aarch64"), (243, "<", "machine 243")])
def test_the_processor_stands_in_the_header(tmp_path, machine, order, name):
    path = tmp_path / "sf-node"
    path.write_bytes(header(machine, order))
    assert elf_machine(path) == name


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\necho not a program for any processor\n", header(62)[:10]])
def test_another_kind_of_file_is_named_as_such(tmp_path, content):
    path = tmp_path / "sf-node"
    path.write_bytes(content)
    with pytest.raises(AnsibleFilterError, match="not a Linux program"):
        elf_machine(path)


def test_the_checksum_is_that_of_the_whole_file(tmp_path):
    path = tmp_path / "sf-node"
    path.write_bytes(b"x" * 3_000_000)
    assert sha256(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(AnsibleFilterError, match="/nowhere/sf-node on the controller"):
        sha256("/nowhere/sf-node")
