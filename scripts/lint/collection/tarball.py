"""The archive that operators install: nothing but the collection in it, small, and installable without a network."""

import tarfile
import tempfile
from pathlib import Path

import yaml

from common import ROOT, tool

ALLOWED = ("MANIFEST.json", "FILES.json", "README.md", "LICENSE", "CHANGELOG.md", "meta/", "roles/", "plugins/", "playbooks/", "docs/", "examples/")
LIMIT = 2 * 1024 * 1024


def check():
    """Problems of the archive built from this tree."""
    with tempfile.TemporaryDirectory(prefix="sf-tarball-") as folder:
        # From the root itself: the deny-list of galaxy.yml is what is tested.
        if problems := tool("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder):
            return problems
        (archive,) = Path(folder).glob("*.tar.gz")
        return [*_members(archive), *_version(), *_installs(archive, Path(folder) / "installed")]


def _members(archive):
    with tarfile.open(archive) as members:
        # An archive names the folders above its files as well.
        outside = sorted(m.name for m in members if not (m.name if not m.isdir() else f"{m.name}/").startswith(ALLOWED))
    problems = [f"{name}: is no part of the collection; add it to build_ignore in galaxy.yml" for name in outside[:20]]
    size = archive.stat().st_size
    if size > LIMIT:
        problems.append(f"{archive.name} has {size} bytes, more than {LIMIT}")
    return problems


def _version():
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    cargo = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    return [] if galaxy == cargo else [f"galaxy.yml has version {galaxy}, the workspace {cargo}"]


def _installs(archive, place):
    problems = tool("ansible-galaxy", "collection", "install", archive, "--offline", "-p", place)
    collection = place / "ansible_collections/shakenfist/cloud"
    paths = {"ANSIBLE_COLLECTIONS_PATH": str(place)}
    for kind, folder, suffix in (("filter", "filter", ".yml"), ("module", "modules", ".py")):
        names = sorted(f"shakenfist.cloud.{file.stem}" for file in (collection / "plugins" / folder).glob(f"*{suffix}"))
        if names:
            problems += tool("ansible-doc", "-t", kind, *names, **paths)
    return problems + tool("ansible-doc", "-t", "role", "shakenfist.cloud.node", **paths)
