"""Several nodes: guests on two hypervisors, a carrier on a node of its own, an image that has to travel."""

import hashlib
import re
import socket

import pytest
from cloud import run, until
from guests import booted, order, upload

NETBLOCK = "10.77.0.0/24"


@pytest.fixture(scope="module")
def nodes(cluster):
    return {node.machine.name: node for node in cluster.nodes}


@pytest.fixture(scope="module")
def tenant(cluster, nodes):
    system = cluster.client(nodes["n2"])
    system.create_namespace("t1")
    system.add_namespace_key("t1", "test", "key-of-t1-0123456789")
    return cluster.client(nodes["n2"], "t1", "key-of-t1-0123456789")


@pytest.fixture(scope="module")
def elsewhere(cluster, nodes, tenant):
    """The same tenant at the API of the other hypervisor."""
    return cluster.client(nodes["n3"], "t1", tenant.key)


@pytest.fixture(scope="module")
def image(tenant, image_file):
    """The image, uploaded at n2."""
    return upload(tenant, image_file)


@pytest.fixture(scope="module")
def network(tenant):
    made = tenant.allocate_network(NETBLOCK, True, True, "net", provide_dns=True)
    until("the network is created", lambda: tenant.get_network(made["uuid"])["state"] == "created")
    return tenant.get_network(made["uuid"])


@pytest.fixture(scope="module")
def guests(tenant, network, image):
    ordered = {node: order(tenant, network, image, f"on-{node}", node) for node in ("n2", "n3")}
    return {node: booted(tenant, uuid) for node, uuid in ordered.items()}


def address(guest):
    return guest["interfaces"][0]["ipv4"]


def test_guests_are_where_they_were_ordered_and_have_their_addresses(elsewhere, network, guests):
    for node, guest in guests.items():
        assert guest["node"] == node
        # Console data come through an API on another host than the guest's, too.
        console = elsewhere.get_console_data(guest["uuid"], -1)
        assert f"SF-GUEST {guest['uuid']} {address(guest)} " in console
        assert f"mtu={network['mtu']}" in console
        assert "domain=t1.shakenfist" in console


def test_nodes_are_known_with_their_roles(tenant, cluster, nodes):
    known = {node["name"]: node for node in cluster.client(nodes["n3"]).get_nodes()}
    roles = ("is_database_node", "is_network_node", "is_hypervisor")
    shown = {name: tuple(node[role] for role in roles) for name, node in known.items()}
    assert shown == {"n1": (True, True, False), "n2": (True, False, True), "n3": (False, False, True)}


def test_the_seed_of_tokens_is_in_the_database_as_ciphertext_only(cluster, tenant):
    [[seed]] = cluster.sql("SELECT value_text FROM cluster_config WHERE key_name = 'AUTH_SECRET_SEED'")
    assert seed.startswith("kek1:")
    assert tenant.get_networks() is not None, "and tokens are made and read all the same"


def test_the_image_travelled_and_is_the_same(nodes, tenant, image, image_file, guests):
    uuid = tenant.get_artifact(image["uuid"])["blob_uuid"]
    blob = tenant.get_blob(uuid)
    assert sorted(blob["locations"]) == ["n2", "n3"]
    given = hashlib.sha512(image_file.read_bytes()).hexdigest()
    for name in ("n2", "n3"):
        assert hashlib.sha512(nodes[name].blob(uuid).read_bytes()).hexdigest() == given
    told = [event["message"] for event in tenant.get_instance_events(guests["n3"]["uuid"], limit=200)]
    assert "pull complete" in told, told


def test_guests_answer_each_other_and_the_carrier(tenant, network, guests, nodes):
    here, there = guests["n2"], guests["n3"]
    for guest in guests.values():
        answer = tenant.ping(network["uuid"], address(guest))
        assert " 0% packet loss" in answer["stdout"], answer
    ask(tenant, nodes["n2"], here, f"ping {address(there)}", f"SF-PING {address(there)} ok")
    # The resolver is on the carrier, and knows the guests of every node.
    ask(tenant, nodes["n3"], there, "lookup on-n2.t1.shakenfist", rf"SF-LOOKUP .*{address(here)}")


def ask(tenant, node, guest, line, answer):
    """Types a line on the serial console of a guest, and waits for its answer there."""
    with socket.create_connection((node.machine.outside_ip, guest["console_port"]), timeout=10) as console:
        console.sendall(line.encode() + b"\n")
        # The emulated card takes a few bytes at a time; hanging up would lose the rest.
        seen = lambda: re.search(answer, tenant.get_console_data(guest["uuid"], -1))  # noqa: E731
        until(f"{line!r} is answered", seen, 60)


