#!/usr/bin/env python3
"""Uses the cloud as a user would, with the released client: namespace, network, image, guest, console, events."""

import argparse
import base64
import json
import secrets
import sys
import time
from pathlib import Path

from shakenfist_client import apiclient

NAMESPACE = "quickstart"
NETWORK = "quickstart"
NETBLOCK = "10.42.0.0/24"
IMAGE = "tiny"
# A guest under emulation needs about four seconds; a busy machine gets more.
BOOT_SECONDS = 180


def step(text):
    print(f"    {text}", flush=True)


def stop(what, why, remedy):
    print(f"\nFAILED: {what}\n   why: {why}\n   do:  {remedy}", file=sys.stderr)
    sys.exit(1)


def until(what, seconds, probe, remedy):
    """Calls probe until it answers something, or ends the program after a number of seconds."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer is not None:
            return answer
        if time.monotonic() > deadline:
            stop(what, f"nothing happened within {seconds} seconds", remedy)
        time.sleep(0.5)


def client_for(url, namespace, key):
    return apiclient.Client(base_url=url, namespace=namespace, key=key, suppress_configuration_lookup=True)


def tenant(system, url, data):
    """The quickstart's own namespace; its key is kept beside the data so that a second run finds it."""
    key_file = data / "credentials" / "quickstart_key"
    if NAMESPACE not in {namespace["name"] for namespace in system.get_namespaces()}:
        system.create_namespace(NAMESPACE)
        step(f"namespace {NAMESPACE} created")
    else:
        step(f"namespace {NAMESPACE} exists")
    if not key_file.exists():
        key_file.touch(mode=0o600)
        key_file.write_text(secrets.token_urlsafe(24))
        system.add_namespace_key(NAMESPACE, "quickstart", key_file.read_text())
    return client_for(url, NAMESPACE, key_file.read_text())


def network(client):
    for candidate in client.get_networks():
        if candidate["name"] == NETWORK and candidate["state"] == "created":
            step(f"network {candidate['uuid']} exists ({candidate['netblock']})")
            return candidate
    made = client.allocate_network(NETBLOCK, True, True, NETWORK, provide_dns=True)
    made = until(
        "waiting for the network",
        60,
        lambda: (lambda n: n if n["state"] == "created" else None)(client.get_network(made["uuid"])),
        "look at the network's events and at agent.log in the data directory",
    )
    step(f"network {made['uuid']} created ({made['netblock']}, VXLAN {made['vxid']})")
    return made


def image(client, path):
    for candidate in client.get_artifacts():
        if candidate["name"] == IMAGE and candidate["state"] == "created":
            step(f"image {candidate['uuid']} exists")
            return candidate
    upload = client.create_upload()
    with open(path, "rb") as source:
        while chunk := source.read(1 << 20):
            client.send_upload(upload["uuid"], chunk)
    artifact = client.upload_artifact(IMAGE, upload["uuid"])
    step(f"image {artifact['uuid']} uploaded ({path.stat().st_size} bytes, blob {artifact['blob_uuid']})")
    return artifact


def room(system):
    """Waits until the node has said what it can hold, which it does some seconds after it serves."""
    until(
        "waiting for the node's capacity",
        60,
        lambda: system.get_cluster_resources()["total"]["ram_available"] or None,
        "look for check-ins of sf-resources in agent.log",
    )


def boot(client, net, artifact, marker):
    """Creates an instance and waits until its console proves address and metadata."""
    user_data = base64.b64encode(f"#sf-marker {marker}\n".encode()).decode()
    instance = client.create_instance(
        f"guest-{marker}",
        1,
        256,
        [{"network_uuid": net["uuid"]}],
        [{"size": 1, "base": f"sf://artifact/{artifact['uuid']}", "bus": None, "type": "disk"}],
        None,
        user_data,
        side_channels=[],
    )
    uuid = instance["uuid"]
    step(f"instance {uuid} accepted on {instance['node']}")

    def created():
        now = client.get_instance(uuid)
        if now["state"] == "error" or now["state"].endswith("-error"):
            stop("booting the guest", now["error_message"], f"look at the events: instance {uuid}")
        return now if now["state"] == "created" else None

    until("waiting for the guest to be created", BOOT_SECONDS, created, f"look at the events of instance {uuid}")
    step("instance created, waiting for its console (emulated guests may take minutes)")

    def reported():
        for line in client.get_console_data(uuid, -1).splitlines():
            words = line.split()
            if words[:2] == ["SF-GUEST", uuid]:
                return words
        return None

    words = until("waiting for the guest's report", BOOT_SECONDS, reported, f"read the console of instance {uuid}")
    address = client.get_instance_interfaces(uuid)[0]["ipv4"]
    if words[2] != address:
        stop("checking the address", f"the guest has {words[2]}, the cloud gave {address}", "look at the console for DHCP")
    if words[3] != marker:
        stop("checking the metadata", f"the guest read {words[3]!r}, not {marker!r}", "look at the console for the config drive")
    step(f"the guest reports address {address} and metadata {marker}")
    return uuid, address


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--client", required=True)
    arguments = parser.parse_args()
    data = arguments.data_dir
    url = json.loads((data / "standalone.json").read_text())["api_url"]
    system = client_for(url, "system", (data / "credentials" / "system_key").read_text().strip())
    client = tenant(system, url, data)
    net = network(client)
    artifact = image(client, data / "tiny.qcow2")
    room(system)
    uuid, address = boot(client, net, artifact, secrets.token_hex(4))

    answer = client.ping(net["uuid"], address)
    if " 0% packet loss" not in answer["stdout"]:
        stop("pinging the guest from its network", answer["stdout"].strip() or answer["stderr"], "look at the network's events")
    step(f"ping from the network's namespace: {answer['stdout'].strip().splitlines()[-2]}")

    print("\n--- console " + "-" * 68)
    print(client.get_console_data(uuid, -1).strip())
    print("--- events, oldest first " + "-" * 55)
    for event in reversed(client.get_instance_events(uuid)):
        print(f"{time.strftime('%H:%M:%S', time.gmtime(event['timestamp']))} {event['type']:<7} {event['message']}")
    print("-" * 80)
    print(f"""
The cloud listens on {url}. To go on by hand:

    export SHAKENFIST_API_URL={url} SHAKENFIST_NAMESPACE={NAMESPACE}
    export SHAKENFIST_KEY=$(cat {data}/credentials/quickstart_key)
    {arguments.client} instance list
    {arguments.client} instance show {uuid}
    {arguments.client} instance consoledata {uuid} 10240
    {arguments.client} instance delete {uuid}
""")
    (data / "quickstart.result").write_text(f"instance={uuid}\naddress={address}\n")


if __name__ == "__main__":
    try:
        main()
    except apiclient.APIException as error:
        stop(f"{error.method} {error.url}", f"{error.status_code}: {error.text}", "look at agent.log in the data directory")
