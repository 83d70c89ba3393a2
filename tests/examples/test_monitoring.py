"""What watches a deployment: scrape targets, rules, and logs on their way to a store, with the real programs."""

import json
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from debian import unpacked

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TABLE = yaml.safe_load((ROOT / "roles/node/vars/main/daemons.yml").read_text())["__sf_daemon_table"]
SCRAPE = yaml.safe_load((EXAMPLES / "monitoring/prometheus.yml").read_text())["scrape_configs"][0]
RULES = EXAMPLES / "monitoring/rules.yml"
METRICS_PORTS = {
    f"sf-{daemon['name']}": port["port"] for daemon in TABLE for port in daemon["ports"] if port["key"].endswith("metrics_port")
}


@pytest.fixture(scope="module")
def promtool():
    return unpacked("prometheus") / "usr/bin/promtool"


def roles():
    """The roles of each host of examples/cluster: it has no group api_node, so that hypervisors serve the API."""
    inventory = yaml.safe_load((EXAMPLES / "cluster/inventory.yml").read_text())["all"]["children"]
    hosts = {name: set() for name in inventory["allsf"]["hosts"]}
    for group, given in {"database_node": ["database"], "network_node": ["network"], "hypervisors": ["hypervisor", "api"]}.items():
        for host in inventory[group]["hosts"]:
            hosts[host].update(given)
    return hosts


def test_the_targets_are_the_daemons_of_the_example():
    addresses = yaml.safe_load((EXAMPLES / "cluster/inventory.yml").read_text())["all"]["children"]["allsf"]["hosts"]
    wanted = {
        host: {f"{addresses[host]['sf_node_mesh_ip']}:{METRICS_PORTS['sf-' + daemon['name']]}" for daemon in TABLE
               if own & set(daemon["roles"]) and f"sf-{daemon['name']}" in METRICS_PORTS}
        for host, own in roles().items()
    }
    assert {part["labels"]["host"]: set(part["targets"]) for part in SCRAPE["static_configs"]} == wanted


def test_every_port_is_named_after_its_daemon():
    assert {rule["replacement"]: int(rule["regex"].rpartition(":")[2]) for rule in SCRAPE["relabel_configs"]} == METRICS_PORTS


def test_every_alert_says_what_to_do():
    alerts = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 10
    for alert in alerts:
        assert alert["labels"]["severity"] in ("page", "ticket"), alert["alert"]
        assert alert["annotations"].keys() == {"summary", "action"}, alert["alert"]


def test_the_dashboard_has_no_panel_without_a_question():
    panels = json.loads((EXAMPLES / "monitoring/dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["type"] == "row" or all(target["expr"] for target in panel["targets"]) and panel["targets"] for panel in panels)


def test_prometheus_accepts_the_files(promtool):
    subprocess.run([promtool, "check", "config", EXAMPLES / "monitoring/prometheus.yml"], check=True)


@pytest.mark.parametrize("series, alert, labels", [
    ({'up{job="shakenfist",host="sf-1",daemon="sf-net"}': "0x60"}, "ShakenFistDaemonDown", {"severity": "page", "host": "sf-1"}),
    ({'cluster_is_leader{host="sf-1"}': "0x60", 'cluster_is_leader{host="sf-2"}': "0x60"}, "ShakenFistNobodyLeads", {"severity": "page"}),
    ({'cluster_is_leader{host="sf-1"}': "0x60", 'cluster_is_leader{host="sf-2"}': "1x60"}, "ShakenFistNobodyLeads", None),
    ({'sf_capacity_node{kind="used",dimension="cpus",node="a"}': "95x120", 'sf_capacity_node{kind="limit",dimension="cpus",node="a"}': "100x120"},
     "ShakenFistCapacityLow", {"severity": "ticket", "dimension": "cpus"}),
    ({'api_requests_total{status="500"}': "0+5x60", 'api_requests_total{status="200"}': "0+60x60"}, "ShakenFistApiErrors", {"severity": "page"}),
    ({'api_requests_total{status="404"}': "0+5x60", 'api_requests_total{status="200"}': "0+60x60"}, "ShakenFistApiErrors", None),
    ({'eventlog_spool_dropped_total{reason="full",host="sf-1"}': "0x10 5x60"}, "ShakenFistEventsLost", {"severity": "page", "host": "sf-1"}),
    ({'sf_scheduler_ledger_drift_total{scope="node"}': "0x10 1x60", "sf_scheduler_ledger_orphans_total": "0x70", "database_invariant_violations": "0x70"},
     "ShakenFistBookkeepingCorrected", {"severity": "ticket"}),
])
def test_alerts_fire_for_what_they_are_about(promtool, tmp_path, series, alert, labels):
    """With series of one value a minute, an hour of them or two."""
    at = "100m" if "CapacityLow" in alert else "40m"
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"{"".join(f",{key}={json.dumps(value)}" for key, value in (labels or {}).items())}}})'
    samples = [{"labels": "{}", "value": 1}] if labels else []
    (tmp_path / "test.yml").write_text(yaml.safe_dump({
        "rule_files": [str(RULES)], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
                   "promql_expr_test": [{"expr": asked, "eval_time": at, "exp_samples": samples}]}],
    }))
    done = subprocess.run([promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lines_of_daemons_arrive_whole_and_no_others(tmp_path):
    """The example's own rules, between a socket of the test and a plain connection in place of TLS."""
    line = json.dumps({"ts": "2026-01-01T00:00:00.000Z", "level": "INFO", "message": "quoted \"text\"", "long": "x" * 20000})
    store = socket.create_server(("127.0.0.1", 0))
    store.settimeout(30)
    lines = []

    def take():
        with store.accept()[0].makefile() as stream:
            lines.append(stream.readline())

    taker = threading.Thread(target=take)
    taker.start()
    ours = (EXAMPLES / "logging/rsyslog.conf").read_text()
    head, _, tls = ours.partition('StreamDriver="gtls"')
    assert tls, "the example sends over TLS"
    ours = f'{head}{tls.partition(chr(10))[2]}'.replace('target="logs.example.net" port="6514"', f'target="127.0.0.1" port="{store.getsockname()[1]}"')
    ours = ours.replace(' DefaultNetstreamDriverCAFile="/etc/ssl/certs/ca-certificates.crt"', "")
    (tmp_path / "rsyslog.conf").write_text(
        f'global(workDirectory="{tmp_path}")\nmodule(load="imuxsock" SysSock.Use="off")\ninput(type="imuxsock" Socket="{tmp_path}/log")\n{ours}'
    )
    files = unpacked("rsyslog", "libestr0", "libfastjson4")
    (libraries,) = files.glob("usr/lib/*-linux-gnu")
    daemon = subprocess.Popen(
        [files / "usr/sbin/rsyslogd", "-n", "-M", libraries / "rsyslog", "-i", tmp_path / "pid", "-f", tmp_path / "rsyslog.conf"],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )
    try:
        while not (tmp_path / "log").exists():
            assert daemon.poll() is None, "rsyslogd has ended"
        for tag, text in (("sf-api", "no object"), ("cron", line), ("sf-api", line)):
            subprocess.run(["logger", "--socket", tmp_path / "log", "--tag", tag, "--size", "60000", "--", text], check=True)
        # Those that were written before it would be before it.
        taker.join(30)
    finally:
        daemon.terminate()
        daemon.wait(30)
        store.close()
    arrived = json.loads(lines[0])
    assert arrived["daemon"] == "sf-api"
    assert arrived["line"] == json.loads(line)
