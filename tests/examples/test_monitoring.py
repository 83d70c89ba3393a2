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


def capacity(used, of_a_closed_node):
    """Processors of a node that takes instances, and of one that does not."""
    of = {"a": (used, 1), "b": (of_a_closed_node, 0)}
    amounts = {f'sf_capacity_node{{kind="{kind}",dimension="cpus",node="{node}"}}': f"{amount}x120"
               for node, (used, _) in of.items() for kind, amount in (("used", used), ("limit", 100))}
    return amounts | {f'sf_capacity_node_open{{node="{node}"}}': f"{is_open}x120" for node, (_, is_open) in of.items()}


def api_requests(status, a_minute, probes=0):
    """Requests that end with a status, beside 60 a minute that end well and the load balancer's."""
    return {f'api_requests_total{{status="{status}",route="/instances"}}': f"0+{a_minute}x60",
            'api_requests_total{status="200",route="/instances"}': "0+60x60",
            'api_requests_total{status="200",route="/readyz"}': f"0+{probes}x60"}


@pytest.mark.parametrize("series, alert, labels", [
    ({'up{job="shakenfist",host="sf-1",daemon="sf-net"}': "0x60"}, "ShakenFistDaemonDown", {"severity": "page", "host": "sf-1"}),
    ({'cluster_is_leader{host="sf-1"}': "0x60", 'cluster_is_leader{host="sf-2"}': "0x60"}, "ShakenFistNobodyLeads", {"severity": "page"}),
    ({'cluster_is_leader{host="sf-1"}': "0x60", 'cluster_is_leader{host="sf-2"}': "1x60"}, "ShakenFistNobodyLeads", None),
    (capacity(used=95, of_a_closed_node=0), "ShakenFistCapacityLow", {"severity": "ticket", "dimension": "cpus"}),
    (capacity(used=85, of_a_closed_node=0), "ShakenFistCapacityLow", None),
    (api_requests(500, 5), "ShakenFistApiErrors", {"severity": "page"}),
    (api_requests(404, 5), "ShakenFistApiErrors", None),
    (api_requests(507, 5), "ShakenFistApiErrors", None),
    (api_requests(500, 5, probes=10000), "ShakenFistApiErrors", {"severity": "page"}),
    ({'databaseclient_endpoint_ready{endpoint="a",host="sf-1"}': "0x60", 'databaseclient_endpoint_ready{endpoint="a",host="sf-2"}': "1x60"},
     "ShakenFistGatewayNotServing", None),
    ({'databaseclient_endpoint_ready{endpoint="a",host="sf-1"}': "0x60", 'databaseclient_endpoint_ready{endpoint="b",host="sf-1"}': "1x60"},
     "ShakenFistGatewayNotServing", {"severity": "page", "endpoint": "a"}),
    ({'sf_node_state{node="a",state="error",host="sf-1"}': "0x60", 'sf_node_state{node="a",state="error",host="sf-2"}': "1x60"},
     "ShakenFistNodeInError", {"severity": "page", "node": "a"}),
    ({"sf_cluster_network_nodes": "0x60", "cluster_is_leader": "1x60"}, "ShakenFistNoNetworkNode", {"severity": "page"}),
    ({"sf_cluster_network_nodes": "0x60", "cluster_is_leader": "0x60"}, "ShakenFistNoNetworkNode", None),
    ({'sf_libvirt_connected{host="sf-2",daemon="sf-queues"}': "0x60", 'sf_libvirt_connected{host="sf-2",daemon="sf-cleaner"}': "0x60"},
     "ShakenFistLibvirtUnreachable", {"severity": "page", "host": "sf-2"}),
    ({'storage_watermark{level="full",host="sf-2"}': "1x60"}, "ShakenFistStoreFull", {"severity": "page", "host": "sf-2", "level": "full"}),
    ({'work_queue_oldest_age_seconds{family="general",priority="1"}': "1000x60"}, "ShakenFistWorkWaits", {"severity": "ticket", "family": "general"}),
    ({'sf_instance_io_paused{host="sf-2"}': "1x60"}, "ShakenFistInstancePaused", {"severity": "page", "host": "sf-2"}),
    ({'eventlog_spool_dropped_total{reason="high_water",host="sf-1"}': "0x10 5x60"}, "ShakenFistEventsLost", {"severity": "page", "host": "sf-1"}),
    # Counters that appear with the first of what they count.
    ({'eventlog_spool_quarantined_total{reason="refused",host="sf-1"}': "_x10 1x60"}, "ShakenFistEventsQuarantined", {"severity": "ticket", "host": "sf-1"}),
    ({'eventlog_spool_quarantined_total{reason="refused",host="sf-1"}': "1x60 1x60"}, "ShakenFistEventsQuarantined", None),
    ({'sf_scheduler_ledger_drift_total{scope="node"}': "_x10 1x60"}, "ShakenFistBookkeepingCorrected", {"severity": "ticket"}),
    ({'sf_scheduler_ledger_orphans_total{kind="released"}': "0x10 1x60", 'sf_scheduler_ledger_orphans_total{kind="inserted"}': "0x70"},
     "ShakenFistBookkeepingCorrected", {"severity": "ticket"}),
    ({'database_invariant_violations{check="one"}': "1x70"}, "ShakenFistBookkeepingCorrected", {"severity": "ticket"}),
    ({'sf_scheduler_ledger_orphans_total{kind="released"}': "0x70", 'database_invariant_violations{check="one"}': "0x70"},
     "ShakenFistBookkeepingCorrected", None),
    ({'api_panics_total{host="sf-2",daemon="sf-api"}': "_x10 1x60"}, "ShakenFistDefect", {"severity": "ticket", "host": "sf-2", "daemon": "sf-api"}),
    ({'sf_net_render_panics_total{host="sf-1",daemon="sf-net"}': "1x10 2x60"}, "ShakenFistDefect", {"severity": "ticket", "daemon": "sf-net"}),
    ({'maintenance_last_success_timestamp{task="prune-events",host="sf-1"}': "-180000x60"}, "ShakenFistEventsNotPruned", {"severity": "ticket"}),
])
def test_alerts_fire_for_what_they_are_about(promtool, tmp_path, series, alert, labels):
    """With series of one value a minute, an hour of them or two."""
    at = "100m" if "CapacityLow" in alert or "1x60 1x60" in series.values() else "40m"
    asked = f'count(ALERTS{{alertname="{alert}",alertstate="firing"{"".join(f",{key}={json.dumps(value)}" for key, value in (labels or {}).items())}}})'
    samples = [{"labels": "{}", "value": 1}] if labels else []
    (tmp_path / "test.yml").write_text(yaml.safe_dump({
        "rule_files": [str(RULES)], "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [{"series": name, "values": values} for name, values in series.items()],
                   "promql_expr_test": [{"expr": asked, "eval_time": at, "exp_samples": samples}]}],
    }))
    done = subprocess.run([promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_lines_of_daemons_arrive_whole_and_of_no_other_program(tmp_path):
    """The example's own rules, between a socket of the test and a plain connection in place of TLS."""
    line = json.dumps({"ts": "2026-01-01T00:00:00.000Z", "level": "INFO", "message": "quoted \"text\"", "long": "x" * 20000})
    store = socket.create_server(("127.0.0.1", 0))
    store.settimeout(30)
    lines = []

    def take():
        with store.accept()[0].makefile() as stream:
            lines.extend([stream.readline(), stream.readline()])

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
    as_shipped = [files / "usr/sbin/rsyslogd", "-N1", "-M", libraries / "rsyslog", "-f", EXAMPLES / "logging/rsyslog.conf"]
    looked = subprocess.run(as_shipped, env={**os.environ, "LD_LIBRARY_PATH": str(libraries)}, capture_output=True, text=True)
    assert looked.returncode == 0, looked.stderr
    daemon = subprocess.Popen(
        [files / "usr/sbin/rsyslogd", "-n", "-M", libraries / "rsyslog", "-i", tmp_path / "pid", "-f", tmp_path / "rsyslog.conf"],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )
    try:
        while not (tmp_path / "log").exists():
            assert daemon.poll() is None, "rsyslogd has ended"
        for tag, text in (("cron", line), ("sf-api", line), ("sf-net", 'thread panicked at "here"')):
            subprocess.run(["logger", "--socket", tmp_path / "log", "--tag", tag, "--size", "60000", "--", text], check=True)
        # Those that were written before it would be before it.
        taker.join(30)
    finally:
        daemon.terminate()
        daemon.wait(30)
        store.close()
    whole, plain = (json.loads(arrived) for arrived in lines)
    assert whole["daemon"] == "sf-api"
    assert whole["line"] == json.loads(line)
    assert (plain["daemon"], plain["text"]) == ("sf-net", 'thread panicked at "here"')
