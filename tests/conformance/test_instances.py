"""Instances: what is asked for, what is shown, what can be done with them."""

import base64

import pytest
from cloud import until
from raw import ask, token_of
from shakenfist_client import apiclient

DISK = {"size": 1, "base": None, "bus": None, "type": "disk"}


def test_what_is_shown(t1, instance):
    assert instance["disk_spec"] == [DISK]
    assert instance["side_channels"] == ["sf-agent", "sf-agent2"]
    assert isinstance(instance["agent_state"], str)
    assert instance["node"] and instance["node_uuid"] and instance["power_state"] == "on"
    assert instance["video"] == {"model": "cirrus", "memory": 16384, "vdi": "spice"}
    assert [disk["device"] for disk in instance["disks"]] == ["vda", "vdb"]


def test_look_up(t1, t2, system, instance):
    assert t1.get_instance("blank")["uuid"] == instance["uuid"]
    assert system.get_instance("blank", namespace="t1")["uuid"] == instance["uuid"]
    assert instance["uuid"] in {one["uuid"] for one in t1.get_instances()}
    with pytest.raises(apiclient.ResourceNotFoundException) as missing:
        t2.get_instance(instance["uuid"])
    assert "instance not found" in missing.value.text
    assert t1.get_instance_interfaces(instance["uuid"]) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "bad.name"},
        {"cpus": 0},
        {"disk": [{"size": 1, "bus": "ide"}]},
        {"disk": [{"size": 1, "bus": "floppy"}]},
        {"disk": [{"size": 1, "sise": 1}]},
        {"disk": []},
        {"video": {"model": "qxl"}},
        {"side_channels": ["telepathy"]},
        {"secure_boot": True},
        {"network": [{"network_uuid": "x", "macaddress": "01:00:00:00:00:01"}]},
        {"metadata": {"tags": "not a list"}},
        {"metadata": {"affinity": {"a": True}}},
        {"made_up": 1},
    ],
)
def test_malformed_requests_leave_nothing(cloud, t1, change):
    before = {one["uuid"] for one in t1.get_instances(all=True)}
    body = {"name": "bad", "cpus": 1, "memory": 128, "disk": [DISK], **change}
    answer = ask(cloud, "POST", "/instances", body, token_of(t1))
    assert answer.status == 400, answer.text
    assert {one["uuid"] for one in t1.get_instances(all=True)} == before


def create(client, **change):
    wanted = {"name": "refused", "cpus": 1, "memory": 128, "network": None, "disk": [dict(DISK)], "sshkey": None, "userdata": None}
    return client.create_instance(**{**wanted, **change})


