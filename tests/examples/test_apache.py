"""examples/loadbalancer/apache.conf as it stands, but for addresses and paths, in front of two nodes."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from backend import Backend  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/loadbalancer/apache.conf"
MODULES = Path("/usr/lib/apache2/modules")
# What the example may count on in Debian's Apache; all the others it has to name.
ALWAYS = ("mpm_event", "authz_core")


def until(what, probe, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what}: did not happen within {seconds} s"
        time.sleep(0.1)
    return answer


class Apache:
    """A server with the configuration of the example, and a client for it."""

    def __init__(self, directory, backends):
        self.directory = directory
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.config = directory / "apache2.conf"
        self.config.write_text(self._around() + self._example(backends))
        self.process = None

    def _around(self):
        modules = [*ALWAYS, *re.search(r"^#   a2enmod (.*)$", EXAMPLE.read_text(), re.M)[1].split()]
        lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in modules]
        lines += [
            f"ServerRoot {self.directory}", f"DefaultRuntimeDir {self.directory}", "PidFile pid", "ErrorLog error.log", "User www-data",
            "Group www-data", "ServerName localhost", f"Listen 127.0.0.1:{self.port}", "",
        ]
        return "\n".join(lines)

    def _example(self, backends):
        certificate = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        certificate += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
        subprocess.run(certificate, cwd=self.directory, check=True, capture_output=True)
        text = EXAMPLE.read_text()
        for original, place in {
            "*:443": f"127.0.0.1:{self.port}",
            "/etc/apache2/certs/cloud.crt": f"{self.directory}/cert.pem",
            "/etc/apache2/certs/cloud.key": f"{self.directory}/key.pem",
            "10.20.0.12:13000": f"127.0.0.1:{backends[0].port}",
            "10.20.0.13:13000": f"127.0.0.1:{backends[1].port}",
        }.items():
            assert original in text, f"{EXAMPLE} does not hold {original} any more"
            text = text.replace(original, place)
        return text

    def test(self):
        """What `apache2 -t` says."""
        return subprocess.run(["apache2", "-t", "-f", self.config], capture_output=True, text=True)

    def start(self):
        self.process = subprocess.Popen(["apache2", "-DFOREGROUND", "-f", self.config])
        until("Apache serves", lambda: self.status("GET", "/api/x") == 200)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)

    def connection(self):
        trusted = ssl.create_default_context(cafile=self.directory / "cert.pem")
        return http.client.HTTPSConnection("localhost", self.port, timeout=60, context=trusted)

    def request(self, method, path, body=None, headers=None):
        """Status and body."""
        connection = self.connection()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def status(self, method, path):
        try:
            return self.request(method, path)[0]
        except OSError:
            assert self.process.poll() is None, (self.directory / "error.log").read_text()
            return None

    def said(self, *request, **options):
        """What the node says that reached it."""
        status, body = self.request(*request, **options)
        assert status == 200, (status, body)
        return json.loads(body)


@pytest.fixture(scope="module")
def pool():
    nodes = [Backend("one"), Backend("two")]
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture(scope="module")
def apache(tmp_path_factory, pool):
    if not shutil.which("apache2"):
        pytest.skip("apache2-bin is not installed")
    made = Apache(tmp_path_factory.mktemp("apache"), pool)
    checked = made.test()
    assert checked.returncode == 0, checked.stderr
    made.start()
    yield made
    made.stop()


def test_paths_are_those_of_the_contract(apache):
    assert apache.said("GET", "/api/instances/x%2Fy?all=1")["path"] == "/instances/x%2Fy?all=1"
    for unchanged in ("/openapi.json", "/apidocs", "/apidocs/index.js"):
        assert apache.said("GET", unchanged)["path"] == unchanged
    assert apache.request("GET", "/api")[0] == 308
    for foreign in ("/", "/readyz", "/apiary"):
        assert apache.request("GET", foreign)[0] == 404, foreign


def test_what_a_client_claims_about_its_way_is_not_believed(apache):
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "evil.example.net", "X-Forwarded-Proto": "http"}
    headers = apache.said("GET", "/api/x", headers=claimed)["headers"]
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == f"localhost:{apache.port}"
    assert headers["X-Forwarded-Proto"] == "https"
    assert headers["X-Forwarded-Prefix"] == "/api"


def test_answers_are_passed_on_as_they_come(apache, pool):
    connection = apache.connection()
    connection.request("GET", "/api/slow")
    answer = connection.getresponse()
    assert answer.read(1) == b"a", "the node has not sent more yet"
    for node in pool:
        node.finish.set()
    assert answer.read() == b"b"


def test_uploads_are_passed_on_as_they_come_and_may_be_large(apache, pool):
    size = 64 << 20
    for node in pool:
        node.arrived.clear()
    connection = apache.connection()
    connection.putrequest("POST", "/api/upload")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    half = bytes(size // 2)
    connection.send(half)
    until("the beginning is there", lambda: any(node.arrived.is_set() for node in pool))
    connection.send(half)
    assert json.loads(connection.getresponse().read())["length"] == size


def test_a_create_is_never_repeated(apache, pool):
    before = sum(len(node.seen) for node in pool)
    assert apache.request("POST", "/api/busy", body=b"{}")[0] == 503
    assert sum(len(node.seen) for node in pool) == before + 1


def nodes_that_answer(apache, tries=6):
    return {apache.said("GET", "/api/x")["node"] for _ in range(tries)}


def test_a_node_that_is_not_ready_is_left_and_taken_back(apache, pool):
    until("both are used", lambda: nodes_that_answer(apache) == {"one", "two"})
    pool[0].ready = False
    until("the other has all", lambda: nodes_that_answer(apache) == {"two"})
    pool[0].ready = True
    until("both are used again", lambda: nodes_that_answer(apache) == {"one", "two"})


def test_a_node_that_is_gone_is_not_noticed_by_clients(apache, pool):
    until("both are used", lambda: nodes_that_answer(apache) == {"one", "two"})
    port = pool[0].port
    pool[0].close()
    assert nodes_that_answer(apache) == {"two"}
    pool[0] = Backend("one", port)
    until("it is back", lambda: nodes_that_answer(apache) == {"one", "two"})
