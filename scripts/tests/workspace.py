"""The stages of the workspace: what the compiler and its companions say of it, and its tests."""

import concurrent.futures
import json
import os
import re
import subprocess
import threading
from pathlib import Path

from commands import ROOT, Tail, Totals, end_all, have, run

EVERYTHING = ["--workspace", "--all-targets", "--all-features", "--locked"]
CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
CARGO_IGNORED = re.compile(r"^test (\S+) \.\.\. ignored(?:, (.+))?$")
SKIPPED = re.compile(r"^(?:.*?\b)?skipped: (.+)$")


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
        # Unoptimised it looks a few seconds longer and is built in a quarter of the time.
        run(["cargo", "install", "--debug", "--locked", "cargo-deny"])
    if have("cargo-deny"):
        totals.check("licences and sources", run(["cargo", "deny", "check", "bans", "licenses", "sources"]) == 0)
    else:
        totals.skips.append("licences and sources: cargo-deny could not be installed")


CARGO_TEST = ["cargo", "test", "--workspace", "--locked", "--all-features"]
# Tests that spend their time waiting: for deadlines, leases, and servers that were stopped. Each row takes as long as all the others
# together, which run beside them.
WAITING = [{"api", "client", "drainer", "leader"}, {"gateway", "checkin"}]


def rust(totals):
    tail = Tail()
    if run([*CARGO_TEST, "--no-run"], tail) != 0:
        totals.check("building the tests", False, tail.lines)
        return
    listed = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    targets = [target for package in json.loads(listed.stdout)["packages"] for target in package["targets"]]
    programs = {target["name"] for target in targets if target["kind"] == ["test"]}
    waiting = set.union(*WAITING)
    if unknown := waiting - programs:
        totals.check(f"there are tests called {', '.join(sorted(unknown))}", False)
    lanes = [(["--lib", "--bins", *named(programs - waiting)], ["--doc"]), *((named(row & programs),) for row in WAITING)]
    shown, env = threading.Lock(), {"SF_TEST_KERNEL": guest_kernel()}
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for counted in pool.map(lambda lane: [cargo_test(which, shown, env) for which in lane], lanes):
                for one in counted:
                    totals.add(one)
        except BaseException:
            # The pool waits for its lanes.
            end_all()
            raise


def guest_kernel():
    """What tests of the hypervisor boot, on a machine that may have no kernel of its own."""
    fetched = subprocess.run(["scripts/guest-kernel.sh"], cwd=ROOT, check=True, capture_output=True, text=True)
    [kernel] = (Path(fetched.stdout.strip()) / "boot").glob("vmlinuz-*")
    return str(kernel)


def named(programs):
    return [word for name in sorted(programs) for word in ("--test", name)]


def cargo_test(which, shown, env):
    """Runs some of the Rust tests. What they say is shown when they have ended, in one piece: others run beside them."""
    totals, tail, lines = Totals(), Tail(), []
    libtest = Libtest(totals)

    def on_line(line):
        tail(line)
        if libtest.show(line):
            lines.append(line)
        return False

    status = run([*CARGO_TEST, "--no-fail-fast", *which, "--", "--show-output"], on_line, env)
    with shown:
        print("\n".join(lines), flush=True)
        if status != 0 and not totals.failed or not libtest.seen:
            totals.check(f"cargo test {' '.join(which)}, which ended before its tests did", False, tail.lines)
    return totals


def binary():
    """The agent as the Rust tests have built it: naming one test of its crate builds it with the same features again."""
    build = ["cargo", "test", "--workspace", "--all-features", "--locked", "--no-run", "--test", "cli"]
    if run(build) != 0:
        raise SystemExit("building the agent failed; fix what cargo says above")
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "sf-node"
