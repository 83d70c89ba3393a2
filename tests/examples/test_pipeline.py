"""examples/ci/pipeline.sh up to the hosts: it builds and installs the collection, and its plays are understood with it.

That the deployment itself works is what the scenarios under molecule/ show with the same playbooks.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = ROOT / "examples/ci/pipeline.sh"
# What a careless way of writing variables would stumble over.
PASSWORD, KEY = 'a "quoted\\ {{ password }} of-the-pipeline', "a-key-of-the-pipeline: 0123456789 #"
SHOW = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ [sf_mariadb_password, sf_system_key, sf_agent_file] | to_json }}"
        dest: "{{ lookup('ansible.builtin.env', 'SHOWN') }}"
        mode: "0600"
"""


@pytest.fixture
def environment(tmp_path):
    programs = Path(os.environ["SF_ANSIBLE"]) / "bin"
    (tmp_path / "password").write_text(PASSWORD + "\n")
    (tmp_path / "key").write_text(KEY + "\n")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "SF_AGENT": os.environ["SF_NODE"],
        "SF_MARIADB_PASSWORD_FILE": str(tmp_path / "password"), "SF_SYSTEM_KEY_FILE": str(tmp_path / "key"), "SHOWN": str(tmp_path / "shown"),
    }


def run(environment, *words):
    return subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True)


def test_the_collection_is_built_installed_and_understood(environment):
    done = run(environment, PIPELINE, ROOT / "examples/single-node/inventory.yml", "--syntax-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shakenfist.cloud" in done.stdout and done.stdout.count("playbook: ") == 3, done.stdout
    assert PASSWORD not in done.stdout + done.stderr and KEY not in done.stdout + done.stderr


def test_what_is_missing_is_said(environment):
    done = run({**environment, "SF_SYSTEM_KEY_FILE": ""}, PIPELINE, ROOT / "examples/single-node/inventory.yml", "--syntax-check")
    assert done.returncode != 0 and "SF_SYSTEM_KEY_FILE" in done.stderr, done.stderr
    assert run(environment, PIPELINE).returncode != 0


def test_secrets_arrive_as_they_are_in_their_files(environment, tmp_path):
    """Its own plays are replaced by one that shows what they are given."""
    copy = tmp_path / "repository"
    for part in ("ci", "mariadb"):
        shutil.copytree(ROOT / "examples" / part, copy / "examples" / part)
    for name in ("galaxy.yml", "README.md", "LICENSE", "meta", "plugins"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    for play in ("mariadb/install.yml", "ci/site.yml"):
        (copy / "examples" / play).write_text(SHOW)
    done = run(environment, copy / "examples/ci/pipeline.sh", ROOT / "examples/single-node/inventory.yml")
    # The third run changes nothing, for the file is there.
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "shown").read_text()) == [PASSWORD, KEY, os.environ["SF_NODE"]]
