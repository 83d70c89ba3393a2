"""Finding the service, logging in, and what every request has in common."""

import pytest
from raw import ask, token_of
from shakenfist_client import apiclient

ADVERTISED = """
cluster-cacert cluster-resources artifact-metadata artifact-upload-types artifact-clusteroperations blob-metadata
blob-search-by-hash blob-data-limit blob-events blob-checksums blob-single-checksum blob-hash-sha1 blob-hash-sha256
blob-hash-xxh128 get-cluster-operations cluster-operation-chain cluster-operations-by-target object-pending-operations
events-by-type pure-affinity vdi-console-helper get-instance-namespace instance-clusteroperations list-addresses
get-network-namespace provide-dns network-clusteroperations network-delete-async interface-metadata node-get node-metadata
node-process-metrics generated-key-secrets scope-enforcement
""".split()

NOT_YET = ["vdi-console-proxy", "agentoperations-crud", "instance-execute", "route-addresses", "hot-plug-interface"]


@pytest.mark.parametrize("suffix", ["", "/"])
def test_capabilities_are_read_with_and_without_a_slash(cloud, suffix):
    client = apiclient.Client(base_url=cloud.url + suffix, namespace="system", key="x", suppress_configuration_lookup=True)
    assert [token for token in ADVERTISED if not client.check_capability(token)] == []
    assert [token for token in NOT_YET if client.check_capability(token)] == []


def test_a_base_url_with_a_slash_works_for_every_call(cloud, t1):
    client = apiclient.Client(
        base_url=cloud.url + "/", namespace=t1.namespace, key=t1.key, suppress_configuration_lookup=True
    )
    assert isinstance(client.get_networks(), list)


def test_a_wrong_key_is_unauthenticated(cloud):
    with pytest.raises(apiclient.UnauthenticatedException):
        cloud.client("t1", "certainly-wrong").get_networks()


def test_a_dead_token_is_replaced_silently(t1):
    t1.get_networks()
    t1.cached_auth = "Bearer dead"
    assert isinstance(t1.get_networks(), list)


def test_a_rotated_key_needs_the_new_secret(cloud, t1):
    t1.add_namespace_key("t1", "rotating", "first-secret-0")
    client = cloud.client("t1", "first-secret-0")
    client.get_networks()
    t1.update_namespace_key("t1", "rotating", "second-secret-0")
    with pytest.raises(apiclient.UnauthenticatedException):
        client.get_networks()
    client.key = "second-secret-0"
    assert isinstance(client.get_networks(), list)
    t1.delete_namespace_key("t1", "rotating")


def test_request_ids(cloud, t1):
    t1.get_networks()
    assert t1.most_recent_request_id
    answer = ask(cloud, "GET", "/livez", headers={"X-Request-ID": "mine-1"})
    assert answer.headers["X-Request-ID"] == "mine-1"


@pytest.mark.parametrize(
    "method, path, body, status",
    [
        ("GET", "/nowhere", None, 404),
        ("PATCH", "/networks", None, 405),
        ("GET", "/networks", {"made_up": 1}, 400),
        ("GET", "/networks", {"all": [1]}, 400),
        ("GET", "/networks", b"{", 400),
        ("GET", "/networks", b" " * (5 << 20), 413),
        ("GET", "/networks/00000000-0000-4000-8000-000000000000", None, 404),
    ],
    ids=["path", "verb", "field", "type", "json", "size", "object"],
)
def test_refusals_have_the_shape_of_the_contract(cloud, t1, method, path, body, status):
    answer = ask(cloud, method, path, body, token_of(t1))
    assert answer.status == status, answer.text
    assert answer.json["status"] == status and answer.json["error"]
    assert answer.headers["Content-Type"] == "application/json"


def test_the_query_string_counts_and_the_body_wins(cloud, t1):
    token = token_of(t1)
    assert ask(cloud, "GET", "/networks?all=maybe", None, token).status == 400
    assert ask(cloud, "GET", "/networks?all=maybe", {"all": False}, token).status == 200


def test_probes(cloud):
    assert ask(cloud, "GET", "/livez").text == "ok"
    assert ask(cloud, "GET", "/readyz").text == "ready"
