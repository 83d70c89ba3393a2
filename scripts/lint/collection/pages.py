"""Documentation that other things depend on: the page of the README is an example that is deployed, and links lead somewhere."""

import re

from common import ROOT, tracked

README = ROOT / "README.md"
EXAMPLE = ROOT / "examples/cluster"
PAGE = ("inventory.yml", "group_vars/allsf/main.yml", "site.yml")
# What an operator has to write.
PAGE_LIMIT = 80
LINK = re.compile(r"\]\(([^)#\s]+)(?:#([^)\s]+))?\)|\]\(#([^)\s]+)\)")
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def page():
    """The files of the cluster example stand in the README as they are, and are short."""
    text = README.read_text()
    problems, lines = [], 0
    for name in PAGE:
        content = (EXAMPLE / name).read_text().removeprefix("---\n")
        lines += content.count("\n")
        if f"```yaml\n{content}```\n" not in text:
            problems.append(f"README.md does not hold examples/cluster/{name} as it is")
    if lines > PAGE_LIMIT:
        problems.append(f"the page has {lines} lines, more than {PAGE_LIMIT}")
    return problems


def links():
    """Every relative link leads to a file, and every anchor to a heading of it."""
    problems = []
    for name in tracked("*.md"):
        page_file = ROOT / name
        for target, anchor, own in LINK.findall(CODE.sub("", page_file.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            place = (page_file.parent / target).resolve() if target else page_file
            if not place.exists():
                problems.append(f"{name}: {target} does not exist")
            elif (anchor or own) and place.suffix == ".md" and (anchor or own) not in _anchors(place):
                problems.append(f"{name}: {place.relative_to(ROOT)} has no heading #{anchor or own}")
    return problems


def _anchors(place):
    headings = re.findall(r"^#+ (.+)$", place.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
