"""The ids of preflight checks: both pages name each, and a scenario shows it or says why it cannot."""

import re

import yaml

from common import ROOT, tracked

SOURCES = ("agent/libs/preflight/src", "roles/node/tasks", "roles/node/vars")
CASES = "molecule/preflight/cases.yml"
# What a check means, and what to do about its refusal.
PAGES = ("docs/reference/preflight.md", "docs/operator_guide/preflight.md")
ID = re.compile(r"\bPF-[A-Z]{2,}\b")


def check():
    """Problems of the ids."""
    used = {ident for name in tracked(*SOURCES) for ident in ID.findall((ROOT / name).read_text())}
    cases = yaml.safe_load((ROOT / CASES).read_text())
    shown, unshown = {case["id"] for case in cases["cases"]}, set(cases["unshown"])
    problems = [f"{ident} has no case in {CASES}, and no reason why not below unshown" for ident in sorted(used - shown - unshown)]
    problems += [f"{ident} has a case in {CASES}: take it from unshown" for ident in sorted(shown & unshown)]
    problems += [f"{ident} of {CASES} is no check" for ident in sorted((shown | unshown) - used)]
    for page in PAGES:
        described = set(ID.findall((ROOT / page).read_text()))
        problems += [f"{page} does not name {ident}" for ident in sorted(used - described)]
        problems += [f"{page} names {ident}, which is no check" for ident in sorted(described - used)]
    return problems
