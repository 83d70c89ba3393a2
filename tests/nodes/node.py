"""A node as the role would deploy it: its files, its libvirt, and one process for each of its daemons."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from cloud import BINARY, run, until

# Folders and modes that the role's tmpfiles make.
FOLDERS = (
    "etc/config.d", "run/netns", "run/queues", "run/instances", "run/locks", "run/transfers", "run/net-privexec",
    "blobs", "uploads", "quarantine", "image_cache", "instances", "spool", "libvirt",
)
# Those whose health is probed hold a file for it.
PROBED = ("blobs", "uploads", "image_cache", "instances")
PRIVILEGED = ("privexec", "net-privexec")
EVERY_NODE = ("resources", "cluster")
WITH_NETWORKS = (*PRIVILEGED, "net", "queues")
WITH_STORE = ("transfers", "cleaner")


class Node:
    """One node on one machine."""

    def __init__(self, machine, root, database=False, carrier=False, hypervisor=False):
        self.machine, self.root, self.hypervisor = machine, Path(root) / machine.name, hypervisor
        self.etc = self.root / "etc"
        self.daemons = {}
        self.names = [*(("database",) if database else ()), *WITH_NETWORKS, *EVERY_NODE]
        if hypervisor:
            self.names += [*WITH_STORE, "api"]
        # Written by the cluster; read by the API alone.
        self.kek_file = self.root / "kek"
        self.keys = {
            "node_name": machine.name,
            "node_mesh_ip": machine.mesh_ip,
            "node_mesh_nic": "mesh0",
            "node_egress_ip": machine.outside_ip,
            "node_egress_nic": "out0",
            "storage_path": str(self.root),
            "run_path": str(self.root / "run"),
            "netns_dir": str(self.root / "run/netns"),
            "image_table": str(self.etc / "images.yaml"),
            "libvirt_uri": f"qemu+unix:///system?socket={self.root}/libvirt/run/libvirt-sock",
            "libvirt_log_path": str(self.root / "libvirt/log/qemu"),
            "libvirt_user": "root",
            "libvirt_group": "root",
            "node_is_hypervisor": hypervisor,
            "carrier_eligible": carrier,
            "allow_emulation": True,
            "node_ram_reservation_gb": 0.5,
            "node_cpu_reservation_threads": 0,
            "node_disk_reservation_gb": 2.0,
            "api_drain_grace": 0,
            **({"kek_file": str(self.kek_file)} if hypervisor else {}),
        }

    # Life

    def write(self, gateways, database, kek):
        """Writes the files; JSON is YAML."""
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        for folder in PROBED:
            (self.root / folder / "_heartbeat").touch()
        keys = {**self.keys, "mariadb_gateway_hosts": gateways}
        (self.etc / "config.yaml").write_text(json.dumps(keys, indent=1))
        if "api" in self.names:
            self.kek_file.write_text(kek)
        if "database" in self.names:
            (self.etc / "database.yaml").write_text(json.dumps(database, indent=1))

    def start(self, *names):
        """Starts daemons, all of them unless named."""
        if self.hypervisor and not names:
            self.start_libvirt()
        for name in names or self.names:
            log = open(self.root / f"{name}.log", "ab")
            self.daemons[name] = subprocess.Popen(
                self.machine.inside(BINARY, "run", name, "--config-dir", self.etc),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )

    def start_libvirt(self):
        self.machine.run(BINARY, "libvirt-space", "--directory", self.root / "libvirt")
        until(f"libvirt of {self.machine.name} answers", lambda: self.virsh("uri", check=False))

    def stop(self, *names):
        """Ends daemons in an orderly way, all of them unless named."""
        ending = [self.daemons.pop(name) for name in names or list(self.daemons)]
        for process in ending:
            process.send_signal(signal.SIGTERM)
        for process in ending:
            process.wait(90)

    def check_alive(self):
        for name, process in self.daemons.items():
            assert process.poll() is None, f"{name} of {self.machine.name} ended: {self.last_words(name)}"

    def last_words(self, name):
        return "\n".join((self.root / f"{name}.log").read_text(errors="replace").splitlines()[-8:])

    # Questions

    @property
    def url(self):
        return f"http://{self.machine.mesh_ip}:13000"

    def ready(self):
        """Whether the API of this node is ready to serve."""
        self.check_alive()
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.HTTPError, OSError):
            return False

    def ctl(self, *words, stdin=None):
        """What `sf-ctl --json` answers on this node."""
        command = self.machine.inside(BINARY, "sf-ctl", "--config-dir", self.etc, "--json", *words)
        done = subprocess.run(command, capture_output=True, text=True, input=stdin)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def virsh(self, *words, check=True):
        return run("virsh", "-q", "-c", self.keys["libvirt_uri"], *words, check=check)

    def domains(self):
        return self.virsh("list", "--all", "--name").split() if self.hypervisor else []

    def links(self):
        """The network devices of this node, by name."""
        return {link["ifname"]: link for link in json.loads(self.machine.run("ip", "-j", "link", "show"))}

    def tenant_links(self):
        """Devices of virtual networks, and taps of guests."""
        marks = ("vxlan-", "br-vxlan-", "veth-", "tap")
        return sorted(name for name in self.links() if name.startswith(marks))

    def forwarding(self, vxlan):
        """The entries of a VXLAN device: pairs of station and destination."""
        entries = json.loads(self.machine.run("bridge", "-j", "fdb", "show", "dev", vxlan))
        return {(entry["mac"], entry["dst"]) for entry in entries if "dst" in entry}

    def network_namespaces(self):
        return sorted(path.name for path in (self.root / "run/netns").iterdir())

    def blob(self, uuid):
        """Where a replica is on this node's disk, or None."""
        found = [path for path in (self.root / "blobs").rglob(f"{uuid}*") if path.is_file()]
        return found[0] if found else None

    def instance_folders(self):
        return [path.name for path in (self.root / "instances").iterdir() if not path.name.startswith("_")]
