"""Running the commands of a stage: what they print is shown while it comes, and what hangs is ended."""

import collections
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the last lines of a command may take to arrive after its end.
GRACE_SECONDS = 10
# A command that says nothing for so long hangs. Builds name every crate, so that a long one is not taken for a hanging one.
SILENCE_SECONDS = 900
# What a hanging command gets to put away what it made, after it was asked to end.
FAREWELL_SECONDS = 60
# How much of a failed command is told again at the end.
REPORT_LINES = 60


class Totals:
    def __init__(self, passed=0, failed=0, skips=(), times=(), failures=()):
        self.passed = passed
        self.failed = failed
        self.skips = list(skips)
        self.times = list(times)
        self.failures = [list(lines) for lines in failures]

    def add(self, other):
        """Adds what was counted elsewhere."""
        self.passed += other.passed
        self.failed += other.failed
        self.skips += other.skips
        self.times += other.times
        self.failures += other.failures

    def check(self, name, ok, said=()):
        """Counts one check that is not a test of a test runner."""
        self.passed += ok
        self.failed += not ok
        print(f"{'ok' if ok else 'FAILED'}: {name}", flush=True)
        if not ok:
            self.failures.append([name, *said])


# The processes that run now, so that none is left when this one is told to end.
RUNNING = set()


class Tail:
    """The last lines that a command printed, for the report at the end."""

    def __init__(self):
        self.lines = collections.deque(maxlen=REPORT_LINES)

    def __call__(self, line):
        self.lines.append(line)


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


def end_all():
    """Asks all commands to end: each has a session of its own, and what a terminal sends does not reach it."""
    for process in list(RUNNING):
        signal_group(process, signal.SIGINT)


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
    RUNNING.add(process)
    reader = Reader(process, on_line)
    reader.start()
    status = wait(process, reader)
    RUNNING.discard(process)
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
