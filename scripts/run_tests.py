#!/usr/bin/env python3
"""Runs stages of tests and adds up what they say.

Every stage prints its own output. What failed is told again at the end, with the last lines of what it said. The last line
is `<n> passed, <n> failed, <n> skipped`; the reason of every skip stands above it. The exit status is 0 exactly when nothing
failed.
"""

import collections
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What the last lines of a command may take to arrive after its end.
GRACE_SECONDS = 10
# A command that says nothing for so long hangs. Builds name every crate, so that a long one is not taken for a hanging one.
SILENCE_SECONDS = 900
# What a hanging command gets to put away what it made, after it was asked to end.
FAREWELL_SECONDS = 60
# How much of a failed command is told again at the end.
REPORT_LINES = 60
EVERYTHING = ["--workspace", "--all-targets", "--all-features", "--locked"]
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
CARGO_IGNORED = re.compile(r"^test (\S+) \.\.\. ignored(?:, (.+))?$")
PYTEST_RESULT = re.compile(r"(\d+) (passed|failed|error|errors|skipped)\b")
SKIPPED = re.compile(r"^(?:.*?\b)?skipped: (.+)$")


class Totals:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skips = []
        self.times = []
        self.failures = []

    def check(self, name, ok, said=()):
        """Counts one check that is not a test of a test runner."""
        self.passed += ok
        self.failed += not ok
        print(f"{'ok' if ok else 'FAILED'}: {name}", flush=True)
        if not ok:
            self.failures.append([name, *said])


class Tail:
    """The last lines that a command printed, for the report at the end."""

    def __init__(self):
        self.lines = collections.deque(maxlen=REPORT_LINES)

    def __call__(self, line):
        self.lines.append(line)


class Libtest:
    """What the harness of Rust's tests prints: results, skips and failures; output of tests that passed is not shown."""

    def __init__(self, totals):
        self.totals = totals
        self.seen = False
        self.section = None
        self.failed = []

    def show(self, line):
        """Whether a line is worth showing, after it was counted."""
        if match := CARGO_RESULT.match(line):
            self.seen = True
            self.totals.passed += int(match[1])
            self.totals.failed += int(match[2])
            if self.failed:
                self.totals.failures.append(self.failed)
            self.section, self.failed = None, []
            return True
        if line in ("successes:", "failures:"):
            self.section = line
        elif match := CARGO_IGNORED.match(line):
            self.totals.skips.append(f"{match[1]}: {match[2] or 'no reason given'}")
        elif match := SKIPPED.match(line):
            # A test that could not run says so and returns; cargo counts it as passed.
            self.totals.passed -= 1
            self.totals.skips.append(match[1])
        elif self.section == "failures:":
            self.failed.append(line)
        return self.section != "successes:"


class Reader(threading.Thread):
    """Shows what a process prints, and knows how long it has been silent."""

    def __init__(self, process, on_line):
        super().__init__(daemon=True)
        self.process = process
        self.on_line = on_line
        self.heard = time.monotonic()

    def run(self):
        for line in self.process.stdout:
            self.heard = time.monotonic()
            if self.on_line is None or self.on_line(line.rstrip("\n")) is not False:
                print(line, end="", flush=True)

    def silence(self):
        return time.monotonic() - self.heard


def wait(process, reader):
    """The exit status of a process, or `None` for one that hung and was ended."""
    while True:
        try:
            return process.wait(timeout=max(1, SILENCE_SECONDS - reader.silence()))
        except subprocess.TimeoutExpired:
            if reader.silence() >= SILENCE_SECONDS:
                break
    signal_group(process, signal.SIGINT)
    try:
        process.wait(timeout=FAREWELL_SECONDS)
    except subprocess.TimeoutExpired:
        signal_group(process, signal.SIGKILL)
        process.wait()
    return None


def signal_group(process, number):
    """Signals a command and what it started, as far as that stayed in its session: there may be nobody left."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def run(command, on_line=None, env=None):
    """Runs a command, shows its output while it comes, and answers its exit status.

    `on_line` sees every line first; a line for which it answers `False` is not shown.
    A command that hangs is ended and has failed. A process that a failed test left behind keeps the output open: it is
    ended, and makes the command a failed one. One that went into a session of its own is out of reach; nobody waits for it.
    """
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True,
    )
    reader = Reader(process, on_line)
    reader.start()
    status = wait(process, reader)
    if status is None:
        print(f"FAILED: {' '.join(command[:4])} ... said nothing for {SILENCE_SECONDS} s and was ended", flush=True)
    reader.join(GRACE_SECONDS)
    if reader.is_alive():
        print(f"FAILED: {' '.join(command[:4])} ... ended and left processes behind", flush=True)
        signal_group(process, signal.SIGKILL)
        reader.join(GRACE_SECONDS)
        return status or 1
    return 1 if status is None else status


def have(program):
    return subprocess.run(["sh", "-c", f"command -v {program}"], capture_output=True).returncode == 0


def lint(totals):
    checks = {
        "formatting": ["cargo", "fmt", "--all", "--check"],
        "clippy": ["cargo", "clippy", *EVERYTHING, "--", "-D", "warnings"],
        "floors": ["python3", "scripts/lint/floors.py"],
        "rooms": ["python3", "scripts/lint/rooms.py"],
        "shell syntax": ["bash", "-c", "for f in scripts/*.sh .ci/run; do bash -n $f || exit 1; done"],
        "README length": ["bash", "-c", "test $(wc -l <README.md) -le 150"],
    }
    for name, command in checks.items():
        tail = Tail()
        totals.check(name, run(command, tail) == 0, tail.lines)
    if not have("cargo-deny"):
        print("installing cargo-deny", flush=True)
        run(["cargo", "install", "--locked", "cargo-deny"])
    if have("cargo-deny"):
        totals.check("licences and sources", run(["cargo", "deny", "check", "bans", "licenses", "sources"]) == 0)
    else:
        totals.skips.append("licences and sources: cargo-deny could not be installed")


def rust(totals):
    libtest, tail = Libtest(totals), Tail()

    def on_line(line):
        tail(line)
        return libtest.show(line)

    failed = totals.failed
    status = run(
        ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--all-features", "--", "--show-output"], on_line
    )
    if status != 0 and totals.failed == failed or not libtest.seen:
        totals.check("cargo test, which ended before its tests did", False, tail.lines)


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


def binary():
    """The agent as the Rust tests have built it: naming one test of its crate builds it with the same features again."""
    build = ["cargo", "test", "--workspace", "--all-features", "--locked", "--no-run", "--test", "cli"]
    if run(build) != 0:
        raise SystemExit("building the agent failed; fix what cargo says above")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "sf-node"


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


ALL = (
    lint, rust, role_static, conformance, system, kill, nodes, quickstart, modules, examples, role, trixie, oldest, cluster, check, preflight, drain,
)
STAGES = {stage.__name__.replace("_", "-"): stage for stage in ALL}


def main(names):
    totals = Totals()
    for name in names:
        print(f"\n=== {name} " + "=" * (74 - len(name)), flush=True)
        before = time.monotonic()
        STAGES[name](totals)
        totals.times.append(f"{name} {time.monotonic() - before:.0f} s")
    for failure in totals.failures:
        print("\n--- failed " + "-" * 67)
        print("\n".join(failure))
    print("\nstages: " + ", ".join(totals.times))
    for reason in totals.skips:
        print(f"skipped: {reason}")
    print(f"{totals.passed} passed, {totals.failed} failed, {len(totals.skips)} skipped")
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(STAGES)))
