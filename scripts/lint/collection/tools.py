"""The usual tools: style of YAML, style of the role, sanity and unit tests of the plugins."""

import os
import shutil
from pathlib import Path

from common import BIN, ROOT, tool, tracked, tree

# The name under which the ansible-test of tests/requirements-ansible.txt looks for what installs pip.
BOOTSTRAP = "get_pip_24_2.py"


def yamllint():
    """Style of every YAML file of the collection and of its tests."""
    files = [name for name in tracked("*.yml", "*.yaml") if not name.startswith(("agent/", "target/"))]
    return tool("yamllint", "--strict", "--config-file", ROOT / ".yamllint.yml", *files)


def ansible_lint():
    """The profile for what is published, warnings included."""
    with tree() as place:
        return tool(
            "ansible-lint", "--offline", "--strict", "--profile", "production", "--config-file", ROOT / ".ansible-lint.yml", "-q", cwd=place,
            ANSIBLE_COLLECTIONS_PATH=str(place.parents[2]),
        )


def sanity():
    """What Ansible asks of every collection, but for the lines of tests/sanity, each of which gives its reason."""
    home = ROOT / ".cache/ansible-test"
    bootstrap = home / ".ansible/test/cache" / BOOTSTRAP
    bootstrap.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("get_pip.py"), bootstrap)
    with tree("tests/sanity") as place:
        for command in (["git", "init", "-q"], ["git", "add", "-A"]):
            if problems := tool(*command, cwd=place):
                return problems
        # Only Pythons that really are there: a version manager's stand-ins answer to every name.
        search = f"{BIN}{os.pathsep}{os.defpath}"
        return tool("ansible-test", "sanity", "--color", "no", cwd=place, HOME=str(home), PATH=search)


def units():
    """Unit tests of the plugins."""
    return tool("pytest", "-q", "-p", "no:cacheprovider", "tests/unit")
