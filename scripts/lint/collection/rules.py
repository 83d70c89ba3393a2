"""The collection's own rules that no tool knows."""

import re

import yaml

from common import ROLE, ROOT, tracked

DEFAULTS = "roles/node/defaults/main.yml"
OURS = ("roles/", "playbooks/", "plugins/")
INVENTORY = re.compile(r"\bgroups(\[|\.get\()|\bhostvars\b")
FORBIDDEN = {
    re.compile(r"\bansible\.builtin\.(shell|raw)\b|^\s*shell:"): "runs a shell; use a module or the agent",
    re.compile(r"\bstate: latest\b"): "installs whatever is newest; a second run must change nothing",
    re.compile(r"\bignore_errors\b"): "ignores errors; say which outcome is fine with failed_when",
}
SECRETS = re.compile(r"sf_(mariadb_password|system_key|auth_secret_seed|loki_auth_header|kek)\b(?!_)")
# Variables that hold one among other things.
HOLD_SECRETS = re.compile(r"__sf_(bootstrap_input|cluster_keys|probe_input)\b")
# What may be left to a handler: nothing that a later run would have to make up for.
MAY_NOTIFY = {"Reload systemd": "uninstall.yml", "Reload the rules of udev": "uninstall.yml", "Say when nesting takes effect": "modules.yml"}
COMMAND = "ansible.builtin.command"
NAME = re.compile(r"^(sf_|__sf_)")
REGISTERED = re.compile(r"^__sf_r_")


def check():
    """Problems of every rule."""
    problems = []
    for name in tracked(*OURS):
        if not name.endswith((".yml", ".j2")):
            continue
        text = (ROOT / name).read_text()
        for number, line in enumerate(text.splitlines(), 1):
            if name != DEFAULTS and INVENTORY.search(line):
                problems.append(f"{name}:{number}: looks into the inventory; only {DEFAULTS} does (R-2.4)")
            problems += [f"{name}:{number}: {why}" for pattern, why in FORBIDDEN.items() if pattern.search(line)]
    for name in tracked("roles/node/tasks", "roles/node/handlers", "playbooks"):
        for task in _tasks(yaml.safe_load((ROOT / name).read_text())):
            problems += [f"{name}: {task.get('name', '?')}: {problem}" for problem in _task(task, name)]
    for name in tracked("roles/node/defaults", "roles/node/vars"):
        problems += [f"{name}: {key} does not begin with sf_ or __sf_ (R-2.5)" for key in yaml.safe_load((ROOT / name).read_text()) if not NAME.match(key)]
    problems += [f"{name}: is executable; only scripts of examples are (R-2.7)" for name in tracked(*OURS) if (ROOT / name).stat().st_mode & 0o111]
    problems += [f"{name}: is a symbolic link (R-2.7)" for name in tracked() if (ROOT / name).is_symlink()]
    return problems


def _tasks(entries):
    """Every task of a list of tasks or plays, however deep."""
    for entry in entries or []:
        yield entry
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from _tasks(entry.get(part))


def _task(task, name):
    if "register" in task and not REGISTERED.match(task["register"]):
        yield f"registers {task['register']}; the name must begin with __sf_r_ (R-2.5)"
    for key in task.get("ansible.builtin.set_fact") or {}:
        if not key.startswith("__sf_") and key != "cacheable":
            yield f"sets {key}; the name must begin with __sf_ (R-2.5)"
        if SECRETS.search(str(task["ansible.builtin.set_fact"][key])):
            yield f"puts a secret into the fact {key} (R-15.3)"
    notified = task.get("notify") or []
    for handler in [notified] if isinstance(notified, str) else notified:
        if not name.endswith(MAY_NOTIFY.get(handler, "nowhere")):
            yield f"leaves {handler!r} to a handler, which is lost when the run fails before it; compare states (R-1.6)"
    if COMMAND not in task:
        return
    command = task[COMMAND]
    argv = command if isinstance(command, str) else {key: value for key, value in command.items() if key != "stdin"}
    if SECRETS.search(str(argv)):
        yield "puts a secret on a command line"
    creates = isinstance(command, dict) and "creates" in command
    if "changed_when" not in task and not creates:
        yield "a command must say what is a change (changed_when, or creates)"
    if task.get("check_mode") is False and not _is_read_only(task):
        yield "runs in check mode and neither only reads nor takes --check"
    stdin = str(command.get("stdin", "")) if isinstance(command, dict) else ""
    if (SECRETS.search(stdin) or HOLD_SECRETS.search(stdin)) and not task.get("no_log"):
        yield "reads a secret from standard input without no_log"


def _is_read_only(task):
    return task.get("changed_when") is False or "__sf_check" in str(task[COMMAND]) or "__sf_converge_options" in str(task[COMMAND])
