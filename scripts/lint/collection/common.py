"""What the gates of the collection share: where things are, and a copy of the collection as Ansible wants to find it."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles/node"
# The parts of the repository that the collection consists of.
PARTS = ("CHANGELOG.md", "LICENSE", "README.md", "docs/", "examples/", "galaxy.yml", "meta/", "playbooks/", "plugins/", "roles/")
BIN = Path(sys.executable).parent


def tracked(*under):
    """Files that git knows or would take, as paths relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *under], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


@contextmanager
def tree(*extra):
    """A copy of the collection, and of the folders in `extra`, below `ansible_collections/shakenfist/cloud`."""
    with tempfile.TemporaryDirectory(prefix="sf-collection-") as folder:
        place = Path(folder) / "ansible_collections/shakenfist/cloud"
        for name in tracked(*PARTS, *extra):
            target = place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
        yield place


def tool(*command, cwd=ROOT, **environment):
    """Runs a program of the Python environment; its output as lines when it fails, else nothing."""
    search = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, env={**os.environ, "PATH": search, **environment, "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"},
    )
    return done.stdout.splitlines() or [f"{command[0]} ended with {done.returncode}"] if done.returncode else []
