#!/usr/bin/env python3
"""Runs stages of tests and adds up what they say.

Every stage prints its own output. What failed is told again at the end, with the last lines of what it said. The last line
is `<n> passed, <n> failed, <n> skipped`; the reason of every skip stands above it. The exit status is 0 exactly when nothing
failed.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import stages
import workspace
from commands import ROOT, Totals, end_all

STAGES = {
    stage.__name__.replace("_", "-"): stage
    for stage in (
        workspace.lint, workspace.rust, stages.role_static, stages.conformance, stages.system, stages.kill, stages.nodes, stages.quickstart,
        stages.modules, stages.examples, stages.role, stages.trixie, stages.oldest, stages.cluster, stages.check, stages.preflight, stages.drain,
    )
}


class Beside:
    """A stage that runs beside the next ones, in a process of its own: it needs processors and nothing else that they use."""

    def __init__(self, name):
        self.name = name
        self.said = tempfile.TemporaryFile("w+")
        self.counted = tempfile.NamedTemporaryFile("r")
        command = [sys.executable, __file__, "--totals", self.counted.name, name]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=self.said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def end(self):
        """Has it end itself and what it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait()

    def join(self, totals):
        """Waits for its end, shows what it said, and adds what it counted."""
        status = self.process.wait()
        self.said.seek(0)
        print(self.said.read(), end="", flush=True)
        text = self.counted.read()
        if text:
            totals.add(Totals(**json.loads(text)))
        else:
            totals.check(f"{self.name}, which ended with {status} before it had counted", False)


def main(arguments):
    """Runs stages one after another. One with an `&` behind its name runs beside those that follow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--totals", type=Path, help="where to write what was counted, as JSON, instead of a summary")
    parser.add_argument("stages", nargs="*", help=", ".join(STAGES))
    arguments = parser.parse_args(arguments)
    totals, beside = Totals(), []
    try:
        for name in arguments.stages or STAGES:
            if name.endswith("&"):
                beside.append(Beside(name.removesuffix("&")))
                continue
            print(f"\n=== {name} " + "=" * (74 - len(name)), flush=True)
            before = time.monotonic()
            STAGES[name](totals)
            totals.times.append(f"{name} {time.monotonic() - before:.0f} s")
        for stage in beside:
            stage.join(totals)
    except BaseException:
        end_all()
        for stage in beside:
            stage.end()
        raise
    if arguments.totals:
        arguments.totals.write_text(json.dumps(vars(totals)))
    else:
        summarise(totals)
    return 1 if totals.failed else 0


def summarise(totals):
    for failure in totals.failures:
        print("\n--- failed " + "-" * 67)
        print("\n".join(failure))
    print("\nstages: " + ", ".join(totals.times))
    for reason in totals.skips:
        print(f"skipped: {reason}")
    print(f"{totals.passed} passed, {totals.failed} failed, {len(totals.skips)} skipped")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
