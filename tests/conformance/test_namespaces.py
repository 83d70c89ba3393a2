"""Namespaces, keys and trust."""

import pytest
from shakenfist_client import apiclient


@pytest.fixture
def fresh(system):
    view = system.create_namespace("fresh")
    yield view
    try:
        system.delete_namespace("fresh")
    except apiclient.ResourceNotFoundException:
        pass


def test_life_of_a_namespace(system, fresh):
    assert (fresh["name"], fresh["state"], fresh["trust"]["full"]) == ("fresh", "created", ["system"])
    with pytest.raises(apiclient.UnauthorizedException):
        system.create_namespace("fresh")
    assert "fresh" in {namespace["name"] for namespace in system.get_namespaces()}
    assert system.get_namespace("fresh")["name"] == "fresh"
    system.delete_namespace("fresh")
    with pytest.raises(apiclient.ResourceNotFoundException):
        system.get_namespace("fresh")
    with pytest.raises(apiclient.UnauthorizedException):
        system.delete_namespace("system")


def test_keys(t1):
    assert t1.add_namespace_key("t1", "extra", "extra-secret-0") == "extra"
    assert "extra" in t1.get_namespace_keynames("t1")
    assert t1.update_namespace_key("t1", "extra", "other-secret-0") == "extra"
    t1.delete_namespace_key("t1", "extra")
    assert "extra" not in t1.get_namespace_keynames("t1")
    with pytest.raises(apiclient.UnauthorizedException):
        t1.add_namespace_key("t1", "service_key", "long-enough-0")
    for bad in ["1234567", "x" * 73]:
        with pytest.raises(apiclient.RequestMalformedException):
            t1.add_namespace_key("t1", "bad", bad)


def test_trust_gives_sight(t1, t2, artifact):
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.get_artifact(artifact["uuid"])
    assert "t2" in t1.add_namespace_trust("t1", "t2")["trust"]["full"]
    assert t2.get_artifact(artifact["uuid"])["uuid"] == artifact["uuid"]
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.delete_artifact(artifact["uuid"])
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.get_namespace_keynames("t1")
    assert t1.remove_namespace_trust("t1", "t2")["trust"]["full"] == ["system"]
    with pytest.raises(apiclient.ResourceNotFoundException):
        t2.get_artifact(artifact["uuid"])


def test_metadata(t1):
    t1.set_namespace_metadata_item("t1", "note", {"a": [1, None]})
    assert t1.get_namespace_metadata("t1") == {"note": {"a": [1, None]}}
    t1.delete_namespace_metadata_item("t1", "note")
    t1.delete_namespace_metadata_item("t1", "note")
    assert t1.get_namespace_metadata("t1") == {}


def test_a_namespace_in_use_stays(system, t1, network):
    with pytest.raises(apiclient.RequestMalformedException):
        system.delete_namespace("t1")
