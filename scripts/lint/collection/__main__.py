"""Static gates of the collection. Needs the Python environment of tests/requirements-ansible.txt.

    python scripts/lint/collection                 every gate
    python scripts/lint/collection GATE...         some of them
    python scripts/lint/collection GATE --write    writes what the gate compares: variables, modules, daemons, cli, exposure

Gates that ask the agent take its path from SF_NODE and are skipped without it.
"""

import os
import sys
import time

import cli_reference
import daemon_table
import inventories
import metrics
import modules_reference
import pages
import preflight_ids
import rendered
import rules
import tarball
import tools
import variables


def gates(agent):
    """Name, check, and how what it compares is written."""
    return {
        "variables": (variables.check, variables.write),
        "modules": (modules_reference.check, modules_reference.write),
        "rules": (rules.check, None),
        "page": (pages.page, None),
        "links": (pages.links, None),
        "preflight-ids": (preflight_ids.check, None),
        "metrics": (metrics.check, None),
        "yamllint": (tools.yamllint, None),
        "inventories": (inventories.check, None),
        "units": (tools.units, None),
        "tarball": (tarball.check, None),
        "daemons": (agent and (lambda: daemon_table.check(agent)), agent and (lambda: daemon_table.write(agent))),
        "cli": (agent and (lambda: cli_reference.check(agent)), agent and (lambda: cli_reference.write(agent))),
        "render": (agent and (lambda: rendered.check(agent)), None),
        "exposure": (agent and (lambda: rendered.check_exposure(agent)), agent and (lambda: rendered.write_exposure(agent))),
        "ansible-lint": (tools.ansible_lint, None),
        "sanity": (tools.sanity, None),
    }


def main(arguments):
    known = gates(os.environ.get("SF_NODE"))
    names = [name for name in arguments if name != "--write"] or list(known)
    if unknown := [name for name in names if name not in known]:
        print(f"there is no gate {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        check, write = known[name]
        if not check:
            print(f"skipped: {name}: SF_NODE does not name the agent's binary", flush=True)
            continue
        if write and "--write" in arguments:
            write()
        began = time.monotonic()
        problems = check()
        for problem in problems:
            print(f"  {problem}")
        print(f"{'FAILED' if problems else 'ok'}: {name} ({time.monotonic() - began:.0f} s)", flush=True)
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
