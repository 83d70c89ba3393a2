"""One cloud for all tests of this folder: starting it is the slow part."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cloud import ROOT, for_a_session, until  # noqa: E402
from guests import booted, image_at, order, upload  # noqa: E402

NETBLOCK = "10.77.0.0/24"


@pytest.fixture(scope="session")
def cloud():
    yield from for_a_session(Path("/srv/sf-system-test"), 23000)


@pytest.fixture(scope="session")
def image_file():
    yield from image_at("/srv/sf-system-test.qcow2")


@pytest.fixture(scope="session")
def tenant(cloud):
    return cloud.tenant("t1")


@pytest.fixture(scope="session")
def image(cloud, tenant, image_file):
    return upload(tenant, image_file)


@pytest.fixture
def network(cloud, tenant):
    made = tenant.allocate_network(NETBLOCK, True, True, "net", provide_dns=True)
    until("the network is created", lambda: tenant.get_network(made["uuid"])["state"] == "created")
    yield tenant.get_network(made["uuid"])
    if any(net["uuid"] == made["uuid"] for net in tenant.get_networks()):
        tenant.delete_network(made["uuid"])


@pytest.fixture
def guest(cloud, tenant, network, image):
    made = booted(tenant, order(tenant, network, image, "guest"))
    yield made
    if any(one["uuid"] == made["uuid"] for one in tenant.get_instances()):
        tenant.delete_instance(made["uuid"])


@pytest.fixture(scope="session", autouse=True)
def keep_log_of_failures(cloud, request):
    yield
    if request.session.testsfailed:
        shutil.copy(cloud.data / "agent.log", ROOT / ".cache" / "system-test.log")
