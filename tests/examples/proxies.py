"""The load balancers of examples/loadbalancer as they stand, but for addresses and paths, and a client for them."""

import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/loadbalancer"


def until(what, probe, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what}: did not happen within {seconds} s"
        time.sleep(0.1)
    return answer


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Proxy:
    """A server with the configuration of the example in front of two nodes."""

    program = example = None
    # What the example says, and what stands there in a test: without it the example is not what is tested.
    places = {}

    def __init__(self, directory, backends):
        self.directory, self.port, self.plain_port = directory, free_port(), free_port()
        self.process = None
        self._certificate()
        self.config = directory / self.example
        nodes = {f"10.20.0.1{number}:13000": f"127.0.0.1:{backend.port}" for number, backend in enumerate(backends, 2)}
        self.config.write_text(self._around() + self._example(nodes))

    @classmethod
    def is_installed(cls):
        return bool(shutil.which(cls.program))

    def _around(self):
        return ""

    def _example(self, nodes):
        text = (EXAMPLES / self.example).read_text()
        here = {"directory": self.directory, "port": self.port, "plain_port": self.plain_port}
        for original, place in [*nodes.items(), *((original, place.format(**here)) for original, place in self.places.items())]:
            assert original in text, f"{self.example} does not hold {original} any more"
            text = text.replace(original, place)
        return text

    def _certificate(self):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
        subprocess.run(command, cwd=self.directory, check=True, capture_output=True)
        # HAProxy has both in one file.
        (self.directory / "both.pem").write_text("".join((self.directory / name).read_text() for name in ("cert.pem", "key.pem")))

    def command(self, *options):
        raise NotImplementedError

    def checked(self):
        """What the program says about its configuration."""
        return subprocess.run(self.command("check"), capture_output=True, text=True)

    def start(self):
        with (self.directory / "output.log").open("w") as output:
            self.process = subprocess.Popen(self.command("run"), stdout=output, stderr=subprocess.STDOUT)
        until(f"{self.program} serves", lambda: self.status("GET", "/api/x") == 200)

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
            assert self.process.poll() is None, "\n".join(log.read_text() for log in self.directory.glob("*.log"))
            return None

    def said(self, *request, **options):
        """What the node says that reached it."""
        status, body = self.request(*request, **options)
        assert status == 200, (status, body)
        return json.loads(body)


class Apache(Proxy):
    program, example = "apache2", "apache.conf"
    places = {
        "*:443": "127.0.0.1:{port}", "/etc/apache2/certs/cloud.crt": "{directory}/cert.pem", "/etc/apache2/certs/cloud.key": "{directory}/key.pem",
    }
    modules = Path("/usr/lib/apache2/modules")
    # What the example may count on in Debian's Apache; all the others it has to name.
    always = ("mpm_event", "authz_core")

    def _around(self):
        named = re.search(r"^#   a2enmod (.*)$", (EXAMPLES / self.example).read_text(), re.M)[1].split()
        lines = [f"LoadModule {name}_module {self.modules}/mod_{name}.so" for name in [*self.always, *named]]
        lines += [
            f"ServerRoot {self.directory}", f"DefaultRuntimeDir {self.directory}", "PidFile pid", "ErrorLog error.log", "User www-data",
            "Group www-data", "ServerName localhost", f"Listen 127.0.0.1:{self.port}", "",
        ]
        return "\n".join(lines)

    def command(self, purpose):
        return ["apache2", {"check": "-t", "run": "-DFOREGROUND"}[purpose], "-f", self.config]


class Nginx(Proxy):
    program, example = "nginx", "nginx.conf"
    places = {
        "listen 443 ssl": "listen 127.0.0.1:{port} ssl", "listen 80;": "listen 127.0.0.1:{plain_port};",
        "/etc/nginx/certs/cloud.crt": "{directory}/cert.pem", "/etc/nginx/certs/cloud.key": "{directory}/key.pem",
        "/run/nginx.pid": "{directory}/pid", "/var/log/nginx": "{directory}",
    }

    def command(self, purpose):
        return ["nginx", "-e", self.directory / "error.log", "-c", self.config, *{"check": ["-t"], "run": ["-g", "daemon off;"]}[purpose]]


class Haproxy(Proxy):
    program, example = "haproxy", "haproxy.cfg"
    places = {"bind :443": "bind 127.0.0.1:{port}", "bind :80": "bind 127.0.0.1:{plain_port}", "/etc/haproxy/certs/cloud.pem": "{directory}/both.pem"}

    def command(self, purpose):
        return ["haproxy", {"check": "-c", "run": "-db"}[purpose], "-f", self.config]


KINDS = (Apache, Haproxy, Nginx)
