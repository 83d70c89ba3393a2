"""A standalone cloud under test: started, killed, asked, and removed without a trace."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from shakenfist_client import apiclient

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SF_NODE", ROOT / "target" / "debug" / "sf-node"))


def until(what, probe, seconds=120.0, pause=0.2):
    """Calls probe until it answers something true; fails after a number of seconds, saying what did not happen."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: did not happen within {seconds} s"
        time.sleep(pause)


def run(*command, check=True, stdin=None):
    """Runs a program and answers what it printed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, input=stdin)
    assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def for_a_session(data, port_base):
    """A cloud that lives as long as a session of tests, or the running one that SF_CLOUD names, for writing tests."""
    if running := os.environ.get("SF_CLOUD"):
        # Its data directory and first port.
        directory, port = running.rsplit(":", 1)
        yield Cloud(directory, int(port))
        return
    if os.geteuid():
        pytest.skip("needs root: networks and guests are real")
    assert not data.exists(), f"a former run was cut; remove {data} with scripts/quickstart-down.sh"
    one = Cloud(data, port_base)
    one.start()
    yield one
    one.destroy()


class Cloud:
    """One standalone cloud in one directory."""

    def __init__(self, data, port_base):
        self.data = Path(data)
        self.port_base = port_base
        self.process = None

    # Life

    def start(self):
        """Starts the agent and waits until the API serves and the node has said what it can hold."""
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "standalone.json").unlink(missing_ok=True)
        log = open(self.data / "agent.log", "ab")
        self.process = subprocess.Popen(
            [BINARY, "standalone", "--data-dir", self.data, "--port-base", str(self.port_base)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )
        until("the API serves", self.serves, 180)
        until("the node has published its capacity", lambda: self.count("SELECT COUNT(*) FROM node_capacity"))

    def serves(self):
        assert self.process.poll() is None, f"the agent ended with {self.process.returncode}: {self.last_words()}"
        return self.status("/readyz") == 200

    def last_words(self):
        return "\n".join((self.data / "agent.log").read_text(errors="replace").splitlines()[-8:])

    def kill(self):
        """kill -9, at whatever the agent is doing."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """The orderly end; guests and helpers go on."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(120) == 0, self.last_words()

    def destroy(self):
        """Removes guests and networks through the API, stops everything, and deletes the directory."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        self.empty()
        cluster = self.cluster_id()
        run(BINARY, "standalone", "--data-dir", self.data, "--stop")
        # Of this cloud alone: another one may live on the host.
        run(BINARY, "net-cleanup", "--config-dir", self.data / "etc", "--cluster", cluster)
        shutil.rmtree(self.data)

    def empty(self):
        """Deletes every instance and network, and waits until they are gone."""
        system = self.system()
        for instance in system.get_instances():
            system.delete_instance(instance["uuid"], async_request=True)
        until("instances are gone", lambda: not system.get_instances(), 240)
        for network in self.networks():
            system.delete_network(network["uuid"], wait=False)
        until("networks are gone", lambda: not self.networks(), 240)

    def networks(self):
        return [network for network in self.system().get_networks() if network["namespace"]]

    # Questions

    @property
    def report(self):
        return json.loads((self.data / "standalone.json").read_text())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port_base}"

    def status(self, path, token=None):
        """Status of a GET, with a token if one is given; None when nobody answers."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": token} if token else {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def client(self, namespace, key):
        return apiclient.Client(base_url=self.url, namespace=namespace, key=key, suppress_configuration_lookup=True)

    def system(self):
        return self.client("system", (self.data / "credentials" / "system_key").read_text().strip())

    def tenant(self, name):
        """A client of a namespace of its own, made on first use."""
        system = self.system()
        if name not in {namespace["name"] for namespace in system.get_namespaces()}:
            system.create_namespace(name)
            system.add_namespace_key(name, "test", f"key-of-{name}-0123456789")
        return self.client(name, f"key-of-{name}-0123456789")

    def sql(self, query):
        """Rows of the private MariaDB, each a list of texts."""
        out = run("mariadb", "--socket", self.report["mariadb_socket"], "-N", "-B", "shakenfist", "-e", query)
        return [line.split("\t") for line in out.splitlines()]

    def count(self, query):
        return int(self.sql(query)[0][0])

    def mariadb_pid(self):
        return int(self.report["pids"]["mariadbd"])

    def ctl(self, *words, stdin=None):
        """What `sf-ctl --json` answers."""
        return json.loads(run(BINARY, "sf-ctl", "--config-dir", self.data / "etc", "--json", *words, stdin=stdin))

    def spooled(self):
        """The events that wait in the spools of this node."""
        names = [spool["daemon"] for spool in self.ctl("spool", "status")["spools"]]
        return [event for name in names for event in self.ctl("spool", "list", name)["events"]]

    def virsh(self, *words, check=True):
        return run("virsh", "-q", "-c", self.report["libvirt_uri"], *words, check=check)

    def domains(self):
        return self.virsh("list", "--all", "--name").split()

    def qemu_pid(self, instance):
        """Process id of the emulator of a guest, or None."""
        for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = cmdline.read_bytes().split(b"\0")
            except OSError:
                continue
            if b"qemu-system" in words[0] and any(instance.encode() in word for word in words):
                return int(cmdline.parent.name)
        return None

    def metrics(self, name):
        """Sum of a metric over its labels, as the agent exposes it; None when it is not there."""
        port = self.report["ports"]["queues_metrics_port"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.M)
        return sum(map(float, values)) if values else None

    def cluster_id(self):
        return self.sql("SELECT value_text FROM cluster_config WHERE key_name = 'CLUSTER_ID'")[0][0]

    def links(self):
        """Names of network devices of our virtual networks: those with our mark, and taps on our bridges."""
        cluster = self.cluster_id()
        every = json.loads(run("ip", "-j", "link", "show"))
        ours = [link["ifname"] for link in every if link.get("ifalias", "").startswith(f"sf1:{cluster}:")]
        taps = [link["ifname"] for link in every if link.get("master") in ours and link["ifname"].startswith("tap")]
        return [name for name in ours + taps if not name.startswith("egr-br-")]

    # Invariants

    def operations_have_ended(self):
        return self.count("SELECT COUNT(*) FROM cluster_operations WHERE state IN ('queued', 'executing')") == 0

    def assert_nothing_left(self):
        """After everything was deleted: no address, reservation, domain, device, disk or queue row remains."""
        until("every operation ends", self.operations_have_ended)
        assert self.domains() == []
        until("devices are gone", lambda: not self.links(), 60)
        assert [path.name for path in (self.data / "run" / "netns").iterdir()] == []
        leftovers = [p.name for p in (self.data / "instances").iterdir() if not p.name.startswith("_")]
        assert leftovers == []
        held = "SELECT pool, value, owner_type FROM resource_pool_allocations WHERE state = 'held' AND pool NOT LIKE 'ipv4:00000000-0000-4000-8000-00000000f10a'"
        assert self.sql(held) == []
        assert self.sql("SELECT owner_uuid FROM placement_reservations") == []
        assert self.sql("SELECT used_cpus, used_memory_mb, used_disk_gb, used_instances FROM node_capacity") == [["0"] * 4]
        assert self.sql("SELECT id FROM work_queue") == []
        assert self.sql("SELECT blob_uuid FROM blob_references WHERE kind = 'disk'") == []
