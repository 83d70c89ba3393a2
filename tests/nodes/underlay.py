"""Machines that share one kernel: each has its own network and mount namespace, and two cables to a switch.

The network namespace of the test itself is the switch, and the operator's place on both wires. Nothing of it is
left when the last process in it ends.
"""

import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

from cloud import run, until

CLONE_NEWNET = 0x40000000
MESH, OUTSIDE = "10.213.0", "10.214.0"


def become_the_switch():
    """Moves this process, and what it starts from now on, into a network namespace of its own with two bridges."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "a network namespace cannot be made; is this process root?")
    run("ip", "link", "set", "lo", "up")
    for bridge, block in (("mesh", MESH), ("outside", OUTSIDE)):
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "address", "add", f"{block}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")


class Machine:
    """A host with the interfaces `mesh0` and `out0`."""

    def __init__(self, name, number):
        self.name = name
        self.mesh_ip = f"{MESH}.{number}"
        self.outside_ip = f"{OUTSIDE}.{number}"
        # A sysfs of its own shows the devices of its own network namespace.
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
             "mount -t sysfs sysfs /sys && echo up && exec sleep infinity"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )
        assert self.holder.stdout.readline() == "up\n", "a machine's namespaces cannot be made"
        self.namespace = os.readlink(f"/proc/{self.holder.pid}/ns/net")
        self.run("ip", "link", "set", "lo", "up")
        self.plug("mesh", "mesh0", self.mesh_ip)
        self.plug("outside", "out0", self.outside_ip)
        self.run("ip", "route", "add", "default", "via", f"{OUTSIDE}.1")

    def plug(self, bridge, interface, address):
        port = f"{self.name}-{bridge}"[:15]
        run("ip", "link", "add", port, "type", "veth", "peer", "name", interface, "netns", str(self.holder.pid))
        run("ip", "link", "set", port, "master", bridge, "up")
        self.run("ip", "address", "add", f"{address}/24", "dev", interface)
        self.run("ip", "link", "set", interface, "up")

    def inside(self, *command):
        """The command line that runs a command on this machine."""
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", *(str(word) for word in command)]

    def run(self, *command, check=True):
        return run(*self.inside(*command), check=check)

    def processes(self):
        """Everything that runs on this machine: process ids but the holder's."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(place / "ns" / "net") == self.namespace and int(place.name) != self.holder.pid:
                    found.append(int(place.name))
            except OSError:
                continue
        return found

    def off(self):
        """Ends what runs, whoever started it, and then the machine."""
        for number, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
            for pid in self.processes():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + patience
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.1)
        self.holder.kill()
        self.holder.wait()
        until(f"{self.name} is off", lambda: not self.processes(), 10)
