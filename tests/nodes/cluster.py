"""Several nodes against one MariaDB, the way an operator puts them together."""

import base64
import json
import secrets
import shutil
import subprocess
from pathlib import Path

from cloud import run, until
from shakenfist_client import apiclient

SCHEMA = "shakenfist"


class Mariadb:
    """The operator's database server."""

    def __init__(self, root):
        self.root = Path(root) / "mariadb"
        self.socket = self.root / "mysqld.sock"
        self.password = secrets.token_hex(16)
        self.process = None

    def start(self):
        # Not /tmp: a server that starts deletes the temporary tables it finds, also those of another one.
        scratch = self.root / "tmp"
        scratch.mkdir(parents=True)
        run("env", f"TMPDIR={scratch}", "mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=socket",
            "--skip-test-db", f"--datadir={self.root}/data")
        init = self.root / "init.sql"
        init.write_text(
            f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4;\n"
            f"CREATE USER sf@localhost IDENTIFIED BY '{self.password}';\nGRANT ALL ON {SCHEMA}.* TO sf@localhost;\n"
        )
        (self.root / "password").write_text(self.password)
        log = open(self.root / "server.log", "ab")
        self.process = subprocess.Popen(
            ["mariadbd", "--no-defaults", "--user=root", "--skip-networking", f"--datadir={self.root}/data",
             f"--tmpdir={scratch}", f"--socket={self.socket}", f"--init-file={init}", "--innodb-buffer-pool-size=128M"],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )
        until("MariaDB answers", lambda: run("mariadb-admin", "--socket", self.socket, "ping", check=False))

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)

    def sql(self, query):
        """Rows, each a list of texts."""
        out = run("mariadb", "--socket", self.socket, "-N", "-B", SCHEMA, "-e", query)
        return [line.split("\t") for line in out.splitlines()]

    def keys(self):
        """What `database.yaml` says of this server."""
        return {
            "mariadb_socket": str(self.socket), "mariadb_user": "sf", "mariadb_database": SCHEMA,
            "mariadb_password_file": str(self.root / "password"),
        }


class Cluster:
    """Nodes, their database and their clients."""

    def __init__(self, root, nodes, settings):
        self.root, self.nodes, self.settings = Path(root), nodes, settings
        self.mariadb = Mariadb(root)
        self.key_file = self.root / "system_key"
        self.kek = base64.b64encode(secrets.token_bytes(32)).decode()

    def deploy(self):
        """Everything the role does once, then every daemon of every node."""
        self.mariadb.start()
        tier = [node for node in self.nodes if "database" in node.names]
        for node in self.nodes:
            node.write([node.machine.mesh_ip for node in tier], self.mariadb.keys(), self.kek)
        tier[0].ctl("ensure-mariadb-schema")
        given = {"config": self.settings, "system_key_output": str(self.key_file), "kek": self.kek}
        tier[0].ctl("bootstrap-cluster", "--input", "-", stdin=json.dumps(given))
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.ctl("node", "register", "--daemons", ",".join(node.names))
        for node in self.nodes:
            if "api" in node.names:
                until(f"the API of {node.machine.name} serves", node.ready, 180)
        until("every hypervisor takes instances", self.open_hypervisors, 120)

    def open_hypervisors(self):
        opened = self.sql("SELECT COUNT(*) FROM node_capacity WHERE open")[0][0]
        return int(opened) == sum(node.hypervisor for node in self.nodes)

    def sql(self, query):
        return self.mariadb.sql(query)

    def remove(self):
        """Takes everything down, whatever state it is in."""
        for node in self.nodes:
            node.machine.off()
        self.mariadb.stop()
        shutil.rmtree(self.root)

    def client(self, node, namespace="system", key=None):
        """A client that speaks to the API of one node."""
        key = key or self.key_file.read_text().strip()
        return apiclient.Client(base_url=node.url, namespace=namespace, key=key, suppress_configuration_lookup=True)
