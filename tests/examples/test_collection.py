"""Examples that need no host: the list of collections, and the throw-away authority."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def ansible(tmp_path):
    """Runs one of Ansible's programs in a directory of its own."""
    programs = Path(os.environ["SF_ANSIBLE"]) / "bin"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {
        **kept, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "HOME": str(tmp_path),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
    }

    def run(*words):
        done = subprocess.run([str(word) for word in words], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def test_the_list_of_collections_installs_the_tarball_of_this_version(ansible, tmp_path):
    ansible("ansible-galaxy", "collection", "build", EXAMPLES.parent, "--output-path", tmp_path / "dist")
    shutil.copy(EXAMPLES / "requirements.yml", tmp_path)
    ansible("ansible-galaxy", "collection", "install", "-r", "requirements.yml", "--offline")
    assert (tmp_path / "collections/ansible_collections/shakenfist/cloud/roles/node").is_dir()


def test_certificates_of_the_throw_away_authority_pass_the_preflight(ansible, tmp_path):
    names = {"dev_ca_directory": str(tmp_path / "pki"), "dev_ca_names": [{"name": "sf-1", "addresses": ["127.0.0.1"]}, {"name": "sf-2"}]}
    for changed in (True, False):
        said = ansible("ansible-playbook", EXAMPLES / "tls/dev-ca.yml", "-e", json.dumps(names))
        assert ("changed=0" in said) is not changed, said

    def preflight(certificates, key):
        files = {name: str(tmp_path / "pki" / whose / f"{name}.pem") for name, whose in [("ca", certificates), ("cert", certificates), ("key", key)]}
        node = {"node_name": "sf-1", "node_mesh_ip": "127.0.0.1", "mariadb_gateway_hosts": ["127.0.0.1:1"]}
        wanted = {"node": node, "roles": ["api"], "daemons": ["api"], "settings": {"tls": files}}
        done = subprocess.run([os.environ["SF_NODE"], "probe", "--json"], input=json.dumps(wanted), capture_output=True, text=True)
        return [(check["level"], check["got"]) for check in json.loads(done.stdout)["checks"] if check["id"] == "PF-TLS"]

    [(level, got)] = preflight("sf-1", "sf-1")
    assert level in ("pass", "warn"), got
    [other_key, other_name, _] = preflight("sf-2", "sf-1")
    assert other_key[0] == other_name[0] == "fail" and "does not belong" in other_key[1] and "only valid for" in other_name[1]
