"""Runs real playbooks with the collection as it is released: built as a tarball and installed from it, offline."""

import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^localhost\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)
# The one of the distribution, with nothing installed beside it: modules need no more.
TARGET_PYTHON = "/usr/bin/python3"


class Run:
    """What one run of a playbook left behind; of results, that of the last task."""

    def __init__(self, done, results):
        self.status = done.returncode
        self.output = done.stdout + done.stderr
        self.results = results
        match = RECAP.search(done.stdout)
        self.changed = int(match[2]) if match else None


class Ansible:
    """An ansible-playbook with one collection, in a directory of its own."""

    def __init__(self, programs, directory):
        self.programs = Path(programs)
        self.directory = Path(directory)
        self.outputs = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SHAKENFIST_"))},
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.directory / "home"),
            "ANSIBLE_HOME": str(self.directory / "ansible"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "results",
            "SF_RESULTS": str(self.directory / "results.json"),
        }
        (self.directory / "home").mkdir()
        (self.directory / "ansible.cfg").touch()

    def install(self):
        """Builds the collection and installs the tarball."""
        self.program("ansible-galaxy", "collection", "build", "--output-path", self.directory / "dist", ROOT)
        [tarball] = (self.directory / "dist").glob("*.tar.gz")
        self.program("ansible-galaxy", "collection", "install", tarball, "--offline", "-p", self.directory / "collections")

    def program(self, name, *words):
        """Runs one of Ansible's programs and answers what it printed."""
        done = subprocess.run(
            [self.programs / name, *map(str, words)], env=self.environment, cwd=self.directory, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{name} {words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def play(self, plays, *options, environment=None):
        """Runs plays. Every output is kept, at full verbosity, for tests that look for what must not be in it."""
        playbook, results = self.directory / "playbook.json", self.directory / "results.json"
        results.unlink(missing_ok=True)
        playbook.write_text(plays if isinstance(plays, str) else json.dumps(plays))
        done = subprocess.run(
            [
                self.programs / "ansible-playbook", "-vvv", "-i", "localhost,", "-c", "local",
                "-e", f"ansible_python_interpreter={TARGET_PYTHON}", *options, playbook,
            ],
            env={**self.environment, **(environment or {})}, cwd=self.directory, capture_output=True, text=True,
        )
        run = Run(done, json.loads(results.read_text()) if results.exists() else None)
        self.outputs.append(run.output)
        return run

    def module(self, module, /, check=False, environment=None, **options):
        """Runs one module and answers its result, of a failure too."""
        tasks = [{"name": "The module", f"shakenfist.cloud.{module}": options}]
        plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
        run = self.play(plays, "--diff", *(["--check"] if check else []), environment=environment)
        assert run.results is not None, run.output
        assert "Traceback" not in run.output, run.output
        return run.results


class Cloudlet:
    """The modules in one namespace, with given credentials."""

    def __init__(self, ansible, **connection):
        self.ansible = ansible
        self.connection = connection

    def _module(self, name, options):
        return self.ansible.module(name, **{**self.connection, **options})

    def namespace(self, **options):
        return self._module("sf_namespace", options)

    def network(self, **options):
        return self._module("sf_network", options)

    def instance(self, **options):
        return self._module("sf_instance", options)

    def nodes(self, **options):
        return self._module("sf_node_info", options)


def ok(result, changed):
    """Asserts that a module succeeded and what it says of changes; answers the result."""
    assert not result["failed"], result["msg"]
    assert result["changed"] is changed, result
    return result


def failed(result, *words):
    """Asserts that a module failed, with these words in its message; answers the result."""
    assert result["failed"], result
    for word in words:
        assert word in result["msg"], f"{word!r} is not in {result['msg']!r}"
    return result
