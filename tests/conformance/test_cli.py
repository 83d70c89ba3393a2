"""The released command line, in its three output modes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "sf-client"
COMMANDS = [
    ["namespace", "list"],
    ["namespace", "show", "t1"],
    ["network", "list"],
    ["network", "show", "conformance"],
    ["network", "addresses", "conformance"],
    ["network", "events", "conformance"],
    ["instance", "list"],
    ["instance", "show", "blank"],
    ["instance", "events", "blank"],
    ["artifact", "list"],
    ["artifact", "show", "conformance"],
    ["artifact", "versions", "conformance"],
    ["artifact", "events", "conformance"],
]
ADMIN_COMMANDS = [["node", "list"], ["admin", "lock", "list"], ["blob", "list"]]


def run(client, mode, words):
    environment = {
        **os.environ,
        "SHAKENFIST_API_URL": client.base_url,
        "SHAKENFIST_NAMESPACE": client.namespace,
        "SHAKENFIST_KEY": client.key,
    }
    done = subprocess.run(
        [str(PROGRAM), f"--{mode}", *words], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{words} {mode}: {done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("mode", ["pretty", "simple", "json"])
def test_what_can_be_looked_at(mode, t1, system, network, instance, artifact):
    outputs = [run(t1, mode, words) for words in COMMANDS] + [run(system, mode, words) for words in ADMIN_COMMANDS]
    if mode == "json":
        for output in outputs:
            json.loads(output)


def test_power_and_console(t1, instance):
    for words in [["pause"], ["unpause"], ["poweroff"], ["poweron"]]:
        run(t1, "simple", ["instance", *words, instance["uuid"]])
    run(t1, "simple", ["instance", "consoledata", instance["uuid"]])
    run(t1, "simple", ["instance", "set-metadata", instance["uuid"], "note", "x"])
    assert t1.get_instance_metadata(instance["uuid"]) == {"note": "x"}
    run(t1, "simple", ["instance", "delete-metadata", instance["uuid"], "note"])


def test_files_go_up_and_down(t1, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(300_000))
    run(t1, "simple", ["artifact", "upload", "from-cli", str(source)])
    run(t1, "simple", ["artifact", "download", "from-cli", str(target)])
    assert target.read_bytes() == source.read_bytes()
    run(t1, "simple", ["artifact", "delete", t1.get_artifact("from-cli")["uuid"]])


def test_create_and_delete(t1, network):
    run(t1, "simple", ["instance", "create", "-n", network["uuid"], "-D", "size=1,type=disk", "from-cli", "1", "128"])
    uuid = t1.get_instance("from-cli")["uuid"]
    assert len(t1.get_instance_interfaces(uuid)) == 1
    run(t1, "simple", ["instance", "delete", uuid])
    assert t1.get_instance(uuid)["state"] == "deleted"
