"""One cloud for all tests of this folder: starting it is the slow part."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cloud import ROOT, for_a_session, run, until  # noqa: E402

NETBLOCK = "10.77.0.0/24"


@pytest.fixture(scope="session")
def cloud():
    yield from for_a_session(Path("/srv/sf-system-test"), 23000)


@pytest.fixture(scope="session")
def image_file():
    path = Path("/srv/sf-system-test.qcow2")
    run(ROOT / "scripts" / "guest-image.sh", path)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def tenant(cloud):
    return cloud.tenant("t1")


@pytest.fixture(scope="session")
def image(cloud, tenant, image_file):
    upload = tenant.create_upload()
    with open(image_file, "rb") as source:
        while chunk := source.read(1 << 20):
            tenant.send_upload(upload["uuid"], chunk)
    return tenant.upload_artifact("tiny", upload["uuid"])


@pytest.fixture
def network(cloud, tenant):
    made = tenant.allocate_network(NETBLOCK, True, True, "net", provide_dns=True)
    until("the network is created", lambda: tenant.get_network(made["uuid"])["state"] == "created")
    yield tenant.get_network(made["uuid"])
    if any(net["uuid"] == made["uuid"] for net in tenant.get_networks()):
        tenant.delete_network(made["uuid"])


def boot(cloud, tenant, network, image, name="guest"):
    """An instance whose guest has reported itself on the console."""
    instance = tenant.create_instance(
        name, 1, 256, [{"network_uuid": network["uuid"]}],
        [{"size": 1, "base": f"sf://artifact/{image['uuid']}", "bus": None, "type": "disk"}],
        None, None, side_channels=[],
    )
    uuid = instance["uuid"]

    def created():
        now = tenant.get_instance(uuid)
        assert not now["state"].endswith("error"), now["error_message"]
        return now["state"] == "created"

    until("the instance is created", created, 180)
    until("the guest reports itself", lambda: f"SF-GUEST {uuid}" in tenant.get_console_data(uuid, -1), 180)
    return tenant.get_instance(uuid)


@pytest.fixture
def guest(cloud, tenant, network, image):
    made = boot(cloud, tenant, network, image)
    yield made
    if any(one["uuid"] == made["uuid"] for one in tenant.get_instances()):
        tenant.delete_instance(made["uuid"])


@pytest.fixture(scope="session", autouse=True)
def keep_log_of_failures(cloud, request):
    yield
    if request.session.testsfailed:
        shutil.copy(cloud.data / "agent.log", ROOT / ".cache" / "system-test.log")
