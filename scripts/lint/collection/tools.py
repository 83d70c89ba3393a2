"""The usual tools: style of YAML, style of the role, sanity and unit tests of the plugins."""

import os

from common import BIN, ROOT, tool, tracked, tree


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
    """What Ansible asks of every collection, with no exception."""
    with tree("tests/sanity") as place:
        for command in (["git", "init", "-q"], ["git", "add", "-A"]):
            if problems := tool(*command, cwd=place):
                return problems
        # Only Pythons that really are there: a version manager's stand-ins answer to every name.
        return tool("ansible-test", "sanity", "--color", "no", cwd=place, PATH=f"{BIN}{os.pathsep}{os.defpath}")


def units():
    """Unit tests of the plugins."""
    return tool("pytest", "-q", "-p", "no:cacheprovider", "tests/unit")
