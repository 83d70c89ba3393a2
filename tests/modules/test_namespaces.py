"""sf_namespace against a running cloud."""

import pytest
from cloud import until
from playbooks import failed, ok
from shakenfist_client import apiclient

FIRST, SECOND = "first-secret-0123456789", "second-secret-0123456789"


@pytest.fixture
def name(system, request):
    """A name of its own for each test: that of a deleted namespace is not free for an hour."""
    made = request.node.name.replace("_", "-")
    yield made
    system.namespace(name=made, state="absent")


def opens(cloud, name, key):
    try:
        cloud.client(name, key).get_networks()
    except apiclient.UnauthenticatedException:
        return False
    return True


def names(cloud):
    return {namespace["name"] for namespace in cloud.system().get_namespaces()}


def test_life_of_a_namespace(cloud, system, name):
    wanted = {"name": name, "keys": {"deploy": FIRST}, "metadata": {"owner": "me", "size": 3}}
    predicted = ok(system.namespace(check=True, **wanted), changed=True)
    assert name not in names(cloud)
    assert predicted["diff"]["before"] == {} and predicted["meta"]["keys"] == ["deploy"]

    made = ok(system.namespace(**wanted), changed=True)
    assert made["diff"] == predicted["diff"]
    assert made["meta"]["keys"] == ["deploy"] and made["meta"]["metadata"] == {"owner": "me", "size": 3}
    assert opens(cloud, name, FIRST)

    ok(system.namespace(check=True, **wanted), changed=False)
    again = ok(system.namespace(**wanted), changed=False)
    assert again["diff"]["before"] == again["diff"]["after"]
    ok(system.namespace(name=name), changed=False)

    ok(system.namespace(check=True, name=name, state="absent"), changed=True)
    assert name in names(cloud)
    gone = ok(system.namespace(name=name, state="absent"), changed=True)
    assert gone["meta"] is None and gone["diff"]["after"] == {}
    assert name not in names(cloud)
    ok(system.namespace(name=name, state="absent"), changed=False)
    soon = failed(system.namespace(name=name), f"creating namespace {name}: namespace exists", "It was deleted, and its name")
    assert soon["status"] == 403 and soon["request_id"] in soon["msg"]


def test_keys_are_set_only_when_they_do_not_open_the_namespace(cloud, system, name):
    system.namespace(name=name, keys={"deploy": FIRST, "other": SECOND})
    client = cloud.client(name, FIRST)
    client.get_networks()
    token = client.cached_auth
    ok(system.namespace(name=name, keys={"deploy": FIRST}), changed=False)
    assert cloud.status("/networks", token) == 200, "an unchanged key was set again, which revokes its tokens"

    rotated = {"deploy": "third-secret-0123456789"}
    predicted = ok(system.namespace(check=True, name=name, keys=rotated), changed=True)
    assert predicted["diff"]["after"]["keys"] == {"deploy": "(hidden, another one)", "other": "(hidden)"}
    assert opens(cloud, name, FIRST)
    ok(system.namespace(name=name, keys=rotated), changed=True)
    assert not opens(cloud, name, FIRST) and opens(cloud, name, rotated["deploy"]) and opens(cloud, name, SECOND)
    ok(system.namespace(name=name, keys=rotated), changed=False)

    removed = ok(system.namespace(name=name, keys={"other": None}), changed=True)
    assert removed["meta"]["keys"] == ["deploy"] and not opens(cloud, name, SECOND)
    ok(system.namespace(name=name, keys={"other": None}), changed=False)


def test_a_namespace_sets_keys_of_its_own(cloud, ansible, system, name):
    system.namespace(name=name, keys={"deploy": FIRST})
    mine = {"api_url": cloud.url, "namespace": name, "key": FIRST}
    ok(ansible.module("sf_namespace", **mine, name=name, keys={"more": SECOND}, metadata={"a": 1}), changed=True)
    assert opens(cloud, name, SECOND)
    refused = failed(ansible.module("sf_namespace", **mine, name="yet-another"), "creating namespace yet-another", "system")
    assert refused["status"] == 403 and refused["request_id"]


def test_metadata_that_are_not_named_are_left_alone(system, name):
    system.namespace(name=name, metadata={"mine": 1, "theirs": {"a": [1]}})
    changed = ok(system.namespace(name=name, metadata={"mine": None, "new": "x"}), changed=True)
    assert changed["meta"]["metadata"] == {"theirs": {"a": [1]}, "new": "x"}
    assert changed["diff"]["before"]["metadata"] == {"mine": 1, "theirs": {"a": [1]}}
    ok(system.namespace(name=name, metadata={"mine": None, "new": "x"}), changed=False)


def test_a_namespace_in_use_is_not_deleted(system, name):
    system.namespace(name=name)
    in_it = {"auth_namespace": "system", "namespace": name, "name": "keeps-it"}
    ok(system.network(**in_it, netblock="10.82.0.0/24"), changed=True)
    refused = failed(system.namespace(name=name, state="absent"), f"deleting namespace {name}", "network")
    assert refused["status"] == 400 and refused["request_id"] in refused["msg"]
    ok(system.network(**in_it, state="absent"), changed=True)
    until("the network does not count any more", lambda: not system.namespace(name=name, state="absent")["failed"])


def test_what_cannot_be_is_refused(system, name):
    failed(system.namespace(name=name, keys={"a": FIRST, "b": FIRST}), "the same secret")
    failed(system.namespace(name=name, keys={"a": 1234567890}), "a is not a string")
    short = failed(system.namespace(name=name, keys={"a": "short"}), f"setting key a of namespace {name}")
    assert short["status"] == 400
    bad = failed(system.namespace(name="not a name"), "looking for namespace not a name", "letters, digits")
    assert bad["status"] == 400
