"""The metrics of the agent: the reference lists each, and the example of monitoring uses no other."""

import json
import re
from fnmatch import fnmatchcase

import yaml

from common import ROOT, tracked

AGENT = "agent"
PAGE = "docs/reference/metrics.md"
MONITORING = "examples/monitoring"

MACRO = re.compile(r"\b(counter|gauge|histogram)!\(\s*(?:\"(\w+)\"|[^\"])")
# Files that make gauges whose names they are given: below which folder that is done, and how.
GIVEN = {
    "agent/libs/events/src/gauges.rs": ("agent/libs/events/src", re.compile(r"\.set\(\s*\"(\w+)\",")),
    "agent/daemons/transfers/src/tasks/space.rs": ("agent/daemons/transfers/src", re.compile(r"\bset\(\s*\"(\w+)\",")),
    "agent/daemons/cluster/src/readings.rs": ("agent/daemons/cluster/src", re.compile(r"\breading\(\s*\"(\w+)\",")),
    "agent/daemons/resources/src/publish.rs": ("agent/daemons/resources/src/sample", None),
}
# A figure of a node: its name as it stands, made of a word, or a word.
FIGURE = re.compile(r"\.put\(\s*(?:\"(\w+)\"|&format!\(\s*\"([^\"]+)\"|\w+,)")
# What the words of a file are: the first parts of its tuples.
WORD = re.compile(r"(?<!\w)\(\"(\w+)\", ")
# Figures that are no numbers, and so no gauges.
NO_NUMBERS = {"is_hypervisor", "is_network_node"}
UNIT_TESTS = re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{.*", re.MULTILINE | re.DOTALL)
TEST_FILE = re.compile(r"(^|/)(tests|testing)(/|\.rs$)")

ROW = re.compile(r"^\| (`.+?) \| (\w+) \| .+ \|$", re.MULTILINE)
NAME = re.compile(r"`(\w+)(?:\{[\w,]+\})?`")

# What is no name in PromQL, in this order.
NOISE = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`',
        r"#.*",
        r"\$\{[^}]*\}|\$\w+",
        r"\{[^}]*\}",
        r"\[[^\]]*\]",
        r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",
    )
]
IDENTIFIER = re.compile(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()")
KEYWORDS = {"and", "or", "unless", "bool", "offset", "group_left", "group_right", "inf", "nan"}
# Made by Prometheus for each target.
MADE = {"up"}


def check():
    """Problems of the reference and of the example."""
    described, problems = _described()
    offered, unknown = _offered()
    problems += unknown
    for name, kind in sorted(offered.items()):
        kinds = {described[listed] for listed in described if fnmatchcase(listed, name)}
        if not kinds:
            problems.append(f"{PAGE} does not name the {kind} {name}")
        elif kinds != {kind}:
            problems.append(f"{name} is a {kind}, other than {PAGE} says")
    problems += [f"{PAGE} names {name}, which the agent does not have" for name in sorted(described) if not _in(name, offered)]
    return problems + _monitoring(described)


def names_in(expression):
    """The metrics that an expression of PromQL reads."""
    for noise in NOISE:
        expression = noise.sub(" ", expression)
    return {name for name in IDENTIFIER.findall(expression) if name.lower() not in KEYWORDS}


def _described():
    """Kind by name as the page lists them, and what is wrong with the list. A part in capitals stands for anything."""
    kinds, problems = {}, []
    for names, kind in ROW.findall((ROOT / PAGE).read_text()):
        for name in NAME.findall(names):
            if name in kinds:
                problems.append(f"{PAGE} names {name} twice")
            kinds[name] = kind
    return {re.sub("[A-Z]+", "*", name): kind for name, kind in kinds.items()}, problems


def _offered():
    """Kind by name as the source makes them, and the macros that cannot be read. A `*` stands for anything."""
    sources = {name: _source(name) for name in tracked(AGENT) if name.endswith(".rs") and not TEST_FILE.search(name)}
    kinds, problems = {}, []
    for file, text in sources.items():
        for kind, name in MACRO.findall(text):
            if name:
                kinds[name] = kind
            elif file not in GIVEN:
                problems.append(f"{file} gives a {kind} a name that cannot be read: have {__name__}.GIVEN say where it comes from")
    for folder, given in GIVEN.values():
        for file, text in sources.items():
            if file.startswith(folder):
                kinds.update(dict.fromkeys(given.findall(text) if given else _figures(text), "gauge"))
    return kinds, problems


def _source(name):
    return UNIT_TESTS.sub("", (ROOT / name).read_text())


def _figures(text):
    """The names of the figures that a collector puts down."""
    words = WORD.findall(text) or ["*"]
    names = set()
    for name, template in FIGURE.findall(text):
        names.update(re.sub(r"\{\w*\}", word, name or template or "{}") for word in words)
    return names - NO_NUMBERS


def _monitoring(described):
    """What the example uses and nobody offers."""
    series = {f"{name}{part}" for name, kind in described.items() for part in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))}
    documents = {name: _read(name) for name in tracked(MONITORING) if name.endswith((".yml", ".json"))}
    allowed = MADE.union(*(_values(document, "record") for document in documents.values()))
    return [
        f"{file} uses {name}, which is no series of {PAGE}"
        for file, document in sorted(documents.items())
        for name in sorted(set().union(*map(names_in, _values(document, "expr"))))
        if name not in allowed and not _in(name, series)
    ]


def _read(name):
    text = (ROOT / name).read_text()
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def _values(document, key):
    """All that stands under a key, at any depth."""
    if isinstance(document, list):
        return [value for item in document for value in _values(item, key)]
    if not isinstance(document, dict):
        return []
    own = [str(document[key])] if key in document else []
    return own + [value for item in document.values() for value in _values(item, key)]


def _in(name, patterns):
    return any(fnmatchcase(name, pattern) for pattern in patterns)
