"""The example of a tenant against a running cloud, as it stands but for address, keys and image."""

import json

import pytest
from cloud import run, until
from playbooks import ROOT

EXAMPLE = ROOT / "examples" / "tenant" / "site.yml"
TENANT, KEY = "demo", "a-key-of-the-example-0123456789"


@pytest.fixture
def image(cloud, tmp_path):
    """An image that every namespace may use."""
    file = tmp_path / "tiny.qcow2"
    run(ROOT / "scripts" / "guest-image.sh", file)
    system = cloud.system()
    upload = system.create_upload()
    with open(file, "rb") as source:
        while chunk := source.read(1 << 20):
            system.send_upload(upload["uuid"], chunk)
    return system.upload_artifact("tiny", upload["uuid"], shared=True)


def test_the_tenant_of_the_example(ansible, cloud, system_key, image):
    variables = ansible.directory / "tenant.json"
    variables.write_text(json.dumps({
        "vault_sf_system_key": system_key, "vault_tenant_key": KEY, "tenant_api_url": cloud.url,
        "tenant_image": f"sf://artifact/{image['uuid']}",
    }))

    def play(*options):
        made = ansible.play(EXAMPLE.read_text(), "-e", f"@{variables}", *options)
        assert made.status == 0, made.output
        return made.changed

    assert play() == 3, "a namespace, a network, an instance"
    demo = cloud.client(TENANT, KEY)
    [instance] = demo.get_instances()
    assert (instance["name"], instance["state"], instance["memory"]) == ("web-1", "created", 512)
    assert play() == play("--check") == 0
    assert not any(KEY in output for output in ansible.outputs), "the key is in the output of Ansible"

    demo.delete_instance(instance["uuid"])
    until("the instance is gone", lambda: not demo.get_instances())
    for network in demo.get_networks():
        demo.delete_network(network["uuid"])
    cloud.system().delete_artifact(image["uuid"])
    cloud.system().delete_namespace(TENANT)
