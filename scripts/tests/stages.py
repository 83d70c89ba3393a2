"""The stages that start the agent, or look at the collection."""

import os
import re
import subprocess

from commands import REPORT_LINES, ROOT, Tail, run
from workspace import SKIPPED, binary

PYTEST_RESULT = re.compile(r"(\d+) (passed|failed|error|errors|skipped)\b")


def venv(kind):
    """A Python environment with what a kind of tests needs."""
    made = subprocess.run(["scripts/client-venv.sh", kind], cwd=ROOT, check=True, capture_output=True, text=True)
    return made.stdout.strip()


def pytest(totals, env, *paths, kind="test"):
    counted = {"passed": 0, "failed": 0}
    report = []

    def on_line(line):
        if report or re.match(r"^=+ (FAILURES|ERRORS) =+$", line):
            report.append(line)
        if line.startswith("SKIPPED"):
            totals.skips.append(line)
        elif re.match(r"^=+ .*\b(passed|failed|error|skipped)\b.* in ", line):
            for number, what in PYTEST_RESULT.findall(line):
                if what == "passed":
                    counted["passed"] += int(number)
                elif what in ("failed", "error", "errors"):
                    counted["failed"] += int(number)

    place = venv(kind)
    # The released command line is one of the things under test.
    env = {**env, "PATH": f"{place}/bin:{os.environ['PATH']}"}
    status = run([f"{place}/bin/pytest", "-p", "no:cacheprovider", "-v", "-rs", *paths], on_line, env)
    totals.passed += counted["passed"]
    totals.failed += counted["failed"]
    if counted["failed"]:
        totals.failures.append(report[-REPORT_LINES:])
    elif status != 0:
        totals.check(f"pytest {' '.join(paths)}", False)


def conformance(totals):
    pytest(totals, {"SF_NODE": str(binary())}, "tests/conformance")


SYSTEM = [f"tests/system/test_{name}.py" for name in ("life", "outage", "fetch")]


def system(totals):
    pytest(totals, {"SF_NODE": str(binary())}, *SYSTEM)


def kill(totals):
    pytest(totals, {"SF_NODE": str(binary())}, "tests/system/test_kill.py")


def nodes(totals):
    """Three nodes, each in a network namespace of its own, joined by a switch."""
    pytest(totals, {"SF_NODE": str(binary())}, "tests/nodes")


def quickstart(totals):
    """With the agent that the other stages test: `make quickstart` itself builds for speed, which takes its time."""
    tail = Tail()
    status = run(["scripts/test-quickstart.sh"], tail, {"SF_BINARY": str(binary())})
    totals.check("quickstart and quickstart-down", status == 0, tail.lines)


def modules(totals):
    """The Ansible modules in real playbooks against a running cloud."""
    pytest(totals, {"SF_NODE": str(binary()), "SF_ANSIBLE": venv("ansible")}, "tests/modules")


def examples(totals):
    """The examples that need no host: load balancers, a pipeline, an authority."""
    pytest(totals, {"SF_NODE": str(binary()), "SF_ANSIBLE": venv("ansible")}, "tests/examples")


def role_static(totals):
    """The collection without a host: style, declarations, archive, what it renders."""
    gates(totals, "ansible")
    # What has other types before Ansible 2.19: expressions, and with them what is rendered and what plugins are given.
    gates(totals, "ansible-oldest", "render", "units")


def gates(totals, kind, *names):
    """Gates of the collection with one kind of Ansible; without names, all of them."""
    tail = Tail()

    def on_line(line):
        tail(line)
        if gate := re.match(r"^(ok|FAILED): ", line):
            totals.passed += gate[1] == "ok"
            totals.failed += gate[1] == "FAILED"
            if gate[1] == "FAILED":
                totals.failures.append(list(tail.lines))
        elif match := SKIPPED.match(line):
            totals.skips.append(match[1])

    failed = totals.failed
    status = run([f"{venv(kind)}/bin/python", "scripts/lint/collection", *names], on_line, {"SF_NODE": str(binary())})
    if status != 0 and totals.failed == failed:
        totals.check(f"gates of the collection with {kind}", False, tail.lines)


def scenario(totals, name, suite="bookworm", kind="ansible"):
    """One scenario of molecule/, on a release of Debian, with a kind of Ansible: each of its actions counts as a check."""
    actions = {"passed": 0, "failed": 0}
    tail = Tail()
    label = name + (f" on {suite}" if suite != "bookworm" else "") + (f" with {kind}" if kind != "ansible" else "")

    def on_line(line):
        tail(line)
        if match := re.search(rf"\[{name} > (\w+)\] Executed: (Successful|Failed)", line):
            ok = match[2] == "Successful"
            actions["passed" if ok else "failed"] += 1
            totals.check(f"scenario {label}, {match[1]}", ok, tail.lines)
        elif line.startswith("FAILED: "):
            actions["failed"] += 1
            totals.check(line.removeprefix("FAILED: "), False, tail.lines)
        elif match := re.match(r"skipped: (no mirror for .+)", line):
            actions["passed"] += 1
            totals.skips.append(f"scenario {label}: {match[1]}")

    status = run(["molecule/shared/run.sh", name], on_line, {"SF_NODE": str(binary()), "SF_SUITE": suite, "SF_ANSIBLE_KIND": kind})
    if status != 0 and not actions["failed"] or not actions["passed"]:
        totals.check(f"scenario {label}", False, tail.lines)


def role(totals):
    """From a bare host to a guest, as examples/single-node says."""
    scenario(totals, "default")


def trixie(totals):
    """The same on Debian 13, where the mirror has it."""
    scenario(totals, "default", "trixie")


def oldest(totals):
    """The same with the oldest Ansible that the collection works with."""
    scenario(totals, "default", kind="ansible-oldest")


def cluster(totals):
    scenario(totals, "cluster")


def check(totals):
    scenario(totals, "check")


def preflight(totals):
    scenario(totals, "preflight")


def drain(totals):
    scenario(totals, "drain")
