"""The ids of preflight checks: each is in the reference, and a scenario shows it or says why it cannot."""

import re

import yaml

from common import ROLE, ROOT, tracked

AGENT = ROOT / "agent/libs/preflight/src/checks/mod.rs"
CASES = ROOT / "molecule/preflight/cases.yml"
PAGE = ROOT / "docs/reference/preflight.md"
ID = re.compile(r"\bPF-[A-Z]+\b")


def check():
    """Problems of the ids."""
    used = set(ID.findall(AGENT.read_text()))
    for name in tracked(f"{ROLE.relative_to(ROOT)}/tasks", f"{ROLE.relative_to(ROOT)}/vars"):
        used |= set(ID.findall((ROOT / name).read_text()))
    cases = yaml.safe_load(CASES.read_text())
    shown, unshown = {case["id"] for case in cases["cases"]}, set(cases["unshown"])
    described = set(ID.findall(PAGE.read_text()))
    where = CASES.relative_to(ROOT)
    problems = [f"{ident} has no case in {where}, and no reason why not below unshown" for ident in sorted(used - shown - unshown)]
    problems += [f"{ident} has a case in {where}: take it from unshown" for ident in sorted(shown & unshown)]
    problems += [f"{ident} of {where} is no check" for ident in sorted((shown | unshown) - used)]
    problems += [f"{ident} is not in {PAGE.relative_to(ROOT)}" for ident in sorted(used - described)]
    return problems + [f"{PAGE.relative_to(ROOT)} describes {ident}, which is no check" for ident in sorted(described - used)]
