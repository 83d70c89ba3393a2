"""One cluster for all tests of this folder: a carrier with a gateway, and two hypervisors with an API each."""

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "system")]

from cluster import Cluster  # noqa: E402
from guests import image_at  # noqa: E402
from node import Node  # noqa: E402
from underlay import Machine, become_the_switch  # noqa: E402

PLACE = Path("/srv/sf-nodes-test")
SETTINGS = {"blob_replication_factor": 1, "api_advertised_host": "10.213.0.12"}


@pytest.fixture(scope="session")
def image_file():
    yield from image_at("/srv/sf-nodes-test.qcow2")


@pytest.fixture(scope="session")
def cluster(image_file):
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces and starts guests")
    if PLACE.exists():
        pytest.fail(f"{PLACE} exists: a former run was cut; end what runs in it and remove it")
    become_the_switch()
    nodes = [
        Node(Machine("n1", 11), PLACE, database=True, carrier=True),
        Node(Machine("n2", 12), PLACE, database=True, hypervisor=True),
        Node(Machine("n3", 13), PLACE, hypervisor=True),
    ]
    made = Cluster(PLACE, nodes, SETTINGS)
    try:
        made.deploy()
        yield made
    finally:
        made.remove()
