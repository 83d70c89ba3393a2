"""docs/reference/cli.md is what the agent's parser knows of its command line."""

import subprocess

from common import ROOT

REFERENCE = ROOT / "docs/reference/cli.md"


def rendered(agent):
    return subprocess.run([agent, "cli-reference"], check=True, capture_output=True, text=True).stdout


def check(agent):
    """Problems; none when the page is what the agent says."""
    if REFERENCE.exists() and REFERENCE.read_text() == rendered(agent):
        return []
    return [f"{REFERENCE.relative_to(ROOT)} is not what the agent says: run scripts/lint/collection cli --write"]


def write(agent):
    REFERENCE.write_text(rendered(agent))
