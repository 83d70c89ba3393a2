"""Preflight checks as people read them."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

LEVELS = ("fail", "warn", "skip", "pass")


def failures(rules, ignore=()):
    """The rules of layer A that do not hold, as checks: `fail`, or `warn` when the rule is not hard and its id is in `ignore`."""
    checks = []
    for rule in rules:
        if not isinstance(rule["ok"], bool):
            raise AnsibleFilterError(f"a rule of {rule['id']} is neither true nor false: {rule.get('want', '')}")
        if rule["ok"]:
            continue
        hard = rule.get("hard", True)
        level = "warn" if not hard and rule["id"] in ignore else "fail"
        texts = {name: str(rule.get(name, "")) for name in ("got", "want", "why", "fix")}
        checks.append({"id": rule["id"], "level": level, "hard": hard, **texts})
    return checks


def report(checks, levels=("fail", "warn")):
    """Lines of text for checks, each with a `host`: the worst first, equal ones of several hosts once."""
    groups = {}
    for check in checks:
        if check["level"] not in LEVELS:
            raise AnsibleFilterError(f"a check has the level {check['level']!r}, which is none of {', '.join(LEVELS)}")
        if check["level"] in levels:
            key = (LEVELS.index(check["level"]), check["id"], check["got"], check["want"], check["why"], check["fix"])
            groups.setdefault(key, []).append(str(check["host"]))
    lines = []
    for level, ident, got, want, why, fix in sorted(groups):
        hosts = ", ".join(dict.fromkeys(groups[level, ident, got, want, why, fix]))
        said = [text for text in (got, want and f"needed: {want}", why, fix and f"-> {fix}") if text]
        lines.append(f"{LEVELS[level].upper()} {ident} on {hosts}: {'; '.join(said)}")
    return lines
