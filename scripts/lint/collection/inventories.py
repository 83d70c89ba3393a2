"""What the collection makes of inventories, without a host: which rules refuse them, who is what, and that nobody is told."""

import json
import os
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from common import BIN, ROOT, tool, tree

CASES = ROOT / "tests/static/inventories.yml"
PLAY = ROOT / "tests/static/inventory.yml"


def check():
    """Problems of the cases: one that was judged otherwise than it says."""
    cases = yaml.safe_load(CASES.read_text())
    with tree() as place, ThreadPoolExecutor(os.cpu_count()) as several:
        judged = several.map(lambda case: _case({**cases["sound"], **case.get("vars", {})}, case, place), cases["cases"])
        return [problem for problems in judged for problem in problems] + list(_empty_groups(place))


def _case(given, case, place):
    with tempfile.TemporaryDirectory(prefix="sf-inventory-") as folder:
        inventory = Path(folder) / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"all": {**case["inventory"], "vars": {name: value for name, value in given.items() if value is not None}}}))
        paths = {"ANSIBLE_COLLECTIONS_PATH": str(place.parents[2]), "ANSIBLE_PYTHON_INTERPRETER": str(BIN / "python")}
        said = tool(
            "ansible-playbook", "-i", inventory, PLAY, "-e", json.dumps({"shown_to": folder, "__sf_rules_of_this_host": []}),
            ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_PIPELINING="1", **paths,
        )
        shown = {file.stem: json.loads(file.read_text()) for file in Path(folder).glob("*.json")}
    if case.get("shows", {}).keys() - shown.keys() or not shown:
        return [f"{case['name']}: {line}" for line in said]
    refusals = sorted({problem for host in shown.values() for problem in host["problems"]})
    return [f"{case['name']}: {problem}" for problem in [*_refusals(case.get("refused", []), refusals), *_values(case.get("shows", {}), shown)]]


def _empty_groups(place):
    """A playbook of the collection that has no host to work on says so, and how the group is named."""
    nodes = "mine: {hosts: {sf-1: {ansible_connection: local}}"
    inventories = {
        "group_vars": f"{nodes}, vars: {{sf_group_all: mine}}}}\n",
        # Seen by localhost as well, and not by the pattern of a play.
        "the variables of all": f"all: {{vars: {{sf_group_all: mine}}}}\n{nodes}}}\n",
    }
    with tempfile.TemporaryDirectory(prefix="sf-inventory-") as folder:
        inventory = Path(folder) / "inventory.yml"
        for named_in, text in inventories.items():
            inventory.write_text(text)
            for playbook in sorted((place / "playbooks").glob("*.yml")):
                said = tool(
                    "ansible-playbook", "-i", inventory, f"shakenfist.cloud.{playbook.stem}",
                    ANSIBLE_COLLECTIONS_PATH=str(place.parents[2]), ANSIBLE_LOCALHOST_WARNING="false",
                )
                if not any("--extra-vars sf_group_all=NAME" in line for line in said):
                    yield f"playbooks/{playbook.name}: ends well without a host when {named_in} name the group"


def _refusals(wanted, refusals):
    unmatched = [refusal for refusal in refusals if not any(re.search(pattern, refusal) for pattern in wanted)]
    silent = [pattern for pattern in wanted if not any(re.search(pattern, refusal) for refusal in refusals)]
    return [f"is refused by {refusal}" for refusal in unmatched] + [f"no rule says {pattern}" for pattern in silent]


def _values(wanted, shown):
    for host, values in wanted.items():
        for name, value in values.items():
            if shown.get(host, {}).get(name) != value:
                yield f"{host}: {name} is {shown.get(host, {}).get(name)}, and should be {value}"
