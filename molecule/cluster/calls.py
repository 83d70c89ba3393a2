#!/usr/bin/env python3
"""Calls the API again and again, and tells about each call that failed. The key of namespace system comes on standard input.

    calls.py URL (--count N | --until FILE) [--tolerate SECONDS]

Ends with status 1 when a call failed later than SECONDS after the start. Every call is a new connection.
"""

import argparse
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("--count", type=int, default=sys.maxsize)
parser.add_argument("--until", type=Path)
parser.add_argument("--tolerate", type=float, default=0.0)
arguments = parser.parse_args()

context = ssl.create_default_context(cafile="/etc/ssl/certs/site-ca.pem")


def ask(path, body=None, headers=None):
    request = urllib.request.Request(
        arguments.url + path, data=body, headers={"Content-Type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return json.load(answer)


key = sys.stdin.read().strip()
token = ask("/auth", json.dumps({"namespace": "system", "key": key}).encode())["access_token"]
bearer = {"Authorization": f"Bearer {token}"}
if arguments.until:
    arguments.until.unlink(missing_ok=True)

begun = time.monotonic()
calls, failures = 0, []
while calls < arguments.count and not (arguments.until and arguments.until.exists()):
    calls += 1
    at = time.monotonic() - begun
    try:
        ask("/networks", headers=bearer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        # A token lives for fifteen minutes, longer than any run of this.
        failures.append((at, str(error)))
    time.sleep(0.1)

late = [failure for failure in failures if failure[0] > arguments.tolerate]
for at, error in failures:
    print(f"after {at:.1f} s: {error}")
print(f"{calls} calls in {time.monotonic() - begun:.0f} s, {len(failures)} failed, {len(late)} of them too late")
sys.exit(1 if late else 0)
