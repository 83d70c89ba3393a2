"""sf_node_info against a running cloud."""

from playbooks import failed, ok


def test_nodes_are_told_to_the_administrator(cloud, ansible, system, tenant):
    told = ok(system.nodes(), changed=False)["nodes"]
    [seen] = cloud.system().get_nodes()
    assert [(node["uuid"], node["name"], node["is_hypervisor"]) for node in told] == [(seen["uuid"], seen["name"], True)]
    for name in (seen["name"], seen["uuid"]):
        [one] = ok(system.nodes(check=True, name=name), changed=False)["nodes"]
        assert one["uuid"] == seen["uuid"]
    assert ok(system.nodes(name="no-such-node"), changed=False)["nodes"] == []
    refused = failed(tenant.nodes(), "asking for the nodes", "system")
    assert refused["status"] == 403
