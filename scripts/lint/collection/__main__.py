"""Static gates of the collection. Needs the Python environment of tests/requirements-ansible.txt.

    python scripts/lint/collection                 every gate
    python scripts/lint/collection GATE...         some of them
    python scripts/lint/collection GATE --write    writes what the gate compares: variables, modules, daemons, cli, exposure

Gates that ask the agent take its path from SF_NODE and are skipped without it.
"""

import concurrent.futures
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
        # What takes longest comes first: the others run beside it.
        "sanity": (tools.sanity, None),
        "units": (tools.units, None),
        "inventories": (inventories.check, None),
        "render": (agent and (lambda: rendered.check(agent)), None),
        "ansible-lint": (tools.ansible_lint, None),
        "exposure": (agent and (lambda: rendered.check_exposure(agent)), agent and (lambda: rendered.write_exposure(agent))),
        "variables": (variables.check, variables.write),
        "modules": (modules_reference.check, modules_reference.write),
        "rules": (rules.check, None),
        "page": (pages.page, None),
        "links": (pages.links, None),
        "preflight-ids": (preflight_ids.check, None),
        "metrics": (metrics.check, None),
        "yamllint": (tools.yamllint, None),
        "tarball": (tarball.check, None),
        "daemons": (agent and (lambda: daemon_table.check(agent)), agent and (lambda: daemon_table.write(agent))),
        "cli": (agent and (lambda: cli_reference.check(agent)), agent and (lambda: cli_reference.write(agent))),
    }


def main(arguments):
    known = gates(os.environ.get("SF_NODE"))
    names = [name for name in arguments if name != "--write"] or list(known)
    if unknown := [name for name in names if name not in known]:
        print(f"there is no gate {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if "--write" in arguments:
        # What is rendered comes from the other files.
        for name in sorted(names, key=lambda name: name == "exposure"):
            _, write = known[name]
            if write:
                write()
    # Most of a gate is another program that uses one processor.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda name: judge(name, known[name][0]), names))
    return 0 if all(outcomes) else 1


def judge(name, check):
    """Whether a gate lets the collection pass; one without a check was skipped."""
    if not check:
        print(f"skipped: {name}: SF_NODE does not name the agent's binary", flush=True)
        return True
    began = time.monotonic()
    problems = check()
    said = [f"  {problem}" for problem in problems]
    verdict = f"{'FAILED' if problems else 'ok'}: {name} ({time.monotonic() - began:.0f} s)"
    # In one piece: another gate may be speaking.
    print("\n".join([*said, verdict]), flush=True)
    return not problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
