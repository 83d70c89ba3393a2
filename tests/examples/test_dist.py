"""The release directory: what `make dist` makes is what the examples name."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def dist(binary, directory):
    environment = {**os.environ, "SF_BINARY": str(binary)}
    return subprocess.run([ROOT / "scripts/dist.sh", directory], env=environment, capture_output=True, text=True)


def test_it_holds_what_the_examples_name_with_sums_that_are_right(tmp_path):
    for _ in ("made", "made again"):
        done = dist(os.environ["SF_NODE"], tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)
    summed = {line.split("  ")[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()}
    (listed,) = yaml.safe_load((EXAMPLES / "requirements.yml").read_text())["collections"]
    named = {Path(listed["name"]).name}
    for example in ("single-node", "cluster"):
        named |= set(re.findall(r"dist/(sf-node-[^\"]+)", (EXAMPLES / example / "group_vars/allsf/main.yml").read_text()))
    assert named == summed
    assert {file.name for file in tmp_path.iterdir()} == {*summed, "SHA256SUMS"}


@pytest.mark.parametrize("says", ["sf-node 99.0.0", "another program"])
def test_an_agent_of_another_release_is_refused_and_nothing_is_made(tmp_path, says):
    other = tmp_path / "other"
    other.write_text(f"#!/bin/sh\necho {says}\n")
    other.chmod(0o755)
    done = dist(other, tmp_path / "dist")
    assert done.returncode == 1 and says in done.stderr
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize("inside", [".", "release"])
def test_a_directory_that_would_become_part_of_the_collection_is_refused(inside):
    done = dist(os.environ["SF_NODE"], ROOT / inside)
    assert done.returncode == 1 and "inside the clone" in done.stderr
    assert not (ROOT / "release").exists()
