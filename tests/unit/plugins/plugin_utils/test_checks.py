from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.shakenfist.cloud.plugins.plugin_utils.checks import failures, report


def check(level, ident="PF-OS", host="sf-1", got="got"):
    return {"id": ident, "level": level, "hard": False, "got": got, "want": "want", "why": "", "fix": "fix", "host": host}


def test_a_rule_that_holds_is_not_told():
    assert failures([{"id": "PF-VARS", "ok": True}]) == []


def test_only_a_soft_rule_can_be_ignored():
    rules = [{"id": "PF-OS", "ok": False, "hard": False}, {"id": "PF-VARS", "ok": False}]
    assert [c["level"] for c in failures(rules)] == ["fail", "fail"]
    assert [c["level"] for c in failures(rules, ["PF-OS", "PF-VARS"])] == ["warn", "fail"]


def test_a_rule_without_a_truth_value_is_an_error_of_the_role():
    with pytest.raises(AnsibleFilterError, match="neither true nor false"):
        failures([{"id": "PF-VARS", "ok": "yes"}])


def test_the_worst_comes_first_and_hosts_with_the_same_problem_share_a_line():
    lines = report([check("warn"), check("fail", host="sf-2"), check("fail", host="sf-1"), check("pass"), check("skip")])
    assert lines == ["FAIL PF-OS on sf-2, sf-1: got; needed: want; -> fix", "WARN PF-OS on sf-1: got; needed: want; -> fix"]


def test_levels_can_be_chosen_and_unknown_ones_are_refused():
    assert report([check("skip")], ["skip"]) == ["SKIP PF-OS on sf-1: got; needed: want; -> fix"]
    with pytest.raises(AnsibleFilterError, match="bad"):
        report([check("bad")])
