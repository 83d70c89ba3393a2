"""Each file of examples/loadbalancer in front of two nodes keeps the promises of its README."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from backend import Backend  # noqa: E402
from proxies import KINDS, Apache, Haproxy, until  # noqa: E402


@pytest.fixture(scope="module")
def pool():
    nodes = [Backend("one"), Backend("two")]
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.program)
def proxy(request, tmp_path_factory, pool):
    kind = request.param
    if not kind.is_installed():
        pytest.skip(f"{kind.program} is not installed")
    made = kind(tmp_path_factory.mktemp(kind.program), pool)
    checked = made.checked()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    made.start()
    yield made
    made.stop()


def test_paths_are_those_of_the_contract(proxy):
    assert proxy.said("GET", "/api/instances/x%2Fy?all=1")["path"] == "/instances/x%2Fy?all=1"
    for unchanged in ("/openapi.json", "/apidocs", "/apidocs/index.js"):
        assert proxy.said("GET", unchanged)["path"] == unchanged
    for foreign in ("/", "/readyz", "/apiary"):
        assert proxy.request("GET", foreign)[0] == 404, foreign


@pytest.mark.parametrize("path", ["/api/x", "/apidocs"])
def test_what_a_client_claims_about_its_way_is_not_believed(proxy, path):
    claimed = {
        "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example.net", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/evil",
    }
    headers = {name.lower(): value for name, value in proxy.said("GET", path, headers=claimed)["headers"].items()}
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] in ("localhost", f"localhost:{proxy.port}")
    assert headers["x-forwarded-proto"] == "https"
    assert headers.get("x-forwarded-prefix") == ("/api" if path.startswith("/api/") else None)


def test_answers_are_passed_on_as_they_come(proxy, pool):
    for node in pool:
        node.finish.clear()
    connection = proxy.connection()
    connection.request("GET", "/api/slow")
    answer = connection.getresponse()
    assert answer.read(1) == b"a", "the node has not sent more yet"
    for node in pool:
        node.finish.set()
    assert answer.read() == b"b"


def test_uploads_are_passed_on_as_they_come_and_may_be_large(proxy, pool):
    size = 64 << 20
    for node in pool:
        node.arrived.clear()
    connection = proxy.connection()
    connection.putrequest("POST", "/api/upload")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    half = bytes(size // 2)
    connection.send(half)
    until("the beginning is there", lambda: any(node.arrived.is_set() for node in pool))
    connection.send(half)
    assert json.loads(connection.getresponse().read())["length"] == size


def test_connections_to_nodes_are_kept(proxy):
    assert proxy.said("GET", "/api/x")["headers"].get("Connection", "keep-alive") != "close"


def test_a_create_is_never_repeated(proxy, pool):
    before = sum(len(node.seen) for node in pool)
    assert proxy.request("POST", "/api/busy", body=b"{}")[0] == 503
    assert sum(len(node.seen) for node in pool) == before + 1


def nodes_that_answer(proxy, tries=6):
    return {proxy.said("GET", "/api/x")["node"] for _ in range(tries)}


# Open-source nginx has no active checks, as its example says.
@pytest.mark.parametrize("proxy", [Apache, Haproxy], ids=lambda kind: kind.program, indirect=True)
def test_a_node_that_is_not_ready_is_left_and_taken_back(proxy, pool):
    until("both are used", lambda: nodes_that_answer(proxy) == {"one", "two"})
    pool[0].ready = False
    until("the other has all", lambda: nodes_that_answer(proxy) == {"two"})
    pool[0].ready = True
    until("both are used again", lambda: nodes_that_answer(proxy) == {"one", "two"})


def test_a_node_that_is_gone_is_not_noticed_by_clients(proxy, pool):
    until("both are used", lambda: nodes_that_answer(proxy) == {"one", "two"})
    port = pool[0].port
    pool[0].close()
    assert nodes_that_answer(proxy) == {"two"}
    pool[0] = Backend("one", port)
    until("it is back", lambda: nodes_that_answer(proxy) == {"one", "two"})
