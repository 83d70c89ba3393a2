"""Every variable is declared once, has its default once, and is documented from that."""

import yaml

from common import ROLE, ROOT

SPECS = ROLE / "meta/argument_specs.yml"
DEFAULTS = ROLE / "defaults/main.yml"
PAGES = {ROLE / "README.md": "role", ROOT / "docs/reference/role-variables.md": "reference"}
HEADS = {
    "role": """# Role `shakenfist.cloud.node`

Makes a host a node of a Shaken Fist cloud: installs the agent, renders its configuration and units, registers the node and starts the
daemons that the host's inventory groups ask for. It installs no database, load balancer, log store or PKI.

```yaml
- hosts: allsf
  become: true
  roles:
    - role: shakenfist.cloud.node
```
""",
    "reference": """# Variables of the role
""",
}


def options():
    return yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"]


def defaults():
    return yaml.safe_load(DEFAULTS.read_text())


def sections():
    """Comments of the declaration are the headings of its parts: (heading, names)."""
    parts = []
    for line in SPECS.read_text().splitlines():
        if line.startswith("      # "):
            parts.append((line.removeprefix("      # "), []))
        elif line.startswith("      sf_"):
            parts[-1][1].append(line.strip().rstrip(":"))
    return parts


def check():
    """Problems: a name on one side only, a default that differs, a default of a secret, a page that is not what was declared."""
    declared, given = options(), {name: value for name, value in defaults().items() if name.startswith("sf_")}
    problems = [f"{name}: has a default and is not declared in argument_specs.yml" for name in sorted(given.keys() - declared.keys())]
    for name, option in declared.items():
        secret = is_secret(option)
        if secret and (name in given or "default" in option):
            problems.append(f"{name}: is a secret and must have no default")
        elif not secret and name not in given:
            problems.append(f"{name}: is declared and has no default in defaults/main.yml")
        elif not secret and not is_computed(given[name]) and option.get("default") != given[name]:
            problems.append(f"{name}: the declared default is {option.get('default')!r}, the real one {given[name]!r}")
        elif not secret and is_computed(given[name]) and "default" in option:
            problems.append(f"{name}: the default is computed; say in the description how, and declare none")
    for page, text in pages().items():
        if not page.exists() or page.read_text() != text:
            problems.append(f"{page.relative_to(ROOT)} is not what argument_specs.yml declares: run scripts/lint/collection variables --write")
    return problems


def write():
    for page, text in pages().items():
        page.write_text(text)


def pages():
    return {page: HEADS[kind] + _body() for page, kind in PAGES.items()}


def is_secret(option):
    return _sentences(option)[0].startswith("Secret.")


def is_computed(value):
    return isinstance(value, str) and "{{" in value


def _body():
    declared = options()
    lines = ["", "<!-- Generated from roles/node/meta/argument_specs.yml; scripts/lint/collection compares it. -->", ""]
    lines += ["Secrets have no default and are never shown. `–` means that the default follows from other variables, as described.", ""]
    for heading, names in sections():
        lines += [f"## {heading}", "", "| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
        lines += [_row(name, declared[name]) for name in names]
        lines.append("")
    return "\n".join(lines)


def _row(name, option):
    kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
    if option.get("choices"):
        kind = ", ".join(f"`{choice}`" for choice in option["choices"] if choice)
    if is_secret(option):
        default = "secret"
    else:
        default = f"`{_shown(option['default'])}`" if "default" in option else "–"
    text = " ".join(_sentences(option)).removeprefix("Secret. ")
    return f"| `{name}` | {kind} | {default} | {_plain(text)} |"


def _sentences(option):
    text = option["description"]
    return [text] if isinstance(text, str) else text


def _shown(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value or '""'
    return str(value).replace("'", "")


def _plain(text):
    """Ansible's marks for code, options and values, as Markdown."""
    for mark in ("RV(", "O(", "V(", "C("):
        while mark in text:
            before, _, rest = text.partition(mark)
            inner, _, after = rest.partition(")")
            text = f"{before}`{inner}`{after}"
    return text.replace("|", "\\|")
