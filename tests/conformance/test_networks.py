"""Networks and their addresses."""

import pytest
from cloud import until
from raw import ask, token_of
from shakenfist_client import apiclient


def test_what_is_asked_for_is_what_is_made(t1):
    made = t1.allocate_network("10.79.0.1/24", False, False, "plain", provide_dns=False)
    try:
        assert made["netblock"] == "10.79.0.0/24"
        assert (made["provide_dhcp"], made["provide_nat"], made["provide_dns"]) == (False, False, False)
        assert made["vxid"] == made["vxlan_id"] and made["floating_gateway"] is None
    finally:
        t1.delete_network(made["uuid"])


@pytest.mark.parametrize("netblock", ["10.0.0.0/30", "127.0.0.0/24", "fd00::/64", "nonsense"])
def test_unusable_blocks_are_refused(t1, netblock):
    with pytest.raises(apiclient.RequestMalformedException):
        t1.allocate_network(netblock, True, True, "bad")


def test_look_up(t1, t2, system, network):
    assert t1.get_network("conformance")["uuid"] == network["uuid"]
    assert system.get_network("conformance", namespace="t1")["uuid"] == network["uuid"]
    assert network["uuid"] in {one["uuid"] for one in t1.get_networks()}
    with pytest.raises(apiclient.ResourceNotFoundException) as missing:
        t2.get_network(network["uuid"])
    assert "network not found" in missing.value.text
    with pytest.raises(apiclient.ResourceNotFoundException):
        system.get_network(network["uuid"], namespace="t2")


def test_addresses_and_interfaces(t1, network):
    addresses = t1.get_network_addresses(network["uuid"])
    assert {"network", "broadcast", "gateway"} <= {one["type"] for one in addresses}
    assert all(isinstance(one["user"], list) for one in addresses)
    assert t1.get_network_interfaces(network["uuid"]) == []


def test_ping(t1, network):
    output = t1.ping(network["uuid"], "10.78.0.1")
    assert isinstance(output["stdout"], str) and isinstance(output["stderr"], str)
    with pytest.raises(apiclient.RequestMalformedException):
        t1.ping(network["uuid"], "10.99.0.1")


def test_metadata_and_events(t1, network):
    t1.set_network_metadata_item(network["uuid"], "note", 1)
    assert t1.get_network_metadata(network["uuid"]) == {"note": 1}
    t1.delete_network_metadata_item(network["uuid"], "note")

    def told():
        events = t1.get_network_events(network["uuid"], event_type="audit", limit="5")
        assert all({"timestamp", "fqdn", "duration", "message"} <= event.keys() for event in events)
        return len(events) >= 2

    until("the history is written", told)


def test_deletion_is_an_operation(cloud, t1, t2):
    made = t1.allocate_network("10.80.0.0/24", True, False, "short-lived")
    handle = t1.delete_network(made["uuid"], wait=False)
    assert set(handle) == {"op_type", "op_uuid"}
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.get_cluster_operation(handle["op_type"], handle["op_uuid"])
    with pytest.raises(apiclient.ResourceNotFoundException):
        t1.get_cluster_operation("another", handle["op_uuid"])
    until("the operation ends", lambda: t1.get_cluster_operation(**handle)["state"] == "complete")
    assert t1.get_network(made["uuid"])["state"] == "deleted"
    assert handle["op_uuid"] in {one["uuid"] for one in t1.get_cluster_operation_chain(handle["op_uuid"])}
    targeted = t1.list_cluster_operations_for_target("network", made["uuid"])
    assert handle["op_uuid"] in {one["uuid"] for one in targeted}
    with pytest.raises(apiclient.ResourceNotFoundException):
        t1.delete_network(made["uuid"])


def test_old_clients_get_200_for_a_deletion(cloud, t1):
    made = t1.allocate_network("10.81.0.0/24", False, False, "old")
    agent = {"User-Agent": "Mozilla/5.0 (Ubuntu; Linux x86_64) Shaken Fist/0.7.0"}
    answer = ask(cloud, "DELETE", f"/networks/{made['uuid']}", None, token_of(t1), agent)
    assert answer.status == 200 and set(answer.json) == {"op_type", "op_uuid"}


def test_all_networks_of_a_namespace(cloud):
    client = cloud.tenant("t3")
    made = {client.allocate_network(f"10.82.{n}.0/24", False, False, f"n{n}")["uuid"] for n in range(2)}
    assert {one["network_uuid"] for one in client.delete_all_networks("t3")} == made
    assert client.get_networks() == []
    with pytest.raises(apiclient.UnauthorizedException):
        client.delete_all_networks("t1")
