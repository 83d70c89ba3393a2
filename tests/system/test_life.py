"""A guest's life: boot, restarts of the agent, power, deletion without a trace."""

import os
import subprocess

import pytest
from cloud import run, until


def ping(tenant, network, guest):
    address = tenant.get_instance_interfaces(guest["uuid"])[0]["ipv4"]
    return " 0% packet loss" in tenant.ping(network["uuid"], address)["stdout"]


def test_guest_has_its_address_and_metadata(tenant, network, guest):
    console = tenant.get_console_data(guest["uuid"], -1)
    interface = tenant.get_instance_interfaces(guest["uuid"])[0]
    assert f"SF-GUEST {guest['uuid']} {interface['ipv4']} " in console
    assert f"mtu={network['mtu']}" in console
    assert ping(tenant, network, guest)
    # The host part of the guest's view: DHCP gave the name and the domain of the namespace.
    assert "domain=t1.shakenfist" in console


def test_events_tell_the_story(cloud, tenant, guest):
    def messages():
        return [event["message"] for event in tenant.get_instance_events(guest["uuid"], limit=200)]

    until("the creation is recorded", lambda: any("instance created" in text for text in messages()))
    told = messages()
    assert any("create request from REST API" in text for text in told), told
    assert any("instance placed" in text for text in told), told


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_guest_and_network_survive_a_restart_of_the_agent(cloud, tenant, network, guest, end):
    pid = cloud.qemu_pid(guest["uuid"])
    links = sorted(cloud.links())
    assert pid
    getattr(cloud, end)()
    assert cloud.qemu_pid(guest["uuid"]) == pid, "the guest goes on without the agent"
    cloud.start()
    assert cloud.qemu_pid(guest["uuid"]) == pid
    assert sorted(cloud.links()) == links
    until("the guest answers", lambda: ping(tenant, network, guest), 60)
    assert tenant.get_instance(guest["uuid"])["power_state"] == "on"


def test_power_through_the_command_line(cloud, tenant, guest):
    uuid = guest["uuid"]
    client = os.path.join(os.path.dirname(os.environ.get("VIRTUAL_ENV_PYTHON", "")) or "", "sf-client")
    client = client if os.path.exists(client) else _client_program()
    environment = {
        **os.environ, "SHAKENFIST_API_URL": cloud.url, "SHAKENFIST_NAMESPACE": tenant.namespace,
        "SHAKENFIST_KEY": tenant.key,
    }

    def sf_client(*words):
        done = subprocess.run([client, "--json", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def power(state):
        return lambda: tenant.get_instance(uuid)["power_state"] == state

    assert uuid in sf_client("instance", "list")
    sf_client("instance", "pause", uuid)
    until("paused", power("paused"))
    sf_client("instance", "unpause", uuid)
    until("running", power("on"))
    sf_client("instance", "poweroff", uuid)
    until("off", power("off"))
    assert cloud.qemu_pid(uuid) is None
    sf_client("instance", "poweron", uuid)
    until("running again", power("on"))
    reports = tenant.get_console_data(uuid, -1).count(f"SF-GUEST {uuid}")
    until(
        "the guest reports itself once more",
        lambda: tenant.get_console_data(uuid, -1).count(f"SF-GUEST {uuid}") >= max(reports, 1) + (reports == 1),
        180,
    )


def test_a_guest_that_dies_is_crashed_and_can_be_powered_on(cloud, tenant, guest):
    uuid = guest["uuid"]
    os.kill(cloud.qemu_pid(uuid), 9)
    until("crashed", lambda: tenant.get_instance(uuid)["power_state"] == "crashed", 60)
    assert tenant.get_instance(uuid)["state"] == "created"
    tenant.power_on_instance(uuid)
    until("running again", lambda: tenant.get_instance(uuid)["power_state"] == "on", 60)


def test_deleting_through_the_client_leaves_nothing(cloud, tenant, network, guest):
    tenant.delete_instance(guest["uuid"])
    assert tenant.get_instance(guest["uuid"])["state"] == "deleted"
    tenant.delete_network(network["uuid"])
    assert tenant.get_network(network["uuid"])["state"] == "deleted"
    cloud.assert_nothing_left()


def _client_program():
    return run("sh", "-c", "command -v sf-client").strip()
