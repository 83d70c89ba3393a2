#!/usr/bin/env python3
"""Deletes every instance and network of a standalone cloud through its API, and waits until they are gone."""

import argparse
import json
import sys
import time
from pathlib import Path

from shakenfist_client import apiclient

PATIENCE = 180


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    data = parser.parse_args().data_dir
    url = json.loads((data / "standalone.json").read_text())["api_url"]
    key = (data / "credentials" / "system_key").read_text().strip()
    client = apiclient.Client(base_url=url, namespace="system", key=key, suppress_configuration_lookup=True)

    for instance in client.get_instances():
        client.delete_instance(instance["uuid"], async_request=True)
    wait("instances", client.get_instances)
    for network in tenants(client):
        client.delete_network(network["uuid"], wait=False)
    wait("networks", lambda: tenants(client))


def tenants(client):
    """Every network but the floating one, which has no namespace and lives as long as the cloud."""
    return [network for network in client.get_networks() if network["namespace"]]


def wait(what, remaining):
    deadline = time.monotonic() + PATIENCE
    while left := remaining():
        if time.monotonic() > deadline:
            names = ", ".join(f"{one['uuid']} ({one['state']})" for one in left)
            sys.exit(f"FAILED: {what} were not removed in {PATIENCE} s: {names}")
        time.sleep(0.5)
    print(f"    no {what} left")


if __name__ == "__main__":
    main()
