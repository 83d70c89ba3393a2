"""Which daemons a host runs."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError


def daemon_set(roles, add, remove, table):
    """Names of the daemons for `roles`, in the order of `table` (the agent's own declaration).

    `add` and `remove` may be written with or without `sf-`. Every problem is reported at once: unknown names, and daemons whose
    companion on the same host is missing.
    """
    known = [daemon["name"] for daemon in table]
    problems = []
    added = _names(add, known, "sf_daemons_add", problems)
    removed = _names(remove, known, "sf_daemons_remove", problems)
    both = sorted(added & removed)
    if both:
        problems.append(f"{', '.join(both)}: named in sf_daemons_add and in sf_daemons_remove")

    wanted = {daemon["name"] for daemon in table if set(daemon["roles"]) & set(roles)}
    chosen = (wanted | added) - removed
    for daemon in table:
        if daemon["name"] not in chosen:
            continue
        for companion in daemon["requires"]:
            if companion not in chosen:
                problems.append(f"sf-{daemon['name']} needs sf-{companion} on the same host")
    if problems:
        raise AnsibleFilterError("the set of daemons is not possible: " + "; ".join(problems))
    return [name for name in known if name in chosen]


def _names(given, known, variable, problems):
    names = {str(name).removeprefix("sf-") for name in given}
    for name in sorted(names - set(known)):
        problems.append(f"{variable}: there is no daemon {name} (there are {', '.join(sorted(known))})")
    return names & set(known)
