"""Images that are fetched from somewhere else: by what the operator allows, whole and verified, and not from inside."""

import hashlib
import itertools
import json
import subprocess
from pathlib import Path

import pytest
from cloud import run, until
from guests import booted, order

SPACE, NEAR, FAR, PORT = "sf-origin", "10.99.7.1", "10.99.7.2", 8099


@pytest.fixture(scope="module")
def origin(cloud, image_file, tmp_path_factory):
    """A web server in a network of its own, from which the operator allows images."""
    directory = tmp_path_factory.mktemp("origin")
    (directory / "tiny.qcow2").symlink_to(image_file)
    run("ip", "netns", "add", SPACE)
    inside = ["ip", "netns", "exec", SPACE]
    server = None
    try:
        run("ip", "link", "add", "sf-origin-host", "type", "veth", "peer", "name", "eth0", "netns", SPACE)
        run("ip", "address", "add", f"{NEAR}/30", "dev", "sf-origin-host")
        run("ip", "link", "set", "sf-origin-host", "up")
        run(*inside, "ip", "address", "add", f"{FAR}/30", "dev", "eth0")
        run(*inside, "ip", "link", "set", "eth0", "up")
        command = ["python3", "-m", "http.server", str(PORT), "--bind", FAR, "--directory", str(directory)]
        server = subprocess.Popen(inside + command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        configure(cloud, image_fetch_allow=f"{FAR}/32", image_fetch_ports=str(PORT))
        yield f"http://{FAR}:{PORT}"
        configure(cloud, image_fetch_allow="", image_fetch_ports="")
    finally:
        if server:
            server.terminate()
            server.wait()
        run("ip", "netns", "delete", SPACE)


def configure(cloud, **keys):
    cloud.ctl("cluster-config", "apply", stdin=json.dumps(keys))


def fetched(tenant, url):
    """The artifact of a URL, once its fetch has ended."""
    uuid = tenant.cache_artifact(url)["uuid"]
    until("the fetch ends", lambda: tenant.get_artifact(uuid)["state"] != "initial")
    return tenant.get_artifact(uuid)


def told(tenant, artifact):
    return " ".join(event["message"] for event in tenant.get_artifact_events(artifact["uuid"]))


@pytest.fixture(scope="module")
def image(tenant, origin):
    """The image of the origin, once the node follows its configuration. What was refused before is not asked for again."""
    images = (fetched(tenant, f"{origin}/tiny.qcow2?try={number}") for number in itertools.count())
    return until("the origin is allowed", lambda: next((one for one in [next(images)] if one["state"] == "created"), None))


def test_an_image_arrives_whole_and_boots(tenant, network, image, image_file):
    blob = image["blobs"][max(image["blobs"])]["uuid"]
    expected = Path(image_file).read_bytes()
    assert tenant.get_blob(blob)["size"] == len(expected)
    assert hashlib.sha256(b"".join(tenant.get_blob_data(blob))).digest() == hashlib.sha256(expected).digest()
    guest = booted(tenant, order(tenant, network, image, "fetched"))
    tenant.delete_instance(guest["uuid"])


def test_what_is_not_there_is_said(tenant, image, origin):
    absent = fetched(tenant, f"{origin}/absent.qcow2")
    assert absent["state"] == "error"
    assert "404" in told(tenant, absent)


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "http://169.254.169.254/x", f"http://{NEAR}/x", f"http://[::ffff:{NEAR}]/x"])
def test_what_is_inside_stays_inside(tenant, image, url):
    refused = fetched(tenant, url)
    assert refused["state"] == "error"
    assert "may not be fetched from" in told(tenant, refused)