def test_user_data_of_megabytes_is_shown_in_lists(t1):
    """Two of them are more than a page of the database tier; as text each is a third larger."""
    wanted = {name: base64.b64encode(name.encode() * (2_900_000 // len(name))).decode() for name in ("long-1", "long-2")}
    made = {create(t1, name=name, userdata=userdata)["uuid"]: userdata for name, userdata in wanted.items()}
    try:
        shown = {one["uuid"]: one["user_data"] for one in t1.get_instances()}
        assert all(shown[uuid] == userdata for uuid, userdata in made.items())
        for uuid in made:
            until("the instance is created", lambda uuid=uuid: t1.get_instance(uuid)["state"] == "created")
    finally:
        for uuid in made:
            t1.delete_instance(uuid)


def test_what_does_not_exist_is_404(t1):
    for change in [
        {"network": [{"network_uuid": "no-such-network"}]},
        {"disk": [{"base": "label:no-such-label", "size": None}]},
        {"disk": [{"base": "sf://blob/00000000-0000-4000-8000-000000000000", "size": None}]},
        {"force_placement": "no-such-node"},
        {"namespace": "t2"},
    ]:
        with pytest.raises(apiclient.ResourceNotFoundException):
            create(t1, **change)


def test_no_room_is_507_with_the_account(cloud, t1):
    body = {"name": "huge", "cpus": 1, "memory": 1 << 24, "disk": [DISK]}
    answer = ask(cloud, "POST", "/instances", body, token_of(t1))
    assert answer.status == 507, answer.text
    assert {"stage", "transient", "refusals", "request_id"} <= answer.json.keys()
    with pytest.raises(apiclient.InsufficientResourcesException):
        create(t1, memory=1 << 24)


def test_a_taken_address_is_409(t1, network):
    first = t1.create_instance(
        "first", 1, 128, [{"network_uuid": network["uuid"], "address": "10.78.0.77"}], [dict(DISK)], None, None
    )
    try:
        assert t1.get_instance_interfaces(first["uuid"])[0]["ipv4"] == "10.78.0.77"
        with pytest.raises(apiclient.ResourceStateConflictException):
            create(t1, network=[{"network_uuid": network["uuid"], "address": "10.78.0.77"}])
        with pytest.raises(apiclient.RequestMalformedException):
            create(t1, network=[{"network_uuid": network["uuid"], "address": "10.99.0.1"}])
        with pytest.raises(apiclient.ResourceStateConflictException):
            t1.delete_network(network["uuid"])
    finally:
        t1.delete_instance(first["uuid"])


def test_power(t1, instance):
    uuid = instance["uuid"]

    def power(wanted):
        until(f"the instance is {wanted}", lambda: t1.get_instance(uuid)["power_state"] == wanted)

    t1.pause_instance(uuid)
    power("paused")
    with pytest.raises(apiclient.ResourceStateConflictException):
        t1.reboot_instance(uuid)
    t1.unpause_instance(uuid)
    power("on")
    t1.reboot_instance(uuid, hard=True)
    t1.power_off_instance(uuid)
    power("off")
    t1.power_off_instance(uuid)
    t1.power_on_instance(uuid)
    power("on")


def test_console(cloud, t1, instance):
    assert isinstance(t1.get_console_data(instance["uuid"]), str)
    assert isinstance(t1.get_console_data(instance["uuid"], length=-1, decode=None), bytes)
    assert len(t1.get_console_data(instance["uuid"], length=10, decode=None)) <= 10
    nothing = ask(cloud, "GET", f"/instances/{instance['uuid']}/consoledata?length=0", token=token_of(t1))
    assert (nothing.status, nothing.text) == (200, "")
    with pytest.raises(apiclient.RequestMalformedException):
        t1.get_console_data(instance["uuid"], length=-2)
    t1.delete_console_data(instance["uuid"])


def test_viewer_file(t1, instance):
    lines = t1.get_vdi_console_helper(instance["uuid"]).splitlines()
    assert lines[0] == "[virt-viewer]" and "type=spice" in lines


def test_metadata_events_and_operations(t1, instance):
    uuid = instance["uuid"]
    t1.set_instance_metadata_item(uuid, "tags", ["web"])
    assert t1.get_instance_metadata(uuid) == {"tags": ["web"]}
    for key, bad in [("tags", "web"), ("affinity", {"a": None})]:
        with pytest.raises(apiclient.RequestMalformedException):
            t1.set_instance_metadata_item(uuid, key, bad)
    t1.delete_instance_metadata_item(uuid, "tags")
    until("the history is written", lambda: t1.get_instance_events(uuid, event_type="audit", limit="10"))
    operations = t1.list_cluster_operations_for_target("instance", uuid)
    assert {"instance_preflight", "instance_create"} <= {one["operation_type"] for one in operations}


def test_deletion(t1, system):
    made = t1.create_instance("short-lived", 1, 128, None, [dict(DISK)], None, None)
    deleted = t1.delete_instance(made["uuid"], namespace="t1")
    assert deleted["state"] == "deleted"
    assert made["uuid"] in {one["uuid"] for one in t1.get_instances(all=True)}
    assert made["uuid"] not in {one["uuid"] for one in t1.get_instances()}
    with pytest.raises(apiclient.ResourceNotFoundException):
        t1.delete_instance(made["uuid"])


def test_all_instances_of_a_namespace(cloud, system):
    client = cloud.tenant("t4")
    made = {create(client, name=f"i{n}")["uuid"] for n in range(2)}
    assert set(client.delete_all_instances("t4")) == made
    with pytest.raises(apiclient.RequestMalformedException):
        system.delete_all_instances(None)
