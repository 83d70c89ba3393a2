"""sf_instance against a running cloud, with real machines: they run, and have nothing to boot."""

import base64

import pytest
from playbooks import failed, ok

USER_DATA = base64.b64encode(b"#cloud-config\npassword: sentinel-in-user-data\n").decode()
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIsentinel me@example.net"
SMALL = {"name": "made", "cpu": 1, "ram": 128, "disks": ["1"], "side_channels": []}


@pytest.fixture(autouse=True)
def clean(client):
    yield
    for instance in client.get_instances():
        client.delete_instance(instance["uuid"])


def test_life_of_an_instance(ansible, client, tenant, network):
    wanted = {
        **SMALL, "diskspecs": ["size=2,bus=scsi", {"size": 1, "type": "disk"}], "networks": ["shared"],
        "networkspecs": [f"network_uuid={network['uuid']},address=none,macaddress=02:00:00:00:81:01"],
        "user_data": USER_DATA, "ssh_key": SSH_KEY, "video": "model=virtio,memory=16384", "configdrive": "openstack-disk",
        "metadata": {"tags": ["a"], "owner": "me"}, "await": True,
    }
    predicted = ok(tenant.instance(check=True, **wanted), changed=True)
    assert client.get_instances() == [] and len(predicted["meta"]["interfaces"]) == 2

    made = ok(tenant.instance(**wanted), changed=True)
    assert made["diff"] == predicted["diff"]
    [seen] = client.get_instances()
    assert seen["uuid"] == made["meta"]["uuid"] and seen["state"] == made["meta"]["state"] == "created"
    assert [disk["size"] for disk in seen["disk_spec"]] == [1, 2, 1] and seen["disk_spec"][1]["bus"] == "scsi"
    first, second = seen["interfaces"]
    assert first["ipv4"].startswith("10.81.0.") and second["ipv4"] is None and second["macaddr"] == "02:00:00:00:81:01"
    assert (seen["user_data"], seen["ssh_key"], seen["side_channels"]) == (USER_DATA, SSH_KEY, [])
    assert seen["video"]["model"] == "virtio" and seen["metadata"] == {"tags": ["a"], "owner": "me"}

    ok(tenant.instance(check=True, **wanted), changed=False)
    again = ok(tenant.instance(**wanted), changed=False)
    assert again["diff"]["before"] == again["diff"]["after"] and again["meta"]["uuid"] == seen["uuid"]
    ok(tenant.instance(name="made"), changed=False)

    changed = ok(tenant.instance(uuid=seen["uuid"], metadata={"owner": None, "more": {"a": 1}}), changed=True)
    assert changed["meta"]["metadata"] == {"tags": ["a"], "more": {"a": 1}}
    assert client.get_instance(seen["uuid"])["metadata"] == {"tags": ["a"], "more": {"a": 1}}

    ok(tenant.instance(check=True, name="made", state="absent"), changed=True)
    assert client.get_instance(seen["uuid"])["state"] == "created"
    gone = ok(tenant.instance(name="made", state="absent"), changed=True)
    assert gone["meta"] is None and client.get_instance(seen["uuid"])["state"] == "deleted"
    ok(tenant.instance(name="made", state="absent"), changed=False)
    ok(tenant.instance(uuid=seen["uuid"], state="absent"), changed=False)

    for secret in (USER_DATA, SSH_KEY, tenant.connection["key"]):
        assert not any(secret in output for output in ansible.outputs), "a secret is in the output of Ansible"


