"""One cloud and one installed collection for the tests of the modules."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from cloud import for_a_session  # noqa: E402
from playbooks import Ansible, Cloudlet  # noqa: E402

DATA = Path("/srv/sf-modules-test")
TENANT_KEY = "a-key-of-the-tenant-0123456789"


@pytest.fixture(scope="session")
def cloud():
    yield from for_a_session(DATA, 26000)


@pytest.fixture(scope="session")
def ansible(tmp_path_factory):
    programs = Path(os.environ["SF_ANSIBLE"]) / "bin"
    made = Ansible(programs, tmp_path_factory.mktemp("ansible"))
    made.install()
    return made


@pytest.fixture(scope="session")
def system_key(cloud):
    return (cloud.data / "credentials" / "system_key").read_text().strip()


@pytest.fixture(scope="session")
def system(ansible, cloud, system_key):
    """The modules as the administrator."""
    return Cloudlet(ansible, api_url=cloud.url, namespace="system", key=system_key)


@pytest.fixture(scope="session")
def tenant(ansible, cloud, system):
    """The modules as a tenant."""
    system.namespace(name="tenant", keys={"deploy": TENANT_KEY})
    return Cloudlet(ansible, api_url=cloud.url, namespace="tenant", key=TENANT_KEY)


@pytest.fixture(scope="session")
def client(cloud, tenant):
    """The released client in the namespace of the tenant: an eye that is not ours."""
    return cloud.client("tenant", TENANT_KEY)


@pytest.fixture
def network(tenant):
    """A network for instances."""
    made = tenant.network(name="shared", netblock="10.81.0.0/24")
    yield made["meta"]
    tenant.network(name="shared", state="absent")
