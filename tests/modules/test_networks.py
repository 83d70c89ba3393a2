"""sf_network against a running cloud."""

import pytest
from playbooks import failed, ok

BLOCK = "10.83.0.0/24"


@pytest.fixture(autouse=True)
def clean(client):
    yield
    for network in client.get_networks():
        if network["name"] in ("made", "double"):
            client.delete_network(network["uuid"])


def named(client, name):
    return [network for network in client.get_networks() if network["name"] == name]


def test_life_of_a_network(client, tenant):
    wanted = {"name": "made", "netblock": BLOCK, "nat": False, "metadata": {"purpose": "test"}}
    predicted = ok(tenant.network(check=True, **wanted), changed=True)
    assert named(client, "made") == []
    assert predicted["meta"]["uuid"] == "00000000-0000-0000-0000-000000000000"

    made = ok(tenant.network(**wanted), changed=True)
    assert made["diff"] == predicted["diff"]
    [seen] = named(client, "made")
    assert made["meta"]["uuid"] == seen["uuid"] and seen["state"] == made["meta"]["state"] == "created"
    assert (seen["provide_nat"], seen["provide_dhcp"], seen["metadata"]) == (False, True, {"purpose": "test"})

    ok(tenant.network(check=True, **wanted), changed=False)
    ok(tenant.network(**wanted), changed=False)
    ok(tenant.network(name="made", netblock="10.83.0.7/24"), changed=False)
    by_uuid = ok(tenant.network(uuid=seen["uuid"], metadata={"purpose": None, "more": [1]}), changed=True)
    assert by_uuid["meta"]["metadata"] == {"more": [1]}

    ok(tenant.network(check=True, name="made", state="absent"), changed=True)
    assert named(client, "made")
    gone = ok(tenant.network(name="made", state="absent"), changed=True)
    assert gone["meta"] is None and client.get_network(seen["uuid"])["state"] == "deleted"
    ok(tenant.network(name="made", state="absent"), changed=False)
    ok(tenant.network(uuid=seen["uuid"], state="absent"), changed=False)


def test_a_network_is_not_replaced_unless_that_is_asked_for(client, tenant):
    made = tenant.network(name="made", netblock=BLOCK, nat=False, metadata={"kept": True})["meta"]
    other = {"name": "made", "netblock": "10.84.0.0/24", "dns": True}
    for check in (True, False):
        refused = failed(tenant.network(check=check, **other), BLOCK, "10.84.0.0/24", "dns is False", "on_change: recreate")
        assert refused["meta"]["uuid"] == made["uuid"]
    assert [network["uuid"] for network in named(client, "made")] == [made["uuid"]]

    predicted = ok(tenant.network(check=True, on_change="recreate", **other), changed=True)
    assert [network["uuid"] for network in named(client, "made")] == [made["uuid"]]
    replaced = ok(tenant.network(on_change="recreate", **other), changed=True)
    assert replaced["diff"] == predicted["diff"]
    assert replaced["meta"]["uuid"] != made["uuid"] and client.get_network(made["uuid"])["state"] == "deleted"
    assert replaced["meta"]["netblock"] == "10.84.0.0/24" and replaced["meta"]["provide_dns"] is True
    assert replaced["meta"]["provide_nat"] is False and replaced["meta"]["metadata"] == {"kept": True}
    ok(tenant.network(on_change="recreate", **other), changed=False)


def test_a_network_in_use_is_neither_deleted_nor_replaced(tenant, network):
    ok(tenant.instance(name="user", cpu=1, ram=128, disks=["1"], networks=["shared"], side_channels=[]), changed=True)
    try:
        for attempt in ({"state": "absent"}, {"netblock": BLOCK, "on_change": "recreate"}):
            refused = failed(tenant.network(name="shared", **attempt), "deleting network shared", "in use")
            assert refused["status"] == 409 and refused["request_id"] in refused["msg"]
        ok(tenant.network(name="shared", netblock=network["netblock"]), changed=False)
    finally:
        ok(tenant.instance(name="user", state="absent"), changed=True)


def test_a_name_of_several_networks_is_refused_with_their_uuids(client, tenant):
    uuids = [client.allocate_network(BLOCK, True, True, "double")["uuid"] for _ in range(2)]
    for state in ("present", "absent"):
        failed(tenant.network(name="double", netblock=BLOCK, state=state), "2 networks have the name double", *uuids)
    ok(tenant.network(uuid=uuids[0], state="absent"), changed=True)
    ok(tenant.network(name="double", netblock=BLOCK), changed=False)
    found = ok(tenant.network(uuid=uuids[0], name="double", netblock=BLOCK), changed=False)
    assert found["meta"]["uuid"] == uuids[1]


def test_the_namespace_says_which_network_is_meant(cloud, client, system, tenant):
    mine = ok(tenant.network(name="made", netblock=BLOCK), changed=True)["meta"]
    ok(system.network(name="made", state="absent"), changed=False)
    elsewhere = ok(system.network(auth_namespace="system", namespace="tenant", name="made", netblock=BLOCK), changed=False)
    assert elsewhere["meta"]["uuid"] == mine["uuid"]
    refused = failed(system.network(auth_namespace="system", namespace="nowhere", name="made", netblock=BLOCK), "namespace not found")
    assert refused["status"] == 404
    ok(system.network(auth_namespace="system", namespace="nowhere", name="made", state="absent"), changed=False)


def test_waiting_is_optional_and_ends(client, tenant):
    made = ok(tenant.network(name="made", netblock=BLOCK, wait=False), changed=True)["meta"]
    assert made["state"] in ("initial", "created")
    assert ok(tenant.network(name="made", netblock=BLOCK), changed=False)["meta"]["state"] == "created"
    ok(tenant.network(name="made", state="absent", wait=False), changed=True)
    # Whatever is left of it is waited for, and a new one takes its name.
    again = ok(tenant.network(name="made", netblock=BLOCK), changed=True)["meta"]
    assert again["uuid"] != made["uuid"] and client.get_network(made["uuid"])["state"] == "deleted"


def test_what_cannot_be_is_refused(tenant):
    failed(tenant.network(name="made"), "there is no network made", "netblock")
    failed(tenant.network(name="5b9a4f2e-8b7e-4ea5-bb3e-3d1b8c5f0c11", netblock=BLOCK), "use the option uuid")
    failed(tenant.network(uuid="5b9a4f2e-8b7e-4ea5-bb3e-3d1b8c5f0c11", netblock=BLOCK), "give a name")
    failed(tenant.network(netblock=BLOCK), "one of the following is required: name, uuid")
    refused = failed(tenant.network(name="made", netblock="10.83.0.0/33"), "creating network made", "netblock")
    assert refused["status"] == 400 and refused["request_id"] in refused["msg"]
