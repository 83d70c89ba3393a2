"""What the role renders: the examples give a configuration that the agent accepts, and units that systemd accepts and confines."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import device_names
from common import BIN, ROOT, tool, tree

EXPOSURE = ROOT / "tests/static/exposure.txt"
PLAY = ROOT / "tests/static/render.yml"
EXAMPLES = ("single-node", "cluster")
HEADLINE = re.compile(r"Overall exposure level for (sf-[a-z-]+)\.service: ([0-9.]+)")
# Of every unit without root's rights.
LIMIT = 3.0
PRIVILEGED = {"sf-privexec", "sf-net-privexec"}


def check(agent):
    """Problems of the files that each example gives."""
    problems = []
    for example in EXAMPLES:
        with _rendered(example, agent) as (folder, said):
            problems += said or _config(agent, example, folder) + _units(example, folder) + _overrides(example, folder) + _devices(example, folder)
    return problems


def check_exposure(agent):
    """Problems of the exposures: one that is too high, or that nobody decided."""
    text, problems = _exposure(agent)
    print(text, end="")
    for unit, level in re.findall(r"^(sf-[a-z-]+) +([0-9.]+)$", text, re.MULTILINE):
        if unit not in PRIVILEGED and float(level) > LIMIT:
            problems.append(f"{unit} has the exposure {level}, more than {LIMIT}")
    if not problems and (not EXPOSURE.exists() or EXPOSURE.read_text() != text):
        problems.append(f"{EXPOSURE.relative_to(ROOT)} says otherwise; if that is meant: scripts/lint/collection exposure --write")
    return problems


def write_exposure(agent):
    EXPOSURE.write_text(_exposure(agent)[0])


class _rendered:
    """The files of every host of an example, below one folder for each host."""

    def __init__(self, example, agent):
        self.example, self.agent = example, agent

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sf-rendered-"))
        with tree() as place:
            inventory = place / "examples" / self.example / "inventory.yml"
            version = json.loads(subprocess.run([self.agent, "--version", "--json"], check=True, capture_output=True).stdout)
            given = {
                "render_to": str(self.folder), "render_agent": str(self.agent), "render_templates": str(place / "roles/node/templates"),
                "__sf_ifname_globs": version["ifname_globs"],
            }
            said = tool(
                "ansible-playbook", "-i", inventory, PLAY, "-e", f"@{PLAY.parent}/render_vars.yml", "-e", json.dumps(given),
                ANSIBLE_COLLECTIONS_PATH=str(place.parents[2]), ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_LOCALHOST_WARNING="false",
                ANSIBLE_PIPELINING="1", ANSIBLE_PYTHON_INTERPRETER=str(BIN / "python"),
            )
        return self.folder, said

    def __exit__(self, *_):
        shutil.rmtree(self.folder)


def _config(agent, example, folder):
    problems = []
    for host in sorted(folder.iterdir()):
        done = subprocess.run([agent, "--config-dir", host / "etc", "sf-ctl", "config", "check"], capture_output=True, text=True)
        if done.returncode:
            problems.append(f"examples/{example}, {host.name}: {done.stderr.strip()}")
    return problems


def _devices(example, folder):
    return [f"examples/{example}, {host.name}: {problem}" for host in sorted(folder.iterdir()) for problem in device_names.problems(host / "etc")]


def _overrides(example, folder):
    """Problems of what `sf_unit_overrides` gives: see render_vars.yml."""
    wanted = "[Service]\nEnvironment=ONE=1\nEnvironment=TWO=2\nNice=5\n\n[Unit]\nDescription=Networks\n\n"
    problems = []
    for unit in sorted(folder.glob("*/units/sf-*.service")):
        override = unit.parent / f"{unit.name}.d/50-site.conf"
        text = override.read_text() if override.exists() else ""
        if (text.partition("\n")[2] == wanted) != (unit.name == "sf-net.service"):
            problems.append(f"examples/{example}, {override.relative_to(folder)}: {text!r}")
    return problems


def _units(example, folder):
    if not shutil.which("systemd-analyze"):
        return ["systemd-analyze is needed; install systemd"]
    problems = []
    for host in sorted(folder.iterdir()):
        units = sorted((host / "units").glob("sf-*.service"))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
        ours = [line for line in done.stderr.splitlines() if "sf-" in line or "sf.target" in line]
        problems += [f"examples/{example}, {host.name}: {line}" for line in ours]
    return problems


def _exposure(agent):
    with _rendered("single-node", agent) as (folder, said):
        if said:
            return "", said
        (host,) = folder.iterdir()
        lines = []
        for unit in sorted((host / "units").glob("sf-*.service")):
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", unit], capture_output=True, text=True, env={"SYSTEMD_COLORS": "0", "PATH": "/usr/bin:/bin"}
            )
            found = HEADLINE.search(done.stdout)
            if not found:
                return "", [f"systemd-analyze security says nothing about {unit.name}: {done.stderr.strip()}"]
            lines.append(f"{found[1]:<16} {found[2]}\n")
        return "".join(lines), []
