"""A tenant's image and guests, as tests of one node and of several order them."""

from pathlib import Path

from cloud import ROOT, run, until


def image_at(path):
    """The tiny guest image, built at a path, and removed afterwards."""
    path = Path(path)
    run(ROOT / "scripts" / "guest-image.sh", path)
    yield path
    path.unlink()


def upload(tenant, path):
    """An artifact with the content of a file."""
    begun = tenant.create_upload()
    with open(path, "rb") as source:
        while chunk := source.read(1 << 20):
            tenant.send_upload(begun["uuid"], chunk)
    return tenant.upload_artifact("tiny", begun["uuid"])


def order(tenant, network, image, name, node=None):
    """Asks for an instance, on a node if one is named; answers its uuid."""
    return tenant.create_instance(
        name, 1, 256, [{"network_uuid": network["uuid"]}],
        [{"size": 1, "base": f"sf://artifact/{image['uuid']}", "bus": None, "type": "disk"}],
        None, None, side_channels=[], force_placement=node,
    )["uuid"]


def booted(tenant, uuid):
    """The instance, once its guest has reported itself on the console."""

    def created():
        now = tenant.get_instance(uuid)
        assert not now["state"].endswith("error"), now["error_message"]
        return now["state"] == "created"

    until("the instance is created", created, 180)
    until("the guest reports itself", lambda: f"SF-GUEST {uuid}" in tenant.get_console_data(uuid, -1), 240)
    return tenant.get_instance(uuid)
