#!/usr/bin/env python3
"""Downloads an image slowly and compares its checksum; the key of namespace system comes on standard input.

    download.py URL ARTIFACT SHA512 BYTES-A-SECOND FILE-MADE-WHEN-STARTED
"""

import hashlib
import json
import ssl
import sys
import time
import urllib.request
from pathlib import Path

url, name, wanted, rate, started = sys.argv[1:]
context = ssl.create_default_context(cafile="/etc/ssl/certs/site-ca.pem")
Path(started).unlink(missing_ok=True)


def ask(path, body=None, headers=None):
    request = urllib.request.Request(url + path, data=body, headers={"Content-Type": "application/json", **(headers or {})})
    return urllib.request.urlopen(request, context=context, timeout=60)


key = sys.stdin.read().strip()
token = json.load(ask("/auth", json.dumps({"namespace": "system", "key": key}).encode()))["access_token"]
bearer = {"Authorization": f"Bearer {token}"}
artifact = next(a for a in json.load(ask("/artifacts", headers=bearer)) if a["name"] == name)
digest = hashlib.sha512()
received = 0
with ask(f"/blobs/{artifact['blob_uuid']}/data", headers=bearer) as body:
    begun = time.monotonic()
    while chunk := body.read(65536):
        digest.update(chunk)
        received += len(chunk)
        Path(started).touch()
        ahead = received / float(rate) - (time.monotonic() - begun)
        time.sleep(max(0.0, ahead))
if digest.hexdigest() != wanted:
    sys.exit(f"the {received} bytes that came are not those that were uploaded")
print(f"{received} bytes in {time.monotonic() - begun:.1f} s")