def mesh(nodes, guests):
    """Whether the forwarding entries of all nodes are exactly those of a network with these guests and its carrier."""
    places = {name: nodes[name].machine.mesh_ip for name in ("n1", *guests)}
    for name, node in nodes.items():
        devices = [link for link in node.links() if link.startswith("vxlan-")]
        if name not in places:
            if devices:
                return False
            continue
        [device] = devices
        gateway = f"02:53:46:{device[-6:-4]}:{device[-4:-2]}:{device[-2:]}"
        stations = {gateway: "n1", **{guest["interfaces"][0]["macaddr"]: there for there, guest in guests.items()}}
        wanted = {("00:00:00:00:00:00", place) for other, place in places.items() if other != name}
        wanted |= {(station, places[there]) for station, there in stations.items() if there != name}
        if node.forwarding(device) != wanted:
            return False
    return True


def test_the_mesh_is_what_the_database_says(nodes, guests):
    assert mesh(nodes, guests)


def test_the_namespace_is_on_the_carrier_alone(nodes, network, guests):
    assert nodes["n1"].network_namespaces() == [network["uuid"]]
    assert nodes["n2"].network_namespaces() == nodes["n3"].network_namespaces() == []
    for name in ("n2", "n3"):
        assert not [link for link in nodes[name].links() if link.startswith(("veth-", "egr-"))]


def test_the_image_can_be_read_at_either_api(nodes, cluster, elsewhere, tenant, image, image_file):
    uuid = tenant.get_artifact(image["uuid"])["blob_uuid"]
    for client in (tenant, elsewhere):
        assert b"".join(client.get_blob_data(uuid)) == image_file.read_bytes()


def test_power_reaches_the_node_of_the_guest(nodes, elsewhere, guests):
    uuid = guests["n2"]["uuid"]
    elsewhere.pause_instance(uuid)
    until("paused", lambda: elsewhere.get_instance(uuid)["power_state"] == "paused", 60)
    assert "paused" in nodes["n2"].virsh("list", "--all")
    elsewhere.unpause_instance(uuid)
    until("running", lambda: elsewhere.get_instance(uuid)["power_state"] == "on", 60)


def test_node_services_open_for_an_api_of_the_cluster_only(cluster, nodes, guests):
    """gRPC by hand: the status stands in the headers of a refusal, and after the data of an answer."""
    uuid = guests["n3"]["uuid"].encode()
    message = b"\x0a" + bytes([len(uuid)]) + uuid
    frame = cluster.root / "frame"
    frame.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    [[n2]] = cluster.sql("SELECT uuid FROM nodes WHERE fqdn = 'n2'")
    url = f"http://{nodes['n3'].machine.mesh_ip}:13014/shakenfist.instance_node.v1.InstanceNode/GetDomain"

    def status(where, daemon, node, *body):
        answer = where(
            "curl", "-sv", "--stderr", "-", "-o", cluster.root / "reply", "--http2-prior-knowledge", "-X", "POST",
            "-H", "content-type: application/grpc", "-H", "te: trailers", "-H", f"caller-daemon: {daemon}",
            "-H", f"caller-node: {node}", *body, url,
        )
        return re.search(r"grpc-status: (\d+)", answer)[1]

    assert status(nodes["n2"].machine.run, "api", n2, "--data-binary", f"@{frame}") == "0"
    # Who is turned away is so before the message is read; curl would stumble over that.
    assert status(nodes["n2"].machine.run, "queues", n2) == "7"
    assert status(nodes["n2"].machine.run, "api", "nobody") == "16"
    # Somebody else on the mesh who knows the name of a node.
    assert status(run, "api", n2) == "7"
    assert status(nodes["n1"].machine.run, "api", n2) == "7"


def test_a_node_whose_last_guest_goes_leaves_the_mesh(tenant, nodes, network, guests):
    tenant.delete_instance(guests["n2"]["uuid"])
    rest = {"n3": guests["n3"]}
    until("the mesh has shrunk everywhere", lambda: mesh(nodes, rest), 30)
    assert nodes["n2"].tenant_links() == []
    answer = tenant.ping(network["uuid"], address(guests["n3"]))
    assert " 0% packet loss" in answer["stdout"], answer


def test_deleting_leaves_nothing_anywhere(cluster, nodes, tenant, elsewhere, network, guests):
    tenant.delete_instance(guests["n3"]["uuid"])
    elsewhere.delete_network(network["uuid"])
    assert tenant.get_network(network["uuid"])["state"] == "deleted"
    until("devices are gone", lambda: not any(node.tenant_links() for node in nodes.values()), 60)
    for node in nodes.values():
        assert node.domains() == []
        assert node.network_namespaces() == []
        assert node.instance_folders() == []
    for table in ("work_queue", "placement_reservations", "network_render_requests", "blob_transfers"):
        assert cluster.sql(f"SELECT COUNT(*) FROM {table}") == [["0"]], table
    assert cluster.sql("SELECT used_instances, used_memory_mb FROM node_capacity") == [["0", "0"], ["0", "0"]]
