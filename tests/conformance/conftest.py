"""One cloud for the released client. The expectations are those of the contract's conformance list."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))

from cloud import for_a_session, until  # noqa: E402


DATA = Path("/srv/sf-conformance-test")


@pytest.fixture(scope="session")
def cloud():
    yield from for_a_session(DATA, 24000)


@pytest.fixture(scope="session")
def system(cloud):
    return cloud.system()


@pytest.fixture(scope="session")
def t1(cloud):
    return cloud.tenant("t1")


@pytest.fixture(scope="session")
def t2(cloud):
    return cloud.tenant("t2")


@pytest.fixture
def network(t1):
    made = t1.allocate_network("10.78.0.0/24", True, True, "conformance")
    until("the network is created", lambda: t1.get_network(made["uuid"])["state"] == "created")
    yield t1.get_network(made["uuid"])
    if t1.get_network(made["uuid"])["state"] not in ("delete-wait", "deleted"):
        t1.delete_network(made["uuid"])


@pytest.fixture
def instance(t1):
    """A machine with a blank disk: it runs, and has nothing to boot."""
    made = t1.create_instance("blank", 1, 128, None, [{"size": 1, "base": None, "bus": None, "type": "disk"}], None, None)
    until("the instance is created", lambda: settled(t1, made["uuid"]), 180)
    yield t1.get_instance(made["uuid"])
    if t1.get_instance(made["uuid"])["state"] not in ("delete-wait", "deleted"):
        t1.delete_instance(made["uuid"])


def settled(client, uuid):
    now = client.get_instance(uuid)
    assert not now["state"].endswith("error"), now["error_message"]
    return now["state"] == "created"


@pytest.fixture
def artifact(t1):
    """An artifact whose bytes are known."""
    upload = t1.create_upload()
    t1.send_upload(upload["uuid"], CONTENT)
    made = t1.upload_artifact("conformance", upload["uuid"])
    yield made
    if t1.get_artifact(made["uuid"])["state"] != "deleted":
        t1.delete_artifact(made["uuid"])


CONTENT = bytes(range(256)) * 1024
