"""Texts must be the same for a YAML 1.1 and a YAML 1.2 parser; the agent's own parser has the last word where it is at hand."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.shakenfist.cloud.plugins.plugin_utils.yaml_text import HEADER, to_sf_yaml

# Each of these is something else than a text to one parser or another when it stands without quotes.
TRICKY = ["1e3", "08", "0o17", "0x10", "1_000", "12:30", "on", "off", "~", "null", "", ".5", "+1", "1234e567", "a: b", "#x", "é", "-", "'", '"', "\\", "a\nb", "=", "<<"]


class Tagged(str):
    """As a template engine marks texts with their origin."""

    __slots__ = ("origin",)


@pytest.mark.parametrize("text", TRICKY)
def test_a_text_stays_a_text(text):
    assert yaml.safe_load(to_sf_yaml({"key": text})) == {"key": text}


@pytest.mark.parametrize("text", TRICKY)
@pytest.mark.skipif("SF_NODE" not in os.environ, reason="skipped: SF_NODE does not name the agent's binary")
def test_the_agent_reads_what_was_written(text, tmp_path):
    # A key that takes any text; a list item because an empty text means "not given" for a plain key.
    if not text or "," in text or "\n" in text:
        pytest.skip("skipped: no list item of the agent's can be this text")
    (tmp_path / "config.yaml").write_text(
        to_sf_yaml({"node_mesh_ip": "10.0.0.1", "mariadb_gateway_hosts": ["a"], "node_fault_domain": text}), encoding="utf-8"
    )
    answer = subprocess.run(
        [os.environ["SF_NODE"], "--config-dir", str(tmp_path), "sf-ctl", "--json", "config", "show"], capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout)["config"]["node_fault_domain"]["value"] == text


def test_values_keep_their_types():
    value = {"list": ["a", 1, True, None, 0.5, {"b": [[1], []]}], "map": {"x": {}, "on": "y"}, "n": -3, "f": 2.0}
    text = to_sf_yaml(value)
    assert text.startswith(HEADER)
    assert yaml.safe_load(text) == value


def test_equal_mappings_give_equal_text():
    assert to_sf_yaml({"b": 1, "a": {"d": 1, "c": 2}}) == to_sf_yaml({"a": {"c": 2, "d": 1}, "b": 1})


def test_marks_on_texts_are_shed():
    assert to_sf_yaml({Tagged("key"): Tagged("1e3")}) == HEADER + 'key: "1e3"\n'


def test_empty_values_are_left_out_on_request_only():
    value = {"a": "", "b": None, "c": [], "d": {}, "e": 0, "f": False}
    assert yaml.safe_load(to_sf_yaml(value, omit_empty=True)) == {"e": 0, "f": False}
    assert set(yaml.safe_load(to_sf_yaml(value))) == set(value)
    assert yaml.safe_load(to_sf_yaml({}, omit_empty=True)) == {}


@pytest.mark.parametrize("value, problem", [([1], "needs a mapping"), ({1: 2}, "not a text"), ({"a": {1, 2}}, "set"), ({"a": float("inf")}, "not a number")])
def test_what_is_no_configuration_is_refused(value, problem):
    with pytest.raises(AnsibleFilterError, match=problem):
        to_sf_yaml(value)
