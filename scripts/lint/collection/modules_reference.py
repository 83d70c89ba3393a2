"""docs/reference/modules.md is what `ansible-doc` says of the modules.

    modules_reference.py            says whether the file is up to date
    modules_reference.py --write    writes it

`ansible-doc` and PyYAML must be there: run it with the interpreter of the environment for tests of the collection.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from common import ROOT

REFERENCE = ROOT / "docs/reference/modules.md"
FRAGMENT = ROOT / "plugins/doc_fragments/connection.py"
HEADER = """# Modules

<!-- Generated from the documentation of the modules: scripts/lint/collection/modules_reference.py --write -->

What they are for and how they fit together: [Ansible modules](../user_guide/ansible.md). All of them support check mode and diff
mode, and belong to the group `shakenfist.cloud.api` of `module_defaults`.

"""
COLUMNS = "| Option | Type | Default | Meaning |\n|---|---|---|---|\n"
MARKUP = re.compile(r"\b(?:O|V|C|E|RV)\((?:ignore:)?([^)]*)\)")


def documentation():
    """What ansible-doc says of each module, by name."""
    names = [f"shakenfist.cloud.{path.stem}" for path in sorted((ROOT / "plugins/modules").glob("sf_*.py"))]
    with tempfile.TemporaryDirectory() as tree:
        place = Path(tree) / "ansible_collections/shakenfist"
        place.mkdir(parents=True)
        (place / "cloud").symlink_to(ROOT)
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-doc", "--playbook-dir", tree, "--json", "-t", "module", *names],
            env={"ANSIBLE_COLLECTIONS_PATH": tree, "ANSIBLE_HOME": tree, "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True,
        )
    if done.returncode != 0:
        raise SystemExit(f"ansible-doc failed: {done.stderr}")
    found = json.loads(done.stdout)
    if sorted(found) != names:
        raise SystemExit(f"ansible-doc knows {sorted(found)}, and there are {names}")
    return found


def shared_options():
    """The options of the doc fragment."""
    text = re.search(r"DOCUMENTATION = r'''\n(.*?)'''", FRAGMENT.read_text(), re.S)[1]
    return yaml.safe_load(text)["options"]


def rendered():
    """The text of the file."""
    shared = shared_options()
    text = HEADER + "## Options of all modules\n\n" + table(shared)
    for name, module in documentation().items():
        doc = module["doc"]
        own = {option: about for option, about in doc["options"].items() if plain(about) != plain(shared.get(option, {}))}
        text += f"\n## {name.rpartition('.')[2]}\n\n"
        text += "\n".join(f"{words(line)}  " for line in doc["description"]).rstrip() + "\n\n"
        text += table(own)
        text += "\nReturns:\n\n| Key | Type | When | Meaning |\n|---|---|---|---|\n"
        for key, about in module["return"].items():
            text += f"| `{key}` | {about['type']} | {about['returned']} | {sentence(about['description'])} |\n"
        text += f"\n```yaml\n{module['examples'].strip()}\n```\n"
    return text


def plain(about):
    """What is compared of an option: ansible-doc adds to the rest."""
    return words(sentence(about.get("description", ""))), about.get("type"), about.get("default")


def table(options):
    rows = "".join(row(name, about) for name, about in sorted(options.items()))
    return COLUMNS + rows


def row(name, about):
    names = "<br>".join(f"`{one}`" for one in [name, *about.get("aliases", [])])
    kind = f"list of {about['elements']}" if about["type"] == "list" else about["type"]
    default = "required" if about.get("required") else f"`{json.dumps(about['default']).strip(chr(34))}`" if "default" in about else ""
    choices = " One of " + ", ".join(f"`{choice}`" for choice in about["choices"]) + "." if "choices" in about else ""
    return f"| {names} | {kind} | {default} | {sentence(about['description'])}{choices} |\n"


def sentence(description):
    return words(description if isinstance(description, str) else " ".join(description)).replace("|", "\\|")


def words(text):
    """Ansible's markup as Markdown."""
    return MARKUP.sub(r"`\1`", text)


def write():
    REFERENCE.write_text(rendered())


def check():
    """Problems; none when the file is what the modules say."""
    if REFERENCE.exists() and REFERENCE.read_text() == rendered():
        return []
    return [f"{REFERENCE.relative_to(ROOT)} is not what the modules say: run {Path(__file__).relative_to(ROOT)} --write"]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    elif problems := check():
        sys.exit("\n".join(problems))