def test_an_instance_is_not_replaced_unless_that_is_asked_for(client, tenant, network):
    made = ok(tenant.instance(**SMALL, networks=[network["uuid"]], user_data=USER_DATA, **{"await": True}), changed=True)["meta"]
    other = {**SMALL, "ram": 192, "disks": ["2"], "user_data": USER_DATA[:-4] + "AAA="}
    for check in (True, False):
        refused = failed(
            tenant.instance(check=check, **other),
            "ram is 128 and should be 192", "disks is", "user_data is another one", "on_change: recreate deletes it with its disks",
        )
        assert refused["meta"]["uuid"] == made["uuid"]
    assert [instance["uuid"] for instance in client.get_instances()] == [made["uuid"]]

    predicted = ok(tenant.instance(check=True, on_change="recreate", **other), changed=True)
    replaced = ok(tenant.instance(on_change="recreate", **other, **{"await": True}), changed=True)
    assert replaced["diff"] == predicted["diff"]
    assert client.get_instance(made["uuid"])["state"] == "deleted"
    [seen] = client.get_instances()
    assert seen["uuid"] == replaced["meta"]["uuid"] and seen["memory"] == 192 and seen["disk_spec"][0]["size"] == 2
    before, after = made["interfaces"][0], seen["interfaces"][0]
    assert before["ipv4"] == after["ipv4"], "what is not described stays as it was"
    ok(tenant.instance(on_change="recreate", **other), changed=False)


def test_an_instance_that_failed_is_explained_and_replaced_only_on_request(client, tenant):
    wanted = {**SMALL, "disks": ["1@http://127.0.0.1:1/no-image"], "await": True}
    broken = failed(tenant.instance(**wanted), "waiting for instance made", "port 1 is not permitted", "Last error event")
    [seen] = client.get_instances()
    assert broken["meta"]["uuid"] == seen["uuid"]
    for check in (True, False):
        failed(tenant.instance(check=check, **wanted), "error (http://127.0.0.1:1/no-image: port 1 is not permitted)", "on_change: recreate")
    assert [instance["uuid"] for instance in client.get_instances()] == [seen["uuid"]]
    repaired = ok(tenant.instance(**SMALL, on_change="recreate", **{"await": True}), changed=True)
    assert repaired["meta"]["state"] == "created" and repaired["diff"]["after"]["state"] == "created"


def test_a_network_that_is_not_ready_yet_is_waited_for(tenant):
    ok(tenant.network(name="fresh", netblock="10.85.0.0/24", wait=False), changed=True)
    try:
        made = ok(tenant.instance(**SMALL, networks=["fresh"]), changed=True)
        assert made["meta"]["interfaces"][0]["ipv4"].startswith("10.85.0.")
    finally:
        ok(tenant.instance(name="made", state="absent"), changed=True)
        ok(tenant.network(name="fresh", state="absent"), changed=True)


def test_a_wait_that_is_too_long_says_how_far_it_got(tenant):
    late = failed(tenant.instance(**SMALL, await_timeout=0, **{"await": True}), "it is still", "after 0 seconds")
    assert late["meta"]["name"] == "made"
    ok(tenant.instance(**SMALL, **{"await": True}), changed=False)


def test_the_empty_list_is_an_opinion(tenant, network):
    ok(tenant.instance(**SMALL, networks=["shared"]), changed=True)
    ok(tenant.instance(name="made"), changed=False)
    failed(tenant.instance(name="made", networks=[]), "networks is")
    failed(tenant.instance(name="made", side_channels=["sf-agent"]), "side_channels is [] and should be ['sf-agent']")


def test_what_cannot_be_is_refused(tenant):
    failed(tenant.instance(name="made", cpu=1), "there is no instance made", "ram, disks")
    failed(tenant.instance(**{**SMALL, "disks": ["big"]}), "size must be a whole number")
    failed(tenant.instance(**SMALL, networks=["nowhere"]), "looking for network nowhere: there is none in the namespace tenant")
    for options, status, words in (
        ({"diskspecs": ["size=1,bus=ide"]}, 400, "IDE"),
        ({"placement": "no-such-node"}, 404, "node not found"),
        ({"user_data": "not base64!"}, 400, "user_data"),
        ({"ram": 1 << 24}, 507, "memory"),
    ):
        refused = failed(tenant.instance(**{**SMALL, **options}), "creating instance made", words)
        assert refused["status"] == status and refused["request_id"] in refused["msg"]
