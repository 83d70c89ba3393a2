"""Credentials, whole plays, and a cloud that is not well."""

import json
import os
import re
import signal

from cloud import until
from playbooks import ROOT, failed, ok

GUIDE = ROOT / "docs" / "user_guide" / "ansible.md"
FENCE = re.compile(r"^```yaml\n# (\S+\.yml)\n(.*?)^```$", re.M | re.S)


def test_credentials_of_the_environment_and_of_files(ansible, cloud, tenant):
    wanted = {"name": "nobody-has-this", "state": "absent"}
    nothing = failed(ansible.module("sf_network", **wanted), "there are no credentials", "SHAKENFIST_API_URL", "~/.shakenfist")
    assert nothing["log"] == []
    mine = {"SHAKENFIST_API_URL": cloud.url, "SHAKENFIST_NAMESPACE": "tenant", "SHAKENFIST_KEY": tenant.connection["key"]}
    ok(ansible.module("sf_network", environment=mine, **wanted), changed=False)
    failed(ansible.module("sf_network", environment={"SHAKENFIST_API_URL": cloud.url}, **wanted), "the environment has no key")
    failed(ansible.module("sf_network", environment=mine, api_url=cloud.url, **wanted), "the task has no key")
    home = ansible.directory / "home" / ".shakenfist"
    home.write_text(json.dumps({"apiurl": cloud.url, "namespace": "tenant", "key": tenant.connection["key"]}))
    try:
        ok(ansible.module("sf_network", **wanted), changed=False)
    finally:
        home.unlink()


def test_credentials_that_are_wrong(ansible, cloud, system_key):
    wrong = {"api_url": cloud.url, "namespace": "tenant", "name": "x", "state": "absent"}
    failed(ansible.module("sf_network", **wrong, key=system_key), "does not accept the key for the namespace tenant", "auth_namespace")
    nobody = {**wrong, "api_url": "http://127.0.0.1:1", "key": system_key}
    failed(ansible.module("sf_network", **nobody), "http://127.0.0.1:1 does not answer", "refused")


def test_a_database_that_hangs_is_a_failure_that_says_so(cloud, tenant):
    ok(tenant.network(name="nobody-has-this", state="absent"), changed=False)
    pid = cloud.mariadb_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        away = failed(tenant.network(name="nobody-has-this", state="absent"), "database")
        assert away["status"] == 503 and away["request_id"] in away["msg"]
    finally:
        os.kill(pid, signal.SIGCONT)
    until("the cloud serves again", lambda: cloud.status("/readyz") == 200)
    ok(tenant.network(name="nobody-has-this", state="absent"), changed=False)


def test_the_plays_of_the_user_guide(ansible, cloud, system_key):
    """As printed, but for the address, the key and the image."""
    plays = {
        name: text.replace("https://cloud.example.net/api", cloud.url).replace("20@debian:12", "1")
        for name, text in FENCE.findall(GUIDE.read_text())
    }
    secrets = {"vault_sf_system_key": system_key, "vault_shop_key": "secret-of-the-shop-0123456789"}
    variables = ansible.directory / "vault.json"
    variables.write_text(json.dumps(secrets))

    def play(name, *options):
        run = ansible.play(plays[name], "-e", f"@{variables}", *options)
        assert run.status == 0, run.output
        return run.changed

    made = play("shop.yml", "--check", "--diff")
    assert "shop" not in {namespace["name"] for namespace in cloud.system().get_namespaces()}
    assert play("shop.yml") == made > 2
    assert play("shop.yml") == play("shop.yml", "--check") == 0
    gone = play("no-shop.yml", "--check")
    assert play("no-shop.yml") == gone == made
    assert play("no-shop.yml") == 0
    for secret in secrets.values():
        assert not any(secret in output for output in ansible.outputs), "a secret is in the output of Ansible"
