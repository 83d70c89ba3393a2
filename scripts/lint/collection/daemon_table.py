"""The daemon table of the role is the agent's own declaration (`sf-node daemons --json`), written as YAML."""

import json
import subprocess

import yaml

from common import ROOT

TABLE = ROOT / "roles/node/vars/main/daemons.yml"
HEADER = """---
# Generated from `sf-node daemons --json` by scripts/lint/collection.py daemons --write. What a daemon may do is declared in the
# agent, once; the role only renders it.
"""


class Dumper(yaml.SafeDumper):
    """Indents lists below their key, as the rest of the collection does."""

    def increase_indent(self, flow=False, indentless=False):
        return super().increase_indent(flow, False)


def rendered(agent):
    """The text of the file as this agent declares it."""
    answer = subprocess.run([agent, "daemons", "--json"], check=True, capture_output=True, text=True).stdout
    declared = json.loads(answer)
    table = {
        "__sf_daemon_table": declared["daemons"],
        "__sf_accounts": declared["accounts"],
        "__sf_account_groups": declared["groups"],
        "__sf_directories": declared["directories"],
    }
    return HEADER + yaml.dump(table, Dumper=Dumper, sort_keys=True, width=150, default_flow_style=False)


def write(agent):
    TABLE.write_text(rendered(agent))


def check(agent):
    """Problems; none when the file is what the agent declares."""
    if TABLE.read_text() == rendered(agent):
        return []
    return [f"{TABLE.relative_to(ROOT)} is not what {agent} declares: run scripts/lint/collection.py daemons --write"]
