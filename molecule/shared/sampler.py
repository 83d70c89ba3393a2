"""Prints every argument list and every environment of a process of this host, once, for as long as it runs.

A process is read while it is young, when it becomes what it was started for, and seldom after that: hosts that are looked at must not be
slower than others, because runs on them are timed.
"""

import os
import time

YOUNG = 25
SELDOM = 100

seen = set()
looks = {}
while True:
    looks = {process: looks.get(process, -1) + 1 for process in os.listdir("/proc") if process.isdigit()}
    for process, look in looks.items():
        if look > YOUNG and look % SELDOM:
            continue
        for what in ("cmdline", "environ"):
            try:
                with open(f"/proc/{process}/{what}", "rb") as file:
                    text = file.read()
            except OSError:
                # The process has ended.
                continue
            if text and text not in seen:
                seen.add(text)
                print(text.replace(b"\0", b"\n").decode(errors="replace"), flush=True)
    time.sleep(0.02)
