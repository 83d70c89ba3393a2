#!/usr/bin/env python3
"""What a user does besides making objects: uploads an image, reads a console, pings. With the released client."""

import argparse
import os
import sys
import time
from pathlib import Path

from shakenfist_client import apiclient


def upload(client, arguments):
    """Uploads a file as an artifact, and prints its UUID."""
    for artifact in client.get_artifacts():
        if artifact["name"] == arguments.name and artifact["state"] == "created":
            return artifact["uuid"]
    session = client.create_upload()
    with open(arguments.file, "rb") as source:
        while chunk := source.read(1 << 20):
            client.send_upload(session["uuid"], chunk)
    return client.upload_artifact(arguments.name, session["uuid"])["uuid"]


def marker(client, arguments):
    """Waits for the guest's report on its console, and prints the address in it."""
    # It may have been given by its name.
    instance = client.get_instance(arguments.instance)["uuid"]
    deadline = time.monotonic() + arguments.seconds
    while time.monotonic() < deadline:
        console = client.get_console_data(instance, -1)
        for words in (line.split() for line in console.splitlines()):
            if words[:2] == ["SF-GUEST", instance]:
                if words[3] != arguments.marker:
                    sys.exit(f"the guest read {words[3]!r}, not {arguments.marker!r}")
                return words[2]
        time.sleep(0.5)
    sys.exit(f"no report within {arguments.seconds} s; the console says:\n{console}")


def says(client, arguments):
    """Waits for a line on the console."""
    deadline = time.monotonic() + arguments.seconds
    while time.monotonic() < deadline:
        console = client.get_console_data(arguments.instance, -1)
        if arguments.line in console.splitlines():
            return arguments.line
        time.sleep(0.5)
    sys.exit(f"no such line within {arguments.seconds} s; the console says:\n{console}")


def floating(client, arguments):
    """Prints the floating address of the first interface."""
    return client.get_instance_interfaces(arguments.instance)[0]["floating"]


def ping(client, arguments):
    """Pings an address from the namespace of its network."""
    answer = client.ping(arguments.network, arguments.address)
    if " 0% packet loss" not in answer["stdout"]:
        sys.exit(f"{answer['stdout']}\n{answer['stderr']}")
    return answer["stdout"].strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("upload")
    verb.add_argument("name")
    verb.add_argument("file", type=Path)
    verb.set_defaults(run=upload)
    verb = verbs.add_parser("marker")
    verb.add_argument("instance")
    verb.add_argument("marker")
    verb.add_argument("--seconds", type=int, default=120)
    verb.set_defaults(run=marker)
    verb = verbs.add_parser("says")
    verb.add_argument("instance")
    verb.add_argument("line")
    verb.add_argument("--seconds", type=int, default=120)
    verb.set_defaults(run=says)
    verb = verbs.add_parser("floating")
    verb.add_argument("instance")
    verb.set_defaults(run=floating)
    verb = verbs.add_parser("ping")
    verb.add_argument("network")
    verb.add_argument("address")
    verb.set_defaults(run=ping)
    arguments = parser.parse_args()
    client = apiclient.Client(
        base_url=os.environ["SF_URL"], namespace="system", key=sys.stdin.read().strip(), suppress_configuration_lookup=True
    )
    print(arguments.run(client, arguments))


if __name__ == "__main__":
    main()
