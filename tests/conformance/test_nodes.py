"""Nodes and the cluster as a whole."""

import pytest
from cloud import until
from raw import ask, token_of
from shakenfist_client import apiclient


def test_nodes(system, t1):
    node = system.get_nodes()[0]
    for flag in ["is_hypervisor", "is_network_node", "is_database_node", "is_cluster_maintainer"]:
        assert isinstance(node[flag], bool)
    assert system.get_node(node["name"])["uuid"] == node["uuid"]
    assert system.get_node(node["uuid"])["name"] == node["name"]
    assert all(isinstance(value, (int, float)) for value in system.get_node_process_metrics(node["name"]).values())
    with pytest.raises(apiclient.UnauthorizedException):
        t1.get_nodes()


def test_metadata(system):
    name = system.get_nodes()[0]["name"]
    system.set_node_metadata_item(name, "rack", 7)
    assert system.get_node_metadata(name) == {"rack": 7}
    system.delete_node_metadata_item(name, "rack")
    assert isinstance(system.get_node_events(name, "audit", 1), list)


def test_a_cordoned_node_takes_nothing(cloud, system, t1):
    name, token = system.get_nodes()[0]["name"], token_of(system)

    def taken():
        try:
            return t1.create_instance("nowhere", 1, 128, None, [{"size": 1}], None, None)
        except apiclient.InsufficientResourcesException:
            return None

    assert ask(cloud, "POST", f"/nodes/{name}/cordon", None, token).json["schedulable"] is False
    try:
        assert taken() is None
    finally:
        assert ask(cloud, "POST", f"/nodes/{name}/uncordon", None, token).json["schedulable"] is True
    # Capacity is known as of a second ago (`SCHEDULER_CACHE_TIMEOUT`); until then the refusal calls itself transient.
    made = until("the node takes instances again", taken, 30)
    t1.delete_instance(made["uuid"])


def test_a_node_in_use_is_not_deleted(system, instance):
    with pytest.raises(apiclient.ResourceStateConflictException):
        system.delete_node(instance["node"])


def test_resources(system, t1):
    resources = system.get_cluster_resources()
    assert resources["total"]["cpu_available"] > 0
    (node,) = resources["per_node"].values()
    assert node["cpu_committed_row_present"] is True and node["ram_max"] > 0
    with pytest.raises(apiclient.UnauthorizedException):
        t1.get_cluster_resources()


def test_locks_and_certificate(system):
    assert "cluster" in system.get_existing_locks()
    assert system.get_cluster_cacert() == ""
